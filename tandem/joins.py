"""How what two systems tell of is known to be one: by configuration, digest, run id or commit, never by a name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.records import Event

Rule = Literal["config", "digest", "run", "commit", "source"]
"""What made a join; "source": one and the same source says both, in its own words."""
Identity = Literal["digest", "run", "commit"]
IDENTITIES: tuple[Identity, ...] = ("digest", "run", "commit")
"""What joins, in this order; what the configuration says goes before all of them."""
WORDS = {"digest": "digest", "run": "run id", "commit": "commit"}
SHORTEST = 7
"""Characters that an abbreviated commit must have to stand for the whole."""
DISTINCTIVE = 8
"""Characters of a word in a run id by which it can be no other system's as well."""
_HEX = re.compile(r"[0-9a-f]{8,128}")
_BASE64 = re.compile(r"[0-9A-Za-z+/_-]{22}==|[0-9A-Za-z+/_-]{27}=|[0-9A-Za-z+/_-]{43}=")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA = re.compile(r"[0-9a-f]{7,64}")
_LONG_NUMBER = 17
"""Digits alone are a time or a count until they are more than any clock writes."""
_CONFIGURED = "the configuration"

Told = tuple[str, Event]
"""(name of the source, event)."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One thing that tells a version from others, and who says that it is the version's; `source` "" is the config."""

    identity: Identity
    value: str
    by: str
    source: str = ""

    @property
    def configured(self) -> bool:
        """Whether a person wrote it down."""
        return not self.source


@dataclass(frozen=True, slots=True)
class Match:
    """Why an event belongs to a version."""

    rule: Rule
    identity: Identity
    value: str
    by: str

    @property
    def reason(self) -> str:
        """The join in words."""
        named = _CONFIGURED if self.rule == "config" else self.by
        return f"joined by {WORDS[self.identity]} {short(self.value)}, named by {named}"


def configured(identity: Identity, value: str) -> Trait:
    """A trait that the configuration names."""
    return Trait(identity, value, _CONFIGURED)


def short(value: str) -> str:
    """An identity as it is said in a sentence."""
    return value if len(value) <= 20 else f"{value[:16]}…"


def hexes(text: str) -> str:
    """The digest in a text without its algorithm and case; "" where it holds none: a tag, a date or a name is none.

    `sha256:…`, an image name that ends with one, the md5 of a folder with `.dir`, a UUID, a bare hash and the base64 of
    one are digests.
    """
    if _BASE64.fullmatch(text.strip()):
        return text.strip()
    bare = text.strip().lower().rpartition("@")[2].rpartition(":")[2].removesuffix(".dir")
    if _UUID.fullmatch(bare):
        return bare
    if bare.isdigit():
        return bare if len(bare) >= _LONG_NUMBER else ""
    return bare if _HEX.fullmatch(bare) and any(letter.isdigit() for letter in bare) else ""


def distinctive(run: str) -> bool:
    """Whether a run id can be no other system's as well; "12", "train" and "2026-11-21" may be anybody's."""
    if _UUID.search(run.lower()):
        return True
    words = re.split(r"[^0-9A-Za-z]+", run)
    return any(len(word) >= DISTINCTIVE and any(one.isdigit() for one in word)
               and (any(one.isalpha() for one in word) or len(word) > DISTINCTIVE) for word in words)  # fmt: skip


def same_commit(one: str, other: str) -> bool:
    """Whether two commits are one, also where either is abbreviated; what is no hash is none."""
    brief, whole = sorted((one.lower(), other.lower()), key=len)
    return bool(_SHA.fullmatch(brief) and _SHA.fullmatch(whole)) and whole.startswith(brief)


def same(identity: Identity, one: str, other: str, *, alike: bool) -> bool:
    """Whether two values of an identity are one; `alike`: both are of one system, or a person says what they are."""
    if not one or not other:
        return False
    if identity == "commit":
        return same_commit(one, other)
    if identity == "digest":
        return bool(hexes(one)) and hexes(one) == hexes(other)
    return one == other and (alike or distinctive(one))


def value_of(event: Event, identity: Identity) -> str:
    """What an event says of itself; a training run is its own run."""
    if identity == "run" and event.kind == "training":
        return event.run or event.key
    return str(getattr(event, identity))


def match(source: str, event: Event, traits: Iterable[Trait]) -> Match | None:
    """The first rule by which an event belongs to who has these traits; None for none."""
    return next(iter(matches(source, event, traits)), None)


def matches(source: str, event: Event, traits: Iterable[Trait]) -> list[Match]:
    """Every rule by which an event belongs to who has these traits, the first that counts before the others."""
    found: list[tuple[tuple[bool, int], Match]] = []
    for one in traits:
        mine = value_of(event, one.identity)
        if same(one.identity, one.value, mine, alike=one.configured or one.source == source):
            rule: Rule = "config" if one.configured else one.identity
            longest = max(one.value, mine, key=len)
            order = (not one.configured, IDENTITIES.index(one.identity))
            found.append((order, Match(rule, one.identity, longest, one.by)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def traits_of(source: str, event: Event, by: str) -> list[Trait]:
    """What an event says that tells its object from others."""
    known = ((identity, value_of(event, identity)) for identity in IDENTITIES)
    return [Trait(identity, value, by, source) for identity, value in known if value]


@dataclass(frozen=True, slots=True)
class Group:
    """One training run, as every source that knows it tells of it."""

    told: tuple[Told, ...]

    @property
    def run(self) -> str:
        """Its id, as the first source says it."""
        return value_of(self.told[0][1], "run")

    @property
    def sources(self) -> set[str]:
        """Who tells of it."""
        return {source for source, _ in self.told}

    def commits(self) -> list[str]:
        """The commits that are said of it."""
        return [event.commit for _, event in self.told if event.commit]


def runs(trainings: Sequence[Told]) -> list[Group]:
    """Training runs, each once: told by two sources it is one by its id, or by the digest of what it made.

    Two runs of one source stay two, whatever they made; a digest that they share then joins none of them to another.
    """
    made = Counter(
        (source, digest)
        for source, digest, _ in {(source, hexes(event.digest), value_of(event, "run")) for source, event in trainings}
        if digest
    )
    shared = {digest for (_, digest), count in made.items() if count > 1}  # fmt: skip
    found: list[list[Told]] = []
    for told in trainings:
        mine = next((group for group in found if any(_one_run(told, other, shared) for other in group)), None)
        if mine is None:
            found.append([told])
        else:
            mine.append(told)
    return [Group(tuple(group)) for group in found]


def _one_run(one: Told, other: Told, shared: Collection[str]) -> bool:
    alike = one[0] == other[0]
    if same("run", value_of(one[1], "run"), value_of(other[1], "run"), alike=alike):
        return True
    digest = hexes(one[1].digest)
    return not alike and digest not in shared and same("digest", digest, other[1].digest, alike=False)
