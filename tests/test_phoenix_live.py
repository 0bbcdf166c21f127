"""A real Phoenix in an environment of its own: its rows, cursors, judgements and its own summary of them (live)."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from connectors import phoenix
from tandem.connect import Common
from tandem.records import Confusion, Ratio
from tests.environments import environment
from tests.phoenix_server import span
from tests.processes import free_port, started
from tests.shelf import Shelf

REQUIREMENTS = ("arize-phoenix==20.26.1",)
T0 = 1_794_960_000
"""A midnight, UTC; the server takes whatever times it is given."""
LATER = T0 + 86_400
MANY = 1_300
"""Requests: more than a page of the server, and more than a block of rows."""

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@dataclass
class Live:
    """A running server."""

    url: str

    def call(self, path: str, body: Any = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def post(self, *spans: dict[str, Any]) -> None:
        """Post spans, and wait until the server shows them: it only queues them at first."""
        plain = [{name: value for name, value in one.items() if name != "events"} for one in spans]
        for begin in range(0, len(spans), 100):
            self.call("/v1/projects/bot/spans", {"data": plain[begin : begin + 100]})
        last = f"/v1/projects/bot/spans?span_id={spans[-1]['context']['span_id']}"
        end = time.monotonic() + 120
        while not self.call(last, method="GET")["data"]:
            assert time.monotonic() < end, "the spans never came"
            time.sleep(0.3)

    def count(self) -> int:
        return int(self.summary()["recordCount"])

    def summary(self) -> Any:
        query = (
            "{ projects { edges { node { name recordCount traceCount spanAnnotationSummary(annotationName: "
            '"correctness") { labelFractions { label fraction } } } } } }'
        )
        told = self.call("/graphql", {"query": query})
        nodes = [one["node"] for one in told["data"]["projects"]["edges"]]
        return next(one for one in nodes if one["name"] == "bot")

    def judge(self, number: int, label: str | None, **more: Any) -> None:
        told = {"name": "correctness", "annotator_kind": "LLM", "identifier": "", "span_id": f"{number:016x}", **more}
        self.call("/v1/span_annotations?sync=true", {"data": [{**told, "result": {"label": label}}]})


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    python = environment("phoenix", REQUIREMENTS)
    folder = tmp_path_factory.mktemp("phoenix")
    port, other = free_port(), free_port()
    settings = {
        "PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(other), "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    command = [python, "-m", "phoenix.server.main", "serve"]
    ready, log = f"http://127.0.0.1:{port}/v1/projects", folder / "log.txt"
    with started(command, ready, log, patience=300, folder=folder, **settings) as url:
        running = Live(url)
        running.call("/v1/projects", {"name": "bot"})
        yield running


def pulled(live: Live, shelf: Shelf, *, sweep: bool = False, **keys: Any) -> Shelf:
    common = Common("phoenix", "live", component=("bot",))
    config = phoenix.Config(common, live.url, projects=("bot",), **keys)
    asked = replace(shelf.pull(LATER, since=T0), sweep=sweep, first=not shelf.digests)
    return shelf.take(phoenix.fetch(config, asked))


def outcome(shelf: Shelf) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for piece in shelf.slices.values():
        for one in piece:
            if isinstance(one.value, Confusion):
                found.update(one.value.cells)
    return found


def total(shelf: Shelf, signal: str = "request_success") -> Ratio:
    return sum(shelf.ratios(signal).values(), Ratio())


def test_a_real_server_tells_what_was_posted_to_it(live: Live) -> None:
    """In blocks and pages of its own; children, late spans, late and changed judgements, and a deleted span."""
    statuses = ["OK", "OK", "UNSET", "ERROR"]
    posted = [span(n, T0 + n * 3, 0.25, statuses[n % 4]) for n in range(1, MANY + 1)]
    children = [span(n + 1_000_000, T0 + n * 3, status="ERROR", parent_id=f"{n:016x}") for n in range(1, 51)]
    live.post(*posted[: MANY - 100], *children, *posted[MANY - 100 :])
    for number in range(1, 11):
        live.judge(number * 100, "incorrect" if number == 3 else "correct")
    shelf = pulled(live, Shelf())
    bad = sum(one["status_code"] == "ERROR" for one in posted)
    assert total(shelf) == Ratio(MANY - bad, MANY)
    assert live.count() == MANY + 50
    assert sum(shelf.histogram().counts.values()) == MANY
    assert sum(shelf.histogram().sums.values()) == MANY * 250_000
    shares = {one["label"]: one["fraction"] for one in live.summary()["spanAnnotationSummary"]["labelFractions"]}
    assert outcome(shelf) == {(label, "correct"): round(10 * share) for label, share in shares.items()}
    assert total(shelf, "label_coverage") == Ratio(10, MANY)
    assert len(shelf.slices) == 2

    # An October span that is exported now, a judgement that changes, and one of a person that overrules.
    live.post(span(5001, T0 - 30 * 86_400, status="ERROR"))
    live.judge(1300, "incorrect")
    live.judge(1200, "correct", identifier="ada", annotator_kind="HUMAN")
    live.judge(1200, "incorrect", identifier="late")
    pulled(live, shelf)
    assert shelf.ratios()[(T0 - 30 * 86_400) // 300 * 300] == Ratio(0, 1)
    assert total(shelf).total == MANY + 1
    assert outcome(shelf) == {("correct", "correct"): 10, ("incorrect", "correct"): 2}

    # What is old is judged again at the daily sweep; what was deleted stays counted.
    live.judge(100, "incorrect")
    live.call("/v1/spans/" + f"{1299:016x}", method="DELETE")
    pulled(live, shelf, sweep=True)
    assert outcome(shelf) == {("correct", "correct"): 9, ("incorrect", "correct"): 3}
    assert total(shelf).total == MANY + 1


def test_kinds_are_asked_of_the_server(live: Live) -> None:
    live.post(*[span(n + 7_000_000, T0 + n, span_kind="RETRIEVER", parent_id=f"{1:016x}") for n in range(5)])
    shelf = pulled(live, Shelf(), kinds=("RETRIEVER",), judged_by="")
    assert total(shelf) == Ratio(5, 5)


def test_a_project_that_nobody_has_is_refused_by_name(live: Live) -> None:
    with pytest.raises(urllib.error.HTTPError):
        live.call("/v1/projects/nobody/spans", method="GET")
    assert {one["name"] for one in live.call("/v1/projects", method="GET")["data"]} == {"default", "bot"}
