"""The editor in a real browser, on the real service: what is moved is what the picture shows."""

import json
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from editing import (
    await_picture,
    choose_tool,
    drag,
    measure,
    open_editor,
    read_picture,
    read_points,
    read_view,
    repainting,
    save,
    see,
    set_range,
)
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect

from shared.detectors.mesh import MeshDetector
from shared.landmarks import IBUG68, IBUG70

LOWER_LIP = 57
JAW = list(IBUG68.groups["jaw"])
MOUTH = [*IBUG68.groups["outer_lips"], *IBUG68.groups["inner_lips"]]


def test_dragging_the_lower_lip_opens_the_mouth_in_the_picture(page: Page, detector: MeshDetector) -> None:
    open_editor(page)
    shut = see(page, detector)
    before = read_points(page)
    choose_tool(page, "point")
    with repainting(page):
        x, y = before[LOWER_LIP]
        drag(page, (x, y), (x, y + 0.06))
    after = read_points(page)
    np.testing.assert_allclose(after[LOWER_LIP] - before[LOWER_LIP], (0, 0.06), atol=0.003)
    assert (after[JAW] == before[JAW]).all(), "only neighbours follow"
    assert (after[51] == before[51]).all(), "the upper lip stays"
    opened = see(page, detector)
    asked = measure(after)["mouth"] - measure(before)["mouth"]
    assert asked > 0.05
    assert opened["mouth"] - shut["mouth"] > asked / 3
    assert re.fullmatch(r"[2-9]\d % open", page.inner_text("output[for=slider-mouth_open]"))


# slider -> the measures that it changes, with their sign
SLIDERS: dict[str, dict[str, int]] = {
    "yaw": {"yaw": 1},
    "pitch": {"pitch": 1},
    "roll": {"roll": 1},
    "mouth_open": {"mouth": 1},
    "smile": {"mouth_width": 1},
    "pout": {"mouth_width": -1},
    "brows_up": {"right_brow": 1, "left_brow": 1},
    "right_eye_open": {"right_eye": 1},
    "left_eye_open": {"left_eye": 1},
}
CROSSTALK = 0.1  # of what a slider changes, by which other measures may change
SEEN = {"yaw", "pitch", "roll", "mouth_open"}  # the rest follows weakly in the pictures of these bundles


@pytest.mark.parametrize("target", ["franck", "cap"])
def test_each_slider_moves_one_measure_to_both_of_its_ends(page: Page, detector: MeshDetector, target: str) -> None:
    open_editor(page, target)
    names = page.eval_on_selector_all(".sliders input", "all => all.map((each) => each.id.slice(7))")
    assert set(names) == set(SLIDERS)
    assert {page.inner_text(f"output[for=slider-{name}]") for name in names} == {"0°", "0 %"}, "zero at neutral"
    neutral, seen = measure(read_points(page)), see(page, detector)
    for name, moved in SLIDERS.items():
        for end in ("min", "max"):
            value = float(page.get_attribute(f"#slider-{name}", end) or "")
            with repainting(page):
                set_range(page, f"#slider-{name}", value)
            changes = {each: now - neutral[each] for each, now in measure(read_points(page)).items()}
            for measured, sign in moved.items():
                assert changes[measured] * sign * (1 if value > 0 else -1) > 0.009, (name, value)
            largest = max(abs(changes[each]) for each in moved)
            if name not in ("yaw", "pitch"):  # a turned head shows its features shortened
                others = {each: change / largest for each, change in changes.items() if each not in moved}
                assert max(map(abs, others.values())) < CROSSTALK, (name, value, others)
            assert float(page.input_value(f"#slider-{name}")) == pytest.approx(value, abs=0.01 * abs(value) + 1e-3)
            shares = read_shares(page)
            assert shares.pop(name) == pytest.approx(1, abs=0.02), (name, value)
            assert max(map(abs, shares.values())) < CROSSTALK, (name, value, shares)
            if name in SEEN and end == "max":
                [measured] = moved
                shown = (see(page, detector)[measured] - seen[measured]) / changes[measured]
                assert 0.25 < shown < 1.75, f"{name}: of {measured}, {shown:.2f} is seen"
            with repainting(page):
                page.click("#reset")


def read_shares(page: Page) -> dict[str, float]:
    """How far each slider stands from neutral, as a share of the way to its end."""
    shares: dict[str, float] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".sliders input")].map(({ id, value, min, max }) => [
          id.slice(7), value / (value < 0 ? min : max)]))"""
    )
    return shares


def test_an_eye_moved_by_hand_is_no_turn_and_no_smile(page: Page) -> None:
    open_editor(page)
    choose_tool(page, "feature", radius=0)
    eye = read_points(page)[list(IBUG68.groups["right_eye"])].mean(axis=0)
    drag(page, eye, eye + np.array([0.03, -0.02]))
    read_points(page)
    told = {name: page.inner_text(f"output[for=slider-{name}]") for name in SLIDERS}
    values = {name: int(re.match(r"\d+", words)[0]) for name, words in told.items()}
    assert max(values.values()) <= 5, told
    assert values["yaw"] == values["pitch"] == values["roll"] == values["mouth_open"] == 0, told


def test_a_double_click_brings_a_slider_back_to_neutral(page: Page) -> None:
    open_editor(page)
    first = read_points(page)
    set_range(page, "#slider-smile", 0.1)
    page.dblclick("label[for=slider-smile]")
    read_points(page)
    np.testing.assert_allclose(read_points(page), first, atol=1e-3)
    page.click("#undo")
    read_points(page)
    assert float(page.input_value("#slider-smile")) == pytest.approx(0.1, abs=0.01)


def test_turning_the_head_leaves_the_face_in_its_place(page: Page) -> None:
    """Yaw, pitch and roll one after the other, each read as set; back at their values, the points are back."""
    open_editor(page)
    before = read_points(page)
    turns = {"yaw": 15.0, "pitch": -8.0, "roll": 12.0}
    start = {name: page.evaluate("id => document.getElementById(id).value", f"slider-{name}") for name in turns}
    for name, value in turns.items():
        set_range(page, f"#slider-{name}", value)
    for name, value in turns.items():
        read_points(page)  # the readings follow with the next frame
        assert float(page.input_value(f"#slider-{name}")) == pytest.approx(value, abs=0.11), name
    rigid = list(IBUG68.rigid)
    np.testing.assert_allclose(read_points(page)[rigid].mean(axis=0), before[rigid].mean(axis=0), atol=0.05)
    for name in reversed(turns):
        set_range(page, f"#slider-{name}", float(start[name]))
    np.testing.assert_allclose(read_points(page), before, atol=0.004)


@pytest.mark.parametrize("target", ["franck", "cap"])
def test_a_small_face_does_one_thing(page: Page, target: str) -> None:
    """What it does is what its slider says; the others stay where they are on the neutral face."""
    open_editor(page, target)
    page.click("[data-preset=eyes_closed]")
    for slider in ("yaw", "pitch", "roll", "mouth_open", "smile", "pout", "brows_up"):
        expect(page.locator(f"output[for=slider-{slider}]")).to_have_text(re.compile(r"^[0-4](°| %)"))
    for eye in ("right", "left"):
        expect(page.locator(f"output[for=slider-{eye}_eye_open]")).to_have_text(re.compile(r"^(\d\d|100) % closed"))
    for preset in ("smile", "open_mouth", "pout"):
        page.click(f"[data-preset={preset}]")
        for slider in ("yaw", "pitch", "roll", "brows_up"):
            expect(page.locator(f"output[for=slider-{slider}]")).to_have_text(re.compile(r"^[0-4](°| %)"))
    for preset, slider in (("look_left", "yaw"), ("look_down", "pitch"), ("tilt_right", "roll")):
        page.click(f"[data-preset={preset}]")
        words = page.inner_text(f"[data-preset={preset}]").split()[-1]
        expect(page.locator(f"output[for=slider-{slider}]")).to_have_text(re.compile(rf"^\d+° {words}$"))


def test_undo_and_redo_restore_the_points_to_the_bit(page: Page) -> None:
    open_editor(page)
    states = [read_points(page)]
    choose_tool(page, "feature", radius=0.2)
    x, y = states[0][LOWER_LIP]
    drag(page, (x, y), (x + 0.03, y + 0.02))
    states.append(read_points(page))
    set_range(page, "#slider-yaw", 12)
    states.append(read_points(page))
    page.click("#mirror")
    states.append(read_points(page))
    page.click("[data-preset=smile]")
    states.append(read_points(page))
    assert all((one != other).any() for one, other in pairwise(states))
    for state in states[-2::-1]:
        page.keyboard.press("Control+z")
        assert (read_points(page) == state).all()
    expect(page.locator("#undo")).to_be_disabled()
    for state in states[1:]:
        page.click("#redo")
        assert (read_points(page) == state).all()
    expect(page.locator("#redo")).to_be_disabled()


def test_features_lasso_and_the_whole_face(page: Page) -> None:
    open_editor(page)
    first = read_points(page)

    choose_tool(page, "feature", radius=0)
    drag(page, first[LOWER_LIP], first[LOWER_LIP] + (0.04, 0))
    moved = read_points(page) - first
    np.testing.assert_allclose(moved[MOUTH], np.tile((0.04, 0), (len(MOUTH), 1)), atol=0.003)
    assert (np.delete(moved, MOUTH, axis=0) == 0).all()
    page.click("#reset")

    choose_tool(page, "lasso", radius=0)
    eye = [*IBUG70.groups["left_eye"], *IBUG70.groups["left_pupil"]]
    (left, top), (right, bottom) = first[eye].min(axis=0) - 0.02, first[eye].max(axis=0) + 0.02
    drag(page, (left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    drag(page, first[eye[0]], first[eye[0]] - (0, 0.03))
    moved = read_points(page) - first
    np.testing.assert_allclose(moved[eye], np.tile((0, -0.03), (len(eye), 1)), atol=0.003)
    assert (np.delete(moved, eye, axis=0) == 0).all()
    page.click("#reset")

    choose_tool(page, "face")
    centre = (first.min(axis=0) + first.max(axis=0)) / 2
    knob = find_place(page, "#turn")
    turn = np.deg2rad(20) * np.array([[0, 1], [-1, 0]])
    drag(page, knob, centre + (knob - centre) @ (np.eye(2) + turn))
    assert 17 <= int(page.inner_text("output[for=slider-roll]").split("°")[0]) <= 21
    crop = list(IBUG68.rigid)
    np.testing.assert_allclose(read_points(page)[crop].mean(axis=0), first[crop].mean(axis=0), atol=0.03)


def test_the_whole_face_moved_and_resized_moves_the_picture(page: Page) -> None:
    """As a picture is moved in its frame: no point moves in the face."""
    open_editor(page)
    first, before = read_points(page), read_picture(page).astype(float)
    choose_tool(page, "face")
    with repainting(page):
        drag(page, (0.5, 0.5), (0.6, 0.45))
    np.testing.assert_allclose(read_view(page), (-0.1, 0.05, 1), atol=0.004)
    shown = page.locator("#points circle").nth(30).bounding_box()
    surface = page.locator("#landmarks").bounding_box()
    assert shown is not None
    assert surface is not None
    middle = (shown["x"] + shown["width"] / 2 - surface["x"]) / surface["width"]
    assert middle == pytest.approx(first[30, 0] + 0.1, abs=0.005), "the points go along"
    moved = read_picture(page).astype(float)
    across, down = round(0.1 * 256), round(0.05 * 256)
    assert np.abs(moved[:-down, across:] - before[down:, :-across]).mean() < 3
    assert save(page)["view"]["x"] == pytest.approx(0.4, abs=0.004)
    page.click("#reset")
    with repainting(page):
        centre = (first.min(axis=0) + first.max(axis=0)) / 2
        corner = find_place(page, "#resize")
        drag(page, corner, centre + (corner - centre) * 0.8)
    assert read_view(page)[2] == pytest.approx(1.25, abs=0.02)
    assert (read_points(page) == first).all()
    page.click("#undo")
    assert read_view(page) == [0, 0, 1]
    page.click("#redo")
    page.reload()
    await_picture(page)
    assert read_view(page)[2] == pytest.approx(1.25, abs=0.02), "kept"


def find_place(page: Page, selector: str) -> NDArray[np.float64]:
    """The middle of something on the surface ``(2,)``, in crop units."""
    surface, box = page.locator("#landmarks").bounding_box(), page.locator(selector).bounding_box()
    assert surface is not None
    assert box is not None
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    return (middle - (surface["x"], surface["y"])) / surface["width"]


def test_keys_move_points_and_features(page: Page) -> None:
    open_editor(page)
    first = read_points(page)
    choose_tool(page, "point", radius=0)
    page.locator('#points [tabindex="0"]').focus()
    for key in ("PageDown", "ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    nose = IBUG68.nose_tip + 1
    moved = read_points(page) - first
    np.testing.assert_allclose(moved[nose], (1 / 256, 5 / 256), atol=1e-9)
    assert (np.delete(moved, nose, axis=0) == 0).all()
    page.click("#reset")
    page.focus("[data-feature=jaw]")
    for key in ("Enter", "ArrowUp", "+"):
        page.keyboard.press(key)
    points = read_points(page)
    assert np.ptp(points[JAW], axis=0) == pytest.approx(np.ptp(first[JAW], axis=0) * 1.02)
    assert (np.delete(points - first, JAW, axis=0) == 0).all()
    expect(page.locator("[data-feature=jaw]")).to_have_attribute("aria-pressed", "true")


def test_a_service_that_is_still_loading_is_waited_for(page: Page) -> None:
    waits = iter([True])
    problem = {"title": "The service is not ready", "detail": "The targets are still loading.", "status": 503}

    def answer(route: Route) -> None:
        if next(waits, False):
            route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem))
        else:
            route.fallback()

    page.route("**/targets", answer)
    page.goto("/")
    expect(page.locator("#picture-message")).to_contain_text("still loading")
    await_picture(page)
    expect(page.locator("#picture-message")).to_be_empty()


def test_one_request_is_under_way_and_the_newest_wins(page: Page) -> None:
    open_editor(page)
    under_way, most, sent = 0, 0, 0

    def begin(request: Any) -> None:
        nonlocal under_way, most, sent
        if request.url.endswith("/synthesize"):
            under_way += 1
            sent += 1
            most = max(most, under_way)

    def end(request: Any) -> None:
        nonlocal under_way
        under_way -= request.url.endswith("/synthesize")

    page.on("request", begin)
    page.on("requestfinished", end)
    points = read_points(page)
    moves = 40
    with repainting(page):
        choose_tool(page, "point")
        drag(page, points[8], (0.5, 0.99), (0.4, 0.95), steps=moves // 2)
    assert most == 1
    assert 0 < sent < moves
    order = json.loads(page.input_value("#command").split("-d '")[1][:-1])
    assert order["landmarks"][8] == pytest.approx((0.4, 0.95), abs=0.003)


def test_a_finger_beside_the_points_scrolls_the_page(browser: Browser, service: str) -> None:
    context = browser.new_context(base_url=service, viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    open_editor(page)
    touch = """([x, y]) => {
      const svg = document.getElementById("landmarks");
      const box = svg.getBoundingClientRect();
      const at = { clientX: box.x + x * box.width, clientY: box.y + y * box.height };
      const touches = [new Touch({ identifier: 1, target: svg, ...at })];
      const event = new TouchEvent("touchstart", { touches, cancelable: true, bubbles: true });
      svg.dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    x, y = read_points(page)[LOWER_LIP]
    assert page.evaluate(touch, [x, y]), "a point is held"
    assert not page.evaluate(touch, [0.02, 0.02])
    page.check('input[name="tool"][value="lasso"]', force=True)
    assert page.evaluate(touch, [0.02, 0.02]), "a lasso begins anywhere"
    context.close()
