"""What `tandem check` says, as values: every rule with its state and its evidence, and the same read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import orjson

from tandem import gates, times
from tandem.gates import EVERYTHING, Gate
from tandem.shown import STATES, State, Window


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as people and pipelines read it: `sentence` says how it stands and why, `link` is the page to look at.

    `component` is what it is of: a component, or a product with a joint objective.
    """

    kind: gates.Kind
    component: str
    name: str
    state: State
    sentence: str
    link: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One objective; `window` is its own ("28d") or the one asked for ("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z").

    `good` and `total` are those of the window, `value` their share, `burn` the burn rate by the name of its look-back:
    None where nothing happened, or where a window was asked for. The rest is as on a page: see shown.Objective.
    `features`: what drifts most, where data drift is what is breached or at risk.
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
    features: Sequence[Mapping[str, Any]] = ()
    sentence: str = ""
    link: str = ""

    @property
    def as_rule(self) -> Rule:
        """How it stands, as every rule does."""
        return Rule("objective", self.component, self.name, self.state, self.sentence, self.link)


@dataclass(frozen=True, slots=True)
class CheckedJoint:
    """What a service and its model promise together; `failure` is the share that failed, `parts` what it is made of."""

    product: str
    service: str
    model: str
    target: float
    window: str
    state: State
    reason: str
    failure: float | None
    budget_left: float | None
    coverage: float | None = None
    why: str = ""
    parts: Sequence[Mapping[str, Any]] = ()
    sentence: str = ""
    link: str = ""

    @property
    def as_rule(self) -> Rule:
        """How it stands, as every rule does."""
        return Rule("joint", self.product, f"{self.service} with {self.model}", self.state, self.sentence, self.link)


@dataclass(frozen=True, slots=True)
class CheckedDrift:
    """How far a model's data lie from their reference: breached where a feature drifts much, at risk where somewhat."""

    component: str
    window: str
    state: State
    reason: str
    why: str = ""
    features: Sequence[Mapping[str, Any]] = ()
    sentence: str = ""
    link: str = ""

    @property
    def as_rule(self) -> Rule:
        """How it stands, as every rule does."""
        return Rule("drift", self.component, "data drift", self.state, self.sentence, self.link)


@dataclass(frozen=True, slots=True)
class Check:
    """All rules that were asked for; `as_of` is the highest load they count, `state` the worst of them.

    `gate` is the policy that was named, or "". What was named but has no rule is unknown, and `lacking` says so.
    """

    as_of: int
    state: State
    objectives: tuple[Checked, ...]
    gate: str = ""
    joint: tuple[CheckedJoint, ...] = ()
    drift: tuple[CheckedDrift, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def ruled(self) -> tuple[Rule, ...]:
        """Every rule, worst first."""
        found = [one.as_rule for one in self.objectives]
        found += [one.as_rule for one in self.joint] + [one.as_rule for one in self.drift]
        return tuple(sorted(found, key=lambda one: STATES.index(one.state)))


@dataclass(frozen=True)
class Wanted:
    """What is to be checked: some components or all, over one window or each its own, as a gate says."""

    components: tuple[str, ...] = ()
    over: Window | None = None
    gate: Gate = EVERYTHING


# -- read again


def parsed(body: bytes) -> Check:
    """The answer that a Tandem sent; raises ValueError where it is none."""
    try:
        told = orjson.loads(body)
        objectives = tuple(_made(Checked, given) for given in told["objectives"])
        found = Check(
            told["as_of"], told["state"], objectives, told.get("gate", ""),
            tuple(_made(CheckedJoint, given) for given in told.get("joint", ())),
            tuple(_made(CheckedDrift, given) for given in told.get("drift", ())), tuple(told.get("lacking", ())),
        )  # fmt: skip
        sound = isinstance(found.as_of, int) and found.state in STATES and all(map(_sound, objectives))
        sound = sound and all(map(_plainly, found.joint)) and all(map(_plainly, found.drift))
        sound = sound and _texts((found.gate, *found.lacking))
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise ValueError("what it answered is not Tandem's")
    return found


def _made(cls: Any, given: Mapping[str, Any]) -> Any:
    """A value of what was sent; what this Tandem does not know is left out."""
    return cls(**{one.name: given[one.name] for one in fields(cls) if one.name in given or one.default is MISSING})


def _texts(some: Sequence[object]) -> bool:
    return all(isinstance(text, str) for text in some)


def _plainly(one: CheckedJoint | CheckedDrift) -> bool:
    of = (one.product, one.service, one.model) if isinstance(one, CheckedJoint) else (one.component,)
    targets = isinstance(one, CheckedDrift) or (isinstance(one.target, float) and 0 < one.target < 1)
    return targets and one.state in STATES and _texts((*of, one.window, one.reason, one.sentence, one.link))


def _sound(one: Checked) -> bool:
    """Whether the parts are of their types; raises ValueError for a window that is no duration."""
    texts = (one.component, one.name, one.signal, one.window, one.reason, one.sentence, one.link)
    return (
        _texts(texts)
        and ("/" in one.window or one.window in times.PERIODS or times.duration(one.window) > 0)
        and one.state in STATES
        and isinstance(one.target, float)
        and 0 < one.target < 1
        and isinstance(one.good, int)
        and isinstance(one.total, int)
        and isinstance(one.burn, Mapping)
        and all(rate is None or isinstance(rate, int | float) for rate in (one.budget_left, *one.burn.values()))
    )
