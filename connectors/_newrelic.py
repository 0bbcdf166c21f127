"""What is asked of New Relic in NRQL, and what its rows add up to; the same for answers and for saved ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

from connectors._latency import EDGES, LAYOUT, UNITS
from tandem.connect import SourceDown, setting
from tandem.records import BUCKET, Covered, Event, Fact, Finding, Histogram, Outcome, Ratio, Series, labels_of

STATUS: Mapping[str, Outcome] = {"open": "open", "close": "bad", "recorded": "excluded"}
MOST = 5_000
"""Rows of one answer, LIMIT MAX."""
LONGEST = 4_096
"""Characters of a query that are sent at most."""
_CLAUSE = re.compile(r"\b(since|until|timeseries|facet|limit|compare with|slide by|with timezone)\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`")
_LE = re.compile(r"le_(\d+(?:\.\d+)?)")

Raw = Mapping[str, Any]


@dataclass(frozen=True)
class Query:
    """One signal: which events count, and which of them are good or how long they took, as conditions of NRQL."""

    signal: str = setting("The signal that is measured.", example="request_success")
    component: str = setting("Whose it is.", default="", example="checkout-api")
    component_from: str = setting("The attribute that names the component instead.", default="", example="appName")
    from_: str = setting("The type of events or metrics.", default="Transaction", example="Transaction")
    where: str = setting("The condition for what counts.", default="", example="appName = 'checkout'")
    bad: str = setting("The condition for the bad ones among them.", default="", example="error IS true")
    good: str = setting("The condition for the good ones instead.", default="", example="result = 'SUCCESS'")
    duration: str = setting("The attribute with the duration, for latency.", default="", example="duration")
    unit: Literal["s", "ms", "us", "ns"] = setting("The unit of the duration.", default="s", example="s")
    version: str = setting("The attribute that is the version.", default="", example="tags.version")
    environment: str = setting("Where it runs, if not as the source says.", default="", example="production")

    def __post_init__(self) -> None:
        given = [name for name in ("bad", "good", "duration") if getattr(self, name)]
        if len(given) != 1 and not (self.signal == "volume" and not given):
            raise ValueError("give exactly one of bad, good and duration.")
        if self.component and self.component_from:
            raise ValueError("give component or component_from, not both.")
        for text in (self.from_, self.where, self.bad, self.good, self.duration):
            if found := _CLAUSE.search(_QUOTED.sub("", text)):
                raise ValueError(f'write conditions only; the clause "{found[0]}" is set by Tandem.')
        if len(nrql(self, 10**9, 10**9)) > LONGEST:
            raise ValueError(f"its query is longer than the {LONGEST:,} characters New Relic takes; shorten where.")

    @property
    def facets(self) -> tuple[str, ...]:
        """The attributes that it is cut by."""
        return tuple(name for name in (self.component_from, self.version) if name)


def nrql(query: Query, since: int, until: int) -> str:
    """The query for the buckets of [since, until), epoch seconds."""
    parts = (
        f"FROM {query.from_}",
        "SELECT",
        ", ".join(_columns(query)),
        f"WHERE {query.where}" if query.where else "",
        f"FACET {', '.join(query.facets)} LIMIT MAX" if query.facets else "",
        f"TIMESERIES 5 minutes SINCE {since * 1000} UNTIL {until * 1000}",
    )
    return " ".join(part for part in parts if part)


def _columns(query: Query) -> Iterator[str]:
    if not query.duration:
        yield "count(*) AS 'total'"
        if query.bad or query.good:
            yield f"filter(count(*), WHERE {query.bad or query.good}) AS '{'bad' if query.bad else 'good'}'"
        return
    yield f"count({query.duration}) AS 'n'"
    yield f"filter(count(*), WHERE {query.duration} < 0) AS 'negative'"
    for edge in EDGES:
        limit = Fraction(str(edge)) * UNITS[query.unit]
        said = str(limit) if limit.denominator == 1 else repr(float(limit))
        yield f"filter(count(*), WHERE {query.duration} <= {said}) AS 'le_{edge:g}'"


@dataclass
class Rows:
    """What answers add up to: facts by bucket, incidents and deployments by their keys."""

    status: Callable[[str], Outcome | None]
    account: str = ""
    facts: list[Fact] = field(default_factory=list)
    covered: list[Covered] = field(default_factory=list)
    events: dict[tuple[str, str], Event] = field(default_factory=dict)
    said: Counter[tuple[str, str]] = field(default_factory=Counter)

    def series(self, query: Query, answer: Raw, since: int, until: int) -> None:
        """The facts of one answer that was asked for [since, until); raises SourceDown for another question's."""
        self._check_window(answer, since, until)
        rows = [row for row in answer.get("results") or () if isinstance(row, dict)]
        expected = set(range(since, until, BUCKET))
        seen: dict[Any, set[int]] = {} if query.facets else {(): set()}
        for row in rows:
            begin = row.get("beginTimeSeconds")
            facet = _facet(row)
            if begin not in expected or begin in seen.get(facet, ()):
                raise SourceDown("New Relic answered another question; check what stands before it.")
            seen.setdefault(facet, set()).add(int(begin))
            self._row(query, facet, row, int(begin))
        if any(buckets != expected for buckets in seen.values()):
            raise SourceDown("New Relic left buckets out of its answer, so nothing of it counts; it is asked again.")
        self._remarks(query, answer)

    def saved(self, query: Query, answer: Raw, component: str) -> None:
        """The facts of a saved answer: its whole buckets of 5 minutes."""
        window = _object(answer, "metadata", "timeWindow")
        end = window.get("end")
        last = end // 1000 if isinstance(end, int) else None
        for row in answer.get("results") or ():
            begin, until = row.get("beginTimeSeconds"), row.get("endTimeSeconds")
            if not isinstance(begin, int) or not isinstance(until, int) or begin % BUCKET or until - begin > BUCKET:
                reason = "a bucket is none of 5 minutes: save answers with TIMESERIES 5 minutes SINCE a whole 5 minutes"
                self.said["reject", reason] += 1
            elif until - begin < BUCKET or (last is not None and begin + BUCKET > last):
                self.said["remark", "the last bucket was not over when the answer was saved, and is left out"] += 1
            else:
                self._row(query, _facet(row), row, begin)
                self.covered.append(Covered(begin, begin + BUCKET, query.component or component, query.signal))
        self._remarks(query, answer)

    def _check_window(self, answer: Raw, since: int, until: int) -> None:
        window = _object(answer, "metadata", "timeWindow")
        if window and (window.get("begin"), window.get("end")) != (since * 1000, until * 1000):
            raise SourceDown("New Relic answered for another time than it was asked; check what stands before it.")

    def _remarks(self, query: Query, answer: Raw) -> None:
        others = answer.get("otherResult")
        rest = others if isinstance(others, list) else [others] if isinstance(others, dict) else []
        left = sum(_whole(row.get("total", row.get("n"))) or 0 for row in rest if isinstance(row, dict))
        if left:
            name = ", ".join(query.facets)
            self.said["reject", f"events lie beyond the most values of {name} that New Relic tells apart"] += left
        for message in _object(answer, "metadata").get("messages") or ():
            self.said["remark", f"New Relic says: {str(message)[:200]}"] += 1

    def _row(self, query: Query, facet: tuple[Any, ...], row: Raw, ts: int) -> None:
        value = self._durations(query, row) if query.duration else self._ratio(query, row)
        if value is None:
            return
        cut = dict(zip(query.facets, facet, strict=False))
        named = cut.get(query.component_from)
        self.facts.append(
            Fact(
                Series(
                    query.signal,
                    labels=labels_of({query.component_from or "from": named if query.component_from else query.from_}),
                    component=query.component or (str(named) if named else ""),
                    version=str(cut.get(query.version) or ""),
                    environment=query.environment,
                ),
                ts,
                value,
            )
        )

    def _ratio(self, query: Query, row: Raw) -> Ratio | None:
        total, part = _whole(row.get("total")), _whole(row.get("bad" if query.bad else "good"))
        if not (query.bad or query.good):
            part = total
        if total is None or part is None:
            self.said["reject", "a count is no whole number (sampled events?), so the bucket is left out"] += 1
            return None
        if part > total:
            self.said["reject", "a part is larger than its total, so the bucket is left out"] += 1
            return None
        return Ratio(total - part if query.bad else part, total) if total else None

    def _durations(self, query: Query, row: Raw) -> Histogram | None:
        known = {float(found[1]): name for name in row if (found := _LE.fullmatch(str(name)))}
        edges = tuple(sorted(known))
        below = [_whole(row[known[edge]]) for edge in edges]
        n, negative = _whole(row.get("n", row.get("total"))), _whole(row.get("negative", 0))
        if not edges or n is None or negative is None or any(one is None for one in below):
            self.said["reject", "a count is no whole number (sampled events?), so the bucket is left out"] += 1
            return None
        marks = [negative, *(one or 0 for one in below), n]
        counts = [after - before for before, after in pairwise(marks)]
        if min(counts) < 0:
            self.said[
                "reject", "fewer events lie below a bound than below the one before, so the bucket is left out"
            ] += 1
            return None
        if negative:
            self.said["reject", f"{query.duration or 'a duration'} is negative"] += negative
        layout = LAYOUT if edges == EDGES else replace(LAYOUT, edges=edges)
        filled = {place: count for place, count in enumerate(counts) if count}
        return Histogram(layout, filled, {}) if filled else None

    # -- events

    def incident(self, row: Raw) -> None:
        """The opening or the closing of an incident; a close knows both."""
        key, word = _text(row, "incidentId"), _text(row, "event")
        opened = _seconds(row.get("openTime")) or (_seconds(row.get("timestamp")) if word == "open" else None)
        if not key or opened is None:
            self.said["reject", "an incident has no id or no beginning"] += 1
            return
        outcome = self._outcome(word)
        closed = _seconds(row.get("closeTime")) or (_seconds(row.get("timestamp")) if word == "close" else None)
        over = outcome not in (None, "open") and closed is not None and closed >= opened
        title = _text(row, "title") or _text(row, "conditionName")
        labels = {name: row.get(name) for name in ("entity.name", "policyName", "conditionName", "priority")}
        self._keep(
            Event(
                "incident", key, opened, ended=closed if over else None, outcome=outcome or "excluded", title=title,
                url=_text(row, "incidentLink"), labels=labels_of({**labels, "account": self.account}),
                revision=(closed or opened) if over else opened,
            )
        )  # fmt: skip

    def deployment(self, row: Raw) -> None:
        """A change that was recorded; that it succeeded nobody says."""
        ts = _seconds(row.get("timestamp"))
        if ts is None:
            self.said["reject", "a deployment has no time"] += 1
            return
        version, entity = _text(row, "version"), _text(row, "entity.name")
        key = _text(row, "deploymentId") or _text(row, "changeTrackingId")
        labels = {name: row.get(name) for name in ("entity.name", "entity.guid", "deploymentType", "type", "groupId")}
        self._keep(
            Event(
                "deployment", key or f"{_text(row, 'entity.guid')}/{version}/{ts}", ts,
                outcome=self._outcome("recorded") or "excluded", version=version, commit=_text(row, "commit"),
                actor=_text(row, "user"), title=_text(row, "description") or f"{version} of {entity}",
                url=_text(row, "deepLink"), labels=labels_of({**labels, "account": self.account}), revision=ts,
            )
        )  # fmt: skip

    def _outcome(self, word: str) -> Outcome | None:
        found = self.status(word)
        if found is None:
            said = f'the status "{word[:60]}" is unknown; what has it is excluded'
            self.said["remark", f"{said}, or name it in [source.status]"] += 1
        return found

    def _keep(self, event: Event) -> None:
        known = self.events.get((event.kind, event.key))
        if known is None or (event.outcome != "open", event.revision) >= (known.outcome != "open", known.revision):
            self.events[event.kind, event.key] = event

    def findings(self, where: str) -> list[Finding]:
        """What was left out or needs a remark."""
        found = [
            Finding("reject" if kind == "reject" else "remark", reason, where, n)
            for (kind, reason), n in sorted(self.said.items())
        ]
        self.said.clear()
        return found


def _facet(row: Raw) -> tuple[Any, ...]:
    told = row.get("facet")
    if told is None:
        return ()
    return tuple(told) if isinstance(told, list) else (told,)


def _object(told: Any, *names: str) -> Raw:
    for name in names:
        told = told.get(name) if isinstance(told, dict) else None
    return told if isinstance(told, dict) else {}


def _whole(told: Any) -> int | None:
    if isinstance(told, bool) or not isinstance(told, int | float) or told < 0 or told != int(told):
        return None
    return int(told)


def _seconds(told: Any) -> int | None:
    """Epoch seconds of milliseconds; None for what is no time after 1970."""
    if isinstance(told, bool) or not isinstance(told, int | float) or told < 366 * 86_400_000:
        return None
    return int(told // 1000)


def _text(row: Raw, name: str) -> str:
    told = row.get(name)
    return "" if told is None else str(told)


def usual(alias: str, rows: Sequence[Raw]) -> Query | None:
    """What a saved answer measures, by its alias and the names of its columns; None for none of our shapes."""
    first = next((row for row in rows if isinstance(row, dict)), {})
    stated = alias.rpartition("_")[0] if alias.rpartition("_")[2].isdigit() else ""
    facet = "facet" if "facet" in first else ""
    if any(_LE.fullmatch(str(name)) for name in first):
        return Query(stated or "latency", duration="duration", component_from=facet)
    for name in ("bad", "good"):
        if name in first and "total" in first:
            part: dict[str, Any] = {name: "true"}
            return Query(stated or "request_success", component_from=facet, **part)
    return None
