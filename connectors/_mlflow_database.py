"""The sqlite database of an MLflow server, opened for reading only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from connectors import _sqlite
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
    input_of,
    logged_in,
    number,
    used_by,
    whole,
)


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
                   "user_id", "source")  # fmt: skip
        prompts, tags = self._prompts(), self._version_tags()
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
                tags=tags.get((_text(row["name"]), _text(row["version"])), {}),
                logged=logged_in(_text(row["source"])),
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
        datasets, used, made = self._datasets(), self._models("RUN_INPUT"), self._models("RUN_OUTPUT")
        columns = ("run_uuid", "name", "status", "start_time", "end_time", "user_id", "lifecycle_stage",
                   "experiment_id", "artifact_uri")  # fmt: skip
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
                datasets=tuple(sorted(datasets.get(_text(row["run_uuid"]), ()), key=_by_name)),
                used=used_by(used.get(_text(row["run_uuid"]), ()), tags.get(_text(row["run_uuid"]), {})),
                made=tuple(sorted(made.get(_text(row["run_uuid"]), ()))),
                artifacts=_text(row["artifact_uri"]),
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

    def logged(self, ids: Sequence[str]) -> list[Logged]:
        """The logged models with these ids."""
        columns = ("model_id", "source_run_id", "artifact_location")
        rows = self.rows("logged_models", columns, {"model_id": list(ids)})
        return [Logged(*(_text(row[column]) for column in columns)) for row in rows]

    def _version_tags(self) -> dict[tuple[str, str], dict[str, str]]:
        found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for row in self.rows("model_version_tags", ("name", "version", "key", "value")):
            found[_text(row["name"]), _text(row["version"])][_text(row["key"])] = _text(row["value"])
        return found

    def _models(self, direction: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for row in self.rows("inputs", ("source_id", "destination_id"), {"source_type": [direction]}):
            found[_text(row["source_id"])].add(_text(row["destination_id"]))
        return found

    def _datasets(self) -> dict[str, set[Dataset]]:
        columns = ("dataset_uuid", "name", "digest", "dataset_source_type", "dataset_source", "dataset_profile")
        known = {row["dataset_uuid"]: [_text(row[column]) for column in columns[1:]]
                 for row in self.rows("datasets", columns)}  # fmt: skip
        rows = self.rows("input_tags", ("input_uuid", "value"), {"name": [CONTEXT]})
        contexts = {row["input_uuid"]: _text(row["value"]) for row in rows}
        found: dict[str, set[Dataset]] = defaultdict(set)
        wanted = ("input_uuid", "source_id", "destination_type", "destination_id")
        for row in self.rows("inputs", wanted, {"source_type": ["DATASET"]}):
            told = known.get(row["source_id"])
            if row["destination_type"] == "RUN" and told and told[1]:
                name, digest, *place = told
                one = input_of(name, digest, contexts.get(row["input_uuid"], ""), *place)
                found[_text(row["destination_id"])].add(one)
        return found


def _by_name(one: Dataset) -> tuple[str, str, str]:
    return one.name, one.digest, one.context


def _text(given: object) -> str:
    return "" if given is None else str(given)
