"""Which model is asked for, and that nothing is chosen silently."""

import pytest

from agents.models import resolve_model
from baton.errors import ConfigurationError
from baton.pricing import shipped_prices

PRICES = shipped_prices()


@pytest.mark.parametrize(
    ("raw", "model"),
    [
        ("sonnet", "claude-sonnet-5-5"),
        (" Opus ", "claude-opus-5-5"),
        ("claude-haiku-5-5", "claude-haiku-5-5"),
    ],
)
def test_what_is_plain_needs_no_note(raw: str, model: str) -> None:
    resolved = resolve_model(raw, PRICES, "opus")
    assert (resolved.id, resolved.note) == (model, None)


@pytest.mark.parametrize(
    ("raw", "model", "told"),
    [
        (None, "claude-opus-5-5", "No model is named"),
        ("", "claude-opus-5-5", "No model is named"),
        ("inherit", "claude-opus-5-5", "inherited"),
        ("claude-sonnet-4-20250514", "claude-sonnet-5-5", "retired"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-5-5", "retired"),
        ("claude-next-9", "claude-next-9", "not in the price list"),
        ("Claude Sonnet 4.5 (latest)", "claude-sonnet-5-5", "read as `sonnet`"),
        ("sonnet[1m]", "claude-sonnet-5-5", "read as `sonnet`"),
        ("opus or sonnet", "claude-opus-5-5", "several models"),
        ("gpt-5", "claude-opus-5-5", "names no known model"),
        ("a" * 5_000, "claude-opus-5-5", "names no known model"),
    ],
)
def test_everything_else_is_said(raw: str | None, model: str, told: str) -> None:
    resolved = resolve_model(raw, PRICES, "opus")
    assert resolved.id == model
    assert resolved.note is not None
    assert told in resolved.note
    assert len(resolved.note) < 500


def test_a_default_that_is_no_model_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="best one"):
        resolve_model(None, PRICES, "the best one")
