"""What each event means: every row of the table in docs/github.md, and what is left out of it on purpose."""

from dataclasses import replace
from typing import Any

import pytest

from baton.records.issue import (
    CheckEvent,
    CommentCommand,
    EventPayload,
    PullRequestEvent,
    RepositoriesRemoved,
    ReviewEvent,
    RunRequested,
    StopRequested,
)
from interfaces.github import verdicts
from interfaces.github.parse_request import judge_request
from interfaces.github.verdicts import IgnoreDelivery, WebhookPolicy
from tests.interfaces.github.deliveries import (
    ADA,
    APP_ID,
    BRANCH,
    FORK_ID,
    POLICY,
    REPOSITORY_ID,
    SHA,
    commented,
    encode,
    headers,
    issue,
    labeled,
    payload,
    pull,
)

BOT = {"login": "renovate[bot]", "id": 9, "type": "Bot"}
HELPER = {"login": "Helper[bot]", "id": 10, "type": "Bot"}


def judged(event: str, content: dict[str, Any], policy: WebhookPolicy = POLICY) -> verdicts.Verdict:
    body = encode(content)
    return judge_request(headers(body, event), body, policy)


def matter(event: str, content: dict[str, Any], policy: WebhookPolicy = POLICY) -> EventPayload:
    said = judged(event, content, policy)
    assert isinstance(said, verdicts.StartRun | verdicts.SignalRun), said
    assert said.delivery.repository.full_name == "acme/shop"
    assert said.delivery.repository.clone_url == "https://github.com/acme/shop.git"
    assert said.delivery.repository.installation == 99
    return said.delivery.matter


def reason(event: str, content: dict[str, Any], policy: WebhookPolicy = POLICY) -> str:
    said = judged(event, content, policy)
    assert isinstance(said, IgnoreDelivery), said
    return said.reason


def test_the_label_starts_a_run_with_the_issue_as_it_is_now() -> None:
    said = judged("issues", labeled())
    assert isinstance(said, verdicts.StartRun)
    assert (said.delivery.event, said.delivery.sender.login, said.delivery.sender.bot) == (
        "issues.labeled",
        "ada",
        False,
    )
    assert said.delivery.matter == RunRequested(
        number=7,
        title="Add pagination",
        body="To GET /orders.",
        url="https://github.com/acme/shop/issues/7",
        label="baton",
    )
    assert said.delivery.workflow_id == f"gh-delivery-{said.delivery.id}"


def test_labels_are_compared_as_github_does_and_another_one_is_none_of_ours() -> None:
    assert matter("issues", labeled("BATON")).kind == "start"
    assert matter("issues", labeled("Go!"), replace(POLICY, label="go!")).kind == "start"
    for label in ("bug", "baton2", "baton ", ""):
        assert "another label" in reason("issues", labeled(label))


def test_a_closed_issue_or_a_pull_request_is_not_started_by_a_label() -> None:
    assert "closed" in reason("issues", labeled(state="closed"))
    assert "pull request" in reason("issues", labeled(pull_request={"url": "x"}))


@pytest.mark.parametrize(
    ("action", "parts", "why"),
    [
        ("unlabeled", {"label": {"name": "baton"}}, "unlabeled"),
        ("closed", {}, "closed"),
        ("deleted", {}, "closed"),
        ("transferred", {}, "closed"),
    ],
)
def test_what_stops_a_run(action: str, parts: dict[str, Any], why: str) -> None:
    assert matter("issues", payload(action, issue=issue(), **parts)) == StopRequested(number=7, reason=why)


def test_another_label_that_goes_stops_nothing() -> None:
    assert "another label" in reason("issues", payload("unlabeled", issue=issue(), label={"name": "bug"}))


def test_commands_on_an_issue_and_on_a_pull_request() -> None:
    start = matter("issue_comment", commented("/baton run with tests\nand docs"))
    assert isinstance(start, RunRequested)
    assert (start.by, start.text, start.comment, start.title) == (
        "command",
        "with tests\nand docs",
        501,
        "Add pagination",
    )
    stop = matter("issue_comment", commented("/baton stop"))
    assert isinstance(stop, CommentCommand)
    assert (stop.number, stop.on_pull, stop.command.name, stop.comment) == (7, False, "stop", 501)
    on_pull = payload("created", issue=issue(pull_request={"url": "x"}), comment={"id": 5, "body": "/baton run"})
    said = matter("issue_comment", on_pull)
    assert isinstance(said, CommentCommand)
    assert (said.on_pull, said.command.name) == (True, "run")


@pytest.mark.parametrize("action", ["edited", "deleted"])
def test_edited_and_deleted_comments_ask_for_nothing(action: str) -> None:
    assert "no event that concerns us" in reason("issue_comment", {**commented("/baton run"), "action": action})
    assert "no event that concerns us" in reason(
        "pull_request_review_comment", payload(action, pull_request=pull(), comment={"id": 1, "body": "x"})
    )


def test_a_comment_of_our_own_app_is_never_a_command() -> None:
    content = commented("/baton run")
    content["comment"]["performed_via_github_app"] = {"id": APP_ID, "slug": "baton"}
    assert "our own" in reason("issue_comment", content)


@pytest.mark.parametrize(
    ("event", "content"),
    [
        ("issues", labeled()),
        ("issue_comment", commented("/baton run")),
        ("issue_comment", commented("/baton stop")),
        ("pull_request_review", payload("submitted", pull_request=pull(), review={"id": 1, "state": "approved"})),
        ("pull_request_review_comment", payload("created", pull_request=pull(), comment={"id": 1, "body": "x"})),
    ],
)
def test_bots_ask_for_something_only_where_they_are_listed(event: str, content: dict[str, Any]) -> None:
    assert "renovate[bot]" in reason(event, {**content, "sender": BOT})
    assert "user[bot]" in reason(event, {**content, "sender": {**ADA, "login": "user[bot]"}})
    matter(event, {**content, "sender": HELPER})


def test_other_repositories_are_not_served() -> None:
    for served in ("acme/*", "acme/shop", "x/y acme/shop"):
        assert matter("issues", labeled(), replace(POLICY, served=frozenset(served.split()))).kind == "start"
    for served in ("acme/sho", "acm/*", "shop", "*"):
        assert "acme/shop" in reason("issues", labeled(), replace(POLICY, served=frozenset(served.split())))


def test_reviews() -> None:
    review = {"id": 31, "state": "CHANGES_REQUESTED", "body": "No <!-- yes --> tests.", "commit_id": SHA}
    assert matter("pull_request_review", payload("submitted", pull_request=pull(), review=review)) == ReviewEvent(
        pull=8, branch=BRANCH, state="changes_requested", commit=SHA, body="No  tests.", id=31
    )
    approved = payload("submitted", pull_request=pull(), review={"id": 32, "state": "approved", "body": None})
    assert matter("pull_request_review", approved) == ReviewEvent(pull=8, branch=BRANCH, state="approved", id=32)
    for state, body in (("commented", None), ("commented", "\u200b"), ("dismissed", "x"), ("pending", "x"), ("", "x")):
        content = payload("submitted", pull_request=pull(), review={"id": 33, "state": state, "body": body})
        assert "review" in reason("pull_request_review", content)


def test_a_comment_on_a_line() -> None:
    comment = {"id": 41, "body": "Why?", "path": "orders/a\u202epi.py", "line": 12, "commit_id": SHA}
    assert matter(
        "pull_request_review_comment", payload("created", pull_request=pull(), comment=comment)
    ) == ReviewEvent(
        pull=8, branch=BRANCH, state="commented", commit=SHA, body="Why?", path="orders/api.py", line=12, id=41
    )


@pytest.mark.parametrize(
    ("action", "merged", "outcome"),
    [
        ("closed", True, "merged"),
        ("closed", False, "closed"),
        ("closed", None, "closed"),
        ("reopened", False, "reopened"),
        ("synchronize", False, "pushed"),
    ],
)
def test_the_end_of_a_pull_request_and_commits_of_others(action: str, merged: bool | None, outcome: str) -> None:
    expected = PullRequestEvent(pull=8, branch=BRANCH, outcome=outcome, commit=SHA)
    assert matter("pull_request", payload(action, pull_request=pull(merged=merged))) == expected


def test_a_push_to_a_branch_of_ours() -> None:
    push = payload(ref=f"refs/heads/{BRANCH}", after=SHA, deleted=False)
    assert matter("push", push) == PullRequestEvent(branch=BRANCH, outcome="pushed", commit=SHA)
    assert "deleted" in reason("push", {**push, "deleted": True, "after": "0" * 40})
    for ref in ("refs/heads/main", f"refs/tags/{BRANCH}", BRANCH, f"refs/heads/x/{BRANCH}", f"refs/heads/{BRANCH}/x"):
        assert "none of Baton's" in reason("push", {**push, "ref": ref})


def check(**parts: Any) -> dict[str, Any]:
    output = {"title": "2 failed", "summary": "test_a\u202e", "text": "tail"}
    run = {"id": 61, "name": "ci", "head_sha": SHA, "conclusion": "failure", "external_id": "", "output": output}
    run |= {"html_url": "https://github.com/acme/shop/runs/61", "app": {"id": 15368, "slug": "github-actions"}}
    return {**run, "check_suite": {"id": 71, "head_branch": BRANCH}, "pull_requests": [], **parts}


def test_a_check_of_others_that_failed() -> None:
    assert matter("check_run", payload("completed", check_run=check())) == CheckEvent(
        branch=BRANCH,
        commit=SHA,
        name="ci",
        outcome="failed",
        conclusion="failure",
        id=61,
        app="github-actions",
        title="2 failed",
        summary="test_a\n\ntail",
        url="https://github.com/acme/shop/runs/61",
    )
    for conclusion in ("success", "neutral", "skipped", "cancelled", "action_required", "stale", None):
        assert "did not fail" in reason("check_run", payload("completed", check_run=check(conclusion=conclusion)))
    # A link that is none of the web is left out.
    script = matter("check_run", payload("completed", check_run=check(html_url="javascript:alert(1)")))
    assert isinstance(script, CheckEvent)
    assert script.url == ""


def test_our_own_check_is_not_a_failure_and_can_be_asked_for_again() -> None:
    own = check(name="Baton", app={"id": APP_ID, "slug": "baton"}, external_id="gh-acme-shop-7")
    assert "our own" in reason("check_run", payload("completed", check_run=own))
    again = matter("check_run", payload("rerequested", check_run=own))
    assert isinstance(again, CheckEvent)
    assert (again.outcome, again.external_id) == ("rerequested", "gh-acme-shop-7")
    assert "no check of ours" in reason("check_run", payload("rerequested", check_run=check()))
    # Whoever borrows our name or our id is not us.
    for borrowed in (check(name="Baton"), check(name="Baton", app=None), check(external_id="gh-acme-shop-7")):
        assert isinstance(matter("check_run", payload("completed", check_run=borrowed)), CheckEvent)
    # Without an App the name has to do.
    token = replace(POLICY, app_id=None)
    assert "our own" in reason("check_run", payload("completed", check_run=check(name="Baton")), token)


def test_suites_workflows_and_statuses() -> None:
    suite = {
        "id": 71,
        "head_branch": BRANCH,
        "head_sha": SHA,
        "conclusion": "timed_out",
        "app": {"id": 1, "slug": "ci"},
    }
    failed = matter("check_suite", payload("completed", check_suite=suite))
    assert isinstance(failed, CheckEvent)
    assert (failed.source, failed.name, failed.conclusion, failed.id) == ("check_suite", "ci", "timed_out", 71)
    own = {**suite, "app": {"id": APP_ID, "slug": "baton"}, "conclusion": "failure"}
    assert "our own" in reason("check_suite", payload("completed", check_suite=own))
    again = matter("check_suite", payload("rerequested", check_suite=own))
    assert isinstance(again, CheckEvent)
    assert again.outcome == "rerequested"

    run = {"id": 81, "name": "CI", "head_branch": BRANCH, "head_sha": SHA, "conclusion": "failure"}
    run["head_repository"] = {"id": REPOSITORY_ID}
    workflow = matter("workflow_run", payload("completed", workflow_run=run))
    assert isinstance(workflow, CheckEvent)
    assert (workflow.source, workflow.name, workflow.app) == ("workflow_run", "CI", "github-actions")

    branches = [{"name": "main", "commit": {"sha": "b" * 40}}, {"name": BRANCH, "commit": {"sha": SHA}}]
    status: dict[str, Any] = {
        "id": 91,
        "sha": SHA,
        "state": "error",
        "context": "ci/x",
        "description": "broke",
        "branches": branches,
    }
    told = matter("status", payload(**status))
    assert isinstance(told, CheckEvent)
    assert (told.source, told.branch, told.name, told.summary) == ("status", BRANCH, "ci/x", "broke")
    assert "none of Baton's" in reason("status", payload(**{**status, "sha": "c" * 40}))
    assert "our own" in reason("status", payload(**{**status, "context": "Baton"}))


@pytest.mark.parametrize("repository", [FORK_ID, None])
def test_a_fork_with_a_branch_that_is_called_like_ours(repository: int | None) -> None:
    head = pull(repository=repository)
    reference = [{"head": head["head"]}]
    for event, content in [
        ("pull_request", payload("closed", pull_request=head)),
        ("pull_request", payload("synchronize", pull_request=head)),
        ("pull_request_review", payload("submitted", pull_request=head, review={"id": 1, "state": "approved"})),
        ("pull_request_review_comment", payload("created", pull_request=head, comment={"id": 1, "body": "x"})),
        ("workflow_run", payload("completed", workflow_run={**check(), "head_branch": BRANCH})),
    ]:
        assert "fork" in reason(event, content)
    if repository is not None:
        assert "fork" in reason("check_run", payload("completed", check_run=check(pull_requests=reference)))
    suite = {"id": 1, "head_branch": None}
    assert "none of Baton's" in reason("check_run", payload("completed", check_run=check(check_suite=suite)))


@pytest.mark.parametrize(
    "branch",
    [
        "main",
        "baton/issue-7",
        "baton/issue-07-x",
        "baton/issue-7-x/../../main",
        "baton/issue-7-x;rm -rf",
        "baton/issue-7-X",
        "baton/issue-7-x\n",
        "baton/issue-7-\u202ex",
        "baton/issue-\u0667-x",
        "--upload-pack=x",
        "refs/heads/baton/issue-7-x",
        " baton/issue-7-x",
        "baton/issue-7-" + "x" * 200,
    ],
)
def test_tricks_with_branch_names(branch: str) -> None:
    assert "none of Baton's" in reason("pull_request", payload("closed", pull_request=pull(branch)))
    assert "none of Baton's" in reason("push", payload(ref=f"refs/heads/{branch}", after=SHA))


def test_an_installation_that_goes_takes_its_runs_along() -> None:
    account = {"id": 99, "account": {"login": "acme", "id": 2, "type": "Organization"}}
    gone = {"action": "deleted", "installation": account, "sender": ADA, "repositories": [{"full_name": "acme/shop"}]}
    for action in ("deleted", "suspend"):
        said = judged("installation", {**gone, "action": action})
        assert isinstance(said, verdicts.SignalRun)
        assert said.delivery.matter == RepositoriesRemoved(repositories=["acme/*"])
        assert (said.delivery.repository.owner, said.delivery.repository.installation) == ("acme", 99)
    removed = [{"full_name": "acme/shop"}, {"full_name": "acme/old.site"}]
    fewer = {**gone, "action": "removed", "repositories_removed": removed}
    said = judged("installation_repositories", fewer)
    assert isinstance(said, verdicts.SignalRun)
    assert said.delivery.matter == RepositoriesRemoved(repositories=["acme/shop", "acme/old.site"])
    assert "concerns us" in reason("installation_repositories", {**gone, "action": "added"})


def test_everything_else_is_ignored() -> None:
    assert reason("ping", {"zen": "Keep it simple."}).startswith("ping")
    for event, action in (("star", "created"), ("issues", "opened"), ("pull_request", "opened"), ("x_y", "z")):
        assert "no event that concerns us" in reason(event, payload(action))
