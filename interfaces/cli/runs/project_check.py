"""A check of a repository: detection, environment and tests at the base commit, as data for people and machines."""

import shlex
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agents.detection.detect import Technology, detect_technology, wanted_manifests
from agents.detection.setup.derive import MAX_TEXT, REGISTRIES, derive_setup, readable_files
from agents.detection.setup.plan import SetupPlan, SetupStep
from baton import identifiers
from baton.errors import UsageError
from baton.settings.core import Settings
from baton.settings.network_names import NetworkGrant, parse_grants
from workers.engine_ports import read_engine_services
from workspaces.environments.environment import (
    Environment,
    EnvironmentRecord,
    EnvironmentStep,
    Progress,
    discard,
    environment_key,
    forget_environment,
    make_environment,
)
from workspaces.environments.machine import Needed, Tool, find_tools
from workspaces.environments.registries import Registries, find_registries
from workspaces.environments.trial import TestRun, Verdict, judge_all, try_tests
from workspaces.project.baton_toml import ProjectConfig, parse_config
from workspaces.sandbox.network.destinations import Destinations
from workspaces.sandbox.network.open_network import NetworkPolicy
from workspaces.sandbox.network.upstream_proxy import UpstreamProxy
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store
from workspaces.tools.text_files import lenient_text


@dataclass
class ProjectCheck:
    """The findings of a check: detection, set-up, tests, and programs that are missing."""

    technology: Technology
    plan: SetupPlan
    config: ProjectConfig
    environment: EnvironmentRecord | None = None
    tests: list[TestRun] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    commit: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of set-up and tests."""
        if self.environment is None or self.environment.failed:
            return "broken_environment"
        return judge_all([run.verdict for run in self.tests])

    def document(self) -> dict[str, Any]:
        """The JSON document of `baton check`."""
        record = self.environment
        ran = {(step.command, step.directory): step for step in record.steps} if record else {}
        steps = []
        for step in self.plan.steps:
            done = ran.get((step.command, step.directory))
            steps.append(
                {
                    **step.model_dump(),
                    "exit_code": done.exit_code if done else None,
                    "seconds": done.seconds if done else 0.0,
                    "output": done.output if done and done.exit_code != 0 else "",
                    "network": done.network if done else [],
                }
            )
        return {
            "verdict": self.verdict,
            "base_commit": self.commit,
            "technology": self.technology.model_dump(),
            "setup": steps,
            "environment": {
                "key": record.key if record else "",
                "seconds": record.seconds if record else 0.0,
                "mb": round(record.bytes / 1e6, 1) if record else 0.0,
                "reused": record.reused if record else False,
            },
            "test_commands": [
                {
                    "command": run.command,
                    "exit_code": run.exit_code,
                    "verdict": run.verdict,
                    "seconds": run.seconds,
                    "runner": run.report.runner,
                    "passed": run.report.passed,
                    "failed": run.report.failed,
                    "skipped": run.report.skipped,
                    "output": run.output if run.verdict != "green" else "",
                }
                for run in self.tests
            ],
            "failing_at_base": [name for run in self.tests for name in run.report.failing],
            "missing": self.missing,
            "notes": self.notes,
        }


async def check_project(
    settings: Settings, repo: str, base: str | None, *, again: bool = False, progress: Progress
) -> ProjectCheck:
    """Set the repository up and run its tests at the base commit.

    Raises TargetError or ConfigurationError where there is no such repository or base, SandboxUnavailable where
    commands cannot be run, UsageError where they would not be isolated, DiskFull, WorkspaceError.
    """
    sandbox = await Sandbox.open_sandbox(settings.sandbox, home=settings.home, settings=settings)
    sandbox.require_available()
    if not sandbox.status.is_isolated:
        raise UsageError(
            "`baton check` needs the sandbox, where an environment lies beneath the checkout: leave out"
            " `--sandbox none` and BATON_SANDBOX=none."
        )
    progress("fetching the base commit")
    store = await Store.open(settings.home, repo)
    commit = (await store.fetch_base(base)).commit
    paths = await store.list_paths(commit)
    texts = {}
    notes = []
    for path in dict.fromkeys([*wanted_manifests(paths), *readable_files(paths)]):
        data = await store.read_file(commit, path) or b""
        texts[path] = lenient_text(data[:MAX_TEXT])
        if len(data) > MAX_TEXT:
            notes.append(f"{path} is longer than {MAX_TEXT:,} bytes: only its beginning was read.")
    technology = detect_technology(paths, {path: texts[path] for path in wanted_manifests(paths)})
    config = parse_config(await store.read_file(commit, "baton.toml"))
    plan = derive_setup(paths, texts, technology)
    if config.gate.setup:
        asked = SetupStep(command=config.gate.setup, reason="baton.toml, [gate] setup")
        plan = plan.model_copy(update={"steps": [asked]})
    found = ProjectCheck(technology, plan, config, notes=[*notes, *technology.notes, *plan.notes], commit=commit)
    needed = [Needed(tool=one.tool, version=one.version) for one in plan.requirements]
    tools = await find_tools(needed, sandbox)
    for tool, requirement in zip(tools, plan.requirements, strict=True):
        if not tool.found:
            what = " ".join(filter(None, [requirement.tool, requirement.version])) + f" ({requirement.reason})"
            found.missing.append({"what": what, "remedy": requirement.remedy})
    if found.missing:
        return found
    environment = await _make(settings, found, store, tools, sandbox, again=again, progress=progress)
    found.environment = environment.record
    try:
        if environment.record.failed is None:
            await _try_all(found, environment, partial(store.check_out, commit), sandbox, settings, progress)
        else:
            found.missing.append(_explain_failure(environment.record))
    finally:
        await discard(environment)
    return found


async def _make(
    settings: Settings,
    found: ProjectCheck,
    store: Store,
    tools: list[Tool],
    sandbox: Sandbox,
    *,
    again: bool,
    progress: Progress,
) -> Environment:
    plan, commit = found.plan, found.commit
    keys = {path: await store.read_file(commit, path) for path in plan.key_files}
    key = environment_key(
        {
            "steps": [step.model_dump() for step in plan.steps],
            "env": plan.env,
            "files": {path: repr(data) for path, data in keys.items()},
            "tools": [tool.model_dump() for tool in tools],
            # Code of the repository runs in its set-up: two repositories never share what it made.
            "repository": identifiers.repo_key(store.repo),
        }
    )
    if again:
        await forget_environment(settings.home, key)
    registries = find_registries()
    found.notes.extend(registries.notes)
    return await make_environment(
        key,
        [EnvironmentStep(**step.model_dump()) for step in plan.steps],
        {**plan.env, **registries.env},
        plan.search_path,
        partial(store.check_out, commit),
        sandbox.with_network(_set_up_network(settings, plan, registries)),
        settings.home,
        timeout=settings.max_gate_timeout,
        progress=progress,
    )


def _set_up_network(settings: Settings, plan: SetupPlan, registries: Registries) -> NetworkPolicy | None:
    """Return the network of a set-up: registries, those of this host, and public hosts that lock files name."""
    if settings.setup_network == "never":
        return None
    proxy = settings.https_proxy.get_secret_value() if settings.https_proxy else None
    known = [NetworkGrant(name) for name in plan.hosts if name in REGISTRIES]
    destinations = Destinations(
        (*known, *registries.grants, *parse_grants(settings.network_allow or "")),
        public=frozenset(plan.hosts),
        closed=True,
        reserved=partial(read_engine_services, settings),
    )
    return NetworkPolicy(destinations, UpstreamProxy.parse_environment(proxy, settings.no_proxy))


async def _try_all(
    found: ProjectCheck,
    environment: Environment,
    checkout: Any,
    sandbox: Sandbox,
    settings: Settings,
    progress: Progress,
) -> None:
    """Run the test commands; where the first choice cannot run here, the next one that was detected is tried."""
    for command in _commands(found):
        progress(command)
        timeout = min(found.config.gate.timeout, settings.max_gate_timeout)
        run = await try_tests(command, environment, checkout, sandbox, settings.home, timeout=timeout)
        found.tests = [run]
        if run.verdict in ("green", "green_against_base") or found.config.gate.test:
            return
        found.notes.append(f"`{command}` was {run.verdict.replace('_', ' ')} at the base.")
    if found.tests:
        found.notes.pop()


def _commands(found: ProjectCheck) -> list[str]:
    """The test commands to try, the most likely first."""
    if found.config.gate.test:
        return [found.config.gate.test]
    stacks = [
        (f"cd {shlex.quote(stack.directory)} && " if stack.directory else "") + stack.test_command
        for stack in found.technology.stacks
        if stack.test_command
    ]
    main = [found.technology.test_command] if found.technology.test_command else []
    return list(dict.fromkeys([*main, *stacks[:1]]))


def _explain_failure(record: EnvironmentRecord) -> dict[str, str]:
    step = record.failed
    assert step is not None, "only a failed environment is explained"
    last = next((text.strip() for text in reversed(step.output.splitlines()) if text.strip()), "it printed nothing")
    refused = [text for text in step.network if "refused" in text]
    remedy = (
        f"allow the host: {refused[0]}"
        if refused
        else "see the step's output (--json), and say how to install it in baton.toml, [gate] setup"
    )
    return {
        "what": f"the set-up step `{step.command}` failed with exit code {step.exit_code}: {last}",
        "remedy": remedy,
    }
