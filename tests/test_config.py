"""tandem.toml is read strictly, and every refusal is one sentence that says what to do."""

from __future__ import annotations

import copy
import dataclasses
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem import connect, slo, times
from tandem.config import Config, ConfigError, load, missing_environment, parse
from tandem.connect import About, Common, Rule, setting
from tandem.objectives import Product
from tandem.template import toml


@dataclass(frozen=True)
class Query:
    signal: str
    component: str = ""
    up: str = ""
    component_from: str = ""


@dataclass(frozen=True)
class Span:
    from_: str
    to: str


@dataclass(frozen=True)
class FakeConfig:
    common: Common
    url: str = setting("The base URL of the server.", example="http://localhost:9090")
    path: Path | None = setting("The log.", default=None)
    depth: int = setting("How deep.", default=1)
    ratio: float = setting("How much.", default=0.5)
    strictly: bool = setting("Whether.", default=False)
    task: Literal["binary", "regression"] = setting("Which.", default="binary")
    segments: tuple[str | tuple[str, ...], ...] = setting("Margins.", default=())
    pair: tuple[float, float] = setting("Bounds.", default=(0.0, 1.0))
    rename: Mapping[str, str] = setting("Names.", default=None)
    reference: Span | None = setting("The reference.", default=None)
    signal: tuple[Query, ...] = setting("Queries.", default=())
    component_from: str | None = setting("A label.", default=None)

    def __post_init__(self) -> None:
        if self.depth > 9:
            raise ValueError("depth must be at most 9.")


def module(name: str, side: str, *aliases: str) -> Any:
    made = ModuleType(f"connectors.{name}")
    made.ABOUT = About(reads="nothing", side=side, aliases=aliases)
    made.Config = FakeConfig
    return made


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"fake": module("fake", "system", "phony"), "registry": module("registry", "model")}
    monkeypatch.setattr(connect, "names", lambda: tuple(known))
    monkeypatch.setattr(connect, "_module", known.__getitem__)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Config]:
    def of(text: str) -> Config:
        path = tmp_path / "tandem.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return of


SOURCE = '[[source]]\nconnector = "fake"\nname = "prod"\nurl = "http://localhost"\n'

WHOLE = (
    """
store = "data/tandem.duckdb"
timezone = "Europe/Berlin"

[[component]]
name = "checkout-api"
kind = "service"
product = "checkout"
depends_on = ["payments-gateway", "fraud-detector"]

[[component]]
name = "fraud-detector"
kind = "model"
product = "checkout"

[[signal]]
name = "cache_hits"
title = "Cache"
side = "system"
kind = "ratio"
unit = "ratio"
good = "ratio"
of = "look-ups answered"
meaning = "Share of look-ups that the cache answered."
target = 0.8

[[objective]]
component = "fraud-detector"
signal = "accuracy"
target = 0.95

[[objective]]
component = "checkout-api"
signal = "latency"
name = "fast"
target = 0.999
threshold = 0.3
window = "7d"

[[objective]]
component = "checkout-api"
signal = "cache_hits"

"""
    + SOURCE
    + """
path = "exports/log.parquet"
component = "payments-gateway"
every = "1m"
since = 2026-08-01
overlap = "1h30m"
status = { weird = "excluded" }
segments = ["country", ["country", "channel"]]
pair = [1, 2.5]
reference = { from = "2026-08-01", to = "2026-09-01" }
  [[source.map]]
  component = ["checkout-api", "web"]
  match = { job = "shop/*" }
  environment = "production"
  [[source.signal]]
  component = "checkout-api"
  signal = "availability"
  up = 'probe_success{job="checkout"}'

[[source]]
connector = "registry"
name = "models"
url = "file:exports/mlflow"
component = "churn"
since = "30d"
"""
)


def test_a_whole_file(read: Callable[[str], Config], tmp_path: Path) -> None:
    config = read(WHOLE)
    assert config.store == tmp_path / "data/tandem.duckdb"
    assert config.timezone == "Europe/Berlin"
    assert {name: [one.name for one in of] for name, of in config.products.items()} == {
        "checkout": ["checkout-api", "fraud-detector"],
        "payments-gateway": ["payments-gateway"],
        "web": ["web"],
        "churn": ["churn"],
    }
    assert [one.kind for one in config.components] == ["service", "model", "service", "service", "model"]
    assert config.component("checkout-api").depends_on == ("payments-gateway", "fraud-detector")
    assert config.component("nobody") is None
    assert config.source("models").name == "models"


def test_objectives_are_exact_and_take_what_they_leave_out_from_their_signal(read: Callable[[str], Config]) -> None:
    accuracy, fast, cache = read(WHOLE).objectives
    assert (accuracy.signal, accuracy.stored, accuracy.target) == ("accuracy", "outcome", Fraction(19, 20))
    assert (accuracy.window, accuracy.seconds) == ("28d", 28 * 86400)
    assert (fast.target, fast.threshold, fast.seconds) == (Fraction(999, 1000), Fraction(3, 10), 7 * 86400)
    assert cache.target == Fraction(4, 5)


def test_an_objective_may_say_everything_of_its_own(read: Callable[[str], Config]) -> None:
    written = (
        A
        + LATENCY
        + ('target = 0.999\nwindow = "month"\nexpected = 600_000\ntimezone = "Europe/Berlin"\nevidence = 3\n')
        + OWN
        + FAIR
        + 'name = "fair"\nwindow = "week"\n'
        + AGREED
        + ('[[product]]\nname = "a"\ntarget = 0.985\n')
    )
    known = read('timezone = "Asia/Tokyo"\nmaintenance = "count"\n' + written)
    latency, fair = known.objectives
    assert (latency.calendar, latency.expected, latency.timezone, latency.evidence) == (
        "month", 600_000, "Europe/Berlin", 3)  # fmt: skip
    assert latency.rules == (slo.Rule("page", 3600, 300, Fraction(14)),)
    assert (fair.segment, fair.bound, fair.timezone) == ("country", Fraction(1, 10), "Asia/Tokyo"), "the file's zone"
    [agreed] = known.corrections
    assert (agreed.component, agreed.to - agreed.from_, agreed.author) == (("a",), 7200, "Ada")
    assert (agreed.reason, agreed.agreed) == ("the database moved", "2026-11-18")
    assert times.text(agreed.from_) == "2026-11-20T02:00:00Z"
    assert known.promises == (Product("a", Fraction("0.985")),)
    assert known.maintenance == "count"


def test_a_class_with_an_underscore_in_code_is_class_in_the_file(read: Callable[[str], Config]) -> None:
    [one] = read(A + LATENCY.replace("latency", "recall") + 'class = "fraud"\n').objectives
    assert (one.stored, one.class_, one.target) == ("outcome", "fraud", Fraction(9, 10))


def test_a_low_target_loads_with_the_reachable_factors_and_keeps_the_excess_form(read: Callable[[str], Config]) -> None:
    """Only what the file asks for itself is refused: the standard rules give way to what the target allows."""
    plain, excess, reachable = read(
        A
        + "".join(
            LATENCY + f'target = 0.9\nname = "{n}"\n{more}\n'
            for n, more in enumerate(("", "base = 0.068", 'factors = "reachable"'))
        )
    ).objectives
    assert (plain.base, plain.factors, excess.base) == (None, "", Fraction("0.068"))
    assert reachable.factors == "reachable"


def test_a_source_carries_its_connectors_own_config(read: Callable[[str], Config], tmp_path: Path) -> None:
    prod, models = read(WHOLE).sources
    assert prod.connector.ABOUT.side == "system"
    assert prod.config == FakeConfig(
        common=Common(
            connector="fake",
            name="prod",
            component=("payments-gateway",),
            every=60,
            since=int(datetime(2026, 8, 1, tzinfo=UTC).timestamp()),
            overlap=5400,
            status={"weird": "excluded"},
            map=(Rule(("checkout-api", "web"), {"job": "shop/*"}, "production"),),
            folder=tmp_path,
        ),
        url="http://localhost",
        path=tmp_path / "exports/log.parquet",
        segments=("country", ("country", "channel")),
        pair=(1.0, 2.5),
        reference=Span("2026-08-01", "2026-09-01"),
        signal=(Query("availability", "checkout-api", 'probe_success{job="checkout"}'),),
    )
    assert models.config.url == f"file:{tmp_path / 'exports/mlflow'}"
    now = 1_800_000_000
    assert prod.since(now) == prod.common.since
    assert models.since(now) == now - 30 * 86400
    assert dataclasses.replace(models, common=Common("registry", "m")).since(now) is None


def test_an_alias_is_its_connector(read: Callable[[str], Config], monkeypatch: pytest.MonkeyPatch) -> None:
    source = read(SOURCE.replace('"fake"', '"phony"')).sources[0]
    assert source.common.connector == "fake"


A = SOURCE + 'component = "a"\n'
LATENCY = '[[objective]]\ncomponent = "a"\nsignal = "latency"\n'
FAIR = """\
[[objective]]
component = "a"
signal = "fairness"
target = 0.9
segment = "country"
gap = "equal_opportunity_difference"
bound = 0.1
"""
OWN = '[[objective.rule]]\nseverity = "page"\nlong = "1h"\nshort = "5m"\nfactor = 14\n'
AGREED = """\
[[correction]]
component = "a"
from = 2026-11-20T02:00:00Z
to = 2026-11-20T04:00:00Z
author = "Ada"
reason = "the database moved"
agreed = 2026-11-18
"""

REFUSED = {
    'stroe = "x"': 'unknown key "stroe"; the nearest known one is "store"',
    'zzz = "x"': 'the nearest known one is "',
    '"a\\nb" = 1': 'unknown key "a\\nb"',
    "store = 7": "store must be text in quotes",
    'timezone = "Mars/Olympus"': '"Mars/Olympus" is not a time zone',
    '[source]\nname = "x"': "write [[source]] with two brackets",
    '[component]\nname = "x"': "write [[component]] with two brackets",
    "component = [7]": "component must be a table",
    "[[component]]\n": '[[component]] number 1 lacks the key "name"',
    '[[component]]\nname = ""': "A [[component]] has an empty name",
    '[[component]]\nname = "a"\n[[component]]\nname = "a"': 'two [[component]] named "a"',
    '[[component]]\nname = "a"\nkind = "robot"': '[[component]] "a": kind must be one of "service", "model"',
    '[[component]]\nname = "a"\ndepends_on = "b"': 'depends_on names an unknown component "b"',
    '[[component]]\nname = "a"\ndepends_on = [1]': "depends_on must be text in quotes",
    SOURCE + SOURCE: 'two [[source]] named "prod"',
    SOURCE + 'ulr = "x"': '[[source]] "prod" has an unknown key "ulr"; the nearest known one is "url"',
    SOURCE + 'folder = "x"': 'unknown key "folder"',
    SOURCE + 'common = "x"': 'unknown key "common"',
    SOURCE.replace("fake", "prometeus"): 'unknown connector "prometeus"',
    SOURCE.replace("fake", "registri"): 'the nearest known one is "registry"',
    '[[source]]\nname = "x"': '[[source]] "x" lacks the key "connector"',
    '[[source]]\nconnector = "fake"\nurl = "x"': '[[source]] number 1 lacks the key "name"',
    '[[source]]\nconnector = "fake"\nname = "x"': '[[source]] "x" lacks the key "url": The base URL of the server.',
    SOURCE + "every = 5": "every: write a duration in quotes",
    SOURCE + 'every = "5"': 'every: "5" is not a duration',
    SOURCE + 'every = "0s"': "every must be longer than nothing",
    SOURCE + 'since = "soon"': '"soon" is not a time',
    SOURCE + "since = 5": "since: write a time in quotes",
    SOURCE + "since = 2026-08-01T10:00:00": "has no offset",
    SOURCE + 'timezone = "CEST?"': '[[source]] "prod": timezone: "CEST?" is not a time zone',
    SOURCE + 'primary = "yes"': "primary must be true or false",
    SOURCE + 'combine = "max"': "combine must be one of",
    SOURCE + "depth = true": "depth must be a whole number",
    SOURCE + "depth = 1.0": "depth must be a whole number",
    SOURCE + "depth = 10": '[[source]] "prod": depth must be at most 9.',
    SOURCE + 'ratio = "a"': "ratio must be a number",
    SOURCE + "ratio = true": "ratio must be a number",
    SOURCE + "ratio = inf": "ratio must be a finite number",
    SOURCE + "path = 1": "path must be a path in quotes",
    SOURCE + 'task = "both"': 'task must be one of "binary", "regression"',
    SOURCE + "segments = [1]": "segments must be text in quotes or a list",
    SOURCE + "pair = [1]": "pair must be a list of 2",
    SOURCE + "rename = { a = 1 }": "rename.a must be text in quotes",
    SOURCE + 'reference = { from = "a" }': '[source.reference] of [[source]] "prod" lacks the key "to"',
    SOURCE + 'reference = "a"': "reference must be a table",
    SOURCE + 'status = { x = "fine" }': 'status.x must be one of "good", "bad", "excluded", "open"',
    SOURCE + '[[source.map]]\ncomponent = "a"\nmach = {}': '[[source.map]] number 1 of [[source]] "prod" has an',
    SOURCE + '[[source.map]]\nmatch = { a = "b" }': 'number 1 of [[source]] "prod" lacks the key "component"',
    SOURCE + '[source.map]\ncomponent = "a"': "write [[source.map]] with two brackets",
    SOURCE + '[[source.signal]]\nsignal = "x"\ncomponent = "a"\ntotl = ""': '"totl"',
    SOURCE + 'token_env = "A"\ntoken_file = "b"': "has both token_env and token_file",
    '[[objective]]\nsignal = "latency"': '[[objective]] number 1 lacks the key "component"',
    A + LATENCY.replace('"a"', '"b"'): 'unknown component "b"; the nearest known one is "a"',
    A + LATENCY.replace("latency", "latancy"): 'the nearest known one is "latency"',
    A + LATENCY.replace("latency", "volume"): "volume says nothing of good and bad",
    A + LATENCY.replace("latency", "in_sync"): 'lacks the key "target"',
    A + LATENCY.replace("latency", "error") + 'target = 0.9': 'lacks the key "tolerance"',
    A + LATENCY.replace("latency", "availability") + 'threshold = 1': "takes no threshold",
    A + LATENCY + 'window = "fortnight"': 'window: "fortnight" is not a duration: write a number and s, m, h, d or w, '
    "such as 5m or 28d, or day, week, month, quarter, year.",
    A + LATENCY + 'window = "800d"': "window must be at most 732d",
    A + LATENCY + 'expected = 9': 'expected belongs to a window of the calendar, such as window = "month"',
    A + LATENCY + 'timezone = "UTC"': "timezone belongs to a window of the calendar",
    A + LATENCY + 'window = "month"\nexpected = 0': "expected must be the events of a whole month",
    A + LATENCY + 'window = "month"\ntimezone = "Mars"': 'timezone: "Mars" is not a time zone',
    A + LATENCY + 'class = "fraud"': "class belongs to accuracy, precision, recall, f1; latency takes none",
    A + LATENCY + 'bound = 0.1': "bound belongs to fairness; latency takes none",
    A + LATENCY.replace("latency", "fairness"): 'lacks the key "target": fairness has no target of its own',
    A + FAIR.replace('segment = "country"', ""): 'lacks the key "segment": the column of the groups',
    A + FAIR.replace('gap = "equal_opportunity_difference"', ""): 'lacks the key "gap": one of demographic_parity',
    A + FAIR.replace("bound = 0.1", ""): 'lacks the key "bound"',
    A + FAIR.replace("bound = 0.1", "bound = 1"): "bound must lie between 0 and 1",
    A + FAIR + 'slice = "1h"\nslice_target = 0.9': "slice must divide a day",
    A + LATENCY + 'slice = "7m"\nslice_target = 0.9': "slice must divide a day and be a whole number of times 5m",
    A + LATENCY + 'slice = "5m"': "slice_target must lie between 0 and 1",
    A + LATENCY + 'slice_target = 0.9': 'slice_target belongs to time slices; add slice = "5m"',
    A + LATENCY + "evidence = 0": "evidence must be 1 bad event or more",
    A + LATENCY + "base = 0.01": "base must lie between 0 and 0.01, what the target allows",
    A + LATENCY + 'base = 0.001\nfactors = "reachable"': "keep it, or base",
    A + LATENCY + 'factors = "low"': 'factors must be one of "", "standard", "reachable"',
    A + LATENCY + 'target = 0.9\nfactors = "standard"': "needs a burn rate above 13.44, but a target of 90 % burns at "
    "most 10 times the budget even when everything fails, 1 / (1 - 0.9): factors = \"reachable\" lets it fire at 5, "
    "when half of all fails; base = 0.068 counts only errors above 6.8 % and keeps 13.44 in reach; or raise",
    A + LATENCY + 'target = 0.9\nbase = 0.01': "burns at most 11 times the budget even when everything fails, "
    "(1 - 0.01) / (1 - 0.9 - 0.01)",
    A + LATENCY + OWN.replace("14", "200"): "needs a burn rate above 200, but a target of 99 % burns at most 100 times",
    A + LATENCY + OWN.replace('"1h"', '"4m"'): "short must be shorter than long, both whole times of 5m",
    A + LATENCY + OWN.replace('"1h"', '"soon"'): 'rule: long: "soon" is not a duration',
    A + LATENCY + 'name = "x"\n' + LATENCY.replace("latency", "availability") + 'name = "x"':
        '2 [[objective]] tables of "a" are named "x"',
    A + AGREED.replace("T04", "T02"): "to (2026-11-20T02:00:00Z) is not after from (2026-11-20T02:00:00Z)",
    A + AGREED.replace("T04", "T01"): "must end after it begins",
    A + AGREED.replace("T04:00:00Z", "T04:00:00"): "to: write a time with its offset, such as 2026-11-20T18:00:00Z",
    A + AGREED.replace("2026-11-18", '"lately"'): "agreed: write a day, such as 2026-11-20",
    A + AGREED.replace("author", "outhor"): 'unknown key "outhor"; the nearest known one is "author"',
    A + AGREED.replace('author = "Ada"', ""): 'lacks the key "author"',
    A + AGREED.replace('"Ada"', '""'): "author must not be empty",
    A + AGREED.replace('"Ada"', '"  "'): "author must not be empty",
    A + LATENCY + "threshold = 0": "threshold must be above 0",
    A + LATENCY + "threshold = -0.3": "threshold must be above 0",
    A + LATENCY.replace("latency", "error") + "target = 0.9\ntolerance = -8": "tolerance must be above 0",
    "[delivery]\nincident_hours = 0": "[delivery]: incident_hours and breach_days must be at least 1",
    A + AGREED.replace('component = "a"', 'component = "b"'): 'unknown component "b"; the nearest known one is "a"',
    A + AGREED + 'signal = "latancy"': 'unknown signal "latancy"; the nearest known one is "latency"',
    A + AGREED.replace("[[correction]]", "[correction]"): "write [[correction]] with two brackets",
    A + '[[product]]\nname = "b"\ntarget = 0.9': 'unknown product; the nearest known one is "a"',
    A + '[[product]]\nname = "a"\ntarget = 1': "target must lie between 0 and 1",
    A + ('[[product]]\nname = "a"\ntarget = 0.9\n' * 2): 'two [[product]] named "a"',
    'maintenance = "forget"': 'maintenance must be one of "leave out", "count"',
    A + LATENCY + 'window = "60s"': "at least 5m",
    A + LATENCY * 2: "give each a name of its own",
    **{
        A + LATENCY + f"target = {target}": said
        for target, said in {
            "1": "between 0 and 1", "1.0": "between 0 and 1", "0": "between 0 and 1",
            "99.9": "(write 0.999 for 99.9 %)",
            "-0.5": "between 0 and 1",
            "nan": "finite", '"99 %"': "target must be a number",
        }.items()
    },
    '[[signal]]\nname = "latency"': '[[signal]] "latency" lacks the key "title"',
    "[[": "The file is not TOML",
    "a = " + "[" * 5000: "nested too deeply",
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_wrong_is_said_in_one_sentence(
    text: str, said: str, read: Callable[[str], Config], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert said in refused.value.message
    assert refused.value.path == tmp_path / "tandem.toml"
    assert str(refused.value) == f"{refused.value.path}: {refused.value.message}"
    assert "\n" not in refused.value.message
    assert refused.value.message.endswith(".")


JUNK = (7, -1, 1.5, True, "", "x\ny", "\0", [], [[]], ["a", 1], {}, {"name": 3}, [{}], [{"a": "b"}], "a" * 9999)


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in nested tables and lists."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from places(inner, (*path, key))


def with_junk(tables: Any, path: tuple[Any, ...], junk: object) -> Any:
    changed = copy.deepcopy(tables)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = junk
    return changed


def test_any_value_in_any_place_is_read_or_refused_in_one_sentence() -> None:
    tables = tomllib.loads(WHOLE)
    tables["source"][0]["since"] = "2026-08-01"
    refused = []
    for path in list(places(tables))[1:]:
        for junk in JUNK:
            text = "\n".join(f"{key} = {toml(value)}" for key, value in with_junk(tables, path, junk).items())
            try:
                parse(text, Path("/x/tandem.toml"))
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 500
    assert [said for said in refused if "\n" in said or len(said) > 700 or not said.endswith(".")] == []


def signal_table(**changes: object) -> str:
    texts = {"name": "x", "side": "system", "kind": "ratio", "good": "ratio", "title": "X", "unit": "", "of": ""}
    table = texts | {"meaning": "Share of x."}
    return "[[signal]]\n" + "\n".join(f"{key} = {value!r}" for key, value in (table | changes).items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "latency"}, 'two [[signal]] named "latency"'),
        ({"width": 60}, "width must be 300, 3600 or 86400"),
        ({"good": "below"}, "good of a ratio must be ratio or none"),
        ({"target": 1}, "between 0 and 1"),
    ],
)
def test_a_signal_that_makes_no_sense_is_refused(
    changes: dict[str, object], said: str, read: Callable[[str], Config]
) -> None:
    read(signal_table())
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        read(signal_table(**changes))


def test_an_objective_of_what_is_discovered_cannot_be_known_before(read: Callable[[str], Config]) -> None:
    objective = '[[objective]]\ncomponent = "later"\nsignal = "latency"\n'
    assert read(SOURCE + "discover = true\n" + objective).objectives
    assert read(SOURCE + 'component_from = "service.name"\n' + objective).objectives
    query = '[[source.signal]]\nsignal = "latency"\ncomponent_from = "service"\n'
    assert read(SOURCE + query + objective).objectives


def test_a_missing_file_and_one_in_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tandem init"):
        load(tmp_path / "tandem.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "tandem.toml").write_bytes('store = "ü"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "tandem.toml")


def test_a_missing_variable_is_known_before_a_sync_and_no_error_of_the_file(read: Callable[[str], Config]) -> None:
    config = read(SOURCE + 'token_env = "FAKE_TOKEN"\n')
    assert missing_environment(config, {}) == [("prod", "FAKE_TOKEN")]
    assert missing_environment(config, {"FAKE_TOKEN": ""}) == [("prod", "FAKE_TOKEN")]
    assert missing_environment(config, {"FAKE_TOKEN": "x"}) == []


@pytest.mark.parametrize("token", ["ghp_16C7e42F292c6912E7710c838347Ae178B4a", "s3cret!", "a b"])
def test_a_token_in_place_of_its_name_is_refused_and_not_repeated(token: str, read: Callable[[str], Config]) -> None:
    with pytest.raises(ConfigError, match="never the token itself") as refused:
        read(SOURCE + f'token_env = "{token}"\n')
    assert token not in str(refused.value)


@pytest.mark.skipif(sys.platform == "win32", reason="file modes are POSIX")
def test_a_token_file_that_others_can_read_is_refused(read: Callable[[str], Config], tmp_path: Path) -> None:
    text = SOURCE + 'token_file = "token"\n'
    assert read(text).sources[0].common.token_file == tmp_path / "token"
    (tmp_path / "token").write_text("x", encoding="utf-8")
    (tmp_path / "token").chmod(0o600)
    read(text)
    (tmp_path / "token").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read(text)


@given(st.decimals(min_value="0.0001", max_value="0.9999", places=4))
def test_a_target_is_the_number_that_was_written(target: object) -> None:
    text = f'[[component]]\nname = "a"\n[[objective]]\ncomponent = "a"\nsignal = "latency"\ntarget = {target}\n'
    assert parse(text, Path("/x/tandem.toml")).objectives[0].target == Fraction(str(target))


def test_the_file_stays_as_it_was_when_it_is_changed_in_memory(read: Callable[[str], Config]) -> None:
    config = read(WHOLE)
    for value in (config, config.components[0], config.objectives[0], config.sources[0], config.sources[0].config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.name = "other"
