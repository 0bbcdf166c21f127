"""How each source is doing: its state, what it covers, what it could not count, and what to do next."""

from __future__ import annotations

import glob
import json

from tandem.config import Source
from tandem.intervals import length, overlap, union
from tandem.measure import GRACE, LATE, Measures
from tandem.shown import Sources, SourceState
from tandem.store.read import step_for

CELLS = 96
"""Columns of the coverage strip."""


def sources(measures: Measures) -> Sources:
    """All configured sources in their order, then those that were only imported."""
    step = step_for(measures.window.since, measures.window.until, CELLS)
    numbers = {id(source): number for number, source in measures.configured.items()}
    states = [_state(measures, source, numbers.get(id(source)), step) for source in measures.config.sources]
    known = measures.reader.sources()
    states += [_imported(measures, number, step) for number in sorted(known) if number not in measures.configured]
    return Sources(measures.window, measures.now, step, measures.reader.as_of, tuple(states))


def _state(measures: Measures, source: Source, number: int | None, step: int) -> SourceState:
    scope = source.connector.scope(source.config)
    return _described(measures, source.name, source.common.connector, scope, source.connector.ABOUT.side, number,
                      source.every, step)  # fmt: skip


def _imported(measures: Measures, number: int, step: int) -> SourceState:
    connector, scope = measures.reader.sources()[number]
    return _described(measures, measures.source_name(number), connector, scope, "", number, 0, step)


def _described(
    measures: Measures, name: str, connector: str, scope: str, side: str, number: int | None, every: int, step: int
) -> SourceState:  # fmt: skip
    pulls = measures.reader.pulls(number) if number is not None else []
    newest = measures.newest.get(number) if number is not None else None
    newest = min(newest, measures.now) if newest is not None else None  # its bucket may not be over yet
    found = measures.reader.rejects(number) if number is not None else []
    unmatched = tuple((_labels(reason), n) for kind, reason, _, n in found if kind == "unmatched")
    state = _word(measures, number, pulls, every, newest)
    error = pulls[0][3] if pulls else ""
    strip = _strip(measures, number, step, every) if number is not None else ()
    return SourceState(
        name=name, connector=connector, scope=scope, side=side, state=state, newest=newest,
        last_pull=pulls[0][1] if pulls else None, last_error=error, summary=_summary(pulls), every=every,
        next_step=_next(name, state, error, bool(unmatched)),
        coverage=_share(measures, number) if number is not None else None, strip=strip,
        rejects=tuple((reason, place, n) for kind, reason, place, n in found if kind == "reject"),
        remarks=tuple((reason, place, n) for kind, reason, place, n in found if kind == "remark"),
        unmatched=unmatched, paste=_paste(found),
    )  # fmt: skip


def _word(measures: Measures, number: int | None, pulls: list[tuple[str, int, str, str, int, int]], every: int,
          newest: int | None) -> str:  # fmt: skip
    if number is None or not pulls:
        return "never run"
    if pulls[0][2] == "failed":
        return "failing"
    if newest is None and not measures.seen_until(number):
        return "no data"
    if every and measures.seen_until(number) < measures.now - max(LATE * every, GRACE):
        return "late"
    return "up to date"


def _next(name: str, state: str, error: str, unmatched: bool) -> str:
    if state == "never run":
        return f"Run `tandem sync {name}`."
    if state == "failing":
        return f"{error} What was there before is kept."
    if state == "late":
        return f"Nothing new has come within three of its intervals; run `tandem sync {name}` or see why it is quiet."
    if unmatched:
        return "Some records belong to no component; paste the block below into tandem.toml."
    if state == "no data":
        return "It was read and held nothing; check what it points at."
    return ""


def _summary(pulls: list[tuple[str, int, str, str, int, int]]) -> str:
    if not pulls:
        return ""
    _, _, outcome, _, pages, rows = pulls[0]
    return f"{rows:,} summary rows from {pages:,} pages" if outcome == "done" else "failed"


def _labels(text: str) -> str:
    labels = json.loads(text)
    return ", ".join(f"{name}={value}" for name, value in labels.items()) or "no labels at all"


def _paste(found: list[tuple[str, str, str, int]]) -> str:
    """A block for the most frequent labels that nothing matches; TOML strings, so that names stay names."""
    first = next((json.loads(reason) for kind, reason, _, _ in found if kind == "unmatched" and reason != "{}"), None)
    if first is None:
        return ""
    match = ", ".join(f"{_quoted(name)} = {_quoted(glob.escape(value))}" for name, value in list(first.items())[:3])
    return f'  [[source.map]]\n  component = "NAME"\n  match = {{ {match} }}\n'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _strip(measures: Measures, number: int, step: int, every: int) -> tuple[float | None, ...]:
    """Share of the expected that was seen per step; what the next pull still has time to bring is not expected yet."""
    due = max(measures.seen_until(number), measures.now - max(LATE * every, GRACE))
    keys = [spans for (source, _, _), spans in measures.coverage_spans.items() if source == number]
    cells: list[float | None] = []
    for start in range(measures.window.since // step * step, measures.window.until, step):
        end = min(start + step, measures.now, due)
        if end <= start:
            cells.append(None)
        else:
            seen = [length(overlap(spans, start, end)) / (end - start) for spans in keys]
            cells.append(sum(seen) / len(seen) if seen else 0.0)
    return tuple(cells)


def _share(measures: Measures, number: int) -> float | None:
    since, until = measures.window.since, min(measures.window.until, measures.now)
    keys = [spans for (source, _, _), spans in measures.coverage_spans.items() if source == number]
    if not keys or until <= since:
        return None
    return sum(length(overlap(union(spans), since, until)) / (until - since) for spans in keys) / len(keys)
