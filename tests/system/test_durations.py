"""One grammar for durations: notes, options, settings and `baton.toml` read the same texts."""

from datetime import timedelta

import pytest

from baton.budget.caps import amount_in
from system.durations import parse_duration
from workspaces.project.baton_toml import GateConfig


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400), (" 10 min ", 600), ("3 Hours", 10_800)),
        *(
            ("", None),
            ("0", None),
            ("0s", None),
            ("-1s", None),
            ("soon", None),
            ("1w", 604_800),
            ("2 years", None),
            ("1h30m", None),
        ),
        *(("1e3", None), ("$5", None), ("5 USD", None), ("9" * 400, None), ("\u0663s", None)),
    ],
)
def test_what_a_text_means_everywhere(text: str, seconds: int | None) -> None:
    duration = None if seconds is None else timedelta(seconds=seconds)
    assert parse_duration(text) == duration
    assert amount_in(text, "seconds") == seconds
    if duration:
        assert GateConfig.model_validate({"timeout": text}).timeout == duration
    else:
        with pytest.raises(ValueError, match="takes seconds, or a text"):
            GateConfig.model_validate({"timeout": text})


def test_a_project_file_survives_its_json() -> None:
    gate = GateConfig.model_validate({"timeout": "90m"})
    assert GateConfig.model_validate_json(gate.model_dump_json()) == gate
    wrong: object
    for wrong in (True, float("nan"), float("inf"), 0, -1, 10**9, "P400D", "PT", "P", None, []):
        with pytest.raises(ValueError, match="takes seconds, or a text"):
            GateConfig.model_validate({"timeout": wrong})
