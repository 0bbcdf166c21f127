"""A small server's place in the fault matrix: a folder, branches, builds over two pages, tests, stages, one open."""

from __future__ import annotations

from dataclasses import replace

from connectors import jenkins
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.jenkins_server import FOLDER, MANY, Jenkins
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small_server() -> Jenkins:
    server = Jenkins(login=f"tandem:{faults.TOKEN}")
    server.folders = {"shop": FOLDER, "shop/checkout": MANY}
    for number in range(1, 131):
        server.build("nightly", number, NOW - 28_000 + number * 200)
    server.build("shop/checkout/main", 7, NOW - 9000, "FAILURE")
    server.stages["shop/checkout/main#7"] = [("Build", "SUCCESS"), ("Test", "FAILED")]
    server.build("shop/checkout/main", 8, NOW - 8000, "UNSTABLE")
    server.tested("shop/checkout/main", 8, 9, ("pay",))
    server.build("shop/old", 3, NOW - 90_000, "SUCCESS", lasted=80_000)
    return server


def config(url: str) -> jenkins.Config:
    common = Common("jenkins", "ci", component=("shop",), token_env=faults.TOKEN_ENV)
    return jenkins.Config(common, url=url, user="tandem")


def _listed(answer: Answer) -> bool:
    return isinstance(answer.body, dict) and "allBuilds" in answer.body


def missing(asked: Asked, good: Answer) -> Answer:
    """The oldest row of a page left out."""
    return replace(good, body={**good.body, "allBuilds": good.body["allBuilds"][:-1]}) if _listed(good) else good


def reordered(asked: Asked, good: Answer) -> Answer:
    return replace(good, body={**good.body, "allBuilds": good.body["allBuilds"][::-1]}) if _listed(good) else good


def repeated(asked: Asked, good: Answer) -> Answer:
    return replace(good, body={**good.body, "allBuilds": good.body["allBuilds"] * 2}) if _listed(good) else good


@faults.register("jenkins")
def case() -> faults.Case:
    still = Event("build", f"shop/old#3@{NOW - 90_000}", NOW - 90_000, outcome="open", labels=(("job", "shop/old"),))
    return faults.Case(
        module=jenkins,
        config=config,
        answer=small_server().answer,
        pull=Pull(NOW - 30_000, NOW, NOW, open=(still,), first=True),
        paging={"missing rows": missing, "reordered": reordered, "repeated": repeated},
    )
