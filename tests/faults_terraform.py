"""HCP Terraform's place in the fault matrix: pages of runs and workspaces, one that goes on, one that did before."""

from __future__ import annotations

from dataclasses import replace

from connectors import terraform
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.replay import Answer, Asked
from tests.terraform_server import Terraform

NOW = 1_794_990_000


def small() -> Terraform:
    server = Terraform(page=4)
    for number in range(3, 9):
        server.workspaces[f"ws-{number}"] = (f"shop-{number}", False)
    for number in range(1, 10):
        status = "errored" if number % 4 == 0 else "applied"
        server.run(str(number), NOW - 9000 + 600 * number, status, workspace=f"ws-{number % 8 + 1}")
    server.run("20", NOW - 200, "planning")
    server.run("21", NOW - 400_000, "applied", every=79_980)
    server.assess("ws-1", "asmtres-1", NOW - 500, 2, 8)
    return server


def config(url: str) -> terraform.Config:
    common = Common("terraform", "tf", component=("shop",), token_env=faults.TOKEN_ENV)
    return terraform.Config(common, organization="acme", url=url, web="https://app.terraform.io")


def _rows(good: Answer) -> bool:
    return isinstance(good.body.get("data"), list)


def repeated(asked: Asked, good: Answer) -> Answer:
    return replace(good, body={**good.body, "data": good.body["data"] * 2}) if _rows(good) else good


def reordered(asked: Asked, good: Answer) -> Answer:
    return replace(good, body={**good.body, "data": good.body["data"][::-1]}) if _rows(good) else good


def short_of_workspaces(asked: Asked, good: Answer) -> Answer:
    """A row that is lost where a total states it."""
    if not asked.path.endswith("workspaces"):
        return good
    return replace(good, body={**good.body, "data": good.body["data"][:-1]})


def another(asked: Asked, good: Answer) -> Answer:
    """JSON of something else."""
    return Answer({"items": []})


@faults.register("terraform")
def case() -> faults.Case:
    still = Event("infrastructure", "run-21", NOW - 400_000, outcome="open", components=("shop",))
    return faults.Case(
        module=terraform, config=config, answer=small().answer,
        pull=Pull(NOW - 100_000, NOW, NOW, open=(still,), first=True),
        paging={"repeated": repeated, "reordered": reordered, "short": short_of_workspaces, "something else": another},
    )  # fmt: skip
