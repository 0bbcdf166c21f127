"""One service watched three times: one source counts, the others bear witness with their difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors import probe, prometheus
from tandem import collect, connect, report
from tandem.config import Component, Config, Source
from tandem.connect import Common
from tandem.records import BUCKET, Covered, Fact, Page, Ratio, Series
from tandem.report import Window
from tandem.store.file import Store, open_store
from tests import fakes
from tests.replay import Answer, Asked, serve

END = fakes.NOW
SINCE = END - 1800
BAD = {"probe": 7, "prometheus": 3, "nagios": 6}
"""Bad ones of a look each minute, of a scrape every 15 s, and of a check each minute, in half an hour."""
TOTAL = {"probe": 30, "prometheus": 120, "nagios": 30}


def probing(url: str) -> Source:
    common = Common("probe", "probe", every=60)
    given = probe.Config(common, check=(probe.Check("shop", url, timeout=5.0),))
    return Source(common, connect.load("probe"), given)


def scraping(folder: Path) -> Source:
    """A saved OpenMetrics file: a scrape every 15 s, up to the end of the window, so that its last bucket is whole."""
    lines = ["# TYPE up gauge"]
    for number in range(TOTAL["prometheus"] + 1):
        lines.append(f'up{{job="shop"}} {int(number >= BAD["prometheus"])} {SINCE + 15 * number}')
    folder.mkdir()
    (folder / "up.txt").write_text("\n".join([*lines, "# EOF", ""]))
    common = Common("prometheus", "prometheus")
    query = prometheus.Query("availability", component="shop", up='up{job="shop"}', scrape_interval=15)
    given = prometheus.Config(common, url=f"file:{folder}", signal=(query,))
    return Source(common, connect.load("prometheus"), given)


def checking() -> Source:
    """What a third monitor says: five checks in each bucket, one of them bad."""
    facts = [
        Fact(Series("availability", component="shop"), SINCE + BUCKET * n, Ratio(4, 5)) for n in range(1800 // BUCKET)
    ]
    page = Page(facts, covered=[Covered(SINCE, END)])
    return fakes.source(fakes.saying([page]), name="nagios", scope="nagios")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[Source]]]:
    folder = tmp_path_factory.mktemp("watched")
    asked = [0]

    def answer(_: Asked) -> Answer:
        asked[0] += 1
        return Answer("ok", 503 if asked[0] <= BAD["probe"] else 200)

    with serve(answer) as server, open_store(folder / "tandem.duckdb") as store:
        sources = [scraping(folder / "exports"), checking(), probing(server.url)]
        for source in sources[:2]:
            assert collect.pull(store, source, END).error == ""
        for tick in range(SINCE, END, 60):
            assert collect.pull(store, sources[2], tick).error == ""
        yield store, sources


def shown(store: Store, folder: Path, sources: list[Source]) -> dict[str, Any]:
    config: Config = fakes.config(folder, *sources, components=[Component("shop", product="shop")])
    answer = report.show(
        SimpleNamespace(config=config, store=store, now=lambda: END), "shop", Window(SINCE, END), now=END
    )
    [one] = [signal for signal in answer["signals"] if signal["signal"] == "availability"]
    return one


@pytest.mark.parametrize("primary", ["", "prometheus", "nagios", "probe"])
def test_one_counts_and_the_others_stand_beside_it(
    watched: tuple[Store, list[Source]], tmp_path: Path, primary: str
) -> None:
    store, sources = watched
    chosen = [replace(one, common=replace(one.common, primary=one.name == primary)) for one in sources]
    one = shown(store, tmp_path, chosen)
    main = primary or "prometheus"  # the first in the configuration
    assert (one["source"], one["good"], one["total"]) == (main, TOTAL[main] - BAD[main], TOTAL[main])
    share = {name: (TOTAL[name] - BAD[name]) / TOTAL[name] for name in TOTAL}
    witnesses = {told["source"]: told for told in one["witnesses"]}
    assert set(witnesses) == set(TOTAL) - {main}
    for name, told in witnesses.items():
        assert (told["good"], told["total"]) == (TOTAL[name] - BAD[name], TOTAL[name])
        assert told["difference"] == pytest.approx(share[name] - share[main], abs=1e-12)
    assert one["coverage"] == pytest.approx(1.0, abs=0.01)
