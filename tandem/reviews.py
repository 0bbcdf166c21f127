"""Moments and reviews: what people mark and write beside the numbers, in the store and as plain files."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from tandem import times
from tandem.saving import Figure
from tandem.store.file import Store
from tandem.store.kept import Kept, Kind, keep, kept

MARK = "+++"
LONGEST = 200_000
"""Characters of the text of a review."""
NAME = 120
NOTE = 2_000


@dataclass(frozen=True, slots=True)
class Moment:
    """A named stretch of time with what narrowed the numbers, and the load that was shown; times in epoch seconds."""

    id: str
    name: str
    since: int
    until: int
    note: str = ""
    author: str = ""
    page: str = "overview"
    environment: str = "production"
    product: str = ""
    component: str = ""
    as_of: int = 0
    made: int = 0


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody agreed to do, and until when (an ISO date, or "")."""

    what: str
    owner: str = ""
    due: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """A page for a team's meeting: Markdown, the stretch that it is about, what was agreed, the numbers of then."""

    id: str
    title: str
    text: str
    since: int
    until: int
    environment: str = "production"
    product: str = ""
    component: str = ""
    as_of: int = 0
    author: str = ""
    made: int = 0
    actions: tuple[Action, ...] = ()
    figures: tuple[Figure, ...] = field(default=())


def named(*parts: object) -> str:
    """An id of twelve hex digits for something that is new."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def checked(one: Moment | Review) -> Moment | Review:
    """The same, if it can be kept; raises ValueError with a sentence for what is empty, too long or out of order."""
    name, body = (one.name, one.note) if isinstance(one, Moment) else (one.title, one.text)
    most = NOTE if isinstance(one, Moment) else LONGEST
    if not name.strip():
        raise ValueError("it needs a name.")
    if len(name) > NAME:
        raise ValueError(f"its name has {len(name)} characters; {NAME} are the most.")
    if len(body) > most:
        raise ValueError(f"its text has {len(body):,} characters; {most:,} are the most.")
    if not 0 <= one.since < one.until <= times.LAST:
        raise ValueError("its stretch is empty or runs backwards; give it a begin before its end.")
    if len(one.id) != 12 or set(one.id) - set("0123456789abcdef"):
        raise ValueError(f"its id is {one.id[:20]!r}, not twelve hex digits.")
    for action in one.actions if isinstance(one, Review) else ():
        _checked_action(action)
    return one


def _checked_action(one: Action) -> None:
    if not one.what.strip():
        raise ValueError("an action says nothing of what is to be done; write it, or delete its row.")
    if one.due:
        try:
            date.fromisoformat(one.due)
        except ValueError:
            raise ValueError(f"{one.due[:20]!r} is not a date; write it as 2026-11-28.") from None


# -- in the store


def put(store: Store, one: Moment | Review) -> None:
    """Keep a moment or a revision of a review; raises ValueError or StoreRefused where it cannot be kept."""
    checked(one)
    content = {key: value for key, value in asdict(one).items() if key not in ("id", "made", "author")}
    keep(store, Kept(_kind(one), one.id, one.made, one.author, json.dumps(content, sort_keys=True), one.as_of))


def drop(store: Store, one: Moment | Review, now: int) -> None:
    """Delete it; what was written of it stays in the store's history."""
    keep(store, Kept(_kind(one), one.id, now, one.author, "", one.as_of))


def _kind(one: Moment | Review) -> Kind:
    return "moment" if isinstance(one, Moment) else "review"


def moments(store: Store, since: int = 0, until: int = times.LAST) -> list[Moment]:
    """Every moment that overlaps [since, until), the newest stretch first."""
    found = [Moment(id=one.id, author=one.author, made=one.made, **json.loads(one.content))
             for one in kept(store, "moment")]  # fmt: skip
    inside = [one for one in found if one.since < until and one.until > since]
    return sorted(inside, key=lambda one: (-one.until, one.name, one.id))


def reviews(store: Store) -> list[Review]:
    """Every review, the newest stretch first."""
    found = [_review(one) for one in kept(store, "review")]
    return sorted(found, key=lambda one: (-one.until, one.title, one.id))


def review(store: Store, name: str) -> Review | None:
    """The review of that id."""
    return next((_review(one) for one in kept(store, "review", name)), None) if name else None


def _review(one: Kept) -> Review:
    return _made({"id": one.id, "author": one.author, "made": one.made, **json.loads(one.content)})


def _made(told: Mapping[str, Any]) -> Review:
    actions = tuple(Action(**each) for each in told.get("actions", ()))
    figures = tuple(Figure(**each) for each in told.get("figures", ()))
    return Review(**{**told, "actions": actions, "figures": figures})


# -- as plain files


def plain(one: Moment | Review) -> str:
    """A Markdown file: the facts as TOML between two lines of +++, then the text."""
    head = {key: value for key, value in asdict(one).items() if key not in ("text", "note", "actions", "figures")}
    lines = [f'kind = "{_kind(one)}"', *(f"{key} = {_toml(value)}" for key, value in head.items())]
    if isinstance(one, Review):
        for name, rows in (("action", one.actions), ("figure", one.figures)):
            for row in rows:
                told = {key: value for key, value in asdict(row).items() if value is not None}
                lines += ["", f"[[{name}]]", *(f"{key} = {_toml(value)}" for key, value in told.items())]
    body = one.text if isinstance(one, Review) else one.note
    return "\n".join([MARK, *lines, MARK, "", body]) + ("" if body.endswith("\n") else "\n")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


FIGURE = {"good": None, "total": None, "budget_left": None}
"""What a figure may lack."""


def parsed(text: str) -> Moment | Review:
    """What `plain` wrote; raises ValueError with a sentence for anything else."""
    first, _, rest = text.replace("\r\n", "\n").partition("\n")
    head, closed, body = rest.partition(f"\n{MARK}\n")
    if first.strip() != MARK or not closed:
        raise ValueError("this is no moment or review of Tandem: it begins with facts between two lines of +++.")
    try:
        told = tomllib.loads(head)
        kind = told.pop("kind")
        body = body.removeprefix("\n")
        if kind == "moment":
            return checked(Moment(**told, note=body.removesuffix("\n")))
        if kind != "review":
            raise ValueError(f"its kind is {kind!r}; it is a moment or a review.")
        rows = {"figures": [{**FIGURE, **one} for one in told.pop("figure", [])], "actions": told.pop("action", [])}
        return checked(_made({**told, **rows, "text": body.removesuffix("\n")}))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"its facts are not TOML: {error}.") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"its facts are not those of a moment or a review: {error}.") from None


def edited(one: Review, text: str, title: str, actions: Sequence[Action], author: str, now: int) -> Review:
    """The next revision of a review; raises ValueError where it cannot be kept."""
    found = replace(one, text=text, title=title, actions=tuple(actions), author=author, made=now)
    checked(found)
    return found
