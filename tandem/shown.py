"""What a page, an answer or a file shows: plain values, made by report.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tandem.price import Noticed

if TYPE_CHECKING:
    from tandem.corrections import Correction
    from tandem.curves import Asked, Curve
    from tandem.joint import Joint
    from tandem.modelled import Modelled
    from tandem.whose import Judgement, Whose

State = Literal["ok", "at risk", "breached", "unknown"]
Side = Literal["system", "model"]
STATES: tuple[State, ...] = ("breached", "at risk", "unknown", "ok")
"""Worst first."""


def worst(states: Iterable[State]) -> State:
    """The worst of states, in the order breached, at risk, unknown, ok; unknown where there are none."""
    some = list(states)
    return min(some, key=STATES.index) if some else "unknown"


class Unreadable(Exception):
    """Numbers that were asked for cannot be had; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open [since, until), epoch seconds, on the grid."""

    since: int
    until: int


@dataclass(frozen=True, slots=True)
class BurnRule:
    """A rule in force: it fires while the burn rates over `long` and `short` are strictly above `factor`."""

    severity: Literal["page", "ticket"]
    long: str
    short: str
    factor: float
    fires: bool


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective as it stands at the end of the window; `window` is its own ("28d"). Never clamped, never rounded."""

    name: str
    target: float
    window: str
    threshold: float | None
    budget_left: float | None
    events_left: float | None
    burn: Mapping[str, float | None]
    good: int
    total: int
    since: int = 0
    """Where its window begins; a window of the calendar begins with its period, and is `length` seconds as a whole."""
    length: int = 0
    calendar: str = ""
    """The period of a calendar window; "" for a rolling one."""
    expected: int | None = None
    """The events that fix the budget of a calendar window for all of its period."""
    coverage: float | None = None
    """The share of its window that was seen, without what was left out by agreement."""
    exhausts_in: float | None = None
    """Seconds until the budget is gone, if it burns as over `exhausts_over`; 0 when it is, None when nothing burns."""
    exhausts_over: str = ""
    burn_until: int = 0
    """Where the look-backs of its burn rates end: at the last bucket that was whole, or where labels leave off."""
    slices: int = 0
    """The width in seconds of the slices that `good` and `total` count; 0 where they count what happened."""
    base: float | None = None
    """The error ratio that is accepted: burn rates are those of the errors above it."""
    rules: tuple[BurnRule, ...] = ()
    remarks: tuple[str, ...] = ()
    """What somebody should know besides the numbers, each a sentence: lowered rules, a threshold that is no edge."""
    noticed: Noticed | None = None
    """How long a break would go unnoticed; None where enough happens for it not to matter."""
    corrected: int = 0
    """Seconds of its window that left good and total by agreement."""
    bound: tuple[int, int] | None = None
    """Good at least and at most, where the threshold is no edge of the histogram."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The same number over another window; `value` is its share of good, `total` its denominator, `text` as shown.

    `change` is what the shown number has moved since, in `unit`: share (of 1), s or count; None where either is
    missing. `spark` has as many values as the cell's, over the other window.
    """

    value: float | None
    total: int | None
    text: str
    change: float | None
    unit: str
    spark: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One signal of one component over the window: what a card, a matrix cell and a JSON row are made of.

    `text` is the value as shown in the matrix ("99.97 %", "312 ms"), `measure` what that value is ("accuracy",
    "p95"), `of` its denominator in words ("of 412 builds passed"). `spark` has one value per step, None where
    nothing was seen; `spark_target` is the target on the same scale. `immature` marks steps whose labels still come.
    """

    component: str
    signal: str
    title: str
    side: Side
    state: State
    reason: str
    value: float | None
    text: str
    measure: str
    of: str
    unit: str
    good: int | None
    total: int | None
    coverage: float | None
    source: str
    objective: Objective | None
    spark: tuple[float | None, ...] = ()
    spark_target: float | None = None
    immature: tuple[bool, ...] = ()
    version: str = ""
    """The newest version that a model served in the window."""
    compared: Compared | None = None
    """The same over the window that was asked to compare with."""
    why: str = ""
    """Why it stands as it does, for machines: "no traffic", "not measured", "burning"; see slo.Why."""
    corrected: int = 0
    """Seconds of the window that objectives leave out by agreement; `good` and `total` stay as they were counted."""
    bound: tuple[int, int] | None = None
    """`good` at least and at most, where the threshold is no edge of the histogram."""


@dataclass(frozen=True, slots=True)
class Card:
    """One signal of a side merged over its components; `cell.component` is the worst one, whose budget is shown."""

    cell: Cell
    components: int
    attention: int


@dataclass(frozen=True, slots=True)
class Row:
    """A service and its paired model; either may be absent (""), cells by signal; `state` is that of all objectives."""

    product: str
    state: State
    service: str
    system: Mapping[str, Cell]
    model: str
    version: str
    models: Mapping[str, Cell]
    joint: Joint | None = None
    """What the two promise together; None where either half promises nothing."""
    beyond: tuple[Cell, ...] = ()
    """Objectives of either that no column shows and that are breached or at risk, worst first."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change on the timeline; `lane` is Incident, Drift, Model, Deploy or Build."""

    lane: str
    kind: str
    ts: int
    until: int | None
    ended: int | None
    title: str
    components: tuple[str, ...]
    outcome: str
    version: str
    source: str
    url: str
    key: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the timeline: share of good per step, None where nothing was seen."""

    title: str
    side: Side
    target: float | None
    points: tuple[float | None, ...]
    immature: tuple[bool, ...] = ()
    step: int = 0
    """Seconds between two points; the first lies at the window's start moved down to the step."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the Overview shows; `newest` is the end of the newest data."""

    window: Window
    as_of: int
    step: int
    now: int
    newest: int | None
    late: tuple[str, ...]
    services: int
    models: int
    attention: Mapping[Side, int]
    cards: Mapping[Side, tuple[Card, ...]]
    columns: Mapping[Side, tuple[tuple[str, str], ...]]
    """(signal, title) per side."""
    rows: tuple[Row, ...]
    lines: tuple[Line, ...]
    changes: tuple[Change, ...]
    truncated: int = 0
    """Changes left out of `changes` because there are too many to draw; they are counted, never lost."""
    compared: Window | None = None
    """The window that cards and cells are compared with."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source as the Sources page shows it; `state` is up to date, late, failing, never run or no data."""

    name: str
    connector: str
    scope: str
    side: str
    state: str
    newest: int | None
    last_pull: int | None
    last_error: str
    summary: str
    next_step: str
    every: int
    coverage: float | None
    strip: tuple[float | None, ...]
    """Share of the expected seen per step of the window; None: not expected."""
    rejects: tuple[tuple[str, str, int], ...]
    """(reason, where, count)."""
    remarks: tuple[tuple[str, str, int], ...]
    unmatched: tuple[tuple[str, int], ...]
    """(labels as text, count)."""
    paste: str
    """A [[source.map]] block ready to paste for the unmatched, or ""."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The Sources page."""

    window: Window
    now: int
    step: int
    as_of: int
    sources: tuple[SourceState, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """Percentiles of a histogram per step, or its counts per bin for a heat map."""

    step: int
    edges: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    """One tuple of counts per step, one count per bin (len(edges) + 1)."""
    quantiles: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's drift over the window against its reference; fields as in `tandem drift`."""

    feature: str
    type: str
    n_reference: int
    n_current: int
    psi: float | None
    js: float | None
    ks: float | None
    wasserstein: float | None
    noise_floor: float | None
    verdict: str
    severity: str
    daily: tuple[float | None, ...] = ()
    """The effect per step of the window (JS for categories, normed Wasserstein for numbers)."""
    step: int = 0
    drift: str = "data drift"
    """Which drift it is: data, prediction or label drift."""
    effect: float | None = None
    """The measure that decides: JS for categories and constants, normed Wasserstein for numbers."""
    p: float | None = None
    chi_square_p: float | None = None
    bound: float | None = None
    wasserstein_bound: float | None = None
    hellinger: float | None = None
    total_variation: float | None = None
    l_infinity: float | None = None
    missing_reference: int = 0
    missing_current: int = 0
    fresh: tuple[tuple[str, int], ...] = ()
    """Categories that the reference has not, with their count; `vanished` those that are not there any more."""
    vanished: tuple[tuple[str, int], ...] = ()
    reason: str = ""
    """Why there is nothing to compare, or what is left out."""


@dataclass(frozen=True, slots=True)
class Half:
    """One side of a comparison: a window, and what it is narrowed to.

    `kind` says what sets it apart from the other side: window, version, segment, stage, or baseline, the stored
    reference that the bins were made of. Without a window it is over the other side's.
    """

    kind: Literal["window", "version", "segment", "stage", "baseline"] = "window"
    window: Window | None = None
    version: str = ""
    segment: str = ""
    stage: str = "production"
    environment: str = "production"


@dataclass(frozen=True, slots=True)
class Drifts:
    """How far a model's features, predictions and labels of one side lie from those of the other, worst first.

    `concept` is a sentence where the model answers worse while its data hold; `remarks` are sentences on the sides.
    """

    model: str
    current: Half
    reference: Half
    as_of: int
    rows: tuple[FeatureDrift, ...]
    concept: str = ""
    remarks: tuple[str, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    """What other tools last said of its features in the window, each by its own method."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One feature as it was and as it is: the share of its rows in each bin; missing ones are counted apart.

    `labels` name the bins: a category, "≤ 12.5" for a bin of numbers, "other" for the rare rest.
    """

    feature: str
    type: str
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    n_reference: int
    n_current: int
    missing_reference: int = 0
    missing_current: int = 0


@dataclass(frozen=True, slots=True)
class MixedSegment:
    """One segment on both sides of a change, (good, total) and Wilson intervals, and what it adds to each part."""

    segment: str
    before: tuple[int, int]
    after: tuple[int, int]
    interval_before: tuple[float, float] | None
    interval_after: tuple[float, float] | None
    mix: float
    within: float
    interaction: float


@dataclass(frozen=True, slots=True)
class Mixed:
    """Mix or real: the exact parts of a change of a ratio over the segments of one column.

    `mix` + `within` + `interaction` = `change`, as shares of 1; `before` and `after` are (good, total), `interval` is
    Newcombe's of the change. `verdict`: mix, real, both, not enough data, unchanged. The largest segments first.
    """

    column: str
    before: tuple[int, int]
    after: tuple[int, int]
    change: float
    interval: tuple[float, float]
    mix: float
    within: float
    interaction: float
    verdict: str
    segments: tuple[MixedSegment, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """A stretch in which a version answered most predictions; half-open, on the grid of the step."""

    version: str
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Detail:
    """The page of one component: its cells, series for charts, and the changes of it and its partners."""

    component: str
    kind: Literal["service", "model"]
    product: str
    state: State
    window: Window
    as_of: int
    step: int
    now: int
    newest: int | None
    cells: tuple[Cell, ...]
    latency: Band | None
    lines: tuple[Line, ...]
    partners: tuple[str, ...]
    """The other components of the product."""
    changes: tuple[Change, ...]
    features: tuple[FeatureDrift, ...]
    confusion: Mapping[tuple[str, str], int]
    segments: tuple[tuple[str, int, int, tuple[float, float] | None], ...]
    """(segment, good, total, Wilson interval) of accuracy."""
    quality: Mapping[str, object] | None
    versions: tuple[Mapping[str, object], ...]
    samples: tuple[Mapping[str, object], ...]
    compared: Window | None = None
    """The window that the cells are compared with."""
    distribution: Distribution | None = None
    """The selected feature, or the one that moved most."""
    served: tuple[Served, ...] = ()
    """Which version of a model answered when, in order of time."""
    drifts: Drifts | None = None
    """Its `features` and what they are compared with; None where there is no stored reference."""
    model: Modelled | None = None
    """The quality of a model and what it is read from; None for a service."""
    mixed: Mapping[str, tuple[Mixed, ...]] = field(default_factory=dict)
    """Mix or real of each signal that segments cut, against the window that is compared with."""
    joint: tuple[Joint, ...] = ()
    """What it promises together with each of its partners."""
    corrections: tuple[Correction, ...] = ()
    """What left the counts of its objectives inside the window or the longest of their own, oldest first."""
    curves: tuple[Curve, ...] = ()
    """How the budget of each objective went over the window."""
    asked: Asked | None = None
    """How much was asked of a service."""
    unseen: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """For each signal the stretches of the window that no source vouches for."""
    whose: Whose | None = None
    """What every tool says of a model beside Tandem's own verdicts, and which source counts; None for a service."""
