"""``python -m service.cluster`` on this machine, as a client and as somebody who kills its processes see it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[3]
START_SECONDS = 120


@dataclass(frozen=True)
class RayService:
    """Its address, and the process that started all others."""

    address: str
    process: subprocess.Popen[bytes]

    def find_replicas(self, deployment: str) -> set[int]:
        """Process ids of a deployment's replicas: Ray writes into a process's title what runs in it."""
        title = f"ray::ServeReplica:landmarkgan:{deployment}"
        return {pid for pid in list_descendants(self.process.pid) if read_title(pid).startswith(title)}

    def kill_replica(self, deployment: str) -> int:
        """SIGKILL to one of them."""
        pid = min(self.find_replicas(deployment))
        os.kill(pid, signal.SIGKILL)
        return pid


@contextmanager
def start_ray_service(log: Path, replicas: int, settings: Mapping[str, object]) -> Iterator[RayService]:
    """Ready, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDMARKGAN_")}
    environment |= {f"LANDMARKGAN_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "service.cluster", "--port", str(port), "--replicas", str(replicas)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=file, stderr=file)
    try:
        end = time.monotonic() + START_SECONDS
        while b"Serving at" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield RayService(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(60)


def list_descendants(pid: int) -> set[int]:
    """The processes that a process started, and theirs."""
    parents = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                parents[int(each.name)] = int((each / "stat").read_text().rpartition(") ")[2].split()[1])
            except OSError:  # it has gone meanwhile
                continue
    found, waiting = set[int](), [pid]
    while waiting:
        parent = waiting.pop()
        children = {child for child, of in parents.items() if of == parent}
        found |= children
        waiting += children
    return found


def read_title(pid: int) -> str:
    """What a process calls itself; empty once it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def wait_for_job(client: httpx.Client, path: str, *states: str) -> Mapping[str, object]:
    """The job, once it is in one of the states. While its keeper is away the answer is 503."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        answer = client.get(path)
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200 and answer.json()["state"] in states:
            job: Mapping[str, object] = answer.json()
            return job
        time.sleep(0.1)
    raise AssertionError(f"not {states} within {START_SECONDS} seconds")
