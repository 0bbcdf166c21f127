"""The jobs of many pipelines from their project's own list, a hundred to a request and newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from connectors._fields import Raw, Unusable, inside, time_of

MANY = 200
"""Pipelines from which on their jobs are read together; fewer are asked for one by one."""
GROUP = 500
"""Pipelines that are told together, where so many are known."""
SLACK = 3600
"""Seconds that the jobs of a pipeline may be younger than it, those that were tried again left out."""


def together(pages: Iterable[Sequence[Raw]], created: Mapping[str, int]) -> Iterator[dict[str, list[Raw]]]:
    """The jobs of the pipelines in `created`, newest first, each once nothing of it can follow.

    Ends when reading on would cost more than asking for the pipelines that are left: of those nothing is told.
    """
    order = sorted(created, key=lambda key: (created[key], key))
    held: dict[str, list[Raw]] = {}
    ready: dict[str, list[Raw]] = {}
    idle = 0
    for rows in pages:
        for raw in rows:
            key = str(inside(raw, "pipeline").get("id"))
            if key in created:
                held.setdefault(key, []).append(raw)
        newest = max((_made(raw) for raw in rows), default=0)
        done: list[str] = []
        while order and created[order[-1]] > newest + SLACK:
            done.append(order.pop())
        ready |= {key: held.pop(key, []) for key in done}
        if len(ready) >= GROUP:
            yield ready
            ready = {}
        idle = 0 if done else idle + 1
        if idle >= len(order):
            break
    else:
        ready |= {key: held.pop(key, []) for key in reversed(order)}
    if ready:
        yield ready


def may_report(jobs: Sequence[Raw], now: int) -> bool:
    """Whether a pipeline of these jobs may have a test report.

    One is listed among the artifacts of a job, or may have been: artifacts expire and are erased, what was counted of
    them stays. A job that does not list any, as old servers and webhooks tell it, says nothing.
    """
    return not jobs or any(_may(raw, now) for raw in jobs)


def _may(raw: Raw, now: int) -> bool:
    kept = raw.get("artifacts")
    if not isinstance(kept, list) or raw.get("erased_at"):
        return True
    if any(isinstance(one, dict) and one.get("file_type") == "junit" for one in kept):
        return True
    try:
        return 0 < time_of(raw, "artifacts_expire_at", 0) <= now
    except Unusable:
        return True


def _made(raw: Raw) -> int:
    try:
        return time_of(raw, "created_at", 0)
    except Unusable:
        return 0
