"""A small repository's place in the fault matrix: runs over two pages, a re-run, deployments, a release."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from connectors import github
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.github_server import Repository
from tests.replay import Answer, Asked, Route

NOW = 1_794_990_000


def small_repository() -> Repository:
    repository = Repository()
    for number in range(1, 131):
        repository.run(number, NOW - 20_000 + number * 60, "success" if number % 5 else "failure", lasted=30)
    repository.rerun(7, NOW - 5000, "success")
    repository.run(900, NOW - 90_000, "success")
    for number in (1, 2):
        repository.deploy(number, NOW - 9000 + number)
        repository.status(number, NOW - 8000 + number, "in_progress")
        repository.status(number, NOW - 7000 + number, "success" if number == 1 else "failure")
    repository.release(1, NOW - 6000, "v1")
    return repository


def answer_of(repository: Repository) -> Route:
    def answer(asked: Asked) -> Answer:
        target = f"{asked.path}?{urlencode(asked.query)}" if asked.query else asked.path
        status, headers, body = repository.answer(target, asked.headers.get("if-none-match", ""))
        return Answer(b"" if body is None else body, status, headers)

    return answer


def config(url: str) -> github.Config:
    return github.Config(Common("github", "ci", token_env=faults.TOKEN_ENV), repository="acme/checkout", url=url)


def _is_list_of_runs(answer: Answer) -> bool:
    return isinstance(answer.body, dict) and "workflow_runs" in answer.body


def missing(asked: Asked, good: Answer) -> Answer:
    """Rows left out of a list that states how many there are."""
    if not _is_list_of_runs(good):
        return good
    return replace(good, body={**good.body, "workflow_runs": good.body["workflow_runs"][:-20]})


def reordered(asked: Asked, good: Answer) -> Answer:
    if _is_list_of_runs(good):
        return replace(good, body={**good.body, "workflow_runs": good.body["workflow_runs"][::-1]})
    return replace(good, body=good.body[::-1]) if isinstance(good.body, list) else good


def looping(asked: Asked, good: Answer) -> Answer:
    """A list that says there is always one more page."""
    if not _is_list_of_runs(good) and not isinstance(good.body, list):
        return good
    return replace(good, headers={**good.headers, "Link": f'<{asked.path}?page=2>; rel="next"'})


def elsewhere(asked: Asked, good: Answer) -> Answer:
    """A next page on another server, which nobody may follow with the token; no chain is known without it."""
    if not good.headers.get("Link"):
        return good
    return replace(good, headers={**good.headers, "Link": '<http://127.0.0.2:9/x>; rel="next"'})


@faults.register("github")
def case() -> faults.Case:
    repository = small_repository()
    still = Event("build", "900", NOW - 90_000, outcome="open")
    return faults.Case(
        module=github,
        config=config,
        answer=answer_of(repository),
        pull=Pull(NOW - 30_000, NOW, NOW, open=(still,), first=True),
        paging={"missing rows": missing, "reordered": reordered, "looping": looping, "elsewhere": elsewhere},
    )
