"""Halves of surrogate pairs in a delivery, as JSON may write them: the delivery counts, the half is replaced."""

import json

import pytest

from baton.text.untrusted import repair_json
from interfaces.github.parse_request import judge_request
from interfaces.github.verdicts import SignalRun, StartRun
from tests.interfaces.github.deliveries import POLICY, commented, headers, labeled


@pytest.mark.parametrize("half", [r"\ud800", r"\udfff", r"\uDBFF\u0041", r"\udc00\ud800", r"\ud83d\ud83d\ude00"])
def test_a_delivery_is_not_lost(half: str) -> None:
    for event, payload in (
        ("issues", labeled(title="HALF", body="Add HALF to it")),
        ("issue_comment", commented("/baton guide mind HALF this")),
    ):
        body = json.dumps(payload).replace("HALF", half).encode()
        said = judge_request(headers(body, event), body, POLICY)
        assert isinstance(said, StartRun | SignalRun), said
        assert "\ud800" not in said.delivery.model_dump_json()


def test_bytes_that_are_no_text_are_replaced() -> None:
    body = json.dumps(labeled(body="HALF")).encode().replace(b"HALF", b"\xed\xa0\x80 \xff")
    assert isinstance(judge_request(headers(body, "issues"), body, POLICY), StartRun)


@pytest.mark.parametrize("text", ["plain", "\\ud800", "\\\\ud800", "\U0001f600", 'a "quoted" \\ one', "\u2028", "é"])
def test_other_json_stays_as_it_is(text: str) -> None:
    for ascii_only in (True, False):
        data = json.dumps({"a": text}, ensure_ascii=ascii_only).encode()
        assert repair_json(data) == data
