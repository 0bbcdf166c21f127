"""What one answer looks like wherever it is shown, and one card over the answers of many components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tandem import bins, standing, wording
from tandem.measure import Answer, Asked, Measures, verdict
from tandem.records import Histogram
from tandem.shown import STATES, Card, Cell, State
from tandem.stepped import Share


def cell(measures: Measures, answer: Answer, spark: tuple[float | None, ...] = ()) -> Cell:
    """What is said of one answer in one place: its share with unit and denominator, its state and its budget."""
    asked, signal = answer.asked, answer.asked.signal
    judged = verdict(answer)
    value = answer.good / answer.total if answer.good is not None and answer.total else None
    text, measure = _text(answer, value)
    return Cell(
        component=asked.component, signal=signal.name, title=signal.title, side=signal.side, state=judged.state,
        reason=judged.reason, value=value, text=text, measure=measure, of=_of(asked, answer), unit=signal.unit,
        good=answer.good, total=answer.total, coverage=answer.coverage, source=measures.source_name(answer.source),
        objective=standing.objective(answer), spark=spark, why=judged.why, corrected=answer.left_out,
        bound=answer.bound,
        spark_target=float(asked.target) if asked.target is not None else None,
        version=measures.newest_version(asked.component) if signal.side == "model" else "",
    )  # fmt: skip


def _text(answer: Answer, value: float | None) -> tuple[str, str]:
    signal = answer.asked.signal
    if isinstance(answer.value, Histogram) and signal.unit == "s":
        found = bins.quantile(answer.value, 0.95)
        if found is not None:
            return ("≥ " if found.open_above else "") + wording.seconds(found.value), "p95"
    if value is not None and answer.total:
        return wording.percent(answer.good or 0, answer.total), answer.asked.measure or _measure(answer)
    if answer.total:
        return wording.count(answer.total), "count"
    return "", ""


def _measure(answer: Answer) -> str:
    return {"accuracy": "accuracy", "within": "within tolerance"}.get(answer.asked.signal.good, "share")


def _of(asked: Asked, answer: Answer) -> str:
    number = wording.count(answer.total) if answer.total else "no"
    words = asked.signal.of.replace("{threshold}", _threshold(asked))
    return f"of {number} {words}" if answer.total else f"{number} {words.split(' ')[0]}"


def _threshold(asked: Asked) -> str:
    if asked.threshold is None:
        return "their bound"
    return wording.seconds(float(asked.threshold)) if asked.signal.unit == "s" else f"{float(asked.threshold):g}"


def card(answers: Sequence[Answer], cells: Sequence[Cell], spark: Share) -> Card:
    """One signal over all its components: counts add up; state and budget are the worst one's."""
    first = min(cells, key=badness)
    counted = [cell for cell in cells if cell.good is not None and cell.total]
    good, total = sum(cell.good or 0 for cell in counted), sum(cell.total or 0 for cell in counted)
    thresholds = {answer.asked.threshold for answer in answers}
    signal = answers[0].asked.signal
    words = signal.of.replace("{threshold}", _threshold(answers[0].asked) if len(thresholds) == 1 else "their bound")
    told = Cell(
        component=first.component, signal=first.signal, title=signal.title if signal.name != "error" else "Accuracy",
        side=first.side, state=first.state, reason=first.reason, value=good / total if total else None,
        text=wording.percent(good, total) if total else "", measure="share",
        of=f"of {wording.count(total)} {words}" if total else f"no {words.split(' ')[0]}",
        unit=first.unit, good=good if counted else None, total=total if counted else None, coverage=first.coverage,
        source=first.source, objective=first.objective, spark=spark, spark_target=first.spark_target,
    )  # fmt: skip
    return Card(
        told, len(cells), sum(one.state in ("breached", "at risk") and one.objective is not None for one in cells)
    )


def badness(cell: Cell) -> tuple[int, float]:
    """Orders cells from the worst state and the least budget left."""
    left = cell.objective.budget_left if cell.objective else None
    return (STATES.index(cell.state) if cell.objective else len(STATES), left if left is not None else 1.0)


def judged(cells: Iterable[Cell]) -> list[State]:
    """The states of those that have an objective."""
    return [one.state for one in cells if one.objective is not None]
