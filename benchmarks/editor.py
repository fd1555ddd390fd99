"""``python -m benchmarks.editor``: from the pointer's move to the picture painted, in the editor, in a real browser.

A hand drags the lower lip around at 60 moves a second. Each picture painted counts from the move that it shows, on the
browser's own clock, to the frame in which it is on the screen. Moves that newer ones overtook have no picture.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import MISSING, find_chromium, launch_chromium
from trainer.evaluation.served_faces import serve

MOVES_A_SECOND = 60
REACH = 0.03  # crop sides that the lip is dragged either way
LISTEN = """() => {
  window.latencies = [];
  document.addEventListener("painted", ({ detail }) => {
    requestAnimationFrame(() => window.latencies.push(performance.now() - detail.since));
  });
}"""


def drag_around(page: Page, seconds: float) -> list[float]:
    """Milliseconds from move to picture, for each picture painted while the lower lip is dragged in circles."""
    page.wait_for_selector("#download:not([disabled])")
    page.check('input[name="tool"][value="point"]', force=True)
    lip = page.locator("#points circle").nth(57).bounding_box()
    surface = page.locator("#landmarks").bounding_box()
    assert lip is not None
    assert surface is not None
    x, y, reach = lip["x"] + lip["width"] / 2, lip["y"] + lip["height"] / 2, REACH * surface["width"]
    page.evaluate(LISTEN)
    page.mouse.move(x, y)
    page.mouse.down()
    for move in range(round(seconds * MOVES_A_SECOND)):
        angle = move / MOVES_A_SECOND * math.tau
        page.mouse.move(x + reach * math.sin(angle), y + reach * (1 - math.cos(angle)))
        page.wait_for_timeout(1000 / MOVES_A_SECOND)
    page.mouse.up()
    page.wait_for_timeout(500)
    latencies: list[float] = page.evaluate("() => window.latencies")
    return latencies


def time_pointer(chromium: str, address: str, seconds: float) -> list[float]:
    """`drag_around` in the editor of this service, in a browser of its own."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright, chromium)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(address)
        drag_around(page, seconds=1)  # warms the networks and the browser
        page.reload()
        latencies = drag_around(page, seconds)
        browser.close()
    return latencies


def main() -> int:
    """Print the figures. Returns the exit status: 1 where there is no browser."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.editor", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--seconds", type=float, default=10, help="how long the lip is dragged (default: 10)")
    options = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print(MISSING, file=sys.stderr)
        return 1
    with serve(options.models) as served:
        latencies = time_pointer(chromium, str(served.client.base_url), options.seconds)
    median, p95 = np.percentile(latencies, (50, 95))
    print(f"pointer to picture: median {median:.0f} ms, 95th percentile {p95:.0f} ms, {len(latencies)} pictures")
    print(f"{len(latencies) / options.seconds:.1f} pictures a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
