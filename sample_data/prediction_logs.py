"""The prediction logs of four models, a Parquet file a week, and the labels as they came in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from sample_data.packing import parquet
from sample_data.story import (
    CANARY,
    CONCEPT_DRIFT,
    DAY,
    DAYS,
    END,
    FEATURE_SHIFT,
    MISSING_VALUES,
    PROMOTION,
    START,
    random_of,
    serving,
    stamp,
)

PER_DAY = 645
WEEK = 7 * DAY
COUNTRIES = np.array(["DE", "FR", "BR", "GB", "US", "IN"])
COUNTRY_SHARES = (0.22, 0.18, 0.24, 0.14, 0.12, 0.10)
INTENTS = np.array(["product", "category", "brand", "help", "order"])
INTENT_SHARES = (0.38, 0.22, 0.18, 0.12, 0.10)
BATCHES = {"click-model": 1800}
IN_A_TABLE = "click-model"
"""The model whose log is a Delta table."""
Columns = dict[str, np.ndarray]


def write(folder: Path) -> None:
    """predictions/<model>/<monday>.parquet, one as a Delta table, and labels/<model>/<monday>.parquet."""
    for model in LOGS:
        log, label, delay = _made(model)
        ids, ts = log["prediction_id"], log["ts"]
        if model == IN_A_TABLE:
            table(folder / "predictions" / model, log)
        else:
            _weekly(folder / "predictions" / model, log, ts // 1_000_000)
        known = delay >= 0
        arrived = ts[known] // 1_000_000 + delay[known]
        order = np.lexsort((ids[known], arrived))
        order = order[arrived[order] < END]
        labels = {"prediction_id": ids[known][order], "label": label[known][order]}
        labels["labelled_at"] = arrived[order] * 1_000_000
        _weekly(folder / "labels" / model, labels, arrived[order])


def logged(model: str) -> Columns:
    """The predictions of a model as they were logged: times are microseconds."""
    return _made(model)[0]


def _made(model: str) -> tuple[Columns, np.ndarray, np.ndarray]:
    """(predictions, their true labels, seconds until each label came or -1)."""
    prefix, make = LOGS[model]
    random = random_of("predictions", model)
    ts = _times(random, BATCHES.get(model, 0))
    columns, label, delay = make(random, ts)
    ids = np.array([f"{prefix}-{number:06d}" for number in range(1, len(ts) + 1)])
    return {"prediction_id": ids, "ts": ts, **columns}, label, delay


def table(folder: Path, log: Columns) -> None:
    """A Delta table, partitioned by week: a commit each Monday adds what was predicted in the week before."""
    seconds = log["ts"] // 1_000_000
    weeks = (seconds - START) // WEEK
    arrays = {name: _arrow(name, values) for name, values in log.items()}
    for number, week in enumerate(np.unique(weeks)):
        begin = START + int(week) * WEEK
        day, made = stamp(begin)[:10], (begin + WEEK + 900) * 1000
        part = pa.table(arrays).filter(pa.array(weeks == week))
        path = f"week={day}/part-00000-{number:08x}-5e1f-4a7c-9d02-c0ffee{number:06x}-c000.zstd.parquet"
        parquet(folder / path, part)
        first = [] if number else [
            {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
            {"metaData": {"id": "5b8f0c7e-2d4a-4c1b-8e3f-90a1b2c3d4e5", "name": None, "description": None,
                          "format": {"provider": "parquet", "options": {}}, "schemaString": _schema(part.schema),
                          "partitionColumns": ["week"], "createdTime": made, "configuration": {}}},
        ]  # fmt: skip
        added = {"path": path, "partitionValues": {"week": day}, "size": (folder / path).stat().st_size,
                 "modificationTime": made, "dataChange": True, "stats": json.dumps({"numRecords": part.num_rows}),
                 "tags": None}  # fmt: skip
        said = {"timestamp": made, "operation": "WRITE",
                "operationParameters": {"mode": "Append", "partitionBy": '["week"]'}}  # fmt: skip
        lines = [{"commitInfo": said}, *first, {"add": added}]
        commit = folder / "_delta_log" / f"{number:020d}.json"
        commit.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
        commit.write_text(text + "\n", encoding="utf-8", newline="\n")


def _schema(schema: pa.Schema) -> str:
    kinds = {"string": "string", "double": "double", "int64": "long", "timestamp[us, tz=UTC]": "timestamp"}
    fields = [{"name": one.name, "type": kinds[str(one.type)], "nullable": True, "metadata": {}} for one in schema]
    fields.append({"name": "week", "type": "string", "nullable": True, "metadata": {}})
    return json.dumps({"type": "struct", "fields": fields}, separators=(",", ":"))


def _weekly(folder: Path, columns: Columns, seconds: np.ndarray) -> None:
    weeks = (seconds - START) // WEEK
    for week in np.unique(weeks):
        chosen = weeks == week
        arrays = {name: _arrow(name, values[chosen]) for name, values in columns.items()}
        parquet(folder / f"{stamp(START + int(week) * WEEK)[:10]}.parquet", pa.table(arrays))


def _arrow(name: str, values: np.ndarray) -> pa.Array:
    if name in ("ts", "labelled_at"):
        return pa.array(values, pa.timestamp("us", tz="UTC"))
    if values.dtype.kind == "f":
        return pa.array(values, mask=np.isnan(values))
    return pa.array(values)


def _times(random: np.random.Generator, batch: int) -> np.ndarray:
    """Microseconds of predictions; with a `batch` they are made together, every so many seconds."""
    found = []
    for day in range(DAYS):
        count = int(PER_DAY * (0.97 if day % 7 >= 5 else 1.0) + 5 * random.standard_normal())
        hour = np.clip(14.5 + 3.4 * random.standard_normal(count), 0, None)
        spread = np.where(random.random(count) < 0.12, 24 * random.random(count), hour % 24)
        seconds = np.sort(np.minimum(spread * 3600, DAY - 1)).astype(np.int64)
        found.append(START + day * DAY + (seconds // batch * batch + 40 if batch else seconds))
    return np.concatenate(found) * 1_000_000


def _pick(random: np.random.Generator, values: list[str] | np.ndarray, shares: tuple[float, ...], n: int) -> np.ndarray:
    edges = np.cumsum(shares)[:-1]
    return np.asarray(values)[np.searchsorted(edges, random.random(n), side="right")]


def _lognormal(
    random: np.random.Generator, median: float, spread: float, n: int, digits: int = 2, shift: float | np.ndarray = 0.0
) -> np.ndarray:
    # The ends are cut at fixed places, so that the first thousand rows show the whole range.
    z = np.clip(random.standard_normal(n) + shift, -2.2, 2.2)
    return np.round(median * np.exp(spread * z), digits)


def _posterior(random: np.random.Generator, truth: np.ndarray, share: float, separation: float) -> np.ndarray:
    """Log odds of a calibrated model whose evidence separates the classes by `separation` standard deviations."""
    side = np.where(truth, 0.5, -0.5) * separation**2
    return side + separation * random.standard_normal(len(truth)) + np.log(share / (1 - share))


def _probability(log_odds: np.ndarray) -> np.ndarray:
    return np.round(1 / (1 + np.exp(-np.clip(log_odds, -12, 12))), 4)


def _fraud(random: np.random.Generator, ts: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
    n, seconds = len(ts), ts // 1_000_000
    truth = random.random(n) < 0.08
    country = _pick(random, COUNTRIES, COUNTRY_SHARES, n)
    version = serving("fraud-detector", seconds)
    canary = (seconds >= CANARY) & (seconds < PROMOTION.start) & (random.random(n) < 0.1)
    version = np.where(canary, 12, version)
    log_odds = _posterior(random, truth, 0.08, 2.75)
    log_odds = np.where((version == 12) & (country == "BR"), log_odds + 5.7, log_odds)
    score = _probability(log_odds)
    columns = {
        "model_version": version.astype(str),
        "country": country,
        "channel": _pick(random, ["web", "app", "phone"], (0.5, 0.42, 0.08), n),
        "amount": _lognormal(random, 48, 0.9, n, shift=np.where(truth, 0.4, 0.0)),
        "age_days": _lognormal(random, 320, 1.1, n, 0, np.where(truth, -0.6, 0.0)),
        "items": 1 + np.minimum(random.poisson(1.6, n), 5),
        "distance_km": _lognormal(random, 14, 1.0, n, 1),
        "card_type": _pick(random, ["debit", "credit", "prepaid"], (0.48, 0.44, 0.08), n),
        "predicted": (score >= 0.5).astype(np.int64),
        "score": score,
    }
    delay = np.minimum(np.exp(np.log(20 * 3600) + 1.0 * random.standard_normal(n)), 14 * DAY).astype(np.int64)
    return columns, truth.astype(np.int64), np.where(random.random(n) < 0.97, delay, -1)


def _intent(random: np.random.Generator, ts: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
    n, seconds = len(ts), ts // 1_000_000
    truth = _pick(random, INTENTS, INTENT_SHARES, n)
    shifted = seconds >= FEATURE_SHIFT.start
    right = random.random(n) < np.where(shifted, 0.828, 0.926)
    place = np.searchsorted(np.sort(INTENTS), truth)
    step = 1 + np.floor(random.random(n) * 4).astype(int)
    confused = np.sort(INTENTS)[(place + step) % 5]
    # Short texts look like brands to the model.
    confused = np.where(shifted & (truth != "brand") & (random.random(n) < 0.7), "brand", confused)
    sure = np.clip(0.86 + 0.09 * random.standard_normal(n), 0.3, 0.999)
    unsure = np.clip(0.58 + 0.12 * random.standard_normal(n), 0.25, 0.98)
    characters = np.round(_lognormal(random, 22, 0.55, n))
    characters = np.where(random.random(n) < 0.03, 1.0 + np.floor(random.random(n) * 3), characters)
    columns = {
        "model_version": serving("query-intent", seconds).astype(str),
        "country": _pick(random, COUNTRIES, COUNTRY_SHARES, n),
        "device": _pick(random, ["phone", "desktop", "tablet"], (0.62, 0.32, 0.06), n),
        "query_length": np.where(shifted, np.maximum(np.round(characters / 6.2), 1), characters).astype(np.int64),
        "results": np.clip(random.poisson(24, n), 14, 34),
        "session_clicks": np.minimum(random.poisson(2.2, n), 6),
        "seconds_since_last": _lognormal(random, 35, 0.8, n, 1),
        "language": _pick(random, ["de", "fr", "pt", "en", "hi"], (0.25, 0.2, 0.17, 0.3, 0.08), n),
        "predicted": np.where(right, truth, confused),
        "score": np.round(np.where(right, sure, unsure), 4),
    }
    delay = np.minimum(np.exp(np.log(6 * 3600) + 0.9 * random.standard_normal(n)), 14 * DAY).astype(np.int64)
    return columns, truth, np.where(random.random(n) < 0.82, delay, -1)


def _eta(random: np.random.Generator, ts: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
    n, seconds = len(ts), ts // 1_000_000
    distance = _lognormal(random, 4.2, 0.6, n, 2)
    items = 1 + np.minimum(random.poisson(2.4, n), 6)
    load = np.round(np.clip(0.55 + 0.2 * random.standard_normal(n), 0.1, 0.98), 2)
    weather = _pick(random, ["dry", "rain", "snow"], (0.72, 0.25, 0.03), n)
    vehicle = _pick(random, ["bike", "scooter", "car"], (0.5, 0.3, 0.2), n)
    prepare = _lognormal(random, 11, 0.35, n, 1)
    pace = np.select([vehicle == "bike", vehicle == "scooter"], [3.1, 2.2], 2.5)
    wet = np.select([weather == "rain", weather == "snow"], [1.15, 1.5], 1.0)
    believed = prepare + distance * pace * wet + 6 * load + 0.4 * items
    start, end = CONCEPT_DRIFT.start, CONCEPT_DRIFT.end or END
    passed = np.where(seconds < end, np.clip((seconds - start) / (end - start), 0, 1), 0)
    version = serving("eta-regressor", seconds)
    spread = np.select([version == 5, version == 6], [4.7, 4.5], 4.2)
    slower = 6.0 * passed + np.where(seconds >= end, 6.0, 0)
    actual = np.maximum(believed + slower + spread * random.standard_normal(n), 2)
    predicted = believed + np.where(version >= 7, 6.0, 0)
    columns = {
        "model_version": version.astype(str),
        "country": _pick(random, COUNTRIES, COUNTRY_SHARES, n),
        "vehicle": vehicle,
        "distance_km": distance,
        "items": items,
        "courier_load": load,
        "prepare_minutes": prepare,
        "weather": weather,
        "predicted": np.round(predicted, 1),
    }
    delay = (actual * 60 + 120 + 600 * random.random(n)).astype(np.int64)
    delay = np.where(random.random(n) < 0.1, delay + (3 * DAY * random.random(n)).astype(np.int64), delay)
    return columns, np.round(actual, 1), np.where(random.random(n) < 0.985, delay, -1)


def _click(random: np.random.Generator, ts: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
    n, seconds = len(ts), ts // 1_000_000
    truth = random.random(n) < 0.12
    score = _probability(_posterior(random, truth, 0.12, 2.25))
    visit = _lognormal(random, 6, 1.0, n, 1, np.where(truth, -0.5, 0.0))
    broken = (seconds >= MISSING_VALUES.start) & (seconds < (MISSING_VALUES.end or END))
    share = np.where(broken, float(MISSING_VALUES.size["missing_share"]), 0.002)
    columns = {
        "model_version": serving("click-model", seconds).astype(str),
        "country": _pick(random, COUNTRIES, COUNTRY_SHARES, n),
        "device": _pick(random, ["phone", "desktop", "tablet"], (0.6, 0.34, 0.06), n),
        "days_since_visit": np.where(random.random(n) < share, np.nan, visit),
        "basket_value": _lognormal(random, 32, 0.8, n),
        "views_7d": np.minimum(random.poisson(5.5, n), 11),
        "position": 1 + np.floor(12 * random.random(n)).astype(np.int64),
        "age_band": _pick(random, ["18-24", "25-34", "35-49", "50+"], (0.18, 0.32, 0.3, 0.2), n),
        "predicted": (score >= 0.5).astype(np.int64),
        "score": score,
    }
    delay = (600 + 23 * 3600 * random.random(n) ** 3).astype(np.int64)
    return columns, truth.astype(np.int64), np.where(random.random(n) < 0.99, delay, -1)


LOGS: dict[str, tuple[str, Callable[[np.random.Generator, np.ndarray], tuple[Columns, np.ndarray, np.ndarray]]]] = {
    "fraud-detector": ("fr", _fraud),
    "query-intent": ("qi", _intent),
    "eta-regressor": ("eta", _eta),
    "click-model": ("cl", _click),
}
