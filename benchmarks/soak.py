"""``python -m benchmarks.soak``: ten minutes of mixed requests to a service, and whether anything grows meanwhile.

Memory and descriptors are the service's own, of its /metrics, at the start, after a minute and at the end. Clients in
threads of this process ask for faces of landmarks and pictures and for pages, send what is no picture, play streams,
have short clips and films made, and hang up halfway.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
from websockets.sync.client import connect

from benchmarks.stream import draw_frames, encode_frames, write_clip
from service.settings import Settings
from trainer.evaluation.served_faces import serve

CLIENTS = 3
CLIP_FRAMES = 12
ENDED = ("done", "failed", "cancelled")
MINUTE = 60.0
GROWTH = 0.1  # of memory, from the first minute to the end
MEMORY, DESCRIPTORS = "process_resident_memory_bytes", "process_open_fds"


class Load:
    """What the clients share: the service, what to send, when to end, and how it was answered."""

    def __init__(self, address: str, target: str, seconds: float) -> None:
        self.address, self.target = address, target
        self.end = time.monotonic() + seconds
        self.answers: Counter[str] = Counter()
        pictures = draw_frames(Settings().models_dir / target / "reference.jpg")
        self.frames = encode_frames(pictures)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            write_clip(path, pictures, CLIP_FRAMES)
            self.clip = path.read_bytes()

    def run(self, seed: int) -> None:
        """One client, until the end."""
        rng = random.Random(seed)
        deeds = (
            *(self.synthesize, self.reenact, self.read, self.err, self.stream, self.hang_up),
            *(self.play_clip, self.animate),
        )
        with httpx.Client(base_url=f"http://{self.address}", timeout=60) as client:
            while time.monotonic() < self.end:
                deed = rng.choice(deeds)
                try:
                    self.answers[f"{deed.__name__} {deed(client, rng)}"] += 1
                except (httpx.TransportError, OSError) as error:
                    self.answers[f"{deed.__name__} {type(error).__name__}"] += 1

    def synthesize(self, client: httpx.Client, rng: random.Random) -> int:
        """Landmarks to a face."""
        manifest = client.get(f"/targets/{self.target}").json()
        order = {"target": self.target, "landmarks": manifest["neutral"], "units": "crop"}
        return client.post("/synthesize", json=order).status_code

    def reenact(self, client: httpx.Client, rng: random.Random) -> int:
        """A picture to a face, at times pasted back."""
        fields = {"target": self.target, "paste_back": rng.choice(("true", "false"))}
        return client.post("/reenact", data=fields, files={"image": rng.choice(self.frames)}).status_code

    def read(self, client: httpx.Client, rng: random.Random) -> int:
        """A page or a list."""
        return client.get(rng.choice(("/", "/live", "/targets", "/openapi.json", "/metrics"))).status_code

    def err(self, client: httpx.Client, rng: random.Random) -> int:
        """What is refused."""
        return client.post("/landmarks", files={"image": rng.randbytes(20_000)}).status_code

    def stream(self, client: httpx.Client, rng: random.Random) -> str:
        """Ten frames."""
        with connect(f"ws://{self.address}/stream", compression=None, open_timeout=60) as socket:
            socket.send(json.dumps({"target": self.target}))
            socket.recv(timeout=60)
            for frame in self.frames[:10]:
                socket.send(frame)
                socket.recv(timeout=60)
        return "whole"

    def play_clip(self, client: httpx.Client, rng: random.Random) -> str:
        """A clip of a few frames, its video fetched; at times cancelled instead."""
        fields = {"target": self.target, "layout": rng.choice(("face", "side-by-side", "paste-back"))}
        answer = client.post("/reenact/video", data=fields, files={"video": self.clip})
        return self.take_result(client, rng, answer)

    def animate(self, client: httpx.Client, rng: random.Random) -> str:
        """A film of two keyframes."""
        neutral = client.get(f"/targets/{self.target}").json()["neutral"]
        keyframes = [{"seconds": moment, "landmarks": neutral, "units": "crop"} for moment in (0, 0.4)]
        order = {"target": self.target, "keyframes": keyframes, "format": rng.choice(("mp4", "gif", "webp"))}
        return self.take_result(client, rng, client.post("/animate", json=order))

    def take_result(self, client: httpx.Client, rng: random.Random, answer: httpx.Response) -> str:
        """See a job to its end, and delete it."""
        if answer.status_code != 202:
            return str(answer.status_code)
        path = answer.headers["location"]
        if rng.random() < 0.1:
            client.post(f"{path}/cancel").raise_for_status()
        while (state := client.get(path).json()["state"]) not in ENDED:
            time.sleep(0.1)
        if state == "done":
            client.get(f"{path}/result").raise_for_status()
        client.delete(path).raise_for_status()
        return str(state)

    def hang_up(self, client: httpx.Client, rng: random.Random) -> str:
        """Ask, and be gone before the answer."""
        try:
            client.post("/reenact", data={"target": self.target}, files={"image": self.frames[0]}, timeout=0.02)
        except httpx.TimeoutException:
            return "gone"
        return "answered"


def read_state(address: str) -> dict[str, float]:
    """Memory in bytes and open descriptors of the service."""
    lines = [line.split() for line in httpx.get(f"http://{address}/metrics", timeout=60).text.splitlines()]
    return {line[0]: float(line[1]) for line in lines if line[0] in (MEMORY, DESCRIPTORS)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load and print. Returns 1 where memory grew by over a tenth after the first minute, or descriptors."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10 * MINUTE)
    options = parser.parse_args(arguments)
    states: list[dict[str, float]] = []
    with serve(Settings().models_dir) as service:
        address = str(service.client.base_url).removeprefix("http://").rstrip("/")
        target = service.list_targets()[0]
        load = Load(address, target, options.seconds)
        threads = [threading.Thread(target=load.run, args=(seed,)) for seed in range(CLIENTS)]
        states.append(tell("start", address))
        for thread in threads:
            thread.start()
        time.sleep(min(MINUTE, options.seconds / 2))
        states.append(tell("after a minute", address))
        for thread in threads:
            thread.join()
        time.sleep(Settings().client_seconds + 6)  # until connections that were left idle have been closed
        states.append(tell("end", address))
    for name, count in sorted(load.answers.items()):
        print(f"{name:24} {count}")
    _, minute, end = states
    grown = end[MEMORY] > (1 + GROWTH) * minute[MEMORY] or end[DESCRIPTORS] > minute[DESCRIPTORS]
    print("grown" if grown else "nothing grew")
    return int(grown)


def tell(when: str, address: str) -> dict[str, float]:
    """Print the service's state, and return it."""
    state = read_state(address)
    print(f"{when:16} {state[MEMORY] / 2**20:7.1f} MiB {state[DESCRIPTORS]:5.0f} descriptors", flush=True)
    return state


if __name__ == "__main__":
    sys.exit(main())
