"""Stores of ML Metadata for tests: copies of a real one, with rows as TFX writes them; and statistics as TFDV does."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np

CAPTURED = Path(__file__).parent / "payloads" / "mlmd" / "metadata.db"
TRAINER = "tfx.components.trainer.component.Trainer"
AT = 1_795_100_000
"""When the first pipeline run begins."""


class Pipelines:
    """A store, and the folder of its pipelines beside it; every row is committed at once, as TFX does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metadata.db"
        shutil.copyfile(CAPTURED, self.path)
        self._base = sqlite3.connect(self.path, isolation_level=None)
        self._base.execute("PRAGMA synchronous = OFF")
        for table in ("Association", "Attribution", "Event", "EventPath", "Context"):
            self.run(f"DELETE FROM {table}")
        for table in ("Artifact", "ArtifactProperty", "Execution", "ExecutionProperty"):
            self.run(f"DELETE FROM {table}")

    def run(self, statement: str, *values: Any) -> int:
        """Execute one statement; the id of what it inserted."""
        return int(self._base.execute(statement, values).lastrowid or 0)

    def _one(self, statement: str, *values: Any) -> int | None:
        row = self._base.execute(statement, values).fetchone()
        return int(row[0]) if row else None

    def close(self) -> None:
        """Let go of the store."""
        self._base.close()

    def kind(self, name: str, kind: int, parent: str = "") -> int:
        """The id of a type: of executions 0, of artifacts 1, of contexts 2."""
        found = self._one("SELECT id FROM Type WHERE name = ? AND type_kind = ?", name, kind)
        if found is None:
            found = self.run("INSERT INTO Type (name, type_kind) VALUES (?, ?)", name, kind)
            if parent:
                self.run("INSERT INTO ParentType VALUES (?, ?)", found, self.kind(parent, kind))
        return found

    def execution(
        self, kind: str, state: int, at: float, *, pipeline: str = "claims", run: str = "", node: str = "",
        updated: float | None = None, properties: dict[str, Any] | None = None,
    ) -> int:  # fmt: skip
        """An execution with its contexts."""
        number = self.run(
            "INSERT INTO Execution (type_id, last_known_state, create_time_since_epoch, last_update_time_since_epoch)"
            " VALUES (?, ?, ?, ?)", self.kind(kind, 0), state, int(at * 1000),
            int((at if updated is None else updated) * 1000),
        )  # fmt: skip
        self._properties("execution", number, properties or {})
        contexts = {"pipeline": pipeline, "pipeline_run": run, "node": f"{pipeline}.{node}" if node else ""}
        for name, said in contexts.items():
            if said:
                self.run("INSERT INTO Association (context_id, execution_id) VALUES (?, ?)",
                         self._context(name, said, at), number)  # fmt: skip
        return number

    def _context(self, kind: str, name: str, at: float) -> int:
        number = self.kind(kind, 2)
        found = self._one("SELECT id FROM Context WHERE type_id = ? AND name = ?", number, name)
        if found is not None:
            return found
        return self.run("INSERT INTO Context (type_id, name, create_time_since_epoch, last_update_time_since_epoch)"
                        " VALUES (?, ?, ?, ?)", number, name, int(at * 1000), int(at * 1000))  # fmt: skip

    def settle(self, execution: int, state: int, at: float) -> None:
        """An execution's new state, which changes its last update."""
        self.run("UPDATE Execution SET last_known_state = ?, last_update_time_since_epoch = ? WHERE id = ?",
                 state, int(at * 1000), execution)  # fmt: skip

    def artifact(
        self, kind: str, at: float, maker: int = 0, *, uri: str = "", name: str | None = None, state: int = 2,
        declared: dict[str, Any] | None = None, custom: dict[str, Any] | None = None, parent: str = "",
    ) -> int:  # fmt: skip
        """An artifact, written by an execution."""
        number = self.run(
            "INSERT INTO Artifact (type_id, uri, state, name, create_time_since_epoch, last_update_time_since_epoch)"
            " VALUES (?, ?, ?, ?, ?, ?)", self.kind(kind, 1, parent), uri, state, name, int(at * 1000), int(at * 1000),
        )  # fmt: skip
        self._properties("artifact", number, declared or {}, custom=0)
        self._properties("artifact", number, custom or {})
        if maker:
            self.event(maker, number, 4, at)
        return number

    def _properties(self, owner: str, number: int, given: dict[str, Any], custom: int = 1) -> None:
        for name, value in given.items():
            column = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
            self.run(f"INSERT INTO {owner.title()}Property ({owner}_id, name, is_custom_property, {column})"
                     " VALUES (?, ?, ?, ?)", number, name, custom, value)  # fmt: skip

    def event(self, execution: int, artifact: int, kind: int, at: float) -> None:
        """3: it was read, 4: it was written."""
        self.run("INSERT INTO Event (artifact_id, execution_id, type, milliseconds_since_epoch) VALUES (?, ?, ?, ?)",
                 artifact, execution, kind, int(at * 1000))  # fmt: skip

    # -- what TFX does

    def examples(self, run: str, at: float, span: int = 0, version: int = 0, **more: Any) -> int:
        """What an ExampleGen brought in."""
        maker = self.execution("tfx.components.example_gen.csv_example_gen.component.CsvExampleGen", 3, at, run=run,
                               **{"node": "CsvExampleGen", **more})  # fmt: skip
        return self.artifact(
            "Examples", at + 5, maker, uri=f"/old/machine/claims/CsvExampleGen/examples/{maker}", parent="mlmd.Dataset",
            declared={"span": span, "version": version, "split_names": '["train", "eval"]'},
            custom={"input_fingerprint": f"split:single_split,num_files:1,sum_checksum:{1700000000 + span + version}"},
        )  # fmt: skip

    def trained(self, run: str, at: float, examples: list[int], state: int = 3, **more: Any) -> tuple[int, int]:
        """A Trainer that read some examples, and its model; 0 where it failed or still runs."""
        trainer = self.execution(TRAINER, state, at, run=run, node="Trainer", **{
            "updated": at + 60, "properties": {"train_args": '{"num_steps": 100}', "module_file": "trainer.py",
                                               "pipeline_name": "claims"}, **more})  # fmt: skip
        for one in examples:
            self.event(trainer, one, 3, at)
        if state != 3:
            return trainer, 0
        return trainer, self.model(trainer, at + 50)

    def model(self, trainer: int, at: float) -> int:
        """The model that a Trainer wrote."""
        return self.artifact("Model", at, trainer, uri=f"/old/machine/claims/Trainer/model/{trainer}",
                             custom={"tfx_version": "1.16.0"})  # fmt: skip

    def blessed(self, run: str, at: float, model: int, blessed: int | None = 1, kind: str = "ModelBlessing") -> int:
        """What an Evaluator or an InfraValidator found."""
        node = "Evaluator" if kind == "ModelBlessing" else "InfraValidator"
        maker = self.execution(f"tfx.components.{node.lower()}.component.{node}", 3, at, run=run, node=node)
        self.event(maker, model, 3, at)
        custom: dict[str, Any] = {} if blessed is None else {"blessed": blessed}
        if kind == "ModelBlessing":
            custom |= {"current_model_id": model, "current_model": "/old/machine"}
        return self.artifact(kind, at + 5, maker, custom=custom)

    def pushed(self, run: str, at: float, model: int, version: str = "1795100999") -> int:
        """What a Pusher pushed."""
        maker = self.execution("tfx.components.pusher.component.Pusher", 3, at, run=run, node="Pusher")
        self.event(maker, model, 3, at)
        custom = {"pushed": 1, "pushed_destination": f"/serving/claims/{version}", "pushed_version": version}
        return self.artifact("PushedModel", at + 5, maker, custom=custom, parent="mlmd.Model")

    def statistics(
        self, run: str, at: float, examples: int, splits: dict[str, dict[str, Any]], *, anomalies: bool = False
    ) -> int:  # fmt: skip
        """Statistics of some splits, or anomalies, with their files below the folder of the store."""
        node, kind, key = (("ExampleValidator", "ExampleAnomalies", "anomalies") if anomalies else
                           ("StatisticsGen", "ExampleStatistics", "statistics"))  # fmt: skip
        maker = self.execution(f"tfx.components.{key}.component.{node}", 3, at, run=run, node=node)
        self.event(maker, examples, 3, at)
        place = self.folder / node / key / str(maker)
        for split, content in splits.items():
            folder = place / f"Split-{split}"
            folder.mkdir(parents=True)
            if "captured" in content:
                shutil.copyfile(content["captured"], folder / Path(content["captured"]).name)
            else:
                (folder / "FeatureStats.json").write_text(json.dumps(content))
        span = self._one("SELECT int_value FROM ArtifactProperty WHERE artifact_id = ? AND name = 'span'", examples)
        return self.artifact(
            kind, at + 5, maker, uri=f"/old/machine/claims/{node}/{key}/{maker}", parent="mlmd.Statistics",
            declared={"span": span or 0, "split_names": json.dumps(list(splits))},
        )  # fmt: skip


def statistics(columns: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Statistics as JSON, as TFDV tells them of columns of numbers (NaN: missing) or texts (None: missing)."""
    rows = len(next(iter(columns.values())))
    features = [_feature(column, values) for column, values in columns.items()]
    return {"datasets": [{"name": name, "numExamples": str(rows), "features": features}]}


def _feature(name: str, values: Any) -> dict[str, Any]:
    texts = any(isinstance(one, str) for one in values)
    there = [one for one in values if one is not None and one == one]
    common = {"numNonMissing": str(len(there)), "numMissing": str(len(values) - len(there)), "minNumValues": "1",
              "maxNumValues": "1", "avgNumValues": 1.0, "totNumValues": str(len(there))}  # fmt: skip
    found: dict[str, Any] = {"path": {"step": [name]}, "type": "STRING" if texts else "FLOAT"}
    if texts:
        ranked = sorted({one: there.count(one) for one in there}.items(), key=lambda pair: -pair[1])
        buckets = [{"lowRank": str(n), "highRank": str(n), "label": value, "sampleCount": float(count)}
                   for n, (value, count) in enumerate(ranked)]  # fmt: skip
        return {**found, "stringStats": {"commonStats": common, "unique": str(len(ranked)),
                                         "rankHistogram": {"buckets": buckets}}}  # fmt: skip
    numbers = np.array(there, dtype=float)
    deciles = np.quantile(numbers, np.arange(11) / 10)
    counts, edges = np.histogram(numbers, bins=10)
    widths = zip(edges.tolist(), edges.tolist()[1:], counts.tolist(), strict=False)
    equal = [{"lowValue": low, "highValue": high, "sampleCount": float(count)} for low, high, count in widths]
    quantiles = [{"lowValue": low, "highValue": high, "sampleCount": len(there) / 10}
                 for low, high in zip(deciles.tolist(), deciles.tolist()[1:], strict=False)]  # fmt: skip
    return {**found, "numStats": {"commonStats": common, "mean": float(numbers.mean()), "min": float(numbers.min()),
                                  "max": float(numbers.max()), "histograms": [
                                      {"buckets": equal}, {"buckets": quantiles, "type": "QUANTILES"}]}}  # fmt: skip
