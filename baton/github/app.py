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
"""Level by GitHub's name of the permission: https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app"""

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
"""Events to subscribe to; GitHub sends those about the installation without a subscription."""

RENEW = (
    "renew the credential (BATON_GITHUB_TOKEN, or BATON_GITHUB_APP_ID with BATON_GITHUB_PRIVATE_KEY and the App's"
    " installation) and see that it has the permissions of docs/github.md, restart the workers, then answer `retry`"
)
"""The remedy if GitHub refuses the credential."""

_LEVELS = {"": 0, "read": 1, "write": 2, "admin": 3}


def missing_permissions(granted: dict[str, str]) -> list[str]:
    """Return the permissions that are missing or too low, such as `checks: write`."""
    return [
        f"{name}: {level}"
        for name, level in PERMISSIONS.items()
        if _LEVELS.get(granted.get(name, ""), 0) < _LEVELS[level]
    ]


def missing_events(subscribed: list[str]) -> list[str]:
    """Return the events that the App has not subscribed to."""
    return [event for event in EVENTS if event not in subscribed]
