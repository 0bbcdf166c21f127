"""What `tandem init` writes: a tandem.toml to start from, and a block per connector, made of what it says of itself."""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tandem import connect

COMMON: Mapping[str, tuple[str, str]] = {
    "component": ("The component that everything of this source belongs to, or a list of them.", '"checkout-api"'),
    "environment": ("Where it runs.", '"production"'),
    "timezone": ("The zone of times without an offset; without it such rows are refused.", '"Europe/Berlin"'),
    "every": ("How often it is read.", '"5m"'),
    "since": ("Where a first pull begins: a time, or so long before now.", '"90d"'),
    "overlap": ("How far back every pull reads again.", '"1h"'),
    "horizon": ("How long a finished object may still change; the daily sweep reads that far back.", '"30d"'),
    "primary": ("This source counts where several measure the same; the others are witnesses beside it.", "true"),
    "combine": ("Add it to other sources of the same signal: for disjoint traffic only, such as two regions.", '"sum"'),
    "deletions": ('What vanished at the source: "keep" it, or "restate" without it (prometheus servers).', '"keep"'),
    "maintenance_time": (
        'Whether the maintenance it tells of leaves the counts of objectives: "leave out", or "count".',
        '"count"',
    ),
    "shift_days": ("Move all of its times forth by so many days; the demo uses it.", "0"),
    "ca_file": ("The certificate authority of the server.", '"ca.pem"'),
    "token_env": ("The name of the environment variable that holds the token.", '"TANDEM_TOKEN"'),
    "token_file": ("Instead: a file that holds it, which only its owner can read.", '"token.txt"'),
    "discover": ("Make a component of everything that no rule matches.", "true"),
    "status": ("What a status of the system means: good, bad, excluded or open.", '{ neutral = "excluded" }'),
    "map": (
        "Which labels belong to which component: globs, all must hold, the first match wins.",
        '[{ component = "checkout-api", match = { job = "shop/*" } }]',
    ),
}
"""The keys of every source besides connector and name: what each means, and an example as TOML."""

_HEAD = """\
## Tandem reads this file. Every command works beside it, or with --config.
## An unknown key is an error that names the nearest known one; paths are relative to this file.
## To use a block below, take one "#" off each of its lines.

## The database, one file.
store = "tandem.duckdb"

## How times are shown; everything is stored in UTC.
# timezone = "Europe/Berlin"
"""

_COMPONENTS = """\
# What you look after: services and models. Those of one product stand side by side.
[[component]]
name = "checkout-api"
kind = "service"
product = "checkout"
depends_on = ["fraud-detector"]

[[component]]
name = "fraud-detector"
kind = "model"
product = "checkout"
"""

_OBJECTIVES = """\
# What you promise. Most signals have an objective of their own where nothing is said.
[[objective]]
component = "checkout-api"
signal = "latency"
target = 0.99           # 99 % of all requests
threshold = 0.3         # within 300 ms
window = "28d"          # over the last 28 days

[[objective]]
component = "fraud-detector"
signal = "accuracy"     # also precision, recall, f1, of one class; for a regression "error" with a tolerance
target = 0.95

# What the two promise together: answered, in time, and right.
[[product]]
name = "checkout"
target = 0.97

# What a pipeline asks for by `tandem check --gate release`; the README has recipes.
[[gate]]
name = "release"
product = "checkout"
window = "1h"           # left out, each objective's own
events = 500            # on less than that nothing holds
stale = "breached"      # what a late source means: "unknown", "breached", or "as counted"

# What was agreed to leave the counts of objectives; maintenance leaves them by itself.
[[correction]]
component = "checkout-api"
from = 2026-11-20T02:00:00Z
to = 2026-11-20T04:00:00Z
author = "Ada"
reason = "the database moved, as agreed with support"
agreed = 2026-11-18
"""

_SIGNALS = """\
# A signal of your own, beside the built-in ones.
[[signal]]
name = "cache_hits"
title = "Cache"
side = "system"         # or "model"
kind = "ratio"          # or "histogram", "confusion", "moments"
unit = "ratio"
good = "ratio"          # or "below" a threshold, "within" a tolerance, "accuracy", "none"
of = "look-ups answered"
meaning = "Share of look-ups that the cache answered."
target = 0.8            # of its default objective, with `threshold` where good is "below"
width = 300             # of a bucket, in seconds: 300, 3600 or 86400
better = "higher"       # or "lower"
"""

_DELIVERY = """\
# How delivery is read, and what you know better than a rule.
[delivery]
incident_hours = 24     # so soon after a deployment an incident is its own, where nothing else changed between
breach_days = 7         # so long a promoted model answers for its targets
alerts = false          # whether alerts count as incidents
unplanned = ["hotfix*", "revert*", "rollback*", "roll back*"]   # what a change made because of an incident is called
aliases = ["champion", "production"]   # those by which a registry says that a version serves
[[delivery.link]]
incident = "INC-1042"   # by its key, or "source:key"; or rollback = "KEY"
deployment = "900001517"   # or unrelated = true; fix = "KEY" names the deployment that ended the incident
author = "ana"
reason = "the leak began with it"
[[delivery.apart]]
changes = ["900001517", "argocd:shop/12"]   # look like one change from two sources, and are not
author = "ana"
reason = "two clusters"
"""

_LINEAGE = """\
# Where the versions of a model come from. Sources are joined by digest, run id and commit, and by what you say here;
# a name alone joins nothing.
[[component]]
name = "ranker"
kind = "model"
product = "search"
[component.lineage]
versions = ["registry", "fraud-log"]   # sources that number alike: version 7 of one is version 7 of the other
[[component.version]]
name = "7"
run = "3f2a9c1d4b5e6f70"   # any of run, commit, data_version and digest; it goes before what sources say
author = "ana"
reason = "trained before there was a registry"
"""

_COMMENTED_KEY = re.compile(r"(?m)^\s*# ?(\w+) = ")


def init_text() -> str:
    """A tandem.toml that loads as it is, and shows every connector in a block to uncomment."""
    parts = [
        _HEAD,
        *(commented(text) for text in (_COMPONENTS, _OBJECTIVES, _SIGNALS, _DELIVERY, _LINEAGE)),
        commented("# Where the numbers come from. `tandem init --connector NAME` prints every key of a connector."),
        *(_short_block(name) for name in connect.names()),
    ]
    return "\n".join(parts)


def block(connector: str) -> str:
    """One commented [[source]] block with every key; raises SourceRefused for an unknown connector.

    With one "#" taken off each line it loads; keys that may be left out are comments then, each with its meaning.
    """
    name = connector if connector in connect.names() else connect.canonical(connector)
    module = connect.load(name)
    keys, tables = _example(name)
    used = set(tomllib.loads(keys + tables)["source"][0]) | set(_COMMENTED_KEY.findall(keys))
    own = [one for one in dataclasses.fields(module.Config) if _key(one) not in used | {"common"}]
    hints = get_type_hints(module.Config)
    lines = [
        f"# {sentence(module.ABOUT.reads)}",
        *keys.splitlines(),
        *(line for one in own for line in _optional(_key(one), _doc(one), _written(one, hints[one.name]))),
        "",
        "# Keys of every source:",
        *(line for key, (doc, example) in COMMON.items() if key not in used for line in _optional(key, doc, example)),
        *tables.splitlines(),
    ]
    return commented("\n".join(lines))


def commented(text: str) -> str:
    """`text` as a comment, line by line; what was a comment before begins with "##"."""
    return "".join(f"#{'' if line.startswith('#') else ' '}{line}".rstrip() + "\n" for line in text.splitlines())


def uncommented(text: str) -> str:
    """`text` with one "#" taken off each line."""
    return re.sub(r"(?m)^# ?", "", text)


def sentence(text: str) -> str:
    """`text` with a capital and a full stop: connectors describe themselves in phrases and in sentences."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _short_block(name: str) -> str:
    return commented(f"# {sentence(connect.load(name).ABOUT.reads)}\n" + "".join(_example(name)))


def _example(name: str) -> tuple[str, str]:
    """ABOUT.example as a whole block, cut before its first table: keys must stand before tables."""
    given = textwrap.dedent(connect.load(name).ABOUT.example).strip("\n") + "\n"
    body = re.sub(r"^\s*\[\[source\]\]\n", "", given)
    keys = re.split(r"(?m)^\s*\[+source\.", body, maxsplit=1)[0]
    stated = tomllib.loads(keys)
    heads = [f'{key} = "{name}"\n' for key in ("connector", "name") if key not in stated]
    return "[[source]]\n" + "".join(heads) + keys, body[len(keys) :]


def _optional(key: str, doc: str, example: str) -> Iterator[str]:
    yield f"# {sentence(doc)}"
    yield f"# {key} = {example}"


def _key(one: dataclasses.Field[Any]) -> str:
    return one.name.rstrip("_")


def _doc(one: dataclasses.Field[Any]) -> str:
    return str(one.metadata.get("doc", ""))


def _written(one: dataclasses.Field[Any], hint: Any) -> str:
    """The example of a field as TOML, else its default, else a value of its type."""
    for value in (one.metadata.get("example"), one.default):
        if value is not None and value is not dataclasses.MISSING:
            return toml(value)
    return _placeholder(hint)


def _placeholder(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _placeholder(arguments[0])
    if origin is Literal:
        return toml(arguments[0])
    if origin in (Mapping, dict):
        return "{}"
    if origin is tuple:
        return "[]"
    return {int: "0", float: "0.0", bool: "false"}.get(hint, '""')


def toml(value: Any) -> str:
    """A value as TOML on one line; raises TypeError for what a config never holds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(one) for one in value)}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {one.name.rstrip("_"): getattr(value, one.name) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        pairs = [f"{json.dumps(str(key))} = {toml(one)}" for key, one in value.items() if one is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    raise TypeError(f"{type(value).__name__} has no place in a config")
