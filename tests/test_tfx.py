"""The TFX connector on ML Metadata's store: what executions and artifacts become, and what changes later."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import _mlmd, _sqlite, tfx
from connectors._files import item
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import DAY, Event, Page, Sample
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.tfx_store import AT, CAPTURED, TRAINER, Pipelines

NOW = AT + 5 * DAY


def config(path: Path | None = None, **more: Any) -> tfx.Config:
    common = Common("tfx", "claims", **more.pop("common", {"component": ("claims",)}))
    return tfx.Config(common, path=path, **more)


def events(pages: list[Page], kind: str) -> list[Event]:
    return [one for page in pages for one in page.records if isinstance(one, Event) and one.kind == kind]


def samples(pages: list[Page]) -> list[Sample]:
    return [one for page in pages for one in page.records if isinstance(one, Sample)]


def said(pages: list[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


def fetched(path: Path, now: int = NOW, state: Any = None, *, sweep: bool = False, **more: Any) -> list[Page]:
    pull = Pull(0, now, now, state=state, first=state is None, sweep=sweep)
    return list(tfx.fetch(config(path, **more), pull))


def state_of(pages: list[Page]) -> Any:
    return next(page.state for page in reversed(pages) if page.state is not None)


def pulled(store: Store, given: tfx.Config, now: int = NOW) -> collect.Outcome:
    return collect.pull(store, Source(given.common, connect.load("tfx"), given), now)


def ratio(store: Store, signal: str, stage: str = "production", name: str = "") -> tuple[int, ...]:
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal=signal, stage=stage) if one.placed.name == name]
    merges = [merge[0] for merge in reader.totals("ratio", ids, [(0, 1 << 40)]).values() if merge[0]]
    return tuple(sum(part) for part in zip(*merges, strict=True))


@pytest.fixture
def pipelines(tmp_path: Path) -> Iterator[Pipelines]:
    made = Pipelines(tmp_path / "claims")
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


# -- what the store says


def test_the_captured_store() -> None:
    """Compared with the rows that sqlite itself tells of it."""
    pages = list(tfx.parse(item(CAPTURED, Given()), config()))
    with sqlite3.connect(f"file:{CAPTURED}?immutable=1", uri=True) as base:
        [(created, written, run)] = base.execute(
            "SELECT e.create_time_since_epoch / 1000, v.milliseconds_since_epoch / 1000, c.name FROM Execution e"
            " JOIN Event v ON v.execution_id = e.id JOIN Association a ON a.execution_id = e.id"
            " JOIN Context c ON c.id = a.context_id"
        ).fetchall()
        [(accuracy,)] = base.execute("SELECT double_value FROM ArtifactProperty WHERE name = 'accuracy'").fetchall()
    [training] = events(pages, "training")
    assert (training.ts, training.ended, training.outcome, training.run) == (created, written, "good", run)
    assert training.version == "1", "the store ties the version of the model to the execution that wrote it"
    assert dict(training.labels)["model"] == "claim-model"
    [sample] = samples(pages)
    assert (sample.value, sample.run, sample.series.name, sample.series.stage) == (
        accuracy,
        run,
        "accuracy",
        "evaluation",
    )


@pytest.mark.parametrize(
    ("number", "outcome"),
    [(1, "open"), (2, "open"), (3, "good"), (4, "bad"), (5, "excluded"), (6, "excluded"), (0, "excluded"),
     (9, "excluded")],
)  # fmt: skip
def test_every_state_of_an_execution(pipelines: Pipelines, number: int, outcome: str) -> None:
    pipelines.trained("r1", AT, [], state=number)
    pages = fetched(pipelines.path)
    [training] = events(pages, "training")
    assert training.outcome == outcome
    assert (training.ended is None) is (outcome == "open")
    assert (training.started is None) is (number == 1), "what is new has not begun"
    assert ("unknown" in said(pages)) is (number == 9), "of an unknown one it is said"


def test_a_status_of_the_configuration_wins(pipelines: Pipelines) -> None:
    pipelines.trained("r1", AT, [], state=6)
    common = {"component": ("claims",), "status": {"CANCELED": "bad"}}
    assert events(fetched(pipelines.path, common=common), "training")[0].outcome == "bad"


def test_older_stores_tell_states_runs_and_nodes_by_properties(pipelines: Pipelines) -> None:
    told = {"state": "complete", "run_id": "2019-05-01", "component_id": "Trainer.big", "pipeline_name": "taxi"}
    pipelines.execution(TRAINER, 0, AT, pipeline="", properties=told)
    [training] = events(fetched(pipelines.path), "training")
    labels = dict(training.labels)
    assert (training.outcome, training.run, labels["pipeline"], labels["node"]) == (
        "good", "2019-05-01", "taxi", "Trainer.big")  # fmt: skip


def test_a_type_that_is_built_on_train_is_a_training_and_others_are_not(pipelines: Pipelines) -> None:
    pipelines.kind("my.Fit", 0, parent="mlmd.Train")
    pipelines.execution("my.Fit", 3, AT, run="r1", node="Fit")
    pipelines.execution("my.Copy", 3, AT, run="r1", node="Copy")
    assert [dict(one.labels)["node"] for one in events(fetched(pipelines.path), "training")] == ["Fit"]


def test_the_data_of_a_training_is_what_came_into_the_pipeline(pipelines: Pipelines) -> None:
    """Through a Transform, and of two spans: the training names what their events are called."""
    spans = [pipelines.examples("r1", AT + n, span=7 + n, node=f"Gen{n}") for n in range(2)]
    transform = pipelines.execution(
        "tfx.components.transform.component.Transform", 3, AT + 20, run="r1", node="Transform"
    )
    for one in spans:
        pipelines.event(transform, one, 3, AT + 20)
    changed = pipelines.artifact("Examples", AT + 30, transform, uri="/old/transformed", parent="mlmd.Dataset")
    pipelines.trained("r1", AT + 60, [changed])
    pages = fetched(pipelines.path)
    versions, [training] = events(pages, "data_version"), events(pages, "training")
    assert training.data_version == ",".join(one.data_version for one in versions)
    assert len(versions) == 2, "what was transformed is no version of its own"
    labels = dict(training.labels)
    assert (labels["span"], labels["input.0"], labels["pipeline"]) == ("7,8", "/old/transformed", "claims")
    assert (labels["param.train_args.num_steps"], labels["param.module_file"]) == ("100", "trainer.py")
    assert "param.pipeline_name" not in labels
    first = versions[0]
    assert (dict(first.labels)["span"], dict(first.labels)["splits"], first.run) == ("7", "train,eval", "r1")
    assert first.digest.endswith("sum_checksum:1700000007")


@pytest.mark.parametrize(
    ("kind", "blessed", "state", "outcome", "word"),
    [("ModelBlessing", 1, 2, "good", "BLESSED"), ("ModelBlessing", 0, 2, "bad", "NOT_BLESSED"),
     ("InfraBlessing", 1, 2, "good", "INFRA_BLESSED"), ("InfraBlessing", 0, 2, "bad", "INFRA_NOT_BLESSED"),
     ("ModelBlessing", None, 2, "excluded", "no verdict"), ("ModelBlessing", 1, 1, "open", "PENDING"),
     ("ModelBlessing", 1, 5, "excluded", "ABANDONED")],
)  # fmt: skip
def test_blessings_are_validations_of_the_training_that_made_the_model(
    pipelines: Pipelines, kind: str, blessed: int | None, state: int, outcome: str, word: str
) -> None:
    _, model = pipelines.trained("r1", AT, [])
    pipelines.trained("r2", AT + 100, [])
    number = pipelines.blessed("r2", AT + 300, model, blessed, kind)
    pipelines.run("UPDATE Artifact SET state = ? WHERE id = ?", state, number)
    [found] = events(fetched(pipelines.path), "validation")
    assert (found.outcome, dict(found.labels)["said"], found.ts) == (outcome, word, AT + 305)
    assert found.run == "r1", "the run that trained the model, not the one that validated it"


def test_a_blessing_of_one_of_two_models_that_names_none_has_no_run(pipelines: Pipelines) -> None:
    models = [pipelines.trained(f"r{n}", AT + n, [])[1] for n in range(2)]
    number = pipelines.blessed("r1", AT + 300, models[0])
    maker = pipelines._one("SELECT execution_id FROM Event WHERE artifact_id = ?", number)
    pipelines.event(maker or 0, models[1], 3, AT + 300)
    pipelines.run("DELETE FROM ArtifactProperty WHERE artifact_id = ? AND name = 'current_model_id'", number)
    [found] = events(fetched(pipelines.path), "validation")
    assert found.run == ""


# -- what changes later


def test_an_execution_that_was_running_is_told_again_when_it_ends(pipelines: Pipelines, store: Store) -> None:
    given = config(pipelines.path)
    trainer, _ = pipelines.trained("r1", AT, [], state=2)
    assert pulled(store, given).error == ""
    assert ratio(store, "training_success") == ()
    pipelines.settle(trainer, 3, AT + 900)
    pipelines.model(trainer, AT + 890)
    assert pulled(store, given, NOW + 300).error == ""
    assert ratio(store, "training_success") == (1, 1)
    [(_, known)] = Reader(store).events(0, NOW)
    assert (known.started, known.ended) == (AT, AT + 890)
    for now in (NOW + 600, NOW + 2 * DAY):  # unchanged, and the daily sweep
        pulled(store, given, now)
        assert ratio(store, "training_success") == (1, 1), "told again it counts no second time"


def test_a_training_that_was_tried_again_counts_once(pipelines: Pipelines, store: Store) -> None:
    given = config(pipelines.path)
    pipelines.trained("r1", AT, [], state=4)
    pulled(store, given)
    assert ratio(store, "training_success") == (0, 1)
    pipelines.trained("r1", AT + 600, [])
    pulled(store, given, NOW + 300)
    assert ratio(store, "training_success") == (1, 1), "the newest attempt decides"
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal="training_duration")]
    [[lasted]] = reader.totals("histogram", ids, [(0, 1 << 40)]).values()
    assert sum(n for n, _ in lasted.values()) == 2  # type: ignore[union-attr]
    pipelines.trained("r2", AT + 1200, [], state=4)
    pulled(store, given, NOW + 600)
    assert ratio(store, "training_success") == (1, 2), "another run is another training"


def test_a_push_tells_the_version_of_a_training_of_before(pipelines: Pipelines) -> None:
    _, model = pipelines.trained("r1", AT, [])
    first = fetched(pipelines.path)
    assert events(first, "training")[0].version == ""
    pipelines.execution("x.Other", 3, AT + 3 * DAY)  # the training now lies behind the overlap
    state = state_of(fetched(pipelines.path, state=state_of(first)))
    pipelines.pushed("r1", AT + 3 * DAY + 100, model)
    pages = fetched(pipelines.path, state=state)
    [training], [release] = events(pages, "training"), events(pages, "release")
    assert training.version == release.version == "1795100999"
    assert training.run == release.run == "r1"
    assert dict(release.labels)["destination"] == "/serving/claims/1795100999"


def test_a_second_pull_reads_what_was_changed_and_no_more(
    pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        pipelines.trained(f"r{number}", AT + number * 7200, [])
    state = state_of(fetched(pipelines.path))
    opened: list[str] = []
    real = _mlmd.Metadata.__init__

    def noted(self: _mlmd.Metadata, path: Path, name: str) -> None:
        opened.append(name)
        real(self, path, name)

    monkeypatch.setattr(_mlmd.Metadata, "__init__", noted)
    assert not events(fetched(pipelines.path, state=state), "training")
    assert not opened, "an unchanged store is not opened"
    new, _ = pipelines.trained("new", AT + 20 * 7200, [])
    told = events(fetched(pipelines.path, state=state), "training")
    assert [dict(one.labels)["execution"] for one in told] == [str(new - 1), str(new)], "the last lies in the overlap"
    assert len(events(fetched(pipelines.path, state=state, sweep=True), "training")) == 21, (
        "the sweep reads the horizon"
    )
    with capsys.disabled():
        print(f"\nsecond pull of a store: {len(told)} executions told, the fewest possible is 1 of 21")


def test_what_began_at_until_or_ended_later_is_not_told_yet(pipelines: Pipelines) -> None:
    pipelines.trained("r1", AT, [])
    pages = fetched(pipelines.path, now=AT + 30)
    [training] = events(pages, "training")
    assert (training.outcome, training.ended) == ("open", None)
    later = fetched(pipelines.path, now=NOW, state=state_of(pages))
    assert events(later, "training")[0].ended == AT + 50, "it is read again, though nothing has changed"
    assert not events(fetched(pipelines.path, now=AT), "training")


# -- the file


def test_a_store_that_is_cut_or_another_or_holds_nonsense_is_one_sentence(pipelines: Pipelines, tmp_path: Path) -> None:
    pipelines.trained("r1", AT, [])
    whole = pipelines.path.read_bytes()
    for size in (100, 5_000, 60_000, 130_000):
        cut = tmp_path / f"cut{size}.db"
        cut.write_bytes(whole[:size])
        with pytest.raises(
            SourceRefused, match=rf"cut{size}\.db is no sound sqlite database .*export it again|no store"
        ):
            list(tfx.parse(item(cut, Given()), config()))
        assert not tfx.recognise(item(cut, Given()))
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE MLMDEnv (schema_version INTEGER)").connection.commit()
    with pytest.raises(SourceRefused, match="no store of ML Metadata"):
        fetched(other)
    assert not tfx.recognise(item(other, Given()))
    pipelines.run("UPDATE Event SET artifact_id = 'seven'")
    with pytest.raises(SourceRefused, match="holds what no store of ML Metadata holds"):
        fetched(pipelines.path)


def test_a_locked_store_is_tried_again(pipelines: Pipelines, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "PATIENCE", 0.01)
    pipelines.trained("r1", AT, [])
    writer = sqlite3.connect(pipelines.path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceDown, match="in use by another program"):
        fetched(pipelines.path)
    outcome = pulled(store, config(pipelines.path))
    assert outcome.later
    assert "in use" in outcome.error
    writer.execute("ROLLBACK")
    writer.close()
    assert pulled(store, config(pipelines.path), NOW + 300).error == ""
    assert ratio(store, "training_success") == (1, 1)


def test_a_write_ahead_log_is_read_and_one_that_is_missing_is_said(pipelines: Pipelines, tmp_path: Path) -> None:
    base = sqlite3.connect(pipelines.path, isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA wal_autocheckpoint = 0")
    pipelines.trained("r1", AT, [])
    assert Path(f"{pipelines.path}-wal").stat().st_size
    pages = fetched(pipelines.path)
    assert len(events(pages, "training")) == 1, "what only the log holds"
    assert "-wal" not in said(pages)
    both = tmp_path / "both" / "metadata.db"
    both.parent.mkdir()
    for end in ("", "-wal"):
        Path(f"{both}{end}").write_bytes(Path(f"{pipelines.path}{end}").read_bytes())
    assert len(events(fetched(both), "training")) == 1, "a copy with its log"
    alone = tmp_path / "alone" / "metadata.db"
    alone.parent.mkdir()
    alone.write_bytes(pipelines.path.read_bytes())
    pages = fetched(alone)
    assert not events(pages, "training")
    assert "its newest may be missing" in said(pages)
    assert [one.name for one in alone.parent.iterdir()] == ["metadata.db"], "reading leaves nothing behind"
    base.close()


def test_writers_are_not_kept_waiting_after_a_pull(pipelines: Pipelines) -> None:
    pipelines.trained("r1", AT, [])
    pages = tfx.fetch(config(pipelines.path), Pull(0, NOW, NOW, first=True))
    next(iter(pages))
    writer = sqlite3.connect(pipelines.path, timeout=0, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")  # raises where a reader still holds the file
    writer.execute("ROLLBACK")
    writer.close()


def test_hostile_names_stay_data_and_absent_times_are_counted(pipelines: Pipelines, store: Store) -> None:
    name = "<script>alert(1)</script>'; DROP TABLE event; --"
    pipelines.execution(TRAINER, 3, AT, pipeline=name, run=name, node=name, properties={name: '{"a": [1]}' + name})
    pipelines.execution(TRAINER, 3, 0, run="r2", node="Trainer")
    outcome = pulled(store, config(pipelines.path))
    assert outcome.error == ""
    assert "without a time" in str(outcome.remarks)
    [(_, known)] = Reader(store).events(0, NOW)
    assert known.run == name
    assert dict(known.labels)["pipeline"] == name


def test_views_in_place_of_tables_are_not_run(tmp_path: Path) -> None:
    hostile = tmp_path / "metadata.db"
    with sqlite3.connect(hostile) as base:
        base.execute("CREATE TABLE MLMDEnv (schema_version INTEGER)")
        for table in ("Artifact", "Execution", "Event", "Type"):
            base.execute(f"CREATE VIEW {table} AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)"
                         " SELECT id, id AS type_id, id AS uri FROM n")  # fmt: skip
    assert not tfx.recognise(item(hostile, Given()))


def test_a_path_that_is_missing_or_holds_several_is_said(pipelines: Pipelines) -> None:
    with pytest.raises(SourceRefused, match="set path"):
        list(tfx.fetch(config(), Pull(0, NOW, NOW)))
    with pytest.raises(SourceRefused, match="is not there"):
        fetched(Path("/nowhere/at/all"))
    (pipelines.folder / "old").mkdir()
    (pipelines.folder / "old" / "metadata.sqlite").write_bytes(CAPTURED.read_bytes())
    with pytest.raises(SourceRefused, match="holds several stores of ML Metadata"):
        fetched(pipelines.folder)


def test_the_captured_store_is_recognised_by_nobody_else() -> None:
    assert [one for one in connect.names() if connect.load(one).recognise(item(CAPTURED, Given()))] == ["tfx"]
    assert connect.canonical("mlmd") == connect.canonical("tfdv") == "tfx"
