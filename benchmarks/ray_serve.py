"""``python -m benchmarks.ray_serve``: what Ray Serve costs beside plain uvicorn, and what a second replica brings.

Each service runs alone, on the bundles of models/, one thread a replica. Milliseconds are of one client asking for
faces of landmarks one after another; requests a second and p99 of `CLIENTS` that do so at once. MiB are the
proportional sizes of all its processes together. At last one of two replicas is killed under that load: how many
requests were lost, and after how many seconds the process of its successor was there, which loads its bundles then.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from shared.bundle import read_bundle

TARGET, CLIENTS, SECONDS, RUNS = "franck", 8, 8.0, 150
TITLE = "ray::ServeReplica:landmarkgan:Faces"
START_SECONDS = 120.0


@contextmanager
def start(words: Sequence[str], threads: int = 1) -> Iterator[tuple[str, int]]:
    """Its address and its process, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as jobs, tempfile.TemporaryFile() as log:
        chosen = {"JOBS_DIR": jobs, "THREADS": threads, "QUEUE_SIZE": 64, "MAX_STREAMS": 64}
        chosen |= {"DEADLINE_SECONDS": 60, "STREAM_IDLE_SECONDS": 600, "LOG_LEVEL": "warning"}
        environment = os.environ | {f"LANDMARKGAN_{name}": str(value) for name, value in chosen.items()}
        command = [sys.executable, "-m", *words, "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
        try:
            while time.monotonic() < end:
                try:
                    if httpx.get(f"{address}/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.2)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait(60)


def list_processes(pid: int) -> list[int]:
    """A process and all that it started."""
    parents = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(each.parent.name)] = int(each.read_text().rpartition(") ")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found


def read_memory(pids: Sequence[int]) -> float:
    """MiB, what is shared counted once."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def find_replicas(pid: int) -> set[int]:
    """The processes of the replicas."""
    found = set()
    for each in list_processes(pid):
        try:
            if Path(f"/proc/{each}/cmdline").read_text(errors="replace").startswith(TITLE):
                found.add(each)
        except OSError:
            continue
    return found


class Load:
    """Clients that ask one after another, until told to end; what each request took and was answered."""

    def __init__(self, address: str, order: dict[str, object], clients: int = CLIENTS) -> None:
        self.address, self.order = address, order
        self.spent: list[float] = []
        self.statuses: list[int] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self.address, timeout=90) as client:
            while not self._ended.is_set():
                started = time.perf_counter()
                self.statuses.append(client.post("/synthesize", json=self.order).status_code)
                self.spent.append(time.perf_counter() - started)


def measure(name: str, words: Sequence[str], order: dict[str, object], kill: bool = False) -> None:
    """Print one row; and where one is killed, what became of it."""
    with start(words) as (address, pid):
        with httpx.Client(base_url=address, timeout=90) as client:
            alone = []
            for _ in range(RUNS):
                started = time.perf_counter()
                client.post("/synthesize", json=order).raise_for_status()
                alone.append(time.perf_counter() - started)
        with Load(address, order) as load:
            time.sleep(SECONDS)
        memory = read_memory(list_processes(pid))
        rate, p99 = len(load.spent) / SECONDS, 1000 * np.percentile(load.spent, 99)
        print(f"{name:24} {1000 * np.median(alone):8.1f} {rate:10.1f} {p99:8.0f} {memory:8.0f}", flush=True)
        if kill:
            with Load(address, order) as load:
                time.sleep(2)
                before = find_replicas(pid)
                os.kill(min(before), signal.SIGKILL)
                killed = time.monotonic()
                while len(find_replicas(pid) - {min(before)}) < len(before):
                    time.sleep(0.05)
                seen = time.monotonic() - killed
                time.sleep(SECONDS)
            lost = sum(status != 200 for status in load.statuses)
            print(f"one killed: {lost} of {len(load.statuses)} lost, its successor's process there after {seen:.1f} s")


def main() -> int:
    """Print the table."""
    neutral = read_bundle(Path("models") / TARGET).neutral
    order: dict[str, object] = {"target": TARGET, "landmarks": neutral}
    print(f"{'':24} {'ms':>8} {'requests/s':>10} {'p99 ms':>8} {'MiB':>8}")
    measure("uvicorn", ["service"], order)
    for replicas in (1, 2):
        words = ["service.cluster", "--replicas", str(replicas)]
        measure(f"Ray Serve, {replicas}", words, order, kill=replicas == 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
