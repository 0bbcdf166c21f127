"""PagerDuty and Opsgenie: opened, acknowledged, resolved, opened again; caps, spans, few requests; files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import _http, pagerduty
from connectors._files import item
from tandem import collect, connect, times
from tandem.cli import main
from tandem.config import Source
from tandem.connect import Common, Given, Pull, Rule, SourceRefused
from tandem.records import DAY, Event, Page
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import faults
from tests.pagerduty_server import Account
from tests.replay import Answer, serve

HERE = Path(__file__).parent / "payloads" / "pagerduty"
NOW = times.iso("2026-11-20T12:00:00Z")


@pytest.fixture
def account() -> Account:
    return Account(now=NOW)


@pytest.fixture
def url(account: Account) -> Iterator[str]:
    with serve(account.answer) as server:
        yield server.url


def configured(url: str = pagerduty.API, **more: Any) -> pagerduty.Config:
    common = Common("pagerduty", "on-call", **more.pop("common", {}))
    return pagerduty.Config(common, url=url, account="acme", **more)


def pulled(config: pagerduty.Config, since: int = NOW - 90 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(pagerduty.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def events(pages: list[Page]) -> list[Event]:
    return [record for page in pages for record in page.records]


def by_key(pages: list[Page]) -> dict[str, Event]:
    return {event.key: event for event in events(pages)}


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps(pages[-1].state))


def still(pages: list[Page]) -> tuple[Event, ...]:
    return tuple(event for event in events(pages) if event.outcome == "open")


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def parsed(name: str, **given: Any) -> list[Page]:
    one = item(HERE / name, Given(**given))
    assert pagerduty.recognise(one)
    return list(pagerduty.parse(one, configured()))


# -- one pull


def test_an_incident_is_opened_acknowledged_and_resolved(account: Account, url: str) -> None:
    account.trigger("P1", NOW - 5000, title="Checkout is down")
    account.acknowledge("P1", NOW - 4900)
    account.resolve("P1", NOW - 4000)
    account.trigger("P2", NOW - 3000, "PCART")
    account.acknowledge("P2", NOW - 2500)
    account.trigger("P3", NOW - 1000)
    found = by_key(pulled(configured(url)))
    told = {key: (one.ts, one.started, one.ended, one.outcome) for key, one in found.items()}
    assert told == {
        "P1": (NOW - 5000, NOW - 4900, NOW - 4000, "bad"),
        "P2": (NOW - 3000, NOW - 2500, None, "open"),
        "P3": (NOW - 1000, None, None, "open"),
    }
    one = found["P1"]
    assert (one.kind, one.title, one.actor) == ("incident", "Checkout is down", "Ada")
    assert one.url == "https://acme.pagerduty.com/incidents/P1"
    labels = dict(one.labels)
    assert (labels["service"], labels["team"], labels["priority"]) == ("Checkout", "Shop", "P1")
    assert (labels["status"], labels["number"], labels["urgency"]) == ("resolved", "1", "high")


def test_a_merged_incident_is_excluded_and_an_unknown_status_is_counted(account: Account, url: str) -> None:
    account.trigger("P1", NOW - 5000)
    account.resolve("P1", NOW - 4000, "merge_resolve_reason")
    account.trigger("P2", NOW - 3000)
    account.incidents["P2"]["status"] = "snoozed"
    pages = pulled(configured(url))
    assert {key: one.outcome for key, one in by_key(pages).items()} == {"P1": "excluded", "P2": "excluded"}
    assert [n for reason, n in reasons(pages).items() if '"snoozed" is unknown' in reason] == [1]
    own = configured(url, common={"status": {"snoozed": "open", "merged": "bad"}})
    assert {key: one.outcome for key, one in by_key(pulled(own)).items()} == {"P1": "bad", "P2": "open"}


@pytest.mark.parametrize("word", ["triggered", "acknowledged", "resolved"])
def test_every_status_of_an_incident_is_known(account: Account, url: str, word: str) -> None:
    account.trigger("P1", NOW - 5000)
    account.incidents["P1"]["status"] = word
    pages = pulled(configured(url))
    assert by_key(pages)["P1"].outcome == pagerduty.ABOUT.status[word]
    assert reasons(pages) == {}


def test_a_maintenance_window_is_an_event_for_each_service_and_begins_when_it_begins(
    account: Account, url: str
) -> None:
    account.maintain("W1", NOW - 9000, NOW - 8000, "PCHECK", "PCART")
    account.maintain("W2", NOW - 100, NOW + 500)
    account.maintain("W3", NOW + 500, NOW + 900)
    found = {one.key: one for one in events(pulled(configured(url)))}
    told = {key: (one.kind, one.outcome, one.ts, one.ended) for key, one in found.items()}
    assert told == {
        "W1/PCHECK": ("maintenance", "good", NOW - 9000, NOW - 8000),
        "W1/PCART": ("maintenance", "good", NOW - 9000, NOW - 8000),
        "W2/PCHECK": ("maintenance", "open", NOW - 100, None),
    }
    assert [dict(found[key].labels)["service"] for key in ("W1/PCHECK", "W1/PCART")] == ["Checkout", "Cart"]


# -- what changes later


def test_the_life_of_an_incident_over_many_pulls_is_one_object(account: Account, url: str, tmp_path: Path) -> None:
    """Acknowledged, resolved later, opened again, resolved again: one event, each time as it stands, in its bucket."""
    config = configured(url, common={"map": (Rule(("shop",), {"service": "Check*"}),)})
    source = Source(config.common, connect.load("pagerduty"), config)
    account.trigger("P1", NOW - 5 * DAY)
    steps = [
        (0, lambda at: None, ("open", None, None)),
        (DAY, lambda at: account.acknowledge("P1", at), ("open", DAY, None)),
        (2 * DAY, lambda at: account.resolve("P1", at), ("bad", DAY, 2 * DAY)),
        (3 * DAY, lambda at: account.reopen("P1", at), ("open", DAY, None)),
        (4 * DAY, lambda at: account.resolve("P1", at), ("bad", DAY, 4 * DAY)),
    ]
    begin = NOW - 5 * DAY
    with open_store(tmp_path / "tandem.duckdb") as store:
        for after, act, (outcome, started, ended) in steps:
            act(begin + after)
            account.now = begin + after + 60
            for _ in range(2):  # a replay changes nothing
                assert collect.pull(store, source, begin + after + 60).error == ""
            told = Reader(store).events(0, 1 << 40)
            assert [(one.key, one.ts) for _, one in told] == [("P1", begin)]
            [(_, one)] = told
            assert one.components == ("shop",)
            assert one.outcome == outcome
            assert (one.started, one.ended) == tuple(None if at is None else begin + at for at in (started, ended))


def test_an_older_incident_that_is_resolved_in_the_window_is_found_by_the_log(account: Account, url: str) -> None:
    account.trigger("P1", NOW - 40 * DAY)
    first = pulled(configured(url), NOW - 50 * DAY, NOW - 30 * DAY)
    account.resolve("P1", NOW - 300)
    later = pulled(configured(url), NOW - 600, NOW, first=False, state=state(first), open=still(first))
    assert [(one.key, one.outcome, one.ts, one.ended) for one in events(later)] == [
        ("P1", "bad", NOW - 40 * DAY, NOW - 300)
    ]


def test_one_that_is_opened_again_long_after_is_found_though_nobody_knew_it_open(account: Account, url: str) -> None:
    account.trigger("P1", NOW - 60 * DAY)
    account.acknowledge("P1", NOW - 60 * DAY + 50)
    account.resolve("P1", NOW - 60 * DAY + 500)
    account.reopen("P1", NOW - 100)
    [one] = events(pulled(configured(url), NOW - 600, NOW, first=False))
    assert (one.key, one.outcome, one.started, one.ended) == ("P1", "open", NOW - 60 * DAY + 50, None)


def test_what_happens_at_or_after_until_has_not_happened(account: Account, url: str) -> None:
    account.trigger("P1", NOW - 100)
    account.resolve("P1", NOW)
    account.trigger("P2", NOW)
    first = pulled(configured(url))
    assert [(one.key, one.outcome, one.ended) for one in events(first)] == [("P1", "open", None)]
    second = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=still(first))
    told = by_key(second)
    assert {key: (one.outcome, one.ended) for key, one in told.items()} == {"P1": ("bad", NOW), "P2": ("open", None)}
    assert told["P1"].revision > by_key(first)["P1"].revision


def test_a_second_pull_makes_the_fewest_requests(account: Account, url: str, capsys: Any) -> None:
    for number in range(250):
        account.trigger(f"P{number}", NOW - 20 * DAY + number * 600)
        if number % 50:
            account.resolve(f"P{number}", NOW - 20 * DAY + number * 600 + 60)
    account.maintain("W1", NOW - 100, NOW + 1000)
    first = pulled(configured(url))
    assert len(events(first)) == 251

    account.asked.clear()
    quiet = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=still(first))
    asked = sorted(one.path for one in account.asked)
    fewest = ["/incidents", "/log_entries", "/maintenance_windows"]
    print(f"second pull: {len(asked)} requests, fewest possible {len(fewest)}")
    assert asked == fewest
    assert [(one.kind, one.key) for one in events(quiet)] == [("maintenance", "W1/PCHECK")]

    account.resolve("P50", NOW + 310)
    account.asked.clear()
    third = pulled(configured(url), NOW - 300, NOW + 600, first=False, state=state(quiet), open=still(first))
    assert [one.key for one in events(third) if one.kind == "incident"] == ["P50"]
    assert sorted(one.path for one in account.asked) == sorted(
        [*fewest, "/incidents/P50", "/incidents/P50/log_entries"]
    )
    assert "fewest possible 3" in capsys.readouterr().out


def test_the_sweep_finds_what_the_log_did_not_tell(account: Account, url: str) -> None:
    """A title corrected, an incident gone, a window that came and went: nothing in the log, found within a day."""
    account.trigger("P1", NOW - 20 * DAY)
    account.trigger("P2", NOW - 50 * DAY)
    first = pulled(configured(url))
    account.incidents["P1"]["title"] = "It was the cable"
    del account.incidents["P2"]
    account.log = [one for one in account.log if one["incident"]["id"] != "P2"]
    account.maintain("W1", NOW + 10, NOW + 60)
    account.now = NOW + 300
    later = {"since": NOW - 300, "until": NOW + 300, "first": False, "state": state(first), "open": still(first)}
    assert events(pulled(configured(url), **later)) == []
    swept = pulled(configured(url), **later, sweep=True)
    told = by_key(swept)
    assert (told["P1"].title, told["P2"].outcome, told["W1/PCHECK"].outcome) == ("It was the cable", "excluded", "good")
    assert reasons(swept) == {"an open incident is no longer there and is excluded": 1}


def test_a_window_that_is_ended_early_moved_or_deleted_follows(account: Account, url: str) -> None:
    for number in ("W1", "W2", "W3"):
        account.maintain(number, NOW - 100, NOW + 1000)
    account.maintain("W4", NOW + 100, NOW + 2000)
    first = pulled(configured(url))
    account.windows["W1"]["end_time"] = times.text(NOW + 200)
    account.windows["W2"]["end_time"] = times.text(NOW + 5000)
    del account.windows["W3"]
    del account.windows["W4"]
    account.now = NOW + 1500
    more = {"first": False, "state": state(first), "open": still(first)}
    later = pulled(configured(url), NOW - 300, NOW + 1500, **more)
    assert {key: (one.outcome, one.ended) for key, one in by_key(later).items()} == {
        "W1/PCHECK": ("good", NOW + 200), "W2/PCHECK": ("open", None), "W3/PCHECK": ("excluded", NOW - 100),
    }  # fmt: skip
    assert set(state(later)["windows"]) == {"W2"}


# -- caps, paging, refusals


def test_more_than_can_be_paged_through_is_halved(account: Account, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagerduty, "CAP", 400)
    account.cap = 400
    for number in range(1100):
        account.trigger(f"P{number}", NOW - 80 * DAY + number * 77)
    pages = pulled(configured(url))
    assert sorted(by_key(pages)) == sorted(account.incidents)
    assert all(page.covered is None and not page.gaps for page in pages)


def test_more_than_the_cap_in_one_second_is_a_gap(account: Account, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagerduty, "CAP", 200)
    account.cap = 200
    for number in range(250):
        account.trigger(f"P{number}", NOW - 100)
    account.log.clear()
    pages = pulled(configured(url), NOW - 3000)
    assert len(events(pages)) == 200
    assert [(gap.since, gap.until) for gap in pages[-1].gaps] == [(NOW - 100, NOW - 99)]
    assert [(one.since, one.until) for one in pages[-1].covered or ()] == [(NOW - 3000, NOW - 100), (NOW - 99, NOW)]


def test_no_more_than_half_a_year_is_asked_for_at_once(account: Account, url: str) -> None:
    account.trigger("P1", NOW - 700 * DAY)
    account.trigger("P2", NOW - 10 * DAY)
    assert [one.key for one in events(pulled(configured(url), NOW - 800 * DAY))] == ["P1", "P2"]
    spans = [dict(one.query) for one in account.asked if one.path == "/incidents"]
    assert len(spans) == 6
    assert all({"since", "until"} <= set(one) for one in spans), "one end alone is silently a month"


def test_incidents_that_come_while_pages_are_read_lose_nothing(account: Account, url: str) -> None:
    for number in range(250):
        account.trigger(f"P{number}", NOW - 50_000 + number)
    account.before[5] = lambda: account.trigger("LATE", NOW - 60_000)
    assert set(by_key(pulled(configured(url)))) >= {f"P{number}" for number in range(250)}


def test_only_the_services_that_are_named_are_read(account: Account, url: str) -> None:
    account.trigger("P1", NOW - 500, "PCART")
    account.trigger("P2", NOW - 400, "PCHECK")
    account.trigger("P3", NOW - 40 * DAY, "PCHECK")
    account.resolve("P3", NOW - 300)
    account.maintain("W1", NOW - 100, NOW + 100, "PCHECK")
    found = pulled(configured(url, services=("PCART",)), NOW - 600, first=False)
    assert [one.key for one in events(found)] == ["P1"]


def test_a_used_up_rate_limit_waits_until_its_reset(
    account: Account, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ratelimit-reset counts seconds from now."""
    waits: list[float] = []
    monkeypatch.setattr(_http, "REAL", _http.Clock(now=lambda: float(NOW), sleep=waits.append, random=lambda: 1.0))
    account.trigger("P1", NOW - 100)
    limited = {"ratelimit-limit": "960", "ratelimit-remaining": "0", "ratelimit-reset": "42"}
    account.refusals = [Answer({"error": {"message": "Rate Limit Exceeded"}}, 429, limited)]
    assert len(events(pulled(configured(url)))) == 1
    assert waits == [42]


def test_the_token_is_sent_as_pagerduty_wants_it_and_a_wrong_one_is_told(
    account: Account, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.token = faults.TOKEN
    monkeypatch.setenv("PD", faults.TOKEN)
    account.trigger("P1", NOW - 100)
    assert len(events(pulled(configured(url, common={"token_env": "PD"})))) == 1
    monkeypatch.setenv("PD", "y" * 20)
    with pytest.raises(SourceRefused, match="the token was refused; check the environment variable PD"):
        pulled(configured(url, common={"token_env": "PD"}))


def test_the_token_is_never_kept_though_the_account_repeats_it(
    account: Account, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a title, in a name, in a refusal: it stands in no store, no outcome and nothing that is printed."""
    account.token = faults.TOKEN
    monkeypatch.setenv("PD", faults.TOKEN)
    account.trigger("P1", NOW - 100, title=f"curl -H 'Authorization: Token token={faults.TOKEN}' fails")
    account.incidents["P1"]["service"]["summary"] = f"Checkout {faults.TOKEN}"
    config = configured(url, common={"token_env": "PD", "component": ("shop",)})
    source = Source(config.common, connect.load("pagerduty"), config)
    with open_store(tmp_path / "tandem.duckdb") as store:
        good = collect.pull(store, source, NOW)
        [(_, one)] = Reader(store).events(0, 1 << 40)
        account.refusals = [Answer({"error": {"message": f"bad {faults.TOKEN}"}}, 400)]
        refused = collect.pull(store, source, NOW + 60)
    assert good.error == ""
    assert "***" in one.title
    assert refused.error
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    printed = "".join(capfd.readouterr())
    assert faults.TOKEN not in repr((good, refused, one)) + printed
    assert faults.TOKEN.encode() not in stored


def test_an_answer_of_something_else_is_refused() -> None:
    with serve(lambda asked: Answer({"items": []})) as server, pytest.raises(SourceRefused, match="check the url"):
        pulled(configured(server.url))


# -- files


def test_saved_answers_are_read_as_the_api(tmp_path: Path) -> None:
    found = by_key(parsed("incidents.json"))
    told = {key: (one.outcome, times.text(one.ts), one.started, one.ended) for key, one in found.items()}
    at = times.iso
    assert told == {
        "PT4KHLK": ("bad", "2026-10-06T21:30:42Z", None, at("2026-10-06T21:58:23Z")),
        "PRWJWZ1": ("open", "2026-10-07T06:00:00Z", at("2026-10-07T06:04:10Z"), None),
        "PMERGED": ("excluded", "2026-10-07T06:01:00Z", None, at("2026-10-07T06:05:00Z")),
    }
    both = tmp_path / "both.jsonl"
    both.write_text("".join((HERE / name).read_text().replace("\n", " ") + "\n"
                            for name in ("incidents.json", "log_entries.json")))  # fmt: skip
    one = item(both, Given())
    assert pagerduty.recognise(one)
    with_log = by_key(list(pagerduty.parse(one, configured())))
    assert with_log["PT4KHLK"].started == at("2026-10-06T21:35:10Z")


def test_maintenance_with_an_offset_is_in_utc() -> None:
    found = by_key(parsed("maintenance_windows.json"))
    assert set(found) == {"PW98YIO/PIJ90N7", "PW98YIO/PF9KMXH"}
    assert times.text(found["PW98YIO/PIJ90N7"].ts) == "2026-11-10T01:00:00Z"
    assert times.text(found["PW98YIO/PIJ90N7"].ended or 0) == "2026-11-10T03:00:00Z"


def test_deliveries_make_one_incident_as_it_stood_last() -> None:
    """Resolved, its priority changed, opened again, resolved: the end is the last resolution and nothing else."""
    pages = parsed("webhooks_v3.jsonl")
    [one] = events(pages)
    assert (one.key, one.outcome) == ("PGR0VU2", "bad")
    assert [times.text(at or 0)[11:16] for at in (one.ts, one.started, one.ended)] == ["10:00", "10:02", "12:45"]
    assert reasons(pages) == {"deliveries that tell of no change of status are left out": 1}


def test_opsgenie_is_read_from_files() -> None:
    found = {dict(one.labels)["number"]: one for one in events(parsed("opsgenie_alerts.json"))}
    told = {key: (one.outcome, one.started and one.started - one.ts, one.ended and one.ended - one.ts)
            for key, one in found.items()}  # fmt: skip
    assert told == {"1791": ("bad", 120, 3600), "1792": ("open", 60, None), "1793": ("open", None, None)}
    assert dict(found["1791"].labels)["tags"] == "OverwriteQuietHours, checkout"
    assert found["1791"].actor == "grace@example.com"
    [incident] = events(parsed("opsgenie_incidents.json"))
    assert [times.text(at or 0)[11:16] for at in (incident.ts, incident.ended)] == ["08:15", "09:45"]
    assert (incident.outcome, incident.url) == ("bad", "https://acme.app.opsgenie.com/incident/detail/70413a06")


EMPTY = json.dumps({"maintenance_windows": [
    {"id": "W", "start_time": "2026-10-06T21:30:42Z", "end_time": "2026-10-06T22:30:42Z", "services": []}
]})  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ('{"incidents": [{"incident_number": 1, "created_at": "2026-10-06T21:30:42Z"}]}', "an object has no id"),
        ('{"incidents": [{"id": "P", "incident_number": 1}]}', "an object has no created_at"),
        ('{"incidents": [{"id": "P", "incident_number": 1, "created_at": "1970-01-01T00:00:00Z"}]}', "no created_at"),
        ('{"incidents": [{"id": "P", "incident_number": 1, "created_at": "2026-10-06T21:30:42"}]}', "created_at: "),
        ('{"incidents": [7], "incident_key": null}', "an object stands where none can be read"),
        (EMPTY, "names no service"),
    ],
)
def test_what_cannot_be_counted_is_rejected_with_its_reason(tmp_path: Path, broken: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(broken)
    one = item(path, Given())
    assert pagerduty.recognise(one)
    pages = list(pagerduty.parse(one, configured()))
    assert events(pages) == []
    assert [said in reason for reason in reasons(pages)] == [True]


def test_a_file_of_another_account_is_not_ours() -> None:
    one = item(HERE / "incidents.json", Given())
    assert pagerduty.belongs(one, configured())
    assert not pagerduty.belongs(one, pagerduty.Config(Common("pagerduty", "x"), account="other"))
    assert not pagerduty.recognise(item(HERE / "PROVENANCE.md", Given()))


def test_files_are_imported_under_either_name_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text(
        '[[source]]\nconnector = "opsgenie"\nname = "on-call"\naccount = "acme"\ncomponent = "shop"\n'
    )
    run = CliRunner().invoke
    for paths in ([HERE], [HERE], [HERE / "incidents.json"]):
        done = run(main, ["import", *map(str, paths)])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        told = [one for _, one in Reader(store).events(0, 1 << 40)]
    kinds = [one.kind for one in told]
    assert (kinds.count("incident"), kinds.count("maintenance")) == (8, 2)
    assert len({(one.kind, one.key) for one in told}) == 10
    [one] = [one for one in told if one.key == "PT4KHLK"]
    assert one.started == times.iso("2026-10-06T21:35:10Z"), "a file without the log takes nothing back"
