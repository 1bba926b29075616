"""Steps that answer from a script, so that the real workflows can be stopped at each of them, many runs at once."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from baton import identifiers
from baton.records.run import DecisionPolicy, Evidence, RunLimits
from baton.steps.github import BranchSynced, CheckWritten, CommentWritten, OpenRoundInput, PullState, RoundOpened
from baton.steps.publish import Published, PublishInput
from baton.steps.session import Escalation, HandOff, TurnInput, TurnResult
from baton.steps.task import (
    FoundSession,
    GateResult,
    HostGranted,
    Integrated,
    Plan,
    PlannedTask,
    Prepared,
    SaveInput,
    StateSaved,
)

BASE = "b" * 40

How = Literal["deaf", "hears", "fails"]
"""What a step does that is under way when the run is stopped: goes on to its end, ends as cancelled, fails."""


@dataclass
class Stop:
    """A stop of a run while its n-th step is under way."""

    nth: int
    how: How


@dataclass
class Script:
    """Answers every activity of a run; each run has a stop of its own, or none."""

    client: Client
    stops: dict[str, Stop] = field(default_factory=dict)
    limits: RunLimits = field(default_factory=RunLimits)
    calls: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    saved: dict[str, str] = field(default_factory=dict)
    """The status that each run's state was saved with last."""
    failing: dict[str, int] = field(default_factory=dict)
    """So often an activity of a name still fails for good."""
    asks: bool = True
    """Whether the maker asks once, which nobody answers: the default is taken after a moment."""
    holds: str = ""
    """Turns of this task, or of this role, wait until this is empty."""
    held: bool = False
    halted: str = ""
    """A step that goes on until the clock breaks it off; the run is stopped at that moment."""
    halting: bool = False
    """Whether that step is under way."""
    gates: list[int] = field(default_factory=list)
    """Exit codes of the gates on the merged result; then 0."""
    opened: Counter[str] = field(default_factory=Counter)
    """Rounds on the pull request, by run."""
    feedback: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What these rounds were opened for."""

    @activity.defn(dynamic=True)
    async def step(self, args: Sequence[RawValue]) -> Any:
        """Carry out any activity."""
        info = activity.info()
        run = str(info.workflow_id).split("/")[0]
        name = info.activity_type
        self.calls[run] += 1
        self.names[run].append(name)
        stop = self.stops.get(run)
        answer = self._answer(name, args, run)
        if stop is not None and self.calls[run] == stop.nth:
            await self.client.get_workflow_handle(run).cancel()
            await self._go_on(stop.how)
        if name == "take_turn" and self.holds:
            await self._hold(args)
        final = b'"task":"gate"' in args[0].payload.data if args else False
        if self.halted == ("final gate" if name == "run_gate" and final else name):
            await self._stopped_as_well(run)
        if self.failing.get(name, 0) > 0:
            self.failing[name] -= 1
            raise ApplicationError("No space is left on the disk.", type="DiskFull", non_retryable=True)
        return answer

    async def _go_on(self, how: How) -> None:
        try:
            for _ in range(30):
                activity.heartbeat()
                await asyncio.sleep(0.1)
                if activity.is_cancelled():
                    break
        except asyncio.CancelledError:
            if how == "hears":
                raise
        if how == "fails":
            raise ApplicationError("No space is left on the disk.", type="DiskFull", non_retryable=True)

    async def _hold(self, args: Sequence[RawValue]) -> None:
        key = activity.payload_converter().from_payload(args[0].payload, TurnInput).key
        while self.holds and self.holds in (key.task, key.role):
            self.held = True
            activity.heartbeat()
            await asyncio.sleep(0.05)

    async def _stopped_as_well(self, run: str) -> None:
        self.halting = True
        try:
            while not activity.is_cancelled():
                activity.heartbeat()
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            await self.client.get_workflow_handle(run).cancel()
            await asyncio.sleep(0.5)
            raise

    def _answer(self, name: str, args: Sequence[RawValue], run: str) -> Any:
        given = args[0] if args else None

        def read(kind: Any) -> Any:
            assert given is not None
            return activity.payload_converter().from_payload(given.payload, kind)

        match name:
            case "acquire_host":
                return HostGranted(queue=identifiers.TASK_QUEUE)
            case "prepare_run":
                policy = DecisionPolicy(default="retry", deadline_seconds=0.5) if self.asks else DecisionPolicy()
                return Prepared(
                    base_commit=BASE, plan_commit="0" * 40, limits=self.limits, decisions=policy, quiet_seconds=0.01
                )
            case "take_turn":
                return self._turn(read(TurnInput))
            case "read_plan":
                tasks = [PlannedTask(id=task, title=task, role="backend") for task in ("t1", "t2")]
                return Plan(tasks=tasks)
            case "run_gate":
                final = b'"task":"gate"' in given.payload.data if given is not None else False
                code = self.gates.pop(0) if final and self.gates else 0
                commit = f"{self.opened[run]:040x}" if final and self.opened[run] else "c" * 40
                evidence = Evidence(commit=commit, command="true", exit_code=code)
                return GateResult(evidence=evidence, checkpoint="1" * 40, candidate="c" * 40)
            case "integrate_task":
                return Integrated(commit="d" * 40)
            case "find_session":
                return FoundSession(commit="1" * 40, turn=1)
            case "open_task":
                return {"commit": "1" * 40, "base": BASE}
            case "publish_run":
                return Published(branch=read(PublishInput).branch or f"baton/{run}", commit="c" * 40)
            case "take_in":
                return BranchSynced(relation="same")
            case "open_round":
                self.opened[run] += 1
                self.feedback[run] += [item.text for item in read(OpenRoundInput).items]
                return RoundOpened(role="backend")
            case "write_comment":
                return CommentWritten(id=1)
            case "write_pull" | "read_pull":
                return PullState(number=8, url="https://github.example.org/ada/shop/pull/8")
            case "write_check":
                return CheckWritten(id=2)
            case "save_state":
                self.saved[run] = read(SaveInput).state.status.value
                return StateSaved(commit="e" * 40)
        return None

    def _turn(self, turn: TurnInput) -> TurnResult:
        said = {"tester": "pass", "reviewer": "approve"}
        if self.asks and turn.key.role == "backend" and turn.key.task == "t1" and turn.turn == 1:
            asked = Escalation(error_type="which", question="Which?", choices=["this"], of_role=True)
            asked.architectural = True
            return TurnResult(commit="2" * 40, outcome="escalated", escalation=asked)
        if turn.key.role == "backend" and turn.turn == (2 if turn.key.task == "t1" and self.asks else 1):
            return TurnResult(commit="3" * 40, tools=["Bash"])
        done = HandOff(path="report.json", verdict=said.get(turn.key.role, ""))
        return TurnResult(commit="4" * 40, outcome="handed_off", hand_off=done)


async def all_closed(client: Client, run: str) -> bool:
    """Whether no execution of a run is open."""
    query = f'(WorkflowId = "{run}" OR WorkflowId STARTS_WITH "{run}/") AND ExecutionStatus = "Running"'
    with suppress(RPCError):
        return not [found async for found in client.list_workflows(query)]
    return False
