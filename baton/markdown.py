"""Foreign text in Markdown: the Web UI and GitHub render it, and neither cleans all of it."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>])")


def escape(text: str) -> str:
    """Text as text: no markup, no links, no HTML, one line.

    The Web UI does not sanitise Markdown, so what comes from a model or from GitHub is escaped before it is shown.
    """
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace("://", ":&#47;&#47;")
    return _SPECIAL.sub(r"\\\1", flat)


def code(text: str) -> str:
    """Text as inline code, with a fence that the text cannot close."""
    flat = " ".join(text.split())
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"
