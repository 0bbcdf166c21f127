"""A small Jenkins on 127.0.0.1: trees, ranges by position, folders, a discarder, logins, refusals."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.replay import Answer, Asked

FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
MANY = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"
JOB, RUN = "org.jenkinsci.plugins.workflow.job.WorkflowJob", "org.jenkinsci.plugins.workflow.job.WorkflowRun"


@dataclass
class Jenkins:
    """What the server holds: classes of folders, and the builds of each job, newest first."""

    login: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    stages: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    plugin: bool = True
    asked: list[Asked] = field(default_factory=list)
    refusals: list[Answer] = field(default_factory=list)
    before: dict[int, Callable[[], Any]] = field(default_factory=dict)
    """What happens just before the n-th request (from 1) is answered."""

    def build(self, job: str, number: int, at: int, result: str | None = "SUCCESS", *, lasted: int = 60,
              waited: int | None = 5, building: bool | None = None,
              branch: str = "main") -> dict[str, Any]:  # fmt: skip
        """A build that left the queue at `at` (seconds)."""
        actions: list[dict[str, Any]] = [
            {"_class": "hudson.model.CauseAction",
             "causes": [{"shortDescription": "Started by user Ada", "userId": "ada"}]},
            {},
            {"_class": "hudson.plugins.git.util.BuildData",
             "lastBuiltRevision": {"SHA1": hashlib.sha1(f"{job}{number}".encode()).hexdigest(),
                                   "branch": [{"name": f"refs/remotes/origin/{branch}"}]}},
        ]  # fmt: skip
        if waited is not None:
            actions.append({"_class": "jenkins.metrics.impl.TimeInQueueAction", "queuingDurationMillis": waited * 1000})
        one = {
            "_class": RUN,
            "number": number,
            "url": f"https://jenkins.example.com/{_path(job)}{number}/",
            "result": result,
            "building": result is None if building is None else building,
            "timestamp": at * 1000 + 250,
            "duration": lasted * 1000 if result else 0,
            "displayName": f"#{number}",
            "actions": actions,
        }
        self.jobs.setdefault(job, []).insert(0, one)
        return one

    def tested(self, job: str, number: int, passed: int, failed: tuple[str, ...] = (), skipped: int = 0) -> None:
        counts = {"failCount": len(failed), "skipCount": skipped, "totalCount": passed + len(failed) + skipped}
        found = self.one(job, number)
        kept = [action for action in found["actions"] if "failCount" not in action]
        found["actions"] = [*kept, {"_class": "hudson.tasks.junit.TestResultAction", **counts, "urlName": "testReport"}]
        cases = [{"className": "C", "name": name, "status": "REGRESSION", "duration": 1.5} for name in failed]
        cases += [{"className": "C", "name": f"t{n}", "status": "FIXED", "duration": 0.1} for n in range(passed)]
        self.reports[f"{job}#{number}"] = cases

    def one(self, job: str, number: int) -> dict[str, Any]:
        return next(one for one in self.jobs[job] if one["number"] == number)

    def discard(self, job: str, keep: int) -> None:
        del self.jobs[job][keep:]

    # answers

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        change = self.before.pop(len(self.asked), None)
        if change:
            change()
        if self.refusals:
            return self.refusals.pop(0)
        if self.login:
            expected = "Basic " + base64.b64encode(self.login.encode()).decode()
            if asked.headers.get("authorization") != expected:
                return Answer("<html>Sign in</html>", 401, {"Content-Type": "text/html"})
        path, query = asked.path.strip("/"), dict(asked.query)
        if path == "api/json":
            return Answer({"_class": "hudson.model.Hudson", "jobs": self._listed("", query["tree"])})
        found = re.fullmatch(r"((?:job/[^/]+/)+)(?:(\d+)/)?(.*)", path)
        if found is None:
            return _missing()
        name = "/".join(unquote(part) for part in found[1].strip("/").split("/")[1::2])
        if found[2]:
            return self._of(name, int(found[2]), found[3], query)
        if name in self.jobs and found[3] == "api/json":
            return self._builds(name, query["tree"])
        if name in self.folders and found[3] == "api/json":
            return Answer({"_class": self.folders[name], "jobs": self._listed(name, query["tree"])})
        return _missing()

    def _listed(self, folder: str, tree: str) -> list[dict[str, Any]]:
        """What lies in a folder, as deep as the tree asks."""
        inner = tree.partition("jobs[")[2].removesuffix("]")
        rows: list[dict[str, Any]] = []
        for name in sorted({*self.folders, *self.jobs}):
            if name.rpartition("/")[0] != folder:
                continue
            row: dict[str, Any] = {"name": name.rpartition("/")[2], "fullName": name}
            if name in self.folders:
                row["_class"] = self.folders[name]
                if "jobs[" in inner:
                    row["jobs"] = self._listed(name, inner)
            else:
                last = self.jobs[name][0] if self.jobs[name] else None
                told = {"_class": RUN, "number": last["number"], "timestamp": last["timestamp"]} if last else None
                row |= {"_class": JOB, "lastBuild": told}
            rows.append(row)
        return rows

    def _builds(self, name: str, tree: str) -> Answer:
        """allBuilds by position; without a range the server would walk its disk, so that is refused here."""
        ranged = re.fullmatch(r"allBuilds\[.*\]\{(\d+),(\d+)\}", tree)
        if ranged is None:
            return Answer({"message": "ask for a range"}, 400)
        return Answer({"_class": JOB, "allBuilds": self.jobs[name][int(ranged[1]) : int(ranged[2])]})

    def _of(self, name: str, number: int, what: str, query: dict[str, str]) -> Answer:
        known = next((one for one in self.jobs.get(name, []) if one["number"] == number), None)
        key = f"{name}#{number}"
        if known is None:
            return _missing()
        if what == "api/json" and query.get("tree"):
            return Answer(known)
        if what == "wfapi/describe" and self.plugin:
            stages = [{"id": str(n), "name": one, "status": status} for n, (one, status) in
                      enumerate(self.stages.get(key, []))]  # fmt: skip
            return Answer({"id": str(number), "name": f"#{number}", "status": "FAILED", "stages": stages})
        if what == "testReport/api/json" and key in self.reports:
            return Answer({"_class": "hudson.tasks.junit.TestResult", "suites": [{"cases": self.reports[key]}]})
        return _missing()


def _path(name: str) -> str:
    return "".join(f"job/{part}/" for part in name.replace("%", "%25").split("/"))


def _missing() -> Answer:
    return Answer("<html>Not Found</html>", 404, {"Content-Type": "text/html"})
