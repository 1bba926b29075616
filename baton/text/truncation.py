"""Texts and lists made shorter, never in silence: what is cut says how much of it is not shown."""

from collections.abc import Sequence

MAX_NAMED = 20
"""Items that one list names."""
_MAX_ITEM = 400
"""Characters of an item that are shown."""


def cut(text: str, limit: int) -> str:
    """A text of at most `limit` characters; where it was longer, its end says by how much."""
    if len(text) <= limit:
        return text
    ending = f"[... {len(text):,} characters more]"  # as long as the true one at least
    room = max(0, limit - len(ending))
    return f"{text[:room]}[... {len(text) - room:,} characters more]"[:limit]


def end_of(text: str, limit: int) -> str:
    """The last `limit` characters of a text, for a log; where it was longer, its beginning says by how much."""
    if len(text) <= limit:
        return text
    beginning = f"[... {len(text):,} characters before]"
    room = max(0, limit - len(beginning))
    return f"[... {len(text) - room:,} characters before]{text[len(text) - room :]}"


def short(text: str) -> str:
    """An item of a list, in a length that several of them may have."""
    return cut(text, _MAX_ITEM)


def first(items: Sequence[str], limit: int = MAX_NAMED, more: int = 0) -> list[str]:
    """The first items; where there are more, the last one says how many."""
    left = max(0, len(items) - limit) + more
    return [*items[:limit], *([f"and {left:,} more"] if left else [])]


def named(items: Sequence[str], limit: int = MAX_NAMED, more: int = 0) -> str:
    """A few names for a sentence, and how many more there are."""
    shown = ", ".join(map(short, items[:limit]))
    left = max(0, len(items) - limit) + more
    if not left:
        return shown
    return f"{shown} and {left:,} more" if shown else f"{left:,} in all"


def bullets(items: Sequence[str], limit: int = MAX_NAMED, more: int = 0) -> str:
    """The same as lines of a list."""
    return "\n".join(f"- {short(item)}" for item in first(items, limit, more))
