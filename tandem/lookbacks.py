"""Over which stretches an objective is answered: its own window, the look-backs of its rules, the period before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tandem import times
from tandem.intervals import Span
from tandem.objectives import Objective
from tandem.records import BUCKET
from tandem.slo import BURN_WINDOWS

_STANDARD = tuple(BURN_WINDOWS.values())


@dataclass(frozen=True, slots=True)
class Lookbacks:
    """The window of an objective that ends with [since, end), the seconds it has, and its burn windows' widths.

    A calendar window is `length` seconds long as a whole, its period began at `since`, and `before` is the one before.
    """

    since: int
    length: int
    burns: tuple[int, ...] = _STANDARD
    before: Span | None = None
    span: int = 0
    """Seconds of [since, end): of a calendar window what has passed of its period."""


def of(one: Objective | None, seconds: int, end: int) -> Lookbacks:
    """The look-backs of an objective (or of a default one over `seconds`) as it stands at `end`."""
    burns = _widths(one) if one is not None and one.rule else _STANDARD
    if one is None or not one.calendar:
        return Lookbacks(end - seconds, seconds, burns, None, seconds)
    return _of_calendar(one.calendar, one.timezone or "UTC", end, burns)


def _widths(one: Objective) -> tuple[int, ...]:
    own = {width for rule in one.rules for width in (rule.long, rule.short)}
    return (*_STANDARD, *sorted(own - set(_STANDARD)))


@lru_cache(maxsize=256)
def _of_calendar(period: str, zone: str, end: int, burns: tuple[int, ...]) -> Lookbacks:
    """A period that ends at `end` is still the one that is judged, in its last moment."""
    since, until = times.period(period, end - 1, zone)
    before = times.period(period, since - 1, zone)[0]
    return Lookbacks(_grid(since), until - since, burns, (_grid(before), _grid(since)), end - _grid(since))


def _grid(ts: int) -> int:
    return ts // BUCKET * BUCKET
