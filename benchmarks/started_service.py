"""A service in its own process, forked from one that has imported it already: started in a tenth of a second."""

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import httpx
import uvicorn

from service.app import create_app
from service.server import configure_server
from service.settings import Settings
from shared.detectors import LandmarkDetector

READY_SECONDS = 120.0


@dataclass(frozen=True)
class StartedService:
    """Its process, which may be killed, and its address."""

    process: ForkServerProcess
    address: str

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self.process.pid is not None
        return self.process.pid


@contextmanager
def start_service(settings: Settings, detector: LandmarkDetector | None = None) -> Iterator[StartedService]:
    """A service on a free port of the loopback, loading; killed with the block. Any detector given must pickle."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["service.__main__", "service.app"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(settings, detector, sender), daemon=True)
    process.start()
    sender.close()
    try:
        yield StartedService(process, f"http://127.0.0.1:{receiver.recv()}")
    finally:
        receiver.close()
        process.kill()
        process.join()
        process.close()


def wait_until_ready(client: httpx.Client) -> None:
    """Raises TimeoutError."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise TimeoutError("The service did not become ready; its log above says why.")


def _serve(settings: Settings, detector: LandmarkDetector | None, sender: Connection) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    sender.send(listener.getsockname()[1])
    sender.close()
    app = create_app(settings, detector)
    uvicorn.Server(configure_server(app, settings)).run(sockets=[listener])
