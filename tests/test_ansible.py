"""Ansible: plays of three callbacks, what was ignored and rescued apart; AWX's lists, late hosts and few requests."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import ansible
from connectors._files import item
from tandem import collect, connect, times
from tandem.cli import main
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import DAY, HOUR, Event, Page
from tandem.store.backup import export
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.awx_server import Awx
from tests.replay import Answer, serve

HERE = Path(__file__).parent / "payloads" / "ansible"
NOW = times.iso("2026-11-20T12:00:00Z")
LABELS = ("hosts", "changed", "failed", "unreachable", "ignored", "rescued")


@pytest.fixture
def awx() -> Awx:
    return Awx()


@pytest.fixture
def url(awx: Awx) -> Iterator[str]:
    with serve(awx.answer) as server:
        yield server.url


def configured(url: str = "", **more: Any) -> ansible.Config:
    common = Common("ansible", "awx", component=("shop",), status=more.pop("status", {}))
    return ansible.Config(common, url=url, **more)


def pulled(config: ansible.Config, since: int = NOW - 90 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(ansible.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def parsed(path: Path, config: ansible.Config | None = None) -> list[Page]:
    return list(ansible.parse(item(path, Given()), config or configured()))


def events(pages: Sequence[Page]) -> list[Event]:
    return [record for page in pages for record in page.records if isinstance(record, Event)]


def state(pages: Sequence[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def reasons(pages: Sequence[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def counts(event: Event) -> tuple[int, ...]:
    told = dict(event.labels)
    return tuple(int(told[name]) for name in LABELS)


# -- files


@pytest.mark.parametrize("name", ["callback_json.json", "callback_jsonl.jsonl"])
def test_a_play_of_the_json_callbacks_is_one_event(name: str) -> None:
    """The figures stand in the recap that Ansible printed of the same run."""
    [one] = events(parsed(HERE / name))
    assert (one.kind, one.outcome, one.title) == (
        "infrastructure", "bad", "deploy checkout: of 3 hosts 1 failed and 1 unreachable",
    )  # fmt: skip
    changed = 6 if name.endswith(".json") else 4  # the second run found the files as they should be
    assert counts(one) == (3, changed, 1, 1, 1, 0)
    told = dict(one.labels)
    assert (told["play"], told["playbook"], told["status"], told["retried"]) == (
        "deploy checkout", "play.yml", "failed", "1",
    )  # fmt: skip
    begin, end = ("08:01:42", "08:01:49") if name.endswith(".json") else ("08:01:51", "08:01:59")
    assert (times.text(one.ts), times.text(one.ended or 0)) == (f"2026-11-21T{begin}Z", f"2026-11-21T{end}Z")
    assert one.started == one.ts


def test_the_junit_callback_knows_less_and_says_so() -> None:
    [one] = events(parsed(HERE / "play-1795248127.286799.xml"))
    assert (one.outcome, one.ended, one.ts_latest) == ("bad", None, 1795248127)
    assert one.ts == 1795248127 - 9
    told = dict(one.labels)
    assert (told["play"], told["playbook"], told["hosts"], told["failed"]) == ("deploy checkout", "play.yml", "2", "1")
    assert not {"changed", "unreachable", "ignored", "rescued"} & told.keys()


def run_of(hosts: dict[str, list[str]], stats: dict[str, dict[str, int]], plays: int = 1) -> dict[str, Any]:
    """A run as the json callback writes it: each host's results in order, one task each, over some plays."""
    found: dict[str, Any] = {"plays": [], "stats": stats, "custom_stats": {}, "global_custom_stats": {}}
    length = max(map(len, hosts.values()), default=0)
    for number in range(plays):
        begin = times.text(NOW + 100 * number)
        tasks = []
        for place in range(number, length, plays):
            results = {host: {"changed": some[place] == "changed", "failed": some[place] == "failed",
                              "unreachable": some[place] == "unreachable"}
                       for host, some in hosts.items() if place < len(some)}  # fmt: skip
            end = times.text(NOW + 100 * number + place + 1)
            tasks.append({"hosts": results, "task": {"name": "t", "duration": {"start": begin, "end": end}}})
        play = {"name": f"p{number}", "id": f"id{number}", "path": "/x/site.yml:3", "duration": {"start": begin}}
        found["plays"].append({"play": play, "tasks": tasks})
    return found


def stats(**more: int) -> dict[str, int]:
    return {"ok": 0, "changed": 0, "failures": 0, "ignored": 0, "rescued": 0, "skipped": 0, "unreachable": 0, **more}


@pytest.mark.parametrize(
    ("results", "recap", "want", "outcome"),
    [
        (["failed", "changed"], stats(ignored=1), (1, 1, 0, 0, 1, 0), "good"),
        (["failed", "changed"], stats(rescued=1), (1, 1, 0, 0, 0, 1), "good"),
        (["failed", "failed", "failed"], stats(ignored=1, rescued=1, failures=1), (1, 0, 1, 0, 1, 1), "bad"),
        (["changed", "failed"], stats(failures=1), (1, 1, 1, 0, 0, 0), "bad"),
        (["unreachable", "changed"], stats(), (1, 1, 0, 0, 1, 0), "good"),  # ignore_unreachable
        (["ok", "unreachable"], stats(unreachable=1), (1, 0, 0, 1, 0, 0), "bad"),
        ([], stats(), (0, 0, 0, 0, 0, 0), "excluded"),
    ],
)
def test_ignored_rescued_and_final_failures_are_told_apart(
    tmp_path: Path, results: list[str], recap: dict[str, int], want: tuple[int, ...], outcome: str
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(run_of({"web1": results} if results else {}, {"web1": recap})))
    [one] = events(parsed(tmp_path / "run.json"))
    assert (counts(one), one.outcome) == (want, outcome)


def test_over_several_plays_only_what_the_recap_proves_is_said(tmp_path: Path) -> None:
    """A host that failed for good did so last; two ways of going on in two plays cannot be told apart."""
    recap = {"web1": stats(ignored=1, rescued=1, failures=1), "web2": stats(changed=1)}
    whole = run_of({"web1": ["failed", "failed", "failed"], "web2": ["ok", "ok", "changed"]}, recap, plays=3)
    (tmp_path / "run.json").write_text(json.dumps(whole))
    found = events(parsed(tmp_path / "run.json"))
    assert [(one.outcome, dict(one.labels).get("handled")) for one in found] == [
        ("good", "1"), ("good", "1"), ("bad", None),
    ]  # fmt: skip
    assert [counts(one)[1:3] for one in found] == [(0, 0), (0, 0), (1, 1)]


def test_a_run_that_broke_off_is_open_until_its_file_is_whole(tmp_path: Path) -> None:
    lines = (HERE / "callback_jsonl.jsonl").read_text().splitlines(keepends=True)
    path = tmp_path / "run.jsonl"
    path.write_text("".join(lines[:8]) + lines[8][:40])
    [half] = events(broken := parsed(path))
    assert (half.outcome, half.ended, dict(half.labels)["status"]) == ("open", None, "unfinished")
    assert len(reasons(broken)) == 2
    path.write_text("".join(lines))
    [whole] = events(parsed(path))
    assert (whole.key, whole.outcome) == (half.key, "bad")
    assert whole.revision >= half.revision
    path.write_text("".join(lines * 2).replace("04", "05", 0))
    assert len(events(parsed(path))) == 2  # two runs in one file


def test_jsonl_and_json_of_one_run_are_one_object(tmp_path: Path) -> None:
    whole = json.loads((HERE / "callback_json.json").read_text())
    play = whole["plays"][0]
    lines = [{"_event": "v2_playbook_on_play_start", "_timestamp": "x", "play": play["play"], "tasks": []}]
    for task in play["tasks"]:
        for host, result in task["hosts"].items():
            how = next((w for w in ("failed", "unreachable", "skipped") if result.get(w)), "ok")
            lines.append(
                {"_event": f"v2_runner_on_{how}", "_timestamp": "x", "hosts": {host: result}, "task": task["task"]}
            )
    lines.append({"_event": "v2_playbook_on_stats", "_timestamp": "x", "stats": whole["stats"]})
    (tmp_path / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert events(parsed(tmp_path / "run.jsonl")) == events(parsed(HERE / "callback_json.json"))


def test_saved_answers_of_awx_are_read_as_its_own() -> None:
    pages = parsed(HERE / "awx_jobs.json", configured("https://awx.example.com"))
    good, bad = events(pages)
    assert (good.key, good.outcome, good.commit, good.actor, good.trigger) == (
        "4711", "good", "9f1c2d3e4b5a69788796a5b4c3d2e1f001122334", "ada", "scheduled",
    )  # fmt: skip
    assert [times.text(at or 0)[11:19] for at in (good.ts, good.started, good.ended)] == [
        "08:00:00", "08:00:10", "08:01:12",
    ]  # fmt: skip
    assert good.url == "https://awx.example.com/#/jobs/playbook/4711/output"
    assert (bad.key, bad.outcome, bad.started) == ("4712", "bad", None)
    assert reasons(pages) == {"objects of type project_update are no jobs and are not counted": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"plays": [{"play": {"name": "x"}, "tasks": []}], "stats": {}, "custom_stats": {}}',
            "no time of its beginning",
        ),
        ('{"_event": "v2_playbook_on_stats", "_timestamp": "x", "stats": {}}\n7\n', "no object of Ansible's callbacks"),
        ('{"id": 1, "type": "job", "launch_type": "x", "job_template": 1, "elapsed": 1}', "no id or no time"),
    ],
)
def test_what_cannot_be_counted_is_rejected_with_its_reason(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    pages = parsed(tmp_path / "x.json")
    assert events(pages) == []
    assert [said in reason for reason in reasons(pages)] == [True]


def test_what_ansible_prints_of_an_error_in_a_playbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"plays": [ , "custom_stats": {}\nERROR! Syntax Error\n')
    with pytest.raises(SourceRefused, match="not JSON"):
        parsed(tmp_path / "x.json")


@pytest.mark.parametrize("name", [path.name for path in sorted(HERE.iterdir()) if path.suffix != ".md"])
def test_every_payload_is_recognised_by_nobody_else(name: str) -> None:
    told = item(HERE / name, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["ansible"]


@pytest.mark.parametrize("text", ["{}", "[]", '{"plays": []}', "<testsuites><testsuite name='a'/></testsuites>", "x"])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "some").write_text(text)
    assert not ansible.recognise(item(tmp_path / "some", Given()))


# -- AWX


def test_a_job_is_one_event_with_what_became_of_its_hosts(awx: Awx, url: str) -> None:
    awx.start(1, NOW - 5000)
    awx.finish(1, NOW - 4000, "failed", web1={"changed": 3, "ignored": 1}, web2={"failures": 1, "rescued": 2},
               web3={"dark": 1})  # fmt: skip
    awx.start(2, NOW - 3000, kind="workflow_job")
    [one] = events(pulled(configured(url)))
    assert (one.key, one.outcome, one.ts, one.started, one.ended) == ("1", "bad", NOW - 5000, NOW - 4995, NOW - 4000)
    assert counts(one) == (3, 3, 1, 1, 1, 2)
    told = dict(one.labels)
    assert [told[name] for name in ("template", "inventory", "project", "playbook")] == [
        "deploy checkout", "prod", "infra", "site.yml",
    ]  # fmt: skip
    assert (one.commit, one.title) == (f"{1:040x}", "deploy checkout: of 3 hosts 1 failed and 1 unreachable")
    assert counts_absent(events(pulled(configured(url, hosts=False)))[0])


def counts_absent(event: Event) -> bool:
    return not set(LABELS) & dict(event.labels).keys()


def test_every_status_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(awx: Awx, url: str) -> None:
    words = ["successful", "failed", "error", "canceled", "exploded"]
    for number, word in enumerate(words, 1):
        awx.start(number, NOW - 5000)
        awx.finish(number, NOW - 4000, word)
    for number, word in enumerate(["new", "pending", "waiting", "running"], 10):
        awx.start(number, NOW - 5000)
        awx.jobs[number]["status"] = word
    pages = pulled(configured(url))
    told = {one.key: one.outcome for one in events(pages)}
    assert [told[str(n)] for n in range(1, 6)] == ["good", "bad", "bad", "excluded", "excluded"]
    assert {told[str(n)] for n in range(10, 14)} == {"open"}
    assert [n for reason, n in reasons(pages).items() if '"exploded" is unknown' in reason] == [1]
    own = {one.key: one.outcome for one in events(pulled(configured(url, status={"exploded": "bad"})))}
    assert own["5"] == "bad"


def test_pages_are_walked_in_order_and_every_job_is_found_once(awx: Awx, url: str) -> None:
    for number in range(1, 551):
        awx.start(number, NOW - 50_000 + number)
        awx.finish(number, NOW - 40_000 + number)
    pages = pulled(configured(url, hosts=False))
    assert [one.key for one in events(pages)] == [str(number) for number in range(1, 551)]
    assert {one.parameters()["order_by"] for one in awx.asked} == {"finished,id", "id"}
    assert all(one.parameters()["page_size"] == "200" for one in awx.asked)
    assert max(len(page.records) for page in pages) <= 200


def test_a_list_shorter_than_its_total_is_a_gap(awx: Awx, url: str) -> None:
    awx.start(1, NOW - 5000)
    awx.finish(1, NOW - 4000)
    real = awx.answer

    def lying(asked: Any) -> Answer:
        good = real(asked)
        return Answer({**good.body, "count": 7}) if "finished__gte" in asked.parameters() else good

    with serve(lying) as server:
        pages = pulled(configured(server.url, hosts=False))
    assert [gap.reason for page in pages for gap in page.gaps] == ["AWX says 7 jobs and lists 1"]
    assert pages[-1].covered == ()


def test_the_life_of_a_job_is_one_object_and_counts_once(awx: Awx, url: str, tmp_path: Path) -> None:
    """Waiting, running, done, its hosts written late; relaunched it is another job."""
    source = Source(configured(url).common, connect.load("ansible"), configured(url))
    begin = NOW - HOUR

    def now(store: Store, at: int) -> Event:
        for again in range(2):
            assert collect.pull(store, source, at + again).error == ""
        return next(one for _, one in Reader(store).events(0, 1 << 40) if one.key == "1")

    with open_store(tmp_path / "t.duckdb") as store:
        awx.start(1, begin)
        assert now(store, begin + 60).outcome == "open"
        awx.finish(1, begin + 100, "failed", web1={})
        assert (one := now(store, begin + 200)).outcome == "bad"
        assert counts(one)[2] == 0
        awx.finish(1, begin + 100, "failed", web1={"failures": 1}, web2={})  # written after the end
        assert counts(now(store, begin + 400))[:3] == (2, 0, 1)
        awx.start(2, begin + 500)
        awx.finish(2, begin + 590)
        assert now(store, begin + 700).outcome == "bad"
        assert totals(store) == {"deploy_success": (1, 2), "deploy_duration": (2, 95 + 85)}


def totals(store: Store) -> dict[str, tuple[int, int]]:
    """Of the whole store: good and total of deploy_success, count and seconds of deploy_duration."""
    reader = Reader(store)
    ratio = [r[0] for r in reader.totals("ratio", [k.id for k in reader.series(signal="deploy_success")],
                                         [(0, 1 << 40)]).values()]  # fmt: skip
    bins = [r[0] for r in reader.totals("histogram", [k.id for k in reader.series(signal="deploy_duration")],
                                        [(0, 1 << 40)]).values()]  # fmt: skip
    rows = [row for found in bins for row in found.values()]
    return {"deploy_success": (sum(r[0] for r in ratio), sum(r[1] for r in ratio)),
            "deploy_duration": (sum(r[0] for r in rows), sum(r[1] for r in rows) // 10**6)}  # fmt: skip


def test_a_second_pull_makes_the_fewest_requests(awx: Awx, url: str, capsys: Any) -> None:
    for number in range(1, 301):
        awx.start(number, NOW - 20 * DAY + number * 600)
        awx.finish(number, NOW - 20 * DAY + number * 600 + 60, web1={})
    awx.start(400, NOW - 900)
    first = pulled(configured(url))
    still = tuple(one for one in events(first) if one.outcome == "open")
    awx.asked.clear()
    again = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=still)
    print(f"second pull: {len(awx.asked)} requests, fewest possible 2")
    assert len(awx.asked) == 2
    assert [one.key for one in events(again)] == ["400"]
    awx.finish(400, NOW + 400, web1={})
    awx.asked.clear()
    third = pulled(configured(url), NOW - 300, NOW + 600, first=False, state=state(again), open=still)
    assert [(one.key, one.outcome) for one in events(third)] == [("400", "good")]
    assert len(awx.asked) == 3  # both lists, and the hosts of the one that is new
    awx.asked.clear()
    pulled(configured(url), NOW + 600, NOW + 1500, first=False, state=state(third))
    assert len(awx.asked) == 3  # once more, now that nothing more is written of it
    assert "fewest possible 2" in capsys.readouterr().out


def test_many_jobs_cost_pages_and_little_memory(capsys: Any) -> None:
    """Requests against the fewest possible over a fake wire; the hosts of jobs cost one each and are left out."""
    awx = Awx()
    awx.start(1, NOW - 10 * DAY)
    row = {key: value for key, value in awx.jobs[1].items() if key not in ("extra_vars", "artifacts")}
    total = 4_000

    def answer(asked: Any) -> Answer:
        given = asked.parameters()
        if "finished__isnull" in given:
            return Answer({"count": 0, "next": None, "results": []})
        page = int(given.get("page", 1))
        rows = [{**row, "id": n, "status": "successful", "finished": times.text(NOW - 9 * DAY + n)}
                for n in range((page - 1) * 200 + 1, page * 200 + 1)]  # fmt: skip
        return Answer({"count": total, "next": f"?page={page + 1}" if page * 200 < total else None, "results": rows})

    with serve(answer) as server:
        tracemalloc.start()
        pull = Pull(NOW - 90 * DAY, NOW, NOW, first=True)
        found = sum(len(page.records) for page in ansible.fetch(configured(server.url, hosts=False), pull))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"{found:,} jobs: {len(server.asked)} requests, fewest possible {total // 200 + 1}, {peak / 1e6:.0f} MB")
    assert (found, len(server.asked)) == (total, total // 200 + 1)
    assert peak < 100e6


def test_what_ends_at_or_after_until_is_still_open(awx: Awx, url: str) -> None:
    awx.start(1, NOW - 100)
    awx.finish(1, NOW)
    awx.start(2, NOW)
    still = Event("infrastructure", "1", NOW - 100, outcome="open")
    first = pulled(configured(url), open=(still,))
    assert [(one.key, one.outcome, one.ended) for one in events(first)] == [("1", "open", None)]
    later = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=(still,))
    assert [(one.key, one.outcome) for one in events(later)] == [("1", "good"), ("2", "open")]


def test_a_job_that_was_deleted_while_it_went_on_is_not_asked_for_again(url: str) -> None:
    still = Event("infrastructure", "9", NOW - 100, outcome="open")
    pages = pulled(configured(url), open=(still,))
    assert [(one.key, one.outcome) for one in events(pages)] == [("9", "excluded")]
    assert reasons(pages) == {"a job that went on is no longer there and is excluded": 1}


def test_another_path_of_the_api_is_kept(awx: Awx) -> None:
    asked: list[str] = []

    def under(one: Any) -> Answer:
        asked.append(one.path)
        return Answer({"count": 0, "next": None, "results": []})

    with serve(under) as server:
        pulled(configured(f"{server.url}/api/controller/v2"))
    assert set(asked) == {"/api/controller/v2/unified_jobs/"}


def test_what_is_no_awx_is_refused() -> None:
    for answer in (Answer({"items": []}), Answer("<!DOCTYPE html>", 200, {"Content-Type": "text/html"})):
        with serve(lambda asked, told=answer: told) as server, pytest.raises(SourceRefused, match="check"):
            pulled(configured(server.url))
    with pytest.raises(SourceRefused, match="set url"):
        pulled(configured(""))


def test_no_value_of_a_run_is_kept(awx: Awx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Arguments, results, messages and variables may hold secrets: none of them is kept."""
    canary = "canary-8a1f"
    text = (HERE / "callback_json.json").read_text()
    for place in ('"msg": "', '"checksum": "', '"_raw_params": "', '"stdout": "'):
        text = text.replace(place, place + canary)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "run.json").write_text(text)
    awx.token = canary
    awx.start(1, NOW - 5000)
    awx.finish(1, NOW - 4000, web1={})
    awx.jobs[1].update(extra_vars=canary, artifacts={"x": canary}, result_traceback=canary, job_args=canary)
    monkeypatch.setenv("AWX_TOKEN", canary)
    with serve(awx.answer) as server, open_store(tmp_path / "t.duckdb") as store:
        for url in (server.url, f"file:{tmp_path / 'files'}"):
            common = Common("ansible", "a", component=("shop",), token_env="AWX_TOKEN")
            source = Source(common, connect.load("ansible"), ansible.Config(common, url=url))
            outcome = collect.pull(store, source, NOW + 2 * DAY, since=NOW - 9000)
            assert outcome.error == ""
            assert canary not in repr(outcome)
        assert len(list(Reader(store).events(0, 1 << 40))) == 2
        export(store, tmp_path / "export")
    for found in tmp_path.rglob("*"):
        if found.is_file() and found.name != "run.json":
            assert canary.encode() not in found.read_bytes(), found
    assert canary not in "".join(capfd.readouterr())


def test_hostile_names_stay_data(awx: Awx, url: str) -> None:
    name = "x'); DROP TABLE event;--<script>alert(1)</script>"
    awx.start(1, NOW - 5000, name=name)
    awx.finish(1, NOW - 4000, **{"<b>": {}})
    [one] = events(pulled(configured(url)))
    assert dict(one.labels)["template"] == name


def test_files_are_imported_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text("")
    for _ in range(2):
        paths = [str(path) for path in sorted(HERE.iterdir()) if path.suffix != ".md"]
        done = CliRunner().invoke(main, ["import", *paths, "--component", "shop"])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        assert sorted(one.outcome for _, one in Reader(store).events(0, 1 << 40)) == [
            "bad",
            "bad",
            "bad",
            "bad",
            "good",
        ]
        assert totals(store) == {"deploy_success": (1, 5), "deploy_duration": (4, 7 + 8 + 62 + 1)}
