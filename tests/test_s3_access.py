"""Who may ask a bucket, and how: keys, signatures, presigned URLs, refusals as sentences, wrong configurations."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors import s3
from connectors._s3_access import Keys, signed
from tandem.config import parse
from tandem.connect import Pull, SourceRefused
from tests import faults, faults_s3
from tests.faults_s3 import KEY
from tests.replay import Answer, Asked, serve
from tests.s3_server import S3
from tests.test_predictions import in_this_process
from tests.test_s3 import FAR, Followed, Reports, counts, csv, keys, reports_of, rows_of

__all__ = ["in_this_process", "keys"]


# -- who asks


def test_the_signature_is_the_documented_one() -> None:
    """The example "GET Bucket (List Objects)" of Amazon's reference of signature version 4."""
    example = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", "an example")
    url = "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J"
    told = signed(example, "us-east-1", "GET", url, datetime(2013, 5, 24, tzinfo=UTC).timestamp())
    wanted = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert told["Authorization"].endswith(f"Signature={wanted}")
    assert "EXAMPLEKEY" not in repr(example)


def test_every_try_is_signed_anew() -> None:
    """A server that asks to wait for ten minutes twice: the signature of the first try would have expired."""
    waits = iter([True, True])

    with faults.virtual() as clock:
        bucket = faults_s3.bucket()
        bucket.now = lambda: clock.time

        def answer(asked: Asked) -> Answer:
            good = bucket.answer(asked)
            return Answer("SlowDown", 503, {"Retry-After": "440"}) if next(waits, False) else good

        with serve(answer) as server:
            source = Followed(server, Reports)
            source.pull(reports_of(server))
    assert source.shelf.tests() == (5, 10)
    assert clock.time - faults.START == 880


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "bucket": ({"bucket": "other"}, "the bucket other is not there; check bucket and endpoint."),
    "region": ({"region": "eu-west-1"}, 'the bucket ml-logs lies in the region us-east-1; set region = "us-east-1".'),
    "anonymous": (
        {"credentials": "none"},
        "may not be listed; allow s3:ListBucket on the bucket, or check credentials.",
    ),
    "unset": ({"access_key_env": "NOT_SET_HERE"}, "the environment variable NOT_SET_HERE is not set;"),
    "prefix": ({"prefix": "nothing/"}, "holds no object with that prefix"),
}


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_refusals_say_what_to_do(name: str) -> None:
    change, said = REFUSALS[name]
    with faults.virtual(faults.PATIENT), serve(faults_s3.bucket().answer) as server, pytest.raises(SourceRefused) as no:
        list(s3.fetch(reports_of(server, **change), Pull(0, FAR, FAR)))
    assert said in str(no.value)
    assert str(no.value).count("\n") == 0
    assert faults.TOKEN not in str(no.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [("ExpiredToken", "have expired"), ("SignatureDoesNotMatch", "refuses the keys"), ("RequestTimeTooSkewed", "clock"),
     ("PermanentRedirect", "region eu-west-3"), ("<b>", "cannot be listed")],
)  # fmt: skip
def test_errors_of_the_server_are_sentences(code: str, said: str) -> None:
    region = {"x-amz-bucket-region": "eu-west-3"} if code == "PermanentRedirect" else {}
    status = 301 if region else 400
    body = f"<Error><Code>{code}</Code><Message>{faults.TOKEN} {KEY}</Message></Error>"
    with serve(lambda asked: Answer(body, status, region)) as server, pytest.raises(SourceRefused) as refused:
        list(s3.fetch(reports_of(server), Pull(0, FAR, FAR)))
    assert said in str(refused.value)
    assert faults.TOKEN not in str(refused.value)


def test_keys_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text(f"[default]\nx = 1\n[work]\naws_access_key_id = {KEY}\naws_secret_access_key = s%cret\n")
    path.chmod(0o600)
    with faults.virtual(faults.PATIENT), serve(faults_s3.bucket().answer) as server:
        config = reports_of(server, credentials="profile", profile="work", credentials_file=path)
        assert len(list(s3.fetch(config, Pull(0, FAR, FAR)))) > 5
        with pytest.raises(SourceRefused, match=r"under \[default\]; check profile"):
            list(s3.fetch(replace(config, profile="default"), Pull(0, FAR, FAR)))
        path.chmod(0o644)
        with pytest.raises(SourceRefused, match="can be read by other users"):
            list(s3.fetch(config, Pull(0, FAR, FAR)))


def test_keys_of_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's own library is asked where it is installed, and named where it is not."""
    found: list[Any] = [SimpleNamespace(access_key=KEY, secret_key="lent", token="a/session+token==")]
    credentials = SimpleNamespace(get_frozen_credentials=lambda: found[0])
    session = SimpleNamespace(get_credentials=lambda: credentials if found[0] else None)

    class Trouble(Exception):
        """What the library raises."""

    monkeypatch.setitem(sys.modules, "botocore.session", SimpleNamespace(get_session=lambda: session))
    monkeypatch.setitem(sys.modules, "botocore.exceptions", SimpleNamespace(BotoCoreError=Trouble))
    with faults.virtual(faults.PATIENT), serve(faults_s3.bucket().answer) as server:
        config = reports_of(server, credentials="chain")
        assert len(list(s3.fetch(config, Pull(0, FAR, FAR)))) > 5
        assert {one.headers["x-amz-security-token"] for one in server.asked} == {"a/session+token=="}
        found[0] = None
        with pytest.raises(SourceRefused, match="finds none; sign in, or give this machine a role"):
            list(s3.fetch(config, Pull(0, FAR, FAR)))
        monkeypatch.setitem(sys.modules, "botocore.session", None)
        with pytest.raises(SourceRefused, match=r"install tandem-health\[s3\]"):
            list(s3.fetch(config, Pull(0, FAR, FAR)))


def test_presigned_urls_need_no_keys_and_are_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = S3()
    for name in ("a", "b"):
        bucket.put(f"log/{name}.csv", csv(10, f"{name}-"))
    proof = f"X-Amz-Credential={KEY}%2F20261121&X-Amz-Signature={faults.TOKEN}"
    with serve(bucket.answer) as server:
        monkeypatch.setenv("S3_URLS", " ".join(f"{server.url}/ml-logs/log/{name}.csv?{proof}" for name in "ab"))
        config = rows_of(server, bucket="", presigned_env="S3_URLS")
        source = Followed(server)
        source.pull(config)
        assert counts(source.shelf) == (20, 20)
        assert not any("authorization" in one.headers for one in server.asked)
        assert len(source.pull(config)) == 2, "one byte of each says whether it changed"
        bucket.put("log/b.csv", csv(12, "b-"))
        assert len(source.pull(config)) == 3
        assert counts(source.shelf) == (22, 22)
        assert faults.TOKEN not in json.dumps([source.shelf.state, source.shelf.digests])
        bucket.objects.clear()
        with pytest.raises(SourceRefused, match="expired, make it again") as refused:
            source.pull(config)
        assert faults.TOKEN not in str(refused.value)


# -- the configuration

WRONG = [
    ('bucket = "s3://ml-logs/x"', "bucket must be the name of a bucket alone"),
    ('secret_key_env = "wJalrXUtnFEMI/K7MDENG"', "never the secret itself"),
    ('format = "predictons"', 'no connector "predictons"'),
    ('format = "predictions"\n[source.settings]\ntask = "binary"', 'lacks the key "id"'),
    ('format = "predictions"\n[source.settings]\nidd = "x"', 'unknown key "idd"; the nearest known one is "id"'),
    ('format = "predictions"\n[source.settings]\npath = "x"', 'unknown key "path"'),
    ('[source.settings]\ntask = "binary"', "settings need a format"),
    ("bucket = \"\"", "name a bucket"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_a_wrong_configuration_is_refused_at_once(line: str, said: str) -> None:
    bucket = "" if line.startswith("bucket") else 'bucket = "ml-logs"\n'
    text = f'[[component]]\nname = "m"\nkind = "model"\n[[source]]\nconnector = "s3"\nname = "x"\n{bucket}{line}\n'
    with pytest.raises(ValueError) as refused:
        parse(text, Path("/somewhere/tandem.toml"))
    assert said in str(refused.value)
    assert "wJalr" not in str(refused.value)
