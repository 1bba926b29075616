"""The one grammar of durations: a number and a unit, as in `90s`, `15m`, `2h`, `1d`; parts add up, as in `1h30m`.

Options, settings, `baton.toml` and the notes of decisions read durations by it. A number without a unit is seconds.
Also read is the form that JSON documents have (`PT1H30M`, https://www.rfc-editor.org/rfc/rfc3339#appendix-A).
"""

import re
from datetime import timedelta

GRAMMAR = "90s, 15m, 2h or 1d"
"""Examples for help texts and refusals."""

_UNITS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3_600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
}
_NUMBER = r"[0-9]{1,7}(?:\.[0-9]{1,6})?"
_PART = re.compile(rf"({_NUMBER})\s*([a-z]{{0,7}})\s*")
_TEXT = re.compile(rf"{_NUMBER}\s*[a-z]{{0,7}}|(?:{_NUMBER}\s*[a-z]{{1,7}}\s*){{2,5}}")
_ISO = re.compile(
    rf"p(?=.)(?:({_NUMBER})d)?(?:t(?=.)(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?)?", re.IGNORECASE
)
_ISO_UNITS = (86_400, 3_600, 60, 1)


def parse_duration(text: str) -> timedelta | None:
    """Return the duration that a text means; None for any other text, and for a duration of zero."""
    words = text.strip().lower()
    if len(words) > 60:
        return None
    if iso := _ISO.fullmatch(words):
        seconds = sum(float(part or 0) * unit for part, unit in zip(iso.groups(), _ISO_UNITS, strict=True))
    elif _TEXT.fullmatch(words):
        parts = _PART.findall(words)
        if any(unit not in _UNITS for _, unit in parts):
            return None
        seconds = sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    else:
        return None
    return timedelta(seconds=seconds) or None
