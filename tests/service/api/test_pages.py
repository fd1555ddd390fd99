"""The pages: served whole, kept with an ETag, and bound to this host."""

import re

import pytest
from tiny_service import serve

from service.api.pages import WEB
from service.settings import Settings

pytestmark = pytest.mark.anyio

PAGES = {f"/{page.stem}".replace("/index", "/"): page for page in sorted(WEB.glob("*.html"))}


async def test_each_page_and_all_that_it_loads_is_served(settings: Settings) -> None:
    assert {"/", "/api"} <= set(PAGES)
    async with serve(settings) as client:
        for path, file in PAGES.items():
            page = await client.get(path)
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert page.text == file.read_text(encoding="utf-8")
            loaded = re.findall(r'(?:src|href)="(web/[^"]+)"', page.text)
            assert "web/style.css" in loaded
            for each in loaded:
                assert (await client.get(f"/{each}")).status_code == 200, f"{path} loads {each}"


async def test_pages_are_bound_to_this_host(settings: Settings) -> None:
    async with serve(settings) as client:
        for path in (*PAGES, "/web/style.css"):
            policy = (await client.get(path)).headers["content-security-policy"]
            directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
            assert directives["default-src"] == "'none'"
            assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
            assert directives["frame-ancestors"] == "'none'"
    for file in WEB.rglob("*"):
        if file.suffix in {".html", ".js", ".css"}:
            hosts = set(re.findall(r"\w+://[^\s\"'`)]*", file.read_text(encoding="utf-8")))
            assert hosts <= {"http://www.w3.org/2000/svg"}, file.name


async def test_a_page_that_did_not_change_is_not_sent_again(settings: Settings) -> None:
    async with serve(settings) as client:
        first = await client.get("/web/style.css")
        assert first.headers["cache-control"] == "no-cache"
        again = await client.get("/web/style.css", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = await client.get("/web/style.css", headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)


async def test_nothing_beside_the_pages_is_served(settings: Settings) -> None:
    async with serve(settings) as client:
        for path in ("/web/none.js", "/web/../pages.py", "/web/%2e%2e/pages.py", "/index.html", "/web/"):
            answer = await client.get(path)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
            assert "/api lists the endpoints" in answer.json()["detail"]
        refused = await client.post("/")
        assert refused.status_code == 405
        assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}
