"""One log line a request, its id and its counts: nothing of what was sent or made."""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import NOT_READY, make_problem
from service.logs import REQUEST_ID, hide_ids
from service.metrics import Metrics

logger = logging.getLogger("service.access")

GIVEN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")  # nothing that could break a log line


class AccessLog:
    """ASGI middleware, the outermost.

    A client's X-Request-ID is kept, or one is made; the answer and every log line have it. HEAD is answered as GET is,
    uvicorn leaving out the body. Browsers are forbidden to guess content types. A request that is cut off, since the
    service must close now, is answered 503.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        token = REQUEST_ID.set(request_id)
        try:
            if scope["type"] == "websocket":
                return await self.app(scope, receive, send)
            await self._log(scope, receive, send, request_id)
        finally:
            REQUEST_ID.reset(token)

    async def _log(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status, sent, target = 0, 0, "-"

        async def send_counted(message: Message) -> None:
            nonlocal status, sent, target
            if message["type"] == "http.response.start":
                status = message["status"]
                own = ((b"x-content-type-options", b"nosniff"), (b"x-request-id", request_id.encode("ascii")))
                headers = message["headers"] = [*message["headers"], *own]
                target = dict(headers).get(b"x-landmarkgan-target", b"-").decode("latin-1")
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        method = scope["method"]
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        try:
            await self.app(inner, receive, send_counted)
        except asyncio.CancelledError:
            if status:
                raise
            problem = make_problem(NOT_READY, "The service had to close before this was done.")
            await problem(scope, receive, send_counted)
        finally:
            # The path as it came, still percent-encoded: no client writes a line break into this log.
            path = hide_ids(scope.get("raw_path", b"-").decode("ascii", "backslashreplace"))[:200]
            seconds = time.perf_counter() - started
            status = status or 500
            self.metrics.count_request(method, getattr(inner.get("route"), "path", None), status, seconds)
            logger.info(
                "method=%s path=%s status=%d ms=%.1f bytes=%d target=%s",
                method, path, status, seconds * 1000, sent, target,
                extra={"method": method, "path": path, "status": status, "ms": round(seconds * 1000, 1), "bytes": sent},
            )  # fmt: skip
