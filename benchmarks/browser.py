"""The system's Chromium, driven by Playwright: for the tests of the pages, their benchmark and their screenshots."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = f"No browser: none of {', '.join(NAMES)} is installed; on Debian, apt-get install chromium."


def find_chromium() -> str | None:
    """Path of the first of `NAMES` that is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def launch_chromium(playwright: Playwright, path: str, arguments: Sequence[str] = ()) -> Browser:
    """The browser at `path`, without a window."""
    # Chromium's sandbox refuses to run as root, as containers do.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=path, args=[*sandbox, *arguments])


def film_with(clip: Path) -> list[str]:
    """What makes Chromium take a file for its camera, and give it to pages unasked: MJPEG (JPEGs in a row) or Y4M."""
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
    ]
