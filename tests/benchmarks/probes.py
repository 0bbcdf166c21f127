"""1,000 probes every 30 s against a local server, all the way into the store: CPU, jitter, memory.

python -m tests.benchmarks.probes [CHECKS] [EVERY] [TICKS]
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from connectors import probe
from tandem import connect
from tandem.config import Source
from tandem.connect import Common
from tandem.owner import Owner
from tandem.store.read import Reader
from tests import fakes


def answering(told: Connection) -> None:
    """The server, in a process of its own: remembers when each path was asked."""
    asked: list[tuple[str, float]] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        asked.append((line.split()[1].decode(), time.time()))
        while (await reader.readline()).strip():
            pass
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(one, "127.0.0.1", 0, backlog=1024)
        told.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(told.recv)
        told.send(asked)

    asyncio.run(serve())


def memory() -> int:
    """Resident bytes of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def measured(checks: int, every: int, ticks: int) -> dict[str, object]:
    """What `ticks` polls of `checks` targets cost; the first poll, which starts everything, is left out."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=answering, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    common = Common("probe", "uptime", every=every)
    given = probe.Config(
        common, check=tuple(probe.Check(f"c{n}", f"http://127.0.0.1:{port}/{n}") for n in range(checks))
    )
    source = Source(common, connect.load("probe"), given)
    ended: list[tuple[float, float, int]] = []

    def say(name: str, what: str, share: float | None) -> None:
        if share == 1.0:
            ended.append((time.time(), time.process_time(), memory()))

    with tempfile.TemporaryDirectory() as folder:
        with Owner.open(fakes.config(Path(folder), source), time.time) as owner:
            owner.collect(say)
            while len(ended) <= ticks:
                time.sleep(0.2)
            reader = Reader(owner.store)
            ids = [kept.id for kept in reader.series(signal="availability") if not kept.placed.segment]
            stored = [merge[0] for merge in reader.totals("ratio", ids, [(0, 1 << 40)]).values() if merge[0]]
        size = (Path(folder) / "tandem.duckdb").stat().st_size
    ours.send("end")
    asked = ours.recv()
    server.join()
    return _figures(asked, ended, every) | {
        "checks": checks, "every_s": every, "polls": len(ended),
        "looks_stored": sum(total for _, total in stored), "looks_good": sum(good for good, _ in stored),
        "requests": len(asked), "store_bytes": size,
    }  # fmt: skip


def _figures(asked: list[tuple[str, float]], ended: list[tuple[float, float, int]], every: int) -> dict[str, object]:
    first, last = ended[0], ended[-1]
    by_tick: dict[int, list[float]] = defaultdict(list)
    by_path: dict[str, list[float]] = defaultdict(list)
    for path, at in asked:
        if at > first[0]:
            by_tick[int(at // every) * every].append(at)
            by_path[path].append(at)
    gaps = [abs(b - a - every) for times in by_path.values() for a, b in pairwise(times)]
    gaps.sort()
    return {
        "cpu_share_of_a_core": round((last[1] - first[1]) / (last[0] - first[0]), 4),
        "cpu_ms_per_look": round(1000 * (last[1] - first[1]) / max(1, sum(map(len, by_tick.values()))), 3),
        "poll_begins_late_s": round(max(min(times) - tick for tick, times in by_tick.items()), 3),
        "poll_is_strewn_over_s": round(median(max(times) - min(times) for times in by_tick.values()), 2),
        "poll_is_stored_after_s": round(max(at % every for at, _, _ in ended[1:]), 2),
        "interval_off_median_s": round(median(gaps), 2) if gaps else None,
        "interval_off_p99_s": round(gaps[int(len(gaps) * 0.99)], 2) if gaps else None,
        "rss_mb_after_first": round(first[2] / 1e6, 1),
        "rss_mb_at_end": round(last[2] / 1e6, 1),
    }


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:]] + [1000, 30, 6][len(sys.argv) - 1 :]
    print(json.dumps(measured(*numbers), indent=1))
