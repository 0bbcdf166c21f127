"""Alertmanager: alerts that come, go and come again, their history in Prometheus, silences, files, few requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import _prometheus_server, alertmanager
from connectors._files import item
from tandem import connect, place, template
from tandem.config import parse
from tandem.connect import Common, Given, Pull, Rule, SourceRefused
from tandem.records import DAY, Event, Gap, Page
from tests.alertmanager_server import INTERVAL, Monitoring, stamp
from tests.replay import Answer, Server, serve

HERE = Path(__file__).parent / "payloads" / "alertmanager"
NOW = 1_795_000_000
EVERY = 300


@pytest.fixture
def monitoring() -> Monitoring:
    return Monitoring(float(NOW))


@pytest.fixture
def server(monitoring: Monitoring) -> Iterator[Server]:
    with serve(monitoring.answer) as running:
        yield running


def configured(server: Server | None = None, *, history: bool = True, **more: Any) -> alertmanager.Config:
    common = Common("alertmanager", "alerts", component=("shop",), status=more.pop("status", {}))
    common = replace(common, **more.pop("common", {}))
    url = server.url if server else "http://127.0.0.1:9093"
    return alertmanager.Config(common, url=url, prometheus_url=url if history and server else "", **more)


class Keeper:
    """What the core keeps between two pulls: the newest word on each event, and the state."""

    def __init__(self, config: alertmanager.Config, monitoring: Monitoring) -> None:
        self.config, self.monitoring = config, monitoring
        self.events: dict[tuple[str, str], Event] = {}
        self.state: Any = None
        self.watermark: int | None = None
        self.pages: list[Page] = []

    def pull(self, now: int, *, since: int | None = None) -> list[Page]:
        self.monitoring.now = now
        begin = since if since is not None else now - 3600 if self.watermark is None else self.watermark - 600
        still = tuple(one for one in self.events.values() if one.outcome == "open")
        pull = Pull(begin, now, now, state=self.state, open=still, first=self.watermark is None)
        self.pages = list(alertmanager.fetch(self.config, pull))
        said: dict[tuple[str, str], Event] = {}
        for event in (record for page in self.pages for record in page.records):
            key = (event.kind, event.key)
            assert said.setdefault(key, event) == event, "two values for one key in one pull"
            known = self.events.get(key)
            if known is None or known.revision <= event.revision:
                self.events[key] = event
        self.state = json.loads(json.dumps([page.state for page in self.pages if page.state is not None][-1]))
        self.watermark = now
        return self.pages

    def incidents(self) -> list[tuple[int, int | None, str]]:
        return sorted(
            (one.ts, one.ended, one.outcome) for one in self.events.values()
            if one.kind == "incident" and one.outcome != "excluded"
        )  # fmt: skip


def parsed(path: Path, config: alertmanager.Config | None = None) -> list[Page]:
    return list(alertmanager.parse(item(path, Given()), config or configured()))


def events(pages: list[Page]) -> list[Event]:
    return [record for page in pages for record in page.records]


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


# -- with the history of Prometheus


def test_every_alert_is_one_incident_from_its_first_to_its_last_evaluation(
    monitoring: Monitoring, server: Server
) -> None:
    monitoring.fire("Down", NOW - 3000, NOW - 2400, job="checkout")
    monitoring.fire("Down", NOW - 2000, NOW - 1985, job="checkout")  # fires at one evaluation only
    monitoring.fire("Slow", NOW - 900, job="checkout", severity="ticket")
    kept = Keeper(configured(server), monitoring)
    kept.pull(NOW)
    assert kept.incidents() == [
        (NOW - 3000, NOW - 2400, "bad"), (NOW - 2000, NOW - 1985, "bad"), (NOW - 900, None, "open"),
    ]  # fmt: skip
    slow = max(kept.events.values(), key=lambda one: one.ts)
    assert (slow.title, slow.url[:18]) == ("Slow of checkout", "http://host1:9090/")
    assert dict(slow.labels) == {
        "alertname": "Slow", "alertstate": "firing", "cluster": "lab", "job": "checkout", "severity": "ticket",
    }  # fmt: skip
    assert [(one.since, one.until) for one in kept.pages[-1].covered or ()] == [(NOW - 3600, NOW)]


def test_pulls_of_any_rhythm_tell_the_same_incidents(monitoring: Monitoring, server: Server) -> None:
    """Short ones, overlapping ones, those that go on over many pulls, and one that comes again after one evaluation."""
    for start, end in ((-3100, -3000), (-2900, -1400), (-1385, -1000), (-800, -785), (-300, 1e9)):
        monitoring.fire("Down", NOW + start, NOW + end, wait=0, job="checkout")
    monitoring.fire("Down", NOW - 2500, NOW - 700, job="payments")
    once = Keeper(configured(server), monitoring)
    once.pull(NOW)
    for step in (60, 300, 700):
        often = Keeper(configured(server), monitoring)
        often.pull(NOW - 3300)
        for now in range(NOW - 3300 + step, NOW, step):
            often.pull(now)
        often.pull(NOW)
        assert often.incidents() == once.incidents()
        assert set(often.events) == set(once.events)
    assert len(once.incidents()) == 6


def test_an_alert_that_fired_once_is_over_as_soon_as_it_is_not_listed(monitoring: Monitoring, server: Server) -> None:
    """How often it is evaluated is known from when it was pending."""
    monitoring.fire("Down", NOW - 5, NOW + 10, job="checkout")
    kept = Keeper(configured(server), monitoring)
    kept.pull(NOW)
    assert kept.incidents() == [(NOW - 5, None, "open")]
    kept.pull(NOW + 50)
    assert kept.incidents() == [(NOW - 5, NOW + 10, "bad")]


def test_days_are_read_in_stretches_and_an_alert_may_span_them(
    monitoring: Monitoring, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitoring.fire("Down", NOW - 5 * DAY, NOW - 2 * DAY - 40, job="checkout")
    monitoring.fire("Down", NOW - 2 * DAY, NOW - 2 * DAY + 60, job="checkout")
    monitoring.fire("Down", NOW - 100, job="checkout")
    wanted = [(NOW - 5 * DAY, NOW - 2 * DAY - 40 + 10, "bad"), (NOW - 2 * DAY, NOW - 2 * DAY + 60, "bad"),
              (NOW - 100, None, "open")]  # fmt: skip
    for most in (None, 3000):
        monitoring.most = most
        kept = Keeper(configured(server), monitoring)
        kept.pull(NOW, since=NOW - 6 * DAY)
        assert kept.incidents() == wanted


def test_the_beginning_of_an_alert_that_fired_before_the_window_is_looked_up(
    monitoring: Monitoring, server: Server
) -> None:
    monitoring.fire("Down", NOW - 8 * 3600, NOW - 60, job="checkout")
    for stateless in (False, True):
        monitoring.stateless = stateless
        kept = Keeper(configured(server), monitoring)
        kept.pull(NOW)
        assert kept.incidents() == [(NOW - 8 * 3600, NOW - 60, "bad")]


def test_what_prometheus_no_longer_keeps_is_an_interval(monitoring: Monitoring, server: Server) -> None:
    """Only since when the condition held is known of an alert whose first samples are gone."""
    alert = monitoring.fire("Down", NOW - 9 * DAY, NOW - 60, job="checkout")
    alert.hidden = ((0, NOW - 5000),)
    kept = Keeper(configured(server), monitoring)
    kept.pull(NOW)
    (event,) = kept.events.values()
    assert event.ts == NOW - 9 * DAY - 30
    assert event.ts_latest is not None
    assert NOW - 5000 <= event.ts_latest <= NOW - 5000 + INTERVAL


def test_a_restart_of_prometheus_does_not_end_an_alert(monitoring: Monitoring, server: Server) -> None:
    """The same beginning afterwards means the same alert; while nothing is known it seems over, and then goes on."""
    alert = monitoring.fire("Down", NOW - 3000, NOW - 600, job="checkout")
    alert.hidden = ((NOW - 2000, NOW - 1500),)
    kept = Keeper(configured(server, history=True), monitoring)
    for now in range(NOW - 2700, NOW + 1, 150):
        monitoring.forgets = NOW - 1900 <= now <= NOW - 1500
        kept.pull(now)
    assert kept.incidents() == [(NOW - 3000, NOW - 600, "bad")]
    once = Keeper(configured(server), monitoring)
    once.pull(NOW)
    assert once.incidents() == kept.incidents()


def test_an_alert_seen_before_its_first_sample_counts_once(monitoring: Monitoring, server: Server) -> None:
    monitoring.fire("Down", NOW - 100, job="checkout")
    kept = Keeper(configured(server), monitoring)
    hidden = replace(monitoring.alerts[0], hidden=((0, NOW + 1),))
    monitoring.alerts[0] = hidden
    kept.pull(NOW)
    monitoring.alerts[0] = replace(hidden, hidden=())
    kept.pull(NOW + 300)
    assert kept.incidents() == [(NOW - 100, None, "open")]
    assert list(reasons(kept.pages)) == [
        "an alert was listed before Prometheus stored its first sample; it is counted once"
    ]


def test_losing_the_state_costs_requests_and_changes_no_incident(monitoring: Monitoring, server: Server) -> None:
    monitoring.fire("Down", NOW - 3000, NOW - 400, job="checkout")
    monitoring.fire("Slow", NOW - 3000, job="checkout")
    kept = Keeper(configured(server), monitoring)
    kept.pull(NOW - 300)
    before = dict(kept.events)
    kept.state = None
    asked = len(server.asked)
    kept.pull(NOW)
    assert {key: (e.ts, e.ended) for key, e in kept.events.items()} == {k: (e.ts, e.ended) for k, e in before.items()}
    assert len(server.asked) - asked > 4


def test_a_second_pull_makes_the_fewest_requests(
    monitoring: Monitoring, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):
        monitoring.fire(f"Alert{number}", NOW - 3000 + number, NOW - 500 if number % 2 else 1e12, job="checkout")
    kept = Keeper(configured(server), monitoring)
    kept.pull(NOW)
    made = len(server.asked)
    kept.pull(NOW + 300)
    asked = sorted(one.path for one in server.asked[made:])
    fewest = ["/api/v1/query", "/api/v1/query", "/api/v2/alerts", "/api/v2/silences"]
    print(f"second pull: {len(asked)} requests, fewest possible {len(fewest)}")
    assert asked == fewest
    assert "fewest possible 4" in capsys.readouterr().out


def test_what_lies_before_the_retention_of_prometheus_is_a_gap(monitoring: Monitoring, server: Server) -> None:
    kept = Keeper(configured(server), monitoring)
    (page,) = kept.pull(NOW, since=NOW - 90 * DAY)
    assert page.gaps == (Gap(NOW - 90 * DAY, NOW - 15 * DAY, "Prometheus keeps its samples for 15d"),)
    assert [(one.since, one.until) for one in page.covered or ()] == [(NOW - 15 * DAY, NOW)]
    for said, seconds in (("30d or 1GiB", 30 * DAY), ("1w2d", 9 * DAY)):
        monitoring.retention = said
        (page,) = Keeper(configured(server), monitoring).pull(NOW, since=NOW - 90 * DAY)
        assert page.gaps[0].until == NOW - seconds
    monitoring.retention = "0s"
    assert Keeper(configured(server), monitoring).pull(NOW, since=NOW - 90 * DAY)[0].gaps == ()


def test_too_many_samples_at_once_are_asked_for_in_smaller_stretches(
    monitoring: Monitoring, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        monitoring.fire("Down", NOW - 3000 - number, NOW - 100, instance=str(number))
    whole = Keeper(configured(server), monitoring)
    whole.pull(NOW)
    monitoring.most = 2500
    pieces = Keeper(configured(server), monitoring)
    pieces.pull(NOW)
    assert pieces.incidents() == whole.incidents()
    assert len(pieces.incidents()) == 30
    assert _prometheus_server.Smaller.__doc__


# -- without it


def test_without_prometheus_an_end_lies_between_two_pulls(monitoring: Monitoring, server: Server) -> None:
    monitoring.fire("Down", NOW - 100, NOW + 200, job="checkout")
    kept = Keeper(configured(server, history=False), monitoring)
    (first,) = kept.pull(NOW)
    (second,) = kept.pull(NOW + 300)
    assert kept.incidents() == [(NOW - 100, NOW + 299, "bad")]
    (event,) = kept.events.values()
    assert dict(event.labels)["ended_after"] == stamp(NOW)[:19] + "Z"
    assert event.title == "Down of checkout"
    assert reasons([second]) == {"an alert ended between two pulls; the time of the later one is taken": 1}
    reason = "Alertmanager remembers no alert that is over; prometheus_url would"
    assert first.gaps == (Gap(NOW - 3600, NOW - 300, reason),)
    assert [(one.since, one.until) for one in first.covered or ()] == [(NOW - 300, NOW)]
    assert second.gaps == ()
    assert [(one.since, one.until) for one in second.covered or ()] == [(NOW, NOW + 300)]


def test_a_pull_that_comes_late_is_a_gap(monitoring: Monitoring, server: Server) -> None:
    kept = Keeper(configured(server, history=False), monitoring)
    kept.pull(NOW)
    (late,) = kept.pull(NOW + 3600)
    assert [(gap.since, gap.until) for gap in late.gaps] == [(NOW, NOW + 3300)]
    assert [(one.since, one.until) for one in late.covered or ()] == [(NOW + 3300, NOW + 3600)]


def test_an_old_file_does_not_make_an_incident_last_until_today(monitoring: Monitoring, server: Server) -> None:
    """An exported alert that fired then and is not listed now was over before: it ends when it was known last."""
    for history in (True, False):
        kept = Keeper(configured(server, history=history), monitoring)
        kept.pull(NOW)
        (old,) = events(parsed(HERE / "v2_alerts.json"))[:1]
        aged = replace(old, key="old", ts=NOW - 30 * DAY, revision=2 * (NOW - 30 * DAY + 600) + 1)
        kept.events["incident", "old"] = aged
        kept.pull(NOW + 300)
        assert (kept.events["incident", "old"].ended, kept.events["incident", "old"].outcome) == (
            NOW - 30 * DAY + 600, "bad",
        )  # fmt: skip


def test_alertmanagers_own_restart_ends_nothing(monitoring: Monitoring, server: Server) -> None:
    """It comes back without alerts, until Prometheus sends them again."""
    monitoring.fire("Down", NOW - 100, job="checkout")
    kept = Keeper(configured(server, history=False), monitoring)
    kept.pull(NOW)
    monitoring.started, monitoring.forgets = NOW + 280.0, True
    kept.pull(NOW + 300)
    assert kept.incidents() == [(NOW - 100, None, "open")]
    monitoring.forgets = False
    kept.pull(NOW + 600)
    assert kept.incidents() == [(NOW - 100, None, "open")]


def test_an_alert_that_was_taken_for_over_opens_again(monitoring: Monitoring, server: Server) -> None:
    monitoring.fire("Down", NOW - 100, job="checkout")
    kept = Keeper(configured(server, history=False), monitoring)
    kept.pull(NOW)
    monitoring.forgets = True
    kept.pull(NOW + 300)
    assert kept.incidents()[0][2] == "bad"
    monitoring.forgets = False
    kept.pull(NOW + 600)
    assert kept.incidents() == [(NOW - 100, None, "open")]


# -- silences


def test_a_silence_is_maintenance_and_its_alert_is_still_an_incident(monitoring: Monitoring, server: Server) -> None:
    monitoring.fire("Down", NOW - 900, job="checkout")
    monitoring.silence("s1", NOW - 600, NOW + 450, job="checkout")
    monitoring.silence("s2", NOW + 100, NOW + 900, job="checkout")
    kept = Keeper(configured(server), monitoring)
    kept.pull(NOW)
    kinds = {one.kind: one for one in kept.events.values()}
    assert dict(kinds["incident"].labels)["alertstate"] == "silenced"
    assert kinds["incident"].outcome == "open"
    first = kinds["maintenance"]
    assert (first.key, first.ts, first.ended, first.outcome) == ("s1", NOW - 600, None, "open")
    assert (first.actor, first.title, first.components) == ("ada", "planned work", ("shop",))
    assert first.url == f"{server.url}/#/silences/s1"
    kept.pull(NOW + 300)
    assert kept.events["maintenance", "s2"].outcome == "open"
    monitoring.silences["s1"].update(endsAt=NOW + 700, updatedAt=NOW + 310)  # it is prolonged, under the same id
    kept.pull(NOW + 600)
    assert kept.events["maintenance", "s1"].outcome == "open"
    kept.pull(NOW + 900)
    assert [(e.key, e.ended, e.outcome) for e in kept.events.values() if e.kind == "maintenance"] == [
        ("s1", NOW + 700, "good"), ("s2", NOW + 900, "good"),
    ]  # fmt: skip


def test_a_silence_that_was_forgotten_ended_as_planned(monitoring: Monitoring, server: Server) -> None:
    monitoring.silence("s1", NOW - 600, NOW + 450, job="checkout")
    kept = Keeper(configured(server), monitoring)
    kept.pull(NOW)
    kept.pull(NOW + 6 * DAY)
    assert [(e.ended, e.outcome) for e in kept.events.values()] == [(NOW + 450, "good")]


RULES = (
    Rule(("checkout-api",), {"job": "shop/checkout*"}),
    Rule(("payments", "ledger"), {"job": "payments"}, environment="staging"),
    Rule(("search",), {"job": "search", "branch": "main"}),
)


@pytest.mark.parametrize(
    ("matchers", "components"),
    [
        ({"job": "shop/checkout-eu"}, [("checkout-api",)]),
        ({"job": "payments"}, [("payments", "ledger")]),
        ({"job": "~shop/checkout|payments"}, [("checkout-api",), ("payments", "ledger")]),
        ({"job": "~pay.*"}, [("payments", "ledger")]),
        ({"job": "~^(payments)$"}, [("payments", "ledger")]),
        ({"job": "payments", "alertname": "DiskFull"}, [("payments", "ledger")]),
        ({"job": "search"}, [("search",)]),
        ({"job": "search", "branch": "dev"}, []),
        ({"job": "search", "branch": "!main"}, []),
        ({"severity": "page"}, []),
        ({"job": "!payments"}, []),
        ({"job": "~shop/check.*"}, []),  # a pattern against a pattern: not known, so nothing is left out of the counts
    ],
)
def test_a_silence_concerns_the_components_that_its_conditions_fit(
    monitoring: Monitoring, server: Server, matchers: dict[str, str], components: list[tuple[str, ...]]
) -> None:
    monitoring.silence("s1", NOW - 600, NOW + 450, **matchers)
    config = configured(server, common={"component": (), "map": RULES})
    kept = Keeper(config, monitoring)
    kept.pull(NOW)
    placed = [place.event_of(one, config.common) for one in kept.events.values()]
    assert [one.components for one in placed if one] == components
    assert {one.environment for one in placed if one} <= {"production", "staging"}


def test_the_map_decides_by_the_labels_of_an_alert(monitoring: Monitoring, server: Server) -> None:
    monitoring.fire("Down", NOW - 900, job="payments")
    monitoring.fire("Down", NOW - 900, job="nobody")
    config = configured(server, common={"component": (), "map": RULES})
    kept = Keeper(config, monitoring)
    kept.pull(NOW)
    placed = [
        place.event_of(kept.events[key], config.common)
        for key in sorted(kept.events, key=lambda key: dict(kept.events[key].labels)["job"])
    ]
    assert [one and (one.components, one.environment) for one in placed] == [None, (("payments", "ledger"), "staging")]


def test_comments_choose_the_silences_that_are_planned_work(monitoring: Monitoring, server: Server) -> None:
    monitoring.silence("s1", NOW - 600, NOW + 450, "planned: new disks", job="checkout")
    monitoring.silence("s2", NOW - 600, NOW + 450, "too noisy", job="checkout")
    kept = Keeper(configured(server, maintenance=("planned*",)), monitoring)
    kept.pull(NOW)
    assert [one.key for one in kept.events.values()] == ["s1"]
    assert reasons(kept.pages) == {"silences whose comment `maintenance` does not name are left out": 1}
    none = Keeper(configured(server, silences=False), monitoring)
    none.pull(NOW)
    assert none.events == {}
    assert "/api/v2/silences" not in monitoring.asked[-3:]


def test_alerts_are_chosen_by_name(monitoring: Monitoring, server: Server) -> None:
    for name in ("Watchdog", "CheckoutDown", "DiskFull"):
        monitoring.fire(name, NOW - 900, job="checkout")

    def names(**more: Any) -> list[str]:
        kept = Keeper(configured(server, **more), monitoring)
        kept.pull(NOW)
        return sorted(dict(one.labels)["alertname"] for one in kept.events.values())

    assert names() == ["CheckoutDown", "DiskFull"]
    assert names(alerts=("Checkout*",)) == ["CheckoutDown"]
    assert names(ignore=()) == ["CheckoutDown", "DiskFull", "Watchdog"]


# -- statuses


def test_every_status_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(tmp_path: Path) -> None:
    told = json.loads((HERE / "v2_alerts.json").read_text())[0]
    found = {}
    for word in ("active", "suppressed", "unprocessed", "firing", "resolved", "melted"):
        file = tmp_path / f"{word}.json"
        file.write_text(json.dumps([{**told, "status": {"state": word}}]))
        pages = parsed(file)
        found[word] = events(pages)[0].outcome
    assert found == {
        "active": "open", "suppressed": "open", "unprocessed": "open", "firing": "open", "resolved": "bad",
        "melted": "excluded",
    }  # fmt: skip
    assert reasons(pages) == {
        'the state "melted" is unknown; what has it is excluded, or name it in [source.status]': 1
    }
    assert events(parsed(file, configured(status={"melted": "bad"})))[0].outcome == "bad"
    assert set(alertmanager.ABOUT.status) == {*found, "expired", "pending"} - {"melted"}


# -- files


def test_captured_alerts_of_the_api_are_open_incidents() -> None:
    """The end of a firing alert lies ahead in the API and in the year 1 in a webhook: neither is an end."""
    for name in ("v2_alerts.json", "v2_alerts_groups.json", "webhook.jsonl"):
        file = HERE / name
        assert alertmanager.recognise(item(file, Given()))
        down, probe = events(parsed(file))
        assert (down.title, down.ts, down.ended, down.outcome) == (
            "127.0.0.1:8001 is down", 1_795_247_665, None, "open",
        )  # fmt: skip
        assert probe.title == "probe http://127.0.0.1:8001/ failed"
        assert dict(down.labels)["cluster"] == "lab"


def test_files_and_pulls_speak_of_the_same_incidents(monitoring: Monitoring, server: Server, tmp_path: Path) -> None:
    monitoring.fire("Down", NOW - 900, NOW - 100, job="checkout")
    monitoring.now = NOW - 200.0
    listed = [monitoring._alert(monitoring.alerts[0])]
    (tmp_path / "amtool.json").write_text(json.dumps(listed))
    firing = {"status": "firing", **{k: v for k, v in listed[0].items() if k not in ("status", "updatedAt")},
              "endsAt": "0001-01-01T00:00:00Z"}  # fmt: skip
    over = {**firing, "status": "resolved", "endsAt": stamp(NOW - 100)}
    lines = [{"version": "4", "groupKey": "{}", "status": one["status"], "truncatedAlerts": 2 * n, "alerts": [one]}
             for n, one in enumerate((firing, over))]  # fmt: skip
    (tmp_path / "hook.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = configured(server, external_labels=("cluster",))
    kept = Keeper(config, monitoring)
    kept.pull(NOW)
    (pulled,) = kept.events.values()
    hook = parsed(tmp_path / "hook.jsonl", config)
    (sent,) = events(hook)
    (listing,) = events(parsed(tmp_path / "amtool.json", config))
    assert pulled.key == sent.key == listing.key
    assert (sent.ts, sent.ended, sent.outcome) == (NOW - 900, NOW - 100, "bad")
    assert listing.outcome == "open"
    assert listing.revision < pulled.revision
    assert abs((pulled.ended or 0) - NOW + 100) <= INTERVAL
    assert list(reasons(hook).values()) == [2]


def test_silences_of_amtool_are_maintenance(monitoring: Monitoring, tmp_path: Path) -> None:
    monitoring.silence("s1", NOW - 600, NOW - 450, job="checkout")
    monitoring.silence("s2", NOW + 600, NOW + 700, job="checkout")
    file = tmp_path / "silences.json"
    file.write_text(json.dumps([monitoring._silence(one) for one in monitoring.silences.values()]))
    assert alertmanager.recognise(item(file, Given()))
    (event,) = events(parsed(file))
    assert (event.kind, event.ts, event.ended, event.outcome) == ("maintenance", NOW - 600, NOW - 450, "good")
    monitoring.now = NOW - 500.0
    file.write_text(json.dumps([monitoring._silence(monitoring.silences["s1"])]))
    (active,) = events(parsed(file))
    assert (active.ended, active.outcome) == (NOW - 450, "open"), "nobody comes back to a file: it ends as planned"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"startsAt": "0001-01-01T00:00:00Z"}, "an object has no startsAt"),
        ({"startsAt": "2026-11-02T10:00:00"}, "has no offset"),
        ({"labels": {}}, "an alert has no name"),
        ({"labels": None}, "an alert has no name"),
        ({"startsAt": "yesterday"}, "is not an ISO 8601 time"),
    ],
)
def test_an_object_that_cannot_be_counted_is_named_and_the_rest_lands(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    told = json.loads((HERE / "v2_alerts.json").read_text())
    (tmp_path / "alerts.json").write_text(json.dumps([{**told[0], **change}, told[1], 17]))
    pages = parsed(tmp_path / "alerts.json")
    assert len(events(pages)) == 1
    assert any(reason in said for said in reasons(pages))
    assert "what is there is no object of Alertmanager" in reasons(pages)


def test_a_cut_file_is_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_bytes((HERE / "v2_alerts.json").read_bytes()[:700])
    with pytest.raises(SourceRefused, match=r"cut\.json line \d+ is not JSON"):
        parsed(tmp_path / "cut.json")


@pytest.mark.parametrize("text", ["[]", "{}", '[{"labels": {}}]', "alertname", ""])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.json").write_text(text)
    assert not alertmanager.recognise(item(tmp_path / "some.json", Given()))


def test_every_payload_is_recognised_by_nobody_else() -> None:
    for name in ("v2_alerts.json", "v2_alerts_groups.json", "webhook.jsonl"):
        told = item(HERE / name, Given())
        assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["alertmanager"]


# -- what it says of itself


def test_a_token_goes_to_its_own_server_only(
    monitoring: Monitoring, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AM", "canary-alerts")
    monkeypatch.setenv("PROM", "canary-metrics")
    with serve(monitoring.answer) as other:
        config = configured(server, common={"token_env": "AM"})
        for own, sent in ((replace(config, prometheus_url=other.url), None),
                          (replace(config, prometheus_url=other.url, prometheus_token_env="PROM"),
                           "Bearer canary-metrics")):  # fmt: skip
            server.asked.clear()
            other.asked.clear()
            Keeper(own, monitoring).pull(NOW)
            assert {one.headers.get("authorization") for one in server.asked} == {"Bearer canary-alerts"}
            assert {one.headers.get("authorization") for one in other.asked} == {sent}
        Keeper(replace(config, auth="basic"), monitoring).pull(NOW)
        assert server.asked[-1].headers["authorization"] == "Basic canary-alerts"


def test_another_server_is_refused_with_a_sentence(monitoring: Monitoring) -> None:
    with (
        serve({("GET", "/api/v2/alerts"): Answer({"status": "success"})}) as wrong,
        pytest.raises(SourceRefused, match="/api/v2/alerts is no list of objects; check that url is an Alertmanager"),
    ):
        Keeper(configured(wrong, history=False), monitoring).pull(NOW)


def test_its_aliases_load_it_and_its_example_loads(tmp_path: Path) -> None:
    assert {connect.canonical(name) for name in ("alertmanager", *alertmanager.ABOUT.aliases)} == {"alertmanager"}
    text = '[[component]]\nname = "checkout-api"\nkind = "service"\n' + template.uncommented(template.block("alerts"))
    (source,) = parse(text, tmp_path / "tandem.toml").sources
    assert source.config.prometheus_url == "http://127.0.0.1:9090"
    assert alertmanager.scope(source.config) == "http://127.0.0.1:9093"
