"""OpenTelemetry traces of requests, by its own packages, where its own variables name a collector."""

import os
import sys
from collections.abc import Mapping

from fastapi import FastAPI

from service import __version__
from service.errors import StartError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
UNTRACED = "livez,readyz,metrics"


def install_tracing(app: FastAPI) -> None:
    """Trace every request but probes', if a collector is named; its other variables (OTEL_…) hold as well.

    Raises StartError where the extra `otel` is not installed.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise StartError(
            f"{ENDPOINTS[0]} asks for traces, but {error.name} is not installed.", "pip install '.[otel]'"
        ) from error
    resource = Resource.create({"service.name": "landmarkgan", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls=UNTRACED)


def trace_stages(stages: Mapping[str, float]) -> None:
    """Add one picture's stages, in seconds, to the span of the request, where it is traced."""
    trace = sys.modules.get("opentelemetry.trace")  # nobody else imports it
    if trace is not None:
        trace.get_current_span().set_attributes(
            {f"landmarkgan.{stage}.seconds": each for stage, each in stages.items()}
        )
