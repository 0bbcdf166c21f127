"""The artifacts of runs and of logged models on an MLflow server: listed and downloaded through the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from connectors._http import Client, TooLarge
from connectors._mlflow_environment import MODEL_FILES
from connectors._mlflow_objects import Logged, Run, fits, is_inside, model_paths, whole
from tandem.connect import SourceDown
from tandem.records import Finding

FILES = 20
"""Files that are read of the artifacts of one run."""
_FOLDERS = 20
_PAGES = 100
_TEXT_BYTES = 1_000_000


class _Gone(Exception):
    """There is no such file."""


class Artifacts:
    """Files that the server hands out, itself or from where it keeps them; raises SourceDown or SourceRefused."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._findings: list[Finding] = []

    def findings(self) -> list[Finding]:
        """What could not be used since the last call."""
        said, self._findings = self._findings, []
        return said

    def artifacts(self, run: Run, wanted: Sequence[str], most: int) -> Iterator[tuple[str, bytes | None]]:
        """The artifacts of a run that are wanted, by path; None for one that is larger than `most` bytes."""
        read = 0
        for path, size in self._listed(run.id, wanted):
            read += 1
            if read > FILES:
                self._findings.append(Finding("reject", f"more than {FILES} artifacts of a run", f"run {run.id}"))
                return
            try:
                yield path, self._run_file(run, path, most) if size <= most else None
            except _Gone:
                continue

    def model_files(self, run: Run, logged: Sequence[Logged]) -> Mapping[str, str]:
        """The texts that describe the model of a run, by name; at most four requests for each place it may lie in."""
        places = [partial(self._model_file, one) for one in logged]
        places += [partial(self._model_file_of_run, run, path) for path in model_paths(run)]
        return next((found for found in map(_texts, places) if found), {})

    def _listed(self, run: str, wanted: Sequence[str]) -> Iterator[tuple[str, int]]:
        """The wanted files of a run with their sizes, folder by folder."""
        folders = [""]
        for _ in range(_FOLDERS):
            if not folders:
                return
            for one in self._folder(run, folders.pop(0)):
                path = one.get("path")
                if not isinstance(path, str) or not is_inside(path):
                    continue
                if one.get("is_dir") is True:
                    folders += [path] if _leads(path, wanted) else []
                elif fits(path, wanted):
                    yield path, whole(one.get("file_size")) or 0

    def _folder(self, run: str, folder: str) -> Iterator[Mapping[str, Any]]:
        params = {"run_id": run} | ({"path": folder} if folder else {})
        token, used = "", {""}
        for _ in range(_PAGES):
            asked = params | ({"page_token": token} if token else {})
            answer = self._client.get("api/2.0/mlflow/artifacts/list", asked).data
            files = answer.get("files", []) if isinstance(answer, dict) else None
            if not isinstance(files, list):
                raise SourceDown(
                    "artifacts/list answered with JSON that is not MLflow's; it is asked at the next pull."
                )
            yield from (one for one in files if isinstance(one, dict))
            token = str(answer.get("next_page_token") or "")
            if not token:
                return
            if token in used:
                break
            used.add(token)
        raise SourceDown("GET artifacts/list gives the same page again and again; it is asked at the next pull.")

    def _model_file(self, one: Logged, name: str) -> bytes | None:
        if proxied := _proxied(one.artifacts):
            return self._download(f"{proxied}/{name}", {}, _TEXT_BYTES)
        path = f"ajax-api/2.0/mlflow/logged-models/{quote(one.id, safe='')}/artifacts/files"
        return self._download(path, {"artifact_file_path": name}, _TEXT_BYTES)

    def _model_file_of_run(self, run: Run, path: str, name: str) -> bytes | None:
        return self._run_file(run, f"{path}/{name}", _TEXT_BYTES)

    def _run_file(self, run: Run, path: str, most: int) -> bytes | None:
        if proxied := _proxied(run.artifacts):
            return self._download(f"{proxied}/{quote(path)}", {}, most)
        return self._download("get-artifact", {"run_id": run.id, "path": path}, most)

    def _download(self, path: str, params: Mapping[str, str], most: int) -> bytes | None:
        """A file, None for one that is too large; raises _Gone."""
        try:
            reply = self._client.get(path, params, accept=(200, 404), json="bytes")
        except TooLarge:
            return None
        if reply.status == 404:
            raise _Gone
        return reply.body if len(reply.body) <= most else None


def _texts(read: Callable[[str], bytes | None]) -> dict[str, str]:
    """The files that describe one model; none where there is no MLmodel."""
    found: dict[str, str] = {}
    for name in MODEL_FILES:
        if name == "conda.yaml" and {"requirements.txt", "python_env.yaml"} <= set(found):
            continue  # it says the same again
        try:
            data = read(name)
        except _Gone:
            data = None
        if data is not None:
            found[name] = data.decode("utf-8", "replace")
        elif name == "MLmodel":
            return {}
    return found


def _leads(folder: str, wanted: Sequence[str]) -> bool:
    """Whether a wanted path may lie below a folder."""
    depth = folder.count("/") + 1
    return any(glob.count("/") >= depth and fits(folder, ["/".join(glob.split("/")[:depth])]) for glob in wanted)


def _proxied(place: str) -> str:
    """The path of files that the server itself hands out, "" where they lie elsewhere."""
    if not place.startswith("mlflow-artifacts:/") or place.startswith("mlflow-artifacts://"):
        return ""
    path = place.removeprefix("mlflow-artifacts:/").strip("/")
    return f"api/2.0/mlflow-artifacts/artifacts/{quote(path)}" if is_inside(path) else ""
