"""The answer of `tandem check`: every rule with its state, in one sentence with its evidence, worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from typing import Any

from tandem import apart, gates, joint, links, slo, standing, times
from tandem.checked import Check as Check
from tandem.checked import Checked as Checked
from tandem.checked import CheckedDrift as CheckedDrift
from tandem.checked import CheckedJoint as CheckedJoint
from tandem.checked import Wanted as Wanted
from tandem.checked import parsed as parsed
from tandem.config import Component
from tandem.counting import Asked
from tandem.gates import Gate
from tandem.joint import Joint
from tandem.lookbacks import Lookbacks
from tandem.measure import Answer, Measures, verdict
from tandem.objectives import MEASURES
from tandem.records import BUCKET, DAY
from tandem.shown import STATES, FeatureDrift, Half, Objective, State, Unreadable, Window, worst

NAMED = 5
"""Features that a sentence names at most."""


Named = Callable[[Answer], Objective | None]
"""The objective of an answer, as all pages show it."""


def answer(measures: Measures, wanted: Wanted, objective: Named) -> Check:
    """Every rule of the named components, or of all, over their own windows or over one.

    Raises Unreadable for an unknown component.
    """
    scope = _Scope(measures, wanted)
    gate = wanted.gate
    objectives = sorted(_objectives(scope, objective), key=_order) if "objective" in gate.rules else []
    joints = [_joint(scope, one, parts) for one, parts in _joints(scope)] if "joint" in gate.rules else []
    drifts = [_drift(scope, one) for one in scope.components if one.kind == "model"] if "drift" in gate.rules else []
    lacking = tuple(_lacking(scope, objectives, joints))
    states: list[State] = [one.state for one in objectives]
    states += [one.state for one in joints] + [one.state for one in drifts]
    states += ["unknown"] * len(lacking)
    return Check(measures.reader.as_of, worst(states), tuple(objectives), gate.name, tuple(joints), tuple(drifts),
                 lacking)  # fmt: skip


class _Scope:
    """What a question is about, looked up once."""

    def __init__(self, measures: Measures, wanted: Wanted) -> None:
        self.measures = measures
        self.wanted = wanted
        self.gate = wanted.gate
        self.over = wanted.over
        self.kinds = {one.name: one.kind for one in measures.components}
        self._known((*wanted.components, *self.gate.component))
        self.components = [one for one in measures.components if self._inside(one)]
        outside = [name for name in wanted.components if all(one.name != name for one in self.components)]
        if outside:
            raise Unreadable(f"the gate {self.gate.name!r} is not about {outside[0]!r}; name a component of it.")

    def _known(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.kinds:
                raise Unreadable(f"there is no component {name!r}; known are {', '.join(self.kinds)}.")

    def _inside(self, one: Component) -> bool:
        gate, named = self.gate, self.wanted.components
        of_gate = one.name in gate.component or one.product in gate.product or not (gate.component or gate.product)
        return of_gate and (not named or one.name in named)

    @property
    def names(self) -> list[str]:
        """The components in question, in the order of the configuration."""
        return [one.name for one in self.components]

    @property
    def present(self) -> bool:
        """Whether the window in question reaches now: only then it matters whether a source is late."""
        return self.over is None or self.over.until + BUCKET > self.measures.now

    def told(self, window: str) -> str:
        """A window as JSON has it: its own name, or the ends of the one that was asked for."""
        return window if self.over is None else f"{times.text(self.over.since)}/{times.text(self.over.until)}"

    def link(self, component: str, since: int, objective: str = "") -> str:
        """The page of a component over the window in question, or from `since` on."""
        window = self.over or Window(since, self.measures.end)
        more = {"tab": objective, **self._narrowed}
        found = links.of_component(self.kinds[component], component, window, self.measures.reader.as_of, more)
        return links.absolute(found, self.measures.config.page)

    def link_of_product(self, product: str) -> str:
        """The overview of a product over the window in question, or the last day."""
        window = self.over or Window(self.measures.end - DAY, self.measures.end)
        found = links.of_product(product, window, self.measures.reader.as_of, self._narrowed)
        return links.absolute(found, self.measures.config.page)

    @property
    def _narrowed(self) -> dict[str, str]:
        filters = self.measures.filters
        environment = "" if filters.environment == "production" else filters.environment
        return {"environment": environment, "version": filters.version}


# -- objectives


def _objectives(scope: _Scope, objective: Named) -> Iterator[Checked]:
    for one in _answers(scope):
        yield _checked(scope, one if scope.over is None else _plain(one, scope), objective)


def _answers(scope: _Scope) -> Iterator[Answer]:
    """What is asked of each stage, from the numbers of that stage; targets of signals are of production alone."""
    measures = scope.measures
    for stage in dict.fromkeys(("production", *(one.stage for one in measures.config.objectives))):
        filters = replace(measures.filters, stage=stage)
        mine = Measures(measures.reader, measures.config, measures.window, measures.now, filters)
        yield from mine.answers([
            one for one in mine.asked(scope.names) if one.target is not None
            and (stage == "production" or one.objective is not None) and _named(scope.gate, one)
        ])  # fmt: skip


def _named(gate: Gate, one: Asked) -> bool:
    """Whether a gate is about an objective: about all of them, or by its signal and its name."""
    signals = {one.signal.name, one.measure}
    return (not gate.signal or bool(signals & set(gate.signal))) and (
        not gate.objective or standing.name_of(one) in gate.objective
    )


def _plain(one: Answer, scope: _Scope) -> Answer:
    """The answer with the window asked for in place of the objective's own.

    What was counted in it is held against the target by what was seen of it: no burn rule looks back from there, and
    it need not be fresh where it is over.
    """
    assert scope.over is not None
    good, total = one.judged or (0, 0)
    length = scope.over.until - scope.over.since
    looks = Lookbacks(scope.over.since, length, one.looks.burns, None, length)
    return replace(
        one, looks=looks, objective=(good, total), objective_coverage=one.judged_coverage, objective_bound=one.bound,
        burns=dict.fromkeys(one.burns, (0, 0)), stale=one.stale and scope.present, expected=None,
        corrected=one.left_out,
        instead=one.instead if one.instead is not None and one.instead.why == "not applicable" else None,
    )  # fmt: skip


def _judged(scope: _Scope, one: Answer) -> slo.Verdict:
    gate, total = scope.gate, (one.objective or (0, 0))[1]
    fresh = replace(one, stale=False) if gate.stale == "as counted" and total else one
    found = verdict(fresh) if scope.over is None else _held(fresh)
    counted = total if not one.slices else max(total, gate.events)  # slices are time: how much of it is `coverage`
    return gates.governed(gate, found, counted, one.objective_coverage, stale=fresh.stale)


def _held(one: Answer) -> slo.Verdict:
    """How a window that was asked for stands by itself."""
    if one.instead is not None:
        return one.instead
    good, total = one.objective or (0, 0)
    given, target = one.asked.objective, one.asked.target
    assert target is not None, "only what has a target is asked"
    return slo.held(
        target, good, total, coverage=one.objective_coverage, stale=one.stale, labels=one.labels or bool(total),
        evidence=given.evidence if given is not None else slo.EVIDENCE,
    )  # fmt: skip


def _checked(scope: _Scope, one: Answer, objective: Named) -> Checked:
    shown, judged = objective(one), _judged(scope, one)
    assert shown is not None, "only what has a target is asked"
    made = Checked(
        component=one.asked.component, name=shown.name, signal=one.asked.measure or one.asked.signal.name,
        target=shown.target, window=scope.told(shown.window),
        good=shown.good, total=shown.total, value=shown.good / shown.total if shown.total else None,
        budget_left=shown.budget_left, burn=shown.burn, state=judged.state, reason=judged.reason, why=judged.why,
        events_left=shown.events_left, features=_drifting(scope, one, judged),
        link=scope.link(one.asked.component, shown.since, shown.name),
        **(standing.json(shown) | ({} if scope.over is None else _HELD)),
    )  # fmt: skip
    return replace(made, sentence=_sentence(made))


_HELD: dict[str, Any] = {"rules": [], "noticed": None, "exhausts_in": None, "exhausts_over": None}
"""Of a window that is held against the target no rule looks back, and nothing runs out."""
_WORDS: Mapping[State, str] = {"ok": "holds", "at risk": "is at risk", "breached": "is breached",
                               "unknown": "is unknown"}  # fmt: skip


def _sentence(one: Checked) -> str:
    """How an objective stands, why, and on what evidence, in one sentence."""
    what = one.name if one.name.startswith(f"{one.component} ") else f"{one.component} {one.name}"
    target = f"target {slo.percent(slo.target_of(one.target))}, {_over(one.window)}"
    if not one.total:
        return f"{what} {_WORDS[one.state]}: {one.reason} ({target})."
    of = f" slices of {slo.look_back(one.slices)}" if one.slices else ""
    more = f"; most: {_features(one.features)}" if one.features else ""
    if one.coverage is not None and 0 < one.coverage < 1:  # where nobody vouches for anything there is no share
        target += f" of which {slo.percent(Fraction(one.coverage).limit_denominator(10**6))} was seen"
    return f"{what} {_WORDS[one.state]}: {one.reason} ({one.good:,} good of {one.total:,}{of}, {target}){more}."


def _over(window: str) -> str:
    since, slash, until = window.partition("/")
    return f"from {since} to {until}" if slash else f"over {window}"


def _order(one: Checked) -> tuple[Any, ...]:
    left = one.budget_left if one.budget_left is not None else 1.0
    return STATES.index(one.state), left, one.component, one.signal, one.name


# -- joint objectives


def _joints(scope: _Scope) -> Iterator[tuple[Joint, Sequence[Answer]]]:
    """The joint objectives in question, each with the answers of its parts; one version promises nothing jointly."""
    measures, gate = scope.measures, scope.gate
    if measures.filters.version:
        return
    stated = {one.name for one in measures.config.promises}
    wanted = [one.name for one in scope.components
              if (one.product in gate.product or one.product in stated)]  # fmt: skip
    some = measures.answers(joint.asked(measures, wanted)) if wanted else []
    if scope.over is not None:
        some = [_plain(one, scope) for one in some]
    found = joint.of_components(measures, wanted, some)
    for one in dict.fromkeys(one for mine in found.values() for one in mine):
        signals = {(part.component, part.signal) for part in one.parts}
        yield one, [each for each in some if (each.asked.component, each.asked.signal.name) in signals]


def _joint(scope: _Scope, one: Joint, parts: Sequence[Answer]) -> CheckedJoint:
    judged = slo.Verdict(one.state, one.reason, one.why)  # type: ignore[arg-type]
    bad = sum(part.total - part.good for part in one.parts)
    if scope.over is not None and one.state == "breached" and bad < slo.EVIDENCE:
        judged = slo.Verdict("at risk", f"{one.reason}, but on only {bad} bad: too few to stop for", "little evidence")
    late = any(part.stale for part in parts)
    if scope.gate.stale == "as counted" and one.why == "stale" and one.failure is not None:
        judged = slo.Verdict("ok", one.reason.partition("; ")[2] or one.reason, "within target")
    seen = [part.objective_coverage for part in parts]
    coverage = min((share for share in seen if share is not None), default=None)
    least = min((part.total for part in one.parts), default=0)
    judged = gates.governed(scope.gate, judged, least, coverage, stale=late and scope.gate.stale == "breached")
    made = CheckedJoint(
        product=one.product, service=one.service, model=one.model, target=one.target, window=scope.told(one.window),
        state=judged.state, reason=judged.reason, failure=one.failure, budget_left=one.budget_left, coverage=coverage,
        why=judged.why, parts=[asdict(part) for part in one.parts], link=scope.link_of_product(one.product),
    )  # fmt: skip
    return replace(made, sentence=_sentence_of_joint(made))


def _sentence_of_joint(one: CheckedJoint) -> str:
    target = f"target {slo.percent(slo.target_of(one.target))}, {_over(one.window)}"
    return f"{one.product} ({one.service} with {one.model}) {_WORDS[one.state]}: {one.reason} ({target})."


# -- drift


def _drift(scope: _Scope, one: Component) -> CheckedDrift:
    """How the data of a model stand against their reference over the window in question, or the last day."""
    measures = scope.measures
    window = scope.over or Window((measures.end - DAY) // BUCKET * BUCKET, measures.end)
    late = scope.present and _is_late(measures, one.name)
    try:
        rows: Sequence[FeatureDrift] = _rows(scope, one.name, window)
        judged = _verdict_of(rows, stale=late and scope.gate.stale != "as counted")
    except Unreadable as no:
        rows, judged = (), slo.Verdict("unknown", f"not measured: {str(no).rstrip('.')}", "not measured")
    most = max((row.n_current for row in rows), default=0)
    judged = gates.governed(scope.gate, judged, most, 1.0 if most else 0.0, stale=late, what="values seen")
    told = [_feature(row) for row in rows]
    made = CheckedDrift(one.name, f"{times.text(window.since)}/{times.text(window.until)}", judged.state, judged.reason,
                        judged.why, told, link=scope.link(one.name, window.since))  # fmt: skip
    return replace(made, sentence=f"{one.name} data drift {_WORDS[judged.state]}: {judged.reason} "
                                  f"({_over(made.window)}).")  # fmt: skip


def _is_late(measures: Measures, component: str) -> bool:
    sources = {kept.placed.source for signal in apart.COMPARED for kept in measures.every(component, signal)}
    return bool(sources) and all(map(measures.late, sources))


def _rows(scope: _Scope, component: str, window: Window) -> list[FeatureDrift]:
    filters, measures = scope.measures.filters, scope.measures
    half = Half("window", window, filters.version, environment=filters.environment)
    found = apart.drifts(apart.pair(measures.reader, measures.config, component, half, None, measures.now))
    return list(found.rows)


def _verdict_of(rows: Sequence[FeatureDrift], *, stale: bool) -> slo.Verdict:
    drifting = [row for row in rows if row.verdict == "drift"]
    judged = [row for row in rows if row.verdict != "not enough data"]
    if drifting:
        said = f"{len(drifting)} of {len(rows)} drift: {_features([_feature(row) for row in drifting])}"
        major = any(row.severity == "major" for row in drifting)
        return slo.Verdict("breached" if major else "at risk", said, "burning" if major else "little left")
    if not judged:
        return slo.Verdict("unknown", f"not enough data in any of {len(rows)} to tell drift", "not enough evidence")
    if stale:
        return slo.Verdict("unknown", "stale: the source is later than its declared interval", "stale")
    return slo.Verdict("ok", f"none of {len(judged)} drifts", "within target")


def _drifting(scope: _Scope, one: Answer, judged: slo.Verdict) -> list[dict[str, Any]]:
    """What drifts most over the window of an objective on data drift that is breached or at risk."""
    if one.asked.signal.name != "drift" or judged.state not in ("breached", "at risk"):
        return []
    window = scope.over or Window(one.looks.since, scope.measures.end)
    try:
        rows = _rows(scope, one.asked.component, window)
    except Unreadable:
        return []
    return [_feature(row) for row in rows if row.verdict == "drift"][:NAMED]


def _feature(row: FeatureDrift) -> dict[str, Any]:
    return {"feature": row.feature, "verdict": row.verdict, "severity": row.severity, "effect": row.effect,
            "noise_floor": row.noise_floor, "n": row.n_current}  # fmt: skip


def _features(some: Sequence[Mapping[str, Any]]) -> str:
    told = [f"{one['feature']} ({one['severity']}, effect {one['effect']:.3g} above a noise floor of "
            f"{one['noise_floor']:.3g})" for one in some[:NAMED]]  # fmt: skip
    return ", ".join(told) + (f" and {len(some) - NAMED} more" if len(some) > NAMED else "")


# -- what was named and is not there


def _lacking(scope: _Scope, objectives: Sequence[Checked], joints: Sequence[CheckedJoint]) -> Iterator[str]:
    """A sentence for everything that was named and has no rule: it cannot hold."""
    gate = scope.gate
    ruled = {one.component for one in objectives} | {name for one in joints for name in (one.service, one.model)}
    if "drift" in gate.rules:
        ruled |= {one.name for one in scope.components if one.kind == "model"}
    for name in dict.fromkeys((*scope.wanted.components, *gate.component)):
        if name in scope.names and name not in ruled:
            yield f"{name} has no objective; add an [[objective]] of it to tandem.toml."
    if scope.wanted.components or "objective" not in gate.rules:
        return
    for signal in gate.signal:
        if all(one.signal != signal for one in objectives) and not _derived(signal, objectives):
            yield f"No objective of the gate {gate.name} is on {signal}; collect it, or take it out of the gate."
    for name in gate.objective:
        if all(one.name != name for one in objectives):
            yield f"No objective of the gate {gate.name} is called {name}; see `tandem check` for their names."
    for product in gate.product:
        if "joint" in gate.rules and all(one.product != product for one in joints):
            yield f"The product {product} has no joint objective; it needs one on a service and one on its model."


def _derived(signal: str, objectives: Sequence[Checked]) -> bool:
    """Whether an objective is on a measure that is made of the signal."""
    return any(MEASURES.get(one.signal) == signal for one in objectives)
