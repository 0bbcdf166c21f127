"""What a registry of Feast says of feature views, as samples and events: the same for replies and dumps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, Unusable, inside, rows_of, text_of, time_of
from connectors._said import Said
from tandem import times
from tandem.records import Event, Fact, Labels, Outcome, Ratio, Record, Series, labels_of

STATUS: Mapping[str, Outcome] = {
    "AVAILABLE_ONLINE": "good",
    "MATERIALIZING": "good",
    "GENERATED": "good",
    "CREATED": "good",
    "STATE_UNSPECIFIED": "good",
    "offline": "excluded",
    "disabled": "excluded",
    "on demand": "excluded",
}
"""States of a feature view: "good" is judged by its age."""
_TTL = re.compile(r"(\d{1,12})(?:\.\d+)?s")
_LISTS = ("featureViews", "streamFeatureViews", "onDemandFeatureViews")


@dataclass(frozen=True)
class View:
    """One feature view; times in epoch seconds, `bound` in seconds, 0 for none."""

    project: str
    name: str
    state: str
    bound: int
    created: int
    updated: int
    intervals: tuple[tuple[int, int], ...]
    """Begin and end of what each materialisation took, in the order in which they were made."""
    pushed: bool
    """Whether it may get values that no materialisation tells of."""

    @property
    def key(self) -> str:
        """What tells it from every other."""
        return f"{self.project}/{self.name}"

    @property
    def labels(self) -> Labels:
        """What the map of the configuration sees."""
        return labels_of({"project": self.project, "feature_view": self.name})

    def age(self, at: int) -> int | None:
        """Seconds since the end of what was materialised last, as of a time; None where nothing was."""
        ends = [min(end, at) for _, end in self.intervals]
        return at - max(ends) if ends else None


def views_of(document: Any, project: str) -> Iterator[tuple[Any, str]]:
    """(raw view, its project) of a dump, a list of the server, or one described view; raises Unusable."""
    if not isinstance(document, dict):
        raise Unusable("is no registry of Feast")
    project = text_of(document, "project") or text_of(inside(document, "project", "spec"), "name") or project
    if any(name in document for name in _LISTS):
        for name in _LISTS:
            for raw in rows_of(document, name):
                told = {"type": name.removesuffix("s"), **raw}
                yield told, text_of(raw, "project") or text_of(inside(raw, "spec"), "project") or project
    elif isinstance(document.get("spec"), dict) and "meta" in document:
        yield document, text_of(document["spec"], "project") or project
    else:
        raise Unusable("is no registry of Feast")


def view_of(raw: Raw, project: str, bound: int | None) -> View:
    """Raises Unusable for what is no feature view."""
    spec, meta = inside(raw, "spec"), inside(raw, "meta")
    name = text_of(spec, "name")
    if not name:
        raise Unusable("a feature view has no name")
    on_demand = text_of(raw, "type").startswith("onDemand") or "userDefinedFunction" in spec
    state = text_of(meta, "state") or text_of(raw, "state") or "STATE_UNSPECIFIED"
    if on_demand:
        state = "on demand"
    elif raw.get("enabled") is False or spec.get("enabled") is False:
        state = "disabled"
    elif spec.get("online") is not True:
        state = "offline"
    ttl = _TTL.fullmatch(text_of(spec, "ttl"))
    intervals = [(time_of(one, "startTime", 0) or 0, time_of(one, "endTime", 0) or 0)
                 for one in rows_of(meta, "materializationIntervals")]  # fmt: skip
    return View(
        project, name, state, bound if bound is not None else int(ttl[1]) if ttl else 0,
        time_of(meta, "createdTimestamp", 0) or 0, time_of(meta, "lastUpdatedTimestamp", 0) or 0,
        tuple((begin, end) for begin, end in intervals if end > 0),
        text_of(raw, "type").startswith("stream") or bool(inside(spec, "streamSource")),
    )  # fmt: skip


class Words(Said):
    """What is to be said of feature views."""

    meanings = STATUS

    def wanted(self, view: str) -> bool:
        """Whether the configuration asks for a view of that name."""
        globs = self.config.feature_views
        return not globs or any(fnmatchcase(view, glob) for glob in globs)

    def freshness(self, views: Sequence[View], at: int, ts: int) -> list[Record]:
        """One sample for each view that is served: whether it is younger than its bound."""
        found: list[Record] = []
        for view in views:
            fresh = self._fresh(view, at)
            if fresh is not None:
                sample = Ratio(int(fresh), 1)
                found.append(Fact(Series("freshness", view.labels), ts, sample))
                found.append(Fact(Series("freshness", view.labels, name=view.name), ts, sample))
        return found

    def _fresh(self, view: View, at: int) -> bool | None:
        outcome = self.outcome(view.state)
        if outcome != "good":
            return False if outcome == "bad" else None
        if not view.bound:
            self.remark("feature views without a ttl never grow old; set bound to judge them")
            return None
        age = view.age(at)
        if age is None and view.created and at - view.created <= view.bound:
            return None  # made just now: nothing can be late yet
        if age is not None and age <= view.bound:
            return True
        if view.pushed:
            self.remark("feature views with a stream or pushes may be fresher than their materialisations tell")
            return None
        return False

    def materialisations(self, view: View, after: int, looked: int, until: int) -> Iterator[Event]:
        """One event for each interval from the `after`-th on; `looked` is the last look, 0 where none is remembered.

        Nobody writes down when an interval was materialised: it lies between the end of its data, or the last look,
        and the last change of the view.
        """
        for begin, end in view.intervals[after:]:
            ts = max(end, looked)
            if ts >= until:
                continue
            latest = min(view.updated or until, until - 1)
            yield Event(
                "data_version", f"{view.key}@{times.text(begin)}/{times.text(end)}", ts,
                ts_latest=latest if latest > ts else None, data_version=times.text(end),
                title=f"{view.name} materialised to {times.text(end)}",
                labels=labels_of({**dict(view.labels), "from": times.text(begin), "to": times.text(end)}),
            )  # fmt: skip
