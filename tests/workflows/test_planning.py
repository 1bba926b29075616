"""Which reports of stuck tasks the orchestrator may answer: never those about architecture, credentials or money."""

import pytest

from baton.records.run import RunDocument, RunRequest, RunStatus
from baton.steps.session import Escalation
from baton.steps.task import PlannedTask
from workflows.budget.cap_decisions import CapDecisions
from workflows.budget.wall_clock import WallClock
from workflows.decisions.escalation import Escalations
from workflows.stages.plan_stage import Orchestrator
from workflows.state.run_context import RunContext

TASK = PlannedTask(id="t1", title="Pages", role="backend")


def passes_on(kind: str, *, architectural: bool = False, operation: str = "") -> str:
    """Why a report goes to a person at once."""
    document = RunDocument(run="r", status=RunStatus.PLANNING, repo="/srv/shop")
    context = RunContext(RunRequest(task="x", repo="/srv/shop"), document)
    escalations = Escalations(context)
    caps = CapDecisions(context, escalations, WallClock(context))
    orchestrator = Orchestrator(context, escalations, caps)
    escalation = Escalation(error_type=kind, question="Which?", architectural=architectural, operation=operation)
    return orchestrator.passes_on(TASK, escalation)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("missing_credentials", "credentials"),
        ("Database password", "password"),
        ("API key", "api key"),
        ("secret_needed", "secret"),
        ("permission_denied", "permissions"),
        ("money", "money"),
        ("Budget", "budget"),
        ("cost_of_a_service", "cost"),
        ("architecture", "architecture"),
    ],
)
def test_what_is_for_a_person_whatever_else_is_said_of_it(kind: str, about: str) -> None:
    assert passes_on(kind) == f"a question about {about} is for a person"


def test_a_question_that_calls_itself_architectural() -> None:
    assert passes_on("unclear", architectural=True) == "the question is about architecture"


@pytest.mark.parametrize("kind", ["gate_red", "review_rejected", "merge_conflict", "no_progress"])
def test_what_guidance_may_help_with(kind: str) -> None:
    assert passes_on(kind, operation="round 3") == ""
    assert passes_on("unclear") == ""


@pytest.mark.parametrize("kind", ["overloaded_error", "WorkElsewhere", "DiskFull", "turn_limit"])
def test_what_guidance_does_not_help_with(kind: str) -> None:
    assert passes_on(kind, operation="turn 3") == "a failure of this kind is not helped by guidance"
