# ruff: noqa: E501
"""Hand-made answers of the engine for tests of the screen: a small company, and the states a screen must survive."""

from __future__ import annotations

import importlib
import random
import sys
from dataclasses import asdict, dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import orjson

from tandem import explained, lists, saving, shown, times
from tandem.bins import Quantile
from tandem.catalog import built_in
from tandem.delivered import Delivered
from tandem.shown import (
    Band,
    Card,
    Cell,
    Change,
    Compared,
    Detail,
    Distribution,
    FeatureDrift,
    Line,
    Objective,
    Overview,
    Row,
    Served,
    Sources,
    SourceState,
    Window,
)
from tests import screens_compare, screens_lineage, screens_models, screens_retrained
from tests.delivery_screens import delivery_of
from tests.objective_screens import dressed

NOW = 1_795_197_640
"""2026-11-20 18:00:40 UTC."""
PRODUCTS = (
    ("Checkout", "checkout-api", "fraud-score", "v12"),
    ("Recommendations", "reco-api", "two-tower", "v8"),
    ("Search", "search-api", "ranker", "v34"),
    ("Delivery ETA", "eta-api", "eta-gbm", "v17"),
    ("Support", "support-api", "triage-bert", "v5"),
    ("Pricing", "pricing-api", "price-gbm", "v21"),
    ("Media upload", "media-api", "image-guard", "v3"),
    ("Sign-in", "auth-api", "", ""),
)
COLUMNS = {
    "system": (
        ("build_success", "CI"),
        ("availability", "Uptime"),
        ("latency", "Latency"),
        ("request_success", "Errors"),
    ),
    "model": (
        ("outcome", "Accuracy"),
        ("drift", "Data drift"),
        ("valid_rows", "Data quality"),
        ("freshness", "Freshness"),
    ),
}
OF = {
    "build_success": "of 412 builds passed",
    "availability": "of 69 120 checks answered",
    "latency": "of 8.41 M requests under 300 ms",
    "request_success": "of 8.41 M requests succeeded",
    "outcome": "of 46 210 labelled predictions correct",
    "drift": "of 1 680 feature-hours without drift",
    "valid_rows": "of 51 900 rows valid",
    "freshness": "of time fresh",
}
TARGETS = {"build_success": 0.95, "availability": 0.999, "latency": 0.99, "request_success": 0.999}
TARGETS |= {"outcome": 0.94, "drift": 0.98, "valid_rows": 0.99, "freshness": 0.99}
HOSTILE = (
    "<img src=http://evil.test/a.png onerror=alert(1)>",
    "![x](http://evil.test/b.png)",
    "[click](http://evil.test/c)",
    "http://evil.test/d www.evil.test x_www.evil.test me@evil.test",
    "<script>fetch('http://evil.test/e')</script>",
    "</span></a><a href=http://evil.test/f>f</a>",
    '" onmouseover="fetch(\'http://evil.test/g\')" x="',
    "<a href='javascript:alert(1)'>j</a> %{x} $x^2$ :red[r] :material/home:",
    "\u202egnp.exe\u202c \x00\x1b[31m\x07 \u2066iso",
    "a" * 500,
)


@dataclass
class Fake:
    """A context as `tandem.owner.current()` gives it."""

    components: tuple[Any, ...] = ()
    sources: tuple[Any, ...] = ()
    first_done: bool = True
    loads: int = 12
    timezone: str = "UTC"
    trouble: str = ""
    present: int = NOW
    pulled: list[tuple[str, ...]] = field(default_factory=list)
    moments: tuple[Any, ...] = ()
    reviews: tuple[Any, ...] = ()
    kept: list[Any] = field(default_factory=list)
    store: Any = field(default_factory=lambda: SimpleNamespace(identity="0" * 12))

    @property
    def config(self) -> Any:
        return SimpleNamespace(components=self.components, sources=self.sources, timezone=self.timezone, objectives=(),
                               signals=built_in())  # fmt: skip

    def version(self) -> int:
        return self.loads

    def now(self) -> int:
        return self.present

    def sync(self, names: tuple[str, ...]) -> None:
        self.pulled.append(names)


def components(products: tuple[tuple[str, str, str, str], ...] = PRODUCTS) -> tuple[Any, ...]:
    made = []
    for product, service, model, _ in products:
        made.append(SimpleNamespace(name=service, kind="service", product=product, environment="", depends_on=()))
        if model:
            made.append(SimpleNamespace(name=model, kind="model", product=product, environment="", depends_on=()))
    return tuple(made)


def source(environment: str) -> Any:
    return SimpleNamespace(common=SimpleNamespace(environment=environment, map=()))


def context(**more: Any) -> Fake:
    given = {"components": components(), "sources": (source("production"), source("staging"))}
    return Fake(**(given | more))


def series(seed: int, length: int, level: float, noise: float, fall: float = 0.0, at: float = 0.8) -> tuple[float, ...]:
    dice = random.Random(seed)
    values = []
    for i in range(length):
        dropped = fall * min(max((i / length - at) / 0.07, 0), 1)
        values.append(min(level - dropped + dice.gauss(0, noise), 1.0))
    return tuple(values)


def cell(component: str, signal: str, side: str, state: str, value: float, text: str, left: float, seed: int) -> Cell:
    target = TARGETS[signal]
    title = dict(COLUMNS["system"] + COLUMNS["model"])[signal]
    total = 10_000
    objective = Objective(signal, target, "28d", 0.3 if signal == "latency" else None, left, None,
                          {"5m": 0.2, "1h": 1.4, "6h": max(1 - left, 0.1), "3d": 0.9}, int(value * total), total)  # fmt: skip
    fall = max(target - value, 0) * 1.6 if state in ("breached", "at risk") else 0.0
    spark = series(seed, 96, value if fall == 0 else target + (1 - target) * 0.5, (1 - target) * 0.25, fall)
    measure = {"latency": "p95", "outcome": "accuracy", "drift": "drifted"}.get(signal, "share")
    return Cell(component, signal, title, side, state, "", value, text, measure, OF[signal], "ratio",
                int(value * total), total, 1.0, "prod", objective, spark, target)  # fmt: skip


STATES = {
    ("checkout-api", "build_success"): ("at risk", 0.941),
    ("checkout-api", "latency"): ("at risk", 0.982),
    ("checkout-api", "request_success"): ("breached", 0.9916),
    ("search-api", "build_success"): ("breached", 0.88),
    ("eta-api", "availability"): ("at risk", 0.9991),
    ("fraud-score", "outcome"): ("breached", 0.912),
    ("fraud-score", "drift"): ("breached", 0.95),
    ("fraud-score", "valid_rows"): ("at risk", 0.978),
    ("two-tower", "outcome"): ("at risk", 0.936),
    ("eta-gbm", "valid_rows"): ("breached", 0.94),
}


def unknown(shown: Cell, reason: str) -> Cell:
    objective = replace(shown.objective, budget_left=None, burn={}, good=0, total=0)
    return replace(shown, state="unknown", reason=reason, value=None, text="–", good=None, total=None,
                   objective=objective, spark=(None,) * 96, coverage=None)  # fmt: skip


def cells_of(component: str, side: str) -> dict[str, Cell]:
    found = {}
    for i, (signal, _) in enumerate(COLUMNS[side]):
        state, value = STATES.get(
            (component, signal), ("ok", min(TARGETS[signal] + (1 - TARGETS[signal]) * 0.7, 0.9999))
        )
        left = {"ok": 0.62, "at risk": 0.06, "breached": -0.41}[state]
        shown = {"latency": "312 ms" if state != "ok" else "88 ms"}.get(signal, f"{value * 100:.2f} %")
        found[signal] = cell(component, signal, side, state, value, shown, left, i + len(component))
    if component == "triage-bert":
        found["outcome"] = unknown(found["outcome"], "no labels yet")
    return found


def worst(cells: list[Cell]) -> str:
    return next((state for state in shown.STATES if any(c.state == state for c in cells)), "unknown")


def rows() -> tuple[Row, ...]:
    made = []
    for product, service, model, version in PRODUCTS:
        system, models = cells_of(service, "system"), cells_of(model, "model") if model else {}
        made.append(Row(product, worst([*system.values(), *models.values()]), service, system, model, version, models))
    return tuple(sorted(made, key=lambda row: shown.STATES.index(row.state)))


def cards(side: str) -> tuple[Card, ...]:
    name = "checkout-api" if side == "system" else "fraud-score"
    return tuple(Card(one, 8 if side == "system" else 7, one.state != "ok") for one in cells_of(name, side).values())


def changes(window: Window) -> tuple[Change, ...]:
    def at(part: float) -> int:
        return int(window.since + part * (window.until - window.since))

    given = (
        ("Build", "build", 0.12, "bad", "#2201", ("pricing-api",), ""),
        ("Build", "build", 0.15, "good", "#2202", ("pricing-api",), ""),
        ("Deploy", "deployment", 0.22, "good", "pricing-api 2.9.1", ("pricing-api",), "2.9.1"),
        ("Drift", "drift", 0.295, "bad", "two-tower session_len drifts, 0.18", ("two-tower",), ""),
        ("Deploy", "deployment", 0.37, "good", "search-api 5.2.0", ("search-api",), "5.2.0"),
        ("Model", "promotion", 0.475, "good", "ranker v34", ("ranker",), "v34"),
        ("Build", "build", 0.66, "bad", "#2208 · 6 min 2 s", ("checkout-api",), ""),
        ("Deploy", "deployment", 0.735, "good", "eta-api 1.14.3", ("eta-api",), "1.14.3"),
        ("Model", "promotion", 0.82, "good", "fraud-score v12", ("fraud-score",), "v12"),
        ("Deploy", "deployment", 0.822, "good", "checkout-api 4.18.0", ("checkout-api",), "4.18.0"),
        ("Drift", "drift", 0.858, "bad", "fraud-score card_country drifts, 0.31", ("fraud-score",), ""),
        ("Incident", "incident", 0.89, "open", "INC-482 declined payments", ("checkout-api",), ""),
        ("Deploy", "deployment", 0.95, "good", "checkout-api 4.18.1", ("checkout-api",), "4.18.1"),
    )  # fmt: skip
    return tuple(
        Change(
            lane,
            kind,
            at(x),
            None,
            at(0.962) if lane == "Incident" else None,
            title,
            names,
            outcome,
            version,
            "prod",
            "",
            f"k{i}",
        )
        for i, (lane, kind, x, outcome, title, names, version) in enumerate(given)
    )


def lines(length: int = 288) -> tuple[Line, ...]:
    soft = tuple(i > length * 0.93 for i in range(length))
    return (
        Line("Good requests", "system", 0.999, series(1, length, 0.9993, 0.00008, 0.006, 0.85)),
        Line("Correct predictions", "model", 0.94, series(2, length, 0.946, 0.0015, 0.03, 0.82), soft),
    )


def overview(window: Window, now: int = NOW) -> Overview:
    length = (window.until - window.since) // 300
    step = 300 * max(-(-length // 600), 1)
    return Overview(
        window, 12, step, now, now - 40, ("evidently",), 8, 7, {"system": 3, "model": 3},
        {"system": cards("system"), "model": cards("model")}, COLUMNS, rows(),
        lines((window.until - window.since) // step), changes(window),
    )  # fmt: skip


ATTAINED = (
    ("met",) * 50
    + ("missed", "met", "missed", "far", "far", "missed")
    + ("met",) * 8
    + ("quiet",) * 4
    + ("unseen",) * 4
)


def listed(product: str, name: str, kind: str, version: str, window: Window) -> lists.Listed:
    """A row of a list, from the cells of a component."""
    side = "system" if kind == "service" else "model"
    cells = cells_of(name, side)
    state = worst(list(cells.values()))
    shown_cell = next(one for one in cells.values() if one.state == state)
    signal = "latency" if kind == "service" else "outcome"
    one = cells[signal]
    points = series(len(name), 30, 0.2, 0.02) if kind == "service" else series(len(name), 30, 0.95, 0.01)
    trend = None
    if one.total:
        trend = lists.Trend(signal, one.objective.name, "p95" if kind == "service" else "value",
                            "p95" if kind == "service" else "accuracy", one.text, points, 0.3 if kind == "service" else 0.94)  # fmt: skip
    strip = ATTAINED if state in ("breached", "at risk") else ("unseen",) * 72 if state == "unknown" else ("met",) * 72
    found = [c for c in changes(window) if name in c.components and c.kind in ("deployment", "promotion")]
    return lists.Listed(name, kind, product, version, state, shown_cell, 4, sum(c.state in ("breached", "at risk") for c in cells.values()),
                        strip, trend, found[-1] if found else None)  # fmt: skip


def components_list(window: Window, kind: str, now: int = NOW, products: Any = PRODUCTS) -> lists.Lists:
    rows = [listed(product, service if kind == "service" else model, kind, "" if kind == "service" else version, window)
            for product, service, model, version in products if kind == "service" or model]  # fmt: skip
    rows.sort(key=lambda row: shown.STATES.index(row.state))
    return lists.Lists(window, 12, now, now - 40, 1200, tuple(rows), lists.counts(rows), ("evidently",))


def list_of(kind: str, window: Window, now: int, which: str) -> lists.Lists:
    """The list that a kind of engine answers."""
    full = components_list(window, which, now)
    if kind == "empty":
        return replace(full, rows=(), counts=lists.counts(()), newest=None, late=())
    if kind == "silent":
        reasons = ("no traffic: nothing happened in this window", "not measured: no source has seen this window",
                   "stale: the source is later than its declared interval", "no labels yet: predictions are waiting",
                   "not enough evidence: 3 seen")  # fmt: skip
        rows = [replace(row, state="unknown", trend=None, change=None, troubled=0, strip=("unseen",) * 72,
                        cell=unknown(row.cell, reasons[i % 5])) for i, row in enumerate(full.rows)]  # fmt: skip
        rows[-1] = replace(rows[-1], cell=None, objectives=0)
        return replace(full, rows=tuple(rows), counts=lists.counts(rows))
    if kind == "crowd":
        rows = [
            replace(full.rows[i % len(full.rows)], component=f"{full.rows[i % len(full.rows)].component}-{i:03}")
            for i in range(200)
        ]
        rows.sort(key=lambda row: shown.STATES.index(row.state))
        return replace(full, rows=tuple(rows), counts=lists.counts(rows))
    if kind == "hostile":
        rows = [replace(row, component=bad, product=bad, version=bad, cell=replace(row.cell, component=bad, title=bad, text=bad, reason=bad),
                        trend=row.trend and replace(row.trend, text=bad, title=bad),
                        change=replace(changes(window)[0], title=bad, kind=bad))
                for row, bad in zip(full.rows * 2, HOSTILE, strict=False)]  # fmt: skip
        return replace(full, rows=tuple(rows), counts=lists.counts(rows), late=HOSTILE)
    return full


def empty(window: Window, now: int = NOW) -> Overview:
    return Overview(window, 0, 300, now, None, (), 0, 0, {"system": 0, "model": 0}, {"system": (), "model": ()},
                    COLUMNS, (), (), ())  # fmt: skip


def silent(window: Window, now: int = NOW) -> Overview:
    """Everything unknown."""
    full = overview(window, now)

    def quiet(cells: Any) -> dict[str, Cell]:
        return {name: unknown(one, "no traffic") for name, one in cells.items()}

    still = tuple(
        replace(row, state="unknown", system=quiet(row.system), models=quiet(row.models)) for row in full.rows
    )
    hushed = {
        side: tuple(replace(card, cell=unknown(card.cell, "not measured"), attention=0) for card in found)
        for side, found in full.cards.items()
    }
    nothing = tuple(replace(line, points=(None,) * len(line.points), immature=()) for line in full.lines)
    return replace(full, rows=still, cards=hushed, lines=nothing, changes=(), attention={"system": 0, "model": 0})


def single(window: Window, now: int = NOW) -> Overview:
    """One single point."""
    full = overview(window, now)
    one = tuple(
        replace(line, points=(*line.points[:1], *((None,) * (len(line.points) - 1))), immature=())
        for line in full.lines
    )
    return replace(full, lines=one)


def crowd(window: Window, now: int = NOW) -> Overview:
    """200 services."""
    full = overview(window, now)
    many = tuple(replace(full.rows[i % 8], product=f"{full.rows[i % 8].product} {i}") for i in range(200))
    return replace(full, rows=many, services=200, changes=full.changes * 30, truncated=812)


def hostile(window: Window, now: int = NOW) -> Overview:
    full = overview(window, now)
    made = tuple(
        replace(row, product=bad, service=bad, model=bad, version=bad,
                system={k: replace(c, component=bad, of=bad, text=bad, measure=bad) for k, c in row.system.items()},
                models={k: unknown(replace(c, component=bad), bad) for k, c in row.models.items()})
        for row, bad in zip(full.rows * 2, HOSTILE, strict=False)
    )  # fmt: skip
    listed = tuple(
        replace(c, title=bad, version=bad, components=(bad,), outcome=c.outcome, url=bad)
        for c, bad in zip(full.changes, HOSTILE, strict=False)
    )
    named = tuple(replace(line, title=bad) for line, bad in zip(full.lines, HOSTILE, strict=False))
    hung = {
        side: tuple(
            replace(card, cell=replace(card.cell, title=bad, of=bad, component=bad, reason=bad))
            for card, bad in zip(found, HOSTILE, strict=False)
        )
        for side, found in full.cards.items()
    }
    return replace(full, rows=made, changes=listed, lines=named, cards=hung, late=HOSTILE)


def sources(window: Window, now: int = NOW) -> Sources:
    full = (1.0,) * 96

    def made(name: str, connector: str, scope: str, side: str, state: str, age: int | None, **more: Any) -> SourceState:
        base: dict[str, Any] = {
            "newest": None if age is None else now - age, "last_pull": None if age is None else now - 70, "last_error": "",
            "summary": "214 runs", "next_step": "", "every": 300, "coverage": 1.0, "strip": full, "rejects": (),
            "remarks": (), "unmatched": (), "paste": "",
        }  # fmt: skip
        return SourceState(name, connector, scope, side, state, **(base | more))

    return Sources(window, now, 900, 12, (
        made("checkout-ci", "github", "acme/checkout", "system", "up to date", 40),
        made("prod", "prometheus", "http://prometheus.prod:9090", "system", "up to date", 25, coverage=0.994,
             summary="1.2 M samples, 8 640 buckets", strip=(*full[:22], 0.5, *full[23:])),
        made("registry", "mlflow", "registry.prod", "model", "up to date", 130, summary="41 versions"),
        made("fraud-log", "predictions", "exports/fraud/*.parquet", "model", "late", 7560, coverage=0.9,
             summary="3 files, 51 900 rows", next_step="Expected every 30 min. Numbers from it are marked as old.",
             strip=(*full[:40], 0.0, 0.0, *full[42:88], *((0.0,) * 8)),
             rejects=(("time without an offset", "fraud-17.csv row 12", 3),),
             remarks=(("repeated id", "fraud-18.csv", 12),)),
        made("legacy-ci", "jenkins", "ci.internal", "system", "failing", 23040, coverage=0.6,
             last_error="401 from /api/json: the token was refused.", strip=(*full[:60], *((0.0,) * 36)),
             next_step="Put a valid token into JENKINS_TOKEN. Data to 11:36 UTC is kept; nothing was dropped."),
        made("traces", "otel", "collector", "both", "up to date", 60, unmatched=(("service.name=cart", 810),),
             paste='[[source.map]]\ncomponent = "cart"\nmatch = { "service.name" = "cart" }\n'),
        made("features", "feast", "offline exports", "model", "never run", None, coverage=None, summary="",
             next_step="Add a path to an export, or remove this source.", strip=(None,) * 96),
    ))  # fmt: skip


def hostile_sources(window: Window, now: int = NOW) -> Sources:
    made = tuple(
        replace(one, name=bad, connector=bad, scope=bad, last_error=bad, next_step=bad, paste=bad,
                rejects=((bad, bad, 1),), remarks=((bad, bad, 2),), unmatched=((bad, 3),))
        for one, bad in zip(sources(window, now).sources * 2, HOSTILE, strict=False)
    )  # fmt: skip
    return replace(sources(window, now), sources=made)


def band(length: int) -> Band:
    edges = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    base = (30, 110, 400, 250, 80, 30, 12, 4)
    counts, quantiles = [], {"p50": [], "p95": [], "p99": []}
    dice = random.Random(3)
    for i in range(length):
        slow = max((i / length - 0.8) * 5, 0)
        counts.append(
            tuple(
                int(n * (1 + slow * (j - 3) * 0.5 if j > 2 else 1) * dice.uniform(0.9, 1.1)) + 1
                for j, n in enumerate(base)
            )
        )
        for name, level in (("p50", 0.082), ("p95", 0.18), ("p99", 0.27)):
            quantiles[name].append(level * (1 + slow * 0.8) * dice.uniform(0.96, 1.04))
    return Band(300, edges, tuple(counts), {name: tuple(values) for name, values in quantiles.items()})


FEATURES = (
    "card_country",
    "amount_usd",
    "device_age_days",
    "ip_distance_km",
    "hour_of_day",
    "n_cards_30d",
    "email_domain",
)


def features(length: int = 24) -> tuple[FeatureDrift, ...]:
    dice = random.Random(5)
    made = []
    for i, name in enumerate(FEATURES):
        drifted = i in (0, 3)
        daily = [
            dice.uniform(0.01, 0.06) + (0.25 / (i + 1) if drifted and j > length * 0.8 else 0) for j in range(length)
        ]
        found: list[float | None] = list(daily)
        if i == 5:
            found[8:10] = [None, None]
        made.append(FeatureDrift(name, "category" if i == 0 else "number", 100_000, 46_000, 0.31 / (i + 1), 0.21 / (i + 1),
                                 None, None if i == 0 else 0.3 / (i + 1), 0.012, "drift" if drifted else "no drift",
                                 "strong" if i == 0 else "", tuple(found)))  # fmt: skip
    return tuple(made)


def distribution(feature: str = "card_country") -> Distribution:
    return Distribution(feature, "category", ("US", "GB", "DE", "FR", "IN", "BR", "NG", "other"),
                        (0.41, 0.17, 0.11, 0.08, 0.06, 0.05, 0.01, 0.11), (0.33, 0.14, 0.09, 0.06, 0.14, 0.06, 0.09, 0.09),
                        100_000, 46_000, 12, 340)  # fmt: skip


def versions(newest: str) -> tuple[dict[str, Any], ...]:
    made = [("v11", "2026-10-02T09:00:00Z", ["previous"]), (newest, "2026-11-18T10:00:00Z", ["champion", "canary"])]
    return tuple({"version": name, "created": when, "run": "r-" + name, "commit": "0eb58041", "data_version": "d7",
                  "aliases": aliases} for name, when, aliases in made)  # fmt: skip


def samples(now: int) -> tuple[dict[str, Any], ...]:
    return tuple({"name": name, "value": value, "step": 3, "ts": f"2026-11-20T1{i}:00:00Z", "run": "r-v12", "version": "v12",
                  "source": "registry", "stage": stage}
                 for i, (name, value, stage) in enumerate((("accuracy", 0.946, "evaluation"), ("loss", 0.21, "training"))))  # fmt: skip


def detail(name: str, window: Window, now: int = NOW) -> Detail:
    found = next((p for p in PRODUCTS if name in p[1:3]), ("", name, "", ""))
    kind = "model" if name == found[2] else "service"
    length = (window.until - window.since) // 300
    cells = tuple(cells_of(name, "system" if kind == "service" else "model").values())
    partner = tuple(n for n in found[1:3] if n and n != name)
    mine = tuple(c for c in changes(window) if set(c.components) & {name, *partner})
    segments = (
        ("", 42_144, 46_210, (0.909, 0.915)), ("country=DE", 8_812, 9_300, (0.943, 0.952)),
        ("country=IN", 3_204, 4_010, (0.786, 0.811)), ("channel=web", 20_111, 22_000, (0.91, 0.918)),
        ("country=NG", 61, 74, (0.72, 0.89)),
    )  # fmt: skip
    return dressed(Detail(
        component=name, kind=kind, product=found[0], state=worst(list(cells)), window=window, as_of=12, step=300, now=now,
        newest=now - 40, cells=cells, latency=band(length) if kind == "service" else None,
        lines=(*((Line("Uptime", "system", 0.999, series(4, length, 0.9996, 0.0002, 0.003, 0.9), step=300),) if kind == "service" else ()), *(replace(line, title="Errors" if line.side == "system" else "Accuracy", step=300) for line in lines(length) if (line.side == "system") == (kind == "service"))), partners=partner,
        changes=mine, features=features() if kind == "model" else (),
        confusion={("genuine", "genuine"): 21_204, ("genuine", "fraud"): 1_340, ("fraud", "genuine"): 2_726,
                   ("fraud", "fraud"): 20_940} if kind == "model" else {},
        segments=segments if kind == "model" else (),
        quality={"accuracy": 0.912, "precision": 0.94, "recall": 0.885, "f1": 0.911, "mcc": 0.824, "roc_auc": {"value": 0.971, "bound": 0.0004},
                 "label_coverage": 0.89, "labels": 46_210, "predictions": 51_900} if kind == "model" else None,
        versions=versions(found[3]) if kind == "model" else (), samples=samples(now) if kind == "model" else (),
        distribution=distribution() if kind == "model" else None,
        served=(Served("v11", window.since, window.since + length * 240), Served(found[3], window.since + length * 240, window.until)) if kind == "model" else (),
        model=screens_models.modelled(name, window, now) if kind == "model" else None,
        whose=screens_models.whose(window) if kind == "model" else None,
    ))  # fmt: skip


def hostile_detail(name: str, window: Window, now: int = NOW) -> Detail:
    full = detail("fraud-score", window, now)
    return replace(
        full, product=HOSTILE[0], partners=HOSTILE, latency=band(12),
        cells=tuple(replace(c, title=b, of=b, text=b) for c, b in zip(full.cells, (HOSTILE[1], *HOSTILE[2:]), strict=False)),
        lines=tuple(replace(line, title=HOSTILE[1]) for line in full.lines),
        changes=tuple(replace(full.changes[0], title=b, version=b, kind="promotion", lane="Model") for b in HOSTILE),
        features=tuple(replace(f, feature=b, type=b, verdict=b, severity=b) for f, b in zip(full.features, HOSTILE, strict=False)),
        confusion={(a, b): 3 for a in HOSTILE[:4] for b in HOSTILE[:4]},
        segments=tuple((b, 1, 2, (0.1, 0.9)) for b in HOSTILE), distribution=Distribution(HOSTILE[0], HOSTILE[1], HOSTILE, (0.1,) * len(HOSTILE), (0.1,) * len(HOSTILE), 10, 10),
        served=tuple(Served(b, window.since + i * 300, window.since + i * 300 + 300) for i, b in enumerate(HOSTILE)),
        model=screens_models.hostile(HOSTILE, window, now), whose=screens_models.hostile_whose(HOSTILE, window), mixed={HOSTILE[0]: tuple(replace(one, column=b, verdict=b, segments=tuple(replace(part, segment=b) for part in one.segments)) for b in HOSTILE for one in screens_models.mixed()["outcome"])},
        versions=tuple({"version": b, "created": f"2026-11-{i + 1:02d}T00:00:00Z", "run": b, "commit": b, "data_version": b, "aliases": [b]} for i, b in enumerate(HOSTILE)),
        samples=tuple({"name": b, "value": 1.0, "step": 1, "ts": "2026-11-20T10:00:00Z", "run": b, "version": b, "source": b, "stage": "training"} for b in HOSTILE),
    )  # fmt: skip


def thin_detail(name: str, window: Window, now: int = NOW) -> Detail:
    """A component of which nothing is known."""
    full = detail(name, window, now)
    return replace(full, state="unknown", cells=(), latency=None, lines=(), partners=(), changes=(), features=(),
                   confusion={}, segments=(), quality=None, versions=(), samples=(), distribution=None, served=(),
                   newest=None, model=screens_models.nothing() if full.model else None)  # fmt: skip


def then(shown: Cell) -> Cell:
    """A cell that was half a point better before; one that is unknown was not there."""
    if shown.value is None:
        return replace(shown, compared=Compared(None, None, "", None, "share"))
    unit, change = ("s", 0.024) if shown.signal == "latency" else ("share", -0.005)
    text = shown.text if shown.text in HOSTILE else f"{shown.value * 100 + 0.5:.2f} %"
    before = tuple(None if value is None else value + 0.001 for value in shown.spark)
    return replace(shown, compared=Compared(shown.value + 0.005, shown.total, text, change, unit, before))


def against(found: Any, window: Window) -> Any:
    """An answer with what was in another window."""
    if isinstance(found, Detail):
        mixed = screens_models.mixed() if found.model and found.model.measures and not found.mixed else found.mixed
        return replace(found, compared=window, cells=tuple(then(one) for one in found.cells), mixed=mixed)
    cards = {side: tuple(replace(card, cell=then(card.cell)) for card in some) for side, some in found.cards.items()}
    rows = tuple(
        replace(
            row, system={k: then(c) for k, c in row.system.items()}, models={k: then(c) for k, c in row.models.items()}
        )
        for row in found.rows
    )
    return replace(found, compared=window, cards=cards, rows=rows)


ENGINES = {
    "full": (overview, sources, detail),
    "empty": (empty, lambda w, now: replace(sources(w, now), sources=()), thin_detail),
    "silent": (silent, sources, thin_detail),
    "single": (single, sources, detail),
    "crowd": (crowd, sources, detail),
    "hostile": (hostile, hostile_sources, hostile_detail),
}


class Engine:
    """Stands in for the functions of tandem.report; `asked` is what pages asked for."""

    def __init__(self, kind: str = "full", broken: BaseException | None = None, ended: int | None = None) -> None:
        self.kind, self.broken, self.ended = kind, broken, ended
        self.asked: list[dict[str, Any]] = []
        self.traced: list[dict[str, Any]] = []

    def _answer(self, which: int, now: int, *args: Any, **asked: Any) -> Any:
        self.asked.append({"which": ("overview", "sources", "detail")[which], "args": args, **asked})
        if self.broken:
            raise self.broken
        found = ENGINES[self.kind][which](*args, now)
        if asked.get("feature") in FEATURES and which == 2:
            found = replace(found, distribution=distribution(asked["feature"]))
        if asked.get("compare"):
            found = against(found, asked["compare"])
        return replace(found, newest=self.ended) if self.ended is not None and which != 1 else found

    def overview(self, context: Any, window: Window, *, now: int, **asked: Any) -> Overview:
        return self._answer(0, now, window, **asked)

    def lists(self, context: Any, window: Window, kind: str, *, now: int, **asked: Any) -> lists.Lists:
        self.asked.append({"which": "lists", "args": (window, kind), **asked})
        if self.broken:
            raise self.broken
        found = list_of(self.kind, window, now, kind)
        if asked.get("compare"):
            found = replace(found, rows=tuple(replace(row, cell=row.cell and then(row.cell)) for row in found.rows))
        return replace(found, newest=self.ended) if self.ended is not None else found

    def environments(self, context: Any) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.common.environment for one in context.sources)) or ("production",)

    def sources(self, context: Any, window: Window, *, now: int, **asked: Any) -> Sources:
        return self._answer(1, now, window, **asked)

    def detail(self, context: Any, component: str, window: Window, *, now: int, **asked: Any) -> Detail:
        return self._answer(2, now, component, window, **asked)

    def retrained(self, context: Any, component: str, window: Window, *, now: int, **asked: Any) -> Any:
        if self.broken:
            raise self.broken
        return screens_retrained.answer(self.kind, component, now, HOSTILE)

    def lineage(self, context: Any, component: str, window: Window, *, now: int, **asked: Any) -> Any:
        self.traced.append(asked)
        if self.broken:
            raise self.broken
        return screens_lineage.answer(self.kind, component, window, now, HOSTILE, **asked)

    def compare(self, context: Any, window: Window, other: Any, *, now: int, **asked: Any) -> Any:
        self.asked.append({"which": "compare", "args": (window, other), **asked})
        if self.broken:
            raise self.broken
        found = screens_compare.comparison(window, other, now, **asked)
        if self.kind in ("hostile", "empty"):
            found = screens_compare.hostile(found, HOSTILE) if self.kind == "hostile" else screens_compare.empty(found)
        return replace(found, newest=self.ended) if self.ended is not None else found

    def figures(self, context: Any, window: Window, *, now: int, **asked: Any) -> tuple[saving.Figure, ...]:
        self.asked.append({"which": "figures", "args": (window,), **asked})
        if self.broken:
            raise self.broken
        return tuple(
            saving.Figure(cell.component, cell.signal, cell.objective.name if cell.objective else "", cell.title,
                          cell.good, cell.total, cell.text, cell.state, None)
            for cell in cells_of("checkout-api", "system").values()
        )  # fmt: skip

    def since(self, context: Any, window: Window, *, now: int, **asked: Any) -> saving.Since:
        self.asked.append({"which": "since", "args": (window,), **asked})
        if self.broken:
            raise self.broken
        return saving.Since(())

    def delivery(self, context: Any, window: Window, *, now: int, **asked: Any) -> Delivered:
        self.asked.append({"which": "delivery", "args": (window,), **asked})
        if self.broken:
            raise self.broken
        found = delivery_of(self.kind, context.config.components, window, now, **asked)
        return replace(found, newest=self.ended) if self.ended is not None else found


def _module(name: str) -> Any:
    """The module of the core, or an empty one in its place where it is not written yet."""
    import tandem

    try:
        return importlib.import_module(f"tandem.{name}")
    except ModuleNotFoundError:
        made = sys.modules[f"tandem.{name}"] = ModuleType(f"tandem.{name}")
        setattr(tandem, name, made)
        return made


def answered(context: Any, method: str, path: str, params: Any, headers: Any) -> tuple[int, str, bytes]:
    """What the API says: why a number is what it is, and nothing else."""
    if path != "/api/v1/explain":
        return 200, "application/json", b"{}\n"
    given = {name: values[0] for name, values in params.items()}
    ends = [times.parse(given[name], NOW) for name in ("from", "to")]
    question = explained.Question(Window(*ends), int(given["as_of"]), given["environment"])
    component, signal = given.get("component", "checkout-api"), given.get("signal", "")
    if "measure" in given:
        found = detail(component, question.window)
        why = explained.of_quality(found.quality or {}, found.confusion, "fraud", given["measure"], component, question)
        return 200, "application/json", orjson.dumps(asdict(why))
    if signal not in OF:
        return 404, "application/json", b'{"error": "there is no such signal."}\n'
    found = cells_of(component, "system" if signal in TARGETS and signal in dict(COLUMNS["system"]) else "model")[
        signal
    ]
    other = explained.Witness("blackbox", 9_990, 10_000, 0.999, 0.999 - (found.value or 0))
    facts = explained.Facts(found, built_in()[signal], {"1h": (90, 100), "6h": (900, 1000)},
                            {"p95": Quantile(0.312, 0.3, 0.5)}, (other,), NOW - 40)  # fmt: skip
    said = explained.of_cell(facts, given.get("number", "value"), question)
    return 200, "application/json", orjson.dumps(asdict(said))


def install(fake: Fake, engine: Engine, put: Any = setattr) -> None:
    """Put a context and an engine where the dashboard looks for them; `put` may be monkeypatch.setattr."""
    owner, api, report = _module("owner"), _module("api"), _module("report")
    more = {} if put is setattr else {"raising": False}
    for name in ("overview", "sources", "detail", "delivery", "lists", "compare", "environments", "since", "figures",
                 "retrained", "lineage"):  # fmt: skip
        put(report, name, getattr(engine, name), **more)
    kept = _module("reviews")
    put(kept, "moments", lambda store, since=0, until=1 << 40: [
        one for one in fake.moments if one.since < until and one.until > since], **more)  # fmt: skip
    put(kept, "reviews", lambda store: list(fake.reviews), **more)
    put(kept, "review", lambda store, name: next((one for one in fake.reviews if one.id == name), None), **more)
    put(kept, "put", lambda store, one: fake.kept.append(kept.checked(one)), **more)
    put(owner, "current", lambda: fake, **more)
    put(api, "answer", answered, **more)
