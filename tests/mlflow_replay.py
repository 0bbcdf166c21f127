"""An MLflow server for tests: the contents of the captured database behind the paging, filters and errors of 3.17.2."""

from __future__ import annotations

import base64
import json
import math
import re
import sqlite3
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAYLOADS = Path(__file__).parent / "payloads" / "mlflow"


class Replay:
    """Holds what the server holds; tests change it between requests. `asked` are the requests so far."""

    def __init__(self) -> None:
        base = sqlite3.connect(f"file:{PAYLOADS / 'mlflow_min.db'}?mode=ro&immutable=1", uri=True)
        base.row_factory = sqlite3.Row
        self.experiments = [dict(row) for row in base.execute("SELECT * FROM experiments")]
        self.runs = {row["run_uuid"]: dict(row) for row in base.execute("SELECT * FROM runs")}
        self.metrics = [dict(row) for row in base.execute("SELECT * FROM metrics")]
        self.params = [dict(row) for row in base.execute("SELECT * FROM params ORDER BY rowid")]
        self.tags = [dict(row) for row in base.execute("SELECT * FROM tags ORDER BY rowid")]
        self.models = {row["name"]: dict(row) for row in base.execute("SELECT * FROM registered_models")}
        self.versions = [dict(row) for row in base.execute("SELECT * FROM model_versions")]
        self.aliases: dict[str, dict[str, str]] = {name: {} for name in self.models}
        for row in base.execute("SELECT name, alias, version FROM registered_model_aliases"):
            self.aliases[row["name"]][row["alias"]] = str(row["version"])
        self.datasets = {
            row["destination_id"]: row["digest"]
            for row in base.execute(
                "SELECT destination_id, digest FROM inputs JOIN datasets ON dataset_uuid = source_id"
                " WHERE source_type = 'DATASET'"
            )
        }
        base.close()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.cap = 10**6
        self.before: Callable[[str, dict[str, Any]], Any] = lambda path, asked: None
        """Called before each answer; what it returns, unless None, is the answer."""

    def log(self, run: str, key: str, value: float, at: int, step: int = 0) -> None:
        self.metrics.append({"key": key, "value": value, "timestamp": at, "run_uuid": run, "step": step, "is_nan": 0})

    def add_run(self, run: str, start: int, status: str = "FINISHED", end: int | None = None) -> None:
        self.runs[run] = {
            "run_uuid": run, "name": run, "status": status, "start_time": start, "end_time": end, "user_id": "ci",
            "lifecycle_stage": "active", "experiment_id": 2, "artifact_uri": "",
        }  # fmt: skip

    def add_version(self, model: str, version: str, run: str, created: int) -> None:
        self.versions.append(
            {"name": model, "version": version, "creation_time": created, "last_updated_time": created,
             "current_stage": "None", "status": "READY", "run_id": run, "user_id": None, "source": ""}
        )  # fmt: skip

    def calls(self, name: str) -> list[dict[str, Any]]:
        return [asked for path, asked in self.asked if path.endswith(name)]

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append((path, asked))
        changed = self.before(path, asked)
        if changed is not None:
            return 200, changed
        name = path.removeprefix("/api/2.0/mlflow/")
        known = {
            "experiments/search": self._experiments,
            "registered-models/search": self._models,
            "model-versions/search": self._versions,
            "runs/search": self._search,
            "metrics/get-history": self._history,
        }
        if name not in known:
            return 404, "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>"
        if "max_results" not in asked:
            return 400, {
                "error_code": "INVALID_PARAMETER_VALUE",
                "message": "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer",
            }
        return 200, known[name](asked)

    def _experiments(self, asked: dict[str, Any]) -> Any:
        rows = [
            {"experiment_id": str(row["experiment_id"]), "name": row["name"], "lifecycle_stage": "active"}
            for row in sorted(self.experiments, key=lambda row: -row["experiment_id"])
            if row["lifecycle_stage"] == "active"
        ]
        return self._page("experiments", rows, asked)

    def _models(self, asked: dict[str, Any]) -> Any:
        rows = [
            {
                "name": name,
                "creation_timestamp": row["creation_time"],
                "last_updated_timestamp": row["last_updated_time"],
                **(
                    {"aliases": [{"alias": a, "version": v} for a, v in told.items()]}
                    if (told := self.aliases[name])
                    else {}
                ),
            }
            for name, row in sorted(self.models.items())
        ]
        return self._page("registered_models", rows, asked)

    def _versions(self, asked: dict[str, Any]) -> Any:
        rows = [
            {
                "name": row["name"],
                "version": str(row["version"]),
                "creation_timestamp": row["creation_time"],
                "last_updated_timestamp": row["last_updated_time"],
                "current_stage": row["current_stage"],
                "run_id": row["run_id"],
                "status": row["status"],
            }
            for row in sorted(self.versions, key=lambda row: (-row["last_updated_time"], row["name"]))
        ]
        return self._page("model_versions", rows, asked)

    def _search(self, asked: dict[str, Any]) -> Any:
        assert asked["order_by"] == ["attributes.start_time ASC"]
        rows = [row for row in self.runs.values() if str(row["experiment_id"]) in asked["experiment_ids"]]
        rows = [row for row in rows if row["lifecycle_stage"] == "active" and _passes(row, asked.get("filter", ""))]
        rows.sort(key=lambda row: (row["start_time"], row["run_uuid"]))
        return self._page("runs", [self.run(row) for row in rows], asked)

    def run(self, row: dict[str, Any]) -> Any:
        """A run as the server tells it; empty lists are left out."""
        own = row["run_uuid"]
        digest = self.datasets.get(own)
        info = {
            "run_uuid": own,
            "experiment_id": str(row["experiment_id"]),
            "run_name": row["name"],
            "user_id": row["user_id"],
            "status": row["status"],
            "start_time": row["start_time"],
            **({"end_time": row["end_time"]} if row["end_time"] else {}),
            "artifact_uri": row["artifact_uri"],
            "lifecycle_stage": row["lifecycle_stage"],
            "run_id": own,
        }
        lists = {
            "metrics": [_metric(metric, key=True) for metric in self._latest(own)],
            "params": [{"key": p["key"], "value": p["value"]} for p in self.params if p["run_uuid"] == own],
            "tags": [{"key": t["key"], "value": t["value"]} for t in self.tags if t["run_uuid"] == own],
        }
        inputs = {"dataset_inputs": [{"dataset": {"name": "claims-train", "digest": digest}}]} if digest else {}
        return {"info": info, "data": {k: v for k, v in lists.items() if v}, "inputs": inputs, "outputs": {}}

    def _latest(self, run: str) -> list[dict[str, Any]]:
        newest: dict[str, dict[str, Any]] = {}
        for metric in self.metrics:
            known = newest.get(metric["key"])
            place = (metric["step"], metric["timestamp"], metric["value"])
            if metric["run_uuid"] == run and (
                known is None or place > (known["step"], known["timestamp"], known["value"])
            ):
                newest[metric["key"]] = metric
        return list(newest.values())

    def _history(self, asked: dict[str, Any]) -> Any:
        rows = [m for m in self.metrics if m["run_uuid"] == asked["run_id"] and m["key"] == asked["metric_key"]]
        rows.sort(key=lambda m: (m["timestamp"], m["step"], m["value"]))
        return self._page("metrics", [_metric(row, key=True) for row in rows], asked)

    def _page(self, key: str, rows: list[Any], asked: dict[str, Any]) -> Any:
        offset = json.loads(base64.b64decode(asked["page_token"]))["offset"] if "page_token" in asked else 0
        end = offset + min(int(asked["max_results"]), self.cap)
        token = base64.b64encode(json.dumps({"offset": end}).encode()).decode()
        found = {key: rows[offset:end]} if rows[offset:end] else {}
        return {**found, **({"next_page_token": token} if end < len(rows) else {})}

    def write_folder(self, root: Path) -> None:
        """The same as an mlruns folder, in the words of the file store."""
        for row in self.experiments:
            _meta(root / str(row["experiment_id"]), experiment_id=f"'{row['experiment_id']}'", name=row["name"],
                  lifecycle_stage=row["lifecycle_stage"])  # fmt: skip
        for run, row in self.runs.items():
            self._write_run(root / str(row["experiment_id"]), run, row)
        for name, row in self.models.items():
            _meta(root / "models" / name, name=name, last_updated_timestamp=row["last_updated_time"])
            for alias, version in self.aliases[name].items():
                _write(root / "models" / name / "aliases" / alias, version)
        for row in self.versions:
            _meta(root / "models" / row["name"] / f"version-{row['version']}", name=row["name"],
                  version=row["version"], creation_timestamp=row["creation_time"], user_id="null",
                  last_updated_timestamp=row["last_updated_time"], current_stage=row["current_stage"],
                  status=row["status"], run_id=row["run_id"])  # fmt: skip

    def _write_run(self, experiment: Path, run: str, row: dict[str, Any]) -> None:
        place = experiment / run
        status = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}[row["status"]]
        _meta(place, run_id=run, run_name=row["name"], user_id=row["user_id"], status=status,
              start_time=row["start_time"], end_time=row["end_time"] or "null",
              lifecycle_stage=row["lifecycle_stage"])  # fmt: skip
        for metric in self.metrics:
            if metric["run_uuid"] == run:
                value = math.nan if metric["is_nan"] else metric["value"]
                _append(place / "metrics" / metric["key"], f"{metric['timestamp']} {value} {metric['step']}\n")
        for folder, rows in (("params", self.params), ("tags", self.tags)):
            for pair in rows:
                if pair["run_uuid"] == run:
                    _write(place / folder / pair["key"], pair["value"])
        if digest := self.datasets.get(run):
            _meta(place / "inputs" / "0cc175b9c0f1b6a831c399e269772661", source_type="DATASET", source_id="d1")
            _meta(experiment / "datasets" / "d1", name="claims-train", digest=digest)


class Running:
    """A Replay that listens on 127.0.0.1; `with` stops it."""

    def __init__(self, replay: Replay) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self._send(parts.path, {key: values[-1] for key, values in parse_qs(parts.query).items()})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._send(urlsplit(self.path).path, json.loads(body))

            def _send(self, path: str, asked: dict[str, Any]) -> None:
                status, told = replay.answer(path, asked)
                body = told.encode() if isinstance(told, str) else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if isinstance(told, str) else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.01), daemon=True)
        self._thread.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _metric(row: dict[str, Any], key: bool) -> dict[str, Any]:
    value = "NaN" if row["is_nan"] else row["value"]
    return {"key": row["key"], "value": value, "timestamp": row["timestamp"], "step": row["step"]}


def _passes(row: dict[str, Any], text: str) -> bool:
    for part in text.split(" AND ") if text else ():
        compared = re.fullmatch(r"attributes\.start_time (>=|<) (\d+)", part)
        listed = re.fullmatch(r"attributes\.run_id IN \((.*)\)", part)
        assert compared or listed, part
        if listed and row["run_uuid"] not in re.findall(r"'(\w+)'", listed[1]):
            return False
        if compared and not (
            row["start_time"] >= int(compared[2]) if compared[1] == ">=" else row["start_time"] < int(compared[2])
        ):
            return False
    return True


def _meta(folder: Path, **pairs: object) -> None:
    _write(folder / "meta.yaml", "".join(f"{key}: {value}\n" for key, value in sorted(pairs.items())))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)
