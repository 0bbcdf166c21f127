"""The links of a version's chain beside its training run: commit, data, validation, promotion, serving."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.joins import Told, hexes, match, same_commit, short
from tandem.lineage import Link, Part, Step, cut, flowing, part, serving, split
from tandem.owned import Owned, called, pointed

NOUNS = {"validation": "validation", "promotion": "promotion", "deployment": "deployment"}


# -- commit


def commit(own: Owned, training: Link) -> Link:
    """The commit, and who tells of it: a history, or the builds of it."""
    stated = own.says("commit")
    if not stated:
        if training.state == "ambiguous":
            return Link("commit", "ambiguous", "", "the runs that may have made it state different commits, or none")
        who = "its training run states no commit" if own.joined else "no run is joined, and no registry states one"
        return Link("commit", "missing", "", f"no commit is known: {who}")
    first, by = stated[0]
    sha = max((one for one, _ in stated if same_commit(one, first)), key=len, default=first)
    conflicts = tuple(f"{by} says commit {short(first)}, but {who} says {short(other)}"
                      for other, who in stated if other != first and not same_commit(other, first))  # fmt: skip
    rule = "config" if by == "the configuration" else "commit"
    said = f"joined by commit {short(sha)}, named by {by}"
    parts = tuple(part(*pair, rule, said) for pair in _telling(own, sha))
    if parts:
        return cut(Link("commit", "joined", sha, said, parts, (), conflicts))
    said = f"{by} names it, and no source tells of the commit itself"
    return Link("commit", "stated", sha, said, (), (), conflicts)


def _telling(own: Owned, sha: str) -> list[Told]:
    """Who tells of a commit: a history, else the first build of it in each source."""
    told = [pair for pair in own.told("commit", "build") if same_commit(pair[1].commit, sha)]
    history = [pair for pair in told if pair[1].kind == "commit"]
    first: dict[str, Told] = {}
    for pair in sorted(told, key=lambda pair: pair[1].ts):
        first.setdefault(pair[0], pair)
    return history or list(first.values())


# -- data


def data(own: Owned, training: Link) -> Link:
    """The data that it was trained on, and who tells when that was made."""
    stated = own.says("data_version")
    if not stated:
        return _undated(own, training)
    texts, by = stated[0]
    others = [(other, who) for other, who in stated[1:] if set(split(other)) != set(split(texts))]
    conflicts: tuple[str, ...] = ()
    if by == "the configuration":
        conflicts = tuple(f"{by} says data {short(texts)}, but {who} says {short(other)}" for other, who in others)
    words = "" if conflicts else "".join(f"; {who} calls it {short(other)}" for other, who in others)
    told = stated[:1] if conflicts else stated
    parts = tuple(dict.fromkeys(one for some, who in told for text in split(some) for one in _made(own, text, who)))
    namesakes = tuple(_named_alike(pair, text) for text in split(texts) if not hexes(text)
                      for pair in own.told("data_version") if pair[1].data_version == text)  # fmt: skip
    if parts:
        return cut(Link("data", "joined", texts, parts[0].reason + words, parts, namesakes, conflicts))
    why = "no source tells when it was made" if not namesakes else "a name alone joins no data version"
    return cut(Link("data", "stated", texts, f"{by} names it, and {why}{words}", (), namesakes, conflicts))


def _named_alike(pair: Told, text: str) -> Part:
    return part(*pair, "", f"is called {short(text)} too; a name alone joins nothing")


def _made(own: Owned, text: str, by: str) -> list[Part]:
    rule, said = "config" if by == "the configuration" else "digest", f"joined by digest {short(text)}, named by {by}"
    return [part(source, event, rule, said) for source, event in own.told("data_version")
            if hexes(text) and hexes(text) in (hexes(event.data_version), hexes(event.digest))]  # fmt: skip


def _undated(own: Owned, training: Link) -> Link:
    """The data where nobody names it: what was made at the commit of the run, where that is one thing."""
    if own.joined is None:
        if training.state == "ambiguous":
            return Link("data", "ambiguous", "", "the runs that may have made it name different data, or none")
        return Link("data", "missing", "", "no data version is known, because no training run is")
    commits = own.joined.commits()
    at = [pair for pair in own.told("data_version") if any(same_commit(pair[1].commit, one) for one in commits)]
    if not at:
        return Link("data", "missing", "", "its training run names no data version")
    said = f"joined by commit {short(commits[0])}, named by {called(*own.joined.told[0])}"
    if len(at) == 1:
        return Link("data", "joined", at[0][1].data_version, said, (part(*at[0], "commit", said),))
    parts = tuple(part(*pair, "", f"may be it: {said}") for pair in at)
    said = f"its run names no data, and {len(at)} data versions are of its commit {short(commits[0])}"
    return cut(Link("data", "ambiguous", "", said, parts))


# -- what became of it


def validation(own: Owned) -> Link:
    """Every validation of the version, of its run, or of the data that it was made of."""
    return _listed(own, "validation", ("validation",))


def promotion(own: Owned) -> Link:
    """Every time that the version was promoted."""
    return _listed(own, "promotion", ("promotion",))


def served(own: Owned) -> Link:
    """Where it was deployed, and the predictions of the window that it made."""
    link = _listed(own, "serving", ("deployment", "rollback", "traffic"))
    parts = list(link.parts) if link.state == "joined" else []
    named = list(link.namesakes)
    for flow in own.flows:
        rule, reason = own.flow_belongs(flow)
        said = f"counts predictions of a version {own.version}; a name alone joins nothing"
        (parts if rule else named).append(flowing(flow, rule, reason or said))
    conflicts = _elsewhere(own)
    if parts:
        parts.sort(key=lambda one: (one.kind != "predictions", -one.ts))
        value = parts[0].title or parts[0].key
        return cut(Link("serving", "joined", value, parts[0].reason, tuple(parts), tuple(named), conflicts))
    if link.state == "missing" and not own.flows and any(one.version for one in own.known.traffic):
        said = f"no prediction of this window carries version {own.version}, and {link.reason}"
        return Link("serving", "missing", "", said, (), (), conflicts)
    if link.state == "ambiguous" or not own.flows:
        return cut(Link(link.step, link.state, "", link.reason, link.parts, tuple(named), conflicts))
    who = " and ".join(dict.fromkeys(one.source for one in own.flows))
    said = (f"{who} counts predictions of a version {own.version}, and a name alone joins nothing: [component.lineage] "
            "versions says which sources number alike")  # fmt: skip
    return cut(Link("serving", "named", "", said, (), tuple(named), conflicts))


def _elsewhere(own: Owned) -> tuple[str, ...]:
    """Serving aliases that point at another version while the newest predictions are this one's."""
    flows = [one for one in own.known.traffic if one.version and own.flow_belongs(one)[0]]
    if not flows or serving(own.known)[0] != own.version:
        return ()
    numbers = own.numbers
    return tuple(
        f"{alias} of {source} points at version {version}, but the newest predictions are of version {own.version}"
        for (source, _, alias), (_, version) in sorted(pointed(own.known).items())
        if source in numbers and alias.lower() in own.known.aliases and version not in ("", own.version)
    )


def _listed(own: Owned, step: Step, kinds: tuple[str, ...]) -> Link:
    """Everything of some kinds that belongs to the version, the newest first."""
    parts: list[Part] = []
    shared: list[Part] = []
    for source, event in sorted(own.told(*kinds), key=lambda pair: -pair[1].ts):
        rule, reason = own.belongs(source, event)
        if not rule and event.kind == "validation":
            rule, reason = _of_data(own, event.data_version)
        if rule:
            parts.append(part(source, event, rule, reason))
        elif found := match(source, event, own.traits):
            runs = f"{own.known.counted(own.runs_of(found.value))} are of its commit {short(found.value)}"
            shared.append(part(source, event, "", f"may be of it: {runs}"))
    namesakes = own.namesakes(*kinds)
    if parts:
        return cut(Link(step, "joined", _value(step, parts), parts[0].reason, tuple(parts), namesakes))
    if shared:
        said = f"{shared[0].reason.partition(': ')[2]}, so the commit does not tell which version it is"
        return cut(Link(step, "ambiguous", "", said, tuple(shared), namesakes))
    if namesakes:
        said = f"only the name {own.version} is the same, which joins nothing"
        return cut(Link(step, "named", "", said, (), namesakes))
    return Link(step, "missing", "", _none(own, kinds[0]))


def _of_data(own: Owned, texts: str) -> tuple[str, str]:
    """(rule, reason) of a validation of the data that the version was made of."""
    mine = {hexes(text) for texts, _ in own.says("data_version") for text in split(texts)} - {""}
    found = next((text for text in split(texts) if hexes(text) in mine), "")
    return ("digest", f"joined by digest {short(found)}: it judged data that the version was made of") if found else (
        "", "")  # fmt: skip


def _none(own: Owned, kind: str) -> str:
    count, noun = own.known.kinds.get(kind, 0), NOUNS[kind]
    if not count:
        return f"no source tells {noun}s of this model"
    of = "this run" if kind == "validation" and own.joined else f"version {own.version}"
    return f"no {noun} is known of {of}; the model has {count} of other versions, or of none"


def _value(step: Step, parts: Sequence[Part]) -> str:
    if step == "validation":
        counts = [(sum(one.outcome == outcome for one in parts), word)
                  for outcome, word in (("good", "passed"), ("bad", "failed"))]  # fmt: skip
        return ", ".join(f"{n} {word}" for n, word in counts if n) or "no verdict"
    if step == "promotion":
        aliases = dict.fromkeys(dict(one.labels).get("alias", "") for one in parts)
        return ", ".join(alias for alias in aliases if alias) or "promoted"
    return parts[0].title or parts[0].key
