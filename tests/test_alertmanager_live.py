"""The alertmanager connector against Debian's Alertmanager and Prometheus: an alert fires, is silenced, resolves."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from connectors import _files, alertmanager
from tandem import times
from tandem.connect import Common, Given, Pull
from tandem.records import Event
from tests.processes import free_port, started
from tests.replay import Answer, Asked, serve
from tests.test_prometheus_live import until_true

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("prometheus-alertmanager") and shutil.which("amtool")),
        reason="prometheus and its alertmanager are not installed",
    ),
]

RULES = """\
groups:
- name: shop
  interval: 1s
  rules:
  - alert: ShopDown
    expr: up{job="shop"} == 0
    for: 2s
    labels: {severity: page}
    annotations: {summary: 'the shop is down'}
"""
SCRAPES = """\
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s, external_labels: {{cluster: lab}}}}
rule_files: [{rules}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alerts}']}}]}}]}}
scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{shop}']}}]}}]
"""
ALERTS = """\
route: {{receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: '{hook}/hook', send_resolved: true}}]}}]
"""


class Shop:
    """A shop whose metrics can be had or not, and that keeps what is posted to it."""

    def __init__(self) -> None:
        self.is_up = True
        self.bodies: list[bytes] = []

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/hook":
            self.bodies.append(asked.body)
            return Answer("fine")
        return Answer("shop_up 1\n", 200 if self.is_up else 503)


def amtool(url: str, *arguments: str) -> Any:
    done = subprocess.run(
        ["amtool", f"--alertmanager.url={url}", *arguments],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout


def pulled(config: alertmanager.Config, **more: Any) -> tuple[list[Event], Any]:
    now = int(time.time())
    pages = list(alertmanager.fetch(config, Pull(now - 600, now + 1, now + 1, **more)))
    return [one for page in pages for one in page.records], pages[-1].state


def test_an_alert_fires_is_silenced_and_resolves(tmp_path: Path) -> None:
    """Prometheus, Alertmanager, amtool and the webhook all speak of one incident; the silence is maintenance."""
    shop, alerts, metrics = Shop(), free_port(), free_port()
    (tmp_path / "rules.yml").write_text(RULES)
    with serve(shop.answer) as site:
        (tmp_path / "am.yml").write_text(ALERTS.format(hook=site.url))
        told = SCRAPES.format(
            rules=tmp_path / "rules.yml", alerts=f"127.0.0.1:{alerts}", shop=site.url.removeprefix("http://")
        )
        (tmp_path / "prom.yml").write_text(told)
        alertmanager_arguments = [
            "prometheus-alertmanager", f"--config.file={tmp_path / 'am.yml'}", f"--storage.path={tmp_path / 'am'}",
            f"--web.listen-address=127.0.0.1:{alerts}", "--cluster.listen-address=",
        ]  # fmt: skip
        prometheus_arguments = [
            "prometheus", f"--config.file={tmp_path / 'prom.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{metrics}", "--rules.alert.resend-delay=1s",
        ]  # fmt: skip
        with (
            started(alertmanager_arguments, f"http://127.0.0.1:{alerts}/-/ready", tmp_path / "am.log") as url,
            started(prometheus_arguments, f"http://127.0.0.1:{metrics}/-/ready", tmp_path / "prom.log") as source,
        ):
            common = Common("alertmanager", "live", component=("shop",))
            config = alertmanager.Config(common, url=url, prometheus_url=source)
            without = alertmanager.Config(common, url=url)
            assert pulled(config)[0] == []

            shop.is_up = False
            until_true(lambda: amtool(url, "alert", "query", "--output=json").strip() not in ("", "[]"))
            listed = amtool(url, "alert", "query", "--output=json")
            until_true(lambda: any(one.outcome == "open" for one in pulled(config)[0]))
            (fired,), state = pulled(config)
            (seen,), _ = pulled(without)
            assert (fired.outcome, fired.title, dict(fired.labels)["alertstate"]) == (
                "open",
                "the shop is down",
                "firing",
            )
            assert (seen.ts, seen.title) == (fired.ts, fired.title)
            assert state["external"] == ["cluster"]
            assert fired.ts == times.iso(json.loads(listed)[0]["startsAt"])

            # What was never told as firing is never told as resolved: the silence comes after the first message.
            until_true(lambda: any(b'"firing"' in body for body in shop.bodies))
            key = amtool(
                url, "silence", "add", "job=shop", "--comment=planned", "--author=ada", "--duration=1h"
            ).strip()
            until_true(lambda: "suppressed" in amtool(url, "alert", "query", "--silenced", "--output=json"))
            found, state = pulled(config, state=state, open=(fired,))
            kinds = {one.kind: one for one in found}
            assert dict(kinds["incident"].labels)["alertstate"] == "silenced"
            assert (kinds["incident"].key, kinds["incident"].outcome) == (fired.key, "open")
            silence = kinds["maintenance"]
            assert (silence.key, silence.outcome, silence.title, silence.actor) == (key, "open", "planned", "ada")
            assert (silence.components, dict(silence.labels)["job"]) == (("shop",), "shop")

            amtool(url, "silence", "expire", key)
            shop.is_up = True
            until_true(lambda: amtool(url, "alert", "query", "--output=json").strip() in ("", "[]"))
            still = (kinds["incident"], silence)
            until_true(lambda: all(one.outcome != "open" for one in pulled(config, state=state, open=still)[0]))
            over = {one.kind: one for one in pulled(config, state=state, open=still)[0]}
            until_true(lambda: any(b'"resolved"' in body for body in shop.bodies))

    assert (over["incident"].key, over["incident"].outcome, over["incident"].ts) == (fired.key, "bad", fired.ts)
    assert over["maintenance"].outcome == "good"
    assert (over["maintenance"].ended or 0) - silence.ts < 60
    (tmp_path / "alerts.json").write_text(listed)
    (tmp_path / "hook.jsonl").write_bytes(b"\n".join(shop.bodies))
    known = alertmanager.Config(common, url=url, external_labels=("cluster",))
    for name, outcome in (("alerts.json", "open"), ("hook.jsonl", "bad")):
        item = _files.item(tmp_path / name, Given())
        assert alertmanager.recognise(item)
        (told_event,) = [one for page in alertmanager.parse(item, known) for one in page.records]
        assert (told_event.key, told_event.outcome) == (fired.key, outcome)
    assert abs((over["incident"].ended or 0) - (told_event.ended or 0)) <= 1
