# ruff: noqa: E501
"""Delivery: the worked examples of the five metrics, links with their reasons, and one change from two sources."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem import changes, config, delivery, linking
from tandem.changes import Apart, Change
from tandem.linking import Amendment, Fate, Link, Rules
from tandem.records import DAY, HOUR, Event

T0 = 1_790_000_000 // DAY * DAY
RULES = Rules()


def deployment(key: str, ts: int, **more: Any) -> Event:
    fields = {"components": ("api",), "environment": "production", "ended": ts + 120} | more
    return Event("deployment", key, ts, **fields)


def incident(key: str, ts: int, ended: int | None = None, **more: Any) -> Event:
    return Event("incident", key, ts, ended=ended, components=more.pop("components", ("api",)),
                 environment=more.pop("environment", "production"), **more)  # fmt: skip


def judged(*events: Event, rules: Rules = RULES, sources: str = "ci") -> list[Fate]:
    told = [(sources, event) for event in events]
    made = changes.changes([pair for pair in told if pair[1].kind in ("deployment", "rollback")], {}, rules.apart)
    troubles = linking.incidents(told, rules)
    others = [event for event in events if event.kind in linking.OTHER_CHANGES]
    return linking.fates(made, linking.links(made, troubles, others, rules), troubles, rules)


def links(*events: Event, rules: Rules = RULES) -> list[tuple[str, str, str]]:
    return [(link.cause, link.change, link.rule) for fate in judged(*events, rules=rules) for link in fate.failed]


def fate(running: int, *, failed: int = 0, rework: str = "", recovered: int | None = None, lead: int | None = None) -> Fate:  # fmt: skip
    change = Change("api", "production", "deployment", running, running, "good", (("ci", str(running)),))
    link = Link("incident", "i", change.name, "api", running, recovered, "time", "")
    return Fate(change, True, (link,) * failed, rework, recovered, lead, "commit" if lead is not None else "")


# -- the examples


def test_frequency_of_23_deployments_in_28_days() -> None:
    found = delivery.five([fate(T0 + i * DAY) for i in range(23)], T0, T0 + 28 * DAY).frequency
    assert found.value == Fraction(23, 28)
    assert float(found.value) == pytest.approx(0.821429, abs=5e-7)
    assert (found.days_with, found.days_of) == (23, 28)


def test_days_with_a_deployment_are_counted_once() -> None:
    found = delivery.five([fate(T0 + i * HOUR) for i in range(30)], T0, T0 + 7 * DAY).frequency
    assert (found.n, found.days_with, found.days_of) == (30, 2, 7)


def test_six_incidents_on_four_of_23_deployments_are_four_failures() -> None:
    causes = {0: 2, 5: 2, 9: 1, 20: 1}
    fates = [fate(T0 + i * DAY, failed=causes.get(i, 0)) for i in range(23)]
    assert sum(len(one.failed) for one in fates) == 6
    rate = delivery.five(fates, T0, T0 + 28 * DAY).fail_rate
    assert rate.value == Fraction(4, 23)
    assert float(rate.value) == pytest.approx(0.17391304, abs=5e-9)


def test_the_same_from_events() -> None:
    made = [deployment(f"d{i}", T0 + i * DAY, version=f"v{i}") for i in range(23)]
    said = [incident(f"i{n}", T0 + i * DAY + HOUR + n, T0 + i * DAY + 2 * HOUR)
            for n, i in enumerate((0, 0, 5, 5, 9, 20))]  # fmt: skip
    found = delivery.five(judged(*made, *said), T0, T0 + 28 * DAY)
    assert (found.fail_rate.k, found.fail_rate.n) == (4, 23)


def test_three_unplanned_of_23() -> None:
    fates = [fate(T0 + i * DAY, rework="a hotfix" if i in (3, 4, 11) else "") for i in range(23)]
    rate = delivery.five(fates, T0, T0 + 28 * DAY).rework_rate
    assert float(rate.value or 0) == pytest.approx(0.13043478, abs=5e-9)


def test_percentiles_of_lead_times_are_type_7_and_never_the_mean() -> None:
    hours = (2, 3, 4, 5, 6, 8, 12, 24, 30, 72)
    found = delivery.five([fate(T0 + i, lead=h * HOUR) for i, h in enumerate(hours)], T0, T0 + DAY).lead_time
    assert (found.p50, found.p75, found.p90) == (7.0 * HOUR, 21.0 * HOUR, pytest.approx(34.2 * HOUR, rel=1e-15))
    assert 16.6 * HOUR not in (found.p50, found.p75, found.p90)


def test_percentiles_of_recoveries() -> None:
    half_hours = (1, 2, 3, 12)
    fates = [fate(T0 + i, failed=1, recovered=T0 + i + n * HOUR // 2) for i, n in enumerate(half_hours)]
    found = delivery.five(fates, T0, T0 + DAY).recovery_time
    assert (found.p50, found.p75, found.p90) == (1.25 * HOUR, 2.625 * HOUR, pytest.approx(4.65 * HOUR, rel=1e-15))


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.sampled_from(list(delivery.QUANTILES.values())))
def test_quantiles_equal_numpys(values: list[int], q: Fraction) -> None:
    assert delivery.quantile(values, q) == pytest.approx(float(np.quantile(values, float(q))), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "step"),
    [(0, 6), (HOUR - 1, 6), (HOUR, 5), (DAY - 1, 5), (DAY, 4), (7 * DAY - 1, 4), (7 * DAY, 3), (30 * DAY - 1, 3),
     (30 * DAY, 2), (180 * DAY, 2), (180 * DAY + 1, 1)],
)  # fmt: skip
def test_answer_scale_of_durations(seconds: int, step: int) -> None:
    assert delivery.step_of_duration(seconds) == step


@pytest.mark.parametrize(
    ("n", "days", "step"),
    [(25, 1, 6), (24, 1, 5), (1, 1, 5), (6, 7, 4), (1, 7, 4), (1, 8, 3), (1, 30, 3), (1, 31, 2), (1, 180, 2), (1, 181, 1)],
)  # fmt: skip
def test_answer_scale_of_frequency(n: int, days: int, step: int) -> None:
    assert delivery.step_of_frequency(Fraction(n, days)) == step


def test_an_empty_window_is_no_zero_and_has_no_step() -> None:
    empty = delivery.five([], T0, T0 + 7 * DAY)
    assert (empty.lead_time.p50, empty.recovery_time.p50, empty.fail_rate.value, empty.rework_rate.value) == (None,) * 4
    assert empty.frequency.value == 0
    assert [delivery.step(metric, empty) for metric in delivery.METRICS] == [None] * 5
    assert {delivery.trend(metric, empty, empty).word for metric in delivery.METRICS} == {"nothing to compare"}


def test_two_cases_are_too_few_for_a_step_or_a_trend() -> None:
    two = delivery.five([fate(T0 + i, lead=HOUR * 30) for i in range(2)], T0, T0 + DAY)
    three = delivery.five([fate(T0 + i, lead=HOUR * 40) for i in range(3)], T0, T0 + DAY)
    assert (delivery.step("lead_time", two), delivery.step("lead_time", three)) == (None, 4)
    assert delivery.trend("lead_time", two, three).sign is None
    longer = delivery.trend("lead_time", three, delivery.five([fate(T0 + i, lead=1) for i in range(3)], T0, T0 + DAY))
    assert (longer.sign, longer.word) == (1, "longer")


def test_a_change_of_a_rate_says_whether_it_is_more_than_chance() -> None:
    few = delivery.five([fate(T0 + i, failed=int(i < 2)) for i in range(10)], T0, T0 + DAY)
    none = delivery.five([fate(T0 + i) for i in range(10)], T0, T0 + DAY)
    many = delivery.five([fate(T0 + i, failed=int(i < 40)) for i in range(100)], T0, T0 + DAY)
    quiet = delivery.five([fate(T0 + i) for i in range(100)], T0, T0 + DAY)
    assert delivery.trend("fail_rate", few, none).clear is False
    assert delivery.trend("fail_rate", many, quiet).clear is True
    assert delivery.trend("fail_rate", quiet, many).word == "lower"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 30 * DAY), st.booleans()), max_size=40), st.integers(1, 29))
def test_every_number_depends_on_the_window_alone(given_: list[tuple[int, bool]], cut: int) -> None:
    fates = [fate(T0 + ts, failed=int(bad)) for ts, bad in given_]
    middle = T0 + cut * DAY
    whole, left, right = (delivery.five(fates, *ends) for ends in ((T0, T0 + 31 * DAY), (T0, middle), (middle, T0 + 31 * DAY)))  # fmt: skip
    assert whole.fail_rate.k == left.fail_rate.k + right.fail_rate.k
    assert whole.frequency.n == left.frequency.n + right.frequency.n == len(given_)
    inside = [one for one in fates if T0 <= one.change.running < middle]
    assert delivery.five(inside, T0, middle) == left


# -- what became of a deployment


def test_an_attempt_that_never_ran_is_no_deployment() -> None:
    found = delivery.five(judged(deployment("a", T0), deployment("b", T0 + HOUR, outcome="bad")), T0, T0 + DAY)
    assert (found.frequency.n, found.never_ran, found.fail_rate.n) == (1, 1, 1)


def test_a_broken_attempt_that_an_incident_names_did_reach_production() -> None:
    made = deployment("b", T0, outcome="bad")
    found = delivery.five(judged(made, incident("i", T0 + 60, labels=(("deployment", "b"),))), T0, T0 + DAY)
    assert (found.frequency.n, found.never_ran, found.fail_rate.k) == (1, 0, 1)


def test_time_rule_needs_the_hours_and_nothing_between() -> None:
    made = deployment("a", T0)
    soon, late = incident("i", T0 + HOUR), incident("i", T0 + 120 + 24 * HOUR + 1)
    assert links(made, soon) == [("ci:i", "ci:a", "time")]
    assert links(made, late) == []
    assert links(made, late, rules=Rules(incident_hours=25)) == [("ci:i", "ci:a", "time")]
    other = Event("config", "c", T0 + 1800, components=("api",), environment="production")
    assert links(made, other, soon) == []
    assert links(made, replace(other, components=("web",)), soon) == [("ci:i", "ci:a", "time")]
    between = deployment("b", T0 + 1800)
    assert links(made, between, soon) == [("ci:i", "ci:b", "time")]


def test_another_environment_or_component_is_not_blamed() -> None:
    made = deployment("a", T0)
    assert links(made, incident("i", T0 + HOUR, environment="staging")) == []
    assert links(made, incident("i", T0 + HOUR, components=("web",))) == []


def test_what_names_a_version_is_of_that_version_however_long_ago() -> None:
    made = [deployment(f"d{i}", T0 + i * DAY, version=f"v{i}", commit=f"{i}" * 40) for i in range(4)]
    assert links(*made, incident("i", T0 + 4 * DAY, version="v1")) == [("ci:i", "ci:d1", "identity")]
    assert links(*made, incident("i", T0 + 4 * DAY, commit="1111111")) == [("ci:i", "ci:d1", "identity")]
    assert links(*made, incident("i", T0 + 3 * DAY + HOUR, version="v9")) == []


def test_a_commit_decides_before_a_version() -> None:
    made = [deployment("d1", T0, version="main", commit="a" * 40), deployment("d2", T0 + DAY, version="main", commit="b" * 40)]  # fmt: skip
    assert links(*made, incident("i", T0 + 2 * DAY + HOUR, version="main", commit="a" * 40)) == [
        ("ci:i", "ci:d1", "identity")
    ]


def test_a_label_or_an_address_names_the_deployment() -> None:
    made = [deployment("d1", T0, url="https://ci.example/d1"), deployment("d2", T0 + HOUR)]
    labelled = incident("i", T0 + 2 * HOUR, labels=(("deployment", "d1"),))
    addressed = incident("i", T0 + 2 * HOUR, labels=(("deployment_url", "https://ci.example/d1"),))
    assert links(*made, labelled) == links(*made, addressed) == [("ci:i", "ci:d1", "named")]


def test_links_do_not_depend_on_what_was_pulled_before() -> None:
    made = [deployment(f"d{i}", T0 + i * DAY, version=f"v{i}") for i in range(60)]
    said = [incident(f"i{i}", T0 + i * DAY + HOUR, T0 + i * DAY + 2 * HOUR) for i in range(0, 60, 7)]
    late = [pair for pair in links(*made, *said) if int(pair[0][4:]) >= 53]
    assert links(*made[53:], *said[8:]) == late
    assert late
    shuffled = [*made, *said]
    Random(3).shuffle(shuffled)
    assert sorted(links(*shuffled)) == sorted(links(*made, *said))


def test_a_return_to_what_ran_before_is_a_rollback() -> None:
    made = [deployment("d1", T0, version="v1"), deployment("d2", T0 + DAY, version="v2"),
            deployment("d3", T0 + DAY + 2 * HOUR, version="v1")]  # fmt: skip
    found = judged(*made)
    assert links(*made) == [("ci:d3", "ci:d2", "returned")]
    assert "v1" in found[1].failed[0].reason
    assert [one.rework for one in found] == ["", "", "it rolled another back"]
    assert found[1].recovery == 2 * HOUR
    assert delivery.five(found, T0, T0 + 2 * DAY).recovery_time.p50 == 2 * HOUR


def test_the_same_version_again_is_no_rollback() -> None:
    assert links(deployment("d1", T0, version="v1"), deployment("d2", T0 + DAY, version="v1")) == []


def test_a_branch_name_is_no_version_to_return_to() -> None:
    made = [deployment(f"d{i}", T0 + i * DAY, version="main", commit=f"{i}" * 40) for i in range(3)]
    assert links(*made) == []


def test_a_rollback_that_failed_undid_nothing() -> None:
    made = [deployment("d1", T0, version="v1"), deployment("d2", T0 + DAY, version="v2"),
            deployment("d3", T0 + DAY + HOUR, version="v1", outcome="bad")]  # fmt: skip
    assert links(*made) == []


def test_an_event_that_is_a_rollback_undoes_what_it_names_or_the_one_before() -> None:
    made = [deployment("d1", T0, version="v1"), deployment("d2", T0 + DAY, version="v2")]
    plain = Event(
        "rollback", "r", T0 + DAY + HOUR, components=("api",), environment="production", ended=T0 + DAY + HOUR
    )
    assert links(*made, replace(plain, labels=(("rolls_back", "d1"),))) == [("ci:r", "ci:d1", "named")]
    assert links(made[1], replace(plain, version="v0")) == [("ci:r", "ci:d2", "rollback")]
    found = judged(*made, plain)
    assert [bool(one.rework) for one in found] == [False, False, True]
    assert delivery.five(found, T0, T0 + 3 * DAY).lead_time.of == 2


def test_a_hotfix_makes_the_one_before_fail() -> None:
    made = [deployment("d1", T0, version="v1"), deployment("d2", T0 + HOUR, version="v2", labels=(("branch", "hotfix/total"),))]  # fmt: skip
    assert links(*made) == [("ci:d2", "ci:d1", "hotfix")]
    assert judged(*made)[1].rework
    assert links(made[0], replace(made[1], ts=T0 + 3 * DAY, ended=None)) == []
    assert links(*made, rules=Rules(unplanned=())) == []


def test_recovery_waits_for_the_last_incident() -> None:
    made = deployment("d", T0, ended=T0 + 600)
    first, second = incident("i1", T0 + 900, T0 + 3600), incident("i2", T0 + 1200, T0 + 7800)
    assert judged(made, first, second)[0].recovery == 7200
    still = replace(second, ended=None, outcome="open")
    found = delivery.five(judged(made, first, still), T0, T0 + DAY)
    assert (found.recovery_time.n, found.recovery_time.of, found.recovery_time.open) == (0, 1, 1)
    assert found.fail_rate.k == 1


def test_alerts_are_incidents_only_where_that_is_said() -> None:
    alert = replace(incident("i", T0 + HOUR), kind="alert")
    assert links(deployment("a", T0), alert) == []
    assert links(deployment("a", T0), alert, rules=Rules(alerts=True)) == [("ci:i", "ci:a", "time")]


# -- corrections


def test_a_person_knows_better() -> None:
    made = [deployment("d1", T0, version="v1"), deployment("d2", T0 + HOUR, version="v2")]
    said = incident("i", T0 + 2 * HOUR)
    moved = Rules(link=(Amendment(incident="i", deployment="d1", author="ana", reason="a slow leak"),))
    assert links(*made, said, rules=moved) == [("ci:i", "ci:d1", "config")]
    assert judged(*made, said, rules=moved)[0].failed[0].reason == "set in the configuration by ana: a slow leak"
    assert links(*made, said, rules=Rules(link=(Amendment(incident="ci:i", unrelated=True),))) == []
    back = deployment("d3", T0 + 3 * HOUR, version="v1")
    assert links(*made, back, rules=Rules(link=(Amendment(rollback="d3", unrelated=True),))) == []
    assert [one.rework for one in judged(*made, back, rules=Rules(link=(Amendment(rollback="d3", unrelated=True),)))] == ["", "", ""]  # fmt: skip
    fixed = Rules(link=(Amendment(incident="i", fix="d2"),))
    assert judged(*made, said, rules=fixed)[1].rework.startswith("made because of incident i")


@pytest.mark.parametrize(
    "wrong",
    ['incident = "i"', 'incident = "i"\nrollback = "r"\nunrelated = true', 'deployment = "d"',
     'incident = "i"\ndeployment = "d"\nunrelated = true', 'rollback = "r"\nfix = "d"', 'incidnet = "i"\nunrelated = true'],
)  # fmt: skip
def test_a_correction_that_means_nothing_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"link"):
        config.parse(f"[[delivery.link]]\n{wrong}\n", tmp_path / "tandem.toml")


def test_the_configuration_holds_rules_and_corrections(tmp_path: Path) -> None:
    text = """
[delivery]
incident_hours = 6
unplanned = ["fix-*"]
  [[delivery.link]]
  incident = "INC-1"
  deployment = "9001"
  author = "ana"
  reason = "seen in the logs"
  [[delivery.apart]]
  changes = ["9001", "argo:shop/12"]
"""
    found = config.parse(text, tmp_path / "tandem.toml").delivery
    assert (found.incident_hours, found.unplanned, found.breach_days) == (6, ("fix-*",), 7)
    assert found.link == (Amendment(incident="INC-1", deployment="9001", author="ana", reason="seen in the logs"),)
    assert found.apart == (Apart(("9001", "argo:shop/12")),)
    assert config.parse("", tmp_path / "tandem.toml").delivery == Rules()
    with pytest.raises(ValueError, match="at least 1"):
        config.parse("[delivery]\nincident_hours = 0\n", tmp_path / "tandem.toml")


# -- one change from two sources


def one_change(*pairs: tuple[str, Event], apart: tuple[Apart, ...] = ()) -> list[tuple[tuple[str, str], ...]]:
    return [found.told for found in changes.changes(pairs, {"github": 0, "argo": 1}, apart)]


HUB = deployment("9", T0, commit="a" * 40, version="main", ended=T0 + 300)
ARGO = deployment("shop/3", T0 + 200, commit="a" * 40, version="v2", ended=T0 + 500)


def test_two_sources_of_one_deployment_are_one_change() -> None:
    found = changes.changes([("argo", ARGO), ("github", HUB)], {"github": 0, "argo": 1})
    assert len(found) == 1
    assert (found[0].told, found[0].sources) == ((("github", "9"), ("argo", "shop/3")), ("github", "argo"))
    assert (found[0].ts, found[0].ended, found[0].version) == (T0, T0 + 500, "main")


@pytest.mark.parametrize(
    ("other", "count"),
    [
        (ARGO, 1),
        (replace(ARGO, ts=T0 + 300 + 900), 1),
        (replace(ARGO, ts=T0 + 300 + 901, ended=None), 2),
        (replace(ARGO, commit="b" * 40, version="main"), 2),
        (replace(ARGO, commit="", version="main"), 1),
        (replace(ARGO, commit="", digest="sha256:1"), 2),
        (replace(ARGO, environment="staging"), 2),
        (replace(ARGO, components=("web",)), 2),
        (replace(ARGO, kind="rollback"), 1),
        (replace(ARGO, commit="", version=""), 2),
    ],
)
def test_when_two_are_one(other: Event, count: int) -> None:
    assert len(one_change(("github", HUB), ("argo", other))) == count


def test_digest_decides_first() -> None:
    one, other = replace(HUB, digest="sha256:1"), replace(ARGO, digest="sha256:2")
    assert len(one_change(("github", one), ("argo", other))) == 2


def test_one_source_twice_is_two_and_config_takes_them_apart() -> None:
    assert len(one_change(("github", HUB), ("github", replace(HUB, key="10", ts=T0 + 60)))) == 2
    apart = (Apart(("9", "argo:shop/3"), "ana", "two clusters"),)
    assert len(one_change(("github", HUB), ("argo", ARGO), apart=apart)) == 2


def test_a_change_of_two_components_counts_once_for_each() -> None:
    both = replace(HUB, components=("api", "web"))
    found = changes.changes([("github", both), ("argo", ARGO)], {})
    assert [(one.component, len(one.told)) for one in found] == [("api", 2), ("web", 1)]


def test_both_count_once_in_the_metrics() -> None:
    told = [("github", HUB), ("argo", ARGO), ("github", deployment("11", T0 + DAY, commit="c" * 40))]
    made = changes.changes(told, {})
    found = linking.fates(made, linking.links(made, [], [], RULES), [], RULES)
    assert delivery.five(found, T0, T0 + 2 * DAY).frequency.n == 2
