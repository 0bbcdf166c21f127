"""Pulls of a replayed Evidently and of its files, and what they gave, for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connectors import evidently
from connectors._files import item
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Page, Sample
from tandem.store.file import Store
from tests.evidently_server import PROJECT, Evidently
from tests.faults import virtual
from tests.replay import Asked, serve

PAYLOADS = Path(__file__).parent / "payloads" / "evidently"
SNAPSHOTS = PAYLOADS / "workspace" / PROJECT / "snapshots"
NOW = 1_793_600_000
T1 = 1_793_491_200
"""2026-11-01T00:00:00Z"""


def config(**given: Any) -> evidently.Config:
    common = Common("evidently", "ev", **{"component": ("fraud",), **given.pop("common", {})})
    return evidently.Config(common, **given)


def pulled(server: Evidently, state: Any = None, now: int = NOW, **given: Any) -> tuple[list[Page], list[Asked]]:
    with virtual(), serve(server.answer) as replay:
        pull = Pull(now - 90 * 86400, now, now, state=state, first=state is None)
        return list(evidently.fetch(config(url=replay.url, **given), pull)), replay.asked


def parsed(path: Path, at: int | None = None, zone: str | None = "UTC", **given: Any) -> list[Page]:
    return list(evidently.parse(item(path, Given(at=at, timezone=zone)), config(**given)))


def of(pages: list[Page], kind: type[Any]) -> list[Any]:
    return [one for page in pages for one in page.records if isinstance(one, kind)]


def values(pages: list[Page]) -> dict[str, float]:
    return {one.series.name: one.value for one in of(pages, Sample)}


def events(pages: list[Page], kind: str) -> list[Event]:
    return [one for one in of(pages, Event) if one.kind == kind]


def remarks(pages: list[Page]) -> str:
    return "; ".join(f"{one.kind} {one.reason} x{one.count}" for page in pages for one in page.findings)


class Kept:
    """One source and its store, pulled again and again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked: list[Asked] = []

    def pull(self, server: Evidently, now: int, **given: Any) -> collect.Outcome:
        with virtual(), serve(server.answer) as replay:
            own = config(url=replay.url, **given)
            module = connect.load("evidently")
            fixed = type("Fixed", (), {**vars(module), "scope": staticmethod(lambda config: "one")})
            outcome = collect.pull(self.store, Source(own.common, fixed, own), now)  # type: ignore[arg-type]
            self.asked = list(replay.asked)
        assert outcome.error == ""
        return outcome

    def cells(self) -> dict[tuple[str, str, int], int]:
        found = self.store.cursor().execute("SELECT actual, predicted, ts, sum(n) FROM confusion GROUP BY ALL")
        return {(a, p, ts): int(n) for a, p, ts, n in found.fetchall() if n}

    def sample(self, name: str) -> float:
        row = self.store.cursor().execute(
            "SELECT arg_max(p.value, p.load_id) FROM sample p JOIN series s ON s.id = p.series WHERE s.name = ?", [name]
        ).fetchone()  # fmt: skip
        assert row is not None
        return float(row[0])

    def outcomes(self, kind: str) -> dict[str, str]:
        found = self.store.cursor().execute(
            "SELECT key, arg_max(outcome, load_id) FROM event WHERE kind = ? GROUP BY key", [kind]
        )
        return dict(found.fetchall())
