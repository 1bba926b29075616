"""Deliveries as GitHub sends them: payloads with what they have in common, signed headers."""

import copy
import json
import secrets
from datetime import timedelta
from typing import Any

from interfaces.github.signature import sign_body
from interfaces.github.verdicts import WebhookPolicy

SECRET = "canary-webhook-secret"
BRANCH = "baton/issue-7-add-pagination"
SHA = "a" * 40
REPOSITORY_ID, FORK_ID, APP_ID = 11, 12, 4711

PATIENCE = timedelta(seconds=60)
"""How long a delivery may wait for Temporal on a busy machine, where a test is not about that."""

POLICY = WebhookPolicy(secrets=(SECRET,), app_id=APP_ID, bots=frozenset({"helper[bot]"}))

ADA = {"login": "ada", "id": 1, "type": "User"}
REPOSITORY = {"id": REPOSITORY_ID, "name": "shop", "full_name": "acme/shop", "owner": {"login": "acme", "id": 2}}


def payload(action: str | None = None, **parts: Any) -> dict[str, Any]:
    """A payload of acme/shop, caused by ada unless said otherwise."""
    common = {"repository": REPOSITORY, "sender": ADA, "installation": {"id": 99}}
    return copy.deepcopy({**({"action": action} if action else {}), **common, **parts})


def issue(**parts: Any) -> dict[str, Any]:
    """Issue 7."""
    return {"number": 7, "title": "Add pagination", "body": "To GET /orders.", "state": "open", "user": ADA, **parts}


def labeled(label: str = "baton", **parts: Any) -> dict[str, Any]:
    """Issue 7 was labelled."""
    return payload("labeled", issue=issue(**parts), label={"name": label})


def commented(body: str | None, **parts: Any) -> dict[str, Any]:
    """Somebody commented on issue 7."""
    return payload("created", issue=issue(), comment={"id": 501, "body": body}, **parts)


def pull(branch: str = BRANCH, repository: int | None = REPOSITORY_ID, **parts: Any) -> dict[str, Any]:
    """Pull request 8."""
    head = {"ref": branch, "sha": SHA, "repo": {"id": repository} if repository is not None else None}
    return {"number": 8, "head": head, "merged": False, **parts}


def headers(body: bytes, event: str, secret: str = SECRET, **others: str) -> dict[str, str]:
    """The headers of a signed delivery with an id of its own."""
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": f"test-{secrets.token_hex(6)}",
        "X-Hub-Signature-256": sign_body(body, secret),
        **others,
    }


def encode(content: dict[str, Any]) -> bytes:
    """A payload's bytes."""
    return json.dumps(content).encode()
