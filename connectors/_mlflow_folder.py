"""The mlruns folder of MLflow's file store."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from connectors._mlflow_environment import MODEL_FILES
from connectors._mlflow_objects import (
    CONTEXT,
    PROMPT,
    REMOVED,
    Dataset,
    Logged,
    Model,
    Point,
    Run,
    Version,
    fits,
    input_of,
    logged_in,
    model_paths,
    number,
    used_by,
    whole,
)
from tandem.connect import SourceRefused

_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_SMALL = 1_000_000
"""Bytes of a meta file, a parameter or a tag; MLflow's own limits lie far below."""
_LINE = 10_000
_NO_EXPERIMENT_ID = re.compile(r"\D")


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
                        tags={key: _small(path) for key, path in _files(place / "tags")},
                        logged=meta.get("model_id") or logged_in(meta.get("source", "")),
                    )
                )
        return found

    def logged(self, ids: Sequence[str]) -> list[Logged]:
        """The logged models with these ids."""
        wanted = set(ids)
        return [
            Logged(place.name, meta.get("source_run_id", ""), meta.get("artifact_location", ""))
            for experiment in _folders(self._path)
            for place in _folders(experiment / "models")
            if place.name in wanted and (meta := _meta(place))
        ]

    def artifacts(self, run: Run, wanted: Sequence[str], most: int) -> Iterator[tuple[str, bytes | None]]:
        """The artifacts of a run that are wanted, by path; None for one that is larger than `most` bytes."""
        place = self._path / run.experiment_id / run.id / "artifacts"
        for name, path in _files(place) if self._holds(place) else ():
            if fits(name, wanted):
                data = _bytes(path, most + 1)
                yield name, data if len(data) <= most else None

    def model_files(self, run: Run, logged: Sequence[Logged]) -> Mapping[str, str]:
        """The texts that describe the model of a run, by name."""
        places = [self._path / run.experiment_id / "models" / one.id / "artifacts" for one in logged]
        places += [self._path / run.experiment_id / run.id / "artifacts" / path for path in model_paths(run)]
        for place in places:
            here = _files(place, depth=0) if self._holds(place) else ()
            if found := {name: _small(path) for name, path in here if name in MODEL_FILES}:
                return found
        return {}

    def _holds(self, place: Path) -> bool:
        return place.resolve().is_relative_to(self._path.resolve())

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
            datasets=tuple(self._datasets(place)),
            used=used_by([meta["source_id"] for meta in self._inputs(place, "MODEL")], tags),
            made=tuple(folder.name for folder in _folders(place / "outputs") if folder.name.startswith("m-")),
            artifacts=meta.get("artifact_uri", ""),
        )

    def _inputs(self, place: Path, kind: str) -> list[dict[str, str]]:
        """The inputs of a run of one kind, with their tags."""
        found = []
        for folder in _folders(place / "inputs"):
            meta = _meta(folder)
            name = meta.get("source_id", "")
            if meta.get("source_type") == kind and name and "/" not in name and name != "..":
                found.append({**_tags_of(_small(folder / "meta.yaml")), **meta})
        return found

    def _datasets(self, place: Path) -> Iterator[Dataset]:
        found = set()
        for told in self._inputs(place, "DATASET"):
            meta = _meta(place.parent / "datasets" / told["source_id"])
            if meta.get("digest"):
                found.add(input_of(meta.get("name", ""), meta["digest"], told.get(CONTEXT, ""),
                                   meta.get("source_type", ""), meta.get("source", ""),
                                   meta.get("profile", "")))  # fmt: skip
        yield from sorted(found, key=lambda one: (one.name, one.digest, one.context))


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


def _tags_of(text: str) -> dict[str, str]:
    """The map below `tags`."""
    match = re.search(r"^tags:[ \t]*\n((?:[ \t]+.*\n?)+)", text, re.MULTILINE)
    return yaml_pairs(re.sub(r"^  ", "", match[1], flags=re.MULTILINE)) if match else {}


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
    return _bytes(path, _SMALL).decode("utf-8", "replace")


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
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
