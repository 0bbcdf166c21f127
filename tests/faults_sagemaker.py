"""A bucket of SageMaker's files in the fault matrix: a listing over pages, three hours behind it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from connectors import sagemaker
from tandem.connect import Common, Pull
from tests import faults
from tests import sagemaker_files as made
from tests.replay import Answer, Asked
from tests.s3_server import S3

KEY = "AKIATESTTESTTEST"
T0 = 1_793_491_200


def config_of(url: str, **given: Any) -> sagemaker.Config:
    os.environ["TANDEM_TEST_ACCESS_KEY"] = KEY
    common = Common("sagemaker", "monitor", component=("claims",))
    keys = {"access_key_env": "TANDEM_TEST_ACCESS_KEY", "secret_key_env": faults.TOKEN_ENV, "session_token_env": ""}
    plain: dict[str, Any] = {"bucket": "ml-logs", "prefix": "m/", "server": url, **keys}
    return sagemaker.Config(common, **{**plain, **given})


def bucket() -> S3:
    server = S3(page=4, key=KEY, now=lambda: faults.START)
    for number in range(3):
        at = T0 + number * 3600
        some = {"x": [float(n + number) for n in range(500)], "site": ["a", "b"] * 250}
        for name, document in (("statistics.json", made.statistics(some)), ("constraints.json", made.RULES),
                               ("constraint_violations.json", made.violations(made.drifted("x")))):  # fmt: skip
            server.put(f"m/{made.folder(at)}/{name}", made.data(document), at + 4000)
    return server


def reordered(asked: Asked, good: Answer) -> Answer:
    """Objects the other way round."""
    if not isinstance(good.body, str) or "<Contents>" not in good.body:
        return good
    head, *parts = good.body.split("<Contents>")
    last, end = parts[-1].split("</Contents>", 1)
    some = [*(part.removesuffix("</Contents>") for part in parts[:-1]), last]
    return replace(good, body=head + "".join(f"<Contents>{one}</Contents>" for one in reversed(some)) + end)


@faults.register("sagemaker")
def case() -> faults.Case:
    return faults.Case(
        module=sagemaker,
        config=config_of,
        answer=bucket().answer,
        pull=Pull(0, int(faults.START), int(faults.START), first=True),
        paging={"reordered": reordered},
    )
