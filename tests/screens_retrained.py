# ruff: noqa: E501
"""What followed the onsets of a model, for tests of the screen: every state, none, many, and hostile names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tandem import retrained
from tandem.records import DAY, HOUR
from tandem.retrained import Counts, Effect, Followed, Onset, Promotion, Retrained, Training, Trigger

RUN = "a1b2c3d4" * 4


def told(rows: Sequence[Followed], name: str, now: int) -> Retrained:
    said = retrained.sentence(rows, True, name, 28, now)
    return Retrained(name, now - 40 * DAY, now, said, tuple(rows), ("registry",), now - 300)


def compared(now: int, good: int, later: int, measure: str = "accuracy", of: str = "labelled predictions") -> Effect:
    """1,000 before and 1,000 after a promotion ten days ago."""
    at = now // HOUR * HOUR - 10 * DAY
    return retrained.effect(measure, of, Counts(at - 3 * DAY, at, good, 1000), Counts(at, at + 3 * DAY, later, 1000))


def run(now: int, word: str = "schedule", actor: str = "trainer", outcome: str = "good") -> Training:
    ended = now - 11 * DAY + HOUR if outcome != "open" else None
    return Training(RUN, "nightly-train", now - 11 * DAY, ended, outcome, retrained.trigger(word, actor), (), RUN,
                    "registry", "https://mlflow.example/#/experiments/1/runs/a1b2")  # fmt: skip


def rows(now: int) -> list[Followed]:
    """One of every kind, newest first."""
    promotion = Promotion("12", now - 10 * DAY - 900, now - 10 * DAY, "joined by run id a1b2c3d4a1b2c3d4…, named by its "
                          "training in registry", "", "registry", "")  # fmt: skip
    hours = compared(now, 20, 25, "without data drift", "feature-hours of 2 features")
    assert hours.before is not None
    assert hours.after is not None
    drift = retrained.effect(hours.measure, hours.of, replace(hours.before, days=6), replace(hours.after, days=6))
    early = Effect(
        "too early to tell", "3 of the 24 hours after the promotion that it takes are there", "accuracy", "x"
    )
    none = retrained.without(None)
    return [
        Followed(Onset("drift", ("amount_usd",), now - 6 * DAY, None), effects=(none,)),
        Followed(Onset("drift", ("amount", "items"), now - 13 * DAY, now - 9 * DAY), run(now), 2, promotion,
                 (drift, compared(now, 850, 930))),
        Followed(Onset("breach", ("fraud-score accuracy",), now - 14 * DAY, None, "outcome", early=True), run(now, "push"),
                 1, promotion, (compared(now, 900, 850),)),
        Followed(Onset("drift", ("age",), now - 15 * DAY, None), run(now, "api", ""), 1, replace(
            promotion, since=promotion.until), (early,)),
        Followed(Onset("drift", ("channel",), now - 16 * DAY, None), run(now, "", "", "open"), 1, None,
                 (retrained.without(run(now, outcome="open")),)),
        Followed(Onset("breach", ("fraud-score drift",), now - 17 * DAY, None, "drift"), unknown="registry told nothing",
                 effects=(retrained.without(None, "registry told nothing"),)),
    ]  # fmt: skip


def of_kind(kind: str, now: int, hostile: Sequence[str]) -> list[Followed]:
    """The rows of a kind of engine."""
    if kind in ("empty", "silent"):
        return []
    some = rows(now)
    if kind == "crowd":
        return [replace(one, onset=replace(one.onset, since=one.onset.since - place * DAY))
                for place in range(7) for one in some]  # fmt: skip
    if kind != "hostile":
        return some
    promoted = some[1]
    assert promoted.training is not None
    assert promoted.promotion is not None
    return [
        Followed(
            Onset("drift", (bad, bad), now - 13 * DAY, None),
            replace(promoted.training, title=bad, source=bad, url=bad, key=bad, outcome=bad, trigger=Trigger("other", bad, bad)),
            1, replace(promoted.promotion, version=bad, joined=bad, url=bad),
            (replace(promoted.effects[0], measure=bad, of=bad, reason=bad), Effect("not applicable", bad, bad, bad)), bad,
        )
        for bad in hostile
    ]  # fmt: skip


def answer(kind: str, name: str, now: int, hostile: Sequence[str]) -> Retrained:
    """What the engine answers."""
    return told(of_kind(kind, now, hostile), name, now)
