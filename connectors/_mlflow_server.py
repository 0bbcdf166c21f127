"""The REST API of an MLflow server, read into the objects that its files are read into too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from connectors._http import Client
from connectors._mlflow_objects import (
    CONTEXT,
    PROMPT,
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
from tandem.connect import SourceDown
from tandem.records import Finding

RUNS = 200
"""Runs per request: one run can be 10 kB and more, with the schemas of its data sets."""
_POINTS = 25_000
"""The most points that a server gives at once."""
_LISTED = 1_000
"""Experiments, models and versions per request; the most that every version of MLflow allows."""
_PAGES = 10_000
"""A list that goes on for longer has no end."""
_IDS = 100
_MODELS = 50
"""Logged models per request; older servers of MLflow 3 allow no more."""
_TOGETHER = 50_000
"""Points of the runs whose histories are asked for together, judged by the steps of their newest ones."""
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Server:
    """What an MLflow server holds; raises SourceDown or SourceRefused.

    `together`: whether the histories of many runs may be asked for at once.
    """

    def __init__(self, client: Client, *, together: bool = True) -> None:
        self._client = client
        self._findings: list[Finding] = []
        self._bulk_known = together

    def findings(self) -> list[Finding]:
        """What could not be used since the last call."""
        said, self._findings = self._findings, []
        return said

    def experiments(self) -> dict[str, str]:
        """Names of the experiments that are not deleted, by id."""
        found = self._listed("experiments/search", "experiments", {})
        return {_text(one.get("experiment_id")): _text(one.get("name")) for one in found if one.get("experiment_id")}

    def models(self) -> list[Model]:
        """Registered models with their aliases; only this list carries them."""
        return [
            Model(
                _text(one.get("name")), {_text(a.get("alias")): _text(a.get("version")) for a in _maps(one, "aliases")}
            )
            for one in self._listed("registered-models/search", "registered_models", {})
            if not any(tag.get("key") == PROMPT for tag in _maps(one, "tags"))
        ]

    def versions(self) -> list[Version]:
        """All versions of all registered models."""
        return [
            Version(
                model=_text(one.get("name")),
                version=_text(one.get("version")),
                created=whole(one.get("creation_timestamp")),
                updated=whole(one.get("last_updated_timestamp")),
                stage=_text(one.get("current_stage")),
                status=_text(one.get("status")),
                run=_text(one.get("run_id")),
                user=_text(one.get("user_id")),
                tags={_text(tag.get("key")): _text(tag.get("value")) for tag in _maps(one, "tags")},
                logged=_text(one.get("model_id")) or logged_in(_text(one.get("source"))),
            )
            for one in self._listed("model-versions/search", "model_versions", {})
        ]

    def logged(self, ids: Iterable[str], experiments: Mapping[str, str]) -> list[Logged]:
        """The logged models (MLflow 3) with these ids; those that are gone are left out."""
        asked = sorted({one for one in ids if _ID.fullmatch(one)})
        found: dict[str, Logged] = {}
        for start in range(0, len(asked) if experiments else 0, _MODELS):
            among = asked[start : start + _MODELS]
            where = f"attributes.model_id IN ({', '.join(map(repr, among))})"
            body = {"experiment_ids": sorted(experiments), "filter": where, "max_results": _MODELS}
            reply = self._client.post("api/2.0/mlflow/logged-models/search", body=body, accept=(200, 404),
                                      json="or page")  # fmt: skip
            if reply.status == 404:  # a server before MLflow 3
                return []
            for info in (_map(one, "info") for one in _maps(_answer(reply.data, "logged-models/search"), "models")):
                name = _text(info.get("model_id"))
                if name in among:
                    found[name] = Logged(name, _text(info.get("source_run_id")), _text(info.get("artifact_uri")))
        return list(found.values())

    def runs_of(self, ids: set[str], experiments: Mapping[str, str]) -> list[Run]:
        """The runs with these ids; those that are gone are left out."""
        asked = sorted(run for run in ids if _ID.fullmatch(run))
        found: dict[str, Run] = {}
        for start in range(0, len(asked) if experiments else 0, _IDS):
            among = asked[start : start + _IDS]
            where = f"attributes.run_id IN ({', '.join(repr(run) for run in among)})"
            token, before = "", -1
            while before < len(found):
                before = len(found)
                runs, token = self._runs(experiments, where, token)
                found |= {run.id: run for run in runs if run.id in among}
                if not token:
                    break
        return list(found.values())

    def runs_between(self, experiments: Mapping[str, str], since: int, until: int) -> Iterator[list[Run]]:
        """The runs that started in [since, until), epoch ms, oldest first.

        A page token of MLflow is an offset, and rows shift under it when a run is deleted or inserted; so each
        request begins at the time where the last one ended, and a token is used only among runs of one millisecond.
        """
        seen: set[str] = set()
        after, token, used = since, "", set[str]()
        for _ in range(_PAGES if experiments else 0):
            where = f"attributes.start_time >= {after} AND attributes.start_time < {until}"
            runs, more = self._runs(experiments, where, token)
            yield [run for run in runs if run.id not in seen and _within(run, since, until)]
            seen |= {run.id for run in runs}
            newest = max((run.start for run in runs if run.start is not None), default=after)
            if not more:
                return
            if newest > after:
                after, token, used = newest, "", set()
            elif more not in used:
                token = more
                used.add(more)
            else:
                break
        if experiments:
            raise SourceDown("POST runs/search gives the same page again and again; it is asked at the next pull.")

    def histories(
        self, runs: Sequence[Run], wanted: Callable[[str], bool], at_most: int
    ) -> Iterator[tuple[Run, list[Point], bool]]:
        """Of each run the points of the wanted metrics, one more than `at_most` of each, and whether none is missing.

        Where the server knows the request of its own pages for many runs at once, it is used.
        """
        for some in _together(runs, wanted, at_most):
            known = self._bulk(some, wanted, at_most) if len(some) > 1 else {}
            for run in some:
                yield run, *self._points(run, wanted, at_most, known)

    def _points(
        self, run: Run, wanted: Callable[[str], bool], at_most: int, known: Mapping[tuple[str, str], list[Point]]
    ) -> tuple[list[Point], bool]:
        points: list[Point] = []
        complete = True
        for newest in run.latest:
            if not wanted(newest.key):
                continue
            history = known.get((run.id, newest.key))
            if history is None or newest not in history:
                history = self._history(run.id, newest.key, at_most)
            if newest not in history and len(history) <= at_most:
                complete = False
                history.append(newest)
                where = f'run {run.id}, metric "{newest.key}"'
                self._findings.append(Finding("remark", "a history lacks its newest point; it is read again", where))
            points += history
        return points, complete

    def _bulk(
        self, runs: Sequence[Run], wanted: Callable[[str], bool], at_most: int
    ) -> dict[tuple[str, str], list[Point]]:
        """Whole histories by run and metric, as far as one answer for many runs holds them whole.

        An answer as long as the most that a server gives may be cut anywhere: nothing of it is used.
        """
        having: dict[str, list[str]] = {}
        for run in runs:
            for point in run.latest:
                if wanted(point.key):
                    having.setdefault(point.key, []).append(run.id)
        found: dict[tuple[str, str], list[Point]] = {}
        for key, ids in having.items():
            if len(ids) < 2 or not self._bulk_known:
                continue
            asked = [*(("run_id", run) for run in ids), ("metric_key", key), ("max_results", str(_POINTS))]
            reply = self._client.get("ajax-api/2.0/mlflow/metrics/get-history-bulk", asked, json="or page",
                                     accept=(200, 400, 403, 404, 405))  # fmt: skip
            rows = _maps(reply.data, "metrics") if reply.status == 200 and isinstance(reply.data, dict) else []
            self._bulk_known = reply.status == 200
            if not self._bulk_known or len(rows) >= _POINTS:
                continue
            told: dict[tuple[str, str], list[Point]] = {}
            for one in rows:
                if _text(one.get("key")) == key and one.get("run_id") in ids:
                    told.setdefault((_text(one["run_id"]), key), []).append(_point(one))
            found |= {place: points for place, points in told.items() if len(points) <= at_most}
        return found

    def _history(self, run: str, key: str, at_most: int) -> list[Point]:
        # Without max_results servers 3.4 to 3.13 answer with no rows and a token that never ends.
        params = {"run_id": run, "metric_key": key}
        found: list[Point] = []
        for one in self._listed("metrics/get-history", "metrics", params, min(_POINTS, at_most + 1)):
            found.append(_point({**one, "key": key}))
            if len(found) > at_most:
                break
        return found

    def _runs(self, experiments: Mapping[str, str], where: str, token: str) -> tuple[list[Run], str]:
        asked = {
            "experiment_ids": sorted(experiments),
            "filter": where,
            "order_by": ["attributes.start_time ASC"],
            "max_results": RUNS,
        }
        if token:
            asked["page_token"] = token
        answer = _answer(self._client.post("api/2.0/mlflow/runs/search", body=asked).data, "runs/search")
        read = [_run(one, experiments) for one in _maps(answer, "runs")]
        if None in read:
            self._findings.append(Finding("reject", "a run without an id", "runs/search", read.count(None)))
        return [run for run in read if run], _text(answer.get("next_page_token"))

    def _listed(
        self, call: str, key: str, params: Mapping[str, str], at_once: int = _LISTED
    ) -> Iterator[Mapping[str, Any]]:
        token, used = "", {""}
        for _ in range(_PAGES):
            asked = {**params, "max_results": str(at_once)} | ({"page_token": token} if token else {})
            answer = _answer(self._client.get(f"api/2.0/mlflow/{call}", asked).data, call)
            yield from _maps(answer, key)
            token = _text(answer.get("next_page_token"))
            if not token:
                return
            if token in used:
                break
            used.add(token)
        raise SourceDown(f"GET {call} gives the same page again and again; it is asked at the next pull.")


def _together(runs: Sequence[Run], wanted: Callable[[str], bool], at_most: int) -> Iterator[Sequence[Run]]:
    """Runs in groups whose histories can be held at once; the step of the newest point says how long one may be."""
    some: list[Run] = []
    points = 0
    for run in runs:
        long = sum(min(max(point.step, 0), at_most) + 1 for point in run.latest if wanted(point.key))
        if some and (points + long > _TOGETHER or len(some) == _IDS):
            yield some
            some, points = [], 0
        some.append(run)
        points += long
    if some:
        yield some


def _run(given: Mapping[str, Any], experiments: Mapping[str, str]) -> Run | None:
    info, data, inputs = _map(given, "info"), _map(given, "data"), _map(given, "inputs")
    identity = _text(info.get("run_id") or info.get("run_uuid"))
    if not identity:
        return None
    tags = {_text(tag.get("key")): _text(tag.get("value")) for tag in _maps(data, "tags")}
    datasets = {one for one in map(_dataset, _maps(inputs, "dataset_inputs")) if one.digest}
    outputs = _maps(_map(given, "outputs"), "model_outputs")
    experiment = _text(info.get("experiment_id"))
    return Run(
        id=identity,
        experiment_id=experiment,
        experiment=experiments.get(experiment, ""),
        name=_text(info.get("run_name")) or tags.get("mlflow.runName", ""),
        status=_text(info.get("status")),
        start=whole(info.get("start_time")),
        end=whole(info.get("end_time")),
        user=_text(info.get("user_id")),
        params={_text(param.get("key")): _text(param.get("value")) for param in _maps(data, "params")},
        tags=tags,
        datasets=tuple(sorted(datasets, key=lambda one: (one.name, one.digest, one.context))),
        latest=tuple(_point(metric) for metric in _maps(data, "metrics")),
        used=used_by({_text(one.get("model_id")) for one in _maps(inputs, "model_inputs")} - {""}, tags),
        made=tuple(sorted({_text(one.get("model_id")) for one in outputs} - {""})),
        artifacts=_text(info.get("artifact_uri")),
    )


def _dataset(given: Mapping[str, Any]) -> Dataset:
    told = _map(given, "dataset")
    contexts = [_text(tag.get("value")) for tag in _maps(given, "tags") if tag.get("key") == CONTEXT]
    return input_of(
        _text(told.get("name")), _text(told.get("digest")), contexts[0] if contexts else "",
        _text(told.get("source_type")), _text(told.get("source")), _text(told.get("profile")),
    )  # fmt: skip


def _point(given: Mapping[str, Any]) -> Point:
    at, step = whole(given.get("timestamp")), whole(given.get("step"))
    return Point(_text(given.get("key")), number(given.get("value")), at or 0, step or 0)


def _within(run: Run, since: int, until: int) -> bool:
    return run.start is not None and since <= run.start < until


def _answer(given: Any, call: str) -> Mapping[str, Any]:
    if isinstance(given, dict):
        return given
    raise SourceDown(f"{call} answered with JSON that is not MLflow's; check that the url is that of an MLflow server.")


def _map(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = given.get(key)
    return value if isinstance(value, dict) else {}


def _maps(given: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = given.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(given: object) -> str:
    return "" if given is None else str(given)
