"""The prompt cache, simulated by its published rules: what a request reads, writes and pays in full.

A prefix is written where a breakpoint stands, if it has 512 tokens; a breakpoint reads the longest written prefix that
ends at most 20 blocks back, itself counted; reading renews it. Longer-lived writes come before shorter-lived ones.
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
from standin.api.prefix import Prefix, Ttl

LOOK_BACK = 20
"""Positions that are tried per breakpoint, the breakpoint's own the first."""

_SECONDS: dict[Ttl, int] = {"5m": 300, "1h": 3600}


@dataclass
class _Entry:
    ttl: Ttl
    expires: float


@dataclass
class Outcome:
    """How one request's prompt is billed, and what it leaves in the cache once its answer begins."""

    usage: Usage
    writes: list[tuple[bytes, Ttl]] = field(default_factory=list)
    renews: list[bytes] = field(default_factory=list)


class PromptCache:
    """Written prefixes and when they expire. `clock` gives seconds; tests move it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def account(self, request: dict[str, Any], prefix: Prefix) -> Outcome:
        """What the request pays; nothing changes in the cache until `commit`."""
        keys = _keys(request, prefix)
        tokens = [position.tokens for position in prefix.positions]
        marks = _breakpoints(request, prefix)
        hit = max((self._longest(keys, index) for index, _ in marks), default=-1)
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
        return Outcome(usage, [(keys[index], ttl) for index, ttl in beyond], renews)

    def commit(self, outcome: Outcome) -> None:
        """The answer has begun: what was written can be read from now on."""
        now = self._clock()
        for key, ttl in outcome.writes:
            self._entries[key] = _Entry(ttl, now + _SECONDS[ttl])
        for key in outcome.renews:
            entry = self._entries.get(key)
            if entry is not None:
                entry.expires = now + _SECONDS[entry.ttl]

    def _longest(self, keys: list[bytes], index: int) -> int:
        now = self._clock()
        for candidate in range(index, max(-1, index - LOOK_BACK), -1):
            entry = self._entries.get(keys[candidate])
            if entry is not None and entry.expires > now:
                return candidate
        return -1


def _keys(request: dict[str, Any], prefix: Prefix) -> list[bytes]:
    """Cache keys of all positions: the model counts for all, how tools and thinking are set only for messages."""
    common = request["model"].encode()
    chosen = common + to_json([request.get("tool_choice"), request.get("thinking")])
    return [
        hashlib.sha256((chosen if position.section == "messages" else common) + position.digest).digest()
        for position in prefix.positions
    ]


def _breakpoints(request: dict[str, Any], prefix: Prefix) -> list[tuple[int, Ttl]]:
    marks = [(index, position.ttl) for index, position in enumerate(prefix.positions) if position.ttl is not None]
    automatic = request.get("cache_control")
    last = len(prefix.positions) - 1
    if automatic and (not marks or marks[-1][0] != last):
        marks.append((last, automatic.get("ttl", "5m")))
    return marks
