"""The two tools that the engine itself answers, `hand_off` and `escalate`, and the validation of their input."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.session.journal import dump_json
from agents.reports import (
    GuidanceReport,
    MakerReport,
    OrchestratorReport,
    Report,
    ReportInvalid,
    ReviewerReport,
    TesterReport,
    parse_escalation,
    parse_report,
)
from baton.steps.session import Escalation, HandOff, SessionKey
from baton.steps.store_paths import handed_off_file
from baton.text.redaction import Redactor
from baton.text.truncation import cut_text, first_items

ToolUse = dict[str, Any]

_MAX_SUMMARY = 400


@dataclass
class HandOffVerdict:
    """The verdict on a `hand_off` call: accepted, or a fault for the model."""

    accepted: HandOff | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    fault: str = ""


def hand_off_of(key: SessionKey, call: ToolUse, redact: Redactor) -> HandOffVerdict | None:
    """Validate a `hand_off` call against the role's report; None for any other call."""
    if call["name"] != "hand_off":
        return None
    try:
        report = parse_report(key.report_kind, call["input"])
    except ReportInvalid as fault:
        return HandOffVerdict(fault=str(fault))
    path = handed_off_file(key.session_name)
    accepted = HandOff(path=path, **_report_summary(report, redact))
    return HandOffVerdict(accepted=accepted, files={path: dump_json(report.model_dump(mode="json"))})


def _report_summary(report: Report, redact: Redactor) -> dict[str, Any]:
    match report:
        case OrchestratorReport():
            return {"summary": _short_text(report.summary, redact)}
        case MakerReport():
            return {"summary": _short_text(report.implemented, redact)}
        case TesterReport():
            return {
                "verdict": report.verdict,
                "summary": _short_text(report.summary, redact),
                "blocking": len(report.failures),
            }
        case GuidanceReport():
            return {"verdict": report.action, "summary": _short_text(report.reason, redact)}
        case ReviewerReport():
            blocking = sum(finding.severity == "blocking" for finding in report.findings)
            return {"verdict": report.verdict, "summary": _short_text(report.summary, redact), "blocking": blocking}


def escalation_of(call: ToolUse, redact: Redactor) -> Escalation | None:
    """Return a valid `escalate` call as the workflow's record; None for any other call and for an invalid one."""
    if call["name"] != "escalate":
        return None
    try:
        report = parse_escalation(call["input"])
    except ReportInvalid:
        return None
    return Escalation(
        error_type=cut_text(redact(report.error_type), 100),
        question=cut_text(redact(report.question), 2_000),
        attempted=_few_texts(report.attempted, redact),
        suggestions=_few_texts(report.suggestions, redact),
        choices=[redact(text)[:200] for text in report.choices[:10]],
        architectural=report.architectural,
    )


def escalation_fault(call: ToolUse) -> str:
    """Return the sentence for the model about an `escalate` call that is invalid or not taken up."""
    try:
        parse_escalation(call["input"])
    except ReportInvalid as fault:
        return str(fault)
    return "The escalation was not taken up; go on, or call `escalate` again on its own."


def _few_texts(texts: Sequence[str], redact: Redactor) -> list[str]:
    """Return at most ten texts, redacted; the last one says how many more there are."""
    shown = [cut_text(redact(text), 500) for text in texts]
    return shown if len(shown) <= 10 else first_items(shown, 9)


def _short_text(text: str, redact: Redactor) -> str:
    flat = " ".join(redact(text).split())
    return flat if len(flat) <= _MAX_SUMMARY else flat[: _MAX_SUMMARY - 1] + "…"
