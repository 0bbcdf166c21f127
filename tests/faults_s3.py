"""A bucket's place in the fault matrix: two pages of a listing, five test reports behind it."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from connectors import s3
from tandem.connect import Common, Pull
from tests import faults
from tests.replay import Answer, Asked
from tests.s3_server import NEW, S3

REPORT = """<testsuite name="checkout" timestamp="2026-11-1{day}T10:00:00+00:00" tests="2" failures="1" time="3">
<testcase classname="a" name="good" time="1"/><testcase classname="a" name="bad" time="2"><failure/></testcase>
</testsuite>"""
KEY = "AKIATESTTESTTEST"


def bucket() -> S3:
    server = S3(page=3, key=KEY, now=lambda: faults.START)
    for day in range(5):
        server.put(f"ci/2026-11-1{day}/report.xml", REPORT.format(day=day).encode(), NEW + 86_400 * day)
    return server


def config(url: str, **given: object) -> s3.Config:
    os.environ["TANDEM_TEST_ACCESS_KEY"] = KEY
    plain = {"bucket": "ml-logs", "prefix": "ci/", "format": "junit", "endpoint": url,
             "access_key_env": "TANDEM_TEST_ACCESS_KEY", "secret_key_env": faults.TOKEN_ENV}  # fmt: skip
    return s3.Config(Common("s3", "ci", component=("checkout",)), **{**plain, **given})  # type: ignore[arg-type]


def _page(rewrite: object) -> object:
    def fault(asked: Asked, good: Answer) -> Answer:
        listing = isinstance(good.body, str) and "<ListBucketResult" in good.body
        return replace(good, body=rewrite(good.body)) if listing else good  # type: ignore[operator]

    return fault


def _without_last(body: str) -> str:
    begin = body.rindex("<Contents>")
    return body[:begin] + body[body.index("</Contents>", begin) + len("</Contents>") :]


def _reversed(body: str) -> str:
    found = re.findall(r"<Contents>.*?</Contents>", body)
    return re.sub(r"<Contents>.*</Contents>", "".join(reversed(found)), body)


def _circle(body: str) -> str:
    again = "<IsTruncated>true</IsTruncated><NextContinuationToken>ci/2026-11-12/report.xml</NextContinuationToken>"
    return re.sub(r"<IsTruncated>.*</IsTruncated>", again, re.sub(r"<NextCont.*</NextContinuationToken>", "", body))


def _twice(body: str) -> str:
    found = re.findall(r"<Contents>.*?</Contents>", body)
    body = re.sub(r"<KeyCount>\d+", f"<KeyCount>{2 * len(found)}", body)
    return body.replace(found[0], "".join([*found, found[0]]), 1)


@faults.register("s3")
def case() -> faults.Case:
    return faults.Case(
        module=s3,
        config=config,
        answer=bucket().answer,
        pull=Pull(0, int(faults.START), int(faults.START), first=True),
        paging={"missing objects": _page(_without_last), "reordered": _page(_reversed), "looping": _page(_circle),
                "repeated": _page(_twice)},  # type: ignore[dict-item]
    )  # fmt: skip
