"""What each inference server counts, and under which names: counters of requests and histograms of how long they took.

A mean (MLServer's model_infer_request_duration, Triton's nv_inference_request_duration_us, TorchServe's
ts_inference_latency_microseconds) is no distribution: it is never read, because averages do not add up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from connectors._promql import Matcher, Selector
from tandem.records import Outcome

Flavour = Literal["auto", "mlserver", "seldon", "kserve", "triton", "torchserve"]

STATUS: Mapping[str, Outcome] = {
    "2xx": "good", "3xx": "good", "4xx": "good", "5xx": "bad",
    "OK": "good", "Canceled": "good", "InvalidArgument": "good", "NotFound": "good", "AlreadyExists": "good",
    "PermissionDenied": "good", "Unauthenticated": "good", "FailedPrecondition": "good", "OutOfRange": "good",
    "Aborted": "good", "ResourceExhausted": "bad", "Unknown": "bad", "DeadlineExceeded": "bad",
    "Unimplemented": "bad", "Internal": "bad", "Unavailable": "bad", "DataLoss": "bad",
    "READY": "good", "UNAVAILABLE": "bad", "LOADING": "bad", "UNLOADING": "excluded", "UNKNOWN": "excluded",
}  # fmt: skip
"""Codes of HTTP by their class, of gRPC by name, and the states of a model in a repository's index.

What the caller did wrong was answered rightly: it is no failure of the server. A model that is being unloaded is
meant to go.
"""


@dataclass(frozen=True)
class Names:
    """The labels that name the model, its version and its pod."""

    model: str = "model"
    version: str = "version"
    pod: str = "pod"
    namespace: str = "namespace"
    suffix: str = ""
    """What stands behind the model's name."""


@dataclass(frozen=True)
class Counted:
    """A counter of requests; all of them are `means`, or what their status in the label `status` says."""

    name: str
    means: Outcome | None = None
    status: str = ""
    names: Names = Names()


@dataclass(frozen=True)
class Timed:
    """A histogram of durations, by base name; `keep` are patterns that its labels must match whole."""

    name: str
    unit: Literal["s", "ms"] = "s"
    names: Names = Names()
    keep: Mapping[str, str] = field(default_factory=dict)
    segment: str = ""

    def keeps(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is one of requests for an answer of a model."""
        return all(re.fullmatch(pattern, labels.get(name, "")) for name, pattern in self.keep.items())

    def selector(self, more: tuple[Matcher, ...]) -> Selector:
        """Its buckets in a Prometheus, with the conditions `more`."""
        own = tuple(Matcher(name, "=~", pattern) for name, pattern in self.keep.items())
        return Selector(f"{self.name}_bucket", own + more)


@dataclass(frozen=True)
class Metrics:
    """The families of one kind of server.

    Of `timed` the first that is there counts: each alternative measures the same requests. `parts` are phases of a
    request. `single`: one process by design, so that a counter that fell began again, even where nothing says so.
    """

    counted: tuple[Counted, ...] = ()
    timed: tuple[Timed, ...] = ()
    parts: tuple[Timed, ...] = ()
    single: bool = False
    marks: tuple[str, ...] = ()
    """How names of its metrics begin, for telling what a scrape is of."""

    def wanted(self) -> frozenset[str]:
        """The names of all series that are read."""
        timed = (*self.timed, *self.parts)
        return frozenset([one.name for one in self.counted] + [f"{one.name}_bucket" for one in timed])


_KNATIVE = Names("service_name", "revision_name", "pod_name", "namespace_name", suffix="-predictor")
_KSERVE = Names("model_name", "")
_INFER = {"method": "POST", "path": r".*/(infer|generate|predict)"}

METRICS: Mapping[str, Metrics] = {
    "mlserver": Metrics(
        counted=(
            Counted("model_infer_request_success_total", "good"), Counted("model_infer_request_failure_total", "bad"),
        ),
        timed=(Timed("rest_server_request_duration_seconds", keep=_INFER),),
        marks=("model_infer_request_", "rest_server_request"),
    ),
    "seldon": Metrics(
        counted=(Counted("seldon_model_infer_total", status="code"),),
        timed=(Timed("seldon_model_infer_latency_seconds"),),
        single=True,
        marks=("seldon_model_",),
    ),
    "kserve": Metrics(
        counted=(Counted("revision_request_count", status="response_code", names=_KNATIVE),),
        timed=(Timed("revision_request_latencies", "ms", _KNATIVE), Timed("request_predict_seconds", names=_KSERVE)),
        parts=(
            Timed("request_preprocess_seconds", names=_KSERVE, segment="phase=preprocess"),
            Timed("request_postprocess_seconds", names=_KSERVE, segment="phase=postprocess"),
            Timed("request_explain_seconds", names=_KSERVE, segment="phase=explain"),
        ),
        marks=("request_predict_seconds", "revision_request_"),
    ),
    "triton": Metrics(
        counted=(Counted("nv_inference_request_success", "good"), Counted("nv_inference_request_failure", "bad")),
        single=True,
        marks=("nv_inference_",),
    ),
    "torchserve": Metrics(
        counted=(
            Counted("Requests2XX_total", "good"), Counted("Requests4XX_total", "good"),
            Counted("Requests5XX_total", "bad"), Counted("Requests2XX", "good"), Counted("Requests4XX", "good"),
            Counted("Requests5XX", "bad"),
        ),
        single=True,
        marks=("ts_inference_", "ts_queue_latency_"),
    ),
}  # fmt: skip


def flavour_of(names: Iterable[str]) -> str:
    """Which server's metrics these are; "" for those of none."""
    told = list(names)
    for flavour, metrics in METRICS.items():
        if any(name.startswith(metrics.marks) for name in told):
            return flavour
    return ""


def code_word(code: str, known: Mapping[str, Outcome]) -> str:
    """The word of a status: itself where `known` has it, else the class of a code of HTTP (503 is 5xx)."""
    if code not in known and re.fullmatch(r"[1-5]\d\d", code):
        return f"{code[0]}xx"
    return code
