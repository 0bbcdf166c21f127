"""A small W&B: its GraphQL queries over invented runs and models, with its paging, filters, caps and errors.

Written by hand after the schema that the queries of wandb 0.31 use; nothing of it was captured.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.replay import Answer, Asked

T0 = 1_794_960_000
"""A midnight, UTC."""
KEY = "0" * 40
FIELDS = frozenset(re.findall(r"\w+", """
    project runCount runs edges cursor node name displayName state createdAt heartbeatAt config summaryMetrics
    historyLineCount historyKeys tags group jobType sweepName commit user username inputArtifacts outputArtifacts
    totalCount pageInfo endCursor hasNextPage id versionIndex digest artifactType artifactSequence createdBy __typename
    aliases alias artifactCollection entity run history artifactCollections artifacts version on Run A fragment
    Artifact"""))  # fmt: skip
"""What may stand in a selection; a server refuses a query that names anything else."""


def iso(ts: float) -> str:
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass
class FakeRun:
    name: str
    created: int
    state: str = "finished"
    heard: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    group: str | None = None
    job: str | None = None
    title: str = ""
    sweep: str | None = None
    commit: str | None = None
    tags: tuple[str, ...] = ()
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def log(self, at: float, step: int | None = None, **values: Any) -> None:
        """One more row; names in capitals have a slash in place of a double underscore."""
        named = {name.replace("__", "/"): value for name, value in values.items()}
        number = len(self.rows) if step is None else step
        self.rows.append({**named, "_step": number, "_timestamp": at, "_runtime": at - self.created})
        self.heard = max(self.heard, int(at))

    def node(self) -> dict[str, Any]:
        keys = sorted({key for row in self.rows for key in row})
        last = max((row["_step"] for row in self.rows), default=-1)
        return {
            "name": self.name, "displayName": self.title or f"run {self.name}", "state": self.state,
            "createdAt": iso(self.created), "heartbeatAt": iso(self.heard or self.created),
            "config": json.dumps({key: {"value": value, "desc": None} for key, value in self.config.items()}),
            "summaryMetrics": json.dumps(self.summary), "historyLineCount": len(self.rows),
            "historyKeys": {"keys": {key: {"typeCounts": []} for key in keys}, "lastStep": last, "sets": []},
            "tags": list(self.tags), "group": self.group, "jobType": self.job, "sweepName": self.sweep,
            "commit": self.commit, "user": {"username": "ada"},
            "inputArtifacts": connection(self.inputs), "outputArtifacts": connection(self.outputs),
        }  # fmt: skip


def connection(nodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first twenty, as many as are asked for."""
    return {"totalCount": len(nodes), "edges": [{"node": one} for one in nodes[:20]]}


@dataclass
class WandB:
    """One project, whose registry may be another one."""

    entity: str = "acme"
    project: str = "claims"
    key: str = KEY
    runs: dict[str, FakeRun] = field(default_factory=dict)
    collections: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    registry: tuple[str, str] = ("acme", "claims")
    per_page: int = 100
    """What the server gives at most, whatever is asked for."""
    limited: int = 0
    """Requests that are answered with 429 before the next is served."""
    queries: list[str] = field(default_factory=list)

    def add(self, name: str, created: int, **keys: Any) -> FakeRun:
        self.runs[name] = FakeRun(name, created, **keys)
        return self.runs[name]

    def version(self, collection: str, created: int, run: str = "", aliases: Sequence[str] = (),
                kind: str = "model") -> dict[str, Any]:  # fmt: skip
        """One more version of a collection, newest first as the server lists them."""
        held = self.collections.setdefault(collection, [])
        index = len(held)
        one = {
            "id": f"{collection}-{index}", "versionIndex": index, "digest": f"{index:032x}", "createdAt": iso(created),
            "artifactType": {"name": kind}, "artifactSequence": {"name": collection},
            "createdBy": {"__typename": "Run", "name": run} if run else None, "aliases": [],
        }  # fmt: skip
        held.insert(0, one)
        for alias in aliases:
            self.move(collection, alias, index)
        if run in self.runs:
            self.runs[run].outputs.append(one)
        return one

    def move(self, collection: str, alias: str, index: int | None) -> None:
        """Put an alias onto a version, or take it away."""
        entity, project = self.registry
        home = {"name": collection, "project": {"name": project, "entity": {"name": entity}}}
        for one in self.collections[collection]:
            one["aliases"] = [
                had for had in one["aliases"] if had["alias"] != alias or had["artifactCollection"] != home
            ]
            if one["versionIndex"] == index:
                one["aliases"].append({"alias": alias, "artifactCollection": home})

    # -- answers

    def answer(self, asked: Asked) -> Answer:
        login = base64.b64encode(f"api:{self.key}".encode()).decode()
        if (asked.method, asked.path) != ("POST", "/graphql"):
            return Answer("404 page not found", 404)
        if asked.headers.get("authorization") != f"Basic {login}":
            return Answer({"errors": [{"message": "permission denied"}]}, 401)
        if self.limited:
            self.limited -= 1
            return Answer({"errors": [{"message": "rate limit exceeded"}]}, 429,
                          {"RateLimit-Remaining": "0", "RateLimit-Reset": "3"})  # fmt: skip
        body = json.loads(asked.body)
        unknown = selected(body["query"]) - FIELDS
        if unknown:
            return Answer({"errors": [{"message": f"Cannot query field {sorted(unknown)[0]!r}"}]}, 400)
        name = re.match(r"query (\w+)", body["query"])
        assert name is not None
        self.queries.append(name[1])
        return Answer({"data": {"project": ANSWERS[name[1]](self, body["variables"])}})

    def is_home(self, asked: dict[str, Any], home: tuple[str, str]) -> bool:
        return (asked["entity"], asked["project"]) == home

    def listed(self, asked: dict[str, Any]) -> Any:
        if not self.is_home(asked, (self.entity, self.project)):
            return None
        wanted = json.loads(asked["filters"])
        found = [run for run in sorted(self.runs.values(), key=lambda run: run.created) if fits(run.node(), wanted)]
        page = self.paged([run.node() for run in found], asked.get("cursor"), asked["perPage"])
        return {"runCount": len(found), "runs": page}

    def paged(self, nodes: Sequence[Any], cursor: str | None, per_page: int, at_most: int | None = None) -> Any:
        begin = int(base64.b64decode(cursor).decode().removeprefix("at:")) if cursor else 0
        end = begin + min(per_page, at_most or self.per_page)
        told = base64.b64encode(f"at:{end}".encode()).decode()
        edges = [{"cursor": told, "node": one} for one in nodes[begin:end]]
        return {"edges": edges, "totalCount": len(nodes),
                "pageInfo": {"endCursor": told if edges else None, "hasNextPage": end < len(nodes)}}  # fmt: skip

    def history(self, asked: dict[str, Any]) -> Any:
        run = self.runs.get(asked["run"])
        if run is None or not self.is_home(asked, (self.entity, self.project)):
            return {"run": None}
        rows = [row for row in run.rows if asked["minStep"] <= row["_step"] < asked["maxStep"]]
        if len(rows) > asked["samples"]:
            rows = sorted(random.Random(7).sample(rows, asked["samples"]), key=lambda row: row["_step"])
        return {"run": {"history": [json.dumps(row) for row in rows]}}

    def listed_collections(self, asked: dict[str, Any]) -> Any:
        if not self.is_home(asked, self.registry):
            return None if not self.is_home(asked, (self.entity, self.project)) else {"artifactType": None}
        nodes = [
            {"name": name, "artifacts": self.versions(name, None, asked["versions"])}
            for name, held in self.collections.items()
            if held[0]["artifactType"]["name"] == asked["type"]
        ]
        page = self.paged(nodes, asked.get("cursor"), asked["perPage"])
        return {"artifactType": {"artifactCollections": page} if nodes else None}

    def versions(self, collection: str, cursor: str | None, per_page: int) -> Any:
        page = self.paged(self.collections[collection], cursor, per_page)
        for edge in page["edges"]:
            edge["version"] = f"v{edge['node']['versionIndex']}"
        return page

    def more_versions(self, asked: dict[str, Any]) -> Any:
        page = self.versions(asked["collection"], asked.get("cursor"), asked["perPage"])
        return {"artifactType": {"artifactCollection": {"artifacts": page}}}


ANSWERS: dict[str, Callable[[WandB, dict[str, Any]], Any]] = {
    "Runs": WandB.listed,
    "History": WandB.history,
    "Collections": WandB.listed_collections,
    "Versions": WandB.more_versions,
}


def selected(query: str) -> set[str]:
    """The names in the selections of a query, without arguments."""
    bare = re.sub(r"\([^()]*\)", " ", re.sub(r'"[^"]*"', " ", query.partition("{")[2]))
    return set(re.findall(r"[A-Za-z_]\w*", bare))


def fits(node: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """A filter in the manner of Mongo, as far as it is used."""
    for key, told in wanted.items():
        if key == "$or":
            if not any(fits(node, one) for one in told):
                return False
        elif "$in" in told:
            if node[key] not in told["$in"]:
                return False
        elif not node[key] >= told["$gte"]:
            return False
    return True
