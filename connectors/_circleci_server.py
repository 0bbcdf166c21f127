"""CircleCI's API v2 in one pull: the list of pipelines, and the details of what changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from connectors._circleci import Chosen, Job, Pipeline, Run, Words, grouped, job_of, pipeline_of, run_of
from connectors._circleci_tests import Tested, tested_of, with_tests
from connectors._circleci_tests import pieces as tests_told
from connectors._fields import Raw, Unusable, inside, rows_of, text_of, time_of
from connectors._http import Client
from connectors._memory import kept
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import DAY, HOUR, Event, Page, Record, Sample, Series, labels_of

HORIZON = 7 * DAY
"""How far back the daily sweep looks for workflows that were run again."""
RERUN = DAY
"""Seconds in which a workflow that did not pass is looked at in every pull, for it may be run again."""
KNOWN = 15_000
"""Workflows that are kept between pulls; forgetting costs requests, never a number."""
WATCHED = 500
"""Pipelines that are looked at again in the next pull; the daily sweep looks at all of the horizon."""
HOLES = 200
_LINGER = HOUR
"""Seconds in which a pipeline without any workflow may still get one."""
_PIECE = 200


@dataclass
class Memory:
    """What one pull leaves for the next: it saves requests, and `floor` is the time before which nothing was asked."""

    settings: str
    floor: int
    known: dict[str, str] = field(default_factory=dict)
    """How each workflow stood when its details were read, by the beginning of a digest of its id."""
    watch: dict[str, list[Any]] = field(default_factory=dict)
    """Pipelines that may change without a list that tells it."""
    holes: list[int] = field(default_factory=list)
    """Numbers of pipelines that the list does not have, though it has those around them."""
    walk: list[int] = field(default_factory=list)
    """(begin, number of the last pipeline that was read) of a pull that was cut."""

    def plain(self) -> dict[str, Any]:
        """The same as JSON, bounded."""
        self.known = dict(list(self.known.items())[-KNOWN:])
        self.watch = dict(list(self.watch.items())[-WATCHED:])
        return {"settings": self.settings, "floor": self.floor, "known": dict(self.known), "watch": dict(self.watch),
                "holes": self.holes[-HOLES:], "walk": list(self.walk)}  # fmt: skip


def remembered(config: Any, pull: Pull) -> Memory:
    """What the pull before this one left; nothing where it was told other settings."""
    return kept(Memory, config, pull, config.url, config.project, config.branches, config.workflows,
                config.tests, config.test_jobs, config.approvals)  # fmt: skip


@dataclass
class Reading:
    """One pull from the API."""

    client: Client
    config: Any
    pull: Pull
    memory: Memory
    words: Words = field(init=False)
    chosen: Chosen = field(init=False)
    pieces: list[Page] = field(default_factory=list)
    """Tests that were read and are not yet told; they come before the memory that knows them."""

    def __post_init__(self) -> None:
        self.words = Words(self.config, self.pull.until)
        self.chosen = Chosen(self.config)

    def pages(self) -> Iterator[Page]:
        """What is new, what goes on, and what may have been run again."""
        start = self.pull.since
        if self.pull.sweep and not self.pull.first:
            start = min(start, self.pull.until - (self.config.common.horizon or HORIZON))
        self.memory.floor = min(self.memory.floor, self.pull.since)
        start = max(start, self.memory.floor)
        listed = {one.id: one for one in self._listed(start)}
        again = {key: Pipeline(*told) for key, told in self.memory.watch.items() if key not in listed}
        gone: list[Event] = list(self._unlisted(listed, again))
        begun, done = self.memory.walk if self.memory.walk and self.memory.walk[0] <= start else (start, 0)
        ordered = sorted([*again.values(), *listed.values()], key=lambda one: (one.number, one.created))
        for place, pipeline in enumerate(ordered, 1):
            if pipeline.number <= done and pipeline.id not in again:
                continue
            self.pull.progress(f"pipeline {pipeline.number}", place / len(ordered))
            records = self._pipeline(pipeline)
            yield from self.pieces
            self.pieces.clear()
            if pipeline.id in listed:
                self.memory.walk = [begun, pipeline.number]
            if records or place % _PIECE == 0:
                yield Page(records, self.memory.plain())
        self.memory.walk = []
        if self.pull.sweep and self.config.insights:
            yield Page(list(self._insights()))
        yield Page(gone, self.memory.plain(), findings=self.words.findings(self.config.common.name))

    # pipelines

    def _listed(self, start: int) -> list[Pipeline]:
        """The pipelines made in [start, until); where their numbers lack some, the list is read once more."""
        found: dict[str, Pipeline] = {}
        for _ in range(2):
            for rows in self._walked(f"project/{quote(self.config.project, safe='/')}/pipeline"):
                made = [one for raw in rows if (one := self._usable(pipeline_of, raw)) is not None]
                found.update((one.id, one) for one in made)
                if made and min(one.created for one in made) < start:
                    break
            numbers = {one.number for one in found.values()}
            lacking = set(range(min(numbers, default=0), max(numbers, default=0))) - numbers
            if lacking <= set(self.memory.holes):
                break
        else:
            self.words.remark("numbers of pipelines are missing in the list; they may have been deleted", len(lacking))
        self.memory.holes = sorted(lacking)
        return [one for one in found.values() if start <= one.created < self.pull.until]

    def _unlisted(self, listed: dict[str, Pipeline], again: dict[str, Pipeline]) -> Iterator[Event]:
        """What was last seen open: its pipeline is read again, and what is no longer there is excluded."""
        gone: set[str] = set()
        for event in self.pull.open:
            key = event.key.partition("/")[0]
            if event.kind not in ("build", "approval") or key in listed or key in again:
                continue
            reply = None if key in gone else self.client.get(f"pipeline/{quote(key, safe='')}", accept=(200, 404))
            if reply is not None and reply.status == 200:
                again[key] = self._usable(pipeline_of, inside(reply.data)) or self._no_object("pipeline")
                continue
            gone.add(key)
            self.words.remark(f"an open {event.kind} is no longer there and is excluded")
            yield replace(event, outcome="excluded")

    def _pipeline(self, pipeline: Pipeline) -> list[Event]:
        """The events of a pipeline, where anything in it changed."""
        if not self.chosen.pipeline(pipeline):
            return []
        rows = self._whole(f"pipeline/{quote(pipeline.id, safe='')}/workflow")
        if rows is None:
            self.words.remark("a pipeline vanished while it was read")
            self.memory.watch.pop(pipeline.id, None)
            return []
        runs = [one for raw in rows if (one := self._usable(run_of, raw)) is not None]
        runs = [one for one in runs if one.created < self.pull.until and self.chosen.run(one)]
        events = list(self.words.errored(pipeline))
        groups = grouped(runs)
        for group in groups:
            fresh = [run for run in group if self._changed(run)]
            if fresh:
                events += self._group(pipeline, group, fresh)
        self._watch(pipeline, groups)
        return events

    def _changed(self, run: Run) -> bool:
        return self.words.stands(run) == "open" or self.memory.known.get(_short(run.id)) != run.status

    def _group(self, pipeline: Pipeline, runs: list[Run], fresh: list[Run]) -> list[Event]:
        """One workflow of a pipeline with all its attempts, `fresh` ones among them."""
        jobs: dict[str, list[Job]] = {}
        for run in runs:
            rows = self._whole(f"workflow/{quote(run.id, safe='')}/job")
            if rows is None:
                self.words.remark("the jobs of a workflow are no longer there")
            else:
                jobs[run.id] = [one for raw in rows if (one := self._usable(job_of, raw)) is not None]
        events = self.chosen.kept(self.words.attempts(pipeline, runs, jobs))
        if self.config.tests and any(self.words.stands(run) in ("good", "bad") for run in fresh):
            tests = {number: told for number, job in with_tests(runs, jobs, self.words).items()
                     if self.chosen.job(job) and (told := self._tests(number, job)).results}  # fmt: skip
            more, page = tests_told(pipeline, runs, jobs, tests, self.words)
            events += more
            # A build without tests is told too where it had some: then its piece takes the old one back.
            if page is not None and (tests or self.pull.taken(page.slice.name if page.slice else "") is not None):
                self.pieces.append(page)
        for run in fresh:
            self.memory.known.pop(_short(run.id), None)
            if self.words.stands(run) != "open":
                self.memory.known[_short(run.id)] = run.status
        return events

    def _tests(self, number: int, job: Job) -> Tested:
        path = f"project/{quote(self.config.project, safe='/')}/{number}/tests"
        return tested_of(self._whole(path) or [], job.status == "success", self.words)

    def _watch(self, pipeline: Pipeline, groups: list[list[Run]]) -> None:
        """Keeps a pipeline in sight while any workflow of it goes on, is still to come, or may be run again soon."""
        self.memory.watch.pop(pipeline.id, None)
        late = self.pull.until - RERUN
        if any(
            self.words.stands(runs[-1]) != "good"
            and (self.words.stands(runs[-1]) == "open" or (runs[-1].stopped or runs[-1].created) >= late)
            for runs in groups
        ) or (not groups and pipeline.state != "errored" and pipeline.created >= self.pull.until - _LINGER):
            self.memory.watch[pipeline.id] = pipeline.plain()

    # CircleCI's own figures

    def _insights(self) -> Iterator[Record]:
        """What CircleCI itself counted: flaky tests of its last two weeks, and credits of a week, as samples."""
        slug = quote(self.config.project, safe="/")
        reply = self.client.get(f"insights/{slug}/flaky-tests", accept=(200, 404))
        total = inside(reply.data).get("total_flaky_tests")
        if isinstance(total, int) and not isinstance(total, bool):
            series = Series("sample", labels_of({"project": self.config.project}), name="flaky tests (insights)")
            yield Sample(series, self.pull.until - 1, float(total))
        asked = (("reporting-window", "last-7-days"),)
        for raw in self._whole(f"insights/{slug}/workflows", asked) or ():
            used = inside(raw, "metrics").get("total_credits_used")
            ended = self._usable(lambda one: time_of(one, "window_end"), raw)
            if isinstance(used, int | float) and not isinstance(used, bool) and ended and ended < self.pull.until:
                told = labels_of({"project": self.config.project, "workflow": text_of(raw, "name")})
                yield Sample(Series("sample", told, name="credits of 7 days (insights)"), ended, float(used))

    # lists

    def _whole(self, path: str, params: Sequence[tuple[str, str]] = ()) -> list[Raw] | None:
        """All rows of a list, each once; None where it is not there."""
        found: dict[str, Raw] = {}
        try:
            for rows in self._walked(path, params):
                found.update((json.dumps(raw, sort_keys=True), raw) for raw in rows)
        except _Absent:
            return None
        return list(found.values())

    def _walked(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Iterator[list[Raw]]:
        """The pages of a list; each names the next by a token, and the last has none."""
        token, used = "", {""}
        while True:
            asked = [*params, *([("page-token", token)] if token else [])]
            reply = self.client.get(path, asked, accept=(200, 404))
            if reply.status == 404:
                if path.endswith("/pipeline"):
                    raise SourceRefused(
                        f'{self.config.common.name} finds no project "{self.config.project}"; check project, and that '
                        "the token may read it."
                    )
                raise _Absent
            if not isinstance(reply.data, dict) or not isinstance(reply.data.get("items"), list):
                self._no_object("list")
            yield rows_of(reply.data, "items")
            token = text_of(reply.data, "next_page_token")
            if not token:
                return
            if token in used:
                raise SourceDown(f"{path} leads round in a circle; it is asked again at the next pull.")
            used.add(token)

    def _usable(self, take: Any, raw: Raw) -> Any:
        """What `take` makes of an object; None, and the reason counted, for one that cannot be used."""
        try:
            return take(raw)
        except Unusable as error:
            self.words.reject(str(error))
            return None

    def _no_object(self, what: str) -> Any:
        raise SourceRefused(f"{self.config.common.name} got no {what}; check that url is a CircleCI server.")


class _Absent(Exception):
    """A list that is not there."""


def _short(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:12]
