"""Where the eyes look, in a real browser, on a target with pupils and on one without."""

import numpy as np
from editing import choose_tool, drag, open_editor, read_points, repainting, save, set_range
from playwright.sync_api import Page, expect

from shared.landmarks import IBUG70

PUPILS = [68, 69]
RIGHT_EYE = list(IBUG70.groups["right_eye"])


def test_the_pad_moves_both_pupils_and_nothing_else(page: Page) -> None:
    open_editor(page, "eve")
    first, before = read_points(page), save(page)["landmarks"]
    assert len(first) == 70
    box = page.locator(".pad").bounding_box()
    assert box is not None
    with repainting(page):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.3, steps=3)
        page.mouse.up()
    moved = read_points(page) - first
    assert (np.delete(moved, PUPILS, axis=0) == 0).all()
    np.testing.assert_allclose(moved[68], moved[69], atol=1e-9)
    assert moved[68, 0] > 0.004
    assert moved[68, 1] < -0.001
    after = save(page)["landmarks"]
    assert (after[:68], after[68] != before[68], after[69] != before[69]) == (before[:68], True, True)
    expect(page.locator(".pad")).to_have_attribute("aria-valuetext", "80 % right, 40 % up")
    page.click("#undo")
    assert (read_points(page) == first).all()


def test_the_pad_listens_to_keys(page: Page) -> None:
    open_editor(page, "eve")
    first = read_points(page)
    page.focus(".pad")
    for key in ("ArrowLeft", "Shift+ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        read_points(page)
    expect(page.locator(".pad")).to_have_attribute("aria-valuetext", "40 % left, 10 % down")
    assert (read_points(page)[PUPILS] - first[PUPILS] < (0, 0.1)).all()
    page.keyboard.press("Home")
    np.testing.assert_allclose(read_points(page), first, atol=1e-9)


def test_a_pupil_is_dragged_and_goes_with_its_eye(page: Page) -> None:
    open_editor(page, "eve")
    first = read_points(page)
    choose_tool(page, "feature")
    drag(page, first[68], first[68] + (0.02, 0.01))
    moved = read_points(page) - first
    np.testing.assert_allclose(moved[PUPILS], np.tile((0.02, 0.01), (2, 1)), atol=0.003)
    assert (np.delete(moved, PUPILS, axis=0) == 0).all(), "lids stay"
    page.click("#reset")

    choose_tool(page, "point", radius=0)
    drag(page, first[68], first[68] + (0.02, 0.0))
    assert (read_points(page)[69] == first[69]).all(), "one alone"
    page.click("#reset")

    page.click("[data-feature=right_eye]")
    page.locator("[data-feature=right_eye]").press("ArrowUp")
    moved = read_points(page) - first
    np.testing.assert_allclose(moved[[*RIGHT_EYE, 68]], np.tile((0, -1 / 256), (7, 1)), atol=1e-9)
    assert (moved[69] == 0).all()
    page.click("#reset")

    set_range(page, "#slider-right_eye_open", -0.1)
    moved = read_points(page) - first
    lids = moved[[*IBUG70.openings["right_eye"][0], *IBUG70.openings["right_eye"][1]], 1]
    assert lids.min() < moved[68, 1] < lids.max(), "between the lids that close"


def test_a_target_without_pupils_has_no_pad_and_takes_the_edit(page: Page) -> None:
    open_editor(page, "eve")
    set_range(page, "#slider-mouth_open", 0.02)
    edited = read_points(page)
    with repainting(page):
        page.select_option("#target", "ada")
    expect(page.locator("#gaze")).to_be_hidden()
    np.testing.assert_allclose(read_points(page), edited[:68], atol=1e-3)
    assert save(page)["scheme"] == "ibug68"
    with repainting(page):
        page.select_option("#target", "eve")
    expect(page.locator("#gaze")).to_be_visible()
    np.testing.assert_allclose(read_points(page), edited, atol=1e-3)
