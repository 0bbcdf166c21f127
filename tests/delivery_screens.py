# ruff: noqa: E501
"""Made-up deliveries for tests of the screen: events of a small company, judged by the real algebra."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tandem import changes, delivered, delivery, linking
from tandem.delivered import Delivered, Part, Runs, Whole
from tandem.flaky import Flaky
from tandem.linking import Fate, Rules
from tandem.records import DAY, HOUR, Event
from tandem.shown import Window
from tandem.store.read import step_for

RULES = Rules()
HOSTILE = """<img src=http://evil.test/a.png onerror=alert(1)>[c](http://evil.test/c)"""
LEADS = {"service": ("build", 3 * HOUR, 30 * HOUR), "model": ("training", 20 * HOUR, 90 * HOUR)}


def fates(name: str, kind: str, since: int, until: int, title: str = "") -> list[Fate]:
    """Deployments of a service about every other day, promotions of a model about every ten; some went back."""
    dice = random.Random(name)
    every = DAY * (2 if kind == "service" else 10)
    made: list[tuple[str, Event]] = []
    ts, number = since + dice.randrange(every), 1
    while ts < until:
        event = Event("deployment" if kind == "service" else "promotion", f"{number}", ts, ended=ts + 240,
                      components=(name,), environment="production", version=f"v{number}", commit=f"{number:040x}",
                      title=title or f"Deploy v{number}", outcome="bad" if dice.random() < 0.05 else "good")  # fmt: skip
        made.append(("github", event))
        if number % 5 == 4 and event.outcome == "good":
            back = Event(event.kind, f"{number}b", ts + 2 * HOUR, ended=ts + 2 * HOUR + 90, components=(name,),
                         environment="production", version=f"v{number - 1}", commit=f"{number - 1:040x}",
                         title=f"Roll back to v{number - 1}")  # fmt: skip
            made.append(("github", back))
        if number % 7 == 3 and event.outcome == "good":
            made.append(("pager", Event("incident", f"INC-{number}", ts + HOUR, ended=ts + 5 * HOUR, components=(name,),
                                        environment="production", title=title or "Errors at the till")))  # fmt: skip
        number, ts = number + 1, ts + every // 2 + dice.randrange(every)
    kinds = ("deployment", "rollback", "promotion")
    seen = changes.changes([pair for pair in made if pair[1].kind in kinds], {}, (), kinds)
    troubles = linking.incidents(made, RULES)
    begun, least, most = LEADS[kind]
    return [linking.with_lead(fate, (fate.change.running - dice.randrange(least, most), begun))
            for fate in linking.fates(seen, linking.links(seen, troubles, (), RULES), troubles, RULES)]  # fmt: skip


def runs(window: Window, side: str, silent: bool) -> Runs:
    dice, step = random.Random(side), step_for(window.since, window.until, delivered.RUNS)
    many = 0 if silent else len(range(window.since // step * step, window.until, step))
    good = tuple(dice.randrange(4 if side == "model" else 30) for _ in range(many))
    took = (("p50", 420.0), ("p95", 1750.0)) if many else (("p50", None), ("p95", None))
    queue = (("p50", 12.0), ("p95", 95.0)) if many and side == "system" else (("p50", None), ("p95", None))
    return Runs(step, good, tuple(dice.randrange(3) for _ in good), took, queue)


def flaky(name: str, title: str, until: int) -> tuple[Flaky, ...]:
    return (
        Flaky("test", title or "tests.test_cart.test_total_is_rounded_once", "checkout", name, "tests", 5, 1, 34, 9, 42.5,
              until - DAY, True, "1 of 5 passes in a row since"),
        Flaky("build", "ci", "", name, "github", 3, 3, 152, 22, 1600.0, until - 3 * DAY, True, "3 of 14 quiet days"),
        Flaky("test", "tests.test_search.test_two_writers", "search", name, "tests", 1, 0, 30, 2, 0.4, until - 9 * DAY,
              False, "left: 5 passes in a row"),
    )  # fmt: skip


def delivery_of(
    kind: str, components: Sequence[Any], window: Window, now: int, *, product: str = "", component: str = "",
    compare: Window | None = None, as_of: int | None = None, **_: Any,
) -> Delivered:  # fmt: skip
    """What the engine would say of the components: everything, nothing ("empty", "silent"), hostile names."""
    before = compare or Window(2 * window.since - window.until, window.since)
    chosen = [one for one in components if product in ("", one.product) and component in ("", one.name)]
    silent = kind in ("empty", "silent", "unknown")
    title = HOSTILE if kind == "hostile" else ""
    known = {} if silent else {one.name: fates(one.name, one.kind, before.since, window.until, title) for one in chosen}
    width = step_for(window.since, window.until, delivered.BARS)
    parts = tuple(
        Part(one.name, one.kind, one.product, not silent, tuple(
            fate for fate in known.get(one.name, ()) if window.since <= fate.change.running < window.until),
            delivery.five(known.get(one.name, ()), window.since, window.until),
            delivery.five(known.get(one.name, ()), before.since, before.until))
        for one in chosen
    )  # fmt: skip
    sides = {}
    for side in delivered.SIDES:
        names = tuple(part.component for part in parts if part.side == side)
        all_of = [fate for name in names for fate in known.get(name, ())]
        bars = delivery.pieces(all_of, window.since, window.until, width)
        sides[side] = Whole(side, names, bool(all_of), delivery.five(all_of, window.since, window.until),
                            delivery.five(all_of, before.since, before.until), bars, runs(window, side, silent))  # fmt: skip
    flakes = () if silent or not chosen else flaky(chosen[0].name, title, window.until)
    links = tuple(link for part in parts for fate in part.fates for link in fate.failed)
    return Delivered(window, before, as_of or 12, now, width, sides, parts, links, flakes, RULES,
                     None if kind == "empty" else window.until - 40, flaky_since=min(window.since, window.until - 14 * DAY))  # fmt: skip
