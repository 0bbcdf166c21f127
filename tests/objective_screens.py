# ruff: noqa: E501
"""What objectives of made-up components look like: rules, curves, a shared budget, gaps and corrections."""

from __future__ import annotations

from dataclasses import replace

from tandem.corrections import Correction
from tandem.curves import Asked, Curve
from tandem.joint import Joint, Part
from tandem.price import Noticed
from tandem.shown import BurnRule, Cell, Detail, Window

RULES = (
    ("page", "1h", "5m", 13.44),
    ("page", "6h", "30m", 5.6),
    ("ticket", "1d", "2h", 2.8),
    ("ticket", "3d", "6h", 0.9333),
)
BURN = {"5m": 6.1, "30m": 7.4, "1h": 6.2, "2h": 6.0, "6h": 6.4, "1d": 2.2, "3d": 1.1}


def dressed(found: Detail) -> Detail:
    """A page's answer with all that objectives bring along."""
    cells = tuple(
        cell if cell.objective is None or cell.objective.budget_left is None else _cell(cell) for cell in found.cells
    )
    return replace(
        found, cells=cells, curves=tuple(_curve(cell, found.window) for cell in cells if cell.objective),
        asked=_asked(found) if found.kind == "service" else None, joint=(_joint(found),) if found.partners else (),
        unseen={"request_success": ((_at(found.window, 0.4), _at(found.window, 0.45)),),
                "availability": ((_at(found.window, 0.4), _at(found.window, 0.45)),)},
        corrections=(Correction("agreed", _at(found.window, 0.55), _at(found.window, 0.62), (found.component,), (), "",
                                "k. adams", "database move", "2026-11-19"),),
    )  # fmt: skip


def _at(window: Window, part: float) -> int:
    return int(window.since + part * (window.until - window.since)) // 300 * 300


def _cell(cell: Cell) -> Cell:
    breached = cell.state == "breached"
    burn = BURN if breached else {name: rate / 12 for name, rate in BURN.items()}
    one = cell.objective
    assert one is not None
    rules = tuple(BurnRule(kind, long, short, factor, breached and long == "6h") for kind, long, short, factor in RULES)
    left = one.budget_left or 0.0
    remark = (
        ("300 ms is no edge of its histogram: 8 212 certainly lie within it, and up to 8 310 may.",)
        if cell.signal == "latency"
        else ()
    )
    return replace(cell, objective=replace(
        one, burn=burn, rules=rules, remarks=remark, coverage=0.994, length=28 * 86400,
        events_left=left * (1 - one.target) * one.total, exhausts_in=17.5 * 3600 if 0 < left < 0.5 else None,
        exhausts_over="6h" if 0 < left < 0.5 else "", noticed=Noticed(2700, None, 900) if cell.signal == "build_success" else None,
        corrected=6000 if cell.signal == "availability" else 0,
    ))  # fmt: skip


def _curve(cell: Cell, window: Window) -> Curve:
    one = cell.objective
    assert one is not None
    end = one.budget_left if one.budget_left is not None else 0.0
    points = tuple(0.7 + (end - 0.7) * max((i / 48 - 0.6) / 0.4, 0.0) for i in range(49))
    blank = one.budget_left is None
    return Curve(
        one.name, "rolling 28d", 1800, window.since // 1800 * 1800, tuple(None if blank else p for p in points)
    )


def _asked(found: Detail) -> Asked:
    window = found.window
    steps = (window.until - window.since) // 300
    total = tuple(None if 0.4 <= i / steps < 0.45 else 2900 + (i * 37) % 410 for i in range(steps))
    bad = tuple(None if n is None else (n // 900 if i / steps < 0.8 else n // 110) for i, n in enumerate(total))
    return Asked("request_success", "requests", 300, window.since, total, bad)


def _joint(found: Detail) -> Joint:
    service, model = (
        (found.component, found.partners[0]) if found.kind == "service" else (found.partners[0], found.component)
    )
    parts = (Part("service", "answered", service, "request_success", 9_980, 10_000, 0.002, 0.12),
             Part("service", "in time", service, "latency", 9_940, 10_000, 0.006, 0.36),
             Part("model", "right", model, "outcome", 9_900, 10_000, 0.01, 0.52))  # fmt: skip
    return Joint(found.product, service, model, 0.928, False, "28d", "at risk", "only 8 % of the budget is left", "little left",
                 parts, 0.0179, 0.01, 0.018, 0.08, 0.07, 0.12, 0.48, 0.52)  # fmt: skip
