"""CDEvents as objects: what began, went on and ended under one subject, joined whichever came first or in which file.

An event is told apart by its context's source and id; a subject by its source and id. The version at the end of a type
is not looked at, nor keys that are unknown, so that every version of the specification up to 0.6 is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from sys import intern
from typing import Any, Literal
from urllib.parse import parse_qs, unquote

from connectors._event_times import event_time
from connectors._json import BadJson, BrokenJson, strict
from tandem.changes import NEAR
from tandem.records import Event, Fact, Finding, Labels, Outcome, Page, Ratio, Series, Slice, bucket_of, labels_of

STATUS: Mapping[str, Outcome] = {
    "success": "good", "pass": "good", "failure": "bad", "fail": "bad", "error": "bad", "timeout": "bad",
    "cancel": "excluded", "canceled": "excluded", "cancelled": "excluded", "abandon": "excluded",
    "skip": "excluded", "skipped": "excluded", "no outcome": "excluded",
    "queued": "open", "started": "open", "finished": "good",
    "deployed": "good", "upgraded": "good", "rolledback": "good", "removed": "excluded",
    "detected": "open", "reported": "open", "resolved": "bad",
}  # fmt: skip
"""Of outcomes, and of predicates where there is none."""
BUILDS = ("build", "pipelinerun", "taskrun")
_RUNS = {**dict.fromkeys(BUILDS, "build"), "testsuiterun": "test_run", "testcaserun": "", "deployment": "deployment"}
_SERVICES = {"deployed": "deployment", "upgraded": "deployment", "rolledback": "rollback", "removed": "infrastructure"}
_INCIDENTS = ("detected", "reported", "resolved")
_STEPS = ("queued", "started", "skipped", "finished", "detected", "reported", "resolved")
"""Predicates in the order in which they follow each other at one time."""
_TYPE = re.compile(r"dev\.cdevents\.([a-z]+)\.([a-z]+)(?:\.|$)")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST = re.compile(r"sha(?:256|512):[0-9a-f]{64,128}")
_EPOCH = re.compile(r"\d{10}(?:\d{3})?")
_KEPT = {
    "outcome", "artifactId", "pipelineName", "taskName", "url", "uri", "description", "ticketURI", "environment",
    "service", "testSuite", "testCase", "testSuiteRun",
}  # fmt: skip
"""What is read of the content of a subject; the rest would only cost memory."""
_NAMES = 5
_PIECE = 1000
_TEXT = 200

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """One CDEvent: something that happened to a subject."""

    at: float
    """Epoch seconds."""
    subject: str
    predicate: str
    id: str
    source: str
    content: Raw
    context: str
    """What tells it apart: source and id of its context."""
    chain: str

    @property
    def order(self) -> tuple[float, int, str]:
        """When it happened, and after what at the same time."""
        return self.at, _STEPS.index(self.predicate) if self.predicate in _STEPS else 0, self.context


@dataclass
class _Attempt:
    """A run from its queueing to its end, as far as it is known."""

    begun: Said | None = None
    started: Said | None = None
    finished: Said | None = None

    def said(self) -> list[Said]:
        """All that is known of it."""
        return [one for one in (self.begun, self.started, self.finished) if one is not None]

    def text(self, *names: str) -> str:
        """The first of these values of the newest that states one."""
        return next((text for one in reversed(self.said()) for name in names if (text := _text(one.content, name))), "")


@dataclass
class Objects:
    """What the events of some files say together."""

    meaning: Callable[[str], Outcome | None]
    """What a status means; None for an unknown one."""
    zone: str | None
    builds: Sequence[str]
    """The subjects that count as builds."""
    open: Mapping[tuple[str, str], Event] = field(default_factory=dict)
    """What was not over at the last pull, by kind and key."""
    _said: dict[str, Said] = field(default_factory=dict)
    _findings: Counter[tuple[Literal["reject", "remark"], str]] = field(default_factory=Counter)
    latest: float = 0.0

    # -- taking in

    def add(self, document: Any) -> None:
        """One CDEvent, alone or in the structured mode of CloudEvents, or a list of them."""
        for one in document if isinstance(document, list) else [document]:
            self._add(one)

    def _add(self, document: Any) -> None:
        said = self._read(document)
        if said is None:
            return
        known = self._said.setdefault(said.context, said)
        if known != said:
            self.remark("two events have one source and id and say different things; the first counts")
        self.latest = max(self.latest, known.at)

    def _read(self, document: Any) -> Said | None:
        body = _body(document)
        context, subject = _dict(body, "context"), _dict(body, "subject")
        kind = _TYPE.match(_text(context, "type").lower())
        if kind is None:
            self._no("no CDEvent, or one of somebody's own type, is left out")
            return None
        name, predicate = kind.groups()
        if not self._used(name, predicate):
            self.remark(f"events of the type {name}.{predicate} are not used")
            return None
        if not _text(context, "id") or not _text(subject, "id"):
            self._no("an event without the id of its context or of its subject is left out")
            return None
        at = self._time(_text(context, "timestamp") or _text(document, "time"))
        source = _text(context, "source")
        return None if at is None else Said(
            at, intern(name), intern(predicate), _text(subject, "id"), intern(_text(subject, "source") or source),
            _kept(_dict(subject, "content")),
            f"{source} {_text(context, 'id')}", _text(context, "chainId") or _text(context, "chainid"),
        )  # fmt: skip

    def _used(self, name: str, predicate: str) -> bool:
        if name in BUILDS and name not in self.builds:
            return False
        return predicate in {
            "service": tuple(_SERVICES), "incident": _INCIDENTS, "testcaserun": ("skipped", "finished"),
        }.get(name, ("queued", "started", "finished") if name in _RUNS else ())  # fmt: skip

    def _time(self, text: str) -> float | None:
        if _EPOCH.fullmatch(text):  # Harness writes milliseconds
            return int(text) / (1000 if len(text) > 10 else 1)
        try:
            return event_time(text, self.zone, self.remark)
        except ValueError as error:
            self._no(str(error))
            return None

    def remark(self, reason: str) -> None:
        """Count something that is worth knowing."""
        self._findings["remark", reason] += 1

    def _no(self, reason: str) -> None:
        self._findings["reject", reason] += 1

    def findings(self, where: str) -> tuple[Finding, ...]:
        """What could not be counted, and what is worth knowing."""
        return tuple(Finding(kind, reason, where, n) for (kind, reason), n in sorted(self._findings.items()))

    # -- what became of the subjects

    def pages(self) -> Iterator[Page]:
        """The events, and the tests of each suite's run as a slice of its own."""
        subjects: dict[tuple[str, str, str], list[Said]] = {}
        for one in sorted(self._said.values(), key=lambda said: said.order):
            subjects.setdefault((one.subject, one.source, one.id), []).append(one)
        self._said.clear()
        cases: dict[tuple[str, str], list[_Attempt]] = {}
        for (subject, _, _), some in subjects.items():
            if subject == "testcaserun":
                cases.setdefault(_suite_of(some[-1]), []).extend(_attempts(some))
        yield from _in_pieces(event for key, some in subjects.items() if key[0] in BUILDS
                              for event in self._runs(key[0], some))  # fmt: skip
        yield from _in_pieces(_without_twins(
            [event for key, some in subjects.items() for event in self._changes(key[0], some)]))  # fmt: skip
        suites = {key[1:]: some for key, some in subjects.items() if key[0] == "testsuiterun"}
        for suite in sorted(suites.keys() | cases.keys()):
            yield from self._tests(suite, suites.get(suite, []), cases.get(suite, []))

    def _changes(self, subject: str, some: Sequence[Said]) -> Iterator[Event]:
        """What happened in an environment: deployments, services and incidents."""
        if subject == "service":
            yield from (self._service(one) for one in some)
        elif subject == "incident":
            yield self._incident(some)
        elif subject == "deployment":
            yield from self._runs(subject, some)

    def _runs(self, subject: str, some: Sequence[Said]) -> Iterator[Event]:
        kind, key = _RUNS[subject], f"{subject}:{some[0].source}:{some[0].id}"
        before = self.open.get((kind, key))
        first = before.attempt if before else 1
        for number, attempt in enumerate(_attempts(some), first):
            known = before if number == first and attempt.begun is None and attempt.started is None else None
            yield self._run(kind, key, number, attempt, known)

    def _run(self, kind: str, key: str, number: int, attempt: _Attempt, before: Event | None) -> Event:
        last = attempt.said()[-1]
        begun = attempt.begun or attempt.started or last
        artifact = _artifact(attempt.text("artifactId"))
        pipeline = attempt.text("pipelineName", "taskName")
        outcome = self._outcome(self._word(attempt))
        started = math.floor(attempt.started.at) if attempt.started else None
        said = attempt.finished.predicate if attempt.finished else last.predicate
        title = f"{pipeline or artifact.name or last.id} {_text(last.content, 'outcome') or said}"
        return Event(
            kind, key, before.ts if before else math.floor(begun.at), attempt=number,
            started=before.started if before else started,
            ended=math.floor(attempt.finished.at) if attempt.finished and outcome != "open" else None,
            outcome=outcome, title=title[:_TEXT],
            environment=_environment(last) if kind == "deployment" else "", url=_url(attempt.text("url", "uri")),
            labels=self._labels(last, artifact, pipeline=pipeline), version=artifact.version,
            commit=artifact.commit, digest=artifact.digest,
            revision=2 * math.floor(last.at) + (before is not None or last is not begun),
        )  # fmt: skip

    def _word(self, attempt: _Attempt) -> str:
        """The status of a run; a finished build has no outcome, and has succeeded if it names what it made."""
        if attempt.finished is None:
            return attempt.said()[-1].predicate
        word = _text(attempt.finished.content, "outcome").lower()
        if not word and attempt.finished.subject == "build":
            return "finished" if attempt.text("artifactId") else "no outcome"
        return word or "no outcome"

    def _outcome(self, word: str) -> Outcome:
        known = self.meaning(word)
        if known is None:
            self.remark(f'the status "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]')
        return known or "excluded"

    def _service(self, one: Said) -> Event:
        artifact, ts = _artifact(_text(one.content, "artifactId")), math.floor(one.at)
        kind, where = _SERVICES[one.predicate], _environment(one)
        title = f"{one.id} {one.predicate}" + (f" in {where}" if where else "")
        return Event(
            kind, f"service:{one.context}", ts, ended=ts, outcome=self._outcome(one.predicate), environment=where,
            version=artifact.version, commit=artifact.commit, digest=artifact.digest, title=title[:_TEXT],
            labels=self._labels(one, artifact, service=one.id),
        )  # fmt: skip

    def _incident(self, some: Sequence[Said]) -> Event:
        last, key = some[-1], f"incident:{some[0].source}:{some[0].id}"
        before = self.open.get(("incident", key))
        ts = min(math.floor(some[0].at), before.ts if before else math.floor(some[0].at))
        over = last.predicate == "resolved"
        said = next((text for one in some if (text := _text(one.content, "description"))), "")
        known = before is not None or some[0].predicate != "resolved"
        return Event(
            "incident", key, ts, ended=math.floor(last.at) if over else None, environment=_environment(last),
            outcome=self._outcome(last.predicate), title=(said or (before.title if before else "") or last.id)[:_TEXT],
            url=next((url for one in reversed(some) if (url := _url(_text(one.content, "ticketURI")))), ""),
            labels=self._labels(last, _artifact(_text(last.content, "artifactId"))),
            revision=2 * math.floor(last.at) + known,
        )  # fmt: skip

    def _labels(self, one: Said, artifact: Artifact, *, service: str = "", pipeline: str = "") -> Labels:
        service = service or _text(_dict(one.content, "service"), "id") or artifact.name
        told = {"subject": one.subject, "source": one.source, "service": service, "pipeline": pipeline,
                "environment": _environment(one), "artifact": artifact.name, "chain": one.chain}  # fmt: skip
        return labels_of(told)

    # -- tests

    def _tests(self, suite: tuple[str, str], some: Sequence[Said], cases: Sequence[_Attempt]) -> Iterator[Page]:
        """One run of a suite: its event, and the outcome of each of its tests in the end as a slice."""
        attempts = _attempts(some) if some else []
        results = self._results(cases, attempts)
        event = self._test_run(f"testsuiterun:{suite[0]}:{suite[1]}", some, attempts, cases, results)
        yield Page([event])
        ran, bad = _counts(results)
        if ran:
            labels = tuple(pair for pair in event.labels if pair[0] in ("suite", "service", "environment", "source"))
            series = Series("test_success", labels, environment=event.environment)
            fact = Fact(series, bucket_of(event.ts), Ratio(ran - len(bad), ran))
            name = hashlib.sha256(event.key.encode("utf-8", "replace")).hexdigest()
            digest = hashlib.sha256(repr(fact).encode("utf-8", "replace")).hexdigest()
            yield Page([fact], slice=Slice(f"cdevents:{name}", digest))

    def _test_run(
        self, key: str, some: Sequence[Said], attempts: Sequence[_Attempt], cases: Sequence[_Attempt],
        results: Mapping[str, Outcome],
    ) -> Event:  # fmt: skip
        said = sorted((one for attempt in cases for one in attempt.said()), key=lambda one: one.order)
        own, first = (some[-1], some[0]) if some else (said[-1], said[0])
        newest = max(said[-1].at if said else 0, own.at)
        before = self.open.get(("test_run", key))
        ran, bad = _counts(results)
        outcome: Outcome = "bad" if bad else "good" if ran else "excluded"
        if attempts:
            outcome = self._outcome(self._word(attempts[-1]))
        suite = _dict(own.content, "testSuite")
        name = _text(suite, "name") or _text(suite, "id")
        counted = f"{len(bad)} of {ran} tests failed" if bad else f"{ran} tests passed"
        told = labels_of({"suite": name, "tests": ran, "failed": len(bad), "failed_tests": ", ".join(bad[:_NAMES])})
        return Event(
            "test_run", key, min(math.floor(first.at), before.ts) if before else math.floor(first.at),
            ended=math.floor(own.at) if attempts and attempts[-1].finished else None, outcome=outcome,
            title=f"{name or own.id}: {counted}"[:_TEXT], environment=_environment(own),
            labels=tuple(sorted((*self._labels(own, Artifact()), *told))),
            revision=2 * math.floor(newest) + (before is not None or first is not own),
        )  # fmt: skip

    def _results(self, cases: Sequence[_Attempt], suites: Sequence[_Attempt]) -> dict[str, Outcome]:
        """What became of each test in the end; a suite that names no test counts as one."""
        found: dict[str, Outcome] = {}
        for attempt in sorted(cases, key=lambda one: one.said()[-1].order):
            last = attempt.said()[-1]
            case = _dict(last.content, "testCase")
            name = _text(case, "name") or _text(case, "id") or last.id
            skipped = attempt.finished is None
            found[name] = self._outcome("skipped" if skipped else self._word(attempt))
        if not found and suites and suites[-1].finished is not None:
            word = self._word(suites[-1])
            if self._outcome(word) in ("good", "bad"):
                self.remark("a run of a test suite that names none of its tests counts as one test")
                found["the whole suite"] = self._outcome(word)
        return found


def _counts(results: Mapping[str, Outcome]) -> tuple[int, list[str]]:
    """(tests that ran, the names of those that failed)."""
    bad = [name for name, outcome in results.items() if outcome == "bad"]
    return len(bad) + sum(outcome == "good" for outcome in results.values()), bad


def _attempts(some: Sequence[Said]) -> list[_Attempt]:
    """The runs of one subject, oldest first: what begins again after its end is another attempt."""
    found = [_Attempt()]
    for one in some:
        if one.predicate in ("queued", "started") and found[-1].finished is not None:
            found.append(_Attempt())
        last = found[-1]
        if one.predicate == "finished":
            last.finished = one
        elif one.predicate == "started":
            last.started = last.started or one
        else:
            last.begun = last.begun or one
    return found


def _in_pieces(found: Iterable[Event]) -> Iterator[Page]:
    rest = iter(found)
    while piece := list(islice(rest, _PIECE)):
        yield Page(piece)


def _without_twins(found: Sequence[Event]) -> list[Event]:
    """Without what a service says of a deployment that tells of itself: the same thing, place and time."""
    whole: dict[tuple[str, ...], list[Event]] = {}
    for one in found:
        if one.key.startswith("deployment:"):
            whole.setdefault(_what(one), []).append(one)
    return [one for one in found if one.kind != "deployment" or not one.key.startswith("service:")
            or not any(_covers(other, one.ts) for other in whole.get(_what(one), ()))]  # fmt: skip


def _what(one: Event) -> tuple[str, ...]:
    """What was deployed where; without an artifact nothing but itself."""
    named = dict(one.labels).get("artifact", "")
    return (named, one.digest, one.version, one.environment) if named else (one.key,)


def _covers(whole: Event, ts: int) -> bool:
    return whole.ts - NEAR <= ts and (whole.ended is None or ts <= whole.ended + NEAR)


def _suite_of(case: Said) -> tuple[str, str]:
    """The run of a suite that a test belongs to; a test alone is its own."""
    suite = _dict(case.content, "testSuiteRun")
    return (_text(suite, "source") or case.source, _text(suite, "id") or f"case {case.id}")


# -- artifacts


@dataclass(frozen=True)
class Artifact:
    """What a package URL says: pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS."""

    name: str = ""
    version: str = ""
    digest: str = ""
    commit: str = ""


def _artifact(url: str) -> Artifact:
    if not url.startswith("pkg:"):
        return Artifact(name=url[:_TEXT])
    path, _, rest = url.partition("#")[0].partition("?")
    qualifiers = {name: values[0] for name, values in parse_qs(rest).items()}
    path, _, version = path.rpartition("@") if "@" in path else (path, "", "")
    version = unquote(version).strip()
    digest = version.lower() if _DIGEST.fullmatch(version.lower()) else qualifiers.get("digest", "")
    source = qualifiers.get("vcs_url", "").rpartition("@")[2].lower()
    named = qualifiers.get("tag", "") if digest and digest == version.lower() else version
    return Artifact(
        unquote(path.rpartition("/")[2])[:_TEXT], named[:_TEXT],
        digest if _DIGEST.fullmatch(digest) else "", source if _SHA.fullmatch(source) else "",
    )  # fmt: skip


# -- raw values


def _body(document: Any) -> Raw:
    """The CDEvent in a CloudEvent, or the document itself."""
    if not isinstance(document, dict):
        return {}
    if isinstance(document.get("data"), dict):
        return _dict(document, "data")
    packed = document.get("data_base64", document.get("data"))
    if isinstance(packed, str):
        try:
            text = base64.b64decode(packed, validate=True) if "data_base64" in document else packed
            opened = strict(text)
        except (binascii.Error, BadJson, BrokenJson):
            return {}
        return opened if isinstance(opened, dict) else {}
    return document


def _kept(content: Raw) -> Raw:
    return {name: value for name, value in content.items() if name in _KEPT}


def _environment(one: Said) -> str:
    return _text(_dict(one.content, "environment"), "id") or _text(one.content, "environment")


def _text(raw: Any, name: str) -> str:
    value = raw.get(name) if isinstance(raw, dict) else None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _dict(raw: Any, name: str) -> dict[str, Any]:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else {}


def _url(text: str) -> str:
    return text if text.startswith(("https://", "http://")) else ""


def all_of(documents: Iterable[Any], objects: Objects) -> None:
    """Take in every document."""
    for document in documents:
        objects.add(document)
