"""The API of Kubeflow Pipelines in one pull: what is new, what ended, and the tasks of what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlsplit

from connectors._fields import Raw, Unusable, rows_of, text_of
from connectors._http import Client
from connectors._kubeflow import Artifact, Run, Version, artifact_of, completed, run_of, version_of, wanted
from connectors._kubeflow_telling import Words, counted, fits
from connectors._memory import kept, reach
from tandem import times
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import DAY, Event, Page, Record

HORIZON = 30 * DAY
"""How far back the daily sweep looks for runs that were retried."""
SIZE = 200
"""Runs per request; no server gives more."""
KNOWN = 10_000
"""Runs that are kept between pulls; forgetting costs requests, never a number."""
NAMED = 300_000
"""Characters of names that are kept."""
_RECORDS = 2_000
_IDS = 100
"""Artifacts of one run that are asked for one by one."""
_API = "apis/v2beta1"


@dataclass
class Memory:
    """What one pull leaves for the next: it saves requests, and `floor` is the time before which nothing was asked."""

    settings: str
    floor: int
    known: dict[str, str] = field(default_factory=dict)
    """How each run stood when all of it was told."""
    names: dict[str, list[Any]] = field(default_factory=dict)
    """Of experiments ("x:ID"), pipelines ("p:ID") and their versions ("v:ID") what runs only give the id of."""
    artifacts: str = ""
    """Whether the server tells of artifacts: "yes", "no", or "" where it was not asked."""

    def plain(self) -> dict[str, Any]:
        """The same as JSON, bounded."""
        self.known = dict(list(self.known.items())[-KNOWN:])
        while len(json.dumps(self.names)) > NAMED:
            self.names = dict(list(self.names.items())[len(self.names) // 2 :])
        return {"settings": self.settings, "floor": self.floor, "known": dict(self.known),
                "names": dict(self.names), "artifacts": self.artifacts}  # fmt: skip


def remembered(config: Any, pull: Pull) -> Memory:
    """What the pull before this one left; nothing where it was told other settings."""
    return kept(Memory, config, pull, config.url, config.web, config.namespace, config.pipelines, config.experiments,
                config.ignore, config.validations, config.evaluation, config.training)  # fmt: skip


@dataclass
class Reading:
    """One pull from the API."""

    client: Client
    config: Any
    pull: Pull
    memory: Memory
    words: Words = field(init=False)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.words = Words(self.config, self.pull.until)

    def pages(self) -> Iterator[Page]:
        """What was created, what ended no matter when it was created, and what was last seen to go on."""
        self.memory.floor = min(self.memory.floor, self.pull.since)
        start, _ = reach(self.memory.floor, self.config, self.pull, HORIZON)
        if self.pull.sweep:
            self.memory.names, self.memory.artifacts = {}, ""
        for found in self._listed(("created_at", start, self.pull.until)):
            yield from self._told(found)
        if start > self.memory.floor:
            ended = ("finished_at", self.pull.since, self.pull.until)
            for found in self._listed(ended, ("created_at", self.memory.floor, start)):
                yield from self._told(found)
        yield from self._told(self._unlisted())
        yield Page(self._gone(), self.memory.plain(), findings=self.words.findings(self.config.common.name))

    # -- runs

    def _told(self, found: list[Run]) -> Iterator[Page]:
        """What these runs say, oldest first: first what is counted, then the rest with what is remembered."""
        records: list[Record] = []
        for one in sorted(found, key=lambda run: (run.created, run.id)):
            if one.id in self.seen:
                continue
            self.seen.add(one.id)
            run = self._changed(one)
            if run is None:
                continue
            if run.tasks is not None and not self.words.goes_on(run):
                yield from counted(run, self.words, self.pull)
            validations = list(self.words.validations(run))
            records += [*self.words.trainings(run), *validations, *self.words.samples(run)]
            records += self._replaced(run, validations)
            if not self.words.goes_on(run) and self.words.over(run):
                self.memory.known[run.id] = one.digest()
            if len(records) >= _RECORDS:
                yield Page(records, self.memory.plain())
                records = []
        if records:
            yield Page(records, self.memory.plain())

    def _replaced(self, run: Run, told: Sequence[Event]) -> list[Event]:
        """Validations that went on, of a run that has ended without them: a retry gave them other ids."""
        if run.tasks is None or self.words.goes_on(run):
            return []
        keys = {event.key for event in told}
        return [replace(event, outcome="excluded") for event in self.pull.open
                if event.kind == "validation" and event.run == run.id and event.key not in keys]  # fmt: skip

    def _changed(self, one: Run) -> Run | None:
        """The run with all that can be known of it; None where it is not wanted, or was told as it is."""
        known = self.memory.known.pop(one.id, None)
        if known is not None and known == one.digest():
            self.memory.known[one.id] = known
            return None
        run = self._named(one)
        if not self._wanted(run):
            self.memory.known[one.id] = one.digest()
            return None
        return run if self.words.goes_on(run) else self._whole(run)

    def _wanted(self, run: Run) -> bool:
        pipeline, experiment = (run.pipeline, run.pipeline_id), (run.experiment, run.experiment_id)
        return (
            fits(pipeline, self.config.pipelines)
            and fits(experiment, self.config.experiments)
            and not fits(pipeline, self.config.ignore)
        )

    def _whole(self, run: Run) -> Run:
        """The run with its tasks and what they made; as it was listed where it is no longer there."""
        tells = self._tells_artifacts()
        if run.detailed or (run.tasks is not None and not tells):
            return run
        path = f"{_API}/runs/{quote(run.id, safe='')}"
        reply = self.client.get(path, [("view", "FULL")], accept=(200, 404))
        found = self._usable(reply.data) if reply.status == 200 else None
        if found is None or found.id != run.id:
            self.words.remark("a run was deleted while it was read: what its tasks did is not known")
            return run
        if found.digest() != run.digest():
            found = replace(found, word=run.word, finished=run.finished, history=run.history)
        found = replace(
            found, pipeline=run.pipeline, experiment=run.experiment, version=run.version, namespace=run.namespace
        )
        return self._with_artifacts(found) if tells and not found.detailed and found.tasks is not None else found

    def _with_artifacts(self, run: Run) -> Run:
        """The run of a server that tells only the ids of what tasks made."""
        found: dict[int, list[Artifact]] = {}
        asked = wanted(run)
        if len(asked) > _IDS:
            self.words.remark(f"a run made more than {_IDS} artifacts; the others are not read", len(asked) - _IDS)
        for place, key, number in asked[:_IDS]:
            reply = self.client.get(f"{_API}/artifacts/{quote(number, safe='')}", accept=(200, 404))
            if reply.status == 200 and isinstance(reply.data, dict):
                found.setdefault(place, []).append(artifact_of(reply.data, key))
        return completed(run, found)

    def _tells_artifacts(self) -> bool:
        """Whether the server has an API of artifacts; until 2026 they lay in ML Metadata alone."""
        if not self.memory.artifacts:
            asked = [("page_size", "1"), *self._namespace()]
            reply = self.client.get(f"{_API}/artifacts", asked, accept=(200, 404, 501))
            self.memory.artifacts = "yes" if reply.status == 200 else "no"
            if reply.status != 200:
                self.words.remark("this server keeps metrics in ML Metadata, where its API does not tell them")
        return self.memory.artifacts == "yes"

    def _usable(self, raw: Any) -> Run | None:
        try:
            return run_of(raw)
        except Unusable as error:
            self.words.reject(str(error))
            return None

    # -- names

    def _named(self, run: Run) -> Run:
        """The run with the names of its experiment and pipeline, and what its pipeline's version says."""
        experiment = self._name("x", "experiments", run.experiment_id)
        pipeline = run.pipeline or self._name("p", "pipelines", run.pipeline_id)
        version = self._version(run) if run.version_id and run.pipeline_id else run.version
        namespace = str(self.memory.names.get(f"x:{run.experiment_id}", ["", ""])[1])
        return replace(run, experiment=experiment, pipeline=pipeline, version=version, namespace=namespace)

    def _name(self, kind: str, path: str, key: str) -> str:
        if not key:
            return ""
        if f"{kind}:{key}" not in self.memory.names:
            raw = self._object(f"{path}/{quote(key, safe='')}")
            name = text_of(raw, "display_name") or text_of(raw, "name")
            self.memory.names[f"{kind}:{key}"] = [name, text_of(raw, "namespace")]
        return str(self.memory.names[f"{kind}:{key}"][0])

    def _version(self, run: Run) -> Version:
        key = f"v:{run.version_id}"
        if key not in self.memory.names:
            path = f"pipelines/{quote(run.pipeline_id, safe='')}/versions/{quote(run.version_id, safe='')}"
            found = version_of(self._object(path))
            self.memory.names[key] = [found.name, found.commit, list(found.images)]
        name, commit, images = self.memory.names[key]
        return Version(name, commit, tuple(images) or run.version.images)

    def _object(self, path: str) -> Raw:
        reply = self.client.get(f"{_API}/{path}", accept=(200, 404))
        return reply.data if reply.status == 200 and isinstance(reply.data, dict) else {}

    # -- lists

    def _listed(self, *within: tuple[str, int, int]) -> Iterator[list[Run]]:
        """The runs with these times in [since, until), oldest first; the list is asked for again where it lacks any.

        A page token is the place behind the last run, so nothing shifts under it.
        """
        found: set[str] = set()
        for _ in range(3):
            total = 0
            for rows, stated in self._pages(within):
                total = stated
                found |= {text_of(raw, "run_id") or f"#{len(found) + place}" for place, raw in enumerate(rows)}
                runs = [one for raw in rows if (one := self._usable(raw)) is not None]
                yield [one for one in runs if all(_inside(one, bound) for bound in within)]
            if len(found) >= total:
                return
        raise SourceDown(
            f"{_API}/runs gives {len(found)} of {total} runs; what is missing is asked for at the next pull."
        )

    def _pages(self, within: Sequence[tuple[str, int, int]]) -> Iterator[tuple[list[Raw], int]]:
        asked = [("page_size", str(SIZE)), ("sort_by", "created_at asc"), ("filter", _filter(within)),
                 *self._namespace()]  # fmt: skip
        token, used = "", {""}
        while True:
            more = [("page_token", token)] if token else []
            reply = self.client.get(f"{_API}/runs", [*asked, *more])
            data = reply.data
            if not isinstance(data, dict) or not isinstance(data.get("runs", []), list):
                raise SourceRefused(f"{urlsplit(reply.url).path} is no list of runs; check that url is Kubeflow's.")
            stated = data.get("total_size")
            yield rows_of(data, "runs"), stated if isinstance(stated, int) else 0
            token = text_of(data, "next_page_token")
            if not token:
                return
            if token in used:
                raise SourceDown(f"{_API}/runs gives the same page again and again; it is asked at the next pull.")
            used.add(token)

    def _namespace(self) -> list[tuple[str, str]]:
        return [("namespace", self.config.namespace)] if self.config.namespace else []

    # -- what went on

    def _unlisted(self) -> list[Run]:
        """What was last seen to go on, and no list has shown."""
        found = []
        for key in dict.fromkeys(event.run for event in self._open()):
            reply = self.client.get(f"{_API}/runs/{quote(key, safe='')}", [("view", "FULL")], accept=(200, 404))
            one = self._usable(reply.data) if reply.status == 200 else None
            if one is not None and one.id == key:
                found.append(one)
        return found

    def _gone(self) -> list[Event]:
        """What was seen to go on and is no longer there."""
        gone = self._open()
        if gone:
            self.words.remark("a run that went on was deleted and is excluded", len(gone))
        return [replace(event, outcome="excluded") for event in gone]

    def _open(self) -> list[Event]:
        return [event for event in self.pull.open
                if event.kind in ("training", "validation") and event.run and event.run not in self.seen]  # fmt: skip


def _inside(run: Run, bound: tuple[str, int, int]) -> bool:
    name, since, until = bound
    ts = run.created if name == "created_at" else run.finished
    return ts is not None and since <= ts < until


def _filter(within: Sequence[tuple[str, int, int]]) -> str:
    rows = []
    for name, since, until in within:
        for operation, ts in (("GREATER_THAN_EQUALS", since), ("LESS_THAN", until)):
            rows.append({"operation": operation, "key": name, "timestamp_value": times.text(ts)})
    return json.dumps({"predicates": rows}, separators=(",", ":"))
