"""The inputs of the first messages, by role."""

import re

from pydantic import BaseModel, ConfigDict, Field

from agents.detection.detect import Technology
from agents.messages.added_lines import added_lines
from agents.reports import MakerReport, ReviewFinding, TesterReport, TestFailure
from baton.records.run import Evidence, Maker
from baton.text.truncation import cut_text

_PUTS_OFF = re.compile(r"\b(?:TODO|FIXME|XXX)\b")


class _BriefInput(BaseModel):
    model_config = ConfigDict(frozen=True)


class _RepositoryInput(_BriefInput):
    submodules: list[str] = Field(default_factory=list)
    """Submodules of the repository, a line each; untrusted text."""


class PlanInput(_RepositoryInput):
    """The input of the orchestrator's first message."""

    task: str
    technology: Technology
    files: list[str]
    """Paths of the repository; only the first ones are shown."""
    notes: list[str] = Field(default_factory=list)
    filters: list[str] = Field(default_factory=list)
    """Lines of `.gitattributes` that put files behind a git filter."""


class MakerFeedback(_BriefInput):
    """The reasons why a task returns to its maker; empty in the first round."""

    findings: list[ReviewFinding] = Field(default_factory=list)
    """Findings of the reviewer; only blocking ones must be fixed."""
    failures: list[TestFailure] = Field(default_factory=list)
    """Failures that the tester found."""
    gate: Evidence | None = None
    """The engine's own test run, if it was red."""
    conflicts: list[str] = Field(default_factory=list)
    """Paths with conflict markers."""
    guidance: list[str] = Field(default_factory=list)
    """Messages and answers of people."""
    notes: list[str] = Field(default_factory=list)
    """Notes of the engine: restored paths, the class of a failure, suggestions."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no reason."""
        return self == MakerFeedback()


class MakerInput(_RepositoryInput):
    """The input of a maker's first message of a round."""

    role: Maker
    title: str
    instructions: str
    acceptance: list[str]
    round: int = 1
    rounds: int = 3
    feedback: MakerFeedback = Field(default_factory=MakerFeedback)
    previous: MakerReport | None = None
    """The maker's report of the previous round."""
    filters: list[str] = Field(default_factory=list)


class TesterInput(_RepositoryInput):
    """The input of a tester's first message of a round."""

    title: str
    instructions: str
    acceptance: list[str]
    files_changed: list[str]
    """Paths by the engine's own comparison, not by a report."""
    needs_testing: list[str]
    role: Maker
    round: int = 1
    rounds: int = 3
    gate: Evidence | None = None
    earlier_failures: list[TestFailure] = Field(default_factory=list)
    earlier_findings: list[ReviewFinding] = Field(default_factory=list)
    guidance: list[str] = Field(default_factory=list)
    filters: list[str] = Field(default_factory=list)


class ReviewerInput(_RepositoryInput):
    """The input of a reviewer's first message: the change and the evidence, without the maker's report."""

    title: str
    acceptance: list[str]
    diff: str
    evidence: Evidence
    tester: TesterReport | None = None
    round: int = 1
    rounds: int = 3
    earlier_findings: list[ReviewFinding] = Field(default_factory=list)
    guidance: list[str] = Field(default_factory=list)
    filters: list[str] = Field(default_factory=list)

    @property
    def left_open(self) -> list[str]:
        """Lines `file: text` that the diff adds and that postpone work."""
        return [
            f"{file}: {cut_text(text.strip(), 200)}" for file, text in added_lines(self.diff) if _PUTS_OFF.search(text)
        ]


class StuckInput(_BriefInput):
    """The input of the orchestrator's first message about an agent that is stuck."""

    title: str
    role: str
    error_type: str
    question: str
    attempted: list[str] = Field(default_factory=list)
    suggestions: list[str] = Field(default_factory=list)
    failure_class: str = ""
    error: str = ""
    evidence: Evidence | None = None
