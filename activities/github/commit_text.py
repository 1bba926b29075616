"""What a commit says of GitHub: who asked for it, and nothing that would close or link issues of others."""

import re
from urllib.parse import urlsplit

from baton.records.issue import Sender

_NUMBER = re.compile(r"#(?=\d)")
_NAME = re.compile(r"[A-Za-z0-9-]{1,39}")


def without_references(text: str) -> str:
    """A model's words for a commit: GitHub would take `fixes #12` in them for an order."""
    return _NUMBER.sub("# ", text)


def coauthor(requester: Sender, url: str) -> str | None:
    """The trailer that names who asked; None for bots, and for a login that can be nobody's.

    https://docs.github.com/en/account-and-profile/reference/email-addresses-reference#your-noreply-email-address
    """
    if requester.bot or not _NAME.fullmatch(requester.login):
        return None
    host = urlsplit(url).hostname or "github.com"
    number = f"{requester.id}+" if requester.id else ""
    return f"Co-authored-by: {requester.login} <{number}{requester.login}@users.noreply.{host}>"
