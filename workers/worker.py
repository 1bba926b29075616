"""The worker: settings become clients, clients become activities; it serves a queue of workflows and its host's own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from anthropic import AsyncAnthropic
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from activities.budget.ledger import Ledger
from activities.budget.spending_guard import SpendingActivities, SpendingGuard
from activities.github.branch_sync import BranchSyncActivities
from activities.github.checks import CheckActivities
from activities.github.client import GitHubClient, make_http_client
from activities.github.deliveries import DeliveryActivities
from activities.github.reads import GitHubReadActivities
from activities.github.writes import GitHubWriteActivities
from activities.run.fork import ForkActivities
from activities.run.prepare import PrepareActivities
from activities.run.publish import PublishActivities
from activities.run.state_files import StateActivities
from activities.runtime.host_queue import HostActivities
from activities.runtime.presence import MAX_ATTENDED, ActivitySlots, PresenceActivities
from activities.runtime.stores import Stores
from activities.session.messages_api import make_client
from activities.task.gate import GateActivities
from activities.task.integrate import IntegrationActivities
from activities.turn.resume_point import ResumeActivities
from activities.turn.take_turn import TurnActivities
from baton import identifiers
from baton.budget.pricing import load_prices
from baton.logs import get_logger
from baton.policies import GRACEFUL_SHUTDOWN
from baton.settings.core import Settings
from baton.settings.network_names import parse_grants
from baton.text.redaction import Redactor
from system.uncancellable import provide_threads
from workers.data_converter import mask_client
from workers.disk_monitor import monitor_disk
from workers.engine_ports import read_engine_services
from workers.host_id import check_packages, read_host_id
from workers.pollers import make_identity
from workers.run_queues import adopt_runs
from workers.versioning import deployment_config
from workers.workflow_worker import make_workflow_worker
from workspaces.sandbox.network.destinations import Destinations
from workspaces.sandbox.network.open_network import NetworkPolicy
from workspaces.sandbox.network.upstream_proxy import UpstreamProxy
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.private_home import close_home
from workspaces.store.state_remote import StateRemote

_PRESENCE_HEARTBEAT = timedelta(seconds=2)
"""Between two heartbeats of `attend_step`: a host that dies is noticed about as soon as by a step that runs."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class WorkerHandle:
    """A running worker."""

    host: str
    """Id of this host, which is that of its home."""
    queue: str
    """Task queue of this worker's workspace activities."""
    sandbox: Sandbox


@asynccontextmanager
async def run_worker(
    client: Client,
    settings: Settings,
    *,
    model: AsyncAnthropic | None = None,
    run: str | None = None,
    build_id: str | None = None,
) -> AsyncIterator[WorkerHandle]:
    """Run a worker until the context is left; activities then get `GRACEFUL_SHUTDOWN` to checkpoint.

    Raises ConfigurationError if the environment is not Baton's own. `model` replaces the client of the Messages
    API that the settings describe. With `run`, the id of a run on a task queue of its own, it serves that run only;
    else it serves all runs of the service, and adopts those whose command has ended. `build_id` makes it a worker of
    that version (`workers.versioning`); the host's own queue stays unversioned, for activities keep their contracts.
    """
    check_packages()
    provide_threads(settings.max_activities)
    client = mask_client(client, settings.make_masker())
    # `baton.logs` adds run, task and activity to every line in fields of their own.
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = False
    settings.require_home()
    close_home(settings.home)
    host_name = read_host_id(settings.home)
    # Workers of one home share the queue of their host, so one that serves a single run has another.
    queue = identifiers.host_queue(host_name, run or "")
    remote = StateRemote.parse(settings.state_remote, host_name) if settings.state_remote else None
    sandbox = await Sandbox.open_sandbox(
        settings.sandbox,
        home=settings.home,
        allowed=settings.list_allowed_binds(),
        network=_network_policy(settings),
        settings=settings,
    )
    if not sandbox.status.is_isolated:
        _log.warning("no sandbox", reason=sandbox.status.reason, advice=sandbox.status.advice)
    _log.info("bounds", said=sandbox.bounds.describe_bounds)
    http = make_http_client()
    github = GitHubClient(settings, http)
    stores = Stores(settings.home, remote, github.git_header, hooks=settings.target_hooks == "run")
    prices = load_prices(settings.prices)
    ledger = Ledger(settings.home)
    purse = SpendingGuard(stores, ledger, prices, settings)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    own_model = None if model is not None else make_client(key, settings.base_url)
    messages = model or own_model
    assert messages is not None
    repository = PrepareActivities(stores, sandbox, prices, settings)
    integration = IntegrationActivities(stores)
    publishing = PublishActivities(stores)
    upstream = BranchSyncActivities(stores)
    redact = Redactor(settings.list_secrets())
    state = StateActivities(stores, redact, ledger)
    identity = make_identity(host_name)
    acquire_host = HostActivities(queue).acquire_host
    if run is None:
        delivering = DeliveryActivities(client, stores, identifiers.TASK_QUEUE)
        served: list[Callable[..., Any]] = [
            acquire_host,
            delivering.find_run,
            delivering.deliver,
            delivering.stop_runs_of,
        ]
        workflows = make_workflow_worker(client, identifiers.TASK_QUEUE, host_name, served, build_id)
    else:
        workflows = make_workflow_worker(client, identifiers.run_queue(run), host_name, [acquire_host])
    slots = ActivitySlots(settings.max_activities)
    presence = Worker(
        client,
        identity=identity,
        task_queue=identifiers.presence_queue(queue),
        activities=[PresenceActivities(slots).attend_step],
        max_concurrent_activities=MAX_ATTENDED,
        # A frozen process takes tasks with its open polls, so there is one poll only.
        max_concurrent_activity_task_polls=1,
        deployment_config=deployment_config(),
        max_heartbeat_throttle_interval=_PRESENCE_HEARTBEAT,
        default_heartbeat_throttle_interval=_PRESENCE_HEARTBEAT,
    )
    host = Worker(
        client,
        identity=identity,
        task_queue=queue,
        activities=[
            repository.prepare_run,
            repository.read_plan,
            ForkActivities(stores).adopt_fork,
            ResumeActivities(stores).find_session,
            integration.open_task,
            integration.open_repair,
            integration.integrate_task,
            TurnActivities(stores, messages, sandbox, prices, settings, purse).take_turn,
            GateActivities(stores, sandbox, redact, settings).run_gate,
            SpendingActivities(stores).set_caps,
            state.save_state,
            state.write_report,
            state.read_guidance,
            publishing.publish_run,
            publishing.leave_out,
            publishing.clean_up,
            upstream.take_in,
            upstream.take_theirs,
            upstream.open_round,
        ],
        max_concurrent_activities=settings.max_activities,
        interceptors=[slots],
        deployment_config=deployment_config(),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )
    workers = [workflows, presence, host]
    if run is None and github.is_configured:
        workers += _github_workers(client, settings, github)
    try:
        async with monitor_disk(settings), AsyncExitStack() as running:
            for worker in workers:
                await running.enter_async_context(worker)
            if run is None:
                await running.enter_async_context(adopt_runs(client, settings, host_name, queue))
            yield WorkerHandle(host=host_name, queue=queue, sandbox=sandbox)
    finally:
        await http.aclose()
        if own_model is not None:
            await own_model.close()
        await ledger.close()


def _network_policy(settings: Settings) -> NetworkPolicy | None:
    """Return the network destinations that the person's settings open to commands; None where they open none."""
    if settings.sandbox_network == "never":
        return None
    proxy = settings.https_proxy.get_secret_value() if settings.https_proxy else None
    return NetworkPolicy(
        Destinations(parse_grants(settings.network_allow or ""), partial(read_engine_services, settings)),
        UpstreamProxy.parse_environment(proxy, settings.no_proxy),
    )


def _github_workers(client: Client, settings: Settings, github: GitHubClient) -> list[Worker]:
    """Return the workers for GitHub: reads in parallel; writes one at a time, at a bounded rate over all hosts.

    https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#avoid-concurrent-requests
    """
    reading, writing = GitHubReadActivities(github, settings.github_bot_logins), GitHubWriteActivities(github)
    reads = Worker(
        client,
        task_queue=identifiers.GITHUB_READS,
        activities=[reading.check_permission, reading.read_comments, reading.read_pull, reading.read_failure],
        deployment_config=deployment_config(),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )
    writes = Worker(
        client,
        task_queue=identifiers.GITHUB_QUEUE,
        activities=[writing.react, writing.write_comment, writing.write_pull, CheckActivities(github).write_check],
        max_concurrent_activities=1,
        deployment_config=deployment_config(),
        max_task_queue_activities_per_second=settings.github_writes_per_second,
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )
    return [reads, writes]
