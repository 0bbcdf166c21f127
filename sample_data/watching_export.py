"""Who was called, what suppliers said, and what a second pair of eyes saw: PagerDuty, Statuspage and Nagios."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sample_data.packing import as_json, gzipped
from sample_data.story import (
    BAD_RELEASE,
    DAY,
    END,
    HOUR,
    OLD_BAD_RELEASE,
    OUTAGE,
    PROMOTION,
    at,
    random_of,
    stamp,
)

# -- PagerDuty


@dataclass(frozen=True)
class Call:
    """An incident: when somebody was called, when somebody answered, when it was over (None: it is not)."""

    service: str
    title: str
    created: int
    acknowledged: int
    resolved: int | None
    urgency: str = "high"


CALLS = (
    Call("payments-gateway", "Card provider times out", at("2026-08-29 19:42"), at("2026-08-29 19:46"),
         at("2026-08-29 20:31")),
    Call("checkout-api", "Checkout fails 8 % of requests", OLD_BAD_RELEASE.start + 540, OLD_BAD_RELEASE.start + 780,
         at("2026-09-16 15:22")),
    Call("search-api", "Search index is an hour behind", at("2026-09-24 06:12"), at("2026-09-24 06:31"),
         at("2026-09-24 08:05"), "low"),
    Call("auth-api", "Too many sign-ins from one address", at("2026-10-21 22:14"), at("2026-10-21 22:19"),
         at("2026-10-21 22:58")),
    Call("checkout-api", "Checkout fails 18 % of requests", BAD_RELEASE.start + 420, BAD_RELEASE.start + 600,
         at("2026-11-11 16:31")),
    Call("eta-api", "eta-api does not answer", OUTAGE.start + 360, OUTAGE.start + 660, at("2026-11-12 04:09")),
    Call("fraud-detector", "Customers in Brazil cannot pay: <b>blocked as fraud</b>", PROMOTION.start + 31 * HOUR,
         PROMOTION.start + 31 * HOUR + 900, None),
)  # fmt: skip
"""One title holds markup on purpose."""
PLANNED = (("auth-api", "Move the session store", at("2026-10-28 02:00"), at("2026-10-28 03:30")),)


def pagerduty(folder: Path) -> None:
    """Answers of /incidents, /log_entries and /maintenance_windows, one page each."""
    incidents = [_incident(number, call) for number, call in enumerate(CALLS, 811)]
    log = [entry for number, call in enumerate(CALLS, 811) for entry in _log(number, call)]
    windows = [_window(number, *one) for number, one in enumerate(PLANNED, 4)]
    for name, rows in (("incidents", incidents), ("log_entries", log), ("maintenance_windows", windows)):
        page = {name: rows, "limit": 100, "offset": 0, "more": False, "total": None}
        gzipped(folder / "pagerduty" / f"{name}.json.gz", as_json(page))


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"id": f"P{name.upper().replace('-', '')[:9]}", "type": f"{kind}_reference", "summary": name}


def _incident(number: int, call: Call) -> dict[str, object]:
    over = call.resolved is not None
    return {
        "id": f"Q{number}NORTHLIGHT", "type": "incident", "summary": f"[#{number}] {call.title}",
        "html_url": f"https://northlight.pagerduty.com/incidents/Q{number}NORTHLIGHT", "incident_number": number,
        "title": call.title, "created_at": stamp(call.created), "updated_at": stamp(call.resolved or call.acknowledged),
        "status": "resolved" if over else "acknowledged", "incident_key": None,
        "service": _reference("service", call.service), "assignments": [],
        "last_status_change_at": stamp(call.resolved or call.acknowledged),
        **({"resolved_at": stamp(call.resolved)} if call.resolved is not None else {}),
        "escalation_policy": _reference("escalation_policy", "on-call"), "teams": [_reference("team", "northlight")],
        "priority": None, "urgency": call.urgency,
        "acknowledgements": [] if over else [{"at": stamp(call.acknowledged),
                                              "acknowledger": _reference("user", "ines")}],
    }  # fmt: skip


def _log(number: int, call: Call) -> list[dict[str, object]]:
    steps = [("trigger", call.created), ("acknowledge", call.acknowledged), ("resolve", call.resolved)]
    return [
        {
            "id": f"R{number}{kind.upper()}", "type": f"{kind}_log_entry", "summary": f"{kind}d",
            "created_at": stamp(ts), "agent": _reference("user", "ines"), "channel": {"type": "mobile"},
            "service": _reference("service", call.service),
            "incident": {"id": f"Q{number}NORTHLIGHT", "type": "incident_reference",
                         "summary": f"[#{number}] {call.title}"},
        }
        for kind, ts in steps if ts is not None
    ]  # fmt: skip


def _window(number: int, service: str, why: str, since: int, until: int) -> dict[str, object]:
    return {
        "id": f"W{number}NORTHLIGHT", "type": "maintenance_window", "summary": why, "sequence_number": number,
        "start_time": stamp(since), "end_time": stamp(until), "description": why,
        "services": [_reference("service", service)], "teams": [], "created_by": _reference("user", "ines"),
    }  # fmt: skip


# -- the status page of the card provider


def statuspage(folder: Path) -> None:
    """What the invented card provider Cardline told of itself: two incidents and a maintenance."""
    page = {"id": "cl0northlight", "name": "Cardline", "url": "https://status.cardline.example", "time_zone": "Etc/UTC",
            "updated_at": stamp(END - 3 * DAY)}  # fmt: skip
    incidents = [
        _told("inc2cardline", "Slow answers from the European gateway", "minor", [
            ("investigating", at("2026-10-15 12:40")), ("monitoring", at("2026-10-15 13:20")),
            ("resolved", at("2026-10-15 13:52"))]),
        _told("inc1cardline", "Payments time out", "major", [
            ("investigating", at("2026-08-29 19:38")), ("identified", at("2026-08-29 19:59")),
            ("resolved", at("2026-08-29 20:24"))]),
    ]  # fmt: skip
    planned = _told("mnt1cardline", "Renewal of certificates", "maintenance", [
        ("scheduled", at("2026-11-01 09:00")), ("in_progress", at("2026-11-08 01:00")),
        ("completed", at("2026-11-08 01:45"))])  # fmt: skip
    planned |= {"scheduled_for": stamp(at("2026-11-08 01:00")), "scheduled_until": stamp(at("2026-11-08 02:00"))}
    gzipped(folder / "statuspage" / "incidents.json.gz", as_json({"page": page, "incidents": incidents}))
    gzipped(folder / "statuspage" / "scheduled-maintenances.json.gz",
            as_json({"page": page, "scheduled_maintenances": [planned]}))  # fmt: skip


def _told(key: str, name: str, impact: str, steps: list[tuple[str, int]]) -> dict[str, object]:
    part = {"code": "cardapi", "name": "Card API", "old_status": "operational", "new_status": "partial_outage"}
    updates = [
        {"id": f"{key}{place}", "status": status, "body": "…", "incident_id": key, "created_at": stamp(ts),
         "updated_at": stamp(ts), "display_at": stamp(ts), "affected_components": [part]}
        for place, (status, ts) in enumerate(steps)
    ]  # fmt: skip
    ended = steps[-1][1]
    return {
        "id": key, "name": name, "status": steps[-1][0], "created_at": stamp(steps[0][1]), "updated_at": stamp(ended),
        "monitoring_at": None, "resolved_at": stamp(ended), "impact": impact,
        "shortlink": f"https://stspg.example/{key}", "started_at": stamp(steps[0][1]), "page_id": "cl0northlight",
        "incident_updates": updates[::-1],
        "components": [{"id": "cardapi", "name": "Card API", "status": "operational"}],
    }  # fmt: skip


# -- Nagios, in another data centre: it goes on looking while Prometheus is down

CHECKED = "eta-api"
SINCE = at("2026-10-01 00:00")
EVERY = 600
AFTER = 41
"""Seconds after the beginning of ten minutes at which it looks."""


def nagios(folder: Path) -> None:
    """Performance data of one check every ten minutes in the form of PNP, and the log of its states."""
    random = random_of("nagios", CHECKED)
    lines, log = [], [f"[{SINCE}] LOG VERSION: 2.0", f"[{SINCE}] CURRENT SERVICE STATE: {CHECKED};HTTP;OK;HARD;1;ok"]
    down = 0
    for ts in range(SINCE + AFTER, END, EVERY):
        failed = OUTAGE.start <= ts < (OUTAGE.end or END)
        seconds = 10.0 if failed else 0.085 * float(random.lognormal(0, 0.44))
        state, kind = ("CRITICAL", "HARD" if down >= 2 else "SOFT") if failed else ("OK", "HARD")
        lines.append(
            f"DATATYPE::SERVICEPERFDATA\tTIMET::{ts}\tHOSTNAME::{CHECKED}\tSERVICEDESC::HTTP\t"
            f"SERVICEPERFDATA::time={seconds:.6f}s;1.0;2.0;0.0;10.0\tSERVICECHECKCOMMAND::check_http\t"
            f"HOSTSTATE::UP\tHOSTSTATETYPE::HARD\tSERVICESTATE::{state}\tSERVICESTATETYPE::{kind}"
        )
        if failed and down < 3:
            down += 1
            kind = "HARD" if down == 3 else "SOFT"
            log.append(f"[{ts}] SERVICE ALERT: {CHECKED};HTTP;CRITICAL;{kind};{down};timeout")
        elif down and not failed:
            log.append(f"[{ts}] SERVICE ALERT: {CHECKED};HTTP;OK;HARD;3;HTTP OK")
            down = 0
    gzipped(folder / "nagios" / "service-perfdata.gz", ("\n".join(lines) + "\n").encode())
    gzipped(folder / "nagios" / "nagios.log.gz", ("\n".join(log) + "\n").encode())


def truth() -> str:
    """The part of truth.toml that tells of people being called and of planned work."""
    lines = []
    for call in CALLS:
        lines += ["[[incident]]", f'component = "{call.service}"', f"created = {stamp(call.created)}",
                  f"acknowledged = {stamp(call.acknowledged)}"]  # fmt: skip
        lines += [f"resolved = {stamp(call.resolved)}"] if call.resolved is not None else []
        lines.append("")
    for component, _, since, until in PLANNED:
        lines += [
            "[[maintenance]]",
            f'component = "{component}"',
            f"start = {stamp(since)}",
            f"end = {stamp(until)}",
            "",
        ]
    return "\n".join(lines)


def write(folder: Path) -> None:
    """All three."""
    pagerduty(folder)
    statuspage(folder)
    nagios(folder)
