"""The application under uvicorn on a free port of the loopback, in this process, so that a test holds its parts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.server import configure_server
from service.settings import Settings
from shared.detectors import LandmarkDetector


@dataclass(frozen=True)
class Running:
    """A service that is ready: its application, its address, host and port, its sockets."""

    app: FastAPI
    address: str
    listener: socket.socket
    connections: set[Any]


@contextmanager
def run_service(settings: Settings, detector: LandmarkDetector | None = None) -> Iterator[Running]:
    """Real sockets, until the block ends."""
    app = create_app(settings, detector)
    server = uvicorn.Server(configure_server(app, settings.model_copy(update={"host": "127.0.0.1", "port": 0})))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started and app.state.lifecycle.face_service is not None)
        listener = server.servers[0].sockets[0]
        yield Running(app, f"127.0.0.1:{listener.getsockname()[1]}", listener, server.server_state.connections)
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def wait_until(answers: object, seconds: float = 30) -> None:
    """Ask until the answer is yes."""
    assert callable(answers)
    end = time.monotonic() + seconds
    while not answers():
        assert time.monotonic() < end, f"not within {seconds} seconds"
        time.sleep(0.01)
