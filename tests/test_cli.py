"""The command line: data on stdout, talk on stderr, one sentence per error, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tandem import config as configuration
from tandem import connect, printed
from tandem.cli import main
from tests import processes, slow_source

REPORT = """<testsuite name="unit" timestamp="{day}T08:00:00Z" tests="{n}">{cases}</testsuite>"""
CONFIG = """
[[component]]
name = "shop"
product = "store"

[[source]]
connector = "junit"
name = "tests"
path = "reports"
component = "shop"
"""
Run = Callable[..., Result]


def report(folder: Path, day: str, passed: int, failed: int) -> Path:
    cases = "".join(f'<testcase classname="t" name="good{n}" time="0.5"/>' for n in range(passed))
    cases += "".join(f'<testcase classname="t" name="bad{n}" time="0.1"><failure/></testcase>' for n in range(failed))
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{day}.xml"
    path.write_text(REPORT.format(day=day, n=passed + failed, cases=cases))
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, list(words))


@pytest.fixture
def synced(run: Run, tmp_path: Path) -> Run:
    (tmp_path / "tandem.toml").write_text(CONFIG)
    report(tmp_path / "reports", "2026-01-05", 7, 3)
    assert run("sync").exit_code == 0
    return run


def one_sentence(result: Result, code: int) -> str:
    assert (result.exit_code, result.stdout) == (code, "")
    [line] = result.stderr.splitlines()[-1:]
    assert "Traceback" not in result.stderr
    return line


def success(run: Run, *more: str) -> dict[str, object]:
    shown = run("show", "shop", "--from", "2026-01-05", "--to", "2026-01-06", "--json", *more)
    assert (shown.exit_code, shown.stderr) == (0, "")
    found: dict[str, object] = next(
        one for one in json.loads(shown.stdout)["signals"] if one["signal"] == "test_success"
    )
    return found


def test_init_writes_a_configuration_that_loads_and_never_over_one(run: Run, tmp_path: Path) -> None:
    done = run("init", "health")
    assert (done.exit_code, done.stdout) == (0, "")
    assert configuration.load(tmp_path / "health" / "tandem.toml").sources == ()
    assert "exists already" in one_sentence(run("init", "health"), 2)


def test_init_prints_the_block_of_a_connector_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    for name in connect.names():
        done = run("init", "--connector", name)
        assert done.exit_code == 0
        assert f'connector = "{name}"' in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert "no connector" in one_sentence(run("init", "--connector", "telepathy"), 2)


def test_sync_then_show(synced: Run) -> None:
    found = success(synced)
    assert (found["good"], found["total"], found["source"]) == (7, 10, "tests")
    text = synced("show", "--from", "2026-01-05", "--to", "2026-01-06")
    assert (text.exit_code, text.stderr) == (0, "")
    line = next(line for line in text.stdout.splitlines() if "test_success" in line)
    assert line.split()[:4] == ["shop", "test_success", "70.0", "%"]
    duration = next(line for line in text.stdout.splitlines() if "test_duration" in line)
    assert " ms" in duration, "a duration has a unit"


def test_sync_again_changes_nothing_and_a_new_report_is_added(synced: Run, tmp_path: Path) -> None:
    assert synced("sync", "tests").exit_code == 0
    assert success(synced)["good"] == 7
    before = json.loads(synced("show", "--json").stdout)[0]["as_of"]
    report(tmp_path / "reports" / "more", "2026-01-05", 9, 1)
    assert synced("sync").exit_code == 0
    assert success(synced)["good"] == 16
    assert success(synced, "--as-of", str(before))["good"] == 7


def test_json_is_sorted_and_ends_with_a_line_feed(synced: Run) -> None:
    out = synced("show", "--json").stdout
    assert out.endswith("}]\n")
    found = json.loads(out)
    assert json.dumps(found, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n" == out


@pytest.mark.parametrize(("words", "said"), [
    (("show", "shed"), "shed"),
    (("show", "--from", "yesterdayish"), "is not a time"),
    (("show", "--from", "now", "--to", "now-1h"), "before"),
    (("show", "--as-of", "99999"), "load"),
    (("show", "--as-of", "-1"), "as_of"),
    (("show", "--segment", "DE"), "country=DE"),
    (("show", "--stage", "dreaming"), "stage"),
    (("show", "--config", "none.toml"), "no such file"),
    (("sync", "nobody"), "nobody"),
    (("sync", "--since", "soonish"), "is not a time"),
    (("import", "nowhere.xml"), "nowhere.xml"),
    (("import", "--timezone", "Mars/Base", "reports"), "time zone"),
    (("import", "--connector", "telepathy", "reports"), "no connector"),
    (("frobnicate",), "No such command"),
])  # fmt: skip
def test_what_is_asked_wrongly_is_said_in_one_sentence(synced: Run, words: tuple[str, ...], said: str) -> None:
    assert said in one_sentence(synced(*words), 2)


def test_show_before_anything_was_collected_says_what_to_do(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text(CONFIG)
    assert "tandem sync" in one_sentence(run("show"), 1)
    assert not (tmp_path / "tandem.duckdb").exists(), "asking makes nothing"
    (tmp_path / "tandem.toml").unlink()
    assert "tandem init" in one_sentence(run("show"), 2)


def test_a_source_that_fails_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    more = '[[source]]\nconnector = "prometheus"\nname = "away"\nurl = "file:missing"\n'
    (tmp_path / "tandem.toml").write_text(CONFIG + more)
    report(tmp_path / "reports", "2026-01-05", 4, 0)
    done = run("sync")
    assert done.exit_code == 1
    assert done.stdout.startswith("tests: ")
    assert done.stderr.startswith("away: ")
    assert success(run)["good"] == 4


def test_import_says_what_it_read_and_what_it_refused(run: Run, tmp_path: Path) -> None:
    report(tmp_path / "reports", "2026-01-05", 5, 5)
    (tmp_path / "reports" / "notes.txt").write_text("buy milk")
    done = run("import", "reports", "--component", "shop")
    assert done.exit_code == 1
    assert "2026-01-05.xml (junit): " in done.stdout
    assert "notes.txt" in done.stderr
    assert "notes.txt" not in done.stdout
    (tmp_path / "reports" / "notes.txt").unlink()
    again = run("import", "reports", "--component", "shop")
    assert again.exit_code == 0
    assert "There is no tandem.toml here" in again.stderr
    assert (tmp_path / "tandem.duckdb").exists()
    assert success(run)["total"] == 10, "twice is once"


def test_an_imported_file_and_a_pulled_one_are_the_same(synced: Run) -> None:
    before = success(synced)
    assert synced("import", "reports").exit_code == 0
    assert success(synced) == before | {"coverage": success(synced)["coverage"]}


def test_sources_lists_what_is_configured_and_what_is_known(synced: Run) -> None:
    [line] = [line for line in synced("sources").stdout.splitlines() if line.startswith("tests")]
    assert line.split()[1] == "junit"
    assert json.loads(synced("sources", "--json").stdout)["sources"][0]["name"] == "tests"
    known = json.loads(synced("sources", "--known", "--json").stdout)
    assert [one["connector"] for one in known] == list(connect.names())
    assert all(name in synced("sources", "--known").stdout for name in connect.names())


def test_doctor_is_content_until_something_is_wrong(synced: Run, tmp_path: Path) -> None:
    well = synced("doctor")
    assert (well.exit_code, well.stdout.splitlines()[-1]) == (0, "all well")
    (tmp_path / "tandem.toml").write_text(CONFIG + 'token_env = "NO_SUCH_TOKEN"\n')
    text = CONFIG + '[[source]]\nconnector = "github"\nname = "ci"\nrepository = "a/b"\ncomponent = "shop"\n'
    (tmp_path / "tandem.toml").write_text(text + 'token_env = "NO_SUCH_TOKEN"\n')
    ill = synced("doctor")
    assert ill.exit_code == 1
    assert "NO_SUCH_TOKEN" in ill.stdout


def test_doctor_sees_a_tier_that_disagrees(synced: Run, tmp_path: Path) -> None:
    from tandem.store.file import open_store

    with open_store(tmp_path / "tandem.duckdb") as store:
        store.cursor().execute("INSERT INTO ratio_day SELECT * REPLACE (good + 1 AS good) FROM ratio_day LIMIT 1")
        store.cursor().execute("INSERT INTO ratio SELECT * REPLACE (999 AS load_id) FROM ratio LIMIT 1")
    ill = synced("doctor")
    assert ill.exit_code == 1
    assert "ratio_day" in ill.stdout
    assert "belong to no load" in ill.stdout


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_damaged_store_is_one_sentence(synced: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tandem.duckdb").write_bytes(content)
    for words in (("show",), ("sync",), ("doctor",)):
        assert "tandem.duckdb" in one_sentence(synced(*words), 1)


def test_what_others_wrote_does_not_reach_the_terminal_raw() -> None:
    text = printed.table(("a", "b"), [("\x1b[31mred\r\n", "\u202egnp"), ("x" * 500, "")])
    assert not set("\x1b\r\u202e") & set(text)
    assert len(text.splitlines()) == 3


def test_progress_is_for_terminals_only(tmp_path: Path) -> None:
    package = slow_source.packaged(tmp_path / "package")
    (tmp_path / "tandem.toml").write_text('[[source]]\nconnector = "slow_source"\nname = "till"\npages = 2\n')
    done = processes.run("sync", folder=tmp_path, packages=[package])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("till: ")
    assert "\x1b" not in done.stdout
