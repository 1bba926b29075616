"""Permissions and events that a GitHub App needs, as docs/github.md lists them and `doctor --github` checks them."""

PERMISSIONS = {
    "metadata": "read",
    "contents": "write",
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
    "actions": "read",
    "statuses": "read",
}
"""By GitHub's names: https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app"""

EVENTS = (
    "issues",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "check_run",
    "check_suite",
    "workflow_run",
    "status",
)
"""Those about the installation come by themselves."""

RENEW = (
    "renew the credential (BATON_GITHUB_TOKEN, or BATON_GITHUB_APP_ID with BATON_GITHUB_PRIVATE_KEY and the App's"
    " installation) and see that it has the permissions of docs/github.md, restart the workers, then answer `retry`"
)
"""What to do where GitHub does not let us in."""

_LEVELS = {"": 0, "read": 1, "write": 2, "admin": 3}


def missing_permissions(granted: dict[str, str]) -> list[str]:
    """What is not granted, or not enough: `checks: write`."""
    return [
        f"{name}: {level}"
        for name, level in PERMISSIONS.items()
        if _LEVELS.get(granted.get(name, ""), 0) < _LEVELS[level]
    ]


def missing_events(subscribed: list[str]) -> list[str]:
    """Events that the App does not get."""
    return [event for event in EVENTS if event not in subscribed]
