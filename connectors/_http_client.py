"""Requests to one origin: tries again, waits, follows, reads JSON, and keeps the token out of what it says."""

from __future__ import annotations

import contextlib
import json as json_module
import random
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote, urlencode, urljoin

from connectors._http_messages import (
    Again,
    Answer,
    Limits,
    Reply,
    Request,
    Transport,
    asked_wait,
    decoded,
    is_html,
    moment,
    origin,
)
from connectors._json import BadJson, BrokenJson, strict
from tandem.connect import SourceDown, SourceRefused

Pairs = Sequence[tuple[str, str]] | Mapping[str, str]
Form = bool | Literal["lines", "or page", "nan", "bytes"]
"""How a body is read: as one JSON document, as text (False), as one JSON document per line, as one JSON document of a
server whose refusals (any status but 200) are HTML, or of one that writes NaN and infinity, which become null, or not
at all: the bytes as they are stored."""
Sign = Callable[[str, str, float], Mapping[str, str]]
"""(method, url, now) -> headers that prove who asks; made again for every try, because such a proof soon expires."""
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_PATTERNS = re.compile(r"(?i)\b(bearer|basic|token|private-token|api[-_]?key)([=:]?\s+|[=:])[A-Za-z0-9._~+/=-]{8,}")


@dataclass(frozen=True)
class Clock:
    """What waits and what time it is; tests give a virtual one. Seconds; `now` since the epoch."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


class Client:
    """Requests to one origin. Every message it raises is one sentence without the token."""

    def __init__(
        self,
        transport: Transport,
        base: str,
        headers: Mapping[str, str],
        token: str,
        origin_of_token: str,
        clock: Clock,
        limits: Limits,
        secrets: Sequence[str] = (),
        sign: Sign | None = None,
    ) -> None:
        self.requests_made = 0
        self.skew: float | None = None
        self._transport = transport
        self._base = base
        self._headers = headers
        self._token = token
        self._secrets = tuple(secret for secret in (*secrets, token) if secret)
        self._sign = sign
        self._origin_of_token = origin_of_token
        self._clock = clock
        self._limits = limits

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._transport.close()

    def get(
        self,
        path_or_url: str,
        params: Pairs = (),
        *,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (200,),
        json: Form = True,
        check: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """The answer to a GET; a status in `accept` is returned, any other raises SourceDown or SourceRefused.

        `check` raises ValueError with what is wrong with an answer that is not whole: it is asked for again.
        """
        url = self._url(path_or_url, params)
        request = Request("GET", url, {**self._headers, **(headers or {})}, stored=json == "bytes")
        return self._ask(request, accept, json, check)

    def post(
        self,
        path_or_url: str,
        *,
        form: Sequence[tuple[str, str]] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (200,),
        json: Form = True,
    ) -> Reply:
        """As `get`, with a form or a JSON body. It is retried too: a connector posts queries, never changes."""
        sent = {**self._headers, **(headers or {})}
        data: bytes | None = None
        if form is not None:
            data = urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            data = json_module.dumps(body, separators=(",", ":"), allow_nan=False).encode()
            sent["Content-Type"] = "application/json"
        request = Request("POST", self._url(path_or_url, ()), sent, data, tuple(form or ()))
        return self._ask(request, accept, json)

    def _url(self, path_or_url: str, params: Pairs) -> str:
        pairs = list(params.items() if isinstance(params, Mapping) else params)
        if path_or_url.startswith(("http://", "https://")):
            url = path_or_url
            if self._base and origin(url) != origin(self._base):
                raise SourceRefused(f"{origin(self._base)} points to another server, {origin(url)}; that is not read.")
        else:
            url = f"{self._base}/{path_or_url.lstrip('/')}"
        if pairs:
            url += ("&" if "?" in url else "?") + urlencode(pairs, quote_via=quote)
        return url

    def _ask(
        self, request: Request, accept: Collection[int], json: Form, check: Callable[[Reply], None] | None = None
    ) -> Reply:
        waited = 0.0
        for attempt in range(self._limits.tries):
            try:
                return self._once(request, accept, json, check)
            except Again as again:
                reason = self.redacted(str(again))
                wait = again.wait
            if attempt + 1 == self._limits.tries:
                break
            if wait is None:
                wait = min(self._limits.backoff, 2.0**attempt) * self._clock.random()
            if waited + wait > self._limits.wait:
                raise SourceDown(f"{reason} and asks to wait {wait:.0f} s; it is asked again at the next pull.")
            self._clock.sleep(wait)
            waited += wait
        raise SourceDown(f"{reason}, {self._limits.tries} times in a row; check that the server is up.")

    def _once(
        self, request: Request, accept: Collection[int], json: Form, check: Callable[[Reply], None] | None
    ) -> Reply:
        answer = self._followed(request, accept)
        if answer.status not in accept:
            raise self._failure(request, answer)
        reply = self._reply(request, answer, json)
        if check is not None:
            try:
                check(reply)
            except ValueError as wrong:
                raise Again(f"{request.name} {wrong}") from None
        return reply

    def _followed(self, request: Request, accept: Collection[int]) -> Answer:
        for _ in range(self._limits.redirects + 1):
            self.requests_made += 1
            answer = self._transport.send(self._signed(request))
            self._note_skew(answer)
            if answer.status in accept or answer.status not in _MOVED:
                return answer
            request = self._moved(request, answer)
        raise SourceRefused(f"{request.name} redirects more than {self._limits.redirects} times; check the url.")

    def _signed(self, request: Request) -> Request:
        if self._sign is None:
            return request
        more = self._sign(request.method, request.url, self._clock.now())
        return replace(request, headers={**request.headers, **more})

    def _moved(self, request: Request, answer: Answer) -> Request:
        target = urljoin(request.url, answer.headers.get("location", ""))
        if origin(target) != origin(request.url):
            raise SourceRefused(
                f"{request.name} redirects to another server, {self.redacted(origin(target))}, perhaps a login page; "
                "put the address it should be read from in url."
            )
        if request.method != "GET" and answer.status not in (307, 308):
            raise SourceRefused(f"{request.name} redirects a query; put the address behind the redirect in url.")
        return replace(request, url=target)

    def _failure(self, request: Request, answer: Answer) -> Exception:
        status, said = answer.status, self._said(answer)
        wait = asked_wait(answer, self._clock.now())
        if status in _AGAIN or (status == 403 and wait is not None):
            return Again(f"{request.name} answered {status}{said}", wait)
        if status in (401, 403):
            return SourceRefused(f"{request.name} answered {status}{said}: {self._token_advice()}.")
        if status >= 500:
            return SourceDown(f"{request.name} answered {status}{said}; check that the server is up.")
        return SourceRefused(f"{request.name} answered {status}{said}; check the url and what is asked for.")

    def _token_advice(self) -> str:
        if self._token:
            return f"the token was refused; check {self._origin_of_token}"
        return "it wants a token; set token_env or token_file for this source"

    def _said(self, answer: Answer) -> str:
        """What the server says of its refusal, short and without the token."""
        text = self._clear(answer.body).decode("utf-8", "replace").strip()
        if not text or is_html(answer.headers, answer.body):
            return ""
        with contextlib.suppress(ValueError):
            data = strict(text)
            if isinstance(data, dict):
                text = str(next((data[k] for k in ("message", "error", "detail", "error_code") if k in data), text))
        text = "".join(c if c.isprintable() else " " for c in text)[:200]
        return f' ("{self.redacted(text)}")'

    def _reply(self, request: Request, answer: Answer, json: Form) -> Reply:
        if json == "bytes":
            return Reply(answer.status, answer.headers, None, "", request.url, answer.body)
        body = self._clear(answer.body)
        if not json or not body.strip():
            if json in (True, "or page", "nan") and answer.status == 200:
                raise Again(f"{request.name} answered with nothing")
            data: Any = [] if json == "lines" else None
            return Reply(answer.status, answer.headers, data, decoded(answer.headers, body), request.url)
        if is_html(answer.headers, body):
            if json == "or page" and answer.status != 200:
                return Reply(answer.status, answer.headers, None, "", request.url)
            raise SourceRefused(
                f"{request.name} answered with a login page instead of JSON (it is HTML); "
                f"check the url, and {self._token_advice()}."
            )
        try:
            nothing = (lambda word: None) if json == "nan" else None
            data = (
                [strict(one) for one in body.splitlines() if one.strip()] if json == "lines" else strict(body, nothing)
            )
            return Reply(answer.status, answer.headers, data, "", request.url)
        except BadJson as error:
            raise SourceRefused(f"{request.name} answered with JSON that cannot be used: {error}.") from None
        except BrokenJson:
            if answer.status != 200:
                return Reply(answer.status, answer.headers, None, decoded(answer.headers, body), request.url)
            raise Again(f"{request.name} answered with something that is not JSON, perhaps cut off") from None

    def _clear(self, body: bytes) -> bytes:
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"***")
        return body

    def redacted(self, text: str) -> str:
        """`text` without the token of this client, and without anything that looks like one."""
        for secret in self._secrets:
            text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
        return _PATTERNS.sub(r"\1\2***", text)

    def _note_skew(self, answer: Answer) -> None:
        stated = moment(answer.headers.get("date", ""))
        if stated is not None:
            self.skew = stated - self._clock.now()
