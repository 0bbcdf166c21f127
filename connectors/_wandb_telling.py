"""What W&B's objects are as records: trainings, releases, samples, and histograms on bins that stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import numpy as np

from connectors._fields import finite
from connectors._said import Said
from connectors._sketched import Contradiction, layout_of, mixed, of_buckets, onto
from connectors._wandb_objects import Artifact, Bins, Row, Run, flat, is_number
from tandem.bins import Layout
from tandem.connect import Pull
from tandem.records import HOUR, Event, Fact, Histogram, Page, Sample, Series, Slice, Stage, bucket_of, labels_of

if TYPE_CHECKING:
    from connectors.wandb import Config

BLOCK = 1_000
"""Steps whose histograms are one slice; a history is read on from the beginning of one."""
PARAMS, TEXT, TIES = 30, 200, 20
"""Parameters of a run that are labels, letters of each, and artifacts that are."""
_NAMES, _EDGES = 40, 513
"""Names whose bins are remembered, and the most edges of each; with the runs this stays below 1 MiB."""


@dataclass
class Telling:
    """Turns runs, rows and artifacts into records; `made` are the known versions of models by the artifact's id."""

    config: Config
    pull: Pull
    said: Said
    made: Mapping[str, Artifact] = field(default_factory=dict)
    bins: dict[str, tuple[float, ...]] = field(default_factory=dict)
    _known: dict[tuple[str, str], Series | None] = field(default_factory=dict)
    _run: str = ""
    _told: set[str] = field(default_factory=set)
    _worst: dict[str, float] = field(default_factory=dict)

    # -- events

    def training(self, run: Run) -> Event | None:
        """The event of a run; None for one without a time of its creation."""
        if run.created is None:
            self.said.reject("a run without a time of its creation")
            return None
        if run.created >= self.pull.until:
            return None
        outcome = self.said.outcome(run.state)
        heard = max(run.heard or run.created, run.created)
        ended: int | None = heard
        if heard >= self.pull.until:  # it has not ended yet, as far as this pull may know
            heard, outcome = self.pull.until - 1, "open"
        if outcome == "open":
            ended = None
        model = self._model(run)
        return Event(
            "training", run.id, run.created, started=run.created, ended=ended, outcome=outcome,
            version=model.version if model else "", commit=run.commit, digest=self._digest(run), run=run.id,
            data_version=self._data(run), trigger="sweep" if run.sweep else "", actor=run.user,
            title=run.name or run.id, url=self._link(f"runs/{quote(run.id, safe='')}"),
            labels=labels_of({**self.labels(run), **self._made_with(run)}),
            revision=heard * 2 + (outcome != "open"),
        )  # fmt: skip

    def labels(self, run: Run) -> dict[str, str]:
        """What a run is mapped to a component by."""
        model = self._model(run)
        return {
            "entity": run.entity, "project": run.project, "group": run.group, "job_type": run.job_type,
            "run_name": run.name, "sweep": run.sweep, "model": model.collection if model else "",
        }  # fmt: skip

    def _made_with(self, run: Run) -> dict[str, str]:
        params = {name: value for name, value in flat(run.config) if not name.startswith("_wandb")}
        told = {f"param.{name}": _text(params[name]) for name in sorted(params)[:PARAMS]}
        told |= {f"input.{n}": one.name for n, one in enumerate(run.inputs[:TIES], 1)}
        told |= {f"output.{n}": one.name for n, one in enumerate(run.outputs[:TIES], 1)}
        more = {"tags": ",".join(run.tags), "state": run.state, "python": run.python, "image": run.image}
        return {**told, **more, "packages": run.packages}

    def _model(self, run: Run) -> Artifact | None:
        """The newest version of a model that W&B says the run has made."""
        known = [self.made.get(one.id, one) for one in run.outputs if one.id in self.made or self._is_model(one)]
        return max(known, key=lambda one: (one.created or 0, one.version), default=None)

    def _is_model(self, one: Artifact) -> bool:
        """Whether an artifact of a run is a version of a model; not where models are registered elsewhere."""
        named = one.version and not self.config.registry and matches(one.collection, self.config.models)
        return bool(named) and matches(one.kind, self.config.types)

    def _digest(self, run: Run) -> str:
        models = [one for one in run.outputs if one.digest and matches(one.kind, self.config.types)]
        return max(models, key=lambda one: one.created or 0).digest if models else ""

    def _data(self, run: Run) -> str:
        if run.untold:
            self.said.remark(f"a run used or made more than {TIES} artifacts; its data version is left out")
            return ""
        used = {_data_of(one) for one in run.inputs if matches(one.kind, self.config.data)}
        if used:
            return ",".join(sorted(used))
        said = run.config.get("data_version")
        return _text(said) if isinstance(said, str | int | float) and not isinstance(said, bool) else ""

    def data_versions(self, run: Run) -> Iterator[Event]:
        """The events of the data that a run used or made, each told once."""
        for one in (*run.inputs, *run.outputs):
            if one.created is None or one.created >= self.pull.until or one.id in self._told:
                continue
            if matches(one.kind, self.config.data):
                self._told.add(one.id)
                yield Event(
                    "data_version", one.name, one.created, data_version=_data_of(one), digest=one.digest, run=one.run,
                    title=one.name, url=self._artifact_link(one),
                    labels=labels_of({**self.where(), "dataset": one.collection}), revision=one.created,
                )  # fmt: skip

    def release(self, one: Artifact) -> Event | None:
        """The event of a version of a model."""
        if one.created is None:
            self.said.reject("a version of a model without a time of its creation")
            return None
        if one.created >= self.pull.until:
            return None
        return Event(
            "release", f"{one.collection}/{one.version}", one.created, version=one.version, run=one.run,
            digest=one.digest, title=one.name, url=self.model_link(one),
            labels=labels_of({**self.where(), "model": one.collection}), revision=one.created,
        )  # fmt: skip

    def where(self) -> dict[str, str]:
        """The labels of what belongs to no run."""
        return {"entity": self.config.entity, "project": self.config.project}

    def model_link(self, one: Artifact) -> str:
        """The page of a version of a model."""
        return self._artifact_link(one, self.config.registry)

    def _artifact_link(self, one: Artifact, within: str = "") -> str:
        place = f"artifacts/{quote(one.kind, safe='')}/{quote(one.collection, safe='')}/{one.version}"
        return self._link(place, within)

    def _link(self, place: str, within: str = "") -> str:
        if not self.config.url.startswith("http"):
            return ""
        parts = urlsplit(self.config.url)
        host = "wandb.ai" if parts.netloc == "api.wandb.ai" else parts.netloc
        where = within or f"{self.config.entity}/{self.config.project}"
        return f"{parts.scheme}://{host}/{quote(where)}/{place}"

    # -- samples

    def samples(self, run: Run, rows: Iterable[Row]) -> Iterator[Sample]:
        """The finite values of rows that lie before the end of the pull."""
        for row in rows:
            if row.at is None:
                if row.values or row.histograms:
                    self.said.reject("a row of a history without a time")
                continue
            for name, value in row.values:
                series = self.series(run, name)
                if series is None:
                    continue
                if value is None:
                    self.said.reject(f'a value of "{name[:60]}" that is no finite number')
                else:
                    yield Sample(series, row.at, value, run.id, row.step)

    def summary(self, run: Run, told: Iterable[str]) -> Iterator[Sample]:
        """The values of a summary that no history tells, of a run that is over, at its end; histories tell `told`."""
        known = set(told)
        if run.heard is None or run.heard >= self.pull.until or self.said.meaning(run.state) == "open":
            return
        for name, value in flat(run.summary):
            series = self.series(run, name) if is_number(value) and not name.startswith("_") else None
            if series is None or name in known or name.partition(".")[0] in known:
                continue
            number = finite(value)
            if number is None:
                self.said.reject(f'a value of "{name[:60]}" that is no finite number')
            else:
                yield Sample(series, run.heard, number, run.id, max(run.last_step, 0))

    def wants(self, name: str) -> bool:
        """Whether a metric or a histogram of that name is read."""
        return matches(name, self.config.metrics) and not matches(name, self.config.ignore)

    def stage(self, name: str) -> Stage:
        """Where a value of that name was measured."""
        evaluates = matches(name.lower(), tuple(glob.lower() for glob in self.config.evaluation))
        return "evaluation" if evaluates else "training"

    def series(self, run: Run, name: str, signal: str = "sample") -> Series | None:
        """The series of a name of a run; None for a name that is not wanted."""
        if self._run != run.id:
            self._run, self._known = run.id, {}
        key = name, signal
        if key not in self._known:
            model = self._model(run)
            self._known[key] = Series(
                signal, labels_of(self.labels(run)), name="" if signal == "prediction" else name,
                version=model.version if model else "", stage=self.stage(name),
            ) if self.wants(name) else None  # fmt: skip
        return self._known[key]

    # -- histograms

    def histograms(self, run: Run, block: int, rows: Sequence[Row]) -> Page | None:
        """The slice of a block of steps: what was logged there, by the hour; None where nothing was, or nothing new."""
        logged: dict[tuple[Series, int], list[tuple[str, Bins]]] = {}
        for row in rows:
            self._count_broken(row.broken)
            for name, bins in row.histograms:
                signal = "prediction" if name == self.config.prediction else "feature"
                series = self.series(run, name, signal)
                if series is not None and row.at is not None and any(bins.counts):
                    logged.setdefault((series, bucket_of(row.at, HOUR)), []).append((name, bins))
        if not logged:
            return None
        self._learn([pair for some in logged.values() for pair in some])
        facts = [Fact(series, ts, self._sum(some)) for (series, ts), some in logged.items()]
        name = f"histograms:{run.id}:{block}"
        digest = hashlib.sha256(repr([(one.series, one.ts, one.value) for one in facts]).encode()).hexdigest()[:24]
        if self.pull.taken(name) == digest and not self.pull.first:
            return None
        return Page(facts, slice=Slice(name, digest))

    def _count_broken(self, count: int) -> None:
        for _ in range(count):
            self.said.reject("a histogram that contradicts itself")

    def _learn(self, logged: Sequence[tuple[str, Bins]]) -> None:
        """Bins for names that have none: those that all of the first have, else the usual quantiles of all of them."""
        by_name: dict[str, list[Bins]] = {}
        for name, bins in logged:
            if name not in self.bins:
                by_name.setdefault(name, []).append(bins)
        for name, some in by_name.items():
            edges = {bins.edges for bins in some}
            self.bins[name] = edges.pop() if len(edges) == 1 else layout_of(mixed([_sketch(b) for b in some])).edges

    def _sum(self, some: Sequence[tuple[str, Bins]]) -> Histogram:
        total: Histogram | None = None
        for name, bins in some:
            layout = Layout(edges=self.bins[name], approximate=True)
            one = self._on(layout, name, bins)
            total = one if total is None else total + one
        assert total is not None
        return total

    def _on(self, layout: Layout, name: str, bins: Bins) -> Histogram:
        """A histogram on the bins of its name: exactly where they are its own, else as well as they tell."""
        if bins.edges == layout.edges:
            return Histogram(layout, {place: n for place, n in enumerate(bins.counts, 1) if n}, {})
        try:
            sketch = _sketch(bins)
        except Contradiction:
            self.said.reject("a histogram that contradicts itself")
            return Histogram(layout, {}, {})
        doubt = float(sketch.doubt(np.array(layout.edges)).max(initial=0.0))
        self._worst[name] = max(self._worst.get(name, 0.0), doubt)
        return onto(sketch, layout)

    def remark(self) -> None:
        """Say of all histograms how far a count below an edge may be off."""
        for name, doubt in sorted(self._worst.items()):
            self.said.remark(
                f"{name[:60]} is put onto other bins than it was logged with: a count below an edge may be off by up "
                f"to {doubt:.1%} of the values"
            )

    def remembered_bins(self) -> dict[str, Sequence[float]]:
        """The bins that the next pull is to go on with."""
        kept = [(name, edges) for name, edges in self.bins.items() if len(edges) <= _EDGES]
        return dict(kept[:_NAMES])


def blocks(rows: Iterable[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Rows with histograms by their block of steps; rows come in the order of their steps."""
    held: list[Row] = []
    current = 0
    for row in rows:
        if held and row.step // BLOCK != current:
            yield current, held
            held = []
        current = row.step // BLOCK
        held.append(row)
    if held:
        yield current, held


def only_wanted(row: Row, telling: Telling) -> Row:
    """A row's histograms alone, those that are read."""
    return replace(row, values=(), histograms=[pair for pair in row.histograms if telling.wants(pair[0])])


def _sketch(bins: Bins) -> Any:
    return of_buckets([(*pair, n) for pair, n in zip(pairwise(bins.edges), bins.counts, strict=True)])


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether one of the globs lets a name through."""
    return any(fnmatchcase(name, glob) for glob in globs)


def _data_of(one: Artifact) -> str:
    """The text that a training and its data are joined by."""
    return one.digest or one.name


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, allow_nan=True))[:TEXT]
