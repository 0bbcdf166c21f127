"""YAML by PyYAML, which is no part of Tandem's own environment; nothing but plain values is made of it."""

from __future__ import annotations

from typing import Any

from tandem.connect import SourceRefused

LARGEST = 500_000
"""Most letters of a document."""


def document(text: str, where: str) -> Any:
    """The one document of some YAML; raises SourceRefused."""
    try:
        import yaml
    except ImportError:
        raise SourceRefused(
            f"{where} holds YAML, which needs PyYAML: `pip install 'tandem-health[openslo]'`."
        ) from None
    if len(text) > LARGEST:
        raise SourceRefused(f"{where} holds more than {LARGEST / 1e3:g} kB of YAML; it is not read.")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise SourceRefused(f"{where} is no YAML that can be read; mend it.") from None
