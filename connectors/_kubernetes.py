"""What Kubernetes says of workloads and pods: the same functions for lists, watches and saved objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, Unusable, text_of
from connectors._said import Said
from tandem import times
from tandem.records import Event, Fact, Outcome, Ratio, Series, labels_of

STATUS: Mapping[str, Outcome] = {
    "complete": "good",
    "progressing": "open",
    "deadline_exceeded": "bad",
    "superseded": "excluded",
    "deleted": "excluded",
    "OOMKilled": "bad",
    "Error": "bad",
    "ContainerCannotRun": "bad",
    "StartError": "bad",
    "DeadlineExceeded": "bad",
    "Evicted": "bad",
    "Completed": "excluded",
    "Preempted": "excluded",
    "ContainerStatusUnknown": "excluded",
    "unknown": "excluded",
}
"""How a rollout goes, and (from "OOMKilled" on, in Kubernetes' own words) why a container ended."""
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
SENT_AWAY = ("Evicted", "Preempted")
"""Reasons of events that tell of a pod that had to go, which no count of restarts does."""
_REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_TEMPLATE = "deprecated.daemonset.template.generation"
_LETTERS = "[bcdfghjklmnpqrstvwxz2456789]"  # of which Kubernetes makes the ends of names
_POD = re.compile(rf"-{_LETTERS}{{5}}$")
_SET = re.compile(rf"-{_LETTERS}{{6,10}}$")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet as it is now; replicas are counts, `changed` epoch seconds or 0."""

    uid: str
    kind: str
    namespace: str
    name: str
    app: str
    desired: int
    available: int
    generation: int
    revision: str
    state: str
    image: str = ""
    version: str = ""
    commit: str = ""
    title: str = ""
    changed: int = 0
    """When somebody last changed what is wanted."""
    moved: int = 0
    """When its rollout last went on."""
    created: int = 0
    first: int = 0
    """The generation at which this revision was seen first."""
    selector: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """What the map of the configuration sees."""
        app = self.app or self.name
        return {"namespace": self.namespace, "workload": self.name, "kind": self.kind, "app": app}

    @property
    def place(self) -> str:
        """What the keys of all its rollouts begin with."""
        return f"{self.namespace}/{self.name}@{self.uid[:8]}."

    @property
    def key(self) -> str:
        """The rollout that it is in; a StatefulSet that goes back has the revision that it had before."""
        return f"{self.place}{self.revision}" + (f"#{self.first}" if self.kind == "StatefulSet" else "")


def workload_of(raw: Raw) -> Workload:
    """Raises Unusable for an object that lacks what a workload has."""
    meta, spec, status = _object(raw, "metadata"), _object(raw, "spec"), _dict(raw.get("status"))
    kind = text_of(raw, "kind")
    labels, notes = _dict(meta.get("labels")), _dict(meta.get("annotations"))
    template = _dict(spec.get("template"))
    containers = _dict(template.get("spec")).get("containers")
    name = text_of(meta, "name")
    image = _image(containers if isinstance(containers, list) else [], name)
    daemon = kind == "DaemonSet"
    desired = _count(status, "desiredNumberScheduled", 0) if daemon else _count(spec, "replicas", 1)
    available = _usable(kind, status)
    theirs = {**_dict(_dict(template.get("metadata")).get("labels")), **labels}
    told = {**_dict(_dict(template.get("metadata")).get("annotations")), **notes}
    return Workload(
        text_of(meta, "uid"), kind, text_of(meta, "namespace"), name,
        str(theirs.get("app.kubernetes.io/name") or theirs.get("app") or ""), desired, available,
        _count(meta, "generation", 0), _revision(kind, notes, status, meta), _state(kind, meta, status, desired),
        image, str(theirs.get("app.kubernetes.io/version") or "") or tag_of(image),
        str(told.get("org.opencontainers.image.revision") or ""), str(told.get("kubernetes.io/change-cause") or ""),
        _changed(meta), _moved(status), _time(meta.get("creationTimestamp")),
        selector={str(a): str(b) for a, b in _dict(_dict(spec.get("selector")).get("matchLabels")).items()},
    )  # fmt: skip


def _revision(kind: str, notes: Raw, status: Raw, meta: Raw) -> str:
    """What changes with every rollout, and with nothing else."""
    if kind == "Deployment":
        return str(notes.get(_REVISION) or "")
    if kind == "StatefulSet":
        return str(status.get("updateRevision") or "")
    return str(notes.get(_TEMPLATE) or _count(meta, "generation", 0))


def _state(kind: str, meta: Raw, status: Raw, desired: int) -> str:
    """Conditions alone lag behind: a rollout is over when the controller has seen it and every replica is new."""
    for one in _conditions(status):
        if one.get("type") == "Progressing" and one.get("reason") == "ProgressDeadlineExceeded":
            return "deadline_exceeded"
    seen = _count(status, "observedGeneration", 0) >= _count(meta, "generation", 0)
    if kind == "DaemonSet":
        new, there = _count(status, "updatedNumberScheduled", 0), desired
    else:
        there = _count(status, "replicas", 0)
        # A StatefulSet whose rollout is over may leave out the replicas that are updated.
        over = kind == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision")
        new = there if over else _count(status, "updatedReplicas", 0)
    usable = _usable(kind, status)
    return "complete" if seen and new == there == usable == desired else "progressing"


def _usable(kind: str, status: Raw) -> int:
    """Replicas that are available; an old StatefulSet says only how many are ready."""
    if kind == "DaemonSet":
        return _count(status, "numberAvailable", 0)
    return _count(status, "availableReplicas", _count(status, "readyReplicas", 0) if kind == "StatefulSet" else 0)


def _conditions(status: Raw) -> list[Raw]:
    found = status.get("conditions")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _changed(meta: Raw) -> int:
    """When the newest of those who may write what is wanted did so; controllers write the status only."""
    listed = meta.get("managedFields")
    found = [_dict(one) for one in listed] if isinstance(listed, list) else []
    wrote = [one for one in found if one.get("subresource", "") != "status" and "f:spec" in _dict(one.get("fieldsV1"))]
    return max((_time(one.get("time")) for one in wrote), default=0)


def _moved(status: Raw) -> int:
    return max((_time(one.get("lastUpdateTime") or one.get("lastTransitionTime")) for one in _conditions(status)
                if one.get("type") == "Progressing"), default=0)  # fmt: skip


def _image(containers: Sequence[Any], name: str) -> str:
    """The image of the container that is called as the workload, else of the first."""
    known = [one for one in containers if isinstance(one, dict)]
    known.sort(key=lambda one: one.get("name") != name)
    return text_of(known[0], "image") if known else ""


def tag_of(image: str) -> str:
    """The tag of an image's name; "" for none and for "latest"."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag if tag != "latest" else ""


def digest_of(image: str) -> str:
    """The digest in an image's name or id; "" for none."""
    found = _DIGEST.search(image)
    return found[0] if found and ("@" in image or image.startswith("sha256:")) else ""


# -- pods


@dataclass(frozen=True)
class Ended:
    """How often a container of a pod was started again, and how its last run ended; epoch seconds, 0 for unknown."""

    pod: str
    uid: str
    container: str
    count: int
    reason: str
    code: int | None
    at: int
    born: int
    labels: Mapping[str, str]

    @property
    def place(self) -> str:
        """The container, whatever else its pod is called."""
        return f"{self.uid[:13]}/{self.container}"


def ends_of(raw: Raw) -> list[Ended]:
    """The containers of a pod that were started again."""
    meta, status = _object(raw, "metadata"), _dict(raw.get("status"))
    labels = pod_labels(meta)
    found = []
    for one in _statuses(status):
        count = _count(one, "restartCount", 0)
        last = _dict(_dict(one.get("lastState")).get("terminated"))
        if count > 0:
            code = last.get("exitCode")
            found.append(
                Ended(text_of(meta, "name"), text_of(meta, "uid"), text_of(one, "name"), count,
                      text_of(last, "reason") or "unknown", code if isinstance(code, int) else None,
                      _time(last.get("finishedAt")), _time(status.get("startTime")), labels)
            )  # fmt: skip
    return found


def digests_of(raw: Raw) -> Iterator[tuple[tuple[str, str, str], str]]:
    """((namespace, workload, image), digest) of the containers of a pod."""
    labels = pod_labels(_object(raw, "metadata"))
    for one in _statuses(_dict(raw.get("status"))):
        digest = digest_of(text_of(one, "imageID").rpartition("//")[2])
        if digest:
            yield (labels["namespace"], labels["workload"], text_of(one, "image")), digest


def pod_labels(meta: Raw) -> dict[str, str]:
    """What the map sees of a pod: the workload is what its owner belongs to."""
    owners = meta.get("ownerReferences")
    owner = next((one for one in (owners if isinstance(owners, list) else ()) if isinstance(one, dict)), {})
    kind, name, labels = text_of(owner, "kind"), text_of(owner, "name"), _dict(meta.get("labels"))
    if kind == "ReplicaSet":
        end = f"-{labels.get('pod-template-hash', '')}"
        name = name.removesuffix(end) if len(end) > 1 else _SET.sub("", name)
        kind = "Deployment"
    app = labels.get("app.kubernetes.io/name") or labels.get("app") or ""
    name = name or text_of(meta, "name")
    return {"namespace": text_of(meta, "namespace"), "workload": name, "kind": kind or "Pod", "app": str(app) or name}


def _statuses(status: Raw) -> list[Raw]:
    found = status.get("containerStatuses")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


# -- as records


@dataclass
class Words(Said):
    """What the source says, as records."""

    until: int
    meanings = STATUS

    def wanted(self, labels: Mapping[str, str]) -> bool:
        """Whether the configuration lets a workload count."""
        config, name, space = self.config, labels["workload"], labels["namespace"]
        inside = not config.namespaces or space in config.namespaces
        named = not config.workloads or any(fnmatchcase(name, glob) for glob in config.workloads)
        return inside and named and not any(fnmatchcase(name, glob) for glob in config.ignore)

    def facts(self, ts: int, workloads: Sequence[Workload]) -> list[Fact]:
        """Available replicas out of those wanted, and whether the rollout is over; nothing where none is wanted."""
        found: dict[Series, Ratio] = {}
        for one in workloads:
            if one.desired <= 0:
                continue
            labels = labels_of(one.labels)
            told = {"availability": Ratio(min(one.available, one.desired), one.desired),
                    "in_sync": Ratio(int(one.state == "complete"), 1)}  # fmt: skip
            for signal, ratio in told.items():
                series = Series(signal, labels)
                found[series] = found.get(series, Ratio()) + ratio
        return [Fact(series, ts, ratio) for series, ratio in found.items()]

    def rollout(self, one: Workload, sets: Sequence[Raw], looked: int, digest: str = "") -> Event:
        """The rollout that a workload is in; `sets` are the ReplicaSets beside it, `looked` the look before or 0.

        A rollout that brings an earlier ReplicaSet back is a rollback.
        """
        made, again = self.begun(one, sets)
        begun = min(one.changed or one.moved, self.until - 1) if again or not made else made
        latest = None
        if not begun:
            begun, latest = (looked or self.until - 1), self.until - 1
        word = one.state
        kind = "rollback" if again else "deployment"
        event = Event(
            kind, one.key, min(begun, self.until - 1), ts_latest=latest if latest and latest > begun else None,
            version=one.version, commit=one.commit, digest=digest_of(one.image) or digest,
            title=one.title or f"{one.namespace}/{one.name} runs {one.image}",
            labels=labels_of({**one.labels, "image": one.image, "revision": one.revision}),
        )  # fmt: skip
        return self.decided(event, word, one.moved)

    def begun(self, one: Workload, sets: Sequence[Raw]) -> tuple[int, bool]:
        """When the ReplicaSet of the present revision was made, and whether it had a revision before."""
        for raw in sets:
            meta = _dict(raw.get("metadata"))
            notes = _dict(meta.get("annotations"))
            owners = meta.get("ownerReferences") or ()
            mine = any(_dict(owner).get("uid") == one.uid for owner in owners if isinstance(owner, dict))
            if mine and str(notes.get(_REVISION)) == one.revision:
                return _time(meta.get("creationTimestamp")), bool(notes.get(_HISTORY))
        return 0, False

    def decided(self, event: Event, word: str, at: int = 0) -> Event:
        """A rollout with how it goes; `at` is when it last went on, 0 for unknown."""
        outcome = self.outcome(word)
        end = min(at, self.until - 1) if at and outcome in ("good", "bad") else None
        labels = {**dict(event.labels), "state": word}
        return replace(event, outcome=outcome, ended=max(end, event.ts) if end else None, labels=labels_of(labels),
                       revision=int(outcome != "open"))  # fmt: skip

    def scaled(self, before: int, one: Workload, looked: int) -> Event:
        """Another number of replicas is wanted than at the look before."""
        known = one.changed > looked
        ts = min(one.changed if known else (looked or self.until - 1), self.until - 1)
        return Event(
            "infrastructure", f"{one.namespace}/{one.name}@{one.uid[:8]}#{one.generation}", ts,
            ts_latest=None if known or ts >= self.until - 1 else self.until - 1,
            title=f"{one.namespace}/{one.name} scaled from {before} to {one.desired}", trigger="scaling",
            labels=labels_of({**one.labels, "replicas_before": before, "replicas": one.desired}),
        )  # fmt: skip

    def restarts(self, one: Ended, before: int, looked: int) -> Iterator[Event]:
        """The restarts of a container since there were `before`: the last as it ended, the others as a number."""
        if one.count <= before:
            return
        at = min(one.at or self.until - 1, self.until - 1)
        yield Event(
            "restart", f"{one.place}#{one.count}", at if one.at else min(looked or at, at),
            ts_latest=None if one.at or not looked else at, outcome=self.outcome(one.reason), trigger=one.reason,
            title=f"{one.pod}: {one.container} ended ({one.reason}) and was started again",
            labels=labels_of({**one.labels, "pod": one.pod, "container": one.container, "cause": one.reason,
                              "exit_code": one.code}),
        )  # fmt: skip
        missing = one.count - before - 1
        if missing > 0:
            begin = min(max(looked, one.born) or at, at)
            yield Event(
                "restart", f"{one.place}#{before + 1}-{one.count - 1}", begin, ts_latest=at if at > begin else None,
                outcome=self.outcome(one.reason), trigger=one.reason,
                title=f"{one.pod}: {one.container} was started again {missing} times before",
                labels=labels_of({**one.labels, "pod": one.pod, "container": one.container, "cause": one.reason,
                                  "restarts": missing}),
            )  # fmt: skip

    def sent_away(self, raw: Raw) -> Event | None:
        """A pod that had to go, from an event of the cluster; None for any other event."""
        reason = text_of(raw, "reason")
        meta = _object(raw, "metadata")
        about = _dict(raw.get("involvedObject") or raw.get("regarding"))
        if reason not in SENT_AWAY or about.get("kind") != "Pod":
            return None
        at = event_time(raw)
        if not at:
            raise Unusable("an event has no time")
        pod = str(about.get("name") or "")
        name = _SET.sub("", _POD.sub("", pod))
        labels = {"namespace": str(about.get("namespace") or ""), "workload": name, "kind": "Pod", "app": name}
        if not self.wanted(labels):
            return None
        return Event(
            "restart", f"{about.get('uid') or meta.get('uid')}/{reason}", min(at, self.until - 1),
            outcome=self.outcome(reason), trigger=reason,
            title=text_of(raw, "message") or text_of(raw, "note") or reason,
            labels=labels_of({**labels, "pod": pod, "cause": reason}),
        )  # fmt: skip


def event_time(raw: Raw) -> int:
    """When an event of the cluster was last seen: new ones have only a time of their series, old ones a last."""
    series = _dict(raw.get("series"))
    meta = _dict(raw.get("metadata"))
    for told in (series.get("lastObservedTime"), raw.get("lastTimestamp"), raw.get("deprecatedLastTimestamp"),
                 raw.get("eventTime"), meta.get("creationTimestamp")):  # fmt: skip
        if found := _time(told):
            return found
    return 0


def _time(told: Any) -> int:
    """Epoch seconds; 0 where there is none."""
    if not isinstance(told, str) or not told:
        return 0
    try:
        found = times.iso(told)
    except ValueError as error:
        raise Unusable(str(error).rstrip(".")) from None
    return found if found > 366 * 86400 else 0


def _dict(raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _object(raw: Raw, name: str) -> Raw:
    found = raw.get(name)
    if not isinstance(found, dict):
        raise Unusable(f"an object has no {name}")
    return found


def _count(raw: Raw, name: str, default: int) -> int:
    found = raw.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else default
