"""Inference servers for tests: workers that count for themselves, asked by turns at one address, and a repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.replay import Answer, Asked

EDGES = (0.01, 0.1, 1.0)


@dataclass
class Worker:
    """One process: what it answered, as (when, model, whether well, seconds)."""

    start: float
    done: list[tuple[float, str, bool, float]] = field(default_factory=list)
    named: bool = True
    """Whether it says when it began and its counters were made."""

    def metrics(self, now: float) -> str:
        """Its metrics at a time, as MLServer writes them."""
        mine = [one for one in self.done if self.start <= one[0] < now]
        lines = [f"process_start_time_seconds {self.start!r}"] if self.named else ["python_info 1"]
        lines.append("# TYPE model_infer_request_success_total counter")
        for model in sorted({one[1] for one in mine}):
            for word, well in (("success", True), ("failure", False)):
                those = [one for one in mine if one[1:3] == (model, well)]
                if those:
                    labels = f'{{model="{model}",version="None"}}'
                    lines.append(f"model_infer_request_{word}_total{labels} {len(those)}.0")
                    if self.named:
                        lines.append(f"model_infer_request_{word}_created{labels} {min(those)[0]!r}")
        path = 'app_name="mlserver",method="POST",path="/v2/models/{model_name}/infer",status_code="200"'
        for edge in (*EDGES, float("inf")) if mine else ():
            le = "+Inf" if edge == float("inf") else repr(edge)
            n = sum(one[3] <= edge for one in mine)
            lines.append(f'rest_server_request_duration_seconds_bucket{{{path},le="{le}"}} {n}.0')
        return "\n".join(lines) + "\n"


@dataclass
class ModelServer:
    """The metrics of whichever worker has its turn, readiness, and the index of models."""

    workers: Sequence[Worker] = ()
    turn: Callable[[], Worker] | None = None
    now: float = 0.0
    ready: int = 200
    index: Any = None
    text: str | None = None
    models: dict[str, int] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/metrics":
            return Answer(self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4"})
        if asked.path in ("/v2/health/ready", "/ping"):
            return Answer(b"", self.ready)
        if asked.path == "/v2/repository/index" and asked.method == "POST":
            return Answer({"error": "Not Found"}, 404) if self.index is None else Answer(self.index)
        if asked.path.startswith("/v2/models/") and asked.path.endswith("/ready"):
            return Answer(b"", self.models.get(asked.path.split("/")[3], 404))
        return Answer({"error": "Not Found"}, 404)

    def _metrics(self) -> str:
        if self.text is not None:
            return self.text
        return (self.turn() if self.turn else self.workers[0]).metrics(self.now)
