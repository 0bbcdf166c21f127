"""A cluster as its API server answers: lists in pages that expire, watches from a place that may be forgotten."""

from __future__ import annotations

import json
import zlib
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.replay import Answer, Asked

PATHS = {"pods": "/api/v1", "events": "/api/v1", "deployments": "/apis/apps/v1", "replicasets": "/apis/apps/v1",
         "statefulsets": "/apis/apps/v1", "daemonsets": "/apis/apps/v1"}  # fmt: skip
KINDS = {"deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet",
         "daemonsets": "DaemonSet", "pods": "Pod", "events": "Event"}  # fmt: skip
MOST = 500
Raw = dict[str, Any]


def text(ts: float) -> str:
    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Cluster:
    """Objects by resource and name, and every change of them under a growing resourceVersion."""

    objects: dict[str, dict[str, Raw]] = field(default_factory=lambda: {name: {} for name in PATHS})
    log: list[tuple[int, str, str, Raw]] = field(default_factory=list)
    version: int = 1000
    oldest: int = 0
    """Changes before this place are forgotten."""
    token: str = ""
    expiring: int = 0
    """How many pages after the first will be found expired."""

    # -- what happens

    def deploy(self, name: str, image: str, at: float, *, replicas: int = 3, space: str = "shop",
               kind: str = "deployments", labels: dict[str, str] | None = None) -> Raw:  # fmt: skip
        """A new workload, or a new template of one: a rollout begins."""
        known = self.objects[kind].get(f"{space}/{name}")
        own = {"app": name, **(labels or {})}
        raw = deepcopy(known) if known else {
            "metadata": {"name": name, "namespace": space, "uid": f"uid-{name:-<9}{kind[:4]}", "generation": 0,
                         "creationTimestamp": text(at), "labels": own, "annotations": {}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}}, "status": {"replicas": 0},
        }  # fmt: skip
        raw["spec"]["template"] = {"metadata": {"labels": own}, "spec": {"containers": [
            {"name": "sidecar", "image": "proxy:9"}, {"name": name, "image": image}]}}  # fmt: skip
        self._wanted(raw, at)
        self._revision(kind, raw, image, at)
        raw["status"] |= {"updatedReplicas": 0, "updatedNumberScheduled": 0}
        if known is None:
            raw["status"] |= {"availableReplicas": 0, "desiredNumberScheduled": replicas, "numberAvailable": 0}
        self.put(kind, raw)
        return raw

    def _wanted(self, raw: Raw, at: float) -> None:
        raw["metadata"]["generation"] += 1
        raw["metadata"]["managedFields"] = [
            {"manager": "kubectl", "operation": "Update", "time": text(at), "fieldsV1": {"f:spec": {}}},
            {"manager": "controller", "operation": "Update", "time": text(at + 900), "subresource": "status",
             "fieldsV1": {"f:status": {}}},
        ]  # fmt: skip

    def _revision(self, kind: str, raw: Raw, image: str, at: float) -> None:
        meta = raw["metadata"]
        key = f"{meta['namespace']}/{meta['name']}-{zlib.crc32(image.encode())}"
        if kind == "statefulsets":
            raw["status"]["updateRevision"] = key.rpartition("/")[2]
            return
        if kind == "daemonsets":
            meta["annotations"]["deprecated.daemonset.template.generation"] = str(meta["generation"])
            return
        number = str(1 + int(meta["annotations"].get("deployment.kubernetes.io/revision", "0")))
        old = self.objects["replicasets"].get(key)
        notes = {"deployment.kubernetes.io/revision": number}
        if old:
            before = old["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
            notes["deployment.kubernetes.io/revision-history"] = before
        self.put("replicasets", {"metadata": {
            "name": key.rpartition("/")[2], "namespace": meta["namespace"], "uid": f"rs-{key}", "annotations": notes,
            "creationTimestamp": old["metadata"]["creationTimestamp"] if old else text(at + 1),
            "labels": {"app": meta["name"]}, "ownerReferences": [{"kind": "Deployment", "uid": meta["uid"]}],
        }})  # fmt: skip
        meta["annotations"]["deployment.kubernetes.io/revision"] = number
        raw["status"]["conditions"] = [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
                                        "lastUpdateTime": text(at + 1)}]  # fmt: skip

    def rolled(self, name: str, at: float, *, space: str = "shop", kind: str = "deployments") -> None:
        """The rollout is over: every replica is new and available."""
        raw = deepcopy(self.objects[kind][f"{space}/{name}"])
        n = raw["spec"]["replicas"]
        raw["status"] |= {"observedGeneration": raw["metadata"]["generation"], "replicas": n, "updatedReplicas": n,
                          "readyReplicas": n, "availableReplicas": n, "updatedNumberScheduled": n,
                          "desiredNumberScheduled": n, "numberAvailable": n, "numberReady": n}  # fmt: skip
        if kind == "deployments":
            progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
            raw["status"]["conditions"] = [{**progress, "lastUpdateTime": text(at)}]
        self.put(kind, raw)

    def stuck(self, name: str, at: float) -> None:
        raw = deepcopy(self.objects["deployments"][f"shop/{name}"])
        raw["status"]["conditions"] = [{"type": "Progressing", "status": "False",
                                        "reason": "ProgressDeadlineExceeded", "lastUpdateTime": text(at)}]  # fmt: skip
        self.put("deployments", raw)

    def available(self, name: str, n: int) -> None:
        raw = deepcopy(self.objects["deployments"][f"shop/{name}"])
        raw["status"]["availableReplicas"] = n
        self.put("deployments", raw)

    def scale(self, name: str, n: int, at: float) -> None:
        raw = deepcopy(self.objects["deployments"][f"shop/{name}"])
        raw["spec"]["replicas"] = n
        self._wanted(raw, at)
        self.put("deployments", raw)

    def pod(self, name: str, of: str, at: float, *, restarts: int = 0, reason: str = "", code: int = 1,
            ended: float = 0, image: str = "cart:1", digest: str = "") -> None:  # fmt: skip
        """A pod of a Deployment, whose container was started again so often and ended last as said."""
        last = {"terminated": {"reason": reason, "exitCode": code, "finishedAt": text(ended)}} if reason else {}
        self.put("pods", {
            "metadata": {"name": name, "namespace": "shop", "uid": f"pod-{name:-<20}", "creationTimestamp": text(at),
                         "labels": {"app": of, "pod-template-hash": "5d4f8c7b9"},
                         "ownerReferences": [{"kind": "ReplicaSet", "name": f"{of}-5d4f8c7b9", "uid": "x"}]},
            "spec": {"containers": [{"name": of, "env": [{"name": "PASSWORD", "value": "hunter2"}]}]},
            "status": {"startTime": text(at), "containerStatuses": [
                {"name": of, "image": image, "restartCount": restarts, "lastState": last,
                 "imageID": f"docker-pullable://registry/{image}@{digest}" if digest else ""}]}})  # fmt: skip

    def evict(self, pod: str, at: float, number: int = 1) -> None:
        about = {"kind": "Pod", "namespace": "shop", "name": pod, "uid": f"u-{pod}"}
        meta = {"name": f"{pod}.{number}", "namespace": "shop", "uid": f"ev-{pod}-{number}"}
        said = {"reason": "Evicted", "message": "The node was low on resource: memory.", "count": 1}
        stamps = {"lastTimestamp": None, "eventTime": text(at), "series": None}
        self.put("events", {"metadata": meta, "involvedObject": about, **said, **stamps})

    def put(self, resource: str, raw: Raw) -> None:
        self.version += 1
        key = f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"
        raw["metadata"]["resourceVersion"] = str(self.version)
        raw["kind"], raw["apiVersion"] = KINDS[resource], PATHS[resource].rpartition("/api/")[2].removeprefix("/apis/")
        change = "MODIFIED" if key in self.objects[resource] else "ADDED"
        self.objects[resource][key] = raw
        self.log.append((self.version, resource, change, deepcopy(raw)))

    def delete(self, resource: str, key: str) -> None:
        self.version += 1
        raw = self.objects[resource].pop(key)
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((self.version, resource, "DELETED", raw))

    def forget(self) -> None:
        """What has changed so far cannot be watched any more."""
        self.version += 1
        self.oldest = self.version

    # -- what is answered

    def answer(self, asked: Asked) -> Answer:
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        parts = asked.path.rstrip("/").split("/")
        resource, given = parts[-1], asked.parameters()
        if PATHS.get(resource) != ("/api/v1" if parts[1] == "api" else "/apis/apps/v1"):
            return _status(404, "the server could not find the requested resource")
        space = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
        if given.get("watch"):
            return self._watch(resource, space, given)
        rows = [raw for raw in self.objects[resource].values()
                if space in ("", raw["metadata"]["namespace"]) and _selected(raw, given)]  # fmt: skip
        return self._page(resource, rows, given)

    def _page(self, resource: str, rows: list[Raw], given: dict[str, str]) -> Answer:
        begin, limit = int(given.get("continue", "0")), min(int(given.get("limit", "0")) or MOST, MOST)
        if begin and self.expiring:
            self.expiring -= 1
            return _status(410, "The provided continue parameter is too old")
        meta: Raw = {"resourceVersion": str(self.version)}
        if begin + limit < len(rows):
            meta |= {"continue": str(begin + limit), "remainingItemCount": len(rows) - begin - limit}
        bare = [{key: value for key, value in raw.items() if key not in ("kind", "apiVersion")} for raw in rows]
        return Answer({"kind": f"{KINDS[resource]}List", "apiVersion": "v1", "metadata": meta,
                       "items": bare[begin : begin + limit]})  # fmt: skip

    def _watch(self, resource: str, space: str, given: dict[str, str]) -> Answer:
        since = int(given["resourceVersion"])
        if since < self.oldest:
            # As the real one does: the refusal comes as a change, under status 200.
            return _lines([{"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}])
        found = [{"type": change, "object": raw} for version, name, change, raw in self.log
                 if version > since and name == resource and space in ("", raw["metadata"]["namespace"])]  # fmt: skip
        mark = {"metadata": {"resourceVersion": str(self.version)}}
        return _lines([*found, {"type": "BOOKMARK", "object": {"kind": KINDS[resource], **mark}}])


def _lines(rows: list[Raw]) -> Answer:
    return Answer("".join(json.dumps(one) + "\n" for one in rows), headers={"Content-Type": "application/json"})


def _status(code: int, message: str) -> Answer:
    return Answer({"kind": "Status", "status": "Failure", "message": message, "code": code}, code)


def _selected(raw: Raw, given: dict[str, str]) -> bool:
    pairs = [one.split("=") for one in given.get("labelSelector", "").split(",") if one]
    if any(raw["metadata"].get("labels", {}).get(name) != value for name, value in pairs):
        return False
    name, _, value = given.get("fieldSelector", "").partition("=")
    return not name or str(raw.get(name)) == value
