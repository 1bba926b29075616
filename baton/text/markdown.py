"""Foreign text in Markdown: the Web UI and GitHub render it, and neither cleans all of it."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>&])")
_LINKS = re.compile(r"://|@")
_JOINER = "\u2060"
"""Not seen, and enough to keep an address from becoming a link, or a name a mention."""
_DETAILS_LIMIT = 18_000
"""Bytes of a workflow's details; the server takes 20 kB."""
_REFERENCE = re.compile(r"(@|\\#|\bGH(?=\\-\d))", re.IGNORECASE)


def escape(text: str) -> str:
    """Text as text: no markup, no links, no HTML, one line.

    The Web UI does not sanitise Markdown, so what comes from a model or from GitHub is escaped before it is shown:
    with backslashes, for the Web UI shows entities as they are written.
    """
    flat = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return _LINKS.sub(lambda found: found[0][0] + _JOINER + found[0][1:], flat)


def code(text: str) -> str:
    """Text as inline code, with a fence that the text cannot close."""
    flat = " ".join(text.split())
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def quiet(text: str) -> str:
    """Text as text on GitHub, too: nobody is notified by it, no issue is linked or closed.

    GitHub finds names and numbers in the rendered text, so escaping them does not help; a comment between does.
    https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
    """
    return _REFERENCE.sub(r"\1<!-- -->", escape(text).replace(f"@{_JOINER}", "@"))


def bounded(lines: list[str], separator: str = "\n") -> str:
    """Lines as the details of a workflow, cut where the server would take no more."""
    text = whole = separator.join(lines)
    while len(text.encode()) > _DETAILS_LIMIT:
        text = text[: len(text) * 9 // 10]
    if text == whole:
        return text
    return f"{text}…\n\n({len(whole) - len(text):,} characters more: {code('baton show')} has all)"
