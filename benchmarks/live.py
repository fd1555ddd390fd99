"""``python -m benchmarks.live``: pictures a second that /live paints, a camera of 640x480 beside it, in a real browser.

The browser's camera is a file with a face that sways, 30 frames a second. Browser, camera and service share the cores,
as they do for who tries it at home. The page's own figure is read, which counts answers over two seconds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import MISSING, film_with, find_chromium, launch_chromium
from benchmarks.stream import draw_frames, encode_frames
from trainer.evaluation.served_faces import serve

SETTLING = 3000  # milliseconds until the first figure counts: networks, browser and smoothing have begun
SPAN = 2000  # milliseconds that one figure is of


def watch_live(page: Page, target: str, seconds: float) -> float:
    """Pictures a second of the page /live of the page's base address, its camera being on."""
    page.goto("/live")
    page.wait_for_selector(f"#target option[value={target}]", state="attached")
    page.select_option("#target", target)
    page.click("#camera")
    page.wait_for_function("() => Number(document.getElementById('rate').textContent) > 0", timeout=60_000)
    page.wait_for_timeout(SETTLING)
    rates = []
    for _ in range(max(1, round(1000 * seconds / SPAN))):
        page.wait_for_timeout(SPAN)
        shown = page.inner_text("#rate")
        rates.append(0.0 if shown == "–" else float(shown))  # no two answers in the span
    return float(np.mean(rates))


def time_live(chromium: str, address: str, target: str, frames: Sequence[bytes], seconds: float) -> float:
    """Pictures a second that /live of this service shows in a browser of its own."""
    with TemporaryDirectory(prefix="camera-") as folder, sync_playwright() as playwright:
        clip = Path(folder) / "camera.mjpeg"
        clip.write_bytes(b"".join(frames))  # JPEGs in a row are a camera of 30 frames a second to Chromium
        browser = launch_chromium(playwright, chromium, film_with(clip))
        rate = watch_live(browser.new_page(base_url=address), target, seconds)
        browser.close()
    return rate


def main() -> int:
    """Print the figure. Returns the exit status: 1 where there is no browser."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--target", default="franck", help="target to play (default: franck)")
    parser.add_argument("--seconds", type=float, default=10, help="how long it is watched (default: 10)")
    options = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print(MISSING, file=sys.stderr)
        return 1
    frames = encode_frames(draw_frames(options.models / options.target / "reference.jpg"))
    with serve(options.models) as served:
        rate = time_live(chromium, str(served.client.base_url), options.target, frames, options.seconds)
    print(f"/live beside a camera: {rate:.1f} pictures a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
