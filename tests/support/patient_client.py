"""A client for tests whose calls outlast a busy machine.

The SDK gives up on a call after 10 s (`temporalio.service.RetryConfig.max_elapsed_time_millis`), and the server on a
query that no worker answers in time. Neither says anything about Baton where many tests share few processors.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio.client import (
    CancelWorkflowInput,
    Client,
    DescribeWorkflowInput,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    WorkflowExecutionDescription,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from tests.support.time_limits import HANGS

T = TypeVar("T")

_PASSING = {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE}


class _PatientCalls(OutboundInterceptor):
    """Give calls without a time limit the time until a test hangs, and repeat those that only read."""

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.rpc_timeout = input.rpc_timeout or HANGS
        return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        input.rpc_timeout = input.rpc_timeout or HANGS
        await super().signal_workflow(input)

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:
        input.rpc_timeout = input.rpc_timeout or HANGS
        await super().cancel_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        if input.rpc_timeout is not None:
            return await super().query_workflow(input)
        return await repeat(lambda: super(_PatientCalls, self).query_workflow(input))

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:
        if input.rpc_timeout is not None:
            return await super().describe_workflow(input)
        return await repeat(lambda: super(_PatientCalls, self).describe_workflow(input))


class _Patience(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _PatientCalls(next)


async def repeat(call: Callable[[], Awaitable[T]]) -> T:
    """Make an idempotent call until it does not fail for a busy server."""
    deadline = asyncio.get_running_loop().time() + HANGS.total_seconds()
    while True:
        try:
            return await call()
        except RPCError as error:
            if error.status not in _PASSING or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.1)


def make_patient(client: Client) -> Client:
    """Return a client of the same connection whose calls wait for a busy server."""
    config: dict[str, Any] = dict(client.config())
    return Client(**{**config, "interceptors": [*config["interceptors"], _Patience()]})
