"""What the columns of a prediction log mean by their usual names, and a [[source]] block where these do not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from tandem.child import Child, Refused
from tandem.connect import Item
from tandem.pieces import Where
from tandem.summarise import look, values_of
from tandem.values import same_classes

Task = Literal["binary", "multiclass", "regression"]

USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("prediction_id", "id", "request_id", "event_id"),
    "time": ("ts", "timestamp", "time", "predicted_at", "created_at"),
    "prediction": ("predicted", "prediction", "y_pred"),
    "score": ("score", "y_pred_proba", "probability", "proba"),
    "label": ("label", "target", "actual", "y_true"),
    "version": ("model_version", "version"),
}
NEEDED = ("id", "time", "prediction")


def names_in(item: Item) -> list[str]:
    """The column names of a file, as far as its beginning (or a Parquet footer) tells them."""
    if item.head.startswith(b"PAR1"):
        return _names_of_parquet(item)
    line = item.head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    try:
        text = line.decode("utf-8").strip()
        if text.startswith("{"):
            found = json.loads(text)
            return list(found) if isinstance(found, dict) else []
    except (ValueError, RecursionError):
        return []
    return [name.strip().strip('"') for name in text.split(",")] if "," in text and text[:1] not in "[<#" else []


def _names_of_parquet(item: Item) -> list[str]:
    with Child() as child:
        try:
            return list(look(child, item.path).kinds)
        except Refused:
            return []


def usual(names: Sequence[str]) -> dict[str, str]:
    """The column for each meaning, by its usual names."""
    lower = {name.lower(): name for name in reversed(names)}
    found = {}
    for meaning, words in USUAL.items():
        hit = next((lower[word] for word in words if word in lower), None)
        if hit is not None:
            found[meaning] = hit
    return found


def missing(found: Mapping[str, str]) -> list[str]:
    """What no column is known for and a log cannot do without."""
    return [meaning for meaning in NEEDED if meaning not in found]


def task_of(child: Child, places: Sequence[Where], found: Mapping[str, str]) -> Task:
    """What predictions look like: two classes, several, or numbers with fractions or many of them; raises Refused."""
    columns = [found[meaning] for meaning in ("prediction", "label") if meaning in found]
    texts: set[str] = set()
    for place in places:
        for _, values in values_of(child, place, columns):
            texts.update(values)
            if len(texts) > 1000:
                break
    fractions = any(re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) for text in texts)
    if fractions or (len(texts) > 20 and all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text) for text in texts)):
        return "regression"
    same = same_classes(texts)
    return "binary" if len({same.get(text, text) for text in texts}) <= 2 else "multiclass"


def block(connector: str, name: str, path: str, *, component: str, names: Sequence[str], task: str) -> str:
    """Why a log cannot be imported as it is, with a [[source]] block that says what its columns mean.

    `component`, `task`: "" where they are not known.
    """
    found = usual(names)
    absent = missing(found)
    why = f"no column is known to be its {' or '.join(absent)}" if absent else "it does not say of which component"
    lines = [
        "[[source]]",
        f'connector = "{connector}"',
        f"name = {_toml(name.partition('.')[0])}",
        f"path = {_toml(path)}",
        f"component = {_toml(component or 'MODEL')}",
        f'task = "{task}"' if task else 'task = "binary"   # or multiclass, regression',
        *(f"{meaning} = {_toml(found.get(meaning, 'COLUMN'))}" for meaning in NEEDED),
        *(f"{meaning} = {_toml(found[meaning])}" for meaning in ("version", "score", "label") if meaning in found),
        f"# columns: {', '.join(_toml(name) for name in names[:40])}",
    ]
    hint = "" if absent else " or import it with --component NAME"
    return f"{name} needs to be told what its columns mean ({why}); put this into tandem.toml{hint}:\n" + "\n".join(
        lines
    )


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
