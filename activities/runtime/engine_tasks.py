"""Tasks that the engine itself adds to a run: repairs, conflicts, feedback on a pull request."""

from datetime import datetime

from activities.runtime.stores import to_json, write_run_files
from baton.steps.store_paths import task_file
from workspaces.store.store import Store


async def write_engine_task(
    store: Store,
    run: str,
    task: str,
    *,
    title: str,
    role: str,
    instructions: str,
    acceptance: list[str],
    at: datetime,
    kind: str = "task",
) -> None:
    """Commit a task to the run's own files, where its sessions read it; `kind` begins the commit message."""
    content = {
        "id": task,
        "title": title,
        "role": role,
        "instructions": instructions,
        "acceptance": acceptance,
        "depends_on": [],
    }
    await write_run_files(store, run, {task_file(task): to_json(content)}, f"{kind} {task}", at)
