"""Keeps `state.json` and `decisions.json` in the store, next to the checkpoints, where they outlive the history."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.run.state_files import StateActivities
    from baton import identifiers
    from baton.budget.caps import with_costs
    from baton.decision_book import DecisionBook
    from baton.policies import GIT_TIMEOUT
    from baton.records.run import RunDocument
    from baton.replayed_figures import SAVE_EVERY
    from baton.steps.task import SaveInput
    from workflows.calls.workspace_host import StepFailed, WorkspaceHost

_LAST_SAVE_LIMIT = 30.0
"""Seconds that a stopped run waits for a worker to keep its last state; a dead host must not hold up its end."""


class StateWriter:
    """Saves the state after changes, one save at a time; several changes during a save make one more."""

    def __init__(
        self,
        document: RunDocument,
        book: DecisionBook,
        host: WorkspaceHost,
        *,
        before: Callable[[], None] | None = None,
    ) -> None:
        """`before` is called before each save, which is then spaced; None for runs that were begun without that."""
        self._document = document
        self._book = book
        self._host = host
        self._before = before
        self._changed = self._urgent = False
        self._saved_at: datetime | None = None
        self._saving = asyncio.Lock()

    def mark_changed(self, *, urgent: bool = True) -> None:
        """Mark the state as changed so that the writer saves it; at once where it is urgent."""
        self._changed = True
        self._urgent = self._urgent or urgent

    @property
    def is_busy(self) -> bool:
        """Whether a save is under way."""
        return self._saving.locked()

    @property
    def has_changes(self) -> bool:
        """Whether there are unsaved changes."""
        return self._changed

    def current_document(self) -> RunDocument:
        """The document as it is now, with the decisions in it."""
        document = self._document.model_copy(update={"decisions": self._book.list_all()})
        return document.model_copy(update={"notes": [*document.notes, *self._book.refusals]})

    async def run(self) -> None:
        """Save after each change, until cancelled."""
        while True:
            await workflow.wait_condition(lambda: self._changed and self._document.base_commit is not None)
            await self._await_spacing()
            if not self._changed:
                continue
            try:
                await self.save_now()
            except StepFailed as failure:
                # The state is in the workflow; a store that cannot be written now gets the next change.
                workflow.logger.warning("state.json could not be saved: %s", failure)

    async def _await_spacing(self) -> None:
        """Let some time pass since the last save, unless a change is urgent or is saved meanwhile."""
        if self._before is None or self._saved_at is None or self._urgent:
            return
        left = self._saved_at + SAVE_EVERY - workflow.now()
        if left > timedelta(0):
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._urgent or not self._changed,
                    timeout=left,
                    timeout_summary="time between two saves of the state",
                )

    async def save_now(self, *, closing: bool = False) -> None:
        """Save the current state; at the end of the run with its costs to the last call."""
        async with self._saving:
            if self._before is not None:
                self._before()
            self._changed = self._urgent = False
            self._saved_at = workflow.now()
            saved = await self._host.attempt_step(
                StateActivities.save_state,
                SaveInput(
                    run=identifiers.run_key(self._document.run),
                    repo=self._document.repo,
                    state=self.current_document(),
                    at=workflow.now(),
                    closing=closing,
                ),
                timeout=GIT_TIMEOUT,
                summary="save state.json and decisions.json",
            )
            final = with_costs(self._document, saved.costs)
            for name in ("cost_usd", "unconfirmed_usd", "cost_by_role", "cost_by_model", "tasks"):
                setattr(self._document, name, getattr(final, name))

    async def save_last(self) -> None:
        """Save the state of a run that ends early; a missing worker delays its end, and no more than that."""
        if self._document.base_commit is None:
            return
        try:
            await asyncio.wait_for(self.save_now(closing=True), _LAST_SAVE_LIMIT)
        except (StepFailed, ActivityError, TimeoutError):
            workflow.logger.warning("the last state.json could not be saved")
