"""The kernel's pure rules: names, prices, redaction, settings, the error tree."""

import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from baton import errors, identifiers
from baton.budget.pricing import load_prices, parse_prices, shipped_prices
from baton.errors import ConfigurationError
from baton.records.run import Usage
from baton.settings.core import read_settings
from baton.text.redaction import Redactor, has_url_credentials, strip_url_credentials
from tests.support.growth import assert_linear


def test_run_ids_say_what_they_are() -> None:
    run = identifiers.new_run_id("/srv/git/Shop API.git", "Add pagination to GET /orders, with a total count header")
    assert re.fullmatch(r"shop-api-add-pagination-to-get-orders-with-a-[a-z0-9]{4}", run)
    assert identifiers.is_run_id(run)


TIMES = ["2026-11-28T06:00:00Z", "2026-11-28T06:00:00.5Z", "2026-11-28T06:00:00.123456789Z"]
"""As schedules of Temporal's append them."""


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("name", ["nightly", "x" * 120, "a.b_c-d"])
def test_ids_that_a_schedule_makes_have_names_in_refs(name: str, time: str) -> None:
    run = f"{name}-{time}"
    assert identifiers.is_workflow_id(run)
    assert not identifiers.is_run_id(run)
    key = identifiers.run_key(run)
    assert key == run.replace(":", "+")
    assert identifiers.is_run_key(key)
    assert not identifiers.is_workflow_id(key), "no run can have the name of another one"
    assert (identifiers.run_key(key), identifiers.workflow_id_of(key)) == (key, run)
    assert identifiers.task_ref(run, "t1") == f"refs/baton/{key}/t1/head"
    for name in (identifiers.branch_name(run), identifiers.run_ref(run)):
        subprocess.run(["git", "check-ref-format", "--allow-onelevel", name], check=True)
    child = identifiers.session_workflow_id(run, "t1", 2, "tester")
    assert identifiers.place_of(child) == {"run": key, "task": "t1", "round": "2", "role": "tester"}


@pytest.mark.parametrize(
    "bad",
    ["a:b", "../x-2026-11-28T06:00:00Z", "-2026-11-28T06:00:00Z", "n-2026-11-28T06:00Z", "n-2026-11-28T06+00+00Z",
     "n-2026-11-28T06:00+00Z", "n-2026-11-28T06:00:00Z/t1", "n-2026-11-28T06:00:00Z\n",
     "x" * 121 + "-2026-11-28T06:00:00Z"],
)  # fmt: skip
def test_other_ids_with_colons_are_refused(bad: str) -> None:
    assert not identifiers.is_workflow_id(bad)


@pytest.mark.parametrize("bad", ["", "../x", "a..b", "a/b", "-x", "a.lock", "x" * 200, "a b", "ä"])
def test_ids_that_would_be_unsafe_in_refs_and_paths_are_refused(bad: str) -> None:
    assert not identifiers.is_run_id(bad)
    assert not identifiers.is_task_id(bad)


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
    assert identifiers.repo_name(repo) == name


def test_cost_takes_the_tier_of_the_prompt() -> None:
    prices = shipped_prices()
    small = Usage(input_tokens=50_000, output_tokens=1_000)
    large = Usage(input_tokens=50_000, cache_read_tokens=60_000, output_tokens=1_000)
    assert prices.cost_usd("claude-haiku-5-5", small) == pytest.approx(0.0055)
    assert prices.cost_usd("claude-haiku-5-5", large) == pytest.approx(0.025 + 0.003 + 0.0025)
    assert prices.cost_usd("claude-sonnet-5-5", Usage(cache_write_1h_tokens=1_000_000)) == pytest.approx(4.0)


def test_a_model_without_a_price_is_not_asked_and_its_answers_count_with_the_dearest_of_each() -> None:
    prices = shipped_prices()
    with pytest.raises(ConfigurationError, match=r"claude-next has no price.*BATON_PRICES"):
        prices.worst_case_usd("claude-next", 1_000, 1_000)
    million = dict.fromkeys(Usage.model_fields, 1_000_000)
    for kind in Usage.model_fields:
        usage = Usage(**{kind: million[kind]})
        dearest = max(prices.cost_usd(model, usage) for model in prices.models)
        assert prices.cost_usd("claude-next", usage) == dearest


def test_the_worst_case_is_that_of_the_dearer_model_where_another_answers() -> None:
    prices = shipped_prices()
    alone = prices.worst_case_usd("claude-sonnet-5-5", 1_000, 1_000)
    assert prices.worst_case_usd("claude-sonnet-5-5", 1_000, 1_000, answers_as="claude-haiku-5-5") == alone
    for dearer in ("claude-fable-5-1", "claude-next"):
        worst = prices.worst_case_usd("claude-sonnet-5-5", 1_000, 1_000, answers_as=dearer)
        assert worst == prices.worst_case_usd("claude-fable-5-1", 1_000, 1_000) > alone


def test_every_model_of_the_sdk_has_a_price_or_is_refused() -> None:
    """Those that the SDK names, less those that nobody publishes a price of; a new SDK must be looked through."""
    from anthropic.types import ModelParam

    listed = {name for kind in get_args(ModelParam) for name in get_args(kind)}
    assert len(listed) > 20
    without = listed - set(shipped_prices().models)
    assert without == {"claude-mythos-5-2", "claude-mythos-preview"}
    for model in listed & set(shipped_prices().models):
        for tier in shipped_prices().models[model].tiers:
            assert 0 < tier.cache_read < tier.input < tier.cache_write_5m < tier.cache_write_1h < tier.output


def test_prices_of_models_that_are_still_served() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    prices = shipped_prices()
    for model, usd in (("claude-fable-5-1", 60), ("claude-opus-4-8", 30), ("claude-sonnet-4-6", 18)):
        assert prices.cost_usd(model, usage) == pytest.approx(usd)
    assert prices.same_price("claude-haiku-4-5", "claude-haiku-4-5-20251001")
    assert not prices.same_price("claude-opus-5", "claude-opus-5-5")
    assert not prices.same_price("claude-next", "claude-next-2")


def test_a_persons_prices_come_on_top_of_the_shipped_ones(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    row = "input = 1\ncache_write_5m = 2\ncache_write_1h = 3\ncache_read = 0.1\noutput = 9\n"
    own.write_text(f'date = 2026-11-20\n[[models."claude-next".tiers]]\n{row}[[models."claude-opus-5-5".tiers]]\n{row}')
    prices = load_prices(own)
    usage = Usage(output_tokens=1_000_000)
    assert prices.cost_usd("claude-next", usage) == prices.cost_usd("claude-opus-5-5", usage) == 9
    assert prices.cost_usd("claude-sonnet-5-5", usage) == 10
    assert prices.aliases["sonnet"] == "claude-sonnet-5-5"


@pytest.mark.parametrize(
    "row",
    [
        "input = inf\ncache_write_5m = 2\ncache_write_1h = 3\ncache_read = 0.1\noutput = 9",
        "input = nan\ncache_write_5m = 2\ncache_write_1h = 3\ncache_read = 0.1\noutput = 9",
        "input = -1\ncache_write_5m = 2\ncache_write_1h = 3\ncache_read = 0.1\noutput = 9",
        "up_to_prompt_tokens = 5\ninput = 1\ncache_write_5m = 2\ncache_write_1h = 3\ncache_read = 0.1\noutput = 9",
        "input = 1\noutput = 9",
    ],
)
def test_prices_that_would_hold_nothing_back_are_refused(row: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mine\.toml"):
        parse_prices(f"date = 2026-01-01\n[[models.x.tiers]]\n{row}", "mine.toml")


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
