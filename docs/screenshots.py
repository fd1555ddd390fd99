"""``python -m docs.screenshots``: the pictures of the pages in the README, taken in a real browser of the real service.

A page has a function that brings it into a state worth showing, and a line in `SHOTS`.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import MISSING, find_chromium, launch_chromium
from benchmarks.stream import draw_frames, write_clip
from trainer.evaluation.served_faces import serve

ROOT = Path(__file__).parents[1]
MOST_BYTES = 300_000
SET = """(input, value) => {
  input.value = value;
  for (const name of ["input", "change"]) input.dispatchEvent(new Event(name, { bubbles: true }));
}"""


def show_editor(page: Page) -> None:
    """The mouth of a head that turns a little, taken hold of."""
    page.goto("/")
    page.wait_for_selector("#download:not([disabled])")
    page.select_option("#target", "franck")
    page.wait_for_timeout(1000)
    page.click("[data-preset=smile]")
    page.eval_on_selector("#slider-yaw", SET, "14")
    page.click("[data-feature=mouth]")
    page.mouse.move(0, 0)


def show_live(page: Page) -> None:
    """A face that sways, out of a file, and the target after it."""
    page.goto("/live")
    page.wait_for_selector("#target option[value=franck]", state="attached")
    page.select_option("#target", "franck")
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "face.mp4"
        frames = draw_frames(ROOT / "models" / "cap" / "reference.jpg")
        write_clip(clip, frames, len(frames))
        page.set_input_files("#file", {"name": clip.name, "mimeType": "video/mp4", "buffer": clip.read_bytes()})
    page.wait_for_function("() => Number(document.getElementById('rate').textContent) > 0")
    page.wait_for_timeout(4000)


SHOTS: Mapping[str, Callable[[Page], None]] = {"editor": show_editor, "live": show_live}


def main() -> int:
    """Write ``docs/images/<name>.jpg``, all or those named. Returns the exit status: 1 where something is missing."""
    unknown = set(sys.argv[1:]) - set(SHOTS)
    chromium = find_chromium()
    if unknown or chromium is None:
        print(
            f"No such shot: {', '.join(unknown)}; one of {', '.join(SHOTS)}." if unknown else MISSING, file=sys.stderr
        )
        return 1
    with serve(ROOT / "models") as served, sync_playwright() as playwright:
        browser = launch_chromium(playwright, chromium)
        for name in sys.argv[1:] or SHOTS:
            page = browser.new_page(
                base_url=str(served.client.base_url),
                viewport={"width": 1360, "height": 930},
                device_scale_factor=1.25,
                color_scheme="light",
            )
            SHOTS[name](page)
            page.wait_for_timeout(1500)  # until the last picture asked for is painted
            path = ROOT / "docs" / "images" / f"{name}.jpg"
            page.screenshot(path=path, type="jpeg", quality=82)
            size = path.stat().st_size
            print(f"{path.relative_to(ROOT)}: {size:,} bytes")
            if size > MOST_BYTES:
                print(f"{path.name} is larger than {MOST_BYTES:,} bytes.", file=sys.stderr)
                return 1
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
