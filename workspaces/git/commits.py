"""Who makes a commit, and its bytes: the same arguments give the same commit, whenever and wherever it is made."""

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
"""What git, a forge or a reader may take for a trailer, or for the end of a message."""


@dataclass(frozen=True)
class Author:
    """Who made a commit."""

    name: str = "Baton"
    email: str = "baton@localhost"


ENGINE = Author()
"""Who commits, whoever the author is."""


def commit_bytes(tree: str, parents: Sequence[str], message: str, at: datetime, author: Author = ENGINE) -> bytes:
    """The bytes of a commit, as libgit2 has them. Raises ValueError and GitError for an author that cannot be named."""
    when = int(at.astimezone(UTC).timestamp())
    lines = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents)]
    for kind, who in ((b"author", author), (b"committer", ENGINE)):
        # Without what would end a name or begin a line of its own.
        signature = pygit2.Signature(who.name, who.email, when, 0)
        lines.append(b"%s %s <%s> %d +0000" % (kind, signature.raw_name, signature.raw_email, when))
    return b"\n".join([*lines, b"", message.encode(errors="replace").replace(b"\0", b"")])


def in_message(text: str) -> str:
    """A model's words for a commit message: no line of them can be taken for one of the engine's trailers.

    Lines that look like one are quoted, whatever its name: readers go by `Signed-off-by` and others as well.
    """
    lines = []
    for line in text.splitlines():
        # Looked at as it is seen: without what has no width, and with look-alikes folded.
        seen = unicodedata.normalize("NFKC", "".join(c for c in line if unicodedata.category(c) not in ("Cf", "Cc")))
        lines.append(f"> {line}" if _TRAILER.match(seen.strip()) else line)
    return "\n".join(lines)
