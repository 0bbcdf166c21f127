"""Why a number is what it is: its meaning, its formula with the actual counts, over what, by whom, and what prints it.

Paths are written for `jq`, so that `LINE | jq PATH` prints the number and nothing else.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tandem import delivery, slo, times, wording
from tandem.bins import Quantile
from tandem.catalog import Signal
from tandem.joint import Joint
from tandem.shown import Cell, FeatureDrift, Objective, Unreadable, Window

BURN = "burn:"
"""What begins the name of a burn rate; the look-back follows: burn:1h."""
QUANTILES = ("p50", "p95", "p99")
SPOKEN: Mapping[str, str] = {
    "value": "share of good",
    "good": "good",
    "total": "total",
    "coverage": "coverage",
    "target": "target",
    "actual": "share of good over its own window",
    "budget_left": "error budget left",
    "events_left": "events left",
}
MEANINGS: Mapping[str, str] = {
    "good": "How many were good.",
    "total": "How many were counted, good and bad.",
    "coverage": "Share of the window that a source vouches for having seen; what was not seen is neither good nor bad.",
    "target": "The share of good to reach over the objective's own window.",
    "budget_left": "Share of the error budget that is left; negative when it is overspent.",
    "events_left": "Bad events that the budget still allows; negative when it is overspent.",
    "burn": "How many times faster than allowed the budget is spent; at 1 it is just gone at the end of its window.",
    "p50": "Half of all lay at or below this.",
    "p95": "95 of 100 lay at or below this.",
    "p99": "99 of 100 lay at or below this.",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer was asked for; `config` is the configuration that the command line must be told, "" for none."""

    window: Window
    as_of: int
    environment: str = "production"
    version: str = ""
    segment: str = ""
    stage: str = "production"
    config: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """What another source counted of the same; `difference` is its share less the one that counts."""

    source: str
    good: int | None
    total: int | None
    value: float | None
    difference: float | None


@dataclass(frozen=True, slots=True)
class Facts:
    """A cell with what stands behind it: good and total of each look-back, percentiles, witnesses, newest data."""

    cell: Cell
    signal: Signal
    looks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    quantiles: Mapping[str, Quantile | None] = field(default_factory=dict)
    witnesses: Sequence[Witness] = ()
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """One number; `value` is exact, in `unit`. `line` prints the answer it stands in, `path` is where (for jq).

    `over` is the window of the number in words, which is not always the window of the page.
    """

    name: str
    value: float | None
    unit: str
    meaning: str
    formula: str
    counts: str
    over: str
    filters: Mapping[str, str]
    source: str
    witnesses: Sequence[Witness]
    newest: int | None
    coverage: float | None
    state: str
    reason: str
    line: str
    path: str


# -- the line


def line(command: str, component: str, question: Question) -> str:
    """The command that prints the answer: absolute ends, the load, and every filter that is not the default."""
    window = question.window
    words = ["tandem", command, *([component] if component else [])]
    words += ["--from", times.text(window.since), "--to", times.text(window.until), "--as-of", str(question.as_of)]
    for name, default in {"environment": "production", "version": "", "segment": "", "stage": "production"}.items():
        value = str(getattr(question, name))
        words += [f"--{name}", value] if value != default else []
    words += ["--config", question.config] if question.config else []
    return shlex.join([*words, "--json"])


def filters(question: Question) -> dict[str, str]:
    """What the question was narrowed to."""
    named = {"environment": question.environment, "version": question.version, "segment": question.segment}
    named["stage"] = question.stage
    return {name: value for name, value in named.items() if value}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _page(question: Question) -> str:
    since, until = times.text(question.window.since), times.text(question.window.until)
    return f"{since} to {until}, as of load {question.as_of}"


# -- a number of a cell


def of_cell(facts: Facts, number: str, question: Question) -> Explained:
    """One number of a cell; raises Unreadable where the cell has no such number."""
    cell, objective = facts.cell, facts.cell.objective
    if number in QUANTILES:
        value, formula, counts = _quantile(facts, number)
    elif number in ("value", "good", "total", "coverage"):
        value, formula, counts = _counted(cell, number)
    elif objective is not None:
        value, formula, counts = _aimed(objective, facts.looks, number)
    else:
        raise _unknown(number)
    return Explained(
        name=f"{cell.component} {cell.title}, {_spoken(cell, number)}", value=value, unit=_unit(cell, number),
        meaning=_meaning(facts.signal, number), formula=formula, counts=counts, over=_over(objective, number, question),
        filters=filters(question), source=cell.source, witnesses=tuple(facts.witnesses), newest=facts.newest,
        coverage=cell.coverage, state=cell.state if objective else "", reason=cell.reason if objective else "",
        line=line("show", cell.component, question), path=_path(cell, number),
    )  # fmt: skip


def _unknown(number: str) -> Unreadable:
    return Unreadable(f"there is no number {number[:40]!r} here.")


def _spoken(cell: Cell, number: str) -> str:
    if number == "value" and cell.measure not in ("", "share", "count") and cell.measure not in QUANTILES:
        return cell.measure
    if number.startswith(BURN):
        return f"burn rate over {number.removeprefix(BURN)}"
    return SPOKEN.get(number, number)


def _unit(cell: Cell, number: str) -> str:
    if number in QUANTILES:
        return cell.unit
    if number.startswith(BURN):
        return "x"
    return "events" if number in ("good", "total", "events_left") else "share"


def _meaning(signal: Signal, number: str) -> str:
    if number in ("value", "actual"):
        return signal.meaning
    own = MEANINGS.get("burn" if number.startswith(BURN) else number, "")
    return f"{own} {signal.meaning}"


def _over(objective: Objective | None, number: str, question: Question) -> str:
    if objective is None or number in QUANTILES or number in ("value", "good", "total", "coverage"):
        return _page(question)
    until = f"ends {times.text(question.window.until)}, as of load {question.as_of}"
    if number.startswith(BURN):
        if objective.burn_until:
            until = f"ends {times.text(objective.burn_until)}, as of load {question.as_of}"
        return f"the last {number.removeprefix(BURN)}; {until}"
    return f"the objective's own window, {objective.window}; {until}"


def _counted(cell: Cell, number: str) -> tuple[float | None, str, str]:
    if number == "value":
        return cell.value, "good ÷ total", _over_counts(cell.good, cell.total)
    if number == "coverage":
        return cell.coverage, "time that was seen ÷ time in the window", ""
    value = cell.good if number == "good" else cell.total
    return value, number, "" if value is None else wording.count(value)


def _over_counts(good: int | None, total: int | None) -> str:
    if good is None or not total:
        return "nothing was counted"
    return f"{wording.count(good)} ÷ {wording.count(total)}"


def _quantile(facts: Facts, number: str) -> tuple[float | None, str, str]:
    found = facts.quantiles.get(number)
    formula = f"the first bin whose cumulative count reaches 0.{number[1:]} × N, linear inside it"
    if found is None:
        return None, formula, "nothing was counted"
    between = f"between {found.low:g} and {found.high:g} {facts.cell.unit}".strip()
    return found.value, formula, f"N = {wording.count(facts.cell.total or 0)}; the bin lies {between}"


def _aimed(objective: Objective, looks: Mapping[str, tuple[int, int]], number: str) -> tuple[float | None, str, str]:
    target = f"{objective.target:.10g}"
    bad, total = wording.count(objective.total - objective.good), wording.count(objective.expected or objective.total)
    of = "total" if objective.expected is None else "expected"
    if number == "target":
        return objective.target, "as configured", ""
    if number == "actual":
        value = objective.good / objective.total if objective.total else None
        return value, "good ÷ total", _over_counts(objective.good, objective.total)
    if number == "budget_left":
        counts = f"1 − ({bad} ÷ {total}) ÷ (1 − {target})" if objective.total else "nothing was counted"
        return objective.budget_left, f"1 − (bad ÷ {of}) ÷ (1 − target)", counts
    if number == "events_left":
        return objective.events_left, f"(1 − target) × {of} − bad", f"(1 − {target}) × {total} − {bad}"
    name = number.removeprefix(BURN)
    if not number.startswith(BURN) or name not in objective.burn:
        raise _unknown(number)
    good, seen = looks.get(name, (0, 0))
    counts = f"{wording.count(seen - good)} ÷ {wording.count(seen)}"
    if objective.base:
        base = f"{objective.base:.10g}"
        formula, counts = "(bad ÷ total − base) ÷ (1 − target − base)", f"({counts} − {base}) ÷ (1 − {target} − {base})"
    else:
        formula, counts = "(bad ÷ total) ÷ (1 − target)", f"({counts}) ÷ (1 − {target})"
    return objective.burn[name], f"{formula}, of the look-back", counts if seen else "nothing happened"


def _path(cell: Cell, number: str) -> str:
    return f"{_selected(cell)} | {_key(number)}"


def _selected(cell: Cell) -> str:
    named = f" and .objective.name == {_quoted(cell.objective.name)}" if cell.objective else ""
    return f".signals[] | select(.signal == {_quoted(cell.signal)}{named})"


def _key(number: str) -> str:
    if number in QUANTILES:
        return f".quantiles.{number}"
    if number.startswith(BURN):
        return f".objective.burn[{_quoted(number.removeprefix(BURN))}]"
    if number == "actual":
        return ".objective | .good / .total"
    return f".objective.{number}" if number in ("target", "budget_left", "events_left") else f".{number}"


# -- a number of many components


def of_card(cells: Sequence[Cell], signal: Signal, narrowed: Mapping[str, str], question: Question) -> Explained:
    """The share of good of one signal over all components of a card; `narrowed`: product or component it is of.

    Raises Unreadable where no component has the signal.
    """
    counted = [cell for cell in cells if cell.good is not None and cell.total]
    if not cells:
        raise _unknown("value")
    good, total = sum(cell.good or 0 for cell in counted), sum(cell.total or 0 for cell in counted)
    many = f"{len(counted)} component{'' if len(counted) == 1 else 's'}"
    return Explained(
        name=f"{signal.title}, share of good of {many}", value=good / total if total else None, unit="share",
        meaning=f"{signal.meaning} Counts of all components are added before they are divided.",
        formula="sum of good ÷ sum of total", counts=_over_counts(good, total), over=_page(question),
        filters={**{name: value for name, value in narrowed.items() if value}, **filters(question)},
        source=", ".join(sorted({cell.source for cell in counted if cell.source})), witnesses=(), newest=None,
        coverage=None, state="", reason="", line=line("show", "", question), path=_summed(cells, narrowed),
    )  # fmt: skip


def _summed(cells: Sequence[Cell], narrowed: Mapping[str, str]) -> str:
    signals = " or ".join(f".signal == {_quoted(name)}" for name in sorted({cell.signal for cell in cells}))
    chosen = "".join(f" | select(.{name} == {_quoted(value)})" for name, value in narrowed.items() if value)
    first = f".signals | map(select({signals})) | unique_by(.signal)[] | select(.good != null)"
    return f"[.[]{chosen} | {first}] | (map(.good) | add) / (map(.total) | add)"


# -- numbers that stand elsewhere in an answer


def of_key(
    name: str, value: float | None, unit: str, meaning: str, formula: str, counts: str, question: Question, *,
    command: str, component: str, path: str, source: str = "",
) -> Explained:  # fmt: skip
    """A number under a key of an answer of its own: quality, drift, delivery."""
    return Explained(
        name=name, value=value, unit=unit, meaning=meaning, formula=formula, counts=counts, over=_page(question),
        filters=filters(question), source=source, witnesses=(), newest=None, coverage=None, state="", reason="",
        line=line(command, component, question), path=path,
    )  # fmt: skip


JOINT: Mapping[str, tuple[str, str, str]] = {
    "target": ("The share to be answered, in time and right.", "as configured, or the parts' multiplied", "share"),
    "failure": ("The share that failed in any part, if they fail independently.", "1 − (1 − e₁)(1 − e₂)…", "share"),
    "budget_left": ("Share of the budget that both halves have left.", "1 − failure ÷ (1 − target)", "share"),
    "service_spent": ("The part of it that the service spent.", "its parts' share of all failures", "share"),
    "model_spent": ("The part of it that the model spent.", "its parts' share of all failures", "share"),
}  # fmt: skip


def of_joint(one: Joint, number: str, component: str, question: Question) -> Explained:
    """A number of the budget that a service and its model share; raises Unreadable for an unknown one."""
    if number not in JOINT:
        raise _unknown(number)
    meaning, formula, unit = JOINT[number]
    parts = [
        f"{part.says}: {wording.count(part.total - part.good)} of {wording.count(part.total)} failed"
        for part in one.parts
    ]
    path = f".joint[] | select(.service == {_quoted(one.service)} and .model == {_quoted(one.model)}) | .{number}"
    found = of_key(f"{one.product} {number.replace('_', ' ')}", getattr(one, number), unit, meaning, formula,
                   "; ".join(parts), question, command="show", component=component, path=path)  # fmt: skip
    return replace(found, state=one.state, reason=one.reason, over=f"{one.window}; ends with {_page(question)}")


DRIFT: Mapping[str, tuple[str, str]] = {
    "effect": (
        "The measure that decides: Jensen-Shannon for categories, normed Wasserstein for numbers.",
        "by its type",
    ),
    "psi": ("Population stability index.", "Σ (current − reference) × ln(current ÷ reference)"),
    "noise_floor": ("What the effect reaches in 95 of 100 cases where nothing changed.", "from the rows of both sides"),
    "n_current": ("Rows of this window.", "rows with a value"),
    "n_reference": ("Rows of the reference.", "rows with a value"),
}


def of_drift(row: FeatureDrift, number: str, component: str, question: Question) -> Explained:
    """A number of one row of drift; raises Unreadable for an unknown one."""
    if number not in DRIFT:
        raise _unknown(number)
    meaning, formula = DRIFT[number]
    counts = f"{wording.count(row.n_current)} rows against {wording.count(row.n_reference)} of the reference"
    found = of_key(
        f"{row.feature}, {row.drift}: {number.replace('_', ' ')}", getattr(row, number),
        "events" if number.startswith("n_") else "", meaning, formula, counts, question, command="drift",
        component=component, path=f".features[] | select(.feature == {_quoted(row.feature)}) | .{number}",
    )  # fmt: skip
    return replace(found, reason=row.reason or row.verdict)


def of_delivery(found: Mapping[str, Any], metric: str, number: str, component: str, question: Question) -> Explained:
    """A number of one delivery metric; raises Unreadable for an unknown one."""
    told = found["metrics"].get(metric)
    if told is None or number not in told or not (told[number] is None or isinstance(told[number], int | float)):
        raise _unknown(f"{metric} {number}")
    side = "system" if found["reading"] == "DORA" else "model"
    meaning = delivery.MEANINGS[side][metric].replace("{days} ", "")
    middle = {"p50": "median of ", "p75": "p75 of ", "p90": "p90 of "}.get(number, "")
    return of_key(
        f"{component} {told['name']}, {number}", told[number], "s" if told["unit"] == "s" else "",
        meaning if side == "system" else f"{meaning} {found['reading']}.", middle + delivery.FORMULAS[metric],
        _delivered(told), question,
        command="show", component=component, path=f".delivery.metrics.{metric}.{number}",
    )  # fmt: skip


def _delivered(told: Mapping[str, Any]) -> str:
    """What a delivery metric rests on."""
    if told["unit"] == "s":
        return f"{told['n']} of {told['of']}"
    return f"{told['n']} in {told['days']:g} days" if told["unit"] == "per day" else f"{told['k']} of {told['n']}"


QUALITY: Mapping[str, tuple[str, str]] = {
    "accuracy": ("Share of labelled predictions that were right.", "right ÷ labelled"),
    "precision": ("Of what was predicted positive, the share that was.", "TP ÷ (TP + FP)"),
    "recall": ("Of what was positive, the share that was predicted so.", "TP ÷ (TP + FN)"),
    "f1": ("The harmonic mean of precision and recall.", "2 TP ÷ (2 TP + FP + FN)"),
    "roc_auc": (
        "How often a positive scores above a negative; exact within the bound, because ties inside a bin are open.",
        "(pairs in the right order + ½ ties) ÷ (P × N)",
    ),
    "mae": ("Mean absolute error, in the unit of the target.", "Σ |predicted − true| ÷ n"),
    "rmse": ("Root of the mean squared error, in the unit of the target.", "√(Σ (predicted − true)² ÷ n)"),
    "bias": ("Mean error, in the unit of the target; above 0 is predicted too high.", "Σ (predicted − true) ÷ n"),
    "r2": ("Share of the variance of the truth that is explained.", "1 − Σ error² ÷ Σ (true − mean)²"),
    "balanced_accuracy": ("The mean of the recalls of all classes.", "(TPR + TNR) ÷ 2, or the mean recall"),
    "fpr": ("Of what was not positive, the share that was predicted so.", "FP ÷ (FP + TN)"),
    "fnr": ("Of what was positive, the share that was missed.", "FN ÷ (FN + TP)"),
    "mcc": (
        "Correlation of prediction and truth, -1 to 1 (Matthews; for several classes Gorodkin).",
        "(TP·TN − FP·FN) ÷ √((TP + FP)(TP + FN)(TN + FP)(TN + FN))",
    ),
    "brier": ("Mean squared distance of the score from the outcome; 0 is best.", "Σ (score − outcome)² ÷ n"),
    "log_loss": ("Mean surprise at the truth, in nats; 0 is best.", "Σ −ln(score of the truth) ÷ n"),
    "ece": (
        "How far scores lie from what was observed, over the score's bins; few labels alone make some.",
        "Σ |sum of scores − positives| ÷ n",
    ),
    "mape": (
        "Mean absolute error as a share of the true value; true values of 0 are left out and counted.",
        "Σ |(predicted − true) ÷ true| ÷ n",
    ),
    "label_coverage": ("Share of predictions whose label has arrived.", "labels ÷ predictions"),
    "labels": ("Predictions whose label has arrived.", "labels"),
    "predictions": ("Predictions that were made.", "predictions"),
}


def of_quality(
    quality: Mapping[str, object], cells: Mapping[tuple[str, str], int], positive: str, measure: str, component: str,
    question: Question,
) -> Explained:  # fmt: skip
    """A measure of a model; `cells` is its confusion by (actual, predicted). Raises Unreadable for an unknown one."""
    if measure not in quality or measure not in QUALITY:
        raise _unknown(measure)
    meaning, formula = QUALITY[measure]
    averaging = quality.get("averaging")
    if averaging and measure in ("precision", "recall", "f1"):
        meaning, formula = f"{meaning} Taken of each class, then averaged ({averaging}).", f"{averaging} average"
    given = quality[measure]
    bound = given.get("bound") if isinstance(given, Mapping) else None
    value = given.get("value") if isinstance(given, Mapping) else given
    counts = "" if averaging and measure != "accuracy" else _confused(cells, positive, measure)
    if measure == "label_coverage":
        counts = f"{quality.get('labels')} ÷ {quality.get('predictions')}"
    if bound:
        counts = f"± {bound:.3g}, what the ties inside bins leave open"
    unit = "events" if measure in ("labels", "predictions") else ""
    shares = ("accuracy", "precision", "recall", "f1", "label_coverage", "balanced_accuracy", "fpr", "fnr", "mape")
    return of_key(
        f"{component} {measure.replace('_', ' ')}", value if isinstance(value, int | float) else None,
        "share" if measure in shares else unit, meaning, formula, counts, question, command="show", component=component,
        path=f".quality.{measure}{'.value' if isinstance(given, Mapping) else ''}",
    )  # fmt: skip


def _confused(cells: Mapping[tuple[str, str], int], positive: str, measure: str) -> str:
    right = sum(n for (actual, predicted), n in cells.items() if actual == predicted)
    hit = cells.get((positive, positive), 0)
    false = sum(n for (actual, predicted), n in cells.items() if predicted == positive != actual)
    missed = sum(n for (actual, predicted), n in cells.items() if actual == positive != predicted)
    tp, fp, fn = wording.count(hit), wording.count(false), wording.count(missed)
    return {
        "accuracy": f"{wording.count(right)} ÷ {wording.count(sum(cells.values()))}",
        "precision": f"{tp} ÷ ({tp} + {fp}), positive is {positive}",
        "recall": f"{tp} ÷ ({tp} + {fn}), positive is {positive}",
        "f1": f"2 × {tp} ÷ (2 × {tp} + {fp} + {fn}), positive is {positive}",
    }.get(measure, "")


def looks_of(burns: Mapping[int, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Good and total of each look-back, by its name on screens."""
    return {slo.look_back(seconds): counts for seconds, counts in burns.items()}
