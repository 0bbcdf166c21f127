"""Tables of a TOML file to frozen dataclasses, by their type hints: nothing unknown, missing or coerced."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Readers = Mapping[str, Callable[[Any], Any]]

_WANTED = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    Fraction: "a number",
    bool: "true or false",
    Path: "a path in quotes",
}


def build(cls: type[T], table: Mapping[str, Any], where: str, folder: Path, readers: Readers | None = None) -> T:
    """A `cls` of a TOML table (read with `parse_float=Decimal`).

    `where` names the table in errors; relative paths and `file:` URLs are resolved against `folder`; `readers` read
    the fields of those names in their own way. Raises ValueError with one sentence, which never repeats a value: it
    may be a secret.
    """
    fields = {field.name.rstrip("_"): field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    known(table, tuple(fields), where)
    hints = get_type_hints(cls)
    given = {}
    for key, field in fields.items():
        if key not in table:
            _required(field, where)
        elif readers and key in readers:
            given[field.name] = _own(readers[key], table[key], key, where)
        else:
            given[field.name] = value(hints[field.name], table[key], key, where, folder)
    return make(cls, given, where)


def make(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    """A `cls` of values that are read already; what it refuses itself is said with its place."""
    try:
        return cls(**given)
    except ValueError as refused:
        raise ValueError(f"{where}: {refused}") from None


def known(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    """Raise ValueError for the first key of `table` that is not one of `keys`, naming the nearest one."""
    for key in table:
        if key not in keys:
            raise ValueError(f"{where} has an unknown key {quoted(key)}; {nearest(key, keys)}.")


def nearest(word: str, words: tuple[str, ...]) -> str:
    """The end of a sentence that names the nearest of `words`, and some more where none is near."""
    if not words:
        return "none is known"
    best = [quoted(one) for one in get_close_matches(word, words, 8, 0.0)]
    near = get_close_matches(word, words, 1, 0.5) or len(best) == 1
    return f"the nearest known one is {best[0]}" + ("" if near else f", then {', '.join(best[1:])}")


def quoted(name: str) -> str:
    """A name from a file, in quotes, with control characters escaped, shortened."""
    return json.dumps(name if len(name) <= 80 else name[:77] + "...", ensure_ascii=False)


def value(hint: Any, given: Any, key: str, where: str, folder: Path) -> Any:
    """`given` as the type `hint`; raises ValueError with one sentence."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return given
    if origin in (Union, UnionType):
        return _any(arguments, given, key, where, folder)
    if origin is Literal:
        if given not in arguments:
            raise ValueError(f"{where}: {key} must be one of {', '.join(quoted(str(known)) for known in arguments)}.")
        return given
    if origin is tuple:
        return _tuple(arguments, given, key, where, folder)
    if origin in (Mapping, dict):
        _table(given, key, where)
        return {name: value(arguments[1], one, f"{key}.{name}", where, folder) for name, one in given.items()}
    if dataclasses.is_dataclass(hint):
        _table(given, key, where)
        called = f"[{_path(key, where)}]" + (f" of {where}" if where.startswith("[") else "")
        return build(hint, given, called, folder)  # type: ignore[arg-type]
    return _plain(hint, given, key, where, folder)


def place(key: str, number: int, table: object, where: str = "") -> str:
    """What a table of a list is called in an error: by its name where it has one, else by its number."""
    name = table.get("name") if isinstance(table, Mapping) else None
    called = quoted(name) if isinstance(name, str) and name else f"number {number}"
    return f"[[{key}]] {called}" + (f" of {where}" if where else "")


def _plain(hint: type[Any], given: Any, key: str, where: str, folder: Path) -> Any:
    if hint in (float, Fraction) and isinstance(given, int | Decimal) and not isinstance(given, bool):
        if not math.isfinite(given):
            raise ValueError(f"{where}: {key} must be a finite number.")
        return hint(given)
    if hint is Path and isinstance(given, str):
        return folder / given
    if type(given) is not hint:
        raise ValueError(f"{where}: {key} must be {_WANTED[hint]}.")
    if key == "url" and given.startswith("file:"):
        return f"file:{folder / given.removeprefix('file:').removeprefix('//')}"
    return given


def _tuple(arguments: tuple[Any, ...], given: Any, key: str, where: str, folder: Path) -> tuple[Any, ...]:
    if isinstance(given, str) and arguments == (str, ...):
        return (given,)
    if isinstance(given, Mapping) and dataclasses.is_dataclass(arguments[0]):
        raise ValueError(f"{where}: write [[{_path(key, where)}]] with two brackets, because there may be several.")
    if not isinstance(given, list):
        raise ValueError(f"{where}: {key} must be a list.")
    if arguments[-1] is not ...:
        if len(given) != len(arguments):
            raise ValueError(f"{where}: {key} must be a list of {len(arguments)}.")
        return tuple(value(hint, one, key, where, folder) for hint, one in zip(arguments, given, strict=True))
    hint = arguments[0]
    if not dataclasses.is_dataclass(hint):
        return tuple(value(hint, one, key, where, folder) for one in given)
    for table in given:
        _table(table, key, where)
    outer = where if where.startswith("[") else ""
    places = [place(_path(key, where), number, table, outer) for number, table in enumerate(given, 1)]
    return tuple(build(hint, *one, folder) for one in zip(given, places, strict=True))  # type: ignore[arg-type]


def _path(key: str, where: str) -> str:
    """The dotted name of a table within the table called `where`."""
    outer = where.lstrip("[").partition("]")[0] if where.startswith("[") else ""
    return f"{outer}.{key}" if outer else key


def _any(hints: tuple[Any, ...], given: Any, key: str, where: str, folder: Path) -> Any:
    refused = []
    for hint in hints:
        if hint is not NoneType:
            try:
                return value(hint, given, key, where, folder)
            except ValueError as error:
                refused.append(str(error))
    if len(refused) == 1:
        raise ValueError(refused[0])
    wanted = " or ".join(dict.fromkeys(text.rpartition(" must be ")[2].rstrip(".") for text in refused))
    raise ValueError(f"{where}: {key} must be {wanted}.")


def _table(given: Any, key: str, where: str) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: {key} must be a table.")


def _required(field: dataclasses.Field[Any], where: str) -> None:
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        doc = str(field.metadata.get("doc") or "").rstrip(".")
        raise ValueError(f"{where} lacks the key {quoted(field.name.rstrip('_'))}{': ' + doc if doc else ''}.")


def _own(read: Callable[[Any], Any], given: Any, key: str, where: str) -> Any:
    try:
        return read(given)
    except ValueError as refused:
        raise ValueError(f"{where}: {key}: {refused}") from None
