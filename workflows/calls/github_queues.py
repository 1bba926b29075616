"""How workflows talk to GitHub: reads anywhere, writes one at a time, and patience with a GitHub that is unreachable.

After the usual attempts a passing fault is waited for on durable timers, for as long as it takes. A credential that is
not accepted becomes a question about its renewal; the steps that wait for it are tried again then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.runtime.failures import ASKED_TO_WAIT, AWAY, DENIED, WORKER_SHUTDOWN
    from baton.identifiers import GITHUB_QUEUE, GITHUB_READS, TASK_QUEUE
    from baton.policies import GITHUB_PICKUP, GITHUB_TIMEOUT, HEARTBEAT_TIMEOUT, UNREACHABLE_WAITS
    from workflows.calls.cancellation import CancellationGuard, raise_if_stopped
    from workflows.calls.workspace_host import StepFailed, failed_step, retry_policy

Result = TypeVar("Result")
Method = Callable[[Any, Any], Awaitable[Result]]
Denied = Callable[[StepFailed, datetime], Awaitable[None]]
"""Gets the failure, and when the step began that failed."""

_PASSING = AWAY | {ASKED_TO_WAIT, "Timeout"}


class GitHubQueues:
    """Calls activities on GitHub's queues, and waits while GitHub is unreachable."""

    def __init__(self, waits: Callable[[str], None], denied: Denied) -> None:
        """`waits` gets the reason of a wait, or an empty text at its end; `denied` returns once a retry may help."""
        self._waits = waits
        self._denied = denied

    async def call_read(self, method: Method[Result], argument: Any, *, summary: str) -> Result:
        """The result of a read. Raises StepFailed where GitHub refuses it for good."""
        return await self.await_github(lambda: self._attempt_call(method, argument, GITHUB_READS, summary))

    async def call_temporal(self, method: Method[Result], argument: Any, *, summary: str) -> Result:
        """Return the result of a step that needs Temporal only, such as to find a run or to signal it."""
        return await self.await_github(lambda: self._attempt_call(method, argument, TASK_QUEUE, summary))

    async def call_write(self, method: Method[Result], argument: Any, *, summary: str) -> Result:
        """The result of a write, which waits for its turn. Raises StepFailed where GitHub refuses it for good."""
        return await self.await_github(lambda: self._attempt_call(method, argument, GITHUB_QUEUE, summary))

    async def await_github(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of a step that needs GitHub; retried while GitHub is unreachable or denies access."""
        rounds = 0
        while True:
            began = workflow.now()
            try:
                return await step()
            except StepFailed as failure:
                if failure.kind in _PASSING:
                    wait = UNREACHABLE_WAITS[min(rounds, len(UNREACHABLE_WAITS) - 1)]
                    rounds += 1
                    await self._wait_for_github(wait, str(failure))
                elif failure.kind == DENIED:
                    await self._denied(failure, began)
                else:
                    raise

    async def _attempt_call(self, method: Method[Result], argument: Any, queue: str, summary: str) -> Result:
        """The usual three attempts. A wait that GitHub asks for and a worker's end are no failures."""
        while True:
            raise_if_stopped()
            cancellation = CancellationGuard()
            try:
                done = await workflow.execute_activity_method(
                    method,
                    argument,
                    task_queue=queue,
                    start_to_close_timeout=GITHUB_TIMEOUT,
                    schedule_to_start_timeout=GITHUB_PICKUP,
                    heartbeat_timeout=HEARTBEAT_TIMEOUT,
                    retry_policy=retry_policy(),
                    # So that what is written next does not overtake what was broken off.
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    summary=summary[:200],
                )
                cancellation.raise_if_cancelled()
                self._waits("")
                return done
            except ActivityError as error:
                cause = error.cause
                if is_cancelled_exception(error):
                    raise
                cancellation.raise_if_cancelled()
                if isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START:
                    self._waits(f"a worker with a credential for GitHub (queue {queue}); see baton doctor --github")
                    continue
                if isinstance(cause, ApplicationError) and cause.type == ASKED_TO_WAIT:
                    await self._wait_for_github(timedelta(seconds=float(cause.details[1])), cause.message)
                elif not (isinstance(cause, ApplicationError) and cause.type == WORKER_SHUTDOWN):
                    raise failed_step(cause) from error

    async def _wait_for_github(self, wait: timedelta, why: str) -> None:
        self._waits(f"GitHub: {why}")
        try:
            await workflow.sleep(wait, summary=f"GitHub: {why}"[:200])
        except asyncio.CancelledError:
            self._waits("")
            raise
        self._waits("")
