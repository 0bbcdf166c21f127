"""Writing files whose bytes depend on their content only."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def gzipped(path: Path, content: bytes) -> None:
    """Write `content` compressed, without a time or a name in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))


def as_json(document: object) -> bytes:
    """Compact JSON as bytes."""
    return json.dumps(document, separators=(",", ":")).encode()


def parquet(path: Path, table: pa.Table) -> None:
    """Write a table as one row group, compressed with zstd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", compression_level=12, row_group_size=1 << 20)


def uuid7(name: str, ts: int) -> str:
    """A UUID of version 7: its first 48 bits are the milliseconds of its making, the others follow from `name`."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    made = f"{ts * 1000:012x}"
    return f"{made[:8]}-{made[8:]}-7{digest[:3]}-9{digest[3:6]}-{digest[6:18]}"
