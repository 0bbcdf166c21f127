"""Metrics of inference servers: scraped at every look, asked of a Prometheus, or saved in files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from connectors import _files, _http
from connectors._counters import BRIDGE, Scraped
from connectors._prometheus_files import Found, is_text, read
from connectors._prometheus_server import Asked
from connectors._promql import Matcher, selector
from connectors._serving_counting import CREATED, START, Counting
from connectors._serving_flavours import METRICS, Metrics, flavour_of
from tandem.connect import Given, Item, SourceDown, SourceRefused
from tandem.records import Covered

ROOM = 700_000
"""Most characters of samples that are remembered between two looks."""
_LARGEST = 1e308
_TRIES = 3
_ACCEPT = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.7,*/*;q=0.1"}
_TARGET = ("job", "instance")

Row = tuple[list[list[str]], float]


@dataclass
class Looked:
    """What one process said when it answered last; times in epoch milliseconds, `begin` since when it is counted."""

    at: int
    begin: int
    rows: list[Row]


@dataclass
class Memory:
    """What one look leaves for the next: the samples of each process. Losing it costs one interval's counts."""

    processes: dict[str, Looked] = field(default_factory=dict)
    falls: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Memory:
        """The memory in a state."""
        known = {name: Looked(*one) for name, one in told.get("processes", {}).items()}
        return cls(known, list(told.get("falls", ())))

    def plain(self) -> dict[str, Any]:
        """The same as JSON; of very many processes those that answered last. SourceRefused for too many series."""
        kept: dict[str, Any] = {}
        room = ROOM
        for name, one in sorted(self.processes.items(), key=lambda each: -each[1].at):
            room -= sum(len(str(row)) for row in one.rows)
            if room > 0:
                kept[name] = [one.at, one.begin, one.rows]
            elif not kept:
                raise SourceRefused("the metrics tell of more series than can be remembered; choose some with models.")
        return {"processes": kept, "falls": self.falls[-1:]}

    def samples(self) -> list[tuple[Mapping[str, str], int, float]]:
        """(labels, time, value) of everything that is remembered."""
        return [
            ({str(name): str(value) for name, value in labels}, one.at, value)
            for one in self.processes.values()
            for labels, value in one.rows
        ]

    def take(self, found: Sequence[Scraped], at: int) -> None:
        """Remember the look at `at`; what was said too long ago to be compared is forgotten."""
        self.processes = {name: one for name, one in self.processes.items() if at - one.at <= BRIDGE * 1000}
        rows: list[Row] = [
            (sorted([n, v] for n, v in one.labels.items()), _plain(float(one.values[-1]))) for one in found
        ]
        begun = next((value for labels, value in rows if ["__name__", START] in labels), None)
        process = "" if begun is None else repr(begun)
        last = max((one.at for one in self.processes.values()), default=None)
        known = self.processes.get(process)
        if known is not None:
            begin = known.begin
        elif last is not None and begun is not None and begun * 1000 > last:
            begin = last
        else:
            begin = at
        self.processes[process] = Looked(at, begin, rows)

    def seen(self) -> tuple[int, int]:
        """[since, until) in epoch seconds in which all processes that still answer were counted; maybe empty."""
        latest = list(self.processes.values())
        since = max((one.begin for one in latest), default=0)
        return -(-since // 1000), -(-min((one.at for one in latest), default=0) // 1000)


class _Text(_files.FileItem):
    """An answer as an item that can be read."""

    def __init__(self, name: str, text: str, modified: int) -> None:
        self._bytes = text.encode()
        super().__init__(name, Path(name), modified, self._bytes[: _files.HEAD], (), Given())

    def open(self) -> BinaryIO:
        return io.BytesIO(self._bytes)


def _plain(value: float) -> float:
    """A number that JSON can hold; an infinite counter counts nothing either way."""
    return min(max(float(value), -_LARGEST), _LARGEST)


def answer(client: _http.Client, path: str) -> str:
    """The text of a metrics endpoint; asked for again where it was cut off."""
    place = path.partition("?")[0]
    for _ in range(_TRIES):
        reply = client.get(path, headers=_ACCEPT, json=False)
        text = reply.text
        if not is_text(text.encode()):
            if text.lstrip().startswith(("<", "{", "[")):
                raise SourceRefused(f"{place} answered with something else than metrics; check url.")
            continue
        ended = text.rstrip().endswith("# EOF") or "openmetrics" not in reply.headers.get("content-type", "")
        if text.endswith("\n") and ended:
            return text
    raise SourceDown(f"{place} answered with metrics that are cut off or none; check the server.")


def metrics_of(flavour: str, names: Sequence[str], where: str) -> Metrics:
    """The families of a flavour, found out by the names of what is there; raises SourceRefused."""
    chosen = flavour_of(names) if flavour == "auto" else flavour
    if not chosen:
        raise SourceRefused(
            f"{where} holds no metrics of an inference server that is known; name its flavour if it has none yet, "
            "or read them with the connector prometheus."
        )
    return METRICS[chosen]


def scraped_by(text: str, name: str, at_ms: int, flavour: str) -> tuple[Metrics, Found]:
    """What a scrape says of requests; `at_ms` is its time, whatever it says of its own."""
    families = re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.MULTILINE)
    metrics = metrics_of(flavour, families, name)
    found = Found(_wants(metrics))
    read(_Text(name, text, at_ms // 1000), found, at_ms // 1000)
    for times, _ in found.numbers.values():
        for place in range(len(times)):
            times[place] = at_ms
    return metrics, found


def saved(item: Item, flavour: str) -> tuple[Metrics, Found]:
    """What the saved scrapes of a file or folder say, each at its own time."""
    items = [item.child(entry) for entry in item.entries] if item.entries else [item]
    texts = [(one, one.open().read().decode("utf-8", "replace")) for one in items if is_text(one.head)]
    families = [name for _, text in texts for name in re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.MULTILINE)]
    metrics = metrics_of(flavour, families, item.name)
    found = Found(_wants(metrics))
    for one, _ in texts:
        own = Found(_wants(metrics))
        read(one, own, one.given.at if not item.entries else None)
        found.take(own)
    return metrics, found


def _wants(metrics: Metrics) -> Callable[[Mapping[str, str]], bool]:
    made = {name.removesuffix("_bucket").removesuffix("_total") + CREATED for name in metrics.wanted()}
    wanted = {*metrics.wanted(), *made, START}
    timed = {one.name: one for one in (*metrics.timed, *metrics.parts)}

    def wants(labels: Mapping[str, str]) -> bool:
        name = labels.get("__name__", "")
        base = timed.get(name.removesuffix("_bucket").removesuffix(CREATED))
        return name in wanted and (base is None or base.keeps(labels))

    return wants


def look(memory: Memory, counting: Counting, found: Found, at_ms: int) -> Iterator[Covered]:
    """Count what was added since each process answered last, and remember this look."""
    before = memory.samples()
    for labels, at, value in before:
        found.number(tuple(sorted(labels.items())), at, value)
    series = found.series()
    counting.falls = {(): memory.falls}
    counting.count(series)
    now = [
        replace(one, times=one.times[-1:], values=one.values[-1:])
        for one in series
        if one.times.size and one.times[-1] == at_ms
    ]
    memory.take(now, at_ms)
    target = counting.targets.get(())
    memory.falls = [fall for fall in (target.falls if target else []) if at_ms - fall <= BRIDGE * 1000]
    since, until = memory.seen()
    if since < until and not memory.falls:
        owners = {owner for owners in counting.owners.values() for owner in owners}
        for component, signal in sorted(owners):
            yield Covered(since, until, component, signal)


def asked_for(asked: Asked, metrics: Metrics, select: str, counting: Counting) -> int:
    """Count what a Prometheus holds of one stretch; how many series there are."""
    matchers = selector(f"up{select}").matchers if select else ()
    found: list[Scraped] = []
    for one in metrics.counted:
        found += asked.select(replace(selector(one.name), matchers=matchers))
    for each in (*metrics.timed, *metrics.parts):
        found += asked.select(each.selector(matchers))
    targets = sorted({one.labels.get("instance", "") for one in found} - {""})
    if targets:
        pattern = "|".join(re.escape(target) for target in targets)
        begun = selector(START)
        found += asked.select(replace(begun, matchers=(*matchers, Matcher("instance", "=~", pattern))))
    counting.by = _TARGET
    counting.count(found)
    return len(found)
