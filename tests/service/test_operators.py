"""What an operator reads: metrics, request ids, the log as text and as JSON, traces."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from prometheus_client.parser import text_string_to_metric_families
from tiny_service import make_face, serve

from service.logs import REQUEST_ID
from service.settings import Settings

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
ORDER = {"target": "ada", "landmarks": make_face().astype(float).tolist()}


def read_samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values …) -> value."""
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


async def test_metrics(settings: Settings) -> None:
    async with serve(settings) as client:
        for _ in range(3):
            await client.post("/synthesize", json=ORDER)
        await client.get("/jobs/0123456789abcdef")
        await client.get("/secret-path")
        await client.request("BREW", "/synthesize")
        await client.head("/readyz")
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        samples = read_samples(answer.text)
        bundle = client.app.state.lifecycle.face_service.catalogue.find("ada").bundle
    assert samples["landmarkgan_requests_total", "POST", "/synthesize", "200"] == 3
    assert samples["landmarkgan_requests_total", "GET", "/jobs/{job_id}", "404"] == 1
    assert samples["landmarkgan_requests_total", "GET", "none", "404"] == 1
    assert samples["landmarkgan_requests_total", "HEAD", "/readyz", "200"] == 1
    assert not [key for key in samples if "BREW" in key or "0123456789abcdef" in str(key) or "secret" in str(key)]
    assert samples["landmarkgan_request_seconds_count", "/synthesize"] >= 3
    assert samples["landmarkgan_stage_seconds_count", "synthesize"] == 3
    assert samples["landmarkgan_batches_total", "1"] == 3
    assert samples["landmarkgan_jobs", "done"] == samples["landmarkgan_streams_open",] == 0
    assert samples["landmarkgan_queue_requests",] == 0
    assert samples["landmarkgan_queue_capacity",] == settings.queue_size
    assert {"ada", bundle} in [set(key[1:]) for key in samples if key[0] == "landmarkgan_target_info"]
    if sys.platform == "linux":
        assert samples["process_resident_memory_bytes",] > 1e6


async def test_request_ids(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    caplog.handler.addFilter(lambda _: not seen.append(REQUEST_ID.get()))
    with caplog.at_level(logging.INFO, "service.access"):
        async with serve(settings) as client:
            kept = await client.get("/livez", headers={"x-request-id": "trace-7:a.b_c"})
            assert kept.headers["x-request-id"] == "trace-7:a.b_c"
            assert seen[-1] == "trace-7:a.b_c"
            for bad in ("", "a b", "x" * 65, "a\u00e9"):
                made = (await client.get("/livez", headers={"x-request-id": bad.encode()})).headers["x-request-id"]
                assert re.fullmatch("[0-9a-f]{32}", made)
                assert seen[-1] == made
            assert (await client.get("/nothing")).headers["x-request-id"] == seen[-1]
    assert REQUEST_ID.get() == "-"


async def test_the_access_log_has_no_ids_of_jobs(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    job_id = "0123456789abcdef0123456789abcdef"
    with caplog.at_level(logging.INFO, "service.access"):
        async with serve(settings) as client:
            caplog.clear()
            for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/result", f"/jobs/{job_id}/", f"/jobs//{job_id}/none"):
                await client.get(path)
            await client.delete(f"/jobs/{job_id}?{job_id}")
    lines = [record.getMessage() for record in caplog.records if record.name == "service.access"]
    assert len(lines) == 5
    assert "path=/jobs/*/result status=404" in lines[1]
    assert not [line for line in lines if job_id in line]
    ours = [record for record in caplog.records if record.name.startswith("service")]
    assert not [record for record in ours if job_id in str(record.__dict__)]


async def test_work_beside_the_loop_logs_with_the_id_of_its_request(settings: Settings) -> None:
    seen: list[str] = []
    async with serve(settings) as client:
        marker = client.app.state.lifecycle.face_service.marker
        encode = marker.encode
        marker.encode = lambda *given: (seen.append(REQUEST_ID.get()), encode(*given))[1]
        await client.post("/synthesize", json=ORDER, headers={"x-request-id": "trace-8"})
    assert seen == ["trace-8"]


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stderr


LOGGING = """
import logging, sys
from service.logs import REQUEST_ID, configure_logging
configure_logging("info", sys.argv[1])
REQUEST_ID.set("abc")
logging.getLogger("x").info("made %d", 3, extra={"status": 200})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("x").exception("failed")
"""


def test_the_log_as_text_and_as_json() -> None:
    text = run_python(LOGGING, "text").splitlines()
    assert text[0].endswith("INFO x request=abc made 3")
    lines: list[dict[str, Any]] = [json.loads(line) for line in run_python(LOGGING, "json").splitlines()]
    assert len(lines) == 2
    assert {"levelname": "INFO", "name": "x", "request_id": "abc", "message": "made 3", "status": 200}.items() <= (
        lines[0].items()
    )
    assert "ZeroDivisionError" in lines[1]["exc_info"]


TRACING = """
import sys
from fastapi import FastAPI
from service.api.tracing import install_tracing
if sys.argv[1] == "without":
    sys.modules["opentelemetry.instrumentation.fastapi"] = None
app = FastAPI()
install_tracing(app)
print(getattr(app, "_is_instrumented_by_opentelemetry", False), file=sys.stderr)
"""


def test_traces_are_made_where_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_python(TRACING, "with").split()[-1] == "False"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert run_python(TRACING, "with").split()[-1] == "True"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_python(TRACING, "without")
    assert "StartError" in failed.value.stderr


async def test_a_traced_request_says_how_long_its_stages_took(settings: Settings) -> None:
    tracer = TracerProvider().get_tracer("test")
    async with serve(settings) as client:
        with tracer.start_as_current_span("request") as span:
            assert (await client.post("/synthesize", json=ORDER)).status_code == 200
    assert isinstance(span, ReadableSpan)
    assert set(span.attributes or ()) == {
        f"landmarkgan.{stage}.seconds" for stage in ("queue", "convert", "synthesize", "encode")
    }
