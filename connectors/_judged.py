"""What another tool found to drift, as samples that keep its method and threshold, and as events where it began."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tandem import place
from tandem.connect import Common, Pull
from tandem.records import Event, Page, Sample, Series, Slice, labels_of
from tandem.told import Direction, Told, drifts

NAMED = 5
"""Features that the title of an event names."""
LISTED = 30
"""Features that the label of an event lists."""


@dataclass(frozen=True)
class Judgement:
    """What a tool says of one feature by one method; `stated` is its own verdict, where it gives one."""

    feature: str
    method: str
    direction: Direction
    value: float | None
    threshold: float | None = None
    lower: float | None = None
    stated: bool | None = None
    rounded: bool = False
    """Whether its tool rounded the value, so that an exact one of the same time says more."""

    @property
    def drift(self) -> bool | None:
        """The tool's verdict: as it states it, else by its rule; None where neither tells."""
        if self.stated is not None or self.value is None:
            return self.stated
        return drifts(self.value, self.direction, self.threshold, self.lower)

    @property
    def key(self) -> str:
        """The feature and the method: a verdict by another method is another verdict."""
        return f"{self.feature}\x1f{self.method}"

    @property
    def said(self) -> str:
        """The rule with its numbers, for people."""
        bounds = [f"{one:.4g}" for one in (self.lower, self.threshold) if one is not None]
        rule = f" {self.direction} {' to '.join(bounds)}" if bounds else ""
        value = "" if self.value is None else f" {self.value:.4g}"
        return f"{self.feature} ({self.method}{value}{rule})"

    def samples(self, series: Series, ts: float) -> Iterator[Sample]:
        """The value, its thresholds and the verdict; `series` is that of the report."""
        parts = {
            "value": self.value, "threshold": self.threshold, "lower threshold": self.lower,
            "verdict": None if self.drift is None else float(self.drift),
        }  # fmt: skip
        for part, number in parts.items():
            if number is not None:
                name = Told(self.feature, self.method, self.direction, part).name  # type: ignore[arg-type]
                yield Sample(replace(series, name=name), ts, number)


@dataclass
class Drifting:
    """Which features drift, and since when, by whom they were judged; remembered in the store as an empty slice."""

    pull: Pull
    _known: dict[str, dict[str, int]] = field(default_factory=dict)
    _before: dict[str, str] = field(default_factory=dict)

    def begun(self, who: str, ts: int, judgements: Iterable[Judgement]) -> list[Judgement]:
        """The verdicts on features that began to drift at `ts`, by whatever method; reports come oldest first.

        A tool that changes its method, as Evidently does with the size of the reference, begins nothing by that.
        """
        known = self._of(who)
        by_feature: dict[str, list[Judgement]] = {}
        for one in judgements:
            by_feature.setdefault(one.feature, []).append(one)
        began: list[Judgement] = []
        for feature, some in by_feature.items():
            since, drifting = known.get(feature), [one for one in some if one.drift]
            if drifting and (since is None or since >= ts):
                known[feature] = ts
                began += drifting
            elif not drifting and any(one.drift is False for one in some) and since is not None and since <= ts:
                del known[feature]
        return began

    def _of(self, who: str) -> dict[str, int]:
        if who not in self._known:
            kept = self.pull.taken(f"drifting:{who}")
            self._before[who] = kept or "{}"
            self._known[who] = json.loads(self._before[who])
        return self._known[who]

    def pages(self) -> Iterator[Page]:
        """What the next pull is to know."""
        for who, known in sorted(self._known.items()):
            text = json.dumps(known, sort_keys=True)
            if text != self._before[who]:
                yield Page(slice=Slice(f"drifting:{who}", text))


def who_of(series: Series, common: Common) -> str:
    """Short for the component, version, environment and segment that something is of; for its labels where no
    component is.
    """
    placed = sorted([one.component, one.version, one.environment] for one in place.series_of(series, common))
    return digest([placed or series.labels, series.segment])


def digest(content: Any) -> str:
    """Short for what can be said in JSON."""
    return hashlib.sha256(json.dumps(content, default=str).encode("utf-8", "replace")).hexdigest()[:16]


def onset(
    key: str, ts: int, began: Sequence[Judgement], series: Series, pull: Pull, kind: str = "data drift",
    more: Mapping[str, object] | None = None, url: str = "",
) -> Page | None:  # fmt: skip
    """The event of what began to drift at one time; where an earlier look said so and a newer does not, it is undone.

    None where there is nothing to say.
    """
    name = f"drift:{key}"
    if not began and pull.taken(name) is None:
        return None
    features = sorted({one.feature for one in began})
    first = ", ".join(one.said for one in began[:NAMED]) + (", …" if len(began) > NAMED else "")
    label = ", ".join(features[:LISTED]) + (", …" if len(features) > LISTED else "")
    labels = labels_of({**dict(series.labels), **(more or {}), "drift": kind if began else "", "features": label})
    event = Event(
        "drift", key, ts, outcome="bad" if began else "excluded", version=series.version,
        title=f"{kind}: {first}" if began else f"no {kind} after all: a newer report of that time says so",
        labels=labels, url=url,
    )  # fmt: skip
    return Page([event], slice=Slice(name, json.dumps([event.outcome, event.title, label])))
