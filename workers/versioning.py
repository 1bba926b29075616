"""Worker Deployment Versioning: the build of the workflow code that serves the runs, and the switch to a new one.

https://docs.temporal.io/production-deployment/worker-deployments/worker-versioning
"""

import asyncio
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from baton import __version__
from baton.errors import TemporalUnreachable

DEPLOYMENT = "baton"

PROMOTION_TIMEOUT = timedelta(seconds=60)
"""For the worker of a new version to poll every queue of the version before."""

_RETRY_INTERVAL = timedelta(seconds=0.5)


def deployment_config(build_id: str | None = None) -> WorkerDeploymentConfig:
    """Return the versioning of a worker; without a build id any worker serves any run.

    An unversioned worker names a version, too: otherwise the SDK hashes all loaded code for a name, which takes most of
    a second.

    Open runs go on with the current version (auto-upgrade): a run may wait for a person for weeks, and no old worker
    is kept alive for it. Recorded histories are replayed in the tests, so new code continues the runs of old code.
    """
    if build_id is None:
        return WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=__version__),
            use_worker_versioning=False,
        )
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def current_version(client: Client) -> str:
    """Return the build id that serves all runs; empty where any worker serves any run."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=DEPLOYMENT)
    try:
        described = await client.workflow_service.describe_worker_deployment(request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return ""
        raise
    return described.worker_deployment_info.routing_config.current_deployment_version.build_id


async def make_current(client: Client, build_id: str, within: timedelta = PROMOTION_TIMEOUT) -> None:
    """Let a version serve all runs from now on; waits until the server has seen its worker on every queue.

    Raises TemporalUnreachable if that does not happen in time.
    """
    deadline = asyncio.get_running_loop().time() + within.total_seconds()
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=DEPLOYMENT,
        build_id=build_id,
        identity=client.service_client.config.identity or "baton",
    )
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
        except RPCError as error:
            passing = error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
            if not passing or asyncio.get_running_loop().time() > deadline:
                raise TemporalUnreachable(
                    f"The version {build_id} could not be made current: {error.message}. Does a worker of it run?"
                ) from error
            await asyncio.sleep(_RETRY_INTERVAL.total_seconds())
        else:
            return
