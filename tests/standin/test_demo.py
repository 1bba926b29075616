"""The demo's scenario on the demo's repository: its edits fit, and the suite is red and green where it says so."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import standin
from agents.reports import parse_escalation, parse_report
from standin.script.scenario import Scenario, ScriptedStep
from tests.conftest import HANGS
from workspaces.project.scopes import scope_for

SAMPLE = Path(standin.__file__).parent / "sample"
DEMO = standin.load_scenario("demo")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return shutil.copytree(SAMPLE, tmp_path / "workspace", ignore=shutil.ignore_patterns("__pycache__"))


def steps_of(scenario: Scenario, task: str, round_number: int | None, role: str) -> list[ScriptedStep]:
    found = [s for s in scenario.steps if (s.task, s.role) == (task, role) and s.round == round_number]
    assert [step.turn for step in found if step.contains is None] == list(range(1, 1 + len({s.turn for s in found})))
    return found


def apply(step: ScriptedStep, workspace: Path) -> None:
    """What the engine's Write and Edit do, and no more: a Read must find its file, an Edit its text, once."""
    for call in step.calls:
        data: dict[str, Any] = call.input
        if call.name in ("Read", "Edit"):
            assert (workspace / data["file_path"]).is_file(), data["file_path"]
        if call.name in ("Write", "Edit"):
            assert step.role is not None
            assert scope_for(step.role).allows_path(data["file_path"]), (
                f"{step.role} may not change {data['file_path']}"
            )
        if call.name == "Write":
            (workspace / data["file_path"]).write_text(data["content"], encoding="utf-8")
        if call.name == "Edit":
            file = workspace / data["file_path"]
            text = file.read_text(encoding="utf-8")
            assert text.count(data["old_string"]) == 1, f"turn {step.turn} of {step.role}: {data['old_string']}"
            file.write_text(text.replace(data["old_string"], data["new_string"]), encoding="utf-8")


def suite(workspace: Path) -> tuple[int, str]:
    # Without the plugins of our own environment a run takes half the time.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=workspace,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=HANGS.total_seconds(),
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def play(workspace: Path, task: str, round_number: int, *roles: str, choice: str = "") -> None:
    for role in roles:
        for step in steps_of(DEMO, task, round_number, role):
            alternatives = [s for s in DEMO.steps if (s.task, s.round, s.role, s.turn) == _key(step)]
            if len(alternatives) > 1 and (step.contains is not None) != (step.contains == choice):
                continue
            if len(alternatives) > 1 and step.contains is None and any(s.contains == choice for s in alternatives):
                continue
            apply(step, workspace)


def _key(step: ScriptedStep) -> tuple[str | None, int | None, str | None, int | None]:
    return step.task, step.round, step.role, step.turn


def test_the_sample_passes_before_anything_is_done(workspace: Path) -> None:
    code, output = suite(workspace)
    assert code == 0, output


def test_pagination_goes_red_green_and_is_mended(workspace: Path) -> None:
    play(workspace, "t1", 1, "backend")
    code, output = suite(workspace)
    assert code == 0, f"the backend's own run of the old tests: {output}"
    play(workspace, "t1", 1, "tester")
    code, output = suite(workspace)
    assert code == 1
    assert "1 failed" in output
    [failed] = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert "test_a_last_page_that_is_exactly_full_is_the_last_one" in failed

    play(workspace, "t1", 2, "backend", "tester")
    code, output = suite(workspace)
    assert code == 0, output
    [review] = [s for s in steps_of(DEMO, "t1", 2, "reviewer") if s.calls[0].name == "hand_off"]
    for finding in review.calls[0].input["findings"]:
        line = (workspace / finding["file"]).read_text().splitlines()[finding["line"] - 1]
        assert "offset = (page - 1) * per_page" in line or "-(-self.total" in line

    play(workspace, "t1", 3, "backend")
    code, output = suite(workspace)
    assert code == 0, output
    play(workspace, "t1", 3, "tester")
    code, output = suite(workspace)
    assert code == 0, output


def test_what_the_last_round_tests_is_wrong_before_it(workspace: Path) -> None:
    """The reviewer's finding is real: the tests of round 3 fail on the work of round 2."""
    for round_number in (1, 2):
        play(workspace, "t1", round_number, "backend", "tester")
    play(workspace, "t1", 3, "tester")
    code, output = suite(workspace)
    assert code == 1
    assert output.count("FAILED") >= 5


@pytest.mark.parametrize("choice", ["", "local-storage"])
def test_the_page_is_changed_as_was_decided(workspace: Path, choice: str) -> None:
    play(workspace, "t2", 1, "frontend", "tester", choice=choice)
    code, output = suite(workspace)
    assert code == 0, output
    script = (workspace / "web/app.js").read_text()
    assert ("localStorage" in script) == (choice == "local-storage")
    assert ("pushState" in script) != (choice == "local-storage")
    if (node := shutil.which("node")) is not None:
        subprocess.run([node, "--check", str(workspace / "web/app.js")], check=True, timeout=HANGS.total_seconds())


def test_the_tests_of_the_page_fail_without_the_change(workspace: Path) -> None:
    play(workspace, "t2", 1, "tester")
    assert suite(workspace)[0] == 1


def test_both_tasks_fit_together(workspace: Path) -> None:
    play(workspace, "t2", 1, "frontend", "tester")
    for round_number in (1, 2, 3):
        play(workspace, "t1", round_number, "backend", "tester")
    code, output = suite(workspace)
    assert code == 0, output


def _calls(name: str) -> Iterator[tuple[ScriptedStep, dict[str, Any]]]:
    for step in DEMO.steps:
        for call in step.calls:
            if call.name == name:
                yield step, call.input


def test_every_hand_off_and_question_is_what_the_engine_accepts() -> None:
    for step, data in _calls("hand_off"):
        assert parse_report(step.role or "", data)
    assert Counter(step.role for step, _ in _calls("hand_off")) == {
        "orchestrator": 1,
        "backend": 4,
        "frontend": 2,
        "tester": 5,
        "reviewer": 4,
    }
    for _, data in _calls("escalate"):
        assert parse_escalation(data).choices == ["url", "local-storage"]
