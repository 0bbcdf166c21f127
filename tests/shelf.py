"""What the store does for a connector that speaks in slices, in memory: slices, their facts, state and events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tandem.bins import merge
from tandem.connect import Pull
from tandem.records import Covered, Event, Fact, Finding, Histogram, Page, Ratio

FAR = 1 << 40


class Shelf:
    """Slices by name, counted once; the same name with another digest takes the old rows back."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.slices: dict[str, list[Fact]] = {}
        self.events: dict[tuple[str, str, int], Event] = {}
        self.covered: list[Covered] = []
        self.findings: list[Finding] = []
        self.state: Any = None
        self.pages = 0

    def pull(self, until: int = FAR, *, keep: bool = True, since: int = 0) -> Pull:
        return Pull(since, until, until, state=self.state if keep else None, taken=self.digests.get)

    def take(self, pages: Iterable[Page], at_most: int | None = None) -> Shelf:
        """Take the pages in, all or only the first ones; `pages` and `findings` are those of this call."""
        self.pages, self.findings = 0, []
        for page in pages:
            if at_most is not None and self.pages >= at_most:
                break
            self.pages += 1
            self._page(page)
        return self

    def _page(self, page: Page) -> None:
        self.findings += page.findings
        if page.state is not None:
            text = json.dumps(page.state)
            assert len(text) <= 1 << 20
            self.state = json.loads(text)
        self.covered += page.covered or ()
        assert page.slice is not None or not any(isinstance(one, Fact) for one in page.records)
        if page.slice is not None:
            if self.digests.get(page.slice.name) == page.slice.digest:
                return
            self.digests[page.slice.name] = page.slice.digest
            self.slices[page.slice.name] = [one for one in page.records if isinstance(one, Fact)]
        for one in page.records:
            if isinstance(one, Event):
                self.events[one.kind, one.key, one.attempt] = one

    def ratios(self, signal: str = "request_success", segment: str = "") -> dict[int, Ratio]:
        """(good, total) per bucket over all series of a signal."""
        found: dict[int, Ratio] = {}
        for fact in self._facts(signal, segment):
            assert isinstance(fact.value, Ratio)
            found[fact.ts] = found.get(fact.ts, Ratio()) + fact.value
        return found

    def histogram(self, signal: str = "latency", segment: str = "") -> Histogram:
        """All of a signal's histograms in one."""
        values = [fact.value for fact in self._facts(signal, segment) if isinstance(fact.value, Histogram)]
        return merge(values).histogram

    def reasons(self) -> dict[str, int]:
        """How often each thing was said of the last pages."""
        found: dict[str, int] = {}
        for one in self.findings:
            found[one.reason] = found.get(one.reason, 0) + one.count
        return found

    def _facts(self, signal: str, segment: str) -> list[Fact]:
        facts = [fact for piece in self.slices.values() for fact in piece]
        return [fact for fact in facts if (fact.series.signal, fact.series.segment) == (signal, segment)]
