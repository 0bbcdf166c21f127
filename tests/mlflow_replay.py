"""An MLflow server for tests: the contents of the captured database behind the paging, filters and errors of 3.17.2."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import sqlite3
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

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
        self.version_tags: dict[tuple[str, str], dict[str, str]] = {}
        for row in base.execute("SELECT name, version, key, value FROM model_version_tags"):
            self.version_tags.setdefault((row["name"], str(row["version"])), {})[row["key"]] = row["value"]
        self.inputs: dict[str, list[dict[str, str]]] = {}
        for row in base.execute(
            "SELECT destination_id, d.name, digest, dataset_source_type, dataset_source, dataset_profile, t.value"
            " FROM inputs i JOIN datasets d ON dataset_uuid = source_id JOIN input_tags t USING (input_uuid)"
            " WHERE source_type = 'DATASET'"
        ):
            run, name, digest, kind, source, profile, context = tuple(row)
            self.add_input(run, name, digest, context, source, kind, profile)
        self.used: dict[str, list[str]] = {}
        self.made: dict[str, list[str]] = {}
        for row in base.execute("SELECT source_id, destination_id FROM inputs WHERE source_type = 'RUN_OUTPUT'"):
            self.made.setdefault(row["source_id"], []).append(row["destination_id"])
        models = base.execute("SELECT model_id, experiment_id, source_run_id FROM logged_models")
        self.logged = {model: (str(experiment), run) for model, experiment, run in map(tuple, models)}
        self.files: dict[str, bytes] = {}
        self.bulk = True
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
            "lifecycle_stage": "active", "experiment_id": 2, "artifact_uri": f"mlflow-artifacts:/2/{run}/artifacts",
        }  # fmt: skip

    def add_version(self, model: str, version: str, run: str, created: int) -> None:
        self.versions.append(
            {"name": model, "version": version, "creation_time": created, "last_updated_time": created,
             "current_stage": "None", "status": "READY", "run_id": run, "user_id": None, "source": ""}
        )  # fmt: skip

    def add_input(
        self, run: str, name: str, digest: str, context: str = "", source: str = "{}", kind: str = "code",
        profile: str = "{}",
    ) -> None:  # fmt: skip
        told = {"name": name, "digest": digest, "context": context, "source": source, "source_type": kind,
                "profile": profile}  # fmt: skip
        self.inputs.setdefault(run, []).append(told)

    def add_evaluation(self, run: str, model: str, start: int, metrics: dict[str, float] | None = None) -> None:
        """A run that took a logged model, as mlflow.evaluate makes it."""
        self.add_run(run, start, end=start + 3_000)
        self.used[run] = [model]
        noted = json.dumps([{"name": "dataset", "hash": "59ec", "model": model}], separators=(",", ":"))
        self.tags.append({"run_uuid": run, "key": "mlflow.datasets", "value": noted})
        for key, value in (metrics or {}).items():
            self.log(run, key, value, start + 2_000)

    def put(self, run: str, path: str, data: bytes) -> None:
        """An artifact of a run."""
        self.files[f"{self.runs[run]['experiment_id']}/{run}/artifacts/{path}"] = data

    def put_model(self, model: str, name: str, data: bytes) -> None:
        """A file of a logged model."""
        self.files[f"{self.logged[model][0]}/models/{model}/artifacts/{name}"] = data

    def calls(self, name: str) -> list[dict[str, Any]]:
        return [asked for path, asked in self.asked if path.endswith(name)]

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append((path, asked))
        changed = self.before(path, asked)
        if changed is not None:
            return 200, changed
        if "/mlflow-artifacts/artifacts/" in path or path.endswith(("/get-artifact", "/artifacts/files")):
            return self._download(path, asked)
        if path.endswith("/artifacts/directories"):
            model = path.split("/")[-3]
            return 200, self._listed(f"{self.logged[model][0]}/models/{model}/artifacts/", "")
        name = path.removeprefix("/api/2.0/mlflow/")
        known = {
            "experiments/search": self._experiments,
            "registered-models/search": self._models,
            "model-versions/search": self._versions,
            "runs/search": self._search,
            "metrics/get-history": self._history,
            "logged-models/search": self._logged,
            "artifacts/list": self._list,
            "/ajax-api/2.0/mlflow/metrics/get-history-bulk": self._history_bulk if self.bulk else None,
        }
        told = known.get(name)
        if told is None:
            return 404, "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>"
        if "max_results" not in asked and name != "artifacts/list":
            return 400, {
                "error_code": "INVALID_PARAMETER_VALUE",
                "message": "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer",
            }
        return 200, told(asked)

    def _download(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if path.endswith("/get-artifact"):
            place = f"{self.runs[asked['run_id']]['experiment_id']}/{asked['run_id']}/artifacts/{asked['path']}"
        elif path.endswith("/artifacts/files"):
            model = path.split("/")[-3]
            place = f"{self.logged[model][0]}/models/{model}/artifacts/{asked['artifact_file_path']}"
        else:
            place = unquote(path.partition("/mlflow-artifacts/artifacts/")[2])
        if place in self.files:
            return 200, self.files[place]
        return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"No such artifact: '{place}'"}

    def _list(self, asked: dict[str, Any]) -> Any:
        run = self.runs[asked["run_id"]]
        under = f"{asked['path']}/" if asked.get("path") else ""
        return self._listed(f"{run['experiment_id']}/{run['run_uuid']}/artifacts/", under)

    def _listed(self, root: str, under: str) -> Any:
        found: dict[str, Any] = {}
        for place, data in sorted(self.files.items()):
            rest = place.removeprefix(root + under)
            if rest == place:
                continue
            name, more, _ = rest.partition("/")
            path = under + name
            size = {} if more else {"file_size": len(data)}
            found[path] = {"path": path, "is_dir": bool(more), **size}
        return {"root_uri": f"mlflow-artifacts:/{root}", **({"files": list(found.values())} if found else {})}

    def _logged(self, asked: dict[str, Any]) -> Any:
        listed = re.fullmatch(r"attributes\.model_id IN \((.*)\)", asked["filter"])
        assert listed
        assert int(asked["max_results"]) <= 50
        rows = [
            {"info": {"model_id": model, "experiment_id": experiment, "source_run_id": run,
                      "artifact_uri": f"mlflow-artifacts:/{experiment}/models/{model}/artifacts"}}
            for model, (experiment, run) in self.logged.items()
            if experiment in asked["experiment_ids"] and model in re.findall(r"'([\w-]+)'", listed[1])
        ]  # fmt: skip
        return self._page("models", rows, asked)

    def _history_bulk(self, asked: dict[str, Any]) -> Any:
        """Ordered by run and time, cut at the most that is given at once, without a token."""
        assert len(asked["run_id"]) <= 100
        rows = [m for m in self.metrics if m["run_uuid"] in asked["run_id"] and m["key"] == asked["metric_key"]]
        rows.sort(key=lambda m: (m["run_uuid"], m["timestamp"], m["step"], m["value"]))
        most = min(int(asked["max_results"]), 25_000)
        return {"metrics": [{**_metric(row, key=True), "run_id": row["run_uuid"]} for row in rows[:most]]}

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
                "source": row["source"],
                **(
                    {"tags": [{"key": k, "value": v} for k, v in tags.items()]}
                    if (tags := self.version_tags.get((row["name"], str(row["version"]))))
                    else {}
                ),
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
        datasets = [
            {"tags": [{"key": "mlflow.data.context", "value": one["context"]}] if one["context"] else [],
             "dataset": {key: one[key] for key in ("name", "digest", "source", "source_type", "profile")}}
            for one in self.inputs.get(own, ())
        ]  # fmt: skip
        inputs = {"dataset_inputs": datasets}  # the list of runs leaves out those that are models
        outputs = {"model_outputs": [{"model_id": one, "step": 0} for one in self.made.get(own, ())]}
        return {
            "info": info,
            "data": {k: v for k, v in lists.items() if v},
            "inputs": {k: v for k, v in inputs.items() if v},
            "outputs": {k: v for k, v in outputs.items() if v},
        }

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
                  status=row["status"], run_id=row["run_id"], source=row["source"])  # fmt: skip
            for key, value in self.version_tags.get((row["name"], str(row["version"])), {}).items():
                _write(root / "models" / row["name"] / f"version-{row['version']}" / "tags" / key, value)
        for model, (experiment, run) in self.logged.items():
            _meta(root / experiment / "models" / model, model_id=model, source_run_id=run)
        for file, data in self.files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(data)

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
        for number, one in enumerate(self.inputs.get(run, ())):
            key = hashlib.md5(f"{one['name']}{one['digest']}".encode(), usedforsecurity=False).hexdigest()
            tags = f"\n  mlflow.data.context: {one['context']}" if one["context"] else "{}"
            _meta(place / "inputs" / f"{number:032x}", source_type="DATASET", source_id=key, tags=tags)
            quoted = {name: f"'{one[name]}'" for name in ("source", "profile")}
            _meta(experiment / "datasets" / key, name=one["name"], digest=f"'{one['digest']}'",
                  source_type=one["source_type"], **quoted)  # fmt: skip
        for model in self.used.get(run, ()):
            _meta(place / "inputs" / f"9{model[2:33]}", source_type="MODEL", source_id=model, tags="{}")
        for model in self.made.get(run, ()):
            _meta(place / "outputs" / model, source_type="RUN_OUTPUT", source_id=model, tags="{}")


class Running:
    """A Replay that listens on 127.0.0.1; `with` stops it."""

    def __init__(self, replay: Replay) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self._send(parts.path, asked_of(parts.path, parse_qsl(parts.query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._send(urlsplit(self.path).path, json.loads(body))

            def _send(self, path: str, asked: dict[str, Any]) -> None:
                status, told = replay.answer(path, asked)
                body, kind = encoded(told)
                self.send_response(status)
                self.send_header("Content-Type", kind)
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


def asked_of(path: str, query: list[tuple[str, str]]) -> dict[str, Any]:
    """The query as the server reads it: many runs where it allows them."""
    asked: dict[str, Any] = dict(query)
    if path.endswith("-bulk"):
        asked["run_id"] = [value for key, value in query if key == "run_id"]
    return asked


def encoded(told: Any) -> tuple[bytes, str]:
    """The body and its type: a page, a file, or JSON."""
    if isinstance(told, bytes):
        return told, "application/octet-stream"
    return (told.encode(), "text/html") if isinstance(told, str) else (json.dumps(told).encode(), "application/json")


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
