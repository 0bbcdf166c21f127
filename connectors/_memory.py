"""What the pull before this one left, where its settings are still the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from tandem.connect import Pull

M = TypeVar("M")


def kept(kind: Callable[..., M], config: Any, pull: Pull, *told: object) -> M:
    """A `kind(settings, floor, ...)` as it was left; an empty one where the source was told otherwise.

    `told`: the settings that decide what is asked, what words mean goes by itself; `floor`: the time before which
    nothing was asked, 0 where that is not known.
    """
    whole = json.dumps(["1", *told, sorted(config.common.status.items())])
    settings = hashlib.sha256(whole.encode()).hexdigest()[:16]
    if not isinstance(pull.state, dict) or pull.state.get("settings") != settings:
        return kind(settings, floor=pull.since if pull.first else 0)
    return kind(**pull.state)


def reach(floor: int, config: Any, pull: Pull, horizon: int) -> tuple[int, int]:
    """(since when all is asked for, how far back what has ended may begin anew), epoch seconds.

    The daily sweep asks for all of the horizon, `floor` is never passed.
    """
    back = pull.until - (config.common.horizon or horizon)
    sweeps = pull.sweep and not pull.first
    return max(floor, min(pull.since, back) if sweeps else pull.since), back
