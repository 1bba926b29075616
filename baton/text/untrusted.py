"""Freezes text that strangers wrote: bounded, and without whatever a reader on the page would not see. Pure.

What a person reads before labelling an issue is then what an agent gets. Who shows or sends it on still escapes or
fences it: what remains is somebody's words, and no instruction.
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
# A definition of a link to nowhere is shown nowhere: `[//]: # (hidden)`.
_NOWHERE = re.compile(r"^ {0,3}\[[^\]\n]*\]:[ \t]*(?:#|<>)[ \t]*(?:[\"'(].*)?$", re.MULTILINE)

_HALF = re.compile("[\ud800-\udfff]")
# An escape in JSON: a whole pair, a half of one (the group), or any other, so that `\\\\ud800` is none.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)

_ROOM = 8
"""How much longer than its limit a text may be and still be cleaned whole; what is longer is cut before."""


def freeze(text: str | None, limit: int) -> str:
    """The visible text, at most `limit` characters of it; where something is cut off, it ends with `…`."""
    if not text:
        return ""
    visible = _INVISIBLE.sub("", _LINE_END.sub("\n", text[: limit * _ROOM]))
    visible = _NOWHERE.sub("", _COMMENT.sub("", visible))
    # What opens a comment now was made to: it stood around another one.
    visible = visible.partition("<!--")[0].strip()
    return visible if len(visible) <= limit else visible[: limit - 1].rstrip() + "…"


def freeze_line(text: str | None, limit: int) -> str:
    """The visible text on one line."""
    flat = " ".join(freeze(text, limit).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def whole(text: str) -> str:
    """The text with a replacement character for each half of a surrogate pair, which no UTF-8 can hold."""
    return _HALF.sub("\ufffd", text)


def mend_json(data: bytes) -> bytes:
    """JSON with a replacement for each escape of half a surrogate pair, which parsers refuse, and what is no UTF-8."""
    mended = _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], data)
    return mended.decode("utf-8", "replace").encode()
