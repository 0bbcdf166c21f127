"""Drift between any two sides of a model, against scipy and counts on the raw rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tandem import api, bins, report
from tandem.cli import main
from tandem.records import HOUR, Baseline, Confusion, Fact, Histogram, Moments, Page, Series
from tandem.shown import Drifts, FeatureDrift, Half, Unreadable, Window
from tests import fakes, two_sides
from tests.two_sides import BEGIN, END, Rows

MIDDLE = BEGIN + 6 * HOUR
FIRST, SECOND = Window(BEGIN, MIDDLE), Window(MIDDLE, END)
NUMBERS = ("normal", "lognormal", "pareto", "bimodal", "steady")


@pytest.fixture(scope="module")
def raw() -> Rows:
    return two_sides.rows()


@pytest.fixture(scope="module")
def context(raw: Rows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    reference = raw.between(BEGIN, MIDDLE)
    known = two_sides.layouts(reference)
    page = Page((*two_sides.baselines(reference, known, BEGIN, MIDDLE), *two_sides.facts(raw, known)))
    found = two_sides.stored(tmp_path_factory.mktemp("two"), [page])
    yield found
    found.store.close()


def asked(context: Any, current: Half, reference: Half | None = None, **more: Any) -> Drifts:
    return report.drift(context, "scorer", current, reference, now=more.pop("now", fakes.NOW), **more)


def named(found: Drifts) -> dict[str, FeatureDrift]:
    return {row.feature: row for row in found.rows}


def finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def agrees(row: FeatureDrift, before: np.ndarray, after: np.ndarray, layout: bins.Layout, tolerance: float) -> None:
    """Every measure of a number against scipy on the rows, or on equal bins."""
    assert (row.n_reference, row.n_current) == (before.size, after.size)
    exact = stats.wasserstein_distance(before, after) / before.std()
    assert row.wasserstein == pytest.approx(exact, abs=tolerance)
    assert abs(row.wasserstein - exact) <= row.wasserstein_bound + 1e-9
    ks = stats.ks_2samp(before, after).statistic
    assert row.ks - 1e-12 <= ks <= row.ks + row.bound + 1e-12
    p, q = (np.bincount(bins.codes(layout, side), minlength=len(layout.edges) + 1).astype(float)
            for side in (before, after))  # fmt: skip
    used = p + q > 0
    p, q = p[used], q[used]
    assert row.chi_square_p == pytest.approx(stats.chi2_contingency([p, q], correction=False).pvalue, rel=1e-9)
    if not (p.all() and q.all()):
        p, q = p + 0.5, q + 0.5
    p, q = p / p.sum(), q / q.sum()
    assert row.psi == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-9)
    assert row.js == pytest.approx(jensenshannon(p, q, 2), rel=1e-9)
    assert row.total_variation == pytest.approx(np.abs(p - q).sum() / 2, rel=1e-9)
    assert row.hellinger == pytest.approx(math.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2), rel=1e-9)


def test_a_window_against_the_stored_reference_agrees_with_scipy_on_the_rows(context: Any, raw: Rows) -> None:
    found = asked(context, Half(window=SECOND))
    assert found.reference == Half("baseline", FIRST)
    before, after, rows = raw.between(BEGIN, MIDDLE), raw.between(MIDDLE, END), named(found)
    known = two_sides.layouts(before)
    for name in NUMBERS:
        agrees(rows[name], finite(before.numbers[name]), finite(after.numbers[name]), known[name], 0.005)
    assert (rows["normal"].verdict, rows["normal"].severity) == ("drift", "major")
    assert rows["steady"].verdict == "no drift"


SIDES = {
    "windows": (Half(window=SECOND), Half(window=FIRST)),
    "windows of one version": (Half(window=SECOND, version="8"), Half(window=FIRST, version="8")),
    "versions": (Half(window=SECOND, version="8"), Half("version", version="7")),
    "segments": (Half(window=SECOND, segment="country=FR"), Half("segment", segment="country=DE")),
    "a segment against everything": (Half(window=SECOND, segment="country=FR"), Half("segment")),
}


def chosen(raw: Rows, half: Half, window: Window) -> Rows:
    part = raw.between(window.since, window.until)
    mask = np.ones(part.ts.size, dtype=bool)
    if half.version:
        mask &= part.version == half.version
    if half.segment:
        mask &= part.country == half.segment.partition("=")[2]
    return part.where(mask)


@pytest.mark.parametrize("name", SIDES)
def test_any_two_sides_agree_with_their_rows(context: Any, raw: Rows, name: str) -> None:
    current, reference = SIDES[name]
    found = asked(context, current, reference)
    before, after = chosen(raw, reference, reference.window or SECOND), chosen(raw, current, SECOND)
    known, rows = two_sides.layouts(raw.between(BEGIN, MIDDLE)), named(found)
    for feature in NUMBERS:
        # Of a side that is not the stored reference the deviation is not kept: it is read from the bins.
        heavy = feature in ("lognormal", "pareto")
        agrees(rows[feature], finite(before.numbers[feature]), finite(after.numbers[feature]), known[feature],
               0.02 if heavy else 0.005)  # fmt: skip
    assert rows["steady"].missing_reference == int(np.isnan(before.numbers["steady"]).sum())
    assert rows["steady"].missing_current == int(np.isnan(after.numbers["steady"]).sum())
    for row, column in (("(prediction)", "predicted"), ("(label)", "actual")):
        p, q = (np.unique(getattr(side, column), return_counts=True)[1] for side in (before, after))
        assert rows[row].js == pytest.approx(jensenshannon(p / p.sum(), q / q.sum(), 2), rel=1e-9)
        assert rows[row].chi_square_p == pytest.approx(stats.chi2_contingency([p, q], correction=False).pvalue)
        assert (rows[row].n_reference, rows[row].n_current) == (p.sum(), q.sum())
    assert rows["(score)"].drift == "prediction drift"
    exact = stats.wasserstein_distance(before.score, after.score) / before.score.std()
    assert rows["(score)"].wasserstein == pytest.approx(exact, abs=0.005)


def test_categories_that_came_and_went_are_named_with_their_counts(context: Any, raw: Rows) -> None:
    row = named(asked(context, Half(window=SECOND)))["card"]
    before, after = raw.between(BEGIN, MIDDLE).card, raw.between(MIDDLE, END).card
    assert row.fresh == (("coop", int((after == "coop").sum())),)
    assert row.vanished == (("jcb", int((before == "jcb").sum())),)
    assert row.verdict == "drift"


def test_two_versions_at_once_compare_over_the_same_window_and_the_newest_is_meant(context: Any) -> None:
    found = asked(context, Half(window=SECOND), Half("version", version="7"))
    assert (found.current.version, found.reference.version) == ("8", "7")
    assert found.current.window == found.reference.window == SECOND
    assert {row.verdict for row in found.rows} == {"no drift"}


def test_rows_that_are_no_features_come_last_and_what_drifts_first(context: Any) -> None:
    found = asked(context, Half(window=SECOND))
    assert [row.feature for row in found.rows][-3:] == sorted(
        ["(prediction)", "(score)", "(label)"], key=lambda name: -(named(found)[name].effect or 0)
    )
    drifted = [row.verdict == "drift" for row in found.rows[:-3]]
    assert drifted == sorted(drifted, reverse=True)
    assert any(drifted)


def test_windows_off_the_hour_move_outwards_and_say_so(context: Any, raw: Rows) -> None:
    found = asked(context, Half(window=Window(MIDDLE + 600, END - 600)))
    assert found.current.window == SECOND
    assert named(found)["normal"].n_current == raw.between(MIDDLE, END).ts.size


def test_the_rows_as_they_stood(context: Any) -> None:
    with pytest.raises(Unreadable, match=r"^no reference is stored of scorer yet"):
        asked(context, Half(window=SECOND), as_of=0)


# -- on the page of a model


def detailed(context: Any, window: Window, feature: str = "") -> Any:
    return report.detail(context, "scorer", window, feature=feature, now=fakes.NOW)


def test_the_page_of_a_model_shows_the_rows_of_the_command_line_step_by_step(context: Any, raw: Rows) -> None:
    found = detailed(context, SECOND)
    plain = asked(context, Half(window=SECOND))
    assert found.drifts.reference == plain.reference
    assert [replace(row, daily=(), step=0) for row in found.features] == list(plain.rows)
    rows = {row.feature: row for row in found.features}
    assert {row.step for row in rows.values() if row.daily} == {HOUR}
    before = raw.between(BEGIN, MIDDLE).numbers["normal"]
    for hour, effect in enumerate(rows["normal"].daily):
        now = raw.between(MIDDLE + hour * HOUR, MIDDLE + (hour + 1) * HOUR).numbers["normal"]
        assert effect == pytest.approx(stats.wasserstein_distance(before, now) / before.std(), abs=0.005)
    assert len(rows["(prediction)"].daily) == 6
    assert rows["(label)"].daily == ()


@pytest.mark.parametrize(
    ("feature", "column"), [("card", "card"), ("(prediction)", "predicted"), ("(label)", "actual")]
)
def test_a_chosen_row_is_drawn_as_shares_of_its_rows(context: Any, raw: Rows, feature: str, column: str) -> None:
    found = detailed(context, SECOND, feature).distribution
    assert found.feature == feature
    for drawn, since in ((found.reference, BEGIN), (found.current, MIDDLE)):
        values = getattr(raw.between(since, since + 6 * HOUR), column)
        shares = {label: float(np.mean(values == label)) for label in found.labels}
        assert dict(zip(found.labels, drawn, strict=True)) == pytest.approx(shares)


def test_what_moved_most_is_drawn_where_nothing_is_chosen(context: Any) -> None:
    found = detailed(context, SECOND)
    assert found.distribution.feature == found.features[0].feature
    assert report.detail(context, "shop", SECOND, now=fakes.NOW).distribution is None


# -- what cannot be compared


def test_an_empty_side_is_not_no_drift(context: Any) -> None:
    found = asked(context, Half(window=SECOND), Half(window=Window(BEGIN - 72 * HOUR, BEGIN - 48 * HOUR)))
    assert {row.verdict for row in found.rows} == {"not enough data"}
    assert {row.effect for row in found.rows} == {None}
    assert "no rows with a value in the reference" in {row.reason for row in found.rows}
    [remark] = found.remarks
    assert remark.startswith("The reference lies before the first data of scorer, 20")
    assert "--reference-from" in remark


def test_a_side_inside_the_data_that_has_no_rows_is_said(tmp_path: Path, raw: Rows) -> None:
    reference = raw.between(BEGIN, MIDDLE)
    known = two_sides.layouts(reference)
    page = Page((*two_sides.baselines(reference, known, BEGIN, MIDDLE), *two_sides.facts(reference, known)))
    context = two_sides.stored(tmp_path, [page])
    found = asked(context, Half(window=Window(END - HOUR, END)))
    assert {row.verdict for row in found.rows} == {"not enough data"}
    assert found.remarks == ("Nothing of scorer was counted in the window; see `tandem show scorer`.",)
    assert found.concept == ""
    context.store.close()


@pytest.mark.parametrize(
    ("current", "reference", "said"),
    [
        (Half(window=SECOND), Half("version", version="9"), "scorer has no version '9'; known are 7, 8."),
        (Half(window=SECOND, version="77"), None, "scorer has no version '77'; known are 7, 8."),
        (
            Half(window=SECOND, segment="country=XX"),
            None,
            "scorer has no segment 'country=XX'; known are country=DE, country=FR.",
        ),
    ],
)
def test_an_unknown_version_or_segment_is_one_sentence(context: Any, current: Half, reference: Half, said: str) -> None:
    with pytest.raises(Unreadable) as no:
        asked(context, current, reference)
    assert str(no.value) == said


def test_what_has_no_features_is_one_sentence(context: Any) -> None:
    with pytest.raises(Unreadable, match=r"^shop has no histograms of features, scores or predictions to compare"):
        report.drift(context, "shop", Half(window=SECOND), now=fakes.NOW)
    with pytest.raises(Unreadable, match=r"^there is no component 'nobody'; known are shop, scorer\.$"):
        report.drift(context, "nobody", Half(window=SECOND), now=fakes.NOW)


def test_bins_that_changed_are_said_with_their_day(tmp_path: Path, raw: Rows) -> None:
    reference, later = raw.between(BEGIN, MIDDLE), raw.between(MIDDLE, END)
    old, new = two_sides.layouts(reference), two_sides.layouts(later)
    first = Page((*two_sides.baselines(reference, old, BEGIN, MIDDLE), *two_sides.facts(reference, old)))
    second = Page((*two_sides.baselines(later, new, MIDDLE, END), *two_sides.facts(later, new)))
    context = two_sides.stored(tmp_path, [first, second])
    rows = named(asked(context, Half(window=FIRST)))
    assert rows["normal"].verdict == "not enough data"
    assert rows["normal"].reason == "bins changed on 2026-09-21: the two sides are cut differently"
    assert rows["normal"].psi is None
    assert rows["card"].verdict == "drift", "categories are their own bins"
    mixed = named(asked(context, Half(window=Window(BEGIN, END))))
    n = reference.ts.size
    assert mixed["normal"].reason == f"{n:,} rows on other bins are left out, as bins changed on 2026-09-21"
    assert mixed["normal"].n_current == later.ts.size
    same = named(asked(context, Half(window=FIRST), Half(window=Window(BEGIN, MIDDLE - HOUR))))
    assert same["normal"].verdict == "no drift", "old bins compare with old bins"
    context.store.close()


# -- features that cannot be told apart


X = Series("feature", component="scorer", name="x")


def lone(values: np.ndarray | None, layout: bins.Layout, ts: int, version: str = "7") -> Fact:
    found = two_sides.of_numbers(layout, values) if values is not None else Histogram(layout, {bins.MISSING: 500}, {})
    return Fact(Series("feature", component="scorer", name="x", version=version), ts, found)


def only(tmp_path: Path, layout: bins.Layout, before: Any, after: Any, baseline: bool = True) -> FeatureDrift:
    made = two_sides.of_numbers(layout, before) if before is not None else Histogram(layout, {}, {})
    kept = [Baseline(X, made, BEGIN, MIDDLE, None)] if baseline else []
    page = Page((*kept, lone(before, layout, BEGIN), lone(after, layout, MIDDLE)))
    context = two_sides.stored(tmp_path, [page])
    [row] = asked(context, Half(window=SECOND), Half(window=FIRST)).rows
    context.store.close()
    return row


def test_a_constant_feature_holds_and_is_found_when_it_moves(tmp_path: Path) -> None:
    layout = bins.feature_layout(np.full(2000, 7.0))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    held = only(tmp_path / "a", layout, np.full(2000, 7.0), np.full(1500, 7.0))
    assert (held.verdict, held.effect, held.wasserstein) == ("no drift", 0.0, None)
    moved = only(tmp_path / "b", layout, np.full(2000, 7.0), np.full(1500, 8.0))
    assert (moved.verdict, moved.severity, moved.wasserstein) == ("drift", "major", None)


def test_a_feature_that_is_all_null_is_counted_apart_and_not_judged(tmp_path: Path) -> None:
    layout = bins.feature_layout(np.random.default_rng(1).normal(size=2000))
    row = only(tmp_path, layout, np.random.default_rng(1).normal(size=2000), None)
    assert (row.verdict, row.n_current, row.missing_current) == ("not enough data", 0, 500)
    assert row.reason == "no rows with a value in the window"


def test_one_row_is_not_enough(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=2000)
    row = only(tmp_path, bins.feature_layout(values), values, np.array([9.0]))
    assert (row.verdict, row.n_current) == ("not enough data", 1)
    assert row.reason == "too few rows: the noise floor lies above the threshold"


def test_a_feature_that_changed_its_type_is_not_compared(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=2000)
    layout, texts = bins.feature_layout(values), bins.Layout(kind="categories", values=("1.0", "2.0"))
    series = X
    pages = [
        Page((Baseline(series, two_sides.of_numbers(layout, values), BEGIN, MIDDLE), lone(values, layout, BEGIN))),
        Page((Baseline(series, Histogram(texts, {0: 900, 1: 900}, {}), MIDDLE, END),
              Fact(replace(series, version="7"), MIDDLE, Histogram(texts, {0: 900, 1: 900}, {})))),
    ]  # fmt: skip
    context = two_sides.stored(tmp_path, pages)
    [row] = asked(context, Half(window=SECOND), Half(window=FIRST)).rows
    assert row.verdict == "not enough data"
    assert row.reason.startswith("bins changed on 2026-09-21")
    context.store.close()


def test_bins_that_are_still_provisional_compare_with_themselves(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=900)
    row = only(tmp_path, bins.feature_layout(values), values, values + 3, baseline=False)
    assert (row.verdict, row.severity) == ("drift", "major")


def test_a_clock_that_was_ahead_and_went_back_shows_nothing_of_the_future(context: Any, raw: Rows) -> None:
    back = MIDDLE + 3 * HOUR + 60
    body = api.answer(replace_now(context, back), "GET", "/api/v1/drift", {"model": ["scorer"], "from": ["now-2h"]}, {})
    found = json.loads(body[2])
    assert found["window"]["to"] <= _text(back + 300)
    rows = {row["feature"]: row for row in found["features"]}
    assert rows["normal"]["n_current"] == raw.between(MIDDLE + HOUR, MIDDLE + 4 * HOUR).ts.size
    ahead = {"model": ["scorer"], "from": [str(back + HOUR)], "to": [str(back + 2 * HOUR)]}
    assert api.answer(replace_now(context, back), "GET", "/api/v1/drift", ahead, {})[0] == 400


def replace_now(context: Any, now: int) -> Any:
    return type(context)(**{**vars(context), "now": lambda: now})


def _text(ts: int) -> str:
    from tandem import times

    return times.text(ts)


# -- concept drift


def answering(
    tmp_path: Path, right: float, shift: float = 0.0, labels: int = 3000, versions: tuple[str, str] = ("", "")
) -> Drifts:
    dice = np.random.default_rng(5)
    values = dice.normal(size=3000)
    layout = bins.feature_layout(values)
    base = Baseline(
        Series("feature", component="scorer", name="x"), two_sides.of_numbers(layout, values), BEGIN, MIDDLE
    )
    facts = [lone(values, layout, BEGIN), lone(dice.normal(shift, 1, 3000), layout, MIDDLE)]
    for ts, share, version in ((BEGIN, 0.95, versions[0]), (MIDDLE, right, versions[1])):
        good = int(labels * share)
        cells = {("1", "1"): good // 2, ("0", "0"): good - good // 2, ("1", "0"): (labels - good) // 2,
                 ("0", "1"): labels - good - (labels - good) // 2}  # fmt: skip
        facts.append(Fact(Series("outcome", component="scorer", version=version), ts, Confusion(cells)))
    context = two_sides.stored(tmp_path, [Page((base, *facts))])
    found = asked(context, Half(window=SECOND), Half(window=FIRST))
    context.store.close()
    return found


def test_worse_answers_on_the_same_data_are_concept_drift(tmp_path: Path) -> None:
    said = answering(tmp_path, 0.90).concept
    assert said == (
        "Concept drift: accuracy fell from 95.0 % to 90.0 % (-5.00 points, 95 % interval -6.34 to -3.68) while its "
        "feature's data hold: the same data now mean other labels."
    )


def test_the_same_version_is_named_and_another_version_is_no_concept_drift(tmp_path: Path) -> None:
    for name in ("same", "other"):
        (tmp_path / name).mkdir()
    same = answering(tmp_path / "same", 0.9, versions=("7", "7"))
    assert same.concept.startswith("Concept drift: accuracy of version 7 fell from 95.0 % to 90.0 %")
    assert same.remarks == ()
    other = answering(tmp_path / "other", 0.9, versions=("7", "8"))
    assert other.concept == ""
    [remark] = other.remarks
    assert remark == (
        "Accuracy fell from 95.0 % to 90.0 % (-5.00 points, 95 % interval -6.34 to -3.68) while its feature's data "
        "hold, but other versions answered (8; in the reference 7)."
    )


def test_more_traffic_on_a_worse_version_is_no_concept_drift(tmp_path: Path) -> None:
    """Each version answers as it did; their shares moved, and accuracy with them."""
    values = np.random.default_rng(5).normal(size=3000)
    layout = bins.feature_layout(values)
    facts: list[Any] = [Baseline(X, two_sides.of_numbers(layout, values), BEGIN, MIDDLE)]
    facts += [lone(values, layout, BEGIN), lone(values, layout, MIDDLE)]
    for ts, version, right, n in ((BEGIN, "7", 0.98, 3000), (BEGIN, "8", 0.8, 300), (MIDDLE, "7", 0.98, 300),
                                  (MIDDLE, "8", 0.8, 3000)):  # fmt: skip
        good = int(right * n)
        series = Series("outcome", component="scorer", version=version)
        facts.append(Fact(series, ts, Confusion({("1", "1"): good, ("1", "0"): n - good})))
    context = two_sides.stored(tmp_path, [Page(tuple(facts))])
    found = asked(context, Half(window=SECOND), Half(window=FIRST))
    context.store.close()
    assert found.concept == ""
    assert [remark[:22] for remark in found.remarks] == ["Accuracy fell from 96."]


def test_the_same_answers_other_data_or_few_labels_are_not(tmp_path: Path) -> None:
    for name, more in (("same", {"right": 0.95}), ("moved", {"right": 0.8, "shift": 1.0}),
                       ("few", {"right": 0.9, "labels": 40})):  # fmt: skip
        (tmp_path / name).mkdir()
        assert answering(tmp_path / name, **more).concept == "", name


def test_a_regression_says_what_is_kept_of_its_labels_and_when_its_error_rose(tmp_path: Path) -> None:
    values = np.random.default_rng(5).normal(size=3000)
    layout = bins.feature_layout(values)
    facts = [lone(values, layout, BEGIN), lone(values, layout, MIDDLE)]
    for ts, error in ((BEGIN, 2), (MIDDLE, 3)):
        for name, n, of in (("target", 1000, 30), ("absolute", 1000, error)):
            squares = n * of * of + n  # a deviation of 1
            facts.append(Fact(Series("error", component="scorer", name=name), ts, Moments(n, n * of, squares, 0)))
    base = Baseline(
        Series("feature", component="scorer", name="x"), two_sides.of_numbers(layout, values), BEGIN, MIDDLE
    )
    context = two_sides.stored(tmp_path, [Page((base, *facts))])
    found = asked(context, Half(window=SECOND), Half(window=FIRST))
    label = named(found)["(label)"]
    assert (label.verdict, label.n_reference, label.n_current) == ("not enough data", 1000, 1000)
    assert label.reason.endswith("are kept: 30 ± 1 in the reference and 30 ± 1 in the window")
    assert found.concept.startswith("Concept drift: the mean absolute error rose from 2 to 3 (by 1, 95 % interval 0.91")
    context.store.close()


# -- what is printed


VERDICTS = {"drift", "no drift", "above noise, small", "not enough data"}
ROW = {"feature", "type", "n_reference", "n_current", "psi", "js", "ks", "wasserstein", "chi_square_p", "p",
       "noise_floor", "verdict", "severity", "bound"}  # fmt: skip


def told(context: Any, **params: str) -> tuple[int, bytes]:
    status, _, body = api.answer(context, "GET", "/api/v1/drift", {k: [v] for k, v in params.items()}, {})
    return status, body


def test_the_answer_has_the_keys_that_are_promised(context: Any) -> None:
    status, body = told(context, model="scorer", **{"from": str(MIDDLE), "to": str(END)})
    found = json.loads(body)
    assert status == 200
    assert {"model", "window", "reference", "as_of", "features"} <= found.keys()
    assert found["window"]["from"] == _text(MIDDLE)
    assert (found["reference"]["kind"], found["reference"]["from"]) == ("baseline", _text(BEGIN))
    assert all(row.keys() >= ROW for row in found["features"])
    assert {row["verdict"] for row in found["features"]} <= VERDICTS
    assert [row["feature"] for row in found["features"]].count("(prediction)") == 1
    assert body.endswith(b"}\n")


@pytest.mark.parametrize(
    ("params", "status", "said"),
    [
        ({}, 400, "A drift is asked of one model"),
        ({"model": "scorer", "reference_from": "now-2d"}, 400, "A reference window needs both ends"),
        ({"model": "scorer", "reference_segment": "DE"}, 400, "A segment is written column=value"),
        ({"model": "scorer", "reference_stage": "test"}, 400, "A stage is production"),
        ({"model": "scorer", "feature": "x"}, 400, "There is no parameter 'feature' here"),
        ({"model": "nobody"}, 404, "there is no component 'nobody'"),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_sentence(context: Any, params: Any, status: int, said: str) -> None:
    got, body = told(context, **params)
    sentence = json.loads(body)["error"]
    assert (got, sentence[: len(said)]) == (status, said)
    assert sentence.endswith(".")


@pytest.fixture(scope="module")
def closed(raw: Rows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that nobody holds."""
    folder = tmp_path_factory.mktemp("closed")
    reference = raw.between(BEGIN, MIDDLE)
    known = two_sides.layouts(reference)
    page = Page((*two_sides.baselines(reference, known, BEGIN, MIDDLE), *two_sides.facts(raw, known)))
    two_sides.stored(folder, [page]).store.close()
    (folder / "tandem.toml").write_text('[[component]]\nname = "scorer"\nkind = "model"\n')
    return folder


def run(closed: Path, *more: str) -> Any:
    window = ("--from", str(MIDDLE), "--to", str(END))
    return CliRunner().invoke(main, ["drift", "scorer", "--config", str(closed / "tandem.toml"), *window, *more])


def test_the_command_line_prints_the_bytes_of_the_api(closed: Path) -> None:
    given = {"reference_version": "7", "version": "8"}
    printed = run(closed, "--reference-version", "7", "--version", "8", "--json")
    assert printed.exit_code == 0
    with api_context(closed) as context:
        _, body = told(context, model="scorer", **{"from": str(MIDDLE), "to": str(END)}, **given)
    assert printed.stdout_bytes == body


def api_context(folder: Path) -> Any:
    import time

    from tandem import config
    from tandem.owner import Reading

    return Reading.open(config.load(folder / "tandem.toml"), time.time)


def test_the_table_has_a_line_per_feature_and_says_what_came(closed: Path) -> None:
    printed = run(closed)
    assert printed.exit_code == 0
    lines = printed.stdout.splitlines()
    assert lines[1].startswith("against the stored reference, ")
    card = next(line for line in lines if line.startswith("card "))
    assert "drift, major" in card
    assert "new: coop (" in card
    assert "gone: jcb (" in card


def test_an_empty_side_is_said_on_the_terminal_and_is_no_failure(closed: Path) -> None:
    printed = run(closed, "--reference-from", "2020-01-01", "--reference-to", "2020-01-02", "--json")
    assert printed.exit_code == 0
    assert printed.stderr.startswith("The reference lies before the first data of scorer, ")
    assert {row["verdict"] for row in json.loads(printed.stdout)["features"]} == {"not enough data"}


def test_an_unknown_model_or_half_a_reference_is_misuse(closed: Path) -> None:
    assert run(closed, "--reference-from", "2020-01-01").exit_code == 2
    config = ["--config", str(closed / "tandem.toml")]
    found = CliRunner().invoke(main, ["drift", "nobody", *config])
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
