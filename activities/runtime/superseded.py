"""The check that an attempt is not superseded, made at the server at the moment of the call."""

import asyncio

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode

from baton.errors import StaleAttempt


async def ensure_not_superseded() -> None:
    """Return if this attempt still counts. Raises StaleAttempt if the server has given it up.

    A process that was suspended resumes with attempts that were given up meanwhile, and learns that only by its next
    heartbeat. So it asks before it takes work over from another host: that host may run the attempt that succeeded it.
    """
    handle = activity.client().get_async_activity_handle(task_token=activity.info().task_token)
    try:
        await handle.heartbeat()
    except AsyncActivityCancelledError as error:
        raise asyncio.CancelledError from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise StaleAttempt("This attempt was given up while its worker was suspended: it has no effect.") from error
