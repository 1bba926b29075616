"""Untrusted text (requests, logs, diffs, reports) as data: bounded, visible, in a fence that it cannot close."""

import hashlib
import re
from typing import Literal

# Control characters, direction overrides and tag characters, which terminals and readers do not show as they are.
# https://trojansource.codes/
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)

Keep = Literal["start", "both", "end"]


def fence_text(label: str, text: str, *, limit: int, keep: Keep = "both") -> str:
    """Return the text as data between two markers that hold its digest, so that the text cannot contain its end.

    The same text gives the same fence, so that a retry sends the same bytes. `limit` is in characters; `keep` names the
    part of a longer text that stays.
    """
    body = clip_text(make_visible(text), limit, keep)
    attempt = 0
    while True:
        marker = hashlib.sha256(f"{attempt}:{label}:{body}".encode()).hexdigest()[:16]
        if marker not in body:
            break
        attempt += 1
    return f"<data {marker}: {_one_line(label)}>\n{body}\n</data {marker}>"


def make_visible(text: str) -> str:
    """Return the text with `\\n` as line ends; characters that hide or reorder others become `<U+202E>`."""
    text = text.replace("\r\n", "\n")
    return _INVISIBLE.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def clip_text(text: str, limit: int, keep: Keep = "both") -> str:
    """Return at most about `limit` characters; a line says how many are left out."""
    if len(text) <= limit:
        return text
    gone = f"[... {len(text) - limit:,} characters left out ...]"
    match keep:
        case "start":
            return f"{text[:limit]}\n{gone}"
        case "end":
            return f"{gone}\n{text[-limit:]}"
    head = limit * 2 // 3
    return f"{text[:head]}\n{gone}\n{text[len(text) - (limit - head) :]}"


def _one_line(label: str) -> str:
    return " ".join(make_visible(label).replace("<", "(").replace(">", ")").split())[:120]
