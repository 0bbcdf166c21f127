"""W&B's files: the framing of an offline run, cut and damaged ones, how runs end, and the tables that are exported."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from connectors import wandb
from connectors._files import item
from connectors._wandb_log import Damage, Log, records
from tandem import collect, connect, exported
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Fact, Page, Sample
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.fakes import config as configuration
from tests.wandb_files import BLOCK, artifact, ended, framed, number, part, row, run, summary

PAYLOADS = Path(__file__).parent / "payloads" / "wandb"
CAPTURED = PAYLOADS / "run-nlbqlo38.wandb"
NOW = 1_795_300_000
T0 = NOW - 7_200.0


def config(url: str = "https://api.wandb.ai", **keys: Any) -> wandb.Config:
    return wandb.Config(Common("wandb", "runs", component=("fraud",)), url=url, **keys)


def read(data: bytes) -> tuple[list[bytes], Damage]:
    damage = Damage()
    return list(records(BytesIO(data), "x.wandb", damage)), damage


def parsed(path: Path, now: int = NOW, **keys: Any) -> list[Page]:
    one = item(path, Given())
    assert wandb.recognise(one)
    return list(wandb.parse_with(one, config(**keys), Pull(0, now, now)))


def told(pages: list[Page], kind: type) -> list[Any]:
    return [one for page in pages for one in page.records if isinstance(one, kind)]


def said(pages: list[Page]) -> str:
    return " | ".join(f"{one.kind}: {one.reason}" for page in pages for one in page.findings)


def write(path: Path, data: bytes, modified: int = NOW - 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (modified, modified))
    return path


# -- framing


def test_a_captured_file_is_what_its_records_make_when_framed_again() -> None:
    data = CAPTURED.read_bytes()
    found, damage = read(data)
    assert len(found) > 70
    assert framed(found) == data
    assert damage == Damage()


@pytest.mark.parametrize("sizes", [[5], [BLOCK - 14], [BLOCK - 13], [BLOCK - 20, 3, 3], [3 * BLOCK], [0, 1, 70_000, 2]])
def test_records_lie_over_the_ends_of_blocks(sizes: list[int]) -> None:
    made = [random.Random(size).randbytes(size) for size in sizes]
    assert read(framed(made)) == (made, Damage())


def test_a_file_cut_anywhere_gives_its_whole_records_and_no_other() -> None:
    made = [bytes([65 + n]) * (n * 9_000 + 5) for n in range(6)]
    whole = framed(made)
    ends = [len(framed(made[: n + 1])) for n in range(6)]
    for cut in [*range(40), *random.Random(1).sample(range(len(whole)), 300), *(end - 1 for end in ends), *ends]:
        found, damage = read(whole[:cut])
        assert found == made[: sum(end <= cut for end in ends)], cut
        assert not damage.wrong, cut
        assert damage.cut is (cut > 7 and cut not in ends and whole[:cut].rstrip(b"\0") != framed(found)), cut


def test_a_wrong_sum_costs_the_rest_of_its_block_and_nothing_else() -> None:
    made = [bytes([65 + n]) * 10_000 for n in range(12)]
    whole = bytearray(framed(made))
    place = len(framed(made[:4])) + 500  # within the fifth record, in the second block
    whole[place] ^= 1
    found, damage = read(bytes(whole))
    lost = {n for n in range(12) if made[n] not in found}
    assert min(lost) == 4
    assert len(lost) < 4
    assert found == [made[n] for n in range(12) if n not in lost]
    assert len(damage.wrong) == 1
    assert "wrong check sum at byte 40," in damage.wrong[0]


def test_room_that_is_not_written_yet_is_no_damage() -> None:
    assert read(framed([b"abc"]) + bytes(500)) == ([b"abc"], Damage())


@pytest.mark.parametrize("data", [b"", b":W&", framed([])])
def test_a_file_that_is_just_begun_says_nothing_yet(tmp_path: Path, data: bytes) -> None:
    assert read(data)[0] == []
    if len(data) > 4:
        pages = parsed(write(tmp_path / "run-a.wandb", data))
        assert not told(pages, Event)
        assert "says nothing of its run yet" in said(pages)


def test_another_form_is_refused() -> None:
    with pytest.raises(SourceRefused, match=r"no \.wandb file that can be read"):
        read(b":W&B\xe1\xbe\x01" + bytes(20))


def test_garbage_behind_the_header_never_breaks_the_reader(tmp_path: Path) -> None:
    whole = framed([run("r", T0), *(row(n, T0 + n, loss=n) for n in range(40)), ended(0)])
    for seed in range(60):
        rng = random.Random(seed)
        spoiled = bytearray(whole)
        for _ in range(rng.randint(1, 30)):
            spoiled[rng.randrange(7, len(spoiled))] = rng.randrange(256)
        found = list(Log("x").rows(BytesIO(bytes(spoiled))))
        assert [one.values for one in found] == [[("loss", float(one.step))] for one in found], "sums guard every value"
    for seed in range(200):  # sound sums around nonsense
        list(Log("x").rows(BytesIO(framed([run("r", T0), random.Random(seed).randbytes(seed)]))))


# -- what a run tells


def test_the_captured_run() -> None:
    pages = parsed(CAPTURED, evaluation=("val/*", "test_*"))
    [event] = told(pages, Event)
    assert (event.key, event.outcome, event.ts, event.title) == ("nlbqlo38", "good", 1_795_248_327, "offline-1")
    labels = dict(event.labels)
    assert (labels["param.lr"], labels["param.algo"], labels["python"]) == ("0.1", "logreg", "3.11.7")
    accuracy = [(one.step, one.value) for one in told(pages, Sample) if one.series.name == "val/accuracy"]
    assert accuracy == [(n, pytest.approx(0.7 + n / 100)) for n in range(20)]
    [test] = [one for one in told(pages, Sample) if one.series.name == "test_accuracy"]
    assert (test.value, test.series.stage) == (0.9736842105263158, "evaluation")
    assert '"bad" that is no finite number' in said(pages)
    assert sum(n for fact in told(pages, Fact) for n in fact.value.counts.values()) == 20 * 100, (
        "as wandb itself reads them"
    )


def test_everything_that_a_file_says_of_its_run(tmp_path: Path) -> None:
    folder = tmp_path / "offline-run-20261121_100000-a1"
    bins = {"_type": "histogram", "bins": [0, 1, 2], "values": [3, 4]}
    data = framed([
        run("a1", T0, group="g", job="train", name="<i>x</i>", commit="c0ffee", config={"lr": 0.1, "n": {"d": 3}}),
        row(0, T0 + 10, loss=1, val__acc=0.5, preds=bins, note="text"),
        row(1, T0 + 20, loss=0.5, nested={"f1": 0.25}, odd="NaN"),
        row(2, None, loss=7),
        summary(loss=0.5, test_auc=0.75, _timestamp=T0 + 21), artifact("fraud", "model", "d1g357"),
        ended(0, 90),
    ])  # fmt: skip
    write(folder / "run-a1.wandb", data)
    write(folder / "files" / "requirements.txt", b"numpy==2.1\n")
    write(folder / "logs" / "debug.log", b"x")
    pages = parsed(folder)
    [event] = told(pages, Event)
    assert (event.ts, event.ended, event.outcome, event.commit, event.digest) == (
        int(T0), int(T0) + 90, "good", "c0ffee", "d1g357")  # fmt: skip
    labels = dict(event.labels)
    assert labels["packages"] == "sha256:" + hashlib.sha256(b"numpy==2.1\n").hexdigest()
    assert {name: labels[name] for name in ("group", "job_type", "run_name", "param.n.d", "output.1")} == {
        "group": "g", "job_type": "train", "run_name": "<i>x</i>", "param.n.d": "3", "output.1": "fraud"}  # fmt: skip
    found = {(one.series.name, one.step): (one.ts, one.value, one.series.stage) for one in told(pages, Sample)}
    assert found == {
        ("loss", 0): (T0 + 10, 1.0, "training"), ("loss", 1): (T0 + 20, 0.5, "training"),
        ("val/acc", 0): (T0 + 10, 0.5, "evaluation"), ("nested.f1", 1): (T0 + 20, 0.25, "training"),
        ("test_auc", 2): (T0 + 90, 0.75, "evaluation"),
    }  # fmt: skip
    [fact] = told(pages, Fact)
    assert (fact.series.signal, fact.series.stage, dict(fact.value.counts)) == ("feature", "training", {1: 3, 2: 4})
    assert "a row of a history without a time" in said(pages)


@pytest.mark.parametrize(
    ("tail", "age", "state", "outcome"),
    [
        ([ended(0)], 60, "finished", "good"),
        ([ended(0)], 99_999, "finished", "good"),
        ([ended(3)], 60, "failed", "bad"),
        ([ended(-1)], 60, "failed", "bad"),
        ([], 60, "running", "open"),
        ([], 99_999, "unfinished", "excluded"),
        ([part(23, b"")], 60, "preempting", "open"),
        ([part(23, b"")], 99_999, "preempted", "excluded"),
    ],
)
def test_how_an_offline_run_ended(tmp_path: Path, tail: list[bytes], age: int, state: str, outcome: str) -> None:
    path = write(tmp_path / "run-a.wandb", framed([run("a", T0), row(0, T0 + 10, loss=1), *tail]))
    [event] = told(parsed(path, int(T0) + 10 + age), Event)
    assert (dict(event.labels)["state"], event.outcome) == (state, outcome)
    assert (event.ended is None) is (outcome == "open")


def test_numbers_in_fields_of_their_own(tmp_path: Path) -> None:
    """The newer form of a value: a whole number, a double, a truth, a text, beside JSON."""
    items = [part(1, "n") + number(5, 7 << 1), part(1, "minus") + number(5, 3), part(1, "flag") + number(4, 1),
             part(1, "x") + b"\x31" + b"\0\0\0\0\0\0\xe0\x3f", part(1, "t") + part(7, "NaN"),
             part(1, "_timestamp") + part(8, str(T0 + 5))]  # fmt: skip
    path = write(tmp_path / "run-a.wandb", framed([run("a", T0), part(2, b"".join(part(1, one) for one in items))]))
    pages = parsed(path)
    assert {one.series.name: one.value for one in told(pages, Sample)} == {"n": 7.0, "minus": -2.0, "x": 0.5}


def test_what_is_still_written_is_read_on_when_it_has_grown(tmp_path: Path) -> None:
    folder = tmp_path / "wandb"
    parts = [run("a", T0), *(row(n, T0 + n, loss=float(n), preds={"_type": "histogram", "bins": [0, 1], "values": [1]})
                             for n in range(300)), ended(0)]  # fmt: skip
    whole = framed(parts)
    given = config(f"file:{folder}")

    def pulled(store: Store, now: int) -> tuple[list[str], int, int]:
        outcome = collect.pull(store, Source(given.common, connect.load("wandb"), given), now)
        assert not outcome.error, outcome.error
        [event] = [one for _, one in Reader(store).events(0, 1 << 40, components=["fraud"], newest=True)]
        rows = store.cursor().execute("SELECT count(DISTINCT step) FROM sample").fetchone()
        counted = store.cursor().execute("SELECT sum(n)::INT FROM histogram_hour").fetchone()
        assert rows is not None
        assert counted is not None
        return [event.outcome, str(event.attempt)], rows[0], counted[0]

    with open_store(tmp_path / "t.duckdb") as store:
        write(folder / "run-a.wandb", whole[: len(whole) // 2])
        outcome, samples, counted = pulled(store, int(T0) + 400)
        assert outcome == ["open", "1"]
        assert 100 < samples == counted < 200
        write(folder / "run-a.wandb", whole, NOW)
        assert pulled(store, int(T0) + 800) == (["good", "1"], 300, 300)
        assert pulled(store, int(T0) + 900) == (["good", "1"], 300, 300)


# -- tables


def test_a_chart_gives_its_values_at_the_time_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "chart.csv"
    shutil.copy(PAYLOADS / "chart.csv", path)
    os.utime(path, (NOW - 100, NOW - 100))
    pages = parsed(path)
    found = [(one.run, one.series.name, one.step, one.ts, one.value) for one in told(pages, Sample)]
    assert found == [
        ("gbm 7", "val/accuracy", 0, NOW - 100, 0.70), ("gbm 7", "val/accuracy", 1, NOW - 100, 0.74),
        ("gbm 7", "val/accuracy", 2, NOW - 100, 0.79), ("forest - big", "val/accuracy", 0, NOW - 100, 0.61),
        ("forest - big", "val/accuracy", 2, NOW - 100, 0.66),
    ]  # fmt: skip
    assert "a chart says no times" in said(pages)


def test_a_chart_that_has_grown_keeps_the_times_of_what_was_seen(tmp_path: Path) -> None:
    given = config(f"file:{tmp_path / 'csv'}")
    before = (PAYLOADS / "chart.csv").read_bytes()
    with open_store(tmp_path / "t.duckdb") as store:
        for data, at in ((before, NOW - 5_000), (before + b'"3","0.8","0.8","0.8","0.7","0.7","0.7"\n', NOW - 1_000)):
            write(tmp_path / "csv" / "chart.csv", data, at)
            assert not collect.pull(store, Source(given.common, connect.load("wandb"), given), NOW).error
        rows = store.cursor().execute("SELECT run, step, ts FROM sample ORDER BY ALL").fetchall()
    assert rows == [*(("forest - big", n, NOW - 5_000) for n in (0, 2)), ("forest - big", 3, NOW - 1_000),
                    *(("gbm 7", n, NOW - 5_000) for n in range(3)), ("gbm 7", 3, NOW - 1_000)]  # fmt: skip


def test_a_history_has_times_and_a_table_of_runs_has_states() -> None:
    pages = parsed(PAYLOADS / "history.csv")
    found = [(one.run, one.series.name, one.step, one.ts, one.value) for one in told(pages, Sample)]
    assert ("history", "val/accuracy", 1, 1_794_960_010.5, 0.8) in found
    assert len(found) == 7
    assert '"loss" that is no finite number' in said(pages)
    pages = parsed(PAYLOADS / "runs.csv")
    midnight = 1_794_960_000
    events = {one.key: (one.outcome, one.ts, one.ended) for one in told(pages, Event)}
    assert events == {
        "4f2a": ("good", midnight + 600, midnight + 1_200), "4f2b": ("bad", midnight + 3_600, midnight + 3_630),
        "4f2c": ("open", midnight + 7_200, None),
    }  # fmt: skip
    values = {(one.run, one.series.name): one.value for one in told(pages, Sample)}
    assert values == {("4f2a", "val/accuracy"): 0.81, ("4f2a", "test_auc"): 0.9}, "lr and loss cannot be told apart"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"Step","a - x","a - x__MIN","a - x__MAX"\n1,2\n', "line 2 has 2 cells where its header has 4"),
        ('"_step","_timestamp"\n1,"2\n', "line 2 is no sound CSV"),
        ('"_step","_timestamp"\n1,\xff\n', "line 2 is not UTF-8"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "x.csv", text.encode("latin-1"))
    with pytest.raises(SourceRefused, match=words):
        parsed(path)


# -- who reads it


def test_every_payload_is_recognised_by_this_connector_alone(tmp_path: Path) -> None:
    folder = tmp_path / "wandb"
    write(folder / "offline-run-20261121_100000-a1" / "run-a1.wandb", framed([run("a1", T0)]))
    write(folder / "offline-run-20261121_100000-a1" / "files" / "requirements.txt", b"numpy\n")
    write(folder / "debug.log", b"x")
    paths = [*(one for one in PAYLOADS.iterdir() if one.name != "PROVENANCE.md"), folder, *folder.glob("offline*")]
    for path in paths:
        found = item(path, Given())
        assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["wandb"], path.name
    for name, data in (("a.csv", b"step,loss\n1,2\n"), ("b.csv", b"Name,State\nx,y\n"), ("c.wandb", b"nothing")):
        assert not wandb.recognise(item(write(tmp_path / name, data), Given()))
    write(folder / "secret.txt", b"x")
    assert not wandb.recognise(item(folder, Given())), "a folder that holds something else is entered"


@pytest.fixture
def imported(tmp_path: Path) -> Iterator[tuple[Store, Any]]:
    with open_store(tmp_path / "t.duckdb") as store:
        yield store, configuration(tmp_path)


def test_an_import_needs_no_configuration(imported: tuple[Store, Any], tmp_path: Path) -> None:
    store, given = imported
    folder = tmp_path / "offline-run-20261121_100000-a1"
    write(folder / "run-a1.wandb", framed([run("a1", T0), row(0, T0 + 5, loss=0.5), ended(0)]))
    for _ in range(2):
        [found] = list(exported.recognise([folder], given, Given(component="fraud"), None))
        assert found.source is not None
        assert found.item is not None
        outcome = collect.import_item(store, found.source, found.item, NOW)
        assert not outcome.error
    assert [(one.kind, one.key) for _, one in Reader(store).events(0, NOW, components=["fraud"])] == [
        ("training", "a1")
    ]
    [(_, _, _, step, value)] = Reader(store).samples("fraud", 0, NOW)
    assert (step, value) == (0, 0.5)
