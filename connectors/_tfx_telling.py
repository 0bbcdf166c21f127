"""What a store of ML Metadata says, as events and samples: trainings, blessings, versions of data, pushes, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from connectors._fields import finite
from connectors._json import BadJson, BrokenJson, strict
from connectors._mlmd import Metadata, Thing, Where
from connectors._said import Said
from tandem.records import Event, Record, Sample, Series, labels_of

if TYPE_CHECKING:
    from connectors.tfx import Config

PARAMS, TEXT, EDGES = 30, 200, 30
"""Parameters of a training that are labels, the letters of each, and the datasets on one side of it."""
_DATA = frozenset({"Examples", "mlmd.Dataset", "system.Dataset"})
_MODELS = frozenset({"Model", "mlmd.Model", "system.Model"})
_METRICS = frozenset({"Metrics", "mlmd.Metrics", "system.Metrics", "ModelEvaluation"})
_BLESSINGS = {"ModelBlessing": "", "InfraBlessing": "INFRA_"}
_OURS = frozenset({"state", "pipeline_name", "pipeline_root", "run_id", "component_id", "name", "is_external"})
_UNSETTLED = ("PENDING", "ABANDONED")
_DEEPEST = 20


@dataclass
class Telling:
    """One reading of a store; what began at `until` or later is not told."""

    config: Config
    metadata: Metadata
    said: Said
    until: int

    def records(self, executions: Sequence[int], artifacts: Sequence[int]) -> Iterator[Record]:
        """What some executions and artifacts say."""
        for number in executions:
            execution = self.metadata.execution(number)
            if execution is not None and self._trains(execution) and self._is_told(execution):
                yield self._training(execution)
        for number in artifacts:
            artifact = self.metadata.artifact(number)
            if artifact is not None and self._is_told(artifact):
                yield from self._of_artifact(artifact)

    def _of_artifact(self, artifact: Thing) -> Iterator[Record]:
        if artifact.kind in _BLESSINGS:
            yield self._blessing(artifact)
        elif artifact.kind == "PushedModel":
            yield from self._release(artifact)
        elif _DATA & set(artifact.kinds) and self._is_root(artifact):
            yield self._data_version(artifact)
        if artifact.kind != "PushedModel" and (_METRICS | _MODELS) & set(artifact.kinds):
            yield from self._samples(artifact)

    def _is_told(self, thing: Thing) -> bool:
        if not thing.created:
            self.said.reject("an execution or artifact without a time of its creation")
        return 0 < thing.created < self.until * 1000

    def _trains(self, execution: Thing) -> bool:
        return any(fnmatchcase(kind, glob) for kind in execution.kinds for glob in self.config.trainers)

    def where(self, thing: Thing | None) -> Where:
        """Where an execution belongs."""
        return self.metadata.where(thing) if thing is not None else Where()

    def run(self, execution: Thing | None) -> str:
        """The id of the pipeline's run; that of the execution itself where it belongs to none."""
        if execution is None:
            return ""
        return self.where(execution).run or f"execution:{execution.id}"

    # -- trainings

    def _training(self, execution: Thing) -> Event:
        where, word = self.where(execution), execution.state
        begun = execution.created // 1000
        ended = (self.metadata.written(execution.id) or execution.updated or execution.created) // 1000
        outcome = self.said.outcome(word)
        if outcome != "open" and ended >= self.until:
            outcome = "open"
        models, pushes = self._models(execution), []
        for model in models:
            pushes += self._pushes(model)
        data = self.roots(execution)
        used = [execution, *models, *pushes]
        return Event(
            "training", f"{where.run}:{where.node}" if where.run else f"execution:{execution.id}", begun,
            started=None if word == "NEW" else begun, ended=None if outcome == "open" else max(ended, begun),
            outcome=outcome, attempt=self.metadata.attempt(execution), run=self.run(execution),
            version=self._version(models[0]) if len(models) == 1 else "",
            data_version=",".join(data_version(one) for one in data),
            title=f"{where.pipeline or where.node}: {word.lower()}"[:TEXT],
            labels=labels_of(self._labels(execution, where, models, data)),
            revision=max(one.updated for one in used),
        )  # fmt: skip

    def _labels(
        self, execution: Thing, where: Where, models: Sequence[Thing], data: Sequence[Thing]
    ) -> dict[str, object]:  # fmt: skip
        known = (execution.text("tfx_version"), *(one.text("tfx_version") for one in models))
        inputs = [one for one in self.metadata.inputs(execution.id) if _DATA & set(one.kinds)]
        return {
            "pipeline": where.pipeline, "node": where.node, "span": _spans(data), "execution": execution.id,
            "model": models[0].name if len(models) == 1 else "", "said": execution.state,
            "tfx_version": next((one for one in known if one), ""), **_params(execution.properties),
            **{f"input.{number}": one.uri for number, one in enumerate(inputs[:EDGES])},
            **{f"output.{number}": one.uri for number, one in enumerate(models[:EDGES])},
        }  # fmt: skip

    def _models(self, execution: Thing) -> list[Thing]:
        return [one for one in self.metadata.outputs(execution.id) if _MODELS & set(one.kinds)]

    def _pushes(self, model: Thing) -> list[Thing]:
        """The places to which a model was pushed, the newest last."""
        found = [one for reader in self.metadata.readers(model.id) for one in self.metadata.outputs(reader.id)
                 if one.kind == "PushedModel" and one.text("pushed") == "1" and self._of_one(reader, model)
                 and 0 < one.created < self.until * 1000]  # fmt: skip
        return sorted(found, key=lambda one: (one.created, one.id))

    def _of_one(self, reader: Thing, model: Thing) -> bool:
        """Whether an execution read this model and no other."""
        return [one.id for one in self._read_models(reader)] == [model.id]

    def _read_models(self, execution: Thing) -> list[Thing]:
        some = self.metadata.inputs(execution.id)
        return [one for one in some if _MODELS & set(one.kinds) and one.kind != "PushedModel"]

    def _version(self, model: Thing) -> str:
        """The version that the store itself ties to a model: its own, or the one that it was pushed as."""
        own = model.text("version")
        versions = [one.text("pushed_version") for one in self._pushes(model)] if not own else []
        return own or next((one for one in reversed(versions) if one), "")

    # -- data

    def roots(self, execution: Thing) -> list[Thing]:
        """The data that an execution read, as it came into the pipeline: before it was transformed."""
        found: dict[int, Thing] = {}
        seen: set[int] = set()
        waiting = [(one, 0) for one in self.metadata.inputs(execution.id) if _DATA & set(one.kinds)]
        while waiting:
            one, depth = waiting.pop()
            if one.id in seen:
                continue
            seen.add(one.id)
            before = self._before(one)
            if not before or depth >= _DEEPEST:
                found[one.id] = one
            waiting += [(each, depth + 1) for each in before]
        return [found[number] for number in sorted(found)]

    def _before(self, artifact: Thing) -> list[Thing]:
        maker = self.metadata.maker(artifact.id)
        if maker is None:
            return []
        read = self.metadata.inputs(maker.id)
        return [one for one in read if _DATA & set(one.kinds) and one.id != artifact.id]

    def _is_root(self, artifact: Thing) -> bool:
        return not self._before(artifact)

    def _data_version(self, artifact: Thing) -> Event:
        maker = self.metadata.maker(artifact.id)
        where = self.where(maker)
        span, version = artifact.text("span"), artifact.text("version")
        said = " ".join(part for part in (f"span {span}" if span else "", f"version {version}" if version else "")
                        if part)  # fmt: skip
        return Event(
            "data_version", f"examples:{artifact.id}", artifact.created // 1000,
            outcome=self.said.outcome(artifact.state), data_version=data_version(artifact),
            digest=artifact.text("input_fingerprint"), run=self.run(maker),
            title=f"{where.pipeline or where.node or artifact.kind}: {said or data_version(artifact)}"[:TEXT],
            labels=labels_of({
                "pipeline": where.pipeline, "node": where.node, "span": span, "version": version,
                "splits": ",".join(splits(artifact)), "said": artifact.state,
            }), revision=artifact.updated,
        )  # fmt: skip

    # -- models

    def _blessing(self, artifact: Thing) -> Event:
        maker = self.metadata.maker(artifact.id)
        where, model = self.where(maker), self._blessed(artifact, maker)
        word = _verdict(artifact)
        trainer = self.metadata.maker(model.id) if model is not None else None
        return Event(
            "validation", f"blessing:{artifact.id}", artifact.created // 1000, outcome=self.said.outcome(word),
            version=self._version(model) if model is not None else "", run=self.run(trainer),
            title=f"{where.node or artifact.kind}: {word.lower().replace('_', ' ')}"[:TEXT],
            labels=labels_of({
                "pipeline": where.pipeline, "node": where.node, "model": model.name if model is not None else "",
                "said": word, "baseline": artifact.text("baseline_model"),
                "message": artifact.text("blessing_message")[:TEXT],
            }), revision=max(artifact.updated, model.updated if model is not None else 0),
        )  # fmt: skip

    def _blessed(self, artifact: Thing, maker: Thing | None) -> Thing | None:
        """The model that was validated: the one that is named, else the only one that was read."""
        named = artifact.properties.get("current_model_id")
        if isinstance(named, int):
            return self.metadata.artifact(named)
        read = self._read_models(maker) if maker is not None else []
        return read[0] if len(read) == 1 else None

    def _release(self, artifact: Thing) -> Iterator[Event]:
        if artifact.text("pushed") != "1":
            return
        maker = self.metadata.maker(artifact.id)
        read = self._read_models(maker) if maker is not None else []
        trainer = self.metadata.maker(read[0].id) if len(read) == 1 else None
        where, version = self.where(maker), artifact.text("pushed_version")
        yield Event(
            "release", f"push:{artifact.id}", artifact.created // 1000, outcome=self.said.outcome("pushed"),
            version=version, run=self.run(trainer), title=f"{where.pipeline or where.node}: pushed {version}"[:TEXT],
            labels=labels_of({
                "pipeline": where.pipeline, "node": where.node, "model": read[0].name if len(read) == 1 else "",
                "destination": artifact.text("pushed_destination")[:TEXT], "said": "pushed",
            }), revision=artifact.updated,
        )  # fmt: skip

    def _samples(self, artifact: Thing) -> Iterator[Sample]:
        """Numbers that are properties of a model or of its evaluation; a whole number is one of metrics only."""
        maker = self.metadata.maker(artifact.id)
        where, whole = self.where(maker), bool(_METRICS & set(artifact.kinds))
        labels = labels_of({"pipeline": where.pipeline, "node": where.node, "model": artifact.name})
        version = self._version(artifact) if _MODELS & set(artifact.kinds) else ""
        for name, told in sorted(artifact.properties.items()):
            if name not in _OURS and (isinstance(told, float) or (whole and isinstance(told, int))):
                value = finite(told)
                if value is None:
                    self.said.reject(f'the metric "{name[:60]}" is no finite number')
                    continue
                series = Series("sample", labels, name=name, version=version, stage="evaluation")
                yield Sample(series, artifact.created / 1000, value, self.run(maker))


def data_version(artifact: Thing) -> str:
    """The text under which data is known everywhere: the address of the artifact, which names its execution."""
    return artifact.uri.replace(",", "%2C") or f"artifact:{artifact.id}"


def splits(artifact: Thing) -> list[str]:
    """The names of its splits; older stores tell them as text with commas."""
    said = artifact.text("split_names")
    found = _json(said)
    return [str(one) for one in found] if isinstance(found, list) else [one for one in said.split(",") if one]


def _verdict(artifact: Thing) -> str:
    if artifact.state in _UNSETTLED:
        return artifact.state
    word = {"1": "BLESSED", "0": "NOT_BLESSED"}.get(artifact.text("blessed"), "")
    return f"{_BLESSINGS[artifact.kind]}{word}" if word else "no verdict"


def _spans(data: Sequence[Thing]) -> str:
    found = {span for one in data if (span := one.text("span"))}
    return ",".join(sorted(found, key=lambda one: (len(one), one)))


def _params(properties: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of an execution, of those that are JSON what stands at their top."""
    found: dict[str, str] = {}
    for name, value in sorted(properties.items()):
        if name in _OURS or name.startswith("__") or name == "tfx_version":
            continue
        inside = _json(value) if isinstance(value, str) else None
        some = inside.items() if isinstance(inside, dict) else [("", value)]
        for key, one in some:
            if isinstance(one, str | int | float) and one != "":
                found[f"param.{name}{'.' if key else ''}{key}"[:TEXT]] = str(one)[:TEXT]
    return dict(list(found.items())[:PARAMS])


def _json(said: str) -> Any:
    if not said.startswith(("{", "[")):
        return None
    try:
        return strict(said)
    except (BadJson, BrokenJson):
        return None
