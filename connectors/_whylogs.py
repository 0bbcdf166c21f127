"""What profiles of whylogs say, from a CSV of views or from JSON that whylogs' own Python has printed."""

from __future__ import annotations

import ast
import csv
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors._fields import Unusable
from connectors._files import lines
from connectors._json import BadJson, BrokenJson, strict
from connectors._profiled import Column
from connectors._sketched import Contradiction, Sketch, of_items, of_quantiles, of_shares
from tandem.connect import Item, SourceRefused
from tandem.values import normal

FORMAT = "tandem whylogs profile 1"
SCRIPT = Path(__file__).with_name("_whylogs_script.py")
PATIENCE = 300
"""Seconds that whylogs' Python may take for one batch."""
CSV_ERROR = 0.0028
"""Rank error of a sketch whose CSV does not tell its size: that of whylogs' default, k = 1024 (DataSketches, 99 %)."""
_QUANTILES = {
    "distribution/min": 0.0, "distribution/q_01": 0.01, "distribution/q_05": 0.05, "distribution/q_10": 0.1,
    "distribution/q_25": 0.25, "distribution/median": 0.5, "distribution/q_75": 0.75, "distribution/q_90": 0.9,
    "distribution/q_95": 0.95, "distribution/q_99": 0.99, "distribution/max": 1.0,
}  # fmt: skip
_TEXT = r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_ITEM = re.compile(rf"FrequentItem\(value={_TEXT}, est=([0-9.e+]+), upper=([0-9.e+]+), lower=([0-9.e+]+)\)")
_OLD = re.compile(rb"[\x80-\xff]{0,4}[\x01-\x7f]\x0a[\x80-\xff]{0,4}[\x01-\x7f]\x08\x01\x10")
_YEAR_MS = 365 * 86_400_000


@dataclass(frozen=True)
class Profile:
    """One profile; times in epoch seconds, 0 where it does not say any."""

    ts: int
    made: int
    tags: Mapping[str, str]
    columns: Sequence[Column]
    confusion: Sequence[tuple[str | None, str | None, int]] = ()
    """(actual, predicted, n); None where there is none."""
    regression: Mapping[str, float] = field(default_factory=dict)
    wrong: Sequence[str] = ()


def is_binary(head: bytes) -> bool:
    """Whether a file begins like a profile that only whylogs can read."""
    return head.startswith(b"WHY1\x00") or _OLD.match(head) is not None


def is_views(head: bytes) -> bool:
    """Whether a file begins like a CSV of a view."""
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return b"counts/n" in line and b"types/" in line and b"," in line


def is_told(head: bytes) -> bool:
    """Whether a file begins like what the script prints."""
    return head.lstrip().startswith(b'{"format": "' + FORMAT.encode() + b'"')


# -- views in CSV


def of_csv(item: Item) -> list[Profile]:
    """The profiles of a CSV, one for each time in its column dataset_timestamp, or one; raises SourceRefused."""
    found: dict[tuple[int, int], list[Mapping[str, str]]] = {}
    try:
        for row in csv.DictReader(lines(item, ends=True), strict=True):
            key = (_stated(row.get("dataset_timestamp")), _stated(row.get("creation_timestamp")))
            found.setdefault(key, []).append({name: value or "" for name, value in row.items() if name})
    except csv.Error:
        raise SourceRefused(f"{item.name} is no sound CSV of a whylogs view; export it again.") from None
    return [_of_rows(*key, rows) for key, rows in found.items()]


def _stated(text: str | None) -> int:
    """Seconds of milliseconds; 0 where nothing is stated."""
    digits = (text or "").strip().partition(".")[0]
    return _seconds(int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0


def _seconds(ms: object) -> int:
    return ms // 1000 if isinstance(ms, int) and ms > _YEAR_MS else 0


def _of_rows(ts: int, made: int, rows: Sequence[Mapping[str, str]]) -> Profile:
    columns, wrong = [], []
    for row in rows:
        name = row.get("column", "") or row.get("", "")
        try:
            columns.append(_csv_column(name, row))
        except (Unusable, Contradiction) as error:
            wrong.append(f'the column "{name[:60]}" cannot be used: {error}')
    return Profile(ts, made, {}, columns, wrong=wrong)


def _csv_column(name: str, row: Mapping[str, str]) -> Column:
    counts = {key.partition("/")[2]: _count(row, key) for key in row if key.startswith(("counts/", "types/"))}
    quantiles = [(share, float(row[key])) for key, share in _QUANTILES.items() if row.get(key)]
    n = _count(row, "distribution/n")
    numbers = of_quantiles(n, quantiles, CSV_ERROR) if n and len(quantiles) > 1 else None
    items = [(ast.literal_eval(value), float(est)) for value, est, *_ in
             _ITEM.findall(row.get("frequent_items/frequent_strings", ""))]  # fmt: skip
    return _column(name, counts, numbers, items)


def _count(row: Mapping[str, str], key: str) -> int:
    text = row.get(key) or "0"
    try:
        value = float(text)
    except ValueError:
        raise Unusable(f"{key} is no number") from None
    if not 0 <= value < 2**53:
        raise Unusable(f"{key} is no count")
    return round(value)


def _column(name: str, counts: Mapping[str, int], numbers: Sketch | None, items: Sequence[tuple[str, float]]) -> Column:
    """Numbers, truths or texts, whichever a column has most of; whatever else is in it is missing.

    A nan is counted as null too, so null alone says what is missing.
    """
    n, truths, texts = counts.get("n", 0), counts.get("boolean", 0), counts.get("string", 0)
    of_numbers = numbers.n if numbers is not None else 0
    if counts.get("null", 0) > n:
        raise Unusable("it has more nulls than rows")
    if of_numbers > n:
        raise Unusable("it has more numbers than rows")
    if truths and truths >= max(texts, of_numbers - truths):  # truths stand among the numbers too
        yes = min(counts.get("true", 0), truths)
        return Column(name, n, n - truths, None, {"true": yes, "false": truths - yes})
    if numbers is not None and of_numbers >= texts:
        return Column(name, n, n - of_numbers, _exact(of_numbers, items) or numbers)
    if not texts:
        return Column(name, n, counts.get("null", 0))
    named: dict[str, int] = {}
    for value, count in items:
        text = normal(value)
        if text is not None:
            named[text] = named.get(text, 0) + round(count)
    return Column(name, n, n - texts, None, named, max(texts - sum(named.values()), 0))


def _exact(n: int, items: Sequence[tuple[str, float]]) -> Sketch | None:
    """Whole numbers, where the frequent items name every one of them."""
    if not items or round(sum(count for _, count in items)) != n:
        return None
    try:
        return of_items(n, [(float(value), count) for value, count in items], 0.0)
    except ValueError:
        return None


# -- what the script tells


def of_told(document: Any) -> Profile:
    """A profile of one line of the script; raises Unusable."""
    if not isinstance(document, dict) or document.get("format") != FORMAT or "columns" not in document:
        raise Unusable("is nothing that whylogs can read")
    columns, wrong = [], []
    for name, raw in _dict(document.get("columns")).items():
        try:
            columns.append(_told_column(name, _dict(raw)))
        except (Unusable, Contradiction, TypeError, ValueError, OverflowError) as error:
            wrong.append(f'the column "{name[:60]}" cannot be used: {error}')
    performance = _dict(document.get("performance"))
    made, ts = _seconds(document.get("creation_timestamp")), _seconds(document.get("dataset_timestamp"))
    tags = {key: str(value) for key, value in _dict(document.get("tags")).items()}
    confusion = [(_class(cell[1]), _class(cell[0]), int(cell[2])) for cell in performance.get("confusion") or ()]
    return Profile(ts or made, made, tags, columns, confusion, _dict(performance.get("regression")), wrong)


def _class(label: object) -> str | None:
    """A class as text; whylogs calls a missing one None."""
    return None if label in (None, "None") else normal(label)


def _told_column(name: str, raw: Mapping[str, Any]) -> Column:
    counts = {key: int(value) for part in ("counts", "types") for key, value in _dict(raw.get(part)).items()}
    if any(value < 0 for value in counts.values()):
        raise Unusable("it has a negative count")
    told = _dict(raw.get("distribution"))
    numbers = None
    if told:
        if not told.get("finite", True):
            raise Contradiction("it holds what is no finite number")
        numbers = of_shares(int(told["n"]), told["values"], told["below"], told["upto"], float(told["error"]))
    return _column(name, counts, numbers, [(str(one[0]), float(one[1])) for one in raw.get("items") or ()])


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def documents_of(text: str) -> Iterator[Any]:
    """One document per line; a line that is none is yielded as None."""
    for line in text.splitlines():
        try:
            yield strict(line)
        except (BadJson, BrokenJson):
            yield None


# -- the Python that has whylogs


def read(python: Path, profiles: Sequence[bytes]) -> list[Any]:
    """What whylogs says of each profile, None where it broke on it; raises SourceRefused where there is no whylogs.

    The other Python gets the profiles on its standard input, no name of a file, no secret of this environment, and
    runs one fixed script.
    """
    found: list[Any] = []
    while len(found) < len(profiles):
        answers = _asked(python, profiles[len(found) :])
        found += answers if len(answers) == len(profiles) - len(found) else [*answers, None]
    return found


def _asked(python: Path, profiles: Sequence[bytes]) -> list[Any]:
    given = b"".join(len(one).to_bytes(8, "little") + one for one in profiles)
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": home, "TMPDIR": home, "WHYLOGS_NO_ANALYTICS": "True",
                       "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
        try:
            done = subprocess.run(  # noqa: S603  the interpreter that the configuration names, and a script of ours
                [str(python), "-I", str(SCRIPT)], input=given, capture_output=True, env=environment, cwd=home,
                timeout=PATIENCE, check=False,
            )  # fmt: skip
        except OSError:
            raise SourceRefused(f"{python} cannot be run; set python to one that has whylogs.") from None
        except subprocess.TimeoutExpired:
            raise SourceRefused(
                f"{python} did not read the profiles within {PATIENCE} s; name fewer in path."
            ) from None
    told = list(documents_of(done.stdout.decode("utf-8", "replace")))
    ready, answers = (told or [None])[0], told[1 : len(profiles) + 1]
    if not isinstance(ready, dict) or ready.get("format") != FORMAT:
        raise SourceRefused(f"{python} could not run Tandem's script for whylogs (exit {done.returncode}).")
    if "error" in ready:
        raise SourceRefused(
            f"{python} has no whylogs; make an environment of its own with pip install 'whylogs<2' 'numpy<2' "
            "'pandas<3' and name its python."
        )
    while answers and answers[-1] is None:  # the line that it died in
        answers.pop()
    return answers
