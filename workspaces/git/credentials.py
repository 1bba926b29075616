"""Credentials of the engine's own for a repository: an HTTP header that git gets for one host and one command.

It is never on a command line, which every user of the machine can read, nor in a file or a configuration that stays:
git reads it from its environment. The sandbox shows a command no process outside of it, so no `/proc/<git>/environ`.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Credentials = Callable[[str], Awaitable[str | None]]
"""The header for a repository, from a token for this operation; None where the person's own git reaches it."""


@dataclass(frozen=True)
class CredentialHeader:
    """An HTTP header for the host of a URL."""

    url: str
    value: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that give git the header as configuration of one process.

        https://git-scm.com/docs/git-config#Documentation/git-config.txt-GITCONFIGCOUNT
        """
        parts = urlsplit(self.url)
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
            "GIT_CONFIG_VALUE_0": self.value,
        }


def basic_header(url: str, user: str, password: str) -> CredentialHeader:
    """Return the header of HTTP's basic authentication (RFC 7617) for the host of a URL."""
    return CredentialHeader(url, f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}")


async def header_for(repo: str, credentials: Credentials | None) -> CredentialHeader | None:
    """Return the header for one operation on a repository; None if it needs no credential of the engine's."""
    value = await credentials(repo) if credentials is not None and repo.startswith(("http://", "https://")) else None
    return CredentialHeader(repo, value) if value else None
