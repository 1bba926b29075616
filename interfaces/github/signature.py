"""The check of a delivery's signature: SHA-256 over the raw bytes, with each secret that may be in use.

Nothing else is accepted: no SHA-1, no absent secret, no second spelling of the header.
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

HEADER = "x-hub-signature-256"

_FORM = re.compile("sha256=[0-9a-f]{64}")


def may_be_signature(header: str | None) -> bool:
    """Whether the header has the form of a signature at all, so that a body is worth reading."""
    return header is not None and _FORM.fullmatch(header) is not None


def is_signed(body: bytes, header: str | None, secrets: Iterable[str]) -> bool:
    """Whether one of the secrets signed exactly these bytes. Without a secret nothing is signed."""
    if header is None or not may_be_signature(header):
        return False
    matched = False
    for secret in secrets:
        # Each is compared, in constant time, whatever came out before: the time tells nothing.
        matched |= bool(secret) and hmac.compare_digest(sign(body, secret), header)
    return matched


def sign(body: bytes, secret: str) -> str:
    """The header's value for a body."""
    return "sha256=" + hmac.new(secret.encode("utf-8", "surrogateescape"), body, hashlib.sha256).hexdigest()
