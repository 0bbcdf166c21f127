"""CircleCI: workflows with all their re-runs, approvals and tests, from API v2 or from saved answers and webhooks.

Nothing in a list tells that a workflow was run again: the workflows of pipelines that may be are asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors._circleci import STATUS, Chosen, Words, grouped, slug_of
from connectors._circleci_files import MARKS, Saved, alone
from connectors._circleci_server import HORIZON, Reading, remembered
from connectors._circleci_tests import pieces, tested_of, with_tests
from connectors._files import documents
from connectors._http import open_client
from connectors._together import all_are, parts
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Event, Page

SERVER = "https://circleci.com"
_PIECE = 200
_SLUG = re.compile(rb'"(?:project_)?slug"\s*:\s*"([^"/]+/[^"]+/[^"]+)"')

ABOUT = About(
    reads="workflows of a CircleCI project with their re-runs, approvals and tests, from API v2 or from saved answers",
    signals=("build_success", "build_duration", "queue_time", "test_success", "flaky"),
    events=("build", "approval", "test_run"),
    labels={
        "project": 'the slug of the project, as "gh/acme/checkout"',
        "workflow": "the name of the workflow",
        "branch": "the branch",
        "tag": "the tag in version control",
        "trigger": "what made the pipeline: webhook, api, schedule, explicit",
        "status": "how it ended, in CircleCI's own word",
        "setup": '"true" for a workflow that only makes the configuration of others',
        "committed_at": "when the commit was written (webhooks)",
        "job": "the job, of approvals",
        "suite": "the job, of test runs",
        "tests": "tests that ran (on test runs)",
        "failed": "tests that failed (on test runs)",
        "flaky": "tests that failed and then passed in one job (on test runs)",
        "skipped": "tests that were skipped (on test runs)",
        "test": "the test, on the event of one that failed or was flaky",
        "result": '"failed" or "flaky", on the event of a test',
        "lost": "seconds of the tries of a test that failed, on its event",
        "of": "the key of the job's run of tests, on the event of a test",
    },
    files=(
        "answers of API v2: pipelines, workflows, single jobs",
        "a workflow's jobs in a file named after its id; a job's tests in tests-NUMBER.json",
        "webhook deliveries as JSON or JSON Lines (workflow-completed, job-completed)",
    ),
    horizon=HORIZON,
    limits=(
        "A re-run is another attempt of the same build, whether from its start, from what had failed, or automatic.",
        "A re-run changes no list: within a day of a failure it is seen at the next pull, else by the daily sweep.",
        "What a re-run from failed takes over from the workflow before it ran once, and counts there.",
        "A build lasts as long as any of its jobs ran: waiting for an approval is left out where its jobs are known.",
        "An approval was given at the latest when the first job after it began; CircleCI does not say it itself.",
        "A pipeline whose configuration is wrong runs no workflow and is a build that failed.",
        "A changed workflow costs a request for its jobs and one for each job's tests; test_jobs chooses the jobs.",
        "Each test counts as it came out last in any attempt; one that both failed and passed in a pipeline is flaky.",
        "Insights lag up to a day and forget after 90 days: they are samples, and never count.",
    ),
    status=STATUS,
    aliases=("circle_ci", "circle"),
    side="system",
    example="""\
connector = "circleci"
name = "checkout-circle"
project = "gh/acme/checkout"               # the slug: vcs/organization/repository, or circleci/ORG-ID/PROJECT-ID
component = "checkout-api"
token_env = "CIRCLECI_TOKEN"               # a personal API token
# url = "https://circleci.example.com"     # an own server, or "file:exports/circleci"
# branches = ["main", "release/*"]         # whose pipelines count; left out: all
# workflows = ["build*"]                   # which workflows count; left out: all
# tests = true
# test_jobs = ["unit*"]                    # jobs that store test results; left out: all, at a request for each
# approvals = true
# insights = true                          # CircleCI's own figures, once a day, as samples
""",
)


@dataclass(frozen=True)
class Config:
    """One project."""

    common: Common
    project: str = setting("The slug of the project.", default="", example="gh/acme/checkout")
    url: str = setting('The server, or "file:DIR".', default=SERVER, example=SERVER)
    branches: tuple[str, ...] = setting("Globs of branches or tags that count.", default=(), example=("main",))
    workflows: tuple[str, ...] = setting("Globs of workflows that count.", default=(), example=("build*",))
    tests: bool = setting("Whether test results are read.", default=True)
    test_jobs: tuple[str, ...] = setting("Globs of jobs that store test results.", default=(), example=("unit*",))
    approvals: bool = setting("Whether approvals are events.", default=True)
    insights: bool = setting("Whether CircleCI's own insights are read, as samples.", default=False)


def scope(config: Config) -> str:
    """The server and the project; files are those of the public server."""
    host = urlsplit(SERVER if config.url.startswith("file:") else config.url).netloc
    return f"{host}/{_slug(config.project)}"


def _slug(project: str) -> str:
    return slug_of(project.strip("/")).lower()


# -- files


def recognise(item: Item) -> bool:
    """Objects of API v2 or of webhooks; a folder of nothing else, for its files belong together."""
    if item.entries:
        return all_are(item, recognise)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and any(all(mark.search(head) for mark in marks) for marks in MARKS)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may hold objects of this project: it names it, or none at all."""
    heads = [one.head for one in parts(item)]
    named = {_slug(name.decode("utf-8", "replace")) for head in heads for name in _SLUG.findall(head)}
    return not named or not config.project or _slug(config.project) in named


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The events of one file, or of a folder whose files belong together; tests without a job by the file's time."""
    words, saved = Words(config), Saved()
    for each in parts(item):
        for document in documents(each):
            saved.add(document, each, words)
    chosen = Chosen(config)
    events: list[Event] = []
    for pipeline in sorted(saved.pipelines(words), key=lambda one: (one.created, one.id)):
        if config.project and _slug(pipeline.project) != _slug(config.project):
            words.reject("objects of another project than the one that is configured are left out")
            continue
        if not chosen.pipeline(pipeline):
            continue
        events += words.errored(pipeline)
        for runs in grouped([one for one in saved.runs.get(pipeline.id, {}).values() if chosen.run(one)]):
            told = chosen.kept(words.attempts(pipeline, runs, saved.jobs))
            tests = {
                number: tested_of(saved.tests.pop(number), job.status == "success", words)
                for number, job in with_tests(runs, saved.jobs, words).items()
                if config.tests and number in saved.tests
            }
            more, page = pieces(pipeline, runs, saved.jobs, tests, words) if tests else ([], None)
            events += [*told, *more]
            if page is not None:
                yield page
    if config.tests:
        yield from (alone(rows, item, config, words) for rows in [*saved.tests.values(), *saved.loose])
    for begin in range(0, len(events), _PIECE):
        yield Page(events[begin : begin + _PIECE])
    yield Page(findings=words.findings(item.name))


# -- the API


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The workflows of pipelines made in [since, until), and of those before them that may have changed."""
    if config.project.count("/") != 2:
        raise SourceRefused(f'set project = "gh/organization/repository" for the source "{config.common.name}".')
    base = config.url.rstrip("/")
    if not base.startswith("file:") and not base.endswith("/api/v2"):
        base += "/api/v2"
    with open_client(config, base, token_header="Circle-Token", token_prefix="") as client:  # noqa: S106  no secret
        yield from Reading(client, config, pull, remembered(config, pull)).pages()
