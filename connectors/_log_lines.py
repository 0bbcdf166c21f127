"""Lines of request logs to documents with a time: JSON Lines, exports of an index, nginx's and Apache's access logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from connectors._json import BadJson, BrokenJson, strict
from connectors._lucene import field_of
from tandem import times

_ACCESS = re.compile(
    r"(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]{20,30})\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}|-) (?P<bytes>\d+|-)'
    r'(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?(?P<rest>(?: .*)?)'
)
_STAMP = re.compile(r"(\d{2})/(\w{3})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")
_MONTHS = {name: number for number, name in enumerate(
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1)}  # fmt: skip
_REST = re.compile(r'([A-Za-z_]\w*)=("(?:[^"\\]|\\.)*"|\S*)|("(?:[^"\\]|\\.)*"|\S+)')
TIMES = ("@timestamp", "time_iso8601", "timestamp", "time_local", "time", "ts", "msec", "datetime")
STATUSES = ("http.response.status_code", "status", "status_code", "response", "http.status_code")
DURATIONS = (
    ("event.duration", "ns"), ("transaction.duration.us", "us"), ("request_time", "s"), ("duration_ms", "ms"),
    ("response_time_ms", "ms"), ("elapsed_ms", "ms"), ("duration_s", "s"),
)  # fmt: skip
"""Names of durations that say their unit; any other is not guessed."""

Document = Mapping[str, Any]


class NoDocument(ValueError):
    """A line that cannot be counted; says why."""


def is_access(line: str) -> bool:
    """Whether a line is of nginx's or Apache's common or combined format, perhaps with more behind."""
    match = _ACCESS.fullmatch(line.rstrip("\r\n"))
    return match is not None and _STAMP.fullmatch(match["time"]) is not None


def document(line: str) -> Document:
    """The document of one line; raises NoDocument."""
    text = line.strip()
    if text.startswith("{"):
        return _of_json(text)
    match = _ACCESS.fullmatch(text)
    if match is None:
        raise NoDocument("a line is neither JSON nor of the common or combined log format")
    method, _, rest = match["request"].partition(" ")
    found: dict[str, Any] = {
        "@timestamp": match["time"], "source.address": match["host"], "user.name": match["user"],
        "http.request.method": method, "url.original": rest.rpartition(" ")[0] or rest,
        "http.response.status_code": match["status"], "http.response.body.bytes": match["bytes"],
        "http.request.referrer": match["referer"], "user_agent.original": match["agent"],
    }  # fmt: skip
    for number, (name, value, bare) in enumerate(_REST.findall(match["rest"]), 1):
        found[name or f"extra.{number}"] = (value or bare).strip('"')
    return {name: value for name, value in found.items() if value not in (None, "-")}


def _of_json(text: str) -> Document:
    try:
        told = strict(text)
    except (BadJson, BrokenJson):
        raise NoDocument("a line is no JSON that can be used") from None
    if not isinstance(told, dict):
        raise NoDocument("a line is no JSON object")
    source = told.get("_source")
    if isinstance(source, dict):
        return source
    if set(told) <= {"index", "create", "delete", "update"} and len(told) == 1:
        raise NoDocument("")  # the action line of a bulk request, before its document
    return told


@dataclass
class Clock:
    """Times of the lines of one file, in its zone; an hour that repeats is the later one where the order proves it."""

    zone: str | None
    last: int = 0
    repeated: int = field(default=0)

    def at(self, told: Any) -> int:
        """Epoch seconds; raises NoDocument for what is no time."""
        try:
            found = self._read(told)
        except ValueError as error:
            raise NoDocument(_sentence(str(error))) from None
        if found < 366 * 86400:
            raise NoDocument("a line has no time")
        self.last = found
        return found

    def _read(self, told: Any) -> int:
        if isinstance(told, bool) or told is None:
            raise ValueError("a line has no time.")
        if isinstance(told, int | float):
            return int(told // 1000 if abs(told) >= 1e11 else told)
        text = str(told).strip()
        stamp = _STAMP.fullmatch(text)
        if stamp:
            return _of_stamp(stamp)
        if re.fullmatch(r"\d{9,13}(\.\d+)?", text):
            return self._read(float(text))
        found = times.iso(text, self.zone)
        if self.zone and not re.search(r"([Zz]|[+-]\d{2}:?\d{2})$", text):
            found = self._later(found)
        return found

    def _later(self, found: int) -> int:
        """The second of two equal hours, where the line before lies later than the first one would."""
        assert self.zone is not None
        when = datetime.fromtimestamp(found, UTC).astimezone(times.zone(self.zone)).replace(tzinfo=None)
        if not times.repeats(when, self.zone):
            return found
        self.repeated += 1
        there = when.replace(tzinfo=times.zone(self.zone), fold=1)
        return int(there.timestamp()) if self.last > found + 60 else found


def _of_stamp(stamp: re.Match[str]) -> int:
    day, month, year, hour, minute, second, sign, hours, minutes = stamp.groups()
    if month not in _MONTHS:
        raise ValueError("a line has a time with an unknown month.")
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    # A leap second is counted with the one before it.
    when = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), min(int(second), 59),
                    tzinfo=timezone(offset))  # fmt: skip
    return int(when.timestamp())


def _sentence(text: str) -> str:
    """The reason without the value, so that equal faults count together."""
    return re.sub(r'^"[^"]*" ', "a time ", text).rstrip(".")


def guessed(first: Document) -> dict[str, str]:
    """The fields for time, status, duration and unit by their usual names."""
    found = {}
    for meaning, names in (("time", TIMES), ("status", STATUSES)):
        name = next((name for name in names if field_of(first, name) is not None), None)
        if name:
            found[meaning] = name
    for name, unit in DURATIONS:
        if field_of(first, name) is not None:
            found.update(duration=name, unit=unit)
            break
    return found


def documents(lines: Iterator[str]) -> Iterator[tuple[int, Document | str]]:
    """(line, its document or why it has none) of a file; empty lines and action lines of bulk requests are none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if not line.endswith("\n") and not line.lstrip().startswith("{"):
            yield number, "the line is cut off"
            continue
        try:
            yield number, document(line)
        except NoDocument as error:
            if str(error):
                yield number, str(error)
