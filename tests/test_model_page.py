"""The page of a model: every panel with its numbers, and an honest sentence where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tandem.scores import at_threshold
from tests import screens, screens_models
from tests.screens import Engine
from tests.test_dashboard import Open, figures, markup, open_page, words

__all__ = ["open_page"]
PAGE = {"page": "models", "component": "fraud-score"}


def of(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Engine:
    """An engine whose models are changed."""

    def detail(name: str, window: Any, now: int) -> Any:
        found = screens.detail(name, window, now)
        return replace(found, model=replace(found.model, **changes)) if found.model else found

    monkeypatch.setitem(screens.ENGINES, "full", (screens.overview, screens.sources, detail))
    return Engine("full")


def order(said: str, *titles: str) -> list[int]:
    places = {title: said.find(f"<h2>{title}</h2>") for title in titles}
    assert min(places.values()) >= 0, places
    return list(places.values())


def test_a_binary_model_reads_from_verdict_to_cause(open_page: Open) -> None:
    test = open_page(**PAGE)
    shown = markup(test)
    left = order(shown, "Accuracy by version", "Feature drift", "Data quality", "Scores", "Predictions",
                 "Training runs", "Versions", "Samples")  # fmt: skip
    right = order(shown, "Quality over the window", "Labels", "Accuracy by segment", "Fairness", "Confusion matrix",
                  "Reference and current", "Calibration", "Changes to it and its partners", "Partners")  # fmt: skip
    assert left == sorted(left)
    assert right == sorted(right)


def test_on_a_phone_the_panels_follow_one_another(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    run = AppTest.run

    def narrow(self: Any, **more: Any) -> Any:
        self.session_state["narrow"] = True
        return run(self, **more)

    monkeypatch.setattr(AppTest, "run", narrow)
    shown = markup(open_page(**PAGE))
    places = order(shown, "Accuracy by version", "Quality over the window", "Labels", "Fairness", "Confusion matrix",
                   "Feature drift", "Data quality", "Scores", "Calibration", "Predictions",
                   "Training runs")  # fmt: skip
    assert places == sorted(places)


def test_every_measure_has_its_interval_and_what_it_rests_on(open_page: Open) -> None:
    found = screens_models.modelled("fraud-score", screens.detail("fraud-score", _day()).window, screens.NOW)
    said = words(open_page(**PAGE))
    for one in found.measures:
        assert one.title in said
        assert one.of in said
    accuracy = found.measures[0]
    assert accuracy.good is not None
    grouped = f"{accuracy.good:,} of {accuracy.n:,}".replace(",", " ")
    assert grouped in said
    assert "Business value, EUR" in said
    assert "Wilson, 95 %" in said
    assert "DeLong" in said


def _day() -> Any:
    return screens.Window(1_795_111_200, 1_795_197_600)


def test_measures_explain_themselves(open_page: Open) -> None:
    shown = markup(open_page(**PAGE))
    for measure in ("accuracy", "precision", "recall", "mcc", "roc_auc", "log_loss"):
        assert f"measure={measure}" in shown


def test_versions_have_bands_and_what_is_still_arriving_is_hollow(open_page: Open) -> None:
    found = next(one for one in figures(open_page(**PAGE)) if len(one["data"]) > 4)
    bands = [trace for trace in found["data"] if trace.get("fill") == "toself"]
    points = [trace for trace in found["data"] if trace.get("mode") == "markers"]
    assert len(bands) >= 2
    assert len(points) == 2
    symbols = [symbol for trace in points for symbol in trace["marker"]["symbol"]]
    assert any(symbol.endswith("-open") for symbol in symbols)
    assert any(not symbol.endswith("-open") for symbol in symbols)
    names = [note["text"] for note in found["layout"]["annotations"]]
    assert any("v11" in name for name in names)
    assert any("v12" in name for name in names)


def test_the_threshold_is_in_the_link_and_says_what_the_counts_say(open_page: Open) -> None:
    found = screens_models.binary()
    assert found.sides is not None
    edge = min(found.sides[0].layout.edges, key=lambda one: abs(one - 0.8))
    what = at_threshold(*found.sides, found.scores[""], edge)
    assert what is not None
    precision, recall = what.precision(), what.recall()
    assert precision is not None
    assert recall is not None
    test = open_page(**PAGE, tab="0.8")
    said = words(test)
    assert "Ignored in this link" not in said
    assert f"At {edge:.3g}" in said
    for share in (precision[0], recall[0]):
        assert f"{int(share * 1000) / 10:.1f} %" in said
    assert f"{what.flagged[0]:,} of {what.scored:,} scored".replace(",", " ") in said
    (slider,) = test.get("select_slider") or test.select_slider
    slider.set_value(40).run()
    (chosen,) = [test.query_params["tab"]] if isinstance(test.query_params["tab"], str) else test.query_params["tab"]
    assert float(chosen) == pytest.approx(found.sides[0].layout.edges[40], abs=1e-9)


@pytest.mark.parametrize("tab", ["0.", "1.5", "nan", "0.5x", "-0.5", "0,5"])
def test_a_mistyped_threshold_is_the_usual_one(open_page: Open, tab: str) -> None:
    test = open_page(**PAGE, tab=tab)
    assert not test.exception
    assert "At 0.5" in words(test)


def test_gaps_name_both_groups_and_what_may_be_chance_is_never_red(open_page: Open) -> None:
    said, shown = words(open_page(**PAGE)), markup(open_page(**PAGE))
    (fair,) = screens_models.modelled("fraud-score", _day(), screens.NOW).fairness
    gaps = {gap.name: (gap, stands) for gap, stands in zip(fair.gaps, fair.stands, strict=True)}
    gap, stands = gaps["equal_opportunity_difference"]
    assert "NG" in (gap.high, gap.low), "the group of one row makes the gap"
    assert not stands
    assert "not enough data" in said
    assert "Demographic parity" in said
    panel = shown[shown.index("<h2>Fairness</h2>") : shown.index("<h2>Confusion matrix</h2>")]
    assert "x-bad" not in panel
    assert "compl" not in panel.lower()
    assert "ratio" in panel


def test_a_difference_that_is_sure_stands_behind_a_gap_that_is_not(open_page: Open) -> None:
    assert "Certain between BR and" in words(open_page(**PAGE))


def test_data_quality_tells_what_began_and_when(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(open_page(**PAGE))
    assert "age_days missing in 19.2 % of 4 100 rows, still so" in said
    assert "812 missing" in said
    assert "3 out of range, 11 wrong type" in said
    quality = screens_models.modelled("fraud-score", _day(), screens.NOW).quality
    assert quality is not None
    calm = of(monkeypatch, quality=replace(quality, faults=()))
    assert "Nothing began or ended in this window" in words(open_page(engine=calm, **PAGE))


def test_a_schema_change_is_dated_between_the_files(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def detail(name: str, window: Any, now: int) -> Any:
        found = screens.detail(name, window, now)
        event = replace(found.changes[0], kind="schema_change", lane="Deploy", title="column age: number became text",
                        components=(name,), outcome="good", ts=window.since + 3600,
                        until=window.since + 10_800)  # fmt: skip
        gone = replace(event, title="column taken back", outcome="excluded")
        return replace(found, changes=(event, gone, *found.changes))

    monkeypatch.setitem(screens.ENGINES, "full", (screens.overview, screens.sources, detail))
    shown = markup(open_page(engine=Engine("full"), **PAGE))
    panel = shown[shown.index("<h2>Data quality</h2>") :]
    listed = panel[: panel.index("</ol>")]
    assert "column age: number became text" in listed
    assert "19:00 to 19 Nov 21:00" in listed
    assert "taken back" not in listed


def test_runs_show_what_came_of_them(open_page: Open) -> None:
    said = words(open_page(**PAGE))
    panel = said[said.index("Training runs") :]
    for part in ("train-2026-11-20", "running", "✕ failed" if "✕" in panel else "failed", "927bc7d17", "v12",
                 "2026-11-18-31a28cb4"):  # fmt: skip
        assert part in panel


def test_labels_say_how_far_they_have_come(open_page: Open) -> None:
    said = words(open_page(**PAGE))
    assert "9 000 of 10 100 predictions of this window have their label (89.1 %)" in said
    assert "50 % within 18.3 h" in said
    assert "0–6 h" in said


def test_mix_or_real_stands_where_something_is_compared(open_page: Open) -> None:
    assert "Mix or real" not in words(open_page(**PAGE))
    said = words(open_page(**PAGE, compare="previous"))
    assert "mostly mix: the traffic changed, not its segments" in said
    assert "−12 pts" in said
    assert "600" in said


def test_a_model_with_no_labels_at_all(open_page: Open) -> None:
    test = open_page("models", component="triage-bert")
    said = words(test)
    assert "No labels yet: 3 200 predictions in this window, none with its outcome" in said
    assert "None of 3 200 predictions of this window has its label yet" in said
    for absent in ("Calibration", "Fairness", "What if", "As it decided"):
        assert absent not in said
    assert not (test.get("select_slider") or [])


def test_a_regression_says_what_mape_leaves_out(open_page: Open) -> None:
    said = words(open_page("models", component="eta-gbm"))
    assert "Mean absolute error by version" in said
    assert "with a true value of 0 left out" in said
    assert "true values other than 0" in said
    assert "Errors" in said
    for absent in ("Calibration", "Confusion matrix: ", "Fairness"):
        assert absent not in said


def test_a_model_with_several_classes_names_its_averages(open_page: Open) -> None:
    said = words(open_page("models", component="ranker"))
    for name in ("Macro F1", "Micro F1", "Weighted F1", "Macro precision", "Macro recall"):
        assert name in said
    assert "Calibration" not in said


def test_one_panel_that_breaks_leaves_the_others(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import judged

    def broken(*_: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(judged, "fairness", broken)
    said = words(open_page(**PAGE))
    assert "Fairness cannot be shown" in said
    assert "Confusion matrix" in said


def test_no_figure_has_more_points_than_pixels(open_page: Open) -> None:
    for figure in figures(open_page(**PAGE)):
        for trace in figure["data"]:
            assert len(trace.get("y") or ()) <= 600
        assert "NaN" not in json.dumps(figure)
