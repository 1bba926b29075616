"""The base classes of all records, and the types of their fields."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints


class Record(BaseModel):
    """Base of every record: it drops unknown fields, so that an older worker can read a newer record."""

    model_config = ConfigDict(extra="ignore", frozen=False, validate_assignment=False)


class StrictRecord(BaseModel):
    """Base of the messages that people send: an unknown field is an error, because it is most likely a misspelling."""

    model_config = ConfigDict(extra="forbid")


def _format_iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[datetime, PlainSerializer(_format_iso, return_type=str, when_used="json")]
"""A point in time; ISO 8601 in UTC with a trailing Z in JSON."""

Usd = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
"""An amount in USD. As a cap, 0 permits no call; NaN and infinity, which would bound nothing, are invalid."""

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86_400, allow_inf_nan=False)]
"""A duration that a run can wait or work, in seconds: up to ten years, so that a date can hold its end."""

Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""A maximum of turns."""

ShortText = Annotated[str, StringConstraints(max_length=2_000)]
"""Text that may stand in a workflow history: bounded, never a transcript."""


class Usage(Record):
    """Tokens of one or more model calls, in the classes in which the API bills them."""

    input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})

    @property
    def prompt_tokens(self) -> int:
        """All tokens that the model read: uncached, written to the cache, and read from it."""
        return self.input_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens + self.cache_read_tokens
