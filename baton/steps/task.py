"""Inputs and results of the steps around the sessions: prepare, open, gate, integrate, save, publish."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, PlainSerializer

from baton.budget.caps import Caps, SessionCost
from baton.records.run import (
    Decision,
    DecisionPolicy,
    Evidence,
    Fork,
    Moment,
    RunDocument,
    RunLimits,
    RunRequest,
)
from baton.steps.session import CompactRecord, Escalation, LeftOut, PutBack, SessionKey

Record = TypeVar("Record", bound=BaseModel)


def _without_defaults(record: BaseModel) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_defaults=True)


Short = Annotated[Record, PlainSerializer(_without_defaults, return_type=dict[str, Any])]
"""A record inside of one for the history: what equals a default is not written, at any depth."""


class HostGranted(CompactRecord):
    """Which host's queue the workspace work of a run goes to."""

    queue: str


class AttendStepInput(CompactRecord):
    """Input of `attend_step`."""

    step: str
    """Id of the activity that waits in the host's queue."""


class PrepareInput(CompactRecord):
    """Input of `prepare_run`."""

    request: RunRequest


class Prepared(CompactRecord):
    """The facts about the target repository that a run starts with."""

    base_commit: str
    base_ref: str = ""
    plan_commit: str
    """Checkpoint 0 of the orchestrator's lane."""
    limits: RunLimits
    decisions: DecisionPolicy = Field(default_factory=DecisionPolicy)
    models: dict[str, str] = Field(default_factory=dict)
    sandboxed: bool = True
    binds: list[str] = Field(default_factory=list)
    """Directories of the machine that commands may read, as `baton.toml` asks and a person allows."""
    notes: list[str] = Field(default_factory=list)
    web_ui: str = ""
    """Link to the run, where the settings say where the Web UI is."""
    quiet_seconds: float = 20.0
    """Without a further comment for so long, what was said on a pull request becomes a round."""


class PlannedTask(CompactRecord):
    """A task of the plan, as far as the workflow needs it; instructions are in the store."""

    id: str
    title: str
    role: str
    depends_on: list[str] = Field(default_factory=list)


class ReadPlanInput(CompactRecord):
    """Input of `read_plan`."""

    run: str
    repo: str
    commit: str
    path: str


class Plan(CompactRecord):
    """The validated plan."""

    summary: str = ""
    tasks: list[PlannedTask] = Field(default_factory=list)


class WriteReportInput(CompactRecord):
    """Input of `write_report`: the report to the orchestrator about an agent that cannot go on."""

    run: str
    repo: str
    number: int
    title: str
    role: str
    escalation: Escalation
    evidence: Evidence | None = None
    task: str = ""
    checkpoint: str = ""
    """Checkpoint of the task that holds the end of the gate's log, where `evidence` comes without it."""
    evidence_round: int = 0


class ReadGuidanceInput(CompactRecord):
    """Input of `read_guidance`."""

    run: str
    repo: str
    commit: str
    path: str


class Guidance(CompactRecord):
    """The orchestrator's answer to a report."""

    text: str = ""
    """What the agent should do; empty where the question is passed on to a person."""
    reason: str = ""


class OpenTaskInput(CompactRecord):
    """Input of `open_task`: a workspace for a task, from the integrated commit."""

    run: str
    repo: str
    task: str
    at: Moment


class TaskOpened(CompactRecord):
    """A task's workspace."""

    commit: str
    base: str
    """The project commit it started from."""


class GateInput(CompactRecord):
    """Input of `run_gate`: for a task's checkpoint, or (without one) for the integrated commit."""

    run: str
    repo: str
    task: str
    round: int = 0
    title: str = ""
    role: str = ""
    checkpoint: str = ""
    base: str = ""
    left_out: list[str] = Field(default_factory=list)
    """On the integrated commit: paths that tasks wrote and that were not kept with them."""


class GateResult(CompactRecord):
    """Evidence, and where the task stands after it was recorded."""

    evidence: Evidence
    checkpoint: str = ""
    candidate: str = ""
    """The project commit that the gate ran on."""
    filtered: list[str] = Field(default_factory=list)
    """On the integrated commit: a few of the changed files that are behind a git filter, for people."""
    kept: list[str] = Field(default_factory=list)
    """Those of `left_out` that the commit has after all."""


class IntegrateInput(CompactRecord):
    """Input of `integrate_task`."""

    run: str
    repo: str
    task: str
    round: int
    candidate: str
    base: str
    checkpoint: str


class Integrated(CompactRecord):
    """The integrated commit of a task, or the conflicts that prevent it."""

    commit: str = ""
    conflicts: list[str] = Field(default_factory=list)
    checkpoint: str = ""
    """With conflicts: the workspace that holds both sides, for the maker."""
    base: str = ""


class RepairInput(CompactRecord):
    """Input of `open_repair`: a task made by the engine because the merged result fails its tests."""

    run: str
    repo: str
    task: str
    role: str
    title: str
    evidence: Evidence


class SaveInput(CompactRecord):
    """Input of `save_state`: the run's own files."""

    run: str
    repo: str
    state: Short[RunDocument]
    """The document with the decisions in it; written without what equals a default."""
    decisions: list[Decision] = Field(default_factory=list)
    """Empty but in histories of before, which have the decisions twice."""
    at: Moment
    closing: bool = False
    """Whether the run ends here: its costs are then taken from the ledger, to the last call."""


class StateSaved(CompactRecord):
    """The commit that holds the run's own files."""

    commit: str
    costs: list[SessionCost] = Field(default_factory=list)
    """At the end of a run: what the ledger has, as it was written into `state.json`."""


class SetCapsInput(CompactRecord):
    """Input of `set_caps`: the caps of a run after a person has raised one."""

    run: str
    repo: str
    caps: Caps
    at: Moment


Stage = Literal["open", "make", "test", "gate", "review", "integrate"]


class TaskProgress(CompactRecord):
    """Where a task stands inside its rounds: enough to go on from there, also in a new execution."""

    round: int = 1
    last_round: int = 3
    """The round after which a person is asked."""
    stage: Stage = "open"
    commit: str = ""
    base: str = ""
    candidate: str = ""
    turn: int = 1
    """The next turn of the session at this stage."""
    last_turn: int = 0
    asks: bool = False
    """Whether the session at this stage waits for the answer to an `escalate` call."""
    answer: str | None = None
    starts: int = 0
    """How often the session at this stage was told to start anew, since its conversation could not go on."""
    conflicts_met: int = 0
    tester_verdict: str = ""
    guidance: list[str] = Field(default_factory=list)
    evidence: Short[Evidence] | None = None
    evidence_round: int = 0
    """The round whose gate the evidence is of."""
    adrift: bool = False
    """Whether the session at this stage ended without a word, so that its last checkpoint must be looked up first."""


class ForkInput(CompactRecord):
    """Input of `adopt_fork`."""

    run: str
    repo: str
    fork: Fork
    base: str
    """The commit that both runs start from."""


class Forked(CompactRecord):
    """The plan, commits and progress that a forked run takes over."""

    plan: Plan
    done: dict[str, str] = Field(default_factory=dict)
    """Tasks that were integrated before, with their commits."""
    progress: dict[str, TaskProgress] = Field(default_factory=dict)
    """Where the forked task goes on."""


class TaskInput(CompactRecord):
    """Input of the workflow `Task`."""

    run: str
    repo: str
    task: PlannedTask
    limits: Short[RunLimits]
    queue: str
    progress: TaskProgress = Field(default_factory=TaskProgress)
    merges_news: bool = False
    """Whether one signal tells how a session ended and which stage begins; false in histories of before."""


class FindSessionInput(CompactRecord):
    """Input of `find_session`: where a session stood when it was last heard of."""

    key: SessionKey
    commit: str
    turn: int
    start: int = 0
    """How often the session is to have started anew; it does so now where the store does not know of that start."""


class FoundSession(CompactRecord):
    """Where a session goes on: its next turn, and the checkpoint that this turn starts from."""

    commit: str
    turn: int
    level: int = 0
    """Set where this turn is the first of a new start: how short its brief must be."""


class TaskProgressSignal(CompactRecord):
    """Signal `news` of a task to its pipeline: the stage that begins, and the result and cost of the last session."""

    task: str
    stage: str
    """The stage that begins; empty where none does."""
    round: int
    """The round of the session that has ended, or else of the stage that begins."""
    next_round: int = 0
    """The round of the stage that begins, where the signal also tells of a session; 0: the same as `round`."""
    turns: int = 0
    steps: int = 0
    """Of a session that has ended: how often it was its turn, with a call of the model or without."""
    billing: list[str] = Field(default_factory=list)
    cost_usd: float = 0.0
    evidence: Short[Evidence] | None = None
    evidence_round: int = 0
    """The round whose gate the evidence is of; 0: unknown."""
    verdict: str = ""
    """What the role has handed off, with the number of its blocking findings."""
    blocking: int = 0
    role: str = ""
    waiting_for: str = ""
    """What a durable timer of the task waits for."""
    left_out: LeftOut | None = None
    """What is written and not kept, where that has changed."""
    put_back: PutBack | None = None
    """What the role changed outside its scope during the session that has ended."""
    progress: TaskProgress | None = None
    """Where the task stands, without evidence: enough to go on from there if this execution ends without a word."""


class TaskResult(CompactRecord):
    """The end of a task's execution: done, or a question for the orchestrator or a person."""

    outcome: Literal["done", "escalated"]
    commit: str = ""
    """The project commit that was integrated."""
    progress: TaskProgress
    queue: str = ""
    escalation: Escalation | None = None
    role: str = ""
    """Who escalated."""
    evidence: Evidence | None = None
    """Only in histories of before; see `last_evidence`."""
    news: TaskProgressSignal | None = None
    """The progress that no signal has told yet; only where the input asks for merged signals."""

    @property
    def last_evidence(self) -> Evidence | None:
        """The evidence of the task's last gate."""
        return self.evidence or self.progress.evidence
