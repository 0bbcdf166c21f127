"""Reports and test suites of Evidently 0.4 to 0.6: the JSON that people saved, and the snapshots of a workspace."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from connectors._fields import Raw, finite, inside, rows_of, text_of, whole
from connectors._judged import Judgement
from tandem.told import Direction

METHODS: Mapping[str, Direction] = {
    # Where drift is, by the name in a configuration and by the one in a report; both occur. Most of the first lines
    # are p-values, whatever their names say: Total-Variation-Distance and empirical_mmd too.
    "anderson": "<", "Anderson-Darling": "<", "chisquare": "<", "chi-square p_value": "<",
    "cramer_von_mises": "<=", "Cramer-von Mises": "<=", "es": "<", "Epps-Singleton": "<",
    "fisher_exact": "<", "Fisher's Exact test": "<", "g_test": "<", "ks": "<=", "K-S p_value": "<=",
    "mannw": "<", "Mann-Whitney U-rank test": "<", "empirical_mmd": "<", "t_test": "<",
    "TVD": "<", "Total-Variation-Distance": "<", "z": "<", "Z-test p_value": "<",
    "ed": ">", "Energy-distance": ">", "abs_text_content_drift": ">", "Absolute text content drift": ">",
    "hellinger": ">=", "Hellinger distance": ">=", "jensenshannon": ">=", "Jensen-Shannon distance": ">=",
    "kl_div": ">=", "Kullback-Leibler divergence": ">=", "psi": ">=", "PSI": ">=",
    "wasserstein": ">=", "Wasserstein distance (normed)": ">=",
}  # fmt: skip
_QUALITY = ("ClassificationQualityMetric", "RegressionQualityMetric")
_NAMES = {"mean_abs_error": "mae", "r2_score": "r2", "mean_abs_perc_error": "mape", "mean_error": "mean_error"}
_READ = frozenset(
    {"DataDriftTable", "ColumnDriftMetric", "ClassificationConfusionMatrix", "DatasetMissingValuesMetric"}
)
_SUITE = frozenset({"all_passed", "total_tests", "by_status"})


def is_old(raw: Raw) -> bool:
    """Whether it is a report or a test suite as 0.4 to 0.6 wrote them."""
    metrics, tests = rows_of(raw, "metrics"), rows_of(raw, "tests")
    if any("metric" in one and "result" in one for one in metrics):
        return True
    return bool(_SUITE & set(inside(raw, "summary"))) or (not metrics and any("group" in one for one in tests))


class Old:
    """The results of one report by the names of their metrics."""

    def __init__(self, raw: Raw, snapshot: bool) -> None:
        self._tests = rows_of(raw, "test_results" if snapshot else "tests")
        if not snapshot:
            self._metrics = [(text_of(one, "metric"), inside(one, "result")) for one in rows_of(raw, "metrics")]
            return
        # In a snapshot the names and the results are two lists; a name is a path of modules, or ends in ":Name".
        names = [re.split(r"[.:]", text_of(one, "type"))[-1] for one in rows_of(raw, "metrics")]
        results = rows_of(raw, "metric_results")
        self._metrics = list(zip(names, results, strict=False))

    def judgements(self) -> Iterator[Judgement]:
        """What was judged of each column, with the verdict that the report states."""
        for name, result in self._metrics:
            if name == "DataDriftTable":
                columns = inside(result, "drift_by_columns")
                yield from (_judged(column, one) for column, one in columns.items() if isinstance(one, dict))
            elif name == "ColumnDriftMetric":
                yield _judged(text_of(result, "column_name"), result)
        for test in self._tests:
            yield from _tested(inside(test, "parameters"))

    def numbers(self) -> Iterator[tuple[str, float]]:
        """Every number of the current data by its name, as far as it is not read otherwise."""
        for name, result in self._metrics:
            if name in _READ:
                continue
            column = text_of(result, "column_name")
            current = inside(result, "current") or (result if name == "DatasetDriftMetric" else {})
            for key, value in current.items():
                usable = finite(value)
                if usable is not None:
                    yield _named(name, key, column), usable

    def confusion(self) -> Raw:
        """The matrix of the current data, {} where there is none."""
        return next((inside(result, "current_matrix") for name, result in self._metrics
                     if name == "ClassificationConfusionMatrix"), {})  # fmt: skip

    def rows(self) -> tuple[int | None, int | None, dict[tuple[str, str], int]]:
        """How many rows there are, how many of them miss a value, and how many values each column misses."""
        rows: int | None = None
        invalid: int | None = None
        faults: dict[tuple[str, str], int] = {}
        for name, result in self._metrics:
            current = inside(result, "current")
            n = whole(current.get("number_of_rows"))
            if name == "DatasetMissingValuesMetric" and n is not None:
                rows, invalid = n, whole(current.get("number_of_rows_with_missing_values"))
                by_column = inside(current, "number_of_missing_values_by_column")
                faults |= {(column, "missing"): k for column, v in by_column.items() if (k := whole(v)) is not None}
            elif name in ("ColumnMissingValuesMetric", "DatasetSummaryMetric") and n is not None:
                rows = n if rows is None else rows
                k = whole(current.get("number_of_missing_values"))
                if name == "ColumnMissingValuesMetric" and k is not None:
                    faults[text_of(result, "column_name"), "missing"] = k
        return rows, invalid, faults

    def tests(self) -> Iterator[tuple[str, str, str]]:
        """(identity, name, status) of every test."""
        for test in self._tests:
            name, given = text_of(test, "name"), inside(test, "parameters")
            column = text_of(given, "column_name") or text_of(given, "column")
            yield (
                f"{text_of(test, 'group')}:{name}:{column}",
                f"{name}: {column}" if column else name,
                text_of(test, "status"),
            )


def _judged(column: str, one: Raw) -> Judgement:
    method, drift = text_of(one, "stattest_name"), one.get("drift_detected")
    return Judgement(column, method, METHODS.get(method, "told"), finite(one.get("drift_score")),
                     finite(one.get("stattest_threshold")),
                     stated=drift if isinstance(drift, bool) else None)  # fmt: skip


def _tested(given: Raw) -> Iterator[Judgement]:
    """What tests of drift judged; their scores are rounded, so the verdict they state counts."""
    columns = dict(inside(given, "features"))
    if "stattest" in given and "score" in given:
        columns[text_of(given, "column_name")] = given
    for column, one in columns.items():
        if column and isinstance(one, dict) and isinstance(one.get("detected"), bool):
            method = text_of(one, "stattest")
            yield Judgement(column, method, METHODS.get(method, "told"), finite(one.get("score")),
                            finite(one.get("threshold")), stated=one["detected"], rounded=True)  # fmt: skip


def _named(metric: str, key: str, column: str) -> str:
    if metric in _QUALITY:
        return _NAMES.get(key, key)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric.removesuffix("Metric")).lower()
    return f"{name}.{key}[{column}]" if column else f"{name}.{key}"
