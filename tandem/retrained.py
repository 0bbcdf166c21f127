"""What followed each onset of drift or breach: whether the model was trained again, by what, when promoted, what then.

Only the order in time is told: nothing here says that one thing brought about another. Plain values in and out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from tandem import joins
from tandem.joins import Told, Trait
from tandem.lineage import model_of
from tandem.records import DAY, HOUR
from tandem.slo import newcombe, wilson

SPAN = 3 * DAY
"""Over so much time most judged hours must say the same before a stretch begins or ends: a day may drift by chance."""
TOGETHER = DAY
"""Features whose drift began within this time of the first one's are one onset."""
LONGEST = 7 * DAY
"""Before and after are at most this long: every weekday once."""
LEAST = DAY
"""After a promotion this much must be mature, unless less lies between onset and promotion."""


# -- onsets


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch that was bad: from its onset to its end, epoch seconds; `until` None while it goes on."""

    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Onset:
    """The beginning of a stretch of drift of some features, or of a breach of an objective.

    `what` are the features in the order in which they began, or the objective's name; `until` None: it goes on.
    `early`: the stretch began with what was read, so it may have begun before.
    """

    kind: Literal["drift", "breach"]
    what: tuple[str, ...]
    since: int
    until: int | None
    signal: str = "drift"
    early: bool = False

    def resembles(self, other: Onset) -> bool:
        """Whether both are of the same: of one objective, or of a feature in common."""
        return self.kind == other.kind and bool(set(self.what) & set(other.what))

    @property
    def said(self) -> str:
        """What began, in words."""
        if self.kind == "breach":
            return f"the breach of {self.what[0]}"
        first, more = self.what[0], len(self.what) - 1
        others = f" and {more} more feature{'s' if more > 1 else ''}" if more else ""
        return f"the onset of data drift in {first}{others}"


def drift_runs(hours: Mapping[int, bool], end: int) -> list[Run]:
    """The stretches of drift of one feature, from its feature-hours that were judged (True: drift), oldest first.

    A stretch begins with an hour that drifted when of the judged hours among the SPAN that begins with it more than
    half drifted, and ends with one that did not when of those that begin with it more than half did not. So an hour or
    a day that drifts by chance, or some hours of each night, begin nothing, and one that does not ends nothing. Hours
    that were not judged neither begin nor end anything. `end` is up to when hours were judged: those that are still to
    come count as if they would say otherwise, so what was told once is never taken back by what comes later.
    """
    starts = sorted(hours)
    found: list[Run] = []
    drifting, last = False, 0
    for place, start in enumerate(starts):
        if hours[start] is drifting:
            continue
        last = max(last, place)
        while last < len(starts) and starts[last] < start + SPAN:
            last += 1
        near = starts[place:last]
        alike = sum(hours[one] is not drifting for one in near)
        if 2 * alike <= len(near) + max(0, start + SPAN - end) // HOUR:
            continue
        drifting = not drifting
        if drifting:
            found.append(Run(start, None))
        else:
            found[-1] = replace(found[-1], until=start)
    return found


def breach_runs(hours: Mapping[int, bool]) -> list[Run]:
    """The stretches in which an objective stood breached, from how it stood at the end of each hour (True: breached).

    A stretch begins with the first hour at whose end it stands breached, and ends with the first at whose end it does
    not any more; one that begins again within a day goes on. Hours of which nothing can be said change nothing.
    """
    found: list[Run] = []
    for end in sorted(hours):
        until = found[-1].until if found else None
        if hours[end]:
            if not found or (until is not None and end - until >= DAY):
                found.append(Run(end, None))
            elif until is not None:
                found[-1] = replace(found[-1], until=None)
        elif found and until is None:
            found[-1] = replace(found[-1], until=end)
    return found


def grouped(runs: Mapping[str, Sequence[Run]], begin: int) -> list[Onset]:
    """The onsets of drift of a model from the stretches of each feature, oldest first.

    Features that began within TOGETHER of the first one are one onset, which goes on while any of them does. What was
    there within a day of `begin`, where reading began, may have begun before.
    """
    found: list[Onset] = []
    for since, feature, until in sorted((run.since, name, run.until) for name, some in runs.items() for run in some):
        group = found[-1] if found else None
        if group is None or since >= group.since + TOGETHER:
            found.append(Onset("drift", (feature,), since, until, early=since < begin + DAY))
            continue
        ends = None if until is None or group.until is None else max(until, group.until)
        found[-1] = replace(group, what=tuple(dict.fromkeys((*group.what, feature))), until=ends)
    return found


def apart(breaches: Sequence[Onset], drifts: Sequence[Onset]) -> list[Onset]:
    """The breaches of the objective on drift that began while no feature is said to drift: the others say it twice."""
    during = [one for one in drifts if one.kind == "drift"]
    return [breach for breach in breaches if not any(
        one.since <= breach.since and (one.until is None or breach.since < one.until) for one in during)]  # fmt: skip


# -- what was trained


By = Literal["schedule", "drift", "data", "person", "code", "other", ""]
WORDS: Mapping[str, By] = {
    **dict.fromkeys(("schedule", "scheduled", "cron", "timer", "timer trigger", "periodic", "recurring", "nightly",
                     "started by timer"), "schedule"),
    **dict.fromkeys(("drift", "data drift", "concept drift", "prediction drift", "feature drift", "drift detected",
                     "drift alert"), "drift"),
    **dict.fromkeys(("data", "new data", "dataset", "data version", "data change", "dataset triggered",
                     "asset triggered", "datum"), "data"),
    **dict.fromkeys(("manual", "user", "person", "human", "ui", "web", "workflow dispatch", "interactive"), "person"),
    **dict.fromkeys(("code", "commit", "push", "scm", "tag", "merge", "pull request", "merge request",
                     "merge request event", "started by an scm change"), "code"),
}  # fmt: skip
"""What systems call what started a run, in small letters, "-" and "_" as blanks; a word that is not here is "other"."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """By what a training was started, the system's own word for it, and who is named with it."""

    by: By
    word: str = ""
    actor: str = ""

    @property
    def said(self) -> str:
        """As people read it; the system's own word where nobody knows what it means."""
        return "not said" if not self.by else f"other: {self.word}" if self.by == "other" else self.by


def trigger(word: str, actor: str) -> Trigger:
    """What a system's own word and actor mean; a bot that started something by hand is no person."""
    plain = " ".join(word.replace("-", " ").replace("_", " ").lower().split())
    by: By = "" if not plain else WORDS.get(plain, "other")
    if by == "person" and actor.lower().endswith("[bot]"):
        by = "other"
    return Trigger(by, word, actor)


@dataclass(frozen=True, slots=True)
class Training:
    """One training run; `source` told of it first, `traits` are the digests and run ids that it is known by."""

    key: str
    title: str
    started: int
    ended: int | None
    outcome: str
    trigger: Trigger
    traits: tuple[Trait, ...] = ()
    run: str = ""
    source: str = ""
    url: str = ""


def trainings(told: Sequence[Told]) -> list[Training]:
    """Every run once, oldest first; of a run that several sources tell of, the first says it.

    `told` is in the order in which sources count. What the first leaves open the next one may say.
    """
    return sorted((_training(group) for group in joins.runs(told)), key=lambda one: (one.started, one.key))


def _training(group: joins.Group) -> Training:
    source, first = group.told[0]
    said = next((event for _, event in group.told if event.trigger), first)
    traits = [one for name, event in group.told for one in joins.traits_of(name, event, f"its training in {name}")]
    return Training(
        key=first.key, title=first.title or group.run, started=first.started if first.started is not None else first.ts,
        ended=first.ended, outcome=first.outcome, trigger=trigger(said.trigger, said.actor or first.actor),
        traits=tuple(one for one in traits if one.identity != "commit"), run=group.run, source=source, url=first.url,
    )  # fmt: skip


def following(onset: Onset, runs: Sequence[Training], again: int | None) -> list[Training]:
    """The trainings that were started at or after an onset, and before the same began again."""
    return [one for one in runs if one.started >= onset.since and (again is None or one.started < again)]


# -- what was promoted


@dataclass(frozen=True, slots=True)
class Promotion:
    """When what a training made was promoted: between `since` and `until`, and by what the two are joined."""

    version: str
    since: int
    until: int
    joined: str
    title: str = ""
    source: str = ""
    url: str = ""


def promoted(training: Training, told: Sequence[Told]) -> Promotion | None:
    """The first promotion of what a training made; `told` are promotions that let a version serve, and releases.

    Joined by the digest of what was made, then by the run's id (`joins`): of the promotion itself, or of the version
    that the same source registered and then promoted. A commit may have been trained often, so it joins nothing here,
    nor does a name or a version alone. No version is promoted before its training began: an interval that begins
    earlier is cut there.
    """
    made: dict[tuple[str, str, str], str] = {}
    for source, event in told:
        if event.kind == "release" and event.version and (known := joins.match(source, event, training.traits)):
            made.setdefault((source, model_of(event), event.version), f"{known.reason}, of its version in {source}")
    found: list[Promotion] = []
    for source, event in told:
        latest = event.ts_latest if event.ts_latest is not None else event.ts
        if event.kind == "release" or latest < training.started:
            continue
        own = joins.match(source, event, training.traits)
        why = own.reason if own else made.get((source, model_of(event), event.version), "")
        if why:
            found.append(Promotion(event.version, max(event.ts, training.started), latest, why, event.title, source,
                                   event.url))  # fmt: skip
    return min(found, key=lambda one: (one.until, one.since, one.version), default=None)


# -- before and after


State = Literal["better", "worse", "not enough evidence", "too early to tell", "no promotion yet", "not applicable"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Good out of total over [since, until), with Wilson's interval of the share.

    `most`: good at most, where the threshold is no edge of the histogram; `good` are those that certainly are.
    `days`: of hours of which those of a day hang together, and may have one verdict, how many days they make; an
    interval takes each day for one.
    """

    since: int
    until: int
    good: int
    total: int
    most: int | None = None
    days: int | None = None

    @property
    def weight(self) -> Fraction:
        """How much of an independent one each counts."""
        return Fraction(min(self.days, self.total), self.total) if self.days is not None and self.total else Fraction(1)

    def spread(self, good: int) -> tuple[float, float]:
        """(good, total) as an interval counts them."""
        return float(good * self.weight), float(self.total * self.weight)

    @property
    def highest(self) -> int:
        """Good at most."""
        return self.good if self.most is None else self.most

    @property
    def share(self) -> float | None:
        """The share of good; None where nothing was counted."""
        return self.good / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson, 95 %."""
        return wilson(*self.spread(self.good))


@dataclass(frozen=True, slots=True)
class Spans:
    """Equally long stretches before and after a promotion, whole hours."""

    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Effect:
    """One measure before a promotion and after it; `change` = after - before, `interval` is Newcombe's of it.

    Where good is only known within bounds, the interval reaches from the lowest to the highest that they allow.

    `of` says what is counted. `reason` is why nothing is told, or what the state rests on.
    """

    state: State
    reason: str
    measure: str = ""
    of: str = ""
    before: Counts | None = None
    after: Counts | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None


def spans(onset: int, promotion: tuple[int, int], following: int | None, known: int) -> Spans | Effect:
    """What to compare: as long after the promotion as before it, in whole hours, nothing of the promotion's interval.

    At most LONGEST, and at most as long as from onset to promotion and as until the next version was promoted
    (`following`); of the time after, only what is mature (up to `known`). Where less than LEAST is mature, and less
    than there could be, it is too early.
    """
    end, begin = promotion[0] // HOUR * HOUR, -(-promotion[1] // HOUR) * HOUR
    until = min(begin + LONGEST, following // HOUR * HOUR) if following is not None else begin + LONGEST
    most = min(end - -(-onset // HOUR) * HOUR, until - begin)
    if most < HOUR:
        between = "the onset and the promotion" if end - onset < HOUR else "the promotion and the next one"
        return Effect("not enough evidence", f"no whole hour lies between {between}")
    length = min(most, known // HOUR * HOUR - begin)
    if length < min(most, LEAST):
        wanted = min(most, LEAST) // HOUR
        ripe = max(length, 0) // HOUR
        return Effect("too early to tell", f"{ripe} of the {wanted} hours after the promotion that it takes are there")
    return Spans((end - length, end), (begin, begin + length))


def effect(measure: str, of: str, before: Counts, after: Counts) -> Effect:
    """Before and after as a difference of two ratios; better or worse only where its interval is free of 0."""
    lowest = newcombe(*after.spread(after.good), *before.spread(before.highest))
    highest = newcombe(*after.spread(after.highest), *before.spread(before.good))
    if lowest is None or highest is None:
        side = "before" if not before.total else "after"
        return Effect("not enough evidence", f"nothing was counted {side} the promotion", measure, of, before, after)
    interval = lowest[0], highest[1]
    change = after.good / after.total - before.good / before.total
    if interval[0] <= 0 <= interval[1]:
        return Effect("not enough evidence", "the interval of the difference includes 0", measure, of, before, after,
                      change, interval)  # fmt: skip
    state: State = "better" if change > 0 else "worse"
    return Effect(state, "the interval of the difference is free of 0", measure, of, before, after, change, interval)


# -- the answer


@dataclass(frozen=True, slots=True)
class Followed:
    """An onset with what followed: the training that is told of, how many there were, its promotion, and what then.

    The training is the first one whose version was promoted, else the first. `unknown` says why nothing is known of
    trainings; "" where it is known whether there was one. `effects`: the signal that began it, then for drift how
    well the model answered.
    """

    onset: Onset
    training: Training | None = None
    trainings: int = 0
    promotion: Promotion | None = None
    effects: tuple[Effect, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Retrained:
    """What followed each onset of a model that touches the window, newest first; `sentence` says it of the last one.

    `since` is from when onsets were looked for, `now` up to when what followed was. `sources` tell of trainings, the
    last time up to `told`; empty: no source ever told of one.
    """

    model: str
    since: int
    now: int
    sentence: str
    rows: tuple[Followed, ...] = ()
    sources: tuple[str, ...] = ()
    told: int | None = None


def chosen(
    runs: Sequence[Training], told: Sequence[Told]
) -> tuple[Training | None, Promotion | None]:  # fmt: skip
    """Of the trainings that followed, the one whose version was promoted first, else the first, with its promotion."""
    found = [(one, promotion) for one in runs if (promotion := promoted(one, told)) is not None]
    if not found:
        return (runs[0] if runs else None), None
    return min(found, key=lambda pair: (pair[1].until, pair[0].started))


def without(training: Training | None, unknown: str = "") -> Effect:
    """Why nothing can be said of what followed a promotion, where there is none."""
    if unknown:
        return Effect("not applicable", unknown)
    if training is None:
        return Effect("not applicable", "no training was started")
    still = {"open": "it is still running", "bad": "it failed"}.get(training.outcome, "")
    return Effect("no promotion yet", still or "no promotion is joined to it, by digest or by run id")


def sentence(rows: Iterable[Followed], reported: bool, model: str, days: int, now: int) -> str:
    """What is to be said of the newest onset, in one sentence; of a model without one, that there was none."""
    newest = max(rows, key=lambda row: row.onset.since, default=None)
    if newest is None:
        return f"Neither data drift nor a breach of {model} began in this window or the {days} days before it."
    onset = newest.onset
    since = f"{onset.said} {'at least ' if onset.early else ''}{ago(now - onset.since)} ago"
    if not reported:
        return f"No source tells of trainings of {model}; {since} may have been followed by some."
    if newest.unknown:
        return f"Not known whether a training followed {since}: {newest.unknown}."
    if newest.training is None:
        return f"No training since {since}."
    many = "1 training" if newest.trainings == 1 else f"{newest.trainings} trainings"
    promotion = newest.promotion
    then = f"version {promotion.version or 'not stated'} was promoted" if promotion else _unpromoted(newest)
    return f"{many} since {since}; {then}."


def _unpromoted(row: Followed) -> str:
    return "no promotion is joined to it" if row.trainings == 1 else "no promotion is joined to any of them"


def ago(seconds: int) -> str:
    """A length of time in words: "6 days", "5 hours", "10 minutes"."""
    for size, word in ((DAY, "day"), (HOUR, "hour")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}s"
    return f"{max(seconds, 0) // 60} minutes"
