"""How a cluster is reached: address, authority, token or certificate of a kubeconfig."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors._json import BadJson, BrokenJson, strict
from tandem.connect import SourceRefused

_CAP = 1_000_000
"""Most bytes of a kubeconfig."""


@dataclass(frozen=True)
class Access:
    """What one context of a kubeconfig says; `folder` is where certificates that stand in it are put as files."""

    server: str
    token: tuple[str, str] | None
    identity: tuple[Path, Path] | None
    authority: Path | None


def access_of(path: Path, context: str, folder: Path) -> Access:
    """The access that a context gives, the current one for ""; raises SourceRefused for what cannot be used.

    `folder` must be private: keys that stand in the kubeconfig are written there for as long as they are needed.
    """
    told = _read(path)
    name = context or str(told.get("current-context") or "")
    chosen = _named(told, "contexts", name, "context", path)
    cluster = _named(told, "clusters", str(chosen.get("cluster", "")), "cluster", path)
    user = _named(told, "users", str(chosen.get("user", "")), "user", path) if chosen.get("user") else {}
    if cluster.get("insecure-skip-tls-verify"):
        raise SourceRefused(f"{path} switches the check of certificates off for {name}; give the authority instead.")
    if not isinstance(cluster.get("server"), str):
        raise SourceRefused(f"{path} names no server for the context {name}.")
    return Access(
        cluster["server"], _token(user, path), _identity(user, path, folder),
        _file(cluster, "certificate-authority", path, folder),
    )  # fmt: skip


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _CAP:
            raise SourceRefused(f"{path} is too large for a kubeconfig.")
        content = path.read_bytes()
    except OSError:
        raise SourceRefused(f"{path} cannot be read; check kubeconfig.") from None
    try:
        found = strict(content)
    except BadJson as error:
        raise SourceRefused(f"{path} cannot be used: {error}.") from None
    except BrokenJson:
        found = _yaml(content, path)
    if not isinstance(found, dict):
        raise SourceRefused(f"{path} is no kubeconfig; check kubeconfig.")
    return found


def _yaml(content: bytes, path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise SourceRefused(
            f"{path} is YAML, which needs PyYAML: run `pip install 'tandem-health[openslo]'`, or write it as JSON with "
            "kubectl config view --raw --flatten -o json."
        ) from None
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise SourceRefused(f"{path} is neither JSON nor YAML; check kubeconfig.") from None


def _named(told: Mapping[str, Any], kind: str, name: str, word: str, path: Path) -> Mapping[str, Any]:
    listed = told.get(kind)
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("name") == name and isinstance(one.get(word), dict):
            found: Mapping[str, Any] = one[word]
            return found
    raise SourceRefused(f'{path} holds no {word} "{name}"; name one of its contexts.')


def _token(user: Mapping[str, Any], path: Path) -> tuple[str, str] | None:
    if user.get("exec") or user.get("auth-provider"):
        raise SourceRefused(
            f"{path} gets its token from another program, which is not run; use a service account's token."
        )
    if user.get("token"):
        return str(user["token"]), f"the kubeconfig {path}"
    if not user.get("tokenFile"):
        return None
    place = path.parent / str(user["tokenFile"])
    try:
        return place.read_text("utf-8").strip(), f"the file {place}"
    except (OSError, UnicodeDecodeError):
        raise SourceRefused(f"{place} cannot be read; check tokenFile of {path}.") from None


def _identity(user: Mapping[str, Any], path: Path, folder: Path) -> tuple[Path, Path] | None:
    certificate = _file(user, "client-certificate", path, folder)
    key = _file(user, "client-key", path, folder)
    return (certificate, key) if certificate and key else None


def _file(told: Mapping[str, Any], name: str, path: Path, folder: Path) -> Path | None:
    """The file that a key names, or that its -data holds."""
    inline = told.get(f"{name}-data")
    if not inline:
        named = path.parent / str(told[name]) if told.get(name) else None
        if named is not None and not named.is_file():
            raise SourceRefused(f"{named} is not there or cannot be read; check {name} of {path}.")
        return named
    try:
        content = base64.b64decode(str(inline), validate=True)
    except (binascii.Error, ValueError):
        raise SourceRefused(f"{path} holds a {name}-data that is not base64.") from None
    place = folder / name
    place.touch(mode=0o600)
    place.write_bytes(content)
    return place
