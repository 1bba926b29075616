"""The workflow `Pipeline`: one run, from the change request to the published branch. It owns decisions and budget."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.run.fork import ForkActivities
    from activities.run.prepare import PrepareActivities
    from baton import identifiers
    from baton.decision_book import DecisionRefused
    from baton.errors import UsageError
    from baton.records.issue import GitHubSignal
    from baton.records.run import Decide, Decision, Guide, RunDocument, RunRequest, RunStatus, TaskState
    from baton.steps.carried import CarriedRun
    from baton.steps.task import Forked, ForkInput, Plan, Prepared, PrepareInput, TaskProgressSignal
    from baton.text.redaction import has_url_credentials, strip_url_credentials
    from baton.text.truncation import cut_text
    from workflows.budget.cap_decisions import CapDecisions
    from workflows.budget.wall_clock import WallClock
    from workflows.calls.background_tasks import BackgroundTasks
    from workflows.calls.cancellation import begin_scope, raise_if_stopped, run_in_spite_of_stop, run_to_end
    from workflows.calls.handler_input import InvalidInput, parse_input
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.ask_on_failure import FailureQuestions
    from workflows.decisions.escalation import Abort, Escalations, Skip
    from workflows.endings import FINISHED, RunEnding, ending_of
    from workflows.github.integration import GitHubIntegration, NoIntegration
    from workflows.github.issue_run import IssueIntegration
    from workflows.stages.plan_stage import Orchestrator
    from workflows.stages.publication import Publication
    from workflows.stages.run_steps import RunSteps, Step, no_patience
    from workflows.stages.task_scheduler import TaskScheduler
    from workflows.state.run_context import RunContext

_LEAN = "lean-history"
"""Patch: signals, saves and search attributes are merged or spaced, and a run that waits continues as new."""


@workflow.defn(name="Pipeline", failure_exception_types=[ApplicationError])
class Pipeline:
    """prepare -> plan -> tasks by their dependencies, in parallel -> gate -> publish."""

    @workflow.init
    def __init__(self, *given: Any) -> None:
        request, self._carried, self._refusal = _read_start(given)
        run, fork = workflow.info().workflow_id, request.fork
        if fork is not None:
            fork = fork.model_copy(update={"run": identifiers.run_key(fork.run)})
        self._request = request.model_copy(update={"run": identifiers.run_key(run), "fork": fork})
        document = self._carried.document if self._carried else _new_document(run, request)
        queue = self._carried.queue if self._carried else ""
        context = RunContext(self._request, document, queue=queue, lean=workflow.patched(_LEAN))
        self._context, self._books, self._host = context, context.books, context.host
        self._escalations = Escalations(context)
        self._insistence = FailureQuestions(context, self._escalations)
        self._host.ask = self._insistence.ask_about_failure
        self._clock = WallClock(context)
        self._caps = CapDecisions(context, self._escalations, self._clock)
        self._orchestrator = Orchestrator(context, self._escalations, self._caps)
        self._driver = TaskScheduler(context, self._escalations, self._caps, self._orchestrator)
        self._background = BackgroundTasks()
        self._prepared: Prepared | None = None
        self._renews = False
        """Whether the run is to continue as new."""
        self._outside: GitHubIntegration
        if request.github is None:
            self._outside = NoIntegration()
            self._steps = RunSteps(context, self._insistence, self._caps, no_patience)
        else:
            self._outside = side = IssueIntegration(
                context, request.github, self._escalations, self._insistence, self._caps, self._driver
            )
            self._steps = side.steps
        if self._carried is not None:
            self._restore_state(self._carried)

    # ---- what people send

    @workflow.signal(
        description='Answer an open decision. Input: {"decision_id": "D1", "choice": "...", "note": "...", "by": "..."}'
    )
    def decide(self, *answer: Any) -> None:
        """Answer a decision (`Decide`); an answer that cannot be taken is recorded as refused."""
        try:
            self._escalations.take_answer(parse_input(Decide, answer))
        except (InvalidInput, DecisionRefused) as refusal:
            self._escalations.record_refusal(f"An answer was refused: {refusal}")

    @workflow.update(
        description='Answer an open decision. Input: {"decision_id": "D1", "choice": "...", "note": "...", "by": "..."}'
    )
    def submit_decision(self, *answer: Any) -> Decision:
        """Answer a decision (`Decide`); returns it as answered."""
        return self._escalations.take_answer(parse_input(Decide, answer))

    @submit_decision.validator
    def _check_decision(self, *answer: Any) -> None:
        self._books.decisions.check_answer(parse_input(Decide, answer))

    @workflow.signal(
        description='A message to the agents at work, for their next turn. Input: {"text": "...", "task_id": "t1"}'
    )
    def guide(self, *given: Any) -> None:
        """Give a message (`Guide`) to one task, or to all; those that are not at work take it in when they go on."""
        try:
            message = parse_input(Guide, given)
        except InvalidInput as fault:
            self._escalations.record_refusal(f"A message to the agents was refused: {fault}")
            return
        if not (self._driver.take_message(message) or self._outside.take_message(message)):
            whom = f"task {message.task_id[:40]}" if message.task_id else "any task"
            self._escalations.record_refusal(f"A message for {whom} reached nobody.")

    @workflow.signal(description="Internal: what a delivery of GitHub's was about.")
    def github(self, *given: Any) -> None:
        """Take in a notice of GitHub (`GitHubSignal`); a no-op for a run without an issue."""
        try:
            notice = parse_input(GitHubSignal, given)
        except InvalidInput as fault:
            workflow.logger.warning("a notice that cannot be read: %s", fault)
            return
        self._outside.take_notice(notice)

    @workflow.signal(description="Internal: a task tells what it does now.")
    def news(self, *told: Any) -> None:
        """Take in the progress of a task (`TaskProgressSignal`)."""
        try:
            news = parse_input(TaskProgressSignal, told)
        except InvalidInput as fault:
            workflow.logger.warning("news that cannot be read: %s", fault)
            return
        self._books.take_progress(news)

    # ---- what people ask

    @workflow.query(description="Status, open decisions, cost, in short")
    def status(self) -> dict[str, object]:
        """The run in short."""
        return self._books.summarise_run()

    @workflow.query(description="The run's document: what state.json holds")
    def state(self) -> RunDocument:
        """The run's document."""
        return self._books.saver.current_document()

    @workflow.query(description="All decisions: what decisions.json holds")
    def decisions(self) -> list[Decision]:
        """All decisions, open or not."""
        return self._books.decisions.list_all()

    # ---- the run

    @workflow.run
    async def run(self, *given: Any) -> RunDocument:
        """Carry a run (`RunRequest`) out. Fails with one useful line; a cancellation keeps the work and ends so."""
        self._books.mark_changed()
        if self._refusal:
            raise await self._close_run(RunEnding(RunStatus.FAILED, self._refusal))
        begin_scope()
        background = self._background
        # They go on until the books are closed, whatever ends the run.
        background.start_task("saving", run_in_spite_of_stop(self._books.saver.run()))
        background.start_task("reporting", run_in_spite_of_stop(self._outside.run()))
        background.start_watching()
        try:
            await self._outside.until_over(self._carry_out())
            if self._renews:
                self._continue_as_new()
        except (Exception, asyncio.CancelledError) as error:
            ending = ending_of(error, self._outside.stopped_because)
            if ending is None:
                raise
            failure = await self._close_run(ending)
            if ending.leaves == "reraises":
                raise
            if ending.leaves == "fails":
                raise failure from (error if isinstance(error, FailureError) else None)
        finally:
            background.cancel_all()
        return self._books.saver.current_document()

    async def _carry_out(self) -> None:
        """Do the work of the run, from the change request to the last review of the pull request."""
        carried = self._carried
        prepared = carried.prepared if carried else await self._prepare_run()
        clock = self._background.start_task("clock", self._count_time(prepared))
        try:
            if carried is None:
                plan, begun = await self._make_plan(prepared)
                await self._work_on_tasks(plan, begun)
            publication = self._make_publication()
            if carried is None:
                self._books.enter_phase(RunStatus.PUBLISHING)
                await publication.publish_run(prepared.base_commit)
            self._renews = await self._outside.follow_up(publication, prepared)
            if not self._renews:
                await self._close_run(FINISHED)
        finally:
            clock.cancel()

    async def _prepare_run(self) -> Prepared:
        """Read the repository, and take over its facts, limits and notes."""
        try:
            # Nothing is paid for yet: a repository that cannot be used ends the run at once, with one clear line.
            reading = PrepareInput(request=self._request)
            prepared = await self._steps.run_step(
                Step(PrepareActivities.prepare_run, reading, f"prepare {self._request.repo}"),
                on_failure="raise",
                needs_github=True,
            )
        except Skip as skip:
            raise Abort(f"Without the repository there is no work: {skip}.") from skip
        self._books.set_prepared(prepared)
        self._take_over(prepared)
        self._outside.begin_run(prepared)
        self._books.mark_changed(save=True)
        return prepared

    def _take_over(self, prepared: Prepared) -> None:
        self._prepared, self._context.limits = prepared, prepared.limits
        self._caps.set_limits(prepared.limits)
        self._driver.set_parallel(prepared.limits)
        self._escalations.policy = prepared.decisions

    async def _make_plan(self, prepared: Prepared) -> tuple[Plan, Forked | None]:
        """Return the plan, and where its tasks stand if another run has begun them."""
        forked = await self._adopt_fork(prepared)
        if forked is None:
            return await self._orchestrator.make_plan(prepared), None
        if workflow.patched("guide-in-forks"):
            self._orchestrator.begin_lane(prepared)
        return forked.plan, forked

    async def _adopt_fork(self, prepared: Prepared) -> Forked | None:
        """Return the plan and progress of the run that this one is forked from; None for any other run."""
        fork = self._request.fork
        if fork is None:
            return None
        self._books.set_fork(fork)
        adopt = ForkInput(run=self._request.run, repo=self._request.repo, fork=fork, base=prepared.base_commit)
        try:
            # That what was asked for does not exist ends the run at once, too.
            return await self._steps.run_step(
                Step(ForkActivities.adopt_fork, adopt, f"take over from {fork.run}"), final=UsageError.__name__
            )
        except Skip as skip:
            raise Abort(f"Without the work of {fork.run} there is nothing to go on from: {skip}.") from skip

    async def _work_on_tasks(self, plan: Plan, begun: Forked | None) -> None:
        """Take all tasks of the plan to their ends. Raises StepFailed if none of them was finished."""
        self._books.set_plan(plan, begun.done if begun else {})
        self._outside.set_plan(plan)
        self._books.enter_phase(RunStatus.WORKING)
        await self._driver.run_all(plan.tasks, begun.progress if begun else None)
        if not any(task.state is TaskState.DONE for task in self._books.document.tasks):
            raise StepFailed("No task was finished, so there is nothing to publish.", "NothingDone", retried=False)

    def _make_publication(self) -> Publication:
        return Publication(self._context, self._escalations, self._insistence, self._driver, self._steps)

    async def _count_time(self, prepared: Prepared) -> None:
        if self._carried is not None:
            await self._clock.go_on(self._carried.clock)
        else:
            await self._clock.run(prepared.limits.wall_clock_seconds)

    # ---- the next execution of a run that waits for months

    def _continue_as_new(self) -> None:
        """Go on in a new execution, with an empty history. Raises ContinueAsNewError, or CancelledError if stopped."""
        raise_if_stopped()
        assert self._prepared is not None
        self._books.drop_old_tasks()
        document = self._books.document
        carried = CarriedRun(
            document=document,
            decisions=self._books.decisions.list_all(),
            refusals=self._books.decisions.refusals,
            dropped=self._books.dropped,
            notes=self._books.remnants.carry_notes({task.id for task in document.tasks}),
            prepared=self._prepared,
            unsaved=self._books.saver.has_changes,
            queue=self._host.queue,
            clock=self._clock.carry_time(),
            caps=self._caps.carry_caps(),
            lane=self._orchestrator.carry_lane(),
            github=self._outside.carry_github(),
        )
        workflow.continue_as_new(args=[self._request, carried])

    def _restore_state(self, carried: CarriedRun) -> None:
        self._take_over(carried.prepared)
        self._books.restore_state(carried)
        self._caps.restore_caps(carried.caps)
        self._orchestrator.restore_lane(carried.lane)
        self._outside.restore_github(carried.github)
        self._context.inboxes.clear()

    # ---- the end

    async def _close_run(self, ending: RunEnding) -> ApplicationError:
        """Close the books, on every way out; returns the error with which a failing execution ends."""
        if ending.failure is not None:
            self._escalations.record_error(
                "engine",
                "run",
                ending.reason,
                "run",
                ending.failure.attempted,
                "the run failed",
                error_type=ending.failure.kind,
            )
        if ending.set_aside:
            self._books.set_aside("the pull request was merged before")
            self._books.add_notes(ending.reason)
        done = ending.status is RunStatus.DONE
        await run_to_end(self._close_done() if done else self._close_early(ending))
        stopped = ending.status is RunStatus.STOPPED
        return ApplicationError(ending.reason, type="RunStopped" if stopped else "RunFailed")

    async def _close_done(self) -> None:
        self._books.set_ended(RunStatus.DONE)
        try:
            await self._books.saver.save_now(closing=True)
        except StepFailed as failure:
            # The branch is there: a full disk must not make a failed run of it now.
            self._books.add_notes(f"The last state.json could not be written: {failure}")
        await self._outside.report_end(done=True)

    async def _close_early(self, ending: RunEnding) -> None:
        await self._books.close_early(ending.status, ending.reason)
        await self._outside.report_end(done=False)


def _read_start(given: tuple[Any, ...]) -> tuple[RunRequest, CarriedRun | None, str]:
    """Return the request, the state of the execution before, and why the run cannot start (empty if it can)."""
    run = workflow.info().workflow_id
    repo = "(none)"
    try:
        carried = None
        if len(given) == 2 and workflow.info().continued_run_id:
            carried = parse_input(CarriedRun, given[1:])
            given = given[:1]
        request = parse_input(RunRequest, given)
        # Patched, for a run that was begun with such a URL before goes on. Only such a run gets the marker.
        if has_url_credentials(request.repo) and workflow.patched("refuse-url-credentials"):
            repo = strip_url_credentials(request.repo)
            raise InvalidInput(
                f"The URL {repo[:300]} was given with credentials in it: leave them out, and let git's credential"
                " helper or an SSH key open the repository. They stand in this workflow's input: withdraw them."
            )
        if not identifiers.is_workflow_id(run):
            raise InvalidInput(
                f"{run[:150]!r} cannot be the id of a run: up to 120 letters, digits, dots, dashes, `_`."
            )
    except InvalidInput as fault:
        refused = RunRequest(task="(none that can be read)", repo=repo)
        return refused, None, f"The run cannot start. {fault}"
    return request, carried, ""


def _new_document(run: str, request: RunRequest) -> RunDocument:
    document = RunDocument(
        run=run,
        status=RunStatus.PLANNING,
        repo=request.repo,
        task=cut_text(request.task, 500),
        started_at=workflow.info().start_time,
    )
    if request.scripted_model:
        document.notes.append("The model is scripted: a local stand-in answered instead of Claude.")
    return document
