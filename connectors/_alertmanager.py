"""What Alertmanager says of alerts and silences, as events: the same functions for replies, amtool and webhooks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, Unusable, text_of, time_of
from connectors._said import Said
from tandem import times
from tandem.connect import Common, Rule
from tandem.records import Event, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "firing": "open",
    "active": "open",
    "suppressed": "open",
    "unprocessed": "open",
    "resolved": "bad",
    "expired": "good",
    "pending": "excluded",
}

_OWN = ("__name__", "alertstate")
"""Labels that say how an alert is doing, not which it is."""
_LITERALS = re.compile(r"(?:[\w :/@%=,-]|\\.)*(?:\|(?:[\w :/@%=,-]|\\.)*)*")
_SAID = 200


def named(labels: Mapping[str, str], external: Collection[str] = ()) -> dict[str, str]:
    """The labels that make an alert the one it is: without its state and without the server's external labels."""
    return {name: value for name, value in labels.items() if name not in _OWN and name not in external}


def key_of(labels: Mapping[str, str], start: int, external: Collection[str] = ()) -> str:
    """The key of an alert that began to fire at `start`, epoch seconds: equal for Prometheus and Alertmanager."""
    own = named(labels, external)
    digest = hashlib.sha256(json.dumps(sorted(own.items())).encode()).hexdigest()[:16]
    return f"{own.get('alertname', '')[:60]}/{digest}/{start}"


@dataclass
class Objects(Said):
    """Everything one reply or file says; of each object the newest word counts, in whatever order it came.

    `config` is the connector's. `external` are labels that Prometheus adds to what it sends, never part of a key;
    `key` may know better which alert this is.
    """

    meanings = STATUS
    called = "state"
    external: Collection[str] = ()
    key: Callable[[Mapping[str, str], int], str | None] = lambda labels, start: None
    until: int | None = None
    _events: dict[tuple[str, str], Event] = field(default_factory=dict)

    def add(self, document: Any) -> None:
        """One document: an alert, a group, a silence, a webhook's body, or a list of them."""
        if isinstance(document, list):
            for each in document:
                self.add(each)
            return
        try:
            self._object(_object_of(document))
        except Unusable as error:
            self.reject(str(error))

    def _object(self, raw: Raw) -> None:
        if isinstance(raw.get("alerts"), list):
            if isinstance(left := raw.get("truncatedAlerts"), int) and left > 0:
                self.remark("alerts were left out of a notification; raise max_alerts of the webhook", left)
            self.add(raw["alerts"])
        elif "matchers" in raw:
            self.silence(raw)
        elif "labels" in raw and "startsAt" in raw:
            self.alert(raw)
        else:
            raise Unusable("an object is neither alert nor silence")

    def alert(self, raw: Raw) -> None:
        """One alert, of the API, of amtool or of a webhook."""
        labels = _labels(raw)
        if not wanted(self.config, labels):
            return
        start, end = time_of(raw, "startsAt"), time_of(raw, "endsAt", 0)
        if self.until is not None and start >= self.until:
            return
        updated = time_of(raw, "updatedAt", 0)
        status = raw.get("status")
        word = text_of(status, "state") if isinstance(status, dict) else text_of(raw, "status")
        # The API states for a firing alert when it would expire, always ahead of its last change.
        if word != "resolved" and updated and 0 < end <= updated:
            word = "resolved"
        over = word == "resolved" and end >= start
        outcome = self.outcome(word)
        self._keep(
            Event(
                "incident",
                self.key(labels, start) or key_of(labels, start, self.external),
                start,
                ended=end if over else None,
                outcome=outcome,
                title=title_of(labels, raw.get("annotations")),
                url=text_of(raw, "generatorURL"),
                labels=labels_of({**labels, "alertstate": _state(word, status)}),
                revision=2 * (end if over else max(updated, start)) + 1,
            )
        )

    def silence(self, raw: Raw) -> None:
        """A silence, as the maintenance of every component whose alerts it may hold back."""
        if not self.config.silences:
            return
        matchers = [_matcher(one) for one in raw["matchers"]] if isinstance(raw["matchers"], list) else []
        comment = text_of(raw, "comment")
        if not _chosen(self.config.maintenance, comment):
            self.remark("silences whose comment `maintenance` does not name are left out")
            return
        start, end, updated = time_of(raw, "startsAt"), time_of(raw, "endsAt", 0), time_of(raw, "updatedAt", 0)
        word = text_of(_object_of(raw.get("status") or {}), "state")
        if word == "pending" or (self.until is not None and start >= self.until):
            return
        outcome = self.outcome(word)
        over = outcome != "open" and end >= start
        # Nobody comes back to a file: a silence that is active in it ends when it was planned to.
        known = over or (self.until is None and end > start)
        event = Event(
            "maintenance",
            text_of(raw, "id"),
            start,
            ended=end if known else None,
            outcome=outcome,
            actor=text_of(raw, "createdBy"),
            title=comment,
            url=_silence_page(self.config.web or self.config.url, text_of(raw, "id")),
            labels=labels_of({**_equal(matchers), "planned_end": None if over or not end else times.text(end)}),
            revision=2 * max(updated, end if over else start) + over,
        )
        for placed in _placed(event, matchers, self.config.common):
            self._keep(placed)

    def events(self) -> list[Event]:
        """The events, oldest first."""
        return sorted(self._events.values(), key=lambda event: (event.ts, event.kind, event.key))

    def _keep(self, event: Event) -> None:
        known = self._events.get((event.kind, event.key))
        if known is None or (event.revision, event.outcome != "open") >= (known.revision, known.outcome != "open"):
            self._events[event.kind, event.key] = event


def wanted(config: Any, labels: Mapping[str, str]) -> bool:
    """Whether the configuration lets an alert of these labels count."""
    name = labels.get("alertname", "")
    return _chosen(config.alerts, name) and not any(fnmatchcase(name, glob) for glob in config.ignore)


def title_of(labels: Mapping[str, str], annotations: Any = None) -> str:
    """What an alert is about: its summary, else its name."""
    said = annotations if isinstance(annotations, dict) else {}
    return next((text_of(said, name) for name in ("summary", "title", "message") if text_of(said, name)),
                labels.get("alertname", ""))  # fmt: skip


def ended(event: Event, end: int, config: Any, **more: str) -> Event:
    """An open incident that is over since `end`, epoch seconds, with everything else that was known of it."""
    word = "resolved"
    own: Mapping[str, Outcome] = config.common.status
    labels = {**dict(event.labels), "alertstate": word, **more}
    return replace(
        event, ended=max(end, event.ts), outcome=own.get(word, STATUS[word]), labels=labels_of(labels),
        revision=2 * max(end, event.ts) + 1,
    )  # fmt: skip


def expired(event: Event, until: int, config: Any) -> Event:
    """An open silence that is remembered no longer: it ended when it was planned to."""
    planned = dict(event.labels).get("planned_end", "")
    end = min(times.iso(planned) if planned else until - 1, until - 1)
    own: Mapping[str, Outcome] = config.common.status
    labels = tuple(pair for pair in event.labels if pair[0] != "planned_end")
    return replace(event, ended=max(end, event.ts), outcome=own.get("expired", STATUS["expired"]), labels=labels,
                   revision=max(event.revision, 2 * end) + 1)  # fmt: skip


# -- whom a silence concerns


@dataclass(frozen=True)
class Matcher:
    """One condition of a silence; regular expressions match the whole value."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool

    def values(self) -> tuple[str, ...]:
        """The values it lets through where these can be listed; none where it is a pattern or a negation."""
        if not self.is_equal:
            return ()
        if not self.is_regex:
            return (self.value,)
        bare = self.value.removeprefix("^").removesuffix("$").removeprefix("(").removesuffix(")")
        return tuple(re.sub(r"\\(.)", r"\1", part) for part in bare.split("|")) if _LITERALS.fullmatch(bare) else ()

    def meets(self, glob: str) -> bool | None:
        """Whether some label value fits both this condition and the glob of a map; None where that is not known."""
        if not any(sign in glob for sign in "*?["):
            hit = self._pattern().fullmatch(glob) is not None if self.is_regex else glob == self.value
            return hit is self.is_equal
        return any(fnmatchcase(value, glob) for value in self.values()) if self.values() else None

    def _pattern(self) -> re.Pattern[str]:
        try:
            return re.compile(self.value, re.DOTALL)
        except re.error:
            raise Unusable("a silence holds a regular expression that cannot be read") from None


def _placed(event: Event, matchers: Sequence[Matcher], common: Common) -> Iterator[Event]:
    """The event for the components that the map names, one for each environment; as it is where it names none."""
    found: dict[str, list[str]] = {}
    for rule in common.map or (Rule(common.component),):
        if _reached(rule, matchers):
            found.setdefault(rule.environment, []).extend(rule.component)
    for environment, components in found.items():
        key = f"{event.key}@{environment}" if environment else event.key
        yield replace(event, key=key, environment=environment, components=tuple(dict.fromkeys(components)))
    if not found:
        yield event


def _reached(rule: Rule, matchers: Sequence[Matcher]) -> bool:
    """Whether a silence concerns what a rule maps: nothing speaks against it, and at least one label for it."""
    about = [(one.is_equal, one.meets(rule.match[one.name])) for one in matchers if one.name in rule.match]
    against = any(fits is False for _, fits in about)
    return bool(rule.component) and not against and (not rule.match or (True, True) in about)


def _equal(matchers: Sequence[Matcher]) -> dict[str, str]:
    """The labels that a silence names with one value."""
    return {one.name: one.values()[0] for one in matchers if len(one.values()) == 1}


def _matcher(raw: Any) -> Matcher:
    told = _object_of(raw)
    return Matcher(
        text_of(told, "name"), text_of(told, "value"), told.get("isRegex") is True, told.get("isEqual") is not False
    )


def _silence_page(url: str, key: str) -> str:
    return f"{url.rstrip('/')}/#/silences/{key}" if url.startswith("http") else ""


# -- reading


def _state(word: str, status: Any) -> str:
    told = status if isinstance(status, dict) else {}
    if told.get("silencedBy"):
        return "silenced"
    if told.get("inhibitedBy"):
        return "inhibited"
    return "firing" if word == "active" else word


def _chosen(globs: Sequence[str], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _labels(raw: Raw) -> dict[str, str]:
    told = raw.get("labels")
    if not isinstance(told, dict) or not told.get("alertname"):
        raise Unusable("an alert has no name")
    return {str(name): str(value) for name, value in told.items()}


def _object_of(raw: Any) -> Raw:
    if not isinstance(raw, dict):
        raise Unusable("what is there is no object of Alertmanager")
    return raw
