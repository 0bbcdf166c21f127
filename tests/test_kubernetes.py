"""The kubernetes connector against a replayed API server: lists, watches, 410, rollouts, restarts, access, files."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors import kubernetes
from connectors._files import item
from connectors._kubernetes import event_time, workload_of
from connectors._kubernetes_access import access_of
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import Event, Fact, Page, Ratio
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import fakes
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.kubernetes_server import Cluster, text
from tests.replay import Answer, Asked, serve

PAYLOADS = Path(__file__).parent / "payloads" / "kubernetes"
T0 = fakes.NOW // 300 * 300
DIGEST = "sha256:" + "ab" * 32


def config(url: str = "http://127.0.0.1:1", **more: Any) -> kubernetes.Config:
    common = Common("kubernetes", "cluster", **more.pop("common", {"component": ("shop",)}))
    return kubernetes.Config(common, url=url, **more)


class Looking:
    """Looks at one cluster, each with what the one before it left."""

    def __init__(self, cluster: Cluster, **more: Any) -> None:
        self.cluster = cluster
        self.more = more
        self.state: Any = None
        self.open: tuple[Event, ...] = ()
        self.asked: list[Asked] = []

    def __call__(self, now: int, **more: Any) -> Page:
        with serve(self.cluster.answer) as server:
            pull = Pull(now - 900, now, now, state=self.state, open=self.open, first=self.state is None, **more)
            [page] = kubernetes.fetch(config(server.url, **self.more), pull)
            self.asked = server.asked
        self.state = json.loads(json.dumps(page.state))
        last = {one.key: one for one in (*self.open, *events(page)) if one.kind in ("deployment", "rollback")}
        self.open = tuple(one for one in last.values() if one.outcome == "open")
        return page


def events(page: Page, *kinds: str) -> list[Event]:
    return [one for one in page.records if isinstance(one, Event) and (not kinds or one.kind in kinds)]


def ratio(page: Page, signal: str) -> Ratio:
    found = [one.value for one in page.records if isinstance(one, Fact) and one.series.signal == signal]
    return sum((one for one in found if isinstance(one, Ratio)), start=Ratio())


def running(*names: str, replicas: int = 3) -> Cluster:
    """A cluster in which these have been running for a while."""
    cluster = Cluster()
    for name in names:
        cluster.deploy(name, f"{name}:1", T0 - 5000, replicas=replicas)
        cluster.rolled(name, T0 - 4900)
    return cluster


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


# -- replicas


def test_available_replicas_out_of_the_wanted_ones() -> None:
    cluster = running("cart", "pay", "off")
    cluster.available("cart", 1)
    cluster.available("pay", 5)  # more than wanted while it is rolled: never more than all
    cluster.scale("off", 0, T0 - 1000)
    page = Looking(cluster)(T0)
    assert ratio(page, "availability") == Ratio(1 + 3, 6)
    assert ratio(page, "in_sync") == Ratio(0, 2)


@pytest.mark.parametrize("kind", ["statefulsets", "daemonsets"])
def test_other_workloads_have_replicas_and_rollouts_too(kind: str) -> None:
    cluster = Cluster()
    cluster.deploy("db", "db:1", T0 - 5000, kind=kind)
    cluster.rolled("db", T0 - 4900, kind=kind)
    look = Looking(cluster)
    assert (ratio(look(T0), "availability"), ratio(look(T0 + 300), "in_sync")) == (Ratio(3, 3), Ratio(1, 1))
    cluster.deploy("db", "db:2", T0 + 310, kind=kind)
    [begun] = events(look(T0 + 600))
    assert (begun.kind, begun.outcome, begun.version, begun.ts) == ("deployment", "open", "2", T0 + 310)
    cluster.rolled("db", T0 + 650, kind=kind)
    [ended] = events(look(T0 + 900))
    assert (ended.key, ended.outcome, ended.ended) == (begun.key, "good", None)
    cluster.deploy("db", "db:1", T0 + 910, kind=kind)
    [back] = events(look(T0 + 1200))
    assert back.key != begun.key, "going back is another rollout"


def test_a_rollout_is_over_when_the_controller_has_seen_it_and_every_replica_is_new() -> None:
    cluster = running("cart")
    raw = cluster.objects["deployments"]["shop/cart"]
    assert workload_of(raw).state == "complete"
    for changed in ({"observedGeneration": 0}, {"updatedReplicas": 2}, {"replicas": 4}, {"availableReplicas": 2}):
        assert workload_of({**raw, "status": {**raw["status"], **changed}}).state == "progressing"


# -- rollouts


def test_a_rollout_counts_from_its_replicaset_to_its_last_progress() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    assert events(look(T0)) == [], "what ran before is learnt, not told"
    labels = {"app.kubernetes.io/version": "2.0.1"}
    cluster.deploy("cart", "registry/cart:2", T0 + 10, labels=labels)
    cluster.pod("cart-5d4f8c7b9-x2x4z", "cart", T0 + 20, image="registry/cart:2", digest=DIGEST)
    [begun] = events(look(T0 + 300))
    assert (begun.kind, begun.outcome, begun.ts, begun.version, begun.digest) == (
        "deployment", "open", T0 + 11, "2.0.1", DIGEST)  # fmt: skip
    cluster.rolled("cart", T0 + 400)
    [ended] = events(look(T0 + 600))
    assert (ended.key, ended.outcome, ended.ended) == (begun.key, "good", T0 + 400)
    assert ended.revision > begun.revision
    assert events(look(T0 + 900)) == []


def test_one_that_begins_and_ends_between_two_looks_is_watched() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    look(T0)
    for number, image in enumerate(("cart:2", "cart:3")):
        cluster.deploy("cart", image, T0 + 10 + 100 * number)
        cluster.rolled("cart", T0 + 60 + 100 * number)
    found = events(look(T0 + 300))
    assert [(one.version, one.outcome, one.ts, one.ended) for one in found] == [
        ("2", "good", T0 + 11, T0 + 60), ("3", "good", T0 + 111, T0 + 160)]  # fmt: skip


def test_a_rollback_reuses_an_old_replicaset_and_begins_when_it_was_asked_for() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    look(T0)
    cluster.deploy("cart", "cart:2", T0 + 10)
    cluster.stuck("cart", T0 + 200)
    [failed] = events(look(T0 + 300))
    assert (failed.kind, failed.outcome, failed.ended) == ("deployment", "bad", T0 + 200)
    cluster.deploy("cart", "cart:1", T0 + 310)
    cluster.rolled("cart", T0 + 350)
    [back] = events(look(T0 + 600))
    assert (back.kind, back.outcome, back.ts, back.ended) == ("rollback", "good", T0 + 310, T0 + 350)
    assert dict(back.labels)["revision"] == "3"


def test_a_newer_rollout_and_a_deletion_end_the_one_under_way() -> None:
    cluster = running("cart", "pay")
    look = Looking(cluster)
    look(T0)
    cluster.deploy("cart", "cart:2", T0 + 10)
    cluster.deploy("pay", "pay:2", T0 + 20)
    look(T0 + 300)
    cluster.deploy("cart", "cart:3", T0 + 310)
    cluster.rolled("cart", T0 + 350)
    cluster.delete("deployments", "shop/pay")
    found = {one.title.rpartition(":")[0] + one.version: one for one in events(look(T0 + 600))}
    told = {key: (one.outcome, dict(one.labels)["state"]) for key, one in found.items()}
    assert told == {"shop/cart runs cart2": ("excluded", "superseded"), "shop/cart runs cart3": ("good", "complete"),
                    "shop/pay runs pay2": ("excluded", "deleted")}  # fmt: skip


def test_lists_and_watches_tell_the_same(store: Store) -> None:
    """The same story once watched, and once listed because the cluster had forgotten the changes (410)."""
    told = []
    for forgotten in (False, True):
        cluster = running("cart", "pay")
        look = Looking(cluster)
        look(T0)
        cluster.deploy("cart", "cart:2", T0 + 10)
        cluster.rolled("cart", T0 + 60)
        cluster.scale("pay", 5, T0 + 100)
        cluster.pod("cart-5d4f8c7b9-x2x4z", "cart", T0 + 20, restarts=1, reason="OOMKilled", code=137, ended=T0 + 70)
        if forgotten:
            cluster.forget()
        page = look(T0 + 300)
        assert any("watch" in dict(one.query) and "resourceVersion" in dict(one.query) for one in look.asked)
        told.append(sorted(events(page), key=lambda one: one.key))
        assert events(look(T0 + 600)) == []
    assert told[0] == told[1]
    assert [one.kind for one in told[0]] == ["restart", "deployment", "infrastructure"]


def test_scaling_is_a_change_of_infrastructure() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    look(T0)
    cluster.scale("cart", 5, T0 + 10)
    cluster.scale("cart", 2, T0 + 50)
    found = [(one.title, one.ts) for one in events(look(T0 + 300), "infrastructure")]
    assert found == [("shop/cart scaled from 3 to 5", T0 + 10), ("shop/cart scaled from 5 to 2", T0 + 50)]
    quiet = Looking(cluster, scaling=False)
    quiet(T0 + 300)
    cluster.scale("cart", 9, T0 + 310)
    assert events(quiet(T0 + 600)) == []


# -- restarts


def test_each_restart_counts_once_with_kubernetes_own_reason() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    look(T0)
    pod = "cart-5d4f8c7b9-x2x4z"
    for number, (reason, code) in enumerate((("OOMKilled", 137), ("Error", 1), ("Completed", 0), ("Melted", 1))):
        cluster.pod(pod, "cart", T0, restarts=number + 1, reason=reason, code=code, ended=T0 + 10 * (number + 1))
    page = look(T0 + 300)
    assert [(one.ts, one.trigger, one.outcome) for one in events(page)] == [
        (T0 + 10, "OOMKilled", "bad"), (T0 + 20, "Error", "bad"), (T0 + 30, "Completed", "excluded"),
        (T0 + 40, "Melted", "excluded")]  # fmt: skip
    assert {dict(one.labels)["workload"] for one in events(page)} == {"cart"}
    assert ['"Melted" is unknown' in one.reason for one in page.findings] == [True]
    cluster.pod(pod, "cart", T0, restarts=4, reason="Melted", ended=T0 + 40, image="other:1")
    assert events(look(T0 + 600)) == [], "a pod that changes otherwise has not restarted"


def test_restarts_that_were_not_seen_are_counted_as_a_number() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    look(T0)
    cluster.pod("cart-5d4f8c7b9-x2x4z", "cart", T0, restarts=6, reason="Error", ended=T0 + 200)
    cluster.forget()
    last, others = events(look(T0 + 300))
    assert (last.ts, dict(others.labels)["restarts"]) == (T0 + 200, "5")
    assert (others.ts, others.ts_latest) == (T0, T0 + 200)


def test_an_eviction_comes_from_the_events_whose_hour_is_a_horizon() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    look(T0)
    cluster.evict("cart-5d4f8c7b9-x2x4z", T0 + 10)
    page = look(T0 + 300)
    [found] = events(page)
    assert (found.kind, found.trigger, found.outcome, found.ts) == ("restart", "Evicted", "bad", T0 + 10)
    assert dict(found.labels)["workload"] == "cart"
    assert page.gaps == []
    late = look(T0 + 300 + 3 * 3600)
    assert {(one.since, one.until, one.signal) for one in late.gaps} == {
        (T0 + 300, T0 + 300 + 2 * 3600, "deploy_success"),
        (T0 + 600, T0 + 300 + 3 * 3600, "availability"), (T0 + 600, T0 + 300 + 3 * 3600, "in_sync")}  # fmt: skip


def test_the_time_of_an_event_is_the_newest_that_it_states() -> None:
    raw: dict[str, Any] = {"metadata": {"creationTimestamp": text(T0)}}
    assert event_time(raw) == T0
    raw |= {"eventTime": "2026-09-21T10:00:00.123456Z", "lastTimestamp": None}
    assert text(event_time(raw)) == "2026-09-21T10:00:00Z"
    assert event_time({**raw, "lastTimestamp": text(T0 + 5)}) == T0 + 5
    assert event_time({**raw, "series": {"count": 3, "lastObservedTime": text(T0 + 9)}}) == T0 + 9


def test_a_workload_without_an_app_is_discovered_by_its_own_name() -> None:
    cluster = running("cart")
    raw = cluster.objects["deployments"]["shop/cart"]
    raw["metadata"]["labels"], raw["spec"]["template"]["metadata"]["labels"] = {}, {}
    assert workload_of(raw).labels["app"] == "cart"


# -- paging, horizons and what it costs


def test_pages_are_walked_and_begun_again_when_they_expire() -> None:
    cluster = Cluster()
    for number in range(1201):
        cluster.pod(f"p{number}-5d4f8c7b9-x2x4z", f"p{number}", T0 - 100, restarts=1, reason="Error", ended=T0 - 50)
    cluster.expiring = 1
    look = Looking(cluster)
    assert len(events(look(T0))) == 1201
    pages = [dict(one.query).get("continue", "") for one in look.asked if one.path == "/api/v1/pods"]
    assert pages == ["", "500", "", "500", "1000"]
    cluster.expiring = 99
    with pytest.raises(SourceDown, match="expire before they are read"):
        Looking(cluster)(T0)


def test_a_later_pull_only_watches() -> None:
    cluster = running(*[f"app{number}" for number in range(40)])
    look = Looking(cluster)
    look(T0)
    look(T0 + 300)
    lists = [one.path for one in look.asked if "watch" not in dict(one.query)]
    print(f"requests of an unchanged cluster: {len(look.asked)}, the fewest possible 6 (4 watches, 2 kinds of events)")
    assert len(look.asked) == 6
    assert lists == ["/api/v1/events"] * 2
    cluster.deploy("app7", "app7:2", T0 + 310)
    look(T0 + 600)
    assert len(look.asked) == 7, "one more for the ReplicaSets of the workload that is rolled out"


def test_namespaces_and_globs_choose(store: Store) -> None:
    cluster = running("cart", "cart-canary", "pay")
    cluster.deploy("cart", "cart:1", T0 - 5000, space="test")
    page = Looking(cluster, namespaces=("shop",), workloads=("c*",), ignore=("*-canary",))(T0)
    assert {dict(one.series.labels)["workload"] for one in page.records if isinstance(one, Fact)} == {"cart"}
    assert ratio(page, "availability") == Ratio(3, 3)


def test_looks_add_up_in_the_store_once_per_tick(store: Store) -> None:
    cluster = running("cart")
    with serve(cluster.answer) as server:
        given = config(server.url)
        source = Source(given.common, connect.load("k8s"), given)
        for now in (T0 + 10, T0 + 70, T0 + 310):
            assert collect.pull(store, source, now).error == ""
        cluster.deploy("cart", "cart:2", T0 + 400)
        assert collect.pull(store, source, T0 + 610).error == ""
        cluster.rolled("cart", T0 + 700)
        for now in (T0 + 910, T0 + 1210):
            assert collect.pull(store, source, now).error == ""
    reader = Reader(store)
    for signal, expected in (("availability", (15, 15)), ("deploy_success", (1, 1))):
        ids = [one.id for one in reader.series(signal=signal, component="shop")]
        [[merge]] = list(reader.totals("ratio", ids, [(0, 1 << 40)]).values())
        assert tuple(merge or ()) == expected, signal


# -- access


def kubeconfig(server: str, **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
def test_a_kubeconfig_gives_address_and_token(write: Any, tmp_path: Path) -> None:
    cluster = running("cart")
    cluster.token = "from-the-kubeconfig"
    path = tmp_path / "config"
    with serve(cluster.answer) as server:
        path.write_text(write(kubeconfig(server.url, token=cluster.token)))
        [page] = kubernetes.fetch(config("", kubeconfig=path), Pull(T0 - 900, T0, T0, first=True))
    assert ratio(page, "availability") == Ratio(3, 3)


def test_what_a_kubeconfig_holds_is_private_and_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config"
    folder = tmp_path / "private"
    folder.mkdir()
    inline = base64.b64encode(b"a key").decode()
    good = kubeconfig("https://c:6443", **{"client-certificate-data": inline, "client-key-data": inline})
    path.write_text(json.dumps(good))
    access = access_of(path, "", folder)
    assert access.identity is not None
    assert access.identity[1].read_bytes() == b"a key"
    assert access.identity[1].stat().st_mode & 0o077 == 0
    refused: dict[str, dict[str, Any]] = {
        "another program": {"exec": {"command": "aws"}},
        "cannot be read": {"tokenFile": "no"},
        "not base64": {"client-key-data": "!"},
        "x is not there": {"client-certificate": "x"},
    }
    for said, user in refused.items():
        path.write_text(json.dumps(kubeconfig("https://c:6443", **user)))
        with pytest.raises(SourceRefused, match=said):
            access_of(path, "", folder)
    with pytest.raises(SourceRefused, match='no context "other"'):
        access_of(path, "other", folder)
    good["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path.write_text(json.dumps(good))
    with pytest.raises(SourceRefused, match="switches the check of certificates off"):
        access_of(path, "", folder)
    path.write_text("a: [1")
    with pytest.raises(SourceRefused, match="neither JSON nor YAML"):
        access_of(path, "", folder)
    with pytest.raises(SourceRefused, match="neither url nor kubeconfig"):
        list(kubernetes.fetch(config(""), Pull(T0 - 900, T0, T0)))


def test_no_token_and_no_secret_of_a_pod_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cluster = running("cart")
    cluster.token = TOKEN
    cluster.pod("cart-5d4f8c7b9-x2x4z", "cart", T0 - 100, restarts=1, reason="Error", ended=T0 - 50)
    path = tmp_path / "t.duckdb"
    said = []
    refusing: Any = lambda asked: Answer({"kind": "Status", "message": f"no {TOKEN}"}, 403)  # noqa: E731
    with virtual(), open_store(path) as store:
        for number, route in enumerate((cluster.answer, refusing, cluster.answer)):
            with serve(route) as server:
                given = config(server.url, common={"component": ("shop",), "token_env": TOKEN_ENV})
                source = Source(given.common, connect.load("kubernetes"), given)
                said.append(repr(collect.pull(store, source, T0 + 300 * number)))
    assert "the token was refused" in said[1]
    assert os.environ.get(TOKEN_ENV) is None
    for one in (*said, caplog.text, path.read_bytes().decode("latin-1")):
        assert TOKEN not in one
        assert "hunter2" not in one


def test_what_is_no_cluster_is_refused() -> None:
    with serve(lambda asked: Answer({"status": "success"})) as server, pytest.raises(SourceRefused, match="is no list"):
        list(kubernetes.fetch(config(server.url), Pull(T0 - 900, T0, T0)))
    circle = {"metadata": {"continue": "again"}, "items": []}
    with serve(lambda asked: Answer(circle)) as server, pytest.raises(SourceDown, match="in a circle"):
        list(kubernetes.fetch(config(server.url), Pull(T0 - 900, T0, T0)))


def test_a_watch_that_fails_is_not_taken_for_quiet() -> None:
    cluster = running("cart")
    look = Looking(cluster)
    look(T0)
    line = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 500}})
    whole, cluster.answer = cluster.answer, lambda asked: Answer(line)  # type: ignore[method-assign]
    with pytest.raises(SourceDown, match="ended with code 500"):
        look(T0 + 300)
    cluster.answer = whole  # type: ignore[method-assign]
    cluster.deploy("cart", "cart:2", T0 + 310)
    assert len(events(look(T0 + 600))) == 1


# -- saved objects


def parsed(path: Path, **given: Any) -> list[Page]:
    found = item(path, Given(**given))
    assert kubernetes.recognise(found)
    assert [name for name in connect.names() if connect.load(name).recognise(found)] == ["kubernetes"]
    return list(kubernetes.parse(found, config()))


@pytest.mark.parametrize("name", sorted(one.name for one in PAYLOADS.glob("*.json")))
def test_every_payload_is_recognised_by_exactly_one(name: str) -> None:
    assert parsed(PAYLOADS / name)


def test_a_saved_list_tells_what_the_cluster_would(tmp_path: Path) -> None:
    pages = parsed(PAYLOADS / "kubectl_get_all.json", at=T0)
    found = [one for page in pages for one in events(page)]
    assert [(one.kind, one.outcome, one.version) for one in found if one.kind != "restart"] == [
        ("deployment", "good", "1.4.2"), ("rollback", "good", "0.9")]  # fmt: skip
    assert [(one.trigger, dict(one.labels).get("restarts")) for one in found if one.kind == "restart"] == [
        ("OOMKilled", "1"), ("OOMKilled", None), ("Evicted", None)]  # fmt: skip
    assert ratio(pages[-1], "availability") == Ratio(3 + 1 + 2, 3 + 1 + 3)


def test_hostile_names_stay_data(store: Store) -> None:
    cluster = running("<b>x", "a'; DROP TABLE event; --")
    with serve(cluster.answer) as server:
        given = config(server.url)
        source = Source(given.common, connect.load("kubernetes"), given)
        assert collect.pull(store, source, T0).error == ""
        cluster.scale("<b>x", 9, T0 + 10)
        assert collect.pull(store, source, T0 + 300).error == ""
