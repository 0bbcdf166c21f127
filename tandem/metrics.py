"""Tandem's own health and every objective's budget and burn, as Prometheus reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tandem.shown import STATES, Sources

Labels = Mapping[str, str]


def exposition(loads: int, sources: Sources, shown: Sequence[Mapping[str, Any]], now: int) -> str:
    """The exposition text (version 0.0.4) of the highest load, the sources, and the answers of `show`."""
    lines = [
        *_family("tandem_load", "Highest load committed.", [({}, loads)]),
        *_family("tandem_source_up_to_date", "Whether the source answered when last asked and is not late.",
                 (({"source": one.name}, int(one.state == "up to date")) for one in sources.sources)),
        *_family("tandem_source_last_pull_age_seconds", "Seconds since the source was last asked.",
                 (({"source": one.name}, now - one.last_pull) for one in sources.sources if one.last_pull is not None)),
        *_family("tandem_source_newest_age_seconds", "Seconds since the end of the source's newest data.",
                 (({"source": one.name}, now - one.newest) for one in sources.sources if one.newest is not None)),
        *_family("tandem_source_rejects", "Records of the source that could not be counted.",
                 (({"source": one.name}, sum(n for _, _, n in one.rejects)) for one in sources.sources)),
        *_family("tandem_component_state", "1 for the state that the component is in, 0 for the others.",
                 (({"component": one["component"], "state": state}, int(one["state"] == state))
                  for one in shown for state in STATES)),
        *_family("tandem_objective_target_ratio", "Target share of good.", _each(shown, "target")),
        *_family("tandem_objective_budget_left_ratio", "Share of the error budget left; below 0 it is overspent.",
                 _each(shown, "budget_left")),
        *_family("tandem_product_budget_left_ratio",
                 "Share of the budget left of what a service and its model promise together.", _together(shown)),
        *_family("tandem_objective_burn_rate", "How many times too fast the budget is spent.", _burns(shown)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _objectives(shown: Sequence[Mapping[str, Any]]) -> Iterator[tuple[dict[str, str], Mapping[str, Any]]]:
    for one in shown:
        for signal in one["signals"]:
            found = signal["objective"]
            if found is not None:
                yield {"component": one["component"], "signal": signal["signal"], "objective": found["name"]}, found


def _each(shown: Sequence[Mapping[str, Any]], key: str) -> Iterator[tuple[Labels, float]]:
    yield from ((labels, found[key]) for labels, found in _objectives(shown) if found[key] is not None)


def _together(shown: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Labels, float]]:
    """Each pair once, though both of its components tell of it."""
    told = {(one["product"], one["service"], one["model"]): one["budget_left"]
            for part in shown for one in part["joint"] if one["budget_left"] is not None}  # fmt: skip
    yield from (({"product": product, "service": service, "model": model}, left)
                for (product, service, model), left in told.items())  # fmt: skip


def _burns(shown: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Labels, float]]:
    for labels, found in _objectives(shown):
        yield from ((labels | {"window": name}, rate) for name, rate in found["burn"].items() if rate is not None)


def _family(name: str, meaning: str, rows: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} gauge"
    for labels, value in rows:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{f'{{{inside}}}' if inside else ''} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else str(value).replace("inf", "Inf").replace("nan", "NaN")
