"""The SDK's native core: one runtime per process, whose log lines go where all others go."""

import logging
from functools import cache

from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter


@cache
def core_runtime() -> Runtime:
    """The runtime for every connection of this process.

    By itself the core writes to stdout, where a command's result stands; here its lines go through the standard
    library's logger `temporalio.core`.
    """
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    filters = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=filters, forwarding=forwarding)))
