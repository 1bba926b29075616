"""The command `doctor`: checks the needs of a run on this machine, each with a remedy."""

import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Literal

from agents.roles.models import check_models
from baton.budget.pricing import load_prices
from baton.errors import BatonError, ExitCode, UsageError
from baton.settings.core import Settings
from baton.settings.setting_list import list_settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.commands.config import temporal_setting
from interfaces.cli.commands.doctor.check import Check
from interfaces.cli.commands.doctor.github import check_github
from interfaces.cli.commands.store.check import verify_stores
from interfaces.cli.terminal.output import one_line, print_json, write_line
from interfaces.cli.terminal.runner import run_body
from workers.connection import read_target
from workers.embedded.server import find_running_server
from workers.host_id import check_packages
from workers.temporal_service import connect_service
from workspaces.sandbox.binds import BindRules
from workspaces.sandbox.bounds import bounds_of
from workspaces.sandbox.environment import own_toolchains
from workspaces.sandbox.sandbox import probe_sandbox
from workspaces.store.disk_space import measure_disk_space
from workspaces.store.private_home import close_home
from workspaces.store.state_remote import StateRemote
from workspaces.store.state_remote import probe_remote as probe_remote

_GIT_NEEDED = (2, 38)
"""The first git with `merge-tree --write-tree`."""

_WRITABLE = "BATON_HOME and the system's directory for temporary files must be writable, with free space."


def doctor(store: bool, repair: bool, github: bool, as_json: bool) -> None:
    """Check the machine, or GitHub; `store` and `repair` are the older spelling of `store check` and `store repair`."""
    if store and github:
        raise UsageError("--store and --github exclude each other.")
    if repair and not store:
        raise UsageError("--repair repairs stores: use `baton store repair`, or `baton doctor --store --repair`.")
    settings = load_settings()
    if store:
        run_body(verify_stores(settings, repair, as_json))
    run_body(check_github(settings, as_json) if github else _check_machine(settings, as_json))


async def _check_machine(settings: Settings, as_json: bool) -> int:
    checks = [check async for check in _run_checks(settings)]
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        listed = [asdict(setting) for setting in (*list_settings(settings), temporal_setting())]
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks], "settings": listed})
        return ExitCode.FAILED if failed else ExitCode.DONE
    for check in checks:
        write_line(f"{check.status:<5} {check.name:<9} {one_line(check.detail, 300)}")
        if check.advice:
            write_line(f"{'':<16}{one_line(check.advice, 600)}")
    return ExitCode.FAILED if failed else ExitCode.DONE


async def _run_checks(settings: Settings) -> AsyncIterator[Check]:
    """Run every check; one that raises OSError has failed, and the others run all the same."""
    checks: dict[str, Callable[[Settings], Check | Awaitable[Check]]] = {
        "packages": _check_packages,
        "disk": _check_disk,
        "git": _check_git,
        "sandbox": _check_sandbox,
        **({"binds": _check_binds} if settings.list_allowed_binds() else {}),
        "key": _check_key,
        "prices": _check_prices,
        **({"remote": _check_state_remote} if settings.state_remote else {}),
        "server": _check_server,
    }
    for name, run_check in checks.items():
        try:
            found = run_check(settings)
            check = found if isinstance(found, Check) else await found
        except OSError as error:
            what = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
            check = Check(name, "fail", what, _WRITABLE)
        yield check


def _check_packages(_: Settings) -> Check:
    try:
        check_packages()
    except BatonError as error:
        return Check("packages", "fail", str(error))
    return Check("packages", "ok", "The top-level packages are Baton's own.")


def _check_disk(settings: Settings) -> Check:
    probe = settings.home / ".doctor"
    try:
        closed = close_home(settings.home)
        probe.write_text("")
        probe.unlink()
        found = measure_disk_space(settings)
    except OSError as error:
        return Check("disk", "fail", f"{settings.home}: {error.strerror}.", "Set BATON_HOME to a directory of yours.")
    if found.is_low or found.is_too_low:
        status: Literal["warn", "fail"] = "fail" if found.is_too_low else "warn"
        return Check("disk", status, found.describe_space, "Or set BATON_HOME to a larger disk.")
    if closed:
        return Check("disk", "warn", " ".join(closed))
    return Check("disk", "ok", f"{found.free / 1e9:.1f} GB free at {settings.home}.")


def _check_git(_: Settings) -> Check:
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


async def _check_sandbox(settings: Settings) -> Check:
    bounds = bounds_of(settings)
    status = await probe_sandbox(settings.sandbox, bounds=bounds)
    grade: dict[str, Literal["ok", "warn", "fail"]] = {"bwrap": "ok", "none": "warn", "unavailable": "fail"}
    notes = own_toolchains(home=settings.home).notes
    words = [status.reason, bounds.describe_bounds, *notes]
    if status.is_isolated and not notes:
        words.append("They find Python and pytest; packages of Baton and of its interpreter are hidden.")
    return Check("sandbox", grade[status.kind], " ".join(words), status.advice)


async def _check_binds(settings: Settings) -> Check:
    """Judge the directories that `baton.toml` may mount, each as if it were asked for as a whole."""
    allowed = settings.list_allowed_binds()
    hidden = own_toolchains(home=settings.home).hidden
    judged = await BindRules(allowed, tuple(map(str, allowed)), settings.home, hidden).decide_binds()
    words = f"baton.toml may ask for {', '.join(map(str, allowed))}, and for directories below."
    if not judged.refused:
        return Check("binds", "ok", words)
    return Check("binds", "warn", words, f"{' '.join(judged.refused)} Harmless directories below can be shown.")


def _check_key(settings: Settings) -> Check:
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


def _check_prices(settings: Settings) -> Check:
    try:
        prices = load_prices(settings.prices)
    except BatonError as error:
        return Check("prices", "fail", str(error), "Correct the file, or unset BATON_PRICES.")
    try:
        check_models({}, settings, prices)
    except BatonError as error:
        return Check("prices", "fail", str(error), "No run begins with it.")
    return Check("prices", "ok", f"{settings.prices or 'the shipped list'}, of {prices.date}.")


async def _check_state_remote(settings: Settings) -> Check:
    try:
        remote = StateRemote.parse(settings.state_remote or "")
        await probe_remote(remote)
    except BatonError as error:
        return Check("remote", "fail", str(error), "Without it no step of a run counts as done.")
    return Check("remote", "ok", f"The state remote {remote.url} answers.")


async def _check_server(settings: Settings) -> Check:
    try:
        shared = not read_target().is_configured and find_running_server(settings) is not None
        async with connect_service(settings) as service:
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
