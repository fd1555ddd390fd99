"""``python -m service``: the application under uvicorn, set up by LANDMARKGAN_* variables and two options."""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from service.app import create_app
from service.settings import PREFIX, Settings, find_mistakes

WRONG_SETTINGS, FAILED_START = 2, 3
WORDED_FRAMES = 4  # in `max_frame_bytes`: frames up to this are read and refused in words, larger ones unread


class Server(uvicorn.Server):
    """On the first signal /readyz says 503 for `drain_seconds`, so that a balancer looks elsewhere; then it closes."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self.application = app
        self.drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came; a second one closes at once."""
        lifecycle = self.application.state.lifecycle
        if lifecycle.draining or not self.drain_seconds:
            lifecycle.draining = True
            super().handle_exit(sig, frame)
            return
        lifecycle.draining = True
        timer = threading.Timer(self.drain_seconds, super().handle_exit, (sig, frame))
        timer.daemon = True
        timer.start()


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
        http="httptools",
        log_config=None,
        access_log=False,  # ours says more, and no more than it may
        server_header=False,
        ws_max_size=WORDED_FRAMES * settings.max_frame_bytes,
        ws_per_message_deflate=False,  # pictures are compressed already
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
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = create_app(settings)
    server = Server(configure_server(app, settings), app, settings.drain_seconds)
    try:
        server.run()
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else FAILED_START


def refuse_start(mistakes: Sequence[str]) -> int:
    """Tell what is wrong with the settings; the exit status of that."""
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return WRONG_SETTINGS


if __name__ == "__main__":
    sys.exit(main())
