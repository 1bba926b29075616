"""`baton doctor --store`: whether the stores of this home are whole, and what was mended or can be done."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from baton.errors import ExitCode
from interfaces.cli.terminal.output import line, message, one_line, print_json

if TYPE_CHECKING:
    from baton.settings.core import Settings
    from workspaces.git.findings import Finding, StoreReport
    from workspaces.git.inventory import Place
    from workspaces.store.state_remote import StateRemote


async def check_stores(settings: "Settings", repair: bool, as_json: bool) -> int:
    """Check all stores of a home, mend them if asked to, and print what was found; exit code 1 where work is lost."""
    from workers.host_id import host_id
    from workspaces.git.inventory import stock
    from workspaces.store.state_remote import StateRemote

    setting = settings.state_remote
    remote = StateRemote.parse(setting, host_id(settings.home)) if setting else None
    reports: list[StoreReport] = []
    for place in stock(settings.home):
        if not as_json:
            message(f"reading the store of {place.repository or place.root}")
        reports.append(await _check(settings, remote, place, repair))
    failed = any(not report.ok for report in reports)
    if as_json:
        print_json({"ok": not failed, "stores": [_document(report) for report in reports]})
    else:
        _print(reports, repair)
    return ExitCode.FAILED if failed else ExitCode.DONE


async def _check(settings: "Settings", remote: "StateRemote | None", place: "Place", repair: bool) -> "StoreReport":
    """The report on one store. All that is wrong with it is in the report, so that the others are checked, too."""
    from baton.errors import BatonError
    from workspaces.git.errors import translated
    from workspaces.git.findings import Finding, StoreReport
    from workspaces.maintenance.repair import repair as mend
    from workspaces.maintenance.store_repair import mend_frame
    from workspaces.maintenance.verify import verify
    from workspaces.store.store import Store

    mended: list[Finding] = []
    report = StoreReport(place.repository or "", place.root)
    try:
        if repair and place.faults:
            place, mended = await mend_frame(place)
        report = StoreReport(place.repository or "", place.root, findings=list(place.faults))
        if not place.faults and place.repository is not None:
            with translated("checking the store"):
                report = await verify(await Store.open(settings.home, place.repository, remote))
                if repair and report.findings:
                    report = await mend(await Store.open(settings.home, place.repository, remote), report)
    except (BatonError, RecursionError) as error:
        where = str(place.root.relative_to(settings.home))
        advice = "Mend that, and look again; nothing was removed."
        report.findings.append(Finding("store", where, str(error), advice, mendable=False))
    report.mended = [*mended, *report.mended]
    return report


def _document(report: "StoreReport") -> dict[str, Any]:
    return {
        "repository": report.repository,
        "path": str(report.path),
        "ok": report.ok,
        "refs": report.refs,
        "findings": [asdict(finding) for finding in report.findings],
        "mended": [asdict(finding) for finding in report.mended],
    }


def _print(reports: list["StoreReport"], repair: bool) -> None:
    if not reports:
        line("There is no store in this home yet.")
    shown: set[str] = set()
    for report in reports:
        state = "ok" if report.ok else "damaged"
        name = one_line(report.repository or "a store of an unknown repository", 200)
        line(f"{state:<8} {name}  ({report.refs} refs, {report.path})")
        for finding in report.mended:
            line(f"  mended {finding.kind:<10} {one_line(finding.where, 200)}")
        for finding in report.findings:
            if finding.where not in shown:  # what belongs to no store is found beside each
                shown.add(finding.where)
                _print_finding(finding)
    if not repair and any(finding.mendable for report in reports for finding in report.findings):
        line("\n`baton doctor --store --repair` mends what can be mended; stop the workers of this home first.")


def _print_finding(finding: "Finding") -> None:
    line(f"  {finding.kind:<10} {one_line(finding.where, 200)}")
    line(f"             {one_line(finding.what, 600)}")
    if finding.advice:
        line(f"             {one_line(finding.advice, 1_200)}")
