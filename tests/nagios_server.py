"""A Nagios in the time a test gives it: checks with soft and hard states, its JSON CGIs, and the files it writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandem import times
from tests.replay import Answer, Asked

PLAIN = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3, "up": 0, "down": 1, "unreachable": 2}
STATUS = {"pending": 1, "ok": 2, "warning": 4, "unknown": 8, "critical": 16, "up": 2, "down": 4, "unreachable": 8}
ARCHIVE = {"ok": 8, "warning": 16, "critical": 32, "unknown": 64, "up": 1, "down": 2, "unreachable": 4}


@dataclass
class Look:
    """One check of a service or host."""

    ts: int
    word: str
    perfdata: str = "time=0.0125s;;;0.000000;10.000000 size=512B;;;0"


@dataclass
class Alert:
    """A line of the log."""

    ts: int
    host: str
    service: str
    word: str
    kind: str
    attempt: int


@dataclass
class Nagios:
    """What it has checked; `now` is its clock, `attempts` how often it looks before a state is hard."""

    now: int
    attempts: int = 2
    looks: dict[tuple[str, str], list[Look]] = field(default_factory=dict)
    downtimes: list[dict[str, Any]] = field(default_factory=list)
    flaps: list[tuple[int, str, str, bool]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    enumerates: bool = True
    """Whether the CGIs say states in words, as they are asked to."""
    stopped: int | None = None
    began: int = 0
    forgets: int = 0
    """The archive holds nothing before this time."""

    def check(self, host: str, service: str, ts: int, word: str, perfdata: str | None = None) -> None:
        """One result; the host's own checks have service ""."""
        one = Look(ts, word) if perfdata is None else Look(ts, word, perfdata)
        self.looks.setdefault((host, service), []).append(one)

    def downtime(
        self, host: str, service: str, start: int, end: int, number: int = 1, comment: str = "new disks"
    ) -> None:
        self.downtimes.append({"host": host, "service": service, "start": start, "end": end, "number": number,
                               "comment": comment, "stopped": end})  # fmt: skip

    # -- what follows from the checks

    def alerts(self, until: int) -> list[Alert]:
        """Every change of state, soft and hard, in order of time."""
        found = [one for (host, service), looks in self.looks.items() for one in self._alerts(host, service, looks)]
        return sorted((one for one in found if self.forgets <= one.ts < until), key=lambda one: one.ts)

    def _alerts(self, host: str, service: str, looks: list[Look]) -> Iterator[Alert]:
        fine = "ok" if service else "up"
        word, kind, attempt = fine, "HARD", 1
        for look in looks:
            if look.word == fine:
                if word != fine:
                    yield Alert(look.ts, host, service, fine, kind, attempt)
                word, kind, attempt = fine, "HARD", 1
            elif word == fine:
                word, kind, attempt = look.word, "HARD" if self.attempts == 1 else "SOFT", 1
                yield Alert(look.ts, host, service, word, kind, attempt)
            elif kind == "SOFT":
                attempt += 1
                word, kind = look.word, "HARD" if attempt >= self.attempts else "SOFT"
                yield Alert(look.ts, host, service, word, kind, attempt)
            elif look.word != word:
                word = look.word
                yield Alert(look.ts, host, service, word, "HARD", attempt)

    def _now(self, host: str, service: str) -> tuple[list[Look], Alert | None, Alert | None]:
        looks = [one for one in self.looks[host, service] if one.ts <= self.written]
        some = list(self._alerts(host, service, looks))
        return looks, some[-1] if some else None, next((one for one in reversed(some) if one.kind == "HARD"), None)

    @property
    def written(self) -> int:
        """When the status was written last."""
        return min(self.now, self.stopped) if self.stopped is not None else self.now

    # -- the JSON CGIs

    def answer(self, asked: Asked) -> Answer:
        cgi = asked.path.rpartition("/")[2]
        given = asked.parameters()
        self.asked.append(f"{cgi} {given.get('query')}")
        self.enumerates = given.get("formatoptions") == "enumerate"
        if cgi == "archivejson.cgi" and given.get("query") == "alertlist":
            return self._archive(cgi, given)
        data = {
            "servicelist": lambda: self._services(given),
            "hostlist": lambda: {host: self._told(host, "", given) for host, service in self.looks if not service},
            "downtimelist": self._downtimelist,
        }.get(given.get("query", ""))
        if cgi != "statusjson.cgi" or data is None:
            return self._reply(cgi, given, {}, 6, "Option Value Invalid", "The query option value is invalid.")
        return self._reply(cgi, given, {"selectors": {}, given["query"]: data()})

    def _archive(self, cgi: str, given: dict[str, str]) -> Answer:
        if "starttime" not in given or "endtime" not in given:
            return self._reply(cgi, given, {}, 4, "Option Missing", "Start and/or end time must be supplied.")
        since, until = int(given["starttime"]), int(given["endtime"])
        rows = [self._row(one) for one in self.alerts(min(until, self.now) + 1) if since <= one.ts <= until]
        selectors = {"starttime": since * 1000, "endtime": until * 1000}
        return self._reply(cgi, given, {"selectors": selectors, "alertlist": rows})

    def _row(self, one: Alert) -> dict[str, Any]:
        kind = "service" if one.service else "host"
        named = {"host_name": one.host, "description": one.service} if one.service else {"name": one.host}
        return {
            "timestamp": one.ts * 1000,
            "object_type": kind if self.enumerates else 2 if one.service else 1,
            **named,
            "state_type": one.kind.lower() if self.enumerates else 1 if one.kind == "HARD" else 2,
            "state": one.word if self.enumerates else ARCHIVE[one.word],
            "plugin_output": f"{one.word} says the plugin",
        }

    def _services(self, given: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for host, service in self.looks:
            if service:
                found.setdefault(host, {})[service] = self._told(host, service, given)
        return found

    def _told(self, host: str, service: str, given: dict[str, str]) -> Any:
        looks, last, hard = self._now(host, service)
        fine = "ok" if service else "up"
        word, hard_word = (looks[-1].word if looks else "pending"), (hard.word if hard else fine)
        if given.get("details") != "true":
            return word if self.enumerates else STATUS[word]
        return {
            "host_name": host, "description": service, "has_been_checked": bool(looks),
            "status": word if self.enumerates else STATUS[word],
            "last_check": looks[-1].ts * 1000 if looks else 0, "next_check": 0,
            "last_hard_state": hard_word if self.enumerates else PLAIN[hard_word],
            "last_hard_state_change": (hard.ts if hard else self.began) * 1000,
            "state_type": (last.kind if last else "HARD").lower(),
            "perf_data": looks[-1].perfdata if looks else "", "plugin_output": f"{word} says the plugin",
            "is_flapping": any(on for at, *name, on in self.flaps if at <= self.now and name == [host, service]),
            "scheduled_downtime_depth": 0,
        }  # fmt: skip

    def _downtimelist(self) -> dict[str, Any]:
        return {
            str(one["number"]): {
                "downtime_id": one["number"], "type": "service" if one["service"] else "host", "host_name": one["host"],
                **({"service_description": one["service"]} if one["service"] else {}),
                "entry_time": one["start"] * 1000, "start_time": one["start"] * 1000, "flex_downtime_start": 0,
                "end_time": one["end"] * 1000, "fixed": True, "triggered_by": 0, "duration": one["end"] - one["start"],
                "is_in_effect": one["start"] <= self.now, "author": "ada", "comment": one["comment"],
            }
            for one in self.downtimes
            if self.now < one["stopped"]
        }  # fmt: skip

    def _reply(self, cgi: str, given: dict[str, str], data: Any, code: int = 0, text: str = "Success",
               message: str = "") -> Answer:  # fmt: skip
        result = {
            "query_time": self.now * 1000, "cgi": cgi, "user": "", "query": given.get("query", ""),
            "program_start": self.began * 1000, "last_data_update": self.written * 1000, "type_code": code,
            "type_text": text, "message": message,
        }  # fmt: skip
        return Answer({"format_version": 0, "result": result, "data": data})

    # -- the files

    def log_lines(self, until: int, since: int = 0, begin: str = "INITIAL") -> list[str]:
        """nagios.log from `since` on: what it began with, then every change."""
        found = [(since or self.began, -1, "Nagios 4.4.6 starting... (PID=1)")]
        for (host, service), looks in self.looks.items():
            before = [one for one in self._alerts(host, service, looks) if one.ts < since]
            name, fine = (f"SERVICE STATE: {host};{service}", "OK") if service else (f"HOST STATE: {host}", "UP")
            state = f"{before[-1].word.upper()};{before[-1].kind};1;output" if before else f"{fine};HARD;1;(null)"
            found.append((since or self.began, 0, f"{begin} {name};{state}"))
        for one in self.alerts(until):
            name = f"SERVICE ALERT: {one.host};{one.service}" if one.service else f"HOST ALERT: {one.host}"
            line = f"{name};{one.word.upper()};{one.kind};{one.attempt};{one.word} says the plugin"
            found.append((one.ts, 1, line))
        for at, host, service, on in self.flaps:
            line = f"SERVICE FLAPPING ALERT: {host};{service};{'STARTED' if on else 'STOPPED'}; Service appears to flap"
            found.append((at, 2, line))
        for one_ in self.downtimes:
            found += self._downtime_lines(one_)
        return [f"[{ts}] {text}" for ts, _, text in sorted(found) if since <= ts < until]

    def _downtime_lines(self, one: dict[str, Any]) -> list[tuple[int, int, str]]:
        kind, short = ("SERVICE", "SVC") if one["service"] else ("HOST", "HOST")
        name = f"{one['host']};{one['service']}" if one["service"] else one["host"]
        command = f"{name};{one['start']};{one['end']};1;0;{one['end'] - one['start']};ada;{one['comment']}"
        over = "STOPPED" if one["stopped"] == one["end"] else "CANCELLED"
        return [
            (one["start"], 1, f"EXTERNAL COMMAND: SCHEDULE_{short}_DOWNTIME;{command}"),
            (one["start"], 2, f"{kind} DOWNTIME ALERT: {name};STARTED; {kind.title()} has entered a period"),
            (one["stopped"], 2, f"{kind} DOWNTIME ALERT: {name};{over}; {kind.title()} has exited from a period"),
        ]

    def perfdata_lines(self, until: int, since: int = 0, *, pnp: bool = False) -> list[str]:
        """The performance data of every check in order of time, in Nagios' own form or in PNP's."""
        every = [(one.ts, host, service, one) for (host, service), looks in self.looks.items() for one in looks]
        return [
            self._pnp(host, service, one) if pnp else self._own(host, service, one)
            for ts, host, service, one in sorted(every, key=lambda each: each[:3])
            if since <= ts < until
        ]

    def _own(self, host: str, service: str, one: Look) -> str:
        head = ["[SERVICEPERFDATA]", str(one.ts), host, service] if service else ["[HOSTPERFDATA]", str(one.ts), host]
        return "\t".join([*head, "0.012", "0.001", f"{one.word} says the plugin", one.perfdata])

    def _pnp(self, host: str, service: str, one: Look) -> str:
        kind = "SERVICE" if service else "HOST"
        told = {"DATATYPE": f"{kind}PERFDATA", "TIMET": one.ts, "HOSTNAME": host, "SERVICEDESC": service,
                f"{kind}PERFDATA": one.perfdata, f"{kind}STATE": one.word.upper()}  # fmt: skip
        return "\t".join(f"{name}::{value}" for name, value in told.items() if value != "")

    def status_lines(self) -> list[str]:
        """status.dat as it stands now."""
        found = ["# NAGIOS STATUS FILE", "", "info {", f"\tcreated={self.written}", "\tversion=4.4.6", "\t}"]
        for host, service in self.looks:
            told = self._told(host, service, {"details": "true"})
            kind = "servicestatus" if service else "hoststatus"
            found += [f"{kind} {{", f"\thost_name={host}", *([f"\tservice_description={service}"] if service else [])]
            found += [f"\thas_been_checked={int(told['has_been_checked'])}"]
            found += [
                f"\tcurrent_state={PLAIN.get(str(told['status']), 0)}",
                f"\tlast_check={told['last_check'] // 1000}",
            ]
            found += [f"\tlast_hard_state={PLAIN[str(told['last_hard_state'])]}"]
            found += [f"\tplugin_output=a=b {{c", f"\tperformance_data={told['perf_data']}", "\t}"]  # noqa: F541
        for one in self.downtimes:
            if self.now < one["stopped"]:
                found += ["servicedowntime {" if one["service"] else "hostdowntime {", f"\thost_name={one['host']}"]
                found += [f"\tservice_description={one['service']}"] if one["service"] else []
                found += [f"\tdowntime_id={one['number']}", f"\tstart_time={one['start']}", f"\tend_time={one['end']}"]
                found += [f"\tfixed=1", f"\tis_in_effect={int(one['start'] <= self.now)}", "\tauthor=ada"]  # noqa: F541
                found += [f"\tcomment={one['comment']}", "\t}"]
        return found

    def write(self, folder: Path, until: int) -> None:
        """Its files as they lie at `until`."""
        self.now = until
        (folder / "nagios.log").write_text("\n".join(self.log_lines(until)) + "\n")
        (folder / "service-perfdata").write_text("\n".join(self.perfdata_lines(until)) + "\n")
        (folder / "status.dat").write_text("\n".join(self.status_lines()) + "\n")


def human(line: str, zone: str) -> str:
    """A line of the log with its time made readable in a zone, as `perl -pe 's/(\\d+)/localtime($1)/e'` does."""
    from datetime import UTC, datetime

    ts = int(line[1:11])
    there = datetime.fromtimestamp(ts, UTC).astimezone(times.zone(zone))
    return f"[{there:%a %b} {there.day:2d} {there:%H:%M:%S %Y}]{line[12:]}"
