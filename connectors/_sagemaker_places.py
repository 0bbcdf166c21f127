"""Where SageMaker's files lie: in a folder, or in a bucket of S3."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from connectors import _files
from connectors._s3_listing import Resume, Stored, resume
from connectors._s3_mirror import fetch_to, relative
from connectors._s3_places import shelf_of
from tandem.connect import Given, Item, SourceRefused

if TYPE_CHECKING:
    from connectors.sagemaker import Config


class Place(Protocol):
    """Objects with a key, an ETag and a size, that can be listed and read."""

    def objects(self, after: str) -> Iterator[Stored]:
        """Those whose keys come after one."""
        ...

    def resume(self, objects: list[Stored], last: Resume, *, whole: bool) -> Resume:
        """From where the next pull lists."""
        ...

    def reading(self, one: Stored) -> AbstractContextManager[Item]:
        """The bytes of one object, as a file."""
        ...


def place_of(config: Config, opened: ExitStack) -> Place:
    """Where the files of a configuration lie; raises SourceRefused where it names nothing."""
    if config.path is not None:
        return Folder(config.path)
    if config.bucket:
        return Shelved(config, opened)
    raise SourceRefused(f'set path, or bucket and prefix, for the source "{config.common.name}".')


class Folder:
    """A folder of copies; links are not followed."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise SourceRefused(f"{path} is no folder; check the path.")
        self._path = path

    def objects(self, after: str) -> Iterator[Stored]:  # noqa: ARG002 (a folder is walked whole)
        """Every file below it."""
        for at, folders, files in os.walk(self._path):
            folders[:] = sorted(name for name in folders if not (Path(at) / name).is_symlink())
            for name in sorted(files):
                path = Path(at) / name
                if path.is_symlink() or not path.is_file():
                    continue
                state = path.stat()
                key = path.relative_to(self._path).as_posix()
                yield Stored(key, str(state.st_mtime_ns), state.st_size, int(state.st_mtime))

    def resume(self, objects: list[Stored], last: Resume, *, whole: bool) -> Resume:  # noqa: ARG002 (as above)
        """From the beginning."""
        return Resume()

    @contextmanager
    def reading(self, one: Stored) -> Iterator[Item]:
        """The file itself."""
        yield _files.item(self._path / one.key, Given())


class Shelved:
    """Objects of a bucket below a prefix."""

    def __init__(self, config: Config, opened: ExitStack) -> None:
        self._shelf = shelf_of(config.shelf(), opened)
        self._folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="tandem-sagemaker-")))

    def objects(self, after: str) -> Iterator[Stored]:
        """What the bucket lists."""
        yield from self._shelf.objects(after)

    def resume(self, objects: list[Stored], last: Resume, *, whole: bool) -> Resume:
        """From the first folder of the last 3 hours, where keys sort by time."""
        return resume(objects, last, whole=whole)

    @contextmanager
    def reading(self, one: Stored) -> Iterator[Item]:
        """A copy that is removed when it was read; raises Unread where the object is not to be had."""
        to = self._folder / relative(one.key, self._shelf.prefix).name
        fetch_to(self._shelf.client_of(one), self._shelf.path_of(one), one, to, self._shelf.refusal)
        try:
            yield _files.item(to, Given())
        finally:
            to.unlink(missing_ok=True)
