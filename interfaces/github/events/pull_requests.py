"""Readers of deliveries about our pull requests and branches: reviews, comments, the end, foreign commits. Pure."""

from typing import Any, Literal

from baton.records.issue import TEXT_LIMIT, Matter, Pull, Review, issue_of_branch
from baton.text.untrusted import freeze, freeze_line
from interfaces.github.events.event import FORK, NOT_OURS, Event, stranger
from interfaces.github.payloads.common import PullPayload, PushPayload, ReviewCommentPayload, ReviewPayload
from interfaces.github.verdicts import Policy

_BRANCHES = "refs/heads/"
_PATH_LIMIT = 500


def _closed(payload: PullPayload, _policy: Policy) -> Matter | str:
    return _not_ours(payload) or _pull(payload, "merged" if payload.pull_request.merged else "closed")


def _reopened(payload: PullPayload, _policy: Policy) -> Matter | str:
    return _not_ours(payload) or _pull(payload, "reopened")


def _synchronized(payload: PullPayload, _policy: Policy) -> Matter | str:
    return _not_ours(payload) or _pull(payload, "pushed")


def _pushed(payload: PushPayload, _policy: Policy) -> Matter | str:
    branch = payload.ref.removeprefix(_BRANCHES)
    if not payload.ref.startswith(_BRANCHES) or issue_of_branch(branch) is None:
        return NOT_OURS
    if payload.deleted:
        return "the branch was deleted"
    return Pull(branch=branch, outcome="pushed", commit=payload.after)


def _reviewed(payload: ReviewPayload, policy: Policy) -> Matter | str:
    review, body = payload.review, freeze(payload.review.body, TEXT_LIMIT)
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
        _not_ours(payload)
        or stranger(payload.sender, policy)
        or Review(
            pull=payload.pull_request.number,
            branch=payload.pull_request.head.ref,
            state=state,
            commit=review.commit_id or "",
            body=body,
            id=review.id,
        )
    )


def _commented(payload: ReviewCommentPayload, policy: Policy) -> Matter | str:
    comment, body = payload.comment, freeze(payload.comment.body, TEXT_LIMIT)
    if not body:
        return "the comment says nothing"
    return (
        _not_ours(payload)
        or stranger(payload.sender, policy)
        or Review(
            pull=payload.pull_request.number,
            branch=payload.pull_request.head.ref,
            state="commented",
            commit=comment.commit_id or "",
            body=body,
            path=freeze_line(comment.path, _PATH_LIMIT),
            line=comment.line,
            id=comment.id,
        )
    )


def _not_ours(payload: PullPayload) -> str | None:
    head = payload.pull_request.head
    # A fork's branch may have any name; the id identifies the repository.
    if head.repo is None or head.repo.id != payload.repository.id:
        return FORK
    return NOT_OURS if issue_of_branch(head.ref) is None else None


def _pull(payload: PullPayload, outcome: Literal["merged", "closed", "reopened", "pushed"]) -> Pull:
    pull = payload.pull_request
    return Pull(pull=pull.number, branch=pull.head.ref, outcome=outcome, commit=pull.head.sha)


EVENTS: dict[str, Event[Any]] = {
    "pull_request.closed": Event(PullPayload, _closed),
    "pull_request.reopened": Event(PullPayload, _reopened),
    "pull_request.synchronize": Event(PullPayload, _synchronized),
    "push": Event(PushPayload, _pushed),
    "pull_request_review.submitted": Event(ReviewPayload, _reviewed),
    "pull_request_review_comment.created": Event(ReviewCommentPayload, _commented),
}
