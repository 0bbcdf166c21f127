"""Objects of PagerDuty and Opsgenie, from their APIs, webhooks or saved answers, to events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from connectors._fields import Raw, Unusable, text_of, time_of
from tandem.connect import Common
from tandem.records import Event, Finding, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "triggered": "open",
    "acknowledged": "open",
    "resolved": "bad",
    "merged": "excluded",
    "open": "open",
    "closed": "bad",
    "ongoing": "open",
    "ended": "good",
    "deleted": "excluded",
}
FOREVER = 1 << 40

_CHANGES = frozenset({
    "trigger_log_entry", "acknowledge_log_entry", "unacknowledge_log_entry", "resolve_log_entry", "reopen_log_entry",
})  # fmt: skip
_DELIVERED = frozenset(
    f"incident.{word}" for word in ("triggered", "acknowledged", "unacknowledged", "resolved", "reopened")
)
_ACKNOWLEDGED = "acknowledge_log_entry"


@dataclass
class Objects:
    """Gathers what is said of incidents and maintenance windows, in any order, and makes events of it.

    `until`: what happened at or after it has not happened yet (epoch seconds).
    """

    common: Common
    until: int = FOREVER
    acknowledged: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    """The last change that the log tells of each incident."""
    _events: dict[tuple[str, str], Event] = field(default_factory=dict)
    _said: Counter[tuple[str, str]] = field(default_factory=Counter)

    # PagerDuty

    def entry(self, raw: Any) -> None:
        """An entry of PagerDuty's log: when an incident was acknowledged first, and that it changed."""
        raw = object_of(raw)
        if text_of(raw, "type") not in _CHANGES:
            return
        incident, at = id_of(object_of(raw.get("incident"))), time_of(raw, "created_at")
        if at >= self.until:
            return
        self.changed[incident] = max(at, self.changed.get(incident, 0))
        if text_of(raw, "type") == _ACKNOWLEDGED:
            self.acknowledged[incident] = min(at, self.acknowledged.get(incident, at))

    def incident(self, raw: Any, changed: int | None = None) -> None:
        """An incident of PagerDuty as it stands; `changed`: when, where it does not say (a webhook)."""
        raw = object_of(raw)
        created = time_of(raw, "created_at")
        if created >= self.until:
            return
        key, word = id_of(raw), text_of(raw, "status")
        stood = changed if changed is not None else time_of(raw, "last_status_change_at", created)
        updated = max(stood, time_of(raw, "updated_at", 0), time_of(raw, "resolved_at", 0))
        ended = time_of(raw, "resolved_at", stood)
        if text_of(_object(raw, "resolve_reason"), "type") == "merge_resolve_reason":
            word = "merged"
        self._acknowledged_by(raw, key, word, stood)
        self._keep(
            Event(
                "incident",
                key,
                created,
                started=self.acknowledged.get(key),
                ended=ended,
                outcome=self.outcome(word),
                actor=_summary(raw, "last_status_change_by"),
                title=text_of(raw, "title") or text_of(raw, "summary"),
                url=text_of(raw, "html_url"),
                labels=labels_of(
                    {
                        "service": _summary(raw, "service"),
                        "service_id": text_of(_object(raw, "service"), "id"),
                        "urgency": text_of(raw, "urgency"),
                        "priority": _summary(raw, "priority"),
                        "team": ", ".join(_summaries(raw, "teams")),
                        "escalation_policy": _summary(raw, "escalation_policy"),
                        "number": raw.get("incident_number") or raw.get("number"),
                        "status": word,
                    }
                ),
                revision=updated,
            )
        )

    def _acknowledged_by(self, raw: Raw, key: str, word: str, stood: int) -> None:
        told = [time_of(object_of(one), "at") for one in raw.get("acknowledgements") or () if isinstance(one, dict)]
        if not told and word == "acknowledged":
            told = [stood]
        for at in told:
            if at < self.until:
                self.acknowledged[key] = min(at, self.acknowledged.get(key, at))

    def delivery(self, raw: Any) -> None:
        """What PagerDuty posts to a webhook (version 3): the incident as it stood, and what happened to it."""
        told = object_of(object_of(raw).get("event"))
        data, at = object_of(told.get("data")), time_of(told, "occurred_at")
        if text_of(told, "event_type") not in _DELIVERED:
            self.remark("deliveries that tell of no change of status are left out")
        else:
            self.incident(data, at)

    def window(self, raw: Any) -> None:
        """A maintenance window of PagerDuty: an event for each of its services; one that lies ahead is not yet."""
        raw = object_of(raw)
        begin, end = time_of(raw, "start_time"), time_of(raw, "end_time")
        if begin >= self.until:
            return
        over = end < self.until
        services = [one for one in raw.get("services") or () if isinstance(one, dict)]
        for service in services:
            self._keep(
                Event(
                    "maintenance",
                    f"{id_of(raw)}/{id_of(service)}",
                    begin,
                    ended=end,
                    outcome=self.outcome("ended" if over else "ongoing"),
                    actor=_summary(raw, "created_by"),
                    title=text_of(raw, "description") or text_of(raw, "summary"),
                    url=text_of(raw, "html_url"),
                    labels=labels_of(
                        {
                            "service": text_of(service, "summary"),
                            "service_id": text_of(service, "id"),
                            "team": ", ".join(_summaries(raw, "teams")),
                        }
                    ),
                    revision=end if over else begin,
                )
            )
        if not services:
            self.reject("a maintenance window names no service")

    # Opsgenie

    def alert(self, raw: Any) -> None:
        """An alert of Opsgenie; its report counts from its creation in milliseconds."""
        raw = object_of(raw)
        created = time_of(raw, "createdAt")
        report = _object(raw, "report")
        word = text_of(raw, "status")
        if word == "open" and raw.get("acknowledged") is True:
            word = "acknowledged"
        updated = time_of(raw, "updatedAt", created)
        closed, acknowledged = _after(created, report, "closeTime"), _after(created, report, "ackTime")
        self._opsgenie(raw, word, created, acknowledged, closed or updated, updated)

    def opsgenie(self, raw: Any) -> None:
        """An incident of Opsgenie; its impact may have begun before it was made."""
        raw = object_of(raw)
        created = time_of(raw, "createdAt")
        updated = time_of(raw, "updatedAt", created)
        begin = time_of(raw, "impactStartDate", created)
        self._opsgenie(raw, text_of(raw, "status"), begin, None, time_of(raw, "impactEndDate", updated), updated)

    def _opsgenie(
        self, raw: Raw, word: str, begin: int, acknowledged: int | None, ended: int, updated: int
    ) -> None:  # fmt: skip
        if begin >= self.until:
            return
        tags = [one for one in raw.get("tags") or () if isinstance(one, str)]
        services = [one for one in raw.get("impactedServices") or () if isinstance(one, str)]
        links = _object(raw, "links")
        self._keep(
            Event(
                "incident",
                id_of(raw),
                begin,
                started=acknowledged if acknowledged is None or acknowledged < self.until else None,
                ended=ended,
                outcome=self.outcome(word),
                actor=text_of(_object(raw, "report"), "closedBy") or text_of(raw, "owner"),
                title=text_of(raw, "message"),
                url=text_of(links, "web"),
                labels=labels_of(
                    {
                        "service": ", ".join(services) or text_of(raw, "entity"),
                        "priority": text_of(raw, "priority"),
                        "tags": ", ".join(tags),
                        "source": text_of(raw, "source"),
                        "integration": text_of(_object(raw, "integration"), "name"),
                        "number": text_of(raw, "tinyId"),
                        "status": word,
                    }
                ),
                revision=updated,
            )
        )

    # both

    def gone(self, event: Event) -> None:
        """Something that is no longer there: it never happened, as far as anybody can say."""
        self.remark(f"an open {event.kind} is no longer there and is excluded")
        over = replace(event, outcome=self.outcome("deleted"), ended=event.ts, revision=event.revision // 2 + 1)
        self._events[event.kind, event.key] = over

    def outcome(self, word: str) -> Outcome:
        """What a status means; an unknown one is excluded and counted."""
        known = self.common.status.get(word, STATUS.get(word))
        if known is None:
            self.remark(f'the status "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]')
        return known or "excluded"

    def _keep(self, event: Event) -> None:
        """The later word on one object; an end that lies ahead, or before the beginning, is none yet."""
        ended = event.ended
        if event.outcome == "open":
            ended = None
        elif ended is not None and ended >= self.until:
            labels = tuple(pair for pair in event.labels if pair[0] != "status")
            event, ended = replace(event, outcome="open", labels=labels, revision=self.until - 1), None
        if ended is not None and ended < event.ts:
            self.remark("something ended before it began; its end is left out")
            ended = None
        event = replace(event, ended=ended)
        place = (event.kind, event.key)
        known = self._events.get(place)
        if known is None or event.revision >= known.revision:
            self._events[place] = event

    def untold(self) -> bool:
        """Whether the log tells of incidents that nothing else tells of."""
        return bool(set(self.changed) - self.seen("incident"))

    def seen(self, kind: str) -> set[str]:
        """The keys of that kind."""
        return {key for known, key in self._events if known == kind}

    def events(self) -> Iterator[Event]:
        """Every event, oldest first, each with the acknowledgement that any word on it told."""
        for event in sorted(self._events.values(), key=lambda one: (one.ts, one.kind, one.key)):
            at = event.started
            if event.kind == "incident":
                at = self.acknowledged.get(event.key, at)
            begun = None if at is None or at > (event.ended or FOREVER) else max(at, event.ts)
            # At equal times a word with the log beside it beats one without: only the log names acknowledgements.
            told = event.kind == "incident" and event.key in self.changed
            yield replace(event, started=begun, revision=2 * event.revision + told)

    def findings(self, where: str = "") -> list[Finding]:
        """What was left out or needs a remark, counted by reason."""
        return [
            Finding("reject" if kind == "reject" else "remark", reason, where, count)
            for (kind, reason), count in sorted(self._said.items())
        ]

    def reject(self, reason: str) -> None:
        """Counts something that was left out."""
        self._said["reject", reason] += 1

    def remark(self, reason: str) -> None:
        """Counts something worth knowing."""
        self._said["remark", reason] += 1


def object_of(raw: Any) -> Raw:
    """A JSON object; raises Unusable for anything else."""
    if not isinstance(raw, dict):
        raise Unusable("an object stands where none can be read")
    return raw


def id_of(raw: Raw) -> str:
    """The identity of an object; raises Unusable where it has none."""
    found = raw.get("id")
    if not isinstance(found, str) or not found or len(found) > 200:
        raise Unusable("an object has no id")
    return found


def _object(raw: Raw, name: str) -> Raw:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _summary(raw: Raw, name: str) -> str:
    return text_of(_object(raw, name), "summary")


def _summaries(raw: Raw, name: str) -> list[str]:
    return sorted(text_of(one, "summary") for one in raw.get(name) or () if isinstance(one, dict))


def _after(begin: int, report: Raw, name: str) -> int | None:
    found = report.get(name)
    is_number = isinstance(found, int) and not isinstance(found, bool) and 0 < found < 1 << 40
    return begin + int(found or 0) // 1000 if is_number else None
