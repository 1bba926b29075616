"""GitHub's own examples: each gets a sensible verdict, and none without its signature."""

import collections

from interfaces.github.parse_request import judge_request
from interfaces.github.verdicts import IgnoreDelivery, RejectRequest, SignalRun, StartRun, WebhookPolicy
from tests.interfaces.github.deliveries import SECRET, encode, headers
from tests.support.github.npm import Npm

# One of the labels in the examples, so that some of them start a run.
POLICY = WebhookPolicy(secrets=(SECRET,), label="bug")

CONCERN_US = {
    ("issues.labeled", "start"): 2,
    ("issues.unlabeled", "stop"): 2,
    ("issues.deleted", "stop"): 1,
    ("issues.transferred", "stop"): 1,
    ("installation.deleted", "removed"): 2,
    ("installation.suspend", "removed"): 1,
    ("installation_repositories.removed", "removed"): 1,
}


def test_each_example_gets_a_sensible_verdict(npm: Npm) -> None:
    matters: collections.Counter[tuple[str, str]] = collections.Counter()
    for event, example in npm.examples():
        body = encode(example)
        said = judge_request(headers(body, event), body, POLICY)
        assert not isinstance(said, RejectRequest), (event, example.get("action"), said)
        if isinstance(said, IgnoreDelivery):
            assert said.reason
        else:
            assert isinstance(said, StartRun) == (said.delivery.matter.kind == "start")
            assert said.delivery.repository.owner in {"Codertocat", "octocat", "octo-org"}
            matters[(said.delivery.event, said.delivery.matter.kind)] += 1
    assert dict(matters) == CONCERN_US


def test_those_of_an_enterprise_server_can_be_read_too(npm: Npm) -> None:
    examples = npm.examples("ghes-*")
    assert len(examples) > 300
    for event, example in examples:
        body = encode(example)
        assert not isinstance(judge_request(headers(body, event), body, POLICY), RejectRequest), (
            event,
            example.get("action"),
        )


def test_no_example_passes_unsigned_or_wrongly_signed(npm: Npm) -> None:
    for event, example in npm.examples():
        body = encode(example)
        good = headers(body, event)
        wrong = [
            {name: value for name, value in good.items() if name != "X-Hub-Signature-256"},
            headers(body, event, secret="another-secret"),
            headers(body + b" ", event),
            {**good, "X-Hub-Signature-256": good["X-Hub-Signature-256"].upper()},
        ]
        for given in wrong:
            said = judge_request(given, body, POLICY)
            assert isinstance(said, RejectRequest)
            assert said.status == 401


def test_those_of_a_branch_of_ours_concern_us(npm: Npm) -> None:
    """The same examples, with the branch renamed to one of ours and every conclusion a failure."""
    seen = set()
    for event, example in npm.examples():
        text = encode(example).decode()
        for branch in ("changes", "main", "master"):
            text = text.replace(f'"{branch}"', '"baton/issue-2-x"').replace(f"heads/{branch}", "heads/baton/issue-2-x")
        text = text.replace('"conclusion": "success"', '"conclusion": "failure"').replace('"body": null', '"body": "x"')
        body = text.encode()
        said = judge_request(headers(body, event), body, POLICY)
        if isinstance(said, SignalRun):
            seen.add((said.delivery.event, said.delivery.matter.kind))
    assert seen >= {
        ("pull_request.closed", "pull"),
        ("pull_request.reopened", "pull"),
        ("pull_request.synchronize", "pull"),
        ("push", "pull"),
        ("pull_request_review.submitted", "review"),
        ("pull_request_review_comment.created", "review"),
        ("check_run.completed", "check"),
        ("check_suite.completed", "check"),
        ("workflow_run.completed", "check"),
    }
