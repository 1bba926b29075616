"""The technology of a repository, from its manifests and paths alone: no code runs, and no content raises an error."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field

from agents.detection import languages as stacks
from agents.detection.languages import Stack
from agents.detection.manifests import ManifestFiles
from baton.text.truncation import cut_text, first_items

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
"""Patterns of file names whose text `detect` uses; `wanted` selects the paths to read."""

MAX_MANIFEST = 256_000
"""Maximum characters of a manifest; a longer one is left out, and a note says so."""

_PATTERNS = tuple(name for name in MANIFESTS if "*" in name)
_MAX_WANTED = 60
_MAX_DEPTH = 4
_MAX_STACKS = 12
_VENDORED = frozenset(
    {"node_modules", "vendor", ".venv", "venv", "dist", "build", "target", ".git", "site-packages", "third_party"}
)
_PLAIN = re.compile(r"[^\w .,:;/&|=@+()'\"#*<>~^$!?\[\]-]")


class Technology(BaseModel):
    """The detected technology of a repository; the first stack is the main one."""

    model_config = ConfigDict(frozen=True)

    stacks: list[Stack] = Field(default_factory=list)
    test_command: str | None = None
    """Shell text to run in the root of the repository; None if no tests were found."""
    notes: list[str] = Field(default_factory=list)
    """Sentences about manifests that were left out, and about other test commands."""


def wanted_manifests(paths: Iterable[str]) -> list[str]:
    """Return the paths of the manifests that `detect` needs, those near the root first."""
    manifests = [path for path in paths if _is_manifest(path)]
    return sorted(manifests, key=lambda path: (path.count("/"), path))[:_MAX_WANTED]


def detect_technology(paths: Sequence[str], read: Mapping[str, str]) -> Technology:
    """Detect the technology from all paths of a repository and the texts of its manifests by path."""
    notes = [f"{path} is too long and was not read." for path in read if len(read[path]) > MAX_MANIFEST]
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
        sources = ManifestFiles(manifests, _paths_below(usable, directory))
        for finder in stacks.FINDERS:
            stack = finder(sources)
            # A manifest below the root that adds neither a framework nor tests is part of the stack above it.
            if stack is not None and (not directory or stack.framework or stack.tests or not found):
                databases = _unique_names([*stack.database, *(shared if not found else [])])
                found.append(stack.model_copy(update={"directory": directory, "database": databases}))
    if not found and (only := _from_suffixes(usable, shared)):
        found.append(only)
    command, more = _test_command(found[:_MAX_STACKS], texts.get("Makefile", ""))
    if len(found) > _MAX_STACKS:
        notes.append(f"{len(found) - _MAX_STACKS} more parts of the repository were not examined.")
    return Technology(stacks=found[:_MAX_STACKS], test_command=command, notes=[*notes, *more])


def describe_technology(technology: Technology) -> str:
    """Return the technology as text for prompts, bounded and without markup from manifests."""
    if not technology.stacks:
        lines = ["The manifests name no known technology; read the repository before you choose one."]
    else:
        lines = [_describe_stack(stack) for stack in technology.stacks]
    if technology.test_command:
        lines.append(f"The engine tests with: {_plain_text(technology.test_command)}")
    else:
        lines.append("The engine found no test command.")
    lines.extend(_plain_text(note) for note in first_items(technology.notes, 5))
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
    known = "; ".join(f"{name}: {_plain_text(value)}" for name, value in facts.items() if value)
    where = f" in {_plain_text(stack.directory)}/" if stack.directory else ""
    return f"{stack.language}{where}" + (f" ({known})" if known else "")


def _plain_text(text: str) -> str:
    return _PLAIN.sub("?", cut_text(" ".join(text.split()), 200))


def _is_manifest(path: str) -> bool:
    parts = path.split("/")
    if len(parts) > _MAX_DEPTH or _VENDORED.intersection(parts[:-1]):
        return False
    return parts[-1] in MANIFESTS or any(fnmatchcase(parts[-1], pattern) for pattern in _PATTERNS)


def _paths_below(paths: Sequence[str], directory: str) -> list[str]:
    prefix = f"{directory}/" if directory else ""
    return [path[len(prefix) :] for path in paths if path.startswith(prefix)]


def _databases_of_services(texts: Mapping[str, str]) -> list[str]:
    """Return the databases that compose files and Prisma's schema name; they belong to no language."""
    names = [name for path, text in texts.items() for name in stacks.databases_of_file(PurePosixPath(path).name, text)]
    return _unique_names(names)


def _from_suffixes(paths: Sequence[str], databases: list[str]) -> Stack | None:
    """Return the stack of a repository without manifests: the language with the most files, and its tests."""
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
    """Return the test command of the repository (`make test` or the main stack's), and notes on other commands."""
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


def _unique_names(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
