"""Raw samples of a server with the query API of Prometheus, asked for one stretch of time after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from connectors import _http
from connectors._counters import BRIDGE, Scraped
from connectors._prometheus_files import Found, take_answer
from connectors._promql import Selector
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import BUCKET, Finding

T = TypeVar("T")


class Smaller(Exception):
    """So much at once is refused: ask for a shorter time."""


@dataclass
class Asked:
    """The samples of one stretch of time, asked for once per selector."""

    client: _http.Client
    begin: int
    end: int
    before: int = BRIDGE
    """Seconds before `begin` from which samples are asked for too."""
    known: dict[str, list[Scraped]] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def select(self, wanted: Selector) -> Sequence[Scraped]:
        """Its series with the samples from `before` seconds before `begin` up to `end`, which is left out."""
        text = str(wanted)
        if text not in self.known:
            found = Found(lambda labels: True)
            take_answer(self._answer(text), found, text)
            self.known[text] = found.series()
            self._check(wanted, self.known[text])
            self.findings += found.findings
        return self.known[text]

    def _check(self, wanted: Selector, series: Sequence[Scraped]) -> None:
        """A cache or a proxy that answers another question must not become a number."""
        first, last = (self.begin - self.before - 1) * 1000, self.end * 1000
        matches = wanted.matches()
        if not all(
            matches(one.labels) and (not one.times.size or (one.times[0] >= first and one.times[-1] < last))
            for one in series
        ):
            raise SourceDown(f"the server answered another question than {wanted}; check what stands before it.")

    def _answer(self, text: str) -> Any:
        length = self.end - self.begin + self.before
        form = [("query", f"{text}[{length}s]"), ("time", f"{self.end - 1}.999")]
        try:
            reply = self.client.post("/api/v1/query", form=form, accept=(200, 400, 422))
        except _http.TooLarge as large:
            raise Smaller(str(large).rpartition(";")[0]) from None
        if reply.status != 200:
            raise self._refusal(text, reply)
        return reply.data

    def _refusal(self, text: str, reply: _http.Reply) -> Exception:
        told = reply.data if isinstance(reply.data, dict) else {}
        said = self.client.redacted(" ".join(str(told.get("error", reply.text))[:200].split()))
        if "too many samples" in said or "exceeded maximum" in said or "maximum resolution" in said:
            return Smaller(f'the server refuses so many samples of {text} ("{said}")')
        return SourceRefused(f'the server cannot answer {text} ("{said}"); correct the [[source.signal]] or the url.')


def by_stretch(
    client: _http.Client, since: int, pull: Pull, width: int, read: Callable[[Asked], T], before: int = BRIDGE
) -> Iterator[T]:
    """What `read` makes of each stretch of [since, pull.until), at most `width` seconds long, oldest first.

    Where the server or the byte cap refuses so much at once the stretches get shorter, down to one bucket.
    """
    begin = since
    while begin < pull.until:
        end = min(begin + width, pull.until)
        pull.progress("samples", (begin - since) / max(1, pull.until - since))
        try:
            found = read(Asked(client, begin, end, before))
        except Smaller as refused:
            if width <= BUCKET:
                raise SourceRefused(f"{refused}; select fewer series, or raise the limits of the server.") from None
            width = max(BUCKET, width // 2 // BUCKET * BUCKET)
            continue
        yield found
        begin = end
