"""Runs and health assessments of HCP Terraform and Terraform Enterprise: the same functions for replies and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors._fields import Raw, time_or_none
from connectors._terraform import STATUS, Said
from tandem.records import Event, labels_of

_TEXT = 200


@dataclass
class Included:
    """What an answer brings beside its rows: commits by configuration version, people by id."""

    rows: dict[tuple[str, str], Raw] = field(default_factory=dict)

    def add(self, document: Any) -> None:
        """The rows that an answer includes."""
        for raw in objects(document, "included"):
            self.rows[str(raw.get("type")), str(raw.get("id"))] = raw

    def of(self, raw: Raw, *path: str) -> Raw:
        """The attributes of what a row relates to, step by step."""
        for name in path:
            known = related(raw, name)
            raw = self.rows.get(known, {}) if known else {}
        return part(raw, "attributes")


def run_event(raw: Raw, names: Mapping[str, str], included: Included, config: Any, until: int, said: Said
              ) -> Event | None:  # fmt: skip
    """One run as it stood just before `until`; None for what is none, and what had not begun."""
    told, key = part(raw, "attributes"), raw.get("id")
    created = time_or_none(told, "created-at")
    if raw.get("type") != "runs" or not isinstance(key, str) or not key or created is None:
        said.reject("an object is no run, or has no time of its creation")
        return None
    if created >= until:
        return None
    reached = {name: at for name in part(told, "status-timestamps")
               if (at := time_or_none(part(told, "status-timestamps"), name)) is not None}  # fmt: skip
    status = str(told.get("status") or "")
    end = reached.get(f"{status.replace('_', '-')}-at", max(reached.values(), default=created))
    outcome = said.outcome(status)
    if outcome != "open" and told.get("plan-only") is True and status in STATUS:
        outcome = said.outcome("plan only")
    if outcome != "open" and end >= until:
        outcome, status = "open", ""
    begun = reached.get("applying-at", reached.get("planning-at", until))
    before = [at for at in reached.values() if at < until]
    commit = included.of(raw, "configuration-version", "ingress-attributes")
    workspace = (related(raw, "workspace") or ("", ""))[1]
    name = names.get(workspace, workspace)
    labels = {
        "workspace": name, "status": status,
        "source": told.get("source"), "branch": commit.get("branch"),
        "destroy": "true" if told.get("is-destroy") is True else None,
        "has_changes": str(told["has-changes"]).lower() if isinstance(told.get("has-changes"), bool) else None,
    }  # fmt: skip
    return Event(
        "infrastructure", key, created,
        started=begun if created <= begun < until and (outcome == "open" or begun <= end) else None,
        ended=end if outcome != "open" else None, outcome=outcome, commit=str(commit.get("commit-sha") or ""),
        trigger=str(told.get("trigger-reason") or ""), actor=str(included.of(raw, "created-by").get("username") or ""),
        title=f"{name}: {status or 'going on'}"[:_TEXT], url=_link(config, names.get(workspace, ""), key),
        labels=labels_of(labels), revision=max(before, default=created),
    )  # fmt: skip


def _link(config: Any, workspace: str, key: str) -> str:
    base = (config.web or config.url).rstrip("/")
    if not base.startswith("http") or not workspace or not config.organization:
        return ""
    return f"{base}/app/{config.organization}/workspaces/{workspace}/runs/{key}"


def objects(document: Any, name: str) -> Sequence[Raw]:
    """The objects of a list of an answer; of a single one that one."""
    found = document.get(name) if isinstance(document, dict) else None
    rows = [found] if isinstance(found, dict) else found
    return [raw for raw in rows if isinstance(raw, dict)] if isinstance(rows, list) else []


def related(raw: Raw, name: str) -> tuple[str, str] | None:
    """(type, id) of what a row relates to."""
    found = part(part(part(raw, "relationships"), name), "data")
    return (str(found["type"]), str(found["id"])) if "type" in found and "id" in found else None


def part(raw: Raw, name: str) -> Raw:
    """An object within an object; {} where there is none."""
    found = raw.get(name)
    return found if isinstance(found, dict) else {}
