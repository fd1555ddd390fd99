"""The editor as a test uses it: what it shows, and the hand that moves it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FilePayload, Page

from shared.detectors.mesh import MeshDetector
from shared.expression import measure_expression
from shared.landmarks import IBUG68

ROOT = Path(__file__).parents[2]


def open_editor(page: Page, target: str = "franck") -> None:
    """The editor with a target's neutral face, painted."""
    page.goto("/")
    await_picture(page)
    if page.input_value("#target") != target:
        with repainting(page):
            page.select_option("#target", target, force=True)  # on a phone it is behind a tab


def await_picture(page: Page) -> None:
    """The first picture and the presets' faces are there."""
    page.wait_for_selector("#download:not([disabled])", state="attached")
    page.wait_for_function("() => [...document.querySelectorAll('#presets img')].every((each) => each.src)")


@contextmanager
def repainting(page: Page) -> Iterator[None]:
    """Waits at its end until the newest picture asked for within the block is painted."""
    page.evaluate(
        """() => {
          const begun = performance.now();
          window.repainted = false;
          document.addEventListener("painted", ({ detail }) => (window.repainted ||= detail.since >= begun));
        }"""
    )
    yield
    page.wait_for_function("() => window.repainted && !document.querySelector('[aria-busy=true]')")


def read_points(page: Page) -> NDArray[np.float64]:
    """The points shown ``(N, 2)`` in crop units, every bit of them."""
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    values = page.eval_on_selector_all(
        "#points circle", "all => all.map((each) => [+each.getAttribute('cx'), +each.getAttribute('cy')])"
    )
    return np.array(values, np.float64)


def measure(points: NDArray[np.floating[Any]]) -> dict[str, float]:
    """`measure_expression` of one face."""
    return {name: float(value) for name, value in measure_expression(points.astype(np.float32), IBUG68).items()}


def read_picture(page: Page) -> NDArray[np.uint8]:
    """The face made, as the editor hands it out ``(H, W, 3)``."""
    with page.expect_download() as waiting:
        page.click("#download")
    return np.asarray(Image.open(waiting.value.path()).convert("RGB"))


def see(page: Page, detector: MeshDetector) -> dict[str, float]:
    """What the face made does, as a detector sees it."""
    faces = detector.detect(read_picture(page))
    assert len(faces) == 1
    return measure(faces[0].landmarks)


def read_view(page: Page) -> list[float]:
    """What of the crop is seen: left, top and side, in crop units."""
    read_points(page)  # drawn with the next frame
    return [float(value) for value in (page.get_attribute("#landmarks", "viewBox") or "").split()[:3]]


def save(page: Page) -> dict[str, Any]:
    """The landmarks file."""
    with page.expect_download() as waiting:
        page.click("#save")
    saved: dict[str, Any] = json.loads(Path(waiting.value.path()).read_text())
    return saved


def choose_tool(page: Page, tool: str, radius: float = 0.14) -> None:
    """Point, feature, face or lasso; and how far neighbours follow."""
    page.check(f'input[name="tool"][value="{tool}"]', force=True)
    set_range(page, "#radius", radius)


def drag(page: Page, start: Sequence[float], *stations: Sequence[float], steps: int = 5) -> None:
    """The pointer pressed at a place, in crop units, led over others, and let go at the last."""
    place = locate(page)
    page.mouse.move(*place(start))
    page.mouse.down()
    for station in stations:
        page.mouse.move(*place(station), steps=steps)
    page.mouse.up()


def locate(page: Page) -> Callable[[Sequence[float]], tuple[float, float]]:
    """Crop units, of a face that was not moved as a whole -> pixels of the window."""
    page.locator("#landmarks").scroll_into_view_if_needed()
    box = page.locator("#landmarks").bounding_box()
    assert box is not None
    return lambda point: (box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"])


def set_range(page: Page, selector: str, value: float) -> None:
    """A slider brought to a value, as a hand that lets go of it there."""
    page.eval_on_selector(
        selector,
        """(input, value) => {
          input.value = value;
          input.dispatchEvent(new Event("input", { bubbles: true }));
          input.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        str(value),
    )


def upload(page: Page, selector: str, name: str, data: bytes) -> None:
    """A file chosen."""
    payload: FilePayload = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    page.set_input_files(selector, payload)


def to_png(image: Image.Image) -> bytes:
    """A picture's file."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
