"""What pytest --junitxml with pytest-rerunfailures writes each night."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from sample_data.story import DAY, DAYS, FLAKY_TEST, HOUR, START, random_of, stamp

FLAKY = ("tests.test_cart", "test_total_is_rounded_once")
SUITES: dict[str, dict[str, tuple[str, ...]]] = {
    "checkout-api": {
        "tests.test_cart": (
            "test_empty_cart_is_free", "test_total_is_rounded_once", "test_coupon_is_applied_once",
            "test_coupon_of_another_shop", "test_quantity_is_capped", "test_removed_line",
        ),
        "tests.test_payment": (
            "test_authorise", "test_capture", "test_refund", "test_partial_refund", "test_declined_card",
            "test_gateway_timeout", "test_idempotent_key",
        ),
        "tests.test_address": (
            "test_postcode[DE]", "test_postcode[BR]", "test_postcode[GB]", "test_missing_street", "test_long_name",
        ),
    },
    "search-api": {
        "tests.test_query": (
            "test_empty", "test_one_word", "test_quotes", "test_unicode", "test_very_long", "test_stop_words",
        ),
        "tests.test_ranking": ("test_boost", "test_ties", "test_freshness", "test_out_of_stock_last"),
        "tests.test_index": ("test_add", "test_remove", "test_rebuild", "test_two_writers"),
    },
    "eta-api": {
        "tests.test_route": ("test_shortest", "test_closed_road", "test_ferry", "test_no_route", "test_one_way"),
        "tests.test_window": ("test_today", "test_tomorrow", "test_holiday", "test_summer_time", "test_late_order"),
    },
}  # fmt: skip


def write(folder: Path) -> None:
    """One file per repository and night."""
    for repository, suite in SUITES.items():
        target = folder / "junit" / repository
        target.mkdir(parents=True, exist_ok=True)
        random = random_of("junit", repository)
        for day in range(DAYS):
            ts = START + day * DAY + 2 * HOUR + 1260
            path = target / f"{stamp(ts)[:10]}.xml"
            path.write_text(_report(repository, suite, ts, random), encoding="utf-8", newline="\n")


def _report(repository: str, suite: dict[str, tuple[str, ...]], ts: int, random: np.random.Generator) -> str:
    cases: list[str] = []
    failures = skipped = 0
    seconds = 0.0
    tests = [(group, name) for group, names in suite.items() for name in names]
    for place, (group, name) in enumerate(tests):
        took = round(float(np.exp(-3 + 0.9 * random.standard_normal())) * (1 + place % 4), 3)
        drawn = random.random()
        seconds += took
        start = f"<testcase classname={quoteattr(group)} name={quoteattr(name)}"
        if (group, name) == FLAKY and repository == "checkout-api":
            if ts >= FLAKY_TEST.start and drawn < FLAKY_TEST.size["share_of_runs"]:
                waited = 30 + 20 * took  # for a lock that the next try finds free
                seconds += waited
                cases.append(f'{start} time="{waited:.3f}" />')
            cases.append(f'{start} time="{took:.3f}" />')
        elif drawn < 0.0012:
            failures += 1
            cases.append(
                f'{start} time="{took:.3f}"><failure message="AssertionError: assert 1 == 2">'
                f"&gt;       assert 1 == 2\nE       assert 1 == 2\n\n{group}:41: AssertionError</failure></testcase>"
            )
        elif name == "test_two_writers":
            skipped += 1
            cases.append(
                f'{start} time="0.000"><skipped type="pytest.skip" message="needs a second host" /></testcase>'
            )
        else:
            cases.append(f'{start} time="{took:.3f}" />')
    when = stamp(ts).replace("Z", ".000000+00:00")
    return (
        '<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">'
        f'<testsuite name={quoteattr(repository)} errors="0" failures="{failures}" skipped="{skipped}" '
        f'tests="{len(tests)}" time="{seconds:.3f}" timestamp="{when}" hostname="runner-3">'
        f"{''.join(cases)}</testsuite></testsuites>"
    )
