"""Objects of a bucket: fetched once, restated when they are written again, and asked for by nobody but the bucket."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import zstandard
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from connectors import _s3_mirror, s3, sagemaker
from connectors._s3_listing import LATELY, Resume, Stored, resume
from tandem import connect
from tandem.connect import Common, Pull, SourceDown
from tandem.records import Fact, Page, Ratio
from tests import faults, faults_s3
from tests.faults_s3 import KEY, REPORT
from tests.replay import Answer, Asked, Server, serve
from tests.s3_server import NEW, S3
from tests.test_predictions import Shelf, as_csv, in_this_process, plain

__all__ = ["in_this_process"]

SETTINGS = {"task": "binary", "id": "id", "time": "ts", "prediction": "predicted", "label": "label", "features": []}
FAR = 1 << 40


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TANDEM_TEST_ACCESS_KEY", KEY)
    monkeypatch.setenv(faults.TOKEN_ENV, faults.TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def rows_of(server: Server, **more: Any) -> s3.Config:
    """A log of predictions in a bucket."""
    plain_ = {"prefix": "log/", "format": "predictions", "settings": SETTINGS}
    return replace(faults_s3.config(server.url), common=Common("s3", "log", component=("model",)), **{**plain_, **more})


def reports_of(server: Server, **more: Any) -> s3.Config:
    return replace(faults_s3.config(server.url), **more)


def csv(n: int, prefix: str, **more: Any) -> bytes:
    return as_csv(plain(n, prefix, **more)).encode()


def counts(shelf: Shelf) -> tuple[int, int]:
    """(labelled, all) predictions."""
    found = [values for key, values in shelf.total().items() if key[0] == "label_coverage"]
    return sum(one[0] for one in found), sum(one[1] for one in found)


def log_bucket() -> S3:
    server = S3(key=KEY)
    for day in range(1, 5):
        server.put(f"log/day={day}/a.csv", csv(10, f"{day}-"), NEW + 86_400 * day)
    return server


class Reports(Shelf):
    """A shelf for what test reports say: whole totals of their buckets."""

    def __init__(self) -> None:
        super().__init__()
        self.ratios: dict[Any, Ratio] = {}

    def _page(self, page: Page) -> None:
        self.ratios.update({(one.series, one.ts): one.value for one in page.records if _is_ratio(one)})
        super()._page(replace(page, records=[one for one in page.records if not isinstance(one, Fact)]))

    def tests(self) -> tuple[int, int]:
        """(good, all) tests."""
        return sum(one.good for one in self.ratios.values()), sum(one.total for one in self.ratios.values())


def _is_ratio(one: Any) -> bool:
    return isinstance(one, Fact) and isinstance(one.value, Ratio) and one.series.signal == "test_success"


class Followed:
    """A source that follows a bucket, and what it asked for."""

    def __init__(self, server: Server, shelf: Any = Shelf) -> None:
        self.server = server
        self.shelf = shelf()

    def pull(self, config: s3.Config, sweep: bool = False, keep: bool = True) -> list[str]:
        """What one more pull asks for: "list after KEY", or a key."""
        begin = len(self.server.asked)
        self.shelf.take(s3.fetch(config, replace(self.shelf.pull(FAR, keep=keep), sweep=sweep)))
        return [_said(one) for one in self.server.asked[begin:]]


def _said(asked: Asked) -> str:
    told = dict(asked.query)
    if "list-type" in told:
        return f"list after {told.get('start-after', told.get('continuation-token', ''))}"
    return unquote(asked.path.split("/", 2)[2])


# -- rows


def test_a_second_pull_lists_from_the_newest_folder_and_fetches_nothing() -> None:
    bucket = log_bucket()
    with serve(bucket.answer) as server:
        source, config = Followed(server), rows_of(server)
        first = source.pull(config)
        assert first == ["list after ", *(f"log/day={day}/a.csv" for day in range(1, 5))]
        assert counts(source.shelf) == (40, 40)
        second = source.pull(config)
        print(f"requests of a second pull: {len(second)}, fewest possible 1")
        assert second == ["list after log/day=4/"]
        bucket.put("log/day=4/b.csv", csv(5, "4b-"), NEW + 86_400 * 4 + 60)
        bucket.put("log/day=5/a.csv", csv(5, "5-"), NEW + 86_400 * 5)
        assert source.pull(config) == ["list after log/day=4/", "log/day=4/b.csv", "log/day=5/a.csv"]
        assert counts(source.shelf) == (50, 50)
        assert source.pull(config) == ["list after log/day=5/"]
        assert set(source.shelf.digests) >= {"day=1/a.csv", "day=5/a.csv"}, "named as the same files in a folder are"


def test_an_object_that_is_written_again_is_restated() -> None:
    bucket = log_bucket()
    with serve(bucket.answer) as server:
        source, config = Followed(server), rows_of(server)
        source.pull(config)
        bucket.put("log/day=4/a.csv", csv(7, "4-", label=0), NEW + 86_400 * 4 + 1)
        assert source.pull(config) == ["list after log/day=4/", "log/day=4/a.csv"]
        assert counts(source.shelf) == (37, 37)
        before = dict(source.shelf.digests)
        bucket.put("log/day=4/a.csv", csv(7, "4-", label=0), NEW + 86_400 * 4 + 2, etag="0123456789abcdef-2")
        assert source.pull(config) == ["list after log/day=4/", "log/day=4/a.csv"]
        assert source.shelf.digests == before, "the same bytes as an upload in parts"


def test_what_is_written_elsewhere_is_found_by_the_daily_sweep() -> None:
    bucket = log_bucket()
    with serve(bucket.answer) as server:
        source, config = Followed(server), rows_of(server)
        source.pull(config)
        bucket.put("log/day=1/a.csv", csv(3, "1-"), NEW + 86_400 * 4)
        bucket.put("log/day=0/late.csv", csv(4, "0-"), NEW + 86_400 * 4)
        assert source.pull(config) == ["list after log/day=4/"]
        assert source.pull(config, sweep=True) == ["list after ", "log/day=0/late.csv", "log/day=1/a.csv"]
        assert counts(source.shelf) == (37, 37)
        # Folders are not in the order of time now: each pull lists all, until a sweep finds that they are again.
        assert source.pull(config) == ["list after "]


def test_copies_that_are_gone_are_fetched_again_and_change_no_number(tmp_path: Path) -> None:
    bucket = log_bucket()
    with serve(bucket.answer) as server:
        source, config = Followed(server), rows_of(server)
        source.pull(config)
        before = source.shelf.total()
        for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        assert len(source.pull(config)) == 5
        assert source.shelf.total() == before
        assert len(source.pull(config, keep=False)) == 1
        assert source.shelf.total() == before
        [index] = (tmp_path / "cache").rglob("index.json")
        assert index.parent.stat().st_mode & 0o077 == 0, "copies of predictions are for this user alone"


def test_an_object_that_is_deleted_keeps_its_contribution(tmp_path: Path) -> None:
    bucket = log_bucket()
    with serve(bucket.answer) as server:
        source, config = Followed(server), rows_of(server)
        source.pull(config)
        del bucket.objects["log/day=1/a.csv"]
        source.pull(config, sweep=True)
        assert counts(source.shelf) == (40, 40)
        assert not [*(tmp_path / "cache").rglob("day=1/a.csv")], "a bucket that forgets is not remembered on this disk"


def test_a_pull_that_breaks_off_goes_on_where_it_was() -> None:
    bucket = log_bucket()
    bucket.now = lambda: faults.START
    good = bucket.answer

    def broken(asked: Asked) -> Answer:
        return Answer({"error": "INTERNAL"}, 502) if "day%3D3" in asked.path else good(asked)

    answer = [broken]
    with faults.virtual(faults.PATIENT), serve(lambda asked: answer[0](asked)) as server:
        source, config = Followed(server), rows_of(server)
        with pytest.raises(SourceDown, match="answered 502"):
            source.pull(config)
        answer[0] = good
        assert source.pull(config) == ["list after ", "log/day=3/a.csv", "log/day=4/a.csv"]
        assert counts(source.shelf) == (40, 40)


def test_packed_objects_are_unpacked() -> None:
    bucket = S3(key=KEY)
    bucket.put("log/a.csv.gz", gzip.compress(csv(10, "a-")), headers={"Content-Encoding": "gzip"})
    bucket.put("log/b.csv.zst", zstandard.compress(csv(20, "b-")))
    bucket.put("log/_SUCCESS", b"")
    bucket.put("log/readme.txt", b"not a log")
    with serve(bucket.answer) as server:
        source = Followed(server)
        assert source.pull(rows_of(server)) == ["list after ", "log/a.csv.gz", "log/b.csv.zst"]
    assert counts(source.shelf) == (30, 30)


def test_a_large_object_comes_in_pieces_of_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_s3_mirror, "PIECE", 100)
    bucket = S3(key=KEY)
    bucket.put("log/a.csv", csv(10, "a-"))
    size = len(bucket.objects["log/a.csv"].data)
    with serve(bucket.answer) as server:
        source, config = Followed(server), rows_of(server)
        assert len(source.pull(config)) == 1 + -(-size // 100)
        assert {one.headers.get("range") for one in server.asked[1:3]} == {"bytes=0-99", "bytes=100-199"}
        assert counts(source.shelf) == (10, 10)
        bucket.put("log/b.csv", csv(10, "b-"))
        kept, asked = bucket.answer, []

        def rewritten(one: Asked) -> Answer:
            asked.append(one)
            if len(asked) == 3:
                bucket.put("log/b.csv", csv(10, "c-"))
            return kept(one)

        server_config = rewritten
    with serve(server_config) as server:
        source.server = server
        moved = replace(config, endpoint=server.url, cache=Path(os.environ["XDG_CACHE_HOME"]) / "other")
        source.pull(moved, keep=False)
        assert [one.reason for one in source.shelf.findings] == [
            "b.csv changed or vanished while it was read; it is read at the next pull."
        ]
        source.pull(moved, sweep=True)
    assert counts(source.shelf) == (20, 20)


def test_a_table_in_a_bucket(tmp_path: Path) -> None:
    """The whole folder of a Delta table, with labels that come by MERGE."""
    from tests.test_delta import few, two_days

    lake, one, _ = two_days(tmp_path / "t")
    bucket = S3(key=KEY)

    def upload() -> None:
        for number, path in enumerate(sorted(lake.folder.rglob("*.*"))):
            bucket.put(f"lake/{path.relative_to(lake.folder).as_posix()}", path.read_bytes(), NEW + number)

    upload()
    with serve(bucket.answer) as server:
        source, config = Followed(server), rows_of(server, prefix="lake/", format="deltalake")
        source.pull(config)
        assert counts(source.shelf) == (0, 50)
        lake.commit(lake.remove(one), lake.add(few(label=1), day="1"), operation="MERGE")
        upload()
        source.pull(config)
        assert counts(source.shelf) == (30, 50)
        assert source.shelf.digests.keys() >= {"day=1", "day=2"}


def test_results_that_lie_in_folders_are_read_as_folders(tmp_path: Path) -> None:
    """A statistics file says nothing without its neighbours: the same as from the folder itself."""
    folder = Path(__file__).parent / "payloads" / "sagemaker" / "claim-endpoint"
    shutil.copytree(folder, tmp_path / "copy" / folder.name)
    bucket = S3(key=KEY)
    for number, path in enumerate(sorted(one for one in folder.rglob("*") if one.is_file())):
        name = path.relative_to(folder.parent)
        os.utime(tmp_path / "copy" / name, (NEW + number, NEW + number))
        bucket.put(f"monitor/{name.as_posix()}", path.read_bytes(), NEW + number)
    common = Common("sagemaker", "m", component=("claims",))
    wanted = sagemaker.fetch(sagemaker.Config(common, path=tmp_path / "copy"), Pull(0, FAR, FAR))
    told = [record for page in wanted for record in page.records]
    with serve(bucket.answer) as server:
        source = replace(reports_of(server), common=common, prefix="monitor/", format="sagemaker")
        got = [record for page in s3.fetch(source, Pull(0, FAR, FAR)) for record in page.records]
    assert told
    assert sorted(map(repr, got)) == sorted(map(repr, told))


# -- files that are read one by one


def test_reports_are_read_once_and_again_when_they_change() -> None:
    bucket = faults_s3.bucket()
    with serve(bucket.answer) as server, faults.virtual(faults.PATIENT):
        source, config = Followed(server, Reports), reports_of(server)
        assert len(source.pull(config)) == 7
        assert source.shelf.tests() == (5, 10)
        assert source.pull(config) == ["list after ci/2026-11-14/"]
        text = REPORT.format(day=4).replace("<failure/>", "").replace('failures="1"', 'failures="0"')
        bucket.put("ci/2026-11-14/report.xml", text.encode(), NEW + 5 * 86_400)
        assert source.pull(config) == ["list after ci/2026-11-14/", "ci/2026-11-14/report.xml"]
        assert source.shelf.tests() == (6, 10)
        assert len(source.pull(replace(config, settings={}), keep=False)) == 2, "known by their ETags, not by a state"
        other = replace(config, common=replace(config.common, component=("payments",)))
        assert len(source.pull(other, keep=False)) == 7, "another meaning"


def test_a_broken_object_is_said_once_and_stops_nobody() -> None:
    bucket = faults_s3.bucket()
    bucket.put("ci/2026-11-15/report.xml", b"<testsuite><testcase", NEW + 6 * 86_400)
    bucket.put("ci/2026-11-15/notes.txt", b"hello", NEW + 6 * 86_400)
    bucket.put("ci/2026-11-15/old.xml", b"<testsuite/>", NEW + 6 * 86_400, storage="GLACIER")
    with serve(bucket.answer) as server, faults.virtual(faults.PATIENT):
        source, config = Followed(server, Reports), reports_of(server)
        source.pull(config)
        assert source.shelf.tests() == (5, 10)
        told = sorted(one.reason for one in source.shelf.findings)
        assert told[0] == "notes.txt is nothing that junit reads."
        assert told[1] == "old.xml is archived (Glacier); restore it, or leave it out by its prefix."
        assert told[2].startswith("report.xml ") and told[2].count("\n") == 0
        assert source.pull(config) == ["list after ci/2026-11-15/"]


def test_auto_lets_each_file_go_to_who_reads_it() -> None:
    bucket = faults_s3.bucket()
    bucket.put("ci/2026-11-15/log.csv", b"prediction_id,ts,prediction\na,2026-11-15T00:00:00Z,1\n", NEW + 6 * 86_400)
    bucket.put("ci/2026-11-15/notes.txt", b"hello", NEW + 6 * 86_400)
    with serve(bucket.answer) as server, faults.virtual(faults.PATIENT):
        source = Followed(server, Reports)
        source.pull(reports_of(server, format="auto"))
    assert source.shelf.tests() == (5, 10)
    assert sorted(one.reason for one in source.shelf.findings) == [
        'log.csv is read by predictions, which wants to be told more: set format = "predictions", and settings.',
        "notes.txt is nothing that Tandem reads; say which connector reads it in format.",
    ]


def test_keys_that_no_file_can_be_called_are_left_out() -> None:
    nasty = ["log/../../etc/passwd.csv", "log//a.csv", "log/./b.csv", "log/" + "x" * 300 + ".csv", "log/a\\b.csv",
             "log/tab\t.csv", "log/c.csv/d.csv"]  # fmt: skip
    good = ["log/c.csv", "log/day=1 2+3/é & <b>.csv", "log/100%25.csv"]
    bucket = S3(key=KEY)
    for number, key in enumerate([*nasty, *good]):
        bucket.put(key, csv(2, f"{number}-"))
    with serve(bucket.answer) as server:
        source = Followed(server, Reports)
        source.pull(rows_of(server))
    assert counts(source.shelf) == (6, 6)
    assert {one.where for one in source.shelf.findings} == set(nasty)
    assert not Path("/etc/passwd.csv").exists()


# -- from where to list again


@with_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 40_000)), min_size=1, max_size=30))
def test_what_was_written_lately_is_always_listed_again(written: list[tuple[int, int, int]]) -> None:
    """Whatever the keys: the next listing has all objects of the last 3 hours, or it lists all."""
    objects = [Stored(f"log/{day}/{hour}/{number}.csv", "e", 1, NEW + day * 80_000 + late)
               for number, (day, hour, late) in enumerate(written)]  # fmt: skip
    after = resume(objects, Resume(), whole=True)
    newest = max(one.modified for one in objects)
    assert all(one.key > after.after for one in objects if one.modified >= newest - LATELY)
    later = [one for one in objects if one.key > after.after]
    assert resume(later, after, whole=False) == after


def test_folders_in_time_are_found_at_the_depth_at_which_they_are() -> None:
    hours = [Stored(f"x/2026/11/{day:02}/{hour:02}/{name}", "e", 1, NEW + day * 86_400 + hour * 3600 + wait)
             for day in range(1, 4) for hour in range(24) for name, wait in (("a", 1200), ("b", 60))]  # fmt: skip
    assert resume(hours, Resume(), whole=True) == Resume("x/2026/11/03/20/", 5)
    shuffled = [replace(one, modified=NEW + number * 7919 % 900_000) for number, one in enumerate(hours)]
    assert resume(shuffled, Resume(), whole=True) == Resume("", 0)
    assert resume([], Resume("x/1/", 2), whole=False) == Resume("x/1/", 2)


def test_pages_are_the_inner_ones_with_the_place_in_the_bucket_beside_their_state() -> None:
    with serve(log_bucket().answer) as server:
        pages: list[Page] = list(s3.fetch(rows_of(server), Shelf().pull(FAR)))
    state = pages[-1].state
    assert state["list"][0] == "log/day=4/"
    assert set(state["inner"]) >= {"quiet", "files"}
    assert "s3" in connect.names()
