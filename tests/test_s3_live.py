"""Buckets of moto's server, filled by AWS's own library: what is listed, read and signed is what that library says."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import _s3_listing, _s3_mirror, s3
from connectors._http import open_client
from connectors._s3_access import Keys, signed
from connectors._s3_listing import Bucket, Stored
from connectors._s3_mirror import fetch_to
from tandem.connect import Common, SourceRefused
from tests.environments import environment
from tests.processes import answers, eventually, free_port
from tests.replay import serve
from tests.s3_server import S3
from tests.test_predictions import FAR, Shelf, as_csv, plain
from tests.test_s3 import SETTINGS, counts

pytestmark = pytest.mark.live
STEPS = Path(__file__).parent / "bucket_steps.py"
KEYS = {"TANDEM_TEST_ACCESS_KEY": "AKIATESTTESTTEST", "TANDEM_TEST_SECRET_KEY": "canary/secret+key"}


class Aws:
    """A moto server and AWS's library beside it."""

    def __init__(self, python: Path, url: str, folder: Path) -> None:
        self.url = url
        command = [python, STEPS, url, folder / "parts"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, do: str, **given: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def put(self, name: str, key: str, data: bytes, **more: Any) -> None:
        self.do("put", name=name, key=key, text=data.hex(), **more)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    python = environment("s3", ["moto[server,s3]>=5.1", "boto3"])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(lambda: answers(f"{url}/moto-api/"), "moto")
        found = Aws(python, url, tmp_path_factory.mktemp("aws"))
        try:
            yield found
        finally:
            found.process.kill()
            found.process.communicate()
    finally:
        server.kill()
        server.wait()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config(aws: Aws, bucket: str, **given: Any) -> s3.Config:
    plain_ = {"bucket": bucket, "prefix": "log/", "format": "predictions", "settings": SETTINGS, "endpoint": aws.url,
              "region": "eu-central-1", "access_key_env": "TANDEM_TEST_ACCESS_KEY",
              "secret_key_env": "TANDEM_TEST_SECRET_KEY"}  # fmt: skip
    return s3.Config(Common("s3", "log", component=("model",)), **{**plain_, **given})


def pulled(source: s3.Config, shelf: Shelf | None = None, sweep: bool = False) -> Shelf:
    shelf = shelf or Shelf()
    return shelf.take(s3.fetch(source, replace(shelf.pull(FAR), sweep=sweep)))


def csv(n: int, prefix: str, **more: Any) -> bytes:
    return as_csv(plain(n, prefix, **more)).encode()


def test_a_log_that_is_written_overwritten_and_deleted(aws: Aws) -> None:
    aws.do("bucket", name="ml-logs")
    aws.put("ml-logs", "log/day=1/a b+c é.csv", csv(10, "a-"))
    aws.put("ml-logs", "log/day=2/a.csv.gz", gzip.compress(csv(20, "b-")), gzipped=True)
    aws.put("ml-logs", "log/day=2/", b"")
    source = config(aws, "ml-logs")
    shelf = pulled(source)
    assert counts(shelf) == (30, 30)
    aws.put("ml-logs", "log/day=1/a b+c é.csv", csv(7, "a-"))
    aws.put("ml-logs", "log/day=3/a.csv", csv(5, "c-"))
    assert counts(pulled(source, shelf)) == (32, 32)
    aws.do("delete", name="ml-logs", key="log/day=3/a.csv")
    assert counts(pulled(source, shelf, sweep=True)) == (32, 32)
    assert not shelf.findings
    urls = " ".join(aws.do("presigned", name="ml-logs", key=key) for key in ("log/day=1/a b+c é.csv",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_URLS", urls)
        assert counts(pulled(replace(source, presigned_env="S3_URLS", bucket=""))) == (7, 7)
    with pytest.raises(SourceRefused, match="the bucket other is not there"):
        pulled(replace(source, bucket="other"))


def test_pages_of_a_listing_are_those_of_the_library_and_of_the_replay_server(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of 40; the server that other tests ask lists the same objects in the same order."""
    monkeypatch.setattr(_s3_listing, "PAGE", 40)
    aws.do("bucket", name="many")
    aws.do("many", name="many", prefix="x/", count=100)
    for key in ("x/é", "x/a b", "x/%25", "x/~", "x/A"):
        aws.put("many", key, b"y")
    ours = S3(bucket="many")
    for key, etag, size, modified in aws.do("listed", name="many", prefix="x/", after=""):
        ours.put(key, b"y" * size, modified, etag)
    for after, pages in (("", 3), ("x/00050", 2), ("x/~", 1)):
        theirs = aws.do("listed", name="many", prefix="x/", after=after)
        with serve(ours.answer) as replay:
            for url in (aws.url, replay.url):
                with open_client(config(aws, "many"), url, token=("", "")) as client:
                    found = list(Bucket(client, "/many", "eu-central-1", "many").listed("x/", after))
                    assert [[one.key, one.etag, one.size, one.modified] for one in found] == theirs
                    assert client.requests_made == pages


def test_an_upload_in_parts_comes_in_pieces(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.do("bucket", name="parts")
    size = (11 << 20) + 123
    etag = aws.do("parts", name="parts", key="big.bin", size=size).strip('"')
    assert etag.endswith("-3")
    monkeypatch.setattr(_s3_mirror, "PIECE", 4 << 20)
    with open_client(config(aws, "parts"), aws.url, token=("", "")) as client:
        stored = Stored("big.bin", etag, size, 1)
        fetch_to(client, "/parts/big.bin", stored, tmp_path / "copy", lambda reply, done: AssertionError(reply.status))
        assert client.requests_made == 3
    assert (
        hashlib.sha256((tmp_path / "copy").read_bytes()).digest()
        == hashlib.sha256(hashlib.shake_256(b"parts").digest(size)).digest()
    )


@pytest.mark.parametrize("token", ["", "a/session+token=="])
def test_signatures_are_those_of_the_library(aws: Aws, token: str) -> None:
    """Also of keys and parameters that have to be written otherwise in a URL."""
    mine = Keys(KEYS["TANDEM_TEST_ACCESS_KEY"], KEYS["TANDEM_TEST_SECRET_KEY"], token, "the test")
    for url in (
        "http://127.0.0.1:9000/b?list-type=2&encoding-type=url&max-keys=1000&prefix=log%2Fday%3D1%2F&start-after=",
        "http://minio.internal/b?prefix=a%20b%2Bc~_.-&list-type=2&continuation-token=1%2F%3D%3D",
        "http://127.0.0.1:9000/b/log/day%3D1/a%20b%2Bc%20%C3%A9~.csv",
        "http://b.s3.eu-central-1.amazonaws.com/?list-type=2",
    ):
        told = signed(mine, "eu-central-1", "GET", url, 1_795_000_000.5)
        theirs = aws.do("signature", url=url, seconds=1_795_000_000, token=token)
        assert told["Authorization"].rpartition("=")[2] == theirs["Authorization"].rpartition("=")[2], url
