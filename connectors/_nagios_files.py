"""The files Nagios writes: status.dat, its log and archives, performance data, saved answers of its CGIs."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import numpy as np

from connectors import _files
from connectors._nagios import Check, Log, Unusable, Zone, word_of
from connectors._nagios_perfdata import duration
from tandem.bins import DURATION, codes, quanta
from tandem.connect import Item
from tandem.records import Fact, Histogram, Page, Ratio, Series, Slice, bucket_of

Kind = Literal["status", "log", "perfdata", "json", ""]

KNOWN = 20_000
"""Checks whose newest result is remembered."""
_LOGGED = re.compile(rb"^\[[^\]]{6,40}\] \S", re.MULTILINE)
_NAGIOS = re.compile(
    rb"Nagios [\d.]+ starting|LOG (?:VERSION|ROTATION)|(?:SERVICE|HOST) (?:ALERT|STATE|NOTIFICATION|DOWNTIME ALERT)"
)
_PNP = b"DATATYPE::SERVICEPERFDATA"
_TABBED = re.compile(rb"^(?:\[(?:SERVICE|HOST)PERFDATA\]\t)\d{9,11}\t", re.MULTILINE)
_CGI = re.compile(rb'"cgi"\s*:\s*"(?:status|archive)json\.cgi"')


def kind_of(item: Item) -> Kind:
    """What a file is, by its beginning."""
    head = item.head
    if re.search(rb"^(?:host|service)status \{", head, re.MULTILINE) or b"NAGIOS STATUS FILE" in head[:400]:
        return "status"
    if _TABBED.match(head) or _PNP in head[:2000]:
        return "perfdata"
    if head.lstrip().startswith(b"{") and _CGI.search(head[:2000]):
        return "json"
    if _LOGGED.match(head) and _NAGIOS.search(head):
        return "log"
    return ""


@dataclass(frozen=True)
class Result:
    """How one check ended: its state (None where nothing says it) and its performance data."""

    check: Check
    ts: int
    word: str | None
    perfdata: str = ""


@dataclass
class Counted:
    """Results by bucket, and what could not be counted; one slice per bucket, so that it may be told again."""

    latency: Sequence[str]
    log: Log
    ratios: dict[int, dict[Check, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    durations: dict[int, dict[Check, list[float]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, result: Result) -> None:
        """One result: good or bad, and how long a good one took."""
        if result.word is None:
            self.log.remark("the state of a check is not in the log, so it is not counted")
            return
        outcome = self.log.outcome(result.word)
        if outcome not in ("good", "bad"):
            return
        bucket = bucket_of(result.ts)
        counted = self.ratios[bucket].setdefault(result.check, [0, 0])
        counted[0] += outcome == "good"
        counted[1] += 1
        if outcome == "good" and result.perfdata:
            seconds, wrong = duration(result.perfdata, self.latency)
            if wrong:
                self.log.reject(wrong)
            elif seconds is not None:
                self.durations[bucket].setdefault(result.check, []).append(seconds)

    def pages(self, name: str) -> Iterator[Page]:
        """One slice per bucket, under the name of the file they come from: told again, it replaces what it said."""
        for bucket in sorted(self.ratios):
            facts = list(self._facts(bucket))
            yield Page(facts, covered=(), slice=Slice(f"checks:{name}:{bucket}", _digest(facts)))

    def look(self, created: int) -> Iterator[Page]:
        """One slice for all of a look at everything, named by what it holds: the same look again is a repeat."""
        facts = [fact for bucket in sorted(self.ratios) for fact in self._facts(bucket)]
        if facts:
            digest = _digest(facts)
            yield Page(facts, covered=(), slice=Slice(f"look:{created}:{digest}", digest))

    def _facts(self, bucket: int) -> Iterator[Fact]:
        for check, (good, total) in sorted(self.ratios[bucket].items()):
            yield Fact(Series("availability", labels=check.labels), bucket, Ratio(good, total))
        for check, seconds in sorted(self.durations.get(bucket, {}).items()):
            yield Fact(Series("latency", labels=check.labels), bucket, _histogram(seconds))


def _histogram(seconds: Sequence[float]) -> Histogram:
    values = np.asarray(seconds, dtype=np.float64)
    counts: dict[int, int] = defaultdict(int)
    sums: dict[int, int] = defaultdict(int)
    for place, amount in zip(
        codes(DURATION, values).tolist(), quanta(values, DURATION.digits or 0).tolist(), strict=True
    ):
        counts[place] += 1
        sums[place] += amount
    return Histogram(DURATION, dict(counts), dict(sums))


def _digest(facts: Sequence[Fact]) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


# -- status.dat


@dataclass(frozen=True)
class Known:
    """One check as Nagios knows it now; times in epoch seconds, 0 for never."""

    check: Check
    word: str
    is_checked: bool
    last_check: int
    next_check: int
    hard_word: str
    hard_since: int
    perfdata: str = ""
    output: str = ""
    is_flapping: bool = False


@dataclass
class Status:
    """A look at everything: when it was written, every check, and the downtimes as the CGI tells them."""

    created: int = 0
    checks: list[Known] = field(default_factory=list)
    downtimes: list[Mapping[str, Any]] = field(default_factory=list)


def looked(
    look: Status, latency: Sequence[str], every: int, log: Log, last: Mapping[str, int] | None = None,
    until: int | None = None,
) -> Counted:  # fmt: skip
    """The results of a look that came since the `last` one of their check, else within `every` seconds before it."""
    found = Counted(latency, log)
    for one in look.checks:
        before = (last or {}).get(place_of(one.check), look.created - every)
        if one.is_checked and one.last_check > max(before, 0) and (until is None or one.last_check < until):
            found.add(Result(one.check, one.last_check, one.word, one.perfdata))
    return found


def place_of(check: Check) -> str:
    """A short name of a check, for what is remembered between two pulls."""
    return hashlib.sha256(f"{check.host}\t{check.service}".encode()).hexdigest()[:10]


def newest(look: Status, until: int) -> dict[str, int]:
    """The newest result of each check that a look before `until` could count."""
    return {place_of(one.check): one.last_check for one in look.checks[:KNOWN] if 0 < one.last_check < until}


def status_of(item: Item) -> Status:
    """The checks of a status.dat; raises SourceRefused where it is no text."""
    found, block, inside = Status(), "", dict[str, str]()
    for line in _files.lines(item):
        text = line.strip()
        if text.endswith("{") and not block:
            block, inside = text[:-1].strip(), {}
        elif text == "}" and block:
            _take_block(found, block, inside)
            block = ""
        elif block and "=" in text:
            name, _, value = text.partition("=")
            inside[name] = value
    return found


def _take_block(found: Status, block: str, told: dict[str, str]) -> None:
    if block == "info":
        found.created = _number(told, "created")
    elif block in ("hoststatus", "servicestatus"):
        kind = block.removesuffix("status")
        check = Check(told.get("host_name", ""), told.get("service_description", ""))
        found.checks.append(
            Known(
                check, word_of(told.get("current_state", "-1"), kind, "plain"), told.get("has_been_checked") == "1",
                _number(told, "last_check"), _number(told, "next_check"),
                word_of(told.get("last_hard_state", "-1"), kind, "plain"), _number(told, "last_hard_state_change"),
                told.get("performance_data", ""), told.get("plugin_output", ""), told.get("is_flapping") == "1",
            )
        )  # fmt: skip
    elif block in ("hostdowntime", "servicedowntime"):
        times_ = {name: 1000 * _number(told, name) for name in ("start_time", "flex_downtime_start", "end_time")}
        found.downtimes.append({**told, **times_, "is_in_effect": told.get("is_in_effect") == "1",
                                "fixed": told.get("fixed") == "1"})  # fmt: skip


def _number(told: Mapping[str, str], name: str) -> int:
    text = told.get(name, "0").partition(".")[0]
    return int(text) if text.isdigit() else 0


# -- performance data


def results(item: Item, log: Log, zone: Zone, start: int = 0) -> Iterator[tuple[int, Result]]:
    """(offset behind its line, result) of every whole line of a performance data file from byte `start` on."""
    with item.open() as opened:
        _skip(opened, start)
        at = start
        while raw := opened.readline(_files.LINE_CAP):
            if not raw.endswith(b"\n"):
                return
            at += len(raw)
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            if not text.strip():
                continue
            try:
                yield at, _result(text, log, zone)
            except Unusable as error:
                log.reject(str(error))


def _skip(opened: BinaryIO, start: int) -> None:
    if opened.seekable():
        opened.seek(start)
        return
    while start > 0 and (piece := opened.read(min(start, 1 << 20))):
        start -= len(piece)


def identity(item: Item) -> str:
    """A file by its first line: the same after it was renamed, another where a new one took its name."""
    return hashlib.sha256(item.head.partition(b"\n")[0]).hexdigest()[:16]


def _result(text: str, log: Log, zone: Zone) -> Result:
    parts = text.split("\t")
    if "::" in parts[0]:
        return _pnp(dict(part.split("::", 1) for part in parts if "::" in part), zone)
    if not parts[0].endswith("PERFDATA]") or len(parts) < 7:
        raise Unusable("a line is no performance data in Nagios' own or in PNP's form")
    is_service = parts[0] == "[SERVICEPERFDATA]"
    check = Check(parts[2], parts[3] if is_service else "")
    ts = zone.read(parts[1])
    return Result(check, ts, log.state(check, ts), parts[-1] if len(parts) == (8 if is_service else 7) else "")


def _pnp(told: Mapping[str, str], zone: Zone) -> Result:
    kind = "SERVICE" if "SERVICE" in told.get("DATATYPE", "") else "HOST"
    if not told.get("HOSTNAME") or not told.get("TIMET"):
        raise Unusable("a line of performance data lacks its host or time")
    check = Check(told["HOSTNAME"], told.get("SERVICEDESC", "") if kind == "SERVICE" else "")
    word = told.get(f"{kind}STATE", "").lower()
    return Result(check, zone.read(told["TIMET"]), word or None, told.get(f"{kind}PERFDATA", ""))
