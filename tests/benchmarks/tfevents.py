"""CPU per record and memory of reading a folder of TensorBoard's event files, beside reading their bytes.

Run: python -m tests.benchmarks.tfevents [--megabytes 1000] [--scalars-only] [--store]

The folder holds eight runs of ten tags: most records are scalars, most bytes histograms of 9 kB, as a training with
weights' histograms writes them; with --scalars-only there is nothing but scalars. Reading goes through the connector,
with every sum checked and every sample made; --store puts them into a store as well. Each size is read by a process of
its own, a tenth of it too, so that memory can be compared. User and system time of the whole process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import struct
import tempfile
from pathlib import Path

from connectors import tensorboard
from connectors._tfrecord import crc32c
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Pull
from tandem.records import Sample
from tandem.store.file import open_store
from tests.event_files import event, part, simple, summary, version

NOW = 1_795_300_000
RUNS, TAGS = 8, 10
HISTOGRAM = 9_000
EVERY = 8
"""Steps between two histograms: 80 scalars of 50 bytes, then one histogram."""


def build(folder: Path, megabytes: int, *, scalars_only: bool) -> int:
    """Eight event files; returns how many records they hold."""
    count = 0
    for run in range(RUNS):
        path = folder / f"run-{run}" / f"events.out.tfevents.{NOW}.host.{run}"
        path.parent.mkdir(parents=True)
        step, begin = 0, float(NOW - 86_400)
        with path.open("wb") as file:
            count += _write(file, [version(begin)])
            while file.tell() < megabytes * 1_000_000 / RUNS:
                records = []
                for _ in range(200):
                    step += 1
                    records += [event(begin + step / 100, step, summary(simple(f"layer-{tag}/loss", 1 / (step + tag))))
                                for tag in range(TAGS)]  # fmt: skip
                    if step % EVERY == 0 and not scalars_only:
                        body = part(1, b"weights") + part(5, bytes(HISTOGRAM))
                        records.append(event(begin + step / 100, step, summary(body)))
                count += _write(file, records)
    return count


def _write(file, records: list[bytes]) -> int:  # type: ignore[no-untyped-def]
    lengths = [struct.pack("<Q", len(one)) for one in records]
    heads, sums = crc32c(lengths).tolist(), crc32c(records).tolist()
    file.write(b"".join(length + struct.pack("<I", head) + one + struct.pack("<I", last)
                        for length, head, one, last in zip(lengths, heads, records, sums, strict=True)))  # fmt: skip
    return len(records)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _bytes(folder: Path, store: Path | None) -> int:
    read = 0
    for path in folder.rglob("events*"):
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                read += len(piece)
    return read


def _connector(folder: Path, store: Path | None) -> int:
    given = tensorboard.Config(Common("tensorboard", "bench", component=("m",)), path=folder)
    if store is None:
        pages = tensorboard.fetch(given, Pull(0, NOW, NOW))
        return sum(isinstance(one, Sample) for page in pages for one in page.records)
    with open_store(store) as opened:
        return collect.pull(opened, Source(given.common, connect.load("tensorboard"), given), NOW).rows


def _measured(work, folder: Path, store: Path | None, send) -> None:  # type: ignore[no-untyped-def]
    before = _spent()
    found = work(folder, store)
    send.send((_spent() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, found))


def measure(work, folder: Path, store: Path | None = None) -> tuple[float, float, int]:  # type: ignore[no-untyped-def]
    """CPU seconds, greatest resident MB, and what was found, by a new process."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(work, folder, store, send))
    process.start()
    found: tuple[float, float, int] = receive.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--scalars-only", action="store_true")
    parser.add_argument("--store", action="store_true")
    given = parser.parse_args()
    for size in (given.megabytes // 10, given.megabytes):
        folder = Path(tempfile.mkdtemp(prefix="tfevents-"))
        try:
            records = build(folder / "logs", size, scalars_only=given.scalars_only)
            floor, _, _ = measure(_bytes, folder / "logs")
            cpu, memory, samples = measure(_connector, folder / "logs")
            each = cpu / records * 1e6
            print(
                f"{size:,} MB, {records:,} records, {samples:,} samples kept: {cpu:.1f} CPU s, {each:.1f} us per record"
            )
            print(f"  at most {memory:.0f} MB resident; reading its bytes alone {floor:.2f} CPU s")
            if given.store:
                cpu, memory, rows = measure(_connector, folder / "logs", folder / "t.duckdb")
                print(f"  into a store: {rows:,} rows, {cpu:.1f} CPU s, {memory:.0f} MB")
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
