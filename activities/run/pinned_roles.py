"""The pinned roles of a run: the built-in files, or the repository's own of the same name at the base commit."""

from dataclasses import dataclass, field

from activities.runtime.stores import read_run_file
from agents.roles.definition import AgentDefinition
from agents.roles.loader import builtin_text, parse_agent
from agents.roles.models import model_of
from baton.budget.pricing import PriceList
from baton.errors import AgentFileError, WorkspaceError
from baton.records.run import ROLES, RunRequest
from baton.settings.core import Settings
from baton.steps.store_paths import role_file
from baton.text.truncation import first_items
from workspaces.store.store import Store

AGENT_FILES = ".claude/agents"
"""Directory of a project's agent files, as in Claude Code. Outside of every scope; read at the base commit only."""

_MAX_FILE_SIZE = 200_000
_MAX_FILES = 200


@dataclass
class PinnedRoles:
    """The files and models that a run is pinned to, by role."""

    texts: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)
    """Maximum of turns of a session, if the role's file has `maxTurns`."""
    notes: list[str] = field(default_factory=list)


async def pin_roles(
    store: Store, commit: str, request: RunRequest, settings: Settings, prices: PriceList
) -> PinnedRoles:
    """Read every role once. Raises AgentFileError if the repository's file for a role is invalid."""
    pinned = PinnedRoles()
    own = await _of_repository(store, commit, pinned.notes)
    for role in ROLES:
        path, text = own.get(role, (f"built in ({role}.md)", ""))
        text = text or builtin_text(role)
        loaded = parse_agent(text, path)
        definition = loaded.definition
        if role in own:
            pinned.notes.append(f"The role {role} is the repository's own: {path}.")
            pinned.notes.extend(f"{path}: {warning}." for warning in first_items(loaded.warnings, 5))
        resolved = model_of(role, definition.model, path, request.models, settings, prices)
        if resolved.note:
            pinned.notes.append(f"{role}: {resolved.note}")
        pinned.texts[role], pinned.models[role] = text, resolved.id
        if definition.max_turns is not None:
            pinned.turns[role] = definition.max_turns
    return pinned


async def read_role(store: Store, run: str, role: str) -> AgentDefinition:
    """Return the definition of a role from the bytes that the run is pinned to."""
    data = await read_run_file(store, run, role_file(role))
    if data is None:
        raise WorkspaceError(f"The store has no role file {role} for run {run}.")
    return parse_agent(data.decode(), role_file(role)).definition


async def _of_repository(store: Store, commit: str, notes: list[str]) -> dict[str, tuple[str, str]]:
    """Return path and text of the repository's agent files that are named like a role."""
    found: dict[str, tuple[str, str]] = {}
    paths = [path for path in await store.list_paths(commit, AGENT_FILES) if path.endswith(".md")]
    if len(paths) > _MAX_FILES:
        notes.append(f"Of {len(paths)} files in {AGENT_FILES} only the first {_MAX_FILES} were looked at.")
    for path in paths[:_MAX_FILES]:
        data = await store.read_file(commit, path)
        stem = path.rpartition("/")[2].removesuffix(".md")
        try:
            if data is None or len(data) > _MAX_FILE_SIZE:
                raise AgentFileError(f"{path} is not a plain file of at most {_MAX_FILE_SIZE:,} bytes.")
            text = data.decode("utf-8")
            name = parse_agent(text, path).definition.name
        except (UnicodeDecodeError, AgentFileError) as error:
            if stem in ROLES:
                raise AgentFileError(f"The repository's agent file {path} cannot be used: {error}") from error
            notes.append(f"{path} was not loaded: {error}")
            continue
        if name not in ROLES:
            notes.append(f"{path} was not used: {name} is not a role of Baton's ({', '.join(ROLES)}).")
        elif name in found:
            raise AgentFileError(f"Both {found[name][0]} and {path} are named {name}; keep one of them.")
        else:
            found[name] = (path, text)
    return found
