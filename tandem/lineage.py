"""Where a version of a model comes from: commit, training run, data, validation, promotion, serving, and each join.

Everything here follows from the events that are given. What only carries the same name is shown, and never joined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tandem.joins import IDENTITIES, Told, Trait, configured, value_of
from tandem.records import Event

Step = Literal["commit", "training", "data", "validation", "promotion", "serving"]
STEPS: tuple[Step, ...] = ("commit", "training", "data", "validation", "promotion", "serving")
State = Literal["joined", "stated", "ambiguous", "named", "missing"]
"""joined: who knows it tells of it; stated: it is named, and nobody tells of it; ambiguous: it may be any of several;
named: only a name is the same, which joins nothing; missing: nothing is known."""
NOUNS = {
    "commit": "the commit", "build": "builds", "training": "training runs", "data_version": "data versions",
    "validation": "validations", "release": "registered versions", "promotion": "promotions",
    "deployment": "deployments",
}  # fmt: skip
MOST = 12
"""Parts that a link lists; there may be more."""


@dataclass(frozen=True)
class Made:
    """What a person knows of how one version of a model was made; it goes before what any source says."""

    name: str
    run: str = ""
    commit: str = ""
    data_version: str = ""
    digest: str = ""
    author: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if not (self.run or self.commit or self.data_version or self.digest):
            raise ValueError("say what made it: run, commit, data_version or digest.")

    @property
    def said(self) -> str:
        """Who wrote it down, and why."""
        return ": ".join(one for one in (self.author, self.reason) if one)

    def traits(self) -> list[Trait]:
        """What tells it from others."""
        return [configured(one, value) for one in IDENTITIES if (value := str(getattr(self, one)))]


@dataclass(frozen=True)
class Numbering:
    """The sources that number the versions of a model alike: version 7 of one is version 7 of the others."""

    versions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.versions) == 1:
            raise ValueError("versions names the sources that number alike, so it names at least two.")


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many predictions of the window a version answered, as a source counts them; `since` and `until` bound it."""

    source: str
    version: str
    since: int
    until: int
    n: int


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of one model as of a load.

    `told` is in the order of the sources. `kinds` counts the events of each kind that there are of the model, also
    those that are not in `told`. `fixed` has the version that the configuration of a source says everything of it is
    about.
    """

    component: str
    told: tuple[Told, ...]
    kinds: Mapping[str, int]
    made: tuple[Made, ...] = ()
    alike: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()
    aliases: tuple[str, ...] = ()
    """Aliases that mean that a version is to serve."""
    most: int = 0
    """Runs of one commit that were read at most: there may be more where there are so many; 0: all were."""

    def counted(self, runs: int) -> str:
        """How many runs there are of one commit, in words."""
        return f"{runs} or more runs" if self.most and runs >= self.most else f"{runs} runs"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing in a link, as one source tells of it; `reason` is why it belongs there, `rule` "" where it does not."""

    kind: str
    source: str
    key: str
    ts: int
    title: str
    outcome: str
    version: str
    run: str
    commit: str
    digest: str
    data_version: str
    url: str
    rule: str
    reason: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """One step of the chain. `value` is what it is: a sha, a run id, data versions, an alias; "" where not known.

    `namesakes` carry the same name and are not joined; `more` counts parts that are not listed.
    """

    step: Step
    state: State
    value: str
    reason: str
    parts: tuple[Part, ...] = ()
    namesakes: tuple[Part, ...] = ()
    conflicts: tuple[str, ...] = ()
    more: int = 0


Certainty = Literal["known", "partly", "unknown", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that would have to be the same to make the version again, and whether it is known.

    `value` is what is known of it, `reason` who says so or what is missing; `pairs` are parameters or labels by name.
    """

    name: str
    state: Certainty
    value: str
    reason: str
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """Where one version comes from. `registry` is the source whose version it is, "" where none tells of it."""

    component: str
    version: str
    chosen: str
    """Why it is this version that is shown."""
    registry: str
    registered: int | None
    aliases: tuple[str, ...]
    links: tuple[Link, ...]
    reproducible: tuple[Item, ...]
    said: str = ""
    """Who wrote down in the configuration how it was made, and why."""

    def link(self, step: Step) -> Link:
        """The link of a step."""
        return next(one for one in self.links if one.step == step)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What would have to be known to make the version again, and is not."""
        return tuple(one.name for one in self.reproducible if one.state != "known")


# -- which version


def versions(known: Known) -> list[str]:
    """The versions that are registered, the newest first; then those that only others name."""
    when: dict[str, tuple[bool, int]] = {}
    for _, event in known.told:
        if event.version and event.kind in ("release", "promotion", "training", "deployment", "rollback"):
            now = (event.kind == "release", event.ts)
            when[event.version] = max(now, when.get(event.version, now))
    for one in (*(made.name for made in known.made), *(flow.version for flow in known.traffic if flow.version)):
        when.setdefault(one, (False, 0))
    return sorted(when, key=lambda name: (*when[name], name), reverse=True)


def serving(known: Known) -> tuple[str, str]:
    """(the version that serves, how that is known); ("", why not) where there is none."""
    flows = [one for one in known.traffic if one.version]
    if flows:
        last = max(flows, key=lambda one: (one.until, one.n, one.version))
        return last.version, f"it answered the newest predictions of this window that {last.source} counts"
    aliased = [(event.ts, event.version, dict(event.labels).get("alias", ""), source)
               for source, event in known.told if event.kind == "promotion" and event.version
               and dict(event.labels).get("alias", "").lower() in (*known.aliases, "")]  # fmt: skip
    if aliased:
        _, version, alias, source = max(aliased)
        return version, f"{source} promoted it last{f' as {alias}' if alias else ''}"
    released = [(event.ts, event.version, source) for source, event in known.told
                if event.kind == "release" and event.version]  # fmt: skip
    if released:
        _, version, source = max(released)
        return version, f"{source} registered it last, and nothing tells which version serves"
    left = versions(known)
    return (left[0], "no registry tells of a version") if left else ("", "no source tells of a version of this model")


# -- parts


def part(source: str, event: Event, rule: str, reason: str) -> Part:
    """An event as a part of a link."""
    return Part(
        event.kind, source, event.key, event.ts, event.title, event.outcome, event.version, value_of(event, "run"),
        event.commit, event.digest, event.data_version, event.url, rule, reason, event.labels,
    )  # fmt: skip


def flowing(flow: Traffic, rule: str, reason: str) -> Part:
    """Predictions as a part of a link."""
    title = f"{flow.n:,} predictions of this window"
    return Part("predictions", flow.source, "", flow.since, title, "good", flow.version, "", "", "", "", "", rule,
                reason)  # fmt: skip


def cut(link: Link) -> Link:
    """A link with the first MOST parts of a long list, and how many more there are."""
    more = max(0, len(link.parts) - MOST) + max(0, len(link.namesakes) - MOST)
    return replace(link, parts=link.parts[:MOST], namesakes=link.namesakes[:MOST], more=more) if more else link


def model_of(event: Event) -> str:
    """The registered model that an event is of, "" where it does not say."""
    return dict(event.labels).get("model", "")


def split(texts: str) -> list[str]:
    """The data versions that one text names: several are joined by commas."""
    return [one for text in texts.split(",") if (one := text.strip())]
