"""Hands a delivery over to Temporal: durable from then on, and taken once however often it comes.

The workflow's id is made of the delivery's, and a used id is never taken again. So a redelivery does nothing for as
long as the namespace remembers the workflow, and the webhook keeps no state of its own.
"""

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from baton import naming
from baton.errors import TemporalUnreachable
from baton.records.issue import DELIVERY_WORKFLOW, Delivery

TAKE_LIMIT = timedelta(seconds=8)
"""How long Temporal may take; GitHub gives up after ten seconds."""

AT_ONCE = 32
"""Starts under way at one moment. A server that is slow gets no slower by more of them; the others wait here, and what
waited too long was never sent, so that the server does no work for answers that nobody awaits."""

PROBE_LIMIT = timedelta(seconds=2)
PROBE_LIFE = timedelta(seconds=1)
"""How long an answer to `ready` is given again: anybody may ask."""


class Desk:
    """Takes deliveries in."""

    def __init__(self, client: Client, task_queue: str = naming.TASK_QUEUE, *, limit: timedelta = TAKE_LIMIT) -> None:
        self._client, self._queue, self._limit = client, task_queue, limit
        self._under_way = asyncio.Semaphore(AT_ONCE)
        self._asked, self._ready = float("-inf"), False
        self._probe = asyncio.Lock()

    async def take(self, delivery: Delivery) -> bool:
        """Start the workflow of a delivery; False where that was done before.

        Raises TemporalUnreachable when it is not known to be done. Then nothing says that the delivery was seen.
        """
        try:
            async with asyncio.timeout(self._limit.total_seconds()), self._under_way:
                await self._client.start_workflow(
                    DELIVERY_WORKFLOW,
                    delivery,
                    id=delivery.workflow_id,
                    task_queue=self._queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    static_summary=f"{delivery.event} of {delivery.repository.full_name}",
                )
        except WorkflowAlreadyStartedError:
            return False
        except TimeoutError as error:
            raise TemporalUnreachable("Temporal does not answer.") from error
        except RPCError as error:
            raise TemporalUnreachable(f"Temporal does not take the delivery: {error.message}.") from error
        return True

    async def ready(self) -> bool:
        """Whether Temporal answers."""
        async with self._probe:
            now = asyncio.get_running_loop().time()
            if now - self._asked > PROBE_LIFE.total_seconds():
                self._ready = await self._answers()
                self._asked = asyncio.get_running_loop().time()
            return self._ready

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_LIMIT.total_seconds()):
                return await self._client.service_client.check_health(timeout=PROBE_LIMIT)
        except (TimeoutError, RPCError):
            return False
