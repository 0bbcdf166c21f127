"""What predictions are worth, as the configuration says it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tandem import config

CELL = """
  [[component.worth]]
  actual = "1"
  predicted = "0"
  value = -80.5
"""


def model(*parts: str) -> str:
    return "\n".join(['[[component]]\nname = "m"', *parts])


def test_worth_is_exact_and_belongs_to_its_model(tmp_path: Path) -> None:
    text = model('kind = "model"', 'currency = "EUR"', CELL) + '\n[[component]]\nname = "s"\n'
    first, second = config.parse(text, tmp_path / "tandem.toml").components
    assert first.currency == "EUR"
    assert [(one.actual, one.predicted, one.value) for one in first.worth] == [("1", "0", Fraction(-161, 2))]
    assert second.worth == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (model('kind = "service"', 'currency = "EUR"', CELL), "worth is of a model's predictions"),
        (model('kind = "model"', CELL), "go together"),
        (model('kind = "model"', 'currency = "EUR"'), "go together"),
        (model('kind = "model"', 'currency = "EUR"', CELL, CELL), "2 times"),
        (model('kind = "model"', 'currency = "EUR"', CELL.replace("-80.5", "inf")), "finite"),
        (model('kind = "model"', 'currency = "EUR"', CELL.replace("value", "worth")), "value"),
    ],
)
def test_what_does_not_mean_anything_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config.parse(text, tmp_path / "tandem.toml")
