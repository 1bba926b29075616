"""`baton.toml`: what it may say, and that everything else is one clear sentence naming table and key."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton import policies
from baton.errors import ConfigurationError, ExitCode
from workspaces.project.baton_toml import ProjectConfig, parse_config

FULL = b"""
[gate]
setup = "pip install -e ."
test = "pytest -q"
timeout = "20m"
[scope]
backend = ["orders/**", "!orders/static/**"]
[limits]
usd = 5
turns = 40
rounds = 2
parallel = 4
wall_clock = "2h"
[sandbox]
network = true
binds = ["/opt/node-22"]
"""


def test_a_full_file() -> None:
    config = parse_config(FULL)
    assert (config.gate.setup, config.gate.test) == ("pip install -e .", "pytest -q")
    assert config.gate.timeout == timedelta(minutes=20)
    assert config.scope == {"backend": ["orders/**", "!orders/static/**"]}
    assert (config.limits.usd, config.limits.turns, config.limits.rounds, config.limits.parallel) == (5.0, 40, 2, 4)
    assert config.limits.wall_clock == timedelta(hours=2)
    assert (config.sandbox.network, config.sandbox.binds) == (True, ["/opt/node-22"])


@pytest.mark.parametrize("data", [None, b"", b"# nothing\n", b"\xef\xbb\xbf[gate]\r\n"])
def test_without_anything_the_defaults_hold(data: bytes | None) -> None:
    config = parse_config(data)
    assert config == ProjectConfig()
    assert config.gate.timeout == policies.GATE_TIMEOUT
    assert not config.sandbox.network


@pytest.mark.parametrize("data", [None, FULL])
def test_it_survives_json(data: bytes | None) -> None:
    config = parse_config(data)
    assert ProjectConfig.model_validate(json.loads(config.model_dump_json())) == config
    assert ProjectConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45", 45), ("1.5", 1.5), ('"90s"', 90), ('"10m"', 600), ('"2h"', 7_200), ('"1 d"', 86_400), ('"30"', 30)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_config(f"[gate]\ntimeout = {text}".encode()).gate.timeout.total_seconds() == seconds


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[gate]\ntimeout = -1", "[gate] timeout"),
        ("[gate]\ntimeout = 0", "[gate] timeout"),
        ("[gate]\ntimeout = nan", "[gate] timeout"),
        ("[gate]\ntimeout = inf", "[gate] timeout"),
        ("[gate]\ntimeout = true", "[gate] timeout"),
        ("[gate]\ntimeout = 'soon'", "[gate] timeout"),
        ("[gate]\ntimeout = '999999d'", "[gate] timeout"),
        ("[gate]\ntimeout = 2020-01-01", "[gate] timeout"),
        ("[gate]\ntset = 'x'", "[gate] tset"),
        ("[gate]\ntest = ''", "[gate] test"),
        ("[gate]\ntest = '  '", "[gate] test"),
        ("[gate]\ntest = ['pytest']", "[gate] test"),
        ('[gate]\ntest = "a\\u0000b"', "[gate] test"),
        ("[gates]\ntest = 'x'", "[gates]"),
        ("gate = 'pytest'", "[gate]"),
        ("[scope]\nhacker = ['**']", "[scope]"),
        ("[scope]\nreviewer = ['**']", "[scope]"),
        ("[scope]\nbackend = '**'", "[scope] backend"),
        ("[scope]\nbackend = [1]", "[scope] backend"),
        ("[scope]\nbackend = ['../**']", "[scope]"),
        ("[scope]\nbackend = ['a**/b']", "[scope]"),
        ("[limits]\nusd = -3", "[limits] usd"),
        ("[limits]\nusd = nan", "[limits] usd"),
        ("[limits]\nturns = '40'", "[limits] turns"),
        ("[limits]\nturns = true", "[limits] turns"),
        ("[limits]\nrounds = 0", "[limits] rounds"),
        ("[limits]\nparallel = 1000", "[limits] parallel"),
        ("[sandbox]\nnetwork = 1", "[sandbox] network"),
        ("[sandbox]\nnetwork = 'yes'", "[sandbox] network"),
        ("[sandbox]\nbinds = ['/']", "[sandbox] binds"),
        ("[sandbox]\nbinds = ['/root']", "[sandbox] binds"),
        ("[sandbox]\nbinds = ['/root/.ssh']", "[sandbox] binds"),
        ("[sandbox]\nbinds = ['/home/ann']", "[sandbox] binds"),
        ("[sandbox]\nbinds = ['/opt/../root/.aws']", "[sandbox] binds"),
        ("[sandbox]\nbinds = ['~/.cargo']", "[sandbox] binds"),
        ("[sandbox]\nbinds = '/opt/x'", "[sandbox] binds"),
        (f"[sandbox]\nbinds = {[f'/opt/{n}' for n in range(50)]}", "[sandbox] binds"),
    ],
)
def test_what_does_not_fit_is_named(text: str, place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(text.encode())
    message = str(caught.value)
    assert place in message
    assert "baton.toml" in message
    assert "\n" not in message
    assert len(message) < 500
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"[gate",
        b"a = " + b"[" * 20_000,
        b"x = 1\n" * 20_000,
        b"[gate]\n[gate]\n",
        b"\0",
        b"a." * 10_000 + b"b = 1",
    ],
)
def test_what_is_no_toml_is_said_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="ignore")))
def test_nothing_but_a_configuration_error_is_raised(data: bytes) -> None:
    try:
        parse_config(data)
    except ConfigurationError:
        return
