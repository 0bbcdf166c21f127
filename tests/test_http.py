"""The HTTP seam: what it retries, what it refuses, and what it never says or sends."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from connectors import _http
from connectors._http import Client, Limits, next_link, open_client
from tandem.connect import Common, SourceDown, SourceRefused
from tests.faults import QUICK, START, TOKEN, TOKEN_ENV, VirtualClock, virtual
from tests.replay import Answer, Asked, serve


class Source:
    """What a connector's config has in common."""

    def __init__(self, **keys: Any) -> None:
        self.common = Common("test", "test", **keys)


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual() as patched:
        yield patched


def client(url: str, **keys: Any) -> Client:
    return open_client(Source(**keys), url)


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    waiting = list(answers)
    return lambda asked: waiting.pop(0) if len(waiting) > 1 else waiting[0]


def refused(answer: Answer | Callable[[Asked], Answer], **keys: Any) -> str:
    """The sentence of a refusal."""
    with (
        serve(answer if callable(answer) else in_turn(answer)) as server,
        client(server.url, **keys) as opened,
        pytest.raises(SourceRefused) as raised,
    ):
        opened.get("/x")
    return str(raised.value).replace(server.url, "")


def test_get_and_post_carry_what_was_given(clock: VirtualClock) -> None:
    with serve(lambda asked: Answer({"ok": True})) as server, client(server.url, token_env=TOKEN_ENV) as opened:
        reply = opened.get("/a/b", [("q", "x y&z"), ("q", "ü")], headers={"If-None-Match": "e"})
        opened.post("/c", form=[("query", "up[5m]")])
        opened.post("/d", body={"a": 1})
    get, form, body = server.asked
    assert (get.path, get.query) == ("/a/b", (("q", "x y&z"), ("q", "ü")))
    assert get.headers["authorization"] == f"Bearer {TOKEN}"
    assert get.headers["if-none-match"] == "e"
    assert form.form == (("query", "up[5m]"),)
    assert json.loads(body.body) == {"a": 1}
    assert reply.data == {"ok": True}
    assert opened.requests_made == 3


def test_a_path_in_the_base_is_kept(clock: VirtualClock) -> None:
    with serve(lambda asked: Answer({})) as server, client(f"{server.url}/prometheus/") as opened:
        opened.get("/api/v1/query")
    assert server.asked[0].path == "/prometheus/api/v1/query"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(clock: VirtualClock, status: int) -> None:
    answers = in_turn(Answer({"message": "no"}, status), Answer({"message": "no"}, status), Answer({"n": 1}))
    with serve(answers) as server, client(server.url) as opened:
        assert opened.get("/x").data == {"n": 1}
    assert clock.slept == [1.0, 2.0]


def test_back_off_is_capped_and_jittered() -> None:
    clock = VirtualClock()
    half = _http.Clock(clock.clock().now, clock.clock().sleep, lambda: 0.5)
    with pytest.MonkeyPatch.context() as patched, serve(in_turn(Answer("", 503))) as server:
        patched.setattr(_http, "LIMITS", Limits(tries=9))
        opened = open_client(Source(), server.url, clock=half)
        with opened, pytest.raises(SourceDown, match="answered 503, 9 times in a row; check that the server is up"):
            opened.get("/x")
    assert clock.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("headers", "status", "wait"),
    [
        ({"Retry-After": "17"}, 429, 17.0),
        ({"Retry-After": formatdate(START + 40, usegmt=True)}, 503, 40.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(START) + 90)}, 403, 90.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 429, 12.0),
        ({"Retry-After": "3", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(START) + 90)}, 403, 3.0),
    ],
)
def test_the_server_says_how_long(clock: VirtualClock, headers: dict[str, str], status: int, wait: float) -> None:
    with (
        serve(in_turn(Answer({"message": "slow"}, status, headers), Answer({}))) as server,
        client(server.url) as opened,
    ):
        opened.get("/x")
    assert clock.slept == [wait]


def test_a_long_wait_ends_the_pull_instead(clock: VirtualClock) -> None:
    with (
        serve(in_turn(Answer({"message": "slow"}, 429, {"Retry-After": "901"}))) as server,
        client(server.url) as opened,
        pytest.raises(SourceDown, match="asks to wait 901 s; it is asked again"),
    ):
        opened.get("/x")
    assert clock.slept == []


def test_another_4xx_is_refused_at_once(clock: VirtualClock) -> None:
    said = refused(Answer({"message": "no such thing"}, 404))
    assert said == 'GET /x answered 404 ("no such thing"); check the url and what is asked for.'
    assert clock.slept == []


def test_accepted_statuses_come_back(clock: VirtualClock) -> None:
    with serve(in_turn(Answer("", 304, {"ETag": "e"}), Answer({"m": 1}, 404))) as server, client(server.url) as opened:
        assert opened.get("/x", accept=(200, 304)).status == 304
        assert opened.get("/x", accept=(200, 404)).data == {"m": 1}


def test_a_refused_token_names_its_variable_and_nothing_more(clock: VirtualClock) -> None:
    said = refused(Answer({"message": f"bad {TOKEN}"}, 401), token_env=TOKEN_ENV)
    assert said == (
        f'GET /x answered 401 ("bad ***"): the token was refused; check the environment variable {TOKEN_ENV}.'
    )
    assert "set token_env or token_file" in refused(Answer({}, 403))


def test_an_echoed_token_is_in_no_reply(clock: VirtualClock) -> None:
    with (
        serve(in_turn(Answer({"you sent": f"Bearer {TOKEN}"}))) as server,
        client(server.url, token_env=TOKEN_ENV) as opened,
    ):
        assert TOKEN not in repr(opened.get("/x"))
        assert TOKEN not in repr(opened.get("/x", json=False))
        assert TOKEN not in opened.redacted(f"x{TOKEN}y")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"v": NaN}', "it holds NaN"),
        (b'{"v": [-Infinity]}', "it holds -Infinity"),
        (b'{"v": 1e400}', "it holds 1e400, which is too large"),
        (b'{"v": 123456789012345678901234567890}', "an integer of 30 digits"),
        (b'{"v": 1, "v": 2}', 'the key "v" twice'),
        (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
    ],
)
def test_json_is_strict(clock: VirtualClock, body: bytes, reason: str) -> None:
    assert reason in refused(Answer(body))


def test_a_login_page_is_no_data(clock: VirtualClock) -> None:
    for page in (
        Answer("<form>", 200, {"Content-Type": "text/html; charset=utf-8"}),
        Answer("\n <!doctype HTML><p>", 200, {"Content-Type": "application/json"}),
    ):
        said = refused(page)
        assert "answered with a login page instead of JSON" in said
        assert "<" not in said


def test_a_gzip_bomb_stops_at_the_cap(clock: VirtualClock) -> None:
    bomb = gzip.compress(bytes(300_000_000), 1)
    assert refused(Answer(bomb, 200, {"Content-Encoding": "gzip"})) == (
        "GET /x answered with more than 5 MB; ask for less at once."
    )


def test_a_trickle_ends_at_the_deadline(clock: VirtualClock) -> None:
    """Every byte comes within the read timeout; the whole answer does not come within the deadline."""
    with (
        serve(in_turn(Answer({"long": "x" * 500}, each=0.02))) as server,
        client(server.url) as opened,
        pytest.raises(SourceDown, match=r"did not answer within 0\.4 s, 4 times in a row"),
    ):
        opened.get("/x")
    assert len(server.asked) == QUICK.tries


def test_a_cut_body_is_fetched_again(clock: VirtualClock) -> None:
    with serve(in_turn(Answer({"n": [1] * 99}, sent=20), Answer({"n": 2}))) as server, client(server.url) as opened:
        assert opened.get("/x").data == {"n": 2}


def test_an_unreachable_server_is_down(clock: VirtualClock) -> None:
    with serve(in_turn(Answer({}))) as server:
        gone = server.url
    with client(gone) as opened, pytest.raises(SourceDown, match="could not be reached or broke off, 4 times"):
        opened.get("/x")


@pytest.mark.parametrize("header", ["Authorization", "PRIVATE-TOKEN", "x-api-key"])
def test_no_token_follows_a_redirect_to_another_server(clock: VirtualClock, header: str) -> None:
    with serve(in_turn(Answer({}))) as other:
        moved = Answer("", 302, {"Location": f"{other.url}/login?t={TOKEN}"})
        with serve(in_turn(moved)) as server:
            opened = open_client(Source(token_env=TOKEN_ENV), server.url, token_header=header, token_prefix="")
            with opened, pytest.raises(SourceRefused, match="redirects to another server") as raised:
                opened.get("/x")
            assert server.asked[0].headers[header.lower()] == TOKEN
    assert other.asked == []
    assert TOKEN not in str(raised.value)


def test_redirects_on_the_same_server_are_followed_three_times(clock: VirtualClock) -> None:
    def twice(asked: Asked) -> Answer:
        step = int(asked.path[1:])
        return Answer("", 301, {"Location": f"/{step + 1}"}) if step < 3 else Answer({"step": step})

    with serve(twice) as server, client(server.url) as opened:
        assert opened.get("/0").data == {"step": 3}
    assert "redirects more than 3 times" in refused(lambda asked: Answer("", 302, {"Location": "/again"}))


def test_next_links_stay_on_the_server(clock: VirtualClock) -> None:
    def paged(asked: Asked) -> Answer:
        host = f"http://{asked.headers['host']}" if asked.path == "/own" else "http://127.0.0.1:1"
        return Answer([], headers={"Link": f'<{host}/p?page=2>; rel="next", <{host}/p?page=9>; rel="last"'})

    with serve(paged) as server, client(server.url) as opened:
        assert next_link(opened.get("/own")) == f"{server.url}/p?page=2"
        assert next_link(opened.get("/foreign")) is None
        with pytest.raises(SourceRefused, match="points to another server"):
            opened.get("http://127.0.0.1:1/p?page=2")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest", "never read"),
        ("http://[fd00:ec2::254]/", "never read"),
        ("http://[fe80::1]/", "never read"),
        ("http://[::ffff:169.254.169.254]/", "never read"),
        ("http://224.0.0.1/", "never read"),
        ("http://user:hunter2@example.com/", "holds a user or password"),
        ("ftp://example.com/", "should begin with http://"),
        ("example.com", "should begin with http://"),
        ("http://example.com/?token=x", "should end before"),
    ],
)
def test_urls_that_are_never_asked(url: str, reason: str) -> None:
    with pytest.raises(SourceRefused, match=reason) as raised:
        client(url)
    assert "hunter2" not in str(raised.value)


def test_a_name_that_resolves_to_metadata_is_not_asked(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: found)
    with client("http://metadata.example") as opened, pytest.raises(SourceRefused, match="never read"):
        opened.get("/latest")


def test_netrc_proxies_and_cookies_are_not_looked_at(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password eve\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with (
        serve(in_turn(Answer({}, headers={"Set-Cookie": "a=b; Path=/"}))) as server,
        client(server.url, token_env=TOKEN_ENV) as opened,
    ):
        opened.get("/x")
        opened.get("/x")
    assert server.asked[1].headers["authorization"] == f"Bearer {TOKEN}"
    assert "cookie" not in server.asked[1].headers


def test_tokens_come_from_the_environment_or_a_private_file(clock: VirtualClock, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc-123\n")
    file.chmod(0o644)
    with pytest.raises(SourceRefused, match="can be read by other users; run chmod 600"):
        client("http://127.0.0.1:9", token_file=file)
    file.chmod(0o600)
    with serve(in_turn(Answer({}))) as server, client(server.url, token_file=file) as opened:
        opened.get("/x")
    assert server.asked[0].headers["authorization"] == "Bearer abc-123"
    with pytest.raises(SourceRefused, match="NO_SUCH_TOKEN is not set"):
        client("http://127.0.0.1:9", token_env="NO_SUCH_TOKEN")
    os.environ[TOKEN_ENV] = "two words"
    with pytest.raises(SourceRefused, match="does not hold a token") as raised:
        client("http://127.0.0.1:9", token_env=TOKEN_ENV)
    assert "two words" not in str(raised.value)


def test_recorded_requests_answer_in_place_of_a_server(clock: VirtualClock, tmp_path: Path) -> None:
    lines = [
        {"method": "GET", "path": "/runs", "query": [["page", "1"]], "status": 200, "headers": {
            "Link": '<https://api.example.com/runs?page=2>; rel="next"'}, "body": [1]},
        {"method": "GET", "path": "/runs", "query": [["page", "2"]], "body": [2]},
        {"method": "GET", "path": "/runs", "query": [["page", "2"]], "body": [3]},
        {"method": "POST", "path": "/q", "query": [["a", "b"]], "body": "text"},
    ]  # fmt: skip
    (tmp_path / "requests.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with client(f"file:{tmp_path}") as opened:
        first = opened.get("/runs", {"page": "1"})
        following = next_link(first)
        assert following is not None
        assert [first.data, opened.get(following).data, opened.get(following).data] == [[1], [2], [3]]
        assert opened.get(following).data == [3]
        assert opened.post("/q", form=[("a", "b")], json=False).text == "text"
        with pytest.raises(SourceRefused, match=r"holds no answer to GET /runs\?page=7; record it there"):
            opened.get("/runs", {"page": "7"})


def test_a_clock_that_is_off_shows(clock: VirtualClock) -> None:
    with (
        serve(in_turn(Answer({}, headers={"Date": formatdate(START + 120, usegmt=True)}))) as server,
        client(server.url) as opened,
    ):
        opened.get("/x")
        assert opened.skew == 120.0


def test_a_socket_of_this_machine_answers_like_any_server(clock: VirtualClock, tmp_path: Path) -> None:
    """Same caps, deadlines and words; where nobody listens, and where this user may not, it is said."""
    answers = {
        b"/x?a=%2F": b'{"a": 1}', b"/lines": b'{"a": 1}\n\n{"a": 2}\n', b"/none": b"", b"/big": b"[" + b" " * 6_000_000,
        b"/half": b'{"a": 1}\n{"a"',
    }  # fmt: skip
    with listening(tmp_path / "own.sock", answers) as asked, client(f"unix://{tmp_path}/own.sock") as opened:
        assert opened.get("/x", {"a": "/"}).data == {"a": 1}
        assert opened.get("/lines", json="lines").data == [{"a": 1}, {"a": 2}]
        assert opened.get("/none", json="lines").data == []
        with pytest.raises(_http.TooLarge, match=r"own\.sock/big answered with more than 5 MB"):
            opened.get("/big")
        with pytest.raises(SourceDown, match="not JSON, perhaps cut off, 4 times in a row"):
            opened.get("/half", json="lines")
        with pytest.raises(SourceDown, match="did not answer in"):
            opened.get("/hangs")
        with pytest.raises(SourceRefused, match="points to another server"):
            opened.get("http://127.0.0.1:1/x")
    assert asked[0].startswith(b"GET /x?a=%2F HTTP/1.1")
    with client(f"unix://{tmp_path}/own.sock") as opened, pytest.raises(SourceDown, match=r"own\.sock/x could not be"):
        opened.get("/x")
    for wrong in ("unix:run.sock", "unix://run.sock", "unix:///" + "x" * 200):
        with pytest.raises(SourceRefused, match="the whole path of a socket"):
            client(wrong)


@contextlib.contextmanager
def listening(path: Path, answers: dict[bytes, bytes]) -> Iterator[list[bytes]]:
    """A server behind a socket; what it does not know it never answers."""
    asked: list[bytes] = []
    stopping = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().strip()
            while self.rfile.readline().strip():
                pass
            asked.append(line)
            body = answers.get(line.split()[1])
            if body is None:
                stopping.wait(20)
                return
            with contextlib.suppress(OSError):
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield asked
        stopping.set()
        server.shutdown()
        thread.join()
    path.unlink()
