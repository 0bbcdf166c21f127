"""How far two sides of a model lie apart: drift between any two windows, versions, segments, stages, or a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tandem import bins, drift, drift_row, moved, times
from tandem.config import Config
from tandem.measure import Filters, Measures
from tandem.records import BUCKET, HOUR, Histogram
from tandem.shown import Drifts, FeatureDrift, Half, Unreadable, Window
from tandem.store.read import Reader
from tandem.store.references import Reference, first_hour, references

COMPARED = ("feature", "prediction", "score")
"""Signals whose histograms are compared."""
LOSSES = ("log_loss", "brier")
"""Series of scores that are no histogram of them."""
Key = tuple[str, str]
"""Signal and name."""
Layouts = dict[int, Histogram]
"""One side's rows of one feature, by the layout of their bins."""


@dataclass
class Side:
    """One side, read; `references` are the stored ones where it is the baseline."""

    half: Half
    measures: Measures
    component: str
    histograms: dict[Key, Layouts] = field(default_factory=dict)
    references: Mapping[Key, Reference] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    """What was read of the side already, by what it is."""

    @property
    def stored(self) -> bool:
        """Whether this side is the stored reference."""
        return self.half.kind == "baseline"


@dataclass(frozen=True)
class Pair:
    """Both sides of a drift, the stored references, and the series that were read."""

    current: Side
    reference: Side
    references: Mapping[Key, Reference]
    ids: Sequence[int]


# -- the sides


def pair(reader: Reader, config: Config, component: str, current: Half, reference: Half | None, now: int) -> Pair:
    """Both sides with everything read, by one query; `reference` None is the stored one.

    Raises Unreadable where the model has nothing to compare, or a version or segment is unknown.
    """
    assert current.window is not None
    known = references(reader, component)
    if not known and not any(kept.placed.signal in COMPARED for kept in reader.series(component=component)):
        raise Unreadable(
            f"{component} has no histograms of features, scores or predictions to compare; read a prediction log of it."
        )
    current = replace(current, window=_on_hours(current.window, now))
    mine = _side(reader, config, component, current, now)
    other = _reference(mine, reference, known, now)
    if reference is not None and reference.kind == "version" and not current.version:
        mine = _side(reader, config, component, replace(current, version=_newest(mine, reference.version)), now)
    theirs = _side(reader, config, component, other, now)
    _known(mine)
    _known(theirs)
    ids = _read(reader, [mine, theirs])
    theirs.references = known
    return Pair(mine, theirs, known, ids)


def _on_hours(window: Window, now: int) -> Window:
    """The window moved outwards to whole hours, as features are kept; its end never past now."""
    until = min(-(-window.until // HOUR) * HOUR, max(window.until, -(-now // BUCKET) * BUCKET))
    return Window(window.since // HOUR * HOUR, until)


def _side(reader: Reader, config: Config, component: str, half: Half, now: int) -> Side:
    assert half.window is not None
    filters = Filters(half.environment, half.version, half.segment, half.stage)
    return Side(half, Measures(reader, config, half.window, now, filters), component)


def _reference(mine: Side, asked: Half | None, known: Mapping[Key, Reference], now: int) -> Half:
    current = mine.half
    assert current.window is not None
    if asked is not None and asked.kind != "baseline":
        window = _on_hours(asked.window, now) if asked.window is not None else current.window
        if asked.kind == "stage" and asked.window is None:
            window = _everything(mine, asked)
        return replace(asked, window=window, environment=current.environment)
    stored = [one for (signal, _), one in known.items() if signal in ("feature", "prediction")]
    if not stored:
        raise Unreadable(
            f"no reference is stored of {mine.component} yet, as its bins are made of the first 1,000 values; compare "
            "with another window by --reference-from and --reference-to."
        )
    window = Window(min(one.since for one in stored), max(one.until for one in stored))
    return Half("baseline", window, environment=current.environment)


def _everything(mine: Side, asked: Half) -> Window:
    """From the first hour of another stage on: what a model was trained on lies before it served."""
    assert mine.half.window is not None
    reader = mine.measures.reader
    ids = [kept.id for kept in reader.series(component=mine.component, signal="feature", stage=asked.stage)]
    return Window(first_hour(reader, ids) or mine.half.window.since, mine.half.window.until)


def _newest(side: Side, but: str) -> str:
    """The newest version beside another; raises Unreadable where there is none."""
    versions = set(_versions(side)) - {"", but}
    if not versions:
        raise Unreadable(f"{side.component} has no version beside {but!r} to compare with it.")
    return max(versions, key=lambda text: (len(text), text))


def _versions(side: Side) -> list[str]:
    placed = [kept.placed for kept in side.measures.reader.series(component=side.component)
              if kept.placed.signal in ("feature", "prediction", "score", "outcome", "volume")]  # fmt: skip
    return sorted({one.version for one in placed} - {""}, key=lambda text: (len(text), text))


def _known(side: Side) -> None:
    """Raise Unreadable for a version or segment that nothing was ever counted of."""
    if side.half.version and side.half.version not in _versions(side):
        raise Unreadable(_unknown(side.component, "version", side.half.version, _versions(side)))
    segments = {kept.placed.segment for kept in side.measures.reader.series(component=side.component)} - {""}
    if side.half.segment and side.half.segment not in segments:
        raise Unreadable(_unknown(side.component, "segment", side.half.segment, sorted(segments)))


def _unknown(component: str, what: str, name: str, known: Sequence[str]) -> str:
    listed = ", ".join(known[:20]) + (" and more" if len(known) > 20 else "")
    return f"{component} has no {what} {name!r}; known are {listed or 'none'}."


# -- reading


def _read(reader: Reader, sides: Sequence[Side]) -> list[int]:
    """Read the histograms of all sides but a stored one at once; the series that were read."""
    wanted = [(side, key, kept) for side in sides for key in _keys(side)
              for kept in side.measures.counted(side.component, *key)]  # fmt: skip
    spans = [_whole(side.half.window) for side in sides]
    ids = sorted({kept.id for *_, kept in wanted})
    merges = reader.totals("histogram", ids, spans)
    for side, key, kept in wanted:
        cells = merges.get(kept.id, [None] * len(sides))[next(i for i, one in enumerate(sides) if one is side)]
        if cells is not None:
            found = side.measures.value("histogram", kept, cells)
            assert isinstance(found, Histogram)
            mine = side.histograms.setdefault(("score", "") if key[0] == "score" else key, {})
            mine[kept.layout] = mine[kept.layout] + found if kept.layout in mine else found
    return ids


def _keys(side: Side) -> Iterator[Key]:
    """The histograms that a side has; of a stored one only what no reference is kept of."""
    for signal in ("score",) if side.stored else COMPARED:
        for name in side.measures.names(side.component, signal):
            if not (signal == "score" and name in LOSSES) and (signal != "feature" or name):
                yield signal, name


def _whole(window: Window | None) -> tuple[int, int]:
    assert window is not None
    return window.since // HOUR * HOUR, -(-window.until // HOUR) * HOUR


# -- the rows


def drifts(found: Pair) -> Drifts:
    """Every feature, then predictions, scores and labels, all judged together (Benjamini-Hochberg at 5 %)."""
    rows = [_row(found, *key) for key in _compared(found)]
    seen = [max((getattr(row, n) for row, _ in rows), default=0) for n in ("n_current", "n_reference")]
    label = moved.labels(found.current, found.reference, *seen)
    rows += [label] if label else []
    judged = drift.judge([one for _, one in rows])
    said = [replace(row, verdict=verdict, severity=severity) for (row, _), (verdict, severity)
            in zip(rows, judged, strict=True)]  # fmt: skip
    said.sort(key=_order)
    concept, remark = moved.concept(found.current, found.reference, said)
    return Drifts(
        model=found.current.component,
        current=found.current.half,
        reference=found.reference.half,
        as_of=found.current.measures.reader.as_of,
        rows=tuple(said),
        concept=concept,
        remarks=(*_remarks(found), *([remark] if remark else [])),
    )


def _order(row: FeatureDrift) -> tuple[bool, bool, float, str]:
    """Features before what is none, what drifts first, then the largest effect."""
    return row.drift != "data drift", row.verdict != "drift", -(row.effect or 0.0), row.feature


def _compared(found: Pair) -> list[Key]:
    """What either side has; a feature that was never counted on this side is still in the list."""
    keys = {*found.current.histograms, *found.reference.histograms}
    if found.reference.stored:
        keys |= {key for key in found.references if key[0] in ("feature", "prediction")}
    return sorted(keys, key=lambda key: (COMPARED.index(key[0]), key[1]))


def _row(found: Pair, signal: str, name: str) -> tuple[FeatureDrift, drift.Comparison]:
    """One feature's row, still without its verdict."""
    key = signal, name
    mine, theirs, reason = _both(found, key)
    compared = drift.compare(theirs, mine, *_spread(found, key, theirs))
    feature, kind = (name, "data drift") if signal == "feature" else (
        drift_row.PREDICTION if signal == "prediction" else drift_row.SCORE, "prediction drift")  # fmt: skip
    return drift_row.row(feature, kind, compared, theirs, mine, reason or drift_row.why(compared)), compared


def both(found: Pair, key: Key) -> tuple[Histogram, Histogram]:
    """The current side and the reference on one set of bins."""
    mine, theirs, _ = _both(found, key)
    return mine, theirs


def labels(found: Pair) -> tuple[Histogram, Histogram]:
    """The labels of both sides; nothing of a regression."""
    was, there = moved.classes(found.current, found.reference)
    return there, was


def _both(found: Pair, key: Key) -> tuple[Histogram, Histogram, str]:
    """Both sides on one set of bins, and why not all of a side is in it (or nothing)."""
    here = found.current.histograms.get(key, {})
    there = found.reference.histograms.get(key, {})
    stored = found.references.get(key)
    if found.reference.stored and stored is not None:
        there = {stored.layout: stored.histogram}
    shared = sorted(here.keys() & there.keys(), key=lambda one: _weight(here[one], there[one], stored, one))
    if shared:
        chosen = shared[-1]
        left = sum(bins.total(one) for side in (here, there) for layout, one in side.items() if layout != chosen)
        reason = f"{left:,} rows on other bins are left out, as {_changed(stored)}" if left else ""
        return here[chosen], there[chosen], reason
    reason = f"{_changed(stored)}: the two sides are cut differently" if here and there else ""
    empty = Histogram(next(iter([*here.values(), *there.values()])).layout, {}, {})
    return _alone(here, empty, reason), _alone(there, empty, reason), reason


def _alone(side: Layouts, empty: Histogram, reason: str) -> Histogram:
    """A side without another to compare it with; without its rows where they lie on other bins than the other's."""
    return empty if reason else next(iter(side.values()), empty)


def _weight(here: Histogram, there: Histogram, stored: Reference | None, layout: int) -> tuple[bool, int]:
    return stored is not None and stored.layout == layout, min(bins.total(here), bins.total(there))


def _changed(stored: Reference | None) -> str:
    if stored is None:
        return "the bins are still provisional"
    return f"bins changed on {times.text(stored.made)[:10]}"


def _spread(found: Pair, key: Key, reference: Histogram) -> tuple[float | None, float]:
    """The reference's standard deviation where it is stored exactly, and how a stored one corrects that of its bins."""
    stored = found.references.get(key)
    if stored is None or stored.deviation is None or reference.layout != stored.histogram.layout:
        return None, 1.0
    if found.reference.stored:
        return stored.deviation, 1.0
    return None, stored.tail


def _remarks(found: Pair) -> Iterator[str]:
    """Sentences on features whose counts are no exact ones, and on sides that have nothing."""
    rough = sorted({name or "the prediction" for side in (found.current, found.reference)
                    for (_, name), layouts in side.histograms.items() if any(one.layout.approximate
                                                                             for one in layouts.values())})  # fmt: skip
    if rough:
        yield f"The counts of {', '.join(rough)} are approximate: they come from sketches, put onto these bins."
    for side, name, flags in ((found.current, "window", "--from"), (found.reference, "reference", "--reference-from")):
        if side.stored or side.histograms or not found.ids:
            continue
        window, began = side.half.window, first_hour(side.measures.reader, list(found.ids))
        assert window is not None
        if began is not None and window.until <= began:
            begin = times.text(began)
            yield f"The {name} lies before the first data of {side.component}, {begin}; choose a later one by {flags}."
        else:
            yield f"Nothing of {side.component} was counted in the {name}; see `tandem show {side.component}`."
