"""The documents are true: what they show works, what there is they name, and where they point something stands."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tandem import catalog, connect, template
from tandem.config import parse
from tandem.connect import Given, Pull
from tandem.records import Fact, Ratio
from tests import reference

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "sample_data/README.md")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(document: str, language: str = "") -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


def shown_commands() -> Iterator[list[str]]:
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    before_reference = text.replace(reference.stands_in(README), "")
    for line in re.findall(r"(?m)^(?:.*&& )?(tandem [a-z].*)$|`(tandem [a-z][^`]*)`", before_reference):
        yield shlex.split("".join(line).partition("&&")[0])[1:]


def test_the_reference_is_what_the_code_says_of_itself() -> None:
    pytest.importorskip("tandem.cli")
    assert reference.stands_in(README) == reference.text(), "run `python -m tests.reference`"


def test_the_reference_names_every_connector_alias_signal_and_key() -> None:
    missing = []
    for name in connect.names():
        module = connect.load(name)
        words = [name, *module.ABOUT.aliases, *module.ABOUT.signals, *module.ABOUT.events]
        missing += [f"{name}: {word}" for word in words if f"`{word}`" not in README and f"#### {word}\n" not in README]
        for key, meaning in reference.keys(module.Config):
            assert meaning, f"{name}: {key} says nothing of itself"
            missing += [f"{name}: {key}"] if f"`{key}`" not in README else []
    missing += [word for word in (*catalog.built_in(), *template.COMMON) if f"`{word}`" not in README]
    assert missing == []


def test_every_command_that_is_shown_exists_with_its_options() -> None:
    pytest.importorskip("tandem.cli")
    known = reference.commands()
    shown = [words for words in shown_commands() if words]
    assert len(shown) > 8
    for name, *words in shown:
        assert name in known, f"there is no `tandem {name}`"
        options = {option for one in known[name].params for option in (*one.opts, *one.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, f"tandem {name} {' '.join(words)}"


def test_the_configuration_that_the_readme_shows_loads() -> None:
    shown = blocks("README.md", "toml")
    config = parse("\n".join(shown), Path("/somewhere/tandem.toml"))
    assert [source.common.connector for source in config.sources] == ["prometheus", "mlflow", "predictions"]
    assert len(config.objectives) == 6
    for block in shown:
        assert tomllib.loads(block)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_points_to_something(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert ((ROOT / document).parent / target).exists(), target


def test_the_changelog_begins_with_what_is_not_released_yet() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    headings = [line for line in lines if line.startswith("## ")]
    assert headings[0] == "## [Unreleased]"
    assert {line for line in lines if line.startswith("### ")} <= {
        f"### {one}" for one in ("Added", "Changed", "Fixed", "Removed")
    }


# --- the connector that CONTRIBUTING shows


CHECKS = """{"checks": [
  {"service": "shop/checkout", "at": "2026-11-20T18:00:10Z", "up": true},
  {"service": "shop/checkout", "at": "2026-11-20T18:04:59Z", "up": false},
  {"service": "shop/checkout", "at": "2026-11-20T18:05:00Z", "up": true},
  {"service": "search", "at": "2026-11-20T18:00:10Z", "up": true}
]}"""
SIX = 1795197600


@pytest.fixture
def beacon(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("connectors.beacon")
    monkeypatch.setitem(__import__("sys").modules, "connectors.beacon", module)
    exec(compile(blocks("CONTRIBUTING.md", "python")[0], "CONTRIBUTING.md", "exec"), vars(module))
    monkeypatch.setattr(connect, "names", lambda: ("beacon",))
    monkeypatch.setattr(connect, "_module", {"beacon": module}.__getitem__)
    return module


def ratios(page: object) -> dict[tuple[str, int], Ratio]:
    facts = [record for record in page.records if isinstance(record, Fact)]  # type: ignore[attr-defined]
    return {(dict(fact.series.labels)["service"], fact.ts): fact.value for fact in facts}  # type: ignore[misc]


EXPECTED = {
    ("shop/checkout", SIX): Ratio(1, 2),
    ("shop/checkout", SIX + 300): Ratio(1, 1),
    ("search", SIX): Ratio(1, 1),
}


def test_the_connector_that_contributing_shows_reads_a_saved_answer(beacon: ModuleType, tmp_path: Path) -> None:
    from connectors._files import item

    (tmp_path / "checks.json").write_text(CHECKS.replace('{"checks": [', '{"checks":['), encoding="utf-8")
    saved = item(tmp_path / "checks.json", Given())
    assert beacon.recognise(saved)
    config = parse(template.uncommented(template.block("beacon")), tmp_path / "tandem.toml").sources[0].config
    (page,) = beacon.parse(saved, config)
    assert ratios(page) == EXPECTED


def test_the_connector_that_contributing_shows_asks_its_server(beacon: ModuleType, tmp_path: Path) -> None:
    asked = '"path": "/checks", "query": [["from", "2026-11-20T18:00:00Z"], ["to", "2026-11-20T19:00:00Z"]]'
    recorded = f'{{"method": "GET", {asked}, "status": 200, "body": {CHECKS}}}'.replace("\n", "")
    (tmp_path / "requests.jsonl").write_text(recorded, encoding="utf-8")
    text = f'[[source]]\nconnector = "beacon"\nname = "b"\nurl = "file:{tmp_path}"\n'
    source = parse(text, tmp_path / "tandem.toml").sources[0]
    (page,) = beacon.fetch(source.config, Pull(SIX, SIX + 3600, SIX + 7200))
    assert ratios(page) == EXPECTED
