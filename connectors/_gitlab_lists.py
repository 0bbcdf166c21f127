"""GitLab's lists: read in the order of their last change and by that time, so that no change hides a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from connectors._gitlab_objects import Raw, Unusable, object_of, time_of
from connectors._http import Client, Reply, next_link
from tandem import times
from tandem.connect import Pull, SourceRefused
from tandem.records import Gap

PER_PAGE = 100


@dataclass
class Lists:
    """The lists of one project in one pull; `name` is that of the source.

    `walks` is (begin, read up to) of each list that a cut pull left. `shown` are the lists that the project shows,
    `hidden` those that it does not; `gaps` what lists say they hold and do not tell.
    """

    client: Client
    pull: Pull
    project: str
    name: str
    walks: dict[str, list[int]]
    gaps: list[Gap]
    shown: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def get(self, path: str, params: Sequence[tuple[str, object]] = (), accept: Sequence[int] = (200,)) -> Reply:
        """The answer of the project to one path."""
        asked = [(name, str(value)) for name, value in params]
        whole = f"projects/{quote(self.project, safe='')}" + (f"/{path}" if path else "")
        return self.client.get(whole, asked, accept=accept)

    def changed(
        self, path: str, what: str, start: int, only: list[tuple[str, object]]
    ) -> Iterator[list[Raw]]:  # fmt: skip
        """The rows that changed in [start, until), oldest change first; a list that lacks some is read once more."""
        place = f"{self.project} {what}"
        begun = self.walks.get(place)
        begin = begun[1] if begun and begun[0] <= start < begun[1] else start
        known: dict[str, int] = {}
        for _ in range(2):
            total: int | None = None
            for number, (reply, rows, cursor) in enumerate(self._walked(path, begin, only)):
                total = _total(reply) if number == 0 else total
                fresh = {_key(raw): raw for raw in rows if known.get(_key(raw)) != _word(raw)}
                known.update((_key(raw), _word(raw)) for raw in rows)
                self.walks[place] = [start, cursor]
                share = (cursor - start) / max(1, self.pull.until - start)
                self.pull.progress(f"{place} until {times.text(cursor)}", min(1.0, max(0.0, share)))
                yield [raw for raw in fresh.values() if at(raw, "updated_at", 0) < self.pull.until]
            if total is None or len(known) >= total:
                break
        else:
            reason = f"GitLab says {total} {what} and lists {len(known)}"
            self.gaps.append(Gap(max(start, self.pull.since), self.pull.until, reason))
        self.walks.pop(place, None)

    def _walked(
        self, path: str, begin: int, only: list[tuple[str, object]]
    ) -> Iterator[tuple[Reply, list[Raw], int]]:  # fmt: skip
        """(reply, rows, read up to): each page asks for what changed since the last row of the one before."""
        cursor, page = begin, 1
        seen: set[tuple[str, int]] = set()
        while True:
            asked: list[tuple[str, object]] = [
                ("updated_after", times.text(max(0, cursor - 1))),
                ("order_by", "updated_at"),
                ("sort", "asc"),
                ("per_page", PER_PAGE),
                *([("page", page)] if page > 1 else []),
                *only,
            ]
            reply = self.get(path, asked, accept=(200, 403, 404))
            if reply.status != 200:
                self._not_shown(path, reply)
                return
            self.shown.add(path)
            rows = rows_of(reply)
            more = next_link(reply) is not None or len(rows) >= PER_PAGE
            last = max((at(raw, "updated_at", cursor) for raw in rows), default=cursor)
            fresh = {(_key(raw), _word(raw)) for raw in rows} - seen
            seen = {(_key(raw), _word(raw)) for raw in rows} | (seen if last <= cursor else set())
            cursor, page = (last, 1) if last > cursor else (cursor, page + 1)
            yield reply, rows, cursor
            if not more or not rows or (page > 2 and not fresh):
                return

    def _not_shown(self, path: str, reply: Reply) -> None:
        """What a project does not show: it is not there, or only this part of it is switched off."""
        if reply.status == 404 and path == "pipelines":
            raise SourceRefused(
                f'{self.name} finds no project "{self.project}"; check projects, and that the token may read it.'
            )
        self.hidden.add(path)

    def listed(
        self, path: str, params: Sequence[tuple[str, object]], start: int | None = None
    ) -> list[Raw] | None:  # fmt: skip
        """All rows of a list, or those down to `start`; None where it is not there."""
        found: dict[str, Raw] = {}
        total: int | None = None
        for _ in range(2):
            page, more = 1, True
            while more:
                asked = [*params, ("per_page", PER_PAGE), *([("page", page)] if page > 1 else [])]
                reply = self.get(path, asked, accept=(200, 403, 404))
                if reply.status != 200:
                    self._not_shown(path, reply)
                    return None
                rows, known = rows_of(reply), len(found)
                total = _total(reply) if page == 1 else total
                found.update((_key(raw), raw) for raw in rows)
                oldest = min((at(raw, "released_at", self.pull.until) for raw in rows), default=0)
                more = next_link(reply) is not None or len(rows) >= PER_PAGE
                more = more and bool(rows) and (len(found) > known or page == 1) and (start is None or oldest >= start)
                page += 1
            if start is not None or total is None or len(found) >= total:
                return list(found.values())
        reason = f"GitLab says {total} rows of {path} and lists {len(found)}"
        self.gaps.append(Gap(self.pull.since, self.pull.until, reason))
        return list(found.values())


def _total(reply: Reply) -> int | None:
    """How many rows there are; above 10,000 GitLab does not say."""
    said = reply.headers.get("x-total", "")
    return int(said[:12]) if said.isdecimal() else None


def rows_of(reply: Reply) -> list[Raw]:
    """The objects of a list; raises SourceRefused for anything else."""
    data = reply.data
    if not isinstance(data, list) or not all(isinstance(raw, dict) for raw in data):
        raise SourceRefused(f"{urlsplit(reply.url).path} is no list of objects; check that url is a GitLab server.")
    return data


def object_in(reply: Reply) -> Raw:
    """The object of an answer; raises SourceRefused for anything else."""
    try:
        return object_of(reply.data)
    except Unusable:
        raise SourceRefused(f"{urlsplit(reply.url).path} is no object; check that url is a GitLab server.") from None


def _key(raw: Mapping[str, Any]) -> str:
    return str(raw.get("id", raw.get("tag_name")))


def _word(raw: Raw) -> int:
    """What a list says of a row, as a number: a hundred thousand of them are held at once."""
    return hash(f"{raw.get('updated_at')} {raw.get('status')}")


def at(raw: Raw, name: str, default: int) -> int:
    """Epoch seconds of a field; the default where it holds no time."""
    try:
        return time_of(raw, name, default)
    except Unusable:
        return default
