"""The hand-off reports of the roles and the escalation, strict, with errors by which a model corrects its report."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from agents.plan import PlanTask, plan_faults
from baton.errors import BatonError, UsageError

_MAX_FAULTS = 20
_KINDS = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_Model = TypeVar("_Model", bound=BaseModel)

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Item = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]
Items = Annotated[list[Item], Field(max_length=200)]


class ReportInvalid(BatonError):
    """A report or an escalation is invalid; the message becomes the result of the model's tool call."""

    def __init__(self, tool: str, faults: Sequence[str]) -> None:
        shown = list(faults[:_MAX_FAULTS])
        if len(faults) > _MAX_FAULTS:
            shown.append(f"... and {len(faults) - _MAX_FAULTS} more.")
        lines = "\n".join(f"- {fault}" for fault in shown)
        super().__init__(f"The input of {tool} was not accepted. Correct this and call {tool} again:\n{lines}")
        self.faults = list(faults)


class _StrictReport(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class OrchestratorReport(_StrictReport):
    """The report of the orchestrator: the plan."""

    summary: Text = Field(description="How the change is cut into tasks and why, in a few sentences")
    tasks: list[PlanTask] = Field(description="The tasks, those that others build on first")


class MakerReport(_StrictReport):
    """The report of a backend or frontend agent: the eight fields of the hand-off."""

    files_changed: Items = Field(description="Paths of the files created, modified or deleted, relative to the root")
    implemented: Text = Field(description="What was implemented and how it behaves now")
    dependencies_added: Items = Field(description="Packages added, with version and reason; empty where none")
    architecture_decisions: Items = Field(description="Choices that others must know, each with its reason")
    security_considerations: Items = Field(description="What could be abused here, and what was done about it")
    performance_optimizations: Items = Field(description="Caches, indexes, batching and the like that were applied")
    needs_testing: Items = Field(description="What the tester should cover: behaviour, edge cases, failures")
    api_documentation_updates: Items = Field(description="Changes of the interface that its documentation must follow")


class TestFailure(_StrictReport):
    """A test that fails, or behaviour that does not meet the acceptance criteria."""

    test: Item = Field(description="The test's full name (tests/test_orders.py::test_last_page) or the criterion")
    message: Text = Field(description="What was expected, what happened, and the decisive lines of the output")


class TesterReport(_StrictReport):
    """The report of a tester: the verdict of the tests."""

    verdict: Literal["pass", "fail"] = Field(
        description="pass: nothing is wrong, `failures` is empty. fail: `failures` names at least one"
    )
    summary: Text = Field(description="What was tested and how; the command that was run and its result")
    tests_added: Items = Field(description="Tests added or changed, by full name or file; empty where none")
    failures: list[TestFailure] = Field(max_length=100, description="Each failure that the maker must fix")


class ReviewFinding(_StrictReport):
    """One remark of a review, with the place that proves it."""

    severity: Literal["blocking", "advice"] = Field(
        description="blocking: the change must not be merged like this. advice: worth knowing, changes no verdict"
    )
    file: Item = Field(description="Path of the file, relative to the root")
    line: int | None = Field(
        default=None, ge=1, description="Line in the new state of the file; leave it out for the whole file"
    )
    message: Text = Field(
        description="What is wrong, the evidence (code, criterion, test or command output), what to do"
    )


class ReviewerReport(_StrictReport):
    """The report of a reviewer: the verdict of the review."""

    verdict: Literal["approve", "request_changes"] = Field(
        description="request_changes exactly when at least one finding is blocking"
    )
    summary: Text = Field(description="What was checked, against which evidence (commit, command, exit code)")
    findings: list[ReviewFinding] = Field(max_length=100, description="The findings, blocking ones first; may be empty")


class EscalationInput(_StrictReport):
    """The input of `escalate`: a question that the agent cannot answer itself."""

    error_type: Item = Field(description="A short class: architecture, credentials, database connection, scope ...")
    question: Text = Field(description="The question, understandable without the conversation")
    attempted: Items = Field(description="What was tried, each with its result; empty where nothing could be")
    suggestions: Items = Field(description="Solutions that you see, the best first")
    choices: Items = Field(description="Short answers to choose from, such as ['postgres', 'sqlite']; may be empty")
    architectural: bool = Field(
        description="Whether the answer shapes the system (data store, interface, dependency): then a person decides"
    )


class GuidanceReport(_StrictReport):
    """The orchestrator's answer to a report that an agent is stuck: guidance, or a question for a person."""

    action: Literal["guide", "ask_person"] = Field(
        description="guide: you can help with what is in the repository and the request. ask_person: it is about "
        "architecture, credentials or money, or guidance would be a guess"
    )
    guidance: str = Field(
        max_length=20_000, description="What the agent should do now, concrete: files, steps, the decision taken"
    )
    reason: Text = Field(description="Why you answer like this, in a sentence or two; it goes into the record")


Report = OrchestratorReport | MakerReport | TesterReport | ReviewerReport | GuidanceReport

GUIDANCE = "guidance"
"""The kind of session in which the orchestrator answers a stuck agent; all other kinds have the name of a role."""

REPORTS: dict[str, type[Report]] = {
    "orchestrator": OrchestratorReport,
    "backend": MakerReport,
    "frontend": MakerReport,
    "tester": TesterReport,
    "reviewer": ReviewerReport,
}
"""The model of each role's hand-off."""


def report_model(kind: str) -> type[Report]:
    """Return the model of the report that ends a session of a kind. Raises UsageError for an unknown kind."""
    if kind == GUIDANCE:
        return GuidanceReport
    try:
        return REPORTS[kind]
    except KeyError:
        raise UsageError(f"There is no role `{kind}`; the roles are {', '.join(REPORTS)}.") from None


def parse_report(role: str, data: object) -> Report:
    """Check the input of `hand_off`. Raises ReportInvalid with each fault for the model."""
    report = _validate_report(report_model(role), "hand_off", data)
    if faults := _find_contradictions(report):
        raise ReportInvalid("hand_off", faults)
    return report


def parse_escalation(data: object) -> EscalationInput:
    """Check the input of `escalate`. Raises ReportInvalid with each fault for the model."""
    return _validate_report(EscalationInput, "escalate", data)


def _validate_report(model: type[_Model], tool: str, data: object) -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_describe_fault(item) for item in error.errors(include_url=False, include_context=True)]
        raise ReportInvalid(tool, faults) from error


def _find_contradictions(report: Report) -> list[str]:
    """Return the faults of fields that are valid one by one and contradict each other."""
    match report:
        case OrchestratorReport():
            return plan_faults(report.tasks)
        case GuidanceReport(action="guide", guidance=guidance) if not guidance.strip():
            return ["guidance: the action is `guide`; say what the agent should do."]
        case TesterReport(verdict="pass", failures=[_, *_]):
            return ["verdict: it is `pass`, but failures are listed; say `fail`, or leave `failures` empty."]
        case TesterReport(verdict="fail", failures=[]):
            return ["failures: the verdict is `fail`; name at least one failure with test and message."]
        case ReviewerReport():
            blocking = any(finding.severity == "blocking" for finding in report.findings)
            if report.verdict == "approve" and blocking:
                return ["verdict: it is `approve`, but a finding is blocking; say `request_changes`."]
            if report.verdict == "request_changes" and not blocking:
                return ["findings: the verdict is `request_changes`; at least one finding must be `blocking`."]
    return []


def _field_path(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "input"


_EXPECTED = {
    "missing": "is missing; it is required (an empty list if there are no entries)",
    "extra_forbidden": "is not a field of this tool; leave it out",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "string_unicode": "must be valid Unicode text",
}


def _describe_fault(error: ErrorDetails) -> str:
    """Return `field: fault and expectation`, with the given value if it is short."""
    where = _field_path(error["loc"])
    expected = _EXPECTED.get(error["type"])
    if expected is None:
        message = error["msg"]
        expected = message[:1].lower() + message[1:].replace("Input should", "it should")
        expected = expected.replace("input should", "it should")
    given = error["input"]
    if error["type"] in {"missing", "extra_forbidden"}:
        return f"{where}: {expected}."
    kind = _KINDS.get(type(given), "of another type")
    shown = repr(given) if isinstance(given, str | int | float) and len(str(given)) <= 60 else kind
    return f"{where}: {expected}; it is {shown}."
