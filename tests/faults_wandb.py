"""A small W&B's place in the fault matrix: several pages of runs, histories and versions, and wrong chains of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from connectors import wandb
from tandem.connect import Common, Pull
from tests import faults
from tests.replay import Answer, Asked
from tests.wandb_server import T0, WandB

DAY = 86_400


def config(url: str, **keys: Any) -> wandb.Config:
    """A source of that server; some settings are the source's own."""
    common = Common("wandb", "experiments", component=("m",), token_env=keys.pop("token_env", faults.TOKEN_ENV))
    return wandb.Config(common, **{"url": url, "entity": "acme", "project": "claims", **keys})


def filled(key: str = faults.TOKEN, runs: int = 12) -> WandB:
    """Twelve runs, two of them with a history, one that is long; two models, one of many versions."""
    server = WandB(key=key)
    server.per_page = 5
    states = ("finished", "failed", "crashed", "killed", "running")
    for number in range(runs):
        run = server.add(f"r{number}", T0 + number * 60, state=states[number % 5], config={"lr": number / 100},
                         summary={"test_auc": number / 100}, group="nightly", job="train")  # fmt: skip
        for step in range({3: 1010, 4: 2}.get(number, 0)):
            bins = {"_type": "histogram", "bins": [0, 0.5, 1], "values": [step % 7, 1]}
            at = run.created + 1 + step + 7200 * (step >= 1000)  # a slice in an hour of its own
            run.log(at, val__accuracy=0.5, **({"preds": bins} if step % 100 == 0 else {}))
    for number in range(8):
        server.version("fraud", T0 + 5000 + number, f"r{number}")
    server.version("triage", T0 + 9000, aliases=["champion"])
    server.move("fraud", "production", 6)
    server.move("fraud", "old", 1)
    return server


def listing(change: Callable[[Any], Any]) -> Callable[[Asked, Answer], Answer]:
    """A fault of the lists of runs."""

    def rewrite(asked: Asked, good: Answer) -> Answer:
        body = json.loads(json.dumps(good.body)) if isinstance(good.body, dict) else {}
        project = (body.get("data") or {}).get("project") or {}
        if "runs" not in project:
            return good
        change(project["runs"])
        return replace(good, body=body)

    return rewrite


def looping(runs: Any) -> None:
    runs["pageInfo"] = {"endCursor": runs["edges"][0]["cursor"], "hasNextPage": True}


def missing(runs: Any) -> None:
    runs["edges"] = runs["edges"][1:]


def reordered(runs: Any) -> None:
    runs["edges"].reverse()


def repeated(runs: Any) -> None:
    runs["edges"].append(runs["edges"][0])


def ended(runs: Any) -> None:
    runs["pageInfo"]["hasNextPage"] = False


def half_answered(asked: Asked, good: Answer) -> Answer:
    """What GraphQL gives where a part of the query failed."""
    return Answer({"data": {"project": None}, "errors": [{"message": f"internal error near {faults.TOKEN}"}]})


@faults.register("wandb")
def case() -> faults.Case:
    server = filled()
    return faults.Case(
        module=wandb,
        config=config,
        answer=server.answer,
        pull=Pull(T0, T0 + DAY, T0 + DAY, first=True),
        paging={
            "looping": listing(looping),
            "row missing": listing(missing),
            "reordered": listing(reordered),
            "row twice": listing(repeated),
            "ends early": listing(ended),
            "half an answer": half_answered,
        },
    )
