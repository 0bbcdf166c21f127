"""From the store to one merge per component, signal and window: sources in their order, objectives at their end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tandem import bins, counting, lookbacks, slices, slo
from tandem.answers import NONE as NONE
from tandem.answers import Answer as Answer
from tandem.answers import rules as rules
from tandem.answers import verdict as verdict
from tandem.catalog import Signal
from tandem.config import Objective
from tandem.counting import Asked as Asked
from tandem.intervals import Span, length, overlap, subtract, union
from tandem.lookbacks import Lookbacks
from tandem.observed import GRACE as GRACE
from tandem.observed import LABEL_STEP as LABEL_STEP
from tandem.observed import LATE as LATE
from tandem.observed import WINDOW_SECONDS as WINDOW_SECONDS
from tandem.observed import Filters as Filters
from tandem.observed import Observed
from tandem.records import BUCKET, Confusion, Histogram, Moments, Ratio, Value
from tandem.store.file import Kept

KNOWN = Fraction(1, 2)
"""The period before a calendar window says what to expect when a source saw at least this share of it."""


class Measures(Observed):
    """All that one question asks of the store; one read per summary and window set."""

    def whole(self) -> Measures:
        """The same question of whole components: a version or a segment has no delivery of its own."""
        filters = Filters(self.filters.environment)
        if filters == self.filters:
            return self
        return Measures(self.reader, self.config, self.window, self.now, filters)

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
        self._awaited.update(one.component for one in asked)
        groups: dict[tuple[str, Lookbacks, int], list[int]] = {}
        for place, one in enumerate(asked):
            groups.setdefault((one.signal.kind, self.looks(one), self.edge(one)), []).append(place)
        found: dict[int, Answer] = {}
        for (kind, looks, edge), places in groups.items():
            found.update(zip(places, self._group(kind, looks, edge, [asked[n] for n in places]), strict=True))
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

    def _group(self, kind: str, looks: Lookbacks, edge: int, asked: Sequence[Asked]) -> list[Answer]:
        windows = self._windows(looks, edge)
        apart = [len(self._sources(one)) > 1 or self._is_corrected(one, windows) for one in asked]
        ids = {kept.id for one, mixed in zip(asked, apart, strict=True) if not mixed
               for kept in self.series(one.component, one.signal.name)}  # fmt: skip
        merges = self.reader.totals(kind, sorted(ids), windows)
        mixes = iter(self._mixed(kind, windows, [one for one, mixed in zip(asked, apart, strict=True) if mixed]))
        witnesses = self._witnessed(kind, asked)
        answers = []
        for one, mixed in zip(asked, apart, strict=True):
            some = self.series(one.component, one.signal.name)
            values = next(mixes) if mixed else [self._merge(kind, some, merges, n) for n in range(len(windows))]
            answer = self._answer(one, looks, windows, values, self._first(one))
            answer.edge = edge
            answer.witnesses = [(number, self._merge(kind, self._of(one, number), witnesses, 0))
                                for number in self._sources(one) if number != answer.source]  # fmt: skip
            answers.append(answer)
        return answers

    def _witnessed(self, kind: str, asked: Sequence[Asked]) -> dict[int, list[Any]]:
        """What every source of those that have several counted in the window."""
        several = [one for one in asked if len(self._sources(one)) > 1]
        ids = {kept.id for one in several for number in self._sources(one) for kept in self._of(one, number)}
        return self.reader.totals(kind, sorted(ids), [(self.window.since, self.window.until)])

    def _of(self, one: Asked, number: int) -> list[Kept]:
        """The series of what is asked that one source has."""
        return [kept for kept in self.series(one.component, one.signal.name) if kept.placed.source == number]

    def _windows(self, looks: Lookbacks, edge: int) -> list[Span]:
        """The page's window, the objective's, its burn windows, the period before, and the page's as it is judged."""
        page = (self.window.since, self.window.until)
        burns = [(edge - width, edge) for width in looks.burns]
        before = [looks.before] if looks.before is not None else []
        again = [page] if self.corrections else []
        return [page, (looks.since, self.end), *burns, *before, *again]

    def counting(self, answer: Answer) -> list[Kept]:
        """The series that steps of an answer are drawn from: those of its source, or of all that add up."""
        sources = self._sources(answer.asked)
        counted = sources if self._add_up(sources) else [answer.source]
        some = self.series(answer.asked.component, answer.asked.signal.name)
        return [kept for kept in some if kept.placed.source in counted]

    def edge(self, one: Asked) -> int:
        """Where the look-backs of rules end: at the last bucket that is whole, or where labels leave off.

        What has not come yet is neither good nor bad: a bucket that is still being filled would clear every rule with
        a short window, and a source that falls silent freezes its alerts.
        """
        end = self.end
        if one.signal.name in ("outcome", "error", "fairness"):
            end = min(end, self.mature(one.component))
        seen = max(map(self.seen_until, self._sources(one)), default=0)
        width = max(BUCKET, one.signal.width)
        return min(end, seen or end) // width * width

    def _is_corrected(self, one: Asked, windows: Sequence[Span]) -> bool:
        out = self.left_out(one.component, one.signal.name)
        return bool(out) and any(overlap(out, *window) for window in windows)

    # -- merging

    def _mixed(self, kind: str, windows: list[Span], asked: Sequence[Asked]) -> list[list[Value | None]]:
        """Per window the sum over what each source counts: the first in order that covered it, never two.

        What is read over the same stretches is read at once.
        """
        plans = [self._plan(one, windows) for one in asked]
        wanted: dict[tuple[Span, ...], set[int]] = {}
        for plan in plans:
            for series, stretches in plan:
                wanted.setdefault(_distinct(stretches), set()).update(kept.id for kept in series)
        merges = {spans: self.reader.totals(kind, sorted(ids), spans) for spans, ids in wanted.items()}
        return [[self._mix(kind, plan, merges, place) for place in range(len(windows))] for plan in plans]

    def _plan(self, one: Asked, windows: list[Span]) -> list[tuple[list[Kept], list[list[Span]]]]:
        """For each source its series, and the stretches of each window that it counts for.

        The page's own window alone stays whole where something was left out.
        """
        owned = self.owned(one, min(low for low, _ in windows), max(high for _, high in windows))
        out = self.left_out(one.component, one.signal.name)
        return [
            (self._of(one, number), [subtract(overlap(owns, *window), out if place else [])
                                     for place, window in enumerate(windows)])
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

    def _first(self, one: Asked) -> int:
        """The source that is named for the page's window: the first of those that counted and saw any of it."""
        sources = self._sources(one)
        if len(sources) < 2 or self._add_up(sources):
            return next(iter(sources), 0)
        owned = self._owned(one, sources, self.window.since, self.window.until)
        return next((number for number in sources if self._looked(one, number, owned[number])), sources[0])

    def _looked(self, one: Asked, number: int, owned: Iterable[Span]) -> list[Span]:
        """What a source saw of the stretches that it counts for."""
        return [
            span for low, high in owned for span in self.coverage_of(number, one.component, one.signal.name, low, high)
        ]

    def _seen(self, one: Asked, since: int, until: int) -> list[Span]:
        """What was seen inside [since, until): of each stretch by the source that counts for it."""
        sources = self._sources(one)
        if len(sources) < 2 or self._add_up(sources):
            return super()._seen(one, since, until)
        owned = self._owned(one, sources, since, until)
        return union(span for number, owns in owned.items() for span in self._looked(one, number, owns))

    def _late(self, one: Asked, source: int) -> bool:
        """Whether nobody who may count is up to date."""
        sources = self._sources(one)
        return all(map(self.late, sources)) if sources and not self._add_up(sources) else self.late(source)

    def _owned(self, one: Asked, sources: list[int], since: int, until: int) -> dict[int, list[Span]]:
        """The stretches that each source counts for; sources that add up all count everywhere.

        A bucket is that of the first source that saw any of it: what it counted there is kept.
        """
        everything = [(since, until)]
        if len(sources) < 2 or self._add_up(sources):
            return dict.fromkeys(sources, everything)
        left, owned = everything, {}
        for number in sources:
            seen = self.coverage_of(number, one.component, one.signal.name, since, until)
            touched = [(low // BUCKET * BUCKET, -(-high // BUCKET) * BUCKET) for low, high in seen]
            mine = [span for low, high in left for span in overlap(union(touched), low, high)]
            owned[number] = mine
            left = subtract(left, union(mine))
        owned[sources[0]] = union([*owned[sources[0]], *left])
        return owned

    def merges(self, kind: str, component: str, signal: str, series: Sequence[Kept]) -> list[tuple[Kept, Any]]:
        """Some series of a component's signal with their merges over the window, each source where it counts."""
        return self.gathered(kind, {(component, signal): series})[component, signal]

    def gathered(
        self, kind: str, wanted: Mapping[tuple[str, str], Sequence[Kept]]
    ) -> dict[tuple[str, str], list[tuple[Kept, Any]]]:
        """The merges of series by (component, signal); what is read over the same stretches is read at once."""
        found: dict[tuple[str, str], list[tuple[Kept, Any]]] = {key: [] for key in wanted}
        together: dict[tuple[Span, ...], dict[int, tuple[tuple[str, str], Kept]]] = {}
        for key, series in wanted.items():
            for number, stretches in self._stretches(*key, series).items():
                mine = {kept.id: (key, kept) for kept in series if kept.placed.source == number}
                together.setdefault(tuple(stretches), {}).update(mine)
        for spans, mine in together.items():
            for place, some in self.reader.totals(kind, sorted(mine), spans).items():
                key, kept = mine[place]
                found[key] += [(kept, merge) for merge in some if merge is not None]
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
        answer.stale = self._late(one, source)
        answer.labels = not (one.signal.name in ("outcome", "error") and self.series(one.component, "volume"))
        if one.measure:
            answer.instead = counting.unfit(one, values[1], bool(self._configured_positive(one.component)))
        if looks.before is not None:
            answer.expected = self.expected(one, looks, counts[2 + len(looks.burns)])
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

    def expected(self, one: Asked, looks: Lookbacks, before: tuple[int, int] | None) -> int | None:
        """The events that fix a calendar window's budget: as configured, else as many as the period before had.

        Scaled to the length of the period and to what was seen of the one before; None where too little of it was.
        """
        if one.objective is not None and one.objective.expected is not None:
            return one.objective.expected
        assert looks.before is not None, "only a calendar window has a period before"
        since, until = looks.before
        seen = length(subtract(self._seen(one, since, until), self.left_out(one.component, one.signal.name)))
        if before is None or not before[1] or seen < KNOWN * (until - since):
            return None
        return before[1] * looks.length // seen

    # -- what counts

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


def _bound(share: bins.Share | None) -> tuple[int, int] | None:
    return (share.low, share.high) if share is not None and share.low != share.high else None


def _distinct(stretches: Iterable[Sequence[Span]]) -> tuple[Span, ...]:
    return tuple(sorted({span for some in stretches for span in some}))
