"""What model calls cost: five prices per tier from a dated data file, and the names that models go by."""

import tomllib
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baton.contracts import Usage
from baton.errors import ConfigurationError

_PER_MILLION = 1_000_000


class Tier(BaseModel):
    """Prices in USD per million tokens, for prompts up to a size."""

    model_config = ConfigDict(extra="forbid")

    up_to_prompt_tokens: int | None = None
    """None: no upper bound. The prompt is everything the model reads, cached or not."""
    input: float = Field(ge=0)
    cache_write_5m: float = Field(ge=0)
    cache_write_1h: float = Field(ge=0)
    cache_read: float = Field(ge=0)
    output: float = Field(ge=0)


class ModelPrices(BaseModel):
    """The tiers of one model, the cheapest first."""

    model_config = ConfigDict(extra="forbid")

    tiers: list[Tier] = Field(min_length=1)


class PriceList(BaseModel):
    """A dated list of prices with the aliases and retired ids of models."""

    model_config = ConfigDict(extra="forbid")

    date: date
    source: str = ""
    aliases: dict[str, str] = Field(default_factory=dict)
    retired: dict[str, str] = Field(default_factory=dict)
    models: dict[str, ModelPrices]

    def tier(self, model: str, prompt_tokens: int) -> Tier:
        """The tier that a prompt of this size is billed at.

        An unknown model is billed at the dearest known prices: a cap must never be passed because a price is missing.
        """
        prices = self.models.get(model)
        if prices is None:
            tiers = [tier for known in self.models.values() for tier in known.tiers]
            return max(tiers, key=lambda tier: tier.output)
        for tier in prices.tiers:
            if tier.up_to_prompt_tokens is None or prompt_tokens <= tier.up_to_prompt_tokens:
                return tier
        return prices.tiers[-1]

    def cost_usd(self, model: str, usage: Usage) -> float:
        """What one call cost. Costs of several calls are added up, for the tier depends on each call's prompt."""
        tier = self.tier(model, usage.prompt_tokens)
        return (
            usage.input_tokens * tier.input
            + usage.cache_write_5m_tokens * tier.cache_write_5m
            + usage.cache_write_1h_tokens * tier.cache_write_1h
            + usage.cache_read_tokens * tier.cache_read
            + usage.output_tokens * tier.output
        ) / _PER_MILLION

    def worst_case_usd(self, model: str, prompt_tokens: int, max_output_tokens: int) -> float:
        """The most that one call can cost: nothing cached, everything written, the whole answer used."""
        tier = self.tier(model, prompt_tokens)
        dearest_input = max(tier.input, tier.cache_write_5m, tier.cache_write_1h)
        return (prompt_tokens * dearest_input + max_output_tokens * tier.output) / _PER_MILLION

    def knows(self, model: str) -> bool:
        """Whether the list has prices for this id."""
        return model in self.models


def parse_prices(text: str, origin: str) -> PriceList:
    """Read a price list from TOML; raises ConfigurationError with the file's name and the first fault."""
    try:
        return PriceList.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigurationError(f"The price list {origin} cannot be read: {reason}") from error


@cache
def shipped_prices() -> PriceList:
    """The list that comes with this version."""
    return parse_prices(resources.files("baton").joinpath("data/prices.toml").read_text(), "baton/data/prices.toml")


def load_prices(override: Path | None) -> PriceList:
    """The user's list where one is named, else the shipped one."""
    if override is None:
        return shipped_prices()
    try:
        return parse_prices(override.read_text(), str(override))
    except OSError as error:
        raise ConfigurationError(f"The price list {override} cannot be read: {error.strerror}") from error
