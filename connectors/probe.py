"""Tandem's own checks: whether a URL or a port answers, how fast, and how long its certificate lasts.

One pull is one look at every target that is due. It is a slice named after its tick, so the same tick is never
counted twice, and it vouches for the time until the next tick: what was not looked at is missing coverage, never bad.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connectors import _http, _probing
from connectors._prometheus_files import Found, is_text, read
from tandem import times
from tandem.bins import DURATION, codes, quanta
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import (
    DAY,
    Covered,
    Fact,
    Finding,
    Gap,
    Histogram,
    Page,
    Ratio,
    Sample,
    Series,
    Slice,
    bucket_of,
    labels_of,
)

AT_ONCE = 50
"""Most checks in flight."""
SPACING = 0.01
"""Seconds per check over which the beginnings of one tick are strewn, up to a third of the interval."""
NAMED = 20
"""Most targets that are named with one trouble."""
FRESH = 1.0
"""Seconds for which a look at the control address holds."""
_FILE_PHASES = {"resolve": "dns", "connect": "connect", "tls": "tls", "processing": "first_byte"}

ABOUT = About(
    reads="Tandem's own checks of URLs and TCP ports, made while Tandem runs; needs no other monitoring.",
    signals=("availability", "latency", "certificate"),
    labels={"file": "the name of a saved answer, where neither --component nor the source says whose it is"},
    files=("the answer of the blackbox exporter's /probe as text, one file per answer",),
    limits=(
        "Only the present can be looked at: while Tandem does not run, nothing is measured, and that is a gap.",
        "`tandem serve` looks at every tick of its interval, `tandem sync` once, and never twice in one tick.",
        "A tick without a look is less coverage, never bad.",
        "At most 50 checks are in flight; their beginnings are strewn at random, 10 ms per check.",
        "A redirect is followed on the same server, and from http to https of the same host, at most 5 times.",
        "A redirect to another server is bad unless expect_status names it; it is never asked.",
        "Without a control address a failure of this machine's own network counts as bad.",
        "latency holds checks that were answered well; segments phase=dns, connect, tls, first_byte are its parts.",
        "availability has a segment for each result, such as result=refused.",
        "certificate looks at the server's own certificate, not at those above it; a sample tells the days it lasts.",
        "At most 1 MB of a body is read for expect_text.",
        "Each look is stored: 20 checks every 30 s are 400,000 rows and 6 to 20 MB a day.",
    ),
    aliases=("blackbox",),
    polled=True,
    side="system",
    example="""\
connector = "probe"
name = "uptime"
control = "https://example.com/"         # when this fails too, nothing is called bad
  [[source.check]]
  component = "checkout-api"
  url = "https://shop.example.com/healthz"
  every = "30s"
  timeout = "5s"
  expect_status = [200, 204]             # left out: any 2xx
  expect_text = "ok"
  [[source.check]]
  component = "checkout-db"
  url = "tcp://db.example.com:5432"
""",
)


@dataclass(frozen=True)
class Check:
    """One target and what a good answer of it is."""

    component: str = setting("Whose check it is.", example="checkout-api")
    url: str = setting("https://, http:// or tcp://HOST:PORT.", example="https://shop.example.com/healthz")
    name: str = setting("Its segment, where a component has several.", default="", example="healthz")
    every: str = setting("How often, if not as the source says.", default="", example="30s")
    timeout: str | float = setting("For everything: name, connection, TLS, answer.", default="5s", example="5s")
    expect_status: int | tuple[int, ...] = setting("The good status, or a list; else 2xx.", default=(), example=200)
    expect_text: str = setting("Text that a good answer (or a greeting) holds.", default="", example="ok")
    environment: str = setting("Where it runs, if not as the source says.", default="", example="production")

    def __post_init__(self) -> None:
        wrong = _probing.problem(self.url)
        if wrong:
            raise ValueError(f"url {wrong}.")
        if self.every and times.duration(self.every) < 1:
            raise ValueError("every must be at least 1s.")
        if not 0 < self.seconds <= 3600:
            raise ValueError("timeout must be more than 0 and at most 1h.")
        if any(not 100 <= status <= 599 for status in self.statuses):
            raise ValueError("expect_status must lie between 100 and 599.")
        if self.statuses and self.url.startswith("tcp:"):
            raise ValueError("expect_status is for http and https; a port has none.")

    @property
    def seconds(self) -> float:
        """The timeout in seconds."""
        return times.duration(self.timeout) if isinstance(self.timeout, str) else float(self.timeout)

    @property
    def statuses(self) -> frozenset[int]:
        """The good statuses; empty for any 2xx."""
        given = self.expect_status
        return frozenset((given,) if isinstance(given, int) else given)

    @property
    def place(self) -> str:
        """The address as people may read it: a query may be long or private."""
        return self.url.partition("?")[0]


@dataclass(frozen=True)
class Config:
    """What is looked at, and how often."""

    common: Common
    check: tuple[Check, ...] = setting("What is checked.", default=())
    control: str = setting(
        "An address that always answers; when it fails too, a tick is not measured instead of bad.",
        default="",
        example="https://example.com/",
    )
    certificate_days: int = setting("Days that a certificate must still last.", default=14)
    url: str = setting('"file:DIR" reads saved answers instead.', default="", example="file:exports/probes")

    def __post_init__(self) -> None:
        wrong = _probing.problem(self.control) if self.control else ""
        if wrong:
            raise ValueError(f"control {wrong}.")
        if self.url and not self.url.startswith("file:"):
            raise ValueError('url must be "file:DIR"; what is checked stands in [[source.check]].')
        for one in self.check:
            if one.seconds > self.seconds(one):
                raise ValueError(f"the check of {one.place} has a timeout that is longer than its every.")

    def seconds(self, check: Check) -> int:
        """Seconds between two looks at one target."""
        return times.duration(check.every) if check.every else self.common.every


def interval(config: Config) -> int:
    """Seconds between two pulls: those of the most frequent check."""
    return min((config.seconds(check) for check in config.check), default=config.common.every)


def scope(config: Config) -> str:
    """The name of the source: what is looked at from here has no address of its own."""
    return config.common.name


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """One look at everything that is due in this tick; nothing where this tick was looked at before."""
    _usable(config)
    every = interval(config)
    tick = pull.now // every * every
    piece = Slice(f"poll:{tick}", "1")
    if pull.taken(piece.name) is not None:
        yield Page(covered=())
        return
    memory = _Memory.of(pull.state)
    due = [check for check in config.check if memory.due(config.seconds(check), tick)]
    told = _Poll(config, pull).looks(due)
    gaps = memory.missed(tick)
    days = _days(config, tick, told, memory.days)
    memory.looked(tick, {config.seconds(check) for check in due}, every)
    yield Page(
        records=[*_facts(config, tick, told), *days],
        state=memory.plain(),
        covered=_covered(config, tick, told),
        gaps=[*gaps, *_gaps(config, tick, told)],
        slice=piece,
        findings=_findings(config, tick, told),
    )


def _usable(config: Config) -> None:
    if not config.check:
        raise SourceRefused(
            "this probe source has no [[source.check]], so nothing says what is looked at; "
            "`tandem init --connector probe` prints an example."
        )
    if config.common.token_env or config.common.token_file:
        raise SourceRefused("a probe sends no token to anybody; remove token_env and token_file from this source.")


@dataclass
class _Memory:
    """When each interval was looked at last, and until when that vouches; losing it costs a note of a gap.

    `days`: how long each certificate lasted when that was told last.
    """

    last: dict[str, int] = field(default_factory=dict)
    until: int = 0
    days: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Any) -> _Memory:
        return cls(**state) if isinstance(state, dict) else cls()

    def due(self, every: int, tick: int) -> bool:
        return tick // every > self.last.get(str(every), -every) // every

    def missed(self, tick: int) -> list[Gap]:
        if not self.until or tick <= self.until:
            return []
        return [Gap(self.until, tick, "nothing was looked at: Tandem was not running, or was late")]

    def looked(self, tick: int, intervals: set[int], every: int) -> None:
        self.last.update({str(one): tick for one in intervals})
        self.until = tick + every

    def plain(self) -> dict[str, Any]:
        return {"last": self.last, "until": self.until, "days": self.days}


@dataclass(frozen=True)
class _Told:
    """What came of one check: what was seen, or why nothing was."""

    check: Check
    look: _probing.Look | None = None
    unseen: str = ""


class _Poll:
    """The checks of one tick, at most AT_ONCE at a time."""

    def __init__(self, config: Config, pull: Pull) -> None:
        self.config = config
        self.pull = pull
        self.begun = time.monotonic()
        self.stopping = threading.Event()
        self._trust = threading.Lock()
        self._controlled: tuple[float, str] | None = None

    def looks(self, checks: Sequence[Check]) -> list[_Told]:
        """One for each check, in their order."""
        spread = min(interval(self.config) / 3, SPACING * len(checks))
        starts = sorted((_http.REAL.random() * spread, place) for place in range(len(checks)))
        pool = ThreadPoolExecutor(max_workers=max(1, min(AT_ONCE, len(checks))), thread_name_prefix="probe")
        try:
            pending = {pool.submit(self._at, start, checks[place]): place for start, place in starts}
            told: dict[int, _Told] = {}
            for done in as_completed(pending):
                told[pending[done]] = done.result()
                self.pull.progress(f"{len(told)} of {len(checks)} checks", len(told) / (len(checks) + 1))
        finally:
            # Told to stop, it waits for nothing: what is in flight ends by its own timeout.
            self.stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
        return [told[place] for place in sorted(told)]

    def _at(self, start: float, check: Check) -> _Told:
        self.stopping.wait(max(0.0, self.begun + start - time.monotonic()))
        if time.monotonic() - self.begun > interval(self.config):
            return _Told(check, unseen="the checks before it were too slow for one interval")
        try:
            seen = _probing.look(_target(self.config, check))
            unseen = "" if seen.result == "answered" else self._excuse()
        except _probing.NotMeasured as own:
            return _Told(check, unseen=str(own))
        return _Told(check, unseen=unseen) if unseen else _Told(check, seen)

    def _excuse(self) -> str:
        """Why a failure says nothing of the target: the control address fails too. One look holds for a second."""
        if not self.config.control:
            return ""
        with self._trust:
            if self._controlled is None or time.monotonic() - self._controlled[0] > FRESH:
                longest = max(check.seconds for check in self.config.check)
                target = _probing.Target(self.config.control, longest, ca_file=self.config.common.ca_file)
                seen = _probing.look(target)
                excuse = "" if seen.result in _probing.REACHED else f"the control address failed too ({seen.result})"
                self._controlled = time.monotonic(), excuse
            return self._controlled[1]


def _target(config: Config, check: Check) -> _probing.Target:
    return _probing.Target(check.url, check.seconds, check.statuses, check.expect_text, config.common.ca_file)


# -- what was seen, as records


def _days(config: Config, tick: int, told: Sequence[_Told], known: dict[str, int]) -> list[Sample]:
    """How many days each certificate lasts, told when that number changes: once a day, and when it is renewed."""
    several = _several(config)
    found = []
    for one in told:
        if one.look is None or one.look.ends is None:
            continue
        check, days = one.check, (one.look.ends - tick) // DAY
        name = "certificate days left" + (f" ({check.name or check.place})" if check.component in several else "")
        key = f"{check.component} {check.environment} {name}"
        if known.get(key) != days:
            known[key] = days
            series = Series("sample", component=check.component, environment=check.environment, name=name)
            found.append(Sample(series, tick, days))
    return found


def _several(config: Config) -> set[str]:
    """The components that have more than one check."""
    return {name for name, n in Counter(check.component for check in config.check).items() if n > 1}


def _facts(config: Config, tick: int, told: Sequence[_Told]) -> list[Fact]:
    several = _several(config)
    gathered = _Gathered(bucket_of(tick))
    for one in told:
        if one.look is not None:
            check = one.check
            name = f"check={check.name or check.place}" if check.component in several else ""
            source = Series("", component=check.component, environment=check.environment)
            gathered.take(source, name, one.look, tick + config.certificate_days * DAY)
    return gathered.facts()


@dataclass
class _Gathered:
    """Ratios and durations by series, of one bucket."""

    ts: int
    ratios: dict[Series, Ratio] = field(default_factory=dict)
    durations: dict[Series, list[float]] = field(default_factory=lambda: defaultdict(list))

    def take(self, source: Series, name: str, look: _probing.Look, lasting: int) -> None:
        """Count one look; its certificate is good where it ends at or after `lasting` (epoch seconds)."""
        good = look.result == "answered"
        for segment in filter(None, ("*", name, f"result={look.result}")):
            self._ratio(source, "availability", segment, good)
        if look.trusted is not None:
            ends = look.ends is not None and look.ends >= lasting
            for segment in filter(None, ("*", name)):
                self._ratio(source, "certificate", segment, look.trusted and ends)
        if good:
            for segment in filter(None, ("*", name)):
                self.durations[_of(source, "latency", segment)].append(look.total)
            for phase, seconds in look.phases.items():
                self.durations[_of(source, "latency", f"phase={phase}")].append(seconds)

    def _ratio(self, source: Series, signal: str, segment: str, good: bool) -> None:
        series = _of(source, signal, segment)
        self.ratios[series] = self.ratios.get(series, Ratio()) + Ratio(int(good), 1)

    def facts(self) -> list[Fact]:
        found = [Fact(series, self.ts, ratio) for series, ratio in self.ratios.items()]
        return found + [Fact(series, self.ts, _histogram(values)) for series, values in self.durations.items()]


def _of(source: Series, signal: str, segment: str) -> Series:
    segment = "" if segment == "*" else segment
    return Series(signal, source.labels, source.component, environment=source.environment, segment=segment)


def _histogram(seconds: Sequence[float]) -> Histogram:
    values = np.array(seconds, dtype=np.float64)
    counts: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    places = codes(DURATION, values).tolist()
    for place, quantum in zip(places, quanta(values, DURATION.digits or 0).tolist(), strict=True):
        counts[place] += 1
        sums[place] += quantum
    return Histogram(DURATION, dict(counts), dict(sums))


def _spans(config: Config) -> Mapping[str, int]:
    """Seconds that one look at each component stands for: the shortest interval of its checks."""
    found: dict[str, int] = {}
    for check in config.check:
        found[check.component] = min(config.seconds(check), found.get(check.component, 1 << 31))
    return found


def _covered(config: Config, tick: int, told: Sequence[_Told]) -> list[Covered]:
    spans = _spans(config)
    seen = dict.fromkeys(one.check.component for one in told if one.look is not None)
    return [Covered(tick, tick + spans[component], component) for component in seen]


def _gaps(config: Config, tick: int, told: Sequence[_Told]) -> list[Gap]:
    """What was not measured, and why: one gap for all where nothing was."""
    spans = _spans(config)
    unseen = {one.check.component: one.unseen for one in told if one.look is None}
    for one in told:
        if one.look is not None:
            unseen.pop(one.check.component, None)
    if len(unseen) == len(spans) and len(set(unseen.values())) == 1:
        return [Gap(tick, tick + max(spans.values()), next(iter(unseen.values())))]
    return [Gap(tick, tick + spans[component], reason, component) for component, reason in unseen.items()]


def _findings(config: Config, tick: int, told: Sequence[_Told]) -> list[Finding]:
    """A remark on each target that is not well; of many with the same trouble the first ones, and how many more."""
    places: dict[str, list[str]] = defaultdict(list)
    for one in told:
        for remark in _remarks(config, tick, one):
            places[remark].append(one.check.place)
    found = [Finding("remark", remark, place) for remark, some in places.items() for place in some[:NAMED]]
    return found + [
        Finding("remark", remark, "further targets", len(some) - NAMED)
        for remark, some in places.items()
        if len(some) > NAMED
    ]


def _remarks(config: Config, tick: int, one: _Told) -> Iterator[str]:
    if one.look is None:
        yield f"not measured: {one.unseen}"
        return
    if one.look.result != "answered":
        yield f"{one.look.result}: it {one.look.said}"
    if one.look.ends is not None and one.look.ends < tick + config.certificate_days * DAY:
        yield f"its certificate ends on {_probing.day_of(one.look.ends)}"


# -- saved answers


def recognise(item: Item) -> bool:
    """The text that the blackbox exporter answers to /probe: the result of one probe, without labels."""
    return is_text(item.head) and any(line.startswith(b"probe_success ") for line in item.head.splitlines())


def parse(item: Item, config: Config) -> Iterator[Page]:
    """One saved answer of /probe; its time is --at, else when the file was changed last."""
    with item.open() as opened:
        text = opened.read()
    found = Found(lambda labels: labels.get("__name__", "").startswith("probe_"))
    read(item, found, item.given.at)
    values = {(one.labels["__name__"], one.labels.get("phase", "")): one.values for one in found.series()}
    success = values.get(("probe_success", ""))
    if success is None or any(set(one.labels) - {"__name__", "phase"} for one in found.series() if _names(one.labels)):
        raise SourceRefused(f"{item.name} is not the answer to one probe; read series of many with prometheus.")
    if text.count(b"\nprobe_success ") > 1 or success.size != 1 or float(success[0]) not in (0.0, 1.0):
        raise SourceRefused(f"{item.name} holds several answers; save each in a file of its own.")
    at = item.given.at if item.given.at is not None else item.modified
    gathered = _Gathered(bucket_of(at))
    gathered.take(_owner(item, config), "", _saved(values), at + config.certificate_days * DAY)
    name = hashlib.sha256(text).hexdigest()
    yield Page(gathered.facts(), covered=(), slice=Slice(f"file:{name}", str(at)), findings=found.findings)


def _names(labels: Mapping[str, str]) -> bool:
    return labels["__name__"] in ("probe_success", "probe_duration_seconds")


def _owner(item: Item, config: Config) -> Series:
    component = item.given.component
    labels = labels_of({} if component or config.common.component else {"file": item.name})
    return Series("", labels, component, environment=item.given.environment)


def _saved(values: Mapping[tuple[str, str], Any]) -> _probing.Look:
    def value(name: str, phase: str = "") -> float | None:
        told = values.get((name, phase))
        return None if told is None else float(told[0])

    ends = value("probe_ssl_earliest_cert_expiry")
    secure = ends is not None and ends > DAY
    phases = {ours: seconds for theirs, ours in _FILE_PHASES.items()
              if (seconds := value("probe_http_duration_seconds", theirs)) and seconds > 0}  # fmt: skip
    return _probing.Look(
        "answered" if value("probe_success") == 1 else _why(value),
        phases=phases,
        total=value("probe_duration_seconds") or 0.0,
        ends=int(ends) if secure and ends is not None else None,
        trusted=True if secure else None,
    )


def _why(value: Any) -> _probing.Result:
    """What a saved answer says of a failure; without a status the target was not reached."""
    if value("probe_failed_due_to_regex"):
        return "wrong text"
    return "wrong status" if value("probe_http_status_code") else "unreachable"
