"""A request as one sequence of blocks (tools, system, messages), each with the hash of the sequence up to it.

Thinking signatures are bound to these hashes, and the prompt cache is keyed by them. Cache marks and the order of a
block's own fields do not change a hash; the order of the keys in a tool's input does.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import PydanticSerializationError, to_json

from standin.api.errors import invalid_request

Ttl = Literal["5m", "1h"]

_SECRET = b"baton stand-in: signs thinking"
_SEED = hashlib.sha256(b"baton stand-in: prefix").digest()
ANY_TEXT = ("utf-8", "surrogatepass")
"""Codec and error handler for text that may hold lone surrogates, which scenarios can contain."""
_BYTES_PER_TOKEN = 4
_TOOL_USE_OVERHEAD = 290
"""Tokens that the API adds, about, to a request with tools."""


@dataclass(frozen=True)
class BlockPosition:
    """The position in a request at the end of a block."""

    digest: bytes
    tokens: int
    """Tokens up to the end of this block."""
    section: Literal["tools", "system", "messages"]
    ttl: Ttl | None = None
    """Time to live of the cache breakpoint on the block; None without one."""


@dataclass
class HashedPrefix:
    """The positions of all blocks of one request."""

    positions: list[BlockPosition] = field(default_factory=list)

    @property
    def digest(self) -> bytes:
        """The hash of the whole request."""
        return self.positions[-1].digest if self.positions else _SEED

    @property
    def tokens(self) -> int:
        """The tokens of the whole request."""
        return self.positions[-1].tokens if self.positions else 0


def blocks_of(content: Any) -> list[dict[str, Any]]:
    """Return message content or a system prompt as a list of blocks; a text is one block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def last_text(request: dict[str, Any]) -> str:
    """Return the text of the last message, including the text of its tool results."""
    texts: list[str] = []
    for block in blocks_of(request["messages"][-1]["content"]):
        inner = blocks_of(block["content"]) if block["type"] == "tool_result" and block.get("content") else [block]
        texts += [part["text"] for part in inner if part["type"] == "text"]
    return "\n".join(texts)


def canonical_bytes(block: dict[str, Any]) -> bytes:
    """Return the bytes of a block that are hashed: without cache marks and absent fields, its own fields sorted."""
    kept = {name: block[name] for name in sorted(block) if name != "cache_control" and block[name] is not None}
    if block.get("type") == "tool_result" and isinstance(kept.get("content"), list):
        kept["content"] = [
            {name: part[name] for name in sorted(part) if name != "cache_control"} for part in kept["content"]
        ]
    try:
        return to_json(kept)
    except PydanticSerializationError:
        # Only an answer of a scenario can hold a lone surrogate; a request with one is refused.
        return json.dumps(kept, ensure_ascii=False).encode(*ANY_TEXT)


def cache_mark(block: dict[str, Any]) -> Ttl | None:
    """Return the time to live of the cache breakpoint on a block or in its content; None without one."""
    mark = block.get("cache_control")
    if mark is None and isinstance(block.get("content"), list):
        mark = next((part["cache_control"] for part in block["content"] if part.get("cache_control")), None)
    return mark.get("ttl", "5m") if mark else None


def estimate_tokens(data: bytes) -> int:
    """Estimate the number of tokens of a text."""
    return len(data) // _BYTES_PER_TOKEN + 3


def extend_digest(digest: bytes, role: str, data: bytes) -> bytes:
    """Return the hash after one more block. Consecutive messages of a role are one turn, so only the role is hashed."""
    return hashlib.sha256(digest + role.encode() + b"\0" + data).digest()


def sign_thinking(digest: bytes, thinking: str) -> str:
    """Return the signature of thinking that follows the prefix with this hash."""
    mac = hmac.new(_SECRET, digest + thinking.encode(*ANY_TEXT), hashlib.sha512).digest()
    return base64.b64encode(b"\x12\x48\x0a\x46" + mac + digest).decode()


def seal_thinking(digest: bytes, thinking: str) -> str:
    """Return the `data` of a redacted thinking block that follows the prefix with this hash."""
    return base64.b64encode(
        hmac.new(_SECRET, b"redacted" + digest + thinking.encode(*ANY_TEXT), hashlib.sha512).digest()
    ).decode()


def _iterate_blocks(request: dict[str, Any]) -> Iterator[tuple[Literal["tools", "system", "messages"], str, str, Any]]:
    for index, tool in enumerate(request.get("tools") or ()):
        yield "tools", "tools", f"tools.{index}", tool
    for index, block in enumerate(blocks_of(request.get("system"))):
        yield "system", "system", f"system.{index}", block
    for index, message in enumerate(request["messages"]):
        for inner, block in enumerate(blocks_of(message["content"])):
            yield "messages", message["role"], f"messages.{index}.content.{inner}", block


def read_prefix(request: dict[str, Any], *, sealed: frozenset[str] | set[str] = frozenset()) -> HashedPrefix:
    """Hash the blocks of a checked request; raises ApiError (400) for a thinking block in a changed position.

    `sealed` holds the redacted blocks of earlier answers with the hash before them, because only their data comes back.
    """
    prefix = HashedPrefix()
    digest, tokens = _SEED, 0
    if request.get("tools"):
        tokens += _TOOL_USE_OVERHEAD
    for section, role, place, block in _iterate_blocks(request):
        kind = block.get("type")
        if kind == "thinking" and block["signature"] != sign_thinking(digest, block["thinking"]):
            raise invalid_request(f"{place}: Invalid `signature` in `thinking` block")
        if kind == "redacted_thinking" and digest.hex() + block["data"] not in sealed:
            raise invalid_request(f"{place}: Invalid `data` in `redacted_thinking` block")
        data = canonical_bytes(block)
        digest = extend_digest(digest, role, data)
        tokens += estimate_tokens(data)
        prefix.positions.append(BlockPosition(digest, tokens, section, cache_mark(block)))
    return prefix
