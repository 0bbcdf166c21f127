"""New Relic: counts against the events themselves, aligned pages, errors inside 200, late events, saved answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _files, _http, newrelic
from connectors._latency import EDGES, LAYOUT
from connectors._newrelic import Query, nrql
from tandem import collect, exported
from tandem import config as configuration
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import DAY, Event, Fact, Histogram, Page, Ratio
from tandem.store.file import open_store
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.faults_newrelic import APP, CONDITIONS, SIGNALS, T0, config, deployment, events, incident
from tests.newrelic_server import NewRelic
from tests.replay import Answer, Server, serve

HERE = Path(__file__).parent / "payloads" / "newrelic"
PATIENT = _http.Limits(tries=4)
"""Limits that a busy computer does not reach: requests are counted."""
SAVED = 1_795_200_000
UNTIL = T0 + 30 * 3600 + 100


@pytest.fixture
def account() -> NewRelic:
    return NewRelic(events(800, 30), CONDITIONS)


def pulled(
    relic: NewRelic, /, *signals: Query, since: int = T0, until: int = UNTIL, first: bool = True, **keys: Any
) -> tuple[list[Page], Server]:
    given = {name: keys.pop(name) for name in ("sweep", "open") if name in keys}
    with virtual(PATIENT), serve(relic.answer) as server:
        pull = Pull(since, until, until, first=first, **given)
        return list(newrelic.fetch(config(server.url, *signals, **keys), pull)), server


def values(pages: Sequence[Page], signal: str) -> dict[tuple[str, str, int], Any]:
    facts = [one for page in pages for one in page.records if isinstance(one, Fact)]
    return {(f.series.component, f.series.version, f.ts): f.value for f in facts if f.series.signal == signal}


def told(pages: Sequence[Page]) -> dict[str, Event]:
    return {one.key: one for page in pages for one in page.records if isinstance(one, Event)}


def reasons(pages: Sequence[Page]) -> dict[str, int]:
    return {one.reason: one.count for page in pages for one in page.findings}


def by_hand(rows: Sequence[dict[str, Any]], chosen: Callable[[Any], bool], good: Any) -> dict[int, Ratio]:
    found: dict[int, Ratio] = {}
    for one in rows:
        if chosen(one):
            bucket = one["timestamp"] // 300_000 * 300
            found[bucket] = found.get(bucket, Ratio()) + Ratio(int(good(one)), 1)
    return found


# --- counts


def test_counts_are_those_of_the_events(account: NewRelic) -> None:
    pages, _ = pulled(account)
    found = {ts: value for (_, _, ts), value in values(pages, "request_success").items()}
    assert found == by_hand(account.events, CONDITIONS[APP], lambda one: not one["error"])
    checks = {ts: value for (_, _, ts), value in values(pages, "availability").items()}
    assert checks == by_hand(
        account.events, lambda one: one["type"] == "SyntheticCheck", lambda one: one["result"] == "SUCCESS"
    )


def test_durations_lie_in_our_bins(account: NewRelic) -> None:
    """0.3 s is within 0.3 s; binned by numpy from the events."""
    pages, _ = pulled(account)
    mine = [one for one in account.events if one.get("appName") == "shop"]
    found = values(pages, "latency")
    assert len(found) > 50
    for (_, _, ts), value in found.items():
        took = [one["duration"] for one in mine if one["timestamp"] // 300_000 * 300 == ts]
        places = np.searchsorted(EDGES, took, side="left")
        counts = {int(place): int((places == place).sum()) for place in np.unique(places)}
        assert value == Histogram(LAYOUT, counts, {})


@pytest.mark.parametrize(("unit", "scale"), [("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_bounds_are_written_in_the_unit_of_the_attribute(account: NewRelic, unit: Any, scale: int) -> None:
    account.events = [{"type": "T", "timestamp": T0 * 1000, "took": round(edge * scale, 6)} for edge in EDGES]
    query = Query("latency", component="shop", from_="T", duration="took", unit=unit)
    [found] = values(pulled(account, query)[0], "latency").values()
    assert dict(found.counts) == dict.fromkeys(range(len(EDGES)), 1)


def test_components_and_versions_are_facets(account: NewRelic) -> None:
    query = Query("request_success", component_from="appName", bad="error IS true", version="tier")
    found = values(pulled(account, query)[0], "request_success")
    for app in ("shop", "cart"):
        for tier in "ab":
            chosen = [one for one in account.events if (one.get("appName"), one.get("tier")) == (app, tier)]
            mine = [value for (component, version, _), value in found.items() if (component, version) == (app, tier)]
            assert sum(value.total for value in mine) == len(chosen)
            assert sum(value.good for value in mine) == sum(not one["error"] for one in chosen)


def test_facets_beyond_the_most_are_said(account: NewRelic) -> None:
    account.facets = 1
    query = Query("request_success", component_from="appName", bad="error IS true")
    pages, _ = pulled(account, query)
    kept = sum(value.total for value in values(pages, "request_success").values())
    [(reason, left)] = [(r, n) for r, n in reasons(pages).items() if "beyond the most values of appName" in r]
    assert reason
    assert kept + sum(one.count for page in pages for one in page.findings) == 640
    assert left


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"total": 2.5, "bad": 0}, "no whole number"),
        ({"total": 2, "bad": 3}, "a part is larger than its total"),
        ({"total": None, "bad": 0}, "no whole number"),
    ],
)
def test_counts_that_are_none_are_rejected(account: NewRelic, row: dict[str, Any], reason: str) -> None:
    """As sampled events give them; the other buckets land."""
    whole, _ = pulled(account, SIGNALS[0], deployments=False, incidents=False)

    def fractions(asked: Any) -> Answer:
        good = account.answer(asked)
        rows = good.body["data"]["actor"]["account"]["request_success_0"]["results"]
        rows[0].update(row)
        return good

    with virtual(), serve(fractions) as server:
        given = config(server.url, SIGNALS[0], deployments=False, incidents=False)
        pages = list(newrelic.fetch(given, Pull(T0, UNTIL, UNTIL, first=True)))
    assert sum(one.count for page in pages for one in page.findings if reason in one.reason) == 2
    expected = {key: value for key, value in values(whole, "request_success").items() if key[2] not in (T0, T0 + DAY)}
    found = {key: value for key, value in values(pages, "request_success").items() if key[2] not in (T0, T0 + DAY)}
    assert found == expected


# --- windows


def test_pages_are_aligned_days_of_few_requests(account: NewRelic, capsys: pytest.CaptureFixture[str]) -> None:
    """Five queries of a request; no window has more than the 366 buckets a query may have."""
    pages, server = pulled(account, since=T0 - 3 * DAY)
    spans = sorted({tuple(map(int, text.rpartition("SINCE ")[2].split(" UNTIL "))) for text in account.queries})
    assert [(low // 1000 - T0, high // 1000 - T0) for low, high in spans] == [
        (-3 * DAY, -2 * DAY), (-2 * DAY, -DAY), (-DAY, 0), (0, DAY), (DAY, UNTIL - T0),
    ]  # fmt: skip
    assert len(server.asked) == 5
    asked = len(server.asked)
    _, server = pulled(account, since=UNTIL - 600, until=UNTIL + 300, first=False)
    with capsys.disabled():
        print(f"\nnewrelic: first pull of 5 days {asked} requests, second {len(server.asked)}, the fewest possible 5 "
              "and 1", end=" ")  # fmt: skip
    assert len(server.asked) == 1
    assert [(c.since, c.until) for page in pages for c in page.covered or ()][-1] == (T0 + DAY, UNTIL)


def test_the_last_buckets_are_counted_again_and_the_sweep_finds_the_rest(account: NewRelic) -> None:
    first, _ = pulled(account)
    known = values(first, "request_success")
    for minutes in (14, 200):
        account.events.append({"type": "Transaction", "timestamp": (UNTIL - minutes * 60) * 1000, "appName": "shop",
                               "error": True, "duration": 0.1})  # fmt: skip
    pages, _ = pulled(account, since=UNTIL - 600, until=UNTIL + 300, first=False)
    changed = {key: value for key, value in values(pages, "request_success").items() if known.get(key) != value}
    bucket = (UNTIL - 840) // 300 * 300
    assert changed == {("shop", "", bucket): known.get(("shop", "", bucket), Ratio()) + Ratio(0, 1)}
    swept, _ = pulled(account, since=UNTIL - 600, until=UNTIL + 300, first=False, sweep=True)
    expected = by_hand(account.events, CONDITIONS[APP], lambda one: not one["error"])
    assert {ts: value for (_, _, ts), value in values(swept, "request_success").items()} == {
        ts: value for ts, value in expected.items() if ts >= min(ts for _, _, ts in values(swept, "request_success"))
    }  # fmt: skip
    assert len(values(swept, "request_success")) > 30


def test_what_is_kept_no_longer_is_a_gap(account: NewRelic) -> None:
    pages, server = pulled(account, since=T0 - 30 * DAY, retention_days=2)
    [gap] = [gap for page in pages for gap in page.gaps]
    assert (gap.since, gap.reason) == (T0 - 30 * DAY, "New Relic keeps these events for 2 days")
    assert UNTIL - 2 * DAY < gap.until <= UNTIL - 2 * DAY + 300
    assert min(c.since for page in pages for c in page.covered or ()) == gap.until
    assert len(server.asked) == 3


@pytest.mark.parametrize("slow", [6 * 3600, 2 * 3600])
def test_a_query_that_times_out_is_asked_in_shorter_windows(account: NewRelic, slow: int) -> None:
    whole, _ = pulled(account)
    account.slow = slow
    pages, _ = pulled(account)
    for signal in ("request_success", "latency", "availability"):
        assert values(pages, signal) == values(whole, signal)


def test_a_query_that_times_out_for_an_hour_is_down(account: NewRelic) -> None:
    account.slow = 60
    with pytest.raises(SourceDown, match=r'gave up \("Your query timed out"\), even for an hour'):
        pulled(account)


def test_more_events_than_one_answer_holds_are_asked_in_shorter_windows(
    account: NewRelic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newrelic, "MOST", 10)
    account.most = 10
    account.events += [deployment(f"d{n:03}", T0 + n * 900, f"1.{n}") for n in range(100)]
    assert len(told(pulled(account)[0])) == 100


# --- errors


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("error_syntax", SourceRefused, r"cannot answer a query \(\"NRQL Syntax Error.*correct the \[\[source.signal"),
        ("error_access", SourceRefused, r"refuses the key \(\"User does not have access.*check token_env, account"),
        ("error_timeout", SourceDown, r"gave up \(\"NRDB query timed out\"\)"),
    ],
)
def test_errors_inside_a_200_are_no_numbers(name: str, kind: type[Exception], reason: str) -> None:
    body = json.loads((HERE / f"{name}.json").read_text())
    with virtual(), serve(lambda asked: Answer(body)) as server, pytest.raises(kind, match=reason):
        list(newrelic.fetch(config(server.url), Pull(T0, T0 + 3600, T0 + 3600)))


def test_an_error_beside_good_data_counts_nothing(account: NewRelic) -> None:
    account.errors = [{"message": "NRDB had a problem", "extensions": {"errorClass": "SERVER_ERROR"}}]
    with pytest.raises(SourceDown, match=r'answered with an error \("NRDB had a problem"\), so nothing of it counts'):
        pulled(account)


def test_another_account_or_time_is_no_answer(account: NewRelic) -> None:
    with pytest.raises(SourceRefused, match="check token_env, account and region"):
        pulled(account, account=8)
    account.shift = 300
    with pytest.raises(SourceDown, match="answered for another time than it was asked"):
        pulled(account)


def test_the_key_goes_only_into_its_header(account: NewRelic) -> None:
    account.key = TOKEN
    pages, server = pulled(account, token_env=TOKEN_ENV)
    assert values(pages, "request_success")
    assert {asked.headers["api-key"] for asked in server.asked} == {TOKEN}
    assert not any("authorization" in asked.headers for asked in server.asked)
    assert TOKEN not in repr(pages)
    account.key = "another"
    with pytest.raises(SourceRefused) as raised:
        pulled(account, token_env=TOKEN_ENV)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, "give exactly one of bad, good and duration"),
        ({"bad": "error IS true SINCE 1 day ago"}, 'the clause "SINCE" is set by Tandem'),
        ({"bad": "error IS true", "where": "x = 1 facet host"}, 'the clause "facet" is set by Tandem'),
        ({"bad": "error IS true", "component_from": "appName"}, "give component or component_from"),
        ({"bad": "a" * 5000}, "longer than the 4,096 characters"),
    ],
)
def test_a_signal_that_cannot_be_asked_is_refused(keys: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Query("request_success", component="shop", **keys)  # type: ignore[arg-type]


def test_a_clause_in_quotes_is_a_value() -> None:
    assert "'no limit'" in nrql(Query("volume", component="s", where="plan = 'no limit'"), T0, T0 + 300)


def test_without_an_account_it_says_what_to_do(account: NewRelic) -> None:
    with pytest.raises(SourceRefused, match='set account = NUMBER for the source "nr"'):
        pulled(account, account=0)


# --- deployments and incidents


def test_incidents_open_and_close(account: NewRelic) -> None:
    account.events += incident("i1", T0 + 600, T0 + 900) + incident("i2", UNTIL - 600)
    pages, _ = pulled(account)
    found = told(pages)
    assert {key: (one.outcome, one.ts, one.ended) for key, one in found.items()} == {
        "i1": ("bad", T0 + 600, T0 + 900), "i2": ("open", UNTIL - 600, None),
    }  # fmt: skip
    assert dict(found["i1"].labels) == {"entity.name": "shop", "priority": "critical", "account": "7"}
    account.events += incident("i2", UNTIL - 600, UNTIL + 60)[1:]
    later, server = pulled(account, since=UNTIL + 7000, until=UNTIL + 7600, first=False, open=(found["i2"],))
    assert {key: (one.outcome, one.ended) for key, one in told(later).items()} == {"i2": ("bad", UNTIL + 60)}
    assert told(later)["i2"].revision > found["i2"].revision
    assert len(server.asked) == 2


def test_an_incident_over_two_pages_is_told_once(account: NewRelic) -> None:
    """Opened on one day and closed on the next: one pull gives one value for its key."""
    account.events += incident("i1", T0 + DAY - 60, T0 + DAY + 60)
    pages, _ = pulled(account)
    said = [one for page in pages for one in page.records if isinstance(one, Event)]
    assert [(one.key, one.outcome, one.ended) for one in said] == [("i1", "bad", T0 + DAY + 60)]


@pytest.mark.parametrize(("status", "outcome"), [({}, "excluded"), ({"recorded": "good"}, "good")])
def test_whether_a_deployment_succeeded_is_not_known_unless_said(
    account: NewRelic, status: dict[str, Any], outcome: str
) -> None:
    account.events.append(deployment("d1", T0 + 60, "1.4", description="Roll out"))
    account.events.append({**deployment("", T0 + 90, "1.5"), "type": "ChangeTrackingEvent", "changeTrackingId": "c1",
                           "category": "Deployment"})  # fmt: skip
    account.events.append({**deployment("d9", T0 + 95, "1.5"), "category": "Feature Flag"})
    found = told(pulled(account, common={"status": status})[0])
    assert {key: (one.kind, one.outcome, one.version) for key, one in found.items()} == {
        "d1": ("deployment", outcome, "1.4"), "c1": ("deployment", outcome, "1.5"),
    }  # fmt: skip
    assert (found["d1"].commit, found["d1"].actor, found["d1"].title) == ("abc123", "ada", "Roll out")


# --- saved answers


def parsed(name: str, *signals: Query, component: tuple[str, ...] = ("shop",)) -> list[Page]:
    common = Common("newrelic", "nr", component=component)
    given = newrelic.Config(common, 7, signal=signals)
    return list(newrelic.parse(_files.item(HERE / name, Given()), given))


def test_saved_counts_are_those_of_the_file() -> None:
    """The last bucket was not over when it was saved, and an empty one is no bucket."""
    pages = parsed("nrql_timeseries.json")
    assert values(pages, "request_success") == {
        ("", "", SAVED): Ratio(119, 120), ("", "", SAVED + 600): Ratio(94, 98),
    }  # fmt: skip
    assert reasons(pages) == {"the last bucket was not over when the answer was saved, and is left out": 1}
    assert {(c.since, c.until, c.signal) for page in pages for c in page.covered or ()} == {
        (SAVED + 300 * n, SAVED + 300 * n + 300, "request_success") for n in range(3)
    }  # fmt: skip


def test_saved_bounds_make_the_bins() -> None:
    found = values(parsed("nrql_latency.json"), "latency")
    layout = replace(LAYOUT, edges=(0.1, 0.3, 1.0))
    assert found == {
        ("", "", SAVED): Histogram(layout, {0: 60, 1: 40, 2: 18, 3: 2}, {}),
        ("", "", SAVED + 600): Histogram(layout, {0: 10, 1: 40, 2: 48}, {}),
    }  # fmt: skip


def test_saved_facets_name_components() -> None:
    pages = parsed("nrql_facets.json", Query("availability", component_from="appName", good="ok IS true"))
    assert values(pages, "availability") == {
        (name, "", SAVED + 300 * n): Ratio(9, 10 * (n + 1)) for name in ("shop", "cart") for n in range(2)
    }  # fmt: skip
    assert reasons(pages) == {"events lie beyond the most values of appName that New Relic tells apart": 6}


def test_saved_events() -> None:
    found = told(parsed("events.json"))
    assert {key: (one.kind, one.outcome) for key, one in found.items()} == {
        "0193aa": ("incident", "bad"), "0193bb": ("incident", "open"), "d-1": ("deployment", "excluded"),
        "c-9": ("deployment", "excluded"),
    }  # fmt: skip
    assert found["0193aa"].ended == SAVED + 960


def test_an_unknown_status_is_excluded_and_counted(tmp_path: Path) -> None:
    """And what [source.status] says of a word counts."""
    document = json.loads((HERE / "events.json").read_text())
    for row in document["data"]["actor"]["account"]["incidents"]["results"]:
        row["event"] = "escalate"
    (tmp_path / "x.json").write_text(json.dumps(document))
    pages = parsed(str(tmp_path / "x.json"))
    assert {one.outcome for one in told(pages).values()} == {"excluded"}
    assert [n for reason, n in reasons(pages).items() if '"escalate" is unknown' in reason] == [3]
    given = newrelic.Config(Common("newrelic", "nr", component=("shop",), status={"escalate": "bad"}), 7)
    known = list(newrelic.parse(_files.item(tmp_path / "x.json", Given()), given))
    assert [one.outcome for one in told(known).values() if one.kind == "incident"] == ["bad", "bad"]


def test_what_vanished_is_taken_back_where_asked(tmp_path: Path, account: NewRelic) -> None:
    """With deletions = "restate" a bucket that New Relic no longer counts is gone; without, it stays."""
    sums = {}
    for deletions in ("keep", "restate"):
        account.events = events(300, 30)
        with serve(account.answer) as server, open_store(tmp_path / f"{deletions}.duckdb") as store:
            given = config(server.url, SIGNALS[0], common={"deletions": deletions, "component": ("shop",)})
            source = configuration.Source(given.common, newrelic, given)
            assert not collect.pull(store, source, UNTIL).error
            account.events = [one for one in account.events if one["timestamp"] < (UNTIL - 300) * 1000]
            assert not collect.pull(store, source, UNTIL + 60).error
            row = store.cursor().execute(
                "SELECT sum(total) FROM ratio WHERE ts >= ?", [UNTIL // 300 * 300 - 300]
            ).fetchone()  # fmt: skip
        sums[deletions] = row[0] if row else None
    assert sums["restate"] < sums["keep"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda row: row.update(beginTimeSeconds=SAVED + 26), "a bucket is none of 5 minutes"),
        (lambda row: row.update(endTimeSeconds=SAVED + 600), "a bucket is none of 5 minutes"),
        (lambda row: row.update(total="many"), "no whole number"),
    ],
)
def test_saved_rows_that_are_no_buckets_are_rejected(change: Any, reason: str, tmp_path: Path) -> None:
    document = json.loads((HERE / "nrql_timeseries.json").read_text())
    change(document["data"]["actor"]["account"]["nrql"]["results"][0])
    (tmp_path / "x.json").write_text(json.dumps(document))
    pages = parsed(str(tmp_path / "x.json"))
    assert values(pages, "request_success") == {("", "", SAVED + 600): Ratio(94, 98)}
    assert any(reason in found for found in reasons(pages))


@pytest.mark.parametrize("name", ["nrql_timeseries.json", "nrql_latency.json", "nrql_facets.json", "events.json"])
def test_saved_answers_are_recognised(name: str) -> None:
    assert newrelic.recognise(_files.item(HERE / name, Given()))
    assert not newrelic.recognise(_files.item(HERE / "PROVENANCE.md", Given()))


# --- through the store


def test_pulls_and_saved_answers_are_one_source(tmp_path: Path, account: NewRelic) -> None:
    """Pulled twice with late events in between, and the same answers imported: every event counts once."""
    account.events += incident("i1", T0 + 600, T0 + 900)
    with serve(account.answer) as server:
        text = newrelic.ABOUT.example.replace('token_env = "NEW_RELIC_API_KEY"', f'url = "{server.url}"')
        text = text.replace("1234567", "7").replace("'checkout'", "'shop'").replace('component = "checkout-api"\n', "")
        text = text.replace('  signal = "', '  component = "shop"\n  signal = "')
        text = text.replace("where = \"monitorName = 'shop'\"\n", "")
        (tmp_path / "tandem.toml").write_text(f'[[source]]\ncomponent = "shop"\n{text}')
        home = configuration.load(tmp_path / "tandem.toml")
        with open_store(tmp_path / "t.duckdb") as store:
            for minutes in (0, 5, 10):
                [outcome] = collect.sync(store, home, UNTIL + 60 * minutes)
                assert not outcome.error, outcome.error
                account.events.append({"type": "Transaction", "timestamp": (UNTIL - 30) * 1000, "appName": "shop",
                                       "error": True, "duration": 0.1})  # fmt: skip
            account.events.pop()
            saved = {
                f"{query.signal}_{number}": account._run(nrql(query, T0, T0 + DAY))
                for number, query in enumerate(home.sources[0].config.signal)
            }
            (tmp_path / "saved.json").write_text(json.dumps({"data": {"actor": {"account": saved}}}))
            for found in exported.recognise([tmp_path / "saved.json"], home, Given(), None):
                assert found.source is home.sources[0]
                assert found.item is not None
                assert not collect.import_item(store, found.source, found.item, UNTIL + 900).failed
            rows = store.cursor().execute(
                "SELECT ts, sum(good), sum(total) FROM ratio f JOIN series s ON s.id = f.series "
                "WHERE s.signal = 'request_success' GROUP BY ALL HAVING sum(total) > 0 ORDER BY ALL"
            ).fetchall()  # fmt: skip
    expected = by_hand(account.events, CONDITIONS[APP], lambda one: not one["error"])
    assert rows == [(ts, one.good, one.total) for ts, one in sorted(expected.items())]
