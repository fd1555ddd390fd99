"""The service as it is started: its own process, real HTTP on the loopback, signals."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tiny_service import make_face, read_picture

ROOT = Path(__file__).parents[2]
ORDER = {"target": "ada", "landmarks": make_face().astype(float).tolist()}


def start(models: Path, *options: str, **variables: str) -> tuple[subprocess.Popen[str], str]:
    """Start the service on a free port; its process and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"models_dir": str(models), "port": str(port), "threads": "1"} | variables
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDMARKGAN_")}
    environment["LANDMARKGAN_JOBS_DIR"] = os.environ["LANDMARKGAN_JOBS_DIR"]  # the test's own
    environment |= {f"LANDMARKGAN_{name.upper()}": value for name, value in own.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", *options], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    return process, f"http://127.0.0.1:{port}"


def wait_until(answers: Callable[[], bool], seconds: float = 60) -> None:
    """Ask until the answer is yes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answers():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} seconds")


@pytest.fixture
def served(models: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running service that drains for two seconds."""
    process, address = start(models, drain_seconds="2", max_upload_bytes="100000")
    try:
        wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        yield process, address
    finally:
        process.kill()
        process.communicate()


def test_real_http_and_a_graceful_end(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    with httpx.Client(base_url=address, timeout=30) as client:
        answer = client.post("/synthesize", json=ORDER)
        assert read_picture(answer.content).shape == (32, 32, 3)
        too_large = client.post("/landmarks", files={"image": ("a.png", bytes(2_000_000), "image/png")})
        assert too_large.status_code == 413
        assert too_large.headers["content-type"] == "application/problem+json"
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/readyz").status_code == 503, seconds=2)
        assert client.post("/synthesize", json=ORDER).status_code == 200
    _, log = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "path=/synthesize status=200" in log
    assert "Traceback" not in log


def test_options_win_over_variables(models: Path) -> None:
    ended, elsewhere = start(models, "--port", "70000")
    _, log = ended.communicate(timeout=30)
    assert ended.returncode == 2
    assert "LANDMARKGAN_PORT" in log
    host, _, port = elsewhere.removeprefix("http://").rpartition(":")
    process, _ = start(models, "--host", host, "--port", port, host="256.0.0.1", port="1")
    try:
        wait_until(lambda: httpx.get(f"{elsewhere}/livez").status_code == 200)
    finally:
        process.kill()
        process.communicate()


def test_wrong_settings_are_named(models: Path) -> None:
    process, _ = start(models, port="many", queue_size="0")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "LANDMARKGAN_PORT" in log
    assert "LANDMARKGAN_QUEUE_SIZE" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"max_streamz": "3"}, "LANDMARKGAN_MAX_STREAMZ: there is no such setting; LANDMARKGAN_MAX_STREAMS is meant?"),
        ({"default_target": "eve"}, "LANDMARKGAN_DEFAULT_TARGET: there is no target 'eve'; "),
    ],
)
def test_names_that_are_none_end_the_start(models: Path, variables: dict[str, str], words: str) -> None:
    process, _ = start(models, **variables)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    assert words in log
    assert "Traceback" not in log


def test_a_missing_gpu_ends_the_start(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # where there is one, the service does not see it
    process, _ = start(models, device="cuda", require_gpu="true")
    _, log = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "A GPU is required" in log
