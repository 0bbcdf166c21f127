"""Bad input, through the commands: one sentence that says what, where and what to do, and the rest lands."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from tandem.cli import main
from tests.faults import virtual
from tests.replay import Answer, serve

Run = Callable[..., Result]
GOOD = """<testsuite name="unit" timestamp="2026-01-05T08:00:00Z">
<testcase classname="a" name="one" time="0.5"/><testcase classname="a" name="two" time="0.1"><failure/></testcase>
</testsuite>"""
HEAD = "prediction_id,ts,predicted,score,label,amount\n"
ROWS = "".join(f"p{n},2026-01-05T08:{n:02}:00Z,{n % 2},0.{n:02},{n % 2},{n}\n" for n in range(50))
JUNIT = '[[source]]\nconnector = "junit"\nname = "tests"\npath = "reports"\ncomponent = "shop"\n'
LOG = """[[source]]
connector = "predictions"
name = "log"
path = "log/*"
component = "fraud"
task = "binary"
id = "prediction_id"
time = "ts"
prediction = "predicted"
score = "score"
label = "label"
"""
PICKLE = b"cbuiltins\nopen\n(S'sprung'\nS'w'\ntR."
"""Makes a file named sprung, where somebody opens it as what it is."""
JANUARY = ("--from", "2026-01-05", "--to", "2026-01-06")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "good.xml").write_text(GOOD)
    (tmp_path / "log").mkdir()
    return lambda *words: CliRunner().invoke(main, list(words))


def wrote(text: str) -> None:
    Path("tandem.toml").write_text(text)


def counted(run: Run, component: str, signal: str) -> tuple[int, int]:
    answer = json.loads(run("show", component, *JANUARY, "--json").stdout)
    [found] = [one for one in answer["signals"] if one["signal"] == signal]
    return found["good"], found["total"]


def said(result: Result, *parts: str) -> str:
    """The one line on stderr that holds the first part; it is one sentence, and holds all of them."""
    assert "Traceback" not in result.stderr + result.stdout
    lines = [line for line in result.stderr.splitlines() if parts[0] in line]
    assert len(lines) == 1, (parts, result.stderr)
    for part in parts[1:]:
        assert part in lines[0]
    ended = re.sub(r"\(.*?\)|\".*?\"|'.*?'", "", lines[0].removesuffix("."))
    assert not re.search(r"\.\s+[A-Z]", ended), lines[0]
    return lines[0]


def rejects(run: Run, name: str) -> list[tuple[str, str, int]]:
    answer = json.loads(run("sources", "--json").stdout)
    [source] = [one for one in answer["sources"] if one["name"] == name]
    return [(reason, where, n) for reason, where, n in source["rejects"]]


# -- the configuration


def test_an_unknown_key_names_the_nearest(run: Run) -> None:
    wrote(JUNIT.replace("component", "componant"))
    result = run("sync")
    assert result.exit_code == 2
    said(result, "tandem.toml", 'unknown key "componant"', '"component"')


def test_a_missing_environment_variable_fails_its_source_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_TOKEN", raising=False)
    wrote(JUNIT + '[[source]]\nconnector = "github"\nname = "ci"\nrepository = "a/b"\ncomponent = "shop"\n'
          'url = "http://127.0.0.1:1"\ntoken_env = "NOT_SET_TOKEN"\n')  # fmt: skip
    result = run("sync")
    assert result.exit_code == 1
    said(result, "NOT_SET_TOKEN", "ci")
    assert counted(run, "shop", "test_success") == (1, 2)


# -- servers


GITHUB = '[[source]]\nconnector = "github"\nname = "ci"\nrepository = "a/b"\ncomponent = "shop"\nurl = "{url}"\n'


def test_an_unreachable_server_fails_its_source_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrote(JUNIT + GITHUB.format(url="http://127.0.0.1:1"))
    with virtual():
        result = run("sync")
    assert result.exit_code == 1
    said(result, "127.0.0.1:1", "ci")
    assert counted(run, "shop", "test_success") == (1, 2)


@pytest.mark.parametrize("kind", ["github", "prometheus", "mlflow"])
def test_a_login_page_is_no_answer(run: Run, kind: str) -> None:
    page = Answer("<!doctype html><html><body>Sign in</body></html>", headers={"Content-Type": "text/html"})
    with serve(lambda asked: page) as server:
        block = {
            "github": GITHUB,
            "mlflow": '[[source]]\nconnector = "mlflow"\nname = "ci"\nurl = "{url}"\ncomponent = "m"\n',
            "prometheus": '[[source]]\nconnector = "prometheus"\nname = "ci"\nurl = "{url}"\n[[source.signal]]\n'
            'component = "shop"\nsignal = "availability"\nup = "up"\n',
        }[kind].format(url=server.url)
        wrote(JUNIT + block)
        result = run("sync")
    assert result.exit_code == 1
    assert "HTML" in said(result, "ci: ") or "login" in said(result, "ci: ")
    assert counted(run, "shop", "test_success") == (1, 2)


# -- files that cannot be read: each refused in a sentence, the good one beside it counts


def gzip_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=9) as packed:
        packed.write(b'<testsuite name="unit">')
        for _ in range(300):
            packed.write(b" " * 1_000_000)
    assert path.stat().st_size < 400_000


def laughs(path: Path) -> None:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    path.write_text(
        f'<?xml version="1.0"?><!DOCTYPE z [{entities}]><testsuite name="x"><testcase name="&l9;"/></testsuite>'
    )


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("cut.xml", lambda path: path.write_text(GOOD[:150]), "cut off"),
        ("latin.xml", lambda path: path.write_bytes(GOOD.replace("unit", "\u00fc").encode("latin-1")), "well-formed"),
        ("bomb.xml.gz", gzip_bomb, "MB"),
        ("laughs.xml", laughs, "entities"),
    ],
)  # fmt: skip
def test_a_broken_report_is_refused_and_the_rest_lands(
    run: Run, tmp_path: Path, name: str, make: Callable[[Path], object], told: str
) -> None:
    make(tmp_path / "reports" / name)
    wrote(JUNIT)
    result = run("sync", "tests")
    said(result, name, told)
    assert counted(run, "shop", "test_success") == (1, 2)
    assert [n for reason, where, n in rejects(run, "tests") if name in reason + where] == [1]
    result = run("import", "reports")
    assert result.exit_code == 1
    said(result, name, told)


def csv_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=9) as packed:
        packed.write((HEAD + ROWS).encode())
        for _ in range(300):
            packed.write(b"\n" * 1_000_000)
    assert path.stat().st_size < 400_000


def parquet_bomb(path: Path) -> None:
    """Four hundred million letters in a column that compresses to nearly nothing."""
    text = pa.array(["x" * 4_000_000] * 100, pa.large_string())
    names = ["prediction_id", "ts", "predicted", "score", "label", "amount"]
    columns = [text, pa.array([0] * 100, pa.timestamp("us", tz="UTC")), *(pa.array([1] * 100) for _ in names[2:])]
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("cut.csv", lambda path: path.write_text((HEAD + ROWS)[:-30] + '"'), "cut.csv"),
        ("cut.parquet", lambda path: (parquet_bomb(path), path.write_bytes(path.read_bytes()[:-40])), "cut.parquet"),
        ("latin.csv", lambda path: path.write_bytes((HEAD + ROWS).replace("p1,", "\xfc,").encode("latin-1")), "UTF-8"),
        ("bomb.csv.gz", csv_bomb, "MB"),
        ("pickle.csv", lambda path: path.write_bytes(PICKLE), "pickle.csv"),
    ],
)  # fmt: skip
def test_a_broken_log_is_refused_and_the_rest_lands(
    run: Run, tmp_path: Path, name: str, make: Callable[[Path], object], told: str
) -> None:
    (tmp_path / "log" / "good.csv").write_text(HEAD + ROWS)
    make(tmp_path / "log" / name)
    wrote(LOG)
    result = run("sync")
    said(result, name, told)
    assert counted(run, "fraud", "outcome") == (50, 50)
    assert [n for reason, where, n in rejects(run, "log") if name in reason + where] == [1]


def test_a_parquet_bomb_is_refused_and_the_rest_lands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log" / "good.csv").write_text(HEAD + ROWS)
    parquet_bomb(tmp_path / "log" / "bomb.parquet")
    wrote(LOG)
    said(run("sync"), "bomb.parquet")
    assert counted(run, "fraud", "outcome") == (50, 50)


def test_a_pickle_is_refused_by_import_and_never_opened(run: Run, tmp_path: Path) -> None:
    (tmp_path / "reports" / "model.pkl").write_bytes(PICKLE)
    wrote(JUNIT)
    result = run("import", "reports")
    assert result.exit_code == 1
    said(result, "model.pkl", "nothing that Tandem reads")
    assert not (tmp_path / "sprung").exists()
    assert counted(run, "shop", "test_success") == (1, 2)


# -- rows and records that cannot be counted


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("x1,2026-01-05T08:00:00,1,0.5,1,3\n", "offset"),
        ("x1,2099-01-05T08:00:00Z,1,0.5,1,3\n", "future"),
        ("x1,soon,1,0.5,1,3\n", "time"),
    ],
)
def test_a_row_without_a_usable_time_is_rejected_with_its_row(run: Run, tmp_path: Path, row: str, told: str) -> None:
    (tmp_path / "log" / "a.csv").write_text(HEAD + ROWS + row)
    wrote(LOG)
    result = run("sync")
    said(result, "a.csv", told, "row 51")
    assert counted(run, "fraud", "outcome") == (50, 50)
    assert [n for reason, where, n in rejects(run, "log") if told in reason] == [1]


def test_nan_and_infinity_are_missing_and_never_a_number(run: Run, tmp_path: Path) -> None:
    rows = ROWS + "x1,2026-01-05T09:00:00Z,1,NaN,1,inf\nx2,2026-01-05T09:00:00Z,1,inf,1,-inf\n"
    (tmp_path / "log" / "a.csv").write_text(HEAD + rows)
    wrote(LOG)
    run("sync")
    assert counted(run, "fraud", "outcome") == (52, 52)
    assert counted(run, "fraud", "valid_rows") == (50, 52)
    quality = json.loads(run("show", "fraud", *JANUARY, "--json").stdout)["quality"]
    assert 0 <= quality["roc_auc"]["value"] <= 1


def test_bad_samples_of_prometheus_are_rejected(run: Run, tmp_path: Path) -> None:
    """More good than total, a duration that is negative or infinite, a check that is neither up nor down."""
    at = 1_767_600_000
    lines = ["# TYPE up gauge", *(f'up{{job="a"}} {value} {at + 60 * n}' for n, value in enumerate([1, 0, 0.5, 1]))]
    lines += [
        "# TYPE took gauge",
        *(f'took{{job="a"}} {value} {at + 60 * n}' for n, value in enumerate([0.1, -3, "+Inf"])),
    ]
    for name, steps in (("all", [0, 10, 20]), ("ok", [0, 30, 60])):
        lines += [f"# TYPE {name} counter", *(f"{name}_total {value} {at + 60 * n}" for n, value in enumerate(steps))]
    folder = tmp_path / "prom"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join([*lines, "# EOF", ""]))
    wrote(
        '[[source]]\nconnector = "prometheus"\nname = "prod"\nurl = "file:prom"\n'
        '[[source.signal]]\ncomponent = "shop"\nsignal = "availability"\nup = "up"\n'
        '[[source.signal]]\ncomponent = "shop"\nsignal = "latency"\ngauge = "took"\n'
        '[[source.signal]]\ncomponent = "shop"\nsignal = "request_success"\ntotal = "all_total"\ngood = "ok_total"\n'
    )
    result = run("sync")
    for reason in ("neither 0 nor 1", "negative or infinite", "a part is larger than its total"):
        said(result, reason)
    assert counted(run, "shop", "availability") == (2, 3)
    assert {reason for reason, *_ in rejects(run, "prod")} >= {"a check is neither 0 nor 1"}


def test_a_negative_duration_is_rejected(run: Run, tmp_path: Path) -> None:
    """Of a test its time only is left out; of a build that ends before it starts all."""
    (tmp_path / "reports" / "b.xml").write_text(GOOD.replace('"0.5"', '"-4"').replace("unit", "other"))
    runs = [
        {"id": n, "name": "CI", "run_attempt": 1, "status": "completed", "conclusion": "success", "event": "push",
         "head_branch": "main", "head_sha": "a" * 40, "created_at": "2026-01-05T08:00:00Z",
         "run_started_at": "2026-01-05T08:00:00Z", "updated_at": f"2026-01-05T0{7 + n}:30:00Z",
         "url": "https://api.github.com/repos/a/b/actions/runs/1"}
        for n in (0, 1)
    ]  # fmt: skip
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "runs.json").write_text(json.dumps({"total_count": 2, "workflow_runs": runs}))
    wrote(JUNIT + GITHUB.format(url="file:ci"))
    result = run("sync")
    said(result, "negative or no number", "b.xml")
    assert counted(run, "shop", "test_success") == (2, 4)
    assert counted(run, "shop", "build_success")[1] in (1, 2)
