"""From the store to delivery: the events behind each change, when it was begun, and the five metrics per component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

from tandem import bins, changes, delivery, flaky, linking, serving, times, wording
from tandem.changes import Change
from tandem.config import Component
from tandem.delivery import Five, Metric
from tandem.flaky import Flaky
from tandem.intervals import Span
from tandem.linking import Fate, Link, Rules, Trouble
from tandem.measure import Measures
from tandem.records import BUCKET, DAY, HOUR, Event, Histogram
from tandem.shown import Window
from tandem.slo import EVIDENCE
from tandem.store import happenings
from tandem.store.read import step_for

BARS = 14
"""Bars of a metric over the window at most."""
RUNS = 45
"""Bars of builds or training runs over the window at most."""
ANSWERED = ("outcome", "error", "request_success", "latency", "availability")
"""Signals whose budget a version of a model answers for."""
COMMITTED = ("commit", "build", "release")
"""What tells when a change was begun, best first: a build or a release of a commit is later than the commit itself."""
MADE = ("deployment", "rollback", "promotion")


@dataclass(frozen=True, slots=True)
class Runs:
    """Builds or training runs per step of the window, and how long they took and waited over all of it (seconds)."""

    step: int
    good: tuple[int, ...]
    bad: tuple[int, ...]
    duration: tuple[tuple[str, float | None], ...]
    queue: tuple[tuple[str, float | None], ...]

    @property
    def passed(self) -> int:
        """How many passed."""
        return sum(self.good)

    @property
    def total(self) -> int:
        """How many passed or failed."""
        return sum(self.good) + sum(self.bad)


@dataclass(frozen=True, slots=True)
class Part:
    """The delivery of one component; `reported`: some source has ever told of a change of it."""

    component: str
    kind: str
    product: str
    reported: bool
    fates: tuple[Fate, ...]
    now: Five
    before: Five

    @property
    def side(self) -> str:
        """The side of the component."""
        return "model" if self.kind == "model" else "system"


@dataclass(frozen=True, slots=True)
class Whole:
    """Some components together; the metrics of more than one are a blend, and `components` says of what."""

    side: str
    components: tuple[str, ...]
    reported: bool
    now: Five
    before: Five
    bars: Mapping[Metric, tuple[float | None, ...]]
    runs: Runs


@dataclass(frozen=True, slots=True)
class Delivered:
    """All that the Delivery page shows; `width` is that of a bar, seconds; `links` are those of the window."""

    window: Window
    compared: Window
    as_of: int
    now: int
    width: int
    sides: Mapping[str, Whole]
    parts: tuple[Part, ...]
    links: tuple[Link, ...]
    flaky: tuple[Flaky, ...]
    rules: Rules
    newest: int | None = None
    unknown: tuple[str, ...] = ()
    """What corrections name and was not found among what was read, where all components were asked for."""
    since: int = 0
    """From when changes were read."""
    flaky_since: int = 0
    """From when flakes were counted."""


def delivered(
    measures: Measures, components: Sequence[Component], compared: Window | None = None, *, newest: int | None = None
) -> Delivered:
    """The delivery of the components over the window of `measures`, against the window before it or `compared`."""
    window = measures.window
    before = compared or Window(max(0, 2 * window.since - window.until), window.since)  # no time lies before 1970
    found = _Made(measures, components, min(before.since, window.since))
    now = Window(window.since, min(window.until, measures.now))
    width = step_for(window.since, window.until, BARS)
    return Delivered(
        window=window, compared=before, as_of=measures.reader.as_of, now=measures.now, width=width,
        sides={side: _whole(found, side, now, before, width) for side in SIDES},
        parts=tuple(_part(found, one, now, before) for one in components),
        links=tuple(link for link in found.links if window.since <= link.at < window.until),
        flaky=tuple(flakes(measures, [one.name for one in components])), rules=measures.config.delivery,
        newest=newest, unknown=tuple(found.unknown) if len(components) == len(measures.components) else (),
        since=found.low, flaky_since=flaky_since(measures),
    )  # fmt: skip


def _part(found: _Made, one: Component, now: Window, before: Window) -> Part:
    mine = found.fates[one.name]
    inside = tuple(fate for fate in mine if now.since <= fate.change.running < now.until)
    return Part(one.name, one.kind, one.product, bool(mine), inside, delivery.five(mine, now.since, now.until),
                delivery.five(mine, before.since, before.until))  # fmt: skip


def _whole(found: _Made, side: str, now: Window, before: Window, width: int) -> Whole:
    names = tuple(one.name for one in found.components if (one.kind == "model") == (side == "model"))
    fates = [fate for name in names for fate in found.fates[name]]
    bars = delivery.pieces(fates, now.since, now.until, width)
    return Whole(side, names, bool(fates), delivery.five(fates, now.since, now.until),
                 delivery.five(fates, before.since, before.until), bars, runs(found.measures, names, side))  # fmt: skip


# -- what happened


class _Made:
    """Every change of some components with its fate, from HISTORY before `since` until now.

    Nothing in it depends on the window but where it begins, and no link looks further back than HISTORY.
    """

    def __init__(self, measures: Measures, components: Sequence[Component], since: int) -> None:
        self.measures = measures
        self.components = components
        self.since = since
        self.low = since - linking.HISTORY - DAY
        self.end = measures.now + 1
        self.rules = measures.config.delivery
        self.models = {one.name for one in components if one.kind == "model"}
        self.rank: dict[str, int] = {}
        self.links: list[Link] = []
        self.unknown: list[str] = []
        self.fates: dict[str, list[Fate]] = {one.name: [] for one in components}
        if components:
            self._read()

    def _read(self) -> None:
        environment = self.measures.filters.environment
        told = self._events((*MADE, "incident", "alert", *linking.OTHER_CHANGES), environment)
        services = [pair for pair in told if pair[1].kind in ("deployment", "rollback")]
        made = [one for one in [*self._standing(environment), *changes.changes(services, self.rank, self.rules.apart)]
                if one.component not in self.models]  # fmt: skip
        registry = self._events(("release", "training", "data_version"), "")
        made += self._promoted(told, registry)
        made = sorted((one for one in made if one.component in self.fates), key=lambda one: (one.ts, one.told))
        troubles = [one for one in linking.incidents(told, self.rules) if one.component in self.fates]
        others = [event for _, event in told if event.kind in linking.OTHER_CHANGES]
        self.unknown = linking.unknown(made, troubles, self.rules)
        self.links = linking.links(made, troubles, others, self.rules) + self._breaches(made)
        self.links.sort(key=lambda one: (one.at, one.component, one.kind, one.cause))
        begun = self._begun(made, registry)
        for fate in self._fates(made, troubles):
            if fate.change.outcome != linking.STANDING:
                self.fates[fate.change.component].append(linking.with_lead(fate, begun.get(_of(fate.change))))

    def _fates(self, made: Sequence[Change], troubles: Sequence[Trouble]) -> list[Fate]:
        """The fates, in which a model that replaced a failed one was not planned."""
        found = linking.fates(made, self.links, troubles, self.rules)
        last: dict[str, Fate] = {}
        for place, fate in enumerate(found):
            name = fate.change.component
            before = last.get(name)
            if name in self.models and before is not None and before.failed and not fate.rework and fate.reached:
                found[place] = replace(fate, rework="it replaced a version that had failed")
            if fate.reached:
                last[name] = found[place]
        return found

    def _events(self, kinds: Sequence[str], environment: str) -> list[tuple[str, Event]]:
        names = [one.name for one in self.components]
        rows = self.measures.reader.events(self.low, self.end, components=names, environment=environment, kinds=kinds,
                                           newest=True)  # fmt: skip
        for number in {source for source, _ in rows}:
            self.rank[self.measures.source_name(number)] = self.measures.rank(number)[0]
        return [(self.measures.source_name(source), event) for source, event in rows if event.ts < self.end]

    def _standing(self, environment: str) -> list[Change]:
        """What ran when the records that are read begin."""
        names = [one.name for one in self.components]
        rows = happenings.last_deployed(self.measures.reader, names, environment, self.low)
        told = [(self.measures.source_name(source), event) for source, event in rows]
        return [replace(one, outcome=linking.STANDING) for one in changes.changes(told, self.rank)]

    # -- models

    def _promoted(
        self, told: Sequence[tuple[str, Event]], registry: Sequence[tuple[str, Event]]
    ) -> list[Change]:  # fmt: skip
        """When versions took the traffic, and what the registry said of it; the same version is one change."""
        found: list[Change] = []
        begun = serving.starts(self.measures, sorted(self.models), self.low, self.end)
        for name, starts in begun.items():
            said = [pair for pair in told if name in pair[1].components and _promotes(pair[1], self.rules)]
            for source, _ in starts:
                self.rank.setdefault(source, len(self.rank))
            mine = changes.changes([*starts, *said], self.rank, self.rules.apart, ("promotion", "rollback"))
            mine = _folded([one for one in mine if one.component == name], {event.key for _, event in starts})
            known = [event for _, event in registry if name in event.components]
            found += [_described(replace(one, outcome=linking.STANDING) if one.outcome == "excluded" else one, known)
                      for one in mine]  # fmt: skip
        return found

    def _breaches(self, made: Sequence[Change]) -> list[Link]:
        """Promotions whose own predictions missed a target within the days for which they answer."""
        asked: list[tuple[Change, Span]] = []
        lanes = [[one for one in made if one.component == name and one.outcome == "good"]
                 for name in sorted(self.models)]  # fmt: skip
        for lane in lanes:
            asked += [(one, _answering(lane, place, self)) for place, one in enumerate(lane)
                      if one.running >= self.since]  # fmt: skip
        asked = [(one, span) for one, span in asked if span[1] > span[0]]
        ends = {_of(one): later.running for lane in lanes for one, later in pairwise(lane)}
        found = _missed(self.measures, asked, self.rules.breach_days) if asked else []
        return [replace(link, until=ends.get((link.component, link.change))) for link in found]

    # -- when it was begun

    def _begun(
        self, made: Sequence[Change], registry: Sequence[tuple[str, Event]]
    ) -> dict[tuple[str, str], tuple[int, str]]:  # fmt: skip
        wanted = [one for one in made if one.running >= self.since]
        found = {}
        for one in wanted:
            if one.component in self.models:
                begun = _trained(one, [event for _, event in registry if one.component in event.components])
                if begun is not None:
                    found[_of(one)] = begun
        commits = sorted({one.commit for one in wanted if one.commit and one.component not in self.models})
        of_commit: dict[str, list[Event]] = {}
        for _, event in happenings.with_commits(self.measures.reader, commits, self.low, self.end):
            of_commit.setdefault(event.commit, []).append(event)
        for one in wanted:
            begun = committed(one, of_commit.get(one.commit, ())) if one.component not in self.models else None
            if begun is not None:
                found[_of(one)] = begun
        return found


def _of(change: Change) -> tuple[str, str]:
    return change.component, change.name


def committed(change: Change, events: Sequence[Event]) -> tuple[int, str] | None:
    """(when the commit of a change was made, how that is known); None where nothing tells.

    A label `committed_at` of the deployment or of anything else of its commit says it, or the commit itself; else the
    first build of the commit, or its release, which come after it: then the lead time is at least that long.
    """
    stated = _stated(dict(change.labels).get("committed_at", ""))
    if stated is not None and stated <= change.running:
        return stated, "commit"
    labelled = [at for event in events if (at := _stated(dict(event.labels).get("committed_at", ""))) is not None]
    if labelled and min(labelled) <= change.running:
        return min(labelled), "commit"
    for kind in COMMITTED:
        known = [event.ts for event in events if event.kind == kind and event.ts <= change.running]
        if known:
            return min(known), kind
    return None


def _stated(text: str) -> int | None:
    try:
        return int(text) if text.isdigit() else times.iso(text) if text else None
    except ValueError:
        return None


def _trained(change: Change, registry: Sequence[Event]) -> tuple[int, str] | None:
    """(when a version's data was cut, or its training began, how that is known); None where nothing tells."""
    cuts = [event.ts for event in registry if event.kind == "data_version" and event.data_version
            and event.data_version == change.data_version and event.ts <= change.running]  # fmt: skip
    if cuts:
        return min(cuts), "data"
    starts = [
        event.started or event.ts for event in registry
        if event.kind == "training" and event.ts <= change.running
        and (event.run == change.run if change.run and event.run else bool(change.version) and
             event.version == change.version)
    ]  # fmt: skip
    return (max(starts), "training") if starts else None


def _promotes(event: Event, rules: Rules) -> bool:
    """Whether an event says that a version was to take the traffic."""
    if event.kind == "rollback":
        return True
    alias = dict(event.labels).get("alias", "")
    return event.kind == "promotion" and bool(event.version) and (not alias or alias.lower() in rules.aliases)


def _folded(lane: Sequence[Change], starts: set[str]) -> list[Change]:
    """One change where the registry and the traffic say the same version, one after the other, with nothing between.

    A version that the registry names and that never got traffic, though traffic tells versions apart, waits for it.
    """

    def serves(one: Change) -> bool:
        return any(key in starts for _, key in one.told)

    found: list[Change] = []
    for one in lane:
        last = found[-1] if found else None
        if last is not None and last.version == one.version and serves(last) != serves(one):
            serving, said = (last, one) if serves(last) else (one, last)
            found[-1] = replace(serving, told=serving.told + said.told, run=serving.run or said.run,
                                data_version=serving.data_version or said.data_version, urls=serving.urls + said.urls,
                                kind="rollback" if "rollback" in (one.kind, last.kind) else serving.kind,
                                words=serving.words + said.words, title=said.title or serving.title)  # fmt: skip
        else:
            found.append(one)
    if not starts:
        return found
    return [one if serves(one) else replace(one, outcome="open") for one in found]


def _described(change: Change, registry: Sequence[Event]) -> Change:
    """A change with what the registry knows of its version, and what the training of it was called."""
    known = next((event for event in registry if event.kind == "release" and event.version == change.version), None)
    run = change.run or (known.run if known else "")
    if known is not None:
        change = replace(change, run=run, data_version=change.data_version or known.data_version,
                         commit=change.commit or known.commit)  # fmt: skip
    trained = next((event for event in registry if event.kind == "training" and run and event.run == run), None)
    if trained is None:
        return change
    words = (*change.words, *(word for word in (trained.title, trained.trigger) if word))
    said = tuple(pair for pair in trained.labels if pair[0] == "unplanned")
    return replace(change, words=words, labels=change.labels + said)


def _answering(lane: Sequence[Change], place: int, found: _Made) -> tuple[int, int]:
    """The stretch in which a version answers for its budget: whole hours, until the next change at the latest."""
    begin = -(-lane[place].running // HOUR) * HOUR
    end = min(lane[place].running + found.rules.breach_days * DAY, found.measures.now)
    if place + 1 < len(lane):
        end = min(end, lane[place + 1].ts)
    return begin, max(begin, end // BUCKET * BUCKET)


def _missed(measures: Measures, asked: Sequence[tuple[Change, Span]], days: int) -> list[Link]:
    spans = sorted({span for _, span in asked})
    aims = [one for one in measures.asked(sorted({change.component for change, _ in asked}), ANSWERED) if one.target]
    series = {(one.component, one.signal.name): measures.counted(one.component, one.signal.name) for one in aims}
    merges: dict[int, list[Any]] = {}
    for kind in sorted({one.signal.kind for one in aims}):
        ids = {kept.id for one in aims if one.signal.kind == kind for kept in series[one.component, one.signal.name]}
        merges |= measures.reader.totals(kind, sorted(ids), spans)
    found: list[Link] = []
    for change, span in asked:
        for one in aims:
            some = series[one.component, one.signal.name] if one.component == change.component else []
            mine = [kept for kept in some if kept.placed.version == change.version] or some
            counted = _counted(measures, one, mine, merges, spans.index(span))
            if counted is not None and one.target is not None and _breached(*counted, one.target):
                found.append(_breach(change, one, counted, span, days))
    return found


def _breached(good: int, total: int, target: Fraction) -> bool:
    """Whether so many missed a target, with enough bad ones to say so."""
    return total - good >= EVIDENCE and total - good > (1 - target) * total


def _counted(
    measures: Measures, one: Any, some: Sequence[Any], merges: Mapping[int, list[Any]], place: int
) -> tuple[int, int] | None:
    """Good and total of some series over one of the stretches that were read."""
    good = total = 0
    for kept in some:
        merge = merges.get(kept.id, [None] * (place + 1))[place]
        counted = measures.counts(one, measures.value(one.signal.kind, kept, merge)) if merge is not None else None
        if counted is not None:
            good, total = good + counted[0], total + counted[1]
    return (good, total) if total else None


def _breach(change: Change, one: Any, counted: tuple[int, int], span: tuple[int, int], days: int) -> Link:
    name = one.measure or one.signal.title.lower()
    said = (
        f"{wording.percent(*counted)} {name} of {counted[1]:,} in its first "
        f"{wording.seconds(span[1] - span[0])}, target {float(one.target) * 100:g} % (it answers for {days} days)"
    )
    return Link("breach", f"{change.component} {one.measure or one.signal.name}", change.name, change.component,
                change.running, None, "breach", said, f"{name} under its target")  # fmt: skip


# -- builds, training runs, flaky tests


SIDES = ("system", "model")
SIGNALS = {
    "system": ("build_success", "build_duration", "queue_time"),
    "model": ("training_success", "training_duration", ""),
}


def runs(measures: Measures, components: Sequence[str], side: str) -> Runs:
    """The builds of services, or the training runs of models, over the window."""
    success, duration, queue = SIGNALS[side]
    window = measures.window
    step = step_for(window.since, window.until, RUNS)
    ids = sorted({kept.id for name in components for kept in measures.counted(name, success)})
    starts = range(window.since // step * step, window.until, step)
    found = {start: (int(good), int(total)) for _, start, good, total in
             measures.reader.steps("ratio", dict.fromkeys(ids, 0), window.since, window.until, step)}  # fmt: skip
    if window.since % step:  # the first step began before the window
        first = measures.reader.totals("ratio", ids, [(window.since, min(starts[0] + step, window.until))])
        inside = [merge for [merge] in first.values() if merge]
        found[starts[0]] = (sum(int(one[0]) for one in inside), sum(int(one[1]) for one in inside))
    counts = [found.get(start, (0, 0)) for start in starts]
    return Runs(step, tuple(good for good, _ in counts), tuple(total - good for good, total in counts),
                _quantiles(measures, components, duration), _quantiles(measures, components, queue))  # fmt: skip


def _quantiles(
    measures: Measures, components: Sequence[str], signal: str
) -> tuple[tuple[str, float | None], ...]:  # fmt: skip
    """Median and p95 of merged histograms, seconds."""
    series = {kept.id: kept for name in components if signal for kept in measures.counted(name, signal)}
    window = measures.window
    merges = measures.reader.totals("histogram", sorted(series), [(window.since, window.until)])
    parts = [measures.value("histogram", series[one], some[0]) for one, some in merges.items() if some[0]]
    merged = bins.merge([one for one in parts if isinstance(one, Histogram)]).histogram if parts else None
    found = {
        name: bins.quantile(merged, q) if merged is not None else None for name, q in (("p50", 0.5), ("p95", 0.95))
    }
    return tuple((name, one.value if one else None) for name, one in found.items())


def flaky_since(measures: Measures) -> int:
    """From when flakes are counted: the window, or as far as the list looks back where that is longer."""
    return min(measures.window.since, min(measures.window.until, measures.now) - flaky.QUIET)


def flakes(measures: Measures, components: Sequence[str]) -> list[Flaky]:
    """The flaky tests and builds of some components since `flaky_since`, those still on the list first."""
    if not components:
        return []
    reader, since = measures.reader, flaky_since(measures)
    until = min(measures.window.until, measures.now)
    said = partial(_said, measures)
    tried = {(measures.source_name(source), component, job): (runs, flips)
             for source, component, job, runs, flips in happenings.jobs(reader, components, since, until)}  # fmt: skip
    found = flaky.builds(said(happenings.mixed_builds(reader, components, since, until)), tried, since, until)
    ran: dict[tuple[str, str], list[flaky.Run]] = {}
    for source, suite, key, ts, commit in happenings.suite_runs(reader, components, since, until):
        ran.setdefault((measures.source_name(source), suite), []).append((ts, key, commit))
    found += flaky.tests(said(happenings.troubled_tests(reader, components, since, until)), ran, since, until)
    return sorted(found, key=lambda one: (not one.listed, -one.seconds, -one.flakes, one.component, one.name))


def _said(measures: Measures, rows: Iterable[tuple[int, Event]]) -> list[tuple[str, Event]]:
    return [(measures.source_name(source), event) for source, event in rows]
