"""Video jobs over HTTP: from the upload to the download, cancelled, restarted, expired, and on a full disk."""

import asyncio
import errno
import io
import json
import os
import shutil
import threading
import time

import av
import pytest
from job_client import GatedDetector, list_files, post, wait_for
from tiny_service import serve

from service.media.job_folder import JobRecord
from service.settings import Settings
from shared.detectors import DetectedFace
from tests.fixtures.painted import PaintedDetector, Picture

pytestmark = pytest.mark.anyio


class SteppedDetector(PaintedDetector):
    """Sees as many frames as it is given steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = threading.Semaphore(0)

    def detect(self, image: Picture) -> list[DetectedFace]:
        assert self.steps.acquire(timeout=60)
        return super().detect(image)


async def test_from_the_upload_to_the_download(settings: Settings, clip: bytes) -> None:
    async with serve(settings, PaintedDetector()) as client:
        answer = await post(client, clip, layout="side-by-side")
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == f"/jobs/{job['id']}"
        assert (job["target"], job["layout"], job["result"], job["expires"]) == ("ada", "side-by-side", None, None)
        assert (job["total"], job["progress"]) == (12, 0)
        job = await wait_for(client, job["id"], "done")
        assert (job["frames"], job["total"], job["progress"], job["without_face"]) == (12, 12, 1.0, 0)
        assert job["expires"] == pytest.approx(time.time() + settings.job_keep_seconds, abs=30)
        video = await client.get(job["result"])
        assert video.headers["content-type"] == "video/mp4"
        assert video.headers["x-landmarkgan-target"] == "ada"
        served = (await client.get("/targets")).json()["targets"][0]
        assert video.headers["x-landmarkgan-bundle"] == job["bundle"] == served["bundle"]
        assert video.headers["x-landmarkgan-consent"] == "none"
        with av.open(io.BytesIO(video.content)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 12
        part = await client.get(job["result"], headers={"Range": "bytes=4-11"})
        assert (part.status_code, part.content) == (206, video.content[4:12])
        assert list_files(settings) == [f"{job['id']}/job.json", f"{job['id']}/result.mp4"]
        assert (await client.delete(f"/jobs/{job['id']}")).status_code == 204
        for path in (f"/jobs/{job['id']}", job["result"]):
            gone = await client.get(path)
            assert (gone.status_code, gone.json()["type"]) == (404, "urn:landmarkgan:problem:unknown-job")
    assert list_files(settings) == []


async def test_progress_is_told_while_it_runs(settings: Settings, clip: bytes) -> None:
    detector = SteppedDetector()
    two = settings.model_copy(update={"threads": 2})  # one waits for the sixth frame's step while the fifth is drawn
    async with serve(two, detector) as client:
        answer = await post(client, clip)
        job = await wait_for(client, answer.json()["id"], "running")
        assert (job["frames"], job["eta_seconds"]) == (0, None)
        early = await client.get(f"/jobs/{job['id']}/result")
        assert (early.status_code, early.json()["type"].split(":")[-1]) == (409, "job-state")
        assert "running" in early.json()["detail"]
        assert (await client.get(f"/jobs/{job['id']}")).headers["retry-after"] == "1"
        detector.steps.release(12 + 5)  # all frames for the driver's neutral face, and five that are made
        async with asyncio.timeout(60):
            while (job := (await client.get(f"/jobs/{job['id']}")).json())["frames"] < 5:
                await asyncio.sleep(0.01)
        assert (job["state"], job["frames"], job["total"]) == ("running", 5, 12)
        assert job["progress"] == pytest.approx(5 / 12)
        assert job["eta_seconds"] >= 0
        detector.steps.release(7)
        assert (await wait_for(client, job["id"], "done"))["progress"] == 1


async def test_cancelled_jobs_leave_their_record_alone(settings: Settings, clip: bytes) -> None:
    detector = GatedDetector()
    async with serve(settings, detector) as client:
        running, waiting = [(await post(client, clip)).json()["id"] for _ in range(2)]
        assert await asyncio.to_thread(detector.entered.wait, 60)
        assert (await client.get(f"/jobs/{waiting}")).json()["state"] == "waiting"
        for job_id in (waiting, running):
            cancelled = await client.post(f"/jobs/{job_id}/cancel")
            assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
            again = await client.post(f"/jobs/{job_id}/cancel")
            assert again.json()["ended"] == cancelled.json()["ended"]
        assert list_files(settings) == sorted(f"{job_id}/job.json" for job_id in (running, waiting))
        detector.gate.set()
        assert (await wait_for(client, (await post(client, clip)).json()["id"], "done"))["frames"] == 12


async def test_a_restart_keeps_what_is_done_and_begins_again_what_is_not(settings: Settings, clip: bytes) -> None:
    async with serve(settings, PaintedDetector()) as client:
        done = (await post(client, clip)).json()["id"]
        await wait_for(client, done, "done")
    detector = GatedDetector()
    async with serve(settings, detector) as client:
        unfinished = (await post(client, clip, layout="paste-back")).json()["id"]
        waiting = (await post(client, clip)).json()["id"]
        assert await asyncio.to_thread(detector.entered.wait, 60)
        threading.Timer(0.2, detector.gate.set).start()
    for job_id in (unfinished, waiting):
        record = JobRecord.model_validate_json((settings.jobs_dir / job_id / "job.json").read_text())
        assert (record.state, record.starts) == ("waiting", 0)
    async with serve(settings, PaintedDetector()) as client:
        assert (await client.get(f"/jobs/{done}/result")).status_code == 200
        for job_id, layout in ((unfinished, "paste-back"), (waiting, "face")):
            job = await wait_for(client, job_id, "done", "failed")
            assert (job["state"], job["frames"], job["layout"]) == ("done", 12, layout)


async def test_what_a_crash_leaves(settings: Settings, clip: bytes) -> None:
    """A killed service leaves `running` and half a result; a clip that killed it three times is let be."""
    async with serve(settings, PaintedDetector()) as client:
        job_id = (await post(client, clip)).json()["id"]
        await wait_for(client, job_id, "done")
    record = json.loads((settings.jobs_dir / job_id / "job.json").read_text())
    cases = {"a" * 32: (1, True, "done"), "b" * 32: (3, True, "failed"), "c" * 32: (1, False, "failed")}
    for name, (starts, source, _) in cases.items():
        folder = settings.jobs_dir / name
        folder.mkdir()
        crashed = record | {"id": name, "state": "running", "ended": None, "starts": starts}
        (folder / "job.json").write_text(json.dumps(crashed))
        (folder / ".result.mp4.part").write_bytes(b"half")
        if source:
            (folder / "source").write_bytes(clip)
    (settings.jobs_dir / ("d" * 32)).mkdir()  # stopped while the upload came
    (settings.jobs_dir / "notes").mkdir()
    (settings.jobs_dir / job_id / "result.mp4").unlink()
    async with serve(settings, PaintedDetector()) as client:
        for name, (_, _, state) in cases.items():
            job = await wait_for(client, name, "done", "failed")
            assert (job["state"], job["error"] is None) == (state, state == "done")
        gone = (await client.get(f"/jobs/{job_id}")).json()
        assert (gone["state"], "deleted" in gone["error"]) == ("failed", True)
        assert (await client.get(f"/jobs/{'d' * 32}")).status_code == 404
    assert not (settings.jobs_dir / ("d" * 32)).exists()
    assert (settings.jobs_dir / "notes").exists()
    assert not (settings.jobs_dir / ("a" * 32) / ".result.mp4.part").exists()


async def test_finished_jobs_expire(settings: Settings, clip: bytes) -> None:
    async with serve(settings.model_copy(update={"job_keep_seconds": 0.2}), PaintedDetector()) as client:
        job_id = (await post(client, clip)).json()["id"]
        async with asyncio.timeout(60):
            while (await client.get(f"/jobs/{job_id}")).status_code != 404:
                await asyncio.sleep(0.02)
            while list_files(settings):  # they go a moment later
                await asyncio.sleep(0.02)


async def test_only_so_many_wait(settings: Settings, clip: bytes) -> None:
    detector = GatedDetector()
    async with serve(settings.model_copy(update={"jobs_waiting": 1}), detector) as client:
        first, second = [(await post(client, clip)).json()["id"] for _ in range(2)]
        refused = await post(client, clip)
        assert (refused.status_code, refused.json()["type"].split(":")[-1]) == (503, "busy")
        assert refused.headers["retry-after"]
        detector.gate.set()
        for job_id in (first, second):
            await wait_for(client, job_id, "done")


async def test_uploads_that_are_refused_leave_nothing(settings: Settings, clip: bytes) -> None:
    strict = settings.model_copy(update={"max_video_bytes": 100_000, "max_video_seconds": 0.4})
    async with serve(strict, PaintedDetector()) as client:
        for data, fields, status, slug in (
            (b"", {}, 415, "video-format"),
            (b"just text", {}, 415, "video-format"),
            (clip, {}, 413, "video-too-large"),
            (bytes(200_000), {}, 413, "body-too-large"),
            (clip, {"target": "eve"}, 404, "unknown-target"),
            (clip, {"layout": "upside-down"}, 422, "validation"),
            (clip, {"face": -1}, 422, "validation"),
            (clip, {"colour": 1}, 422, "validation"),
        ):
            answer = await post(client, data, **fields)
            assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (status, slug)
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.post("/reenact/video", json={"target": "ada"})).status_code == 415
        for path in ("/jobs/none", "/jobs/..%2f..%2fetc", f"/jobs/{'0' * 32}/result"):
            assert (await client.get(path)).status_code == 404
    assert list_files(settings) == []


async def test_a_full_disk_fails_the_job_in_words(settings: Settings, clip: bytes) -> None:
    """/dev/full fails each write as a full disk does; the unfinished video is made to lie there."""
    detector = GatedDetector()
    async with serve(settings, detector) as client:
        job_id = (await post(client, clip)).json()["id"]
        assert await asyncio.to_thread(detector.entered.wait, 60)
        (settings.jobs_dir / job_id / ".result.mp4.part").symlink_to("/dev/full")
        detector.gate.set()
        job = await wait_for(client, job_id, "done", "failed")
        assert job["state"] == "failed"
        assert "No space left" in job["error"]
        assert list_files(settings) == [f"{job_id}/job.json"]
        result = await client.get(f"/jobs/{job_id}/result")
        assert "No space left" in result.json()["detail"]


async def test_a_full_disk_refuses_uploads_in_words(
    settings: Settings, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(settings, PaintedDetector()) as client:
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(shutil, "copyfileobj", fail)
            answer = await post(client, clip)
        assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (507, "storage")
        assert "No space left" in answer.json()["detail"]
        with monkeypatch.context() as patch:
            patch.setattr("starlette.formparsers.SpooledTemporaryFile", lambda **_: fail())
            answer = await post(client, clip)
        assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (507, "storage")
    assert list_files(settings) == []
    shutil.rmtree(settings.jobs_dir)
    settings.jobs_dir.write_text("a file where the folder should be")
    async with serve(settings, PaintedDetector()) as client:
        answer = await post(client, clip)
        assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (507, "storage")


async def test_jobs_need_a_detector(settings: Settings, clip: bytes) -> None:
    async with serve(settings) as client:
        answer = await post(client, clip)
        assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (503, "no-detector")
