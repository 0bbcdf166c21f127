"""Two training runs as one value of a link: selected=runs:A..B, either of which may still be left out."""

from __future__ import annotations

KIND = "runs:"
APART = ".."
LONGEST = 90
"""Characters of a run id that a link holds: two of them fit into one value."""


def written(a: str, b: str) -> str:
    """The value of a link; "" where neither is chosen."""
    return f"{KIND}{a}{APART}{b}" if a or b else ""


def runs(selected: str) -> tuple[str, str]:
    """The two runs of a value of a link; ("", "") where it selects something else."""
    if not selected.startswith(KIND):
        return "", ""
    a, _, b = selected.removeprefix(KIND).partition(APART)
    return a, b
