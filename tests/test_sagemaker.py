"""The sagemaker connector: hours of Model Monitor from a folder and a bucket, captured data, approvals, promotions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import sagemaker
from connectors._files import item
from tandem import collect, connect
from tandem.bins import MISSING, Layout, total
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import DAY, HOUR, Confusion, Event, Fact, Histogram, Page, Ratio, Sample
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import sagemaker_files as made
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.faults_sagemaker import KEY, config_of
from tests.replay import Answer, serve
from tests.s3_server import S3

PAYLOADS = Path(__file__).parent / "payloads" / "sagemaker"
T0 = 1_793_491_200
"""2026-11-01."""
NOW = T0 + 30 * DAY
RNG = np.random.default_rng(4)


def config(path: Path | None = None, **more: Any) -> sagemaker.Config:
    common = Common("sagemaker", "monitor", **more.pop("common", {"component": ("claims",)}))
    return sagemaker.Config(common, path=path, **more)


def put(folder: Path, ts: int, name: str, document: Any, place: str = "claim-endpoint/sched-1", at: int = 0) -> Path:
    path = folder / made.folder(ts, place) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(document if isinstance(document, bytes) else made.data(document))
    os.utime(path, (at or ts + HOUR, at or ts + HOUR))
    return path


def looked(folder: Path, **more: Any) -> list[Page]:
    return list(sagemaker.fetch(config(folder, **more), Pull(0, NOW, NOW)))


def facts(pages: list[Page], signal: str, name: str = "") -> list[Fact]:
    return [one for page in pages for one in page.records
            if isinstance(one, Fact) and (one.series.signal, one.series.name) == (signal, name)]  # fmt: skip


def events(pages: list[Page], kind: str) -> list[Event]:
    return [one for page in pages for one in page.records if isinstance(one, Event) and one.kind == kind]


def samples(pages: list[Page]) -> dict[str, float]:
    return {one.series.name: one.value for page in pages for one in page.records if isinstance(one, Sample)}


def said(pages: list[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def pulled(store: Store, given: sagemaker.Config, now: int = NOW) -> collect.Outcome:
    return collect.pull(store, Source(given.common, connect.load("sagemaker"), given), now)


def ratio(store: Store, signal: str, name: str = "", span: tuple[int, int] = (0, 1 << 40)) -> tuple[int, ...]:
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal=signal) if one.placed.name == name]
    merges = reader.totals("ratio", ids, [span])
    return tuple(sum(part) for part in zip(*(merge[0] for merge in merges.values() if merge[0]), strict=True))


def told_of(store: Store, kind: str) -> list[Event]:
    return [event for _, event in Reader(store).events(0, 1 << 40) if event.kind == kind]


def values(n: int, mean: float = 50.0) -> list[float]:
    return [float(one) for one in RNG.normal(mean, 10, n)]


# -- hours of the monitor


def test_the_documented_hour() -> None:
    pages = looked(PAYLOADS)
    [amount], [site] = facts(pages, "feature", "amount"), facts(pages, "feature", "site")
    assert isinstance(amount.value, Histogram)
    assert (amount.ts, total(amount.value), amount.value.counts[MISSING]) == (T0, 1180, 4)
    assert amount.value.layout.approximate
    assert [amount.value.counts.get(place, 0) for place in range(1, 11)] == [118] * 10, "its buckets are its bins"
    assert isinstance(site.value, Histogram)
    assert (site.value.layout.values, site.value.counts) == (("a", "b", "z"), {0: 600, 1: 500, 2: 84})
    assert [one.value for one in facts(pages, "valid_rows")] == [Ratio(1180, 1184)]
    assert dict(amount.series.labels) == {"endpoint": "claim-endpoint", "schedule": "sched-1"}
    validated = {one.key: one for one in events(pages, "validation")}
    one = validated["claim-endpoint/sched-1@2026-11-01T00"]
    assert (one.outcome, dict(one.labels)["failed"]) == ("bad", "2")
    assert validated["claim-endpoint/sched-1@2026-11-01T01"].outcome == "good", "the job's own description"
    assert validated["claim-endpoint/quality@2026-11-01T00"].outcome == "excluded", "no file of violations"
    [drift] = events(pages, "drift")
    assert (drift.outcome, drift.ts, dict(drift.labels)["features"]) == ("bad", T0, "amount")
    told = samples(pages)
    assert (told["drift[amount] Robust distance >"], told["drift[amount] Robust distance > threshold"]) == (0.23, 0.1)
    assert told["drift[site] LInfinity distance > verdict"] == 0.0


def test_the_documented_model_quality_has_actual_classes_in_its_rows() -> None:
    pages = looked(PAYLOADS)
    [outcome] = facts(pages, "outcome")
    assert (outcome.ts, outcome.value) == (T0, Confusion({("0", "0"): 1, ("0", "1"): 2, ("1", "1"): 1}))
    told = samples(pages)
    assert (told["accuracy"], told["recall"], told["auc"]) == (0.5, 1.0, 0.6666666666666667)
    assert "confusion_matrix" not in told


@pytest.mark.parametrize("change", ["transposed", "accuracy"])
def test_a_matrix_that_its_own_metrics_contradict_is_refused(change: str, tmp_path: Path) -> None:
    document = made.quality(tn=70, fp=20, fn=5, tp=30)
    told = document["binary_classification_metrics"]
    if change == "transposed":
        told["confusion_matrix"] = {"0": {"0": 70, "1": 5}, "1": {"0": 20, "1": 30}}
    else:
        told["accuracy"]["value"] = 0.9
    put(tmp_path, T0, "statistics.json", document)
    pages = looked(tmp_path)
    assert not facts(pages, "outcome")
    assert "than it states" in said(pages)


@pytest.mark.parametrize(("kept", "most"), [(True, 0.004), (False, 0.3)])
def test_counts_lie_within_the_doubt_that_is_said(kept: bool, most: float, tmp_path: Path) -> None:
    """Hours with other ranges on the bins of the first, against the values themselves."""
    hours = [values(3000, 50.0 + hour) for hour in range(6)]
    for number, some in enumerate(hours):
        put(tmp_path, T0 + number * HOUR, "statistics.json", made.statistics({"x": some}, kept=kept))
    pages = looked(tmp_path)
    found = facts(pages, "feature", "x")
    worst = 0.0
    for some, fact in zip(hours, found, strict=True):
        assert isinstance(fact.value, Histogram)
        edges = np.array(fact.value.layout.edges)
        counted = np.cumsum([fact.value.counts.get(place, 0) for place in range(len(edges))])
        exact = np.searchsorted(np.sort(some), edges, side="left")
        worst = max(worst, float(np.abs(counted - exact).max()) / len(some))
    [doubt] = [
        float(text.split("up to ")[1].split("%")[0]) / 100 for text in said(pages).split(" | ") if "up to" in text
    ]
    print(f"off by at most {worst:.2%}, said to be at most {doubt:.2%}")
    assert worst <= doubt <= most
    assert len({fact.value.layout for fact in found if isinstance(fact.value, Histogram)}) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: one["common"].update(num_present=-4), "num_present is no count"),
        (lambda one: one["common"].update(num_missing=1.5), "num_missing is no count"),
        (lambda one: one["distribution"]["kll"]["buckets"][0].update(count=9999.0), "other values than are present"),
        (lambda one: one["distribution"]["kll"]["buckets"].pop(4), "other values than are present"),
        (lambda one: one["distribution"]["kll"]["buckets"][3].update(lower_bound=None), "no number"),
    ],
)
def test_a_feature_that_cannot_be_is_left_out_and_said(change: Any, why: str, tmp_path: Path) -> None:
    document = made.statistics({"x": values(100), "y": values(100)}, kept=False)
    change(document["features"][0]["numerical_statistics"])
    put(tmp_path, T0, "statistics.json", document)
    pages = looked(tmp_path)
    assert why in said(pages)
    assert not facts(pages, "feature", "x")
    assert len(facts(pages, "feature", "y")) == 1


def test_features_and_endpoints_are_chosen(tmp_path: Path) -> None:
    put(tmp_path, T0, "statistics.json", made.statistics({"x": values(50), "score": values(50), "y": values(50)}))
    put(tmp_path, T0, "statistics.json", made.statistics({"x": values(9)}), place="other/sched")
    pages = looked(tmp_path, endpoints=("claim-*",), features=("x",), prediction="score")
    assert len(facts(pages, "feature", "x")) == len(facts(pages, "prediction")) == 1
    assert not facts(pages, "feature", "y")
    assert [one.value for one in facts(pages, "volume")] == [Ratio(50, 50)]


# -- what changes later


def test_an_hour_that_is_written_again_takes_back_what_it_said(tmp_path: Path, store: Store) -> None:
    """Statistics, violations and drift of the same hour, before and after."""
    folder = tmp_path / "monitor"
    columns = {"x": values(1500), "y": [None] * 15 + values(1485)}
    put(folder, T0, "statistics.json", made.statistics(columns))
    put(folder, T0, "constraints.json", made.RULES)
    put(folder, T0, "constraint_violations.json", made.violations(made.drifted("x")))
    put(folder, T0 + HOUR, "statistics.json", made.statistics({"x": values(1000), "y": values(1000)}))
    assert pulled(store, config(folder)).error == ""
    assert ratio(store, "valid_rows") == (2485, 2500)
    assert ratio(store, "validation_success") == (0, 1), "the other hour has no file of violations, which says nothing"
    again = made.statistics({"x": values(1400), "y": values(1400)})
    put(folder, T0, "statistics.json", again, at=T0 + 5 * HOUR)
    put(folder, T0, "constraint_violations.json", made.violations(), at=T0 + 5 * HOUR)
    put(folder, T0 + HOUR, "constraints_violations.json", made.violations(), at=T0 + 5 * HOUR)
    assert pulled(store, config(folder), NOW + 300).error == ""
    assert ratio(store, "valid_rows") == (2400, 2400)
    assert ratio(store, "validation_success") == (2, 2)
    drifts = {one.key: one.outcome for one in told_of(store, "drift")}
    assert drifts == {"claim-endpoint/sched-1@2026-11-01T00": "excluded"}
    assert pulled(store, config(folder), NOW + 600).rows == 0


def test_labels_that_come_later_end_as_if_they_had_come_at_once(tmp_path: Path) -> None:
    """A model quality job that runs again writes its hour again."""
    ends = {}
    for name, rounds in (("late", [(50, 4, 2, 20), (60, 9, 3, 28), (61, 9, 5, 28)]), ("once", [(61, 9, 5, 28)])):
        with open_store(tmp_path / f"{name}.duckdb") as store:
            for number, counts in enumerate(rounds):
                put(tmp_path / name, T0, "statistics.json", made.quality(*counts), at=NOW + number)
                assert pulled(store, config(tmp_path / name), NOW + 300 * number).error == ""
            reader = Reader(store)
            [series] = [one.id for one in reader.series(signal="outcome")]
            [[ends[name]]] = list(reader.totals("confusion", [series], [(T0, T0 + HOUR)]).values())
    assert ends["late"] == ends["once"] == {("0", "0"): (61,), ("0", "1"): (9,), ("1", "0"): (5,), ("1", "1"): (28,)}


def test_drift_begins_once_and_ends_when_an_hour_says_so(tmp_path: Path) -> None:
    for number, found in enumerate([(), ("x",), ("x", "y"), (), ("x",)]):
        put(tmp_path, T0 + number * HOUR, "statistics.json", made.statistics({"x": values(60), "y": ["a"] * 60}))
        put(tmp_path, T0 + number * HOUR, "constraints.json", made.RULES)
        put(tmp_path, T0 + number * HOUR, "constraint_violations.json",
            made.violations(*(made.drifted(name) for name in found)))  # fmt: skip
    found = [((one.ts - T0) // HOUR, dict(one.labels)["features"]) for one in events(looked(tmp_path), "drift")]
    assert found == [(1, "x"), (2, "y"), (4, "x")]


@pytest.mark.parametrize(
    ("document", "outcome"),
    [
        (made.violations(), "good"),
        (made.violations(("x", "completeness_check", "99 % present")), "bad"),
        ({"violations": [{"metric_name": "precision", "constraint_check_type": "LessThanThreshold"}]}, "bad"),
        ({"other": 1}, None),
    ],
)
def test_violations_are_a_validation(document: Any, outcome: str | None, tmp_path: Path) -> None:
    put(tmp_path, T0, "constraint_violations.json", document)
    found = [one.outcome for one in events(looked(tmp_path), "validation")]
    assert found == ([] if outcome is None else [outcome])


@pytest.mark.parametrize(
    ("status", "message", "outcome"),
    [
        ("Completed", "CompletedWithViolations: Job completed successfully with 3 violations.", "bad"),
        ("Failed", "AlgorithmError: out of memory", "excluded"), ("InProgress", "", "open"),
        ("Melted", "", "excluded"),
    ],
)  # fmt: skip
def test_a_job_decides_an_hour_without_violations(
    status: str, message: str, outcome: str, tmp_path: Path, store: Store
) -> None:
    put(tmp_path / "m", T0 + HOUR, "statistics.json", made.statistics({"x": values(60)}))
    job = json.loads((PAYLOADS / "processing_job.json").read_text())
    job |= {"ProcessingJobStatus": status, "ExitMessage": message}
    (tmp_path / "m" / "job.json").write_text(json.dumps(job))
    outcomes = pulled(store, config(tmp_path / "m"))
    [event] = told_of(store, "validation")
    assert (event.key, event.outcome) == ("claim-endpoint/sched-1@2026-11-01T01", outcome)
    assert ('"Melted" is unknown' in str(outcomes.remarks)) is (status == "Melted")


def test_too_few_values_are_read_again_until_there_are_bins(tmp_path: Path, store: Store) -> None:
    for number in range(4):
        put(tmp_path / "m", T0 + number * HOUR, "statistics.json", made.statistics({"x": values(300)}))
        assert pulled(store, config(tmp_path / "m"), NOW + 300 * number).error == ""
    reader = Reader(store)
    counted = []
    for one in reader.series(signal="feature"):
        [[merge]] = list(reader.totals("histogram", [one.id], [(0, 1 << 40)]).values()) or [[None]]
        counted.append(sum(n for n, _ in merge.values()) if merge else 0)  # type: ignore[union-attr]
    assert sorted(counted)[-1] == sum(counted) == 1200


# -- captured data


def test_captured_requests_are_exact_predictions_and_named_features() -> None:
    path = PAYLOADS / "claim-endpoint/AllTraffic/2026/11/01/00/captured.jsonl"
    pages = list(sagemaker.parse(item(path, Given()), config(columns=("amount", "site"))))
    [prediction] = facts(pages, "prediction")
    assert isinstance(prediction.value, Histogram)
    assert (prediction.ts, total(prediction.value), prediction.value.layout.approximate) == (T0, 5, False)
    assert sum(prediction.value.sums.values()) == round(2.26 * 10 ** (prediction.value.layout.digits or 0))
    [amount], [site] = facts(pages, "feature", "amount"), facts(pages, "feature", "site")
    assert isinstance(amount.value, Histogram)
    scale = 10 ** (amount.value.layout.digits or 0)
    assert sum(amount.value.sums.values()) == round((12.5 + 7.25 + 30 + 41 + 3.5) * scale)
    assert isinstance(site.value, Histogram)
    assert (site.value.layout.values, site.value.counts) == (("a", "b", "c"), {0: 2, 1: 2, 2: 1})
    assert dict(site.series.labels) == {"endpoint": "claim-endpoint", "variant": "AllTraffic"}
    assert not facts(pages, "volume"), "captured data may be a sample of the requests"


def capture(ts: int, number: int, output: str, given: str = "1", **more: Any) -> bytes:
    data = {"endpointInput": {"data": given, "encoding": "CSV"},
            "endpointOutput": {"data": output, "encoding": "CSV", **more}}  # fmt: skip
    told = {"eventId": f"e{number}", "inferenceTime": f"2026-11-01T{ts // HOUR % 24:02}:30:00Z"}
    return made.data({"captureData": data, "eventMetadata": told}) + b"\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (capture(T0, 1, "!!", encoding="BASE64"), "base64"),
        (capture(T0, 1, "x", encoding="AVRO"), "written as AVRO"),
        (capture(T0, 1, '{"a": 1}', encoding="JSON"), "names no prediction"),
        (made.data({"captureData": {}, "eventMetadata": {}}) + b"\n", "inferenceTime"),
        (capture(T0, 2, "0.5", given="1,2,3"), "3 columns where 1 are named"),
    ],
)
def test_a_captured_event_that_cannot_be_is_left_out(line: bytes, why: str, tmp_path: Path) -> None:
    put(tmp_path, T0, "a.jsonl", line + capture(T0, 9, "0.25") + capture(T0, 9, "0.25"), place="e/AllTraffic")
    pages = looked(tmp_path, columns=("x",))
    assert why in said(pages)
    assert "stand twice" in said(pages)
    assert [total(one.value) for one in facts(pages, "prediction")] == [1]  # type: ignore[arg-type]


def test_captured_drift_is_judged_and_a_file_that_grows_counts_once(tmp_path: Path, store: Store) -> None:
    for hour in range(3):
        body = b"".join(capture(T0 + hour * HOUR, n, str(one), str(one)) for n, one in
                        enumerate(values(1200, 50.0 + (15.0 if hour == 2 else 0.0))))  # fmt: skip
        put(tmp_path / "m", T0 + hour * HOUR, "a.jsonl", body, place="e/AllTraffic")
        assert pulled(store, config(tmp_path / "m", columns=("x",)), NOW + 300 * hour).error == ""
    spans = [(T0 + hour * HOUR, T0 + (hour + 1) * HOUR) for hour in range(3)]
    assert [ratio(store, "drift", "", span) for span in spans] == [(1, 1), (1, 1), (0, 1)]
    put(tmp_path / "m", T0, "a.jsonl", capture(T0, 1, "3.5", "3.5"), place="e/AllTraffic", at=NOW)
    assert pulled(store, config(tmp_path / "m", columns=("x",)), NOW + 3600).error == ""
    reader = Reader(store)
    [series] = [one.id for one in reader.series(signal="feature") if one.placed.name == "x"]
    [[merge]] = list(reader.totals("histogram", [series], [(0, 1 << 40)]).values())
    assert sum(n for n, _ in merge.values()) == 2401  # type: ignore[union-attr]


# -- what AWS' command line prints


def test_packages_are_approvals_that_stay_open_until_decided(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "m"
    put(folder, T0, "statistics.json", made.statistics({"x": values(9)}))
    path = folder / "packages.json"
    path.write_text((PAYLOADS / "model_packages.json").read_text())
    assert pulled(store, config(folder)).error == ""
    document = json.loads(path.read_text())
    for when, status, reason, outcome in ((1, "PendingManualApproval", "", "open"), (2, "Approved", "fine", "good"),
                                          (3, "Rejected", "bias", "bad")):  # fmt: skip
        told = document["ModelPackageSummaryList"][0] | {
            "ModelApprovalStatus": status, "ApprovalDescription": reason, "LastModifiedBy": {"UserProfileName": "ada"},
            "LastModifiedTime": f"2026-11-0{when + 3}T09:00:00+00:00",
        }  # fmt: skip
        path.write_text(json.dumps(told))
        os.utime(path, (NOW + when, NOW + when))
        assert pulled(store, config(folder), NOW + 300 * when).error == ""
        found = {one.key: one for one in told_of(store, "approval")}
        assert {key: one.outcome for key, one in found.items()} == {"claim-risk/1": "good", "claim-risk/2": outcome}
    assert (found["claim-risk/2"].actor, found["claim-risk/2"].version) == ("ada", "2")


def test_a_configuration_of_an_endpoint_is_promoted_once(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "m" / "endpoint.json"
    path.parent.mkdir()
    document = json.loads((PAYLOADS / "endpoint.json").read_text())
    for number, (config_name, changed) in enumerate([("one", "11-02"), ("one", "11-05"), ("two", "11-09")]):
        told = document | {"EndpointConfigName": config_name, "LastModifiedTime": f"2026-{changed}T08:00:00+00:00"}
        path.write_text(json.dumps(told))
        os.utime(path, (NOW + number, NOW + number))
        assert pulled(store, config(tmp_path / "m"), NOW + 300 * number).error == ""
    found = sorted((one.ts, one.version) for one in told_of(store, "promotion"))
    assert found == [(T0 + DAY + 8 * HOUR, "one"), (T0 + 8 * DAY + 8 * HOUR, "two")]


def metrics(**change: Any) -> dict[str, Any]:
    document = json.loads((PAYLOADS / "claim-endpoint/AllTraffic/metrics.json").read_text())
    document["MetricDataResults"][0] |= change
    return document  # type: ignore[no-any-return]


def test_saved_sums_of_cloudwatch_are_requests_in_whole_buckets(tmp_path: Path, store: Store) -> None:
    """25 minutes from 0:00 with 20, 21, 22 ... requests, and a failure in every fifth."""
    path = tmp_path / "m" / "claim-endpoint" / "AllTraffic" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(metrics()))
    assert pulled(store, config(tmp_path / "m")).error == ""
    assert ratio(store, "request_success") == (sum(range(20, 45)) - 5, sum(range(20, 45)))
    late = path.with_name("later.json")
    late.write_text(json.dumps(metrics()))  # the same stretch again
    assert pulled(store, config(tmp_path / "m"), NOW + 300).error == ""
    assert ratio(store, "request_success") == (sum(range(20, 45)) - 5, sum(range(20, 45)))
    [series] = Reader(store).series(signal="request_success")
    assert series.placed.component == "claims"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"StatusCode": "PartialData"}, "is not complete"), ({"Label": "x", "Id": "y"}, "needs the sums"),
        ({"Values": [0.5] * 25}, "no count"), ({"Values": [0.0] * 25}, "more failures than requests"),
        ({"Timestamps": [T0 + hour * HOUR for hour in range(25)]}, "300 s apart"),
        ({"Timestamps": []}, "other times than values"),
    ],
)  # fmt: skip
def test_sums_that_cannot_be_counted_are_refused(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(metrics(**change)))
    pages = looked(tmp_path)
    assert why in said(pages)
    assert not facts(pages, "request_success")


# -- the bucket


def bucket(server: S3, hours: int, begin: int = 0) -> None:
    for number in range(begin, hours):
        at = T0 + number * HOUR
        some = made.statistics({"x": values(400)})
        for name, document in (("statistics.json", some), ("constraints.json", made.RULES),
                               ("constraint_violations.json", made.violations())):  # fmt: skip
            server.put(f"m/{made.folder(at)}/{name}", made.data(document), at + HOUR + 600)


def test_a_bucket_gives_what_a_copy_of_it_gives(tmp_path: Path) -> None:
    server = S3(page=7, key=KEY)
    bucket(server, 9)
    for key, one in server.objects.items():
        path = tmp_path / key.removeprefix("m/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
        os.utime(path, (one.modified, one.modified))
    with virtual(), serve(server.answer) as running:
        server.now = lambda: 1_795_000_000.0
        remote = list(sagemaker.fetch(config_of(running.url), Pull(0, NOW, NOW)))
    local = looked(tmp_path, common={"component": ("claims",)})
    mine, theirs = ([record for page in pages for record in page.records] for pages in (remote, local))
    assert mine == theirs
    assert len(mine) > 30


def test_a_second_pull_lists_and_fetches_only_what_is_new(store: Store) -> None:
    server = S3(page=1000, key=KEY, now=lambda: 1_795_000_000.0)
    bucket(server, 8)
    with virtual(), serve(server.answer) as running:
        given = config_of(running.url)
        assert pulled(store, given).error == ""
        assert len(running.asked) == 1 + 24, "every object once"
        del running.asked[:]
        assert pulled(store, given, NOW + 300).error == ""
        assert len(running.asked) == 1
        assert ("start-after", "m/" + made.folder(T0 + 4 * HOUR) + "/") in running.asked[0].query
        del running.asked[:]
        bucket(server, 9, 8)
        late = made.data(made.violations(made.drifted("x")))
        server.put(f"m/{made.folder(T0 + 7 * HOUR)}/constraint_violations.json", late, T0 + 9 * HOUR + 900)
        assert pulled(store, given, NOW + 600).error == ""
        print(f"{len(running.asked)} requests for an hour that is new and one written again; the fewest possible are 7")
        assert len(running.asked) == 7
    assert ratio(store, "validation_success") == (8, 9)


def test_no_key_is_told_and_hostile_names_stay_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = S3(key=KEY, now=lambda: 1_795_000_000.0)
    document = made.statistics({"<script>x": values(20), "a'; DROP TABLE event; --": ["'; --"] * 20})
    server.put(f"m/{made.folder(T0, '<b>/a$b')}/statistics.json", made.data(document))
    path, told = tmp_path / "t.duckdb", []
    refusing: Any = lambda asked: Answer(f"<Error><Code>AccessDenied</Code><M>{TOKEN}</M></Error>", 403)  # noqa: E731
    with virtual(), open_store(path) as store:
        for number, route in enumerate((server.answer, refusing, server.answer)):
            with serve(route) as running:
                told.append(repr(pulled(store, config_of(running.url), NOW + 300 * number)))
        assert {one.placed.name for one in Reader(store).series(signal="feature")} == {
            "<script>x", "a'; DROP TABLE event; --"}  # fmt: skip
    assert "s3:ListBucket" in told[1]
    assert os.environ.get(TOKEN_ENV) is None
    for one in (*told, caplog.text, path.read_bytes().decode("latin-1")):
        assert TOKEN not in one


# -- files


@pytest.mark.parametrize("path", sorted(str(one.relative_to(PAYLOADS)) for one in PAYLOADS.rglob("*.json*")))
def test_each_file_is_recognised_by_sagemaker_alone(path: str) -> None:
    found = item(PAYLOADS / path, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["sagemaker"]


def test_files_are_imported_one_by_one_as_the_folder_is_read(tmp_path: Path) -> None:
    whole = {repr(record) for page in looked(PAYLOADS) for record in page.records}
    single = set()
    for path in sorted(PAYLOADS.rglob("*.json*")):
        for page in sagemaker.parse(item(path, Given()), config()):
            single |= {repr(record) for record in page.records}
    assert {one.split("revision=")[0] for one in single} == {one.split("revision=")[0] for one in whole}
    stray = put(tmp_path, T0, "statistics.json", made.statistics({"x": values(9)}))
    with pytest.raises(SourceRefused, match="lies in no folder"):
        list(sagemaker.parse(item(stray.rename(tmp_path / "statistics.json"), Given()), config()))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="set path, or bucket and prefix"):
        looked(None)  # type: ignore[arg-type]
    with pytest.raises(SourceRefused, match="is no folder"):
        looked(tmp_path / "nowhere")
    with pytest.raises(SourceRefused, match="finds no file"):
        looked(tmp_path)
    with pytest.raises(ValueError, match="name of a bucket alone"):
        config(bucket="s3://x")
    put(tmp_path, T0, "statistics.json", b"{")
    assert "statistics.json" in said(looked(tmp_path))
    assert Layout().kind == "edges"
