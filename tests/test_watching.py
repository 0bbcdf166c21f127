"""One service watched by Prometheus, Nagios and the probe at once; maintenance that any of several sources tells of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from connectors import _http
from tandem import collect, report
from tandem import config as configuration
from tandem.shown import Window
from tandem.store.file import Store
from tests.alertmanager_server import Monitoring
from tests.faults_prometheus import answer_of
from tests.nagios_server import Nagios
from tests.replay import Answer, Asked, serve

BEGAN = 1_794_996_000
"""A whole hour, UTC."""
TICKS = 12
ENDED = BEGAN + 300 * TICKS
LAST = ENDED + 600
"""The watching goes on for a while after the hour that is asked about."""
DOWN = (BEGAN + 900, BEGAN + 1800)
"""The quarter of an hour in which the service answers nobody."""

COMPANY = """
[[component]]
name = "checkout-api"
kind = "service"

[[objective]]
component = "checkout-api"
signal = "availability"
target = 0.9
window = "1d"

[[source]]
connector = "prometheus"
name = "prom"
url = "{site}"
since = "3h"
{prom}
  [[source.signal]]
  component = "checkout-api"
  signal = "availability"
  up = 'up{{job="checkout"}}'

[[source]]
connector = "nagios"
name = "nagios"
path = "nagios"
{nagios}
  [[source.map]]
  component = "checkout-api"
  match = {{ host = "checkout-01", service = "HTTP" }}

[[source]]
connector = "probe"
name = "own"
{own}
  [[source.check]]
  component = "checkout-api"
  url = "{site}/healthz"
"""
ALERTS = """
[[source]]
connector = "alertmanager"
name = "alerts"
url = "{site}"
since = "3h"
{alerts}
  [[source.map]]
  component = "checkout-api"
  match = {{ job = "checkout" }}
"""
SOURCES = ("prom", "nagios", "own")


def is_down(ts: float) -> bool:
    return DOWN[0] <= ts < DOWN[1]


@dataclass
class Company:
    """The service, the three that watch it, and a store of what they said up to `now`."""

    folder: Path
    site: str = ""
    now: int = BEGAN
    text: str = COMPANY
    keys: dict[str, str] = field(default_factory=dict)
    monitoring: Monitoring = field(default_factory=lambda: Monitoring(float(BEGAN)))

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "tandem.duckdb")
        self.nagios = Nagios(BEGAN, began=BEGAN)
        for ts in range(BEGAN + 20, LAST, 100):
            self.nagios.check("checkout-01", "HTTP", ts, "critical" if is_down(ts) else "ok")
        (self.folder / "nagios").mkdir()

    def answer(self, asked: Asked) -> Answer:
        """The service's own health, the API of Prometheus, and Alertmanager."""
        if asked.path == "/healthz":
            return Answer("down", 503) if is_down(self.now) else Answer("fine")
        if asked.path.startswith("/api/v2/"):
            self.monitoring.now = float(self.now)
            return self.monitoring.answer(asked)
        samples = [(float(ts), float(not is_down(ts))) for ts in range(BEGAN + 7, self.now, 60)]
        answered: Answer = answer_of([({"__name__": "up", "job": "checkout"}, samples)])(asked)
        return answered

    @property
    def config(self) -> configuration.Config:
        keys = {name: self.keys.get(name, "") for name in (*SOURCES, "alerts")}
        return configuration.parse(self.text.format(site=self.site, **keys), self.folder / "tandem.toml")

    def watch(self) -> None:
        """A pull every five minutes."""
        for tick in range(TICKS + 2):
            self.now = BEGAN + 300 * tick + 5
            self.nagios.write(self.folder / "nagios", self.now)
            self.pull()

    def pull(self, *names: str) -> None:
        for one in collect.sync(self.store, self.config, self.now, names=names):
            assert not one.error, one.error

    def shown(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(everything but the signals, availability) of the hour."""
        found = report.show(self, "checkout-api", Window(BEGAN, ENDED), now=self.now)
        signals = {one["signal"]: one for one in found.pop("signals")}
        return {**found, "latency": signals.get("latency")}, signals["availability"]


@contextmanager
def opened(folder: Path) -> Iterator[Company]:
    made = Company(folder)
    with pytest.MonkeyPatch.context() as patched, serve(made.answer) as site:
        patched.setattr(_http, "REAL", replace(_http.REAL, random=lambda: 0.0))
        made.site = site.url
        yield made
    made.store.close()


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with opened(tmp_path_factory.mktemp("company")) as made:
        made.watch()
        yield made


def truth() -> dict[str, tuple[int, int]]:
    """(good, all) of what each of the three saw, counted one by one."""
    looks: Mapping[str, range] = {
        "prom": range(BEGAN + 7, ENDED, 60), "nagios": range(BEGAN + 20, ENDED, 100),
        "own": range(BEGAN + 5, ENDED, 300),
    }  # fmt: skip
    return {name: (sum(not is_down(ts) for ts in some), len(some)) for name, some in looks.items()}


def test_one_source_counts_and_the_others_are_witnesses_with_their_difference(plain: Company) -> None:
    _, found = plain.shown()
    known = truth()
    assert known == {"prom": (45, 60), "nagios": (27, 36), "own": (9, 12)}
    assert (found["source"], found["good"], found["total"]) == ("prom", *known["prom"])
    assert (found["objective"]["good"], found["objective"]["total"]) == known["prom"]
    mine = Fraction(*known["prom"])
    assert {one["source"] for one in found["witnesses"]} == {"nagios", "own"}
    for one in found["witnesses"]:
        theirs = known[one["source"]]
        assert (one["good"], one["total"]) == theirs
        assert one["difference"] == pytest.approx(float(Fraction(*theirs) - mine), abs=1e-15)


def test_primary_changes_which_one_counts_and_nothing_else(plain: Company) -> None:
    rest, usual = plain.shown()
    known = truth()
    for name in SOURCES:
        plain.keys = {name: "primary = true"}
        other, found = plain.shown()
        assert (found["source"], found["good"], found["total"]) == (name, *known[name])
        assert {one["source"] for one in found["witnesses"]} == set(SOURCES) - {name}
        assert {(one["source"], one["good"], one["total"]) for one in found["witnesses"]} == {
            (each, *known[each]) for each in SOURCES if each != name
        }
        assert other["events"] == rest["events"]
        assert other["as_of"] == rest["as_of"]
        assert {key for key in other if other[key] != rest[key]} <= {"latency", "state"}
        assert {key for key in found if found[key] != usual[key]} <= {
            "source", "good", "total", "value", "objective", "state", "reason", "why", "bound", "witnesses", "coverage",
        }  # fmt: skip
    plain.keys = {}
    rows = plain.store.cursor().execute("SELECT count(*) FROM load").fetchone()
    plain.pull("prom", "nagios")
    assert plain.store.cursor().execute("SELECT count(*) FROM load").fetchone() == rows, "nothing is said anew"


def test_a_witness_stays_one_where_another_counts_and_is_not_added(plain: Company) -> None:
    """What three sources saw is never summed: the counting one has a gap, and the gap stays."""
    _, found = plain.shown()
    assert found["total"] == truth()["prom"][1] < sum(total for _, total in truth().values())


# -- maintenance


def outside() -> tuple[int, int]:
    """What Prometheus saw outside the whole buckets of the quarter of an hour."""
    seen = [ts for ts in range(BEGAN + 7, ENDED, 60) if not DOWN[0] <= ts // 300 * 300 < DOWN[1]]
    return sum(not is_down(ts) for ts in seen), len(seen)


@pytest.mark.parametrize("told_by", ["nagios service", "nagios host", "alertmanager"])
def test_maintenance_from_any_source_leaves_both_counts_visibly(company: Company, told_by: str) -> None:
    """A downtime of Nagios or a silence of Alertmanager takes its time out of what Prometheus counts, and says so."""
    begin, end = DOWN
    if told_by == "alertmanager":
        company.text += ALERTS
        company.monitoring.silence("s1", begin, end, "new disks", job="checkout")
    else:
        company.nagios.downtime("checkout-01", "HTTP" if told_by == "nagios service" else "", begin, end)
    company.watch()
    if told_by == "alertmanager":
        company.pull("alerts")
    told, found = company.shown()
    assert (found["source"], found["good"], found["total"]) == ("prom", *truth()["prom"]), "what was counted stays"
    assert (found["objective"]["good"], found["objective"]["total"]) == outside() == (45, 45)
    assert (found["corrected"], found["objective"]["corrected"]) == (900, 900)
    source = "alerts" if told_by == "alertmanager" else "nagios"
    (correction,) = told["corrections"]
    assert (correction["origin"], correction["source"], correction["reason"], correction["author"]) == (
        "maintenance", source, "new disks", "ada",
    )  # fmt: skip
    assert [(one["kind"], one["source"]) for one in told["events"] if one["kind"] == "maintenance"] == [
        ("maintenance", source)
    ]
    company.keys = {"alerts" if source == "alerts" else "nagios": 'maintenance_time = "count"'}
    _, counted = company.shown()
    assert (counted["objective"]["good"], counted["objective"]["total"]) == truth()["prom"]
    assert not counted["corrected"]


def test_a_silence_of_something_else_leaves_nothing_out(company: Company) -> None:
    company.text += ALERTS
    company.monitoring.silence("s1", *DOWN, "new disks", job="payments")
    company.watch()
    told, found = company.shown()
    assert (found["objective"]["good"], found["objective"]["total"]) == truth()["prom"]
    assert told["corrections"] == []


def test_an_incident_is_shown_beside_the_numbers_it_explains(company: Company) -> None:
    """Nagios' hard state and Alertmanager's alert stand among the events of the service, each with its source."""
    company.text += ALERTS
    company.monitoring.fire("CheckoutDown", DOWN[0] + 60, DOWN[1], job="checkout")
    company.watch()
    company.pull("alerts")
    told, _ = company.shown()
    incidents = {one["source"]: one for one in told["events"] if one["kind"] == "incident"}
    assert set(incidents) == {"nagios", "alerts"}
    assert incidents["nagios"]["title"].startswith("checkout-01: HTTP is CRITICAL")


CANARIES = {"alertmanager": "canary-0a1b2c3d", "grafana": "canary-4e5f6a7b", "nagios": "canary-8c9d0e1f"}
GUARDED = COMPANY.partition("[[objective]]")[0] + "".join(
    f"""
[[source]]
connector = "{name}"
name = "{name}"
url = "{{site}}"
component = "checkout-api"
token_env = "TANDEM_TEST_{name.upper()}"
"""
    for name in CANARIES
)


@pytest.mark.parametrize("echoes", [False, True])
def test_tokens_stand_in_no_file_and_no_message(
    company: Company, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], echoes: bool
) -> None:
    """A server that answers well, and one that repeats the token in its error: neither gets it into the store."""
    sent: set[str] = set()

    def answer(asked: Asked) -> Answer:
        sent.add(asked.headers.get("authorization", "").rpartition(" ")[2])
        if echoes:
            return Answer({"message": f"bad token {asked.headers['authorization']}"}, 401)
        return company.nagios.answer(asked) if asked.path.endswith(".cgi") else Answer([])

    for name, value in CANARIES.items():
        monkeypatch.setenv(f"TANDEM_TEST_{name.upper()}", value)
    company.nagios.now = company.now = BEGAN + 3600
    with serve(answer) as site:
        company.site, company.text = site.url, GUARDED
        outcomes = collect.sync(company.store, company.config, company.now)
        told = report.show(company, "checkout-api", Window(BEGAN, ENDED), now=company.now)
        sources = report.sources(company, Window(BEGAN, ENDED), now=company.now)
    assert sent == set(CANARIES.values())
    assert [bool(one.error) for one in outcomes] == [echoes] * 3
    company.store.close()
    said = repr((outcomes, told, sources)) + "".join(capsys.readouterr())
    files = b"".join(path.read_bytes() for path in company.folder.rglob("*") if path.is_file())
    assert files
    assert not [value for value in CANARIES.values() if value in said or value.encode() in files]
