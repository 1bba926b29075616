"""The prompt cache, simulated by its published rules: the tokens that a request reads, writes and pays in full.

A breakpoint writes the prefix before it if that has at least 512 tokens, and reads the longest written prefix that ends
at most 20 blocks back, its own included; a read renews the prefix. One-hour writes come before five-minute ones.
https://docs.claude.com/en/docs/build-with-claude/prompt-caching
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from baton.records.run import Usage
from standin.api.model_list import MIN_CACHEABLE_TOKENS
from standin.api.prefix import HashedPrefix, Ttl

LOOK_BACK = 20
"""Positions that a breakpoint tries to read, its own first."""

_SECONDS: dict[Ttl, int] = {"5m": 300, "1h": 3600}


@dataclass
class _Entry:
    ttl: Ttl
    expires: float


@dataclass
class CacheOutcome:
    """The bill of a request's prompt, and its writes to the cache once its answer begins."""

    usage: Usage
    writes: list[tuple[bytes, Ttl]] = field(default_factory=list)
    renews: list[bytes] = field(default_factory=list)


class PromptCache:
    """The written prefixes with their expiry. `clock` returns seconds; tests replace it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    def clear(self) -> None:
        """Remove all prefixes."""
        self._entries.clear()

    def account_request(self, request: dict[str, Any], prefix: HashedPrefix) -> CacheOutcome:
        """Return the bill of a request; the cache does not change before `commit`."""
        keys = _cache_keys(request, prefix)
        tokens = [position.tokens for position in prefix.positions]
        marks = _find_breakpoints(request, prefix)
        hit = max((self._find_longest(keys, index) for index, _ in marks), default=-1)
        writable = [(index, ttl) for index, ttl in marks if tokens[index] >= MIN_CACHEABLE_TOKENS]
        beyond = [(index, ttl) for index, ttl in writable if index > hit]
        read = tokens[hit] if hit >= 0 else 0
        end = tokens[beyond[-1][0]] if beyond else read
        long_end = max((tokens[index] for index, ttl in beyond if ttl == "1h"), default=read)
        usage = Usage(
            input_tokens=prefix.tokens - end,
            cache_write_5m_tokens=end - long_end,
            cache_write_1h_tokens=long_end - read,
            cache_read_tokens=read,
        )
        renews = [keys[index] for index, _ in writable if index <= hit] + ([keys[hit]] if hit >= 0 else [])
        return CacheOutcome(usage, [(keys[index], ttl) for index, ttl in beyond], renews)

    def commit_outcome(self, outcome: CacheOutcome) -> None:
        """Make the writes of a request readable, because its answer has begun."""
        now = self._clock()
        for key, ttl in outcome.writes:
            self._entries[key] = _Entry(ttl, now + _SECONDS[ttl])
        for key in outcome.renews:
            entry = self._entries.get(key)
            if entry is not None:
                entry.expires = now + _SECONDS[entry.ttl]

    def _find_longest(self, keys: list[bytes], index: int) -> int:
        now = self._clock()
        for candidate in range(index, max(-1, index - LOOK_BACK), -1):
            entry = self._entries.get(keys[candidate])
            if entry is not None and entry.expires > now:
                return candidate
        return -1


def _cache_keys(request: dict[str, Any], prefix: HashedPrefix) -> list[bytes]:
    """Return the cache keys of all positions.

    All depend on the model; those of messages also on the `tool_choice` and `thinking` of the request.
    """
    common = request["model"].encode()
    chosen = common + to_json([request.get("tool_choice"), request.get("thinking")])
    return [
        hashlib.sha256((chosen if position.section == "messages" else common) + position.digest).digest()
        for position in prefix.positions
    ]


def _find_breakpoints(request: dict[str, Any], prefix: HashedPrefix) -> list[tuple[int, Ttl]]:
    marks = [(index, position.ttl) for index, position in enumerate(prefix.positions) if position.ttl is not None]
    automatic = request.get("cache_control")
    last = len(prefix.positions) - 1
    if automatic and (not marks or marks[-1][0] != last):
        marks.append((last, automatic.get("ttl", "5m")))
    return marks
