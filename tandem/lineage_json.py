"""The answer of `tandem lineage`: plain values with fixed keys, and the same as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tandem import printed, times
from tandem.joins import short
from tandem.lineage import Chain, Item, Link, Part
from tandem.runs import Compared, Metric, Number, Ran
from tandem.traced import Lineage

SHOWN = ("kind", "source", "key", "title", "outcome", "version", "run", "commit", "digest", "data_version", "rule")
LISTED = 50
"""Versions that an answer names, the newest."""
MARKS = {"joined": "=", "stated": "~", "ambiguous": "?", "named": "!", "missing": "-"}


def answer(found: Lineage) -> dict[str, Any]:
    """What `tandem lineage --json` prints, and what `lineage` is in `tandem show --json`."""
    return {
        "model": found.component,
        "window": {"from": times.text(found.window.since), "to": times.text(found.window.until)},
        "as_of": found.as_of,
        "versions": list(found.versions[:LISTED]),
        "version": found.chain.version if found.chain else None,
        "reason": found.reason,
        "chain": _chain(found.chain) if found.chain else None,
        "compared": _compared(found.compared) if found.compared else None,
    }


def _chain(one: Chain) -> dict[str, Any]:
    return {
        "registry": one.registry or None, "aliases": list(one.aliases), "configured": one.said or None,
        "registered": times.text(one.registered) if one.registered is not None else None,
        "links": [_link(link) for link in one.links], "reproducible": [_item(item) for item in one.reproducible],
        "unknown": list(one.unknown),
    }  # fmt: skip


def _link(one: Link) -> dict[str, Any]:
    return {
        "step": one.step, "state": one.state, "value": one.value or None, "reason": one.reason,
        "parts": [_part(part) for part in one.parts], "namesakes": [_part(part) for part in one.namesakes],
        "conflicts": list(one.conflicts), "more": one.more,
    }  # fmt: skip


def _part(one: Part) -> dict[str, Any]:
    plain = {name: getattr(one, name) or None for name in SHOWN}
    return plain | {"ts": times.text(one.ts), "url": safe(one.url) or None, "reason": one.reason}


def safe(url: str) -> str:
    """An address that a browser may open; "" for any other."""
    return url if url.startswith(("https://", "http://")) and url.isprintable() and " " not in url else ""


def _item(one: Item) -> dict[str, Any]:
    return {"name": one.name, "state": one.state, "value": one.value or None, "reason": one.reason,
            "told": dict(one.pairs)}  # fmt: skip


def _compared(one: Compared) -> dict[str, Any]:
    return {
        "a": _ran(one.a), "b": _ran(one.b), "same": dict(one.same),
        **{name: [{"name": key, "a": a, "b": b} for key, a, b in getattr(one, name)]
           for name in ("parameters", "environment", "facts")},
        "metrics": [_metric(metric) for metric in one.metrics],
    }  # fmt: skip


def _ran(one: Ran) -> dict[str, Any]:
    return {
        "run": one.run, "sources": list(one.sources), "title": one.title or None, "started": times.text(one.started),
        "ended": times.text(one.ended) if one.ended is not None else None, "outcome": one.outcome,
        "version": one.version or None, "commit": one.commit or None, "data_version": one.data_version or None,
        "trigger": one.trigger or None, "url": safe(one.url) or None, "conflicts": list(one.conflicts),
    }  # fmt: skip


def _metric(one: Metric) -> dict[str, Any]:
    return {"name": one.name, "stage": one.stage, "a": _number(one.a), "b": _number(one.b)}


def _number(one: Number | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"value": one.value, "step": one.step, "ts": times.text(one.ts), "source": one.source}


# -- on a terminal


def text(found: Mapping[str, Any]) -> str:
    """The answer of one model as text: the chain from commit to serving, then what it can be made again from."""
    if found["chain"] is None:
        return printed.clean(f"{found['model']}: {found['reason']}") + "\n"
    one = found["chain"]
    head = f"{found['model']} version {found['version']}, load {found['as_of']}: {found['reason']}"
    registered = f"registered {one['registered']} by {one['registry']}" if one["registered"] else "not registered"
    aliases = f", {' and '.join(one['aliases'])}" if one["aliases"] else ""
    said = f"{printed.clean(head, 400)}\n{printed.clean(registered + aliases, 400)}\n"
    if one["configured"]:
        said += printed.clean(f"written down in the configuration: {one['configured']}", 400) + "\n"
    said += "".join(_printed(link) for link in one["links"])
    rows = [(item["name"], item["state"], short(item["value"] or ""), item["reason"]) for item in one["reproducible"]]
    said += "\n" + printed.table(("reproducible from", "", "", "why"), rows)
    return said + (f"\n{_beside(found['compared'])}" if found["compared"] else "")


def _printed(link: Mapping[str, Any]) -> str:
    said = [f"{MARKS[link['state']]} {link['step']:<10} {link['value'] or link['state']}: {link['reason']}"]
    said += [f"    {_where(part)}" for part in link["parts"]]
    said += [f"    not joined: {_where(part)}: {part['reason']}" for part in link["namesakes"]]
    said += [f"    conflict: {sentence}" for sentence in link["conflicts"]]
    said += [f"    and {link['more']} more"] if link["more"] else []
    return "".join(printed.clean(line, 400) + "\n" for line in said)


def _where(part: Mapping[str, Any]) -> str:
    words = (part["source"], part["kind"], part["key"], part["ts"], part["url"])
    return " ".join(word for word in words if word)


def _beside(one: Mapping[str, Any]) -> str:
    """What differs between two runs as a table."""
    rows: list[Sequence[str]] = [
        (kind, row["name"], *(row[side] if row[side] is not None else "not stated" for side in ("a", "b")))
        for kind in ("facts", "environment", "parameters") for row in one[kind]
    ]  # fmt: skip
    rows += [("metric", f"{row['name']} ({row['stage']})", *(_value(row[side]) for side in ("a", "b")))
             for row in one["metrics"]]  # fmt: skip
    same = ", ".join(f"{n} {kind if n > 1 else kind.removesuffix('s')}" for kind, n in one["same"].items() if n)
    said = (
        printed.table(("differs", "", one["a"]["run"], one["b"]["run"]), rows) if rows else "They differ in nothing.\n"
    )
    conflicts = "".join(printed.clean(f"conflict: {sentence}", 400) + "\n"
                        for side in ("a", "b") for sentence in one[side]["conflicts"])  # fmt: skip
    return said + (f"the same: {same}\n" if same else "") + conflicts


def _value(one: Mapping[str, Any] | None) -> str:
    return "none" if one is None else f"{one['value']:.6g} at step {one['step']}"
