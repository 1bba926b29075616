"""How an event is read: the model of its payload, and a function that finds what matters in it, or why nothing does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from baton.records.issue import Matter, Repository, Sender
from interfaces.github.payloads.common import Account, Installation, Part, RepositoryPart
from interfaces.github.verdicts import Policy

Read = TypeVar("Read", bound=Part)

NOT_OURS = "the branch is none of Baton's"
FORK = "the branch lies in a fork"


@dataclass(frozen=True)
class Event(Generic[Read]):
    """How one event with one action is read."""

    model: type[Read]
    matter: Callable[[Read, Policy], Matter | str]
    """A text says why the delivery does not concern us."""


def sender_of(account: Account) -> Sender:
    """Who caused a delivery."""
    bot = account.type == "Bot" or account.login.endswith("[bot]")
    return Sender(login=account.login, id=account.id, bot=bot)


def repository_of(part: RepositoryPart, installation: Installation | None, policy: Policy) -> Repository:
    """The repository of a delivery; where it is cloned from is ours to say."""
    return Repository(
        owner=part.owner.login,
        name=part.name,
        clone_url=f"{policy.url}/{part.owner.login}/{part.name}.git",
        installation=installation.id if installation else None,
    )


def stranger(account: Account, policy: Policy) -> str | None:
    """Why this sender may ask for nothing: a bot that is not allow-listed. People are looked up later, with GitHub."""
    sender = sender_of(account)
    if sender.bot and sender.login.lower() not in policy.bots:
        return f"the bot {sender.login} is not among BATON_GITHUB_BOTS"
    return None
