"""Answers of Nagios' JSON CGIs: looks at every check, downtimes, and the alerts of its archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connectors._nagios import Check, Log, word_of
from connectors._nagios_files import Known, Status
from tandem import times
from tandem.connect import SourceRefused
from tandem.records import Event, labels_of


def result_of(document: Any, where: str) -> Mapping[str, Any]:
    result = document.get("result") if isinstance(document, dict) else None
    if not isinstance(result, dict) or not isinstance(document.get("data"), dict):
        raise SourceRefused(f"{where} is no answer of Nagios' JSON CGIs; check the url.")
    return result


def checked(document: Any, cgi: str, query: str, begin: str = "") -> None:
    """Raises SourceRefused for an error, and for the answer to another question."""
    result = result_of(document, cgi)
    if result.get("type_code") != 0:
        said = " ".join(str(result.get("message") or result.get("type_text"))[:200].split()).rstrip(".")
        raise SourceRefused(f'{cgi} cannot answer {query} ("{said}"); check the url and the rights of the user.')
    asked = document["data"].get("selectors")
    other = begin and isinstance(asked, dict) and str(asked.get("starttime", f"{begin}000")) != f"{begin}000"
    if result.get("query") != query or other:
        raise SourceRefused(f"{cgi} answered another question than {query}; check what stands before it.")


def status(document: Any) -> Status:
    """The checks or downtimes of an answer of statusjson.cgi."""
    result, data = result_of(document, "a file"), document["data"]
    found = Status(int(result.get("last_data_update") or result.get("query_time") or 0) // 1000)
    for host, services in (data.get("servicelist") or {}).items():
        found.checks += [_known(Check(host, name), told, "service") for name, told in services.items()]
    found.checks += [_known(Check(host), told, "host") for host, told in (data.get("hostlist") or {}).items()]
    found.downtimes += list((data.get("downtimelist") or {}).values())
    return found


def _known(check: Check, told: Any, kind: str) -> Known:
    if not isinstance(told, dict):
        raise SourceRefused("the answer names checks without saying how they are; ask with details=true.")
    return Known(
        check, word_of(told.get("status", "-1"), kind, "status"), told.get("has_been_checked") is True,
        int(told.get("last_check") or 0) // 1000, int(told.get("next_check") or 0) // 1000,
        word_of(told.get("last_hard_state", "-1"), kind, "plain"), int(told.get("last_hard_state_change") or 0) // 1000,
        str(told.get("perf_data", "")), str(told.get("plugin_output", "")), told.get("is_flapping") is True,
    )  # fmt: skip


def take_alerts(document: Any, log: Log) -> None:
    """The alerts of an answer of archivejson.cgi; its codes differ from those of statusjson.cgi."""
    result_of(document, "a file")
    for told in document["data"].get("alertlist") or ():
        is_host = told.get("object_type") in (1, "host")
        check = Check(str(told.get("name" if is_host else "host_name", "")), str(told.get("description", "")))
        if not check.host or not isinstance(told.get("timestamp"), int):
            log.reject("an alert of the archive lacks its host or time")
            continue
        word = word_of(told.get("state"), "host" if is_host else "service", "archive")
        kind = "HARD" if told.get("state_type") in (1, "hard") else "SOFT"
        log.change(check, told["timestamp"] // 1000, [word, kind, "", str(told.get("plugin_output", ""))])


def downtimes(look: Status, log: Log, until: int) -> Iterator[Event]:
    """The downtimes that have begun, as far as Nagios still knows them."""
    for told in look.downtimes:
        start = int(told.get("flex_downtime_start") or 0) // 1000 if not told.get("fixed") else 0
        start = start or int(told.get("start_time") or 0) // 1000
        if not told.get("is_in_effect") or not start or start >= until:
            continue
        check = Check(str(told.get("host_name", "")), str(told.get("service_description", "")))
        end = int(told.get("end_time") or 0) // 1000
        labels = {**dict(check.labels), "planned_end": times.text(end) if end else None}
        yield Event(
            "maintenance",
            f"{told.get('downtime_id')}@{start}",
            start,
            outcome=log.outcome("in downtime"),
            actor=str(told.get("author", "")),
            title=str(told.get("comment", "")) or f"downtime of {check.name}",
            labels=labels_of(labels),
            revision=2 * start,
        )
