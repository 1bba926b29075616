"""Settings: a variable that was renamed keeps its old name, and the list says where each value comes from."""

from datetime import timedelta
from pathlib import Path

import pytest

from baton.errors import ConfigurationError
from baton.settings.core import Settings, read_settings
from baton.settings.setting_list import list_settings
from baton.settings.variables import variables_of
from workspaces.project.baton_toml import LimitsConfig, parse_config

RENAMED = {
    name: found
    for name, field in Settings.model_fields.items()
    if len(found := variables_of(name, field)) == 2 and found[0].startswith("BATON_MAX_")
}


def test_the_caps_are_those_that_were_renamed() -> None:
    assert len(RENAMED) == 9
    assert RENAMED["usd_per_run"] == ["BATON_MAX_USD", "BATON_USD_PER_RUN"]


@pytest.mark.parametrize("field", RENAMED)
def test_both_names_of_a_cap_set_it_and_both_at_once_are_refused(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = RENAMED[field]
    for variable in (new, old):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "7")
            settings = read_settings()
            assert getattr(settings, field) == (timedelta(seconds=7) if field == "wall_clock" else 7)
            (listed,) = [one for one in list_settings(settings) if one.variable == new]
            assert listed.source == ("environment" if variable == new else f"environment ({old})")
        with monkeypatch.context() as patch:
            patch.setenv(variable, "many")
            with pytest.raises(ConfigurationError, match=f"{variable} is invalid"):
                read_settings()
    monkeypatch.setenv(new, "7")
    monkeypatch.setenv(old, "8")
    with pytest.raises(ConfigurationError, match=f"{new} and {old}, its old name, are both set"):
        read_settings()


@pytest.mark.parametrize("name", LimitsConfig.model_fields)
def test_baton_toml_takes_a_maximum_by_both_names_but_not_by_both_at_once(name: str) -> None:
    new = parse_config(f"[limits]\nmax_{name} = 2\n".encode())
    assert new == parse_config(f"[limits]\n{name} = 2\n".encode())
    assert getattr(new.limits, name) is not None
    with pytest.raises(ConfigurationError, match=rf"max_{name} and {name} mean the same: keep max_{name}"):
        parse_config(f"[limits]\nmax_{name} = 2\n{name} = 2\n".encode())


def test_the_list_names_the_source_and_masks_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "baton_codec_token").write_text("a-token-of-some-length")
    (tmp_path / "token").write_text("ghp_secret-canary-0000")
    monkeypatch.setenv("BATON_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("BATON_GITHUB_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("BATON_STATE_REMOTE", "https://ada:s3cret-canary@example.org/state.git")
    monkeypatch.setenv("BATON_GITHUB_QUIET", "1m")
    listed = {one.variable: one for one in list_settings(read_settings())}
    assert (listed["BATON_CODEC_TOKEN"].value, listed["BATON_CODEC_TOKEN"].source) == (
        "***",
        f"file ({tmp_path / 'baton_codec_token'})",
    )
    assert (listed["BATON_GITHUB_TOKEN"].value, listed["BATON_GITHUB_TOKEN"].source) == (
        "***",
        f"file ({tmp_path / 'token'})",
    )
    assert listed["BATON_STATE_REMOTE"].value == "https://example.org/state.git"
    assert listed["BATON_GITHUB_QUIET"].value == 60.0
    assert (listed["BATON_MAX_USD"].value, listed["BATON_MAX_USD"].source) == ("-", "default")
    assert "canary" not in repr(listed)
    assert all(one.description for one in listed.values())
