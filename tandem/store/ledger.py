"""What the store keeps of its sources: state, open objects, slices, pulls, rejects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tandem.bins import Layout
from tandem.records import BUCKET, HOUR, Event
from tandem.store.file import Store
from tandem.store.load import DERIVED
from tandem.store.rows import event_of
from tandem.store.tables import KINDS, TIERS

PULLS = 500
"""Pulls remembered per source."""


@dataclass(frozen=True)
class State:
    """What a source's last committed page left."""

    state: Any = None
    items: Mapping[str, Any] | None = None
    settings: str | None = None
    watermark: int | None = None


class Ledger:
    """Reads and writes what is kept of sources, beside their facts."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def state(self, source: int) -> State:
        """What the source left when it last committed."""
        row = (
            self.store.cursor()
            .execute("SELECT state, items, settings, watermark FROM state WHERE source = ?", [source])
            .fetchone()
        )
        if row is None:
            return State()
        return State(json.loads(row[0]) if row[0] else None, json.loads(row[1]) if row[1] else None, row[2], row[3])

    def open_events(self, source: int, shift: int) -> tuple[Event, ...]:
        """The source's own objects that were open when last seen, in the source's own time."""
        rows = (
            self.store.cursor()
            .execute(
                "SELECT arg_max(content, load_id) FROM event WHERE source = ? GROUP BY kind, key, attempt "
                "HAVING arg_max(outcome, load_id) = 'open' ORDER BY min(ts)",
                [source],
            )
            .fetchall()
        )
        return tuple(_back(event_of(text), shift) for (text,) in rows if text)

    def taken(self, source: int) -> Callable[[str], str | None]:
        """The digest under which a slice was counted last, by its name."""

        def digest(name: str) -> str | None:
            known = self.store.names.slices.find(self.store.cursor(), source, name)
            return known[1] if known else None

        return digest

    def layout(self, component: str, signal: str, name: str) -> Layout | None:
        """The layout in force for a component's feature."""
        names = self.store.names
        number = names.baselines.get((component, signal, name))
        return None if number is None else names.layout(number)

    def extent(self, source: int) -> tuple[int, int] | None:
        """The first and the last time of all that the source ever said; None where it said nothing."""
        parts = [
            f"SELECT f.ts AS low, f.ts + {BUCKET} AS high FROM {kind}{TIERS[width]} f JOIN series s ON s.id = f.series "
            f"AND s.source = $source AND s.width = {width} AND NOT list_contains($derived::VARCHAR[], s.signal)"
            for kind in KINDS
            for width in (BUCKET, HOUR)
        ]
        parts.append("SELECT ts, ts FROM event WHERE source = $source AND content <> ''")
        parts.append("SELECT p.ts, p.ts FROM sample p JOIN series s ON s.id = p.series AND s.source = $source")
        row = (
            self.store.cursor()
            .execute(
                f"SELECT min(low), max(high) FROM ({' UNION ALL '.join(parts)})",
                {"source": source, "derived": list(DERIVED)},
            )
            .fetchone()
        )
        return None if row is None or row[0] is None else (int(row[0]), int(row[1]))

    def record(
        self, source: int, name: str, now: int, error: str, pages: int, rows: int,
        findings: Mapping[tuple[str, str, str], int],
    ) -> None:  # fmt: skip
        """Note how a pull ended, and what it could not count."""
        with self.store.writing():
            cursor = self.store.new_cursor()
            cursor.execute("BEGIN")
            cursor.execute(
                "INSERT INTO pull VALUES (?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(load_id), 0) FROM load))",
                [source, name, now, now, "failed" if error else "done", error, pages, rows],
            )
            for (kind, reason, place), n in list(findings.items())[:1000]:
                key = [source, kind, reason, place]
                cursor.execute("DELETE FROM reject WHERE source = ? AND kind = ? AND reason = ? AND place = ?", key)
                cursor.execute("INSERT INTO reject VALUES (?, ?, ?, ?, ?, ?)", [source, now, kind, reason, place, n])
            cursor.execute("COMMIT")
            cursor.close()


def _back(event: Event, shift: int) -> Event:
    if not shift:
        return event
    moved = {name: value - shift for name in ("ts", "ts_latest", "started", "ended")
             if (value := getattr(event, name)) is not None}  # fmt: skip
    return replace(event, **moved)
