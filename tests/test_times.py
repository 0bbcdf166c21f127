"""Times as people and systems write them."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem import times

NOW = int(datetime(2026, 11, 21, 11, 45, 13, tzinfo=UTC).timestamp())


def epoch(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        (" now ", NOW),
        ("now-24h", NOW - 86400),
        ("now-7d", NOW - 7 * 86400),
        ("now-90m", NOW - 5400),
        ("now+1h", NOW + 3600),
        ("now-2w", NOW - 14 * 86400),
        ("now/d", epoch(2026, 11, 21)),
        ("now/h", epoch(2026, 11, 21, 11)),
        ("now/m", epoch(2026, 11, 21, 11, 45)),
        ("now/w", epoch(2026, 11, 16)),
        ("now/M", epoch(2026, 11, 1)),
        ("now/y", epoch(2026, 1, 1)),
        ("now-1M/M", epoch(2026, 10, 1)),
        ("now-11M/M", epoch(2025, 12, 1)),
        ("now-1d/d+6h", epoch(2026, 11, 20, 6)),
        ("2026-11-20T18:00:00Z", epoch(2026, 11, 20, 18)),
        ("2026-11-20t18:00Z".upper(), epoch(2026, 11, 20, 18)),
        ("2026-11-20 18:00:00+02:00", epoch(2026, 11, 20, 16)),
        ("2026-11-20T18:00:00.999-0530", epoch(2026, 11, 20, 23, 30)),
        ("20261120T1800Z", epoch(2026, 11, 20, 18)),
        ("20261120T180005+01", epoch(2026, 11, 20, 17, 0, 5)),
        ("2016-12-31T23:59:60Z", epoch(2017, 1, 1)),
        ("2026-11-20", epoch(2026, 11, 20)),
        ("20261120", epoch(2026, 11, 20)),
        (str(NOW), NOW),
        (str(NOW * 1000 + 7), NOW),
        ("99999999999", 99999999999),
        ("100000000000", 100000000),
        ("0", 0),
    ],
)
def test_a_time_that_a_person_writes(text: str, expected: int) -> None:
    assert times.parse(text, NOW) == expected


def test_a_month_back_from_its_last_day_stays_in_the_month_before() -> None:
    assert times.parse("now-1M", epoch(2026, 3, 31, 12)) == epoch(2026, 2, 28, 12)
    assert times.parse("now-1y", epoch(2024, 2, 29)) == epoch(2023, 2, 28)


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "now-", "now-5", "now-5x", "now - 5m", "nowish", "now/q", "-5", "1.5", "1e9", "٣", "9" * 30,
        "2026-02-30", "2026-13-01", "2026-11-20T25:00Z", "2026-11-20T18:00", "2026-11-20T18:00+99:00",
        "now-999999y", "<script>alert(1)</script>" * 50, "2026-11-20T18:00Z; drop",
    ],
)  # fmt: skip
def test_what_is_no_time_is_one_sentence(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        times.parse(text, NOW)
    said = str(refused.value)
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 220


@given(st.integers(0, times.LAST))
def test_text_and_parse_are_inverse(ts: int) -> None:
    assert times.parse(times.text(ts), NOW) == ts


def test_text_leaves_fractions_out_and_refuses_what_no_calendar_has() -> None:
    assert times.text(1.999) == "1970-01-01T00:00:01Z"
    with pytest.raises(ValueError):
        times.text(-1)
    with pytest.raises(ValueError):
        times.text(math.nan)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5m", 300), ("90s", 90), ("1h30m", 5400), ("28d", 28 * 86400), ("2w", 14 * 86400), ("0s", 0)],
)
def test_duration(text: str, expected: int) -> None:
    assert times.duration(text) == expected


@pytest.mark.parametrize("text", ["", "5", "5M", "m", "-5m", "1.5h", "5 m", "forever"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        times.duration(text)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([300, 3600]))
def test_a_window_moves_outwards_and_never_past_now(since: int, length: int, after: int, width: int) -> None:
    until, now = since + length, since + after
    begin, end = times.window(since, until, now, width)
    assert begin % width == 0
    assert since - width < begin <= since
    assert end <= now
    if until <= now:
        assert until <= end < until + width
    assert end % width == 0 or end == now


def test_the_end_of_a_window_in_the_bucket_that_is_being_filled_is_now() -> None:
    now = epoch(2026, 11, 21, 12, 3)
    assert times.window(epoch(2026, 11, 21, 11, 1), epoch(2026, 11, 21, 12, 2), now) == (epoch(2026, 11, 21, 11), now)
    assert times.window(epoch(2026, 11, 21, 11), epoch(2026, 11, 22), now) == (epoch(2026, 11, 21, 11), now)


def test_a_window_without_inside_is_refused() -> None:
    with pytest.raises(ValueError, match="before it ends"):
        times.window(600, 600, NOW)
    with pytest.raises(ValueError, match="not before now"):
        times.window(NOW + 600, NOW + 900, NOW)


def test_an_hour_that_repeats_is_the_earlier_one() -> None:
    when = datetime(2026, 10, 25, 2, 30)
    assert times.local(when, "Europe/Berlin") == epoch(2026, 10, 25, 0, 30)
    assert times.local(when.replace(fold=1), "Europe/Berlin") == epoch(2026, 10, 25, 0, 30)
    assert times.repeats(when, "Europe/Berlin")
    assert not times.repeats(when + timedelta(hours=1), "Europe/Berlin")


def test_an_hour_that_never_was_is_refused() -> None:
    with pytest.raises(ValueError, match="never was in America/New_York"):
        times.local(datetime(2026, 3, 8, 2, 30), "America/New_York")
    assert not times.repeats(datetime(2026, 3, 8, 2, 30), "America/New_York")


@given(st.integers(epoch(1971, 1, 1), epoch(2037, 1, 1)), st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "UTC"]))
def test_a_wall_clock_reads_back_as_the_earlier_of_its_times(ts: int, name: str) -> None:
    wall = datetime.fromtimestamp(ts, ZoneInfo(name)).replace(tzinfo=None)
    expected = ts - 3600 if times.repeats(wall, name) and times.local(wall, name) != ts else ts
    assert times.local(wall, name) == expected


def test_iso_without_offset_needs_a_zone() -> None:
    assert times.iso("2026-07-01T12:00:00", "Europe/Berlin") == epoch(2026, 7, 1, 10)
    assert times.iso("2026-07-01T12:00:00Z", "Europe/Berlin") == epoch(2026, 7, 1, 12)
    with pytest.raises(ValueError, match="no offset"):
        times.iso("2026-07-01T12:00:00")
    with pytest.raises(ValueError, match="year is 1"):
        times.iso("0001-01-01T00:00:00", "UTC")


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe", "/etc/localtime", "a\0b"])
def test_an_unknown_zone_is_one_sentence(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        times.zone(name)
