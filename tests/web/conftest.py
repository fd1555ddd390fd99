"""A browser and the real service on the committed bundles, for the tests of the pages."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from serving import start_service
from tiny_service import write_bundle

from benchmarks.browser import MISSING, find_chromium, launch_chromium
from shared.detectors.mesh import MeshDetector
from shared.landmarks import IBUG70

ROOT = Path(__file__).parents[2]


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
