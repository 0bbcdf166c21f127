"""Stretches that leave both counts of objectives: what was agreed in the configuration, and maintenance.

Whole buckets of 5 minutes leave that a correction touches; of what is counted by the hour, whole hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.config import Config
from tandem.intervals import Span, union
from tandem.records import BUCKET, Event


@dataclass(frozen=True, slots=True)
class Correction:
    """One stretch [since, until), epoch seconds, as it was said; `origin` is who leaves it out.

    `signals` and `environment` narrow it where they are not empty; `is_open` marks a maintenance that goes on, which
    ends at the present for now; `agreed` is a day, or "".
    """

    origin: Literal["agreed", "maintenance"]
    since: int
    until: int
    components: tuple[str, ...]
    signals: tuple[str, ...]
    environment: str
    author: str
    reason: str
    agreed: str
    source: str = ""
    key: str = ""
    is_open: bool = False

    def concerns(self, component: str, signal: str, environment: str) -> bool:
        """Whether it is about that signal of that component there."""
        return (
            component in self.components
            and (not self.signals or signal in self.signals)
            and self.environment in ("", environment)
        )


def agreed(config: Config) -> list[Correction]:
    """The [[correction]] tables of a configuration."""
    return [Correction("agreed", one.from_, one.to, one.component, one.signal, one.environment, one.author, one.reason,
                       one.agreed) for one in config.corrections]  # fmt: skip


def maintenance(event: Event, source: str, now: int) -> Correction | None:
    """What a maintenance takes out; None for one that was cancelled, has no length, or is about nothing known."""
    begin = event.started if event.started is not None else event.ts
    is_open = event.outcome == "open" and event.ended is None
    end = now if is_open else event.ended
    if event.outcome == "excluded" or end is None or end <= begin or not event.components:
        return None
    reason = event.title or "maintenance"
    return Correction("maintenance", begin, end, event.components, (), event.environment, event.actor, reason, "",
                      source, event.key, is_open)  # fmt: skip


def touched(some: Iterable[Correction], component: str, signal: str, environment: str) -> list[Span]:
    """The whole buckets that leave the counts of a signal, disjoint and in order."""
    return union((one.since // BUCKET * BUCKET, -(-one.until // BUCKET) * BUCKET)
                 for one in some if one.concerns(component, signal, environment))  # fmt: skip


def within(
    some: Sequence[Correction], components: Sequence[str], environment: str, since: int, until: int
) -> tuple[Correction, ...]:
    """Those about any of the components that touch [since, until), oldest first."""
    mine = set(components)
    found = [one for one in some if mine & set(one.components) and one.environment in ("", environment)
             and one.since < until and one.until > since]  # fmt: skip
    return tuple(sorted(found, key=lambda one: (one.since, one.until, one.reason)))
