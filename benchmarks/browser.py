"""The system's Chromium, driven by Playwright: for the tests of the pages, their benchmark and their screenshots."""

import os
import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = f"No browser: none of {', '.join(NAMES)} is installed; on Debian, apt-get install chromium."


def find_chromium() -> str | None:
    """Path of the first of `NAMES` that is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def launch_chromium(playwright: Playwright, path: str) -> Browser:
    """The browser at `path`, without a window."""
    # Chromium's sandbox refuses to run as root, as containers do.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=path, args=arguments)
