"""Readers of deliveries about issues: the label, its removal, a closed issue, and commands in comments. Pure."""

from typing import Any

from baton.records.issue import BODY_LIMIT, TITLE_LIMIT, Matter, Said, Start, Stop
from baton.text.untrusted import freeze, freeze_line
from interfaces.github.comment_command import parse
from interfaces.github.events.event import Event, stranger
from interfaces.github.payloads.common import CommentPayload, IssuePayload
from interfaces.github.verdicts import Policy


def _labeled(payload: IssuePayload, policy: Policy) -> Matter | str:
    if not _is_ours(payload, policy):
        return "it is another label"
    if payload.issue.pull_request is not None:
        return "it is a pull request: label its issue"
    if payload.issue.state == "closed":
        return "the issue is closed"
    label = payload.label.name if payload.label else ""
    return stranger(payload.sender, policy) or _start(payload, policy).model_copy(update={"label": label})


def _unlabeled(payload: IssuePayload, policy: Policy) -> Matter | str:
    return Stop(number=payload.issue.number, reason="unlabeled") if _is_ours(payload, policy) else "it is another label"


def _closed(payload: IssuePayload, _policy: Policy) -> Matter | str:
    return Stop(number=payload.issue.number, reason="closed")


def _commented(payload: CommentPayload, policy: Policy) -> Matter | str:
    app = payload.comment.performed_via_github_app
    if app is not None and app.id is not None and app.id == policy.app_id:
        return "it is a comment of our own"
    command = parse(payload.comment.body)
    if command is None:
        return "the comment begins with no command"
    if refused := stranger(payload.sender, policy):
        return refused
    on_pull = payload.issue.pull_request is not None
    if command.name == "run" and not on_pull:
        start = _start(payload, policy)
        return start.model_copy(update={"by": "command", "text": command.text, "comment": payload.comment.id})
    return Said(number=payload.issue.number, on_pull=on_pull, command=command, comment=payload.comment.id)


def _is_ours(payload: IssuePayload, policy: Policy) -> bool:
    return payload.label is not None and payload.label.name.casefold() == policy.label.casefold()


def _start(payload: IssuePayload | CommentPayload, policy: Policy) -> Start:
    issue, repository = payload.issue, payload.repository
    return Start(
        number=issue.number,
        title=freeze_line(issue.title, TITLE_LIMIT),
        body=freeze(issue.body, BODY_LIMIT),
        closed=issue.state == "closed",
        url=f"{policy.url}/{repository.owner.login}/{repository.name}/issues/{issue.number}",
    )


EVENTS: dict[str, Event[Any]] = {
    "issues.labeled": Event(IssuePayload, _labeled),
    "issues.unlabeled": Event(IssuePayload, _unlabeled),
    "issues.closed": Event(IssuePayload, _closed),
    # The issue is gone, so the run's comments and questions could be neither read nor answered.
    "issues.deleted": Event(IssuePayload, _closed),
    "issues.transferred": Event(IssuePayload, _closed),
    "issue_comment.created": Event(CommentPayload, _commented),
}
