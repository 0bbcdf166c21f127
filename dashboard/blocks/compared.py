"""What a number has moved against another window; direction is an arrow and a word, never a state's colour."""

from __future__ import annotations

from dashboard import text
from dashboard.other import kind_of
from dashboard.view import View

ARROWS = {1: "▲", 0: "=", -1: "▼"}


def against(view: View) -> str:
    """What is compared with, in words; "" for none."""
    kind, value = kind_of(view.compare)
    if kind in ("version", "segment", "stage"):
        return {"version": f"version {value}", "segment": value, "stage": f"the {value} stage"}[kind]
    if view.against is None:
        return ""
    length = text.age(view.window.until - view.window.since)
    if kind == "window":
        return text.span(view.against.since, view.against.until, view.zone)
    return {"week": "one week before", "change": f"the {length} before the change"}.get(kind, f"the previous {length}")


def moved(change: float | None, unit: str, base: float | None = None) -> tuple[str, str]:
    """An arrow and a number for a change: points of a share, a duration, per cent of a count; ("", "") for none."""
    if change is None:
        return "", ""
    if unit == "share":
        size, said = abs(change) * 100, f"{text.digits(abs(change) * 100, 2)}{text.NARROW}points"
    elif unit == "s":
        size, said = abs(change) * 1e4, _brief(abs(change))
    elif not base:
        return "", ""
    else:
        size, said = abs(change / base) * 100, f"{text.digits(abs(change / base) * 100, 2)}{text.NARROW}%"
    if size < 0.005:
        return ARROWS[0], "unchanged"
    return ARROWS[1 if change > 0 else -1], said


def _brief(seconds: float) -> str:
    number, _, unit = text.seconds(seconds).rpartition(text.NARROW)
    return f"{text.digits(float(number.replace(text.NARROW, '')), 2)}{text.NARROW}{unit}"
