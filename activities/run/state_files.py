"""The files of a run's state in the store: `state.json`, `decisions.json`, and reports to the orchestrator."""

from temporalio import activity

from activities.budget.ledger import Ledger
from activities.runtime.step import step
from activities.runtime.stores import Stores, hold_lane, to_json, write_run_files
from agents.messages.brief_inputs import StuckInput
from agents.reports import GuidanceReport
from baton import identifiers
from baton.budget.caps import with_costs
from baton.errors import WorkspaceError
from baton.records.run import Evidence
from baton.steps.store_paths import DECISIONS, SAVED, STATE, gate_file, stuck_file
from baton.steps.task import GateResult, Guidance, ReadGuidanceInput, SaveInput, StateSaved, WriteReportInput
from baton.text.redaction import Redactor
from baton.text.truncation import cut_text
from workspaces.store.store import Store

_MAX_GUIDANCE = 8_000
"""Maximum of characters of the orchestrator's guidance to an agent."""


class StateActivities:
    """The activities `save_state`, `write_report` and `read_guidance`."""

    def __init__(self, stores: Stores, redact: Redactor, ledger: Ledger) -> None:
        self._stores = stores
        self._ledger = ledger
        self._redact = redact

    @step("save_state")
    async def save_state(self, save: SaveInput) -> StateSaved:
        """Commit `state.json` and `decisions.json` to the run's ref; at the end of a run with the ledger's costs."""
        store = await self._stores.open_store(save.repo)
        costs = await self._ledger.read_costs(save.run) if save.closing else []
        state = with_costs(save.state, costs)
        commit = await write_run_files(
            store,
            save.run,
            {
                STATE: to_json(state.model_dump(mode="json")),
                DECISIONS: to_json([decision.model_dump(mode="json") for decision in state.decisions]),
                SAVED: to_json(save.model_dump(mode="json", include={"at"})),
            },
            f"{save.state.status.value}: {len(state.decisions)} decisions, ${state.cost_usd:.4f}",
            save.at,
            alone=STATE,
            state_of=save.at,
        )
        return StateSaved(commit=commit, costs=costs)

    @step("write_report")
    async def write_report(self, report: WriteReportInput) -> None:
        """Write the report of a stuck agent, from which the orchestrator's session starts."""
        store = await self._stores.open_store(report.repo)
        escalation = report.escalation
        brief = StuckInput(
            title=report.title,
            role=report.role,
            error_type=escalation.error_type,
            question=escalation.question,
            attempted=escalation.attempted,
            suggestions=escalation.suggestions,
            failure_class=escalation.failure_class,
            error=escalation.error,
            evidence=await _with_log(store, report),
        )
        await write_run_files(
            store,
            report.run,
            {stuck_file(report.number): to_json(brief.model_dump(mode="json"))},
            f"report {report.number} to the orchestrator: {escalation.error_type}",
            activity.info().scheduled_time,
        )

    @step("read_guidance")
    async def read_guidance(self, read: ReadGuidanceInput) -> Guidance:
        """Return the orchestrator's accepted answer."""
        store = await self._stores.open_store(read.repo)
        async with hold_lane(store, read.run, identifiers.PLAN_TASK, read.commit):
            data = await store.read_file(read.commit, read.path)
        if data is None:
            raise WorkspaceError(f"The answer {read.path} is not in checkpoint {read.commit[:12]}.")
        report = GuidanceReport.model_validate_json(data)
        return Guidance(
            text=cut_text(self._redact(report.guidance), _MAX_GUIDANCE),
            reason=cut_text(self._redact(report.reason), 500),
        )


async def _with_log(store: Store, report: WriteReportInput) -> Evidence | None:
    """Return the evidence with the end of its log, which the gate has recorded in the task's checkpoint."""
    evidence = report.evidence
    if evidence is None or evidence.log_tail or not report.checkpoint:
        return evidence
    async with hold_lane(store, report.run, report.task, report.checkpoint):
        recorded = await store.read_file(report.checkpoint, gate_file(report.evidence_round))
    if recorded is None:
        return evidence
    return evidence.model_copy(update={"log_tail": GateResult.model_validate_json(recorded).evidence.log_tail})
