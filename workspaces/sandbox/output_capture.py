"""Takes the output of a process as it comes: digest, log file, and head and tail for reading; never all of it."""

import errno
import hashlib
from collections import deque
from pathlib import Path
from typing import BinaryIO

from baton.errors import DiskFull


class OutputCollector:
    """Counts, digests and logs everything; keeps the beginning and the end, at most about `limit` bytes in memory.

    Call `feed` for each piece and `close` at the end. What the log has already stays. A full disk raises DiskFull out
    of `feed`.
    """

    def __init__(self, limit: int, log: Path | None = None) -> None:
        # A character is at most four bytes: so much is kept that the limit in characters can be met.
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

    def feed(self, piece: bytes) -> None:
        """Take the next piece of output."""
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

    def close(self) -> None:
        """Finish the log file; safe to call twice."""
        log, self._log = self._log, None
        if log is not None:
            try:
                log.close()
            except OSError as error:
                raise _disk_full(error) from error

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of everything so far."""
        return "sha256:" + self._digest.hexdigest()

    def text(self) -> str:
        """The output for reading: whole, or its beginning and end with a line that says what is left out."""
        tail = b"".join(self._tail)
        if len(self._head) + len(tail) == self.size:
            return cut_middle((bytes(self._head) + tail).decode(errors="replace"), self._limit)
        # The cut may fall inside a character: half of one at the seam is dropped, not shown as damage.
        head_text = bytes(self._head).decode(errors="replace").rstrip("\ufffd")
        tail_text = tail.decode(errors="replace").lstrip("\ufffd")
        head_text, tail_text = head_text[: self._limit // 2], tail_text[-(self._limit // 2) :]
        left_out = self.size - len(head_text.encode()) - len(tail_text.encode())
        return f"{head_text}{_seam(f'{max(left_out, 0):,} bytes')}{tail_text}"


def cut_middle(text: str, limit: int) -> str:
    """`text`, or its first and last halves of `limit` characters with a line between that says what is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}{_seam(f'{len(text) - 2 * half:,} characters')}{text[-half:]}"


def _seam(amount: str) -> str:
    return f"\n[... {amount} left out here ...]\n"


def _disk_full(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("No room left on the disk for a command's log; make room, and the run goes on.")
    return error
