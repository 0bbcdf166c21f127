"""What a version can be made again from: parameters, commit, data version and environment, or which is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tandem.joins import hexes, short
from tandem.lineage import Certainty, Item, Link, split
from tandem.owned import Owned

PARAMETER = "param."
ENVIRONMENT = ("python", "packages", "image")
"""Labels that tell the environment of a run: the version of Python, a digest of the packages, the container image."""
WHOLE_SHA = (40, 64)
NAMES = ("parameters", "commit", "data version", "environment")


def items(own: Owned, commit: Link, training: Link, data: Link) -> tuple[Item, ...]:
    """The four, each known, partly known, unknown or ambiguous."""
    if training.state == "ambiguous":
        labels = [dict(event.labels) for group in own.candidates for _, event in group.told]
        return (_agreed("parameters", [parameters(one) for one in labels]), _commit(commit), _data(data),
                _agreed("environment", [environment(one) for one in labels]))  # fmt: skip
    told = own.joined.told if own.joined else ()
    labels_of = [(source, dict(event.labels)) for source, event in told]
    return (_parameters(labels_of, training), _commit(commit), _data(data), _environment(labels_of, training))


def parameters(labels: Mapping[str, str]) -> dict[str, str]:
    """The parameters among the labels of a training run."""
    return {name.removeprefix(PARAMETER): value for name, value in labels.items() if name.startswith(PARAMETER)}


def environment(labels: Mapping[str, str]) -> dict[str, str]:
    """The environment among the labels of a training run."""
    return {name: labels[name] for name in ENVIRONMENT if labels.get(name)}


def _agreed(name: str, some: Sequence[Mapping[str, str]]) -> Item:
    """What all runs that may have made it say alike."""
    if some[0] and all(one == some[0] for one in some):
        pairs = tuple(sorted(some[0].items()))
        return Item(name, "known", f"{len(pairs)} told", "each run that may have made it says the same", pairs)
    return Item(name, "ambiguous", "", "the runs that may have made it differ in it, or do not say")


def _unjoined(name: str, training: Link) -> Item:
    run = f"run {short(training.value)}, of which no source tells" if training.value else "no known training run"
    return Item(name, "unknown", "", f"it was made by {run}")


def _parameters(told: Sequence[tuple[str, Mapping[str, str]]], training: Link) -> Item:
    if not told:
        return _unjoined("parameters", training)
    for source, labels in told:
        if found := parameters(labels):
            count = f"{len(found)} {'parameter' if len(found) == 1 else 'parameters'}"
            return Item(
                "parameters", "known", count, f"as {source} tells them of the run", tuple(sorted(found.items()))
            )
    return Item("parameters", "unknown", "", "the run states no parameter")


def _environment(told: Sequence[tuple[str, Mapping[str, str]]], training: Link) -> Item:
    if not told:
        return _unjoined("environment", training)
    found: dict[str, str] = {}
    for _, labels in told:
        found = environment(labels) | found
    if not found:
        said = "the run states neither its Python, its packages nor its image"
        return Item("environment", "unknown", "", said)
    pairs = tuple((name, found[name]) for name in ENVIRONMENT if name in found)
    value = ", ".join(f"{name} {short(text)}" for name, text in pairs)
    if hexes(found.get("image", "")):
        return Item("environment", "known", value, "its image is named by digest", pairs)
    if "packages" in found and "python" in found:
        return Item("environment", "known", value, "Python and a digest of the packages are stated", pairs)
    lacking = [name for name in ("python", "packages") if name not in found]
    said = f"{' and '.join(lacking)} not stated" + (", and its image is named by a tag, which may move"
                                                    if "image" in found else ", nor an image")  # fmt: skip
    return Item("environment", "partly", value, said, pairs)


def _commit(link: Link) -> Item:
    if not link.value:
        state: Certainty = "ambiguous" if link.state == "ambiguous" else "unknown"
        return Item("commit", state, "", link.reason)
    if link.conflicts:
        return Item("commit", "ambiguous", link.value, link.conflicts[0])
    if len(link.value) not in WHOLE_SHA:
        return Item("commit", "partly", link.value, "it is abbreviated, or no hash")
    return Item("commit", "known", link.value, link.reason)


def _data(link: Link) -> Item:
    if not link.value:
        state: Certainty = "ambiguous" if link.state == "ambiguous" else "unknown"
        return Item("data version", state, "", link.reason)
    if link.conflicts:
        return Item("data version", "ambiguous", link.value, link.conflicts[0])
    if not all(hexes(text) for text in split(link.value)):
        return Item("data version", "partly", link.value, "it is a name and no hash, so what it means may change")
    return Item("data version", "known", link.value, link.reason)
