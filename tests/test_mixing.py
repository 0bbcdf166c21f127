"""Mix or real: the parts of a change against the formula on raw rows, in fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem import mixing

SIMPSON = ({"a": (760, 800), "b": (120, 200)}, {"a": (384, 400), "b": (372, 600)})

counts = st.integers(0, 50).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
sides = st.dictionaries(st.sampled_from("abcd"), counts)


def _whole(side):
    return sum(k for k, _ in side.values()), sum(n for _, n in side.values())


def test_simpsons_example_is_mix():
    found = mixing.mixed("country", *SIMPSON, ((880, 1000), (756, 1000)))
    assert (found.mix, found.within, found.interaction) == pytest.approx((-0.14, 0.012, 0.004), abs=1e-12)
    assert found.change == pytest.approx(-0.124, abs=1e-12)
    assert found.verdict == "mix"
    assert found.interval[1] < 0
    assert [one.segment for one in found.segments] == ["b", "a"]


def test_a_segment_that_got_worse_is_real():
    found = mixing.mixed("c", {"a": (900, 1000), "b": (900, 1000)}, {"a": (900, 1000), "b": (600, 1000)},
                         ((1800, 2000), (1500, 2000)))  # fmt: skip
    assert (found.verdict, found.mix, found.within) == ("real", 0, pytest.approx(-0.15))
    assert found.segments[0].segment == "b"


def test_few_rows_are_not_enough_and_no_change_is_none():
    few = mixing.mixed("c", {"a": (9, 10)}, {"a": (8, 10)}, ((9, 10), (8, 10)))
    assert few.verdict == "not enough data"
    assert mixing.mixed("c", {"a": (9, 10)}, {"a": (9, 10)}, ((9, 10), (9, 10))).verdict == "unchanged"
    both = mixing.verdict(Fraction(-1, 10), Fraction(-1, 20), (-0.2, -0.05))
    assert both == "both"


@settings(deadline=None)
@given(sides, sides, counts, counts)
def test_the_parts_add_up_to_the_change_that_is_shown_whatever_no_segment_holds(before, after, rest0, rest1):
    whole = tuple(tuple(map(sum, zip(_whole(side), rest, strict=True)))
                  for side, rest in ((before, rest0), (after, rest1)))  # fmt: skip
    found = mixing.mixed("c", before, after, whole)
    if not whole[0][1] or not whole[1][1]:
        assert found is None
        return
    change = Fraction(*whole[1]) - Fraction(*whole[0])
    assert abs(found.mix + found.within + found.interaction - float(change)) < 1e-12
    assert found.change == float(change)
    for part in ("mix", "within", "interaction"):
        assert abs(sum(getattr(one, part) for one in found.segments) - getattr(found, part)) < 1e-12
    assert sum(one.before[1] for one in found.segments) == whole[0][1]


def test_segments_that_hold_more_than_the_whole_are_no_parts_of_it():
    assert mixing.mixed("c", {"a": (5, 10)}, {"a": (5, 10)}, ((5, 9), (5, 10))) is None
