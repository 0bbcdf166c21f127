"""Git: lead times of released commits, tags and branches that move, reverts, and a program kept on a short lead."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import _git, git
from connectors._files import item
from connectors._git_program import Repository
from tandem import collect, connect, times
from tandem.cli import main
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import DAY, HOUR, Event, Fact, Histogram, Page
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.repositories import Work

pytestmark = [pytest.mark.live, pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")]

HERE = Path(__file__).parent / "payloads" / "git"
T0 = 1_790_000_100
NOW = T0 + 60 * DAY


def configured(path: Path, **more: Any) -> git.Config:
    common = Common("git", "history", component=more.pop("component", ("shop",)))
    return git.Config(common, path=path, **more)


def pulled(config: git.Config, until: int = NOW, **more: Any) -> list[Page]:
    return list(git.fetch(config, Pull(more.pop("since", 0), until, until, **{"first": True, **more})))


def records(pages: Sequence[Page]) -> list[Any]:
    return [record for page in pages for record in page.records]


def events(pages: Sequence[Page], kind: str = "") -> list[Event]:
    return [one for one in records(pages) if isinstance(one, Event) and kind in ("", one.kind)]


def leads(pages: Sequence[Page]) -> dict[str, tuple[int, int]]:
    """(count, sum in seconds) of the lead times of each tag and prefix."""
    found = {}
    for one in records(pages):
        if isinstance(one, Fact):
            assert isinstance(one.value, Histogram)
            told = dict(one.series.labels)
            name = ":".join(filter(None, (told["tag"], told.get("path", ""))))
            found[name] = (sum(one.value.counts.values()), sum(one.value.sums.values()) // 10**6)
    return found


def reasons(pages: Sequence[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def state(pages: Sequence[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def taken(pages: Sequence[Page]) -> Any:
    known = {page.slice.name: page.slice.digest for page in pages if page.slice}
    return known.get


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work.new(tmp_path / "work")


@pytest.fixture
def released(work: Work) -> Work:
    """Three releases on main, one on a branch of maintenance, a merge, a rebased commit, and a forged one."""
    work.commit(T0, "first")
    work.tag("v1", T0 + 100)
    for number in range(4):
        work.commit(T0 + HOUR * (number + 1), f"two {number}", authored=T0 + 60 * number)
    work.git("branch", "old")
    work.git("checkout", "-q", "-b", "feature")
    work.commit(T0 + 6 * HOUR, "aside", "g")
    work.git("checkout", "-q", "main")
    work.commit(T0 + 7 * HOUR, "main goes on", "h")
    work.git("merge", "--quiet", "--no-ff", "-m", "Merge feature", "feature", at=T0 + 8 * HOUR)
    work.tag("v2", T0 + DAY)
    work.commit(T0 + 2 * DAY, "rebased", authored=T0 - 20 * DAY)
    work.commit(T0 + 2 * DAY + 60, "from tomorrow", authored=T0 + 40 * DAY)
    work.tag("v3", T0 + 3 * DAY)
    work.git("checkout", "-q", "old")
    work.commit(T0 + 4 * DAY, "mended", "k")
    work.tag("v1.1")
    work.git("checkout", "-q", "main")
    return work


def truth(work: Work) -> dict[str, tuple[int, int]]:
    """The same by git itself, commit by commit: the first tag in time that has it as an ancestor."""
    tags = {}
    for line in work.git("for-each-ref", "--format=%(refname:short) %(creatordate:unix)", "refs/tags").splitlines():
        name, ts = line.split()
        tags[name] = int(ts)
    order = sorted(tags, key=lambda name: tags[name])
    found: dict[str, list[int]] = {name: [] for name in order}
    for line in work.git("log", "--all", "--no-merges", "--format=%H %at").splitlines():
        sha, authored = line.split()
        holds = set(work.git("tag", "--contains", sha).split())
        first = next((name for name in order if name in holds), None)
        if first not in (None, order[0]) and int(authored) <= tags[first]:
            found[first].append(tags[first] - int(authored))
    return {name: (len(lasted), sum(lasted)) for name, lasted in found.items() if lasted}


# -- lead times


def test_each_commit_waits_for_the_first_release_that_holds_it(released: Work) -> None:
    pages = pulled(configured(released.path))
    assert leads(pages) == truth(released) == {"v2": (6, leads(pages)["v2"][1]), "v3": (1, 23 * DAY), "v1.1": (1, 0)}
    assert reasons(pages) == {
        "a commit says it was written after its release; its lead time is not known": 1,
        "the first release counts no lead times: what it brought is not known": 1,
    }
    told = {one.key: one for one in events(pages, "release")}
    assert [(key, one.ts) for key, one in told.items()] == [
        ("v1", T0 + 100), ("v2", T0 + DAY), ("v3", T0 + 3 * DAY), ("v1.1", T0 + 4 * DAY),
    ]  # fmt: skip
    assert dict(told["v2"].labels) == {
        "tag": "v2", "commits": "6", "committed_at": times.text(T0 + 8 * HOUR), "time_of": "tag",
    }  # fmt: skip
    assert dict(told["v1.1"].labels)["time_of"] == "commit"
    assert told["v3"].commit == released.git("rev-parse", "v3^{commit}")
    assert "committed_at" not in dict(told["v3"].labels)


def test_only_chosen_tags_are_releases(released: Work) -> None:
    released.tag("nightly", T0 + 2 * HOUR, of="v2~2")
    assert leads(pulled(configured(released.path, tags=("v?",)))).keys() == {"v2", "v3"}
    assert "nightly" in {one.key for one in events(pulled(configured(released.path)), "release")}


def test_prefixes_of_a_monorepo_are_told_apart(work: Work) -> None:
    work.commit(T0, "begin", "shop/a")
    work.tag("r1", T0 + 10)
    work.commit(T0 + 100, "shop", "shop/a")
    work.commit(T0 + 200, "cart", "cart/a")
    work.commit(T0 + 250, "cart", "cart/b")
    work.tag("r2", T0 + 300)
    work.commit(T0 + 400, "cart again", "cart/a")
    work.tag("r3", T0 + 500)
    config = configured(work.path, paths=("shop", "cart"), commits=True)
    pages = pulled(config)
    assert leads(pages) == {"r2:shop": (1, 200), "r2:cart": (2, 150), "r3:cart": (1, 100)}
    assert [one.key for one in events(pages, "release")] == ["r1:shop", "r1:cart", "r2:shop", "r2:cart", "r3:cart"]
    paths = [dict(one.labels)["path"] for one in events(pages, "commit")]
    assert (paths.count("shop"), paths.count("cart")) == (2, 3)


def test_what_is_tagged_at_or_after_until_is_not_yet(released: Work) -> None:
    pages = pulled(configured(released.path), until=T0 + 3 * DAY)
    assert leads(pages).keys() == {"v2"}
    later = pulled(configured(released.path), T0 + 3 * DAY + 1, since=T0, first=False, state=state(pages),
                   taken=taken(pages))  # fmt: skip
    assert leads(later).keys() == {"v3"}


def test_a_first_pull_begins_where_it_is_told_and_so_do_later_ones(released: Work) -> None:
    first = pulled(configured(released.path), since=T0 + 2 * DAY)
    assert leads(first).keys() == {"v3", "v1.1"}
    later = pulled(configured(released.path), since=NOW - 600, first=False, state=state(first), taken=taken(first))
    assert records(later) == []


# -- what changes later


def sums(store: Store) -> tuple[int, int]:
    """(count, sum in seconds) of all lead times in a store."""
    reader = Reader(store)
    ids = [kept.id for kept in reader.series(signal="lead_time")]
    merged = [found[0] for found in reader.totals("histogram", ids, [(0, 1 << 40)]).values() if found[0]]
    rows = [row for found in merged for row in found.values()]
    return sum(row[0] for row in rows), sum(row[1] for row in rows) // 10**6


def known(store: Store, kind: str) -> dict[str, str]:
    return {one.key: one.outcome for _, one in Reader(store).events(0, 1 << 40) if one.kind == kind}


def test_a_moved_an_inserted_and_a_deleted_tag_correct_what_was_counted(released: Work, tmp_path: Path) -> None:
    config = configured(released.path)
    source = Source(config.common, connect.load("git"), config)

    def step(store: Store, at: int) -> None:
        for again in range(2):  # the second one finds nothing to do
            assert collect.pull(store, source, at + again).error == ""
            want = truth(released).values()
            assert sums(store) == (sum(n for n, _ in want), sum(total for _, total in want))

    with open_store(tmp_path / "t.duckdb") as store:
        step(store, NOW)
        released.tag("v2", T0 + DAY + 50, of="v2~1")  # moved to an earlier commit, at another time
        step(store, NOW + 1000)
        released.tag("v1.5", T0 + 3 * HOUR, of="v2~1")  # between two that are known
        step(store, NOW + 2000)
        released.git("tag", "--delete", "v2")
        step(store, NOW + 3000)
        assert known(store, "release") == {"v1": "good", "v1.1": "good", "v1.5": "good", "v2": "excluded", "v3": "good"}
        released.tag("v2", T0 + DAY + 60, of="v3~2")
        step(store, NOW + 4000)
        assert known(store, "release")["v2"] == "good"


def test_a_forced_push_takes_back_what_it_removed(work: Work, tmp_path: Path) -> None:
    config = configured(work.path, commits=True)
    source = Source(config.common, connect.load("git"), config)
    work.commit(T0, "begin")
    good = work.commit(T0 + 100, "good")
    with open_store(tmp_path / "t.duckdb") as store:
        lost = work.revert(T0 + 200)
        assert collect.pull(store, source, T0 + 1000).error == ""
        assert known(store, "rollback") == {lost: "good"}
        work.git("reset", "--hard", "--quiet", good)
        kept = work.commit(T0 + 1100, "instead")
        assert collect.pull(store, source, T0 + 2000).error == ""
        assert known(store, "rollback") == {lost: "excluded"}
        assert {sha for sha, outcome in known(store, "commit").items() if outcome == "good"} == {
            kept, good, work.git("rev-parse", "HEAD~2"),
        }  # fmt: skip
        work.git("reset", "--hard", "--quiet", lost)  # and back again
        assert collect.pull(store, source, T0 + 3000).error == ""
        assert known(store, "rollback") == {lost: "good"}
        assert known(store, "commit")[kept] == "excluded"


def test_where_the_old_commits_are_pruned_the_branch_is_read_again(work: Work) -> None:
    work.commit(T0, "begin")
    work.commit(T0 + 100, "gone")
    first = pulled(configured(work.path, commits=True))
    work.git("reset", "--hard", "--quiet", "HEAD~1")
    again = work.commit(T0 + 300, "instead")
    work.git("reflog", "expire", "--expire=now", "--all")
    work.git("gc", "--quiet", "--prune=now")
    second = pulled(configured(work.path, commits=True), since=NOW - 600, first=False, state=state(first))
    assert {one.key for one in events(second, "commit")} == {again, work.git("rev-parse", "HEAD~1")}
    assert [n for reason, n in reasons(second).items() if "pruned" in reason] == [1]


def test_a_second_pull_asks_the_least(released: Work, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    calls: list[str] = []
    real = Repository.pieces

    def counted(self: Repository, *arguments: str, given: Sequence[str] = ()) -> Iterator[bytes]:
        calls.append(arguments[0])
        return real(self, *arguments, given=given)

    monkeypatch.setattr(Repository, "pieces", counted)
    first = pulled(configured(released.path))
    calls.clear()
    pulled(configured(released.path), since=NOW - 600, first=False, state=state(first), taken=taken(first))
    print(f"second pull: git was run {len(calls)} times, {calls.count('log')} times over the history; fewest 1 and 0")
    assert calls.count("log") == 0
    assert len(calls) == 3  # refs, whether it is shallow, whether something fetches it
    assert "fewest" in capsys.readouterr().out


# -- reverts and commits


def test_a_revert_is_a_rollback_and_its_own_revert_is_none(work: Work) -> None:
    begin = work.commit(T0, "begin")
    bad = work.commit(T0 + 100, 'break "all" of it | <b>')
    back = work.revert(T0 + 200)
    work.revert(T0 + 300)
    work.commit(T0 + 400, f"Quote\n\nNot at the beginning: This reverts commit {begin}.")
    [one] = events(pulled(configured(work.path)), "rollback")
    assert (one.key, one.commit, one.ts, one.trigger) == (back, back, T0 + 200, "revert")
    assert dict(one.labels) == {"branch": "main", "reverts": bad}
    assert one.title == 'Revert "break "all" of it | <b>"'
    assert events(pulled(configured(work.path, reverts=False)), "rollback") == []


def test_only_the_default_branch_counts_unless_others_are_named(work: Work) -> None:
    work.commit(T0, "begin")
    work.git("checkout", "-q", "-b", "release/1")
    work.commit(T0 + 50, "x")
    aside = work.revert(T0 + 100)
    work.git("checkout", "-q", "main")
    assert events(pulled(configured(work.path)), "rollback") == []
    [one] = events(pulled(configured(work.path, branches=("release/*",))), "rollback")
    assert (one.key, dict(one.labels)["branch"]) == (aside, "release/1")
    nothing = pulled(configured(work.path, branches=("trunk",)))
    assert "no branch is called like trunk: what happened on branches is not seen" in reasons(nothing)


def test_commits_are_events_only_where_asked_and_begin_when_they_were_written(work: Work) -> None:
    sha = work.commit(T0 + 500, "rebased", authored=T0)
    assert events(pulled(configured(work.path)), "commit") == []
    [one] = events(pulled(configured(work.path, commits=True)), "commit")
    assert (one.key, one.commit, one.ts, one.actor) == (sha, sha, T0, "Ada")


def test_a_commit_that_lies_ahead_is_held_back_and_one_of_another_year_rejected(work: Work) -> None:
    work.commit(T0, "begin")
    ahead = work.commit(T0 + 1000, "soon")
    first = pulled(configured(work.path, commits=True), until=T0 + 500)
    assert ahead not in {one.key for one in events(first)}
    later = pulled(configured(work.path, commits=True), T0 + 2000, since=T0, first=False, state=state(first))
    assert ahead in {one.key for one in events(later)}
    work.commit(T0 + 900 * DAY, "never")
    pages = pulled(configured(work.path, commits=True), until=T0 + 5000)
    assert reasons(pages) == {"a commit says it was made in the future": 1}


# -- what a clone is and what it is not


def test_a_clone_vouches_until_it_was_fetched_and_reads_what_was_fetched(released: Work, tmp_path: Path) -> None:
    path = tmp_path / "clone"
    released.git("clone", "--quiet", str(released.path), str(path))
    clone = Work(path)
    clone.git("fetch", "--quiet")
    os.utime(path / ".git" / "FETCH_HEAD", (T0 + 5 * DAY, T0 + 5 * DAY))
    pages = pulled(configured(path))
    assert leads(pages) == truth(released)
    assert [(one.since, one.until) for page in pages for one in page.covered or ()] == [(T0 + 100, T0 + 5 * DAY)]
    back = released.revert(T0 + 6 * DAY)
    assert events(pulled(configured(path)), "rollback") == []  # nothing is fetched here
    clone.git("fetch", "--quiet")
    os.utime(path / ".git" / "FETCH_HEAD", (T0 + 7 * DAY, T0 + 7 * DAY))
    later = pulled(configured(path), since=NOW - 600, first=False, state=state(pages), taken=taken(pages))
    assert [one.key for one in events(later, "rollback")] == [back]  # main itself was never pulled
    assert [(one.since, one.until) for page in later for one in page.covered or ()] == [(T0 + 5 * DAY, T0 + 7 * DAY)]


def test_a_bare_repository_vouches_until_now(released: Work, tmp_path: Path) -> None:
    released.git("init", "--quiet", "--bare", str(tmp_path / "bare.git"))
    released.git("push", "--quiet", "--all", str(tmp_path / "bare.git"))
    released.git("push", "--quiet", "--tags", str(tmp_path / "bare.git"))
    pages = pulled(configured(tmp_path / "bare.git"))
    assert leads(pages) == truth(released)
    assert [(one.since, one.until) for page in pages for one in page.covered or ()] == [(T0 + 100, NOW)]


def test_of_a_shallow_clone_only_whole_releases_count(released: Work, tmp_path: Path) -> None:
    path = tmp_path / "shallow"
    released.git("clone", "--quiet", "--depth", "2", f"file://{released.path}", str(path))
    Work(path).git("fetch", "--quiet", "--depth", "2", "origin", "tag", "v3")
    released.tag("v4", T0 + 9 * DAY, of=released.commit(T0 + 8 * DAY, "new"))
    Work(path).git("fetch", "--quiet", "origin", "tag", "v4")
    pages = pulled(configured(path, tags=("v*",)))
    assert leads(pages) == {"v4": (1, DAY)}
    assert [n for reason, n in reasons(pages).items() if "shallow" in reason and "is shallow" in reason] == [1]


def test_an_empty_repository_is_no_error(work: Work) -> None:
    assert records(pulled(configured(work.path))) == []


@pytest.mark.parametrize("name", ["folder", "file", "missing"])
def test_what_is_no_repository_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("hello\n")
    with pytest.raises(SourceRefused, match=r"is no git repository|is not there"):
        pulled(configured(tmp_path / name))
    with pytest.raises(SourceRefused, match="set path"):
        list(git.fetch(git.Config(Common("git", "x")), Pull(0, NOW, NOW)))


def test_a_folder_inside_a_repository_is_not_that_repository(released: Work) -> None:
    (released.path / "exports").mkdir()
    (released.path / "exports" / "HEAD").write_text("ref: refs/heads/main\n")
    with pytest.raises(SourceRefused, match="no git repository"):
        pulled(configured(released.path / "exports"))


def test_without_the_program_one_sentence_says_what_to_do(released: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceRefused, match=r"the program git is not there to read .*; install it, or save"):
        pulled(configured(released.path))


def test_a_slow_and_a_talkative_program_are_ended(released: Work) -> None:
    with pytest.raises(SourceDown, match="more than 0 s"):
        Repository(released.path, seconds=0.0).text("cat-file", "--batch", "--buffer", given=["HEAD"] * 200_000)
    with pytest.raises(SourceRefused, match="says more than"):
        Repository(released.path, cap=100).text("log")


def test_nothing_that_a_repository_names_is_run(
    released: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks, monitors, pagers, helpers and places to fetch from are the repository's words, not ours."""
    trap = tmp_path / "trap"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho run >> {trap}\n")
    script.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "gpg.program", "core.sshCommand", "diff.external", "core.askPass",
                "credential.helper", "core.alternateRefsCommand", "log.showSignature"):  # fmt: skip
        released.git("config", key, "true" if key == "log.showSignature" else str(script))
    for name in ("post-index-change", "reference-transaction", "pre-auto-gc"):
        shutil.copy(script, released.path / ".git" / "hooks" / name)
    released.git("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "config", "alias.log", f"!{script}")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_PAGER", str(script))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(script))
    trap.unlink(missing_ok=True)
    assert leads(pulled(configured(released.path, paths=("f",))))
    assert not trap.exists()


def test_a_repository_of_somebody_else_is_read(released: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    for place in (released.path, released.path / ".git"):
        os.chown(place, 12345, 12345)
    assert leads(pulled(configured(released.path)))


def test_hostile_names_stay_data(work: Work) -> None:
    work.commit(T0, "begin")
    work.tag("v1", T0 + 1)
    name = "v2';DROP-TABLE<script>&%x1f"
    forged = f"x\x1e{'a' * 40}\x1f\x1f1\x1f1\x1fx\x1fx\x1e\n\nThis reverts commit {'b' * 40}.\n--exec=ls"
    sha = work.commit(T0 + 10, forged)
    work.tag(name, T0 + 20)
    pages = pulled(configured(work.path, commits=True))
    assert leads(pages) == {name: (1, 10)}
    assert {one.key for one in events(pages, "commit")} == {sha, work.git("rev-parse", "HEAD~1")}
    assert [dict(one.labels)["reverts"] for one in events(pages, "rollback")] == ["b" * 40]


# -- delivery


def test_a_release_and_a_commit_say_when_the_commit_of_a_deployment_was_written(released: Work) -> None:
    from tandem.changes import changes
    from tandem.delivered import committed

    deployed = Event("deployment", "d", T0 + 2 * DAY, ended=T0 + 2 * DAY + 60, components=("shop",),
                     commit=released.git("rev-parse", "v2^{commit}"))  # fmt: skip
    [change] = changes([("ci", deployed)], {})
    told = [one for one in events(pulled(configured(released.path)), "release") if one.commit == deployed.commit]
    assert committed(change, told) == (T0 + 8 * HOUR, "commit")
    bare = [replace(one, labels=()) for one in told]
    assert committed(change, bare) == (T0 + DAY, "release")


# -- saved logs


def saved(work: Work, folder: Path) -> Path:
    """The two logs, by the very lines that the reference gives."""
    folder.mkdir()
    for line in git.ABOUT.files[1:]:
        shell = line.partition(" (")[0].replace("main --tags", "--branches --tags")
        subprocess.run(["sh", "-c", shell.replace("> ", f"> {folder}/")], cwd=work.path, check=True)
    return folder


def test_saved_logs_tell_what_the_clone_tells(released: Work, tmp_path: Path) -> None:
    back = released.revert(T0 + 6 * DAY)
    folder = saved(released, tmp_path / "logs")
    assert sorted(path.name for path in folder.iterdir()) == ["git-log.z", "git-tags.txt"]
    read = list(git.parse(item(folder, Given()), git.Config(Common("git", "x"))))
    own = pulled(configured(released.path))
    assert leads(read) == leads(own) == truth(released)
    assert events(read, "release") == events(own, "release")
    assert [(one.key, one.ts) for one in events(read, "rollback")] == [(back, T0 + 6 * DAY)]
    assert leads(pulled(configured(folder))) == truth(released)


def test_each_log_alone_tells_its_half(released: Work, tmp_path: Path) -> None:
    folder = saved(released, tmp_path / "logs")
    config = git.Config(Common("git", "x"), commits=True)
    log = list(git.parse(item(folder / "git-log.z", Given()), config))
    assert {one.kind for one in events(log)} == {"commit"}
    assert len(events(log)) == int(released.git("rev-list", "--count", "--all"))
    tags = list(git.parse(item(folder / "git-tags.txt", Given()), config))
    assert [one.key for one in events(tags)] == ["v1", "v2", "v3", "v1.1"]
    assert leads(tags) == leads(log) == {}


def test_captured_logs_are_read_as_git_wrote_them(tmp_path: Path) -> None:
    config = git.Config(Common("git", "x"), commits=True)
    log = list(git.parse(item(HERE / "git_log.txt", Given()), config))
    told = {one.key[:7]: (one.ts, one.title) for one in events(log, "commit")}
    assert (len(told), told["2b74a4a"]) == (5, (1793507400, 'change 1 Reverts nothing | pipe, "quote"'))
    assert reasons(log) == {}
    assert events(log, "rollback") == []  # its format leaves the bodies out
    tags = list(git.parse(item(HERE / "tags.txt", Given()), config))
    assert {(one.key, one.ts, dict(one.labels)["time_of"]) for one in events(tags)} == {
        ("light", 1794675600, "commit"), ("v1.0.0", 1794700800, "tag"),
    }  # fmt: skip
    for name in ("git_log.txt", "tags.txt"):
        shutil.copy(HERE / name, tmp_path)
    both = list(git.parse(item(tmp_path, Given()), config))
    assert dict(events(both, "release")[1].labels)["committed_at"] == "2026-11-03T04:30:00Z"
    assert leads(both) == {}  # the second release by time is of an older commit than the first: it brought nothing


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a" * 40 + b"\0\x001\x0012345678901\0x\0x", "the log ends within a commit; save it again"),
        (b"a" * 40 + b"\0ff\x001\x001790000000\0x\0x\0\0", "a commit has no time of its commit or no proper parents"),
        (b"a" * 40 + b"\0\x000\x000\0x\0x\0\0", "a commit has no time of its commit or no proper parents"),
        (b"refs/tags/v1\x1ftree\x1f" + b"a" * 40 + b"\x1f\x1f1790000000\x1f\n", "a tag names no commit or has no time"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "log").write_bytes(data)
    pages = list(git.parse(item(tmp_path / "log", Given()), git.Config(Common("git", "x"))))
    assert events(pages) == []
    assert reasons(pages) == {said: 1}


def test_every_payload_and_a_clone_are_recognised_by_nobody_else(released: Work, tmp_path: Path) -> None:
    folder = saved(released, tmp_path / "logs")
    for path in (HERE / "git_log.txt", HERE / "tags.txt", folder, folder / "git-log.z", released.path / ".git"):
        told = item(path, Given())
        assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["git"], path
    assert not git.recognise(item(released.path, Given()))  # a working tree may hold other files to read


@pytest.mark.parametrize("what", ["clone", "logs"])
def test_a_clone_and_its_logs_are_imported_once(
    released: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text("")
    path = released.path / ".git" if what == "clone" else saved(released, tmp_path / "logs")
    for _ in range(2):
        done = CliRunner().invoke(main, ["import", str(path), "--component", "shop"])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        want = truth(released).values()
        assert sums(store) == (sum(n for n, _ in want), sum(total for _, total in want))
        assert known(store, "release").keys() == {"v1", "v2", "v3", "v1.1"}


def test_many_releases_are_told_in_order_with_their_marks() -> None:
    """A mark changes for a release and all after it, and for none before it."""
    tags = [_git.Tag(f"v{number}", f"{number:040x}", T0 + number, True) for number in range(50)]
    before = _git.marks(tags, _git.Choice())
    moved = [*tags[:20], replace(tags[20], commit="f" * 40), *tags[21:]]
    after = _git.marks(moved, _git.Choice())
    assert [one == other for one, other in zip(before, after, strict=True)] == [True] * 20 + [False] * 30
    assert all(one != other for one, other in pairwise(before))
