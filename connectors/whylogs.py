"""whylogs: profiles of what a model was given and answered, from CSV, or from binary profiles by whylogs' own Python.

A slice is the profile of one data set at one time. Distributions are sketches: they are put onto the feature's bins
and marked approximate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from connectors._files import files_at
from connectors._whylogs import is_binary, is_told, is_views
from connectors._whylogs_reading import Reading
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.records import Page

ABOUT = About(
    reads="Profiles of whylogs: distributions of features, missing values, and how predictions met their labels.",
    signals=("feature", "prediction", "valid_rows", "volume", "outcome", "error"),
    labels={"dataset": 'the tag "dataset" of a profile, else the name of its folder', "file": "the file's name",
            "...": "the other tags of a binary profile"},
    files=(
        "CSV of a view: view.to_pandas().to_csv(PATH), best with a column dataset_timestamp in milliseconds",
        "binary profiles (.bin), by a Python that has whylogs (python =)",
        "what PYTHON -I connectors/_whylogs_script.py PROFILE.bin ... prints, one JSON document per line",
    ),
    limits=(
        "Distributions are put onto the feature's bins and marked approximate: shares rise straight between values.",
        "Of those a CSV knows 11, a binary profile about 400.",
        "A count below an edge is off by at most the share between the values beside it, and the sketch's rank error.",
        "That error is 0.3 % at whylogs' default size; each pull says the largest doubt of each feature.",
        "Bins and reference are made of the first 7 days, once they hold 1,000 values; those of a log go before.",
        "A profile tells missing values by column, not by row: valid_rows counts each as a row of its own.",
        "So where several columns have some, valid_rows is a lower bound, and says so.",
        "A nan is counted as null by whylogs too, and counts once here.",
        "Texts are whylogs' most frequent items: what it does not name is other.",
        "The outcome and errors are known where a binary profile holds performance metrics.",
        "Segments of a profile are left out: only what is profiled whole is read.",
        "Of profiles of one data set and time the one made last counts, or say several = 'add'.",
        "A CSV without dataset_timestamp takes its time from its name (named =), --at, or when it was changed last.",
        "whylogs never enters Tandem's environment: it breaks on numpy 2. Nothing is ever unpickled.",
    ),
    aliases=("whylabs",),
    side="model",
    example="""\
connector = "whylogs"
name = "claims-profiles"
path = "exports/whylogs"                   # a file, a folder or a glob of CSV or .bin
component = "claim-risk"
# python = "/srv/whylogs/bin/python"       # one that has whylogs, for .bin
# prediction = "predicted"                 # the column that the model answered
""",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Where the profiles lie."""

    common: Common
    path: Path | None = setting("A file, a folder or a glob of profiles.", default=None, example="exports/whylogs")
    python: Path | None = setting(
        "A Python that has whylogs (pip install 'whylogs<2' 'numpy<2' 'pandas<3'), for binary profiles.",
        default=None, example="/srv/whylogs/bin/python",
    )  # fmt: skip
    features: tuple[str, ...] = setting("Globs of the columns that count.", default=(), example=("amount", "age_*"))
    prediction: str | None = setting("The column that the model answered.", default=None, example="predicted")
    named: str | None = setting(
        "How the names of CSV files tell their time, without the ending, in the words of strptime.",
        default=None, example="profile_%Y-%m-%d",
    )  # fmt: skip
    several: Literal["newest", "add"] = setting(
        'Of several profiles of one data set and time the "newest" counts, or they "add" up, as those of several '
        "processes do.", default="newest",
    )  # fmt: skip


def scope(config: Config) -> str:
    """The path of the profiles, and which columns count."""
    chosen = f"#{','.join(sorted(config.features))}" if config.features else ""
    return f"{config.path or ''}{chosen}"


def recognise(item: Item) -> bool:
    """A CSV of a view, a binary profile, or what the script prints."""
    return is_views(item.head) or is_binary(item.head) or is_told(item.head)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The profiles that were not counted before, oldest first."""
    if config.path is None:
        raise SourceRefused(f'set path = "FILE, FOLDER or GLOB" for the source "{config.common.name}".')
    found = files_at(config.path, Given(timezone=config.common.timezone))
    yield from Reading(config, pull).pages(item for item, alone in found if alone or recognise(item))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The profiles of one file, as if nothing had been counted yet."""
    far = 2**40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The profiles of one file, on the bins that are in force; raises SourceRefused where it cannot be used."""
    yield from Reading(config, replace(pull, state=None), alone=True).pages([item])
