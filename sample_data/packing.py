"""Writing files whose bytes depend on their content only."""

from __future__ import annotations

import gzip
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
