"""Gates: what must hold and on what evidence, what a late source means, annotations that no name can break out of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import fromstring

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import view
from tandem import annotated, api, checked, collect, report, slo, verdicts
from tandem import config as configuration
from tandem.checked import Check, Checked
from tandem.cli import main
from tandem.config import Component, Objective
from tandem.gates import Gate
from tandem.objectives import Product
from tandem.owner import Owner
from tandem.records import DAY, HOUR, Confusion, Covered, Fact, Page, Ratio, Series
from tandem.shown import Half, Unreadable, Window
from tandem.store.file import Store
from tests import fakes, processes, two_sides
from tests.fakes import NOW

COMPONENTS = (
    Component("api", "service", "shop"), Component("judge", "model", "shop", depends_on=("api",)),
    Component("search", "service", "find"),
)  # fmt: skip
WINDOW = NOW - HOUR


def ratio(component: str, good: int, total: int, ts: int) -> Fact:
    return Fact(Series("request_success", component=component), ts, Ratio(good, total))


def context_of(folder: Path, told: Page, gates: tuple[Gate, ...] = (), every: int = 300, **config: Any) -> Any:
    source = fakes.source(fakes.saying([told]), every=every)
    given = replace(fakes.config(folder, source, components=COMPONENTS), gates=gates, **config)
    store = Store(folder / "tandem.duckdb")
    [outcome] = collect.sync(store, given, NOW)
    assert not outcome.error
    return SimpleNamespace(config=given, store=store, token="", first_done=True, now=lambda: NOW)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    some: list[Any] = []

    def make(*facts: Fact, seen: tuple[int, int] = (NOW - 7 * DAY, NOW), **more: Any) -> Any:
        folder = tmp_path / str(len(some))
        folder.mkdir()
        some.append(context_of(folder, Page(facts, covered=[Covered(*seen)]), **more))
        return some[-1]

    yield make
    for one in some:
        one.store.close()


def objectives(found: Check) -> dict[tuple[str, str], Checked]:
    return {(one.component, one.signal): one for one in found.objectives}


TARGET = Fraction("0.99")
API = (Objective("api", "request_success", TARGET),)


# -- a window that is asked for


@settings(deadline=None)
@given(bad=st.integers(0, 40), good=st.integers(0, 4000), target=st.fractions(Fraction(1, 2), Fraction(9999, 10000)))
def test_a_window_is_breached_on_five_bad_events_and_less_than_no_budget(bad: int, good: int, target: Fraction) -> None:
    total = good + bad
    judged = slo.held(target, good, total, coverage=1.0)
    overspent = bad > (1 - target) * total
    assert (judged.state == "breached") == (overspent and bad >= 5)
    if judged.state == "ok":
        assert not overspent
        assert (1 - target) * total >= 1, "what one bad event would overspend says nothing"
    if overspent and bad < 5:
        assert judged.state == ("at risk" if (1 - target) * total >= 1 else "unknown")


@pytest.mark.parametrize(("good", "total", "state"), [
    (996, 1000, "ok"), (992, 1000, "ok"), (991, 1000, "ok"), (9_901, 10_000, "at risk"), (990, 1000, "at risk"),
    (989, 1000, "breached"), (196, 200, "at risk"), (195, 200, "breached"), (1, 4, "unknown"), (5, 10, "breached"),
])  # fmt: skip
def test_examples_of_windows_at_99_percent(made: Callable[..., Any], good: int, total: int, state: str) -> None:
    context = made(ratio("api", good, total, WINDOW), objectives=API)
    found = report.check(context, ["api"], Window(WINDOW, NOW), now=NOW)
    one = objectives(found)["api", "request_success"]
    assert (one.state, one.good, one.total) == (state, good, total), one.sentence
    assert one.budget_left == float(1 - Fraction(total - good, total) / (1 - TARGET))
    # 0.99 leaves 1 % of 1,000: 10 bad; "at risk" is what leaves less than a tenth, or too few bad to stop for.


def test_staleness_counts_only_where_the_window_reaches_now(made: Callable[..., Any]) -> None:
    facts = [ratio("api", 1000, 1000, NOW - 5 * HOUR + 300 * n) for n in range(12)]
    context = made(*facts, seen=(NOW - DAY, NOW - 4 * HOUR), objectives=API)
    over = Window(NOW - 5 * HOUR, NOW - 4 * HOUR)
    past = objectives(report.check(context, ["api"], over, now=NOW))["api", "request_success"]
    assert (past.state, past.coverage) == ("ok", 1.0)
    reaching = objectives(report.check(context, ["api"], Window(NOW - 5 * HOUR, NOW), now=NOW))[
        "api", "request_success"
    ]
    assert (reaching.state, reaching.why, reaching.coverage) == ("unknown", "stale", 0.2)
    nothing = Window(NOW - 3 * HOUR, NOW - 2 * HOUR)
    unseen = objectives(report.check(context, ["api"], nothing, now=NOW))["api", "request_success"]
    assert (unseen.state, unseen.why) == ("unknown", "not measured"), "by its own coverage, not that of the objective"
    quiet = Window(NOW - 20 * HOUR, NOW - 19 * HOUR)
    calm = objectives(report.check(context, ["api"], quiet, now=NOW))["api", "request_success"]
    assert (calm.state, calm.why) == ("unknown", "no traffic")


# -- policies


def test_a_gate_is_about_what_it_names(made: Callable[..., Any]) -> None:
    facts = [ratio("api", 100, 1000, WINDOW), ratio("search", 1000, 1000, WINDOW),
             Fact(Series("availability", component="search"), WINDOW, Ratio(0, 1000))]  # fmt: skip
    context = made(*facts, gates=(
        Gate("find", product=("find",), signal=("request_success",), rules=("objective",)),
        Gate("named", objective=("search request_success",)), Gate("both", component=("api", "search")),
        Gate("none", signal=("valid_rows",)), Gate("lost", objective=("what is this",)),
    ))  # fmt: skip
    assert set(objectives(report.check(context, gate="find", now=NOW))) == {("search", "request_success")}
    assert verdicts.code(report.check(context, gate="find", now=NOW)) == 0
    assert set(objectives(report.check(context, gate="named", now=NOW))) == {("search", "request_success")}
    assert verdicts.code(report.check(context, gate="both", now=NOW)) == 1
    assert set(objectives(report.check(context, ["search"], gate="both", now=NOW))) == {
        ("search", "request_success"), ("search", "availability")}  # fmt: skip
    for name, said in (("none", "valid_rows"), ("lost", "what is this")):
        found = report.check(context, gate=name, now=NOW)
        assert (verdicts.code(found), found.state) == (3, "unknown"), "nothing to evaluate"
        assert any(said in sentence for sentence in found.lacking)
    with pytest.raises(Unreadable, match="known are find, named, both"):
        report.check(context, gate="nobody", now=NOW)
    with pytest.raises(Unreadable, match="not about 'judge'"):
        report.check(context, ["judge"], gate="both", now=NOW)


def test_a_gate_asks_for_evidence(made: Callable[..., Any]) -> None:
    gates = (Gate("events", window="1h", events=5000), Gate("seen", window="4h", coverage=Fraction(3, 4)),
             Gate("fine", window="1h", events=1000, coverage=Fraction(1)))  # fmt: skip
    context = made(ratio("api", 1000, 1000, WINDOW), seen=(NOW - 2 * HOUR, NOW), gates=gates, objectives=API)
    states = {}
    for name in ("events", "seen", "fine"):
        one = objectives(report.check(context, ["api"], gate=name, now=NOW))["api", "request_success"]
        states[name] = one.state, one.why
    assert states == {"events": ("unknown", "not enough evidence"), "seen": ("unknown", "not measured"),
                      "fine": ("ok", "within target")}  # fmt: skip
    worse = made(ratio("api", 10, 1000, WINDOW), gates=gates, objectives=API)
    assert report.check(worse, ["api"], gate="events", now=NOW).state == "breached", "little evidence excuses nothing"


def test_a_gate_says_what_a_late_source_means(made: Callable[..., Any]) -> None:
    gates = tuple(Gate(stale.replace(" ", "_"), component=("api",), stale=stale)
                  for stale in ("unknown", "breached", "as counted"))  # type: ignore[arg-type] # fmt: skip
    facts = [ratio("api", 1000, 1000, NOW - 5 * HOUR)]
    late = made(*facts, seen=(NOW - DAY, NOW - 4 * HOUR), gates=gates, objectives=API)
    fresh = made(*facts, gates=gates, objectives=API)
    silent = made(seen=(NOW - DAY, NOW - 4 * HOUR), gates=gates, objectives=API)
    found = {name: {gate.name: report.check(context, gate=gate.name, now=NOW).state for gate in gates}
             for name, context in (("late", late), ("fresh", fresh), ("silent", silent))}  # fmt: skip
    assert found == {
        "late": {"unknown": "unknown", "breached": "breached", "as_counted": "ok"},
        "fresh": dict.fromkeys(("unknown", "breached", "as_counted"), "ok"),
        "silent": {"unknown": "unknown", "breached": "unknown", "as_counted": "unknown"},
    }, "silence is never ok, and a source that never said anything is not late"


def both(good: int, right: int) -> list[Fact]:
    cells = Confusion({("1", "1"): right, ("1", "0"): 1000 - right})
    return [ratio("api", good, 1000, WINDOW), Fact(Series("outcome", component="judge"), WINDOW, cells)]


def test_a_product_is_held_to_its_promise(made: Callable[..., Any]) -> None:
    own = (Objective("api", "request_success", Fraction("0.9")), Objective("judge", "accuracy", Fraction("0.9")))
    more: dict[str, Any] = {"promises": (Product("shop", Fraction("0.97")),), "objectives": own, "gates": (
        Gate("together", product=("shop",), rules=("joint",)), Gate("hour", product=("shop",), window="1h"),
        Gate("apart", component=("api", "judge"), rules=("objective",)),
    )}  # fmt: skip
    context = made(*both(980, 960), **more)
    for found in (report.check(context, now=NOW), report.check(context, gate="together", now=NOW),
                  report.check(context, gate="hour", now=NOW), report.check(context, ["judge"], now=NOW)):  # fmt: skip
        [one] = found.joint
        # 1 - 0.98 * 0.96 = 5.92 % fail, where 3 % may: nearly twice the budget, though each half holds.
        assert one.failure == float(1 - Fraction(980, 1000) * Fraction(960, 1000))
        assert one.budget_left == float(1 - Fraction(592, 10_000) / Fraction(3, 100))
        assert (one.state, found.state, verdicts.code(found)) == ("breached", "breached", 1)
        assert "shop (api with judge) is breached: 5.92 % failed where 3 % may" in one.sentence
    assert report.check(context, gate="together", now=NOW).objectives == ()
    apart = report.check(context, gate="apart", now=NOW)
    assert (apart.joint, apart.state) == ((), "ok"), "each half holds by itself"
    assert report.check(context, version="7", now=NOW).joint == (), "one version promises nothing jointly"
    few = made(*both(998, 998), **{**more, "promises": (Product("shop", Fraction("0.999")),)})
    [one] = report.check(few, gate="hour", now=NOW).joint
    assert (one.state, "only 4 bad" in one.sentence) == ("at risk", True)
    assert report.check(made(**more), gate="together", now=NOW).state == "unknown"


def test_one_version_is_checked_by_its_own_numbers(made: Callable[..., Any]) -> None:
    facts = [Fact(Series("outcome", component="judge", version=version), WINDOW,
                  Confusion({("1", "1"): right, ("1", "0"): 1000 - right}))
             for version, right in (("7", 990), ("8", 500))]  # fmt: skip
    context = made(*facts, objectives=(Objective("judge", "accuracy", Fraction("0.9")),))
    found = {version: report.check(context, ["judge"], version=version, now=NOW) for version in ("7", "8", "9")}
    assert {version: one.state for version, one in found.items()} == {"7": "ok", "8": "breached", "9": "unknown"}
    assert objectives(found["7"])["judge", "accuracy"].good == 990
    assert "version=8" in objectives(found["8"])["judge", "accuracy"].link


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    raw = two_sides.rows()
    middle = two_sides.BEGIN + 6 * HOUR
    before = raw.between(two_sides.BEGIN, middle)
    known = two_sides.layouts(before)
    page = Page((*two_sides.baselines(before, known, two_sides.BEGIN, middle), *two_sides.facts(raw, known)))
    found = two_sides.stored(tmp_path_factory.mktemp("gate"), [page])
    found.config = replace(found.config, gates=(Gate("data", rules=("drift",)), Gate("much", rules=("drift",),
                                                                                   events=10**9)))  # fmt: skip
    yield found
    found.store.close()


def test_data_drift_is_a_rule_with_the_verdicts_of_the_drift_page(drifting: Any) -> None:
    middle = two_sides.BEGIN + 6 * HOUR
    for window in (Window(middle, two_sides.END), Window(two_sides.BEGIN, middle)):
        rows = report.drift(drifting, "scorer", Half(window=window), now=NOW).rows
        [one] = report.check(drifting, ["scorer"], window, gate="data", now=NOW).drift
        assert [(part["feature"], part["verdict"]) for part in one.features] == [(r.feature, r.verdict) for r in rows]
        moved = [row for row in rows if row.verdict == "drift"]
        worst = "breached" if any(row.severity == "major" for row in moved) else "at risk" if moved else "ok"
        assert one.state == worst
        if moved:
            assert f"{len(moved)} of {len(rows)} drift: {moved[0].feature} ({moved[0].severity}" in one.sentence
    calm = report.check(drifting, ["scorer"], Window(two_sides.BEGIN, middle), gate="much", now=NOW)
    assert (calm.state, calm.drift[0].why) == ("unknown", "not enough evidence")
    never = Window(two_sides.BEGIN - 9 * DAY, two_sides.BEGIN - 8 * DAY)
    assert report.check(drifting, ["scorer"], never, gate="data", now=NOW).state == "unknown"


# -- what is refused


GATE = '[[component]]\nname = "api"\nproduct = "shop"\n[[gate]]\nname = "g"\n'


@pytest.mark.parametrize(("text", "said"), [
    ('component = "apy"', 'unknown component "apy"; the nearest known one is "api"'),
    ('product = "shoq"', 'unknown product "shoq"'), ('signal = "latancy"', 'unknown signal "latancy"'),
    ('window = "soon"', "is not a duration"), ('window = "1m"', "at least 5m"), ("events = -1", "events must be 0"),
    ("coverage = 1.5", "between 0 and 1"), ("rules = []", "at least one"), ('stale = "ok"', "stale must be one of"),
    ('rules = ["smell"]', "rules must be one of"), ('compnent = "api"', 'unknown key "compnent"'),
    ('[[gate]]\nname = "g"', "two [[gate]] named"), ('[[gate]]\nwindow = "1h"', 'lacks the key "name"'),
])  # fmt: skip
def test_a_gate_that_means_nothing_is_refused_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        configuration.parse(GATE + text, Path("/x/tandem.toml"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("page", ["ftp://x", "https://", "https://me:pw@host", "https://x/?a=1", "https://a b", "x"])
def test_the_address_of_the_page_must_be_one(page: str) -> None:
    with pytest.raises(ValueError, match="page must be the address"):
        configuration.parse(f'page = "{page}"', Path("/x/tandem.toml"))
    assert configuration.parse('page = "https://t.example/h/"', Path("/x/tandem.toml")).page == "https://t.example/h"


# -- links


def test_every_link_is_the_page_of_its_window(made: Callable[..., Any]) -> None:
    more: dict[str, Any] = {"promises": (Product("shop", Fraction("0.97")),), "page": "https://t.example/h",
                            "objectives": (*API, Objective("judge", "accuracy", TARGET))}  # fmt: skip
    context = made(*both(999, 999), **more)
    known = {"components": ("api", "judge", "search"), "products": ("shop", "find"), "environments": ("production",)}
    for over in (None, Window(NOW - 2 * HOUR, NOW - HOUR)):
        found = report.check(context, [], over, now=NOW)
        assert len(found.ruled) == 3
        for rule in found.ruled:
            assert rule.link.startswith("https://t.example/h/")
            address = urlsplit(rule.link.removeprefix("https://t.example/h"))
            page = address.path.strip("/") or "overview"
            shown = view.view(page, dict(parse_qsl(address.query)), NOW + HOUR, **known)
            assert shown.ignored == ()
            assert (shown.as_of, shown.live) == (context.store.version(), False)
            assert rule.component in (shown.component, shown.product)
            assert shown.window.until == (over.until if over else -(-NOW // 300) * 300)
            assert over is None or shown.window == over
            if rule.kind == "objective":
                assert page == {"api": "services", "judge": "models"}[rule.component]
                assert shown.tab == rule.name
                assert over is not None or shown.window.until - shown.window.since == 28 * DAY


# -- annotations


HOSTILE = st.text(st.sampled_from(list("ab :%,;=#[]\n\r\x1b\u2028\x85")), max_size=30).flatmap(
    lambda text: st.sampled_from([
        text, f"::error::{text}", f"x\n::add-mask::{text}", f"##[set-env name=A]{text}", f"%0A::warning::{text}",
        f"a::stop-commands::{text}", f"\r::{text}", f"##vso[task.setvariable]{text}", f"x,title=y::{text}",
    ])
)  # fmt: skip
UNESCAPED = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}


def obeyed(output: str) -> list[tuple[str, dict[str, str], str]]:
    """The commands that a runner finds in lines of output, by its own two rules: "::" in front, "##[" anywhere."""
    found = []
    for line in re.split(r"\r\n|\n|\r", output):
        if "##[" in line or "##vso[" in line or "##teamcity[" in line:
            found.append(("old", {}, line))
        if not line.lstrip().startswith("::"):
            continue
        head, _, data = line.lstrip()[2:].partition("::")
        name, _, rest = head.partition(" ")
        pairs = dict(pair.partition("=")[::2] for pair in rest.split(",") if pair)
        decode = re.compile("%0D|%0A|%3A|%2C|%25")
        told = {key: decode.sub(lambda one: UNESCAPED[one.group()], value) for key, value in pairs.items()}
        found.append((name, told, re.sub("%0D|%0A|%25", lambda one: UNESCAPED[one.group()], data)))
    return found


def checked_of(component: str, name: str, reason: str, state: Any = "breached") -> Check:
    one = Checked(component, name, "latency", 0.99, "7d", 1, 100, 0.01, -98.0, {}, state, reason,
                  sentence=f"{component} {name}: {reason}", link="/services?component=x")  # fmt: skip
    return Check(1, state, (one,), "gate", lacking=(f"{component} has no objective.",))


@settings(max_examples=300, deadline=None)
@given(component=HOSTILE, name=HOSTILE, reason=HOSTILE)
def test_no_name_becomes_a_command_of_a_pipeline(component: str, name: str, reason: str) -> None:
    found = checked_of(component, name, reason)
    told = obeyed("\n".join(annotated.github(found, "https://t.example")))
    assert [(level, set(properties)) for level, properties, _ in told] == [("error", {"title"}), ("warning", {"title"})]
    assert told[0][2].endswith(" https://t.example/services?component=x")
    assert not set(told[0][2]) & set("\r\n\x1b\u2028\x85")
    assert obeyed(verdicts.text(found, explain=True)) == []
    report = json.loads(annotated.gitlab(found, "https://t.example"))
    [link] = [one["external_link"] for one in report["Tandem"]]
    assert link["url"] == "https://t.example/services?component=x"
    assert len(link["label"]) <= 255
    assert fromstring(verdicts.junit(found)).get("failures") == "1"
    body = api.dumps({"objectives": [{"component": component, "name": name, "reason": reason}]})
    assert obeyed(annotated.unarmed_json(body).decode()) == []
    assert json.loads(annotated.unarmed_json(body)) == json.loads(body)


def test_an_annotation_says_what_the_rule_says(made: Callable[..., Any]) -> None:
    context = made(ratio("api", 900, 1000, WINDOW), ratio("search", 1000, 1000, WINDOW), gates=(Gate("100%, now: go"),))
    found = report.check(context, gate="100%, now: go", now=NOW)
    [command] = annotated.github(found)
    assert command.startswith("::error title=100%25%2C now%3A go%3A api breached::api request_success is breached: ")
    assert "10 %25" not in command.partition("::api")[0]
    [(level, properties, message)] = obeyed(command)
    assert (level, properties["title"]) == ("error", "100%, now: go: api breached")
    assert message == found.ruled[0].sentence


def test_more_than_github_shows_is_counted() -> None:
    [one] = checked_of("x", "y", "z").objectives
    found = Check(1, "breached", tuple(replace(one, name=str(n)) for n in range(25)))
    told = obeyed("\n".join(annotated.github(found)))
    assert len(told) == 10
    assert told[-1][2] == "and 16 more; see the log."


def test_a_server_cannot_make_links_that_are_no_addresses() -> None:
    [one] = checked_of("x", "y", "z").objectives
    for link in ("javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "//evil.example/x"):
        found = Check(1, "breached", (replace(one, link=link),))
        told = json.loads(annotated.gitlab(found, "https://t.example"))["Tandem"]
        assert all(part["external_link"]["url"].startswith("https://t.example/") for part in told)


# -- from the command line: the local store, beside its owner, and another server


CONFIG = """
page = "https://tandem.example"
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
target = 0.9
[[gate]]
name = "release"
component = "shop"
signal = "test_success"
window = "30m"
stale = "as counted"
[[gate]]
name = "everything"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tandem.commands.line.time", SimpleNamespace(time=lambda: NOW, sleep=lambda seconds: None))
    (tmp_path / "reports").mkdir()
    cases = '<testcase classname="t" name="bad"><failure/></testcase>' * 20
    cases = "".join(f'<testcase classname="t" name="bad{n}"><failure/></testcase>' for n in range(20)) + "".join(
        f'<testcase classname="t" name="good{n}"/>' for n in range(80))  # fmt: skip
    text = f'<testsuite name="unit" timestamp="2026-09-21T14:00:00Z" tests="100">{cases}</testsuite>'
    (tmp_path / "reports" / "one.xml").write_text(text)
    (tmp_path / "tandem.toml").write_text(CONFIG)
    assert CliRunner().invoke(main, ["sync"]).exit_code == 0
    return tmp_path


def test_a_gate_says_the_same_from_the_store_its_owner_and_a_server(folder: Path) -> None:
    words = ["check", "--gate", "release", "--json"]
    alone = CliRunner().invoke(main, words)
    with Owner.open(configuration.load(folder / "tandem.toml"), lambda: NOW, command="serve") as owner:
        beside = CliRunner().invoke(main, words)
        with processes.answering(owner) as server:
            afar = CliRunner().invoke(main, [*words, "--server", server])
            unknown = CliRunner().invoke(main, ["check", "--gate", "nobody", "--server", server])
    for done in (alone, beside, afar):
        assert (done.exit_code, done.stdout, done.stderr) == (1, alone.stdout, "")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "known are release, everything" in unknown.stderr
    [one] = json.loads(alone.stdout)["objectives"]
    assert (one["good"], one["total"], json.loads(alone.stdout)["gate"]) == (80, 100, "release")


def test_annotations_come_beside_the_text_and_the_exit_code_stays(folder: Path) -> None:
    done = CliRunner().invoke(
        main, ["check", "--gate", "release", "--github", "--gitlab", "a.json", "--junit", "j.xml"]
    )
    assert done.exit_code == 1
    [(level, properties, message)] = obeyed(done.stderr)
    assert (level, properties) == ("error", {"title": "release: shop breached"})
    assert "https://tandem.example/services?component=shop&" in message
    assert obeyed(done.stdout) == []
    assert len(json.loads((folder / "a.json").read_bytes())["Tandem"]) == 1
    assert fromstring((folder / "j.xml").read_bytes())[0].get("name") == "tandem check release"
    (folder / "tandem.toml").write_text(CONFIG.replace('page = "https://tandem.example"', ""))
    nowhere = CliRunner().invoke(main, ["check", "--gate", "release", "--gitlab", "a.json"])
    assert "set page in tandem.toml" in nowhere.stderr
    assert json.loads((folder / "a.json").read_bytes()) == {"Tandem": []}
    plain = CliRunner().invoke(main, ["check", "--gate", "release"])
    assert (plain.exit_code, plain.stdout) == (1, done.stdout)
    assert plain.stderr.startswith("shop test_success is breached: 20 bad of 100")
    assert CliRunner().invoke(main, ["check", "--gate", "release", "--dry-run", "--github"]).exit_code == 0


@pytest.mark.parametrize("name", ["::error::x", "##[add-mask]x", "x\n::error::y", "\r::set-env name=A::b"])
def test_a_hostile_question_is_no_command_either(folder: Path, name: str) -> None:
    for words in (["--component", name], ["--gate", name], ["--gate", "everything", "--component", name]):
        done = CliRunner().invoke(main, ["check", *words, "--github"])
        assert (done.exit_code, done.stdout) == (2, "")
        assert obeyed(done.stderr) == []


def test_what_a_server_says_wrongly_is_no_command(folder: Path) -> None:
    body = api.dumps({"error": "no\n::error::x ##[add-mask]y"})
    with processes.answering_with(400, body) as server:
        done = CliRunner().invoke(main, ["check", "--server", server])
    assert (done.exit_code, obeyed(done.stderr)) == (2, [])
    assert checked.parsed(api.dumps({"as_of": 1, "state": "ok", "objectives": []})).gate == ""
