"""What the lineage of models is read from, at one go: their registry and promotions, and whatever these may lead to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tandem.records import Event
from tandem.store.read import Reader
from tandem.store.rows import event_of

OWN = ("release", "promotion", "deployment", "rollback", "traffic")
"""Kinds that are read whole; of the others only what shares something with these."""
LED = ("training", "validation", "data_version", "commit", "build")
ENVIRONED = ("promotion", "deployment", "rollback", "traffic")
"""Kinds that happen in an environment; what made a version is the same in all of them."""
SIBLINGS = 24
"""Training runs of one commit that are read, the newest."""


def _field(name: str) -> str:
    # Quotes inside a value are escaped, so these marks stand only where content() writes them; the value stays JSON.
    found = f'regexp_extract(e.content, \'"{name}": ("(?:[^"\\\\]|\\\\.)*")\', 1)'
    return f"CASE WHEN {_has(name)} THEN {found} ELSE '' END"


def _has(name: str) -> str:
    return f'contains(e.content, \'"{name}": "\')'


def _bare(text: str) -> str:
    """A digest without algorithm, name before it and case, as joins.hexes reads it; of any other text too."""
    return f"regexp_extract(lower(trim({text}, '\" ')), '([^@:]*?)(\\.dir)?$', 1)"


def _own_field(name: str, field: str) -> str:
    return f"CASE WHEN e.kind IN ('commit', 'build') THEN '' ELSE {field} END AS {name}"


_FIELDS = ", ".join((
    _own_field("run", _field("run")), f"{_has('version')} AS numbered",
    _own_field("digest", _bare(_field("digest"))), _own_field("data", _field("data_version")),
))  # fmt: skip
_DATA = f"list_transform(string_split(trim(data, '\"'), ','), lambda one: {_bare('one')})"
_SHA = f"left(lower(trim({_field('commit')}, '\"')), 7)"
_QUERY = f"""
WITH newest AS (SELECT source, kind, key, attempt, max(load_id) AS load_id FROM event
                WHERE load_id <= $as_of AND list_contains($kinds::VARCHAR[], kind) GROUP BY source, kind, key, attempt),
e AS (SELECT e.* FROM event e JOIN newest USING (source, kind, key, attempt, load_id)
      WHERE e.content <> '' AND e.ts < $until
        AND ($environment = '' OR e.environment = $environment OR NOT list_contains($environed::VARCHAR[], e.kind))
      QUALIFY e.attempt = max(e.attempt) OVER (PARTITION BY e.source, e.kind, e.key)),
told AS MATERIALIZED (
    SELECT e.source, e.kind, e.key, e.ts, e.content, e.components, {_FIELDS}, {_SHA} AS sha,
           CASE WHEN e.kind = 'training' THEN {_field("key")} ELSE '' END AS id,
           list_has_any(e.components, $components::VARCHAR[]) AS mine FROM e
    WHERE e.kind IN ('commit', 'build', 'data_version') OR list_has_any(e.components, $components::VARCHAR[])),
own AS (SELECT * FROM told WHERE mine AND list_contains($own::VARCHAR[], kind)),
run AS (SELECT DISTINCT run FROM own WHERE run <> '' UNION SELECT unnest($runs::VARCHAR[])),
digest AS (SELECT DISTINCT digest FROM own WHERE digest <> '' UNION SELECT unnest($digests::VARCHAR[])),
sha AS (SELECT DISTINCT sha FROM own WHERE sha <> '' UNION SELECT unnest($shas::VARCHAR[])),
named AS (SELECT *, run IN (FROM run) OR id IN (FROM run) OR numbered
                 OR (digest <> '' AND digest IN (FROM digest)) AS sure
          FROM told WHERE mine AND kind = 'training'),
made AS (SELECT * FROM named WHERE sure OR (sha <> '' AND sha IN (FROM sha))),
shas AS (FROM sha UNION SELECT DISTINCT sha FROM made WHERE sha <> ''),
training AS MATERIALIZED (SELECT * FROM named WHERE sure OR (sha <> '' AND sha IN (FROM shas))
             OR (digest <> '' AND digest IN (SELECT digest FROM made))
             QUALIFY sure OR row_number() OVER (PARTITION BY source, sha ORDER BY ts DESC, key) <= $siblings),
data AS (SELECT DISTINCT unnest({_DATA}) AS data
         FROM (SELECT data FROM own UNION SELECT data FROM training) WHERE data <> ''
         UNION SELECT unnest($data::VARCHAR[])),
runs AS (FROM run UNION SELECT DISTINCT run FROM training WHERE run <> ''
         UNION SELECT id FROM training),
digests AS (FROM digest UNION SELECT DISTINCT digest FROM training WHERE digest <> ''),
rest AS (SELECT * FROM told WHERE
           (kind = 'data_version' AND ({_bare("data")} IN (FROM data) OR digest IN (FROM data)
                                       OR (sha <> '' AND sha IN (FROM shas))))
           OR (kind IN ('commit', 'build') AND sha <> '' AND sha IN (FROM shas))
           OR (kind = 'validation' AND mine AND (run IN (FROM runs) OR numbered OR digest IN (FROM digests)
                OR (sha <> '' AND sha IN (FROM shas))
                OR list_has_any({_DATA}, (SELECT coalesce(list(data), []) FROM data)))))
SELECT source, content, '' AS kind, 0 AS n, ts, key, '' AS component FROM (
    SELECT source, content, ts, key FROM own UNION ALL SELECT source, content, ts, key FROM training
    UNION ALL SELECT source, content, ts, key FROM rest)
UNION ALL SELECT 0, '', kind, count(*), 0, '', component
FROM (SELECT kind, unnest(components) AS component FROM told WHERE mine) GROUP BY kind, component
ORDER BY ts, key, source, kind, component
"""


def origins(
    reader: Reader, components: Sequence[str], until: int, environment: str = "", *,
    named: Mapping[str, Sequence[str]],
) -> tuple[list[tuple[int, Event]], dict[tuple[str, str], int]]:  # fmt: skip
    """((source, event), count by component and kind) of what the versions of some models may come from.

    The newest attempt of each, oldest first, up to a time. `named` has the runs, digests, commits and data versions
    that the configuration names.
    """
    rows = reader.cursor.execute(_QUERY, {
        "as_of": reader.as_of, "until": until, "environment": environment, "kinds": [*OWN, *LED], "own": list(OWN),
        "environed": list(ENVIRONED), "components": list(components), "siblings": SIBLINGS,
        "runs": [_quoted(one) for one in named.get("run", ())],
        "digests": [_plain(one) for one in named.get("digest", ())],
        "shas": [one.lower()[:7] for one in named.get("commit", ())],
        "data": [_plain(one) for text in named.get("data_version", ()) for one in text.split(",")],
    }).fetchall()  # fmt: skip
    told = [(source, event_of(content)) for source, content, kind, *_ in rows if not kind]
    return told, {(component, kind): n for _, _, kind, n, _, _, component in rows if kind}


def runs(reader: Reader, component: str, until: int, ids: Sequence[str]) -> list[tuple[int, Event]]:
    """(source, training) of every run of a model that has one of these ids, oldest first."""
    rows = reader.cursor.execute(
        f"""
        WITH newest AS (SELECT source, key, attempt, max(load_id) AS load_id FROM event
                        WHERE load_id <= $as_of AND kind = 'training' GROUP BY source, key, attempt)
        SELECT e.source, e.content FROM event e JOIN newest USING (source, key, attempt, load_id)
        WHERE e.kind = 'training' AND e.content <> '' AND e.ts < $until AND list_contains(e.components, $component)
          AND (list_contains($quoted::VARCHAR[], {_field("run")}) OR list_contains($ids::VARCHAR[], e.key))
        QUALIFY e.attempt = max(e.attempt) OVER (PARTITION BY e.source, e.key)
        ORDER BY e.ts, e.key, e.source""",
        {"as_of": reader.as_of, "until": until, "component": component, "ids": list(ids),
         "quoted": [_quoted(one) for one in ids]},
    ).fetchall()  # fmt: skip
    return [(source, event_of(text)) for source, text in rows]


def numbers(
    reader: Reader, component: str, until: int, ids: Sequence[str]
) -> list[tuple[str, str, int, str, int, float, float]]:  # fmt: skip
    """(name, stage, source, run, step, ts, value): the newest sample of each name and stage of some runs of a model."""
    some = {kept.id: kept.placed for kept in reader.series(component=component, signal="sample")}
    rows = reader.cursor.execute(
        """
        WITH known AS (SELECT series, ts, micros, run, step, arg_max(value, load_id) AS value FROM sample
                       WHERE load_id <= $as_of AND list_contains($ids::INTEGER[], series) AND ts < $until
                         AND list_contains($runs::VARCHAR[], run)
                       GROUP BY ALL HAVING arg_max(value, load_id) <> ''),
        placed AS (SELECT unnest($ids::INTEGER[]) AS series, unnest($names::VARCHAR[]) AS name,
                          unnest($stages::VARCHAR[]) AS stage, unnest($sources::INTEGER[]) AS source)
        SELECT name, stage, source, run, step, ts + micros / 1e6, value FROM known JOIN placed USING (series)
        QUALIFY row_number() OVER (PARTITION BY name, stage, source, run
                                   ORDER BY step DESC, ts DESC, micros DESC, series DESC) = 1
        ORDER BY name, stage, source, run""",
        {"as_of": reader.as_of, "until": until, "ids": list(some), "runs": list(ids),
         "names": [one.name for one in some.values()], "stages": [one.stage for one in some.values()],
         "sources": [one.source for one in some.values()]},
    ).fetchall()  # fmt: skip
    return [(name, stage, source, run, step, ts, float(value)) for name, stage, source, run, step, ts, value in rows]


def _plain(text: str) -> str:
    """The same as `_bare`, of what the configuration names."""
    return text.strip().lower().rpartition("@")[2].rpartition(":")[2].removesuffix(".dir")


def _quoted(text: str) -> str:
    """A value as it stands in the text of an event."""
    return json.dumps(text, ensure_ascii=False)
