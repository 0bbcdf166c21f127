"""A small NerdGraph for tests: NRQL over events, with its limits and with its errors inside 200 replies.

Written by hand after the documented behaviour of NRQL and NerdGraph; not captured. Conditions are functions that the
test gives with their text, so that nothing of the connector judges itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.replay import Answer, Asked

Row = Mapping[str, Any]

_QUERY = re.compile(
    r"FROM (?P<types>[\w, ]+?) SELECT (?P<select>\*|.*? AS '\w[\w.]*')(?: WHERE (?P<where>.*?))?"
    r"(?: FACET (?P<facet>.*?))?"
    r"(?: LIMIT (?P<limit>MAX|\d+))?(?: TIMESERIES (?P<minutes>\d+) minutes)? SINCE (?P<since>\d+) UNTIL (?P<until>\d+)"
)
_FILTER = re.compile(r"filter\(count\(\*\), WHERE (.*)\) AS '(.*)'")
_COUNT = re.compile(r"count\((.*)\) AS '(.*)'")
_LIMIT = re.compile(r"(\w+) (<=|<) ([\d.]+)")
_IN = re.compile(r"(.*) AND incidentId IN \((.*)\)")


@dataclass
class NewRelic:
    """An account with events, each {"type", "timestamp" in ms, ...}."""

    events: list[dict[str, Any]] = field(default_factory=list)
    conditions: Mapping[str, Callable[[Row], bool]] = field(default_factory=dict)
    account: int = 7
    key: str = ""
    longest: int = 366
    facets: int = 2000
    most: int = 5000
    slow: int = 10**9
    """Seconds of a window over which a query runs into its timeout."""
    errors: Sequence[Any] = ()
    """Errors that every answer holds, beside its data."""
    shift: int = 0
    """Seconds by which the answered window differs from the asked one."""
    queries: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        """The HTTP answer."""
        if asked.path != "/graphql":
            return Answer({"error": "not found"}, 404)
        if self.key and asked.headers.get("api-key") != self.key:
            return Answer({"errors": [{"message": "Invalid or missing API key"}]}, 401)
        body = json.loads(asked.body)
        if body["variables"]["account"] != self.account:
            return Answer({"data": {"actor": {"account": None}}, "errors": [
                {"message": "Access denied", "extensions": {"errorClass": "ACCESS_DENIED"}}]})  # fmt: skip
        found: dict[str, Any] = {}
        errors = list(self.errors)
        for alias, number in re.findall(r"(\w+): nrql\(query: \$q(\d+)", body["query"]):
            text = body["variables"][f"q{number}"]
            self.queries.append(text)
            try:
                found[alias] = self._run(text)
            except ValueError as error:
                found[alias] = None
                word = "TIMEOUT" if "timed out" in str(error) else "INVALID_INPUT"
                errors.append({"message": str(error), "path": ["actor", "account", alias],
                               "extensions": {"errorClass": word}})  # fmt: skip
        told: dict[str, Any] = {"data": {"actor": {"account": found}}}
        return Answer({**told, "errors": errors} if errors else told)

    def _run(self, text: str) -> Any:
        assert len(text) <= 4096
        match = _QUERY.fullmatch(text)
        if match is None:
            raise ValueError(f"NRQL Syntax Error: Error at line 1 position 1 in {text[:30]}")
        since, until = int(match["since"]), int(match["until"])
        if until - since > self.slow * 1000:
            raise ValueError("Your query timed out")
        types = match["types"].split(", ")
        rows = [one for one in self.events if one["type"] in types and since <= one["timestamp"] < until]
        rows = [one for one in rows if self._holds(match["where"], one)]
        window = {"begin": since + 1000 * self.shift, "end": until + 1000 * self.shift}
        told: dict[str, Any] = {"metadata": {"timeWindow": window, "messages": []}, "otherResult": None}
        if match["select"] == "*":
            return {**told, "results": [dict(one) for one in rows[: self.most]]}
        width = int(match["minutes"]) * 60_000
        if -(-(until - since) // width) > self.longest:
            raise ValueError("NRQL: TIMESERIES may have at most 366 buckets")
        first, *others = match["select"].split(", filter")
        columns = [_column(first), *(_column(f"filter{one}") for one in others)]
        names = match["facet"].split(", ") if match["facet"] else []
        groups: dict[tuple[Any, ...], list[Row]] = {} if names else {(): []}
        for one in rows:
            groups.setdefault(tuple(one.get(name) for name in names), []).append(one)
        kept = sorted(groups, key=lambda key: -len(groups[key]))[: self.facets]
        spans = [(at, min(at + width, until)) for at in range(since, until, width)]
        placed = {key: _placed(groups[key], since, width) for key in kept}
        results = [
            self._bucket(placed[key].get(number, ()), columns, span, names, key)
            for number, span in enumerate(spans)
            for key in kept
        ]
        rest = [one for key, several in groups.items() if key not in kept for one in several]
        left = _placed(rest, since, width)
        beyond = [self._bucket(left.get(n, ()), columns, span, [], ()) for n, span in enumerate(spans)]
        return {**told, "results": results, "otherResult": beyond if names else None}

    def _bucket(
        self,
        own: Sequence[Row],
        columns: Sequence[tuple[str, str, str]],
        span: tuple[int, int],
        names: Sequence[str],
        key: Any,
    ) -> Any:
        told: dict[str, Any] = {"beginTimeSeconds": span[0] // 1000, "endTimeSeconds": span[1] // 1000}
        if names:
            told["facet"] = key[0] if len(key) == 1 else list(key)
            told.update(zip(names, key, strict=True))
        for kind, what, name in columns:
            if not own:
                told[name] = 0
            elif kind == "filter":
                told[name] = sum(self._holds(what, one) for one in own)
            else:
                told[name] = sum(what == "*" or one.get(what) is not None for one in own)
        return told

    def _holds(self, condition: str | None, row: Row) -> bool:
        if condition is None:
            return True
        if condition in self.conditions:
            return self.conditions[condition](row)
        if named := _IN.fullmatch(condition):
            return self._holds(named[1], row) and row.get("incidentId") in re.findall(r"'([^']*)'", named[2])
        if condition == "event IN ('open', 'close')":
            return row.get("event") in ("open", "close")
        if condition == "category IS NULL OR category = 'Deployment'":
            return row.get("category") in (None, "Deployment")
        limit = _LIMIT.fullmatch(condition)
        if limit is None:
            raise ValueError(f"NRQL Syntax Error: {condition}")
        value, bound = row.get(limit[1]), float(limit[3])
        return value is not None and (value < bound if limit[2] == "<" else value <= bound)


def _placed(rows: Sequence[Row], since: int, width: int) -> dict[int, list[Row]]:
    """The rows by the number of their bucket."""
    found: dict[int, list[Row]] = {}
    for one in rows:
        found.setdefault((one["timestamp"] - since) // width, []).append(one)
    return found


def _column(text: str) -> tuple[str, str, str]:
    """(kind, what is counted, name) of a column."""
    if filtered := _FILTER.fullmatch(text):
        return "filter", filtered[1], filtered[2]
    counted = _COUNT.fullmatch(text)
    assert counted, text
    return "count", counted[1], counted[2]
