"""OpenTelemetry: one trace from the command or webhook through workflows and activities to the model call.

Off unless an OTLP endpoint is configured. The exporter reads its other settings from OpenTelemetry's own variables:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from baton import __version__
from baton.errors import ConfigurationError
from baton.settings.core import Settings

if TYPE_CHECKING:
    from temporalio.client import Plugin

_FLUSH_MILLISECONDS = 5_000
"""Time to export the last spans when a command ends; the library takes milliseconds."""


@asynccontextmanager
async def open_tracing(settings: Settings) -> "AsyncIterator[list[Plugin]]":
    """Give the plugins that a connection needs for traces; on leaving, export the remaining spans.

    Raises ConfigurationError if an endpoint is configured and the packages are missing.
    """
    if settings.otlp_endpoint is None:
        yield []
        return
    try:
        from temporalio.contrib.opentelemetry import OpenTelemetryPlugin

        provider = _tracer_provider(settings.otlp_endpoint)
    except ImportError as error:
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the packages for traces are missing: install baton with its extra"
            " `otel`, or unset it."
        ) from error
    try:
        yield [OpenTelemetryPlugin(add_temporal_spans=True)]
    finally:
        await asyncio.to_thread(provider.force_flush, _FLUSH_MILLISECONDS)


@cache
def _tracer_provider(endpoint: str) -> Any:
    """Return the tracer provider of this process; OpenTelemetry accepts only one."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from temporalio.contrib.opentelemetry import create_tracer_provider

    resource = Resource.create({"service.name": "baton", "service.version": __version__})
    provider = create_tracer_provider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider
