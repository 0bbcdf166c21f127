"""Journeys through the installed command line, as somebody makes them who reads only what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def tandem(folder: Path, *arguments: object, rc: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command in a folder; fails where it ends with another exit code."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "tandem.cli", *map(str, arguments)],
        cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, encoding="utf-8",
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == rc, (arguments, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def answer(folder: Path, *arguments: object, **environment: str) -> Any:
    return json.loads(tandem(folder, *arguments, "--json", **environment).stdout)


def block_in(said: str) -> dict[str, Any]:
    """The configuration that a refusal offers."""
    source: dict[str, Any] = tomllib.loads("[[source]]" + said.partition("[[source]]")[2])["source"][0]
    return source


ODD = """\
key,when,out,truth
1,2026-11-01T00:00:00Z,a,a
2,2026-11-01T00:01:00Z,b,a
3,2026-11-01T00:02:00Z,b,b
4,2026-11-01T00:03:00Z,c,
"""
WINDOW = ("--from", "2026-11-01T00:00:00Z", "--to", "2026-11-01T00:05:00Z")


def test_a_log_with_other_column_names_is_refused_with_a_block_that_works_when_it_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "Größe [1] 😀.csv").write_text(ODD, encoding="utf-8")
    said = tandem(tmp_path, "import", "Größe [1] 😀.csv", rc=1).stderr
    block = block_in(said)
    assert 'columns: "key", "when", "out", "truth"' in said
    assert "\ufffd" not in said
    filled = block | {"id": "key", "time": "when", "prediction": "out", "label": "truth", "task": "multiclass"}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in filled.items()]
    (tmp_path / "tandem.toml").write_text("\n".join(["[[source]]", *lines]), encoding="utf-8")
    tandem(tmp_path, "import", "Größe [1] 😀.csv")
    first = answer(tmp_path, "show", "MODEL", *WINDOW)
    assert (first["quality"]["predictions"], first["quality"]["labels"]) == (4, 3)
    assert first["quality"]["accuracy"] == 2 / 3
    tandem(tmp_path, "sync")
    again = answer(tmp_path, "show", "MODEL", *WINDOW)
    assert again["quality"] == first["quality"]
    assert [(s["signal"], s["good"], s["total"]) for s in again["signals"]] == [
        (s["signal"], s["good"], s["total"]) for s in first["signals"]
    ]


def test_the_block_says_the_task_that_the_predictions_tell(tmp_path: Path) -> None:
    for task, values in (("binary", "yes no yes"), ("multiclass", "a b c"), ("regression", "0.5 1.25 7.0")):
        rows = [f"{at},2026-11-01T00:00:00Z,{value}" for at, value in enumerate(values.split())]
        (tmp_path / "log.csv").write_text("\n".join(["id,time,prediction", *rows]) + "\n")
        assert block_in(tandem(tmp_path, "import", "log.csv", rc=1).stderr)["task"] == task


def test_what_is_no_table_is_no_prediction_log(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Dear reader, this, as you see, is prose.\n")
    assert "nothing that Tandem reads" in tandem(tmp_path, "import", "notes.txt", rc=1).stderr


def test_two_segments_are_refused_rather_than_one_of_them_dropped(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("id,time,prediction\n1,2026-11-01T00:00:00Z,a\n")
    tandem(tmp_path, "import", "log.csv", "--component", "m")
    said = tandem(tmp_path, "show", "m", "--segment", "country=DE", "--segment", "channel=web", rc=2).stderr
    assert "give it once" in said


LOG = "id,time,prediction,actual\n1,2026-11-01T00:00:00Z,a,a\n"


def test_every_imported_log_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Two series of one name would make /metrics unreadable for Prometheus."""
    for name in ("one.csv", "two.csv", "other/two.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(LOG)
        tandem(tmp_path, "import", name, "--component", f"{name[:3]}-{len(name)}")
    names = [one["name"] for one in answer(tmp_path, "sources")["sources"]]
    assert names[0] == "import:predictions:one.csv"
    assert len(set(names)) == len(names) == 3
    assert answer(tmp_path, "show", "one-7", *WINDOW)["signals"][0]["source"] == names[0]


def test_a_refusal_names_the_file_once(tmp_path: Path) -> None:
    (tmp_path / "cut.xml").write_text("<testsuite><testcase")
    said = tandem(tmp_path, "import", "cut.xml", "--component", "m", rc=1).stderr
    assert said.splitlines()[-1].count("cut.xml") == 1


def test_a_log_of_booleans_meets_labels_of_0_and_1(tmp_path: Path) -> None:
    """As pandas writes them; scikit-learn takes True for 1 too."""
    rows = ["True,0.9,1", "False,0.1,0", "True,0.8,1.0", "False,0.2,0", "true,0.7,0", "1,0.6,", "0,0.4,True"]
    lines = [f"{at},2026-11-01T00:00:00Z,{row}" for at, row in enumerate(rows)]
    (tmp_path / "log.csv").write_text("\n".join(["id,time,prediction,score,label", *lines]) + "\n")
    tandem(tmp_path, "import", "log.csv", "--component", "m")
    quality = answer(tmp_path, "show", "m", *WINDOW)["quality"]
    found = [quality[name] for name in ("task", "predictions", "labels", "accuracy", "precision", "recall")]
    assert found == ["binary", 7, 6, 4 / 6, 2 / 3, 2 / 3]
    assert quality["roc_auc"] is not None
