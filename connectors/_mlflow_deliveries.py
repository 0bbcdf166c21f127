"""What MLflow posts to a webhook (servers from 3.3): versions created, aliases set and removed, tags set."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors._fields import Raw, Unusable, inside, text_of
from tandem import times

_DELIVERY = re.compile(rb'"entity"\s*:\s*"(?:registered_model|model_version|prompt)\w*"')
_ALIAS, _TAG, _VERSION = "model_version_alias", "model_version_tag", "model_version"


@dataclass(frozen=True)
class Change:
    """An alias that was set (`value` is the version) or removed (""), or a tag of a version that was set; at a second.

    `what` is the alias, or "VERSION:KEY" of a tag.
    """

    kind: str
    model: str
    what: str
    value: str
    at: int


@dataclass(frozen=True)
class Created:
    """A version that was made, at a second."""

    model: str
    version: str
    source: str
    run: str
    at: int


@dataclass
class Deliveries:
    """What some bodies say, in their order, and what is to be remarked."""

    changes: list[Change] = field(default_factory=list)
    created: list[Created] = field(default_factory=list)
    others: int = 0
    broken: list[str] = field(default_factory=list)


def is_delivery(head: bytes) -> bool:
    """Whether a file begins like a body that MLflow posted, bare or in an envelope with its headers."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n[").startswith(b"{") and _DELIVERY.search(head) is not None \
        and b'"action"' in head  # fmt: skip


def read(documents: Iterable[Any]) -> Deliveries:
    """What the documents of a file say: bodies, lists of them, or envelopes with a body."""
    found = Deliveries()
    for document in documents:
        for raw in document if isinstance(document, list) else [document]:
            try:
                _take(_body(raw), found)
            except (Unusable, ValueError) as no:
                found.broken.append(str(no))
    return found


def matching(changes: Iterable[Change], models: Sequence[str], tags: Sequence[str], fits: Any) -> list[Change]:
    """The changes of the models and the tags that are read; a delivery that came twice is one."""
    return [
        one
        for one in dict.fromkeys(changes)
        if fits(one.model, models) and (one.kind == "alias" or fits(one.what.partition(":")[2], tags))
    ]


def _body(raw: Any) -> Raw:
    for name in ("body", "payload", "request"):
        if isinstance(raw, dict) and "entity" not in raw and isinstance(raw.get(name), dict):
            raw = raw[name]
    if not isinstance(raw, dict) or not text_of(raw, "entity"):
        raise Unusable("a document is no delivery of MLflow")
    return raw


def _take(raw: Raw, found: Deliveries) -> None:
    entity, action, data = text_of(raw, "entity"), text_of(raw, "action"), inside(raw, "data")
    model, version = text_of(data, "name"), text_of(data, "version")
    if (entity, action) not in ((_ALIAS, "created"), (_ALIAS, "deleted"), (_TAG, "set"), (_VERSION, "created")):
        found.others += 1
        return
    at = math.floor(times.iso(text_of(raw, "timestamp")))
    if not model or not (version or action == "deleted"):
        raise Unusable("a delivery names no model, or no version")
    if entity == _ALIAS:
        found.changes.append(Change("alias", model, text_of(data, "alias"), version, at))
    elif entity == _TAG:
        found.changes.append(Change("tag", model, f"{version}:{text_of(data, 'key')}", text_of(data, "value"), at))
    else:
        found.created.append(Created(model, version, text_of(data, "source"), text_of(data, "run_id"), at))
