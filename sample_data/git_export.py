"""The logs of two git repositories: the commits of a service and its tags, and the commits of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sample_data import github_export
from sample_data.mlflow_export import runs
from sample_data.packing import gzipped
from sample_data.story import DAY, END, HOUR, SERVICES, random_of, stamp

REPOSITORY = "auth-api"
MODEL = "fraud-detector"
MODEL_SUBJECTS = (
    "Weigh rare classes less", "Leave out refunds", "Bin the age of an account", "Pin the seed", "Read it only once",
    "Drop a feature nobody has", "Log the counts of the holdout", "Bump scikit-learn",
)  # fmt: skip


@dataclass(frozen=True)
class Commit:
    """One commit of main; times are epoch seconds."""

    sha: str
    authored: int
    committed: int
    author: str
    subject: str


@dataclass(frozen=True)
class Release:
    """One annotated tag."""

    name: str
    commit: str
    ts: int


def write(folder: Path) -> None:
    """git-log.z and git-tags.txt, as the reference of the connector says to save them."""
    commits, releases = history()
    target = folder / "git" / REPOSITORY
    gzipped(target / "git-log.z.gz", _log(commits))
    tags = [
        f"refs/tags/{one.name}\x1ftag\x1f{hashlib.sha256(one.name.encode()).hexdigest()[:40]}\x1f{one.commit}\x1f{one.ts}"
        f"\x1f{one.ts}\n"
        for one in sorted(releases, key=lambda one: one.name)
    ]
    gzipped(target / "git-tags.txt.gz", "".join(tags).encode())
    gzipped(folder / "git" / MODEL / "git-log.z.gz", _log(model_history()))


def _log(commits: Sequence[Commit]) -> bytes:
    """What `git log -z` says of them, newest first."""
    parents = ["", *(one.sha for one in commits)]
    rows = [
        "\0".join((one.sha, parents[place], str(one.authored), str(one.committed), one.author, one.subject, ""))
        for place, one in enumerate(commits)
    ]
    return "".join(f"{row}\0" for row in rows[::-1]).encode()


def history() -> tuple[list[Commit], list[Release]]:
    """The commits that GitHub built or deployed, oldest first, and the tags of its releases."""
    service = next(one for one in SERVICES if one.name == REPOSITORY)
    random = random_of("git", REPOSITORY)
    runs, _, made, published = github_export.told(service)
    known = {run["head_sha"]: (_seconds(run["created_at"]) - 4, run["display_title"], run["actor"]["login"])
             for run in runs if run["event"] == "push"}  # fmt: skip
    for one in made[::-1]:
        created = (_seconds(one["created_at"]) - 1500, f"Release {one['ref']}", one["creator"]["login"])
        known.setdefault(one["sha"], created)
    commits = []
    for key, (ts, subject, person) in sorted(known.items(), key=lambda pair: (pair[1][0], pair[0])):
        waited = int(min(9 * DAY, 20 * HOUR * np.exp(0.9 * random.standard_normal())))
        commits.append(Commit(key, ts - waited, ts, person, subject))
    of_tag = {one["ref"]: one["sha"] for one in made if one["task"] == "deploy"}
    return commits, [
        Release(one["tag_name"], of_tag[one["tag_name"]], _seconds(one["created_at"])) for one in published
    ]


def model_history() -> list[Commit]:
    """The commits that the model was trained from, hours before each training, and others; oldest first."""
    random = random_of("git", MODEL)
    known = {run.commit: run.began // 1000 - int(random.integers(2 * HOUR, 40 * HOUR)) for run in runs(MODEL)}
    first = min(known.values())
    for _ in range(45):
        known[github_export.sha(random)] = int(random.integers(first, END))
    found = []
    for key, ts in sorted(known.items(), key=lambda pair: (pair[1], pair[0])):
        waited = int(min(9 * DAY, 10 * HOUR * np.exp(0.9 * random.standard_normal())))
        person, subject = str(random.choice(github_export.PEOPLE)), str(random.choice(MODEL_SUBJECTS))
        found.append(Commit(key, ts - waited, ts, person, subject))
    return found


def truth() -> str:
    """What the logs hold, as tables of truth.toml."""
    commits, releases = history()
    return "\n".join([
        "[[history]]", f'component = "{REPOSITORY}"', f"commits = {len(commits)}", f"releases = {len(releases)}",
        f"first = {stamp(min(one.ts for one in releases))}", "",
        "[[model_history]]", f'component = "{MODEL}"', f"commits = {len(model_history())}",
        f"trained_from = {len(runs(MODEL))}", "",
    ])  # fmt: skip


def _seconds(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z")).astype("datetime64[s]").astype(int))
