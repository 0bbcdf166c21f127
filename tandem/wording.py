"""Numbers as people read them: rounded so that nothing good looks perfect, with the unit."""

from __future__ import annotations


def percent(good: int, total: int) -> str:
    """A share in percent, cut and not rounded near 1, so that "100 %" means all of them."""
    if good in (0, total):
        return "100 %" if good else "0 %"
    missing = 100 * (total - good) / total
    digits = 1 if missing >= 1 else 2 if missing >= 0.1 else 3 if missing >= 0.01 else 4
    cut = 100 * good * 10**digits // total
    whole, part = divmod(cut, 10**digits)
    return f"{whole}.{part:0{digits}d} %"


def seconds(value: float) -> str:
    """A duration in the unit that keeps it between 1 and 1,000, three significant digits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if value >= size * (2 if size > 1 else 1):
            return f"{value / size:.3g} {unit}"
    return f"{value * 1000:.3g} ms"


def count(n: int) -> str:
    """A whole number with thin groups of three digits."""
    return f"{n:,}".replace(",", "\u202f")
