"""Argo CD: syncs of applications as deployments and rollbacks, and whether what runs is what is declared.

An application remembers its last 10 successful syncs and its last operation, whatever became of it. One pull is one
look, a slice named after its tick: one request for all applications.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from connectors import _http
from connectors._argocd import REMEMBERED, STATUS, Application, Words, application_of
from connectors._fields import Unusable
from connectors._files import documents
from connectors._saved_look import pages_of_look, time_of_look
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Covered, Event, Gap, Page, Slice, bucket_of

KEPT = 10
"""Successful syncs that an application remembers, unless it says otherwise."""
KNOWN = 2000
"""Applications that are remembered; of one that is forgotten the next look tells its history again."""
FIELDS = ",".join(
    [
        "metadata.resourceVersion",
        *(
            f"items.{name}"
            for name in (
                "metadata.name", "metadata.namespace", "metadata.uid", "spec.project", "spec.destination",
                "status.sync.status", "status.summary.images", "status.history", "status.operationState.phase",
                "status.operationState.startedAt", "status.operationState.finishedAt",
                "status.operationState.message", "status.operationState.retryCount",
                "status.operationState.operation", "status.operationState.syncResult.revision",
                "status.operationState.syncResult.revisions", "status.operationState.syncResult.source",
                "status.operationState.syncResult.sources",
            )
        ),
    ]
)  # fmt: skip
"""What is asked for: the resources of large applications are left out."""
_PIECE = 1000
_MARKS = (
    re.compile(rb'"destination"\s*:\s*\{'),
    re.compile(rb'"project"\s*:'),
    re.compile(rb'"(?:repoURL|operationState|reconciledAt|syncPolicy)"\s*:'),
)

ABOUT = About(
    reads="Applications of Argo CD: their syncs as deployments and rollbacks, and whether they are in sync.",
    signals=("deploy_success", "deploy_duration", "in_sync"),
    events=("deployment", "rollback"),
    labels={
        "app": "the name of the application",
        "project": "its project",
        "namespace": "the namespace that it is deployed to",
        "cluster": "the cluster that it is deployed to, by name, else address",
    },
    files=(
        "argocd app get NAME -o json, or argocd app list -o json",
        "the answer of /api/v1/applications, or kubectl get applications -A -o json",
    ),
    limits=(
        "An application remembers its last 10 successful syncs; more of them between two looks are a gap.",
        "Only the last operation tells of a failure: one that is followed by another before the next look is not seen.",
        "in_sync is one sample per application and look; a tick without a look is less coverage, never bad.",
        "A sync to what was synced last (self-healing) is excluded, or name it in [source.status] as resync.",
        "A sync to what was synced before the last is a rollback, which counts in no deploy_success.",
        "A revision is a commit of what Argo CD reads; where that is not the code, say revisions = 'manifests'.",
        "The tag and digest of the image are known for the newest sync of an application that runs one image.",
    ),
    status=STATUS,
    aliases=("argo_cd", "argo"),
    once=("deployment", "rollback"),
    polled=True,
    side="system",
    example="""\
connector = "argocd"
name = "argo"
url = "https://argocd.example.com"       # or "file:exports/argocd"
token_env = "ARGOCD_TOKEN"               # of an account with applications, get
# projects = ["shop"]                    # left out: all
# revisions = "manifests"                # where Argo CD reads another repository than the code's
  [[source.map]]
  component = "checkout-api"
  match = { app = "checkout*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One Argo CD."""

    common: Common
    url: str = setting('The server, or "file:DIR".', default="", example="https://argocd.example.com")
    web: str = setting("Where people open Argo CD, if not at url.", default="", example="https://argo.example.com")
    projects: tuple[str, ...] = setting("Projects to read; left out: all.", default=(), example=("shop",))
    applications: tuple[str, ...] = setting("Globs of applications that count.", default=(), example=("checkout*",))
    ignore: tuple[str, ...] = setting("Globs of applications that never count.", default=(), example=("*-preview",))
    revisions: Literal["code", "manifests"] = setting(
        'What revisions are commits of: of the "code", or of another repository with "manifests".', default="code"
    )


def scope(config: Config) -> str:
    """The server's address."""
    return config.url.rstrip("/")


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """One look at all applications; nothing where this tick was looked at before."""
    every = config.common.every
    tick = pull.now // every * every
    if pull.taken(f"poll:{tick}") is not None:
        yield Page(covered=())
        return
    asked = [("fields", FIELDS), *(("projects", one) for one in config.projects)]
    with _http.open_client(config, config.url) as client:
        data = client.get("/api/v1/applications", asked).data
    # Without any application the list is null.
    if not isinstance(data, dict) or "items" not in data or not isinstance(data["items"] or [], list):
        raise SourceRefused("/api/v1/applications is no list; check that url is an Argo CD.")
    yield _Look(config, pull, tick, _Memory.of(pull.state)).page(data["items"] or [])


@dataclass
class _Memory:
    """What one look leaves for the next: of each application the last id told, and the contents synced so far."""

    until: int = 0
    looked: int = 0
    applications: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Any) -> _Memory:
        if not isinstance(state, dict) or state.get("version") != 1:
            return cls()
        known = {uid: (int(last), list(contents)) for uid, (last, contents) in state["applications"].items()}
        return cls(state["until"], state["looked"], known)

    def plain(self) -> dict[str, Any]:
        """The same as JSON."""
        kept = {uid: [last, contents[-REMEMBERED:]] for uid, (last, contents) in self.applications.items()}
        return {"version": 1, "until": self.until, "looked": self.looked,
                "applications": dict(list(kept.items())[-KNOWN:])}  # fmt: skip


@dataclass
class _Look:
    """One look."""

    config: Config
    pull: Pull
    tick: int
    memory: _Memory
    words: Words = field(init=False)
    events: dict[str, Event] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.words = Words(self.config, self.pull.until)

    def page(self, rows: Sequence[Any]) -> Page:
        seen = list(_applications(rows, self.words))
        known: dict[str, tuple[int, list[str]]] = {}
        for one in seen:
            known[one.uid] = self._syncs(one)
        self._under_way(seen)
        if self.memory.until and self.tick > self.memory.until:
            reason = "nothing was looked at: Tandem was not running, or was late"
            self.gaps.append(Gap(self.memory.until, self.tick, reason, signal="in_sync"))
        every = self.config.common.every
        state = _Memory(self.tick + every, self.pull.until, known)
        return Page(
            [*self.words.facts(bucket_of(self.tick), seen), *self.events.values()],
            state.plain(),
            covered=[Covered(self.tick, self.tick + every)],
            gaps=self.gaps,
            slice=Slice(f"poll:{self.tick}", "1"),
            findings=self.words.findings(self.config.common.name),
        )

    def _syncs(self, one: Application) -> tuple[int, list[str]]:
        """What an application has synced since the last look, and what is to be remembered of it."""
        last, before = self.memory.applications.get(one.uid, (-1, []))
        history = one.history
        self._forgotten(one, last)
        for event in self.words.entries(one, last, before):
            # What ended before the time that is asked for is learnt, not told.
            if last >= 0 or event.ts >= self.pull.since or (event.ended or 0) >= self.pull.since:
                self._tell(event)
        told = [entry for entry in history if entry.id > last and entry.ended < self.pull.until]
        contents = [*before, *(entry.content for entry in told)]
        sync = one.operation
        if sync is not None and sync.began < self.pull.until and (sync.ended or self.pull.until) >= self.pull.since:
            self._tell(self.words.event(one, sync, contents))
        return max([last, *(entry.id for entry in told)]), contents

    def _tell(self, event: Event) -> None:
        """A sync that was told as under way keeps its kind."""
        for known in self.pull.open:
            if known.key == event.key and known.kind in ("deployment", "rollback") and known.kind != event.kind:
                event = replace(event, kind=known.kind)
        self.events[event.key] = event

    def _forgotten(self, one: Application, last: int) -> None:
        """Syncs between the last that was told and the oldest that is remembered."""
        if not one.history:
            return
        oldest = one.history[0]
        since = self.memory.looked if last >= 0 else self.pull.since
        lost = oldest.id - last - 1
        if lost > 0 and since < oldest.began and (last >= 0 or self.pull.first):
            reason = f"an application of Argo CD remembers its last {KEPT} successful syncs"
            self.gaps.append(Gap(since, oldest.began, reason, signal="deploy_success"))
            if last >= 0:
                self.words.remark("syncs came and went between two looks and are not told; look more often", lost)

    def _under_way(self, seen: Sequence[Application]) -> None:
        """Syncs that were under way and of which nothing is said any more."""
        places = tuple(one.place for one in seen)
        for event in self.pull.open:
            if event.kind in ("deployment", "rollback") and event.key not in self.events:
                word = "superseded" if places and event.key.startswith(places) else "deleted"
                self.events[event.key] = self.words.decided(event, word)


def _applications(rows: Sequence[Any], words: Words) -> Iterator[Application]:
    for raw in rows:
        try:
            one = application_of(raw)
        except Unusable as error:
            words.reject(str(error))
            continue
        if words.wanted(one):
            yield one


# -- saved answers


def recognise(item: Item) -> bool:
    """Applications as Argo CD or kubectl prints them."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and all(mark.search(head) for mark in _MARKS)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The syncs of one file, and whether its applications were in sync; its time is --at, else that of the file."""
    at = time_of_look(item)
    words = Words(config, at + 1)
    rows = [raw for document in documents(item) for raw in _rows(document)]
    seen = list(_applications(rows, words))
    found: dict[str, Event] = {}
    for one in seen:
        for event in words.entries(one, -1, ()):
            found[event.key] = event
        if one.operation is not None and one.operation.began <= at:
            event = words.event(one, one.operation, [entry.content for entry in one.history])
            found[event.key] = event
    events = sorted(found.values(), key=lambda one: (one.ts, one.key))
    yield from pages_of_look(item, words, seen, events, words.facts(bucket_of(at), seen))


def _rows(document: Any) -> Sequence[Any]:
    if isinstance(document, Mapping) and isinstance(document.get("items"), list):
        found: Sequence[Any] = document["items"]
        return found
    return document if isinstance(document, list) else [document]
