"""Collecting: state -> fetch -> restate -> commit, for each source; the one place that catches everything."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tandem import connect, place
from tandem.bins import Layout
from tandem.catalog import Signal
from tandem.config import Config, Source
from tandem.connect import Common, Connector, Given, Item, Pull, SourceDown, SourceRefused
from tandem.records import (
    BUCKET,
    DAY,
    Baseline,
    Batch,
    Confusion,
    Covered,
    Event,
    Fact,
    Finding,
    Gap,
    Histogram,
    Moments,
    Page,
    Ratio,
    Record,
    Sample,
    Series,
    bucket_of,
)
from tandem.store.file import Store, StoreBroken
from tandem.store.ledger import Ledger
from tandem.store.write import Conflict, Piece, SourceRow, Whole, Writer

OVERLAP = 600
"""Seconds before the last watermark that a bucket source is asked for again, unless the source says otherwise."""
BACKFILL = 90 * DAY
"""How far back the first pull of a server goes."""
SKEW = 300
"""Seconds by which a time may lie in the future before it is rejected."""
ROWS = 200_000
"""Rows after which a transaction is committed."""
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
    shift: int
    moved: bool
    """Whether the source's files may reach past now (`shift_days` is set); what lies there is not yet."""
    signals: dict[str, Signal]
    started: float
    series: dict[Series, list[Series]] = field(default_factory=dict)
    findings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    pieces: list[Piece] = field(default_factory=list)
    row: SourceRow = field(default_factory=SourceRow)
    waiting: int = 0
    since_commit: float = 0.0
    pages: int = 0
    held_back: int = 0
    explicit: bool = False
    whole: list[Whole] = field(default_factory=list)
    """What this pull was told wholly so far."""
    partial: bool = False
    """Whether an item was left out that could not be read."""
    restates: bool = False
    """Whether what this pull is not told is taken back."""
    low: int | None = None
    high: int | None = None
    """The first and the last time of the records taken in."""


def sync(
    store: Store, config: Config, now: int, *, names: Sequence[str] = (), since: int | None = None,
    say: Say = lambda source, what, share: None,
) -> list[Outcome]:  # fmt: skip
    """Pull the named sources (all, if none is named), independent ones at the same time; never raises for a source."""
    chosen = [source for source in config.sources if not names or source.name in names]
    if not chosen:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(chosen)), thread_name_prefix="pull") as pool:
        return list(pool.map(lambda source: pull(store, config, source, now, since=since, say=say), chosen))


def pull(
    store: Store, config: Config, source: Source, now: int, *, since: int | None = None,
    say: Say = lambda source, what, share: None,
) -> Outcome:  # fmt: skip
    """Pull one source up to `now` into the store."""
    scope = source.connector.scope(source.config)
    return _fenced(
        store, config, source, scope, now, say, lambda run: _pull_pages(store, run, since, say),
        complete=since is None,
    )  # fmt: skip


def import_item(
    store: Store, config: Config, source: Source, item: Item, now: int, *, say: Say = lambda source, what, share: None
) -> Outcome:
    """Take one exported file or folder into the store, as what `source` would have said of it."""
    scope = source.connector.scope(source.config)

    def pages(run: _Run) -> Iterator[Page]:
        run.explicit = True  # an exported file vouches for nothing it does not name
        parse_with = getattr(source.connector, "parse_with", None)
        if parse_with is None:
            return source.connector.parse(item, source.config)
        ledger, until = Ledger(store), run.until - run.shift
        known = Pull(since=0, until=until, now=until, taken=ledger.taken(run.writer.source), layout=ledger.layout)
        found: Iterator[Page] = parse_with(item, source.config, known)
        return found

    return _fenced(store, config, source, scope, now, say, pages, complete=False, what=item.name)


def _fenced(
    store: Store, config: Config, source: Source, scope: str, now: int, say: Say,
    pages: Callable[[_Run], Iterator[Page]], *, complete: bool, what: str = "",
) -> Outcome:  # fmt: skip
    ledger = Ledger(store)
    writer = Writer(store, source.common.connector, scope, now)
    run = _Run(
        writer,
        source,
        now,
        (source.common.shift_days or 0) * DAY,
        source.common.shift_days is not None,
        dict(config.signals),
        time.monotonic(),
    )
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
        ledger.record(writer.source, source.name, now, error, run.pages, writer.rows, run.findings)
        writer.close()
    say(source.name, error or f"{writer.rows} rows from {run.pages} pages", 1.0)
    return Outcome(source.name, run.pages, writer.rows, rejected, remarks, refused, error, later)


def _gathered(run: _Run) -> tuple[int, tuple[str, ...]]:
    rejected = sum(n for (kind, _, _), n in run.findings.items() if kind == "reject")
    remarks = tuple(f"{n} x {reason} ({where})" if where else f"{n} x {reason}"
                    for (kind, reason, where), n in run.findings.items() if kind != "unmatched")  # fmt: skip
    return rejected, remarks


def _take(run: _Run, pages: Callable[[_Run], Iterator[Page]], complete: bool, say: Say) -> None:
    """Take all pages in; where the pull contradicts itself, once more from the start."""
    try:
        _once(run, pages, complete, say)
    except Conflict as conflict:
        run.findings[("remark", "the source gave two values for one key; read again", str(conflict))] += 1
        run.writer.start_again()
        run.pieces, run.waiting, run.pages = [], 0, 0
        _once(run, pages, complete, say)
        for key in run.writer.conflicts:
            run.findings[("reject", "two values for one key in one pull", key)] += 1


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
        say(run.source.name, f"{run.pages} pages, {run.writer.rows + run.waiting} rows", None)


def _commit_if_due(run: _Run) -> None:
    if run.waiting >= ROWS or time.monotonic() - run.since_commit >= SECONDS:
        _commit(run)


def _commit(run: _Run, whole: Sequence[Whole] = ()) -> None:
    run.writer.commit(run.pieces, run.row, whole, run.source.connector.ABOUT.once)
    run.pieces, run.row, run.waiting = [], SourceRow(), 0
    run.since_commit = time.monotonic()


def _add(run: _Run, page: Page) -> None:
    for finding in page.findings:
        run.findings[(finding.kind, finding.reason, finding.where)] += finding.count
    records: list[Record] = _placed_facts(run, [record for record in page.records if isinstance(record, Fact)])
    for record in page.records:
        if not isinstance(record, Fact):
            records += _placed(run, record)
    covered = [] if page.covered is None else [_shifted_cover(run, one) for one in page.covered]
    run.explicit = run.explicit or page.covered is not None
    run.whole += [Whole(bucket_of(one.since), bucket_of(one.until - 1) + BUCKET, one.signal) for one in covered]
    gaps = [replace(gap, since=gap.since + run.shift, until=gap.until + run.shift) for gap in page.gaps]
    run.pieces.append(Piece(records, page.slice, covered, gaps))
    run.waiting += sum(_weight(record) for record in records)
    if page.state is not None:
        if len(json.dumps(page.state)) > 1 << 20:
            raise SourceRefused(f"{run.source.name} keeps a state of more than 1 MiB; report this to its author.")
        run.row.state = page.state


def _weight(record: Record) -> int:
    return len(record.columns["ts"]) if isinstance(record, Batch) else 1


def _shifted_cover(run: _Run, one: Covered) -> Covered:
    return replace(one, since=one.since + run.shift, until=min(one.until + run.shift, run.until))


# -- records: checked, shifted, and given their components


def _placed(run: _Run, record: Record) -> Iterator[Record]:
    if isinstance(record, Event):
        yield from _placed_event(run, record)
    elif isinstance(record, Batch):
        yield from _placed_batch(run, record)
    else:
        reason = _wrong(run, record)
        if reason == "":
            if not isinstance(record, Baseline):
                _reach(run, int(record.ts) + run.shift)
            for series in _series(run, record.series):
                yield _moved(run, record, series)
        elif reason is not None:
            run.findings[("reject", reason, f"{record.series.signal} of {record.series.component or 'labels'}")] += 1


def _placed_facts(run: _Run, facts: Sequence[Fact]) -> list[Record]:
    """The facts that count, under their components; by far the most of all records, so no step too many."""
    shift, limit, places = run.shift, run.until - run.shift, run.series
    found: list[Record] = []
    for fact in facts:
        if fact.ts >= limit or _wrong_value(fact.value):
            reason = _wrong(run, fact)
            if reason is None:
                continue
            if reason:
                run.findings[("reject", reason, f"{fact.series.signal} of {fact.series.component or 'labels'}")] += 1
                continue
        for series in places.get(fact.series) or _series(run, fact.series):
            found.append(Fact(series, fact.ts + shift, fact.value))
    if found:
        times = [one.ts for one in found if isinstance(one, Fact)]
        _reach(run, min(times))
        _reach(run, max(times) + BUCKET)
    return found


def _reach(run: _Run, ts: int) -> None:
    run.low = ts if run.low is None else min(run.low, ts)
    run.high = ts if run.high is None else max(run.high, ts)


def _moved(run: _Run, record: Fact | Sample | Baseline, series: Series) -> Record:
    if isinstance(record, Fact):
        return Fact(series, record.ts + run.shift, record.value)
    if isinstance(record, Baseline):
        return replace(record, series=series, since=record.since + run.shift, until=record.until + run.shift)
    return Sample(series, record.ts + run.shift, record.value, record.run, record.step)


def _series(run: _Run, series: Series) -> list[Series]:
    found = run.series.get(series)
    if found is None:
        found = run.series[series] = place.series_of(series, run.source.common)
    if not found:
        run.findings[("unmatched", json.dumps(dict(series.labels), sort_keys=True), "")] += 1
    return found


def _wrong(run: _Run, record: Fact | Sample | Baseline) -> str | None:
    """Why a record cannot be counted: "" if it can, None if it only is not yet."""
    if isinstance(record, Baseline):
        return ""
    if isinstance(record, Sample):
        if not math.isfinite(record.value):
            return "not a finite number"
    else:
        reason = _wrong_value(record.value)
        if reason:
            return reason
    if record.ts + run.shift >= run.until:
        if run.moved:
            run.held_back += 1
            return None
        return "a time in the future" if record.ts > run.until + SKEW else ""
    return ""


def _wrong_value(value: Ratio | Histogram | Confusion | Moments) -> str:
    if isinstance(value, Ratio):
        if value.good > value.total:
            return "more good than total"
        return "a negative count" if value.good < 0 else ""
    if isinstance(value, Histogram):
        return "a negative count" if any(n < 0 for n in value.counts.values()) else ""
    if isinstance(value, Confusion):
        return "a negative count" if any(n < 0 for n in value.cells.values()) else ""
    return "a negative count" if value.n < 0 or value.squares < 0 else ""


def _placed_event(run: _Run, event: Event) -> Iterator[Event]:
    reason = _wrong_event(run, event)
    if reason:
        run.findings[("reject", reason, f"{event.kind} {event.key}")] += 1
        return
    if event.ts + run.shift >= run.until + (0 if run.moved else SKEW):
        run.held_back += 1
        return
    placed = place.event_of(event, run.source.common)
    if placed is None:
        run.findings[("unmatched", json.dumps(dict(event.labels), sort_keys=True), "")] += 1
        return
    known = _event_now(placed, run.shift, run.until) if run.moved else placed
    begins_later = placed.started is not None and known.started is None
    run.held_back += begins_later or known.outcome != placed.outcome  # its file is read again
    if not (begins_later and known.attempt > 1):
        _reach(run, known.ts)
        yield known


def _wrong_event(run: _Run, event: Event) -> str:
    begun = event.started if event.started is not None else event.ts
    if event.ended is not None and event.ended < begun:
        return "a negative duration"
    if not run.moved and event.ts > run.until + SKEW:
        return "a time in the future"
    return ""


def _event_now(event: Event, shift: int, now: int) -> Event:
    """The event moved by `shift`, as it could be known at `now`: what has not ended yet is open."""

    def moved(ts: int | None) -> int | None:
        return None if ts is None or ts + shift > now else ts + shift

    event = replace(
        event, ts=event.ts + shift, started=moved(event.started),
        ts_latest=None if event.ts_latest is None else min(event.ts_latest + shift, now),
        revision=event.revision + shift if event.revision > 0 else event.revision,
    )  # fmt: skip
    if event.ended is not None and event.ended + shift > now:
        return replace(event, ended=None, outcome="open")
    return replace(event, ended=moved(event.ended))


def _placed_batch(run: _Run, batch: Batch) -> Iterator[Batch]:
    components = [_series(run, series) for series in batch.series]
    columns = dict(batch.columns)
    columns["ts"] = columns["ts"] + run.shift
    keep = columns["ts"] < run.until + (0 if run.moved else SKEW)
    known = _known(components, columns["series"])
    if not (keep & known).all():
        columns = {name: values[keep & known] for name, values in columns.items()}
        run.held_back += int((~keep).sum())
    if len(columns["ts"]):
        _reach(run, int(columns["ts"].min()))
        _reach(run, int(columns["ts"].max()) + BUCKET)
    for turn in range(max((len(found) for found in components), default=0)):
        series = tuple(found[min(turn, len(found) - 1)] if found else one
                       for found, one in zip(components, batch.series, strict=True))  # fmt: skip
        yield Batch(batch.kind, series, batch.layouts, columns)


def _known(components: list[list[Series]], index: Any) -> Any:
    return np.array([bool(found) for found in components], dtype=bool)[np.asarray(index, dtype=np.int64)]


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
        since=asked - run.shift, until=run.until - run.shift, now=run.until - run.shift,
        state=None if since is not None else kept.state,
        open=ledger.open_events(run.writer.source, run.shift),
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
    ends = [*(before or ()), *(end for end in (run.low, run.high) if end is not None)]
    if not ends:
        return []
    return [Covered(max(run.source.since(run.until) or 0, min(ends)),
                    run.until if run.moved else min(run.until, max(ends)))]  # fmt: skip


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
    found = [one for one in _walk(folder, given, connector.recognise) if connector.recognise(one)]
    if not found:
        raise SourceRefused(f"{folder} holds nothing that {run.source.common.connector} reads; check the path.")
    for number, one in enumerate(found):
        name, now = _relative(one, folder), _stamp(one)
        if files.get(name) == now:
            continue
        request.progress(f"reading {name}", number / len(found))
        run.held_back = 0
        try:
            yield from connector.parse(one, config)
        except SourceRefused as no:
            run.findings[("reject", str(no), name)] += 1
            run.partial = True
            continue
        files[name] = now if not run.held_back else ""
    memory["files"] = files


def _relative(item: Item, folder: Path) -> str:
    return item.path.relative_to(folder).as_posix() if item.path != folder else "."


def _stamp(item: Item) -> str:
    """What changes when an item's bytes change: its size and time, and those of everything in it."""
    if item.path.is_file():
        state = item.path.stat()
        return f"{state.st_size}:{state.st_mtime_ns}"
    digest = hashlib.sha256()
    for entry in item.entries:
        state = (item.path / entry).stat()
        digest.update(f"{entry}:{state.st_size}:{state.st_mtime_ns};".encode())
    return digest.hexdigest()


def _walk(path: Path, given: Given, recognised: Callable[[Item], bool]) -> Iterator[Item]:
    found: Iterator[Item] = importlib.import_module("connectors._files").walk(path, given, recognised)
    return found


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


@dataclass(frozen=True)
class Recognised:
    """An item and the source it belongs to; or why it is refused."""

    item: Item | None
    name: str
    source: Source | None = None
    refused: str = ""


def recognise(paths: Sequence[Path], config: Config, given: Given, connector: str | None) -> Iterator[Recognised]:
    """Every item under `paths` with the source that reads it, decided by content; what nobody reads says why."""
    modules = {name: connect.load(name) for name in ([connect.canonical(connector)] if connector else connect.names())}

    def known(item: Item) -> bool:
        return any(module.recognise(item) for module in modules.values())

    for path in paths:
        try:
            for item in _walk(path, given, known):
                yield _owner(item, modules, config, given)
        except SourceRefused as no:
            yield Recognised(None, str(path), refused=str(no))


def _owner(item: Item, modules: dict[str, Connector], config: Config, given: Given) -> Recognised:
    readers = [name for name, module in modules.items() if module.recognise(item) or _configured(item, module, config)]
    if not readers:
        return Recognised(item, item.name, refused=_unread(item, modules, given))
    if len(readers) > 1:
        choice = ", ".join(readers)
        return Recognised(
            item, item.name, refused=f"{item.name} could be read by {choice}; say which with --connector NAME."
        )
    try:
        return Recognised(item, item.name, _source_for(item, readers[0], modules[readers[0]], config, given))
    except SourceRefused as no:
        return Recognised(item, item.name, refused=str(no))


def _configured(item: Item, module: Connector, config: Config) -> list[Source]:
    """The sources of a connector that say of themselves that a file is theirs."""
    belongs = getattr(module, "belongs", None)
    return [one for one in config.sources if belongs and one.connector is module and belongs(item, one.config)]


def _unread(item: Item, modules: dict[str, Connector], given: Given) -> str:
    """Why nobody reads an item, with a block to fill in where a connector could make one."""
    guesses = [module.guess for module in modules.values() if hasattr(module, "guess")]
    offers = [offer for guess in guesses if (offer := guess(item, _common("", item, given)))]
    return offers[0] if offers else f"{item.name} is nothing that Tandem reads; see `tandem sources --known`."


def _source_for(item: Item, name: str, module: Connector, config: Config, given: Given) -> Source:
    """The configured source of that connector whose objects these are, or one made for the file."""
    configured = [one for one in config.sources if one.connector is module]
    if hasattr(module, "belongs"):
        configured = _configured(item, module, config)
    if given.component:
        configured = [one for one in configured if given.component in one.common.component] or []
    if len(configured) == 1:
        return configured[0]
    if len(configured) > 1:
        names = ", ".join(one.name for one in configured)
        raise SourceRefused(f"{item.name} could belong to {names}; import it with --component NAME.")
    common = _common(name, item, given)
    configure = getattr(module, "configure", None)
    if configure is not None:
        return Source(common, module, configure(item, common))
    try:
        return Source(common, module, module.Config(common=common))
    except TypeError:
        raise SourceRefused(
            f'{item.name} needs a [[source]] with connector = "{name}" in tandem.toml to say what it means; '
            f"`tandem init --connector {name}` prints one."
        ) from None


def _common(name: str, item: Item, given: Given) -> Common:
    return Common(
        connector=name, name=f"import:{name}", component=(given.component,) if given.component else (),
        environment=given.environment or "production", timezone=given.timezone, folder=item.path.parent,
        discover=not given.component,
    )  # fmt: skip


__all__ = ["Finding", "Gap", "Layout", "Outcome", "import_item", "pull", "recognise", "settings_of", "sync"]
