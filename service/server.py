"""uvicorn as this service runs it: how it listens, and how it ends."""

import asyncio
import socket
import threading
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from service.api.protocol import BoundedHttp, BoundedWebSocket
from service.settings import Settings

WORDED_FRAMES = 4  # in `max_frame_bytes`: frames up to this are read and refused in words, larger ones unread


class Server(uvicorn.Server):
    """Three steps to the end, one for each signal.

    While it drains, /readyz says 503 for `drain_seconds`, so that a balancer looks elsewhere. Then it closes: what is
    in work is finished, what has not come is not waited for. Last, what is in work is cut off and answered 503.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self.application = app
        self.drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's, in the loop that signals will be told to."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came. uvicorn would raise it again at the end, and the exit status would not be 0."""
        lifecycle = self.application.state.lifecycle
        if self.should_exit:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._cut_off)
        elif lifecycle.draining or not self.drain_seconds:
            self.should_exit = True
        else:
            timer = threading.Timer(self.drain_seconds, self._close)
            timer.daemon = True
            timer.start()
        lifecycle.draining = True

    def _close(self) -> None:
        self.should_exit = True

    def _cut_off(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()


def configure_server(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """uvicorn, as this application is served."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(BoundedHttp, patience=settings.client_seconds)),
        ws=BoundedWebSocket,
        log_config=None,
        access_log=False,  # ours says more, and no more than it may
        server_header=False,
        ws_max_size=WORDED_FRAMES * settings.max_frame_bytes,
        ws_per_message_deflate=False,  # pictures are compressed already
        ws_ping_interval=settings.client_seconds,
        ws_ping_timeout=settings.client_seconds,
        timeout_graceful_shutdown=int(settings.deadline_seconds) + 1,
    )
