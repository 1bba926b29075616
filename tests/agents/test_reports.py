"""Hand-offs are strict, and what does not fit is told so that a model can mend it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import reports
from agents.reports import (
    MakerReport,
    OrchestratorReport,
    ReportInvalid,
    ReviewerReport,
    parse_escalation,
    parse_report,
)
from baton.errors import UsageError
from baton.records.run import ROLES

PLAN: dict[str, Any] = {
    "summary": "One task.",
    "tasks": [
        {
            "id": "t1",
            "title": "Add it",
            "role": "backend",
            "instructions": "Do",
            "acceptance": ["200"],
            "depends_on": [],
        }
    ],
}
MAKER: dict[str, Any] = {
    "files_changed": ["a.py"],
    "implemented": "It works.",
    "dependencies_added": [],
    "architecture_decisions": [],
    "security_considerations": [],
    "performance_optimizations": [],
    "needs_testing": ["limits"],
    "api_documentation_updates": [],
}
TESTER: dict[str, Any] = {"verdict": "pass", "summary": "All.", "tests_added": ["tests/test_a.py"], "failures": []}
FINDING: dict[str, Any] = {"severity": "blocking", "file": "a.py", "line": 3, "message": "Not bounded."}
REVIEW: dict[str, Any] = {"verdict": "request_changes", "summary": "One.", "findings": [FINDING]}
ESCALATION: dict[str, Any] = {
    "error_type": "architecture",
    "question": "Where?",
    "attempted": [],
    "suggestions": ["url"],
    "choices": ["url", "storage"],
    "architectural": True,
}


def faults(role: str, data: object) -> str:
    with pytest.raises(ReportInvalid) as caught:
        parse_report(role, data)
    return str(caught.value)


def test_good_reports_are_taken() -> None:
    assert isinstance(parse_report("orchestrator", PLAN), OrchestratorReport)
    assert isinstance(parse_report("backend", MAKER), MakerReport)
    assert isinstance(parse_report("frontend", MAKER), MakerReport)
    assert isinstance(parse_report("tester", TESTER), reports.TesterReport)
    assert isinstance(parse_report("reviewer", REVIEW), ReviewerReport)
    assert parse_escalation(ESCALATION).choices == ["url", "storage"]


def test_the_fields_are_those_of_the_contract() -> None:
    assert set(MakerReport.model_fields) == set(MAKER)
    assert set(reports.TesterReport.model_fields) == set(TESTER)
    assert set(ReviewerReport.model_fields) == set(REVIEW)
    assert set(OrchestratorReport.model_fields) == set(PLAN)


@pytest.mark.parametrize(
    ("role", "data", "lines"),
    [
        ("backend", "text", ["input: must be an object; it is 'text'"]),
        ("backend", None, ["input: must be an object; it is null"]),
        (
            "backend",
            {**MAKER, "files_changed": "a.py", "implemented": 7, "extra": 1},
            [
                "files_changed: must be a list; it is 'a.py'",
                "implemented: must be text; it is 7",
                "extra: is not a field",
            ],
        ),
        ("backend", {key: MAKER[key] for key in MAKER if key != "needs_testing"}, ["needs_testing: is missing"]),
        ("backend", {**MAKER, "implemented": "  "}, ["implemented: must not be empty"]),
        ("tester", {**TESTER, "verdict": "passed"}, ["verdict: it should be 'pass' or 'fail'; it is 'passed'"]),
        ("tester", {**TESTER, "failures": [{"test": "t"}]}, ["failures[0].message: is missing"]),
        ("tester", {**TESTER, "verdict": "fail"}, ["failures: the verdict is `fail`"]),
        ("tester", {**TESTER, "failures": [{"test": "t", "message": "m"}]}, ["verdict: it is `pass`"]),
        ("reviewer", {**REVIEW, "verdict": "approve"}, ["verdict: it is `approve`, but a finding is blocking"]),
        ("reviewer", {**REVIEW, "findings": []}, ["findings: the verdict is `request_changes`"]),
        ("reviewer", {**REVIEW, "findings": [{**FINDING, "line": "3"}]}, ["findings[0].line: must be a whole number"]),
        ("reviewer", {**REVIEW, "findings": [{**FINDING, "line": 0}]}, ["findings[0].line: it should be greater"]),
        ("orchestrator", {**PLAN, "tasks": []}, ["tasks: there is no task"]),
        ("orchestrator", {**PLAN, "tasks": [{**PLAN["tasks"][0], "role": "tester"}]}, ["tasks[0].role: it should be"]),
        (
            "orchestrator",
            {**PLAN, "tasks": [{**PLAN["tasks"][0], "depends_on": ["t1"]}]},
            ["form a cycle (t1 -> t1)"],
        ),
        ("backend", {**MAKER, "implemented": "\ud800"}, ["implemented: must be valid Unicode text"]),
    ],
)
def test_each_fault_is_told_with_its_place(role: str, data: object, lines: list[str]) -> None:
    message = faults(role, data)
    assert message.startswith("The input of hand_off was not accepted.")
    for line in lines:
        assert f"- {line}" in message or line in message


def test_many_faults_stay_readable() -> None:
    message = faults("backend", {**MAKER, "files_changed": list(range(150))})
    assert len(message.splitlines()) < 30
    assert "more" in message.splitlines()[-1]


def test_an_escalation_that_does_not_fit_names_its_tool() -> None:
    with pytest.raises(ReportInvalid, match=r"input of escalate(.|\n)*architectural: must be true or false"):
        parse_escalation({**ESCALATION, "architectural": "yes"})


def test_a_finding_may_be_about_a_whole_file() -> None:
    report = parse_report("reviewer", {**REVIEW, "findings": [{**FINDING, "line": None}]})
    assert isinstance(report, ReviewerReport)
    assert report.findings[0].line is None


def test_an_unknown_role_has_no_report() -> None:
    with pytest.raises(UsageError, match="janitor"):
        parse_report("janitor", {})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text() | st.sampled_from(list(MAKER)), children)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.sampled_from(ROLES), _JSON)
def test_whatever_a_model_sends_gives_a_bounded_error(role: str, data: object) -> None:
    message = faults(role, data)
    assert len(message) < 20_000
    message.encode()
