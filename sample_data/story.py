"""What the sample company is and what happens to it: times, components and sizes that every export shares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

DAYS = 97
DAY = 86400
HOUR = 3600


def at(text: str) -> int:
    """Epoch seconds of a UTC time such as "2026-11-10 10:00"."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def stamp(ts: int) -> str:
    """The UTC time of epoch seconds as GitHub writes it."""
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


END = at("2026-11-22 00:00")
START = END - DAYS * DAY


def random_of(*names: str) -> np.random.Generator:
    """A generator of its own for each export, so that a change of one leaves the others' bytes alone."""
    return np.random.Generator(np.random.PCG64([20261122, *"/".join(names).encode()]))


@dataclass(frozen=True)
class Planted:
    """One thing that is true of the exports; `end` None: still going on when they end."""

    key: str
    what: str
    components: tuple[str, ...]
    start: int
    end: int | None
    size: dict[str, float | str]


OLD_BAD_RELEASE = Planted(
    "bad-release-september",
    "checkout-api 4.9.0 fails requests and is slow until it is rolled back",
    ("checkout-api",),
    at("2026-09-16 13:05"),
    at("2026-09-16 15:10"),
    {"error_ratio": 0.08, "slow_share": 0.30, "version": "4.9.0"},
)
BAD_RELEASE = Planted(
    "bad-release-november",
    "checkout-api 4.10.0 fails requests and is slow until it is rolled back",
    ("checkout-api",),
    at("2026-11-11 14:10"),
    at("2026-11-11 16:20"),
    {"error_ratio": 0.18, "slow_share": 0.40, "version": "4.10.0"},
)
PROMOTION = Planted(
    "promotion-hurts-a-segment",
    "fraud-detector 12 blocks honest payments from BR; a canary with a tenth of the traffic ran for three hours before",
    ("fraud-detector",),
    at("2026-11-10 10:00"),
    None,
    {"segment": "country=BR", "version": "12", "accuracy_before": 0.963, "accuracy_after": 0.60},
)
FEATURE_SHIFT = Planted(
    "release-shifts-a-feature",
    "search-api 5.2.0 sends query_length in words instead of characters, and query-intent gets worse",
    ("search-api", "query-intent"),
    at("2026-11-12 09:30"),
    None,
    {"feature": "query_length", "version": "5.2.0", "accuracy_before": 0.925, "accuracy_after": 0.83},
)
CONCEPT_DRIFT = Planted(
    "concept-drift-ended-by-a-retrain",
    "deliveries get slower than eta-regressor 6 believes, more each week, until version 7 is trained",
    ("eta-regressor",),
    at("2026-09-07 00:00"),
    at("2026-10-19 10:00"),
    {"bias_minutes_at_the_end": -6.0, "version_after": "7"},
)
RETRAINED = Planted(
    "retrain-by-hand",
    "eta-regressor 6 misses its promise, the training of 12 October fails, and eun-ji starts another one by hand",
    ("eta-regressor",),
    at("2026-10-18 02:00"),
    CONCEPT_DRIFT.end,
    {"version": "7", "by": "eun-ji", "trigger": "manual"},
)
FAILED_CHECK = Planted(
    "failed-check",
    "a check of fraud-detector's weekly training set finds too few rows; nothing is trained on that one",
    ("fraud-detector",),
    at("2026-09-26 02:40"),
    at("2026-10-03 02:40"),
    {"check": "row_count_between"},
)
MISSING_VALUES = Planted(
    "data-quality-break",
    "the profile service drops days_since_visit for a part of the predictions of click-model",
    ("click-model",),
    at("2026-11-11 22:00"),
    at("2026-11-13 22:00"),
    {"feature": "days_since_visit", "missing_share": 0.19},
)
FLAKY_TEST = Planted(
    "flaky-test",
    "tests.test_cart::test_total_is_rounded_once fails and passes on its second try in many nightly runs",
    ("checkout-api",),
    at("2026-11-09 00:00"),
    None,
    {"share_of_runs": 0.4},
)
OUTAGE = Planted(
    "outage",
    "eta-api does not answer its probe",
    ("eta-api",),
    at("2026-11-12 03:20"),
    at("2026-11-12 04:00"),
    {"failed_probes": 8},
)
BLIND = Planted(
    "scrape-gap",
    "Prometheus is down: no sample of anything",
    (),
    at("2026-10-04 05:00"),
    at("2026-10-04 07:20"),
    {},
)
HAND_CHANGE = Planted(
    "changed-by-hand",
    "somebody opens a port of payments-gateway by hand; the next apply finds it and closes it",
    ("payments-gateway",),
    at("2026-10-27 16:40"),
    at("2026-10-29 09:12"),
    {"drifted": 1, "resources": 9},
)
OUT_OF_MEMORY = Planted(
    "out-of-memory",
    "both caches of eta-api are killed for want of memory, a week apart, until they are given more",
    ("eta-api",),
    at("2026-11-03 02:14"),
    at("2026-11-10 09:22"),
    {"restarts": 2, "cause": "OOMKilled"},
)
STORY = (
    OLD_BAD_RELEASE,
    CONCEPT_DRIFT,
    FAILED_CHECK,
    BLIND,
    RETRAINED,
    HAND_CHANGE,
    OUT_OF_MEMORY,
    FLAKY_TEST,
    PROMOTION,
    BAD_RELEASE,
    MISSING_VALUES,
    OUTAGE,
    FEATURE_SHIFT,
)
CANARY = at("2026-11-10 07:00")


@dataclass(frozen=True)
class Service:
    """How busy, how fast and how reliable a service normally is."""

    name: str
    requests: int
    """Mean number of requests in five minutes."""
    median: float
    """Median latency, seconds."""
    spread: float
    """Standard deviation of the natural logarithm of latency."""
    errors: float
    weekend: float
    build_failures: float
    version: tuple[int, int, int]


SERVICES = (
    Service("checkout-api", 900, 0.090, 0.487, 0.00030, 0.85, 0.045, (4, 8, 0)),
    Service("payments-gateway", 420, 0.150, 0.45, 0.00035, 0.85, 0.035, (2, 3, 4)),
    Service("search-api", 2500, 0.062, 0.50, 0.00025, 0.90, 0.115, (5, 1, 0)),
    Service("eta-api", 700, 0.085, 0.44, 0.00040, 1.15, 0.035, (1, 14, 2)),
    Service("reco-api", 1800, 0.045, 0.55, 0.00020, 0.90, 0.035, (3, 0, 7)),
    Service("auth-api", 1200, 0.030, 0.50, 0.00010, 0.80, 0.025, (7, 2, 1)),
)


ON_GITLAB = ("reco-api",)
"""Services whose team builds and deploys with GitLab; the others do so with GitHub."""
WITH_ARGO = ("checkout-api", "search-api")
"""Services that Argo CD brings to the cluster when GitHub's workflow asks it to."""


@dataclass(frozen=True)
class Deployment:
    """One deployment to production."""

    service: str
    ts: int
    version: str
    rollback: bool = False


def deployments(service: Service) -> list[Deployment]:
    """The deployments of a service, oldest first: about three in a week, in working hours, and those of the story."""
    random = random_of("deployments", service.name)
    story = {
        "checkout-api": ((OLD_BAD_RELEASE, True), (BAD_RELEASE, True)),
        "search-api": ((FEATURE_SHIFT, False),),
    }.get(service.name, ())
    ordinary = []
    for day in range(DAYS):
        midnight = START + day * DAY
        chosen, moment = random.random(), int(random.integers(8 * HOUR, 17 * HOUR))
        quiet = any(abs(midnight + DAY // 2 - planted.start) < 1.5 * DAY for planted, _ in story)
        if day % 7 < 5 and chosen < 0.6 and not quiet:
            ordinary.append(midnight + moment)
    steps = [(ts, "patch") for ts in ordinary]
    for planted, rolled_back in story:
        steps.append((planted.start - 300, "minor"))
        if rolled_back and planted.end is not None:
            steps.append((planted.end - 300, "back"))
    found: list[Deployment] = []
    major, minor, patch = service.version
    for ts, step in sorted(steps):
        if step == "back":
            found.append(Deployment(service.name, ts, found[-2].version, rollback=True))
            continue
        minor, patch = (minor + 1, 0) if step == "minor" else (minor, patch + 1)
        found.append(Deployment(service.name, ts, f"{major}.{minor}.{patch}"))
    return found


@dataclass(frozen=True)
class Version:
    """One version of a model: when it was trained, and when it took the traffic (None: it never did)."""

    version: int
    trained: int
    promoted: int | None

    @property
    def registered(self) -> int:
        """When it was put into the registry: a quarter of an hour before its traffic or its canary's."""
        if self.promoted is None:
            return self.trained + 2400
        return max(self.trained + 2400, (CANARY if self.promoted == PROMOTION.start else self.promoted) - 900)


MODELS: dict[str, tuple[Version, ...]] = {
    "fraud-detector": (
        Version(9, at("2026-07-28 04:00"), START),
        Version(10, at("2026-09-01 04:00"), at("2026-09-02 09:00")),
        Version(11, at("2026-10-05 04:00"), at("2026-10-06 09:30")),
        Version(12, at("2026-11-08 04:00"), PROMOTION.start),
    ),
    "query-intent": (
        Version(31, at("2026-08-03 03:00"), START),
        Version(32, at("2026-09-07 03:00"), at("2026-09-09 08:00")),
        Version(33, at("2026-10-05 03:00"), None),
        Version(34, at("2026-10-12 03:00"), at("2026-10-14 08:00")),
    ),
    "eta-regressor": (
        Version(5, at("2026-07-06 02:00"), START),
        Version(6, at("2026-08-24 02:00"), at("2026-08-25 10:00")),
        Version(7, at("2026-10-18 02:00"), CONCEPT_DRIFT.end),
    ),
    "click-model": (
        Version(18, at("2026-08-09 01:00"), START),
        Version(19, at("2026-09-20 01:00"), at("2026-09-21 12:00")),
        Version(20, at("2026-11-01 01:00"), at("2026-11-02 12:00")),
    ),
}


def serving(model: str, ts: np.ndarray) -> np.ndarray:
    """The version that has the traffic of a model at each of the times."""
    promoted = [v for v in MODELS[model] if v.promoted is not None]
    starts = np.array([v.promoted for v in promoted])
    numbers = np.array([v.version for v in promoted])
    return numbers[np.searchsorted(starts, ts, side="right") - 1]


def truth() -> str:
    """truth.toml: the story as data."""
    lines = [
        "# What is true of the exports in this folder, written by generate.py. Times are those of the files;",
        "# an event without `end` goes on when they end.",
        f"start = {stamp(START)}",
        f"end = {stamp(END)}",
        "",
    ]
    for planted in STORY:
        lines += ["[[event]]", f'key = "{planted.key}"', f'what = "{planted.what}"']
        lines.append(f"components = [{', '.join(f'{chr(34)}{c}{chr(34)}' for c in planted.components)}]")
        lines.append(f"start = {stamp(planted.start)}")
        if planted.end is not None:
            lines.append(f"end = {stamp(planted.end)}")
        lines += [f"{k} = {v}" if not isinstance(v, str) else f'{k} = "{v}"' for k, v in planted.size.items()]
        lines.append("")
    return "\n".join(lines)
