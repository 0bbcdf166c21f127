"""A full disk: caught, said in one sentence, what is there is shown, and nothing is lost or doubled afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.store import sound
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import processes, slow_source

pytest.importorskip("resource", reason="the limit on a file's size is asked of the system")

CONFIG = """
[[component]]
name = "shop"
[[source]]
connector = "slow_source"
name = "till"
pages = 16
rows = 1000
"""
LIMITED = """
import json, resource, sys
from pathlib import Path
from tandem import api, config, owner
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), before[1]))
owner.AGAIN = 0
with owner.Owner.open(config.load(Path("tandem.toml")), lambda: 1_790_000_000, command="serve") as one:
    told = {"first": one.sync()[0].error, "trouble": one.trouble, "read_only": one.store.read_only}
    asked = {"component": ["shop"], "from": ["2023-11-14"], "to": ["2024-03-01"]}
    told["status"], _, body = api.answer(one, "GET", "/api/v1/show", asked, {})
    told["total"] = json.loads(body)["signals"][0]["total"]
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told["second"], told["healed"] = one.sync()[0].error, one.trouble
    told["faults"] = api.answer(one, "GET", "/api/v1/doctor", {}, {})[2].decode()
print(json.dumps(told))
"""


def configured(folder: Path) -> Path:
    folder.mkdir()
    (folder / "tandem.toml").write_text(CONFIG)
    return folder


def digest(folder: Path) -> str:
    with open_store(folder / "tandem.duckdb") as store:
        assert sound.faults(store) == []
        return Reader(store).digest()


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    package = slow_source.packaged(tmp_path / "package")
    plain, full = configured(tmp_path / "plain"), configured(tmp_path / "full")
    assert processes.run("sync", folder=plain, packages=[package]).returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "300000"], cwd=full, env=processes.environment(package), capture_output=True,
        text=True, timeout=processes.PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert "cannot be written" in told["first"]
    assert told["trouble"] == told["first"]
    assert (told["read_only"], told["status"]) == (True, 200)
    assert told["total"] > 0, "what was committed is shown"
    assert (told["second"], told["healed"]) == ("", ""), "with room again it goes on"
    assert json.loads(told["faults"]) == {"findings": []}
    assert digest(full) == digest(plain)


@pytest.mark.parametrize("limit", [300_000])
def test_a_sync_that_fills_the_disk_ends_with_one_sentence(tmp_path: Path, limit: int) -> None:
    package = slow_source.packaged(tmp_path / "package")
    folder = configured(tmp_path / "full")
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, "
        f"({limit}, resource.getrlimit(resource.RLIMIT_FSIZE)[1])); from tandem.cli import main; main(['sync'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=processes.environment(package), capture_output=True, text=True,
        timeout=processes.PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("till: ")
    assert "Make room on the disk" in sentence
    after = processes.run("sync", folder=folder, packages=[package])
    assert (after.returncode, after.stderr) == (0, "")
    assert digest(folder)
