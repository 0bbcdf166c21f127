"""The layouts of a prediction log: those in force, and those that a pull makes of the log's own values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from connectors._prediction_files import LogFile, identity_of
from tandem.bins import Layout, digits_of, error_layout
from tandem.child import Child, Refused
from tandem.records import Baseline, Histogram, Page, Record, Series, Slice
from tandem.summarise import Feature, Join, Made, Spec, Unmade, extent, layouts

if TYPE_CHECKING:
    from connectors._prediction_reading import Reading

ENOUGH = 1_000
"""Values from which a layout stays."""


@dataclass
class Layouts:
    """The layouts in force, and those that have to be made in this pull."""

    reading: Reading
    child: Child
    spec: Spec
    files: list[LogFile]
    join: Join
    window: str = ""
    made: list[str] | None = field(default_factory=list)
    """Layouts made of this reference; None where the store does not say, and all in force are taken for it."""
    ranges: dict[str, list[float]] = field(default_factory=dict)
    fresh: dict[str, Made] = field(default_factory=dict)
    baselines: list[tuple[str, str, Histogram, int | None]] = field(default_factory=list)

    def make(self) -> tuple[Spec, list[Page]]:
        """The spec with its layouts, and the pages that make them stay."""
        config = self.reading.config
        self.window = json.dumps(dict(config.reference), sort_keys=True) if config.reference else ""
        self._remember()
        kinds = self._columns()
        predicted = "number" if config.task == "regression" else "category"
        asked = {("feature", name): (name, kind) for name, kind in kinds.items()}
        asked["prediction", ""] = (config.prediction, predicted)
        found = {key: self._in_force(*key) for key in asked}
        self._read({name: kind for key, (name, kind) in asked.items() if found[key] is None})
        features = tuple(self._feature("feature", name, name, found["feature", name]) for name in kinds)
        one = self._feature("prediction", "", config.prediction, found["prediction", ""])
        error, target = self._errors()
        spec = replace(self.spec, features=features, predicted=one, error=error, target=target)
        return spec, self._pages()

    def _remember(self) -> None:
        """What the store knows of the reference: its window, which layouts were made of it, and their ranges."""
        told = self.reading.pull.taken("reference")
        known = json.loads(told) if told else {"window": "", "made": None, "ranges": {}}
        if known["window"] == self.window:
            self.made = known["made"]
            self.ranges = known["ranges"]

    def _in_force(self, signal: str, name: str) -> Layout | None:
        if self.made is not None and f"{signal}:{name}" not in self.made:
            return None
        found = self.reading.pull.layout(self.reading.config.common.component[0], signal, name)
        # What another source made of sketches is no layout for values that are all there.
        return None if found is not None and found.approximate else found

    def _columns(self) -> dict[str, str]:
        """The feature columns with "number" or "category"; of files that differ the first that knows decides."""
        config = self.reading.config
        seen: dict[str, str] = {}
        for one in self.files:
            for name, kind in (one.look.kinds if one.look else {}).items():
                if seen.get(name, "empty") == "empty":
                    seen[name] = kind
        named = set(self.spec.columns) | {config.label}
        chosen = (
            config.features
            if config.features is not None
            else [name for name in seen if name not in named and self.reading.is_feature(name)]
        )
        found: dict[str, str] = {}
        for name in chosen:
            kind = seen.get(name, "absent")
            if kind in ("number", "text", "boolean", "empty"):
                found[name] = "number" if kind == "number" else "category"
            elif kind == "absent" and self.files:
                self.reading.findings["reject", "a feature that no file has", name] += 1
            elif self.files:
                self.reading.findings["remark", "a column that is neither number, text nor boolean", name] += 1
        return found

    def _read(self, columns: Mapping[str, str]) -> None:
        """Make layouts of columns; a file that cannot be read is left out."""
        self.reading.pull.progress("making bins of " + ", ".join(columns), None)
        while left := {name: kind for name, kind in columns.items() if name not in self.fresh}:
            files = [(number, one) for number, one in enumerate(self.files) if not one.refused]
            count = sum(identity_of(one).rows for _, one in files)
            given = [(one.where, self.join.left_out(number)) for number, one in files]
            try:
                self.fresh.update((made.column, made) for made in layouts(self.child, given, self.spec, left, count))
            except Unmade as no:
                self.reading.refuse(files[no.file][1], str(no))

    def _feature(self, signal: str, name: str, column: str, layout: Layout | None) -> Feature:
        key = f"{signal}:{name}"
        if layout is not None:
            # The store keeps categories in the order of their arrival; the same ones are the same layout.
            layout = replace(layout, values=tuple(sorted(layout.values)))
            low, high = _room(*self.ranges[key]) if key in self.ranges else (None, None)
            return Feature(column, layout, low, high, judged=True)
        made = self.fresh[column]
        layout = made.histogram.layout
        if made.count < ENOUGH:
            return Feature(column, layout)
        self.baselines.append((signal, name, made.histogram, made.squares))
        if layout.kind == "categories":
            return Feature(column, layout, judged=True)
        self.ranges[key] = [made.low, made.high]
        return Feature(column, layout, *_room(made.low, made.high), judged=True)

    def _errors(self) -> tuple[Layout | None, Layout | None]:
        if self.spec.task != "regression":
            return None, None
        error, target = self._in_force("error", ""), self._in_force("error", "target")
        if error is not None and target is not None:
            return error, target
        found = []
        for number, one in enumerate(self.files):
            try:
                left_out, labels = self.join.left_out(number), self.join.labels[number]
                found.append(extent(self.child, one.where, self.spec, left_out, labels))
            except Refused as no:
                self.reading.refuse(one, str(no))
        largest = [pair for pair in found if pair]
        if not largest:
            return None, None
        error = error_layout(max(pair[0] for pair in largest))
        target = Layout(digits=digits_of(max(pair[1] for pair in largest)))
        for name, layout in (("", error), ("target", target)):
            self.baselines.append(("error", name, Histogram(layout, {}, {}), None))
        return error, target

    def _pages(self) -> list[Page]:
        if not self.baselines:
            return []
        seen = [(identity_of(one).since, identity_of(one).until) for one in self.files]
        since = min((low for low, _ in seen if low is not None), default=0)
        until = max((high for _, high in seen if high is not None), default=0)
        if self.spec.reference is not None:
            since, until = self.spec.reference
        component = self.reading.config.common.component[0]
        records: list[Record] = [
            Baseline(Series(signal, component=component, name=name), histogram, since, until, squares)
            for signal, name, histogram, squares in self.baselines
        ]
        made = sorted({*(self.made or ()), *(f"{signal}:{name}" for signal, name, *_ in self.baselines)})
        told = json.dumps({"window": self.window, "made": made, "ranges": self.ranges}, sort_keys=True)
        return [Page(slice=Slice("reference", told)), Page(records)]


def _room(least: float, greatest: float) -> tuple[float, float]:
    """The range that numbers may lie in: a tenth wider than the reference's, but never across zero."""
    room = (greatest - least) / 10
    low = max(least - room, 0.0) if least >= 0 else least - room
    high = min(greatest + room, 0.0) if greatest <= 0 else greatest + room
    return low, high
