"""The command `check`: set a repository up and run its tests as a run's gate would, without a model."""

from typing import Any

from baton.errors import ExitCode
from baton.settings.core import SandboxMode, Settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.runs.project_check import check_project
from interfaces.cli.runs.repo_argument import resolve_repository
from interfaces.cli.terminal.output import one_line, print_json, write_line, write_message
from interfaces.cli.terminal.runner import run_body

_MAX_SHOWN = 12
"""Tests failing at the base that are named."""


def check(repo: str, base: str | None, again: bool, sandbox: SandboxMode | None, as_json: bool) -> None:
    """Check a repository and print the report; exits with 1 if a run would not find its tests green."""
    run_body(_check_repository(load_settings(sandbox=sandbox), repo, base, again, as_json))


async def _check_repository(settings: Settings, repo: str, base: str | None, again: bool, as_json: bool) -> int:
    found = await check_project(
        settings,
        resolve_repository(repo, base),
        base,
        again=again,
        progress=lambda text: write_message(f"  {one_line(text, 160)}"),
    )
    document = found.document()
    if as_json:
        print_json(document)
    else:
        _print_report(document)
    return ExitCode.DONE if found.verdict in ("green", "green_against_base") else ExitCode.FAILED


def _print_report(document: dict[str, Any]) -> None:
    technology = document["technology"]
    for stack in technology["stacks"]:
        where = f" in {stack['directory']}/" if stack["directory"] else ""
        write_line(
            f"Detected     {stack['language']}{where}" + (f", {stack['framework']}" if stack["framework"] else "")
        )
    for step in document["setup"]:
        write_line(f"Set-up       {one_line(step['command'], 120)}  ({step['reason']}; {_step_outcome(step)})")
    environment = document["environment"]
    if environment["key"]:
        made = "kept from before" if environment["reused"] else f"made in {environment['seconds']:.1f} s"
        write_line(f"Environment  {environment['key']}, {environment['mb']:.0f} MB, {made}")
    for test in document["test_commands"]:
        write_line(f"Tests        {one_line(test['command'], 120)}: {_count_results(test)}")
    for name in document["failing_at_base"][:_MAX_SHOWN]:
        write_line(f"  fails at the base: {one_line(name, 160)}")
    if len(document["failing_at_base"]) > _MAX_SHOWN:
        write_line(f"  and {len(document['failing_at_base']) - _MAX_SHOWN} more (--json lists all)")
    for missing in document["missing"]:
        write_line(f"Missing      {one_line(missing['what'], 200)}: {one_line(missing['remedy'], 300)}")
    for note in document["notes"]:
        write_line(f"Note         {one_line(note, 300)}")
    write_line(f"Verdict      {document['verdict'].replace('_', ' ')}")


def _step_outcome(step: dict[str, Any]) -> str:
    if step["exit_code"] is None:
        return "not run"
    return f"{step['seconds']:.1f} s" if step["exit_code"] == 0 else f"exit code {step['exit_code']}"


def _count_results(test: dict[str, Any]) -> str:
    if test["exit_code"] is None:
        return "not run"
    known = f"{test['passed']} passed, {test['failed']} failed, {test['skipped']} skipped" if test["runner"] else ""
    return ", ".join(filter(None, [known, f"exit code {test['exit_code']}", f"{test['seconds']:.1f} s"]))
