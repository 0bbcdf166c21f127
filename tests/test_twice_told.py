"""One deployment seen by GitHub and by Argo CD, from both servers to the answers: one change, two names, one count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem import collect, config, report
from tandem.records import DAY
from tandem.report import Window
from tandem.store.file import Store, open_store
from tests import fakes
from tests.argocd_server import Argo, text
from tests.github_server import Repository, serving
from tests.replay import serve

T0 = fakes.NOW // 300 * 300
"""The first look; what the servers tell happened before it."""
WEEK = Window(T0 - 7 * DAY, T0 + 600)
TOML = """
[[component]]
name = "checkout-api"
kind = "service"

[[source]]
connector = "github"
name = "hub"
url = "{hub}"
repository = "acme/checkout"
component = "checkout-api"

[[source]]
connector = "argocd"
name = "argo"
url = "{argo}"
{argo_more}
  [[source.map]]
  component = "checkout-api"
  match = {{ app = "checkout" }}
{more}
"""


class Shop:
    """Both servers, and a store that is collected from them whenever it is asked."""

    store: Store
    urls: tuple[str, str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub, self.argo = Repository(), Argo()
        self.argo.create("checkout")

    def deployed(
        self, number: int, ref: str, at: int, *, took: int = 150, word: str = "success", environment: str = "production"
    ) -> str:
        """GitHub deploys; the commit."""
        self.hub.deploy(number, at, environment, ref)
        self.hub.status(number, at + 5, "in_progress")
        if word:
            self.hub.status(number, at + took, word)
        return str(self.hub.deployments[number]["sha"])

    def ask(self, *looks: int, argo_more: str = "", more: str = "") -> Any:
        """The context of a store that was collected at each of `looks`, from the first to the last."""
        told = TOML.format(hub=self.urls[0], argo=self.urls[1], argo_more=argo_more, more=more)
        made = config.parse(told, self.folder / "tandem.toml")
        for now in looks:
            for source in made.sources:
                found = collect.pull(self.store, source, now)
                assert not found.failed, found
        return SimpleNamespace(config=made, store=self.store)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path)
    with serving(found.hub) as hub, serve(found.argo.answer) as argo, open_store(tmp_path / "t.duckdb") as found.store:
        found.urls = (hub, argo.url)
        yield found


def delivery(context: Any, **asked: Any) -> dict[str, Any]:
    return report.show(context, "checkout-api", WEEK, now=T0 + 600, **asked)["delivery"]


def lane(context: Any, kinds: tuple[str, ...] = ("deployment", "rollback")) -> list[Any]:
    return [one for one in report.overview(context, WEEK, now=T0 + 600).changes if one.kind in kinds]


def counted(context: Any, signal: str = "deploy_success") -> tuple[int, int]:
    """Good and total of a signal over the week, of the source that counts."""
    said = report.show(context, "checkout-api", WEEK, now=T0 + 600)["signals"]
    [mine] = [one for one in said if one["signal"] == signal]
    return mine["good"], mine["total"]


def test_one_deployment_is_one_change_that_names_both_and_counts_once(shop: Shop) -> None:
    at = T0 - 3600
    commit = shop.deployed(1, "v2", at)
    shop.argo.sync("checkout", commit, at + 30)
    context = shop.ask(T0)
    told = delivery(context)
    assert told["metrics"]["frequency"]["n"] == 1
    [change] = told["changes"]
    assert [one["source"] for one in change["seen_by"]] == ["hub", "argo"]
    assert [one["key"] for one in change["seen_by"]] == ["1", f"argocd/checkout@{text(at + 30)}"]
    [drawn] = lane(context)
    assert (drawn.source, drawn.kind, drawn.outcome) == ("hub, argo", "deployment", "good")
    assert (drawn.ts, drawn.ended) == (at, at + 150), "from the first of either to the last of either"
    assert counted(context) == (1, 1), "the ratio of the source that counts, not the sum of both"
    assert len(lane(shop.ask(T0 + 300))) == 1, "another look at both tells the same"


def test_what_only_one_saw_stands_by_itself_and_a_rollback_is_one(shop: Shop) -> None:
    """Three deployments and the way back of the last: one failed before Argo CD was asked, one was synced by hand."""
    hour = 3600
    first = shop.deployed(1, "v1", T0 - 40 * hour)
    shop.argo.sync("checkout", first, T0 - 40 * hour + 20)
    shop.deployed(2, "v2", T0 - 30 * hour, word="failure")
    second = shop.deployed(3, "v3", T0 - 20 * hour)
    shop.argo.sync("checkout", second, T0 - 20 * hour + 20)
    back = shop.deployed(4, "v1", T0 - 19 * hour)
    shop.argo.sync("checkout", back, T0 - 19 * hour + 20)
    shop.argo.sync("checkout", "9" * 40, T0 - 5 * hour)
    context = shop.ask(T0)
    told = delivery(context)
    seen = [[one["source"] for one in change["seen_by"]] for change in told["changes"]]
    assert sorted(seen) == [["argo"], ["hub"], ["hub", "argo"], ["hub", "argo"], ["hub", "argo"]]
    assert told["metrics"]["frequency"]["n"] == 4, "four ran in production, one never did"
    kinds = {one.ts: one.kind for one in lane(context)}
    assert len(kinds) == 5
    assert kinds[T0 - 19 * hour] == "rollback", "GitHub calls it a deployment, Argo CD knows that it synced this before"
    assert (told["metrics"]["fail_rate"]["k"], told["metrics"]["fail_rate"]["n"]) == (1, 4)
    assert counted(context) == (3, 4), "GitHub's four, one of them failed"


def test_one_that_is_under_way_stays_one_when_it_ends(shop: Shop) -> None:
    at = T0 - 120
    commit = shop.deployed(1, "v2", at, word="")
    shop.argo.begin("checkout", commit, at + 30)
    context = shop.ask(T0)
    assert [(one.source, one.outcome, one.ended) for one in lane(context)] == [("hub, argo", "open", None)]
    shop.argo.end("checkout", T0 + 60)
    shop.hub.status(1, T0 + 70, "success")
    context = shop.ask(T0 + 300)
    assert [(one.source, one.outcome, one.ended) for one in lane(context)] == [("hub, argo", "good", T0 + 70)]
    assert delivery(context)["metrics"]["frequency"]["n"] == 1


def test_where_argo_reads_manifests_the_version_of_the_image_joins_them(shop: Shop) -> None:
    shop.argo.create("checkout", images=("registry.example.com/checkout:v2",))
    shop.deployed(1, "v2", T0 - 3600)
    shop.argo.sync("checkout", "7" * 40, T0 - 3570)
    assert len(lane(shop.ask(T0))) == 2, "taken for commits of the code, the two are of different things"
    context = shop.ask(T0 + 300, argo_more='revisions = "manifests"')
    [one] = lane(context)
    assert (one.source, one.version) == ("hub, argo", "v2")
    assert delivery(context)["metrics"]["frequency"]["n"] == 1


def test_another_environment_is_another_change(shop: Shop) -> None:
    commit = shop.deployed(1, "v2", T0 - 3600, environment="staging")
    shop.argo.sync("checkout", commit, T0 - 3570)
    context = shop.ask(T0)
    assert [one.source for one in lane(context)] == ["argo"]
    assert delivery(context)["metrics"]["frequency"]["n"] == 1


def test_the_configuration_takes_them_apart_and_putting_it_back_joins_them(shop: Shop) -> None:
    commit = shop.deployed(1, "v2", T0 - 3600)
    shop.argo.sync("checkout", commit, T0 - 3570)
    key = f"argocd/checkout@{text(T0 - 3570)}"
    apart = f'[[delivery.apart]]\nchanges = ["1", "argo:{key}"]\nauthor = "ana"\nreason = "two clusters"\n'
    context = shop.ask(T0, more=apart)
    assert delivery(context)["metrics"]["frequency"]["n"] == 2
    assert sorted(one.source for one in lane(context)) == ["argo", "hub"]
    assert counted(context) == (1, 1)
    joined = shop.ask(T0 + 300)
    assert delivery(joined)["metrics"]["frequency"]["n"] == 1
    assert [one.source for one in lane(joined)] == ["hub, argo"]
