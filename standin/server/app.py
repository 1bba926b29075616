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
from standin.api.model_list import ModelCatalogue
from standin.api.prefix import last_text, read_prefix
from standin.api.prompt_cache import PromptCache
from standin.api.rules import check_model, check_rules, check_size
from standin.api.schema import parse_request
from standin.script.answer import compose_answer, derive_token
from standin.script.obligations import Obligations
from standin.script.player import PlayedStep, Player, read_caller
from standin.script.scenario import Scenario, ScriptedStep
from standin.server.endpoint import MessagesEndpoint
from standin.server.events import Event, message_body, stream_events
from standin.server.fault_errors import raise_status
from standin.server.request_log import RequestLog, RequestRecord
from standin.server.wire import ClientConnection

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
        self._catalogue = ModelCatalogue(tuple(scenario.models), scenario.context_window)
        self.reset_scenario()

    def reset_scenario(self) -> None:
        """Restart the scenario, with an empty log and an empty cache."""
        self.player = Player(self.scenario)
        self.log = RequestLog()
        self.cache.clear()
        self._memory = Obligations()

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests so far, in order of arrival."""
        return self.log.requests

    @property
    def cost_usd(self) -> float:
        """The total cost of all requests."""
        return sum(record.cost_usd for record in self.requests)

    def build_application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/messages", MessagesEndpoint(self, counting=False)),
                Route("/v1/messages/count_tokens", MessagesEndpoint(self, counting=True)),
                Route("/v1/models", self._list_models, methods=["GET"]),
                Route("/v1/models/{model_id:path}", self._show_model, methods=["GET"]),
                Route("/standin/requests", self._show_log, methods=["GET"]),
                Route("/standin/reset", self._handle_reset, methods=["POST"]),
                Route("/{path:path}", self._refuse_path, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
            ]
        )

    def new_request_id(self) -> str:
        """Return a unique id: `req_` and letters."""
        self._number += 1
        return "req_011C" + derive_token(f"request {self._number} {id(self)}".encode(), 20)

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

    async def count_tokens(self, body: bytes, record: RequestRecord) -> dict[str, Any]:
        """Answer `count_tokens`; raises ApiError."""
        request = parse_request(body, counting=True)
        record.model = request["model"]
        check_model(request, self._catalogue)
        check_rules(request)
        return {"input_tokens": read_prefix(request, sealed=self._memory.sealed).tokens}

    async def answer_message(
        self, body: bytes, headers: Headers, record: RequestRecord, wire: ClientConnection
    ) -> None:
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
        turn = self.player.play_request(caller, prefix.digest, request["max_tokens"], now, last_text(request))
        record.step, record.attempt = turn.index, turn.attempt
        fault = turn.fault
        if fault is not None:
            record.fault = ", ".join(
                f"{name}={value}" for name, value in fault.model_dump(exclude_defaults=True).items()
            )
            await wire.wait_or_gone(fault.delay)
            if fault.reset_before_response or (fault.stream_cut and not record.stream):
                await wire.reset_connection()
            reset = self.player.resets_at(caller, prefix.digest, fault, now) - now
            try:
                raise_status(fault, timedelta(seconds=reset))
            except ApiError as error:
                self._memory.keep_refusal(caller.run, body, error)
                raise

        answer = compose_answer(
            turn.step, request, prefix, caller.template_names(), json.dumps(caller.template_names(), sort_keys=True)
        )
        outcome = self.cache.account_request(request, prefix)
        usage = outcome.usage.model_copy(update={"output_tokens": answer.output_tokens})
        self.cache.commit_outcome(outcome)
        record.bill_usage(answer.model, usage)
        record.status, record.message_id, record.stop_reason = 200, answer.message_id, answer.stop_reason
        record.tools = [block["name"] for block in answer.content_blocks() if block["type"] == "tool_use"]
        self._memory.keep_answer(answer)
        if record.stream:
            events = list(stream_events(answer, usage))
            await wire.send_stream(events, self._event_pace(turn, events), fault, record.request_id)
        else:
            await wire.wait_or_gone(self._answer_seconds(turn.step))
            await wire.send_json(200, message_body(answer, usage))
        record.whole = True

    def _answer_seconds(self, step: ScriptedStep) -> float:
        return self.scenario.seconds if step.seconds is None else step.seconds

    def _event_pace(self, turn: PlayedStep, events: list[Event]) -> float:
        if turn.fault is not None and turn.fault.pace is not None:
            return turn.fault.pace
        return self._answer_seconds(turn.step) / len(events)

    def _check_access(self, request: Request) -> Response | None:
        try:
            self.check_key(request.headers)
        except ApiError as error:
            return self._refusal_response(error)
        return None

    def _refusal_response(self, error: ApiError) -> Response:
        request_id = self.new_request_id()
        return JSONResponse(
            error_body(error, request_id), error.status, headers={**self.common_headers(request_id), **error.headers}
        )

    async def _list_models(self, request: Request) -> Response:
        return self._check_access(request) or JSONResponse(
            self._catalogue.list_models(), headers=self.common_headers(self.new_request_id())
        )

    async def _show_model(self, request: Request) -> Response:
        refused = self._check_access(request)
        if refused is not None:
            return refused
        model = request.path_params["model_id"]
        if not self._catalogue.serves_model(model):
            return self._refusal_response(ApiError(404, f"model: {model}"))
        return JSONResponse(self._catalogue.describe_model(model), headers=self.common_headers(self.new_request_id()))

    async def _show_log(self, _request: Request) -> Response:
        return JSONResponse(self.log.to_document())

    async def _handle_reset(self, _request: Request) -> Response:
        self.reset_scenario()
        return JSONResponse({"reset": True})

    async def _refuse_path(self, _request: Request) -> Response:
        return self._refusal_response(ApiError(404, "Not found"))
