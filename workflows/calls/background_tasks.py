"""Background tasks of a run: saving, reporting, the clock. A fault in it must not vanish."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception


class BackgroundTasks:
    """The background tasks of one run. A fault of the code in one fails the workflow task, as it would anywhere else.

    Temporal tries the workflow task again: once the fault is repaired, the run goes on from where it was.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._fault: tuple[str, BaseException] | None = None
        self._watching: asyncio.Task[None] | None = None

    def start_task(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let work go on beside."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(lambda ended: self._note_end(name, ended))
        return task

    def start_watching(self) -> None:
        """Look after them. An exception from a condition fails the workflow task, whatever the workflow waits for."""
        self._watching = asyncio.create_task(workflow.wait_condition(self._check_faults))

    def cancel_all(self) -> None:
        """Cancel all of them."""
        for task in (*self._tasks, self._watching):
            if task is not None:
                task.cancel()

    def _note_end(self, name: str, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not is_cancelled_exception(error):
            self._fault = self._fault or (name, error)

    def _check_faults(self) -> bool:
        if self._fault is not None:
            name, error = self._fault
            raise RuntimeError(f"The background task {name} of the run has failed: {error!r}") from error
        return False
