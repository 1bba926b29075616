"""The output of a process in bounded memory: its digest, its log file, and its beginning and end as text."""

import hashlib
from collections import deque
from pathlib import Path
from typing import BinaryIO

from baton.errors import DiskFull
from system.disk_errors import is_disk_full


class OutputCollector:
    """Counts, digests and logs all output; keeps its beginning and end in memory, about four times `limit` bytes.

    `limit` is in characters. Call `feed` for each piece and `close` at the end. The log is appended to. On a full disk
    `feed` raises DiskFull.
    """

    def __init__(self, limit: int, log: Path | None = None) -> None:
        # A character has at most four bytes, so this many bytes hold `limit` characters.
        self._room = max(limit, 2) * 4 // 2
        self._limit = max(limit, 2)
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._digest = hashlib.sha256()
        self._log: BinaryIO | None = None
        self.size = 0
        """Bytes so far."""
        if log is not None:
            try:
                log.parent.mkdir(parents=True, exist_ok=True)
                self._log = log.open("ab", buffering=256 * 1024)
            except OSError as error:
                raise _disk_full(error) from error

    def add_piece(self, piece: bytes) -> None:
        """Add the next piece of output."""
        self.size += len(piece)
        self._digest.update(piece)
        if self._log is not None:
            try:
                self._log.write(piece)
            except OSError as error:
                raise _disk_full(error) from error
        room = self._room - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        if piece:
            self._tail.append(piece)
            self._tail_size += len(piece)
            while self._tail_size - len(self._tail[0]) >= self._room:
                self._tail_size -= len(self._tail.popleft())

    def close_log(self) -> None:
        """Close the log file; idempotent."""
        log, self._log = self._log, None
        if log is not None:
            try:
                log.close()
            except OSError as error:
                raise _disk_full(error) from error

    @property
    def content_digest(self) -> str:
        """`sha256:` and the digest of all output so far."""
        return "sha256:" + self._digest.hexdigest()

    def shortened_text(self) -> str:
        """Return the output as text: complete, or its beginning and end with a line that says how much is left out."""
        tail = b"".join(self._tail)
        if len(self._head) + len(tail) == self.size:
            return cut_middle((bytes(self._head) + tail).decode(errors="replace"), self._limit)
        # The cut may split a character: its halves are dropped.
        head_text = bytes(self._head).decode(errors="replace").rstrip("\ufffd")
        tail_text = tail.decode(errors="replace").lstrip("\ufffd")
        head_text, tail_text = head_text[: self._limit // 2], tail_text[-(self._limit // 2) :]
        left_out = self.size - len(head_text.encode()) - len(tail_text.encode())
        return f"{head_text}{_cut_mark(f'{max(left_out, 0):,} bytes')}{tail_text}"


def cut_middle(text: str, limit: int) -> str:
    """Return `text`, or its beginning and end of `limit` characters with a line that says how much is left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}{_cut_mark(f'{len(text) - 2 * half:,} characters')}{text[-half:]}"


def _cut_mark(amount: str) -> str:
    return f"\n[... {amount} left out here ...]\n"


def _disk_full(error: OSError) -> Exception:
    if is_disk_full(error):
        return DiskFull("No space left on the disk for a command's log; free some, and the run goes on.")
    return error
