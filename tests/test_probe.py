"""The probe as a source: ticks, coverage, control, what is stored of a look, and what is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import _probing, probe
from connectors._files import item
from tandem import collect, connect, report
from tandem.cli import main
from tandem.config import Config, Source, parse
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.owner import Owner
from tandem.records import DAY, Covered, Fact, Finding, Gap, Histogram, Page, Ratio
from tandem.report import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import fakes
from tests import misbehaving as bad
from tests.replay import Answer, Asked, Server, serve

BLACKBOX = Path(__file__).parent / "payloads" / "blackbox"
TICK = fakes.NOW
"""The beginning of a bucket, and of a tick of any interval that divides 5 minutes."""


def config(*checks: probe.Check, every: int = 30, **more: Any) -> probe.Config:
    common = Common("probe", "uptime", every=every, **more.pop("common", {}))
    return probe.Config(common, check=checks, **more)


def check(url: str, component: str = "shop", **more: Any) -> probe.Check:
    return probe.Check(component, url, **{"timeout": 9.0, **more})


def looked(given: probe.Config, now: int = TICK, **more: Any) -> Page:
    """The one page of a pull."""
    [page] = probe.fetch(given, Pull(now - 600, now, now, **more))
    return page


def values(page: Page) -> dict[tuple[str, str, str], Any]:
    return {
        (one.series.component, one.series.signal, one.series.segment): one.value
        for one in page.records
        if isinstance(one, Fact)
    }


def good(asked: Asked) -> Answer:
    return Answer("all is well")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(good) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def source(given: probe.Config) -> Source:
    return Source(given.common, connect.load("probe"), given)


def availability(store: Store, component: str = "shop") -> tuple[int, int]:
    reader = Reader(store)
    ids = [kept.id for kept in reader.series(signal="availability", component=component) if not kept.placed.segment]
    found = [merge[0] for merge in reader.totals("ratio", ids, [(0, 1 << 40)]).values() if merge[0]]
    return sum(one for one, _ in found), sum(total for _, total in found)


def covered(store: Store, component: str = "shop") -> list[tuple[int, int]]:
    spans = Reader(store).all_coverage(0, 1 << 40)
    return [span for (_, name, _), found in spans.items() if name == component for span in found]


# -- one look


def test_a_good_look_is_one_sample_with_its_phases(server: Server) -> None:
    page = looked(config(check(server.url)))
    found = values(page)
    assert found["shop", "availability", ""] == Ratio(1, 1)
    assert found["shop", "availability", "result=answered"] == Ratio(1, 1)
    assert {segment for _, signal, segment in found if signal == "latency"} == {"", "phase=connect", "phase=first_byte"}
    assert all(sum(one.counts.values()) == 1 for one in found.values() if isinstance(one, Histogram))
    assert {one.ts for one in page.records} == {TICK}
    assert page.covered == [Covered(TICK, TICK + 30, "shop")]
    assert (page.slice and page.slice.name, page.gaps, page.findings) == (f"poll:{TICK}", [], [])
    [asked] = server.asked
    assert (asked.method, asked.path, asked.headers["user-agent"]) == ("GET", "/", "tandem-health-probe")


def test_a_failure_stays_out_of_latency_and_says_why() -> None:
    with bad.refusing() as port:
        page = looked(config(check(f"http://127.0.0.1:{port}/health?key=s3cret")))
    assert values(page) == {
        ("shop", "availability", ""): Ratio(0, 1),
        ("shop", "availability", "result=refused"): Ratio(0, 1),
    }
    assert page.findings == [Finding("remark", "refused: it refused the connection", f"http://127.0.0.1:{port}/health")]
    assert "s3cret" not in repr(page), "a query may hold a secret and is said nowhere"


def test_of_many_with_one_trouble_some_are_named_and_the_rest_is_counted() -> None:
    with bad.refusing() as port:
        page = looked(config(*[check(f"http://127.0.0.1:{port}/{n}", f"c{n}") for n in range(60)]))
    assert len(page.findings) == probe.NAMED + 1
    assert page.findings[-1] == Finding("remark", "refused: it refused the connection", "further targets", 40)
    assert sum(finding.count for finding in page.findings) == 60


def test_several_checks_of_a_component_add_up_and_are_segments(server: Server) -> None:
    checks = check(f"{server.url}/a"), check(f"{server.url}/b", name="b"), check(f"{server.url}/c", "cart")
    found = values(looked(config(*checks)))
    assert found["shop", "availability", ""] == Ratio(2, 2)
    assert found["shop", "availability", f"check={server.url}/a"] == Ratio(1, 1)
    assert found["shop", "availability", "check=b"] == Ratio(1, 1)
    assert found["cart", "availability", ""] == Ratio(1, 1)
    assert not [segment for name, _, segment in found if name == "cart" and segment.startswith("check=")]


@pytest.mark.parametrize(("days", "expected"), [(14, Ratio(1, 1)), (40_000, Ratio(0, 1))])
def test_a_certificate_is_judged_against_the_days_of_the_configuration(days: int, expected: Ratio) -> None:
    with bad.serving(bad.answering(), "own") as port:
        given = config(check(f"https://127.0.0.1:{port}"), certificate_days=days,
                       common={"ca_file": bad.TLS / "own.pem"})  # fmt: skip
        page = looked(given)
    assert values(page)["shop", "certificate", ""] == expected
    assert values(page)["shop", "availability", ""] == Ratio(1, 1)
    said = [finding.reason for finding in page.findings]
    assert said == ([] if expected.good else ["its certificate ends on 2126-10-28"])


def test_the_days_that_a_certificate_lasts_are_told_once_a_day(store: Store) -> None:
    with bad.serving(bad.answering(), "own") as port:
        given = config(check(f"https://127.0.0.1:{port}"), common={"ca_file": bad.TLS / "own.pem"})
        for now in (TICK, TICK + 30, TICK + DAY, TICK + DAY + 30):
            assert collect.pull(store, source(given), now).error == ""
    ends = 4_948_872_416
    told = store.cursor().execute("SELECT ts, value FROM sample ORDER BY ts").fetchall()
    assert told == [(at, repr(float((ends - at) // DAY))) for at in (TICK, TICK + DAY)]


def test_an_untrusted_certificate_is_bad_for_both_signals() -> None:
    with bad.serving(bad.answering(), "own") as port:
        found = values(looked(config(check(f"https://127.0.0.1:{port}"))))
    assert found["shop", "certificate", ""] == found["shop", "availability", ""] == Ratio(0, 1)


def test_a_redirect_to_another_server_is_never_followed(server: Server) -> None:
    with serve(lambda asked: Answer(b"", 302, {"Location": f"{server.url}/login"})) as away:
        found = values(looked(config(check(away.url))))
    assert found["shop", "availability", "result=redirected away"] == Ratio(0, 1)
    assert not server.asked


# -- control


def test_when_the_control_fails_too_nothing_is_called_bad() -> None:
    with bad.refusing() as port, bad.refusing() as control:
        given = config(check(f"http://127.0.0.1:{port}"), control=f"tcp://127.0.0.1:{control}")
        page = looked(given)
    assert (page.records, page.covered) == ([], [])
    assert page.gaps == [Gap(TICK, TICK + 30, "the control address failed too (refused)")]
    assert [finding.reason for finding in page.findings] == ["not measured: the control address failed too (refused)"]


def test_when_the_control_answers_a_failure_is_bad(server: Server) -> None:
    """Any answer of the control says that the network is there: a login page too."""
    with bad.refusing() as port, serve(lambda asked: Answer("no", 403)) as control:
        checks = [check(f"http://127.0.0.1:{port}", f"c{n}") for n in range(20)]
        page = looked(config(check(server.url), *checks, control=control.url))
        assert values(page)["c1", "availability", ""] == Ratio(0, 1)
        assert len(control.asked) == 1, "one look at the control holds for all that fail within a second"


def test_only_what_failed_is_not_measured(server: Server) -> None:
    with bad.refusing() as port, bad.refusing() as control:
        given = config(check(server.url), check(f"http://127.0.0.1:{port}", "cart"),
                       control=f"tcp://127.0.0.1:{control}")  # fmt: skip
        page = looked(given)
    assert {name for name, _, _ in values(page)} == {"shop"}
    assert page.covered == [Covered(TICK, TICK + 30, "shop")]
    assert page.gaps == [Gap(TICK, TICK + 30, "the control address failed too (refused)", "cart")]


def test_an_address_that_is_never_read_is_not_measured(server: Server) -> None:
    page = looked(config(check("http://169.254.169.254/latest/"), check(server.url, "cart")))
    assert not [key for key in values(page) if key[0] == "shop"]
    assert "never read" in page.gaps[0].reason


# -- ticks


def test_a_tick_is_counted_once_however_often_it_is_asked(store: Store, server: Server) -> None:
    """sync beside serve, twice within one interval: no request, no sample, no coverage is made up."""
    given = source(config(check(server.url)))
    for now in (TICK, TICK + 1, TICK + 29):
        collect.pull(store, given, now)
    assert (availability(store), len(server.asked), covered(store)) == ((1, 1), 1, [(TICK, TICK + 30)])
    collect.pull(store, given, TICK + 30)
    assert (availability(store), len(server.asked), covered(store)) == ((2, 2), 2, [(TICK, TICK + 60)])


def test_ticks_that_were_missed_are_less_coverage_and_a_gap_never_bad(store: Store, server: Server) -> None:
    given = source(config(check(server.url)))
    ticks = [TICK + 30 * n for n in (0, 1, 2, 10, 11, 40)]
    for tick in ticks:
        collect.pull(store, given, tick + 3)
    assert availability(store) == (6, 6)
    assert covered(store) == [(TICK, TICK + 90), (TICK + 300, TICK + 360), (TICK + 1200, TICK + 1230)]
    assert sum(high - low for low, high in covered(store)) == 30 * len(ticks)
    gaps = Reader(store).gaps(1, 0, 1 << 40)
    assert [(low, high) for _, _, low, high, _ in gaps] == [(TICK + 90, TICK + 300), (TICK + 360, TICK + 1200)]
    assert "Tandem was not running" in gaps[0][4]


def test_a_source_is_never_newer_than_now(store: Store, server: Server, tmp_path: Path) -> None:
    """A look in the middle of a bucket: what it brought is as new as the look, not as the end of its bucket."""
    given = source(config(check(server.url)))
    collect.pull(store, given, TICK + 60)
    context = SimpleNamespace(config=fakes.config(tmp_path, given), store=store)
    [state] = report.sources(context, Window(TICK - 3600, TICK + 60), now=TICK + 60).sources
    assert (state.newest, state.state, state.every) == (TICK + 60, "up to date", 30)


def test_each_check_comes_at_its_own_interval(store: Store, server: Server) -> None:
    given = config(check(f"{server.url}/often", "often", every="30s"), check(f"{server.url}/seldom", "seldom",
                   every="2m"), every=300)  # fmt: skip
    assert probe.interval(given) == source(given).every == 30
    begin = TICK // 120 * 120
    for tick in range(begin, begin + 300, 30):
        collect.pull(store, source(given), tick)
    paths = [asked.path for asked in server.asked]
    assert (paths.count("/often"), paths.count("/seldom")) == (10, 3)
    assert (availability(store, "often"), availability(store, "seldom")) == ((10, 10), (3, 3))
    assert (covered(store, "often"), covered(store, "seldom")) == ([(begin, begin + 300)], [(begin, begin + 360)])


def test_another_text_to_expect_takes_nothing_back(store: Store, server: Server) -> None:
    collect.pull(store, source(config(check(server.url))), TICK)
    collect.pull(store, source(config(check(server.url, expect_text="shop is open"))), TICK + 30)
    assert availability(store) == (1, 2)


def test_recovery_is_seen_at_the_next_tick_and_what_was_bad_stays_bad(store: Store) -> None:
    answers = iter([Answer("x", 503), Answer("x", 500), Answer("x")])
    with serve(lambda asked: next(answers)) as server:
        for tick in range(TICK, TICK + 90, 30):
            collect.pull(store, source(config(check(server.url))), tick)
    assert availability(store) == (1, 3)


def test_at_most_fifty_are_in_flight_and_they_do_not_begin_together() -> None:
    now, most, begins = 0, 0, []
    lock = threading.Lock()

    def slow(asked: Asked) -> Answer:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
            begins.append(time.monotonic())
        threading.Event().wait(0.3)
        with lock:
            now -= 1
        return Answer("ok")

    with serve(slow) as server:
        page = looked(config(*[check(f"{server.url}/{n}", f"c{n}", timeout=20.0) for n in range(150)]))
    assert sum(one.good for key, one in values(page).items() if key[1:] == ("availability", "")) == 150
    assert 20 < most <= probe.AT_ONCE
    first = sorted(begins)[:40]
    assert first[-1] - first[0] > 0.15, "strewn, not all at once"


def test_a_slow_check_holds_no_other_up(server: Server) -> None:
    with bad.serving(bad.silent) as port:
        begun = time.monotonic()
        slow = [check(f"http://127.0.0.1:{port}", f"slow{n}", timeout=1.0) for n in range(20)]
        page = looked(config(*slow, *[check(server.url, f"fast{n}", timeout=9.0) for n in range(20)]))
    assert time.monotonic() - begun < 8, "twenty one after the other would take twenty seconds"
    found = values(page)
    assert all(found[f"fast{n}", "availability", ""] == Ratio(1, 1) for n in range(20))
    assert all(found[f"slow{n}", "availability", "result=slow first byte"] == Ratio(0, 1) for n in range(20))


def test_what_its_interval_has_no_time_for_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "AT_ONCE", 1)
    with bad.serving(bad.silent) as port:
        checks = [check(f"http://127.0.0.1:{port}", f"c{n}", timeout=0.6) for n in range(4)]
        page = looked(config(*checks, every=1))
    assert 1 <= len(page.covered or ()) <= 3
    assert {gap.reason for gap in page.gaps} == {"the checks before it were too slow for one interval"}
    assert len(page.gaps) + len(page.covered or ()) == 4


def test_a_pull_that_is_told_to_stop_waits_for_nothing() -> None:
    def stop(said: str, share: float | None) -> None:
        raise SourceDown("stopped.")

    with bad.serving(bad.silent) as port, serve(good) as server:
        slow = [check(f"http://127.0.0.1:{port}", f"c{n}", timeout=9.0) for n in range(30)]
        begun = time.monotonic()
        with pytest.raises(SourceDown):
            looked(config(check(server.url), *slow), progress=stop)
        assert time.monotonic() - begun < 5


def test_the_owner_looks_at_every_tick_while_other_sources_hang(tmp_path: Path, server: Server) -> None:
    """Four pulls that hang take all the turns there are; the probe waits for none."""
    over = threading.Event()

    def hanging(pull: Pull) -> Iterator[Page]:
        over.wait(20)
        yield Page(covered=())

    slow = [fakes.source(hanging, name=f"slow{n}", scope=f"slow{n}") for n in range(collect.AT_ONCE)]
    given = source(config(check(server.url, timeout=0.5), every=1))
    seen = threading.Event()
    ends = time.monotonic() + 15
    with Owner.open(fakes.config(tmp_path, *slow, given), time.time) as owner:
        owner.collect(lambda name, what, share: seen.set() if name == "uptime" and share == 1.0 else None)
        while len(server.asked) < 3 and time.monotonic() < ends:
            seen.wait(1)
            seen.clear()
        looks = availability(owner.store)[1]
        over.set()
        assert looks >= 2, "committed while every turn was taken"
        assert sum(high - low for low, high in covered(owner.store)) in (looks, looks + 1)


# -- what it says of itself and refuses

REFUSED: dict[str, tuple[str, str]] = {
    "no scheme": ('url = "shop.example.com"', "should begin with http://, https:// or tcp://"),
    "a file": ('url = "file:///etc/passwd"', "should begin with http://, https:// or tcp://"),
    "a password": ('url = "https://ada:s3cret@shop.example.com"', "holds a user or password"),
    "a port without a number": ('url = "tcp://db.example.com"', "should be tcp://HOST:PORT"),
    "a port that is none": ('url = "http://db.example.com:99999"', "is no address"),
    "a broken address": ('url = "http://[::1"', "is no address"),
    "an interval that is none": ('url = "http://a.example"\nevery = "often"', "is not a duration"),
    "a timeout of nothing": ('url = "http://a.example"\ntimeout = 0', "timeout must be more than 0"),
    "a timeout over its interval": ('url = "http://a.example"\nevery = "5s"\ntimeout = "6s"', "longer than its every"),
    "a status that is none": ('url = "http://a.example"\nexpect_status = 20', "must lie between 100 and 599"),
    "a status of a port": ('url = "tcp://a.example:1"\nexpect_status = 200', "a port has none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_checked_is_refused_in_one_sentence(name: str) -> None:
    keys, reason = REFUSED[name]
    text = f'[[source]]\nconnector = "blackbox"\nname = "up"\n[[source.check]]\ncomponent = "shop"\n{keys}\n'
    with pytest.raises(ValueError, match=reason) as refused:
        parse(text, Path("/x/tandem.toml"))
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_source_of_probes_names_its_components_and_its_interval() -> None:
    text = """
[[source]]
connector = "blackbox"
name = "up"
every = "10m"
  [[source.check]]
  component = "shop"
  url = "https://shop.example.com"
  every = "45s"
  expect_status = [200, 401]
  [[source.check]]
  component = "db"
  url = "tcp://db.example.com:5432"
  timeout = 0.5
"""
    known: Config = parse(text, Path("/x/tandem.toml"))
    [one] = known.sources
    assert (one.common.connector, one.every, {c.name for c in known.components}) == ("probe", 45, {"shop", "db"})
    assert [c.statuses for c in one.config.check] == [{200, 401}, frozenset()]
    assert [c.seconds for c in one.config.check] == [5, 0.5]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (config(), r"has no \[\[source.check\]\]"),
        (config(check("http://a.example"), common={"token_env": "ANY"}), "sends no token"),
    ],
)
def test_a_source_that_cannot_look_says_what_to_do(given: probe.Config, said: str) -> None:
    with pytest.raises(SourceRefused, match=said):
        looked(given)


def test_every_connector_is_listed_with_its_aliases() -> None:
    done = CliRunner().invoke(main, ["sources", "--known", "--json"])
    listed = {one["connector"]: one for one in json.loads(done.output)}
    assert set(listed) == set(connect.names())
    assert listed["probe"]["aliases"] == ["blackbox"]
    assert all(list(connect.load(name).ABOUT.aliases) == one["aliases"] for name, one in listed.items())


# -- saved answers


def saved(path: Path, **given: Any) -> Page:
    known = config(check("http://a.example")) if given.pop("configured", False) else probe.Config(Common("probe", "p"))
    one = item(path, Given(**{"component": "shop", "at": TICK + 7, **given}))
    assert probe.recognise(one)
    [page] = probe.parse(one, known)
    return page


def test_a_saved_answer_is_one_sample() -> None:
    found = values(saved(BLACKBOX / "probe_up.prom"))
    assert found["shop", "availability", ""] == Ratio(1, 1)
    latency = {key[2]: one for key, one in found.items() if key[1] == "latency"}
    assert set(latency) == {"", "phase=dns", "phase=connect", "phase=first_byte"}
    assert [sum(one.sums.values()) / 10**one.layout.digits for one in latency.values()] == pytest.approx(
        [0.002230048, 0.000010235, 0.000592434, 0.000927334], abs=5e-7
    )
    assert {one.ts for one in saved(BLACKBOX / "probe_up.prom").records} == {TICK}


def test_a_saved_failure_has_no_duration() -> None:
    assert values(saved(BLACKBOX / "probe_down.prom")) == {
        ("shop", "availability", ""): Ratio(0, 1),
        ("shop", "availability", "result=unreachable"): Ratio(0, 1),
    }


def test_without_a_time_the_time_of_the_file_is_taken_and_said(tmp_path: Path) -> None:
    path = tmp_path / "shop.prom"
    path.write_bytes((BLACKBOX / "probe_up.prom").read_bytes())
    page = saved(path, at=None)
    assert {one.ts for one in page.records} == {int(path.stat().st_mtime) // 300 * 300}
    assert [finding.reason for finding in page.findings] == ["has no times; its modification time was taken"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('probe_success{instance="a"} 1\nprobe_success 1\n', "is not the answer to one probe"),
        ("probe_success 1\nprobe_success 0\n", "holds several answers"),
        ("probe_success 0.5\n", "holds several answers"),
    ],
)
def test_what_is_not_one_answer_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.prom"
    path.write_text(f"# TYPE probe_success gauge\n{text}")
    with pytest.raises(SourceRefused, match=said):
        saved(path)


def test_a_saved_answer_is_imported_once_under_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is also Prometheus's, which leaves it to who knows its system; the later imports add nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text('store = "tandem.duckdb"\n')
    run = CliRunner().invoke
    for connector in ([], ["--connector", "blackbox"], ["--connector", "probe"]):
        there = BLACKBOX if connector else BLACKBOX / "probe_up.prom"
        done = run(main, ["import", str(there), *connector, "--component", "shop", "--at",
                          "2026-09-21T12:00:00Z"])  # fmt: skip
        assert "probe_up.prom" in done.output
    with open_store(tmp_path / "tandem.duckdb") as opened:
        assert availability(opened) == (1, 2)


def test_a_folder_of_saved_answers_is_read_in_place_of_looks(tmp_path: Path, store: Store) -> None:
    for name in ("probe_up.prom", "probe_down.prom"):
        (tmp_path / "exports").mkdir(exist_ok=True)
        (tmp_path / "exports" / name).write_bytes((BLACKBOX / name).read_bytes())
    common = Common("probe", "uptime", component=("shop",))
    given = probe.Config(common, url=f"file:{tmp_path / 'exports'}")
    now = int(time.time()) + 60
    for _ in range(2):
        outcome = collect.pull(store, source(given), now)
        assert outcome.error == ""
    assert availability(store) == (1, 2)


# -- the rest


@pytest.mark.parametrize(
    ("url", "onward", "followed"),
    [
        ("http://a.example/x", "https://a.example/y", True),
        ("http://a.example/x", "https://a.example:8443/y", False),
        ("http://a.example:8080/x", "https://a.example/y", False),
        ("http://a.example/x", "https://b.example/y", False),
        ("https://a.example/x", "http://a.example/y", False),
    ],
)
def test_only_the_step_to_https_of_the_same_host_leaves_a_server(url: str, onward: str, followed: bool) -> None:
    assert _probing._upgrade(url, onward) is followed
    assert _probing._server(url) != _probing._server(onward)


@pytest.mark.parametrize("certificate", ["own", "expired"])
def test_a_control_with_a_certificate_that_is_not_trusted_still_shows_the_network(certificate: str) -> None:
    with bad.refusing() as port, bad.serving(bad.answering(), certificate) as control:
        page = looked(config(check(f"http://127.0.0.1:{port}"), control=f"https://127.0.0.1:{control}"))
    assert values(page)["shop", "availability", ""] == Ratio(0, 1)


def test_the_fewest_requests_possible_are_made(
    store: Store, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    given = source(config(*[check(f"{server.url}/{n}", f"c{n}") for n in range(10)]))
    for now in (TICK, TICK + 5, TICK + 30):
        collect.pull(store, given, now)
    print(f"three pulls in two ticks of ten checks: {len(server.asked)} requests, fewest possible 20")
    assert len(server.asked) == 20


def test_days_are_of_utc() -> None:
    assert _probing.day_of(2 * DAY - 1) == "1970-01-02"
