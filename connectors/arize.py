"""Exports of Arize AX (Parquet or CSV): predictions with the actuals that were known when they were exported."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from connectors import predictions
from connectors._prediction_files import LogFile, below, files_of
from connectors._prediction_guess import names_in, task_of
from connectors._prediction_reading import Reading
from tandem.child import Child, Refused
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.place import rule_for
from tandem.records import Page, labels_of
from tandem.summarise import Spec, values_of

ABOUT = About(
    reads="Exports of Arize AX (export_model_to_df, written as Parquet or CSV): predictions with their actuals.",
    signals=predictions.ABOUT.signals,
    events=("schema_change",),
    labels={"model_id": "the model's name in Arize, as the source names it"},
    files=("*.parquet", "*.csv", "and these compressed"),
    limits=(
        "Written after Arize's documentation, not against the service: what is read are its exported files.",
        "Actuals come late: export the window again, under the same name or another; ids that repeat count once.",
        "An export with rows of another model than model_id is left out; so are the exports of other environments.",
        *predictions.LIMITS,
    ),
    side="model",
    example="""\
connector = "arize"
name = "fraud-arize"
path = "exports/arize/*.parquet"          # a file, a folder or a glob
model_id = "fraud-detector"               # its name in Arize
component = "fraud-detector"              # or [[source.map]] with match = { model_id = "fraud-*" }
task = "binary"                           # binary, multiclass or regression
# score = "prediction_score"              # left out by default: name it where exports hold it
# segments = ["feature_country"]
""",
)
_MODEL = "model_id"
_ENVIRONMENT = "environment"
_ROWS_OF_USE = "production"
"""What Arize calls the rows of a model in use; those of training and validation are none of these numbers."""
_NO_FEATURES = ("tag/", "tag_", "shap/", "shap_", "actual_", "prediction_", "batch_id")
"""What the columns begin with that say something of a row and are not given to the model."""


@dataclass(frozen=True)
class Config:
    """The exports of one model."""

    common: Common
    path: str = setting("File, folder or glob of the exports.", example="exports/arize/*.parquet")
    model_id: str = setting("The model's name in Arize.", example="fraud-detector")
    task: Literal["binary", "multiclass", "regression"] = setting("What the model predicts.", example="binary")
    version: str | None = setting(
        "Column with the model's version; left out, model_version where exports hold it.", default=None
    )
    id: str = setting("Column that identifies a prediction.", default="prediction_id")
    time: str = setting("Column with the time of the prediction.", default="prediction_ts")
    time_unit: Literal["s", "ms", "us", "ns", "text"] = setting(
        'Unit of that time where it is a number; "text" where exports hold written times.', default="s"
    )
    prediction: str | None = setting(
        "Column with the prediction; left out, prediction_label, or prediction_score of a regression.", default=None
    )
    score: str | None = setting("Column with the score of a class.", default=None, example="prediction_score")
    label: str | None = setting(
        "Column with the truth; left out, actual_label, or actual_score of a regression.", default=None
    )
    segments: tuple[str | tuple[str, ...], ...] = setting(
        "Columns, or lists of columns, to cut every number by.", default=(), example=["country"]
    )
    features: tuple[str, ...] | None = setting(
        "Feature columns; left out, every column not otherwise named.", default=None, example=["amount", "age_days"]
    )
    positive: str | None = setting('The positive class; left out "1", "true", or the greater one.', default=None)
    reference: Mapping[str, str] | None = setting(
        "The window (from, to) whose values make the bins; left out, all there is at first.", default=None
    )


def scope(config: Config) -> str:
    """The exports' path, absolute and normalised."""
    return os.path.normpath(config.common.folder.absolute() / config.path)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """A piece per export that has changed, or whose rows have actuals now."""
    yield from _Exports(_as_log(config), pull, export=config).pages(files_of(scope(config), config.path))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The exports with this file among them, as if nothing had been counted yet."""
    far = 2**40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The exports with this file among them: repeated ids and late actuals concern all of them."""
    whole = scope(config)
    found = files_of(whole, config.path) if glob.has_magic(config.path) or Path(whole).exists() else []
    if not any(one.path.resolve() == item.path.resolve() for one in found):
        found.append(LogFile(below(item.path, Path(whole)), item.path))
    found.sort(key=lambda one: one.name)
    yield from _Exports(_as_log(config), pull, export=config).pages(found)


def recognise(item: Item) -> bool:
    """Whether a file has the columns that Arize gives an export."""
    if item.entries or not item.head:
        return False
    return {"prediction_id", "prediction_ts"} < set(names_in(item)) and bool(_prediction_in(names_in(item)))


def belongs(item: Item, config: Config) -> bool:
    """Whether a file is one of the source's exports."""
    return predictions.belongs(item, _as_log(config, named=False))


def configure(item: Item, common: Common) -> Config:
    """A configuration of an export of the component's own name; raises SourceRefused without one."""
    if not common.component:
        raise SourceRefused(
            f"{item.name} is an export of Arize that names no model; import it with --component NAME, "
            "or put what `tandem init --connector arize` prints into tandem.toml."
        )
    found = {"prediction": _prediction_in(names_in(item))}
    with Child() as child:
        try:
            task = task_of(child, [item.path], found)
        except Refused as no:
            raise SourceRefused(f"{item.name} {no}.") from None
    name = common.component[0]
    here = replace(common, folder=item.path.absolute().parent)
    return Config(here, path=glob.escape(item.path.name), model_id=name, task=task)


def _prediction_in(names: Sequence[str]) -> str:
    return next((name for name in ("prediction_label", "prediction_score") if name in names), "")


def _as_log(config: Config, *, named: bool = True) -> predictions.Config:
    """The same as a log of predictions; with `named` of the component that the model belongs to, or SourceRefused."""
    what = "score" if config.task == "regression" else "label"
    return predictions.Config(
        common=_component(config) if named else config.common,
        path=config.path,
        task=config.task,
        id=config.id,
        time=config.time,
        prediction=config.prediction or f"prediction_{what}",
        version=config.version,
        score=config.score,
        label=config.label or f"actual_{what}",
        segments=config.segments,
        features=config.features,
        positive=config.positive,
        time_unit=None if config.time_unit == "text" else config.time_unit,
        reference=config.reference,
    )


def _component(config: Config) -> Common:
    common = config.common
    rule = rule_for(common, labels_of({"model_id": config.model_id}))
    found = rule.component if rule else (config.model_id,) if common.discover else ()
    if len(found) != 1:
        raise SourceRefused(
            f'{common.name} needs one component = "NAME", or a [[source.map]] with match = {{ model_id = "..." }}.'
        )
    environment = rule.environment if rule and rule.environment else common.environment
    return replace(common, component=found, environment=environment)


@dataclass
class _Exports(Reading):
    """One pull of a model's exports."""

    export: Config = field(kw_only=True)

    def is_feature(self, column: str) -> bool:
        """Whether a column was given to the model: tags, SHAP values and ranks were not."""
        return column not in (_MODEL, _ENVIRONMENT, "model_version") and not column.startswith(_NO_FEATURES)

    def _decide(self, child: Child, files: Sequence[LogFile]) -> None:
        """Rows of other models and environments are refused; version and score are read where all exports have them."""
        for one in files:
            try:
                self._check(child, one, one.look.kinds if one.look else {})
            except Refused as no:
                self.refuse(one, str(no))
        held = [set(one.look.kinds) for one in files if one.look and not one.refused]
        common = set.intersection(*held) if held else set()
        score = "prediction_score" if self.config.task != "regression" else ""
        self.config = replace(
            self.config,
            version=self.config.version or ("model_version" if "model_version" in common else None),
            score=self.config.score or (score if score in common else None),
        )

    def _check(self, child: Child, one: LogFile, kinds: Mapping[str, str]) -> None:
        for column, wanted, what in (
            (_MODEL, self.export.model_id, "models"), (_ENVIRONMENT, _ROWS_OF_USE, "environments"),
        ):  # fmt: skip
            if column not in kinds:
                continue
            texts = {text for _, values in values_of(child, one.where, [column]) for text in values}
            others = sorted(text for text in texts if text.lower() != wanted.lower())
            if others:
                raise Refused(f'holds rows of other {what} than "{wanted}" ("{others[0][:60]}"); export one alone')

    def _spec_of(self, one: LogFile, spec: Spec) -> Spec:
        """An export without its actuals has no column for them."""
        return spec if one.look and spec.label in one.look.kinds else replace(spec, label="")
