"""OpenLineage's run events joined to runs: facets add up over the events of a run, whichever came first or in which
file.

A run is told apart by its id, an event by the run and its type; where a facet is told twice, the later event counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from connectors._event_times import event_time
from connectors._fields import Raw, inside, rows_of, text_of
from connectors._said import Said

TYPES = ("START", "RUNNING", "COMPLETE", "FAIL", "ABORT", "OTHER")
"""In the order in which they follow each other at one time."""
ENDS = ("COMPLETE", "FAIL", "ABORT")
METRICS = "dataQualityMetrics"
"""What a run measured of the rows that it read."""
STATE = "state"
"""What was measured of a dataset as such: the same facet, told of the dataset and not of its part in a run."""
_RUN = ("parent", "parentRun", "nominalTime", "errorMessage", "processing_engine", "tags", "test",
        "executionParameters", "airflow", "airflowDagRun")  # fmt: skip
_JOB = ("sourceCodeLocation", "tags")
_DATASET = ("version", "schema", "lifecycleStateChange", METRICS, "dataQualityAssertions",
            "outputStatistics", "inputStatistics")  # fmt: skip
"""The facets that are read; the rest (SQL, column lineage, documentation) would only cost memory."""

Name = tuple[str, str]
"""Namespace and name, of a job or a dataset."""


@dataclass(frozen=True, slots=True)
class Told:
    """One run event, or one event of a dataset alone (without a run)."""

    at: float
    """Epoch seconds."""
    word: str
    """Its type, in capitals."""
    run: str
    job: Name
    run_facets: Raw
    job_facets: Raw
    inputs: Sequence[tuple[Name, Raw]]
    outputs: Sequence[tuple[Name, Raw]]

    @property
    def order(self) -> tuple[float, int]:
        """When it happened, and after what at the same time."""
        return self.at, TYPES.index(self.word) if self.word in TYPES else len(TYPES)


@dataclass
class Dataset:
    """A dataset that a run read or wrote: each facet with when it was told."""

    name: Name
    facets: dict[str, tuple[float, Raw]] = field(default_factory=dict)

    def facet(self, name: str) -> Raw:
        """A facet as it was told last; {} where there is none."""
        return self.facets.get(name, (0.0, {}))[1]

    @property
    def version(self) -> str:
        """The version that is stated; "" for none."""
        return text_of(self.facet("version"), "datasetVersion")

    def take(self, at: float, facets: Raw) -> None:
        """Facets of a later event; one that is marked as deleted goes."""
        for name, facet in facets.items():
            if facet.get("_deleted") is True:
                self.facets.pop(name, None)
            else:
                self.facets[name] = at, facet


@dataclass
class Run:
    """What all events of one run say together."""

    id: str
    said: list[Told]
    """By time."""
    inputs: dict[Name, Dataset] = field(default_factory=dict)
    outputs: dict[Name, Dataset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.said.sort(key=lambda one: one.order)
        for one in self.said:
            for kept, told in ((self.inputs, one.inputs), (self.outputs, one.outputs)):
                for name, facets in told:
                    kept.setdefault(name, Dataset(name)).take(one.at, facets)

    @property
    def job(self) -> Name:
        """The job, as the newest event names it."""
        return self.said[-1].job

    def run_facet(self, *names: str) -> Raw:
        """The newest facet of the run with one of these names; {} where there is none."""
        return _newest([one.run_facets for one in self.said], names)

    def job_facet(self, name: str) -> Raw:
        """The newest facet of the job with this name; {} where there is none."""
        return _newest([one.job_facets for one in self.said], (name,))

    @property
    def ends(self) -> list[Told]:
        """What says how it ended, by time: words that are unknown may do so too."""
        return [one for one in self.said if one.word not in ("START", "RUNNING", "OTHER")]

    @property
    def word(self) -> str:
        """The word that tells its outcome: of its newest end, else of what it is at."""
        return (self.ends or [one for one in self.said if one.word != "OTHER"] or self.said)[-1].word

    @property
    def start(self) -> Told | None:
        """The earliest event that says it started, unless that is after its end."""
        found = next((one for one in self.said if one.word == "START"), None)
        return None if found is None or (self.ends and found.at > self.ends[-1].at) else found

    @property
    def completed(self) -> Told | None:
        """The newest event that says it completed."""
        return next((one for one in reversed(self.said) if one.word == "COMPLETE"), None)

    @property
    def latest(self) -> float:
        """When it was last told of."""
        return self.said[-1].at

    @property
    def rank(self) -> int:
        """Grows with the newest event and with the beginning that is known: for the revision of what it tells."""
        return 2 * math.floor(self.latest) + (self.start is not None and len(self.said) > 1)


@dataclass
class Runs:
    """The events of some files, taken in one by one."""

    zone: str | None
    said: Said
    until: float = math.inf
    """Events at or after it are left for the next pull."""
    latest: float = 0.0
    alone: list[Told] = field(default_factory=list)
    """Events of datasets alone."""
    _known: dict[str, dict[tuple[str, float], list[Told]]] = field(default_factory=dict)
    _same: dict[str, Raw] = field(default_factory=dict)
    """Facets by their text: most runs of a job repeat those of its datasets."""

    def add(self, document: Any) -> None:
        """An event, a list of them, or an answer of Marquez with its events."""
        if isinstance(document, dict) and isinstance(document.get("events"), list):
            document = document["events"]
        for one in document if isinstance(document, list) else [document]:
            told = self._read(one)
            if told is not None:
                self.latest = max(self.latest, told.at)
                if told.at < self.until:
                    self._keep(told)

    def _keep(self, told: Told) -> None:
        if not told.run:
            self.alone.append(told)
            return
        same = self._known.setdefault(told.run, {}).setdefault((told.word, told.at), [])
        if told not in same:
            same.append(told)

    def all(self) -> Iterator[Run]:
        """Every run, by when it was first told of."""
        first = {key: min(at for _, at in told) for key, told in self._known.items()}
        for key in sorted(first, key=lambda one: (first[one], one)):
            run = Run(key, [one for some in self._known.pop(key).values() for one in some])
            self._remark(run)
            yield run

    def _remark(self, run: Run) -> None:
        if len({one.word for one in run.ends}) > 1 or len({one.at for one in run.ends}) > 1:
            self.said.remark("a run tells of more than one end; the newest counts")
        if any(one.word == "START" for one in run.said) and run.start is None:
            self.said.remark("a run tells of a start after its end; that start is not used")
        if len({one.job for one in run.said}) > 1:
            self.said.remark("two jobs share the id of a run; the newer one counts")

    def _read(self, raw: Any) -> Told | None:
        if not isinstance(raw, dict) or not text_of(raw, "eventTime"):
            self.said.reject("no event of OpenLineage is left out")
            return None
        at = self._time(text_of(raw, "eventTime"))
        if at is None:
            return None
        if isinstance(raw.get("dataset"), dict):
            return Told(at, "OTHER", "", ("", ""), {}, {}, (), self._datasets([raw["dataset"]]))
        run, job = text_of(inside(raw, "run"), "runId"), _name(inside(raw, "job"))
        if not isinstance(raw.get("run"), dict) and job is not None:
            self.said.remark("events of a job alone tell of no run and are not used")
            return None
        if not run or job is None:
            self.said.reject("an event without the id of its run or the name of its job is left out")
            return None
        return Told(
            at, intern((text_of(raw, "eventType") or "OTHER").upper()), run, job,
            self._facets(inside(raw, "run", "facets"), _RUN), self._facets(inside(raw, "job", "facets"), _JOB),
            self._datasets(rows_of(raw, "inputs")), self._datasets(rows_of(raw, "outputs")),
        )  # fmt: skip

    def _datasets(self, rows: Sequence[Raw]) -> tuple[tuple[Name, Raw], ...]:
        """The datasets of an event with their facets: what the run found stands before what is said of the dataset."""
        found: list[tuple[Name, Raw]] = []
        for row in rows:
            name = _name(row)
            if name is not None:
                lasting = self._facets(inside(row, "facets"), _DATASET)
                state = {STATE if one == METRICS else one: facet for one, facet in lasting.items()}
                own = [self._facets(inside(row, side), _DATASET) for side in ("inputFacets", "outputFacets")]
                found.append((name, {**state, **own[0], **own[1]}))
        return tuple(found)

    def _facets(self, raw: Raw, names: Sequence[str]) -> Raw:
        """The facets that are read, without where their schema lies, and equal ones once."""
        found = {}
        for name in names:
            facet = raw.get(name)
            if isinstance(facet, dict):
                kept = {key: value for key, value in facet.items() if key not in ("_producer", "_schemaURL")}
                found[name] = self._same.setdefault(repr(kept), kept)
        return found

    def _time(self, text: str) -> float | None:
        try:
            return event_time(text, self.zone, self.said.remark)
        except ValueError as error:
            self.said.reject(str(error))
            return None


def _newest(told: Sequence[Raw], names: Sequence[str]) -> Raw:
    found = [inside(facets, name) for facets in told for name in names if inside(facets, name)]
    return {} if not found or found[-1].get("_deleted") is True else found[-1]


def _name(raw: Raw) -> Name | None:
    name = text_of(raw, "name")
    return (intern(text_of(raw, "namespace")), intern(name)) if name else None
