"""Which model is asked for, and that nothing is chosen silently."""

import pytest

from agents.roles.models import check_models, resolve_model
from baton.budget.pricing import shipped_prices
from baton.errors import ConfigurationError
from baton.settings.core import Settings

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


@pytest.mark.parametrize("raw", ["claude-next-9", "Claude-Mythos-5-2", "claude-opus-4-8-20260601"])
def test_an_id_without_a_price_is_refused(raw: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{raw.lower()} has no price.*BATON_PRICES"):
        resolve_model(raw, PRICES, "opus")


@pytest.mark.parametrize("raw", ["gpt-5", "opsu", "opus or sonnet"])
def test_a_persons_own_word_is_never_replaced(raw: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{raw!r} is no model: write an alias"):
        resolve_model(raw, PRICES, "opus", exact=True)
    assert resolve_model("sonnet[1m]", PRICES, "opus", exact=True).id == "claude-sonnet-5-5"


def test_where_the_name_stands_is_said() -> None:
    settings = Settings(home="/h", tester_model="claude-next-9")
    with pytest.raises(ConfigurationError, match=r"BATON_TESTER_MODEL is invalid.*claude-next-9"):
        check_models({"backend": "opus"}, settings, PRICES)
    # What the request says comes first.
    check_models({"tester": "opus"}, settings, PRICES)
    with pytest.raises(ConfigurationError, match=r"asked for as tester is invalid.*claude-next-8"):
        check_models({"tester": "claude-next-8"}, settings, PRICES)


def test_a_default_that_is_no_model_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="best one"):
        resolve_model(None, PRICES, "the best one")
