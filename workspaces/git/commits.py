"""Commits by their bytes: the same arguments give the same commit, at any time and on any host."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pygit2

_TRAILER = re.compile(
    r"\w+(?:[-\u2010-\u2015\u2212]\w+)+\s*[:=]|baton\b\W*\w+\s*[:=]|\(cherry picked|-{3}|diff --git |Index: ",
    re.IGNORECASE,
)
"""Beginnings of lines that git, a forge or a reader may take for a trailer, or for the end of a message."""


@dataclass(frozen=True)
class CommitAuthor:
    """The author of a commit."""

    name: str = "Baton"
    email: str = "baton@localhost"


ENGINE = CommitAuthor()
"""The committer of every commit, also of those with another author."""


def commit_bytes(tree: str, parents: Sequence[str], message: str, at: datetime, author: CommitAuthor = ENGINE) -> bytes:
    """Return the bytes of a commit, as libgit2 writes them. Raises ValueError or GitError if the author's name or
    address is invalid.
    """
    when = int(at.astimezone(UTC).timestamp())
    lines = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents)]
    for kind, who in ((b"author", author), (b"committer", ENGINE)):
        # `raw_name` has no characters that would end the name or begin a line.
        signature = pygit2.Signature(who.name, who.email, when, 0)
        lines.append(b"%s %s <%s> %d +0000" % (kind, signature.raw_name, signature.raw_email, when))
    return b"\n".join([*lines, b"", message.encode(errors="replace").replace(b"\0", b"")])


def quote_trailers(text: str) -> str:
    """Return a model's text for a commit message, in which no line can be taken for one of the engine's trailers.

    Lines that look like a trailer are quoted, also those that are none of Baton's: readers rely on `Signed-off-by` and
    others as well.
    """
    lines = []
    for line in text.splitlines():
        # As a reader sees the line: without characters of no width, and with look-alikes folded.
        seen = unicodedata.normalize("NFKC", "".join(c for c in line if unicodedata.category(c) not in ("Cf", "Cc")))
        lines.append(f"> {line}" if _TRAILER.match(seen.strip()) else line)
    return "\n".join(lines)
