"""Fork points of a run: the checkpoints of a task's lane at which a session began or a turn of it ended."""

import json
import re

from baton import identifiers
from baton.errors import UsageError
from baton.records.run import Fork
from baton.steps.store_paths import PLAN, answer_file, task_file, transcript_folder
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.store import Store

_SESSION = re.compile(r"[1-9][0-9]{0,3}-(?P<role>[a-z]+)")


async def planned_roles(store: Store, run: str) -> dict[str, str]:
    """Return the tasks of a run's plan in its order, each with its maker's role. Raises UsageError if there is no
    plan.
    """
    head = await store.read_head(identifiers.run_ref(run))
    if head is None:
        raise store.work_elsewhere(run, "file")
    order = await store.read_file(head, PLAN)
    if order is None:
        raise UsageError(f"The run {run} has no plan yet, so there is nothing to fork: start a new run.")
    roles: dict[str, str] = {}
    for task in json.loads(order):
        data = await store.read_file(head, task_file(task))
        roles[str(task)] = str(json.loads(data or b"{}").get("role", ""))
    return roles


async def resolve_fork(store: Store, fork: Fork) -> tuple[Fork, str]:
    """Return the fork with its session named, and the checkpoint that it goes on from (empty: after the plan).

    Raises UsageError for a task, session or turn that the run does not have.
    """
    roles = await planned_roles(store, fork.run)
    if not fork.task:
        return fork, ""
    role = roles.get(fork.task)
    if role is None:
        raise UsageError(f"The run {fork.run} has no task {fork.task[:60]!r}; its plan has: {', '.join(roles)}.")
    session = fork.session or identifiers.session_name(1, role)
    found = _SESSION.fullmatch(session)
    if found is None or found["role"] not in (role, "tester", "reviewer"):
        raise UsageError(
            f"{session[:60]!r} is no session of the task {fork.task}: it is a round and a role, for instance 1-{role}."
        )
    named = fork.model_copy(update={"session": session})
    return named, await _find_checkpoint(store, named)


async def _find_checkpoint(store: Store, fork: Fork) -> str:
    before: str | None = None
    for checkpoint in await Checkpoints(store).list_history(Lane(fork.run, fork.task)):
        paths = await store.list_paths(checkpoint.commit, transcript_folder(fork.session))
        if fork.turn and answer_file(fork.session, fork.turn) in paths:
            return checkpoint.commit
        if not fork.turn and paths:
            return before or checkpoint.commit
        before = checkpoint.commit
    what = f"turn {fork.turn} of the session" if fork.turn else "session"
    raise UsageError(
        f"The task {fork.task} of the run {fork.run} has no {what} {fork.session};"
        f" `baton log {fork.run} --task {fork.task}` shows what it has."
    )
