"""The records that people and programs see: the request of a run, its document, decisions, evidence and errors.

Field names are API: `show --json`, `state.json`, `decisions.json`, signals, updates and queries consist of these
records. A field is added, never renamed.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from baton.records.base import Count as Count
from baton.records.base import Moment as Moment
from baton.records.base import Record as Record
from baton.records.base import Seconds as Seconds
from baton.records.base import ShortText as ShortText
from baton.records.base import StrictRecord as StrictRecord
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
        """Whether the run has ended."""
        return self in (RunStatus.DONE, RunStatus.FAILED, RunStatus.STOPPED)


class TaskState(StrEnum):
    """The state of a task; `waiting` means that it waits for a person's decision."""

    PENDING = "pending"
    WORKING = "working"
    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether the task has ended."""
        return self in (TaskState.DONE, TaskState.SKIPPED, TaskState.FAILED, TaskState.STOPPED)

    @property
    def display_text(self) -> str:
        """The state as people read it on GitHub and in the Web UI."""
        said = {"pending": "waits for its turn", "working": "at work", "waiting": "waits for a decision"}
        return said.get(self.value, self.value)


class DecisionState(StrEnum):
    """The state of a question to a person."""

    OPEN = "open"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"


Maker = Literal["backend", "frontend"]
"""A role that a plan may assign a task to."""

ROLES = ("orchestrator", "backend", "frontend", "tester", "reviewer")
"""The five roles, in the order of the pipeline."""


class Evidence(Record):
    """The result of a gate: a command that the engine ran on an exact commit. Its exit code is the verdict."""

    commit: str
    command: str | None = None
    """None if the engine found no tests in the repository; then no command was run."""
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
    """Directories of the machine that the command could read: requested by `baton.toml`, granted by a person."""
    not_shown: list[str] = Field(default_factory=list)
    """A sentence for each directory that was asked for and did not exist."""
    exceeded: str = ""
    """A sentence on the limit that set-up or tests reached (memory, processes, disk); empty if none."""
    network: list[str] = Field(default_factory=list)
    """Sentences on the hosts that the commands reached by an open network, and those that were refused."""

    @property
    def is_green(self) -> bool:
        """Whether the commit passes: the command succeeded, or there is none to run."""
        return self.command is None or self.exit_code == 0


class GateDocument(Record):
    """The part of `Evidence` that the run's document contains."""

    commit: str
    command: str | None = None
    exit_code: int | None = None
    log_digest: str = ""
    binds: list[str] = Field(default_factory=list)
    """Directories of the machine that the command could read."""

    @classmethod
    def from_evidence(cls, evidence: Evidence) -> "GateDocument":
        """Return the document's part of the evidence."""
        return cls(**evidence.model_dump(include=set(cls.model_fields)))


class ErrorRecord(Record):
    """One entry of `errors` in `state.json`. Its fields are fixed: none is added or removed."""

    timestamp: Moment
    agent: str
    task: str
    error: str
    context: dict[str, str] = Field(default_factory=dict)
    recovery_attempted: str = ""
    resolution: str = ""


class Decision(Record):
    """A question to a person. The engine reminds the person, and never chooses an answer by itself."""

    id: str
    task_id: str | None = None
    question: str
    choices: list[str]
    state: DecisionState = DecisionState.OPEN
    choice: str | None = None
    note: str = ""
    by: str = ""
    commit: str | None = None
    """The commit that the question is about; an answer that names another commit is refused."""
    default: str | None = None
    deadline: Moment | None = None
    opened_at: Moment | None = None
    answered_at: Moment | None = None
    error_type: str = ""
    unit: Literal["", "usd", "turns", "seconds"] | None = None
    """Unit of the cap that `raise` raises, and of the note's amount. Empty: the decision has no cap. None: unknown."""
    attempted: list[str] = Field(default_factory=list)
    suggestions: list[str] = Field(default_factory=list)
    reminders: int = 0


class Decide(StrictRecord):
    """Input of the signal `decide` and the update `submit_decision`."""

    decision_id: str
    choice: str
    note: str = ""
    by: str = ""
    commit: str = ""
    """The commit that the person has seen, or its beginning; the answer is refused if the decision is about another."""


class Guide(StrictRecord):
    """Input of the signal `guide`: a message to the running agents, which they read at their next turn."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    task_id: str | None = None


class Bounds(Record):
    """Limits that a request, `baton.toml` and the settings can name; None means not named."""

    usd: Usd | None = None
    """Of the whole run."""
    usd_per_task: Usd | None = None
    usd_per_session: Usd | None = None
    turns: Count | None = None
    """Turns of one session."""
    turns_per_task: Count | None = None
    turns_per_run: Count | None = None
    usd_per_day: Usd | None = None
    """Of a UTC day, over all runs of a home; the maximum of the settings applies, too."""
    turns_per_day: Count | None = None
    rounds: int | None = Field(default=None, ge=1, le=10)
    parallel: int | None = Field(default=None, ge=1, le=32)
    wall_clock_seconds: Seconds | None = None

    def named(self) -> dict[str, float]:
        """Return the limits that are named, by name."""
        values = {name: getattr(self, name) for name in Bounds.model_fields}
        return {name: value for name, value in values.items() if value is not None}


class RunLimits(Bounds):
    """Maximums of a run; None means no maximum."""

    turns: Count = 80
    role_turns: dict[str, int] = Field(default_factory=dict)
    """Turns of one session by role, from `maxTurns` in the role's file; it only lowers `turns`."""
    rounds: int = Field(default=3, ge=1, le=10)
    parallel: int = Field(default=3, ge=1, le=32)

    def turns_of(self, role: str) -> int:
        """Return the maximum of turns of one session of a role."""
        return min(self.turns, self.role_turns.get(role, self.turns))


Fallback = Literal["retry", "skip", "abort"]
"""A default choice that a person has set for decisions whose deadline passes: one that every decision offers."""


class DecisionPolicy(Record):
    """Deadline, default and reminders of decisions. Without a deadline a decision waits without end."""

    default: Fallback | None = None
    deadline_seconds: Seconds | None = None
    """From the opening of a decision; then `default` is chosen, if there is one."""
    remind_seconds: Seconds = 86_400.0
    """Until the first reminder; each further one takes twice as long."""


class Fork(Record):
    """The point of another run of the same repository from which a forked run continues."""

    run: str
    task: str = ""
    """Empty: after the plan; all tasks are done again."""
    session: str = ""
    """`<round>-<role>`; empty: the task's first."""
    turn: int = Field(default=0, ge=0)
    """The last turn that is kept; 0: the session begins again."""


class RunRequest(Bounds):
    """Input of the workflow `Pipeline`: the change, the repository, and the limits."""

    task: str = Field(min_length=1, max_length=60_000)
    repo: str
    """An absolute path or a URL, without credentials."""
    base: str | None = None
    """Branch, tag or commit to start from; None is the repository's HEAD."""
    run: str = ""
    """The run's id; if empty, the workflow id."""
    models: dict[str, str] = Field(default_factory=dict)
    """Model alias or id by role, before settings and agent files."""
    decision_default: Fallback | None = None
    decision_deadline_seconds: Seconds | None = None
    fork: Fork | None = None
    publish: bool = True
    started_by: str = ""
    scripted_model: bool = False
    """Whether the stand-in answers instead of Claude; every view of the run says so."""
    github: GitHubIssue | None = None
    """The issue that the run works for; None for a run without GitHub."""


class RoundDocument(Record):
    """The results of a round of a task so far."""

    round: int
    tester: str = ""
    """`pass` or `fail`; empty until the tester has handed off."""
    gate: GateDocument | None = None
    reviewer: str = ""
    """`approve` or `request_changes`; empty until the reviewer has handed off."""
    blocking: int = 0
    """Blocking findings of the review."""


class TaskDocument(Record):
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
    """The current stage, for people: a role, `gate` or `merge`."""
    turns: int = 0
    outcomes: list[RoundDocument] = Field(default_factory=list)
    """The results of its rounds, in order."""


class RunDocument(Record):
    """The run's document: `run --json`, `demo --json` and `show RUN --json` print it, the query `state` returns it."""

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
    """The requested change, shortened."""
    notes: list[str] = Field(default_factory=list)
    """Notes for the person, such as: uncommitted changes not seen, no tests found, no sandbox, a scripted model."""
    started_at: Moment | None = None
    ended_at: Moment | None = None
    cost_by_role: dict[str, float] = Field(default_factory=dict)
    cost_by_model: dict[str, float] = Field(default_factory=dict)
    unconfirmed_usd: float = 0.0
    """Maximum cost, beyond `cost_usd`, of calls without a known end; set when the run has ended."""
    models: dict[str, str] = Field(default_factory=dict)
    """Model id by role."""
    pull_request: str | None = None
    """Link to the pull request of a run that works for an issue."""
    forked_from: Fork | None = None
    waiting_for: dict[str, str] = Field(default_factory=dict)
    """By task, the reason of a wait that is no decision: the clock, a host, GitHub, a review. The key `plan` stands for
    the orchestrator, `run` for the run itself."""
    sandboxed: bool | None = None
    """Whether commands of agents and tests run in isolation; None until the run has begun."""
    left_out: list[str] = Field(default_factory=list)
    """Paths that agents wrote and that the branch does not have, sorted; the notes say why, and how many more."""
    binds: list[str] = Field(default_factory=list)
    """Directories of the machine that those commands may read: requested by `baton.toml`, granted by a person."""
