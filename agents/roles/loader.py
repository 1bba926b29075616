"""The loader of role files: one text, a directory, or the built-in ones. It reports each file that it skips."""

import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path, PurePath

from pydantic import JsonValue

from agents.roles import frontmatter
from agents.roles.definition import DOCUMENTED_FIELDS, EFFORTS, AgentDefinition, Effort
from agents.roles.tool_grants import read_tools
from baton.errors import AgentFileError
from baton.identifiers import content_hash
from baton.records.run import ROLES

_MAX_FILE = 512_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_NAME = 100

_USED = frozenset({"name", "description", "tools", "disallowedTools", "model", "maxTurns", "effort"})
_HARMLESS = frozenset({"color"})


@dataclass(frozen=True)
class LoadedAgent:
    """An agent, with warnings for a person about the reading of its file."""

    definition: AgentDefinition
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AgentFileProblem:
    """A file that defines no agent, with the reason."""

    source: str
    message: str


@dataclass(frozen=True)
class AgentDirectory:
    """The contents of a directory: agents by name, files that define none, and files that are no Markdown."""

    agents: dict[str, LoadedAgent]
    problems: list[AgentFileProblem]
    ignored: list[str] = field(default_factory=list)


def parse_agent(text: str, origin: str) -> LoadedAgent:
    """Read one role file; `origin` is its source, for messages. Raises AgentFileError and no other error."""
    if len(text) > _MAX_FILE:
        raise AgentFileError(f"{origin} is longer than {_MAX_FILE} characters; an agent file is a page of text.")
    try:
        digest = content_hash(text)
    except UnicodeEncodeError as error:
        raise AgentFileError(f"{origin} is not valid Unicode text.") from error
    parts = frontmatter.split_frontmatter(text, origin)
    fields, warnings = parts.fields, list(parts.warnings)
    tools = read_tools(fields, origin, warnings)
    definition = AgentDefinition(
        name=_read_name(fields, origin, warnings),
        description=_read_line(fields, "description", warnings) or "",
        model=_read_line(fields, "model", warnings),
        tools=tools,
        max_turns=_read_max_turns(fields, warnings),
        effort=_read_effort(fields, warnings),
        prompt=parts.body,
        source=origin,
        digest=digest,
        fields={key: value for key, value in fields.items() if key in DOCUMENTED_FIELDS and key not in _USED},
    )
    if not definition.description:
        warnings.append("there is no `description`")
    if not definition.prompt:
        warnings.append("there is no prompt below the frontmatter")
    for key in fields:
        if key not in DOCUMENTED_FIELDS:
            warnings.append(f"the field `{_display_key(key)}` is unknown and was left out")
        elif key not in _USED | _HARMLESS:
            warnings.append(f"`{key}` has no effect in Baton")
    return LoadedAgent(definition, warnings)


def load_directory(path: Path) -> AgentDirectory:
    """Load every `*.md` below a directory; a file that cannot be loaded becomes a problem in the result.

    Raises AgentFileError if the directory itself cannot be read.
    """
    root = path.resolve()
    if not root.is_dir():
        raise AgentFileError(f"{path} is not a directory with agent files.")
    agents: dict[str, LoadedAgent] = {}
    problems: list[AgentFileProblem] = []
    ignored: list[str] = []
    try:
        found = sorted(entry for entry in root.rglob("*") if not entry.is_dir())
    except OSError as error:
        raise AgentFileError(f"{path} cannot be read: {error.strerror}.") from error
    for entry in found:
        source = str(path / entry.relative_to(root))
        if entry.suffix.lower() != ".md":
            ignored.append(source)
            continue
        try:
            agent = parse_agent(_read_file(entry, root, source), source)
        except AgentFileError as error:
            problems.append(AgentFileProblem(source, str(error)))
            continue
        name = agent.definition.name
        if name in agents:
            first = agents[name].definition.source
            problems.append(
                AgentFileProblem(source, f"{source}: the name `{name}` is taken by {first}; this file is not used.")
            )
        else:
            agents[name] = agent
    return AgentDirectory(agents, problems, ignored)


@cache
def builtin_agent(role: str) -> LoadedAgent:
    """Return the built-in agent of a role. Raises AgentFileError for an unknown role."""
    return parse_agent(builtin_text(role), f"built in ({role}.md)")


def builtin_text(role: str) -> str:
    """Return the text of a built-in role file, to which a run is pinned. Raises AgentFileError."""
    if role not in ROLES:
        raise AgentFileError(f"There is no role `{role}`; the roles are {', '.join(ROLES)}.")
    return resources.files("agents").joinpath(f"definitions/{role}.md").read_text(encoding="utf-8")


def builtin_agents() -> dict[str, LoadedAgent]:
    """Return all built-in agents by role, in the order of the pipeline."""
    return {role: builtin_agent(role) for role in ROLES}


def _read_file(entry: Path, root: Path, source: str) -> str:
    try:
        # A link could show any file of this machine, and a pipe would block.
        if not entry.resolve().is_relative_to(root) or not entry.is_file():
            raise AgentFileError(f"{source} is not a plain file of this directory; it was not read.")
        if entry.stat().st_size > 4 * _MAX_FILE:
            raise AgentFileError(f"{source} is longer than {_MAX_FILE} characters; an agent file is a page of text.")
        return entry.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise AgentFileError(f"{source} is not UTF-8 text; save it as UTF-8.") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a symlink loop, on Python 3.11 and 3.12
        raise AgentFileError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _read_name(fields: dict[str, JsonValue], origin: str, warnings: list[str]) -> str:
    name = _read_line(fields, "name", warnings)
    if not name:
        name = _CONTROL.sub(" ", PurePath(origin).stem).strip()
        if not name:
            raise AgentFileError(f"{origin}: there is no `name` in the frontmatter.")
        warnings.append(f"there is no `name`; the file's name is used: {name}")
    if len(name) > _MAX_NAME:
        raise AgentFileError(f"{origin}: the name is longer than {_MAX_NAME} characters.")
    return name


def _read_line(fields: dict[str, JsonValue], key: str, warnings: list[str]) -> str | None:
    """Return a field as one line of text; None if it is missing or no text."""
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        warnings.append(f"`{key}` is not text and was left out")
        return None
    return " ".join(_CONTROL.sub(" ", value).split()) or None


def _read_max_turns(fields: dict[str, JsonValue], warnings: list[str]) -> int | None:
    value = fields.get("maxTurns")
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}", value.strip()) and int(value) > 0:
        return int(value)
    warnings.append("`maxTurns` is not a positive number and was left out")
    return None


def _read_effort(fields: dict[str, JsonValue], warnings: list[str]) -> Effort | None:
    value = fields.get("effort")
    if value is None:
        return None
    for effort in EFFORTS:
        if value == effort:
            return effort
    warnings.append(f"`effort` is none of {', '.join(EFFORTS)} and was left out")
    return None


def _display_key(key: str) -> str:
    return _CONTROL.sub(" ", key)[:60]
