"""A service of the pages' tests: a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


@contextmanager
def start_service(jobs: Path, **more: str) -> Iterator[str]:
    """Its address, once it is ready. It ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = more.pop("PORT", str(probe.getsockname()[1]))
    settings = {"PORT": port, "LOG_LEVEL": "warning", "MODELS_DIR": "models", "DEFAULT_TARGET": "franck"}
    settings |= {"JOBS_DIR": jobs} | more
    environment = os.environ | {f"LANDMARKGAN_{name}": str(value) for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(address):
            assert process.poll() is None, "the service ended at its start"
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def is_ready(address: str) -> bool:
    """Whether requests will be served."""
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False
