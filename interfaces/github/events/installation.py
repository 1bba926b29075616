"""Readers of deliveries about the App's installation: repositories that the App has lost. Pure."""

from collections.abc import Callable

from baton.records.issue import REMOVED_LIMIT, Removed
from interfaces.github.payloads.common import Account, InstallationPayload


def _gone(_payload: InstallationPayload, account: Account) -> Removed:
    # An App has one installation in an account. The list that comes along may be missing.
    return Removed(repositories=[f"{account.login}/*"])


def _fewer(payload: InstallationPayload, _account: Account) -> Removed | str:
    named = [repository.full_name for repository in payload.repositories_removed]
    return Removed(repositories=named[:REMOVED_LIMIT]) if named else "no repository was removed"


EVENTS: dict[str, Callable[[InstallationPayload, Account], Removed | str]] = {
    "installation.deleted": _gone,
    "installation.suspend": _gone,
    "installation_repositories.removed": _fewer,
}
