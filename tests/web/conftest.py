"""A browser and the real service on the committed bundles, for the tests of the pages."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tiny_service import write_bundle

from benchmarks.browser import MISSING, find_chromium, launch_chromium
from shared.detectors.mesh import MeshDetector
from shared.landmarks import IBUG70

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium. Without one the tests are skipped, except where CI asks for all of them."""
    path = find_chromium()
    if path is not None:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)


@pytest.fixture(scope="session")
def service(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service, ready, on models/ and two tiny targets: ada has 68 points, eve has pupils besides.

    Asks for the browser first: without one there is nothing to start.
    """
    models = tmp_path_factory.mktemp("models")
    for folder in (ROOT / "models").iterdir():
        (models / folder.name).symlink_to(folder)
    write_bundle(models, "ada")
    write_bundle(models, "eve", scheme=IBUG70)
    with start_service(tmp_path_factory.mktemp("jobs"), MODELS_DIR=str(models)) as address:
        yield address


@pytest.fixture(scope="module")
def locked_service(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of such a service that wants a key, and the key."""
    key = "0123456789abcdef"
    with start_service(tmp_path_factory.mktemp("jobs"), API_KEYS=f'["{key}"]') as address:
        yield address, key


@contextmanager
def start_service(jobs: Path, **more: str) -> Iterator[str]:
    """Its address, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser a module: Playwright's event loop must have ended before asynchronous tests begin theirs."""
    with sync_playwright() as playwright:
        launched = launch_chromium(playwright, chromium)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, service: str) -> Iterator[Page]:
    """A new page, whose paths are the service's. An error of a script or a blocked file fails the test."""
    context = browser.new_context(base_url=service, viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
    yield opened
    context.close()
    assert errors == []


@pytest.fixture(scope="session")
def detector() -> MeshDetector:
    """The embedded detector, to see what a picture shows."""
    return MeshDetector(ROOT / "models" / "mesh", threads=1)
