"""The text of commits for GitHub: a trailer for the requester, and no reference that would close or link an issue."""

import re
from urllib.parse import urlsplit

from baton.records.issue import Sender

_NUMBER = re.compile(r"#(?=\d)")
_NAME = re.compile(r"[A-Za-z0-9-]{1,39}")


def without_references(text: str) -> str:
    """Return a model's text without issue references: GitHub would close the issue of `fixes #12`."""
    return _NUMBER.sub("# ", text)


def coauthor_trailer(requester: Sender, url: str) -> str | None:
    """Return the trailer that names the requester; None for bots and for an invalid login.

    https://docs.github.com/en/account-and-profile/reference/email-addresses-reference#your-noreply-email-address
    """
    if requester.bot or not _NAME.fullmatch(requester.login):
        return None
    host = urlsplit(url).hostname or "github.com"
    number = f"{requester.id}+" if requester.id else ""
    return f"Co-authored-by: {requester.login} <{number}{requester.login}@users.noreply.{host}>"
