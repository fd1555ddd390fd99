"""The page /video in a real browser: clips of a real face to videos that play."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from editing import set_range
from playwright.sync_api import Page, Route, expect
from test_live import film_face

from tests.fixtures.painted import write_video


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with short.mp4, long.mp4, half.webm (2 seconds), wall.mp4 (no face) and text.mp4."""
    folder = tmp_path_factory.mktemp("clips")
    frames = film_face()
    write_video(folder / "short.mp4", frames[:6])
    write_video(folder / "long.mp4", frames * 20)
    write_video(folder / "half.webm", (frames * 2)[:50], codec="libvpx")
    write_video(folder / "wall.mp4", [np.full((240, 320, 3), 120, np.uint8)] * 6)
    (folder / "text.mp4").write_text("no video")
    return folder


def choose(page: Page, *clips: Path, layout: str = "face") -> None:
    page.goto("/video")
    page.wait_for_selector("#target option[value=franck]", state="attached")
    assert page.is_disabled("#make")
    page.select_option("#target", "franck")
    page.check(f"input[name=layout][value={layout}]")
    page.set_input_files("#file", clips)


def test_a_clip_becomes_a_video_that_plays(page: Page, clips: Path) -> None:
    choose(page, clips / "short.mp4", layout="side-by-side")
    page.click("#make")
    expect(page.locator(".job .state")).to_have_text("Done.", timeout=60_000)
    expect(page.locator(".job .name")).to_have_text("short.mp4")
    expect(page.locator(".details")).to_contain_text("6 of 6 frames")
    expect(page.locator(".details")).to_contain_text("kept until")
    page.wait_for_function("() => document.querySelector('.job video').readyState >= 2")
    assert page.evaluate("() => document.querySelector('.job video').videoWidth") == 320 + 240
    with page.expect_download() as download:
        page.click(".download")
    assert re.fullmatch(r"franck-[0-9a-f]{8}\.mp4", download.value.suggested_filename)
    assert download.value.path().read_bytes()[4:8] == b"ftyp"
    page.reload()
    expect(page.locator(".job .state")).to_have_text("Done.")
    job = page.evaluate("() => location.hash.slice(1)")
    page.click(".delete")
    expect(page.locator("#made")).to_be_hidden()
    assert "#" not in page.url
    assert page.request.get(f"/jobs/{job}").status == 404


def test_many_clips_become_as_many_videos(page: Page, clips: Path) -> None:
    choose(page, clips / "short.mp4", clips / "text.mp4")
    with Path(clips / "short.mp4").open("rb") as file:
        page.evaluate(
            """data => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(data)], "dropped.mp4", { type: "video/mp4" }));
              document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
            }""",
            list(file.read()),
        )
    expect(page.locator("#make")).to_have_text("Make 3 videos")
    page.click("#make")
    cards = page.locator(".job")
    expect(cards.locator(".name")).to_have_text(["short.mp4", "text.mp4", "dropped.mp4"])
    expect(cards.nth(2).locator(".state")).to_have_text("Done.", timeout=60_000)
    expect(cards.nth(0).locator(".state")).to_have_text("Done.", timeout=60_000)
    expect(cards.nth(1).locator(".message")).to_contain_text("can't be read as a video")
    assert len(page.evaluate("() => location.hash.slice(1).split(',')")) == 2
    page.click("[aria-label='Remove text.mp4']")
    expect(page.locator("#make")).to_have_text("Make 2 videos")


def test_a_clip_is_trimmed_before_it_is_sent(page: Page, clips: Path) -> None:
    choose(page, clips / "half.webm")
    expect(page.locator(".words")).to_have_text("2.0 of 2.0 seconds are used.")
    set_range(page, ".trim >> nth=0 >> input", 0.4)
    set_range(page, ".trim >> nth=1 >> input", 1.2)
    expect(page.locator(".words")).to_have_text("0.8 of 2.0 seconds are used.")
    assert page.evaluate("() => document.querySelector('.clip video').currentTime") == pytest.approx(1.2, abs=0.01)
    set_range(page, ".trim >> nth=0 >> input", 1.9)
    expect(page.locator(".trim output >> nth=0")).to_have_text("1.0 s")  # an end stays before the other
    set_range(page, ".trim >> nth=0 >> input", 0.4)
    page.click("#make")
    expect(page.locator(".job .state")).to_have_text("Done.", timeout=60_000)
    expect(page.locator(".details")).to_contain_text("20 of 20 frames")


def test_while_there_is_no_room_a_clip_waits(page: Page, clips: Path) -> None:
    refusals = iter([True])
    problem = {"title": "The service is busy", "detail": "As many jobs are waiting as may wait.", "status": 503}

    def answer(route: Route) -> None:
        if next(refusals, False):
            route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem))
        else:
            route.fallback()

    page.route("**/reenact/video", answer)
    choose(page, clips / "short.mp4")
    page.click("#make")
    expect(page.locator(".job .state")).to_contain_text("Other videos come first")
    expect(page.locator(".job .state")).to_have_text("Done.", timeout=60_000)


def test_progress_and_cancel(page: Page, clips: Path) -> None:
    choose(page, clips / "long.mp4")
    page.click("#make")
    expect(page.locator(".details")).to_contain_text(
        re.compile(r"[1-9]\d* of 600 frames · about .* left"), timeout=60_000
    )
    assert 0 < page.evaluate("() => document.querySelector('progress').value") < 1
    page.click(".cancel")
    expect(page.locator(".job .state")).to_have_text("Cancelled.")
    expect(page.locator("progress")).to_be_hidden()
    page.click(".delete")
    expect(page.locator("#made")).to_be_hidden()


def test_a_clip_without_a_face_is_a_failure_in_words(page: Page, clips: Path) -> None:
    choose(page, clips / "wall.mp4")
    page.click("#make")
    expect(page.locator(".job .state")).to_contain_text("Failed. In none of the video's 6 frames", timeout=60_000)
    expect(page.locator(".download")).to_be_hidden()


def test_what_is_no_video_is_not_sent_and_goes_away(page: Page, clips: Path) -> None:
    choose(page, clips / "text.mp4")
    page.click("#make")
    expect(page.locator(".job .state")).to_have_text("Not sent.", timeout=30_000)
    expect(page.locator(".job .message")).to_contain_text("format")
    page.locator(".job").get_by_role("button", name="Remove").click()
    expect(page.locator(".job")).to_have_count(0)


def test_a_job_that_is_gone_is_told(page: Page) -> None:
    page.goto(f"/video#{'0' * 32}")
    expect(page.locator(".message >> nth=1")).to_contain_text("There is no job of this id")


def test_the_page_fits_and_is_reached_by_keyboard(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/video")
    page.wait_for_selector("#target option", state="attached")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    page.focus("#file")
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("() => document.activeElement.id || document.activeElement.name"))
    assert order == ["target", "face", "layout", "smoothing"]
