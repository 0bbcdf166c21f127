"""The worked examples behind the formulas: every number that the screens promise, computed by hand or at its source."""

import math
from fractions import Fraction

import numpy as np
import pytest

from tandem import bins, drift, fairness, joint, quality, scores, slo
from tandem.bins import Layout
from tandem.records import Confusion, Histogram, Moments

MONTH = 30 * 86400
FOUR_WEEKS = 28 * 86400
T999, T99, T90 = Fraction("0.999"), Fraction("0.99"), Fraction("0.9")


def near(value, digits=6):
    return pytest.approx(value, abs=0.51 * 10**-digits)


def categories(*counts):
    layout = Layout(kind="categories", values=tuple("abcdefghij"[: len(counts)]))
    return Histogram(layout, {place: n for place, n in enumerate(counts) if n}, {})


def numbers(values, edges):
    layout = Layout(edges=tuple(float(edge) for edge in edges), digits=0)
    counts, sums = {}, {}
    for place, value in zip(bins.codes(layout, np.array(values, dtype=float)).tolist(), values, strict=True):
        counts[place] = counts.get(place, 0) + 1
        sums[place] = sums.get(place, 0) + value
    return Histogram(layout, counts, sums)


class TestObjectives:
    def test_budget(self):
        assert slo.budget_left(199_870, 200_000, T999) == Fraction(7, 20)
        assert slo.events_left(199_870, 200_000, T999) == 70
        assert slo.budget_left(199_750, 200_000, T999) == Fraction(-1, 4)

    def test_burn_is_exact(self):
        assert 36 / 2500 / (1 - 0.999) != 14.4
        assert slo.burn(2500 - 36, 2500, T999) == Fraction(72, 5)

    def test_exhausts_in(self):
        assert slo.exhausts_in(Fraction(35, 100), Fraction(72, 5), MONTH) == Fraction("17.5") * 3600

    def test_time_based(self):
        assert slo.events_left(MONTH, MONTH, T999) == Fraction("43.2") * 60
        assert slo.events_left(FOUR_WEEKS, FOUR_WEEKS, T999) == Fraction("40.32") * 60
        assert float(Fraction(8633, 8640)) == near(0.99918981, 8)
        assert float(1 - slo.budget_left(8633, 8640, T999)) == near(0.81018519, 8)
        assert slo.events_left(600_000, 600_000, T999) == 600

    def test_joint_objective(self):
        assert slo.joint_failure(Fraction("0.002"), Fraction("0.01")) == Fraction("0.01198")
        assert slo.wilson(1198, 100_000) == (near(0.011324), near(0.012673))

    def test_the_joint_objective_lies_between_bounds_and_its_halves_make_up_all(self):
        parts = [Fraction("0.002"), Fraction("0.01")]
        assert joint.failure(parts) == (Fraction("0.01198"), Fraction("0.01"), Fraction("0.012"))
        assert joint.spent(parts) == [Fraction(1, 6), Fraction(5, 6)]

    def test_the_budget_of_a_calendar_month_is_fixed_at_its_start(self):
        assert slo.budget_left(0, 0, T999, 600_000) == 1
        assert slo.events_left(0, 0, T999, 600_000) == 600
        assert slo.events_left(399_400, 400_000, T999, 600_000) == 0

    def test_the_budget_used_when_a_rule_fires(self):
        """2, 5, 10 and 10 %; of Pyrra's factors over 28 days 2.0833, 6.25, 7.1429 and 14.2857 %."""
        for window in (MONTH, FOUR_WEEKS):
            used = [rule.factor * rule.long / window for rule in slo.factors(window)]
            assert used == [Fraction(text) for text in ("0.02", "0.05", "0.1", "0.1")]
        pyrra = [(14, 3600), (7, 21600), (2, 86400), (1, 4 * 86400)]
        used = [100 * factor * long / FOUR_WEEKS for factor, long in pyrra]
        assert used == [near(share, 4) for share in (2.0833, 6.25, 7.1429, 14.2857)]

    @pytest.mark.parametrize(("bad", "state", "why"), [
        (90, "ok", "within target"), (91, "at risk", "little left"), (100, "at risk", "little left"),
        (101, "breached", "overspent"),
    ])  # fmt: skip
    def test_states_by_what_is_left(self, bad, state, why):
        """At risk below 10 % of the budget, breached below 0."""
        found = slo.judge(T99, 10_000 - bad, 10_000, {})
        assert (found.state, found.why) == (state, why)

    def test_a_page_rule_over_its_factor_but_under_the_evidence_clause_is_at_risk(self):
        looks = {3600: (20, 24), 300: (1, 2)}
        found = slo.judge(T99, 99_990, 100_000, looks, window=MONTH)
        assert (found.state, found.why) == ("at risk", "little evidence")
        assert slo.judge(T99, 99_990, 100_000, {3600: (19, 24), 300: (1, 2)}, window=MONTH).state == "breached"

    @pytest.mark.parametrize(
        ("window", "expected"),
        [(MONTH, ["14.4", "6", "3", "1"]), (FOUR_WEEKS, ["13.44", "5.6", "2.8", "14/15"])],
    )
    def test_factors(self, window, expected):
        found = slo.factors(window)
        assert [rule.factor for rule in found] == [Fraction(text) for text in expected]
        assert [rule.severity for rule in found] == ["page", "page", "ticket", "ticket"]
        assert [(rule.long, rule.short) for rule in found] == [
            (3600, 300),
            (21600, 1800),
            (86400, 7200),
            (259200, 21600),
        ]

    @pytest.mark.parametrize(
        ("window", "limits"),
        [(MONTH, ["93.0556", "83.3333", "66.6667"]), (FOUR_WEEKS, ["92.5595", "82.1429", "64.2857"])],
    )
    def test_lowest_targets(self, window, limits):
        step = Fraction(1, 10**6)
        for rule, percent in zip(slo.factors(window), limits, strict=False):
            assert not slo.reachable(Fraction(percent) / 100 - step, rule.factor)
            assert slo.reachable(Fraction(percent) / 100 + step, rule.factor)
        assert slo.reachable(step, slo.factors(window)[3].factor)

    def test_the_boundary_does_not_fire(self):
        own, short = (10**6, 10**6), (180, 210)
        assert slo.judge(T999, *own, {3600: (2464, 2500), 300: short}, window=MONTH).state == "ok"
        assert slo.judge(T999, *own, {3600: (2463, 2500), 300: short}, window=MONTH).state == "breached"
        assert slo.burn(2463, 2500, T999) == Fraction("14.8")

    @pytest.mark.parametrize(
        ("errors", "long", "factor", "minutes", "shown"),
        [("1", 3600, "14.4", "8.64", 10), ("0.3", 3600, "14.4", "28.8", 30), ("0.144", 3600, "14.4", "60", 60),
         ("0.3", 21600, "6", "72", 75)],
    )  # fmt: skip
    def test_detection_time(self, errors, long, factor, minutes, shown):
        found = slo.detection_time(T99, Fraction(errors), long, Fraction(factor))
        assert found == Fraction(minutes) * 60
        assert slo.shown_at(found) == shown * 60
        assert slo.detection_time(T99, Fraction("0.1"), 3600, Fraction("14.4")) is None

    @pytest.mark.parametrize(
        ("target", "largest", "firing", "offered"),
        [("0.999", 1000, 4, 14.4), ("0.99", 100, 4, 14.4), ("0.95", 20, 4, 10), ("0.93", 14.285714, 3, 7.142857),
         ("0.9", 10, 3, 5), ("0.8", 5, 2, 2.5)],
    )  # fmt: skip
    def test_reachability(self, target, largest, firing, offered):
        exact = Fraction(target)
        assert float(slo.largest_burn(exact)) == near(largest)
        assert len(slo.rules(exact, MONTH)) == firing
        assert len(slo.refused(exact, MONTH)) == 4 - firing
        assert float(slo.reachable_factor(exact, Fraction("14.4"))) == near(offered)

    @pytest.mark.parametrize(("bad", "burn"), [(6, 0), (8, 0.5), (10, 1), (20, 3.5), (100, 23.5)])
    def test_excess_burn(self, bad, burn):
        base = Fraction("0.06")
        assert slo.excess_burn(100 - bad, 100, T90, base) == Fraction(str(burn))
        assert slo.largest_burn(T90, base) == Fraction("23.5")
        with pytest.raises(ValueError, match="accepted error ratio"):
            slo.excess_burn(1, 1, T90, Fraction("0.1"))

    def test_apdex(self):
        assert slo.apdex(900, 60, 1000) == Fraction("0.93")
        first, merged = latency(50, 30, 15, 5, 0), latency(55, 35, 20, 8, 2)
        for histogram, expected in ((first, 0.9), (merged, 0.866667)):
            satisfied = bins.share_below(histogram, 200).good
            tolerating = bins.share_below(histogram, 800).good - satisfied
            assert float(slo.apdex(satisfied, tolerating, bins.total(histogram))) == near(expected)


def latency(*counts):
    layout = Layout(edges=(0.0, 100.0, 200.0, 400.0, 800.0, 1600.0), closed="right", unit="ms")
    return Histogram(layout, {place: n for place, n in enumerate(counts, 1) if n}, {})


class TestPercentiles:
    ONE, TWO = latency(50, 30, 15, 5, 0), latency(5, 5, 5, 3, 2)

    @pytest.mark.parametrize(
        ("q", "one", "two", "merged"),
        [(0.5, 100, 200, 114.285714), (0.9, 333.333333, 800, 380), (0.95, 400, 1200, 600), (0.99, 720, 1520, 1120)],
    )
    def test_merge_then_read(self, q, one, two, merged):
        assert bins.quantile(self.ONE, q).value == near(one)
        assert bins.quantile(self.TWO, q).value == near(two)
        assert bins.quantile(bins.add(self.ONE, self.TWO), q).value == near(merged)

    def test_bounds(self):
        found = bins.quantile(bins.add(self.ONE, self.TWO), 0.95)
        assert (found.low, found.high, found.open_above) == (400, 800, False)


class TestIntervals:
    @pytest.mark.parametrize(
        ("k", "n", "low", "high"),
        [(45, 50, 0.786398, 0.956524), (9, 10, 0.595850, 0.982124), (10, 10, 0.722467, 1), (0, 10, 0, 0.277533),
         (940, 1000, 0.923529, 0.953104)],
    )  # fmt: skip
    def test_wilson(self, k, n, low, high):
        assert slo.wilson(k, n) == (near(low), near(high))

    def test_newcombe(self):
        assert slo.newcombe(80, 200, 40, 200) == (near(0.110671), near(0.285080))
        assert slo.newcombe(6, 8, 3, 6) == (near(-0.212252), near(0.609796))


class TestDrift:
    def test_categories(self):
        found = drift.compare(categories(500, 300, 200), categories(400, 300, 300))
        assert found.psi == near(0.0628609, 7)
        assert found.js == near(0.1061985, 7)
        assert found.js * 0.832555 == near(0.0884161)
        assert found.chi_square_p == pytest.approx(1.755e-7, rel=1e-3)
        assert found.noise_floor == near(0.0465, 4)
        assert drift.chi_square_sf(31.1111, 2) == pytest.approx(1.755e-7, rel=1e-3)
        assert drift.judge([found]) == [("drift", "moderate")]

    DECILES = tuple(float(edge) for edge in range(1, 10))

    def deciles(self, *counts):
        return Histogram(Layout(edges=self.DECILES), dict(enumerate(counts)), {})

    def test_deciles(self):
        found = drift.compare(self.deciles(*[100] * 10), self.deciles(60, 80, 90, 100, 100, 100, 110, 110, 120, 130))
        assert found.psi == near(0.0393731, 7)
        assert found.ks == near(0.07)
        floor = drift.psi_floor(1000, 1000, 10)
        assert floor == near(0.0338, 4)
        assert drift.verdict(found.psi, floor) == "above noise, small"

    def test_an_empty_bin_smooths_every_bin(self):
        assert drift.compare(categories(50, 30, 20, 0), categories(40, 30, 20, 10)).psi == near(0.3201170, 7)

    def test_wasserstein(self):
        found = drift.compare(numbers([1, 2, 3, 4, 5], range(1, 9)), numbers([2, 3, 4, 5, 7], range(1, 9)))
        assert found.wasserstein == near(0.8485281, 7)

    def test_floors(self):
        assert drift.js_floor(200, 200, 10) == near(0.175, 3)
        assert drift.verdict(0.15, drift.js_floor(200, 200, 10)) == "not enough data"
        assert drift.js_floor(1000, 1000, 3) == near(0.0465, 4)
        assert drift.ks_floor(200, 200) == near(0.1358099, 7)

    @pytest.mark.parametrize(
        ("df", "point"), [(1, 3.841459), (2, 5.991465), (4, 9.487729), (9, 16.918978), (19, 30.143527)]
    )
    def test_chi_square_points(self, df, point):
        assert drift.chi_square_95(df) == near(point)

    def test_floors_hold_on_identical_populations(self):
        """PSI within 4 %, JS within 2 %, measured on 10 equal bins; here with the noise of 4,000 draws."""
        r = np.random.default_rng(1)
        for n in (200, 1000):
            a, b = (r.multinomial(n, [0.1] * 10, 4000).astype(float) for _ in range(2))
            p, q = (np.maximum(side, 0.5) / n for side in (a, b))
            psi = np.quantile(((q - p) * np.log(q / p)).sum(axis=1), 0.95)
            middle = (p + q) / 2
            js = np.sqrt((p * np.log2(p / middle) + q * np.log2(q / middle)).sum(axis=1) / 2)
            assert drift.psi_floor(n, n, 10) == pytest.approx(psi, rel=0.08)
            assert drift.js_floor(n, n, 10) == pytest.approx(np.quantile(js, 0.95), rel=0.04)

    def test_benjamini_hochberg(self):
        p = [0.04, 0.001, 0.6, 0.012, 0.008, 0.2]
        assert drift.benjamini_hochberg(p) == [False, True, False, True, True, False]
        assert drift.benjamini_hochberg([None, 0.01]) == [False, True]
        assert drift.benjamini_hochberg([]) == []


class TestQuality:
    def test_binary(self):
        cells = {("1", "1"): 80, ("0", "1"): 20, ("1", "0"): 40, ("0", "0"): 860}
        found = quality.classification(Confusion(cells), "1")
        assert (found.n, found.averaging) == (1000, None)
        assert found.accuracy == 0.94
        assert found.precision == 0.8
        assert found.recall == near(0.666667)
        assert found.fpr == near(0.022727)
        assert found.fnr == near(0.333333)
        assert found.balanced_accuracy == near(0.821970)
        assert found.f1 == near(0.727273)
        assert found.mcc == near(0.697518)

    def test_multiclass(self):
        rows = ((50, 5, 5), (10, 30, 0), (0, 10, 90))
        cells = {("abc"[i], "abc"[j]): n for i, row in enumerate(rows) for j, n in enumerate(row)}
        found = quality.classification(Confusion(cells))
        assert found.averaging == "macro"
        assert found.accuracy == 0.85
        assert found.balanced_accuracy == near(0.827778)
        assert found.f1 == near(0.820764)
        assert found.weighted_f1 == near(0.852715)
        assert found.recall == near((0.833333 + 0.75 + 0.9) / 3)
        assert found.precision == near((0.833333 + 0.666667 + 0.947368) / 3)
        assert quality.classification(Confusion(cells), "c").precision == near(0.947368)

    def test_losses(self):
        squares, logs = ([10**6, 4 * 10**6, 16 * 10**6, 16 * 10**6], [-math.log(p) for p in (0.9, 0.8, 0.6, 0.6)])
        assert quality.brier(Moments(4, sum(squares), 0, 8)) == 0.0925
        assert quality.log_loss(Moments(4, sum(round(one * 10**9) for one in logs), 0, 9)) == near(0.337539)

    def test_calibration(self):
        layout = Layout(edges=(0.2, 0.6), digits=0)
        negative = Histogram(layout, {0: 370, 1: 180, 2: 75}, {})
        positive = Histogram(layout, {0: 30, 1: 120, 2: 225}, {0: 40, 1: 105, 2: 240})
        assert scores.ece(negative, positive) == near(0.04)

    def test_auc(self):
        layout = Layout(edges=(0.25, 0.5, 0.75))
        negative = Histogram(layout, {0: 40, 1: 30, 2: 20, 3: 10}, {})
        positive = Histogram(layout, {0: 5, 1: 10, 2: 25, 3: 60}, {})
        assert scores.roc_auc(negative, positive) == scores.Auc(0.835, near(0.08))

    def test_regression(self):
        e = [2, -2, 3, 0]
        error = Moments(4, sum(e), sum(x * x for x in e), 0)
        found = quality.regression(error, Moments(4, sum(map(abs, e)), 17, 0), Moments(4, 100, 3000, 0))
        assert (found.mae, found.bias) == (1.75, 0.75)
        assert found.rmse == near(2.061553)
        assert found.r2 == 1 - 17 / 500

    def test_mix_or_real(self):
        found = quality.mix({"a": (760, 800), "b": (120, 200)}, {"a": (384, 400), "b": (372, 600)})
        parts = (found.mix, found.within, found.interaction, found.change)
        assert parts == tuple(Fraction(text) for text in ("-0.14", "0.012", "0.004", "-0.124"))


class TestFairness:
    def test_two_groups(self):
        groups = {name: _group(*cells) for name, cells in {"A": (60, 20, 20, 100), "B": (30, 10, 30, 130)}.items()}
        gaps = fairness.fairness(groups, "1")
        parity = gaps["demographic_parity_difference"]
        assert (parity.value, parity.ratio, parity.high, parity.low, parity.certain) == (near(0.2), 0.5, "A", "B", True)
        assert parity.interval == (near(0.110671), near(0.285080))
        opportunity = gaps["equal_opportunity_difference"]
        assert opportunity.value == 0.25
        assert opportunity.interval == (near(0.088644), near(0.397502))
        assert gaps["false_positive_difference"].value == near(0.095238)
        assert gaps["equalized_odds_difference"].value == 0.25
        assert gaps["predictive_parity_difference"].value == 0
        assert all(quality.classification(one).accuracy == 0.8 for one in groups.values())

    def test_the_example_of_fairlearns_user_guide(self):
        """Counts per group of the arrays in "Performing a fairness assessment": selection .75, .5 and .5."""
        groups = {"a": _group(1, 2, 1, 0), "b": _group(3, 0, 2, 1), "c": _group(2, 2, 3, 1)}
        gaps = fairness.fairness(groups, "1")
        assert gaps["demographic_parity_difference"].value == 0.25
        assert gaps["demographic_parity_difference"].ratio == near(0.666667)
        assert gaps["equal_opportunity_difference"].value == near(0.2)
        assert gaps["equalized_odds_difference"].value == 1
        assert not any(gap.certain for name, gap in gaps.items() if name != "equalized_odds_difference"
                       and name != "false_positive_difference")  # fmt: skip


def _group(tp, fp, fn, tn):
    return Confusion({("1", "1"): tp, ("0", "1"): fp, ("1", "0"): fn, ("0", "0"): tn})
