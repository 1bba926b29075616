"""The limits of a run, from the request, the repository's `baton.toml` and the settings."""

import pytest

from activities.run.limits import limits_of
from baton.records.run import Bounds, RunLimits, RunRequest
from baton.settings.core import Settings
from workspaces.project.baton_toml import LimitsConfig, parse_config

NAMES = sorted(Bounds.model_fields)
SETTINGS = {
    "usd": "usd_per_run",
    "turns": "turns_per_session",
    "wall_clock_seconds": "wall_clock",
    "rounds": None,
    "parallel": None,
}
"""Where a setting has another name than the limit, or there is none."""


def request(**asked: float) -> RunRequest:
    return RunRequest.model_validate({"task": "t", "repo": "/r", **asked})


def config(**limits: float):  # type: ignore[no-untyped-def]
    lines = [f"{name.removesuffix('_seconds')} = {value}" for name, value in limits.items()]
    return parse_config("\n".join(["[limits]", *lines]).encode())


def settings(**limits: float) -> Settings:
    named = {SETTINGS.get(name, name): value for name, value in limits.items()}
    return Settings.model_validate({name: value for name, value in named.items() if name})


def test_baton_toml_names_the_same_limits_as_a_request() -> None:
    assert sorted(LimitsConfig.model_fields) == sorted(name.removesuffix("_seconds") for name in NAMES)


def test_without_a_source_the_defaults_hold() -> None:
    assert limits_of(request(), config(), settings()) == RunLimits()


@pytest.mark.parametrize("name", NAMES)
def test_the_stricter_of_repository_and_settings_holds(name: str) -> None:
    of_repository = limits_of(request(), config(**{name: 2}), settings(**{name: 5}))
    assert of_repository.named()[name] == 2
    of_settings = limits_of(request(), config(**{name: 5}), settings(**{name: 2}))
    assert of_settings.named()[name] == (5 if SETTINGS.get(name, name) is None else 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_request_comes_before_both(name: str) -> None:
    for asked in (1, 7):
        assert limits_of(request(**{name: asked}), config(**{name: 4}), settings(**{name: 4})).named()[name] == asked
