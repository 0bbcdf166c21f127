"""Two training runs side by side: parameters and metrics in which they differ, their data, commit and environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tandem.joins import Told, same_commit, short, value_of
from tandem.reproducible import environment, parameters


@dataclass(frozen=True, slots=True)
class Number:
    """The newest sample of one metric of a run in one stage, as its source says it; `ts` in epoch seconds."""

    name: str
    stage: str
    source: str
    run: str
    value: float
    step: int
    ts: float


@dataclass(frozen=True, slots=True)
class Ran:
    """One run, of all that its sources say; `conflicts` are what they say against each other."""

    run: str
    sources: tuple[str, ...]
    title: str
    started: int
    ended: int | None
    outcome: str
    version: str
    commit: str
    data_version: str
    trigger: str
    url: str
    parameters: Mapping[str, str]
    environment: Mapping[str, str]
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of both runs, None where a run has none; neither is called better: what is depends on the metric."""

    name: str
    stage: str
    a: Number | None
    b: Number | None

    @property
    def differs(self) -> bool:
        """Whether the two values are not the same; what only one has differs."""
        return self.a is None or self.b is None or self.a.value != self.b.value


@dataclass(frozen=True, slots=True)
class Compared:
    """Two runs. `parameters`, `environment` and `facts` are (name, of A, of B), only where they differ, None if unsaid.

    `same` counts what both state and is equal, by kind.
    """

    a: Ran
    b: Ran
    parameters: tuple[tuple[str, str | None, str | None], ...]
    environment: tuple[tuple[str, str | None, str | None], ...]
    facts: tuple[tuple[str, str | None, str | None], ...]
    metrics: tuple[Metric, ...]
    same: Mapping[str, int]


FACTS = ("commit", "data_version", "trigger", "outcome")


def ran(told: Sequence[Told]) -> Ran:
    """One run of what its sources tell, the first in order first."""
    event = told[0][1]
    first = {name: next((value for _, one in told if (value := getattr(one, name))), "")
             for name in ("title", "version", "commit", "data_version", "trigger", "url")}  # fmt: skip
    settled = next((one.outcome for _, one in told if one.outcome != "open"), event.outcome)
    labels = [dict(one.labels) for _, one in told]
    return Ran(
        value_of(event, "run"), tuple(dict.fromkeys(source for source, _ in told)), started=event.started or event.ts,
        ended=next((one.ended for _, one in told if one.ended is not None), None), outcome=settled, **first,
        parameters=_first(parameters(one) for one in labels), environment=_first(environment(one) for one in labels),
        conflicts=tuple(_conflicts(told)),
    )  # fmt: skip


def _first(some: Iterable[dict[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in some:
        found = one | found
    return found


def _conflicts(told: Sequence[Told]) -> list[str]:
    """What sources say of one run that cannot both be so."""
    found = []
    for name, alike in (("commit", same_commit), ("version", str.__eq__)):
        said = [(source, str(getattr(event, name))) for source, event in told if getattr(event, name)]
        found += [f"{said[0][0]} says {name} {short(said[0][1])}, but {source} says {short(value)}"
                  for source, value in said[1:] if value != said[0][1] and not alike(said[0][1], value)]  # fmt: skip
    return found


def compared(a: Ran, b: Ran, of_a: Sequence[Number], of_b: Sequence[Number]) -> Compared:
    """What differs between two runs, of what they say and of the newest samples of each."""
    pairs = {"parameters": (a.parameters, b.parameters), "environment": (a.environment, b.environment)}
    facts = [{name: value for name in FACTS if (value := str(getattr(one, name)))} for one in (a, b)]
    metrics = _metrics(of_a, of_b)
    same = {name: sum(one.get(key) == value for key, value in other.items()) for name, (one, other) in pairs.items()}
    same["metrics"] = sum(not one.differs for one in metrics)
    same["facts"] = sum(facts[0].get(key) == value for key, value in facts[1].items())
    return Compared(
        a, b, _differing(a.parameters, b.parameters), _differing(a.environment, b.environment),
        _differing(facts[0], facts[1]), tuple(one for one in metrics if one.differs), same,
    )  # fmt: skip


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[tuple[str, str | None, str | None], ...]:
    return tuple((name, a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name))


def _metrics(a: Sequence[Number], b: Sequence[Number]) -> list[Metric]:
    """Every metric of either, by name and stage; of one that two sources have the first in order says it."""
    sides: list[dict[tuple[str, str], Number]] = [{}, {}]
    for side, some in zip(sides, (a, b), strict=True):
        for one in some:
            side.setdefault((one.name, one.stage), one)
    return [Metric(*key, sides[0].get(key), sides[1].get(key)) for key in sorted({*sides[0], *sides[1]})]
