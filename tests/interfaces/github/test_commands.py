"""Commands: only on the first line, only exactly, never from a quote or a code block."""

import pytest

from baton.records.issue import PersonCommand
from interfaces.github.comment_command import parse_comment


@pytest.mark.parametrize(
    ("comment", "command"),
    [
        ("/baton run", PersonCommand(name="run")),
        ("/baton run only the API", PersonCommand(name="run", text="only the API")),
        ("/baton run only\r\nthe API", PersonCommand(name="run", text="only\nthe API")),
        ("/baton status", PersonCommand(name="status")),
        ("/baton stop\n\nIt is too dear.", PersonCommand(name="stop")),
        ("/baton retry", PersonCommand(name="retry")),
        ("/baton retry d2", PersonCommand(name="retry", decision_id="D2")),
        ("/baton help", PersonCommand(name="help")),
        ("/baton", PersonCommand(name="help")),
        ("  /baton\tstop  ", PersonCommand(name="stop")),
        ("\n \n/baton stop", PersonCommand(name="stop")),
        ("/baton guide keep\nthe old one", PersonCommand(name="guide", text="keep\nthe old one")),
        ("/baton decide D1 postgres", PersonCommand(name="decide", decision_id="D1", choice="postgres")),
        (
            "/baton decide d1 postgres we run it",
            PersonCommand(name="decide", decision_id="D1", choice="postgres", text="we run it"),
        ),
        ("/baton decide D1 `use sqlite`", PersonCommand(name="decide", decision_id="D1", choice="use sqlite")),
        (
            '/baton decide D12 "use sqlite" it is small',
            PersonCommand(name="decide", decision_id="D12", choice="use sqlite", text="it is small"),
        ),
        ("/baton decide D1 it's", PersonCommand(name="decide", decision_id="D1", choice="it's")),
    ],
)
def test_commands(comment: str, command: PersonCommand) -> None:
    assert parse_comment(comment) == command


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "Hello\n/baton stop",
        "> /baton stop",
        ">/baton stop",
        "```\n/baton stop\n```",
        "~~~\n/baton stop\n~~~",
        "`/baton stop`",
        "    /baton stop",
        "\t/baton stop",
        "- /baton stop",
        "* /baton stop",
        "@ada /baton stop",
        "/batonstop",
        "/baton-stop",
        "/baton: stop",
        "/baton/stop",
        "/Baton stop",
        "baton stop",
        "//baton stop",
        "<!-- hidden -->/baton stop",
        "<!-- hidden -->\n/baton stop",
        "/bat\u200bon stop",
        "\u202e/baton stop",
        "/baton\u00a0stop",
    ],
)
def test_no_commands(comment: str | None) -> None:
    assert parse_comment(comment) is None


LINES = ["frobnicate", "stop please", "status now", "decide", "decide D1", "decide postgres D1", "decide D0 x"]
LINES += ["retry everything", "run-away", "RUN", "stop, please", "decide D1 " + "x" * 201]


@pytest.mark.parametrize("line", LINES)
def test_what_begins_like_a_command_and_is_none(line: str) -> None:
    assert parse_comment(f"/baton {line}\nmore") == PersonCommand(name="help", text=line)


def test_arguments_hold_what_a_reader_sees() -> None:
    assert parse_comment("/baton guide a<!--\nrm -rf /\n-->b\u202e\x1b[0m") == PersonCommand(name="guide", text="ab[0m")
    said = parse_comment("/baton guide " + "x" * 70_000)
    assert said is not None
    assert parse_comment("/baton guide") == PersonCommand(name="help", text="guide")
    assert len(said.text) <= 10_000
