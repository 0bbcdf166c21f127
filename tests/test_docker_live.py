"""The docker connector against Debian's dockerd on a private socket: health, crash, out of memory, a new image."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import docker
from connectors._files import item
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Fact, Page
from tests.test_prometheus_live import until_true

BUSYBOX = next((found for name in ("busybox", "busybox-static") if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        os.geteuid() != 0 or not (BUSYBOX and shutil.which("dockerd") and shutil.which("docker")),
        reason="dockerd and busybox-static are not installed, or this is not root",
    ),
]


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[str]:
    """A dockerd of its own, without a network; its folder is short, for a socket's path may have 107 letters."""
    place = f"unix://{folder}/docker.sock"
    command = [
        "dockerd", "--host", place, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
        "--pidfile", f"{folder}/pid", "--iptables=false", "--ip6tables=false", "--bridge=none",
        "--storage-driver", "vfs",
    ]  # fmt: skip
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            until_true(lambda: asked(place, "version", "--format", "{{.Server.Version}}", check=False).strip() != "")
            yield place
        finally:
            names = asked(place, "ps", "-aq", check=False).split()
            if names:
                asked(place, "rm", "-f", *names, check=False)
            running.terminate()
            running.wait(60)
            # It mounts its folder on itself, and leaves that behind where it was stopped while starting.
            subprocess.run(["umount", "--lazy", f"{folder}/data"], check=False, stderr=subprocess.DEVNULL)


def asked(place: str, *arguments: str, check: bool = True) -> str:
    command = ["docker", "--host", place, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


def image(place: str, folder: Path, name: str) -> None:
    """An image of nothing but busybox; each import is another one."""
    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(str(BUSYBOX), "bin/busybox")
        for command in ("sh", "sleep", "true", "touch", "rm", "test"):
            link = tarfile.TarInfo(f"bin/{command}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    asked(place, "import", "--change", f"LABEL org.opencontainers.image.revision={name}", str(archive), name)


def inspected(place: str, name: str) -> Any:
    return json.loads(asked(place, "inspect", name))[0]


def run(place: str, name: str, of: str, command: str, *options: str) -> None:
    asked(place, "run", "-d", "--network", "none", "--name", name, *options, of, "sh", "-c", command)


class Looking:
    """Looks whose ticks are a second apart."""

    def __init__(self, place: str) -> None:
        self.config = docker.Config(Common("docker", "live", component=("shop",), every=1), url=place)
        self.state: Any = None
        self.open: tuple[Event, ...] = ()

    def __call__(self) -> Page:
        now = int(time.time()) + 1
        until_true(lambda: time.time() >= now)  # what has happened must lie before the second that is asked for
        pull = Pull(now - 600, now, now, state=self.state, open=self.open, first=self.state is None)
        [page] = docker.fetch(self.config, pull)
        self.state = json.loads(json.dumps(page.state))
        last = {one.key: one for one in (*self.open, *events(page)) if one.kind == "deployment"}
        self.open = tuple(one for one in last.values() if one.outcome == "open")
        return page


def events(page: Page) -> list[Event]:
    return [one for one in page.records if isinstance(one, Event)]


def health(page: Page) -> dict[str, str]:
    """The state of each container that counts."""
    return {
        dict(one.series.labels)["container"]: one.series.segment.partition("=")[2]
        for one in page.records
        if isinstance(one, Fact) and one.series.segment
    }


def test_a_real_engine_over_its_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("d")
    with engine(folder) as place:
        for name in ("lab/app:1.0", "lab/app:1.1"):
            image(place, folder, name)
        check = ["--health-cmd", "test -e /ok", "--health-interval", "1s", "--health-retries", "1"]
        run(place, "checked", "lab/app:1.0", "touch /ok; sleep 600", *check)
        run(place, "cart", "lab/app:1.0", "sleep 600", "--label", "com.docker.compose.service=cart")
        run(place, "told", "lab/app:1.0", "sleep 600")
        until_true(lambda: inspected(place, "checked")["State"]["Health"]["Status"] == "healthy")
        look = Looking(place)
        page = look()
        assert health(page) == {"checked": "healthy", "cart": "running", "told": "running"}
        assert events(page) == []

        run(place, "crash", "lab/app:1.0", "exit 3", "--restart", "on-failure:2")
        run(place, "greedy", "lab/app:1.0", "x=a; while true; do x=$x$x; done", "-m", "8m")
        asked(place, "exec", "checked", "rm", "/ok")
        asked(place, "stop", "-t", "0", "told")
        asked(place, "rm", "-f", "cart")
        run(place, "cart", "lab/app:1.1", "sleep 600", "--label", "com.docker.compose.service=cart")
        until_true(lambda: inspected(place, "crash")["State"]["Status"] == "exited")
        until_true(lambda: inspected(place, "greedy")["State"]["Status"] == "exited")
        until_true(lambda: inspected(place, "checked")["State"]["Health"]["Status"] == "unhealthy")
        page = look()
        assert health(page) == {"checked": "unhealthy", "cart": "running", "crash": "failed", "greedy": "failed"}
        causes = sorted((dict(one.labels)["container"], one.trigger) for one in events(page) if one.kind == "restart")
        # The kernel's word sometimes reaches no engine in time; then it knows no more than the code, 137.
        said = asked(place, "events", "--since", "10m", "--until", "0s", "--filter", "event=oom", "--format", "{{.ID}}")
        assert inspected(place, "greedy")["State"]["ExitCode"] == 137
        of_memory = inspected(place, "greedy")["Id"] in said.split()
        expected = ["crash"] * 3 + ["oom" if of_memory else "crash"]
        assert causes == list(zip(["crash"] * 3 + ["greedy"], expected, strict=True))
        [deployed] = [one for one in events(page) if one.kind == "deployment"]
        assert (deployed.commit, deployed.version, deployed.outcome) == ("lab/app:1.1", "1.1", "good")
        assert dict(deployed.labels)["service"] == "cart"
        assert events(look()) == [], "nothing is told twice"

        _saved(place, folder, expected)
        _forgotten(place, look)


def _saved(place: str, folder: Path, expected: list[str]) -> None:
    """The files that the reference names, made by the commands that it names."""
    lines = asked(place, "events", "--since", "1h", "--until", "0s", "--format", "{{json .}}")
    (folder / "events.jsonl").write_text(lines)
    (folder / "inspect.json").write_text(asked(place, "inspect", *asked(place, "ps", "-aq").split()))
    found: list[Any] = []
    for name in ("events.jsonl", "inspect.json"):
        told = item(folder / name, Given())
        assert docker.recognise(told)
        found += [one for page in docker.parse(told, docker.Config(Common("docker", "x"))) for one in page.records]
    restarts = [one for one in found if isinstance(one, Event) and one.kind == "restart"]
    assert [one.trigger for one in sorted(restarts, key=lambda one: one.trigger)] == expected
    assert any(isinstance(one, Fact) for one in found)


def _forgotten(place: str, look: Looking) -> None:
    """Enough health checks and commands push everything else out of the memory of 256 events."""
    run(place, "loop", "lab/app:1.0", "sleep 1; exit 4", "--restart", "on-failure:3")
    until_true(lambda: inspected(place, "loop")["State"]["Status"] == "exited")
    for _ in range(90):
        asked(place, "exec", "cart", "true")
    page = look()
    mine = [one for one in events(page) if dict(one.labels).get("container") == "loop"]
    assert sorted(dict(one.labels).get("restarts", "") for one in mine) == ["", "3"]
    assert {one.trigger for one in mine} == {"crash"}
    assert [gap.signal for gap in page.gaps] == ["availability", "deploy_success"]
    assert events(look()) == []
