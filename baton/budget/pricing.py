"""Prices of model calls, five per tier, from a dated data file, and the aliases of models.

A model without a price is never called, because no cap could bound its calls.
"""

import tomllib
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from baton.errors import ConfigurationError
from baton.records.run import Usage

_PER_MILLION = 1_000_000

Price = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class PriceTier(BaseModel):
    """Prices in USD per million tokens, for prompts up to a size."""

    model_config = ConfigDict(extra="forbid")

    up_to_prompt_tokens: int | None = Field(default=None, ge=1)
    """None: no maximum. A prompt is all that the model reads, cached or not."""
    input: Price
    cache_write_5m: Price
    cache_write_1h: Price
    cache_read: Price
    output: Price


class ModelPrices(BaseModel):
    """The tiers of one model, the cheapest first."""

    model_config = ConfigDict(extra="forbid")

    tiers: list[PriceTier] = Field(min_length=1)

    @field_validator("tiers")
    @classmethod
    def _for_every_prompt(cls, tiers: list[PriceTier]) -> list[PriceTier]:
        bounds = [tier.up_to_prompt_tokens for tier in tiers]
        known = [bound for bound in bounds[:-1] if bound is not None]
        if bounds[-1] is not None or len(known) < len(bounds) - 1 or known != sorted(set(known)):
            raise ValueError("the tiers must rise by `up_to_prompt_tokens`, and the last one has no such bound")
        return tiers


class PriceList(BaseModel):
    """A dated list of prices with the aliases and retired ids of models."""

    model_config = ConfigDict(extra="forbid")

    date: date
    source: str = ""
    aliases: dict[str, str] = Field(default_factory=dict)
    retired: dict[str, str] = Field(default_factory=dict)
    models: dict[str, ModelPrices]

    def find_tier(self, model: str, prompt_tokens: int) -> PriceTier:
        """Return the tier at which a prompt of this size is billed.

        A model that answered in place of the requested one may be unknown. Each class of its tokens is billed at the
        highest price in the list, so that a missing price never exceeds a cap.
        """
        prices = self.models.get(model)
        if prices is None:
            tiers = [tier for known in self.models.values() for tier in known.tiers]
            kinds = [name for name in PriceTier.model_fields if name != "up_to_prompt_tokens"]
            return PriceTier(**{kind: max(getattr(tier, kind) for tier in tiers) for kind in kinds})
        return next(
            tier
            for tier in prices.tiers
            if tier.up_to_prompt_tokens is None or prompt_tokens <= tier.up_to_prompt_tokens
        )

    def cost_usd(self, model: str, usage: Usage) -> float:
        """Return the cost of one call. Add up the costs of several calls, because each prompt has its own tier."""
        tier = self.find_tier(model, usage.prompt_tokens)
        return (
            usage.input_tokens * tier.input
            + usage.cache_write_5m_tokens * tier.cache_write_5m
            + usage.cache_write_1h_tokens * tier.cache_write_1h
            + usage.cache_read_tokens * tier.cache_read
            + usage.output_tokens * tier.output
        ) / _PER_MILLION

    def worst_case_usd(
        self, model: str, prompt_tokens: int, max_output_tokens: int, *, answers_as: str | None = None
    ) -> float:
        """Return the maximum cost of one call: the whole prompt at its highest price, and the longest answer.

        `answers_as` is the model that has answered in place of `model` so far; the more expensive of the two counts.
        Raises ConfigurationError if `model` has no price.
        """
        self.require_price(model)
        costs = []
        for tier in (self.find_tier(name, prompt_tokens) for name in (model, answers_as or model)):
            max_input = max(tier.input, tier.cache_write_5m, tier.cache_write_1h)
            costs.append((prompt_tokens * max_input + max_output_tokens * tier.output) / _PER_MILLION)
        return max(costs)

    def has_model(self, model: str) -> bool:
        """Whether the list has prices for this id."""
        return model in self.models

    def require_price(self, model: str) -> None:
        """Raise ConfigurationError, with the remedy, if a model has no price."""
        if not self.has_model(model):
            raise ConfigurationError(
                f"The model {model[:130]} has no price, so no cap could hold its calls back and none is made: name"
                " another model, or give its prices in a file that BATON_PRICES names."
            )

    def same_price(self, one: str, other: str) -> bool:
        """Whether two models cost the same, as an alias and the dated id behind it do."""
        return self.models.get(one) == self.models.get(other) is not None

    def overlay_on(self, other: "PriceList") -> "PriceList":
        """Return this list, completed with the entries that only the other one has."""
        return self.model_copy(
            update={
                "aliases": {**other.aliases, **self.aliases},
                "retired": {**other.retired, **self.retired},
                "models": {**other.models, **self.models},
            }
        )


def parse_prices(text: str, origin: str) -> PriceList:
    """Parse a price list in TOML; raises ConfigurationError with its origin and the first error."""
    try:
        return PriceList.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigurationError(f"The price list {origin} cannot be read: {reason}") from error


@cache
def shipped_prices() -> PriceList:
    """Return the list that is part of this version."""
    return parse_prices(resources.files("baton").joinpath("data/prices.toml").read_text(), "baton/data/prices.toml")


def load_prices(override: Path | None) -> PriceList:
    """Return the shipped list, overlaid with the user's file if there is one.

    Raises ConfigurationError if the file cannot be read.
    """
    if override is None:
        return shipped_prices()
    try:
        return parse_prices(override.read_text(), str(override)).overlay_on(shipped_prices())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"The price list {override} cannot be read: {reason}") from error
