# ruff: noqa: E501
"""Hand-made quality of models for tests of the screen, read from counts by the engine's own pure functions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from tandem import bins, fairness, judged, measured
from tandem.counted import Counted
from tandem.explained import Witness
from tandem.measure import Filters
from tandem.modelled import (
    Fair,
    Fault,
    Faulty,
    Labels,
    Modelled,
    Quality,
    Run,
    Trace,
    Traced,
    Volume,
)
from tandem.records import Confusion, Histogram, Moments, Ratio
from tandem.shown import Mixed, MixedSegment, Window
from tandem.slo import wilson
from tandem.whose import Counting, Estimated, Judgement, Whose

DAY = 86400
REGRESSIONS = ("eta-gbm", "price-gbm")
SEVERAL = ("ranker",)
UNLABELLED = ("triage-bert",)
WORTH = measured.Worth("EUR", {("1", "1"): 90, ("0", "1"): -8, ("1", "0"): -120})  # type: ignore[dict-item]


def histogram(values: Any) -> Histogram:
    sums: dict[int, int] = {}
    places = bins.codes(bins.SCORE, np.asarray(values)).tolist()
    for place, amount in zip(places, bins.quanta(np.asarray(values), 12).tolist(), strict=True):
        sums[place] = sums.get(place, 0) + amount
    return Histogram(bins.SCORE, dict(Counter(places)), sums)


def moments(values: Any, digits: int = 9) -> Moments:
    whole = bins.quanta(np.asarray(values, dtype=float), digits).tolist()
    return Moments(len(whole), sum(whole), sum(one * one for one in whole), digits)


def binary() -> Counted:
    r = np.random.default_rng(1)
    truth = r.random(9000) < 0.2
    score = 1 / (1 + np.exp(-(r.normal(0, 1.4, 9000) + np.where(truth, 2.0, -2.0))))
    country = r.choice(["DE", "FR", "BR"], 9000)
    score = np.where((country == "BR") & ~truth, np.minimum(score * 3, 0.98), score)
    said = score >= 0.5
    pairs = Counter(zip(truth.astype(int).astype(str), said.astype(int).astype(str), strict=True))
    cells = {(str(a), str(b)): n for (a, b), n in pairs.items()}
    segments = {}
    for name in ("DE", "FR", "BR"):
        mine = country == name
        some = Counter(zip(truth[mine].astype(int).astype(str), said[mine].astype(int).astype(str), strict=True))
        segments["8", f"country={name}"] = Confusion({(str(a), str(b)): n for (a, b), n in some.items()})
    segments["8", "country=NG"] = Confusion({("1", "1"): 1})
    loss = -np.log(np.where(truth, score, 1 - score))
    return Counted(
        "fraud-score", Filters(), "binary", "1", Ratio(10_100, 10_100), Ratio(9000, 10_100),
        {("8", ""): Confusion(cells), **segments},
        {"0": histogram(score[~truth]), "1": histogram(score[truth]), "": histogram(r.random(1100))},
        {"log_loss": moments(loss), "brier": moments((score - truth) ** 2)},
    )  # fmt: skip


def several() -> Counted:
    r = np.random.default_rng(2)
    names = np.array(["brand", "category", "help", "order"])
    truth = r.choice(4, 5000, p=[0.4, 0.3, 0.2, 0.1])
    said = np.where(r.random(5000) < 0.88, truth, r.choice(4, 5000))
    cells = Counter((str(names[a]), str(names[b])) for a, b in zip(truth, said, strict=True))
    return Counted("ranker", Filters(), "multiclass", "order", Ratio(5600, 5600), Ratio(5000, 5600),
                   {("34", ""): Confusion(dict(cells))}, {"": histogram(r.random(5600) ** 0.2)})  # fmt: skip


def regression() -> Counted:
    r = np.random.default_rng(3)
    true = np.where(r.random(4000) < 0.02, 0.0, r.lognormal(3, 0.6, 4000))
    e = r.normal(0.4, 4, 4000)
    layout = bins.error_layout(20)
    sums: dict[int, int] = {}
    places = bins.codes(layout, e).tolist()
    for place, amount in zip(places, bins.quanta(e, layout.digits or 0).tolist(), strict=True):
        sums[place] = sums.get(place, 0) + amount
    some = true != 0
    return Counted(
        "eta-gbm", Filters(), "regression", "1", Ratio(4300, 4300), Ratio(4000, 4300),
        errors={"error": moments(e), "absolute": moments(np.abs(e)), "target": moments(true, 6),
                "relative": moments(np.abs(e[some] / true[some]))},
        error=Histogram(layout, dict(Counter(places)), sums),
    )  # fmt: skip


def unlabelled() -> Counted:
    return Counted("triage-bert", Filters(), "binary", "1", Ratio(3200, 3200), Ratio(0, 3200),
                   scores={"": histogram(np.random.default_rng(4).random(3200))})  # fmt: skip


def _labels(found: Counted, now: int) -> Labels:
    labelled, total = found.coverage.good, found.coverage.total
    if not labelled:
        return Labels(0, total, wilson(0, total), now - 28 * DAY, 0.0)
    ages = tuple((low * 3600, high * 3600, round(share * 400), 400) for low, high, share in (
        (0, 6, 0.04), (6, 12, 0.35), (12, 24, 0.55), (24, 48, 0.74), (48, 72, 0.85), (72, 120, 0.91), (120, 168, 0.95),
        (168, 336, 0.96), (336, 504, 0.97), (504, 672, 0.97)))  # fmt: skip
    return Labels(labelled, total, wilson(labelled, total), now - 3 * 3600, 0.96, ages,
                  {"p50": 66_000.0, "p90": 191_000.0, "p99": 503_000.0}, labelled)  # fmt: skip


def _trace(title: str, unit: Any, window: Window, level: float, versions: tuple[str, ...]) -> Trace:
    step = max(3600, (window.until - window.since) // 24 // 3600 * 3600)
    length = len(range(window.since // step * step, window.until, step))
    dice = random.Random(5)
    made = []
    for place, version in enumerate(versions):
        begin, end = (0, length * 2 // 3) if place == 0 and len(versions) > 1 else (place * length // 2, length)
        values: list[float | None] = [None] * length
        lows, highs, n = list(values), list(values), [0] * length
        for i in range(begin, end):
            n[i] = max(10, 400 - 15 * max(0, i - length + 6))
            value = level - 0.04 * place + dice.gauss(0, 0.006)
            good = round(min(value, 1.0) * n[i])
            values[i] = good / n[i] if unit == "share" else value * 4
            interval = wilson(good, n[i]) or (0.0, 1.0)
            lows[i], highs[i] = interval if unit == "share" else (value * 3.7, value * 4.3)
        made.append(Traced(version, tuple(values), tuple(lows), tuple(highs), tuple(n)))
    return Trace(title, unit, 0.94 if unit == "share" else None, step, tuple(made),
                 tuple(i >= length - 4 for i in range(length)), title.lower())  # fmt: skip


def _quality(window: Window) -> Quality:
    step = max(3600, (window.until - window.since) // 48 // 3600 * 3600)
    length = len(range(window.since // step * step, window.until, step))
    rows = 10_100
    broken = tuple(None if i == 3 else 0.19 if i > length * 0.6 else 0.001 for i in range(length))
    return Quality(step, (
        Faulty("age_days", rows, {"missing": 812}, wilson(812, rows), broken, (180,) * length),
        Faulty("amount", rows, {"out of range": 3, "wrong type": 11}, wilson(14, rows), (0.0014,) * length, (200,) * length),
        Faulty("card_type", rows, {"unseen category": 2}, wilson(2, rows), (0.0002,) * length, (200,) * length),
        Faulty("channel", rows, {}, wilson(0, rows), (0.0,) * length, (200,) * length),
    ), (Fault("age_days", "missing", window.since + step * (length * 3 // 5), None, 790, 4100, 0.0012, step),), rows)  # fmt: skip


def _runs(now: int) -> tuple[Run, ...]:
    return tuple(
        Run(f"run{i}", f"train-2026-11-{20 - i:02d}", now - i * 3 * DAY - 7200, None if i == 0 else now - i * 3 * DAY - 6000,
            ("open", "good", "bad", "good")[i], ("", "v12", "", "v11")[i], ("927bc7d172b66e", "0d20e6d7824a9c", "", "5")[i],
            ("2026-11-18-31a28cb4", "", "2026-11-12-aa", "2026-11-09")[i], "registry", "")
        for i in range(4)
    )  # fmt: skip


def _volume(window: Window) -> Volume:
    step = max(300, (window.until - window.since) // 48 // 300 * 300)
    length = len(range(window.since // step * step, window.until, step))
    old = tuple(100 if i < length * 0.8 else 0 for i in range(length))
    new = tuple(90 if i >= length * 0.7 else 0 for i in range(length))
    return Volume(step, (("v11", old), ("v12", new)))


def modelled(name: str, window: Window, now: int) -> Modelled:
    """All of a model's page that is about the model itself."""
    found = regression() if name in REGRESSIONS else several() if name in SEVERAL else (
        unlabelled() if name in UNLABELLED else binary())  # fmt: skip
    trace = {
        "regression": _trace("Mean absolute error", "target", window, 0.8, ("v17",)),
        "multiclass": _trace("Accuracy", "share", window, 0.9, ("v34",)),
    }.get(found.task or "", _trace("Accuracy", "share", window, 0.95, ("v11", "v12")))
    groups = {segment.partition("=")[2]: one for (_, segment), one in found.outcomes.items() if segment}
    gaps = fairness.fairness(groups, found.positive)
    return Modelled(
        task=found.task, positive=found.positive,
        measures=measured.measures(found, WORTH if found.task == "binary" and found.labelled else None),
        classes=measured.classes(found.confusion), labels=_labels(found, now),
        trace=trace if found.labelled else None, scores=judged.bars(found), calibration=judged.calibration(found),
        thresholds=judged.thresholds(found),
        fairness=(Fair("country", "1", tuple(gaps.values()), tuple(fairness.standing(list(gaps.values())))),)
        if gaps else (),
        quality=_quality(window), runs=_runs(now), volume=_volume(window), currency="EUR",
        errors=judged.errors(SimpleNamespace(config=SimpleNamespace(objectives=())), found),
    )  # fmt: skip


def nothing() -> Modelled:
    """A model of which nothing is known."""
    return Modelled(None, "1", (), (), Labels(0, 0, None, 0, None), None, None, None, (), (), None, (), None)


def mixed() -> dict[str, tuple[Mixed, ...]]:
    """Simpson's example: both segments got better, the whole got worse."""
    segments = tuple(
        MixedSegment(name, before, after, wilson(*before), wilson(*after), mix, within, both)
        for name, before, after, mix, within, both in (
            ("BR", (120, 200), (372, 600), -0.112, 0.004, 0.008), ("DE", (760, 800), (384, 400), -0.028, 0.008, -0.004))
    )  # fmt: skip
    return {"outcome": (Mixed("country", (880, 1000), (756, 1000), -0.124, (-0.157, -0.091), -0.14, 0.012, 0.004, "mix",
                              segments),)}  # fmt: skip


def hostile(names: tuple[str, ...], window: Window, now: int) -> Modelled:
    """Everything that comes from outside as hostile text."""
    full = modelled("fraud-score", window, now)
    bad = names[0]
    cells = {(a, b): 3 for a in names[:3] for b in names[:3]}
    groups = {one: Confusion({(bad, bad): 30 + i, (bad, "x"): 30 - i}) for i, one in enumerate(names)}
    gaps = fairness.fairness(groups, bad)
    assert full.scores and full.quality and full.trace and full.volume
    return replace(
        full, positive=bad, classes=measured.classes(Confusion(cells)),
        measures=tuple(replace(one, of=b, how=b, title=b) for one, b in zip(full.measures, names, strict=False)),
        trace=replace(full.trace, title=bad, versions=tuple(replace(one, version=b) for one, b in
                                                            zip(full.trace.versions, names, strict=False))),
        scores=replace(full.scores, classes=tuple((b, n, shares) for b, (_, n, shares) in
                                                  zip(names, full.scores.classes, strict=False)), positive=bad),
        fairness=tuple(Fair(b, b, tuple(gaps.values()), (False,) * len(gaps)) for b in names[:3]),
        quality=replace(full.quality, columns=tuple(replace(one, column=b, faults={b: 3}) for one, b in
                                                    zip(full.quality.columns * 3, names, strict=False)),
                        faults=tuple(replace(full.quality.faults[0], column=b, reason=b) for b in names)),
        runs=tuple(replace(one, title=b, version=b, commit=b, data_version=b, key=b, outcome=b) for one, b in
                   zip(full.runs * 3, names, strict=False)),
        volume=Volume(full.volume.step, tuple((b, full.volume.versions[0][1]) for b in names[:4])), currency=bad,
    )  # fmt: skip


def whose(window: Window) -> Whose:
    """Two tools beside Tandem: one agrees, one does not, and one has rows that Tandem does not hold."""
    last = window.until - 3600
    return Whose(
        (
            Judgement("card_country", "evidently", "Jensen-Shannon distance", ">=", last, 0.31, 0.1, None, True, 7, 3, "",
                      "", "drift", 0.29),
            Judgement("amount", "nannyml", "jensen_shannon", "outside", last, 0.04, 0.1, None, False, 10, 0, "", "",
                      "drift", 0.12),
            Judgement("device_age", "evidently", "K-S p_value", "<", last, 0.44, 0.05, None, False, 7, 0),
        ),
        (Counting("outcome", "Accuracy", "log", "the first in tandem.toml that saw it", 42_144, 46_210, 0.912,
                  (Witness("nannyml", 27_400, 30_000, 0.9133, 0.0013),)),),
        (Estimated("accuracy", "nannyml", "", tuple((window.since + i * 7200.0, 0.93 - i / 500) for i in range(6))),),
    )  # fmt: skip


def hostile_whose(names: Sequence[str], window: Window) -> Whose:
    full = whose(window)
    return Whose(
        tuple(replace(full.judgements[0], feature=b, source=b, method=b, version=b, segment=b) for b in names),
        tuple(replace(full.counting[0], title=b, source=b, why=b, witnesses=(replace(full.counting[0].witnesses[0], source=b),))
              for b in names),
        tuple(replace(full.estimated[0], source=b, version=b) for b in names),
    )  # fmt: skip
