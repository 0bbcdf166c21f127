"""Spinnaker: deployments and rollbacks of pipelines and of tasks given by hand, from Gate or from saved answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connectors._fields import Unusable
from connectors._files import documents
from connectors._http import open_client
from connectors._spinnaker import DEPLOYS, STATUS, Words, execution_of
from connectors._spinnaker_server import HORIZON, Reading, remembered
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Event, Page

_PIECE = 500
_APPLICATION = re.compile(rb'"application"\s*:\s*"([^"]+)"')
_MARKS = tuple(
    tuple(re.compile(pattern) for pattern in patterns)
    for patterns in (
        (rb'"application"\s*:', rb'"buildTime"\s*:\s*\d{13}',
         rb'"(?:pipelineConfigId|spelEvaluator|limitConcurrent|requisiteStageRefIds|syntheticStageOwner)"\s*:'),
        (rb'"buildTime"\s*:\s*\d{13}', rb'"steps"\s*:\s*\[', rb'"variables"\s*:'),
    )
)  # fmt: skip
"""Of one line all must stand in a file's beginning."""

ABOUT = About(
    reads="deployments and rollbacks of Spinnaker's pipelines and tasks, from Gate's API or from saved answers",
    signals=("deploy_success", "deploy_duration"),
    events=("deployment", "rollback"),
    labels={
        "application": "the application of the pipeline or task",
        "pipeline": "the name of the pipeline",
        "task": "what the task was called that somebody gave by hand",
        "stage": "the name of the stage",
        "type": "the type of the stage, as deployManifest",
        "account": "the account that it deployed to (of several: joined by a comma)",
        "namespace": "the namespace or location that it deployed to",
        "cluster": "the cluster that it deployed to",
        "images": "the images of containers that it deployed",
        "status": "how it ended, in Spinnaker's own word",
        "restarted_by": "who restarted the stage",
    },
    files=(
        "spin pipeline execution list ..., spin pipeline execution get ID",
        "answers of Gate: executions/search, pipelines/ID, applications/NAME/tasks",
    ),
    horizon=HORIZON,
    limits=(
        "A stage that deploys is one deployment, from its start to its end; one that never began is none.",
        "What a stage starts itself is part of it; a rollback that it starts is a rollback of its own.",
        "A job that a pipeline runs deploys nothing, unless deploy_stages names its type.",
        "The list leaves out what stages did: each execution with a deployment costs one request more, until it ended.",
        "Executions are listed by when they were triggered: those that run are asked for by their status.",
        "A stage that is restarted is another attempt; one restarted and over between two pulls waits for the sweep.",
        "Tag and digest are known where a stage deploys one image, the commit where a trigger names one.",
        "What the server has purged before it was read is not told.",
    ),
    status=STATUS,
    aliases=("gate", "spin"),
    side="system",
    example="""\
connector = "spinnaker"
name = "spinnaker"
url = "https://spinnaker-api.example.com"  # Gate, the API; or "file:exports/spinnaker"
applications = ["checkout"]
token_env = "SPINNAKER_TOKEN"              # a bearer token; with user a password, with session a cookie
# user = "tandem"                          # log in with a name and the token as password
# session = true                           # the token is the value of the cookie SESSION
# certificate = "client.crt"               # log in with a certificate (usually port 8085)
# key = "client.key"
# web = "https://spinnaker.example.com"    # Deck, where people look: links lead there
# tasks = true                             # what somebody did by hand in Deck counts too
# deploy_stages = ["deploy", "deployManifest", "runJobManifest"]
  [[source.map]]
  component = "checkout-api"
  match = { application = "checkout", account = "prod*" }
""",
)


@dataclass(frozen=True)
class Config:
    """Some applications of one Spinnaker."""

    common: Common
    url: str = setting('Gate, or "file:DIR".', default="", example="https://spinnaker-api.example.com")
    applications: tuple[str, ...] = setting("Names of applications.", default=(), example=("checkout",))
    web: str = setting("Deck, where people look.", default="", example="https://spinnaker.example.com")
    user: str = setting("The user whose password the token is.", default="", example="tandem")
    session: bool = setting("Whether the token is the value of the cookie SESSION.", default=False)
    certificate: Path | None = setting("A client certificate.", default=None, example="client.crt")
    key: Path | None = setting("Its key.", default=None, example="client.key")
    tasks: bool = setting("Whether tasks that somebody gave by hand count.", default=True)
    deploy_stages: tuple[str, ...] = setting(
        "Types of stages that deploy; left out: the usual ones.", default=(), example=DEPLOYS[:2]
    )


def scope(config: Config) -> str:
    """The address of Gate and the applications."""
    parts = urlsplit(config.url)
    base = config.url if config.url.startswith("file:") else f"{parts.netloc}{parts.path}".rstrip("/").lower()
    return f"{base}#{','.join(sorted(config.applications))}"


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The deployments of what was triggered in [since, until), and of what still runs."""
    if not config.applications:
        raise SourceRefused(f'set applications = ["NAME"] for the source "{config.common.name}".')
    login: dict[str, Any] = {"user": config.user}
    if config.session:
        login = {"token_header": "Cookie", "token_prefix": "SESSION="}
    if (config.certificate is None) != (config.key is None):
        raise SourceRefused(f'give both certificate and key for the source "{config.common.name}".')
    if config.certificate is not None and config.key is not None:
        login["identity"] = (config.certificate, config.key)
    with open_client(config, config.url, **login) as client:
        yield from Reading(client, config, pull, remembered(config, pull)).pages()


# -- saved answers


def recognise(item: Item) -> bool:
    """Executions and tasks as Gate answers them, or as spin prints them."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and any(all(mark.search(head) for mark in marks) for marks in _MARKS)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may be of these applications: it names one of them, or none at all."""
    named = {name.decode("utf-8", "replace") for name in _APPLICATION.findall(item.head)}
    return recognise(item) and (not named or not config.applications or bool(named & set(config.applications)))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The deployments and rollbacks of one file."""
    words = Words(config)
    events: dict[tuple[str, str, int], Event] = {}
    for document in documents(item):
        for raw in document if isinstance(document, list) else [document]:
            try:
                one = execution_of(raw)
            except Unusable as error:
                words.reject(str(error))
                continue
            if config.applications and one.application not in config.applications:
                words.reject("executions of other applications than those that are configured are left out")
                continue
            if one.stages and not one.detailed:
                words.remark("an execution without what its stages did: list it with expand=true, or get it by its id")
            for event in words.events(one) if config.tasks or not one.task else ():
                known = events.get((event.kind, event.key, event.attempt), event)
                events[event.kind, event.key, event.attempt] = max(known, event, key=lambda told: told.revision)
    told = sorted(events.values(), key=lambda event: (event.ts, event.key))
    for begin in range(0, len(told), _PIECE):
        yield Page(told[begin : begin + _PIECE])
    yield Page(findings=words.findings(item.name))
