"""Processes that share one port, under uvicorn's own supervisor: what ends unasked is started again.

The first one keeps the video jobs, whose folder is one process's alone; the others hand on what is asked of jobs.
"""

import socket
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from service.app import create_app
from service.errors import StartError
from service.logs import configure_logging
from service.server import Server, configure_server
from service.settings import Settings
from service.workers.relay import KEEPER, Relay

BACKLOG = 2048
HEALTH_SECONDS = 10  # a worker that answers no ping for so long is hung
NO_APP = "service.workers"  # uvicorn's own configuration of a worker is not used


class Worker(Process):
    """One process. `number` tells it from the others, and stays when it is started again."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], settings: Settings, number: int, peers: list[Path]
    ) -> None:
        """`sockets` are the port's and the worker's own; `peers` are the paths of all workers' own."""
        self.settings, self.number, self.peers = settings, number, peers
        super().__init__(config, sockets)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the process that was started."""
        configure_logging(self.settings.log_level, self.settings.log_format)
        threading.Thread(target=self.always_pong, daemon=True).start()
        try:
            app = create_app(self.settings)
        except StartError as error:
            print(f"{error} {error.expected or ''}", file=sys.stderr)
            sys.exit(STARTUP_FAILURE)
        config = configure_server(Relay(app, self.number, self.peers), self.settings)
        self._server = server = Server(config, app, self.settings.drain_seconds)
        server.run(sockets)
        if not server.started:
            sys.exit(STARTUP_FAILURE)

    def pong(self) -> None:
        """Tell the supervisor, which has asked, whether requests are taken yet."""
        self.child_conn.recv()
        self.child_conn.send(self._server is not None and self._server.started)


class Supervisor(Multiprocess):
    """uvicorn's, of workers that are told apart."""

    def __init__(self, settings: Settings, workers: int, port: socket.socket, folder: Path) -> None:
        """`folder` is for the workers' sockets, and for what only the keeper needs on disk."""
        self.port, self.folder, self.settings = port, folder, settings
        self.peers = [folder / f"{number}.sock" for number in range(workers)]
        self.own = [_listen(path) for path in self.peers]
        config = uvicorn.Config(NO_APP, workers=workers, log_config=None, timeout_worker_healthcheck=HEALTH_SECONDS)
        super().__init__(config, [port])

    def init_processes(self) -> None:
        """Start all."""
        self.processes = [self._start(number) for number in range(len(self.peers))]

    def keep_subprocess_alive(self) -> None:
        """Start again what has ended or hangs; where a start fails, the others would fail too, and all end."""
        for number, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.is_alive(timeout=HEALTH_SECONDS):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
            else:
                self.processes[number] = self._start(number)

    def handle_ttin(self) -> None:
        """Nothing: how many workers there are is settled at the start."""

    handle_ttou = handle_hup = handle_ttin

    @property
    def failed(self) -> bool:
        """Whether a worker's start failed."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)

    def _start(self, number: int) -> Worker:
        settings = self.settings
        if number != KEEPER:  # asked for no jobs: an empty folder of its own
            settings = settings.model_copy(update={"jobs_dir": self.folder / f"jobs-{number}"})
        worker = Worker(self.config, [self.port, self.own[number]], settings, number, self.peers)
        worker.start()
        return worker


def serve(settings: Settings, workers: int) -> bool:
    """Serve in so many processes until a signal ends it. Whether the start worked."""
    with (
        socket.create_server((settings.host, settings.port), backlog=BACKLOG) as port,
        tempfile.TemporaryDirectory(prefix="landmarkgan-") as folder,
    ):
        supervisor = Supervisor(divide(settings, workers), workers, port, Path(folder))
        supervisor.run()
    return not supervisor.failed


def divide(settings: Settings, workers: int) -> Settings:
    """The settings of each worker: where nobody said how many threads, they share the cores."""
    changes = {"workers": workers}
    if "threads" not in settings.model_fields_set:
        changes["threads"] = max(1, settings.threads // workers)
    return settings.model_copy(update=changes)


def _listen(path: Path) -> socket.socket:
    own = socket.socket(socket.AF_UNIX)
    own.bind(str(path))
    own.listen(BACKLOG)
    return own
