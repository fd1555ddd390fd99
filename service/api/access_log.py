"""One log line a request: key=value, and nothing of what was sent or made."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("service.access")


class AccessLog:
    """ASGI middleware. It also forbids browsers to guess content types."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        status, sent, target = 500, 0, "-"

        async def send_counted(message: Message) -> None:
            nonlocal status, sent, target
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
                target = dict(headers).get(b"x-landmarkgan-target", b"-").decode("latin-1")
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        finally:
            # The path as it came, still percent-encoded: no client writes a line break into this log.
            path = scope.get("raw_path", b"-").decode("ascii", "backslashreplace")[:200]
            milliseconds = (time.perf_counter() - started) * 1000
            logger.info(
                "method=%s path=%s status=%d ms=%.1f bytes=%d target=%s",
                scope["method"], path, status, milliseconds, sent, target,
            )  # fmt: skip
