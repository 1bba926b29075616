"""The check of a delivery's signature: SHA-256 over the raw bytes, with each configured secret.

No SHA-1, no empty secret and no other spelling of the header is accepted.
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

HEADER = "x-hub-signature-256"

_FORM = re.compile("sha256=[0-9a-f]{64}")


def may_be_signature(header: str | None) -> bool:
    """Whether the header has the form of a signature, so that the body is read."""
    return header is not None and _FORM.fullmatch(header) is not None


def is_signed(body: bytes, header: str | None, secrets: Iterable[str]) -> bool:
    """Whether one of the secrets signed exactly these bytes; False without a secret."""
    if header is None or not may_be_signature(header):
        return False
    matched = False
    for secret in secrets:
        # All are compared, each in constant time, so that the time does not reveal which one matched.
        matched |= bool(secret) and hmac.compare_digest(sign_body(body, secret), header)
    return matched


def sign_body(body: bytes, secret: str) -> str:
    """Return the header's value for a body."""
    return "sha256=" + hmac.new(secret.encode("utf-8", "surrogateescape"), body, hashlib.sha256).hexdigest()
