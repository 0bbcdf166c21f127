"""Phoenix' spans and the judgements of them, as requests, durations and outcomes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from connectors._adding import Added
from connectors._said import Said
from tandem.bins import DURATION
from tandem.records import Confusion, Fact, Histogram, Outcome, Ratio, Record, Sample, Series, bucket_of, labels_of

BLOCK = 1_000
"""Row ids that are one slice: ids are given once, so a block is the same whenever it is read."""
STATUS: Mapping[str, Outcome] = {
    "OK": "good", "UNSET": "good", "ERROR": "bad", "correct": "good", "incorrect": "bad",
}  # fmt: skip
"""Status codes of spans (a span without a status did not fail, by OpenTelemetry), and labels of judgements."""
MODEL = "llm.model_name"
_EDGES = [round(Fraction(str(edge)) * 1_000_000) for edge in DURATION.edges]
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_ID = re.compile(rb"[A-Za-z]+:([0-9]{1,18})")
_RANK = {"HUMAN": 2, "CODE": 1}
_LENGTH = 200


class Words(Said):
    """What statuses and labels mean."""

    meanings = STATUS


@dataclass(frozen=True)
class Span:
    """One root span, or one of the kinds that are asked for; `row` orders spans by when the server got them."""

    row: int
    id: str
    kind: str
    parent: str
    begun: datetime
    ended: datetime
    status: str
    attributes: Mapping[str, Any]

    @property
    def at(self) -> int:
        """When it ended, epoch seconds."""
        return int(self.ended.timestamp() // 1)


@dataclass(frozen=True)
class Judgement:
    """One annotation of a span; of several the greatest `rank` counts, a person's before a program's."""

    span: str
    name: str
    label: str
    score: float | None
    rank: tuple[int, str, int]


def row_of(told: Any) -> int:
    """The number in an id of the server, base64 of "Span:12"; raises ValueError for another one."""
    try:
        found = _ID.fullmatch(base64.b64decode(str(told), validate=True))
    except (binascii.Error, ValueError):
        found = None
    if not found:
        raise ValueError("an id is none of Phoenix")
    return int(found[1])


def span_of(told: Any, attributes: Sequence[str]) -> Span:
    """A span of a page with those of its attributes; raises ValueError with a phrase for one that cannot be counted."""
    if not isinstance(told, dict) or not isinstance(told.get("context"), dict):
        raise ValueError("a span lacks its context")
    identity = str(told["context"].get("span_id") or "")
    if not identity:
        raise ValueError("a span lacks its id")
    begun, ended = _time(told.get("start_time")), _time(told.get("end_time"))
    given = told.get("attributes")
    kept = {name: given[name] for name in attributes if name in given} if isinstance(given, dict) else {}
    return Span(
        row_of(told.get("id")), identity, str(told.get("span_kind") or ""), str(told.get("parent_id") or ""), begun,
        ended, str(told.get("status_code") or ""), kept,
    )  # fmt: skip


def _time(told: Any) -> datetime:
    try:
        found = datetime.fromisoformat(str(told))
    except ValueError:
        raise ValueError("a time cannot be read") from None
    if found.tzinfo is None:
        raise ValueError("a time has no offset")
    if found < _EARLIEST:
        raise ValueError("a time is absent")
    return found


def judgement_of(told: Any) -> Judgement:
    """An annotation of a page; raises ValueError with a phrase for one that cannot be used."""
    if not isinstance(told, dict) or not told.get("span_id") or not told.get("name"):
        raise ValueError("an annotation lacks its span or its name")
    said = told.get("result")
    result: Mapping[str, Any] = said if isinstance(said, dict) else {}
    label, score = result.get("label"), result.get("score")
    rank = (_RANK.get(str(told.get("annotator_kind")), 0), str(told.get("updated_at") or ""), row_of(told.get("id")))
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        score = None
    text = "" if label is None else str(label)[:_LENGTH]
    return Judgement(str(told["span_id"]), str(told["name"]), text, None if score is None else float(score), rank)


@dataclass(frozen=True)
class Rules:
    """What is counted: root spans or some kinds, which annotation judges, and from which score on it says "right"."""

    kinds: tuple[str, ...] = ()
    judged_by: str = ""
    right_at: float | None = None
    scores: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()

    def counts(self, span: Span) -> bool:
        """Whether a span is a request."""
        return span.kind in self.kinds if self.kinds else not span.parent

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes of spans that are read: never what was asked and answered."""
        return (MODEL, *self.segments)

    @property
    def names(self) -> tuple[str, ...]:
        """The annotations that are read."""
        return tuple(dict.fromkeys(name for name in (self.judged_by, *self.scores) if name))


@dataclass(frozen=True)
class Block:
    """What one block of row ids came to; `digest` tells its content apart, and how many spans it is of."""

    number: int
    records: Sequence[Record]
    digest: str
    spans: int
    rows: tuple[int, int]
    """The first and the last row."""


def block_of(
    number: int, project: str, spans: Iterable[Span], judgements: Iterable[Judgement], rules: Rules, said: Words
) -> Block:
    """The facts of one block, once for each span."""
    mine = sorted({span.row: span for span in spans}.values(), key=lambda span: span.row)
    best: dict[tuple[str, str], Judgement] = {}
    for one in judgements:
        known = best.get((one.span, one.name))
        if known is None or one.rank > known.rank:
            best[one.span, one.name] = one
    added = Added(said.config.common)
    samples: list[Record] = []
    for span in mine:
        _count(span, project, best, rules, said, added)
        samples += _scores(span, project, best, rules, added)
    facts: list[Fact] = added.facts()
    rows = (mine[0].row, mine[-1].row) if mine else (0, 0)
    content = repr([[span, *(best.get((span.id, name)) for name in rules.names)] for span in mine]) + repr(facts)
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return Block(number, [*facts, *samples], digest, len(mine), rows)


def _count(
    span: Span, project: str, best: Mapping[tuple[str, str], Judgement], rules: Rules, said: Words, added: Added
) -> None:
    bucket = bucket_of(span.at)
    outcome = said.outcome(span.status or "UNSET")
    judged = _judged(best.get((span.id, rules.judged_by)), rules, said) if rules.judged_by else None
    for series in _series(span, project, rules.segments):
        if outcome in ("good", "bad"):
            added.add(replace(series, signal="request_success"), bucket, Ratio(int(outcome == "good"), 1))
            lasted = _histogram(span.ended - span.begun)
            if lasted is not None:
                added.add(replace(series, signal="latency"), bucket, lasted)
        if rules.judged_by:
            known = judged in ("good", "bad")
            added.add(replace(series, signal="label_coverage"), bucket, Ratio(int(known), 1))
            if known:
                actual = "correct" if judged == "good" else "incorrect"
                added.add(replace(series, signal="outcome"), bucket, Confusion({(actual, "correct"): 1}))
    if span.ended < span.begun:
        said.reject("a span ends before it begins: it counts, its duration does not")


def _judged(one: Judgement | None, rules: Rules, said: Words) -> Outcome | None:
    """Whether an answer was right; None while nobody has said so."""
    if one is None:
        return None
    if one.label:
        return said.outcome(one.label)
    if one.score is None:
        return None
    if rules.right_at is None:
        said.remark("a judgement has a score and no label; set right_at to say from which score on it is right")
        return None
    return "good" if one.score >= rules.right_at else "bad"


def _scores(
    span: Span, project: str, best: Mapping[tuple[str, str], Judgement], rules: Rules, added: Added
) -> list[Sample]:
    found = []
    for name in rules.scores:
        one = best.get((span.id, name))
        if one is not None and one.score is not None:
            series = replace(_series(span, project, ())[0], signal="sample", name=name)
            found += [Sample(each, span.ended.timestamp(), one.score, run=span.id) for each in added.placed(series)]
    return found


def _series(span: Span, project: str, segments: Sequence[str]) -> list[Series]:
    """The total, and one for each segment."""
    total = Series("", labels_of({"project": project, "model": _text(span.attributes.get(MODEL))}))
    told = [(name, _text(span.attributes.get(name))) for name in segments]
    return [total, *(replace(total, segment=f"{name}={value}") for name, value in told if value)]


def _text(value: Any) -> str:
    return str(value)[:_LENGTH] if isinstance(value, str | int | float) else ""


def _histogram(lasted: timedelta) -> Histogram | None:
    micros = lasted // timedelta(microseconds=1)
    place = bisect_left(_EDGES, micros)
    return None if micros < 0 else Histogram(DURATION, {place: 1}, {place: micros})
