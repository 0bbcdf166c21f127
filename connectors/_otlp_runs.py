"""Spans of pipelines by the semantic conventions for CI/CD, as builds and deployments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors._otlp_data import Attributes, Span
from tandem.records import Event, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "success": "good",
    "succeeded": "good",
    "failure": "bad",
    "failed": "bad",
    "error": "bad",
    "timeout": "bad",
    "cancellation": "excluded",
    "skip": "excluded",
}
KNOWN = 2_000
"""Runs whose attempts are told apart."""
_SECOND = 1_000_000_000
_RESULTS = ("cicd.pipeline.task.run.result", "deployment.status", "cicd.pipeline.result")


@dataclass
class Runs:
    """The attempts of each run: one that runs again under its id is another attempt and no second build."""

    known: dict[str, list[str]] = field(default_factory=dict)

    def plain(self) -> dict[str, list[str]]:
        """The same, bounded: the runs seen last."""
        self.known = dict(list(self.known.items())[-KNOWN:])
        return self.known

    def kind_of(self, span: Span) -> str:
        """What a span is: "build", "deployment", "part" of a run that counts with it, or "" for another span."""
        said = span.attributes
        if "deployment.id" in said or "deployment.status" in said or said.get("cicd.pipeline.task.type") == "deploy":
            return "deployment"
        if any(name.startswith("cicd.pipeline.task.") for name in said):
            return "part"
        if "cicd.pipeline.run.id" in said or "cicd.pipeline.result" in said:
            return "build"
        return "part" if any(name.startswith("cicd.") for name in said) else ""

    def event(
        self, kind: str, resource: Attributes, span: Span, status: Callable[[str], Outcome | None]
    ) -> tuple[Event, str]:
        """The event of a span, and its result where nobody knows that word."""
        said = {**resource, **span.attributes}
        word = next((said[name] for name in _RESULTS if said.get(name)), "")
        if not word and span.failed:
            word = "error"
        outcome = status(word)
        key = self._key(kind, said, span)
        environment = said.get("deployment.environment.name") or said.get("deployment.environment", "")
        told = Event(
            kind,
            key,
            span.start // _SECOND,
            ended=span.end // _SECOND,
            outcome=outcome or "excluded",
            attempt=self._attempt(f"{kind}:{key}", span.id),
            environment=environment,
            version=said.get("artifact.version") or said.get("service.version", ""),
            commit=said.get("vcs.ref.head.revision", ""),
            run=said.get("cicd.pipeline.run.id", ""),
            actor=said.get("vcs.change.author", ""),
            title=span.name,
            url=said.get("cicd.pipeline.run.url.full", ""),
            labels=_labels(said, word, environment),
            revision=span.end // _SECOND,
        )
        return told, "" if outcome else word or "(none)"

    def _key(self, kind: str, said: Mapping[str, Any], span: Span) -> str:
        pipeline = said.get("cicd.pipeline.name", "")
        run = said.get("cicd.pipeline.run.id") or span.trace
        if kind == "build":
            return f"{pipeline}/{run}"
        own = said.get("deployment.id") or said.get("cicd.pipeline.task.run.id") or said.get("deployment.name")
        return f"{pipeline}/{run}/{own or span.name}"

    def _attempt(self, key: str, span: str) -> int:
        spans = self.known.setdefault(key, [])
        if span not in spans:
            spans.append(span)
        return spans.index(span) + 1


def _labels(said: Mapping[str, str], word: str, environment: str) -> tuple[tuple[str, str], ...]:
    names = (
        "cicd.pipeline.name", "cicd.pipeline.task.name", "vcs.repository.name", "vcs.repository.url.full",
        "vcs.ref.head.name", "service.name", "deployment.name", "error.type",
    )  # fmt: skip
    return labels_of(
        {**{name: said.get(name) for name in names}, "result": word, "deployment.environment": environment}
    )
