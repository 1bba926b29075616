"""The tool phase of a turn: the calls in the task's workspace, the check of the role's scope, the snapshot."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from activities.run.pinned_roles import read_role
from activities.run.submodules import fetched_submodules
from activities.runtime import metrics
from activities.runtime.heartbeat import report_progress
from activities.runtime.stores import Stores, read_run_config
from activities.session.journal import AssistantEntry, Journal
from activities.session.left_out_paths import LeftOutChanges, command_note, file_note
from activities.turn.engine_tools import ToolUse, escalation_fault, escalation_of, hand_off_of
from agents.roles.definition import AgentDefinition
from baton.records.left_out import show_path
from baton.steps.session import HandOff, LeftOut, SessionKey, TurnInput
from baton.steps.store_paths import LEFT_OUT
from baton.text.redaction import Redactor
from baton.text.truncation import bullet_list, join_names
from baton.text.untrusted import replace_surrogates
from baton.tracing import start_span
from system.uncancellable import run_in_thread
from workspaces.checkpoints.checkpoints import Checkpoints
from workspaces.checkpoints.workspace import Workspace, WorkspaceSnapshot
from workspaces.delivery.filter_attributes import Filters, filters_of
from workspaces.git.tree_codec import EXECUTABLE, FILE
from workspaces.project.scopes import scope_for
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store
from workspaces.tools.toolbox import Toolbox, ToolOutcome

_ENGINE_TOOLS = frozenset({"hand_off", "escalate"})
_CUT_OFF = (
    "Not run: the answer was cut off by its token limit in the middle of a tool call. Nothing was changed. "
    "Send it again in smaller pieces."
)


def tool_uses(content: list[dict[str, Any]]) -> list[ToolUse]:
    """Return the tool calls of an answer, in order."""
    return [block for block in content if block.get("type") == "tool_use"]


@dataclass
class ToolPhase:
    """The outcome of the tool calls of one answer."""

    results: list[dict[str, Any]] = field(default_factory=list)
    """One `tool_result` block a call, in order."""
    records: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """Sentences of the engine for the model."""
    put_back: list[str] = field(default_factory=list)
    """As `show_path` shows them."""
    left_out: LeftOut | None = None
    """The list of paths that are not kept, if it has changed."""
    unheard: bool = False
    """Whether there is a remark that the session must read before it hands off."""
    snapshot: WorkspaceSnapshot | None = None
    hand_off: HandOff | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    """Files of the lane that go with the snapshot."""
    note: str = ""
    committed: Callable[[str], None] = lambda _checkpoint: None
    """Callback for the checkpoint that holds the snapshot: it marks the workspace as clean at it."""


class ToolRunner:
    """The runner of tool calls for all sessions of a worker."""

    def __init__(self, stores: Stores, sandbox: Sandbox, redact: Redactor) -> None:
        self._stores = stores
        self._sandbox = sandbox
        self._redact = redact
        self._definitions: dict[tuple[str, str], AgentDefinition] = {}

    async def run_calls(self, journal: Journal, turn: TurnInput, last: AssistantEntry) -> ToolPhase:
        """Run the calls of the last answer, and put back all paths outside the role's scope."""
        phase = ToolPhase()
        calls = tool_uses(last.message["content"])
        if not last.runnable:
            for call in calls:
                self._add_result(phase, call, ToolOutcome(content=_CUT_OFF, is_error=True, touched=set()))
            return phase
        outcomes: dict[str, ToolOutcome] = {}
        sound = [call for call in calls if call["id"] not in last.faults]
        if any(call["name"] not in _ENGINE_TOOLS for call in sound):
            outcomes = await self._run_in_workspace(phase, journal, turn, sound)
        for called, fault in last.faults.items():
            outcomes[called] = ToolOutcome(content=fault, is_error=True, touched=set())
        failed = any(outcome.is_error for outcome in outcomes.values())
        for call in calls:
            outcome = outcomes.get(call["id"]) or self._answer_engine_tool(phase, turn, call, failed)
            self._add_result(phase, call, outcome)
        return phase

    async def _run_in_workspace(
        self, phase: ToolPhase, journal: Journal, turn: TurnInput, calls: list[ToolUse]
    ) -> dict[str, ToolOutcome]:
        store = await self._stores.open_store(turn.key.repo)
        definition = await self._read_definition(store, turn.key)
        config = await read_run_config(store, turn.key.run)
        scope = scope_for(turn.key.role, config)
        workspace = await Workspace.open_at(
            store,
            journal.lane,
            turn.expected,
            sandbox=self._sandbox,
            fillings=await fetched_submodules(store, turn.key.run),
        )
        toolbox = Toolbox(
            workspace=workspace.path,
            scope=scope,
            sandbox=self._sandbox,
            grants=definition.patterns_by_tool(),
            network=config.sandbox.network,
            binds=config.sandbox.binds,
            read_only=workspace.command_mounts(),
            submodules=workspace.submodules,
        )
        phase.remarks += workspace.notices
        changes = LeftOutChanges(await journal.read_left_out(), turn.key)
        before = workspace.file_states(changes.before.known_paths())
        workspace.mark_dirty()
        outcomes: dict[str, ToolOutcome] = {}
        touched: set[str] | None = set()
        for call in calls:
            if call["name"] in _ENGINE_TOOLS:
                continue
            report_progress(stage="tools", tool=str(call["name"])[:40])
            with start_span("tool call", role=turn.key.role, tool=str(call["name"])[:40]):
                outcome = await toolbox.run_tool(str(call["name"]), call["input"])
            metrics.count_tool_call(str(call["name"]), outcome.seconds, error=outcome.is_error)
            outcomes[call["id"]] = outcome
            touched = None if touched is None or outcome.touched is None else touched | outcome.touched
        report_progress(stage="checkpoint", tool="")
        if touched is None or touched:
            with metrics.time_checkpoint("snapshot"):
                snapshot = await workspace.take_snapshot(touched)
            if snapshot.put_back:
                phase.put_back = list(map(show_path, snapshot.put_back))
                phase.remarks.append(_submodule_remark(phase.put_back))
            # A path that cannot be kept and was there before this turn is not this role's change: it stays in the list.
            found = workspace.file_states(snapshot.left_out)
            stood = {path for path in snapshot.left_out if path in before and before[path] == found.get(path)}
            outside = [path for path in scope.paths_outside(snapshot.changed) if path not in stood]
            if outside:
                snapshot = await workspace.put_back(snapshot, outside)
                shown = list(map(show_path, sorted(outside)))
                phase.put_back += shown
                phase.remarks.append(_put_back_remark(turn.key.role, shown, scope.describe_scope()))
            if phase.put_back:
                phase.note = f"put back: {join_names(phase.put_back, 5)}"
            changes.take_snapshot(
                snapshot.unkept,
                workspace.file_states([*snapshot.unkept, *changes.before.known_paths()]),
                written={path for outcome in outcomes.values() for path in outcome.touched or ()},
                before=before,
                whole=touched is None,
                holds=partial(workspace.has_path, snapshot),
                files_in=workspace.files_in,
            )
            self._note_left_out(phase, changes, calls, outcomes)
            phase.remarks += snapshot.not_kept
            phase.snapshot = snapshot
            await self._note_filters(phase, store, turn, snapshot, outcomes)
        phase.committed = workspace.mark_clean
        return outcomes

    async def _note_filters(
        self,
        phase: ToolPhase,
        store: Store,
        turn: TurnInput,
        snapshot: WorkspaceSnapshot,
        outcomes: dict[str, ToolOutcome],
    ) -> None:
        """Add a remark about changed files behind a git filter, which the engine does not run."""
        checkpoints = Checkpoints(store)
        base = store.source.tree_of(checkpoints.project_commit(turn.expected))
        left_out = set(snapshot.left_out)
        paths = [path for path in snapshot.changed if path not in left_out]
        trees = [base, checkpoints.workspace_tree(turn.expected), snapshot.tree]
        found = await filters_of(store, trees, paths)
        there = await run_in_thread(_plain_files, store, snapshot, found)
        if there:
            phase.remarks.append(_filters_remark({path: found[path] for path in there}))
            phase.unheard = True
        for call, outcome in list(outcomes.items()):
            for path in sorted(set(there) & set(outcome.touched or ())):
                if not outcome.is_error:
                    outcomes[call] = outcome.with_line(
                        f"NOTE: this file is behind a git filter ({_filter_names(found[path])})."
                    )

    def _note_left_out(
        self, phase: ToolPhase, changes: LeftOutChanges, calls: list[ToolUse], outcomes: dict[str, ToolOutcome]
    ) -> None:
        """Report written paths that are not kept: in the results of the calls that wrote them, and in a remark."""
        rest = dict(changes.seen)
        for outcome_id, outcome in outcomes.items():
            for path in outcome.touched or ():
                if path in changes.seen and not outcome.is_error:
                    outcomes[outcome_id] = outcome.with_line(file_note(changes.seen[path].reason))
                    rest.pop(path, None)
        commands = [call["id"] for call in calls if call["id"] in outcomes and outcomes[call["id"]].touched is None]
        if commands and (line := command_note(rest)):
            # One of several commands wrote it, so the last one reports it.
            outcomes[commands[-1]] = outcomes[commands[-1]].with_line(line)
        if remark := changes.remark_text():
            phase.remarks.append(remark)
        phase.left_out, phase.unheard = changes.changed_list, changes.is_important
        if changes.after != changes.before:
            phase.kept[LEFT_OUT] = changes.after.model_dump_json(exclude_defaults=True).encode()

    def _answer_engine_tool(self, phase: ToolPhase, turn: TurnInput, call: ToolUse, failed: bool) -> ToolOutcome:
        if call["name"] == "escalate":
            if turn.answer is not None and escalation_of(call, self._redact) is not None:
                return ToolOutcome(content=turn.answer, is_error=False, touched=set())
            return ToolOutcome(content=escalation_fault(call), is_error=True, touched=set())
        verdict = hand_off_of(turn.key, call, self._redact)
        assert verdict is not None
        if verdict.accepted is None:
            return ToolOutcome(content=verdict.fault, is_error=True, touched=set())
        unheard = phase.put_back or phase.unheard or turn.guidance or turn.answer is not None
        if failed or unheard or phase.hand_off is not None:
            return ToolOutcome(
                content="Not accepted yet: something above needs your attention; then call `hand_off` again.",
                is_error=True,
                touched=set(),
            )
        phase.hand_off, phase.files = verdict.accepted, verdict.files
        return ToolOutcome(content="Accepted.", is_error=False, touched=set())

    def _add_result(self, phase: ToolPhase, call: ToolUse, outcome: ToolOutcome) -> None:
        content = outcome.content
        # The sandbox holds no secret of the engine; this is a second line of defence.
        content = self._redact.mask_secrets(replace_surrogates(content)) if isinstance(content, str) else content
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call["id"], "content": content or "(no output)"}
        if outcome.is_error:
            block["is_error"] = True
        phase.results.append(block)
        record = {"name": call["name"], "error": outcome.is_error, "seconds": round(outcome.seconds, 3)}
        if outcome.exit_code is not None:
            record["exit_code"] = outcome.exit_code
        phase.records.append(record)

    async def _read_definition(self, store: Store, key: SessionKey) -> AgentDefinition:
        """Return the definition of the role from the bytes that the run is pinned to."""
        known = self._definitions.get((key.run, key.role))
        if known is not None:
            return known
        definition = await read_role(store, key.run, key.role)
        if len(self._definitions) > 256:
            self._definitions.clear()
        self._definitions[(key.run, key.role)] = definition
        return definition


def _submodule_remark(paths: list[str]) -> str:
    return (
        f"The engine put these paths back, for they are in the place of a submodule:\n{bullet_list(paths)}\n"
        "The branch keeps every submodule as it is, at its commit: it cannot be changed, moved, deleted or replaced by"
        " files here. If the task needs that, say so in your hand-off; a person does it."
    )


def _put_back_remark(role: str, paths: list[str], scope: str) -> str:
    return (
        f"The engine put these paths back, for they are outside what the role {role} may"
        f" change:\n{bullet_list(paths)}\n"
        f"{scope}\nLeave them as they are; say in your hand-off what another role should do there."
    )


def _plain_files(store: Store, snapshot: WorkspaceSnapshot, paths: Iterable[str]) -> list[str]:
    """Return the paths that are files in the snapshot, without links and removed paths."""
    entries = {path: store.objects.find_entry(snapshot.tree, path) for path in paths}
    return [path for path, entry in entries.items() if entry is not None and entry.mode in (FILE, EXECUTABLE)]


def _filter_names(names: Iterable[str]) -> str:
    return ", ".join(f"filter={show_path(name)}" for name in names)


def _filters_remark(found: Filters) -> str:
    shown = bullet_list([f"{show_path(path)} ({_filter_names(names)})" for path, names in found.items()])
    return (
        f"These files that you changed are behind a git filter, and the engine runs none:\n{shown}\n"
        "With filter=lfs the engine publishes a Git LFS pointer and uploads the content. With any other filter the"
        " content would be published as you wrote it, in plain text, so a person is asked before that. Where the task"
        " does not need these changes, undo them; else say in your hand-off why they are needed."
    )
