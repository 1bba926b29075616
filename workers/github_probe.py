"""The read-only check of the GitHub side, for `baton doctor --github`: identity, permissions, events, deliveries."""

from dataclasses import dataclass, field
from typing import Any

import httpx2

from activities.github.client import GitHubClient, make_http_client
from baton.errors import GitHubDenied, GitHubError, GitHubRefused
from baton.github.app import EVENTS, missing_events, missing_permissions
from baton.records.issue import Repository
from baton.settings.core import Settings

_MAX_DELIVERIES = 30
_PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class GitHubSurvey:
    """The findings of the check: our identity at GitHub, and the results of its latest deliveries."""

    login: str = ""
    fault: str = ""
    """The reason why GitHub refuses the credential."""
    is_app: bool = False
    permissions: list[str] = field(default_factory=list)
    """The permissions that are missing or too low."""
    events: list[str] = field(default_factory=list)
    """The events that the App is not subscribed to."""
    installations: int | None = None
    hook_url: str = ""
    delivered: int = 0
    refused: int = 0
    """Latest deliveries, by the HTTP status that GitHub got: 2xx, and the others."""
    unseen: str = ""
    """The reason why GitHub does not show the webhook to this credential."""
    reaches: list["RepositoryAccess"] = field(default_factory=list)
    """With a token: the access to each repository that the settings name."""


@dataclass(frozen=True)
class RepositoryAccess:
    """The access that a token has to a repository."""

    name: str
    fault: str = ""
    """The reason why runs cannot work there."""
    hook_fault: str = ""
    """The fault of the webhook that was made by hand; empty, too, where the token cannot see webhooks."""


async def survey_github(settings: Settings) -> GitHubSurvey:
    """Query GitHub for our identity, our permissions and the results of its latest deliveries."""
    async with make_http_client() as http:
        github = GitHubClient(settings, http)
        try:
            login = await github.read_login()
            if not github.is_app:
                reaches = [
                    await _check_access(github, name) for name in sorted(settings.github_served) if "*" not in name
                ]
                unseen = "with a token, GitHub tells it only in the repository's settings"
                return GitHubSurvey(login=login, unseen=unseen, reaches=reaches)
            app = await github.read_app()
        except GitHubError as error:
            return GitHubSurvey(fault=str(error), is_app=github.is_app)
        found = GitHubSurvey(
            login=login,
            is_app=True,
            permissions=missing_permissions(dict(app.get("permissions") or {})),
            events=missing_events(list(app.get("events") or [])),
        )
        return await _read_deliveries(github, found)


async def webhook_listens(settings: Settings) -> bool:
    """Whether Baton's webhook answers at its configured address on this machine."""
    try:
        async with httpx2.AsyncClient(timeout=_PROBE_SECONDS, trust_env=False) as http:
            host = settings.github_webhook_host
            name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
            answer = await http.get(f"http://{name}:{settings.github_webhook_port}/healthz")
            return answer.status_code == 200
    except httpx2.HTTPError:
        return False


async def _check_access(github: GitHubClient, name: str) -> RepositoryAccess:
    owner, _, repository = name.partition("/")
    async with github.open_repository(Repository(owner=owner, name=repository, clone_url="")) as api:
        try:
            found = await api.get("", f"reading {name}")
        except GitHubRefused as error:
            return RepositoryAccess(name, f"{name} is not to be seen with it" if error.status == 404 else str(error))
        if not (found.get("permissions") or {}).get("push", True):
            return RepositoryAccess(name, f"its account may not write to {name}")
        try:
            hooks = await api.list_items("/hooks?per_page=100", f"reading the webhooks of {name}", max_items=100)
        except (GitHubRefused, GitHubDenied):
            return RepositoryAccess(name)  # only an administrator's token sees them, and none is needed
    return RepositoryAccess(name, hook_fault=_hook_fault(name, hooks))


def _hook_fault(name: str, hooks: list[Any]) -> str:
    """Return the fault of the webhook with the fewest faults: Baton's own is not known by its address."""
    faults = []
    for hook in hooks:
        events = list(hook.get("events") or [])
        missing = [] if "*" in events else missing_events(events)
        if not hook.get("active"):
            faults.append((len(EVENTS), f"that of {name} is not active"))
        elif missing:
            faults.append((len(missing), f"that of {name} does not send {', '.join(missing)}"))
        elif (hook.get("config") or {}).get("content_type") != "json":
            faults.append((1, f"that of {name} does not send application/json"))
        else:
            return ""
    return min(faults, default=(0, f"{name} has none"))[1]


async def _read_deliveries(github: GitHubClient, found: GitHubSurvey) -> GitHubSurvey:
    """Add the App's installations and deliveries: https://docs.github.com/en/rest/apps/webhooks"""
    known: dict[str, Any] = {}
    try:
        known["installations"] = len(await github.get_as_app("/app/installations?per_page=100"))
        known["hook_url"] = str((await github.get_as_app("/app/hook/config")).get("url") or "")
        latest = await github.get_as_app(f"/app/hook/deliveries?per_page={_MAX_DELIVERIES}")
        codes = [int(entry.get("status_code") or 0) for entry in latest]
        known["delivered"] = sum(200 <= code < 300 for code in codes)
        known["refused"] = len(codes) - known["delivered"]
    except GitHubError as error:
        known["unseen"] = str(error)
    return GitHubSurvey(**{**vars(found), **known})
