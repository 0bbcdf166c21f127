"""The five delivery metrics of DORA as values, with trend and step of the answer scale; the same five for models.

Formulas: dora.dev, metrics guide and quick check (2026). Percentiles are type 7: linear between order statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tandem import slo
from tandem.linking import Fate
from tandem.records import DAY, HOUR

FEWEST = 3
"""Cases below which a duration has no percentiles beside its median, no trend and no step."""
MONTH = 30 * DAY
DURATIONS = (HOUR, DAY, 7 * DAY, MONTH, 6 * MONTH)
"""Where the steps of the answer scale part, seconds: below the first 6, below the second 5, and so on."""
PER_DAY = (Fraction(24), Fraction(1), Fraction(1, 7), Fraction(1, 30), Fraction(1, 180))
"""Where the steps for frequency part, per day: above the first 6, from the second on 5, and so on."""
QUANTILES = {"p50": Fraction(1, 2), "p75": Fraction(3, 4), "p90": Fraction(9, 10)}

Metric = Literal["lead_time", "frequency", "recovery_time", "fail_rate", "rework_rate"]
METRICS: tuple[Metric, ...] = ("lead_time", "frequency", "recovery_time", "fail_rate", "rework_rate")
NAMES: dict[str, dict[str, str]] = {
    "system": {
        "lead_time": "Change lead time", "frequency": "Deployment frequency",
        "recovery_time": "Failed deployment recovery time", "fail_rate": "Change fail rate",
        "rework_rate": "Deployment rework rate",
    },
    "model": {
        "lead_time": "Change lead time", "frequency": "Promotion frequency",
        "recovery_time": "Failed promotion recovery time", "fail_rate": "Model change fail rate",
        "rework_rate": "Retrain rework rate",
    },
}  # fmt: skip
MEANINGS: dict[str, dict[str, str]] = {
    "system": {
        "lead_time": "From commit to running in production, of each deployment but rollbacks. Where only the first "
                     "build or the release of the commit is known, it began before, and the time is at least that.",
        "frequency": "Deployments that ran in production, rollbacks among them, divided by the days of the window; "
                     "and the days with at least one.",
        "recovery_time": "From a failed deployment's running until its incidents ended or, without one, until the "
                         "rollback or hotfix ran. Of incidents that no change caused it says nothing.",
        "fail_rate": "Distinct deployments that were rolled back, hotfixed or linked to an incident, divided by all; "
                     "each counts once, however many incidents it caused.",
        "rework_rate": "Unplanned deployments made because of an incident (rollbacks, hotfixes, fixes that an "
                       "incident names), divided by all.",
    },
    "model": {
        "lead_time": "From the data cut, or where that is unknown the start of training, to serving most of the "
                     "traffic.",
        "frequency": "Promotions: versions that took the traffic, rollbacks among them, divided by the days of the "
                     "window; and the days with at least one.",
        "recovery_time": "From a failed promotion until its incidents ended or, without one, until another version "
                         "took over.",
        "fail_rate": "Distinct promotions that were rolled back, linked to an incident, or whose own predictions "
                     "missed a target in their first {days} days, divided by all.",
        "rework_rate": "Promotions that were not planned: rollbacks, and versions that replaced a failed one, "
                       "divided by all.",
    },
}  # fmt: skip
"""What each metric means; {days} stands for those for which a promotion answers for its targets."""
FORMULAS: dict[str, str] = {
    "lead_time": "running in production − its beginning, of each", "frequency": "deployments ÷ days",
    "recovery_time": "recovered − running in production, of each failed one", "fail_rate": "distinct failed ÷ all",
    "rework_rate": "made because of an incident ÷ all",
}  # fmt: skip
READING = {"system": "DORA", "model": "Tandem's reading for models, not DORA's"}


@dataclass(frozen=True, slots=True)
class Trend:
    """Against the window before: `sign` of the difference, a neutral word, and whether it is more than chance.

    `sign` None: one of the two has too few cases. `clear` None: chance is not judged (counts, durations).
    """

    sign: int | None
    word: str
    clear: bool | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """A list of durations in seconds: `n` known ones `of` all that could have one; `open` have not ended yet."""

    n: int
    of: int
    p50: float | None
    p75: float | None
    p90: float | None
    open: int = 0
    known_by: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Frequency:
    """Deployments per day, and on how many of the window's days there was one."""

    n: int
    days: Fraction
    days_with: int
    days_of: int

    @property
    def value(self) -> Fraction | None:
        """Per day; None for an empty window."""
        return Fraction(self.n) / self.days if self.days else None


@dataclass(frozen=True, slots=True)
class Rate:
    """Some of all deployments of the window; None where there was none."""

    k: int
    n: int

    @property
    def value(self) -> Fraction | None:
        """The share; None for n = 0."""
        return Fraction(self.k, self.n) if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's interval, 95 %."""
        return slo.wilson(self.k, self.n)


@dataclass(frozen=True, slots=True)
class Five:
    """The five metrics of some changes over one window, and how many attempts never ran."""

    lead_time: Times
    frequency: Frequency
    recovery_time: Times
    fail_rate: Rate
    rework_rate: Rate
    unfinished: int = 0
    never_ran: int = 0


def quantile(values: Sequence[int], q: Fraction) -> float | None:
    """The quantile of exact values, linear between order statistics (type 7); None for none."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * q
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def durations(values: Sequence[int], of: int, still: int = 0, known_by: tuple[tuple[str, int], ...] = ()) -> Times:
    """Median, p75 and p90 of durations; never the mean."""
    found = {name: quantile(values, q) for name, q in QUANTILES.items()}
    return Times(len(values), of, found["p50"], found["p75"], found["p90"], still, known_by)


def five(fates: Sequence[Fate], since: int, until: int) -> Five:
    """The five metrics of the changes that ran in [since, until); each failed one counts once, whatever it caused."""
    mine = [one for one in fates if since <= one.change.running < until]
    ran = [one for one in mine if one.reached]
    could = [one for one in ran if not one.undoes and one.change.kind != "rollback"]
    leads = [one for one in could if one.lead is not None]
    ways = [one.lead_from for one in leads]
    failed = [one for one in ran if one.failed]
    back = [one.recovery for one in failed if one.recovery is not None]
    return Five(
        lead_time=durations([one.lead for one in leads if one.lead is not None], len(could),
                            known_by=tuple((way, ways.count(way)) for way in dict.fromkeys(sorted(ways)))),
        frequency=Frequency(len(ran), Fraction(until - since, DAY), len({one.change.running // DAY for one in ran}),
                            max(0, -(-until // DAY) - since // DAY)),
        recovery_time=durations(back, len(failed), len(failed) - len(back)),
        fail_rate=Rate(len(failed), len(ran)), rework_rate=Rate(sum(bool(one.rework) for one in ran), len(ran)),
        unfinished=sum(one.change.outcome == "open" for one in mine),
        never_ran=sum(one.change.outcome == "bad" and not one.reached for one in mine),
    )  # fmt: skip


def step_of_duration(seconds: float | None) -> int | None:
    """The step of the answer scale, 1 (worst) to 6 (best), of a lead or recovery time."""
    if seconds is None:
        return None
    if seconds == DURATIONS[-1]:
        return 2  # step 1 begins beyond six months
    return 6 - sum(seconds >= edge for edge in DURATIONS)


def step_of_frequency(per_day: Fraction | None) -> int | None:
    """The step of the answer scale of a frequency; None where nothing happened: then the window is too short to say."""
    if not per_day:
        return None
    if per_day > PER_DAY[0]:
        return 6
    return 1 + sum(per_day >= edge for edge in PER_DAY[1:])


def step(metric: Metric, found: Five) -> int | None:
    """The step of the answer scale of a metric; rates have none, nor has a median of fewer than FEWEST cases."""
    if metric == "frequency":
        return step_of_frequency(found.frequency.value)
    times = {"lead_time": found.lead_time, "recovery_time": found.recovery_time}.get(metric)
    return step_of_duration(times.p50) if times is not None and times.n >= FEWEST else None


def trend(metric: Metric, now: Five, before: Five) -> Trend:
    """What moved since the window before, in words that do not judge."""
    if metric == "frequency":
        return _of_frequency(now.frequency, before.frequency)
    if metric in ("fail_rate", "rework_rate"):
        return _of_rates(getattr(now, metric), getattr(before, metric))
    mine, theirs = getattr(now, metric), getattr(before, metric)
    if mine.n < FEWEST or theirs.n < FEWEST:
        return Trend(None, _few(mine.n, theirs.n))
    return _compared(Fraction(mine.p50), Fraction(theirs.p50), ("shorter", "longer"))


def _of_frequency(now: Frequency, before: Frequency) -> Trend:
    if now.value is None or before.value is None or not (now.n or before.n):
        return Trend(None, "nothing to compare")
    return _compared(now.value, before.value, ("less often", "more often"))


def _of_rates(now: Rate, before: Rate) -> Trend:
    if now.value is None or before.value is None:
        return Trend(None, "nothing to compare")
    moved = _compared(now.value, before.value, ("lower", "higher"))
    between = slo.newcombe(now.k, now.n, before.k, before.n)
    clear = between is not None and (between[0] > 0 or between[1] < 0)
    return Trend(moved.sign, moved.word, clear) if moved.sign else moved


def _compared(now: Fraction, before: Fraction, words: tuple[str, str]) -> Trend:
    if now == before:
        return Trend(0, "unchanged")
    return Trend(1, words[1]) if now > before else Trend(-1, words[0])


def _few(now: int, before: int) -> str:
    if not now and not before:
        return "nothing to compare"
    return "too few to compare"


def pieces(
    fates: Sequence[Fate], since: int, until: int, width: int
) -> dict[Metric, tuple[float | None, ...]]:  # fmt: skip
    """What each metric was in each piece of `width` seconds of the window, the last piece ending with it."""
    starts = range(since, until, width)
    inside: list[list[Fate]] = [[] for _ in starts]
    for one in fates:
        if since <= one.change.running < until:
            inside[(one.change.running - since) // width].append(one)
    found = [five(some, start, min(start + width, until)) for start, some in zip(starts, inside, strict=True)]
    return {metric: tuple(per_piece(metric)(one) for one in found) for metric in METRICS}


def per_piece(metric: Metric) -> Callable[[Five], float | None]:
    """What a bar of a metric shows: the median, the number of deployments, or the share."""
    if metric == "frequency":
        return lambda found: float(found.frequency.n)
    if metric in ("fail_rate", "rework_rate"):

        def share(found: Five) -> float | None:
            value = getattr(found, metric).value
            return None if value is None else float(value)

        return share
    return lambda found: getattr(found, metric).p50
