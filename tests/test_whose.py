"""Whose verdict is whose: Tandem's own, those of tools by their own rules, one source that counts, estimates apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.blocks.whose import counting_list, judgement_table, rule
from dashboard.charts.trace import trace_lines
from tandem import api, collect, drifts, report
from tandem.config import Component
from tandem.records import HOUR, Covered, Fact, Page, Record, Sample, Series
from tandem.shown import Half, Window
from tandem.store.file import Store
from tandem.told import Told
from tandem.whose import Judgement, Whose
from tests import fakes, screens, two_sides
from tests.test_dashboard import Tags
from tests.two_sides import BEGIN, END

WINDOW = Window(BEGIN, END)
TOOL = {"component": "scorer"}


def judged(ts: int, feature: str, method: str, direction: Any, value: float | None = None, segment: str = "",
           **parts: float) -> Iterator[Sample]:  # fmt: skip
    said = {"value": value, **{name.replace("_", " "): number for name, number in parts.items()}}
    for part, number in said.items():
        if number is not None:
            name = Told(feature, method, direction, part).name  # type: ignore[arg-type]
            yield Sample(Series("sample", name=name, segment=segment, **TOOL), ts, number)


def evidently() -> list[Record]:
    """A p-value says drift only in its second look; a distance never; JSON keeps no verdict of the third."""
    half = BEGIN + 6 * HOUR
    return [
        *judged(half, "normal", "K-S p_value", "<", 0.4, threshold=0.05),
        *judged(END - HOUR, "normal", "K-S p_value", "<", 0.0001, threshold=0.05),
        *judged(END - HOUR, "steady", "Wasserstein distance (normed)", ">=", 0.01, threshold=0.1),
        *judged(END - HOUR, "bimodal", "custom", "told", 3.5),
        *judged(END - HOUR, "unheard", "PSI", ">=", 0.3, threshold=0.1),
        *judged(END + HOUR, "steady", "Wasserstein distance (normed)", ">=", 9.0, threshold=0.1),
    ]


def nannyml(rows: two_sides.Rows) -> list[Record]:
    """Its own counts (of the rows that one country made), a verdict without a rule, and estimates."""
    mine = rows.where(rows.country == "DE")
    facts = [Fact(Series("outcome", version="7", **TOOL), int(ts), two_sides.confusion(mine.where(mine.ts == ts)))
             for ts in np.unique(mine.ts)]  # fmt: skip
    series = Series("sample", name="accuracy", stage="estimated", **TOOL)
    guessed = [Sample(series, BEGIN + hour * HOUR, 0.9 - hour / 100)
               for hour in range(0, 12, 3)]  # fmt: skip
    return [
        *facts, *guessed,
        *judged(END - HOUR, "steady", "jensen_shannon", "outside", 0.2, lower_threshold=0.05, threshold=0.1),
        *judged(END - HOUR, "normal", "jensen_shannon", "told", verdict=0.0),
        *judged(END - HOUR, "normal", "jensen_shannon", "told", segment="country=DE", verdict=1.0),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    rows = two_sides.rows(8000)
    reference = rows.between(BEGIN, BEGIN + 6 * HOUR)
    known = two_sides.layouts(reference)
    log = [*two_sides.baselines(reference, known, BEGIN, BEGIN + 6 * HOUR), *two_sides.facts(rows, known)]
    covered = [Covered(BEGIN, END)]
    sources = [
        fakes.source(fakes.saying([Page(tuple(some), covered=covered)]), name=name, scope=name)
        for name, some in (("log", log), ("evidently", evidently()), ("nannyml", nannyml(rows)))
    ]
    folder = tmp_path_factory.mktemp("whose")
    with Store(folder / "tandem.duckdb") as store:
        config = fakes.config(folder, *sources, components=[Component("scorer", "model", "shop")])
        assert [one.error for one in collect.sync(store, config, fakes.NOW)] == ["", "", ""]
        yield SimpleNamespace(config=config, store=store, first_done=True, now=lambda: fakes.NOW, rows=rows)


@pytest.fixture(scope="module")
def found(context: Any) -> Whose:
    detail = report.detail(context, "scorer", WINDOW, now=fakes.NOW)
    assert detail.whose is not None
    return detail.whose


def of(found: Whose, feature: str, source: str, segment: str = "") -> Judgement:
    [one] = [one for one in found.judgements if (one.feature, one.source, one.segment) == (feature, source, segment)]
    return one


def test_each_tool_judges_by_its_own_rule(found: Whose) -> None:
    said = {(one.feature, one.source, one.segment): one.drift for one in found.judgements}
    assert said == {
        ("normal", "evidently", ""): True, ("steady", "evidently", ""): False, ("bimodal", "evidently", ""): None,
        ("unheard", "evidently", ""): True, ("steady", "nannyml", ""): True, ("normal", "nannyml", ""): False,
        ("normal", "nannyml", "country=DE"): True,
    }  # fmt: skip
    assert [one.drift for one in found.judgements] == sorted(
        (one.drift for one in found.judgements), key=lambda d: d is not True
    )


def test_the_newest_look_of_the_window_is_shown_with_how_often_it_was_drift(found: Whose) -> None:
    normal, steady = of(found, "normal", "evidently"), of(found, "steady", "evidently")
    assert (normal.value, normal.times, normal.found, int(normal.ts)) == (0.0001, 2, 1, END - HOUR)
    assert (steady.value, steady.times, steady.found) == (0.01, 1, 0), "what lies past the window is not looked at"


def test_tandem_s_own_verdict_stands_beside_where_it_holds_both_distributions(found: Whose) -> None:
    assert of(found, "normal", "evidently").own == "drift", "0.6 on a deviation of 2 is more than 0.1 of it"
    assert of(found, "steady", "nannyml").own == "no drift"
    assert (of(found, "normal", "evidently").agree, of(found, "steady", "nannyml").agree) == (True, False)
    assert of(found, "normal", "nannyml").agree is False
    unheard = of(found, "unheard", "evidently")
    assert (unheard.own, unheard.own_effect, unheard.agree) == (None, None, None)
    assert of(found, "normal", "nannyml", "country=DE").own is None, "beside one segment stands no verdict on all"


def test_one_source_counts_and_the_other_bears_witness(context: Any, found: Whose) -> None:
    [one] = [one for one in found.counting if one.signal == "outcome"]
    rows = context.rows
    right, german = rows.actual == rows.predicted, rows.country == "DE"
    assert (one.source, one.why) == ("log", "the first in tandem.toml that saw it")
    assert (one.good, one.total) == (int(right.sum()), rows.ts.size)
    [other] = one.witnesses
    assert (other.source, other.good, other.total) == ("nannyml", int(right[german].sum()), int(german.sum()))
    assert other.difference == pytest.approx(right[german].mean() - right.mean(), abs=1e-12)
    [signal] = [
        one for one in report.show(context, "scorer", WINDOW, now=fakes.NOW)["signals"] if one["signal"] == "outcome"
    ]
    assert signal["witnesses"] == [
        {
            "source": "nannyml",
            "good": other.good,
            "total": other.total,
            "value": other.value,
            "difference": other.difference,
        }
    ]


def test_estimates_are_a_series_of_their_own_and_change_no_number(context: Any, found: Whose) -> None:
    [one] = found.estimated
    assert (one.name, one.source) == ("accuracy", "nannyml")
    assert one.points == tuple(
        (float(BEGIN + hour * HOUR), pytest.approx(0.9 - hour / 100)) for hour in range(0, 12, 3)
    )
    detail = report.detail(context, "scorer", WINDOW, now=fakes.NOW)
    assert detail.model is not None
    assert detail.model.trace is not None
    assert detail.model.trace.measure == "accuracy"
    counted = [value for version in detail.model.trace.versions for value in version.values if value is not None]
    assert sum(n for version in detail.model.trace.versions for n in version.n) == context.rows.ts.size
    assert not {0.9, 0.87, 0.84, 0.81} & set(counted)
    figure = trace_lines(detail.model.trace, (), (), WINDOW, UTC, estimated=found.estimated)
    go.Figure(figure)
    dots = [line for line in figure["data"] if "estimated" in line.get("hovertemplate", "")]
    assert [line["y"] for line in dots] == [[0.9, 0.87, 0.84, 0.81]]
    assert dots[0]["x"] == [(BEGIN + hour * HOUR) * 1000 for hour in range(0, 12, 3)]


def test_the_command_says_what_other_tools_say(context: Any) -> None:
    asked = {"model": ["scorer"], "from": [str(BEGIN)], "to": [str(END)]}
    status, _, body = api.answer(context, "GET", "/api/v1/drift", asked, {})
    assert status == 200
    answer = json.loads(body)
    first = next(one for one in answer["judgements"] if one["feature"] == "normal" and one["source"] == "evidently")
    assert first == {
        "feature": "normal", "source": "evidently", "method": "K-S p_value", "direction": "<", "value": 0.0001,
        "threshold": 0.05, "lower_threshold": None, "verdict": "drift", "judged": 2, "drifting": 1, "version": None,
        "segment": None, "tandem": "drift", "ts": first["ts"],
    }  # fmt: skip
    printed = drifts.text(answer)
    assert "K-S p_value" in printed
    assert "1 of 2" in printed
    assert "cannot judge" in printed
    narrowed = report.drift(context, "scorer", Half("segment", WINDOW, segment="country=DE"), now=fakes.NOW)
    assert [(one.feature, one.segment) for one in narrowed.judgements] == [("normal", "country=DE")]


def test_the_panel_says_it_in_words_and_escapes_what_it_was_told(found: Whose) -> None:
    table = judgement_table(found.judgements, UTC)
    for said in ("cannot judge", "they differ", "drift if &lt; 0.05", "drift outside 0.05 to 0.1", "by its own rule",
                 "1 of 2", "◆ drift", "● no drift", "not told"):  # fmt: skip
        assert said in table, said
    assert "log</b>" not in table
    listed = counting_list(found.counting)
    assert "bears witness" in listed
    assert "the first in tandem.toml that saw it" in listed
    for bad in screens.HOSTILE:
        one = Judgement(bad, bad, bad, ">", 0.0, 1.0, 2.0, None, True, 1, 1, bad, bad, "drift", 1.0)
        read = Tags()
        read.feed(judgement_table([one], UTC))
        assert {tag for tag, _ in read.found} <= {
            "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "small", "span", "p"}  # fmt: skip


@pytest.mark.parametrize(
    ("direction", "threshold", "lower", "said"),
    [("<", 0.05, None, "drift if < 0.05"), ("outside", None, 0.2, "drift outside 0.2 to –"),
     (">=", None, None, "by its own rule"), ("told", 0.3, None, "by its own rule")],
)  # fmt: skip
def test_a_rule_is_said_in_the_tool_s_own_numbers(direction: Any, threshold: Any, lower: Any, said: str) -> None:
    assert rule(Judgement("f", "s", "m", direction, 0.0, 0.1, threshold, lower, None, 1, 0)) == said
