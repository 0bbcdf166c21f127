"""tandem.toml to one frozen value: strict, typed, and every refusal one sentence that says what to do."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tandem import catalog, connect, objectives, openslo, strict, times
from tandem.connect import Common, Connector
from tandem.gates import Gate, check_gates
from tandem.lineage import Made, Numbering
from tandem.linking import Rules
from tandem.objectives import MEASURES as MEASURES
from tandem.objectives import Correction, Maintenance, Product
from tandem.objectives import Objective as Objective
from tandem.records import BUCKET, DAY, HOUR
from tandem.signing import Share

Kind = Literal["service", "model"]


class ConfigError(Exception):
    """What is wrong in a configuration file, in one sentence."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True)
class Worth:
    """What one prediction of an (actual, predicted) class is worth in the component's currency; losses are negative."""

    actual: str
    predicted: str
    value: Fraction


@dataclass(frozen=True)
class Component:
    """A service or a model; `product` is what it belongs to, its own name where nothing is said.

    `worth` is the value of a model's predictions by cell of its confusion matrix, in `currency` (such as EUR); a cell
    left out is worth nothing. `lineage` and `version` say what joins the sources that tell of a model's versions.
    """

    name: str
    kind: Kind = "service"
    product: str = ""
    depends_on: tuple[str, ...] = ()
    environment: str = ""
    currency: str = ""
    worth: tuple[Worth, ...] = ()
    lineage: Numbering = field(default_factory=Numbering)
    version: tuple[Made, ...] = ()


@dataclass(frozen=True)
class Source:
    """One configured connector: the keys that all sources have, its module, and its own Config."""

    common: Common
    connector: Connector
    config: Any

    @property
    def name(self) -> str:
        """The name under which it is shown and asked for."""
        return self.common.name

    @property
    def every(self) -> int:
        """Seconds between two pulls: as configured, or as its connector makes of its own keys."""
        interval = getattr(self.connector, "interval", None)
        return int(interval(self.config)) if interval else self.common.every

    def since(self, now: int) -> int | None:
        """Epoch seconds from which a first pull reads: the configured time, or so long before `now`; None: unsaid."""
        given = self.common.since
        return given if given is None or given >= 0 else now + given


@dataclass(frozen=True)
class Config:
    """A whole configuration; components are the declared ones, then those that only sources name."""

    path: Path
    store: Path
    timezone: str
    components: tuple[Component, ...]
    objectives: tuple[Objective, ...]
    signals: Mapping[str, catalog.Signal]
    sources: tuple[Source, ...]
    promises: tuple[Product, ...] = ()
    corrections: tuple[Correction, ...] = ()
    maintenance: Maintenance = "leave out"
    """Whether the time of maintenance leaves the counts of objectives; a source may say otherwise of its own."""
    delivery: Rules = field(default_factory=Rules)
    """How delivery is read: links between incidents and deployments, and what people corrected of them."""
    share: Share = field(default_factory=Share)
    """Whether views need a signed link."""
    gates: tuple[Gate, ...] = ()
    """What pipelines ask for by name."""
    page: str = ""
    """The address under which people open the dashboard: links that leave this machine begin with it."""

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent

    def component(self, name: str) -> Component | None:
        """The component of that name; None for an unknown one."""
        return self._by_name.get(name)

    def gate(self, name: str) -> Gate | None:
        """The gate of that name; None for an unknown one."""
        return next((gate for gate in self.gates if gate.name == name), None)

    def source(self, name: str) -> Source | None:
        """The source of that name; None for an unknown one."""
        return next((source for source in self.sources if source.name == name), None)

    @cached_property
    def products(self) -> Mapping[str, tuple[Component, ...]]:
        """The components of each product, in the order of the file."""
        names = dict.fromkeys(component.product for component in self.components)
        return {name: tuple(one for one in self.components if one.product == name) for name in names}

    @cached_property
    def _by_name(self) -> Mapping[str, Component]:
        return {component.name: component for component in self.components}


@dataclass(frozen=True)
class _File:
    store: str = "tandem.duckdb"
    timezone: str = "UTC"
    page: str = ""
    component: tuple[Component, ...] = ()
    objective: tuple[Objective, ...] = ()
    product: tuple[Product, ...] = ()
    slo: openslo.Imported = field(default_factory=openslo.Imported)
    correction: tuple[Correction, ...] = ()
    maintenance: Maintenance = "leave out"
    delivery: Rules = field(default_factory=Rules)
    share: Share = field(default_factory=Share)
    gate: tuple[Gate, ...] = ()
    signal: tuple[catalog.Signal, ...] = ()
    source: tuple[Source, ...] = field(default=())


def load(path: Path) -> Config:
    """The configuration in `path`; raises ConfigError for anything that does not mean what it should."""
    path = path.absolute()
    try:
        return parse(_text(path), path)
    except ValueError as refused:
        raise ConfigError(path, str(refused)) from None


def parse(text: str, path: Path) -> Config:
    """The configuration of TOML text that stands in `path`; raises ValueError with one sentence."""
    folder = path.parent
    tables = _toml(text)
    built = {key: read(tables[key], folder) for key, read in _OWN.items() if key in tables}
    file = strict.build(_File, tables | built, "The file", folder, dict.fromkeys(_OWN, lambda made: made))
    _zone(file.timezone)
    signals = catalog.built_in() | {signal.name: signal for signal in file.signal}
    _distinct("signal", [*catalog.built_in(), *(signal.name for signal in file.signal)])
    _distinct("component", [component.name for component in file.component])
    _distinct("source", [source.name for source in file.source])
    for signal in file.signal:
        _check_signal(signal)
    for component in file.component:
        _check_worth(component)
        _check_lineage(component, tuple(source.name for source in file.source))
    for number, correction in enumerate(file.correction, 1):
        for name in correction.signal:
            if name not in signals:
                found = strict.nearest(name, tuple(signals))
                where = strict.place("correction", number, vars(correction))
                raise ValueError(f"{where} names an unknown signal {strict.quoted(name)}; {found}.")
    _distinct("product", [product.name for product in file.product])
    components = _components(file, signals)
    products = list(dict.fromkeys(component.product for component in components))
    objectives.check_products(file.product, products)
    _check_names(file, tuple(component.name for component in components))
    _check_gates(file, signals, products, tuple(component.name for component in components))
    imported = openslo.objectives(file.slo, folder, () if _is_open(file) else [one.name for one in components])
    return Config(
        path=path,
        store=folder / file.store,
        timezone=file.timezone,
        components=components,
        objectives=objectives.checked((*file.objective, *imported), signals, file.timezone),
        promises=file.product,
        corrections=file.correction,
        maintenance=file.maintenance,
        delivery=file.delivery,
        share=file.share,
        gates=file.gate,
        page=_page(file.page),
        signals=signals,
        sources=file.source,
    )


def missing_environment(config: Config, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """(source, variable) of every environment variable that a source names and that is not set, or empty."""
    named = [(source.name, source.common.token_env) for source in config.sources]
    return [(source, variable) for source, variable in named if variable and not environ.get(variable)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("The file is not UTF-8 text: save it as UTF-8.") from None
    except FileNotFoundError:
        raise ValueError("There is no such file: run `tandem init`, or name another file by --config.") from None
    except OSError as error:
        raise ValueError(f"The file cannot be read: {error.strerror}.") from None


def _toml(text: str) -> dict[str, Any]:
    try:
        # Decimal, so that a target of 0.999 is exactly 999/1000.
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"The file is not TOML: {error}.") from None
    except RecursionError:
        raise ValueError("The file is not usable: its lists or tables are nested too deeply.") from None


# --- corrections


def _corrections(tables: object, folder: Path) -> tuple[Correction, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError("The file: write [[correction]] with two brackets, because there may be several.")
    found = []
    for number, table in enumerate(tables, 1):
        where = strict.place("correction", number, table)
        found.append(objectives.check_correction(
            strict.build(Correction, table, where, folder, objectives.READERS), where))  # fmt: skip
    return tuple(found)


# --- sources


def _sources(tables: object, folder: Path) -> tuple[Source, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError("The file: write [[source]] with two brackets, because there may be several.")
    return tuple(
        _source(table, strict.place("source", number, table), folder) for number, table in enumerate(tables, 1)
    )


def _source(table: Mapping[str, Any], where: str, folder: Path) -> Source:
    for key in ("connector", "name"):
        if not table.get(key) or not isinstance(table[key], str):
            raise ValueError(f"{where} lacks the key {strict.quoted(key)}, a text in quotes.")
    name, module = _connector(table["connector"], where)
    shared = tuple(one.name for one in dataclasses.fields(Common) if one.name != "folder")
    own = tuple(one.name.rstrip("_") for one in dataclasses.fields(module.Config) if one.name != "common")
    strict.known(table, shared + own, where)
    given = {key: table[key] for key in shared if key in table} | {"connector": name}
    common = dataclasses.replace(strict.build(Common, given, where, folder, _READERS), folder=folder)
    _check_common(common, where)
    rest = {key: table[key] for key in own if key in table} | {"common": common}
    config = strict.build(module.Config, rest, where, folder, {"common": lambda value: value})
    files = str(getattr(config, "url", "")).startswith("file:")
    if common.deletions == "restate" and (files or not module.ABOUT.restates):
        what = "files" if files else name
        raise ValueError(f'{where}: deletions must be "keep": a pull of {what} does not tell what has vanished.')
    return Source(common, module, config)


def _connector(name: str, where: str) -> tuple[str, Connector]:
    try:
        module = connect.load(name)
    except connect.SourceRefused:
        found = strict.nearest(name, connect.names())
        raise ValueError(f"{where} names an unknown connector {strict.quoted(name)}; {found}.") from None
    except ImportError as error:
        raise ValueError(f"{where}: the connector {strict.quoted(name)} cannot be imported: {error}.") from None
    return name if name in connect.names() else connect.canonical(name), module


def _check_common(common: Common, where: str) -> None:
    if common.timezone is not None:
        _zone(common.timezone, where)
    if common.every < 1:
        raise ValueError(f"{where}: every must be longer than nothing, such as 5m.")
    # The value is not repeated: people paste the token itself.
    if common.token_env is not None and not _is_variable(common.token_env):
        raise ValueError(f"{where}: token_env must be the name of an environment variable, never the token itself.")
    if common.token_env and common.token_file:
        raise ValueError(f"{where} has both token_env and token_file: keep one.")
    if common.token_file and _open_to_others(common.token_file):
        raise ValueError(f"{where}: token_file can be read by others: run `chmod 600 {common.token_file}`.")


def _is_variable(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)) and (name.isupper() or len(name) < 20)


def _open_to_others(path: Path) -> bool:
    return os.name == "posix" and path.exists() and bool(path.stat().st_mode & 0o077)


def _duration(given: object) -> int:
    if not isinstance(given, str):
        raise ValueError("write a duration in quotes, such as 5m or 28d.")
    return times.duration(given)


def _since(given: object) -> int:
    """Epoch seconds of a time; of a duration its seconds as a negative number, which Source.since resolves."""
    if isinstance(given, date):
        given = given.isoformat()
    if not isinstance(given, str):
        raise ValueError("write a time in quotes, such as 2026-01-31 or 90d.")
    try:
        return -times.duration(given.removeprefix("now-"))
    except ValueError:
        return times.parse(given, 0)


_OWN: Mapping[str, Callable[[object, Path], Any]] = {"source": _sources, "correction": _corrections}
"""Tables that are read in their own way."""
_READERS: strict.Readers = {"every": _duration, "overlap": _duration, "horizon": _duration, "since": _since}


# --- components, signals, objectives


def _components(file: _File, signals: Mapping[str, catalog.Signal]) -> tuple[Component, ...]:
    declared = {component.name: component for component in file.component}
    sides: dict[str, set[str]] = {}
    for source in file.source:
        for name, side in _mentions(source, signals):
            sides.setdefault(name, set()).add(side)
    implied = [
        Component(name, "model" if "model" in sides[name] else "service") for name in sides if name not in declared
    ]
    return tuple(dataclasses.replace(one, product=one.product or one.name) for one in [*declared.values(), *implied])


def _mentions(source: Source, signals: Mapping[str, catalog.Signal]) -> Iterator[tuple[str, str]]:
    """(component, side) of everything that a source says it measures."""
    side = source.connector.ABOUT.side
    yield from ((name, side) for name in source.common.component)
    yield from ((name, side) for rule in source.common.map for name in rule.component)
    for entry in (*getattr(source.config, "signal", ()), *getattr(source.config, "check", ())):
        named = getattr(entry, "component", None) or ()
        measured = signals.get(getattr(entry, "signal", ""))
        for name in (named,) if isinstance(named, str) else named:
            yield name, measured.side if measured else side


def _is_open(file: _File) -> bool:
    """Whether some components are only known once a source is read."""
    return any(_finds_components(source) for source in file.source)


def _check_names(file: _File, names: tuple[str, ...]) -> None:
    if _is_open(file):
        return
    for component in file.component:
        for other in component.depends_on:
            _known_component(other, names, f"[[component]] {strict.quoted(component.name)}: depends_on")
    for number, objective in enumerate(file.objective, 1):
        _known_component(objective.component, names, strict.place("objective", number, vars(objective)))
    for number, correction in enumerate(file.correction, 1):
        for name in correction.component:
            _known_component(name, names, strict.place("correction", number, vars(correction)))


def _check_gates(
    file: _File, signals: Mapping[str, catalog.Signal], products: list[str], names: tuple[str, ...]
) -> None:
    _distinct("gate", [gate.name for gate in file.gate])

    def known(name: str, where: str) -> None:
        if not _is_open(file):
            _known_component(name, names, where)

    check_gates(file.gate, tuple(signals), products if not _is_open(file) else _named_products(file, products), known)


def _named_products(file: _File, products: list[str]) -> list[str]:
    """The products of components that are only known once a source is read may be called as those are."""
    return [*products, *(name for gate in file.gate for name in gate.product)]


def _page(given: str) -> str:
    """The address of the dashboard without the "/" at its end; raises ValueError where it is none."""
    if given and not re.fullmatch(r"https?://[^\s/@?#]+(?:/[^\s?#]*)?", given):
        raise ValueError("page must be the address of the dashboard, such as https://tandem.example.com.")
    return given.rstrip("/")


def _check_worth(component: Component) -> None:
    where = f"[[component]] {strict.quoted(component.name)}"
    if component.worth and component.kind != "model":
        raise ValueError(f"{where}: worth is of a model's predictions; set kind to model, or leave it out.")
    if bool(component.worth) != bool(component.currency):
        raise ValueError(f"{where}: currency and [[component.worth]] go together; give both, or neither.")
    for (actual, predicted), count in Counter((one.actual, one.predicted) for one in component.worth).items():
        if count > 1:
            cell = f"actual {strict.quoted(actual)}, predicted {strict.quoted(predicted)}"
            raise ValueError(f"{where} gives the worth of {cell} {count} times; keep one.")


def _check_lineage(component: Component, names: tuple[str, ...]) -> None:
    where = f"[[component]] {strict.quoted(component.name)}"
    if (component.version or component.lineage.versions) and component.kind != "model":
        raise ValueError(f"{where}: lineage and version are of a model; set kind to model, or leave them out.")
    for name in component.lineage.versions:
        if names and name not in names:  # without any, all of it was imported
            raise ValueError(f"{where}: lineage names an unknown source {strict.quoted(name)}; "
                             f"{strict.nearest(name, names)}.")  # fmt: skip
    for name, count in Counter(one.name for one in component.version).items():
        if count > 1:
            raise ValueError(f"{where} says {count} times what version {strict.quoted(name)} was made of; keep one.")


def _finds_components(source: Source) -> bool:
    """Whether its components are only known once it is read."""
    tables = (source.config, *getattr(source.config, "signal", ()))
    return source.common.discover or any(getattr(table, "component_from", None) for table in tables)


def _known_component(name: str, names: tuple[str, ...], where: str) -> None:
    if name not in names:
        raise ValueError(f"{where} names an unknown component {strict.quoted(name)}; {strict.nearest(name, names)}.")


_GOOD_OF = {
    "ratio": ("ratio", "none"),
    "histogram": ("below", "within", "none"),
    "confusion": ("accuracy", "none"),
    "moments": ("none",),
}


def _check_signal(signal: catalog.Signal) -> None:
    where = f"[[signal]] {strict.quoted(signal.name)}"
    if signal.width not in (BUCKET, HOUR, DAY):
        raise ValueError(f"{where}: width must be {BUCKET}, {HOUR} or {DAY} seconds.")
    if signal.good not in _GOOD_OF[signal.kind]:
        raise ValueError(f"{where}: good of a {signal.kind} must be {' or '.join(_GOOD_OF[signal.kind])}.")
    if signal.target is not None:
        objectives.check_target(signal.target, where)


def _zone(name: str, where: str = "") -> None:
    try:
        times.zone(name)
    except ValueError as refused:
        raise ValueError(f"{where}: timezone: {refused}" if where else f"timezone: {refused}") from None


def _distinct(kind: str, names: list[str]) -> None:
    if "" in names:
        raise ValueError(f"A [[{kind}]] has an empty name: give it one.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"There are two [[{kind}]] named {strict.quoted(twice[0])}: give each a name of its own.")
