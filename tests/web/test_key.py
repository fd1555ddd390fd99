"""A service that wants a key: the pages ask for it once, and then all that they load is let in."""

from playwright.sync_api import Browser, expect


def test_the_key_is_asked_for_once(browser: Browser, locked_service: tuple[str, str]) -> None:
    address, key = locked_service
    with browser.new_context(base_url=address) as context:
        page = context.new_page()
        page.goto("/live")
        asked = page.get_by_role("dialog", name="Key")
        for given in ("a-wrong-key-of-many-letters", key):
            asked.get_by_label("This service wants a key").fill(given)
            asked.get_by_role("button", name="Open").click()
        expect(page.locator("#target option")).not_to_have_count(0)
        expect(asked).to_have_count(0)
        for path in ("/video", "/"):
            page.goto(path)
            expect(page.locator("#target option")).not_to_have_count(0)
            expect(asked).to_have_count(0)
        assert page.request.get("/targets/franck/reference").status == 200
