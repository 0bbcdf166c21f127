"""An Alertmanager with its Prometheus in the fault matrix: alerts that are over, that fire, and that went unseen."""

from __future__ import annotations

from dataclasses import replace

from connectors import alertmanager
from connectors._alertmanager import key_of
from tandem.connect import Common, Pull
from tandem.records import DAY, Event, labels_of
from tests import faults
from tests.alertmanager_server import Monitoring
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small_company() -> Monitoring:
    monitoring = Monitoring(float(NOW), every=300)
    monitoring.fire("Down", NOW - DAY, NOW - DAY + 600, job="checkout")
    monitoring.fire("Down", NOW - 5400, NOW - 900, job="checkout")
    monitoring.fire("Slow", NOW - 3 * DAY, job="payments")
    monitoring.fire("Down", NOW - 400, job="payments")
    monitoring.silence("s1", NOW - 900, NOW + 900, job="payments")
    return monitoring


def config(url: str) -> alertmanager.Config:
    common = Common("alertmanager", "alerts", component=("shop",), token_env=faults.TOKEN_ENV)
    return alertmanager.Config(common, url=url, prometheus_url=url, web="http://alerts.example.com")


def reordered(asked: Asked, good: Answer) -> Answer:
    """Series, their samples and the list of alerts the other way round."""
    if isinstance(good.body, list):
        return replace(good, body=good.body[::-1])
    data = good.body.get("data", {})
    if "result" not in data:
        return good
    turned = [{**one, "values": one["values"][::-1]} for one in data["result"]][::-1]
    return replace(good, body={**good.body, "data": {**data, "result": turned}})


@faults.register("alertmanager")
def case() -> faults.Case:
    labels = {"alertname": "Down", "job": "checkout"}
    still = Event("incident", key_of(labels, NOW - 5400), NOW - 5400, outcome="open", labels=labels_of(labels))
    gone = Event("maintenance", "s0", NOW - 9000, outcome="open", labels=labels_of({"job": "checkout"}))
    server = faults.Earlier(small_company().answer)

    return faults.Case(
        module=alertmanager,
        config=config,
        answer=server.answer,
        pull=Pull(NOW - DAY - 3600, NOW, NOW, open=(still, gone), first=True),
        paging={"reordered": reordered, "repeated": server.repeated},
    )
