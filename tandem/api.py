"""What a running Tandem answers over HTTP, and the command line prints: the same bytes."""

from __future__ import annotations

import hmac
import importlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from html import escape
from pathlib import Path
from typing import Any, Protocol

import orjson

from tandem import bundle, drifts, lineage_json, metrics, report, signing, times
from tandem.collect import Outcome, Say
from tandem.config import Config, ConfigError
from tandem.connect import Given
from tandem.records import DAY
from tandem.shown import Half, SourceState, Unreadable, Window
from tandem.store import sound
from tandem.store.file import Store, StoreRefused

Params = Mapping[str, Sequence[str]]
Answer = tuple[int, str, bytes]
"""(HTTP status, content type, body)."""

JSON = "application/json"
YAML = "application/yaml"
LINES = "application/x-ndjson"
SVG = "image/svg+xml"
HTML = "text/html; charset=utf-8"
ZIP = "application/zip"
COLOURS = {"ok": "#2e7d32", "at risk": "#b26a00", "breached": "#c62828", "unknown": "#5f6368"}
"""Background of a badge by state; white text on each has a contrast above 4.5."""
WORK = ("/api/v1/sync", "/api/v1/import", "/api/v1/export", "/api/v1/restore")
"""What is asked by POST and done only for who holds the token."""
GIVEN = {"component", "connector", "timezone", "at", "config", "path"}
"""Parameters of an import."""


class Context(Protocol):
    """Whose numbers are answered: a configuration, a store, a clock, and the token that lets somebody write."""

    config: Config
    store: Store
    token: str

    @property
    def first_done(self) -> bool:
        """Whether the first collection has committed."""
        ...

    def now(self) -> int:
        """The present in epoch seconds."""
        ...


class Working(Context, Protocol):
    """A context that may be asked to collect."""

    def sync(
        self, names: Sequence[str] = (), *, since: int | None = None, say: Say = ..., config: Path | None = None
    ) -> list[Outcome]:
        """Pull the named sources, or all."""
        ...

    def take(
        self, paths: Sequence[Path], given: Given, *, connector: str | None = None, say: Say = ...,
        config: Path | None = None,
    ) -> list[Any]:  # fmt: skip
        """Import files."""
        ...

    def restore(self, folder: Path) -> Mapping[str, int]:
        """Merge a bundle."""
        ...


class BadQuestion(Exception):
    """A parameter that is unknown or cannot be read; the sentence says which."""


def dumps(value: Any) -> bytes:
    """JSON as Tandem writes it everywhere: sorted keys, shortest floats, a line feed at the end."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def answer(context: Any, method: str, path: str, params: Params, headers: Mapping[str, str]) -> Answer:
    """The answer to one request; every error is JSON with one sentence under "error"."""
    try:
        return _answer(context, method, path, params, headers)
    except BadQuestion as bad:
        return _error(400, str(bad))
    except ConfigError as bad:
        return _error(400, str(bad))


def _answer(context: Any, method: str, path: str, params: Params, headers: Mapping[str, str]) -> Answer:
    if path in WORK:
        if method != "POST":
            return _error(405, f"{path} is asked by POST.")
        if not permitted(context, headers):
            return _error(401, "Only who holds the token of the running Tandem may ask it to collect.")
        return 200, LINES, b"".join(work(context, path, params))
    if method not in ("GET", "HEAD"):
        return _error(405, f"{path} is asked by GET.")
    refused = _unsigned(context, path, params, headers)
    if refused:
        return _error(401, refused)
    params = {name: values for name, values in params.items() if name not in signing.KEYS}
    if path.startswith("/badge/"):
        return _badge(context, path.removeprefix("/badge/"))
    ask = ROUTES.get(path)
    return ask(context, params) if ask else _error(404, "There is nothing at this address.")


def permitted(context: Any, headers: Mapping[str, str]) -> bool:
    """Whether the request carries the owner's token."""
    given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    held = getattr(context, "token", "")
    return bool(held) and hmac.compare_digest(given.encode(), f"Bearer {held}".encode())


def _unsigned(context: Any, path: str, params: Params, headers: Mapping[str, str]) -> str:
    """Why a question may not be answered where views need a signature; "" where it may."""
    share = getattr(context.config, "share", None)
    local = getattr(context, "local", False)
    if not (share and share.require_signature) or local or path == "/healthz" or permitted(context, headers):
        return ""
    given = {name: values[-1] for name, values in params.items() if values}
    wrong = signing.fault(signing.secret(context.config.store), given, context.now())
    return wrong or _wider(context, path, signing.locked_of(given), params)


NARROWED = ("/api/v1/show", "/api/v1/explain", "/api/v1/drift", "/api/v1/lineage", "/api/v1/report",
            "/api/v1/report/tables")  # fmt: skip
"""What answers a question that is narrowed to a component."""
WIDER = "This link is narrowed, and what was asked for is wider; ask for what it shows."


def _wider(context: Any, path: str, locked: Mapping[str, str], params: Params) -> str:
    """Why a question asks for more than a narrowed link gives; "" where it does not."""
    if not locked:
        return ""
    plain = {name: value for name, value in locked.items() if name in ("environment", "version", "segment")}
    names = [*params.get("component", ()), *params.get("model", ())]
    if path not in NARROWED or any(list(params.get(name, ())) != [value] for name, value in plain.items()):
        return WIDER
    if ("component" in locked and names != [locked["component"]]) or ("version" in locked and params.get("compare")):
        return WIDER
    product = locked.get("product")
    if product is None:
        return ""
    if not names:
        return "" if list(params.get("product", ())) == [product] else WIDER
    found = [context.config.component(name) for name in names]
    return "" if all(one is not None and one.product == product for one in found) else WIDER


def _error(status: int, sentence: str) -> Answer:
    return status, JSON, dumps({"error": sentence})


# -- parameters


def _known(params: Params, *names: str) -> dict[str, str]:
    """The parameters, one value each; raises BadQuestion for an unknown or repeated one."""
    for name, values in params.items():
        if name not in names:
            raise BadQuestion(f"There is no parameter {name!r} here; known are {', '.join(names) or 'none'}.")
        if len(values) != 1:
            raise BadQuestion(f"The parameter {name!r} is given {len(values)} times; give it once.")
    return {name: values[0] for name, values in params.items() if values[0] != ""}


def window_of(given: Mapping[str, str], now: int) -> Window:
    """The window of `from` and `to`, the last 24 hours where nothing is said; raises BadQuestion."""
    try:
        until = times.parse(given["to"], now) if "to" in given else now
        since = times.parse(given["from"], now) if "from" in given else until - DAY
        return Window(*times.window(since, until, now))
    except ValueError as bad:
        raise BadQuestion(str(bad)) from None


def _load_of(context: Context, given: Mapping[str, str]) -> int | None:
    text = given.get("as_of")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadQuestion(f"as_of is the number of a load, such as 12, not {text[:40]!r}.")
    if int(text) > context.store.version():
        raise BadQuestion(f"There is no load {int(text)} in this store; its newest is {context.store.version()}.")
    return int(text)


def _segment_of(given: Mapping[str, str]) -> str:
    text = given.get("segment", "")
    if text and not all(part.partition("=")[0] and "=" in part for part in text.split(",")):
        raise BadQuestion(f"A segment is written column=value, such as country=DE, not {text[:40]!r}.")
    return text


def _stage_of(given: Mapping[str, str]) -> str:
    stage = given.get("stage", "production")
    if stage not in ("production", "evaluation", "training", "estimated"):
        raise BadQuestion(f"A stage is production, evaluation, training or estimated, not {stage[:40]!r}.")
    return stage


# -- reading


def _healthz(context: Any, params: Params) -> Answer:
    del params
    if context.first_done:
        return 200, JSON, dumps({"status": "ok"})
    return 503, JSON, dumps({"status": "the first collection is running"})


def _show(context: Any, params: Params) -> Answer:
    given = _known(params, "component", "from", "to", "as_of", "environment", "version", "segment", "stage")
    now = context.now()
    as_of = _load_of(context, given)
    asked: dict[str, Any] = {
        "environment": given.get("environment", "production"), "version": given.get("version", ""),
        "segment": _segment_of(given), "stage": _stage_of(given),
    }  # fmt: skip
    window = window_of(given, now)
    try:
        if "component" in given:
            return 200, JSON, dumps(report.show(context, given["component"], window, **asked, as_of=as_of, now=now))
        return 200, JSON, dumps(report.listing(context, window, **asked, as_of=as_of, now=now))
    except Unreadable as no:
        return _error(404, str(no))


NUMBER = ("component", "signal", "objective", "number", "product", "measure", "feature", "joint", "delivery")
"""What names one number on a screen."""


def _explain(context: Any, params: Params) -> Answer:
    given = _known(params, *NUMBER, "from", "to", "as_of", "environment", "version", "segment", "stage")
    now = context.now()
    as_of = _load_of(context, given)
    question = report.Question(
        window_of(given, now), as_of or 0, given.get("environment", "production"), given.get("version", ""),
        _segment_of(given), _stage_of(given), _config_option(context.config.path),
    )  # fmt: skip
    number = report.Number(**{name: given[name] for name in NUMBER if name in given})
    try:
        return 200, JSON, dumps(asdict(report.explain(context, number, question, as_of=as_of, now=now)))
    except Unreadable as no:
        return _error(404, str(no))


def _config_option(config: Path) -> str:
    """What `--config` must say where this process runs; nothing where the file is found without."""
    return "" if config == Path.cwd() / config.name and config.name == "tandem.toml" else str(config)


def _check(context: Any, params: Params) -> Answer:
    components = tuple(dict.fromkeys(params.get("component", ())))
    single = {name: values for name, values in params.items() if name != "component"}
    given = _known(single, "component", "gate", "environment", "version", "from", "to", "as_of")
    if "to" in given and "from" not in given:
        raise BadQuestion("A window that is checked needs its begin: say from beside to, or neither of them.")
    now = context.now()
    over = window_of(given, now) if "from" in given else None
    narrowed = {"environment": given.get("environment", "production"), "version": given.get("version", "")}
    as_of, gate = _load_of(context, given), given.get("gate", "")
    try:
        found = report.check(context, components, over, gate=gate, **narrowed, as_of=as_of, now=now)
    except Unreadable as no:
        return _error(404, str(no))
    return 200, JSON, dumps(asdict(found))


OTHER = ("reference_from", "reference_to", "reference_version", "reference_segment", "reference_stage")
"""What is said of the other side of a drift."""


def _drift(context: Any, params: Params) -> Answer:
    given = _known(params, "model", "from", "to", *OTHER, "version", "segment", "stage", "environment", "as_of")
    if "model" not in given:
        raise BadQuestion("A drift is asked of one model: say model=NAME.")
    now = context.now()
    current = Half(
        "window", window_of(given, now), given.get("version", ""), _segment_of(given), _stage_of(given),
        given.get("environment", "production"),
    )  # fmt: skip
    reference = _reference_of(given, current, now)
    try:
        found = report.drift(context, given["model"], current, reference, as_of=_load_of(context, given), now=now)
    except Unreadable as no:
        return _error(404, str(no))
    return 200, JSON, dumps(drifts.answer(found))


def _reference_of(given: Mapping[str, str], current: Half, now: int) -> Half | None:
    """The other side: as the current one but for what is said of it; None for the stored reference."""
    of = {name.removeprefix("reference_"): value for name, value in given.items() if name.startswith("reference_")}
    if not of:
        return None
    if ("from" in of) != ("to" in of):
        raise BadQuestion("A reference window needs both ends: say reference_from and reference_to.")
    narrowed = {"version": of["version"]} if "version" in of else {}
    narrowed |= {"segment": _segment_of(of)} if "segment" in of else {}
    narrowed |= {"stage": _stage_of(of)} if "stage" in of else {}
    kind: Any = next(iter(narrowed), "window")
    return replace(current, kind=kind, window=window_of(of, now) if "from" in of else None, **narrowed)


def _lineage(context: Any, params: Params) -> Answer:
    runs = params.get("compare", ())
    single = {name: values for name, values in params.items() if name != "compare"}
    given = _known(single, "model", "version", "from", "to", "environment", "as_of", "compare")
    if "model" not in given:
        raise BadQuestion("A lineage is asked of one model: say model=NAME.")
    if len(runs) not in (0, 2):
        raise BadQuestion(f"Two runs are compared: say compare=RUN twice, not {len(runs)} times.")
    now = context.now()
    narrowed = {"environment": given.get("environment", "production"), "version": given.get("version", "")}
    as_of, window = _load_of(context, given), window_of(given, now)
    try:
        found = report.lineage(context, given["model"], window, **narrowed, compare=runs, as_of=as_of, now=now)
    except Unreadable as no:
        return _error(404, str(no))
    return 200, JSON, dumps(lineage_json.answer(found))


def _sources(context: Any, params: Params) -> Answer:
    now = context.now()
    found = report.sources(context, window_of(_known(params, "from", "to"), now), now=now)
    return 200, JSON, dumps({
        "window": {"from": times.text(found.window.since), "to": times.text(found.window.until)},
        "as_of": found.as_of,
        "sources": [_source(one) for one in found.sources],
    })  # fmt: skip


def _source(one: SourceState) -> dict[str, Any]:
    moments = {name: None if value is None else times.text(value)
               for name, value in (("newest", one.newest), ("last_pull", one.last_pull))}  # fmt: skip
    return asdict(one) | moments


def _metrics(context: Any, params: Params) -> Answer:
    _known(params)
    now = context.now()
    window = window_of({}, now)
    state = report.sources(context, window, now=now)
    text = metrics.exposition(
        context.store.version(), state, report.listing(context, window, delivery=False, now=now), now
    )
    return 200, "text/plain; version=0.0.4; charset=utf-8", text.encode()


def _openslo(context: Any, params: Params) -> Answer:
    given = _known(params, "component")
    try:
        return 200, YAML, report.openslo(context, given.get("component", ""), now=context.now()).encode()
    except Unreadable as no:
        return _error(404, str(no))


def _report(context: Any, params: Params) -> Answer:
    return _reported(context, params, "page", HTML)


def _tables(context: Any, params: Params) -> Answer:
    return _reported(context, params, "tables", ZIP)


def _reported(context: Any, params: Params, form: str, kind: str) -> Answer:
    given = _known(params, "from", "to", "as_of", "environment", "product", "component")
    # By name, as `tandem serve` starts the dashboard: the core needs no chart to be used.
    drawn = importlib.import_module("dashboard.reported.answered")
    now = context.now()
    try:
        window = drawn.window_of(given.get("from", ""), given.get("to", ""), now)
    except ValueError as bad:
        raise BadQuestion(str(bad)) from None
    narrowed = {name: given[name] for name in ("environment", "product", "component") if name in given}
    asked = drawn.Asked(window, **narrowed, as_of=_load_of(context, given))
    try:
        return 200, kind, getattr(drawn, form)(context, asked, now)
    except Unreadable as no:
        return _error(404, str(no))


def _doctor(context: Any, params: Params) -> Answer:
    _known(params)
    return 200, JSON, dumps({"findings": sound.faults(context.store)})


def _badge(context: Any, name: str) -> Answer:
    component, dot, ending = name.rpartition(".")
    if not dot or ending != "svg":
        return _error(404, "A badge is asked as /badge/COMPONENT.svg.")
    now = context.now()
    try:
        state = report.show(context, component, window_of({}, now), delivery=False, now=now)["state"]
    except Unreadable as no:
        return _error(404, str(no))
    return 200, SVG, _drawn(component, state).encode()


def _drawn(component: str, state: str) -> str:
    """A badge: the component's name on grey, its state as word and colour."""
    shown = component if len(component) <= 60 else component[:59] + "…"
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in shown)
    left, right = 14 + 7 * len(shown), 14 + 7 * len(state)
    name, word = escape(shown), escape(state)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{name}: {word}"><title>{name}: {word}</title>'
        f'<rect width="{left}" height="20" fill="#3c4043"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{COLOURS[state]}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14">{name}</text><text x="{left + right / 2:g}" y="14">{word}</text></g></svg>\n'
    )


ROUTES: Mapping[str, Callable[[Any, Params], Answer]] = {
    "/healthz": _healthz,
    "/api/v1/show": _show,
    "/api/v1/check": _check,
    "/api/v1/drift": _drift,
    "/api/v1/lineage": _lineage,
    "/api/v1/explain": _explain,
    "/api/v1/sources": _sources,
    "/api/v1/openslo": _openslo,
    "/api/v1/report": _report,
    "/api/v1/report/tables": _tables,
    "/api/v1/doctor": _doctor,
    "/metrics": _metrics,
}


# -- collecting


def work(context: Working, path: str, params: Params) -> Iterator[bytes]:
    """Do what was asked, as JSON lines: {"say": [source, what, share]} as it goes on, and {"outcomes": [...]}.

    Raises BadQuestion or ConfigError before the first line.
    """
    make = {"/api/v1/sync": _syncing, "/api/v1/import": _importing, "/api/v1/export": _exporting,
            "/api/v1/restore": _restoring}[path]  # fmt: skip
    return _told(make(context, params))


def _config_of(params: Params) -> Path | None:
    given = params.get("config") or ("",)
    return Path(given[0]) if given[0] else None


def _syncing(context: Working, params: Params) -> Callable[[Say], list[Any]]:
    given = _known({name: values for name, values in params.items() if name != "source"}, "since", "config")
    names = tuple(params.get("source", ()))
    try:
        since = times.parse(given["since"], context.now()) if "since" in given else None
    except ValueError as bad:
        raise BadQuestion(str(bad)) from None
    return lambda say: context.sync(names, since=since, say=say, config=_config_of(params))


def _importing(context: Working, params: Params) -> Callable[[Say], list[Any]]:
    given = _known({name: values for name, values in params.items() if name != "path"}, *GIVEN - {"path"})
    paths = tuple(Path(path) for path in params.get("path", ()))
    if not paths or not all(path.is_absolute() for path in paths):
        raise BadQuestion("An import names at least one file or folder by its absolute path.")
    try:
        at = times.parse(given["at"], context.now()) if "at" in given else None
    except ValueError as bad:
        raise BadQuestion(str(bad)) from None
    more = Given(component=given.get("component", ""), at=at, timezone=given.get("timezone"))
    connector = given.get("connector")
    return lambda say: context.take(paths, more, connector=connector, say=say, config=_config_of(params))


def _exporting(context: Working, params: Params) -> Callable[[Say], list[Any]]:
    folder = _folder_of(params)
    return lambda say: [bundle.export(context.store, context.config, folder, context.now())]


def _restoring(context: Working, params: Params) -> Callable[[Say], list[Any]]:
    folder = _folder_of(params)
    return lambda say: [context.restore(folder)]


def _folder_of(params: Params) -> Path:
    folder = Path(_known(params, "folder").get("folder", ""))
    if not folder.is_absolute():
        raise BadQuestion("A bundle is a folder that is named by its absolute path.")
    return folder


def _told(job: Callable[[Say], list[Any]]) -> Iterator[bytes]:
    """The lines of a job that runs in a thread of its own, so that it goes on when nobody listens any more."""
    said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def run() -> None:
        last: dict[str, Any] = {"error": "The running Tandem stopped on a fault; see what it wrote."}
        try:
            outcomes = job(lambda source, what, share: said.put({"say": [source, what, share]}))
            last = {"outcomes": [one if isinstance(one, dict) else asdict(one) for one in outcomes]}
        except (ConfigError, StoreRefused, OSError) as bad:
            last = {"error": str(bad)}
        finally:
            said.put(last)

    threading.Thread(target=run, daemon=True, name="asked").start()
    while True:
        line = said.get()
        yield dumps(line)
        if "say" not in line:
            return
