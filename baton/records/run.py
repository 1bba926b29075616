"""The records that people and programs see: runs, tasks, decisions, evidence, errors. One model in, one out.

These names are API. `show --json`, `state.json`, `decisions.json`, signals, updates and queries are made of them,
so a field is added here, never renamed.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from baton.records.base import Contract as Contract
from baton.records.base import Count as Count
from baton.records.base import Moment as Moment
from baton.records.base import Seconds as Seconds
from baton.records.base import ShortText as ShortText
from baton.records.base import StrictContract as StrictContract
from baton.records.base import Usage as Usage
from baton.records.base import Usd as Usd
from baton.records.issue import GitHubIssue


class RunStatus(StrEnum):
    """The phases of a run; also the values of the search attribute `BatonStatus`."""

    PLANNING = "planning"
    WORKING = "working"
    WAITING = "waiting"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen in the run."""
        return self in (RunStatus.DONE, RunStatus.FAILED, RunStatus.STOPPED)


class TaskState(StrEnum):
    """Where a task stands. `waiting` means: on a person's decision."""

    PENDING = "pending"
    WORKING = "working"
    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether the task will not move again."""
        return self in (TaskState.DONE, TaskState.SKIPPED, TaskState.FAILED, TaskState.STOPPED)

    @property
    def words(self) -> str:
        """As it is said to people, on GitHub and in the Web UI."""
        said = {"pending": "waits for its turn", "working": "at work", "waiting": "waits for a decision"}
        return said.get(self.value, self.value)


class DecisionState(StrEnum):
    """Where a question to a person stands."""

    OPEN = "open"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"


Maker = Literal["backend", "frontend"]
"""The roles that a plan may give a task to."""

ROLES = ("orchestrator", "backend", "frontend", "tester", "reviewer")
"""The five roles, in the order of the pipeline."""


class Evidence(Contract):
    """What the gate saw: a command, run by the engine on an exact commit. The exit code is the verdict."""

    commit: str
    command: str | None = None
    """None where the repository has no tests that the engine could find: nothing was run."""
    exit_code: int | None = None
    log_digest: str = ""
    """`sha256:` and the digest of the complete log."""
    log_tail: str = ""
    """The end of the log, bounded and redacted. Empty in the history of a workflow: there `commit` and the round say
    where the store has it."""
    failure_class: str = ""
    """The known class of a red result (`agents.failure_classifier`), from the log; empty for a green one."""
    seconds: float = 0.0
    timed_out: bool = False
    sandboxed: bool = True
    binds: list[str] = Field(default_factory=list)
    """Directories of the machine that the command could read besides, as `baton.toml` asks and a person allows."""
    not_shown: list[str] = Field(default_factory=list)
    """A sentence for each directory that was asked for and was not there."""
    exceeded: str = ""
    """Which bound of the machine set-up or tests met (memory, processes, disk), in words; empty where none."""
    network: list[str] = Field(default_factory=list)
    """What the commands reached by an open network, and what they were refused, in sentences."""

    @property
    def green(self) -> bool:
        """Whether nothing speaks against the commit: the command succeeded, or there is none to run."""
        return self.command is None or self.exit_code == 0


class GateDocument(Contract):
    """The part of `Evidence` that stands in the run's document."""

    commit: str
    command: str | None = None
    exit_code: int | None = None
    log_digest: str = ""
    binds: list[str] = Field(default_factory=list)
    """Directories of the machine that the command could read besides."""

    @classmethod
    def of(cls, evidence: Evidence) -> "GateDocument":
        """The part of the evidence that the document has."""
        return cls(**evidence.model_dump(include=set(cls.model_fields)))


class ErrorRecord(Contract):
    """One entry of `errors` in `state.json`; exactly these fields (the owner's specification)."""

    timestamp: Moment
    agent: str
    task: str
    error: str
    context: dict[str, str] = Field(default_factory=dict)
    recovery_attempted: str = ""
    resolution: str = ""


class Decision(Contract):
    """A question to a person. The engine reminds, and never guesses."""

    id: str
    task_id: str | None = None
    question: str
    choices: list[str]
    state: DecisionState = DecisionState.OPEN
    choice: str | None = None
    note: str = ""
    by: str = ""
    commit: str | None = None
    """The commit the question is about; an answer is void when it has moved."""
    default: str | None = None
    deadline: Moment | None = None
    opened_at: Moment | None = None
    answered_at: Moment | None = None
    error_type: str = ""
    unit: Literal["", "usd", "turns", "seconds"] | None = None
    """Of the cap that `raise` raises: an amount in the note must be in it. Empty: the decision is about no cap; None:
    nobody says."""
    attempted: list[str] = Field(default_factory=list)
    suggestions: list[str] = Field(default_factory=list)
    reminders: int = 0


class Decide(StrictContract):
    """Input of the signal `decide` and the update `submit_decision`."""

    decision_id: str
    choice: str
    note: str = ""
    by: str = ""
    commit: str = ""
    """What the person looked at (its beginning will do): the answer is void where the decision is about another."""


class Guide(StrictContract):
    """Input of the signal `guide`: a message to the running agents, taken in at their next turn."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    task_id: str | None = None


class Limits(Contract):
    """Bounds of a run. None means: not bounded."""

    usd: Usd | None = None
    """Of the whole run."""
    usd_per_task: Usd | None = None
    usd_per_session: Usd | None = None
    turns: Count = 80
    """Turns of one session."""
    role_turns: dict[str, int] = Field(default_factory=dict)
    """Fewer turns for a role, where its file says so (`maxTurns`)."""
    turns_per_task: Count | None = None
    turns_per_run: Count | None = None
    usd_per_day: Usd | None = None
    """Of a UTC day, over all runs of a home; what the settings say holds beside it."""
    turns_per_day: Count | None = None
    rounds: int = Field(default=3, ge=1, le=10)
    parallel: int = Field(default=3, ge=1, le=32)
    wall_clock_seconds: Seconds | None = None

    def turns_of(self, role: str) -> int:
        """Turns of one session of a role."""
        return min(self.turns, self.role_turns.get(role, self.turns))


Fallback = Literal["retry", "skip", "abort"]
"""What may be chosen in a person's place once a deadline has passed: only what every decision offers."""


class DecisionPolicy(Contract):
    """How long a decision waits. Without a deadline, as long as it takes."""

    default: Fallback | None = None
    deadline_seconds: Seconds | None = None
    """From the moment it is opened; then `default` is taken, where there is one."""
    remind_seconds: Seconds = 86_400.0
    """Until the first reminder; each further one takes twice as long."""


class Fork(Contract):
    """Where a run takes over from another one of the same repository."""

    run: str
    task: str = ""
    """Empty: after the plan, so that all tasks are done anew."""
    session: str = ""
    """`<round>-<role>`; empty: the task's first."""
    turn: int = Field(default=0, ge=0)
    """The last turn that is kept; 0: the session begins anew."""


class RunRequest(Contract):
    """Input of the workflow `Pipeline`: what to change, and where."""

    task: str = Field(min_length=1, max_length=60_000)
    repo: str
    """An absolute path or a URL, without credentials."""
    base: str | None = None
    """Branch, tag or commit to start from; None is the repository's HEAD."""
    run: str = ""
    """The run's id; the workflow id where it is empty."""
    usd: Usd | None = None
    usd_per_task: Usd | None = None
    usd_per_session: Usd | None = None
    turns: Count | None = None
    turns_per_task: Count | None = None
    turns_per_run: Count | None = None
    usd_per_day: Usd | None = None
    turns_per_day: Count | None = None
    rounds: int | None = Field(default=None, ge=1, le=10)
    parallel: int | None = Field(default=None, ge=1, le=32)
    wall_clock_seconds: Seconds | None = None
    models: dict[str, str] = Field(default_factory=dict)
    """Model alias or id by role, before settings and agent files."""
    decision_default: Fallback | None = None
    decision_deadline_seconds: Seconds | None = None
    fork: Fork | None = None
    publish: bool = True
    started_by: str = ""
    scripted_model: bool = False
    """Whether a stand-in answers instead of Claude; said wherever the run is shown."""
    github: GitHubIssue | None = None
    """The issue that the run works for; None for a run that has nothing to do with GitHub."""


class RoundDocument(Contract):
    """What a round of a task has come to so far."""

    round: int
    tester: str = ""
    """`pass` or `fail`; empty until the tester has handed off."""
    gate: GateDocument | None = None
    reviewer: str = ""
    """`approve` or `request_changes`; empty until the reviewer has handed off."""
    blocking: int = 0
    """Blocking findings of the review."""


class TaskDocument(Contract):
    """A task in the run's document."""

    id: str
    title: str
    role: str
    state: TaskState = TaskState.PENDING
    rounds: int = 0
    cost_usd: float = 0.0
    commit: str | None = None
    depends_on: list[str] = Field(default_factory=list)
    stage: str = ""
    """What happens now, for people: a role, `gate` or `merge`."""
    turns: int = 0
    outcomes: list[RoundDocument] = Field(default_factory=list)
    """What its rounds have come to, the first one first."""


class RunDocument(Contract):
    """What `run --json`, `demo --json` and `show RUN --json` print, and the query `state` answers."""

    run: str
    status: RunStatus
    repo: str
    base_commit: str | None = None
    branch: str | None = None
    head_commit: str | None = None
    cost_usd: float = 0.0
    turns: int = 0
    tasks: list[TaskDocument] = Field(default_factory=list)
    decisions: list[Decision] = Field(default_factory=list)
    gate: GateDocument | None = None
    errors: list[ErrorRecord] = Field(default_factory=list)
    web_ui: str | None = None
    task: str = ""
    """The change that was asked for, shortened."""
    notes: list[str] = Field(default_factory=list)
    """What a reader must know: uncommitted changes not seen, no tests found, no sandbox, a scripted model."""
    started_at: Moment | None = None
    ended_at: Moment | None = None
    cost_by_role: dict[str, float] = Field(default_factory=dict)
    cost_by_model: dict[str, float] = Field(default_factory=dict)
    unconfirmed_usd: float = 0.0
    """The most that calls may have cost beyond `cost_usd`, whose end nobody saw; known when the run has ended."""
    models: dict[str, str] = Field(default_factory=dict)
    """Model id by role."""
    pull_request: str | None = None
    """Link to the pull request of a run that works for an issue."""
    forked_from: Fork | None = None
    waiting_for: dict[str, str] = Field(default_factory=dict)
    """What is waited for, by task, without a decision being open: the clock, a host, GitHub, a review. `plan` is the
    orchestrator, `run` the run itself."""
    sandboxed: bool | None = None
    """Whether commands of agents and tests run in isolation; None until the run has begun."""
    left_out: list[str] = Field(default_factory=list)
    """Paths that agents wrote and that the branch does not have, sorted; the notes say why, and how many more."""
    binds: list[str] = Field(default_factory=list)
    """Directories of the machine that those commands may read: asked for by `baton.toml`, allowed by a person."""
