"""Spinnaker: stages that deploy, what they start themselves, restarts, images and commits, what runs long; files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import _http, _spinnaker_server, spinnaker
from tandem import changes, collect, times
from tandem.config import Source
from tandem.connect import Common, Pull, SourceRefused
from tandem.records import DAY, HOUR, Event, Page, bucket_of
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import faults
from tests.replay import Answer, serve
from tests.spinnaker_server import Gate, image

HERE = Path(__file__).parent / "payloads" / "spinnaker"
NOW = times.iso("2026-11-20T12:00:00Z")
BEGUN = times.iso("2026-11-02T10:00:00Z")
DIGEST = "sha256:" + "9f86d081884c7d659a2feaa0c55ad015" * 2
A, B = "a" * 40, "b" * 40


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def url(gate: Gate) -> Iterator[str]:
    with serve(gate.answer) as server:
        yield server.url


def configured(url: str = "https://gate.example.com", **more: Any) -> spinnaker.Config:
    common = Common("spinnaker", "spin", component=("cart",), **more.pop("common", {}))
    return spinnaker.Config(common, url=url, **{"applications": ("cart",), **more})


def pulled(config: spinnaker.Config, since: int = NOW - 30 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(spinnaker.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def again(config: spinnaker.Config, before: list[Page], until: int, **more: Any) -> list[Page]:
    """The next pull after five minutes, with ten minutes of overlap."""
    still = tuple(event for event in events(before) if event.outcome == "open")
    asked = {"first": False, "state": state(before), "open": still, **more}
    return pulled(config, until - 900, until, **asked)


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return [one for one in found if not kind or one.kind == kind]


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def paths(gate: Gate, since: int = 0) -> list[str]:
    """What was asked for, ids left out; a search for what runs is told apart."""
    return [
        re.sub(r"01JD\w{22}", "*", one.path.strip("/")) + ("?statuses" if "statuses" in dict(one.query) else "")
        for one in gate.asked[since:]
    ]


SEARCH, TASKS = "applications/cart/executions/search", "applications/cart/tasks"


# -- stages


def test_a_stage_that_deploys_is_a_deployment_from_its_start_to_its_end(gate: Gate, url: str) -> None:
    one = gate.pipeline(NOW - 9000, type="jenkins", buildInfo={"scm": [{"branch": "main", "sha1": A}]})
    gate.stage(one, "manualJudgment", NOW - 8999, NOW - 5000)
    gate.stage(one, "deployManifest", NOW - 5000, NOW - 4940, name="To prod", manifestName="deployment cart",
               moniker={"cluster": "deployment cart"},
               **{"outputs.boundArtifacts": [image(digest=DIGEST)]})  # fmt: skip
    gate.stage(one, "runJobManifest", NOW - 4930, NOW - 4900)
    gate.end(one, NOW - 4900)
    (found,) = events(pulled(configured(url, web="https://deck.example.com/")))
    assert (found.kind, found.outcome, found.ts, found.ended) == ("deployment", "good", NOW - 5000, NOW - 4940)
    assert (found.commit, found.version, found.digest) == (A, "1.4.2", DIGEST)
    assert (found.trigger, found.actor, found.title) == ("jenkins", "ada", "Ship: To prod")
    assert found.url == f"https://deck.example.com/#/applications/cart/executions/details/{one['id']}"
    assert dict(found.labels) == {
        "application": "cart", "pipeline": "Ship", "stage": "To prod", "type": "deployManifest", "account": "prod",
        "namespace": "shop", "cluster": "deployment cart", "images": "registry.example.com/shop/cart",
        "status": "SUCCEEDED",
    }  # fmt: skip


def test_what_a_stage_starts_itself_is_part_of_it_but_a_rollback_is_its_own(gate: Gate, url: str) -> None:
    one = gate.pipeline(NOW - 9000)
    outer = gate.stage(one, "deploy", NOW - 8900, NOW - 8800, "TERMINAL")
    gate.stage(one, "createServerGroup", NOW - 8890, NOW - 8810, "TERMINAL", parent=outer)
    back = gate.stage(one, "rollbackCluster", NOW - 8790, NOW - 8700, parent=outer)
    inner = gate.stage(one, "rollbackServerGroup", NOW - 8780, NOW - 8710, parent=back)
    gate.stage(one, "cloneServerGroup", NOW - 8770, NOW - 8720, parent=inner)
    gate.stage(one, "undoRolloutManifest", NOW - 8600, NOW - 8590)
    gate.end(one, NOW - 8590, "TERMINAL")
    assert [(e.kind, e.outcome, e.ts) for e in events(pulled(configured(url)))] == [
        ("deployment", "bad", NOW - 8900), ("rollback", "good", NOW - 8790), ("rollback", "good", NOW - 8600),
    ]  # fmt: skip


def test_types_of_stages_that_deploy_are_a_choice(gate: Gate, url: str) -> None:
    one = gate.pipeline(NOW - 9000)
    gate.stage(one, "deploy", NOW - 8900, NOW - 8800)
    gate.stage(one, "runJobManifest", NOW - 8700, NOW - 8600)
    gate.end(one, NOW - 8600)
    own = configured(url, deploy_stages=("runJobManifest",))
    assert [dict(e.labels)["type"] for e in events(pulled(own))] == ["runJobManifest"]


@pytest.mark.parametrize(("word", "outcome"), [*spinnaker.ABOUT.status.items(), ("EXPLODED", "excluded")])
def test_every_status_has_an_outcome(gate: Gate, url: str, word: str, outcome: str) -> None:
    one = gate.pipeline(NOW - 9000)
    gate.stage(one, "deploy", NOW - 8900, NOW - 8800 if outcome != "open" else None, word)
    pages = pulled(configured(url))
    assert [e.outcome for e in events(pages)] == [outcome]
    assert any("unknown" in reason for reason in reasons(pages)) is (word == "EXPLODED")
    if word == "EXPLODED":
        assert [e.outcome for e in events(pulled(configured(url, common={"status": {word: "bad"}})))] == ["bad"]


def test_a_stage_that_never_began_is_none_and_one_that_was_given_up_decides_nothing(gate: Gate, url: str) -> None:
    failed = gate.pipeline(NOW - 9000)
    gate.stage(failed, "bakeManifest", NOW - 8999, NOW - 8900, "TERMINAL")
    gate.stage(failed, "deployManifest", None)
    gate.end(failed, NOW - 8900, "TERMINAL")
    stopped = gate.pipeline(NOW - 7000)
    gate.stage(stopped, "deployManifest", NOW - 6900)
    gate.end(stopped, NOW - 6800, "CANCELED")
    assert [(e.outcome, e.ts, e.ended) for e in events(pulled(configured(url)))] == [("excluded", NOW - 6900, None)]


# -- what was deployed


@pytest.mark.parametrize(
    ("context", "trigger", "version", "digest"),
    [
        ({"outputs.boundArtifacts": [image("r/a", "1"), image("r/b", "2")]}, {}, "", ""),  # of several none
        ({"outputs.boundArtifacts": [image("r/a", "latest")]}, {}, "", ""),
        ({"outputs.boundArtifacts": [{"type": "docker/image", "name": "r/a", "version": DIGEST}]}, {}, "", DIGEST),
        ({"outputs.manifests": [{"spec": {"template": {"spec": {"containers": [{"image": "r/a:3"}]}}}}]}, {}, "3", ""),
        ({"clusters": [{"imageId": "shop/cart:4"}]}, {}, "4", ""),
        ({"clusters": [{"imageId": "ami-0abc"}]}, {"artifacts": [image("r/a", "5")]}, "5", ""),
        ({}, {"type": "docker", "registry": "r", "repository": "a", "tag": "6"}, "6", ""),
        ({}, {"resolvedExpectedArtifacts": [{"boundArtifact": image("r/a", "7")}]}, "7", ""),
        ({}, {"parentExecution": {"trigger": {"artifacts": [image("r/a", "8")]}}}, "8", ""),
        ({}, {"artifacts": [{"type": "github/file", "version": "main"}]}, "", ""),
    ],
)
def test_the_image_is_known_by_what_is_nearest_to_the_stage(
    gate: Gate, url: str, context: dict[str, Any], trigger: dict[str, Any], version: str, digest: str
) -> None:
    one = gate.pipeline(NOW - 9000, **trigger)
    gate.stage(one, "deployManifest", NOW - 8900, NOW - 8800, **context)
    gate.end(one, NOW - 8800)
    (found,) = events(pulled(configured(url)))
    assert (found.version, found.digest) == (version, digest)


@pytest.mark.parametrize(
    ("trigger", "commit"),
    [
        ({"type": "git", "hash": A}, A),
        ({"buildInfo": {"scm": [{"sha1": A}, {"sha1": B}]}}, ""),
        ({"hash": "main"}, ""),
        ({"type": "pipeline", "parentExecution": {"trigger": {"hash": B}}}, B),
    ],
)
def test_the_commit_is_known_where_one_is_told(gate: Gate, url: str, trigger: dict[str, Any], commit: str) -> None:
    one = gate.pipeline(NOW - 9000, **trigger)
    gate.stage(one, "deploy", NOW - 8900, NOW - 8800)
    assert [e.commit for e in events(pulled(configured(url)))] == [commit]


def test_the_same_change_in_another_source_is_recognised_by_its_digest(gate: Gate, url: str) -> None:
    one = gate.pipeline(NOW - 9000)
    gate.stage(one, "deployManifest", NOW - 8900, NOW - 8800, **{"outputs.boundArtifacts": [image(digest=DIGEST)]})
    (mine,) = events(pulled(configured(url)))
    theirs = Event("deployment", "7", NOW - 8890, ended=NOW - 8850, components=("cart",), digest=DIGEST)
    found = changes.changes([("argo", theirs), ("spin", replace(mine, components=("cart",)))], {})
    assert [set(change.sources) for change in found] == [{"spin", "argo"}]


# -- what changes later


def test_a_stage_that_is_restarted_is_another_attempt_and_its_bucket_changes_once(
    gate: Gate, url: str, tmp_path: Path
) -> None:
    created = bucket_of(NOW - 5000)
    one = gate.deploy(created - 31, "TERMINAL")
    config, seen = configured(url), []
    with open_store(tmp_path / "t.duckdb") as store:
        for turn in range(4):
            if turn == 1:
                stage = gate.restart(one, 1, NOW + 100)
            if turn == 2:
                gate.end(stage, NOW + 400)
                gate.end(one, NOW + 400)
            outcome = collect.pull(store, Source(config.common, spinnaker, config), NOW + 300 * turn, since=None)
            assert not outcome.error
            reader = Reader(store)
            groups = {kept.id: 0 for kept in reader.series(signal="deploy_success")}
            steps = reader.steps("ratio", groups, NOW - DAY, NOW + HOUR, 300)
            seen.append([(ts, int(good), int(total)) for _, ts, good, total in steps if total])
        told = [(e.attempt, e.outcome) for _, e in Reader(store).events(0, 1 << 40)]
        ids = [kept.id for kept in reader.series(signal="deploy_duration")]
        [[lasted]] = reader.totals("histogram", ids, [(0, NOW + DAY)]).values()
    assert seen == [[(created, 0, 1)], [], *2 * [[(bucket_of(NOW + 100), 1, 1)]]]
    assert sorted(told) == [(1, "bad"), (2, "good")]
    assert lasted
    assert sum(int(cell[0]) for cell in lasted.values()) == 2  # 60 s and 300 s, each once


def test_a_restart_that_is_over_between_two_pulls_is_found_by_the_sweep(gate: Gate, url: str) -> None:
    one = gate.deploy(NOW - 3 * DAY, "TERMINAL")
    config = configured(url)
    first = pulled(config)
    gate.end(gate.restart(one, 1, NOW + 10), NOW + 60)
    gate.end(one, NOW + 60)
    second = again(config, first, NOW + 300)
    assert events(second) == []
    swept = again(config, second, NOW + 600, sweep=True)
    assert [(e.attempt, e.outcome, e.ended) for e in events(swept)] == [(2, "good", NOW + 60)]
    assert events(again(config, swept, NOW + 900, sweep=True)) == []


def test_a_stage_after_one_that_was_restarted_is_told_anew_under_its_own_name(gate: Gate, url: str) -> None:
    """It bears no mark of the restart: its times are new, and it is still one deployment."""
    one = gate.deploy(NOW - 9000, "TERMINAL")
    after = gate.stage(one, "deploy", NOW - 8800, NOW - 8700, "TERMINAL")
    config = configured(url)
    first = pulled(config)
    gate.end(gate.restart(one, 1, NOW + 10), NOW + 60)
    after |= {"status": "SUCCEEDED"}
    gate.stage(one, "wait", NOW + 61, NOW + 62)
    after |= {"startTime": (NOW + 70) * 1000, "endTime": (NOW + 90) * 1000}
    gate.end(one, NOW + 90)
    told = {(e.key, e.attempt): e for e in events([*first, *again(config, first, NOW + 300, sweep=True)])}
    assert [(e.attempt, e.outcome, e.ts) for e in told.values()] == [
        (1, "bad", NOW - 8969), (1, "good", NOW + 70), (2, "good", NOW + 10),
    ]  # fmt: skip


def test_what_was_triggered_long_ago_and_deploys_now_is_told(gate: Gate, url: str) -> None:
    """A person approves after twenty days: no window of trigger times reaches it."""
    one = gate.pipeline(NOW - 20 * DAY)
    gate.stage(one, "manualJudgment", NOW - 20 * DAY + 1)
    config = configured(url)
    first = pulled(config)
    assert events(first) == []
    gate.stage(one, "deployManifest", NOW + 10)
    second = again(config, first, NOW + 300)
    assert [(e.outcome, e.ts) for e in events(second)] == [("open", NOW + 10)]
    gate.end(one["stages"][1], NOW + 400)
    gate.end(one, NOW + 401)
    third = again(config, second, NOW + 600)
    assert [(e.outcome, e.ended) for e in events(third)] == [("good", NOW + 400)]
    assert events(again(config, third, NOW + 900)) == []


def test_what_ends_at_or_after_until_is_open_and_what_begins_then_is_left(gate: Gate, url: str) -> None:
    gate.deploy(NOW - 60)
    gate.deploy(NOW - 31)
    gate.deploy(NOW + 10)
    config = configured(url)
    first = pulled(config)
    assert [(e.outcome, e.ts, e.ended) for e in events(first)] == [("open", NOW - 29, None)]
    second = again(config, first, NOW + 300)
    assert [(e.outcome, e.ts, e.ended) for e in events(second)] == [
        ("good", NOW - 29, NOW + 31), ("good", NOW, NOW + 60), ("good", NOW + 41, NOW + 101),
    ]  # fmt: skip


def test_what_was_purged_while_it_went_on_is_excluded(gate: Gate, url: str) -> None:
    one = gate.pipeline(NOW - 9000)
    gate.stage(one, "deploy", NOW - 8900)
    config = configured(url)
    first = pulled(config)
    gate.executions.clear()
    second = again(config, first, NOW + 300)
    assert [(e.outcome, e.key) for e in events(second)] == [("excluded", events(first)[0].key)]
    assert list(reasons(second)) == ["a deployment that went on is no longer there and is excluded"]


def test_what_went_on_when_the_state_was_lost_is_asked_for_by_its_id(gate: Gate, url: str) -> None:
    one, by_hand = gate.pipeline(NOW - 9000), gate.task(NOW - 9000, "Deploy")
    for of in (one, by_hand):
        gate.stage(of, "createServerGroup", NOW - 8900)
    config = configured(url)
    first = pulled(config)
    for of in (one, by_hand):
        gate.end(of.get("execution", of)["stages"][0], NOW + 10)
        gate.end(of, NOW + 10)
    lost = again(config, first, NOW + 300, state=None)
    assert [(e.outcome, e.ended) for e in events(lost)] == 2 * [("good", NOW + 10)]


def test_tasks_by_hand_count_unless_they_are_left_out(gate: Gate, url: str) -> None:
    for number in range(150):
        gate.end(gate.task(NOW - 90_000 + number, "Resize"), NOW - 80_000)
    one = gate.task(NOW - 9000, "Rollback Server Group: cart-v041")
    stage = gate.stage(one, "rollbackServerGroup", NOW - 8999)
    config = configured(url)
    first = pulled(config)
    (going,) = events(first)
    assert (going.kind, going.outcome, going.actor) == ("rollback", "open", "grace")
    assert dict(going.labels)["task"] == going.title == "Rollback Server Group: cart-v041"
    assert paths(gate).count(TASKS) == 2
    gate.end(stage, NOW + 10)
    gate.stage(one, "cloneServerGroup", NOW + 1, NOW + 9, parent=stage)  # a rollback by a clone is no deployment
    gate.end(one, NOW + 10)
    gate.stage(gate.task(NOW + 310, "Deploy"), "createServerGroup", NOW + 311)
    second = again(config, first, NOW + 300)
    assert [(e.kind, e.outcome, e.ended) for e in events(second)] == [("rollback", "good", NOW + 10)]
    assert [e.ts for e in events(again(config, second, NOW + 600))] == [NOW + 311]
    made = len(gate.asked)
    again(config, second, NOW + 900)
    assert paths(gate, made).count(TASKS) == 1, "what follows older ones is not asked for"
    made = len(gate.asked)
    assert events(pulled(configured(url, tasks=False))) == []
    assert set(paths(gate, made)) == {SEARCH}


# -- lists and requests


def test_lists_are_read_over_all_their_pages_while_something_is_purged(gate: Gate, url: str) -> None:
    for number in range(250):
        gate.deploy(NOW - 90_000 + number * 100)
    whole = pulled(configured(url, tasks=False), since=NOW - 10 * DAY)
    assert len({e.key for e in events(whole)}) == 250
    assert paths(gate).count(SEARCH) == 3
    real, gate.asked = gate.answer, []

    def purging(asked: Any) -> Answer:
        if len(gate.asked) == 1:  # after the first page its newest rows go, and the others move up
            for key in sorted(gate.executions)[-30:]:
                del gate.executions[key]
        return real(asked)

    with serve(purging) as server:
        found = events(pulled(configured(server.url, tasks=False), since=NOW - 10 * DAY))
    assert {e.key.partition("/")[0] for e in found} == set(gate.executions)
    assert len(found) == 220


def test_a_long_time_is_read_in_pieces_oldest_first_and_a_cut_goes_on(gate: Gate, url: str) -> None:
    for number in range(60):
        gate.deploy(NOW - 60 * DAY + number * DAY)
    config, pull = configured(url, tasks=False), Pull(NOW - 60 * DAY, NOW, NOW, first=True)
    begun: list[Page] = []
    for page in spinnaker.fetch(config, pull):
        begun.append(page)
        if len(events(begun)) >= 25:
            break
    made = len(gate.asked)
    rest = list(spinnaker.fetch(config, replace(pull, state=state(begun))))
    assert [e.ts for e in events([*begun, *rest])] == sorted(e.ts for e in events([*begun, *rest]))
    assert len({e.key for e in events([*begun, *rest])}) == 60
    assert paths(gate, made).count("pipelines/*") == 60 - len(events(begun))


def test_a_second_pull_makes_the_fewest_requests(gate: Gate, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(150):
        gate.deploy(NOW - 10 * DAY + number * 600, "SUCCEEDED" if number % 7 else "TERMINAL")
    gate.deploy(NOW - 300)
    waits = gate.pipeline(NOW - 200)
    gate.stage(waits, "manualJudgment", NOW - 199)
    goes_on = gate.pipeline(NOW - 100)
    stage = gate.stage(goes_on, "deploy", NOW - 90)
    config = configured(url)
    first = pulled(config)
    assert len(events(first)) == 152
    made = len(gate.asked)
    second = again(config, first, NOW + 300)
    assert (paths(gate, made), events(second)) == ([SEARCH, f"{SEARCH}?statuses", TASKS], [])
    print(f"second pull: {len(gate.asked) - made} requests, fewest possible 3")
    gate.end(stage, NOW + 310)
    gate.end(goes_on, NOW + 311)
    made = len(gate.asked)
    third = again(config, second, NOW + 1200)
    assert paths(gate, made) == [SEARCH, f"{SEARCH}?statuses", TASKS, "pipelines/*"]
    assert [(e.outcome, e.ended) for e in events(third)] == [("good", NOW + 310)]
    made = len(gate.asked)
    swept = again(config, third, NOW + 1500, sweep=True)
    assert (paths(gate, made), events(swept)) == ([SEARCH, SEARCH, TASKS], [])
    assert "fewest possible 3" in capsys.readouterr().out


def test_losing_the_state_costs_requests_and_changes_nothing(gate: Gate, url: str) -> None:
    gate.deploy(NOW - 3000, "TERMINAL")
    gate.deploy(NOW - 1000)
    whole = events(pulled(configured(url)))
    assert events(pulled(configured(url), since=NOW - 6000, first=False)) == whole


def test_what_is_older_than_the_first_pull_stays_out(gate: Gate, url: str) -> None:
    one = gate.deploy(NOW - 5 * DAY, "TERMINAL")
    gate.stage(gate.task(NOW - 4 * DAY, "Deploy"), "createServerGroup", NOW - 4 * DAY, NOW - 4 * DAY + 9)
    config = configured(url)
    first = pulled(config, since=NOW - 2 * DAY)
    gate.restart(one, 1, NOW + 10)
    assert events([*first, *again(config, first, NOW + 300), *again(config, first, NOW + 300, sweep=True)]) == []


def test_the_state_stays_small(gate: Gate, url: str) -> None:
    for number in range(200):
        gate.deploy(NOW - 20_000 + number * 60)
        gate.pipeline(NOW - 20_000 + number * 60)
    told = state(pulled(configured(url)))
    sizes = {name: len(json.dumps(told[name])) / len(told[name]) for name in ("known", "runs")}
    bound = _spinnaker_server.KNOWN * sizes["known"] + _spinnaker_server.RUNNING * sizes["runs"]
    assert bound < 1 << 20


# -- limits, refusals, secrets


def test_a_rate_limit_waits_and_the_login_may_be_a_cookie_or_a_name(
    gate: Gate, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(_http, "REAL", _http.Clock(now=lambda: float(NOW), sleep=waits.append, random=lambda: 1.0))
    monkeypatch.setenv("SPIN", "c00kie")
    gate.deploy(NOW - 5000)
    gate.cookie = "c00kie"
    gate.refusals = [Answer({"message": "Rate capacity exceeded"}, 429, {"Retry-After": "13"})]
    assert len(events(pulled(configured(url, session=True, common={"token_env": "SPIN"})))) == 1
    assert waits == [13]
    with pytest.raises(SourceRefused, match="redirects to another server"):
        pulled(configured(url, common={"token_env": "SPIN"}))
    gate.cookie, made = "", len(gate.asked)
    pulled(configured(url, user="tandem", common={"token_env": "SPIN"}))
    assert gate.asked[made].headers["authorization"].startswith("Basic ")


def test_what_cannot_be_asked_says_what_to_do(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match='set applications = \\["NAME"\\]'):
        pulled(configured(url, applications=()))
    with pytest.raises(SourceRefused, match="give both certificate and key"):
        pulled(configured(url, certificate=tmp_path / "c"))
    with serve(lambda asked: Answer({"ok": True})) as server, pytest.raises(SourceRefused, match="url is a Gate"):
        pulled(configured(server.url))


def test_a_planted_token_and_what_stages_hold_are_found_nowhere(
    gate: Gate, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    gate.token = faults.TOKEN
    one = gate.deploy(NOW - 5000, "TERMINAL")
    one["name"] = f"echo {faults.TOKEN}"
    one["stages"][1]["context"]["exception"] = {"details": {"errors": ["password hunter2 refused"]}}
    config = configured("", common={"token_env": faults.TOKEN_ENV})
    asking = lambda url: replace(config, url=url)  # noqa: E731
    said = faults.echoed(spinnaker, asking, gate.answer, tmp_path, NOW, NOW - DAY)
    assert "the token was refused" in said
    out, err = capfd.readouterr()
    kept = [one.read_bytes().decode("latin-1") for one in tmp_path.rglob("*") if one.is_file()]
    assert not [place for place in (said, out, err, caplog.text, *kept) if faults.TOKEN in place or "hunter2" in place]


def test_hostile_names_stay_data(gate: Gate, url: str) -> None:
    nasty = "<script>'; DROP TABLE x;--\u202e|`${x}/../"
    one = gate.pipeline(NOW - 9000, name=nasty)
    gate.stage(one, "deploy", NOW - 8900, NOW - 8800, name=nasty, account=nasty)
    (found,) = events(pulled(configured(url)))
    assert {"pipeline": nasty, "stage": nasty, "account": nasty}.items() <= dict(found.labels).items()
