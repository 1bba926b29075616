"""Properties of the core: whatever comes in, nothing is raised and nothing unsigned passes."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from interfaces.github.comment_command import parse_comment
from interfaces.github.parse_request import judge_request
from interfaces.github.signature import is_signed, sign_body
from interfaces.github.verdicts import IgnoreDelivery, RejectRequest, SignalRun, StartRun
from tests.interfaces.github.deliveries import (
    POLICY,
    SECRET,
    commented,
    encode,
    headers,
    issue,
    labeled,
    payload,
    pull,
)

NAMES = ["content-type", "X-GitHub-Event", "X-GITHUB-DELIVERY", "X-Hub-Signature-256", "X-Hub-Signature", "Host"]
EVENTS = ["issues", "issue_comment", "push", "check_run", "status", "pull_request", "installation", "ping", "star"]
VALUES = st.one_of(st.text(), st.sampled_from([*EVENTS, "application/json", "sha256=" + "0" * 64]))
HEADERS = st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), VALUES)

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
JSON = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4))
)

REAL: list[tuple[str, dict[str, Any]]] = [
    ("issues", labeled()),
    ("issues", payload("closed", issue=issue())),
    ("issue_comment", commented("/baton decide D1 x")),
    ("pull_request", payload("closed", pull_request=pull())),
    ("pull_request_review", payload("submitted", pull_request=pull(), review={"id": 1, "state": "approved"})),
    ("pull_request_review_comment", payload("created", pull_request=pull(), comment={"id": 1, "body": "x"})),
    ("push", payload(ref="refs/heads/baton/issue-7-x", after="a" * 40)),
    (
        "check_run",
        payload(
            "completed",
            check_run={
                "id": 1,
                "name": "ci",
                "head_sha": "a" * 40,
                "conclusion": "failure",
                "output": {"title": "t", "summary": "s"},
                "check_suite": {"head_branch": "baton/issue-7-x"},
            },
        ),
    ),
    ("installation", payload("deleted", installation={"id": 1, "account": {"login": "acme"}})),
]


@given(HEADERS, st.binary(max_size=400))
@settings(deadline=None)
def test_any_request_is_refused_without_an_exception(given_headers: dict[str, str], body: bytes) -> None:
    said = judge_request(given_headers, body, POLICY)
    assert isinstance(said, RejectRequest)
    assert said.status == 401


@given(st.sampled_from(EVENTS), st.one_of(st.binary(max_size=400), JSON.map(lambda value: json.dumps(value).encode())))
@settings(deadline=None)
def test_any_signed_body_is_read_without_an_exception(event: str, body: bytes) -> None:
    assert isinstance(judge_request(headers(body, event), body, POLICY), IgnoreDelivery | RejectRequest)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a payload."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inner for place in places(below, (*path, key)))]


@given(st.data())
@settings(deadline=None)
def test_real_payloads_with_something_else_in_one_place(data: st.DataObject) -> None:
    event, content = data.draw(st.sampled_from(REAL))
    way = data.draw(st.sampled_from(places(content)[1:]))
    changed = json.loads(json.dumps(content))
    holder = changed
    for key in way[:-1]:
        holder = holder[key]
    holder[way[-1]] = data.draw(JSON)
    body = encode(changed)
    said = judge_request(headers(body, event), body, POLICY)
    if isinstance(said, StartRun | SignalRun):
        # It can travel: this is how it is sent to Temporal, which takes UTF-8 and no more than 2 MB.
        assert len(said.delivery.model_dump_json().encode()) < 1_000_000


@given(st.binary(max_size=200), st.text(min_size=1), st.text(), st.binary(max_size=200))
@settings(deadline=None)
def test_a_wrong_signature_never_passes(body: bytes, secret: str, other: str, altered: bytes) -> None:
    good = sign_body(body, secret.encode(errors="replace").decode())
    assert is_signed(body, good, [other.encode(errors="replace").decode(), secret.encode(errors="replace").decode()])
    if other.encode(errors="replace") != secret.encode(errors="replace"):
        assert not is_signed(body, good, [other.encode(errors="replace").decode()])
    if altered != body:
        assert not is_signed(altered, good, [secret.encode(errors="replace").decode()])
    assert not is_signed(body, good, [])


@given(st.text(max_size=200).filter(lambda text: text != sign_body(b"x", SECRET)))
@settings(deadline=None)
def test_no_other_header_is_a_signature(header: str) -> None:
    assert not is_signed(b"x", header, [SECRET])


@given(st.text(st.one_of(st.sampled_from(list("/baton runDdecide1\n\t\r `>\"'")), st.characters()), max_size=60))
@settings(deadline=None)
def test_any_comment_is_read_without_an_exception(comment: str) -> None:
    command = parse_comment(comment)
    if command is not None:
        assert comment.lstrip(" \t\r\n").startswith("/baton")
        assert command.name != "decide" or (command.choice and command.decision_id.startswith("D"))


@given(
    st.text(max_size=40).filter(lambda text: not text.strip(" \t\r\n").startswith("/baton") and text.strip(" \t\r\n"))
)
@settings(deadline=None)
def test_a_command_that_is_not_first_is_none(before: str) -> None:
    assert parse_comment(f"{before}\n/baton stop") is None
