"""The webhook as an ASGI application: `parse_request` judges a request, and Temporal carries its delivery out."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from baton.errors import TemporalUnreachable
from baton.logs import get_logger
from baton.records.issue import Delivery
from baton.text.key_masking import told
from interfaces.github import signature
from interfaces.github.parse_request import verdict
from interfaces.github.request_body import Bodies
from interfaces.github.start_delivery import Desk
from interfaces.github.verdicts import Ignore, Policy, Reject, Start, Verdict

_log = get_logger(__name__)

_RETRY_AFTER = {"retry-after": "30"}


class Webhook:
    """The request handlers: they read a request, judge it, and start the workflow of its delivery."""

    def __init__(self, policy: Policy, desk: Desk, bodies: Bodies | None = None) -> None:
        self._policy, self._desk = policy, desk
        self._bodies = bodies or Bodies()

    def application(self, more: Sequence[BaseRoute] = ()) -> Starlette:
        """Return the ASGI application; `more` are further routes beside it, such as `/metrics`."""
        return Starlette(
            routes=[
                Route("/", self._deliver, methods=["POST"]),
                Route("/webhook", self._deliver, methods=["POST"]),
                Route("/healthz", self._health, methods=["GET"]),
                Route("/readyz", self._readiness, methods=["GET"]),
                *more,
            ]
        )

    async def _deliver(self, request: Request) -> Response:
        # The body of an unsigned request is not kept in memory.
        signed = signature.may_be_signature(request.headers.get(signature.HEADER))
        said: Verdict
        try:
            async with self._bodies.read(request, keep=signed) as body:
                said = body if isinstance(body, Reject) else verdict(request.headers, body, self._policy)
        except ClientDisconnect:
            return Response(status_code=400)
        match said:
            case Reject():
                return self._refuse(said, loud=signed)
            case Ignore():
                _log.info("delivery ignored", reason=said.reason, event_name=request.headers["x-github-event"])
                return JSONResponse({"verdict": "ignored", "reason": said.reason}, 202)
        delivery, masked = self._policy.masker.model(said.delivery, leave=("id", "event", "repository"))
        if masked:
            _log.warning("delivery masked", delivery=delivery.id, reason=told(masked))
        return await self._take(delivery, "start" if isinstance(said, Start) else "signal")

    async def _take(self, delivery: Delivery, said: str) -> Response:
        about = {"event_name": delivery.event, "repository": delivery.repository.full_name, "delivery": delivery.id}
        try:
            new = await self._desk.take(delivery)
        except TemporalUnreachable as error:
            _log.error("delivery not taken", reason=str(error), **about)
            answer = {"verdict": "unavailable", "reason": "Temporal cannot be reached: deliver it again later."}
            return JSONResponse(answer, 503, headers=_RETRY_AFTER)
        _log.info("delivery taken" if new else "delivery known", **about)
        reason = "taken" if new else "this delivery was taken before"
        return JSONResponse({"verdict": said, "reason": reason, "workflow": delivery.workflow_id}, 202)

    def _refuse(self, refusal: Reject, *, loud: bool) -> Response:
        # A wrong secret or an invalid payload concerns the operator; unsigned requests of strangers do not.
        (_log.warning if loud else _log.info)("delivery refused", status=refusal.status, reason=refusal.reason)
        headers = _RETRY_AFTER if refusal.status == 503 else None
        return JSONResponse({"verdict": "refused", "reason": refusal.reason}, refusal.status, headers=headers)

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def _readiness(self, _request: Request) -> Response:
        ready = await self._desk.ready()
        return JSONResponse({"ok": ready, "temporal": ready}, 200 if ready else 503)
