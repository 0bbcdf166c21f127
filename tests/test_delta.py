"""Delta tables: partitions restated as commits touch them, whatever form the log has, and nothing counted twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import delta
from connectors._files import item as item_at
from tandem import collect, connect
from tandem.child import Child
from tandem.config import Source
from tandem.connect import Common, Given, SourceRefused
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import lakes
from tests.lakes import Lake
from tests.test_predictions import FAR, FULL, Shelf, in_this_process, log, reference

__all__ = ["in_this_process"]

COLUMNS = {
    "id": "string", "ts": "timestamp", "predicted": "long", "score": "double", "label": "long", "version": "string",
    "country": "string", "channel": "string", "amount": "double", "age": "long", "items": "double", "card": "string",
    "member": "boolean", "day": "string",
}  # fmt: skip
FEW = {name: COLUMNS[name] for name in ("id", "ts", "predicted", "label", "day")}
PAYLOAD = Path(__file__).parent / "payloads" / "deltalake" / "pred_delta"


def config(folder: Path, **given: Any) -> delta.Config:
    common = Common("delta", "table", component=("model",), folder=folder.parent,
                    deletions=given.pop("deletions", "keep"))  # fmt: skip
    plain = {"path": folder.name, "task": "binary", "id": "id", "time": "ts", "prediction": "predicted",
             "label": "label", "features": ()}  # fmt: skip
    return delta.Config(common=common, **{**plain, **given})


def pulled(lake: Lake | Path, shelf: Shelf | None = None, keep: bool = True, **given: Any) -> Shelf:
    shelf = shelf or Shelf()
    folder = lake.folder if isinstance(lake, Lake) else lake
    return shelf.take(delta.fetch(config(folder, **given), shelf.pull(FAR, keep=keep)))


def days(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["day"], []).append(row)
    return found


def few(n: int = 30, prefix: str = "p", day: str = "1", **more: Any) -> list[dict[str, Any]]:
    """Rows of one day without labels."""
    rows = log(n, start=0 if day == "1" else 86400, prefix=prefix)
    return [{name: row[name] for name in FEW if name in row} | {"label": None, "day": day, **more} for row in rows]


def counts(shelf: Shelf) -> tuple[int, int]:
    """(labelled, all) predictions."""
    found = [values for key, values in shelf.total().items() if key[0] == "label_coverage" and key[3] == ""]
    return sum(one[0] for one in found), sum(one[1] for one in found)


def two_days(folder: Path) -> tuple[Lake, dict[str, Any], dict[str, Any]]:
    """30 predictions of day 1 and 20 of day 2, without labels."""
    lake = Lake(folder, FEW, ["day"])
    one, two = lake.add(few(), day="1"), lake.add(few(20, "q", "2"), day="2")
    return lake.create(one, two), one, two


# -- the real program's table


def test_the_captured_table_gives_what_its_rows_say() -> None:
    given = {"id": "prediction_id", "prediction": "pred", "version": "model_version", "score": "score"}
    shelf = pulled(PAYLOAD, **given)
    rows = [row for path in ("1/part-00000-66", "2/", "3/") for row in _rows_of(path)]
    right = sum(row["label"] == row["pred"] for row in rows)
    assert counts(shelf) == (200, 600)
    assert sum(row["label"] is not None for row in rows) == 200
    outcome = {key: values for key, values in shelf.total().items() if key[0] == "outcome"}
    assert sum(values[0] for key, values in outcome.items() if key[5] == key[6]) == right == 102
    assert not shelf.findings


def _rows_of(begin: str) -> list[dict[str, Any]]:
    (path,) = PAYLOAD.glob(f"day=2026-11-0{begin}*" if "part" in begin else f"day=2026-11-0{begin}*.parquet")
    return list(pq.ParquetFile(path).read().to_pylist())


def test_the_captured_table_is_recognised_by_nobody_else() -> None:
    told = item_at(PAYLOAD, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["delta"]


# -- all numbers


@pytest.mark.parametrize("state", [True, False])
def test_labels_by_merge_equal_the_slow_reference(tmp_path: Path, state: bool) -> None:
    """Row by row, with partitions in several files, of which a MERGE rewrites one after the other."""
    rows = [{**row, "day": str(row["ts"].date())} for row in log(2000, span=3 * 86400)]
    lake = Lake(tmp_path / "t", COLUMNS, ["day"])
    bare = [{**row, "label": None} for row in rows]
    added = {day: [lake.add(some[:200], day=day), lake.add(some[200:], day=day)] for day, some in days(bare).items()}
    lake.create(*(one for pair in added.values() for one in pair))
    given = {**FULL, "features": None}
    shelf = pulled(lake, **given)
    assert counts(shelf)[0] == 0
    for day, some in days(rows).items():
        lake.commit(*map(lake.remove, added[day]), lake.add(some, day=day), operation="MERGE")
        pulled(lake, shelf, keep=state, **given)
    features = ["amount", "age", "items", "card", "member", "channel", "day"]
    wanted = reference(rows, shelf, [name for name in features if name != "channel"])
    got = {key: values for key, values in shelf.total().items() if key[:2] != ("valid_rows", "score:missing")}
    assert got == {key: values for key, values in wanted.items() if key[:2] != ("valid_rows", "score:missing")}
    assert pulled(lake, shelf, keep=False, **given).total() == shelf.total()


def test_only_the_partition_that_a_commit_touched_is_restated(tmp_path: Path) -> None:
    lake, one, _ = two_days(tmp_path / "t")
    shelf = pulled(lake)
    before = dict(shelf.digests)
    assert counts(shelf) == (0, 50)
    lake.commit(lake.remove(one), lake.add(few(label=1), day="1"), operation="MERGE")
    assert counts(pulled(lake, shelf)) == (30, 50)
    assert {name for name, digest in shelf.digests.items() if before.get(name) != digest} == {"day=1"}


def test_a_pull_of_a_table_as_it_was_reads_neither_checkpoint_nor_data(tmp_path: Path, monkeypatch: Any) -> None:
    lake, one, two = two_days(tmp_path / "t")
    lake.checkpoint([one, two])
    shelf = pulled(lake)
    asked: list[str] = []
    monkeypatch.setattr(Child, "ask", lambda self, call, *more, **named: asked.append(call))
    monkeypatch.setattr(delta.TableReading, "pages", None)
    pulled(lake, shelf)
    assert asked == []
    assert counts(shelf) == (0, 50)


@pytest.mark.parametrize("keep", [True, False])
def test_optimize_changes_nothing_and_what_follows_counts_once(tmp_path: Path, keep: bool) -> None:
    """Files of a partition become one, in another order; then a MERGE brings labels into that one."""
    lake = Lake(tmp_path / "t", FEW, ["day"])
    rows = few(60)
    small = [lake.add(rows[:30], day="1"), lake.add(rows[30:], day="1")]
    lake.create(*small)
    shelf = pulled(lake)
    whole = lake.add(rows[30:] + rows[:30], day="1", change=False)
    lake.commit(*(lake.remove(one, change=False) for one in small), whole, operation="OPTIMIZE")
    for path in (tmp_path / "t" / "day=1").glob("part-0000[12]*"):
        path.unlink()  # VACUUM
    pages = list(delta.fetch(config(lake.folder), shelf.pull(FAR, keep=keep)))
    if keep:
        assert not [page for page in pages if page.records or (page.slice and page.slice.name == "day=1")]
    assert counts(shelf.take(pages)) == (0, 60)
    labelled = [{**row, "label": 1} for row in rows]
    lake.commit(lake.remove(whole), lake.add(labelled, day="1"), operation="MERGE")
    assert counts(pulled(lake, shelf, keep=keep)) == (60, 60)


def test_a_pull_killed_after_any_page_is_made_whole_by_the_next(tmp_path: Path) -> None:
    lake, one, _ = two_days(tmp_path / "t")
    lake.commit(lake.remove(one), operation="DELETE")
    lake.commit(lake.add(few(25, "r", label=0), day="1"), lake.add(few(5, "s", "3"), day="3"))
    wanted = pulled(lake).total()
    for number in range(20):
        shelf = Shelf()
        shelf.take(delta.fetch(config(lake.folder), shelf.pull(FAR)), at_most=number)
        assert pulled(lake, shelf).total() == wanted


# -- forms of the log


@pytest.mark.parametrize("kind", ["classic", "parts", "v2 parquet", "v2 json"])
def test_where_the_log_was_cleaned_all_partitions_are_compared_again(tmp_path: Path, kind: str) -> None:
    lake, one, two = two_days(tmp_path / "t")
    shelf = pulled(lake)
    now = lake.add(few(label=1), day="1")
    lake.commit(lake.remove(one), now, operation="MERGE")
    lake.commit({"txn": {"appId": "x", "version": 1}})
    lake.checkpoint([now, two], kind)
    assert counts(pulled(lake, shelf)) == (30, 50)
    later = lake.add(few(20, "q", "2", label=1), day="2")
    lake.commit(lake.remove(two, extended=False), later, operation="MERGE")
    assert counts(pulled(lake, shelf)) == (50, 50)
    assert counts(pulled(lake)) == (50, 50)


def test_a_broken_checkpoint_is_passed_over_while_commits_say_the_same(tmp_path: Path) -> None:
    lake, one, two = two_days(tmp_path / "t")
    lake.checkpoint([one, two], clean=False)
    lake.log(f"{0:020}.checkpoint.parquet").write_bytes(b"PAR1 nonsense")
    lake.log(f"{0:020}.checkpoint.0000000001.0000000003.parquet").write_bytes(b"one part of three")
    assert counts(pulled(lake)) == (0, 50)
    lake.log(f"{0:020}.json").unlink()
    lake.commit(lake.add(few(5, "x"), day="1"))
    with pytest.raises(SourceRefused, match=r"lacks version 0 .* checkpoint of version 0 is not there, damaged"):
        pulled(lake)


def test_a_hole_in_the_log_is_said(tmp_path: Path) -> None:
    lake, *_ = two_days(tmp_path / "t")
    lake.commit(lake.add(few(5, "x"), day="1")).commit(lake.add(few(5, "y"), day="1"))
    lake.log(f"{1:020}.json").unlink()
    with pytest.raises(SourceRefused, match="lacks version 1"):
        pulled(lake)


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        (
            {"minReaderVersion": 3, "readerFeatures": ["catalogManaged", "deletionVectors"]},
            "the feature catalogManaged",
        ),
        ({"minReaderVersion": 4}, "version 4 of the protocol"),
    ],
)
def test_a_table_that_needs_more_is_refused_by_name(tmp_path: Path, protocol: dict[str, Any], said: str) -> None:
    lake = Lake(tmp_path / "t", FEW, ["day"], **protocol)
    lake.create(lake.add(few(), day="1"))
    with pytest.raises(SourceRefused, match=f"needs {said}.*, which Tandem does not read") as refused:
        pulled(lake)
    assert str(refused.value).count("\n") == 0


def test_a_folder_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(SourceRefused, match="is no Delta table"):
        pulled(tmp_path / "t")
    (tmp_path / "t" / "_delta_log").mkdir()
    with pytest.raises(SourceRefused, match="holds no version"):
        pulled(tmp_path / "t")
    (tmp_path / "t" / "_delta_log" / f"{0:020}.json").write_text('{"protocol": {"minReaderVersion": 1}}\n{"add"')
    with pytest.raises(SourceRefused, match="line 2 is not JSON"):
        pulled(tmp_path / "t")


# -- rows that count no more


@pytest.mark.parametrize("form", ["inline", "file", "prefixed"])
def test_rows_of_a_deletion_vector_count_no_more(tmp_path: Path, form: str) -> None:
    """A MERGE with deletion vectors: the file stays, some of its rows come again elsewhere with their labels."""
    lake = Lake(tmp_path / "t", FEW, ["day"], minReaderVersion=3, readerFeatures=["deletionVectors"])
    rows = few(30)
    one = lake.add(rows, day="1", groups=7)
    lake.create(one)
    shelf = pulled(lake)
    gone = [0, 6, 7, 13, 29]
    vector = lakes.inline(gone) if form == "inline" else lakes.on_disk(lake.folder, gone, "ab" * (form != "file"))
    marked = {"add": {**one["add"], "deletionVector": vector}}
    lake.commit(lake.remove(one), marked, lake.add([{**rows[i], "label": 1} for i in gone], day="1"), operation="MERGE")
    assert counts(pulled(lake, shelf)) == (5, 30)
    assert not shelf.findings
    wider = {"add": {**one["add"], "deletionVector": lakes.inline([*gone, 1, 2])}}
    lake.commit(lake.remove(marked), wider, operation="DELETE")
    assert counts(pulled(lake, shelf)) == (5, 28)
    lake.checkpoint([wider, lake.add([{**rows[i], "label": 1} for i in gone], day="1")])
    assert counts(pulled(lake)) == (5, 28)


def test_a_vector_that_cannot_be_read_leaves_its_partition_as_it_was(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "t", FEW, ["day"], minReaderVersion=3, readerFeatures=["deletionVectors"])
    one, two = lake.add(few(), day="1"), lake.add(few(20, "q", "2"), day="2")
    lake.create(one, two)
    shelf = pulled(lake)
    broken = []
    for change in (
        {"storageType": "p", "pathOrInlineDv": "s3://elsewhere/x.bin"}, {"sizeInBytes": 12}, {"cardinality": 10**12},
        {"cardinality": 4}, {"pathOrInlineDv": "~~~~~"},
        {"storageType": "u", "pathOrInlineDv": "../.^-aqEH.-t@S}K{vb[*k^"},
        {"storageType": "u", "pathOrInlineDv": "^-aqEH.-t@S}K{vb[*k^"},
    ):  # fmt: skip
        marked = {"add": {**one["add"], "deletionVector": {**lakes.inline([1, 2, 3]), **change}}}
        lake.commit(lake.remove(one), marked, operation="DELETE")
        assert counts(pulled(lake, shelf)) == (0, 50)
        broken += [one.reason for one in shelf.findings]
        one = marked
    assert len(broken) == 7
    assert all(text.startswith("day=1 has a file part-00001.parquet whose deletion vector ") for text in broken)


# -- partitions that are empty now


@pytest.mark.parametrize("deletions", ["keep", "restate"])
def test_a_partition_that_a_delete_emptied(tmp_path: Path, deletions: str) -> None:
    lake, one, _ = two_days(tmp_path / "t")
    shelf = pulled(lake, deletions=deletions)
    lake.commit(lake.remove(one), operation="DELETE")
    wanted = (0, 50) if deletions == "keep" else (0, 20)
    assert counts(pulled(lake, shelf, deletions=deletions)) == wanted
    assert counts(pulled(lake, shelf, deletions=deletions, keep=False)) == wanted


@pytest.mark.parametrize("keep", [True, False])
def test_rows_that_move_to_another_partition_count_once(tmp_path: Path, keep: bool) -> None:
    """A table by day whose rows a MERGE corrects, so that no row is left in day 1."""
    lake, one, _ = two_days(tmp_path / "t")
    shelf = pulled(lake)
    lake.commit(lake.remove(one), lake.add(few(day="2"), day="2"), operation="MERGE")
    assert counts(pulled(lake, shelf, keep=keep)) == (0, 50)


def test_an_empty_partition_stays_where_the_log_does_not_say_why(tmp_path: Path) -> None:
    lake, one, two = two_days(tmp_path / "t")
    shelf = pulled(lake)
    lake.commit(lake.remove(one), operation="DELETE")
    lake.commit({"txn": {"appId": "x", "version": 1}})
    lake.checkpoint([two])
    assert counts(pulled(lake, shelf)) == (0, 50)
    (said,) = shelf.findings
    assert (said.where, said.kind) == ("day=1", "remark")
    assert counts(pulled(lake, shelf, deletions="restate", keep=False)) == (0, 20)


def test_another_table_at_the_same_place_takes_the_old_one_back(tmp_path: Path) -> None:
    lake, one, _ = two_days(tmp_path / "t")
    shelf = pulled(lake)
    lake.by = []
    lake.columns = {**FEW}
    lake.commit(lake.metadata(), lake.remove(one), operation="CREATE OR REPLACE TABLE")
    lake.log(f"{1:020}.json").unlink()
    lake.version = -1
    lake.create(lake.add(few(10, "z"), name="all.parquet"))
    assert counts(pulled(lake, shelf)) == (0, 10)
    assert shelf.digests["day=1"] == shelf.digests["day=2"] == "gone"


# -- what lies elsewhere, or nowhere


@pytest.mark.parametrize("path", ["../other.parquet", "/etc/passwd", "s3://bucket/x.parquet", "%2e%2e/other.parquet"])
def test_files_outside_of_the_table_are_not_read(tmp_path: Path, path: str) -> None:
    lake, *_ = two_days(tmp_path / "t")
    pq.write_table(pa.table({"id": ["stolen"]}), tmp_path / "other.parquet")
    lake.commit(
        {"add": {"path": path, "partitionValues": {"day": "3"}, "size": 1, "modificationTime": 1, "dataChange": True}}
    )
    shelf = pulled(lake)
    assert counts(shelf) == (0, 50)
    assert [one.where for one in shelf.findings] == ["day=3"]
    assert "outside of the table's folder" in shelf.findings[0].reason


def test_a_file_that_lacks_is_said_and_read_once_it_is_there(tmp_path: Path) -> None:
    lake, *_ = two_days(tmp_path / "t")
    added = lake.add(few(7, "z", "3"), day="3")
    path = lake.folder / added["add"]["path"]
    data = path.read_bytes()
    path.unlink()
    lake.commit(added)
    shelf = pulled(lake)
    assert counts(shelf) == (0, 50)
    assert shelf.findings[0].reason == f"day=3 lacks its file {path.name}; it was removed while it was needed."
    path.write_bytes(data)
    assert counts(pulled(lake, shelf)) == (0, 57)
    assert not shelf.findings


def test_names_of_partitions_stay_data(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "t", {**FEW, "day": "string"}, ["day"])
    nasty = ["../../x", "reference", "content:1", "<b>", "a/b", "é", "__HIVE_DEFAULT_PARTITION__", None]
    added = []
    for number, value in enumerate(nasty):
        one = lake.add(few(3, f"n{number}-"), name=f"{number}.parquet")
        added.append({"add": {**one["add"], "partitionValues": {"day": value}}})
    lake.create(*added)
    shelf = pulled(lake, segments=("day",))
    assert counts(shelf) == (0, 24)
    assert {k[3] for k in shelf.total() if k[0] == "volume"} >= {"day=../../x", "day=<b>", "day=(missing)"}


# -- import


def test_import_knows_a_table_and_its_usual_columns(tmp_path: Path) -> None:
    odd = Lake(tmp_path / "odd", {"key": "string", "ts": "timestamp", "answer": "long"})
    odd.create(odd.add([{"key": "a", "ts": few()[0]["ts"], "answer": 1}]))
    with pytest.raises(SourceRefused, match=r"(?s)no column is known to be its id or prediction.*connector = .delta."):
        delta.configure(item_at(odd.folder, Given()), Common("delta", "x", component=("model",)))
    columns = {"prediction_id": "string", "timestamp": "timestamp", "prediction": "long", "label": "long"}
    usual = Lake(tmp_path / "usual", columns)
    rows = few(9)
    renamed = [dict(zip(columns, (row["id"], row["ts"], row["predicted"], 1), strict=True)) for row in rows]
    usual.create(usual.add(renamed))
    told = item_at(usual.folder, Given())
    made = delta.configure(told, Common("delta", "x", component=("model",)))
    assert (made.task, made.id, made.label, delta.belongs(told, made)) == ("binary", "prediction_id", "label", True)
    shelf = Shelf().take(delta.parse(told, made))
    assert counts(shelf) == (9, 9)
    assert shelf.total() == Shelf().take(delta.fetch(made, Shelf().pull(FAR))).total()


def test_no_id_leaves_the_connector(tmp_path: Path) -> None:
    lake, *_ = two_days(tmp_path / "t")
    pages = list(delta.fetch(config(lake.folder), Shelf().pull(FAR)))
    assert "p17" not in repr(pages)
    assert "p17" not in json.dumps([page.state for page in pages])


# -- in the store


@pytest.mark.parametrize("deletions", ["keep", "restate"])
def test_the_store_holds_what_the_table_does(tmp_path: Path, deletions: str) -> None:
    """MERGE, rows that move, a DELETE, another table, a second pull of each: nothing twice, nothing lost."""
    lake, one, two = two_days(tmp_path / "t")
    source = config(lake.folder, deletions=deletions)
    until = lakes.BEGIN // 1000 + 400 * 86_400

    def stored() -> tuple[int, int]:
        with open_store(tmp_path / "t.duckdb") as store:
            for _ in range(2):
                outcome = collect.pull(store, Source(source.common, delta, source), until)
                assert not outcome.error
            reader = Reader(store)
            ids = [
                kept.id
                for kept in reader.series()
                if (kept.placed.signal, kept.placed.segment) == ("label_coverage", "")
            ]
            totals = reader.totals("ratio", ids, [(0, until)]).values()
            return sum(good for [(good, _)] in totals), sum(total for [(_, total)] in totals)

    assert stored() == (0, 50)
    now = lake.add(few(label=1), day="1")
    lake.commit(lake.remove(one), now, operation="MERGE")
    assert stored() == (30, 50)
    moved = lake.add(few(label=1, day="3"), day="3")
    lake.commit(lake.remove(now), moved, operation="UPDATE")
    assert stored() == (30, 50)
    lake.commit(lake.remove(two), operation="DELETE")
    assert stored() == ((30, 50) if deletions == "keep" else (30, 30))
    lake.commit(lake.metadata(table="another"), lake.remove(moved), lake.add(few(8, "z"), day="1"), operation="REPLACE")
    assert stored() == (0, 8)
