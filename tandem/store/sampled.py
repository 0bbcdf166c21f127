"""Samples over a window: every one of some series, as of a load."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.store.file import Kept
from tandem.store.read import Reader


def samples(
    reader: Reader, some: Sequence[Kept], since: int, until: int
) -> list[tuple[Kept, float, str, int, float]]:  # fmt: skip
    """(series, ts, run, step, value) of the samples in [since, until), oldest first; a corrected one is said once."""
    if not some:
        return []
    known = {kept.id: kept for kept in some}
    rows = reader.cursor.execute(
        """
        SELECT series, ts, micros, run, step, arg_max(value, load_id) AS newest FROM sample
        WHERE load_id <= $as_of AND list_contains($ids::INTEGER[], series) AND ts >= $since AND ts < $until
        GROUP BY series, ts, micros, run, step HAVING newest <> ''
        ORDER BY ts, micros, series, run, step""",
        {"as_of": reader.as_of, "ids": list(known), "since": since, "until": until},
    ).fetchall()
    return [
        (known[series], ts + micros / 1e6, run, step, float(value)) for series, ts, micros, run, step, value in rows
    ]
