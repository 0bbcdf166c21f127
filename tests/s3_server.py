"""A bucket that answers as S3 documents it: pages of a listing, ranges, conditions, errors as XML, dated signatures.

`tests/test_s3_live.py` compares what is read of it with what is read of moto's server.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from tests.replay import Answer, Asked

NEW = 1_794_900_000
"""When an object was written, unless a test says otherwise."""
SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def error(status: int, code: str, more: str = "") -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>said</Message>{more}</Error>'
    return Answer(text, status, {"Content-Type": "application/xml"})


@dataclass
class Object:
    data: bytes
    modified: int
    etag: str
    storage: str = "STANDARD"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class S3:
    """One bucket behind a path; `page` is the most keys of a page, `key` the access key that is let in (None: all)."""

    bucket: str = "ml-logs"
    page: int = 1000
    key: str | None = None
    region: str = "us-east-1"
    now: Callable[[], float] = time.time
    objects: dict[str, Object] = field(default_factory=dict)

    def put(self, key: str, data: bytes, modified: int = NEW, etag: str = "", **more: object) -> None:
        tag = etag or hashlib.md5(data).hexdigest()
        self.objects[key] = Object(data, modified, tag, **more)  # type: ignore[arg-type]

    def answer(self, asked: Asked) -> Answer:
        refused = self._refused(asked)
        if refused is not None:
            return refused
        _, bucket, *key = asked.path.split("/", 2)
        if bucket != self.bucket:
            return error(404, "NoSuchBucket")
        return self._object(asked, unquote(key[0])) if key and key[0] else self._list(dict(asked.query))

    def _refused(self, asked: Asked) -> Answer | None:
        if self.key is None:
            return None
        told = asked.headers.get("authorization", "")
        known = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,SignedHeaders=([^,]+),"
            r"Signature=[0-9a-f]{64}", told,
        )  # fmt: skip
        if known is None:
            return error(403, "AccessDenied")
        if known[1] != self.key:
            return error(403, "InvalidAccessKeyId", f"<AWSAccessKeyId>{known[1]}</AWSAccessKeyId>")
        if known[3] != self.region:
            return error(400, "AuthorizationHeaderMalformed", f"<Region>{self.region}</Region>")
        if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(known[4].split(";")):
            return error(403, "SignatureDoesNotMatch")
        signed = datetime.strptime(asked.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return error(403, "RequestTimeTooSkewed") if abs(signed.timestamp() - self.now()) > 900 else None

    def _list(self, asked: dict[str, str]) -> Answer:
        if asked.get("list-type") != "2":
            return error(501, "NotImplemented")
        after = asked.get("continuation-token", asked.get("start-after", ""))
        keys = sorted((key for key in self.objects if key.startswith(asked.get("prefix", ""))), key=str.encode)
        keys = [key for key in keys if key.encode() > after.encode()]
        most = min(self.page, int(asked.get("max-keys", 1000)), 1000)
        some, more = keys[:most], len(keys) > most
        spelt = quote if asked.get("encoding-type") == "url" else escape
        parts = [f"<Name>{self.bucket}</Name><KeyCount>{len(some)}</KeyCount><MaxKeys>{most}</MaxKeys>",
                 f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"]  # fmt: skip
        for key in some:
            one = self.objects[key]
            when = datetime.fromtimestamp(one.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            parts.append(f"<Contents><Key>{spelt(key)}</Key><LastModified>{when}</LastModified>"
                         f"<ETag>&quot;{one.etag}&quot;</ETag><Size>{len(one.data)}</Size>"
                         f"<StorageClass>{one.storage}</StorageClass></Contents>")  # fmt: skip
        if more:
            parts.append(f"<NextContinuationToken>{escape(some[-1])}</NextContinuationToken>")
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult {SPACE}>{"".join(parts)}</ListBucketResult>'
        return Answer(text, 200, {"Content-Type": "application/xml"})

    def _object(self, asked: Asked, key: str) -> Answer:
        one = self.objects.get(key)
        if one is None:
            return error(404, "NoSuchKey", f"<Key>{escape(key)}</Key>")
        if asked.headers.get("if-match", f'"{one.etag}"') != f'"{one.etag}"':
            return error(412, "PreconditionFailed")
        if one.storage == "GLACIER":
            return error(403, "InvalidObjectState")
        headers = {"ETag": f'"{one.etag}"', "Last-Modified": _http_date(one.modified), **one.headers}
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", ""))
        if span is None:
            return Answer(one.data, 200, {**headers, "Content-Type": "binary/octet-stream"})
        begin, end = int(span[1]), min(int(span[2]) + 1, len(one.data))
        if begin >= len(one.data):
            return error(416, "InvalidRange")
        said = f"bytes {begin}-{end - 1}/{len(one.data)}"
        return Answer(
            one.data[begin:end], 206, {**headers, "Content-Range": said, "Content-Type": "binary/octet-stream"}
        )


def _http_date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
