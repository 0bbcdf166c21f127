"""HTTP out of a folder: recorded answers in place of a server."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from connectors._http_messages import Answer, Request
from connectors._json import strict
from tandem.connect import SourceRefused


@dataclass
class Recording:
    """Answers from a folder's requests.jsonl; the same request again gets its next recorded answer, then the last."""

    folder: Path
    answers: dict[tuple[str, str, str], list[Answer]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        path = self.folder / "requests.jsonl"
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise SourceRefused(f"{path} cannot be read; record requests there or give a server as url.") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._add(path, number, line)

    def _add(self, path: Path, number: int, line: str) -> None:
        try:
            told = strict(line, constants=float)
            body = told.get("body")
            text = body if isinstance(body, str) else json.dumps(body)
            headers = {str(k).lower(): str(v) for k, v in told.get("headers", {}).items()}
            answer = Answer(int(told.get("status", 200)), headers, text.encode() if body is not None else b"")
            query = sorted((str(k), str(v)) for k, v in told.get("query", []))
            self.answers[(told.get("method", "GET"), told["path"], urlencode(query))].append(answer)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise SourceRefused(f"{path} line {number} is no recorded request; correct or remove it.") from None

    def send(self, request: Request) -> Answer:
        """The next recorded answer; raises SourceRefused where there is none."""
        parts = urlsplit(request.url)
        query = sorted([*parse_qsl(parts.query, keep_blank_values=True), *request.form])
        known = self.answers.get((request.method, parts.path, urlencode(query)))
        if not known:
            asked = f"{request.method} {parts.path}" + (f"?{urlencode(query)}" if query else "")
            raise SourceRefused(f"{self.folder / 'requests.jsonl'} holds no answer to {asked}; record it there.")
        return known.pop(0) if len(known) > 1 else known[0]

    def close(self) -> None:
        """Nothing is held open."""
