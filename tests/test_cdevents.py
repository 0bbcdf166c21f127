"""CDEvents: begin and end joined in any order and over files, attempts, tests, artifacts, and what is said twice."""

from __future__ import annotations

import base64
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors import cdevents
from connectors._files import item
from tandem import collect, connect, exported, report, times
from tandem import config as configuration
from tandem.config import Config, parse
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Fact, Outcome, Page, Ratio
from tandem.report import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader

HERE = Path(__file__).parent / "payloads" / "cdevents"
TEN = times.iso("2026-11-02T10:00:00Z")
NOW = times.iso("2026-11-22T00:00:00Z")
DIGEST = "sha256:" + "ab" * 32
SHA = "0123456789" * 4


def configured(path: Path | None = None, **more: Any) -> cdevents.Config:
    common = Common("cdevents", "delivery", timezone=more.pop("zone", None), status=more.pop("status", {}))
    return cdevents.Config(common, path, **more)


def parsed(path: Path, **more: Any) -> list[Page]:
    return list(cdevents.parse(item(path, Given()), configured(**more)))


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return [one for one in found if not kind or one.kind == kind]


def ratios(pages: list[Page]) -> list[Ratio]:
    return [
        one.value for page in pages for one in page.records if isinstance(one, Fact) and isinstance(one.value, Ratio)
    ]


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def said(kind: str, at: str, subject: str = "r1", content: Any = None, **context: Any) -> dict[str, Any]:
    """One bare event at 10:MM:SS."""
    told = {"specversion": "0.5.0", "id": f"{kind} {at} {subject}", "type": f"dev.cdevents.{kind}.0.3.0",
            "source": "/ci", "timestamp": f"2026-11-02T10:{at}Z"} | context  # fmt: skip
    return {"context": told, "subject": {"id": subject, "source": "/ci", "content": content or {}}}


def saved(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return path


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / "delivery.jsonl").read_text().splitlines()]


# -- each subject


def test_a_pipeline_that_is_run_again_is_another_attempt() -> None:
    one, two = [one for one in events(parsed(HERE / "delivery.jsonl"), "build") if "pipelinerun" in one.key]
    assert (one.attempt, one.ts, one.started, one.ended, one.outcome) == (1, TEN, TEN + 20, TEN + 140, "bad")
    assert (two.attempt, two.ts, two.started, two.ended, two.outcome) == (2, TEN + 300, TEN + 300, TEN + 360, "good")
    assert one.key == two.key
    assert (one.url, one.title) == ("https://ci.example.com/run-1", "checkout failure")
    assert dict(one.labels)["pipeline"] == "checkout"


def test_a_build_knows_what_it_made() -> None:
    (build,) = [one for one in events(parsed(HERE / "delivery.jsonl"), "build") if one.key.startswith("build:")]
    assert (build.outcome, build.ts, build.ended) == ("good", TEN + 310, TEN + 340)
    assert (build.version, build.commit, build.digest) == ("1.4.2", SHA, DIGEST)


def test_a_deployment_that_its_service_tells_too_is_one() -> None:
    (deployment,) = events(parsed(HERE / "delivery.jsonl"), "deployment")
    assert (deployment.ts, deployment.ended, deployment.outcome) == (TEN + 600, TEN + 720, "good")
    assert (deployment.environment, deployment.version, deployment.digest, deployment.commit) == (
        "production", "1.4.2", DIGEST, SHA,
    )  # fmt: skip


def test_without_a_deployment_the_service_tells(tmp_path: Path) -> None:
    alone = [one for one in lines() if ".deployment." not in one["context"]["type"]]
    (deployment,) = events(parsed(saved(tmp_path / "a.jsonl", *alone)), "deployment")
    assert (deployment.ts, deployment.ended, deployment.version) == (TEN + 690, TEN + 690, "1.4.2")
    assert dict(deployment.labels)["service"] == "service/checkout"
    later = [said("service.deployed", "40:00", "service/checkout", {"artifactId": "pkg:oci/checkout@1"})]
    assert len(events(parsed(saved(tmp_path / "b.jsonl", *alone, *later)), "deployment")) == 2


def test_a_rollback_and_an_incident_from_its_detection_to_its_end() -> None:
    pages = parsed(HERE / "delivery.jsonl")
    (back,) = events(pages, "rollback")
    assert (back.ts, back.version, back.environment) == (TEN + 1500, "1.4.1", "production")
    (incident,) = events(pages, "incident")
    assert (incident.ts, incident.ended, incident.outcome) == (TEN + 1200, TEN + 1800, "bad")
    assert (incident.title, incident.url) == ("Response time above 100 ms", "https://tickets.example.com/7")
    assert dict(incident.labels)["service"] == "service/checkout"


def test_a_removal_is_a_change_that_deployed_nothing(tmp_path: Path) -> None:
    told = said("service.removed", "01:00", "service/cart", {"environment": {"id": "dev"}})
    (one,) = events(parsed(saved(tmp_path / "a.jsonl", told)))
    assert (one.kind, one.outcome, one.title) == ("infrastructure", "excluded", "service/cart removed in dev")


def test_an_incident_that_is_detected_again_is_open_again(tmp_path: Path) -> None:
    told = [said("incident.detected", "01:00"), said("incident.resolved", "02:00"), said("incident.detected", "03:00")]
    (incident,) = events(parsed(saved(tmp_path / "a.jsonl", *told)))
    assert (incident.ts, incident.ended, incident.outcome) == (TEN + 60, None, "open")


def test_tests_count_in_the_end_and_skipped_ones_not() -> None:
    pages = parsed(HERE / "delivery.jsonl")
    assert ratios(pages) == [Ratio(1, 2)]  # adds passed at last, pays failed, later was skipped
    (run,) = events(pages, "test_run")
    assert (run.outcome, run.ts, run.ended, run.environment) == ("bad", TEN + 341, TEN + 350, "dev")
    assert run.title == "checkout <b>: 1 of 2 tests failed"
    assert dict(run.labels)["failed_tests"] == "pays"


def test_a_suite_that_names_no_test_counts_as_one_and_says_so(tmp_path: Path) -> None:
    pages = parsed(saved(tmp_path / "a.jsonl", said("testsuiterun.finished", "01:00", content={"outcome": "pass"})))
    assert ratios(pages) == [Ratio(1, 1)]
    assert reasons(pages) == {"a run of a test suite that names none of its tests counts as one test": 1}


def test_a_suite_that_goes_on_counts_nothing_yet(tmp_path: Path) -> None:
    pages = parsed(saved(tmp_path / "a.jsonl", said("testsuiterun.started", "01:00")))
    assert (ratios(pages), [one.outcome for one in events(pages)]) == ([], ["open"])


@pytest.mark.parametrize(
    ("content", "outcome"),
    [({"outcome": "success"}, "good"), ({"outcome": "FAILURE"}, "bad"), ({"outcome": "error"}, "bad"),
     ({"outcome": "cancel"}, "excluded"), ({}, "excluded"), ({"outcome": "sideways"}, "excluded")],
)  # fmt: skip
def test_each_outcome(tmp_path: Path, content: Any, outcome: str) -> None:
    pages = parsed(saved(tmp_path / "a.jsonl", said("pipelinerun.finished", "01:00", content=content)))
    assert [one.outcome for one in events(pages)] == [outcome]
    assert bool(reasons(pages)) == (content == {"outcome": "sideways"})


def test_a_source_may_say_what_a_status_means(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jsonl", said("pipelinerun.finished", "01:00", content={"outcome": "sideways"}))
    status: dict[str, Outcome] = {"sideways": "good"}
    assert [one.outcome for one in events(parsed(path, status=status))] == ["good"]


def test_a_finished_build_without_an_artifact_is_no_success(tmp_path: Path) -> None:
    assert [one.outcome for one in events(parsed(saved(tmp_path / "a.jsonl", said("build.finished", "01:00"))))] == [
        "excluded"
    ]


@pytest.mark.parametrize(("builds", "kinds"), [(("taskrun",), ["taskrun"]), (("build",), ["build"])])
def test_what_counts_as_a_build_is_configured(builds: tuple[str, ...], kinds: list[str]) -> None:
    found = events(parsed(HERE / "delivery.jsonl", builds=builds), "build")
    assert [dict(one.labels)["subject"] for one in found] == kinds
    with pytest.raises(ValueError, match='not "stage"'):
        configured(builds=("stage",))


# -- artifacts


@pytest.mark.parametrize(
    ("url", "name", "version", "digest", "commit"),
    [
        ("pkg:maven/com.acme/cart@1.2.3", "cart", "1.2.3", "", ""),
        (f"pkg:oci/cart@sha256%3A{'ab' * 32}", "cart", "", DIGEST, ""),
        (f"pkg:oci/cart@sha256:{'AB' * 32}?tag=v2", "cart", "v2", DIGEST, ""),
        (f"pkg:npm/%40acme/cart@2.0?vcs_url=git+https://x/y%40{SHA}", "cart", "2.0", "", SHA),
        ("pkg:generic/cart", "cart", "", "", ""),
        ("cart:latest", "cart:latest", "", "", ""),
    ],
)
def test_what_an_artifact_is(tmp_path: Path, url: str, name: str, version: str, digest: str, commit: str) -> None:
    told = said("service.deployed", "01:00", "s", {"artifactId": url})
    (one,) = events(parsed(saved(tmp_path / "a.jsonl", told)))
    assert (dict(one.labels)["artifact"], one.version, one.digest, one.commit) == (name, version, digest, commit)


# -- the same said in other ways


def test_bare_wrapped_and_twice_are_the_same(tmp_path: Path) -> None:
    bare = events(parsed(HERE / "delivery.jsonl"))
    assert events(parsed(HERE / "cloudevents.jsonl")) == bare
    coded = [base64.b64encode(json.dumps(one).encode()).decode() for one in lines()]
    packed = [{"specversion": "1.0", "type": "dev.cdevents.x", "data_base64": one} for one in coded]
    assert events(parsed(saved(tmp_path / "packed.jsonl", *packed))) == bare
    assert events(parsed(saved(tmp_path / "twice.jsonl", *lines(), *packed, lines()))) == bare


def test_events_in_any_order_say_the_same(tmp_path: Path) -> None:
    bare = events(parsed(HERE / "delivery.jsonl"))
    for seed in range(5):
        mixed = random.Random(seed).sample(lines(), len(lines()))
        pages = parsed(saved(tmp_path / "a.jsonl", *mixed))
        assert sorted(map(repr, events(pages))) == sorted(map(repr, bare))
        assert ratios(pages) == [Ratio(1, 2)]


def test_milliseconds_and_older_versions() -> None:
    (build,) = events(parsed(HERE / "batch.json"))
    assert (build.ts, build.ended, build.outcome) == (1793613600, 1793613660, "bad")


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({"timestamp": "yesterday"}, "an event without a time of ISO 8601 is left out"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "an event whose time stands for none is left out"),
        ({"timestamp": "2026-11-02T10:00:00"},
         "an event whose time has no offset is left out; set timezone for the source"),
        ({"id": ""}, "an event without the id of its context or of its subject is left out"),
        ({"type": "dev.cdeventsx.acme-build.started.0.1.0"}, "no CDEvent, or one of somebody's own type, is left out"),
        ({"type": "dev.cdevents.ticket.closed.0.1.0"}, "events of the type ticket.closed are not used"),
        ({"type": 5}, "no CDEvent, or one of somebody's own type, is left out"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_counted(tmp_path: Path, context: Any, reason: str) -> None:
    pages = parsed(
        saved(tmp_path / "a.jsonl", said("build.started", "01:00", **context), said("build.started", "02:00", "b2"))
    )
    assert len(events(pages)) == 1
    assert reasons(pages) == {reason: 1}


@pytest.mark.parametrize(
    "document", [5, None, [], [[]], {}, {"data": 5}, {"data": "x"}, {"data_base64": "%"}, {"context": []}]
)
def test_documents_of_any_shape_raise_nothing(tmp_path: Path, document: Any) -> None:
    pages = parsed(saved(tmp_path / "a.jsonl", document, said("build.started", "02:00")))
    assert len(events(pages)) == 1


def test_half_a_character_is_mended(tmp_path: Path) -> None:
    told = said(
        "pipelinerun.finished", "01:00", "r\ud800", {"pipelineName": "a\udfff \U0001f600", "outcome": "success"}
    )
    path = saved(tmp_path / "a.jsonl", told)
    assert "\\ud800" in path.read_text()
    (run,) = events(parsed(path))
    assert (run.title, run.key) == ("a\ufffd \U0001f600 success", "pipelinerun:/ci:r\ufffd")


def test_a_time_without_offset_uses_the_zone(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jsonl", said("build.started", "00:00", timestamp="2026-11-02T11:00:00"))
    assert [one.ts for one in events(parsed(path, zone="Europe/Berlin"))] == [TEN]


def test_two_that_share_an_id_and_differ_are_told(tmp_path: Path) -> None:
    told = [said("build.started", "01:00", id="x"), said("build.started", "02:00", id="x")]
    pages = parsed(saved(tmp_path / "a.jsonl", *told))
    assert [one.ts for one in events(pages)] == [TEN + 60]
    assert reasons(pages) == {"two events have one source and id and say different things; the first counts": 1}


# -- pulls


def pulled(path: Path, until: int = NOW, **more: Any) -> list[Page]:
    return list(cdevents.fetch(configured(path), Pull(0, until, until, **more)))


def test_a_second_pull_reads_nothing_and_one_more_file_reads_all(tmp_path: Path) -> None:
    saved(tmp_path / "a.jsonl", said("pipelinerun.started", "01:00"))
    first = pulled(tmp_path)
    assert [one.outcome for one in events(first)] == ["open"]
    state = first[-1].state
    assert pulled(tmp_path, state=state) == []
    saved(tmp_path / "b.jsonl", said("pipelinerun.finished", "03:00", content={"outcome": "success"}))
    (run,) = events(pulled(tmp_path, state=state))
    assert (run.ts, run.ended, run.outcome) == (TEN + 60, TEN + 180, "good")
    assert run.revision > events(first)[0].revision


def test_an_end_finds_a_beginning_whose_file_is_gone(tmp_path: Path) -> None:
    saved(tmp_path / "a.jsonl", said("pipelinerun.queued", "01:00"), said("pipelinerun.started", "01:30"))
    (still,) = events(pulled(tmp_path))
    saved(tmp_path / "a.jsonl", said("pipelinerun.finished", "03:00", content={"outcome": "success"}))
    (run,) = events(pulled(tmp_path, open=(still,)))
    assert (run.ts, run.started, run.ended) == (still.ts, TEN + 90, TEN + 180)
    # Read once more, now that it is over and its beginning is gone, it says less and does not win.
    assert events(pulled(tmp_path))[0].revision < run.revision


def test_what_lies_after_the_end_of_a_pull_is_read_again(tmp_path: Path) -> None:
    saved(tmp_path / "a.jsonl", said("build.started", "01:00"))
    assert pulled(tmp_path, until=TEN + 60)[-1].state == ""
    assert pulled(tmp_path, until=TEN + 61)[-1].state != ""


def test_a_broken_file_is_a_finding_and_the_rest_lands(tmp_path: Path) -> None:
    saved(tmp_path / "a.jsonl", said("build.started", "01:00"))
    (tmp_path / "b.jsonl").write_text(json.dumps(said("build.started", "02:00", "b2")) + '\n{"context": {"type": "dev.')
    pages = pulled(tmp_path)
    assert len(events(pages)) == 2
    assert [(one.kind, one.where) for page in pages for one in page.findings] == [("reject", "b.jsonl")]
    with pytest.raises(SourceRefused, match="is not there"):
        pulled(tmp_path / "none.jsonl")
    with pytest.raises(SourceRefused, match="set path"):
        list(cdevents.fetch(configured(), Pull(0, NOW, NOW)))


def test_every_payload_is_recognised_by_nobody_else(tmp_path: Path) -> None:
    for path in [*sorted(HERE.glob("*.json*")), HERE]:
        found = item(path, Given())
        assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["cdevents"], path.name
    plain = saved(tmp_path / "ce.json", {"specversion": "1.0", "type": "com.acme.order", "id": "1", "data": {}})
    assert not cdevents.recognise(item(plain, Given()))


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", cdevents.ABOUT.example, flags=re.M) if uncommented else cdevents.ABOUT.example
    components = '[[component]]\nname = "checkout-api"\nkind = "service"\n[[source]]\n'
    (source,) = parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.builds == (("pipelinerun",) if uncommented else ("build", "pipelinerun"))


# -- in the store


@dataclass
class Context:
    config: Config
    store: Store


CONFIG = """
[[component]]
name = "checkout-api"
kind = "service"
[[source]]
connector = "cdevents"
name = "delivery"
path = "events/*"
component = "checkout-api"
"""


@pytest.mark.parametrize("ways", [("sync",), ("import",), ("sync", "import", "sync"), ("import", "sync", "import")])
def test_however_they_come_they_count_once(tmp_path: Path, ways: tuple[str, ...]) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    told = lines()
    saved(folder / "1.jsonl", *told[:9])
    saved(folder / "2.jsonl", *told[9:], *told[:3])
    (tmp_path / "tandem.toml").write_text(CONFIG)
    config = configuration.load(tmp_path / "tandem.toml")
    with open_store(tmp_path / "s.duckdb") as store:
        for way in ways:
            if way == "sync":
                assert [one.error for one in collect.sync(store, config, NOW)] == [""]
                continue
            for found in exported.recognise([folder], config, Given(), None):
                assert found.item is not None and found.source is not None, found.refused
                collect.import_item(store, found.source, found.item, NOW)
        counted = {}
        for where in ("production", "dev"):
            window = Window(TEN - 3600, TEN + 3600)
            answer = report.show(Context(config, store), "checkout-api", window, now=NOW, environment=where)
            counted[where] = {
                one["signal"]: (one["good"], one["total"]) for one in answer["signals"] if one.get("total")
            }
        held = [one for _, one in Reader(store).events(TEN - 60, TEN + 3600, components=["checkout-api"])]
    assert {name: counted["production"][name] for name in ("build_success", "deploy_success")} == {
        "build_success": (2, 2), "deploy_success": (1, 1),
    }  # fmt: skip
    assert counted["dev"]["test_success"] == (1, 2)
    assert sorted(kind for kind, _ in {(one.kind, one.key) for one in held}) == [
        "build", "build", "deployment", "incident", "rollback", "test_run",
    ]  # fmt: skip
