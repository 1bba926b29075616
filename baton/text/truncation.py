"""Truncation of texts and lists; the result always states how much is not shown."""

from collections.abc import Sequence

MAX_NAMED = 20
"""Items that a list names."""
_MAX_ITEM = 400
"""Characters of an item that are shown."""


def cut_text(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text; the end of a cut text states how many are missing."""
    if len(text) <= limit:
        return text
    ending = f"[... {len(text):,} characters more]"  # at least as long as the final one
    kept = max(0, limit - len(ending))
    return f"{text[:kept]}[... {len(text) - kept:,} characters more]"[:limit]


def cut_beginning(text: str, limit: int) -> str:
    """Return at most the last `limit` characters of a log; the beginning of a cut one states how many are missing."""
    if len(text) <= limit:
        return text
    beginning = f"[... {len(text):,} characters before]"
    kept = max(0, limit - len(beginning))
    return f"[... {len(text) - kept:,} characters before]{text[len(text) - kept :]}"


def cut_item(text: str) -> str:
    """Return an item of a list, cut to a length that leaves space for others."""
    return cut_text(text, _MAX_ITEM)


def first_items(items: Sequence[str], limit: int = MAX_NAMED, more: int = 0) -> list[str]:
    """Return the first items, and a last one with the number of the others; `more` adds items that are not passed."""
    left = max(0, len(items) - limit) + more
    return [*items[:limit], *([f"and {left:,} more"] if left else [])]


def join_names(items: Sequence[str], limit: int = MAX_NAMED, more: int = 0) -> str:
    """Return the first items for a sentence, and the number of the others."""
    shown = ", ".join(map(cut_item, items[:limit]))
    left = max(0, len(items) - limit) + more
    if not left:
        return shown
    return f"{shown} and {left:,} more" if shown else f"{left:,} in all"


def bullet_list(items: Sequence[str], limit: int = MAX_NAMED, more: int = 0) -> str:
    """Return the first items, and the number of the others, as lines of a list."""
    return "\n".join(f"- {cut_item(item)}" for item in first_items(items, limit, more))
