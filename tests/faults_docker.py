"""A Docker engine in the fault matrix: a look at containers after a first one, with events, an end and a new image."""

from __future__ import annotations

from dataclasses import replace

from connectors import docker
from tandem.connect import Common, Pull
from tests import faults
from tests.docker_server import Engine
from tests.replay import Answer, Asked, serve

NOW = 1_794_990_000


def first_look() -> tuple[Engine, object]:
    """An engine as it was five minutes ago, and what that look left."""
    engine = Engine()
    engine.run("shop-cart-1", "shop/cart:1.0", NOW - 4000, {"com.docker.compose.service": "cart"}, policy="always")
    engine.run("shop-db-1", "postgres:16", NOW - 4000, health="healthy")
    with serve(engine.answer) as server:
        given = docker.Config(Common("docker", "host"), url=server.url)
        [page] = docker.fetch(given, Pull(NOW - 600, NOW - 300, NOW - 300, first=True))
    return engine, page.state


def config(url: str) -> docker.Config:
    return docker.Config(Common("docker", "host", component=("shop",), token_env=faults.TOKEN_ENV), url=url)


def reordered(asked: Asked, good: Answer) -> Answer:
    """Containers and events the other way round."""
    if isinstance(good.body, list):
        return replace(good, body=good.body[::-1])
    if asked.path == "/events":
        return replace(good, body="\n".join(str(good.body).splitlines()[::-1]))
    return good


@faults.register("docker")
def case() -> faults.Case:
    engine, state = first_look()
    engine.again("shop-cart-1", NOW - 200, 1)
    engine.again("shop-cart-1", NOW - 100, 137, oom=True)
    engine.remove("shop-db-1", NOW - 90)
    engine.run("shop-db-1", "postgres:17", NOW - 80, health="healthy")
    return faults.Case(
        module=docker,
        config=config,
        answer=engine.answer,
        pull=Pull(NOW - 900, NOW, NOW, state=state),
        paging={"reordered": reordered},
    )
