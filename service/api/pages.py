"""The pages for a browser: the files of `service/web`, as they lie there.

``web/<name>.html`` is the page at ``/<name>`` (``index.html`` at ``/``); scripts and styles lie beside it and are
served under ``/web/``. A page takes `web/theme.js` and `web/style.css` into its head and begins its body with the
header of `index.html`, whose `aria-current` marks the page itself. What ``docs.html`` is made with, Swagger UI, comes
from a package, since it is two megabytes of somebody else's. All links are relative, so that the service also
works below a path of a proxy.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

logger = logging.getLogger(__name__)

WEB = Path(__file__).parent.parent / "web"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "media-src 'self' blob:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept, and asked about with its ETag each time: never a page of an older service
}


class WebFiles(StaticFiles):
    """Files with their ETag and the policy that keeps every page to this host."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


def install_pages(app: FastAPI, folder: Path = WEB) -> None:
    """Serve every page of the folder at its path, and what they load under ``/web/``."""
    files = WebFiles(directory=folder)
    for path, name in list_pages(folder).items():
        app.add_route(path, _show(files, name), include_in_schema=False)
    swagger = find_swagger()
    if swagger is None:
        logger.error("the page /docs stays empty: fastapi-swagger, of the extra 'service', is not installed")
    else:
        app.mount("/web/swagger-ui", WebFiles(directory=swagger))
    app.mount("/web", files)


def find_swagger() -> Path | None:
    """The folder with Swagger UI's script and style; the package that brings them is not imported."""
    found = find_spec("fastapi_swagger")
    return Path(found.origin).parent / "resources" if found is not None and found.origin else None


def list_pages(folder: Path = WEB) -> dict[str, str]:
    """Path -> file of every page."""
    return {"/" if page.stem == "index" else f"/{page.stem}": page.name for page in sorted(folder.glob("*.html"))}


def _show(files: WebFiles, name: str) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        return await files.get_response(name, request.scope)

    return show
