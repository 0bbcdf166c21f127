"""The argocd connector against a replayed server: syncs, failures, rollbacks, ten that are remembered, files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import argocd
from connectors._files import item
from tandem import changes, collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Fact, Gap, Page, Ratio
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import fakes
from tests.argocd_server import Argo
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.replay import Answer, Asked, serve

PAYLOADS = Path(__file__).parent / "payloads" / "argocd"
T0 = fakes.NOW // 300 * 300
A, B, C, D = (letter * 40 for letter in "abcd")


def config(url: str = "http://127.0.0.1:1", **more: Any) -> argocd.Config:
    common = Common("argocd", "argo", **more.pop("common", {"component": ("shop",)}))
    return argocd.Config(common, url=url, **more)


class Looking:
    """Looks at one server, each with what the one before it left."""

    def __init__(self, argo: Argo, **more: Any) -> None:
        self.argo = argo
        self.more = more
        self.state: Any = None
        self.stored: dict[tuple[str, str], Event] = {}
        self.asked: list[Asked] = []

    def __call__(self, now: int) -> Page:
        still = tuple(one for one in self.stored.values() if one.outcome == "open")
        with serve(self.argo.answer) as server:
            pull = Pull(now - 900, now, now, state=self.state, open=still, first=self.state is None)
            [page] = argocd.fetch(config(server.url, **self.more), pull)
            self.asked = server.asked
        self.state = json.loads(json.dumps(page.state))
        for one in events(page):
            known = self.stored.get((one.kind, one.key))
            if known is None or one.revision >= known.revision:
                self.stored[one.kind, one.key] = one
        return page


def events(page: Page) -> list[Event]:
    return [one for one in page.records if isinstance(one, Event)]


def synced(page: Page) -> Ratio:
    return sum((one.value for one in page.records if isinstance(one, Fact) and isinstance(one.value, Ratio)), Ratio())


def argo_with(*names: str) -> Argo:
    argo = Argo()
    for name in names:
        argo.create(name, images=(f"registry/shop/{name}:1.4.2@sha256:{'9f' * 32}",))
    return argo


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


# -- syncs


def test_a_sync_is_a_deployment_from_its_begin_to_its_end() -> None:
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 600)
    [found] = events(Looking(argo)(T0))
    assert (found.kind, found.outcome, found.ts, found.ended) == ("deployment", "good", T0 - 600, T0 - 580)
    assert (found.commit, found.version, found.digest) == (A, "1.4.2", "sha256:" + "9f" * 32)
    assert (found.trigger, dict(found.labels)["namespace"]) == ("automated", "cart-ns")


def test_a_running_sync_and_its_entry_are_one_deployment() -> None:
    """Open, then good: the operation and the history tell of the same key."""
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 600)
    look = Looking(argo)
    look(T0)
    argo.begin("cart", B, T0 + 10, automated=False)
    [begun] = events(look(T0 + 300))
    assert (begun.outcome, begun.ended, begun.actor) == ("open", None, "ada")
    argo.end("cart", T0 + 400)
    [ended] = [one for one in events(look(T0 + 600)) if one.ts >= T0]
    assert (ended.kind, ended.key, ended.outcome, ended.ended) == (begun.kind, begun.key, "good", T0 + 400)
    assert ended.revision > begun.revision


@pytest.mark.parametrize(
    ("phase", "message", "outcome"),
    [("Failed", "one or more objects failed to apply", "bad"), ("Error", "no such revision", "bad"),
     ("Failed", "Operation terminated", "excluded"), ("Melted", "", "excluded")],
)  # fmt: skip
def test_a_sync_that_does_not_succeed_is_known_from_the_operation(phase: str, message: str, outcome: str) -> None:
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 600)
    look = Looking(argo)
    look(T0)
    argo.begin("cart", B, T0 + 10)
    argo.end("cart", T0 + 60, phase, message, retries=2)
    page = look(T0 + 300)
    [found] = [one for one in events(page) if one.ts >= T0]
    assert (found.outcome, found.ended, dict(found.labels)["retries"]) == (outcome, T0 + 60, "2")
    assert ("unknown" in str(page.findings)) is (phase == "Melted")
    look(T0 + 600)
    assert len([one for one in look.stored.values() if one.ts >= T0]) == 1, "the same operation is told once"
    argo.sync("cart", C, T0 + 700)
    look(T0 + 900)
    assert sorted(one.outcome for one in look.stored.values()) == sorted(["good", "good", outcome])


def test_going_back_is_a_rollback_and_syncing_the_same_again_is_left_out() -> None:
    argo = argo_with("cart")
    for number, revision in enumerate((A, B, B, A, C)):
        argo.sync("cart", revision, T0 - 800 + 100 * number)
    argo.sync("cart", C, T0 - 200, targetRevision="other")
    found = [(one.kind, one.outcome, one.commit[0]) for one in events(Looking(argo)(T0))]
    assert found == [
        ("deployment", "good", "a"), ("deployment", "good", "b"), ("deployment", "excluded", "b"),
        ("rollback", "good", "a"), ("deployment", "good", "c"), ("deployment", "good", "c"),
    ]  # fmt: skip
    own = Looking(argo, common={"component": ("shop",), "status": {"resync": "good"}})
    assert [one.outcome for one in events(own(T0))] == ["good"] * 6


def test_a_running_rollback_stays_one() -> None:
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 800)
    argo.sync("cart", B, T0 - 700)
    look = Looking(argo)
    look(T0)
    argo.begin("cart", A, T0 + 10)
    assert [(one.kind, one.outcome) for one in events(look(T0 + 300)) if one.ts > T0] == [("rollback", "open")]
    argo.end("cart", T0 + 350)
    look(T0 + 600)
    assert [(one.kind, one.outcome) for one in look.stored.values() if one.ts > T0] == [("rollback", "good")]


def test_an_operation_that_nobody_knows_the_end_of_decides_nothing() -> None:
    argo = argo_with("cart", "pay")
    look = Looking(argo)
    argo.begin("cart", A, T0 - 100)
    argo.begin("pay", A, T0 - 100)
    assert [one.outcome for one in events(look(T0))] == ["open", "open"]
    argo.sync("cart", B, T0 + 10)  # the operation before it was given up, and is remembered nowhere
    del argo.applications["pay"]
    look(T0 + 300)
    told = {
        (dict(one.labels)["app"], one.ts): (one.outcome, dict(one.labels)["status"]) for one in look.stored.values()
    }
    assert told == {("cart", T0 - 100): ("excluded", "superseded"), ("cart", T0 + 10): ("good", "Succeeded"),
                    ("pay", T0 - 100): ("excluded", "deleted")}  # fmt: skip


def test_a_dry_run_changed_nothing_and_old_versions_say_no_begin() -> None:
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 600)
    del argo.applications["cart"]["status"]["history"][0]["deployStartedAt"]
    look = Looking(argo)
    [found] = events(look(T0))
    assert (found.outcome, found.ts, found.ended) == ("good", T0 - 580, T0 - 580)
    argo.begin("cart", B, T0 + 10)
    argo.applications["cart"]["status"]["operationState"]["operation"]["sync"]["dryRun"] = True
    argo.applications["cart"]["status"]["operationState"] |= {
        "phase": "Succeeded",
        "finishedAt": "2026-01-01T00:00:00Z",
    }
    assert [one for one in events(look(T0 + 300)) if one.ts > T0] == []


def test_several_sources_and_charts_have_revisions_that_are_no_commits() -> None:
    argo = argo_with("cart")
    argo.sync("cart", "1.2.3", T0 - 600)
    argo.sync("cart", "", T0 - 300)
    last = argo.applications["cart"]["status"]["history"][-1]
    last |= {"revision": "", "revisions": ["4.5.6", B], "sources": [{"chart": "x"}, {"path": "y"}]}
    argo.applications["cart"]["status"]["summary"]["images"] = ["one:1", "two:2"]
    chart, several = events(Looking(argo)(T0))
    assert (chart.version, chart.commit) == ("1.2.3", "")
    assert (several.version, several.commit, dict(several.labels)["revision"]) == ("4.5.6", B, f"4.5.6, {B}")


# -- ten that are remembered


def test_more_syncs_than_are_remembered_are_a_gap() -> None:
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 600)
    look = Looking(argo)
    assert look(T0).gaps == []
    for number in range(14):
        argo.sync("cart", f"{number:040x}", T0 + 10 + 100 * number)
    page = look(T0 + 1500)
    assert len([one for one in events(page) if one.ts > T0]) == 10
    reason = "an application of Argo CD remembers its last 10 successful syncs"
    assert Gap(T0, T0 + 410, reason, signal="deploy_success") in page.gaps
    assert [(one.kind, one.count) for one in page.findings] == [("remark", 4)]
    assert len(look.stored) == 11
    look(T0 + 1800)
    assert len(look.stored) == 11, "nothing is told twice"


def test_what_falls_out_of_the_ten_keeps_what_was_said_of_it() -> None:
    """As the first of the ten, the second A would look like a new deployment: it was, and stays, the same again."""
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 800)
    argo.sync("cart", A, T0 - 700)
    look = Looking(argo)
    look(T0)
    before = dict(look.stored)
    for number in range(9):
        argo.sync("cart", f"{number:040x}", T0 + 10 + 20 * number)
    look(T0 + 300)
    look.state = None  # forgotten, and read again
    look(T0 + 600)
    assert {key: look.stored[key] for key in before} == before


# -- samples, costs and secrets


def test_in_sync_is_one_sample_per_application_and_look(store: Store) -> None:
    argo = argo_with("cart", "pay", "odd")
    argo.applications["pay"]["status"]["sync"]["status"] = "OutOfSync"
    argo.applications["odd"]["status"]["sync"]["status"] = "Unknown"
    page = Looking(argo)(T0)
    assert synced(page) == Ratio(1, 2)
    with serve(argo.answer) as server:
        given = config(server.url)
        source = Source(given.common, connect.load("argo"), given)
        for now in (T0 + 10, T0 + 70, T0 + 310):
            assert collect.pull(store, source, now).error == ""
        assert len(server.asked) == 2, "one request per look, which is the fewest possible"
        argo.begin("cart", A, T0 + 400)
        collect.pull(store, source, T0 + 610)
        argo.end("cart", T0 + 700)
        for now in (T0 + 910, T0 + 1210):
            assert collect.pull(store, source, now).error == ""
    reader = Reader(store)
    for signal, expected in (("in_sync", (5, 10)), ("deploy_success", (1, 1))):
        ids = [one.id for one in reader.series(signal=signal, component="shop")]
        [[merge]] = list(reader.totals("ratio", ids, [(0, 1 << 40)]).values())
        assert tuple(merge or ()) == expected, signal


def test_the_same_change_in_another_source_is_recognised_by_its_commit() -> None:
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 600)
    [mine] = events(Looking(argo)(T0))
    theirs = Event("deployment", "42", T0 - 640, ended=T0 - 570, components=("shop",), commit=A)
    ours = Event(**{**{name: getattr(mine, name) for name in Event.__dataclass_fields__}, "components": ("shop",)})
    [one] = changes.changes([("github", theirs), ("argo", ours)], {})
    assert one.sources == ("argo", "github")
    [manifests] = events(Looking(argo, revisions="manifests")(T0))
    assert manifests.commit == ""


def test_projects_and_globs_choose() -> None:
    argo = argo_with("cart", "cart-preview", "pay")
    argo.create("other", "infra")
    look = Looking(argo, projects=("shop",), applications=("c*",), ignore=("*-preview",))
    assert synced(look(T0)) == Ratio(1, 1)
    assert ("projects", "shop") in look.asked[0].query
    assert synced(Looking(Argo())(T0)) == Ratio(), "no application at all is null, not an error"


def test_no_token_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    argo = argo_with("cart")
    argo.sync("cart", A, T0 - 600)
    argo.begin("cart", B, T0 - 100)
    argo.end("cart", T0 - 50, "Failed", f"refused {TOKEN}")
    argo.token = TOKEN
    path = tmp_path / "t.duckdb"
    said = []
    refusing: Any = lambda asked: Answer({"error": f"no {TOKEN}", "message": f"no {TOKEN}"}, 401)  # noqa: E731
    with virtual(), open_store(path) as store:
        for number, route in enumerate((argo.answer, refusing, argo.answer)):
            with serve(route) as server:
                given = config(server.url, common={"component": ("shop",), "token_env": TOKEN_ENV})
                source = Source(given.common, connect.load("argocd"), given)
                said.append(repr(collect.pull(store, source, T0 + 300 * number)))
    assert "the token was refused" in said[1]
    assert os.environ.get(TOKEN_ENV) is None
    for one in (*said, caplog.text, path.read_bytes().decode("latin-1")):
        assert TOKEN not in one
        assert "hunter2" not in one


def test_what_is_no_argo_cd_is_refused_and_hostile_names_stay_data(store: Store) -> None:
    with serve(lambda asked: Answer({"status": "success"})) as server, pytest.raises(SourceRefused, match="is no list"):
        list(argocd.fetch(config(server.url), Pull(T0 - 900, T0, T0)))
    argo = argo_with("<script>x", "a'; DROP TABLE event; --")
    argo.sync("<script>x", "'; --", T0 - 100)
    with serve(argo.answer) as server:
        given = config(server.url)
        assert collect.pull(store, Source(given.common, connect.load("argocd"), given), T0).error == ""


# -- saved answers


@pytest.mark.parametrize("name", sorted(one.name for one in PAYLOADS.glob("*.json")))
def test_saved_applications_tell_what_the_server_would(name: str) -> None:
    found = item(PAYLOADS / name, Given(at=T0))
    assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["argocd"]
    pages = list(argocd.parse(found, config()))
    told = [(one.kind, one.outcome, one.ts) for page in pages for one in events(page)]
    first = 1_789_898_400
    assert told == [("deployment", "good", first), ("deployment", "good", first + 3600),
                    ("rollback", "good", first + 7200), ("deployment", "bad", first + 10800)]  # fmt: skip
    assert synced(pages[-1]) == Ratio(0, 1)
