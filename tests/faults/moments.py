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

IN_TOOL = Moment(
    "workspaces.tools.toolbox:Toolbox.run_tool", "during", match="Bash", until="workspaces/*/*/work/src/started"
)
ADDING = Moment(
    "workspaces.checkpoints.workspace:add_all", "during", until="workspaces/*/*/quarantine/objects/*/tmp_obj_*"
)


_paused = partial(script, pause=1.0)


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


# In a turn: the tool calls, the checkpoint after them, the model call, its answer. A turn that was killed starts over,
# so its moments can come one after the other in one run; each worker counts calls anew.
TOOLS = [
    Case(
        "mid-tool; tools done, nothing looked at; after write-tree; after the commit",
        [
            IN_TOOL,
            Moment("workspaces.checkpoints.workspace:Workspace.take_snapshot", match="None"),
            Moment("workspaces.checkpoints.sandboxed_git:adopt_objects"),
            Moment("workspaces.git.object_database:ObjectDatabase.write_commit", "after", match=SHELL_TURN),
        ],
        played=_paused,
    ),
    Case(
        "mid-add; while moving objects; objects moved; after the ref",
        [
            ADDING,
            Moment("workspaces.checkpoints.sandboxed_git:check_object", nth=3),
            Moment("workspaces.checkpoints.sandboxed_git:adopt_objects", "after"),
            Moment("workspaces.store.store:Store.commit_tree", "after", match=SHELL_TURN),
        ],
        played=partial(script, numbers=1_200_000),
    ),
    Case(
        "while putting back; objects stored, not synced; while the ref is locked; workspace marked clean",
        [
            Moment("workspaces.checkpoints.snapshots:put_back_path", nth=2),
            Moment("workspaces.git.object_database:ObjectDatabase.sync_objects"),
            Moment("pathlib:Path.replace", match="/t1/head.lock'"),
            Moment("workspaces.checkpoints.workspace:Workspace.mark_clean", "after"),
        ],
    ),
]

MODEL = [
    Case(
        "the request is out; the answer is here; the answer is stored; the answer is committed",
        [
            Moment("activities.turn.take_turn:ask_model", "during", match="'X-Baton-Turn': '2'"),
            Moment("activities.turn.take_turn:ask_model", "after", match="'X-Baton-Turn': '2'"),
            Moment("workspaces.git.object_database:ObjectDatabase.write_commit", "after", match=ANSWER),
            Moment("workspaces.store.store:Store.commit_tree", "after", match=ANSWER),
        ],
        # Once for each worker that had asked and not committed; the last one had.
        repeats=3,
        played=partial(script, thinking=0.8),
    ),
]

CLEAN = Moment("workspaces.checkpoints.workspace:Workspace.mark_clean", "after")

# What is lost besides the worker, at each of its deaths.
LOSSES = [
    Case(
        "workspace clean, lost index; mid-tool, broken index; workspace clean, lost files",
        [CLEAN, IN_TOOL, CLEAN],
        loses=[_lose_indexes, _spoil_indexes, _lose_files],
        played=_paused,
    ),
    Case(
        "mid-tool, lost workspaces; while building anew, lost workspaces; mid-tool, lost scratch and host id",
        [IN_TOOL, Moment("workspaces.checkpoints.restore:apply_meta"), IN_TOOL],
        loses=[_lose_workspaces, _lose_workspaces, _lose_scratch],
        played=_paused,
    ),
    Case(
        "mid-tool; killed again while restoring",
        [IN_TOOL, Moment("workspaces.checkpoints.restore:reset_workspace", "during", seconds=0.0)],
        played=_paused,
    ),
]


def _step(method: str, match: str = "", nth: int = 1) -> list[Moment]:
    return [Moment(method, when, match=match, nth=nth) for when in ("before", "after")]


_STEPS = {
    "prepare": _step("activities.run.prepare:PrepareActivities.prepare_run"),
    "plan": _step("activities.turn.take_turn:TurnActivities.take_turn", "orchestrator"),
    "read the plan": _step("activities.run.prepare:PrepareActivities.read_plan"),
    "open": _step("activities.task.integrate:IntegrationActivities.open_task"),
    "make": _step("activities.turn.take_turn:TurnActivities.take_turn", "backend", nth=2),
    "test": _step("activities.turn.take_turn:TurnActivities.take_turn", "tester"),
    "gate": _step("activities.task.gate:GateActivities.run_gate", "task='t1'"),
    "review": _step("activities.turn.take_turn:TurnActivities.take_turn", "reviewer"),
    "integrate": _step("activities.task.integrate:IntegrationActivities.integrate_task"),
    "final gate": _step("activities.task.gate:GateActivities.run_gate", "task='gate'"),
    "publish": _step("activities.run.publish:PublishActivities.publish_run"),
    "save state": _step("activities.run.state_files:StateActivities.save_state"),
    "clean up": _step("activities.run.publish:PublishActivities.clean_up"),
}
"""Every activity of a run: killed when it has begun, and when it is done but nobody knows."""

BEGUN = [Case(f"{name} has begun", [before]) for name, (before, _) in _STEPS.items()]


def _done(*names: str) -> Case:
    return Case(f"{'; '.join(names)}: done, not reported", [_STEPS[name][1] for name in names])


DONE = [
    _done("prepare", "plan", "read the plan", "open"),
    _done("make", "test", "gate", "review"),
    _done("save state", "integrate", "final gate", "publish", "clean up"),
]

# Inside the steps around the sessions.
INSIDE = [
    Case(
        "prepare: fetched; run files kept; integration begun",
        [
            Moment("workspaces.store.store:Store.fetch_base", "after"),
            Moment("activities.run.prepare:write_run_files", "after"),
            Moment("workspaces.store.store:Store.move_ref", "after", match="/integration/head"),
        ],
    ),
    Case(
        "gate: candidate made; tests running; evidence here, not kept; evidence kept; publish: pushed",
        [
            Moment("activities.task.gate:project_commit", "after"),
            Moment("activities.task.gate:run_gate", "during", until="gates/*/*/gate.log"),
            Moment("activities.task.gate:run_gate", "after"),
            Moment("workspaces.store.store:Store.commit_tree", "after", match="gate, round 1"),
            Moment("workspaces.delivery.push_branch:call_git", "after"),
        ],
    ),
    Case(
        "save state: kept; integrate: on the line; publish: pushing",
        [
            Moment("activities.run.state_files:write_run_files", "after", match="'planning: "),
            Moment("workspaces.store.store:Store.move_ref", "after", match="/integration/head"),
            Moment("workspaces.delivery.push_branch:call_git", "during", seconds=0.01),
        ],
    ),
]
