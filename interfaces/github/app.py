"""The webhook as an ASGI application: `parse_request` judges a request, and Temporal carries its delivery out."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from baton.errors import TemporalUnreachable
from baton.logs import get_logger
from baton.records.issue import Delivery
from baton.text.key_masker import masked_notice
from interfaces.github import signature
from interfaces.github.parse_request import judge_request
from interfaces.github.request_body import RequestBodies
from interfaces.github.start_delivery import DeliveryStarter
from interfaces.github.verdicts import IgnoreDelivery, RejectRequest, StartRun, Verdict, WebhookPolicy

_log = get_logger(__name__)

_RETRY_AFTER = {"retry-after": "30"}


class Webhook:
    """The request handlers: they read a request, judge it, and start the workflow of its delivery."""

    def __init__(self, policy: WebhookPolicy, desk: DeliveryStarter, bodies: RequestBodies | None = None) -> None:
        self._policy, self._desk = policy, desk
        self._bodies = bodies or RequestBodies()

    def build_application(self, more: Sequence[BaseRoute] = ()) -> Starlette:
        """Return the ASGI application; `more` are further routes beside it, such as `/metrics`."""
        return Starlette(
            routes=[
                Route("/", self._receive_delivery, methods=["POST"]),
                Route("/webhook", self._receive_delivery, methods=["POST"]),
                Route("/healthz", self._report_health, methods=["GET"]),
                Route("/readyz", self._report_readiness, methods=["GET"]),
                *more,
            ]
        )

    async def _receive_delivery(self, request: Request) -> Response:
        # The body of an unsigned request is not kept in memory.
        signed = signature.may_be_signature(request.headers.get(signature.HEADER))
        said: Verdict
        try:
            async with self._bodies.read_body(request, keep=signed) as body:
                said = body if isinstance(body, RejectRequest) else judge_request(request.headers, body, self._policy)
        except ClientDisconnect:
            return Response(status_code=400)
        match said:
            case RejectRequest():
                return self._refuse_request(said, loud=signed)
            case IgnoreDelivery():
                _log.info("delivery ignored", reason=said.reason, event_name=request.headers["x-github-event"])
                return JSONResponse({"verdict": "ignored", "reason": said.reason}, 202)
        delivery, masked = self._policy.masker.mask_model(said.delivery, leave=("id", "event", "repository"))
        if masked:
            _log.warning("delivery masked", delivery=delivery.id, reason=masked_notice(masked))
        return await self._start_delivery(delivery, "start" if isinstance(said, StartRun) else "signal")

    async def _start_delivery(self, delivery: Delivery, said: str) -> Response:
        about = {"event_name": delivery.event, "repository": delivery.repository.full_name, "delivery": delivery.id}
        try:
            new = await self._desk.start_delivery(delivery)
        except TemporalUnreachable as error:
            _log.error("delivery not taken", reason=str(error), **about)
            answer = {"verdict": "unavailable", "reason": "Temporal cannot be reached: deliver it again later."}
            return JSONResponse(answer, 503, headers=_RETRY_AFTER)
        _log.info("delivery taken" if new else "delivery known", **about)
        reason = "taken" if new else "this delivery was taken before"
        return JSONResponse({"verdict": said, "reason": reason, "workflow": delivery.workflow_id}, 202)

    def _refuse_request(self, refusal: RejectRequest, *, loud: bool) -> Response:
        # A wrong secret or an invalid payload concerns the operator; unsigned requests of strangers do not.
        (_log.warning if loud else _log.info)("delivery refused", status=refusal.status, reason=refusal.reason)
        headers = _RETRY_AFTER if refusal.status == 503 else None
        return JSONResponse({"verdict": "refused", "reason": refusal.reason}, refusal.status, headers=headers)

    async def _report_health(self, _request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def _report_readiness(self, _request: Request) -> Response:
        ready = await self._desk.is_ready()
        return JSONResponse({"ok": ready, "temporal": ready}, 200 if ready else 503)
