"""The models that the stand-in serves, and their limits, in the form of `GET /v1/models`."""

from dataclasses import dataclass
from typing import Any

from baton.budget.pricing import shipped_prices

MAX_OUTPUT_TOKENS = 128_000
MIN_CACHEABLE_TOKENS = 512
"""Tokens of the smallest prefix that is cached. https://docs.claude.com/en/docs/build-with-claude/prompt-caching"""


@dataclass(frozen=True)
class ModelCatalogue:
    """The ids of the served models: those of the price list, and those that a scenario adds."""

    extra: tuple[str, ...] = ()
    context_window: int = 1_000_000

    def serves_model(self, model: str) -> bool:
        """Whether requests for this model are answered; retired and unknown ids are not served."""
        return shipped_prices().has_model(model) or model in self.extra

    def list_ids(self) -> list[str]:
        """Return every id, sorted."""
        return sorted({*shipped_prices().models, *self.extra})

    def describe_model(self, model: str) -> dict[str, Any]:
        """Return the API's description of a model."""
        words = model.removeprefix("claude-").split("-")
        return {
            "type": "model",
            "id": model,
            "display_name": " ".join(["Claude", words[0].capitalize(), ".".join(words[1:])]).strip(),
            "created_at": "2026-09-01T00:00:00Z",
            "lifecycle": "active",
            "line": None,
            "deprecated_at": None,
            "retires_at": None,
            "max_input_tokens": self.context_window,
            "max_tokens": MAX_OUTPUT_TOKENS,
            "capabilities": None,
        }

    def list_models(self) -> dict[str, Any]:
        """Return the API's list of models, on one page."""
        ids = self.list_ids()
        return {
            "data": [self.describe_model(i) for i in ids],
            "has_more": False,
            "first_id": ids[0],
            "last_id": ids[-1],
        }
