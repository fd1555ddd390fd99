"""Targets, readiness, limits under load, and what the package may import."""

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_service import MarkedDetector, draw_faces, make_face, read_picture, serve, to_bytes, write_bundle

from service.app import create_app
from service.errors import StartError
from service.settings import Settings
from shared.bundle import BundleManifest
from shared.detectors import DetectedFace

pytestmark = pytest.mark.anyio

ORDER = {"target": "ada", "landmarks": make_face().astype(float).tolist()}
PICTURE = {"image": ("face.png", to_bytes(draw_faces((20, 15, 60))), "image/png")}


class GatedDetector(MarkedDetector):
    """Holds the inference thread until its gate opens; counts its pictures."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.pictures = 0

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        self.pictures += 1
        self.entered.set()
        assert self.gate.wait(10)
        return super().detect(image)


async def test_targets_are_listed_with_the_damaged(tmp_path: Path) -> None:
    write_bundle(tmp_path, "ada")
    write_bundle(tmp_path, "bob")
    (tmp_path / "bob" / "tl2f.onnx").unlink()
    async with serve(Settings(models_dir=tmp_path, threads=1)) as client:
        body = (await client.get("/targets")).json()
        assert [target["id"] for target in body["targets"]] == ["ada"]
        assert [(each["id"], "tl2f.onnx" in each["reason"]) for each in body["damaged"]] == [("bob", True)]
        ada = body["targets"][0]
        assert (ada["scheme"], ada["points"], ada["licence"]) == ("ibug68", 68, "Apache-2.0")
        parts = {name: (await client.get(ada[name])).json() for name in ("manifest", "metrics", "presets")}
        BundleManifest.model_validate(parts.pop("manifest") | parts)
        assert len((await client.get(ada["manifest"])).content) < 20_000
        reference = await client.get(ada["reference"])
        assert reference.headers["content-type"] == "image/png"
        assert read_picture(reference.content).shape[2] == 3
        refused = await client.post("/synthesize", json=ORDER | {"target": "bob"})
        for answer in (await client.get("/targets/bob"), refused):
            assert answer.status_code == 503
            assert "tl2f.onnx" in answer.json()["detail"]
            assert "retry-after" not in answer.headers
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/synthesize", json=ORDER)).status_code == 200


async def test_states(settings: Settings) -> None:
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/readyz", "/version", "/targets"):
            loading = await client.get(path)
            assert (loading.status_code, loading.headers["retry-after"]) == (503, "1")
        assert (await client.post("/synthesize", json=ORDER)).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        async with app.router.lifespan_context(app):
            while (await client.get("/readyz")).status_code == 503:
                await asyncio.sleep(0.005)
            version = (await client.get("/version")).json()
            assert version["providers"] == {"ada": ["CPUExecutionProvider"], "bob": ["CPUExecutionProvider"]}
            app.state.lifecycle.draining = True
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.post("/synthesize", json=ORDER)).status_code == 200  # what still comes is served


async def test_no_target_is_not_ready(tmp_path: Path) -> None:
    async with serve(Settings(models_dir=tmp_path / "none", threads=1)) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "No target" in answer.json()["detail"]
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 200


async def test_a_load_that_failed_is_neither_ready_nor_alive(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("service.app.load_face_service", fail)
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        while app.state.lifecycle.failure is None:
            await asyncio.sleep(0.005)
        for path in ("/livez", "/readyz", "/targets"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:landmarkgan:problem:load-failed")
            assert "retry-after" not in answer.headers


async def wait_for(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


async def test_a_full_queue_says_so(settings: Settings) -> None:
    detector = GatedDetector()
    async with serve(settings.model_copy(update={"queue_size": 2}), detector) as client:
        waiting = [asyncio.ensure_future(client.post("/landmarks", files=PICTURE)) for _ in range(2)]
        await wait_for(detector.entered)
        while client.app.state.lifecycle.face_service.engine.admitted < 2:
            await asyncio.sleep(0.005)
        answer = await client.post("/synthesize", json=ORDER)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"].endswith("busy")
        detector.gate.set()
        assert [each.status_code for each in await asyncio.gather(*waiting)] == [200, 200]
        assert (await client.post("/synthesize", json=ORDER)).status_code == 200


async def test_a_deadline_drops_the_work(settings: Settings) -> None:
    detector = GatedDetector()
    async with serve(settings.model_copy(update={"deadline_seconds": 0.2}), detector) as client:
        answers = await asyncio.gather(*(client.post("/landmarks", files=PICTURE) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [503] * 3
        assert answers[0].json()["type"].endswith("deadline")
        assert "retry-after" in answers[0].headers
        detector.gate.set()
        assert (await client.post("/synthesize", json=ORDER)).status_code == 200
    assert detector.pictures == 1


async def test_a_client_that_hangs_up_takes_its_work_along(settings: Settings) -> None:
    detector = GatedDetector()
    app = create_app(settings, detector)
    body, sent = PICTURE["image"][1], []
    form = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n' + body + b"\r\n--x--\r\n"
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/landmarks", "raw_path": b"/landmarks", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")],
    }  # fmt: skip

    async def request(gone: asyncio.Event) -> None:
        messages = [{"type": "http.request", "body": form, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(dict(scope), receive, send)

    async with app.router.lifespan_context(app):
        while app.state.lifecycle.face_service is None:
            await asyncio.sleep(0.005)
        staying, gone = asyncio.Event(), asyncio.Event()
        first = asyncio.ensure_future(request(staying))
        await wait_for(detector.entered)
        second = asyncio.ensure_future(request(gone))
        await asyncio.sleep(0.1)
        gone.set()
        await second
        assert sent[0]["status"] == 499
        detector.gate.set()
        await first
        assert sent[2]["status"] == 200
    assert detector.pictures == 1


async def test_the_log_has_a_line_a_request_and_nothing_of_its_body(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "service.access"):
        async with serve(settings) as client:
            await client.post("/synthesize", json=ORDER)
            await client.get("/nothing%0Aforged")
    lines = [record.getMessage() for record in caplog.records if record.name == "service.access"]
    assert lines[-2].startswith("method=POST path=/synthesize status=200 ms=")
    assert lines[-2].endswith("target=ada")
    assert "\n" not in lines[-1]
    assert "%0Aforged status=404" in lines[-1]


async def test_a_gpu_that_is_required_and_missing_fails_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    app = create_app(settings.model_copy(update={"device": "cuda", "require_gpu": True}))
    with pytest.raises(StartError, match="GPU"):
        async with app.router.lifespan_context(app):
            pass


def test_importing_the_service_loads_neither_torch_nor_trainer() -> None:
    code = "import sys, service.app, service.__main__; sys.exit(bool({'torch', 'trainer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
