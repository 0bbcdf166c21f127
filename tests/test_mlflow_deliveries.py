"""MLflow: what its webhooks delivered, as a real server 3.17.2 posted it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from connectors import _files, mlflow
from tandem import connect
from tandem.connect import Given, SourceRefused
from tandem.records import Event
from tests import mlflow_pulls
from tests.mlflow_pulls import FOREST, NOW, SGD, config, events, findings, parsed, pull, state
from tests.mlflow_replay import PAYLOADS, Replay, Running

replay, server = mlflow_pulls.replay, mlflow_pulls.server

DELIVERED = PAYLOADS / "evaluating" / "deliveries.jsonl"


def second(number: int) -> int:
    """The second of a delivery, read by another program than ours."""
    told = json.loads(DELIVERED.read_text().splitlines()[number])["body"]["timestamp"]
    return int(datetime.fromisoformat(told).timestamp())


def body(entity: str, action: str, at: int, **data: str) -> dict[str, Any]:
    stamp = f"{datetime.utcfromtimestamp(at).isoformat()}.250000+00:00"
    return {"entity": entity, "action": action, "timestamp": stamp, "data": {"name": "claim-triage", **data}}


def alias(at: int, version: str) -> dict[str, Any]:
    return body("model_version_alias", "created", at, alias="champion", version=version)


def test_what_a_real_server_delivered_has_its_second() -> None:
    pages = parsed(DELIVERED)
    moves = sorted(events(pages, "promotion").values(), key=lambda e: e.ts)
    assert [(e.ts, e.ts_latest, e.version, dict(e.labels).get("from", "")) for e in moves] == [
        (second(3), None, "1", ""),
        (second(6), None, "2", "1"),
        (second(7), None, "1", "2"),
        (second(8), None, "", "1"),
    ]
    assert dict(moves[-1].labels)["removed"] == "1"
    (passed,) = events(pages, "validation").values()
    assert (passed.ts, passed.version, passed.outcome, dict(passed.labels)["from"]) == (
        second(5),
        "2",
        "good",
        "pending",
    )
    made = events(pages, "release")
    assert {key: e.ts for key, e in made.items()} == {"claim-hooked/1": second(1), "claim-hooked/2": second(2)}
    assert [f.count for f in findings(pages) if "left out" in f.reason] == [2], "a model made, a tag deleted"


@pytest.mark.parametrize("form", ["lines", "list", "bare", "one"])
def test_bodies_come_in_any_file(tmp_path: Path, form: str) -> None:
    told = [json.loads(line) for line in DELIVERED.read_text().splitlines()]
    bare = [one["body"] for one in told]
    file = tmp_path / "delivered.json"
    file.write_text(
        {
            "lines": "\n".join(map(json.dumps, bare)),
            "list": json.dumps(bare),
            "bare": json.dumps([{"payload": one} for one in bare]),
            "one": json.dumps(bare[6]),
        }[form]
    )
    moves = events(parsed(file), "promotion")
    assert len(moves) == (1 if form == "one" else 4)


def test_a_delivery_that_came_twice_is_one(tmp_path: Path) -> None:
    file = tmp_path / "twice.jsonl"
    file.write_text(DELIVERED.read_text() * 2)
    assert len(events(parsed(file), "promotion")) == 4


def test_what_is_no_delivery_of_a_model_is_left_out_and_said(tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    nameless = {key: told for key, told in alias(NOW, "2").items() if key != "data"}
    lines = [
        alias(NOW, "2"), {**alias(NOW, "3"), "timestamp": "soon"}, body("prompt_alias", "created", NOW), nameless,
        {"x": 1},
    ]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, lines)))
    pages = parsed(file)
    assert len(events(pages, "promotion")) == 1
    assert sum(f.count for f in findings(pages) if f.kind == "reject") == 3
    assert sum(f.count for f in findings(pages) if f.kind == "remark") == 1


def test_only_chosen_models_and_tags_are_read() -> None:
    assert not events(parsed(DELIVERED, models=("other*",)), "promotion")
    assert not events(parsed(DELIVERED, validation=("other",)), "validation")


def test_only_this_connector_takes_its_deliveries() -> None:
    told = _files.item(DELIVERED, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["mlflow"]


def test_other_systems_deliveries_are_not_recognised(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"event": {"event_type": "incident.triggered"}, "entity": "incident", "action": "created"}')
    assert not mlflow.recognise(_files.item(file, Given()))


# Beside a pull


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    folder = tmp_path / "hooks"
    folder.mkdir()
    return folder


def put(hooks: Path, *bodies: dict[str, Any]) -> None:
    with (hooks / "delivered.jsonl").open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in bodies)


def kept(pages: list[list[Any]]) -> dict[str, Event]:
    """The promotions that count after several pulls: of one key that of the highest revision."""
    found: dict[str, Event] = {}
    for some in pages:
        for key, event in events(some, "promotion").items():
            if key not in found or event.revision >= found[key].revision:
                found[key] = event
    return found


def test_a_move_that_was_delivered_before_the_pull_has_its_second(replay: Replay, server: Running, hooks: Path) -> None:
    first = pull(server, deliveries=hooks)
    replay.aliases["claim-triage"]["champion"] = "3"
    put(hooks, alias(NOW + 120, "3"))
    second_pull = pull(server, NOW + 300, state(first), deliveries=hooks)
    (moved,) = events(second_pull, "promotion").values()
    assert (moved.ts, moved.ts_latest, moved.version, moved.run) == (NOW + 120, None, "3", SGD)
    assert dict(moved.labels)["from"] == "2"


def test_a_move_that_is_delivered_later_becomes_exact_and_stays_one(
    replay: Replay, server: Running, hooks: Path
) -> None:
    pages = [pull(server, deliveries=hooks)]
    replay.aliases["claim-triage"]["champion"] = "3"
    pages.append(pull(server, NOW + 300, state(pages[-1]), deliveries=hooks))
    (seen,) = events(pages[-1], "promotion").values()
    assert (seen.ts, seen.ts_latest) == (NOW, NOW + 300)
    put(hooks, alias(NOW + 120, "3"))
    for step in (2, 3, 4):
        pages.append(pull(server, NOW + 300 * step, state(pages[-1]), deliveries=hooks))
    found = kept(pages)
    assert (found[seen.key].ts, found[seen.key].ts_latest) == (NOW + 120, None)
    assert len(found) == 2, "the first sight of version 2, and the move"


def test_moves_between_two_pulls_that_no_look_could_see_are_told(replay: Replay, server: Running, hooks: Path) -> None:
    pages = [pull(server, deliveries=hooks)]
    put(hooks, alias(NOW + 60, "3"), alias(NOW + 120, "1"), alias(NOW + 180, "2"))
    pages.append(pull(server, NOW + 300, state(pages[-1]), deliveries=hooks))
    told = sorted((e.ts, e.version) for e in events(pages[-1], "promotion").values())
    assert told == [(NOW + 60, "3"), (NOW + 120, "1"), (NOW + 180, "2")]


def test_two_moves_to_one_version_within_a_look_are_two(replay: Replay, server: Running, hooks: Path) -> None:
    pages = [pull(server, deliveries=hooks)]
    put(hooks, alias(NOW + 60, "3"), alias(NOW + 120, "2"), alias(NOW + 180, "3"))
    replay.aliases["claim-triage"]["champion"] = "3"
    for step in (1, 2):
        pages.append(pull(server, NOW + 300 * step, state(pages[-1]), deliveries=hooks))
        assert len(events(pages[-1], "promotion")) == 3
    assert sorted((e.ts, e.version) for e in kept(pages).values())[1:] == [
        (NOW + 60, "3"), (NOW + 120, "2"), (NOW + 180, "3"),
    ]  # fmt: skip


def test_a_removal_and_a_validation_have_their_second_too(replay: Replay, server: Running, hooks: Path) -> None:
    first = pull(server, deliveries=hooks)
    del replay.aliases["claim-triage"]["champion"]
    replay.version_tags["claim-triage", "3"] = {"validation": "rejected"}
    put(hooks, body("model_version_alias", "deleted", NOW + 10, alias="champion"),
        body("model_version_tag", "set", NOW + 20, version="3", key="validation", value="rejected"))  # fmt: skip
    second_pull = pull(server, NOW + 300, state(first), deliveries=hooks)
    (gone,) = events(second_pull, "promotion").values()
    assert (gone.ts, gone.ts_latest, dict(gone.labels)["removed"]) == (NOW + 10, None, "2")
    (failed,) = events(second_pull, "validation").values()
    assert (failed.key, failed.ts, failed.ts_latest, failed.outcome) == (
        "claim-triage/3:validation=rejected", NOW + 20, None, "bad",
    )  # fmt: skip


def test_the_first_pull_reads_what_was_delivered_before_it(replay: Replay, server: Running, hooks: Path) -> None:
    put(hooks, alias(NOW - 5000, "1"), alias(NOW - 1000, "2"))
    moves = events(pull(server, deliveries=hooks), "promotion")
    assert sorted((e.ts, e.version) for e in moves.values()) == [(NOW - 5000, "1"), (NOW - 1000, "2")]
    assert next(e for e in moves.values() if e.version == "2").run == FOREST


def test_a_delivery_from_after_the_pull_waits(replay: Replay, server: Running, hooks: Path) -> None:
    first = pull(server, deliveries=hooks)
    put(hooks, alias(NOW + 900, "3"))
    assert not events(pull(server, NOW + 300, state(first), deliveries=hooks), "promotion")


def test_an_old_delivery_is_not_told_for_ever(replay: Replay, server: Running, hooks: Path) -> None:
    put(hooks, alias(NOW - 1000, "2"))
    first = pull(server, deliveries=hooks)
    later = pull(server, NOW + 40 * 86400, state(first), deliveries=hooks)
    assert not events(later, "promotion")


def test_a_single_file_may_be_named(replay: Replay, server: Running, hooks: Path) -> None:
    put(hooks, alias(NOW - 1000, "2"))
    pages = pull(server, deliveries=hooks / "delivered.jsonl")
    assert [e.ts for e in events(pages, "promotion").values()] == [NOW - 1000]
    assert config(deliveries=hooks).deliveries == hooks


@pytest.mark.parametrize("skew", [-40, 0, 40])
def test_a_delivery_by_another_clock_is_of_the_move_that_was_seen(
    replay: Replay, server: Running, hooks: Path, skew: int
) -> None:
    pages = [pull(server, deliveries=hooks)]
    replay.aliases["claim-triage"]["champion"] = "3"
    put(hooks, alias(NOW + 1 + skew, "3"))
    pages.append(pull(server, NOW + 30, state(pages[-1]), deliveries=hooks))
    pages.append(pull(server, NOW + 300, state(pages[-1]), deliveries=hooks))
    (moved,) = (e for e in kept(pages).values() if e.version == "3")
    assert (moved.ts, moved.ts_latest) == (NOW + 1 + skew, None)


def test_deliveries_that_are_not_there_or_cannot_be_read_are_said(server: Running, hooks: Path) -> None:
    with pytest.raises(SourceRefused, match="nowhere is not there; check deliveries"):
        pull(server, deliveries=hooks / "nowhere")
    put(hooks, alias(NOW - 1000, "2"), {"x": 1})
    (said,) = [f for f in findings(pull(server, deliveries=hooks)) if f.where == "delivered.jsonl"]
    assert (said.kind, said.reason) == ("reject", "a document is no delivery of MLflow")
