"""Durations as people write them: `90`, `90s`, `30 min`, `2h`, `1 day`, `8w`. Pure."""

import re
from datetime import timedelta

_TEXT = re.compile(r"(?P<amount>[0-9]{1,7}(?:\.[0-9]{1,6})?)\s*(?P<unit>[a-z]{0,8})", re.IGNORECASE)
_SECONDS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3_600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
}


def parse_duration(text: str) -> timedelta | None:
    """Return the duration that a text names, in seconds if it has no unit; None for other texts and for 0."""
    found = _TEXT.fullmatch(text.strip())
    factor = _SECONDS.get(found["unit"].lower()) if found else None
    seconds = float(found["amount"]) * factor if found and factor else 0.0
    return timedelta(seconds=seconds) or None
