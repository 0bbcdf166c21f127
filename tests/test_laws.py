"""The laws of the store through real connectors: files and servers that hold the same are the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest

from tandem import collect, connect, exported, report
from tandem import config as configuration
from tandem.config import Config
from tandem.connect import Given
from tandem.records import Covered, Event, Fact, Page, Ratio, Series
from tandem.report import Window
from tandem.store.file import Store, StoreRefused, open_store
from tandem.store.read import Reader
from tests import fakes
from tests.environments import environment
from tests.fakes import NOW, saying, source
from tests.faults_prometheus import DAY, answer_of, small_shop
from tests.github_server import Repository, serving
from tests.mlflow_replay import Replay, Running
from tests.replay import serve

HERE = Path(__file__).parent


def written(folder: Path, text: str) -> Config:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tandem.toml"
    path.write_text(dedent(text))
    return configuration.load(path)


def taken(store: Store, config: Config, path: Path, now: int, given: Given = Given()) -> list[collect.Outcome]:  # noqa: B008 - frozen
    """What `tandem import` does."""
    outcomes = []
    for found in exported.recognise([path], config, given, None):
        assert found.item is not None, found.refused
        assert found.source is not None, found.refused
        outcomes.append(collect.import_item(store, found.source, found.item, now))
    for outcome in outcomes:
        assert not outcome.failed, outcome
    return outcomes


def pulled(store: Store, config: Config, now: int) -> list[collect.Outcome]:
    """What `tandem sync` does."""
    outcomes = collect.sync(store, config, now)
    for outcome in outcomes:
        assert not outcome.failed, outcome
    return outcomes


def digest(store: Store, as_of: int | None = None) -> str:
    return Reader(store, as_of).digest()


Step = Callable[[Store], object]


def every_way(folder: Path, pull: Step, take: Step, *, alone: bool = True) -> dict[str, str]:
    """Digests of stores filled by a pull and an import in every order, and each of them twice."""
    ways: dict[str, Sequence[Step]] = {
        "pull, import": (pull, take), "import, pull": (take, pull), "both twice": (take, pull, pull, take),
    }  # fmt: skip
    if alone:
        ways |= {"pull": (pull,), "pull, pull": (pull, pull), "import": (take,), "import, import": (take, take)}
    found = {}
    for name, steps in ways.items():
        with open_store(folder / f"{name}.duckdb") as store:
            for step in steps:
                step(store)
            found[name] = digest(store)
    return found


# -- law 2: an exported file and a pull of the same objects are the same objects


def test_github_pulled_and_imported_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "not-a-secret")
    repository = Repository()
    for number in range(40):
        repository.run(100 + number, NOW - 86400 + 1800 * number, "failure" if number % 7 == 0 else "success")
    repository.rerun(107, NOW - 40000, "success")
    repository.runs[107][-1]["previous_attempt_url"] = "https://api.github.com/repos/acme/checkout/attempts/1"
    repository.run(200, NOW - 500, "cancelled")
    for number in range(4):
        repository.deploy(300 + number, NOW - 70000 + 9000 * number, ref=f"v{number}")
        repository.status(300 + number, NOW - 69000 + 9000 * number, "in_progress")
        repository.status(300 + number, NOW - 68500 + 9000 * number, "failure" if number == 2 else "success")
    repository.release(7, NOW - 50000, "v2")
    dump = tmp_path / "dump"
    dump.mkdir()
    runs = [attempt for attempts in repository.runs.values() for attempt in attempts]
    (dump / "runs.json").write_text(json.dumps({"total_count": len(runs), "workflow_runs": runs}))
    (dump / "deployments.json").write_text(json.dumps(list(repository.deployments.values())))
    statuses = [status for some in repository.statuses.values() for status in some]
    (dump / "deployment_statuses.json").write_text(json.dumps(statuses))
    (dump / "releases.json").write_text(json.dumps(repository.releases))
    with serving(repository) as url:
        config = written(
            tmp_path / "c",
            f"""
            [[source]]
            connector = "github"
            name = "ci"
            url = "{url}"
            repository = "acme/checkout"
            component = "checkout-api"
            token_env = "GITHUB_TOKEN"
            """,
        )
        ways = every_way(
            tmp_path, lambda store: pulled(store, config, NOW), lambda store: taken(store, config, dump, NOW)
        )
    imported = {name: ways.pop(name) for name in ("import", "import, import")}
    assert len(set(ways.values())) == 1, ways
    assert len(set(imported.values())) == 1, imported


def prometheus_config(folder: Path, url: str, component: str = "shop") -> Config:
    return written(
        folder,
        f"""
        [[source]]
        connector = "prometheus"
        name = "prod"
        url = "{url}"
        since = "12h"
          [[source.signal]]
          component = "{component}"
          signal = "availability"
          up = 'up{{job="shop"}}'
          [[source.signal]]
          component = "{component}"
          signal = "request_success"
          total = 'requests_total{{job="shop"}}'
          bad = 'errors_total{{job="shop"}}'
        """,
    )


def test_prometheus_pulled_and_imported_is_one(tmp_path: Path) -> None:
    stored = small_shop()
    now = DAY + 9 * 3600
    dump = tmp_path / "dump"
    dump.mkdir()
    for number, (labels, samples) in enumerate(stored):
        values = [[at, str(int(value))] for at, value in samples]
        told = {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": labels, "values": values}]}}
        (dump / f"{number}.json").write_text(json.dumps(told))
    with serve(answer_of(stored)) as server:
        config = prometheus_config(tmp_path / "c", server.url)
        ways = every_way(
            tmp_path, lambda store: pulled(store, config, now), lambda store: taken(store, config, dump, now)
        )
        with open_store(tmp_path / "pull.duckdb") as store:
            found = report.show(_context(config, store), "shop", Window(DAY, DAY + 9 * 3600), now=now)
    assert len(set(ways.values())) == 1, ways
    by_name = {one["signal"]: (one["good"], one["total"]) for one in found["signals"]}
    assert by_name["availability"] == (537, 540)
    total, bad = 199 * 3 + 339 * 5, 199 // 10 + 339 // 20
    assert by_name["request_success"] == (total - bad, total)


class _Context:
    def __init__(self, config: Config, store: Store) -> None:
        self.config, self.store = config, store


def _context(config: Config, store: Store) -> Any:
    return _Context(config, store)


def shown(store: Store, config: Config, component: str, now: int = NOW, **asked: Any) -> dict[str, Any]:
    window = asked.pop("window", Window(now - 86400, now))
    return report.show(_context(config, store), component, window, now=now, **asked)


def signal(answer: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [one for one in answer["signals"] if one["signal"] == name]
    return found


def test_mlflow_pulled_and_imported_is_one(tmp_path: Path) -> None:
    replay = Replay()
    folder = tmp_path / "mlruns"
    replay.write_folder(folder)
    newest = max(row["end_time"] or row["start_time"] for row in replay.runs.values()) // 1000
    now = newest + 7200
    with Running(replay) as running:
        config = written(
            tmp_path / "c",
            f"""
            [[source]]
            connector = "mlflow"
            name = "registry"
            url = "{running.url}"
            since = "800d"
            component = "fraud-detector"
            """,
        )
        ways = every_way(
            tmp_path, lambda store: pulled(store, config, now), lambda store: taken(store, config, folder, now)
        )
        with open_store(tmp_path / "both twice.duckdb") as store:
            found = shown(store, config, "fraud-detector", now, window=Window(now - 400 * 86400, now))
    imported = {name: ways.pop(name) for name in ("import", "import, import")}
    assert len(set(imported.values())) == 1, imported
    assert ways["pull"] == ways["pull, pull"]
    assert ways["pull, import"] == ways["import, pull"] == ways["both twice"]
    versions = [(one["version"], one["aliases"]) for one in found["versions"]]
    assert len(versions) == len(replay.versions)
    told = {(model, alias): version for model, some in replay.aliases.items() for alias, version in some.items()}
    assert {(alias, version) for (_, alias), version in told.items()} == {
        (alias, version) for version, aliases in versions for alias in aliases
    }


# -- law 2: the same file by import and by sync is the same slice


REPORT = """<testsuite name="unit" timestamp="2026-09-20T10:00:00Z">
<testcase classname="a" name="one" time="0.5"/><testcase classname="a" name="two" time="0.1"><failure/></testcase>
</testsuite>"""


def junit_config(folder: Path, component: str = "api", more: str = "") -> Config:
    return written(
        folder,
        f"""
        [[source]]
        connector = "junit"
        name = "tests"
        path = "reports/*.xml"
        component = "{component}"
        {more}
        """,
    )


def test_a_junit_file_by_import_and_by_sync_is_one_slice(tmp_path: Path) -> None:
    config = junit_config(tmp_path)
    (tmp_path / "reports").mkdir()
    report_file = tmp_path / "reports" / "a.xml"
    report_file.write_text(REPORT)
    os.utime(report_file, (NOW - 3600, NOW - 3600))
    ways = every_way(
        tmp_path, lambda store: pulled(store, config, NOW), lambda store: taken(store, config, report_file, NOW)
    )
    assert len({ways["pull, import"], ways["import, pull"], ways["both twice"], ways["pull"]}) == 1, ways
    with open_store(tmp_path / "both twice.duckdb") as store:
        found = shown(store, config, "api", window=Window(NOW - 10 * 86400, NOW))
    assert [(one["good"], one["total"]) for one in found["signals"] if one["signal"] == "test_success"] == [(1, 2)]
    assert [one["title"] for one in found["events"]] == ["unit: 1 of 2 tests failed", "a.two failed"], "each once"


LOG = "prediction_id,ts,predicted,score,label,country\n"


def log_lines(begin: int, end: int, label: Callable[[int], str] = lambda n: str(n % 3 // 2)) -> str:
    return "".join(
        f"p{n},{NOW - 86400 + 10 * n},{n % 2},{(n * 37 % 100) / 100},{label(n)},{'DE' if n % 4 else 'FR'}\n"
        for n in range(begin, end)
    )


def log_config(folder: Path, component: str = "fraud", more: str = "") -> Config:
    return written(
        folder,
        f"""
        [[source]]
        connector = "predictions"
        name = "log"
        path = "log/*.csv"
        component = "{component}"
        task = "binary"
        id = "prediction_id"
        time = "ts"
        prediction = "predicted"
        score = "score"
        label = "label"
        segments = ["country"]
        time_unit = "s"
        {more}
        """,
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.csv").write_text(LOG + log_lines(0, 1500))
    (folder / "b.csv").write_text(LOG + log_lines(1500, 2000))
    return folder


def test_a_prediction_log_by_import_and_by_sync_is_one(tmp_path: Path, log: Path) -> None:
    config = log_config(tmp_path)
    ways = every_way(
        tmp_path, lambda store: pulled(store, config, NOW), lambda store: taken(store, config, log / "a.csv", NOW)
    )
    imported = {name: ways.pop(name) for name in ("import", "import, import")}
    assert len(set(imported.values())) == 1, imported
    assert len(set(ways.values())) == 1, ways
    with open_store(tmp_path / "both twice.duckdb") as store:
        assert shown(store, config, "fraud")["quality"]["predictions"] == 2000


def test_a_vanished_log_file_keeps_what_it_said_and_a_copy_counts_once(tmp_path: Path, log: Path) -> None:
    config = log_config(tmp_path)
    with open_store(config.store) as store:
        pulled(store, config, NOW)
        before = digest(store)
        shutil.copy(log / "a.csv", log / "copy.csv")
        pulled(store, config, NOW)
        assert digest(store) == before
        (log / "b.csv").unlink()
        (log / "a.csv").unlink()
        pulled(store, config, NOW)
        assert digest(store) == before
        assert shown(store, config, "fraud")["quality"]["predictions"] == 2000


def test_a_late_label_changes_the_bucket_of_its_prediction(tmp_path: Path) -> None:
    log, labels = tmp_path / "log", tmp_path / "labels"
    log.mkdir()
    labels.mkdir()
    (log / "a.csv").write_text(LOG.replace("label,", "") + f"p1,{NOW - 80000},1,0.9,DE\np2,{NOW - 40000},0,0.1,DE\n")
    (labels / "first.csv").write_text("prediction_id,label\np2,0\n")
    config = log_config(tmp_path, more='labels = "labels/*.csv"')
    early, late = Window(NOW - 80100, NOW - 79500), Window(NOW - 40200, NOW - 39600)
    with open_store(config.store) as store:
        pulled(store, config, NOW)
        load = store.version()
        assert [shown(store, config, "fraud", window=one)["quality"]["labels"] for one in (early, late)] == [0, 1]
        (labels / "second.csv").write_text("prediction_id,label\np1,0\n")
        pulled(store, config, NOW)
        after = [shown(store, config, "fraud", window=one)["quality"] for one in (early, late)]
        assert [(one["labels"], one["predictions"], one["accuracy"]) for one in after] == [(1, 1, 0.0), (1, 1, 1.0)]
        assert shown(store, config, "fraud", window=early, as_of=load)["quality"]["labels"] == 0


# -- laws 1 and 7: every earlier load is exact, on every tier


def test_every_earlier_load_gives_its_numbers_exactly(tmp_path: Path, log: Path) -> None:
    config = log_config(tmp_path)
    build = Event("build", "9", NOW - 7200, started=NOW - 7190, ended=NOW - 7100, outcome="bad", components=("api",))
    again = Event("build", "9", NOW - 7200, started=NOW - 900, ended=NOW - 600, attempt=2, components=("api",))
    api = Series("availability", component="api")

    def say(store: Store, *records: Any) -> None:
        one = source(saying([Page(list(records))]))
        assert not collect.pull(store, one, NOW).error

    steps: list[Step] = [
        lambda store: pulled(store, config, NOW),
        lambda store: say(store, build, *(Fact(api, NOW - 90000 + 300 * n, Ratio(n, n + 1)) for n in range(290))),
        lambda store: (log / "b.csv").write_text(LOG + log_lines(1500, 1990, lambda n: "1")),
        lambda store: pulled(store, config, NOW),
        lambda store: say(store, again, Fact(api, NOW - 89700, Ratio(0, 2))),
        lambda store: (log / "c.csv").write_text(LOG + log_lines(2000, 2100)),
        lambda store: pulled(store, config, NOW),
    ]
    with open_store(config.store) as store:
        known: dict[int, tuple[str, dict[str, Any]]] = {}
        for step in steps:
            step(store)
            known[store.version()] = (digest(store), shown(store, config, "fraud")["quality"])
        assert len(known) == 5
        for load, (told, quality) in known.items():
            assert digest(store, as_of=load) == told
            assert shown(store, config, "fraud", as_of=load)["quality"] == quality
    with open_store(config.store) as store:
        assert {load: digest(store, as_of=load) for load in known} == {load: told for load, (told, _) in known.items()}


# -- law 3: sources are never added to one another


def two_sources(folder: Path, first: dict[str, Any], second: dict[str, Any]) -> Config:
    """Two sources of one signal; the first has seen the earlier hour and a half, the second all of it."""
    api, hour = Series("availability", component="api"), NOW // 3600 * 3600 - 7200
    early = Page([Fact(api, hour + 300 * n, Ratio(9, 10)) for n in range(18)], covered=[Covered(hour, hour + 5400)])
    whole = Page([Fact(api, hour + 300 * n, Ratio(50, 100)) for n in range(24)], covered=[Covered(hour, hour + 7200)])
    return fakes.config(
        folder, source(saying([early]), name="one", scope="one", **first),
        source(saying([whole]), name="two", scope="two", **second),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "counts", "main", "witness"),
    [
        ({}, {}, (9 * 18 + 50 * 6, 10 * 18 + 100 * 6), "one", ("two", 1200, 2400)),
        ({}, {"primary": True}, (1200, 2400), "two", ("one", 162, 180)),
        ({"combine": "sum"}, {"combine": "sum"}, (9 * 18 + 50 * 24, 10 * 18 + 100 * 24), "one", ("two", 1200, 2400)),
        ({"combine": "sum"}, {}, (9 * 18 + 50 * 6, 10 * 18 + 100 * 6), "one", ("two", 1200, 2400)),
    ],
)
def test_two_sources_of_one_signal_never_add(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], counts: tuple[int, int], main: str,
    witness: tuple[str, int, int],
) -> None:  # fmt: skip
    config = two_sources(tmp_path, first, second)
    hour = NOW // 3600 * 3600 - 7200
    with open_store(config.store) as store:
        pulled(store, config, NOW)
        found = signal(shown(store, config, "api", window=Window(hour, hour + 7200)), "availability")
    assert (found["good"], found["total"]) == counts
    assert found["source"] == main
    assert [(one["source"], one["good"], one["total"]) for one in found["witnesses"]] == [witness]
    assert found["witnesses"][0]["difference"] == pytest.approx(
        witness[1] / witness[2] - counts[0] / counts[1], abs=1e-12
    )


def test_two_logs_of_one_model_never_add_in_its_quality(tmp_path: Path, log: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.csv").write_text(LOG + log_lines(0, 700, lambda n: "1"))
    block = log_config(tmp_path).path.read_text()
    second = block.replace('name = "log"', 'name = "second"').replace("log/*.csv", "other/*.csv")
    alone, config = log_config(tmp_path), written(tmp_path, block + second)
    with open_store(tmp_path / "alone.duckdb") as store:
        pulled(store, alone, NOW)
        expected = shown(store, alone, "fraud")
    with open_store(config.store) as store:
        pulled(store, config, NOW)
        found = shown(store, config, "fraud")
        assert found["quality"] == expected["quality"]
        overall = signal(found, "outcome")
        assert (overall["good"], overall["total"]) == tuple(
            signal(expected, "outcome")[one] for one in ("good", "total")
        )
        assert [one["source"] for one in overall["witnesses"]] == ["second"]


# -- law 8: finite numbers only


def test_what_cannot_be_counted_is_on_the_sources_page(tmp_path: Path) -> None:
    api = Series("availability", component="api")
    pages = [Page([
        Fact(api, NOW - 600, Ratio(5, 2)), Fact(api, NOW - 300, Ratio(-1, 2)), Fact(api, NOW + 9000, Ratio(1, 1)),
        Fact(api, NOW - 900, Ratio(1, 1)), Event("build", "1", NOW - 60, ended=NOW - 90, components=("api",)),
    ])]  # fmt: skip
    config = fakes.config(tmp_path, source(saying(pages)))
    with open_store(config.store) as store:
        collect.sync(store, config, NOW)
        [found] = report.sources(_context(config, store), Window(NOW - 86400, NOW), now=NOW).sources
        rejects = {(reason, n) for reason, _, n in found.rejects}
        counted = signal(shown(store, config, "api"), "availability")
    assert rejects == {
        ("more good than total", 1), ("a negative count", 1), ("a time in the future", 1), ("a negative duration", 1),
    }  # fmt: skip
    assert (counted["good"], counted["total"]) == (1, 1)


# -- law 9: versions of the file


def test_a_store_of_a_newer_tandem_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tandem.duckdb"
    open_store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'version'")
    with pytest.raises(StoreRefused, match=r"tandem\.duckdb was written by a newer Tandem; install that version"):
        open_store(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone() == ("99",)


@pytest.mark.slow
def test_the_file_opens_in_duckdb_1_5(tmp_path: Path, log: Path) -> None:
    config = log_config(tmp_path)
    with open_store(config.store) as store:
        pulled(store, config, NOW)
        expected = store.cursor().execute("SELECT sum(total)::BIGINT FROM ratio").fetchone()
    assert expected
    program = (
        "import duckdb, sys; assert duckdb.__version__.startswith('1.5'); "
        "store = duckdb.connect(sys.argv[1], read_only=True); "
        "print(store.execute('SELECT sum(total)::BIGINT FROM ratio').fetchone()[0])"
    )
    python = environment("duckdb", ["duckdb==1.5.*"])
    done = subprocess.run([str(python), "-c", program, str(config.store)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == expected[0]


# -- a changed configuration reads everything again


def test_another_component_in_the_config_moves_the_numbers(tmp_path: Path, log: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.xml").write_text(REPORT)
    stored, now = small_shop(), DAY + 9 * 3600
    with serve(answer_of(stored)) as server:
        kinds = {
            "junit": (lambda name: junit_config(tmp_path, name), "test_success", NOW),
            "predictions": (lambda name: log_config(tmp_path, name), "outcome", NOW),
            "prometheus": (
                lambda name: prometheus_config(tmp_path, server.url, name), "request_success", now,
            ),
        }  # fmt: skip
        for kind, (made, name, at) in kinds.items():
            window = Window(at - 5 * 86400, at)
            with open_store(tmp_path / f"{kind}.duckdb") as store:
                before = made("old")
                pulled(store, before, at)
                found = signal(shown(store, before, "old", at, window=window), name)
                counts = [found["good"], found["total"]]
                assert counts[1], kind
                load, config = store.version(), made("new")
                pulled(store, config, at)
                moved = signal(shown(store, config, "new", at, window=window), name)
                assert [moved["good"], moved["total"]] == counts, kind
                every = [one["component"] for one in report.listing(_context(config, store), window, now=at)]
                assert every == ["new"], kind
                earlier = signal(shown(store, before, "old", at, window=window, as_of=load), name)
                assert [earlier["good"], earlier["total"]] == counts, kind


# -- what vanished at a source


@pytest.mark.parametrize(("deletions", "left"), [("keep", (20, 30)), ("restate", (10, 20))])
def test_what_vanished_is_taken_back_only_where_the_source_says_so(
    tmp_path: Path, deletions: str, left: tuple[int, int]
) -> None:
    api = Series("availability", component="api")
    outside = Fact(api, NOW - 40 * 86400, Ratio(1, 1))
    builds = [
        Event("build", str(n), NOW - 1200, started=NOW - 1200, ended=NOW - 1000, components=("api",)) for n in (1, 2)
    ]
    said: list[Page] = [
        Page([outside]),
        Page([Fact(api, NOW - 1200, Ratio(10, 20)), Fact(api, NOW - 900, Ratio(10, 10)), *builds]),
    ]
    one = source(saying(said), deletions=deletions, overlap=3600)
    config = fakes.config(tmp_path, one)
    with open_store(config.store) as store:
        pulled(store, config, NOW)
        load, before = store.version(), digest(store)
        said[:] = [Page([Fact(api, NOW - 1200, Ratio(10, 20)), builds[0]])]
        pulled(store, config, NOW)
        found = shown(store, config, "api")
        assert tuple(signal(found, "availability")[key] for key in ("good", "total")) == left
        kept = 2 if deletions == "keep" else 1
        assert signal(found, "build_success")["total"] == kept
        assert len(found["events"]) == kept
        older = shown(store, config, "api", window=Window(NOW - 41 * 86400, NOW - 39 * 86400))
        assert signal(older, "availability")["total"] == 1
        assert digest(store, as_of=load) == before


@pytest.mark.parametrize("connector", ["github", "mlflow", "junit", "predictions", "prometheus"])
def test_restating_deletions_is_refused_where_a_pull_cannot_tell(tmp_path: Path, connector: str) -> None:
    block = '[[source]]\ndeletions = "restate"\n' + connect.load(connector).ABOUT.example
    if connector == "prometheus":
        assert written(tmp_path, block).sources[0].common.deletions == "restate"
        block = block.replace('"http://127.0.0.1:9090"', '"file:exports"', 1)
    with pytest.raises(configuration.ConfigError, match='deletions must be "keep"'):
        written(tmp_path, block)


def test_another_component_in_the_config_moves_builds_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "not-a-secret")
    replay = Replay()
    now = max(row["end_time"] or row["start_time"] for row in replay.runs.values()) // 1000 + 7200
    repository = Repository()
    for number in range(6):
        repository.run(100 + number, now - 20000 + 1800 * number, "failure" if number == 2 else "success")
    repository.runs[104][0]["head_branch"] = "topic"
    always = Window(0, now)

    def made(component: str, more: str = "") -> Config:
        return written(
            tmp_path,
            f"""
            [[source]]
            connector = "github"
            name = "ci"
            url = "{url}"
            repository = "acme/checkout"
            component = "{component}"
            token_env = "GITHUB_TOKEN"
            {more}

            [[source]]
            connector = "mlflow"
            name = "registry"
            url = "{running.url}"
            since = "800d"
            component = "{component}"
            """,
        )

    with serving(repository) as url, Running(replay) as running, open_store(tmp_path / "x.duckdb") as store:
        old = made("old")
        pulled(store, old, now)
        before, load = shown(store, old, "old", now, window=always), store.version()
        new = made("new")
        pulled(store, new, now)
        after = shown(store, new, "new", now, window=always)
        for part in ("signals", "versions", "samples", "events"):
            assert len(after[part]) == len(before[part]) > 0, part
        assert signal(after, "build_success")["total"] == signal(before, "build_success")["total"] == 6
        assert [one["component"] for one in report.listing(_context(new, store), always, now=now)] == ["new"]
        assert shown(store, old, "old", now, window=always, as_of=load) == before
        narrow = made("new", 'branches = ["main"]')
        pulled(store, narrow, now)
        assert signal(shown(store, narrow, "new", now, window=always), "build_success")["total"] == 5
