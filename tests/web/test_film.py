"""Faces in a row, in a real browser: played, changed, and made into a film."""

import av
import numpy as np
from editing import open_editor, read_points, repainting, set_range
from playwright.sync_api import Page, expect

SECOND = "#keyframes li:nth-child(2)"


def add_two(page: Page) -> None:
    """The neutral face, and a second later an open mouth."""
    open_editor(page, "eve")
    page.click("#add-keyframe")
    with repainting(page):
        set_range(page, "#slider-mouth_open", 0.1)
    page.click("#add-keyframe")
    expect(page.locator("#keyframes img[src]")).to_have_count(2)


def test_a_film_is_made_of_two_faces(page: Page) -> None:
    open_editor(page, "eve")
    expect(page.locator("#make-film")).to_be_disabled()
    add_two(page)
    page.fill(f"{SECOND} input", "0.4")
    page.locator(f"{SECOND} input").press("Tab")
    page.check("#loop")
    page.click("#make-film")
    link = page.locator("#film-state a")
    expect(link).to_be_visible(timeout=30_000)
    with page.expect_download() as waiting:
        link.click()
    assert waiting.value.suggested_filename.endswith(".mp4")
    with av.open(waiting.value.path()) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == 36  # 0.4 seconds, and 1 back to the first
    expect(page.locator("#film-message")).to_be_empty()


def test_a_film_is_played_and_leaves_the_edit_alone(page: Page) -> None:
    add_two(page)
    edited = read_points(page)
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Stop")
    page.wait_for_function(
        "y => Math.abs(document.querySelectorAll('#points circle')[57].getAttribute('cy') - y) > 0.004",
        arg=edited[57, 1],
    )
    expect(page.locator("#play")).to_have_text("Play", timeout=10_000)
    np.testing.assert_array_equal(read_points(page), edited)
    page.click("#keyframes li:first-child button >> nth=0")
    assert np.abs(read_points(page) - edited).max() > 0.01, "an edit goes on from a keyframe"
    page.click("#undo")
    np.testing.assert_array_equal(read_points(page), edited)
    page.click(f"{SECOND} .remove")
    expect(page.locator("#play")).to_be_disabled()


def test_a_film_outlives_the_page(page: Page) -> None:
    add_two(page)
    page.reload()
    expect(page.locator("#keyframes img[src]")).to_have_count(2)
    expect(page.locator(f"{SECOND} input")).to_have_value("1")
    expect(page.locator("#make-film")).to_be_enabled()


def test_a_film_that_can_not_be_made_is_told(page: Page) -> None:
    add_two(page)
    page.fill(f"{SECOND} input", "0")
    page.locator(f"{SECOND} input").press("Tab")
    page.click("#make-film")
    expect(page.locator("#film-message")).to_contain_text("later than the one before")
    expect(page.locator("#make-film")).to_be_enabled()
