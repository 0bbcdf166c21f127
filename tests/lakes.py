"""Delta tables written by hand, an action at a time, so that a test can say exactly what a commit holds.

Written from the Delta protocol; what the real program writes is read in tests/test_delta_live.py.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TYPES: dict[str, Any] = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "date": pa.date32(),
}
BEGIN = 1_790_000_000_000
"""When version 0 was committed, in milliseconds; each later one a minute after."""
Rows = list[dict[str, Any]]


class Lake:
    """One table; `columns` are its names with Delta's types."""

    def __init__(self, folder: Path, columns: Mapping[str, str], by: Sequence[str] = (), **protocol: Any) -> None:
        self.folder = folder
        self.columns = dict(columns)
        self.by = list(by)
        self.version = -1
        self.files = 0
        self.protocol = {"minReaderVersion": 1, "minWriterVersion": 2, **protocol}
        (folder / "_delta_log").mkdir(parents=True)

    def create(self, *actions: dict[str, Any], **configuration: str) -> Lake:
        """Version 0."""
        return self.commit({"protocol": self.protocol}, self.metadata(**configuration), *actions)

    def metadata(
        self, told: Mapping[str, Mapping[str, Any]] | None = None, table: str = "one", **configuration: str
    ) -> dict[str, Any]:
        """The action that states the schema; `told` is more metadata by column."""
        fields = [
            {"name": name, "type": kind, "nullable": True, "metadata": (told or {}).get(name, {})}
            for name, kind in self.columns.items()
        ]
        schema = json.dumps({"type": "struct", "fields": fields})
        given = {name.replace("__", "."): value for name, value in configuration.items()}
        return {"metaData": {"id": table, "format": {"provider": "parquet", "options": {}}, "schemaString": schema,
                             "partitionColumns": self.by, "configuration": given}}  # fmt: skip

    def commit(self, *actions: dict[str, Any], operation: str = "WRITE") -> Lake:
        """The next version."""
        self.version += 1
        info = {"commitInfo": {"timestamp": BEGIN + 60_000 * self.version, "operation": operation}}
        self.log(f"{self.version:020}.json").write_text("\n".join(json.dumps(one) for one in (info, *actions)))
        return self

    def log(self, name: str) -> Path:
        return self.folder / "_delta_log" / name

    def add(
        self, rows: Rows, *, name: str = "", change: bool = True, groups: int = 200, **values: Any
    ) -> dict[str, Any]:
        """Write a data file with the columns of its rows, and give the action that adds it; `values`: its partition."""
        self.files += 1
        folder = "/".join(f"{key}={value}" for key, value in values.items())
        path = "/".join(part for part in (folder, name or f"part-{self.files:05}.parquet") if part)
        names = [one for one in self.columns if one not in self.by and any(one in row for row in rows)]
        arrays = {one: pa.array([row.get(one) for row in rows], TYPES[self.columns[one]]) for one in names}
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(arrays), self.folder / path, row_group_size=groups)
        return self.said(path, len(rows), values, change)

    def said(self, path: str, rows: int, values: Mapping[str, Any], change: bool = True) -> dict[str, Any]:
        """The action that adds a file which is there."""
        said = {key: None if value is None else str(value) for key, value in values.items()}
        return {"add": {"path": path, "partitionValues": said, "size": (self.folder / path).stat().st_size,
                        "modificationTime": BEGIN + self.files, "dataChange": change,
                        "stats": json.dumps({"numRecords": rows})}}  # fmt: skip

    @staticmethod
    def remove(added: dict[str, Any], *, change: bool = True, extended: bool = True) -> dict[str, Any]:
        """The action that removes what another added."""
        told = {key: added["add"][key] for key in ("path", "deletionVector") if key in added["add"]}
        if extended:
            told |= {"extendedFileMetadata": True, "partitionValues": added["add"]["partitionValues"]}
        return {"remove": {**told, "deletionTimestamp": BEGIN, "dataChange": change}}

    # -- checkpoints

    def checkpoint(self, live: Sequence[dict[str, Any]], kind: str = "classic", clean: bool = True) -> None:
        """A checkpoint of this version ("classic", "parts", "v2 parquet", "v2 json"); `clean` takes commits away."""
        actions = [{"protocol": self.protocol}, self._metadata(), *live]
        name = f"{self.version:020}.checkpoint"
        if kind == "classic":
            self._parquet(self.log(f"{name}.parquet"), actions)
        elif kind == "parts":
            for number, some in enumerate((actions[:2], actions[2:]), 1):
                self._parquet(self.log(f"{name}.{number:010}.{2:010}.parquet"), some)
        else:
            self.log("_sidecars").mkdir(exist_ok=True)
            self._parquet(self.log("_sidecars/side.parquet"), list(live))
            sidecar = {"path": "side.parquet", "sizeInBytes": 1, "modificationTime": BEGIN}
            told = [{"checkpointMetadata": {"version": self.version}}, *actions[:2], {"sidecar": sidecar}]
            whole = f"{name}.80a083e8-7026-4e79-81be-64bd76c43a11"
            if kind == "v2 json":
                self.log(f"{whole}.json").write_text("\n".join(json.dumps(one) for one in told))
            else:
                self._parquet(self.log(f"{whole}.parquet"), told)
        if clean:
            for path in self.folder.glob("_delta_log/*.json"):
                if path.name.count(".") == 1 and int(path.stem) <= self.version:
                    path.unlink()

    def _metadata(self) -> dict[str, Any]:
        for version in range(self.version, -1, -1):
            for line in self.log(f"{version:020}.json").read_text().splitlines():
                if "metaData" in json.loads(line):
                    return dict(json.loads(line))
        raise AssertionError("no version states a schema")

    @staticmethod
    def _parquet(path: Path, actions: Sequence[dict[str, Any]]) -> None:
        pairs = pa.map_(pa.string(), pa.string())
        vector = pa.struct([("storageType", pa.string()), ("pathOrInlineDv", pa.string()), ("offset", pa.int32()),
                            ("sizeInBytes", pa.int32()), ("cardinality", pa.int64())])  # fmt: skip
        add = pa.struct([("path", pa.string()), ("partitionValues", pairs), ("size", pa.int64()),
                         ("modificationTime", pa.int64()), ("dataChange", pa.bool_()), ("stats", pa.string()),
                         ("deletionVector", vector)])  # fmt: skip
        form = pa.struct([("provider", pa.string()), ("options", pairs)])
        kinds = {
            "txn": pa.struct([("appId", pa.string())]),
            "add": add,
            "metaData": pa.struct([("id", pa.string()), ("format", form), ("schemaString", pa.string()),
                                   ("partitionColumns", pa.list_(pa.string())), ("configuration", pairs)]),
            "protocol": pa.struct([("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32()),
                                   ("readerFeatures", pa.list_(pa.string()))]),
            "sidecar": pa.struct([("path", pa.string()), ("sizeInBytes", pa.int64())]),
        }  # fmt: skip
        columns = {name: pa.array([_pairs(one.get(name)) for one in actions], kind) for name, kind in kinds.items()}
        pq.write_table(pa.table(columns), path)


def _pairs(action: Any) -> Any:
    """An action with its maps as pairs, as Parquet wants them."""
    if not isinstance(action, dict):
        return action
    told = {key: _pairs(value) for key, value in action.items()}
    for key in ("partitionValues", "configuration", "options"):
        if isinstance(told.get(key), dict):
            told[key] = list(told[key].items())
    return told


# -- deletion vectors

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def z85(data: bytes) -> str:
    data += bytes(-len(data) % 4)
    text = ""
    for begin in range(0, len(data), 4):
        number = int.from_bytes(data[begin : begin + 4], "big")
        text += "".join(_LETTERS[number // 85**power % 85] for power in (4, 3, 2, 1, 0))
    return text


def bitmap(rows: Sequence[int]) -> bytes:
    """A vector's bytes for fewer than 4,096 rows below 65,536: one bucket with one plain list."""
    low = struct.pack(f"<{len(rows)}H", *sorted(rows))
    head = struct.pack("<II", 12_346, 1) + struct.pack("<HH", 0, len(rows) - 1) + struct.pack("<I", 16)
    return struct.pack("<IQI", 1_681_511_377, 1, 0) + head + low


def inline(rows: Sequence[int]) -> dict[str, Any]:
    data = bitmap(rows)
    return {"storageType": "i", "pathOrInlineDv": z85(data), "sizeInBytes": len(data), "cardinality": len(rows)}


def on_disk(folder: Path, rows: Sequence[int], prefix: str = "") -> dict[str, Any]:
    """A vector in a file of its own, behind another one."""
    data = bitmap(rows)
    (folder / prefix).mkdir(exist_ok=True)
    path = folder / prefix / "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
    first = bitmap([9])
    pieces = [b"\x01"]
    for one in (first, data):
        pieces.append(len(one).to_bytes(4, "big") + one + zlib.crc32(one).to_bytes(4, "big"))
    path.write_bytes(b"".join(pieces))
    return {"storageType": "u", "pathOrInlineDv": prefix + "^-aqEH.-t@S}K{vb[*k^", "offset": 1 + 8 + len(first),
            "sizeInBytes": len(data), "cardinality": len(rows)}  # fmt: skip
