"""One pull of a bucket: list, fetch what changed, and let the connector of its format read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors import _files
from connectors._delta_log import LOG
from connectors._prediction_files import SUFFIX, short
from connectors._s3_listing import Stored, resume, resume_of
from connectors._s3_mirror import Mirror, Unread, fetch_to, folder_of, relative
from connectors._s3_places import Shelf, shelf_of
from tandem import connect, strict
from tandem.connect import Connector, Given, Item, Pull, SourceRefused
from tandem.records import Finding, Page, Slice

if TYPE_CHECKING:
    from connectors.s3 import Config

AUTO = "auto"
_ROWS = ("arize", "delta", "predictions")
_WHOLE = (*_ROWS, "huggingface", "nannyml", "sagemaker", "tensorboard", "whylogs")
"""Formats of which a file says nothing alone: ids count once over all, or files of a folder belong together."""
_NOT_HERE = ("common", "path", "url")


def inner_of(config: Config, folder: Path) -> tuple[Connector | None, Any]:
    """The connector of the format and its Config, with `folder` in place of the bucket; (None, None) for "auto".

    Raises ValueError for a format that is none, and for settings that it does not know or lacks.
    """
    if config.format == AUTO:
        if config.settings:
            raise ValueError('settings need a format; name the connector that reads the objects in place of "auto".')
        return None, None
    try:
        module = connect.load(config.format)
    except SourceRefused as unknown:
        raise ValueError(f"format: {unknown}") from None
    name = connect.canonical(config.format)
    own = [one.name.rstrip("_") for one in fields(module.Config) if one.name not in _NOT_HERE]
    strict.known(config.settings or {}, tuple(own), f'settings of the format "{name}"')
    given: dict[str, Any] = {**(config.settings or {}), "common": replace(config.common, connector=name, folder=folder)}
    places = {one.name for one in fields(module.Config)} & {"path", "url"}
    given |= {"path": "."} if "path" in places else {"url": f"file:{folder}"} if "url" in places else {}
    readers = {"common": lambda value: value}
    return module, strict.build(module.Config, given, f'format "{name}"', folder, readers)


@dataclass
class Reading:
    """One pull of a bucket."""

    config: Config
    pull: Pull
    scope: str
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    inner: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """The format's own name, or "auto"."""
        return AUTO if self.config.format == AUTO else connect.canonical(self.config.format)

    @cached_property
    def readers(self) -> dict[str, Connector]:
        """Those who may be asked whether a file is theirs."""
        names = connect.names() if self.name == AUTO else (self.name,)
        return {name: connect.load(name) for name in names}

    def pages(self) -> Iterator[Page]:
        """All pages of the pull."""
        state = self.pull.state if isinstance(self.pull.state, dict) else {}
        with ExitStack() as opened:
            shelf = shelf_of(self.config, opened)
            if self.name in _WHOLE:
                yield from self._together(shelf, state)
            else:
                yield from self._one_by_one(shelf, state)

    def leave_out(self, stored: Stored, why: str) -> None:
        """An object is not read, and why."""
        self.findings[f"{stored.key.rpartition('/')[2] or stored.key} {why}.", stored.key] += 1

    def told(self) -> list[Finding]:
        """What was left out."""
        return [Finding("reject", reason, where, count) for (reason, where), count in self.findings.items()]

    # -- formats that need all files

    def _together(self, shelf: Shelf, state: Mapping[str, Any]) -> Iterator[Page]:
        mirror = Mirror(folder_of(self.scope, self.config.cache))
        mirror.open()
        # Without copies there is no knowing what was listed before: all is listed again.
        last = resume_of(state.get("list")) if mirror.known else resume_of(None)
        whole = self.pull.sweep or not last.after
        objects = [one for one in shelf.objects("" if whole else last.after) if self._is_file(one.key)]
        try:
            self._copy(shelf, mirror, objects, whole)
        finally:
            mirror.save()
        memory = {"list": resume(objects, last, whole=whole).told()}
        module, inner = inner_of(self.config, mirror.data)
        assert module is not None
        if not any(mirror.data.iterdir()):
            raise SourceRefused(f"{shelf.place} holds no object that {self.config.format} reads; check prefix.")
        known = state.get("inner")
        for page in module.fetch(inner, replace(self.pull, state=known)):
            known = known if page.state is None else page.state
            yield page if page.state is None else replace(page, state={**memory, "inner": known})
        yield Page(state={**memory, "inner": known}, findings=self.told())

    def _is_file(self, key: str) -> bool:
        name = key.rpartition("/")[2]
        if self.name == "delta":
            return f"/{LOG}/" in f"/{key}" or name.endswith((".parquet", ".bin"))
        return name[:1] not in "._" and (self.name not in _ROWS or bool(SUFFIX.search(name)))

    def _copy(self, shelf: Shelf, mirror: Mirror, objects: Sequence[Stored], whole: bool) -> None:
        present = set()
        for number, one in enumerate(objects):
            try:
                at = relative(one.key, shelf.prefix)
                present.add(one.key)
                if not mirror.has(one, at):
                    self.pull.progress(f"fetching {one.key}", number / len(objects))
                    mirror.take(shelf.client_of(one), shelf.path_of(one), one, at, shelf.refusal)
            except Unread as no:
                self.leave_out(one, str(no))
        for key in [key for key in mirror.known if whole and key not in present]:
            mirror.drop(key, relative(key, shelf.prefix))

    # -- formats that are read a file at a time

    def _one_by_one(self, shelf: Shelf, state: Mapping[str, Any]) -> Iterator[Page]:
        last = resume_of(state.get("list"))
        whole = self.pull.sweep or not last.after
        objects, meaning = [], self._meaning()
        mirror = Mirror(folder_of(self.scope, self.config.cache))
        mirror.open()
        folder = mirror.folder / "reading"  # always the same: a place may be part of a name
        for one in shelf.objects("" if whole else last.after):
            objects.append(one)
            mark = Slice(f"{shelf.root}{one.key}", f"{one.etag}:{one.size}:{meaning}")
            if self.pull.taken(mark.name) == mark.digest:
                continue
            try:
                yield from self._read(shelf, one, folder)
            except Unread as no:
                self.leave_out(one, str(no))
                if no.again:
                    continue
            yield Page(slice=mark)
        if not objects and not state:
            raise SourceRefused(f"{shelf.place} holds no object with that prefix; check bucket and prefix.")
        yield Page(state={"list": resume(objects, last, whole=whole).told()}, findings=self.told())

    def _meaning(self) -> str:
        """Changes when the same objects would become other records."""
        common, config = self.config.common, self.config
        told = (common.component, common.map, common.environment, common.discover, common.status, common.timezone)
        return short(repr((*told, common.shift_days, config.format, sorted((config.settings or {}).items()))))

    def _read(self, shelf: Shelf, one: Stored, folder: Path) -> Iterator[Page]:
        self.pull.progress(f"reading {one.key}", None)
        to = folder / relative(one.key, shelf.prefix)
        fetch_to(shelf.client_of(one), shelf.path_of(one), one, to, shelf.refusal)
        try:
            common = self.config.common
            found = _files.item(to, Given(timezone=common.timezone, environment=common.environment))
            module, inner = self._reader(found, folder)
            parse_with = getattr(module, "parse_with", None)
            for page in parse_with(found, inner, self.pull) if parse_with else module.parse(found, inner):
                yield replace(page, state=None)
        except SourceRefused as no:
            raise Unread(f"cannot be read: {str(no).removesuffix('.')}") from None
        finally:
            to.unlink(missing_ok=True)

    def _reader(self, found: Item, folder: Path) -> tuple[Connector, Any]:
        """The connector that reads a file, and its Config; raises Unread where there is none, or several."""
        names = [name for name, module in self.readers.items() if module.recognise(found)]
        if len(names) == 1:
            return self.readers[names[0]], self._inner(names[0], folder)
        if self.name != AUTO:
            raise Unread(f"is nothing that {self.config.format} reads")
        which = f"could be read by {', '.join(names)}" if names else "is nothing that Tandem reads"
        raise Unread(f"{which}; say which connector reads it in format")

    def _inner(self, name: str, folder: Path) -> Any:
        """The Config of a reader; raises Unread for one that needs settings which nobody has given."""
        if name not in self.inner:
            try:
                self.inner[name] = None if name in _WHOLE else inner_of(replace(self.config, format=name), folder)[1]
            except ValueError:
                self.inner[name] = None
        if self.inner[name] is None:
            raise Unread(f'is read by {name}, which wants to be told more: set format = "{name}", and settings')
        return self.inner[name]
