"""Approvals of model packages and promotions of endpoints, from what the command line of AWS prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connectors._fields import Raw, Unusable, rows_of, text_of
from connectors._judged import Drifting, Judgement, onset
from connectors._sagemaker import Hour, Job, Violation, when_of
from connectors._said import Said
from tandem.connect import Pull
from tandem.records import Event, Page, Record, Series, Slice, labels_of

NAMED = 5
"""Violations that the title of a validation names."""


def approvals(document: Raw, said: Said) -> Iterator[Event]:
    """One event per version of a model package, from a list of them or from a description of one."""
    rows = rows_of(document, "ModelPackageSummaryList") if "ModelPackageSummaryList" in document else [document]
    for raw in rows:
        group, version, word = (raw.get(name) for name in ("ModelPackageGroupName", "ModelPackageVersion",
                                                           "ModelApprovalStatus"))  # fmt: skip
        if not isinstance(group, str) or not isinstance(version, int) or not isinstance(word, str):
            said.remark("model packages without a group, version or approval are left out")
            continue
        try:
            created, changed = when_of(raw, "CreationTime"), when_of(raw, "LastModifiedTime", 0)
        except Unusable as error:
            said.reject(f"a model package cannot be used: {error}")
            continue
        outcome = said.outcome(word)
        decided = changed if outcome in ("good", "bad") and changed >= created else None
        by = raw.get("LastModifiedBy")
        yield Event(
            "approval", f"{group}/{version}", created, ended=decided, outcome=outcome, version=str(version),
            actor=text_of(by, "UserProfileName") if isinstance(by, dict) else "", revision=changed or created,
            title=f"{group} version {version}: {word}",
            labels=labels_of({"model_package_group": group, "status": word,
                              "reason": text_of(raw, "ApprovalDescription")[:200]}),
        )  # fmt: skip


def promotion(document: Raw, said: Said, pull: Pull) -> Page | None:
    """What an endpoint serves by its configuration, since when that was first seen; None without a time."""
    name, config, word = (text_of(document, key) for key in ("EndpointName", "EndpointConfigName", "EndpointStatus"))
    if not name or not config:
        raise Unusable("an endpoint has no name or configuration")
    changed = when_of(document, "LastModifiedTime", 0) or when_of(document, "CreationTime")
    # Weights and replicas change the endpoint too: the first time of a configuration is the one of its promotion.
    mark = f"endpoint:{name}@{config}"
    known = (pull.taken(mark) or "").partition(":")[0]
    ts = min(changed, int(known)) if known.isdigit() else changed
    outcome = said.outcome(word)
    variants = rows_of(document, "ProductionVariants")
    weights = ", ".join(f"{text_of(one, 'VariantName')} {one.get('CurrentWeight', '')}".strip() for one in variants[:9])
    event = Event(
        "promotion", f"{name}@{config}", ts, ended=changed if outcome in ("good", "bad") else None, outcome=outcome,
        version=config, title=f"{name} serves {config}", revision=changed,
        labels=labels_of({"endpoint": name, "status": word, "variants": weights}),
    )  # fmt: skip
    return Page([event], slice=Slice(mark, f"{ts}:{changed}:{word}"))


def validation(hour: Hour, found: list[Violation] | None, said: Said, revision: int, job: Job | None = None) -> Event:
    """How the data of an hour met the constraints: by the violations, None for no file of them, or by their job."""
    failed = [f"{one.feature}: {one.check}" if one.feature else one.check for one in found or ()]
    if job is not None:
        word, title = job.word, f"the monitoring job says {job.word}"
    elif found is None:
        word, title = "no violations file", "no file of violations: it passed, or its job failed"
    else:
        word = "CompletedWithViolations" if failed else "Completed"
        more = ", …" if len(failed) > NAMED else ""
        title = f"{len(failed)} constraints violated: {', '.join(failed[:NAMED])}{more}" if failed else "no violations"
    return Event(
        "validation", hour.key, hour.ts, outcome=said.outcome(word), title=title, revision=revision,
        labels=labels_of({**dict(hour.labels("schedule")), "status": word, "failed": len(failed) or "",
                          "failed_checks": ", ".join(failed[:NAMED])}),
    )  # fmt: skip


def drift(hour: Hour, found: list[Judgement], drifting: Drifting, pull: Pull) -> Iterator[Page]:
    """The judgements of an hour as samples, and an event where a feature began to drift."""
    series = Series("sample", hour.labels("schedule"))
    samples: list[Record] = [sample for one in found for sample in one.samples(series, hour.ts)]
    if samples:
        yield Page(samples)
    page = onset(hour.key, hour.ts, drifting.begun(hour.place, hour.ts, found), series, pull)
    if page is not None:
        yield page


def kind_of(document: Any) -> str:
    """What a document of AWS' command line is: "packages", "endpoint", "job", or nothing of these."""
    if not isinstance(document, dict):
        return ""
    if "ModelPackageSummaryList" in document or "ModelApprovalStatus" in document:
        return "packages"
    if "EndpointConfigName" in document and "EndpointStatus" in document:
        return "endpoint"
    if isinstance(document.get("MetricDataResults"), list):
        return "metrics"
    return "job" if "ProcessingJobName" in document else ""
