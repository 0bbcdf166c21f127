"""What no column of the Overview shows still counts: the state of a row is that of all its objectives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

from dashboard.blocks.changes import change_list
from dashboard.blocks.matrix import matrix
from dashboard.view import view
from tandem import collect, report
from tandem.config import Component, Objective
from tandem.records import BUCKET, HOUR, Covered, Fact, Page, Ratio, Series
from tandem.shown import Change, Window
from tandem.store.file import open_store
from tests.fakes import NOW, config, saying, source

PARTS = (Component("api", "service", "shop"), Component("web", "service", "site"))


def pages(signal: str, good: int, total: int) -> list[Page]:
    told = {("api", "availability"): Ratio(10_000, 10_000), ("web", "availability"): Ratio(10_000, 10_000),
            ("api", signal): Ratio(good, total), ("web", signal): Ratio(9, 9)}  # fmt: skip
    facts = [Fact(Series(name, component=one), NOW - HOUR - place * BUCKET, ratio)
             for (one, name), ratio in told.items() for place in range(20)]  # fmt: skip
    return [Page(facts, covered=[Covered(NOW - 3 * HOUR, NOW)])]


def overview(folder: Path, said: list[Page], *aims: Objective) -> report.Overview:
    known = config(folder, source(saying(said)), components=PARTS, objectives=aims)
    with open_store(folder / "tandem.duckdb") as store:
        outcome = collect.pull(store, known.sources[0], NOW)
        assert not outcome.error, outcome.error
        return report.overview(SimpleNamespace(store=store, config=known), Window(NOW - 24 * HOUR, NOW), now=NOW)


def test_a_breached_objective_without_a_column_is_the_state_of_its_row_and_is_named(tmp_path: Path) -> None:
    found = overview(tmp_path, pages("deploy_success", 5, 10))
    first, second = found.rows
    assert (first.service, first.state) == ("api", "breached")
    assert [(cell.component, cell.signal, cell.state) for cell in first.beyond] == [
        ("api", "deploy_success", "breached")
    ]
    assert "deploy_success" not in first.system
    assert (second.service, second.state, second.beyond) == ("web", "ok", ())
    assert found.attention["system"] == 1


def test_the_second_objective_of_a_signal_counts_too(tmp_path: Path) -> None:
    aims = [Objective("api", "availability", target=Fraction(9, 10)),
            Objective("api", "availability", target=Fraction("0.999999"), name="strict")]  # fmt: skip
    said = [Page([Fact(Series("availability", component="api"), NOW - HOUR, Ratio(99_000, 100_000))],
                 covered=[Covered(NOW - 3 * HOUR, NOW)])]  # fmt: skip
    row = next(one for one in overview(tmp_path, said, *aims).rows if one.service == "api")
    assert row.system["availability"].state == "ok"
    assert [cell.objective.name for cell in row.beyond if cell.objective] == ["strict"]
    assert row.state == "breached"


def test_the_table_names_what_has_no_column(tmp_path: Path) -> None:
    found = overview(tmp_path, pages("deploy_success", 5, 10))
    drawn = matrix(
        found.rows, found.columns, view("overview", {}, NOW, environments=(), products=(), components=("api", "web"))
    )
    assert drawn.count("m-beyond") == 1
    assert "Deployments: breached" in drawn
    assert "+1" in drawn


def test_builds_that_passed_make_room_for_everything_else() -> None:
    def change(kind: str, ts: int, outcome: str, title: str) -> Change:
        return Change("Build" if kind == "build" else "Incident", kind, ts, None, None, title, ("api",), outcome, "",
                      "ci", "", f"{kind}{ts}")  # fmt: skip

    found = [change("build", NOW - place, "good", f"passed {place}") for place in range(40)]
    found += [change("incident", NOW - 5000, "bad", "on fire"), change("build", NOW - 6000, "bad", "broke")]
    shown = change_list(found, view("overview", {}, NOW, environments=(), products=(), components=("api",)))
    assert "on fire" in shown
    assert "broke" in shown
    assert "40 builds that passed in this window" in shown
    few = change_list(found[:3], view("overview", {}, NOW, environments=(), products=(), components=("api",)))
    assert few.count("passed ") == 3
