"""What DVC's files say: stages of dvc.lock, what dvc.yaml calls metrics and plots, data files, and GTO's tags."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, inside, rows_of, text_of, whole
from connectors._git import Tag

PARAMS = 30
_LIVE = re.compile(
    r"(?P<folder>(?:.*/)?dvclive[^/]*)/(?P<rest>metrics\.json|plots/metrics/.+\.tsv|plots/sklearn/.+\.json)"
)
_FILLED = re.compile(r"\$\{[^}]*\}")
_TAG = re.compile(
    r"(?P<model>[A-Za-z](?:[A-Za-z0-9_=/-]*[A-Za-z0-9])?)"
    r"(?:@(?P<version>v\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)|@(?P<whole>deprecated|created)"
    r"|#(?P<stage>[A-Za-z](?:[A-Za-z0-9_/-]*[A-Za-z0-9])?))(?P<not>!)?(?:#(?P<count>\d+))?"
)


@dataclass(frozen=True)
class Held:
    """One file or folder that a stage or a .dvc file names, by its hash; the path is below the repository's root."""

    path: str
    hash: str
    size: int | None = None

    @property
    def key(self) -> str:
        """The version of the file."""
        return f"{self.path}@{self.hash}"


@dataclass(frozen=True)
class Stage:
    """A stage of a dvc.lock, as it was run last; `folder` is that of its dvc.lock, "" for the root."""

    folder: str
    name: str
    command: str
    deps: tuple[Held, ...]
    outs: tuple[Held, ...]
    params: Mapping[str, str]

    @property
    def run(self) -> str:
        """What tells this run of the stage from its others: everything that it read and made."""
        told = [self.folder, self.name, self.command, sorted(one.key for one in self.deps),
                sorted(one.key for one in self.outs), sorted(self.params.items())]  # fmt: skip
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
        return f"{posixpath.join(self.folder, self.name)}@{digest}"


@dataclass(frozen=True)
class Plot:
    """A plot of dvc.yaml: a file, a folder or a glob, and what stands on its axes."""

    path: str
    template: str = ""
    x: str = ""
    y: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """What a dvc.yaml declares; paths are below the repository's root and may hold globs."""

    metrics: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    """Artifacts: the path of each, by name."""
    places: Mapping[str, str] = field(default_factory=dict)
    """The folder that a stage runs in, where that is another one."""


def _at(folder: str, path: str) -> str:
    return path if "://" in path else posixpath.normpath(posixpath.join(folder, path))


def _texts(raw: Any) -> Iterator[tuple[str, Raw]]:
    """The entries of a list of DVC, each a text or an object of one name."""
    for one in raw if isinstance(raw, list) else [raw]:
        if isinstance(one, str):
            yield one, {}
        elif isinstance(one, dict):
            for name, more in one.items():
                yield str(name), more if isinstance(more, dict) else {}


def _held(raw: Raw, name: str, folder: str) -> Iterator[Held]:
    for one in rows_of(raw, name):
        digest = next((text for key in ("md5", "etag", "checksum") if (text := text_of(one, key))), "")
        if digest and text_of(one, "path"):
            yield Held(_at(folder, text_of(one, "path")), digest, whole(one.get("size")))


def flat(raw: Any, before: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Parameters as texts, by dotted name."""
    for name, one in raw.items() if isinstance(raw, dict) else ():
        if isinstance(one, dict) and depth < 6:
            yield from flat(one, f"{before}{name}.", depth + 1)
        else:
            yield f"{before}{name}", (one if isinstance(one, str) else json.dumps(one, default=str))[:200]


def stages(raw: Any, folder: str, pipeline: Pipeline) -> list[Stage]:
    """The stages of a dvc.lock, of its second or first schema."""
    found = []
    told = inside(raw, "stages") or {name: one for name, one in inside(raw).items() if isinstance(one, dict)}
    for name, one in told.items():
        if not isinstance(one, dict):
            continue
        place = pipeline.places.get(str(name).partition("@")[0], folder)
        params = dict(pair for file in inside(one, "params").values() for pair in flat(file))
        found.append(Stage(folder, str(name), json.dumps(one.get("cmd"), default=str), tuple(_held(one, "deps", place)),
                           tuple(_held(one, "outs", place)), params))  # fmt: skip
    return found


def tracked(raw: Any, folder: str) -> list[Held]:
    """The data of a .dvc file."""
    return list(_held(inside(raw), "outs", _at(folder, text_of(inside(raw), "wdir"))))


def trainings(some: Sequence[Stage], globs: Sequence[str]) -> list[Stage]:
    """The stages that train: those called so, else all of a dvc.lock in which none is."""
    found = []
    for folder in dict.fromkeys(one.folder for one in some):
        mine = [one for one in some if one.folder == folder]
        found += [one for one in mine if any(fnmatchcase(one.name.lower(), glob.lower()) for glob in globs)] or mine
    return found


def pipeline(raw: Any, folder: str) -> Pipeline:
    """What a dvc.yaml declares at its top and in its stages."""
    top = inside(raw)
    metrics = [_glob(folder, name) for name, _ in _texts(top.get("metrics") or [])]
    drawn = list(_plots(top.get("plots") or [], folder))
    places = {}
    for name, one in inside(top, "stages").items():
        stage = one.get("do", one) if isinstance(one, dict) else {}
        if not isinstance(stage, dict):
            continue
        place = _glob(folder, text_of(stage, "wdir") or ".")
        place = "" if place == "." else place
        places[str(name)] = place
        metrics += [_glob(place, path) for path, _ in _texts(stage.get("metrics") or [])]
        drawn += _plots(stage.get("plots") or [], place)
    artifacts = inside(top, "artifacts")
    models = {str(name): _at(folder, text_of(artifacts[name], "path")) for name in artifacts
              if isinstance(artifacts[name], dict) and text_of(artifacts[name], "path")}  # fmt: skip
    return Pipeline(tuple(metrics), tuple(drawn), models, places)


def _glob(folder: str, path: str) -> str:
    """A path of dvc.yaml below the root; what a template fills in may be anything."""
    return _at(folder, _FILLED.sub("*", path))


def _plots(raw: Any, folder: str) -> Iterator[Plot]:
    pairs = raw.items() if isinstance(raw, dict) else _texts(raw)
    for name, more in pairs:
        if not isinstance(more, dict):
            continue
        x, y, template = more.get("x"), more.get("y"), text_of(more, "template")
        if isinstance(y, dict):
            for file, columns in y.items():
                own = x.get(file) if isinstance(x, dict) else x
                yield Plot(_glob(folder, str(file)), template, _word(own), _words(columns))
        else:
            yield Plot(_glob(folder, str(name)), template, _word(x), _words(y))


def _word(raw: Any) -> str:
    return raw if isinstance(raw, str) else ""


def _words(raw: Any) -> tuple[str, ...]:
    return tuple(one for one in (raw if isinstance(raw, list) else [raw]) if isinstance(one, str))


@dataclass(frozen=True)
class Kind:
    """What a file is: metrics, or a plot; `live` is the folder of dvclive that it lies in."""

    plot: Plot | None = None
    live: str = ""
    rest: str = ""


def kind_of(path: str, declared: Iterable[Pipeline]) -> Kind | None:
    """What a file is by dvc.yaml or by where dvclive writes it; None for any other file."""
    live = _LIVE.fullmatch(path)
    folder, rest = (live["folder"], live["rest"]) if live else ("", "")
    for one in declared:
        if any(_matches(path, glob) for glob in one.metrics):
            return Kind(live=folder or _beside(path, one), rest=rest)
        for plot in one.plots:
            if _matches(path, plot.path):
                below = path[len(plot.path) + 1 :] if path.startswith(f"{plot.path}/") else ""
                named = f"plots/metrics/{below}" if plot.path.endswith("plots/metrics") and below else rest
                return Kind(plot, folder, named)
    if live is None:
        return None
    return Kind(None if rest == "metrics.json" else Plot(path), folder, rest)


def _beside(path: str, one: Pipeline) -> str:
    """The folder of dvclive under another name: its metrics.json has plots/metrics beside it."""
    folder = posixpath.dirname(path)
    beside = posixpath.join(folder, "plots/metrics")
    return folder if posixpath.basename(path) == "metrics.json" and any(p.path == beside for p in one.plots) else ""


def _matches(path: str, glob: str) -> bool:
    return path == glob or path.startswith(f"{glob}/") or ("*" in glob and fnmatchcase(path, glob))


# -- GTO


@dataclass(frozen=True)
class Said:
    """What a tag of GTO says: a version of a model is registered, or a stage gets the one at this commit; or not."""

    tag: Tag
    model: str
    version: str = ""
    stage: str = ""
    undone: bool = False
    count: int = 0
    """GTO counts what is assigned, so that the order within one second is known."""


def registry(tags: Iterable[Tag]) -> list[Said]:
    """The tags of GTO among tags, in their order; a repository's other tags are none of its."""
    found = []
    for tag in tags:
        said = _TAG.fullmatch(tag.name)
        if said is not None and not said["whole"]:
            model = said["model"].replace("=", ":")
            found.append(Said(tag, model, said["version"] or "", said["stage"] or "", bool(said["not"]),
                              int(said["count"] or 0)))  # fmt: skip
    return sorted(found, key=lambda one: (one.tag.ts, one.count))


def versions(said: Iterable[Said]) -> dict[tuple[str, str], str]:
    """(model, commit) -> the version that is registered there, the last one where there are several."""
    return {(one.model, one.tag.commit): one.version for one in said if one.version and not one.undone}
