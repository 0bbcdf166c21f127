"""The tensorboard connector: framing and sums, both forms of scalars, growing files, restarts, how runs end, tables."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _tensorboard, _tfevents, _tfrecord, tensorboard
from connectors._files import item
from connectors._tfevents import read
from connectors._tfrecord import BrokenFraming, crc32c, records
from tandem import collect, connect, exported
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Page, Sample
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.event_files import (
    curve,
    event,
    framed,
    hparams,
    hparams_end,
    masked,
    part,
    plugin,
    session,
    simple,
    summary,
    tensor,
    version,
    whole,
    write,
)
from tests.fakes import config as configuration

PAYLOADS = Path(__file__).parent / "payloads" / "tensorboard"
CAPTURED = PAYLOADS / "events.out.tfevents.1795248304.host1"
NOW = 1_795_300_000
T0 = float(NOW - 7200)
EVENTS = "events.out.tfevents"


def config(path: Path | None = None, **more: Any) -> tensorboard.Config:
    common = Common("tensorboard", "logs", **{"component": ("fraud",), **more.pop("common", {})})
    return tensorboard.Config(common, path=path, **more)


def told(pages: list[Page], kind: type) -> list[Any]:
    return [one for page in pages for one in page.records if isinstance(one, kind)]


def said(pages: list[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


def fetched(given: tensorboard.Config, state: Any = None, now: int = NOW) -> list[Page]:
    return list(tensorboard.fetch(given, Pull(0, now, now, state=state)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def pulled(store: Store, given: tensorboard.Config, now: int = NOW, since: int | None = None) -> collect.Outcome:
    outcome = collect.pull(store, Source(given.common, connect.load("tensorboard"), given), now, since=since)
    assert not outcome.error, outcome.error
    return outcome


def points(store: Store) -> list[tuple[str, str, int, float, str]]:
    """Every point that counts: name, run, step, time, value; nothing that was taken back."""
    rows = store.cursor().execute(
        "SELECT n.name, s.run, s.step, s.ts + s.micros / 1e6, arg_max(s.value, s.load_id) AS value FROM sample s "
        "JOIN series n ON n.id = s.series GROUP BY n.name, s.run, s.step, s.ts, s.micros "
        "HAVING arg_max(s.value, s.load_id) <> '' ORDER BY ALL"
    )
    return rows.fetchall()


def newest(store: Store) -> dict[str, tuple[int, float]]:
    return {placed.name: (step, value) for placed, _, _, step, value in Reader(store).samples("fraud", 0, 1 << 40)}


# -- framing


def test_sums_are_those_of_the_textbook() -> None:
    pieces = [random.Random(size).randbytes(size) for size in [*range(130), 255, 256, 257, 1000, 4097, 70_001]]
    assert crc32c(pieces).tolist() == [masked(piece) for piece in pieces]


def test_a_file_cut_anywhere_gives_its_whole_records_and_the_rest_when_it_has_grown() -> None:
    whole_file = b"".join(framed(bytes([65 + n]) * (n * 37 + 5)) for n in range(4))
    expected = [one.data for some in records(BytesIO(whole_file)) for one in some]
    assert len(expected) == 4
    for cut in range(len(whole_file)):
        before = [one for some in records(BytesIO(whole_file[:cut])) for one in some]
        begin = before[-1].end if before else 0
        after = [one for some in records(BytesIO(whole_file[begin:]), begin) for one in some]
        assert [one.data for one in (*before, *after)] == expected


def test_a_wrong_sum_costs_one_record_and_a_wrong_length_all_that_follow() -> None:
    parts = [framed(event(T0 + n, n)) for n in range(5)]
    spoiled = bytearray(parts[2])
    spoiled[15] ^= 1
    found = [one for some in records(BytesIO(b"".join([*parts[:2], bytes(spoiled), *parts[3:]]))) for one in some]
    assert [one.why for one in found] == ["", "", "a wrong check sum", "", ""]
    broken = bytearray(parts[2])
    broken[1] ^= 1
    reader = records(BytesIO(b"".join([*parts[:2], bytes(broken), *parts[3:]])))
    found = next(reader)
    with pytest.raises(BrokenFraming) as no:
        next(reader)
    assert (len(found), no.value.at) == (2, len(parts[0] + parts[1]))


def test_a_record_that_is_too_large_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tfrecord, "LARGEST", 1000)
    monkeypatch.setattr(_tfrecord, "CHUNK", 128)
    parts = [framed(b"a" * 40), framed(b"b" * 5000), framed(b"c" * 900), framed(b"d")]
    found = [one for some in records(BytesIO(b"".join(parts))) for one in some]
    assert [one.data and one.data[:1] for one in found] == [b"a", None, b"c", b"d"]
    assert found[-1].end == sum(map(len, parts))
    cut = [one for some in records(BytesIO(b"".join(parts[:2])[:-1])) for one in some]
    assert len(cut) == 1


# -- what a record says


def test_scalars_of_both_forms_and_of_every_type() -> None:
    bodies = {
        "float": whole(1, 1) + part(2, b"") + part(5, struct.pack("<f", 0.5)),
        "content": whole(1, 1) + part(4, struct.pack("<f", 0.25)),
        "double": whole(1, 2) + part(6, struct.pack("<d", 0.1)),
        "int64": whole(1, 9) + part(10, whole(0, -3)[1:]),
        "one": whole(1, 3) + whole(7, 12),
        "half": whole(1, 19) + whole(13, int(np.float16(1.5).view(np.uint16))),
        "bfloat16": whole(1, 14) + part(4, struct.pack("<f", 2.0)[2:]),
        "shape [1]": whole(1, 1) + part(2, part(2, whole(1, 1))) + part(5, struct.pack("<f", 8.0)),
    }
    values = [tensor(tag, body) for tag, body in bodies.items()]
    pair = whole(1, 1) + part(2, part(2, whole(1, 2))) + part(5, struct.pack("<2f", 1, 2))
    no_scalars = [tensor("pair", pair), tensor("text", whole(1, 7) + part(8, b"hello"), "text"),
                  part(1, b"histogram") + part(5, b"")]  # fmt: skip
    logged = read(event(T0, -1, summary(simple("torch", 0.961), *values, *no_scalars)))
    assert logged.step == -1
    assert dict(logged.scalars) == {
        "torch": float(np.float32(0.961)), "float": 0.5, "content": 0.25, "double": 0.1, "int64": -3.0, "one": 12.0,
        "half": 1.5, "bfloat16": 2.0, "shape [1]": 8.0,
    }  # fmt: skip
    assert logged.other == 3


def test_plain_records_are_read_as_all_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(9)
    tags = ["", "a", "\x15tag\x15", "é" * 40, "t" * 118, "t" * 119, "t" * 200]
    some = [event(T0 + chance.random(), step, summary(simple(chance.choice(tags), chance.random())))
            for step in (0, 1, 127, 128, 300, 1 << 40, -5) for _ in range(30)]  # fmt: skip
    some += [one[:-1] + bytes([one[-1] ^ 7]) for one in some[:50]]
    known = [read(one) for one in some]
    monkeypatch.setattr(_tfevents, "_plain", lambda data: None)
    assert [read(one) for one in some] == known
    assert len({one.step for one in known}) == 7


def test_the_captured_file() -> None:
    pages = list(tensorboard.parse(item(CAPTURED, Given()), config()))
    samples = told(pages, Sample)
    loss = {one.step: one.value for one in samples if one.series.name == "train/loss"}
    assert loss == {step: float(np.float32(1 / (1 + step))) for step in range(30)}
    assert len(samples) == 60
    assert {(one.series.stage, one.run, int(one.ts)) for one in samples} == {("training", "tensorboard", 1795248304)}
    [run] = told(pages, Event)
    assert (run.kind, run.key, run.outcome, run.ts) == ("training", "tensorboard", "excluded", 1795248304)
    evaluated = told(list(tensorboard.parse(item(CAPTURED, Given()), config(evaluation=("val/*",)))), Sample)
    assert {one.series.name for one in evaluated if one.series.stage == "evaluation"} == {"val/accuracy"}


def test_bytes_that_are_no_event_are_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    chance = random.Random(5)
    junk = [chance.randbytes(chance.randrange(60)) for _ in range(300)]
    write(tmp_path / "run" / EVENTS, [version(T0), *junk, *curve("loss", T0, range(3))])
    pages = fetched(config(tmp_path))
    known = [(one.series.name, one.step) for one in told(pages, Sample)]
    assert [pair for pair in known if pair[0] == "loss"] == [("loss", 0), ("loss", 1), ("loss", 2)]
    assert "is no event of TensorBoard" in said(pages)


def test_values_that_are_no_numbers_and_times_that_are_none_are_rejected(tmp_path: Path) -> None:
    bad = [event(T0, 1, summary(simple("loss", float("nan")), simple("loss2", float("inf")))),
           event(0.5, 2, summary(simple("loss", 1))), event(NOW + 9000.0, 3, summary(simple("loss", 1)))]  # fmt: skip
    write(tmp_path / "run" / EVENTS, [version(T0), *bad, *curve("loss", T0, [4])])
    pages = fetched(config(tmp_path))
    assert [one.step for one in told(pages, Sample)] == [4]
    assert sorted(one.count for page in pages for one in page.findings) == [1, 1, 2]


# -- files that grow


def test_a_second_pull_reads_what_was_appended_and_nothing_twice(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    opened: list[int] = []
    real = _tensorboard.open_from
    monkeypatch.setattr(_tensorboard, "open_from", lambda path, begin: opened.append(begin) or real(path, begin))
    one = write(logs / "a" / EVENTS, [version(T0), *curve("loss", T0, range(10))])
    write(logs / "b" / EVENTS, [version(T0), *curve("loss", T0, range(5))])
    pulled(store, config(logs))
    assert len(points(store)) == 15
    opened.clear()
    pulled(store, config(logs), NOW + 300)
    assert opened == [], "an unchanged file is not opened"
    size = one.stat().st_size
    more = b"".join(framed(each) for each in curve("loss", T0 + 60, range(10, 14)))
    with one.open("ab") as file:
        file.write(more[:-7])
    outcome = pulled(store, config(logs), NOW + 600)
    assert opened.count(size) == 1, "it is read on from the byte where it ended"
    assert len(points(store)) == 18, "the last record is cut"
    with one.open("ab") as file:
        file.write(more[-7:])
    pulled(store, config(logs), NOW + 900)
    before = points(store)
    assert [step for name, run, step, *_ in before if run == "a"] == list(range(14))
    pulled(store, config(logs), NOW + 1200, since=0)
    assert points(store) == before, "with its state forgotten all is read again, and nothing counts twice"
    print(f"files opened for 1 of 2 that grew: {len(set(opened))}, fewest possible 1; rows {outcome.rows}")
    assert "fewest possible" in capsys.readouterr().out


def test_a_value_at_or_after_the_pull_waits_for_the_next(tmp_path: Path) -> None:
    write(tmp_path / "run" / EVENTS, [version(T0), *curve("loss", NOW - 2, range(4))])
    pages = fetched(config(tmp_path))
    assert [one.step for one in told(pages, Sample)] == [0, 1]
    later = fetched(config(tmp_path), pages[-1].state, NOW + 300)
    assert [one.step for one in told(later, Sample)] == [2, 3]


def test_of_a_long_curve_values_thin_out_and_the_last_stays(tmp_path: Path) -> None:
    write(tmp_path / "run" / EVENTS, [version(T0), *curve("loss", T0, range(100))])
    pages = fetched(config(tmp_path, max_points=10))
    steps = [one.step for one in told(pages, Sample)]
    assert steps == [*range(10), *range(10, 20, 2), *range(20, 40, 4), *range(40, 80, 8), 80, 96, 99]
    assert "more than 10 at one reading" in said(pages)
    assert [one.count for page in pages for one in page.findings] == [100 - len(steps)]


def test_a_large_file_comes_in_pages_that_a_killed_pull_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tensorboard, "PAGE", 50)
    monkeypatch.setattr(_tfrecord, "CHUNK", 512)
    write(tmp_path / "run" / EVENTS, [version(T0), *curve("loss", T0, range(200))])
    first = next(page for page in tensorboard.fetch(config(tmp_path), Pull(0, NOW, NOW)) if page.records)
    assert 50 <= len(first.records) < 80
    rest = told(fetched(config(tmp_path), first.state), Sample)
    assert len(first.records) + len(rest) == 200


# -- restarts


def test_a_restart_takes_back_what_it_makes_void(store: Store, tmp_path: Path) -> None:
    run = tmp_path / "logs" / "run"
    write(run / f"{EVENTS}.1", [version(T0), *curve("loss", T0, range(10)), *curve("other", T0, range(10))])
    pulled(store, config(tmp_path / "logs"))
    assert newest(store)["loss"] == (9, pytest.approx(0.1))
    write(run / f"{EVENTS}.2", [version(T0 + 100), *curve("loss", T0 + 100, [6, 7], 5.0)])
    pulled(store, config(tmp_path / "logs"), NOW + 300)
    steps = [(name, step, ts >= T0 + 100) for name, _, step, ts, _ in points(store)]
    assert [pair[1:] for pair in steps if pair[0] == "loss"] == [(n, False) for n in range(6)] + [(6, True), (7, True)]
    assert len([1 for pair in steps if pair[0] == "other"]) == 10, "another tag goes on"
    assert newest(store)["loss"] == (7, pytest.approx(5 / 8))
    state = points(store)
    pulled(store, config(tmp_path / "logs"), NOW + 600, since=0)
    assert points(store) == state
    with open_store(tmp_path / "afresh.duckdb") as other:
        pulled(other, config(tmp_path / "logs"))
        assert points(other) == state, "read at once it comes to the same"
    attempts = [one for _, one in Reader(store).events(0, 1 << 40, components=["fraud"])]
    assert [(one.attempt, one.ts, one.ended) for one in attempts] == [
        (1, int(T0), int(T0) + 9), (2, int(T0) + 100, int(T0) + 101)]  # fmt: skip


def test_a_session_that_says_its_first_step_voids_every_tag_from_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run / f"{EVENTS}.1", [version(T0), *curve("loss", T0, range(10)), *curve("lr", T0, range(10))])
    write(run / f"{EVENTS}.2", [version(T0 + 100), event(T0 + 100, 4, session(1)), *curve("loss", T0 + 101, [4])])
    found = sorted((one.series.name, one.step) for one in told(fetched(config(tmp_path)), Sample))
    assert found == [("loss", n) for n in range(5)] + [("lr", n) for n in range(4)]


def test_a_file_that_goes_on_is_the_same_attempt(tmp_path: Path) -> None:
    write(tmp_path / "run" / f"{EVENTS}.1", [version(T0), *curve("loss", T0, range(5))])
    write(tmp_path / "run" / f"{EVENTS}.2", [version(T0 + 50), *curve("loss", T0 + 50, range(5, 9))])
    pages = fetched(config(tmp_path))
    [run] = told(pages, Event)
    assert (run.attempt, run.ts, run.ended) == (1, int(T0), int(T0) + 53)
    assert len(told(pages, Sample)) == 9


# -- how a run ends


def outcomes(store: Store) -> list[tuple[str, str]]:
    return [(one.key, one.outcome) for _, one in Reader(store).events(0, 1 << 40, components=["fraud"], newest=True)]


def test_a_run_is_open_while_it_is_written_and_over_when_it_is_quiet(store: Store, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs / "run" / EVENTS, [version(T0), *curve("loss", NOW - 60, range(10))])
    pulled(store, config(logs))
    assert outcomes(store) == [("run", "open")]
    pulled(store, config(logs), NOW + 600)
    assert outcomes(store) == [("run", "open")]
    pulled(store, config(logs), NOW + 4000)
    assert outcomes(store) == [("run", "excluded")], "nothing says whether it succeeded"
    reader = Reader(store)
    assert not [one for one in reader.series(component="fraud") if one.placed.signal == "training_success"]
    write(logs / "run" / EVENTS, curve("loss", NOW + 5000, range(10, 12)))
    pulled(store, config(logs), NOW + 5400)
    assert outcomes(store) == [("run", "open")], "it went on after all"


def test_the_words_of_a_run_and_of_the_configuration(store: Store, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for name, status, at in (("good", 1, T0 + 9), ("bad", 2, T0 + 9), ("odd", 0, T0 + 9), ("torch", 1, None)):
        begun = event(T0, 0, summary(hparams({"lr": 0.01, "opt": "adam", "amp": True})))
        ended = event(T0 + 9, 0, summary(hparams_end(status, at)))
        write(logs / name / EVENTS, [version(T0), begun, *curve("loss", T0, range(3)), ended])
    write(logs / "stopped" / EVENTS, [version(T0), *curve("loss", T0, range(3)), event(T0 + 9, 2, session(2))])
    pulled(store, config(logs))
    assert dict(outcomes(store)) == {
        "good": "good", "bad": "bad", "odd": "excluded", "torch": "excluded", "stopped": "good"}  # fmt: skip
    labels = dict(told(fetched(config(logs)), Event)[0].labels)
    assert {name: labels[name] for name in ("param.lr", "param.opt", "param.amp")} == {
        "param.lr": "0.01", "param.opt": "adam", "param.amp": "true"}  # fmt: skip
    ids = [one.id for one in Reader(store).series(component="fraud", signal="training_success")]
    merged = Reader(store).totals("ratio", ids, [(0, 1 << 40)])
    assert [tuple(merge[0]) for merge in merged.values() if merge[0]] == [(2, 3)]
    pulled(store, config(logs, common={"status": {"quiet": "good", "FAILURE": "excluded"}}), NOW + 300)
    assert dict(outcomes(store))["torch"] == "good"
    assert dict(outcomes(store))["bad"] == "excluded"


def test_parameters_are_remembered_when_a_run_goes_on(store: Store, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    path = write(
        logs / "run" / EVENTS, [version(T0), event(T0, 0, summary(hparams({"lr": 0.5}))), *curve("l", T0, [1])]
    )
    pulled(store, config(logs))
    write(path, curve("l", T0 + 60, [2]))
    pulled(store, config(logs), NOW + 300)
    [(_, run)] = Reader(store).events(0, 1 << 40, components=["fraud"])
    assert dict(run.labels)["param.lr"] == "0.5"
    assert run.ended == int(T0) + 60


# -- tables


def table(path: Path, lines: list[str], when: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    os.utime(path, (when, when))
    return path


def test_the_tables_of_keras_and_lightning() -> None:
    samples = told(list(tensorboard.parse(item(PAYLOADS / "keras.csv", Given()), config())), Sample)
    found = [(one.series.name, one.step, one.value) for one in samples if one.series.name.startswith("val")]
    assert found == [
        ("val_accuracy", 0, 0.55),
        ("val_loss", 0, 0.6891),
        ("val_accuracy", 1, 0.61),
        ("val_loss", 1, 0.6404),
    ]
    assert {one.run for one in samples} == {"keras"}
    pages = list(tensorboard.parse(item(PAYLOADS / "lightning", Given()), config()))
    assert [(one.step, one.value) for one in told(pages, Sample) if one.series.name == "val_acc"] == [
        (19, 0.71), (39, 0.83)]  # fmt: skip
    [run] = told(pages, Event)
    assert (run.key, dict(run.labels)["param.optimizer"]) == ("version_0", "adam")
    assert "says no times" in said(pages)


def test_a_row_keeps_the_time_at_which_it_was_first_seen(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "fit.csv"
    rows = ["epoch,loss", "0,0.5", "1,0.4"]
    table(path, rows, NOW - 600)
    pulled(store, config(tmp_path / "logs"))
    table(path, [*rows, "2,0.3"], NOW - 60)
    pulled(store, config(tmp_path / "logs"), NOW + 300)
    expected = [("loss", "fit", 0, NOW - 600.0, "0.5"), ("loss", "fit", 1, NOW - 600.0, "0.4"),
                ("loss", "fit", 2, NOW - 60.0, "0.3")]  # fmt: skip
    assert points(store) == expected
    pulled(store, config(tmp_path / "logs"), NOW + 600, since=0)
    pulled(store, config(tmp_path / "logs", quiet=60), NOW + 900)
    assert points(store) == expected, "whatever is forgotten or set"
    wider = ["epoch,loss,val_loss", "0,0.5,", "1,0.4,", "2,0.3,", "3,0.2,0.9"]
    table(path, wider, NOW + 1000)
    pulled(store, config(tmp_path / "logs"), NOW + 1200)
    assert points(store)[:3] == expected, "a new column writes all of the file again"
    assert [row[0] for row in points(store)[3:]] == ["loss", "val_loss"]


def test_a_table_that_is_begun_anew_is_another_run(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "fit.csv"
    table(path, ["epoch,loss", "0,0.5", "1,0.4", "2,0.3"], NOW - 600)
    pulled(store, config(tmp_path / "logs"))
    table(path, ["epoch,loss", "0,0.9"], NOW - 60)
    pulled(store, config(tmp_path / "logs"), NOW + 300)
    assert {(run, step) for _, run, step, _, _ in points(store)} == {
        ("fit", 0), ("fit", 1), ("fit", 2), ("fit (2)", 0)}  # fmt: skip
    pulled(store, config(tmp_path / "logs"), NOW + 600, since=0)
    assert len(points(store)) == 4
    assert sorted(key for key, _ in outcomes(store)) == ["fit", "fit (2)"]


def test_a_row_that_is_cut_waits_and_bad_rows_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "logs" / "fit.csv", ["epoch,loss", "0,0.5", "1,nan"], NOW - 60)
    path.write_text(path.read_text() + "2,0.")
    os.utime(path, (NOW - 60, NOW - 60))
    pages = fetched(config(tmp_path / "logs"))
    assert [one.step for one in told(pages, Sample)] == [0]
    assert 'a value of "loss" that is no finite number' in said(pages)
    table(tmp_path / "other" / "fit.csv", ["epoch,loss", "0,0.5,9"], NOW - 60)
    assert "line 2 has 3 cells" in said(fetched(config(tmp_path / "other")))
    table(tmp_path / "later" / "fit.csv", ["epoch,loss", "0,0.5"], NOW + 60)
    assert not told(fetched(config(tmp_path / "later")), Sample), "not before its time"


def test_beside_event_files_metrics_csv_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "version_0" / EVENTS, [version(T0), *curve("train_loss", T0, range(3))])
    table(tmp_path / "version_0" / "metrics.csv", ["epoch,step,train_loss", "0,1,0.5"], NOW - 60)
    assert len(told(fetched(config(tmp_path)), Sample)) == 3


# -- files and names


def test_every_payload_is_recognised_by_nobody_else() -> None:
    for path in (CAPTURED, PAYLOADS / "keras.csv", PAYLOADS / "lightning",
                 PAYLOADS / "lightning" / "version_0" / "metrics.csv"):  # fmt: skip
        one = item(path, Given())
        assert [name for name in connect.names() if connect.load(name).recognise(one)] == ["tensorboard"], path


@pytest.mark.parametrize("text", ["id,epoch\nx,1\n", "epoch\n1\n", "a,b\n1,2\n", "step,note\n1,hello\n", "", "{}"])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.csv").write_text(text)
    assert not tensorboard.recognise(item(tmp_path / "some.csv", Given()))


def test_import_of_a_folder_and_of_an_archive(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write(runs / "a" / EVENTS, [version(T0), *curve("loss", T0, range(3))])
    write(runs / "b" / EVENTS, [version(T0), *curve("loss", T0, range(3))])
    found = list(exported.recognise([runs], configuration(tmp_path), Given(component="fraud"), None))
    assert [one.refused for one in found] == [""]
    assert found[0].item is not None
    pages = list(tensorboard.parse(found[0].item, config()))
    assert {one.run for one in told(pages, Sample)} == {"a", "b"}
    packed = Path(shutil.make_archive(str(tmp_path / "exp"), "zip", runs))
    taken = [tensorboard.parse(one.item, config()) for one in exported.recognise([packed], configuration(tmp_path),
             Given(component="fraud"), None) if one.item is not None]  # fmt: skip
    assert sorted({one.run for pages in taken for one in told(list(pages), Sample)}) == ["a", "b"]


def test_names_from_outside_stay_text_and_broken_files_say_where(store: Store, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202e'; DROP TABLE sample; --"
    write(tmp_path / "logs" / hostile.replace("/", "_") / EVENTS,
          [version(T0), event(T0, 1, summary(simple(hostile, 1.0), plugin("hparams", b"\x1a\xff")))])  # fmt: skip
    pulled(store, config(tmp_path / "logs"))
    assert "is no event of TensorBoard" in said(fetched(config(tmp_path / "logs")))
    write(tmp_path / "logs" / hostile / EVENTS, [event(T0, 2, summary(simple(hostile, 1.0)))])
    pulled(store, config(tmp_path / "logs"), NOW + 300)
    assert newest(store) == {hostile: (2, 1.0)}
    broken = write(tmp_path / "broken" / EVENTS, [version(T0), *curve("loss", T0, range(2))])
    with broken.open("ab") as file:
        file.write(b"\1" * 100)
    with pytest.raises(SourceRefused, match="framing is broken at byte"):
        list(tensorboard.parse(item(broken, Given()), config()))
    pages = fetched(config(tmp_path / "broken"))
    assert "framing is broken at byte" in said(pages)
    assert len(told(pages, Sample)) == 2
    with pytest.raises(SourceRefused, match="is not there"):
        fetched(config(tmp_path / "nowhere"))
    with pytest.raises(SourceRefused, match="set path"):
        fetched(config())
