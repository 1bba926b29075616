"""The reader of an event: the model of its payload, and a function that returns its meaning, or why it is ignored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from baton.records.issue import EventPayload, Repository, Sender
from interfaces.github.payloads.common import Account, Installation, PayloadPart, RepositoryPart
from interfaces.github.verdicts import WebhookPolicy

Read = TypeVar("Read", bound=PayloadPart)

NOT_OURS = "the branch is none of Baton's"
FORK = "the branch lies in a fork"


@dataclass(frozen=True)
class Event(Generic[Read]):
    """The reader of one event with one action."""

    model: type[Read]
    matter: Callable[[Read, WebhookPolicy], EventPayload | str]
    """Returns the meaning, or as text the reason why the delivery is ignored."""


def sender_of(account: Account) -> Sender:
    """Return the sender of a delivery."""
    bot = account.type == "Bot" or account.login.endswith("[bot]")
    return Sender(login=account.login, id=account.id, bot=bot)


def repository_of(part: RepositoryPart, installation: Installation | None, policy: WebhookPolicy) -> Repository:
    """Return the repository of a delivery, with a clone URL made from the settings, not from the payload."""
    return Repository(
        owner=part.owner.login,
        name=part.name,
        clone_url=f"{policy.url}/{part.owner.login}/{part.name}.git",
        installation=installation.id if installation else None,
    )


def reason_to_ignore_sender(account: Account, policy: WebhookPolicy) -> str | None:
    """Return the reason to ignore a sender: a bot that is not allow-listed. GitHub is asked about people later."""
    sender = sender_of(account)
    if sender.bot and sender.login.lower() not in policy.bots:
        return f"the bot {sender.login} is not among BATON_GITHUB_BOTS"
    return None
