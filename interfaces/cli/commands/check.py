"""The command `check`: set a repository up and run its tests as a run's gate would, without a model."""

from typing import Any

from baton.errors import ExitCode
from baton.settings.core import SandboxMode, Settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.runs.project_check import check_project
from interfaces.cli.runs.repo_argument import resolve_repository
from interfaces.cli.terminal.output import line, message, one_line, print_json
from interfaces.cli.terminal.runner import execute

_MAX_SHOWN = 12
"""Tests failing at the base that are named."""


def check(repo: str, base: str | None, again: bool, sandbox: SandboxMode | None, as_json: bool) -> None:
    """Check a repository and print the report; exits with 1 if a run would not find its tests green."""
    execute(_check(load_settings(sandbox=sandbox), repo, base, again, as_json))


async def _check(settings: Settings, repo: str, base: str | None, again: bool, as_json: bool) -> int:
    found = await check_project(
        settings,
        resolve_repository(repo, base),
        base,
        again=again,
        progress=lambda text: message(f"  {one_line(text, 160)}"),
    )
    document = found.document()
    if as_json:
        print_json(document)
    else:
        _show(document)
    return ExitCode.DONE if found.verdict in ("green", "green_against_base") else ExitCode.FAILED


def _show(document: dict[str, Any]) -> None:
    technology = document["technology"]
    for stack in technology["stacks"]:
        where = f" in {stack['directory']}/" if stack["directory"] else ""
        line(f"Detected     {stack['language']}{where}" + (f", {stack['framework']}" if stack["framework"] else ""))
    for step in document["setup"]:
        line(f"Set-up       {one_line(step['command'], 120)}  ({step['reason']}; {_outcome(step)})")
    environment = document["environment"]
    if environment["key"]:
        made = "kept from before" if environment["reused"] else f"made in {environment['seconds']:.1f} s"
        line(f"Environment  {environment['key']}, {environment['mb']:.0f} MB, {made}")
    for test in document["test_commands"]:
        line(f"Tests        {one_line(test['command'], 120)}: {_counts(test)}")
    for name in document["failing_at_base"][:_MAX_SHOWN]:
        line(f"  fails at the base: {one_line(name, 160)}")
    if len(document["failing_at_base"]) > _MAX_SHOWN:
        line(f"  and {len(document['failing_at_base']) - _MAX_SHOWN} more (--json lists all)")
    for missing in document["missing"]:
        line(f"Missing      {one_line(missing['what'], 200)}: {one_line(missing['remedy'], 300)}")
    for note in document["notes"]:
        line(f"Note         {one_line(note, 300)}")
    line(f"Verdict      {document['verdict'].replace('_', ' ')}")


def _outcome(step: dict[str, Any]) -> str:
    if step["exit_code"] is None:
        return "not run"
    return f"{step['seconds']:.1f} s" if step["exit_code"] == 0 else f"exit code {step['exit_code']}"


def _counts(test: dict[str, Any]) -> str:
    if test["exit_code"] is None:
        return "not run"
    known = f"{test['passed']} passed, {test['failed']} failed, {test['skipped']} skipped" if test["runner"] else ""
    return ", ".join(filter(None, [known, f"exit code {test['exit_code']}", f"{test['seconds']:.1f} s"]))
