"""What is written for people: events, transcripts, patches, and text that could steer a terminal."""

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from baton.errors import ExitCode
from baton.records.run import (
    Decision,
    DecisionState,
    ErrorRecord,
    GateDocument,
    RoundDocument,
    RunDocument,
    RunStatus,
    TaskDocument,
    Usage,
)
from baton.records.run import TaskState as State
from baton.steps.session import SessionStatus
from interfaces.cli.runs.pending_activities import RunningStep
from interfaces.cli.runs.snapshot import RunSnapshot, role_at_work
from interfaces.cli.runs.stored_run import TranscriptMessage
from interfaces.cli.terminal.output import clean_text, format_usd, one_line, print_json
from interfaces.cli.terminal.prompt import match_choice, write_question
from interfaces.cli.views.follow import exit_code_of
from interfaces.cli.views.patch_size import parse_numstat
from interfaces.cli.views.progress_lines import describe_activity, list_events
from interfaces.cli.views.run_summary import ending_lines
from interfaces.cli.views.run_tree import make_run_tree
from interfaces.cli.views.transcript import render_transcript
from tests.conftest import HANGS

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
HOSTILE = f"{ESCAPE}\x9b31m‮evil\u2066\rgone"


@pytest.fixture(autouse=True)
def called_as_baton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines to copy name the program as it was called."""
    monkeypatch.setattr(sys, "argv", ["baton"])


def run(status: RunStatus = RunStatus.WORKING, **fields: Any) -> RunDocument:
    return RunDocument(run="shop-x7k2", status=status, repo="/srv/shop", **fields)


def question(**fields: Any) -> Decision:
    return Decision(id="D1", task_id="t1", question="Where?", choices=["url", "2", "abort"], **fields)


@pytest.mark.parametrize("text", [HOSTILE, f"a{ESCAPE}b", "\x00", "\x7f\x85"])
def test_control_characters_never_reach_a_terminal(text: str) -> None:
    for shown in (clean_text(text), one_line(text)):
        assert not any((ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160 for char in shown)
        assert "\u202e" not in shown


def test_json_on_stdout_is_whole_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": HOSTILE + "é\ud800"})
    printed = capsys.readouterr().out
    assert json.loads(printed)["text"] == HOSTILE + "é\ud800"
    assert "\x1b" not in printed
    assert "\x9b" not in printed
    assert "é" in printed


def test_every_line_of_progress_and_summary_is_clean() -> None:
    record = ErrorRecord(timestamp=datetime.now(UTC), agent=HOSTILE, task=HOSTILE, error=HOSTILE)
    document = run(
        RunStatus.WAITING,
        task=HOSTILE,
        tasks=[TaskDocument(id="t1", title=HOSTILE, role="backend", stage=HOSTILE, state=State.WORKING)],
        decisions=[Decision(id="D1", question=HOSTILE, choices=[HOSTILE], by=HOSTILE, choice=HOSTILE)],
        notes=[HOSTILE],
        errors=[record],
        gate=GateDocument(commit="a" * 40, command=HOSTILE, exit_code=1),
    )
    session = SessionStatus(run="r", task="t1", round=1, role="backend", turn=1, excerpt=HOSTILE)
    for text in [*list_events(None, RunSnapshot(document, closed=False, sessions=[session])), *ending_lines(document)]:
        assert text == clean_text(text)
        assert "\n" not in text


def test_events_tell_only_what_is_new() -> None:
    first = RunSnapshot(run(RunStatus.PLANNING), closed=False)
    assert list_events(None, first) == ["planning, $0.0000"]
    assert list_events(first, first) == []
    tasks = [TaskDocument(id="t1", title="Pages", role="backend", state=State.WORKING, rounds=1, stage="make")]
    session = SessionStatus(run="r", task="t1", round=1, role="backend", turn=2, tools=["Read", "Bash"], cost_usd=0.02)
    second = RunSnapshot(run(tasks=tasks, base_commit="b" * 40), closed=False, sessions=[session])
    assert list_events(first, second) == [
        "base bbbbbbbbbbbb of /srv/shop",
        "plan: 1 task",
        "  t1 backend: Pages",
        "t1 backend round 1 turn 2: Read, Bash  $0.0200",
        "working, $0.0000",
    ]
    done = [tasks[0].model_copy(update={"state": State.DONE, "stage": "", "cost_usd": 1.5})]
    answered = question(state=DecisionState.ANSWERED, choice="url", by="ada")
    opened = RunSnapshot(run(tasks=tasks, base_commit="b" * 40, decisions=[question()]), closed=False)
    assert list_events(second, opened)[0] == "decision D1 (task t1): Where?"
    third = RunSnapshot(
        run(
            RunStatus.DONE,
            tasks=done,
            base_commit="b" * 40,
            decisions=[answered],
            branch="baton/x",
            head_commit="c" * 40,
        ),
        closed=True,
    )
    assert list_events(opened, third) == [
        "t1 done after 1 round, $1.50",
        "decision D1 answered by ada: url",
        "published baton/x at cccccccccccc",
        "done, $0.0000",
    ]


def test_a_red_gate_and_a_rejected_review_are_said_as_they_happen() -> None:
    def at(*outcomes: RoundDocument) -> RunSnapshot:
        task = TaskDocument(id="t1", title="x", role="backend", state=State.WORKING, outcomes=list(outcomes))
        return RunSnapshot(run(tasks=[task]), closed=False)

    red = GateDocument(commit="a" * 40, command="pytest -q", exit_code=1)
    green = GateDocument(commit="b" * 40, command="pytest -q", exit_code=0)
    first = RoundDocument(round=1, tester="fail", gate=red)
    second = RoundDocument(round=2, tester="pass", gate=green, reviewer="request_changes", blocking=2)
    assert list_events(at(), at(RoundDocument(round=1, tester="fail"))) == ["t1 round 1: the tester says fail"]
    assert list_events(at(RoundDocument(round=1, tester="fail")), at(first)) == [
        "t1 round 1: gate red (exit code 1), pytest -q"
    ]
    # What was missed between two looks is made up for.
    assert list_events(at(first), at(first, second)) == [
        "t1 round 2: the tester says pass",
        "t1 round 2: gate green, pytest -q",
        "t1 round 2: the reviewer says request_changes, 2 blocking findings",
    ]
    assert list_events(at(first, second), at(first, second)) == []


def test_what_is_waited_for_is_said_once() -> None:
    working = TaskDocument(id="t1", title="x", role="backend", state=State.WORKING, rounds=1, stage="make")
    session = SessionStatus(run="r", task="t1", round=1, role="backend", turn=2, tools=["Read"])
    waits = session.model_copy(update={"waiting_for": "the usage limit, until noon"})
    before = RunSnapshot(run(tasks=[working]), closed=False, sessions=[session])
    asked = RunSnapshot(run(tasks=[working]), closed=False, sessions=[waits])
    told = RunSnapshot(run(tasks=[working], waiting_for={"t1": waits.waiting_for}), closed=False, sessions=[waits])
    assert list_events(before, asked) == ["t1 backend round 1 turn 2: waits for the usage limit, until noon"]
    assert list_events(asked, told) == []
    assert describe_activity(working, waits) == "turn 2: waits for the usage limit, until noon"
    # A gate or a merge, and the run itself, have no session.
    host = run(tasks=[working], waiting_for={"t1": "its host", "run": "its host"})
    assert list_events(before, RunSnapshot(host, closed=False)) == ["t1 waits for its host", "run waits for its host"]
    assert describe_activity(working, None, "its host") == "waits for its host"


@pytest.mark.parametrize(
    ("stage", "role"),
    [("make", "backend"), ("test", "tester"), ("review", "reviewer"), ("gate", None), ("integrate", None), ("", None)],
)
def test_who_works_at_a_stage(stage: str, role: str | None) -> None:
    assert role_at_work(TaskDocument(id="t1", title="x", role="backend", stage=stage)) == role


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RunStatus.DONE, ExitCode.DONE),
        (RunStatus.FAILED, ExitCode.FAILED),
        (RunStatus.STOPPED, ExitCode.FAILED),
        (RunStatus.WAITING, ExitCode.WAITING),
    ],
)
def test_exit_codes_say_how_a_run_ended(status: RunStatus, code: ExitCode) -> None:
    assert exit_code_of(run(status)) == code


@pytest.mark.parametrize(
    ("answer", "choice"),
    [("url", "url"), ("URL", "url"), ("1", "url"), ("2", "2"), ("3", "abort"), ("4", None), ("0", None), ("²", None)],
)
def test_choices_by_words_or_number(answer: str, choice: str | None) -> None:
    assert match_choice(question(), answer) == choice


def test_an_open_decision_comes_with_the_command_that_answers_it() -> None:
    text = "\n".join(ending_lines(run(RunStatus.WAITING, decisions=[question()])))
    assert "baton decide shop-x7k2 D1 url" in text
    assert "baton watch shop-x7k2" in text


def test_money_is_readable() -> None:
    assert [format_usd(0), format_usd(0.0123), format_usd(12.345)] == ["$0.0000", "$0.0123", "$12.35"]


def test_a_transcript_reads_like_a_conversation() -> None:
    asked = {"message": {"role": "user", "content": "Do it"}}
    answer = {
        "model": "m",
        "cost_usd": 0.5,
        "seconds": 1.25,
        "message": {
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "I run the tests."},
                {"type": "tool_use", "id": "x", "name": "Bash", "input": {"command": "pytest -q"}},
            ]
        },
    }
    result = {
        "tools": [{"name": "Bash", "exit_code": 1}],
        "put_back": ["web/app.js"],
        "message": {
            "content": [
                {"type": "tool_result", "tool_use_id": "x", "is_error": True, "content": "1 failed\n" + "x" * 9_000}
            ]
        },
    }
    parts = [
        TranscriptMessage("1-backend", 1, "user", asked),
        TranscriptMessage("1-backend", 1, "assistant", answer),
        TranscriptMessage("1-backend", 2, "user", result),
    ]
    text = "\n".join(render_transcript(parts, "t1"))
    assert text.startswith("=== t1: backend, round 1 =")
    assert "--- turn 1  m  $0.5000  1.2 s" in text
    assert "  (thinking) hm" in text
    assert "  > Bash pytest -q" in text
    assert "  < Bash, exit code 1, error\n    1 failed" in text
    assert "characters left out" in text
    assert "put back, outside the role's scope: web/app.js" in text


@pytest.mark.parametrize("entry", [None, [], "x", {"message": None}, {"message": {"content": [1, {"type": "text"}]}}])
def test_a_transcript_of_another_shape_is_no_error(entry: Any) -> None:
    assert list(render_transcript([TranscriptMessage("1-backend", 1, "assistant", entry)], "t1"))


def test_statistics_name_each_file() -> None:
    files = parse_numstat(b"1\t2\ta b.py\x00-\t-\tbin\x000\t3\t\x00old\tname\x00new\nname\x00")
    assert [file.as_json() for file in files] == [
        {"path": "a b.py", "added": 1, "removed": 2, "renamed_from": None, "binary": False},
        {"path": "bin", "added": 0, "removed": 0, "renamed_from": None, "binary": True},
        {"path": "new\nname", "added": 0, "removed": 3, "renamed_from": "old\tname", "binary": False},
    ]
    assert files[2].as_line() == '     0 +       3 -  "new\\nname"'
    assert parse_numstat(b"") == []


ASK = """
import asyncio
from baton.records.run import Decision
from interfaces.cli.terminal.prompt import ask_in_terminal
answer = asyncio.run(ask_in_terminal(Decision(id="D1", question="Where?", choices=["url", "abort"])))
print("ANSWER", answer and answer.model_dump(include={"choice", "note"}))
"""


def dialogue(*replies: str) -> str:
    """Let a person at a terminal give these replies, one for each prompt; what the terminal shows."""
    terminal, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", ASK], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, given, deadline = "", 0, time.monotonic() + HANGS.total_seconds()
    try:
        while "ANSWER" not in shown or not shown.endswith("\n"):
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 4096).decode()
            if given < len(replies) and len(re.findall(r"(?:open|empty)\): ", shown)) > given:
                os.write(terminal, replies[given].encode())
                given += 1
        assert process.wait(HANGS.total_seconds()) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    return shown


@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        (["1\n", "as elsewhere\n"], "ANSWER {'choice': 'url', 'note': 'as elsewhere'}"),
        (["maybe\n", "ABORT\n", "no more\n"], "ANSWER {'choice': 'abort', 'note': 'no more'}"),
        (["\n"], "ANSWER None"),
    ],
)
def test_a_person_answers_at_a_terminal(replies: list[str], answer: str) -> None:
    assert answer in dialogue(*replies)


def drawn(now: RunSnapshot) -> str:
    """The tree as a terminal of 120 columns shows it."""
    screen = io.StringIO()
    Console(file=screen, width=120, color_system=None).print(make_run_tree(now))
    return screen.getvalue()


def test_the_tree_shows_tasks_sessions_steps_and_questions() -> None:
    working = TaskDocument(id="t1", title="Pages", role="backend", state=State.WORKING, rounds=2, stage="make", turns=7)
    waiting = TaskDocument(id="t2", title="Links", role="frontend", state=State.WAITING, cost_usd=0.5)
    gate = TaskDocument(id="t3", title="Sort", role="backend", state=State.WORKING, rounds=1, stage="gate")
    later = TaskDocument(id="t4", title="Docs", role="backend", depends_on=["t1", "t2"])
    session = SessionStatus(
        run="shop-x7k2",
        task="t1",
        round=2,
        role="backend",
        turn=3,
        tools=["Read", "Bash"],
        excerpt="I run the tests.",
        cost_usd=0.25,
        usage=Usage(input_tokens=25, cache_read_tokens=75),
    )
    about = question().model_copy(update={"task_id": "t2"})
    document = run(tasks=[working, waiting, gate, later], decisions=[about], cost_usd=1.25, turns=9)
    steps = {
        "shop-x7k2/t1/2-backend": RunningStep(stage="tools", tool="Bash", seconds=12.4, attempt=2, failure="boom"),
        "shop-x7k2/t3": RunningStep(stage="gate", seconds=31),
    }
    shown = drawn(RunSnapshot(document, closed=False, sessions=[session], steps=steps))
    assert shown.splitlines() == [
        "shop-x7k2  working  $1.25  9 turns",
        "├── t1  Pages  working, round 2, 7 turns",
        "│   └── backend, turn 3: Bash, 12 s, attempt 2 after: boom  $0.2500, 75% from the cache",
        "│       ├── calls Read, Bash",
        "│       └── “I run the tests.”",
        "├── t2  Links  waiting, $0.5000",
        "│   └── D1? Where?",
        "│       └── baton decide shop-x7k2 D1 CHOICE   (url, 2, abort)",
        "├── t3  Sort  working, round 1",
        "│   └── gate: the project's tests (31 s)",
        "└── t4  Docs  pending",
        "    └── after t1, t2",
    ]


def test_nothing_foreign_steers_the_terminal_from_the_tree() -> None:
    task = TaskDocument(id="t1", title=f"[red]{HOSTILE}", role="backend", state=State.WAITING, stage=HOSTILE)
    session = SessionStatus(run="r", task="t1", round=1, role="backend", turn=1, excerpt=HOSTILE, tools=[HOSTILE])
    document = run(tasks=[task], decisions=[Decision(id="D1", task_id="t1", question=HOSTILE, choices=[HOSTILE])])
    steps = {"shop-x7k2": RunningStep(stage=HOSTILE, tool=HOSTILE, failure=HOSTILE, attempt=3)}
    shown = drawn(RunSnapshot(document, closed=False, sessions=[session], steps=steps))
    assert shown == clean_text(shown)
    assert "[red]" in shown


def test_a_question_is_folded_between_words_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = question(suggestions=["the URL, for a link can be shared, and the back button works"])
    write_question(asked)
    wide = capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    write_question(asked)
    narrow = capsys.readouterr().err
    assert max(map(len, narrow.splitlines())) <= 40 < max(map(len, wide.splitlines()))
    assert narrow.split() == wide.split()
