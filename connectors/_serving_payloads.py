"""Payload logs of inference servers: CloudEvents as JSON Lines, whose responses tell what was predicted.

Such a log is a sample: servers log only what was answered well, and drop events under load without saying so. So it
tells how predictions were distributed, and never how many requests there were or failed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from connectors._adding import Added
from connectors._json import BadJson, BrokenJson, strict
from connectors._said import Said
from tandem import times
from tandem.bins import CATEGORIES, Layout, codes, feature_layout, quanta
from tandem.records import HOUR, Baseline, Histogram, Series, bucket_of, labels_of
from tandem.values import normal

ENOUGH = 1_000
"""Values from which a layout of numbers stays."""
RECENT = 5_000
"""Events that are known again when they are sent twice."""
Kind = Literal["", "class", "number"]
_RESPONSE = ".inference.response"
_REQUEST = ".inference.request"
_MARKS = (b'"specversion"', b'"ce-specversion"', b'"Ce-Specversion"')
_WIDE = "an output with several numbers in each row is no prediction; name in output the one that is"


def is_log(head: bytes) -> bool:
    """Whether a file begins with an event of an inference server on a line."""
    line = head.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
    return line.startswith(b"{") and any(mark in line for mark in _MARKS) and b".inference.re" in line


@dataclass(frozen=True)
class Answered:
    """What one response predicted; `at` in epoch seconds."""

    series: Series
    at: int
    values: Sequence[Any]


@dataclass
class Log:
    """The responses in some lines of a log."""

    added: Added
    said: Said
    output: str
    predicts: Kind
    wants: Callable[[str], bool]
    layout: Callable[[str, str, str], Layout | None]
    recent: list[str] = field(default_factory=list)
    at: int | None = None
    """The time of events that tell none."""
    zone: str | None = None
    answers: dict[Series, list[Answered]] = field(default_factory=lambda: defaultdict(list))
    logged: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Responses by component and hour."""
    made: dict[str, Layout] = field(default_factory=dict)

    def take(self, line: bytes, until: int) -> bool:
        """Read one line; whether it lies before `until` (epoch seconds), so that it may count by now."""
        try:
            told = strict(line, constants=float)
        except (BadJson, BrokenJson):
            self.said.reject("a line is no JSON that can be used")
            return True
        attributes, data = _event(told)
        kind = str(attributes.get("type", ""))
        if not kind.endswith(_RESPONSE):
            if not kind.endswith(_REQUEST):
                self.said.reject("a line is no event of an inference server")
            return True
        at = self._time(attributes)
        if at is None:
            self.said.reject("an event tells no time that can be used; import its file with --at")
            return True
        if at >= until:
            return False
        self._response(attributes, data, at)
        return True

    def _time(self, attributes: Mapping[str, Any]) -> int | None:
        told = attributes.get("time")
        if told in (None, ""):
            return self.at
        try:
            return times.iso(str(told), self.zone)
        except ValueError:
            return None

    def _response(self, attributes: Mapping[str, Any], data: Any, at: int) -> None:
        identity = f"{attributes.get('source', '')}\n{attributes.get('id', '')}\n{attributes.get('type', '')}"
        key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        if attributes.get("id") and key in self.recent:
            self.said.remark("an event that was sent again counts once")
            return
        self.recent.append(key)
        body = _body(data)
        if body is None:
            self.said.reject("a response holds no JSON of the inference protocols")
            return
        series = _series(attributes, body)
        if not self.wants(dict(series.labels).get("model", "")):
            return
        values = self._values(body)
        if values is None:
            return
        for one in self.added.placed(series):
            self.answers[one].append(Answered(one, at, values))
            if one.component:
                self.logged[one.component, bucket_of(at, HOUR)] += 1

    def _values(self, body: Mapping[str, Any]) -> list[Any] | None:
        """One value for each row of the answer; None where it holds no prediction that can be told."""
        found = _of_v1(body["predictions"], self.output) if "predictions" in body else _of_v2(body, self.output)
        if isinstance(found, str):
            self.said.reject(found)
            return None
        return found

    # -- distributions

    def count(self) -> list[Baseline]:
        """Count what was taken; the layouts of numbers that were made of it and stay."""
        self.recent = self.recent[-RECENT:]
        found: list[Baseline] = []
        by_component: dict[tuple[str, str], list[Answered]] = defaultdict(list)
        for series, answers in self.answers.items():
            by_component[series.component, "" if series.component else repr(series)] += answers
        for (component, _), answers in by_component.items():
            layout = self._layout(component, answers, found)
            for one in answers:
                self._add(one, layout)
        self.answers.clear()
        return found

    def _layout(self, component: str, answers: Sequence[Answered], baselines: list[Baseline]) -> Layout | None:
        """The layout of a component's numbers; None where it predicts classes."""
        known = self.made.get(component) or (self.layout(component, "prediction", "") if component else None)
        values = [value for one in answers for value in one.values]
        if not self._are_numbers(known, values):
            return None
        if known is not None:
            return known
        numbers = np.array([_number(value) for value in values])
        numbers = numbers[np.isfinite(numbers)]
        layout = feature_layout(numbers)
        if component and numbers.size >= ENOUGH:
            self.made[component] = layout
            ends = [one.at for one in answers]
            whole = _histogram(layout, numbers)
            series = Series("prediction", component=component)
            baselines.append(Baseline(series, whole, min(ends), max(ends) + 1))
        return layout

    def _are_numbers(self, known: Layout | None, values: Sequence[Any]) -> bool:
        if known is not None:
            return known.kind == "edges"
        return self.predicts == "number" or (not self.predicts and any(isinstance(one, float) for one in values))

    def _add(self, one: Answered, layout: Layout | None) -> None:
        if layout is None:
            histogram = _categories([normal(value) for value in one.values])
        else:
            histogram = _histogram(layout, np.array([_number(value) for value in one.values]))
        self.added.add(one.series, bucket_of(one.at, HOUR), histogram)


def _event(told: Any) -> tuple[dict[str, Any], Any]:
    """The attributes and the data of an event, in structured form or as headers and body."""
    if not isinstance(told, dict):
        return {}, None
    headers = told.get("headers")
    if isinstance(headers, dict):
        lower = {str(name).lower(): value for name, value in headers.items()}
        attributes = {name.removeprefix("ce-"): value for name, value in lower.items() if name.startswith("ce-")}
        return attributes, told.get("body", told.get("data"))
    attributes = {str(name).lower(): value for name, value in told.items() if name not in ("data", "data_base64")}
    return attributes, told.get("data", _unpacked(told.get("data_base64")))


def _unpacked(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _body(data: Any) -> Mapping[str, Any] | None:
    if isinstance(data, str | bytes):
        try:
            data = strict(data, constants=float)
        except (BadJson, BrokenJson):
            return None
    is_answer = isinstance(data, dict) and (
        isinstance(data.get("predictions"), list) or isinstance(data.get("outputs"), list)
    )
    return data if is_answer else None


def _series(attributes: Mapping[str, Any], body: Mapping[str, Any]) -> Series:
    version = str(body.get("model_version") or "")
    told = {
        "model": body.get("model_name") or attributes.get("modelid") or attributes.get("inferenceservicename"),
        "version": version,
        "namespace": attributes.get("namespace"),
        "endpoint": attributes.get("endpoint"),
    }
    return Series("prediction", labels_of(told), version=version)


def _of_v1(rows: Sequence[Any], output: str) -> list[Any] | str:
    found = []
    for row in rows:
        if isinstance(row, dict):
            if output not in row:
                return "a prediction has several parts; name in output the one that is meant"
            row = row[output]
        if isinstance(row, list) and len(row) == 1:
            row = row[0]
        if isinstance(row, list | dict):
            return _WIDE
        found.append(row)
    return found


def _of_v2(body: Mapping[str, Any], output: str) -> list[Any] | str:
    named = {str(one.get("name", "")): one for one in body["outputs"] if isinstance(one, dict)}
    chosen = named.get(output or "predict") or (next(iter(named.values())) if len(named) == 1 and not output else None)
    if chosen is None:
        return "a response has no output of that name, or several; name in output the one that is the prediction"
    values = list(_flat(chosen.get("data")))
    shape = chosen.get("shape")
    rows = shape[0] if isinstance(shape, list) and shape and isinstance(shape[0], int) else len(values)
    if rows != len(values):
        return _WIDE
    if str(chosen.get("datatype", "")).startswith(("FP", "BF")):
        return [float(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in values]
    return values


def _flat(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        for one in data:
            yield from _flat(one)
    else:
        yield data


def _number(value: Any) -> float:
    """The number; not a number where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _categories(texts: Sequence[str | None]) -> Histogram:
    counted = Counter(texts)
    common = sorted((text for text in counted if text is not None), key=lambda text: (-counted[text], text))
    layout = Layout(kind="categories", values=tuple(sorted(common[:CATEGORIES])))
    places = codes(layout, np.array(texts, dtype=object))
    return Histogram(layout, dict(Counter(places.tolist())), {})


def _histogram(layout: Layout, values: np.ndarray[Any, Any]) -> Histogram:
    counts: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    whole = quanta(values, layout.digits) if layout.digits is not None else [0] * values.size
    for place, value, quantum in zip(codes(layout, values).tolist(), values.tolist(), list(whole), strict=True):
        counts[place] += 1
        if math.isfinite(value):
            sums[place] += int(quantum)
    return Histogram(layout, dict(counts), dict(sums) if layout.digits is not None else {})
