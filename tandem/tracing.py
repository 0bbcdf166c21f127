"""The chain of one version: which training run made it, and from there its commit, data and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tandem import following, reproducible
from tandem.joins import Group, Match, Told, matches, same_commit, short, value_of
from tandem.lineage import Chain, Known, Link, cut, part, serving
from tandem.owned import Owned, called, sources

RULES = ("config", "digest", "run", "commit")
NAMED_FIRST = ("run", "digest", "commit")
"""Of what a person names of a version, the first that leads to a run counts."""


def chain(known: Known, version: str = "") -> Chain | None:
    """Where a version comes from, the one that serves if none is named; None where no version is known."""
    chosen = "it was asked for"
    if not version:
        version, chosen = serving(known)
    if not version:
        return None
    own = Owned(known, version)
    training = trained(own)
    commit, data = following.commit(own, training), following.data(own, training)
    registry = own.anchors[0].pair[0] if own.anchors else ""
    releases = [one.pair[1].ts for one in own.anchors if one.pair[1].kind == "release"]
    links = (commit, training, data, following.validation(own), following.promotion(own), following.served(own))
    return Chain(
        known.component, version, chosen, registry, min(releases, default=None), own.aliases(), links,
        reproducible.items(own, commit, training, data), own.made.said if own.made else "",
    )  # fmt: skip


@dataclass(frozen=True)
class _Led:
    """A run that a rule leads to, and the match that did."""

    group: Group
    why: Match


def trained(own: Owned) -> Link:
    """The training run; what it says becomes the version's own."""
    led = _by_rule(own)
    if not led or _runs_elsewhere(own, led):
        return _untold(own, led)
    found = next(iter(led.values()))
    conflicts = _disagreeing(own, led)
    if len(found) > 1:
        own.candidates = [one.group for one in found]
        parts = tuple(part(*pair, "", f"may be it: {one.why.reason}") for one in found for pair in one.group.told)
        which = {one.why.value for one in found}
        said = f"are of the same {_identity(found[0].why)}" if len(which) == 1 else "are said to have made it"
        said = f"{own.known.counted(len(found))} {said}; nothing tells which of them it was"
        return cut(Link("training", "ambiguous", "", said, parts, (), conflicts))
    [one] = found
    parts = tuple(part(*pair, *_reason(own, pair, one.why)) for pair in one.group.told)
    witnesses = _witnesses(own, one.group)
    own.joined = Group((*one.group.told, *(pair for pair, _ in witnesses)))
    own.take_run(own.joined)
    parts += tuple(part(*pair, why.rule, why.reason) for pair, why in witnesses)
    return cut(Link("training", "joined", one.group.run, parts[0].reason, parts, (), conflicts))


def _runs_elsewhere(own: Owned, led: Mapping[str, Sequence[_Led]]) -> bool:
    """Whether a person names a run that no source tells of: then it is none of those that are told."""
    named = own.made is not None and bool(own.made.run)
    return named and not any(one.why.identity == "run" for one in led.get("config", ()))


def _identity(why: Match) -> str:
    said = f"{'run id' if why.identity == 'run' else why.identity} {short(why.value)}"
    return f"{said}, which the configuration names" if why.rule == "config" else said


def _reason(own: Owned, pair: Told, why: Match) -> tuple[str, str]:
    """(rule, reason) of a run; of one that alone says itself which version it made, that it does."""
    anchor = own.anchor(pair)
    if anchor is not None and why.by == called(*pair):
        return anchor.rule, anchor.reason
    return why.rule, why.reason


def _by_rule(own: Owned) -> dict[str, list[_Led]]:
    """The runs that each rule leads to, the rules in their order."""
    found: dict[str, list[_Led]] = {}
    for group in own.groups:
        for why in (one for pair in group.told for one in matches(*pair, own.traits)):
            mine = found.setdefault(why.rule, [])
            if all(one.group is not group for one in mine) and not (why.rule == "commit" and own.made_otherwise(group)):
                mine.append(_Led(group, why))
    if "config" in found:
        best = min(NAMED_FIRST.index(one.why.identity) for one in found["config"])
        found["config"] = [one for one in found["config"] if NAMED_FIRST.index(one.why.identity) == best]
    return {rule: found[rule] for rule in RULES if found.get(rule)}


def _disagreeing(own: Owned, led: Mapping[str, Sequence[_Led]]) -> tuple[str, ...]:
    """What later rules lead to against the first, and runs that are named and are not what was joined."""
    first, *later = led.values()
    chosen = [one.group for one in first]
    why = first[0].why
    by = "the configuration" if why.rule == "config" else why.by
    said = f"{by} leads to run {', '.join(short(group.run) for group in chosen[:3])}"
    found = []
    for others in later:
        if not any(one.group is group for one in others for group in chosen):
            one = others[0]
            found.append(f"{said}, but {_identity(one.why)}, named by {one.why.by}, to run {short(one.group.run)}")
    ids = {value_of(event, "run") for group in chosen for _, event in group.told}
    told = {value_of(event, "run") for group in own.groups for _, event in group.told}
    for trait in own.traits:
        against = why.rule == "config" or trait.source in sources(chosen)
        if trait.identity == "run" and against and trait.value not in ids | told:
            found.append(f"{said}, but {trait.by} names run {short(trait.value)}")
    return tuple(dict.fromkeys(found))


def _witnesses(own: Owned, group: Group) -> list[tuple[Told, Match]]:
    """Other sources' word of the joined run by its commit, from each that knows one run of it only."""
    found = []
    for commit in dict.fromkeys(group.commits()):
        of = own.of_commit(commit)
        if own.runs_of(commit) > 1:
            continue
        for other in of:
            for source, event in other.told:
                if source not in group.sources and same_commit(event.commit, commit) and not own.made_otherwise(other):
                    found.append(((source, event), Match("commit", "commit", commit, called(*group.told[0]))))
    return found


def _untold(own: Owned, led: Mapping[str, Sequence[_Led]]) -> Link:
    """The link where nobody tells of the run that is named, or nothing names one."""
    namesakes = own.namesakes("training")
    named = next((one for one in own.traits if one.identity == "run"), None)
    if named is not None:
        said = f"{named.by} names run {short(named.value)}, and no source tells of that run"
        others = tuple(
            f"{named.by} names run {short(named.value)}, but {_identity(found[0].why)}, named by {found[0].why.by}, "
            f"leads to run {short(found[0].group.run)}" for rule, found in led.items() if rule != "config"
        )  # fmt: skip
        return cut(Link("training", "stated", named.value, said, (), namesakes, others))
    count = own.known.kinds.get("training", 0)
    if not count:
        return Link("training", "missing", "", "no source tells training runs of this model")
    lead = ", ".join(dict.fromkeys(f"{one.identity} {short(one.value)}" for one in own.traits))
    why = f"no run has its {lead}" if lead else f"nothing names a run, a commit or a digest of version {own.version}"
    said = f"none of {count} training {'run' if count == 1 else 'runs'} is known to have made it: {why}"
    return cut(Link("training", "named" if namesakes else "missing", "", said, (), namesakes))
