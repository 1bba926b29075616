"""What is posted on GitHub: foreign text stays text and reaches nobody, answers can be copied, nothing is too long."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.github.commit_text import coauthor_trailer, without_references
from baton import identifiers
from baton.github.app import EVENTS, PERMISSIONS, missing_events, missing_permissions
from baton.github.comment_text import CommentContent, render_answer_command, render_comment
from baton.github.pull_request_text import PullRequestContent, render_body, render_title
from baton.records.issue import GitHubIssue, Repository, Sender, issue_of_branch
from baton.records.run import Decision, GateDocument, RunDocument, RunStatus, TaskDocument, TaskState
from interfaces.github.comment_command import parse_comment

HOSTILE = "@eve fixes #12, GH-3, o/r#4 <img src=x> [x](https://e.example) ![y](z) `code` | a\n\n# Heading\n- [ ] item"
ISSUE = GitHubIssue(
    repository=Repository(owner="ada", name="shop", clone_url="https://github.com/ada/shop.git"),
    number=7,
    title=HOSTILE,
    requester=Sender(login="ada"),
    branch="baton/issue-7-x",
)


def decision(*choices: str, question: str = "Which?") -> Decision:
    return Decision(id="D1", question=question, choices=[*choices, "retry", "skip", "abort"], suggestions=[HOSTILE] * 9)


def document(**more: object) -> RunDocument:
    fields = {
        "run": "gh-ada-shop-7",
        "status": RunStatus.WAITING,
        "repo": "https://github.com/ada/shop.git",
        "tasks": [TaskDocument(id=f"t{n}", title=HOSTILE, role="backend", state=TaskState.DONE) for n in range(30)],
        "notes": [HOSTILE * 50] * 100,
        "gate": GateDocument(commit="a" * 40, command=f"echo `{HOSTILE}`", exit_code=0, log_digest="sha256:x"),
        **more,
    }
    return RunDocument.model_validate(fields)


def rendered(text: str) -> str:
    """The text without what GitHub leaves alone: code, comments, and the tags of our own."""
    text = re.sub(r"(`+).+?\1", "", text)
    return re.sub(r"</?(?:details|summary)>", "", text.replace("<!-- -->", "\0"))


def harmless(text: str) -> None:
    shown = rendered(text)
    assert not re.search(r"(?<!\\)@(?!ada\b|\0)\w", shown), shown
    assert not re.search(r"(?<![\w/&])#\d", shown.replace("Closes #7", "")), shown
    assert "GH-3" not in shown
    assert not re.search(r"(?<!\\)<", shown), shown
    assert "](" not in shown
    assert "https://e" not in shown


def test_foreign_text_in_the_comment_reaches_nobody() -> None:
    answered = decision("a").model_copy(update={"state": "answered", "choice": "a", "by": "@eve", "note": HOSTILE})
    asked = decision("a", question=HOSTILE * 100)
    report = CommentContent(document=document(), decisions=[asked, answered], refusals=[HOSTILE] * 9, issue=ISSUE)
    said = render_comment(report)
    harmless(said)
    assert "@ada: " in said
    assert len(said) < 65_000


def test_the_pull_request_names_what_is_not_kept() -> None:
    paths = [f"config/{number:02}.env" for number in range(30)]
    body = render_body(PullRequestContent(document=document().model_copy(update={"left_out": paths}), issue=ISSUE))
    assert "- `config/00.env`" in body
    assert "and 10 more" in body
    assert "Written and not kept" not in render_body(PullRequestContent(document=document(), issue=ISSUE))


def test_foreign_text_in_the_pull_request_closes_one_issue_only() -> None:
    body = render_body(PullRequestContent(document=document(), issue=ISSUE, summary=HOSTILE))
    harmless(body)
    assert body.startswith("Closes #7\n")
    assert len(body) < 65_000
    assert render_title(ISSUE) == HOSTILE[:240]
    assert render_title(ISSUE.model_copy(update={"title": ""})) == "Changes for issue 7"


@given(st.text(min_size=1, max_size=60))
def test_the_line_that_answers_is_understood(choice: str) -> None:
    """Whatever a model offers as a choice: who copies the line has answered with it."""
    own = " ".join(choice.split())
    if not own or not own.isprintable() or all(mark in own for mark in "\"'`"):
        return
    said = parse_comment(render_answer_command(decision(own), own))
    assert said is not None
    assert (said.name, said.decision_id, said.choice, said.text) == ("decide", "D1", own, "")


@given(st.integers(1, 10**9), st.text(max_size=300), st.integers(1, 50))
def test_a_branch_is_made_of_plain_characters_and_known_again(number: int, title: str, attempt: int) -> None:
    branch = identifiers.github_branch(number, title, attempt)
    assert re.fullmatch(r"baton/issue-[0-9]+-[a-z0-9-]+", branch)
    assert len(branch) < 100
    assert issue_of_branch(branch) == number


@given(st.from_regex(r"[A-Za-z0-9-]{1,39}", fullmatch=True), st.from_regex(r"[A-Za-z0-9._-]{1,100}", fullmatch=True))
def test_a_runs_id_is_one_whatever_the_repository_is_called(owner: str, name: str) -> None:
    for attempt in (1, 2):
        run = identifiers.github_run_id(owner, name, 123_456, attempt)
        assert identifiers.is_run_id(run)
        assert run.startswith("gh-")
    assert identifiers.github_run_id(owner, name, 1, 2) != identifiers.github_run_id(owner, f"{name}-1", 2)


@pytest.mark.parametrize(
    ("requester", "trailer"),
    [
        (Sender(login="ada", id=7), "Co-authored-by: ada <7+ada@users.noreply.github.com>"),
        (Sender(login="ada"), "Co-authored-by: ada <ada@users.noreply.github.com>"),
        (Sender(login="renovate[bot]", bot=True), None),
        (Sender(login="ada>\nSigned-off-by: eve"), None),
    ],
)
def test_the_requester_is_named_in_a_commit(requester: Sender, trailer: str | None) -> None:
    assert coauthor_trailer(requester, "https://github.com") == trailer


def test_a_commit_closes_no_issue() -> None:
    assert without_references("Fixes #12 and closes o/r#3; # 4") == "Fixes # 12 and closes o/r# 3; # 4"


def test_what_an_app_lacks_is_named() -> None:
    assert missing_permissions(PERMISSIONS) == []
    assert missing_permissions({**PERMISSIONS, "checks": "read", "contents": ""}) == [
        "contents: write",
        "checks: write",
    ]
    assert missing_permissions({"administration": "write"}) == [
        f"{name}: {level}" for name, level in PERMISSIONS.items()
    ]
    assert missing_events([*EVENTS]) == []
    assert missing_events(["issues"]) == [*EVENTS[1:]]


def test_a_reminder_says_so() -> None:
    again = decision("a").model_copy(
        update={"reminders": 2, "default": "skip", "deadline": datetime(2026, 1, 2, tzinfo=UTC)}
    )
    said = render_comment(CommentContent(document=document(), decisions=[again], issue=ISSUE))
    assert "This is reminder 2." in said
    assert "- unanswered until 2026-01-02 00:00 UTC, `skip` is taken" in said
