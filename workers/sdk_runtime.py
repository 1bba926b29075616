"""The runtime of the SDK's native core: one per process, with its log lines in ours, and a metrics endpoint."""

import logging

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from baton.errors import ConfigurationError

_MINUTES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0]
"""Seconds: from a checkpoint to a long test run."""

_BUCKETS = {
    "baton_call_usd": [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0],
    "baton_model_seconds": _MINUTES,
    "baton_tool_seconds": _MINUTES,
    "baton_checkpoint_seconds": _MINUTES,
    "baton_gate_seconds": _MINUTES,
}

_runtime: Runtime | None = None


def sdk_runtime() -> Runtime:
    """Return the runtime for every connection of this process, made at the first call.

    By default the core logs to stdout, which belongs to a command's result; here its lines go through the logger
    `temporalio.core` of the standard library.
    """
    global _runtime
    if _runtime is None:
        _runtime = Runtime(telemetry=TelemetryConfig(logging=_logging_config()))
    return _runtime


def serve_metrics(address: str) -> None:
    """Serve Prometheus metrics of the SDK and of Baton at `http://<address>/metrics`; call before the first connection.

    Raises ConfigurationError if the address is invalid or in use.
    """
    global _runtime
    metrics = PrometheusConfig(
        bind_address=address,
        counters_total_suffix=True,
        unit_suffix=False,
        durations_as_seconds=True,
        histogram_bucket_overrides=_BUCKETS,
    )
    try:
        _runtime = Runtime(telemetry=TelemetryConfig(logging=_logging_config(), metrics=metrics))
    except ValueError as error:
        raise ConfigurationError(
            f"BATON_METRICS_ADDRESS {address} is invalid: {error}. Write an IP address and a port, as 127.0.0.1:9464."
        ) from error


def _logging_config() -> LoggingConfig:
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    return LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=forwarding)
