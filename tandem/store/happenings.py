"""Events that delivery asks for by what they hold: by commit, by job, by suite; only those are taken apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from tandem.records import Event
from tandem.store.read import Reader
from tandem.store.rows import event_of

# Quotes inside a value are escaped, so these marks stand only where content() writes them.
_COMMIT = 'regexp_extract(e.content, \'"commit": "([^"]*)"\', 1)'
_LABEL = 'regexp_extract(e.content, \'\\["{}", ("(?:[^"\\\\]|\\\\.)*")\\]\', 1)'
_JOB = f"coalesce(nullif({_LABEL.format('job')}, ''), nullif({_LABEL.format('workflow')}, ''), e.key)"
_SUITE = _LABEL.format("suite")
_TEST = _LABEL.format("test")
_NEWEST = """
WITH newest AS (SELECT source, kind, key, attempt, max(load_id) AS load_id FROM event
                WHERE load_id <= $as_of AND list_contains($kinds::VARCHAR[], kind) GROUP BY source, kind, key, attempt),
e AS (SELECT e.* FROM event e JOIN newest USING (source, kind, key, attempt, load_id)
      WHERE e.content <> '' AND e.ts >= $since AND e.ts < $until
        AND (len($components::VARCHAR[]) = 0 OR list_has_any(e.components, $components::VARCHAR[])))
"""


def with_commits(reader: Reader, commits: Sequence[str], since: int, until: int) -> list[tuple[int, Event]]:
    """(source, event) of the builds, releases and commits of these commits, oldest first, whatever their component."""
    if not commits:
        return []
    rows = reader.cursor.execute(
        f"{_NEWEST} SELECT e.source, e.content FROM e WHERE list_contains($commits::VARCHAR[], {_COMMIT}) "
        "ORDER BY e.ts, e.kind, e.key, e.attempt",
        {**_asked(reader, ("build", "release", "commit"), since, until, ()), "commits": list(commits)},
    ).fetchall()
    return [(source, event_of(text)) for source, text in rows]


def last_deployed(
    reader: Reader, components: Sequence[str], environment: str, before: int
) -> list[tuple[int, Event]]:  # fmt: skip
    """(source, event) of the last deployment or rollback of each component that ran before a time."""
    rows = reader.cursor.execute(
        f"""{_NEWEST},
        one AS (SELECT e.source, e.content, e.ts, e.key, unnest(e.components) AS component FROM e
                WHERE e.outcome = 'good' AND ($environment = '' OR e.environment = $environment))
        SELECT source, content, component FROM one
        WHERE len($components::VARCHAR[]) = 0 OR list_contains($components::VARCHAR[], component)
        QUALIFY row_number() OVER (PARTITION BY component ORDER BY ts DESC, key DESC, source) = 1
        ORDER BY component""",
        {**_asked(reader, ("deployment", "rollback"), -(1 << 62), before, components), "environment": environment},
    ).fetchall()
    return [(source, replace(event_of(text), components=(component,))) for source, text, component in rows]


def mixed_builds(reader: Reader, components: Sequence[str], since: int, until: int) -> list[tuple[int, Event]]:
    """(source, build) of every attempt at a commit and job that both failed and passed, oldest first."""
    rows = reader.cursor.execute(
        f"""{_NEWEST}
        SELECT e.source, e.content FROM e WHERE e.outcome IN ('good', 'bad')
        WINDOW same AS (PARTITION BY e.source, {_JOB}, coalesce(nullif({_COMMIT}, ''), e.key))
        QUALIFY min(e.outcome) OVER same <> max(e.outcome) OVER same
        ORDER BY e.ts, e.key, e.attempt""",
        _asked(reader, ("build",), since, until, components),
    ).fetchall()
    return [(source, event_of(text)) for source, text in rows]


def jobs(
    reader: Reader, components: Sequence[str], since: int, until: int
) -> list[tuple[int, str, str, int, int]]:  # fmt: skip
    """(source, component, job, runs, flips): attempts that passed or failed, and how often the outcome changed."""
    rows = reader.cursor.execute(
        f"""{_NEWEST},
        run AS (SELECT e.source, unnest(e.components) AS component, {_JOB} AS job, e.outcome, e.ts, e.key, e.attempt
                FROM e WHERE e.outcome IN ('good', 'bad')),
        step AS (SELECT *, lag(outcome) OVER (PARTITION BY source, component, job ORDER BY ts, key, attempt) AS before
                 FROM run)
        SELECT source, component, job, count(*), count(*) FILTER (WHERE outcome <> before) FROM step
        GROUP BY source, component, job ORDER BY ALL""",
        _asked(reader, ("build",), since, until, components),
    ).fetchall()
    return [(source, component, _plain(job), runs, flips) for source, component, job, runs, flips in rows]


def troubled_tests(reader: Reader, components: Sequence[str], since: int, until: int) -> list[tuple[int, Event]]:
    """(source, event) of every test that was named because it failed or was flaky, oldest first."""
    rows = reader.cursor.execute(
        f"{_NEWEST} SELECT e.source, e.content FROM e WHERE {_TEST} <> '' ORDER BY e.ts, e.key, e.attempt",
        _asked(reader, ("test_run",), since, until, components),
    ).fetchall()
    return [(source, event_of(text)) for source, text in rows]


def suite_runs(
    reader: Reader, components: Sequence[str], since: int, until: int
) -> list[tuple[int, str, str, int, str]]:  # fmt: skip
    """(source, suite, key, ts, commit) of every run of a suite in which some test was named, oldest first."""
    rows = reader.cursor.execute(
        f"""{_NEWEST},
        run AS (SELECT e.source, {_SUITE} AS suite, e.key, e.ts, {_COMMIT} AS sha, {_TEST} AS test FROM e)
        SELECT source, suite, key, ts, sha FROM run
        WHERE test = '' AND (source, suite) IN (SELECT (source, suite) FROM run WHERE test <> '')
        ORDER BY ts, key""",
        _asked(reader, ("test_run",), since, until, components),
    ).fetchall()
    return [(source, _plain(suite), key, ts, sha) for source, suite, key, ts, sha in rows]


def _asked(
    reader: Reader, kinds: Sequence[str], since: int, until: int, components: Sequence[str]
) -> dict[str, object]:  # fmt: skip
    return {"as_of": reader.as_of, "kinds": list(kinds), "since": since, "until": until,
            "components": list(components)}  # fmt: skip


def _plain(quoted: str) -> str:
    """A label as it was, from its JSON text."""
    return str(json.loads(quoted)) if quoted.startswith('"') else quoted
