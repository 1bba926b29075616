"""The set-up plan of a repository: the steps that install the dependencies of its tests, and the tools they need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

HOME = "/home/agent"
"""HOME of every command in the sandbox, with the tools and caches of a set-up."""

VENV = f"{HOME}/venv"
"""The virtual environment of a project, outside of its checkout, so that its files are never committed."""

TOOLS = f"{HOME}/.tools"
"""Package managers that a step installs for itself; `bin` below it is in PATH."""

TEST_NAMES = ("test", "tests", "testing", "ci", "dev", "develop", "development")
"""Names of extras, groups and requirement files with the dependencies of tests, the most specific first."""


class SetupStep(BaseModel):
    """One shell command of a set-up."""

    model_config = ConfigDict(frozen=True)

    command: str
    directory: str = ""
    """Relative to the root of the repository; empty for the root."""
    reason: str
    """The file that requires the step, and the purpose."""


class Requirement(BaseModel):
    """A program that set-up or tests call, with the version that the repository requests."""

    model_config = ConfigDict(frozen=True)

    tool: str
    version: str = ""
    """The version as the repository writes it; empty for any version."""
    reason: str
    remedy: str
    """The remedy for a person if the machine lacks the program."""


class SetupPlan(BaseModel):
    """The preparation of a project's tests: steps, tools, environment and hosts."""

    model_config = ConfigDict(frozen=True)

    steps: list[SetupStep] = Field(default_factory=list)
    requirements: list[Requirement] = Field(default_factory=list)
    key_files: list[str] = Field(default_factory=list)
    """Paths with contents that decide on the set-up: a change of one creates another environment."""
    env: dict[str, str] = Field(default_factory=dict)
    """Variables of set-up and tests."""
    search_path: list[str] = Field(default_factory=list)
    """Directories that come first in PATH, in order."""
    hosts: list[str] = Field(default_factory=list)
    """Names that the set-up must reach: the registries of the package managers, and hosts that lock files name."""
    notes: list[str] = Field(default_factory=list)
    """Sentences about assumptions and omissions."""


@dataclass(frozen=True)
class ProjectFiles:
    """The files of one directory of a repository, for the finders of set-up steps."""

    directory: str
    """Relative to the root; empty for the root."""
    texts: Mapping[str, str]
    """Texts of files in the directory or below it, by path relative to it."""
    paths: Sequence[str]
    """All paths below the directory, relative to it."""
    top: frozenset[str] = field(default_factory=frozenset)
    """Names of the files directly in the directory."""

    def has_file(self, *names: str) -> bool:
        """Whether one of these files is directly in the directory."""
        return any(name in self.top for name in names)

    def read_text(self, name: str) -> str:
        """Return the text of a file; empty if it does not exist."""
        return self.texts.get(name, "")

    def make_step(self, command: str, reason: str) -> SetupStep:
        """Make a step that runs in this directory."""
        return SetupStep(command=command, directory=self.directory, reason=reason)

    def root_path(self, name: str) -> str:
        """Return the path of a file from the root of the repository."""
        return f"{self.directory}/{name}" if self.directory else name


def named_for_tests(names: Sequence[str]) -> list[str]:
    """Return the names of extras or groups with the dependencies of tests, in the order of `TEST_NAMES`."""
    by_plain = {name.lower().replace("_", "-"): name for name in names}
    return [by_plain[name] for name in TEST_NAMES if name in by_plain]
