"""The other side of a comparison as one value of a link: compare=previous, week, version:7, segment:country=DE,
stage:training, change:deployment/KEY (before it) or window:FROM..TO.
"""

from __future__ import annotations

from tandem import times
from tandem.records import BUCKET, DAY
from tandem.shown import Half, Window

WEEK = 7 * DAY
PLAIN = ("previous", "week")
KINDS = ("version", "segment", "stage", "change", "window")
OWN = ("version", "segment", "change")
"""Kinds that are of one component and mean nothing for another."""
STAGES = ("production", "evaluation", "training", "estimated")
BETWEEN = ".."


def checked(given: str) -> str:
    """The value as it is; raises ValueError for one that means nothing."""
    if given in PLAIN:
        return given
    kind, colon, value = given.partition(":")
    if not colon or not value or not given.isprintable() or kind not in KINDS:
        raise ValueError
    if kind == "segment" and not all(part.partition("=")[0] and "=" in part for part in value.split(",")):
        raise ValueError
    if kind == "stage" and value not in STAGES:
        raise ValueError
    if kind == "window" and not all(part and part.isascii() for part in value.partition(BETWEEN)[::2]):
        raise ValueError
    return given


def kind_of(compare: str) -> tuple[str, str]:
    """What sets the other side apart, and its name: ("version", "7"); ("previous", "")."""
    kind, _, value = compare.partition(":")
    return kind, value


def window_of(compare: str, shown: Window, now: int, earliest: int) -> Window | None:
    """The window of the other side where it is another one; None where it is not, or cannot be."""
    length = shown.until - shown.since
    kind, value = kind_of(compare)
    if kind == "window":
        return _free(value, now, earliest)
    # Five minutes in which a change happened belong to neither side.
    end = {"previous": shown.since, "week": shown.until - WEEK, "change": shown.since - BUCKET}.get(kind)
    return Window(end - length, end) if end is not None and end - length >= earliest else None


def _free(value: str, now: int, earliest: int) -> Window | None:
    begin, _, end = value.partition(BETWEEN)
    try:
        since, until = times.parse(begin, now) // BUCKET * BUCKET, -(-times.parse(end, now) // BUCKET) * BUCKET
    except (ValueError, OverflowError):
        return None
    until = min(until, now // BUCKET * BUCKET)
    return Window(since, until) if earliest <= since < until else None


def half(compare: str, shown: Half, window: Window | None) -> Half | None:
    """The other side in full: as `shown`, but for what sets it apart; None for a window that there is not."""
    kind, value = kind_of(compare)
    if kind == "version":
        return Half("version", shown.window, value, shown.segment, shown.stage, shown.environment)
    if kind == "segment":
        return Half("segment", shown.window, shown.version, value, shown.stage, shown.environment)
    if kind == "stage":
        return Half("stage", shown.window, shown.version, shown.segment, value, shown.environment)
    return Half("window", window, shown.version, shown.segment, shown.stage, shown.environment) if window else None
