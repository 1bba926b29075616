"""The log of what was asked and answered, with costs reckoned independently of the engine."""

from typing import Any

from pydantic import BaseModel, Field

from baton.budget.pricing import shipped_prices
from baton.records.run import Usage
from standin.script.player import Caller


class RequestRecord(BaseModel):
    """One request to `/v1/messages` or `/v1/messages/count_tokens`, also a refused one."""

    number: int
    """From 1, in the order of arrival."""
    path: str
    headers: dict[str, str] = Field(default_factory=dict)
    """Lower-case names; credentials are masked."""
    run: str | None = None
    role: str | None = None
    task: str | None = None
    round: int | None = None
    turn: int | None = None
    model: str | None = None
    stream: bool = False
    step: int | None = None
    """Number of the scenario's step, from 0; None for the default and for refused requests."""
    attempt: int = 0
    """The how-manieth request for that step, from 1; 0 where none was reached."""
    status: int = 0
    """Of the HTTP answer; 0 where the connection was cut before one."""
    error_type: str | None = None
    error_message: str | None = None
    fault: str | None = None
    """The fault that befell the request, as the scenario has it."""
    request_id: str = ""
    message_id: str | None = None
    stop_reason: str | None = None
    tools: list[str] = Field(default_factory=list)
    """Names of the tools that the answer calls."""
    usage: Usage = Field(default_factory=Usage)
    cost_usd: float = 0.0
    whole: bool = False
    """Whether a successful answer was sent to its end."""
    seconds: float = 0.0
    blocks: int = 0
    """Blocks of the request: tools, system and message content."""
    body: dict[str, Any] | None = None
    """The request, where bodies are kept."""

    def name_caller(self, caller: Caller) -> None:
        """Take over what the headers say."""
        self.run, self.role, self.task = caller.run, caller.role, caller.task
        self.round, self.turn = caller.round, caller.turn

    def bill(self, model: str, usage: Usage) -> None:
        """The request is billed for these tokens of the model that answers, whether or not its answer arrives."""
        self.usage = usage
        self.cost_usd = shipped_prices().cost_usd(model, usage)


class Log(BaseModel):
    """All requests of a stand-in, as `GET /standin/requests` tells them."""

    requests: list[RequestRecord] = Field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Counts, tokens, costs and all requests, as JSON values."""
        billed = [record for record in self.requests if record.path == "/v1/messages"]
        usage = sum((record.usage for record in billed), Usage())
        return {
            "count": len(billed),
            "whole": sum(record.whole for record in billed),
            "refused": sum(record.status >= 400 for record in billed),
            "usage": usage.model_dump(),
            "cost_usd": sum(record.cost_usd for record in billed),
            "requests": [record.model_dump(mode="json") for record in self.requests],
        }


_SECRET_HEADERS = ("authorization", "x-api-key", "proxy-authorization", "cookie")


def masked(headers: dict[str, str]) -> dict[str, str]:
    """Headers without credentials."""
    return {name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()}
