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

import httpx
import numpy as np
from PIL import Image

from shared.landmarks import Points
from shared.pixels import Image8
from trainer.errors import ServiceError

START_SECONDS = 60.0


@contextmanager
def serve(models_dir: Path, threads: int | None = None) -> Iterator["ServedFaces"]:
    """Start ``python -m service`` on these bundles, with all CPU threads unless told.

    Raises ServiceError where it does not become ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "MODELS_DIR": str(models_dir), "LOG_LEVEL": "warning"}
    if threads is not None:
        settings["THREADS"] = str(threads)
    environment = os.environ | {f"LANDMARKGAN_{name}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "service"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            _wait_until_ready(client, process)
            yield ServedFaces(client)
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
    """The service's two endpoints, as pictures."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def synthesize(self, target: str, landmarks: Points, convert: bool) -> Image8:
        """The target's face for landmarks (N, 2) of any scale and place, without loss of a picture format."""
        body = {"target": target, "landmarks": landmarks.tolist(), "convert": convert, "format": "png"}
        return self._decode(self.client.post("/synthesize", json=body))

    def reenact(self, target: str, picture: Image8, face: int = 0) -> Image8:
        """The target's face with the expression and pose of a face of the picture; face 0 is the largest."""
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        form = {"target": target, "face": str(face), "format": "png"}
        return self._decode(self.client.post("/reenact", data=form, files={"image": file.getvalue()}))

    def _decode(self, answer: httpx.Response) -> Image8:
        if answer.status_code != 200:
            raise ServiceError(f"{answer.request.url.path} answered {answer.status_code}: {answer.text}")
        with Image.open(io.BytesIO(answer.content)) as picture:
            return np.asarray(picture.convert("RGB"))
