"""The two offline forms of MLflow: the sqlite database of a server, and the mlruns folder of the file store."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from connectors import _sqlite
from connectors._mlflow_objects import PROMPT, REMOVED, Model, Point, Run, Version, number, whole
from tandem.connect import SourceRefused

_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_SMALL = 1_000_000
"""Bytes of a meta file, a parameter or a tag; MLflow's own limits lie far below."""
_LINE = 10_000
_NO_EXPERIMENT_ID = re.compile(r"\D")


class Database(_sqlite.Database):
    """A server's sqlite file, opened for reading only; nothing in it is executed."""

    def holds_runs(self) -> bool:
        """Whether this is a tracking database."""
        return {"run_uuid", "experiment_id"} <= self.has("runs") and "run_uuid" in self.has("metrics")

    def models(self) -> list[Model]:
        """Registered models with their aliases."""
        aliases: dict[str, dict[str, str]] = defaultdict(dict)
        for row in self.rows("registered_model_aliases", ("name", "alias", "version")):
            aliases[_text(row["name"])][_text(row["alias"])] = _text(row["version"])
        names = {_text(row["name"]) for row in self.rows("registered_models", ("name",))} - self._prompts()
        return [Model(name, aliases[name]) for name in sorted(names)]

    def versions(self) -> list[Version]:
        """Versions of registered models, deleted ones left out."""
        columns = ("name", "version", "creation_time", "last_updated_time", "current_stage", "status", "run_id",
                   "user_id")  # fmt: skip
        prompts = self._prompts()
        return [
            Version(
                model=_text(row["name"]),
                version=_text(row["version"]),
                created=whole(row["creation_time"]),
                updated=whole(row["last_updated_time"]),
                stage=_text(row["current_stage"]),
                status=_text(row["status"]),
                run=_text(row["run_id"]),
                user=_text(row["user_id"]),
            )
            for row in self.rows("model_versions", columns)
            if row["current_stage"] != REMOVED and _text(row["name"]) not in prompts
        ]

    def runs(self) -> list[Run]:
        """Runs of experiments that are not deleted, oldest first."""
        experiments = {
            row["experiment_id"]: _text(row["name"])
            for row in self.rows("experiments", ("experiment_id", "name", "lifecycle_stage"))
            if row["lifecycle_stage"] != "deleted"
        }
        params, tags = self._pairs("params"), self._pairs("tags")
        datasets = self._datasets()
        columns = ("run_uuid", "name", "status", "start_time", "end_time", "user_id", "lifecycle_stage",
                   "experiment_id")  # fmt: skip
        runs = [
            Run(
                id=_text(row["run_uuid"]),
                experiment_id=_text(row["experiment_id"]),
                experiment=experiments[row["experiment_id"]],
                name=_text(row["name"]),
                status=_text(row["status"]),
                start=whole(row["start_time"]),
                end=whole(row["end_time"]),
                user=_text(row["user_id"]),
                params=params.get(_text(row["run_uuid"]), {}),
                tags=tags.get(_text(row["run_uuid"]), {}),
                datasets=tuple(sorted(datasets.get(_text(row["run_uuid"]), ()))),
            )
            for row in self.rows("runs", columns)
            if row["lifecycle_stage"] != "deleted" and row["experiment_id"] in experiments
        ]
        return sorted(runs, key=lambda run: (run.start or 0, run.id))

    def points(self, runs: Sequence[Run], at_most: int) -> Mapping[str, list[Point]]:
        """The metric histories of these runs, by run, one point more than `at_most` of each metric."""
        found: dict[str, list[Point]] = defaultdict(list)
        seen: Counter[tuple[str, str]] = Counter()
        columns = ("run_uuid", "key", "value", "timestamp", "step", "is_nan")
        for row in self.rows("metrics", columns, {"run_uuid": [run.id for run in runs]}):
            seen[row["run_uuid"], row["key"]] += 1
            if seen[row["run_uuid"], row["key"]] > at_most + 1:
                continue
            value = None if row["is_nan"] else number(row["value"])
            point = Point(_text(row["key"]), value, whole(row["timestamp"]) or 0, whole(row["step"]) or 0)
            found[_text(row["run_uuid"])].append(point)
        return found

    def _prompts(self) -> set[str]:
        rows = self.rows("registered_model_tags", ("name", "key"), {"key": [PROMPT]})
        return {_text(row["name"]) for row in rows}

    def _pairs(self, table: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for row in self.rows(table, ("run_uuid", "key", "value")):
            found[_text(row["run_uuid"])][_text(row["key"])] = _text(row["value"])
        return found

    def _datasets(self) -> dict[str, set[str]]:
        digests = {
            row["dataset_uuid"]: _text(row["digest"]) for row in self.rows("datasets", ("dataset_uuid", "digest"))
        }
        found: dict[str, set[str]] = defaultdict(set)
        columns = ("source_type", "source_id", "destination_type", "destination_id")
        for row in self.rows("inputs", columns, {"source_type": ["DATASET"]}):
            if row["destination_type"] == "RUN" and row["source_id"] in digests:
                found[_text(row["destination_id"])].add(digests[row["source_id"]])
        return found


class Folder:
    """An mlruns folder; links in it are not followed, what lies in .trash is deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def close(self) -> None:
        """Nothing is held open."""

    def models(self) -> list[Model]:
        """Registered models with their aliases."""
        return [
            Model(meta.get("name") or folder.name, self._aliases(folder), whole(meta.get("last_updated_timestamp")))
            for folder, meta in self._registered()
        ]

    def versions(self) -> list[Version]:
        """Versions of registered models, deleted ones left out."""
        found = []
        for folder, model in self._registered():
            for place in _folders(folder):
                meta = _meta(place)
                if not place.name.startswith("version-") or not meta or meta.get("current_stage") == REMOVED:
                    continue
                found.append(
                    Version(
                        model=meta.get("name") or model.get("name") or folder.name,
                        version=meta.get("version") or place.name.removeprefix("version-"),
                        created=whole(meta.get("creation_timestamp")),
                        updated=whole(meta.get("last_updated_timestamp")),
                        stage=meta.get("current_stage", ""),
                        status=meta.get("status", ""),
                        run=meta.get("run_id", ""),
                        user=meta.get("user_id", ""),
                    )
                )
        return found

    def runs(self) -> list[Run]:
        """Runs of experiments that are not deleted, oldest first."""
        runs = [
            self._run(place, meta, experiment)
            for folder, experiment in self._experiments()
            for place in _folders(folder)
            if (meta := _meta(place)) and meta.get("lifecycle_stage") != "deleted" and "start_time" in meta
        ]
        return sorted(runs, key=lambda run: (run.start or 0, run.id))

    def points(self, runs: Sequence[Run], at_most: int) -> Mapping[str, list[Point]]:
        """The metric histories of these runs, by run, one point more than `at_most` of each metric."""
        found = {}
        for run in runs:
            place = self._path / run.experiment_id / run.id / "metrics"
            found[run.id] = [point for key, path in _files(place) for point in islice(_points(key, path), at_most + 1)]
        return found

    def _experiments(self) -> Iterator[tuple[Path, dict[str, str]]]:
        for folder in _folders(self._path):
            meta = {} if _NO_EXPERIMENT_ID.search(folder.name) else _meta(folder)
            if meta and meta.get("lifecycle_stage") != "deleted":
                yield folder, meta

    def _registered(self) -> Iterator[tuple[Path, dict[str, str]]]:
        for folder in _folders(self._path / "models"):
            if (meta := _meta(folder)) and not (folder / "tags" / PROMPT).exists():
                yield folder, meta

    def _aliases(self, folder: Path) -> dict[str, str]:
        return {alias: _small(path).strip() for alias, path in _files(folder / "aliases")}

    def _run(self, place: Path, meta: Mapping[str, str], experiment: Mapping[str, str]) -> Run:
        tags = {key: _small(path) for key, path in _files(place / "tags")}
        status = meta.get("status", "")
        return Run(
            id=place.name,
            experiment_id=place.parent.name,
            experiment=experiment.get("name", ""),
            name=meta.get("run_name") or tags.get("mlflow.runName") or meta.get("name", ""),
            status=_STATUS.get(status, status),
            start=whole(meta.get("start_time")),
            end=whole(meta.get("end_time")),
            user=meta.get("user_id", ""),
            params={key: _small(path) for key, path in _files(place / "params")},
            tags=tags,
            datasets=tuple(sorted(self._datasets(place))),
        )

    def _datasets(self, place: Path) -> set[str]:
        known = place.parent / "datasets"
        inputs = (_meta(folder) for folder in _folders(place / "inputs"))
        ids = {meta.get("source_id", "") for meta in inputs if meta.get("source_type") == "DATASET"}
        digests = (_meta(known / name).get("digest", "") for name in ids if name and "/" not in name and name != "..")
        return {digest for digest in digests if digest}


def mlruns_in(path: Path) -> Path | None:
    """The mlruns folder: the path itself or the folder of that name in it; None where there is neither."""
    for root in (path, path / "mlruns"):
        if root.is_symlink() and root != path:
            continue
        places = [*_folders(root), *_folders(root / "models")]
        if any((p.name.isdecimal() or p.parent.name == "models") and (p / "meta.yaml").is_file() for p in places):
            return root
    return None


def yaml_pairs(text: str) -> dict[str, str]:
    """The scalars on the top level of the YAML that MLflow writes; null is left out, lists and maps are too."""
    found: dict[str, str] = {}
    for match in re.finditer(r"^([^\s:#][^:\n]*):[ \t]*(.*(?:\n[ \t]+.*)*)$", text, re.MULTILINE):
        scalar = _scalar(match[2])
        if scalar is not None:
            found[match[1].strip("'\"")] = scalar
    return found


def _scalar(written: str) -> str | None:
    # Long text is folded: a line break and its indent stand for one space.
    text = re.sub(r"[ \t]*\n[ \t]+", " ", written).strip()
    if written.startswith("\n") and not text.startswith(("'", '"')):
        return None
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        return _unquoted(text)
    return None if text in ("", "null", "~", "{}", "[]") else text


def _unquoted(text: str) -> str:
    # JSON knows YAML's escapes but \xNN, \UNNNNNNNN, an escaped space and a folded line's backslash.
    text = re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", text)
    text = re.sub(r"\\ ", " ", re.sub(r"\\ \\ ", " ", text))
    text = re.sub(r"\\U([0-9A-Fa-f]{8})", lambda match: chr(min(int(match[1], 16), 0x10FFFF)), text)
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text.strip('"')


def _points(key: str, path: Path) -> Iterator[Point]:
    for line in _lines(path):
        part = line.split()
        if part:
            value = number(part[1]) if len(part) > 1 else None
            step = whole(part[2]) if len(part) > 2 else 0
            yield Point(key, value, whole(part[0]) or 0, step or 0)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(_LINE):
                yield line
    except OSError:
        raise _unreadable(path) from None


def _meta(folder: Path) -> dict[str, str]:
    path = folder / "meta.yaml"
    return yaml_pairs(_small(path)) if path.is_file() and not path.is_symlink() else {}


def _small(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_SMALL).decode("utf-8", "replace")
    except OSError:
        raise _unreadable(path) from None


def _unreadable(path: Path) -> SourceRefused:
    return SourceRefused(f"{path} cannot be read; check its permissions, and that MLflow is not just writing there.")


def _folders(path: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    return []


def _files(path: Path, prefix: str = "", depth: int = 20) -> Iterator[tuple[str, Path]]:
    """(name with "/", path) of every real file below a folder; a metric's key may hold slashes."""
    try:
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.is_file(follow_symlinks=False):
            yield prefix + entry.name, Path(entry.path)
        elif entry.is_dir(follow_symlinks=False) and depth:
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/", depth - 1)


def _text(given: object) -> str:
    return "" if given is None else str(given)
