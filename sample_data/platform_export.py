"""What runs the services: Argo CD, a Kubernetes cluster, and logs of Terraform."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.argocd import FIELDS
from sample_data import github_export
from sample_data.packing import gzipped
from sample_data.story import (
    OUT_OF_MEMORY,
    SERVICES,
    START,
    WITH_ARGO,
    at,
    deployments,
    random_of,
    stamp,
)

REGISTRY = "registry.northlight.example"
SPACE = "shop"
CACHE = "eta-cache"


def write(folder: Path) -> None:
    """One folder per tool; those that only answer questions as recorded answers."""
    _recorded(folder / "argocd", [("/api/v1/applications", [("fields", FIELDS)], _applications())])
    _recorded(folder / "kubernetes", _cluster())
    for apply in APPLIES:
        name = f"{stamp(apply.ts)[:16].replace(':', '')}-{apply.workspace}.jsonl.gz"
        lines = [json.dumps(line, separators=(",", ":")) for line in _log(apply)]
        gzipped(folder / "terraform" / name, ("\n".join(lines) + "\n").encode())


def truth() -> str:
    """What was planted, as tables of truth.toml."""
    lines: list[str] = []
    for service in SERVICES:
        if service.name in WITH_ARGO:
            made, synced = github_export.told(service)[2], _synced(service.name)
            lines += [
                "[[twice_told]]", f'component = "{service.name}"',
                f'sources = ["github-{service.name}", "argo"]', f"github = {len(made)}", f"argo = {len(synced)}",
                f"changes = {len(made)}", f"rollbacks = {sum(one['task'] == 'rollback' for one in made)}", "",
            ]  # fmt: skip
    for pod, ts in KILLED:
        lines += ["[[restart]]", 'component = "eta-api"', f'pod = "{pod}"', f"at = {stamp(ts)}", ""]
    for apply in APPLIES:
        lines += ["[[apply]]", f'component = "{apply.workspace}"', f"start = {stamp(apply.ts)}",
                  f'outcome = "{"bad" if apply.failed else "good"}"', ""]  # fmt: skip
    return "\n".join(lines)


def _recorded(folder: Path, answers: Sequence[tuple[str, list[tuple[str, str]], object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"path": path, "query": query, "body": body}, separators=(",", ":"))
            for path, query, body in answers]  # fmt: skip
    (folder / "requests.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


def _uid(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


# -- Argo CD: a deployment of GitHub is a sync of the same commit, begun when the workflow asks for it


def _applications() -> dict[str, Any]:
    """Two applications that remember 100 syncs."""
    return {"metadata": {"resourceVersion": "4811902"}, "items": [_application(name) for name in WITH_ARGO]}


def _synced(name: str) -> list[dict[str, Any]]:
    """The entries of the history: a sync that failed leaves none."""
    service = next(one for one in SERVICES if one.name == name)
    random = random_of("argocd", name)
    entries: list[dict[str, Any]] = []
    for one in github_export.told(service)[2][::-1]:
        ended = max(one["statuses"], key=lambda status: status["created_at"])
        begun = at(one["created_at"].removesuffix("Z")) + int(random.integers(14, 22))
        if ended["state"] != "success":
            continue
        entries.append({
            "id": len(entries), "revision": one["sha"], "deployStartedAt": stamp(begun),
            "deployedAt": stamp(max(begun + 5, at(ended["created_at"].removesuffix("Z")) - 4)), "source": _source(name),
            "initiatedBy": {"username": "github-actions"},
        })  # fmt: skip
    return entries


def _source(name: str) -> dict[str, str]:
    return {"repoURL": f"https://github.com/northlight/{name}.git", "path": "deploy", "targetRevision": "HEAD"}


def _application(name: str) -> dict[str, Any]:
    history = _synced(name)
    last = history[-1]
    version = deployments(next(one for one in SERVICES if one.name == name))[-1].version
    return {
        "metadata": {"name": name, "namespace": "argocd", "uid": _uid(f"application {name}")},
        "spec": {"project": SPACE, "destination": {"server": "https://kubernetes.default.svc", "namespace": SPACE}},
        "status": {
            "sync": {"status": "Synced"},
            "summary": {"images": [f"{REGISTRY}/{name}:{version}"]},
            "history": history,
            "operationState": {
                "phase": "Succeeded", "startedAt": last["deployStartedAt"], "finishedAt": last["deployedAt"],
                "message": "successfully synced (all tasks run)",
                "operation": {"sync": {"revision": last["revision"]}, "initiatedBy": last["initiatedBy"]},
                "syncResult": {"revision": last["revision"], "source": last["source"]},
            },
        },
    }  # fmt: skip


# -- Kubernetes: what is there when it is asked, and what it remembers of containers that ended

KILLED = ((f"{CACHE}-0", OUT_OF_MEMORY.start), (f"{CACHE}-1", at("2026-11-09 02:11")))


def _cluster() -> list[tuple[str, list[tuple[str, str]], object]]:
    """Answers to lists, and to watches in which nothing happens."""
    of_kind = {
        "/api/v1/pods": [_pod(pod, ts) for pod, ts in KILLED],
        "/apis/apps/v1/deployments": [_deployment(service.name) for service in SERVICES],
        "/apis/apps/v1/statefulsets": [_caches()],
        "/apis/apps/v1/daemonsets": [],
    }
    found: list[tuple[str, list[tuple[str, str]], object]] = []
    for path, items in of_kind.items():
        version = str(920_114 + len(found))
        found.append((path, [("limit", "500")], {"metadata": {"resourceVersion": version}, "items": items}))
        watch = [("allowWatchBookmarks", "true"), ("resourceVersion", version), ("timeoutSeconds", "1"), ("watch", "1")]
        still = {"type": "BOOKMARK", "object": {"kind": "Bookmark", "metadata": {"resourceVersion": version}}}
        found.append((path, watch, json.dumps(still) + "\n"))
    none = {"metadata": {"resourceVersion": "920190"}, "items": []}
    for reason in ("Evicted", "Preempted"):
        found.append(("/api/v1/events", [("fieldSelector", f"reason={reason}"), ("limit", "500")], none))
    return found


def _deployment(name: str) -> dict[str, Any]:
    made = deployments(next(one for one in SERVICES if one.name == name))
    since, last, labels = stamp(START - 7_000_000), stamp(made[-1].ts + 30), {"app.kubernetes.io/name": name}
    image = f"{REGISTRY}/{name}:{made[-1].version}"
    return {
        "metadata": {
            "name": name, "namespace": SPACE, "uid": _uid(f"deployment {name}"), "generation": 60 + len(made),
            "creationTimestamp": since, "labels": {**labels, "app.kubernetes.io/version": made[-1].version},
            "annotations": {"deployment.kubernetes.io/revision": str(40 + len(made))},
        },
        "spec": {
            "replicas": 3, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}]}},
        },
        "status": {
            "observedGeneration": 60 + len(made), "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
            "availableReplicas": 3,
            "conditions": [
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                 "lastUpdateTime": last, "lastTransitionTime": since},
            ],
        },
    }  # fmt: skip


def _caches() -> dict[str, Any]:
    labels, revision = {"app.kubernetes.io/name": CACHE}, f"{CACHE}-6d5c9f7b48"
    return {
        "metadata": {"name": CACHE, "namespace": SPACE, "uid": _uid(CACHE), "generation": 3,
                     "creationTimestamp": stamp(START - 7_000_000), "labels": labels},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels}, "serviceName": CACHE,
            "template": {"metadata": {"labels": labels},
                         "spec": {"containers": [{"name": "redis", "image": "redis:7.2.5"}]}},
        },
        "status": {"observedGeneration": 3, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2,
                   "currentReplicas": 2, "updatedReplicas": 2, "currentRevision": revision, "updateRevision": revision},
    }  # fmt: skip


def _pod(name: str, killed: int) -> dict[str, Any]:
    """A container that ended once and was started again two seconds later."""
    return {
        "metadata": {
            "name": name, "namespace": SPACE, "uid": _uid(name), "creationTimestamp": stamp(START - 6_000_000),
            "labels": {"app.kubernetes.io/name": CACHE},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": CACHE, "uid": _uid(CACHE),
                                 "controller": True}],
        },
        "spec": {"containers": [{"name": "redis", "image": "redis:7.2.5"}]},
        "status": {
            "phase": "Running", "startTime": stamp(START - 6_000_000),
            "containerStatuses": [{
                "name": "redis", "ready": True, "started": True, "restartCount": 1, "image": "redis:7.2.5",
                "imageID": f"docker.io/library/redis@sha256:{hashlib.sha256(b'redis:7.2.5').hexdigest()}",
                "state": {"running": {"startedAt": stamp(killed + 2)}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": stamp(killed),
                                             "startedAt": stamp(START - 6_000_000)}},
            }],
        },
    }  # fmt: skip


# -- Terraform: the log of each apply that the team's pipeline saved


@dataclass(frozen=True)
class Apply:
    """One `terraform apply -json` of a workspace: resources by name, those it adds and those it changes."""

    workspace: str
    ts: int
    resources: tuple[str, ...]
    add: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    failed: bool = False


_NETWORK = ("aws_lb.front", "aws_lb_listener.https", "aws_lb_target_group.pods", "aws_security_group.front",
            "aws_security_group.pods", "aws_route53_record.name", "aws_wafv2_web_acl.front")  # fmt: skip
_CACHED = ("aws_lb_target_group.pods", "helm_release.cache", "aws_cloudwatch_metric_alarm.memory")
_OUTBOX = ("aws_sqs_queue.captures", "aws_sqs_queue.refunds")
APPLIES = (
    Apply("payments-gateway", at("2026-08-26 09:40"), _NETWORK, add=_OUTBOX),
    Apply("eta-api", at("2026-09-10 13:05"), _CACHED, change=("helm_release.cache",)),
    Apply("search-api", at("2026-09-29 10:15"), ("aws_ebs_volume.index", "aws_lb_target_group.pods"),
          change=("aws_ebs_volume.index",)),
    Apply("auth-api", at("2026-10-13 14:20"), _NETWORK[:4], add=("aws_elasticache_cluster.sessions",)),
    Apply("reco-api", at("2026-10-20 11:02"), _NETWORK[:3], add=("aws_sagemaker_endpoint.candidates",), failed=True),
    Apply("reco-api", at("2026-10-20 11:41"), _NETWORK[:3], add=("aws_sagemaker_endpoint.candidates",)),
    Apply("payments-gateway", at("2026-10-29 09:10"), _NETWORK + _OUTBOX, change=("aws_security_group.pods",),
          drifted=("aws_security_group.pods",)),
    Apply("eta-api", at("2026-11-10 09:20"), _CACHED, change=("helm_release.cache",)),
)  # fmt: skip


def _log(apply: Apply) -> Iterator[dict[str, Any]]:
    """Its lines: what it looked at, what it found changed, what it planned and what it did."""
    clock = _Clock(apply.ts)
    yield clock.line(0, "version", "Terraform 1.9.8", terraform="1.9.8", ui="1.2")
    for address in apply.resources:
        yield clock.line(0.2, "refresh_start", f"{address}: Refreshing state...", hook=_resource(address))
        yield clock.line(0.4, "refresh_complete", f"{address}: Refresh complete", hook=_resource(address))
    for address in apply.drifted:
        yield clock.line(0.1, "resource_drift", f"{address}: Drift detected (update)",
                         change={**_resource(address), "action": "update"})  # fmt: skip
    actions = [(address, "create") for address in apply.add] + [(address, "update") for address in apply.change]
    for address, action in actions:
        yield clock.line(0.1, "planned_change", f"{address}: Plan to {action}",
                         change={**_resource(address), "action": action})  # fmt: skip
    yield clock.line(0.1, "change_summary", "Plan", changes=_summary(apply, "plan"))
    for address, action in actions:
        yield clock.line(1.5, "apply_start", f"{address}: {action}", hook={**_resource(address), "action": action})
        if apply.failed:
            said = "limit of instances reached"
            yield clock.line(8, "apply_errored", f"{address}: failed", hook={**_resource(address), "action": action})
            yield clock.line(0.1, "diagnostic", f"Error: {said}", level="error",
                             diagnostic={"severity": "error", "summary": said})  # fmt: skip
            return
        yield clock.line(38, "apply_complete", f"{address}: complete",
                         hook={**_resource(address), "action": action, "elapsed_seconds": 38})  # fmt: skip
    yield clock.line(0.5, "change_summary", "Apply complete!", changes=_summary(apply, "apply"))


def _summary(apply: Apply, operation: str) -> dict[str, object]:
    return {"add": len(apply.add), "change": len(apply.change), "import": 0, "remove": 0, "operation": operation}


def _resource(address: str) -> dict[str, Any]:
    kind, _, name = address.partition(".")
    return {"resource": {"addr": address, "module": "", "resource": address,
                         "implied_provider": kind.partition("_")[0], "resource_type": kind, "resource_name": name,
                         "resource_key": None}}  # fmt: skip


@dataclass
class _Clock:
    """The times of the lines of one log."""

    now: float

    def line(self, after: float, kind: str, said: str, level: str = "info", **more: object) -> dict[str, Any]:
        self.now += after
        micros = round(self.now % 1 * 1e6) % 1_000_000
        when = stamp(int(self.now)).replace("Z", f".{micros:06d}Z")
        return {"@level": level, "@message": said, "@module": "terraform.ui", "@timestamp": when, "type": kind, **more}
