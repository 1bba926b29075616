"""Obligations of a caller from earlier answers: thinking to send back, redacted blocks, paused turns, and refusals."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from standin.api.errors import ApiError, invalid_request
from standin.api.prefix import blocks_of, canonical_bytes
from standin.script.answer import ScriptedAnswer

_THINKING = ("thinking", "redacted_thinking")
_ABOUT_THE_REQUEST = frozenset({"invalid_request_error", "not_found_error", "request_too_large"})


def _hash_thinking(blocks: list[dict[str, Any]]) -> bytes:
    digest = hashlib.sha256()
    for block in blocks:
        if block["type"] in _THINKING:
            digest.update(hashlib.sha256(canonical_bytes(block)).digest())
    return digest.digest()


@dataclass
class Obligations:
    """The obligations from all answers so far; each answer adds some bytes."""

    sealed: set[str] = field(default_factory=set)
    """Redacted blocks, each after the hash of the prefix before it."""
    paused: set[bytes] = field(default_factory=set)
    """Hashes of conversations that end with a paused turn, which a caller may send back unchanged."""
    _before: dict[str, bytes] = field(default_factory=dict)
    _refused: dict[tuple[str | None, bytes], ApiError] = field(default_factory=dict)

    def keep_refusal(self, run: str | None, body: bytes, error: ApiError) -> None:
        """Keep a refusal that the content of the request has caused, for a run that sends the same bytes again."""
        final = error.kind in _ABOUT_THE_REQUEST and error.headers.get("x-should-retry") != "true"
        if run is not None and final:
            self._refused[run, hashlib.sha256(body).digest()] = error

    def check_is_not_refused(self, run: str | None, body: bytes) -> None:
        """Raise the ApiError that the run's same bytes got before, if any."""
        error = self._refused.get((run, hashlib.sha256(body).digest()))
        if error is not None:
            raise error

    def keep_answer(self, answer: ScriptedAnswer) -> None:
        """Keep the parts of an answer that the caller must send back."""
        self.sealed.update(answer.sealed)
        blocks = answer.content_blocks()
        # The API accepts only a pause in one of its own tools; any other answer as the last message is a prefill.
        if answer.stop_reason == "pause_turn" and any(block["type"] == "server_tool_use" for block in blocks):
            self.paused.add(answer.digest)
        for block in blocks:
            if block["type"] == "tool_use":
                self._before[block["id"]] = _hash_thinking(blocks)

    def check_thinking_is_kept(self, request: dict[str, Any]) -> None:
        """Refuse a request that omits thinking blocks; raises ApiError (400).

        Signatures detect changed blocks, but not missing ones.
        """
        for index, message in enumerate(request["messages"]):
            blocks = blocks_of(message["content"]) if message["role"] == "assistant" else []
            first = next((block["id"] for block in blocks if block["type"] == "tool_use"), "")
            given = self._before.get(first)
            if given is not None and _hash_thinking(blocks) != given:
                raise invalid_request(
                    f"messages.{index}.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant "
                    "message cannot be modified. These blocks must remain as they were in the original response."
                )
