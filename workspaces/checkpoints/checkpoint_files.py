"""Names of the files in a checkpoint's tree; docs/architecture.md shows the tree."""

import re

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


def session_folder(session: str) -> str:
    """Return the folder of a session's messages."""
    return f"{TRANSCRIPT}/{session}"


def turn_file(session: str, turn: int, side: str) -> str:
    """Return the file of a turn's message; `side` is `user`, `assistant`, `cut-<n>` or `refused-<n>`."""
    return f"{session_folder(session)}/{turn:05d}-{side}.json"


def handoff_file(session: str) -> str:
    """Return the file of a session's hand-off."""
    return f"{REPORTS}/{session}.json"


def gate_file(round_number: int, kind: str = "json") -> str:
    """Return the file of a round's evidence; with `log`, the one of its output."""
    return f"{GATES}/{round_number}.{kind}"


def conflict_file(round_number: int) -> str:
    """Return the file of the conflicts that the merge before a round ran into."""
    return f"{CONFLICTS}/{round_number}.json"
