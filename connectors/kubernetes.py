"""Kubernetes: replicas that are available, rollouts and rollbacks, scaling, and containers that end and begin again.

The first pull lists; each later one watches from where the last had read, so that what came and went in between is
told too, and lists again where the cluster has forgotten that place. One pull is one look at every workload, a slice
named after its tick.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from connectors import _http
from connectors._fields import Raw, Unusable
from connectors._files import documents
from connectors._kubernetes import (
    SENT_AWAY,
    STATUS,
    WORKLOADS,
    Ended,
    Words,
    Workload,
    digests_of,
    ends_of,
    workload_of,
)
from connectors._kubernetes_access import access_of
from connectors._saved_look import pages_of_look, time_of_look
from tandem.connect import About, Common, Item, Pull, SourceDown, SourceRefused, setting
from tandem.records import HOUR, Covered, Event, Gap, Page, Slice, bucket_of

PER_PAGE = 500
EVENTS_KEPT = HOUR
"""Seconds for which a cluster keeps its events, unless its API server is told otherwise."""
WATCHED = 1
"""Seconds that a watch may wait for more; what happened before comes at once."""
KNOWN = 2000
"""Workloads, and containers with restarts, that are remembered; with more of them every pull lists."""
_AGAIN = 3
_PIECE = 1000
_PATHS = {
    "pods": "/api/v1/{}pods",
    "deployments": "/apis/apps/v1/{}deployments",
    "statefulsets": "/apis/apps/v1/{}statefulsets",
    "daemonsets": "/apis/apps/v1/{}daemonsets",
}
_KINDS = {"pods": "Pod", "deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}
_MARKS = (
    (rb'"apiVersion"\s*:\s*"(?:v1|apps/v1|events\.k8s\.io/v1)"',
     rb'"kind"\s*:\s*"(?:Deployment|StatefulSet|DaemonSet|ReplicaSet|Pod|Event)(?:List)?"'),
)  # fmt: skip
_OTHERS = re.compile(rb'"kind"\s*:\s*"Application"')
"""Objects that name workloads and are none."""

ABOUT = About(
    reads="Workloads of a Kubernetes cluster: available replicas, rollouts, rollbacks, scaling and restarts.",
    signals=("availability", "in_sync", "deploy_success", "deploy_duration"),
    events=("deployment", "rollback", "restart", "infrastructure"),
    labels={
        "namespace": "the namespace",
        "workload": "the name of the Deployment, StatefulSet or DaemonSet (of a pod's owner)",
        "kind": "Deployment, StatefulSet, DaemonSet, Job or Pod",
        "app": "the label app.kubernetes.io/name, else app, else the workload",
        "cause": "of restarts: Kubernetes' own reason, such as OOMKilled",
    },
    files=(
        "kubectl get deployments,statefulsets,daemonsets,replicasets,pods,events -A -o json",
        "kubectl get --raw /apis/apps/v1/deployments (or another list of these)",
    ),
    limits=(
        "Only the present can be looked at: each tick is one sample per workload, one without a look less coverage.",
        "availability is available replicas out of the wanted ones; in_sync says whether the last rollout is over.",
        "Changes between two looks are watched; after 5 minutes a cluster may have forgotten them, and all is listed.",
        "A rollout that came and went unseen is not told; of restarts the count says how many there were.",
        "A rollout that brings an earlier ReplicaSet back is a rollback, which counts in no deploy_success.",
        "StatefulSets and DaemonSets do not say when a rollout ended: their deployments have no duration.",
        "Pods that were evicted are known from the cluster's events, which it keeps for 1 h: a later pull is a gap.",
        "A kubeconfig that runs another program for its token is refused; give a service account's token.",
        "In YAML a kubeconfig needs PyYAML (the extra openslo); as JSON it needs nothing.",
    ),
    status=STATUS,
    aliases=("k8s",),
    once=("deployment", "rollback", "restart", "infrastructure"),
    polled=True,
    side="system",
    example="""\
connector = "kubernetes"
name = "cluster-1"
url = "https://cluster-1.example.com:6443"   # or kubeconfig, or "file:exports/kubernetes"
token_env = "KUBERNETES_TOKEN"               # of a service account that may list and watch workloads, pods and events
# ca_file = "cluster-1.pem"
# kubeconfig = "kubeconfig.json"
# namespaces = ["shop"]                      # left out: all
  [[source.map]]
  component = "checkout-api"
  match = { namespace = "shop", workload = "checkout*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One cluster."""

    common: Common
    url: str = setting('The API server, or "file:DIR".', default="", example="https://cluster-1.example.com:6443")
    kubeconfig: Path | None = setting(
        "A kubeconfig in place of url, as JSON or YAML.", default=None, example="kubeconfig.json"
    )
    context: str = setting("The context of the kubeconfig, if not its current one.", default="", example="cluster-1")
    namespaces: tuple[str, ...] = setting("Namespaces to read; left out: all.", default=(), example=("shop",))
    workloads: tuple[str, ...] = setting("Globs of workloads that count.", default=(), example=("checkout*",))
    ignore: tuple[str, ...] = setting("Globs of workloads that never count.", default=(), example=("*-canary",))
    scaling: bool = setting("Whether another number of replicas is a change of infrastructure.", default=True)


def scope(config: Config) -> str:
    """The API server, or the context of the kubeconfig."""
    return config.url.rstrip("/") or f"{config.kubeconfig or ''}#{config.context}"


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """One look at all workloads and at what happened since the last; nothing where this tick was looked at before."""
    every = config.common.every
    tick = pull.now // every * every
    if pull.taken(f"poll:{tick}") is not None:
        yield Page(covered=())
        return
    with ExitStack() as opened:
        client = opened.enter_context(_client(config, opened))
        yield _Look(config, pull, client, tick, _Memory.of(pull.state)).page()


def _client(config: Config, opened: ExitStack) -> _http.Client:
    if config.url:
        return _http.open_client(config, config.url)
    if config.kubeconfig is None:
        raise SourceRefused(f"{config.common.name} has neither url nor kubeconfig; give one of them.")
    folder = Path(opened.enter_context(TemporaryDirectory()))
    access = access_of(config.kubeconfig, config.context, folder)
    return _http.open_client(
        config, access.server, token=access.token, identity=access.identity, ca_file=access.authority
    )


@dataclass
class _Memory:
    """What one look leaves for the next; losing it costs lists, and restarts and changes in between."""

    until: int = 0
    looked: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    """The resourceVersion that each list or watch ended with."""
    workloads: dict[str, Workload] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Restarts told of a container, by pod and container."""

    @classmethod
    def of(cls, state: Any) -> _Memory:
        if not isinstance(state, dict) or state.get("version") != 1:
            return cls()
        known = {uid: Workload(uid=uid, **row) for uid, row in state["workloads"].items()}
        return cls(state["until"], state["looked"], state["versions"], known, state["counts"])

    def plain(self) -> dict[str, Any]:
        """The same as JSON; too much of it is forgotten, and listed again."""
        whole = len(self.workloads) <= KNOWN
        rows = {uid: {name: value for name, value in asdict(one).items() if name not in _NOT_KEPT}
                for uid, one in list(self.workloads.items())[-KNOWN:]}  # fmt: skip
        counts = dict(list(self.counts.items())[-2 * KNOWN :])
        return {"version": 1, "until": self.until, "looked": self.looked, "versions": self.versions if whole else {},
                "workloads": rows, "counts": counts}  # fmt: skip


_NOT_KEPT = ("uid", "image", "version", "commit", "title", "selector", "changed", "moved", "created")


@dataclass
class _Look:
    """One look."""

    config: Config
    pull: Pull
    client: _http.Client
    tick: int
    memory: _Memory
    words: Words = field(init=False)
    records: list[Event] = field(default_factory=list)
    digests: dict[tuple[str, str, str], str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    """Keys of rollouts that this look has told."""

    def __post_init__(self) -> None:
        self.words = Words(self.config, self.pull.until)

    def page(self) -> Page:
        first = not self.memory.looked
        for resource in _PATHS:
            self.pull.progress(resource, None)
            for space in self.config.namespaces or ("",):
                self._read(resource, space)
        if not first:
            self._forgotten_rollouts()
        gaps = [*self._events(), *self._missed()]
        every = self.config.common.every
        workloads = [one for one in self.memory.workloads.values() if self.words.wanted(one.labels)]
        facts = self.words.facts(bucket_of(self.tick), workloads)
        state = _Memory(
            self.tick + every, self.pull.until, self.memory.versions, self.memory.workloads, self.memory.counts
        )
        return Page(
            [*facts, *self.records],
            state.plain(),
            covered=[Covered(self.tick, self.tick + every)],
            gaps=gaps,
            slice=Slice(f"poll:{self.tick}", "1"),
            findings=self.words.findings(self.config.common.name),
        )

    # -- lists and watches

    def _read(self, resource: str, space: str) -> None:
        """What changed of a kind since the last look, or all of it where that is not known."""
        path = _PATHS[resource].format(f"namespaces/{space}/" if space else "")
        known = self.memory.versions.get(path)
        if known:
            changes = self._watched(path, known)
            if changes is not None:
                for change, raw in changes:
                    self._seen(resource, raw, gone=change == "DELETED")
                return
        listed, self.memory.versions[path] = self._walked(path, {}, lambda raw: self._seen(resource, raw))
        self._vanished(_KINDS[resource], space, listed)

    def _watched(self, path: str, since: str) -> list[tuple[str, Raw]] | None:
        """Changes since a resourceVersion, oldest first; None where the cluster has forgotten it (410)."""
        asked = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCHED)}
        reply = self.client.get(path, asked, accept=(200, 410), json="lines")
        if reply.status == 410:
            return None
        found: list[tuple[str, Raw]] = []
        for one in reply.data:
            if not isinstance(one, dict) or not isinstance(one.get("object"), dict):
                raise SourceRefused(f"{path} is watched and says no changes; check that url is an API server.")
            change, raw = str(one.get("type")), one["object"]
            if change == "ERROR":
                if raw.get("code") == 410:
                    return None
                raise SourceDown(f"the watch of {path} ended with code {raw.get('code')}; it is tried again.")
            self.memory.versions[path] = str((raw.get("metadata") or {}).get("resourceVersion") or since)
            if change != "BOOKMARK":
                found.append((change, raw))
        return found

    def _listed(self, path: str, **asked: str) -> list[Raw]:
        """All objects of a short list."""
        found: dict[str, Raw] = {}
        self._walked(path, asked, lambda raw: found.update({_uid(raw): raw}))
        return list(found.values())

    def _walked(self, path: str, asked: Mapping[str, str], take: Callable[[Raw], None]) -> tuple[set[str], str]:
        """The uids of a list, each object taken as its page comes, and the list's resourceVersion.

        It begins again where its pages have expired (410): what is taken twice counts once.
        """
        for _ in range(_AGAIN):
            seen: set[str] = set()
            version = self._pages(path, asked, take, seen)
            if version is not None:
                return seen, version
        raise SourceDown(f"the pages of {path} expire before they are read; it is tried again.")

    def _pages(self, path: str, asked: Mapping[str, str], take: Callable[[Raw], None], seen: set[str]) -> str | None:
        """The resourceVersion behind the last page; None where a page has expired."""
        onward = ""
        walked: set[str] = set()
        while True:
            page = {**asked, "limit": str(PER_PAGE), **({"continue": onward} if onward else {})}
            reply = self.client.get(path, page, accept=(200, 410))
            if reply.status == 410:
                return None
            meta, items = _list_of(reply.data, path)
            for raw in items:
                seen.add(_uid(raw))
                take(raw)
            onward = str(meta.get("continue") or "")
            if not onward:
                return str(meta.get("resourceVersion") or "")
            if onward in walked:
                raise SourceDown(f"{path} pages in a circle; it is tried again.")
            walked.add(onward)

    def _vanished(self, kind: str, space: str, listed: set[str]) -> None:
        for uid, one in list(self.memory.workloads.items()):
            if one.kind == kind and space in ("", one.namespace) and uid not in listed:
                del self.memory.workloads[uid]
        if kind == "Pod" and not self.config.namespaces:
            starts = {uid[:13] for uid in listed}
            kept = {key: n for key, n in self.memory.counts.items() if key.partition("/")[0] in starts}
            self.memory.counts = kept

    # -- what is seen of one object

    def _seen(self, resource: str, raw: Raw, *, gone: bool = False) -> None:
        try:
            if resource == "pods":
                self._pod(raw, gone=gone)
            else:
                self._workload({**raw, "kind": _KINDS[resource]}, gone=gone)
        except Unusable as error:
            self.words.reject(str(error))

    def _pod(self, raw: Raw, *, gone: bool) -> None:
        self.digests.update(digests_of(raw))
        for one in ends_of(raw):
            if self.words.wanted(one.labels):
                self.records += self._restarts(one)
                self.memory.counts[one.place] = max(one.count, self.memory.counts.get(one.place, 0))
            if gone:
                self.memory.counts.pop(one.place, None)

    def _restarts(self, one: Ended) -> Iterator[Event]:
        """Its restarts since the last look; where nothing is remembered, the last one and how many before."""
        looked = self.memory.looked
        before = self.memory.counts.get(one.place, 0)
        if one.count <= before:
            return
        if not looked:
            if one.at < self.pull.since:
                return
            if not self.pull.first:
                before = one.count - 1
        yield from self.words.restarts(one, before, looked or self.pull.since)

    def _workload(self, raw: Raw, *, gone: bool) -> None:
        now = workload_of(raw)
        before = self.memory.workloads.pop(now.uid, None)
        same = before is not None and before.revision == now.revision
        now = replace(now, first=before.first if before is not None and same else now.generation)
        if gone or not self.words.wanted(now.labels):
            return
        self.memory.workloads[now.uid] = now
        looked = self.memory.looked
        if before is not None and self.config.scaling and before.desired != now.desired and now.kind != "DaemonSet":
            self.records.append(self.words.scaled(before.desired, now, looked))
        if not now.revision:
            return
        begun = before is not None and not same
        if begun or (before is None and now.created >= looked > 0):
            self._ends_others(now)
            digest = self.digests.get((now.namespace, now.name, now.image), "")
            self._tell(self.words.rollout(now, self._sets(now), looked, digest))
        else:
            self._goes_on(now)

    def _sets(self, one: Workload) -> Sequence[Raw]:
        """The ReplicaSets of a Deployment: they say when a revision was made, and whether it is an old one."""
        if one.kind != "Deployment":
            return ()
        asked = {"labelSelector": ",".join(f"{name}={value}" for name, value in sorted(one.selector.items()))}
        return self._listed(f"/apis/apps/v1/namespaces/{one.namespace}/replicasets", **asked)

    def _tell(self, event: Event) -> None:
        """A rollout as it stands now, once in a look."""
        self.records = [one for one in self.records if (one.kind, one.key) != (event.kind, event.key)]
        self.records.append(event)
        self.told.add(event.key)

    def _open(self) -> list[Event]:
        """Rollouts that are under way: told in this look, or in one before."""
        mine = [one for one in self.records if one.kind in ("deployment", "rollback") and one.outcome == "open"]
        return mine + [one for one in self.pull.open if one.kind in ("deployment", "rollback")
                       and one.key not in self.told]  # fmt: skip

    def _goes_on(self, now: Workload) -> None:
        for event in self._open():
            if event.key == now.key and self.words.outcome(now.state) != "open":
                self._tell(self.words.decided(event, now.state, now.moved))

    def _ends_others(self, now: Workload) -> None:
        """A newer rollout takes the place of one that was under way."""
        for event in self._open():
            if event.key.startswith(now.place) and event.key != now.key:
                self._tell(self.words.decided(event, "superseded"))

    def _forgotten_rollouts(self) -> None:
        """Rollouts under way of workloads that are gone."""
        places = tuple(one.place for one in self.memory.workloads.values())
        for event in self._open():
            if not event.key.startswith(places):
                self._tell(self.words.decided(event, "deleted"))

    # -- events, and what was not seen

    def _events(self) -> list[Gap]:
        """Pods that had to go, from the cluster's events; what is older than these is a gap."""
        told: dict[str, Event] = {}
        for space in self.config.namespaces or ("",):
            path = f"/api/v1/{f'namespaces/{space}/' if space else ''}events"
            for reason in SENT_AWAY:
                for raw in self._listed(path, fieldSelector=f"reason={reason}"):
                    try:
                        event = self.words.sent_away(raw)
                    except Unusable as error:
                        self.words.reject(str(error))
                        continue
                    if event is not None and event.ts >= self.pull.since - EVENTS_KEPT:
                        told[event.key] = event
        self.records += told.values()
        since = self.memory.looked or self.pull.since
        kept = self.pull.until - EVENTS_KEPT
        reason = "a cluster keeps its events for 1 h; rollouts, scaling and evictions before are not known"
        return [Gap(since, kept, reason, signal="deploy_success")] if since < kept else []

    def _missed(self) -> list[Gap]:
        until = self.memory.until
        if not until or self.tick <= until:
            return []
        reason = "nothing was looked at: Tandem was not running, or was late"
        return [Gap(until, self.tick, reason, signal=signal) for signal in ("availability", "in_sync")]


def _uid(raw: Raw) -> str:
    meta = raw.get("metadata")
    return str(meta.get("uid")) if isinstance(meta, dict) else ""


def _list_of(data: Any, path: str) -> tuple[Raw, list[Raw]]:
    if not isinstance(data, dict) or not isinstance(data.get("items"), list):
        raise SourceRefused(f"{path} is no list; check that url is an API server.")
    meta = data.get("metadata")
    return (meta if isinstance(meta, dict) else {}), [one for one in data["items"] if isinstance(one, dict)]


# -- saved objects


def recognise(item: Item) -> bool:
    """Workloads, pods and events as kubectl prints them in JSON, or a list of the API."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"{") or _OTHERS.search(head):
        return False
    return any(all(re.search(mark, head) for mark in marks) for marks in _MARKS)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The workloads, rollouts and restarts of one file; its time is --at, else when it was changed last."""
    at = time_of_look(item)
    words = Words(config, at + 1)
    objects = [raw for document in documents(item) for raw in _objects(document)]
    kinds: dict[str, list[Raw]] = {}
    for raw in objects:
        kinds.setdefault(str(raw.get("kind")), []).append(raw)
    seen: list[Workload] = []
    found: dict[tuple[str, str], Event] = {}
    for kind in (*WORKLOADS, "Pod", "Event"):
        for raw in kinds.get(kind, ()):
            try:
                for event in _told(words, kind, raw, kinds, seen):
                    found[event.kind, event.key] = event
            except Unusable as error:
                words.reject(str(error))
    events = sorted(found.values(), key=lambda one: (one.ts, one.kind, one.key))
    yield from pages_of_look(item, words, seen, events, words.facts(bucket_of(at), seen))


def _objects(document: Any) -> Iterator[Raw]:
    """The objects of a list; a list of one kind leaves the kind out of its items."""
    if not isinstance(document, dict):
        return
    if not isinstance(document.get("items"), list):
        yield document
        return
    kind = str(document.get("kind", "")).removesuffix("List")
    for raw in document["items"]:
        if isinstance(raw, dict):
            yield {"kind": kind, **raw} if kind else raw


def _told(
    words: Words, kind: str, raw: Raw, kinds: Mapping[str, Sequence[Raw]], seen: list[Workload]
) -> Iterator[Event]:
    if kind in WORKLOADS:
        one = workload_of(raw)
        if words.wanted(one.labels):
            seen.append(one)
            # Only a ReplicaSet says when a rollout began.
            if any(words.begun(one, kinds.get("ReplicaSet", ()))):
                yield words.rollout(one, kinds.get("ReplicaSet", ()), 0)
    elif kind == "Pod":
        for ended in ends_of(raw):
            if words.wanted(ended.labels):
                yield from words.restarts(ended, 0, 0)
    elif event := words.sent_away(raw):
        yield event
