"""What a connector may say: summaries that merge by addition, samples, events, and the page that carries them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tandem.bins import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

BUCKET = 300
"""Width of a bucket in seconds; feature histograms use HOUR."""
HOUR = 3600
DAY = 86400

K = TypeVar("K")
V = TypeVar("V", "Ratio", "Confusion", "Moments")

Stage = Literal["production", "evaluation", "training", "estimated"]
Outcome = Literal["good", "bad", "excluded", "open"]
Labels = tuple[tuple[str, str], ...]

EVENT_KINDS = (
    "build", "test_run", "deployment", "rollback", "release", "infrastructure", "config", "restart", "traffic",
    "incident", "alert", "maintenance", "training", "data_version", "schema_change", "validation", "approval",
    "promotion", "drift", "note", "commit",
)  # fmt: skip


def labels_of(given: Mapping[str, object]) -> Labels:
    """Sorted (name, text) pairs of the labels that are present; None and "" are absent."""
    return tuple(sorted((name, str(value)) for name, value in given.items() if value not in (None, "")))


def bucket_of(ts: float, width: int = BUCKET) -> int:
    """Start of the bucket of `width` seconds that holds `ts` (epoch seconds, UTC)."""
    return math.floor(ts / width) * width


@dataclass(frozen=True, slots=True)
class Series:
    """What a summary is of, as its source says it; the core adds the source and maps labels to a component.

    `component` is set only where the configuration names it; otherwise `labels` decide. `name` is the feature, the
    class of a score, or the metric of a sample. `segment` is "" for the total or "column=value" (pairs:
    "a=x,b=y"). `environment` "" means the source's.
    """

    signal: str
    labels: Labels = ()
    component: str = ""
    name: str = ""
    version: str = ""
    segment: str = ""
    environment: str = ""
    stage: Stage = "production"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Good ones out of all of them."""

    good: int = 0
    total: int = 0

    def __add__(self, other: Ratio) -> Ratio:
        return Ratio(self.good + other.good, self.total + other.total)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Count and exact sum per bin of one layout; `sums` are quanta of 10**-layout.digits. Empty bins are left out."""

    layout: Layout
    counts: Mapping[int, int]
    sums: Mapping[int, int]

    def __add__(self, other: Histogram) -> Histogram:
        """Raises ValueError for another layout; `bins.merge` merges layouts on the edges they share."""
        if self.layout != other.layout:
            raise ValueError(f"histograms of different layouts do not add: {self.layout} and {other.layout}")
        return Histogram(self.layout, _added(self.counts, other.counts), _added(self.sums, other.sums))


@dataclass(frozen=True, slots=True)
class Confusion:
    """Count per (actual, predicted) class, both as normalised text."""

    cells: Mapping[tuple[str, str], int]

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(_added(self.cells, other.cells))


@dataclass(frozen=True, slots=True)
class Moments:
    """n, sum and sum of squares; `sum` in quanta of 10**-digits, `squares` in quanta of 10**-(2*digits)."""

    n: int = 0
    sum: int = 0
    squares: int = 0
    digits: int = 0

    def __add__(self, other: Moments) -> Moments:
        """Raises ValueError for another quantum."""
        if self.n and other.n and self.digits != other.digits:
            raise ValueError(f"moments of different quanta do not add: {self.digits} and {other.digits} digits")
        digits = self.digits if self.n else other.digits
        return Moments(self.n + other.n, self.sum + other.sum, self.squares + other.squares, digits)


def _added(a: Mapping[K, int], b: Mapping[K, int]) -> dict[K, int]:
    total = dict(a)
    for key, value in b.items():
        total[key] = total.get(key, 0) + value
    return {key: value for key, value in total.items() if value}


Value = Ratio | Histogram | Confusion | Moments


@dataclass(frozen=True, slots=True)
class Fact:
    """One summary of one series in one bucket; `ts` is the bucket's start, epoch seconds."""

    series: Series
    ts: int
    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Many facts of one kind as columns; the same meaning as that many Facts.

    `columns`: arrays of one length: "series" (index into `series`), "ts", and by kind
    ratio: good, total; histogram: bin, n, sum; confusion: actual, predicted, n; moments: n, sum, squares.
    Integers are int64 (Python ints in an object array where larger); classes are text. `layouts` goes with `series`:
    the layout of each histogram series (its `digits` for moments), None elsewhere.
    """

    kind: Literal["ratio", "histogram", "confusion", "moments"]
    series: tuple[Series, ...]
    layouts: tuple[Layout | None, ...]
    columns: Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The reference histogram stored with a feature's layout when that layout was made.

    `squares`: the exact sum of squares of its values, in quanta of 10**-(2*layout.digits); None where nobody knows.
    """

    series: Series
    histogram: Histogram
    since: int
    until: int
    squares: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One number without its n; never averaged, never in an objective. `ts` in epoch seconds (fractions kept).

    `value` None takes back what was said of that time, run and step before.
    """

    series: Series
    ts: float
    value: float | None
    run: str = ""
    step: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, under its natural key within its source and kind.

    Times are epoch seconds. `ts` is the beginning (of a build: its creation), `started` when work began after
    queueing, `ended` its end; `ts_latest` differs from `ts` only where just an interval is known. A later attempt
    has the same key and a higher `attempt`. `revision` orders versions of one key and attempt: the highest counts,
    at equal revisions the newest arrival; use what the system states (updated_at), else 0.
    `components` is set only where the configuration names it; otherwise `labels` decide. Unknown is absent.
    """

    kind: str
    key: str
    ts: int
    ts_latest: int | None = None
    started: int | None = None
    ended: int | None = None
    outcome: Outcome = "good"
    attempt: int = 1
    components: tuple[str, ...] = ()
    environment: str = ""
    version: str = ""
    commit: str = ""
    digest: str = ""
    run: str = ""
    data_version: str = ""
    trigger: str = ""
    actor: str = ""
    title: str = ""
    url: str = ""
    labels: Labels = ()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What could not be counted, or was counted with a remark; shown on the Sources page.

    `kind`: "reject" (left out), "remark" (counted, but worth knowing). `where`: file, line or row, request.
    """

    kind: Literal["reject", "remark"]
    reason: str
    where: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Covered:
    """An interval [since, until) that the source vouches for having seen; epoch seconds.

    Left open (""), `component` and `signal` mean all of the source's.
    """

    since: int
    until: int
    component: str = ""
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval [since, until) that was asked for and could not be seen, and why."""

    since: int
    until: int
    reason: str
    component: str = ""
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """An additive piece under an immutable name; `digest` tells its content (and settings) apart from another.

    A large piece comes as consecutive pages with growing `part`; the same part again is a repeat.
    """

    name: str
    digest: str
    part: int = 0


Record = Fact | Batch | Baseline | Sample | Event


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a pull, committed whole.

    `state`: opaque JSON of at most 1 MiB, what the next pull gets; None leaves the last one.
    `covered`: what was really seen; left out by every page of a pull it means the whole asked interval, and counts
    only when the generator ends by itself.
    `slice`: all facts of the page are that slice's; consecutive pages with an equal slice are one piece.
    """

    records: Sequence[Record] = ()
    state: Any = None
    covered: Sequence[Covered] | None = None
    gaps: Sequence[Gap] = ()
    slice: Slice | None = None
    findings: Sequence[Finding] = ()


def merged(zero: V, values: Iterable[V]) -> V:
    """The sum of `values`, starting at `zero`."""
    total = zero
    for value in values:
        total = total + value
    return total
