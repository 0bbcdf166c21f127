"""A large store, made through its own tables: components x 10 signals x 5 minutes x days, corrections included."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from tandem.bins import DURATION
from tandem.config import Component, Config
from tandem.records import BUCKET, DAY, HOUR, Event
from tandem.store import tables
from tandem.store.file import Placed, Store, layout_spec, open_store
from tandem.store.load import FIRST, LAG
from tandem.store.rows import content
from tandem.store.tables import COARSE, KINDS, TIERS
from tests import fakes

END = fakes.NOW // DAY * DAY + 15 * 3600 + 1500
"""The end of the data: an ordinary moment in the middle of a day and of an hour."""
SERVICE = ("availability", "request_success", "build_success", "test_success", "flaky", "deploy_success", "in_sync",
           "certificate", "validation_success", "freshness")  # fmt: skip
MODEL = ("availability", "request_success", "build_success", "valid_rows", "label_coverage", "volume", "freshness",
         "validation_success", "training_success", "test_success")  # fmt: skip
RICH = 20
"""So many services have latency histograms too, and so many models confusion counts and drifting features."""
SOURCES = ("prod", "ci", "quality", "log")
FEATURES = ("", "amount", "age", "channel")
CORRECTED = 3
"""Percent of the buckets that are stated once more, a day later."""
_OF = {"build_success": 2, "test_success": 2, "flaky": 2, "deploy_success": 2, "training_success": 2,
       "valid_rows": 3, "validation_success": 3, "freshness": 3, "certificate": 3, "in_sync": 3,
       "volume": 4, "label_coverage": 4, "outcome": 4, "drift": 4}  # fmt: skip


def config(folder: Path, components: int) -> Config:
    """Products of one service and one model each, and the four sources."""
    known = [Component(f"service-{n:03}", "service", f"product-{n:03}") for n in range(components // 2)]
    known += [Component(f"model-{n:03}", "model", f"product-{n:03}", (f"service-{n:03}",))
              for n in range(components - components // 2)]  # fmt: skip
    sources = [fakes.source(fakes.saying([]), name=name, scope=name) for name in SOURCES]
    return fakes.config(folder, *sources, components=known)


def build(path: Path, components: int, days: int, live: int = 0) -> None:
    """Make the store; a load per day, and one per bucket in the last `live` days, as polling writes them."""
    with open_store(path) as store:
        _register(store, components)
        begin = END // DAY * DAY - (days - 1) * DAY
        load = 0
        closed: dict[int, int] = {}
        for day in range(begin, END, DAY):
            until = min(day + DAY, END)
            step = BUCKET if day >= END - live * DAY else DAY
            store.connection.execute("BEGIN")
            _stage(store, day, until)
            for since in range(day, until, step):
                load += 1
                _append(store, since, min(since + step, until), load)
                _close(store, min(since + step, until), load, closed)
            load += 1
            _correct(store, day - DAY, load, closed)
            store.connection.execute("COMMIT")
        _finish(store, begin, load)


def _register(store: Store, components: int) -> None:
    run = store.connection.execute
    for number, name in enumerate(SOURCES, 1):
        run("INSERT INTO source VALUES (?, 'fake', ?)", [number, name])
    placed: list[tuple[Placed, int]] = []
    run("INSERT INTO layout VALUES (1, ?)", [layout_spec(DURATION, _placed("service-000", "latency"))])
    for n in range(components // 2):
        placed += [(_placed(f"service-{n:03}", signal), 0) for signal in SERVICE]
        placed += [(_placed(f"service-{n:03}", "latency"), 1)] if n < RICH else []
    for n in range(components - components // 2):
        placed += [(_placed(f"model-{n:03}", signal), 0) for signal in MODEL]
        placed += [(_placed(f"model-{n:03}", "outcome"), 0)] if n < RICH else []
        placed += [
            (_placed(f"model-{n:03}", "drift", name), 0) for name in FEATURES[: len(FEATURES) if n < RICH else 1]
        ]
    rows = [{"id": i, "base": i, "layout": layout, **asdict(one)} for i, (one, layout) in enumerate(placed, 1)]
    store.connection.register("arriving", pa.Table.from_pylist(rows))
    run("INSERT INTO series BY NAME SELECT * FROM arriving")
    store.connection.unregister("arriving")


def _placed(component: str, signal: str, name: str = "") -> Placed:
    width = 3600 if signal == "drift" else BUCKET
    return Placed(component, signal, name, "", "", "production", "production", _OF.get(signal, 1), width)


_ROWS = {
    "ratio": """
        SELECT id AS series, ts, 0 AS slice, total - (hash(id, ts, 1) % 500 = 0)::BIGINT AS good, total FROM (
            SELECT id, t.ts, 20 + (hash(id, t.ts) % 100)::BIGINT AS total FROM range($since, $until, 300) t(ts)
            CROSS JOIN series WHERE signal NOT IN ('latency', 'outcome', 'drift'))
        UNION ALL SELECT id, t.ts, 0, (hash(id, t.ts) % 50 > 0)::BIGINT, 1 FROM range($since, $until, 3600) t(ts)
            CROSS JOIN series WHERE signal = 'drift' ORDER BY ts, series""",
    "histogram": """
        SELECT id AS series, t.ts, 0 AS slice, (12 + b.bin)::SMALLINT AS bin,
               1 + (hash(id, t.ts, b.bin) % 9)::BIGINT AS n, (40000 * (b.bin + 1))::HUGEINT AS sum
        FROM range($since, $until, 300) t(ts) CROSS JOIN range(12) b(bin)
        CROSS JOIN series WHERE signal = 'latency' ORDER BY t.ts, series""",
    "confusion": """
        SELECT id AS series, t.ts, 0 AS slice, (b.c // 2)::VARCHAR AS actual, (b.c % 2)::VARCHAR AS predicted,
               CASE WHEN b.c IN (0, 3) THEN 10 + (hash(id, t.ts, b.c) % 40)::BIGINT
               ELSE (hash(id, t.ts, b.c) % 4)::BIGINT END AS n
        FROM range($since, $until, 300) t(ts) CROSS JOIN range(4) b(c)
        CROSS JOIN series WHERE signal = 'outcome' ORDER BY t.ts, series""",
}


def _stage(store: Store, since: int, until: int) -> None:
    for name, sql in _ROWS.items():
        store.connection.execute(f"CREATE OR REPLACE TEMP TABLE made_{name} AS {sql}", {"since": since, "until": until})


def _append(store: Store, since: int, until: int, load: int) -> None:
    """Write each series into its own tier, as a load does."""
    for name in _ROWS:
        for width in (BUCKET, HOUR):
            store.connection.execute(
                f"INSERT INTO {name}{TIERS[width]} SELECT m.*, {load} FROM made_{name} m JOIN series "
                f"ON series.id = m.series WHERE series.width = {width} AND m.ts >= {since} AND m.ts < {until}"
            )
    store.connection.execute("INSERT INTO load VALUES (?, '', 1, ?, 1, 1)", [load, until])


def _close(store: Store, now: int, load: int, closed: dict[int, int]) -> None:
    """Close the coarse tiers as a load does."""
    for tier in COARSE:
        since, until = closed.get(tier, FIRST), (now - LAG) // tier * tier
        if until > since:
            for name in _ROWS:
                store.connection.execute(tables.close(KINDS[name], tier), [load, since, until])
            store.connection.execute("INSERT INTO closed VALUES (?, ?, ?)", [tier, until, load])
            closed[tier] = until


def _correct(store: Store, day: int, load: int, closed: dict[int, int]) -> None:
    """State a share of an earlier day once more: a few more requests, one of them bad."""
    store.connection.execute(
        "CREATE OR REPLACE TEMP TABLE again AS SELECT series, ts, 0 AS slice, sum(total // 10)::BIGINT - 1 AS good, "
        f"sum(total // 10)::BIGINT AS total FROM ratio WHERE ts >= {day} AND ts < {day + DAY} "
        f"AND hash(series, ts, 2) % 100 < {CORRECTED} GROUP BY series, ts"
    )
    store.connection.execute(f"INSERT INTO ratio SELECT *, {load} FROM again")
    for tier, until in closed.items():
        store.connection.execute(tables.correct(KINDS["ratio"], "again", tier), [load, until])
    store.connection.execute("INSERT INTO load VALUES (?, '', 1, ?, 1, 1)", [load, day + 2 * DAY])


def _finish(store: Store, begin: int, load: int) -> None:
    run = store.connection.execute
    for number in range(1, len(SOURCES) + 1):
        gap = begin + number * 7 * 3600
        run("INSERT INTO coverage VALUES ($1, '', '', $2, $3, $4), ($1, '', '', $3 + 1800, $5, $4)",
            [number, begin, gap, load, END])  # fmt: skip
    rows = [(2, "deployment", f"d{n}", 1, 0, ts, ts + 300, ["service-000"], "production", "good", _event(n, ts), load)
            for n, ts in enumerate(range(begin, END, 8 * 3600))]  # fmt: skip
    names = ("source", "kind", "key", "attempt", "revision", "ts", "until", "components", "environment", "outcome",
             "content", "load_id")  # fmt: skip
    store.connection.register("arriving", pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))
    run("INSERT INTO event BY NAME SELECT * FROM arriving")
    store.connection.unregister("arriving")


def _event(n: int, ts: int) -> str:
    return content(Event("deployment", f"d{n}", ts, ended=ts + 300, components=(f"service-{n % 7:03}",),
                         environment="production", version=f"v{n}"))  # fmt: skip
