"""Readers of deliveries about the App's installation: repositories that the App has lost. Pure."""

from collections.abc import Callable

from baton.records.issue import MAX_REMOVED, RepositoriesRemoved
from interfaces.github.payloads.common import Account, InstallationPayload


def _read_installation_removed(_payload: InstallationPayload, account: Account) -> RepositoriesRemoved:
    # An App has one installation in an account. The list that comes along may be missing.
    return RepositoriesRemoved(repositories=[f"{account.login}/*"])


def _read_repositories_removed(payload: InstallationPayload, _account: Account) -> RepositoriesRemoved | str:
    named = [repository.full_name for repository in payload.repositories_removed]
    return RepositoriesRemoved(repositories=named[:MAX_REMOVED]) if named else "no repository was removed"


EVENTS: dict[str, Callable[[InstallationPayload, Account], RepositoriesRemoved | str]] = {
    "installation.deleted": _read_installation_removed,
    "installation.suspend": _read_installation_removed,
    "installation_repositories.removed": _read_repositories_removed,
}
