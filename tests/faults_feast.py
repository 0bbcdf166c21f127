"""A registry of Feast in the fault matrix: two projects, feature views over two pages, metrics."""

from __future__ import annotations

from dataclasses import replace

from connectors import feast
from tandem.connect import Common, Pull
from tests import faults
from tests.feast_server import Feast
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small_registry() -> Feast:
    store = Feast(token=faults.TOKEN)
    for number in range(130):
        store.view(f"view_{number}", NOW - 50_000)
        store.materialise(f"view_{number}", NOW - 9000, NOW - number * 60, NOW - 60)
    store.view("other", NOW - 9000, project="lab")
    edges = [float(n) for n in range(21)]
    for day in ("2026-11-15", "2026-11-16"):
        store.count("view_1", "amount", day, {"bins": edges, "counts": [100] * 20, "bin_width": 1.0})
        store.count("view_1", "site", day, {"values": [{"value": "a", "count": 7}], "other_count": 2})
    return store


def config(url: str) -> feast.Config:
    return feast.Config(Common("feast", "features", component=("m",), token_env=faults.TOKEN_ENV), url=url)


def missing(asked: Asked, good: Answer) -> Answer:
    """Rows left out of a list that states how many there are."""
    if not isinstance(good.body, dict) or "featureViews" not in good.body:
        return good
    return replace(good, body={**good.body, "featureViews": good.body["featureViews"][:-10]})


def reordered(asked: Asked, good: Answer) -> Answer:
    """Lists the other way round."""
    if isinstance(good.body, list):
        return replace(good, body=good.body[::-1])
    return replace(
        good, body={name: rows[::-1] if isinstance(rows, list) else rows for name, rows in good.body.items()}
    )


@faults.register("feast")
def case() -> faults.Case:
    store = small_registry()

    def repeated(asked: Asked, good: Answer) -> Answer:
        """The first page again."""
        again = tuple((name, "1" if name == "page" else value) for name, value in asked.query)
        return store.answer(replace(asked, query=again))

    return faults.Case(
        module=feast,
        config=config,
        answer=store.answer,
        pull=Pull(NOW - 14 * 86_400, NOW, NOW, first=True),
        paging={"missing rows": missing, "reordered": reordered, "repeated": repeated},
    )
