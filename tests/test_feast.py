"""The feast connector against a replayed registry server: freshness, materialisations, monitoring, dumps."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import feast
from connectors._files import item
from tandem import collect, connect, times
from tandem.bins import MISSING, OTHER, total
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import DAY, Event, Fact, Gap, Histogram, Page, Ratio
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import fakes
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.feast_server import PATH, Feast
from tests.replay import Answer, Asked, Server, serve

PAYLOADS = Path(__file__).parent / "payloads" / "feast"
T0 = fakes.NOW // 300 * 300
TODAY = times.text(T0)[:10]


def config(url: str = "", **more: Any) -> feast.Config:
    common = Common("feast", "features", **more.pop("common", {"component": ("m",)}))
    return feast.Config(common, url=url, **more)


class Looking:
    """Looks at one server, each with what the one before it left."""

    def __init__(self, store: Feast, **more: Any) -> None:
        self.store = store
        self.more = more
        self.state: Any = None
        self.asked: list[Asked] = []

    def __call__(self, now: int) -> list[Page]:
        with serve(self.store.answer) as server:
            pull = Pull(now - DAY, now, now, state=self.state, first=self.state is None)
            pages = list(feast.fetch(config(server.url, **self.more), pull))
            self.asked = server.asked
        self.state = json.loads(json.dumps(pages[-1].state))
        return pages


def events(pages: list[Page]) -> list[Event]:
    return [one for page in pages for one in page.records if isinstance(one, Event)]


def facts(pages: list[Page], signal: str, name: str = "") -> list[Fact]:
    return [one for page in pages for one in page.records
            if isinstance(one, Fact) and (one.series.signal, one.series.name) == (signal, name)]  # fmt: skip


def fresh(pages: list[Page]) -> Ratio:
    return sum((one.value for one in facts(pages, "freshness") if isinstance(one.value, Ratio)), Ratio())


def said(pages: list[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


def pulled(store: Store, server: Server, now: int, **more: Any) -> collect.Outcome:
    given = config(server.url, **more)
    return collect.pull(store, Source(given.common, connect.load("feast"), given), now)


def totals(store: Store, signal: str, name: str = "") -> tuple[int, ...]:
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal=signal) if one.placed.name == name]
    merges = reader.totals("ratio", ids, [(0, 1 << 40)])
    return tuple(sum(part) for part in zip(*(merge[0] for merge in merges.values() if merge[0]), strict=True))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


# -- freshness


def test_a_view_is_fresh_while_it_is_younger_than_its_ttl() -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000, ttl=3600)
    registry.materialise("cart", T0 - 9000, T0 - 600, T0 - 590)
    look = Looking(registry)
    for now, expected in ((T0, 1), (T0 + 3000, 1), (T0 + 3300, 0)):
        pages = look(now)
        assert fresh(pages) == Ratio(expected, 1), now
        assert [one.value for one in facts(pages, "freshness", "cart")] == [Ratio(expected, 1)]
    registry.materialise("cart", T0 - 600, T0 + 3400, T0 + 3500)
    assert fresh(look(T0 + 3600)) == Ratio(1, 1)


@pytest.mark.parametrize(
    ("change", "expected", "remark"),
    [
        ({"ttl": 0}, Ratio(), "without a ttl"),
        ({"online": False}, Ratio(), ""),
        ({"userDefinedFunction": {"name": "f"}}, Ratio(), ""),
        ({"streamSource": {"type": "PUSH_SOURCE"}}, Ratio(), "fresher than their materialisations"),
    ],
)
def test_views_that_cannot_be_judged_are_left_out(change: dict[str, Any], expected: Ratio, remark: str) -> None:
    registry = Feast()
    registry.view("cart", T0 - 90_000, **change)
    registry.materialise("cart", T0 - 90_000, T0 - 80_000, T0 - 79_000)
    pages = Looking(registry)(T0)
    assert fresh(pages) == expected
    assert remark in said(pages)


def test_a_view_that_was_never_materialised_is_late_after_its_bound_and_not_before() -> None:
    registry = Feast()
    registry.view("new", T0 - 600, ttl=3600)
    registry.view("forgotten", T0 - 9000, ttl=3600)
    assert fresh(Looking(registry)(T0)) == Ratio(0, 1)


def test_a_bound_goes_before_each_ttl_and_globs_choose() -> None:
    registry = Feast()
    for name, ttl in (("cart", 60), ("pay", 0), ("other", 60)):
        registry.view(name, T0 - 9000, ttl=ttl)
        registry.materialise(name, T0 - 9000, T0 - 3000, T0 - 2990)
    assert fresh(Looking(registry, bound="1h", feature_views=("cart", "p*"))(T0)) == Ratio(2, 2)
    with pytest.raises(ValueError, match="duration"):
        config(bound="soon")


@pytest.mark.parametrize(
    ("state", "expected", "own"),
    [("MATERIALIZING", Ratio(1, 1), {}), ("ARCHIVED", Ratio(), {}), ("ARCHIVED", Ratio(0, 1), {"ARCHIVED": "bad"})],
)
def test_a_state_that_is_unknown_is_excluded_and_said(state: str, expected: Ratio, own: dict[str, Any]) -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000)
    registry.materialise("cart", T0 - 9000, T0 - 600, T0 - 590)
    registry.projects["shop"]["cart"]["meta"]["state"] = state
    pages = Looking(registry, common={"component": ("m",), "status": own})(T0)
    assert fresh(pages) == expected
    assert ('"ARCHIVED" is unknown' in said(pages)) is (state == "ARCHIVED" and not own)
    registry.projects["shop"]["cart"]["enabled"] = False
    assert fresh(Looking(registry)(T0)) == Ratio()


# -- materialisations


def test_a_materialisation_is_told_once_with_the_time_it_must_lie_in() -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000)
    registry.materialise("cart", T0 - 9000, T0 - 600, T0 - 500)
    look = Looking(registry)
    [first] = events(look(T0))
    assert (first.kind, first.ts, first.ts_latest) == ("data_version", T0 - 600, T0 - 500)
    assert first.data_version == times.text(T0 - 600)
    assert events(look(T0 + 300)) == []
    registry.materialise("cart", T0 - 600, T0 - 300, T0 + 400)  # a backfill: its data lie before the last look
    registry.materialise("cart", T0 - 300, T0 + 450, T0 + 460)
    late = events(look(T0 + 600))
    assert [(one.ts, one.ts_latest) for one in late] == [(T0 + 299, T0 + 460), (T0 + 450, T0 + 460)]
    look.state = None  # forgotten: the same keys are told again, none of them twice
    again = events(look(T0 + 900))
    assert {one.key for one in again} == {first.key, *(one.key for one in late)}


def test_a_view_made_anew_begins_again_and_old_history_is_not_told() -> None:
    registry = Feast()
    registry.view("cart", T0 - 5 * DAY)
    registry.materialise("cart", T0 - 5 * DAY, T0 - 4 * DAY, T0 - 4 * DAY)
    registry.materialise("cart", T0 - 4 * DAY, T0 - 600, T0 - 500)
    look = Looking(registry)
    assert [one.ts for one in events(look(T0))] == [T0 - 600]
    registry.view("cart", T0 + 100)
    registry.materialise("cart", T0, T0 + 200, T0 + 210)
    assert [one.ts for one in events(look(T0 + 300))] == [T0 + 200]


def test_what_lies_ahead_is_not_told() -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000)
    registry.materialise("cart", T0 - 9000, T0 + 9000, T0 - 500)
    pages = Looking(registry)(T0)
    assert events(pages) == []
    assert fresh(pages) == Ratio(1, 1)


# -- monitoring


def counted(registry: Feast, day: str, mean: float, n: int = 2000, **more: Any) -> None:
    edges = [mean - 10 + step for step in range(21)]
    registry.count("cart", "amount", day, {"bins": edges, "counts": [n // 20] * 20, "bin_width": 1.0}, **more)


def test_what_monitoring_counted_is_a_distribution_of_its_day(store: Store) -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000)
    days = [times.text(T0 - back * DAY)[:10] for back in (2, 1, 0)]
    for day in days:
        counted(registry, day, 50.0)
    registry.count("cart", "site", days[0], {"values": [{"value": "a", "count": 7}, {"value": 1.0, "count": 2}],
                                             "other_count": 3, "unique_count": 5}, null_count=4)  # fmt: skip
    counted(registry, days[0], 90.0, data_source_type="batch")
    look = Looking(registry)
    pages = look(T0)
    amounts = facts(pages, "feature", "amount")
    assert [(one.ts % DAY, one.series.stage, total(one.value)) for one in amounts] == [  # type: ignore[arg-type]
        (0, "training", 2000), (0, "production", 2000), (0, "production", 2000), (0, "production", 2000)]  # fmt: skip
    [site] = facts(pages, "feature", "site")
    assert isinstance(site.value, Histogram)
    assert dict(zip(("1", "a", "other", "missing"), (site.value.counts[n] for n in (0, 1, OTHER, MISSING)),
                    strict=True)) == {"1": 2, "a": 7, "other": 3, "missing": 4}  # fmt: skip
    assert not site.value.layout.approximate
    with serve(registry.answer) as server:
        assert pulled(store, server, T0).error == ""
        reader = Reader(store)
        before = {one.layout for one in reader.series(signal="feature") if one.placed.stage == "production"
                  and one.placed.name == "amount"}  # fmt: skip
        assert len(before) == 1
        counted(registry, days[1], 70.0, computed_at=f"{days[1]}T23:30:00+00:00")  # the day computed again
        assert pulled(store, server, T0 + 3900).error == ""
    reader = Reader(store)
    [series] = [one for one in reader.series(signal="feature") if one.placed.stage == "production"
                and one.placed.name == "amount"]  # fmt: skip
    [[merge]] = list(reader.totals("histogram", [series.id], [(0, 1 << 40)]).values())
    assert merge is not None
    assert sum(n for n, _ in merge.values()) == 6000, "the day that was computed again counts once"  # type: ignore[union-attr]


def test_drift_is_judged_on_what_monitoring_counted(store: Store) -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000)
    begin = T0 // DAY * DAY - 9 * DAY
    for number in range(9):
        counted(registry, times.text(begin + number * DAY)[:10], 50.0 + (12.0 if number == 8 else 0.0))
    with serve(registry.answer) as server:
        assert pulled(store, server, T0).error == ""
    reader = Reader(store)
    [series] = [one.id for one in reader.series(signal="drift") if one.placed.name == ""]
    days = [(begin + n * DAY, begin + (n + 1) * DAY) for n in range(9)]
    assert [tuple(one or ()) for one in reader.totals("ratio", [series], days)[series]] == [(1, 1)] * 8 + [(0, 1)]


@pytest.mark.parametrize(
    ("histogram", "why"),
    [
        ({"bins": [0.0, 1.0], "counts": [1, 2]}, "do not fit"),
        ({"bins": [0.0, 1.0, 2.0], "counts": [-1, 2]}, "follow one another"),
        ({"bins": [0.0, None, 2.0], "counts": [1, 2]}, "no number"),
        ({"values": [{"value": "a", "count": -3}]}, "no count"),
    ],
)
def test_a_histogram_that_cannot_be_is_left_out(histogram: dict[str, Any], why: str) -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000)
    registry.count("cart", "amount", TODAY, histogram)
    pages = Looking(registry)(T0)
    assert why in said(pages)
    assert not facts(pages, "feature", "amount")


def test_a_server_without_monitoring_tells_the_rest() -> None:
    for registry in (Feast(monitoring=False), Feast()):
        registry.view("cart", T0 - 9000)
        registry.materialise("cart", T0 - 9000, T0 - 600, T0 - 590)

        def answer(asked: Asked, registry: Feast = registry) -> Answer:
            old = registry.monitoring and asked.path == PATH
            return Answer({"detail": "Not Found"}, 404) if old else registry.answer(asked)

        with virtual(), serve(answer) as server:
            pages = list(feast.fetch(config(server.url), Pull(T0 - DAY, T0, T0)))
        assert fresh(pages) == Ratio(1, 1)


# -- looks, costs and secrets


def test_one_look_per_tick_and_a_missed_one_is_a_gap(store: Store) -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000, ttl=86400)
    registry.materialise("cart", T0 - 9000, T0 - 600, T0 - 590)
    with serve(registry.answer) as server:
        for now in (T0 + 10, T0 + 70, T0 + 310):
            assert pulled(store, server, now).error == ""
        paths = [one.path for one in server.asked]
        print(f"{len(paths)} requests for two looks; the fewest possible are 5")
        assert paths == ["/api/v1/projects", "/api/v1/feature_views", PATH, "/api/v1/projects", "/api/v1/feature_views"]
    assert totals(store, "freshness") == (2, 2)
    look = Looking(registry)
    look(T0)
    assert Gap(T0 + 300, T0 + 900, "nothing was looked at: Tandem was not running, or was late",
               signal="freshness") in look(T0 + 900)[-1].gaps  # fmt: skip


def test_named_projects_are_not_looked_up_and_pages_are_read_to_their_end() -> None:
    registry = Feast()
    for number in range(205):
        registry.view(f"v{number}", T0 - 9000)
    look = Looking(registry, projects=("shop",), monitoring=False)
    assert fresh(look(T0)).total == 205
    assert [one.parameters()["page"] for one in look.asked] == ["1", "2", "3"]


def test_a_list_that_does_not_add_up_is_asked_again() -> None:
    registry = Feast()
    registry.view("cart", T0 - 9000)

    def short(asked: Asked) -> Answer:
        good = registry.answer(asked)
        told = dict(good.body["pagination"], totalCount=7)
        return Answer({**good.body, "pagination": told})

    with virtual(), serve(short) as server, pytest.raises(SourceDown, match="of 7"):
        list(feast.fetch(config(server.url, projects=("shop",)), Pull(T0 - DAY, T0, T0)))
    with virtual(), serve(lambda asked: Answer({"ok": 1})) as server, pytest.raises(SourceRefused, match="is no list"):
        list(feast.fetch(config(server.url), Pull(T0 - DAY, T0, T0)))


def test_no_token_is_told_and_hostile_names_stay_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry = Feast(token=TOKEN)
    for name in ("<script>x", "a'; DROP TABLE event; --"):
        registry.view(name, T0 - 9000, project="'; --")
        registry.materialise(name, T0 - 9000, T0 - 600, T0 - 590, project="'; --")
    path = tmp_path / "t.duckdb"
    said = []
    refusing: Any = lambda asked: Answer({"detail": f"no {TOKEN}"}, 401)  # noqa: E731
    with virtual(), open_store(path) as store:
        for number, route in enumerate((registry.answer, refusing, registry.answer)):
            with serve(route) as server:
                common = {"component": ("m",), "token_env": TOKEN_ENV}
                said.append(repr(pulled(store, server, T0 + 300 * number, common=common)))
        assert totals(store, "freshness") == (4, 4)
    assert "the token was refused" in said[1]
    assert os.environ.get(TOKEN_ENV) is None
    for one in (*said, caplog.text, path.read_bytes().decode("latin-1")):
        assert TOKEN not in one


# -- dumps


@pytest.mark.parametrize("name", sorted(one.name for one in PAYLOADS.iterdir() if one.name != "PROVENANCE.md"))
def test_each_captured_file_is_feasts_alone(name: str) -> None:
    found = item(PAYLOADS / name, Given())
    known = [one for one in connect.names() if connect.load(one).recognise(found)]
    assert known == ([] if name == "projects.json" else ["feast"])


@pytest.mark.parametrize("name", ["registry_dump.json", "feature_views.json", "describe.yaml"])
def test_captured_views_tell_their_materialisations(name: str) -> None:
    at = 1_793_700_000  # 2026-11-03T09:20Z, and the data of the views end at midnight
    pages = list(feast.parse(item(PAYLOADS / name, Given(at=at)), config()))
    mine = [one for one in events(pages) if "driver_hourly_stats@" in one.key]
    assert [(one.ts, dict(one.labels)["to"]) for one in mine] == [
        (1_793_577_600, "2026-11-02T00:00:00Z"), (1_793_664_000, "2026-11-03T00:00:00Z")]  # fmt: skip
    assert [one.value for one in facts(pages, "freshness", "driver_hourly_stats")] == [Ratio(1, 1)]
    late = list(feast.parse(item(PAYLOADS / name, Given(at=at + DAY)), config()))
    assert [one.value for one in facts(late, "freshness", "driver_hourly_stats")] == [Ratio(0, 1)]


def test_captured_metrics_are_on_approximate_bins() -> None:
    pages = list(feast.parse(item(PAYLOADS / "metrics_features.json", Given()), config()))
    found = facts(pages, "feature", "conv_rate")
    assert [(times.text(one.ts)[:10], total(one.value), one.series.stage) for one in found] == [  # type: ignore[arg-type]
        ("2026-11-10", 1322, "training"), ("2026-11-19", 120, "training")]  # fmt: skip
    assert "put onto other bins" in said(pages)


def test_a_dump_in_place_of_a_server_is_looked_at_when_it_was_written(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "registry.json"
    path.write_text((PAYLOADS / "registry_dump.json").read_text())
    at = 1_793_700_000
    given = config(path=path)
    source = Source(given.common, connect.load("feast"), given)
    for written, now in ((at, at + 60), (at, at + 400), (at + 600, at + 700)):
        os.utime(path, (written, written))
        assert collect.pull(store, source, now).error == ""
    assert totals(store, "freshness", "driver_hourly_stats") == (2, 2)
    path.write_text('{"a": 1}')
    os.utime(path, (at + 900, at + 900))
    assert "is no registry of Feast" in collect.pull(store, source, at + 1000).error
    with pytest.raises(SourceRefused, match="set url or path"):
        list(feast.fetch(config(), Pull(0, T0, T0)))
