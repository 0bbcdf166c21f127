# ruff: noqa: E501
"""Delivery from the store: as of any load, through show, the lane and the page's own answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem import collect, report, times
from tandem.changes import Apart
from tandem.config import Component, Config, Objective, Source
from tandem.linking import Amendment, Rules
from tandem.records import DAY, HOUR, Confusion, Event, Fact, Page, Ratio, Record, Series
from tandem.report import Window
from tandem.store.file import Store, open_store
from tests import fakes
from tests.fakes import NOW, saying, source

RULES = Rules()
SHOP = (Component("api", "service", "shop"), Component("web", "service", "shop"), Component("fraud", "model", "shop"))
WEEK = Window(NOW - 7 * DAY, NOW)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def said(store: Store, records: Sequence[Record], now: int = NOW, **keys: Any) -> Source:
    one = source(saying([Page(list(records))]), **keys)
    assert not collect.pull(store, one, now).error
    return one


def context(store: Store, sources: Sequence[Source], rules: Rules = RULES, objectives: Sequence[Objective] = ()) -> Any:
    made: Config = fakes.config(store.path.parent, *sources, components=SHOP, objectives=objectives)
    return SimpleNamespace(config=replace(made, delivery=rules), store=store)


def shown(
    store: Store,
    sources: Sequence[Source],
    component: str = "api",
    window: Window = WEEK,
    rules: Rules = RULES,
    **asked: Any,
) -> dict[str, Any]:
    return report.show(context(store, sources, rules), component, window, now=NOW, **asked)["delivery"]


def deployment(key: str, ts: int, **more: Any) -> Event:
    fields: dict[str, Any] = {"components": ("api",), "environment": "production", "ended": ts + 300, **more}
    return Event("deployment", key, ts, **fields)


def build(key: str, ts: int, commit: str, outcome: Any = "good", attempt: int = 1) -> Event:
    return Event("build", key, ts, started=ts, ended=ts + 60, outcome=outcome, attempt=attempt, commit=commit,
                 components=("api",), environment="production", labels=(("workflow", "ci"),))  # fmt: skip


def incident(key: str, ts: int, ended: int | None = None, **more: Any) -> Event:
    return Event("incident", key, ts, ended=ended, components=("api",), environment="production",
                 outcome="bad" if ended else "open", title=f"{key} is down", **more)  # fmt: skip


A, B = "a" * 40, "b" * 40
T = NOW - 3 * DAY


def test_lead_time_begins_with_the_first_build_of_the_commit(store: Store) -> None:
    one = said(store, [
        build("1", T - 5 * HOUR, A), build("2", T - 2 * HOUR, A), build("3", T - HOUR, B),
        deployment("d", T, commit=A, version="v1"), deployment("e", T + DAY, commit="c" * 40, version="v2"),
    ])  # fmt: skip
    lead = shown(store, [one])["metrics"]["lead_time"]
    assert (lead["p50"], lead["n"], lead["of"], lead["known_by"]) == (5 * HOUR + 300, 1, 2, {"build": 1})
    assert lead["unit"] == "s"


def test_a_commit_event_says_it_better_than_a_build_and_a_label_best(store: Store) -> None:
    commit = Event("commit", A, T - 9 * HOUR, components=("api",), environment="production", commit=A)
    one = said(store, [commit, build("1", T - 5 * HOUR, A), deployment("d", T, commit=A)])
    assert shown(store, [one])["metrics"]["lead_time"]["p50"] == 9 * HOUR + 300
    told = deployment("d", T, commit=A, labels=(("committed_at", str(T - HOUR)),), revision=1)
    again = said(store, [told])
    assert shown(store, [again])["metrics"]["lead_time"]["p50"] == HOUR + 300


def test_links_are_as_of_a_load(store: Store) -> None:
    one = said(store, [deployment("d", T, version="v1")])
    assert shown(store, [one])["metrics"]["fail_rate"]["k"] == 0
    said(store, [incident("i", T + HOUR)])
    later = shown(store, [one])
    assert later["metrics"]["fail_rate"]["k"] == 1
    assert later["metrics"]["recovery_time"]["open"] == 1
    said(store, [replace(incident("i", T + HOUR, T + 2 * HOUR), revision=1)])
    assert shown(store, [one])["metrics"]["recovery_time"]["p50"] == 2 * HOUR - 300
    assert shown(store, [one], as_of=1)["metrics"]["fail_rate"]["k"] == 0
    assert shown(store, [one], as_of=2)["metrics"]["recovery_time"] == later["metrics"]["recovery_time"]
    assert shown(store, [one], as_of=2)["links"] == later["links"]


def test_the_same_links_whichever_window_asks(store: Store) -> None:
    events = [deployment(f"d{i}", NOW - (40 - i) * DAY, version=f"v{i}") for i in range(40)]
    troubles = [
        incident(f"i{i}", NOW - (40 - i) * DAY + HOUR, NOW - (40 - i) * DAY + 2 * HOUR) for i in range(0, 40, 9)
    ]
    one = said(store, [*events, *troubles])
    wide = shown(store, [one], window=Window(NOW - 60 * DAY, NOW))["links"]
    narrow = shown(store, [one], window=Window(NOW - 10 * DAY, NOW))["links"]
    assert [link for link in wide if link["cause"] in {other["cause"] for other in narrow}] == narrow
    assert len(narrow) == 1
    assert len(wide) == 5


def test_a_deployment_of_the_window_that_failed_after_it_has_failed(store: Store) -> None:
    one = said(store, [deployment("d", T, version="v1"), incident("i", T + 2 * HOUR, T + 3 * HOUR)])
    found = shown(store, [one], window=Window(T - DAY, T + HOUR))
    assert found["metrics"]["fail_rate"]["k"] == 1


def test_corrections_of_the_configuration_hold(store: Store) -> None:
    one = said(store, [deployment("d", T, version="v1"), incident("i", T + HOUR)])
    rules = Rules(link=(Amendment(incident="fake:i", unrelated=True, author="ana", reason="the network"),))
    found = shown(store, [one], rules=rules)
    assert found["metrics"]["fail_rate"]["k"] == 0
    assert found["links"][0]["reason"] == "set in the configuration by ana: the network"
    assert found["links"][0]["change"] is None


def test_a_correction_of_what_nobody_told_of_is_named(store: Store) -> None:
    one = said(store, [deployment("d", T, version="v1"), incident("i", T + HOUR)])
    rules = Rules(link=(Amendment(incident="fake:i", deployment="dd"), Amendment(incident="i", deployment="d")),
                  apart=(Apart(("d", "argo:x")),))  # fmt: skip
    whole = report.delivery(context(store, [one], rules), WEEK, now=NOW)
    assert whole.unknown == ("dd", "argo:x")
    assert report.delivery(context(store, [one], rules), WEEK, component="web", now=NOW).unknown == ()


def two_sources(store: Store) -> list[Source]:
    hub = said(store, [deployment("9", T, commit=A)], name="hub", scope="hub")
    argo = said(store, [deployment("shop/3", T + 200, commit=A, version="v2")], name="argo", scope="argo")
    return [hub, argo]


def test_one_change_of_two_sources_counts_and_is_drawn_once(store: Store) -> None:
    sources = two_sources(store)
    found = shown(store, sources)
    assert found["metrics"]["frequency"]["n"] == 1
    assert found["changes"][0]["seen_by"] == [{"source": "hub", "key": "9"}, {"source": "argo", "key": "shop/3"}]
    drawn = report.overview(context(store, sources), WEEK, now=NOW).changes
    assert [(one.kind, one.source, one.ts, one.ended) for one in drawn] == [("deployment", "hub, argo", T, T + 500)]


def test_configuration_takes_them_apart_again(store: Store) -> None:
    sources, rules = two_sources(store), Rules(apart=(Apart(("9", "argo:shop/3")),))
    assert shown(store, sources, rules=rules)["metrics"]["frequency"]["n"] == 2
    assert len(report.overview(context(store, sources, rules), WEEK, now=NOW).changes) == 2
    assert shown(store, sources, as_of=1)["metrics"]["frequency"]["n"] == 1


def test_no_deployment_in_the_window_and_none_ever_are_two_things(store: Store) -> None:
    one = said(store, [deployment("d", NOW - 20 * DAY, version="v1")])
    quiet, silent = shown(store, [one]), shown(store, [one], "web")
    assert (quiet["reported"], silent["reported"]) == (True, False)
    for found in (quiet, silent):
        assert found["metrics"]["lead_time"]["p50"] is None
        assert found["metrics"]["fail_rate"]["value"] is None
        assert found["metrics"]["frequency"]["step"] is None


def test_the_trend_is_against_the_window_before_and_another_environment_stays_out(store: Store) -> None:
    made = [deployment(f"d{i}", NOW - 10 * DAY + i * DAY, version=f"v{i}") for i in range(9)]
    one = said(store, [*made, deployment("s", T, environment="staging", version="x")])
    frequency = shown(store, [one])["metrics"]["frequency"]
    assert (frequency["n"], frequency["before"]["n"], frequency["trend"]["word"]) == (6, 3, "more often")
    whole = report.delivery(context(store, [one]), WEEK, now=NOW)
    assert whole.sides["system"].now.frequency.n == 6
    assert whole.sides["system"].components == ("api", "web")
    assert (
        report.delivery(context(store, [one]), WEEK, environment="staging", now=NOW).sides["system"].now.frequency.n
        == 1
    )


def test_versions_and_segments_do_not_narrow_delivery(store: Store) -> None:
    one = said(store, [deployment("d", T, version="v1")])
    assert shown(store, [one], version="v9") == shown(store, [one])


# -- models


def hours(version: str, since: int, until: int, share: int = 100, right: int = 98) -> list[Fact]:
    """Predictions and their outcomes of one version, every five minutes."""
    made: list[Fact] = []
    for ts in range(since, until, 300):
        made.append(Fact(Series("volume", component="fraud", version=version), ts, Ratio(share, share)))
        cells = {("1", "1"): share * right // 100, ("1", "0"): share - share * right // 100}
        made.append(Fact(Series("outcome", component="fraud", version=version), ts, Confusion(cells)))
    return made


START = NOW // HOUR * HOUR - 4 * DAY
RIGHT = Objective("fraud", "accuracy", target=Fraction(19, 20))


def registered(version: str, ts: int, run: str) -> list[Event]:
    names = ("fraud",)
    labels = (("model", "fraud"),)
    return [
        Event("training", run, ts, started=ts, ended=ts + HOUR, components=names, environment="production", run=run,
              data_version=f"cut-{version}"),
        Event("release", f"fraud/{version}", ts + HOUR, components=names, environment="production", version=version,
              run=run, data_version=f"cut-{version}", labels=labels),
    ]  # fmt: skip


def test_a_version_serves_from_when_it_has_the_traffic_and_a_canary_does_not(store: Store) -> None:
    took = START + 2 * DAY + 40 * 60
    one = said(store, [
        *hours("1", START, took), *hours("2", took - 3 * HOUR, took, share=10), *hours("2", took, START + 3 * DAY),
        *registered("2", START, "r2"),
    ])  # fmt: skip
    (change,) = shown(store, [one], "fraud")["changes"]
    assert (change["version"], change["running"], change["lead_time"]) == ("2", _text(took), took - START)
    assert change["lead_time_from"] == "training"
    assert shown(store, [one], "fraud")["reading"] == "Tandem's reading for models, not DORA's"


def _text(ts: int) -> str:
    return times.text(ts)


def test_the_data_cut_begins_a_lead_time_where_it_is_known(store: Store) -> None:
    took = START + 2 * DAY
    cut = Event(
        "data_version", "cut-2", START - DAY, components=("fraud",), environment="production", data_version="cut-2"
    )
    one = said(
        store, [*hours("1", START, took), *hours("2", took, START + 3 * DAY), *registered("2", START, "r2"), cut]
    )
    (change,) = shown(store, [one], "fraud")["changes"]
    assert (change["lead_time"], change["lead_time_from"]) == (took - START + DAY, "data")


def test_the_registry_and_the_traffic_are_one_promotion(store: Store) -> None:
    took = START + 2 * DAY
    moved = Event("promotion", "fraud@champion:2", took - 5 * HOUR, ts_latest=took - 4 * HOUR, components=("fraud",),
                  environment="production", version="2", run="r2", labels=(("alias", "champion"), ("model", "fraud")))  # fmt: skip
    canary = replace(moved, key="c", version="7", labels=(("alias", "challenger"), ("model", "fraud")))
    log = said(store, [*hours("1", START, took), *hours("2", took, START + 3 * DAY)], name="log", scope="log")
    registry = said(store, [moved, canary, *registered("2", START, "r2")], name="registry", scope="registry")
    (change,) = shown(store, [log, registry], "fraud")["changes"]
    assert (change["running"], [one["source"] for one in change["seen_by"]]) == (_text(took), ["log", "registry"])


def test_a_version_that_misses_its_target_has_failed_until_another_takes_over(store: Store) -> None:
    bad, good = START + DAY, START + 2 * DAY + 6 * HOUR
    one = said(store, [*hours("1", START, bad), *hours("2", bad, good, right=90), *hours("3", good, START + 4 * DAY)])
    asked = report.show(context(store, [one], objectives=[RIGHT]), "fraud", WEEK, now=NOW)["delivery"]
    assert [(change["version"], len(change["failed"])) for change in asked["changes"]] == [("2", 1), ("3", 0)]
    assert asked["changes"][0]["failed"][0]["rule"] == "breach"
    assert asked["changes"][0]["recovery_time"] == good - bad
    assert asked["changes"][1]["rework"] == "it replaced a version that had failed"
    assert (asked["metrics"]["fail_rate"]["k"], asked["metrics"]["fail_rate"]["n"]) == (1, 2)
    assert asked["metrics"]["rework_rate"]["k"] == 1
    short = report.show(context(store, [one], Rules(breach_days=1), [RIGHT]), "fraud", WEEK, now=NOW)["delivery"]
    assert "it answers for 1 days" in short["changes"][0]["failed"][0]["reason"]


def test_a_version_within_its_target_has_not_failed(store: Store) -> None:
    one = said(store, [*hours("1", START, START + DAY), *hours("2", START + DAY, START + 3 * DAY, right=96)])
    asked = report.show(context(store, [one], objectives=[RIGHT]), "fraud", WEEK, now=NOW)["delivery"]
    assert [len(change["failed"]) for change in asked["changes"]] == [0]


def test_a_model_that_goes_back_has_rolled_back(store: Store) -> None:
    one = said(store, [
        *hours("1", START, START + DAY), *hours("2", START + DAY, START + DAY + 5 * HOUR),
        *hours("1", START + DAY + 5 * HOUR, START + 3 * DAY),
    ])  # fmt: skip
    found = shown(store, [one], "fraud")
    assert [(c["version"], [f["kind"] for f in c["failed"]], c["rework"]) for c in found["changes"]] == [
        ("2", ["rollback"], None), ("1", [], "it rolled another back")]  # fmt: skip


@pytest.mark.parametrize(("title", "labels", "rework"), [
    ("nightly", (), None), ("hotfix-labels", (), 'it is called like "hotfix*"'),
    ("nightly", (("unplanned", "true"),), 'it is called like "unplanned"')])  # fmt: skip
def test_a_retrain_that_is_called_unplanned_is_rework(
    store: Store, title: str, labels: Any, rework: str | None
) -> None:
    took = START + 2 * DAY
    trained, release = registered("2", START, "r2")
    one = said(store, [*hours("1", START, took), *hours("2", took, START + 3 * DAY), release,
                       replace(trained, title=title, labels=labels)])  # fmt: skip
    (change,) = shown(store, [one], "fraud")["changes"]
    assert change["rework"] == rework


def test_the_page_and_the_command_line_say_the_same(store: Store) -> None:
    made = [deployment(f"d{i}", NOW - i * DAY - HOUR, version=f"v{i}", commit=f"{i}" * 40) for i in range(12)]
    built = [build(f"b{i}", NOW - i * DAY - (3 + i) * HOUR, f"{i}" * 40) for i in range(12)]
    one = said(store, [*made, *built, incident("i", NOW - 5 * DAY, NOW - 4 * DAY)])
    page = report.delivery(context(store, [one]), WEEK, now=NOW)
    for part in page.parts:
        found = shown(store, [one], part.component)["metrics"]
        assert found["lead_time"]["p50"] == part.now.lead_time.p50
        assert found["lead_time"]["before"]["p90"] == part.before.lead_time.p90
        assert found["fail_rate"]["k"] == part.now.fail_rate.k
        assert found["frequency"]["value"] == (
            float(part.now.frequency.value) if part.now.frequency.value is not None else None
        )
    assert page.parts[0].now.lead_time.n == 7
    listed = report.listing(context(store, [one]), WEEK, now=NOW)
    assert [row["delivery"] for row in listed] == [shown(store, [one], row["component"]) for row in listed]
    assert all("delivery" not in row for row in report.listing(context(store, [one]), WEEK, delivery=False, now=NOW))


# -- flaky


def test_flaky_builds_and_tests_come_from_the_store_with_hostile_names(store: Store) -> None:
    name = 'x"]["test", "y\\'
    test = Event("test_run", "k:1", T, components=("api",), environment="production", labels=(
        ("lost", "120"), ("of", "k"), ("result", "flaky"), ("suite", '<b>"s"</b>'), ("test", name)))  # fmt: skip
    suite = Event("test_run", "k", T, components=("api",), environment="production", labels=(("suite", '<b>"s"</b>'),))
    other = replace(suite, key="k2", ts=T + HOUR)
    one = said(
        store, [build("1", T, A, "bad"), build("1", T + HOUR, A, "good", 2), build("2", T, B), test, suite, other]
    )
    found = shown(store, [one])["flaky"]
    assert [(row["kind"], row["name"], row["flakes"], row["runs"], row["minutes_lost"]) for row in found] == [
        ("test", name, 1, 3, 2.0), ("build", "ci", 1, 3, 1.0)]  # fmt: skip
    assert found[0]["suite"] == '<b>"s"</b>'
    assert shown(store, [one], as_of=0)["flaky"] == []


def test_the_list_looks_back_fourteen_days_from_the_end_of_a_short_window(store: Store) -> None:
    one = said(store, [build("1", T, A, "bad"), build("1", T + HOUR, A, "good", 2)])
    found = shown(store, [one], window=Window(NOW - HOUR, NOW))
    assert [(row["flakes"], row["listed"]) for row in found["flaky"]] == [(1, True)]
    assert found["flaky_from"] == _text(NOW - 14 * DAY)
    before = shown(store, [one], window=Window(T - 2 * HOUR, T + HOUR))
    assert before["flaky"] == []


def test_another_component_s_flakes_stay_with_it(store: Store) -> None:
    one = said(store, [build("1", T, A, "bad"), build("1", T + HOUR, A, "good", 2)])
    assert shown(store, [one], "web")["flaky"] == []


def test_a_return_to_what_ran_for_a_year_is_a_rollback_in_every_window(store: Store) -> None:
    one = said(store, [
        deployment("old", NOW - 300 * DAY, version="v1", commit=A), deployment("new", T, version="v2", commit=B),
        deployment("back", T + HOUR, version="v1", commit=A),
    ])  # fmt: skip
    for days in (7, 30, 250):
        found = shown(store, [one], window=Window(NOW - days * DAY, NOW))
        assert [(row["version"], len(row["failed"])) for row in found["changes"]] == [("v2", 1), ("v1", 0)], days
