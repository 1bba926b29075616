"""The kernel's pure rules: names, prices, redaction, settings, the error tree."""

import re

import pytest

from baton import errors, naming
from baton.contracts import Usage
from baton.errors import ConfigurationError
from baton.pricing import parse_prices, shipped_prices
from baton.redaction import Redactor, has_url_credentials, strip_url_credentials
from baton.settings import read_settings
from tests.growth import assert_linear


def test_run_ids_say_what_they_are() -> None:
    run = naming.new_run_id("/srv/git/Shop API.git", "Add pagination to GET /orders, with a total count header")
    assert re.fullmatch(r"shop-api-add-pagination-to-get-orders-with-a-[a-z0-9]{4}", run)
    assert naming.is_run_id(run)


@pytest.mark.parametrize("bad", ["", "../x", "a..b", "a/b", "-x", "a.lock", "x" * 200, "a b", "ä"])
def test_ids_that_would_be_unsafe_in_refs_and_paths_are_refused(bad: str) -> None:
    assert not naming.is_run_id(bad)
    assert not naming.is_task_id(bad)


@pytest.mark.parametrize(
    ("repo", "name"),
    [
        ("https://example.org/team/shop.git", "shop"),
        ("git@example.org:team/shop.git", "shop"),
        ("/srv/shop/", "shop"),
        (".", "."),
    ],
)
def test_repo_name(repo: str, name: str) -> None:
    assert naming.repo_name(repo) == name


def test_cost_takes_the_tier_of_the_prompt() -> None:
    prices = shipped_prices()
    small = Usage(input_tokens=50_000, output_tokens=1_000)
    large = Usage(input_tokens=50_000, cache_read_tokens=60_000, output_tokens=1_000)
    assert prices.cost_usd("claude-haiku-5-5", small) == pytest.approx(0.0055)
    assert prices.cost_usd("claude-haiku-5-5", large) == pytest.approx(0.025 + 0.003 + 0.0025)
    assert prices.cost_usd("claude-sonnet-5-5", Usage(cache_write_1h_tokens=1_000_000)) == pytest.approx(4.0)


def test_an_unknown_model_is_billed_at_the_dearest_prices() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert shipped_prices().cost_usd("claude-next", usage) == pytest.approx(48.0)


def test_a_broken_price_list_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"mine\.toml"):
        parse_prices("date = 2026-01-01\n[models.x]\ntiers = []", "mine.toml")


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        ("postgres://app:hunter22@db/x", "hunter22"),
        ("key sk-ant-api03-abcdefgh12345678", "abcdefgh12345678"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("DATABASE_PASSWORD=correcthorse", "correcthorse"),
        ('{"api_key": "abcd1234efgh"}', "abcd1234efgh"),
        ("git clone https://x:ghp_aaaaaaaaaaaaaaaaaaaaaaaaa@h/r", "ghp_aaaa"),
    ],
)
def test_credentials_are_masked(text: str, leak: str) -> None:
    assert leak not in Redactor()(text)


def test_known_secrets_are_masked_whatever_their_shape() -> None:
    assert Redactor(["zanzibar-7"])("say zanzibar-7 twice: zanzibar-7") == "say *** twice: ***"


def test_url_credentials() -> None:
    assert has_url_credentials("https://token@example.org/x")
    assert not has_url_credentials("ssh://git@example.org/x")
    assert not has_url_credentials("git@example.org:x")
    assert strip_url_credentials("https://a:b@example.org/x") == "https://example.org/x"


def test_a_bad_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_SANDBOX", "maybe")
    with pytest.raises(ConfigurationError, match="BATON_SANDBOX"):
        read_settings()


def test_the_error_tree_is_drawn_whole() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.BatonError) and value is not errors.BatonError
    }
    assert drawn == defined


@pytest.mark.parametrize("word", ["x" * 500_000, "x-" * 250_000, "https://" * 60_000, "password " * 50_000])
def test_the_time_for_redaction_grows_with_the_length_of_words(word: str) -> None:
    assert Redactor()(f"{word} password=hunter22").endswith("password=***")
    assert_linear(lambda text: Redactor()(f"{text} password=hunter22"), word[: len(word) // 2], word)
