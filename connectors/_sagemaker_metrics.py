"""Requests of an endpoint, from what AWS' command line prints of CloudWatch's sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from connectors._fields import Raw, Unusable, rows_of, text_of
from connectors._sagemaker import when_of
from tandem.records import BUCKET, Fact, Labels, Ratio, Series, bucket_of

ASKED, FAILED = "Invocations", "Invocation5XXErrors"


def requests(document: Raw, labels: Labels, until: int) -> list[Fact]:
    """Requests that did not fail on the server's side, in the 5-minute buckets that lie wholly between two points.

    Raises Unusable for sums that are not complete, or of a period that is longer than a bucket.
    """
    sums = {name: found for raw in rows_of(document, "MetricDataResults") for name, found in [_sums(raw)] if name}
    if sums.keys() != {ASKED, FAILED}:
        raise Unusable(f"it needs the sums of {ASKED} and {FAILED}, each under its name as label or id")
    times = sorted(sums[ASKED])
    width = math.gcd(*(later - before for before, later in pairwise(times)), 0)
    if not width or BUCKET % width or times[0] % width:
        raise Unusable("its points lie more than 300 s apart; ask with a period of 60 or 300 s")
    asked, failed = (_by_bucket(sums[name]) for name in (ASKED, FAILED))
    found = []
    for ts in sorted(asked):
        whole = times[0] <= ts and ts + BUCKET <= min(times[-1] + width, until)
        if whole and failed.get(ts, (0, 0))[1] == asked[ts][1]:  # a point of one sum without the other says nothing
            total, bad = asked[ts][0], failed[ts][0]
            if bad > total:
                raise Unusable("it counts more failures than requests")
            found.append(Fact(Series("request_success", labels), ts, Ratio(total - bad, total)))
    return found


def _sums(raw: Raw) -> tuple[str, Mapping[int, int]]:
    """The name of a sum and its points by epoch seconds; "" for another metric."""
    said = {text_of(raw, name).lower() for name in ("Label", "Id")}
    name = next((one for one in (ASKED, FAILED) if one.lower() in said), "")
    stamps, values = raw.get("Timestamps"), raw.get("Values")
    if not name:
        return "", {}
    if text_of(raw, "StatusCode") != "Complete":
        raise Unusable(f"{name} is not complete; ask for it again, to its last page")
    if not isinstance(stamps, list) or not isinstance(values, list) or len(stamps) != len(values):
        raise Unusable(f"{name} has other times than values")
    return name, {when_of({"at": at}, "at"): _whole(value) for at, value in zip(stamps, values, strict=True)}


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
        raise Unusable("a sum is no count")
    return int(value)


def _by_bucket(points: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Sum and number of points by bucket."""
    found: dict[int, tuple[int, int]] = {}
    for ts, n in points.items():
        total, count = found.get(bucket_of(ts), (0, 0))
        found[bucket_of(ts)] = (total + n, count + 1)
    return found
