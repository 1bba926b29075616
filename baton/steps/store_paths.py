"""The paths of the engine's files in a store: those of a run, and those of a task's lane. One place for their names."""

import re

# Of a run, at `identifiers.run_ref`.

REQUEST = "request.json"
"""The run's request, with the commit that the run began from."""
CONFIG = "config.json"
TECHNOLOGY = "technology.json"
MODELS = "models.json"
LIMITS = "limits.json"
SUBMODULES = "submodules.json"
"""Written once, at the start of the run."""
PLAN = "plan.json"
FORKED = "forked.json"
"""In a forked run: the task, and the checkpoint that it took over."""
STATE = "state.json"
DECISIONS = "decisions.json"
SAVED = "saved.json"
"""The moment at which the two files above were written."""


def role_file(role: str) -> str:
    """Return the path of the bytes that a role of the run is pinned to."""
    return f"agents/{role}.md"


def task_file(task: str) -> str:
    """Return the path of a task of the plan, with its instructions and acceptance."""
    return f"tasks/{task}.json"


def stuck_file(number: int) -> str:
    """Return the path of the report of a stuck agent, by the round of the orchestrator's answer to it."""
    return f"stuck/{number}.json"


# Of a task, in the checkpoints of its lane, beside the workspace.

WORKSPACE = "workspace"
META = "meta.json"
BASE = "base"
GIT = "git"
GIT_STATE = f"{GIT}/state.json"
GIT_PACK = f"{GIT}/objects.pack"
TRANSCRIPT = "transcript"
REPORTS = "reports"
GATES = "gates"
CONFLICTS = "conflicts"

TURN_FILE = re.compile(
    rf"{TRANSCRIPT}/(?P<session>[0-9]+-[a-z]+)/(?P<number>[0-9]+)-(?P<side>refused-[0-9]+|user|cut-[0-9]+|assistant)\.json"
)
"""A message of a session."""

LEFT_OUT = "left-out.json"
"""The list of paths that agents wrote and that are not kept."""


def transcript_folder(session: str) -> str:
    """Return the folder of a session's journal; `session` is `<round>-<role>`."""
    return f"{TRANSCRIPT}/{session}"


def user_file(session: str, turn: int) -> str:
    """Return the path of the user's side of a turn."""
    return f"{transcript_folder(session)}/{turn:05d}-user.json"


def refused_file(session: str, turn: int, start: int) -> str:
    """Return the path of a user's side that the API refused, by the number of the new start."""
    return f"{transcript_folder(session)}/{turn:05d}-refused-{start}.json"


def cut_file(session: str, turn: int, number: int) -> str:
    """Return the path of an answer that max_tokens cut off, counted from 1."""
    return f"{transcript_folder(session)}/{turn:05d}-cut-{number}.json"


def answer_file(session: str, turn: int) -> str:
    """Return the path of the answer that ended a turn."""
    return f"{transcript_folder(session)}/{turn:05d}-assistant.json"


def prefix_file(session: str, start: int = 0) -> str:
    """Return the path of the frozen prefix of a session's start; 0 is its first start."""
    return f"{transcript_folder(session)}/{f'prefix-{start}' if start else 'prefix'}.json"


def handed_off_file(session: str) -> str:
    """Return the path of the report with which a session ended."""
    return f"{REPORTS}/{session}.json"


def gate_file(round_number: int) -> str:
    """Return the path of the result of a round's gate."""
    return f"{GATES}/{round_number}.json"


def gate_log_file(round_number: int) -> str:
    """Return the path of the log of a round's gate."""
    return f"{GATES}/{round_number}.log"


def conflict_file(round_number: int) -> str:
    """Return the path of the conflict of a round's candidate with the integrated line; 0: of a published branch."""
    return f"{CONFLICTS}/{round_number}.json"
