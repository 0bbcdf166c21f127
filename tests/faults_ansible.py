"""AWX's place in the fault matrix: pages of jobs and of hosts, one that goes on, one that went on before."""

from __future__ import annotations

from dataclasses import replace

from connectors import ansible
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.awx_server import Awx
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small() -> Awx:
    server = Awx(page=4)
    for number in range(1, 10):
        server.start(number, NOW - 9000 + 600 * number)
        server.finish(number, NOW - 8900 + 600 * number, "failed" if number % 3 == 0 else "successful",
                      web1={"changed": 2}, web2={"failures": int(number % 3 == 0)})  # fmt: skip
    server.start(20, NOW - 200)
    server.start(21, NOW - 90_000)
    server.finish(21, NOW + 100)
    return server


def config(url: str) -> ansible.Config:
    common = Common("ansible", "awx", component=("shop",), token_env=faults.TOKEN_ENV)
    return ansible.Config(common, url=url, web="https://awx.example.com")


def repeated(asked: Asked, good: Answer) -> Answer:
    if "results" not in good.body:
        return good
    return replace(good, body={**good.body, "results": good.body["results"] * 2})


def missing(asked: Asked, good: Answer) -> Answer:
    """A page without its last row, though the total counts it."""
    if not good.body.get("results"):
        return good
    return replace(good, body={**good.body, "results": good.body["results"][:-1]})


def looping(asked: Asked, good: Answer) -> Answer:
    if good.body.get("next") is None:
        return good
    return replace(good, body={**good.body, "next": f"{asked.path}?page=1"})


def another(asked: Asked, good: Answer) -> Answer:
    """JSON of something else."""
    return Answer({"items": []})


@faults.register("ansible")
def case() -> faults.Case:
    still = Event("infrastructure", "21", NOW - 90_000, outcome="open", components=("shop",))
    return faults.Case(
        module=ansible, config=config, answer=small().answer,
        pull=Pull(NOW - 100_000, NOW, NOW, open=(still,), first=True),
        paging={"repeated": repeated, "missing": missing, "looping": looping, "something else": another},
    )  # fmt: skip
