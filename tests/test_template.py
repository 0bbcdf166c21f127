"""What `tandem init` writes loads as it is, and every block of it once it is uncommented."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from tandem import connect, template
from tandem.config import Config, parse
from tandem.connect import Common

CONNECTORS = connect.names()
ALIASES = [alias for name in CONNECTORS for alias in connect.load(name).ABOUT.aliases]
PATH = Path("/somewhere/tandem.toml")


def read(text: str) -> Config:
    return parse(text, PATH)


def test_the_file_loads_as_it_is() -> None:
    config = read(template.init_text())
    assert config.store == PATH.parent / "tandem.duckdb"
    assert not config.sources
    assert not config.components


def test_the_file_loads_with_every_block_uncommented() -> None:
    config = read(template.uncommented(template.init_text()))
    assert [source.common.connector for source in config.sources] == list(CONNECTORS)
    assert {"checkout-api", "fraud-detector"} <= {component.name for component in config.components}
    assert len(config.objectives) == 2
    assert "cache_hits" in config.signals
    ranker = config.component("ranker")
    assert ranker is not None and ranker.lineage.versions == ("registry", "fraud-log") and ranker.version[0].name == "7"
    assert config.delivery.link[0].deployment == config.delivery.apart[0].changes[0] == "900001517"


def test_each_block_of_the_file_loads_alone() -> None:
    components = template._COMPONENTS
    blocks = [one for one in template.init_text().split("\n\n") if "# [[" in one]
    assert len(blocks) == 5 + len(CONNECTORS)
    for block in blocks:
        text = template.uncommented(block)
        read(text if "[[component]]" in text else components + text)


@pytest.mark.parametrize("connector", CONNECTORS)
def test_the_block_of_a_connector_is_a_comment_and_loads_once_uncommented(connector: str) -> None:
    block = template.block(connector)
    assert all(line.startswith("#") for line in block.splitlines())
    source = read(template.uncommented(block)).sources[0]
    assert source.common.connector == connector


@pytest.mark.parametrize("alias", ALIASES)
def test_the_block_of_an_alias_loads_under_the_alias_too(alias: str) -> None:
    block = template.uncommented(template.block(alias))
    name = connect.canonical(alias)
    assert read(block).sources[0].common.connector == name
    renamed = block.replace(f'connector = "{name}"', f'connector = "{alias}"', 1)
    assert read(renamed).sources[0].common.connector == name


@pytest.mark.parametrize("connector", CONNECTORS)
def test_the_block_names_every_key_with_its_meaning(connector: str) -> None:
    block = template.block(connector)
    own = [one for one in dataclasses.fields(connect.load(connector).Config) if one.name != "common"]
    for key in [one.name.rstrip("_") for one in own] + list(template.COMMON):
        assert f"{key} = " in block or f"[source.{key}]" in block or f"[[source.{key}]]" in block
    for one in own:
        assert one.metadata["doc"].endswith("."), f"{connector}: {one.name} has no sentence of meaning"


@pytest.mark.parametrize("connector", CONNECTORS)
def test_each_optional_key_of_the_block_loads_with_its_example(connector: str) -> None:
    lines = template.uncommented(template.block(connector)).splitlines()
    optional = [number for number, line in enumerate(lines) if line.startswith("# ") and " = " in line.split('"')[0]]
    assert optional
    for number in optional:
        text = "\n".join([*lines[:number], lines[number].removeprefix("# "), *lines[number + 1 :]])
        instead = "token_env" if lines[number].startswith("# token_file") else "nothing"
        read("\n".join(line for line in text.splitlines() if not line.startswith(instead)))


def test_an_alias_has_the_block_of_its_connector() -> None:
    for connector in CONNECTORS:
        for alias in connect.load(connector).ABOUT.aliases:
            assert template.block(alias) == template.block(connector)


def test_an_unknown_connector_is_refused_with_the_known_ones() -> None:
    with pytest.raises(connect.SourceRefused, match='no connector "promethoos"'):
        template.block("promethoos")


def test_every_key_of_every_source_is_explained() -> None:
    keys = {one.name for one in dataclasses.fields(Common)} - {"connector", "name", "folder"}
    assert set(template.COMMON) == keys


@pytest.mark.parametrize(
    "value",
    ["", 'a "b" \\ c', "ü\n\t", 0, -3, 1.5, True, False, [], ["a", ["b", "c"]], {}, {"a b": {"c": 1}}],
)
def test_a_value_written_as_toml_reads_back(value: object) -> None:
    assert tomllib.loads(f"x = {template.toml(value)}")["x"] == value
