"""The same question over another window: what every card and cell has moved since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tandem import bins, stepped, wording
from tandem.measure import Answer, Filters, Measures
from tandem.records import Histogram
from tandem.shown import Card, Cell, Compared, Half, Window
from tandem.store.read import step_for

Key = tuple[str, str]
"""Component and signal."""
POINTS = 90
"""Points of a sparkline at most."""
FEW = 24
"""Points that a sparkline may have however little was counted."""


@dataclass(frozen=True)
class Earlier:
    """The answers over the other window, by the same keys."""

    measures: Measures
    answers: Mapping[Key, Answer]

    def cell(self, key: Key, shown: Cell, now: Answer, spark: stepped.Share = ()) -> Cell:
        """A cell with what it was over the other window."""
        return replace(shown, compared=compared(now, self.answers[key], spark))

    def card(self, card: Card, keys: Sequence[Key], spark: stepped.Share) -> Card:
        """A card with what it was over the other window; counts of its components add up."""
        some = [self.answers[key] for key in keys]
        counted = [(answer.good, answer.total) for answer in some if answer.good is not None and answer.total]
        good, total = sum(good for good, _ in counted), sum(total or 0 for _, total in counted)
        now, then = card.cell.value, good / total if total else None
        change = now - then if now is not None and then is not None else None
        text = wording.percent(good, total) if total else ""
        found = Compared(value=then, total=total or None, text=text, change=change, unit="share", spark=spark)
        return replace(card, cell=replace(card.cell, compared=found))


def other(measures: Measures, compare: Window | Half) -> Measures:
    """The other side of what `measures` shows: another window of it, or another version, segment or stage."""
    if isinstance(compare, Window):
        return Measures(measures.reader, measures.config, compare, measures.now, measures.filters)
    filters = Filters(compare.environment, compare.version, compare.segment, compare.stage)
    return Measures(measures.reader, measures.config, compare.window or measures.window, measures.now, filters)


def window_of(window: Window, compare: Window | Half | None) -> Window | None:
    """The window of the other side; None where there is none."""
    return (compare.window or window) if isinstance(compare, Half) else compare


def earlier(measures: Measures, compare: Window | Half | None, answers: Mapping[Key, Answer]) -> Earlier | None:
    """The same questions of another window, version or segment, read from the same load."""
    if compare is None:
        return None
    then = other(measures, compare)
    found = then.answers([answer.asked for answer in answers.values()])
    return Earlier(then, dict(zip(answers, found, strict=True)))


def compared(now: Answer, then: Answer, spark: stepped.Share = ()) -> Compared:
    """What one answer was over the other window, and by how much the number that is shown has moved."""
    before, unit = number(then)
    after, same = number(now)
    change = after - before if after is not None and before is not None and unit == same else None
    share = then.good / then.total if then.good is not None and then.total else None
    return Compared(
        value=share, total=then.total, text=_text(then, before, unit), change=change, unit=unit, spark=spark
    )


def number(answer: Answer) -> tuple[float | None, str]:
    """The number that a cell shows, and its unit: seconds (p95), a share of 1, or a count."""
    if isinstance(answer.value, Histogram) and answer.asked.signal.unit == "s":
        found = bins.quantile(answer.value, 0.95)
        if found is not None:
            return found.value, "s"
    if answer.good is not None and answer.total:
        return answer.good / answer.total, "share"
    return (float(answer.total), "count") if answer.total else (None, "share")


def _text(answer: Answer, value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "s":
        return wording.seconds(value)
    return wording.percent(answer.good or 0, answer.total or 0) if unit == "share" else wording.count(int(value))


def spark_step(window: Window, answers: Sequence[Answer]) -> int:
    """The width of a value of a sparkline: a bucket of its signal at least, and wider where little was counted."""
    counted = sum(answer.total or 0 for answer in answers)
    points = max(FEW, min(POINTS, counted))
    return max(step_for(window.since, window.until, points), *(answer.asked.signal.width for answer in answers))
