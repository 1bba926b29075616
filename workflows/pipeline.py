"""The workflow `Pipeline`: one run, from the change request to the published branch. It owns decisions and budget."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.run.fork import ForkingActivities
    from activities.run.prepare import RepositoryActivities
    from baton import naming
    from baton.decision_book import DecisionRefused
    from baton.errors import UsageError
    from baton.policies import GIT_TIMEOUT
    from baton.records.issue import Notice
    from baton.records.run import (
        Decide,
        Decision,
        Guide,
        RunDocument,
        RunRequest,
        RunStatus,
        TaskDocument,
        TaskState,
    )
    from baton.steps.task import Forked, ForkInput, Plan, Prepared, PrepareInput, TaskNews
    from baton.text.redaction import has_url_credentials, strip_url_credentials
    from baton.text.truncation import cut
    from workflows.budget.cap_decisions import CapKeeper
    from workflows.budget.wall_clock import WallClock
    from workflows.calls.background_tasks import Background
    from workflows.calls.cancellation import begin_scope, finishing, to_its_end
    from workflows.calls.handler_input import Unreadable, read
    from workflows.calls.workspace_host import Host, StepFailed
    from workflows.decisions.ask_on_failure import Insistence
    from workflows.decisions.escalation import Abort, Escalations, Skip
    from workflows.github.inbox import Ending
    from workflows.github.integration import Alone, Side
    from workflows.github.issue_run import IssueSide, Over
    from workflows.stages.planning import Orchestrator
    from workflows.stages.publication import Finish
    from workflows.stages.task_scheduler import Driver
    from workflows.state.run_state import Books


@workflow.defn(name="Pipeline", failure_exception_types=[ApplicationError])
class Pipeline:
    """prepare -> plan -> tasks by their dependencies, in parallel -> gate -> publish."""

    @workflow.init
    def __init__(self, *given: Any) -> None:
        run = workflow.info().workflow_id
        self._refusal = ""
        repo = "(none)"
        try:
            request = read(RunRequest, given)
            # Patched, for a run that was begun with such a URL before goes on. Only such a run gets the marker.
            if has_url_credentials(request.repo) and workflow.patched("refuse-url-credentials"):
                repo = strip_url_credentials(request.repo)
                raise Unreadable(
                    f"The URL {repo[:300]} was given with credentials in it: leave them out, and let git's credential"
                    " helper or an SSH key open the repository. They stand in this workflow's input: withdraw them."
                )
            if not naming.is_workflow_id(run):
                raise Unreadable(
                    f"{run[:150]!r} cannot be the id of a run: up to 120 letters, digits, dots, dashes, `_`."
                )
        except Unreadable as fault:
            self._refusal = f"The run cannot start. {fault}"
            request = RunRequest(task="(none that can be read)", repo=repo)
        fork = request.fork
        if fork is not None:
            fork = fork.model_copy(update={"run": naming.run_key(fork.run)})
        self._request = request.model_copy(update={"run": naming.run_key(run), "fork": fork})
        document = RunDocument(
            run=run,
            status=RunStatus.PLANNING,
            repo=request.repo,
            task=cut(request.task, 500),
            started_at=workflow.info().start_time,
        )
        if request.scripted_model:
            document.notes.append("The model is scripted: a local stand-in answered instead of Claude.")
        self._host = Host(tell=lambda what: self._books.wait(what))
        self._books = Books(document, self._host)
        self._escalations = Escalations(self._books)
        self._clock = WallClock(lambda: document.status is RunStatus.WAITING)
        self._caps = CapKeeper(self._request, self._host, self._escalations, self._clock)
        self._orchestrator = Orchestrator(self._request, self._host, self._books.take, self._clock.halt)
        self._driver = Driver(
            self._request,
            self._books,
            self._host,
            self._escalations,
            self._caps,
            self._orchestrator,
            self._clock.halt,
        )
        self._insistence = Insistence(self._books, self._escalations)
        self._host.ask = self._insistence.ask
        self._background = Background()
        self._outside: Side = Alone()
        if request.github is not None:
            self._outside = IssueSide(
                self._request,
                request.github,
                self._books,
                self._host,
                self._escalations,
                self._insistence,
                self._driver,
            )

    # ---- what people send

    @workflow.signal(
        description='Answer an open decision. Input: {"decision_id": "D1", "choice": "...", "note": "...", "by": "..."}'
    )
    def decide(self, *answer: Any) -> None:
        """Answer a decision (`Decide`); an answer that cannot be taken is recorded as refused."""
        try:
            self._escalations.answer(read(Decide, answer))
        except (Unreadable, DecisionRefused) as refusal:
            self._escalations.refuse(f"An answer was refused: {refusal}")

    @workflow.update(
        description='Answer an open decision. Input: {"decision_id": "D1", "choice": "...", "note": "...", "by": "..."}'
    )
    def submit_decision(self, *answer: Any) -> Decision:
        """Answer a decision (`Decide`); returns it as answered."""
        return self._escalations.answer(read(Decide, answer))

    @submit_decision.validator
    def _check_decision(self, *answer: Any) -> None:
        self._books.decisions.check(read(Decide, answer))

    @workflow.signal(
        description='A message to the agents at work, for their next turn. Input: {"text": "...", "task_id": "t1"}'
    )
    def guide(self, *given: Any) -> None:
        """Give a message (`Guide`) to one task, or to all; those that are not at work take it in when they go on."""
        try:
            message = read(Guide, given)
        except Unreadable as fault:
            self._escalations.refuse(f"A message to the agents was refused: {fault}")
            return
        if not (self._driver.hear(message) or self._outside.take(message)):
            whom = f"task {message.task_id[:40]}" if message.task_id else "any task"
            self._escalations.refuse(f"A message for {whom} reached nobody.")

    @workflow.signal(description="Internal: what a delivery of GitHub's was about.")
    def github(self, *given: Any) -> None:
        """Take in what GitHub tells (`Notice`); a run that works for no issue has no use for it."""
        try:
            notice = read(Notice, given)
        except Unreadable as fault:
            workflow.logger.warning("a notice that cannot be read: %s", fault)
            return
        self._outside.hear(notice)

    @workflow.signal(description="Internal: a task tells what it does now.")
    def news(self, *told: Any) -> None:
        """Take in what a task tells of itself (`TaskNews`)."""
        try:
            news = read(TaskNews, told)
        except Unreadable as fault:
            workflow.logger.warning("news that cannot be read: %s", fault)
            return
        self._books.take(news)

    # ---- what people ask

    @workflow.query(description="Status, open decisions, cost, in short")
    def status(self) -> dict[str, object]:
        """The run in short."""
        return self._books.in_short()

    @workflow.query(description="The run's document: what state.json holds")
    def state(self) -> RunDocument:
        """The run's document."""
        return self._books.saver.current()

    @workflow.query(description="All decisions: what decisions.json holds")
    def decisions(self) -> list[Decision]:
        """All decisions, open or not."""
        return self._books.decisions.all()

    # ---- the run

    @workflow.run
    async def run(self, *given: Any) -> RunDocument:
        """Carry a run (`RunRequest`) out. Fails with one useful line; a cancellation keeps the work and ends so."""
        self._books.changed()
        if self._refusal:
            raise await self._end(RunStatus.FAILED, self._refusal)
        begin_scope()
        background = self._background
        # They go on until the books are closed, whatever ends the run.
        background.begin("saving", finishing(self._books.saver.run()))
        background.begin("reporting", finishing(self._outside.run()))
        background.watch()
        try:
            await self._outside.until_over(self._carry_out())
            failure = None
        except Over as over:
            failure = await self._over(over.ending)
        except Abort as abort:
            failure = await self._end(RunStatus.STOPPED, str(abort))
        except Skip as skip:
            failure = await self._end(
                RunStatus.STOPPED, f"The merged result has not passed its tests, so it is not published: {skip}."
            )
        except StepFailed as failed:
            self._escalations.record_error(
                "engine", "run", str(failed), "run", failed.attempted, "the run failed", error_type=failed.kind
            )
            failure = await self._end(RunStatus.FAILED, str(failed))
        except (Exception, asyncio.CancelledError) as error:
            cancelled = isinstance(error, Exception) and is_cancelled_exception(error)
            if cancelled or isinstance(error, asyncio.CancelledError):
                why = self._outside.stopped_because or "The run was stopped; its work is kept in the store."
                await self._end(RunStatus.STOPPED, why)
            elif isinstance(error, FailureError):
                # It ends the execution. Anything else is a fault of the code, which only fails the workflow task.
                failure = await self._end(RunStatus.FAILED, cut(f"The run failed: {error.cause or error}", 2_000))
                raise failure from error
            raise
        finally:
            background.end()
        if failure is not None:
            raise failure
        return self._books.saver.current()

    async def _carry_out(self) -> None:
        prepared = await self._prepare()
        clock = self._background.begin("clock", self._clock.run(prepared.limits.wall_clock_seconds))
        try:
            await self._work(prepared)
        finally:
            clock.cancel()

    async def _work(self, prepared: Prepared) -> None:
        books, document = self._books, self._books.document
        forked = await self._forked(prepared)
        if forked and workflow.patched("guide-in-forks"):
            self._orchestrator.begin(prepared)
        plan = forked.plan if forked else await self._plan(prepared)
        document.tasks = [
            TaskDocument(id=task.id, title=task.title, role=task.role, depends_on=task.depends_on)
            for task in plan.tasks
        ]
        self._outside.planned(plan)
        for task in document.tasks:
            if forked and task.id in forked.done:
                task.state, task.commit = TaskState.DONE, forked.done[task.id]
        books.set_status(RunStatus.WORKING)
        await self._driver.drive_all(plan.tasks, forked.progress if forked else None)
        if not any(task.state is TaskState.DONE for task in document.tasks):
            raise StepFailed("No task was finished, so there is nothing to publish.", "NothingDone", retried=False)
        books.set_status(RunStatus.PUBLISHING)
        patience, drive = self._outside.patiently, self._driver.drive
        finish = Finish(
            self._request, books, self._host, drive, self._caps, self._insistence, patience, self._escalations
        )
        await finish.run(prepared.base_commit)
        await self._outside.follow_up(finish, prepared)
        await self._done()

    async def _done(self) -> None:
        """Close the books of a run that has come to its end."""
        await to_its_end(self._close_done())

    async def _close_done(self) -> None:
        books, document = self._books, self._books.document
        document.ended_at = workflow.now()
        books.set_status(RunStatus.DONE)
        try:
            await books.saver.save_now(closing=True)
        except StepFailed as failure:
            # The branch is there: a full disk must not make a failed run of it now.
            document.notes.append(f"The last state.json could not be written: {failure}")
        await self._outside.close(done=True)

    async def _over(self, ending: Ending) -> ApplicationError | None:
        """Close the books of a run that GitHub has ended: a merge is what it was for."""
        if ending.kind != "merged":
            return await self._end(RunStatus.STOPPED, ending.reason)
        self._books.set_aside("the pull request was merged before")
        self._books.document.notes.append(ending.reason)
        await self._done()
        return None

    async def _plan(self, prepared: Prepared) -> Plan:
        return await self._orchestrator.plan(prepared, self._escalations, self._driver.inboxes, self._caps)

    async def _forked(self, prepared: Prepared) -> Forked | None:
        """What this run takes over from another one, if it does."""
        fork = self._request.fork
        if fork is None:
            return None
        self._books.document.forked_from = fork
        adopt = ForkInput(run=self._request.run, repo=self._request.repo, fork=fork, base=prepared.base_commit)
        try:
            while True:
                try:
                    return await self._host.attempt(
                        ForkingActivities.adopt_fork, adopt, timeout=GIT_TIMEOUT, summary=f"take over from {fork.run}"
                    )
                except StepFailed as failure:
                    if failure.kind == UsageError.__name__:
                        raise  # what was asked for does not exist; nothing is paid for yet
                    await self._insistence.ask(f"take over from {fork.run}", failure)
        except Skip as skip:
            raise Abort(f"Without the work of {fork.run} there is nothing to go on from: {skip}.") from skip

    async def _prepare(self) -> Prepared:
        try:
            prepared = await self._outside.patiently(self._look)
        except Skip as skip:
            raise Abort(f"Without the repository there is no work: {skip}.") from skip
        document = self._books.document
        document.base_commit = prepared.base_commit
        document.notes += prepared.notes
        document.models = prepared.models
        document.sandboxed = prepared.sandboxed
        document.binds = prepared.binds
        self._caps.begin(prepared.limits)
        self._driver.begin(prepared.limits)
        self._escalations.policy = prepared.decisions
        self._outside.begin(prepared)
        self._books.changed(save=True)
        return prepared

    async def _look(self) -> Prepared:
        # Nothing is paid for yet: a repository that cannot be used ends the run at once, with one clear line.
        return await self._host.attempt(
            RepositoryActivities.prepare_run,
            PrepareInput(request=self._request),
            timeout=GIT_TIMEOUT,
            summary=f"prepare {self._request.repo}",
        )

    async def _end(self, status: RunStatus, reason: str) -> ApplicationError:
        """Close the books of a run that was not carried out to its end; gives what its execution ends with."""
        await to_its_end(self._close(status, reason))
        return ApplicationError(reason, type="RunStopped" if status is RunStatus.STOPPED else "RunFailed")

    async def _close(self, status: RunStatus, reason: str) -> None:
        await self._books.close(status, reason)
        await self._outside.close(done=False)
