"""A small Elasticsearch for tests: composite, range and filter aggregations over documents, with its limits and errors.

Written by hand after the documented API of search, field capabilities and composite aggregations; not captured. Its
queries are functions that the test gives with their text, so that nothing of the connector judges itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.replay import Answer, Asked

Document = Mapping[str, Any]


@dataclass
class Elastic:
    """An index and how the cluster behaves."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    queries: Mapping[str, Callable[[Document], bool]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    indices: Sequence[str] = ("logs-shop", "alerts")
    max_buckets: int = 65_536
    too_many: int = 400
    """503 in versions before 7.16."""
    failed_shards: int = 0
    timed_out: bool = False
    skipped: int = 0
    searches: int = 0
    before: Mapping[int, Callable[[], Any]] = field(default_factory=dict)
    """What happens before the search of that number (from 1)."""

    def answer(self, asked: Asked) -> Answer:
        """The HTTP answer."""
        index, _, what = asked.path.strip("/").partition("/")
        if not any(fnmatchcase(name, index) for name in self.indices):
            error = {"type": "index_not_found_exception", "reason": f"no such index [{index}]"}
            return Answer({"error": {"root_cause": [error], **error}, "status": 404}, 404)
        if what == "_field_caps":
            return self._caps(dict(asked.query)["fields"].split(","))
        if what != "_search":
            return Answer({"error": {"type": "x", "reason": "no handler"}}, 400)
        self.searches += 1
        self.before.get(self.searches, lambda: None)()
        given = dict(asked.query)
        if self.failed_shards and given.get("allow_partial_search_results") == "false":
            return Answer({"error": {"type": "search_phase_execution_exception", "reason": "Partial shards"}}, 503)
        return self._search(json.loads(asked.body), given.get("filter_path", ""))

    def _caps(self, names: Sequence[str]) -> Answer:
        known = {name: self.types[name] for name in names if name in self.types}
        return Answer({"indices": ["logs-shop"], "fields": {n: {t: {"type": t}} for n, t in known.items()}})

    def _search(self, body: Any, filter_path: str) -> Answer:
        found = [one for one in self.documents if _matches(one, body["query"], self.queries)]
        told: dict[str, Any] = {
            "took": 3, "timed_out": self.timed_out,
            "_shards": {"total": 4, "successful": 4 - self.failed_shards, "skipped": 0, "failed": self.failed_shards},
            "hits": {"total": {"value": len(found), "relation": "eq"}, "max_score": None, "hits": []},
        }  # fmt: skip
        if self.skipped:
            told["_clusters"] = {"total": 2, "successful": 1, "skipped": self.skipped}
        if body["size"]:
            told["hits"]["hits"] = _hits(found, body)
        if "aggs" in body:
            buckets, count = _composite(found, body["aggs"]["b"], self.queries, self.max_buckets)
            if count > self.max_buckets or body["aggs"]["b"]["composite"]["size"] > self.max_buckets:
                reason = f"Trying to create too many buckets. Must be less than or equal to: [{self.max_buckets}]"
                cause = {"type": "too_many_buckets_exception", "reason": reason, "max_buckets": self.max_buckets}
                return Answer({"error": {"root_cause": [], "type": "search_phase_execution_exception", "reason": "",
                                         "caused_by": cause}, "status": self.too_many}, self.too_many)  # fmt: skip
            told["aggregations"] = {"b": {"buckets": buckets, **({"after_key": buckets[-1]["key"]} if buckets else {})}}
        return Answer(_filtered(told, [path.split(".") for path in filter_path.split(",")]) if filter_path else told)


def _matches(document: Document, query: Any, queries: Mapping[str, Callable[[Document], bool]]) -> bool:
    [(kind, told)] = query.items()
    if kind == "bool":
        every = all(_matches(document, one, queries) for one in told.get("filter", ()))
        some = told.get("should")
        return every and (not some or any(_matches(document, one, queries) for one in some))
    if kind == "query_string":
        return queries[told["query"]](document)
    [(name, limits)] = told.items()
    value = document.get(name)
    if value is None:
        return False
    if kind == "terms":
        return value in limits
    assert kind == "range", kind
    assert limits.get("format", "epoch_millis") == "epoch_millis"
    signs = {"gte": value.__ge__, "lt": value.__lt__, "gt": value.__gt__, "lte": value.__le__}
    return all(signs[sign](limit) for sign, limit in limits.items() if sign != "format")


def _composite(found: Sequence[Document], told: Any, queries: Any, most: int) -> tuple[list[Any], int]:
    """One page of buckets, ordered by their keys (absent values first), and how many buckets it holds in all.

    The page ends where it holds more than `most`.
    """
    composite, below = told["composite"], told.get("aggs", {})
    groups: dict[tuple[Any, ...], list[Document]] = {}
    names = [next(iter(source)) for source in composite["sources"]]
    for document in found:
        key = []
        for source in composite["sources"]:
            [(name, how)] = source.items()
            [(kind, settings)] = how.items()
            value = document.get(settings["field"])
            if kind == "date_histogram":
                width = int(settings["fixed_interval"].removesuffix("s")) * 1000
                value = value // width * width
            key.append(value)
        groups.setdefault(tuple(key), []).append(document)

    def order(key: Sequence[Any]) -> list[Any]:
        return [(value is not None, value if value is not None else 0) for value in key]

    keys = sorted(groups, key=order)
    if composite.get("after"):
        after = order([composite["after"][name] for name in names])
        keys = [key for key in keys if order(key) > after]
    buckets, count = [], 0
    for key in keys[: composite["size"]]:
        if count > most:
            break
        own: dict[str, Any] = {"key": dict(zip(names, key, strict=True)), "doc_count": len(groups[key])}
        for name, part in below.items():
            own[name] = _part(groups[key], part, queries)
            count += len(own[name].get("buckets", [1]))
        buckets.append(own)
        count += 1
    return buckets, count


def _part(documents: Sequence[Document], told: Any, queries: Any) -> Any:
    [(kind, settings)] = told.items()
    if kind == "filter":
        return {"doc_count": sum(_matches(one, settings, queries) for one in documents)}
    if kind == "filters":
        return {"buckets": [{"doc_count": sum(_matches(one, how, queries) for one in documents)}
                            for how in settings["filters"]]}  # fmt: skip
    assert kind == "range", kind
    values = [value for one in documents if (value := one.get(settings["field"])) is not None]
    # Ranges are closed below and open above, and come back in order.
    limits = [(one.get("from", float("-inf")), one.get("to", float("inf"))) for one in settings["ranges"]]
    return {"buckets": [{"key": f"{low}-{high}", "from": low, "to": high,
                         "doc_count": sum(low <= value < high for value in values)}
                        for low, high in sorted(limits)]}  # fmt: skip


def _hits(found: Sequence[Document], body: Any) -> list[Any]:
    assert body["size"] <= 10_000, "index.max_result_window"
    names = [next(iter(one)) for one in body["sort"]]
    rows = sorted(([one.get(name) for name in names], one) for one in found if one.get(names[0]) is not None)
    if "search_after" in body:
        rows = [row for row in rows if row[0] > body["search_after"]]
    wanted = body["_source"]
    return [{"_index": "x", "_id": str(n), "_source": {k: v for k, v in one.items() if k in wanted}, "sort": sort}
            for n, (sort, one) in enumerate(rows[: body["size"]])]  # fmt: skip


def _filtered(told: Any, paths: Sequence[Sequence[str]]) -> Any:
    """What `filter_path` leaves: names with wildcards along the way, lists looked through, nothing empty kept."""
    if isinstance(told, list):
        rows = [_filtered(one, paths) for one in told]
        return [row for row in rows if row not in ({}, [])]
    if not isinstance(told, dict):
        return told
    kept = {}
    for name, value in told.items():
        rest = [path[1:] for path in paths if fnmatchcase(name, path[0])]
        if any(not one for one in rest):
            kept[name] = value
        elif rest and isinstance(value, dict | list):
            inner = _filtered(value, rest)
            if inner not in ({}, []):
                kept[name] = inner
    return kept
