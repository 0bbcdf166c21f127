"""What Prometheus and its exporters leave behind as files, to series: query JSON, exposition text, tsdb dumps."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connectors import _files
from connectors._counters import Native, Scraped, native_of, scraped
from connectors._promql import unescaped
from tandem.connect import Item, SourceRefused
from tandem.records import Finding

Key = tuple[tuple[str, str], ...]

_LABEL = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[a-zA-Z_:][\w:.]*)\s*(?:=\s*"((?:[^"\\]|\\.)*)")?\s*(?:,|$)')
_LINE = re.compile(
    r"""([a-zA-Z_:][\w:]*)?\s*(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?\s+
    (NaN|[+-]?Inf|[+-]?\d[\d.]*(?:[eE][+-]?\d+)?)(?:\s+(-?\d[\d.]*(?:[eE][+-]?\d+)?))?\s*(?:\#.*)?\n""",
    re.VERBOSE | re.IGNORECASE,
)
_MILLISECONDS = 1e11
"""Times from here on are milliseconds (text format, dumps), smaller ones seconds (OpenMetrics)."""
_SHOWN = 5


@dataclass
class Found:
    """The wanted series of some files, gathered; what was left out is counted by reason."""

    wanted: Callable[[Mapping[str, str]], bool]
    numbers: dict[Key, tuple[array[int], array[float]]] = field(default_factory=dict)
    natives: dict[Key, dict[int, Native]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    def number(self, key: Key, at: int, value: float) -> None:
        """One sample; `at` in epoch milliseconds."""
        times, values = self.numbers.setdefault(key, (array("q"), array("d")))
        times.append(at)
        values.append(value)

    def series(self) -> list[Scraped]:
        """Every series, in order of time."""
        numbers = [
            scraped(dict(key), np.frombuffer(times, dtype=np.int64), np.frombuffer(values, dtype=np.float64))
            for key, (times, values) in self.numbers.items()
        ]
        return numbers + [_natives(dict(key), samples) for key, samples in self.natives.items()]

    def take(self, other: Found) -> None:
        """Add what another file held."""
        for key, (times, values) in other.numbers.items():
            own = self.numbers.setdefault(key, (array("q"), array("d")))
            own[0].extend(times)
            own[1].extend(values)
        for key, samples in other.natives.items():
            self.natives.setdefault(key, {}).update(samples)
        self.findings += other.findings
        self.others |= other.others

    def keeps(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is wanted; the names of others are remembered for a sentence."""
        if self.wanted(labels):
            return True
        if len(self.others) < _SHOWN:
            self.others.add(labels.get("__name__", "(a series without a name)"))
        return False


def _natives(labels: Mapping[str, str], samples: Mapping[int, Native]) -> Scraped:
    times = sorted(samples)
    return Scraped(
        labels, np.asarray(times, dtype=np.int64), np.empty(0, dtype=np.float64), [samples[at] for at in times]
    )


def key_of(labels: Mapping[str, Any]) -> Key:
    """The identity of a series."""
    return tuple(sorted((str(name), str(value)) for name, value in labels.items()))


def is_json(head: bytes) -> bool:
    """Whether a file begins as an answer of the query API."""
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:4096]
    return begin.startswith(b"{") and b'"resultType"' in begin and b'"status"' in begin


def is_text(head: bytes) -> bool:
    """Whether a file begins as exposition text or a tsdb dump."""
    lines = head[:8192].decode("utf-8", "replace").lstrip("\ufeff").split("\n")
    complete = [line for line in (lines[:-1] or lines) if line.strip()][:20]
    samples = [line for line in complete if not line.startswith("#")]
    typed = any(line.startswith(("# TYPE ", "# HELP ")) for line in complete)
    shaped = bool(samples) and all(_LINE.fullmatch(line.rstrip("\r") + "\n") for line in samples)
    dumped = shaped and all(line.startswith("{__name__=") for line in samples)
    return (typed and (shaped or not samples)) or dumped


def read(item: Item, found: Found, at: int | None) -> None:
    """Gather the series of one file. `at`: epoch seconds of samples that have no time of their own.

    Raises SourceRefused for a file that is broken or cut off.
    """
    if is_json(item.head):
        for document in _files.documents(item):
            take_answer(document, found, item.name)
    else:
        _read_text(item, found, at)


def take_answer(document: Any, found: Found, where: str) -> None:
    """Gather the series of one answer of the query API; raises SourceRefused when it is none."""
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or document.get("status") != "success":
        raise SourceRefused(f"{where} is not an answer of Prometheus' query API; check the url.")
    for warning in (*(document.get("warnings") or ()), *(document.get("infos") or ())):
        found.findings.append(Finding("remark", f"Prometheus warns: {str(warning)[:200]}", where))
    if data.get("resultType") not in ("matrix", "vector"):
        found.findings.append(Finding("reject", f"a {data.get('resultType')} holds no series", where))
        return
    unusable = 0
    for told in data.get("result") or ():
        labels = told.get("metric") if isinstance(told, dict) else None
        if not isinstance(labels, dict):
            unusable += 1
        elif found.keeps(labels):
            unusable += _take_series(key_of(labels), told, found)
    if unusable:
        found.findings.append(Finding("reject", "a sample has no usable time or value", where, unusable))


def _take_series(key: Key, told: Mapping[str, Any], found: Found) -> int:
    unusable = 0
    for at, value in told.get("values") or ([told["value"]] if "value" in told else []):
        try:
            found.number(key, round(float(at) * 1000), float(value))
        except (ValueError, TypeError, OverflowError):
            unusable += 1
    reasons: dict[str, int] = {}
    for at, histogram in told.get("histograms") or ([told["histogram"]] if "histogram" in told else []):
        try:
            found.natives.setdefault(key, {})[round(float(at) * 1000)] = native_of(histogram)
        except ValueError as error:
            reasons[str(error)] = reasons.get(str(error), 0) + 1
        except (TypeError, KeyError, OverflowError, AttributeError):
            unusable += 1
    name = dict(key).get("__name__", "")
    found.findings.extend(Finding("reject", reason, name, n) for reason, n in reasons.items())
    return unusable


def _read_text(item: Item, found: Found, at: int | None) -> None:
    known: dict[tuple[str, str], Key | None] = {}
    timeless = 0
    for number, line in enumerate(_files.lines(item, ends=True), 1):
        if not line.strip() or (line.startswith("#") and line.endswith("\n")):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            reason = "not a sample" if line.endswith("\n") else "cut off"
            found.findings.append(Finding("reject", f"the line is {reason}", f"{item.name} line {number}"))
            continue
        name, inside, value, stamp = match.groups()
        series = (name or "", inside or "")
        if series not in known:
            known[series] = _wanted_key(series, found)
        key = known[series]
        if key is None:
            continue
        if stamp is None:
            timeless += 1
        when = _milliseconds(stamp, item.modified if at is None else at)
        found.number(key, when, float(value))
    if timeless and at is None:
        found.findings.append(Finding("remark", "has no times; its modification time was taken", item.name))


def _wanted_key(series: tuple[str, str], found: Found) -> Key | None:
    labels = _labels(*series)
    return key_of(labels) if found.keeps(labels) else None


def _labels(name: str, inside: str) -> dict[str, str]:
    labels = {"__name__": name} if name else {}
    for quoted, value in _LABEL.findall(inside):
        if quoted.startswith('"') and not value:
            labels["__name__"] = unescaped(quoted[1:-1])
        else:
            labels[quoted.strip('"')] = unescaped(value)
    return labels


def _milliseconds(stamp: str | None, otherwise: int) -> int:
    if stamp is None:
        return otherwise * 1000
    value = float(stamp)
    return round(value) if abs(value) >= _MILLISECONDS else round(value * 1000)


def names(found: Iterable[str]) -> str:
    """A few names for a sentence."""
    return ", ".join(json.dumps(name[:60]) for name in sorted(found)) or "none"
