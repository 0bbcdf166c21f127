"""Evidently: what its reports say of drift, quality and data, from its UI service, a workspace, or saved reports.

Reports are told by their time and by what they are of: of two of the same the newer one counts, metric by metric.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from connectors._evidently import Contents, Head, contents_of
from connectors._evidently_found import (
    Entry,
    entries_at,
    entries_of,
    is_report,
    is_workspace,
    served,
)
from connectors._evidently_telling import Teller, Told
from connectors._fields import moment
from connectors._files import load_json
from connectors._http import open_client
from connectors._said import Said
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import BUCKET, Covered, Page, bucket_of

KNOWN = 30_000
"""Reports that are remembered as read; with their times these stay below 1 MiB."""
HELD = 500
"""Reports of files whose numbers wait in memory until their time has come."""
_NOTED = 100
"""Times of reports after which what was read is noted: a pull that is cut off goes on from there."""

ABOUT = About(
    reads="Reports and test suites of Evidently 0.4 to 0.7: its UI service, its workspace folder, or saved JSON.",
    signals=("outcome", "valid_rows", "validation_success"),
    events=("drift", "validation"),
    labels={
        "project": "the name of the project, else its id",
        "tag": "the tags of the report, joined by commas",
        "report": "the name of the report",
        "metadata.<name>": "a field of the report's metadata",
        "file": "the name of a file that says no project",
        "features": "what began to drift (on drift events), and drift what kind of drift it is",
        "checks": "tests that ran (on validations), failed, warned and skipped how many of them did",
        "failed_checks": "names of tests that failed (on validations)",
    },
    files=(
        "a workspace folder, that of one project, or the snapshots in it (JSON, 0.4 to 0.7)",
        "reports and test suites saved by save_json or as_dict (JSON, 0.4 to 0.7)",
    ),
    limits=(
        "What a report counted is counted at its timestamp; what span of time its data have, it does not say.",
        "Metrics are samples of stage production: a report does not say on how many rows they rest.",
        "Accuracy and the rest count exactly where a report draws a confusion matrix (conf_matrix = True).",
        "In saved JSON of 0.7 there is no drawing, only in snapshots and at the service.",
        "A drift value keeps its method, direction and threshold; by another method it is another series.",
        "Of two reports of one time, component and version the newer counts, metric by metric; late labels come so.",
        "valid_rows needs RowCount, and that at most one column misses values: the report counts values, not rows.",
        "A saved report of 0.7 says no time: --at does, else the time of the file is taken, and it is said.",
        "Times without offset need timezone; Evidently writes such where its user gave no timestamp.",
        "A report that is deleted in Evidently stays in Tandem.",
        "The service lists all reports of a project at once; each is read once.",
        "In a folder with other files too, path reads reports together; file:DIR reads them one by one.",
        "Counts of single values (UniqueValueCount) are left out unless ignore says otherwise.",
    ),
    status={"SUCCESS": "good", "FAIL": "bad", "WARNING": "good", "ERROR": "excluded", "SKIPPED": "excluded"},
    aliases=("evidently_ai", "evidentlyai"),
    side="model",
    example="""\
connector = "evidently"
name = "evidently"
url = "http://127.0.0.1:8000"              # the UI service, or "file:exports/evidently"
# path = "/srv/evidently/workspace"        # instead of url: a workspace, or a folder, file or glob of reports
# projects = ["claim-*"]                   # left out: all
# version = "model_version"                # the field of a report's metadata that is the model's version
# timezone = "Europe/Berlin"               # of timestamps without offset
  [[source.map]]
  component = "fraud-detector"
  match = { project = "claim-risk", tag = "*prod*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One workspace of Evidently, by its service or by its files."""

    common: Common
    url: str = setting('The UI service, or "file:DIR".', default="", example="http://127.0.0.1:8000")
    path: Path | None = setting(
        "A workspace, or a folder, file or glob of reports, in place of url.", default=None,
        example="/srv/evidently/workspace",
    )  # fmt: skip
    projects: tuple[str, ...] = setting("Projects that are read (globs).", default=("*",), example=("claim-*",))
    tags: tuple[str, ...] = setting(
        "Only reports with such a tag (globs); left out: all.", default=(), example=("prod",)
    )
    metrics: tuple[str, ...] = setting("Metrics that are read (globs).", default=("*",), example=("accuracy", "f1"))
    ignore: tuple[str, ...] = setting(
        "Metrics that are left out (globs).", default=("unique_value_*",), example=("quantile_value*",)
    )
    version: str = setting(
        "The field of a report's metadata that is the model's version.", default="model_version", example="release"
    )
    token_header: str = setting(
        'The header of the token; "Authorization" sends it as bearer token.', default="Authorization",
        example="evidently-secret",
    )  # fmt: skip


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The address of the service, or the path of the reports."""
    return config.url.rstrip("/") or str(config.path or "")


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The reports that were not read before, oldest first."""
    said = _Said(config)
    if config.path is not None and not config.url:
        yield from _pages(list(entries_at(config.path, config)), config, pull, said, files=True)
        return
    if not config.url:
        raise SourceRefused(f'set url = "ADDRESS" or path = "FOLDER" for the source "{config.common.name}".')
    bearer = config.token_header.lower() == "authorization"
    with open_client(
        config, config.url, token_header=config.token_header, token_prefix="Bearer " if bearer else ""
    ) as client:
        yield from _pages(list(served(client, config, said)), config, pull, said, files=False)


# -- which reports are new, and which of them belong together


@dataclass
class _Memory:
    """The reports that were read, by their short keys, with their times; what is before `floor` is not looked at."""

    floor: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Any) -> _Memory:
        if not isinstance(state, dict) or state.get("version") != 1:
            return cls()
        return cls(int(state["floor"]), {str(key): int(ts) for key, ts in state["seen"].items()})

    def plain(self) -> dict[str, Any]:
        """The same as JSON: of more than KNOWN the newest, and those before them count as read."""
        if len(self.seen) <= KNOWN:
            return {"version": 1, "floor": self.floor, "seen": dict(self.seen)}
        newest = dict(sorted(self.seen.items(), key=lambda pair: (-pair[1], pair[0]))[:KNOWN])
        return {"version": 1, "floor": max(self.floor, min(newest.values()) + 1), "seen": newest}


def _pages(entries: Sequence[Entry], config: Config, pull: Pull, said: Said, *, files: bool) -> Iterator[Page]:
    memory = _Memory.of(pull.state)
    if pull.state is None and not files:
        memory.floor = pull.since
    present = {entry.key for entry in entries}
    memory.seen = {key: ts for key, ts in memory.seen.items() if key in present}
    found = [entry for entry in entries if entry.key not in memory.seen]
    held: dict[str, tuple[Head, Contents]] = {}
    timed = [(entry, ts) for entry in found if (ts := _time(entry, held, config, said)) is not None]
    wanted = [(entry, ts) for entry, ts in timed if memory.floor <= ts < pull.until]
    groups = _grouped([*wanted, *_overtaken(entries, wanted, memory)], config)
    teller = Teller(config, pull, said)
    for done, (ts, some) in enumerate(groups):
        pull.progress(f"{done} of {len(groups)} times of reports", done / len(groups))
        yield from teller.pages(_told(ts, some, held, memory, config, said))
        if done % _NOTED == _NOTED - 1:
            yield Page(state=memory.plain())
    yield from teller.ending()
    yield Page(
        state=memory.plain(), findings=said.findings(config.common.name), covered=_span(memory) if files else None
    )


def _span(memory: _Memory) -> list[Covered]:
    """Files vouch for the time between the first and the last report."""
    if not memory.seen:
        return []
    return [Covered(bucket_of(min(memory.seen.values())), bucket_of(max(memory.seen.values())) + BUCKET)]


def _time(entry: Entry, held: dict[str, tuple[Head, Contents]], config: Config, said: Said) -> int | None:
    """The time of a report, read from it where its list says none; None where it has no usable one.

    `held` keeps what was read on the way, of as many as memory is to bear; the others are read twice.
    """
    if entry.ts is not None:
        return entry.ts
    try:
        head, contents = entry.read()
        if len(held) < HELD:
            held[entry.key] = head, contents
        return moment(head.timestamp, config.common.timezone)
    except ValueError as error:
        said.reject(_reason(error))
        return None


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")


def _overtaken(
    entries: Sequence[Entry], wanted: Sequence[tuple[Entry, int]], memory: _Memory
) -> list[tuple[Entry, int]]:
    """Reports that were read already and are newer than one of the same time that comes only now."""
    oldest: dict[int, tuple[int, str]] = {}
    for entry, ts in wanted:
        oldest[ts] = min(oldest.get(ts, entry.rank), entry.rank)
    known = ((entry, memory.seen.get(entry.key)) for entry in entries)
    return [(entry, ts) for entry, ts in known if ts is not None and ts in oldest and entry.rank > oldest[ts]]


def _grouped(found: Sequence[tuple[Entry, int]], config: Config) -> list[tuple[int, list[Entry]]]:
    """The entries of each time in the order in which they were made, times in order."""
    groups: dict[int, list[Entry]] = defaultdict(list)
    for entry, ts in found:
        # The service lists the tags; those of a file are known when it is read.
        if not entry.head.id or _tagged(entry.head, config):
            groups[ts].append(entry)
    return [(ts, sorted(some, key=lambda entry: entry.rank)) for ts, some in sorted(groups.items())]


def _tagged(head: Head, config: Config) -> bool:
    return not config.tags or any(fnmatchcase(tag, glob) for tag in head.tags for glob in config.tags)


def _told(
    ts: int,
    entries: Sequence[Entry],
    held: dict[str, tuple[Head, Contents]],
    memory: _Memory,
    config: Config,
    said: Said,
) -> Iterator[Told]:
    """What the reports of one time say; each is read only now."""
    for entry in entries:
        try:
            head, contents = held.pop(entry.key) if entry.key in held else entry.read()
        except ValueError as error:
            said.reject(_reason(error))
            continue
        memory.seen[entry.key] = ts
        if not _tagged(head, config):
            continue
        for remark in contents.remarks:
            said.remark(remark)
        yield Told(entry.rank, ts, head, entry.labels, contents)


def recognise(item: Item) -> bool:
    """A report, a test suite or a snapshot of Evidently; a workspace, or a folder of nothing but reports."""
    return is_workspace(item) if item.entries else is_report(item)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The reports of one file or workspace."""
    far = 1 << 40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what was counted before."""
    said = _Said(config)
    inside = ((item.child(entry), False) for entry in item.entries)
    entries = list(entries_of(inside if item.entries else [(item, True)], config))
    if not item.entries:
        _check(item)
    zoned = replace(config, common=replace(config.common, timezone=item.given.timezone or config.common.timezone))
    for page in _pages(entries, zoned, replace(pull, state=None), said, files=True):
        yield replace(page, state=None)


def _check(item: Item) -> None:
    """Raises SourceRefused for a file that is no report, where it is the only one that was asked for."""
    try:
        contents_of(load_json(item, lambda word: None))
    except ValueError as error:
        raise SourceRefused(f"{item.name} cannot be used: {error}.") from None
