"""Vector selectors of PromQL, `name{a="x",b!="y",c=~"re",d!~"re"}`: read, matched and written; nothing else of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Operator = Literal["=", "!=", "=~", "!~"]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|`([^`]*)`')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class Matcher:
    """One condition on a label; an absent label is "". Regular expressions match the whole value."""

    label: str
    operator: Operator
    value: str

    def test(self) -> Callable[[str], bool]:
        """The condition as a function of the label's value."""
        value = self.value
        if self.operator == "=":
            return lambda given: given == value
        if self.operator == "!=":
            return lambda given: given != value
        pattern = re.compile(value, re.DOTALL)
        if self.operator == "=~":
            return lambda given: pattern.fullmatch(given) is not None
        return lambda given: pattern.fullmatch(given) is None


@dataclass(frozen=True)
class Selector:
    """A metric name and conditions on its labels."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def matches(self) -> Callable[[Mapping[str, str]], bool]:
        """Whether labels (with `__name__`) are selected."""
        tests = [(m.label, m.test()) for m in self.matchers]
        name = self.name
        return lambda labels: (
            labels.get("__name__") == name and all(test(labels.get(label, "")) for label, test in tests)
        )

    def renamed(self, name: str) -> Selector:
        """The same conditions on another metric."""
        return replace(self, name=name)

    def __str__(self) -> str:
        inside = ",".join(f"{m.label}{m.operator}{_quoted(m.value)}" for m in self.matchers)
        return f"{self.name}{{{inside}}}" if inside else self.name


def selector(text: str) -> Selector:
    """Read a selector; raises ValueError with one sentence for anything else PromQL can say."""
    given = text.strip()
    name, at = "", 0
    found = _NAME.match(given)
    if found:
        name, at = found[0], found.end()
    matchers: list[Matcher] = []
    rest = given[at:].lstrip()
    if rest:
        matchers = _matchers(rest, text)
    named = [m for m in matchers if m.label == "__name__"]
    if named and not name and len(named) == 1 and named[0].operator == "=":
        name, matchers = named[0].value, [m for m in matchers if m.label != "__name__"]
    if not name or any(m.label == "__name__" for m in matchers):
        raise ValueError(f'{_short(text)} names no metric; write one selector such as up{{job="shop"}}.')
    return Selector(name, tuple(matchers))


def _matchers(text: str, whole: str) -> list[Matcher]:
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError(
            f'{_short(whole)} is more than a selector; write the raw series such as up{{job="shop"}}, '
            "without functions, ranges or arithmetic."
        )
    found: list[Matcher] = []
    inside, at = text[1:-1], 0
    while inside[at:].strip():
        at += len(inside[at:]) - len(inside[at:].lstrip())
        matcher, at = _matcher(inside, at, whole)
        found.append(matcher)
        at += len(inside[at:]) - len(inside[at:].lstrip())
        if at < len(inside):
            if inside[at] != ",":
                raise _unreadable(whole)
            at += 1
    return found


def _matcher(inside: str, at: int, whole: str) -> tuple[Matcher, int]:
    label = _LABEL.match(inside, at)
    if not label:
        raise _unreadable(whole)
    at = label.end() + len(inside[label.end() :]) - len(inside[label.end() :].lstrip())
    operator = _OPERATOR.match(inside, at)
    if not operator:
        raise _unreadable(whole)
    at = operator.end() + len(inside[operator.end() :]) - len(inside[operator.end() :].lstrip())
    string = _STRING.match(inside, at)
    if not string:
        raise _unreadable(whole)
    value = string[3] if string[3] is not None else unescaped(string[1] if string[1] is not None else string[2])
    matcher = Matcher(label[0], operator[0], value)  # type: ignore[arg-type]
    try:
        matcher.test()
    except re.error:
        raise ValueError(f"{_short(whole)} holds a regular expression that cannot be read; correct it.") from None
    return matcher, string.end()


def unescaped(text: str) -> str:
    """The text a quoted string stands for."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: _escape(found[1]), text)


def _escape(code: str) -> str:
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _unreadable(whole: str) -> ValueError:
    return ValueError(f'{_short(whole)} cannot be read as a selector such as up{{job="shop",code!~"5.."}}.')


def _short(text: str) -> str:
    return f'"{text}"' if len(text) <= 80 else f'"{text[:77]}..."'
