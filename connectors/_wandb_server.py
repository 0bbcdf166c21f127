"""W&B's GraphQL API, read into the objects that its files are read into too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors._fields import Raw, inside, moment, named, rows_of, text_of
from connectors._http import Client, TooLarge
from connectors._json import BadJson, BrokenJson, strict
from connectors._wandb_objects import Artifact, Row, Run, row_of, whole_of
from tandem.connect import SourceDown, SourceRefused

RUNS = 50
"""Runs per request: one comes with its parameters and its summary."""
LINES = 1_000
"""Rows of a history per request; of more in the range that is asked for, W&B gives a random choice."""
COLLECTIONS, VERSIONS, TIED = 20, 50, 20
"""Collections per request, versions of each, and artifacts of a run."""
_PAGES = 10_000
"""A list that goes on for longer has no end."""
_AGAIN = ("rate limit", "timeout", "timed out", "try again", "internal", "unavailable", "deadlock")
_ARTIFACT = """fragment A on Artifact { id versionIndex digest createdAt artifactType { name }
 artifactSequence { name } createdBy { __typename ... on Run { name } }
 aliases { alias artifactCollection { name project { name entity { name } } } } }"""
_TIED = "{ totalCount edges { node { ...A } } }"
_RUNS = (
    """query Runs($entity: String!, $project: String!, $filters: JSONString, $cursor: String, $perPage: Int,
 $tied: Int) {
 project(name: $project, entityName: $entity) { runCount(filters: $filters)
 runs(filters: $filters, after: $cursor, first: $perPage, order: "+created_at") {
 edges { cursor node { name displayName state createdAt heartbeatAt config summaryMetrics historyLineCount historyKeys
 tags group jobType sweepName commit user { username }
 inputArtifacts(first: $tied) """
    + _TIED
    + " outputArtifacts(first: $tied) "
    + _TIED
    + " } } pageInfo { endCursor hasNextPage } } } } "
    + _ARTIFACT
)
_HISTORY = """query History($entity: String!, $project: String!, $run: String!, $minStep: Int64!, $maxStep: Int64!,
 $samples: Int!) { project(name: $project, entityName: $entity) { run(name: $run) {
 history(minStep: $minStep, maxStep: $maxStep, samples: $samples) } } }"""
_VERSIONS = "{ totalCount pageInfo { endCursor hasNextPage } edges { version node { ...A } } }"
_COLLECTIONS = (
    """query Collections($entity: String!, $project: String!, $type: String!, $cursor: String, $perPage: Int,
 $versions: Int) { project(name: $project, entityName: $entity) { artifactType(name: $type) {
 artifactCollections(after: $cursor, first: $perPage) { totalCount pageInfo { endCursor hasNextPage }
 edges { node { name artifacts(first: $versions) """
    + _VERSIONS
    + " } } } } } } "
    + _ARTIFACT
)
_MORE = (
    """query Versions($entity: String!, $project: String!, $type: String!, $collection: String!, $cursor: String,
 $perPage: Int) { project(name: $project, entityName: $entity) { artifactType(name: $type) {
 artifactCollection(name: $collection) { artifacts(after: $cursor, first: $perPage) """
    + _VERSIONS
    + " } } } } "
    + _ARTIFACT
)


class Server:
    """What a project of W&B holds; raises SourceDown or SourceRefused."""

    def __init__(self, client: Client, entity: str, project: str) -> None:
        self._client = client
        self._where = {"entity": entity, "project": project}

    # -- runs

    def runs(self, filters: Mapping[str, Any]) -> Iterator[list[Run]]:
        """The runs that a filter lets through, in the order of their creation, which never changes.

        Where fewer come than are said to be there, rows moved while they were read: SourceDown, and it is asked again.
        """
        seen: set[str] = set()
        count = 0
        variables = {"filters": json.dumps(filters), "perPage": RUNS, "tied": TIED}
        for project in self._pages(_RUNS, variables, ("project",), "runs"):
            found = [_run(edge, self._where) for edge in _nodes(inside(project, "runs"))]
            yield [run for run in found if run.id and run.id not in seen]
            seen |= {run.id for run in found}
            count = whole_of(project.get("runCount")) or 0
        if len(seen) < count:
            raise SourceDown(
                f"W&B says that there are {count:,} runs and gave {len(seen):,}; they are asked for at the next pull."
            )

    def history(self, run: Run, first: int) -> Iterator[list[Row]]:
        """The rows of a run from a step on, in parts that are each known to be all of their range."""
        begin, end = first, run.last_step + 1
        width, most = _width(end - begin, run.lines), end - begin
        while begin < end:
            until = min(begin + min(width, most), end)
            try:
                rows = self._rows(run.id, begin, until)
            except TooLarge:
                if until - begin == 1:
                    raise
                most = max(1, (until - begin) // 2)
                continue
            if len(rows) >= LINES and until - begin > LINES:
                width = max(LINES, (until - begin) // 2)
                continue
            yield rows
            begin = until
            width = width if 2 * len(rows) > LINES else 2 * width

    def _rows(self, run: str, begin: int, until: int) -> list[Row]:
        asked = {**self._where, "run": run, "minStep": begin, "maxStep": until, "samples": LINES}
        found = inside(self._ask(_HISTORY, asked), "project", "run").get("history")
        if not isinstance(found, list):
            raise SourceDown(f"W&B gave no history of the run {run}; it is asked for at the next pull.")
        rows = [row_of(raw) for raw in map(_row, found) if raw is not None]
        return sorted((row for row in rows if begin <= row.step < until), key=lambda row: row.step)

    # -- artifacts

    def collections(self, kind: str, wanted: Callable[[str], bool], known: Mapping[str, int], *, whole: bool) -> Listed:
        """The versions of the wanted collections of a type.

        The first ones of each; all where `whole`, or where their number is not the `known` one.
        """
        listed = Listed()
        variables = {"type": kind, "perPage": COLLECTIONS, "versions": VERSIONS}
        seen = count = 0
        for listing in self._pages(_COLLECTIONS, variables, ("project", "artifactType"), "artifactCollections"):
            count = whole_of(inside(listing, "artifactCollections").get("totalCount")) or 0
            for node in _nodes(inside(listing, "artifactCollections")):
                seen += 1
                name = text_of(inside(node, "node"), "name")
                if name and wanted(name):
                    self._versions(kind, name, inside(node, "node", "artifacts"), listed, known, whole=whole)
        if seen < count:
            raise SourceDown(
                f"W&B says that there are {count:,} collections and gave {seen:,}; they are asked for at the next pull."
            )
        return listed

    def _versions(
        self, kind: str, name: str, page: Raw, listed: Listed, known: Mapping[str, int], *, whole: bool
    ) -> None:
        found = list(self._read(page, name))
        total = whole_of(page.get("totalCount")) or 0
        info = inside(page, "pageInfo")
        complete = info.get("hasNextPage") is not True
        if not complete and (whole or known.get(name) != total):
            variables = {"type": kind, "collection": name, "perPage": LINES, "cursor": info.get("endCursor")}
            above = ("project", "artifactType", "artifactCollection")
            for more in self._pages(_MORE, variables, above, "artifacts"):
                found += self._read(inside(more, "artifacts"), name)
                total = whole_of(inside(more, "artifacts").get("totalCount")) or total
            complete = True
        if complete and len({one.id for one in found}) < total:
            raise SourceDown(
                f'W&B says that "{name}" has {total:,} versions and gave {len(found):,}; they are asked for at the '
                "next pull."
            )
        listed.versions += found
        listed.totals[name] = total
        if complete:
            listed.whole.add(name)

    def _read(self, page: Raw, collection: str) -> Iterator[Artifact]:
        for edge in _nodes(page):
            one = _artifact(inside(edge, "node"), collection, text_of(edge, "version"), self._where)
            if one.id:
                yield one

    # -- requests

    def _pages(self, query: str, variables: Mapping[str, Any], above: Sequence[str], name: str) -> Iterator[Raw]:
        """What holds the list, page by page."""
        cursor, used, at_once = variables.get("cursor"), set[str](), int(variables["perPage"])
        for _ in range(_PAGES):
            try:
                found: Raw = self._ask(query, {**self._where, **variables, "perPage": at_once, "cursor": cursor})
            except TooLarge:
                if at_once == 1:
                    raise
                at_once //= 2
                continue
            for part in above:
                if not isinstance(found.get(part), dict):
                    if part == "project":
                        raise SourceRefused(
                            f"W&B has no project {self._where['entity']}/{self._where['project']} that this key may "
                            "read; check entity, project and the key."
                        )
                    return
                found = found[part]
            yield found
            info = inside(found, name, "pageInfo")
            cursor = text_of(info, "endCursor")
            if info.get("hasNextPage") is not True:
                return
            if not cursor or cursor in used:
                break
            used.add(cursor)
        raise SourceDown(f"W&B gives the same page of {name} again and again; it is asked at the next pull.")

    def _ask(self, query: str, variables: Mapping[str, Any]) -> Raw:
        answer = self._client.post("graphql", body={"query": query, "variables": dict(variables)}).data
        data = answer.get("data") if isinstance(answer, dict) else None
        errors = rows_of(answer, "errors") if isinstance(answer, dict) else []
        if errors:
            said = self._client.redacted("".join(c if c.isprintable() else " " for c in text_of(errors[0], "message")))
            if any(word in said.lower() for word in _AGAIN):
                raise SourceDown(f'W&B answered "{said[:200]}"; it is asked again at the next pull.')
            raise SourceRefused(f'W&B answered "{said[:200]}"; check entity, project and the key.')
        if not isinstance(data, dict):
            raise SourceDown(
                "POST graphql answered with JSON that is not W&B's; check that the url is that of its API."
            )
        return data


class Listed:
    """Versions by collection, how many each collection has, and of which collections all were listed."""

    def __init__(self) -> None:
        self.versions: list[Artifact] = []
        self.totals: dict[str, int] = {}
        self.whole: set[str] = set()


def since_filter(since: int, created: int | None, ids: Sequence[str]) -> dict[str, Any]:
    """The filter for runs heard of since a time, made since another, or with these ids."""
    either: list[dict[str, Any]] = [{"heartbeatAt": {"$gte": said_time(since)}}]
    if created is not None:
        either.append({"createdAt": {"$gte": said_time(created)}})
    if ids:
        either.append({"name": {"$in": list(ids)}})
    return either[0] if len(either) == 1 else {"$or": either}


def said_time(ts: int) -> str:
    """As W&B writes times, without a zone and in UTC."""
    return datetime.fromtimestamp(max(ts, 0), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _width(span: int, lines: int) -> int:
    """Steps to ask for at once, so that about half as many rows come as may."""
    return span if lines < LINES else max(LINES, span * LINES // (2 * lines))


def _nodes(raw: Raw) -> list[Raw]:
    return rows_of(raw, "edges")


def _run(edge: Raw, where: Mapping[str, str]) -> Run:
    raw = inside(edge, "node")
    keys = _json_of(raw.get("historyKeys"))
    config = {key: value.get("value") if isinstance(value, dict) and "value" in value else value
              for key, value in _json_of(raw.get("config")).items()}  # fmt: skip
    own = config.pop("_wandb", None)
    known = keys.get("keys")
    lines = whole_of(raw.get("historyLineCount")) or 0
    last = whole_of(keys.get("lastStep"))
    tags = raw.get("tags")
    ties = [inside(raw, "inputArtifacts"), inside(raw, "outputArtifacts")]
    return Run(
        text_of(raw, "name"), where["project"], where["entity"], text_of(raw, "displayName"), text_of(raw, "state"),
        _time(raw, "createdAt"), _time(raw, "heartbeatAt"), text_of(raw, "group"), text_of(raw, "jobType"),
        text_of(raw, "sweepName"), named(raw, "user", "username"), text_of(raw, "commit"),
        text_of(own, "python_version") if isinstance(own, dict) else "",
        tags=tuple(str(one) for one in tags) if isinstance(tags, list) else (),
        config=config, summary=_json_of(raw.get("summaryMetrics")),
        inputs=[_artifact(inside(one, "node"), "", "", where) for one in _nodes(ties[0])],
        outputs=[_artifact(inside(one, "node"), "", "", where) for one in _nodes(ties[1])],
        untold=any((whole_of(one.get("totalCount")) or 0) > len(_nodes(one)) for one in ties),
        lines=lines, last_step=last if last is not None else lines - 1,
        keys=frozenset(known) if isinstance(known, dict) else None,
    )  # fmt: skip


def _artifact(raw: Raw, collection: str, version: str, where: Mapping[str, str]) -> Artifact:
    """A version in a collection, or where none is named in the one that it was made in."""
    name = collection or named(raw, "artifactSequence", "name")
    index = whole_of(raw.get("versionIndex"))
    aliases = [text_of(one, "alias") for one in rows_of(raw, "aliases") if _is_of(one, name, where)]
    made = inside(raw, "createdBy")
    return Artifact(
        text_of(raw, "id"), name, named(raw, "artifactType", "name"),
        version or (f"v{index}" if index is not None else ""), text_of(raw, "digest"), _time(raw, "createdAt"),
        text_of(made, "name") if text_of(made, "__typename") in ("Run", "") else "", tuple(sorted({*aliases} - {""})),
    )  # fmt: skip


def _is_of(alias: Raw, collection: str, where: Mapping[str, str]) -> bool:
    """Whether an alias is one of this collection: an artifact bears those of all collections that it is linked to."""
    of = inside(alias, "artifactCollection")
    project = inside(of, "project")
    return (text_of(of, "name"), text_of(project, "name"), named(project, "entity", "name")) == (
        collection, where["project"], where["entity"],
    )  # fmt: skip


def _time(raw: Raw, name: str) -> int | None:
    try:
        return moment(text_of(raw, name), "UTC")
    except ValueError:
        return None


def _json_of(value: Any) -> Mapping[str, Any]:
    """An object that comes as text, or as itself."""
    if isinstance(value, str):
        try:
            value = strict(value, constants=float)
        except (BadJson, BrokenJson):
            return {}
    return value if isinstance(value, dict) else {}


def _row(value: Any) -> Mapping[str, Any] | None:
    found = _json_of(value)
    return found or None
