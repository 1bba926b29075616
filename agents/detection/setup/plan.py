"""The set-up plan of a repository: which steps install what its tests need, and which tools those steps need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

HOME = "/home/agent"
"""HOME of every command in the sandbox: tools and caches that a set-up makes lie below it."""

VENV = f"{HOME}/venv"
"""The one virtual environment of a project: outside of its checkout, so that nothing of it is ever committed."""

TOOLS = f"{HOME}/.tools"
"""Package managers that a step installs for itself; `bin` below it is in PATH."""

TEST_NAMES = ("test", "tests", "testing", "ci", "dev", "develop", "development")
"""Names of extras, groups and requirement files that hold what tests need, the most telling first."""


class SetupStep(BaseModel):
    """One shell command of a set-up."""

    model_config = ConfigDict(frozen=True)

    command: str
    directory: str = ""
    """Relative to the root of the repository; empty for the root."""
    reason: str
    """The file that asks for the step, and for which purpose."""


class Requirement(BaseModel):
    """A program that set-up or tests call, with the version that the repository asks for."""

    model_config = ConfigDict(frozen=True)

    tool: str
    version: str = ""
    """As the repository writes it; empty where any will do."""
    reason: str
    remedy: str
    """The line that helps a person whose machine lacks it."""


class SetupPlan(BaseModel):
    """Everything that must happen before a project's tests can run."""

    model_config = ConfigDict(frozen=True)

    steps: list[SetupStep] = Field(default_factory=list)
    requirements: list[Requirement] = Field(default_factory=list)
    key_files: list[str] = Field(default_factory=list)
    """Paths whose contents decide what the set-up installs: a change of one makes another environment."""
    env: dict[str, str] = Field(default_factory=dict)
    """Variables of set-up and tests."""
    search_path: list[str] = Field(default_factory=list)
    """Directories that come first in PATH, in this order."""
    hosts: list[str] = Field(default_factory=list)
    """Names that the set-up must reach: the registries of the package managers, and hosts that lock files name."""
    notes: list[str] = Field(default_factory=list)
    """What was assumed or left out, a sentence each."""


@dataclass(frozen=True)
class Project:
    """One directory of a repository as a finder of set-up steps sees it."""

    directory: str
    """Relative to the root; empty for the root."""
    texts: Mapping[str, str]
    """Texts of files that stand in the directory or below, by path relative to it."""
    paths: Sequence[str]
    """All paths below the directory, relative to it."""
    top: frozenset[str] = field(default_factory=frozenset)
    """Names of the files that stand directly in the directory."""

    def has(self, *names: str) -> bool:
        """Whether one of these files stands directly in the directory."""
        return any(name in self.top for name in names)

    def text(self, name: str) -> str:
        """The text of a file; empty where there is none."""
        return self.texts.get(name, "")

    def step(self, command: str, reason: str) -> SetupStep:
        """Make a step that runs in this directory."""
        return SetupStep(command=command, directory=self.directory, reason=reason)

    def path(self, name: str) -> str:
        """The path of a file from the root of the repository."""
        return f"{self.directory}/{name}" if self.directory else name


def named_for_tests(names: Sequence[str]) -> list[str]:
    """The names of extras or groups that hold what tests need, in the order of `TEST_NAMES`."""
    by_plain = {name.lower().replace("_", "-"): name for name in names}
    return [by_plain[name] for name in TEST_NAMES if name in by_plain]
