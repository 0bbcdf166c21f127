"""The chain of a version: each rule that joins, what never joins, ambiguity, conflict, and what it can be made from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem import joins, lineage, tracing
from tandem.lineage import Known, Link, Made, Traffic
from tandem.records import Event, labels_of

SHA = "3f2a9c1d4b5e6f708192a3b4c5d6e7f801234567"
OTHER = "9e8d7c6b5a493827161504f3e2d1c0b9a8f7e6d5"
RUN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
RUN2 = "f9e8d7c6b5a4938271605f4e3d2c1b0a"
DIGEST = "sha256:" + "4d" * 31 + "a1"
DATA = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"

Told = tuple[str, Event]


def release(version: str = "7", source: str = "registry", **more: Any) -> Told:
    return source, Event(
        "release", f"fraud/{version}", 100, version=version, labels=labels_of({"model": "fraud"}), **more
    )


def promotion(version: str = "7", source: str = "registry", ts: int = 200, **more: Any) -> Told:
    labels = labels_of({"model": "fraud", "alias": "champion"})
    return source, Event("promotion", f"champion:{version}:{ts}", ts, version=version, labels=labels, **more)


def training(run: str = RUN, source: str = "registry", ts: int = 50, **more: Any) -> Told:
    labels = labels_of(more.pop("labels", {}))
    return source, Event("training", run, ts, run=run, labels=labels, **more)


def event(kind: str, source: str, ts: int = 60, key: str = "", **more: Any) -> Told:
    return source, Event(kind, key or f"{kind}-{ts}", ts, **more)


def known(*told: Told, **more: Any) -> Known:
    kinds: dict[str, int] = {}
    for _, one in told:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    return Known("fraud-detector", told, kinds, aliases=("champion",), **more)


def link(of: Known, step: Any, version: str = "7") -> Link:
    chain = tracing.chain(of, version)
    assert chain is not None
    return chain.link(step)


def item(of: Known, name: str) -> lineage.Item:
    chain = tracing.chain(of, "7")
    assert chain is not None
    return next(one for one in chain.reproducible if one.name == name)


# -- each rule


def test_a_run_is_joined_by_its_id_and_says_who_names_it() -> None:
    found = link(known(release(run=RUN), training()), "training")
    assert (found.state, found.value) == ("joined", RUN)
    assert found.parts[0].rule == "run"
    assert found.reason == f"joined by run id {RUN[:16]}…, named by version 7 of registry"


def test_a_run_is_joined_by_the_digest_of_what_it_made_whatever_its_spelling() -> None:
    found = link(known(release(digest=DIGEST), training(source="dvc", digest=DIGEST.removeprefix("sha256:").upper())),
                 "training")  # fmt: skip
    assert (found.state, found.parts[0].rule) == ("joined", "digest")


def test_a_run_is_joined_by_its_commit_also_where_that_is_abbreviated() -> None:
    found = link(known(release(commit=SHA), training(source="dvc", commit=SHA[:9])), "training")
    assert (found.state, found.value, found.parts[0].rule) == ("joined", RUN, "commit")
    assert link(known(release(commit=SHA), training(source="dvc", commit=SHA[:6])), "training").state == "missing"


def test_the_configuration_goes_before_all_else() -> None:
    told = (release(run=RUN, digest=DIGEST), training(), training(RUN2, "dvc"))
    found = link(known(*told, made=(Made("7", run=RUN2),)), "training")
    assert (found.value, found.parts[0].rule) == (RUN2, "config")
    assert found.reason == f"joined by run id {RUN2[:16]}…, named by the configuration"
    [conflict] = found.conflicts
    assert conflict == (f"the configuration leads to run {RUN2[:16]}…, but run id {RUN[:16]}…, named by version 7 of "
                        f"registry, to run {RUN[:16]}…")  # fmt: skip


def test_digest_goes_before_run_and_run_before_commit() -> None:
    made = training(RUN2, "dvc", digest=DIGEST)
    assert link(known(release(run=RUN, digest=DIGEST), training(), made), "training").value == RUN2
    same = training(RUN2, "dvc", commit=SHA)
    found = link(known(release(run=RUN, commit=SHA), training(), same), "training")
    assert (found.value, found.parts[0].rule) == (RUN, "run")
    assert "to run" in found.conflicts[0]


def test_a_source_that_ties_run_and_version_itself_is_believed() -> None:
    found = link(known(training(version="7")), "training")
    assert (found.state, found.parts[0].rule) == ("joined", "source")
    assert found.reason == "registry itself says so of version 7"


def test_a_short_run_id_of_another_system_may_be_anybodys() -> None:
    assert link(known(release(run="12"), training("12", "tfx")), "training").state == "stated"
    assert link(known(release(run="12"), training("12")), "training").state == "joined"
    assert link(known(release(), training("12", "tfx"), made=(Made("7", run="12"),)), "training").state == "joined"


# -- names never join


NAMES = st.sampled_from(["7", "v1.2.0", "champion", "fraud", "2026-11-21", "train", "latest"])
KINDS = ("training", "validation", "deployment", "promotion", "data_version", "rollback", "traffic")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(["a", "b", "c"]), NAMES, NAMES), max_size=8), NAMES)
def test_a_tag_or_a_name_alone_never_joins(rows: list[tuple[str, str, str, str]], name: str) -> None:
    told = [release(name, run="train", digest="latest", commit="main", data_version=name)]
    for place, (kind, source, version, word) in enumerate(rows):
        labels = labels_of({"alias": word, "model": "fraud", "image": f"shop/fraud:{version}", "tag": version})
        told.append((source, Event(kind, f"{kind}-{place}", 150, version=version, run=word, digest=word, commit=word,
                                   data_version=word, title=word, labels=labels)))  # fmt: skip
    flows = (Traffic("log", name, 0, 300, 40),)
    chain = tracing.chain(known(*told, traffic=flows), name)
    assert chain is not None
    assert {part.source for one in chain.links for part in one.parts} <= {"registry"}
    assert {one.state for one in chain.links if one.step != "promotion"} <= {"stated", "named", "missing"}


@given(st.text(alphabet="ghijklmnopqrstuvwxyz.-_ /", min_size=1, max_size=60))
def test_words_are_the_same_as_themselves_and_join_nothing(word: str) -> None:
    assert not joins.same("digest", word, word, alike=True)
    assert not joins.same("commit", word, word, alike=True)
    assert not joins.same("run", word, word, alike=False)


@pytest.mark.parametrize("text", ["", "7", "latest", "20261121", "20261121103000", "deadbeef", "v1.2.3", "shop/x:1.4.2",
                                  "2026-11-21", "champion", "feedface"])  # fmt: skip
def test_tags_dates_and_words_are_no_digests(text: str) -> None:
    assert joins.hexes(text) == ""


@pytest.mark.parametrize("text", [
    DIGEST, DIGEST.upper(), f"ghcr.io/shop/fraud@{DIGEST}", "6b2e4f1a", f"md5:{DATA}.dir", "2026-11-06@31a28cb4",
    "7321940586214093857", "XUFAKrxLKna5cZ2REBfFkg==",
])  # fmt: skip
def test_hashes_are_digests(text: str) -> None:
    assert joins.hexes(text)


def test_a_namesake_is_shown_and_not_joined() -> None:
    found = link(known(release(run=RUN), training(), event("deployment", "kubernetes", version="7")), "serving")
    assert (found.state, found.parts) == ("named", ())
    assert [(one.source, one.rule) for one in found.namesakes] == [("kubernetes", "")]
    assert found.namesakes[0].reason == "says version 7 too; a name alone joins nothing"


def test_another_registrys_version_of_the_same_number_is_another_version() -> None:
    of = known(release(run=RUN), training(), promotion("7", "wandb", 300))
    assert link(of, "promotion").state == "named"
    chain = tracing.chain(of, "7")
    assert chain is not None and chain.aliases == () and chain.registry == "registry"


def test_sources_number_alike_where_the_configuration_says_so() -> None:
    flows = (Traffic("log", "7", 0, 900, 1234),)
    of = known(release(run=RUN), promotion("7", "wandb", 300), traffic=flows)
    assert link(of, "serving").state == "named"
    said = replace(of, alike=("registry", "log", "wandb"))
    found = link(said, "serving")
    assert (found.state, found.value, found.parts[0].rule) == ("joined", "1,234 predictions of this window", "config")
    assert found.reason == "the configuration says that registry and log and wandb number versions alike"
    assert link(said, "promotion").state == "joined"


def test_a_version_that_only_predictions_know_is_theirs() -> None:
    of = known(traffic=(Traffic("log", "7", 0, 900, 5), Traffic("mirror", "7", 0, 900, 6)))
    found = link(of, "serving")
    assert [(one.source, one.rule) for one in found.parts] == [("log", "source")]
    assert [one.source for one in found.namesakes] == ["mirror"]
    assert link(of, "training").reason == "no source tells training runs of this model"


# -- ambiguity and conflict


def test_two_runs_of_one_commit_are_both_shown_and_none_is_chosen() -> None:
    of = known(release(commit=SHA), training(commit=SHA), training(RUN2, ts=55, commit=SHA),
               event("validation", "ge", run=RUN))  # fmt: skip
    found = link(of, "training")
    assert (found.state, found.value) == ("ambiguous", "")
    assert {one.run for one in found.parts} == {RUN, RUN2}
    assert found.reason == f"2 runs are of the same commit {SHA[:16]}…; nothing tells which of them it was"
    assert link(of, "commit").value == SHA
    assert link(of, "validation").state == "missing"
    assert item(of, "parameters").state == "ambiguous"


def test_a_commit_of_several_runs_tells_no_deployment_from_another() -> None:
    told = (release(run=RUN), training(commit=SHA), training(RUN2, ts=55, commit=SHA),
            event("deployment", "argo", commit=SHA))  # fmt: skip
    found = link(known(*told), "serving")
    assert found.state == "ambiguous"
    assert found.reason == f"2 runs are of its commit {SHA[:16]}…, so the commit does not tell which version it is"
    alone = link(known(*told[:2], told[3]), "serving")
    assert (alone.state, alone.parts[0].rule) == ("joined", "commit")


def test_the_registry_names_a_run_that_nobody_tells_of() -> None:
    found = link(known(release(run=RUN), training(RUN2)), "training")
    assert (found.state, found.value) == ("stated", RUN)
    assert found.reason == f"version 7 of registry names run {RUN[:16]}…, and no source tells of that run"


def test_another_run_of_the_source_that_names_one_is_not_joined_by_commit() -> None:
    of = known(release(run=RUN, commit=SHA), training(RUN2, commit=SHA))
    assert link(of, "training").state == "stated"


def test_a_run_that_a_person_names_and_nobody_tells_of_is_not_replaced() -> None:
    found = link(known(release(run=RUN), training(), made=(Made("7", run="lost", commit=SHA),)), "training")
    assert (found.state, found.value) == ("stated", "lost")
    assert "leads to run" in found.conflicts[0]


def test_what_the_configuration_and_a_run_say_of_the_commit_may_differ() -> None:
    of = known(release(run=RUN), training(commit=SHA), made=(Made("7", commit=OTHER),))
    found = link(of, "commit")
    assert (found.state, found.value) == ("stated", OTHER)
    [conflict] = found.conflicts
    assert conflict == (f"the configuration says commit {OTHER[:16]}…, but training run {RUN[:16]}… of registry says "
                        f"{SHA[:16]}…")  # fmt: skip
    assert item(of, "commit").state == "ambiguous"


def test_an_alias_that_points_elsewhere_than_the_traffic_is_a_conflict() -> None:
    of = known(release(), promotion(), release("8"), promotion("8", ts=400), alike=("registry", "log"),
               traffic=(Traffic("log", "7", 0, 900, 5),))  # fmt: skip
    assert link(of, "serving").conflicts == (
        "champion of registry points at version 8, but the newest predictions are of version 7",
    )


def test_two_runs_of_one_source_that_made_the_same_bytes_stay_two() -> None:
    told = (
        training(digest=DIGEST),
        training(RUN2, ts=55, digest=DIGEST),
        training("dvc-0a1b2c3d4e", "dvc", digest=DIGEST),
    )
    assert len(joins.runs(list(told))) == 3
    assert len(joins.runs([told[0], told[2]])) == 1
    assert link(known(release(digest=DIGEST), *told[:2]), "training").state == "ambiguous"


# -- the other links


def test_the_whole_chain_over_six_sources() -> None:
    of = known(
        release(run=RUN), promotion(run=RUN), training(commit=SHA, digest=DIGEST),
        training("train@9e8d7c6b5a", "dvc", commit=SHA, data_version=DATA), event("commit", "git", 30, commit=SHA),
        event("build", "github", 40, commit=SHA), event("data_version", "dvc", 20, data_version=DATA),
        event("validation", "evaluations", 60, digest=DIGEST, outcome="bad"),
        event("validation", "ge", 61, data_version=DATA), event("deployment", "kubernetes", 300, digest=DIGEST),
    )  # fmt: skip
    chain = tracing.chain(of, "")
    assert chain is not None
    assert chain.chosen == "registry promoted it last as champion"
    assert [(one.step, one.state) for one in chain.links] == [(step, "joined") for step in lineage.STEPS]
    assert [(part.source, part.rule) for one in chain.links for part in one.parts] == [
        ("git", "commit"), ("registry", "run"), ("dvc", "commit"), ("dvc", "digest"), ("ge", "digest"),
        ("evaluations", "digest"), ("registry", "source"), ("kubernetes", "digest"),
    ]  # fmt: skip
    assert chain.link("validation").value == "1 passed, 1 failed"
    assert chain.unknown == ("parameters", "environment")


def test_builds_tell_of_a_commit_where_no_history_does() -> None:
    told = (release(run=RUN), training(commit=SHA), event("build", "github", 45, "b2", commit=SHA),
            event("build", "github", 40, "b1", commit=SHA))  # fmt: skip
    assert [one.key for one in link(known(*told), "commit").parts] == ["b1"]


def test_data_is_joined_by_hash_and_a_name_of_it_is_no_more_than_a_name() -> None:
    of = known(
        release(run=RUN), training(data_version="november"), event("data_version", "dvc", data_version="november")
    )
    found = link(of, "data")
    assert (found.state, found.value, len(found.namesakes)) == ("stated", "november", 1)
    assert item(of, "data version").state == "partly"
    several = known(
        release(run=RUN), training(data_version=f"{DATA},{SHA}"), event("data_version", "dvc", data_version=SHA)
    )
    assert (link(several, "data").state, len(link(several, "data").parts)) == ("joined", 1)


def test_data_of_the_runs_commit_is_taken_only_where_it_is_one() -> None:
    one = event("data_version", "dvc", 20, "a", commit=SHA, data_version=DATA)
    two = event("data_version", "dvc", 20, "b", commit=SHA, data_version=SHA)
    told = (release(run=RUN), training(commit=SHA))
    assert (link(known(*told, one), "data").state, link(known(*told, one), "data").value) == ("joined", DATA)
    assert link(known(*told, one, two), "data").state == "ambiguous"


def test_missing_links_say_whether_anybody_could_tell() -> None:
    bare = known(release())
    assert link(bare, "training").reason == "no source tells training runs of this model"
    assert link(bare, "validation").reason == "no source tells validations of this model"
    more = known(release(run=RUN), training(), event("validation", "ge", run=RUN2))
    assert link(more, "validation").reason == (
        "no validation is known of this run; the model has 1 of other versions, or of none"
    )
    unnamed = known(release(), training(), training(RUN2))
    assert link(unnamed, "training").reason == (
        "none of 2 training runs is known to have made it: nothing names a run, a commit or a digest of version 7"
    )


# -- what it can be made again from


@pytest.mark.parametrize(("labels", "state"), [
    ({}, "unknown"), ({"python": "3.11.4"}, "partly"), ({"packages": DIGEST}, "partly"),
    ({"python": "3.11.4", "packages": DIGEST}, "known"), ({"image": "shop/train:latest"}, "partly"),
    ({"image": f"shop/train@{DIGEST}"}, "known"),
])  # fmt: skip
def test_the_environment_is_known_by_image_digest_or_by_python_and_packages(labels: dict[str, str], state: str) -> None:
    assert item(known(release(run=RUN), training(labels=labels)), "environment").state == state


def test_reproducible_from_names_what_is_unknown() -> None:
    labels = {"param.lr": "0.1", "param.depth": "6", "python": "3.11", "packages": DIGEST, "owner": "ana"}
    of = known(release(run=RUN), training(labels=labels, commit=SHA, data_version=DATA))
    chain = tracing.chain(of, "7")
    assert chain is not None and chain.unknown == ()
    assert item(of, "parameters").pairs == (("depth", "6"), ("lr", "0.1"))
    assert item(of, "environment").pairs == (("python", "3.11"), ("packages", DIGEST))
    none = tracing.chain(known(release()), "7")
    assert none is not None and none.unknown == ("parameters", "commit", "data version", "environment")


def test_an_abbreviated_commit_is_partly_known() -> None:
    assert item(known(release(run=RUN), training(commit=SHA[:10])), "commit").state == "partly"


# -- which version


def test_the_version_that_serves_is_said_with_its_reason() -> None:
    base = (release("6"), release("7"))
    assert lineage.serving(known(*base)) == ("7", "registry registered it last, and nothing tells which version serves")
    promoted = (*base, promotion("6", ts=300))
    assert lineage.serving(known(*promoted)) == ("6", "registry promoted it last as champion")
    served = known(*promoted, traffic=(Traffic("log", "5", 0, 600, 9), Traffic("log", "7", 300, 900, 1)))
    assert lineage.serving(served)[0] == "7"
    assert lineage.serving(known()) == ("", "no source tells of a version of this model")
    assert tracing.chain(known()) is None


@given(st.permutations(range(8)))
def test_the_order_of_arrival_changes_nothing(order: list[int]) -> None:
    told = (release(run=RUN), promotion(run=RUN), training(commit=SHA), training(RUN2, ts=51, commit=OTHER),
            event("commit", "git", 30, commit=SHA), event("deployment", "argo", 70, commit=SHA),
            event("validation", "ge", 60, run=RUN), event("data_version", "dvc", 20, data_version=DATA))  # fmt: skip
    assert tracing.chain(known(*(told[place] for place in order)), "7") == tracing.chain(known(*told), "7")
