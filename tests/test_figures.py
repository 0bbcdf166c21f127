"""Figures are plain dicts that nothing validates at run time: here the real Plotly does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import plotly.graph_objects as go
import plotly.io
import pytest

from dashboard.charts.axes import MOST, dated, shrunk, ticks
from dashboard.charts.drift import distribution_bars, drift_map
from dashboard.charts.failures import failure_bars
from dashboard.charts.figure import BAD, Figure, RawFigure
from dashboard.charts.latency import latency_map, percentiles
from dashboard.charts.line import line_traces
from dashboard.charts.scores import calibration_dots, error_bars, score_bars, threshold_curves
from dashboard.charts.segments import segment_dots
from dashboard.charts.timeline import PHONE, WIDE, _lane, labels, timeline
from dashboard.charts.trace import trace_lines
from dashboard.charts.volume import volume_bars
from dashboard.charts.zoom import chosen
from tandem.shown import Change, Distribution, Served, Window
from tests import screens, screens_models

DAY = Window(1_795_111_200, 1_795_197_600)
MONTH = Window(1_795_197_600 - 30 * 86400, 1_795_197_600)
CASES = [(kind, window, narrow) for kind in ("full", "silent", "single", "crowd", "hostile", "empty")
         for window in (DAY, MONTH, Window(DAY.until - 300, DAY.until)) for narrow in (False, True)]  # fmt: skip


def every_figure(kind: str, window: Window, narrow: bool) -> list[Figure]:
    overview, _, detail = screens.ENGINES[kind]
    found, one = overview(window, screens.NOW), detail("fraud-score", window, screens.NOW)
    figures = [timeline(found.lines, found.changes, window, found.step, UTC, narrow=narrow)]
    for line in found.lines:
        figures.append(failure_bars(line, window, found.step, UTC, narrow=narrow))
    band = screens.band((window.until - window.since) // 300)
    figures.append(latency_map(band, window, UTC, 0.3, narrow=narrow))
    figures.append(percentiles(band, window, UTC, None, narrow=narrow))
    figures.append(drift_map(one.features, window, UTC, narrow=narrow))
    if one.distribution:
        figures.append(distribution_bars(one.distribution, narrow=narrow))
    figures.append(segment_dots(one.segments, 0.94, narrow=narrow))
    return [*figures, *model_figures(kind, window, narrow)]


def model_figures(kind: str, window: Window, narrow: bool) -> list[Figure]:
    """What judges models, of every task."""
    made = []
    for name in ("fraud-score", "eta-gbm", "ranker", "triage-bert"):
        one = screens.ENGINES[kind][2](name, window, screens.NOW)
        model = one.model
        if model.trace:
            promoted = [("v1", window.since + 60)]
            made.append(trace_lines(model.trace, one.served, promoted, window, UTC, narrow=narrow))
        made += [score_bars(model.scores, 0.4, narrow=narrow)] if model.scores else []
        made += [calibration_dots(model.calibration, narrow=narrow)] if model.calibration else []
        made += [error_bars(model.errors, narrow=narrow)] if model.errors else []
        made += [threshold_curves(model.thresholds, 70, narrow=narrow)] if model.thresholds else []
        made += [volume_bars(model.volume, window, UTC, narrow=narrow)] if model.volume else []
    return made


@pytest.mark.parametrize(("kind", "window", "narrow"), CASES)
def test_plotly_accepts_every_figure_and_nothing_exceeds_its_pixels(kind: str, window: Window, narrow: bool) -> None:
    for figure in every_figure(kind, window, narrow):
        go.Figure(figure)
        orjson.dumps(figure)
        for trace in figure["data"]:
            if "y" in trace and trace["type"] == "scatter" and "x0" in trace:
                assert len(trace["y"]) <= MOST
            if trace["type"] == "scatter":
                assert trace["mode"]
        assert all(
            "<script" not in json.dumps(note) and "<img" not in json.dumps(note)
            for note in figure["layout"].get("annotations", [])
        )


def test_a_raw_figure_is_what_streamlit_sends() -> None:
    figure = timeline(screens.lines(), screens.changes(DAY), DAY, 300, UTC)
    sent = json.loads(plotly.io.to_json(RawFigure(figure), validate=False))
    assert sent == json.loads(orjson.dumps(figure))
    assert isinstance(RawFigure(figure), go.Figure)


def test_one_time_axis_and_three_parts_that_do_not_touch() -> None:
    figure = timeline(screens.lines(), screens.changes(DAY), DAY, 300, UTC)["layout"]
    assert [key for key in figure if key.startswith("xaxis")] == ["xaxis"]
    domains = sorted(figure[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3"))
    assert all(low[1] < high[0] for low, high in pairwise(domains))
    assert figure["xaxis"]["range"] == [DAY.since * 1000, DAY.until * 1000]


def test_times_are_regular_steps_in_the_middle_of_their_buckets() -> None:
    trace = timeline(screens.lines(), (), DAY, 300, UTC)["data"][0]
    assert "x" not in trace
    assert (trace["x0"], trace["dx"]) == ((DAY.since + 150) * 1000, 300_000)


def test_steps_lie_on_their_own_grid_also_in_a_ragged_window() -> None:
    ragged = Window(DAY.since + 1500, DAY.until + 1500)
    line = replace(screens.lines()[0], points=(0.999,) * 13, step=7200)
    trace = timeline((line,), (), ragged, 300, UTC)["data"][0]
    assert (trace["x0"], trace["dx"]) == ((DAY.since + 3600) * 1000, 7_200_000)
    bars = failure_bars(line, ragged, 300, UTC)["data"][0]
    assert bars["x0"] == trace["x0"]
    heat = latency_map(replace(screens.band(13), step=7200), ragged, UTC, 0.3)["data"][0]
    lines = percentiles(replace(screens.band(13), step=7200), ragged, UTC, 0.3)["data"][0]
    assert (heat["x0"], heat["dx"]) == (lines["x0"], lines["dx"]) == (trace["x0"], trace["dx"])


def test_steps_without_a_histogram_are_blank() -> None:
    band = screens.band(3)
    heat = latency_map(replace(band, counts=(band.counts[0], (), band.counts[2])), DAY, UTC, 0.3)["data"][0]
    assert [row[1] for row in heat["z"]] == [None] * len(heat["z"])


def test_thinning_keeps_the_worst_and_the_gaps() -> None:
    values = [1.0] * 5000
    values[3210] = 0.5
    values[:100] = [None] * 100
    thin, step = shrunk(values, 300)
    assert len(thin) <= MOST
    assert min(v for v in thin if v is not None) == 0.5
    assert thin[0] is None
    assert step == 300 * 9


def boxes(window: Window, changes: tuple[Change, ...], width: int) -> list[tuple[str, float, float, float]]:
    scale = width / (window.until - window.since)
    found = []
    for note in labels(changes, window, width):
        x = (note["x"] / 1000 - window.since) * scale
        room = len(note["text"]) * 6.2
        left = x - 9 - room if note["xanchor"] == "right" else x + 9
        found.append((note["text"], note["y"], left, left + room))
    return found


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_labels_cross_neither_each_other_nor_an_event_line(width: int) -> None:
    changes = screens.changes(DAY)
    placed = boxes(DAY, changes, width)
    assert placed
    scale = width / (DAY.until - DAY.since)
    lines = [((c.ts - DAY.since) * scale, _lane(c)) for c in changes if c.kind == "promotion"]
    for i, (name, lane, left, right) in enumerate(placed):
        assert left >= -1, name
        assert right <= width + 1, name
        for other, lane2, left2, right2 in placed[i + 1 :]:
            assert lane != lane2 or right <= left2 or right2 <= left, (name, other)
        for x, _ in lines:
            assert not left < x < right, name


def test_the_incident_is_named_even_between_lines() -> None:
    assert any(note["text"].startswith("INC-482") for note in labels(screens.changes(DAY), DAY, WIDE))


@pytest.mark.parametrize("span", [300, 3600, 21600, 86400, 86400 * 7, 86400 * 30, 86400 * 365 * 5])
@pytest.mark.parametrize("zone", [UTC, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")])
def test_ticks_are_few_inside_and_rising(span: int, zone: Any) -> None:
    values, texts = ticks(DAY.until - span, DAY.until, zone, 10)
    assert 1 <= len(values) <= 12
    assert values == sorted(set(values))
    assert all(DAY.until - span <= value / 1000 <= DAY.until for value in values)
    assert len(texts) == len(values)


def test_ticks_name_the_day_where_it_changes() -> None:
    _, texts = ticks(DAY.since, DAY.until, UTC, 10)
    assert texts[0] == "18:00<br>19 Nov"
    assert "00:00<br>20 Nov" in texts
    assert texts[-1] == "18:00"


def test_ticks_survive_the_clocks_going_back() -> None:
    zone = ZoneInfo("Europe/Berlin")
    values, texts = ticks(1_792_886_400, 1_792_886_400 + 86400, zone, 10)
    assert values == sorted(set(values))
    assert len(texts) == len(set(zip(values, texts, strict=True)))


def test_immature_steps_are_dotted() -> None:
    traces = line_traces(screens.lines()[1], DAY, 300, "y")
    assert [trace["line"].get("dash") for trace in traces] == [None, "dot"]
    cut = len(traces[0]["y"])
    assert all(value is None for value in traces[1]["y"][: cut - 1])


def test_a_single_point_is_visible() -> None:
    line = replace(screens.lines()[0], points=(None, 0.99, None))
    assert line_traces(line, DAY, 300, "y")[0]["mode"] == "lines+markers"


def picked(*x: Any) -> Any:
    return SimpleNamespace(selection=SimpleNamespace(box=[{"x": list(x)}]))


def test_a_drag_becomes_whole_buckets_inside_the_window() -> None:
    assert chosen(picked("2026-11-20 10:02:11.5", "2026-11-20 11:58:00"), DAY) == (1_795_168_800, 1_795_176_000)
    assert chosen(picked("2026-11-20 11:58:00", "2026-11-20 10:02:11.5"), DAY) == (1_795_168_800, 1_795_176_000)
    assert chosen(picked(DAY.since * 1000 - 5e6, DAY.until * 1000 + 5e6), DAY) is None
    assert chosen(SimpleNamespace(selection=SimpleNamespace(box=[])), DAY) is None
    assert chosen(None, DAY) is None


def test_latency_shares_add_up_and_the_objective_lies_between_bins() -> None:
    figure = latency_map(screens.band(288), DAY, UTC, 0.3)
    columns = list(zip(*figure["data"][0]["z"], strict=True))
    assert all(abs(sum(column) - 1) < 0.01 for column in columns)
    names = figure["layout"]["yaxis"]["ticktext"]
    line = figure["layout"]["shapes"][0]["y0"]
    assert names[int(line - 0.5)].replace("\u202f", " ") == "≤ 300 ms"


def test_bars_over_the_limit_stand_out() -> None:
    figure = failure_bars(screens.lines()[0], DAY, 300, UTC)
    trace = figure["data"][0]
    over = [value is not None and value > 0.001 for value in trace["y"]]
    assert any(over)
    assert not all(over)
    assert [colour == BAD for colour in trace["marker"]["color"]] == over


def test_what_was_not_seen_of_a_feature_is_hatched() -> None:
    heat, marks = drift_map(screens.features(), DAY, UTC)["data"]
    missing = sum(value is None for row in heat["z"] for value in row)
    assert missing == 2
    assert len(marks["x"]) % missing == 0
    alone = [replace(screens.features()[0], daily=(0.1, None), step=43_200)]
    marks = drift_map(alone, DAY, UTC)["data"][1]["x"]
    assert len(marks) == 30
    assert all(DAY.since <= ts / 1000 <= DAY.until + 43_200 for ts in marks)


def test_versions_are_named_where_they_began_and_a_promotion_is_a_line() -> None:
    middle = (DAY.since + DAY.until) // 2
    served = (Served("v11", DAY.since - 900, middle), Served("v12", middle, DAY.until))
    trace = screens_models.modelled("fraud-score", DAY, screens.NOW).trace
    assert trace is not None
    figure = trace_lines(trace, served, [("v12", middle)], DAY, UTC)
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["<b>v11</b>", "<b>v12</b>"]
    assert [note["x"] for note in figure["layout"]["annotations"]] == [0, 0.5]
    assert [
        shape["x0"] for shape in figure["layout"]["shapes"] if shape["type"] == "line" and shape["yref"] == "paper"
    ] == [middle * 1000]


def test_a_distribution_is_two_bars_for_each_bin_with_whole_names_on_hover() -> None:
    found = Distribution("city", "category", ("a" * 40, "b"), (0.25, 0.75), (0.5, 0.5), 100, 50)
    figure = distribution_bars(found, narrow=True)
    reference, current = figure["data"]
    assert (reference["y"], current["y"]) == ([0.25, 0.75], [0.5, 0.5])
    assert current["customdata"][0] == "a" * 40
    assert figure["layout"]["xaxis"]["ticktext"] == ["a" * 7 + "…", "b"]


def test_many_bins_of_a_number_have_few_names() -> None:
    labels = tuple(f"< {i}" for i in range(30))
    found = Distribution("amount", "number", labels, (1 / 30,) * 30, (1 / 30,) * 30, 100, 50)
    assert len(distribution_bars(found)["layout"]["xaxis"]["ticktext"]) <= 12
    assert len(distribution_bars(found, narrow=True)["layout"]["xaxis"]["ticktext"]) <= 6


def lasting(kind: str, ts: int, ended: int | None, title: str = "Checkout fails") -> Change:
    return Change("Incident", kind, ts, None, ended, title, ("checkout-api",), "bad", "", "on-call", "", title)


def test_an_incident_of_all_the_window_stands_in_its_lane_and_tints_nothing() -> None:
    window = Window(1_000_000_200, 1_000_086_600)
    before = lasting("incident", window.since - 90_000, None)
    drawn = timeline(screens.lines(), (before,), window, 300, UTC)
    bars = [shape for shape in drawn["layout"]["shapes"] if shape.get("x0") == window.since * 1000
            and shape.get("x1") == window.until * 1000]  # fmt: skip
    assert [bar["yref"] for bar in bars] == ["y"]
    assert [trace["x"] for trace in drawn["data"] if trace.get("mode") == "markers"] == [[window.since * 1000]]
    assert [note["x"] for note in drawn["layout"]["annotations"] if note["text"] == before.title] == [
        window.since * 1000
    ]


def test_planned_work_is_grey_and_what_ended_before_is_not_drawn() -> None:
    window = Window(1_000_000_200, 1_000_086_600)
    planned = lasting("maintenance", window.since + 3600, window.since + 7200, "New database")
    over = lasting("incident", window.since - 7200, window.since - 3600)
    drawn = timeline(screens.lines(), (over, planned), window, 300, UTC)
    tints = [shape for shape in drawn["layout"]["shapes"] if shape.get("x0") == (window.since + 3600) * 1000]
    assert len(tints) == 2
    assert all(shape["fillcolor"].startswith("rgba(124,133,149") for shape in tints)
    assert not [trace for trace in drawn["data"] if (window.since - 7200) * 1000 in trace.get("x", ())]


def test_times_go_out_as_utc_text_for_a_number_means_the_readers_own_clock() -> None:
    at, later = 1_795_132_800_000, 1_795_154_400_000
    paper = {"xref": "paper", "x0": 0, "x1": 1}
    figure = {
        "data": [{"x0": at, "dx": 300_000, "y": [1, None]}, {"x": [at + 500, "a"], "y": [1, 2]}],
        "layout": {
            "xaxis": {"type": "date", "range": [at, later], "tickvals": [later]},
            "shapes": [{"xref": "x", "x0": at, "x1": later}, paper],
            "annotations": [{"xref": "x", "x": later}, {"xref": "paper", "x": 1}],
        },
    }
    begin, end = "2026-11-20 00:00:00.000", "2026-11-20 06:00:00.000"
    assert dated(figure) == {
        "data": [{"x0": begin, "dx": 300_000, "y": [1, None]}, {"x": ["2026-11-20 00:00:00.500", "a"], "y": [1, 2]}],
        "layout": {
            "xaxis": {"type": "date", "range": [begin, end], "tickvals": [end]},
            "shapes": [{"xref": "x", "x0": begin, "x1": end}, paper],
            "annotations": [{"xref": "x", "x": end}, {"xref": "paper", "x": 1}],
        },
    }
    shares = {"data": [{"x": [0.5]}], "layout": {"xaxis": {"range": [0, 1]}}}
    assert dated(shares) is shares
