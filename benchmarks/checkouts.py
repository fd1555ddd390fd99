"""Two releases side by side: a checkout's networks and service, each in a process of its own, asked in turns."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory

from benchmarks.stream import time_stream
from trainer.evaluation.served_faces import ServedFaces, serve

HERE = Path(__file__).parents[1]
STREAM_SECONDS = 3.0
IN_PROCESS = ("tracked", "fresh", "generator", "converter")


def find_release_before() -> str | None:
    """The newest tag before this revision; None where there is none, or no git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--tags", "--abbrev=0", "HEAD^"], cwd=HERE, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None


@contextmanager
def check_out(revision: str) -> Iterator[Path]:
    """A folder with that revision, removed with the block. Raises SystemExit, with git's words, where there is none."""
    with TemporaryDirectory(prefix="benchmarks-") as parent:
        folder = Path(parent) / "checkout"
        added = subprocess.run(
            ["git", "worktree", "add", "--detach", str(folder), revision],
            cwd=HERE, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if added.returncode:
            raise SystemExit(f"git has no checkout of {revision}: {added.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=HERE, check=True)


@dataclass
class Checkout:
    """One release, running. `wall` and `cpu` have each row's samples, in milliseconds; `stream` frames a second."""

    target: str
    served: ServedFaces
    networks: subprocess.Popen[str]
    wall: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stream: list[float] = field(default_factory=list)

    def time_networks(self, calls: int) -> None:
        """Add so many calls of each row of `benchmarks.networks`."""
        assert self.networks.stdin is not None
        assert self.networks.stdout is not None
        for row in IN_PROCESS:
            self.networks.stdin.write(json.dumps([row, calls]) + "\n")
            self.networks.stdin.flush()
            spent, cpu = json.loads(self.networks.stdout.readline())
            self.wall[row] += spent
            self.cpu[row].append(cpu)

    def time_endpoints(self, calls: int, frames: Sequence[bytes]) -> None:
        """Add so many requests to /synthesize and /reenact, and some seconds of /stream.

        The target's neutral face is asked for as anybody's landmarks are, so that it is converted.
        """
        client = self.served.client
        manifest = client.get(f"/targets/{self.target}").json()
        order = {"target": self.target, "landmarks": manifest["neutral"]}
        picture = ("reference", client.get(f"/targets/{self.target}/reference").content)
        requests: dict[str, Callable[[], object]] = {
            "/synthesize": lambda: client.post("/synthesize", json=order).raise_for_status(),
            "/reenact": lambda: client.post(
                "/reenact", files={"image": picture}, data={"target": self.target}
            ).raise_for_status(),
        }
        for row, ask in requests.items():
            ask()
            before = read_cpu(self.served.pid)
            for _ in range(calls):
                started = time.perf_counter()
                ask()
                self.wall[row].append((time.perf_counter() - started) * 1000)
            self.cpu[row].append((read_cpu(self.served.pid) - before) * 1000 / calls)
        figures = time_stream(str(client.base_url), self.target, frames, STREAM_SECONDS)
        self.stream.append(figures["frames a second"])


@contextmanager
def start_checkout(code: Path, target: str, threads: int, frames: Path) -> Iterator[Checkout]:
    """A checkout's service and networks, on its own bundles; ended with the block."""
    models = code / "models"
    command = [sys.executable, str(Path(__file__).with_name("networks.py"))]
    command += [str(models), target, str(threads), str(frames)]
    # numpy's threads as the service has them, which says so before it imports numpy.
    environment = os.environ | {"PYTHONPATH": str(code), "OPENBLAS_NUM_THREADS": "1"}
    with ExitStack() as stack:
        served = stack.enter_context(serve(models, threads, code=code))
        networks = stack.enter_context(
            subprocess.Popen(command, cwd=code, env=environment, stdin=PIPE, stdout=PIPE, text=True)
        )
        assert networks.stdout is not None
        if networks.stdout.readline().strip() != "ready":
            raise SystemExit(f"The networks of {code} could not be loaded; the reason is above.")
        yield Checkout(target, served, networks)


def read_cpu(pid: int) -> float:
    """CPU seconds that a process has taken, all its threads together: the clock of clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)
