"""Half-open intervals of epoch seconds: union, difference, overlap, length."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """The same points as sorted, disjoint, non-touching spans; empty ones vanish."""
    merged: list[Span] = []
    for since, until in sorted(span for span in spans if span[1] > span[0]):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def subtract(spans: list[Span], taken: list[Span]) -> list[Span]:
    """The points of `spans` outside `taken`; both sorted and disjoint."""
    left: list[Span] = []
    for since, until in spans:
        begin = since
        for low, high in taken:
            if high <= begin or low >= until:
                continue
            if low > begin:
                left.append((begin, low))
            begin = max(begin, high)
        if begin < until:
            left.append((begin, until))
    return left


def overlap(spans: list[Span], since: int, until: int) -> list[Span]:
    """The part of `spans` inside [since, until)."""
    return [(max(low, since), min(high, until)) for low, high in spans if low < until and high > since]


def length(spans: Iterable[Span]) -> int:
    """Seconds covered by disjoint spans."""
    return sum(until - since for since, until in spans)
