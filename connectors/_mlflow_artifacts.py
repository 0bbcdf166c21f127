"""The artifacts of runs and of logged models on an MLflow server: listed and downloaded through the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from connectors._http import Client, Reply, TooLarge
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
                yield path, self._run_file(run, path, size, most)
            except _Gone:
                continue

    def model_files(self, run: Run, logged: Sequence[Logged]) -> Mapping[str, str]:
        """The texts that describe the model of a run, by name: a list and up to three files."""
        for one in logged:
            call = f"api/2.0/mlflow/logged-models/{quote(one.id, safe='')}/artifacts/directories"
            if found := self._texts(self._folder(call, {}), partial(self._model_file, one)):
                return found
        for path in model_paths(run):
            listed = self._folder("api/2.0/mlflow/artifacts/list", {"run_id": run.id, "path": path})
            if found := self._texts(listed, partial(self._model_file_of_run, run, path)):
                return found
        return {}

    def _texts(
        self, listed: Iterator[Mapping[str, Any]], read: Callable[[str, int | None], bytes | None]
    ) -> dict[str, str]:
        """The files that describe one model; none where there is no MLmodel."""
        sizes = {str(one.get("path")).rpartition("/")[2]: whole(one.get("file_size"))
                 for one in listed if one.get("is_dir") is not True}  # fmt: skip
        found: dict[str, str] = {}
        for name in MODEL_FILES if "MLmodel" in sizes else ():
            if name not in sizes or (name == "conda.yaml" and {"requirements.txt", "python_env.yaml"} <= set(found)):
                continue  # it says the same again
            try:
                data = read(name, sizes[name])
            except _Gone:
                continue
            if data is not None:
                found[name] = data.decode("utf-8", "replace")
        return found

    def _listed(self, run: str, wanted: Sequence[str]) -> Iterator[tuple[str, int | None]]:
        """The wanted files of a run with their sizes, folder by folder."""
        folders = [""]
        for _ in range(_FOLDERS):
            if not folders:
                return
            folder = folders.pop(0)
            params = {"run_id": run} | ({"path": folder} if folder else {})
            for one in self._folder("api/2.0/mlflow/artifacts/list", params):
                path = one.get("path")
                if not isinstance(path, str) or not is_inside(path):
                    continue
                if one.get("is_dir") is True:
                    folders += [path] if _leads(path, wanted) else []
                elif fits(path, wanted):
                    yield path, whole(one.get("file_size"))

    def _folder(self, call: str, params: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """What lies in a folder; nothing in one that is not there."""
        token, used = "", {""}
        for _ in range(_PAGES):
            asked = {**params} | ({"page_token": token} if token else {})
            reply = self._client.get(call, asked, accept=(200, 404), json="or page")
            if reply.status == 404:
                return
            files = reply.data.get("files", []) if isinstance(reply.data, dict) else None
            if not isinstance(files, list):
                raise SourceDown(f"{call} answered with JSON that is not MLflow's; it is asked again later.")
            yield from (one for one in files if isinstance(one, dict))
            token = str(reply.data.get("next_page_token") or "")
            if not token:
                return
            if token in used:
                break
            used.add(token)
        raise SourceDown(f"GET {call} gives the same page again and again; it is asked at the next pull.")

    def _model_file(self, one: Logged, name: str, size: int | None) -> bytes | None:
        if proxied := _proxied(one.artifacts):
            return self._download(f"{proxied}/{name}", {}, size, _TEXT_BYTES)
        path = f"ajax-api/2.0/mlflow/logged-models/{quote(one.id, safe='')}/artifacts/files"
        return self._download(path, {"artifact_file_path": name}, size, _TEXT_BYTES)

    def _model_file_of_run(self, run: Run, path: str, name: str, size: int | None) -> bytes | None:
        return self._run_file(run, f"{path}/{name}", size, _TEXT_BYTES)

    def _run_file(self, run: Run, path: str, size: int | None, most: int) -> bytes | None:
        if proxied := _proxied(run.artifacts):
            return self._download(f"{proxied}/{quote(path)}", {}, size, most)
        return self._download("get-artifact", {"run_id": run.id, "path": path}, size, most)

    def _download(self, path: str, params: Mapping[str, str], size: int | None, most: int) -> bytes | None:
        """A file of the size that was listed, None for one that is too large; raises _Gone."""
        if size is not None and size > most:
            return None

        def check(reply: Reply) -> None:
            if reply.status == 200 and size is not None and len(reply.body) != size:
                raise ValueError(f"gave {len(reply.body)} of {size} bytes")

        try:
            reply = self._client.get(path, params, accept=(200, 404), json="bytes", check=check)
        except TooLarge:
            return None
        if reply.status == 404:
            raise _Gone
        return reply.body if len(reply.body) <= most else None


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
