"""The connection below HTTP: how large a request's head may be, and how long a client may take for anything.

uvicorn bounds neither. A head has one stretch of `patience` from its first byte, or from the connection, to its end. A
body and an answer must go on at `MIN_RATE`, or else are given up a `patience` after they last did. When the service
closes, patience is `CLOSING_SECONDS`, so that no client can hold it up.
"""

import asyncio
import logging
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from service.api.problems import FRAMEWORK_KINDS, NOT_READY, Kind, make_problem

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 32 * 1024
MAX_AHEAD = 64  # requests that wait for the answer before theirs; browsers send none ahead
MIN_RATE = 4096  # bytes a second, either way
LINGER_SECONDS = 2.0  # for the rest of a body that was refused, so that the answer is read before the connection ends
CLOSING_SECONDS = 2.0


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        patience: float,
    ) -> None:
        """`patience` in seconds."""
        super().__init__(config, server_state, app_state, _loop)
        self.patience = patience
        self._closing = False
        self._fruitless = 0  # bytes since the last head, piece of body or end of one: an endless head, or trailers
        self._refusal = FRAMEWORK_KINDS[400]
        self._reads: asyncio.TimerHandle | None = None
        self._reads_until = 0.0  # the loop's time; 0 where nothing is awaited
        self._in_head = self._in_body = False
        self._writes: asyncio.TimerHandle | None = None
        self._unsent = 0

    # uvicorn names a Transport where asyncio has a BaseTransport; this is called with what uvicorn is.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_until(self.patience)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._reads, self._writes):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._reads_until:
            self._await_until(self.patience)
        self._fruitless += len(data)
        super().data_received(data)
        if self._fruitless > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(FRAMEWORK_KINDS[431], "A request's head, or what comes between its pieces, is too large.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._await_until(self.patience)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refusal = FRAMEWORK_KINDS[431]
            raise ValueError("the head is too large")  # the parser stops here, and `send_400_response` answers
        self._fruitless = 0
        self._in_head, self._in_body = False, True
        self._await_until(self.patience)
        super().on_headers_complete()
        if len(self.pipeline) > MAX_AHEAD:
            self.pipeline.clear()
            self.transport.close()
        if self._closing and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._fruitless = 0
        late = self._reads_until + len(body) / MIN_RATE
        self._reads_until = min(late, self.loop.time() + self.patience)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._fruitless, self._reads_until, self._in_body = 0, 0.0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:  # answered before its body had come; what still comes is dropped
            self._await_until(LINGER_SECONDS)

    def handle_websocket_upgrade(self) -> None:
        self._reads_until, self._in_body = 0.0, False
        if self._reads is not None:
            self._reads.cancel()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal, "The request is no HTTP/1.1, or its head is too large.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writes is not None:
            self._writes.cancel()
            self._writes = None

    def shutdown(self) -> None:
        self._closing = True
        self.patience = min(self.patience, CLOSING_SECONDS)
        if self._writes is not None:
            self._watch_writing()
        if self._reads_until:  # a head or a body on its way has a last chance, and so has a connection just made
            self._await_until(min(self.patience, max(0.0, self._reads_until - self.loop.time())))
            if self.cycle is not None:
                self.cycle.keep_alive = False
            return
        super().shutdown()

    def _await_until(self, seconds: float) -> None:
        self._reads_until = self.loop.time() + seconds
        if self._reads is not None:
            self._reads.cancel()
        self._reads = self.loop.call_at(self._reads_until, self._check_reading)

    def _check_reading(self) -> None:
        if not self._reads_until or self.transport.is_closing():
            self._reads = None
            return
        at_work = self.cycle is not None and not self.cycle.response_complete
        stalled_by_us = self.flow.read_paused or (at_work and not self._in_body)
        if stalled_by_us:
            self._await_until(self.patience)
        elif self._reads_until > self.loop.time():
            self._reads = self.loop.call_at(self._reads_until, self._check_reading)
        elif at_work and not self.cycle.response_started:
            kind = NOT_READY if self._closing else FRAMEWORK_KINDS[408]
            self._refuse(kind, f"The body did not come within {self.patience:g} seconds, or too slowly.")
        elif self._in_head:
            self._refuse(FRAMEWORK_KINDS[408], f"The request's head did not come within {self.patience:g} seconds.")
        else:
            self.transport.close()

    def _watch_writing(self) -> None:
        """Look after a `patience` whether the client has read what it had to."""
        if self._writes is not None:
            self._writes.cancel()
        self._unsent = self.transport.get_write_buffer_size()
        self._writes = self.loop.call_later(self.patience, self._check_writing)

    def _check_writing(self) -> None:
        if self._unsent - self.transport.get_write_buffer_size() < MIN_RATE * self.patience:
            logger.info("a client that does not read is cut off")
            self.transport.abort()
        else:
            self._watch_writing()

    def _refuse(self, kind: Kind, detail: str) -> None:
        """Answer below the application, which sees its client gone, and close."""
        problem = make_problem(kind, detail)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            head = [*self.server_state.default_headers, *problem.raw_headers, (b"connection", b"close")]
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in head)
            self.transport.write(STATUS_LINE[kind.status] + lines + b"\r\n" + bytes(problem.body))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        logger.info("connection refused status=%d: %s", kind.status, detail)
        self.transport.close()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Closed a moment after it was said to close, whether or not the client reads or answers that."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.close_timeout = CLOSING_SECONDS

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(CLOSING_SECONDS, self.transport.abort)
