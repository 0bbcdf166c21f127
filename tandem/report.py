"""One engine behind page, CLI, JSON and HTML: a window in, a dataclass of numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from tandem import (
    against,
    apart,
    bins,
    changes,
    checking,
    curves,
    delivered,
    delivery_json,
    drifting,
    explaining,
    joint,
    judged,
    openslo_text,
    quality_json,
    segmented,
    shows,
    sided,
    slo,
    sourcing,
    standing,
    stepped,
    times,
    wording,
)
from tandem import lists as listed
from tandem.checking import Check
from tandem.compared import Comparison
from tandem.config import Component, Config
from tandem.counted import Counted, counted
from tandem.explained import Explained, Question
from tandem.explaining import Means, Number
from tandem.joint import Joint
from tandem.lists import Lists
from tandem.measure import GRACE, LATE, Answer, Asked, Filters, Measures, verdict
from tandem.records import DAY, HOUR, Event, Histogram, Ratio
from tandem.shown import (
    STATES,
    Band,
    Card,
    Cell,
    Change,
    Detail,
    Drifts,
    FeatureDrift,
    Half,
    Line,
    Mixed,
    Objective,
    Overview,
    Row,
    Side,
    Sources,
    SourceState,
    State,
    Unreadable,
    Window,
    worst,
)  # fmt: skip
from tandem.stepped import Share
from tandem.store.file import Store
from tandem.store.read import Reader, step_for

SPARK = 90
"""Points of a sparkline."""
POINTS = 288
"""Points of a line on the timeline."""
FEWEST = 6
"""Points that a line of a model has at least."""
PER_POINT = 25
"""Labelled predictions that a point of a model's line holds on average."""
CHANGES = 400
"""Changes drawn at most; more are counted."""
SYSTEM = ("build_success", "availability", "latency", "request_success")
MODEL = ("outcome", "drift", "valid_rows", "label_coverage")
"""Signals of the cards and of the state table; a regression's error stands where accuracy does."""
COLUMNS = frozenset({*SYSTEM, *MODEL, "error"})
TROUBLE: tuple[State, ...] = ("breached", "at risk")
LANES = {
    "incident": "Incident", "alert": "Incident", "maintenance": "Incident", "drift": "Drift", "validation": "Drift",
    "promotion": "Model", "training": "Model", "data_version": "Model", "approval": "Model", "deployment": "Deploy",
    "rollback": "Deploy", "release": "Deploy", "config": "Deploy", "infrastructure": "Deploy", "restart": "Deploy",
    "traffic": "Deploy", "schema_change": "Deploy", "build": "Build",
}  # fmt: skip


class Context(Protocol):
    """Where numbers come from: a configuration and a store."""

    config: Config
    store: Store


def _measures(context: Context, window: Window, now: int, as_of: int | None, filters: Filters) -> Measures:
    reader = Reader(context.store, as_of)
    if reader.as_of > reader.latest or reader.as_of < 0:
        raise Unreadable(f"there is no load {reader.as_of} in this store; its newest is {reader.latest}.")
    return Measures(reader, context.config, window, now, filters)


# -- overview


def overview(
    context: Context, window: Window, *, environment: str = "production", product: str = "", component: str = "",
    as_of: int | None = None, compare: Window | Half | None = None, now: int,
) -> Overview:  # fmt: skip
    """Both sides over the window: cards, one row per product, one timeline; with `compare`, what all was then."""
    measures = _measures(context, window, now, as_of, Filters(environment))
    chosen = _chosen(measures.components, product, component)
    kinds = {one.name: one.kind for one in chosen}
    asked, others = _columned(measures.asked([one.name for one in chosen]))
    answers = measures.answers([*asked, *others])
    cells = {(a.asked.component, a.asked.signal.name): a for a in answers[: len(asked)]}
    beyond = _beyond(measures, answers[len(asked) :])
    shown = {key: _cell(measures, answer) for key, answer in cells.items()}
    then = against.earlier(measures, compare, cells)
    if then:
        shown = {key: then.cell(key, cell, cells[key]) for key, cell in shown.items()}
    rows = _rows(measures.config, chosen, shown, cells, beyond)
    step = step_for(window.since, window.until, SPARK)
    changes = _changes(measures, window, [one.name for one in chosen], environment)
    sparks, lines = _drawn(measures, cells)
    cards = {side: _cards(cells, shown, sparks, names) for side, names in (("system", SYSTEM), ("model", MODEL))}
    if then:
        cards = {side: _compared(some, then) for side, some in cards.items()}
    return Overview(
        window=window, as_of=measures.reader.as_of, step=step, now=now,
        newest=_newest(measures), late=_late(measures),
        services=sum(kind == "service" for kind in kinds.values()),
        models=sum(kind == "model" for kind in kinds.values()),
        attention={"system": _attention(shown, beyond, kinds, "service"),
                   "model": _attention(shown, beyond, kinds, "model")},
        cards={"system": cards["system"], "model": cards["model"]},
        columns={"system": _columns(shown, SYSTEM, measures.config), "model": _columns(shown, MODEL, measures.config)},
        rows=rows, lines=lines, changes=tuple(changes[:CHANGES]), truncated=max(0, len(changes) - CHANGES),
        compared=against.window_of(window, compare),
    )  # fmt: skip


def _compared(cards: Sequence[Card], then: against.Earlier) -> tuple[Card, ...]:
    """Cards with what they were over the other window, their sparklines read together."""
    keys = [[key for key in then.answers if _column(key[1]) == _column(card.cell.signal)] for card in cards]
    asks = [_sparked(then.measures, [then.answers[key] for key in mine]) for mine in keys]
    sparks = stepped.shares(then.measures, asks)
    return tuple(then.card(*three) for three in zip(cards, keys, sparks, strict=True))


def _sparked(measures: Measures, answers: Sequence[Answer]) -> stepped.Ask:
    return answers, against.spark_step(measures.window, answers)


def _chosen(components: Sequence[Component], product: str, component: str) -> list[Component]:
    return [one for one in components if product in ("", one.product) and component in ("", one.name)]


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
            cells.append(_cell(measures, answer))
    for cells, _ in found.values():
        cells.sort(key=_badness)
    return found


def _column(signal: str) -> str:
    return "outcome" if signal == "error" else signal


def _judged(cells: Iterable[Cell]) -> list[State]:
    return [cell.state for cell in cells if cell.objective is not None]


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
            state = worst([*_judged([*system.values(), *models.values()]), *(one for _, some in more for one in some)])
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


def _late(measures: Measures) -> tuple[str, ...]:
    return tuple(
        source.name for number, source in measures.configured.items()
        if measures.seen_until(number) < min(measures.end, measures.now) - max(LATE * source.every, GRACE)
    )  # fmt: skip


def _newest(measures: Measures) -> int | None:
    """End of the newest data, as far as time has come."""
    ends = [min(end, measures.now) for end in measures.newest.values()]
    return max(ends, default=None)


# -- cells and cards


def _cell(measures: Measures, answer: Answer, spark: tuple[float | None, ...] = ()) -> Cell:
    asked, signal = answer.asked, answer.asked.signal
    judged = verdict(answer)
    value = answer.good / answer.total if answer.good is not None and answer.total else None
    text, measure = _text(answer, value)
    return Cell(
        component=asked.component, signal=signal.name, title=signal.title, side=signal.side, state=judged.state,
        reason=judged.reason, value=value, text=text, measure=measure, of=_of(asked, answer), unit=signal.unit,
        good=answer.good, total=answer.total, coverage=answer.coverage, source=measures.source_name(answer.source),
        objective=standing.objective(answer), spark=spark, why=judged.why, corrected=answer.left_out,
        bound=answer.bound,
        spark_target=float(asked.target) if asked.target is not None else None,
        version=measures.newest_version(asked.component) if signal.side == "model" else "",
    )  # fmt: skip


def _text(answer: Answer, value: float | None) -> tuple[str, str]:
    signal = answer.asked.signal
    if isinstance(answer.value, Histogram) and signal.unit == "s":
        found = bins.quantile(answer.value, 0.95)
        if found is not None:
            return ("≥ " if found.open_above else "") + wording.seconds(found.value), "p95"
    if value is not None and answer.total:
        return wording.percent(answer.good or 0, answer.total), answer.asked.measure or _measure(answer)
    if answer.total:
        return wording.count(answer.total), "count"
    return "", ""


def _measure(answer: Answer) -> str:
    return {"accuracy": "accuracy", "within": "within tolerance"}.get(answer.asked.signal.good, "share")


def _of(asked: Asked, answer: Answer) -> str:
    number = wording.count(answer.total) if answer.total else "no"
    words = asked.signal.of.replace("{threshold}", _threshold(asked))
    return f"of {number} {words}" if answer.total else f"{number} {words.split(' ')[0]}"


def _threshold(asked: Asked) -> str:
    if asked.threshold is None:
        return "their bound"
    return wording.seconds(float(asked.threshold)) if asked.signal.unit == "s" else f"{float(asked.threshold):g}"


def _cards(
    answers: Mapping[tuple[str, str], Answer], shown: Mapping[tuple[str, str], Cell], sparks: Mapping[str, Share],
    signals: Sequence[str],
) -> tuple[Card, ...]:  # fmt: skip
    cards = []
    for signal in signals:
        mine = [key for key in shown if _column(key[1]) == signal]
        if mine:
            cards.append(_card([answers[key] for key in mine], [shown[key] for key in mine], sparks[signal]))
    return tuple(cards)


def _drawn(measures: Measures, answers: Mapping[tuple[str, str], Answer]) -> tuple[dict[str, Share], tuple[Line, ...]]:
    """The sparkline of each card and the lines of the timeline, read together."""
    columns: dict[str, list[Answer]] = {}
    for (_, signal), answer in answers.items():
        columns.setdefault(_column(signal), []).append(answer)
    lines = _lines(measures, answers)
    found = stepped.shares(
        measures,
        [*(_sparked(measures, some) for some in columns.values()), *((some, line.step) for line, some in lines)],
    )
    drawn = tuple(_line_of(measures, line, some, points)
                  for (line, some), points in zip(lines, found[len(columns) :], strict=True))  # fmt: skip
    return dict(zip(columns, found, strict=False)), drawn


def _card(answers: Sequence[Answer], cells: Sequence[Cell], spark: Share) -> Card:
    """One signal over all its components: counts add up; state and budget are the worst one's."""
    first = min(cells, key=_badness)
    counted = [cell for cell in cells if cell.good is not None and cell.total]
    good, total = sum(cell.good or 0 for cell in counted), sum(cell.total or 0 for cell in counted)
    thresholds = {answer.asked.threshold for answer in answers}
    signal = answers[0].asked.signal
    words = signal.of.replace("{threshold}", _threshold(answers[0].asked) if len(thresholds) == 1 else "their bound")
    cell = Cell(
        component=first.component, signal=first.signal, title=signal.title if signal.name != "error" else "Accuracy",
        side=first.side, state=first.state, reason=first.reason, value=good / total if total else None,
        text=wording.percent(good, total) if total else "", measure="share",
        of=f"of {wording.count(total)} {words}" if total else f"no {words.split(' ')[0]}",
        unit=first.unit, good=good if counted else None, total=total if counted else None, coverage=first.coverage,
        source=first.source, objective=first.objective, spark=spark, spark_target=first.spark_target,
    )  # fmt: skip
    return Card(
        cell, len(cells), sum(one.state in ("breached", "at risk") and one.objective is not None for one in cells)
    )


def _badness(cell: Cell) -> tuple[int, float]:
    left = cell.objective.budget_left if cell.objective else None
    return (STATES.index(cell.state) if cell.objective else len(STATES), left if left is not None else 1.0)


# -- timeline


def _lines(measures: Measures, answers: Mapping[tuple[str, str], Answer]) -> list[tuple[Line, list[Answer]]]:
    """The lines of the timeline, still without points, and the answers that they are drawn from."""
    found: list[tuple[Line, list[Answer]]] = []
    for title, side, names in (
        ("Good requests", "system", ("request_success",)), ("Checks answered", "system", ("availability",)),
        ("Correct predictions", "model", ("outcome",)), ("Predictions within tolerance", "model", ("error",)),
    ):  # fmt: skip
        some = [answer for (_, signal), answer in answers.items() if signal in names and answer.seen]
        if some and not any(line.side == side for line, _ in found):
            targets = {answer.asked.target for answer in some}
            target = float(next(iter(targets)) or 0) if len(targets) == 1 and None not in targets else None
            found.append((_line(measures, title, target, some), some))
    return found


def _line(measures: Measures, title: str, target: float | None, answers: Sequence[Answer]) -> Line:
    """A line without points; a model's steps are wide enough to hold some labelled predictions each."""
    side, points = answers[0].asked.signal.side, POINTS
    if side == "model":
        points = max(FEWEST, min(POINTS, sum(answer.total or 0 for answer in answers) // PER_POINT))
    return Line(title, side, target, (), step=step_for(measures.window.since, measures.window.until, points))


def _line_of(measures: Measures, line: Line, answers: Sequence[Answer], points: Share) -> Line:
    return replace(line, points=points, immature=_immature(measures, answers, line.step, len(points)))


def _immature(measures: Measures, answers: Sequence[Answer], step: int, points: int) -> tuple[bool, ...]:
    if answers[0].asked.signal.side != "model":
        return ()
    edge = min(measures.mature(answer.asked.component) for answer in answers)
    first = measures.window.since // step * step
    return tuple(first + place * step >= edge for place in range(points))


def _changes(measures: Measures, window: Window, components: Sequence[str], environment: str) -> list[Change]:
    if not components:
        return []
    events = measures.reader.events(window.since, window.until, components=components, environment=environment,
                                    newest=True)  # fmt: skip
    models = {one.name for one in measures.components if one.kind == "model"}
    drawn = [(source, event) for source, event in events if event.kind in LANES]
    told = [(measures.source_name(source), event) for source, event in drawn]
    found = [_change(measures, [drawn[place] for place in some], models)
             for some in changes.groups(told, measures.config.delivery.apart)]  # fmt: skip
    found += _drift_changes(measures, window, components)
    return sorted(found, key=lambda change: (change.ts, change.kind, change.key))


def _change(measures: Measures, told: Sequence[tuple[int, Event]], models: set[str]) -> Change:
    """What one or more sources saw of one change; the first in order that knows a result says most of it."""
    ordered = sorted(told, key=lambda pair: measures.rank(pair[0]))
    events = [event for _, event in ordered]
    event = next((one for one in events if one.outcome in ("good", "bad")), events[0])
    lane = "Model" if event.kind == "release" and models & set(event.components) else LANES[event.kind]
    return Change(
        lane=lane, kind="rollback" if any(one.kind == "rollback" for one in events) else event.kind,
        ts=min(one.ts for one in events), until=event.ts_latest,
        ended=max((one.ended for one in events if one.ended is not None), default=None),
        title=event.title or " ".join(filter(None, (event.kind, event.version or event.key))),
        components=tuple(dict.fromkeys(name for one in events for name in one.components)), outcome=event.outcome,
        version=event.version, source=", ".join(dict.fromkeys(measures.source_name(number) for number, _ in ordered)),
        url=event.url, key=event.key,
    )  # fmt: skip


def _drift_changes(measures: Measures, window: Window, components: Sequence[str]) -> list[Change]:
    """Where data drift of a feature began inside the window: the first of its feature-hours that drifted."""
    step = max(HOUR, step_for(window.since, window.until, SPARK))
    pairs = [(one, name) for one in components for name in measures.names(one, "drift") if name]
    groups = {kept.id: place for place, (one, name) in enumerate(pairs)
              for kept in measures.series(one, "drift", name)}  # fmt: skip
    found: list[Change] = []
    drifting = dict.fromkeys(range(len(pairs)), False)
    rows = measures.reader.steps("ratio", groups, window.since - step, window.until, step)
    for place, start, good, total in rows:
        bad = total > 0 and good * 2 < total
        if bad and not drifting[place] and start >= window.since:
            model, feature = pairs[place]
            found.append(Change("Drift", "drift", start, None, None, f"{model} {feature}", (model,), "bad", "", "",
                                "", f"{model}/{feature}/{start}"))  # fmt: skip
        if total:
            drifting[place] = bad
    return found


# -- lists


def lists(
    context: Context, window: Window, kind: str, *, environment: str = "production", product: str = "",
    as_of: int | None = None, compare: Window | Half | None = None, now: int,
) -> Lists:  # fmt: skip
    """Every service or every model, worst first, with what it attained over the window."""
    measures = _measures(context, window, now, as_of, Filters(environment))
    chosen = [one for one in _chosen(measures.components, product, "") if one.kind == kind]

    def changed(over: Window, names: Sequence[str]) -> Sequence[Change]:
        return _changes(measures, over, names, environment)

    step, rows = listed.lists(measures, chosen, _cell, changed, compare)
    return Lists(
        window=window, as_of=measures.reader.as_of, now=now, newest=_newest(measures), step=step, rows=rows,
        counts=listed.counts(rows), late=_late(measures), compared=against.window_of(window, compare),
    )  # fmt: skip


# -- one component


def detail(
    context: Context, component: str, window: Window, *, environment: str = "production", version: str = "",
    segment: str = "", as_of: int | None = None, compare: Window | Half | None = None, feature: str = "", now: int,
) -> Detail:  # fmt: skip
    """Everything the page of one component shows; raises Unreadable for an unknown one.

    With `compare`, what each cell was over that window; `feature` is the one whose distribution is shown.
    """
    measures = _measures(context, window, now, as_of, Filters(environment, version, segment))
    mine = next((one for one in measures.components if one.name == component), None)
    if mine is None:
        raise Unreadable("there is no such component; see the list of services and models.")
    step = step_for(window.since, window.until, POINTS)
    answers, joints = _with_joints(measures, component)
    cells, lines = _component_cells(measures, answers, compare)
    stored = drifting.against_stored(measures, component) if mine.kind == "model" else None
    drifts = drifting.by_step(stored, apart.drifts(stored), step) if stored else None
    rows = drifts.rows if drifts else ()
    partners = tuple(one.name for one in measures.components if one.product == mine.product and one.name != component)
    found = counted(measures, component) if mine.kind == "model" else None
    model = judged.modelled(measures, component, found) if found else None
    return Detail(
        component=component, kind=mine.kind, product=mine.product, state=worst(_judged(cells)), window=window,
        as_of=measures.reader.as_of, step=step, now=now, newest=_newest(measures),
        cells=cells, latency=_band(measures, component, step_for(window.since, window.until, POINTS // 2)),
        lines=lines,
        partners=partners, changes=tuple(_changes(measures, window, [component, *partners], environment)[:CHANGES]),
        features=rows, drifts=drifts, confusion=found.confusion.cells if found else {},
        segments=_segments(found), quality=quality_json.answer(measures, component, found, model) if found else None,
        versions=tuple(shows.versions(measures, component)), samples=tuple(shows.samples(measures, component)),
        compared=against.window_of(window, compare), distribution=drifting.distribution(stored, rows, feature),
        served=drifting.served(measures, component) if mine.kind == "model" else (),
        model=model, mixed=_mixed(measures, answers, compare),
        joint=joints,
        corrections=measures.left_out_of([component]), curves=curves.curves(measures, answers),
        asked=curves.asked(measures, answers, step) if mine.kind == "service" else None,
        unseen=curves.unseen(measures, answers),
    )  # fmt: skip


def _mixed(
    measures: Measures, answers: Sequence[Answer], compare: Window | Half | None
) -> Mapping[str, tuple[Mixed, ...]]:
    """Mix or real of every ratio of a component that segments cut, by signal; nothing without a comparison."""
    if compare is None:
        return {}
    then = against.other(measures, compare)
    first = {answer.asked.signal.name: answer.asked for answer in reversed(answers) if answer.good is not None}
    found = {signal: segmented.mixed(measures, then, one) for signal, one in first.items()}
    return {signal: some for signal, some in found.items() if some}


def mixed(
    context: Context, component: str, signal: str, window: Window, before: Window, *, environment: str = "production",
    version: str = "", before_version: str = "", stage: str = "production", as_of: int | None = None, now: int,
) -> tuple[Mixed, ...]:  # fmt: skip
    """Mix or real of the change of one ratio of a component from `before` to `window`, once per segment column.

    Empty where nothing is cut, or a side is empty.
    """
    measures = _measures(context, window, now, as_of, Filters(environment, version, "", stage))
    filters = replace(measures.filters, version=before_version or version)
    then = Measures(measures.reader, measures.config, before, now, filters)
    asked = measures.asked([component], [signal])
    return segmented.mixed(measures, then, asked[0]) if asked else ()


def _with_joints(measures: Measures, component: str) -> tuple[list[Answer], tuple[Joint, ...]]:
    """All that is asked of a component, and what it promises together with others, read together where it can be."""
    whole = _whole(measures)
    mine = measures.asked([component])
    if whole is not measures:
        return measures.answers(mine), joint.of_components(whole, [component])[component]
    answers = measures.answers([*mine, *joint.asked(measures, [component], [component])])
    return answers[: len(mine)], joint.of_components(measures, [component], answers)[component]


def _component_cells(
    measures: Measures, answers: Sequence[Answer], compare: Window | Half | None
) -> tuple[tuple[Cell, ...], tuple[Line, ...]]:
    """One cell per objective with its sparkline and what it was over the other window, and its line; read together."""
    lines = _component_lines(measures, answers)
    asks = [*(_sparked(measures, [answer]) for answer in answers), *(([answer], line.step) for line, answer in lines)]
    sparks = stepped.shares(measures, asks)
    drawn = tuple(_line_of(measures, line, [answer], points)
                  for (line, answer), points in zip(lines, sparks[len(answers) :], strict=True))  # fmt: skip
    cells = [_cell(measures, answer, spark if answer.good is not None else ())
             for answer, spark in zip(answers, sparks, strict=False)]  # fmt: skip
    return _against(measures, answers, cells, compare), drawn


def _against(
    measures: Measures, answers: Sequence[Answer], cells: Sequence[Cell], compare: Window | Half | None
) -> tuple[Cell, ...]:
    """The cells of a component with what they were over the other window."""
    then = against.earlier(measures, compare, {(str(place), ""): answer for place, answer in enumerate(answers)})
    if then is None:
        return tuple(cells)
    before = list(then.answers.values())
    olds = stepped.shares(then.measures, [_sparked(then.measures, [answer]) for answer in before])
    return tuple(replace(cell, compared=against.compared(now, old, spark if old.good is not None else ()))
                 for cell, now, old, spark in zip(cells, answers, before, olds, strict=True))  # fmt: skip


def _component_lines(measures: Measures, answers: Sequence[Answer]) -> list[tuple[Line, Answer]]:
    """The lines of a component, still without points, and the answer that each is drawn from."""
    return [(_line(measures, answer.asked.signal.title, float(answer.asked.target), [answer]), answer)
            for answer in answers if answer.asked.target is not None and answer.seen]  # fmt: skip


def _band(measures: Measures, component: str, step: int) -> Band | None:
    series = measures.counted(component, "latency")
    if not series:
        return None
    rows = measures.reader.steps("histogram", {kept.id: kept.layout for kept in series}, measures.window.since,
                                 measures.window.until, step)  # fmt: skip
    layouts = {kept.layout: kept for kept in series}
    parts: dict[int, dict[int, dict[int, tuple[int, int]]]] = {}
    for layout, start, place, n, total in rows:
        parts.setdefault(start, {}).setdefault(layout, {})[place] = (n, total)
    merged = {
        start: bins.merge([_histogram(measures, layouts[layout], cells) for layout, cells in some.items()]).histogram
        for start, some in parts.items()
    }
    starts = range(measures.window.since // step * step, measures.window.until, step)
    edges = _common_edges(merged.values())
    quantiles = {
        name: tuple(_quantile(merged[start], q) if start in merged else None for start in starts)
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    empty = (0,) * (len(edges) + 1)
    counts = tuple(
        tuple(merged[start].counts.get(place, 0) for place in range(len(edges) + 1))
        if start in merged and merged[start].layout.edges == edges
        else empty
        for start in starts
    )
    return Band(step, edges, counts, quantiles)


def _histogram(measures: Measures, kept: Any, cells: Mapping[int, tuple[int, int]]) -> Histogram:
    found = measures.value("histogram", kept, cells)
    assert isinstance(found, Histogram)
    return found


def _common_edges(histograms: Iterable[Histogram]) -> tuple[float, ...]:
    layouts = [one.layout.edges for one in histograms if one.layout.kind == "edges"]
    return max(set(layouts), key=layouts.count) if layouts else ()


def _quantile(histogram: Histogram, q: float) -> float | None:
    found = bins.quantile(histogram, q)
    return found.value if found else None


def _segments(found: Counted | None) -> tuple[tuple[str, int, int, tuple[float, float] | None], ...]:
    """Accuracy of every segment, the worst first."""
    rows = []
    for segment, confusion in (found.segments if found else {}).items():
        good = sum(n for (actual, predicted), n in confusion.cells.items() if actual == predicted)
        total = sum(confusion.cells.values())
        rows.append((segment, good, total, slo.wilson(good, total)))
    return tuple(sorted(rows, key=lambda row: row[1] / row[2] if row[2] else 1.0))


# -- show and sources


def environments(context: Context) -> tuple[str, ...]:
    """Every environment that the configuration or the store names, "production" first."""
    found = {one.environment for one in context.config.components}
    for source in context.config.sources:
        found |= {source.common.environment, *(rule.environment for rule in source.common.map)}
    found |= {kept.placed.environment for kept in Reader(context.store).series()}
    return tuple(sorted(found - {""} or {"production"}, key=lambda name: (name != "production", name)))


def sources(context: Context, window: Window, *, as_of: int | None = None, now: int) -> Sources:
    """Every source: its state, coverage, what it could not count, and what to do next."""
    return sourcing.sources(_measures(context, window, now, as_of, Filters()))


def listing(
    context: Context, window: Window, *, environment: str = "production", version: str = "", segment: str = "",
    stage: str = "production", as_of: int | None = None, delivery: bool = True, now: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """The answer of `tandem show --json` without a component: one for each, in the order of the configuration."""
    measures = _measures(context, window, now, as_of, Filters(environment, version, segment, stage))
    return _shown(measures, measures.components, delivery)


def show(
    context: Context, component: str, window: Window, *, environment: str = "production", version: str = "",
    segment: str = "", stage: str = "production", as_of: int | None = None, delivery: bool = True, now: int,
) -> dict[str, Any]:  # fmt: skip
    """The answer of `tandem show COMPONENT --json`; raises Unreadable for an unknown component."""
    measures = _measures(context, window, now, as_of, Filters(environment, version, segment, stage))
    mine = next((one for one in measures.components if one.name == component), None)
    if mine is None:
        raise Unreadable(
            f"there is no component {component!r}; known are {', '.join(c.name for c in measures.components)}."
        )
    return _shown(measures, [mine], delivery)[0]


def _shown(measures: Measures, components: Sequence[Component], delivery: bool) -> list[dict[str, Any]]:
    joints = joint.of_components(_whole(measures), [one.name for one in components])
    answers = [shows.answer(measures, one, _cell, joints[one.name]) for one in components]
    if not delivery:
        return answers
    found = delivered.delivered(_whole(measures), components)
    return [answer | {"delivery": delivery_json.answer(found, part)}
            for answer, part in zip(answers, found.parts, strict=True)]  # fmt: skip


def _whole(measures: Measures) -> Measures:
    """The same question of whole components: a version or a segment has no delivery of its own."""
    filters = Filters(measures.filters.environment)
    if filters == measures.filters:
        return measures
    return Measures(measures.reader, measures.config, measures.window, measures.now, filters)


def delivery(
    context: Context, window: Window, *, environment: str = "production", product: str = "", component: str = "",
    as_of: int | None = None, compare: Window | None = None, now: int,
) -> delivered.Delivered:  # fmt: skip
    """Delivery of services and of models by the same five metrics, against the window before or `compare`."""
    measures = _measures(context, window, now, as_of, Filters(environment))
    chosen = _chosen(measures.components, product, component)
    return delivered.delivered(measures, chosen, compare, newest=_newest(measures))


def explain(context: Context, number: Number, question: Question, *, as_of: int | None = None, now: int) -> Explained:
    """Why one number on a screen is what it is; raises Unreadable where there is none such."""
    asked = Filters(question.environment, question.version, question.segment, question.stage)
    measures = _measures(context, question.window, now, as_of, asked)

    def drifts(component: str) -> Drifts:
        half = Half(window=question.window, version=question.version, segment=question.segment, stage=question.stage,
                    environment=question.environment)  # fmt: skip
        return drift(context, component, half, as_of=as_of, now=now)

    def delivery(component: str) -> Mapping[str, Any]:
        mine = [one for one in measures.components if one.name == component]
        found: Mapping[str, Any] = _shown(measures, mine, True)[0]["delivery"]
        return found

    means = Means(_cell, shows.quality_of, drifts, delivery)
    return explaining.answer(measures, number, replace(question, as_of=measures.reader.as_of), means)


def compare(
    context: Context, window: Window, other: Half, *, environment: str = "production", product: str = "",
    component: str = "", version: str = "", segment: str = "", feature: str = "", change: str = "",
    as_of: int | None = None, now: int,
) -> Comparison:  # fmt: skip
    """What the window shows (A) against another side (B): every number of the chosen components, and their drift."""
    measures = _measures(context, window, now, as_of, Filters(environment, version, segment))
    chosen = _chosen(measures.components, "" if component else product, component)
    if component and not chosen:
        raise Unreadable("there is no such component; see the list of services and models.")

    def told(some: Measures, over: Window, names: Sequence[str]) -> list[Change]:
        return _changes(some, over, names, environment)

    return sided.answer(measures, other, chosen, told, feature=feature, change=change, newest=_newest(measures))


def drift(
    context: Context, model: str, current: Half, reference: Half | None = None, *, as_of: int | None = None, now: int
) -> Drifts:  # fmt: skip
    """How far a model's data, predictions and labels lie from those of another side; None is the stored reference.

    Raises Unreadable for an unknown model, and for one that has nothing to compare.
    """
    assert current.window is not None
    measures = _measures(context, current.window, now, as_of, Filters(current.environment))
    known = [one.name for one in measures.components]
    if model not in known:
        raise Unreadable(f"there is no component {model!r}; known are {', '.join(known)}.")
    return apart.drifts(apart.pair(measures.reader, context.config, model, current, reference, now))


def openslo(context: Context, component: str = "", *, now: int) -> str:
    """Every objective in force as OpenSLO v1 YAML; raises Unreadable where there is no such component, or none."""
    measures = _measures(context, Window(*times.window(now - DAY, now, now)), now, None, Filters())
    names = [one.name for one in measures.components]
    if component and component not in names:
        raise Unreadable(f"there is no component {component!r}; known are {', '.join(names)}.")
    some = standing.promised(measures, [component] if component else names)
    if not some:
        raise Unreadable("there is no objective to write; add an [[objective]] to tandem.toml, or collect first.")
    return openslo_text.text(some, {name: one.meaning for name, one in context.config.signals.items()})


def check(
    context: Context, components: Sequence[str] = (), over: Window | None = None, *, as_of: int | None = None, now: int
) -> Check:
    """Every objective of the named components, or of all: over its own window up to now, or its share over `over`.

    Raises Unreadable for an unknown component.
    """
    window = over or Window(*times.window(now - DAY, now, now))
    return checking.answer(_measures(context, window, now, as_of, Filters()), components, over, standing.objective)


__all__ = [
    "STATES", "Band", "Card", "Cell", "Change", "Check", "Context", "Detail", "Explained", "FeatureDrift", "Line",
    "Lists", "Number", "Objective", "Overview", "Question", "Ratio", "Row", "Side", "SourceState", "Sources", "State",
    "Unreadable", "Window", "check", "delivery", "detail", "environments", "explain", "listing", "lists", "overview",
    "show", "sources",
]  # fmt: skip
