"""What `gh api --paginate --slurp` prints for workflow runs, deployments (each with its statuses) and releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sample_data.packing import as_json, gzipped
from sample_data.story import (
    DAY,
    DAYS,
    END,
    HOUR,
    ON_GITLAB,
    SERVICES,
    START,
    Deployment,
    Service,
    deployments,
    random_of,
    stamp,
)

OWNER = "northlight"
PEOPLE = ("ana-k", "bo-lind", "chidi-o", "dmitri-v", "eun-ji", "farah-s")
HOSTILE_BRANCH = "<b>fix</b>/![x](https://example.invalid/p.png)"
SUBJECTS = (
    "Round the total once", "Retry on a closed connection", "Move the timeout to the settings", "Drop the old column",
    "Read the limit from the header", "Bump the base image", "Cache the country list", "Log the reason of a refusal",
    "Split the long query", "Name the error after its cause",
)  # fmt: skip


def write(folder: Path) -> None:
    """One folder per repository: runs, earlier attempts, deployments, releases."""
    for service in SERVICES:
        if service.name in ON_GITLAB:
            continue
        target = folder / "github" / service.name
        runs, attempts, made, releases = told(service)
        gzipped(target / "runs.json.gz", as_json(_paged(runs)))
        gzipped(target / "runs_attempts.json.gz", as_json({"total_count": len(attempts), "workflow_runs": attempts}))
        gzipped(target / "deployments.json.gz", as_json(made))
        gzipped(target / "releases.json.gz", as_json(releases))


def told(service: Service) -> tuple[list[dict[str, Any]], ...]:
    """What GitHub says of a service: runs (oldest first), earlier attempts, deployments and releases (newest first)."""
    place = SERVICES.index(service)
    runs, attempts = _runs(service, 7_000_000_000 + place * 100_000_000)
    return runs, attempts, *_delivered(service, 900_000_000 + place * 10_000_000, runs)


def _paged(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    newest_first = runs[::-1]
    return [{"total_count": len(runs), "workflow_runs": newest_first[at : at + 100]} for at in range(0, len(runs), 100)]


def sha(random: np.random.Generator) -> str:
    return bytes(random.integers(0, 256, 20, dtype=np.uint8)).hex()


def _user(login: str) -> dict[str, Any]:
    return {"login": login, "type": "Bot" if login.endswith("[bot]") else "User"}


def starts(random: np.random.Generator) -> list[tuple[int, str]]:
    found = [(START + day * DAY + 2 * HOUR + 5, "schedule") for day in range(DAYS)]
    for day in range(DAYS):
        mean = 6.5 if day % 7 < 5 else 1.2
        for _ in range(int(random.poisson(mean))):
            moment = int(np.clip(random.normal(13 * HOUR, 2.6 * HOUR), 6 * HOUR, 22 * HOUR))
            found.append((START + day * DAY + moment, "push" if random.random() < 0.4 else "pull_request"))
    return sorted(found)


def _runs(service: Service, first_id: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    random = random_of("runs", service.name)
    runs, attempts = [], []
    for number, (created, event) in enumerate(starts(random), start=1):
        run = _run(service, first_id + number * 1009, number, created, event, random)
        if run["conclusion"] in ("failure", "timed_out") and random.random() < 0.4:
            again = created + int(random.integers(1200, 5400))
            attempts.append(run)
            run = _again(run, again, random)
        runs.append(run)
    return runs, attempts


def _conclusion(service: Service, random: np.random.Generator) -> str:
    drawn = random.random()
    if drawn < 0.04:
        return "cancelled"
    if drawn < 0.045:
        return "timed_out"
    return "failure" if drawn < 0.045 + service.build_failures * 1.3 else "success"


def _timed(run: dict[str, Any], queued: int, started: int, took: int) -> dict[str, Any]:
    ended = started + took
    timed = {**run, "run_started_at": stamp(queued), "updated_at": stamp(ended)}
    if ended >= END:
        timed.update(status="in_progress", conclusion=None, updated_at=stamp(min(started, END - 1)))
    return timed


def _run(
    service: Service, key: int, number: int, created: int, event: str, random: np.random.Generator
) -> dict[str, Any]:
    workflow = "nightly" if event == "schedule" else "ci"
    subject = str(random.choice(SUBJECTS))
    person = str(random.choice(PEOPLE)) if event != "schedule" else "github-actions[bot]"
    branch = "main" if event != "pull_request" else f"{person}/{subject.lower().replace(' ', '-')}"
    if service.name == "search-api" and event == "pull_request" and random.random() < 0.03:
        branch = HOSTILE_BRANCH
    page = f"https://github.com/{OWNER}/{service.name}"
    run = {
        "id": key,
        "name": workflow,
        "head_branch": branch,
        "head_sha": sha(random),
        "path": f".github/workflows/{workflow}.yml",
        "run_number": number,
        "event": event,
        "display_title": "nightly" if event == "schedule" else subject,
        "status": "completed",
        "conclusion": _conclusion(service, random),
        "workflow_id": 5100 if workflow == "ci" else 5101,
        "html_url": f"{page}/actions/runs/{key}",
        "created_at": stamp(created),
        "updated_at": stamp(created),
        "actor": _user(person),
        "run_attempt": 1,
        "run_started_at": stamp(created),
        "triggering_actor": _user(person),
        "previous_attempt_url": None,
        "repository": {"name": service.name, "full_name": f"{OWNER}/{service.name}"},
    }
    return _timed(run, created, created, _took(workflow, random))


def _took(workflow: str, random: np.random.Generator) -> int:
    typical = 1500 if workflow == "nightly" else 420
    return int(typical * np.exp(0.25 * random.standard_normal()))


def _again(run: dict[str, Any], ts: int, random: np.random.Generator) -> dict[str, Any]:
    previous = f"https://api.github.com/repos/{OWNER}/{run['repository']['name']}/actions/runs/{run['id']}/attempts/1"
    good = "success" if random.random() < 0.7 else "failure"
    second = {**run, "run_attempt": 2, "previous_attempt_url": previous, "status": "completed", "conclusion": good}
    return _timed(second, ts, ts, _took(run["name"], random))


def _delivered(
    service: Service, first_id: int, runs: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    random = random_of("delivered", service.name)
    made: list[dict[str, Any]] = []
    releases: list[dict[str, Any]] = []
    shas: dict[str, str] = {}
    green = [run for run in runs if run["event"] == "push" and run["conclusion"] == "success"]
    for number, deployment in enumerate(deployments(service)):
        key = first_id + number * 37
        other = sha(random)
        if deployment.version not in shas:
            shas[deployment.version] = _newest(green, deployment.ts, set(shas.values())) or other
        commit = shas[deployment.version]
        person = str(random.choice(PEOPLE))
        tag = f"v{deployment.version}"
        took = int(90 * np.exp(0.35 * random.standard_normal())) + 40
        planted = deployment.rollback or deployment.version.endswith(".0")
        good = planted or random.random() >= 0.04
        statuses = _statuses(service, key, deployment.ts, took, good, person)
        made.append({**_deployment(service, deployment, key, commit, person), "statuses": statuses})
        if not deployment.rollback:
            releases.append(_release(service, key, deployment.ts - 900, tag, person))
    return made[::-1], releases[::-1]


def _newest(green: list[dict[str, Any]], ts: int, used: set[str]) -> str:
    """The commit of the newest green build of main before a deployment; "" where nothing was pushed since the last."""
    before = [run for run in green if run["updated_at"] < stamp(ts - 1200)]
    return before[-1]["head_sha"] if before and before[-1]["head_sha"] not in used else ""


def _deployment(service: Service, deployment: Deployment, key: int, sha: str, person: str) -> dict[str, Any]:
    tag = f"v{deployment.version}"
    return {
        "id": key,
        "sha": sha,
        "ref": tag,
        "task": "rollback" if deployment.rollback else "deploy",
        "payload": {},
        "original_environment": "production",
        "environment": "production",
        "description": f"Roll back to {tag}" if deployment.rollback else f"Deploy {tag}",
        "creator": _user(person),
        "created_at": stamp(deployment.ts),
        "updated_at": stamp(deployment.ts),
        "transient_environment": False,
        "production_environment": True,
        "statuses_url": f"https://api.github.com/repos/{OWNER}/{service.name}/deployments/{key}/statuses",
        "repository_url": f"https://api.github.com/repos/{OWNER}/{service.name}",
    }


def _statuses(service: Service, key: int, ts: int, took: int, good: bool, person: str) -> list[dict[str, Any]]:
    steps = (("queued", 2), ("in_progress", 12), ("success" if good else "failure", 12 + took))
    return [
        {
            "id": key * 10 + place,
            "state": state,
            "creator": _user(person),
            "description": "",
            "environment": "production",
            "created_at": stamp(ts + after),
            "updated_at": stamp(ts + after),
            "deployment_url": f"https://api.github.com/repos/{OWNER}/{service.name}/deployments/{key}",
            "repository_url": f"https://api.github.com/repos/{OWNER}/{service.name}",
        }
        for place, (state, after) in enumerate(steps)
    ][::-1]


def _release(service: Service, key: int, ts: int, tag: str, person: str) -> dict[str, Any]:
    return {
        "id": key + 1,
        "html_url": f"https://github.com/{OWNER}/{service.name}/releases/tag/{tag}",
        "tag_name": tag,
        "target_commitish": "main",
        "name": f"{service.name} {tag}",
        "body": "",
        "draft": False,
        "prerelease": False,
        "created_at": stamp(ts),
        "published_at": stamp(ts + 60),
        "author": _user(person),
    }
