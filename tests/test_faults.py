"""The fault matrix, sampled with a fixed seed; `python -m tests.faults --all` runs it whole."""

from __future__ import annotations

import pytest

from tests import faults
from tests.replay import Answer

CASES = sorted(faults.load_all())


@pytest.mark.parametrize("name", CASES)
def test_sampled_cells_hold(name: str) -> None:
    """No wrong number, the truth about the source, no token, and the next good pull repairs everything."""
    build = faults.BUILDERS[name]
    wrong = {
        f"{fault_name} at request {at}": said
        for fault_name, at, fault, stays in faults.sampled(build, 24)
        if (said := faults.cell(build, fault_name, fault, at, stays))
    }
    assert wrong == {}


def test_the_matrix_notices_a_wrong_number() -> None:
    """A server that quietly says more than there was is found: the matrix is able to fail."""

    def double(asked: object, good: Answer, other: str) -> Answer:
        return Answer(good.data().replace(b'"1"]', b'"0"]'))

    said = faults.cell(faults.BUILDERS["prometheus"], "lie", double, 0, None)
    assert said
    assert "wrong record" in said[0]


def test_waits_are_virtual_and_as_asked() -> None:
    """Retry-After of 7 s is slept once, on the clock that nobody waits for."""
    build = faults.BUILDERS["prometheus"]
    with faults.virtual() as clock:
        case = build()
        got = faults.pulled(case, faults.broken(case, faults.ONCE["429 seconds"], 0, False, ""))
    assert got.error is None
    assert clock.slept == [7.0]
