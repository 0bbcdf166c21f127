"""What the words of a source mean, and what has to be remarked of what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tandem.records import Finding, Outcome


@dataclass
class Said:
    """Findings counted by reason; `meanings` is the connector's table of words, [source.status] of `config` wins."""

    config: Any
    meanings: ClassVar[Mapping[str, Outcome]] = {}
    called: ClassVar[str] = "status"
    """What such a word is called in the system."""
    _said: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)

    def outcome(self, word: str) -> Outcome:
        """What a word means; an unknown one is excluded and counted."""
        if self._known(word) is None:
            self.remark(
                f'the {self.called} "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]'
            )
        return self.meaning(word)

    def meaning(self, word: str) -> Outcome:
        """What a word means, without counting it."""
        return self._known(word) or "excluded"

    def _known(self, word: str) -> Outcome | None:
        own: Mapping[str, Outcome] = self.config.common.status
        return own.get(word, self.meanings.get(word))

    def remark(self, reason: str, count: int = 1) -> None:
        """Counts something worth knowing."""
        self._said["remark", reason] += count

    def reject(self, reason: str) -> None:
        """Counts something that was left out."""
        self._said["reject", reason] += 1

    def findings(self, where: str = "") -> tuple[Finding, ...]:
        """What was left out or needs a remark, counted by reason."""
        return tuple(
            Finding("reject" if kind == "reject" else "remark", reason, where, count)
            for (kind, reason), count in sorted(self._said.items())
        )
