"""One owner of a store: found by its file, asked over its API, and never in anybody's way."""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tandem.connect import SourceDown
from tandem.owner import Owner, StoreLocked, owner_of, reached
from tandem.records import Fact, Page, Ratio, Series
from tandem.remote import Gone, Refused, owner_file
from tests import fakes, processes, slow_source
from tests.processes import free_port

FACT = Fact(Series(signal="availability", component="shop"), fakes.NOW - 600, Ratio(9, 10))


def owned(tmp_path: Path, *sources: Any, command: str = "sync") -> Owner:
    return Owner.open(fakes.config(tmp_path, *sources), lambda: fakes.NOW, command=command)


def asked(owner: Owner, method: str, path: str, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(owner.url).port, timeout=10)
    given = {"Authorization": f"Bearer {owner.token}"} | {name.title(): value for name, value in headers.items()}
    connection.request(method, path, headers=given)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


# -- in this process


def test_an_owner_is_found_while_it_lives_and_no_longer(tmp_path: Path) -> None:
    with owned(tmp_path, command="import") as owner:
        place = owner_file(owner.config.store)
        found = owner_of(owner.config.store)
        assert found is not None
        assert (found.pid, found.command, found.url) == (os.getpid(), "import", owner.url)
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert owner_of(owner.config.store) is None
    assert not place.exists()


THIS = os.getpid()


@pytest.mark.parametrize("content", [
    "", "{}", "[]", "null", '{"pid": 1}', "\udcff",
    json.dumps({"pid": 2**22 + 1, "url": "http://127.0.0.1:1", "token": "t", "command": "sync", "page": ""}),
    json.dumps({"pid": THIS, "url": "http://127.0.0.1:1", "token": "t", "command": "sync", "page": ""}),
    json.dumps({"pid": THIS, "url": "http://example.org:80", "token": "t", "command": "sync", "page": ""}),
], ids=["empty", "nothing", "list", "null", "pid-only", "no-text", "dead", "nobody-answers", "not-here"])  # fmt: skip
def test_an_owner_file_that_was_left_behind_is_ignored(tmp_path: Path, content: str) -> None:
    place = owner_file(tmp_path / "tandem.duckdb")
    place.parent.mkdir()
    place.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert owner_of(tmp_path / "tandem.duckdb") is None
    with owned(tmp_path) as owner:
        assert owner_of(owner.config.store) is not None


def test_an_owner_with_another_token_is_not_the_owner(tmp_path: Path) -> None:
    with owned(tmp_path) as owner:
        place = owner_file(owner.config.store)
        place.write_text(json.dumps(json.loads(place.read_text()) | {"token": "another"}))
        assert owner_of(owner.config.store) is None
    assert place.exists(), "the file of somebody else is not removed"


def test_only_the_token_opens_the_api(tmp_path: Path) -> None:
    with owned(tmp_path) as owner:
        assert asked(owner, "GET", "/healthz") == (200, {"status": "ok"})
        for given in ("", "Bearer", "Bearer ", f"Bearer {owner.token}x", owner.token, "Bearer \xff"):
            assert asked(owner, "GET", "/healthz", authorization=given)[0] == 401
            assert asked(owner, "POST", "/api/v1/sync", authorization=given, content_length="0")[0] == 401


def test_a_foreign_name_of_this_machine_is_not_answered(tmp_path: Path) -> None:
    with owned(tmp_path) as owner:
        assert asked(owner, "GET", "/healthz", host="evil.test")[0] == 421
        assert asked(owner, "GET", "/healthz", host=f"localhost:{urlsplit(owner.url).port}")[0] == 421


def test_work_is_told_line_by_line(tmp_path: Path) -> None:
    source = fakes.source(fakes.saying([Page((FACT,))]), name="prod")
    with owned(tmp_path, source) as owner:
        remote = owner_of(owner.config.store)
        assert remote is not None
        lines = list(remote.post("/api/v1/sync", {"source": ["prod"]}))
        assert all(line["say"][0] == "prod" for line in lines[:-1])
        assert len(lines) > 1
        [outcome] = lines[-1]["outcomes"]
        assert (outcome["source"], outcome["pages"], outcome["error"]) == ("prod", 1, "")
        with pytest.raises(Refused, match="not a time"):
            list(remote.post("/api/v1/sync", {"since": ["yesterdayish"]}))
        with pytest.raises(Refused, match="absolute"):
            list(remote.post("/api/v1/import", {"path": ["here.xml"]}))


def test_the_end_waits_for_what_others_asked_for(tmp_path: Path) -> None:
    entered, go = threading.Event(), threading.Event()

    def fetch(pull: Any) -> Iterator[Page]:
        entered.set()
        assert go.wait(20)
        yield Page((FACT,))

    told: list[Any] = []
    owner = owned(tmp_path, fakes.source(fetch, name="prod"))
    remote = owner_of(owner.config.store)
    assert remote is not None
    asking = threading.Thread(target=lambda: told.extend(remote.post("/api/v1/sync", {})))
    asking.start()
    assert entered.wait(20)
    ending = threading.Thread(target=owner.close)
    ending.start()
    assert owner_of(owner.config.store) is not None, "who still works is still found"
    go.set()
    asking.join(20)
    ending.join(20)
    assert told[-1]["outcomes"][0]["pages"] == 1
    with pytest.raises(Gone):
        remote.get("/healthz", {})


def test_a_source_is_never_pulled_twice_at_once(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def fetch(pull: Any) -> Iterator[Page]:
        inside.append(1)
        most.append(len(inside))
        yield Page((FACT,))
        inside.pop()

    with owned(tmp_path, fakes.source(fetch, name="prod")) as owner:
        threads = [threading.Thread(target=owner.sync) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert most == [1, 1, 1, 1]


def test_the_first_collection_is_done_when_every_source_was_pulled_once(tmp_path: Path) -> None:
    go = threading.Event()

    def fetch(pull: Any) -> Iterator[Page]:
        assert go.wait(20)
        yield Page((FACT,))

    def broken(pull: Any) -> Iterator[Page]:
        raise SourceDown("away")
        yield

    with owned(tmp_path, fakes.source(fetch, name="slow"), fakes.source(broken, name="down", scope="d")) as owner:
        assert asked(owner, "GET", "/healthz")[0] == 503
        owner.collect()
        go.set()
        processes.eventually(lambda: owner.first_done, "the first collection")
        assert asked(owner, "GET", "/healthz")[0] == 200
    with owned(tmp_path, fakes.source(fetch, name="slow")) as again:
        assert again.first_done, "what is stored can be shown at once"


def test_the_collector_pulls_again_and_stops_promptly(tmp_path: Path) -> None:
    pulls: list[int] = []
    hold = threading.Event()

    def fetch(pull: Any) -> Iterator[Page]:
        pulls.append(pull.until)
        for _ in range(1_000_000):
            yield Page((FACT,))
            if len(pulls) < 3:
                return
            hold.wait(0.01)

    with owned(tmp_path, fakes.source(fetch, name="prod", every=1)) as owner:
        owner.collect()
        processes.eventually(lambda: len(pulls) == 3, "the third pull")
    assert len(pulls) == 3
    assert owner_of(owner.config.store) is None


def test_a_changed_configuration_is_taken_over_and_a_broken_one_is_not(tmp_path: Path) -> None:
    from tandem import config as configuration

    path = tmp_path / "tandem.toml"
    path.write_text('[[component]]\nname = "one"\n')
    with Owner.open(configuration.load(path), lambda: fakes.NOW) as owner:
        path.write_text('[[component]]\nname = "two"\n\n')
        owner.reload()
        assert [one.name for one in owner.config.components] == ["two"]
        path.write_text("component = 3\n# broken\n")
        owner.reload()
        assert [one.name for one in owner.config.components] == ["two"]
        assert "goes on with what the file said before" in owner.trouble
        path.write_text('store = "other.duckdb"\n# elsewhere')
        owner.reload()
        assert "another store" in owner.trouble
        path.write_text('[[component]]\nname = "three"\n# whole again')
        owner.reload()
        assert (owner.trouble, owner.config.components[0].name) == ("", "three")


def test_who_finds_a_store_locked_by_somebody_silent_says_who_it_is(tmp_path: Path) -> None:
    def locked() -> None:
        raise StoreLocked("held by process 7")

    with pytest.raises(StoreLocked, match="process 7"):
        reached(tmp_path / "tandem.duckdb", lambda remote: None, locked, wait=0.2)


# -- between processes


SLOW = """
[[component]]
name = "shop"
[[source]]
connector = "slow_source"
name = "till"
pages = 6
hold = 3
every = "1h"
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow_source.packaged(tmp_path_factory.mktemp("package"))


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=processes.PATIENCE)
    return process.returncode, out, err


def test_everything_works_beside_a_running_sync(tmp_path: Path, package: Path) -> None:
    (tmp_path / "tandem.toml").write_text(SLOW)
    (tmp_path / "more.slow").write_text("9")
    wait, go = os.pipe()
    first = processes.start("sync", folder=tmp_path, packages=[package], pass_fds=[wait], GO_FD=str(wait))
    os.close(wait)
    with processes.running(first):
        processes.eventually(lambda: owner_of(tmp_path / "tandem.duckdb"), "the owner")
        shown = processes.run("show", "shop", "--json", folder=tmp_path, packages=[package])
        assert (shown.returncode, shown.stderr) == (0, "")
        assert json.loads(shown.stdout)["component"] == "shop"
        unknown = processes.run("show", "shed", folder=tmp_path, packages=[package])
        assert (unknown.returncode, unknown.stdout) == (2, "")
        with (
            processes.running(processes.start("sync", folder=tmp_path, packages=[package])) as second,
            processes.running(processes.start("import", "more.slow", folder=tmp_path, packages=[package])) as imported,
        ):
            os.write(go, b"...")
            os.close(go)
            ends = [finished(first), finished(second), finished(imported)]
    assert [(code, err) for code, _, err in ends] == [(0, "")] * 3, ends
    assert "till: " in ends[1][1]
    assert "more.slow (slow_source): " in ends[2][1]
    assert owner_of(tmp_path / "tandem.duckdb") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sync_that_is_interrupted_leaves_everything_in_order(
    tmp_path: Path, package: Path, number: signal.Signals
) -> None:
    (tmp_path / "tandem.toml").write_text(SLOW)
    wait, go = os.pipe()
    process = processes.start("sync", folder=tmp_path, packages=[package], pass_fds=[wait], GO_FD=str(wait))
    os.close(wait)
    with processes.running(process):
        processes.eventually(lambda: owner_of(tmp_path / "tandem.duckdb"), "the owner")
        process.send_signal(number)
        os.write(go, b"...")
        code, out, err = finished(process)
    os.close(go)
    assert code in (1, 143)
    assert out == ""
    assert "Traceback" not in err
    assert not owner_file(tmp_path / "tandem.duckdb").exists()
    again = processes.run("sync", folder=tmp_path, packages=[package])
    assert (again.returncode, again.stderr) == (0, "")
    assert processes.run("doctor", folder=tmp_path, packages=[package]).returncode == 0


def healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_everything_goes_through_a_running_server(tmp_path: Path, package: Path) -> None:
    (tmp_path / "tandem.toml").write_text(SLOW)
    (tmp_path / "more.slow").write_text("9")
    port = free_port()
    words = ("serve", "--no-browser", "--port", str(port))
    with processes.running(processes.start(*words, folder=tmp_path, packages=[package])) as server:
        processes.eventually(lambda: server.poll() is not None or healthy(port), "the server")
        again = processes.run(*words, folder=tmp_path, packages=[package])
        assert again.returncode == 1
        assert f"http://localhost:{port}" in again.stderr
        done = [processes.start(*line, folder=tmp_path, packages=[package])
                for line in (["sync"], ["import", "more.slow"], ["show"], ["sources"], ["doctor"])]  # fmt: skip
        ends = [finished(process) for process in done]
        assert [(code, err) for code, _, err in ends] == [(0, "")] * 5, ends
        with urlopen(f"http://127.0.0.1:{port}/api/v1/show?component=shop&from=2023-11-14&to=2023-11-16") as answer:
            over_http = answer.read().decode()
        printed = processes.run("show", "shop", "--from", "2023-11-14", "--to", "2023-11-16", "--json", folder=tmp_path,
                                packages=[package])  # fmt: skip
        assert printed.stdout == over_http, "the same bytes"
        server.send_signal(signal.SIGTERM)
        code, out, err = finished(server)
    assert (code, out) == (143, "")
    assert "Traceback" not in err
    assert "leaked" not in err
    assert not owner_file(tmp_path / "tandem.duckdb").exists()
    alone = processes.run("show", "shop", "--from", "2023-11-14", "--to", "2023-11-16", "--json", folder=tmp_path,
                          packages=[package])  # fmt: skip
    assert alone.stdout == over_http, "the same bytes without a server"
