"""The endpoints of the stand-in: they check a request, choose its step, bill it, and answer or fail by the scenario."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from standin.api.errors import ApiError, error_body
from standin.api.model_list import Catalogue
from standin.api.prefix import last_text, read_prefix
from standin.api.prompt_cache import PromptCache
from standin.api.rules import check_model, check_rules, check_size
from standin.api.schema import parse_request
from standin.script.answer import compose, token
from standin.script.obligations import Memory
from standin.script.player import Player, Turn, read_caller
from standin.script.scenario import Scenario, Step
from standin.server.endpoint import MessagesEndpoint
from standin.server.events import Event, message_body, stream_events
from standin.server.fault_errors import raise_status
from standin.server.request_log import Log, RequestRecord
from standin.server.wire import Wire

_RATE_LIMITS = {"requests": 4_000, "tokens": 4_800_000, "input-tokens": 4_000_000, "output-tokens": 800_000}


class StandIn:
    """A stand-in: a scenario that is being played, a prompt cache, and the log of requests."""

    def __init__(self, scenario: Scenario, *, keep_bodies: bool = False) -> None:
        self.scenario = scenario
        self.keep_bodies = keep_bodies
        self.cache = PromptCache()
        self.base_url = ""
        """URL at which it is served; the server sets it."""
        self._number = 0
        self._catalogue = Catalogue(tuple(scenario.models), scenario.context_window)
        self.reset()

    def reset(self) -> None:
        """Restart the scenario, with an empty log and an empty cache."""
        self.player = Player(self.scenario)
        self.log = Log()
        self.cache.clear()
        self._memory = Memory()

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests so far, in order of arrival."""
        return self.log.requests

    @property
    def cost_usd(self) -> float:
        """The total cost of all requests."""
        return sum(record.cost_usd for record in self.requests)

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/messages", MessagesEndpoint(self, counting=False)),
                Route("/v1/messages/count_tokens", MessagesEndpoint(self, counting=True)),
                Route("/v1/models", self._models, methods=["GET"]),
                Route("/v1/models/{model_id:path}", self._model, methods=["GET"]),
                Route("/standin/requests", self._show, methods=["GET"]),
                Route("/standin/reset", self._reset, methods=["POST"]),
                Route("/{path:path}", self._unknown, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
            ]
        )

    def new_request_id(self) -> str:
        """Return a unique id: `req_` and letters."""
        self._number += 1
        return "req_011C" + token(f"request {self._number} {id(self)}".encode(), 20)

    def common_headers(self, request_id: str) -> dict[str, str]:
        """Return the headers that every answer of the API has."""
        reset = (datetime.now(UTC) + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers = {"request-id": request_id, "anthropic-organization-id": "00000000-0000-4000-8000-00000ba70000"}
        for kind, limit in _RATE_LIMITS.items():
            headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{kind}-remaining"] = str(limit - 1)
            headers[f"anthropic-ratelimit-{kind}-reset"] = reset
        return headers

    def check_key(self, headers: Headers) -> None:
        """Check that the request has an accepted Bearer token or `x-api-key`; raises ApiError (401)."""
        bearer = headers.get("authorization", "")
        key = bearer[7:].strip() if bearer.lower().startswith("bearer ") else ""
        given = key or headers.get("x-api-key", "").strip()
        if not given:
            raise ApiError(401, "x-api-key header is required")
        if self.scenario.keys is not None and given not in self.scenario.keys:
            raise ApiError(401, "Invalid bearer token" if key else "invalid x-api-key")

    async def count(self, body: bytes, record: RequestRecord) -> dict[str, Any]:
        """Answer `count_tokens`; raises ApiError."""
        request = parse_request(body, counting=True)
        record.model = request["model"]
        check_model(request, self._catalogue)
        check_rules(request)
        return {"input_tokens": read_prefix(request, sealed=self._memory.sealed).tokens}

    async def answer(self, body: bytes, headers: Headers, record: RequestRecord, wire: Wire) -> None:
        """Answer one request to `/v1/messages`; raises ApiError if it is refused."""
        request = parse_request(body)
        record.model, record.stream = request["model"], request.get("stream", False)
        if self.keep_bodies:
            record.body = json.loads(body)
        check_model(request, self._catalogue)
        check_rules(request, prefill=bool(self._memory.paused))
        prefix = read_prefix(request, sealed=self._memory.sealed)
        self._memory.check_thinking_is_kept(request)
        if request["messages"][-1]["role"] == "assistant" and prefix.digest not in self._memory.paused:
            check_rules(request)
        check_size(prefix, self._catalogue)
        record.blocks = len(prefix.positions)

        caller = read_caller(headers)
        self._memory.check_is_not_refused(caller.run, body)
        now = time.monotonic()
        turn = self.player.play(caller, prefix.digest, request["max_tokens"], now, last_text(request))
        record.step, record.attempt = turn.index, turn.attempt
        fault = turn.fault
        if fault is not None:
            record.fault = ", ".join(
                f"{name}={value}" for name, value in fault.model_dump(exclude_defaults=True).items()
            )
            await wire.pause(fault.delay)
            if fault.reset_before_response or (fault.cut and not record.stream):
                await wire.reset()
            reset = self.player.resets_at(caller, prefix.digest, fault, now) - now
            try:
                raise_status(fault, timedelta(seconds=reset))
            except ApiError as error:
                self._memory.keep_refusal(caller.run, body, error)
                raise

        answer = compose(turn.step, request, prefix, caller.names(), json.dumps(caller.names(), sort_keys=True))
        outcome = self.cache.account(request, prefix)
        usage = outcome.usage.model_copy(update={"output_tokens": answer.output_tokens})
        self.cache.commit(outcome)
        record.bill(answer.model, usage)
        record.status, record.message_id, record.stop_reason = 200, answer.message_id, answer.stop_reason
        record.tools = [block["name"] for block in answer.content() if block["type"] == "tool_use"]
        self._memory.keep(answer)
        if record.stream:
            events = list(stream_events(answer, usage))
            await wire.stream(events, self._pace(turn, events), fault, record.request_id)
        else:
            await wire.pause(self._seconds(turn.step))
            await wire.json(200, message_body(answer, usage))
        record.whole = True

    def _seconds(self, step: Step) -> float:
        return self.scenario.seconds if step.seconds is None else step.seconds

    def _pace(self, turn: Turn, events: list[Event]) -> float:
        if turn.fault is not None and turn.fault.pace is not None:
            return turn.fault.pace
        return self._seconds(turn.step) / len(events)

    def _allow(self, request: Request) -> Response | None:
        try:
            self.check_key(request.headers)
        except ApiError as error:
            return self._refusal(error)
        return None

    def _refusal(self, error: ApiError) -> Response:
        request_id = self.new_request_id()
        return JSONResponse(
            error_body(error, request_id), error.status, headers={**self.common_headers(request_id), **error.headers}
        )

    async def _models(self, request: Request) -> Response:
        return self._allow(request) or JSONResponse(
            self._catalogue.page(), headers=self.common_headers(self.new_request_id())
        )

    async def _model(self, request: Request) -> Response:
        refused = self._allow(request)
        if refused is not None:
            return refused
        model = request.path_params["model_id"]
        if not self._catalogue.serves(model):
            return self._refusal(ApiError(404, f"model: {model}"))
        return JSONResponse(self._catalogue.info(model), headers=self.common_headers(self.new_request_id()))

    async def _show(self, _request: Request) -> Response:
        return JSONResponse(self.log.document())

    async def _reset(self, _request: Request) -> Response:
        self.reset()
        return JSONResponse({"reset": True})

    async def _unknown(self, _request: Request) -> Response:
        return self._refusal(ApiError(404, "Not found"))
