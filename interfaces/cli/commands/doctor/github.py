"""The command `doctor --github`: checks the credential, its permissions, and that deliveries arrive."""

from collections.abc import AsyncIterator
from dataclasses import asdict

from baton.errors import BatonError, ExitCode
from baton.settings.core import Settings
from interfaces.cli.commands.doctor.check import Check
from interfaces.cli.commands.webhook import read_retention, redelivery_time
from interfaces.cli.terminal.output import one_line, print_json, write_line
from workers.github_probe import GitHubSurvey, survey_github, webhook_listens
from workers.temporal_service import connect_service

_GUIDE = "docs/github.md leads through the set-up."


async def check_github(settings: Settings, as_json: bool) -> int:
    """Print the checks with their remedies and return the exit code; GitHub is only read."""
    checks = [check async for check in _run_checks(settings)]
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
        return ExitCode.FAILED if failed else ExitCode.DONE
    for check in checks:
        write_line(f"{check.status:<5} {check.name:<11} {one_line(check.detail, 400)}")
        if check.advice:
            write_line(f"{'':<18}{one_line(check.advice, 600)}")
    return ExitCode.FAILED if failed else ExitCode.DONE


async def _run_checks(settings: Settings) -> AsyncIterator[Check]:
    if settings.github_webhook_secrets:
        yield Check("secret", "ok", "The webhook's secret is set.")
    else:
        yield Check("secret", "fail", "BATON_GITHUB_WEBHOOK_SECRET is not set.", _GUIDE)
    found = await survey_github(settings)
    if found.fault:
        yield Check("credential", "fail", found.fault, _GUIDE)
    else:
        how = "a GitHub App" if found.is_app else "a token; only an App can write check runs"
        yield Check("credential", "ok", f"GitHub at {settings.github_api_url} knows us as {found.login}, by {how}.")
        for check in _check_app(found) if found.is_app else _check_token(found):
            yield check
        yield _check_deliveries(found)
    yield await _check_webhook(settings)
    yield await _check_retention(settings)


def _check_app(found: GitHubSurvey) -> list[Check]:
    permissions = Check("permissions", "ok", "The App has the permissions that it needs.")
    if found.permissions:
        advice = f"Grant them in the App's settings, and accept them for each installation. {_GUIDE}"
        permissions = Check("permissions", "fail", f"The App lacks: {', '.join(found.permissions)}.", advice)
    events = Check("events", "ok", "The App subscribes to the events that it needs.")
    if found.events:
        advice = f"Subscribe to them in the App's settings. {_GUIDE}"
        events = Check("events", "fail", f"The App does not get: {', '.join(found.events)}.", advice)
    checks = [permissions, events]
    if found.installations == 0:
        advice = "Install it on the repositories that it is to serve."
        checks.append(Check("installed", "fail", "The App is installed nowhere.", advice))
    return checks


def _check_token(found: GitHubSurvey) -> list[Check]:
    if not found.reaches:
        advice = "Name the repositories in BATON_GITHUB_REPOSITORIES, and they are checked."
        return [Check("permissions", "warn", "Where the token may write cannot be seen.", advice)]
    where = ", ".join(reach.name for reach in found.reaches)
    permissions = Check("permissions", "ok", f"The token's account may write to {where}.")
    if faults := [reach.fault for reach in found.reaches if reach.fault]:
        advice = f"Give the token access to the repository, and its account write permission. {_GUIDE}"
        permissions = Check("permissions", "fail", f"The token is not enough: {'; '.join(faults)}.", advice)
    events = Check("events", "ok", "No webhook that the token may look at lacks an event.")
    if faults := [reach.hook_fault for reach in found.reaches if reach.hook_fault]:
        advice = f"Correct it in the repository's settings, under Webhooks. {_GUIDE}"
        events = Check("events", "fail", f"The webhook is not right: {'; '.join(faults)}.", advice)
    return [permissions, events]


def _check_deliveries(found: GitHubSurvey) -> Check:
    if found.unseen:
        return Check("deliveries", "warn", f"Whether deliveries arrive cannot be seen: {found.unseen}.")
    where = f"GitHub delivers to {found.hook_url}" if found.hook_url else "GitHub knows no address to deliver to"
    latest = f"of the latest deliveries {found.delivered} arrived and {found.refused} did not"
    detail = f"{where}; {latest if found.delivered or found.refused else 'there was no delivery yet'}."
    if not found.hook_url:
        return Check("deliveries", "fail", detail, "Set the webhook's URL in the App's settings.")
    if found.refused and not found.delivered:
        return Check("deliveries", "fail", detail, "Read the answers under Recent deliveries in the App's settings.")
    if found.refused or not found.delivered:
        return Check("deliveries", "warn", detail, "Read the answers under Recent deliveries in the App's settings.")
    return Check("deliveries", "ok", detail)


async def _check_webhook(settings: Settings) -> Check:
    address = f"{settings.github_webhook_host}:{settings.github_webhook_port}"
    if await webhook_listens(settings):
        return Check("webhook", "ok", f"A webhook answers at {address} on this machine.")
    advice = "Start `baton webhook` or `baton up` here, unless it runs on another machine."
    return Check("webhook", "warn", f"No webhook answers at {address} on this machine.", advice)


async def _check_retention(settings: Settings) -> Check:
    try:
        async with connect_service(settings) as service:
            kept = await read_retention(service.client)
    except BatonError as error:
        return Check("retention", "fail", str(error))
    detail = f"The namespace remembers ended workflows for {kept.days} days."
    needed = redelivery_time(settings)
    if kept < needed:
        hours = int(needed.total_seconds() // 3_600)
        advice = f"temporal operator namespace update --retention {hours}h, or a delivery sent again is done again."
        return Check("retention", "fail", detail, advice)
    return Check("retention", "ok", detail)
