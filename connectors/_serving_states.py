"""Whether an inference server is ready, which versions of models it serves, and how KServe shares the traffic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from connectors import _http, _probing
from connectors._adding import Added
from connectors._said import Said
from tandem import times
from tandem.connect import SourceDown, SourceRefused
from tandem.records import Event, Gap, Outcome, Ratio, Series, bucket_of, labels_of

READY = "/v2/health/ready"
INDEX = "/v2/repository/index"
SERVICES = "/apis/serving.kserve.io/v1beta1/inferenceservices"
PER_PAGE = 500
_NO_INDEX = (404, 405, 501)
_KIND = re.compile(rb'"kind"\s*:\s*"InferenceService(?:List)?"')
_GROUP = re.compile(rb'"apiVersion"\s*:\s*"serving\.kserve\.io/')


@dataclass
class Known:
    """What the last look saw: `versions` that were ready, by model, and the `shares` of each InferenceService."""

    looked: int = 0
    versions: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    """Versions that could not be loaded, told once."""
    shares: dict[str, str] = field(default_factory=dict)
    shares_at: int = 0
    rolled: dict[str, str] = field(default_factory=dict)
    """The revision of each InferenceService that was told to be ready: what happens to it later is no deployment."""


@dataclass
class Readiness:
    """One look at a server that speaks the open inference protocol (or TorchServe), at `tick`."""

    url: str
    path: str
    timeout: float
    ca_file: Any
    client: Callable[[], _http.Client]
    tick: int
    known: Known
    added: Added
    said: Said
    wants: Callable[[str], bool]
    names: Sequence[str] = ()
    """Models that are asked for one by one, where the server has no index."""
    events: list[Event] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    components: set[str] = field(default_factory=set)

    def look(self, every: int) -> None:
        """Count whether the server and each of its models were ready."""
        try:
            seen = _probing.look(_probing.Target(self.url + self.path, self.timeout, ca_file=self.ca_file))
        except _probing.NotMeasured as own:
            self.gaps.append(Gap(self.tick, self.tick + every, str(own), signal="availability"))
            return
        is_ready = seen.result == "answered"
        if not is_ready:
            self.said.remark(f"the server was not ready ({seen.result})")
        models = self._models() if is_ready or seen.result == "wrong status" else None
        if models is None:
            models = dict.fromkeys(self.known.versions) if not is_ready else {}
        for model, state in models.items():
            self._count(model, is_ready, state)
        if not models:
            self._count("", is_ready, None)

    def _count(self, model: str, is_ready: bool, state: Outcome | None) -> None:
        if state in ("excluded", "open"):
            return
        series = Series("availability", labels_of({"model": model, "server": self.url.partition("//")[2]}))
        self.added.add(series, bucket_of(self.tick), Ratio(int(is_ready and state != "bad"), 1))
        self.components |= set(self.added.components(series))

    def _models(self) -> dict[str, Outcome | None] | None:
        """What is known of each model; None where nothing can be told."""
        if self.path != READY:
            return None
        try:
            with self.client() as client:
                if self.names:
                    return {name: self._one(client, name) for name in self.names}
                reply = client.post(INDEX, body={}, accept=(200, *_NO_INDEX))
        except (SourceDown, SourceRefused) as no:
            self.said.remark(f"the models could not be listed: {no}")
            return None
        if reply.status != 200:
            return {}
        if not isinstance(reply.data, list):
            self.said.reject("the index of models is no list")
            return None
        named = [one for one in reply.data if isinstance(one, dict) and isinstance(one.get("name"), str)]
        return self._indexed([one for one in named if self.wants(one["name"])])

    def _one(self, client: _http.Client, name: str) -> Outcome:
        path = f"/v2/models/{quote(name, safe='')}/ready"
        reply = client.get(path, accept=(200, 400, 404, 500, 503), json=False)
        return "good" if reply.status == 200 else "bad"

    def _indexed(self, listed: Sequence[Mapping[str, Any]]) -> dict[str, Outcome | None]:
        ready: dict[str, list[str]] = {}
        found: dict[str, Outcome | None] = {}
        broken: dict[str, list[str]] = {}
        for one in listed:
            name, version = str(one.get("name")), str(one.get("version") or "")
            state = self.said.outcome(str(one.get("state", "")))
            best = found.get(name)
            found[name] = state if best is None or state == "good" or best == "excluded" else best
            if state == "good":
                ready.setdefault(name, []).append(version)
            elif state == "bad" and one.get("reason"):
                broken.setdefault(name, []).append(version)
        if self.known.looked:
            self.events += self._changes(ready, broken)
        self.known.versions.update(ready)
        self.known.versions = {name: self.known.versions.get(name, []) for name in found}
        self.known.failed = broken
        self.known.looked = self.tick
        return found

    def _changes(self, ready: Mapping[str, Sequence[str]], broken: Mapping[str, Sequence[str]]) -> Iterator[Event]:
        """A deployment for each version that is new since the last look, and for each that could not be loaded."""
        for model, versions in sorted(ready.items()):
            for version in sorted(set(versions) - set(self.known.versions.get(model, ()))):
                yield self._deployment(model, version, "good")
        for model, versions in sorted(broken.items()):
            seen = {*self.known.versions.get(model, ()), *self.known.failed.get(model, ())}
            for version in sorted(set(versions) - seen):
                yield self._deployment(model, version, "bad")

    def _deployment(self, model: str, version: str, outcome: Outcome) -> Event:
        did = "is served" if outcome == "good" else "could not be loaded"
        return Event(
            "deployment",
            f"{model}/{version}@{self.known.looked}",
            self.known.looked,
            ts_latest=self.tick,
            outcome=outcome,
            version=version,
            title=f"{model} {version} {did}".replace("  ", " "),
            labels=labels_of({"model": model, "version": version, "server": self.url.partition("//")[2]}),
        )


# -- InferenceServices


def is_services(head: bytes) -> bool:
    """Whether a file begins as an InferenceService of KServe, or a list of such."""
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return begin.startswith(b"{") and _KIND.search(begin) is not None and _GROUP.search(begin) is not None


def listed(client: _http.Client, namespace: str) -> list[Any]:
    """All InferenceServices of a cluster, or of one namespace."""
    path = SERVICES.replace("/inferenceservices", f"/namespaces/{quote(namespace)}/inferenceservices")
    found: list[Any] = []
    following = ""
    while True:
        asked = {"limit": str(PER_PAGE), **({"continue": following} if following else {})}
        told = client.get(path if namespace else SERVICES, asked).data
        items = told.get("items") if isinstance(told, dict) else None
        if not isinstance(items, list):
            raise SourceRefused(f"{SERVICES} is no list of InferenceServices; check kubeconfig and context.")
        found += items
        before, following = following, str((told.get("metadata") or {}).get("continue") or "")
        if not following:
            return found
        if following == before:
            raise SourceDown("the list of InferenceServices goes round in circles; it is asked again at the next pull.")


def services_of(told: Any) -> list[Any]:
    """The InferenceServices in a saved answer."""
    items = told.get("items") if isinstance(told, dict) else None
    return items if isinstance(items, list) else [told]


def service_events(services: Sequence[Any], known: Known, at: int, said: Said) -> list[Event]:
    """The deployments that InferenceServices tell of, and how their traffic moved since the last look; `at` is now."""
    found: list[Event] = []
    shares: dict[str, str] = {}
    for one in services:
        try:
            name, split = _name(one), _shares(one)
            rolled = [each for each in _rollouts(one) if each.version != known.rolled.get(name)]
        except (KeyError, TypeError, ValueError, AttributeError):
            said.reject("an InferenceService lacks a part that is needed")
            continue
        found += rolled
        for each in rolled:
            if each.outcome == "good":
                known.rolled[name] = each.version
        shares[name] = _spelled(split)
        moved = name in known.shares and known.shares[name] != shares[name]
        if moved or (not known.shares_at and len(split) > 1):
            begun = known.shares_at or times.iso(str(one["metadata"]["creationTimestamp"]))
            found.append(_traffic(one, split, min(begun, at), at))
    known.shares, known.shares_at = shares, at
    return found


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"


def _predictor(one: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((one.get("status") or {}).get("components") or {}).get("predictor") or {}
    return found


def _shares(one: Mapping[str, Any]) -> dict[str, int]:
    """Percent of the requests by revision."""
    found: dict[str, int] = {}
    for target in _predictor(one).get("traffic") or ():
        name = str(target.get("revisionName") or "latest")
        found[name] = found.get(name, 0) + int(target.get("percent") or 0)
    return {name: percent for name, percent in sorted(found.items()) if percent}


def _spelled(split: Mapping[str, int]) -> str:
    return ", ".join(f"{percent} % to {name}" for name, percent in split.items())


def _traffic(one: Mapping[str, Any], split: Mapping[str, int], begun: int, at: int) -> Event:
    newest = str(_predictor(one).get("latestReadyRevision") or "")
    name, canary = _name(one), split.get(newest, 0) if len(split) > 1 else 0
    return Event(
        "traffic",
        f"{name}@{begun}",
        begun,
        ts_latest=at,
        version=newest,
        title=f"{one['metadata']['name']}: {_spelled(split) or 'no traffic'}",
        labels=labels_of({**_labels(one), "canary_percent": canary or None, "shares": _spelled(split)}),
    )


def _labels(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": one["metadata"]["name"], "namespace": one["metadata"].get("namespace")}


def _rollouts(one: Mapping[str, Any]) -> Iterator[Event]:
    """The newest revision: good since it is ready, bad where it failed, open while nobody knows.

    When it was begun is not told, so no end either: from the two a duration would be derived.
    """
    predictor = _predictor(one)
    created, ready = predictor.get("latestCreatedRevision"), predictor.get("latestReadyRevision")
    conditions = {str(each.get("type")): each for each in (one.get("status") or {}).get("conditions") or ()}
    condition = conditions.get("PredictorReady") or conditions.get("Ready") or {}
    for revision in dict.fromkeys(name for name in (ready, created) if name):
        changed = str(condition.get("lastTransitionTime") or one["metadata"]["creationTimestamp"])
        at = times.iso(changed)
        outcome: Outcome = "good"
        if revision != ready:
            outcome = "bad" if condition.get("status") == "False" else "open"
        elif created not in (None, ready):
            continue  # what is ready was ready before; this condition is of the newer one
        yield Event(
            "deployment",
            f"{_name(one)}/{revision}",
            at,
            outcome=outcome,
            version=str(revision),
            title=f"{one['metadata']['name']} {revision}",
            labels=labels_of({**_labels(one), "version": revision}),
            revision=at,
        )
