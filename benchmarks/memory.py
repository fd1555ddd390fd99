"""``python -m benchmarks.memory``: what a service takes, for the requests and limits of `docker/k8s` and Compose.

Peak memory of the service and its children together: at rest, with eight clients, and with four beside a video of the
largest size that is taken, pasted back. `benchmarks.bombs` has what the worst uploads take.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import httpx
import numpy as np
from PIL import Image

from benchmarks.process_memory import MemoryWatch
from benchmarks.started_service import start_service, wait_until_ready
from service.settings import Settings
from shared.bundle import load_bundle

REST_SECONDS, BUSY_SECONDS = 2.0, 15.0
WIDE, HIGH, FRAMES = 3840, 2160, 20  # as many pixels as the settings let in


def write_clip(path: Path, face: Image.Image) -> None:
    """A clip of the largest size, in which a face moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDE, HIGH, "yuv420p"
        for step in range(FRAMES):
            frame = Image.new("RGB", (WIDE, HIGH), (120, 124, 118))
            frame.paste(face, (900 + 20 * step, 300))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode())


class Clients:
    """Some that ask on and on, half of them by landmarks and half by a picture."""

    def __init__(self, address: str, count: int, target: str, models: Path, picture: bytes) -> None:
        self.address, self.target, self.picture = address, target, picture
        self.points = load_bundle(models / target).manifest.neutral
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, by_picture: bool) -> None:
        with httpx.Client(base_url=self.address, timeout=60) as client:
            while not self._ended.is_set():
                if by_picture:
                    client.post("/reenact", files={"image": self.picture}, data={"target": self.target})
                else:
                    client.post("/synthesize", json={"target": self.target, "landmarks": self.points})


def make_video(client: httpx.Client, clip: bytes, target: str) -> str:
    """Have a job made; the state that it ends in."""
    form = {"target": target, "layout": "paste-back"}
    job = client.post("/reenact/video", files={"video": clip}, data=form).raise_for_status().json()
    while job["state"] not in ("done", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.get(f"/jobs/{job['id']}").json()
    return str(job["state"])


def main() -> int:
    """Print the peaks; status 1 where the video was not made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--target", default="franck")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, picture = Path(name), given.models / given.target / "reference.jpg"
        with Image.open(picture) as face:
            write_clip(folder / "clip.mp4", face.convert("RGB").resize((1400, 1400)))
        settings = Settings(models_dir=given.models, jobs_dir=folder / "jobs")
        with start_service(settings) as service, httpx.Client(base_url=service.address, timeout=60) as client:
            wait_until_ready(client)
            watch = MemoryWatch(service.pid)
            time.sleep(REST_SECONDS)
            print(f"at rest {watch.close():.0f} MiB", flush=True)
            watch = MemoryWatch(service.pid)
            clients = Clients(service.address, 8, given.target, given.models, picture.read_bytes())
            time.sleep(BUSY_SECONDS)
            clients.close()
            print(f"8 clients {watch.close():.0f} MiB", flush=True)
            watch = MemoryWatch(service.pid)
            clients = Clients(service.address, 4, given.target, given.models, picture.read_bytes())
            state = make_video(client, (folder / "clip.mp4").read_bytes(), given.target)
            clients.close()
            print(f"4 clients and a video of {WIDE}x{HIGH}, {state}: {watch.close():.0f} MiB")
    return 0 if state == "done" else 1


if __name__ == "__main__":
    sys.exit(main())
