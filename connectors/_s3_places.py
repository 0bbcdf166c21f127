"""Where objects lie: behind the listing of a bucket, or each behind a presigned URL of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors._http import Client, Reply, open_client
from connectors._s3_access import keys_of, signed
from connectors._s3_listing import ACCEPT, Bucket, Stored
from tandem.connect import SourceRefused

if TYPE_CHECKING:
    from connectors.s3 import Config

_PROOF = ("x-amz-signature", "x-amz-security-token", "x-amz-credential", "signature", "awsaccesskeyid")
"""Parameters of a presigned URL that nobody may see."""
_LONG = 16
"""Letters of an access key; a shorter one is a word, which may stand in any message."""


class Shelf(Protocol):
    """Objects that can be named and fetched; `place` is what errors call it, `root` what their marks begin with."""

    prefix: str
    place: str
    root: str

    def objects(self, after: str) -> Iterator[Stored]:
        """Those whose keys come after one."""
        ...

    def client_of(self, one: Stored) -> Client:
        """Who is asked for an object."""
        ...

    def path_of(self, one: Stored) -> str:
        """Where an object is asked for."""
        ...

    def refusal(self, reply: Reply, done: str) -> Exception:
        """Why something cannot be read."""
        ...


def shelf_of(config: Config, opened: ExitStack) -> Shelf:
    """Where the objects of a configuration lie; its clients close with `opened`. Raises SourceRefused."""
    return Presigned(config, opened) if config.presigned_env else Listed(config, opened)


class Listed:
    """The objects of a bucket."""

    def __init__(self, config: Config, opened: ExitStack) -> None:
        keys = keys_of(config)
        sign = partial(signed, keys, config.region) if keys else None
        secrets = (keys.secret, keys.token, *([keys.access] if len(keys.access) >= _LONG else [])) if keys else ()
        base, path = _address(config)
        client = opened.enter_context(open_client(config, base, token=("", ""), sign=sign, secrets=secrets))
        self.prefix = config.prefix
        self.place = f"the bucket {config.bucket}"
        self.root = f"s3://{config.bucket}/"
        self.bucket = Bucket(client, path, config.region, self.place)

    def objects(self, after: str) -> Iterator[Stored]:
        """What is listed after a key; the marks of folders are no objects."""
        for one in self.bucket.listed(self.prefix, after):
            if one.size or not one.key.endswith("/"):
                yield one

    def client_of(self, one: Stored) -> Client:  # noqa: ARG002 (all lie behind one)
        """Who is asked for an object."""
        return self.bucket.client

    def path_of(self, one: Stored) -> str:
        """Where an object is asked for."""
        return self.bucket.object_path(one.key)

    def refusal(self, reply: Reply, done: str) -> Exception:
        """Why something cannot be read."""
        return self.bucket.refusal(reply, done)


def _address(config: Config) -> tuple[str, str]:
    """The server that is asked, and what goes before a key: another server than Amazon's has buckets as folders."""
    if config.endpoint:
        return config.endpoint, f"/{config.bucket}"
    if "." in config.bucket:  # no certificate holds for two names in one
        return f"https://s3.{config.region}.amazonaws.com", f"/{config.bucket}"
    return f"https://{config.bucket}.s3.{config.region}.amazonaws.com", ""


class Presigned:
    """Single objects, each behind a URL that holds its own proof."""

    def __init__(self, config: Config, opened: ExitStack) -> None:
        said = os.environ.get(config.presigned_env, "").split()
        if not said:
            raise SourceRefused(
                f"the environment variable {config.presigned_env} is not set; put presigned URLs there."
            )
        self.prefix = ""
        self.place = "the presigned URL"
        self.root = "presigned:/"
        self.urls = {unquote(urlsplit(url).path).lstrip("/"): url for url in said}
        secrets = [value for url in said for name, value in parse_qsl(urlsplit(url).query) if name.lower() in _PROOF]
        self.clients: dict[str, Client] = {}
        for origin in {_origin(url) for url in said}:
            client = open_client(config, origin, token=("", ""), secrets=secrets)
            self.clients[origin] = opened.enter_context(client)

    def objects(self, after: str) -> Iterator[Stored]:  # noqa: ARG002 (each is asked for by itself)
        """What each URL leads to, by its first byte: a URL that is signed for GET allows no HEAD."""
        for key, url in sorted(self.urls.items()):
            client = self.clients[_origin(url)]
            reply = client.get(url, headers={"Range": "bytes=0-0"}, accept=ACCEPT, json="bytes", check=_check_range)
            if reply.status == 416:  # it is empty
                continue
            if reply.status != 206:
                raise self.refusal(reply, "read")
            yield Stored(key, reply.headers.get("etag", "").strip('"'), _size(reply), _modified(reply))

    def client_of(self, one: Stored) -> Client:
        """Who is asked for an object."""
        return self.clients[_origin(self.urls[one.key])]

    def path_of(self, one: Stored) -> str:
        """Where an object is asked for."""
        return self.urls[one.key]

    def refusal(self, reply: Reply, done: str) -> Exception:
        """Why something cannot be read."""
        return SourceRefused(f"{self.place} cannot be {done} ({reply.status}); where it has expired, make it again.")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _check_range(reply: Reply) -> None:
    """Raises ValueError for an answer that is not the one byte that was asked for."""
    if reply.status in (200, 206) and (reply.status == 200 or len(reply.body) != 1 or _size(reply) < 1):
        raise ValueError("does not answer with the part of an object that was asked for")


def _size(reply: Reply) -> int:
    said = reply.headers.get("content-range", "").rpartition("/")[2]
    return int(said) if said.isdigit() else 0


def _modified(reply: Reply) -> int:
    try:
        return int(parsedate_to_datetime(reply.headers.get("last-modified", "")).timestamp())
    except (ValueError, TypeError):
        return 0
