"""Saved answers: the numbers that a link showed, with what made them, and how they differ from those of today."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

from tandem import cards, wording
from tandem.config import Component
from tandem.measure import Measures
from tandem.store.file import Store
from tandem.store.kept import Kept, keep, kept

ALGEBRA = "1"
"""Grows when a formula gives another number from the same counts."""
ID = 12
"""Hex digits of the name of a saved answer: those of its hash."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number as it was shown: counts, share, state and budget; `objective` is "" where none is set."""

    component: str
    signal: str
    objective: str
    title: str
    good: int | None
    total: int | None
    text: str
    state: str
    budget_left: float | None

    @property
    def key(self) -> tuple[str, str, str]:
        """Which number it is."""
        return self.component, self.signal, self.objective


@dataclass(frozen=True, slots=True)
class Promise:
    """An objective as it was in force when an answer was saved."""

    name: str
    target: float
    window: str
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Saved:
    """An answer as it was saved: where it was shown, what made it, and its numbers.

    `page` and `query` lead to it, `store` is the identity of the store and `load` what it held; `algebra` and
    `version` are those of the Tandem that counted. `id` is the beginning of the hash of all of it; `made` and
    `author` say when and by whom it was saved.
    """

    id: str
    page: str
    query: Mapping[str, str]
    store: str
    load: int
    algebra: str
    version: str
    promises: tuple[Promise, ...]
    figures: tuple[Figure, ...]
    made: int = 0
    author: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is another one now; a side is None where the number was not there."""

    before: Figure | None
    after: Figure | None

    @property
    def figure(self) -> Figure:
        """Whichever side there is."""
        found = self.after or self.before
        assert found is not None, "a difference has a side"
        return found

    @property
    def arrived(self) -> int | None:
        """How many more were counted; None where a side has no counts."""
        totals = [one.total if one else None for one in (self.before, self.after)]
        return None if None in totals else totals[1] - totals[0]  # type: ignore[operator]

    @property
    def sentence(self) -> str:
        """What became of the number, in words."""
        one = self.figure
        name = f"{one.component} {one.objective or one.title.lower()}"
        before, after = (_told(side) for side in (self.before, self.after))
        said = f"{name} {before} → {after}"
        if self.arrived:
            more = "arrived" if self.arrived > 0 else "were taken back"
            said += f", {wording.count(abs(self.arrived))} {more}"
        if self.before and self.after and self.before.state != self.after.state:
            said += f", {self.before.state} → {self.after.state}"
        return said


def _told(one: Figure | None) -> str:
    if one is None:
        return "not there"
    if one.good is not None and one.total:
        return wording.percent(one.good, one.total)
    return one.text or "nothing counted"


def figures(measures: Measures, components: Sequence[Component]) -> tuple[tuple[Figure, ...], tuple[Promise, ...]]:
    """Every number of the components over the window, and the objectives that judged them."""
    answers = measures.answers(measures.asked([one.name for one in components]))
    cells = [cards.cell(measures, one) for one in answers]
    found = tuple(
        Figure(cell.component, cell.signal, cell.objective.name if cell.objective else "", cell.title, cell.good,
               cell.total, cell.text, cell.state, cell.objective.budget_left if cell.objective else None)
        for cell in cells
    )  # fmt: skip
    promises = [Promise(one.name, one.target, one.window, one.threshold)
                for one in (cell.objective for cell in cells) if one is not None]  # fmt: skip
    return found, tuple(dict.fromkeys(promises))


def saved(
    page: str, query: Mapping[str, str], measures: Measures, components: Sequence[Component], now: int, author: str = ""
) -> Saved:  # fmt: skip
    """The answer to a question as it stands now; the same answer gets the same id, whoever saves it."""
    found, promises = figures(measures, components)
    store, load, made_by = measures.reader.store.identity, measures.reader.as_of, product_version()
    told = {"page": page, "query": dict(query), "store": store, "load": load, "algebra": ALGEBRA,
            "version": made_by, "promises": [asdict(one) for one in promises],
            "figures": [asdict(one) for one in found]}  # fmt: skip
    return Saved(_name(told), page, dict(query), store, load, ALGEBRA, made_by, promises, found, now, author)


def _name(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:ID]


def product_version() -> str:
    """The version of Tandem that runs."""
    try:
        return version("tandem-health")
    except PackageNotFoundError:  # a working copy that was never installed
        return "from a working copy"


def put(store: Store, answer: Saved) -> None:
    """Keep an answer; raises StoreRefused where it cannot be kept."""
    content = {key: value for key, value in asdict(answer).items() if key not in ("id", "made", "author")}
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()
    keep(store, Kept("answer", answer.id, answer.made, answer.author, text, answer.load))


def taken(store: Store, name: str) -> Saved | None:
    """The answer of that id; None where this store keeps none, or what it keeps is not what was saved."""
    if len(name) != ID or set(name) - set("0123456789abcdef"):
        return None
    for one in kept(store, "answer", name):
        told = orjson.loads(one.content)
        if _name(told) != name:
            return None
        return Saved(
            one.id, told["page"], told["query"], told["store"], told["load"], told["algebra"], told["version"],
            tuple(Promise(**each) for each in told["promises"]), tuple(Figure(**each) for each in told["figures"]),
            one.made, one.author,
        )  # fmt: skip
    return None


def differences(before: Sequence[Figure], after: Sequence[Figure]) -> tuple[Difference, ...]:
    """Every number that is not the same on both sides, to the last digit, in the order of the later side."""
    old, new = ({one.key: one for one in some} for some in (before, after))
    keys = [*new, *(key for key in old if key not in new)]
    return tuple(Difference(old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key))


@dataclass(frozen=True, slots=True)
class Since:
    """What became of a view as of an earlier load: by late data since, and by other code or objectives.

    `late` is the view against the newest load. `saved` is the answer that was kept, `otherwise` how the same load
    answers differently today, and `reasons` why, in sentences.
    """

    late: tuple[Difference, ...]
    saved: Saved | None = None
    otherwise: tuple[Difference, ...] = ()
    reasons: tuple[str, ...] = ()


def reasons(answer: Saved, promises: Sequence[Promise], differ: bool) -> tuple[str, ...]:
    """Why the same load may answer differently than it did, in sentences."""
    found = []
    if answer.algebra != ALGEBRA:
        found.append(f"Tandem {answer.version} counted by other formulas than {product_version()} does")
    before, after = ({one.name: one for one in some} for some in (answer.promises, promises))
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old != new:
            found.append(f"the objective {name} was {_promised(old)} and is {_promised(new)}")
    if differ and not found:
        found.append("rows of that load are not kept any more, or sources count in another order")
    return tuple(found)


def _promised(one: Promise | None) -> str:
    if one is None:
        return "not set"
    bound = f" under {one.threshold:g}" if one.threshold is not None else ""
    return f"{one.target * 100:.6g} %{bound} over {one.window}"
