"""One pull of a TFX pipeline: what its store says anew, and what the files of statistics and anomalies come to."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors import _tfx_files
from connectors._files import item as item_of
from connectors._files import stamp
from connectors._mlmd import Metadata, Thing
from connectors._said import Said
from connectors._tfx_counting import Counting
from connectors._tfx_files import Told
from connectors._tfx_telling import Telling, data_version, splits
from tandem.bins import Layout
from tandem.connect import Given, Item, Pull, SourceRefused
from tandem.records import DAY, Page, Record

if TYPE_CHECKING:
    from connectors.tfx import Config

OVERLAP = 3_600_000
"""Milliseconds before the newest change that are read again: machines' clocks differ, and events come behind."""
HORIZON = 30 * DAY
KNOWN, _LAYOUTS = 5_000, 600
"""Files, artifacts and bins that are remembered; with them the state stays below 1 MiB."""
_PIECE = 500
_KINDS = {"ExampleStatistics": "statistics", "ExampleAnomalies": "anomalies"}


@dataclass
class Reading:
    """One pull."""

    config: Config
    pull: Pull
    said: Said
    alone: bool = False
    counting: Counting = field(init=False)
    state: dict[str, Any] = field(init=False)
    missing: list[int] = field(default_factory=list)
    """Artifacts whose files were not there."""
    again: bool = False
    """Whether all is to be read: production has got bins of its own, or there were too few values for bins."""
    _layouts: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counting = Counting(self.config, self.pull, self.said, self.alone)
        kept = self.pull.state if isinstance(self.pull.state, dict) and self.pull.state.get("form") == 1 else {}
        self.state = {} if self.pull.first or self.alone else dict(kept)
        self._remember()

    def _remember(self) -> None:
        """Bins of features that production knows none of; where it has got some, those count and all is read."""
        for key, (edges, digits) in dict(self.state.get("layouts", {})).items():
            component, _, name = key.partition("\x1f")
            if self.pull.layout(component, "feature", name) is not None:
                self.again = True
                continue
            self._layouts[key] = [edges, digits]
            layout = Layout(edges=tuple(edges), digits=digits, approximate=True)
            self.counting.profiling.bins.made[component, "feature", name] = layout

    def _kept(self) -> dict[str, list[Any]]:
        """The bins to be remembered: those of enough values that the store itself does not keep."""
        bins = self.counting.profiling.bins
        for component, signal, name in sorted(bins.settled):
            if component and signal == "feature" and self.pull.layout(component, signal, name) is None:
                layout = bins.made[component, signal, name]
                self._layouts[f"{component}\x1f{name}"] = [list(layout.edges), layout.digits]
        return dict(list(self._layouts.items())[:_LAYOUTS])

    # -- a store

    def of_store(self, path: Path, name: str, root: Path | None) -> Iterator[Page]:
        """What a store says that was changed since the last pull, and the files of its artifacts."""
        mark = _mark(path)
        quiet = self.state.get("mark") == mark and not self.state.get("missing") and not self.again
        if quiet and not self.pull.sweep:
            yield Page(state=self.state, findings=self.said.findings(name))
            return
        records, found, newest = self._read(path, name, root)
        for begin in range(0, len(records), _PIECE):
            yield Page(records[begin : begin + _PIECE])
        yield from self.counting.pages(found)
        held = newest >= self.pull.until * 1000
        yield self._end({"mark": "" if held else mark, "newest": min(newest, self.pull.until * 1000),
                         "missing": self.missing[-KNOWN:]}, name)  # fmt: skip

    def _read(self, path: Path, name: str, root: Path | None) -> tuple[list[Record], list[Told], int]:
        with contextlib.closing(Metadata(path, name)) as metadata:
            metadata.check()
            if metadata.without_log:
                self.said.remark("the store is written with a log (-wal) that is not there: its newest may be missing")
            try:
                newest = metadata.newest()
                executions, artifacts = metadata.changed(self._since())
                telling = Telling(self.config, metadata, self.said, self.pull.until)
                records = list(telling.records(executions, artifacts))
                wanted = sorted({*artifacts, *(self.state.get("missing") or ())})
                found = [told for number in wanted for told in self._files(metadata, telling, number, root)]
            except (TypeError, ValueError, OverflowError, KeyError):
                raise SourceRefused(f"{name} holds what no store of ML Metadata holds; copy it again.") from None
        return records, found, newest

    def _since(self) -> int:
        """From when on changes are read, in milliseconds; once a day those of the horizon."""
        newest = int(self.state.get("newest") or 0)
        if not newest or self.again or self.state.get("provisional"):
            return 0
        return max(min(newest - OVERLAP, (self.pull.now - HORIZON) * 1000 if self.pull.sweep else newest - OVERLAP), 1)

    def _files(self, metadata: Metadata, telling: Telling, number: int, root: Path | None) -> Iterator[Told]:
        """The files of an artifact of statistics or anomalies, one for each split."""
        artifact = metadata.artifact(number)
        if artifact is None or artifact.kind not in _KINDS or not 0 < artifact.created < self.pull.until * 1000:
            return
        if artifact.state in ("PENDING", "ABANDONED", "MARKED_FOR_DELETION", "DELETED"):
            return
        data = _data_of(metadata, telling, artifact)
        source = data[0] if len(data) == 1 else None
        made_by = metadata.maker(artifact.id)
        where = telling.where(metadata.maker(source.id) if source is not None else made_by)
        span = artifact.text("span") or (source.text("span") if source is not None else "")
        of = f"span-{span}" if span not in ("", "0") else f"artifact-{source.id if source is not None else number}"
        kind = _KINDS[artifact.kind]
        day = _tfx_files.day_of(self.config, span)
        ts = day if day is not None else (source or artifact).created // 1000
        if ts >= self.pull.until:  # a span of tomorrow
            self.missing.append(number)
            return
        for split in splits(artifact) or [""]:
            found = _tfx_files.of_artifact(root, artifact.uri, split, kind)
            if found is None:
                self._lost(artifact)
                continue
            name = f"{where.pipeline}/{where.node}/{of}/{split}" if kind == "statistics" else f"{number}/{split}"
            yield Told(
                kind, found, name, ts if kind == "statistics" else artifact.created // 1000, artifact.created, split,
                span, where.pipeline, where.node, telling.run(made_by),
                data_version(source) if source is not None else "",
            )  # fmt: skip

    def _lost(self, artifact: Thing) -> None:
        self.said.remark(f"files of {artifact.kind} are not there: set root to the folder of the pipeline")
        if artifact.id not in self.missing:
            self.missing.append(artifact.id)

    # -- files

    def of_files(self, found: Sequence[Item]) -> Iterator[Page]:
        """Files without a store, of which only those that have changed are read."""
        told = list(_tfx_files.of_folder(found, self.config))
        marks = {_short(one.name): stamp([one.item])[:16] for one in told if one.ts < self.pull.until}
        if self.state and not self.again and marks == self.state.get("files"):
            yield Page(state=self.state, findings=self.said.findings(self.config.common.name))
            return
        known = {} if self.again or self.state.get("provisional") else dict(self.state.get("files") or {})
        changed = [one for one in told if marks.get(_short(one.name)) != known.get(_short(one.name))]
        if any(not one.dated for one in changed):
            self.said.remark("no file says when its data is of; the time of the file is taken, or give --at")
        yield from self.counting.pages(one for one in changed if one.ts < self.pull.until)
        yield self._end({"files": dict(list(marks.items())[-KNOWN:])}, self.config.common.name)

    def _end(self, state: dict[str, Any], name: str) -> Page:
        told = {"form": 1, "provisional": self.counting.profiling.bins.provisional, "layouts": self._kept(), **state}
        return Page(state=None if self.alone else told, findings=self.said.findings(name))


def _data_of(metadata: Metadata, telling: Telling, artifact: Thing) -> list[Thing]:
    """The data that statistics or anomalies are of, as it came into the pipeline."""
    maker = metadata.maker(artifact.id)
    if maker is None:
        return []
    found = telling.roots(maker)
    for one in metadata.inputs(maker.id):
        if one.kind == "ExampleStatistics" and not found:
            before = metadata.maker(one.id)
            found = telling.roots(before) if before is not None else []
    return found


def _mark(path: Path) -> str:
    return stamp([item_of(one, Given()) for end in ("", "-wal", "-journal") if (one := Path(f"{path}{end}")).exists()])


def _short(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
