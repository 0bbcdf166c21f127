"""Spinnaker's saved answers: what spin prints and Gate answers, with details and without; what it says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import spinnaker
from connectors._files import item
from tandem import connect, times
from tandem.cli import main
from tandem.config import parse as configuration
from tandem.connect import Given
from tandem.records import Page
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.test_spinnaker import DIGEST, configured, events, reasons

HERE = Path(__file__).parent / "payloads" / "spinnaker"
BEGUN = times.iso("2026-11-02T10:00:00Z")


def parsed(name: str, config: spinnaker.Config | None = None) -> list[Page]:
    one = item(HERE / name, Given())
    assert [known for known in connect.names() if connect.load(known).recognise(one)] == ["spinnaker"]
    return list(spinnaker.parse(one, config or configured()))


def test_what_spin_prints_tells_deployments_their_rollback_and_what_was_given_up() -> None:
    pages = parsed("executions.json")
    assert [(e.kind, e.outcome, e.ts, e.ended, e.version) for e in events(pages)] == [
        ("deployment", "good", BEGUN + 601, BEGUN + 661, "1.4.2"),
        ("deployment", "bad", BEGUN + 3601, BEGUN + 3781, "1.5.0"),
        ("rollback", "good", BEGUN + 3782, BEGUN + 3850, ""),
        ("deployment", "excluded", BEGUN + 7201, None, "1.4.2"),
    ]  # fmt: skip
    first, second, *_ = events(pages)
    assert (first.digest, first.actor, second.commit[:4]) == (DIGEST, "deploy-bot", "5f1c")
    assert reasons(pages) == {}
    assert "hunter2" not in repr(pages)


def test_one_execution_and_tasks_are_read_too() -> None:
    (one,) = events(parsed("execution.json"))
    assert (one.commit[:4], one.version, one.ended) == ("9d8c", "", BEGUN + 10921)
    assert {"account": "prod, prod-us", "cluster": "cart-eu, cart-us"}.items() <= dict(one.labels).items()
    assert [(e.kind, e.ts, e.actor) for e in events(parsed("tasks.json"))] == [("rollback", BEGUN + 14400, "grace")]


def test_a_list_without_details_is_told_with_a_remark_and_never_outranks_one_with_them() -> None:
    pages, whole = parsed("search.json"), {e.key: e for e in events(parsed("executions.json"))}
    assert [e.outcome for e in events(pages)] == ["good", "bad", "good"]
    assert all(e.revision < whole[e.key].revision for e in events(pages))
    assert [count for reason, count in reasons(pages).items() if "without what its stages did" in reason] == [2]


def test_files_are_imported_under_either_name_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text(
        '[[source]]\nconnector = "spin"\nname = "spin"\napplications = ["cart"]\ncomponent = "cart"\n'
    )
    for paths_given in (
        sorted(HERE.glob("*.json")),
        [HERE / "search.json", HERE / "executions.json"],
        [HERE / "search.json"],
    ):
        done = CliRunner().invoke(main, ["import", *map(str, paths_given)])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        reader = Reader(store)
        told = sorted((e.kind, e.outcome, e.version) for _, e in reader.events(0, 1 << 40))
        ids = [one.id for one in reader.series(signal="deploy_success")]
        found = [merge for [merge] in reader.totals("ratio", ids, [(0, 1 << 40)]).values() if merge]
    assert told == [
        ("deployment", "bad", "1.5.0"), ("deployment", "excluded", "1.4.2"), ("deployment", "good", ""),
        ("deployment", "good", "1.4.2"), ("rollback", "good", ""), ("rollback", "good", ""),
    ]  # fmt: skip
    assert [sum(int(merge[place]) for merge in found) for place in (0, 1)] == [2, 3]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "an execution has no id"),
        ({"buildTime": 0, "startTime": None}, "an execution has no time"),
        ({"application": "pay"}, "executions of other applications"),
    ],
)
def test_an_object_that_cannot_be_counted_is_named_and_the_rest_lands(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    rows = json.loads((HERE / "executions.json").read_text())
    path = tmp_path / "executions.json"
    path.write_text(json.dumps([{**rows[0], **change}, rows[2], 17]))
    pages = list(spinnaker.parse(item(path, Given()), configured()))
    assert [e.outcome for e in events(pages)] == ["good"]
    assert any(reason in said for said in reasons(pages))


@pytest.mark.parametrize("text", ["[]", "{}", '{"application": "x", "stages": []}', "<html>", ""])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    assert not spinnaker.recognise(item(path, Given()))


# -- what it says of itself


def test_scope_is_the_gate_and_the_applications_and_files_know_theirs() -> None:
    assert spinnaker.scope(configured("https://Gate.corp/api/", applications=("b", "a"))) == "gate.corp/api#a,b"
    ours = item(HERE / "executions.json", Given())
    assert spinnaker.belongs(ours, configured())
    assert not spinnaker.belongs(ours, configured(applications=("pay",)))


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", spinnaker.ABOUT.example, flags=re.M) if uncommented else spinnaker.ABOUT.example
    components = '[[component]]\nname = "checkout-api"\nkind = "service"\n[[source]]\n'
    (source,) = configuration(components + text, tmp_path / "tandem.toml").sources
    assert source.config.applications == ("checkout",)
    assert source.config.session is uncommented


def test_its_aliases_load_it() -> None:
    assert {connect.canonical(name) for name in ("spinnaker", *spinnaker.ABOUT.aliases)} == {"spinnaker"}
