"""The answer of `tandem check` as people and gates read it: text, JUnit XML, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from html import escape
from typing import Any

from tandem import slo, wording
from tandem.checked import Check, Checked, CheckedDrift, CheckedJoint, Rule
from tandem.printed import clean, table, unarmed
from tandem.shown import STATES

HOLD, BREACHED, UNKNOWN = 0, 1, 3
"""Exit codes."""
NAMED = 6
"""Objectives that are named beside a note at most."""
LONGEST = 4000
"""Characters of a text in JUnit XML."""


def code(check: Check) -> int:
    """The exit code: any breached, else any unknown, nothing to check or named without a rule, else all hold."""
    states = {one.state for one in check.ruled}
    if "breached" in states:
        return BREACHED
    return UNKNOWN if not states or "unknown" in states or check.lacking else HOLD


def text(check: Check, *, explain: bool = False) -> str:
    """One line per rule, worst first; with `explain` the sentence and the arithmetic below each."""
    head = ("state", "component", "objective", "signal", "good", "of", "target", "window", "budget left")
    some = _told(check)
    first, *rows = table(head, [row for _, row, _ in some]).splitlines(keepends=True)
    lines = [unarmed(first)]
    for (rule, _, arithmetic), row in zip(some, rows, strict=True):
        lines.append(unarmed(row))
        if explain:
            told = (clean(said, LONGEST) for said in (rule.sentence, *arithmetic, rule.link) if said)
            lines += [f"    {unarmed(said)}\n" for said in told]
    return "".join(lines)


def troubles(check: Check) -> list[Rule]:
    """The rules that somebody should look at, worst first: breached, at risk, unknown."""
    return [one for one in check.ruled if one.state != "ok"]


def _told(check: Check) -> list[tuple[Rule, tuple[str, ...], tuple[str, ...]]]:
    """Every rule with its row of the table and its arithmetic, worst first."""
    found = [
        *((one.as_rule, _row(one), tuple(explained(one))) for one in check.objectives),
        *((one.as_rule, _row_of_joint(one), tuple(_parts(one))) for one in check.joint),
        *((one.as_rule, _row_of_drift(one), ()) for one in check.drift),
    ]
    return sorted(found, key=lambda one: STATES.index(one[0].state))


def _row_of_joint(one: CheckedJoint) -> tuple[str, ...]:
    share = "" if one.failure is None else f"{(1 - one.failure) * 100:.4g} %"
    left = "" if one.budget_left is None else f"{one.budget_left * 100:.4g} %"
    target = slo.percent(slo.target_of(one.target))
    return one.state, one.product, f"{one.service} with {one.model}", "joint", share, "", target, one.window, left


def _row_of_drift(one: CheckedDrift) -> tuple[str, ...]:
    calm = sum(part["verdict"] in ("no drift", "above noise, small") for part in one.features)
    return (
        one.state, one.component, "data drift", "drift", f"{calm} calm" if one.features else "",
        f"{len(one.features):,}", "", one.window, "",
    )  # fmt: skip


def _parts(one: CheckedJoint) -> Iterator[str]:
    for part in one.parts:
        yield (f"{part['component']} {part['signal']}: {part['good']:,} good of {part['total']:,} {part['says']},"
               f" {part['failure'] * 100:.4g} % not")  # fmt: skip


def _row(one: Checked) -> tuple[str, ...]:
    share = wording.percent(one.good, one.total) if one.total else ""
    left = "" if one.budget_left is None else f"{one.budget_left * 100:.4g} %"
    return (
        one.state, one.component, one.name, one.signal, share, f"{one.total:,}", slo.percent(_target(one)), one.window,
        left,
    )  # fmt: skip


def _target(one: Checked) -> Fraction:
    return slo.target_of(one.target)


def explained(one: Checked) -> Iterator[str]:
    """The arithmetic of an objective: its counts, and each burn rate against its factor."""
    if not one.total:
        return
    target = _target(one)
    of = f" slices of {slo.look_back(one.slices)}" if one.slices else ""
    allowed = float((1 - target) * (one.expected or one.total))
    yield (
        f"{one.good:,} good of {one.total:,}{of}: {one.total - one.good:,} bad, where a target of {slo.percent(target)}"
        f" allows {f'{allowed:,.0f}' if allowed >= 1000 else f'{allowed:.4g}'}"
    )
    if one.expected is not None:
        yield f"the budget is that of the {one.expected:,} expected of the whole {one.window}"
    if one.corrected:
        yield f"{wording.seconds(one.corrected)} of the window left both counts by agreement"
    if one.exhausts_in:
        yield f"the budget is gone in {wording.seconds(one.exhausts_in)} if it burns on as over {one.exhausts_over}"
    yield from (_rule(one, rule) for rule in one.rules)
    if one.noticed is not None:
        yield f"{one.noticed['sentence']}, for a page waits for enough bad ones"
    yield from one.remarks


def _rule(one: Checked, rule: Mapping[str, Any]) -> str:
    over = f" the accepted {one.base:.4g}" if one.base else ""
    above = f"{rule['severity']} when burning{f' of what exceeds{over}' if over else ''} above {rule['factor']:.4g}x"
    return f"{above}: " + ", ".join(_burning(one, rule[key]) for key in ("long", "short"))


def _burning(one: Checked, name: str) -> str:
    rate = one.burn.get(name)
    return f"{name} without events" if rate is None else f"{name} {rate:.4g}x"


def notes(check: Check) -> list[str]:
    """What is worth knowing of the rules of objectives, each with the objectives that it is about."""
    said: dict[str, list[str]] = {}
    for one in sorted(check.objectives, key=lambda one: (one.component, one.name)):
        for remark in one.remarks:
            said.setdefault(remark, []).append(one.name)
    return [f"{remark} ({', '.join(names[:NAMED])}{' and more' if len(names) > NAMED else ''})"
            for remark, names in said.items()]  # fmt: skip


def junit(check: Check) -> bytes:
    """JUnit XML with a test per rule: breached is a failure, unknown is skipped, at risk passes and says so.

    What was named and has no rule is a test that was skipped.
    """
    some = _told(check)
    states = [rule.state for rule, _, _ in some]
    counts = _attributes(tests=len(states) + len(check.lacking), failures=states.count("breached"), errors=0,
                         skipped=states.count("unknown") + len(check.lacking))  # fmt: skip
    suite = f"tandem check {check.gate}" if check.gate else "tandem check"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<testsuites{counts}>",
        f"<testsuite{_attributes(name=suite)}{counts}>",
        *(f"<testcase{_attributes(classname=rule.component, name=rule.name, time=0)}>{_case(rule, more)}</testcase>"
          for rule, _, more in some),
        *(f"<testcase{_attributes(classname='tandem check', name=said, time=0)}><skipped{_attributes(message=said)}/>"
          "</testcase>" for said in check.lacking),
        "</testsuite>",
        "</testsuites>\n",
    ]  # fmt: skip
    return "\n".join(lines).encode()


def _attributes(**given: object) -> str:
    # What is printable is allowed in XML, which forbids most of the rest even when it is escaped.
    return "".join(f' {name}="{escape(clean(value, LONGEST))}"' for name, value in given.items())


def _case(rule: Rule, arithmetic: Sequence[str]) -> str:
    if rule.state == "ok":
        return ""
    said = _attributes(message=rule.sentence)
    told = "\n".join(escape(clean(line, LONGEST)) for line in (rule.sentence, *arithmetic, rule.link) if line)
    if rule.state == "unknown":
        return f"<skipped{said}/><system-out>{told}</system-out>"
    return f"<failure{said}>{told}</failure>" if rule.state == "breached" else f"<system-out>{told}</system-out>"
