"""The answer of `tandem check`: every objective with its state, worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import orjson

from tandem import standing, times
from tandem.measure import Answer, Measures, verdict
from tandem.shown import STATES, Objective, State, Unreadable, Window, worst


@dataclass(frozen=True, slots=True)
class Checked:
    """One objective; `window` is its own ("28d") or the one asked for ("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z").

    `good` and `total` are those of the window, `value` their share, `burn` the burn rate by the name of its look-back:
    None where nothing happened, or where a window was asked for. The rest is as on a page: see shown.Objective.
    """

    component: str
    name: str
    signal: str
    target: float
    window: str
    good: int
    total: int
    value: float | None
    budget_left: float | None
    burn: Mapping[str, float | None]
    state: State
    reason: str
    why: str = ""
    events_left: float | None = None
    coverage: float | None = None
    expected: int | None = None
    exhausts_in: float | None = None
    exhausts_over: str | None = None
    burn_until: str = ""
    slices: int | None = None
    base: float | None = None
    rules: Sequence[Mapping[str, Any]] = ()
    remarks: Sequence[str] = ()
    noticed: Mapping[str, Any] | None = None
    corrected: int = 0
    bound: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """All objectives that were asked for; `as_of` is the highest load they count, `state` the worst of them.

    What was named but has no objective is unknown.
    """

    as_of: int
    state: State
    objectives: tuple[Checked, ...]


Named = Callable[[Answer], Objective | None]
"""The objective of an answer, as all pages show it."""


def answer(measures: Measures, components: Sequence[str], over: Window | None, objective: Named) -> Check:
    """The objectives of the named components, or of all, over their own windows or over one.

    Raises Unreadable for an unknown component.
    """
    known = [one.name for one in measures.components]
    for name in components:
        if name not in known:
            raise Unreadable(f"there is no component {name!r}; known are {', '.join(known)}.")
    found = [_checked(one if over is None else _plain(one), over, objective)
             for one in _answers(measures, components or known)]  # fmt: skip
    states: list[State] = [one.state for one in found]
    states += ["unknown" for name in components if all(one.component != name for one in found)]
    return Check(measures.reader.as_of, worst(states), tuple(sorted(found, key=_order)))


def _answers(measures: Measures, components: Sequence[str]) -> Iterator[Answer]:
    """What is asked of each stage, from the numbers of that stage; targets of signals are of production alone."""
    for stage in dict.fromkeys(("production", *(one.stage for one in measures.config.objectives))):
        filters = replace(measures.filters, stage=stage)
        mine = Measures(measures.reader, measures.config, measures.window, measures.now, filters)
        yield from mine.answers([
            one for one in mine.asked(components)
            if one.target is not None and (stage == "production" or one.objective is not None)
        ])  # fmt: skip


def _plain(one: Answer) -> Answer:
    """The answer with the window asked for in place of the objective's own.

    What was counted in it is held against the target: no burn rule looks back from there, and it need not be fresh.
    """
    good, total = one.judged or (0, 0)
    return replace(
        one, objective=(good, total), objective_coverage=one.judged_coverage, objective_bound=one.bound,
        burns=dict.fromkeys(one.burns, (0, 0)), stale=one.stale and not total, expected=None, corrected=one.left_out,
        instead=one.instead if one.instead is not None and one.instead.why == "not applicable" else None,
    )  # fmt: skip


def _checked(one: Answer, over: Window | None, objective: Named) -> Checked:
    shown, judged = objective(one), verdict(one)
    assert shown is not None, "only what has a target is asked"
    return Checked(
        component=one.asked.component, name=shown.name, signal=one.asked.measure or one.asked.signal.name,
        target=shown.target,
        window=shown.window if over is None else f"{times.text(over.since)}/{times.text(over.until)}",
        good=shown.good, total=shown.total, value=shown.good / shown.total if shown.total else None,
        budget_left=shown.budget_left, burn=shown.burn, state=judged.state, reason=judged.reason, why=judged.why,
        events_left=shown.events_left, **(standing.json(shown) | ({} if over is None else _HELD)),
    )  # fmt: skip


_HELD: dict[str, Any] = {"rules": [], "noticed": None, "exhausts_in": None, "exhausts_over": None}
"""Of a window that is held against the target no rule looks back, and nothing runs out."""


def _order(one: Checked) -> tuple[Any, ...]:
    left = one.budget_left if one.budget_left is not None else 1.0
    return STATES.index(one.state), left, one.component, one.signal, one.name


# -- read again


def parsed(body: bytes) -> Check:
    """The answer that a Tandem sent; raises ValueError where it is none."""
    try:
        told = orjson.loads(body)
        objectives = tuple(
            Checked(
                **{one.name: given[one.name] for one in fields(Checked) if one.name in given or one.default is MISSING}
            )
            for given in told["objectives"]
        )
        found = Check(told["as_of"], told["state"], objectives)
        sound = isinstance(found.as_of, int) and found.state in STATES and all(map(_sound, objectives))
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise ValueError("what it answered is not Tandem's")
    return found


def _sound(one: Checked) -> bool:
    """Whether the parts are of their types; raises ValueError for a window that is no duration."""
    texts = (one.component, one.name, one.signal, one.window, one.reason)
    return (
        all(isinstance(text, str) for text in texts)
        and ("/" in one.window or one.window in times.PERIODS or times.duration(one.window) > 0)
        and one.state in STATES
        and isinstance(one.target, float)
        and 0 < one.target < 1
        and isinstance(one.good, int)
        and isinstance(one.total, int)
        and isinstance(one.burn, Mapping)
        and all(rate is None or isinstance(rate, int | float) for rate in (one.budget_left, *one.burn.values()))
    )
