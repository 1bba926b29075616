"""The steps of workflows that are under way, from the heartbeats of their activities. Adds no history events."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.service import RPCError

from baton.policies import QUERY_TIMEOUT
from baton.steps.session import HeartbeatDetails
from interfaces.cli.terminal.output import one_line


@dataclass(frozen=True)
class RunningStep:
    """A step that is under way, or waits for its next attempt."""

    stage: str = ""
    """The phase of the step by its heartbeat: `tools`, `checkpoint`, `model`, `gate`, ..."""
    tool: str = ""
    seconds: float = 0.0
    """Since the phase began; before the first heartbeat, since the attempt began."""
    cost_usd: float = 0.0
    """Of the session, up to the turn before."""
    attempt: int = 1
    failure: str = ""
    """The failure of the attempt before."""

    @property
    def description(self) -> str:
        """The step as a phrase."""
        doing = self.tool or {"model": "asks the model", "gate": ""}.get(self.stage, self.stage)
        parts = [one_line(doing, 40), f"{self.seconds:.0f} s" if self.seconds >= 1 else ""]
        if self.attempt > 1:
            parts.append(f"attempt {self.attempt} after: {one_line(self.failure, 60)}")
        return ", ".join(part for part in parts if part)


async def read_running_steps(client: Client, workflow_ids: Iterable[str]) -> dict[str, RunningStep]:
    """Return the steps of workflows by their ids, for those that have one; of several the one that began last."""
    ids = list(workflow_ids)
    found = await asyncio.gather(*(_read_step(client, workflow_id) for workflow_id in ids))
    return {workflow_id: step for workflow_id, step in zip(ids, found, strict=True) if step is not None}


async def _read_step(client: Client, workflow_id: str) -> RunningStep | None:
    try:
        described = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=QUERY_TIMEOUT)
    except RPCError:
        return None
    # state.json is written beside the work: no step waits for it.
    pending = [one for one in described.raw_description.pending_activities if one.activity_type.name != "save_state"]
    if not pending:
        return None
    # `attend_step` waits beside a step for a free host; once the step runs, the step counts.
    last = max(
        pending,
        key=lambda one: (
            one.HasField("last_started_time") and one.activity_type.name != "attend_step",
            one.last_started_time.ToNanoseconds(),
        ),
    )
    payloads = last.heartbeat_details.payloads
    said = (await client.data_converter.decode(payloads[:1], [HeartbeatDetails]))[0] if payloads else HeartbeatDetails()
    seconds = said.seconds
    if not payloads and last.HasField("last_started_time"):
        seconds = max(0.0, (datetime.now(UTC) - last.last_started_time.ToDatetime(UTC)).total_seconds())
    return RunningStep(
        stage=said.stage,
        tool=said.tool,
        seconds=seconds,
        cost_usd=said.cost_usd,
        attempt=last.attempt,
        failure=last.last_failure.message,
    )
