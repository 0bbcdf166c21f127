"""The process that reads people's files: its limits, and that it never takes its caller with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tandem.child import Child, Frame, Refused


def echo(given: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Frame]:
    print("a library that talks must not break into the frames")
    yield {"given": given["say"]}, {name: array + 1 for name, array in arrays.items()}
    yield {"given": "end"}, {}


def hungry(given: Mapping[str, Any], _: Mapping[str, np.ndarray]) -> Iterator[Frame]:
    yield {"n": np.ones(given["n"]).size}, {}


def endless(_: Mapping[str, Any], __: Mapping[str, np.ndarray]) -> Iterator[Frame]:
    while True:
        np.ones(1000).sum()
    yield {}, {}


def broken(_: Mapping[str, Any], __: Mapping[str, np.ndarray]) -> Iterator[Frame]:
    yield {}, {}
    raise RuntimeError("secret path")


def refusing(_: Mapping[str, Any], __: Mapping[str, np.ndarray]) -> Iterator[Frame]:
    yield {}, {}
    raise Refused("is not what it says")


def arrow(_: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Frame]:
    taken = pa.array(arrays["values"]).to_pylist()
    yield {"values": taken, "pandas": "pandas" in sys.modules}, {}


def said(child: Child, text: str) -> list[Any]:
    return [head["given"] for head, _ in child.ask("tests.test_child:echo", {"say": text})]


def test_arrays_go_there_and_back() -> None:
    arrays = {"whole": np.arange(5), "none": np.zeros(0), "large": np.array([2**64 - 2], np.uint64)}
    with Child() as child:
        frames = list(child.ask("tests.test_child:echo", {"say": 'ü"\n'}, arrays))
    assert frames[0][0] == {"given": 'ü"\n'}
    assert frames[0][1]["whole"].tolist() == [1, 2, 3, 4, 5]
    assert frames[0][1]["none"].size == 0
    assert frames[0][1]["large"].tolist() == [2**64 - 1]


@pytest.mark.parametrize(
    ("call", "given", "wanted"),
    [
        ("hungry", {"n": 10**9}, "memory"),
        ("endless", {}, "more than 1 s of CPU"),
        ("broken", {}, "stopped its reader"),
        ("refusing", {}, "is not what it says"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_the_next_call_works(call: str, given: dict[str, Any], wanted: str) -> None:
    with Child(memory=1_000_000_000) as child:
        assert said(child, "before") == ["before", "end"]
        with pytest.raises(Refused, match=wanted):
            list(child.ask(f"tests.test_child:{call}", given, seconds=1))
        assert said(child, "after") == ["after", "end"]


def test_a_call_that_is_left_early_does_not_spoil_the_next() -> None:
    with Child() as child:
        for _ in child.ask("tests.test_child:echo", {"say": "first"}):
            break
        assert said(child, "second") == ["second", "end"]


def test_the_reader_loads_no_code_from_data_and_no_server() -> None:
    code = "import sys, tandem.summarise; print([name for name in sys.modules if name.partition('.')[0] in {names}])"
    names = {"duckdb", "requests", "streamlit", "plotly", "pandas", "connectors", "dashboard", "joblib", "torch"}
    done = subprocess.run([sys.executable, "-c", code.replace("{names}", repr(names))], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_arrow_does_not_load_pandas_in_the_reader() -> None:
    with Child() as child:
        ((head, _),) = child.ask("tests.test_child:arrow", {}, {"values": np.arange(3)})
    assert head == {"values": [0, 1, 2], "pandas": False}
