"""What Spinnaker says of executions and tasks, as deployments and rollbacks: the same for replies and saved answers.

A stage that deploys is one deployment. What it started itself (clones, scaling, traffic) is part of it, but a rollback
that it started is a change of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors._fields import Raw, Unusable, inside, millis_of, rows_of, text_of
from connectors._said import Said
from tandem.records import Event, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "SUCCEEDED": "good",
    "TERMINAL": "bad",
    "FAILED_CONTINUE": "bad",
    "STOPPED": "bad",
    "CANCELED": "excluded",
    "SKIPPED": "excluded",
    "NOT_STARTED": "open",
    "RUNNING": "open",
    "PAUSED": "open",
    "SUSPENDED": "open",
    "BUFFERED": "open",
    "REDIRECT": "open",
}
DEPLOYS = (
    "deploy", "createServerGroup", "cloneServerGroup", "deployManifest", "patchManifest", "deployService",
    "deployCloudFormation",
)  # fmt: skip
ROLLBACKS = ("rollbackCluster", "rollbackServerGroup", "undoRolloutManifest")
FOREVER = 1 << 40
_PARENTS = 5
"""How many pipelines that triggered one another are asked for what was built."""
_TEXT = 200
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_IMAGE = re.compile(r"(?P<name>[^@\s]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")
_UNNAMED = ("anonymous", "[anonymous]", "")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; times are epoch seconds, None for what has not come."""

    id: str
    type: str
    name: str
    status: str
    started: int | None
    ended: int | None
    parent: str
    context: Raw
    outputs: Raw


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a pipeline, or one task that somebody gave by hand."""

    id: str
    application: str
    name: str
    task: bool
    status: str
    built: int
    trigger: Raw
    user: str
    stages: tuple[Stage, ...]

    @property
    def detailed(self) -> bool:
        """Whether it tells what its stages did; a list leaves that out, all but the group a stage is shown in."""
        return any(stage.outputs or stage.context.keys() - {"group"} for stage in self.stages)

    def digest(self) -> str:
        """Changes when anything in it does that a list tells."""
        told = [(stage.id, stage.status, stage.started, stage.ended) for stage in self.stages]
        return hashlib.sha256(repr((self.status, told)).encode("utf-8", "replace")).hexdigest()[:10]


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a container."""

    name: str
    tag: str
    digest: str


def execution_of(raw: Any) -> Execution:
    """Raises Unusable for what is no execution."""
    if not isinstance(raw, dict):
        raise Unusable("what is there is no execution")
    within = inside(raw, "execution")
    task = "stages" not in raw and ("stages" in within or "steps" in raw)
    whole = {**within, **raw} if task else raw
    key, built = text_of(whole, "id"), millis_of(whole, "buildTime")
    if not key or len(key) > 100:
        raise Unusable("an execution has no id")
    built = built if built is not None else millis_of(whole, "startTime")
    if built is None:
        raise Unusable("an execution has no time")
    trigger = inside(whole, "trigger")
    users = (text_of(trigger, "user"), text_of(inside(whole, "authentication"), "user"))
    return Execution(
        key,
        text_of(whole, "application"),
        text_of(whole, "name") or text_of(whole, "description"),
        task,
        text_of(whole, "status"),
        built,
        trigger,
        next((user for user in users if user not in _UNNAMED), ""),
        tuple(_stage(one) for one in rows_of(whole, "stages")),
    )


def _stage(raw: Raw) -> Stage:
    return Stage(
        text_of(raw, "id"), text_of(raw, "type"), text_of(raw, "name"), text_of(raw, "status"),
        millis_of(raw, "startTime"), millis_of(raw, "endTime"), text_of(raw, "parentStageId"),
        inside(raw, "context"), inside(raw, "outputs"),
    )  # fmt: skip


# -- as events


@dataclass
class Words(Said):
    """What the source says, as events that stood so just before `until` (epoch seconds)."""

    until: int = FOREVER
    meanings = STATUS

    def goes_on(self, one: Execution) -> bool:
        """Whether more is to come; a status that nobody knows is final."""
        return self.meaning(one.status) == "open"

    def changes(self, one: Execution) -> list[tuple[str, Stage]]:
        """(kind, stage) of all stages that deploy or roll back, and are not part of another that does the same."""
        known = {stage.id: stage for stage in one.stages}
        found = []
        for stage in one.stages:
            kind = self._kind(stage)
            around = {self._kind(other) for other in _around(stage, known)}
            if kind and kind not in around and not (kind == "deployment" and "rollback" in around):
                found.append((kind, stage))
        return found

    def _kind(self, stage: Stage) -> str:
        if stage.type in ROLLBACKS:
            return "rollback"
        return "deployment" if stage.type in (self.config.deploy_stages or DEPLOYS) else ""

    def events(self, one: Execution) -> Iterator[Event]:
        """The deployments and rollbacks of an execution that have begun."""
        for kind, stage in self.changes(one):
            if stage.id and stage.started is not None and stage.started < self.until:
                yield self._event(kind, one, stage, stage.started)

    def _event(self, kind: str, one: Execution, stage: Stage, started: int) -> Event:
        outcome = self.outcome(stage.status)
        if outcome == "open" and not self.goes_on(one):
            outcome = "excluded"  # it was given up together with its execution
        ended = stage.ended if stage.ended is not None and stage.ended >= started else None
        if outcome != "open" and ended is not None and ended >= self.until:
            outcome = "open"
        ended = ended if outcome != "open" else None
        restarted = millis_of(inside(stage.context, "restartDetails"), "restartTime")
        images = _images(one, stage)
        image = images[0] if len(images) == 1 else Image("", "", "")
        labels = {
            "application": one.application,
            "pipeline": one.name if not one.task else None,
            "task": one.name if one.task else None,
            "stage": stage.name,
            "type": stage.type,
            "account": ", ".join(_told(stage, "account", "credentials")),
            "namespace": ", ".join(_told(stage, "location", "namespace", "namespaceOverride")),
            "cluster": ", ".join(_clusters(one, stage)),
            "images": ", ".join(found.name for found in images)[:_TEXT],
            "status": stage.status if outcome != "open" else None,
            "restarted_by": text_of(inside(stage.context, "restartDetails"), "restartedBy"),
        }
        return Event(
            kind,
            f"{one.id}/{stage.id}",
            started,
            ended=ended,
            outcome=outcome,
            attempt=1 if restarted is None else 2,
            version=image.tag if image.tag != "latest" else "",
            commit=_commit(one),
            digest=image.digest,
            trigger=text_of(one.trigger, "type"),
            actor=one.user,
            title=(one.name if one.task else f"{one.name}: {stage.name}")[:_TEXT],
            url=self.page(one),
            labels=labels_of(labels),
            # A list leaves out what a stage did: whoever knows it outranks it.
            revision=4 * max(started, ended or 0, restarted or 0) + 2 * (outcome != "open") + one.detailed,
        )

    def page(self, one: Execution) -> str:
        """Where people see it: not where the API is."""
        base = self.config.web.rstrip("/")
        if not base.startswith("http"):
            return ""
        rest = f"tasks/{one.id}" if one.task else f"executions/details/{one.id}"
        return f"{base}/#/applications/{one.application}/{rest}"


def _around(stage: Stage, known: Mapping[str, Stage]) -> Iterator[Stage]:
    """The stages that a stage is part of, from the inside outwards."""
    seen = {stage.id}
    while stage.parent in known and stage.parent not in seen:
        stage = known[stage.parent]
        seen.add(stage.id)
        yield stage


def _told(stage: Stage, *names: str) -> list[str]:
    """What a stage says of itself and of each of its clusters under these names, each once."""
    rows = [stage.context, *rows_of(stage.context, "clusters")]
    found = [text_of(raw, name) for raw in rows for name in names]
    return list(dict.fromkeys(one for one in found if one))


def _clusters(one: Execution, stage: Stage) -> list[str]:
    """The clusters that it deploys to: as they are called, or of their parts as Spinnaker calls them."""
    found = _told(stage, "cluster")
    for raw in rows_of(stage.context, "clusters"):
        parts = [text_of(raw, "application") or one.application, text_of(raw, "stack"), text_of(raw, "freeFormDetails")]
        found.append(text_of(raw, "cluster") or "-".join(part for part in parts if part))
    moniker = text_of(inside(stage.context, "moniker"), "cluster")
    return list(dict.fromkeys(part for part in (*found, moniker) if part))


# -- what was deployed


def _triggers(one: Execution) -> Iterator[Raw]:
    """The trigger of an execution, and those of the pipelines that triggered it."""
    trigger = one.trigger
    for _ in range(_PARENTS):
        if trigger:
            yield trigger
        trigger = inside(trigger, "parentExecution", "trigger")


def _commit(one: Execution) -> str:
    """The commit that was built, where all that tells one tells the same."""
    for trigger in _triggers(one):
        scm = [text_of(raw, "sha1") for raw in rows_of(inside(trigger, "buildInfo"), "scm")]
        found = {sha for sha in (text_of(trigger, "hash"), *scm) if _COMMIT.fullmatch(sha)}
        if found:
            return found.pop() if len(found) == 1 else ""
    return ""


def _images(one: Execution, stage: Stage) -> list[Image]:
    """The images that a stage deployed, by what is nearest to it: bound, applied, named, or handed to the pipeline."""
    return next((found for found in _sources(one, stage) if found), [])


def _sources(one: Execution, stage: Stage) -> Iterator[list[Image]]:
    yield _artifacts([*rows_of(stage.context, "outputs.boundArtifacts"), *rows_of(stage.outputs, "boundArtifacts")])
    yield _applied([*rows_of(stage.context, "outputs.manifests"), *rows_of(stage.outputs, "manifests")])
    yield _distinct(text_of(raw, "imageId") for raw in (stage.context, *rows_of(stage.context, "clusters")))
    for trigger in _triggers(one):
        expected = [inside(raw, "boundArtifact") for raw in rows_of(trigger, "resolvedExpectedArtifacts")]
        yield _artifacts([*expected, *rows_of(trigger, "artifacts")])
        if text_of(trigger, "type") == "docker":
            parts = [text_of(trigger, "registry"), text_of(trigger, "repository")]
            yield _distinct([f"{'/'.join(part for part in parts if part)}:{text_of(trigger, 'tag')}"])


def _artifacts(rows: Sequence[Raw]) -> list[Image]:
    """The images among artifacts; the version of one without a tag in its reference is its tag."""
    found: dict[Image, None] = {}
    for raw in rows:
        if text_of(raw, "type") != "docker/image":
            continue
        version, reference = text_of(raw, "version"), text_of(raw, "reference") or text_of(raw, "name")
        for image in _distinct([reference]):
            tag = image.tag or (version if not version.startswith("sha256:") else "")
            found[Image(image.name, tag, image.digest or (version if version.startswith("sha256:") else ""))] = None
    return list(found)


def _applied(manifests: Sequence[Raw]) -> list[Image]:
    """The images of the containers in manifests."""
    pods = [inside(raw, "spec", "template", "spec") for raw in manifests]
    return _distinct(text_of(raw, "image") for pod in pods for raw in rows_of(pod, "containers"))


def _distinct(references: Iterable[str]) -> list[Image]:
    found: dict[Image, None] = {}
    for reference in references:
        match = _IMAGE.fullmatch(reference)
        # A bare word may be anything, such as the id of a machine's image.
        if match and ("/" in reference or match["tag"] or match["digest"]):
            found[Image(match["name"], match["tag"] or "", match["digest"] or "")] = None
    return list(found)
