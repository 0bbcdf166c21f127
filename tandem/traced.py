"""The lineage of models, read from the store: one read of events for all that are asked, one of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tandem import lineage, tracing
from tandem.config import Component
from tandem.joins import Group, Told, runs
from tandem.lineage import Chain, Known, Traffic
from tandem.measure import Measures
from tandem.runs import Compared, Number, compared, ran
from tandem.shown import Unreadable, Window
from tandem.store import origins
from tandem.store.read import step_for

STEPS = 96
"""Steps of the window in which predictions are counted by version: they bound when a version answered."""
ANYWHERE = ("commit", "build", "data_version")
"""Kinds that need not be of the model: what they are of is said by their hash."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where one version of a model comes from; `chain` None where no source tells of a version, `reason` says so."""

    component: str
    window: Window
    as_of: int
    versions: tuple[str, ...]
    chain: Chain | None
    reason: str
    compared: Compared | None = None


def lineages(measures: Measures, components: Sequence[Component], version: str = "") -> dict[str, Lineage]:
    """The lineage of each model, of the version that serves it if none is named."""
    models = [one for one in components if one.kind == "model"]
    return {known.component: _lineage(measures, known, version) for known in _known(measures, models)}


def _lineage(measures: Measures, known: Known, version: str) -> Lineage:
    chain = tracing.chain(known, version)
    found = lineage.versions(known)
    reason = chain.chosen if chain else lineage.serving(known)[1]
    return Lineage(known.component, measures.window, measures.reader.as_of, tuple(found), chain, reason)


def _known(measures: Measures, models: Sequence[Component]) -> list[Known]:
    if not models:
        return []
    names = [one.name for one in models]
    made = [one for model in models for one in model.version]
    named = {name: sorted({str(getattr(one, name)) for one in made} - {""})
             for name in ("run", "digest", "commit", "data_version")}  # fmt: skip
    rows, kinds = origins.origins(
        measures.reader, names, measures.end, measures.filters.environment, named=named
    )  # fmt: skip
    told: list[Told] = [(measures.source_name(source), event)
                        for source, event in sorted(rows, key=lambda row: measures.rank(row[0]))]  # fmt: skip
    flows = _traffic(measures.whole(), names)
    fixed = {one.name: str(getattr(one.config, "version", "") or "") for one in measures.config.sources}
    return [
        Known(
            model.name, tuple(pair for pair in told if pair[1].kind in ANYWHERE or model.name in pair[1].components),
            {kind: n for (component, kind), n in kinds.items() if component == model.name}, model.version,
            model.lineage.versions, {name: text for name, text in fixed.items() if text}, tuple(flows[model.name]),
            tuple(one.lower() for one in measures.config.delivery.aliases), origins.SIBLINGS,
        )
        for model in models
    ]  # fmt: skip


def _traffic(measures: Measures, names: Sequence[str]) -> dict[str, list[Traffic]]:
    """The predictions of the window by source and version, those of the source that counts first."""
    some = [kept for name in names for kept in measures.counted(name, "volume")]
    window = measures.window
    step = step_for(window.since, window.until, STEPS)
    counts: dict[int, list[tuple[int, int]]] = {}
    for place, start, *_, total in measures.reader.steps(
        "ratio", {kept.id: place for place, kept in enumerate(some)}, window.since, window.until, step
    ):
        if total:
            counts.setdefault(int(place), []).append((int(start), int(total)))
    found: dict[str, dict[tuple[str, str], Traffic]] = {name: {} for name in names}
    for place, steps in counts.items():
        placed = some[place].placed
        mine, key = found[placed.component], (measures.source_name(placed.source), placed.version)
        since, until = max(min(steps)[0], window.since), min(max(steps)[0] + step, window.until)
        old = mine.get(key, Traffic(*key, since, until, 0))
        mine[key] = Traffic(*key, min(old.since, since), max(old.until, until), old.n + sum(n for _, n in steps))
    return {name: [one for one in mine.values() if one.version] for name, mine in found.items()}


# -- two runs


def beside(measures: Measures, component: str, a: str, b: str) -> Compared:
    """Two training runs of a model against each other, each named by its id or by SOURCE:ID; raises Unreadable."""
    wanted = [*dict.fromkeys(one for text in (a, b) for one in (text, text.partition(":")[2]) if one)]
    rows = origins.runs(measures.reader, component, measures.end, wanted)
    told: list[Told] = [(measures.source_name(source), event)
                        for source, event in sorted(rows, key=lambda row: measures.rank(row[0]))]  # fmt: skip
    groups = runs(told)
    one, other = (_one(groups, component, text) for text in (a, b))
    ids = [{run for _, run in _ids(group)} for group in (one, other)]
    found = origins.numbers(measures.reader, component, measures.end, sorted(ids[0] | ids[1]))
    numbers = [
        Number(name, stage, measures.source_name(source), run, value, step, ts)
        for name, stage, source, run, step, ts, value in sorted(found, key=lambda row: measures.rank(row[2]))
    ]
    mine = ([number for number in numbers if number.run in some] for some in ids)  # fmt: skip
    return compared(ran(one.told), ran(other.told), *mine)


def _one(groups: Sequence[Group], component: str, text: str) -> Group:
    """The run of that name; raises Unreadable for none, and for several."""
    found = [group for group in groups if any(text in (run, f"{source}:{run}") for source, run in _ids(group))]
    if not found:
        raise Unreadable(f"{component} has no training run {text[:80]!r}; the runs are on its page, by their ids.")
    if len(found) > 1:
        some = " or ".join(f"{source}:{text}" for group in found for source in sorted(group.sources))
        raise Unreadable(f"{len(found)} runs of {component} are called {text[:80]!r}; say {some[:200]}.")
    return found[0]


def _ids(group: Group) -> list[tuple[str, str]]:
    return [(source, one) for source, event in group.told for one in {event.run, event.key} - {""}]
