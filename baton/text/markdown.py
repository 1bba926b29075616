"""Untrusted text in Markdown, escaped for the Web UI and GitHub, which render it and sanitise only a part."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>&])")
_LINKS = re.compile(r"://|@")
_JOINER = "\u2060"
"""An invisible character that keeps an address from becoming a link, or a name from becoming a mention."""
_MAX_DETAILS = 18_000
"""Bytes of a workflow's details; the server's maximum is 20 kB."""
_REFERENCE = re.compile(r"(@|\\#|\bGH(?=\\-\d))", re.IGNORECASE)


def escape_markdown(text: str) -> str:
    """Escape a text for Markdown: one line, without markup, links and HTML.

    The Web UI does not sanitise Markdown, so that texts of models and of GitHub are escaped before they are shown. They
    are escaped by backslashes, because the Web UI shows HTML entities unresolved.
    """
    flat = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return _LINKS.sub(lambda found: found[0][0] + _JOINER + found[0][1:], flat)


def inline_code(text: str) -> str:
    """Return a text as inline code, with a fence that the text cannot close."""
    flat = " ".join(text.split())
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def escape_for_github(text: str) -> str:
    """Escape a text for GitHub, too: it notifies no account, and links or closes no issue.

    GitHub searches the rendered text for names and numbers, so that a backslash does not help; an HTML comment does.
    https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
    """
    return _REFERENCE.sub(r"\1<!-- -->", escape_markdown(text).replace(f"@{_JOINER}", "@"))


def join_bounded(lines: list[str], separator: str = "\n") -> str:
    """Join lines into the details of a workflow, cut to the server's maximum."""
    text = whole = separator.join(lines)
    while len(text.encode()) > _MAX_DETAILS:
        text = text[: len(text) * 9 // 10]
    if text == whole:
        return text
    return f"{text}…\n\n({len(whole) - len(text):,} characters more: {inline_code('baton show')} has all)"
