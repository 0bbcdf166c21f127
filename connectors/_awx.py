"""Jobs of AWX and of the Automation Controller, as events: the same functions for replies and saved answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors._ansible import Counts, Said, playbook
from connectors._fields import Raw, count_of, time_or_none
from tandem.records import Event, labels_of


def job_event(raw: Raw, config: Any, said: Said, summaries: Sequence[Raw] | None = None) -> Event | None:
    """One job; None for what is none. `summaries` are those of its hosts, None where they were not asked for."""
    number, created = raw.get("id"), time_or_none(raw, "created")
    if isinstance(number, bool) or not isinstance(number, int) or number < 1 or created is None:
        said.reject("a job has no id or no time of its creation")
        return None
    if raw.get("type") not in ("job", None):
        said.remark(f"objects of type {str(raw.get('type'))[:40]} are no jobs and are not counted")
        return None
    status = str(raw.get("status") or "")
    outcome = said.outcome(status)
    started, finished = time_or_none(raw, "started"), time_or_none(raw, "finished")
    counts = _counts(summaries) if summaries is not None else None
    name = str(raw.get("name") or "")
    told = {
        "template": _named(raw, "unified_job_template", "job_template") or name,
        "playbook": playbook(str(raw.get("playbook") or "")), "inventory": _named(raw, "inventory"),
        "project": _named(raw, "project"), "status": status, **(counts.labels() if counts else {}),
    }  # fmt: skip
    return Event(
        "infrastructure", str(number), created,
        started=started if started is not None and started >= created else None,
        ended=finished if outcome != "open" else None, outcome=outcome,
        commit=str(raw.get("scm_revision") or ""), trigger=str(raw.get("launch_type") or ""),
        actor=_named(raw, "created_by", key="username"),
        title=f"{name}: {counts.said()}" if counts and counts.hosts else name,
        url=_link(config.web or config.url, number), labels=labels_of(told), revision=finished or started or created,
    )  # fmt: skip


def _counts(summaries: Sequence[Raw]) -> Counts:
    counts = Counts()
    for raw in summaries:
        host = str(raw.get("host_name") or raw.get("host") or raw.get("id"))
        counts.hosts.add(host)
        if count_of(raw, "failures"):
            counts.failed.add(host)
        if count_of(raw, "dark"):
            counts.unreachable.add(host)
        counts.changed += count_of(raw, "changed")
        counts.ignored += count_of(raw, "ignored")
        counts.rescued += count_of(raw, "rescued")
    return counts


def _link(url: str, number: int) -> str:
    base = url.rstrip("/").partition("/api/")[0]
    return f"{base}/#/jobs/playbook/{number}/output" if base.startswith("http") else ""


def _named(raw: Raw, *names: str, key: str = "name") -> str:
    fields = raw.get("summary_fields")
    for name in names:
        one = fields.get(name) if isinstance(fields, Mapping) else None
        if isinstance(one, Mapping) and isinstance(one.get(key), str):
            return str(one[key])
    return ""
