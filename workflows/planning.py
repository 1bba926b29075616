"""The planning stage of a run: the orchestrator's session, until there is a plan that can be carried out."""

from collections.abc import Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.repository import RepositoryActivities
    from baton.contracts import RunRequest
    from baton.naming import PLAN_TASK
    from baton.policies import GIT_TIMEOUT
    from baton.sessions import SessionInput, SessionKey, SessionResult
    from baton.steps import Plan, Prepared, ReadPlanInput, TaskNews, TaskProgress
    from workflows.children import tend
    from workflows.escalation import Abort, Escalations, Skip
    from workflows.session import AgentSession
    from workflows.steps import Host

_ROLE = "orchestrator"


async def make_plan(
    request: RunRequest,
    prepared: Prepared,
    host: Host,
    escalations: Escalations,
    inboxes: dict[str, list[str]],
    tell: Callable[[TaskNews], None],
) -> Plan:
    """Run the orchestrator's session until it hands a plan off; what it escalates becomes decisions of the run."""
    progress = TaskProgress(stage="make", commit=prepared.plan_commit, last_turn=prepared.limits.turns)
    inbox = inboxes.setdefault(PLAN_TASK, [])
    while True:
        result = await _session(request, prepared, host, progress, inbox, escalations.usd_added)
        tell(TaskNews(task=PLAN_TASK, stage="", round=1, turns=result.turns, cost_usd=result.cost_usd, role=_ROLE))
        progress.commit, progress.turn, progress.answer = result.commit, result.next_turn, None
        progress.guidance = [*result.guidance, *inbox]
        inbox.clear()
        host.queue = result.queue or host.queue
        if result.hand_off is not None:
            inboxes.pop(PLAN_TASK, None)
            return await host.step(
                RepositoryActivities.read_plan,
                ReadPlanInput(run=request.run, repo=request.repo, commit=result.commit, path=result.hand_off.path),
                timeout=GIT_TIMEOUT,
                summary="read the plan",
            )
        assert result.escalation is not None
        progress.asks = not result.escalation.operation
        try:
            decision = await escalations.ask(result.escalation, task_id=PLAN_TASK, agent=_ROLE, commit=result.commit)
        except Skip as skip:
            raise Abort(f"Without a plan there is no work: {skip}.") from skip
        progress = escalations.apply(decision, result.escalation, progress, prepared.limits)


async def _session(
    request: RunRequest,
    prepared: Prepared,
    host: Host,
    progress: TaskProgress,
    inbox: list[str],
    usd_added: float,
) -> SessionResult:
    key = SessionKey(run=request.run, repo=request.repo, task=PLAN_TASK, round=1, role=_ROLE)
    usd = prepared.limits.usd
    guidance, progress.guidance = progress.guidance, []
    child = await workflow.start_child_workflow(
        AgentSession.run,
        SessionInput(
            key=key,
            commit=progress.commit,
            turn=progress.turn,
            last_turn=progress.last_turn,
            queue=host.queue,
            guidance=guidance,
            answer=progress.answer,
            usd_left=None if usd is None else usd + usd_added,
        ),
        id=key.workflow_id,
        cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
        static_summary="plan: orchestrator",
    )
    return await tend(child, inbox, lambda text: child.signal(AgentSession.guide, text))
