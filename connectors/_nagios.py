"""What Nagios says of hosts and services: states in its three codes, and the problems and downtimes in its log."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from tandem import times
from tandem.connect import Common, Rule
from tandem.records import Event, Finding, Labels, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "ok": "good",
    "up": "good",
    "warning": "good",
    "critical": "bad",
    "down": "bad",
    "unknown": "excluded",
    "unreachable": "excluded",
    "pending": "excluded",
    "problem": "open",
    "recovered": "bad",
    "in downtime": "open",
    "downtime over": "good",
}
_SERVICE = ("ok", "warning", "critical", "unknown")
_HOST = ("up", "down", "unreachable")
_STATUS_CODES = {
    "service": {1: "pending", 2: "ok", 4: "warning", 8: "unknown", 16: "critical"},
    "host": {1: "pending", 2: "up", 4: "down", 8: "unreachable"},
}
_ARCHIVE_CODES = {
    "service": {8: "ok", 16: "warning", 32: "critical", 64: "unknown"},
    "host": {1: "up", 2: "down", 4: "unreachable"},
}
_LINE = re.compile(r"\[([^\]]{6,40})\] (.*)")
_SAYS = re.compile(r"(SERVICE|HOST) (ALERT|FLAPPING ALERT|DOWNTIME ALERT): (.*)")
_STATES = re.compile(r"(INITIAL|CURRENT) (SERVICE|HOST) STATE: (.*)")
_COMMAND = re.compile(r"EXTERNAL COMMAND: SCHEDULE_(SVC|HOST)_DOWNTIME;(.*)")
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HUMAN = re.compile(r"(?:\w{3} )?(\w{3}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (?:[A-Z]{3,5} )?(\d{4})")


class Unusable(ValueError):
    """A line or an object that cannot be counted; says why."""


@dataclass(frozen=True, order=True)
class Check:
    """A service of a host, or the host itself (service "")."""

    host: str
    service: str = ""

    @property
    def labels(self) -> Labels:
        """How the check is named to the map."""
        kind = "service" if self.service else "host"
        return labels_of({"host": self.host, "service": self.service, "check": kind})

    @property
    def name(self) -> str:
        """The check as people may read it."""
        return f"{self.host}: {self.service}" if self.service else self.host


def word_of(told: Any, kind: str, codes: str) -> str:
    """The state as a word; `codes`: "plain" (status.dat), "status" or "archive" (the JSON CGIs), or a word already."""
    if isinstance(told, str) and not told.lstrip("-").isdigit():
        return told.strip().lower()
    number = int(told)
    if codes == "plain":
        words = _SERVICE if kind == "service" else _HOST
        return words[number] if 0 <= number < len(words) else str(number)
    table = _STATUS_CODES if codes == "status" else _ARCHIVE_CODES
    return table[kind].get(number, str(number))


@dataclass(frozen=True, order=True)
class Change:
    """A state of a check from `ts` on; its output is "(null)" where Nagios began with it, before any check."""

    ts: int
    order: int
    word: str
    is_hard: bool
    output: str = ""
    is_repeated: bool = False
    """Whether the log only repeats it at its beginning: the check was in this state before."""


@dataclass
class Zone:
    """Times of one file, most of them epoch seconds; a wall clock is read in the source's zone, in the file's order."""

    name: str | None
    last: int = 0
    repeated: int = 0

    def read(self, text: str) -> int:
        """Epoch seconds; raises Unusable for what is no time, and for an hour that never was."""
        ts = int(text) if re.fullmatch(r"\d{9,11}", text) else self._clock(text)
        self.last = ts
        return ts

    def _clock(self, text: str) -> int:
        human = _HUMAN.fullmatch(text)
        try:
            if human and human[1] in _NAMES:
                month, day, hour, minute, second, year = human.groups()
                when = datetime(int(year), _NAMES.index(month) + 1, int(day), int(hour), int(minute), int(second))  # noqa: DTZ001  the zone follows
            else:
                when = datetime.fromisoformat(text)
        except ValueError:
            raise Unusable("a line does not begin with a time") from None
        if when.tzinfo is not None:
            return int(when.timestamp())
        if self.name is None:
            raise Unusable("a line has a time without offset; set timezone for this source")
        try:
            return self._later(when, times.local(when, self.name))
        except ValueError as error:
            raise Unusable(str(error).rstrip(".").partition(": ")[2] or str(error).rstrip(".")) from None

    def _later(self, when: datetime, ts: int) -> int:
        """The second of two equal hours where the line before says so."""
        if not times.repeats(when, self.name or "UTC"):
            return ts
        self.repeated += 1
        second = int(when.replace(tzinfo=times.zone(self.name or "UTC"), fold=1).astimezone(UTC).timestamp())
        return second if self.last > ts else ts


@dataclass
class Log:
    """What the log says of every check, in order of time, and what could not be read."""

    common: Common
    changes: dict[Check, list[Change]] = field(default_factory=lambda: defaultdict(list))
    flapping: dict[Check, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    downtimes: list[tuple[int, Check, str]] = field(default_factory=list)
    planned: dict[Check, list[tuple[int, int, str, str]]] = field(default_factory=lambda: defaultdict(list))
    """(start, end, author, comment) of each downtime that was asked for."""
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    begun: int = 0
    _sorted: bool = False

    def line(self, text: str, zone: Zone) -> None:
        """One line; what says nothing of a state is passed over."""
        found = _LINE.match(text)
        if not found:
            if text.strip():
                self.reject("a line is no line of a Nagios log")
            return
        try:
            ts = zone.read(found[1])
        except Unusable as error:
            self.reject(str(error))
            return
        self.begun = min(self.begun or ts, ts)
        self._says(ts, found[2])

    def _says(self, ts: int, text: str) -> None:
        if told := _SAYS.match(text):
            parts = told[3].split(";")
            check, rest = _check_of(told[1], parts)
            if check is None:
                self.reject("a line of the log lacks its host or service")
            elif told[2] == "ALERT":
                self.change(check, ts, rest)
            elif told[2] == "FLAPPING ALERT":
                self.flapping[check].append((ts, rest[0] == "STARTED"))
            else:
                self.downtimes.append((ts, check, rest[0]))
        elif told := _STATES.match(text):
            check, rest = _check_of(told[2], told[3].split(";"))
            if check is not None:
                self.change(check, ts, rest, is_repeated=True)
        elif told := _COMMAND.match(text):
            self._plan("SERVICE" if told[1] == "SVC" else "HOST", told[2].split(";"))

    def change(self, check: Check, ts: int, rest: Sequence[str], *, is_repeated: bool = False) -> None:
        """A state of a check: (state, type, attempt, output)."""
        if len(rest) < 2:
            self.reject("a line of the log lacks its state")
            return
        output = ";".join(rest[3:]) if len(rest) > 3 else ""
        self._sorted = False
        self.changes[check].append(
            Change(
                ts, len(self.changes[check]), rest[0].strip().lower(), rest[1].upper() == "HARD", output, is_repeated
            )
        )

    def _plan(self, kind: str, parts: Sequence[str]) -> None:
        check, rest = _check_of(kind, parts)
        if check is not None and len(rest) >= 7 and rest[0].isdigit() and rest[1].isdigit():
            self.planned[check].append((int(rest[0]), int(rest[1]), rest[5], ";".join(rest[6:])))

    def state(self, check: Check, ts: int) -> str | None:
        """The state that a check had at `ts`: what its newest alert said, else what Nagios began with."""
        some = self._of(check)
        place = bisect_right(some, ts + 1, key=lambda one: one.ts)
        return some[place - 1].word if place else None

    def newer(self, check: Check, ts: int) -> bool:
        """Whether the log knows of a state of a check after `ts`."""
        return any(one.ts > ts for one in self._of(check))

    def _of(self, check: Check) -> list[Change]:
        if not self._sorted:
            for some in self.changes.values():
                some.sort()
            self._sorted = True
        return self.changes.get(check, [])

    def reject(self, reason: str) -> None:
        """Counts something that was left out."""
        self.said["reject", reason] += 1

    def remark(self, reason: str) -> None:
        """Counts something worth knowing."""
        self.said["remark", reason] += 1

    def outcome(self, word: str) -> Outcome:
        """What a state means; an unknown one is excluded and counted."""
        known = self.common.status.get(word, STATUS.get(word))
        if known is None:
            self.remark(f'the state "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]')
        return known or "excluded"

    def findings(self, where: str = "") -> tuple[Finding, ...]:
        """What was left out or needs a remark, counted by reason."""
        return tuple(
            Finding("reject" if kind == "reject" else "remark", reason, where, count)
            for (kind, reason), count in sorted(self.said.items())
        )

    # -- problems and downtimes

    def problems(self, still: Iterable[Event] = (), until: int | None = None, *, adopt: bool = False) -> list[Event]:
        """The incidents: hard states that are bad, each to the next hard state that is not.

        `still` are those that were open. While a check flaps its incident goes on. One that began before the log is
        left out, and said, unless it goes on at the end of the log and `adopt` is set.
        """
        self._of(Check(""))
        open_ = {check_of(event): event for event in still}
        found: list[Event] = []
        for check in sorted(self.changes.keys() | open_.keys()):
            found += self._problems(check, open_.get(check), until, adopt=adopt)
        return sorted(found, key=lambda event: (event.ts, event.key))

    def _problems(self, check: Check, begun: Event | None, until: int | None, *, adopt: bool) -> list[Event]:
        found: list[Event] = []
        since, adopted = begun.ts if begun is not None else 0, False
        for ts, change in _merged(self._of(check), self.flapping.get(check, [])):
            if until is not None and ts >= until:
                break
            if ts <= since or (isinstance(change, Change) and not change.is_hard):
                continue
            if isinstance(change, bool):
                is_over = not change and self.outcome(self.state(check, ts) or "pending") != "bad"
            else:
                is_bad = self.outcome(change.word) == "bad"
                is_over = not is_bad and change.output != "(null)" and not self._flaps(check, ts)
                if is_bad and begun is None:
                    begun, adopted = self.problem(check, change), change.is_repeated
            if is_over and begun is not None:
                self._add(found, self.over(begun, ts), adopted)
                begun, adopted = None, False
        if begun is not None:
            self._add(found, begun, adopted and not adopt)
        return found

    def _add(self, found: list[Event], event: Event, is_adopted: bool) -> None:
        if is_adopted:
            self.remark("a problem began before the log; read the log before it too")
        else:
            found.append(event)

    def _flaps(self, check: Check, ts: int) -> bool:
        return next((starts for at, starts in reversed(self.flapping.get(check, [])) if at <= ts), False)

    def problem(self, check: Check, change: Change) -> Event:
        """The incident that a hard state begins."""
        return Event(
            "incident",
            f"{check.host};{check.service};{change.ts}",
            change.ts,
            outcome=self.outcome("problem"),
            title=f"{check.name} is {change.word.upper()}" + (f": {change.output}" if change.output else ""),
            labels=labels_of({**dict(check.labels), "state": change.word}),
            revision=2 * change.ts,
        )

    def over(self, event: Event, ts: int) -> Event:
        """An incident that ended at `ts`."""
        return _ended(event, max(ts, event.ts), self.outcome("recovered"))

    def maintenance(self, still: Iterable[Event] = (), until: int | None = None) -> list[Event]:
        """The scheduled downtimes from their start to their end."""
        found: list[Event] = []
        open_ = {check_of(event): event for event in still}
        for ts, check, word in sorted(self.downtimes):
            if until is not None and ts >= until:
                break
            if word == "STARTED":
                if check not in open_ or open_[check].ts > ts:
                    open_[check] = self._downtime(check, ts)
            elif check in open_ and open_[check].ts <= ts:
                found.append(_ended(open_.pop(check), ts, self.outcome("downtime over")))
        return [*found, *open_.values()]

    def _downtime(self, check: Check, ts: int) -> Event:
        plans = [one for one in self.planned.get(check, []) if one[0] - 60 <= ts <= one[1]]
        start, end, author, comment = plans[-1] if plans else (ts, 0, "", "")
        labels = {**dict(check.labels), "planned_end": times.text(end) if end else None}
        return Event(
            "maintenance",
            f"{check.host};{check.service};{ts}",
            ts,
            outcome=self.outcome("in downtime"),
            actor=author,
            title=comment or f"downtime of {check.name}",
            labels=labels_of(labels),
            revision=2 * max(ts, min(start, ts)),
        )


def _ended(event: Event, ts: int, outcome: Outcome) -> Event:
    labels = tuple(pair for pair in event.labels if pair[0] != "planned_end")
    end = max(ts, event.ts)
    return replace(event, ended=end, outcome=outcome, labels=labels, revision=2 * end + 1)


def ended(event: Event, ts: int, log: Log) -> Event:
    """An incident or a downtime that was open and is over since `ts`."""
    return _ended(event, ts, log.outcome("recovered" if event.kind == "incident" else "downtime over"))


def check_of(event: Event) -> Check:
    """Whose event it is."""
    told = dict(event.labels)
    return Check(told.get("host", ""), told.get("service", ""))


def unplaced(event: Event) -> Event:
    """A downtime as it was before `placed`."""
    if not event.components:
        return event
    return replace(event, key=event.key.removesuffix(f"@{event.environment}"), environment="", components=())


def placed(event: Event, common: Common) -> list[Event]:
    """A downtime for the components it concerns: that of a host for every component with checks on it."""
    check = check_of(event)
    if check.service or event.components:
        return [event]
    found: dict[str, list[str]] = {}
    for rule in common.map or (Rule(common.component),):
        if rule.component and fnmatchcase(check.host, rule.match.get("host", "*")):
            found.setdefault(rule.environment, []).extend(rule.component)
    return [
        _with(event, f"{event.key}@{environment}" if environment else event.key, environment, components)
        for environment, components in found.items()
    ] or [event]


def _with(event: Event, key: str, environment: str, components: Sequence[str]) -> Event:
    told = {name: getattr(event, name) for name in ("ended", "outcome", "actor", "title", "url", "labels", "revision")}
    return Event(
        event.kind, key, event.ts, environment=environment, components=tuple(dict.fromkeys(components)), **told
    )


def _check_of(kind: str, parts: Sequence[str]) -> tuple[Check | None, list[str]]:
    names = 2 if kind == "SERVICE" else 1
    told = [part.strip() for part in parts[:names]]
    if len(parts) <= names or not all(told):
        return None, []
    return Check(*told), [part.strip() if place < 2 else part for place, part in enumerate(parts[names:])]


def _merged(changes: Sequence[Change], flapping: Sequence[tuple[int, bool]]) -> list[tuple[int, Change | bool]]:
    both: list[tuple[int, int, Change | bool]] = [(one.ts, 0, one) for one in changes]
    both += [(ts, 1, starts) for ts, starts in flapping]
    return [(ts, one) for ts, _, one in sorted(both, key=lambda each: each[:2])]
