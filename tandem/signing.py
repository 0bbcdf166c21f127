"""Signed links: what a viewer may see where views need a signature: for how long, and narrowed to what."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from tandem import times

KEYS = ("lock", "expires", "signature")
"""The keys of a link that are its signature's."""
LOCKABLE = ("environment", "product", "component", "version", "segment")
"""What a link can be narrowed to, so that nobody who holds it can widen it."""
HEX = 32
UNFIT = "The signature of this link does not fit what it asks for; open it as it was given, or ask for another."


@dataclass(frozen=True)
class Share:
    """How views are shared: with `require_signature` the server shows nothing to who has no signed link."""

    require_signature: bool = False


def secret(store: Path) -> bytes:
    """The key that signs links of a store, made on first use beside it, readable by its user only."""
    place = Path(f"{store}.state") / "share.key"
    if not place.exists():
        _make(place)
    return bytes.fromhex(place.read_text(encoding="ascii").strip())


def _make(place: Path) -> None:
    """Write a new key in one step: nobody may ever read half of one, for links signed by it could be guessed."""
    place.parent.mkdir(mode=0o700, exist_ok=True)
    draft = place.with_name(f".share.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")
    with suppress(FileExistsError):  # another process was faster, and its key holds
        os.link(draft, place)
    draft.unlink()


def signed(key: bytes, locked: Mapping[str, str], expires: int) -> dict[str, str]:
    """The query that opens a view: the locked filters themselves, and `lock`, `expires` and `signature`.

    Raises ValueError for a filter that cannot be locked.
    """
    for name, value in locked.items():
        if name not in LOCKABLE or not value:
            raise ValueError(f"{name!r} cannot be locked; {', '.join(LOCKABLE)} can, each with a value.")
    until, lock = times.text(expires), urlencode(sorted(locked.items()))
    query = {**locked, "expires": until, "signature": _signature(key, lock, until)}
    return query | ({"lock": lock} if lock else {})


def _signature(key: bytes, lock: str, until: str) -> str:
    told = json.dumps([until, lock]).encode()
    return hmac.new(key, told, hashlib.sha256).hexdigest()[:HEX]


def locked_of(query: Mapping[str, str]) -> dict[str, str]:
    """The locked filters of a query, with the values that they are locked to."""
    return dict(parse_qsl(query.get("lock", "")))


def fault(key: bytes, query: Mapping[str, str], now: int) -> str:
    """Why a query may not be answered, as one sentence; "" where its signature holds."""
    given, until = query.get("signature", ""), query.get("expires", "")
    if not given:
        return "This server shows only what a signed link leads to; ask who runs it for one."
    right = _signature(key, query.get("lock", ""), until)
    if not hmac.compare_digest(given.encode(), right.encode()):
        return UNFIT
    try:
        ends = times.parse(until, now)
    except ValueError:
        return UNFIT
    if now >= ends:
        return f"This link ended on {until[:10]}; ask who gave it for another."
    return ""
