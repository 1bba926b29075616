"""Redaction of credentials in texts that are stored or shown: URLs with passwords, API keys, tokens, known secrets."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from baton.text.key_masker import MIN_SECRET, encoded_forms

MASK = "***"

_PATTERNS = (
    # scheme://user:password@host  ->  scheme://user:***@host. The scheme is bounded to keep the time linear.
    (re.compile(r"(?P<keep>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s:/@]*:)[^\s/@]+(?=@)"), r"\g<keep>" + MASK),
    # Anthropic, GitHub, AWS, Slack and JWT shapes
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"), MASK),
    (re.compile(r"\bsk-ant-[A-Za-z0-9_-]{8,}"), MASK),
    (re.compile(r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{20,}"), MASK),
    (re.compile(r"\bgithub_pat_[A-Za-z0-9_]{20,}"), MASK),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), MASK),
    (re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"), MASK),
    (
        re.compile(r"(?i)(?P<keep>\b(?:authorization|proxy-authorization)\s*[:=]\s*(?:bearer|basic|token)\s+)\S+"),
        r"\g<keep>" + MASK,
    ),
    # password=..., secret: ..., API_KEY=...
    (
        re.compile(
            r"(?i)(?P<keep>(?:password|passwd|secret|api[_-]?key|access[_-]?token|private[_-]?key)[\"']?\s*[:=]\s*[\"']?)"
            r"[^\s\"',;&]{4,}"
        ),
        r"\g<keep>" + MASK,
    ),
)


class Redactor:
    """A redaction of given secrets, plain or encoded, and of texts with the shape of a credential."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a secret may contain another.
        given = {secret for secret in secrets if len(secret) >= 6}
        encoded = {form for secret in given if len(secret) >= MIN_SECRET for form in encoded_forms(secret)}
        self._secrets = sorted(given | encoded, key=len, reverse=True)

    def mask_secrets(self, text: str) -> str:
        """Return a text with only the given secrets masked."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def __call__(self, text: str) -> str:
        """Return a text with the given secrets, and texts with the shape of a credential, masked."""
        text = self.mask_secrets(text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


def strip_url_credentials(url: str) -> str:
    """Return a URL without its user information; other text is returned as it is."""
    return re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s]*@", r"\1", url)


def url_secrets(url: str) -> list[str]:
    """Return the password or token of a URL, as written and percent-decoded; empty if it has none."""
    match = re.match(r"^(?:https?)://(?P<user>[^:/@\s]*)(?::(?P<password>[^/@\s]*))?@", url)
    if match is None:
        return []
    # A user without a password is a token; with one it is a name.
    secret = match["password"] or match["user"]
    return sorted({secret, unquote(secret)})


def has_url_credentials(url: str) -> bool:
    """Whether a URL carries a password or token (`https://user:secret@host`, `https://token@host`)."""
    match = re.match(r"^(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<user>[^/@\s]*)@", url)
    return match is not None and (":" in match["user"] or match["scheme"].startswith("http"))
