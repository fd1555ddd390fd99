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

from benchmarks.editor import time_pointer
from benchmarks.live import time_live
from benchmarks.stream import time_stream
from trainer.evaluation.served_faces import ServedFaces, serve

HERE = Path(__file__).parents[1]
STREAM_SECONDS = 3.0
PAGE_SECONDS = 10.0
# Rows of `benchmarks.networks`, and how many of the others' calls make one of theirs.
IN_PROCESS = {"tracked": 1, "fresh": 1, "generator": 1, "converter": 1, "scan": 10}


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
    """One release, running. `wall` and `cpu` have each row's samples, in milliseconds.

    `stream` and `live` are frames a second of /stream and of the page /live.
    """

    target: str
    served: ServedFaces
    networks: subprocess.Popen[str]
    wall: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stream: list[float] = field(default_factory=list)
    live: float | None = None

    def time_networks(self, calls: int) -> None:
        """Add so many calls of each row of `benchmarks.networks`."""
        assert self.networks.stdin is not None
        assert self.networks.stdout is not None
        for row, share in IN_PROCESS.items():
            self.networks.stdin.write(json.dumps([row, max(1, calls // share)]) + "\n")
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
        before = read_cpu(self.served.pid)
        figures = time_stream(str(client.base_url), self.target, frames, STREAM_SECONDS)
        spent = 1000 * (read_cpu(self.served.pid) - before)
        self.stream.append(figures["frames a second"])
        self.wall["/stream"].append(figures["arrival to answer"])
        self.cpu["/stream"].append(spent / (figures["frames a second"] * STREAM_SECONDS))

    def time_pages(self, chromium: str, frames: Sequence[bytes]) -> None:
        """What the editor and /live reach in a browser, which shares the cores."""
        address = str(self.served.client.base_url)
        self.wall["pointer"] += time_pointer(chromium, address, PAGE_SECONDS)
        self.live = time_live(chromium, address, self.target, frames, PAGE_SECONDS)


@contextmanager
def start_checkout(code: Path, target: str, threads: int, media: Path) -> Iterator[Checkout]:
    """A checkout's service and networks, on its own bundles; ended with the block.

    `media` is what `benchmarks.networks` reads.
    """
    models = code / "models"
    command = [sys.executable, str(Path(__file__).with_name("networks.py"))]
    command += [str(models), target, str(threads), str(media)]
    # numpy's threads as the service has them, which says so before it imports numpy.
    environment = os.environ | {"PYTHONPATH": str(code), "OPENBLAS_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
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
