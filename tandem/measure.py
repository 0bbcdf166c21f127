"""From the store to one merge per component, signal and window: sources in their order, objectives at their end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from tandem import bins, corrections, counting, lookbacks, slices, slo, times
from tandem.catalog import Signal
from tandem.config import Component, Config, Objective, Source
from tandem.corrections import Correction
from tandem.counting import Asked as Asked
from tandem.intervals import Span, length, overlap, subtract, union
from tandem.lookbacks import Lookbacks
from tandem.records import BUCKET, HOUR, Confusion, Event, Histogram, Moments, Ratio, Value
from tandem.shown import Window
from tandem.store.file import Kept, Store
from tandem.store.read import Reader

WINDOW_SECONDS = 28 * 86400
LATE = 3
"""A source is late when its newest data is older than this many of its declared intervals."""
GRACE = 900
"""Seconds of lateness that are always allowed: buckets end, and pulls take their time."""
NONE = Fraction(0)
KNOWN = Fraction(1, 2)
"""The period before a calendar window says what to expect when a source saw at least this share of it."""
LABEL_STEP = 6 * HOUR
"""Seconds over which label coverage is taken together to see how far labels have come."""


@dataclass(frozen=True)
class Filters:
    """What a question is narrowed to; "" means all."""

    environment: str = "production"
    version: str = ""
    segment: str = ""
    stage: str = "production"


@dataclass
class Answer:
    """An Asked with its merges: over the page's window, the objective's own, and each look-back of its rules.

    `judged` is good and total of the page's window as objectives count them; `value`, `good` and `total` stay raw.
    `corrected` are the seconds that left the objective's window, `left_out` those that left the page's. `expected`
    are the events that fix the budget of a calendar window, `slices` the width of what is counted where that is time.
    `bound`: good at least and at most in the page's window, where the threshold is no edge of the histogram;
    `objective_bound` in the objective's. `instead` is why nothing can be said whatever was counted.
    """

    asked: Asked
    looks: Lookbacks
    value: Value | None = None
    good: int | None = None
    total: int | None = None
    objective: tuple[int, int] | None = None
    burns: dict[int, tuple[int, int]] = field(default_factory=dict)
    coverage: float | None = None
    objective_coverage: float | None = None
    source: int = 0
    witnesses: list[tuple[int, Value | None]] = field(default_factory=list)
    stale: bool = False
    labels: bool = True
    seen: bool = False
    judged: tuple[int, int] | None = None
    judged_coverage: float | None = None
    expected: int | None = None
    corrected: int = 0
    left_out: int = 0
    bound: tuple[int, int] | None = None
    objective_bound: tuple[int, int] | None = None
    slices: int = 0
    instead: slo.Verdict | None = None


_maintained: WeakKeyDictionary[Store, tuple[int, list[tuple[int, Event]]]] = WeakKeyDictionary()
"""As of a load: every maintenance that a store knows."""


class Measures:
    """All that one question asks of the store; one read per summary and window set."""

    def __init__(
        self, reader: Reader, config: Config, window: Window, now: int, filters: Filters | None = None
    ) -> None:
        self.reader = reader
        self.config = config
        self.window = window
        self.now = now
        self.filters = filters or Filters()
        self.end = -(-window.until // BUCKET) * BUCKET
        self._series: dict[tuple[str, str, str], list[Kept]] = {}
        self._ordered: dict[tuple[str, str], list[int]] = {}
        self._versions: dict[str, str] = {}
        self._shares: dict[tuple[tuple[tuple[int, str, str], ...], int, int, tuple[Span, ...]], float] = {}
        self._plain: dict[int, Lookbacks] = {}
        self._left_out: dict[tuple[str, str], list[Span]] = {}

    # -- what there is

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """The configured components, then those that only the store knows."""
        known = {component.name for component in self.config.components}
        sides = {name: {self.config.signals[one].side if one in self.config.signals else "model" for one in signals}
                 for name, signals in self.reader.signals().items() if name not in known}  # fmt: skip
        counted = self.reader.counted(list(sides)) if sides else set()
        return self.config.components + tuple(
            Component(name, "model" if "model" in found and "system" not in found else "service", name)
            for name, found in sorted(sides.items())
            if name in counted
        )

    @cached_property
    def priority(self) -> dict[int, int]:
        """Place of each source in its order: primary first, then the order of the config, then what was imported."""
        numbers = self.reader.store.names.sources
        order: dict[int, int] = {}
        ranked = sorted(range(len(self.config.sources)), key=lambda i: (not self.config.sources[i].common.primary, i))
        for place, i in enumerate(ranked):
            number = numbers.get(_identity(self.config.sources[i]))
            if number is not None:
                order.setdefault(number, place)
        return order

    @cached_property
    def configured(self) -> dict[int, Source]:
        """The configured source of each number."""
        numbers = self.reader.store.names.sources
        found = {numbers.get(_identity(source)): source for source in reversed(self.config.sources)}
        return {number: source for number, source in found.items() if number is not None}

    def rank(self, number: int) -> tuple[int, int]:
        """The place of a source in the order in which sources count."""
        return self.priority.get(number, len(self.priority)), number

    def source_name(self, number: int) -> str:
        """The configured name of a source, or what it reads where it was only imported."""
        source = self.configured.get(number)
        return source.name if source is not None else self._imported.get(number, "")

    @cached_property
    def _imported(self) -> dict[int, str]:
        """The names of what was only imported; no two are the same."""
        said: dict[str, list[int]] = {}
        for number, (connector, scope) in sorted(self._known_sources.items()):
            file = scope.rpartition("/")[2] if scope.startswith("/") else ""
            said.setdefault(f"import:{connector}:{file}" if file else f"import:{connector}", []).append(number)
        return {
            number: name if len(numbers) == 1 else f"import:{':'.join(self._known_sources[number])}"
            for name, numbers in said.items()
            for number in numbers
        }

    @cached_property
    def _known_sources(self) -> dict[int, tuple[str, str]]:
        return self.reader.sources()

    def newest_version(self, component: str) -> str:
        """The newest version of a model whose predictions were counted; "" where none is stated."""
        found = self._versions.get(component)
        if found is None:
            versions = {kept.placed.version for kept in self.series(component, "volume")} - {""}
            found = self._versions[component] = max(versions, key=lambda text: (len(text), text), default="")
        return found

    @cached_property
    def _by_signal(self) -> Mapping[tuple[str, str], list[Kept]]:
        filters = self.filters
        found = self.reader.by_signal(filters.environment, filters.stage, filters.segment)
        if not filters.version:
            return found
        mine = {key: [kept for kept in some if kept.placed.version == filters.version] for key, some in found.items()}
        return {key: some for key, some in mine.items() if some}

    def series(self, component: str, signal: str, name: str = "") -> list[Kept]:
        """The series of a component's signal under the filters."""
        key = (component, signal, name)
        found = self._series.get(key)
        if found is None:
            some = self._by_signal.get((component, signal), [])
            found = self._series[key] = [kept for kept in some if kept.placed.name == name]
        return found

    def names(self, component: str, signal: str) -> list[str]:
        """The names that a component's signal has: features, classes."""
        return sorted({kept.placed.name for kept in self._by_signal.get((component, signal), [])})

    def every(self, component: str, signal: str) -> list[Kept]:
        """The series of a component's signal under the filters, whatever their name."""
        return list(self._by_signal.get((component, signal), []))

    # -- asking

    def asked(self, components: Iterable[str], signals: Iterable[str] = ()) -> list[Asked]:
        """Every signal that the components have in the store or an objective on, with the objective that applies."""
        wanted = set(signals)
        possible = [one for one in self.config.signals.values() if one.name not in ("feature", "score", "prediction")
                    and (not wanted or one.name in wanted)]  # fmt: skip
        objectives: dict[tuple[str, str], list[Objective]] = {}
        for objective in self.config.objectives:
            if objective.stage == self.filters.stage:  # stages are never merged, nor judged by one another's numbers
                objectives.setdefault((objective.component, objective.stored), []).append(objective)
        found = []
        for component in components:
            for signal in possible:
                mine = objectives.get((component, signal.name), [])
                if mine or self.series(component, signal.name):
                    found += [self._asked(component, signal, one) for one in (mine or (None,))]
        return found

    def _asked(self, component: str, signal: Signal, one: Objective | None) -> Asked:
        target = one.target if one and one.target is not None else signal.target
        threshold = (one.threshold or one.tolerance) if one else None
        threshold = threshold if threshold is not None else signal.threshold
        if signal.good == "none" or (signal.good in ("below", "within") and threshold is None):
            target = None
        measure = one.signal if one and one.signal != signal.name else ""
        return Asked(component, signal, one, target, threshold, one.seconds if one else WINDOW_SECONDS, measure)

    def answers(self, asked: Sequence[Asked]) -> list[Answer]:
        """The merges of all that is asked, with one read per summary and set of windows."""
        groups: dict[tuple[str, Lookbacks], list[int]] = {}
        for place, one in enumerate(asked):
            groups.setdefault((one.signal.kind, self.looks(one)), []).append(place)
        found: dict[int, Answer] = {}
        for (kind, looks), places in groups.items():
            found.update(zip(places, self._group(kind, looks, [asked[place] for place in places]), strict=True))
        for place, one in enumerate(asked):
            if one.stepwise:
                slices.count(self, found[place])
        return [found[place] for place in range(len(asked))]

    def looks(self, one: Asked) -> Lookbacks:
        """Over which stretches an objective is answered."""
        if one.objective is None or not (one.objective.calendar or one.objective.rule):
            plain = self._plain.get(one.window)
            if plain is None:
                plain = self._plain[one.window] = lookbacks.of(None, one.window, self.end)
            return plain
        return lookbacks.of(one.objective, one.window, self.end)

    def _group(self, kind: str, looks: Lookbacks, asked: Sequence[Asked]) -> list[Answer]:
        windows = self._windows(looks)
        apart = [len(self._sources(one)) > 1 or self.edge(one) < self.end or self._is_corrected(one, windows)
                 for one in asked]  # fmt: skip
        ids = {kept.id for one, mixed in zip(asked, apart, strict=True) if not mixed
               for kept in self.series(one.component, one.signal.name)}  # fmt: skip
        merges = self.reader.totals(kind, sorted(ids), windows)
        mixes = iter(self._mixed(kind, windows, looks, [one for one, mixed in zip(asked, apart, strict=True) if mixed]))
        witnesses = self._witnessed(kind, asked)
        answers = []
        for one, mixed in zip(asked, apart, strict=True):
            some = self.series(one.component, one.signal.name)
            values = next(mixes) if mixed else [self._merge(kind, some, merges, n) for n in range(len(windows))]
            answer = self._answer(one, looks, windows, values, next(iter(self._sources(one)), 0))
            answer.witnesses = [(number, self._merge(kind, self._of(one, number), witnesses, 0))
                                for number in self._sources(one)[1:]]  # fmt: skip
            answers.append(answer)
        return answers

    def _witnessed(self, kind: str, asked: Sequence[Asked]) -> dict[int, list[Any]]:
        """What every source that may only bear witness counted in the window."""
        ids = {kept.id for one in asked for number in self._sources(one)[1:] for kept in self._of(one, number)}
        return self.reader.totals(kind, sorted(ids), [(self.window.since, self.window.until)])

    def _of(self, one: Asked, number: int) -> list[Kept]:
        """The series of what is asked that one source has."""
        return [kept for kept in self.series(one.component, one.signal.name) if kept.placed.source == number]

    def _windows(self, looks: Lookbacks) -> list[Span]:
        """The page's window, the objective's, its burn windows, the period before, and the page's as it is judged."""
        page = (self.window.since, self.window.until)
        burns = [(self.end - width, self.end) for width in looks.burns]
        before = [looks.before] if looks.before is not None else []
        again = [page] if self.corrections else []
        return [page, (looks.since, self.end), *burns, *before, *again]

    def _sources(self, one: Asked) -> list[int]:
        """The sources that have the signal, in their order."""
        key = (one.component, one.signal.name)
        ordered = self._ordered.get(key)
        if ordered is None:
            found = {kept.placed.source for kept in self.series(*key)}
            ordered = sorted(found, key=lambda number: (self.priority.get(number, len(self.priority)), number))
            self._ordered[key] = ordered
        return ordered

    def counting(self, answer: Answer) -> list[Kept]:
        """The series that steps of an answer are drawn from: those of its source, or of all that add up."""
        sources = self._sources(answer.asked)
        counted = sources if self._add_up(sources) else [answer.source]
        some = self.series(answer.asked.component, answer.asked.signal.name)
        return [kept for kept in some if kept.placed.source in counted]

    def counted(self, component: str, signal: str, name: str = "") -> list[Kept]:
        """The series of the first source in order, or of all sources where they add up: never two that do not."""
        some = self.series(component, signal, name)
        sources = sorted({kept.placed.source for kept in some}, key=self.rank)
        counted = sources if self._add_up(sources) else sources[:1]
        return [kept for kept in some if kept.placed.source in counted]

    def _add_up(self, sources: Sequence[int]) -> bool:
        return all(n in self.configured and self.configured[n].common.combine == "sum" for n in sources)

    def edge(self, one: Asked) -> int:
        """Where the look-backs of rules end: at the window's end, or where labels or a late source leave off.

        What has not come yet is neither good nor bad: an alert is frozen there, not cleared.
        """
        end = self.end
        if one.signal.name in ("outcome", "error", "fairness"):
            end = min(end, self.mature(one.component))
        source = next(iter(self._sources(one)), 0)
        if self.late(source):
            end = min(end, self.seen_until(source) // BUCKET * BUCKET or end)
        return end

    @cached_property
    def label_steps(self) -> dict[str, list[tuple[int, int, int]]]:
        """(start, labelled, predictions) of every model per LABEL_STEP of the last 28 days, oldest first."""
        components = sorted({component for component, signal in self._by_signal if signal == "label_coverage"})
        groups = {kept.id: place for place, component in enumerate(components)
                  for kept in self.series(component, "label_coverage")}  # fmt: skip
        steps: dict[str, list[tuple[int, int, int]]] = {component: [] for component in components}
        rows = self.reader.steps("ratio", groups, self.end - WINDOW_SECONDS, self.end, LABEL_STEP)
        for place, start, good, total in rows:
            steps[components[place]].append((int(start), int(good), int(total)))
        return steps

    @cached_property
    def _maturity(self) -> dict[str, int]:
        return {
            component: counting.mature_until(some, LABEL_STEP, self.end) for component, some in self.label_steps.items()
        }

    def mature(self, component: str) -> int:
        """Up to when a model's labels have come, as far as they usually do; epoch seconds."""
        return self._maturity.get(component, self.end)

    # -- what was left out by agreement

    @cached_property
    def corrections(self) -> tuple[Correction, ...]:
        """Every stretch that leaves the counts of objectives in this environment, agreed or maintenance."""
        said = [corrections.maintenance(event, self.source_name(source), min(self.now, self.end))
                for source, event in self._maintenance() if self._excuses(source)]  # fmt: skip
        found = [*corrections.agreed(self.config), *(one for one in said if one is not None)]
        return tuple(one for one in found if one.environment in ("", self.filters.environment))

    def _excuses(self, source: int) -> bool:
        """Whether the maintenance that a source tells of leaves the counts."""
        configured = self.configured.get(source)
        return ((configured.common.maintenance_time if configured else "") or self.config.maintenance) == "leave out"

    def _maintenance(self) -> list[tuple[int, Event]]:
        """Every maintenance as of this load; of the newest load it is kept."""
        reader = self.reader
        load, known = _maintained.get(reader.store, (-1, []))
        if load != reader.as_of:
            known = reader.events(0, times.LAST, kinds=["maintenance"], newest=True)
            if reader.as_of == reader.latest:
                _maintained[reader.store] = (reader.as_of, known)
        return known

    def left_out(self, component: str, signal: str) -> list[Span]:
        """The whole buckets that leave the counts of a signal."""
        if not self.corrections:
            return []
        found = self._left_out.get((component, signal))
        if found is None:
            found = self._left_out[component, signal] = corrections.touched(
                self.corrections, component, signal, self.filters.environment)  # fmt: skip
        return found

    def left_out_of(self, components: Sequence[str]) -> tuple[Correction, ...]:
        """What left the counts of components in the page's window, or in the longest window of an objective."""
        longest = max((one.seconds for one in self.config.objectives if one.component in components),
                      default=WINDOW_SECONDS)  # fmt: skip
        since = min(self.window.since, self.end - max(longest, WINDOW_SECONDS))
        return corrections.within(self.corrections, components, self.filters.environment, since, self.end)

    def _is_corrected(self, one: Asked, windows: Sequence[Span]) -> bool:
        out = self.left_out(one.component, one.signal.name)
        return bool(out) and any(overlap(out, *window) for window in windows)

    # -- merging

    def _mixed(
        self, kind: str, windows: list[Span], looks: Lookbacks, asked: Sequence[Asked]
    ) -> list[list[Value | None]]:
        """Per window the sum over what each source counts: the first in order that covered it, never two.

        What is read over the same stretches is read at once.
        """
        plans = [self._plan(one, windows, looks) for one in asked]
        wanted: dict[tuple[Span, ...], set[int]] = {}
        for plan in plans:
            for series, stretches in plan:
                wanted.setdefault(_distinct(stretches), set()).update(kept.id for kept in series)
        merges = {spans: self.reader.totals(kind, sorted(ids), spans) for spans, ids in wanted.items()}
        return [[self._mix(kind, plan, merges, place) for place in range(len(windows))] for plan in plans]

    def _plan(self, one: Asked, windows: list[Span], looks: Lookbacks) -> list[tuple[list[Kept], list[list[Span]]]]:
        """For each source its series, and the stretches of each window that it counts for.

        Burn windows end at the edge; the page's own window alone stays whole where something was left out.
        """
        back = self.end - self.edge(one)
        burns = range(2, 2 + len(looks.burns))
        spans = [(low - back, high - back) if place in burns else (low, high)
                 for place, (low, high) in enumerate(windows)]  # fmt: skip
        owned = self.owned(one, min(low for low, _ in spans), max(high for _, high in spans))
        out = self.left_out(one.component, one.signal.name)
        return [
            (self._of(one, number), [subtract(overlap(owns, *span), out if place else [])
                                     for place, span in enumerate(spans)])
            for number, owns in owned.items()
        ]  # fmt: skip

    def owned(self, one: Asked, since: int, until: int) -> dict[int, list[Span]]:
        """The stretches of [since, until) that each source of a signal counts for."""
        return self._owned(one, self._sources(one), since, until)

    def _mix(
        self, kind: str, plan: list[tuple[list[Kept], list[list[Span]]]],
        merges: Mapping[tuple[Span, ...], dict[int, list[Any]]], place: int,
    ) -> Value | None:  # fmt: skip
        parts = []
        for series, stretches in plan:
            spans = _distinct(stretches)
            parts += [self._merge(kind, series, merges[spans], spans.index(span)) for span in stretches[place]]
        return counting.added(part for part in parts if part is not None)

    def _owned(self, one: Asked, sources: list[int], since: int, until: int) -> dict[int, list[Span]]:
        """The stretches that each source counts for; sources that add up all count everywhere."""
        everything = [(since, until)]
        if len(sources) < 2 or self._add_up(sources):
            return dict.fromkeys(sources, everything)
        left, owned = everything, {}
        for number in sources:
            seen = self.coverage_of(number, one.component, one.signal.name, since, until)
            whole = [(-(-low // BUCKET) * BUCKET, high // BUCKET * BUCKET) for low, high in seen]
            mine = [span for low, high in left for span in overlap(union(whole), low, high)]
            owned[number] = mine
            left = subtract(left, union(mine))
        owned[sources[0]] = union([*owned[sources[0]], *left])
        return owned

    def merges(self, kind: str, component: str, signal: str, series: Sequence[Kept]) -> list[tuple[Kept, Any]]:
        """Some series of a component's signal with their merges over the window, each source where it counts."""
        return self.gathered(kind, component, {signal: series})[signal]

    def gathered(
        self, kind: str, component: str, wanted: Mapping[str, Sequence[Kept]]
    ) -> dict[str, list[tuple[Kept, Any]]]:
        """The merges of series of several signals; what is read over the same stretches is read at once."""
        found: dict[str, list[tuple[Kept, Any]]] = {signal: [] for signal in wanted}
        together: dict[tuple[Span, ...], dict[int, tuple[str, Kept]]] = {}
        for signal, series in wanted.items():
            for number, stretches in self._stretches(component, signal, series).items():
                mine = {kept.id: (signal, kept) for kept in series if kept.placed.source == number}
                together.setdefault(tuple(stretches), {}).update(mine)
        for spans, mine in together.items():
            for place, some in self.reader.totals(kind, sorted(mine), spans).items():
                signal, kept = mine[place]
                found[signal] += [(kept, merge) for merge in some if merge is not None]
        return found

    def _stretches(self, component: str, signal: str, series: Sequence[Kept]) -> dict[int, list[Span]]:
        """The parts of the window that each source of a signal counts for."""
        one = Asked(component, self.config.signals[signal], None, None, None, 0, "")
        numbers = {kept.placed.source for kept in (*self._by_signal.get((component, signal), []), *series)}
        since, until = self.window.since, self.window.until
        owned = self._owned(one, sorted(numbers, key=self.rank), since, until)
        return {number: overlap(owns, since, until) for number, owns in owned.items()}

    def _merge(self, kind: str, series: Sequence[Kept], merges: Mapping[int, list[Any]], place: int) -> Value | None:
        if len(series) == 1:  # nearly always: nothing to add up
            found = merges.get(series[0].id)
            return self.value(kind, series[0], found[place]) if found and found[place] is not None else None
        parts: list[Value] = []
        for kept in series:
            merge = merges.get(kept.id, [None] * (place + 1))[place]
            if merge is not None:
                parts.append(self.value(kind, kept, merge))
        return counting.added(parts)

    def value(self, kind: str, kept: Kept, merge: Any) -> Value:
        """The summary of one merged row of the store."""
        if kind == "ratio":
            return Ratio(int(merge[0]), int(merge[1]))
        if kind == "moments":
            digits = self.reader.store.names.layout(kept.layout).digits or 0
            return Moments(int(merge[0]), int(merge[1]), int(merge[2]), digits)
        if kind == "confusion":
            return Confusion({key: int(cell[0]) for key, cell in merge.items() if cell[0]})
        layout = self.reader.store.names.layout(kept.layout)
        return Histogram(layout, {place: int(cell[0]) for place, cell in merge.items() if cell[0]},
                         {place: int(cell[1]) for place, cell in merge.items() if cell[1]})  # fmt: skip

    def _answer(
        self, one: Asked, looks: Lookbacks, windows: list[Span], values: list[Value | None], source: int
    ) -> Answer:
        shares = [counting.share(one, value) for value in values]
        counts = [self.counts(one, value) if share is None else (share.good, share.total)
                  for value, share in zip(values, shares, strict=True)]  # fmt: skip
        answer = Answer(one, looks, value=values[0], source=source, seen=any(value is not None for value in values))
        answer.good, answer.total = counts[0] if counts[0] else (None, None)
        if answer.total is None and values[0] is not None:
            answer.total = counting.events(values[0])
        answer.objective = counts[1]
        answer.judged = counts[-1] if self.corrections else counts[0]
        answer.burns = {seconds: counts[place] or (0, 0) for place, seconds in enumerate(looks.burns, 2)}
        answer.bound, answer.objective_bound = (_bound(share) for share in shares[:2])
        answer.coverage = self.coverage(one, *windows[0], raw=True)
        answer.judged_coverage = self.coverage(one, *windows[0]) if self.corrections else answer.coverage
        answer.objective_coverage = self.coverage(one, *windows[1])
        answer.stale = self.late(source)
        answer.labels = not (one.signal.name in ("outcome", "error") and self.series(one.component, "volume"))
        if one.measure:
            answer.instead = counting.unfit(one, values[1], bool(self._configured_positive(one.component)))
        if looks.before is not None:
            answer.expected = self._expected(one, looks, counts[2 + len(looks.burns)])
        self._leave_out(answer, windows)
        return answer

    def _leave_out(self, answer: Answer, windows: Sequence[Span]) -> None:
        """Say how much of the windows was left out, and where that is all of it."""
        out = self.left_out(answer.asked.component, answer.asked.signal.name)
        if not out:
            return
        page, own = (overlap(out, low, min(high, self.now)) for low, high in windows[:2])
        answer.left_out, answer.corrected = length(page), length(own)
        if answer.corrected >= min(self.end, self.now) - windows[1][0]:
            reason = "corrected: all of this window is left out by agreement"
            answer.instead = slo.Verdict("unknown", reason, "corrected")

    def _expected(self, one: Asked, looks: Lookbacks, before: tuple[int, int] | None) -> int | None:
        """The events that fix a calendar window's budget: as configured, else as many as the period before had.

        Scaled to the length of the period and to what was seen of the one before; None where too little of it was.
        """
        if one.objective is not None and one.objective.expected is not None:
            return one.objective.expected
        assert looks.before is not None, "only a calendar window has a period before"
        since, until = looks.before
        seen = sum(high - low for low, high in self._seen(one, since, until))
        if before is None or not before[1] or seen < KNOWN * (until - since):
            return None
        return before[1] * looks.length // seen

    def counts(self, one: Asked, value: Value | None) -> tuple[int, int] | None:
        """Good and total of a merge, as the signal (or the measure that the objective names) defines them."""
        return counting.ratio(one, value, self._class(one, value))

    def _class(self, one: Asked, value: Value | None) -> str:
        """The class that a measure of the confusion is about."""
        if not one.measure or not isinstance(value, Confusion):
            return ""
        return (one.objective.class_ if one.objective else "") or self.positive(one.component, value)

    def positive(self, component: str, value: Confusion) -> str:
        """The class that counts as positive: the configured one, else "1" or "true", else the last in order."""
        given = self._configured_positive(component)
        if given:
            return given
        classes = sorted({name for key in value.cells for name in key})
        return next((name for name in ("1", "true", "True", "yes") if name in classes), classes[-1] if classes else "1")

    def _configured_positive(self, component: str) -> str:
        """The class that a source names as positive; "" where none does."""
        for source in self.config.sources:
            given = getattr(source.config, "positive", None)
            if given is not None and component in source.common.component:
                return str(given)
        return ""

    # -- what was seen

    @cached_property
    def coverage_spans(self) -> dict[tuple[int, str, str], list[Span]]:
        """What every (source, component, signal) vouches for, over the longest window that is asked."""
        longest = max((one.seconds * (2 if one.calendar else 1) for one in self.config.objectives), default=0)
        return self.reader.all_coverage(min(self.end - max(WINDOW_SECONDS, longest), self.window.since), self.end)

    def coverage_of(self, source: int, component: str, signal: str, since: int, until: int) -> list[Span]:
        """What a source vouches for of one signal, its own statement first, else that for all of the source."""
        return overlap(self.coverage_spans.get(self._vouched(source, component, signal), []), since, until)

    def _vouched(self, source: int, component: str, signal: str) -> tuple[int, str, str]:
        """Under which name a source vouches for a signal: its own, its component's, or all of the source's."""
        if source in self._particular:
            names = ((source, component, signal), (source, component, ""), (source, "", signal))
            return next((name for name in names if name in self.coverage_spans), (source, "", ""))
        return source, "", ""

    @cached_property
    def _particular(self) -> set[int]:
        """The sources that vouch for some of their components or signals apart."""
        return {source for source, component, signal in self.coverage_spans if component or signal}

    def coverage(self, one: Asked, since: int, until: int, *, raw: bool = False) -> float | None:
        """The share of [since, until), up to now, that some source vouches for; None before any source.

        What was left out by agreement is left out above and below, unless `raw`.
        """
        until = min(until, self.now)
        names = self._vouching(one)
        if not names or until <= since:
            return None
        out = tuple([] if raw else overlap(self.left_out(one.component, one.signal.name), since, until))
        share = self._shares.get((names, since, until, out))
        if share is None:
            whole = until - since - length(out)
            seen = subtract(self._seen(one, since, until), list(out))
            share = self._shares[names, since, until, out] = length(seen) / whole if whole else 0.0
        return share

    def _seen(self, one: Asked, since: int, until: int) -> list[Span]:
        """What any source of a signal vouches for inside [since, until)."""
        return union(span for name in self._vouching(one)
                     for span in overlap(self.coverage_spans.get(name, []), since, until))  # fmt: skip

    def _vouching(self, one: Asked) -> tuple[tuple[int, str, str], ...]:
        """Under which names sources vouch for a signal, or might."""
        sources = self._sources(one) or [number for number, source in self.configured.items()
                                         if one.component in source.common.component]  # fmt: skip
        return tuple(self._vouched(number, one.component, one.signal.name) for number in sources)

    @cached_property
    def newest(self) -> dict[int, int]:
        """End of the newest data of each source."""
        return self.reader.newest()

    def seen_until(self, source: int) -> int:
        """Up to when a source vouches for anything, or its newest data where it vouches for nothing."""
        return max(self._vouched_until.get(source, 0), self.newest.get(source, 0))

    @cached_property
    def _vouched_until(self) -> dict[int, int]:
        ends: dict[int, int] = {}
        for (source, _, _), spans in self.coverage_spans.items():
            ends[source] = max(ends.get(source, 0), spans[-1][1] if spans else 0)
        return ends

    def late(self, source: int) -> bool:
        """Whether the source's newest data is older than its declared interval allows."""
        if not source:
            return False
        configured = self.configured.get(source)
        every = configured.every if configured else BUCKET
        return self.seen_until(source) < min(self.end, self.now) - max(LATE * every, GRACE)


def verdict(answer: Answer) -> slo.Verdict:
    """The state of an answer's objective at the end of the window."""
    asked = answer.asked
    if asked.target is None:
        return slo.Verdict("unknown", "no objective is set for this signal", "no objective")
    if answer.instead is not None:
        return answer.instead
    good, total = answer.objective or (0, 0)
    given = asked.objective
    own = given is not None and bool(given.rule or given.factors or given.base)
    return slo.judge(
        asked.target, good, total, answer.burns, window=answer.looks.length, coverage=answer.objective_coverage or 0.0,
        stale=answer.stale, labels=answer.labels if not total else True, expected=answer.expected,
        evidence=given.evidence if given is not None else slo.EVIDENCE, rules=rules(answer) if own else None,
        base=given.base if given is not None and given.base else NONE,
    )  # fmt: skip


def rules(answer: Answer) -> tuple[slo.Rule, ...]:
    """The burn rules that an answer's objective is judged by."""
    given, target = answer.asked.objective, answer.asked.target
    if target is None:
        return ()
    if given is None:
        return slo.in_force(target, answer.looks.length)
    return given.rules or slo.in_force(target, answer.looks.length, given.factors, given.base or NONE)


def _bound(share: bins.Share | None) -> tuple[int, int] | None:
    return (share.low, share.high) if share is not None and share.low != share.high else None


def _identity(source: Source) -> tuple[str, str]:
    return source.common.connector, source.connector.scope(source.config)


def _distinct(stretches: Iterable[Sequence[Span]]) -> tuple[Span, ...]:
    return tuple(sorted({span for some in stretches for span in some}))
