"""Changes and what became of them: one change from two sources, and its links to incidents and rollbacks.

Everything here follows from the events and the rules that are given, so it is the same for any window, for any order
of arrival, and as of any load. No link is a guess without a name: each states the rule that made it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from tandem.changes import IDENTITIES, Apart, Change, Told, differs, named, same
from tandem.records import DAY, HOUR, Event

HISTORY = 30 * DAY
"""How far back a version may lie that a rollback returns to, beyond the one before; or one that an incident names."""
EXPLICIT = ("deployment", "deployment_id", "deployment_url", "caused_by", "rolls_back")
"""Labels by which an incident or a rollback names a deployment: its key, source:key or address."""
FIXED = ("fixed_by", "fix")
"""Labels by which an incident names the deployment that ended it."""
UNPLANNED = ("hotfix*", "*/hotfix*", "revert*", "rollback*", "roll back*")
ALIASES = ("champion", "production", "prod", "live")
STANDING = "standing"
"""The outcome of what ran when the records begin: other changes may return to it; it is no change itself."""
RAN = ("good", STANDING)
OTHER_CHANGES = ("config", "infrastructure", "restart", "traffic", "schema_change")
"""Changes that may have caused an incident as well as the deployment before them."""

Rule = Literal["config", "named", "identity", "time", "returned", "rollback", "hotfix", "breach"]
Kind = Literal["incident", "rollback", "hotfix", "breach"]


@dataclass(frozen=True)
class Amendment:
    """What a person knows better: the deployment that an incident or a rollback belongs to, or that it belongs to none.

    Objects are named by their key, or by "source:key". `fix` is the deployment that was made because of the incident.
    """

    incident: str = ""
    rollback: str = ""
    deployment: str = ""
    fix: str = ""
    unrelated: bool = False
    author: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if bool(self.incident) == bool(self.rollback):
            raise ValueError('name either incident = "KEY" or rollback = "KEY".')
        if self.unrelated == bool(self.deployment or self.fix):
            raise ValueError('say either deployment = "KEY" (or fix = "KEY") or unrelated = true.')
        if self.fix and self.rollback:
            raise ValueError("fix belongs to an incident; a rollback is a fix itself.")

    @property
    def said(self) -> str:
        """Who said it, and why."""
        by = f" by {self.author}" if self.author else ""
        return f"set in the configuration{by}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True)
class Rules:
    """How delivery is read: the table [delivery] of the configuration.

    `incident_hours`: so soon after a deployment an incident is taken for its own, where nothing else changed between.
    `breach_days`: so long a promotion answers for the budget. `unplanned`: globs, of any case, of what a deployment
    made because of an incident is called (title, version, branch, trigger). `alerts`: whether alerts count as
    incidents. `aliases`: those that, in a registry, mean that a version is to serve.
    """

    incident_hours: int = 24
    breach_days: int = 7
    alerts: bool = False
    unplanned: tuple[str, ...] = UNPLANNED
    aliases: tuple[str, ...] = ALIASES
    link: tuple[Amendment, ...] = field(default=())
    apart: tuple[Apart, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.incident_hours < 1 or self.breach_days < 1:
            raise ValueError("incident_hours and breach_days must be at least 1.")


@dataclass(frozen=True, slots=True)
class Trouble:
    """An incident of one component; `ended` None: it goes on."""

    component: str
    environment: str
    opened: int
    ended: int | None
    told: Told
    event: Event

    @property
    def names(self) -> set[str]:
        """All that it may be called by."""
        return {self.told[1], named(*self.told), self.event.url} - {""}


@dataclass(frozen=True, slots=True)
class Link:
    """Why a change is said to have failed, or that it is said not to have.

    `cause` names the incident, rollback, hotfix or breach; `change` the change it belongs to, "" where it is said to
    belong to none. `rule` made it; `reason` says so in words. `until` is when that trouble was over.
    """

    kind: Kind
    cause: str
    change: str
    component: str
    at: int
    until: int | None
    rule: Rule
    reason: str
    title: str = ""
    url: str = ""


# -- links


def incidents(events: Sequence[tuple[str, Event]], rules: Rules) -> list[Trouble]:
    """The incidents of each component, oldest first."""
    kinds = ("incident", "alert") if rules.alerts else ("incident",)
    found = [
        Trouble(component, event.environment, event.ts, event.ended, (source, event.key), event)
        for source, event in events if event.kind in kinds and event.outcome != "excluded"
        for component in event.components
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.opened, one.component, one.told))


def unknown(made: Sequence[Change], troubles: Sequence[Trouble], rules: Rules) -> list[str]:
    """What the corrections name and nobody has told of, in their order: a correction of it changes nothing."""
    known = {name for one in made for name in one.names} | {name for one in troubles for name in one.names}
    said = [name for one in rules.link for name in (one.incident, one.rollback, one.deployment, one.fix)]
    said += [name for one in rules.apart for name in one.changes]
    return [name for name in dict.fromkeys(said) if name and name not in known]


def links(made: Sequence[Change], troubles: Sequence[Trouble], others: Sequence[Event], rules: Rules) -> list[Link]:
    """Every link, oldest cause first; `others` are what else may have caused an incident (OTHER_CHANGES)."""
    lanes = _lanes(made)
    by_name: dict[tuple[str, str], Change] = {(one.component, name): one for one in made for name in one.names}
    anywhere = {name: one for one in reversed(made) for name in one.names}
    found = [_of_incident(one, lanes, by_name, anywhere, others, rules) for one in troubles]
    for lane in lanes.values():
        for place in range(len(lane.changes)):
            found.append(_of_change(place, lane, by_name, rules))
    return sorted((one for one in found if one), key=lambda one: (one.at, one.component, one.kind, one.cause))


@dataclass
class _Lane:
    """The changes of one component in one environment, oldest first, and the places of each digest, commit, version."""

    changes: list[Change]
    starts: list[int]
    places: dict[tuple[str, str], list[int]]


def _lanes(made: Sequence[Change]) -> dict[tuple[str, str], _Lane]:
    found: dict[tuple[str, str], _Lane] = {}
    for one in made:
        if one.outcome == "excluded":
            continue
        lane = found.setdefault((one.component, one.environment), _Lane([], [], {}))
        for name in IDENTITIES:
            if value := getattr(one, name):
                lane.places.setdefault((name, value), []).append(len(lane.changes))
        lane.changes.append(one)
        lane.starts.append(one.ts)
    return found


def _of_incident(
    one: Trouble, lanes: Mapping[tuple[str, str], _Lane], by_name: Mapping[tuple[str, str], Change],
    anywhere: Mapping[str, Change], others: Sequence[Event], rules: Rules,
) -> Link | None:  # fmt: skip
    def linked(change: Change | None, rule: Rule, reason: str) -> Link:
        name, component = (change.name, change.component) if change else ("", one.component)
        event = one.event
        return Link("incident", named(*one.told), name, component, one.opened, one.ended, rule, reason, event.title,
                    event.url)  # fmt: skip

    said = next((s for s in rules.link if s.incident in one.names and (s.unrelated or s.deployment)), None)
    if said is not None:
        known = None if said.unrelated else by_name.get((one.component, said.deployment))
        known = known or (None if said.unrelated else anywhere.get(said.deployment))
        return linked(known, "config", said.said) if said.unrelated or known else None
    lane = lanes.get((one.component, one.environment))
    if lane is None:
        return None
    label, change = _explicit(one.event, one.component, by_name)
    if change is not None:
        return linked(change, "named", f"its {label} names the deployment")
    before = [c for c in lane.changes[: bisect_right(lane.starts, one.opened)] if c.outcome != STANDING]
    alike = next((c for c in reversed(before) if one.opened - c.ts <= HISTORY and same(one.event, c)), None)
    if alike is not None:
        return linked(alike, "identity", f"it names {_identity(one.event, alike)}")
    last = before[-1] if before else None
    if last is None or differs(one.event, last) or one.opened - last.running > rules.incident_hours * HOUR:
        return None
    if any(last.ts < other.ts <= one.opened and one.component in other.components
           and other.environment == one.environment for other in others):  # fmt: skip
        return None
    return linked(last, "time", f"opened {_span(one.opened - last.running)} after it, with no other change between")


def _explicit(event: Event, component: str, by_name: Mapping[tuple[str, str], Change]) -> tuple[str, Change | None]:
    for label, value in event.labels:
        if label in EXPLICIT and (component, value) in by_name:
            return f"label {label}", by_name[component, value]
    if event.kind != "rollback" and event.url and (component, event.url) in by_name:
        return "address", by_name[component, event.url]
    return "", None


def _identity(event: Event, change: Change) -> str:
    for name in ("digest", "commit", "version"):
        if getattr(event, name) and getattr(change, name):
            return f"{name} {getattr(change, name)[:20]}"
    return "the same"


def _span(seconds: int) -> str:
    if seconds < 0:
        return "before its end,"
    return f"{seconds // HOUR} h {seconds % HOUR // 60} min" if seconds >= HOUR else f"{seconds // 60} min"


def _of_change(place: int, lane: _Lane, by_name: Mapping[tuple[str, str], Change], rules: Rules) -> Link | None:
    """What a change says of the one before it: that it undid or mended it."""
    one = lane.changes[place]
    if one.outcome in ("bad", STANDING):  # it undid nothing
        return None

    def linked(kind: Kind, change: Change, rule: Rule, reason: str) -> Link:
        over = one.running if one.outcome == "good" else None
        return Link(kind, one.name, change.name, one.component, one.ts, over, rule, reason, one.title,
                    next(iter(one.urls), ""))  # fmt: skip

    said = next((s for s in rules.link if s.rollback in one.names and s.rollback), None)
    if said is not None:
        known = by_name.get((one.component, said.deployment))
        if said.unrelated:
            return Link("rollback", one.name, "", one.component, one.ts, None, "config", said.said, one.title)
        return linked("rollback", known, "config", said.said) if known else None
    if one.kind == "rollback":
        label, change = _explicit(_as_event(one), one.component, by_name)
        if change is not None:
            return linked("rollback", change, "named", f"its {label} names the deployment")
    before = lane.changes[place - 1] if place and lane.changes[place - 1].outcome != STANDING else None
    back = _returned(place, lane)
    if back is not None:
        return linked("rollback", back[0], "returned", f"it went back to {_called(back[1])}, which ran before it")
    if one.kind == "rollback" and before is not None and not same(one, before):
        return linked("rollback", before, "rollback", "it is a rollback, and no other change lies between")
    glob = unplanned(one, rules)
    if glob and before is not None and one.ts - before.running <= rules.incident_hours * HOUR:
        return linked("hotfix", before, "hotfix", f'the next change, {_span(one.ts - before.running)} later, is '
                      f'called like "{glob}"')  # fmt: skip
    return None


def _as_event(change: Change) -> Event:
    return Event(change.kind, change.told[0][1], change.ts, labels=change.labels)


def _returned(place: int, lane: _Lane) -> tuple[Change, Change] | None:
    """(what a change undid, what it went back to): it is of something that ran before what it replaced.

    What it replaced may have followed it however long ago; anything older must have begun within HISTORY.
    """
    one = lane.changes[place]
    undone = _ran_before(place, lane, None)
    if undone is None or not differs(one, lane.changes[undone]):
        return None
    previous = _ran_before(undone, lane, lane.changes[undone])
    known = {at for name in IDENTITIES for at in lane.places.get((name, getattr(one, name)), ()) if at < undone}
    back = [at for at in known if same(one, lane.changes[at]) and lane.changes[at].outcome in RAN
            and (at == previous or one.ts - lane.changes[at].ts <= HISTORY)]  # fmt: skip
    return (lane.changes[undone], lane.changes[max(back)]) if back else None


def _ran_before(place: int, lane: _Lane, unlike: Change | None) -> int | None:
    """The last change before `place` that ran, and is not the same as `unlike`."""
    for at in range(place - 1, -1, -1):
        one = lane.changes[at]
        if one.outcome in RAN and (unlike is None or not same(one, unlike)):
            return at
    return None


def _called(change: Change) -> str:
    return change.version or change.commit[:12] or change.digest[:19]


def unplanned(change: Change, rules: Rules) -> str:
    """The glob by which a change is called unplanned; "" for none."""
    if dict(change.labels).get("unplanned", "").lower() in ("true", "yes", "1"):
        return "unplanned"
    return _called_like(change.words, rules.unplanned)


@lru_cache(maxsize=8192)
def _called_like(words: tuple[str, ...], globs: tuple[str, ...]) -> str:
    return next((glob for glob in globs for word in words if fnmatchcase(word.lower(), glob.lower())), "")


# -- what became of each change


@dataclass(frozen=True, slots=True)
class Fate:
    """A change with what became of it.

    `reached`: it ran in production. `failed`: the links by which it needed intervention. `rework`: why it was made
    because of an incident, "" where it was not. `recovered`: when the trouble was over, None while it is not.
    `lead`: seconds from `lead_from` (commit, build, release, data, training) to running.
    """

    change: Change
    reached: bool
    failed: tuple[Link, ...] = ()
    rework: str = ""
    recovered: int | None = None
    lead: int | None = None
    lead_from: str = ""
    undoes: str = ""

    @property
    def recovery(self) -> int | None:
        """Seconds from running to recovered; None where it has not failed or not recovered."""
        if not self.failed or self.recovered is None:
            return None
        return max(0, self.recovered - self.change.running)


def fates(made: Sequence[Change], linked: Sequence[Link], troubles: Sequence[Trouble], rules: Rules) -> list[Fate]:
    """What became of each change, in the same order; lead times are not known here."""
    failed: dict[tuple[str, str], list[Link]] = {}
    undone = {(one.component, one.cause): one for one in linked if one.kind == "rollback"}
    for link in linked:
        if link.change:
            failed.setdefault((link.component, link.change), []).append(link)
    fixes = _fixes(troubles, rules)
    return [_fate(one, tuple(failed.get((one.component, one.name), ())), undone.get((one.component, one.name)),
                  fixes, rules) for one in made]  # fmt: skip


def _fixes(troubles: Sequence[Trouble], rules: Rules) -> dict[str, str]:
    """What deployments are named as made because of an incident, by their names."""
    found: dict[str, str] = {}
    for one in troubles:
        for label, value in one.event.labels:
            if label in FIXED:
                found[value] = f"incident {one.told[1]} names it as its fix"
    for said in rules.link:
        if said.fix:
            found[said.fix] = f"made because of incident {said.incident}, {said.said}"
    return found


def _fate(
    change: Change, failed: tuple[Link, ...], undoes: Link | None, fixes: Mapping[str, str], rules: Rules
) -> Fate:
    fix = next((fixes[name] for name in sorted(change.names) if name in fixes), "") if fixes else ""
    glob = unplanned(change, rules)
    rework = fix
    if undoes is not None and undoes.change:
        rework = rework or "it rolled another back"
    elif change.kind == "rollback" and undoes is None:
        rework = rework or "it is a rollback"
    elif glob and not (undoes and not undoes.change):
        rework = rework or f'it is called like "{glob}"'
    return Fate(
        change, change.outcome == "good" or (change.outcome == "bad" and bool(failed)), failed, rework,
        _recovered(failed), undoes=undoes.change if undoes else "",
    )  # fmt: skip


def _recovered(failed: Iterable[Link]) -> int | None:
    """When the last incident ended; where there is none, when the first rollback or hotfix ran."""
    some = list(failed)
    ends = [link.until for link in some if link.kind == "incident"]
    if ends:
        known = [end for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else None
    return min((link.until for link in some if link.until is not None), default=None)


def with_lead(fate: Fate, begun: tuple[int, str] | None) -> Fate:
    """The fate with its lead time; what goes back to an old version has none, nor what never ran."""
    if begun is None or not fate.reached or fate.undoes or fate.change.kind == "rollback":
        return fate
    return replace(fate, lead=max(0, fate.change.running - begun[0]), lead_from=begun[1])
