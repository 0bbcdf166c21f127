"""A Grafana in the fault matrix: annotations, signals through its data source."""

from __future__ import annotations

from dataclasses import replace

from connectors import grafana, prometheus
from tandem.connect import Common, Pull
from tests import faults
from tests.faults_prometheus import DAY, small_shop
from tests.grafana_server import Grafana
from tests.replay import Answer, Asked

UNTIL = DAY + 9 * 3600


def small_company() -> Grafana:
    company = Grafana(stored=small_shop())
    for number in range(1, 31):
        company.note(number, DAY + number * 900)
    company.note(2001, UNTIL - 600, newState="Alerting", prevState="Normal", alertId=3)
    company.note(2002, UNTIL - 300, end=UNTIL + 300)
    return company


def config(url: str) -> grafana.Config:
    common = Common("grafana", "dashboards", component=("shop",), token_env=faults.TOKEN_ENV)
    signal = (prometheus.Query(signal="availability", component="shop", up='up{job="shop"}'),)
    return grafana.Config(common, url=url, datasource="prom", signal=signal, web="https://grafana.example.com")


def reordered(asked: Asked, good: Answer) -> Answer:
    return replace(good, body=good.body[::-1]) if isinstance(good.body, list) else good


@faults.register("grafana")
def case() -> faults.Case:
    server = faults.Earlier(small_company().answer)

    return faults.Case(
        module=grafana,
        config=config,
        answer=server.answer,
        pull=Pull(DAY, UNTIL, UNTIL, first=True),
        paging={"reordered": reordered, "repeated": server.repeated},
    )
