"""The start of a session: the frozen prefix of all its requests, and the first message of its role.

Both are made of the session's first checkpoint and the run's pinned files, so that a retry makes the same ones.
"""

import json
from typing import Any

from activities.run.pinned_roles import read_role
from activities.run.submodules import recorded_submodules
from activities.runtime.stores import Stores, read_run_config, read_run_json
from agents.detection.detect import Technology
from agents.failure_classifier import FailureClass, classify_failure
from agents.messages.brief_inputs import (
    MakerFeedback,
    MakerInput,
    PlanInput,
    ReviewerInput,
    StuckInput,
    TesterInput,
)
from agents.messages.first_messages import (
    DIFF_LIMIT,
    guidance_brief,
    maker_brief,
    plan_brief,
    reviewer_brief,
    tester_brief,
    with_machine,
)
from agents.messages.request import FrozenPrefix, freeze_prefix
from agents.messages.restart_message import SessionPast, bound_brief, restarted_brief
from agents.plan import PlanTask
from agents.reports import GUIDANCE, MakerReport, ReviewerReport, TesterReport
from agents.roles.models import model_of
from baton.budget.pricing import PriceList
from baton.errors import WorkspaceError
from baton.identifiers import session_name
from baton.records.left_out import show_path
from baton.records.run import Evidence
from baton.settings.core import Settings
from baton.steps.session import SessionKey
from baton.steps.store_paths import (
    MODELS,
    REQUEST,
    TECHNOLOGY,
    conflict_file,
    gate_file,
    handed_off_file,
    stuck_file,
    task_file,
)
from baton.steps.task import GateResult
from baton.text.truncation import first_items
from workspaces.checkpoints.checkpoints import Checkpoints
from workspaces.delivery.filter_attributes import ATTRIBUTES_FILE, filter_lines
from workspaces.project.scopes import scope_for
from workspaces.store.diffs import diff_text
from workspaces.store.store import Store
from workspaces.store.submodules import describe_submodules, find_submodules

_MAX_ATTRIBUTES = 200
"""Maximum of attribute files that are read for a first message."""


class SessionStart:
    """The start of sessions of all roles."""

    def __init__(self, stores: Stores, settings: Settings, prices: PriceList, *, isolated: bool) -> None:
        self._stores = stores
        self._settings = settings
        self._prices = prices
        self._isolated = isolated

    async def open_session(
        self, key: SessionKey, checkpoint: str, *, level: int = 0, done: SessionPast | None = None
    ) -> tuple[FrozenPrefix, str]:
        """Return the frozen prefix and the first message of a session that starts at this checkpoint.

        A new start of a session gets a message of the given level, with a summary of the work that was `done` before.
        """
        store = await self._stores.open_store(key.repo)
        technology = Technology.model_validate(await read_run_json(store, key.run, TECHNOLOGY))
        models = await read_run_json(store, key.run, MODELS)
        config = await read_run_config(store, key.run)
        prefix = freeze_prefix(
            await read_role(store, key.run, key.role),
            key.report_kind,
            model=str(models[key.role])
            if done is None
            else await self._current_model(store, key, str(models[key.role])),
            max_tokens=self._settings.max_output_tokens,
            scope=scope_for(key.role, config).describe_scope(),
            technology=technology,
            isolated=self._isolated,
        )
        brief = await self._write_brief(store, key, checkpoint, technology, level)
        brief = with_machine(brief, binds=config.sandbox.binds, isolated=self._isolated)
        return prefix, brief if done is None else restarted_brief(brief, done, level)

    async def _current_model(self, store: Store, key: SessionKey, pinned: str) -> str:
        """Return the model of a new start: the one that the settings name now, unless the run's request names one.

        The pinned model may be the reason of the new start: it is retired, or its context is too small.
        """
        asked = (await read_run_json(store, key.run, REQUEST)).get("models") or {}
        if asked.get(key.role) or not self._settings.model_of_role(key.role):
            return pinned
        return model_of(key.role, None, "", {}, self._settings, self._prices).id

    async def _write_brief(
        self, store: Store, key: SessionKey, checkpoint: str, technology: Technology, level: int
    ) -> str:
        if key.report_kind == GUIDANCE:
            stuck = StuckInput.model_validate(await read_run_json(store, key.run, stuck_file(key.round)))
            return guidance_brief(bound_brief(stuck, level))
        request = await read_run_json(store, key.run, REQUEST)
        submodules = await self._submodule_lines(store, key, checkpoint)
        if key.role == "orchestrator":
            files = [path.removeprefix("workspace/") for path in await store.list_paths(checkpoint, "workspace")]
            filters = await _LaneFiles(store, checkpoint).filter_rules()
            plan = PlanInput(
                task=str(request["task"]),
                technology=technology,
                files=files,
                filters=filters,
                submodules=submodules,
            )
            return plan_brief(bound_brief(plan, level))
        lane = _LaneFiles(store, checkpoint)
        task = PlanTask.model_validate(await read_run_json(store, key.run, task_file(key.task)))
        match key.role:
            case "tester":
                tester = await self._tester_input(lane, key, task)
                return tester_brief(bound_brief(tester.model_copy(update={"submodules": submodules}), level))
            case "reviewer":
                reviewer = await self._reviewer_input(lane, key, task)
                return reviewer_brief(bound_brief(reviewer.model_copy(update={"submodules": submodules}), level))
            case _:
                maker = await self._maker_input(lane, key, task)
                return maker_brief(bound_brief(maker.model_copy(update={"submodules": submodules}), level))

    async def _submodule_lines(self, store: Store, key: SessionKey, checkpoint: str) -> list[str]:
        """Return the submodules of the workspace, a line each: those of the base, unless others changed them since."""
        links = Checkpoints(store).read_metadata(checkpoint).gitlinks
        if not links:
            return []
        known = await recorded_submodules(store, key.run)
        if {one.path: one.commit for one in known} != {show_path(path): oid for path, oid in links.items()}:
            found = await find_submodules(store.source, Checkpoints(store).project_commit(checkpoint))
            before = {(one.path, one.commit): one for one in known}
            moved = "not the commit that the run began with"
            known = [before.get((one.path, one.commit)) or one.model_copy(update={"reason": moved}) for one in found]
        return describe_submodules(known)

    async def _maker_input(self, lane: "_LaneFiles", key: SessionKey, task: PlanTask) -> MakerInput:
        last = key.round - 1
        review, test, gate = (
            await lane.read_review(last),
            await lane.read_test_report(last),
            await lane.read_evidence(last),
        )
        conflict = await lane.read_conflict(last)
        red = gate is not None and not gate.is_green
        feedback = MakerFeedback(
            findings=review.findings if review else [],
            failures=test.failures if test else [],
            gate=gate if red else None,
            conflicts=conflict,
            notes=_diagnosis_notes(gate.log_tail) if gate and red else [],
        )
        return MakerInput(
            role=task.role,
            title=task.title,
            instructions=task.instructions,
            acceptance=list(task.acceptance),
            round=key.round,
            rounds=max(3, key.round),
            feedback=feedback,
            previous=await lane.read_maker_report(last, task.role),
            filters=await lane.filter_rules(),
        )

    async def _tester_input(self, lane: "_LaneFiles", key: SessionKey, task: PlanTask) -> TesterInput:
        made = await lane.read_maker_report(key.round, task.role)
        earlier, review = await lane.read_test_report(key.round - 1), await lane.read_review(key.round - 1)
        return TesterInput(
            title=task.title,
            instructions=task.instructions,
            acceptance=list(task.acceptance),
            files_changed=await lane.changed_paths(),
            needs_testing=made.needs_testing if made else [],
            role=task.role,
            round=key.round,
            rounds=max(3, key.round),
            gate=await lane.read_evidence(key.round - 1),
            earlier_failures=earlier.failures if earlier else [],
            earlier_findings=review.findings if review else [],
            filters=await lane.filter_rules(),
        )

    async def _reviewer_input(self, lane: "_LaneFiles", key: SessionKey, task: PlanTask) -> ReviewerInput:
        result = await lane.read_gate_result(key.round)
        if result is None:
            raise WorkspaceError(f"There is no gate of round {key.round} for the review of {key.workflow_id}.")
        return ReviewerInput(
            title=task.title,
            acceptance=list(task.acceptance),
            diff=await lane.diff_to(result.candidate),
            evidence=result.evidence,
            tester=await lane.read_test_report(key.round),
            round=key.round,
            rounds=max(3, key.round),
            earlier_findings=[
                finding for number in range(1, key.round) for finding in await lane.read_findings(number)
            ],
            filters=await lane.filter_rules(),
        )


class _LaneFiles:
    """The files of earlier sessions in a task's lane, at one checkpoint."""

    def __init__(self, store: Store, checkpoint: str) -> None:
        self._store = store
        self._checkpoint = checkpoint
        self._base = Checkpoints(store).project_commit(checkpoint)

    async def read_maker_report(self, round_number: int, role: str) -> MakerReport | None:
        data = await self._read_json(handed_off_file(session_name(round_number, role)))
        return None if data is None else MakerReport.model_validate(data)

    async def read_test_report(self, round_number: int) -> TesterReport | None:
        data = await self._read_json(handed_off_file(session_name(round_number, "tester")))
        return None if data is None else TesterReport.model_validate(data)

    async def read_review(self, round_number: int) -> ReviewerReport | None:
        data = await self._read_json(handed_off_file(session_name(round_number, "reviewer")))
        return None if data is None else ReviewerReport.model_validate(data)

    async def read_findings(self, round_number: int) -> list[Any]:
        review = await self.read_review(round_number)
        return list(review.findings) if review else []

    async def read_gate_result(self, round_number: int) -> GateResult | None:
        data = await self._read_json(gate_file(round_number))
        return None if data is None else GateResult.model_validate(data)

    async def read_evidence(self, round_number: int) -> Evidence | None:
        result = await self.read_gate_result(round_number)
        return result.evidence if result else None

    async def read_conflict(self, round_number: int) -> list[str]:
        data = await self._read_json(conflict_file(round_number))
        return [str(path) for path in data["paths"]] if data else []

    async def filter_rules(self) -> list[str]:
        """Return the lines about filters in the `.gitattributes` of the workspace and of the task's base."""
        found: dict[str, None] = {}
        for tree in (Checkpoints(self._store).workspace_tree(self._checkpoint), self._store.find_tree(self._base)):
            paths = [path for path in await self._store.list_paths(tree) if path.rpartition("/")[2] == ATTRIBUTES_FILE]
            files = {path: await self._store.read_file(tree, path) or b"" for path in paths[:_MAX_ATTRIBUTES]}
            found |= dict.fromkeys(filter_lines(files))
        return list(found)

    async def changed_paths(self) -> list[str]:
        """Return the project paths that differ from the task's base, at most 300."""
        tree = Checkpoints(self._store).workspace_tree(self._checkpoint)
        return first_items(list(map(show_path, await self._store.changed_paths(self._base, tree))), 300)

    async def diff_to(self, candidate: str) -> str:
        return await diff_text(self._store, self._base, candidate, DIFF_LIMIT)

    async def _read_json(self, path: str) -> Any:
        data = await self._store.read_file(self._checkpoint, path)
        return None if data is None else json.loads(data)


def _diagnosis_notes(log: str) -> list[str]:
    """Return the class of a failed test run and its suggestions; empty if the class is unknown."""
    diagnosis = classify_failure(log)
    if diagnosis.kind is FailureClass.UNKNOWN:
        return []
    return [f"The log looks like this: {diagnosis.kind.value}.", *diagnosis.suggestions]
