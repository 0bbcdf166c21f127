"""Gates: what must hold before a pipeline goes on, as tandem.toml states it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tandem import slo, strict, times
from tandem.objectives import LONGEST, MEASURES
from tandem.records import BUCKET

Stale = Literal["unknown", "breached", "as counted"]
"""What a gate makes of a source that is late: nobody knows, as good as breached, or what was counted before counts."""
Kind = Literal["objective", "joint", "drift"]
"""What a rule of a gate is: an objective, a joint objective of a product, or what a model's data drift by."""


@dataclass(frozen=True)
class Gate:
    """What must hold: `rules` of some components and products, of all where none is named.

    `signal` and `objective` (by name) narrow the objectives. `window` stands in place of the objectives' own, and ends
    now. A rule holds only where its window has at least so many `events` and was seen to this share, `coverage`.
    """

    name: str
    component: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    signal: tuple[str, ...] = ()
    objective: tuple[str, ...] = ()
    rules: tuple[Kind, ...] = ("objective", "joint")
    window: str = ""
    events: int = 0
    coverage: Fraction = Fraction(0)
    stale: Stale = "unknown"

    @property
    def seconds(self) -> int:
        """The length of its window; 0 where each objective has its own."""
        return times.duration(self.window) if self.window else 0


EVERYTHING = Gate("")
"""What holds where no gate is named: every objective over its own window, every promise of a product."""


def check_gates(
    given: Sequence[Gate], signals: Collection[str], products: Sequence[str], known: Callable[[str, str], None]
) -> None:
    """Raise ValueError with one sentence for a gate that says something unknown; `known` refuses components."""
    for number, one in enumerate(given, 1):
        where = strict.place("gate", number, vars(one))
        for component in one.component:
            known(component, where)
        _among(one.product, products, "product", where)
        _among(one.signal, (*signals, *MEASURES), "signal", where)
        if not one.rules:
            raise ValueError(f'{where}: rules must name at least one of "objective", "joint" and "drift".')
        if one.events < 0 or not 0 <= one.coverage <= 1:
            raise ValueError(f"{where}: events must be 0 or more, and coverage must lie between 0 and 1.")
        _check_window(one, where)


def _among(names: Iterable[str], known: Sequence[str], what: str, where: str) -> None:
    for name in names:
        if name not in known:
            found = strict.nearest(name, tuple(known))
            raise ValueError(f"{where} names an unknown {what} {strict.quoted(name)}; {found}.")


def _check_window(one: Gate, where: str) -> None:
    if not one.window:
        return
    try:
        seconds = one.seconds
    except ValueError as refused:
        raise ValueError(f"{where}: window: {refused}") from None
    if not BUCKET <= seconds <= LONGEST:
        raise ValueError(f"{where}: window must be at least 5m, and at most {LONGEST // 86400}d.")


def governed(
    gate: Gate, judged: slo.Verdict, total: int, coverage: float | None, *, stale: bool, what: str = "seen"
) -> slo.Verdict:
    """A verdict as a gate takes it: a late source as it says, and nothing holds on less than it asks for.

    What is breached stays breached, on whatever it rests.
    """
    if judged.state == "breached":
        return judged
    if stale and gate.stale == "breached":
        return slo.Verdict("breached", "stale: a source is late, which this gate takes for a breach", "stale")
    if judged.state == "unknown":
        return judged
    if total < gate.events:
        reason = f"not enough evidence: {total:,} {what}, and this gate asks for {gate.events:,} or more"
        return slo.Verdict("unknown", reason, "not enough evidence")
    seen = Fraction(coverage or 0.0).limit_denominator(10**6)
    if seen < gate.coverage:
        reason = f"not measured: {slo.percent(seen)} of this window was seen, and this gate asks for"
        return slo.Verdict("unknown", f"{reason} {slo.percent(gate.coverage)}", "not measured")
    return judged
