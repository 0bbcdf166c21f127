"""The docker connector: looks at a replayed engine, what events and counts prove, and saved answers."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from connectors import _http, docker
from connectors._files import item
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import Covered, Event, Fact, Gap, Page, Ratio
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import fakes
from tests.docker_server import Engine, image_id
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.replay import Answer, Asked, serve

PAYLOADS = Path(__file__).parent / "payloads" / "docker"
TLS = Path(__file__).parent / "payloads" / "tls"
T0 = fakes.NOW // 300 * 300
CART = {"com.docker.compose.service": "cart", "com.docker.compose.project": "shop"}


def config(url: str = "unix:///nowhere.sock", **more: Any) -> docker.Config:
    common = Common("docker", "host", **more.pop("common", {"component": ("shop",)}))
    return docker.Config(common, url=url, **more)


class Looking:
    """Looks at one engine, each with what the one before it left."""

    def __init__(self, engine: Engine, **more: Any) -> None:
        self.engine = engine
        self.more = more
        self.state: Any = None
        self.open: tuple[Event, ...] = ()
        self.asked: list[Asked] = []

    def __call__(self, now: int, **more: Any) -> Page:
        with serve(self.engine.answer) as server:
            pull = Pull(now - 900, now, now, state=self.state, open=self.open, first=self.state is None, **more)
            [page] = docker.fetch(config(server.url, **self.more), pull)
            self.asked = server.asked
        self.state = json.loads(json.dumps(page.state))
        last = {one.key: one for one in (*self.open, *events(page)) if one.kind == "deployment"}
        self.open = tuple(one for one in last.values() if one.outcome == "open")
        return page


def events(page: Page, kind: str = "") -> list[Event]:
    return [one for one in page.records if isinstance(one, Event) and kind in ("", one.kind)]


def ratios(page: Page) -> dict[str, Ratio]:
    """Availability by segment, all containers together."""
    found: dict[str, Ratio] = {}
    for one in page.records:
        if isinstance(one, Fact) and isinstance(one.value, Ratio):
            found[one.series.segment] = found.get(one.series.segment, Ratio()) + one.value
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


# -- availability


def test_each_state_is_good_bad_or_left_out() -> None:
    engine = Engine()
    for name, health in (("well", "healthy"), ("ill", "unhealthy"), ("new", "starting"), ("plain", "")):
        engine.run(name, "shop/app:1", T0 - 900, health=health)
    for name, code in (("done", 0), ("broken", 3), ("told", 143)):
        engine.run(name, "shop/app:1", T0 - 900)
        engine.die(name, T0 - 800, code)
    engine.run("stopped", "shop/app:1", T0 - 900)
    engine.stop("stopped", T0 - 700)
    for name, state in (("p", "paused"), ("c", "created"), ("d", "dead"), ("r", "restarting"), ("odd", "melting")):
        engine.run(name, "shop/app:1", T0 - 900).state = state
    page = Looking(engine)(T0)
    found = ratios(page)
    assert found.pop("") == Ratio(2, 6)
    assert found == {
        "status=healthy": Ratio(1, 1), "status=running": Ratio(1, 1), "status=unhealthy": Ratio(0, 1),
        "status=failed": Ratio(0, 1), "status=dead": Ratio(0, 1), "status=restarting": Ratio(0, 1),
    }  # fmt: skip
    assert page.covered == [Covered(T0, T0 + 300)]
    assert [(one.kind, one.count) for one in page.findings if '"melting" is unknown' in one.reason] == [("remark", 1)]


def test_a_status_of_the_configuration_wins() -> None:
    engine = Engine()
    engine.run("p", "shop/app:1", T0 - 900).state = "paused"
    page = Looking(engine, common={"component": ("shop",), "status": {"paused": "bad"}})(T0)
    assert ratios(page)[""] == Ratio(0, 1)


def test_what_is_not_meant_to_run_does_not_count() -> None:
    engine = Engine()
    engine.run("shop-a", "a:1", T0 - 900)
    engine.run("shop-a-migrate", "a:1", T0 - 900)
    engine.run("other", "a:1", T0 - 900)
    engine.run("shop-b-run-1", "a:1", T0 - 900, {"com.docker.compose.oneoff": "True"})
    look = Looking(engine, containers=("shop-*",), ignore=("*-migrate",))
    assert ratios(look(T0))[""] == Ratio(1, 1)
    assert sum("/containers/" in one.path and one.path != "/containers/json" for one in look.asked) == 1


def test_looks_add_up_in_the_store_once_per_tick_and_a_missed_one_is_a_gap(store: Store) -> None:
    engine = Engine()
    engine.run("a", "a:1", T0 - 900)
    with serve(engine.answer) as server:
        given = config(server.url)
        source = Source(given.common, connect.load("docker"), given)
        for now in (T0 + 10, T0 + 70, T0 + 310, T0 + 1210):
            assert collect.pull(store, source, now).error == ""
        asked = len([one for one in server.asked if one.path == "/containers/json"])
    assert asked == 3, "the second pull of one tick asks for nothing"
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal="availability", component="shop") if not one.placed.segment]
    [[merge]] = list(reader.totals("ratio", ids, [(0, 1 << 40)]).values())
    assert tuple(merge or ()) == (3, 3)
    spans = [span for (_, _, _), some in reader.all_coverage(0, 1 << 40).items() for span in some]
    assert (T0, T0 + 600) in spans
    assert (T0 + 1200, T0 + 1500) in spans


# -- restarts


def test_ends_are_told_once_with_their_cause() -> None:
    """Out of memory, a crash, a clean end, an asked restart and a stop: five ends, four restarts."""
    engine = Engine()
    for name in ("oom", "crash", "clean", "asked", "stopped"):
        engine.run(name, "a:1", T0 - 900, policy="always")
    look = Looking(engine)
    assert events(look(T0)) == []
    engine.again("oom", T0 + 50, 137, oom=True)
    engine.again("crash", T0 + 60, 3)
    engine.again("clean", T0 + 70, 0)
    engine.stop("asked", T0 + 80)
    engine.start("asked", T0 + 81)
    engine.stop("stopped", T0 + 90)
    found = {dict(one.labels)["container"]: (one.trigger, one.outcome, one.ts) for one in events(look(T0 + 300))}
    assert found == {
        "oom": ("oom", "bad", T0 + 50), "crash": ("crash", "bad", T0 + 60),
        "clean": ("finished", "excluded", T0 + 70), "asked": ("asked", "good", T0 + 80),
    }  # fmt: skip
    assert events(look(T0 + 600)) == [], "nothing is told twice"
    assert ratios(look(T0 + 900))[""] == Ratio(4, 4), "who was stopped on purpose is not down"


def forget(engine: Engine, at: float) -> None:
    """As many health checks as Docker remembers events."""
    engine.run("noisy", "n:1", at, health="healthy")
    for number in range(90):
        engine.checked("noisy", at + number, "healthy")
    assert len(engine.events) == 256
    assert not any(one["Action"] == "die" for one in engine.events)


def test_what_events_forgot_the_counts_still_prove() -> None:
    """Five restarts behind the memory of 256 events: the last with its time, the others as a number in between."""
    engine = Engine()
    engine.run("crash", "a:1", T0 - 900, policy="on-failure")
    look = Looking(engine)
    look(T0)
    for number in range(5):
        engine.again("crash", T0 + 10 + number, 3)
    forget(engine, T0 + 100)
    page = look(T0 + 300)
    last, others = sorted((one for one in events(page)), key=lambda one: "restarts" in dict(one.labels))
    assert (last.ts, last.trigger, last.outcome) == (T0 + 14, "crash", "bad")
    assert dict(others.labels)["restarts"] == "4"
    assert (others.ts, others.ts_latest) == (T0, T0 + 14)
    [gap] = page.gaps
    assert (gap.since, gap.signal) == (T0, "deploy_success")
    assert T0 + 100 < gap.until < T0 + 200
    assert events(look(T0 + 600)) == [], "its event, when it comes, is not another restart"


def test_a_restart_by_hand_that_events_forgot_blames_nobody() -> None:
    engine = Engine()
    engine.run("a", "a:1", T0 - 900, policy="always")
    look = Looking(engine)
    look(T0)
    engine.die("a", T0 + 10, 1)
    engine.start("a", T0 + 20)
    forget(engine, T0 + 100)
    [found] = events(look(T0 + 300))
    assert (found.trigger, found.outcome, found.ts) == ("started", "excluded", T0 + 10)


@pytest.mark.parametrize("remembered", [True, False])
def test_the_first_look_tells_what_a_container_proves(remembered: bool) -> None:
    """A container that ended four times, as captured: each with its event, else the last with its time."""
    look = Looking(Engine())
    rows = json.loads((PAYLOADS / "containers_json_all.json").read_text())
    told = {one["Id"]: one for one in map(json.loads, (one.read_text() for one in PAYLOADS.glob("inspect_*.json")))}
    said = (PAYLOADS / "events.ndjson").read_text() if remembered else ""
    died = [int(one["time"]) for one in map(json.loads, said.splitlines()) if one["Action"] == "die"]

    def answer(asked: Asked) -> Answer:
        if asked.path == "/events":
            return Answer(said)
        return Answer(rows if asked.path == "/containers/json" else told[_key(asked, told)])

    look.engine.answer = answer  # type: ignore[method-assign]
    page = look(1_795_248_300)
    assert ratios(page)[""] == Ratio(1, 3)
    found = [(one.ts, dict(one.labels)["cause"], dict(one.labels).get("restarts")) for one in events(page)]
    if remembered:
        assert len(died) == 4
        assert found == [(ts, "crash", None) for ts in died]
    else:
        assert found == [(1_795_248_084, "crash", None), (1_795_248_078, "crash", "3")]


def _key(asked: Asked, told: Any) -> str:
    return next(key for key in told if key.startswith(asked.path.split("/")[2]))


def test_an_engine_that_began_anew_is_looked_at_as_a_whole() -> None:
    """Its events are gone: every container is asked for again, and that no event is left is a gap."""
    engine = Engine()
    engine.run("a", "a:1", T0 - 900)
    look = Looking(engine)
    look(T0)
    look(T0 + 300)
    assert len(look.asked) == 2, "an unchanged container is not asked for"
    engine.events.clear()
    page = look(T0 + 600)
    assert len(look.asked) == 3
    assert [(one.since, one.until, one.signal) for one in page.gaps] == [(T0 + 300, T0 + 600, "deploy_success")]


# -- deployments


def test_a_newer_image_is_a_deployment_with_the_registry_s_digest() -> None:
    image = "registry.example.com:5000/shop/cart:1.1"
    engine = Engine({image_id(image): ["mirror/cart@sha256:ff", "registry.example.com:5000/shop/cart@sha256:aa"]})
    engine.run("shop-cart-1", "registry.example.com:5000/shop/cart:1.0", T0 - 900, CART)
    look = Looking(engine)
    assert events(look(T0)) == []
    engine.remove("shop-cart-1", T0 + 10)
    labels = {**CART, "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567"}
    for number in (1, 2):
        engine.run(f"shop-cart-{number}", image, T0 + 20 + number, labels)
    [found] = events(look(T0 + 300), "deployment")
    assert (found.outcome, found.version, found.digest) == ("good", "1.1", "sha256:aa")
    assert (found.ts, found.ended, found.commit[:7]) == (T0 + 21, T0 + 21, "0123456")
    assert events(look(T0 + 600)) == []


def test_a_deployment_waits_for_its_health_check_and_ends_with_it() -> None:
    engine = Engine()
    engine.run("cart", "cart:1", T0 - 900, health="healthy")
    look = Looking(engine)
    look(T0)
    engine.remove("cart", T0 + 10)
    engine.run("cart", "cart:2", T0 + 250, health="starting")
    [begun] = events(look(T0 + 300), "deployment")
    assert (begun.outcome, begun.ended) == ("open", None)
    engine.checked("cart", T0 + 400, "healthy")
    [ended] = events(look(T0 + 600), "deployment")
    assert (ended.key, ended.outcome, ended.ended) == (begun.key, "good", T0 + 400)
    assert ended.revision > begun.revision
    assert events(look(T0 + 900)) == []


@pytest.mark.parametrize(("code", "outcome"), [(1, "bad"), (0, "excluded"), (143, "excluded")])
def test_a_new_image_that_does_not_stay_up(code: int, outcome: str) -> None:
    engine = Engine()
    engine.run("cart", "cart:1", T0 - 900)
    look = Looking(engine)
    look(T0)
    engine.remove("cart", T0 + 10)
    engine.run("cart", "cart:2", T0 + 20)
    engine.die("cart", T0 + 30, code)
    [found] = events(look(T0 + 300), "deployment")
    assert (found.outcome, found.ended) == (outcome, T0 + 30 if outcome == "bad" else None)


def test_a_container_that_is_gone_before_it_was_well_decides_nothing() -> None:
    engine = Engine()
    engine.run("cart", "cart:1", T0 - 900)
    look = Looking(engine)
    look(T0)
    engine.remove("cart", T0 + 10)
    engine.run("cart", "cart:2", T0 + 20, health="starting")
    look(T0 + 300)
    engine.remove("cart", T0 + 310)
    page = look(T0 + 600)
    [found] = events(page, "deployment")
    assert found.outcome == "excluded"
    assert "removed before it was known" in page.findings[0].reason


def test_deploy_success_and_duration_follow_in_the_store(store: Store) -> None:
    """An open deployment that turns good counts once, in the bucket of its beginning."""
    engine = Engine()
    engine.run("cart", "cart:1", T0 - 900)
    with serve(engine.answer) as server:
        given = config(server.url)
        source = Source(given.common, connect.load("docker"), given)
        collect.pull(store, source, T0)
        engine.remove("cart", T0 + 10)
        engine.run("cart", "cart:2", T0 + 20, health="starting")
        collect.pull(store, source, T0 + 300)
        engine.checked("cart", T0 + 400, "healthy")
        for now in (T0 + 600, T0 + 900):
            assert collect.pull(store, source, now).error == ""
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal="deploy_success", component="shop")]
    [[merge]] = list(reader.totals("ratio", ids, [(T0, T0 + 300)]).values())
    assert tuple(merge or ()) == (1, 1)


# -- what it costs, and what it keeps to itself


def test_an_unchanged_engine_costs_two_requests() -> None:
    engine = Engine()
    for number in range(40):
        engine.run(f"c{number}", "a:1", T0 - 900 + number)
    look = Looking(engine)
    look(T0)
    first = len(look.asked)
    engine.again("c7", T0 + 10, 1)
    look(T0 + 300)
    changed = len(look.asked)
    look(T0 + 600)
    print(f"requests: first {first} of 42, one changed {changed} of 3, unchanged {len(look.asked)} of 2")
    assert (first, changed, len(look.asked)) == (42, 3, 2)
    look(T0 + 900, sweep=True)
    assert len(look.asked) == 42, "the daily sweep looks at everything"


def test_no_secret_of_a_container_or_of_the_source_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine()
    engine.run("a", f"shop/{TOKEN}:1", T0 - 900)
    path = tmp_path / "t.duckdb"
    said = []
    with virtual(), serve(engine.answer) as server, open_store(path) as store:
        given = config(server.url, common={"component": ("shop",), "token_env": TOKEN_ENV})
        source = Source(given.common, connect.load("docker"), given)
        said.append(repr(collect.pull(store, source, T0)))
        assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
        engine.answer = lambda asked: Answer({"message": f"no {TOKEN}"}, 500)  # type: ignore[method-assign]
    with virtual(), serve(lambda asked: Answer({"message": f"no {TOKEN}"}, 401)) as server, open_store(path) as store:
        given = config(server.url, common={"component": ("shop",), "token_env": TOKEN_ENV})
        said.append(repr(collect.pull(store, Source(given.common, connect.load("docker"), given), T0 + 300)))
    assert "refused" in said[1]
    for text in (*said, caplog.text, path.read_bytes().decode("latin-1")):
        assert TOKEN not in text
        assert "hunter2" not in text
    assert os.environ.get(TOKEN_ENV) is None


def test_hostile_names_stay_data(store: Store) -> None:
    engine = Engine()
    engine.run("<img src=x>`$(id)`", "a'; DROP TABLE event; --:1", T0 - 900)
    with serve(engine.answer) as server:
        given = config(server.url)
        assert collect.pull(store, Source(given.common, connect.load("docker"), given), T0).error == ""
        engine.again("<img src=x>`$(id)`", T0 + 10, 1)
        assert collect.pull(store, Source(given.common, connect.load("docker"), given), T0 + 300).error == ""


def test_what_is_no_engine_is_refused() -> None:
    with serve(lambda asked: Answer({"status": "success"})) as server, pytest.raises(SourceRefused, match="no event"):
        list(docker.fetch(config(server.url), Pull(T0 - 600, T0, T0)))
    with pytest.raises(SourceRefused, match="only one of certificate and key"):
        list(docker.fetch(config(certificate=Path("cert.pem")), Pull(T0 - 600, T0, T0)))
    with pytest.raises(SourceRefused, match="is not there"):
        list(docker.fetch(config(certificate=Path("no.pem"), key=Path("no.pem")), Pull(T0 - 600, T0, T0)))


@contextlib.contextmanager
def guarded(engine: Engine) -> Iterator[str]:
    """An engine that answers only who shows the certificate `own`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            data = engine.answer(Asked("GET", parts.path, tuple(parse_qsl(parts.query)))).data()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "own.pem")
    context.load_verify_locations(TLS / "own.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.handle_error = lambda *args: None  # type: ignore[method-assign]
        running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"https://localhost:{running.server_port}"
        running.shutdown()
        thread.join()


def test_an_engine_behind_tls_is_shown_a_certificate_and_its_own_is_checked() -> None:
    engine = Engine()
    engine.run("a", "a:1", T0 - 900)
    pull = Pull(T0 - 600, T0, T0, first=True)
    own = {"certificate": TLS / "own.pem", "key": TLS / "own.pem"}
    trusting = {"component": ("shop",), "ca_file": TLS / "own.pem"}
    with virtual(_http.Limits(tries=1)), guarded(engine) as url:
        [page] = docker.fetch(config(url, common=trusting, **own), pull)
        assert ratios(page)[""] == Ratio(1, 1)
        with pytest.raises(SourceDown):
            list(docker.fetch(config(url, common=trusting), pull))
        with pytest.raises(SourceRefused, match="certificate that cannot be verified"):
            list(docker.fetch(config(url, **own), pull))


# -- saved answers


def parsed(path: Path, **given: Any) -> list[Page]:
    found = item(path, Given(**given))
    assert docker.recognise(found)
    assert [name for name in connect.names() if connect.load(name).recognise(found)] == ["docker"]
    return list(docker.parse(found, config()))


@pytest.mark.parametrize("name", sorted(one.name for one in PAYLOADS.iterdir() if one.suffix != ".md"))
def test_every_payload_is_recognised_by_exactly_one(name: str) -> None:
    assert parsed(PAYLOADS / name)


def test_saved_containers_are_one_sample_at_the_time_that_is_given() -> None:
    [page] = parsed(PAYLOADS / "containers_json_all.json", at=T0 + 7)
    assert ratios(page) == {"": Ratio(1, 3), "status=unhealthy": Ratio(0, 1), "status=running": Ratio(1, 1),
                            "status=failed": Ratio(0, 1)}  # fmt: skip
    assert {one.ts for one in page.records if isinstance(one, Fact)} == {T0}
    assert page.findings == ()
    [unsaid] = parsed(PAYLOADS / "inspect_crash.json")
    assert "says no time" in unsaid.findings[0].reason


def test_saved_events_tell_restarts_as_the_engine_does() -> None:
    raw = [json.loads(line) for line in (PAYLOADS / "events_filtered.ndjson").read_text().splitlines()]
    died = Counter(one["Actor"]["Attributes"]["name"] for one in raw if one["Action"] == "die")
    found = [one for page in parsed(PAYLOADS / "events_filtered.ndjson") for one in events(page)]
    assert Counter(dict(one.labels)["container"] for one in found) == died
    assert {(one.kind, one.trigger, one.outcome) for one in found} == {("restart", "crash", "bad")}


def test_saved_events_tell_a_change_of_the_image_s_name(tmp_path: Path) -> None:
    engine = Engine()
    engine.run("cart", "cart:1", T0)
    engine.remove("cart", T0 + 5)
    engine.run("cart", "cart:1", T0 + 10)
    engine.remove("cart", T0 + 15)
    engine.run("cart", "cart:2", T0 + 20)
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, engine.events)))
    [found] = [one for page in parsed(path) for one in events(page)]
    assert (found.kind, found.version, found.ts, found.outcome) == ("deployment", "2", T0 + 20, "good")
    assert dict(found.labels)["image_before"] == "cart:1"


def test_want_of_memory_may_be_told_after_the_end(tmp_path: Path) -> None:
    """The kernel's word and the end of the process reach Docker on two ways."""
    engine = Engine()
    engine.run("late", "a:1", T0, policy="always")
    engine.run("none", "a:1", T0, policy="always")
    engine.die("late", T0 + 10, 137, oom=True)
    engine.die("none", T0 + 12, 137, oom=True)
    path = tmp_path / "events.jsonl"
    order = {"start": 0, "die": 1, "oom": 2}
    rows = sorted(engine.events, key=lambda one: (order.get(one["Action"], -1), one["timeNano"]))
    for shift, one in enumerate(rows):
        one["timeNano"] = int((T0 + 20) * 1e9) + shift * 1_000_000
    rows = [one for one in rows if one["Action"] != "oom" or one["Actor"]["Attributes"]["name"] == "late"]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = {dict(one.labels)["container"]: one.trigger for page in parsed(path) for one in events(page)}
    assert found == {"late": "oom", "none": "crash"}


def test_a_gap_names_what_was_missed() -> None:
    engine = Engine()
    engine.run("a", "a:1", T0 - 900)
    look = Looking(engine)
    look(T0)
    reason = "nothing was looked at: Tandem was not running, or was late"
    assert look(T0 + 900).gaps == [Gap(T0 + 300, T0 + 900, reason, signal="availability")]
    assert replace(look(T0 + 1200)).gaps == []
