"""``python -m benchmarks.bombs``: what pictures and videos that are made to hurt cost a running service.

For each attack: peak memory of the service and its children together, the slowest /livez, the slowest /synthesize, both
asked all the while, and what the attackers were answered.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from benchmarks.process_memory import MemoryWatch
from benchmarks.started_service import start_service, wait_until_ready
from service.settings import Settings
from tests.fixtures.bombs import (
    make_flat_png,
    make_scan_bomb,
    write_boastful_mp4,
    write_growing_clip,
    write_thin_clip,
)

LIMITS = {"MiB": 1024.0, "/livez ms": 250.0, "/synthesize ms": 2000.0}
AT_ONCE = 4
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Attack:
    """A bomb, and how it is thrown: the path, and the field that carries it."""

    name: str
    data: bytes
    path: str
    field: str
    options: dict[str, str]


def make_attacks(folder: Path, reference: Path, target: str) -> list[Attack]:
    """Every bomb that the service is to stand; `reference` is a picture of a face."""
    videos = {
        "clip of 16x12000": write_thin_clip(folder / "thin.mp4"),
        "clip of 16x8000, face beside": write_thin_clip(folder / "high.mp4", height=8000),
        "clip that grows to 16000x16000": write_growing_clip(folder / "grows.mov"),
        "clip of 60 million samples": write_boastful_mp4(folder / "boasts.mp4"),
    }
    pictures = {
        "JPEG of 7000 scans": make_scan_bomb(4000, 7000),
        "JPEG of 35 scans, 18 MP": make_scan_bomb(4240, 35),
        "PNG of 40 MP": make_flat_png(6300, 6300),
        "face of 40 MP, pasted back": enlarge(reference, 6300),
    }
    return [
        Attack("PNG of 40 MP, for its marks", pictures["PNG of 40 MP"], "/provenance", "image", {}),
        *(
            Attack(name, data, "/reenact", "image", {"target": target, "paste_back": "true"})
            for name, data in pictures.items()
        ),
        *(
            Attack(name, path.read_bytes(), "/reenact/video", "video", {"target": target, "layout": "side-by-side"})
            for name, path in videos.items()
        ),
    ]


def enlarge(reference: Path, side: int) -> bytes:
    """A picture as a large JPEG."""
    buffer = BytesIO()
    with Image.open(reference) as picture:
        picture.convert("RGB").resize((side, side)).save(buffer, "JPEG")
    return buffer.getvalue()


class Watch:
    """Asks the same thing again and again, in a process of its own: what the attackers do here does not slow it."""

    def __init__(self, address: str, path: str, order: dict[str, Any] | None, pause: float) -> None:
        """`order` is a JSON body to post; None gets the path. `pause` in seconds."""
        context = multiprocessing.get_context("forkserver")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_ask, args=(address, path, order, pause, other), daemon=True)
        self._process.start()
        other.close()
        self._connection.recv()  # it has been answered once

    def close(self) -> float:
        """Ask no longer. Returns the slowest answer's time, in milliseconds."""
        self._connection.send(None)
        slowest: float = self._connection.recv()
        self._process.join()
        return slowest


def _ask(address: str, path: str, order: dict[str, Any] | None, pause: float, connection: Connection) -> None:
    slowest = 0.0
    with httpx.Client(base_url=address, timeout=300) as client:

        def call() -> None:
            (client.get(path) if order is None else client.post(path, json=order)).raise_for_status()

        call()  # the first one warms up
        connection.send(None)
        while not connection.poll(pause):
            started = time.perf_counter()
            call()
            slowest = max(slowest, (time.perf_counter() - started) * 1000)
    connection.send(slowest)


def throw(address: str, attack: Attack) -> str:
    """Throw it once, and wait for what becomes of it: a status, or the state of its job."""
    with httpx.Client(base_url=address, timeout=300) as client:
        answer = client.post(attack.path, files={attack.field: ("bomb", attack.data)}, data=attack.options)
        if answer.status_code != 202:
            return str(answer.status_code)
        while (job := client.get(answer.headers["location"]).json())["state"] not in ENDED:
            time.sleep(0.2)
        return str(job["state"])


def measure(address: str, pid: int, target: str, attack: Attack, throws: int) -> tuple[dict[str, float], str]:
    """The figures of one attack, thrown so often, a few at once."""
    with httpx.Client(base_url=address, timeout=300) as client:
        wait_until_ready(client)
        order = {"target": target, "landmarks": client.get(f"/targets/{target}").json()["neutral"]}
    alive, faces = Watch(address, "/livez", None, 0.01), Watch(address, "/synthesize", order, 0.05)
    memory = MemoryWatch(pid)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = Counter(pool.map(lambda _: throw(address, attack), range(throws)))
    figures = {"MiB": memory.close(), "/livez ms": alive.close(), "/synthesize ms": faces.close()}
    return figures, ", ".join(f"{count} x {what}" for what, count in answers.items())


def main() -> int:
    """Print the table. Returns the exit status: 1 where a figure is over its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bombs", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--target", default="franck", help="target to ask for (default: franck)")
    parser.add_argument("--throws", type=int, default=8, help=f"of each bomb, {AT_ONCE} at once (default: 8)")
    parser.add_argument("--only", default="", metavar="WORDS", help="attacks whose name has these words")
    options = parser.parse_args()
    over = 0
    with tempfile.TemporaryDirectory() as name:
        attacks = make_attacks(Path(name), options.models / options.target / "reference.jpg", options.target)
        settings = Settings(models_dir=options.models.resolve(), jobs_dir=Path(name) / "jobs", log_level="error")
        print(f"{'':32}{'bytes':>9}" + "".join(f"{title:>16}" for title in LIMITS) + "  answers")
        for attack in (each for each in attacks if options.only in each.name):
            with start_service(settings) as served:
                figures, answers = measure(served.address, served.pid, options.target, attack, options.throws)
            over += sum(figures[title] > limit for title, limit in LIMITS.items())
            print(
                f"{attack.name:32}{len(attack.data):9}"
                + "".join(f"{figures[title]:16.0f}" for title in LIMITS)
                + f"  {answers}",
                flush=True,
            )
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
