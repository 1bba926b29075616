"""Readers of deliveries about our pull requests and branches: reviews, comments, the end, foreign commits. Pure."""

from typing import Any, Literal

from baton.records.issue import MAX_TEXT, EventPayload, PullRequestEvent, ReviewEvent, issue_of_branch
from baton.text.untrusted import sanitise, sanitise_line
from interfaces.github.events.event import FORK, NOT_OURS, Event, reason_to_ignore_sender
from interfaces.github.payloads.common import PullPayload, PushPayload, ReviewCommentPayload, ReviewPayload
from interfaces.github.verdicts import WebhookPolicy

_BRANCHES = "refs/heads/"
_PATH_LIMIT = 500


def _read_pull_closed(payload: PullPayload, _policy: WebhookPolicy) -> EventPayload | str:
    return _reason_not_own_pull(payload) or _pull_event(payload, "merged" if payload.pull_request.merged else "closed")


def _read_reopened(payload: PullPayload, _policy: WebhookPolicy) -> EventPayload | str:
    return _reason_not_own_pull(payload) or _pull_event(payload, "reopened")


def _read_synchronized(payload: PullPayload, _policy: WebhookPolicy) -> EventPayload | str:
    return _reason_not_own_pull(payload) or _pull_event(payload, "pushed")


def _read_push(payload: PushPayload, _policy: WebhookPolicy) -> EventPayload | str:
    branch = payload.ref.removeprefix(_BRANCHES)
    if not payload.ref.startswith(_BRANCHES) or issue_of_branch(branch) is None:
        return NOT_OURS
    if payload.deleted:
        return "the branch was deleted"
    return PullRequestEvent(branch=branch, outcome="pushed", commit=payload.after)


def _read_review(payload: ReviewPayload, policy: WebhookPolicy) -> EventPayload | str:
    review, body = payload.review, sanitise(payload.review.body, MAX_TEXT)
    state: Literal["changes_requested", "approved", "commented"]
    match review.state.lower():
        case "changes_requested":
            state = "changes_requested"
        case "approved":
            state = "approved"
        case "commented" if body:
            state = "commented"
        case "commented":
            return "the review says nothing by itself; its comments come one by one"
        case _:
            return "the review asks for nothing"
    return (
        _reason_not_own_pull(payload)
        or reason_to_ignore_sender(payload.sender, policy)
        or ReviewEvent(
            pull=payload.pull_request.number,
            branch=payload.pull_request.head.ref,
            state=state,
            commit=review.commit_id or "",
            body=body,
            id=review.id,
        )
    )


def _read_review_comment(payload: ReviewCommentPayload, policy: WebhookPolicy) -> EventPayload | str:
    comment, body = payload.comment, sanitise(payload.comment.body, MAX_TEXT)
    if not body:
        return "the comment says nothing"
    return (
        _reason_not_own_pull(payload)
        or reason_to_ignore_sender(payload.sender, policy)
        or ReviewEvent(
            pull=payload.pull_request.number,
            branch=payload.pull_request.head.ref,
            state="commented",
            commit=comment.commit_id or "",
            body=body,
            path=sanitise_line(comment.path, _PATH_LIMIT),
            line=comment.line,
            id=comment.id,
        )
    )


def _reason_not_own_pull(payload: PullPayload) -> str | None:
    head = payload.pull_request.head
    # A fork's branch may have any name; the id identifies the repository.
    if head.repo is None or head.repo.id != payload.repository.id:
        return FORK
    return NOT_OURS if issue_of_branch(head.ref) is None else None


def _pull_event(payload: PullPayload, outcome: Literal["merged", "closed", "reopened", "pushed"]) -> PullRequestEvent:
    pull = payload.pull_request
    return PullRequestEvent(pull=pull.number, branch=pull.head.ref, outcome=outcome, commit=pull.head.sha)


EVENTS: dict[str, Event[Any]] = {
    "pull_request.closed": Event(PullPayload, _read_pull_closed),
    "pull_request.reopened": Event(PullPayload, _read_reopened),
    "pull_request.synchronize": Event(PullPayload, _read_synchronized),
    "push": Event(PushPayload, _read_push),
    "pull_request_review.submitted": Event(ReviewPayload, _read_review),
    "pull_request_review_comment.created": Event(ReviewCommentPayload, _read_review_comment),
}
