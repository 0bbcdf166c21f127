"""One transaction: what is staged becomes signed rows with their load."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from tandem import derive
from tandem.bins import MISSING, Layout
from tandem.intervals import subtract, union
from tandem.records import (
    BUCKET,
    HOUR,
    Baseline,
    Batch,
    Confusion,
    Covered,
    Event,
    Fact,
    Gap,
    Histogram,
    Moments,
    Ratio,
    Record,
    Sample,
    Series,
    Slice,
)
from tandem.store import tables
from tandem.store.drifted import Touched, drift_facts
from tandem.store.naming import Names
from tandem.store.rows import content, event_of, insert, table

if TYPE_CHECKING:
    from tandem.store.write import Writer


DERIVED = frozenset({*derive.SUCCESS.values(), *derive.LASTED.values(), "queue_time", "drift"})
"""Signals that the core makes of events and histograms: they follow those."""

LAG = 2 * HOUR
"""Seconds after its end that an hour or a day is left open: pulls take their time, and come late."""
FIRST = -(1 << 62)
"""Before every bucket."""
KNOWN = -1
"""Fact number of staged rows that are differences already."""


class Conflict(Exception):
    """One pull gave two values for one key; it is fetched again once."""


@dataclass
class Piece:
    """A page whose records know their components: what a transaction takes in."""

    records: Sequence[Record] = ()
    slice: Slice | None = None
    covered: Sequence[Covered] = ()
    gaps: Sequence[Gap] = ()


@dataclass
class SourceRow:
    """What the store keeps of a source beside its facts; None leaves what is there."""

    state: Any = None
    items: Any = None
    settings: str | None = None
    watermark: int | None = None


@dataclass(frozen=True)
class Whole:
    """A stretch [since, until) that a pull has told all of; `signal` "" means all signals, and events."""

    since: int
    until: int
    signal: str = ""


@dataclass
class _Staged:
    """Rows of one summary on their way into the store, column by column, in chunks."""

    chunks: list[dict[str, np.ndarray[Any, Any]]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    ways: set[str] = field(default_factory=set)
    """How the staged rows change the store: "bucket", "slice", or "known" differences."""
    widths: set[int] = field(default_factory=set)


_ALL = 1 << 62
"""The last part of a slice that is counted already."""
_ATTEMPTS = 20
"""Bits of the number of an attempt, below those of its event."""


class Load:
    """One transaction of a Writer."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.cursor = writer.cursor
        self.registry = writer.store.names
        self.names = Names(writer.store, writer.cursor, writer.source)
        self.id = _next(self.cursor)
        self.closed = self.registry.closed(self.id)
        self.rows = 0
        self.facts = 0
        self.staged = {name: _Staged() for name in tables.KINDS}
        self.touched: set[Touched] = set()
        self.slices = False
        self.restated: set[int] = set()
        self.new_slices: list[tuple[Any, ...]] = []
        self.told_slices: list[tuple[Any, ...]] = []
        self.new_events: list[tuple[Any, ...]] = []

    def take(self, pieces: Sequence[Piece], whole: Sequence[Whole] = (), once: Sequence[str] = ()) -> None:
        """Stage every record, then append the differences."""
        events: list[Event] = []
        samples: list[Sample] = []
        self.cursor.execute("DELETE FROM restated")
        for piece in pieces:
            number = self._slice(piece.slice) if piece.slice else 0
            if number is not None:
                for record in piece.records:
                    if isinstance(record, Event):
                        events.append(record)
                    elif isinstance(record, Sample):
                        samples.append(record)
                    else:
                        self._stage(record, number)
        self._events(events)
        self._flush()
        self._samples(samples)
        self._append()
        self._vanished(whole, once)
        self._drift()
        self._cover(pieces)

    def finish(self, pages: int, row: SourceRow) -> None:
        """Write names, state and ledger."""
        self._flush()
        self.names.flush()
        self._state(row)
        if self.rows:
            self._close()
            self.cursor.execute(
                "INSERT INTO load VALUES (?, ?, ?, ?, ?, ?)",
                [self.id, str(uuid.uuid4()), self.writer.source, self.writer.now, pages, self.rows],
            )

    def _state(self, row: SourceRow) -> None:
        if row == SourceRow():
            return
        source = self.writer.source
        old = self.cursor.execute(
            "SELECT state, items, settings, watermark FROM state WHERE source = ?", [source]
        ).fetchone() or (None, None, None, None)
        new = (
            json.dumps(row.state) if row.state is not None else old[0],
            json.dumps(row.items) if row.items is not None else old[1],
            row.settings if row.settings is not None else old[2],
            row.watermark if row.watermark is not None else old[3],
        )
        if new != tuple(old):
            self.cursor.execute("DELETE FROM state WHERE source = ?", [source])
            self.cursor.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", [source, *new, self.id])

    # -- slices

    def _slice(self, piece: Slice) -> int | None:
        """The number of a slice whose rows are to be added; None for what is counted already."""
        seen = self.writer.slices_seen.get(piece.name)
        known = self.registry.slices.find(self.cursor, self.writer.source, piece.name)
        if seen is None:
            return self._first_part(piece, known)
        digest, last = seen
        if digest != piece.digest:
            if not self.writer.tolerant:
                raise Conflict(piece.name)
            self.writer.conflicts.append(piece.name)
            return None
        if piece.part <= last:
            return None
        self.writer.slices_seen[piece.name] = (digest, piece.part)
        return known[0] if known else None

    def _first_part(self, piece: Slice, known: tuple[int, str] | None) -> int | None:
        if known is not None and known[1] == piece.digest and not self.writer.moved:
            self.writer.slices_seen[piece.name] = (piece.digest, _ALL)
            return None
        self.writer.slices_seen[piece.name] = (piece.digest, piece.part)
        source = self.writer.source
        number = self.registry.slices.tell(source, piece.name, piece.digest, known[0] if known else None)
        if known is None:
            self.new_slices.append((number, source, piece.name))
        else:
            self.cursor.execute("INSERT INTO restated VALUES (?)", [number])
            self.restated.add(number)
            self.slices = True
        self.told_slices.append((number, piece.digest, self.id))
        self.rows += 1
        return number

    # -- facts

    def _stage(self, record: Fact | Batch | Baseline, slice_number: int) -> None:
        if isinstance(record, Baseline):
            self._baseline(record)
        elif isinstance(record, Batch):
            self._batch(record, slice_number)
        else:
            self.facts += 1
            self._value(record.series, record.ts, record.value, slice_number, 0 if slice_number else self.facts, 1)

    def _value(self, series: Series, ts: int, value: Ratio | Histogram | Confusion | Moments, slice_number: int,
               fact: int, sign: int) -> None:  # fmt: skip
        if isinstance(value, Histogram):
            number, layout = self.names.series(series, value.layout)
            moved = self.names.places(value.layout, layout)
            cells = value.counts or {MISSING: 0}  # an empty histogram takes back what stood in its bucket
            rows = self.staged["histogram"].rows
            for place, count in cells.items():
                target = moved[place] if moved else place
                rows.append((fact, number, ts, slice_number, target, sign * count, sign * value.sums.get(place, 0)))
            return
        layout_of = Layout(digits=value.digits) if isinstance(value, Moments) else None
        number, _ = self.names.series(series, layout_of)
        head = (fact, number, ts, slice_number)
        if isinstance(value, Ratio):
            self.staged["ratio"].rows.append((*head, sign * value.good, sign * value.total))
        elif isinstance(value, Confusion):
            for (actual, predicted), n in (value.cells or {("", ""): 0}).items():
                self.staged["confusion"].rows.append((*head, actual, predicted, sign * n))
        else:
            self.staged["moments"].rows.append((*head, sign * value.n, sign * value.sum, sign * value.squares))

    def _batch(self, batch: Batch, slice_number: int) -> None:
        index = np.asarray(batch.columns["series"], dtype=np.int64)
        if not len(index):
            return
        numbers, columns = self._numbered(batch, index, dict(batch.columns))
        ts = np.asarray(columns["ts"], dtype=np.int64)
        if slice_number:
            fact = np.zeros(len(index), dtype=np.int64)
        else:
            _, inverse = np.unique(np.stack([numbers, ts]), axis=1, return_inverse=True)
            fact = inverse.reshape(-1) + self.facts + 1
            self.facts = int(fact.max())
        chunk = {"fact": fact, "series": numbers, "ts": ts, "slice": np.full(len(index), slice_number)}
        kind = tables.KINDS[batch.kind]
        chunk.update({name: columns[name] for name, _ in (*kind.keys, *kind.values)})
        self.staged[batch.kind].chunks.append(chunk)

    def _numbered(
        self, batch: Batch, index: np.ndarray[Any, Any], columns: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        found = [self.names.series(one, layout) for one, layout in zip(batch.series, batch.layouts, strict=True)]
        numbers = np.array([number for number, _ in found], dtype=np.int64)
        if batch.kind == "histogram":
            columns["bin"] = self._moved(batch, index, columns["bin"], [layout for _, layout in found])
        return numbers[index], columns

    def _moved(self, batch: Batch, index: np.ndarray[Any, Any], bins: np.ndarray[Any, Any], numbers: list[int]) -> Any:
        moved = np.array(bins, dtype=np.int64)
        groups: dict[tuple[int, int], list[int]] = {}
        for position, layout in enumerate(batch.layouts):
            if layout is not None and layout.kind == "categories":
                groups.setdefault((id(layout), numbers[position]), []).append(position)
        for (_, number), positions in groups.items():
            layout = batch.layouts[positions[0]]
            places = self.names.places(layout, number) if layout is not None else None
            rows = np.isin(index, positions)
            here = np.asarray(bins)[rows]
            for mine, target in (places or {}).items():
                if mine != target:
                    moved[np.flatnonzero(rows)[here == mine]] = target
        return moved

    def _baseline(self, record: Baseline) -> None:
        _, layout = self.names.series(record.series, record.histogram.layout)
        moved = self.names.places(record.histogram.layout, layout)
        series = record.series
        key = (series.component, series.signal, series.name)
        bins = sorted(record.histogram.counts)
        counts = [record.histogram.counts[b] for b in bins]
        if self.registry.baselines.get(key) == layout and self._same_baseline(key, record, counts):
            return
        self.registry.baselines[key] = layout
        self.cursor.execute(
            "INSERT INTO baseline VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [*key, layout, record.since, record.until, [moved[b] if moved else b for b in bins],
             counts, [record.histogram.sums.get(b, 0) for b in bins],
             self.id, record.squares],
        )  # fmt: skip
        self.rows += 1

    def _same_baseline(self, key: tuple[str, str, str], record: Baseline, counts: list[int]) -> bool:
        """Whether the newest reference of that key is this one: categories keep their bins in another window too."""
        rows = self.cursor.execute(
            "SELECT since, until, counts FROM baseline WHERE component = ? AND signal = ? AND name = ? "
            "ORDER BY load_id DESC LIMIT 1",
            [*key],
        ).fetchall()
        return rows == [(record.since, record.until, counts)]

    def _append(self) -> None:
        self.names.flush()
        for name, staged in self.staged.items():
            kind = tables.KINDS[name]
            self._add_new(kind, staged)
            self._load_staged(kind, staged)
            if self.slices:
                staged.ways.add("slice")
                staged.widths |= {BUCKET, HOUR}
            if staged.ways:
                self._differences(kind, staged)
                self.cursor.execute(tables.empty_staged(kind))
        self.staged = {name: _Staged() for name in tables.KINDS}
        self.slices = False
        self.cursor.execute("DELETE FROM restated")

    def _add_new(self, kind: tables.Kind, staged: _Staged) -> None:
        """Append at once what comes in slices that were never counted: there is nothing to compare it with."""
        fresh = [chunk for chunk in staged.chunks if (n := int(chunk["slice"][0])) and n not in self.restated]
        if not fresh:
            return
        staged.chunks = [chunk for chunk in staged.chunks if not any(chunk is one for one in fresh)]
        names = ("series", "ts", "slice", *(n for n, _ in (*kind.keys, *kind.values)))
        columns = {name: np.concatenate([chunk[name] for chunk in fresh]) for name in names}
        own, place = np.unique(columns["series"], return_inverse=True)
        widths = np.array([self.names.widths[one] for one in own.tolist()])[place.reshape(-1)]
        for width in np.unique(widths).tolist():
            mine = widths == width
            self.cursor.register("arriving", table({name: columns[name][mine] for name in names}))
            self.cursor.execute(tables.append_new(kind, width), [self.id])
            self._correct(kind, "arriving", width, int(columns["ts"][mine].min()))
            if kind.name == "histogram" and width == HOUR:
                self._touch("arriving")
            self.cursor.unregister("arriving")
            self.rows += int(mine.sum())

    def _load_staged(self, kind: tables.Kind, staged: _Staged) -> None:
        names = ("fact", "series", "ts", "slice", *(n for n, _ in kind.keys), *(n for n, _ in kind.values))
        chunks = list(staged.chunks)
        if staged.rows:
            columns: list[Any] = list(zip(*staged.rows, strict=True))
            chunks.append(dict(zip(names, columns, strict=True)))
        for chunk in chunks:
            self.cursor.register("arriving", table({name: chunk[name] for name in names}))
            self.cursor.execute(f"INSERT INTO staged_{kind.name} SELECT * FROM arriving")
            self.cursor.unregister("arriving")
            staged.widths |= {self.names.widths[one] for one in np.unique(np.asarray(chunk["series"])).tolist()}
            fact, of_slice = np.asarray(chunk["fact"]), np.asarray(chunk["slice"]) != 0
            for way, some in (("slice", of_slice), ("known", fact == KNOWN), ("bucket", ~of_slice & (fact >= 0))):
                if some.any():
                    staged.ways.add(way)

    def _differences(self, kind: tables.Kind, staged: _Staged) -> None:
        """Turn what is staged into differences and append them; only the statements that it needs are run."""
        run = self.cursor.execute
        rejected = False
        if "bucket" in staged.ways:
            run(tables.fingerprints(kind))
            rejected = self._contradictions(kind)
        for width in sorted(staged.widths):
            run(tables.empty_delta(kind))
            if "bucket" in staged.ways:
                run(tables.bucket_delta(kind, width))
            if "slice" in staged.ways:
                run(tables.slice_delta(kind, width))
            if "known" in staged.ways:
                run(tables.added_delta(kind, width))
            if rejected:
                run(tables.back_delta(kind, width), [self.writer.before])
            written = run(f"SELECT count(*), min(ts) FROM delta_{kind.name}").fetchone()
            if written and written[0]:
                self.rows += int(written[0])
                run(tables.append(kind, width), [self.id])
                self._correct(kind, f"delta_{kind.name}", width, int(written[1]))
                if kind.name == "histogram" and width == HOUR:
                    self._touch()
        if "bucket" in staged.ways:
            run(tables.remember(kind))

    # -- coarse tiers

    def _correct(self, kind: tables.Kind, rows: str, width: int, oldest: int) -> None:
        """Add rows of `width` to the coarse tiers as far as these are closed; `oldest` is the first of them."""
        for tier in tables.COARSE:
            until = self.closed.get(tier)
            if tier > width and until is not None and oldest < until:
                self.cursor.execute(tables.correct(kind, rows, tier), [self.id, until])

    def _close(self) -> None:
        """Close the coarse tiers up to a while ago: an hour that twelve pulls have filled becomes one row there."""
        for tier in tables.COARSE:
            since, until = self.closed.get(tier, FIRST), (self.writer.now - LAG) // tier * tier
            if until <= since:
                continue
            for kind in tables.KINDS.values():
                self.cursor.execute(tables.close(kind, tier), [self.id, since, until])
            self.cursor.execute("INSERT INTO closed VALUES (?, ?, ?)", [tier, until, self.id])
            self.registry.closings.append((self.id, tier, until))

    def _contradictions(self, kind: tables.Kind) -> bool:
        found = self.cursor.execute(tables.conflicts(kind)).fetchall()
        if not found:
            return False
        if not self.writer.tolerant:
            raise Conflict(f"{kind.name} of {found[0]}")
        self.writer.conflicts += [f"{kind.name}, bucket {ts}" for _, ts in found]
        self.cursor.execute("DELETE FROM rejected")
        self.cursor.executemany("INSERT INTO rejected VALUES (?, ?)", found)
        for held in ("print", "staged"):
            self.cursor.execute(
                f"DELETE FROM {held}_{kind.name} WHERE (series, ts) IN (SELECT series, ts FROM rejected)"
            )
        return True

    # -- what follows from feature histograms

    def _touch(self, table_name: str = "delta_histogram") -> None:
        rows = self.cursor.execute(
            f"SELECT DISTINCT s.component, s.environment, s.name, d.ts - d.ts % 86400 FROM {table_name} d "
            "JOIN series s ON s.id = d.series WHERE s.signal = 'feature' AND s.segment = '' AND s.stage = 'production'"
        ).fetchall()
        self.touched |= {Touched(*row) for row in rows}

    def _drift(self) -> None:
        if not self.touched:
            return
        for fact in drift_facts(self.cursor, self.registry, self.writer.source, self.touched):
            self._value(fact.series, fact.ts, fact.value, 0, KNOWN, 1)
        self._append()

    # -- events

    def _events(self, events: Sequence[Event]) -> None:
        if not events:
            return
        stored = self.stored({(event.kind, event.key) for event in events})
        changed: dict[tuple[str, str], dict[int, Event]] = {}
        for event in events:
            text = content(event)
            if not self._first_said(event, text):
                continue
            key = (event.kind, event.key)
            attempts = changed.get(key, stored.get(key, {}))
            old = attempts.get(event.attempt)  # nothing, too, where it was taken back
            if old is not None and (old.revision > event.revision or content(old) == text):
                continue
            changed.setdefault(key, dict(attempts))[event.attempt] = event
            self._write_event(event, text)
        for one, now in changed.items():
            self._derived(list(stored.get(one, {}).values()), -1)
            self._derived(list(now.values()), 1)

    def _first_said(self, event: Event, text: str) -> bool:
        # Numbers, not texts: a first pull may tell hundreds of thousands of events.
        place = _hashed(event.kind, event.key) << _ATTEMPTS | min(event.attempt, (1 << _ATTEMPTS) - 1)
        said = _hashed(text)
        if self.writer.events_seen.setdefault(place, said) == said:
            return True
        if not self.writer.tolerant:
            raise Conflict(f"{event.kind} {event.key}")
        self.writer.conflicts.append(f"{event.kind} {event.key}")
        return False

    def stored(self, keys: set[tuple[str, str]]) -> dict[tuple[str, str], dict[int, Event]]:
        """The attempts of objects of the source as they stand, by (kind, key) and attempt."""
        columns = {"kind": [kind for kind, _ in keys], "key": [key for _, key in keys]}
        self.cursor.register("arriving", table(columns))
        rows = self.cursor.execute(
            "SELECT kind, key, attempt, arg_max(content, load_id) FROM event SEMI JOIN arriving USING (kind, key) "
            "WHERE source = ? GROUP BY kind, key, attempt",
            [self.writer.source],
        ).fetchall()
        self.cursor.unregister("arriving")
        found: dict[tuple[str, str], dict[int, Event]] = {}
        for kind, key, attempt, text in rows:
            if text:
                found.setdefault((kind, key), {})[attempt] = event_of(text)
        return found

    def _write_event(self, event: Event, text: str) -> None:
        until = max(event.ts, event.ts_latest or event.ts, event.ended or event.ts)
        self.new_events.append(
            (self.writer.source, event.kind, event.key, event.attempt, event.revision, event.ts, until,
             list(event.components), event.environment, event.outcome, text, self.id)
        )  # fmt: skip
        self.rows += 1

    def _flush(self) -> None:
        """Write the rows of the small tables that have gathered, many at once."""
        for name, rows in (("slice", self.new_slices), ("slice_load", self.told_slices), ("event", self.new_events)):
            insert(self.cursor, name, rows)
            rows.clear()

    def follow(self, changed: Sequence[tuple[list[Event], list[Event]]]) -> None:
        """Take what followed from the attempts of some objects before for what follows from them now."""
        for before, now in changed:
            self._derived(before, -1)
            self._derived(now, 1)
        self._append()

    def _derived(self, attempts: list[Event], sign: int) -> None:
        for one in derive.contributions(attempts):
            for component in one.components:
                series = Series(one.signal, component=component, environment=one.environment)
                self._value(series, one.ts, one.value, 0, KNOWN, sign)

    # -- what vanished

    def _vanished(self, whole: Sequence[Whole], once: Sequence[str]) -> None:
        for signal in sorted({one.signal for one in whole}):
            for since, until in union((one.since, one.until) for one in whole if one.signal == signal):
                for kind in tables.KINDS.values():
                    for width in (BUCKET, HOUR):
                        self._unsaid(kind, width, Whole(since, until, signal))
                if not signal:
                    self._gone(since, until, once)
                    self._forgotten(since, until)
            self._append()

    def _unsaid(self, kind: tables.Kind, width: int, one: Whole) -> None:
        """Stage the negative of every bucket that this pull has not told."""
        rows = self.cursor.execute(
            tables.unsaid(kind, width), [self.writer.source, one.since, one.until - width, one.signal, one.signal,
                                         list(DERIVED)],
        ).fetchall()  # fmt: skip
        staged = self.staged[kind.name].rows
        keys = 2 + len(kind.keys)
        staged += [(KNOWN, series, ts, 0, *more[: keys - 2], *(-value for value in more[keys - 2 :]))
                   for series, ts, *more in rows]  # fmt: skip

    def _gone(self, since: int, until: int, once: Sequence[str]) -> None:
        """Take back every event that this pull has not told."""
        rows = self.cursor.execute(
            "SELECT kind, key, attempt, arg_max(content, load_id) FROM event WHERE source = ? GROUP BY ALL "
            "HAVING arg_max(ts, load_id) >= ? AND arg_max(ts, load_id) < ? AND arg_max(content, load_id) <> ''",
            [self.writer.source, since, until],
        ).fetchall()
        said = {place >> _ATTEMPTS for place in self.writer.events_seen}
        left: dict[tuple[str, str], list[Event]] = {}
        for kind, key, _, text in rows:
            if kind not in once and _hashed(kind, key) not in said:
                left.setdefault((kind, key), []).append(event_of(text))
        for attempts in left.values():
            self._derived(attempts, -1)
            for event in attempts:
                self._write_event(event, "")

    def _forgotten(self, since: int, until: int) -> None:
        """Take back the samples of every series that this pull has not told."""
        written = self.cursor.execute(
            "INSERT INTO sample SELECT p.series, p.ts, p.micros, p.run, p.step, '', ?::BIGINT FROM sample p "
            "JOIN series s ON s.id = p.series AND s.source = ? WHERE p.ts >= ? AND p.ts < ? "
            "AND NOT list_contains(?::INTEGER[], p.series) GROUP BY p.series, p.ts, p.micros, p.run, p.step "
            "HAVING arg_max(p.value, p.load_id) <> ''",
            [self.id, self.writer.source, since, until, sorted(self.writer.sampled)],
        ).fetchone()
        self.rows += int(written[0]) if written else 0

    # -- samples and coverage

    def _samples(self, samples: Sequence[Sample]) -> None:
        if not samples:
            return
        newest: dict[tuple[int, int, int, str, int], str] = {}
        for sample in samples:
            number, _ = self.names.series(sample.series, None)
            self.writer.sampled.add(number)
            seconds = int(sample.ts // 1)
            micros = round((sample.ts - seconds) * 1e6)
            value = "" if sample.value is None else repr(float(sample.value))
            newest[number, seconds, micros, sample.run, sample.step] = value
        columns = list(zip(*newest, strict=True))
        names = ("series", "ts", "micros", "run", "step")
        values = {**dict(zip(names, columns, strict=True)), "value": list(newest.values())}
        self.cursor.register("arriving", table(values))
        changed = self.cursor.execute(
            "INSERT INTO sample SELECT a.series, a.ts, a.micros, a.run, a.step, a.value, ?::BIGINT FROM arriving a "
            "LEFT JOIN (SELECT series, ts, micros, run, step, arg_max(value, load_id) AS value FROM sample "
            "SEMI JOIN arriving USING (series, ts) GROUP BY ALL) c USING (series, ts, micros, run, step) "
            "WHERE coalesce(c.value, '') <> a.value",
            [self.id],
        ).fetchone()
        self.cursor.unregister("arriving")
        self.rows += int(changed[0]) if changed else 0

    def _cover(self, pieces: Sequence[Piece]) -> None:
        """Append what is covered and was not before, and the gaps; a poll tells them of each of its components."""
        wanted: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for piece in pieces:
            for one in piece.covered:
                if one.until > one.since:
                    wanted.setdefault((one.component, one.signal), []).append((one.since, one.until))
        known = self._known_cover(wanted) if wanted else {}
        fresh = [(*key, since, until) for key, spans in wanted.items()
                 for since, until in subtract(union(spans), union(known.get(key, ())))]  # fmt: skip
        self.rows += len(fresh)
        insert(self.cursor, "coverage", [(self.writer.source, *row, self.id) for row in fresh])
        self._gaps({gap: None for piece in pieces for gap in piece.gaps})

    def _known_cover(
        self, wanted: Mapping[tuple[str, str], list[tuple[int, int]]]
    ) -> dict[tuple[str, str], list[tuple[int, int]]]:
        columns = {"component": [name for name, _ in wanted], "signal": [signal for _, signal in wanted]}
        self.cursor.register("arriving", table(columns))
        rows = self.cursor.execute(
            "SELECT component, signal, since, until FROM coverage SEMI JOIN arriving USING (component, signal) "
            "WHERE source = ? AND until >= ? AND since <= ?",
            [self.writer.source, min(low for spans in wanted.values() for low, _ in spans),
             max(high for spans in wanted.values() for _, high in spans)],
        ).fetchall()  # fmt: skip
        self.cursor.unregister("arriving")
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for component, signal, since, until in rows:
            found.setdefault((component, signal), []).append((since, until))
        return found

    def _gaps(self, gaps: Mapping[Gap, None]) -> None:
        if not gaps:
            return
        rows = self.cursor.execute(
            "SELECT component, signal, since, until, reason FROM gap WHERE source = ? AND since >= ? AND since <= ?",
            [self.writer.source, min(gap.since for gap in gaps), max(gap.since for gap in gaps)],
        ).fetchall()
        known = set(rows)
        told = [(gap.component, gap.signal, gap.since, gap.until, gap.reason) for gap in gaps]
        insert(self.cursor, "gap", [(self.writer.source, *row, self.id) for row in told if row not in known])


def _hashed(*texts: str) -> int:
    """64 bits that tell texts apart."""
    return int.from_bytes(blake2b("\0".join(texts).encode(), digest_size=8).digest(), "big")


def _next(cursor: duckdb.DuckDBPyConnection) -> int:
    [(number,)] = cursor.execute("SELECT coalesce(max(load_id), 0) + 1 FROM load").fetchall()
    return int(number)
