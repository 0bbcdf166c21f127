"""Data quality from what is stored of it: which columns are faulty, since when, and how many values they had."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tandem import slo
from tandem.bins import MISSING
from tandem.counted import Counted
from tandem.measure import Measures
from tandem.modelled import Fault, Faulty, Quality
from tandem.records import HOUR
from tandem.store.read import step_for

REASONS = ("missing", "out of range", "unseen category", "wrong type")
STEPS = 60
"""Steps over the window, at most."""
LEAST = 0.01
"""Share of rows by which a fault must rise or fall to be told; less is noise of the pipeline, however certain."""
LEVEL = 0.01
"""Chance of telling anything at all of a window in which nothing changed."""


def quality(measures: Measures, component: str, found: Counted) -> Quality | None:
    """The columns of a model's rows, the faultiest first, and what began or ended; None where nobody counted rows.

    Before and during are compared over the window and as long before it.
    """
    if not found.volume.total:
        return None
    window = measures.window
    step = max(HOUR, step_for(window.since, window.until, STEPS))
    names = sorted(found.faults)
    begin = (window.since - (window.until - window.since)) // step * step
    rows, bad = _steps(measures, component, begin, step)
    starts = range(window.since // step * step, window.until, step)
    by_column: dict[str, dict[str, int]] = {}
    for name in names:
        column, _, reason = name.rpartition(":")
        if found.faults[name]:
            by_column.setdefault(column, {})[reason] = found.faults[name]
    volumes = _volumes(measures, component, starts, step, rows, bad)
    columns = [
        Faulty(
            column=column, rows=found.volume.total, faults=faults,
            interval=slo.wilson(min(sum(faults.values()), found.volume.total), found.volume.total),
            strip=tuple(_share(sum(bad.get((f"{column}:{reason}", start), 0) for reason in REASONS), rows.get(start, 0))
                        for start in starts),
            volume=volumes.get(column, ()),
        )
        for column in {*by_column, *volumes}
        for faults in (by_column.get(column, {}),)
    ]  # fmt: skip
    columns.sort(key=lambda one: (-sum(one.faults.values()), one.column))
    return Quality(step, tuple(columns), dated(rows, bad, window.since, window.until, step), found.volume.total)


def _share(part: int, whole: int) -> float | None:
    return min(part / whole, 1.0) if whole else None


def _steps(
    measures: Measures, component: str, begin: int, step: int
) -> tuple[dict[int, int], dict[tuple[str, int], int]]:
    """Rows per step, and rows with each fault per step."""
    volume = measures.counted(component, "volume")
    sources = {kept.placed.source for kept in volume}
    faults = [kept for kept in measures.every(component, "valid_rows")
              if kept.placed.name and kept.placed.source in sources]  # fmt: skip
    names = sorted({kept.placed.name for kept in faults})
    groups = {kept.id: 0 for kept in volume} | {kept.id: names.index(kept.placed.name) + 1 for kept in faults}
    rows: dict[int, int] = {}
    bad: dict[tuple[str, int], int] = {}
    for place, start, _, total in measures.reader.steps("ratio", groups, begin, measures.window.until, step):
        if place:
            bad[names[place - 1], int(start)] = int(total)
        else:
            rows[int(start)] = int(total)
    return rows, bad


def _volumes(
    measures: Measures, component: str, starts: range, step: int, rows: Mapping[int, int],
    bad: Mapping[tuple[str, int], int],
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Values that were there per step, by feature: of all rows those that no fault took the value from."""
    names = [name for name in measures.names(component, "feature") if name]
    if not measures.every(component, "valid_rows"):
        return _counted(measures, component, names, starts, step)
    absent = ("missing", "wrong type")
    return {
        name: tuple(rows.get(start, 0) - sum(bad.get((f"{name}:{reason}", start), 0) for reason in absent)
                    for start in starts)
        for name in names
    }  # fmt: skip


def _counted(
    measures: Measures, component: str, names: Sequence[str], starts: range, step: int
) -> dict[str, tuple[int, ...]]:
    """The same from the features' own histograms, where no source tells faults."""
    groups = {kept.id: place for place, name in enumerate(names)
              for kept in measures.counted(component, "feature", name)}  # fmt: skip
    counts: dict[tuple[int, int], int] = {}
    for place, start, key, n, _ in measures.reader.steps("histogram", groups, starts.start, starts.stop, step):
        if key != MISSING:
            counts[place, int(start)] = counts.get((place, int(start)), 0) + int(n)
    return {name: tuple(counts.get((place, start), 0) for start in starts) for place, name in enumerate(names)}


def dated(
    rows: Mapping[int, int], bad: Mapping[tuple[str, int], int], since: int, until: int, step: int
) -> tuple[Fault, ...]:
    """When faults began and ended in [since, until), newest first; steps before it say what was usual.

    A fault begins with the first step whose share lies above what was usual so far, by at least LEAST, with at least
    as many bad rows as an alert needs, and certainly: the exact binomial chance of so many, at the upper end of what
    was usual, is below LEVEL over all steps and faults (Bonferroni). It ends with the first step surely below it.
    """
    names = sorted({name for name, _ in bad})
    starts = sorted(start for start in rows if start + step > since and start < until)
    if not starts or not names:
        return ()
    level = LEVEL / (len(names) * len(starts))
    before = sum(n for start, n in rows.items() if start < starts[0])
    found: list[Fault] = []
    for name in names:
        known = sum(n for (one, start), n in bad.items() if one == name and start < starts[0])
        found += _of_one(name, (known, before), [(start, bad.get((name, start), 0), rows[start]) for start in starts],
                         step, level)  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.since, one.column, one.reason)))


def _of_one(
    name: str, usual: tuple[int, int], steps: Sequence[tuple[int, int, int]], step: int, level: float
) -> list[Fault]:
    """The stretches of one fault; what is usual grows with every step that is none.

    A step with too few rows to tell belongs to the fault if it goes on afterwards.
    """
    column, _, reason = name.rpartition(":")
    k, n = usual
    found: list[Fault] = []
    begun: list[tuple[int, int, int]] = []
    open_: list[tuple[int, int, int]] = []
    for one in steps:
        if _above(one[1:], (k, n), level):
            begun, open_ = [*begun, *open_, one], []
        elif begun and not _back(one[1:], begun):
            open_.append(one)
        else:
            if begun:
                found.append(_fault(column, reason, begun, (open_ or [one])[0][0], (k, n), step))
            k, n = (total + sum(some[place] for some in (*open_, one)) for total, place in ((k, 1), (n, 2)))
            begun, open_ = [], []
    if begun:
        found.append(_fault(column, reason, [*begun, *open_], None, (k, n), step))
    return found


def _back(here: tuple[int, int], begun: Sequence[tuple[int, int, int]]) -> bool:
    """Whether a step is surely below what the fault was so far."""
    (bad, rows), k, n = here, sum(one[1] for one in begun), sum(one[2] for one in begun)
    interval = slo.newcombe(bad, rows, k, n) if rows else None
    return interval is not None and interval[1] < 0


def _above(here: tuple[int, int], usual: tuple[int, int], level: float) -> bool:
    """Whether a step's share is above what was usual; without anything before, nothing is known to be unusual."""
    (bad, rows), (k, n) = here, usual
    if not n or bad < slo.EVIDENCE or bad / rows - k / n < LEAST:
        return False
    interval = slo.wilson(k, n)
    return interval is not None and _tail(bad, rows, interval[1]) < level


def _tail(bad: int, rows: int, share: float) -> float:
    """The exact chance of at least so many bad ones of that many rows, when each is bad with that chance."""
    if share >= 1:
        return 1.0
    term = math.exp(
        math.lgamma(rows + 1) - math.lgamma(bad + 1) - math.lgamma(rows - bad + 1)
        + bad * math.log(share) + (rows - bad) * math.log1p(-share)
    )  # fmt: skip
    total, odds = 0.0, share / (1 - share)
    for place in range(bad, rows + 1):
        total += term
        if term < total * 1e-12:
            break
        term *= (rows - place) / (place + 1) * odds
    return total


def _fault(
    column: str,
    reason: str,
    begun: Sequence[tuple[int, int, int]],
    until: int | None,
    usual: tuple[int, int],
    step: int,
) -> Fault:
    bad, rows = (sum(one[place] for one in begun) for place in (1, 2))
    return Fault(column, reason, begun[0][0], until, bad, rows, usual[0] / usual[1] if usual[1] else 0.0, step)
