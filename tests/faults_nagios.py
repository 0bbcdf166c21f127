"""The CGIs of a Nagios in the fault matrix: two weeks of archive, a look at everything, a downtime."""

from __future__ import annotations

from dataclasses import replace

from connectors import nagios
from tandem.connect import Common, Pull
from tandem.records import DAY, Event, labels_of
from tests import faults
from tests.nagios_server import Nagios
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small_nagios() -> Nagios:
    running = Nagios(NOW, began=NOW - 30 * DAY)
    for n, word in enumerate(("ok", "critical", "critical", "ok")):
        running.check("web", "HTTP", NOW - 10 * DAY + 300 * n, word)
    for n, word in enumerate(("ok", "critical", "critical")):
        running.check("web", "HTTP", NOW - 800 + 300 * n, word)
    running.check("web", "Load", NOW - 100, "warning", "load1=0.5;4;8;0; time=2s")
    running.check("web", "", NOW - 150, "up", "rta=0.5ms;100;500;0 pl=0%;20;60;0")
    running.downtime("web", "HTTP", NOW - 500, NOW + 500)
    return running


def config(url: str) -> nagios.Config:
    return nagios.Config(Common("nagios", "nagios", component=("shop",), token_env=faults.TOKEN_ENV), url=url)


def reordered(asked: Asked, good: Answer) -> Answer:
    """Lists and maps the other way round."""
    data = good.body["data"]
    if "alertlist" in data:
        turned = {**data, "alertlist": data["alertlist"][::-1]}
    else:
        turned = {name: dict(reversed(value.items())) if value else value for name, value in data.items()}
    return replace(good, body={**good.body, "data": turned})


@faults.register("nagios")
def case() -> faults.Case:
    labels = {"host": "web", "service": "Load", "check": "service"}
    still = Event("incident", f"web;Load;{NOW - 9000}", NOW - 9000, outcome="open", labels=labels_of(labels))
    gone = Event("maintenance", "9@1", NOW - 9000, outcome="open", labels=labels_of(labels))
    server = faults.Earlier(small_nagios().answer)

    return faults.Case(
        module=nagios,
        config=config,
        answer=server.answer,
        pull=Pull(NOW - 14 * DAY, NOW, NOW, open=(still, gone), first=True),
        paging={"reordered": reordered, "repeated": server.repeated},
    )
