"""CDEvents: builds, tests, deployments, rollbacks and incidents from files of events, bare or as CloudEvents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors._cdevents import BUILDS, STATUS, Objects, all_of
from connectors._files import documents, files_at, stamp
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting, status_of
from tandem.records import Event, Finding, Page

_MARK = re.compile(rb'"type"\s*:\s*"dev\.cdevents\.')
_FOLDER = 2000

ABOUT = About(
    reads="Builds, tests, deployments, rollbacks and incidents as CDEvents 0.1 to 0.6, from files.",
    signals=("build_success", "build_duration", "queue_time", "deploy_success", "deploy_duration", "test_success"),
    events=("build", "test_run", "deployment", "rollback", "infrastructure", "incident"),
    labels={
        "environment": "the id of the environment",
        "service": "the id of the service, or else the name of the artifact",
        "subject": "what the event is of: build, pipelinerun, testsuiterun, deployment, service, incident",
        "source": "the source of the subject",
        "pipeline": "the name of the pipeline or task",
        "artifact": "the name in the artifact's package URL",
        "chain": "the chain that the event belongs to",
        "suite": "the name of the test suite",
        "tests": "distinct tests that ran (on test runs), and failed how many of them failed",
        "failed_tests": "up to five names of tests that failed (on test runs)",
    },
    files=(
        "JSON Lines, or JSON documents and lists, also compressed: CDEvents bare or in CloudEvents (structured mode)",
    ),
    limits=(
        "An event that says again what another of the same source and id said counts once, in whichever file.",
        "Whenever a file is new or has grown, all files are read again, so that a beginning finds its end.",
        "The version in a type is not looked at; events of other types are counted and not used.",
        "A run that begins again after its end is another attempt of the same build or deployment.",
        "A finished build states no outcome: it succeeded where it names its artifact, otherwise it is excluded.",
        "Task runs are steps of pipelines and count as builds only where `builds` says so.",
        "A service that says it was deployed while a deployment of the same artifact tells of itself counts once.",
        "A run of a test suite that names none of its tests counts as one test.",
        "A service that was removed is a change of infrastructure that deployed nothing.",
        "Commit, version and digest are known where the package URL of the artifact has them (vcs_url, tag, version).",
        "Files of a folder belong together: imported one by one, an end does not find a beginning in another file.",
    ),
    status=STATUS,
    aliases=("cdevent", "cloudevents"),
    side="system",
    example="""\
connector = "cdevents"
name = "delivery"
path = "exports/cdevents/*.jsonl"          # a file, a folder or a glob
# builds = ["pipelinerun"]                 # what counts as a build: build, pipelinerun, taskrun
# timezone = "Europe/Berlin"               # of times without offset; without it such events are left out
  [[source.map]]
  component = "checkout-api"
  match = { service = "*checkout*" }
""",
)


@dataclass(frozen=True)
class Config:
    """Where the events lie, and which of them are builds."""

    common: Common
    path: Path | None = setting("A file, a folder or a glob.", default=None, example="exports/cdevents/*.jsonl")
    builds: tuple[str, ...] = setting(
        "The subjects that count as builds: build, pipelinerun, taskrun.", default=("build", "pipelinerun"),
        example=("pipelinerun",),
    )  # fmt: skip

    def __post_init__(self) -> None:
        wrong = sorted(set(self.builds) - set(BUILDS))
        if wrong:
            raise ValueError(f'builds knows {", ".join(BUILDS)}, not "{wrong[0]}".')


def scope(config: Config) -> str:
    """The path of the files."""
    return str(config.path or "")


def recognise(item: Item) -> bool:
    """Events of the types of CDEvents; a folder of nothing else, for its files belong together."""
    if item.entries:
        names = _readable(item)
        return bool(names) and all(recognise(item.child(name)) for name in names)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and _MARK.search(head) is not None


def _readable(folder: Item) -> list[str]:
    """The entries of a folder without notes to people; none where there are folders in it."""
    if len(folder.entries) > _FOLDER or any("/" in entry for entry in folder.entries):
        return []
    return [entry for entry in folder.entries if not entry.startswith(".") and not entry.endswith(".md")]


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What the events of one file say, or those of a folder together."""
    objects = _objects(config, item.given.timezone or config.common.timezone, ())
    for each in [item.child(entry) for entry in _readable(item)] if item.entries else [item]:
        all_of(documents(each), objects)
    yield from objects.pages()
    yield Page(covered=(), findings=objects.findings(item.name))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What all files say together, where one of them is new or has changed since the last pull."""
    if config.path is None:
        raise SourceRefused(f'set path = "FILE, FOLDER or GLOB" for the source "{config.common.name}".')
    found = list(_found(config.path, config))
    mark = stamp(found)
    if not pull.first and pull.state == mark:
        return
    objects = _objects(config, config.common.timezone, pull.open)
    refused: list[Finding] = []
    for each in found:
        pull.progress(each.name, None)
        try:
            all_of(documents(each), objects)
        except SourceRefused as error:
            refused.append(Finding("reject", str(error), each.name))
    yield from objects.pages()
    # What lies at or after the end of the pull is left for the next one, which must read it again.
    state = mark if objects.latest < pull.until else ""
    yield Page(state=state, findings=(*objects.findings(config.common.name), *refused))


def _objects(config: Config, zone: str | None, still: Sequence[Event]) -> Objects:
    known = {(one.kind, one.key): one for one in still}
    return Objects(lambda word: status_of(config, ABOUT, word), zone, config.builds, known)


def _found(path: Path, config: Config) -> Iterator[Item]:
    """The files of events, and the one that the path names by itself."""
    for item, alone in files_at(path, Given(timezone=config.common.timezone)):
        if alone or recognise(item):
            yield item
