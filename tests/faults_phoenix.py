"""A small Phoenix' place in the fault matrix: two blocks of spans in several pages, judgements, and wrong chains."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from connectors import phoenix
from tandem.connect import Common, Pull
from tests import faults
from tests.phoenix_server import Phoenix, span
from tests.replay import Answer, Asked

T0 = 1_794_960_000
"""A midnight, UTC."""


def config(url: str, **keys: Any) -> phoenix.Config:
    common = Common("phoenix", "traces", component=("bot",), token_env=keys.pop("token_env", None))
    return phoenix.Config(common, url, projects=("bot",), **keys)


def filled(count: int, key: str = "", seed: int = 4, pause_at: int = 0) -> Phoenix:
    """So many requests, a third of them with a tool's span below, every fifth of them judged.

    Before `pause_at` another project is busy for an hour: a thousand rows are not of this one.
    """
    rng, server = random.Random(seed), Phoenix(key)
    for number in range(1, count + 1):
        if number == pause_at:
            server.counter = 1_000
        status = rng.choice(["OK"] * 6 + ["UNSET", "ERROR"])
        ended = T0 + number * 7 + 3600 * (number >= pause_at > 0) + rng.choice([0.0, 0.125])
        lasted = rng.choice([0.3, 0.300001, 0.05, 2.0])
        server.post(span(number, ended, lasted, status))
        if number % 3 == 0:
            child = span(number + 1_000_000, ended, status="ERROR", parent_id=f"{number:016x}", span_kind="TOOL")
            server.post(child)
        if number % 5 == 0:
            server.judge(number, rng.choice(["correct", "correct", "incorrect"]))
    return server


def _rows(good: Answer, change: Any) -> Answer:
    data = good.body.get("data") if isinstance(good.body, dict) else None
    return replace(good, body={**good.body, "data": change(data)}) if isinstance(data, list) else good


@faults.register("phoenix")
def case() -> faults.Case:
    server = filled(160, faults.TOKEN, pause_at=80)
    server.at_once = 60
    kept: list[Answer] = []

    def answer(asked: Asked) -> Answer:
        kept.append(server.answer(asked))
        return kept[-1]

    def circle(asked: Asked, good: Answer) -> Answer:
        data = good.body.get("data") if isinstance(good.body, dict) else None
        return replace(good, body={**good.body, "next_cursor": data[0]["id"]}) if data and "id" in data[0] else good

    def another(asked: Asked, good: Answer) -> Answer:
        """The page of some other question."""
        return kept[-2] if len(kept) > 1 else good

    return faults.Case(
        module=phoenix,
        config=lambda url: config(url, token_env=faults.TOKEN_ENV),
        answer=answer,
        pull=Pull(T0, T0 + 86_400, T0 + 86_400, first=True),
        paging={
            "circle": circle,
            "page of before": another,
            "reordered": lambda asked, good: _rows(good, lambda data: data[::-1]) if "spans" in asked.path else good,
            "row twice": lambda asked, good: _rows(good, lambda data: [*data, *data[-1:]]),
        },
    )
