"""Mix or real: whether a ratio changed because the traffic did, or because its segments did."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

from tandem.quality import Counts, mix
from tandem.shown import Mixed, MixedSegment
from tandem.slo import newcombe, wilson

Verdict = Literal["mix", "real", "both", "not enough data", "unchanged"]
REST = "(not in a segment)"
"""What the segments of a column leave of the whole."""
MOST = Fraction(2, 3)
"""Share of a change that one part must make to give it its name."""


def mixed(
    column: str, before: Mapping[str, Counts], after: Mapping[str, Counts], whole: tuple[Counts, Counts]
) -> Mixed | None:
    """The parts of the change of a ratio over the segments of one column; None where a side is empty.

    `before` and `after` have (good, total) per segment, `whole` those of both sides altogether: what no segment holds
    is one of its own, so that the parts add up to the change that is shown. None as well where segments hold more
    than the whole, because then they are not parts of it.
    """
    sides = [_completed(side, total) for side, total in zip((before, after), whole, strict=True)]
    first, second = sides
    if first is None or second is None:
        return None
    parts = mix(first, second)
    if parts is None:
        return None
    (k0, n0), (k1, n1) = whole
    interval = newcombe(k1, n1, k0, n0)
    assert interval is not None
    return Mixed(
        column=column, before=(k0, n0), after=(k1, n1), change=float(parts.change), interval=interval,
        mix=float(parts.mix), within=float(parts.within), interaction=float(parts.interaction),
        verdict=verdict(parts.change, parts.mix, interval), segments=_segments(first, second, Fraction(k0, n0)),
    )  # fmt: skip


def verdict(change: Fraction, mixing: Fraction, interval: tuple[float, float]) -> Verdict:
    """What a change is mostly: "mix" or "real" where at least two thirds of it are; "both" between.

    "not enough data" where the interval of the change includes 0, "unchanged" where nothing moved at all.
    """
    if not change:
        return "unchanged"
    if interval[0] <= 0 <= interval[1]:
        return "not enough data"
    share = mixing / change
    if share >= MOST:
        return "mix"
    return "real" if share <= 1 - MOST else "both"


def _completed(side: Mapping[str, Counts], whole: Counts) -> dict[str, Counts] | None:
    """A side with what its segments leave of the whole; None where they hold more than it, or it is empty."""
    good, total = (whole[place] - sum(counts[place] for counts in side.values()) for place in (0, 1))
    if not whole[1] or total < 0 or not 0 <= good <= total:
        return None
    return {**side, REST: (good, total)} if total else dict(side)


def _segments(before: Mapping[str, Counts], after: Mapping[str, Counts], whole: Fraction) -> tuple[MixedSegment, ...]:
    """Each segment with what it adds to the change, the largest first.

    Its part of the mix is counted from the whole's rate: more traffic moves a ratio only as far as its own differs.
    """
    n0, n1 = (sum(n for _, n in side.values()) for side in (before, after))
    found = []
    for name in sorted({*before, *after}):
        (k0, t0), (k1, t1) = before.get(name, (0, 0)), after.get(name, (0, 0))
        w0, w1 = Fraction(t0, n0), Fraction(t1, n1)
        if not t0 and not t1:
            continue
        r0 = Fraction(k0, t0) if t0 else Fraction(k1, t1)
        r1 = Fraction(k1, t1) if t1 else r0
        found.append(
            MixedSegment(
                segment=name, before=(k0, t0), after=(k1, t1), interval_before=wilson(k0, t0),
                interval_after=wilson(k1, t1), mix=float((w1 - w0) * (r0 - whole)), within=float(w0 * (r1 - r0)),
                interaction=float((w1 - w0) * (r1 - r0)),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-abs(one.mix + one.within + one.interaction), one.segment)))
