"""The context of a failure, from the conversation: its class, the file in question, the database address."""

import re
from typing import Any

from agents.failure_classifier import FailureClass, classify_failure
from baton.steps.session import Escalation
from baton.text.redaction import Redactor
from baton.text.truncation import cut_text

Message = dict[str, Any]

_MAX_MESSAGES = 6
"""Number of the last user messages in which a failed tool call counts as the reason of an escalation."""

_DATABASE_URL = re.compile(
    r"\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|redis|sqlite)(?:\+\w+)?://[^\s'\"<>]{1,300}"
)


def diagnose_escalation(escalation: Escalation, messages: list[Message], redact: Redactor) -> Escalation:
    """Return the escalation with the class and context of the last failed tool calls; credentials are masked."""
    output = "\n".join(_failing_output(messages))
    diagnosis = classify_failure("\n".join([output, escalation.question]))
    context: dict[str, str] = {}
    path = _last_file(messages)
    if path:
        context["file"] = cut_text(redact(path), 300)
    url = _DATABASE_URL.search(output)
    if url:
        context["database_url"] = redact(url.group())
    if diagnosis.symptoms:
        context["symptom"] = cut_text(redact(diagnosis.symptoms[-1]), 300)
    known = "" if diagnosis.kind is FailureClass.UNKNOWN else diagnosis.kind.value
    return escalation.model_copy(update={"failure_class": known, "context": context})


def _failing_output(messages: list[Message]) -> list[str]:
    """Return the output of the recent failed tool calls, the newest last."""
    found: list[str] = []
    users = [message for message in messages if message["role"] == "user"][-_MAX_MESSAGES:]
    for message in users:
        for block in message["content"]:
            if block.get("type") == "tool_result" and block.get("is_error") and isinstance(block.get("content"), str):
                found.append(block["content"])
    return found


def _last_file(messages: list[Message]) -> str:
    """Return the path of the last file tool call; empty if there is none."""
    for message in reversed(messages):
        if message["role"] != "assistant":
            continue
        for block in reversed(message["content"]):
            if block.get("type") == "tool_use" and isinstance(block.get("input"), dict):
                path = block["input"].get("file_path") or block["input"].get("path")
                if isinstance(path, str):
                    return path
    return ""
