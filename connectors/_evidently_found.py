"""Which reports of Evidently there are: those that its service lists, and those in files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from connectors._evidently import Cells, Contents, Head, add_counts, contents_of, counts_in, head_of
from connectors._fields import moment, rows_of, text_of
from connectors._files import files_at, load_json
from connectors._http import Client, TooLarge
from connectors._said import Said
from tandem import times
from tandem.connect import Common, Given, Item, SourceDown, SourceRefused

FOLDER = 2_000
"""Most files of a folder that are looked at to tell what it is."""
_MARKS = (
    (re.compile(rb'"config"\s*:\s*\{\s*"type"\s*:\s*"evidently:metric_v2:'),),
    (re.compile(rb'"metric_(?:name|id)"\s*:\s*"[A-Z]\w+\('), re.compile(rb'"value"\s*:')),
    (re.compile(rb'"(?:metric_results|report)"\s*:\s*\{'), re.compile(rb'"evidently:metric')),
    (re.compile(rb'"suite"\s*:\s*\{'), re.compile(rb'"type"\s*:\s*"evidently[.:]')),
    (re.compile(rb'"metrics"\s*:\s*\[\s*\{\s*"metric"\s*:\s*"[A-Z]\w+"\s*,\s*"result"\s*:'),),
    (re.compile(rb'"tests"\s*:\s*\[\s*\{\s*"name"\s*:'), re.compile(rb'"status"\s*:\s*"[A-Z]+"\s*,\s*"group"\s*:')),
)
"""Of one line all must stand in a file's beginning."""
_SNAPSHOT = re.compile(r"(?:(?P<project>[^/]+)/)?snapshots/(?P<id>[0-9a-f-]{36})\.json")
_HEX = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Chosen(Protocol):
    """What is read of a source's configuration here."""

    @property
    def common(self) -> Common: ...
    @property
    def projects(self) -> tuple[str, ...]: ...
    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Entry:
    """One report that is there; `read` loads it. `ts` None: it has to be read to know."""

    key: str
    rank: tuple[int, str]
    head: Head
    labels: dict[str, str]
    ts: int | None
    read: Callable[[], tuple[Head, Contents]]


def is_report(item: Item) -> bool:
    """Whether a file begins like a report, a test suite or a snapshot."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"{") and any(all(mark.search(head) for mark in some) for some in _MARKS)


def is_workspace(item: Item) -> bool:
    """Whether a folder is a workspace, that of one of its projects, or holds reports and nothing else."""
    if any(_SNAPSHOT.fullmatch(entry) for entry in item.entries):
        return True
    names = [entry for entry in item.entries if not entry.endswith(".md")]
    return 0 < len(names) <= FOLDER and all(is_report(item.child(name)) for name in names)


def _rank(identity: str, order: int = 0) -> tuple[int, str]:
    """What grows with the making of reports: their ids hold the time since 0.6; before, the order they come in."""
    try:
        known = uuid.UUID(identity)
    except ValueError:
        return order, identity
    return (known.int >> 80 if known.version == 7 else order), str(known)


def _short(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:9]).decode()


# -- from the service


def served(client: Client, config: Chosen, said: Said) -> Iterator[Entry]:
    """Every report of the chosen projects, as the service lists them."""
    projects = client.get("api/projects").data
    if not isinstance(projects, list):
        raise SourceRefused("GET api/projects is no list of projects; check that url is Evidently's UI service.")
    for project in projects:
        identity, name = (text_of(project, key) for key in ("id", "name")) if isinstance(project, dict) else ("", "")
        chosen = any(fnmatchcase(one, glob) for one in (name, identity) for glob in config.projects)
        if not _HEX.fullmatch(identity) or not chosen:
            continue
        listed = client.get(f"api/projects/{identity}/reports").data
        if not isinstance(listed, list):
            raise SourceDown(f"the reports of the project {identity} are no list; they are asked for at the next pull.")
        for order, raw in enumerate(listed):
            head = head_of(raw)
            if not _HEX.fullmatch(head.id):
                said.reject("a report without an id")
                continue
            yield _listed(client, identity, name or identity, head, order, config, said)


def _listed(
    client: Client, project: str, name: str, head: Head, order: int, config: Chosen, said: Said
) -> Entry:  # fmt: skip
    place = f"api/projects/{project}/{head.id}"
    if config.url.startswith("http"):
        head = replace(head, url=f"{config.url.rstrip('/')}/projects/{project}/reports/{head.id}")

    def read() -> tuple[Head, Contents]:
        reply = client.get(f"{place}/download", {"report_format": "json"}, json="nan", accept=(200, 404))
        if reply.status == 404:
            raise ValueError("a report was deleted while it was read")
        try:
            contents = contents_of(reply.data)
        except ValueError:
            raise SourceDown(f"GET {place}/download is no report; it is asked for at the next pull.") from None
        if contents.hidden:
            add_counts(contents, _drawn(client, place, said))
        return head, contents

    try:
        ts: int | None = moment(head.timestamp, config.common.timezone)
    except ValueError as error:
        said.reject(str(error).rstrip("."))
        ts = -1  # before every floor: it is never read
    return Entry(_short(head.id), _rank(head.id, order), head, {"project": name}, ts, read)


def _drawn(client: Client, place: str, said: Said) -> Cells | None:
    """The counts that the report draws; it is fifty times as large as its numbers, so only where there are some."""
    try:
        data = client.get(f"{place}/data", json="nan").data
    except TooLarge:
        said.remark("the drawings of a report are too large to be read; its confusion matrix is not counted")
        return None
    if not isinstance(data, dict) or not isinstance(data.get("widgets"), list):
        raise SourceDown(f"GET {place}/data is no report's page; it is asked for at the next pull.")
    return counts_in(rows_of(data, "widgets"))


# -- from files


def entries_at(path: Path, config: Chosen) -> Iterator[Entry]:
    """The reports that a path, folder or glob names."""
    yield from entries_of(files_at(path, Given(timezone=config.common.timezone)), config)


def entries_of(found: Iterable[tuple[Item, bool]], config: Chosen) -> Iterator[Entry]:
    """The reports among files, by the projects they lie in; a file that was named alone need not look like one."""
    names: dict[str, str] = {}
    reports: list[Item] = []
    for one, alone in found:
        folder, _, last = _place(one).rpartition("/")
        if last == "metadata.json":
            names[folder.rpartition("/")[2]] = _project_name(one)
        elif alone or is_report(one):
            one.head = b""  # there may be very many
            reports.append(one)
    for one in sorted(reports, key=lambda item: (item.modified, item.name)):
        match = _SNAPSHOT.search(_place(one))
        folder = (match["project"] or "") if match else ""
        project = names.get(folder) or folder
        if not folder or any(fnmatchcase(name, glob) for name in (folder, project) for glob in config.projects):
            yield _of_file(one, match["id"] if match else "", project)


def _place(one: Item) -> str:
    """Where a file lies, in an archive too."""
    return (one.path if one.path.name == one.name else one.path / one.name).as_posix()


def _project_name(one: Item) -> str:
    try:
        told = load_json(one)
    except SourceRefused:
        return ""
    return text_of(told, "name") if isinstance(told, dict) else ""


def _of_file(one: Item, identity: str, project: str) -> Entry:
    labels = {"project": project} if project else {"file": one.name.rpartition("/")[2]}

    def read() -> tuple[Head, Contents]:
        try:
            raw = load_json(one, lambda word: None)
        except SourceRefused as no:
            raise ValueError(str(no)) from None
        head = head_of(raw)
        contents = contents_of(raw)
        if not head.timestamp:
            ts = one.given.at if one.given.at is not None else one.modified
            written = hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
            head = replace(head, timestamp=times.text(ts), identity=f"file:{written[:24]}")
            if one.given.at is None:
                contents.remarks.append("the file says no time; when it was changed last is taken, or give --at")
        return head, contents

    stamp = f"{one.path}:{one.name}:{one.modified}:{one.path.stat().st_size}"
    return Entry(_short(stamp), _rank(identity or one.name, one.modified * 1000), Head(), labels, None, read)
