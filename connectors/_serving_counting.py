"""What the counters of an inference server add up to, when one address may be answered by several processes.

Every process counts for itself, so a counter is compared only with what the same process said before: a process is
told by when it began (process_start_time_seconds) and a counter by when it was made (its _created). A counter that
is new in a process which was looked at before began at nothing. One that fell although nothing else changed belongs to
another process: it is remarked and not added. Where neither time is told, a server that is one process by design
began again; at any other nothing counts for BRIDGE seconds on either side of the fall.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise

import numpy as np

from connectors._adding import Added
from connectors._counters import BRIDGE, Array, Scraped, classic, increases, summed
from connectors._latency import UNITS
from connectors._prometheus_files import Key, key_of
from connectors._said import Said
from connectors._serving_flavours import Metrics, Names, Timed, code_word
from tandem.bins import Layout
from tandem.intervals import Span, subtract, union
from tandem.records import Covered, Histogram, Outcome, Ratio, Series, labels_of

START = "process_start_time_seconds"
CREATED = "_created"
_BRIDGE = BRIDGE * 1000
_UNKNOWN = -1.0


@dataclass
class Target:
    """One address: when it was looked at (epoch milliseconds, ascending), and which process answered then."""

    times: Array
    processes: Array
    models: set[str] = field(default_factory=set)
    falls: list[int] = field(default_factory=list)
    """Times of falls that nothing explains."""

    def process_at(self, times: Array) -> Array:
        """When the process began that answered at each of `times`; -1 where it did not say."""
        return np.asarray(self.processes[np.searchsorted(self.times, times)])

    def before(self, at: int, process: float | None = None) -> int | None:
        """The last look before `at` (of one process), not longer ago than can be bridged."""
        earlier = self.times < at
        if process is not None:
            earlier &= self.processes == process
        found = self.times[earlier]
        return int(found[-1]) if found.size and at - int(found[-1]) <= _BRIDGE else None


@dataclass
class Group:
    """A counter, or the buckets of one histogram: a column each, a row for each time; NaN where nothing was said."""

    labels: Mapping[str, str]
    target: Target
    times: Array
    table: Array
    edges: tuple[float, ...] = ()
    created: Array = field(default_factory=lambda: np.empty(0))


def targets_of(found: Sequence[Scraped], by: Sequence[str]) -> dict[Key, Target]:
    """The addresses, told apart by the labels `by`, with all their looks."""
    times: dict[Key, list[Array]] = defaultdict(list)
    starts: dict[Key, list[Scraped]] = defaultdict(list)
    for one in found:
        key = _target_key(one.labels, by)
        times[key].append(one.times)
        if one.labels["__name__"] == START:
            starts[key].append(one)
    targets = {}
    for key, each in times.items():
        looks = np.unique(np.concatenate(each))
        processes = np.full(looks.size, _UNKNOWN)
        for one in starts[key]:
            processes[np.searchsorted(looks, one.times)] = one.values
        targets[key] = Target(looks, processes)
    return targets


def _target_key(labels: Mapping[str, str], by: Sequence[str]) -> Key:
    return tuple((name, labels.get(name, "")) for name in by)


@dataclass
class Counting:
    """What some series add up to; increases that end before `since` (epoch milliseconds) count nothing."""

    metrics: Metrics
    added: Added
    said: Said
    since: int
    wants: Callable[[str], bool]
    by: Sequence[str] = ()
    falls: dict[Key, list[int]] = field(default_factory=dict)
    """Unexplained falls of earlier pulls, by address."""
    targets: dict[Key, Target] = field(default_factory=dict)
    owners: dict[Key, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    """The components and signals that an address tells of."""

    def count(self, found: Sequence[Scraped]) -> None:
        """Count everything in `found`."""
        self.targets = targets_of(found, self.by)
        named: dict[str, list[Scraped]] = defaultdict(list)
        for one in found:
            named[one.labels["__name__"]].append(one)
        counters = [(one, group) for one in self.metrics.counted for group in self._groups(named, one.name, one.name)]
        timed = next((each for each in (self._timed(named, one) for one in self.metrics.timed) if each), [])
        timed += [each for one in self.metrics.parts for each in self._timed(named, one)]
        for counted, group in counters:
            group.target.models.add(_model(counted.names, group.labels))
        for key, target in self.targets.items():
            target.models.discard("")
            target.falls += self.falls.get(key, [])
        for group in [*(group for _, group in counters), *(group for _, group in timed)]:
            self._note_falls(group)
        for counted, group in counters:
            self._count_requests(counted.names, counted.means, counted.status, group)
        for measured, group in timed:
            self._count_durations(measured, group)

    def covered(self) -> Iterator[Covered]:
        """What the looks vouch for, by component and signal."""
        seen: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for key, owners in self.owners.items():
            spans = vouched(self.targets[key], self.since)
            for owner in owners:
                seen[owner] += spans
        for (component, signal), spans in sorted(seen.items()):
            for since, until in union(spans):
                yield Covered(since, until, component, signal)

    # -- which numbers belong together

    def _groups(self, named: Mapping[str, Sequence[Scraped]], name: str, base: str) -> Iterator[Group]:
        created: dict[Key, Scraped] = {}
        for one in named.get(base.removesuffix("_total") + CREATED, ()):
            created[_bare(one.labels)] = one
        members: dict[Key, dict[float, Scraped]] = defaultdict(dict)
        for one in named.get(name, ()):
            edge = _edge(one.labels) if name != base else math.inf
            if edge is None:
                self.said.reject("a bucket of a histogram has no usable le")
                continue
            members[_bare(one.labels)][edge] = one
        for key, columns in members.items():
            if math.inf in columns:
                yield self._group(columns, created.get(key))
            else:
                self.said.reject("a histogram lacks its +Inf bucket")

    def _group(self, columns: Mapping[float, Scraped], created: Scraped | None) -> Group:
        edges = tuple(sorted(columns))
        times = np.unique(np.concatenate([columns[edge].times for edge in edges]))
        table = np.full((times.size, len(edges)), np.nan)
        for place, edge in enumerate(edges):
            table[np.searchsorted(times, columns[edge].times), place] = columns[edge].values
        labels = columns[math.inf].labels
        made = np.full(times.size, _UNKNOWN)
        if created is not None:
            shared = np.isin(created.times, times)
            made[np.searchsorted(times, created.times[shared])] = created.values[shared]
        return Group(labels, self.targets[_target_key(labels, self.by)], times, table, edges, made)

    def _timed(self, named: Mapping[str, Sequence[Scraped]], one: Timed) -> list[tuple[Timed, Group]]:
        found = self._groups(named, f"{one.name}_bucket", one.name)
        return [(one, group) for group in found if one.keeps(group.labels)]

    # -- one process after the other

    def _chains(self, group: Group) -> Iterator[tuple[float, float, Array]]:
        """(process, created, rows) of what one process said of one counter."""
        processes = group.target.process_at(group.times)
        pairs = np.stack([processes, group.created], axis=1)
        for pair in np.unique(pairs, axis=0):
            yield float(pair[0]), float(pair[1]), np.flatnonzero((pairs == pair).all(axis=1))

    def _note_falls(self, group: Group) -> None:
        if self.metrics.single:
            return
        for process, made, rows in self._chains(group):
            if process == made == _UNKNOWN:
                times, table = _whole_rows(group.times[rows], group.table[rows])
                group.target.falls += times[1:][_fell(table)].tolist()

    def _pieces(self, group: Group) -> Iterator[tuple[Array, Array, Array]]:
        """(times, table, which columns) whose neighbours may be compared, from the last row before `since` on."""
        for process, made, rows in self._chains(group):
            columns: Array = np.asarray(~np.isnan(group.table[rows]).all(axis=0))
            times, table = _whole_rows(group.times[rows], group.table[rows][:, columns])
            if not times.size:
                continue
            zero = self._zero(group.target, int(times[0]), process, made)
            if zero is not None:
                times = np.concatenate([[zero], times])
                table = np.vstack([np.zeros(table.shape[1]), table])
            for first, last in self._runs(group.target, times, table, process == made == _UNKNOWN):
                begin = max(first, int(np.searchsorted(times, self.since)) - 1)
                if last - begin > 1:
                    yield times[begin:last], table[begin:last], columns

    def _zero(self, target: Target, at: int, process: float, made: float) -> int | None:
        """When a counter is known to have been nothing, before its first sample at `at`."""
        last = target.before(at)
        if made != _UNKNOWN:
            return last if last is not None and made * 1000 > last else None
        if process != _UNKNOWN:
            return last if last is not None and process * 1000 > last else target.before(at, process)
        return last if self.metrics.single else None

    def _runs(self, target: Target, times: Array, table: Array, nameless: bool) -> Iterator[tuple[int, int]]:
        """[first, last) of the rows between which nothing fell that cannot be explained."""
        fell = np.flatnonzero(_fell(table)) + 1
        if nameless and self.metrics.single:
            fell = np.empty(0, dtype=np.int64)
        elif fell.size:
            self.said.remark(_SECOND, int(fell.size))
        borders = {0, times.size, *fell.tolist()}
        if nameless and target.falls:
            away = np.abs(times[:, None] - np.asarray(target.falls)).min(axis=1) > _BRIDGE
            borders |= set((np.flatnonzero(away[1:] != away[:-1]) + 1).tolist())
            keep = away
        else:
            keep = np.ones(times.size, dtype=bool)
        ordered = sorted(borders)
        for first, last in pairwise(ordered):
            if keep[first]:
                yield first, last

    # -- what they come to

    def _count_requests(self, names: Names, means: Outcome | None, status: str, group: Group) -> None:
        series = self._series("request_success", names, group)
        if series is None:
            return
        outcome = means or self.said.outcome(code_word(group.labels.get(status, ""), self._words()))
        for times, table, _ in self._pieces(group):
            at, grown, broken = increases(times, table[:, 0])
            for bucket, n in summed(at, grown).items():
                if outcome in ("good", "bad"):
                    self.added.add(series, bucket, Ratio(n if outcome == "good" else 0, n))
            self._leave_out(series, np.unique(at[broken]).tolist())

    def _count_durations(self, one: Timed, group: Group) -> None:
        series = self._series("latency", one.names, group)
        if series is None:
            return
        series = replace(series, segment=one.segment)
        for times, table, columns in self._pieces(group):
            edges = np.asarray(group.edges)[columns].tolist()
            if math.inf not in edges:
                continue
            each = {edge: Scraped(group.labels, times, table[:, place]) for place, edge in enumerate(edges)}
            for bucket, layout, counts in classic(each):
                if counts is None:
                    self._leave_out(series, [bucket])
                else:
                    self.added.add(series, bucket, Histogram(_in_seconds(layout, one.unit), counts, {}))

    def _series(self, signal: str, names: Names, group: Group) -> Series | None:
        """The series of a group; None for a model that nobody asked for."""
        labels, target = group.labels, group.target
        model = _model(names, labels) or (next(iter(target.models)) if len(target.models) == 1 else "")
        if not self.wants(model):
            return None
        version = labels.get(names.version, "")
        version = "" if version == "None" else version
        told = {
            "model": model, "version": version, "pod": labels.get(names.pod),
            "namespace": labels.get(names.namespace), "job": labels.get("job"),
        }  # fmt: skip
        series = Series(signal, labels_of(told), version=version)
        owners = {(component, signal) for component in self.added.components(series)}
        self.owners[_target_key(labels, self.by)] |= owners
        return series

    def _words(self) -> Mapping[str, Outcome]:
        return {**self.said.meanings, **self.said.config.common.status}

    def _leave_out(self, series: Series, at: Sequence[int]) -> None:
        for bucket in at:
            self.said.reject("a counter did not grow by a whole number; the bucket is left out")
            self.added.leave_out(series, bucket)


_SECOND = (
    "a counter fell: another process answered at the same address, and what it counted is not added; "
    "let the metrics tell process_start_time_seconds, or let one process collect those of all"
)


def _model(names: Names, labels: Mapping[str, str]) -> str:
    return labels.get(names.model, "").removesuffix(names.suffix)


def _bare(labels: Mapping[str, str]) -> Key:
    return key_of({name: value for name, value in labels.items() if name not in ("__name__", "le")})


def _edge(labels: Mapping[str, str]) -> float | None:
    try:
        return float(Decimal(labels["le"]))
    except (KeyError, InvalidOperation):
        return None


def _whole_rows(times: Array, table: Array) -> tuple[Array, Array]:
    """The rows in which every column that is there at all says something."""
    columns = ~np.isnan(table).all(axis=0)
    whole = ~np.isnan(table[:, columns]).any(axis=1)
    return times[whole], table[whole]


def _fell(table: Array) -> Array:
    return np.asarray((table[1:] < table[:-1]).any(axis=1))


def _in_seconds(layout: Layout, unit: str) -> Layout:
    if unit == "s":
        return layout
    edges = tuple(float(Decimal(repr(edge)) / UNITS[unit]) for edge in layout.edges)
    return replace(layout, edges=edges)


def vouched(target: Target, since: int) -> list[Span]:
    """Where every process that was there is known to have been counted, from `since` (epoch milliseconds) on."""
    seen: list[Span] = []
    missing: list[Span] = []
    for process in np.unique(target.processes).tolist():
        times = target.times[target.processes == process]
        last = target.before(int(times[0]))
        looks = [*([last] if last is not None and process * 1000 > last else []), *times.tolist()]
        for earlier, later in pairwise(looks):
            span = (-(-max(earlier, since) // 1000), -(-later // 1000))
            (seen if later - earlier <= _BRIDGE else missing).append(span)
    missing += [((fall - _BRIDGE) // 1000, (fall + _BRIDGE) // 1000) for fall in target.falls]
    return subtract(union(seen), union(missing))
