"""What a real Delta table goes through, step by step; run by the python of an environment with the package deltalake.

`python lake_steps.py FOLDER STEP` does one step and prints as JSON what the package itself then reads of the table.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties, write_deltalake

FOLDER, STEP = sys.argv[1], sys.argv[2]
START = datetime(2026, 11, 1, tzinfo=UTC)
QUIET = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def rows(day, begin, end, label=None, **more):
    moments = [START + timedelta(days=day, seconds=60 * number) for number in range(begin, end)]
    table = {
        "prediction_id": [f"{day}-{number}" for number in range(begin, end)],
        "ts": pa.array(moments, pa.timestamp("us", tz="UTC")),
        "predicted": [number % 2 for number in range(begin, end)],
        "score": [number % 100 / 100 for number in range(begin, end)],
        "label": pa.array([None if label is None else label] * (end - begin), pa.int64()),
        "day": [f"2026-11-{day + 1:02}"] * (end - begin),
    }
    return pa.table({**table, **{name: [value] * (end - begin) for name, value in more.items()}})


def append(data, **more):
    write_deltalake(FOLDER, data, mode="append", partition_by=["day"], post_commithook_properties=QUIET, **more)


def merge(data):
    table = DeltaTable(FOLDER)
    merged = table.merge(data, "t.prediction_id = s.prediction_id", source_alias="s", target_alias="t",
                         post_commithook_properties=QUIET)  # fmt: skip
    merged.when_matched_update_all().when_not_matched_insert_all().execute()


def step():
    table = DeltaTable(FOLDER) if STEP != "write" else None
    if STEP == "write":
        for day in range(3):
            append(rows(day, 0, 60))
            append(rows(day, 60, 100))
    elif STEP == "merge":
        merge(rows(0, 0, 100, label=1))
    elif STEP == "optimize":
        table.optimize.compact(post_commithook_properties=QUIET)
    elif STEP == "vacuum":
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False,
                     post_commithook_properties=QUIET)  # fmt: skip
    elif STEP == "late":
        merge(rows(1, 0, 70, label=0))
    elif STEP == "clean":
        table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
        table = DeltaTable(FOLDER)
        table.create_checkpoint()
        table.cleanup_metadata()
    elif STEP == "wider":
        append(rows(3, 0, 30, device="phone"), schema_mode="merge")
    elif STEP == "delete rows":
        table.delete("day = '2026-11-02' and predicted = 1", post_commithook_properties=QUIET)
    elif STEP == "delete day":
        table.delete("day = '2026-11-03'", post_commithook_properties=QUIET)
    elif STEP == "restore":
        table.restore(table.version() - 1)
    elif STEP == "overwrite":
        write_deltalake(FOLDER, rows(3, 0, 12, label=1), mode="overwrite", predicate="day = '2026-11-04'",
                        schema_mode="merge", post_commithook_properties=QUIET)  # fmt: skip
    else:
        raise SystemExit(f"no step {STEP}")


step()
table = DeltaTable(FOLDER)
read = table.to_pyarrow_table().to_pylist()
told = {}
for row in read:
    of = told.setdefault(row["day"], [0, 0, 0])
    of[0] += row["label"] is not None
    of[1] += 1
    of[2] += row["label"] is not None and row["label"] == row["predicted"]
print(json.dumps({"version": table.version(), "days": told}), flush=True)
# The package's own threads may abort the interpreter while it ends, when all is written and said.
os._exit(0)
