"""Scripts for the stand-in: what the roles of a pipeline say, built from a few words."""

from collections.abc import Sequence
from typing import Any

from standin.script.scenario import Fault, Scenario, ScriptedCall, ScriptedStep

NOTHING: dict[str, Any] = {
    "files_changed": [],
    "implemented": "Did what was asked.",
    "dependencies_added": [],
    "architecture_decisions": [],
    "security_considerations": [],
    "performance_optimizations": [],
    "needs_testing": [],
    "api_documentation_updates": [],
}


def task(task_id: str, *, role: str = "backend", depends_on: Sequence[str] = ()) -> dict[str, Any]:
    """A task of a plan."""
    return {
        "id": task_id,
        "title": f"Task {task_id}",
        "role": role,
        "instructions": f"Do {task_id}.",
        "acceptance": [f"{task_id} is done"],
        "depends_on": list(depends_on),
    }


def plan(*tasks: dict[str, Any], faults: list[Fault | None] | None = None) -> list[ScriptedStep]:
    """The orchestrator hands off a plan at once."""
    call = ScriptedCall("hand_off", {"summary": "The plan.", "tasks": list(tasks) or [task("t1")]})
    return [ScriptedStep(role="orchestrator", turn=1, calls=[call], faults=faults or [])]


def session(
    role: str, task_id: str, calls: Sequence[Sequence[ScriptedCall] | ScriptedStep], *, round_number: int = 1
) -> list[ScriptedStep]:
    """One session: each entry is a turn."""
    steps = []
    for number, entry in enumerate(calls, start=1):
        step = entry if isinstance(entry, ScriptedStep) else ScriptedStep(calls=list(entry))
        steps.append(step.model_copy(update={"role": role, "task": task_id, "round": round_number, "turn": number}))
    return steps


def made(**fields: Any) -> ScriptedCall:
    """A maker's hand-off."""
    return ScriptedCall("hand_off", {**NOTHING, **fields})


def tested(verdict: str = "pass", failures: Sequence[dict[str, str]] = ()) -> ScriptedCall:
    """A tester's hand-off."""
    report = {"verdict": verdict, "summary": "Tested.", "tests_added": [], "failures": list(failures)}
    return ScriptedCall("hand_off", report)


def reviewed(*blocking: str) -> ScriptedCall:
    """A reviewer's hand-off: approval, or a blocking finding a text."""
    findings = [{"severity": "blocking", "file": "src/orders.txt", "line": 1, "message": text} for text in blocking]
    verdict = "request_changes" if blocking else "approve"
    return ScriptedCall("hand_off", {"verdict": verdict, "summary": "Reviewed.", "findings": findings})


def write(path: str, content: str) -> ScriptedCall:
    """Write a file."""
    return ScriptedCall("Write", {"file_path": path, "content": content})


def bash(command: str, **more: Any) -> ScriptedCall:
    """Run a shell command."""
    return ScriptedCall("Bash", {"command": command, **more})


def escalate(question: str, *choices: str, error_type: str = "architecture") -> ScriptedCall:
    """Ask for help."""
    return ScriptedCall(
        "escalate",
        {
            "error_type": error_type,
            "question": question,
            "attempted": ["looked at the code"],
            "suggestions": ["decide"],
            "choices": list(choices),
            "architectural": True,
        },
    )


def simple_task(
    task_id: str = "t1", *calls: ScriptedCall, role: str = "backend", round_number: int = 1
) -> list[ScriptedStep]:
    """A task that succeeds in one round: the maker's calls, then hand-offs all the way."""
    return [
        *session(role, task_id, [list(calls), [made()]] if calls else [[made()]], round_number=round_number),
        *session("tester", task_id, [[tested()]], round_number=round_number),
        *session("reviewer", task_id, [[reviewed()]], round_number=round_number),
    ]


def scenario(*parts: list[ScriptedStep]) -> Scenario:
    """A scenario of these parts."""
    return Scenario(steps=[step for part in parts for step in part])
