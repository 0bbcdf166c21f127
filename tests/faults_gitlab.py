"""A small project's place in the fault matrix: pipelines over two pages, a retry, a child, tests, deployments."""

from __future__ import annotations

from dataclasses import replace

from connectors import gitlab
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.gitlab_server import Project
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small_project() -> Project:
    project = Project(token=faults.TOKEN)
    for number in range(1, 103):
        project.pipeline(number, NOW - 20_000 + number * 60, "skipped")
    project.run(500, NOW - 9000, "failed")
    project.job(500, "unit", NOW - 8000, NOW - 7990)
    project.touch(500, NOW - 7930, "success")
    project.suite(500, "unit", 8, ("test_pay",))
    project.run(501, NOW - 8900, source="parent_pipeline")
    project.deploy(1, NOW - 6000)
    project.deploy(2, NOW - 5000, "failed")
    project.release("v1", NOW - 4000)
    return project


def config(url: str) -> gitlab.Config:
    return gitlab.Config(Common("gitlab", "ci", token_env=faults.TOKEN_ENV), url=url, projects=("acme/checkout",))


def missing(asked: Asked, good: Answer) -> Answer:
    """Rows left out of a list that states how many there are."""
    return replace(good, body=good.body[:-1]) if isinstance(good.body, list) else good


def reordered(asked: Asked, good: Answer) -> Answer:
    return replace(good, body=good.body[::-1]) if isinstance(good.body, list) else good


def repeated(asked: Asked, good: Answer) -> Answer:
    return replace(good, body=good.body * 2) if isinstance(good.body, list) else good


def looping(asked: Asked, good: Answer) -> Answer:
    """A list that says there is always one more page."""
    return replace(good, headers={**good.headers, "Link": f'<{asked.path}?page=2>; rel="next"'})


@faults.register("gitlab")
def case() -> faults.Case:
    still = Event("build", "900", NOW - 90_000, outcome="open", labels=(("project", "acme/checkout"),))
    return faults.Case(
        module=gitlab,
        config=config,
        answer=small_project().answer,
        pull=Pull(NOW - 30_000, NOW, NOW, open=(still,), first=True, sweep=True),
        paging={"missing rows": missing, "reordered": reordered, "looping": looping, "repeated": repeated},
    )
