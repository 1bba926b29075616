"""The commands `store check` and `store repair`: the damage of this home's stores, and its repair."""

from dataclasses import asdict
from typing import Any

from baton.errors import BatonError, ExitCode
from baton.settings.core import Settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.terminal.output import one_line, print_json, write_line, write_message
from interfaces.cli.terminal.runner import run_body
from workers.host_id import read_host_id
from workspaces.git.errors import translate_errors
from workspaces.git.findings import StoreFinding, StoreReport
from workspaces.git.inventory import StoreEntry, list_stores
from workspaces.maintenance.repair import repair_store as mend
from workspaces.maintenance.store_repair import repair_frame
from workspaces.maintenance.verify import verify_store
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store


def check_stores(as_json: bool) -> None:
    """Print the damage of the stores; exits with 1 if one is damaged."""
    run_body(verify_stores(load_settings(), False, as_json))


def repair_stores(as_json: bool) -> None:
    """Repair the stores, and print the repairs and the remaining damage; exits with 1 if one stays damaged."""
    run_body(verify_stores(load_settings(), True, as_json))


async def verify_stores(settings: Settings, repair: bool, as_json: bool) -> int:
    """Check all stores of a home, repair them if asked to, and print the reports; returns the exit code."""
    setting = settings.state_remote
    remote = StateRemote.parse(setting, read_host_id(settings.home)) if setting else None
    reports: list[StoreReport] = []
    for place in list_stores(settings.home):
        if not as_json:
            write_message(f"reading the store of {place.repository or place.root}")
        reports.append(await _verify_store(settings, remote, place, repair))
    failed = any(not report.is_sound for report in reports)
    if as_json:
        print_json({"ok": not failed, "stores": [_report_document(report) for report in reports]})
    else:
        _print_reports(reports, repair)
    return ExitCode.FAILED if failed else ExitCode.DONE


async def _verify_store(settings: Settings, remote: StateRemote | None, place: StoreEntry, repair: bool) -> StoreReport:
    """Return the report on one store. An error is part of the report, so that the other stores are checked, too."""
    mended: list[StoreFinding] = []
    report = StoreReport(place.repository or "", place.root)
    try:
        if repair and place.faults:
            place, mended = await repair_frame(place)
        report = StoreReport(place.repository or "", place.root, findings=list(place.faults))
        if not place.faults and place.repository is not None:
            with translate_errors("checking the store"):
                report = await verify_store(await Store.open(settings.home, place.repository, remote))
                if repair and report.findings:
                    report = await mend(await Store.open(settings.home, place.repository, remote), report)
    except (BatonError, RecursionError) as error:
        where = str(place.root.relative_to(settings.home))
        advice = "Solve that, and check again; no data was removed."
        report.findings.append(StoreFinding("store", where, str(error), advice, mendable=False))
    report.mended = [*mended, *report.mended]
    return report


def _report_document(report: StoreReport) -> dict[str, Any]:
    return {
        "repository": report.repository,
        "path": str(report.path),
        "ok": report.is_sound,
        "refs": report.refs,
        "findings": [asdict(finding) for finding in report.findings],
        "mended": [asdict(finding) for finding in report.mended],
    }


def _print_reports(reports: list[StoreReport], repair: bool) -> None:
    if not reports:
        write_line("There is no store in this home yet.")
    shown: set[str] = set()
    for report in reports:
        state = "ok" if report.is_sound else "damaged"
        name = one_line(report.repository or "a store of an unknown repository", 200)
        write_line(f"{state:<8} {name}  ({report.refs} refs, {report.path})")
        for finding in report.mended:
            write_line(f"  repaired {finding.kind:<10} {one_line(finding.where, 200)}")
        for finding in report.findings:
            if finding.where not in shown:  # a finding that belongs to no store is in every report
                shown.add(finding.where)
                _print_finding(finding)
    if not repair and any(finding.mendable for report in reports for finding in report.findings):
        write_line("\n`baton store repair` repairs what can be repaired; stop the workers of this home first.")


def _print_finding(finding: StoreFinding) -> None:
    write_line(f"  {finding.kind:<10} {one_line(finding.where, 200)}")
    write_line(f"             {one_line(finding.what, 600)}")
    if finding.advice:
        write_line(f"             {one_line(finding.advice, 1_200)}")
