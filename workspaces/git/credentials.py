"""Reaching a repository with a credential of the engine's own: a header that git gets for one host and one command.

It is never on a command line, in a file or in a configuration that stays: git reads it from its environment, and a
shell puts it there from its standard input, so that this program need not take over the environment it runs in.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Credentials = Callable[[str], Awaitable[str | None]]
"""The header for a repository, from a token for this operation; None where the person's own git reaches it."""


@dataclass(frozen=True)
class Header:
    """A header for the host of a URL."""

    url: str
    value: str = field(repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """What stands in git's environment besides the header itself, and is no secret.

        https://git-scm.com/docs/git-config#Documentation/git-config.txt-GITCONFIGCOUNT
        """
        parts = urlsplit(self.url)
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
        }

    def command(self, git: Sequence[str]) -> list[str]:
        """A command that runs git with the header in its environment; it reads the header from its input."""
        script = 'IFS= read -r GIT_CONFIG_VALUE_0 && export GIT_CONFIG_VALUE_0 && exec "$@" </dev/null'
        return ["/bin/sh", "-c", script, "git", *git]

    @property
    def stdin(self) -> bytes:
        """What the command reads."""
        return f"{self.value}\n".encode()


async def header_for(repo: str, credentials: Credentials | None) -> Header | None:
    """The header of a repository for one operation, where there is one."""
    value = await credentials(repo) if credentials is not None and repo.startswith(("http://", "https://")) else None
    return Header(repo, value) if value else None
