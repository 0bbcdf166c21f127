"""Who asks S3: keys from the environment, a profile or botocore's chain, and signatures of version 4 for reading.

The signature follows "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from tandem.connect import SourceRefused

if TYPE_CHECKING:
    from connectors.s3 import Config

_NOTHING = hashlib.sha256(b"").hexdigest()
_UNRESERVED = "-_.~"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Keys:
    """An access key with its secret; `token` where they are lent for a while. `place`: where they came from."""

    access: str
    secret: str
    token: str
    place: str

    def __repr__(self) -> str:
        return f"Keys({self.place})"


def keys_of(config: Config) -> Keys | None:
    """The keys that a configuration names; None for a bucket that is open to all. Raises SourceRefused."""
    if config.credentials == "none" or config.presigned_env:
        return None
    if config.credentials == "chain":
        return _chained()
    if config.credentials == "profile":
        return _profile(config)
    access, secret = (_variable(name) for name in (config.access_key_env, config.secret_key_env))
    place = f"the environment variables {config.access_key_env} and {config.secret_key_env}"
    return _usable(access, secret, os.environ.get(config.session_token_env, ""), place)


def _variable(name: str) -> str:
    found = os.environ.get(name, "")
    if not found:
        raise SourceRefused(
            f'the environment variable {name} is not set; set it, or credentials = "profile", "chain" or "none".'
        )
    return found


def _usable(access: str, secret: str, token: str, place: str) -> Keys:
    for one in (access, secret, token):
        if not one.isascii() or not all("!" <= letter <= "~" for letter in one):
            raise SourceRefused(f"{place} do not hold keys (words of printable characters); correct them.")
    return Keys(access, secret, token, place)


def _profile(config: Config) -> Keys:
    said = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "") or "~/.aws/credentials"
    path = config.credentials_file or Path(said).expanduser()
    parser = configparser.RawConfigParser()
    try:
        if path.stat().st_mode & 0o077:
            raise SourceRefused(f"{path} can be read by other users; run chmod 600 on it.")
        parser.read_string(path.read_text("utf-8"))
        found = parser[config.profile]
        access, secret = found["aws_access_key_id"], found["aws_secret_access_key"]
    except (OSError, UnicodeDecodeError):
        raise SourceRefused(f"{path} cannot be read; check credentials_file.") from None
    except (configparser.Error, KeyError):
        raise SourceRefused(
            f"{path} states no aws_access_key_id and aws_secret_access_key under [{config.profile}]; check profile."
        ) from None
    return _usable(access, secret, found.get("aws_session_token", ""), f"the profile {config.profile} of {path}")


def _chained() -> Keys:
    """Roles of a machine, a container or a web identity, single sign-on: what only AWS's own library knows to find."""
    try:
        session = importlib.import_module("botocore.session")
        trouble = importlib.import_module("botocore.exceptions").BotoCoreError
    except ImportError:
        raise SourceRefused(
            'credentials = "chain" needs AWS\'s library: install tandem-health[s3], or name keys in the environment.'
        ) from None
    try:
        found: Any = session.get_session().get_credentials()
        frozen = found.get_frozen_credentials() if found is not None else None
    except trouble as error:
        raise SourceRefused(f"AWS's chain of credentials fails ({type(error).__name__}); sign in again.") from None
    if frozen is None:
        raise SourceRefused("AWS's chain of credentials finds none; sign in, or give this machine a role.")
    return _usable(frozen.access_key, frozen.secret_key, frozen.token or "", "AWS's chain of credentials")


def signed(keys: Keys, region: str, method: str, url: str, now: float) -> Mapping[str, str]:
    """The headers that prove at `now` (epoch seconds) that the owner of the keys asks for this URL, without a body."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    parts = urlsplit(url)
    headers = {"host": _host(url), "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(sorted(headers))
    pairs = sorted((_quoted(name), _quoted(value)) for name, value in parse_qsl(parts.query, keep_blank_values=True))
    canonical = "\n".join([
        method, parts.path or "/", "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, _NOTHING,
    ])  # fmt: skip
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    wanted = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    proof = hmac.new(_key(keys.secret, moment[:8], region), wanted.encode(), hashlib.sha256).hexdigest()
    told = f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope},SignedHeaders={names},Signature={proof}"
    return {**{name: text for name, text in headers.items() if name != "host"}, "Authorization": told}


def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _host(url: str) -> str:
    parts = urlsplit(url)
    usual = parts.port is None or parts.port == _PORTS.get(parts.scheme)
    return (parts.hostname or "") if usual else f"{parts.hostname}:{parts.port}"


def _quoted(text: str) -> str:
    return quote(text, safe=_UNRESERVED)
