"""Grafana: annotations and changes of alerts, edits, full lists, links back; Prometheus through a data source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors import grafana, prometheus
from connectors._files import item
from tandem import connect, place, template
from tandem.config import parse
from tandem.connect import Common, Given, Pull, Rule, SourceDown, SourceRefused
from tandem.records import DAY, Event, Page
from tests.faults_prometheus import DAY as MIDNIGHT
from tests.faults_prometheus import answer_of, small_shop
from tests.grafana_server import Grafana, without
from tests.replay import Server, serve

HERE = Path(__file__).parent / "payloads" / "grafana"
NOW = 1_795_010_000
SIGNALS = (
    prometheus.Query(signal="availability", component="shop", up='up{job="shop"}'),
    prometheus.Query(signal="request_success", component="shop", total="requests_total", bad="errors_total"),
)


@pytest.fixture
def company() -> Grafana:
    return Grafana()


@pytest.fixture
def server(company: Grafana) -> Iterator[Server]:
    with serve(company.answer) as running:
        yield running


def configured(url: str = "", **more: Any) -> grafana.Config:
    common = replace(Common("grafana", "dashboards", component=("shop",)), **more.pop("common", {}))
    return grafana.Config(common, url=url, **more)


def pulled(config: grafana.Config, since: int = NOW - 3600, until: int = NOW, **more: Any) -> list[Page]:
    return list(grafana.fetch(config, Pull(since, until, until, **more)))


def events(pages: list[Page]) -> list[Event]:
    return [one for page in pages for one in page.records if isinstance(one, Event)]


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def parsed(path: Path, config: grafana.Config | None = None) -> list[Page]:
    return list(grafana.parse(item(path, Given()), config or configured("https://grafana.example.com")))


# -- annotations


def test_notes_and_changes_of_alerts_with_a_link_to_their_panel() -> None:
    pages = parsed(HERE / "annotations.json")
    sale, moved, fired, over = events(pages)
    assert [(e.kind, e.key, e.ts, e.ended, e.outcome) for e in (sale, moved, fired, over)] == [
        ("note", "1111", 1794999000, None, "good"), ("note", "1120", 1795000080, 1795000380, "good"),
        ("alert", "1123", 1795000560, None, "bad"), ("alert", "1124", 1795001160, None, "good"),
    ]  # fmt: skip
    assert (moved.title, moved.actor, moved.revision) == ("Moved to the new pool & warmed it up", "ada", 1795000200)
    assert dict(moved.labels) == {
        "service": "checkout", "dashboard": "checkout-overview", "panel": "2", "tags": ",deploy,service:checkout,",
    }  # fmt: skip
    assert dict(fired.labels) == {
        "alertname": "HighErrors", "job": "checkout", "dashboard": "checkout-overview", "panel": "2",
        "state": "alerting",
    }  # fmt: skip
    shown = urlsplit(moved.url)
    assert (shown.scheme, shown.netloc, shown.path) == ("https", "grafana.example.com", "/d/checkout-overview")
    asked = {name: values[0] for name, values in parse_qs(shown.query).items()}
    assert asked == {"orgId": "1", "from": "1794998280000", "to": "1795002180000", "viewPanel": "2"}
    assert sale.url == ""
    assert reasons(pages) == {"an annotation was posted in seconds: it is of 1970": 1}


def test_a_pull_says_what_a_file_says(company: Grafana, server: Server, tmp_path: Path) -> None:
    for row in json.loads((HERE / "annotations.json").read_text()):
        company.rows[row["id"]] = row
    config = configured(server.url, web="https://grafana.example.com")
    assert events(pulled(config, first=True, since=NOW - DAY)) == events(parsed(HERE / "annotations.json"))


def test_an_edit_a_day_later_is_seen_and_a_repeat_is_the_same(company: Grafana, server: Server) -> None:
    one = company.note(1, NOW - 20 * 3600, text="deploy")
    first = events(pulled(configured(server.url), since=NOW - DAY, first=True))
    assert [e.title for e in first] == ["deploy"]
    one.update(text="deploy, rolled back", tags=["rollback"], updated=(NOW - 60) * 1000)
    second = events(pulled(configured(server.url), since=NOW - 900))
    assert [(e.key, e.title) for e in second] == [("1", "deploy, rolled back")]
    assert second[0].revision > first[0].revision
    assert events(pulled(configured(server.url), since=NOW - 900)) == second


def test_a_region_that_goes_on_is_open_until_its_end(company: Grafana, server: Server) -> None:
    company.note(1, NOW - 600, end=NOW + 900)
    (still,) = events(pulled(configured(server.url)))
    assert (still.outcome, still.ended) == ("open", None)
    (over,) = events(pulled(configured(server.url), until=NOW + 1800))
    assert (over.outcome, over.ended) == ("good", NOW + 900)


def test_what_lies_at_or_after_until_is_not_yet(company: Grafana, server: Server) -> None:
    company.note(1, NOW - 1)
    company.note(2, NOW)
    assert [e.key for e in events(pulled(configured(server.url)))] == ["1"]


def test_a_full_list_is_halved_until_nothing_is_cut(company: Grafana, server: Server) -> None:
    for number in range(1, 3201):
        company.note(number, NOW - 3 * DAY + number * 60)
    company.note(9999, NOW - 3 * DAY, end=NOW - 100)  # a region that touches every piece
    pages = pulled(configured(server.url), since=NOW - 4 * DAY, first=True)
    assert sorted(int(e.key) for e in events(pages)) == [*range(1, 3201), 9999]
    assert len(server.asked) < 15
    assert all(page.covered is None and not page.gaps for page in pages)


def test_more_than_the_limit_in_one_second_is_a_gap(company: Grafana, server: Server) -> None:
    for number in range(1, 1101):
        company.note(number, NOW - 100)
    pages = pulled(configured(server.url))
    assert len(events(pages)) == 1000
    assert [(gap.since, gap.until) for page in pages for gap in page.gaps] == [(NOW - 100, NOW - 99)]


def test_parameters_that_are_lost_on_the_way_are_noticed(company: Grafana) -> None:
    """Without its range Grafana answers with everything there is."""
    company.note(1, NOW - 100)
    company.note(2, NOW - 50 * DAY)
    with (
        serve(lambda asked: company.answer(without(asked, "from", "to"))) as proxy,
        pytest.raises(SourceDown, match="Grafana answered for another time"),
    ):
        pulled(configured(proxy.url))


def test_tags_and_dashboards_choose_in_pulls_and_files(company: Grafana, server: Server, tmp_path: Path) -> None:
    company.note(1, NOW - 300, tags=["deploy", "eu"])
    company.note(2, NOW - 200, tags=["deploy"], dashboardUID="payments")
    company.note(3, NOW - 100, tags=["eu"])
    (tmp_path / "all.json").write_text(json.dumps(list(company.rows.values())))
    chosen: list[tuple[dict[str, Any], list[str]]] = [
        ({"tags": ("deploy",)}, ["1", "2"]), ({"tags": ("deploy", "eu")}, ["1"]),
        ({"dashboards": ("payments",)}, ["2"]),
        ({"dashboards": ("payments", "checkout")}, ["1", "2", "3"]), ({}, ["1", "2", "3"]),
    ]  # fmt: skip
    for more, keys in chosen:
        config = configured(server.url, **more)
        assert sorted(e.key for e in events(pulled(config))) == keys
        assert sorted(e.key for e in events(parsed(tmp_path / "all.json", config))) == keys


def test_a_tag_places_an_annotation(company: Grafana, server: Server) -> None:
    company.note(1, NOW - 300, tags=["deploy", "service:checkout"])
    company.note(2, NOW - 200, tags=["x", "urgent"])
    company.note(3, NOW - 100, dashboardUID="other")
    rules = (Rule(("checkout-api",), {"service": "checkout"}), Rule(("search",), {"tags": "*,urgent,*"}))
    config = configured(server.url, common={"component": (), "map": rules})
    placed = [place.event_of(one, config.common) for one in events(pulled(config))]
    assert [one and one.components for one in placed] == [("checkout-api",), ("search",), None]


def test_every_state_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(
    company: Grafana, server: Server
) -> None:
    words = {"Alerting": "bad", "Alerting (NoData)": "bad", "Normal": "good", "Normal (Updated)": "good", "ok": "good",
             "Pending": "excluded", "NoData": "excluded", "no_data": "excluded", "Error": "excluded",
             "paused": "excluded", "Recovering": "excluded", "unknown": "excluded", "Melted": "excluded"}  # fmt: skip
    for number, word in enumerate(words, 1):
        company.note(number, NOW - 1000 + number, newState=word, prevState="Normal", alertId=1)
    pages = pulled(configured(server.url))
    assert [e.outcome for e in events(pages)] == list(words.values())
    assert reasons(pages) == {
        'the state "melted" is unknown; what has it is excluded, or name it in [source.status]': 1
    }
    own = pulled(configured(server.url, common={"status": {"melted": "bad", "no data": "bad"}}))
    assert [e.outcome for e in events(own)].count("bad") == 5


def test_a_second_pull_makes_the_fewest_requests(
    company: Grafana, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 301):
        company.note(number, NOW - 20 * DAY + number * 3600)
    assert len(events(pulled(configured(server.url), since=NOW - 90 * DAY, first=True))) == 300
    made = len(server.asked)
    quiet = pulled(configured(server.url), since=NOW - 900)
    print(f"second pull: {len(server.asked) - made} requests, fewest possible 1")
    assert len(server.asked) - made == 1
    assert all(e.ts >= NOW - 900 - DAY for e in events(quiet))
    assert "fewest possible 1" in capsys.readouterr().out


# -- signals through the data source


def test_a_data_source_tells_what_prometheus_tells(company: Grafana, server: Server) -> None:
    """The same pages as the connector for Prometheus gives of the same samples, under the same components."""
    company.stored = small_shop()
    company.note(1, MIDNIGHT + 600)
    pull = Pull(MIDNIGHT, MIDNIGHT + 9 * 3600, MIDNIGHT + 9 * 3600, first=True)
    config = configured(server.url, datasource="prom", signal=SIGNALS)
    through = list(grafana.fetch(config, pull))
    with serve(answer_of(small_shop())) as direct:
        own = list(prometheus.fetch(prometheus.Config(config.common, url=direct.url, signal=SIGNALS), pull))
    assert [page for page in through if page.covered] == own
    assert sum(fact.value.total for page in own for fact in page.records) > 2000  # type: ignore[union-attr]
    assert [e.key for e in events(through)] == ["1"]
    assert {one.path for one in server.asked} == {
        "/api/annotations", "/api/datasources/proxy/uid/prom/api/v1/query",
    }  # fmt: skip


def test_a_signal_needs_a_data_source(company: Grafana, server: Server) -> None:
    with pytest.raises(SourceRefused, match='set datasource = "UID" for the source "dashboards"'):
        pulled(configured(server.url, signal=SIGNALS))
    with pytest.raises(SourceRefused, match="answered 404"):
        pulled(configured(server.url, signal=SIGNALS, datasource="gone"))
    with pytest.raises(SourceRefused, match="reads neither annotations nor a"):
        pulled(configured(server.url, annotations=False))


def test_the_token_goes_with_both_and_is_needed(
    company: Grafana, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA", "canary-grafana")
    company.token, company.stored = "canary-grafana", small_shop()
    config = configured(server.url, datasource="prom", signal=SIGNALS)
    with pytest.raises(SourceRefused, match="it wants a token; set token_env or token_file"):
        pulled(config)
    pages = pulled(replace(config, common=replace(config.common, token_env="GRAFANA")))
    assert "canary" not in repr(pages)


# -- files, and what it says of itself


@pytest.mark.parametrize(
    "text", ["[]", "{}", "", '[{"time": 1, "text": "x"}]', '{"dashboardUID": "x", "panelId": 1, "time": 1, "text": ""}']
)
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.json").write_text(text)
    assert not grafana.recognise(item(tmp_path / "some.json", Given()))


def test_the_payload_is_recognised_by_nobody_else() -> None:
    told = item(HERE / "annotations.json", Given())
    assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["grafana"]


def test_what_is_no_annotation_is_named_and_the_rest_lands(tmp_path: Path) -> None:
    rows = json.loads((HERE / "annotations.json").read_text())
    (tmp_path / "some.json").write_text(json.dumps([rows[0], 17, {"text": "x"}, {**rows[1], "time": None}]))
    pages = parsed(tmp_path / "some.json")
    assert [e.key for e in events(pages)] == ["1124"]
    assert reasons(pages) == {"an annotation has no id": 2, "an annotation has no time": 1}


def test_a_cut_file_is_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_bytes((HERE / "annotations.json").read_bytes()[:900])
    with pytest.raises(SourceRefused, match=r"cut\.json line \d+ is not JSON"):
        parsed(tmp_path / "cut.json")


def test_its_aliases_load_it_and_its_example_loads(tmp_path: Path) -> None:
    assert {connect.canonical(name) for name in ("grafana", *grafana.ABOUT.aliases)} == {"grafana"}
    block = template.uncommented(template.block("grafana_annotations"))
    text = '[[component]]\nname = "checkout-api"\nkind = "service"\n' + block
    (source,) = parse(text, tmp_path / "tandem.toml").sources
    assert source.config.signal[0].signal == "request_success"
    assert grafana.scope(source.config) == "https://grafana.example.com"
