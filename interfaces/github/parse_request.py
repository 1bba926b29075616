"""The webhook's core: headers and bytes in, a verdict out. Pure; it raises for no request.

Order: size, signature, form, event, payload. The sender of an unsigned request learns only that it is not signed.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from baton.records.issue import Delivery, EventPayload, Repository
from baton.text.untrusted import repair_json, sanitise_line
from interfaces.github import signature
from interfaces.github.events import checks, installation, issues, pull_requests
from interfaces.github.events.event import Event, repository_of, sender_of
from interfaces.github.payloads.common import InstallationPayload
from interfaces.github.verdicts import IgnoreDelivery, RejectRequest, SignalRun, StartRun, Verdict, WebhookPolicy

MAX_BODY = 25 * 1024 * 1024
"""Bytes of a body, the maximum that GitHub sends: https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap."""

_DELIVERY_ID = re.compile("[A-Za-z0-9-]{1,64}")
_EVENT = re.compile("[a-z0-9_]{1,64}")
_READ: dict[str, Event[Any]] = {**issues.EVENTS, **pull_requests.EVENTS, **checks.EVENTS}
_INSTALLATIONS = installation.EVENTS
_NAMES = {name.partition(".")[0] for name in (*_READ, *_INSTALLATIONS)}


def judge_request(headers: Mapping[str, str], body: bytes, policy: WebhookPolicy) -> Verdict:
    """Judge a request. The names of the headers may be written in any case."""
    given = {name.lower(): value for name, value in headers.items()}
    if len(body) > MAX_BODY:
        return RejectRequest(413, f"The body is larger than {MAX_BODY} bytes.")
    if not signature.is_signed(body, given.get(signature.HEADER), policy.secrets):
        return RejectRequest(401, "The delivery is not signed (X-Hub-Signature-256) with a secret that is set here.")
    kind = given.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return RejectRequest(415, "The content type must be application/json: set it so in the webhook's settings.")
    delivery_id, event = given.get("x-github-delivery", ""), given.get("x-github-event", "")
    if not _DELIVERY_ID.fullmatch(delivery_id):
        return RejectRequest(400, "The header X-GitHub-Delivery is missing or not an id.")
    if not _EVENT.fullmatch(event):
        return RejectRequest(400, "The header X-GitHub-Event is missing or not an event.")
    if event == "ping":
        return IgnoreDelivery("ping: the webhook is set up")
    if event not in _NAMES:
        return IgnoreDelivery(f"{event} is no event that concerns us")
    try:
        payload = from_json(repair_json(body), allow_inf_nan=False)
    except ValueError:
        return RejectRequest(400, "The body is not JSON.")
    if not isinstance(payload, dict):
        return RejectRequest(400, "The body is not a JSON object.")
    action = payload.get("action")
    name = f"{event}.{action}" if isinstance(action, str) else event
    try:
        return _judge_event(name, delivery_id, payload, policy)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = sanitise_line(".".join(map(str, fault["loc"])), 100)
        return RejectRequest(400, f"The payload of {sanitise_line(name, 80)} is invalid: {place}: {fault['msg']}.")


def _judge_event(name: str, delivery_id: str, payload: dict[str, Any], policy: WebhookPolicy) -> Verdict:
    if name in _INSTALLATIONS:
        return _judge_installation(name, delivery_id, InstallationPayload.model_validate(payload))
    event = _READ.get(name)
    if event is None:
        return IgnoreDelivery(f"{sanitise_line(name, 80)} is no event that concerns us")
    read = event.model.model_validate(payload)
    repository = repository_of(read.repository, read.installation, policy)
    if not policy.serves_repository(repository):
        return IgnoreDelivery(f"{repository.full_name} is not among BATON_GITHUB_REPOSITORIES")
    matter: EventPayload | str = event.matter(read, policy)
    if isinstance(matter, str):
        return IgnoreDelivery(matter)
    delivery = Delivery(id=delivery_id, event=name, repository=repository, sender=sender_of(read.sender), matter=matter)
    return StartRun(delivery) if matter.kind == "start" else SignalRun(delivery)


def _judge_installation(name: str, delivery_id: str, payload: InstallationPayload) -> Verdict:
    account = payload.installation.account
    if account is None:
        return RejectRequest(400, f"The payload of {name} is invalid: installation.account is missing.")
    matter = _INSTALLATIONS[name](payload, account)
    if isinstance(matter, str):
        return IgnoreDelivery(matter)
    repository = Repository(owner=account.login, name="*", clone_url="", installation=payload.installation.id)
    return SignalRun(
        Delivery(id=delivery_id, event=name, repository=repository, sender=sender_of(payload.sender), matter=matter)
    )
