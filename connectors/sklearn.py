"""scikit-learn: classification reports, files of metrics, model cards and saved models, from the files people keep.

Nothing is ever unpickled and no model is loaded: of a .skops file only schema.json is read, pickles are not opened.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from connectors._event_times import event_time
from connectors._fields import inside, whole
from connectors._files import digest_of, load_json, text
from connectors._files import item as item_of
from connectors._json import BadJson, BrokenJson, strict
from connectors._model_card import front_of, parts, results_of, table_of
from connectors._said import Said
from connectors._sklearn import Evaluation, estimator_of, is_report, of_metrics, of_report, steps_of
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.records import (
    Confusion,
    Event,
    Fact,
    Outcome,
    Page,
    Ratio,
    Record,
    Sample,
    Series,
    Slice,
    bucket_of,
    labels_of,
)

ABOUT = About(
    reads="Evaluations by scikit-learn: classification reports, files of metrics, model cards; saved models by skops.",
    signals=("outcome", "correct"),
    events=("validation", "release"),
    labels={
        "file": "the name of the file, and folder that of the folder it lies in",
        "estimator": "the class of the model that lies beside it as .skops (on events), and steps those in it",
        "missed": "the metrics that did not reach at_least (on validations)",
    },
    files=(
        "classification_report(output_dict=True) as JSON",
        "JSON of metrics, with confusion_matrix and labels where they are known",
        "model cards (README.md) of skops, or with library_name: sklearn in their front matter",
        ".skops: its class, its steps and its hash; it is not loaded",
    ),
    limits=(
        "All is of stage evaluation: it never enters an objective of production.",
        "A report's counts are had back from support, recall and precision: exactly, or not at all.",
        "With three classes and more only where one table fits; else correct counts how many were right.",
        "A report of some classes (labels =) has micro avg for accuracy: its numbers are samples.",
        "Of a file of metrics with accuracy and a number of rows (n_samples) correct is derived.",
        "A confusion matrix says no classes: they stand in labels beside it, or in the setting.",
        "When the evaluation was --at says, or the field that fields names; else the time of the file, and it is said.",
        "A file that is written anew is another evaluation; one that vanishes keeps its contribution.",
        "A validation passes where at_least is set and reached; without it, it only happened.",
        "The printed report is not read: it has two decimals. Pickles and joblib files are never opened.",
        "Front matter of model cards needs PyYAML (pip install 'tandem-health[openslo]').",
    ),
    aliases=("scikit-learn", "skops"),
    side="model",
    example="""\
connector = "sklearn"
name = "evaluations"
path = "exports/evaluations"               # a file, a folder or a glob
component = "fraud-detector"
# version = "7"                            # the version that was evaluated
# at_least = { accuracy = 0.9 }            # what a validation has to reach
# fields = { time = "evaluated_at", run = "run_id" }   # what a file of metrics says of itself, and where
""",
)


@dataclass(frozen=True)
class Config:
    """Where the evaluations lie."""

    common: Common
    path: Path | None = setting("A file, a folder or a glob.", default=None, example="exports/evaluations")
    version: str = setting(
        "The version that was evaluated; a [[source.map]] may say it by label instead.", default="", example="7"
    )
    labels: tuple[str, ...] = setting(
        "The classes of a confusion matrix that does not say them, in the order of its rows.", default=(),
        example=("0", "1"),
    )  # fmt: skip
    at_least: Mapping[str, float] | None = setting(
        "Metrics that a validation has to reach, by their name in the file.", default=None,
        example={"accuracy": 0.9},
    )  # fmt: skip
    fields: Mapping[str, str] | None = setting(
        "Fields of a file of metrics that say when the evaluation was (time), and of what: run, version, commit, "
        "data_version, digest.", default=None, example={"time": "evaluated_at", "run": "run_id"},
    )  # fmt: skip


_JSON = re.compile(rb'"f1-score"\s*:|"sklearn_version"\s*:|"confusion_matrix"\s*:\s*\[')
_NAMED = re.compile(r"metric|report|eval|score|result", re.IGNORECASE)
_LIBRARY = re.compile(rb"^library_name:\s*[\"']?(?:sklearn|scikit-learn|skops)\b", re.MULTILINE)
_TEMPLATE = (b"# Model description", b"### Hyperparameters")
_SKOPS_CAP = 50_000_000
_STATED = ("time", "run", "version", "commit", "data_version", "digest")


def scope(config: Config) -> str:
    """The path of the evaluations."""
    return str(config.path or "")


def recognise(item: Item) -> bool:
    """A classification report, metrics with a confusion matrix, a card of a scikit-learn model, or a .skops file."""
    if item.entries:
        return _is_skops(item)
    head = item.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"{"):
        return _JSON.search(head) is not None
    return _is_card(head)


def _is_skops(item: Item) -> bool:
    others = [entry for entry in item.entries if entry != "schema.json"]
    return item.path.is_file() and len(others) < len(item.entries) and all(
        entry.endswith((".npy", ".npz", ".bin")) for entry in others)  # fmt: skip


def _is_card(head: bytes) -> bool:
    if head.startswith(b"---"):
        front, found, _ = head[3:].partition(b"\n---")
        return bool(found) and _LIBRARY.search(front) is not None
    return head.startswith(_TEMPLATE[0]) and _TEMPLATE[1] in head


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The evaluations that were not counted before, oldest first."""
    if config.path is None:
        raise SourceRefused(f'set path = "FILE, FOLDER or GLOB" for the source "{config.common.name}".')
    unknown = sorted(set(config.fields or {}) - set(_STATED))
    if unknown:
        raise SourceRefused(f'fields knows no "{unknown[0]}", only {", ".join(_STATED)}; correct the source.')
    reading = _Reading(config, pull)
    yield from reading.pages(reading.found(config.path))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The evaluation of one file."""
    far = 1 << 40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what was counted before; raises SourceRefused where it cannot be used."""
    yield from _Reading(config, pull, alone=True).pages([item])


@dataclass
class _Reading:
    """One pull."""

    config: Config
    pull: Pull
    alone: bool = False
    said: Said = field(init=False)
    models: dict[Path, list[Item]] = field(default_factory=dict)
    hashes: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.said = Said(self.config)
        state = self.pull.state if isinstance(self.pull.state, dict) else {}
        self.hashes = dict(state.get("hashes", {}))

    def found(self, path: Path) -> list[Item]:
        """What may be an evaluation: by its content; in a folder JSON also by its name."""
        hits = [path] if path.exists() else [Path(hit) for hit in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not hits:
            raise SourceRefused(f"{path} is not there; check the path.")
        given, some = Given(timezone=self.config.common.timezone), []
        for hit in hits:
            if not hit.is_dir():
                some.append(item_of(hit, given))
                continue
            for entry in item_of(hit, given).entries:
                name = PurePath(entry).name
                if not re.search(r"\.(?:json|md|skops)(?:\.(?:gz|bz2|xz|zst))?$", name, re.IGNORECASE):
                    continue
                one = item_of(hit / entry, given)
                if recognise(one) or (".json" in name and _NAMED.search(name)):
                    some.append(one)
        return some

    def pages(self, found: list[Item]) -> Iterator[Page]:
        self.models = {}
        for one in found:
            if one.entries:
                self.models.setdefault(one.path.parent, []).append(one)
        for one in sorted(found, key=lambda each: (each.modified, str(each.path))):
            self.pull.progress(one.name, None)
            try:
                page = self._page(one)
            except SourceRefused as no:
                if self.alone:
                    raise
                self.said.reject(str(no))
                continue
            if page is not None:
                yield page
        for name, known in self.counts.items():
            yield Page(slice=Slice(name, known))
        state = None if self.alone else {"hashes": self.hashes}
        yield Page(state=state, findings=self.said.findings(self.config.common.name))

    def _page(self, one: Item) -> Page | None:
        digest = self._digest(one)
        name = f"evaluation:{self._place(one)}:{digest[:24]}"
        if not self.pull.first and not self.alone and self.pull.taken(name) is not None:
            return None
        told = None if one.entries else self._read(one)
        ts = self._time(one, told)
        if ts >= self.pull.until:
            return None
        records = [self._release(one, digest, ts)] if told is None else list(self._evaluation(one, digest, ts, told))
        return Page(records, slice=Slice(name, digest))

    def _time(self, one: Item, told: Evaluation | None) -> int:
        if one.given.at is not None:
            return one.given.at
        stated = told.stated.get("time", "") if told else ""
        if stated:
            try:
                return int(event_time(stated, one.given.timezone or self.config.common.timezone, self.said.remark))
            except ValueError:
                self.said.remark("the time that a file states cannot be used; the time of the file is taken")
                return one.modified
        if one.modified < self.pull.until:
            self.said.remark("no file says when its evaluation was; the time of the file is taken, or give --at")
        return one.modified

    def _counted_elsewhere(self, one: Item, told: Evaluation) -> bool:
        """Whether a report and a file of metrics in one folder are of the same evaluation, and the other one counts."""
        total, right = told.counted
        name = f"counts:{self._place(one).rpartition('/')[0]}:{total}:{right}"
        mine = f"{told.kind}:{self._place(one)}"
        known = self.counts.get(name) or self.pull.taken(name) or mine
        self.counts[name] = known
        return not known.startswith(f"{told.kind}:")

    def _place(self, one: Item) -> str:
        """The name of a file below the path of the source."""
        if one.path.name != PurePath(one.name).name:  # it lies in an archive
            return f"{one.path.name}/{one.name}"
        root = self.config.path
        if root is not None and root.is_dir() and one.path.is_relative_to(root):
            return one.path.relative_to(root).as_posix()
        return f"{one.path.absolute().parent.name}/{PurePath(one.name).name}"

    def _digest(self, one: Item) -> str:
        """The hash of a file; that of a large one is remembered as long as the file is the same."""
        state = one.path.stat()
        key, stamp = hashlib.sha256(str(one.path).encode()).hexdigest()[:12], f"{state.st_size}:{state.st_mtime_ns}"
        if one.entries and self.hashes.get(key, [""])[0] == stamp:
            return self.hashes[key][1]
        digest = digest_of(one)
        if one.entries:
            self.hashes[key] = [stamp, digest]
        return digest

    # -- records

    def _labels(self, one: Item) -> dict[str, str]:
        return {"file": PurePath(one.name).name, "folder": one.path.absolute().parent.name}

    def _evaluation(self, one: Item, digest: str, ts: int, told: Evaluation) -> Iterator[Record]:
        for remark in told.remarks:
            self.said.remark(f"{PurePath(one.name).name}: {remark}")
        labels = labels_of(self._labels(one))
        version = told.stated.get("version", self.config.version)
        series = Series("outcome", labels, version=version, stage="evaluation")
        if told.counted[0] and self._counted_elsewhere(one, told):
            self.said.remark("a report and a file of metrics in one folder tell the same counts; they count once")
        elif told.cells:
            yield Fact(series, bucket_of(ts), Confusion(dict(told.cells)))
        elif told.correct is not None:
            yield Fact(replace(series, signal="correct"), bucket_of(ts), Ratio(*told.correct))
        run = told.stated.get("run", self._place(one).removesuffix(".json"))
        for name, value in told.values.items():
            yield Sample(
                Series("sample", labels, name=name, version=series.version, stage="evaluation"), ts, value, run
            )
        yield self._validation(one, digest, ts, told)

    def _read(self, one: Item) -> Evaluation:
        if one.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
            raw = load_json(one, lambda word: None)  # an undefined metric is written as NaN
            if is_report(raw):
                return replace(of_report(raw), stated=self._stated(raw))
            found = of_metrics(raw, self.config.labels) if isinstance(raw, dict) else Evaluation()
            if not found.values and found.cells is None:
                raise SourceRefused(f"{one.name} holds no metric; it is no evaluation.")
            for place in (self.config.fields or {}).values():
                found.values.pop(place, None)
            return replace(found, stated=self._stated(raw))
        return self._card(one)

    def _stated(self, raw: Mapping[str, Any]) -> dict[str, str]:
        """What a file says of itself in the fields that are named; one inside others is written with dots."""
        found = {}
        for name, place in (self.config.fields or {}).items():
            *above, last = place.split(".")
            value = inside(raw, *above).get(last)
            number = whole(value) if not isinstance(value, str) else None
            text_said = value if isinstance(value, str) else "" if number is None else str(number)
            if text_said:
                found[name] = text_said[:200]
        return found

    def _card(self, one: Item) -> Evaluation:
        card, found = text(one), Evaluation()
        told = [*table_of(card)]
        if parts(card)[0]:
            told += results_of(front_of(card, one.name))
        for result in told:
            if result.value is None:
                self.said.reject(f'the metric "{result.metric[:60]}" of a card is no number')
                continue
            found.values[result.title] = result.value
            if result.note:
                found.remarks.append(f'a card writes "{result.note[:30]}" behind a number; the number stays as it is')
        if not told:
            raise SourceRefused(f"{one.name} holds no evaluation: no model-index and no table of evaluation results.")
        return found

    def _validation(self, one: Item, digest: str, ts: int, told: Evaluation) -> Event:
        bounds = self.config.at_least or {}
        missed = [f"{name} {_said(told.values.get(name))}, not {bound:g}" for name, bound in bounds.items()
                  if told.values.get(name, float("-inf")) < bound]  # fmt: skip
        outcome: Outcome = "excluded" if not bounds else "bad" if missed else "good"
        shown = ", ".join(f"{name} {value:.4g}" for name, value in list(told.values.items())[:3])
        estimator = self._beside(one)
        beside, stated = estimator.pop("digest", ""), told.stated
        return Event(
            "validation", f"{self._place(one)}:{digest[:24]}", ts, outcome=outcome,
            version=stated.get("version", self.config.version), digest=stated.get("digest", beside),
            run=stated.get("run", self._place(one).removesuffix(".json")), commit=stated.get("commit", ""),
            data_version=stated.get("data_version", ""),
            title=f"{PurePath(one.name).name}: {', '.join(missed) or shown}",
            labels=labels_of({**self._labels(one), **estimator, "missed": ", ".join(missed)}),
        )  # fmt: skip

    def _beside(self, one: Item) -> dict[str, str]:
        """The hash and the class of the only saved model in the folder of an evaluation."""
        models = self.models.get(one.path.parent, [])
        if len(models) != 1 or self.alone:
            return {}
        try:
            return {"digest": self._digest(models[0]), **self._schema(models[0])}
        except SourceRefused:
            return {}

    def _release(self, one: Item, digest: str, ts: int) -> Event:
        labels = self._schema(one)
        title = labels["estimator"].rpartition(".")[2] + (f" {self.config.version}" if self.config.version else "")
        return Event(
            "release", f"skops:{digest[:32]}", ts, version=self.config.version, digest=digest, title=title,
            labels=labels_of({**self._labels(one), **labels, "model": labels["estimator"].rpartition(".")[2]}),
        )  # fmt: skip

    def _schema(self, one: Item) -> dict[str, str]:
        with one.child("schema.json").open() as opened:
            raw = opened.read(_SKOPS_CAP)
        try:
            schema: Any = strict(raw)
        except (BadJson, BrokenJson):
            raise SourceRefused(f"{one.name} holds a schema.json that cannot be read.") from None
        name, version = estimator_of(schema)
        if not name or not version:
            raise SourceRefused(f"{one.name} is no model saved by skops.")
        return {"estimator": name, "steps": ", ".join(steps_of(schema)), "skops": version}


def _said(value: float | None) -> str:
    return "is not told" if value is None else f"is {value:.4g}"
