"""Phoenix: requests and durations of spans in the order of rows, late spans, judgements that come or change later."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _files, phoenix
from connectors._phoenix import BLOCK, STATUS
from tandem import collect, exported
from tandem import config as configuration
from tandem.bins import DURATION
from tandem.config import Source
from tandem.connect import Common, Given, Pull, Rule, SourceDown, SourceRefused
from tandem.records import DAY, Confusion, Fact, Histogram, Page, Ratio, Sample
from tandem.store.backup import export
from tandem.store.file import open_store
from tests.faults import PATIENT, TOKEN, TOKEN_ENV, virtual
from tests.faults_phoenix import T0, config, filled
from tests.phoenix_server import Phoenix, clock, span
from tests.replay import Answer, serve
from tests.shelf import Shelf

HERE = Path(__file__).parent / "payloads" / "phoenix"
BOT = Common("phoenix", "traces", component=("bot",))
LATER = T0 + DAY


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of everything: pages of 100 spans, blocks of 100 rows, 20 spans asked about at once."""
    monkeypatch.setattr(phoenix, "BLOCK", BLOCK // 10)
    monkeypatch.setattr(phoenix, "PER_PAGE", phoenix.PER_PAGE // 10)
    monkeypatch.setattr(phoenix, "ASKED", phoenix.ASKED // 10)


class Reading:
    """A source with its memory, and what the store would hold of it."""

    def __init__(self, server: Phoenix, **keys: Any) -> None:
        self.server = server
        self.keys = keys
        self.shelf = Shelf()
        self.asked = 0
        self.pages: list[Page] = []

    def pull(self, until: int = LATER, *, sweep: bool = False, keep: bool = True, since: int = T0) -> Reading:
        first = self.shelf.state is None and not self.shelf.digests
        self.server.asked.clear()
        with virtual(PATIENT), serve(self.server.answer) as running:
            given = config(running.url, **{name: value for name, value in self.keys.items() if name != "common"})
            given = replace(given, common=self.keys.get("common", BOT))
            asked = replace(self.shelf.pull(until, keep=keep, since=since), sweep=sweep, first=first)
            self.pages = list(phoenix.fetch(given, asked))
            self.shelf.take(self.pages)
        self.asked = len(self.server.asked)
        return self

    def total(self, signal: str = "request_success", segment: str = "") -> Ratio:
        return sum(self.shelf.ratios(signal, segment).values(), Ratio())

    def outcome(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for piece in self.shelf.slices.values():
            for one in piece:
                if isinstance(one.value, Confusion) and not one.series.segment:
                    found.update(one.value.cells)
        return found


def requests(server: Phoenix) -> list[dict[str, Any]]:
    return [one for _, project, one in server.rows if project == 2 and one["parent_id"] is None]


def by_hand(server: Phoenix) -> dict[int, Ratio]:
    """Good out of all root spans by the bucket in which they ended."""
    found: dict[int, Ratio] = {}
    for one in requests(server):
        bucket = int(np.datetime64(one["end_time"][:19]).astype(int)) // 300 * 300
        found[bucket] = found.get(bucket, Ratio()) + Ratio(int(one["status_code"] != "ERROR"), 1)
    return found


# --- counts


def test_root_spans_are_requests_and_their_durations_latency() -> None:
    """250 of them in pages of 100; children are no requests; durations binned by numpy in microseconds."""
    server = filled(250)
    reading = Reading(server).pull()
    assert reading.shelf.ratios() == by_hand(server)
    moments = [(np.datetime64(one["start_time"][:-6]), np.datetime64(one["end_time"][:-6])) for one in requests(server)]
    micros = np.array([int((end - begin) / np.timedelta64(1, "us")) for begin, end in moments])
    places = np.searchsorted(np.array([round(edge * 1e6) for edge in DURATION.edges]), micros, side="left")
    found = reading.shelf.histogram()
    assert dict(found.counts) == dict(Counter(places.tolist()))
    assert sum(found.sums.values()) == int(micros.sum())


def test_judgements_are_outcomes_of_the_answers_that_have_one() -> None:
    server = filled(120)
    labels = Counter(one["result"]["label"] for one in server.notes.values())
    reading = Reading(server).pull()
    assert reading.outcome() == {(label, "correct"): n for label, n in labels.items()}
    assert reading.total("label_coverage") == Ratio(sum(labels.values()), 120)


def test_captured_pages_agree_with_the_servers_own_summary(tmp_path: Path) -> None:
    """GraphQL of the same server: 6 records, a fifth of 5 labels incorrect; one of six failed."""
    folder = saved(tmp_path / "support-bot", "spans_page1", "spans_page2", "annotations")
    shelf = imported(folder)
    summary = json.loads((HERE / "graphql_projects.json").read_text())["data"]["projects"]["edges"][1]["node"]
    assert sum(shelf.ratios().values(), Ratio()) == Ratio(5, summary["recordCount"])
    shares = {one["label"]: one["fraction"] for one in summary["spanAnnotationSummary"]["labelFractions"]}
    cells = [one.value.cells for piece in shelf.slices.values() for one in piece if isinstance(one.value, Confusion)]
    assert cells == [{("correct", "correct"): 5 * shares["correct"], ("incorrect", "correct"): 5 * shares["incorrect"]}]
    places = np.searchsorted(DURATION.edges, [summary["latencyMsQuantile"] / 1000], side="left")
    assert places[0] in shelf.histogram().counts


@pytest.mark.parametrize("word", [*STATUS, "UNSET", "MAYBE", ""])
def test_every_status_of_a_span(word: str) -> None:
    server = Phoenix()
    server.post(span(1, T0 + 10, status=word))
    reading = Reading(server).pull()
    outcome = STATUS.get(word or "UNSET")
    assert reading.total() == {"good": Ratio(1, 1), "bad": Ratio(0, 1), None: Ratio()}[outcome]
    assert any('"MAYBE" is unknown' in reason for reason in reading.shelf.reasons()) is (word == "MAYBE")
    told = Reading(server, common=replace(BOT, status={word or "UNSET": "bad"})).pull()
    assert told.total() == Ratio(0, 1)


def test_an_unknown_label_is_excluded_and_can_be_named() -> None:
    server = Phoenix()
    server.post(*[span(n, T0 + n) for n in range(1, 4)])
    for number, label in ((1, "factual"), (2, "hallucinated"), (3, "correct")):
        server.judge(number, label)
    reading = Reading(server).pull()
    assert reading.outcome() == {("correct", "correct"): 1}
    assert reading.total("label_coverage") == Ratio(1, 3)
    assert sum(n for reason, n in reading.shelf.reasons().items() if "is unknown" in reason) == 2
    named = Reading(server, common=replace(BOT, status={"factual": "good", "hallucinated": "bad"})).pull()
    assert named.outcome() == {("correct", "correct"): 2, ("incorrect", "correct"): 1}


def test_kinds_of_spans_can_be_the_requests() -> None:
    server = filled(90)
    reading = Reading(server, kinds=("TOOL",)).pull()
    assert reading.total() == Ratio(0, 30)


def test_segments_and_models_are_those_of_the_span() -> None:
    server = Phoenix()
    for number, (model, tier) in enumerate([("m-1", "gold"), ("m-2", "gold"), ("m-2", None)], 1):
        attributes = {"llm.model_name": model, **({"tier": tier} if tier else {})}
        server.post(span(number, T0 + number, attributes=attributes))
    rules = (Rule(("bot",), {"project": "bot", "model": "m-2"}),)
    reading = Reading(server, segments=("tier",), common=replace(BOT, component=(), map=rules)).pull()
    facts = [one for piece in reading.shelf.slices.values() for one in piece if one.series.signal == "request_success"]
    mine = {one.series.segment: one.value for one in facts if one.series.component == "bot"}
    assert mine == {"": Ratio(2, 2), "tier=gold": Ratio(1, 1)}
    assert {dict(one.series.labels).get("model") for one in facts if not one.series.component} == {"m-1"}


# --- what changes later


def test_spans_that_were_exported_late_lie_in_their_own_buckets() -> None:
    """Newest rows first, whatever their times: one of October comes last and is found at once."""
    server = filled(50)
    reading = Reading(server).pull()
    october = T0 - 40 * DAY
    server.post(span(9001, october), span(9002, T0 + 5))
    reading.pull()
    assert reading.shelf.ratios() == by_hand(server)
    assert reading.shelf.ratios()[october // 300 * 300] == Ratio(1, 1)


@pytest.mark.parametrize("old", [10, 250])
def test_a_judgement_that_comes_late_changes_the_bucket_of_its_answer(old: int) -> None:
    """Of a new span at the next pull, of an old one at the daily sweep; then both are as if they had come at once."""
    server = filled(300)
    server.notes.clear()
    reading = Reading(server).pull()
    assert reading.outcome() == {}
    server.judge(300 - old, "incorrect")
    reading.pull()
    assert bool(reading.outcome()) is (old == 10)
    reading.pull(sweep=True)
    assert reading.outcome() == {("incorrect", "correct"): 1}
    assert reading.total("label_coverage") == Ratio(1, 300)
    at_once = Reading(server).pull()
    assert at_once.shelf.slices == reading.shelf.slices


def test_a_judgement_that_is_changed_takes_the_place_of_the_old_one() -> None:
    """The same span, name and identifier is one; a person's word counts before a newer one of a program."""
    server = Phoenix()
    server.post(span(1, T0 + 1))
    reading = Reading(server)
    for label, more in (
        ("correct", {}),
        ("incorrect", {"updated_at": clock(100)}),
        ("correct", {"identifier": "ada", "annotator_kind": "HUMAN", "updated_at": clock(50)}),
        ("incorrect", {"identifier": "second", "updated_at": clock(200)}),
    ):
        server.judge(1, label, **more)
        reading.pull()
        expected = "correct" if "ada" in {key[2] for key in server.notes} else label
        assert reading.outcome() == {(expected, "correct"): 1}
        assert reading.total("label_coverage") == Ratio(1, 1)


def test_a_score_is_right_from_a_bound_on_and_others_are_samples() -> None:
    server = Phoenix()
    server.post(*[span(n, T0 + n) for n in range(1, 4)])
    for number, score in ((1, 0.5), (2, 0.49), (3, 0.9)):
        server.judge(number, None, score)
        server.judge(number, None, score / 2, name="helpfulness")
    silent = Reading(server).pull()
    assert silent.outcome() == {}
    assert any("set right_at" in reason for reason in silent.shelf.reasons())
    reading = Reading(server, right_at=0.5, scores=("helpfulness",)).pull()
    assert reading.outcome() == {("correct", "correct"): 2, ("incorrect", "correct"): 1}
    samples = [one for page in reading.pages for one in page.records if isinstance(one, Sample)]
    assert {(one.series.name, one.run, one.value) for one in samples} == {
        ("helpfulness", f"{n:016x}", score / 2) for n, score in ((1, 0.5), (2, 0.49), (3, 0.9))
    }
    assert {one.series.component for one in samples} == {"bot"}


def test_a_span_that_lies_ahead_waits_and_one_far_ahead_is_said() -> None:
    server = Phoenix()
    server.post(span(1, T0 + 100), span(2, T0 + 1100), span(3, T0 + 90_000), *[span(n, T0 + 50) for n in range(4, 300)])
    reading = Reading(server).pull(T0 + 1000)
    assert reading.total() == Ratio(297, 297)
    assert reading.shelf.reasons() == {"a span lies in the future": 1}
    server.post(*[span(n, T0 + 60) for n in range(300, 600)])
    assert reading.pull(T0 + 1200).total() == Ratio(598, 598)


def test_what_vanished_stays_counted_unless_the_source_restates() -> None:
    for deletions, left in (("keep", 30), ("restate", 29)):
        server = filled(30)
        reading = Reading(server, common=replace(BOT, deletions=deletions)).pull()  # type: ignore[arg-type]
        server.delete(7)
        reading.pull()
        assert reading.total().total == left
        assert any("stay counted" in reason for reason in reading.shelf.reasons()) is (deletions == "keep")


# --- how much is asked


def test_a_second_pull_asks_only_for_what_may_have_changed() -> None:
    """One list of projects, one page of spans, and the judgements of the newest rows; no fact is told again."""
    server = filled(400)
    reading = Reading(server).pull()
    before = reading.asked
    reading.pull()
    lists = [one for one in server.asked if not one.path.endswith("span_annotations")]
    print(f"the first pull makes {before} requests, a second {reading.asked}; the fewest possible are 2 without labels")
    assert len(lists) <= 4
    assert reading.asked <= 4 + 10
    assert not any(page.records for page in reading.pages)
    without = Reading(server, judged_by="").pull().pull()
    assert without.asked <= 4


def test_a_first_pull_ends_where_everything_is_older_than_asked() -> None:
    server = filled(400)
    since = T0 + 300 * 7
    reading = Reading(server).pull(since=since)
    kept = sum(1 for one in requests(server) if one["end_time"] >= clock(since))
    assert kept <= reading.total().total < kept + 2 * BLOCK // 10


@pytest.mark.parametrize("sweep", [False, True])
def test_lost_memory_costs_requests_and_never_a_number(sweep: bool) -> None:
    server = filled(250)
    reading = Reading(server).pull()
    before = dict(reading.shelf.slices)
    server.post(span(8001, T0 + 77))
    reading.pull(keep=False, sweep=sweep, since=LATER - 600)
    assert reading.shelf.ratios() == by_hand(server)
    assert sum(reading.shelf.slices[name] != piece for name, piece in before.items()) <= 1


def test_projects_are_listed_in_pages_and_chosen_by_globs() -> None:
    server = Phoenix(names=[f"p{n}" for n in range(250)] + ["bot", "bot/two ü"])
    server.post(span(1, T0 + 1), project="bot")
    server.post(span(2, T0 + 2), project="bot/two ü")
    given = replace(config("http://x"), projects=("bot*",))
    with virtual(PATIENT), serve(server.answer) as running:
        shelf = Shelf().take(phoenix.fetch(replace(given, url=running.url), Pull(T0, LATER, LATER, first=True)))
    assert sum(shelf.ratios().values(), Ratio()) == Ratio(2, 2)
    assert set(shelf.digests) == {"bot:0", "bot/two ü:0"}
    with virtual(), serve(server.answer) as running, pytest.raises(SourceRefused, match="no project that fits"):
        list(phoenix.fetch(replace(given, url=running.url, projects=("none",)), Pull(T0, LATER, LATER)))


def test_a_project_that_is_renamed_is_counted_once() -> None:
    server = filled(20)
    reading = Reading(server).pull()
    server.names[1] = "bot-2"
    with virtual(PATIENT), serve(server.answer) as running:
        given = replace(config(running.url), projects=("bot*",))
        reading.shelf.take(phoenix.fetch(given, reading.shelf.pull(LATER)))
    assert reading.total().total == 20


# --- what is wrong


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"end_time": "yesterday"}, "a time cannot be read"),
        ({"end_time": "2026-11-20T10:00:00"}, "a time has no offset"),
        ({"end_time": "1970-01-01T00:00:00+00:00"}, "a time is absent"),
        ({"start_time": "0001-01-01T00:00:00+00:00"}, "a time is absent"),
        ({"context": None}, "a span lacks its context"),
        ({"context": {"span_id": ""}}, "a span lacks its id"),
    ],
)
def test_a_span_that_cannot_be_counted_is_said(change: dict[str, Any], said: str) -> None:
    server = Phoenix()
    server.post(span(1, T0 + 1), {**span(2, T0 + 2), **change})
    reading = Reading(server, judged_by="").pull()
    assert reading.total() == Ratio(1, 1)
    assert reading.shelf.reasons() == {said: 1}


def test_a_negative_duration_counts_as_a_request_only() -> None:
    server = Phoenix()
    server.post(span(1, T0 + 1, lasted=-5))
    reading = Reading(server).pull()
    assert reading.total() == Ratio(1, 1)
    assert not [one for piece in reading.shelf.slices.values() for one in piece if isinstance(one.value, Histogram)]


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ({"detail": "x"}, SourceRefused, "no list of Phoenix"),
        ([1], SourceRefused, "no list of Phoenix"),
        ({"data": [{"id": "x"}], "next_cursor": None}, SourceRefused, "no id of Phoenix"),
    ],
)
def test_another_answer_is_one_sentence(body: Any, error: type[Exception], said: str) -> None:
    server = filled(3)

    def answer(asked: Any) -> Answer:
        return Answer(body) if asked.path.endswith("/spans") else server.answer(asked)

    with virtual(), serve(answer) as running, pytest.raises(error, match=said):
        list(phoenix.fetch(config(running.url), Pull(T0, LATER, LATER)))


def test_a_skipped_page_is_found_at_once() -> None:
    """A page that does not begin where the one before it ended is not counted."""
    server = filled(250)

    def answer(asked: Any) -> Answer:
        good = server.answer(asked)
        if "cursor" in asked.parameters() and asked.path.endswith("/spans"):
            return replace(good, body={**good.body, "data": good.body["data"][5:]})
        return good

    with virtual(), serve(answer) as running, pytest.raises(SourceDown, match="not in the order of its rows"):
        list(phoenix.fetch(config(running.url), Pull(T0, LATER, LATER)))


def test_hostile_text_stays_data() -> None:
    evil = "<script>alert(1)</script>=cmd|' /C calc'!A0"
    server = Phoenix(names=["default", "bot"])
    server.post(span(1, T0 + 1, attributes={"llm.model_name": evil}, name=evil, status_message=evil))
    server.judge(1, evil)
    reading = Reading(server, common=replace(BOT, component=())).pull()
    [*facts] = [one for piece in reading.shelf.slices.values() for one in piece]
    assert {dict(one.series.labels)["model"] for one in facts} == {evil}


# --- saved pages


def saved(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(HERE / f"{name}.json", folder)
    return folder


def imported(path: Path, shelf: Shelf | None = None, **keys: Any) -> Shelf:
    shelf = shelf or Shelf()
    item = _files.item(path, Given())
    assert phoenix.recognise(item)
    given = phoenix.Config(keys.pop("common", BOT), "file:x", **keys)
    return shelf.take(phoenix.parse_with(item, given, shelf.pull()))


def test_pages_that_are_saved_later_add_to_the_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "bot", "spans_page1")
    shelf = imported(folder)
    assert sum(shelf.ratios().values(), Ratio()) == Ratio(2, 3)
    imported(saved(folder, "spans_page2", "spans_window", "annotations"), shelf)
    assert sum(shelf.ratios().values(), Ratio()) == Ratio(5, 6)
    assert sum(shelf.ratios("label_coverage").values(), Ratio()) == Ratio(5, 6)
    (folder / "spans_page1.json").unlink()
    imported(folder, shelf)
    assert sum(shelf.ratios().values(), Ratio()) == Ratio(5, 6)
    assert any("put all saved pages into one folder" in reason for reason in shelf.reasons())


def test_what_the_server_told_is_not_counted_again_from_files(tmp_path: Path) -> None:
    server = filled(20)
    reading = Reading(server).pull()
    imported(saved(tmp_path / "bot", "spans_page1"), reading.shelf)
    assert reading.total().total == 20


def test_an_import_knows_pages_by_content(tmp_path: Path) -> None:
    folder = saved(tmp_path / "support-bot", "spans_page1", "spans_page2", "annotations")
    empty = configuration.parse("", tmp_path)
    [found] = exported.recognise([folder], empty, Given(component="bot"), None)
    assert found.source is not None, found.refused
    assert found.source.common.connector == "phoenix"
    for name in ("projects", "graphql_projects"):
        assert not phoenix.recognise(_files.item(HERE / f"{name}.json", Given()))


def test_annotations_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="into one folder with the pages of their spans"):
        imported(saved(tmp_path / "bot", "annotations"))


# --- through the store


def counted(pages: Sequence[Page]) -> int:
    return sum(one.value.total for page in pages for one in page.records
               if isinstance(one, Fact) and isinstance(one.value, Ratio))  # fmt: skip


def test_the_token_stays_secret_and_a_killed_pull_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = filled(400, TOKEN)
    server.names[1] = f"bot {TOKEN}"
    with virtual(PATIENT), open_store(tmp_path / "t.duckdb") as store, serve(server.answer) as running:
        given = replace(config(running.url, token_env=TOKEN_ENV), projects=("bot*",))
        for now in (LATER, LATER + 300):
            outcome = collect.pull(store, Source(given.common, phoenix, given), now)  # type: ignore[arg-type]
            assert outcome.error == ""
        server.key = "another"
        refused = collect.pull(store, Source(given.common, phoenix, given), LATER + 600)  # type: ignore[arg-type]
        assert "the token was refused" in refused.error
        export(store, tmp_path / "export")
    said = capfd.readouterr()
    assert TOKEN not in repr(outcome) + repr(refused) + said.out + said.err
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
