"""Readers of deliveries about issues: the label, its removal, a closed issue, and commands in comments. Pure."""

from typing import Any

from baton.records.issue import MAX_BODY, MAX_TITLE, CommentCommand, EventPayload, RunRequested, StopRequested
from baton.text.untrusted import sanitise, sanitise_line
from interfaces.github.comment_command import parse_comment
from interfaces.github.events.event import Event, reason_to_ignore_sender
from interfaces.github.payloads.common import CommentPayload, IssuePayload
from interfaces.github.verdicts import WebhookPolicy


def _read_labeled(payload: IssuePayload, policy: WebhookPolicy) -> EventPayload | str:
    if not _is_own_label(payload, policy):
        return "it is another label"
    if payload.issue.pull_request is not None:
        return "it is a pull request: label its issue"
    if payload.issue.state == "closed":
        return "the issue is closed"
    label = payload.label.name if payload.label else ""
    return reason_to_ignore_sender(payload.sender, policy) or _request_run(payload, policy).model_copy(
        update={"label": label}
    )


def _read_unlabeled(payload: IssuePayload, policy: WebhookPolicy) -> EventPayload | str:
    return (
        StopRequested(number=payload.issue.number, reason="unlabeled")
        if _is_own_label(payload, policy)
        else "it is another label"
    )


def _read_issue_closed(payload: IssuePayload, _policy: WebhookPolicy) -> EventPayload | str:
    return StopRequested(number=payload.issue.number, reason="closed")


def _read_issue_comment(payload: CommentPayload, policy: WebhookPolicy) -> EventPayload | str:
    app = payload.comment.performed_via_github_app
    if app is not None and app.id is not None and app.id == policy.app_id:
        return "it is a comment of our own"
    command = parse_comment(payload.comment.body)
    if command is None:
        return "the comment begins with no command"
    if refused := reason_to_ignore_sender(payload.sender, policy):
        return refused
    on_pull = payload.issue.pull_request is not None
    if command.name == "run" and not on_pull:
        start = _request_run(payload, policy)
        return start.model_copy(update={"by": "command", "text": command.text, "comment": payload.comment.id})
    return CommentCommand(number=payload.issue.number, on_pull=on_pull, command=command, comment=payload.comment.id)


def _is_own_label(payload: IssuePayload, policy: WebhookPolicy) -> bool:
    return payload.label is not None and payload.label.name.casefold() == policy.label.casefold()


def _request_run(payload: IssuePayload | CommentPayload, policy: WebhookPolicy) -> RunRequested:
    issue, repository = payload.issue, payload.repository
    return RunRequested(
        number=issue.number,
        title=sanitise_line(issue.title, MAX_TITLE),
        body=sanitise(issue.body, MAX_BODY),
        closed=issue.state == "closed",
        url=f"{policy.url}/{repository.owner.login}/{repository.name}/issues/{issue.number}",
    )


EVENTS: dict[str, Event[Any]] = {
    "issues.labeled": Event(IssuePayload, _read_labeled),
    "issues.unlabeled": Event(IssuePayload, _read_unlabeled),
    "issues.closed": Event(IssuePayload, _read_issue_closed),
    # The issue is gone, so the run's comments and questions could be neither read nor answered.
    "issues.deleted": Event(IssuePayload, _read_issue_closed),
    "issues.transferred": Event(IssuePayload, _read_issue_closed),
    "issue_comment.created": Event(CommentPayload, _read_issue_comment),
}
