"""The evidently connector by its service: what counts, what is judged, and what restates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import evidently
from connectors._evidently import Contents, snake
from connectors._evidently_old import METHODS
from tandem import connect
from tandem.connect import Pull, SourceRefused
from tandem.records import Confusion, Fact, Ratio, Sample
from tandem.store.file import Store, open_store
from tandem.told import drifts, told
from tests.evidently_pulls import (
    NOW,
    PAYLOADS,
    SNAPSHOTS,
    T1,
    Kept,
    config,
    events,
    of,
    parsed,
    pulled,
    remarks,
    values,
)
from tests.evidently_server import PROJECT, Evidently, checked, drawing, drift, metric, quality, rows, uuid7
from tests.replay import Answer, Asked


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "t.duckdb") as opened:
        yield opened


# -- drift


def test_drift_keeps_method_direction_and_threshold_and_agrees_with_its_tool() -> None:
    """Each value is the report's own, and the verdict by the rule is the one that Evidently's own tests state."""
    raw = json.loads((PAYLOADS / "data_drift__json.json").read_text())
    stated = json.loads((PAYLOADS / "drift_with_tests__json.json").read_text())["tests"]
    failed = {
        one["metric_config"]["params"]["column"]: one["status"] == "FAIL" for one in stated if one["id"] == "drift"
    }
    found = values(parsed(PAYLOADS / "data_drift__json.json", at=T1))
    judged = [one["config"] | {"value": one["value"]} for one in raw["metrics"] if "method" in one["config"]]
    assert len(judged) == 5
    for one in judged:
        sign = {"K-S p_value": "<=", "Z-test p_value": "<"}[one["method"]]
        name = f"drift[{one['column']}] {one['method']} {sign}"
        assert found[name] == one["value"]
        assert found[f"{name} threshold"] == one["threshold"]
        assert found[f"{name} verdict"] == float(failed[one["column"]])
        said = told(f"{name} threshold")
        assert said is not None
        assert (said.feature, said.method, said.direction, said.part) == (
            one["column"],
            one["method"],
            sign,
            "threshold",
        )


def test_large_is_drift_for_distances_and_small_for_p_values() -> None:
    found = values(parsed(PAYLOADS / "psi_drift__json.json", at=T1))
    assert found["drift[feat 02] psi >= verdict"] == 1.0
    assert found["drift[feat 01] wasserstein >= verdict"] == 1.0
    assert found["drift[site] Z-test p_value < verdict"] == 0.0
    assert {METHODS[one] for one in ("psi", "PSI", "Jensen-Shannon distance", "wasserstein")} == {">="}
    assert {METHODS[one] for one in ("Total-Variation-Distance", "empirical_mmd", "chi-square p_value")} == {"<"}


@pytest.mark.parametrize(
    ("method", "below", "at", "above"),
    [("K-S p_value", True, True, False), ("z", True, False, False), ("psi", False, True, True),
     ("Energy-distance", False, False, True), ("custom function 'mine'", None, None, None)],
)  # fmt: skip
def test_at_the_threshold_itself_each_method_has_its_own_answer(
    method: str, below: bool | None, at: bool | None, above: bool | None
) -> None:
    direction = METHODS.get(method, "told")
    assert [drifts(value, direction, 0.05) for value in (0.04, 0.05, 0.06)] == [below, at, above]


def test_a_method_nobody_knows_has_a_value_and_no_verdict() -> None:
    server = Evidently()
    server.add("2026-11-01T00:00:00Z", drift("amount", 0.4, "custom function 'mine'", 0.3))
    pages, _ = pulled(server)
    assert values(pages) == {"drift[amount] custom function 'mine' told": 0.4,
                             "drift[amount] custom function 'mine' told threshold": 0.3}  # fmt: skip
    assert "has no verdict" in remarks(pages)
    assert not events(pages, "drift")


def test_drift_is_an_event_where_it_begins_whatever_the_method() -> None:
    """Hours of drift are one event; a flip of the method begins nothing; after an end it begins again."""
    server = Evidently()
    said = [drift("amount", 0.4), drift("amount", 0.01), drift("amount", 0.001), drift("amount", 0.4, "psi", 0.1),
            drift("amount", 0.05, "psi", 0.1), drift("amount", 0.2, "psi", 0.1)]  # fmt: skip
    for hour, one in enumerate(said):
        server.add(f"2026-11-01T{hour:02}:00:00Z", one, drift("age", 0.7))
    found = events(pulled(server)[0], "drift")
    assert [(one.ts - T1) // 3600 for one in found] == [1, 5]
    assert found[0].title == "data drift: amount (K-S p_value 0.01 <= 0.05)"
    assert {one.outcome for one in found} == {"bad"}
    assert [one.url.partition("/projects/")[2] for one in found] == [
        f"{PROJECT}/reports/{list(server.reports)[hour]}" for hour in (1, 5)
    ]


def test_drift_that_a_newer_report_denies_is_taken_back(store: Store) -> None:
    kept, server = Kept(store), Evidently()
    server.add("2026-11-01T00:00:00Z", drift("amount", 0.01), made=1_793_500_000_000)
    kept.pull(server, NOW)
    assert list(kept.outcomes("drift").values()) == ["bad"]
    server.add("2026-11-01T00:00:00Z", drift("amount", 0.6), made=1_793_500_900_000)
    kept.pull(server, NOW + 300)
    assert list(kept.outcomes("drift").values()) == ["excluded"]
    assert kept.sample("drift[amount] K-S p_value <= verdict") == 0.0
    server.add("2026-11-01T01:00:00Z", drift("amount", 0.02), made=1_793_503_000_000)
    kept.pull(server, NOW + 600)
    assert sorted(kept.outcomes("drift").values()) == ["bad", "excluded"]


# -- counts


def test_the_confusion_matrix_that_a_drawing_hides_counts_exactly() -> None:
    """Cells add up to the accuracy, precision and recall that the report itself states; the reference is not read."""
    path = SNAPSHOTS / "01a1fd1e-520f-7d9c-801a-fc258307ca88.json"
    pages = parsed(path)
    [fact] = of(pages, Fact)
    assert isinstance(fact.value, Confusion)
    cells, said = fact.value.cells, values(pages)
    assert sum(cells.values()) == 289
    right = cells["1", "1"]
    assert (cells["0", "0"] + right) / 289 == said["accuracy"]
    assert right / (right + cells["1", "0"]) == said["recall"]
    assert right / (right + cells["0", "1"]) == said["precision"]
    assert (fact.ts, fact.series.stage, fact.series.signal) == (T1 + 3600, "production", "outcome")


def test_counts_that_contradict_the_accuracy_are_left_out() -> None:
    server = Evidently()
    metrics, _ = quality([[70, 3], [13, 200]])
    server.add("2026-11-01T00:00:00Z", *metrics, widgets=drawing([[70, 4], [13, 200]]))
    pages, _ = pulled(server)
    assert not of(pages, Fact)
    assert "does not agree with its accuracy" in remarks(pages)


def test_three_classes_and_numbers_as_classes_are_counted() -> None:
    cells = [[5, 1, 0], [2, 6, 1], [0, 0, 4]]
    server = Evidently()
    metrics, widgets = quality(cells, (0, 1.0, "2"))
    server.add("2026-11-01T00:00:00Z", *metrics, widgets=widgets)
    [fact] = of(pulled(server)[0], Fact)
    assert fact.value.cells == {(str(a), str(p)): cells[a][p] for a in range(3) for p in range(3)}


def test_valid_rows_are_exact_or_not_told() -> None:
    """One column that misses values gives them; of two, the report does not say whether it is the same rows."""
    server = Evidently()
    server.add("2026-11-01T00:00:00Z", *rows(289, age=12, amount=0))
    server.add("2026-11-01T01:00:00Z", *rows(289, age=12, amount=3))
    server.add("2026-11-01T02:00:00Z", *rows(10), metric("DatasetMissingValueCount", {"count": 0.0, "share": 0.0}))
    server.add(
        "2026-11-01T03:00:00Z", *rows(10, age=1), metric("DatasetMissingValueCount", {"count": 4.0, "share": 0.4})
    )
    pages, _ = pulled(server)
    found = {((one.ts - T1) // 3600, one.series.name): one.value for one in of(pages, Fact)}
    assert found == {
        (0, ""): Ratio(277, 289), (0, "age:missing"): Ratio(0, 12), (1, "age:missing"): Ratio(0, 12),
        (1, "amount:missing"): Ratio(0, 3), (2, ""): Ratio(10, 10), (3, "age:missing"): Ratio(0, 1),
    }  # fmt: skip
    assert "how many rows are valid is not in the report x2" in remarks(pages)


@pytest.mark.parametrize(
    ("rows_", "faults", "invalid", "missing", "valid"),
    [(10, {("a", "missing"): 2, ("b", "missing"): 2}, 3, None, 7), (10, {("a", "out of range"): 2}, None, None, 8),
     (10, {("a", "missing"): 2, ("a", "out of range"): 1}, 2, None, None),
     (None, {("a", "missing"): 2}, None, None, None),
     (10, {}, None, None, None)],
)  # fmt: skip
def test_valid_rows_of_other_reports(
    rows_: int | None, faults: Any, invalid: int | None, missing: int | None, valid: int | None
) -> None:
    assert Contents(rows=rows_, faults=faults, invalid=invalid, missing=missing).valid == valid


# -- tests


@pytest.mark.parametrize(
    ("status", "outcome", "given"),
    [("SUCCESS", "good", {}), ("FAIL", "bad", {}), ("WARNING", "good", {}), ("ERROR", "excluded", {}),
     ("SKIPPED", "excluded", {}), ("MELTED", "excluded", {}), ("ERROR", "bad", {"ERROR": "bad"}),
     ("WARNING", "bad", {"WARNING": "bad"})],
)  # fmt: skip
def test_every_status_of_a_test(status: str, outcome: str, given: dict[str, str]) -> None:
    server = Evidently()
    server.add("2026-11-01T00:00:00Z", tests=[checked("Rows", status, "RowCount")])
    pages, _ = pulled(server, common={"status": given})
    [found] = events(pages, "validation")
    assert found.outcome == outcome
    assert ("unknown" in remarks(pages)) is (status == "MELTED")


def test_failed_tests_are_one_validation_that_names_them() -> None:
    [found] = events(parsed(PAYLOADS / "drift_with_tests__json.json", at=T1), "validation")
    labels = dict(found.labels)
    assert (found.outcome, found.title, labels["checks"], labels["failed"]) == ("bad", "6 of 8 tests failed", "8", "6")
    assert "Column 'feat 04' missing values: Less 5.000" not in labels["failed_checks"]  # the sixth of five named
    assert labels["failed_checks"].startswith("Share of Drifted Columns: Less 0.500")


def test_a_suite_that_runs_again_for_its_time_replaces_itself_and_no_other(store: Store) -> None:
    kept, server = Kept(store), Evidently()
    server.add("2026-11-01T00:00:00Z", tests=[checked("Rows: Less 5", "FAIL", "RowCount")])
    server.add("2026-11-01T00:00:00Z", tests=[checked("Accuracy", "SUCCESS")])
    kept.pull(server, NOW)
    assert sorted(kept.outcomes("validation").values()) == ["bad", "good"]
    server.add("2026-11-01T00:00:00Z", tests=[checked("Rows: Less 7", "SUCCESS", "RowCount")])
    kept.pull(server, NOW + 300)
    assert sorted(kept.outcomes("validation").values()) == ["good", "good"]


# -- what changes later


def test_late_labels_replace_the_counts_of_their_time_in_any_order(store: Store, tmp_path: Path) -> None:
    """The second report of a time counts in place of the first, also where it comes first."""
    early, whole = [[40, 2], [3, 55]], [[70, 3], [13, 200]]
    expected = {("0", "0", T1): 70, ("0", "1", T1): 3, ("1", "0", T1): 13, ("1", "1", T1): 200}

    def reports(*order: int) -> Iterator[Evidently]:
        server = Evidently()
        for one in order:
            metrics, widgets = quality(early if one == 0 else whole)
            # The older one also judged drift, and that stays.
            more = [drift("age", 0.3)] if one == 0 else []
            server.add("2026-11-01T00:00:00Z", *metrics, *more, widgets=widgets, made=1_793_500_000_000 + one * 10_000)
            yield server

    kept = Kept(store)
    for number, server in enumerate(reports(0, 1)):
        kept.pull(server, NOW + 300 * number)
    assert kept.cells() == expected
    assert kept.sample("accuracy") == 270 / 286
    with open_store(tmp_path / "other.duckdb") as other:
        late = Kept(other)
        for number, server in enumerate(reports(1, 0)):
            late.pull(server, NOW + 300 * number)
        assert late.cells() == expected
        assert late.sample("accuracy") == 270 / 286
        assert late.sample("drift[age] K-S p_value <=") == 0.3


def test_versions_and_components_of_one_time_stand_beside_each_other(store: Store) -> None:
    """Champion and challenger, and two models of one project, are not two reports of one thing."""
    server = Evidently()
    for number, (version, tag) in enumerate([("3", "a"), ("4", "a"), ("3", "b")]):
        metrics, widgets = quality([[10 + number, 1], [1, 10]])
        server.add("2026-11-01T00:00:00Z", *metrics, widgets=widgets, tags=(tag, "prod"), model_version=version)
    rules = tuple(connect.Rule((name,), {"tag": f"{name[-1]},*"}) for name in ("model-a", "model-b"))
    pages, _ = pulled(server, common={"component": (), "map": rules})
    slices = {page.slice.name for page in pages if page.slice and page.slice.name.startswith("outcome")}
    assert len(slices) == 3
    Kept(store).pull(server, NOW, common={"component": (), "map": rules})
    found = store.cursor().execute(
        "SELECT s.component, s.version, sum(c.n) FROM confusion c JOIN series s ON s.id = c.series "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()  # fmt: skip
    assert found == [("model-a", "3", 22), ("model-a", "4", 23), ("model-b", "3", 24)]


def test_a_second_pull_asks_for_the_lists_and_what_is_new() -> None:
    server = Evidently(newest_first=True)
    for hour in range(10):
        metrics, widgets = quality([[70 + hour, 3], [13, 200]])
        server.add(f"2026-11-01T{hour:02}:00:00Z", *metrics, widgets=widgets)
    pages, asked = pulled(server)
    assert len(asked) == 2 + 2 * 10
    state = json.loads(json.dumps(pages[-1].state))
    nothing, asked = pulled(server, state)
    assert not of(nothing, object)
    assert len(asked) == 2
    server.add("2026-10-20T00:00:00Z", drift("amount", 0.4))  # a time that is given may lie in the past
    pages, asked = pulled(server, state)
    assert len(asked) == 3
    assert {one.ts for one in of(pages, Sample)} == {T1 - 12 * 86400}
    print(f"evidently: {len(asked)} requests for one new report, the fewest possible are 3")


def test_a_pull_that_is_cut_off_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidently, "_NOTED", 2)
    server = Evidently()
    for hour in range(5):
        server.add(f"2026-11-01T{hour:02}:00:00Z", drift("amount", 0.4))
    states = [page.state for page in pulled(server)[0] if page.state]
    assert [len(one["seen"]) for one in states] == [2, 4, 5]
    pages, _ = pulled(server, states[1])
    assert {one.ts for one in of(pages, Sample)} == {T1 + 4 * 3600}


def test_of_very_many_reports_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidently, "KNOWN", 3)
    server = Evidently()
    for hour in range(5):
        server.add(f"2026-11-01T{hour:02}:00:00Z", drift("amount", 0.4))
    state = pulled(server)[0][-1].state
    assert len(state["seen"]) == 3
    assert len(pulled(server, state)[1]) == 2
    assert len(json.dumps({uuid7(n)[:12]: NOW for n in range(30_000)})) < 1 << 20


# -- which reports, and when


def test_projects_and_tags_choose_and_label() -> None:
    server = Evidently(projects={PROJECT: "claim-risk", uuid7(1): "other"})
    server.add("2026-11-01T00:00:00Z", drift("amount", 0.4), tags=("prod", "eu"), region="north", nested={"a": 1})
    server.add("2026-11-01T01:00:00Z", drift("amount", 0.4), tags=("dev",))
    server.add("2026-11-01T00:00:00Z", drift("age", 0.4), tags=("prod",), project=uuid7(1))
    pages, asked = pulled(server, projects=("claim-*",), tags=("prod",))
    assert {one.series.labels for one in of(pages, Sample)} == {
        (("metadata.region", "north"), ("project", "claim-risk"), ("tag", "prod,eu"))
    }
    assert len(asked) == 3


def test_metrics_are_chosen_and_values_that_are_none_are_left_out() -> None:
    server = Evidently()
    server.add(
        "2026-11-01T00:00:00Z", metric("RocAuc", float("nan")), metric("Accuracy", 0.5),
        metric("MAE", {"mean": 2.0, "std": 1.0}),
        metric("UniqueValueCount", {"counts": {"a": 3.0}, "shares": {"a": 1.0}}, column="site"),
        metric("F1ByLabel", {"0": 0.25, "1": 0.75}), metric("QuantileValue", 7.0, column="age", quantile=0.5),
        drift("amount", float("inf")),
        metric("CategoryCount", {"count": 3, "share": True}, column="site", category="x"),
    )  # fmt: skip
    pages, _ = pulled(server)
    assert values(pages) == {
        "accuracy": 0.5, "mae": 2.0, "mae_std": 1.0, "f1_by_label[0]": 0.25, "f1_by_label[1]": 0.75,
        "quantile_value[age, quantile=0.5]": 7.0, "category_count[site, category=x]": 3.0,
    }  # fmt: skip
    assert values(pulled(server, metrics=("acc*",))[0]) == {"accuracy": 0.5}
    assert [snake(one) for one in ("RocAuc", "MAE", "F1ByLabel", "TPR")] == ["roc_auc", "mae", "f1_by_label", "tpr"]


@pytest.mark.parametrize(
    ("written", "zone", "ts"),
    [("2026-11-01T00:00:00+01:00", None, T1 - 3600), ("2026-11-01T00:00:00.123456", "UTC", T1),
     ("2026-10-25T02:30:00", "Europe/Berlin", 1_792_888_200), ("2026-03-29T02:30:00", "Europe/Berlin", None),
     ("2026-11-01T00:00:00", None, None), ("1970-01-01T00:00:00Z", None, None), ("soon", "UTC", None)],
)  # fmt: skip
def test_times_with_and_without_offset(written: str, zone: str | None, ts: int | None) -> None:
    """An hour that repeats is the earlier one, one that never was is rejected, and so is what needs a zone."""
    server = Evidently()
    server.add(written, drift("amount", 0.4))
    pages, _ = pulled(server, common={"timezone": zone}, now=1_793_000_000 if ts and ts < T1 - 86400 else NOW)
    assert {one.ts for one in of(pages, Sample)} == ({ts} if ts is not None else set())
    assert ("reject" in remarks(pages)) is (ts is None)


def test_what_is_not_yet_waits() -> None:
    server = Evidently()
    server.add("2026-11-01T02:00:00Z", drift("amount", 0.4))
    early, asked = pulled(server, now=T1 + 3600)
    assert (of(early, Sample), len(asked)) == ([], 2)
    assert of(pulled(server, early[-1].state)[0], Sample)


def test_hostile_names_stay_data() -> None:
    name = '<img src=x onerror=alert(1)>] ";\n{{7*7}} <= threshold'
    server = Evidently(projects={PROJECT: name})
    server.add("2026-11-01T00:00:00Z", drift(name, 0.01), tests=[checked(name, "FAIL")], tags=(name,), **{name: name})
    pages, _ = pulled(server)
    judged = told(next(one.series.name for one in of(pages, Sample)))
    assert judged is not None
    assert (judged.feature, judged.part) == (name, "value")
    assert dict(of(pages, Sample)[0].series.labels)["project"] == name
    assert dict(events(pages, "validation")[0].labels)["failed_checks"] == name


def test_a_service_that_is_none_is_refused() -> None:
    class Odd(Evidently):
        def answer(self, asked: Asked) -> Any:
            return Answer({"projects": []})

    with pytest.raises(SourceRefused, match="no list of projects"):
        pulled(Odd())
    with pytest.raises(SourceRefused, match="set url"):
        list(evidently.fetch(config(), Pull(0, NOW, NOW)))
