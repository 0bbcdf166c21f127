"""What GitHub says of runs, deployments and releases, as events: the same functions for replies, exports and hooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, Unusable, text_of, time_of
from connectors._said import Said
from tandem.records import Event, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "success": "good",
    "failure": "bad",
    "timed_out": "bad",
    "startup_failure": "bad",
    "error": "bad",
    "cancelled": "excluded",
    "skipped": "excluded",
    "neutral": "excluded",
    "stale": "excluded",
    "action_required": "excluded",
    "inactive": "excluded",
    "queued": "open",
    "requested": "open",
    "waiting": "open",
    "pending": "open",
    "in_progress": "open",
}

FOREVER = 1 << 40
"""Later than every time; `events(FOREVER)` leaves nothing out."""
_DECIDED = 1 << 33
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_API = re.compile(r"/repos/([^/?#]+/[^/?#]+)")
_PAGE = re.compile(r"https?://[^/]+/([^/?#]+/[^/?#]+)/(?:actions|releases|deployments)\b")
_EXPORT = {
    "id": "databaseId",
    "run_attempt": "attempt",
    "created_at": "createdAt",
    "run_started_at": "startedAt",
    "updated_at": "updatedAt",
    "status": "status",
    "conclusion": "conclusion",
    "name": "workflowName",
    "head_branch": "headBranch",
    "head_sha": "headSha",
    "event": "event",
    "display_title": "displayTitle",
    "html_url": "url",
}
_EXPORT_NEEDS = ("databaseId", "attempt", "conclusion", "createdAt")
_LISTS = ("workflow_runs", "deployments", "releases", "statuses")


@dataclass
class _Deployment:
    raw: Raw = field(default_factory=dict)
    statuses: dict[str, Raw] = field(default_factory=dict)
    complete: bool = False


@dataclass
class Objects(Said):
    """Everything one reply, file or folder says; of each object the newest word counts, in whatever order it came.

    `config` is the connector's; its repository, filters and status table decide what becomes an event.
    """

    meanings = STATUS
    _events: dict[tuple[str, str, int], Event] = field(default_factory=dict)
    _deployments: dict[str, _Deployment] = field(default_factory=dict)

    def add(self, document: Any) -> None:
        """One document of a file: an object, a list of them, a page of the API, or a webhook delivery."""
        if isinstance(document, list):
            for each in document:
                self.add(each)
            return
        if not isinstance(document, dict):
            self.reject("what is there is no object of GitHub")
            return
        try:
            self._object(_delivered(document))
        except Unusable as error:
            self.reject(str(error))

    def _object(self, raw: Raw) -> None:
        if any(isinstance(raw.get(name), list) for name in _LISTS) and "id" not in raw:
            for name in _LISTS:
                self.add(raw.get(name, []))
        elif "action" in raw or ("repository" in raw and "id" not in raw):
            self._delivery(raw)
        elif "databaseId" in raw:
            self.run(_from_export(raw), reduced=True)
        elif "run_attempt" in raw:
            self.run(raw)
        elif "deployment_url" in raw:
            self.status(text_of(raw, "deployment_url").rpartition("/")[2], raw, complete=True)
        elif "statuses_url" in raw and "sha" in raw:
            self.deployment(raw, raw.get("statuses"))
        elif "tag_name" in raw:
            self.release(raw)
        else:
            raise Unusable("an object is no run, deployment, status or release")

    def _delivery(self, raw: Raw) -> None:
        repository = raw.get("repository")
        if "workflow_job" in raw:
            self.remark("workflow_job deliveries are not counted: runs hold their outcome")
        elif "deployment_status" in raw and "deployment" in raw:
            self.deployment(_within(raw["deployment"], repository))
            self.status(_id(_object_of(raw["deployment"])), raw["deployment_status"], complete=False)
        elif "deployment" in raw:
            self.deployment(_within(raw["deployment"], repository))
        elif "release" in raw and raw.get("action") in ("deleted", "unpublished"):
            self.remark("releases that were deleted or unpublished later keep their event")
        elif "release" in raw:
            self.release(_within(raw["release"], repository))
        elif "workflow_run" in raw:
            self.run(_within(raw["workflow_run"], repository))
        else:
            self.remark("deliveries of other events are not counted")

    def run(self, raw: Raw, *, reduced: bool = False) -> Event | None:
        """One attempt of a workflow run; None where the configuration leaves it out."""
        name, branch = text_of(raw, "name"), text_of(raw, "head_branch")
        workflow = (name, text_of(raw, "path").partition("@")[0].rpartition("/")[2])
        if not self._ours(raw) or not _chosen(self.config.workflows, *workflow):
            return None
        if not _chosen(self.config.branches, branch):
            return None
        created, updated = time_of(raw, "created_at"), time_of(raw, "updated_at", 0)
        started = time_of(raw, "run_started_at", 0)
        completed = text_of(raw, "status") == "completed" and bool(text_of(raw, "conclusion"))
        word = text_of(raw, "conclusion") if completed else text_of(raw, "status")
        event = Event(
            "build",
            _id(raw),
            created,
            # A first attempt states its creation as its start: nothing is known of its waiting.
            started=started if started > created else None,
            # Jobs are not fetched (one more request per run): the attempt's own last change is taken for its end.
            ended=updated if completed and updated >= max(started, created) else None,
            outcome=self.outcome(word),
            attempt=_count(raw, "run_attempt"),
            commit=text_of(raw, "head_sha"),
            trigger=text_of(raw, "event"),
            actor=_login(raw, "triggering_actor") or _login(raw, "actor"),
            title=text_of(raw, "display_title"),
            url=text_of(raw, "html_url"),
            labels=labels_of(
                {
                    "repository": _repository(raw) or self.config.repository,
                    "workflow": name,
                    "branch": branch,
                    "event": text_of(raw, "event"),
                    "conclusion": text_of(raw, "conclusion"),
                }
            ),
            revision=max(0, 2 * updated - reduced),
        )
        return self._keep(event)

    def release(self, raw: Raw) -> None:
        """A published release; a draft has not happened yet."""
        if not self.config.releases or not self._ours(raw):
            return
        if not raw.get("published_at"):
            self.remark("draft releases are not counted")
            return
        published, tag, target = (
            time_of(raw, "published_at"),
            text_of(raw, "tag_name"),
            text_of(raw, "target_commitish"),
        )
        self._keep(
            Event(
                "release",
                _id(raw),
                published,
                version=tag,
                commit=target if _SHA.fullmatch(target) else "",
                actor=_login(raw, "author"),
                title=text_of(raw, "name") or tag,
                url=text_of(raw, "html_url"),
                labels=labels_of(
                    {
                        "repository": _repository(raw) or self.config.repository,
                        "ref": tag,
                        "prerelease": "true" if raw.get("prerelease") is True else None,
                    }
                ),
                revision=2 * time_of(raw, "updated_at", published),
            )
        )

    def deployment(self, raw: Any, statuses: Any = None) -> None:
        """A deployment; `statuses` is its whole history where that is known."""
        raw = _object_of(raw)
        if not self.config.deployments or not self._ours(raw):
            return
        time_of(raw, "created_at")
        known = self._deployments.setdefault(_id(raw), _Deployment())
        if not known.raw or time_of(raw, "updated_at", 0) >= time_of(known.raw, "updated_at", 0):
            known.raw = raw
        if isinstance(statuses, list):
            known.complete = True
            for status in statuses:
                self.status(_id(raw), status, complete=True)

    def status(self, deployment: str, raw: Any, *, complete: bool) -> None:
        """One status of a deployment; `complete` where it comes from a list of all of them."""
        raw = _object_of(raw)
        if not self.config.deployments or not self._ours(raw):
            return
        time_of(raw, "created_at")
        known = self._deployments.setdefault(deployment, _Deployment())
        known.complete = known.complete or complete
        known.statuses[_id(raw)] = raw
        self.outcome(text_of(raw, "state"))

    def events(self, until: int = FOREVER) -> list[Event]:
        """The events as they stood just before `until` (epoch seconds), oldest first."""
        found = [seen for event in self._events.values() if (seen := _before(event, until))]
        for key, deployment in self._deployments.items():
            if not deployment.raw:
                self.reject("a status belongs to a deployment that is not in the same file or folder")
            elif time_of(deployment.raw, "created_at") < until:
                found += self._deployed(key, deployment, until)
        return sorted(found, key=lambda event: (event.ts, event.kind, event.key, event.attempt))

    def _deployed(self, key: str, deployment: _Deployment, until: int) -> Iterator[Event]:
        raw = deployment.raw
        history = sorted(
            (status for status in deployment.statuses.values() if time_of(status, "created_at") < until),
            key=lambda status: (time_of(status, "created_at"), int(_id(status))),
        )
        outcomes = [self.meaning(text_of(status, "state")) for status in history]
        # The first result decides: GitHub appends "inactive" to a good deployment when the next one is made.
        deciding = next((s for s, o in zip(history, outcomes, strict=True) if o in ("good", "bad")), None)
        if deciding is None and outcomes and outcomes[-1] == "excluded" and not deployment.complete:
            self.reject("a deployment is known by a last status that says nothing of its result")
            return
        if not history and not deployment.complete:
            self.remark("a deployment came without its statuses; it counts once they are known")
        last = deciding or (history[-1] if history else None)
        outcome = self.meaning(text_of(last, "state")) if last else "open"
        ended = time_of(last, "created_at") if last and outcome != "open" else None
        started = next((time_of(s, "created_at") for s in history if text_of(s, "state") == "in_progress"), None)
        # Any result beats "open", the first result beats a later one, and a whole history beats a part of it.
        revision = 2 * (_DECIDED - (ended or 0)) if deciding else 2 * time_of(last or raw, "created_at")
        environment, ref = text_of(raw, "environment"), text_of(raw, "ref")
        yield Event(
            "deployment",
            key,
            time_of(raw, "created_at"),
            started=started if started is not None and started <= (ended or FOREVER) else None,
            ended=ended,
            outcome=outcome,
            environment=environment,
            version=ref,
            commit=text_of(raw, "sha"),
            trigger=text_of(raw, "task"),
            actor=_login(raw, "creator"),
            title=text_of(raw, "description") or f"{ref} to {environment}",
            url=_link(last or {}),
            labels=labels_of(
                {
                    "repository": _repository(raw) or self.config.repository,
                    "environment": environment,
                    "ref": ref,
                    "task": text_of(raw, "task"),
                    "conclusion": text_of(last, "state") if last and outcome != "open" else None,
                }
            ),
            revision=revision - (not deployment.complete),
        )

    def _ours(self, raw: Raw) -> bool:
        repository, wanted = _repository(raw), self.config.repository
        if not repository or not wanted or repository.lower() == wanted.lower():
            return True
        self.reject(f'objects of another repository than "{wanted}" are left out')
        return False

    def _keep(self, event: Event) -> Event:
        place = (event.kind, event.key, event.attempt)
        self._events[place] = _newer(self._events.get(place, event), event)
        return event


def _newer(known: Event, said: Event) -> Event:
    """Which of two words on one attempt counts: the later one; within a second a result, not a beginning."""
    if (said.revision, said.outcome != "open") < (known.revision, known.outcome != "open"):
        return known
    return said


def _before(event: Event, until: int) -> Event | None:
    """The event as it stood just before `until`; None where it had not begun."""
    updated = (event.revision + 1) // 2
    begun = event.started or event.ts
    if event.ts >= until or (event.attempt > 1 and begun >= until):
        return None
    if event.kind != "build" or updated < until:
        return event
    return replace(
        event,
        outcome="open",
        started=event.started if begun < until else None,
        ended=None,
        labels=tuple(pair for pair in event.labels if pair[0] != "conclusion"),
        revision=2 * until - 2,
    )


def _delivered(document: Raw) -> Raw:
    """The body of a delivery that lies in an envelope with its headers."""
    request = document.get("request")
    outer = request if isinstance(request, dict) else document
    for name in ("payload", "body"):
        inner = outer.get(name)
        if isinstance(inner, dict) and "repository" in inner:
            return inner
    return document


def _from_export(raw: Raw) -> Raw:
    """A row of `gh run list --json` under the names of the API."""
    lacking = [name for name in _EXPORT_NEEDS if name not in raw]
    if lacking:
        raise Unusable(f"a run lacks {', '.join(lacking)}; add it to the fields of gh run list --json")
    found = {name: raw.get(theirs) for name, theirs in _EXPORT.items()}
    if not found["status"]:
        found["status"] = "completed" if found["conclusion"] else "in_progress"
    return found


def _within(raw: Any, repository: Any) -> Raw:
    raw = _object_of(raw)
    return raw if _repository(raw) or not isinstance(repository, dict) else {**raw, "repository": repository}


def _repository(raw: Raw) -> str:
    """What the object states or its addresses hold, "owner/name"; empty where neither does."""
    stated = raw.get("repository")
    if isinstance(stated, dict) and text_of(stated, "full_name"):
        return text_of(stated, "full_name")
    for name in ("url", "repository_url", "html_url"):
        found = _API.search(text_of(raw, name)) or _PAGE.match(text_of(raw, name))
        if found:
            return found[1]
    return ""


def _chosen(globs: Sequence[str], *names: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs for name in names if name)


def _object_of(raw: Any) -> Raw:
    if not isinstance(raw, dict):
        raise Unusable("a delivery holds no object where one should be")
    return raw


def _id(raw: Raw) -> str:
    found = raw.get("id")
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise Unusable("an object has no id")
    return str(found)


def _count(raw: Raw, name: str) -> int:
    found = raw.get(name)
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found < 1 << 31:
        raise Unusable(f"a run has no {name}")
    return found


def _login(raw: Raw, name: str) -> str:
    found = raw.get(name)
    return text_of(found, "login") if isinstance(found, dict) else ""


def _link(status: Raw) -> str:
    return next((link for name in ("log_url", "target_url") if (link := text_of(status, name))), "")
