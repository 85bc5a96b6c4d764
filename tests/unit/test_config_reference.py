"""The sample file and the reference page are whole, up to date and true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from slurmbatch.config import load
from slurmbatch.config.reference import page, sample, tables
from slurmbatch.config.schema import SettingsFile
from slurmbatch.config.toolfile import ToolFile
from slurmbatch.errors import SettingsError

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "etc" / "slurmbatch.toml"


def uncommented() -> str:
    """The sample with everything in force that is shown in it."""
    return re.sub(r"^#(?=[a-z\[])", "", SAMPLE.read_text(), flags=re.MULTILINE)


def test_the_files_are_those_that_the_schema_gives() -> None:
    assert SAMPLE.read_text() == sample()
    assert (ROOT / "docs" / "settings.md").read_text() == page()


def test_the_sample_is_right_as_it_stands() -> None:
    settings = load(SAMPLE)
    assert settings.auth.jwt == ()
    assert set(settings.tools) == {"montecarlo-pi", "probe", "sweep-to-file"}


def test_every_key_stands_in_the_sample() -> None:
    shown = tomllib.loads(uncommented())
    for table in tables(SettingsFile):
        found = shown
        for part in table.name.split(".") if table.name else ():
            found = found[part]
        given = set().union(*found) if isinstance(found, list) else set(found)
        assert set(table.section.model_fields) <= given, table.name


def test_the_sample_holds_with_everything_in_force(tmp_path: Path) -> None:
    file = tmp_path / "slurmbatch.toml"
    file.write_text(uncommented())
    with pytest.raises(SettingsError) as caught:
        load(file)
    absent = [each for each in caught.value.mistakes if re.search("there$|No such file", each)]
    assert caught.value.mistakes == absent


@pytest.mark.parametrize("file", [SettingsFile, ToolFile])
def test_every_key_is_in_the_reference_with_its_meaning(
    file: type[SettingsFile] | type[ToolFile],
) -> None:
    text = page()
    for table in tables(file):
        values = dict(table.values())
        assert not table.name or not values or f"## `{table.header}`" in text
        for key, schema in values.items():
            assert f"| `{key}` |" in text
            assert schema["description"]
