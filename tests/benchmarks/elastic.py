"""Requests and bytes of an Elasticsearch window of 30 days, beside the fewest possible.

Run: python -m tests.benchmarks.elastic [--days N]

Errors and latency of one service with requests in every bucket of 5 minutes, pulled for the first time, then again 5
minutes later, then by the daily sweep, and with a late document where the index says when documents came in. The
fewest requests are those that search.max_buckets (65,536) allows; the fewest bytes are the counts alone, each with one
separator. "Whole" is the same answer without filter_path, as a client gets that does not ask for less.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass, field, replace
from typing import Any

from connectors import elasticsearch
from connectors._latency import LAYOUT
from tandem.connect import Pull
from tandem.records import BUCKET, DAY, Fact, Histogram, Page, Ratio
from tests.elastic_server import Elastic
from tests.faults_elasticsearch import QUERIES, T0, TYPES, config, requests
from tests.replay import Answer, Asked, serve

LIMIT = 65_536


@dataclass
class Wire:
    """What went over the wire."""

    elastic: Elastic
    requests: int = 0
    asked: int = 0
    answered: int = 0
    packed: int = 0
    whole: int = 0
    pages: list[Page] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        """The answer, counted."""
        found = self.elastic.answer(asked)
        plain = self.elastic.answer(replace(asked, query=tuple(p for p in asked.query if p[0] != "filter_path")))
        self.requests += 1
        self.asked += len(asked.body) + len(asked.path)
        self.answered += len(found.data())
        self.packed += len(gzip.compress(found.data(), 6))
        self.whole += len(plain.data())
        return found


def pull(elastic: Elastic, since: int, until: int, **keys: Any) -> Wire:
    """One pull of both signals."""
    wire = Wire(elastic)
    ingested = keys.pop("ingested", "")
    with serve(wire.answer) as server:
        given = config(server.url, ingested=ingested)
        wire.pages = list(elasticsearch.fetch(given, Pull(since, until, until, **keys)))
    return wire


def fewest(pages: list[Page]) -> tuple[int, int]:
    """(searches, bytes) that the counted buckets need at least."""
    facts = [one for page in pages for one in page.records if isinstance(one, Fact)]
    buckets = len({one.ts for one in facts})
    cells = 1 + 1 + len(LAYOUT.edges) + 2
    size = sum(_digits(one.value) for one in facts)
    return max(1, -(-buckets * cells // LIMIT)), size


def _digits(value: Any) -> int:
    if isinstance(value, Ratio):
        return len(str(value.good)) + len(str(value.total)) + 2
    assert isinstance(value, Histogram)
    return sum(len(str(value.counts.get(place, 0))) + 1 for place in range(len(LAYOUT.edges) + 1))


def state(wire: Wire) -> Any:
    """The last state, as it comes back out of the store."""
    return json.loads(json.dumps([page.state for page in wire.pages if page.state is not None][-1]))


def said(name: str, wire: Wire) -> None:
    """One line of the table."""
    searches, size = fewest(wire.pages)
    print(
        f"{name:34} {wire.requests:3} requests (fewest {searches}), {wire.asked / 1e3:6.1f} kB asked, "
        f"{wire.answered / 1e3:8.1f} kB answered (packed {wire.packed / 1e3:7.1f}, whole {wire.whole / 1e3:8.1f}, "
        f"counts alone {size / 1e3:7.1f})"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=30)
    days = parser.parse_args().days
    until = T0 + days * DAY
    documents = requests(days * 288 * 2, hours=days * 24)
    for number in range(days * 288):
        documents[number]["@timestamp"] = (T0 + number * BUCKET + 7) * 1000
        documents[number]["event.ingested"] = (T0 + number * BUCKET + 9) * 1000
        documents[number]["service.name"] = "shop"
    elastic = Elastic(documents, QUERIES, TYPES)
    first = pull(elastic, T0, until, first=True, ingested="event.ingested")
    said(f"first pull, {days} days", first)
    said("5 minutes later", pull(elastic, until - 600, until + 300, state=state(first)))
    said("the daily sweep", pull(elastic, until - 600, until + 300, state=state(first), sweep=True))
    late = {"@timestamp": (T0 + 700) * 1000, "took": 9, "status": 500, "service.name": "shop"}
    elastic.documents.append({**late, "event.ingested": (until + 100) * 1000})
    again = pull(elastic, until - 600, until + 300, state=state(first), ingested="event.ingested")
    said("a late document, time of arrival", again)


if __name__ == "__main__":
    main()
