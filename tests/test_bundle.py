"""Bundles: whole or refused, without secrets, merged without loss, and shown anywhere with the network off."""

from __future__ import annotations

import json
import random
import shutil
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem import bundle, handed, toml_text
from tandem import config as configuration
from tandem.cli import main
from tandem.config import Config
from tandem.owner import Owner
from tandem.store.file import Store, StoreRefused
from tests import processes

NOW = 1_790_000_100
CONFIG = """
store = "data/tandem.duckdb"
[[component]]
name = "shop"
product = "store"
[[source]]
connector = "junit"
name = "tests"
path = "reports"
component = ["shop", "till"]
[[objective]]
component = "shop"
signal = "test_success"
target = 0.999
window = "52w"
"""
CASES = "".join(f'<testcase classname="t" name="good{n}"/>' for n in range(9))
REPORT = '<testsuite name="unit" timestamp="{at}Z" tests="10"><testcase classname="t" name="x">{more}</testcase>{cases}'
Run = Callable[..., Result]


def reported(folder: Path, at: str, more: str = "") -> None:
    (folder / "reports").mkdir(exist_ok=True, parents=True)
    text = REPORT.format(at=at, more=more, cases=CASES) + "</testsuite>"
    (folder / "reports" / f"{at.replace(':', '')}.xml").write_text(text)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for module in ("carrying", "line"):
        monkeypatch.setattr(f"tandem.commands.{module}.time", type("Clock", (), {"time": staticmethod(lambda: NOW)}))

    def invoke(*words: str, at: str = "home") -> Result:
        (tmp_path / at).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / at)
        return CliRunner().invoke(main, list(words))

    return invoke


@pytest.fixture
def made(run: Run, tmp_path: Path) -> Path:
    """A bundle of one report."""
    reported(tmp_path / "home", "2026-09-20T10:00:00", "<failure/>")
    (tmp_path / "home" / "tandem.toml").write_text(CONFIG)
    assert run("sync").exit_code == 0
    done = run("export", "../bundle")
    assert done.exit_code == 0, done.output
    return tmp_path / "bundle"


def shown(run: Run, at: str) -> Any:
    done = run("show", "--from", "2026-09-19", "--to", "2026-09-21", "--json", at=at)
    assert done.exit_code == 0, done.output
    return [(one["component"], part["signal"], part["good"], part["total"], part["quantiles"],
             (part["objective"] or {}).get("budget_left"))
            for one in json.loads(done.stdout) for part in one["signals"]]  # fmt: skip


# -- whole, or refused


def test_a_bundle_with_a_changed_byte_is_refused_and_nothing_is_written(made: Path, run: Run, tmp_path: Path) -> None:
    chance, files = random.Random(7), sorted(made.iterdir())
    assert {"tandem.toml", "manifest.json", "manifest.sha256", "event.parquet", "ratio.parquet"} <= {
        one.name for one in files}  # fmt: skip
    for path in files:
        whole = path.read_bytes()
        for place in {0, len(whole) - 1, chance.randrange(len(whole))}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :])
            done = run("restore", "../bundle", at="else")
            assert (done.exit_code, done.stdout) == (1, ""), (path.name, place)
            [line] = done.stderr.splitlines()
            assert "Traceback" not in line
            assert list((tmp_path / "else").iterdir()) == []
        path.write_bytes(whole)
        path.unlink()
        assert run("restore", "../bundle", at="else").exit_code == 1
        with pytest.raises(StoreRefused), bundle.shown(made):
            raise AssertionError("it was opened")
        path.write_bytes(whole)
    assert list((tmp_path / "else").iterdir()) == []
    assert run("restore", "../bundle", at="else").exit_code == 0


def test_restore_writes_what_is_not_there_and_leaves_alone_what_is(made: Path, run: Run, tmp_path: Path) -> None:
    before = shown(run, "home")
    done = run("restore", "../bundle", at="else")
    assert (done.exit_code, (tmp_path / "else" / "data" / "tandem.duckdb").exists()) == (0, True)
    assert "tandem.toml is written" in done.stderr
    assert shown(run, "else") == before
    mine = '# my own\nstore = "mine.duckdb"\n[[component]]\nname = "shop"\n'
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tandem.toml").write_text(mine)
    done = run("restore", "bundle", "--into", "own", at=".")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "own" / "tandem.toml").read_text() == mine
    assert (tmp_path / "own" / "mine.duckdb").exists()
    assert run("restore", "bundle", "--into", "own", "--config", "x.toml", at=".").exit_code == 2


def test_two_bundles_merge_in_either_order_and_twice_is_once(made: Path, run: Run, tmp_path: Path) -> None:
    reported(tmp_path / "home", "2026-09-20T12:00:00")
    (tmp_path / "home" / "other.toml").write_text(CONFIG.replace("data/tandem", "tandem"))
    assert run("sync", "--config", "other.toml").exit_code == 0
    assert run("export", "../other", "--config", "other.toml").exit_code == 0
    for order, at in ((("bundle", "other"), "first"), (("other", "bundle"), "second")):
        for name in order:
            done = run("restore", f"../{name}", at=at)
            assert done.exit_code == 0, done.output
        assert ("rows merged, load " in done.stdout) == (at == "first"), "the other one has all of this one"
    both = shown(run, "first")
    assert both == shown(run, "second")
    assert ("shop", "test_success", 19, 20) in {one[:4] for one in both}, "9 of 10, and 10 of 10"
    for name in ("bundle", "other"):
        again = run("restore", f"../{name}", at="first")
        assert again.stdout.endswith(": nothing new\n")
    store = configuration.load(tmp_path / "first" / "tandem.toml").store
    assert list(store.with_name("tandem.duckdb.state").glob("restoring-*")) == [], "no draft stays"
    assert run("doctor", at="first").stdout.endswith("all well\n")


def test_a_running_owner_takes_a_bundle_in(made: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "tandem.toml").write_text('[[component]]\nname = "shop"\n')
    config = configuration.load(tmp_path / "else" / "tandem.toml")
    with Owner.open(config, lambda: NOW, command="serve") as owner:
        done = run("restore", "../bundle", at="else")
        assert (done.exit_code, "rows merged" in done.stdout) == (0, True), done.output
        assert run("restore", "../bundle", at="else").stdout.endswith("nothing new\n")
        assert run("export", "../again", at="else").exit_code == 0
        (made / "event.parquet").write_bytes(b"")
        refused = run("restore", "../bundle", at="else")
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
        assert owner.store.version() > 0
    assert (tmp_path / "again" / "tandem.toml").is_file()


# -- no secrets


SECRETS = {
    "TANDEM_TEST_TOKEN": "s3cr3t-of-the-environment",
    "file": "s3cr3t-of-a-file",
}
LEAKY = """
# the old token was ghp_abcdefghijklmnopqrstuvwxyz0123
[[component]]
name = "shop"
[[source]]
connector = "prometheus"
name = "prod"
url = "http://ana:s3cr3t-of-an-address@127.0.0.1:9090/?token=s3cr3t-of-a-query&a=1"
token_env = "TANDEM_TEST_TOKEN"
  [[source.signal]]
  component = "shop"
  signal = "availability"
  up = 'probe{x="s3cr3t-of-the-environment",y="ghp_abcdefghijklmnopqrstuvwxyz0123"}'
[[source]]
connector = "github"
name = "ci"
repository = "a/b"
component = "shop"
token_file = "token.txt"
"""


def test_no_secret_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "tandem.toml").write_text(LEAKY)
    (home / "token.txt").write_text(SECRETS["file"] + "\n")
    (home / "token.txt").chmod(0o600)
    monkeypatch.setenv("TANDEM_TEST_TOKEN", SECRETS["TANDEM_TEST_TOKEN"])
    Store(home / "tandem.duckdb").close()
    assert run("export", "../bundle").exit_code == 0
    told = b"".join(path.read_bytes() for path in (tmp_path / "bundle").iterdir())
    for secret in (b"s3cr3t", b"ghp_", b"ana:", b"old token"):
        assert secret not in told, secret
    text = (tmp_path / "bundle" / "tandem.toml").read_text()
    assert 'token_env = "TANDEM_TEST_TOKEN"' in text, "where a secret is is no secret"
    assert '"http://127.0.0.1:9090/?token=REMOVED&a=1"' in text
    assert [one.name for one in configuration.parse(text, home / "tandem.toml").sources] == ["prod", "ci"]


OPENSLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: fast}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  indicator:
    metadata: {name: x}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: a, spec: {}}}
        total: {metricSource: {type: a, spec: {}}}
  objectives: [{target: 0.995}]
"""


def test_what_is_handed_on_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tandem.toml"
    (tmp_path / "slo.yaml").write_text(OPENSLO)
    path.write_text(
        CONFIG.replace('"data/tandem.duckdb"', '"/somewhere/else.duckdb"')
        + """
[slo]
files = ["slo.yaml"]
[[slo.map]]
signal = "request_success"
[[gate]]
name = "go"
coverage = 0.25
[[correction]]
component = "shop"
from = 2026-11-20T02:00:00Z
to = 2026-11-20T04:00:00Z
author = "Ada"
reason = "agreed"
agreed = 2026-11-18
"""
    )
    config = configuration.load(path)
    text = handed.text(config, {})
    again = configuration.parse(text, tmp_path / "elsewhere" / "tandem.toml")
    for name in ("objectives", "gates", "corrections", "components", "timezone"):
        assert getattr(again, name) == getattr(config, name), name
    assert again.store == tmp_path / "elsewhere" / "else.duckdb", "a bundle never says where on a disk"
    assert len(config.objectives) == 2
    assert handed.text(again_at(tmp_path / "elsewhere", text), {}) == text


def again_at(folder: Path, text: str) -> Config:
    folder.mkdir()
    (folder / "tandem.toml").write_text(text)
    return configuration.load(folder / "tandem.toml")


keys = st.text(min_size=1, max_size=8)
plain = st.one_of(st.text(max_size=20), st.integers(-(2**60), 2**60), st.booleans(), st.datetimes(), st.dates(),
                  st.decimals(allow_nan=False, allow_infinity=False, places=6))  # fmt: skip
values = st.recursive(
    plain, lambda deep: st.one_of(st.lists(deep, max_size=3), st.dictionaries(keys, deep, max_size=3)), max_leaves=8
)


@settings(deadline=None)
@given(tables=st.dictionaries(keys, values, max_size=4))
def test_what_is_written_as_toml_reads_the_same(tables: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text.text(tables), parse_float=Decimal) == tables


# -- shown anywhere


NO_NETWORK = """
import socket

_connect = socket.socket.connect

def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"the network is off: {address}")
    return _connect(self, address)

def nowhere(host, *rest, **more):
    if host not in (None, "", "127.0.0.1", "::1", "localhost"):
        raise OSError(f"the network is off: {host}")
    return _lookup(host, *rest, **more)

_lookup = socket.getaddrinfo
socket.socket.connect = connect
socket.getaddrinfo = nowhere
"""


def test_a_bundle_is_shown_read_only_with_the_network_off(made: Path, run: Run, tmp_path: Path) -> None:
    path = made / "tandem.toml"
    assert path.is_file()
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(NO_NETWORK)
    before = {one.name: one.read_bytes() for one in made.iterdir()}
    expected = run("show", "--json", at="home").stdout
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "anywhere").mkdir()
    port = processes.free_port()
    words = ("serve", "--bundle", str(made), "--no-browser", "--port", str(port))
    here = f"http://127.0.0.1:{port}"
    with processes.running(processes.start(*words, folder=tmp_path / "anywhere", packages=[guard])) as server:
        processes.eventually(lambda: server.poll() is not None or processes.answers(f"{here}/healthz"), "the server")
        assert server.poll() is None, server.communicate()
        with urlopen(f"{here}/api/v1/show") as answer:
            assert answer.read().decode() == expected, "as it stood when it was exported, to the byte"
        with urlopen(f"{here}/") as page:
            assert page.status == 200
        assert not processes.answers(f"{here}/api/v1/sync")
        server.terminate()
        said = server.communicate()[1]
    assert "read only" in said
    assert {one.name: one.read_bytes() for one in made.iterdir()} == before
    assert list((tmp_path / "anywhere").iterdir()) == []


def test_a_source_of_a_connector_that_is_not_here_is_left_out_and_it_is_said(made: Path, run: Run) -> None:
    with bundle.shown(made) as opened:
        assert (opened.now(), opened.version(), len(opened.config.sources)) == (NOW, 1, 1)
        assert "as of 2026-09-21T14:15:00Z, read only" in opened.trouble
        assert opened.sync() == []
        assert opened.store.read_only
    path = made / "tandem.toml"
    text = path.read_text().replace('connector = "junit"', 'connector = "telepathy"')
    path.write_text(text)
    config, left = bundle._config(made, made)
    assert (config.sources, [one.name for one in config.components]) == ((), ["shop", "till"])
    assert left == " 1 of its sources is of a connector that is not installed here."
    path.write_text('[[component]]\nnaem = "x"\n')
    with pytest.raises(StoreRefused, match="unknown key"):
        bundle._config(made, made)
