"""A running service to measure: started on a free port of this machine, spoken to over HTTP, ended with the block."""

import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
from PIL import Image

from shared.landmarks import Points
from shared.pixels import Image8
from trainer.errors import ServiceError

START_SECONDS, ANSWER_SECONDS = 60.0, 60.0
POLL_SECONDS = 0.5
SMALLEST = 16
"""Pixels a side of a picture that nobody looks at."""


@contextmanager
def serve(
    models_dir: Path, threads: int | None = None, max_batch: int | None = None, code: Path | None = None
) -> Iterator["ServedFaces"]:
    """Start ``python -m service`` on these bundles, with all CPU threads unless told.

    `max_batch` 1 makes a picture independent of what else was waiting, to the last bit. `code` is another checkout
    whose service is to run. Raises ServiceError where it does not become ready.
    """
    if code is not None and not (code / "service").is_dir():
        raise ServiceError(f"{code} is no checkout with a service/; `git worktree add {code} REVISION` makes one.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings: dict[str, object] = {"HOST": "127.0.0.1", "PORT": port, "MODELS_DIR": models_dir.resolve()}
    settings |= {"LOG_LEVEL": "warning"}
    settings |= {"DEADLINE_SECONDS": ANSWER_SECONDS}  # a machine that is busy with more than this is waited for
    settings |= {} if threads is None else {"THREADS": threads}
    settings |= {} if max_batch is None else {"MAX_BATCH": max_batch}
    with TemporaryDirectory(prefix="evaluation-") as jobs:
        settings["JOBS_DIR"] = jobs
        # What the caller set for a service of its own is none of this one's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDMARKGAN_")}
        environment |= {f"LANDMARKGAN_{name}": str(value) for name, value in settings.items()}
        process = subprocess.Popen([sys.executable, "-m", "service"], env=environment, cwd=code)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_SECONDS) as client:
                _wait_until_ready(client, process)
                yield ServedFaces(client, process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise ServiceError("The service did not become ready; its log above says why. Is there a bundle in models/?")


class ServedFaces:
    """The service's two endpoints, as pictures. Several threads may ask at once. `pid` is its process."""

    def __init__(self, client: httpx.Client, pid: int) -> None:
        self.client, self.pid = client, pid

    def list_targets(self) -> list[str]:
        """The targets that are served."""
        return [target["id"] for target in self._check(self.client.get("/targets")).json()["targets"]]

    def synthesize(self, target: str, landmarks: Points, convert: bool, neutral: Points | None = None) -> Image8:
        """The target's face for landmarks (N, 2) of any scale and place, without loss of a picture format.

        `neutral` (N, 2), of any scale and place too, is the shape from which the landmarks' owner moves.
        """
        order = _order(target, landmarks, neutral) | {"convert": convert, "format": "png"}
        return _decode(self._check(self.client.post("/synthesize", json=order)).content)

    def convert(self, target: str, landmarks: Points) -> Points:
        """The landmarks as the target's converter gives them, in crop units (N, 2)."""
        order = _order(target, landmarks, None) | {"response": "json", "size": SMALLEST}
        answer = self._check(self.client.post("/synthesize", json=order)).json()
        return np.array(answer["landmarks"]["crop_units"], np.float32)

    def reenact(self, target: str, picture: Image8, face: int = 0) -> Image8:
        """The target's face with the expression and pose of a face of the picture; face 0 is the largest."""
        form = {"target": target, "face": str(face), "format": "png"}
        answer = self.client.post("/reenact", data=form, files={"image": _encode(picture)})
        return _decode(self._check(answer).content)

    def reenact_video(self, target: str, clip: Path, result: Path) -> None:
        """Have a video job drive the target with a clip, the face alone; `result` is the MP4 that a client gets.

        Raises ServiceError where the job fails.
        """
        with clip.open("rb") as file:
            answer = self.client.post("/reenact/video", data={"target": target}, files={"video": (clip.name, file)})
        job = self._check(answer, 202).json()
        while job["state"] in ("waiting", "running"):
            time.sleep(POLL_SECONDS)
            job = self._check(self.client.get(f"/jobs/{job['id']}")).json()
        if job["state"] != "done":
            raise ServiceError(f"The video job of {clip.name} {job['state']}: {job['error']}")
        result.write_bytes(self._check(self.client.get(job["result"])).content)
        self.client.delete(f"/jobs/{job['id']}")

    def _check(self, answer: httpx.Response, status: int = 200) -> httpx.Response:
        if answer.status_code != status:
            raise ServiceError(f"{answer.request.url.path} answered {answer.status_code}: {answer.text}")
        return answer


def _order(target: str, landmarks: Points, neutral: Points | None) -> dict[str, object]:
    order: dict[str, object] = {"target": target, "landmarks": landmarks.tolist()}
    return order if neutral is None else order | {"source_neutral": neutral.tolist()}


def _encode(picture: Image8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _decode(data: bytes) -> Image8:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))
