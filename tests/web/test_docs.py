"""The page /docs: Swagger UI from its package, under the pages' own policy, asking this service."""

import pytest
from playwright.sync_api import Page, expect


@pytest.mark.parametrize("width", [360, 1280])
def test_a_call_is_tried_on_the_page(page: Page, service: str, width: int) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/docs")
    call = page.locator("#operations-faces-synthesize_synthesize_post")
    call.locator(".opblock-summary-control").click()
    call.get_by_role("button", name="Execute").click()
    face = call.locator(".response-col_description img").first
    expect(face).to_be_visible()
    assert face.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 0
    expect(call.locator(".live-responses-table").get_by_role("cell", name="200")).to_be_visible()
    assert f"{service}/synthesize" in asked
    assert all(url.startswith((service, "data:", "blob:")) for url in asked)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_the_stream_is_described(page: Page) -> None:
    page.goto("/docs")
    page.get_by_text("WebSocket /stream").click()
    expect(page.get_by_role("cell", name="paste_back")).to_be_visible()
    page.goto("/api")
    page.get_by_role("link", name="Try every call").click()
    expect(page).to_have_url("/docs")


def test_a_service_with_a_key_asks_for_it(page: Page, locked_service: tuple[str, str]) -> None:
    address, key = locked_service
    page.goto(f"{address}/docs")
    page.get_by_label("This service wants a key").fill(key)
    page.keyboard.press("Enter")
    expect(page.locator(".opblock").first).to_be_visible()
