"""The log of requests and answers, with costs that are computed independently of the engine."""

from typing import Any

from pydantic import BaseModel, Field

from baton.budget.pricing import shipped_prices
from baton.records.run import Usage
from standin.script.player import Caller


class RequestRecord(BaseModel):
    """One request to `/v1/messages` or `/v1/messages/count_tokens`, including refused ones."""

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
    """Number of the request among those for that step, from 1; 0 without a step."""
    status: int = 0
    """HTTP status of the answer; 0 if the connection was cut before it."""
    error_type: str | None = None
    error_message: str | None = None
    fault: str | None = None
    """The scenario's fault for the request, as `name=value` pairs."""
    request_id: str = ""
    message_id: str | None = None
    stop_reason: str | None = None
    tools: list[str] = Field(default_factory=list)
    """Names of the tools that the answer calls."""
    usage: Usage = Field(default_factory=Usage)
    cost_usd: float = 0.0
    whole: bool = False
    """Whether a successful answer was sent completely."""
    seconds: float = 0.0
    blocks: int = 0
    """Blocks of the request: tools, system and message content."""
    body: dict[str, Any] | None = None
    """The request, if the stand-in keeps bodies."""

    def name_caller(self, caller: Caller) -> None:
        """Set run, role, task, round and turn from the headers."""
        self.run, self.role, self.task = caller.run, caller.role, caller.task
        self.round, self.turn = caller.round, caller.turn

    def bill_usage(self, model: str, usage: Usage) -> None:
        """Bill the request for tokens of the answering model, even if its answer does not arrive."""
        self.usage = usage
        self.cost_usd = shipped_prices().cost_usd(model, usage)


class RequestLog(BaseModel):
    """All requests of a stand-in, in the form of `GET /standin/requests`."""

    requests: list[RequestRecord] = Field(default_factory=list)

    def to_document(self) -> dict[str, Any]:
        """Return counts, tokens, costs and all requests, as JSON values."""
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


def mask_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return headers with their credentials masked."""
    return {name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()}
