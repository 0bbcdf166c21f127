"""Alerts that are over, from the series ALERTS of Prometheus: its samples to the stretches in which each one fired."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from connectors import _http
from connectors._alertmanager import STATUS, key_of, named, title_of, wanted
from connectors._counters import BRIDGE, Scraped
from connectors._prometheus_server import Asked, Smaller
from connectors._promql import Matcher, Selector
from tandem.records import DAY, Event, Finding, Outcome, labels_of

Identity = tuple[tuple[str, str], ...]

FIRING = Selector("ALERTS", (Matcher("alertstate", "=", "firing"),))
STATE = Selector("ALERTS_FOR_STATE")
PAGE = DAY
_FURTHER = 30 * DAY
"""Seconds back to which the beginning of an alert is looked for."""
_USUAL = 60_000
"""Milliseconds between two evaluations where only one sample is known."""
_SETTLED = 30_000
"""Milliseconds that the newest samples may take to arrive."""
_GAP = 2.5
"""Intervals without a sample after which an alert is over, unless its own state says that it went on."""


@dataclass(frozen=True)
class Run:
    """One alert while it fired. Times in epoch milliseconds; `active` is since when its condition held, seconds.

    `earliest`: it may have begun as early as then, because its first samples could not be seen; 0 where `first` is
    the beginning.
    """

    labels: Identity
    first: int
    last: int
    active: int = 0
    interval: int = _USUAL
    earliest: int = 0
    whole: bool = False
    """Whether its own state says that nothing of it lies before `first`."""

    @property
    def begin(self) -> int:
        """When it began to fire, epoch seconds."""
        return self.first // 1000

    @property
    def end(self) -> int:
        """When the evaluation came that no longer found it firing, epoch seconds."""
        return (self.last + self.interval) // 1000


def runs_of(firing: Sequence[Scraped], states: Sequence[Scraped], config: Any) -> dict[Identity, list[Run]]:
    """Every stretch of every wanted alert, oldest first."""
    actives = {identity_of(one.labels): one for one in states}
    usual = _usual(firing)
    return {
        identity_of(one.labels): list(_runs(one, actives.get(identity_of(one.labels)), usual))
        for one in firing
        if one.times.size and wanted(config, one.labels)
    }


def identity_of(labels: Mapping[str, str]) -> Identity:
    """Which alert a series is of."""
    return tuple(sorted(named(labels).items()))


def _usual(firing: Sequence[Scraped]) -> int:
    gaps = [float(np.median(np.diff(one.times))) for one in firing if one.times.size > 1]
    return round(min(gaps)) if gaps else _USUAL


def _runs(one: Scraped, state: Scraped | None, usual: int) -> Iterator[Run]:
    active = _active(one.times, state)
    gaps = np.diff(one.times)
    # An alert that fired at one evaluation only was pending at others before, as its state says.
    often = np.diff(state.times) if state is not None and not gaps.size else gaps
    interval = round(float(np.median(often))) if often.size else usual
    known = (active[:-1] > 0) & (active[1:] > 0)
    breaks = np.where(known, active[:-1] != active[1:], gaps > _GAP * interval)
    for part in np.split(np.arange(one.times.size), np.flatnonzero(breaks) + 1):
        first, last, since = int(one.times[part[0]]), int(one.times[part[-1]]), int(active[part[0]])
        whole = bool(since) and _observed(state, since) - since * 1000 <= _GAP * interval
        yield Run(identity_of(one.labels), first, last, since, interval, whole=whole)


def _active(times: Any, state: Scraped | None) -> Any:
    """Since when the alert's condition held at each of these times, epoch seconds; 0 where it is not known."""
    if state is None or not state.times.size:
        return np.zeros(times.size, dtype=np.int64)
    place = np.minimum(np.searchsorted(state.times, times), state.times.size - 1)
    return np.where(state.times[place] == times, state.values[place], 0).astype(np.int64)


def _observed(state: Scraped | None, active: int) -> float:
    """The first sample of an alert's state since its condition holds, epoch milliseconds."""
    found = state.times[state.values.astype(np.int64) == active] if state is not None else np.empty(0)
    return float(found[0]) if found.size else np.inf


@dataclass
class History:
    """The alerts of one pull, stretch by stretch; what goes on at the end of a stretch is carried to the next.

    `told`: runs that the last pull has seen. `open`: the incidents that were open then.
    """

    config: Any
    client: _http.Client
    told: Sequence[Run] = ()
    open: Sequence[Event] = ()
    external: Collection[str] = ()
    carried: dict[Identity, Run] = field(default_factory=dict)
    recent: list[Run] = field(default_factory=list)
    """The runs of the last stretch that are over."""
    findings: list[Finding] = field(default_factory=list)

    def read(self, asked: Asked) -> list[Run]:
        """The alerts that are over in this stretch; it may be asked again where it was too much at once."""
        found = runs_of(asked.select(FIRING), asked.select(STATE), self.config)
        carried, over = dict(self.carried), []
        for identity in sorted(found.keys() | carried.keys()):
            over += self._joined(identity, found.get(identity, []), carried, asked)
        self.carried, self.recent, self.findings = carried, over, list(asked.findings)
        return over

    def still(self, until: int) -> list[Run]:
        """What fires at `until`; the rest of what was carried is over and moves to `recent`."""
        firing = [run for run in self.carried.values() if until * 1000 - run.last <= _GAP * run.interval + _SETTLED]
        self.recent = [*self.recent, *(run for run in self.carried.values() if run not in firing)]
        return firing

    def is_quiet(self, run: Run, until: int) -> bool:
        """Whether samples of a run are missing at `until` that may just not have arrived."""
        return until * 1000 - run.last > _GAP * run.interval

    def _joined(self, identity: Identity, runs: list[Run], carried: dict[Identity, Run], asked: Asked) -> list[Run]:
        over: list[Run] = []
        before = carried.pop(identity, None)
        for run in runs:
            if before is None:
                before = self._begun(run, asked)
            elif run.last <= before.last:
                continue
            elif _goes_on(before, run):
                before = replace(before, last=run.last, active=run.active or before.active, interval=run.interval)
            else:
                over.append(before)
                before = run
        if before is not None:
            carried[identity] = before
        return over

    def _begun(self, run: Run, asked: Asked) -> Run:
        """The run with its beginning, which may lie before what was asked for."""
        edge = (asked.begin - asked.before) * 1000
        if run.whole or (not run.active and run.first > edge + _GAP * run.interval):
            return run
        for one in self.told:
            again = one.active == run.active if run.active else run.first <= one.last + BRIDGE * 1000
            if one.labels == run.labels and one.first <= run.first and again:
                return replace(run, first=one.first, earliest=one.earliest)
        for event in self.open:
            if is_of(event, run.labels, self.external) and run.active <= event.ts <= run.begin:
                return replace(run, first=event.ts * 1000)
        return self._looked_up(run, edge // 1000)

    def _looked_up(self, run: Run, edge: int) -> Run:
        """The run with what came before the window: one more request, for each alert that fired when it began."""
        begin = max(run.active - 60, edge - _FURTHER)
        if begin >= edge:
            return run
        only = Selector("ALERTS", tuple(Matcher(name, "=", value) for name, value in run.labels))
        try:
            found = [one for one in Asked(self.client, begin, edge + 1, 0).select(only) if one.times.size]
        except Smaller:
            found = []
        same = [one for one in found if identity_of(one.labels) == run.labels]
        firing = [one for one in same if one.labels.get("alertstate") == "firing"]
        earlier = [one for series in firing for one in _runs(series, None, run.interval)]
        if not run.active:
            if not earlier or not _near(earlier[-1], run):
                return run
            first = earlier[-1].first
            return replace(run, first=first, earliest=0 if first > (begin + 60) * 1000 else begin * 1000)
        first = earlier[0].first if earlier else run.first
        waited = [float(one.times[one.times < first][-1]) for one in same if (one.times < first).any()]
        seen = first - max([run.active * 1000.0, *waited]) <= _GAP * run.interval
        return replace(run, first=first, earliest=0 if seen else run.active * 1000)


def is_of(event: Event, labels: Identity, external: Collection[str]) -> bool:
    """Whether an incident is one of the alert of these labels."""
    return named(dict(event.labels), external) == named(dict(labels), external)


def event_of(run: Run, config: Any, external: Collection[str], *, over: bool) -> Event:
    """The incident of a run as Prometheus knows it, without annotations."""
    word = "resolved" if over else "firing"
    own: Mapping[str, Outcome] = config.common.status
    labels = dict(run.labels)
    end = max(run.end, run.begin)
    return Event(
        "incident",
        key_of(labels, run.begin, external),
        run.earliest // 1000 or run.begin,
        ts_latest=run.begin if run.earliest else None,
        ended=end if over else None,
        outcome=own.get(word, STATUS[word]),
        title=title_of(labels),
        labels=labels_of({**labels, "alertstate": word}),
        revision=2 * (end if over else run.last // 1000),
    )


def _goes_on(before: Run, run: Run) -> bool:
    if before.active and run.active:
        return before.active == run.active
    return _near(before, run)


def _near(before: Run, run: Run) -> bool:
    return run.first - before.last <= _GAP * max(before.interval, run.interval)
