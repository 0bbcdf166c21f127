"""Tables that the real program wrote, merged, optimised, cleaned and deleted from, against what it reads itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _delta_vectors, delta
from connectors._delta_log import listing
from tests.environments import environment
from tests.test_delta import config
from tests.test_predictions import FAR, Shelf

pytestmark = pytest.mark.live
STEPS = Path(__file__).parent / "lake_steps.py"
GIVEN: dict[str, Any] = {"id": "prediction_id", "score": "score", "segments": ("day",)}


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("deltalake", ["deltalake==1.6.6", "pyarrow", "pyroaring==1.2.0"])


class Real:
    """A table of the real program, and a source that follows it."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = python
        self.folder = folder
        self.shelf = Shelf()
        self.pages: list[Any] = []

    def step(self, name: str) -> dict[str, Any]:
        done = subprocess.run([self.python, STEPS, self.folder, name], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def pull(self, keep: bool = True) -> Shelf:
        self.pages = list(delta.fetch(config(self.folder, **GIVEN), self.shelf.pull(FAR, keep=keep)))
        return self.shelf.take(self.pages)

    def slices(self) -> set[str]:
        """The partitions that the last pull restated."""
        return {page.slice.name for page in self.pages if page.slice and "=" in page.slice.name}


def told(shelf: Shelf) -> dict[str, list[int]]:
    """[labelled, all, right] by day."""
    found: dict[str, list[int]] = {}
    for key, values in shelf.total().items():
        day = found.setdefault(key[3].removeprefix("day="), [0, 0, 0]) if key[3] else [0, 0, 0]
        if key[0] == "label_coverage":
            day[0] += values[0]
            day[1] += values[1]
        if key[0] == "outcome" and key[5] == key[6]:
            day[2] += values[0]
    return found


def test_a_table_through_all_that_happens_to_it(python: Path, tmp_path: Path) -> None:
    real = Real(python, tmp_path / "t")
    truth = real.step("write")
    assert told(real.pull()) == truth["days"]
    for name, touched in (
        ("merge", {"day=2026-11-01"}), ("optimize", set()), ("vacuum", set()), ("late", {"day=2026-11-02"}),
        ("wider", {"day=2026-11-04"}), ("delete rows", {"day=2026-11-02"}), ("overwrite", {"day=2026-11-04"}),
    ):  # fmt: skip
        truth = real.step(name)
        assert told(real.pull()) == truth["days"], name
        # A new column makes new bins, and so counts every partition again.
        assert real.slices() == touched or name == "wider", name
        assert real.shelf.state["version"] == truth["version"]
        assert not real.shelf.findings
        assert real.pull() is real.shelf and not real.slices()
    assert [one.title for one in real.shelf.events.values()] == ["column device: appeared"]
    fresh = Real(python, real.folder)
    assert told(fresh.pull()) == truth["days"]


def test_a_log_that_the_program_cleaned_and_a_day_that_it_deleted(python: Path, tmp_path: Path) -> None:
    real = Real(python, tmp_path / "t")
    truth = real.step("write")
    real.pull()
    real.step("merge")
    truth = real.step("clean")
    found = listing(real.folder)
    assert found.checkpoints
    assert 0 not in found.commits, "the program cleaned nothing away"
    assert told(real.pull()) == truth["days"]
    day = truth["days"]["2026-11-03"]
    truth = real.step("delete day")
    assert told(real.pull()) == {**truth["days"], "2026-11-03": day}, "a deleted day keeps its numbers"
    truth = real.step("restore")
    assert told(real.pull()) == truth["days"]
    assert truth["days"]["2026-11-03"] == day


VECTORS = """
import json, random, struct
from pyroaring import BitMap64
draw = random.Random(3)
cases = [[], [0], list(range(70_000)), sorted(draw.sample(range(300_000), 60_000)),
         sorted(draw.sample(range(1 << 34), 500)),
         [*range(5, 40), 1 << 33], [*range(0, 65_536, 2), *range(100_000, 165_000)], [65_536 * n for n in range(9)]]
found = []
for rows in cases:
    for runs in (False, True):
        bits = BitMap64(rows)
        if runs:
            bits.run_optimize()
        data = struct.pack("<I", 1_681_511_377) + bits.serialize()
        found.append([data.hex(), len(rows), sum(rows), rows[:3] + rows[-3:]])
print(json.dumps(found))
"""


def test_deletion_vectors_of_the_reference_implementation(python: Path, tmp_path: Path) -> None:
    """Lists, bitmaps and runs, also beyond 32 bits, as CRoaring writes them."""
    done = subprocess.run([python, "-c", VECTORS], capture_output=True, text=True, check=True)
    for number, (data, count, total, some) in enumerate(json.loads(done.stdout)):
        raw = bytes.fromhex(data)
        path = tmp_path / f"deletion_vector_00000000-0000-0000-0000-{number:012}.bin"
        path.write_bytes(
            b"\x01" + len(raw).to_bytes(4, "big") + raw + _delta_vectors.zlib.crc32(raw).to_bytes(4, "big")
        )
        place = _z85(bytes(10) + number_of(number))
        vector = {
            "storageType": "u",
            "pathOrInlineDv": place,
            "offset": 1,
            "sizeInBytes": len(raw),
            "cardinality": count,
        }
        rows = _delta_vectors.deleted(vector, tmp_path)
        assert rows.size == count
        assert int(rows.sum()) == total
        assert [*rows[:3].tolist(), *rows[-3:].tolist()] == some
        assert (np.diff(rows) > 0).all()


def number_of(number: int) -> bytes:
    return bytes.fromhex(f"{number:012}")


def _z85(data: bytes) -> str:
    from tests.lakes import z85

    return z85(data)
