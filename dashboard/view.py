"""The URL is the only state: one table of keys, and what a page may know of the present view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from time import monotonic
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from dashboard import between, other
from tandem import signing, times
from tandem.records import BUCKET, DAY
from tandem.shown import STATES, Half, Side, Window

LONGEST = 5 * 366 * DAY
"""A window is at most five years; no link may ask for more."""
EARLIEST = 946_684_800
"""Nothing is older than the year 2000."""
RANGES = {"1h": "now-1h", "6h": "now-6h", "24h": "now-24h", "7d": "now-7d", "30d": "now-30d"}
CUSTOM = "Custom"
SIDES: tuple[Side, ...] = ("system", "model")
LONG = 200
"""How many characters one value of a link may have."""


@dataclass(frozen=True)
class Rule:
    """How one key of the URL is read: its default, and what turns text into a value (ValueError: refused)."""

    default: Any
    parse: Callable[[str], Any]
    text: Callable[[Any], str] = str


def _name(given: str) -> str:
    if not given or not given.isprintable():
        raise ValueError
    return given


def _segment(given: str) -> str:
    column, equals, _ = _name(given).partition("=")
    if not equals or not column:
        raise ValueError
    return given


def _load(given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise ValueError
    return int(given)


def _hexadecimal(given: str) -> str:
    if len(given) != 12 or set(given) - set("0123456789abcdef"):
        raise ValueError
    return given


def _switch(given: str) -> bool:
    return {"1": True, "0": False}[given]


def _time(given: str) -> str:
    if not given.isascii():
        raise ValueError
    times.parse(given, EARLIEST + LONGEST)
    return given


def _among(*known: str) -> Callable[[str], str]:
    def parse(given: str) -> str:
        if given not in known:
            raise ValueError
        return given

    return parse


SCHEMA: Mapping[str, Rule] = {
    "from": Rule("now-24h", _time),
    "to": Rule("now", _time),
    "environment": Rule("production", _name),
    "product": Rule("", _name),
    "component": Rule("", _name),
    "version": Rule("", _name),
    "segment": Rule("", _segment),
    "side": Rule("", _among(*SIDES)),
    "compare": Rule("", other.checked),
    "selected": Rule("", _name),
    "tab": Rule("", _name),
    "as_of": Rule(None, _load),
    "live": Rule(True, _switch, lambda on: "1" if on else "0"),
    "store": Rule("", _hexadecimal),
    "saved": Rule("", _hexadecimal),
    "lock": Rule("", _name),
    "expires": Rule("", _name),
    "signature": Rule("", _name),
}
"""Only keys that pages honour; on a list of components `tab` is the state it is narrowed to, `selected` the search;
on the page of a model `selected` is a feature, or two training runs (`between.py`);
on the page of one component `tab` is the name of an objective, or the threshold of a model's "what if"."""
LOOKS = frozenset({"side", "compare", "selected", "tab", "live"})
"""Keys that show other parts of the same answer."""
TABS: Mapping[str, tuple[str, ...]] = {
    "services": STATES,
    "models": STATES,
    "compare": ("differences",),
    "review": ("edit",),
}
"""What `tab` may be on a page that lists something."""
BEGINNINGS: Mapping[str, Mapping[str, Any]] = {
    "delivery": {"from": "now-30d"},
    "review": {"from": "now-7d"},
    "compare": {"from": "now-7d", "compare": "previous"},
}
"""Defaults of pages that are read over weeks, or against something."""


def default(page: str, key: str) -> Any:
    """What a key means on a page where the link does not say it."""
    return BEGINNINGS.get(page, {}).get(key, SCHEMA[key].default)


@dataclass(frozen=True)
class View:
    """What a page shows: the checked URL, the window it means at `now`, and the keys that were ignored."""

    page: str
    now: int
    window: Window
    asked: Mapping[str, Any]
    environments: tuple[str, ...]
    products: tuple[str, ...]
    zone: tzinfo = UTC
    narrow: bool = False
    ignored: tuple[str, ...] = ()
    context: Any = field(default=None, compare=False, repr=False)
    """What owns the numbers; pages hand it to the engine and look no further."""
    pages: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Streamlit's pages by name, for the row of links."""

    @property
    def environment(self) -> str:
        """The environment whose numbers are shown."""
        return str(self.asked["environment"])

    @property
    def product(self) -> str:
        """The product that was asked for, or ""."""
        return str(self.asked["product"])

    @property
    def component(self) -> str:
        """The component that was asked for, or ""."""
        return str(self.asked["component"])

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that are shown: the one that was asked for, or both."""
        return tuple(side for side in SIDES if self.asked["side"] in ("", side))

    @property
    def compare(self) -> str:
        """What is compared with: previous, week, version:7 and so on (`other.py`), or "" for nothing."""
        return str(self.asked["compare"])

    @property
    def against(self) -> Window | None:
        """The other window that is compared with; None for none, and for another version or segment of this one."""
        return other.window_of(self.compare, self.window, self.now, EARLIEST)

    @property
    def half(self) -> Half:
        """What is shown, as one side of a comparison: A."""
        return Half("window", self.window, self.asked["version"], self.asked["segment"], environment=self.environment)

    @property
    def other(self) -> Half | None:
        """What it is compared with: B."""
        return other.half(self.compare, self.half, self.against) if self.compare else None

    @property
    def compared(self) -> Window | Half | None:
        """The same as the engine takes it on every page: another window, or another version, segment or stage."""
        return self.against or self.other

    @property
    def selected(self) -> str:
        """The feature that was asked for, or ""."""
        chosen = str(self.asked["selected"])
        return "" if chosen.startswith(between.KIND) else chosen

    @property
    def runs(self) -> tuple[str, str]:
        """The two training runs that are put side by side, either "" where it is not chosen."""
        return between.runs(str(self.asked["selected"]))

    @property
    def tab(self) -> str:
        """The part of the page that was asked for, or ""; on a list of components a state."""
        return str(self.asked["tab"])

    @property
    def threshold(self) -> float | None:
        """The score that the page of a model asks "what if" of; None for its own choice."""
        return threshold_of(self.tab)

    @property
    def as_of(self) -> int | None:
        """The load whose numbers are shown; None: the newest."""
        given: int | None = self.asked["as_of"]
        return given

    @property
    def locked(self) -> Mapping[str, str]:
        """The filters that the link locks, with their values."""
        return signing.locked_of(self.asked)

    @property
    def widened(self) -> bool:
        """Whether the view shows more than its link is locked to."""
        product = self.locked.get("product")
        mine = {one.name: one.product for one in getattr(self.context.config, "components", ())} if product else {}
        outside = bool(self.component) and mine.get(self.component) != product if product else False
        if {"version", "segment"} & set(self.locked) and other.kind_of(self.compare)[0] in other.OWN:
            outside = True  # beside what is locked would stand another version or segment
        if "version" in self.locked and any(self.runs):
            outside = True  # a run may be of any version
        return outside or any(self.asked[name] != value for name, value in self.locked.items())

    @property
    def saved(self) -> str:
        """The id of the saved answer that the link leads to, or ""."""
        return str(self.asked["saved"])

    @property
    def foreign(self) -> bool:
        """Whether the link was made over another store: its loads mean nothing here."""
        return self.asked["store"] not in ("", self.identity)

    @property
    def identity(self) -> str:
        """What tells the store that is shown from any other; "" where there is none."""
        return str(getattr(getattr(self.context, "store", None), "identity", ""))

    @property
    def relative(self) -> bool:
        """Whether the window moves with the clock."""
        return str(self.asked["to"]) == "now" and self.as_of is None

    @property
    def live(self) -> bool:
        """Whether the page reads again by itself when there is something new."""
        return bool(self.asked["live"]) and self.relative

    @property
    def range(self) -> str:
        """The preset that is shown, or Custom."""
        if str(self.asked["to"]) != "now":
            return CUSTOM
        return next((name for name, since in RANGES.items() if since == self.asked["from"]), CUSTOM)

    def query(self, **changes: Any) -> dict[str, str]:
        """The query of a link: only what is not default; another component has nothing selected."""
        return self.onward(self.page, **changes)

    def onward(self, page: str, **changes: Any) -> dict[str, str]:
        """The query of a link to a page; what is this page's default, and not changed, becomes that page's own."""
        if "component" in changes:
            left = {"selected": "", "tab": ""} if self.component or self.page in TABS else {"selected": ""}
            if changes["component"] != self.component and other.kind_of(self.compare)[0] in other.OWN:
                left["compare"] = default(page, "compare")
            changes = {**left, **changes}
        kept = {key: one for key, one in self.asked.items() if one != default(self.page, key)} | changes
        if "saved" not in changes and (page != self.page or set(changes) - LOOKS):
            kept.pop("saved", None)  # another question than the one whose answer was saved
        if "store" not in changes and kept.get("as_of") is None:
            kept.pop("store", None)
        return {key: rule.text(kept[key]) for key, rule in SCHEMA.items()
                if key in kept and kept[key] != default(page, key)}  # fmt: skip

    def link(self, page: str, **changes: Any) -> str:
        """The address of a page with this view's choices, as a path with a query; not yet escaped for HTML."""
        query = urlencode(self.onward(page, **changes))
        return f"/{'' if page == 'overview' else page}{'?' + query if query else ''}"

    def fixed(self, as_of: int) -> dict[str, Any]:
        """The changes that make a link mean the same for everybody, whenever it is opened."""
        return {"from": compact(self.window.since), "to": compact(self.window.until), "as_of": as_of, "live": False,
                "store": self.identity}  # fmt: skip


def compact(ts: int) -> str:
    """ISO 8601 in its basic form, UTC, to the minute: 20261120T1800Z."""
    return times.text(ts).replace("-", "").replace(":", "")[:13] + "Z"


def asked(given: Mapping[str, str], page: str = "") -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a query says, checked; anything else is the default, and its key is named in the second answer."""
    values = {key: default(page, key) for key in SCHEMA}
    ignored = [key for key in given if key not in SCHEMA]
    for key, rule in SCHEMA.items():
        if key not in given:
            continue
        try:
            if len(given[key]) > LONG:
                raise ValueError
            values[key] = rule.parse(given[key])
        except (ValueError, KeyError, OverflowError):
            ignored.append(key)
    return values, tuple(ignored)


def window(since: str, until: str, now: int) -> Window:
    """The window of two texts, ends moved outwards to whole buckets, never past the last whole bucket.

    Raises ValueError for an empty, a future or an overlong window.
    """
    last = now // BUCKET * BUCKET
    start = times.parse(since, now) // BUCKET * BUCKET
    end = min(-(-times.parse(until, now) // BUCKET) * BUCKET, last)
    if start == end == last:
        start -= BUCKET
    if not EARLIEST <= start < end or end - start > LONGEST:
        raise ValueError("the window is empty, in the future, or longer than five years")
    return Window(start, end)


def view(page: str, given: Mapping[str, str], now: int, **known: Any) -> View:
    """The View of a page for a query; names that are not known here are ignored and named like any other mistake."""
    values, ignored = asked(given, page)
    try:
        shown = window(values["from"], values["to"], now)
    except (ValueError, OverflowError):
        ignored += tuple(key for key in ("from", "to") if key in given and key not in ignored)
        values["from"], values["to"] = default(page, "from"), default(page, "to")
        shown = window(values["from"], values["to"], now)
    if values["tab"] and not _tab_known(page, values):
        values["tab"] = ""
        ignored += ("tab",)
    choices = {"environment": known.get("environments", ()), "product": known.get("products", ())}
    choices["component"] = known.pop("components", ())
    for key, options in choices.items():
        if values[key] != SCHEMA[key].default and values[key] not in options:
            values[key] = SCHEMA[key].default
            ignored += (key,)
    if values["environment"] not in choices["environment"] and choices["environment"]:
        values["environment"] = choices["environment"][0]
    return View(page=page, now=now, window=shown, asked=values, ignored=tuple(dict.fromkeys(ignored)), **known)


def threshold_of(given: str) -> float | None:
    """A score between 0 and 1 as it stands in a link; None for anything else."""
    if not (given.isascii() and given[:2] == "0." and given[2:].isdigit()):
        return None
    return float(given)


def _tab_known(page: str, values: Mapping[str, Any]) -> bool:
    """Whether a page can show that tab; that of one component looks for an objective, or a threshold, of its own."""
    return page in TABS and (bool(values["component"]) or values["tab"] in TABS[page])


DRAWN = "drawn_at"
"""Where the session keeps the newest addresses that its controls were made for, and when."""
WROTE = "wrote"
ECHO = 3.0
"""Seconds after a step of the history in which a control may still say what it showed at an address before."""


def _address() -> tuple[str | None, dict[str, str]]:
    return st.context.url, st.query_params.to_dict()


def draw() -> None:
    """Say that the controls which are made now show what the address says now."""
    made = st.session_state.setdefault(DRAWN, [])
    if not made or made[-1][0] != _address():
        made[:] = [*made[-3:], (_address(), monotonic())]


def _echoed(query: Mapping[str, str]) -> bool:
    """Whether a change comes from a control that was made for an address before the present one.

    When somebody goes back twice, the browser sends what its controls showed two addresses ago, and that is no gesture.
    """
    made = st.session_state.get(DRAWN)
    if not made:
        return False
    address, since = made[-1]
    if address != _address():
        return True
    walked = st.session_state.get(WROTE) != address[1]
    return walked and monotonic() - since < ECHO and any(dict(query) == before[1] for before, _ in made[:-1])


def write(shown: View, **changes: Any) -> None:
    """One call for one gesture: one write is one entry of the browser's history."""
    query = shown.query(**changes)
    if _echoed(query):
        return
    st.session_state[WROTE] = query
    st.query_params.from_dict(query)
