"""How workflows call activities: on the host that holds the workspace, and on another one when that host is gone."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.runtime.failures import ASKED_TO_WAIT, AWAY, USAGE_LIMIT, WORK_ELSEWHERE, WORKER_SHUTDOWN
    from activities.runtime.host_queue import HostActivities
    from baton.policies import (
        HEARTBEAT_TIMEOUT,
        HOST_ANSWER,
        OUTSIDE_RETRY,
        QUEUE_TIMEOUT,
        SCHEDULE_TO_START,
        RetryFigures,
    )
    from baton.replayed_figures import ELSEWHERE_WAITS, MAX_LOST_HOSTS, MAX_REQUESTED_WAITS, MIN_REPORTED_WAIT
    from workflows.calls.busy_host import HostGone, wait_in_queue
    from workflows.calls.cancellation import CancellationGuard, raise_if_stopped

Result = TypeVar("Result")


class StepFailed(Exception):
    """A step failed after its retries; `kind` is the error's type, the message its one clear sentence."""

    def __init__(self, message: str, kind: str, detail: str = "", *, retried: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = detail
        self.attempted = (
            ["3 attempts, after waits of 1 s and 2 s"] if retried else ["1 attempt; trying again cannot help"]
        )


def retry_policy(retry: RetryFigures = OUTSIDE_RETRY) -> RetryPolicy:
    """A retry policy of the kernel as Temporal's own."""
    return RetryPolicy(
        initial_interval=retry.initial_interval,
        backoff_coefficient=retry.backoff_coefficient,
        maximum_attempts=retry.maximum_attempts,
    )


class WorkspaceHost:
    """The host that a workflow's workspace work goes to. Kept across steps; acquired again when it is gone."""

    def __init__(self, queue: str = "", tell: Callable[[str], Awaitable[None]] | None = None) -> None:
        """Take the host's queue, and a callback for the reason of a wait; an empty text ends the wait."""
        self.queue = queue
        self._tell = tell
        self._left = ""
        """The queue of the host that was given up last: the work may lie there."""
        self.waiting_for = ""
        """What a durable timer waits for, for people."""
        self.ask: Callable[[str, StepFailed], Awaitable[None]] | None = None
        """Asks how it should go on where a step has failed for good; returns where it is to be tried again."""

    async def acquire_host(self) -> str:
        """Ask a worker of this run's task queue for its host. Waits, without cost, until there is a worker."""
        try:
            granted = await workflow.execute_activity_method(
                HostActivities.acquire_host,
                task_queue=workflow.info().task_queue,
                start_to_close_timeout=HOST_ANSWER,
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
                summary="find a host",
            )
        except ActivityError as error:
            raise_if_stopped()
            if is_cancelled_exception(error):
                raise
            raise failed_step(error.cause) from error
        self.queue = granted.queue
        return granted.queue

    async def run_step(
        self,
        method: Callable[[Any, Any], Awaitable[Result]],
        argument: Any,
        *,
        timeout: timedelta,
        summary: str,
        retry: RetryFigures = OUTSIDE_RETRY,
    ) -> Result:
        """Run a step to its end; one that fails for good is asked about, and tried again if that is the answer.

        Raises StepFailed only if the workflow has no way to ask.
        """
        while True:
            try:
                return await self.attempt_step(method, argument, timeout=timeout, summary=summary, retry=retry)
            except StepFailed as failure:
                if self.ask is None:
                    raise
                await self.ask(summary, failure)

    async def attempt_step(
        self,
        method: Callable[[Any, Any], Awaitable[Result]],
        argument: Any,
        *,
        timeout: timedelta,
        summary: str,
        retry: RetryFigures = OUTSIDE_RETRY,
    ) -> Result:
        """Run a step to its end, for callers that deal with its failure themselves.

        Busy and lost hosts, stopped workers and usage limits are not failures: they are waited for.
        Raises StepFailed after the retries, or at once where retrying cannot help; a cancellation passes through.
        """
        lost = waits = looks = 0
        busy = False
        """Whether the host has not taken the step up at once."""

        def begin(step_id: str | None) -> "workflow.ActivityHandle[Result]":
            return workflow.start_activity_method(
                method,
                argument,
                activity_id=step_id,
                task_queue=queue,
                start_to_close_timeout=timeout,
                schedule_to_start_timeout=QUEUE_TIMEOUT if step_id else SCHEDULE_TO_START,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=retry_policy(retry),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=summary[:200],
            )

        while True:
            raise_if_stopped()
            queue = self.queue or await self.acquire_host()
            raise_if_stopped()
            cancellation = CancellationGuard()
            try:
                done = await (wait_in_queue(queue, begin) if busy else begin(None))
                cancellation.raise_if_cancelled()
                self._left = ""
                return done
            except HostGone:
                cancellation.raise_if_cancelled()
                busy = False
                self._leave_host(queue)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                cancellation.raise_if_cancelled()
                cause = error.cause
                busy = _not_taken(cause) and (busy or workflow.patched("busy-is-not-dead"))
                if isinstance(cause, ApplicationError) and cause.type == USAGE_LIMIT:
                    await self._wait_for_reset(cause)
                elif (
                    isinstance(cause, ApplicationError) and cause.type == ASKED_TO_WAIT and waits < MAX_REQUESTED_WAITS
                ):
                    waits += 1
                    await self._wait_as_asked(cause)
                elif isinstance(cause, ApplicationError) and cause.type == WORKER_SHUTDOWN:
                    self._leave_host(queue)
                elif isinstance(cause, ApplicationError) and cause.type == WORK_ELSEWHERE and self._left:
                    self.queue = self._left
                    if looks == len(ELSEWHERE_WAITS):
                        raise failed_step(cause) from error
                    await self._wait_and_tell(ELSEWHERE_WAITS[looks], "the host that has this run's work")
                    looks += 1
                elif busy:
                    pass  # it waits in the host's queue from now on
                elif isinstance(cause, TimeoutError) and lost < MAX_LOST_HOSTS:
                    # A host that took the work and fell silent counts; one that never took it costs nothing.
                    lost += cause.type is not TimeoutType.SCHEDULE_TO_START
                    self._leave_host(queue)
                else:
                    raise failed_step(cause) from error

    def _leave_host(self, queue: str) -> None:
        """Look for another host. The first one that was left is remembered until a step has been done elsewhere."""
        self._left = self._left or queue
        self.queue = ""

    async def _wait_for_reset(self, cause: ApplicationError) -> None:
        until = datetime.fromisoformat(str(cause.details[0]))
        wait = max(until - workflow.now(), timedelta(seconds=1)) + timedelta(seconds=1)
        await self._wait_and_tell(wait, f"the usage limit, until {until:%Y-%m-%d %H:%M} UTC")

    async def _wait_as_asked(self, cause: ApplicationError) -> None:
        seconds = float(cause.details[1])
        whom = "GitHub" if cause.details[0] in AWAY else "the Messages API"
        await self._wait_and_tell(timedelta(seconds=seconds), f"{whom}, which asked to wait {seconds:g} s")

    async def _wait_and_tell(self, wait: timedelta, what: str) -> None:
        tell = self._tell if wait >= MIN_REPORTED_WAIT else None
        self.waiting_for = what
        try:
            if tell:
                await tell(what)
            await workflow.sleep(wait, summary=what)
        finally:
            self.waiting_for = ""
        if tell:
            await tell("")


def _not_taken(cause: BaseException | None) -> bool:
    return isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START


def failed_step(cause: BaseException | None) -> StepFailed:
    """Return the failure of a step by the error of its activity."""
    if isinstance(cause, ApplicationError):
        detail = str(cause.details[0]) if cause.details else ""
        return StepFailed(cause.message, cause.type or "ApplicationError", detail, retried=not cause.non_retryable)
    if isinstance(cause, TimeoutError):
        return StepFailed(f"The step did not finish: {cause.message}", "Timeout")
    return StepFailed(str(cause), type(cause).__name__)
