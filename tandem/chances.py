"""Chances under "nothing changed": p-values of chi-square and Kolmogorov-Smirnov, and many of them at once.

Many at once: Benjamini-Hochberg (1995). Nothing here needs more than the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

FALSE_DISCOVERIES = 0.05
"""The share of false discoveries that is allowed."""


def benjamini_hochberg(p: Sequence[float | None], rate: float = FALSE_DISCOVERIES) -> list[bool]:
    """Which p-values stand when the share of false discoveries may be `rate`; None never does."""
    known = sorted(value for value in p if value is not None)
    limit = max((value for rank, value in enumerate(known, 1) if value <= rate * rank / len(known)), default=-1.0)
    return [value is not None and value <= limit for value in p]


def chi_square_sf(x: float, df: int) -> float:
    """Probability that a chi-square variable with `df` degrees of freedom exceeds `x`."""
    if df == 0 or x <= 0:
        return 1.0
    return _upper_gamma(df / 2, x / 2)


@cache
def chi_square_95(df: int) -> float:
    """The 95 % point of chi-square with `df` degrees of freedom; 0 for none."""
    if df <= 0:
        return 0.0
    low: float = 0.0
    high: float = df + 10 * math.sqrt(df) + 10.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_sf(middle, df) > FALSE_DISCOVERIES else (low, middle)
    return (low + high) / 2


def kolmogorov(x: float) -> float:
    """Probability that Kolmogorov's limiting statistic exceeds `x`: sqrt(n*m/(n+m)) * D for two samples."""
    if x <= 0:
        return 1.0
    if x < 1:
        # The alternating series converges badly near 0; this is the same function (Jacobi's theta identity).
        terms = sum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 10))
        return 1 - math.sqrt(2 * math.pi) / x * terms
    return 2 * sum(math.copysign(1, k % 2 - 0.5) * math.exp(-2 * k * k * x * x) for k in range(1, 20))


def _upper_gamma(a: float, x: float) -> float:
    """Regularised upper incomplete gamma function: a series below a + 1, Lentz's continued fraction above."""
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = whole = 1 / a
        step = a
        while term > whole * 1e-17:
            step += 1
            term *= x / step
            whole += term
        return 1 - front * whole
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 100_000):
        b += 2
        d = 1 / (_off_zero(i * (a - i) * d + b, tiny))
        c = _off_zero(b + i * (a - i) / c, tiny)
        fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return front * fraction


def _off_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
