"""Readers of deliveries about checks: a foreign check failed on a branch of ours, or ours is to run again. Pure.

The run itself checks that the commit is the head which it published: a fork's branch may have the name of ours.
"""

import re
from typing import Any

from baton.records.issue import CHECK_NAME, MAX_TEXT, MAX_TITLE, CheckEvent, EventPayload, issue_of_branch
from baton.text.untrusted import sanitise, sanitise_line
from interfaces.github.events.event import FORK, NOT_OURS, Event
from interfaces.github.payloads.checks import (
    CheckRunPayload,
    CheckSuite,
    CheckSuitePayload,
    StatusPayload,
    WorkflowRunPayload,
)
from interfaces.github.payloads.common import App
from interfaces.github.verdicts import WebhookPolicy

# A change of the code repairs neither a cancelled check nor one that asks for a person.
# https://docs.github.com/en/rest/checks/runs
_FAILED = frozenset({"failure", "timed_out", "startup_failure"})
_PASSED = "the check did not fail"
_OWN = "it is a check of our own"
_NAME_LIMIT = 300
_LINK = re.compile(r"https?://[!-~]{1,1000}")


def _read_failed_run(payload: CheckRunPayload, policy: WebhookPolicy) -> EventPayload | str:
    run = payload.check_run
    if run.conclusion not in _FAILED:
        return _PASSED
    if _is_own_check(run.name, run.app, policy):
        return _OWN
    return _reason_not_own_branch(run.check_suite, payload) or _check_of_run(payload, "failed")


def _read_rerequested_run(payload: CheckRunPayload, policy: WebhookPolicy) -> EventPayload | str:
    if not _is_own_check(payload.check_run.name, payload.check_run.app, policy):
        return "it is no check of ours"
    return _reason_not_own_branch(payload.check_run.check_suite, payload) or _check_of_run(payload, "rerequested")


def _read_failed_suite(payload: CheckSuitePayload, policy: WebhookPolicy) -> EventPayload | str:
    suite = payload.check_suite
    if suite.conclusion not in _FAILED:
        return _PASSED
    return _OWN if _is_own_check("", suite.app, policy) else _check_of_suite(payload, "failed")


def _read_rerequested_suite(payload: CheckSuitePayload, policy: WebhookPolicy) -> EventPayload | str:
    if not _is_own_check("", payload.check_suite.app, policy):
        return "it is no check of ours"
    return _check_of_suite(payload, "rerequested")


def _read_failed_workflow(payload: WorkflowRunPayload, _policy: WebhookPolicy) -> EventPayload | str:
    workflow = payload.workflow_run
    if workflow.conclusion not in _FAILED:
        return _PASSED
    if workflow.head_repository is None or workflow.head_repository.id != payload.repository.id:
        return FORK
    if issue_of_branch(workflow.head_branch) is None:
        return NOT_OURS
    return CheckEvent(
        branch=workflow.head_branch,
        commit=workflow.head_sha,
        name=sanitise_line(workflow.name, _NAME_LIMIT),
        outcome="failed",
        conclusion=workflow.conclusion,
        source="workflow_run",
        id=workflow.id,
        app="github-actions",
        url=_safe_link(workflow.html_url),
    )


def _read_failed_status(payload: StatusPayload, _policy: WebhookPolicy) -> EventPayload | str:
    if payload.state not in ("failure", "error"):
        return _PASSED
    if payload.context == CHECK_NAME:
        return _OWN
    # All branches that contain the commit are listed; the status concerns those whose head it is.
    heads = [branch.name for branch in payload.branches if branch.commit.sha == payload.sha]
    ours = next((name for name in heads if issue_of_branch(name) is not None), None)
    if ours is None:
        return NOT_OURS
    return CheckEvent(
        branch=ours,
        commit=payload.sha,
        name=sanitise_line(payload.context, _NAME_LIMIT),
        outcome="failed",
        conclusion=payload.state,
        source="status",
        id=payload.id,
        summary=sanitise(payload.description, MAX_TEXT),
        url=_safe_link(payload.target_url),
    )


def _is_own_check(name: str, app: App | None, policy: WebhookPolicy) -> bool:
    """Whether a check is ours, by the App that made it: any App may use our name. Without an App the name decides."""
    if policy.app_id is not None:
        return app is not None and app.id == policy.app_id
    return name == CHECK_NAME


def _reason_not_own_branch(suite: CheckSuite, payload: CheckRunPayload | CheckSuitePayload) -> str | None:
    if issue_of_branch(suite.head_branch) is None:
        return NOT_OURS
    pulls = suite.pull_requests or getattr(payload, "check_run", suite).pull_requests
    heads = [pull.head for pull in pulls if pull.head.ref == suite.head_branch]
    ids = {head.repo.id for head in heads if head.repo is not None}
    return FORK if ids and payload.repository.id not in ids else None


def _check_of_run(payload: CheckRunPayload, outcome: Any) -> CheckEvent:
    run = payload.check_run
    says = run.output
    return CheckEvent(
        branch=run.check_suite.head_branch,
        commit=run.head_sha,
        name=sanitise_line(run.name, _NAME_LIMIT),
        outcome=outcome,
        conclusion=sanitise_line(run.conclusion, _NAME_LIMIT),
        source="check_run",
        id=run.id,
        app=sanitise_line(run.app.slug, _NAME_LIMIT) if run.app else "",
        external_id=sanitise_line(run.external_id, _NAME_LIMIT),
        title=sanitise_line(says.title, MAX_TITLE) if says else "",
        summary=sanitise(f"{says.summary}\n\n{says.text}", MAX_TEXT) if says else "",
        url=_safe_link(run.html_url),
    )


def _check_of_suite(payload: CheckSuitePayload, outcome: Any) -> CheckEvent | str:
    suite = payload.check_suite
    if refused := _reason_not_own_branch(suite, payload):
        return refused
    if suite.head_sha is None:
        return "the check suite names no commit"
    return CheckEvent(
        branch=suite.head_branch,
        commit=suite.head_sha,
        name=sanitise_line(suite.app.slug if suite.app else "", _NAME_LIMIT),
        outcome=outcome,
        conclusion=sanitise_line(suite.conclusion, _NAME_LIMIT),
        source="check_suite",
        id=suite.id,
        app=sanitise_line(suite.app.slug, _NAME_LIMIT) if suite.app else "",
    )


def _safe_link(url: str) -> str:
    return url if _LINK.fullmatch(url) else ""


EVENTS: dict[str, Event[Any]] = {
    "check_run.completed": Event(CheckRunPayload, _read_failed_run),
    "check_run.rerequested": Event(CheckRunPayload, _read_rerequested_run),
    "check_suite.completed": Event(CheckSuitePayload, _read_failed_suite),
    "check_suite.rerequested": Event(CheckSuitePayload, _read_rerequested_suite),
    "workflow_run.completed": Event(WorkflowRunPayload, _read_failed_workflow),
    "status": Event(StatusPayload, _read_failed_status),
}
