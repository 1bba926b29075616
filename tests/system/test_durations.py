"""The one grammar of durations: each text has one meaning, or none."""

import json
import re
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from baton.budget.caps import parse_amount
from baton.settings.core import read_settings
from system.durations import GRAMMAR, parse_duration
from workspaces.project.baton_toml import GateConfig, parse_config

MEANT = {
    "90": 90,
    "90s": 90,
    "90 sec": 90,
    "1.5h": 5_400,
    "15m": 900,
    "15 minutes": 900,
    "2H": 7_200,
    "1d": 86_400,
    "5 days": 432_000,
    "8w": 4_838_400,
    "1h30m": 5_400,
    "1d 2h 3m 4s": 93_784,
    " 30m ": 1_800,
    "PT1H30M": 5_400,
    "P2DT1S": 172_801,
}
REFUSED = (
    *("", "0", "0s", "-5m", "+5m", "inf", "nan", "soon", "5 usd", "$5", "5 turns", "1h30", "m", "30mm", "1,5h"),
    *("1_000s", "12345678s", "P", "PT", "P1Y", "1h" * 40, "\u0665m"),
)


@pytest.mark.parametrize("text", MEANT)
def test_a_duration_is_a_number_with_a_unit(text: str) -> None:
    assert parse_duration(text) == timedelta(seconds=MEANT[text])


@pytest.mark.parametrize("text", REFUSED)
def test_any_other_text_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize("seconds", [0.5, 59, 3_600, 5_400, 86_400, 100_000, 2_592_000])
def test_the_form_of_json_documents_is_read(seconds: float) -> None:
    span = timedelta(seconds=seconds)
    assert parse_duration(json.loads(TypeAdapter(timedelta).dump_json(span))) == span


def test_the_examples_are_durations() -> None:
    assert [parse_duration(example) for example in re.split(", | or ", GRAMMAR)] == [
        timedelta(seconds=seconds) for seconds in (90, 900, 7_200, 86_400)
    ]


@pytest.mark.parametrize("text", ["90s", "15m", "1h30m", "1d"])
def test_settings_baton_toml_and_notes_read_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    span = parse_duration(text)
    monkeypatch.setenv("BATON_WALL_CLOCK", text)
    assert read_settings().wall_clock == span
    assert parse_config(f"[limits]\nwall_clock = '{text}'\n".encode()).limits.wall_clock == span
    assert span is not None
    assert parse_amount(text, "seconds") == span.total_seconds()


def test_a_project_file_survives_its_json() -> None:
    gate = GateConfig.model_validate({"timeout": "90m"})
    assert GateConfig.model_validate_json(gate.model_dump_json()) == gate
    wrong: object
    for wrong in (True, float("nan"), float("inf"), 0, -1, 10**9, 1e300, "P400D", "PT", "P", None, []):
        with pytest.raises(ValueError, match="takes seconds, or a text"):
            GateConfig.model_validate({"timeout": wrong})
