"""The page /video in a real browser: a clip of a real face to a video that plays."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from test_live import film_face

from tests.fixtures.painted import write_video


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with short.mp4, long.mp4 and text.mp4."""
    folder = tmp_path_factory.mktemp("clips")
    frames = film_face()
    write_video(folder / "short.mp4", frames[:6])
    write_video(folder / "long.mp4", frames * 20)
    (folder / "text.mp4").write_text("no video")
    return folder


def make_video(page: Page, clip: Path, layout: str = "face") -> None:
    page.goto("/video")
    page.wait_for_selector("#target option[value=franck]", state="attached")
    assert page.is_disabled("#make")
    page.select_option("#target", "franck")
    page.check(f"input[name=layout][value={layout}]")
    page.set_input_files("#file", clip)
    page.click("#make")


def list_findings(page: Page) -> list[str]:
    return [each["id"] for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]


def test_a_clip_becomes_a_video_that_plays(page: Page, clips: Path) -> None:
    make_video(page, clips / "short.mp4", "side-by-side")
    expect(page.locator("#state")).to_have_text("Done.", timeout=60_000)
    expect(page.locator("#details")).to_contain_text("6 of 6 frames")
    expect(page.locator("#details")).to_contain_text("kept until")
    page.wait_for_function("() => document.getElementById('preview').readyState >= 2")
    assert page.evaluate("() => document.getElementById('preview').videoWidth") == 320 + 240
    assert list_findings(page) == []
    with page.expect_download() as download:
        page.click("#download")
    assert re.fullmatch(r"franck-[0-9a-f]{8}\.mp4", download.value.suggested_filename)
    assert download.value.path().read_bytes()[4:8] == b"ftyp"
    page.reload()
    expect(page.locator("#state")).to_have_text("Done.")
    job = page.evaluate("() => location.hash.slice(1)")
    page.click("#delete")
    expect(page.locator("#job")).to_be_hidden()
    assert page.request.get(f"/jobs/{job}").status == 404


def test_progress_and_cancel(page: Page, clips: Path) -> None:
    make_video(page, clips / "long.mp4")
    expect(page.locator("#details")).to_contain_text(
        re.compile(r"[1-9]\d* of 600 frames · about .* left"), timeout=60_000
    )
    assert 0 < page.evaluate("() => document.getElementById('progress').value") < 1
    assert list_findings(page) == []
    page.click("#cancel")
    expect(page.locator("#state")).to_have_text("Cancelled.")
    expect(page.locator("#progress")).to_be_hidden()
    page.click("#delete")
    expect(page.locator("#job")).to_be_hidden()


def test_what_is_no_video_is_told(page: Page, clips: Path) -> None:
    make_video(page, clips / "text.mp4")
    expect(page.locator("#message")).to_contain_text("This file can't be read as a video")
    expect(page.locator("#job")).to_be_hidden()
    page.goto(f"/video#{'0' * 32}")
    page.reload()
    expect(page.locator("#message")).to_contain_text("There is no job of this id")


def test_the_page_fits_and_is_reached_by_keyboard(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/video")
    page.wait_for_selector("#target option", state="attached")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert list_findings(page) == []
    page.focus("#file")
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("() => document.activeElement.id || document.activeElement.name"))
    assert order == ["target", "face", "layout", "smoothing"]
