"""Lineage out of a store: as the pure chain over every event, as of a load, as JSON, text and on the command line."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from tandem import api, collect, lineage_json, report, traced, tracing
from tandem.cli import main
from tandem.config import Component, parse
from tandem.lineage import Known, Made, Numbering
from tandem.measure import Filters, Measures
from tandem.owner import Reading
from tandem.records import BUCKET, Event, Fact, Page, Ratio, Record, Sample, Series, labels_of
from tandem.shown import Unreadable, Window
from tandem.store import origins
from tandem.store.file import Store
from tandem.store.read import Reader
from tests import fakes
from tests.test_lineage import DATA, OTHER, RUN, RUN2, SHA

NOW = fakes.NOW
WINDOW = Window(NOW - 86400, NOW)
MODEL = Component("fraud-detector", "model", "checkout")
OF: Any = {"component": "fraud-detector"}
RUN3 = "wandb-5e4f3a2b1c"


def event(kind: str, key: str, ago: int, *, mine: bool = True, **more: Any) -> Event:
    labels = labels_of(more.pop("labels", {}))
    return Event(kind, key, NOW - ago, components=("fraud-detector",) if mine else ("other",), labels=labels,
                 environment=more.pop("environment", "production"), **more)  # fmt: skip


def registry() -> list[Record]:
    params = {"param.lr": "0.1", "param.depth": "6", "python": "3.11.4"}
    return [
        event("training", RUN, 9000, run=RUN, commit=SHA, data_version=DATA, title="nightly", labels=params),
        event("training", RUN2, 8000, run=RUN2, commit=OTHER, labels={"param.lr": "0.2", "param.depth": "6"}),
        event("training", RUN3, 7900, run=RUN3, outcome="bad"),
        event("release", "fraud/7", 7000, version="7", run=RUN, labels={"model": "fraud"}),
        event("release", "fraud/8", 6000, version="8", run=RUN2, labels={"model": "fraud"}),
        event("promotion", "champion:7", 5000, version="7", labels={"model": "fraud", "alias": "champion"},
              url="https://mlflow.example/#/models/fraud"),
        *(Sample(Series("sample", name=name, stage=stage, **OF), NOW - 8000 + step, value, run, step)
          for name, stage, run, values in (
              ("loss", "training", RUN, (0.9, 0.5, 0.25)), ("loss", "training", RUN2, (0.8, 0.6)),
              ("accuracy", "evaluation", RUN, (0.95,)), ("accuracy", "evaluation", RUN2, (0.95,)),
              ("f1", "evaluation", RUN2, (0.9,)))
          for step, value in enumerate(values)),
    ]  # fmt: skip


def others() -> list[Record]:
    return [
        event("commit", SHA, 9500, mine=False, commit=SHA, title="Weigh the late payments"),
        event("data_version", "d1", 9600, mine=False, data_version=DATA),
        event("validation", "v1", 6500, run=RUN, outcome="good"),
        event("deployment", "k1", 4000, commit=SHA),
        event("deployment", "staged", 3900, commit=SHA, environment="staging"),
        event("deployment", "7", 3800, version="7", url="javascript:alert(1)"),
    ]


def predicted(version: str = "7") -> list[Record]:
    return [Fact(Series("volume", component="fraud-detector", version=version), NOW - back, Ratio(10, 10))
            for back in range(BUCKET, 3600, BUCKET)]  # fmt: skip


def sources(*some: tuple[str, Sequence[Record]]) -> list[Any]:
    return [fakes.source(fakes.saying([Page(tuple(told))]), name=name, scope=name) for name, told in some]


def context(store: Store, folder: Path, some: Sequence[Any], model: Component = MODEL) -> Any:
    config = fakes.config(folder, *some, components=[model, Component("shop", "service", "checkout")])
    return SimpleNamespace(config=config, store=store, first_done=True, now=lambda: NOW, token="", local=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("traced")
    told = sources(("registry", registry()), ("others", others()), ("log", predicted()))
    with Store(folder / "tandem.duckdb") as store:
        found = context(store, folder, told)
        found.loads = []
        for one in told:
            assert [done.error for done in collect.sync(store, found.config, NOW, names=[one.name])] == [""]
            found.loads.append(store.version())
        yield found


def asked(made: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = lineage_json.answer(report.lineage(made, "fraud-detector", WINDOW, now=NOW, **more))
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    return {one["step"]: one["state"] for one in found["chain"]["links"]}


def parts(found: dict[str, Any], step: str) -> list[dict[str, Any]]:
    [link] = [one for one in found["chain"]["links"] if one["step"] == step]
    return list(link["parts"])


def test_the_serving_versions_chain_is_read_with_its_joins(made: Any) -> None:
    found = asked(made)
    assert (found["version"], found["versions"]) == ("7", ["8", "7"])
    assert found["reason"] == "it answered the newest predictions of this window that log counts"
    assert states(found) == dict.fromkeys(
        ("commit", "training", "data", "validation", "promotion", "serving"), "joined"
    )
    assert [(one["source"], one["rule"]) for one in parts(found, "serving")] == [("others", "commit")]
    assert found["chain"]["unknown"] == ["environment"]
    assert parts(found, "promotion")[0]["url"] == "https://mlflow.example/#/models/fraud"


def test_an_address_that_is_not_one_of_the_web_is_no_link(made: Any) -> None:
    [link] = [one for one in asked(made)["chain"]["links"] if one["step"] == "serving"]
    assert [(one["source"], one["url"]) for one in link["namesakes"]] == [("others", None), ("log", None)]
    assert "javascript" not in json.dumps(asked(made))
    assert lineage_json.safe("https://x.example/a b") == ""


def test_as_of_a_load_knows_what_was_known_then(made: Any) -> None:
    first, second, _ = made.loads
    found = asked(made, as_of=first)
    assert found["as_of"] == first
    assert states(found) == {"commit": "stated", "training": "joined", "data": "stated", "validation": "missing",
                             "promotion": "joined", "serving": "missing"}  # fmt: skip
    assert found["reason"] == "registry promoted it last as champion"
    assert states(asked(made, as_of=second))["serving"] == "joined"


def test_the_window_ends_what_is_known(made: Any) -> None:
    early = Window(NOW - 90_000, NOW - 6900)
    found = lineage_json.answer(report.lineage(made, "fraud-detector", early, version="7", now=NOW))
    assert states(found)["promotion"] == "missing"
    assert found["versions"] == ["7"]


def test_another_environment_has_its_own_deployments_and_the_same_origin(made: Any) -> None:
    found = asked(made, version="7", environment="staging")
    assert [one["key"] for one in parts(found, "serving")] == ["staged"]
    assert states(found)["training"] == "joined"


def test_unknown_models_versions_and_runs_are_named(made: Any) -> None:
    with pytest.raises(Unreadable, match="no model 'shop'; known are fraud-detector"):
        report.lineage(made, "shop", WINDOW, now=NOW)
    with pytest.raises(Unreadable, match="version '99' of fraud-detector; known are 8, 7"):
        asked(made, version="99")
    with pytest.raises(Unreadable, match="no training run 'nobody'"):
        asked(made, compare=(RUN, "nobody"))


# -- two runs


def test_two_runs_show_what_differs_and_count_what_does_not(made: Any) -> None:
    found = asked(made, compare=(RUN, f"registry:{RUN2}"))["compared"]
    assert (found["a"]["run"], found["b"]["run"], found["a"]["title"]) == (RUN, RUN2, "nightly")
    assert found["parameters"] == [{"name": "lr", "a": "0.1", "b": "0.2"}]
    assert found["environment"] == [{"name": "python", "a": "3.11.4", "b": None}]
    assert {one["name"]: (one["a"], one["b"]) for one in found["facts"]} == {
        "commit": (SHA, OTHER), "data_version": (DATA, None)}  # fmt: skip
    said = {one["name"]: [(one[side] or {}).get("value") for side in ("a", "b")] for one in found["metrics"]}
    assert said == {"f1": [None, 0.9], "loss": [0.25, 0.6]}
    [loss] = [one for one in found["metrics"] if one["name"] == "loss"]
    assert (loss["a"]["step"], loss["b"]["step"], loss["stage"]) == (2, 1, "training")
    assert found["same"] == {"parameters": 1, "environment": 0, "facts": 1, "metrics": 1}


def test_a_run_against_itself_differs_in_nothing(made: Any) -> None:
    found = asked(made, compare=(RUN, RUN))["compared"]
    assert [found[name] for name in ("parameters", "environment", "facts", "metrics")] == [[], [], [], []]


def test_one_id_in_two_systems_must_be_said_with_its_source(tmp_path: Path) -> None:
    told = sources(("a", [event("training", "12", 100, run="12", commit=SHA)]),
                   ("b", [event("training", "12", 90, run="12", commit=OTHER)]))  # fmt: skip
    with Store(tmp_path / "tandem.duckdb") as store:
        made = context(store, tmp_path, told)
        collect.sync(store, made.config, NOW)
        with pytest.raises(Unreadable, match="2 runs of fraud-detector are called '12'; say a:12 or b:12"):
            asked(made, compare=("12", "12"))
        assert asked(made, compare=("a:12", "b:12"))["compared"]["facts"][0]["b"] == OTHER


# -- configuration


def test_what_the_configuration_says_reaches_the_chain(made: Any) -> None:
    model = replace(
        MODEL, lineage=Numbering(("registry", "log")), version=(Made("7", run=RUN2, author="ana", reason="moved"),)
    )
    said = context(made.store, made.config.folder, made.config.sources, model)
    found = asked(said, version="7")
    assert parts(found, "serving")[0]["rule"] == "config"
    assert parts(found, "training")[0]["run"] == RUN2
    assert found["chain"]["configured"] == "ana: moved"


@pytest.mark.parametrize(("toml", "sentence"), [
    ('[[component.version]]\nname = "7"', "say what made it: run, commit, data_version or digest"),
    ('[[component.version]]\nname = "7"\nruns = "x"', 'the nearest known one is "run"'),
    ('[component.lineage]\nversions = ["registry", "log"]', 'names an unknown source "registry"'),
    ('[component.lineage]\nversions = ["registry"]', "at least two"),
    ('[[component.version]]\nname = "7"\nrun = "x"\n[[component.version]]\nname = "7"\nrun = "y"', "says 2 times"),
])  # fmt: skip
def test_a_mistake_in_the_configuration_is_one_sentence(tmp_path: Path, toml: str, sentence: str) -> None:
    source = '[[source]]\nconnector = "junit"\nname = "tests"\npath = "x"\n'
    with pytest.raises(ValueError, match="component") as no:
        parse(f'[[component]]\nname = "m"\nkind = "model"\n{toml}\n{source}', tmp_path / "tandem.toml")
    assert sentence in str(no.value)
    assert "\n" not in str(no.value)


def test_a_service_has_no_lineage(tmp_path: Path) -> None:
    text = '[[component]]\nname = "s"\n[[component.version]]\nname = "7"\nrun = "x"\n'
    with pytest.raises(ValueError, match="lineage and version are of a model"):
        parse(text, tmp_path / "tandem.toml")


# -- what the store reads is enough


def _anything(dice: random.Random) -> list[tuple[str, list[Event]]]:
    """Events of three sources that share identities, or names, by chance."""
    runs = [f"{dice.getrandbits(64):016x}a1" for _ in range(4)] + ["12", 'ru"n\\é']
    shas = [f"{dice.getrandbits(160):040x}" for _ in range(3)] + [""]
    hashes = [f"{dice.getrandbits(256):064x}" for _ in range(3)]
    digests = ["", "latest", *hashes, *(f"sha256:{one}" for one in hashes), f"shop/x@sha256:{hashes[0].upper()}"]
    plain = [f"{dice.getrandbits(128):032x}" for _ in range(3)]
    datas = [*plain, *(f"md5:{one}.dir" for one in plain), "november", ""]
    kinds = (
        "training",
        "training",
        "release",
        "promotion",
        "validation",
        "deployment",
        "data_version",
        "commit",
        "build",
    )
    found = []
    for source in ("a", "b", "c"):
        some = []
        for place in range(dice.randrange(3, 14)):
            kind = dice.choice(kinds)
            sha = dice.choice(shas)
            some.append(event(
                kind, f"{kind}-{place}", dice.randrange(1, 80_000), mine=dice.random() < 0.9,
                run=dice.choice([*runs, ""]), commit=sha[: dice.choice((40, 40, 12, 7))], digest=dice.choice(digests),
                data_version=dice.choice([*datas, f"{plain[0].upper()}, {datas[3]}"]),
                outcome=dice.choice(["good", "bad"]),
                version=dice.choice(["7", "8", ""]) if kind not in ("commit", "build", "data_version") else "",
                labels={"model": "fraud", "alias": dice.choice(["champion", ""])},
            ))  # fmt: skip
        found.append((source, some))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_gives_the_chain_of_everything(tmp_path: Path, seed: int) -> None:
    told = _anything(random.Random(seed))
    with Store(tmp_path / "tandem.duckdb") as store:
        made = context(store, tmp_path, sources(*told))
        collect.sync(store, made.config, NOW)
        measures = Measures(Reader(store), made.config, WINDOW, NOW, Filters())
        everything = [(measures.source_name(source), one) for source, one in sorted(
            measures.reader.events(0, NOW, newest=True), key=lambda row: measures.rank(row[0]))]  # fmt: skip
        mine = [pair for pair in everything
                if "fraud-detector" in pair[1].components or pair[1].kind in traced.ANYWHERE]  # fmt: skip
        kinds = {kind: sum(one.kind == kind and "fraud-detector" in one.components for _, one in everything)
                 for kind in {one.kind for _, one in everything}}  # fmt: skip
        whole = Known("fraud-detector", tuple(mine), {kind: n for kind, n in kinds.items() if n}, aliases=(
            "champion", "production", "prod", "live"))  # fmt: skip
        for version in ("7", "8"):
            assert traced.lineages(measures, [MODEL], version)["fraud-detector"].chain == tracing.chain(whole, version)


def test_what_was_said_of_an_earlier_attempt_or_taken_back_is_not_read(tmp_path: Path) -> None:
    again = [event("training", "t", 900, run=RUN, commit=SHA),
             event("training", "t", 900, run=RUN, commit=OTHER, attempt=2),
             event("release", "fraud/7", 800, version="7", run=RUN)]  # fmt: skip
    with Store(tmp_path / "tandem.duckdb") as store:
        made = context(store, tmp_path, sources(("registry", again)))
        collect.sync(store, made.config, NOW)
        found = asked(made)
    assert [one["commit"] for one in parts(found, "training")] == [OTHER]


def test_of_a_sweep_of_thousands_of_runs_of_one_commit_only_some_are_read(tmp_path: Path) -> None:
    ids = [f"{place:032x}a1" for place in range(3000)]
    sweep = [event("training", run, 70_000 - place, run=run, commit=SHA) for place, run in enumerate(ids)]
    sweep.append(event("release", "fraud/7", 10, version="7", run=ids[7], commit=SHA))
    sweep.append(event("release", "fraud/8", 9, version="8", commit=SHA))
    with Store(tmp_path / "tandem.duckdb") as store:
        made = context(store, tmp_path, sources(("registry", sweep)))
        collect.sync(store, made.config, NOW)
        begun = time.perf_counter()
        found = asked(made, version="7")
        took = time.perf_counter() - begun
        assert [one["run"] for one in parts(found, "training")] == [ids[7]]
        other = asked(made, version="8")
        [link] = [one for one in other["chain"]["links"] if one["step"] == "training"]
        assert link["state"] == "ambiguous"
        assert link["reason"].startswith(f"{origins.SIBLINGS + 1} or more runs are of the same commit")
        told = origins.origins(Reader(store), ["fraud-detector"], NOW, named={})[0]
        assert len(told) == 2 + origins.SIBLINGS + 1
    print(f"lineage among 3,000 runs of one commit: {took * 1000:.0f} ms")


# -- the same bytes


def test_show_holds_the_lineage_of_models_only(made: Any) -> None:
    shown = report.show(made, "fraud-detector", WINDOW, now=NOW)
    assert shown["lineage"] == asked(made)
    assert report.show(made, "fraud-detector", WINDOW, version="8", now=NOW)["lineage"]["version"] == "8"
    assert report.show(made, "shop", WINDOW, now=NOW)["lineage"] is None


def ask(made: Any, **params: Any) -> tuple[int, Any]:
    status, _, body = api.answer(made, "GET", "/api/v1/lineage", params, {})
    return status, json.loads(body)


def test_the_api_says_what_is_wrong_with_a_question(made: Any) -> None:
    assert ask(made) == (400, {"error": "A lineage is asked of one model: say model=NAME."})
    assert ask(made, model=["fraud-detector"], compare=[RUN])[1] == {
        "error": "Two runs are compared: say compare=RUN twice, not 1 times."}  # fmt: skip
    assert ask(made, model=["nope"])[0] == 404
    assert ask(made, model=["fraud-detector"], as_of=["99999"])[0] == 400


def test_the_command_and_the_api_answer_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = sources(("registry", registry()), ("others", others()))
    with Store(tmp_path / "tandem.duckdb") as store:
        collect.sync(store, context(store, tmp_path, told).config, NOW)
    toml = '[[component]]\nname = "fraud-detector"\nkind = "model"\n[[component.version]]\nname = "7"\nrun = "RUN"\n'
    (tmp_path / "tandem.toml").write_text(toml.replace("RUN", RUN))
    monkeypatch.chdir(tmp_path)
    since, until = str(WINDOW.since), str(WINDOW.until)
    words = ["lineage", "fraud-detector", "--version", "7", "--compare", RUN, RUN2, "--from", since, "--to", until]
    printed = CliRunner().invoke(main, [*words, "--as-of", "2", "--json"])
    assert (printed.exit_code, printed.stderr) == (0, "")
    params = {"model": ["fraud-detector"], "version": ["7"], "compare": [RUN, RUN2], "from": [since], "to": [until],
              "as_of": ["2"]}  # fmt: skip
    with Reading.open(parse(toml.replace("RUN", RUN), tmp_path / "tandem.toml"), lambda: NOW) as reading:
        status, _, body = api.answer(reading, "GET", "/api/v1/lineage", params, {})
    assert (status, printed.stdout) == (200, body.decode())
    text = CliRunner().invoke(main, words)
    assert text.exit_code == 0
    for said in (f"= training   {RUN}", "named by the configuration", "reproducible from", "loss (training)",
                 "0.25 at step 2", "the same: 1 fact, 1 metric, 1 parameter"):  # fmt: skip
        assert said in text.stdout
    wrong = CliRunner().invoke(main, ["lineage", "nobody"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.count("\n") == 1


def test_a_link_that_is_locked_to_a_version_puts_no_other_runs_beside_it(made: Any) -> None:
    locked = {"component": "fraud-detector", "version": "7"}
    asked_for = {"model": ["fraud-detector"], "version": ["7"]}
    assert api._wider(made, "/api/v1/lineage", locked, asked_for) == ""
    assert api._wider(made, "/api/v1/lineage", locked, asked_for | {"compare": [RUN, RUN2]}) == api.WIDER
    assert api._wider(made, "/api/v1/lineage", locked, asked_for | {"version": ["8"]}) == api.WIDER
