"""The pages for everyone: no finding of axe, no sideways scrolling, no jump while loading."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from editing import open_editor, set_range, to_png, upload
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from service.api.pages import WEB

SIZES = [(360, 740), (820, 1180), (1366, 768), (1440, 900), (2560, 1440)]


def list_findings(page: Page) -> list[str]:
    """What axe finds, with the elements."""
    # Preloading would write a style into /docs, which the pages' policy forbids; it serves one rule, on orientation.
    report = Axe().run(page, options={"preload": False}).response
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in report["violations"]]


def fill_editor(page: Page) -> None:
    open_editor(page, "eve")
    page.click("[data-feature=mouth]")
    page.click("summary")
    for _ in range(2):
        page.click("#add-keyframe")
    upload(page, "#photo", "wall.png", to_png(Image.new("RGB", (100, 100), (120, 130, 90))))
    expect(page.locator("#start-message")).to_contain_text("No face")


def fill_live(page: Page) -> None:
    page.goto("/live")
    page.wait_for_selector("#target option", state="attached")
    page.click("#sample")
    expect(page.locator("#status")).to_contain_text("follows the clip", timeout=30_000)
    page.click("summary")


def fill_live_clean(page: Page) -> None:
    page.goto("/live?clean=1&source=sample")
    page.wait_for_function("() => document.getElementById('status').textContent.includes('follows')", timeout=30_000)


def fill_video(page: Page) -> None:
    """A clip chosen, its video made, and one that can't be."""
    page.goto("/video")
    page.wait_for_selector("#target option", state="attached")
    page.set_input_files("#file", WEB / "live" / "sample.webm")
    expect(page.locator(".words")).to_contain_text("seconds are used")
    set_range(page, ".trim >> nth=1 >> input", 0.5)
    page.set_input_files("#file", WEB / "icon.svg")
    page.click("#make")
    expect(page.locator(".job .state >> nth=0")).to_have_text("Done.", timeout=60_000)
    expect(page.locator(".job .message >> nth=1")).not_to_be_empty()


def fill_api(page: Page) -> None:
    page.goto("/api")
    expect(page.locator("#endpoints")).to_contain_text("/synthesize")
    expect(page.locator("#targets")).to_contain_text("Franck")


def fill_docs(page: Page) -> None:
    """A call of each kind of body open, one of them answered; schemas and the stream's description shown."""
    page.goto("/docs")
    call = page.locator("#operations-faces-synthesize_synthesize_post")
    call.locator(".opblock-summary-control").click()
    call.get_by_role("button", name="Execute").click()
    expect(call.locator(".response-col_description img").first).to_be_visible()
    call.get_by_role("tab", name="Schema").first.click()
    page.locator("#operations-faces-reenact_reenact_post .opblock-summary-control").click()
    page.locator("#operations-targets-list_targets_targets_get .opblock-summary-control").click()
    page.get_by_text("WebSocket /stream").click()


@pytest.mark.parametrize("fill", [fill_editor, fill_live, fill_live_clean, fill_video, fill_api, fill_docs])
def test_axe_finds_nothing_on_any_page(page: Page, fill: Callable[[Page], None]) -> None:
    """Of any kind, at five sizes, light and dark; nor does a page scroll sideways."""
    fill(page)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert list_findings(page) == [], (width, scheme)


def test_on_a_phone_each_call_says_what_it_does(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    fill_api(page)
    for words in page.locator("#endpoints td:last-child").all():
        box = words.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["width"] > 200


def test_keys_are_named_where_there_is_a_keyboard(browser: Browser, service: str) -> None:
    for is_phone in (False, True):
        context = browser.new_context(
            base_url=service,
            viewport={"width": 360 if is_phone else 1366, "height": 768},
            is_mobile=is_phone,
            has_touch=is_phone,
        )
        page = context.new_page()
        open_editor(page)
        if is_phone:
            page.locator(".tabs label").filter(has_text="Points").click()
        assert page.locator("#keys").is_visible() != is_phone
        context.close()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_editor_fits_and_does_not_jump(browser: Browser, service: str, size: tuple[int, int]) -> None:
    context = browser.new_context(base_url=service, viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    page.add_init_script(
        """window.shift = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) window.shift += entry.value;
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    open_editor(page, "eve")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
    assert page.evaluate("() => window.shift") < 0.01
    tabs = page.locator(".tabs label")
    for tab in ("Head", "Eyes", "Mouth"):
        if tabs.first.is_visible():
            tabs.filter(has_text=tab).click()
        seen = page.locator(f"#surface, #points circle, [data-tab={tab.lower()}] input, .pad")
        for box in filter(None, (each.bounding_box() for each in seen.all())):
            assert box["x"] >= 0
            assert box["y"] >= 0
            assert box["x"] + box["width"] <= size[0]
            assert box["y"] + box["height"] <= size[1], f"{tab}: all is seen without scrolling"
    assert page.evaluate("() => scrollY") == 0
    surface = page.locator("#surface").bounding_box()
    assert surface is not None
    assert surface["width"] >= min(330, size[0]), "the face is large"
    page.uncheck("#show-landmarks")
    expect(page.locator("#points")).to_be_hidden()
    context.close()


def test_the_theme_is_a_choice_that_lasts(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/api")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click(".theme-toggle")
    dark = page.evaluate(ground)
    assert dark != light
    page.goto("/")
    assert page.evaluate(ground) == dark
    page.click(".theme-toggle")
    assert page.evaluate(ground) == light


def test_each_page_names_itself_in_the_same_header() -> None:
    """The header is written into each page: this holds the pages together."""
    for page in sorted(WEB.glob("*.html")):
        text = page.read_text(encoding="utf-8")
        path = {"index": "./", "docs": "api"}.get(page.stem, page.stem)
        current = "true" if page.stem == "docs" else "page"  # a page of the API's, and none of its own in the header
        assert f'<a href="{path}" aria-current="{current}">' in text, page.name
        for link in ("./", "live", "video", "api"):
            assert f'<a href="{link}"' in text, f"{page.name} does not lead to {link}"
        assert 'class="theme-toggle"' in text
        assert 'src="web/theme.js"' in text
