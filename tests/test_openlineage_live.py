"""The real openlineage-python in an environment of its own (first use installs it), writing with its file transport."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from connectors import openlineage
from connectors._files import item
from tandem.connect import Given
from tests.environments import environment
from tests.test_openlineage import HERE, configured, events, parsed, rows

REQUIREMENTS = ("openlineage-python==1.54.0",)
SCRIPT = Path(__file__).parent / "openlineage_script.py"

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


def test_what_the_client_writes_is_what_was_captured(tmp_path: Path) -> None:
    python = environment("openlineage", REQUIREMENTS)
    folder = tmp_path / "written"
    done = subprocess.run([str(python), str(SCRIPT), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    captured = parsed(HERE / "runs.ndjson")
    for where in (folder / "runs.ndjson", folder / "single"):
        one = item(where, Given())
        assert openlineage.recognise(one), where.name
        found = list(openlineage.parse(one, configured()))
        assert events(found) == events(captured)
        assert rows(found) == rows(captured)
    # The script's own figures, said here once more so that both cannot be wrong together.
    assert sorted((one.outcome, (one.ended or 0) - (one.started or 0)) for one in events(captured, "training")) == [
        ("bad", 180), ("excluded", 60), ("good", 600),
    ]  # fmt: skip


TAKES = """
import gzip, json, sys
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
seen = 0
for line in gzip.open(sys.argv[1], "rt"):
    told = json.loads(line)
    RunEvent(
        eventType=RunState[told["eventType"]], eventTime=told["eventTime"], producer=told["producer"],
        run=Run(told["run"]["runId"]), job=Job(told["job"]["namespace"], told["job"]["name"]),
    )
    seen += 1
print(seen)
"""


def test_the_client_takes_the_events_of_the_sample_company() -> None:
    path = Path(__file__).parent.parent / "sample_data" / "files" / "openlineage" / "events.ndjson.gz"
    python = environment("openlineage", REQUIREMENTS)
    done = subprocess.run([str(python), "-c", TAKES, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) == gzip.decompress(path.read_bytes()).count(b"\n") > 0
