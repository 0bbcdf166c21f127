"""Files of a Jenkins home: build.xml, and junitResult.xml beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast
from xml.etree.ElementTree import Element

from connectors._fields import Unusable
from connectors._files import CAP, xml
from connectors._jenkins import Builds, Job, Tests, cases_of
from tandem import times
from tandem.connect import Item

BUILD, TESTS = "build.xml", "junitResult.xml"
_BELOW = r"([^/]+(?:/(?:jobs|branches)/[^/]+)*)/builds/(\d+)(?:/|$)"
_PLACES = (re.compile(rf"(?:^|/)jobs/{_BELOW}"), re.compile(rf"(?:^|/){_BELOW}"))
_ROOT = re.compile(rb"^\s*(?:<\?xml[^>]*\?>\s*)?<([\w.:-]+)")
_OLD = re.compile(rb"^(\s*<\?xml\s+version=['\"])1\.1")
_UNWRITABLE = re.compile(rb"&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));", re.I)
"""References to control characters, which XML 1.1 allows and 1.0 does not."""


def is_build(head: bytes) -> bool:
    """The beginning of a build.xml."""
    root = _ROOT.match(head)
    if root is None or not (root[1] in (b"build", b"flow-build") or root[1].endswith((b"-build", b"Build"))):
        return False
    return b"<timestamp>" in head or b"<queueId>" in head or b"<startTime>" in head


def is_tests(head: bytes) -> bool:
    """The beginning of a junitResult.xml."""
    root = _ROOT.match(head)
    return root is not None and root[1] == b"result" and b"<suites" in head


@dataclass
class _Older:
    """The same item as XML 1.0: Jenkins writes 1.1, which parsers refuse."""

    item: Item

    def __getattr__(self, name: str) -> Any:
        return getattr(self.item, name)

    def open(self) -> BinaryIO:
        with self.item.open() as opened:
            text = opened.read(CAP)
        if _OLD.match(text):
            text = _UNWRITABLE.sub(b" ", _OLD.sub(rb"\g<1>1.0", text))
        return io.BytesIO(text)


def place_of(item: Item) -> tuple[Job, int] | None:
    """The job and the number of a build by where its files lie: jobs/A/jobs/B/branches/C/builds/12."""
    places = (
        pattern.search(f"{path}/") for path in (item.name, item.path.absolute().as_posix()) for pattern in _PLACES
    )
    for found in places:
        if found:
            folder, branches, branch = found[1].rpartition("/branches/")
            name = re.sub("/jobs/", "/", folder or found[1])
            return Job(f"{name}/{branch}" if branches else name, branch if branches else ""), int(found[2])
    return None


def read_build(item: Item, builds: Builds, tests: Tests | None) -> None:
    """The build that a build.xml tells of; raises Unusable."""
    place = place_of(item)
    if place is None:
        raise Unusable("a build.xml does not lie in JOB/builds/NUMBER, which says what it is of")
    told = _told(item)
    left = _number(told, "startTime") or _number(told, "timestamp")
    if left is None or left < 366 * 86_400_000:
        raise Unusable("a build has no timestamp")
    made = _number(told, "timestamp") or left
    job, number = place
    status = told.get("result", "")
    builds.add(
        job,
        number,
        # The API tells `timestamp` alone, so a build has its key by that.
        left=made,
        waited=_number(told, "queuingDurationMillis"),
        lasted=_number(told, "duration"),
        status=status or "RUNNING",
        commit=told.get("commit", ""),
        branch=told.get("branch", ""),
        trigger=told.get("shortDescription", ""),
        actor=told.get("userId", ""),
        tests=tests,
    )


def _told(item: Item) -> dict[str, str]:
    """The first text of each element that is of use; those of the build itself only directly below the root."""
    found: dict[str, str] = {}
    path: list[str] = []
    for event, element in _elements(item):
        if event == "start":
            path.append(element.tag)
            continue
        path.pop()
        text = (element.text or "").strip()
        own = len(path) == 1 and element.tag in ("timestamp", "startTime", "duration", "result")
        if own or element.tag in ("queuingDurationMillis", "userId"):
            found.setdefault(element.tag, text)
        elif element.tag == "sha1" and re.fullmatch(r"[0-9a-f]{40,64}", text):
            found.setdefault("commit", text)
        elif element.tag == "name" and "branches" in path and text:
            found.setdefault("branch", re.sub(r"^(?:refs/(?:heads|remotes)/)?(?:origin/)?", "", text))
        if len(path) <= 2:
            element.clear()
    return {name: text for name, text in found.items() if text and text != "detached"}


def _number(told: dict[str, str], name: str) -> int | None:
    text = told.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _elements(item: Item) -> Iterator[tuple[str, Element]]:
    return xml(cast("Item", _Older(item)))


def read_tests(item: Item) -> tuple[Tests, int | None]:
    """(tests, when the first suite with a time ran) of a junitResult.xml; the newest try of a test counts as told."""
    cases: list[tuple[str, str, float]] = []
    at: int | None = None
    for event, element in _elements(item):
        if event == "start":
            continue
        if element.tag == "case":
            cases.append(_case(element))
            element.clear()
        elif element.tag == "timestamp" and at is None:
            at = _when(element.text or "")
    return cases_of(cases), at


def _case(element: Element) -> tuple[str, str, float]:
    failed = any(element.find(tag) is not None for tag in ("errorStackTrace", "errorDetails"))
    skipped = (element.findtext("skipped") or "").strip() == "true"
    name = ".".join(part for part in (element.findtext("className"), element.findtext("testName")) if part)
    seconds = (element.findtext("duration") or "").replace(",", "")
    known = re.fullmatch(r"\d{1,9}(\.\d*)?", seconds) is not None
    return name, "SKIPPED" if skipped else "FAILED" if failed else "PASSED", float(seconds) if known else 0.0


def _when(text: str) -> int | None:
    try:
        return times.iso(text)
    except ValueError:
        return None  # without an offset it says nothing here; the build beside it does
