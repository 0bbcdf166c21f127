"""Reading Elasticsearch or OpenSearch: types of fields, pages of buckets, what came in late, incidents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from connectors._elastic_queries import FILTER, Answer, Asked, Query, body, breadth, changed, grouped, total_of
from connectors._http import Client, Reply
from connectors._lucene import field_of
from tandem import times
from tandem.connect import Common, Pull, SourceDown, SourceRefused, setting
from tandem.records import BUCKET, DAY, Covered, Event, Fact, Finding, Page, bucket_of, labels_of

BUCKETS = 60_000
"""Most buckets of one answer; a cluster's search.max_buckets is 65,535 or more, and 10,000 in versions 7.0 to 7.7."""
LATE = 1800
"""Seconds that are read again at every pull where no field says when a document came in."""
REFRESH = 120
"""Seconds after its time of arrival within which a document can be found at the latest."""
HITS = 500
_OVERLAP = 600
_APART = 6
_SHORT = 10
_KINDS = {"date": "a date", "date_nanos": "a date"}


@dataclass(frozen=True)
class Incidents:
    """Where alerts or incidents are documents; the defaults are Kibana's alerts."""

    index: str = setting("The index of incidents.", default=".alerts-*", example=".alerts-*")
    where: str = setting("Those that count, in Lucene's syntax.", default="", example='kibana.alert.severity:"high"')
    key: str = setting("The field that identifies one.", default="kibana.alert.uuid", example="kibana.alert.uuid")
    start: str = setting("The field with its beginning.", default="kibana.alert.start", example="kibana.alert.start")
    end: str = setting("The field with its end.", default="kibana.alert.end", example="kibana.alert.end")
    status: str = setting("The field with its status.", default="kibana.alert.status", example="kibana.alert.status")
    title: str = setting("The field with its title.", default="kibana.alert.rule.name")
    component_from: str = setting("The field that names its component.", default="service.name")
    component: str = setting("Whose all of them are, instead.", default="", example="checkout-api")


class Settings(Protocol):
    """What is read of the connector's Config."""

    @property
    def common(self) -> Common: ...
    @property
    def index(self) -> str: ...
    @property
    def ingested(self) -> str: ...
    @property
    def signal(self) -> tuple[Query, ...]: ...
    @property
    def incident(self) -> Incidents | None: ...


@dataclass
class Reading:
    """One pull. `memory` holds types of fields, most buckets of an answer, arrivals seen, and the first time read."""

    client: Client
    config: Any
    pull: Pull
    outcome: Any
    memory: dict[str, Any] = field(default_factory=dict)

    def pages(self) -> Iterator[Page]:
        known = self.pull.state if isinstance(self.pull.state, dict) else {}
        self.memory = dict(known)
        self.memory["floor"] = min(int(known.get("floor", 1 << 40)), bucket_of(self.pull.since))
        if self.pull.sweep or "types" not in known:
            self.memory["types"] = self._types()
        questions = grouped(self.config.signal)
        for number, (since, until) in enumerate(self._stretches(questions)):
            for asked in questions:
                self.pull.progress(f"buckets from {times.text(since)}", number and None)
                yield from self._chain(asked, since, until)
        if self.config.incident is not None:
            yield from self._incidents(self.config.incident)
        self.memory["seen"] = self.pull.until
        yield Page(state=self._kept(), covered=[Covered(bucket_of(self.pull.since), self.pull.until)])

    def _kept(self) -> Any:
        """What the next pull needs; a pull of its own since must not make it believe that all before was seen."""
        return self.memory if self.pull.first or self.pull.state is not None else None

    # -- which buckets

    def _stretches(self, questions: Sequence[Asked]) -> list[tuple[int, int]]:
        """The stretches of time whose buckets are counted again, whole."""
        since, until = bucket_of(self.pull.since), self.pull.until
        if self.pull.first or self.pull.state is None:
            return [(since, until)]
        if self.config.ingested and "seen" in self.memory and self.config.common.deletions == "keep":
            return self._arrived(questions, int(self.memory["seen"]))
        if self.config.common.overlap is None:
            since = bucket_of(self.pull.since - (LATE - _OVERLAP))
        if self.pull.sweep:
            since = min(since, bucket_of(until - (self.config.common.horizon or DAY)))
        return [(max(since, int(self.memory["floor"])), until)]

    def _arrived(self, questions: Sequence[Asked], seen: int) -> list[tuple[int, int]]:
        """The stretches in which a document has come in since the last pull."""
        found: set[int] = set()
        for time, where in sorted({(one.time, one.where) for one in questions}):
            asked = next(one for one in questions if (one.time, one.where) == (time, where))
            answer = Answer(Asked((), time, where, "", ""), {}, 0, self.pull.until)
            more = True
            while more:
                size = min(10_000, self._most())
                told = changed(asked, self.config.ingested, seen - REFRESH, self.pull.until, size, answer.after)
                _, more = answer.take(self._search(self.config.index, told).data, size)
            answer.check()
            found.update(answer.keys)
        stretches: list[tuple[int, int]] = []
        for ts in sorted(ts for ts in found if ts >= int(self.memory["floor"])):
            end = min(ts + BUCKET, self.pull.until)
            if stretches and ts - stretches[-1][1] <= _APART * BUCKET:
                stretches[-1] = (stretches[-1][0], end)
            else:
                stretches.append((ts, end))
        return stretches

    def _chain(self, asked: Asked, since: int, until: int) -> Iterator[Page]:
        """All pages of one question, each committed; a smaller page where the cluster allows no larger one."""
        answer = Answer(asked, self.memory["types"], since, until)
        more = True
        while more:
            size = max(1, min(10_000, self._most() // breadth(asked, self.memory["types"])))
            told = body(asked, self.memory["types"], since, until, size, answer.after)
            try:
                reply = self._search(self.config.index, told)
            except _TooMany as refused:
                if size == 1:
                    raise SourceRefused(f"{refused}; raise search.max_buckets of the cluster.") from None
                self.memory["buckets"] = self._most() // 2
                continue
            facts, more = answer.take(reply.data, size)
            yield self._page(facts, more, answer)

    def _page(self, facts: Sequence[Fact], more: bool, answer: Answer) -> Page:
        if more:
            return Page(facts, covered=())
        answer.check()
        return Page(facts, covered=(), findings=answer.findings())

    def _most(self) -> int:
        return int(self.memory.get("buckets", BUCKETS))

    # -- requests

    def _search(self, index: str, told: Mapping[str, Any], shown: str = FILTER) -> Reply:
        # A server that would answer in part says no instead; an index that is not there is no empty one.
        asked = {"filter_path": shown, "allow_partial_search_results": "false", "ignore_unavailable": "false",
                 "allow_no_indices": "false"}  # fmt: skip
        path = f"/{quote(index, safe='*,-_.:<>{}+')}/_search?{urlencode(asked)}"
        try:
            reply = self.client.post(path, body=told, accept=(200, 400, 404))
        except SourceDown as down:
            # Versions before 7.16 answer too many buckets with 503, as if they were overloaded.
            if "too_many_buckets" in str(down) or "too many buckets" in str(down):
                raise _TooMany("the cluster allows fewer buckets in one answer") from None
            raise
        if reply.status != 200:
            raise self._refusal(index, reply)
        return reply

    def _refusal(self, index: str, reply: Reply) -> Exception:
        told = reply.data.get("error") if isinstance(reply.data, dict) else None
        said = _reason(told) or reply.text
        said = self.client.redacted(" ".join(said.split())[:200])
        if "too many buckets" in said or "too_many_buckets" in said:
            return _TooMany("the cluster allows fewer buckets in one answer")
        if reply.status == 404:
            return SourceRefused(f'there is no index "{index}" ("{said}"); correct index.')
        return SourceRefused(f'the search was refused ("{said}"); correct the [[source.signal]] or index.')

    def _types(self) -> dict[str, str]:
        """The type of every field that is asked for; raises SourceRefused for one that cannot answer."""
        wanted: dict[str, str] = {}
        for query in self.config.signal:
            wanted[query.time] = "time"
            wanted.update((name, "cut") for name in query.fields())
            if query.duration:
                wanted[query.duration] = "number"
        if self.config.ingested:
            wanted[self.config.ingested] = "time"
        asked = {"fields": ",".join(sorted(wanted)), "ignore_unavailable": "false", "allow_no_indices": "false"}
        path = f"/{quote(self.config.index, safe='*,-_.:<>{}+')}/_field_caps"
        reply = self.client.get(path, asked, accept=(200, 400, 404))
        if reply.status != 200:
            raise self._refusal(self.config.index, reply)
        if not isinstance(reply.data, dict) or not isinstance(reply.data.get("fields"), dict):
            raise SourceRefused("the server does not say which fields there are; check that url is Elasticsearch.")
        return {name: self._type(name, use, reply.data["fields"].get(name)) for name, use in wanted.items()}

    def _type(self, name: str, use: str, told: Any) -> str:
        kinds = sorted(kind for kind in told if kind != "unmapped") if isinstance(told, dict) else []
        if not kinds:
            raise SourceRefused(f'no index of "{self.config.index}" has a field "{name}"; correct its name.')
        if use == "time" and not set(kinds) <= set(_KINDS):
            raise SourceRefused(f'the field "{name}" is {kinds[0]} and no date; name the field with the time.')
        if "text" in kinds and use != "time":
            raise SourceRefused(f'the field "{name}" is text, which nothing can be counted by; use "{name}.keyword".')
        if use == "number" and not all(_is_number(kind) for kind in kinds):
            raise SourceRefused(f'the field "{name}" is {kinds[0]} and no number; name the field with the duration.')
        return kinds[0] if len(kinds) == 1 else "double"

    # -- incidents

    def _incidents(self, asked: Incidents) -> Iterator[Page]:
        """Those that began or ended in the window, and those last seen open, as they are now."""
        span = {"gte": (self.pull.since - LATE) * 1000, "lt": self.pull.until * 1000, "format": "epoch_millis"}
        ways: list[Any] = [{"range": {asked.start: span}}, {"range": {asked.end: span}}]
        still = sorted({event.key for event in self.pull.open if event.kind == "incident"})
        if still:
            ways.append({"terms": {asked.key: still}})
        filters: list[Any] = [{"bool": {"should": ways, "minimum_should_match": 1}}]
        filters += [{"query_string": {"query": asked.where}}] if asked.where else []
        names = [asked.key, asked.start, asked.end, asked.status, asked.title, asked.component_from]
        told = {
            "size": HITS, "track_total_hits": True, "query": {"bool": {"filter": filters}},
            "sort": [{asked.start: "asc"}, {asked.key: "asc"}], "_source": [name for name in names if name],
        }  # fmt: skip
        shown = "timed_out,_shards.total,_shards.failed,_clusters.skipped,hits.total,hits.hits._source,hits.hits.sort"
        found: dict[str, Event] = {}
        total, after = 0, None
        findings: list[Finding] = []
        while True:
            data = self._search(asked.index, {**told, **({"search_after": after} if after else {})}, shown).data
            total = max(total, total_of(data))
            hits = (data.get("hits") or {}).get("hits") or []
            for hit in hits:
                self._incident(asked, hit.get("_source") or {}, found, findings)
            if len(hits) < HITS or hits[-1].get("sort") == after:
                break
            after = hits[-1].get("sort")
        if len(found) + sum(one.count for one in findings if one.kind == "reject") < total:
            raise SourceDown(f"the search says {total} incidents and lists {len(found)}; it is asked again.")
        events = sorted(found.values(), key=lambda event: (event.ts, event.key))
        yield Page(events, covered=(), findings=findings)

    def _incident(
        self, asked: Incidents, source: Mapping[str, Any], found: dict[str, Event], findings: list[Finding]
    ) -> None:
        key, word = str(field_of(source, asked.key) or ""), str(field_of(source, asked.status) or "")
        start, end = _time(field_of(source, asked.start)), _time(field_of(source, asked.end))
        if not key or start is None:
            findings.append(Finding("reject", "an incident has no key or no beginning", asked.index))
            return
        if start >= self.pull.until:
            found.pop(key, None)
            findings.append(Finding("reject", "an incident begins in the future", asked.index))
            return
        outcome = self.outcome(word or ("recovered" if end else "active"))
        if outcome is None:
            reason = f'the status "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]'
            findings.append(Finding("remark", reason, asked.index))
        if end is not None and (outcome == "open" or end >= self.pull.until or end < start):
            end = None
        if outcome == "bad" and end is None:
            outcome = "open"
        component = str(field_of(source, asked.component_from) or "") if asked.component_from else ""
        title = str(field_of(source, asked.title) or "")
        found[key] = Event(
            "incident", key, start, ended=end, outcome=outcome or "excluded",
            components=(asked.component,) if asked.component else (),
            title=title, labels=labels_of({asked.component_from or "component": component, "rule": title}),
            revision=end or start,
        )  # fmt: skip


class _TooMany(Exception):
    """So many buckets are refused: ask for fewer."""


def _reason(told: Any) -> str:
    if not isinstance(told, dict):
        return str(told or "")
    causes = [*(told.get("root_cause") or ()), told.get("caused_by"), told]
    said = [f"{one.get('type')}: {one.get('reason')}" for one in causes if isinstance(one, dict) and one.get("reason")]
    return said[0] if said else str(told.get("type") or "")


def _is_number(kind: str) -> bool:
    return kind in {"long", "integer", "short", "byte", "unsigned_long", "double", "float", "half_float",
                    "scaled_float"}  # fmt: skip


def _time(told: Any) -> int | None:
    if isinstance(told, list):
        told = told[0] if told else None
    try:
        return times.iso(told) if isinstance(told, str) else int(told) // 1000
    except (TypeError, ValueError):
        return None
