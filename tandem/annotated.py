"""What a check found as annotations of a pipeline: GitHub's workflow commands, and GitLab's report of links.

Names come from outside, so nothing of them may be a command: a runner obeys lines that begin with "::" or hold "##[".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tandem.checked import Check, Rule
from tandem.printed import clean, unarmed

LEVELS: Mapping[str, str] = {"breached": "error", "at risk": "warning", "unknown": "warning"}
"""GitHub's word for each state that is worth an annotation."""
MOST = 10
"""Annotations of one level that GitHub shows of a step."""
LABEL = 255
"""Characters of a label that GitLab takes."""
LONGEST = 4000
SECTION = "Tandem"


def github(check: Check, page: str = "") -> list[str]:
    """A workflow command for every rule that does not hold, worst first, each with the page that shows it.

    Of more than GitHub shows, the last says how many there are.
    """
    found = [(LEVELS[rule.state], _title(check, rule), _message(rule, page))
             for rule in check.ruled if rule.state in LEVELS]  # fmt: skip
    found += [("warning", _titled(check, "nothing to check"), said) for said in check.lacking]
    lines = []
    for level in ("error", "warning"):
        mine = [(title, message) for of, title, message in found if of == level]
        left = len(mine) - MOST + 1 if len(mine) > MOST else 0
        shown = mine[: MOST - 1] if left else mine
        lines += [_command(level, title, message) for title, message in shown]
        lines += [_command(level, _titled(check, "more"), f"and {left} more; see the log.")] if left else []
    return lines


def _title(check: Check, rule: Rule) -> str:
    return _titled(check, f"{rule.component} {rule.state}")


def _titled(check: Check, what: str) -> str:
    return f"{check.gate}: {what}" if check.gate else what


def _message(rule: Rule, page: str) -> str:
    link = absolute(rule.link, page)
    return f"{rule.sentence} {link}" if link.startswith("http") else rule.sentence


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """The text of a command: what would end its line or stand for something else is escaped."""
    return unarmed(clean(text, LONGEST)).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text[:LABEL]).replace(":", "%3A").replace(",", "%2C")


def unarmed_json(body: bytes) -> bytes:
    """JSON of the same meaning in which no runner finds a command: they look for "##" anywhere in a line."""
    return body.replace(b"##", b"#\\u0023")


def gitlab(check: Check, page: str) -> bytes:
    """A report of GitLab's kind "annotations": a labelled link for every rule that does not hold, else one for all.

    Only links under the address of a dashboard stand in it: GitLab refuses any other.
    """
    some = [one for one in check.ruled if one.state != "ok"] or list(check.ruled)
    found = [{"external_link": {"label": clean(one.sentence, LABEL), "url": absolute(one.link, page)}} for one in some]
    told: dict[str, Any] = {SECTION: [one for one in found if one["external_link"]["url"].startswith("http")]}
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def sentences(check: Check, page: str = "") -> Iterator[str]:
    """What somebody should know of, in one line each, with the page that shows it."""
    yield from check.lacking
    for rule in check.ruled:
        if rule.state != "ok":
            yield _message(rule, page)


def absolute(link: str, page: str) -> str:
    """A link under the address of a dashboard; a link to anywhere else than that address is none of Tandem's."""
    if not link.startswith("/"):
        return link if link.startswith(("http://", "https://")) else ""
    return page.rstrip("/") + link if page else ""
