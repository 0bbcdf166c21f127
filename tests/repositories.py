"""Real git repositories that tests make, with times as they say."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Work:
    """A repository with a working tree."""

    path: Path

    @classmethod
    def new(cls, path: Path) -> Work:
        path.mkdir(parents=True)
        made = cls(path)
        made.git("init", "--quiet", "--initial-branch=main", ".")
        return made

    def git(self, *arguments: str, at: int = 1_790_000_000, authored: int | None = None, given: str = "") -> str:
        """What git says; commits and tags it makes are of `at`, written at `authored`."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env = {
            **own, "GIT_AUTHOR_DATE": f"{at if authored is None else authored} +0130",
            "GIT_COMMITTER_DATE": f"{at} +0000",
            "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_COMMITTER_NAME": "Grace",
            "GIT_COMMITTER_EMAIL": "grace@example.com", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        done = subprocess.run(["git", "-C", str(self.path), *arguments], env=env, capture_output=True, text=True,
                              check=False, input=given)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, at: int, message: str = "change", file: str = "f", authored: int | None = None) -> str:
        """A commit that changes one file; its name."""
        target = self.path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a") as opened:
            opened.write(f"{at} {message[:20]}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--cleanup=verbatim", "-F", "-", at=at, authored=authored, given=message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str, at: int | None = None, of: str = "HEAD") -> None:
        """A tag of its own time, or a lightweight one."""
        self.git("tag", "--force", *(["-a", "-m", name] if at is not None else []), name, of, at=at or 1)

    def revert(self, at: int, of: str = "HEAD") -> str:
        self.git("revert", "--no-edit", of, at=at)
        return self.head()
