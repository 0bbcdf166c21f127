"""A made-up comparison of two sides, and the states that its page must survive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tandem.compared import Comparison, Difference, Value
from tandem.shown import Change, Distribution, Drifts, FeatureDrift, Half, Mixed, MixedSegment, Window
from tandem.slo import newcombe, wilson


def share(component: str, kind: Any, signal: str, title: str, a: tuple[int, int], b: tuple[int, int]) -> Difference:
    one, other = (Value(k / n, n, wilson(k, n), k) for k, n in (a, b))
    interval = newcombe(*a, *b)
    assert interval is not None
    change = a[0] / a[1] - b[0] / b[1]
    return Difference(
        component, kind, signal, title, "" if kind == "model" else "share", "share", "of them", "higher", one, other,
        change, change / (b[0] / b[1]), interval, "Newcombe", abs(change) * 100, not interval[0] <= 0 <= interval[1],
    )  # fmt: skip


def rows(component: str) -> tuple[Difference, ...]:
    model = component or "fraud-score"
    return (
        share(model, "model", "accuracy", "Accuracy", (1840, 2000), (9500, 10_000)),
        Difference("checkout-api", "service", "latency", "Latency", "p95", "s", "requests", "lower",
                   Value(0.412, 84_000, (0.4, 0.45)), Value(0.3, 80_000, (0.25, 0.35)), 0.112, 0.37, (0.06, 0.17),
                   "order statistics", 4.0, certain=True),
        share("checkout-api", "service", "availability", "Uptime", (9990, 10_000), (9989, 10_000)),
        Difference(model, "model", "ece", "Calibration error (ECE)", "", "score", "scores", "lower", Value(0.1, 2000),
                   Value(0.01, 9000), 0.09, 9.0, None, "no interval can be told from what is kept"),
        Difference("checkout-api", "service", "volume", "Volume", "per hour", "per hour", "requests", "",
                   Value(1200.0, 84_000), Value(1100.0, 80_000), 100.0, 0.09, None, "every one was counted"),
        Difference(model, "model", "bias", "Bias", "", "target", "errors", "", Value(-0.4, 2000, (-0.5, -0.3)), Value(),
                   how="nothing was counted in B"),
    )  # fmt: skip


def drift_rows() -> tuple[FeatureDrift, ...]:
    return (
        FeatureDrift("card_country", "category", 46_000, 100_000, 0.31, 0.21, None, None, 0.012, "drift", "moderate",
                     effect=0.21, fresh=(("NG", 412), ("IN", 20)), vanished=(("MT", 3),)),
        FeatureDrift("amount_usd", "number", 46_000, 100_000, 0.08, 0.1, 0.04, 0.07, 0.02, "above noise, small", "none",
                     effect=0.07, bound=0.05, wasserstein_bound=0.2, missing_current=40),
        FeatureDrift("device_age", "number", 46_000, 0, None, None, None, None, None, "not enough data", "none",
                     reason="no rows with a value in the window"),
        FeatureDrift("(prediction)", "category", 46_000, 100_000, 0.01, 0.02, None, None, 0.03, "no drift", "none",
                     drift="prediction drift", effect=0.02),
        FeatureDrift("(label)", "category", 40_000, 60_000, 0.01, 0.02, None, None, 0.03, "no drift", "none",
                     drift="label drift", effect=0.02),
    )  # fmt: skip


def drawn(feature: str) -> Distribution:
    return Distribution(
        feature, "category", ("US", "GB", "NG"), (0.6, 0.4, 0.0), (0.5, 0.3, 0.2), 46_000, 100_000, 0, 40
    )


def split() -> Mixed:
    parts = (
        MixedSegment("DE", (760, 800), (384, 400), wilson(760, 800), wilson(384, 400), -0.028, 0.008, -0.004),
        MixedSegment("FR", (120, 200), (372, 600), wilson(120, 200), wilson(372, 600), -0.112, 0.004, 0.008),
    )
    return Mixed("country", (880, 1000), (756, 1000), -0.124, (-0.157, -0.09), -0.14, 0.012, 0.004, "mix", parts)


def comparison(window: Window, other: Half, now: int, **asked: Any) -> Comparison:
    """A against `other`; of one component with everything, of all without drift."""
    component = asked.get("component", "")
    versions = ("v11", "v12") if component else ()
    changes = tuple(Change("Deploy", "deployment", window.since + 3600 * i, None, None, f"checkout-api 4.18.{i}",
                           ("checkout-api",), "good", f"4.18.{i}", "ci", "", f"d{i}") for i in range(3))  # fmt: skip
    chosen = next((one for one in changes if f"{one.kind}/{one.key}" == asked.get("change")), None)
    a = Half("window", window, asked.get("version", ""), asked.get("segment", ""))
    b = replace(other, window=other.window or window)
    found = Comparison(a, b, 12, now, now - 40, rows(component), changes=changes, change=chosen, versions=versions,
                       segments=("country=DE", "country=FR") if component else ())  # fmt: skip
    if component not in ("fraud-score", "two-tower"):
        return found
    drifts = Drifts(component, a, b, 12, drift_rows())
    return replace(
        found, drifts=drifts, distribution=drawn(asked.get("feature") or "card_country"), mixed={"outcome": (split(),)},
        remarks=("Labels are still arriving: so far 58 % of the predictions in A have theirs.",),
    )  # fmt: skip


def hostile(found: Comparison, bad: tuple[str, ...]) -> Comparison:
    """The same with names from somebody who means harm."""
    named = tuple(replace(row, component=name, title=name, how=name, of=name)
                  for row, name in zip(found.rows * 2, bad, strict=False))  # fmt: skip
    features = tuple(replace(row, feature=name, reason=name, fresh=((name, 3),))
                     for row, name in zip(drift_rows() * 2, bad, strict=False))  # fmt: skip
    segments = tuple(replace(split().segments[0], segment=name) for name in bad)
    changes = tuple(replace(found.changes[0], title=name, key=name, components=(name,)) for name in bad)
    return replace(
        found, rows=named, remarks=bad, versions=bad, segments=tuple(f"k={name}" for name in bad), changes=changes,
        change=changes[0], drifts=Drifts(bad[0], found.a, found.b, 12, features),
        distribution=replace(drawn(bad[0]), labels=bad[:3]),
        mixed={bad[1]: (replace(split(), column=bad[2], segments=segments),)},
    )  # fmt: skip


def empty(found: Comparison) -> Comparison:
    """Nothing on either side."""
    return replace(found, rows=(), drifts=None, distribution=None, mixed={}, changes=(), versions=(), segments=(),
                   remarks=())  # fmt: skip
