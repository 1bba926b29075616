"""The crash matrix: every moment at which a worker is killed, by name."""

import shutil
from functools import partial
from pathlib import Path

from tests.faults.injection import Moment
from tests.faults.scene import script
from tests.faults.surviving import Case

SHELL_TURN = "1-backend turn 3: Bash"
"""Summary of the checkpoint that the shell command of the script leads to."""
ANSWER = "1-backend turn 2: answer"

IN_TOOL = Moment("workspaces.toolbox:Toolbox.run", "during", match="Bash", until="workspaces/*/*/work/src/started")
ADDING = Moment("workspaces.workspace:add_all", "during", until="workspaces/*/*/quarantine/objects/*/tmp_obj_*")


def _lose_workspaces(home: Path) -> None:
    shutil.rmtree(home / "workspaces")


def _lose_files(home: Path) -> None:
    for work in home.glob("workspaces/*/*/work"):
        shutil.rmtree(work)


def _lose_indexes(home: Path) -> None:
    for index in home.glob("workspaces/*/*/index"):
        index.unlink()


def _spoil_indexes(home: Path) -> None:
    for index in home.glob("workspaces/*/*/index"):
        index.write_bytes(index.read_bytes()[:50] + b"\0" * 50)


def _lose_scratch(home: Path) -> None:
    for place in [home / "gates", *home.glob("stores/*/scratch"), home / "host-id"]:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


# In a turn: the tool calls, the checkpoint after them, the model call, its answer.
TOOLS = [
    Case("mid-tool", [IN_TOOL], played=partial(script, pause=1.0)),
    Case("tools done, nothing looked at", [Moment("workspaces.workspace:Workspace.snapshot", match="None")]),
    Case("mid-add", [ADDING], played=partial(script, numbers=1_200_000)),
    Case("after write-tree", [Moment("workspaces.scan:adopt_objects")]),
    Case("while moving objects", [Moment("workspaces.scan:check_object", nth=3)]),
    Case("objects moved", [Moment("workspaces.scan:adopt_objects", "after")]),
    Case("while putting back", [Moment("workspaces.workspace:put_back_path", nth=2)]),
    Case("after the commit", [Moment("workspaces.objects:Objects.commit", "after", match=SHELL_TURN)]),
    Case(
        "while the ref is locked",
        [Moment("pygit2.transaction:ReferenceTransaction.set_target", match="/t1/head", nth=6)],
    ),
    Case("after the ref", [Moment("workspaces.store:Store.commit", "after", match=SHELL_TURN)]),
    Case("workspace marked clean", [Moment("workspaces.workspace:Workspace.mark_clean", "after", nth=2)]),
]

MODEL = [
    Case(
        "the request is out",
        [Moment("activities.turn:ask", "during", match="'X-Baton-Turn': '2'")],
        repeats=1,
        played=partial(script, thinking=0.8),
    ),
    Case("the answer is here", [Moment("activities.turn:ask", "after", match="'X-Baton-Turn': '2'")], repeats=1),
    Case("the answer is stored", [Moment("workspaces.objects:Objects.commit", "after", match=ANSWER)], repeats=1),
    Case("the answer is committed", [Moment("workspaces.store:Store.commit", "after", match=ANSWER)]),
]

# What is lost besides the worker.
LOSSES = [
    Case("lost index", [IN_TOOL], loses=_lose_indexes, played=partial(script, pause=1.0)),
    Case("broken index", [IN_TOOL], loses=_spoil_indexes, played=partial(script, pause=1.0)),
    Case(
        "lost index, workspace clean",
        [Moment("workspaces.workspace:Workspace.mark_clean", "after", nth=1)],
        loses=_lose_indexes,
    ),
    Case(
        "broken index, workspace clean",
        [Moment("workspaces.workspace:Workspace.mark_clean", "after", nth=1)],
        loses=_spoil_indexes,
    ),
    Case("lost workspaces", [IN_TOOL], loses=_lose_workspaces, played=partial(script, pause=1.0)),
    Case(
        "lost files, workspace clean",
        [Moment("workspaces.workspace:Workspace.mark_clean", "after", nth=1)],
        loses=_lose_files,
    ),
    Case("lost scratch and host id", [IN_TOOL], loses=_lose_scratch, played=partial(script, pause=1.0)),
    Case(
        "killed again while restoring",
        [IN_TOOL, Moment("workspaces.restore:reset", "during", seconds=0.0)],
        played=partial(script, pause=1.0),
    ),
    Case(
        "killed again while building anew",
        [IN_TOOL, Moment("workspaces.restore:apply_meta")],
        loses=_lose_workspaces,
        played=partial(script, pause=1.0),
    ),
]


def _step(method: str, match: str = "", nth: int = 1) -> list[Moment]:
    return [Moment(f"activities.{method}", when, match=match, nth=nth) for when in ("before", "after")]


_STEPS = {
    "prepare": _step("repository:RepositoryActivities.prepare_run"),
    "plan": _step("turn:TurnActivities.take_turn", "orchestrator"),
    "read the plan": _step("repository:RepositoryActivities.read_plan"),
    "open": _step("integration:IntegrationActivities.open_task"),
    "make": _step("turn:TurnActivities.take_turn", "backend", nth=2),
    "test": _step("turn:TurnActivities.take_turn", "tester"),
    "gate": _step("gate:GateActivities.run_gate", "task='t1'"),
    "review": _step("turn:TurnActivities.take_turn", "reviewer"),
    "integrate": _step("integration:IntegrationActivities.integrate_task"),
    "final gate": _step("gate:GateActivities.run_gate", "task='gate'"),
    "publish": _step("publishing:PublishingActivities.publish_run"),
    "save state": _step("state:StateActivities.save_state", nth=2),
    "clean up": _step("publishing:PublishingActivities.clean_up"),
}
"""Every activity of a run: killed when it has begun, and when it is done but nobody knows."""

BEGUN = [Case(f"{name} has begun", [before]) for name, (before, _) in _STEPS.items()]
DONE = [Case(f"{name} is done, not reported", [after]) for name, (_, after) in _STEPS.items()]

# Inside the steps around the sessions.
INSIDE = [
    Case("prepare: fetched", [Moment("workspaces.store:Store.fetch", "after")]),
    Case("prepare: run files kept", [Moment("activities.repository:write_run_files", "after")]),
    Case("prepare: integration begun", [Moment("workspaces.store:Store.move", "after", match="/integration/head")]),
    Case("gate: candidate made", [Moment("activities.gate:project_commit", "after")]),
    Case("gate: tests running", [Moment("activities.gate:run_gate", "during", until="gates/*/*/test.log")]),
    Case("gate: evidence here, not kept", [Moment("activities.gate:run_gate", "after")]),
    Case("gate: evidence kept", [Moment("workspaces.store:Store.commit", "after", match="gate, round 1")]),
    Case("integrate: on the line", [Moment("workspaces.store:Store.move", "after", match="/integration/head", nth=2)]),
    Case("publish: pushing", [Moment("workspaces.publish:git", "during", seconds=0.01)]),
    Case("publish: pushed", [Moment("workspaces.publish:git", "after")]),
    Case("save state: kept", [Moment("activities.state:write_run_files", "after", nth=3)]),
]
