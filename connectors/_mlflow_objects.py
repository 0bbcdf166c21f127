"""What an MLflow server, its database and its folder hold in common; times are epoch milliseconds, as there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from connectors._json import BadJson, BrokenJson, strict

LARGEST = 1.7e308
"""MLflow writes infinity as the largest double, 1.797e308."""
PROMPT = "mlflow.prompt.is_prompt"
"""The tag of a registered model that is no model but a prompt."""
CONTEXT = "mlflow.data.context"
"""The tag of an input that says what for a data set was used."""
REMOVED = "Deleted_Internal"
"""The stage of a version that was deleted; the database keeps its row."""


@dataclass(frozen=True, slots=True)
class Point:
    """One logged value of a metric; `value` is None where it is no finite number."""

    key: str
    value: float | None
    at: int
    step: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that was logged as an input of a run; `context` says what for, `source` where it lies."""

    name: str
    digest: str
    context: str = ""
    source_type: str = ""
    source: str = ""
    rows: int | None = None

    @property
    def title(self) -> str:
        """Its name and its digest."""
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run; `latest` is the newest point per metric, where the source states it.

    `used` and `made` are the ids of the logged models (MLflow 3) that it took as an input and that it logged.
    """

    id: str
    experiment_id: str
    experiment: str
    name: str
    status: str
    start: int | None
    end: int | None
    user: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    latest: tuple[Point, ...] = ()
    used: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    artifacts: str = ""

    @property
    def evaluates(self) -> bool:
        """Whether it took a model and made none: then it measured that model and trained nothing."""
        return bool(self.used) and not self.made and "mlflow.log-model.history" not in self.tags


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model."""

    model: str
    version: str
    created: int | None
    updated: int | None
    stage: str
    status: str
    run: str
    user: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    logged: str = ""
    """The id of the logged model that it was made of, where that is stated (MLflow 3)."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A logged model of MLflow 3: the run that made it, and where its files lie."""

    id: str
    run: str = ""
    artifacts: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model and what its aliases point to; `settled`: no alias has moved since, where that is known."""

    name: str
    aliases: Mapping[str, str]
    settled: int | None = None


def logged_in(source: str) -> str:
    """The id of the logged model in the source of a version, "" for a version of another kind."""
    name = source.removeprefix("models:/")
    return name if source != name and name.startswith("m-") and "/" not in name else ""


def used_by(stated: Iterable[str], tags: Mapping[str, str]) -> tuple[str, ...]:
    """The logged models that a run took: as it states them, and as mlflow.evaluate notes them in a tag.

    The list of runs of a server (3.17.2) leaves out the inputs that are models, and has the tag only.
    """
    told = _json(tags.get("mlflow.datasets", ""))
    noted = [one.get("model") for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return tuple(sorted({*stated} | {one for one in noted if isinstance(one, str) and one.startswith("m-")}))


def model_paths(run: Run) -> list[str]:
    """The folders of the models among a run's artifacts, newest first (MLflow 1 and 2)."""
    told = _json(run.tags.get("mlflow.log-model.history", ""))
    found = [one.get("artifact_path") for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return [path for path in reversed(found) if isinstance(path, str) and path and is_inside(path)]


def is_inside(path: str) -> bool:
    """Whether a relative path stays below where it begins."""
    return not path.startswith("/") and "\\" not in path and ".." not in path.split("/")


def fits(path: str, globs: Sequence[str]) -> bool:
    """Whether the path of an artifact is one of the globs, folder by folder."""
    parts = path.split("/")
    return any(
        len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
        for wanted in (glob.split("/") for glob in globs)
    )


def input_of(name: str, digest: str, context: str, source_type: str, source: str, profile: str) -> Dataset:
    """A data set from the texts that MLflow keeps of it; `source` and `profile` are JSON."""
    rows = _object(profile).get("num_rows")
    return Dataset(name, digest, context, source_type, _place(source_type, source), whole(rows))


def _place(kind: str, source: str) -> str:
    """Where data lies, without a login or a signature in the address; "" where only the code that made it is known."""
    told = _object(source)
    named = (told.get(key) for key in ("uri", "url", "path", "delta_table_name"))
    place = next((one for one in named if isinstance(one, str)), "")
    if kind == "code" or not place:
        return ""
    version = told.get("delta_table_version") or told.get("revision")
    parts = urlsplit(place)
    if parts.scheme and parts.netloc:
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{place}@{version}" if version else place


def _object(text: str) -> Mapping[str, Any]:
    found = _json(text)
    return found if isinstance(found, dict) else {}


def _json(text: str) -> Any:
    try:
        return strict(text) if text else None
    except (BadJson, BrokenJson):
        return None


def number(given: object) -> float | None:
    """The finite number of a logged value, None for NaN, infinity and MLflow's stand-in for it."""
    try:
        value = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if abs(value) < LARGEST else None


def whole(given: object) -> int | None:
    """The integer in a field that may hold text or nothing; None for one that no database could hold."""
    try:
        value = int(given)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    return value if -(2**63) <= value < 2**63 else None


def in_order(points: Iterable[Point]) -> list[Point]:
    """Points by metric, time and step; of two values at one place the larger one, as there is no telling."""
    ordered = sorted(points, key=lambda p: (p.key, p.at, p.step, p.value is not None, p.value or 0.0))
    return list({(point.key, point.at, point.step): point for point in ordered}.values())
