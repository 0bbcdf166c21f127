"""Objectives from OpenSLO, Sloth and Pyrra files, and back to OpenSLO."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem import openslo, openslo_text, times
from tandem.cli import main
from tandem.config import Config, ConfigError, load
from tandem.objectives import GAPS, Objective, OwnRule

FILES = Path(__file__).parent / "payloads" / "slo"
API = '[[component]]\nname = "checkout-api"\n'


def named(name: str) -> dict[str, Objective]:
    return {one.name: one for one in openslo.read((FILES / name).read_bytes())}


def rules(one: Objective) -> list[tuple[str, str, str, float]]:
    return [(rule.severity, rule.long, rule.short, float(rule.factor)) for rule in one.rule]


# -- reading


def test_openslo_with_references_windows_and_slices() -> None:
    found = named("openslo.yaml")
    assert set(found) == {"most", "nearly all", "answered"}
    most, nearly, answered = found["most"], found["nearly all"], found["answered"]
    assert (most.component, most.signal, most.threshold, most.target) == (
        "checkout-api", "latency", Fraction("0.3"), Fraction("0.99"))  # fmt: skip
    assert (nearly.threshold, nearly.target) == (1, Fraction("0.999")), "99.9 % is exactly 999 of 1,000"
    assert (most.window, most.seconds) == ("28d", 28 * 86400)
    assert rules(most) == [("page", "1h", "5m", 14.4), ("ticket", "3d", "6h", 1.0)]
    assert (answered.signal, answered.window, answered.timezone) == ("request_success", "month", "Europe/Berlin")
    assert (answered.slice, answered.slice_target) == ("5m", Fraction("0.95"))


def test_sloth_keeps_its_factors_of_thirty_days() -> None:
    found = named("sloth.yml")
    requests, background = found["requests"], found["background"]
    assert (requests.component, requests.target, requests.window) == ("checkout-api", Fraction("0.999"), "30d")
    tickets = [("ticket", "1d", "2h", 3.0), ("ticket", "3d", "6h", 1.0)]
    assert rules(requests) == [("page", "1h", "5m", 14.4), ("page", "6h", "30m", 6.0), *tickets]
    assert rules(background) == tickets, "its page alert is disabled"


def test_pyrra_keeps_its_factors_and_its_windows_scale() -> None:
    found = named("pyrra.yaml")
    errors, latency, up = found["checkout-errors"], found["checkout-latency"], found["checkout-up"]
    assert (errors.signal, errors.target, errors.window) == ("request_success", Fraction("0.995"), "28d")
    assert rules(errors) == [("page", "1h", "5m", 14.0), ("page", "6h", "30m", 7.0), ("ticket", "1d", "2h", 2.0),
                             ("ticket", "4d", "6h", 1.0)]  # fmt: skip
    assert (latency.signal, latency.threshold, latency.window) == ("latency", Fraction("0.3"), "14d")
    assert rules(latency) == [("page", "30m", "5m", 14.0), ("page", "3h", "15m", 7.0), ("ticket", "12h", "1h", 2.0),
                              ("ticket", "2d", "3h", 1.0)]  # fmt: skip
    assert up.signal == "availability"


def test_the_shares_of_the_budget_that_pyrras_rules_use() -> None:
    """2.0833 %, 6.25 %, 7.1429 % and 14.2857 % over 28 days: factor * long / window."""
    errors = named("pyrra.yaml")["checkout-errors"]
    shares = [float(rule.factor * rule.long / (28 * 86400)) * 100 for rule in errors.rules]
    assert shares == pytest.approx([2.0833, 6.25, 7.1429, 14.2857], abs=5e-5)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Config]:
    def of(text: str, **files: str) -> Config:
        for name, content in files.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        (tmp_path / "tandem.toml").write_text(text)
        return load(tmp_path / "tandem.toml")

    return of


def content(name: str) -> str:
    return (FILES / name).read_text()


def test_files_become_objectives_of_the_configuration(read: Callable[..., Config]) -> None:
    known = read(API + '[slo]\nfiles = ["*.yaml"]\n', a=content("pyrra.yaml"), b=content("sloth.yml"))
    assert [one.name for one in known.objectives] == [
        "checkout-errors", "checkout-latency", "checkout-up", "requests", "background"]  # fmt: skip


def test_a_map_says_what_they_are_of(read: Callable[..., Config]) -> None:
    mapped = """
[slo]
files = ["a.yaml"]
[[slo.map]]
match = { service = "checkout*", name = "*-errors" }
signal = "availability"
factors = "reachable"
[[slo.map]]
component = "shop"
threshold = 1
match = { name = "*latency" }
"""
    known = read(API + '[[component]]\nname = "shop"\n' + mapped, a=content("pyrra.yaml"))
    found = {one.name: one for one in known.objectives}
    assert (found["checkout-errors"].signal, found["checkout-errors"].rule) == ("availability", ())
    assert found["checkout-errors"].factors == "reachable"
    assert (found["checkout-latency"].component, found["checkout-latency"].threshold) == ("shop", 1)
    assert found["checkout-up"].component == "checkout-api"


def slo(**spec: Any) -> str:
    given: dict[str, Any] = {
        "service": "checkout-api", "indicator": {"spec": {"ratioMetric": {}}}, "budgetingMethod": "Occurrences",
        "timeWindow": [{"duration": "28d", "isRolling": True}], "objectives": [{"target": 0.99}],
    }  # fmt: skip
    return yaml.safe_dump({"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": "x"}, "spec": given | spec})


CALENDAR = {"duration": "1M", "isRolling": False, "calendar": {"startTime": "2026-01-15 00:00:00", "timeZone": "UTC"}}
REFUSED = {
    "": "it holds no objects",
    "a: [": "it is not YAML: expected the node content, but found '<stream end>' in line 1",
    "\x00": "it is not YAML",
    "a: !!python/object/apply:os.system [ls]": "it is not YAML: could not determine a constructor for the tag",
    "just text": "it holds no objects",
    "kind: SLO": "it is neither OpenSLO v1 nor a file of Sloth or Pyrra",
    "apiVersion: openslo/v1alpha\nkind: SLO": '"openslo/v1alpha" is not read; write openslo/v1',
    slo(service=""): "service must be text",
    slo(objectives={}): "objectives must be a list of tables",
    slo(objectives=[{"target": "much"}]): '"x": target must be a number',
    slo(objectives=[{"target": 1}]): "target must lie between 0 and 1",
    slo(objectives=[{"targetPercent": 100}]): "a target of 1 leaves no budget",
    slo(objectives=[{"target": 0.9, "compositeWeight": 2}]): '"x" is a composite',
    slo(budgetingMethod="RatioTimeslices"): 'budgetingMethod "RatioTimeslices" is not counted',
    slo(budgetingMethod="Timeslices"): '"x": timeSliceTarget must be a number',
    slo(timeWindow=[]): '"x": timeWindow must be a list of one',
    slo(timeWindow=[{"duration": "1M", "isRolling": True}]): '"1M" is not a rolling window; write days, such as 28d',
    slo(timeWindow=[CALENDAR]): "a month that begins at 2026-01-15 00:00:00 is none of the calendar",
    slo(timeWindow=[CALENDAR | {"duration": "2M"}]): "must be one of 1d, 1w, 1M, 1Q, 1Y",
    slo(indicatorRef="gone", indicator=None): '"x" refers to the SLI "gone", which is not in the same file',
    slo(indicator={"spec": {"thresholdMetric": {}}}, objectives=[{"target": 0.9, "op": "gte", "value": 3}]):
        '"x": op must be lte or lt',
    slo(service="chekout-api"): '"x" is of "chekout-api", which is no component; the nearest known one is "checkout',
    slo(alertPolicies=[{"spec": {"conditions": [{"spec": {"condition": {"kind": "burnrate", "threshold": 200,
        "lookbackWindow": "1h"}}}]}}]): "needs a burn rate above 200, but a target of 99 % burns at most 100 times",
    content("pyrra.yaml").replace('le="0.3"', ""): 'its latency names no le="...", which is the threshold',
    content("pyrra.yaml").replace("4w", "1 month"): '"1 month" is not a rolling window',
    content("sloth.yml").replace("99.9", "soon"): '"requests": objective must be a number',
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_a_file_says_wrongly_is_one_sentence_that_names_it(
    text: str, said: str, read: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(API + '[slo]\nfiles = ["a.yaml"]\n', a=text)
    assert said in refused.value.message
    assert "\n" not in refused.value.message
    assert "a.yaml" in refused.value.message or "[[objective]]" in refused.value.message


@pytest.mark.parametrize(("text", "said"), [
    ('[slo]\nfiles = ["gone/*.yaml"]', 'there is no "gone/*.yaml"'),
    ('[slo]\nfile = ["a.yaml"]', 'unknown key "file"; the nearest known one is "files"'),
    ('[slo]\nfiles = []\n[[slo.map]]\nmatch = { team = "x" }', 'unknown key "team"'),
])  # fmt: skip
def test_a_table_that_makes_no_sense_is_refused(text: str, said: str, read: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=said.replace("*", r"\*")):
        read(API + text)


def test_without_a_yaml_parser_it_says_what_to_install(
    read: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *more: Any, **names: Any) -> Any:
        if name == "yaml":
            raise ImportError(name)
        return real(name, *more, **names)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match="reading it needs PyYAML: run `pip install 'tandem-health"):
        read(API + '[slo]\nfiles = ["a.yaml"]\n', a=slo())


def test_a_large_file_is_not_read() -> None:
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        openslo.read(b"#" * (openslo.LARGEST + 1))


def test_anchors_that_multiply_are_not_expanded() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
    )
    with pytest.raises(ValueError, match="neither OpenSLO"):
        openslo.read(bomb.encode())


# -- writing


names = st.text(st.characters(categories=("L", "N", "P", "S", "M")), min_size=1, max_size=20)
parts = st.integers(1, 999).map(lambda n: Fraction(n, 1000))


@st.composite
def promises(draw: Any) -> Objective:
    signal = draw(st.sampled_from(["request_success", "latency", "error", "recall", "fairness", "drift"]))
    window = draw(st.sampled_from(["28d", "30d", "1d12h", *times.PERIODS]))
    calendar = window in times.PERIODS
    more: dict[str, Any] = {}
    if signal == "latency":
        more["threshold"] = draw(parts)
    if signal == "error":
        more["tolerance"] = draw(parts)
    if signal == "recall":
        more["class_"] = draw(names)
    if signal == "fairness":
        more |= {"segment": "country", "gap": draw(st.sampled_from(GAPS)), "bound": draw(parts)}
    if signal == "request_success" and draw(st.booleans()):
        more |= {"slice": "1h", "slice_target": draw(parts)}
    if draw(st.booleans()):
        rules = [OwnRule("page", "1h", "5m", Fraction("14.4")), OwnRule("ticket", "6h", "30m", Fraction(draw(parts)))]
        more["rule"] = tuple(rules[: draw(st.integers(1, 2))])
    else:
        more |= draw(st.sampled_from([{}, {"base": Fraction("0.0005")}, {"factors": "reachable"}]))
    if calendar:
        more |= {"timezone": "Europe/Berlin", "expected": draw(st.none() | st.integers(1, 10**9))}
    return Objective(draw(names), signal, draw(parts), draw(names), window=window,
                     evidence=draw(st.integers(1, 9)), **more)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(some=st.lists(promises(), min_size=1, max_size=3))
def test_what_is_written_is_read_again_as_it_was(some: list[Objective]) -> None:
    text = openslo_text.text(some, {"latency": "How long it took: \"quoted\" & 'so'\n"})
    documents = list(yaml.safe_load_all(text))
    assert [one["kind"] for one in documents] == ["SLO"] * len(some)
    written = [one["metadata"]["name"] for one in documents]
    assert len(set(written)) == len(written)
    assert all(0 < len(name) <= 63 and name.strip("-") == name and name.isascii() for name in written)
    assert openslo.read(text.encode()) == some


def test_the_command_prints_what_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tandem.toml").write_text(
        API + '[[objective]]\ncomponent = "checkout-api"\nsignal = "latency"\ntarget = 0.97\nthreshold = 0.5\n'
        'window = "month"\ntimezone = "Europe/Berlin"\n'
    )
    monkeypatch.chdir(tmp_path)
    from tandem.store.file import Store

    Store(tmp_path / "tandem.duckdb").close()
    done = CliRunner().invoke(main, ["show", "--openslo"])
    assert done.exit_code == 0, done.output
    [found] = openslo.read(done.stdout.encode())
    assert (found.component, found.target, found.threshold, found.window) == (
        "checkout-api", Fraction("0.97"), Fraction("0.5"), "month")  # fmt: skip
    refused = CliRunner().invoke(main, ["show", "--openslo", "--json"])
    assert (refused.exit_code, "leave the others out" in refused.stderr) == (2, True)
    unknown = CliRunner().invoke(main, ["show", "shed", "--openslo"])
    assert (unknown.exit_code, "no component" in unknown.stderr) == (2, True)
