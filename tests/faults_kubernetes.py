"""A cluster in the fault matrix: a look after a first one, with a rollout, a scaling, a restart and an eviction."""

from __future__ import annotations

from connectors import kubernetes
from tandem.connect import Common, Pull
from tests import faults
from tests.kubernetes_server import Cluster
from tests.replay import serve

NOW = 1_794_990_000


def first_look() -> tuple[Cluster, object]:
    """A cluster as it was five minutes ago, and what that look left."""
    cluster = Cluster()
    for name in ("cart", "pay"):
        cluster.deploy(name, f"{name}:1", NOW - 5000)
        cluster.rolled(name, NOW - 4900)
    with serve(cluster.answer) as server:
        given = kubernetes.Config(Common("kubernetes", "cluster"), url=server.url)
        [page] = kubernetes.fetch(given, Pull(NOW - 600, NOW - 300, NOW - 300, first=True))
    return cluster, page.state


def config(url: str) -> kubernetes.Config:
    common = Common("kubernetes", "cluster", component=("shop",), token_env=faults.TOKEN_ENV)
    return kubernetes.Config(common, url=url)


@faults.register("kubernetes")
def case() -> faults.Case:
    cluster, state = first_look()
    cluster.token = faults.TOKEN
    cluster.deploy("cart", "cart:2", NOW - 200)
    cluster.rolled("cart", NOW - 150)
    cluster.scale("pay", 5, NOW - 120)
    cluster.pod("pay-5d4f8c7b9-x2x4z", "pay", NOW - 900, restarts=1, reason="OOMKilled", code=137, ended=NOW - 100)
    cluster.evict("pay-5d4f8c7b9-bbbbb", NOW - 90)
    return faults.Case(
        module=kubernetes, config=config, answer=cluster.answer, pull=Pull(NOW - 900, NOW, NOW, state=state)
    )
