"""Collecting: state -> fetch -> restate -> commit, for each source; the one place that catches everything."""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tandem import exported
from tandem.config import Config, Source
from tandem.connect import Given, Item, Pull, SourceDown, SourceRefused
from tandem.intake import Intake
from tandem.records import (
    BUCKET,
    DAY,
    Batch,
    Covered,
    Event,
    Page,
    Record,
    bucket_of,
)
from tandem.store.file import Store, StoreBroken
from tandem.store.ledger import Ledger
from tandem.store.load import Conflict, Piece, SourceRow, Whole
from tandem.store.write import Writer

OVERLAP = 600
"""Seconds before the last watermark that a bucket source is asked for again, unless the source says otherwise."""
BACKFILL = 90 * DAY
"""How far back the first pull of a server goes."""
SKEW = 300
"""Seconds by which a time may lie in the future before it is rejected."""
ROWS = 200_000
"""Rows after which a transaction is committed."""
EVENT = 40
"""Rows that an event weighs: its text, and what is derived of it on three tiers; more at once needs much memory."""
SECONDS = 1.0
"""Seconds after which a transaction is committed."""
MEANING = 24
"""Letters at the end of a source's settings that say what its records mean."""
_PLACE = ("common", "url", "path")
AT_ONCE = 4
"""Sources pulled at the same time."""

Say = Callable[[str, str, "float | None"], None]
"""(source, what is being done, share done or None)."""


@dataclass(frozen=True)
class Outcome:
    """How one pull or one imported file ended; `error` is "" when all went well."""

    source: str
    pages: int = 0
    rows: int = 0
    rejected: int = 0
    remarks: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    error: str = ""
    later: bool = False
    """Whether trying again may help."""

    @property
    def failed(self) -> bool:
        """Whether anything was left out that was asked for."""
        return bool(self.error or self.refused)


@dataclass
class _Run:
    """What one pull gathers on its way."""

    writer: Writer
    source: Source
    until: int
    intake: Intake
    pieces: list[Piece] = field(default_factory=list)
    row: SourceRow = field(default_factory=SourceRow)
    waiting: int = 0
    since_commit: float = 0.0
    pages: int = 0
    explicit: bool = False
    """Whether the source says itself what it has seen."""
    whole: list[Whole] = field(default_factory=list)
    """What this pull was told wholly so far."""
    partial: bool = False
    """Whether an item was left out that could not be read."""
    restates: bool = False
    """Whether what this pull is not told is taken back."""


def sync(
    store: Store, config: Config, now: int, *, names: Sequence[str] = (), since: int | None = None,
    say: Say = lambda source, what, share: None,
) -> list[Outcome]:  # fmt: skip
    """Pull the named sources (all, if none is named), independent ones at the same time; never raises for a source."""
    chosen = [source for source in config.sources if not names or source.name in names]
    if not chosen:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(chosen)), thread_name_prefix="pull") as pool:
        return list(pool.map(lambda source: pull(store, source, now, since=since, say=say), chosen))


def pull(
    store: Store, source: Source, now: int, *, since: int | None = None,
    say: Say = lambda source, what, share: None,
) -> Outcome:  # fmt: skip
    """Pull one source up to `now` into the store."""
    scope = source.connector.scope(source.config)
    return _fenced(
        store, source, scope, now, say, lambda run: _pull_pages(store, run, since, say),
        complete=since is None,
    )  # fmt: skip


def import_item(
    store: Store, source: Source, item: Item, now: int, *, say: Say = lambda source, what, share: None
) -> Outcome:
    """Take one exported file or folder into the store, as what `source` would have said of it."""
    scope = source.connector.scope(source.config)

    def pages(run: _Run) -> Iterator[Page]:
        run.explicit = True  # an exported file vouches for nothing it does not name
        parse_with = getattr(source.connector, "parse_with", None)
        if parse_with is None:
            return source.connector.parse(item, source.config)
        ledger, until = Ledger(store), run.until - run.intake.shift
        known = Pull(since=0, until=until, now=until, taken=ledger.taken(run.writer.source), layout=ledger.layout)
        found: Iterator[Page] = parse_with(item, source.config, known)
        return found

    return _fenced(store, source, scope, now, say, pages, complete=False, what=item.name)


def _fenced(
    store: Store, source: Source, scope: str, now: int, say: Say,
    pages: Callable[[_Run], Iterator[Page]], *, complete: bool, what: str = "",
) -> Outcome:  # fmt: skip
    ledger = Ledger(store)
    writer = Writer(store, source.common.connector, scope, now)
    days = source.common.shift_days
    run = _Run(writer, source, now, Intake(source.common, now, (days or 0) * DAY, days is not None))
    error, later = "", False
    refused: tuple[str, ...] = ()
    try:
        _take(run, pages, complete, say)
    except SourceDown as down:
        error, later = str(down), True
    except SourceRefused as no:
        error = str(no)
        refused = (error if error.startswith(what) else f"{what}: {error}",) if what else ()
    except StoreBroken as full:
        error = f"the store cannot be written ({full})"
        raise
    except Exception as broken:  # noqa: BLE001  the fence: a source that breaks stops nobody else
        error = f"{source.name} stopped on a fault in Tandem ({type(broken).__name__}: {broken}); please report it."
        traceback.print_exc()
    finally:
        rejected, remarks = _gathered(run)
        ledger.record(writer.source, source.name, now, error, run.pages, writer.rows, run.intake.findings)
        writer.close()
    say(source.name, error or f"{writer.rows:,} summary rows from {run.pages:,} pages", 1.0)
    return Outcome(source.name, run.pages, writer.rows, rejected, remarks, refused, error, later)


def _gathered(run: _Run) -> tuple[int, tuple[str, ...]]:
    rejected = sum(n for (kind, _, _), n in run.intake.findings.items() if kind == "reject")
    remarks = tuple(f"{n} x {reason} ({where})" if where else f"{n} x {reason}"
                    for (kind, reason, where), n in run.intake.findings.items() if kind != "unmatched")  # fmt: skip
    return rejected, remarks


def _take(run: _Run, pages: Callable[[_Run], Iterator[Page]], complete: bool, say: Say) -> None:
    """Take all pages in; where the pull contradicts itself, once more from the start."""
    try:
        _once(run, pages, complete, say)
    except Conflict as conflict:
        run.intake.findings[("remark", "the source gave two values for one key; read again", str(conflict))] += 1
        run.writer.start_again()
        run.pieces, run.waiting, run.pages = [], 0, 0
        _once(run, pages, complete, say)
        for key in run.writer.conflicts:
            run.intake.findings[("reject", "two values for one key in one pull", key)] += 1


def _once(run: _Run, pages: Callable[[_Run], Iterator[Page]], complete: bool, say: Say) -> None:
    run.since_commit = time.monotonic()
    try:
        _read(run, pages, say)
    except (SourceDown, SourceRefused):
        if all(piece.slice is None for piece in run.pieces):  # the last slice may lack a part
            _commit(run)  # what came before is whole: the next pull goes on from there
        raise
    if complete:
        run.row.watermark = run.until
        run.row.settings = settings_of(run.source)
    whole = run.whole if run.restates and not run.partial else []
    _commit(run, whole)


def _read(run: _Run, pages: Callable[[_Run], Iterator[Page]], say: Say) -> None:
    last = None
    for page in pages(run):
        if (run.pieces and page.slice is None) or (page.slice and last and page.slice.name != last):
            _commit_if_due(run)
        last = page.slice.name if page.slice else None
        _add(run, page)
        run.pages += 1
        say(run.source.name, f"{run.pages:,} pages, {run.writer.rows + run.waiting:,} summary rows", None)


def _commit_if_due(run: _Run) -> None:
    if run.waiting >= ROWS or time.monotonic() - run.since_commit >= SECONDS:
        _commit(run)


def _commit(run: _Run, whole: Sequence[Whole] = ()) -> None:
    run.writer.commit(run.pieces, run.row, whole, run.source.connector.ABOUT.once)
    run.pieces, run.row, run.waiting = [], SourceRow(), 0
    run.since_commit = time.monotonic()


def _add(run: _Run, page: Page) -> None:
    for finding in page.findings:
        run.intake.findings[(finding.kind, finding.reason, finding.where)] += finding.count
    records = run.intake.records(page.records)
    covered = [] if page.covered is None else [_shifted_cover(run, one) for one in page.covered]
    run.explicit = run.explicit or page.covered is not None
    run.whole += [Whole(bucket_of(one.since), bucket_of(one.until - 1) + BUCKET, one.signal) for one in covered]
    gaps = [replace(gap, since=gap.since + run.intake.shift, until=gap.until + run.intake.shift) for gap in page.gaps]
    run.pieces.append(Piece(records, page.slice, covered, gaps))
    run.waiting += sum(_weight(record) for record in records)
    if page.state is not None:
        if len(json.dumps(page.state)) > 1 << 20:
            raise SourceRefused(f"{run.source.name} keeps a state of more than 1 MiB; report this to its author.")
        run.row.state = page.state


def _weight(record: Record) -> int:
    if isinstance(record, Batch):
        return len(record.columns["ts"])
    return EVENT if isinstance(record, Event) else 1


def _shifted_cover(run: _Run, one: Covered) -> Covered:
    until = one.until + run.intake.shift
    if not run.source.connector.ABOUT.polled:  # a look at the present vouches for the time until the next
        until = min(until, run.until)
    return replace(one, since=one.since + run.intake.shift, until=until)


# -- pages of a pull


def _pull_pages(store: Store, run: _Run, since: int | None, say: Say) -> Iterator[Page]:
    source = run.source
    ledger = Ledger(store)
    kept = ledger.state(run.writer.source)
    settings = settings_of(source)
    if kept.settings is not None and kept.settings != settings:
        run.writer.moved = kept.settings[-MEANING:] != settings[-MEANING:]
        kept = type(kept)()
    run.restates = source.common.deletions == "restate" or (run.writer.moved and since is None)
    asked = _asked(source, kept.watermark, since, run.until)
    items = dict(kept.items or {})
    sweep = run.until - int(items.get("swept", 0)) >= DAY
    request = Pull(
        since=asked - run.intake.shift, until=run.until - run.intake.shift, now=run.until - run.intake.shift,
        state=None if since is not None else kept.state,
        open=ledger.open_events(run.writer.source, run.intake.shift),
        taken=ledger.taken(run.writer.source), layout=ledger.layout, sweep=sweep, first=kept.watermark is None,
        progress=lambda said, share: say(source.name, said, share),
    )  # fmt: skip
    folder = _folder(source)
    if folder is not None:
        yield from _items(run, folder, items, request)
    else:
        yield from source.connector.fetch(source.config, request)
    if not run.explicit:
        run.whole.append(Whole(asked, run.until))
        run.pieces.append(Piece(covered=_whole(run, asked, ledger.extent(run.writer.source))))
    if sweep:
        items["swept"] = run.until
    run.row.items = items


def _whole(run: _Run, asked: int, before: tuple[int, int] | None) -> list[Covered]:
    """The asked interval; exported files vouch only for the stretch that all their records span, whenever read."""
    if not _reads_files(run.source):
        return [Covered(asked, run.until)]
    ends = [*(before or ()), *(end for end in (run.intake.low, run.intake.high) if end is not None)]
    if not ends:
        return []
    return [Covered(max(run.source.since(run.until) or 0, min(ends)),
                    run.until if run.intake.moved else min(run.until, max(ends)))]  # fmt: skip


def _asked(source: Source, watermark: int | None, since: int | None, now: int) -> int:
    if since is not None:
        return since
    if watermark is not None:
        overlap = source.common.overlap if source.common.overlap is not None else OVERLAP
        return watermark - overlap
    begin = source.since(now)
    if begin is not None:
        return begin
    return 0 if _reads_files(source) else now - BACKFILL


def _reads_files(source: Source) -> bool:
    return str(getattr(source.config, "url", "file:")).startswith("file:")


def _folder(source: Source) -> Path | None:
    """The folder whose items go through `parse`, where the source reads exported files in place of a server."""
    url = str(getattr(source.config, "url", ""))
    if not url.startswith("file:"):
        return None
    folder = Path(url.removeprefix("file:"))
    return None if (folder / "requests.jsonl").exists() else folder


def _items(run: _Run, folder: Path, memory: dict[str, Any], request: Pull) -> Iterator[Page]:
    """Pages of every recognised item of a folder; an unchanged item that was read to its end is not read again."""
    connector, config = run.source.connector, run.source.config
    given = Given(timezone=run.source.common.timezone, environment=run.source.common.environment)
    files: dict[str, Any] = dict(memory.get("files", {}))
    found = [one for one in exported.walk(folder, given, connector.recognise) if connector.recognise(one)]
    if not found:
        raise SourceRefused(f"{folder} holds nothing that {run.source.common.connector} reads; check the path.")
    for number, one in enumerate(found):
        name, now = exported.relative(one, folder), exported.stamp(one)
        if files.get(name) == now:
            continue
        request.progress(f"reading {name}", number / len(found))
        run.intake.held_back = 0
        try:
            parse_with = getattr(connector, "parse_with", None)
            yield from parse_with(one, config, request) if parse_with else connector.parse(one, config)
        except SourceRefused as no:
            run.intake.findings[("reject", str(no), name)] += 1
            run.partial = True
            continue
        files[name] = now if not run.intake.held_back else ""
    memory["files"] = files


def settings_of(source: Source) -> str:
    """Changes when a source's configuration says another thing of the same objects; then all of it is read again."""
    text = repr((replace(source.common, every=0, primary=False, combine=""), source.config))
    return hashlib.sha256(text.encode()).hexdigest()[:-MEANING] + _meaning_of(source)


def _meaning_of(source: Source) -> str:
    """Changes when the same objects become other records: other components, other selections."""
    common = source.common
    own = {one.name: getattr(source.config, one.name) for one in fields(source.config) if one.name not in _PLACE}
    text = repr((common.component, common.map, common.environment, common.discover, common.status, common.timezone,
                 common.shift_days, own))  # fmt: skip
    return hashlib.sha256(text.encode()).hexdigest()[:MEANING]
