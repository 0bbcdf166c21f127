"""Where versions come from, for tests of the screen: every state of a link, nothing at all, and hostile names."""

from __future__ import annotations

from typing import Any

from tandem import lineage, tracing
from tandem.joins import Told
from tandem.lineage import Known, Made, Traffic
from tandem.records import Event, labels_of
from tandem.runs import Number, compared, ran
from tandem.shown import Unreadable, Window
from tandem.traced import Lineage

SHA, OTHER = "3f2a9c1d4b5e6f708192a3b4c5d6e7f801234567", "9e8d7c6b5a493827161504f3e2d1c0b9a8f7e6d5"
RUN, SECOND = "a1b2c3d4" * 4, "b2c3d4e5" * 4
DATA = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
DIGEST = "sha256:" + "4d" * 31 + "a1"


def told(now: int, name: str = "") -> list[Told]:
    """A version that is known whole: `name` stands wherever a source may write what it likes."""
    labels = {"model": name or "fraud", "alias": name or "champion"}
    made = {"param.learning_rate": "0.04", f"param.{name or 'depth'}": name or "6", "python": "3.11.4",
            "packages": DIGEST}  # fmt: skip

    def event(kind: str, key: str, days: int, given: Any = (), **more: Any) -> Event:
        return Event(kind, name + key, now - days * 86400, labels=labels_of(dict(given)), title=name, **more)

    return [
        ("registry" + name, event("release", "fraud/8", 9, labels, version="8", run=RUN)),
        ("registry" + name, event("promotion", "champion:8", 8, labels, version="8", run=RUN,
                                  url="https://mlflow.example/#/models/fraud" if not name else "javascript:alert(1)")),
        ("registry" + name, event("training", RUN, 10, made, run=RUN, commit=SHA, data_version=DATA)),
        ("registry" + name, event("training", SECOND, 20, made | {"param.learning_rate": "0.05"}, run=SECOND,
                                  commit=OTHER)),
        ("history", event("commit", SHA, 11, commit=SHA)),
        ("dvc", event("data_version", "train.parquet", 12, data_version=DATA)),
        ("evaluations", event("validation", "holdout", 10, run=RUN, outcome="bad")),
        ("kubernetes", event("deployment", "shop/fraud@9", 7, version="8")),
    ]  # fmt: skip


def known(component: str, kind: str, now: int) -> Known:
    """What is known of a model in one of the worlds of the fake engine."""
    flows = (Traffic("log", "8", now - 86400, now, 12_345),)
    rows: list[Told] = []
    more: dict[str, Any] = {"alike": ("registry", "log")}
    if kind == "hostile":
        rows = told(now, HOSTILE[0])
    elif kind == "ambiguous":
        rows = [("registry", Event("release", "fraud/8", now - 900, version="8", commit=SHA))]
        rows += [("registry", Event("training", run, now - 9000, run=run, commit=SHA)) for run in (RUN, SECOND)]
    elif kind == "conflict":
        rows = told(now)
        more["made"] = (Made("8", run=SECOND, author="ana", reason="the registry was restored"),)
    elif kind != "empty":
        rows = told(now)
    counts = {one: sum(event.kind == one for _, event in rows) for one in {event.kind for _, event in rows}}
    return Known(component, tuple(rows), counts, aliases=("champion",), traffic=flows if rows else (), **more)


HOSTILE: list[str] = [""]


def answer(
    kind: str, component: str, window: Window, now: int, hostile: Any, *, version: str = "", compare: Any = (),
    **asked: Any,
) -> Lineage:  # fmt: skip
    """What the engine answers."""
    del asked
    HOSTILE[0] = hostile[0] if isinstance(hostile, (tuple, list)) else str(hostile)
    of = known(component, kind, now)
    chain = tracing.chain(of, version)
    reason = chain.chosen if chain else lineage.serving(of)[1]
    both = None
    if compare:
        runs = {event.run: (source, event) for source, event in of.told if event.kind == "training"}
        if not set(compare) <= set(runs):
            raise Unreadable(f"{component} has no training run {compare[0]!r}; the runs are on its page, by their ids.")
        name = HOSTILE[0] if kind == "hostile" else "accuracy"
        numbers = [[Number(name, "evaluation", "registry", run, value, 11, now - 86400.0)]
                   for run, value in zip(compare, (0.95, 0.94), strict=True)]  # fmt: skip
        a, b = (ran([runs[run]]) for run in compare)
        both = compared(a, b, *numbers)
    return Lineage(component, window, 7, tuple(lineage.versions(of)), chain, reason, both)
