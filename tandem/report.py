"""One engine behind page, CLI, JSON and HTML: a window in, a dataclass of numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from tandem import (
    against,
    apart,
    cards,
    checking,
    delivered,
    delivery_json,
    detailed,
    explaining,
    joint,
    lanes,
    lineage_json,
    openslo_text,
    retrained_json,
    retraining,
    reviews,
    saving,
    segmented,
    shows,
    sided,
    sourcing,
    standing,
    times,
    traced,
    weekly,
    whose,
)
from tandem import lists as listed
from tandem import overview as overviewed
from tandem.checking import Check, Wanted
from tandem.compared import Comparison
from tandem.config import Component, Config
from tandem.explained import Explained, Question
from tandem.explaining import Means, Number
from tandem.gates import EVERYTHING
from tandem.lists import Lists
from tandem.measure import Filters, Measures
from tandem.records import DAY, Ratio
from tandem.retrained import Retrained
from tandem.reviews import Review
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
)  # fmt: skip
from tandem.store.file import Store
from tandem.store.read import Reader


class Context(Protocol):
    """Where numbers come from: a configuration and a store."""

    config: Config
    store: Store


def _measures(context: Context, window: Window, now: int, as_of: int | None, filters: Filters) -> Measures:
    reader = Reader(context.store, as_of)
    if reader.as_of > reader.latest or reader.as_of < 0:
        raise Unreadable(f"there is no load {reader.as_of} in this store; its newest is {reader.latest}.")
    return Measures(reader, context.config, window, now, filters)


def overview(
    context: Context, window: Window, *, environment: str = "production", product: str = "", component: str = "",
    as_of: int | None = None, compare: Window | Half | None = None, now: int,
) -> Overview:  # fmt: skip
    """Both sides over the window: cards, one row per product, one timeline; with `compare`, what all was then."""
    measures = _measures(context, window, now, as_of, Filters(environment))
    return overviewed.answer(measures, _chosen(measures.components, product, component), compare, environment)


def _chosen(components: Sequence[Component], product: str, component: str) -> list[Component]:
    return [one for one in components if product in ("", one.product) and component in ("", one.name)]


def lists(
    context: Context, window: Window, kind: str, *, environment: str = "production", product: str = "",
    as_of: int | None = None, compare: Window | Half | None = None, now: int,
) -> Lists:  # fmt: skip
    """Every service or every model, worst first, with what it attained over the window."""
    measures = _measures(context, window, now, as_of, Filters(environment))
    chosen = [one for one in _chosen(measures.components, product, "") if one.kind == kind]

    def changed(over: Window, names: Sequence[str]) -> Sequence[Change]:
        return lanes.changed(measures, over, names, environment)

    step, rows = listed.lists(measures, chosen, cards.cell, changed, compare)
    return Lists(
        window=window, as_of=measures.reader.as_of, now=now, newest=measures.newest_end(), step=step, rows=rows,
        counts=listed.counts(rows), late=measures.late_sources(), compared=against.window_of(window, compare),
    )  # fmt: skip


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
    return detailed.answer(measures, mine, compare, feature)


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
    """The answer of `tandem show COMPONENT --json`; raises Unreadable for an unknown component.

    One component also says under `training` what followed each onset, which a list does not: null of a service.
    """
    measures = _measures(context, window, now, as_of, Filters(environment, version, segment, stage))
    mine = next((one for one in measures.components if one.name == component), None)
    if mine is None:
        raise Unreadable(
            f"there is no component {component!r}; known are {', '.join(c.name for c in measures.components)}."
        )
    answer = _shown(measures, [mine], delivery)[0]
    if not delivery:
        return answer
    return answer | {"training": retrained_json.answer(retraining.answer(measures, component))
                     if mine.kind == "model" else None}  # fmt: skip


def retrained(
    context: Context, component: str, window: Window, *, environment: str = "production", as_of: int | None = None,
    now: int,
) -> Retrained:  # fmt: skip
    """What followed each onset of drift or breach of a model that touches the window, until now.

    Raises Unreadable for an unknown model.
    """
    measures = _measures(context, window, now, as_of, Filters(environment))
    if all(one.name != component or one.kind != "model" for one in measures.components):
        raise Unreadable("there is no such model; see the list of models.")
    return retraining.answer(measures, component)


def _shown(measures: Measures, components: Sequence[Component], delivery: bool) -> list[dict[str, Any]]:
    joints = joint.of_components(measures.whole(), [one.name for one in components])
    answers = [shows.answer(measures, one, cards.cell, joints[one.name]) for one in components]
    if not delivery:
        return answers
    origins = traced.lineages(measures, components, measures.filters.version)
    answers = [answer | {"lineage": lineage_json.answer(origins[one.name]) if one.name in origins else None}
               for answer, one in zip(answers, components, strict=True)]  # fmt: skip
    found = delivered.delivered(measures.whole(), components)
    return [answer | {"delivery": delivery_json.answer(found, part)}
            for answer, part in zip(answers, found.parts, strict=True)]  # fmt: skip


def delivery(
    context: Context, window: Window, *, environment: str = "production", product: str = "", component: str = "",
    as_of: int | None = None, compare: Window | None = None, now: int,
) -> delivered.Delivered:  # fmt: skip
    """Delivery of services and of models by the same five metrics, against the window before or `compare`."""
    measures = _measures(context, window, now, as_of, Filters(environment))
    chosen = _chosen(measures.components, product, component)
    return delivered.delivered(measures, chosen, compare, newest=measures.newest_end())


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

    means = Means(cards.cell, shows.quality_of, drifts, delivery)
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
        return lanes.changed(some, over, names, environment)

    return sided.answer(measures, other, chosen, told, feature=feature, change=change, newest=measures.newest_end())


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
    found = apart.drifts(apart.pair(measures.reader, context.config, model, current, reference, now))
    narrowed = Filters(current.environment, current.version, current.segment, current.stage)
    told = Measures(measures.reader, context.config, current.window, now, narrowed)
    return replace(found, judgements=tuple(whose.judgements(told, model, found.rows)))


def lineage(
    context: Context, model: str, window: Window, *, environment: str = "production", version: str = "",
    compare: Sequence[str] = (), as_of: int | None = None, now: int,
) -> traced.Lineage:  # fmt: skip
    """Where a version of a model comes from, the one that serves if none is named, and two runs side by side.

    Raises Unreadable for an unknown model, version or run.
    """
    measures = _measures(context, window, now, as_of, Filters(environment))
    models = [one for one in measures.components if one.kind == "model"]
    mine = next((one for one in models if one.name == model), None)
    if mine is None:
        raise Unreadable(f"there is no model {model!r}; known are {', '.join(one.name for one in models) or 'none'}.")
    found = traced.lineages(measures, [mine], version)[model]
    if version and version not in found.versions:
        known = ", ".join(found.versions[:8])
        raise Unreadable(f"nothing tells of a version {version!r} of {model}; known are {known or 'none'}.")
    return replace(found, compared=traced.beside(measures, model, *compare)) if compare else found


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


def save(
    context: Context, page: str, query: Mapping[str, str], window: Window, *, environment: str = "production",
    product: str = "", component: str = "", version: str = "", segment: str = "", as_of: int | None = None,
    author: str = "", now: int,
) -> saving.Saved:  # fmt: skip
    """Keep what a page shows, so that a short link shows it whatever becomes of the numbers; the saved answer.

    Raises StoreRefused where it cannot be kept.
    """
    measures = _measures(context, window, now, as_of, Filters(environment, version, segment))
    chosen = _chosen(measures.components, product, component)
    answer = saving.saved(page, query, measures, chosen, now, author)
    saving.put(context.store, answer)
    return answer


def figures(
    context: Context, window: Window, *, environment: str = "production", product: str = "", component: str = "",
    as_of: int | None = None, now: int,
) -> tuple[saving.Figure, ...]:  # fmt: skip
    """Every number of the chosen components over the window, as a review keeps them."""
    measures = _measures(context, window, now, as_of, Filters(environment))
    return saving.figures(measures, _chosen(measures.components, product, component))[0]


def begun(
    context: Context, window: Window, *, environment: str = "production", product: str = "", component: str = "",
    author: str = "", now: int,
) -> Review:  # fmt: skip
    """A review of the window that has written itself, not kept yet: it is edited, not started from nothing."""
    narrowed: dict[str, Any] = {"environment": environment, "product": product, "component": component}
    load = Reader(context.store).as_of
    seen = overview(context, window, **narrowed, as_of=load, now=now)
    told = delivery(context, window, **narrowed, as_of=load, now=now)
    measures = _measures(context, window, now, load, Filters(environment))
    chosen = [one.name for one in _chosen(measures.components, product, component)]
    cells = [cards.cell(measures, one) for one in measures.answers(measures.asked(chosen))]
    models = [one.name for one in measures.components if one.name in chosen and one.kind == "model"]
    trained = [retraining.answer(measures, name) for name in models]
    return Review(
        reviews.named("review", window.since, window.until, now, author, narrowed), weekly.title(window),
        weekly.text(seen, told, cells, trained), window.since, window.until, environment, product, component, load,
        author, now, figures=figures(context, window, **narrowed, as_of=load, now=now),
    )  # fmt: skip


def since(
    context: Context, window: Window, *, environment: str = "production", product: str = "", component: str = "",
    version: str = "", segment: str = "", as_of: int, saved: str = "", now: int,
) -> saving.Since:  # fmt: skip
    """What late data has changed of a view as of a load, and how its saved answer differs from that load today."""
    filters = Filters(environment, version, segment)
    then, newest = (_measures(context, window, now, load, filters) for load in (as_of, None))
    chosen = _chosen(then.components, product, component)
    shown, promises = saving.figures(then, chosen)
    late = (
        saving.differences(shown, saving.figures(newest, chosen)[0]) if then.reader.as_of < newest.reader.as_of else ()
    )
    answer = saving.taken(context.store, saved) if saved else None
    if answer is None:
        return saving.Since(late)
    otherwise = saving.differences(answer.figures, shown)
    return saving.Since(late, answer, otherwise, saving.reasons(answer, promises, bool(otherwise)))


def check(
    context: Context, components: Sequence[str] = (), over: Window | None = None, *, gate: str = "",
    environment: str = "production", version: str = "", as_of: int | None = None, now: int,
) -> Check:  # fmt: skip
    """Every rule of the named components, or of all, as a gate says: each over its own window up to now, or over one.

    Raises Unreadable for an unknown component or gate.
    """
    policy = context.config.gate(gate) if gate else EVERYTHING
    if policy is None:
        known = ", ".join(one.name for one in context.config.gates)
        raise Unreadable(f"there is no gate {gate!r}; {f'known are {known}' if known else 'tandem.toml has none'}.")
    if over is None and policy.window:
        over = Window(*times.window(now - policy.seconds, now, now))
    window = over or Window(*times.window(now - DAY, now, now))
    measures = _measures(context, window, now, as_of, Filters(environment, version))
    return checking.answer(measures, Wanted(tuple(components), over, policy), standing.objective)


__all__ = [
    "STATES", "Band", "Card", "Cell", "Change", "Check", "Context", "Detail", "Explained", "FeatureDrift", "Line",
    "Lists", "Number", "Objective", "Overview", "Question", "Ratio", "Row", "Side", "SourceState", "Sources", "State",
    "Unreadable", "Window", "check", "delivery", "detail", "environments", "explain", "lineage", "listing", "lists",
    "overview", "show", "sources",
]  # fmt: skip
