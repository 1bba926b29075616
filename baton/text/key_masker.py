"""Masking of Baton's own keys, and of texts with the shape of a well-known key, in the messages that people send.

It happens before a message is stored or sent on. The mark in the place of a key names its setting, so that the sender
learns of it. `redaction` does the same for texts that agents read and write.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from baton.text.untrusted import replace_surrogates

Model = TypeVar("Model", bound=BaseModel)

MIN_SECRET = 8
"""Characters of the shortest secret that is masked: a shorter one could be a word of the request."""
_MIN_BROKEN = 16
_MAX_BROKEN = 400
"""Characters between which a secret is also masked if blanks or line ends interrupt it."""

_SHAPES = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
    re.compile(r"\bsk-ant-[A-Za-z0-9_-]{8,}"),
    re.compile(r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{20,}"),
    re.compile(r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"),
)
_A_KEY = "a key"
_MARK = re.compile(r"\[masked: ([A-Za-z0-9_ ]{1,60})\]")


def encoded_forms(secret: str) -> list[str]:
    """Return a secret as it is, in JSON, in a URL, and in base64 at every alignment; the longest form first."""
    raw = secret.encode("utf-8", "surrogatepass")
    found = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for shift in range(3):
        # If base64 begins before the secret, only these letters depend on the secret alone.
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        whole = text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        if len(whole) >= MIN_SECRET:
            found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return sorted(found, key=len, reverse=True)


def masked_names(text: str) -> list[str]:
    """Return the names of the secrets that were masked in a text."""
    return sorted(set(_MARK.findall(text)))


class KeyMasker:
    """A mask for the values of given settings; its marks name the settings."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        known = sorted(((value, name) for value, name in secrets.items() if len(value) >= MIN_SECRET), reverse=True)
        known.sort(key=lambda entry: len(entry[0]), reverse=True)
        self._forms = [(form, _format_mark(name)) for value, name in known for form in encoded_forms(value)]
        self._bytes = [(form.encode("utf-8", "surrogatepass"), mark.encode()) for form, mark in self._forms]
        self._broken = [
            (re.compile(r"\s*".join(map(re.escape, value))), _format_mark(name))
            for value, name in known
            if _MIN_BROKEN <= len(value) <= _MAX_BROKEN
        ]

    def __call__(self, text: str) -> str:
        """Return a text with the secrets in all their forms, and well-known shapes of keys, masked."""
        text = replace_surrogates(text)
        for form, mark in self._forms:
            text = text.replace(form, mark)
        for pattern, mark in self._broken:
            text = pattern.sub(mark, text)
        for shape in _SHAPES:
            text = shape.sub(_format_mark(_A_KEY), text)
        return text

    def mask_bytes(self, data: bytes) -> bytes:
        """Return serialised data with the secrets masked, in all forms but interrupted ones."""
        for form, mark in self._bytes:
            data = data.replace(form, mark)
        return data

    def mask_model(self, value: Model, *, leave: Iterable[str] = ()) -> tuple[Model, list[str]]:
        """Return a model with its texts masked, except the fields in `leave`, and the names of the masked secrets."""
        found: set[str] = set()  # with "" where only halves of surrogate pairs were replaced
        fields = value.model_dump()
        masked = {name: field if name in leave else self._mask_value(field, found) for name, field in fields.items()}
        return (type(value).model_validate(masked) if found else value), sorted(found - {""})

    def _mask_value(self, value: Any, found: set[str]) -> Any:
        if isinstance(value, str):
            masked = self(value)
            if masked != value:
                found.update(masked_names(masked) or [""])
            return masked
        if isinstance(value, dict):
            return {key: self._mask_value(item, found) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._mask_value(item, found) for item in value)
        return value


def masked_notice(names: Iterable[str]) -> str:
    """Return the notice to the person who sent secrets."""
    named = [f"the value of {name}" if name != _A_KEY else "a key or token" for name in names]
    return f"a part was masked: it looked like {' and '.join(named)}. Others may have read it: replace it."


def _format_mark(name: str) -> str:
    return f"[masked: {name}]"
