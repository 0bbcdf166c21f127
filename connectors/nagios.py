"""Nagios: every check as good or bad, durations from performance data, problems as incidents, downtimes as maintenance.

From its own files (`path`) each single check is known: the performance data say when, the log says how it ended. From
the JSON CGIs (`url`) a pull sees the newest result of each check, and counts it once; problems come from the archive.
"""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from connectors import _files, _http
from connectors._counters import seen
from connectors._nagios import STATUS, Change, Check, Log, Zone, check_of, ended, placed, unplaced
from connectors._nagios_cgi import checked, downtimes, result_of, status, take_alerts
from connectors._nagios_files import (
    KNOWN,
    Counted,
    Known,
    Status,
    identity,
    kind_of,
    looked,
    newest,
    place_of,
    results,
    status_of,
)
from tandem import place, times
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.intervals import union
from tandem.records import BUCKET, DAY, Covered, Event, Finding, Gap, Page, Series, bucket_of

_ARCHIVE = 7 * DAY
"""Seconds of the archive that are asked for at once."""
_SETTLED = 15
"""Seconds that a line may take to be written."""
_OLDER = 2 * DAY
"""How much older than what is asked for a log may be whose states still hold."""

ABOUT = About(
    reads="Nagios Core 4 (also Naemon): its JSON CGIs, or its own files: log, archives, performance data, status.dat",
    signals=("availability", "latency"),
    events=("incident", "maintenance"),
    labels={
        "host": "the name of the host",
        "service": "the description of the service; absent for the check of the host itself",
        "check": '"service" or "host"',
        "state": "of an incident: the state it began with",
    },
    files=(
        "nagios.log and the archives of it, also with times made readable (they need timezone)",
        "performance data of services and hosts, in Nagios' own form or that of PNP; best in a folder with the logs",
        "status.dat: one look at everything",
        "answers of statusjson.cgi (servicelist, hostlist, downtimelist) and archivejson.cgi (alertlist)",
    ),
    limits=(
        "Every check counts, in a soft state too; an incident begins and ends with a hard state.",
        "While a check flaps, its incident goes on until the flapping stops; only logs say so in time.",
        "WARNING is good and UNKNOWN, UNREACHABLE and what was never checked are left out; [source.status] may differ.",
        "Performance data in Nagios' own form hold no state: without the log beside them only their times are known.",
        "The JSON CGIs show the newest result of a check: what comes more often than the pulls is not counted.",
        "A downtime of a service is maintenance of the component its map gives, that of a host of all its components.",
        "Use url or path for one Nagios, not both: each would count the same checks.",
        "Wall clock times of an hour that repeats are the earlier one, unless the order in the file says otherwise.",
    ),
    status=STATUS,
    side="system",
    aliases=("naemon", "icinga1"),
    example="""\
connector = "nagios"
name = "nagios"
url = "http://127.0.0.1/cgi-bin/nagios4"   # or "file:exports/nagios"
# path = "/var/lib/nagios4"                # instead of url: its log, archives and performance data
# token_env = "NAGIOS_LOGIN"               # base64 of user:password, as its web server asks for it
# latency = ["time", "rta"]                # labels of performance data that are durations
  [[source.map]]
  component = "checkout-api"
  match = { host = "checkout-*", service = "HTTP*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One Nagios, by its CGIs or by its files."""

    common: Common
    url: str = setting('Where its CGIs are, or "file:DIR".', default="", example="http://127.0.0.1/cgi-bin/nagios4")
    path: Path | None = setting(
        "A folder, file or glob of its own files, in place of url.", default=None, example="/var/lib/nagios4"
    )
    auth: Literal["basic", "bearer"] = setting(
        'How the token is sent: "basic" (the token is base64 of user:password) or "bearer".', default="basic"
    )
    latency: tuple[str, ...] = setting(
        "Globs of labels of performance data that are durations; the first one there counts.",
        default=("time", "rta", "response_time"),
        example=("time",),
    )


def scope(config: Config) -> str:
    """The server's address, or the path."""
    return config.url.rstrip("/") or str(config.path or "")


def recognise(item: Item) -> bool:
    """Any file that Nagios or its JSON CGIs write; a folder when it holds a log beside performance data."""
    if not item.entries:
        return bool(kind_of(item))
    names = [entry.rpartition("/")[2] for entry in item.entries]
    if not any("nagios" in name or "perfdata" in name or "naemon" in name for name in names):
        return False
    kinds = {kind_of(item.child(entry)) for entry in _some(item)}
    return {"log", "perfdata"} <= kinds or {"log", "status"} <= kinds


def _some(folder: Item) -> Sequence[str]:
    return [entry for entry in folder.entries if not entry.rpartition("/")[2].startswith(("README", "."))][:500]


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What one file says, or a folder whose files belong together."""
    found = _Files(config)
    for each in [item.child(entry) for entry in _some(item)] if item.entries else [item]:
        found.add(each)
    yield from found.pages(item.name)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The checks, incidents and downtimes of [since, until)."""
    if config.path is not None and config.url:
        raise SourceRefused(f'give url or path for the source "{config.common.name}", not both.')
    if config.path is not None:
        yield from _Followed(config, pull).pages()
    elif config.url:
        prefix = "Basic " if config.auth == "basic" else "Bearer "
        with _http.open_client(config, config.url, token_prefix=prefix) as client:
            yield from _Asked(client, config, pull, _Memory.of(pull)).pages()
    else:
        raise SourceRefused(f'set url or path for the source "{config.common.name}".')


# -- exported files


@dataclass
class _Files:
    """The files of one import, of any kinds; the logs are read first, because they say how a check ended."""

    config: Config
    perfdata: list[Item] = field(default_factory=list)
    looks: list[Status] = field(default_factory=list)
    repeated: int = 0

    def __post_init__(self) -> None:
        self.log = Log(self.config.common)

    def add(self, item: Item) -> None:
        """One file."""
        kind = kind_of(item)
        if kind == "log":
            self.read_log(item)
        elif kind == "perfdata":
            self.perfdata.append(item)
        elif kind == "status":
            self.looks.append(status_of(item))
        elif kind == "json":
            for document in _files.documents(item):
                self._answer(document)

    def read_log(self, item: Item) -> None:
        zone = self.zone(item)
        for line in _files.lines(item):
            self.log.line(line, zone)
        self.repeated += zone.repeated

    def zone(self, item: Item) -> Zone:
        return Zone(item.given.timezone or self.config.common.timezone)

    def _answer(self, document: Any) -> None:
        query = result_of(document, "a file").get("query")
        if query == "alertlist":
            take_alerts(document, self.log)
        elif query in ("servicelist", "hostlist", "downtimelist"):
            self.looks.append(status(document))
        else:
            self.log.remark("an answer of a CGI that holds neither checks, downtimes nor alerts is not counted")

    def pages(self, name: str) -> Iterator[Page]:
        """All of it, when every file was added."""
        for item in self.perfdata:
            found = Counted(self.config.latency, self.log)
            for _, result in results(item, self.log, self.zone(item)):
                found.add(result)
            yield from found.pages(identity(item))
        events: dict[tuple[str, str], Event] = {}
        for look in self.looks:
            # What was counted one by one is not counted again by a look at all of it.
            if not self.perfdata:
                yield from looked(look, self.config.latency, every_of(self.config), self.log).look(look.created)
            for event in downtimes(look, self.log, look.created + 1):
                events[event.kind, event.key] = event
        for event in [*self.log.problems(), *self.log.maintenance()]:
            events[event.kind, event.key] = event
        told = [_planned(one) for event in events.values() for one in _placed(event, self.config.common)]
        yield Page(told, covered=(), findings=[*self.log.findings(name), *self.clock(name)])

    def clock(self, where: str) -> list[Finding]:
        """What was decided about the wall clock."""
        reason = "a time lies in an hour that repeats; the earlier one is taken unless the order says otherwise"
        return [Finding("remark", reason, where, self.repeated)] if self.repeated else []


def every_of(config: Config) -> int:
    """Seconds for which the newest result of a check is one of now."""
    return max(config.common.every, BUCKET)


def _planned(event: Event) -> Event:
    """A downtime that goes on at the end of a file ends when it was planned to: nobody comes back to the file."""
    planned = dict(event.labels).get("planned_end", "")
    is_open = event.kind == "maintenance" and event.outcome == "open"
    return replace(event, ended=max(times.iso(planned), event.ts)) if is_open and planned else event


def _placed(event: Event, common: Common) -> list[Event]:
    return placed(event, common) if event.kind == "maintenance" else [event]


# -- following its own files


@dataclass
class _Followed:
    """One pull of the files of a running Nagios: logs as a whole, performance data from the last whole bucket on.

    `kept`: of each file the offset of its last bucket's first line, that bucket, and the newest time that was read.
    """

    config: Config
    pull: Pull
    kept: dict[str, list[int]] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    covered: list[Covered] = field(default_factory=list)

    def pages(self) -> Iterator[Page]:
        if isinstance(self.pull.state, dict) and self.pull.state.get("version") == 1:
            self.kept, self.last = dict(self.pull.state["files"]), dict(self.pull.state["last"])
        known = self.pull.first or bool(self.pull.state)
        found = _Files(self.config)
        items = [item for item in self._items() if kind_of(item)]
        if not items:
            raise SourceRefused(f"{self.config.path} holds nothing that Nagios writes; check the path.")
        for item in items:
            if kind_of(item) == "log" and (self.pull.first or item.modified >= self.pull.since - _OLDER):
                found.read_log(item)
        perfdata = [item for item in items if kind_of(item) == "perfdata"]
        told: dict[str, list[int]] = {}
        for item in perfdata:
            yield from self._read(item, found, told)
        self._lost(told)
        for item in items:
            if kind_of(item) == "status" and not perfdata:
                yield from self._look(status_of(item), found.log, known=known)
        where = str(self.config.path)
        yield Page(
            self._events(found.log),
            {"version": 1, "files": told, "last": self.last},
            covered=tuple(self.covered),
            gaps=self.gaps,
            findings=[*found.log.findings(where), *found.clock(where)],
        )

    def _items(self) -> Iterator[Item]:
        path, given = self.config.common.folder / str(self.config.path), Given(timezone=self.config.common.timezone)
        hits = [path] if path.exists() else [Path(hit) for hit in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not hits:
            raise SourceRefused(f"{path} is not there; check the path.")
        for hit in hits:
            item = _files.item(hit, given)
            yield from [item.child(entry) for entry in _some(item)] if item.entries else [item]

    def _read(self, item: Item, found: _Files, told: dict[str, list[int]]) -> Iterator[Page]:
        """Count a file from the first line of its last bucket on; that bucket is told again with what came since."""
        mark, last, newest_of = self.kept.get(identity(item), [0, 0, 0])
        at, come = mark, defaultdict[Check, list[int]](list)
        counted = Counted(self.config.latency, found.log)
        for behind, result in results(item, found.log, found.zone(item), mark):
            if result.ts >= self.pull.until - _SETTLED:
                break
            if bucket_of(result.ts) > last:
                mark, last = at, bucket_of(result.ts)
            at, newest_of = behind, max(newest_of, result.ts)
            come[result.check].append(result.ts)
            counted.add(result)
        told[identity(item)] = [mark, last, newest_of]
        self._vouch(come)
        yield from counted.pages(identity(item))

    def _vouch(self, results_of: Mapping[Check, Sequence[int]]) -> None:
        """Each result vouches back to the one before it, where that is no longer than two usual intervals away."""
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for check, some in results_of.items():
            before = self.last.get(place_of(check), 0)
            known = sorted({*some, *([before] if 0 < before < some[0] else [])})
            usual = None if len(known) > 1 else every_of(self.config)
            found = seen(np.asarray(known, dtype=np.int64) * 1000, usual, counter=False, since=some[0])
            self.last[place_of(check)] = max(before, known[-1])
            for series in place.series_of(Series("availability", labels=check.labels), self.config.common):
                spans[series.component] += found
        self.covered += [Covered(*span, component=name) for name in sorted(spans) for span in union(spans[name])]

    def _lost(self, told: Mapping[str, Sequence[int]]) -> None:
        """A file that was taken away: what was written to it after the last pull is missing."""
        begins = [one.since for one in self.covered]
        for name, (_, _, newest_of) in self.kept.items():
            end = min((begin for begin in begins if begin > newest_of), default=self.pull.until)
            if name not in told and newest_of + 1 < end:
                self.gaps.append(Gap(newest_of + 1, end, "a file of performance data was taken away unread"))

    def _look(self, look: Status, log: Log, *, known: bool) -> Iterator[Page]:
        """The results of status.dat that came since the last pull; after a loss of memory none, some may be counted."""
        if not 0 < look.created < self.pull.until:
            return
        if known:
            every = every_of(self.config)
            yield from looked(look, self.config.latency, every, log, self.last, self.pull.until).look(look.created)
            self.covered.append(Covered(look.created - every, look.created + 1))
        self.last.update(newest(look, self.pull.until))

    def _events(self, log: Log) -> list[Event]:
        still = [event for event in self.pull.open if event.kind == "incident"]
        down = [unplaced(event) for event in self.pull.open if event.kind == "maintenance"]
        found = [*log.problems(still, self.pull.until, adopt=self.pull.first), *log.maintenance(down, self.pull.until)]
        return [one for event in found for one in _placed(event, self.config.common)]


# -- the JSON CGIs


@dataclass
class _Memory:
    """The newest result of each check that was counted, and when Nagios was looked at; `known` is whether any was."""

    looked: int = 0
    last: dict[str, int] = field(default_factory=dict)
    known: bool = False

    @classmethod
    def of(cls, pull: Pull) -> _Memory:
        told = pull.state
        if not isinstance(told, dict) or told.get("version") != 1:
            return cls(known=pull.first)
        return cls(told["looked"], dict(told["last"]), True)

    def plain(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"version": 1, "looked": self.looked, "last": dict(list(self.last.items())[:KNOWN])}


@dataclass
class _Asked:
    """One pull from the CGIs."""

    client: _http.Client
    config: Config
    pull: Pull
    memory: _Memory

    def pages(self) -> Iterator[Page]:
        log = Log(self.config.common)
        begin = self.pull.since
        while begin < self.pull.until:
            end = min(begin + _ARCHIVE, self.pull.until)
            asked = {"starttime": str(begin), "endtime": str(end)}
            take_alerts(self._get("archivejson.cgi", "alertlist", asked), log)
            self.pull.progress("archive", (end - self.pull.since) / max(1, self.pull.until - self.pull.since))
            begin = end
        services = status(self._get("statusjson.cgi", "servicelist", {"details": "true"}))
        hosts = status(self._get("statusjson.cgi", "hostlist", {"details": "true"}))
        planned = status(self._get("statusjson.cgi", "downtimelist", {"details": "true"}))
        look = Status(min(services.created, hosts.created), [*hosts.checks, *services.checks], planned.downtimes)
        yield from self._counted(look, log)
        events = [*self._incidents(look, log), *self._downtimes(look, log)]
        covered, gaps = self._vouched(look)
        self.memory.looked = max(self.memory.looked, min(look.created, self.pull.until))
        yield Page(
            events, self.memory.plain(), covered=covered, gaps=gaps, findings=log.findings(self.config.common.name)
        )

    def _get(self, cgi: str, query: str, more: Mapping[str, str]) -> Any:
        asked = {"query": query, "formatoptions": "enumerate", **more}
        data = self.client.get(cgi, asked).data
        checked(data, cgi, query, more.get("starttime", ""))
        return data

    def _counted(self, look: Status, log: Log) -> Iterator[Page]:
        """The results that came since the last pull; after a loss of memory none, because some may be counted."""
        if self._is_late(look):
            return
        if self.memory.known:
            counted = looked(look, self.config.latency, every_of(self.config), log, self.memory.last, self.pull.until)
            yield from counted.look(look.created)
        self.memory.last.update(newest(look, self.pull.until))

    def _is_late(self, look: Status) -> bool:
        """Whether Nagios itself has stopped: then nothing it shows is of now."""
        return self.pull.until - look.created > 2 * max(self.config.common.every, BUCKET)

    def _vouched(self, look: Status) -> tuple[tuple[Covered, ...], list[Gap]]:
        every, until = max(self.config.common.every, BUCKET), self.pull.until
        last = self.memory.looked
        if self._is_late(look):
            return (), [
                Gap(min(max(look.created, self.pull.since), until - 1), until, "Nagios writes no status any more")
            ]
        begin = max(last, until - 2 * every) if last else until - every
        if not self.memory.known:
            return (), [Gap(until - every, until, "what was counted before is not known; counting goes on from here")]
        gap = Gap(last, begin, "Nagios shows the newest result only, and was not asked in between")
        return (Covered(begin, until),), [gap] if last and last < begin else []

    def _incidents(self, look: Status, log: Log) -> list[Event]:
        """The problems of the archive, put right by what is so now."""
        still = [event for event in self.pull.open if event.kind == "incident"]
        told = log.problems(still, self.pull.until)
        if self._is_late(look):
            return told
        now = {one.check: one for one in look.checks}
        found = [self._reviewed(event, now.get(check_of(event)), look, log) for event in told]
        known = {event.key for event in found} | {check_of(one) for one in found if one.outcome == "open"}
        for one in look.checks:
            if one.is_checked and one.check not in known and log.outcome(one.hard_word) == "bad":
                event = log.problem(one.check, Change(one.hard_since, 0, one.hard_word, True, one.output))
                if 0 < event.ts < self.pull.until and event.key not in known and not log.newer(one.check, event.ts):
                    found.append(event)
        return found

    def _reviewed(self, event: Event, now: Known | None, look: Status, log: Log) -> Event:
        """An open incident: over where its check is fine since, and the archive has lost how it came to that."""
        if event.outcome != "open" or look.created <= event.ts:
            return event
        if now is None:
            log.remark("an incident is open of a check that is no longer there; it ends with it")
            return ended(event, self.pull.until - 1, log)
        if now.is_flapping or not now.is_checked or now.last_check <= event.ts or log.outcome(now.hard_word) == "bad":
            return event
        return ended(event, now.hard_since if event.ts < now.hard_since < self.pull.until else self.pull.until - 1, log)

    def _downtimes(self, look: Status, log: Log) -> list[Event]:
        found = [one for event in downtimes(look, log, self.pull.until) for one in placed(event, self.config.common)]
        listed = {event.key for event in found}
        for event in self.pull.open:
            if event.kind == "maintenance" and event.key not in listed:
                planned = dict(event.labels).get("planned_end", "")
                end = min(times.iso(planned) if planned else self.pull.until - 1, self.pull.until - 1)
                found.append(ended(event, end, log))
        return found
