"""Elasticsearch and OpenSearch: counts against the documents themselves, paging, partial answers, late documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _http, elasticsearch
from connectors._elastic_queries import Query
from connectors._elastic_server import Incidents
from connectors._latency import EDGES, LAYOUT
from tandem import collect, connect
from tandem import config as configuration
from tandem.bins import DURATION
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import DAY, Event, Histogram, Page, Ratio
from tandem.store.file import open_store
from tests.elastic_server import Elastic
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.faults_elasticsearch import BAD, HOURS, QUERIES, SIGNALS, T0, TYPES, config, incident, requests
from tests.replay import Server, serve

UNTIL = T0 + HOURS * 3600
PATIENT = _http.Limits(tries=4)
"""Limits that a busy computer does not reach: requests are counted."""
SHOP = "service.name:shop"


@pytest.fixture
def elastic() -> Elastic:
    return Elastic(requests(600), QUERIES, TYPES)


def pulled(
    elastic: Elastic, *signals: Query, since: int = T0, until: int = UNTIL, state: Any = None, **keys: Any
) -> tuple[list[Page], Server]:
    given = {name: keys.pop(name) for name in ("first", "sweep", "open") if name in keys}
    given.setdefault("first", state is None)
    with virtual(PATIENT), serve(elastic.answer) as server:
        pull = Pull(since, until, until, state=state, **given)
        return list(elasticsearch.fetch(config(server.url, *signals, **keys), pull)), server


def values(pages: Sequence[Page], signal: str) -> dict[tuple[str, str, str, int], Any]:
    facts = [one for page in pages for one in page.records if not isinstance(one, Event)]
    return {
        (one.series.component, one.series.version, one.series.segment, one.ts): one.value
        for one in facts
        if one.series.signal == signal
    }


def state(pages: Sequence[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def reasons(pages: Sequence[Page]) -> dict[str, int]:
    return {one.reason: one.count for page in pages for one in page.findings}


def by_hand(documents: Sequence[dict[str, Any]], chosen: Callable[[Any], bool]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for one in documents:
        if chosen(one):
            bucket = one["@timestamp"] // 300_000 * 300
            good, total = found.get(bucket, (0, 0))
            found[bucket] = (good + (one["status"] < 500), total + 1)
    return found


def binned(documents: Sequence[dict[str, Any]], bucket: int) -> dict[int, int]:
    took = [one["took"] for one in documents if one["@timestamp"] // 300_000 * 300 == bucket]
    places = np.searchsorted([round(edge * 1e9) for edge in EDGES], took, side="left")
    return {int(place): int((places == place).sum()) for place in np.unique(places)}


# --- counts


def test_counts_are_those_of_the_documents(elastic: Elastic) -> None:
    pages, _ = pulled(elastic)
    mine = [one for one in elastic.documents if one["service.name"] == "shop"]
    expected = by_hand(elastic.documents, QUERIES[SHOP])
    found = values(pages, "request_success")
    assert {ts: (ratio.good, ratio.total) for (_, _, _, ts), ratio in found.items()} == expected
    for (_, _, _, ts), histogram in values(pages, "latency").items():
        assert histogram == Histogram(LAYOUT, binned(mine, ts), {})
    assert set(EDGES) <= set(DURATION.edges)
    assert [(c.since, c.until) for page in pages for c in page.covered or ()] == [(T0, UNTIL)]


def test_a_bound_itself_lies_in_the_bin_below_it(elastic: Elastic) -> None:
    """300 ms is within 300 ms: of whole numbers by shifting the server's half-open ranges, of others by filters."""
    base = {"@timestamp": T0 * 1000, "status": 200, "service.name": "shop"}
    elastic.documents = [{**base, "took": n, "seconds": n / 1e9} for n in (0, 1, 300_000_000, 300_000_001)]
    place = EDGES.index(0.3)
    expected = {0: 2, place: 1, place + 1: 1}
    for duration, unit in (("took", "ns"), ("seconds", "s")):
        query = Query("latency", component="shop", duration=duration, unit=unit)  # type: ignore[arg-type]
        pages, _ = pulled(elastic, query)
        [found] = values(pages, "latency").values()
        assert dict(found.counts) == expected


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 1000), ("us", 1_000_000)])
def test_whole_numbers_of_any_unit_are_cut_exactly(elastic: Elastic, unit: Any, scale: int) -> None:
    took = [n for edge in EDGES for n in (int(edge * scale) - 1, int(edge * scale), int(edge * scale) + 1) if n >= 0]
    elastic.documents = [{"@timestamp": T0 * 1000, "took": n} for n in took]
    pages, _ = pulled(elastic, Query("latency", component="shop", duration="took", unit=unit))
    [found] = values(pages, "latency").values()
    places = np.searchsorted(np.array(EDGES), np.array(took) / scale, side="left")
    assert dict(found.counts) == {int(place): int((places == place).sum()) for place in np.unique(places)}


def test_what_has_no_duration_or_a_negative_one_is_said(elastic: Elastic) -> None:
    base = {"@timestamp": T0 * 1000}
    elastic.documents = [{**base, "took": 5}, {**base, "took": -5}, base]
    pages, _ = pulled(elastic, Query("latency", component="shop", duration="took"))
    assert [dict(found.counts) for found in values(pages, "latency").values()] == [{0: 1}]
    assert reasons(pages) == {"took is negative": 1, "documents have no took": 1}


def test_components_versions_and_segments_come_from_fields(elastic: Elastic) -> None:
    for number, one in enumerate(elastic.documents):
        one["build"] = f"v{number % 2}"
        if number % 7 == 0:
            del one["host"]
    query = Query("request_success", component_from="service.name", bad=BAD, version="build", segments=("host",))
    found = values(pulled(elastic, query)[0], "request_success")
    for service in ("shop", "cart"):
        for build in ("v0", "v1"):
            for host in ("", "a", "b", "c"):
                chosen = [one for one in elastic.documents if one["service.name"] == service and one["build"] == build
                          and (not host or one.get("host") == host)]  # fmt: skip
                mine = [value for (c, v, s, _), value in found.items()
                        if (c, v, s) == (service, build, f"host={host}" if host else "")]  # fmt: skip
                assert sum(one.total for one in mine) == len(chosen)
                assert sum(one.good for one in mine) == sum(one["status"] < 500 for one in chosen)


def test_good_ones_may_be_named_instead(elastic: Elastic) -> None:
    bad = values(pulled(elastic, Query("availability", component="shop", bad=BAD))[0], "availability")
    good = values(pulled(elastic, Query("availability", component="shop", good="status:<500"))[0], "availability")
    assert bad == good


# --- paging and limits


@pytest.mark.parametrize(("most", "status"), [(65_536, 400), (2_000, 400), (90, 400), (300, 503)])
def test_a_cluster_that_allows_fewer_buckets_is_asked_in_smaller_pages(
    elastic: Elastic, most: int, status: int
) -> None:
    """Also as versions before 7.16 refuse, as if they were overloaded; what was learnt is kept."""
    whole, _ = pulled(elastic)
    elastic.max_buckets, elastic.too_many = most, status
    pages, _ = pulled(elastic)
    assert values(pages, "latency") == values(whole, "latency")
    assert values(pages, "request_success") == values(whole, "request_success")
    if most < 65_536:
        assert state(pages)["buckets"] <= most
        before = elastic.searches
        pulled(elastic, since=UNTIL - 600, state=state(pages))
        assert elastic.searches - before <= 8 * 46 // min(most, state(pages)["buckets"]) + 8


def test_a_cluster_that_allows_nothing_says_what_to_do(elastic: Elastic) -> None:
    elastic.max_buckets = 20
    with pytest.raises(SourceRefused, match=r"allows fewer buckets in one answer; raise search\.max_buckets"):
        pulled(elastic)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"timed_out": True}, "ran out of its time, so nothing of it counts"),
        ({"skipped": 1}, "a remote cluster was skipped"),
    ],
)
def test_a_partial_answer_is_no_number(elastic: Elastic, keys: dict[str, Any], reason: str) -> None:
    for name, value in keys.items():
        setattr(elastic, name, value)
    with pytest.raises(SourceDown, match=reason):
        pulled(elastic)


def test_failed_shards_are_asked_again_and_never_counted(elastic: Elastic) -> None:
    elastic.failed_shards = 2
    with pytest.raises(SourceDown, match="503"):
        pulled(elastic)
    with virtual(), serve(_ignoring(elastic)) as server, pytest.raises(SourceDown, match="2 of 4 shards failed"):
        list(elasticsearch.fetch(config(server.url), Pull(T0, UNTIL, UNTIL, first=True)))


def _ignoring(elastic: Elastic) -> Any:
    """A server that answers in part whatever it is told."""
    return lambda asked: elastic.answer(replace(asked, query=tuple(p for p in asked.query if "partial" not in p[0])))


def test_documents_that_come_in_between_two_pages_change_no_number(
    elastic: Elastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors._elastic_server.BUCKETS", 1_500)
    more = {"@timestamp": T0 * 1000, "took": 5, "status": 200, "service.name": "shop"}
    elastic.before = {2: lambda: elastic.documents.append(more)}
    expected = by_hand(elastic.documents, QUERIES[SHOP])
    found = values(pulled(elastic)[0], "request_success")
    assert elastic.searches == 3
    assert {ts: (one.good, one.total) for (_, _, _, ts), one in found.items()} == expected


# --- what comes in late


def test_late_documents_change_their_bucket_and_no_other(elastic: Elastic) -> None:
    """Within 30 minutes at the next pull, within a day by the sweep; nothing is counted twice."""
    first, _ = pulled(elastic)
    known = values(first, "request_success")
    for minutes in (25, 240):
        elastic.documents.append({"@timestamp": (UNTIL - minutes * 60) * 1000, "took": 9, "status": 500,
                                  "service.name": "shop"})  # fmt: skip
    later = UNTIL + 300
    pages, _ = pulled(elastic, since=UNTIL - 600, until=later, state=state(first))
    changed = {key: value for key, value in values(pages, "request_success").items() if known.get(key) != value}
    bucket = (UNTIL - 1500) // 300 * 300
    before = known.get(("shop", "", "", bucket), Ratio())
    assert changed == {("shop", "", "", bucket): before + Ratio(0, 1)}
    swept, _ = pulled(elastic, since=later - 600, until=later + 300, state=state(pages), sweep=True)
    found = values(swept, "request_success")
    assert found == {key: Ratio(*by_hand(elastic.documents, QUERIES[SHOP])[key[3]]) for key in found}
    assert len(found) >= len(known)


def test_with_the_time_of_arrival_any_late_document_is_found(
    elastic: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the buckets in which something came in are asked for again; requests against the fewest possible."""
    first, _ = pulled(elastic, ingested="event.ingested")
    known = values(first, "request_success")
    late = {"@timestamp": (T0 + 700) * 1000, "took": 9, "status": 500, "service.name": "shop"}
    elastic.documents.append({**late, "event.ingested": (UNTIL + 100) * 1000})
    pages, server = pulled(elastic, since=UNTIL - 600, until=UNTIL + 300, state=state(first), ingested="event.ingested")
    changed = {key: value for key, value in values(pages, "request_success").items() if known.get(key) != value}
    before = known.get(("shop", "", "", T0 + 600), Ratio())
    assert changed == {("shop", "", "", T0 + 600): before + Ratio(0, 1)}
    with capsys.disabled():
        print(f"\nelasticsearch, a late document: {len(server.asked)} requests, the fewest possible 2", end=" ")
    assert len(server.asked) <= 3
    quiet, server = pulled(elastic, since=UNTIL - 300, until=UNTIL + 600, state=state(pages), ingested="event.ingested")
    assert len(server.asked) == 1
    assert [(c.since, c.until) for page in quiet for c in page.covered or ()] == [(UNTIL - 300, UNTIL + 600)]


def test_a_second_pull_makes_the_fewest_requests(elastic: Elastic, capsys: pytest.CaptureFixture[str]) -> None:
    """Both signals of the same documents come in one answer; types of fields are asked for once a day."""
    first, _ = pulled(elastic)
    _, server = pulled(elastic, since=UNTIL - 600, until=UNTIL + 300, state=state(first))
    with capsys.disabled():
        print(f"\nelasticsearch, second pull: {len(server.asked)} requests, the fewest possible 1", end=" ")
    assert len(server.asked) == 1


def test_a_pull_of_its_own_since_hides_nothing_from_the_next(elastic: Elastic) -> None:
    """`sync --since` gets no state: what it leaves must not say that everything before was seen."""
    pages, _ = pulled(elastic, since=UNTIL - 3600, first=False)
    assert all(page.state is None for page in pages)


# --- incidents


def test_incidents_open_and_end(elastic: Elastic) -> None:
    elastic.documents += [
        incident("i1", T0 + 600, T0 + 900, "recovered"), incident("i2", UNTIL - 600, None, "active"),
        incident("i3", T0 - 9000, T0 + 60, "untracked"), incident("i4", T0 + 30, T0 + 40, "recovered", "low"),
        incident("i5", T0 + 50, None, "molten"),
    ]  # fmt: skip
    asked = Incidents(index="alerts", where="severity:high")
    pages, _ = pulled(elastic, incident=asked)
    events = {one.key: one for page in pages for one in page.records if isinstance(one, Event)}
    assert {key: (one.outcome, one.ts, one.ended) for key, one in events.items()} == {
        "i1": ("bad", T0 + 600, T0 + 900), "i2": ("open", UNTIL - 600, None), "i3": ("excluded", T0 - 9000, T0 + 60),
        "i5": ("excluded", T0 + 50, None),
    }  # fmt: skip
    assert dict(events["i1"].labels) == {"service.name": "shop", "rule": "Errors"}
    assert [reason for reason in reasons(pages) if '"molten"' in reason]
    elastic.documents[-4] = incident("i2", UNTIL - 600, UNTIL + 120, "recovered")
    later, _ = pulled(elastic, since=UNTIL + 9000, until=UNTIL + 9600, state=state(pages), incident=asked,
                      open=(events["i2"],))  # fmt: skip
    [event] = [one for page in later for one in page.records if isinstance(one, Event)]
    assert (event.key, event.outcome, event.ended) == ("i2", "bad", UNTIL + 120)
    assert event.revision > events["i2"].revision


def test_many_incidents_are_paged_and_none_is_lost(elastic: Elastic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors._elastic_server.HITS", 7)
    elastic.documents = [incident(f"i{n:03}", T0 + n // 5, T0 + n + 60, "recovered") for n in range(50)]
    pages, _ = pulled(elastic, incident=Incidents(index="alerts"))
    assert sum(isinstance(one, Event) for page in pages for one in page.records) == 50


# --- refusals


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"signal": Query("latency", component="s", duration="message")}, 'the field "message" is text'),
        ({"signal": Query("latency", component="s", duration="host")}, '"host" is keyword and no number'),
        ({"signal": Query("latency", component="s", duration="absent")}, 'has a field "absent"; correct its name'),
        ({"signal": Query("volume", component_from="message")}, r'use "message\.keyword"'),
        ({"signal": Query("volume", component="s", time="status")}, '"status" is integer and no date'),
        ({"index": "nothing"}, 'there is no index "nothing"'),
    ],
)
def test_what_cannot_be_counted_is_refused_with_what_to_do(elastic: Elastic, keys: dict[str, Any], reason: str) -> None:
    signal = keys.pop("signal", SIGNALS[0])
    with pytest.raises(SourceRefused, match=reason):
        pulled(elastic, signal, **keys)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, "give exactly one of bad, good and duration"),
        ({"bad": "a:1", "good": "a:0"}, "give exactly one of bad, good and duration"),
        ({"bad": "a:1", "component_from": "x"}, "give component or component_from, not both"),
    ],
)
def test_a_signal_that_says_nothing_is_refused(keys: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Query("request_success", component="shop", **keys)  # type: ignore[arg-type]


def test_a_source_without_signals_says_what_to_do(elastic: Elastic) -> None:
    with serve(elastic.answer) as server:
        common = replace(config(server.url), signal=())
        with pytest.raises(SourceRefused, match=r"no \[\[source.signal\]\].*tandem init --connector elasticsearch"):
            list(elasticsearch.fetch(common, Pull(T0, UNTIL, UNTIL)))


@pytest.mark.parametrize("auth", ["ApiKey", "Basic", "Bearer"])
def test_the_token_goes_only_into_its_header(elastic: Elastic, auth: Any) -> None:
    with virtual(), serve(elastic.answer) as server:
        given = config(server.url, token_env=TOKEN_ENV, auth=auth)
        pages = list(elasticsearch.fetch(given, Pull(T0, UNTIL, UNTIL, first=True)))
    assert {asked.headers["authorization"] for asked in server.asked} == {f"{auth} {TOKEN}"}
    assert TOKEN not in repr(pages)
    assert not any(TOKEN in repr((asked.path, asked.query, asked.body)) for asked in server.asked)


# --- through the store


@pytest.fixture
def home(tmp_path: Path, elastic: Elastic) -> Iterator[configuration.Config]:
    with serve(elastic.answer) as server:
        text = elasticsearch.ABOUT.example.replace("http://127.0.0.1:9200", server.url)
        text = text.replace('service.name:"checkout"', SHOP).replace("http.response.status_code:[500 TO *]", BAD)
        text = text.replace("event.duration", "took").replace("logs-nginx-*", "logs-shop")
        (tmp_path / "tandem.toml").write_text('[[source]]\ndeletions = "restate"\n' + text)
        yield configuration.load(tmp_path / "tandem.toml")


def stored(config: configuration.Config, elastic: Elastic, now: int, steps: Callable[[Any], None]) -> Any:
    with open_store(config.folder / "t.duckdb") as store:
        steps(store)
        return store.cursor().execute(
            "SELECT s.component, f.ts, sum(good), sum(total) FROM ratio f JOIN series s ON s.id = f.series "
            "GROUP BY ALL HAVING sum(total) > 0 ORDER BY ALL"
        ).fetchall()  # fmt: skip


def test_pulls_restate_whole_buckets_and_take_back_what_vanished(home: configuration.Config, elastic: Elastic) -> None:
    """A document that comes late, one that changes, and a bucket whose documents are deleted."""

    def steps(store: Any) -> None:
        for minutes in (5, 10, 15):
            [outcome] = collect.sync(store, home, UNTIL + 60 * minutes)
            assert not outcome.error, outcome.error
            elastic.documents[:] = [one for one in elastic.documents if one["@timestamp"] < (UNTIL - 300) * 1000]
            elastic.documents.append({"@timestamp": (UNTIL - 301) * 1000, "took": 1, "status": 500,
                                      "service.name": "shop"})  # fmt: skip

    rows = stored(home, elastic, UNTIL, steps)
    elastic.documents.pop()
    expected = by_hand(elastic.documents, QUERIES[SHOP])
    assert rows == [("checkout-api", ts, good, total) for ts, (good, total) in sorted(expected.items())]


def test_the_aliases_are_the_connector() -> None:
    assert {connect.canonical(name) for name in elasticsearch.ABOUT.aliases} == {"elasticsearch"}
    assert elasticsearch.ABOUT.horizon == DAY
