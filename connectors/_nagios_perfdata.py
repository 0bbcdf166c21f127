"""Performance data of Nagios plugins: 'label'=value[UOM];[warn];[crit];[min];[max], and the durations in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

_FIELD = re.compile(r"\s*(?:'((?:[^']|'')+)'|([^\s=';][^=\s']*))=([^\s]*)")
_VALUE = re.compile(r"(-?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?|-?[.,]\d+)([A-Za-zµμ%]*)")
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Measured:
    """One value of a plugin; `unit` as it wrote it ("" for none)."""

    label: str
    value: float
    unit: str

    @property
    def seconds(self) -> float | None:
        """The value as a duration; a value without a unit is none."""
        factor = SECONDS.get(self.unit)
        return self.value * factor if factor is not None else None


def measured(text: str) -> Iterator[Measured]:
    """The values of one check; "U" (not determined) is left out. A decimal comma is read as a point."""
    for quoted, plain, rest in _FIELD.findall(text):
        found = _VALUE.fullmatch(rest.partition(";")[0])
        if found:
            label = quoted.replace("''", "'") if quoted else plain
            yield Measured(label, float(found[1].replace(",", ".")), found[2])


def duration(text: str, labels: Sequence[str]) -> tuple[float | None, str]:
    """(seconds, "") of the first wanted label; (None, why) where it is no usable duration, (None, "") without one."""
    values = {one.label: one for one in measured(text)}
    for glob in labels:
        for label, one in values.items():
            if not fnmatchcase(label, glob):
                continue
            if one.seconds is None:
                return None, f'"{label[:60]}" is no duration: its unit is "{one.unit[:10]}"'
            if one.seconds < 0:
                return None, f'"{label[:60]}" is a negative duration'
            return one.seconds, ""
    return None, ""
