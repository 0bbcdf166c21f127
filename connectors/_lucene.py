"""The part of Lucene's query syntax that a log file can answer: fields, ranges, wildcards, AND, OR, NOT, brackets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

Test = Callable[[Mapping[str, Any]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<open>\() | (?P<close>\)) | (?P<word>(?:AND|OR|NOT|&&|\|\|)(?=[\s(]|$)|!)
    | (?P<field>[\w.@*\-]+(?:\\:[\w.]+)*):(?P<value>
        [\[{][^\]}]*\s+TO\s+[^\]}]*[\]}] | (?:>=|<=|>|<)\s*[^\s()]+ | "(?:[^"\\]|\\.)*" | (?=\() | [^\s()"]+ )
    | (?P<bare>"(?:[^"\\]|\\.)*"|[^\s()":]+)
    )""",
    re.VERBOSE,
)
_MEANS = {"&&": "AND", "||": "OR", "!": "NOT"}


class Unanswerable(ValueError):
    """A query that a file cannot answer; says which part."""


@lru_cache(maxsize=256)
def matcher(query: str) -> Test:
    """Whether a document matches `query`; "" matches all. Raises Unanswerable."""
    if query.strip() in ("", "*", "*:*"):
        return lambda document: True
    reader = _Reader(_tokens(query), query)
    found = reader.either("")
    if reader.place < len(reader.tokens):
        raise Unanswerable(f'"{query}" cannot be read behind its part number {reader.place}')
    return found


def field_of(document: Mapping[str, Any], name: str) -> Any:
    """The value of a field, whether its dots are part of a name or lead into tables; None where there is none."""
    if name in document:
        return document[name]
    head, dot, rest = name.partition(".")
    while dot:
        inner = document.get(head)
        if isinstance(inner, dict) and (found := field_of(inner, rest)) is not None:
            return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


@dataclass
class _Reader:
    tokens: list[tuple[str, str]]
    query: str
    place: int = 0

    def either(self, field: str) -> Test:
        tests = [self.every(field)]
        while self._word("OR"):
            tests.append(self.every(field))
        return tests[0] if len(tests) == 1 else lambda document: any(test(document) for test in tests)

    def every(self, field: str) -> Test:
        tests = [self.one(field)]
        while self._word("AND"):
            tests.append(self.one(field))
        return tests[0] if len(tests) == 1 else lambda document: all(test(document) for test in tests)

    def one(self, field: str) -> Test:
        if self._word("NOT"):
            inner = self.one(field)
            return lambda document: not inner(document)
        kind, text = self._next()
        if kind == "open":
            return self._inside(field)
        if kind == "field":
            named, _, value = text.partition("\x00")
            if value == "":
                if self._next()[0] != "open":
                    raise Unanswerable(f'"{self.query}" has a field without a value')
                return self._inside(named)
            return _matching(named, value)
        if kind == "bare" and field:
            return _matching(field, text)
        raise Unanswerable(f'"{self.query}" has "{text}" without a field: write field:value, and AND or OR between')

    def _inside(self, field: str) -> Test:
        found = self.either(field)
        if self._next()[0] != "close":
            raise Unanswerable(f'"{self.query}" has a bracket that does not close')
        return found

    def _word(self, wanted: str) -> bool:
        if self.place < len(self.tokens) and self.tokens[self.place] == ("word", wanted):
            self.place += 1
            return True
        return False

    def _next(self) -> tuple[str, str]:
        if self.place >= len(self.tokens):
            raise Unanswerable(f'"{self.query}" ends too early')
        self.place += 1
        return self.tokens[self.place - 1]


def _tokens(query: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while query[place:].strip():
        match = _TOKEN.match(query, place)
        if match is None or match.end() == place:
            raise Unanswerable(f'"{query}" cannot be read from "{query[place : place + 20].strip()}" on')
        place = match.end()
        kind = match.lastgroup if match.lastgroup != "value" else "field"
        if kind == "field":
            found.append(("field", f"{match['field']}\x00{match['value']}"))
        elif kind == "word":
            found.append(("word", _MEANS.get(match["word"], match["word"])))
        elif kind is not None:
            found.append((kind, match[kind]))
    return found


def _matching(field: str, value: str) -> Test:
    if field == "_exists_":
        return lambda document: field_of(document, value) is not None
    if value == "*":
        return lambda document: field_of(document, field) is not None
    if value[0] in "[{":
        low, high = re.split(r"\s+TO\s+", value[1:-1].strip(), maxsplit=1)
        above, below = (">=" if value[0] == "[" else ">"), ("<=" if value[-1] == "]" else "<")
        tests = [_comparing(sign, end) for sign, end in ((above, low), (below, high)) if end != "*"]
        return _any_value(field, lambda one: all(test(one) for test in tests))
    compared = re.fullmatch(r"(>=|<=|>|<)\s*(.+)", value)
    if compared:
        return _any_value(field, _comparing(compared[1], compared[2]))
    if value.startswith('"'):
        exact = re.sub(r"\\(.)", r"\1", value[1:-1])
        return _any_value(field, lambda one: _same(one, exact))
    plain = value.replace("[", "[[]")
    if "*" in value or "?" in value:
        return _any_value(field, lambda one: fnmatchcase(_text(one), plain))
    said = re.sub(r"\\(.)", r"\1", value)
    return _any_value(field, lambda one: _same(one, said))


def _any_value(field: str, test: Callable[[Any], bool]) -> Test:
    """A field with several values matches where one of them does."""

    def matches(document: Mapping[str, Any]) -> bool:
        found = field_of(document, field)
        values = found if isinstance(found, list) else [found]
        return any(one is not None and test(one) for one in values)

    return matches


def _comparing(sign: str, end: str) -> Callable[[Any], bool]:
    limit: Any = _number(end)
    bound = end.strip('"')

    def compare(one: Any) -> bool:
        mine: Any = _number(one)
        if limit is None or mine is None:
            mine, other = _text(one), bound
        else:
            other = limit
        if sign == ">=":
            return bool(mine >= other)
        if sign == "<=":
            return bool(mine <= other)
        return bool(mine > other) if sign == ">" else bool(mine < other)

    return compare


def _same(one: Any, said: str) -> bool:
    mine, other = _number(one), _number(said)
    return mine == other if mine is not None and other is not None else _text(one) == said


def _text(one: Any) -> str:
    return str(one).lower() if isinstance(one, bool) else str(one)


def _number(one: Any) -> float | None:
    if isinstance(one, bool):
        return None
    try:
        return float(one)
    except (TypeError, ValueError):
        return None
