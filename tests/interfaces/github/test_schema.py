"""Requests made from a description of the webhook, valid and not, signed and not: its answers are as described."""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from temporalio.client import Client

from interfaces.github.app import Webhook
from interfaces.github.server import serve_webhook
from interfaces.github.signature import sign_body
from interfaces.github.start_delivery import DeliveryStarter
from tests.interfaces.github.deliveries import PATIENCE, POLICY, SECRET

TEXT = {"type": "string"}
ANSWER = {
    "type": "object",
    "required": ["verdict", "reason"],
    "properties": {
        "verdict": {"enum": ["start", "signal", "ignored", "refused", "unavailable"]},
        "reason": {**TEXT, "minLength": 1},
        "workflow": {**TEXT, "pattern": "^gh-delivery-[A-Za-z0-9-]+$"},
    },
    "additionalProperties": False,
}
PART = {"type": ["object", "null"]}
PAYLOAD = {
    "type": "object",
    "properties": {
        "action": {"enum": ["labeled", "created", "completed", "submitted", "closed", "deleted", 1]},
        "repository": {
            "type": "object",
            "required": ["id", "name", "owner"],
            "properties": {
                "id": {"type": "integer"},
                "name": TEXT,
                "owner": {"type": "object", "required": ["login"], "properties": {"login": TEXT}},
            },
        },
        "sender": {"type": "object", "properties": {"login": TEXT}},
        "issue": {"type": "object", "properties": {"number": {"type": "integer"}, "title": TEXT, "body": TEXT}},
        "comment": PART,
        "pull_request": PART,
        "check_run": PART,
    },
}


def header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"in": "header", "name": name, "schema": schema}


def answers(*codes: str) -> dict[str, Any]:
    content = {"application/json": {"schema": ANSWER}}
    return {code: {"description": "An answer.", "content": content} for code in codes}


DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {"title": "Baton's webhook", "version": "1"},
    "paths": {
        "/webhook": {
            "post": {
                "parameters": [
                    header(
                        "X-GitHub-Event", {"enum": ["issues", "issue_comment", "check_run", "installation", "star"]}
                    ),
                    header("X-GitHub-Delivery", {**TEXT, "pattern": "^[a-z0-9-]{8,64}$"}),
                    header("X-Hub-Signature-256", TEXT),
                ],
                "requestBody": {"content": {"application/json": {"schema": PAYLOAD}}},
                "responses": answers("202", "400", "401", "413", "415", "503"),
            }
        },
        "/healthz": {"get": {"responses": {"200": {"description": "It runs."}}}},
        "/readyz": {"get": {"responses": {"200": {"description": "Temporal answers."}}}},
    },
}


def signed(prepared: Any) -> Any:
    """Sign whatever body is about to be sent."""
    body = prepared.body or b""
    prepared.headers["X-Hub-Signature-256"] = sign_body(body.encode() if isinstance(body, str) else body, SECRET)
    return prepared


def play(base_url: str) -> Counter[int]:
    """Send what is generated; how often which status came back."""
    # It takes a second to import, which the processes that run other tests need not wait for.
    import schemathesis
    from schemathesis import GenerationMode, checks

    looked_at = [checks.not_a_server_error, checks.status_code_conformance]
    looked_at += [checks.content_type_conformance, checks.response_schema_conformance]
    schema = schemathesis.openapi.from_dict(DESCRIPTION)
    seen: Counter[int] = Counter()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @given(schema["/webhook"]["POST"].as_strategy(generation_mode=mode))
        @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def check(case: Any) -> None:
            for auth in (None, signed):
                seen[case.call_and_validate(base_url=base_url, auth=auth, checks=looked_at).status_code] += 1

        check()
    for path in ("/healthz", "/readyz"):
        case = schema[path]["GET"].Case()
        seen[case.call_and_validate(base_url=base_url, checks=looked_at).status_code] += 1
    return seen


async def test_every_answer_is_one_of_those_described(client: Client, task_queue: str) -> None:
    async with serve_webhook(
        Webhook(POLICY, DeliveryStarter(client, task_queue, limit=PATIENCE)).build_application(), "127.0.0.1", 0
    ) as where:
        seen = await asyncio.to_thread(play, where)
    assert seen.keys() >= {200, 202, 400, 401}, seen
    assert seen.total() > 100
