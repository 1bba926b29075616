"""Whether an attempt is still wanted: asked of the server at once, where acting without an answer would do harm."""

import asyncio

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode

from baton.errors import StaleAttempt


async def still_wanted() -> None:
    """Return where this attempt counts. Raises StaleAttempt where the server has given it up.

    A process that was asleep holds attempts that were given to it meanwhile and were given up since; it learns that by
    heartbeat, a moment after it has begun with them. To be asked before work is taken from another host, for that host
    may be the successor.
    """
    handle = activity.client().get_async_activity_handle(task_token=activity.info().task_token)
    try:
        await handle.heartbeat()
    except AsyncActivityCancelledError as error:
        raise asyncio.CancelledError from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise StaleAttempt("This attempt was given up while its worker was asleep: it ends without effect.") from error
