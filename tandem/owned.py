"""What is a version's own: what its registry says, what a person says, and all that these lead to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tandem.joins import (
    Group,
    Match,
    Told,
    Trait,
    match,
    matches,
    runs,
    same_commit,
    short,
    traits_of,
    value_of,
)
from tandem.lineage import Known, Made, Part, Traffic, model_of, part
from tandem.records import Event

ORDER = ("release", "promotion", "training")
"""Kinds of events that number versions; what registers one says whose number it is."""


@dataclass(frozen=True)
class Anchor:
    """An event that its own source says is of the version, and why that counts."""

    pair: Told
    rule: str
    reason: str


@dataclass
class Owned:
    """One version of a model: what is known to be its own grows from link to link of its chain."""

    known: Known
    version: str
    groups: list[Group] = field(init=False)
    traits: list[Trait] = field(init=False)
    anchors: list[Anchor] = field(init=False, default_factory=list)
    joined: Group | None = field(init=False, default=None)
    """The training run that made it, with every source's word of it."""
    candidates: list[Group] = field(init=False, default_factory=list)
    """The runs of which one may have made it, where nothing tells which."""

    def __post_init__(self) -> None:
        self.groups = runs(self.told("training"))
        self.traits = self.made.traits() if self.made else []
        self._anchor()

    @property
    def made(self) -> Made | None:
        """What the configuration says of it."""
        return next((one for one in self.known.made if one.name == self.version), None)

    def told(self, *kinds: str) -> list[Told]:
        """The events of some kinds, in the order of the sources."""
        return [pair for pair in self.known.told if pair[1].kind in kinds]

    # -- whose number it is

    def _anchor(self) -> None:
        """What the first source that numbers it says of it; of the others what joins it, and no namesake."""
        mine = [pair for kind in ORDER for pair in self.told(kind) if pair[1].version == self.version]
        told = [pair for pair in mine if not self._fixed(pair[0])]
        if told:
            first, model = told[0], model_of(told[0][1])
            for pair in told:
                if pair[0] == first[0] and model in ("", model_of(pair[1]) or model):
                    self._take(Anchor(pair, "source", self._itself(pair[0])))
        for pair in mine:
            if reason := self.numbered_alike(pair[0]):
                self._take(Anchor(pair, "config", reason))
        rest = [pair for pair in mine if pair not in self._own()]
        while fits := [(pair, found) for pair in rest if (found := self.match(*pair))]:
            for pair, found in fits:
                self._take(Anchor(pair, found.rule, found.reason))
                rest.remove(pair)

    def _own(self) -> list[Told]:
        return [anchor.pair for anchor in self.anchors]

    def _take(self, anchor: Anchor) -> None:
        if anchor.pair not in self._own():
            self.anchors.append(anchor)
            self.traits += traits_of(*anchor.pair, called(*anchor.pair))

    def anchor(self, pair: Told) -> Anchor | None:
        """The event as an anchor; None where it is none."""
        return next((one for one in self.anchors if one.pair == pair), None)

    def _itself(self, source: str) -> str:
        return f"{source} itself says so of version {self.version}"

    @property
    def numbers(self) -> set[str]:
        """The sources whose number the version is: its registry's, else that of who counts its predictions."""
        own = {source for source, _ in self._own() if not self._fixed(source)}
        return own or {flow.source for flow in self.flows[:1]}

    @property
    def flows(self) -> list[Traffic]:
        """The predictions that carry its name."""
        return [one for one in self.known.traffic if one.version == self.version]

    def numbered_alike(self, source: str) -> str:
        """Why the configuration says that a source means this version by its name; "" where it does not."""
        if self._fixed(source):
            return f"the configuration says that all of {source} is version {self.version}"
        others = self.known.alike
        if source in others and source not in self.numbers and self.numbers & set(others):
            return f"the configuration says that {' and '.join(others)} number versions alike"
        return ""

    def _fixed(self, source: str) -> bool:
        return self.known.fixed.get(source) == self.version

    # -- what else is its own

    def match(self, source: str, event: Event) -> Match | None:
        """Why an event is of this version; a commit that several runs share tells none of them from another."""
        return next((one for one in matches(source, event, self.traits) if not self._shared(one)), None)

    def _shared(self, found: Match) -> bool:
        return found.identity == "commit" and found.rule != "config" and self.runs_of(found.value) > 1

    def runs_of(self, commit: str) -> int:
        """The most runs of a commit that one source tells apart."""
        of = [source for group in self.of_commit(commit) for source in group.sources]
        return max((of.count(source) for source in of), default=0)

    def of_commit(self, commit: str) -> list[Group]:
        """The runs of a commit."""
        return [group for group in self.groups if any(same_commit(commit, one) for one in group.commits())]

    def belongs(self, source: str, event: Event) -> tuple[str, str]:
        """(rule, reason) of an event of this version; ("", "") of any other, also of its namesakes."""
        anchor = self.anchor((source, event))
        if anchor is not None:
            return anchor.rule, anchor.reason
        found = self.match(source, event)
        if found is not None:
            return found.rule, found.reason
        alike = self.numbered_alike(source) if event.version == self.version else ""
        if alike:
            return "config", alike
        if event.version == self.version and source in self.numbers and self._of_model(source, event):
            return "source", self._itself(source)
        return "", ""

    def _of_model(self, source: str, event: Event) -> bool:
        """Whether an event may be of the registered model that the version is of in its source."""
        models = {model_of(told) for mine, told in self._own() if mine == source} - {""}
        return not models or model_of(event) in models

    def flow_belongs(self, flow: Traffic) -> tuple[str, str]:
        """The same of predictions."""
        if flow.source in self.numbers:
            return "source", self._itself(flow.source)
        alike = self.numbered_alike(flow.source)
        return ("config", alike) if alike else ("", "")

    def namesakes(self, *kinds: str) -> tuple[Part, ...]:
        """Events that carry its name, and nothing else of it."""
        return tuple(part(source, event, "", f"says version {self.version} too; a name alone joins nothing")
                     for source, event in self.told(*kinds) if event.version == self.version
                     and not self.belongs(source, event)[0] and not match(source, event, self.traits))  # fmt: skip

    def made_otherwise(self, group: Group) -> bool:
        """Whether its own source says that another run made this version, or that this run made another one."""
        for source, event in group.told:
            named = [one.value for one in self.traits if one.identity == "run" and one.source == source]
            if named and value_of(event, "run") not in named:
                return True
            if event.version not in ("", self.version) and source in self.numbers | set(self.known.alike):
                return True
        return False

    def take_run(self, group: Group) -> None:
        """Count what a joined training run says as the version's own."""
        for source, event in group.told:
            self.traits += traits_of(source, event, called(source, event))

    # -- what is said of it

    def says(self, name: str) -> list[tuple[str, str]]:
        """(text, who says it) of the commit or the data_version: a person, then the run, then the registry."""
        found = [(str(getattr(self.made, name)), "the configuration")] if self.made and getattr(self.made, name) else []
        told = [*(self.joined.told if self.joined else ()), *self._own()]
        found += [(str(getattr(event, name)), called(source, event)) for source, event in told if getattr(event, name)]
        if not found and self.candidates:
            said = [{str(getattr(event, name)) for _, event in group.told} - {""} for group in self.candidates]
            if said[0] and all(one == said[0] for one in said):
                found = [(min(said[0]), f"each of the {len(said)} runs that may have made it")]
        first: dict[str, str] = {}
        for text, by in found:
            first.setdefault(text, by)
        return list(first.items())

    def aliases(self) -> tuple[str, ...]:
        """The aliases that point at it, each as its newest promotion in its registry says."""
        own = {(source, model_of(event)) for source, event in self._own()}
        return tuple(sorted({alias for (source, model, alias), (_, version) in pointed(self.known).items()
                             if version == self.version and (source, model) in own}))  # fmt: skip


def pointed(known: Known) -> dict[tuple[str, str, str], tuple[int, str]]:
    """(when, version) that each (source, model, alias) points at."""
    found: dict[tuple[str, str, str], tuple[int, str]] = {}
    for source, event in known.told:
        alias = dict(event.labels).get("alias", "")
        if event.kind == "promotion" and alias:
            place, at = (source, model_of(event), alias), (event.ts_latest or event.ts, event.version)
            found[place] = max(at, found.get(place, at))
    return found


def called(source: str, event: Event) -> str:
    """What an event is called where it is named as the one who says something."""
    alias = dict(event.labels).get("alias", "")
    what = {
        "training": f"training run {short(value_of(event, 'run'))}",
        "release": f"version {short(event.version)}",
        "promotion": f"promotion {alias or short(event.version)}",
    }.get(event.kind, f"{event.kind} {short(event.key)}")
    return f"{what} of {source}"


def sources(groups: Collection[Group]) -> list[str]:
    """Every source that tells of some runs, each once, in their order."""
    return list(dict.fromkeys(source for group in groups for source, _ in group.told))
