"""Columns made of buffers are those that pyarrow makes by looking into the values."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.store.rows import arrow, insert, table

WORDS = st.text(st.characters(exclude_categories=("Cs",)))


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_and_what_is_missing(values: list[int | None]) -> None:
    known = (
        pa.array(values, pa.int64()) if any(value is not None for value in values) else pa.array(values, pa.string())
    )
    assert arrow(values).equals(known)


@settings(deadline=None)
@given(st.lists(st.none() | WORDS))
def test_texts_and_what_is_missing(values: list[str | None]) -> None:
    assert arrow(values).equals(pa.array(values, pa.string()))


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(10**38) + 1, 10**38 - 1), min_size=1).filter(
    lambda values: any(value is not None and abs(value) > 2**63 for value in values)
))  # fmt: skip
def test_integers_of_more_than_64_bits_are_decimals(values: list[int | None]) -> None:
    assert arrow(values).equals(pa.array(values, pa.decimal128(38, 0)))


@settings(deadline=None)
@given(st.lists(st.lists(WORDS), min_size=1))
def test_lists_of_text(values: list[list[str]]) -> None:
    assert arrow(values).equals(pa.array(values, pa.list_(pa.string())))


@pytest.mark.parametrize("kind", ["int64", "int32", "uint64", "float64", "float32"])
def test_arrays_of_numbers_also_in_steps(kind: str) -> None:
    values = np.arange(20, dtype=kind)
    assert arrow(values).equals(pa.array(values))
    assert arrow(values[::3]).equals(pa.array(values[::3]))


def test_what_is_none_of_these_is_left_to_pyarrow() -> None:
    assert arrow([True, None]).equals(pa.array([True, None]))
    assert arrow([0.5, None]).equals(pa.array([0.5, None]))
    assert table({"a": [], "b": np.array([], np.int64)}).num_rows == 0


def test_rows_come_out_of_duckdb_as_they_went_in() -> None:
    cursor = duckdb.connect()
    cursor.execute("CREATE TABLE held (a BIGINT, b VARCHAR, c VARCHAR[], d HUGEINT, e BIGINT)")
    rows: list[tuple[Any, ...]] = [(1, "x", ["p", ""], 2**100, None), (-2, None, [], -5, 2), (3, "ü\n", ["q"], 0, None)]
    insert(cursor, "held", rows)
    insert(cursor, "held", [])
    assert cursor.execute("FROM held").fetchall() == rows
