"""``python -m service``: the application under uvicorn, set up by LANDMARKGAN_* variables and two options."""

import argparse
import asyncio
import os
import socket
import sys
import threading
from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from service.api.protocol import BoundedHttp, BoundedWebSocket
from service.app import create_app
from service.errors import StartError
from service.logs import configure_logging
from service.settings import PREFIX, Settings, find_mistakes

WRONG_SETTINGS, FAILED_START = 2, 3
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


def parse_options(arguments: Sequence[str] | None) -> dict[str, str | int]:
    """The settings named on the command line: they win over the variables."""
    parser = argparse.ArgumentParser(
        prog="python -m service", description="Serve the bundles. Every LANDMARKGAN_* variable is a setting too."
    )
    parser.add_argument("--host", default=argparse.SUPPRESS, help=Settings.model_fields["host"].description)
    parser.add_argument("--port", type=int, default=argparse.SUPPRESS, help=Settings.model_fields["port"].description)
    return dict(vars(parser.parse_args(arguments)))


def configure_server(app: FastAPI, settings: Settings) -> uvicorn.Config:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it. Returns the exit status: 2 for settings that are wrong, 3 for a failed start."""
    options = parse_options(arguments)
    try:
        settings = Settings.model_validate(options)
    except ValidationError as error:
        named = [("_".join(str(part) for part in each["loc"]).upper(), each["msg"]) for each in error.errors()]
        return refuse_start([f"{PREFIX}{name}: {reason}" for name, reason in named])
    if mistakes := find_mistakes(settings, os.environ):
        return refuse_start(mistakes)
    configure_logging(settings.log_level, settings.log_format)
    try:
        app = create_app(settings)
    except StartError as error:
        return refuse_start([f"{error} {error.expected or ''}"], FAILED_START)
    server = Server(configure_server(app, settings), app, settings.drain_seconds)
    server.run()
    return 0 if server.started else FAILED_START


def refuse_start(mistakes: Sequence[str], status: int = WRONG_SETTINGS) -> int:
    """Tell what is wrong; the exit status of that."""
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
