"""Masks a key of Baton's own, and what has the shape of a well-known one, in what people send: before it goes anywhere.

Where it stood is named in its place, so that the one who sent it learns of it. Text that an agent reads or writes is
the matter of `redaction`.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from baton.text.untrusted import whole

Model = TypeVar("Model", bound=BaseModel)

SHORTEST = 8
"""Characters of a secret that is looked for: a shorter one could be a word of the request."""
_SHORTEST_BROKEN = 16
_LONGEST_BROKEN = 400
"""Characters between which a secret is also found where blanks or line ends stand in it."""

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


def forms(secret: str) -> list[str]:
    """A secret as it stands, in JSON, in a URL, and in base64 wherever that begins; the longest first."""
    raw = secret.encode("utf-8", "surrogatepass")
    found = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for shift in range(3):
        # Of base64 that begins before the secret, only the letters that are made of the secret alone.
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        whole = text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        if len(whole) >= SHORTEST:
            found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return sorted(found, key=len, reverse=True)


def masked_names(text: str) -> list[str]:
    """The secrets that were masked in a text."""
    return sorted(set(_MARK.findall(text)))


class Masker:
    """Masks the secrets that it was given by value, with the names of their settings."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        known = sorted(((value, name) for value, name in secrets.items() if len(value) >= SHORTEST), reverse=True)
        known.sort(key=lambda entry: len(entry[0]), reverse=True)
        self._forms = [(form, _mark(name)) for value, name in known for form in forms(value)]
        self._bytes = [(form.encode("utf-8", "surrogatepass"), mark.encode()) for form, mark in self._forms]
        self._broken = [
            (re.compile(r"\s*".join(map(re.escape, value))), _mark(name))
            for value, name in known
            if _SHORTEST_BROKEN <= len(value) <= _LONGEST_BROKEN
        ]

    def __call__(self, text: str) -> str:
        """Mask the secrets in all their forms, and well-known shapes of keys."""
        text = whole(text)
        for form, mark in self._forms:
            text = text.replace(form, mark)
        for pattern, mark in self._broken:
            text = pattern.sub(mark, text)
        for shape in _SHAPES:
            text = shape.sub(_mark(_A_KEY), text)
        return text

    def exact(self, data: bytes) -> bytes:
        """Mask the secrets in serialised data, in all forms but broken ones; the same data where there are none."""
        for form, mark in self._bytes:
            data = data.replace(form, mark)
        return data

    def model(self, value: Model, *, leave: Iterable[str] = ()) -> tuple[Model, list[str]]:
        """A model with every text masked but those of the fields to leave; and the names of what was masked."""
        found: set[str] = set()  # with "" where only halves of surrogate pairs were replaced
        fields = value.model_dump()
        masked = {name: field if name in leave else self._walk(field, found) for name, field in fields.items()}
        return (type(value).model_validate(masked) if found else value), sorted(found - {""})

    def _walk(self, value: Any, found: set[str]) -> Any:
        if isinstance(value, str):
            masked = self(value)
            if masked != value:
                found.update(masked_names(masked) or [""])
            return masked
        if isinstance(value, dict):
            return {key: self._walk(item, found) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._walk(item, found) for item in value)
        return value


def told(names: Iterable[str]) -> str:
    """A sentence for the person who sent a secret."""
    named = [f"the value of {name}" if name != _A_KEY else "a key or token" for name in names]
    return f"a part was masked: it looked like {' and '.join(named)}. Whoever could read it may have it: replace it."


def _mark(name: str) -> str:
    return f"[masked: {name}]"
