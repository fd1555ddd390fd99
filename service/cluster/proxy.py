"""What Serve's HTTP proxy does besides: a request whose replica was lost is asked again of another.

The variable RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH of every node names `list_middlewares`.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.connection import VIDEO_PATH
from service.api.problems import answer_error
from service.errors import NotReadyError, QueueFullError

CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK_PATH = f"{__name__}:list_middlewares"
MOST_TRIES = 4
ONCE = (VIDEO_PATH, "/animate")  # the job may have been taken: whoever asks again gets a second one
UNREADY = b"text/plain"  # of Serve's own answers; the application's are problems


def list_middlewares() -> list[Middleware]:
    """For Serve."""
    return [Middleware(AskAgain)]


class AskAgain:
    """ASGI middleware. All but the making of a job may be asked again: it leaves nothing behind.

    A replica that dies sends nothing more, and the proxy ends without an answer. What was read of the body is kept, to
    be read again. Serve's own refusals are told as the application's are.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            return await self.app(scope, receive, send)
        once = scope["method"] == "POST" and scope["path"] in ONCE
        asked = _Asked(scope, receive, send, keep=not once)
        for _ in range(1 if once else MOST_TRIES):
            await self.app({**scope, "headers": list(scope["headers"])}, asked.replay(), asked.send)
            if asked.answered or asked.gone:
                return None
        words = "The replica that had this request was lost." + " Whether it took the job is not known." * once
        return await answer_error(NotReadyError(words))(scope, receive, send)


class _Asked:
    """One request: what came of its body, and whether an answer began."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, keep: bool) -> None:
        self._scope, self._receive, self._send, self._keep = scope, receive, send, keep
        self._read: list[Message] = []
        self._start: Message | None = None
        self.answered = self.gone = self._refused = False

    def replay(self) -> Receive:
        """The body from its beginning."""
        self._start = None
        known = iter(list(self._read))

        async def receive() -> Message:
            for message in known:
                return message
            message = await self._receive()
            self.gone = self.gone or message["type"] == "http.disconnect"
            if self._keep and message["type"] == "http.request":
                self._read.append(message)
            return message

        return receive

    async def send(self, message: Message) -> None:
        """Pass on, from the first part of the body on: a start alone promises nothing yet."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._refused:
            return
        start, self._start = self._start, None
        if start is not None:
            self.answered = True
            if start["status"] == 503 and dict(start["headers"]).get(b"content-type", b"").startswith(UNREADY):
                self._refused = True
                busy = QueueFullError("All replicas are busy, and as many requests are waiting as may wait.")
                await answer_error(busy)(self._scope, self._receive, self._send)
                return
            await self._send(start)
        await self._send(message)
