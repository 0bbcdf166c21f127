"""What a question finds in the store before anything is counted: components, series, sources, coverage, corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from tandem import corrections, counting, times
from tandem.config import Component, Config, Source
from tandem.corrections import Correction
from tandem.counting import Asked
from tandem.intervals import Span, length, overlap, subtract, union
from tandem.lookbacks import Lookbacks
from tandem.records import BUCKET, HOUR, Event
from tandem.shown import Window
from tandem.store.file import Kept, Store
from tandem.store.read import Reader

WINDOW_SECONDS = 28 * 86400
LATE = 3
"""A source is late when its newest data is older than this many of its declared intervals."""
GRACE = 900
"""Seconds of lateness that are always allowed: buckets end, and pulls take their time."""
LABEL_STEP = 6 * HOUR
"""Seconds over which label coverage is taken together to see how far labels have come."""


@dataclass(frozen=True)
class Filters:
    """What a question is narrowed to; "" means all."""

    environment: str = "production"
    version: str = ""
    segment: str = ""
    stage: str = "production"


Steps = list[tuple[int, int, int]]
"""(start, labelled, predictions) of a model per LABEL_STEP, oldest first."""
_labels: WeakKeyDictionary[Store, dict[tuple[object, ...], dict[str, tuple[Steps, int]]]] = WeakKeyDictionary()
"""By load, end, filters and order of sources: the steps of each model that was looked at, and up to when its labels
have come.
"""
LABELS_KEPT = 4
"""How many ends of windows labels are kept for: pages that end at the same moment share them."""
_maintained: WeakKeyDictionary[Store, tuple[int, list[tuple[int, Event]]]] = WeakKeyDictionary()
"""As of a load: every maintenance that a store knows."""


class Observed:
    """What there is to answer one question from, each part read once."""

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
        self._awaited: set[str] = set()

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

    def _sources(self, one: Asked) -> list[int]:
        """The sources that have the signal, in their order."""
        key = (one.component, one.signal.name)
        ordered = self._ordered.get(key)
        if ordered is None:
            found = {kept.placed.source for kept in self.series(*key)}
            ordered = sorted(found, key=lambda number: (self.priority.get(number, len(self.priority)), number))
            self._ordered[key] = ordered
        return ordered

    def counted(self, component: str, signal: str, name: str = "") -> list[Kept]:
        """The series of the first source in order, or of all sources where they add up: never two that do not."""
        some = self.series(component, signal, name)
        sources = sorted({kept.placed.source for kept in some}, key=self.rank)
        counted = sources if self._add_up(sources) else sources[:1]
        return [kept for kept in some if kept.placed.source in counted]

    def _add_up(self, sources: Sequence[int]) -> bool:
        return all(n in self.configured and self.configured[n].common.combine == "sum" for n in sources)

    # -- how far labels have come

    def label_steps(self, component: str) -> Steps:
        """(start, labelled, predictions) of a model per LABEL_STEP of the last 28 days, oldest first."""
        return self._labelled(component)[0]

    def mature(self, component: str) -> int:
        """Up to when a model's labels have come, as far as they usually do; epoch seconds."""
        return self._labelled(component)[1]

    def _labelled(self, component: str) -> tuple[Steps, int]:
        """Read with those of every component that was asked of so far, as one statement costs what many rows do."""
        known = self._known_labels
        if component not in known:
            known.update(self._read_labels(sorted({component, *self._awaited} - known.keys())))
        return known[component]

    @cached_property
    def _known_labels(self) -> dict[str, tuple[Steps, int]]:
        kept = _labels.setdefault(self.reader.store, {})
        sums = tuple(one.common.combine for one in self.config.sources)
        key = self.reader.as_of, self.end, self.filters, tuple(self.priority.items()), sums
        while key not in kept and len(kept) >= LABELS_KEPT:
            kept.pop(next(iter(kept), key), None)
        return kept.setdefault(key, {})

    def _read_labels(self, components: Sequence[str]) -> dict[str, tuple[Steps, int]]:
        groups = {kept.id: place for place, component in enumerate(components)
                  for kept in self.counted(component, "label_coverage")}  # fmt: skip
        steps: list[Steps] = [[] for _ in components]
        for place, start, good, total in self.reader.steps(
            "ratio", groups, self.end - WINDOW_SECONDS, self.end, LABEL_STEP
        ):
            steps[place].append((int(start), int(good), int(total)))
        return {component: (some, counting.mature_until(some, LABEL_STEP, self.end))
                for component, some in zip(components, steps, strict=True)}  # fmt: skip

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

    def late_sources(self) -> tuple[str, ...]:
        """Configured sources that have not told as far as the window, or now, reaches."""
        return tuple(
            source.name for number, source in self.configured.items()
            if self.late(number)
        )  # fmt: skip

    def newest_end(self) -> int | None:
        """End of the newest data, as far as time has come."""
        return max((min(end, self.now) for end in self.newest.values()), default=None)


def _identity(source: Source) -> tuple[str, str]:
    return source.common.connector, source.connector.scope(source.config)
