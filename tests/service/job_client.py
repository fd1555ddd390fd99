"""Video jobs as a client sees them, and a detector that holds them up."""

import asyncio
import threading
from typing import Any

import httpx

from service.settings import Settings
from shared.detectors import DetectedFace
from tests.fixtures.painted import PaintedDetector, Picture


class GatedDetector(PaintedDetector):
    """Waits at each frame for its gate to be open."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()

    def detect(self, image: Picture) -> list[DetectedFace]:
        self.entered.set()
        assert self.gate.wait(60)
        return super().detect(image)


async def post(client: httpx.AsyncClient, data: bytes, **fields: Any) -> httpx.Response:
    """Upload a clip for ada."""
    form = {name: str(value) for name, value in {"target": "ada", **fields}.items()}
    return await client.post("/reenact/video", files={"video": ("clip.mp4", data, "video/mp4")}, data=form)


async def wait_for(client: httpx.AsyncClient, job_id: str, *states: str) -> dict[str, Any]:
    """The job, once it is in one of the states."""
    async with asyncio.timeout(60):
        while (job := (await client.get(f"/jobs/{job_id}")).json())["state"] not in states:
            await asyncio.sleep(0.01)
    found: dict[str, Any] = job
    return found


def list_files(settings: Settings) -> list[str]:
    """The files of all jobs, as id/name."""
    return sorted(str(each.relative_to(settings.jobs_dir)) for each in settings.jobs_dir.glob("*/*"))
