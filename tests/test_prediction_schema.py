"""Columns of a prediction log that appear, vanish or change type, as dated events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.test_predictions import SMALL, Shelf, again, at, collected, in_this_process, write

__all__ = ["in_this_process"]


def rows(start: float, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"{start}-{i}", "ts": at(start + 60 * i), "predicted": 1, "label": 1, **more} for i in range(20)]


def told(shelf: Shelf) -> list[tuple[str, int, int | None]]:
    return sorted((one.title, one.ts, one.ts_latest) for one in shelf.events.values() if one.outcome != "excluded")


def when(seconds: float) -> int:
    return int(at(seconds).timestamp())


def test_a_column_that_appears_vanishes_or_changes_type_is_dated_between_the_files(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", rows(0, amount=1.5, age=30))
    assert told(collected(tmp_path, **SMALL)) == []
    write(tmp_path / "2.parquet", rows(7200, amount="1.50", device="phone"))
    write(tmp_path / "3.parquet", rows(14400, amount="2.00", device="phone"))
    between = (when(60 * 19) + 1, when(7200))
    assert told(collected(tmp_path, **SMALL)) == [
        ("column age: vanished", *between),
        ("column amount: number became text", *between),
        ("column device: appeared", *between),
    ]
    (event,) = (one for one in collected(tmp_path, **SMALL).events.values() if "amount" in one.title)
    assert (event.kind, event.components, dict(event.labels)) == (
        "schema_change", ("model",), {"column": "amount", "from": "number", "to": "text", "file": "2.parquet"},
    )  # fmt: skip


def test_a_column_without_values_says_nothing_of_its_type(tmp_path: Path) -> None:
    for name, values in (("1", "x"), ("2", ""), ("3", "x"), ("4", "1")):
        lines = [f"{name}{i},{at(7200 * int(name) + 60 * i).isoformat()},1,1,{values}" for i in range(20)]
        (tmp_path / f"{name}.csv").write_text("id,ts,predicted,label,note\n" + "\n".join(lines))
    shelf = collected(tmp_path, path="*.csv", **SMALL)
    assert [title for title, *_ in told(shelf)] == ["column note: text became number"]
    assert told(shelf)[0][2] == when(4 * 7200)


def test_times_order_the_files_not_their_names_and_another_format_is_not_compared(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", rows(0, age=1))
    write(tmp_path / "a.parquet", rows(7200))
    lines = [f"c{i},{at(3600 + 60 * i).isoformat()},1,1,many,more,columns" for i in range(20)]
    (tmp_path / "c.csv").write_text("id,ts,predicted,label,x,y,z\n" + "\n".join(lines))
    assert [title for title, *_ in told(collected(tmp_path, path=".", **SMALL))] == ["column age: vanished"]


@pytest.mark.parametrize("keep", [True, False])
def test_a_vanished_file_keeps_its_event_and_nothing_is_said_twice(tmp_path: Path, keep: bool) -> None:
    write(tmp_path / "1.parquet", rows(0, age=1))
    write(tmp_path / "2.parquet", rows(7200, age="old"))
    shelf = collected(tmp_path, **SMALL)
    first = dict(shelf.events)
    (tmp_path / "1.parquet").unlink()
    write(tmp_path / "3.parquet", rows(14400, age="old"))
    again(shelf, tmp_path, keep=keep, **SMALL)
    assert shelf.events == first
    assert len(first) == 1


def test_a_file_that_comes_in_between_moves_the_event(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", rows(0, age=1))
    write(tmp_path / "3.parquet", rows(14400, age="old"))
    shelf = collected(tmp_path, **SMALL)
    assert [ts for *_, ts in told(shelf)] == [when(14400)]
    write(tmp_path / "2.parquet", rows(7200, age="old"))
    again(shelf, tmp_path, **SMALL)
    assert told(shelf) == [("column age: number became text", when(60 * 19) + 1, when(7200))]
    assert {one.outcome for one in shelf.events.values()} == {"good", "excluded"}
