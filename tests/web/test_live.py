"""The page /live in a real browser, whose camera is a clip of a real face."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import start_service

from benchmarks.browser import film_with, launch_chromium
from shared.detectors.mesh import MeshDetector
from tests.fixtures.painted import write_video

ROOT = Path(__file__).parents[2]
ORDER = [
    *("sample", "file", "stop", "target", "neutral", "record", "sound", "snapshot", "full-screen"),
    *("side-by-side", "mirror", "smoothing", "paste-back"),
]


def film_face() -> list[NDArray[np.uint8]]:
    """A face that moves from side to side, 320x240."""
    with Image.open(ROOT / "models" / "cap" / "reference.jpg") as picture:
        face = picture.convert("RGB").resize((220, 220))
    frames = []
    for step in range(30):
        frame = Image.new("RGB", (320, 240), (120, 124, 118))
        frame.paste(face, (50 + round(30 * np.sin(step / 30 * 2 * np.pi)), 10))
        frames.append(np.asarray(frame))
    return frames


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with a camera that a face sits before."""
    clip = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    with clip.open("wb") as file:
        for frame in film_face():
            Image.fromarray(frame).save(file, "JPEG", quality=90)
    with sync_playwright() as playwright:
        launched = launch_chromium(playwright, chromium, film_with(clip))
        yield launched
        launched.close()


def read_result(page: Page) -> NDArray[np.uint8]:
    """The face that the page shows."""
    data = page.eval_on_selector(
        "#result",
        """async (canvas) => {
          const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
          return [...new Uint8Array(await blob.arrayBuffer())];
        }""",
    )
    with Image.open(BytesIO(bytes(data))) as picture:
        return np.asarray(picture.convert("RGB"))


def start_camera(page: Page, target: str = "franck") -> None:
    page.goto("/live")
    page.wait_for_selector(f"#target option[value={target}]", state="attached")
    page.select_option("#target", target)
    page.click("#camera")
    expect(page.locator("#status")).to_contain_text("follows you", timeout=30_000)


def test_the_camera_plays_the_target(page: Page, detector: MeshDetector) -> None:
    start_camera(page)
    expect(page.locator("#rate")).to_have_text(re.compile(r"\d"), timeout=20_000)
    expect(page.locator("#stages")).to_contain_text("synthesize")
    for stage in ("decode", "detect", "convert", "encode"):
        expect(page.locator("#stages")).to_contain_text(stage)
    expect(page.locator("#dropped")).to_have_text("0")
    first = read_result(page)
    assert first.shape == (256, 256, 3)
    assert len(detector.detect(first)) == 1
    page.wait_for_function("() => document.getElementById('source').currentTime > 1")
    assert (read_result(page) != first).any()


def test_options_change_while_it_runs_and_stop_lets_the_camera_go(page: Page) -> None:
    start_camera(page)
    page.check("#paste-back")
    page.wait_for_function("() => document.getElementById('result').height === 240")
    page.uncheck("#paste-back")
    page.select_option("#target", "cap")
    expect(page.locator("#status")).to_contain_text("Cap follows you")
    page.uncheck("#side-by-side")
    assert page.locator("#source").bounding_box()["width"] <= 1
    page.check("#side-by-side")
    page.click("#stop")
    expect(page.locator("#status")).to_contain_text("Stopped")
    assert page.evaluate("() => document.getElementById('source').srcObject === null")
    assert page.is_disabled("#stop")
    page.click("#camera")  # and again
    expect(page.locator("#status")).to_contain_text("follows you")


def test_a_file_plays_as_the_camera_does(page: Page, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "face.webm", film_face(), codec="libvpx")
    page.goto("/live")
    page.wait_for_selector("#target option", state="attached")
    page.set_input_files("#file", clip)
    expect(page.locator("#status")).to_contain_text("follows the clip", timeout=30_000)
    broken = tmp_path / "broken.webm"
    broken.write_text("no video")
    page.set_input_files("#file", broken)
    expect(page.locator("#message")).to_contain_text("can't play broken.webm")
    assert page.is_disabled("#stop")


def test_a_frame_without_a_face_is_told(page: Page, tmp_path: Path) -> None:
    wall = write_video(tmp_path / "wall.webm", [np.full((240, 320, 3), 120, np.uint8)] * 30, codec="libvpx")
    page.goto("/live")
    page.wait_for_selector("#target option", state="attached")
    page.set_input_files("#file", wall)
    expect(page.locator("#status")).to_contain_text("No face was found", timeout=30_000)


def test_the_sample_plays_without_a_camera_and_a_picture_is_saved_as_it_was_made(page: Page) -> None:
    page.goto("/live")
    page.wait_for_selector("#target option", state="attached")
    page.click("#sample")
    expect(page.locator("#status")).to_contain_text("Franck follows the clip", timeout=30_000)
    assert "mirrored" not in (page.get_attribute("#pictures", "class") or "")
    with page.expect_download() as saved:
        page.click("#snapshot")
    assert saved.value.suggested_filename == "franck.jpg"
    data = Path(saved.value.path()).read_bytes()
    assert b"trainedAlgorithmicMedia" in data  # the service's own bytes, with their marks
    with Image.open(BytesIO(data)) as picture:
        assert picture.size == (256, 256)


def test_picture_and_microphone_are_recorded(page: Page, tmp_path: Path) -> None:
    start_camera(page)
    page.click("#record")
    expect(page.locator("#record")).to_have_text(re.compile(r"Stop and save · 0:0\d"))
    page.wait_for_timeout(1500)
    with page.expect_download() as saved:
        page.click("#record")
    expect(page.locator("#record")).to_have_text("Record")
    clip = tmp_path / saved.value.suggested_filename
    saved.value.save_as(clip)
    with av.open(clip) as film:
        assert len(film.streams.audio) == 1
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert frames[-1].shape == (256, 256, 3)
    assert frames[-1].std() > 20
    page.click("#record")
    expect(page.locator("#record")).to_have_text(re.compile(r"Stop and save · 0:0\d"))
    with page.expect_download():  # stopping saves what there is
        page.click("#stop")


def test_without_a_microphone_it_is_recorded_without_sound_and_said(page: Page) -> None:
    start_camera(page)
    page.evaluate(
        """() => navigator.mediaDevices.getUserMedia = () =>
             Promise.reject(new DOMException("refused", "NotAllowedError"))"""
    )
    page.click("#record")
    expect(page.locator("#message")).to_contain_text("without sound")
    with page.expect_download():
        page.click("#record")


def test_the_view_is_a_mirror_and_the_neutral_face_is_taken(page: Page) -> None:
    start_camera(page)
    transform = "() => getComputedStyle(document.getElementById('source')).transform"
    assert page.evaluate(transform) == "matrix(-1, 0, 0, 1, 0, 0)"
    page.uncheck("#mirror")
    assert page.evaluate(transform) == "none"
    expect(page.locator("#neutral-state")).to_contain_text("adapts to your face")
    page.click("#neutral")
    expect(page.locator("#neutral-state")).to_contain_text("Look at the camera")
    expect(page.locator("#neutral-state")).to_contain_text("Calibrated", timeout=20_000)
    page.select_option("#target", "cap")
    expect(page.locator("#status")).to_contain_text("Cap follows you")
    expect(page.locator("#neutral-state")).to_contain_text("Calibrated")


def test_a_clean_page_shows_the_face_alone(page: Page) -> None:
    page.goto("/live?clean=1&target=cap&source=sample")
    page.wait_for_function(
        "() => document.getElementById('status').textContent.includes('Cap follows the clip')", timeout=30_000
    )
    for hidden in (".site-header", "#camera", "#status", "#rate", "#result-caption"):
        expect(page.locator(hidden)).to_be_hidden()
    box, view = page.locator("#result").bounding_box(), page.viewport_size
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, view["width"], view["height"])
    assert read_result(page).std() > 20


def test_with_two_faces_one_is_chosen(page: Page, tmp_path: Path) -> None:
    """Pasted back, the face that drives is the one that changes."""
    frame = np.full((240, 480, 3), 120, np.uint8)
    for left, side, name in ((10, 220, "cap"), (290, 160, "franck")):
        with Image.open(ROOT / "models" / name / "reference.jpg") as picture:
            frame[10 : 10 + side, left : left + side] = np.asarray(picture.convert("RGB").resize((side, side)))
    clip = write_video(tmp_path / "two.webm", [frame] * 30, codec="libvpx")
    page.goto("/live")
    page.wait_for_selector("#target option", state="attached")
    page.check("#paste-back")
    page.set_input_files("#file", clip)
    expect(page.locator("#face-choice")).to_be_visible(timeout=30_000)
    assert page.locator("#face option").all_inner_texts() == ["Left", "Right"]
    shown = []
    for choice in ("Left", "Right"):
        page.select_option("#face", label=choice)
        page.wait_for_timeout(3000)
        shown.append(read_result(page).astype(int))
    change = np.abs(shown[0] - shown[1]).mean(axis=2)
    assert change[60:180, 70:170].mean() > 1
    assert change[50:130, 330:410].mean() > 1
    page.click("#stop")
    expect(page.locator("#face-choice")).to_be_hidden()


def test_it_goes_on_when_the_service_comes_back(browser: Browser, tmp_path: Path) -> None:
    with start_service(tmp_path / "jobs") as address:
        context = browser.new_context(base_url=address)
        page = context.new_page()
        start_camera(page)
    expect(page.locator("#status")).to_contain_text("Trying again")
    assert page.is_enabled("#stop")
    with start_service(tmp_path / "jobs", PORT=address.rpartition(":")[2]):
        expect(page.locator("#status")).to_contain_text("follows you", timeout=30_000)
        context.close()


def test_a_camera_that_is_refused_is_told_in_words(page: Page) -> None:
    page.add_init_script(
        """navigator.mediaDevices.getUserMedia = () =>
             Promise.reject(new DOMException("refused", "NotAllowedError"));"""
    )
    page.goto("/live")
    page.click("#camera")
    expect(page.locator("#message")).to_contain_text("The camera was refused")
    assert page.is_disabled("#stop")


def test_a_refusal_of_the_service_is_told_in_its_words(page: Page) -> None:
    page.goto("/live")
    page.wait_for_selector("#target option", state="attached")
    page.evaluate("() => document.getElementById('target').add(new Option('Nobody', 'nobody', true, true))")
    page.click("#camera")
    expect(page.locator("#message")).to_contain_text("There is no target of this name")
    expect(page.locator("#status")).to_contain_text("Stopped")


def test_before_the_start_the_target_is_shown(page: Page) -> None:
    page.goto("/live")
    drawn = "() => document.getElementById('result').getContext('2d').getImageData(128, 128, 1, 1).data[0]"
    page.wait_for_function(f"() => ({drawn})() > 0")
    first = page.evaluate(drawn)
    page.select_option("#target", "cap" if page.input_value("#target") == "franck" else "franck")
    page.wait_for_function(f"first => ({drawn})() !== first", arg=first)
    expect(page.locator("#result-caption")).to_have_text(re.compile("Cap|Franck"))


def test_a_phone_shows_the_face_large_and_the_camera_in_its_corner(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    start_camera(page)
    face, camera = page.locator("#result").bounding_box(), page.locator("#source").bounding_box()
    assert face["width"] >= 280
    assert face["y"] + face["height"] <= 740, "seen without scrolling"
    assert camera["width"] < face["width"] / 2
    assert camera["y"] >= face["y"]
    assert camera["x"] + camera["width"] <= face["x"] + face["width"]


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_reached_by_keyboard(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    start_camera(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.keyboard.press("Escape")
    page.focus("#camera")
    order = []
    for _ in range(len(ORDER)):
        page.keyboard.press("Tab")
        order.append(page.evaluate("() => document.activeElement.id"))
    assert order == ORDER
