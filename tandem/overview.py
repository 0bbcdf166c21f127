"""The Overview: both sides over one window, as cards, one row per product and one timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tandem import against, cards, joint, lanes, lines, stepped
from tandem.config import Component, Config
from tandem.measure import Answer, Asked, Measures, verdict
from tandem.shown import STATES, Card, Cell, Half, Line, Overview, Row, State, Window, worst
from tandem.stepped import Share
from tandem.store.read import step_for

SPARK = 90
"""Points of a sparkline."""
SYSTEM = ("build_success", "availability", "latency", "request_success")
MODEL = ("outcome", "drift", "valid_rows", "label_coverage")
"""Signals of the cards and of the state table; a regression's error stands where accuracy does."""
COLUMNS = frozenset({*SYSTEM, *MODEL, "error"})
TROUBLE: tuple[State, ...] = ("breached", "at risk")


def answer(
    measures: Measures, chosen: Sequence[Component], compare: Window | Half | None, environment: str
) -> Overview:
    """Both sides over the window: cards, one row per product, one timeline; with `compare`, what all was then."""
    window = measures.window
    kinds = {one.name: one.kind for one in chosen}
    asked, others = _columned(measures.asked([one.name for one in chosen]))
    answers = measures.answers([*asked, *others])
    cells = {(a.asked.component, a.asked.signal.name): a for a in answers[: len(asked)]}
    beyond = _beyond(measures, answers[len(asked) :])
    shown = {key: cards.cell(measures, answer) for key, answer in cells.items()}
    then = against.earlier(measures, compare, cells)
    if then:
        shown = {key: then.cell(key, cell, cells[key]) for key, cell in shown.items()}
    rows = _rows(measures.config, chosen, shown, cells, beyond)
    step = step_for(window.since, window.until, SPARK)
    changes = lanes.changed(measures, window, [one.name for one in chosen], environment)
    sparks, timeline = _drawn(measures, cells)
    carded = {side: _cards(cells, shown, sparks, names) for side, names in (("system", SYSTEM), ("model", MODEL))}
    if then:
        carded = {side: _compared(some, then) for side, some in carded.items()}
    return Overview(
        window=window, as_of=measures.reader.as_of, step=step, now=measures.now,
        newest=measures.newest_end(), late=measures.late_sources(),
        services=sum(kind == "service" for kind in kinds.values()),
        models=sum(kind == "model" for kind in kinds.values()),
        attention={"system": _attention(shown, beyond, kinds, "service"),
                   "model": _attention(shown, beyond, kinds, "model")},
        cards={"system": carded["system"], "model": carded["model"]},
        columns={"system": _columns(shown, SYSTEM, measures.config), "model": _columns(shown, MODEL, measures.config)},
        rows=rows, lines=timeline, changes=tuple(changes[: lanes.CHANGES]),
        truncated=max(0, len(changes) - lanes.CHANGES),
        compared=against.window_of(window, compare),
    )  # fmt: skip


def _compared(some: Sequence[Card], then: against.Earlier) -> tuple[Card, ...]:
    """Cards with what they were over the other window, their sparklines read together."""
    keys = [[key for key in then.answers if _column(key[1]) == _column(card.cell.signal)] for card in some]
    asks = [lines.sparked(then.measures, [then.answers[key] for key in mine]) for mine in keys]
    sparks = stepped.shares(then.measures, asks)
    return tuple(then.card(*three) for three in zip(some, keys, sparks, strict=True))


def _first_each(asked: Sequence[Asked]) -> list[Asked]:
    """The first objective of each signal of each component: one cell each."""
    found: dict[tuple[str, str], Asked] = {}
    for one in asked:
        found.setdefault((one.component, one.signal.name), one)
    return list(found.values())


def _columned(asked: Sequence[Asked]) -> tuple[list[Asked], list[Asked]]:
    """What has a card and a column, the first objective of each signal; and every other objective."""
    first = _first_each([one for one in asked if one.signal.name in COLUMNS])
    drawn = {id(one) for one in first}
    return first, [one for one in asked if one.target is not None and id(one) not in drawn]


def _beyond(measures: Measures, answers: Sequence[Answer]) -> dict[str, tuple[list[Cell], list[State]]]:
    """Of each component the objectives without a column that are in trouble, worst first, and the states of all."""
    found: dict[str, tuple[list[Cell], list[State]]] = {}
    for answer in answers:
        cells, states = found.setdefault(answer.asked.component, ([], []))
        state = verdict(answer).state
        states.append(state)
        if state in TROUBLE:
            cells.append(cards.cell(measures, answer))
    for cells, _ in found.values():
        cells.sort(key=cards.badness)
    return found


def _column(signal: str) -> str:
    return "outcome" if signal == "error" else signal


def _rows(
    config: Config, chosen: Sequence[Component], shown: Mapping[tuple[str, str], Cell],
    answers: Mapping[tuple[str, str], Answer], beyond: Mapping[str, tuple[list[Cell], list[State]]],
) -> tuple[Row, ...]:  # fmt: skip
    rows = []
    for product in dict.fromkeys(one.product for one in chosen):
        mine = [one for one in chosen if one.product == product]
        both = joint.pairs([c for c in mine if c.kind == "service"], [c for c in mine if c.kind == "model"])
        for service, model in both:
            system = {s: shown[service, s] for s in SYSTEM if (service, s) in shown}
            models = {_column(s): shown[model, s] for s in ("error", *MODEL) if (model, s) in shown}
            version = next((cell.version for cell in models.values() if cell.version), "")
            more = [beyond[name] for name in (service, model) if name in beyond]
            state = worst(
                [*cards.judged([*system.values(), *models.values()]), *(one for _, some in more for one in some)]
            )
            together = joint.joint(config, product, service, model, answers)
            cells = tuple(cell for some, _ in more for cell in some)
            rows.append(Row(product, state, service, system, model, version, models, together, cells))
    return tuple(sorted(rows, key=lambda row: (STATES.index(row.state), -_trouble(row), row.product, row.service)))


def _trouble(row: Row) -> float:
    """How much of their budgets a row's cells have spent, the worst counting; orders rows of one state."""
    left = [cell.objective.budget_left for cell in (*row.system.values(), *row.models.values(), *row.beyond)
            if cell.objective and cell.objective.budget_left is not None]  # fmt: skip
    return -min(left, default=1.0)


def _attention(
    shown: Mapping[tuple[str, str], Cell], beyond: Mapping[str, tuple[list[Cell], list[State]]],
    kinds: Mapping[str, str], kind: str,
) -> int:  # fmt: skip
    troubled = {cell.component for cell in shown.values() if cell.objective and cell.state in TROUBLE}
    troubled |= {component for component, (cells, _) in beyond.items() if cells}
    return sum(kinds.get(name) == kind for name in troubled)


def _columns(
    shown: Mapping[tuple[str, str], Cell], signals: Sequence[str], config: Config
) -> tuple[tuple[str, str], ...]:
    there = {_column(signal) for _, signal in shown}
    return tuple((signal, config.signals[signal].title) for signal in signals if signal in there)


def _cards(
    answers: Mapping[tuple[str, str], Answer], shown: Mapping[tuple[str, str], Cell], sparks: Mapping[str, Share],
    signals: Sequence[str],
) -> tuple[Card, ...]:  # fmt: skip
    found = []
    for signal in signals:
        mine = [key for key in shown if _column(key[1]) == signal]
        if mine:
            found.append(cards.card([answers[key] for key in mine], [shown[key] for key in mine], sparks[signal]))
    return tuple(found)


def _drawn(measures: Measures, answers: Mapping[tuple[str, str], Answer]) -> tuple[dict[str, Share], tuple[Line, ...]]:
    """The sparkline of each card and the lines of the timeline, read together."""
    columns: dict[str, list[Answer]] = {}
    for (_, signal), answer in answers.items():
        columns.setdefault(_column(signal), []).append(answer)
    timeline = lines.timeline(measures, answers)
    found = stepped.shares(
        measures,
        [
            *(lines.sparked(measures, some) for some in columns.values()),
            *((some, line.step) for line, some in timeline),
        ],
    )
    drawn = tuple(lines.with_points(measures, line, some, points)
                  for (line, some), points in zip(timeline, found[len(columns) :], strict=True))  # fmt: skip
    return dict(zip(columns, found, strict=False)), drawn
