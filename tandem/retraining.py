"""From the store to what followed each onset of a model: drift and breaches hour by hour, trainings, promotions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from tandem import lookbacks, retrained, slices, standing, stepped, stood, times
from tandem.counting import Asked
from tandem.intervals import Span, overlap
from tandem.measure import NONE, Answer, Filters, Measures, rules
from tandem.records import BUCKET, DAY, HOUR, Event
from tandem.retrained import Counts, Effect, Followed, Onset, Promotion, Retrained, Training
from tandem.shown import Window
from tandem.slo import EVIDENCE, Totals
from tandem.stood import Promise, Tally

HISTORIES = (28 * DAY, 112 * DAY)
"""How long before the window onsets are looked for: those that go on in it, else the last one before it.

Further back only where one of them began with what was read.
"""
APART = frozenset({"training_success", "training_duration", "validation_success", "label_coverage", "label_age"})
"""Signals of a model that are of trainings themselves, or of labels: no training answers to them."""
QUALITY = ("outcome", "error")
"""How well a model answers: the first that is measured stands beside drift."""
COUNTED = {
    "outcome": "labelled predictions", "error": "labelled predictions", "drift": "feature-hours", "fairness": "hours",
    "precision": "predictions of the class", "recall": "labelled predictions of the class",
}  # fmt: skip
"""What a measure or a signal is a share of."""
NAMED = {"drift": "without data drift", "error": "within tolerance", "outcome": "accuracy"}
Told = tuple[str, Event]


def answer(measures: Measures, component: str) -> Retrained:
    """What followed each onset of a model that touches the window, or the last one before it, until now."""
    for history in HISTORIES:
        found = _Model(measures, component, history).answer()
        if not any(row.onset.early for row in found.rows):
            break
    return found


class _Model:
    """One model from `history` seconds before the window until now, whatever version or segment was asked for."""

    def __init__(self, measures: Measures, component: str, history: int = HISTORIES[0]) -> None:
        self.window = measures.window
        self.component = component
        self.history = history
        self.begin = max(0, measures.window.since - history) // DAY * DAY
        self.all = self._over(measures, self.begin, max(measures.now, self.begin + BUCKET))
        self.asked = [one for one in self.all.asked([component]) if one.signal.side == "model"]
        aims = [one for one in self.asked if one.target is not None and one.signal.name not in APART]
        self.answers = self.all.answers(aims)

    @staticmethod
    def _over(measures: Measures, since: int, until: int) -> Measures:
        filters = Filters(measures.filters.environment)
        return Measures(measures.reader, measures.config, Window(since, until), measures.now, filters)

    def answer(self) -> Retrained:
        onsets = _touching(self._onsets(), self.window)
        runs, sources, seen = self._trainings()
        told = self._promotions() if onsets else []
        rows = tuple(self._followed(one, onsets, runs, told, self._silent(one, sources, seen)) for one in onsets)
        now, days = self.all.now, self.history // DAY
        return Retrained(
            self.component, self.begin, now, retrained.sentence(rows, bool(sources), self.component, days, now), rows,
            sources, seen,
        )  # fmt: skip

    # -- onsets

    def _onsets(self) -> list[Onset]:
        drifts = {name: retrained.drift_runs(hours, self._edge("drift")) for name, hours in self._hours().items()}
        found = retrained.grouped(drifts, self.begin)
        for one in self.answers:
            name = standing.name_of(one.asked)
            signal = one.asked.signal.name
            breaches = [Onset("breach", (name,), run.since, run.until, signal, run.since < self.begin + DAY)
                        for run in retrained.breach_runs(self._stood(one))]  # fmt: skip
            found += breaches if signal != "drift" else retrained.apart(breaches, found)
        return found

    def _edge(self, signal: str) -> int:
        """Up to when a signal can be judged."""
        return next((self.all.edge(one) for one in self.asked if one.signal.name == signal), self.all.end)

    def _hours(self) -> dict[str, dict[int, bool]]:
        """Of each feature the hours that were judged: whether it drifted, by most of the sources that add up."""
        names = [name for name in self.all.names(self.component, "drift") if name]
        groups = {kept.id: place for place, name in enumerate(names)
                  for kept in self.all.counted(self.component, "drift", name)}  # fmt: skip
        found: dict[str, dict[int, bool]] = {name: {} for name in names}
        for place, start, good, total in self.all.reader.steps("ratio", groups, self.begin, self.all.end, HOUR):
            if total:
                found[names[place]][int(start)] = good * 2 < total
        return found

    def _stood(self, one: Answer) -> dict[int, bool]:
        """Whether an objective stood breached at the end of each hour, with all that is known of it now."""
        coarse, fine = self._tallies(one)
        promise = self._promise(one, coarse)
        ends = range(self.begin + HOUR, one.edge + 1, HOUR)
        possible = stood.possible(promise, coarse, ends)
        open_ = [end for end, breached in possible.items() if breached is None]
        short = fine(stood.around(promise, open_)) if open_ else coarse
        certain = {end: breached for end, breached in possible.items() if breached is not None}
        return certain | stood.settled(promise, coarse, short, open_)

    def _tallies(self, one: Answer) -> tuple[Tally, Callable[[Sequence[Span]], Tally]]:
        """What is counted from one window of the objective before the beginning, and how some of it is read finer."""
        asked = one.asked
        out = self.all.left_out(self.component, asked.signal.name)
        low = max(0, self.begin - one.looks.length * (2 if one.looks.before is not None else 1)) // DAY * DAY
        if asked.stepwise:
            width = slices.width_of(asked)
            good = slices.measured(self._over(self.all, low, self.all.window.until), asked, low)
            whole = Tally({start: (int(ok), 1) for start, ok in good.items()
                           if not overlap(out, start, start + width)}, width)  # fmt: skip
            return whole, lambda _: whole
        even = not out and all(rule.long % HOUR == 0 for rule in rules(one))
        coarse = self._tally(one, [(low, self.all.window.until)], HOUR if even else BUCKET, out)
        return coarse, lambda spans: self._tally(one, spans, BUCKET, out)

    def _tally(self, one: Answer, spans: Sequence[Span], step: int, out: list[Span]) -> Tally:
        step = max(step, one.asked.signal.width)
        counts: dict[int, Totals] = {}
        for since, until in spans:
            counts |= stepped.counts(self._over(self.all, since, until), [([one], step)])[0]
        kept = {start: pair for start, pair in counts.items() if not overlap(out, start, start + step)}
        return Tally(kept, step)

    def _promise(self, one: Answer, coarse: Tally) -> Promise:
        asked, given = one.asked, one.asked.objective
        assert asked.target is not None, "only what has a target can be breached"
        pages = tuple(rule for rule in rules(one) if rule.severity == "page")
        base = given.base if given is not None and given.base else NONE
        return Promise(asked.target, pages, given.evidence if given is not None else EVIDENCE, base,
                       self._looks(one, coarse))  # fmt: skip

    def _looks(self, one: Answer, coarse: Tally) -> Callable[[int], tuple[int, int, int | None]]:
        """The window of an objective that ends at a moment: (since, length, expected events)."""
        given = one.asked.objective
        if given is None or not given.calendar:
            return lambda end: (end - one.asked.window, one.asked.window, None)

        @cache
        def expected(looks: lookbacks.Lookbacks) -> int | None:
            if one.asked.stepwise:
                return looks.length // coarse.width
            assert looks.before is not None, "a window of the calendar has one before it"
            earlier = self._over(self.all, looks.before[0], self.all.window.until)
            return earlier.expected(one.asked, looks, coarse.over(*looks.before))

        def looks(end: int) -> tuple[int, int, int | None]:
            found = lookbacks.of(given, one.asked.window, end)
            return found.since, found.length, expected(lookbacks.Lookbacks(found.since, found.length, (), found.before))

        return looks

    # -- what followed

    def _events(self, kinds: Sequence[str], since: int) -> list[tuple[int, Event]]:
        reader = self.all.reader
        found = reader.events(since, self.all.now + 1, components=[self.component], kinds=kinds, newest=True)
        return sorted(found, key=lambda pair: self.all.rank(pair[0]))

    def _trainings(self) -> tuple[list[Training], tuple[str, ...], int | None]:
        """The trainings from the beginning, who ever told of one, and up to when they have told."""
        known = self._events(["training"], self.begin) or self._events(["training"], 0)
        numbers = dict.fromkeys(number for number, _ in known)
        seen = max((self.all.seen_until(number) for number in numbers), default=None)
        told = [(self.all.source_name(number), event) for number, event in known]
        return retrained.trainings(told), tuple(self.all.source_name(number) for number in numbers), seen

    def _promotions(self) -> list[Told]:
        """Releases, and the promotions that let a version serve in the environment that is shown."""
        found = []
        for number, event in self._events(["promotion", "rollback", "release"], self.begin):
            alias = dict(event.labels).get("alias", "")
            serves = not alias or alias.lower() in self.all.config.delivery.aliases
            here = event.environment in ("", self.all.filters.environment)
            if event.kind == "release" or (event.version and serves and here):
                found.append((self.all.source_name(number), event))
        return found

    def _silent(self, onset: Onset, sources: Sequence[str], seen: int | None) -> str:
        """Why nothing is known of trainings since an onset; "" where they were told of."""
        if not sources:
            return "no source tells of trainings of this model"
        if seen is not None and seen <= onset.since:
            return f"{', '.join(sources)} told nothing after {times.text(seen)}"
        return ""

    def _followed(
        self, onset: Onset, onsets: Sequence[Onset], runs: Sequence[Training], told: Sequence[Told], silent: str
    ) -> Followed:
        again = min((one.since for one in onsets if one.since > onset.since and one.resembles(onset)), default=None)
        since = retrained.following(onset, runs, again)
        training, promotion = retrained.chosen(since, told)
        if promotion is None:
            unknown = silent if training is None else ""
            return Followed(onset, training, len(since), None, (retrained.without(training, unknown),), unknown)
        later = [event.ts for _, event in told if event.kind != "release" and event.ts > promotion.until
                 and event.version != promotion.version]  # fmt: skip
        effects = tuple(self._effects(onset, promotion, min(later, default=None)))
        return Followed(onset, training, len(since), promotion, effects)

    # -- before and after

    def _effects(self, onset: Onset, promotion: Promotion, following: int | None) -> list[Effect]:
        between = (promotion.since, promotion.until)

        def compared(one: Asked, counted: Callable[[Span], Counts], names: Sequence[str] = ()) -> Effect:
            measure, of = _named(one, names)
            found = retrained.spans(onset.since, between, following, self.all.edge(one))
            if isinstance(found, Effect):
                return Effect(found.state, found.reason, measure, of)
            return retrained.effect(measure, of, counted(found.before), counted(found.after))

        if onset.kind == "breach":
            mine = next(one.asked for one in self.answers if standing.name_of(one.asked) == onset.what[0])
            if mine.measure == "f1":
                reason = "F1 is no share of what was counted; the Compare page has its difference"
                return [Effect("not applicable", reason, "f1", "")]
            return [compared(mine, lambda span: self._judged(mine, span))]
        drift = next(one for one in self.asked if one.signal.name == "drift")
        found = [compared(drift, lambda span: self._drifted(onset.what, span), onset.what)]
        quality = next((one for name in QUALITY for one in self.asked if one.signal.name == name
                        and one.target is not None and one.measure in ("", "accuracy")), None)  # fmt: skip
        return [*found, compared(quality, lambda span: self._judged(quality, span))] if quality is not None else found

    def _judged(self, one: Asked, span: Span) -> Counts:
        """Good and total as the same signal shows them over that window."""
        [found] = self._over(self.all, *span).answers([one])
        days = -(-(span[1] - span[0]) // DAY) if one.signal.name == "fairness" else None
        if one.signal.name == "drift":
            days = self._days(self.all.names(self.component, "drift"), span)
        return Counts(*span, *(found.judged or (0, 0)), found.bound[1] if found.bound else None, days)

    def _drifted(self, features: Sequence[str], span: Span) -> Counts:
        ids = [kept.id for name in features for kept in self.all.counted(self.component, "drift", name)]
        merges = [merge for [merge] in self.all.reader.totals("ratio", ids, [span]).values() if merge]
        good, total = sum(int(good) for good, _ in merges), sum(int(total) for _, total in merges)
        return Counts(*span, good, total, None, self._days(features, span))

    def _days(self, features: Sequence[str], span: Span) -> int:
        """The days of each feature in which any hour was judged, added up."""
        groups = {kept.id: place for place, name in enumerate(features) if name
                  for kept in self.all.counted(self.component, "drift", name)}  # fmt: skip
        return sum(total > 0 for *_, total in self.all.reader.steps("ratio", groups, *span, DAY))


def _named(one: Asked, features: Sequence[str]) -> tuple[str, str]:
    """What is compared, and what it is a share of."""
    signal = one.signal.name
    measure = one.measure or NAMED.get(signal, one.signal.title)
    of = COUNTED.get(measure, COUNTED.get(signal, one.signal.of.partition(" ")[0]))
    if one.stepwise and signal != "fairness":
        of = f"slices of {slices.width_of(one)} s"
    return measure, f"{of} of {len(features)} features" if len(features) > 1 else of


def _touching(onsets: Sequence[Onset], window: Window) -> list[Onset]:
    """The onsets whose stretch touches the window, newest first; else the last that was before it."""
    before = sorted((one for one in onsets if one.since < window.until), key=lambda one: (-one.since, one.what))
    inside = [one for one in before if one.until is None or one.until > window.since]
    return inside or before[:1]
