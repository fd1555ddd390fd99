"""What comes into the editor and what leaves it: photos, landmark files, pictures, commands."""

import json
from typing import Any

import numpy as np
import pytest
from editing import (
    ROOT,
    await_picture,
    choose_tool,
    drag,
    open_editor,
    read_points,
    repainting,
    save,
    set_range,
    to_png,
    upload,
)
from PIL import Image
from playwright.sync_api import Browser, Page, expect


def test_a_photo_of_another_person_drives_the_target(page: Page) -> None:
    open_editor(page, "franck")
    with repainting(page):
        upload(page, "#photo", "cap.jpg", (ROOT / "models/cap/reference.jpg").read_bytes())
    expect(page.locator("#convert")).to_be_checked()
    expect(page.locator("#start-message")).to_be_empty()
    source, target = page.get_attribute("#outline", "d"), page.get_attribute("#converted", "d")
    assert target
    assert target != source
    assert save(page)["convert"] is True
    page.uncheck("#show-converted")
    expect(page.locator("#converted")).to_be_hidden()
    with repainting(page):
        page.uncheck("#convert")
    assert not page.get_attribute("#converted", "d")
    assert save(page)["convert"] is False


def test_each_face_of_a_photo_can_be_taken(page: Page) -> None:
    open_editor(page)
    pair = Image.new("RGB", (512, 256))
    for place, name in enumerate(("franck", "cap")):
        pair.paste(Image.open(ROOT / f"models/{name}/reference.jpg"), (256 * place, 0))
    with repainting(page):
        upload(page, "#photo", "pair.png", to_png(pair))
    faces = page.locator("#faces")
    expect(faces.locator("option")).to_have_text(["Face 1 of 2", "Face 2 of 2"])
    first = read_points(page)
    with repainting(page):
        faces.select_option(index=1)
    assert np.abs(read_points(page) - first).max() > 0.01


def test_what_can_not_be_used_is_told_where_it_was_given(page: Page) -> None:
    open_editor(page)
    before = read_points(page)
    message = page.locator("#start-message")
    upload(page, "#photo", "wall.png", to_png(Image.new("RGB", (100, 100), (120, 130, 90))))
    expect(message).to_contain_text("No face was found in this picture")
    upload(page, "#photo", "notes.png", b"these are words")
    expect(message).to_contain_text("format is not supported")
    upload(page, "#landmark-file", "face.json", b"[1, 2")
    expect(message).to_contain_text("face.json is not JSON")
    upload(page, "#landmark-file", "face.json", json.dumps({"landmarks": [[1, 2]] * 5}).encode())
    expect(message).to_contain_text("No landmark scheme has 5 points")
    assert (read_points(page) == before).all()
    with repainting(page):
        page.click("[data-preset=smile]")
    expect(message).to_be_empty()


def test_saved_landmarks_load_as_they_were(page: Page) -> None:
    open_editor(page)
    choose_tool(page, "face")
    drag(page, (0.5, 0.5), (0.52, 0.53))
    set_range(page, "#slider-smile", 0.15)
    saved = save(page)
    assert (saved["target"], saved["scheme"], saved["units"], saved["convert"]) == ("franck", "ibug70", "crop", False)
    with repainting(page):
        page.click("[data-preset=neutral]")
    assert save(page) != saved
    with repainting(page):
        upload(page, "#landmark-file", "face.json", json.dumps(saved).encode())
    assert save(page) == saved


def test_an_answer_of_landmarks_is_a_file_to_start_from(page: Page) -> None:
    """In pixels of a picture, of another person: placed by the target's crop rule, and converted."""
    open_editor(page)
    pixels = read_points(page) * 300 + 500
    answer: dict[str, Any] = {"faces": [{"scheme": "ibug70", "landmarks": pixels.tolist()}]}
    with repainting(page):
        upload(page, "#landmark-file", "landmarks.json", json.dumps(answer).encode())
    assert save(page)["convert"] is True
    assert np.abs(read_points(page)).max() < 1.2


def test_the_command_makes_the_picture(page: Page, service: str) -> None:
    open_editor(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("summary")
    page.click("#copy")
    expect(page.locator("#copied")).to_have_text("Copied.")
    command = page.evaluate("() => navigator.clipboard.readText()")
    assert command == page.input_value("#command")
    assert command.startswith(f"curl -sS {service}/synthesize -H 'Content-Type: application/json' -o face.jpg -d '")


def test_a_converted_face_is_kept_for_another_target(page: Page) -> None:
    open_editor(page, "franck")
    with repainting(page):
        upload(page, "#photo", "cap.jpg", (ROOT / "models/cap/reference.jpg").read_bytes())
    driver = read_points(page)
    with repainting(page):
        page.select_option("#target", "cap")
    assert (read_points(page) == driver).all()
    expect(page.locator("#convert")).to_be_checked()


def test_a_photo_stands_beside_the_face_made_of_it(page: Page) -> None:
    """By drop, by paste; gone when the face comes from somewhere else."""
    open_editor(page)
    expect(page.locator("#source")).to_be_hidden()
    for gesture in ("drop", "paste"):
        with repainting(page):
            page.evaluate(
                """async ([gesture, url]) => {
                  const data = new DataTransfer();
                  data.items.add(new File([await (await fetch(url)).blob()], "face.jpg", { type: "image/jpeg" }));
                  const event = gesture === "drop"
                    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
                  document.body.dispatchEvent(event);
                }""",
                [gesture, "/targets/cap/reference"],
            )
        expect(page.locator("#source")).to_be_visible()
        shown = page.evaluate(
            """() => {
              const canvas = document.getElementById("photo-picture");
              return [...canvas.getContext("2d").getImageData(128, 128, 1, 1).data];
            }"""
        )
        assert shown[0] > shown[2] > 20, "skin in the middle"
        with repainting(page):
            page.click("[data-preset=neutral]")
        expect(page.locator("#source")).to_be_hidden()


def test_another_target_takes_the_edit_over_and_its_undo(page: Page) -> None:
    open_editor(page, "franck")
    first = read_points(page)
    set_range(page, "#slider-mouth_open", 0.15)
    set_range(page, "#slider-roll", 10)
    edited = read_points(page)
    told = [page.inner_text(f"output[for=slider-{name}]") for name in ("roll", "yaw")]
    with repainting(page):
        page.select_option("#target", "cap")
    assert [page.inner_text(f"output[for=slider-{name}]") for name in ("roll", "yaw")] == told
    assert float(page.input_value("#slider-mouth_open")) == pytest.approx(0.15, abs=0.01)
    page.click("#undo")
    page.click("#undo")
    read_points(page)
    assert page.inner_text("output[for=slider-mouth_open]") == page.inner_text("output[for=slider-smile]") == "0 %"
    page.click("#redo")
    page.click("#redo")
    with repainting(page):
        page.select_option("#target", "franck")
    page.wait_for_load_state("networkidle")
    np.testing.assert_allclose(read_points(page), edited, atol=1e-3)
    page.click("#undo")
    page.click("#undo")
    np.testing.assert_allclose(read_points(page), first, atol=1e-3)


def test_an_edit_outlives_the_page_and_travels_in_a_link(page: Page, browser: Browser, service: str) -> None:
    open_editor(page, "cap")
    set_range(page, "#slider-mouth_open", 0.2)
    edited = read_points(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy-link")
    expect(page.locator("#copied")).to_have_text("Copied.")
    link = page.evaluate("() => navigator.clipboard.readText()")
    page.reload()
    await_picture(page)
    assert page.input_value("#target") == "cap"
    np.testing.assert_allclose(read_points(page), edited, atol=1e-4)
    page.click("#undo")
    assert np.abs(read_points(page) - edited).max() > 0.01, "what was restored can be undone"

    context = browser.new_context()
    other = context.new_page()
    other.goto(link)
    await_picture(other)
    assert other.input_value("#target") == "cap"
    np.testing.assert_allclose(read_points(other), edited, atol=1e-4)
    assert "#" not in other.url
    other.goto(f"{service}/#edit=cap.ibug68.own.tooshort")
    await_picture(other)
    context.close()
