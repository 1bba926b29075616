"""Sanitised text of strangers: bounded, and without the parts that a reader of the page does not see. Pure.

An agent then gets the same text that a person reads before labelling an issue. Callers that show it or send it on still
escape or quote it, because it is data and no instruction.
"""

import re

# Unicode's Default_Ignorable_Code_Point (zero-width, bidi, fillers, variation selectors, tags), annotation marks,
# control characters but for tab and line feed, and halves of surrogate pairs.
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt, https://trojansource.codes/
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# https://spec.commonmark.org/0.31.2/#html-comment; one that is not closed hides the rest of the page.
_COMMENT = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))", re.DOTALL)
# GitHub does not show the definition of an unused link: `[//]: # (hidden)`.
_NOWHERE = re.compile(r"^ {0,3}\[[^\]\n]*\]:[ \t]*(?:#|<>)[ \t]*(?:[\"'(].*)?$", re.MULTILINE)

_HALF = re.compile("[\ud800-\udfff]")
# An escape in JSON: a whole pair, a half of one (the group), or any other, so that `\\\\ud800` is none.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)

_CLEANED_FACTOR = 8
"""Multiple of its limit to which a text is cut before it is cleaned, which bounds the time."""


def sanitise(text: str | None, limit: int) -> str:
    """Return at most `limit` visible characters of a text; a cut text ends with `…`."""
    if not text:
        return ""
    visible = _INVISIBLE.sub("", _LINE_END.sub("\n", text[: limit * _CLEANED_FACTOR]))
    visible = _NOWHERE.sub("", _COMMENT.sub("", visible))
    # A comment that opens only now was nested around another, on purpose.
    visible = visible.partition("<!--")[0].strip()
    return visible if len(visible) <= limit else visible[: limit - 1].rstrip() + "…"


def sanitise_line(text: str | None, limit: int) -> str:
    """Return at most `limit` visible characters of a text, on one line."""
    flat = " ".join(sanitise(text, limit).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def replace_surrogates(text: str) -> str:
    """Return a text with a replacement character for each lone surrogate, which UTF-8 cannot encode."""
    return _HALF.sub("\ufffd", text)


def repair_json(data: bytes) -> bytes:
    """Return JSON with a replacement for each escaped lone surrogate, which parsers refuse, and for invalid UTF-8."""
    repaired = _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], data)
    return repaired.decode("utf-8", "replace").encode()
