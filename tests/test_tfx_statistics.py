"""Statistics and anomalies of a TFX pipeline: stages, spans that add up, what is made again, bins and references."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import tfx
from connectors._files import item
from tandem import collect, connect, exported, whose
from tandem.bins import MISSING, Layout, total
from tandem.config import Component, Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.measure import Filters, Measures
from tandem.records import DAY, HOUR, Baseline, Fact, Histogram, Page, Ratio
from tandem.shown import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import fakes
from tests.test_tfx import NOW, config, events, fetched, pulled, ratio, said, samples, state_of
from tests.tfx_store import AT, Pipelines, statistics

PAYLOADS = Path(__file__).parent / "payloads" / "tfdv"


def facts(pages: list[Page], signal: str, name: str = "") -> list[Fact]:
    return [one for page in pages for one in page.records
            if isinstance(one, Fact) and (one.series.signal, one.series.name) == (signal, name)]  # fmt: skip


def numbers(seed: int, n: int, missing: int = 0, shift: float = 0.0) -> list[float]:
    rng = np.random.default_rng(seed)
    return [*(rng.normal(50 + shift, 10, n - missing).tolist()), *([float("nan")] * missing)]


@pytest.fixture
def pipelines(tmp_path: Path) -> Iterator[Pipelines]:
    made = Pipelines(tmp_path / "claims")
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


# -- stages and spans


def test_splits_are_of_training_and_evaluation_and_rows_are_counted(pipelines: Pipelines) -> None:
    """Against the rows themselves: what lies below the median, and what is missing."""
    rows = numbers(1, 4000, missing=100)
    examples = pipelines.examples("r1", AT, span=3)
    pipelines.statistics("r1", AT + 100, examples, {
        "train": statistics({"amount": rows, "site": ["a", "b", None, "a"] * 1000}),
        "eval": statistics({"amount": numbers(2, 500)}),
    })  # fmt: skip
    pages = fetched(pipelines.path)
    train, evaluation = facts(pages, "feature", "amount")
    assert (evaluation.series.stage, train.series.stage) in [("training", "evaluation"), ("evaluation", "training")]
    train = train if train.series.stage == "training" else evaluation
    assert isinstance(train.value, Histogram)
    there = np.array(rows[:-100])
    assert (total(train.value), train.value.counts[MISSING]) == (3900, 100)
    for edge in train.value.layout.edges[3:-3]:
        below = sum(n for place, n in train.value.counts.items()
                    if place != MISSING and place <= train.value.layout.edges.index(edge))  # fmt: skip
        assert abs(below / 3900 - (there < edge).mean()) < 0.06
    [site] = facts(pages, "feature", "site")
    assert site.value.layout.values == ("a", "b")  # type: ignore[union-attr]
    assert dict(site.series.labels)["span"] == "3"
    assert dict(site.series.labels)["pipeline"] == "claims"
    assert dict(site.series.labels)["node"] == "CsvExampleGen"
    valid = {one.series.stage: one.value for one in facts(pages, "valid_rows")}
    assert valid == {"training": Ratio(4000 - 100 - 1000, 4000), "evaluation": Ratio(500, 500)}
    assert "lower bound" in said(pages)
    assert {one.ts for one in facts(pages, "volume")} == {(AT + 5) // 300 * 300}, "when the data came in"
    assert not [one for page in pages for one in page.records if isinstance(one, Baseline)]


def test_spans_add_up_and_days_say_their_time(pipelines: Pipelines, store: Store) -> None:
    day = AT // DAY
    given = config(pipelines.path, spans="days", production=("CsvExampleGen",))
    counts = {day: 1500, day + 1: 1200, day + 2: 700}
    for n, (span, rows) in enumerate(counts.items()):
        examples = pipelines.examples(f"r{n}", AT + n, span=span)
        content = statistics({"amount": numbers(n, rows, missing=rows // 10)})
        pipelines.statistics(f"r{n}", AT + 100 + n, examples, {"train": content})
        assert pulled(store, given, NOW + n * 300).error == ""
    assert ratio(store, "volume") == (3400, 3400)
    assert ratio(store, "valid_rows") == (3400 - 340, 3400)
    reader = Reader(store)
    [one] = [one for one in reader.series(signal="feature") if one.placed.name == "amount"]
    days = [((day + n) * DAY, (day + n + 1) * DAY) for n in range(3)]
    [merges] = reader.totals("histogram", [one.id], days).values()
    assert [sum(n for place, (n, _) in (merge or {}).items() if place != MISSING) for merge in merges] == [  # type: ignore[union-attr]
        1350, 1080, 630]  # fmt: skip


def test_production_begins_with_a_span_where_that_is_said(pipelines: Pipelines) -> None:
    for span in (4, 5):
        examples = pipelines.examples(f"r{span}", AT + span, span=span)
        pipelines.statistics(f"r{span}", AT + 100 + span, examples, {"train": statistics({"x": numbers(span, 1200)})})
    pages = fetched(pipelines.path, production_from=5)
    assert {dict(one.series.labels)["span"]: one.series.stage for one in facts(pages, "volume")} == {
        "4": "training", "5": "production"}  # fmt: skip
    [baseline] = [one for page in pages for one in page.records if isinstance(one, Baseline)]
    assert total(baseline.histogram) == 1200, "of what is of production only"
    assert (baseline.since, baseline.until) == ((AT + 10) // HOUR * HOUR, (AT + 10) // HOUR * HOUR + HOUR)


def test_numbers_of_training_never_enter_what_production_is_judged_by(pipelines: Pipelines, store: Store) -> None:
    examples = pipelines.examples("r1", AT, span=3)
    pipelines.statistics("r1", AT + 100, examples, {"train": statistics({"x": numbers(1, 2000, missing=1500)})})
    assert pulled(store, config(pipelines.path)).error == ""
    assert ratio(store, "valid_rows", "training") == (500, 2000)
    reader = Reader(store)
    assert not [one for one in reader.series(stage="production") if one.placed.signal != "sample"
                and reader.totals("ratio", [one.id], [(0, 1 << 40)])[one.id] != [None]]  # fmt: skip


# -- what is made again


def test_statistics_made_again_take_the_place_of_those_before(pipelines: Pipelines, store: Store) -> None:
    given = config(pipelines.path)
    examples = pipelines.examples("r1", AT, span=3)
    old = pipelines.statistics("r1", AT + 100, examples, {"train": statistics({"x": numbers(1, 1000, missing=10)})})
    pulled(store, given)
    assert ratio(store, "valid_rows", "training") == (990, 1000)
    corrected = pipelines.examples("r2", AT + 7200, span=3, version=1)
    pipelines.statistics("r2", AT + 7300, corrected, {"train": statistics({"x": numbers(1, 1100)})})
    pulled(store, given, NOW + 300)
    assert ratio(store, "valid_rows", "training") == (1100, 1100), "the same span, corrected"
    pipelines.execution("x.Other", 3, AT + DAY)
    pulled(store, given, NOW + 450)
    pipelines.run("UPDATE Artifact SET last_update_time_since_epoch = ? WHERE id = ?", (AT + 2 * DAY) * 1000, old)
    outcome = pulled(store, given, NOW + 600)
    assert ratio(store, "valid_rows", "training") == (1100, 1100), "what was made before does not come back"
    assert "older statistics" in str(outcome.remarks)
    other = pipelines.examples("r3", AT + 2 * DAY, span=4)
    pipelines.statistics("r3", AT + 2 * DAY + 60, other, {"train": statistics({"x": numbers(3, 50)})})
    pulled(store, given, NOW + 900)
    assert ratio(store, "valid_rows", "training") == (1150, 1150), "another span adds"


def test_without_spans_every_run_counts_for_itself(pipelines: Pipelines, store: Store) -> None:
    for run in ("r1", "r2"):
        examples = pipelines.examples(run, AT)
        pipelines.statistics(run, AT + 100, examples, {"train": statistics({"x": numbers(1, 300)})})
        pipelines.statistics(run, AT + 200, examples, {"train": statistics({"x": numbers(1, 300)})})
    assert pulled(store, config(pipelines.path)).error == ""
    assert ratio(store, "volume", "training") == (600, 600), "made twice of the same data they count once"


def test_files_that_come_later_than_the_store_are_awaited(pipelines: Pipelines) -> None:
    examples = pipelines.examples("r1", AT, span=3)
    pipelines.statistics("r1", AT + 100, examples, {"train": statistics({"x": numbers(1, 2000)})})
    place = pipelines.folder / "StatisticsGen"
    place.rename(pipelines.folder / "away")
    first = fetched(pipelines.path)
    assert not facts(first, "volume")
    assert "are not there: set root" in said(first)
    (pipelines.folder / "away").rename(place)
    assert len(facts(fetched(pipelines.path, state=state_of(first)), "volume")) == 1
    elsewhere = fetched(pipelines.path, root=pipelines.folder.parent)
    assert len(facts(elsewhere, "volume")) == 1, "the end of the address is enough"


@pytest.mark.parametrize(
    ("uri", "split"),
    [("../../secret/7", "train"), ("/../{up}/secret/7", "train"), ("file:///{up}/secret/7", "train"),
     ("gs://b/link/7", "train"), ("gs://b/own/7", "linked"), ("gs://b/own/7", "../../../secret/7/Split-train"),
     ("x" * 5000 + "/7", "train"), ("http://[::1/own/7", "train"), ("own/\0/7", "train")],
)  # fmt: skip
def test_nothing_outside_of_the_root_is_read(pipelines: Pipelines, uri: str, split: str) -> None:
    secret = pipelines.folder.parent / "secret" / "7"
    (secret / "Split-train").mkdir(parents=True)
    (secret / "Split-train" / "FeatureStats.pb").write_bytes((PAYLOADS / "FeatureStats.pb").read_bytes())
    (pipelines.folder / "link").symlink_to(secret.parent)
    (pipelines.folder / "own" / "7" / "Split-").mkdir(parents=True)
    (pipelines.folder / "own" / "7" / "Split-linked").symlink_to(secret / "Split-train")
    examples = pipelines.examples("r1", AT)
    pipelines.statistics("r1", AT + 100, examples, {})
    pipelines.run(
        "UPDATE Artifact SET uri = ? WHERE uri LIKE '%StatisticsGen%'", uri.format(up=pipelines.folder.parent)
    )
    pipelines.run("UPDATE ArtifactProperty SET string_value = ? WHERE string_value = '[]'", json.dumps([split]))
    pages = fetched(pipelines.path)
    assert not facts(pages, "volume")
    assert "are not there" in said(pages)


def test_bins_of_training_stay_from_pull_to_pull_until_production_has_its_own(pipelines: Pipelines) -> None:
    def statistics_of(span: int) -> None:
        examples = pipelines.examples(f"r{span}", AT + span * 7200, span=span)
        content = {"train": statistics({"x": numbers(span, 1500, shift=span)})}
        pipelines.statistics(f"r{span}", AT + span * 7200 + 60, examples, content)

    statistics_of(1)
    first = fetched(pipelines.path)
    statistics_of(2)
    second = fetched(pipelines.path, state=state_of(first))
    [before], told = facts(first, "feature", "x"), facts(second, "feature", "x")
    assert {one.value.layout for one in told} == {before.value.layout}  # type: ignore[union-attr]
    assert {dict(one.series.labels)["span"] for one in told} == {"1", "2"}, "the first lies in the overlap"
    own = Layout(edges=(40.0, 50.0, 60.0), digits=9)
    asked: Any = lambda component, signal, name: own if name == "x" else None  # noqa: E731
    statistics_of(3)
    pull = Pull(0, NOW, NOW, state=state_of(second), layout=asked)
    third = facts(list(tfx.fetch(config(pipelines.path), pull)), "feature", "x")
    assert [one.value.layout.edges for one in third] == [own.edges] * 3, "all of them are told again"  # type: ignore[union-attr]


# -- anomalies


def test_anomalies_are_validations_of_the_data_and_their_distances_stand_beside(
    pipelines: Pipelines, store: Store, tmp_path: Path
) -> None:
    examples = pipelines.examples("r1", AT, span=9)
    pipelines.statistics(
        "r1", AT + 200, examples, {"serving": {"captured": PAYLOADS / "SchemaDiff.pb"}}, anomalies=True
    )
    given = config(pipelines.path, production=("serving",))
    pages = fetched(pipelines.path, production=("serving",))
    [validation], [version] = events(pages, "validation"), events(pages, "data_version")
    assert (validation.outcome, validation.ts, validation.run) == ("bad", AT + 205, "r1")
    assert validation.data_version == version.data_version
    assert dict(validation.labels)["features"] == "amount, site"
    assert "High approximate Jensen-Shannon divergence" in validation.title
    assert "z (~32%)" not in validation.title + str(validation.labels), "values of the data are not kept"
    values = {one.series.name: one.value for one in samples(pages)}
    assert values["drift[amount] JENSEN_SHANNON_DIVERGENCE drift >"] == 0.1218043830596815
    assert values["drift[site] L_INFTY drift > threshold"] == 0.01
    assert [one.title for one in events(pages, "drift")] == [
        "data drift: amount (JENSEN_SHANNON_DIVERGENCE drift 0.1218 > 0.05), site (L_INFTY drift 0.3225 > 0.01)"
    ]
    for now in (NOW, NOW + 300):
        assert pulled(store, given, now).error == ""
    shown = fakes.config(tmp_path, components=[Component("claims", "model")])
    measures = Measures(Reader(store), shown, Window(AT, NOW), NOW, Filters())
    found = {(one.feature, one.method, one.direction, one.threshold, one.drift)
             for one in whose.judgements(measures, "claims", [])}  # fmt: skip
    assert found == {("amount", "JENSEN_SHANNON_DIVERGENCE drift", ">", 0.05, True),
                     ("site", "L_INFTY drift", ">", 0.01, True)}  # fmt: skip
    assert ratio(store, "validation_success") == (0, 1)


def test_distances_of_training_data_begin_no_drift_of_production(pipelines: Pipelines) -> None:
    examples = pipelines.examples("r1", AT, span=9)
    pipelines.statistics("r1", AT + 200, examples, {"train": {"captured": PAYLOADS / "SchemaDiff.pb"}}, anomalies=True)
    pages = fetched(pipelines.path)
    assert not events(pages, "drift")
    assert {one.series.stage for one in samples(pages)} == {"training"}


# -- a folder


def test_a_folder_of_a_pipeline_is_imported_as_one(pipelines: Pipelines, store: Store) -> None:
    examples = pipelines.examples("r1", AT, span=3)
    pipelines.statistics("r1", AT + 100, examples, {"train": statistics({"x": numbers(1, 2000)})})
    pipelines.statistics("r1", AT + 200, examples, {"train": {"captured": PAYLOADS / "SchemaDiff.pb"}}, anomalies=True)
    pipelines.trained("r1", AT + 300, [examples])
    folder = item(pipelines.folder, Given())
    found = list(exported.recognise([pipelines.folder], fakes.config(pipelines.folder), Given(), None))
    assert [(one.item.path, one.refused) for one in found if one.item] == [(pipelines.folder, "")], "as one, by one"
    assert [one.source.common.connector for one in found if one.source] == ["tfx"]
    common = Common("tfx", "import", component=("claims",))
    source = Source(common, connect.load("tfx"), tfx.configure(folder, common))
    for now in (NOW, NOW + 300):
        assert collect.import_item(store, source, folder, now).error == ""
    assert ratio(store, "volume", "training") == (2000, 2000)
    assert ratio(store, "training_success") == (1, 1)
    (pipelines.folder / "notes.txt").write_text("something else")
    assert not tfx.recognise(item(pipelines.folder, Given())), "what does not belong is not swallowed"
    (pipelines.folder / "Trainer").mkdir()
    with pytest.raises(SourceRefused, match="holds no store"):
        list(tfx.parse(item(pipelines.folder / "Trainer", Given()), config()))
