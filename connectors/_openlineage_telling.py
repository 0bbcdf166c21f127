"""What runs of OpenLineage become: trainings, versions of data, validations, and how many rows were valid."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from connectors._event_times import event_time
from connectors._fields import Raw, first_line, inside, rows_of, text_of, whole
from connectors._judged import digest
from connectors._junit import FAILING_NAMES
from connectors._openlineage import METRICS, STATE, Dataset, Name, Run, Runs, Told
from connectors._openlineage_schemas import Schemas
from connectors._said import Said
from tandem.connect import Pull
from tandem.records import Event, Fact, Outcome, Page, Ratio, Record, Series, Slice, bucket_of, labels_of

if TYPE_CHECKING:
    from connectors.openlineage import Config

EDGES = 30
"""Most datasets on one side of a run that its labels name; more are counted."""
PARAMS = 50
"""Most parameters and most tags of a run."""
_TEXT = 200
_PIECE = 500
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_GONE = {"DROP": "dropped", "RENAME": "renamed"}


@dataclass
class Telling:
    """One reading of all runs."""

    config: Config
    pull: Pull
    said: Said
    alone: bool = False
    """Whether it is an import, which remembers nothing."""
    _rows: dict[str, tuple[float, Sequence[Fact]]] = field(default_factory=dict)
    """The valid rows, each measurement once: when it was told and what it says."""

    def __post_init__(self) -> None:
        self._open = {one.key: one for one in self.pull.open if one.kind == "training"}

    def pages(self, runs: Runs) -> Iterator[Page]:
        """The events, the valid rows as slices, and the changes of schemas."""
        schemas = Schemas(self.pull, self.alone)
        schemas.lasting(runs.alone)
        piece: list[Record] = [event for told in runs.alone for event in self._lasting(told)]
        for run in runs.all():
            piece += self._run(run)
            schemas.take(run)
            if len(piece) >= _PIECE:
                yield Page(piece)
                piece = []
        if piece:
            yield Page(piece)
        yield from self._valid()
        yield from schemas.pages()

    def _run(self, run: Run) -> Iterator[Event]:
        training = self._fits(run.job, self.config.training)
        base = _labels(run)
        if training:
            yield self._training(run, base)
        elif run.completed is not None:
            yield from self._versions(run, base)
        yield from self._validations(run, base)
        for datasets in (run.inputs, run.outputs):
            for one in datasets.values():
                self._measured(run, one, training=training)

    def _fits(self, name: Name, globs: Sequence[str]) -> bool:
        return any(fnmatchcase(one, glob) for glob in globs for one in (name[1], "/".join(name)))

    # -- trainings

    def _training(self, run: Run, base: Mapping[str, object]) -> Event:
        before = self._open.get(run.id)
        outcome = self.said.outcome(run.word)
        start, end = run.start, run.ends[-1] if run.ends else None
        begun = math.floor(start.at) if start else before.started if before else None
        ts = begun if begun is not None else before.ts if before else math.floor((end or run.said[0]).at)
        if begun is None and end is not None:
            self.said.remark("a training whose start is told in no file counts at its end, without a duration")
        code, error = run.job_facet("sourceCodeLocation"), text_of(run.run_facet("errorMessage"), "message")
        stated = sorted({one.version for one in run.inputs.values() if one.version})
        labels = {**base, **_edges("input", run.inputs), **_edges("output", run.outputs), **_params(run), **_code(code)}
        return Event(
            "training", run.id, ts, started=begun,
            ended=math.floor(end.at) if end and begun is not None and outcome != "open" else None, outcome=outcome,
            version=self._model(run), commit=_commit(code), run=run.id, data_version=",".join(stated)[:_TEXT],
            trigger=_trigger(run), title=f"{run.job[1]}: {first_line(error) or run.word.lower()}"[:_TEXT],
            url=_url(text_of(code, "url")), labels=labels_of({**labels, "said": run.word}),
            revision=run.rank if before is None else run.rank | 1,
        )  # fmt: skip

    def _model(self, run: Run) -> str:
        """The version of the one model that a training wrote; "" where none or several are known."""
        found = {one.version for name, one in run.outputs.items() if self._fits(name, self.config.models)} - {""}
        if len(found) > 1:
            self.said.remark("a training wrote models of several versions; its version stays unknown")
        return found.pop() if len(found) == 1 else ""

    # -- versions of data

    def _versions(self, run: Run, base: Mapping[str, object]) -> Iterator[Event]:
        """What a run that completed wrote; taken back where it says later that it failed."""
        done = run.completed
        assert done is not None
        stands: Outcome = "good" if run.word == "COMPLETE" else "excluded"
        code = run.job_facet("sourceCodeLocation")
        labels = {**base, **_edges("input", run.inputs), **_code(code)}
        for one in run.outputs.values():
            yield self._version(
                f"{run.id}:{' '.join(one.name)}", math.floor(done.at), one, labels, outcome=stands, run=run.id,
                commit=_commit(code), trigger=_trigger(run), url=_url(text_of(code, "url")), revision=run.rank,
            )  # fmt: skip

    def _lasting(self, told: Told) -> Iterator[Event]:
        """The version of a dataset that an event without a run states."""
        for name, facets in told.outputs:
            one = Dataset(name)
            one.take(told.at, facets)
            if one.version or _change(one) in _GONE:
                key = f"{' '.join(name)}@{one.version or told.at}"
                yield self._version(key, math.floor(told.at), one, {})

    def _version(self, key: str, ts: int, one: Dataset, labels: Mapping[str, object], **more: Any) -> Event:
        change, wrote = _change(one), one.facet("outputStatistics")
        before = inside(one.facet("lifecycleStateChange"), "previousIdentifier")
        said = _GONE.get(change, f"version {one.version}" if one.version else "written")
        told = {**labels, **_dataset(one), "change": change.lower(), "rows": whole(wrote.get("rowCount")),
                "bytes": whole(wrote.get("size")), "files": whole(wrote.get("fileCount")),
                "renamed_from": text_of(before, "name")}  # fmt: skip
        return Event(
            "schema_change" if change in _GONE else "data_version", key, ts, data_version=one.version,
            title=f"{one.name[1]} {said}"[:_TEXT], labels=labels_of(told), **more,
        )  # fmt: skip

    # -- validations

    def _validations(self, run: Run, base: Mapping[str, object]) -> Iterator[Event]:
        """The assertions about each dataset; tests of the run itself only where no dataset has any."""
        found = False
        for one in (*run.inputs.values(), *run.outputs.values()):
            at, facet = one.facets.get("dataQualityAssertions", (0.0, {}))
            checks = [(_check(raw), _verdict(raw)) for raw in rows_of(facet, "assertions")]
            if checks:
                found = True
                labels = {**base, **_dataset(one)}
                yield self._validation(f"{run.id}:{' '.join(one.name)}", at, one.name[1], checks, labels, one.version)
        tests = rows_of(run.run_facet("test"), "tests")
        if tests and not found:
            checks = [(text_of(raw, "name") or "test", _status(raw)) for raw in tests]
            yield self._validation(f"{run.id}:tests", run.latest, run.job[1], checks, base, "")

    def _validation(
        self, key: str, at: float, what: str, checks: Sequence[tuple[str, str]], labels: Mapping[str, object],
        version: str,
    ) -> Event:  # fmt: skip
        told = [(name, self.said.outcome(word)) for name, word in checks]
        failed = [name[:_TEXT] for name, outcome in told if outcome == "bad"]
        ran = sum(outcome in ("good", "bad") for _, outcome in told)
        outcome: Outcome = "excluded" if not ran else "bad" if failed else "good"
        counted = f"{len(failed)} of {ran} checks failed" if failed else f"{ran} checks passed"
        warned = sum(word == "warning" for _, word in checks)
        counts = {"checks": ran, "failed": len(failed), "warned": warned, "skipped": len(told) - ran,
                  "failed_checks": ", ".join(failed[:FAILING_NAMES])}  # fmt: skip
        return Event(
            "validation", key, math.floor(at), outcome=outcome, data_version=version,
            title=f"{what}: {counted}"[:_TEXT], labels=labels_of({**labels, **counts}), revision=math.floor(at),
        )  # fmt: skip

    # -- valid rows

    def _measured(self, run: Run, one: Dataset, *, training: bool) -> None:
        """The rows that a run measured; else what is said of the dataset as such, which many runs may repeat."""
        name = METRICS if METRICS in one.facets else STATE
        if name not in one.facets:
            return
        at, facet = one.facets[name]
        stated = text_of(facet, "captureDate") or text_of(facet, "lastUpdated") or one.version
        again = name == STATE and stated
        told = [*one.name, training, stated] if again else [*one.name, training, run.id]
        ts = self._captured(text_of(facet, "captureDate"), at) if name == STATE else at
        labels = labels_of({"namespace": run.job[0], "job": run.job[1], **_dataset(one)})
        series = Series("valid_rows", labels, stage="training" if training else "production")
        facts = self._facts(series, ts, facet)
        key = f"openlineage:rows:{digest(told)}"
        if facts and ts < self.pull.until and self._rows.get(key, (-math.inf,))[0] <= at:
            self._rows[key] = at, facts

    def _captured(self, text: str, at: float) -> float:
        try:
            return event_time(text, self.config.common.timezone, self.said.remark) if text else at
        except ValueError:
            return at

    def _facts(self, series: Series, ts: float, metrics: Raw) -> list[Fact]:
        rows = whole(metrics.get("rowCount"))
        columns = inside(metrics, "columnMetrics")
        missing = {name: count for name, one in columns.items() if self._required(name) and isinstance(one, dict)
                   and (count := whole(one.get("nullCount"))) is not None}  # fmt: skip
        if rows is None or not missing:
            self.said.remark("metrics of data without rowCount or any nullCount tell nothing of valid rows")
            return []
        if any(count > rows for count in missing.values()):
            self.said.reject("metrics of data that miss more values in a column than there are rows are left out")
            return []
        faulty = {name: count for name, count in sorted(missing.items()) if count}
        if len(faulty) > 1:
            self.said.remark("valid_rows is a lower bound, for values are missing in several columns of a dataset")
        if not rows:
            return []
        parts = {"": Ratio(max(rows - sum(faulty.values()), 0), rows),
                 **{f"{name}:missing": Ratio(0, count) for name, count in faulty.items()}}  # fmt: skip
        return [Fact(replace(series, name=name), bucket_of(ts), ratio) for name, ratio in parts.items()]

    def _required(self, column: str) -> bool:
        return any(fnmatchcase(column, glob) for glob in self.config.required)

    def _valid(self) -> Iterator[Page]:
        for key, (_, facts) in sorted(self._rows.items()):
            yield Page(facts, slice=Slice(key, digest([repr(fact) for fact in facts])))


# -- labels


def _labels(run: Run) -> dict[str, object]:
    """The run with its job and the runs that it belongs to."""
    parent, engine = run.run_facet("parent", "parentRun"), run.run_facet("processing_engine")
    root = inside(parent, "root")
    found: dict[str, object] = {"namespace": run.job[0], "job": run.job[1], "run": run.id}
    for name, one in (("parent", parent), ("root", root)):
        job = inside(one, "job")
        found |= {f"{name}_run": text_of(inside(one, "run"), "runId"), f"{name}_job": text_of(job, "name"),
                  f"{name}_namespace": text_of(job, "namespace")}  # fmt: skip
    tags = [*rows_of(run.job_facet("tags"), "tags"), *rows_of(run.run_facet("tags"), "tags")]
    found |= {
        f"tag.{text_of(one, 'key')}": text_of(one, "value")[:_TEXT] for one in tags[:PARAMS] if text_of(one, "key")
    }
    nominal = text_of(run.run_facet("nominalTime"), "nominalStartTime")
    return found | {"engine": f"{text_of(engine, 'name')} {text_of(engine, 'version')}".strip(), "nominal": nominal}


def _edges(side: str, datasets: Mapping[Name, Dataset]) -> dict[str, object]:
    """The datasets of one side, numbered in order of their names, and how many they are."""
    found: dict[str, object] = {f"{side}s": len(datasets) or None}
    for number, (name, one) in enumerate(sorted(datasets.items())[:EDGES], 1):
        found |= {f"{side}.{number}": name[1], f"{side}.{number}.namespace": name[0],
                  f"{side}.{number}.version": one.version}  # fmt: skip
    return found


def _dataset(one: Dataset) -> dict[str, object]:
    return {"dataset": one.name[1], "dataset_namespace": one.name[0]}


def _params(run: Run) -> dict[str, object]:
    return _pairs("param", rows_of(run.run_facet("executionParameters"), "parameters"))


def _pairs(what: str, rows: Sequence[Raw]) -> dict[str, object]:
    found = [(text_of(one, "key"), text_of(one, "value")) for one in rows[:PARAMS]]
    return {f"{what}.{key}": value[:_TEXT] for key, value in found if key}


def _code(code: Raw) -> dict[str, object]:
    version = text_of(code, "version")
    return {"repository": text_of(code, "repoUrl"), "branch": text_of(code, "branch"), "path": text_of(code, "path"),
            "revision": "" if _commit(code) else version, "tag": text_of(code, "tag")}  # fmt: skip


def _commit(code: Raw) -> str:
    version = text_of(code, "version").lower()
    return version if text_of(code, "type") in ("", "git") and _SHA.fullmatch(version) else ""


def _trigger(run: Run) -> str:
    """What began it, where Airflow says so: scheduled, manual, backfill, asset_triggered."""
    return text_of(inside(run.run_facet("airflow", "airflowDagRun"), "dagRun"), "run_type")


def _change(one: Dataset) -> str:
    return text_of(one.facet("lifecycleStateChange"), "lifecycleStateChange").upper()


def _check(raw: Raw) -> str:
    name, column = text_of(raw, "name") or text_of(raw, "assertion") or "assertion", text_of(raw, "column")
    return f"{column}: {name}" if column else name


def _verdict(raw: Raw) -> str:
    """The word for an assertion; one that failed and only warns is a warning."""
    success = raw.get("success")
    if not isinstance(success, bool):
        return "no verdict"
    return "success" if success else "warning" if text_of(raw, "severity").lower() == "warn" else "failure"


def _status(raw: Raw) -> str:
    word = text_of(raw, "status").lower() or "no verdict"
    return "warning" if word == "fail" and text_of(raw, "severity").lower() == "warn" else word


def _url(text: str) -> str:
    return text if text.startswith(("https://", "http://")) else ""
