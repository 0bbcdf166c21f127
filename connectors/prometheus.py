"""Prometheus: uptime from 0/1 series, errors from counters, latency from histograms or probe durations.

Counts are differences of the stored samples, never `rate` or `increase`, so they are exact in whole numbers: raw
samples are asked for with a range selector, and the rule of `_counters` is applied to them. A page covers six hours,
less where the server or the byte cap refuses so much at once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import numpy as np

from connectors import _http
from connectors._counters import Array, Grown, Scraped, buckets, classic, increases, native, seen, summed
from connectors._prometheus_files import Found, is_json, is_text, key_of, names, read
from connectors._prometheus_server import Asked, by_stretch
from connectors._promql import Selector, selector
from tandem.bins import DURATION, Layout, NoSharedEdge, codes, merge, quanta
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.intervals import union
from tandem.records import Covered, Fact, Finding, Histogram, Page, Ratio, Series, bucket_of, labels_of

PAGE = 6 * 3600
"""Seconds of samples that are asked for at once."""
GENERAL = True
"""Exposition text is of any system: a connector that knows the system of a file goes before this one in an import."""
_CHUNK = 20_000
_SAMPLES = 200
_IDENTITY = ("job", "service", "app", "namespace")

ABOUT = About(
    reads="a Prometheus server (also Thanos, Mimir and others with its query API) and the files it and its tools leave",
    signals=("availability", "request_success", "latency"),
    labels={
        "job": "the scrape job, where a signal names neither component nor component_from",
        "service": "as job",
        "app": "as job",
        "namespace": "as job",
    },
    files=(
        "answers of /api/v1/query and /api/v1/query_range as JSON, best the raw samples of `selector[5m]`",
        "OpenMetrics files with times, as for `promtool tsdb create-blocks-from openmetrics`",
        "a folder of saved /metrics answers: two of them give a difference; the modification time is their time",
        "answers of /federate",
        "the output of `promtool tsdb dump`",
    ),
    limits=(
        "nothing is bridged over more than 10 minutes without samples; that stretch is missing coverage",
        "answers of query_range are taken as samples; they repeat stale values for up to 5 minutes",
        "native histograms with custom bounds and with negative values are rejected",
        "external labels are not part of an answer, so they cannot be selected",
    ),
    side="system",
    restates=True,
    example="""\
connector = "prometheus"
name = "prod"
url = "http://127.0.0.1:9090"            # or "file:exports/prometheus"
# token_env = "PROMETHEUS_TOKEN"         # where a proxy asks for a bearer token
# tenant = "shop"                        # X-Scope-OrgID of Mimir, Cortex and Thanos
  [[source.signal]]
  component = "checkout-api"
  signal = "availability"
  up = 'probe_success{job="checkout"}'   # one 0 or 1 per check
  [[source.signal]]
  component = "checkout-api"
  signal = "request_success"
  total = 'http_requests_total{service="checkout"}'
  bad = 'http_requests_total{service="checkout",code=~"5.."}'      # or good = ...
  [[source.signal]]
  component = "checkout-api"
  signal = "latency"
  histogram = 'http_request_duration_seconds{service="checkout"}'   # base name; seconds
""",
)


@dataclass(frozen=True)
class Query:
    """One signal: what is counted, and whose it is. Selectors only, such as `up{job="shop"}`."""

    signal: str = setting("The signal that is measured.", example="availability")
    component: str = setting("Whose it is.", default="", example="checkout-api")
    component_from: str = setting("The label that names the component instead.", default="", example="service")
    up: str = setting(
        "A series of 0 and 1, one per check; beside gauge it says which checks count.",
        default="",
        example='probe_success{job="checkout"}',
    )
    total: str = setting("The counter of all of them.", default="", example='http_requests_total{service="checkout"}')
    bad: str = setting(
        "The counter of the bad ones.", default="", example='http_requests_total{service="checkout",code=~"5.."}'
    )
    good: str = setting(
        "The counter of the good ones instead.", default="", example='requests_ok_total{job="checkout"}'
    )
    histogram: str = setting(
        "The base name of a classic or native histogram in seconds.",
        default="",
        example='http_request_duration_seconds{service="checkout"}',
    )
    gauge: str = setting(
        "A duration in seconds per check; with up, failed checks stay out.",
        default="",
        example='probe_duration_seconds{job="checkout"}',
    )
    version: str = setting("The label that is the version.", default="", example="version")
    segments: tuple[str, ...] = setting("Labels whose values are segments.", default=(), example=("code",))
    environment: str = setting("Where it runs, if not as the source says.", default="", example="production")
    scrape_interval: int | None = setting(
        "Seconds between two samples; left out, the median is taken.", default=None, example=15
    )

    def __post_init__(self) -> None:
        kinds = [name for name in ("total", "histogram", "gauge") if getattr(self, name)]
        if not kinds and self.up:
            kinds = ["up"]
        if len(kinds) != 1:
            raise ValueError("give exactly one of up, total, histogram and gauge.")
        if (self.bad or self.good) and kinds != ["total"]:
            raise ValueError("bad and good need total beside them.")
        if kinds == ["total"] and bool(self.bad) == bool(self.good) and self.signal != "volume":
            raise ValueError("give bad or good beside total, and not both.")
        if self.up and kinds[0] not in ("up", "gauge"):
            raise ValueError("up stands alone or beside gauge.")
        if self.component and self.component_from:
            raise ValueError("give component or component_from, not both.")
        for selected in self.selectors():
            selector(selected)

    def selectors(self) -> tuple[str, ...]:
        """Everything it selects, as written."""
        return tuple(s for s in (self.up, self.total, self.bad, self.good, self.histogram, self.gauge) if s)


@dataclass(frozen=True)
class Config:
    """One server, or a folder of its exports."""

    common: Common
    url: str = setting('The server, or "file:DIR".', example="http://127.0.0.1:9090")
    signal: tuple[Query, ...] = setting("What is counted.", default=())
    tenant: str = setting("The tenant (X-Scope-OrgID) of Mimir, Cortex and Thanos.", default="", example="shop")


def scope(config: Config) -> str:
    """The server's address."""
    return config.url.rstrip("/")


def recognise(item: Item) -> bool:
    """Answers of the query API, exposition text and tsdb dumps; a folder when its files are such."""
    if item.entries:
        entries = _readable(item)
        some = [item.child(entry) for entry in entries[:: 1 + len(entries) // _SAMPLES]]
        return bool(some) and all(not one.entries and recognise(one) for one in some)
    return is_json(item.head) or is_text(item.head)


def _readable(folder: Item) -> list[str]:
    """The entries of a folder that has no folders in it, without notes to people; none of any other folder."""
    if any("/" in entry for entry in folder.entries):
        return []
    return [entry for entry in folder.entries if not entry.startswith((".", "README")) and not entry.endswith(".md")]


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The facts of every signal, page by page of time; buckets are counted whole, the last one as far as it is seen."""
    _check(config)
    unmatched = {selected for query in config.signal for selected in query.selectors()}
    headers = {"X-Scope-OrgID": config.tenant} if config.tenant else {}

    def read(asked: Asked) -> Page:
        page = _page(config, asked)
        unmatched.difference_update(asked.matched)
        return page

    with _http.open_client(config, config.url, headers=headers) as client:
        yield from by_stretch(client, bucket_of(pull.since), pull, PAGE, read)
    if unmatched and bucket_of(pull.since) < pull.until:
        yield Page(covered=(), findings=[Finding("remark", "nothing matches", text) for text in sorted(unmatched)])


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The facts of one file, or of a folder of files that belong together."""
    _check(config)
    found, is_short = _gathered(item, config)
    series = found.series()
    select = _select_from(series)
    tally = Tally(begin=0, given=item.given)
    for query in config.signal:
        if is_short and query.bad and not select(selector(query.bad)):
            tally.reasons[("the bad ones may stand in a file that cannot be read, so none are counted", query.bad)] += 1
            continue
        _count(query, select, tally)
    findings = [*found.findings, *_instants(config, select, item)]
    if not series:
        reason = f"holds no series that a [[source.signal]] asks for; in it are {names(found.others)}"
        findings.append(Finding("remark", reason, item.name))
    yield from tally.pages(findings)


def _gathered(item: Item, config: Config) -> tuple[Found, bool]:
    """The wanted series of an item, and whether a file of the folder is missing because it cannot be read."""
    wanted = [one for query in config.signal for parsed in _parsed(query) for one in _scraped_names(parsed)]
    tests = [one.matches() for one in wanted]
    found = Found(lambda labels: any(test(labels) for test in tests))
    if not item.entries:
        read(item, found, item.given.at)
        return found, False
    is_short = False
    for entry in _readable(item):
        each, own = item.child(entry), Found(found.wanted)
        try:
            if not recognise(each):
                raise SourceRefused("is neither query JSON nor exposition text.")
            read(each, own, None)
        except SourceRefused as refused:
            found.findings.append(Finding("reject", str(refused), entry))
            is_short = True
            continue
        found.take(own)
    return found, is_short


def _check(config: Config) -> None:
    if not config.signal:
        raise SourceRefused(
            "this prometheus source has no [[source.signal]], so nothing says what is counted; "
            "`tandem init --connector prometheus` prints an example."
        )


def _parsed(query: Query) -> Iterator[tuple[Selector, bool]]:
    for selected in query.selectors():
        yield selector(selected), selected == query.histogram


def _scraped_names(selected: tuple[Selector, bool]) -> tuple[Selector, ...]:
    """The series of a selector: a histogram is stored under its own name, or under that name with _bucket."""
    one, is_histogram = selected
    return (one, one.renamed(f"{one.name}_bucket")) if is_histogram else (one,)


def _select_from(series: Sequence[Scraped]) -> Callable[[Selector], Sequence[Scraped]]:
    def select(wanted: Selector) -> Sequence[Scraped]:
        matches = wanted.matches()
        return [one for one in series if matches(one.labels)]

    return select


def _instants(config: Config, select: Callable[[Selector], Sequence[Scraped]], item: Item) -> Iterator[Finding]:
    """A remark when counters were found at one moment only, so that nothing could be counted."""
    counters = [
        one
        for query in config.signal
        for parsed in _parsed(query)
        if query.total or query.histogram
        for wanted in _scraped_names(parsed)
        for one in select(wanted)
    ]
    if counters and all(one.times.size == 1 for one in counters):
        reason = "holds one moment only, so counters count nothing; import two of them together in a folder"
        yield Finding("remark", reason, item.name)


def _page(config: Config, asked: Asked) -> Page:
    tally = Tally(begin=asked.begin, given=Given())
    for query in config.signal:
        _count(query, asked.select, tally)
        for selected, is_histogram in _parsed(query):
            if any(asked.known.get(str(one)) for one in _scraped_names((selected, is_histogram))):
                asked.matched.update(text for text in query.selectors() if selector(text) == selected)
    return Page(tuple(tally.facts()), covered=tuple(tally.vouched()), findings=[*asked.findings, *tally.findings()])


@dataclass
class Tally:
    """What is counted so far: ratios and histograms by series and bucket; a broken bucket is left out and said."""

    begin: int
    given: Given
    ratios: dict[Series, dict[int, tuple[int, int]]] = field(default_factory=lambda: defaultdict(dict))
    histograms: dict[Series, dict[int, list[Histogram]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    broken: set[tuple[Series, int]] = field(default_factory=set)
    covered: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    def ratio(self, series: Series, counted: Mapping[int, tuple[int, int]]) -> None:
        """Add (good, total) per bucket."""
        own = self.ratios[series]
        for bucket, (good, total) in counted.items():
            if bucket >= self.begin:
                before = own.get(bucket, (0, 0))
                own[bucket] = (before[0] + good, before[1] + total)

    def histogram(self, series: Series, bucket: int, counted: Histogram) -> None:
        """Add to a histogram; layouts that differ are merged when the bucket is written."""
        if bucket >= self.begin and counted.counts:
            known = self.histograms[series][bucket]
            for place, other in enumerate(known):
                if other.layout == counted.layout:
                    known[place] = other + counted
                    return
            known.append(counted)

    def reject(self, series: Series, bucket: int, reason: str, where: str) -> None:
        """Leave a bucket out, and say why."""
        if bucket >= self.begin:
            self.broken.add((series, bucket))
            self.reasons[(reason, where)] += 1

    def cover(self, query: Query, one: Scraped, *, counter: bool) -> None:
        """Vouch for what a series has seen."""
        component = _component(query, one.labels, self.given)
        stretches = seen(one.times, query.scrape_interval, counter=counter, since=self.begin)
        self.covered[(component, query.signal)] += stretches

    def facts(self) -> Iterator[Fact]:
        """Every whole bucket, in order of time."""
        found = [
            Fact(series, bucket, Ratio(good, total))
            for series, counted in sorted(self.ratios.items(), key=_order)
            for bucket, (good, total) in counted.items()
            if total
        ]
        for series, several in sorted(self.histograms.items(), key=_order):
            for bucket, parts in several.items():
                try:
                    found.append(Fact(series, bucket, merge(parts).histogram if len(parts) > 1 else parts[0]))
                except NoSharedEdge:
                    self.reasons[("histograms share no bound, so the bucket cannot be merged", series.signal)] += 1
        if self.broken:
            found = [fact for fact in found if (fact.series, fact.ts) not in self.broken]
        return iter(sorted(found, key=lambda fact: fact.ts))

    def vouched(self) -> Iterator[Covered]:
        """What was seen, per component and signal."""
        for (component, signal), stretches in sorted(self.covered.items()):
            for since, until in union(stretches):
                yield Covered(since, until, component, signal)

    def findings(self) -> list[Finding]:
        """What was left out; call it after `facts`."""
        return [Finding("reject", reason, where, n) for (reason, where), n in sorted(self.reasons.items())]

    def pages(self, findings: Sequence[Finding]) -> Iterator[Page]:
        """All of it in pages; only the last one vouches, when everything before it is stored."""
        facts = list(self.facts())
        covered = tuple(self.vouched())
        said = [*findings, *self.findings()]
        while len(facts) > _CHUNK:
            yield Page(tuple(facts[:_CHUNK]), covered=())
            facts = facts[_CHUNK:]
        yield Page(tuple(facts), covered=covered, findings=said)


def _order(counted: tuple[Series, object]) -> tuple[object, ...]:
    series = counted[0]
    return series.signal, series.component, series.labels, series.version, series.segment, series.environment


def _count(query: Query, select: Callable[[Selector], Sequence[Scraped]], tally: Tally) -> None:
    if query.total:
        _count_counters(query, select, tally)
    elif query.histogram:
        _count_histograms(query, select, tally)
    elif query.gauge:
        _count_gauges(query, select, tally)
    else:
        _count_checks(query, select, tally)


def _count_checks(query: Query, select: Callable[[Selector], Sequence[Scraped]], tally: Tally) -> None:
    for one in select(selector(query.up)):
        clean = (one.values == 0) | (one.values == 1)
        if not clean.all():
            tally.reasons[("a check is neither 0 nor 1", query.up)] += int((~clean).sum())
        checks = Scraped(one.labels, one.times[clean], one.values[clean])
        at = buckets(checks.times)
        good = summed(at, checks.values.astype(np.int64))
        totals = summed(at, np.ones(at.size, dtype=np.int64))
        for series in _series(query, one.labels, tally.given):
            tally.ratio(series, {bucket: (good[bucket], total) for bucket, total in totals.items()})
        tally.cover(query, checks, counter=False)


def _count_counters(query: Query, select: Callable[[Selector], Sequence[Scraped]], tally: Tally) -> None:
    totals = _grown(query, query.total, select, tally, cover=True)
    part = _grown(query, query.bad or query.good, select, tally) if query.bad or query.good else {}
    if query.good and totals and not part:
        tally.reasons[("nothing good was counted while the total grew; check the selector", query.good)] += 1
    for series in totals.keys() | part.keys():
        tally.ratio(series, _parted(query, series, totals.get(series, {}), part.get(series, {}), tally))


def _parted(
    query: Query, series: Series, totals: Mapping[int, int], part: Mapping[int, int], tally: Tally
) -> dict[int, tuple[int, int]]:
    """(good, total) per bucket; a bucket whose part is larger than its total is rejected."""
    found: dict[int, tuple[int, int]] = {}
    for bucket in totals.keys() | part.keys():
        total, counted = totals.get(bucket, 0), part.get(bucket, 0)
        if counted > total:
            tally.reject(series, bucket, "a part is larger than its total", query.bad or query.good)
        elif query.bad:
            found[bucket] = (total - counted, total)
        else:
            found[bucket] = (counted if query.good else total, total)
    return found


def _grown(
    query: Query,
    text: str,
    select: Callable[[Selector], Sequence[Scraped]],
    tally: Tally,
    *,
    cover: bool = False,
) -> dict[Series, dict[int, int]]:
    found: dict[Series, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for one in select(selector(text)):
        at, amounts, broken = increases(one.times, one.values)
        each = summed(at, amounts).items()
        for series in _series(query, one.labels, tally.given):
            own = found[series]
            for bucket, amount in each:
                own[bucket] += amount
            for bucket in np.unique(at[broken]).tolist():
                tally.reject(series, bucket, "a counter did not grow by a whole number", text)
        if cover:
            tally.cover(query, one, counter=True)
    return found


def _count_histograms(query: Query, select: Callable[[Selector], Sequence[Scraped]], tally: Tally) -> None:
    base = selector(query.histogram)
    natives = {key_of(_without(one.labels)): one for one in select(base) if one.natives}
    for one in natives.values():
        _add_grown(query, one.labels, native(one.times, one.natives), tally)
        tally.cover(query, one, counter=True)
    for key, series in _by_edge(select(base.renamed(f"{base.name}_bucket")), query, tally).items():
        twin = natives.get(key)
        taken = set(buckets(twin.times).tolist()) if twin else set()
        last = series.get(math.inf)
        if last is None:
            tally.reasons[("a histogram lacks its +Inf bucket", query.histogram)] += 1
            continue
        _add_grown(query, last.labels, (grown for grown in classic(series) if grown[0] not in taken), tally)
        tally.cover(query, last, counter=True)


def _by_edge(
    found: Sequence[Scraped], query: Query, tally: Tally
) -> dict[tuple[tuple[str, str], ...], dict[float, Scraped]]:
    groups: dict[tuple[tuple[str, str], ...], dict[float, Scraped]] = defaultdict(dict)
    for one in found:
        try:
            edge = float(Decimal(one.labels["le"]))
        except (KeyError, InvalidOperation):
            tally.reasons[("a bucket of a histogram has no usable le", query.histogram)] += 1
            continue
        groups[key_of(_without(one.labels))][edge] = one
    return groups


def _without(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in ("__name__", "le")}


def _add_grown(query: Query, labels: Mapping[str, str], grown: Iterator[Grown], tally: Tally) -> None:
    everything = _series(query, labels, tally.given)
    for bucket, layout, counts in grown:
        for series in everything:
            if counts is None:
                tally.reject(series, bucket, "a histogram did not grow by whole numbers", query.histogram)
            else:
                tally.histogram(series, bucket, Histogram(layout, counts, {}))


def _count_gauges(query: Query, select: Callable[[Selector], Sequence[Scraped]], tally: Tally) -> None:
    passed = _passed(query, select)
    for one in select(selector(query.gauge)):
        fine = np.isfinite(one.values) & (one.values >= 0)
        if not fine.all():
            tally.reasons[("a duration is negative or infinite", query.gauge)] += int((~fine).sum())
        if passed is not None:
            fine &= np.isin(one.times, passed.get(key_of(_without(one.labels)), np.empty(0, dtype=np.int64)))
        at, values = buckets(one.times[fine]), one.values[fine]
        for bucket in np.unique(at).tolist():
            counted = _distribution(values[at == bucket], DURATION)
            for series in _series(query, one.labels, tally.given):
                tally.histogram(series, bucket, counted)
        tally.cover(query, one, counter=False)


def _passed(
    query: Query, select: Callable[[Selector], Sequence[Scraped]]
) -> dict[tuple[tuple[str, str], ...], Array] | None:
    """Times of the checks that passed, by target; None where nothing says which did."""
    if not query.up:
        return None
    return {key_of(_without(one.labels)): one.times[one.values == 1] for one in select(selector(query.up))}


def _distribution(values: Array, layout: Layout) -> Histogram:
    places = codes(layout, values)
    return Histogram(layout, _tallied(places, np.ones(places.size, dtype=np.int64)), _sums(places, values, layout))


def _sums(places: Array, values: Array, layout: Layout) -> dict[int, int]:
    return _tallied(places, quanta(values, layout.digits)) if layout.digits is not None else {}


def _tallied(places: Array, amounts: Array) -> dict[int, int]:
    return {place: amount for place, amount in summed(places, amounts).items() if amount}


def _series(query: Query, labels: Mapping[str, str], given: Given) -> list[Series]:
    """The series of a query that these labels belong to: the total, and one for each segment."""
    component = _component(query, labels, given)
    total = Series(
        signal=query.signal,
        labels=() if component else labels_of({name: labels.get(name) for name in _IDENTITY}),
        component=component,
        version=labels.get(query.version, "") if query.version else "",
        environment=query.environment or given.environment,
    )
    margins = [f"{label}={labels[label]}" for label in query.segments if labels.get(label)]
    return [total, *(_segment(total, margin) for margin in margins)]


def _segment(total: Series, margin: str) -> Series:
    return Series(
        signal=total.signal,
        labels=total.labels,
        component=total.component,
        version=total.version,
        segment=margin,
        environment=total.environment,
    )


def _component(query: Query, labels: Mapping[str, str], given: Given) -> str:
    return labels.get(query.component_from, "") if query.component_from else query.component or given.component
