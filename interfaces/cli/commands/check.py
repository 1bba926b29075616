"""The command `check`: set a repository up and run its tests as a run's gate would, without a model."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from baton.errors import ExitCode
from interfaces.cli import options
from interfaces.cli.terminal.output import line, message, one_line, print_json
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from baton.settings.core import Settings

_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog="Examples: baton check --repo . | baton check --repo https://github.com/you/shop --json")(check)


def check(
    repo: Annotated[str, typer.Option(metavar="PATH_OR_URL", help="The repository; its base branch is checked.")] = ".",
    base: Annotated[
        str | None, typer.Option(metavar="REF", help="Branch, tag or commit instead of the default branch.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Make the environment anew, whatever is kept.")] = False,
    sandbox: options.Sandbox = None,
    as_json: options.Json = False,
) -> None:
    """Try a repository without a model: what was detected, its set-up, and its tests at the base commit.

    The environment is made once and kept for the runs that come. The network is open to the registries while it is
    made, and closed while the tests run.
    Exit code: 0 when the tests are green, or green but for tests that fail at the base; 1 otherwise.
    """
    execute(_check(options.settings(sandbox=sandbox), repo, base, again, as_json))


async def _check(settings: "Settings", repo: str, base: str | None, again: bool, as_json: bool) -> int:
    from interfaces.cli.runs.project_check import check_project
    from interfaces.cli.runs.repo_argument import resolve_repository

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
    for name in document["failing_at_base"][:_SHOWN]:
        line(f"  fails at the base: {one_line(name, 160)}")
    if len(document["failing_at_base"]) > _SHOWN:
        line(f"  and {len(document['failing_at_base']) - _SHOWN} more (--json lists all)")
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
