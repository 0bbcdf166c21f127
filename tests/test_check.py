"""`tandem check`: what holds by whole counts, the exit codes, and the same answer from everybody who is asked."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen
from xml.etree.ElementTree import fromstring

import pytest
from click.testing import CliRunner, Result

from tandem import api, checking, collect, report, slo, times, verdicts
from tandem import config as configuration
from tandem.cli import main
from tandem.config import Component, Objective
from tandem.owner import owner_of
from tandem.records import DAY, Confusion, Covered, Fact, Page, Ratio, Record, Series
from tandem.store.file import Store
from tests import fakes, processes, slow_source
from tests.fakes import NOW
from tests.processes import free_port

HOSTILE = "<b>\"&'\n\x1b[31m\u202e]]>\x00"
NAMES = ("good", "bad", "thin", "mute", "edge")
COMPONENTS = (*(Component(name, product="shop") for name in NAMES), Component("bare", "model", "shop"))
COUNTS = {"good": (1000, 1000), "bad": (900, 1000), "thin": (7, 7), "edge": (990, 1000)}
"""Good and total of each of the last 12 buckets."""
SIGNAL, TARGET = "request_success", Fraction("0.99")


def objective(component: str, **more: Any) -> Objective:
    return Objective(component, SIGNAL, TARGET, **{"window": "7d", **more})


def counted(component: str, good: int, total: int, since: int = NOW - 3600) -> list[Record]:
    series = Series(signal=SIGNAL, component=component)
    return [Fact(series, ts, Ratio(good, total)) for ts in range(since, since + 3600, 300)]


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Any]:
    records = [record for name, counts in COUNTS.items() for record in counted(name, *counts)]
    page = Page(records, covered=[Covered(NOW - 7 * DAY, NOW)])
    given = fakes.config(tmp_path, fakes.source(fakes.saying([page])), components=COMPONENTS,
                         objectives=[objective(name) for name in NAMES if name != "thin"] + [
                             Objective("thin", SIGNAL, Fraction("0.999"), name="thin one")])  # fmt: skip
    with Store(tmp_path / "tandem.duckdb") as store:
        [outcome] = collect.sync(store, given, NOW)
        assert not outcome.error
        yield SimpleNamespace(config=given, store=store, token="", first_done=True, now=lambda: NOW)


def asked(context: Any, *components: str, **params: str) -> tuple[int, Any]:
    given = {"from" if name == "since" else name: [value] for name, value in params.items()}
    status, kind, body = api.answer(context, "GET", "/api/v1/check", given | {"component": list(components)}, {})
    assert kind == "application/json"
    assert api.dumps(json.loads(body)) == body, "sorted keys, shortest floats"
    return status, json.loads(body)


def by_component(answer: Any) -> dict[str, Any]:
    return {one["component"]: one for one in answer["objectives"]}


# -- the answer


def test_every_objective_is_judged_over_its_own_window_and_the_worst_comes_first(context: Any) -> None:
    status, found = asked(context)
    assert (status, found["state"], found["as_of"]) == (200, "breached", context.store.version())
    assert [one["component"] for one in found["objectives"]] == ["bad", "edge", "mute", "thin", "good"]
    states = {name: one["state"] for name, one in by_component(found).items()}
    assert states == {"bad": "breached", "edge": "at risk", "thin": "unknown", "mute": "unknown", "good": "ok"}
    bad = by_component(found)["bad"]
    assert bad.pop("reason")
    assert {bad["burn"].pop(name) for name in slo.BURN_WINDOWS} == {10.0}
    rules = [(one["severity"], one["long"], one["factor"], one["fires"]) for one in bad.pop("rules")]
    assert rules == [("page", "1h", 3.36, True), ("page", "6h", 1.4, True), ("ticket", "1d", 14 / 15, True),
                     ("ticket", "3d", 14 / 15, True)]  # fmt: skip
    assert bad == {
        "component": "bad", "name": "bad request_success", "signal": SIGNAL, "target": 0.99, "window": "7d",
        "good": 10_800, "total": 12_000, "value": 0.9, "budget_left": -9.0, "burn": {}, "state": "breached",
        "why": "burning", "events_left": -1080.0, "coverage": 1.0, "expected": None, "exhausts_in": 0.0,
        "exhausts_over": None, "slices": None, "burn_until": times.text(NOW),
        "base": None, "remarks": [], "corrected": 0, "bound": None,
        "noticed": bad["noticed"], "features": [],
        "sentence": "bad request_success is breached: burning 10 times the budget over the last hour (1,200 bad of"
                    " 12,000) (10,800 good of 12,000, target 99 %, over 7d).",
        "link": "/services?component=bad&tab=bad+request_success&from=20260914T1415Z&to=20260921T1415Z&as_of=1&live=0",
    }  # fmt: skip
    mute = by_component(found)["mute"]
    assert (mute["good"], mute["total"], mute["value"], mute["budget_left"]) == (0, 0, None, None)
    assert (mute["why"], mute["exhausts_in"], mute["noticed"], mute["events_left"]) == (
        "not measured", None, None, None)  # fmt: skip
    assert by_component(found)["thin"]["name"] == "thin one"


def test_it_says_what_show_says(context: Any) -> None:
    shown = json.loads(api.answer(context, "GET", "/api/v1/show", {}, {})[2])
    checked = by_component(asked(context)[1])
    for one in shown:
        for part in one["signals"]:
            mine, theirs = checked[one["component"]], part["objective"]
            assert (mine["state"], mine["reason"]) == (part["state"], part["reason"])
            assert (mine["name"], mine["target"], mine["budget_left"]) == (
                theirs["name"], theirs["target"], theirs["budget_left"],
            )  # fmt: skip
            assert theirs["burn"].items() <= mine["burn"].items()


def test_a_window_that_is_asked_for_is_held_against_the_target_by_whole_counts(context: Any) -> None:
    _, found = asked(context, since=str(NOW - 1800), to=str(NOW - 900))
    for name, (good, total) in COUNTS.items():
        one = by_component(found)[name]
        target = Fraction("0.999") if name == "thin" else TARGET
        assert (one["good"], one["total"]) == (3 * good, 3 * total)
        unsure = 3 * total * (1 - target) < 1
        holds = 3 * good >= target * 3 * total
        assert (one["state"] == "unknown", one["state"] in ("ok", "at risk")) == (unsure, holds and not unsure), name
        assert set(one["burn"].values()) == {None}
        assert one["window"] == "2026-09-21T13:45:00Z/2026-09-21T14:00:00Z"
    assert by_component(found)["mute"]["state"] == "unknown"
    assert asked(context, "edge", since=str(NOW - 1800))[1]["state"] == "at risk", "exactly on target holds"
    assert asked(context, "good", since=str(NOW - 9 * DAY), to=str(NOW - 8 * DAY))[1]["state"] == "unknown"


def test_a_load_that_came_later_does_not_change_an_earlier_verdict(context: Any) -> None:
    before = context.store.version()
    first = asked(context)[1]
    worse = fakes.source(fakes.saying([Page(counted("good", 500, 1000))]))
    assert not collect.pull(context.store, worse, NOW).error
    after = asked(context)[1]
    assert (by_component(after)["good"]["state"], after["as_of"] > before) == ("breached", True)
    assert asked(context, as_of=str(before))[1] == first


def test_named_components_alone_are_answered_and_what_has_no_objective_is_unknown(context: Any) -> None:
    assert list(by_component(asked(context, "good", "good")[1])) == ["good"]
    assert asked(context, "good")[1]["state"] == "ok"
    lacking = ["bare has no objective; add an [[objective]] of it to tandem.toml."]
    empty: dict[str, Any] = {"objectives": [], "joint": [], "drift": [], "gate": ""}
    nothing = empty | {"as_of": context.store.version(), "state": "unknown", "lacking": lacking}
    assert asked(context, "bare") == (200, nothing)
    assert asked(context, "good", "bare")[1]["state"] == "unknown"


def test_an_objective_is_judged_by_the_numbers_of_its_stage(context: Any) -> None:
    cells = {"production": Confusion({("1", "1"): 50, ("1", "0"): 50}), "evaluation": Confusion({("1", "1"): 100})}
    facts = [Fact(Series("outcome", component="bare", stage=stage), NOW - 600, value)  # type: ignore[arg-type]
             for stage, value in cells.items()]  # fmt: skip
    page = Page(facts, covered=[Covered(NOW - DAY, NOW)])
    assert not collect.pull(context.store, fakes.source(fakes.saying([page])), NOW).error
    wanted = Objective("bare", "accuracy", Fraction("0.9"), name="held out", stage="evaluation")
    context.config = replace(context.config, objectives=(wanted,))
    found = {one["name"]: (one["signal"], one["good"], one["total"]) for one in asked(context, "bare")[1]["objectives"]}
    assert found == {"held out": ("accuracy", 100, 100), "bare outcome": ("outcome", 50, 100)}


@pytest.mark.parametrize(("params", "status"), [
    ({"since": "x"}, 400), ({"to": "now"}, 400), ({"since": "now", "to": "now-1h"}, 400), ({"as_of": "99"}, 400),
    ({"as_of": "-1"}, 400), ({"stage": "training"}, 400), ({"component": "shed"}, 404), ({"component": ""}, 404),
    ({"component": HOSTILE}, 404),
])  # fmt: skip
def test_what_cannot_be_checked_is_one_sentence(context: Any, params: dict[str, str], status: int) -> None:
    names = [params.pop("component")] if "component" in params else []
    found, body = asked(context, *names, **params)
    assert (found, set(body)) == (status, {"error"})
    assert "\n" not in body["error"]


# -- text, JUnit XML, exit code


def checked(context: Any, *names: str) -> checking.Check:
    return report.check(context, names, now=NOW)


def test_what_is_read_again_is_what_was_said(context: Any) -> None:
    found = checked(context)
    body = api.answer(context, "GET", "/api/v1/check", {}, {})[2]
    assert checking.parsed(body) == found
    for other in (b"", b"<html>", b"[]", b"{}", b'{"as_of":1,"state":"fine","objectives":[]}',
                  body.replace(b'"good":10800', b'"good":"many"'), body.replace(b"0.99", b"1.5"),
                  body.replace(b'"7d"', b'"soon"')):  # fmt: skip
        with pytest.raises(ValueError, match="not Tandem's"):
            checking.parsed(other)


def test_the_exit_code_is_that_of_the_worst_and_at_risk_holds(context: Any) -> None:
    codes = {names: verdicts.code(checked(context, *names)) for names in (
        (), ("good",), ("edge",), ("bad", "thin"), ("thin",), ("mute",), ("edge", "mute"), ("bare",), ("good", "bare"),
    )}  # fmt: skip
    assert list(codes.values()) == [1, 0, 0, 1, 3, 3, 3, 3, 3]


def test_text_has_a_line_for_each_and_explains_when_asked(context: Any) -> None:
    found = checked(context)
    lines = verdicts.text(found).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["state", "breached", "at risk", "unknown", "unknown", "ok"]
    assert "-900 %" in lines[1]
    told = verdicts.text(found, explain=True)
    assert found.objectives[0].reason in told
    assert "10,800 good of 12,000: 1,200 bad, where a target of 99 % allows 120" in told
    # 2 % of a budget of 7 days in one hour: 0.02 * 7 * 24
    assert "page when burning above 3.36x: 1h 10x, 5m 10x" in told


def test_a_rule_that_a_target_puts_out_of_reach_is_lowered_and_it_is_said(context: Any) -> None:
    context.config = replace(context.config, objectives=(replace(objective("bad"), target=Fraction("0.6")),))
    (one,) = checked(context, "bad").objectives
    said = "\n".join(verdicts.explained(one))
    # 7 days: 0.02 * 168 h = 3.36 times in the hour, above the 2.5 of everything failing; half of that is 1.25.
    assert "page when burning above 1.25x: 1h 0.25x, 5m 0.25x" in said
    assert "would need a burn rate above 3.36, but a target of 60 % burns at most 2.5 times the budget" in said
    standard = replace(objective("bad"), target=Fraction("0.6"), factors="standard")
    context.config = replace(context.config, objectives=(standard,))
    (one,) = checked(context, "bad").objectives
    assert [rule["factor"] for rule in one.rules] == [1.4, 14 / 15, 14 / 15]
    assert one.remarks == []


def test_doctor_says_which_rules_a_target_lowers_and_is_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = "".join(f'[[objective]]\ncomponent = "judge"\nsignal = "{signal}"\ntarget = {target}\n'
                      for signal, target in (("accuracy", "0.9"), ("f1", "0.9"), ("freshness", "0.99")))  # fmt: skip
    (tmp_path / "tandem.toml").write_text('[[component]]\nname = "judge"\nkind = "model"\n' + written)
    Store(tmp_path / "tandem.duckdb").close()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["doctor"])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "all well")
    [note] = [line for line in done.stdout.splitlines() if line.startswith("note")]
    assert "The page rule over the last hour would need a burn rate above 13.44" in note
    assert note.endswith("by base = 0.068. (judge accuracy, judge f1)")


def test_junit_xml_has_a_failure_for_what_is_breached_and_skips_what_is_unknown(context: Any) -> None:
    root = fromstring(verdicts.junit(checked(context)))
    assert root.attrib == {"tests": "5", "failures": "1", "errors": "0", "skipped": "2"}
    [suite] = root
    inside = {case.get("classname"): [part.tag for part in case] for case in suite}
    unknown = ["skipped", "system-out"]
    assert inside == {"bad": ["failure"], "edge": ["system-out"], "thin": unknown, "mute": unknown, "good": []}
    [failure] = suite.iter("failure")
    assert failure.get("message") == by_component(asked(context)[1])["bad"]["sentence"]
    assert "/services?component=bad&" in str(failure.text), "the page that shows it"


def test_hostile_names_stay_text(context: Any) -> None:
    names = {"component": HOSTILE, "name": HOSTILE, "signal": HOSTILE, "reason": HOSTILE}
    some = tuple(replace(one, **names) for one in checked(context).objectives)
    found = checking.Check(1, "breached", some)
    text = verdicts.text(found, explain=True)
    assert not set(text) & set("\x1b\u202e\x00")
    assert len(verdicts.text(found).splitlines()) == len(some) + 1
    xml = verdicts.junit(found)
    assert b"<b>" not in xml
    assert "\u202e" not in xml.decode()
    [suite] = fromstring(xml)
    assert [case.get("name", "")[:6] for case in suite] == ["<b>\"&'"] * len(some)
    assert checking.parsed(api.dumps({"as_of": 1, "state": "ok", "objectives": []})).objectives == ()


# -- the command line


CONFIG = """
[[component]]
name = "shop"
[[component]]
name = "shed"
[[source]]
connector = "junit"
name = "tests"
path = "reports"
component = "shop"
[[objective]]
component = "shop"
signal = "test_success"
target = {target}
window = "52w"
[[objective]]
component = "shop"
signal = "flaky"
target = 0.5
window = "52w"
"""
CASES = '<testcase classname="t" name="bad"><failure/></testcase>' + "".join(
    f'<testcase classname="t" name="good{n}"/>' for n in range(99)
)
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tandem.commands.line.time", SimpleNamespace(time=lambda: NOW, sleep=lambda seconds: None))
    (tmp_path / "reports").mkdir()
    report = f'<testsuite name="unit" timestamp="2026-09-21T14:10:00Z" tests="100">{CASES}</testsuite>'
    (tmp_path / "reports" / "one.xml").write_text(report)
    (tmp_path / "tandem.toml").write_text(CONFIG.format(target="0.9"))
    done = CliRunner().invoke(main, ["sync"])
    assert done.exit_code == 0, done.output
    return lambda *words: CliRunner().invoke(main, ["check", *words])


def test_the_exit_codes_of_the_command(run: Run, tmp_path: Path) -> None:
    done = run()
    assert (done.exit_code, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    assert run("--component", "shed").exit_code == 3
    assert "shed has no objective" in run("--component", "shed", "--component", "shop").stderr
    assert run("--component", "shed", "--component", "shop").exit_code == 3
    assert run("--from", "2026-08-01", "--to", "2026-08-02").exit_code == 3
    (tmp_path / "tandem.toml").write_text(CONFIG.format(target="0.999"))
    breached = run("--explain")
    assert breached.exit_code == 1
    assert "99 good of 100: 1 bad, where a target of 99.9 % allows 0.1" in breached.stdout
    dry = run("--explain", "--dry-run")
    assert (dry.exit_code, dry.stdout) == (0, breached.stdout)
    assert run("--component", "shed", "--dry-run").exit_code == 0


@pytest.mark.parametrize(("words", "said"), [
    (("--component", "nobody"), "nobody"), (("--component", ""), "''"), (("--to", "now-1h"), "from"),
    (("--from", "soonish"), "is not a time"), (("--as-of", "999"), "load"), (("--server", ""), "http://127.0.0.1:8501"),
    (("--server", "ftp://here"), "address"), (("--server", "http://me:pw@here"), "address"),
    (("--server", "http://here:port"), "address"), (("--server", f"http://{'a' * 70}"), "address"),
    (("--junit", "."), "directory"), (("--frob",), "frob"),
])  # fmt: skip
def test_what_is_asked_wrongly_ends_with_2(run: Run, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]
    assert run(*words, "--dry-run").exit_code == 2


def test_no_objective_at_all_is_not_a_pass(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text('store = "other.duckdb"\n[[component]]\nname = "shop"\n')
    assert run().exit_code == 1, "nothing was collected"
    with Store(tmp_path / "other.duckdb"):
        pass
    done = run()
    assert (done.exit_code, done.stdout) == (3, "")
    [line] = done.stderr.splitlines()
    assert "no objective to check" in line
    assert json.loads(run("--json").stdout)["state"] == "unknown"


def test_json_is_what_the_api_says(run: Run, tmp_path: Path) -> None:
    config = configuration.load(tmp_path / "tandem.toml")
    printed = run("--json", "--component", "shop", "--explain")
    with Store(config.store) as store:
        own = SimpleNamespace(config=config, store=store, now=lambda: NOW)
        assert api.answer(own, "GET", "/api/v1/check", {"component": ["shop"]}, {})[2].decode() == printed.stdout


def test_junit_is_written_beside_the_text(run: Run, tmp_path: Path) -> None:
    done = run("--junit", "gate.xml")
    assert (done.exit_code, done.stdout) == (0, run().stdout)
    assert fromstring((tmp_path / "gate.xml").read_bytes()).get("tests") == "2"
    lost = run("--junit", "nowhere/gate.xml")
    assert (lost.exit_code, "cannot be written" in lost.stderr) == (1, True)


# -- a Tandem that runs


@pytest.mark.parametrize(("status", "body"), [
    (200, b"<html>log in</html>"), (200, b"{}"), (302, b""), (500, b"oops"), (401, b'{"error": "Only with a token."}'),
])  # fmt: skip
def test_somebody_else_at_the_address_is_one_sentence(run: Run, status: int, body: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        done = run("--json", "--server", f"http://127.0.0.1:{server.server_address[1]}/")
    finally:
        server.shutdown()
        server.server_close()
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_nobody_at_the_address_is_one_sentence(run: Run) -> None:
    done = run("--server", f"http://127.0.0.1:{free_port()}")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "tandem serve" in done.stderr


def test_it_works_beside_a_running_server_and_from_afar(tmp_path: Path) -> None:
    package = slow_source.packaged(tmp_path / "package")
    (tmp_path / "tandem.toml").write_text(
        '[[component]]\nname = "shop"\n[[source]]\nconnector = "slow_source"\nname = "till"\npages = 2\nevery = "1h"\n'
        '[[objective]]\ncomponent = "shop"\nsignal = "availability"\ntarget = 0.5\n'
    )
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    window = ("--from", "2023-11-14", "--to", "2023-11-16")
    words = ("serve", "--no-browser", "--port", str(port))
    with processes.running(processes.start(*words, folder=tmp_path, packages=[package])) as server:
        processes.eventually(lambda: server.poll() is not None or healthy(here), "the server")
        assert owner_of(tmp_path / "tandem.duckdb") is not None
        beside = processes.run("check", *window, "--json", folder=tmp_path, packages=[package])
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        afar = processes.run("check", *window, "--json", "--server", here, folder=elsewhere)
        unknown = processes.run("check", "--component", "shed", "--server", here, folder=elsewhere)
        with urlopen(f"{here}/api/v1/check?from=2023-11-14&to=2023-11-16") as answer:
            over_http = answer.read().decode()
        server.send_signal(signal.SIGTERM)
        server.wait(processes.PATIENCE)
    alone = processes.run("check", *window, "--json", folder=tmp_path, packages=[package])
    states = {one["signal"]: one["state"] for one in json.loads(over_http)["objectives"]}
    assert states["availability"] == "ok"
    assert [(one.stderr, one.stdout) for one in (beside, afar, alone)] == [("", over_http)] * 3
    assert len({one.returncode for one in (beside, afar, alone)}) == 1
    assert (unknown.returncode, unknown.stdout) == (2, "")


def healthy(url: str) -> bool:
    try:
        with urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
