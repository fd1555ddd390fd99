"""What stands between a connection and a route: bodies are bounded, and work ends when the client does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import answer_http_error
from service.errors import ClientGoneError, DeadlineError

Result = TypeVar("Result")

VIDEO_PATH = "/reenact/video"
FORM_OVERHEAD = 64 * 1024  # bytes of a multipart body beside the picture


class BodyLimit:
    """ASGI middleware: a body larger than its content type allows is refused (413) before it is buffered.

    Content-Length is believed when it is too large, and the bytes that do arrive are counted.
    """

    def __init__(self, app: ASGIApp, max_json_bytes: int, max_upload_bytes: int, max_video_bytes: int) -> None:
        self.app = app
        self.max_json_bytes = max_json_bytes
        self.max_form_bytes = max_upload_bytes + FORM_OVERHEAD
        self.max_video_form_bytes = max_video_bytes + FORM_OVERHEAD

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        form = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        form_limit = self.max_video_form_bytes if scope["path"].endswith(VIDEO_PATH) else self.max_form_bytes
        limit = form_limit if form else self.max_json_bytes
        error = HTTPException(413, f"The body is larger than {limit} bytes, which is the most this service takes.")
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > limit:
            return await answer_http_error(error)(scope, receive, send)
        seen = 0

        async def receive_bounded() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise error
            return message

        return await self.app(scope, receive_bounded, send)


async def run_while_connected(request: Request, work: Coroutine[Any, Any, Result], deadline: float) -> Result:
    """Await `work`, but for at most `deadline` seconds and only while the client is there; then it is cancelled.

    The request's body must have been read. Raises DeadlineError and ClientGoneError, and what the work raises.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        async with asyncio.timeout(deadline):
            await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError as error:
        raise DeadlineError(f"There was no time for this within {deadline:g} seconds.") from error
    else:
        if task.done():
            return task.result()
        raise ClientGoneError("The client hung up.")
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
