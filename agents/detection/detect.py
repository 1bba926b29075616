"""What a repository is built with, told from its manifests and paths alone. Nothing is executed, nothing raises."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field

from agents.detection import languages as stacks
from agents.detection.manifests import Sources
from baton.text.truncation import cut, first

MANIFESTS = (
    "pyproject.toml",
    "requirements*.txt",
    "setup.cfg",
    "setup.py",
    "Pipfile",
    "tox.ini",
    "pytest.ini",
    "package.json",
    "go.mod",
    "Cargo.toml",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "Gemfile",
    "composer.json",
    "*.csproj",
    "*.fsproj",
    "Makefile",
    "docker-compose.yml",
    "docker-compose.yaml",
    "compose.yml",
    "compose.yaml",
    "schema.prisma",
    "alembic.ini",
)
"""File names (patterns) whose text `detect` can use; `wanted` picks the paths to read."""

MAX_MANIFEST = 256_000
"""Characters of one manifest that are looked at; a longer file is left out and noted."""

_PATTERNS = tuple(name for name in MANIFESTS if "*" in name)
_MAX_WANTED = 60
_MAX_DEPTH = 4
_MAX_STACKS = 12
_VENDORED = frozenset(
    {"node_modules", "vendor", ".venv", "venv", "dist", "build", "target", ".git", "site-packages", "third_party"}
)
_PLAIN = re.compile(r"[^\w .,:;/&|=@+()'\"#*<>~^$!?\[\]-]")


class Stack(BaseModel):
    """One language in one directory, with what belongs to it."""

    model_config = ConfigDict(frozen=True)

    directory: str = ""
    """Relative to the root; empty for the root."""
    language: str
    framework: str | None = None
    database: list[str] = Field(default_factory=list)
    orm: str | None = None
    validation: str | None = None
    authentication: list[str] = Field(default_factory=list)
    tests: str | None = None
    test_command: str | None = None
    """To be run in `directory`."""


class Technology(BaseModel):
    """What the engine found out about a repository; the first stack is the main one."""

    model_config = ConfigDict(frozen=True)

    stacks: list[Stack] = Field(default_factory=list)
    test_command: str | None = None
    """Shell text for the root of the repository; None where no tests were found."""
    notes: list[str] = Field(default_factory=list)
    """What was left out, and other test commands that exist."""

    @property
    def language(self) -> str | None:
        """Language of the main stack."""
        return self.stacks[0].language if self.stacks else None

    @property
    def framework(self) -> str | None:
        """The first framework of any stack."""
        return next((stack.framework for stack in self.stacks if stack.framework), None)

    @property
    def database(self) -> list[str]:
        """Databases of all stacks."""
        return _unique(name for stack in self.stacks for name in stack.database)

    @property
    def orm(self) -> str | None:
        """The first ORM or query builder of any stack."""
        return next((stack.orm for stack in self.stacks if stack.orm), None)

    @property
    def validation(self) -> str | None:
        """The first validation library of any stack."""
        return next((stack.validation for stack in self.stacks if stack.validation), None)

    @property
    def authentication(self) -> list[str]:
        """Authentication libraries of all stacks."""
        return _unique(name for stack in self.stacks for name in stack.authentication)

    @property
    def tests(self) -> str | None:
        """The first test framework of any stack."""
        return next((stack.tests for stack in self.stacks if stack.tests), None)


def wanted(paths: Iterable[str]) -> list[str]:
    """Which of a repository's paths to hand to `detect` with their text: manifests, those near the root first."""
    manifests = [path for path in paths if _is_manifest(path)]
    return sorted(manifests, key=lambda path: (path.count("/"), path))[:_MAX_WANTED]


def detect(paths: Sequence[str], read: Mapping[str, str]) -> Technology:
    """Tell the technology from all paths of a repository and the text of its manifests. Never raises on content."""
    notes = [f"{path} is too long and was not looked at." for path in read if len(read[path]) > MAX_MANIFEST]
    texts = {path: text.removeprefix("\ufeff") for path, text in read.items() if len(text) <= MAX_MANIFEST}
    usable = [path for path in paths if not _VENDORED.intersection(path.split("/")[:-1])]
    by_directory: dict[str, dict[str, str]] = {}
    for path in sorted(texts, key=lambda path: (path.count("/"), path)):
        parent, _, name = path.rpartition("/")
        if _is_manifest(path):
            by_directory.setdefault(parent, {})[name] = texts[path]
    shared = _databases_of_services(texts)
    found: list[Stack] = []
    for directory, manifests in by_directory.items():
        sources = Sources(manifests, _below(usable, directory))
        for finder in stacks.FINDERS:
            details = finder(sources)
            # A manifest below the root that adds neither a framework nor tests is part of the stack above it.
            if details is not None and (not directory or details.framework or details.tests or not found):
                databases = _unique([*details.database, *(shared if not found else [])])
                fields = {**details.as_fields(), "database": databases}
                found.append(Stack(directory=directory, **fields))
    if not found and (stack := _from_suffixes(usable, shared)):
        found.append(stack)
    command, more = _test_command(found[:_MAX_STACKS], texts.get("Makefile", ""))
    if len(found) > _MAX_STACKS:
        notes.append(f"{len(found) - _MAX_STACKS} more parts of the repository were not looked at.")
    return Technology(stacks=found[:_MAX_STACKS], test_command=command, notes=[*notes, *more])


def describe(technology: Technology) -> str:
    """The technology in words, for prompts; bounded, and free of markup that a manifest could smuggle in."""
    if not technology.stacks:
        lines = ["Nothing was recognised from the manifests; look at the repository before you choose anything."]
    else:
        lines = [_describe_stack(stack) for stack in technology.stacks]
    if technology.test_command:
        lines.append(f"The engine tests with: {_plain(technology.test_command)}")
    else:
        lines.append("The engine found no test command.")
    lines.extend(_plain(note) for note in first(technology.notes, 5))
    return "\n".join(f"- {line}" for line in lines)


def _describe_stack(stack: Stack) -> str:
    facts = {
        "framework": stack.framework,
        "database": ", ".join(stack.database),
        "ORM or query builder": stack.orm,
        "validation": stack.validation,
        "authentication": ", ".join(stack.authentication),
        "tests": stack.tests,
    }
    known = "; ".join(f"{name}: {_plain(value)}" for name, value in facts.items() if value)
    where = f" in {_plain(stack.directory)}/" if stack.directory else ""
    return f"{stack.language}{where}" + (f" ({known})" if known else "")


def _plain(text: str) -> str:
    return _PLAIN.sub("?", cut(" ".join(text.split()), 200))


def _is_manifest(path: str) -> bool:
    parts = path.split("/")
    if len(parts) > _MAX_DEPTH or _VENDORED.intersection(parts[:-1]):
        return False
    return parts[-1] in MANIFESTS or any(fnmatchcase(parts[-1], pattern) for pattern in _PATTERNS)


def _below(paths: Sequence[str], directory: str) -> list[str]:
    prefix = f"{directory}/" if directory else ""
    return [path[len(prefix) :] for path in paths if path.startswith(prefix)]


def _databases_of_services(texts: Mapping[str, str]) -> list[str]:
    """Databases that compose files and Prisma's schema name; they belong to no language."""
    names = [name for path, text in texts.items() for name in stacks.databases_of_file(PurePosixPath(path).name, text)]
    return _unique(names)


def _from_suffixes(paths: Sequence[str], databases: list[str]) -> Stack | None:
    """Without any manifest: the language with the most files, and its tests where files look like tests."""
    counted: dict[str, int] = {}
    for path in paths:
        language = stacks.LANGUAGE_OF_SUFFIX.get(PurePosixPath(path).suffix.lower())
        if language:
            counted[language] = counted.get(language, 0) + 1
    if not counted:
        return None
    language = max(sorted(counted), key=lambda name: counted[name])
    tests, command = stacks.tests_without_manifest(language, paths)
    return Stack(language=language, database=databases, tests=tests, test_command=command)


def _test_command(found: Sequence[Stack], makefile: str) -> tuple[str | None, list[str]]:
    """The command of the whole repository: what its Makefile calls a test, else the main stack's; others are noted."""
    commands = [
        (f"cd {shlex.quote(stack.directory)} && " if stack.directory else "") + stack.test_command
        for stack in sorted(found, key=lambda stack: stack.directory.count("/") + bool(stack.directory))
        if stack.test_command
    ]
    if re.search(r"^test[ \t]*:(?![=:])", makefile, re.MULTILINE):
        return "make test", []
    others = commands[1:]
    notes = (
        [f"Other tests exist: {'; '.join(others)}. Set [gate] test in baton.toml to run them too."] if others else []
    )
    return (commands[0] if commands else None), notes


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
