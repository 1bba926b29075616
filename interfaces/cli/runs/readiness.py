"""The document that a service prints with `--json` once it is ready."""

from typing import Any

from workers.temporal_service import TemporalService
from workers.worker import WorkerHandle


def describe_readiness(service: TemporalService, worker: WorkerHandle | None) -> dict[str, Any]:
    """Return the addresses of a server, and host, queue and sandbox of a worker of this process."""
    return {
        "address": service.address,
        "namespace": service.client.namespace,
        "web_ui": service.web_ui,
        "embedded": service.embedded,
        "config_file": str(service.server.profile) if service.server and service.server.profile else None,
        "host": worker.host if worker else None,
        "queue": worker.queue if worker else None,
        "sandbox": worker.sandbox.status.kind if worker else None,
    }
