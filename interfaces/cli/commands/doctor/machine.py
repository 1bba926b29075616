"""The command `doctor`: what a run needs on this machine, whether it is there, and what to do where it is not."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from baton.errors import BatonError, ExitCode, UsageError
from interfaces.cli import options
from interfaces.cli.commands.doctor.check import Check
from interfaces.cli.terminal.output import line, one_line, print_json
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from baton.settings.core import Settings

_GIT_NEEDED = (2, 38)
"""The first git with `merge-tree --write-tree`."""

_WRITABLE = "Both BATON_HOME and the system's directory for temporary files must be writable, and have room."


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog="Example: baton doctor --json")(doctor)


def doctor(
    store: Annotated[bool, typer.Option("--store", help="Check the stores of this home instead.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="With --store: mend what can be mended.")] = False,
    github: Annotated[bool, typer.Option("--github", help="Check the GitHub side instead.")] = False,
    as_json: options.Json = False,
) -> None:
    """Check this machine, and list the settings.

    Looks at server, sandbox, git, key and disk, and says what to do about each. No model is called.
    With --store it reads every object, checkpoint and transcript of this home instead, which can take minutes; mend
    while no worker runs. With --github it asks GitHub whether the credential is valid and may do what is needed.
    Exit code: 1 when something fails.
    """
    if store and github:
        raise UsageError("--store and --github exclude each other.")
    if repair and not store:
        raise UsageError("--repair mends stores: use `baton doctor --store --repair`.")
    if store:
        from interfaces.cli.commands.doctor.store import check_stores

        execute(check_stores(options.settings(), repair, as_json))
    if github:
        from interfaces.cli.commands.doctor.github import check_github

        execute(check_github(options.settings(), as_json))
    execute(_doctor(options.settings(), as_json))


async def _doctor(settings: "Settings", as_json: bool) -> int:
    checks = [check async for check in _checks(settings)]
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks], "settings": _settings(settings)})
        return ExitCode.FAILED if failed else ExitCode.DONE
    for check in checks:
        line(f"{check.status:<5} {check.name:<9} {one_line(check.detail, 300)}")
        if check.advice:
            line(f"{'':<16}{one_line(check.advice, 600)}")
    line("\nsettings")
    for setting in _settings(settings):
        line(f"  {setting['variable']:<26} {one_line(str(setting['value']), 80)}  ({setting['source']})")
        line(f"  {'':<26} {setting['description']}")
    return ExitCode.FAILED if failed else ExitCode.DONE


async def _checks(settings: "Settings") -> AsyncIterator[Check]:
    """Everything that is looked at; what cannot be looked at has failed, and the others are looked at all the same."""
    looks: dict[str, Callable[[Settings], Check | Awaitable[Check]]] = {
        "packages": _packages,
        "disk": _home,
        "git": _git,
        "sandbox": _sandbox,
        **({"binds": _binds} if settings.allowed_binds() else {}),
        "key": _key,
        "prices": _prices,
        **({"remote": _state_remote} if settings.state_remote else {}),
        "server": _server,
    }
    for name, look in looks.items():
        try:
            found = look(settings)
            check = found if isinstance(found, Check) else await found
        except OSError as error:
            what = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
            check = Check(name, "fail", what, _WRITABLE)
        yield check


def _packages(_: "Settings") -> Check:
    from workers.host_id import check_packages

    try:
        check_packages()
    except BatonError as error:
        return Check("packages", "fail", str(error))
    return Check("packages", "ok", "The top-level packages are Baton's own.")


def _home(settings: "Settings") -> Check:
    from workspaces.store.disk_space import room
    from workspaces.store.private_home import close_home

    probe = settings.home / ".doctor"
    try:
        closed = close_home(settings.home)
        probe.write_text("")
        probe.unlink()
        found = room(settings)
    except OSError as error:
        return Check("disk", "fail", f"{settings.home}: {error.strerror}.", "Set BATON_HOME to a directory of yours.")
    if found.low or found.too_low:
        status: Literal["warn", "fail"] = "fail" if found.too_low else "warn"
        return Check("disk", status, found.words, "Or set BATON_HOME to a larger disk.")
    if closed:
        return Check("disk", "warn", " ".join(closed))
    return Check("disk", "ok", f"{found.free / 1e9:.1f} GB free at {settings.home}.")


def _git(_: "Settings") -> Check:
    import subprocess

    advice = "Install git 2.38 or newer (Debian: apt install git)."
    try:
        said = subprocess.run(
            ["git", "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return Check("git", "fail", f"git cannot be run: {error}", advice)
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < _GIT_NEEDED:
        return Check("git", "fail", f"{said} is too old.", advice)
    return Check("git", "ok", f"{said}.")


async def _sandbox(settings: "Settings") -> Check:
    from workspaces.sandbox.bounds import bounds_of
    from workspaces.sandbox.environment import own_toolchains
    from workspaces.sandbox.sandbox import probe

    bounds = bounds_of(settings)
    status = await probe(settings.sandbox, bounds=bounds)
    grade: dict[str, Literal["ok", "warn", "fail"]] = {"bwrap": "ok", "none": "warn", "unavailable": "fail"}
    notes = own_toolchains(home=settings.home).notes
    words = [status.reason, bounds.words, *notes]
    if status.isolated and not notes:
        words.append("They find Python and pytest; packages of Baton and of its interpreter are hidden.")
    return Check("sandbox", grade[status.kind], " ".join(words), status.advice)


async def _binds(settings: "Settings") -> Check:
    """The directories that `baton.toml` may ask for, each looked at as if it were asked for as a whole."""
    from workspaces.sandbox.binds import BindRules
    from workspaces.sandbox.environment import own_toolchains

    allowed = settings.allowed_binds()
    hidden = own_toolchains(home=settings.home).hidden
    judged = await BindRules(allowed, tuple(map(str, allowed)), settings.home, hidden).judge()
    words = f"baton.toml may ask for {', '.join(map(str, allowed))}, and for what lies below."
    if not judged.refused:
        return Check("binds", "ok", words)
    return Check("binds", "warn", words, f"{' '.join(judged.refused)} What lies below and is harmless can be shown.")


def _key(settings: "Settings") -> Check:
    if settings.api_key is None and settings.base_url is None:
        return Check(
            "key",
            "warn",
            "ANTHROPIC_API_KEY is not set.",
            "Set it to run on your repositories; `baton demo` needs none.",
        )
    where = settings.base_url or "the Messages API of Anthropic"
    known = "ANTHROPIC_API_KEY is set" if settings.api_key else "ANTHROPIC_API_KEY is not set"
    return Check("key", "ok", f"{known}; calls would go to {where}. No call was made.")


def _prices(settings: "Settings") -> Check:
    from agents.roles.models import check_models
    from baton.budget.pricing import load_prices

    try:
        prices = load_prices(settings.prices)
    except BatonError as error:
        return Check("prices", "fail", str(error), "Mend the file, or unset BATON_PRICES.")
    try:
        check_models({}, settings, prices)
    except BatonError as error:
        return Check("prices", "fail", str(error), "No run begins with it.")
    return Check("prices", "ok", f"{settings.prices or 'the shipped list'}, of {prices.date}.")


async def _state_remote(settings: "Settings") -> Check:
    from workspaces.store.state_remote import StateRemote, probe

    try:
        remote = StateRemote.parse(settings.state_remote or "")
        await probe(remote)
    except BatonError as error:
        return Check("remote", "fail", str(error), "Without it no step of a run counts as done.")
    return Check("remote", "ok", f"The state remote {remote.url} answers.")


async def _server(settings: "Settings") -> Check:
    from workers.connection import target
    from workers.embedded.server import running_server
    from workers.temporal_service import temporal_service

    try:
        shared = not target().configured and running_server(settings) is not None
        async with temporal_service(settings) as service:
            if not service.embedded:
                return Check("server", "ok", f"Temporal answers at {service.address}.")
            how = f"The embedded server runs at {service.address}, Web UI {service.web_ui}."
            how = how if shared else "The embedded server starts when it is needed (tried)."
            server = service.server
            entry = f" TEMPORAL_CONFIG_FILE={server.profile} lets the `temporal` command in." if server else ""
            warnings = " ".join(server.warnings) if server else ""
            return Check("server", "warn" if warnings else "ok", how + (entry if shared else ""), warnings)
    except BatonError as error:
        return Check("server", "fail", str(error))


def _settings(settings: "Settings") -> list[dict[str, Any]]:
    """Every setting with its value, masked where it is a secret, and where it comes from."""
    from pydantic import SecretStr

    from baton.text.redaction import Redactor, strip_url_credentials

    redact = Redactor(settings.secrets())
    listed = []
    # Those of GitHub come last.
    for name, field in sorted(type(settings).model_fields.items(), key=lambda item: item[0].startswith("github_")):
        value = getattr(settings, name)
        alias = field.validation_alias
        variable = str(getattr(alias, "choices", [f"BATON_{name.upper()}"])[0])
        if name == "state_remote" and isinstance(value, str):
            value = strip_url_credentials(value)
        shown = (
            "***" if isinstance(value, SecretStr) else redact(str(value)) if isinstance(value, str | Path) else value
        )
        listed.append(
            {
                "variable": variable,
                "value": shown if shown is not None else "-",
                "source": "environment" if name in settings.model_fields_set else "default",
                "description": field.description or "",
            }
        )
    return [*listed, *_temporal()]


def _temporal() -> list[dict[str, Any]]:
    from workers.connection import target

    try:
        to = target()
    except BatonError as error:
        return [{"variable": "TEMPORAL_ADDRESS", "value": "-", "source": "unreadable", "description": str(error)}]
    source = "environment or profile" if to.address else "default"
    address = to.address or "the embedded server"
    description = "Temporal's own settings: also TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TLS, TEMPORAL_PROFILE"
    return [{"variable": "TEMPORAL_ADDRESS", "value": address, "source": source, "description": description}]
