"""``python -m docs.screenshots``: the pictures of the pages in the README, taken in a real browser of the real service.

A page has a function that brings it into a state worth showing, and a line in `SHOTS`. `dragged` moves: it is a film of
a mouth that is dragged.
"""

import io
import math
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import MISSING, find_chromium, launch_chromium
from benchmarks.stream import draw_frames, write_clip
from trainer.evaluation.served_faces import serve

ROOT = Path(__file__).parents[1]
MOST_BYTES = 300_000
DRAGS = ((54, (0.03, -0.035)), (57, (0.0, 0.07)), (48, (-0.03, 0.03)))  # a point, and how far in sides of the picture
DRAG_STEPS = 14
FRAME_MILLISECONDS = 80
FILM_SIDE = 320  # pixels
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


def film_drag(page: Page) -> None:
    """``docs/images/dragged.webp``: a mouth's corners and its lower lip, dragged there and back."""
    page.goto("/")
    page.wait_for_selector("#download:not([disabled])")
    page.select_option("#target", "franck")
    page.check('input[name="tool"][value="point"]', force=True)
    page.wait_for_timeout(1500)
    surface = page.locator("#surface").bounding_box()
    assert surface is not None
    pictures = []
    for point, (across, down) in DRAGS:
        box = page.locator("#points circle").nth(point).bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(DRAG_STEPS + 1):
            share = math.sin(math.pi * step / DRAG_STEPS)
            place = x + share * across * surface["width"], y + share * down * surface["height"]
            page.mouse.move(*place)
            page.wait_for_timeout(150)  # until the face is painted
            shot = page.screenshot(clip={name: surface[name] for name in ("x", "y", "width", "height")})
            with Image.open(io.BytesIO(shot)) as picture:
                scale = picture.width / surface["width"]
                hand = (place[0] - surface["x"]) * scale, (place[1] - surface["y"]) * scale
                pictures.append(draw_hand(picture.convert("RGB"), hand))
        page.mouse.up()
    path = ROOT / "docs" / "images" / "dragged.webp"
    first, *rest = pictures
    first.save(path, save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0, quality=60, method=6)
    check_size(path)


def draw_hand(picture: Image.Image, place: tuple[float, float]) -> Image.Image:
    """The picture, smaller, with a ring where the pointer is, which a browser's own pictures leave out."""
    x, y = place
    ImageDraw.Draw(picture).ellipse((x - 13, y - 13, x + 13, y + 13), outline=(255, 255, 255), width=4)
    return picture.resize((FILM_SIDE, FILM_SIDE), Image.Resampling.LANCZOS)


def check_size(path: Path) -> None:
    """Print how large a picture is. Raises SystemExit for one that would slow a page down."""
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path.name} is larger than {MOST_BYTES:,} bytes.")


FILM = "dragged"
SHOTS: Mapping[str, Callable[[Page], None]] = {"editor": show_editor, "live": show_live}


def main() -> int:
    """Write ``docs/images/<name>.jpg`` and the film, all or those named. Returns the exit status."""
    names = (*SHOTS, FILM)
    unknown = set(sys.argv[1:]) - set(names)
    chromium = find_chromium()
    if unknown or chromium is None:
        print(
            f"No such shot: {', '.join(unknown)}; one of {', '.join(names)}." if unknown else MISSING, file=sys.stderr
        )
        return 1
    with serve(ROOT / "models") as served, sync_playwright() as playwright:
        browser = launch_chromium(playwright, chromium)
        for name in sys.argv[1:] or names:
            page = browser.new_page(
                base_url=str(served.client.base_url),
                viewport={"width": 1360, "height": 930},
                device_scale_factor=1.25,
                color_scheme="light",
            )
            if name == FILM:
                film_drag(page)
            else:
                SHOTS[name](page)
                page.wait_for_timeout(1500)  # until the last picture asked for is painted
                path = ROOT / "docs" / "images" / f"{name}.jpg"
                page.screenshot(path=path, type="jpeg", quality=82)
                check_size(path)
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
