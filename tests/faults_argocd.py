"""An Argo CD in the fault matrix: one request, after which syncs, a failure and drift are known."""

from __future__ import annotations

from dataclasses import replace

from connectors import argocd
from tandem.connect import Common, Pull
from tests import faults
from tests.argocd_server import Argo
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def config(url: str) -> argocd.Config:
    common = Common("argocd", "argo", component=("shop",), token_env=faults.TOKEN_ENV)
    return argocd.Config(common, url=url, web="https://argo.example.com")


def reordered(asked: Asked, good: Answer) -> Answer:
    """Applications the other way round."""
    return replace(good, body={**good.body, "items": good.body["items"][::-1]})


@faults.register("argocd")
def case() -> faults.Case:
    argo = Argo(token=faults.TOKEN)
    for name in ("cart", "pay"):
        argo.create(name, images=(f"shop/{name}:1.2",))
        for number in range(12):
            argo.sync(name, f"{number:040x}", NOW - 5000 + 300 * number)
    argo.begin("cart", "f" * 40, NOW - 200)
    argo.end("cart", NOW - 150, "Failed", "one or more objects failed to apply")
    argo.begin("pay", "e" * 40, NOW - 100)
    argo.applications["pay"]["status"]["sync"]["status"] = "OutOfSync"
    return faults.Case(
        module=argocd,
        config=config,
        answer=argo.answer,
        pull=Pull(NOW - 7200, NOW, NOW, first=True),
        paging={"reordered": reordered},
    )
