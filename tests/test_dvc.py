"""DVC: what each commit changed, counted once wherever it stands, taken back where it is gone, and GTO's tags."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import dvc
from connectors._files import item
from connectors._git_program import Repository
from tandem import collect, connect
from tandem.cli import main
from tandem.config import Source
from tandem.connect import Given, SourceRefused
from tandem.records import DAY, HOUR, Confusion, Event, Fact, Page, Sample
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.pipelines import NOW, T0, YAML, begun, configured, lock, pulled, put, run, said, told
from tests.repositories import Work

pytestmark = [pytest.mark.live, pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")]

PAYLOADS = Path(__file__).parent / "payloads" / "dvc"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return begun(tmp_path / "work")


@pytest.fixture
def history(work: Work) -> Work:
    """Three runs; the third is on the data of the second."""
    run(work, T0 + HOUR, "d1", "m1", 0.8, (4, 1, 1, 4))
    run(work, T0 + 2 * HOUR, "d2", "m2", 0.9, (5, 1, 0, 4), raw="1")
    run(work, T0 + 3 * HOUR, "d2", "m3", 0.95, (10, 1, 0, 9), rate=0.2, raw="1")
    return work


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "t.duckdb") as opened:
        yield opened


def take(store: Store, config: dvc.Config, at: int) -> collect.Outcome:
    outcome = collect.pull(store, Source(config.common, connect.load("dvc"), config), at)
    assert not outcome.error, outcome.error
    return outcome


def cells(store: Store) -> dict[tuple[str, str], int]:
    rows = store.cursor().execute(
        "SELECT actual, predicted, sum(n) FROM confusion GROUP BY ALL HAVING sum(n) <> 0"
    ).fetchall()  # fmt: skip
    return {(actual, predicted): int(n) for actual, predicted, n in rows}


def accuracies(store: Store) -> dict[int, float]:
    rows = store.cursor().execute(
        "SELECT s.ts, arg_max(s.value, s.load_id) FROM sample s JOIN series n ON n.id = s.series "
        "WHERE n.name = 'accuracy' GROUP BY s.series, s.run, s.step, s.ts"
    ).fetchall()  # fmt: skip
    return {int(ts): float(value) for ts, value in rows if value}


def outcomes(store: Store, kind: str) -> dict[str, str]:
    return {dict(one.labels).get("data", "") + one.commit: one.outcome
            for _, one in Reader(store).events(0, 1 << 40) if one.kind == kind}  # fmt: skip


def truth(work: Work, *refs: str) -> tuple[dict[tuple[str, str], int], dict[int, float]]:
    """Rows and accuracies of all commits, by git itself and the words of the files."""
    counts: Counter[tuple[str, str]] = Counter()
    accuracy = {}
    for line in work.git("log", "--format=%H %ct", *(refs or ("main",)), "--", "metrics.json").splitlines():
        sha, ts = line.split()
        accuracy[int(ts)] = json.loads(work.git("show", f"{sha}:metrics.json"))["accuracy"]
        counts.update(tuple(row.split(",")) for row in work.git("show", f"{sha}:classes.csv").split()[1:])  # type: ignore[misc]
    return dict(counts), accuracy


# -- what commits tell


def test_trainings_data_and_evaluations_of_each_commit(history: Work) -> None:
    pages = pulled(configured(history.path))
    shas = history.git("log", "--reverse", "--format=%H").split()[1:]
    trained = told(pages, Event, "training")
    assert [(one.commit, one.ts, one.data_version, one.digest) for one in trained] == [
        (shas[0], T0 + HOUR, "d1", "m1"), (shas[1], T0 + 2 * HOUR, "d2", "m2"), (shas[2], T0 + 3 * HOUR, "d2", "m3"),
    ]  # fmt: skip
    assert dict(trained[2].labels) == {
        "stage": "train",
        "model": "fraud",
        "param.train.rate": "0.2",
        "said": "committed",
    }
    assert trained[0].started is None
    assert trained[0].ended is None
    data = told(pages, Event, "data_version")
    assert [(dict(one.labels)["data"], one.data_version, one.commit) for one in data] == [
        ("raw.csv", "raw0", shas[0]), ("rows.csv", "d1", shas[0]),
        ("raw.csv", "raw1", shas[1]), ("rows.csv", "d2", shas[1]),
    ]  # fmt: skip
    samples = told(pages, Sample)
    assert [(one.ts, one.value, one.run) for one in samples if one.series.name == "accuracy"] == [
        (T0 + HOUR, 0.8, trained[0].run), (T0 + 2 * HOUR, 0.9, trained[1].run), (T0 + 3 * HOUR, 0.95, trained[2].run),
    ]  # fmt: skip
    assert {(one.series.name, one.series.stage) for one in samples} == {
        ("accuracy", "evaluation"), ("train.loss", "training"),
    }  # fmt: skip
    facts = told(pages, Fact)
    assert facts[0].value == Confusion({("0", "0"): 4, ("0", "1"): 1, ("1", "0"): 1, ("1", "1"): 4})
    assert {one.series.stage for one in facts} == {"evaluation"}, "nothing of it is production"


def test_chosen_stages_status_and_branches(history: Work) -> None:
    pages = pulled(configured(history.path, stages=("prepare",), common={"status": {"committed": "excluded"}}))
    assert [(dict(one.labels)["stage"], one.outcome) for one in told(pages, Event, "training")] == [
        ("prepare", "excluded"), ("prepare", "excluded"),
    ]  # fmt: skip
    unnamed = pulled(configured(history.path, stages=("nothing",)))
    assert Counter(dict(one.labels)["stage"] for one in told(unnamed, Event, "training")) == {"prepare": 2, "train": 3}
    assert "no branch is called like trunk" in said(pulled(configured(history.path, branches=("trunk",))))


def test_one_run_on_two_branches_counts_once_and_a_merge_tells_only_its_own(history: Work) -> None:
    history.git("checkout", "-q", "-b", "exp", "HEAD~1")
    run(history, T0 + 5 * HOUR, "d2", "m3", 0.95, (10, 1, 0, 9), rate=0.2, raw="1")  # what main already has
    run(history, T0 + 6 * HOUR, "d3", "m4", 0.97, (1, 0, 0, 1))
    history.git("checkout", "-q", "main")
    run(history, T0 + 7 * HOUR, "d2", "m5", 0.93, (2, 0, 0, 2))
    history.git("merge", "--quiet", "-X", "ours", "--no-commit", "exp", at=T0 + 8 * HOUR)
    merged = run(history, T0 + 8 * HOUR, "d3", "m6", 0.99, (3, 0, 0, 3))
    pages = pulled(configured(history.path))
    assert [one.digest for one in told(pages, Event, "training")].count("m3") == 1
    assert sorted(one.digest for one in told(pages, Event, "training")) == ["m1", "m2", "m3", "m4", "m5", "m6"]
    [last] = [one for one in told(pages, Event, "training") if one.digest == "m6"]
    assert (last.commit, last.data_version) == (merged, "d3")
    assert Counter(one.data_version for one in told(pages, Event, "data_version"))["d3"] == 1


def test_another_run_with_the_same_results_is_another_evaluation(history: Work) -> None:
    put(history, T0 + 5 * HOUR, "the same again", dvc_DOT_lock=lock("d2", "m7", raw="1"))
    pages = pulled(configured(history.path))
    assert len(told(pages, Fact)) == 4
    last = told(pages, Event, "training")[-1]
    assert last.digest == "m7"
    assert {(one.series.name, one.value, one.ts) for one in told(pages, Sample) if one.run == last.run} == {
        ("accuracy", 0.95, T0 + 5 * HOUR), ("train.loss", 1 - 0.95, T0 + 5 * HOUR),
    }  # fmt: skip
    put(history, T0 + 6 * HOUR, "only data", dvc_DOT_lock=lock("d2", "m7", raw="2"))
    assert len(told(pulled(configured(history.path)), Fact)) == 4


def test_data_files_and_dvclive_without_a_pipeline(tmp_path: Path) -> None:
    work = Work.new(tmp_path / "plain")
    sha = put(work, T0, "first", data__all_DOT_csv_DOT_dvc="outs:\n- {md5: x1.dir, size: 7, path: all.csv}\n",
              dvclive__metrics_DOT_json='{"val": {"f1": 0.5}, "step": 1}', dvclive__params_DOT_yaml="lr: 0.1\n",
              dvclive__plots__metrics__val__f1_DOT_tsv="step\ttimestamp\tf1\n0\t1789999000123\t0.4\n1\t1789999500000\t0.5\n",
              )  # fmt: skip
    put(work, T0 + 10, "second", data__all_DOT_csv_DOT_dvc="outs:\n- {md5: x2.dir, size: 7, path: all.csv}\n")
    pages = pulled(configured(work.path))
    assert [(one.data_version, dict(one.labels)["data"]) for one in told(pages, Event, "data_version")] == [
        ("x1.dir", "data/all.csv"), ("x2.dir", "data/all.csv"),
    ]  # fmt: skip
    [training] = told(pages, Event, "training")
    assert (training.commit, dict(training.labels)["param.lr"]) == (sha, "0.1")
    samples = told(pages, Sample)
    assert [(one.ts, one.step, one.value) for one in samples] == [(1789999000.123, 0, 0.4), (1789999500, 1, 0.5)]
    assert {(one.run, one.series) for one in samples} == {(training.run, samples[0].series)}


# -- what changes later


def test_a_second_pull_tells_only_what_is_new(
    history: Work, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = configured(history.path)
    take(store, config, NOW)
    assert (cells(store), accuracies(store)) == truth(history)
    calls: list[str] = []
    real = Repository.pieces

    def counted(self: Repository, *arguments: str, given: Sequence[str] = ()) -> Iterator[bytes]:
        calls.append(arguments[0])
        return real(self, *arguments, given=given)

    monkeypatch.setattr(Repository, "pieces", counted)
    before = store.cursor().execute("SELECT count(*) FROM sample").fetchall()
    take(store, config, NOW + 1)
    print(f"second pull: git was run {len(calls)} times; fewest 1")
    assert sorted(set(calls)) == ["for-each-ref", "remote"]
    assert "fewest" in capsys.readouterr().out
    assert store.cursor().execute("SELECT count(*) FROM sample").fetchall() == before
    run(history, NOW + 100, "d2", "m9", 0.7, (1, 1, 1, 1))
    run(history, NOW + 200, "d1", "m1", 0.8, (4, 1, 1, 4))  # back to the first run: no training, no other counts
    take(store, config, NOW + 1000)
    counts, accuracy = truth(history)
    again = Counter(counts) - Counter({("0", "0"): 4, ("0", "1"): 1, ("1", "0"): 1, ("1", "1"): 4})
    assert (cells(store), accuracies(store)) == (dict(again), accuracy)
    assert len(outcomes(store, "training")) == 4


def test_a_forced_push_takes_back_what_it_removed_and_gives_it_back(history: Work, store: Store) -> None:
    config = configured(history.path)
    take(store, config, NOW)
    lost = history.head()
    history.git("reset", "--hard", "--quiet", "HEAD~1")
    kept = run(history, NOW + 100, "d4", "m8", 0.85, (1, 2, 3, 4))
    outcome = take(store, config, NOW + 1000)
    assert (cells(store), accuracies(store)) == truth(history)
    assert [outcomes(store, "training")[sha] for sha in (lost, kept)] == ["excluded", "good"]
    assert "what a force-push removed is taken back" in " ".join(outcome.remarks)
    history.git("reset", "--hard", "--quiet", lost)
    take(store, config, NOW + 2000)
    assert (cells(store), accuracies(store)) == truth(history)
    assert [outcomes(store, "training")[sha] for sha in (lost, kept)] == ["good", "excluded"]


def test_a_rebase_moves_what_it_rewrote_and_counts_it_once(history: Work, store: Store) -> None:
    config = configured(history.path)
    take(store, config, NOW)
    old = history.head()
    history.git("commit", "--amend", "--quiet", "-m", "reworded", at=T0 + 9 * HOUR)
    take(store, config, NOW + 1000)
    assert (cells(store), accuracies(store)) == truth(history)
    assert Counter(outcomes(store, "training").values()) == {"good": 3}
    assert old not in outcomes(store, "training")
    assert history.head() in outcomes(store, "training")


def test_where_the_old_commits_are_pruned_it_is_said(history: Work) -> None:
    first = pulled(configured(history.path))
    state = json.loads(json.dumps(first[-1].state))
    history.git("reset", "--hard", "--quiet", "HEAD~1")
    history.git("reflog", "expire", "--expire=now", "--all")
    history.git("gc", "--quiet", "--prune=now")
    again = pulled(configured(history.path), first=False, state=state)
    assert "its old commits are pruned" in said(again)
    assert [one.digest for one in told(again, Event, "training")] == ["m1", "m2"]


def test_what_lies_ahead_waits_and_what_lies_before_the_beginning_is_left_out(history: Work) -> None:
    first = pulled(configured(history.path), until=T0 + 2 * HOUR, since=T0 + 60)
    assert [one.digest for one in told(first, Event, "training")] == ["m1"]
    later = pulled(configured(history.path), first=False, state=first[-1].state)
    assert {one.digest for one in told(later, Event, "training")} >= {"m2", "m3"}
    assert "made in the future" in said(pulled(configured(history.path), until=T0 - 2 * DAY))
    late = pulled(configured(history.path), since=T0 + 3 * HOUR)
    assert [one.digest for one in told(late, Event, "training")] == ["m3"]


# -- GTO


def registry(pages: Sequence[Page]) -> dict[str, tuple[Any, ...]]:
    return {one.key: (one.kind, one.ts, one.version, one.outcome, dict(one.labels).get("from"))
            for one in told(pages, Event) if one.kind in ("release", "promotion")}  # fmt: skip


def test_tags_are_releases_and_promotions_at_their_own_times(history: Work, store: Store) -> None:
    history.tag("fraud@v1.0.0", T0 + DAY, of="HEAD~2")
    history.tag("fraud#prod#1", T0 + DAY + 7, of="HEAD~2")
    history.tag("fraud@v1.1.0", T0 + 2 * DAY)
    history.tag("fraud#prod#2", T0 + 2 * DAY + 9)
    history.tag("fraud#prod!#3", T0 + 3 * DAY)
    for other in ("v1.0.0", "other@v1.0.0", "nightly", "fraud@deprecated", "Fraud@1.0"):
        history.tag(other, T0 + 4 * DAY)
    pages = pulled(configured(history.path, models=("fraud",)))
    assert registry(pages) == {
        "fraud@v1.0.0": ("release", T0 + DAY, "v1.0.0", "good", None),
        "fraud#prod#1": ("promotion", T0 + DAY + 7, "v1.0.0", "good", None),
        "fraud@v1.1.0": ("release", T0 + 2 * DAY, "v1.1.0", "good", None),
        "fraud#prod#2": ("promotion", T0 + 2 * DAY + 9, "v1.1.0", "good", "v1.0.0"),
        "fraud#prod!#3": ("promotion", T0 + 3 * DAY, "", "good", "v1.1.0"),
    }
    trained = {one.run: one for one in told(pages, Event, "training")}
    for one in told(pages, Event, "promotion")[:2]:
        made = trained[one.run]
        assert (one.commit, one.data_version, one.digest) == (made.commit, made.data_version, made.digest)
        assert dict(one.labels)["alias"] == "prod"
    assert "other@v1.0.0" in registry(pulled(configured(history.path)))

    config = configured(history.path, models=("fraud",))

    def known() -> dict[str, tuple[int, str, str]]:
        return {one.key: (one.ts, one.version, one.outcome) for _, one in Reader(store).events(0, 1 << 40)
                if one.kind in ("release", "promotion")}  # fmt: skip

    take(store, config, NOW)
    history.tag("fraud#prod#2", T0 + 2 * DAY + 60, of="HEAD~2")  # moved
    history.git("tag", "--delete", "fraud#prod!#3")
    history.tag("fraud@v1.1.0!", T0 + 5 * DAY)  # withdrawn
    take(store, config, NOW + 1000)
    assert known()["fraud#prod#2"] == (T0 + 2 * DAY + 60, "v1.0.0", "good")
    assert known()["fraud#prod!#3"][2] == "excluded"
    assert known()["fraud@v1.1.0"][2] == "excluded"
    history.tag("fraud#prod!#3", T0 + 3 * DAY)
    take(store, config, NOW + 2000)
    assert known()["fraud#prod!#3"] == (T0 + 3 * DAY, "", "good")


def test_what_is_assigned_within_one_second_is_in_the_order_of_its_count(history: Work) -> None:
    history.tag("m@v1.0.0", T0 + DAY)
    history.tag("m#prod#9", T0 + DAY)
    history.tag("m#prod!#10", T0 + DAY)
    history.tag("m#prod#11", T0 + DAY)
    found = told(pulled(configured(history.path)), Event, "promotion")
    assert [(one.key, dict(one.labels).get("from")) for one in found] == [
        ("m#prod#9", None), ("m#prod!#10", "v1.0.0"), ("m#prod#11", None),
    ]  # fmt: skip


def test_tags_of_models_in_folders_lightweight_ones_and_those_to_come(work: Work) -> None:
    run(work, T0 + 50, "d1", "m1", 0.5, (1, 0, 0, 1))
    put(work, T0 + 100, "sub", sub__dvc_DOT_yaml=YAML, sub__dvc_DOT_lock=lock("d7", "m7"), sub__train_DOT_py="1")
    work.tag("sub=fraud@v0.1.0")
    work.tag("sub=fraud#dev#1", T0 + DAY)
    work.tag("sub=fraud#dev#2", T0 + 90 * DAY)
    pages = pulled(configured(work.path))
    [release] = told(pages, Event, "release")
    assert (release.ts, release.digest, dict(release.labels)) == (
        T0 + 100, "m7", {"model": "sub:fraud", "time_of": "commit"},
    )  # fmt: skip
    assert [one.key for one in told(pages, Event, "promotion")] == ["sub=fraud#dev#1"]
    lone = Work.new(work.path.parent / "lone")
    lone.commit(T0)
    lone.tag("m#prod#1", T0 + 1)
    pages = pulled(configured(lone.path))
    assert "at which no version is registered" in said(pages)
    assert told(pages, Event)[0].version == ""


# -- what it is and what it is not


def test_a_folder_without_git_and_one_of_dvclive(tmp_path: Path) -> None:
    folder = shutil.copytree(PAYLOADS, tmp_path / "dvc")
    pages = list(dvc.parse(item(folder, Given(at=T0)), configured(None)))
    points = json.loads((folder / "dvclive/plots/sklearn/cm.json").read_text())
    expected = Counter((one["actual"], one["predicted"]) for one in points)
    assert [one.value for one in told(pages, Fact)] == [Confusion(dict(expected))]
    samples = {(one.series.name, one.step): one.value for one in told(pages, Sample)}
    assert len(told(pages, Sample)) == len(samples) == 6 + 6 + 1 + 1
    assert (samples["val.accuracy", 5], samples["test_accuracy", 5]) == (0.7999999999999999, 0.9736842105263158)
    assert samples["accuracy", 0] == 0.95
    assert [one.run for one in told(pages, Event, "training")] == [told(pages, Sample)[0].run]
    live = list(dvc.parse(item(folder / "dvclive", Given()), configured(None)))
    assert dict(told(live, Event, "training")[0].labels)["param.lr"] == "0.1"
    assert "a folder without git says no times" in said(live)
    assert len(told(live, Sample)) == 13
    assert told(pulled(configured(folder), until=1 << 40), Fact)[0].value == Confusion(dict(expected))


def test_repositories_and_payloads_are_recognised_by_nobody_else(history: Work, tmp_path: Path) -> None:
    for path in (history.path, PAYLOADS, PAYLOADS / "dvclive"):
        whole = item(path, Given())
        assert [name for name in connect.names() if connect.load(name).recognise(whole)] == ["dvc"], path
    for path in [one for one in PAYLOADS.rglob("*") if one.is_file() and one.name != "PROVENANCE.md"]:
        assert not [name for name in connect.names() if connect.load(name).recognise(item(path, Given()))], path
    (tmp_path / "other").mkdir()
    assert not dvc.recognise(item(tmp_path / "other", Given()))


@pytest.mark.parametrize("what", ["clone", "folder"])
def test_an_import_counts_once(history: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text("")
    if what == "folder":
        shutil.rmtree(history.path / ".git")
        for path in history.path.iterdir():
            os.utime(path, (NOW, NOW))
    for _ in range(2):
        done = CliRunner().invoke(main, ["import", str(history.path), "--component", "fraud"])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        assert sum(cells(store).values()) == (40 if what == "clone" else 20)
        assert len(outcomes(store, "training")) == (3 if what == "clone" else 1)


def test_what_cannot_be_read_is_refused_in_one_sentence(
    history: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((None, "set path"), (tmp_path / "nowhere", "is not there"),
                        (tmp_path / "empty", "neither a git repository nor a folder of DVC")):  # fmt: skip
        with pytest.raises(SourceRefused, match=words):
            pulled(configured(path))
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SourceRefused, match=r"needs PyYAML.*tandem-health\[openslo\]"):
        pulled(configured(history.path))


def test_a_clone_vouches_until_it_was_fetched(history: Work, tmp_path: Path) -> None:
    pages = pulled(configured(history.path))
    assert [(one.since, one.until) for page in pages for one in page.covered or ()] == [(T0 + HOUR, NOW)]
    history.git("clone", "--quiet", "--bare", str(history.path), str(tmp_path / "bare.git"))
    for name in ("packed-refs", "config"):
        os.utime(tmp_path / "bare.git" / name, (T0 + 5 * DAY, T0 + 5 * DAY))
    pages = pulled(configured(tmp_path / "bare.git"))
    assert [one.digest for one in told(pages, Event, "training")] == ["m1", "m2", "m3"]
    assert [(one.since, one.until) for page in pages for one in page.covered or ()] == [(T0 + HOUR, T0 + 5 * DAY)]


def test_the_oldest_commits_of_a_shallow_clone_are_left_out(history: Work, tmp_path: Path) -> None:
    path = tmp_path / "shallow"
    history.git("clone", "--quiet", "--depth", "2", f"file://{history.path}", str(path))
    pages = pulled(configured(path))
    assert [one.digest for one in told(pages, Event, "training")] == ["m3"]
    assert "the clone is shallow" in said(pages)
