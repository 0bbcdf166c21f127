"""Times as people and systems write them, to epoch seconds and back; the clock is always a parameter."""

from __future__ import annotations

import math
import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tandem.records import BUCKET
from tandem.strict import quoted

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
"""Seconds of the units of a duration; a month (M) and a year (y) are calendar steps and stand only after `now`."""
PERIODS = {"day": 90000, "week": 604800 + 3600, "month": 31 * 86400 + 3600, "quarter": 92 * 86400 + 3600,
           "year": 366 * 86400}  # fmt: skip
"""The periods of a calendar, and the most seconds that one can have."""
FIRST = 0
LAST = 253402300799
"""The last second of the year 9999."""

_STEP = re.compile(r"([+-])(\d{1,6})([smhdwMy])|/([smhdwMy])")
_RELATIVE = re.compile(rf"now((?:{_STEP.pattern})*)")
_PART = re.compile(r"(\d{1,9})([smhdw])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}")
_CLOCK = re.compile(
    r"(?P<date>\d{4}-?\d{2}-?\d{2})[T ](?P<minute>\d{2}:?\d{2})(?::?(?P<second>\d{2})(?:[.,]\d+)?)?"
    r" ?(?P<offset>[Zz]|[+-]\d{2}(?::?\d{2})?)?"
)


def parse(text: str, now: int) -> int:
    """Epoch seconds of a time as a person gives it.

    Known are `now`, steps from it (`now-24h`, `now-7d`, `now/d`, `now-1M/M`; M is a month and m a minute, `/` goes to
    the beginning of the unit in UTC), ISO 8601 with Z or an offset (also basic, `20261120T1800Z`), a date (its
    midnight in UTC), epoch seconds, and epoch milliseconds from 1e11 on. Raises ValueError with one sentence.
    """
    given = text.strip()
    relative = _RELATIVE.fullmatch(given)
    if relative:
        return _stepped(given, relative.group(1), now)
    if _DATE.fullmatch(given):
        return _of_date(given)
    if given.isascii() and given.isdigit():
        return _of_epoch(given)
    if _CLOCK.fullmatch(given):
        return iso(given)
    raise ValueError(f"{quoted(given)} is not a time: write now-24h, 2026-11-20T18:00Z, a date, or epoch seconds.")


def iso(text: str, zone_name: str | None = None) -> int:
    """Epoch seconds of ISO 8601 text, fractions left out; text without an offset is read in `zone_name`.

    Raises ValueError with one sentence: not a time, no offset and no zone, or an hour that never was.
    """
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{quoted(text)} is not an ISO 8601 time such as 2026-11-20T18:00:00Z.")
    leap = match["second"] == "60"
    clock = match["minute"] + ("59" if leap else match["second"] or "00")
    basic = f"{match['date'].replace('-', '')}T{clock}{(match['offset'] or '').upper()}".replace(":", "")
    try:
        when = datetime.fromisoformat(basic)
    except ValueError:
        raise ValueError(f"{quoted(text)} names a day or an hour that does not exist.") from None
    if when.tzinfo:
        return int(when.timestamp()) + leap
    if zone_name is None:
        raise ValueError(f"{quoted(text)} has no offset: add Z or an offset such as +01:00, or set a timezone.")
    return local(when, zone_name) + leap


def text(ts: float) -> str:
    """ISO 8601 in UTC to the second, "2026-11-20T18:00:00Z"; raises ValueError outside the years 1970 to 9999."""
    if not FIRST <= ts <= LAST:
        raise ValueError(f"{ts} is not a time between the years 1970 and 9999.")
    return datetime.fromtimestamp(math.floor(ts), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(text: str) -> int:
    """Seconds of "90s", "5m", "1h30m", "28d" or "2w"; raises ValueError with one sentence."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a duration: write a number and s, m, h, d or w, such as 5m or 28d.")
    return sum(int(number) * UNITS[unit] for number, unit in _PART.findall(text))


def window(since: int, until: int, now: int, width: int = BUCKET) -> tuple[int, int]:
    """The half-open window on the grid of `width` seconds: both ends move outwards, the end never past `now`.

    The end is the grid point at or after `until`, or `now` itself where that point still lies ahead: the bucket that
    is being filled is then part of the window, and the window says honestly how far it reaches. Raises ValueError
    where nothing is left between the ends.
    """
    if since >= until:
        raise ValueError(f"The window must begin before it ends, but {text(since)} is not before {text(until)}.")
    begin = since // width * width
    end = min(-(-until // width) * width, now)
    if begin >= end:
        raise ValueError(f"The window begins at {text(begin)}, which is not before now ({text(now)}).")
    return begin, end


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name such as "Europe/Berlin"; raises ValueError with one sentence."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{quoted(name)} is not a time zone: write a name such as Europe/Berlin or UTC.") from None


def local(when: datetime, zone_name: str) -> int:
    """Epoch seconds of a wall-clock time without offset; an hour that repeats is the earlier one (see `repeats`).

    Raises ValueError for an hour that never was, because the clocks were put forward over it.
    """
    if not 1 < when.year < 9999:
        raise ValueError(f"{when:%Y-%m-%d} stands for no time: the year is {when.year}.")
    there = when.replace(tzinfo=zone(zone_name), fold=0)
    ts = math.floor(there.timestamp())
    back = datetime.fromtimestamp(ts, UTC).astimezone(there.tzinfo)
    if back.replace(tzinfo=None, fold=0) != when.replace(microsecond=0, tzinfo=None, fold=0):
        raise ValueError(f"{when:%Y-%m-%d %H:%M:%S} never was in {zone_name}: the clocks were put forward over it.")
    return ts


def repeats(when: datetime, zone_name: str) -> bool:
    """Whether a wall-clock time came twice in that zone, because the clocks were put back over it."""
    there = when.replace(tzinfo=zone(zone_name))
    return there.replace(fold=0).timestamp() < there.replace(fold=1).timestamp()


def spelled(seconds: int) -> str:
    """A duration as it is written: "5m", "28d", "1h30m"."""
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def period(name: str, ts: int, zone_name: str) -> tuple[int, int]:
    """The day, week (from Monday), month, quarter or year that holds `ts`, half-open, by the clocks of a zone.

    A day on which the clocks change has 23 or 25 hours.
    """
    there = datetime.fromtimestamp(ts, zone(zone_name)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if name == "week":
        begin = there - timedelta(days=there.weekday())
        return _midnight(begin, zone_name), _midnight(begin + timedelta(days=7), zone_name)
    if name == "day":
        return _midnight(there, zone_name), _midnight(there + timedelta(days=1), zone_name)
    months = {"month": 1, "quarter": 3, "year": 12}[name]
    begin = there.replace(month=(there.month - 1) // months * months + 1, day=1)
    return _midnight(begin, zone_name), _midnight(_moved(begin, months, "M"), zone_name)


def _midnight(when: datetime, zone_name: str) -> int:
    """The first second of a day; where the clocks are put forward over midnight, the first that was."""
    return math.floor(when.replace(tzinfo=zone(zone_name), fold=0).timestamp())


def _stepped(given: str, steps: str, now: int) -> int:
    when = datetime.fromtimestamp(now, UTC)
    try:
        for sign, number, unit, floor in _STEP.findall(steps):
            when = _floored(when, floor) if floor else _moved(when, int(sign + number), unit)
        ts = int(when.timestamp())
    except (ValueError, OverflowError):
        ts = -1
    if not FIRST <= ts <= LAST:
        raise ValueError(f"{quoted(given)} lies outside the years 1970 to 9999.")
    return ts


def _moved(when: datetime, count: int, unit: str) -> datetime:
    if unit in UNITS:
        return when + timedelta(seconds=count * UNITS[unit])
    months = when.year * 12 + when.month - 1 + count * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    return when.replace(year=year, month=month + 1, day=min(when.day, monthrange(year, month + 1)[1]))


def _floored(when: datetime, unit: str) -> datetime:
    if unit == "w":
        return _floored(when - timedelta(days=when.weekday()), "d")
    smaller = {"microsecond": 0, "second": 0, "minute": 0, "hour": 0, "day": 1, "month": 1}
    kept = {"s": 1, "m": 2, "h": 3, "d": 4, "M": 5, "y": 6}[unit]
    return when.replace(**dict(list(smaller.items())[:kept]))  # type: ignore[arg-type]


def _of_date(given: str) -> int:
    try:
        return int(datetime.strptime(given.replace("-", "") + "Z", "%Y%m%d%z").timestamp())
    except ValueError:
        raise ValueError(f'"{given}" names a day that does not exist.') from None


def _of_epoch(given: str) -> int:
    number = int(given[:20])
    ts = number // 1000 if number >= 10**11 else number
    if ts > LAST:
        raise ValueError(f"{quoted(given)} is neither epoch seconds nor epoch milliseconds before the year 10000.")
    return ts
