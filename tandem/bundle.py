"""A bundle: one folder with all that Tandem knows, to be handed on, merged, or shown read only anywhere."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tandem import config as configuration
from tandem import handed, times, toml_text
from tandem.config import Config, ConfigError
from tandem.store import backup
from tandem.store.file import Store, StoreRefused
from tandem.store.kept import Kind, kept

CONFIG = "tandem.toml"
WRITTEN: tuple[Kind, ...] = ("moment", "review")
"""What people write, of all that they keep."""


def export(store: Store, config: Config, folder: Path, now: int) -> dict[str, Any]:
    """Write the store and the configuration, without its secrets, into a new folder; the manifest.

    What people wrote (moments, reviews) travels with the store, and can be read in a text of its own as well.
    """
    texts = {CONFIG: handed.text(config, handed.environment())}
    texts |= {f"{kind}s.json": said for kind in WRITTEN if (said := _written(store, kind))}
    return backup.export(store, folder, texts, {"exported": now, "folder": str(config.folder)})


def _written(store: Store, kind: Kind) -> str:
    """What people keep of a kind as JSON, newest first; "" for nothing."""
    some = [{"id": one.id, "made": times.text(one.made), "author": one.author, "content": json.loads(one.content)}
            for one in kept(store, kind)]  # fmt: skip
    return json.dumps(some, indent=1, ensure_ascii=False, sort_keys=True) + "\n" if some else ""


def verified(folder: Path) -> Mapping[str, Any]:
    """The manifest of a bundle that is whole; raises StoreRefused with one sentence for any other."""
    return backup.verified(folder)


def store_of(folder: Path, target: Path) -> Path:
    """Where the store lies that a bundle belongs into: as the configuration at `target` says, else as the bundle's.

    Raises ConfigError where there is a configuration that cannot be read.
    """
    if target.exists():
        return configuration.load(target).store
    said = _tables(folder).get("store", "tandem.duckdb")
    return target.parent / (said if isinstance(said, str) and _inside(said) else "tandem.duckdb")


def _inside(path: str) -> bool:
    """Whether a path stays in its folder: a bundle comes from anywhere."""
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _tables(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, ValueError, RecursionError):
        return {}


def give_config(folder: Path, target: Path) -> bool:
    """Write the bundle's configuration to `target`; whether it was written: one that is there is left alone."""
    if target.exists() or not (folder / CONFIG).is_file():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8", newline="\n") as file:
        file.write((folder / CONFIG).read_text(encoding="utf-8"))
    return True


# -- shown read only


@dataclass(frozen=True)
class Shown:
    """A bundle that is open to be looked at: its clock stands where it was exported, and nothing is collected."""

    config: Config
    store: Store
    clock: int
    trouble: str
    token: str = ""
    first_done: bool = True

    def now(self) -> int:
        """When it was exported, in epoch seconds."""
        return self.clock

    def version(self) -> int:
        """The highest load committed."""
        return self.store.version()

    def sync(self, names: Sequence[str] = (), **_: Any) -> list[Any]:
        """Pull nothing: there is nothing to pull from."""
        del names
        return []


@contextmanager
def shown(folder: Path) -> Iterator[Shown]:
    """Open a bundle to be looked at, in a temporary folder that is gone afterwards; the bundle is not touched.

    Raises StoreRefused for one that is damaged, newer, or has a configuration that cannot be read.
    """
    folder = folder.absolute()
    manifest = verified(folder)
    config, left = _config(folder, Path(str(manifest.get("folder") or folder)))
    with TemporaryDirectory(prefix="tandem-bundle-") as place:
        path = Path(place) / "bundle.duckdb"
        backup.restore(folder, path)
        with Store(path, read_only=True) as store:
            clock = int(manifest.get("exported") or 0) or _last(store)
            said = (
                f"This is a bundle as of {times.text(clock)}, read only: nothing is collected, and time stands still."
            )
            yield Shown(replace(config, store=path), store, clock, f"{said}{left}")


def _last(store: Store) -> int:
    """When the last load was committed, of a bundle that does not say when it was made."""
    return store.committed()


def _config(folder: Path, home: Path) -> tuple[Config, str]:
    """The bundle's configuration, and what of it is left out: sources whose connector is not installed here.

    `home` is where it stood: a source whose files lay beside it is still that source.
    """
    path = home / CONFIG
    if not (folder / CONFIG).is_file():
        return configuration.parse("", path), ""
    text = (folder / CONFIG).read_text(encoding="utf-8")
    try:
        return configuration.parse(text, path), ""
    except ValueError:
        tables = _tables(folder)
    known = [one for one in tables.get("source", ()) if _loads({"source": [one]}, path)]
    try:
        config = configuration.parse(toml_text.text({**tables, "source": known}), path)
    except ValueError as refused:
        raise StoreRefused(str(ConfigError(folder / CONFIG, str(refused)))) from None
    left = len(tables.get("source", ())) - len(known)
    return config, f" {left} of its sources {'is' if left == 1 else 'are'} of a connector that is not installed here."


def _loads(tables: Mapping[str, Any], path: Path) -> bool:
    try:
        configuration.parse(toml_text.text(tables), path)
    except ValueError:
        return False
    return True
