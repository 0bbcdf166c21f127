"""The huggingface connector: a Trainer's log as it grows, results with their rows, checkpoints, and model cards."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import huggingface
from connectors._files import item
from tandem import collect, connect, exported
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Fact, Page, Ratio, Sample
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.fakes import config as configuration

PAYLOADS = Path(__file__).parent / "payloads" / "huggingface"
NOW = 1_795_300_000
LOG = json.loads((PAYLOADS / "output" / "trainer_state.json").read_text())["log_history"]


def config(path: Path | None = None, **more: Any) -> huggingface.Config:
    common = Common("huggingface", "tuning", **{"component": ("support",), **more.pop("common", {})})
    return huggingface.Config(common, path=path, **more)


def told(pages: list[Page], kind: type) -> list[Any]:
    return [one for page in pages for one in page.records if isinstance(one, kind)]


def said(pages: list[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


def state(path: Path, history: list[dict[str, Any]], when: int, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    step = history[-1]["step"] if history else 0
    document = {"global_step": step, "log_history": history, "max_steps": 40, "best_model_checkpoint": None, **more}
    path.write_text(json.dumps(document))
    os.utime(path, (when, when))
    return path


def results(path: Path, document: dict[str, Any], when: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    os.utime(path, (when, when))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def pulled(store: Store, given: huggingface.Config, now: int = NOW, since: int | None = None) -> collect.Outcome:
    outcome = collect.pull(store, Source(given.common, connect.load("huggingface"), given), now, since=since)
    assert not outcome.error, outcome.error
    return outcome


def points(store: Store, name: str) -> list[tuple[str, int, int, str]]:
    rows = store.cursor().execute(
        "SELECT s.run, s.step, s.ts, arg_max(s.value, s.load_id) FROM sample s JOIN series n ON n.id = s.series "
        "WHERE n.name = ? GROUP BY s.run, s.step, s.ts ORDER BY ALL", [name]
    )  # fmt: skip
    return rows.fetchall()


def correct(store: Store) -> tuple[int, int]:
    [row] = store.cursor().execute(
        "SELECT coalesce(sum(r.good), 0), coalesce(sum(r.total), 0) FROM ratio r JOIN series s ON s.id = r.series "
        "WHERE s.signal = 'correct' AND s.stage = 'evaluation'"
    ).fetchall()  # fmt: skip
    return int(row[0]), int(row[1])


def outcomes(store: Store) -> dict[str, str]:
    found = Reader(store).events(0, 1 << 40, components=["support"], newest=True)
    return {one.key: one.outcome for _, one in found}


# -- an output folder


def test_the_output_folder(tmp_path: Path) -> None:
    folder = shutil.copytree(PAYLOADS / "output", tmp_path / "output")
    for path in folder.rglob("*.json"):
        os.utime(path, (NOW, NOW))
    pages = list(huggingface.parse(item(folder, Given()), config(version="7")))
    samples = told(pages, Sample)
    loss = [(one.step, one.value, one.series.stage) for one in samples if one.series.name == "loss"]
    assert loss == [
        (10, 0.6321, "training"),
        (20, 0.4513, "training"),
        (30, 0.3311, "training"),
        (40, 0.2904, "training"),
    ]
    evaluated = {(one.step, one.value) for one in samples if one.series.name == "eval_accuracy"}
    assert evaluated == {(20, 0.8504), (40, 0.8841), (40, 1610 / 1821)}
    assert {one.series.stage for one in samples if one.series.name.startswith("eval_")} == {"evaluation"}
    assert not [one for one in samples if "runtime" in one.series.name or "per_second" in one.series.name]
    [fact] = told(pages, Fact)
    assert (fact.series.signal, fact.series.stage, fact.series.version) == ("correct", "evaluation", "7")
    assert fact.value == Ratio(1610, 1821)
    [run] = told(pages, Event)
    assert (run.key, run.outcome, run.ts, run.ended) == ("output", "good", NOW - 181, NOW)
    labels = dict(run.labels)
    assert (labels["model"], labels["param.max_steps"], labels["said"]) == ("distilbert-base-uncased", "40", "finished")
    assert 'a value of "grad_norm" that is no finite number' in said(pages)
    assert "says no times" in said(pages)


def test_a_training_that_is_running_grows_by_its_checkpoints(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "a"
    given = config(tmp_path / "runs")
    state(out / "checkpoint-20" / "trainer_state.json", LOG[:2], NOW - 900)
    pulled(store, given)
    assert outcomes(store) == {"a": "open"}
    state(out / "checkpoint-30" / "trainer_state.json", LOG[:4], NOW - 60)
    pulled(store, given, NOW + 300)
    expected = [("a", 10, NOW - 900, "0.6321"), ("a", 20, NOW - 900, "0.4513"), ("a", 30, NOW - 60, "0.3311")]
    assert points(store, "loss") == expected, "each entry keeps the time at which it was first seen"
    shutil.rmtree(out / "checkpoint-20")
    state(out / "trainer_state.json", LOG, NOW + 400)
    pulled(store, given, NOW + 600)
    assert points(store, "loss") == [*expected, ("a", 40, NOW + 400, "0.2904")]
    assert outcomes(store) == {"a": "good"}
    rows = pulled(store, given, NOW + 900).rows
    assert rows == 0, "nothing is new"
    pulled(store, given, NOW + 1200, since=0)
    assert points(store, "loss") == [*expected, ("a", 40, NOW + 400, "0.2904")]
    reader = Reader(store)
    ids = [one.id for one in reader.series(component="support", signal="training_success")]
    merged = [merge[0] for merge in reader.totals("ratio", ids, [(0, 1 << 40)]).values() if merge[0]]
    assert [tuple(one) for one in merged] == [(1, 1)]


def test_a_training_that_stops_is_left_out_and_one_begun_anew_is_another(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a" / "trainer_state.json"
    given = config(tmp_path / "runs")
    state(path, LOG[:2], NOW - 60)
    pulled(store, given)
    assert outcomes(store) == {"a": "open"}
    pulled(store, given, NOW + 4000)
    assert outcomes(store) == {"a": "excluded"}, "nothing says that it ended well"
    again = [{**one, "loss": one["loss"] * 2} for one in LOG[:2]]
    state(path, again, NOW + 4100)
    pulled(store, given, NOW + 4300)
    assert outcomes(store) == {"a": "excluded", "a (2)": "open"}
    assert [run for run, *_ in points(store, "loss")] == ["a", "a", "a (2)", "a (2)"]
    pulled(store, config(tmp_path / "runs", common={"status": {"quiet": "good"}}), NOW + 9000)
    assert outcomes(store)["a (2)"] == "good"


# -- results


def test_an_evaluation_counts_once_and_another_one_beside_it(store: Store, tmp_path: Path) -> None:
    given, out = config(tmp_path / "runs"), tmp_path / "runs" / "a"
    first = {"eval_accuracy": 0.75, "eval_samples": 4, "eval_runtime": 1.0, "eval_loss": 0.5}
    results(out / "eval_results.json", first, NOW - 60)
    results(out / "all_results.json", {**first, "train_runtime": 3.0, "train_loss": 0.1}, NOW - 60)
    pulled(store, given)
    assert correct(store) == (3, 4)
    assert len(points(store, "eval_loss")) == 1
    results(out / "all_results.json", {**first, "train_runtime": 3.0, "train_loss": 0.1}, NOW + 60)
    pulled(store, given, NOW + 300)
    assert correct(store) == (3, 4), "written again with the same numbers"
    results(out / "eval_results.json", {**first, "eval_accuracy": 0.9, "eval_samples": 10}, NOW + 400)
    pulled(store, given, NOW + 600)
    assert correct(store) == (12, 14)


@pytest.mark.parametrize(
    ("document", "found", "words"),
    [({"eval_accuracy": 0.9, "eval_samples": 7, "eval_runtime": 1.0}, [], "no whole number"),
     ({"eval_accuracy": 0.9, "eval_runtime": 1.0}, [], ""),
     ({"predict_accuracy": 0.5, "predict_samples": 2, "predict_runtime": 1.0}, [Ratio(1, 2)], ""),
     ({"eval_accuracy": 91.0, "eval_samples": 100, "eval_runtime": 1.0}, [], "no whole number")],
)  # fmt: skip
def test_correct_is_derived_only_where_it_can_be(
    tmp_path: Path, document: dict[str, Any], found: list[Ratio], words: str
) -> None:
    pages = list(huggingface.parse(item(results(tmp_path / "all_results.json", document, NOW), Given()), config()))
    assert [one.value for one in told(pages, Fact)] == found
    assert words in said(pages)
    assert len(told(pages, Sample)) == 1, "the accuracy stays a sample of its stage"


# -- cards, files, names


def test_a_card() -> None:
    pages = list(huggingface.parse(item(PAYLOADS / "card" / "README.md", Given(at=NOW)), config()))
    assert {(one.series.name, one.value, one.series.stage) for one in told(pages, Sample)} == {
        ("glue validation Accuracy", 0.8841295991214717, "evaluation"), ("glue validation Bleu", 20.0, "evaluation"),
        ("glue validation F1", 88.4, "evaluation")}  # fmt: skip
    assert {one.ts for one in told(pages, Sample)} == {NOW}
    assert dict(told(pages, Sample)[0].series.labels)["model"] == "support-classifier"
    assert 'writes "± 1.2" behind' in said(pages)
    assert 'the metric "Speed" of a card is no number' in said(pages)


def test_every_payload_is_recognised_by_nobody_else() -> None:
    loaded = {name: connect.load(name) for name in connect.names()}
    files = [
        path for path in PAYLOADS.rglob("*") if path.name not in ("PROVENANCE.md", "config.json") and path.is_file()
    ]
    for path in (PAYLOADS / "output", *sorted(files)):
        one = item(path, Given())
        assert [name for name, module in loaded.items() if module.recognise(one)] == ["huggingface"], path


@pytest.mark.parametrize("text", ["", "{}", '{"log_history": 1}', "---\ntitle: x\n---\n", '{"runtime": 1}', "\x80"])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "some").write_text(text)
    assert not huggingface.recognise(item(tmp_path / "some", Given()))


def test_import_of_a_folder_of_runs_twice(store: Store, tmp_path: Path) -> None:
    shutil.copytree(PAYLOADS / "output", tmp_path / "runs" / "a")
    shutil.copytree(PAYLOADS / "card", tmp_path / "runs" / "card")
    for _ in range(2):
        for found in exported.recognise([tmp_path / "runs"], configuration(tmp_path), Given(component="support"), None):
            assert found.source is not None, found.refused
            assert found.item is not None
            assert not collect.import_item(store, found.source, found.item, 1 << 33).error
    assert correct(store) == (1610, 1821)
    assert len(points(store, "loss")) == 4
    assert len(points(store, "glue validation F1")) == 1


def test_an_archive_tells_its_runs_apart(tmp_path: Path) -> None:
    for name in "ab":
        shutil.copytree(PAYLOADS / "output", tmp_path / "runs" / name)
    packed = Path(shutil.make_archive(str(tmp_path / "runs"), "zip", tmp_path / "runs"))
    runs = set()
    for found in exported.recognise([packed], configuration(tmp_path), Given(component="support"), None):
        if found.item is not None and found.source is not None:
            runs |= {one.run for one in told(list(huggingface.parse(found.item, config())), Sample)}
    assert {"a", "b"} <= runs


def test_broken_files_and_names_from_outside(store: Store, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>'; DROP TABLE sample; --\u202e"
    runs = tmp_path / "runs"
    state(runs / hostile / "trainer_state.json", [{"step": 1, hostile: 0.5, "text": "x", "flag": True}], NOW - 60)
    (runs / "cut").mkdir()
    (runs / "cut" / "trainer_state.json").write_text('{"log_history": [{"step": 1')
    os.utime(runs / "cut" / "trainer_state.json", (NOW - 60, NOW - 60))
    (runs / "cut" / "training_args.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    (runs / "README.md").write_text("---\nmodel-index:\n- &a [*a]\n---\n")
    os.utime(runs / "README.md", (NOW - 60, NOW - 60))
    outcome = pulled(store, config(runs))
    assert points(store, hostile) == [(hostile, 1, NOW - 60, "0.5")]
    said_of = " | ".join(outcome.remarks)
    assert "trainer_state.json line 1" in said_of
    assert "README.md" in said_of
    with pytest.raises(SourceRefused):
        list(huggingface.parse(item(runs / "cut" / "trainer_state.json", Given()), config()))
    with pytest.raises(SourceRefused, match="set path"):
        list(huggingface.fetch(config(), Pull(0, NOW, NOW)))
    with pytest.raises(SourceRefused, match="is not there"):
        list(huggingface.fetch(config(tmp_path / "nowhere"), Pull(0, NOW, NOW)))
    later = state(tmp_path / "later" / "trainer_state.json", LOG, NOW + 60)
    assert not told(list(huggingface.fetch(config(later.parent), Pull(0, NOW, NOW))), Sample), "not before its time"
