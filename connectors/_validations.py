"""Validations of data: runs of dbt's tests, and the results of Great Expectations, one event for each.

The data that fails a check (compiled queries, unexpected values, tracebacks) is never kept, only the check's name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any

from connectors._files import load_json
from connectors._junit import FAILING_NAMES, Report, commit_of
from tandem.connect import SourceRefused
from tandem.records import Event, Outcome, labels_of

_DBT = re.compile(rb'"dbt_schema_version"\s*:\s*"[^"]*/run-results/')
_GX = (
    re.compile(rb'"great_expectations_version"\s*:'),
    re.compile(rb'"expectation_config"\s*:\s*\{'),
    re.compile(rb'"evaluated_(?:expectations|validations)"\s*:'),
)
_TESTS = ("test.", "unit_test.")
_HASH = re.compile(r"[0-9a-f]{10}")
_NAME_LENGTH = 200

Raw = Mapping[str, Any]


@dataclass(frozen=True)
class _Check:
    """One test of data, with what its tool says it came to."""

    name: str
    word: str


@dataclass
class _Validation:
    """Some checks that ran together."""

    key: str
    ts: int
    title: str
    checks: Sequence[_Check]
    verdict: str = ""
    """What the tool says of the whole; "" where its checks decide."""
    ended: int | None = None
    commit: str = ""
    labels: dict[str, Any] = field(default_factory=dict)


def is_validation(head: bytes) -> bool:
    """Whether a file begins like dbt's run_results.json or a result of Great Expectations."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text.startswith(b"{") and (_DBT.search(text) is not None or any(mark.search(text) for mark in _GX))


def events(report: Report, digest: str, wanted: Sequence[str]) -> list[Event]:
    """The validations of one file whose checks fit `wanted`; raises SourceRefused where it holds none at all."""
    # Great Expectations writes NaN for a share of nothing.
    document = load_json(report.item, lambda word: None)
    if not isinstance(document, dict):
        raise _unusable(report)
    found = list(_of_dbt(report, document) if "metadata" in document else _of_expectations(report, document, digest))
    return [event for one in found for event in [_event(report, one, wanted)] if event is not None]


def _unusable(report: Report) -> SourceRefused:
    return SourceRefused(f"{report.item.name} is no run_results.json of dbt and no result of Great Expectations.")


def _event(report: Report, one: _Validation, wanted: Sequence[str]) -> Event | None:
    checks = [check for check in one.checks if not wanted or any(fnmatchcase(check.name, glob) for glob in wanted)]
    if wanted and not checks:
        return None
    told = [(check, report.outcome(check.word)) for check in checks]
    failed = [check.name for check, outcome in told if outcome == "bad"]
    passed = sum(outcome == "good" for _, outcome in told)
    ran = passed + len(failed)
    labels = labels_of({
        **one.labels,
        "file": PurePath(report.item.name).name,
        "checks": ran,
        "failed": len(failed),
        "warned": sum(check.word == "warn" for check in checks),
        "skipped": len(checks) - ran,
        "failed_checks": ", ".join(name[:_NAME_LENGTH] for name in failed[:FAILING_NAMES]),
    })  # fmt: skip
    said = f"{len(failed)} of {ran} checks failed" if failed else f"{ran} checks passed"
    title = f"{one.title}: {said}" if one.title else said
    return Event("validation", one.key, one.ts, ended=one.ended, commit=one.commit, title=title, labels=labels,
                 outcome=_outcome(report, one, len(failed), ran, whole=len(checks) == len(one.checks)))  # fmt: skip


def _outcome(report: Report, one: _Validation, failed: int, ran: int, *, whole: bool) -> Outcome:
    """What the tool says of the whole; nothing that ran is no success."""
    if not ran:
        return "excluded"
    if one.verdict and whole:
        return report.outcome(one.verdict)
    return "bad" if failed else "good"


# -- dbt


def _of_dbt(report: Report, document: Raw) -> Iterator[_Validation]:
    told, results = document.get("metadata"), document.get("results")
    if not isinstance(told, dict) or not isinstance(results, list):
        raise _unusable(report)
    rows = [row for row in results if isinstance(row, dict) and str(row.get("unique_id", "")).startswith(_TESTS)]
    if not rows:
        report.said["remark", "a run of dbt without tests validates nothing"] += 1
        return
    args, env = _dict(document.get("args")), _dict(told.get("env"))
    ended = report.time(str(told.get("generated_at") or ""))
    begun = _begun(report, rows)
    if ended is None and begun is None:
        return
    projects = sorted({str(row["unique_id"]).split(".")[1] for row in rows})
    key = str(told.get("invocation_id") or "") or f"{ended}:{','.join(projects)}"
    yield _Validation(
        f"dbt:{key}", begun if begun is not None else ended or 0, ", ".join(projects),
        [_Check(_name_of(str(row["unique_id"])), str(row.get("status"))) for row in rows], ended=ended,
        commit=next((commit for name, value in env.items() if (commit := commit_of(name, str(value)))), ""),
        labels={"suite": ",".join(projects), "command": args.get("which"), "target": args.get("target")},
    )  # fmt: skip


def _begun(report: Report, rows: Sequence[Raw]) -> int | None:
    """When the first test began; None where no row states it."""
    steps = [step for row in rows for step in _list(row.get("timing")) if isinstance(step, dict)]
    stated = sorted(str(step["started_at"]) for step in steps if step.get("started_at"))
    return report.time(stated[0]) if stated else None


def _name_of(unique: str) -> str:
    """A test's own name: test.shop.not_null_claims_id.89894d9e93 is not_null_claims_id."""
    parts = unique.split(".")[2:]
    return ".".join(parts[:-1] if len(parts) > 1 and _HASH.fullmatch(parts[-1]) else parts)


# -- Great Expectations


def _of_expectations(report: Report, document: Raw, digest: str) -> Iterator[_Validation]:
    if isinstance(document.get("results"), list):
        yield from _suite(report, document, digest)
        return
    runs = document.get("run_results")
    inside: list[Any] = list(runs.values()) if isinstance(runs, dict) else _list(document.get("validation_results"))
    if not inside:
        raise _unusable(report)
    for place, one in enumerate(inside):
        result = one.get("validation_result", one) if isinstance(one, dict) else None
        if isinstance(result, dict):
            yield from _suite(report, result, f"{digest}:{place}")


def _suite(report: Report, result: Raw, digest: str) -> Iterator[_Validation]:
    meta = _dict(result.get("meta"))
    run, batch = _dict(meta.get("run_id")), _dict(meta.get("active_batch_definition"))
    stated = str(run.get("run_time") or meta.get("validation_time") or "")
    ts = report.time(stated)
    if ts is None:
        return
    rows = [row for row in _list(result.get("results") or result.get("expectations")) if isinstance(row, dict)]
    suite = str(result.get("suite_name") or meta.get("expectation_suite_name") or "")
    asset = str(batch.get("data_asset_name") or _batch(rows))
    names = (stated, run.get("run_name"), suite, asset, meta.get("validation_id"), batch.get("batch_identifiers"))
    said = json.dumps(names, sort_keys=True, default=str) if stated else digest
    yield _Validation(
        f"gx:{hashlib.sha256(said.encode('utf-8', 'replace')).hexdigest()[:24]}", ts,
        " on ".join(part for part in (suite, asset) if part),
        [_Check(_expectation(row), _said(row.get("success"))) for row in rows], _said(result.get("success")),
        labels={"suite": suite, "asset": asset, "datasource": batch.get("datasource_name"),
                "run": run.get("run_name")},
    )  # fmt: skip


def _said(success: object) -> str:
    """The verdict as a word; what is neither true nor false is none."""
    return {True: "success", False: "failure"}.get(success, "no verdict") if isinstance(success, bool) else "no verdict"


def _expectation(row: Raw) -> str:
    config = _dict(row.get("expectation_config")) or row
    kind = str(config.get("type") or config.get("expectation_type") or "expectation")
    column = _dict(config.get("kwargs")).get("column")
    return f"{column}: {kind}" if column else kind


def _batch(rows: Sequence[Raw]) -> str:
    kwargs = [_dict((_dict(row.get("expectation_config")) or row).get("kwargs")) for row in rows[:1]]
    return str(kwargs[0].get("batch_id") or "") if kwargs else ""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
