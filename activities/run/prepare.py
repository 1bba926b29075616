"""The preparation of a run: fetch the base, grant its configuration, pin the roles, open the orchestrator's lane."""

import json
from datetime import datetime

from temporalio import activity

from activities.run.grants import grant_config, note_isolation
from activities.run.limits import decisions_of, limits_of
from activities.run.pinned_roles import pin_roles
from activities.runtime.step import step
from activities.runtime.stores import Stores, hold_lane, read_run_base, read_run_file, to_json, write_run_files
from agents.detection.detect import Technology, detect_technology, wanted_manifests
from agents.plan import order_tasks
from agents.reports import OrchestratorReport
from baton import identifiers
from baton.budget.caps import Caps
from baton.budget.pricing import PriceList
from baton.errors import PlanError
from baton.records.run import RunRequest
from baton.settings.core import Settings
from baton.steps.store_paths import CONFIG, LIMITS, MODELS, PLAN, REQUEST, SUBMODULES, TECHNOLOGY, role_file, task_file
from baton.steps.task import Plan, PlannedTask, Prepared, PrepareInput, ReadPlanInput
from baton.text.key_masker import masked_names, masked_notice
from baton.text.truncation import cut_text, join_names
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.project.baton_toml import ProjectConfig, parse_config
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.disk_space import require_disk_space
from workspaces.store.store import Store
from workspaces.store.submodule_urls import parse_allowed
from workspaces.store.submodules import describe_submodules, fetch_submodules
from workspaces.tools.text_files import lenient_text

_MAX_MANIFEST = 200_000


class PrepareActivities:
    """The activities `prepare_run` and `read_plan`."""

    def __init__(self, stores: Stores, sandbox: Sandbox, prices: PriceList, settings: Settings) -> None:
        self._stores = stores
        self._sandbox = sandbox
        self._prices = prices
        self._settings = settings

    @step("prepare_run")
    async def prepare_run(self, prepare: PrepareInput) -> Prepared:
        """Fetch the base, and pin base, configuration, roles, models and limits for the whole run."""
        request = prepare.request
        store = await self._stores.open_store(request.repo)
        async with hold_lane(store, request.run, identifiers.PLAN_TASK):
            return await self._prepare_run(store, request, activity.info().scheduled_time)

    async def _prepare_run(self, store: Store, request: RunRequest, at: datetime) -> Prepared:
        pinned = await self._pinned_base(store, request.run)
        if pinned is None:
            require_disk_space(self._settings)
        base = await store.fetch_base(request.base if pinned is None else pinned)
        notes = list(base.notes)
        if masked := masked_names(request.model_dump_json()):
            notes.append(f"Of the request {masked_notice(masked)}")

        asked = parse_config(await store.read_file(base.commit, "baton.toml"))
        config = await grant_config(self._grant_network(asked, notes), request, self._settings, self._sandbox, notes)
        note_isolation(asked, self._sandbox, notes)
        technology = await self._detect_technology(store, base.commit)
        command = config.gate.test or technology.test_command
        if command is None:
            notes.append("No test command was found, so the gate runs nothing; set `[gate] test` in baton.toml.")
        status = self._sandbox.status
        if not status.is_isolated:
            notes.append(status.reason)
        notes += self._sandbox.toolchains.notes

        submodules = await fetch_submodules(store, base.commit, parse_allowed(self._settings.submodules))
        if submodules:
            notes.append(
                "The repository has submodules; the branch keeps each as it is, whatever agents do at its place: "
                + join_names(describe_submodules(submodules), 5)
            )
        roles = await pin_roles(store, base.commit, request, self._settings, self._prices)
        notes += roles.notes
        limits = limits_of(request, config, self._settings).model_copy(update={"role_turns": roles.turns})
        await write_run_files(
            store,
            request.run,
            {
                REQUEST: to_json({**request.model_dump(mode="json"), "base_commit": base.commit}),
                CONFIG: to_json(config.model_dump(mode="json")),
                TECHNOLOGY: to_json({**technology.model_dump(mode="json"), "test_command": command}),
                MODELS: to_json(roles.models),
                **({SUBMODULES: to_json([one.model_dump() for one in submodules])} if submodules else {}),
                LIMITS: to_json(Caps(limits=limits).model_dump(mode="json")),
                **{role_file(role): text.encode() for role, text in roles.texts.items()},
            },
            f"run {request.run} on {base.commit[:12]}",
            at,
            begins=True,
        )
        integration = identifiers.integration_ref(request.run)
        if await store.read_head(integration) is None:
            await store.move_ref(integration, base.commit, expected=None)
        plan_commit = await Checkpoints(store).begin_lane(Lane(request.run, identifiers.PLAN_TASK), base.commit, at=at)
        return Prepared(
            base_commit=base.commit,
            base_ref=base.ref,
            plan_commit=plan_commit,
            limits=limits,
            decisions=decisions_of(request, config),
            models=roles.models,
            sandboxed=status.kind != "none",
            binds=config.sandbox.binds,
            notes=notes,
            web_ui=self._web_ui_link(request.run),
            quiet_seconds=self._settings.github_quiet,
        )

    @step("read_plan")
    async def read_plan(self, read: ReadPlanInput) -> Plan:
        """Read the accepted plan, write a file for each task, and return the plan without instructions."""
        store = await self._stores.open_store(read.repo)
        async with hold_lane(store, read.run, identifiers.PLAN_TASK, read.commit):
            data = await store.read_file(read.commit, read.path)
        if data is None:
            raise PlanError(f"The plan {read.path} is not in checkpoint {read.commit[:12]}.")
        report = OrchestratorReport.model_validate(json.loads(data))
        ordered = order_tasks(report.tasks)
        await write_run_files(
            store,
            read.run,
            {
                **{task_file(task.id): to_json(task.model_dump(mode="json")) for task in report.tasks},
                PLAN: to_json([task.id for task in ordered]),
            },
            f"plan: {len(report.tasks)} tasks",
            activity.info().scheduled_time,
        )
        return Plan(
            summary=cut_text(report.summary, 1_000),
            tasks=[
                PlannedTask(id=task.id, title=task.title, role=task.role, depends_on=list(task.depends_on))
                for task in ordered
            ],
        )

    def _web_ui_link(self, run: str) -> str:
        namespace = activity.info().workflow_namespace
        return f"{self._settings.web_ui}/namespaces/{namespace}/workflows/{run}" if self._settings.web_ui else ""

    def _grant_network(self, config: ProjectConfig, notes: list[str]) -> ProjectConfig:
        """Return the configuration with the network as the settings grant it."""
        if not config.sandbox.network:
            return config
        if not self._sandbox.status.is_isolated:
            notes.append("Without a sandbox the network is open to commands, the services of this machine included.")
            return config
        closed = config.model_copy(update={"sandbox": config.sandbox.model_copy(update={"network": False})})
        if self._settings.sandbox_network == "never":
            notes.append(
                "The repository's baton.toml asks for the network ([sandbox] network = true). It stays closed:"
                " BATON_SANDBOX_NETWORK=never, the default. Set it to `repository` to open it."
            )
            return closed
        if fault := self._sandbox.network_fault():
            notes.append(f"The repository's baton.toml asks for the network, and may have it, but {fault}.")
            return closed
        reach = "any public host" if not self._settings.network_allow else self._settings.network_allow
        notes.append(
            f"The repository's baton.toml opens the network to commands of agents and tests: {reach}, by HTTP and HTTPS"
            " only, and never the services of this machine or of a private network that BATON_NETWORK_ALLOW does not"
            " name. BATON_SANDBOX_NETWORK=never keeps it closed."
        )
        return config

    async def _pinned_base(self, store: Store, run: str) -> str | None:
        """Return the base commit that an earlier attempt pinned; None at the first one."""
        return await read_run_base(store, run) if await read_run_file(store, run, REQUEST) else None

    async def _detect_technology(self, store: Store, commit: str) -> Technology:
        paths = await store.list_paths(commit)
        manifests: dict[str, str] = {}
        for path in wanted_manifests(paths):
            data = await store.read_file(commit, path)
            if data is not None:
                manifests[path] = lenient_text(data[:_MAX_MANIFEST])
        return detect_technology(paths, manifests)
