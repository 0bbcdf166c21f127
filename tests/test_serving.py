"""Metrics of inference servers: what each request was, against what scrapes and a Prometheus show of it."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors import _files, prometheus, serving
from connectors._counters import BRIDGE
from connectors._serving_flavours import STATUS
from tandem import collect, exported
from tandem import config as configuration
from tandem.config import Source
from tandem.connect import Common, Given, Pull, Rule, SourceDown, SourceRefused
from tandem.records import Fact, Gap, Histogram, Page, Ratio
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.faults import PATIENT, TOKEN, TOKEN_ENV, virtual
from tests.faults_serving import T0, config, work
from tests.replay import serve
from tests.serving_server import EDGES, ModelServer, Worker
from tests.shelf import Shelf

PAYLOADS = Path(__file__).parent / "payloads"
FRAUD = Common("serving", "models", component=("fraud",))


def parsed(path: Path, given: Given = Given(), **keys: Any) -> list[Page]:  # noqa: B008 - frozen
    return list(serving.parse(_files.item(path, given), serving.Config(keys.pop("common", FRAUD), **keys)))


def two(folder: Path, before: Path, after: Path) -> Path:
    """A folder of two scrapes, a minute apart."""
    for number, path in enumerate((before, after)):
        shutil.copy(path, folder / f"{number}.prom")
        os.utime(folder / f"{number}.prom", (T0 + 60 * number, T0 + 60 * number))
    return folder


def totals(pages: Sequence[Page], signal: str = "request_success", segment: str = "") -> Ratio:
    facts = [one for page in pages for one in page.records if isinstance(one, Fact)]
    mine = [one for one in facts if (one.series.signal, one.series.segment) == (signal, segment)]
    return sum((one.value for one in mine if isinstance(one.value, Ratio)), Ratio())


def durations(pages: Sequence[Page], segment: str = "") -> dict[float, int]:
    """How many lie in the bin that ends at each upper edge."""
    found: Counter[float] = Counter()
    for page in pages:
        for one in page.records:
            if isinstance(one, Fact) and isinstance(one.value, Histogram) and one.series.segment == segment:
                for place, n in one.value.counts.items():
                    found[[*one.value.layout.edges, math.inf][place]] += n
    return dict(found)


def reasons(pages: Sequence[Page]) -> dict[str, int]:
    return {one.reason: one.count for page in pages for one in page.findings}


# --- files


def grown(before: Path, after: Path, name: str, **labels: str) -> int:
    """The growth of a counter between two scrapes, by the parser of prometheus_client."""
    found = 0.0
    for path, sign in ((before, -1), (after, 1)):
        for family in text_string_to_metric_families(path.read_text()):
            for one in family.samples:
                if one.name == name and labels.items() <= one.labels.items():
                    found += sign * one.value
    return int(found)


def test_two_captured_scrapes_of_mlserver(tmp_path: Path) -> None:
    """Also the failure that was the first of its kind between the two: its counter was not there before."""
    before, after = (PAYLOADS / "mlserver" / f"metrics_{name}.prom" for name in ("before", "after"))
    pages = parsed(two(tmp_path, before, after))
    good = grown(before, after, "model_infer_request_success_total")
    bad = grown(before, after, "model_infer_request_failure_total")
    assert totals(pages) == Ratio(good, good + bad) == Ratio(190, 201)
    assert {one.series.version for page in pages for one in page.records if one.value == Ratio(0, 1)} == {"v3"}
    name = "rest_server_request_duration_seconds_bucket"
    for edge, n in durations(pages).items():
        le = "+Inf" if edge == math.inf else repr(edge)
        paths = ("/v2/models/{model_name}/infer", "/v2/models/{model_name}/versions/{model_version}/infer")
        below = sum(n for other, n in durations(pages).items() if other <= edge)
        assert below == sum(grown(before, after, name, path=path, le=le) for path in paths), (edge, n)
    assert sum(durations(pages).values()) == 201


@pytest.mark.parametrize(
    ("flavour", "good", "bad", "slow"),
    [
        ("seldon", 40 + 2 + 20, 2 + 2, {0.005: 40, 0.5: 0}),
        ("kserve", 80 + 20, 3 + 0, {0.005: 80}),
        ("triton", 40, 3, {}),
        ("torchserve", 25 + 7, 1, {}),
    ],
)
def test_two_scrapes_of_each_other_server(
    flavour: str, good: int, bad: int, slow: dict[float, int], tmp_path: Path
) -> None:
    """Codes of HTTP and gRPC mean what they mean; averages are no latency; Knative's milliseconds are seconds."""
    folder = PAYLOADS / "serving"
    pages = parsed(two(tmp_path, folder / f"{flavour}_before.prom", folder / f"{flavour}_after.prom"))
    assert totals(pages) == Ratio(good, good + bad)
    assert durations(pages) == {edge: n for edge, n in slow.items() if n}
    if flavour == "kserve":
        assert durations(pages, "phase=preprocess") == {0.005: 100}


def test_one_moment_says_that_it_counts_nothing() -> None:
    pages = parsed(PAYLOADS / "mlserver" / "metrics_after.prom")
    assert totals(pages) == Ratio()
    assert "holds one moment only" in " ".join(reasons(pages))


def test_an_import_takes_scrapes_of_a_known_server_for_its_own(tmp_path: Path) -> None:
    """Exposition text of any system is read by prometheus, but not where its system is known."""
    empty = configuration.parse("", tmp_path)
    for path in sorted((PAYLOADS / "serving").iterdir()):
        item = _files.item(path, Given())
        assert prometheus.recognise(item) is (path.suffix == ".prom")
        assert serving.recognise(item) is (path.suffix != ".md")
    for name in ("seldon_after.prom", "payloads.jsonl", "inferenceservices.json"):
        [found] = exported.recognise([PAYLOADS / "serving" / name], empty, Given(component="fraud"), None)
        assert found.source is not None, found.refused
        assert found.source.common.connector == "serving"
    app = _files.item(PAYLOADS / "prometheus" / "app_text_0.0.4.prom", Given())
    assert prometheus.recognise(app)
    assert not serving.recognise(app)


# --- looking at a server


class Looking:
    """A server that is looked at again and again, as a source with the memory of its own."""

    def __init__(self, server: ModelServer, **keys: Any) -> None:
        self.server = server
        self.keys = keys
        self.shelf = Shelf()
        self.asked = 0
        self.gaps: list[Gap] = []

    def at(self, *times: int, keep: bool = True) -> Looking:
        common = self.keys.get("common", FRAUD)
        own = {name: value for name, value in self.keys.items() if name != "common"}
        with virtual(PATIENT), serve(self.server.answer) as running:
            given = serving.Config(common, f"{running.url}/metrics", **own)
            for now in times:
                running.asked.clear()
                self.server.now = float(now)
                pages = list(serving.fetch(given, self.shelf.pull(now, keep=keep)))
                self.gaps += [gap for page in pages for gap in page.gaps]
                self.shelf.take(pages)
        self.asked = len(running.asked)
        return self

    def total(self) -> Ratio:
        return sum(self.shelf.ratios().values(), Ratio())

    def covered(self) -> set[int]:
        """The seconds that are vouched for."""
        spans = [one for one in self.shelf.covered if one.signal == "request_success"]
        return {second for one in spans for second in range(one.since, one.until)}


def truth(workers: Sequence[Worker], since: float, until: float, model: str = "") -> Ratio:
    done = [one for worker in workers for one in worker.done if since <= one[0] < until and model in one[1]]
    return Ratio(sum(one[2] for one in done), len(done))


def test_looks_add_up_to_the_requests_between_them() -> None:
    """The first look counts nothing; then every request once, in the bucket of the look that saw it."""
    worker = work(T0 - 3000, T0 + 3600, 5)
    looking = Looking(ModelServer([worker])).at(*range(T0, T0 + 3001, 60))
    assert looking.total() == truth([worker], T0, T0 + 3000 - 0.001)
    assert looking.shelf.ratios() == {at: truth([worker], at, at + 300) for at in range(T0, T0 + 3000, 300)}
    waits = [one[3] for one in worker.done if T0 <= one[0] < T0 + 3000]
    places = Counter(np.searchsorted(EDGES, waits, side="left").tolist())
    assert dict(looking.shelf.histogram().counts) == dict(places)
    assert looking.covered() == set(range(T0, T0 + 3000))
    print(f"a look makes {looking.asked} requests; the fewest possible are 1")
    assert looking.asked == 1


def test_the_same_look_again_counts_once() -> None:
    worker = work(T0 - 3000, T0 + 3600, 5)
    looking = Looking(ModelServer([worker])).at(T0, T0 + 300)
    before = looking.total()
    assert looking.at(T0 + 300, T0 + 301).total() == before
    assert looking.asked == 0


def test_lost_memory_costs_one_interval_and_never_a_number() -> None:
    worker = work(T0 - 3000, T0 + 3600, 5)
    looking = Looking(ModelServer([worker])).at(T0, T0 + 300).at(T0 + 600, keep=False).at(T0 + 900)
    expected = [truth([worker], T0 + 300 * n, T0 + 300 * n + 300) for n in (0, 2)]
    assert looking.total() == sum(expected, Ratio())
    assert not looking.covered() & set(range(T0 + 300, T0 + 600))


def test_a_look_that_comes_too_late_counts_nothing_and_leaves_a_gap() -> None:
    worker = work(T0 - 3000, T0 + 3600, 5)
    looking = Looking(ModelServer([worker])).at(T0, T0 + 1500, T0 + 1800)
    assert looking.total() == truth([worker], T0 + 1500, T0 + 1800)
    assert looking.covered() == set(range(T0 + 1500, T0 + 1800))
    found = {(one.since, one.until, one.signal) for one in looking.gaps}
    assert found == {(T0, T0 + 1500, signal) for signal in ("request_success", "latency")}


def test_a_restart_loses_only_what_nobody_saw() -> None:
    """The new process began between two looks: all it counted came since."""
    old, new = work(T0 - 900, T0 + 430, 6), work(T0 + 450, T0 + 3600, 7)
    server = ModelServer([old])
    looking = Looking(server).at(T0, T0 + 300)
    server.workers = [new]
    looking.at(T0 + 600, T0 + 900)
    seen = [truth([old], T0, T0 + 300), truth([new], T0 + 450, T0 + 900)]
    assert looking.total() == sum(seen, Ratio())
    assert not any("fell" in reason for reason in looking.shelf.reasons())


@pytest.mark.parametrize("seed", range(3))
def test_many_workers_behind_one_address_never_look_like_resets(seed: int) -> None:
    """A random one of three answers each look: what it did since its own last answer counts, and nothing else."""
    rng = random.Random(seed)
    workers = [work(T0 - 7200 * n - 60, T0 + 3600, 10 * seed + n, 0.2 * (n + 1)) for n in range(3)]
    server = ModelServer(workers)
    order = [rng.choice(workers) for _ in range(60)]
    turns = iter(order)
    server.turn = lambda: next(turns)
    looking = Looking(server, common=Common("serving", "models", component=("fraud",), every=60))
    looking.at(*range(T0, T0 + 3600, 60))
    seen: dict[int, int] = {}
    expected = Ratio()
    for number, worker in enumerate(order):
        at, last = T0 + 60 * number, seen.get(id(worker))
        if last is not None and at - last <= BRIDGE:
            expected += truth([worker], last - 0.001, at - 0.001)
        seen[id(worker)] = at
    assert looking.total() == expected
    assert expected.total > 500
    everything = truth(workers, T0, T0 + 3600)
    assert looking.total().total <= everything.total
    counts = [sum(one[0] < T0 + 60 * n for one in worker.done) for n, worker in enumerate(order)]
    naive = sum(after if after < before else after - before for before, after in pairwise(counts))
    assert naive > 2 * everything.total, "the rule for resets would have counted far too much"
    missing = [n for n in range(3) if workers[n] not in order[-9:]]
    assert looking.covered() <= set(range(T0, T0 + 3600))
    assert missing or looking.covered()


def test_a_fall_in_one_process_is_another_process_and_not_added() -> None:
    """Two workers forked in the same moment: nothing but the fall tells them apart."""
    first, second = work(T0 - 600, T0 + 3600, 8, 2.0), work(T0 - 600, T0 + 3600, 9, 0.1)
    server = ModelServer([first])
    for one in (first, second):
        one.done.insert(0, (T0 - 599.5, "fraud", True, 0.05))
        one.done.insert(0, (T0 - 599.5, "fraud", False, 0.05))
        one.done = [d for d in one.done if d[0] > T0 - 599.6]
    looking = Looking(server).at(T0, T0 + 300)
    before = looking.total()
    server.workers = [second]
    looking.at(T0 + 600)
    assert looking.total() == before
    assert any("another process answered at the same address" in reason for reason in looking.shelf.reasons())


def test_nameless_workers_count_nothing_around_a_fall() -> None:
    """Neither start nor creation is told: for ten minutes after a fall no difference can be trusted."""
    first, second = work(T0 - 600, T0 + 9000, 8, 2.0), work(T0 - 600, T0 + 9000, 9, 0.1)
    first.named = second.named = False
    server = ModelServer([first])
    looking = Looking(server).at(T0, T0 + 300)
    before = looking.total()
    assert before == truth([first], T0, T0 + 300)
    server.workers = [second]
    looking.at(T0 + 600)
    server.workers = [first]
    looking.at(T0 + 900, T0 + 1200)
    assert looking.total() == before
    looking.at(T0 + 1500, T0 + 1800)
    assert looking.total() == before + truth([first], T0 + 1500, T0 + 1800)


def test_a_single_process_that_fell_began_again(tmp_path: Path) -> None:
    """Triton says nothing of its start: its counters fell from 110 to 70 because it began again."""
    folder = PAYLOADS / "serving"
    pages = parsed(two(tmp_path, folder / "triton_after.prom", folder / "triton_before.prom"))
    assert totals(pages) == Ratio(70, 72)


def test_two_models_of_one_server_are_two_components() -> None:
    """Errors by model; the latency of a server with two models belongs to none of them."""
    worker = work(T0 - 900, T0 + 900, 4, models=("fraud-a", "risk"))
    rules = (Rule(("fraud",), {"model": "fraud*"}), Rule(("risk",), {"model": "risk"}))
    server = ModelServer([worker])
    looking = Looking(server, common=Common("serving", "models", map=rules)).at(T0, T0 + 300)
    facts = [one for piece in looking.shelf.slices.values() for one in piece]
    found = {one.series.component: one.value for one in facts if one.series.signal == "request_success"}
    assert found == {"fraud": truth([worker], T0, T0 + 300, "fraud-a"), "risk": truth([worker], T0, T0 + 300, "risk")}
    assert {one.series.component for one in facts if one.series.signal == "latency"} == {""}


def test_models_are_chosen_by_globs() -> None:
    worker = work(T0 - 900, T0 + 900, 4, models=("fraud-a", "risk"))
    looking = Looking(ModelServer([worker]), models=("fraud*",)).at(T0, T0 + 300)
    assert looking.total() == truth([worker], T0, T0 + 300, "fraud-a")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("<html>login</html>", SourceRefused, "something else than metrics"),
        ('{"detail": "x"}', SourceRefused, "something else than metrics"),
        ("# TYPE http_requests_total counter\nhttp_requests_total 3\n", SourceRefused, "no metrics of an inference"),
        ("# TYPE model_infer_request_success_total counter\nmodel_infer_requ", SourceDown, "cut off or none"),
        ("", SourceDown, "cut off or none"),
    ],
)
def test_an_answer_that_is_no_metrics_stops_the_source(text: str, error: type[Exception], said: str) -> None:
    server = ModelServer(text=text)
    with pytest.raises(error, match=said):
        Looking(server).at(T0)


def test_half_a_number_is_no_count() -> None:
    text = '# TYPE nv_inference_request_success counter\nnv_inference_request_success{model="m"} '
    server = ModelServer(text=f"{text}1\n")
    looking = Looking(server).at(T0)
    server.text = f"{text}2.5\n"
    looking.at(T0 + 300)
    assert looking.total() == Ratio()
    assert any("did not grow by a whole number" in reason for reason in looking.shelf.reasons())


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-3", "9e999", "1e300"])
def test_what_is_no_count_counts_nothing_and_other_models_do(value: str) -> None:
    name = "nv_inference_request_success"
    rules = (Rule(("fraud",), {"model": "good"}), Rule(("odd",), {"model": "odd"}))
    server = ModelServer()
    looking = Looking(server, common=Common("serving", "models", map=rules))
    for number, odd in enumerate(("1", value, value)):
        server.text = f'# TYPE {name} counter\n{name}{{model="good"}} {4 * number}\n{name}{{model="odd"}} {odd}\n'
        looking.at(T0 + 300 * number)
    json.dumps(looking.shelf.state, allow_nan=False)
    facts = [one for piece in looking.shelf.slices.values() for one in piece]
    assert [(one.series.component, one.value) for one in facts] == [("fraud", Ratio(4, 4))] * 2


def test_more_series_than_can_be_remembered_are_refused_and_not_miscounted() -> None:
    lines = [f'nv_inference_request_success{{model="m{n}",version="1"}} {n}' for n in range(12_000)]
    with pytest.raises(SourceRefused, match="choose some with models"):
        Looking(ModelServer(text="# TYPE nv_inference_request_success counter\n" + "\n".join(lines) + "\n")).at(T0)


def test_hostile_names_stay_data(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>]]>=cmd()"
    for number, n in enumerate((1, 5)):
        text = f'# TYPE nv_inference_request_success counter\nnv_inference_request_success{{model="{name}"}} {n}\n'
        (tmp_path / f"{number}.prom").write_text(text)
        os.utime(tmp_path / f"{number}.prom", (T0 + 60 * number,) * 2)
    [page] = parsed(tmp_path, common=Common("serving", "x"))
    [fact] = page.records
    assert fact.series.labels == (("model", name),)  # type: ignore[union-attr]
    assert fact.value == Ratio(4, 4)  # type: ignore[union-attr]


def test_every_status_means_something_and_can_be_told_otherwise(tmp_path: Path) -> None:
    def counted(code: str, **status: Any) -> tuple[Ratio, dict[str, int]]:
        for number, n in enumerate((0, 7)):
            line = f'seldon_model_infer_total{{model="m",method_type="x",code="{code}"}} {n}\n'
            (tmp_path / f"{number}.prom").write_text(f"# TYPE seldon_model_infer_total counter\n{line}")
            os.utime(tmp_path / f"{number}.prom", (T0 + 60 * number,) * 2)
        pages = parsed(tmp_path, common=Common("serving", "x", component=("m",), status=status))
        return totals(pages), reasons(pages)

    for word, outcome in STATUS.items():
        code = word.replace("xx", "03")
        expected = {"good": Ratio(7, 7), "bad": Ratio(0, 7)}.get(outcome, Ratio())
        assert counted(code)[0] == expected, word
    total, said = counted("teapot")
    assert total == Ratio()
    assert any('"teapot" is unknown' in reason for reason in said)
    assert counted("teapot", teapot="bad")[0] == Ratio(0, 7)
    assert counted("404", **{"404": "bad"})[0] == counted("404", **{"4xx": "bad"})[0] == Ratio(0, 7)


# --- settings


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "neither url, prometheus_url"),
        ({"url": "http://a", "prometheus_url": "http://b"}, "twice"),
        ({"prometheus_url": "http://b"}, "set flavour"),
    ],
)
def test_settings_that_cannot_be_read_are_one_sentence(keys: dict[str, str], said: str) -> None:
    with pytest.raises(SourceRefused, match=said):
        list(serving.fetch(serving.Config(FRAUD, **keys), Pull(T0, T0 + 60, T0 + 60)))  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", [{"select": "namespace=x"}, {"select": "{a=}"}, {"timeout": "0s"}])
def test_settings_that_mean_nothing_do_not_load(keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        serving.Config(FRAUD, "http://a", **keys)  # type: ignore[arg-type]


# --- through the store


def test_through_the_store_a_look_counts_once_and_the_token_stays_secret(tmp_path: Path) -> None:
    worker = work(T0 - 900, T0 + 900, 4)
    server = ModelServer([worker], index=[{"name": "fraud", "version": "1", "state": "READY", "reason": ""}])
    with virtual(), open_store(tmp_path / "t.duckdb") as store, serve(server.answer) as running:
        given = config(f"{running.url}/metrics", server=running.url, token_env=TOKEN_ENV)
        for now in (T0, T0 + 60, T0 + 60, T0 + 120):
            server.now = float(now)
            outcome = collect.pull(store, Source(given.common, serving, given), now)  # type: ignore[arg-type]
            assert outcome.error == ""
        reader = Reader(store)
        found = {}
        for signal in ("request_success", "availability"):
            ids = [kept.id for kept in reader.series(signal=signal, component="fraud")]
            merges = [one[0] for one in reader.totals("ratio", ids, [(0, 1 << 40)]).values() if one[0]]
            found[signal] = Ratio(*map(sum, zip(*merges, strict=True)))
        assert found["request_success"] == truth([worker], T0, T0 + 119.999)
        assert found["availability"] == Ratio(3, 3)
    sent = {asked.path: asked.headers.get("authorization", "") for asked in running.asked}
    assert sent.pop("/metrics") == f"Bearer {TOKEN}"
    assert set(sent.values()) == {""}
    assert TOKEN.encode() not in (tmp_path / "t.duckdb").read_bytes()
