"""The gate: the engine's own run of the project's tests on one commit. Its exit code is the verdict."""

import json
from pathlib import Path

from temporalio import activity

from activities.github.commit_text import coauthor_trailer, without_references
from activities.run.submodules import fetched_submodules
from activities.runtime import metrics
from activities.runtime.heartbeat import report_progress
from activities.runtime.step import step
from activities.runtime.stores import Stores, read_run_base, read_run_config, read_run_json
from activities.runtime.superseded import ensure_not_superseded
from agents.failure_classifier import classify_failure
from baton import identifiers
from baton.logs import get_logger
from baton.records.left_out import read_path, show_path
from baton.records.run import Evidence, RunRequest
from baton.settings.core import Settings
from baton.steps.store_paths import REQUEST, TECHNOLOGY, gate_file, gate_log_file, handed_off_file
from baton.steps.task import GateInput, GateResult
from baton.text.redaction import Redactor
from baton.text.truncation import cut_text
from system.safe_directory import clear_away
from system.uncancellable import run_in_thread
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.gitlinks import gitlinks_of
from workspaces.checkpoints.workspace import hold_workspace
from workspaces.delivery.filter_attributes import LFS
from workspaces.delivery.filtered_files import examine_commits
from workspaces.delivery.lfs_store import checkout_files as checkout_contents
from workspaces.delivery.merge import project_commit
from workspaces.git.commits import quote_trailers
from workspaces.project.gate import run_gate
from workspaces.sandbox.command import INSIDE
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store
from workspaces.store.submodules import fill_submodules

_log = get_logger(__name__)

_MAX_FILTERED = 10
_MAX_LOG = 5_000_000
"""Maximum of bytes of a gate's log in the store; the digest is of the whole log."""


class GateActivities:
    """The activity `run_gate`."""

    def __init__(self, stores: Stores, sandbox: Sandbox, redact: Redactor, settings: Settings) -> None:
        self._stores = stores
        self._sandbox = sandbox
        self._redact = redact
        self._settings = settings

    @step("run_gate")
    async def run_gate(self, gate: GateInput) -> GateResult:
        """Run set-up and tests on the candidate commit of a checkpoint, or without one on the integrated commit."""
        store = await self._stores.open_store(gate.repo)
        lane = Lane(gate.run, gate.task)
        async with hold_workspace(store, lane):
            if gate.checkpoint:
                return await self._gate_task(store, lane, gate)
            await store.catch_up(gate.run)
            commit = await store.read_head(identifiers.integration_ref(gate.run))
            if commit is None:
                raise store.work_elsewhere(gate.run, "integrated commit")
            # Before the tests, which may take long: it raises if the run's files are damaged.
            filtered = await self._filtered_paths(store, gate.run, commit)
            evidence, _log = await self._run_tests(store, gate, commit)
            kept = [path for path in gate.left_out if await _has_path(store, commit, path)]
            result = GateResult(evidence=evidence, candidate=commit, kept=kept, filtered=filtered)
            # No checkpoint keeps this log: the end of a red one goes to the repair task by way of the workflow.
            return _without_log(result) if evidence.is_green else result

    async def _gate_task(self, store: Store, lane: Lane, gate: GateInput) -> GateResult:
        checkpoints = Checkpoints(store)
        at = activity.info().scheduled_time
        path = gate_file(gate.round)
        head = await checkpoints.claim_lane(lane, ensure_not_superseded)
        store.require_commits(gate.run, gate.checkpoint, gate.base)
        if head is not None and head != gate.checkpoint:
            # An earlier attempt has recorded its evidence: the tests do not run again.
            recorded = await store.read_file(head, path)
            if recorded is not None:
                result = GateResult.model_validate_json(recorded)
                return _without_log(result.model_copy(update={"checkpoint": head}))
        report_progress(stage="candidate")
        candidate = await project_commit(
            store, lane, gate.checkpoint, parent=gate.base, message=await self._commit_message(store, gate), at=at
        )
        # A ref of its own, by which another host finds the commit.
        await store.move_ref(identifiers.candidate_ref(gate.run, gate.task, candidate), candidate, expected=None)
        evidence, log = await self._run_tests(store, gate, candidate)
        result = GateResult(evidence=evidence, candidate=candidate)
        commit = await checkpoints.record_checkpoint(
            lane,
            expected=head if head and checkpoints.stands_at(head, gate.checkpoint) else gate.checkpoint,
            files={path: result.model_dump_json().encode(), gate_log_file(gate.round): log},
            workspace=None,
            summary=f"gate, round {gate.round}: exit code {evidence.exit_code}",
            at=at,
        )
        result.checkpoint = commit
        return _without_log(result)

    async def _run_tests(self, store: Store, gate: GateInput, commit: str) -> tuple[Evidence, bytes]:
        report_progress(stage="gate")
        config = await read_run_config(store, gate.run)
        technology = await read_run_json(store, gate.run, TECHNOLOGY)
        directory = self._stores.home / "gates" / gate.run / gate.task
        settings = config.gate.model_copy(
            update={
                "test": config.gate.test or technology.get("test_command"),
                # The maximum of this worker: the run may have begun on another host.
                "timeout": min(config.gate.timeout, self._settings.max_gate_timeout),
            }
        )
        fillings = await fetched_submodules(store, gate.run)
        links = gitlinks_of(store.source, store.source.tree_of(commit)) if fillings else {}
        read_only = {
            directory / "work" / path: f"{INSIDE}/{path}"
            for path, one in fillings.items()
            if links.get(path) == one.commit
        }

        async def checkout(commit: str, work: Path) -> None:
            await checkout_contents(store, gate.run, commit, work)
            await fill_submodules(work, links, fillings, directory)

        try:
            evidence, log = await run_gate(
                checkout,
                commit,
                directory,
                settings,
                self._sandbox.with_binds(config.sandbox.binds),
                network=config.sandbox.network,
                redact=self._redact,
                read_only=read_only,
            )
            metrics.count_gate(evidence.seconds, green=evidence.is_green)
            _log.info(
                "gate",
                **evidence.model_dump(
                    include={"commit", "command", "exit_code", "seconds", "timed_out", "sandboxed", "exceeded"}
                ),
            )
            return evidence, self._redact.mask_secrets(_log_head(log)).encode()
        finally:
            await run_in_thread(clear_away, directory)

    async def _filtered_paths(self, store: Store, run: str, commit: str) -> list[str]:
        """Return some of the files that a person's git would pass through a filter, each with the filter's name."""
        base = await read_run_base(store, run)
        found = await examine_commits(store, commit, base=base, published=None)
        named = {**dict.fromkeys(found.pointers, (LFS,)), **found.plain}
        return [f"{show_path(path)} ({', '.join(names)})"[:200] for path, names in named.items()][:_MAX_FILTERED]

    async def _commit_message(self, store: Store, gate: GateInput) -> str:
        """Return the commit message of a task: title, the maker's report, and the trailers of run, task and round."""
        lines = [quote_trailers(" ".join(self._redact(gate.title).split()))]
        report = await store.read_file(
            gate.checkpoint, handed_off_file(identifiers.session_name(gate.round, gate.role))
        )
        if report is not None:
            implemented = self._redact(str(json.loads(report).get("implemented", ""))).strip()
            lines += ["", quote_trailers(cut_text(implemented, 4_000))]
        trailers = [f"Baton-Run: {gate.run}", f"Baton-Task: {gate.task}", f"Baton-Round: {gate.round}"]
        issue = RunRequest.model_validate(await read_run_json(store, gate.run, REQUEST)).github
        if issue is not None:
            lines = [without_references(line) for line in lines]
            named = (
                coauthor_trailer(issue.requester, self._settings.github_url) if self._settings.github_coauthor else None
            )
            trailers += [named] if named else []
        return "\n".join([*lines, "", *trailers]) + "\n"


def _without_log(result: GateResult) -> GateResult:
    """Return what the workflow has to know: the class of a failure, and not the end of the log, which is in the store.

    https://docs.temporal.io/workflows#event-history: what an activity returns stays in the history.
    """
    evidence = result.evidence
    failure_class = "" if evidence.is_green else classify_failure(evidence.log_tail).kind.value
    lean = evidence.model_copy(update={"log_tail": "", "failure_class": failure_class})
    return result.model_copy(update={"evidence": lean})


async def _has_path(store: Store, commit: str, shown: str) -> bool:
    """Whether a commit has a file; always False for a directory, of which it may have a part."""
    path = read_path(shown)
    return not path.endswith("/") and await store.read_file(commit, path) is not None


def _log_head(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        return file.read(_MAX_LOG).decode("utf-8", "replace")
