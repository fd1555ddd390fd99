"""What goes wrong around jobs: asked for twice, files that vanish, folders of other versions and other services."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from job_client import GatedDetector, list_files, post, wait_for
from tiny_service import serve

from service.errors import StartError
from service.media.job_folder import DELETED, JobFolder, delete_folder, read_record
from service.media.jobs import Jobs
from service.settings import Settings
from tests.fixtures.painted import PaintedDetector

pytestmark = pytest.mark.anyio


async def make_done(settings: Settings, clip: bytes) -> str:
    """A job that is done, its service gone."""
    async with serve(settings, PaintedDetector()) as client:
        job_id = str((await post(client, clip)).json()["id"])
        await wait_for(client, job_id, "done")
    return job_id


async def test_two_deletions_of_a_running_job(settings: Settings, clip: bytes) -> None:
    detector = GatedDetector()
    async with serve(settings, detector) as client:
        job_id = (await post(client, clip)).json()["id"]
        assert await asyncio.to_thread(detector.entered.wait, 60)
        answers = await asyncio.gather(*(client.delete(f"/jobs/{job_id}") for _ in range(4)))
        assert {answer.status_code for answer in answers} <= {204, 404}
        assert answers[0].status_code == 204
        assert list_files(settings) == []
        detector.gate.set()


async def test_two_cancellations_both_wait_until_it_is_over(settings: Settings, clip: bytes) -> None:
    detector = GatedDetector()
    async with serve(settings, detector) as client:
        job_id = (await post(client, clip)).json()["id"]
        assert await asyncio.to_thread(detector.entered.wait, 60)

        async def cancel() -> list[str]:
            assert (await client.post(f"/jobs/{job_id}/cancel")).json()["state"] == "cancelled"
            return list_files(settings)

        assert await asyncio.gather(cancel(), cancel()) == [[f"{job_id}/job.json"]] * 2
        detector.gate.set()


async def test_a_result_that_is_gone_is_told(settings: Settings, clip: bytes) -> None:
    async with serve(settings, PaintedDetector()) as client:
        job_id = (await post(client, clip)).json()["id"]
        await wait_for(client, job_id, "done")
        (settings.jobs_dir / job_id / "result.mp4").unlink()
        answer = await client.get(f"/jobs/{job_id}/result")
        assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (409, "job-state")
        assert "deleted" in answer.json()["detail"]


async def test_the_sweep_survives_a_deletion_beside_it(settings: Settings, clip: bytes) -> None:
    """Two jobs expire at once; the second is deleted by somebody else while the first is."""
    async with serve(settings.model_copy(update={"job_keep_seconds": 0.6}), PaintedDetector()) as client:
        jobs: Jobs = client.app.state.jobs
        ids = [(await post(client, clip)).json()["id"] for _ in range(2)]
        for job_id in ids:
            await wait_for(client, job_id, "done")
        remove = jobs.remove

        async def remove_both(job_id: str) -> None:
            await asyncio.gather(*(remove(each) for each in ids))
            await remove(job_id)  # as the sweep does, which read of it before

        jobs.remove = remove_both
        async with asyncio.timeout(60):
            while (await client.get(f"/jobs/{ids[1]}")).status_code != 404:
                await asyncio.sleep(0.02)
        jobs.remove = remove
        later = (await post(client, clip)).json()["id"]
        await wait_for(client, later, "done")
        async with asyncio.timeout(60):
            while (await client.get(f"/jobs/{later}")).status_code != 404:
                await asyncio.sleep(0.02)


async def test_a_job_that_only_waited_keeps_its_starts(settings: Settings, clip: bytes) -> None:
    """Twice killed with it, then once stopped while it waited: it may be tried once more, and no more."""
    detector = GatedDetector()
    async with serve(settings, detector) as client:
        first, waiting = [(await post(client, clip)).json()["id"] for _ in range(2)]
        assert await asyncio.to_thread(detector.entered.wait, 60)
        threading.Timer(0.2, detector.gate.set).start()
    for job_id in (first, waiting):
        path = settings.jobs_dir / job_id / "job.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"starts": 2}))
    detector = GatedDetector()
    async with serve(settings, detector):
        assert await asyncio.to_thread(detector.entered.wait, 60)
        threading.Timer(0.2, detector.gate.set).start()
    assert [read_record(settings.jobs_dir / job_id).starts for job_id in (first, waiting)] == [2, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2, "priority": "high"}, "version 2"),
        ({"version": None}, "version None"),
        ({"colour": "red"}, "colour"),
        ({"state": "resting"}, "state"),
        ({"id": "0" * 32}, "another job"),
        (None, "its record"),
    ],
)
async def test_what_is_not_understood_is_set_aside(
    settings: Settings,
    clip: bytes,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, object] | None,
    words: str,
) -> None:
    """With its finished result, which no start, sweep or request touches; a version that reads it has it again."""
    job_id = await make_done(settings, clip)
    path = settings.jobs_dir / job_id / "job.json"
    understood = path.read_text()
    path.write_text("[1, 2" if change is None else json.dumps(json.loads(understood) | change))
    files = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    async with serve(settings.model_copy(update={"job_keep_seconds": 0.05}), PaintedDetector()) as client:
        assert (await client.get(f"/jobs/{job_id}")).status_code == 404
        await asyncio.sleep(0.2)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == files
    assert "set aside" in caplog.text
    assert change is None or words in caplog.text
    path.write_text(understood)
    async with serve(settings, PaintedDetector()) as client:
        assert (await client.get(f"/jobs/{job_id}/result")).content == files["result.mp4"]


async def test_records_from_before_versions_are_read(settings: Settings, clip: bytes) -> None:
    job_id = await make_done(settings, clip)
    path = settings.jobs_dir / job_id / "job.json"
    record = json.loads(path.read_text())
    assert record.pop("version") == 1
    path.write_text(json.dumps(record))
    async with serve(settings, PaintedDetector()) as client:
        assert (await client.get(f"/jobs/{job_id}")).json()["state"] == "done"


async def test_a_result_without_a_record_is_set_aside(settings: Settings, clip: bytes) -> None:
    job_id = await make_done(settings, clip)
    (settings.jobs_dir / job_id / "job.json").unlink()
    async with serve(settings, PaintedDetector()):
        pass
    assert list_files(settings) == [f"{job_id}/result.mp4"]


async def test_one_service_a_folder(settings: Settings, clip: bytes, caplog: pytest.LogCaptureFixture) -> None:
    settings.jobs_dir.mkdir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from service.media.job_folder import JobFolder\n"
            "folder = JobFolder(Path(sys.argv[1])); folder.lock(); print('held', flush=True); sys.stdin.read()",
            str(settings.jobs_dir),
        ],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StartError, match="Another service"):
            JobFolder(settings.jobs_dir).lock()
        async with serve(settings, PaintedDetector(), wait=False) as client:
            async with asyncio.timeout(60):
                while "Another service" not in (answer := await client.get("/readyz")).json()["detail"]:
                    await asyncio.sleep(0.02)
            assert answer.status_code == 503
            assert (await post(client, clip)).status_code == 503
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    await make_done(settings, clip)  # the lock went with its holder


async def test_a_deletion_that_a_kill_broke_off_is_ended(settings: Settings, clip: bytes) -> None:
    job_id = await make_done(settings, clip)
    folder = settings.jobs_dir / job_id
    folder.rename(folder.with_name(job_id + DELETED))
    (folder.with_name(job_id + DELETED) / "job.json").unlink()
    async with serve(settings, PaintedDetector()):
        pass
    assert list_files(settings) == []
    folder.mkdir()
    delete_folder(folder)
    delete_folder(folder)
    assert [each.name for each in settings.jobs_dir.iterdir()] == [".lock"]


async def test_a_finished_result_survives_a_kill_before_its_source_is_gone(settings: Settings, clip: bytes) -> None:
    job_id = await make_done(settings, clip)
    folder = settings.jobs_dir / job_id
    for name in ("source", ".result.mp4.part", ".job.json.part"):
        (folder / name).write_bytes(clip)
    result = (folder / "result.mp4").read_bytes()
    async with serve(settings, PaintedDetector()) as client:
        assert (await client.get(f"/jobs/{job_id}/result")).content == result
    assert list_files(settings) == [f"{job_id}/job.json", f"{job_id}/result.mp4"]


async def test_ids_stay_out_of_the_log(settings: Settings, clip: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        job_id = await make_done(settings, clip)
    assert "video job done frames=12" in caplog.text
    assert job_id not in "".join(each.getMessage() for each in caplog.records if each.name.startswith("service.media"))
