"""Foreign text in Markdown must stay text."""

import re

import pytest

from baton.records.run import Decision, RunDocument, RunRequest, RunStatus, TaskDocument
from baton.text.markdown import escape_markdown, inline_code
from baton.text.request_details import request_details
from workflows.state.visibility import run_details


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "[click](https://evil.example)",
        "# Heading",
        "![x](http://e/x.png)",
        "a\n\n- b",
        "&lt;b&gt; a@b.example",
    ],
)
def test_markup_is_escaped(hostile: str) -> None:
    shown = escape_markdown(hostile)
    assert not re.search(r"(?<!\\)[<>&\[\]()#!]", shown)
    assert "\n" not in shown
    assert "://" not in shown
    assert "@b" not in shown


def test_what_was_asked_for_is_shown_as_text_whole_and_bounded() -> None:
    request = RunRequest(task="Add <b>paging</b>\n\n# and more", repo="/srv/shop", usd=2.5, models={"tester": "opus"})
    shown = request_details(request)
    assert "\\<b\\>paging" in shown
    assert "\n\n\\# and more" in shown
    assert "- most USD: 2.5" in shown
    assert len(request_details(RunRequest(task="x\n\n" * 10_000, repo="/r")).encode()) < 20_000


def test_code_cannot_be_closed_from_inside() -> None:
    assert inline_code("a ``` b") == "````a ``` b````"
    assert inline_code("`x`") == "`` `x` ``"


def test_details_name_the_command_that_answers_and_stay_small() -> None:
    document = RunDocument(
        run="shop-x-ab12",
        status=RunStatus.WAITING,
        repo="/srv/shop",
        tasks=[TaskDocument(id=f"t{n}", title="<b>title</b> " * 50, role="backend") for n in range(30)],
        notes=["x" * 5_000] * 10,
    )
    text = run_details(document, [Decision(id="D1", question="<img src=x>?", choices=["a", "retry"])])
    assert "baton decide shop-x-ab12 D1 CHOICE" in text
    assert '{"decision_id": "D1", "choice": "a"}' in text
    assert not re.search(r"(?<!\\)<", text)
    assert len(text.encode()) < 20_000
