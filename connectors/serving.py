"""Inference servers: errors and latency from their metrics, readiness, canary shares, and predictions from their logs.

A look at a server (its metrics, its readiness) is a slice named after its tick, as a probe's; what a Prometheus tells
is restated by bucket; a stretch of a payload log is a slice "log:KEY@OFFSET" whose digest tells where it ends.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from connectors import _files, _http
from connectors import _serving_scrapes as scrapes
from connectors import _serving_states as states
from connectors._adding import Added
from connectors._counters import BRIDGE
from connectors._kubernetes_access import access_of
from connectors._otlp_files import paths_of
from connectors._prometheus_files import is_text
from connectors._prometheus_server import Asked, by_stretch
from connectors._promql import selector
from connectors._said import Said
from connectors._serving_counting import Counting
from connectors._serving_flavours import METRICS, STATUS, Flavour, flavour_of
from connectors._serving_log import Logged, Logs
from connectors._serving_payloads import Kind, Log, is_log
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceDown, SourceRefused, setting
from tandem.records import HOUR, Covered, Event, Fact, Finding, Gap, Page, Ratio, Slice, bucket_of

PAGE = 6 * HOUR
"""Seconds of a Prometheus' samples that are asked for at once."""
_COUNTED = ("request_success", "latency")
_FAR = 1 << 40
_SAMPLES = 50

ABOUT = About(
    reads="Inference servers (MLServer, Seldon Core 2, KServe, Triton, TorchServe): their metrics, or a Prometheus "
    "that holds them, their readiness, their payload logs, and the InferenceServices of KServe.",
    signals=("request_success", "latency", "availability", "prediction"),
    events=("deployment", "traffic"),
    labels={
        "model": "the model",
        "version": "its version, where clients name one",
        "pod": "the pod, from a Prometheus",
        "namespace": "its namespace, from a Prometheus, a payload log or an InferenceService",
        "job": "the scrape job, from a Prometheus",
        "server": "the server that was asked whether it is ready",
        "endpoint": "the endpoint that a logged request went to",
    },
    files=(
        "a folder of saved answers of /metrics: two of them give a difference; the modification time is their time",
        "payload logs: CloudEvents as JSON Lines, structured or as headers and body",
        "InferenceServices as JSON, as `kubectl get inferenceservices -o json` prints them",
    ),
    limits=(
        "One look counts what was added since the look before; the first counts nothing.",
        "More than 10 minutes between two looks are never bridged: read the metrics more often.",
        "Each process counts for itself: many workers behind one address never look like resets.",
        "What a worker did counts when it answers again; after more than 10 minutes it is missing coverage.",
        "A mean is no distribution: Triton and TorchServe have no latency here, and MLServer that of REST.",
        "MLServer's histogram names no model: it belongs to the one model that the server has, else to none.",
        "KServe's own server counts no failures; request_success comes from Knative's revision_request_count.",
        "TorchServe's counts of requests are those of all its addresses, pings too.",
        "Payload logs hold only what was answered well, and not all of it: they never tell errors.",
        "Coverage of prediction is the logged share of each hour's requests; without metrics it is unknown.",
        "A new version, and another share of the traffic, is seen between two looks; the first look shows no change.",
        "Neither the readiness nor the index of models is asked for with a token.",
    ),
    status=STATUS,
    aliases=("seldon", "kserve", "mlserver", "triton", "torchserve"),
    once=("deployment", "traffic"),
    polled=True,
    side="both",
    example="""\
connector = "serving"
name = "fraud-server"
every = "60s"
url = "http://127.0.0.1:8082/metrics"    # the server's metrics; MLServer has a port of its own for them
# prometheus_url = "http://127.0.0.1:9090"   # in place of url: a Prometheus that scrapes the servers
# flavour = "mlserver"                   # left out, the names of the metrics tell
server = "http://127.0.0.1:8080"         # is asked whether it is ready, and which models it has
# payload_log = "exports/payloads/*.jsonl"   # what its logger wrote
  [[source.map]]
  component = "fraud-detector"
  match = { model = "fraud*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One inference server, or the servers that one Prometheus scrapes."""

    common: Common
    url: str = setting('The metrics of a server, or "file:DIR".', default="", example="http://127.0.0.1:8082/metrics")
    prometheus_url: str = setting(
        "A Prometheus that scrapes the servers, in place of url.", default="", example="http://127.0.0.1:9090"
    )
    flavour: Flavour = setting(
        "The kind of server; auto: found out by its metrics, which a Prometheus cannot tell.",
        default="auto",
        example="mlserver",
    )
    select: str = setting(
        "Conditions on labels of the series in a Prometheus.", default="", example='{namespace="models"}'
    )
    models: tuple[str, ...] = setting(
        "Globs of the models that are read; left out, all.", default=(), example=["fraud*"]
    )
    server: str = setting(
        "The server's own address, which is asked whether it is ready.", default="", example="http://127.0.0.1:8080"
    )
    ready: str = setting(
        "The path of readiness; left out, that of the open inference protocol, /ping of TorchServe.",
        default="",
        example="/v2/health/ready",
    )
    timeout: str = setting("For an answer about readiness.", default="5s", example="5s")
    kubeconfig: Path | None = setting(
        "A kubeconfig: the cluster's InferenceServices are read.", default=None, example="~/.kube/config"
    )
    context: str = setting("The context of the kubeconfig; left out, its current one.", default="", example="prod")
    namespace: str = setting("The namespace of the InferenceServices; left out, all.", default="", example="models")
    payload_log: str = setting(
        "File, folder or glob of CloudEvents as JSON Lines.", default="", example="exports/payloads/*.jsonl"
    )
    output: str = setting(
        'The output that is the prediction; left out, "predict" or the only one.', default="", example="predict"
    )
    predicts: Kind = setting(
        'What it predicts, "class" or "number"; left out, numbers with fractions are numbers.',
        default="",
        example="class",
    )

    def __post_init__(self) -> None:
        if self.select and not (self.select.startswith("{") and self.select.endswith("}")):
            raise ValueError('select must be conditions such as {namespace="models"}.')
        selector(f"up{self.select}")
        if times.duration(self.timeout) < 1:
            raise ValueError("timeout must be at least 1s.")

    def wants(self, model: str) -> bool:
        """Whether a model is read; what names none is."""
        return not self.models or not model or any(fnmatchcase(model, glob) for glob in self.models)

    def one_by_one(self) -> tuple[str, ...]:
        """The models, where none of them is given by a glob."""
        return self.models if not any(set("*?[") & set(name) for name in self.models) else ()


class _Said(Said):
    meanings = STATUS


def scope(config: Config) -> str:
    """The address that is read, or the log where only that is."""
    found = config.url or config.prometheus_url or config.server
    return found.rstrip("/") if found else _log_path(config)


def _log_path(config: Config) -> str:
    return os.path.normpath(config.common.folder.absolute() / config.payload_log)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What a Prometheus holds, one look at the server, and what was added to the payload log."""
    _check(config)
    reading = _Reading(config, pull)
    if config.prometheus_url:
        yield from reading.prometheus()
    yield from reading.look()
    yield from reading.log()


def _check(config: Config) -> None:
    if not (config.url or config.prometheus_url or config.server or config.payload_log or config.kubeconfig):
        raise SourceRefused(
            "this serving source has neither url, prometheus_url, server, kubeconfig nor payload_log, so there is "
            "nothing to read; `tandem init --connector serving` prints an example."
        )
    if config.url and config.prometheus_url:
        raise SourceRefused("url and prometheus_url would count the same requests twice; keep one of them.")
    if config.prometheus_url and config.flavour == "auto":
        raise SourceRefused(f"a Prometheus holds metrics of many kinds; set flavour to one of {', '.join(METRICS)}.")


@dataclass
class _Memory:
    """What one pull leaves for the next."""

    scrapes: scrapes.Memory = field(default_factory=scrapes.Memory)
    known: states.Known = field(default_factory=states.Known)
    log: Logged = field(default_factory=Logged)
    until: int = 0
    """Until when the last look vouches."""
    counted: int = 0
    """The bucket up to which a Prometheus' requests are noted beside the log."""

    @classmethod
    def of(cls, state: Any) -> _Memory:
        if not isinstance(state, dict) or state.get("version") != 1:
            return cls()
        return cls(
            scrapes.Memory.of(state["scrapes"]), states.Known(**state["known"]), Logged(**state["log"]),
            state["until"], state["counted"],
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        return {
            "version": 1, "scrapes": self.scrapes.plain(), "known": asdict(self.known), "log": asdict(self.log),
            "until": self.until, "counted": self.counted,
        }  # fmt: skip


class _Reading:
    """One pull."""

    def __init__(self, config: Config, pull: Pull) -> None:
        self.config = config
        self.pull = pull
        self.memory = _Memory.of(pull.state)

    # -- a Prometheus

    def prometheus(self) -> Iterator[Page]:
        matched = 0

        def read(asked: Asked) -> Page:
            nonlocal matched
            said, added = _Said(self.config), Added(self.config.common)
            counting = Counting(METRICS[self.config.flavour], added, said, asked.begin * 1000, self.config.wants)
            matched += scrapes.asked_for(asked, counting.metrics, self.config.select, counting)
            facts = added.facts()
            self._note_requests([one for one in facts if self.memory.counted <= one.ts < bucket_of(asked.end)])
            self.memory.counted = max(self.memory.counted, bucket_of(asked.end))
            findings = (*asked.findings, *said.findings(), *added.findings())
            return Page(facts, covered=tuple(counting.covered()), findings=findings)

        since = bucket_of(self.pull.since)
        with _http.open_client(self.config, self.config.prometheus_url) as client:
            yield from by_stretch(client, since, self.pull, PAGE, read)
        if not matched and since < self.pull.until:
            yield Page(covered=(), findings=[Finding("remark", "nothing matches", f"flavour {self.config.flavour}")])

    def _note_requests(self, facts: Sequence[Fact]) -> None:
        asked: Counter[tuple[str, int]] = Counter()
        for one in facts:
            if one.series.signal == "request_success" and one.series.component and isinstance(one.value, Ratio):
                asked[one.series.component, bucket_of(one.ts, HOUR)] += one.value.good
        self.memory.log.note(self.memory.log.asked, asked)

    # -- one look

    def look(self) -> Iterator[Page]:
        config, every = self.config, self.config.common.every
        tick = self.pull.now // every * every
        piece = Slice(f"poll:{tick}", "1")
        if not (config.url or config.server or config.kubeconfig) or self.pull.taken(piece.name) is not None:
            return
        said, added = _Said(config), Added(config.common)
        events = self._services(said) if config.kubeconfig else []
        gaps = [Gap(self.memory.until, tick, "nothing was looked at: Tandem was not running, or was late",
                    signal="availability")] if config.server and 0 < self.memory.until < tick else []  # fmt: skip
        covered: list[Covered] = []
        if config.server:
            readiness = self._readiness(said, added, tick)
            readiness.look(every)
            events += readiness.events
            gaps += readiness.gaps
            covered += [Covered(tick, tick + every, one, "availability") for one in sorted(readiness.components)]
        if config.url:
            covered += self._scrape(said, added, gaps)
        facts = added.facts()
        if config.url:
            self._note_requests(facts)
        self.memory.until = tick + every
        yield Page(
            [*facts, *events],
            state=self.memory.plain(),
            covered=tuple(covered),
            gaps=gaps,
            slice=piece,
            findings=(*said.findings(), *added.findings()),
        )

    def _readiness(self, said: Said, added: Added, tick: int) -> states.Readiness:
        config = self.config
        path = config.ready or ("/ping" if config.flavour == "torchserve" else states.READY)
        timeout = float(times.duration(config.timeout))
        return states.Readiness(
            config.server.rstrip("/"), path, timeout, config.common.ca_file, lambda: _open(config), tick,
            self.memory.known, added, said, config.wants, config.one_by_one(),
        )  # fmt: skip

    def _scrape(self, said: Said, added: Added, gaps: list[Gap]) -> list[Covered]:
        """What the metrics tell; where the server does not even answer, a look at its readiness still counts."""
        config = self.config
        # What was counted before this look lies before now, in the bucket that ends with it.
        at_ms = self.pull.now * 1000 - 1
        try:
            base, path = _split(config.url)
            with _http.open_client(config, base) as client:
                text = scrapes.answer(client, path)
            metrics, found = scrapes.scraped_by(text, path, at_ms, config.flavour)
        except (SourceDown, SourceRefused) as no:
            if not config.server:
                raise
            since = max((one.at for one in self.memory.scrapes.processes.values()), default=at_ms) // 1000
            gaps += [Gap(since, self.pull.now, str(no), signal=signal) for signal in _COUNTED]
            said.remark(f"the metrics could not be read: {no}")
            return []
        for finding in found.findings:
            said.reject(finding.reason)
        last = max((one.at for one in self.memory.scrapes.processes.values()), default=at_ms)
        if at_ms - last > BRIDGE * 1000:
            reason = "the metrics were not read for more than 10 minutes"
            gaps += [Gap(-(-last // 1000), self.pull.now, reason, signal=signal) for signal in _COUNTED]
        counting = Counting(metrics, added, said, at_ms, config.wants)
        return list(scrapes.look(self.memory.scrapes, counting, found, at_ms))

    def _services(self, said: Said) -> list[Event]:
        config = self.config
        assert config.kubeconfig is not None
        with ExitStack() as opened:
            folder = Path(opened.enter_context(TemporaryDirectory()))
            access = access_of(config.kubeconfig, config.context, folder)
            client = opened.enter_context(_http.open_client(
                config, access.server, token=access.token or ("", ""), identity=access.identity,
                ca_file=access.authority,
            ))  # fmt: skip
            services = states.listed(client, config.namespace)
        return states.service_events(services, self.memory.known, self.pull.now, said)

    # -- the payload log

    def log(self) -> Iterator[Page]:
        if not self.config.payload_log:
            return
        logs = Logs(_fresh(self.config, self.pull), self.memory.log, self.pull.taken, self.pull.until)
        yield from logs.pages(paths_of(_log_path(self.config), self.config.payload_log))
        yield Page(state=self.memory.plain(), covered=tuple(self.memory.log.covered(self.pull.until)))


def _split(url: str) -> tuple[str, str]:
    """The server of a metrics endpoint, and its path and query there."""
    if url.startswith("file:"):
        return url, "/metrics"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")


def _open(config: Config) -> _http.Client:
    """A client of the server itself, without the token: that belongs to the metrics."""
    return _http.open_client(config, config.server, token=("", ""))


def _fresh(config: Config, pull: Pull, item: Item | None = None) -> Callable[[], Log]:
    at = item.given.at if item else None
    zone = (item.given.timezone if item else None) or config.common.timezone

    def fresh() -> Log:
        return Log(
            Added(config.common), _Said(config), config.output, config.predicts, config.wants, pull.layout, at=at,
            zone=zone,
        )  # fmt: skip

    return fresh


# -- files


def recognise(item: Item) -> bool:
    """Metrics of an inference server, its payload log, InferenceServices; a folder when all its files are metrics."""
    if item.entries:
        entries = [one for one in item.entries if not one.startswith((".", "README")) and not one.endswith(".md")]
        if any("/" in one for one in entries):
            return False
        some = [item.child(entry) for entry in entries[:: 1 + len(entries) // _SAMPLES]]
        return bool(some) and all(not one.entries and _is_scrape(one.head) for one in some)
    return _is_scrape(item.head) or is_log(item.head) or states.is_services(item.head)


def _is_scrape(head: bytes) -> bool:
    if not is_text(head) or head.lstrip().startswith(b"{__name__="):
        return False
    text = head.decode("utf-8", "replace")
    return bool(flavour_of(line.removeprefix("# TYPE ").removeprefix("# HELP ") for line in text.splitlines()))


def belongs(item: Item, config: Config) -> bool:
    """Whether a file is one of those that the source reads."""
    if not config.payload_log:
        return False
    whole, path = _log_path(config), os.path.normpath(item.path.absolute())
    return path == whole or path.startswith(whole + os.sep) or fnmatchcase(path, whole)


def configure(item: Item, common: Common) -> Config:
    """A configuration of files by themselves."""
    return Config(common=replace(common, folder=item.path.absolute().parent))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What one saved file says, or the scrapes of a folder together."""
    yield from parse_with(item, config, Pull(since=0, until=_FAR, now=_FAR))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, with the layouts that are in force."""
    if is_log(item.head):
        if not item.path.is_file():
            raise SourceRefused(f"{item.name} lies in an archive; unpack it first.")
        yield from Logs(_fresh(config, pull, item), Logged(), pull.taken, pull.until).pages([item.path])
    elif states.is_services(item.head):
        yield _services_page(item, config)
    else:
        yield from _scrape_pages(item, config)


def _services_page(item: Item, config: Config) -> Page:
    said = _Said(config)
    at = item.given.at if item.given.at is not None else item.modified
    events = states.service_events(states.services_of(_files.load_json(item)), states.Known(), at, said)
    return Page(events, covered=(), findings=said.findings(item.name))


def _scrape_pages(item: Item, config: Config) -> Iterator[Page]:
    said, added = _Said(config), Added(config.common)
    metrics, found = scrapes.saved(item, config.flavour)
    series = found.series()
    counting = Counting(metrics, added, said, 0, config.wants)
    counting.count(series)
    if all(one.times.size < 2 for one in series):
        said.remark("holds one moment only, so counters count nothing; import two of them together in a folder")
    content = repr(sorted((sorted(one.labels.items()), one.times.tolist(), one.values.tolist()) for one in series))
    yield Page(
        added.facts(),
        covered=tuple(counting.covered()),
        slice=Slice(f"scrapes:{item.name}", hashlib.sha256(content.encode()).hexdigest()),
        findings=(*found.findings, *said.findings(item.name), *added.findings()),
    )
