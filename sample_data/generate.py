"""Write the exports of the sample company: `python -m sample_data.generate [DIR]` (default: beside this file)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sample_data import (
    evaluation_export,
    git_export,
    github_export,
    gitlab_export,
    judged_export,
    junit_export,
    mlflow_export,
    openlineage_export,
    platform_export,
    prediction_logs,
    prometheus_export,
    story,
    tensorboard_export,
    watching_export,
)

HERE = Path(__file__).parent
EXPORTS = (
    prometheus_export, github_export, gitlab_export, git_export, platform_export, junit_export, mlflow_export,
    openlineage_export, evaluation_export, tensorboard_export, prediction_logs, judged_export, watching_export,
)  # fmt: skip


def generate(folder: Path) -> None:
    """Write `folder`/files and `folder`/truth.toml; the same bytes each time."""
    files = folder / "files"
    if files.exists():
        shutil.rmtree(files)
    for export in EXPORTS:
        export.write(files)
    parts = (
        story, watching_export, gitlab_export, git_export, platform_export, judged_export, mlflow_export,
        openlineage_export, evaluation_export, tensorboard_export,
    )  # fmt: skip
    said = [part.truth() for part in parts]
    (folder / "truth.toml").write_text("\n".join(said), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
