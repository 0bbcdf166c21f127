"""How an objective stood hour by hour, as it would have been judged then with all that is known now."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from tandem import slo
from tandem.intervals import Span, union
from tandem.records import DAY, HOUR
from tandem.slo import Rule, Totals


class Tally:
    """Good and total of every stretch, from those of steps of one width by the beginning of the step."""

    def __init__(self, counts: Mapping[int, Totals], width: int) -> None:
        self.width = width
        self.starts = sorted(start for start, (_, total) in counts.items() if total)
        self._good = [0, *accumulate(counts[start][0] for start in self.starts)]
        self._total = [0, *accumulate(counts[start][1] for start in self.starts)]

    def over(self, since: int, until: int) -> Totals:
        """Good and total of the whole steps inside [since, until)."""
        low, high = bisect_left(self.starts, since), bisect_right(self.starts, until - self.width)
        if high <= low:
            return 0, 0
        return self._good[high] - self._good[low], self._total[high] - self._total[low]


@dataclass(frozen=True)
class Promise:
    """What an objective is judged by: its target, its rules, and the bad events that a page needs.

    `looks` gives the beginning and length of its window that ends at a moment, and the events that are expected in it.
    """

    target: Fraction
    rules: tuple[Rule, ...]
    evidence: int
    base: Fraction
    looks: Callable[[int], tuple[int, int, int | None]]


def possible(promise: Promise, coarse: Tally, ends: Sequence[int]) -> dict[int, bool | None]:
    """Whether an objective stood breached at each end: True and False are certain, None needs the short windows.

    A short window that is no other rule's long one is taken for wholly bad, so False stays False whatever it holds. An
    end before which nothing was counted is left out.
    """
    found: dict[int, bool | None] = {}
    for end in ends:
        since, length, expected = promise.looks(end)
        good, total = coarse.over(since, end)
        if not total:
            continue
        spent, budget = slo.spent_of(good, total, promise.target, expected)
        if spent > budget:
            found[end] = True
            continue
        burns = dict.fromkeys((rule.short for rule in promise.rules), (0, 1))
        burns |= {rule.long: coarse.over(end - rule.long, end) for rule in promise.rules}
        found[end] = None if _breached(promise, good, total, burns, length, expected) else False
    return found


def settled(promise: Promise, coarse: Tally, fine: Tally, ends: Sequence[int]) -> dict[int, bool]:
    """Whether an objective stood breached at each end, with the short windows of its rules from `fine`."""
    found = {}
    for end in ends:
        since, length, expected = promise.looks(end)
        burns = {rule.short: fine.over(end - rule.short, end) for rule in promise.rules}
        burns |= {rule.long: coarse.over(end - rule.long, end) for rule in promise.rules}
        found[end] = _breached(promise, *coarse.over(since, end), burns, length, expected)
    return found


def _breached(
    promise: Promise, good: int, total: int, burns: Mapping[int, Totals], length: int, expected: int | None
) -> bool:
    verdict = slo.judge(promise.target, good, total, burns, window=length, coverage=1.0, evidence=promise.evidence,
                        rules=promise.rules, base=promise.base, expected=expected)  # fmt: skip
    return verdict.state == "breached"


def around(promise: Promise, ends: Sequence[int]) -> list[Span]:
    """The stretches that the short windows before some ends lie in; those that are near one another are one."""
    wide = max((rule.short for rule in promise.rules), default=HOUR)
    joined = union((end - wide, end + DAY) for end in ends)
    return [(since, until - DAY) for since, until in joined]
