"""The webhook's core: headers and bytes in, a verdict out. Pure; it raises for no request.

Order: size, signature, form, event, payload. The sender of an unsigned request learns only that it is not signed.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from baton.records.issue import Delivery, Matter, Repository
from baton.text.untrusted import freeze_line, mend_json
from interfaces.github import signature
from interfaces.github.events import checks, installation, issues, pull_requests
from interfaces.github.events.event import Event, repository_of, sender_of
from interfaces.github.payloads.common import InstallationPayload
from interfaces.github.verdicts import Ignore, Policy, Reject, Signal, Start, Verdict

MAX_BODY = 25 * 1024 * 1024
"""Bytes of a body, the maximum that GitHub sends: https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap."""

_DELIVERY_ID = re.compile("[A-Za-z0-9-]{1,64}")
_EVENT = re.compile("[a-z0-9_]{1,64}")
_READ: dict[str, Event[Any]] = {**issues.EVENTS, **pull_requests.EVENTS, **checks.EVENTS}
_INSTALLATIONS = installation.EVENTS
_NAMES = {name.partition(".")[0] for name in (*_READ, *_INSTALLATIONS)}


def verdict(headers: Mapping[str, str], body: bytes, policy: Policy) -> Verdict:
    """Judge a request. The names of the headers may be written in any case."""
    given = {name.lower(): value for name, value in headers.items()}
    if len(body) > MAX_BODY:
        return Reject(413, f"The body is larger than {MAX_BODY} bytes.")
    if not signature.is_signed(body, given.get(signature.HEADER), policy.secrets):
        return Reject(401, "The delivery is not signed (X-Hub-Signature-256) with a secret that is set here.")
    kind = given.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Reject(415, "The content type must be application/json: set it so in the webhook's settings.")
    delivery_id, event = given.get("x-github-delivery", ""), given.get("x-github-event", "")
    if not _DELIVERY_ID.fullmatch(delivery_id):
        return Reject(400, "The header X-GitHub-Delivery is missing or not an id.")
    if not _EVENT.fullmatch(event):
        return Reject(400, "The header X-GitHub-Event is missing or not an event.")
    if event == "ping":
        return Ignore("ping: the webhook is set up")
    if event not in _NAMES:
        return Ignore(f"{event} is no event that concerns us")
    try:
        payload = from_json(mend_json(body), allow_inf_nan=False)
    except ValueError:
        return Reject(400, "The body is not JSON.")
    if not isinstance(payload, dict):
        return Reject(400, "The body is not a JSON object.")
    action = payload.get("action")
    name = f"{event}.{action}" if isinstance(action, str) else event
    try:
        return _judge(name, delivery_id, payload, policy)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = freeze_line(".".join(map(str, fault["loc"])), 100)
        return Reject(400, f"The payload of {freeze_line(name, 80)} is invalid: {place}: {fault['msg']}.")


def _judge(name: str, delivery_id: str, payload: dict[str, Any], policy: Policy) -> Verdict:
    if name in _INSTALLATIONS:
        return _judge_installation(name, delivery_id, InstallationPayload.model_validate(payload))
    event = _READ.get(name)
    if event is None:
        return Ignore(f"{freeze_line(name, 80)} is no event that concerns us")
    read = event.model.model_validate(payload)
    repository = repository_of(read.repository, read.installation, policy)
    if not policy.serves(repository):
        return Ignore(f"{repository.full_name} is not among BATON_GITHUB_REPOSITORIES")
    matter: Matter | str = event.matter(read, policy)
    if isinstance(matter, str):
        return Ignore(matter)
    delivery = Delivery(id=delivery_id, event=name, repository=repository, sender=sender_of(read.sender), matter=matter)
    return Start(delivery) if matter.kind == "start" else Signal(delivery)


def _judge_installation(name: str, delivery_id: str, payload: InstallationPayload) -> Verdict:
    account = payload.installation.account
    if account is None:
        return Reject(400, f"The payload of {name} is invalid: installation.account is missing.")
    matter = _INSTALLATIONS[name](payload, account)
    if isinstance(matter, str):
        return Ignore(matter)
    repository = Repository(owner=account.login, name="*", clone_url="", installation=payload.installation.id)
    return Signal(
        Delivery(id=delivery_id, event=name, repository=repository, sender=sender_of(payload.sender), matter=matter)
    )
