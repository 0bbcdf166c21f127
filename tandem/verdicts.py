"""The answer of `tandem check` as people and gates read it: text, JUnit XML, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from html import escape
from typing import Any

from tandem import slo, wording
from tandem.checking import Check, Checked
from tandem.printed import clean, table

HOLD, BREACHED, UNKNOWN = 0, 1, 3
"""Exit codes."""
NAMED = 6
"""Objectives that are named beside a note at most."""
LONGEST = 4000
"""Characters of a text in JUnit XML."""


def code(check: Check, named: Sequence[str] = ()) -> int:
    """The exit code: any breached, else any unknown or named without an objective, else all hold."""
    states = {one.state for one in check.objectives}
    if "breached" in states:
        return BREACHED
    return UNKNOWN if not states or "unknown" in states or lacking(check, named) else HOLD


def lacking(check: Check, named: Sequence[str]) -> list[str]:
    """The named components that have no objective."""
    have = {one.component for one in check.objectives}
    return [name for name in dict.fromkeys(named) if name not in have]


def text(check: Check, *, explain: bool = False) -> str:
    """One line per objective, worst first; with `explain` the reason and the arithmetic below each."""
    head = ("state", "component", "objective", "signal", "good", "of", "target", "window", "budget left")
    first, *rows = table(head, [_row(one) for one in check.objectives]).splitlines(keepends=True)
    lines = [first]
    for one, row in zip(check.objectives, rows, strict=True):
        lines += [row, *(f"    {clean(said)}\n" for said in (explained(one) if explain else ()))]
    return "".join(lines)


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
    """Why an objective stands as it does: its reason, its counts, and each burn rate against its factor."""
    yield one.reason
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
    """JUnit XML with a test per objective: breached is a failure, unknown is skipped, at risk passes and says so."""
    states = [one.state for one in check.objectives]
    counts = _attributes(tests=len(states), failures=states.count("breached"), errors=0,
                         skipped=states.count("unknown"))  # fmt: skip
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<testsuites{counts}>",
        f"<testsuite{_attributes(name='tandem check')}{counts}>",
        *(f"<testcase{_attributes(classname=one.component, name=one.name, time=0)}>{_case(one)}</testcase>"
          for one in check.objectives),
        "</testsuite>",
        "</testsuites>\n",
    ]  # fmt: skip
    return "\n".join(lines).encode()


def _attributes(**given: object) -> str:
    # What is printable is allowed in XML, which forbids most of the rest even when it is escaped.
    return "".join(f' {name}="{escape(clean(value, LONGEST))}"' for name, value in given.items())


def _case(one: Checked) -> str:
    if one.state == "ok":
        return ""
    reason = _attributes(message=one.reason)
    if one.state == "unknown":
        return f"<skipped{reason}/>"
    told = "\n".join(escape(clean(line, LONGEST)) for line in (f"{one.state}: {one.name}", *explained(one)))
    return f"<failure{reason}>{told}</failure>" if one.state == "breached" else f"<system-out>{told}</system-out>"
