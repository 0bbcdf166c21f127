"""Pulls and imports of OpenLineage's files: what is read again, what is corrected, and that nothing counts twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors import openlineage
from connectors._files import FolderItem, item
from tandem import collect, connect, exported, report
from tandem import config as configuration
from tandem.config import Config, Source
from tandem.connect import Given, Item, Pull
from tandem.records import Event, Fact, Page
from tandem.report import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.test_openlineage import (
    NOW,
    TEN,
    configured,
    dataset,
    events,
    lines,
    measured,
    said,
    saved,
    table,
)

CONFIG = """
[[component]]
name = "claims-risk"
kind = "model"
[[source]]
connector = "marquez"
name = "lineage"
path = "events/*"
training = ["train_*"]
models = ["models/*"]
component = "claims-risk"
"""


@dataclass
class Context:
    config: Config
    store: Store


def pulled(path: Path, until: int = NOW, **more: Any) -> list[Page]:
    return list(openlineage.fetch(configured(path), Pull(0, until, until, **more)))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    (tmp_path / "events").mkdir()
    (tmp_path / "tandem.toml").write_text(CONFIG)
    with open_store(tmp_path / "s.duckdb") as store:
        yield Context(configuration.load(tmp_path / "tandem.toml"), store)


def synced(context: Context) -> None:
    assert [one.error for one in collect.sync(context.store, context.config, NOW)] == [""]


def counted(context: Context) -> dict[str, tuple[int, int]]:
    answer = report.show(context, "claims-risk", Window(TEN - 3600, TEN + 7200), now=NOW)
    return {one["signal"]: (one["good"], one["total"]) for one in answer["signals"] if one.get("good") is not None}


def held(context: Context, kind: str) -> list[Event]:
    found = Reader(context.store).events(TEN - 60, TEN + 7200, components=["claims-risk"], newest=True)
    return [one for _, one in found if one.kind == kind and one.outcome != "excluded"]


# -- pulls


def test_a_second_pull_reads_nothing_and_one_more_file_reads_all(tmp_path: Path) -> None:
    saved(tmp_path / "a.ndjson", said("START", "01:00"))
    first = pulled(tmp_path)
    assert [one.outcome for one in events(first)] == ["open"]
    state = first[-1].state
    assert pulled(tmp_path, state=state) == []
    saved(tmp_path / "b.ndjson", said("COMPLETE", "03:00"))
    (run,) = events(pulled(tmp_path, state=state))
    assert (run.started, run.ended, run.outcome) == (TEN + 60, TEN + 180, "good")
    assert run.revision > events(first)[0].revision


def test_an_end_finds_a_start_whose_file_is_gone(tmp_path: Path) -> None:
    saved(tmp_path / "a.ndjson", said("START", "01:00"))
    (still,) = events(pulled(tmp_path))
    saved(tmp_path / "a.ndjson", said("COMPLETE", "03:00"))
    (run,) = events(pulled(tmp_path, open=(still,)))
    assert (run.ts, run.started, run.ended) == (TEN + 60, TEN + 60, TEN + 180)
    # Read once more, now that it is over and its start is gone, it says less and does not win.
    assert events(pulled(tmp_path))[0].revision < run.revision


def test_what_lies_after_the_end_of_a_pull_is_left_for_the_next(tmp_path: Path) -> None:
    checked = {**dataset(), "inputFacets": measured(10, a=1)}
    saved(tmp_path / "a.ndjson", said("START", "01:00"), said("COMPLETE", "05:00", inputs=[checked]))
    pages = pulled(tmp_path, until=TEN + 300)
    assert [one.outcome for one in events(pages)] == ["open"]
    assert not [one for page in pages for one in page.records if isinstance(one, Fact)]
    assert pages[-1].state == ""
    later = pulled(tmp_path, until=TEN + 301)
    assert [one.outcome for one in events(later)] == ["good"]
    assert later[-1].state != ""


def test_a_broken_file_is_a_finding_and_the_rest_lands(tmp_path: Path) -> None:
    saved(tmp_path / "a.ndjson", said("START", "01:00"))
    (tmp_path / "b.ndjson").write_text(json.dumps(said("START", "02:00", "r2")) + '\n{"eventType": "COMP')
    pages = pulled(tmp_path)
    assert len(events(pages)) == 2
    assert [(one.kind, one.where) for page in pages for one in page.findings] == [("reject", "b.ndjson")]


# -- in the store


@pytest.mark.parametrize("ways", [("sync",), ("import",), ("sync", "import", "sync"), ("import", "sync", "import")])
def test_however_they_come_they_count_once(context: Context, tmp_path: Path, ways: tuple[str, ...]) -> None:
    folder = tmp_path / "events"
    told = lines()
    saved(folder / "1.ndjson", *told[:5])
    saved(folder / "2.ndjson", *told[5:], *told[:3])
    for way in ways:
        if way == "sync":
            synced(context)
            continue
        for found in exported.recognise([folder], context.config, Given(), None):
            assert found.item is not None and found.source is not None, found.refused
            collect.import_item(context.store, found.source, found.item, NOW)
    # By hand from the script: one training finished, one failed, one was stopped; 30 of 1000 rows miss their age.
    assert counted(context) == {"training_success": (1, 2), "valid_rows": (970, 1000), "validation_success": (0, 1)}
    assert sorted(one.data_version for one in held(context, "data_version")) == ["7", "8"]
    assert [dict(one.labels)["column"] for one in held(context, "schema_change")] == ["channel"]


def test_durations_are_those_of_the_runs(context: Context, tmp_path: Path) -> None:
    saved(tmp_path / "events" / "1.ndjson", *lines())
    synced(context)
    rows = context.store.cursor().execute(
        "SELECT sum(h.n), sum(h.sum) FROM histogram h JOIN series s ON s.id = h.series "
        "WHERE s.signal = 'training_duration'"
    ).fetchall()  # fmt: skip
    assert [tuple(map(int, row)) for row in rows] == [(2, (600 + 180) * 10**6)]


def test_rows_that_are_told_again_correct_their_bucket(context: Context, tmp_path: Path) -> None:
    path, checked = tmp_path / "events" / "1.ndjson", {**dataset(), "inputFacets": measured(100, a=10)}
    told = [said("RUNNING", "01:00", job="check", inputs=[checked])]
    saved(path, *told)
    synced(context)
    assert counted(context)["valid_rows"] == (90, 100)
    better = {**dataset(), "inputFacets": measured(200, a=10)}
    saved(path, *told, said("COMPLETE", "09:00", job="check", inputs=[better]))
    synced(context)
    assert counted(context)["valid_rows"] == (190, 200)


def test_a_failure_that_is_told_late_corrects_a_success(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "events" / "1.ndjson"
    told = [said("START", "00:00"), said("COMPLETE", "05:00")]
    saved(path, *told)
    synced(context)
    assert counted(context) == {"training_success": (1, 1)}
    saved(path, *told, said("FAIL", "06:00"))
    synced(context)
    assert counted(context) == {"training_success": (0, 1)}


def test_assertions_that_are_told_again_correct_a_validation(context: Context, tmp_path: Path) -> None:
    def checked(success: bool) -> dict[str, Any]:
        facet = {"dataQualityAssertions": {"assertions": [{"assertion": "unique", "success": success}]}}
        return {**dataset(), "inputFacets": facet}

    path = tmp_path / "events" / "1.ndjson"
    told = [said("START", "01:00", job="check", inputs=[checked(False)])]
    saved(path, *told)
    synced(context)
    assert counted(context) == {"validation_success": (0, 1)}
    saved(path, *told, said("COMPLETE", "08:00", job="check", inputs=[checked(True)]))
    synced(context)
    assert counted(context) == {"validation_success": (1, 1)}


def test_a_change_is_found_across_files_that_are_gone_and_taken_back_where_it_was_none(
    context: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "events"
    saved(folder / "1.ndjson", said("COMPLETE", "01:00", "r1", "write", outputs=[table(id="INT")]))
    synced(context)
    assert held(context, "schema_change") == []
    (folder / "1.ndjson").unlink()
    saved(folder / "2.ndjson", said("COMPLETE", "09:00", "r9", "write", outputs=[table(id="INT", age="INT")]))
    synced(context)
    assert [one.ts for one in held(context, "schema_change")] == [TEN + 540]
    # A run between the two arrives late and had the column before: the change was earlier.
    saved(folder / "3.ndjson", said("COMPLETE", "05:00", "r5", "write", outputs=[table(id="INT", age="INT")]))
    synced(context)
    assert [one.ts for one in held(context, "schema_change")] == [TEN + 300]
    # When these files are gone as well, what they told stands, and is not told again.
    (folder / "2.ndjson").unlink()
    (folder / "3.ndjson").unlink()
    saved(folder / "4.ndjson", said("COMPLETE", "12:00", "r12", "write", outputs=[table(id="INT", age="INT")]))
    synced(context)
    assert [one.ts for one in held(context, "schema_change")] == [TEN + 300]


def test_what_a_training_measures_never_enters_an_objective_of_production(context: Context, tmp_path: Path) -> None:
    checked = {**dataset(), "inputFacets": measured(100, a=90)}
    saved(tmp_path / "events" / "1.ndjson", said("COMPLETE", "01:00", inputs=[checked]))
    synced(context)
    assert "valid_rows" not in counted(context)


def test_hostile_names_stay_data(context: Context, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>'; DROP TABLE event; --\n\u202e" + "x" * 5000
    told = said("COMPLETE", "01:00", job="train_" + name, outputs=[dataset(name, version={"datasetVersion": name})])
    saved(tmp_path / "events" / "1.ndjson", told)
    synced(context)
    (one,) = held(context, "training")
    assert dict(one.labels)["output.1"].startswith("<script>alert(1)</script>'; DROP TABLE event; --")


def test_marquez_is_its_other_name() -> None:
    assert connect.canonical("marquez") == "openlineage"
    assert isinstance(configured(), connect.load("marquez").Config)
    assert Source(configured().common, connect.load("openlineage"), configured()).connector is openlineage


class Counting(FolderItem):
    """A folder that notes which of its files are looked at."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.name, path, 0, b"", item(path, Given()).entries, Given())
        self.opened: list[str] = []

    def child(self, entry: str) -> Item:
        self.opened.append(entry)
        return super().child(entry)


def test_of_a_large_folder_of_other_things_only_the_first_file_is_opened(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"{number:04d}.json").write_text('{"other": 1}')
    folder = Counting(tmp_path)
    assert not openlineage.recognise(folder)
    assert folder.opened == ["0000.json"]
