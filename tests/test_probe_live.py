"""The probe against servers that misbehave in every way it must tell apart, and against Debian's blackbox exporter."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors import _probing, probe
from connectors._files import item
from connectors._probing import Look, Target, look
from tandem.connect import Common, Given
from tandem.records import Histogram, Ratio
from tests import misbehaving as bad

pytestmark = pytest.mark.live
CA = bad.TLS / "own.pem"
HTML = "Content-Type: text/html"


def seen(act: bad.Act, path: str = "/", certificate: str = "", **asked: Any) -> Look:
    with bad.serving(act, certificate) as port:
        scheme = "https" if certificate else asked.pop("scheme", "http")
        return look(Target(f"{scheme}://127.0.0.1:{port}{path}", **{"timeout": 10.0, **asked}))


CASES: dict[str, tuple[bad.Act, dict[str, Any], str]] = {
    "a good answer": (bad.answering(), {}, "answered"),
    "the expected text": (bad.answering(b"so all is well."), {"text": "all is well"}, "answered"),
    "an expected refusal": (bad.answering(status="401 No"), {"statuses": frozenset({401})}, "answered"),
    "nothing to say": (bad.saying(b"HTTP/1.1 204 No Content\r\n\r\n"), {}, "answered"),
    "an answer of HTTP/1.0 without length": (bad.saying(b"HTTP/1.0 200 OK\r\n\r\nall"), {"text": "all"}, "answered"),
    "chunks": (bad.saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nal\r\n1\r\nl\r\n0\r\n\r\n"),
               {"text": "all"}, "answered"),
    "a reset": (bad.resetting, {}, "reset"),
    "a close without an answer": (bad.closing, {}, "reset"),
    "a body that breaks off": (bad.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), {}, "reset"),
    "chunks that break off": (bad.saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf"), {},
                              "reset"),
    "chunks that are none": (bad.saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf"), {},
                             "reset"),
    "a slow first byte": (bad.silent, {"timeout": 0.3}, "slow first byte"),
    "a slow head": (bad.forever(b"HTTP/1.1 200 OK\r\n", b"X", 0.05), {"timeout": 0.4}, "slow first byte"),
    "a slow body": (bad.forever(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x", 0.05), {"timeout": 0.4},
                    "slow body"),
    "a wrong status": (bad.answering(status="503 Busy"), {}, "wrong status"),
    "a status that is not the one": (bad.answering(), {"statuses": frozenset({204})}, "wrong status"),
    "a redirect to nowhere": (bad.answering(b"", "302 Found"), {}, "wrong status"),
    "a wrong text": (bad.answering(), {"text": "shop is open"}, "wrong text"),
    "a redirect loop": (bad.circling, {"path": "/a"}, "redirect loop"),
    "redirects without end": (bad.leading_on, {}, "redirect loop"),
    "a redirect within the server": (bad.moved, {"text": "here"}, "answered"),
    "a redirect that is expected": (bad.moved, {"statuses": frozenset({301})}, "answered"),
    "a redirect elsewhere": (bad.answering(b"", "302 Found", "Location: http://127.0.0.2:9/login"), {},
                             "redirected away"),
    "a redirect to another port": (bad.answering(b"", "307 No", "Location: //127.0.0.1:22/"), {}, "redirected away"),
    "a redirect to a file": (bad.answering(b"", "302 Found", "Location: file:///etc/passwd"), {}, "redirected away"),
    "a redirect that is no address": (bad.answering(b"", "302 Found", "Location: http://[::1"), {}, "redirected away"),
    "a redirect with a password": (bad.answering(b"", "302 Found", "Location: http://a:b@127.0.0.1/"), {},
                                   "redirected away"),
    "something that is not HTTP": (bad.saying(b"SSH-2.0-OpenSSH_9.2\r\n"), {}, "not http"),
    "garbage": (bad.saying(bytes(range(256)) * 300), {}, "not http"),
    "headers without end": (bad.forever(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 500), {}, "not http"),
    "one header without end": (bad.forever(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 4096), {}, "not http"),
    "nothing but continue": (bad.forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50), {}, "not http"),
    "a body without end": (bad.forever(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536), {}, "answered"),
    "a body without end, and no text": (bad.forever(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536), {"text": "y"},
                                        "wrong text"),
    "chunks without end": (bad.forever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 999),
                           {}, "answered"),
    "a gzip bomb": (bad.answering(bad.bomb(), "200 OK", "Content-Encoding: gzip"), {"text": "y"}, "wrong text"),
    "gzip that is none": (bad.answering(b"plain", "200 OK", "Content-Encoding: gzip"), {"text": "plain"},
                          "wrong text"),
    "Latin-1, said": (bad.answering("grüße".encode("latin-1"), "200 OK", f"{HTML}; charset=iso-8859-1"),
                      {"text": "grüße"}, "answered"),
    "Latin-1, unsaid": (bad.answering("grüße".encode("latin-1")), {"text": "grüße"}, "answered"),
    "UTF-16": (bad.answering("grüße".encode("utf-16")), {"text": "grüße"}, "answered"),
    "Shift JIS": (bad.answering("開店".encode("shift-jis"), "200 OK", f"{HTML}; charset=Shift_JIS"), {"text": "開店"},
                  "answered"),
    "a charset that is none": (bad.answering("grüße".encode(), "200 OK", f"{HTML}; charset=x-none"),
                               {"text": "grüße"}, "answered"),
    "no TLS where it should be": (bad.greeting(b"HTTP/1.1 400 Bad\r\n\r\n"), {"scheme": "https"}, "tls failed"),
    "a slow handshake": (bad.silent, {"scheme": "https", "timeout": 0.3}, "slow tls"),
    "an open port": (bad.silent, {"scheme": "tcp", "path": ""}, "answered"),
    "a greeting": (bad.greeting(b"220 mail.example ready\r\n"), {"scheme": "tcp", "path": "", "text": "220"},
                   "answered"),
    "another greeting": (bad.greeting(b"554 busy\r\n"), {"scheme": "tcp", "path": "", "text": "220"}, "wrong text"),
    "no greeting": (bad.silent, {"scheme": "tcp", "path": "", "text": "220", "timeout": 0.3}, "slow first byte"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_way_to_answer_is_told_apart(name: str) -> None:
    """The result is the right one, whatever is sent; never an exception, never later than the timeout."""
    act, asked, result = CASES[name]
    begun = time.monotonic()
    found = seen(act, **asked)
    assert (found.result, found.said == "") == (result, result == "answered"), found
    assert found.total < asked.get("timeout", 5.0) + 2
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize(
    ("certificate", "ca_file", "result", "trusted"),
    [
        ("own", CA, "answered", True),
        ("own", None, "certificate not trusted", False),
        ("expired", bad.TLS / "expired.pem", "certificate expired", False),
        ("other", bad.TLS / "other.pem", "certificate not trusted", False),
    ],
)
def test_each_certificate_is_told_apart(certificate: str, ca_file: Path | None, result: str, trusted: bool) -> None:
    found = seen(bad.answering(), certificate=certificate, ca_file=ca_file)
    assert (found.result, found.trusted) == (result, trusted)
    # 2126-10-28 14:46:56 UTC, as `openssl x509 -enddate` says of own.pem
    assert found.ends == (4_948_872_416 if trusted else None)
    assert ("tls" in found.phases) is trusted


def test_a_port_that_refuses_one_that_hangs_and_a_name_that_is_none() -> None:
    with bad.refusing() as port:
        assert look(Target(f"http://127.0.0.1:{port}/")).result == "refused"
        assert look(Target(f"tcp://127.0.0.1:{port}")).result == "refused"
    with bad.deaf() as port:
        found = look(Target(f"http://127.0.0.1:{port}/", timeout=0.3))
        assert found.result == "slow connect"
        assert 0.29 < found.total < 2
    assert look(Target("http://shop.invalid/", timeout=10)).result == "name not found"


def test_a_name_server_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20) or [])
    found = look(Target("http://shop.example/", timeout=0.3))
    over.set()
    assert (found.result, found.said) == ("slow name", "did not come through within 0.3 s")
    assert found.total < 2


def test_look_ups_that_hang_are_bounded_and_more_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(_probing, "_look_ups", threading.Semaphore(2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20) or [])
    for _ in range(2):
        assert look(Target("http://shop.example/", timeout=0.1)).result == "slow name"
    with pytest.raises(_probing.NotMeasured, match="look-ups of names hang already"):
        look(Target("http://shop.example/", timeout=0.1))
    over.set()


def test_what_a_target_says_makes_no_new_words() -> None:
    """Ever new redirects, headers and bodies of a hostile target give the same few words, so nothing grows."""
    said = {
        seen(bad.answering(f"{n}".encode(), "302 Found", f"Location: http://{n}.example/\x1b[31m"), text=f"{n}x").said
        for n in range(5)
    }
    assert said == {"redirects to another server, which is not asked"}


def test_of_several_addresses_the_next_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with bad.refusing() as closed, bad.serving(bad.answering()) as port:
        addresses = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", one)) for one in (closed, port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        found = look(Target("http://shop.example/"))
    assert found.result == "answered"
    assert set(found.phases) == {"dns", "connect", "first_byte"}


def test_a_name_that_leads_to_the_metadata_of_a_cloud_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [(socket.AF_INET, 1, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    for url in ("http://shop.example/", "http://169.254.169.254/latest"):
        with pytest.raises(_probing.NotMeasured, match="an address that is never read"):
            look(Target(url))


def test_a_machine_without_descriptors_says_nothing_of_the_target() -> None:
    """EMFILE is this machine's trouble: not measured, never bad."""
    held: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with bad.serving(bad.answering()) as port:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            with suppress(OSError):
                while True:
                    held.append(os.dup(0))
            with pytest.raises(_probing.NotMeasured, match="EMFILE"):
                look(Target(f"tcp://127.0.0.1:{port}"))
        finally:
            for one in held:
                os.close(one)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert look(Target(f"tcp://127.0.0.1:{port}")).result == "answered"


def test_the_phases_are_timed_apart() -> None:
    """Each wait stands in its own phase, and nowhere else."""

    def slowly(line: socket.socket, over: threading.Event) -> None:
        bad.asked(line)
        over.wait(0.5)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        over.wait(0.3)
        line.sendall(b"b")

    found = seen(slowly, certificate="own", ca_file=CA)
    assert found.result == "answered"
    assert set(found.phases) == {"connect", "tls", "first_byte"}
    assert 0.5 <= found.phases["first_byte"] < found.total - 0.29, "not the wait in the body"
    assert found.phases["connect"] + found.phases["tls"] < 0.5, "not the wait for the first byte"
    assert found.total - sum(found.phases.values()) >= 0.29


def test_a_hostile_target_costs_little_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for act in (CASES["a gzip bomb"][0], CASES["a body without end"][0], CASES["one header without end"][0]):
        seen(act, text="never there")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


@pytest.fixture
def exporter(tmp_path: Path) -> Any:
    program = shutil.which("prometheus-blackbox-exporter")
    if not program:
        pytest.skip("prometheus-blackbox-exporter is not installed")
    with bad.refusing() as port:
        pass
    settings = tmp_path / "blackbox.yml"
    settings.write_text(
        f"modules:\n  ok: {{prober: http, timeout: 2s, http: {{tls_config: {{ca_file: {CA}}}}}}}\n"
        "  text: {prober: http, timeout: 2s, http: {fail_if_body_not_matches_regexp: [open]}}\n"
        "  port: {prober: tcp, timeout: 2s}\n"
    )
    command = [program, f"--config.file={settings}", f"--web.listen-address=127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _answers(f"http://127.0.0.1:{port}/-/healthy", running)
        yield lambda module, target: _text(f"http://127.0.0.1:{port}/probe?module={module}&target={target}")
    finally:
        running.terminate()
        running.wait(10)


def _answers(url: str, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and running.poll() is None:
        try:
            _text(url)
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the exporter did not start")


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


EXPORTED: dict[str, tuple[str, Callable[[], AbstractContextManager[int]], str, str, int]] = {
    "good": ("ok", lambda: bad.serving(bad.answering()), "http://127.0.0.1:{}/", "answered", 1),
    "secure": ("ok", lambda: bad.serving(bad.answering(), "own"), "https://127.0.0.1:{}/", "answered", 1),
    "refused": ("ok", bad.refusing, "http://127.0.0.1:{}/", "unreachable", 0),
    "status": ("ok", lambda: bad.serving(bad.answering(status="503 x")), "http://127.0.0.1:{}/", "wrong status", 0),
    "text": ("text", lambda: bad.serving(bad.answering()), "http://127.0.0.1:{}/", "wrong text", 0),
    "port": ("port", lambda: bad.serving(bad.silent), "127.0.0.1:{}", "answered", 1),
    "name": ("ok", lambda: nullcontext(0), "http://shop.invalid/", "unreachable", 0),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_what_the_exporter_says_now_is_read_as_the_probe_sees_it(
    name: str, exporter: Callable[[str, str], str], tmp_path: Path
) -> None:
    """The saved answer of the real exporter: the same verdict, its own duration, and the same certificate."""
    module, server, place, result, good = EXPORTED[name]
    with server() as port:
        text = exporter(module, place.format(port))
    path = tmp_path / "shop.prom"
    path.write_text(text)
    saved = item(path, Given(component="shop", at=1_795_000_000))
    assert probe.recognise(saved)
    [page] = probe.parse(saved, probe.Config(Common("probe", "p")))
    values = {(fact.series.signal, fact.series.segment): fact.value for fact in page.records}
    assert values["availability", ""] == values["availability", f"result={result}"] == Ratio(good, 1)
    told = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }
    assert (("latency", "") in values) == bool(good)
    if good:
        latency = values["latency", ""]
        assert isinstance(latency, Histogram)
        [total] = latency.sums.values()
        assert total == round(told["probe_duration_seconds"] * 10**latency.layout.digits)
    if name == "secure":
        assert told["probe_ssl_earliest_cert_expiry"] == 4_948_872_416
        assert values["certificate", ""] == Ratio(1, 1)
    assert ("certificate", "") in values or name != "secure"
