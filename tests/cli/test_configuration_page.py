"""docs/configuration.md: it names every setting, and its example of baton.toml is one that Baton takes."""

import re
from pathlib import Path

import pytest

from baton.settings.core import Settings
from baton.settings.variables import variables_of
from workspaces.project.baton_toml import ProjectConfig, parse_config

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_on_the_page(name: str) -> None:
    assert f"`{variables_of(name, Settings.model_fields[name])[0]}`" in PAGE


def test_the_page_names_no_setting_that_there_is_not() -> None:
    fields = {variable for name, field in Settings.model_fields.items() for variable in variables_of(name, field)}
    assert set(re.findall(r"`(BATON_[A-Z_]+)`", PAGE)) <= fields


def test_the_example_of_baton_toml_is_valid_and_complete() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    config = parse_config(example.encode())
    assert config.gate.test == "python -m pytest -q"
    for table in ProjectConfig.model_fields:
        assert f"[{table}]" in example
