"""The start of a delivery's workflow in Temporal: durable from then on, and idempotent.

The workflow's id is made of the delivery's, and a used id is never taken again. So a redelivery is a no-op for as long
as the namespace keeps the workflow, and the webhook has no state of its own.
"""

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from baton import identifiers
from baton.errors import TemporalUnreachable
from baton.records.issue import DELIVERY_WORKFLOW, Delivery

START_TIMEOUT = timedelta(seconds=8)
"""For Temporal to start the workflow; GitHub gives up after ten seconds."""

MAX_STARTS = 32
"""Starts under way at one moment, so that a slow server is not slowed further. The others wait here; one that waits too
long is never sent, so that the server does no work for an answer that GitHub does not await any more."""

PROBE_TIMEOUT = timedelta(seconds=2)
PROBE_LIFETIME = timedelta(seconds=1)
"""For an answer to `ready` to be reused: the endpoint is open to all."""


class DeliveryStarter:
    """Starter of the workflows of deliveries."""

    def __init__(
        self, client: Client, task_queue: str = identifiers.TASK_QUEUE, *, limit: timedelta = START_TIMEOUT
    ) -> None:
        self._client, self._queue, self._limit = client, task_queue, limit
        self._under_way = asyncio.Semaphore(MAX_STARTS)
        self._asked, self._ready = float("-inf"), False
        self._probe = asyncio.Lock()

    async def start_delivery(self, delivery: Delivery) -> bool:
        """Start the workflow of a delivery; False if it was started before.

        Raises TemporalUnreachable if the start is not confirmed: then the delivery must be sent again.
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

    async def is_ready(self) -> bool:
        """Whether Temporal answers."""
        async with self._probe:
            now = asyncio.get_running_loop().time()
            if now - self._asked > PROBE_LIFETIME.total_seconds():
                self._ready = await self._check_health()
                self._asked = asyncio.get_running_loop().time()
            return self._ready

    async def _check_health(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT.total_seconds()):
                return await self._client.service_client.check_health(timeout=PROBE_TIMEOUT)
        except (TimeoutError, RPCError):
            return False
