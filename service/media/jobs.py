"""Video jobs: one folder each under `jobs_dir`, so that they outlive the process that runs them.

``<id>/job.json`` is the record, written beside and renamed; ``source`` the upload or the keyframes, gone when the job
has ended; ``result.mp4`` what was made, whatever its format. A job that a stopped service left unfinished begins again
when the next one is loaded.
"""

import asyncio
import logging
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from service.errors import JobStateError, QueueFullError, StorageError, UnknownJobError
from service.inference.face_service import FaceService
from service.media.clip_renderer import Progress, RenderOptions, render_clip
from service.media.film import FilmOptions, FilmOrder, render_film
from service.media.video import VideoLimits, VideoReader, explain_storage
from service.settings import Settings
from shared.documents import write_document
from shared.errors import LandmarkGANError

logger = logging.getLogger(__name__)

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]

RECORD, SOURCE, RESULT = "job.json", "source", "result.mp4"
JOB_ID = re.compile(r"[0-9a-f]{32}")
MOST_STARTS = 3  # a clip that ends its service each time is not tried for ever
SWEEP_SECONDS = 60.0


class JobRecord(BaseModel):
    """``job.json``. Times are seconds since the epoch; `error` says in words why a job failed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    options: RenderOptions | FilmOptions
    state: JobState = "waiting"
    created: float
    ended: float | None = None
    starts: int = 0
    frames: int = 0
    without_face: int = 0
    error: str | None = None


class Job:
    """A record, its folder, and what is known of it only while it runs."""

    def __init__(self, record: JobRecord, folder: Path) -> None:
        self.record, self.folder = record, folder
        self.progress = Progress(record.frames, record.frames or None, record.without_face)
        self.began: float | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.record.state in ("done", "failed", "cancelled")

    def estimate_rest(self) -> float | None:
        """Seconds until it is done, at the speed so far; None where that is not known."""
        if self.began is None or not self.progress.frames or self.progress.total is None:
            return None
        spent = time.monotonic() - self.began
        return spent / self.progress.frames * max(0, self.progress.total - self.progress.frames)


class Jobs:
    """All jobs. Its methods run on the event loop and leave it free."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits = VideoLimits(settings.max_video_seconds, settings.max_video_pixels)
        self._jobs: dict[str, Job] = {}
        self._running = asyncio.Semaphore(settings.jobs_at_once)
        self._studio: FaceService | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, face_service: FaceService) -> None:
        """PlayedFrame up what an earlier process left."""
        self._studio = face_service
        for job in await asyncio.to_thread(load_jobs, self.settings.jobs_dir):
            self._jobs[job.record.id] = job
            if not job.ended:
                job.task = asyncio.create_task(self._run(job, face_service))
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop what runs; the records stay as they are, for the next process."""
        self._studio = None
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        tasks += [self._sweeper] if self._sweeper is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def submit(self, upload: BinaryIO, options: RenderOptions) -> Job:
        """A new job of a clip, which begins when there is room.

        Raises QueueFullError, StorageError, what opening the video raises, and the errors of `FaceService.find_target`.
        """
        assert self._studio is not None
        target = self._studio.find_target(options.target)
        self._studio.need_detector()
        options = options.model_copy(update={"target": target.manifest.target})  # whatever the default is tomorrow
        return await self._begin(options, lambda job: _take_upload(upload, job, self.limits))

    async def submit_film(self, order: FilmOrder) -> Job:
        """A new job of keyframes. Raises LandmarksError, and what `submit` raises."""
        assert self._studio is not None
        target = self._studio.find_target(order.target)
        order.place(target)
        order = order.model_copy(update={"target": target.manifest.target})
        options = FilmOptions.model_validate(order.model_dump(exclude={"keyframes"}))
        job = await self._begin(options, lambda job: _take_order(order, job))
        job.progress.total = order.count_frames()
        return job

    async def _begin(self, options: RenderOptions | FilmOptions, take: Callable[[Job], None]) -> Job:
        assert self._studio is not None
        if sum(not job.ended for job in self._jobs.values()) >= self.settings.jobs_at_once + self.settings.jobs_waiting:
            raise QueueFullError("As many video jobs are waiting as may wait; try again later.")
        record = JobRecord(id=secrets.token_hex(16), options=options, created=time.time())
        job = Job(record, self.settings.jobs_dir / record.id)
        self._jobs[record.id] = job  # counted from here on
        try:
            await asyncio.to_thread(take, job)
        except BaseException:
            del self._jobs[record.id]
            raise
        job.task = asyncio.create_task(self._run(job, self._studio))
        return job

    def count_states(self) -> Counter[JobState]:
        """How many jobs are in each state."""
        return Counter(job.record.state for job in self._jobs.values())

    def find(self, job_id: str) -> Job:
        """Raises UnknownJobError."""
        if job_id not in self._jobs:
            raise UnknownJobError("There is no job of this id, or no longer.", "The id of a job that was not deleted.")
        return self._jobs[job_id]

    def find_result(self, job_id: str) -> tuple[Job, Path]:
        """A finished job's video. Raises UnknownJobError and JobStateError."""
        job = self.find(job_id)
        if job.record.state != "done":
            why = f": {job.record.error}" if job.record.error else "."
            raise JobStateError(f"The job has no result, it is {job.record.state}{why}", "A job whose state is done.")
        return job, job.folder / RESULT

    async def cancel(self, job_id: str) -> Job:
        """End a job, and give its room back; one that has ended stays as it is. Raises UnknownJobError."""
        job = self.find(job_id)
        if not job.ended and job.task is not None:
            job.record = job.record.model_copy(update={"state": "cancelled", "ended": time.time()})
            job.task.cancel()
            await asyncio.gather(job.task, return_exceptions=True)
        return job

    async def remove(self, job_id: str) -> None:
        """End a job and delete all of it. Raises UnknownJobError."""
        job = await self.cancel(job_id)
        del self._jobs[job_id]
        await asyncio.to_thread(shutil.rmtree, job.folder, ignore_errors=True)

    async def _run(self, job: Job, face_service: FaceService) -> None:
        try:
            async with self._running:
                await self._film(job, face_service)
        except asyncio.CancelledError:
            if not job.ended:  # the service ends, in peace: this start does not count
                starts = max(0, job.record.starts - 1)
                job.record = job.record.model_copy(update={"state": "waiting", "starts": starts})
            raise
        finally:
            await asyncio.shield(asyncio.to_thread(_settle, job))

    async def _film(self, job: Job, face_service: FaceService) -> None:
        if job.record.starts >= MOST_STARTS:
            _end(job, "failed", f"The service stopped {MOST_STARTS} times while this job ran; it is not tried again.")
            return
        job.record = job.record.model_copy(update={"state": "running", "starts": job.record.starts + 1})
        job.began = time.monotonic()

        def tell(progress: Progress) -> None:
            job.progress = progress

        try:
            await asyncio.to_thread(save_record, job)
            source, result = job.folder / SOURCE, job.folder / RESULT
            if isinstance(job.record.options, FilmOptions):
                order = FilmOrder.model_validate_json(await asyncio.to_thread(source.read_bytes))
                await render_film(face_service, order, result, tell)
            else:
                await render_clip(face_service, source, result, job.record.options, self.limits, tell)
        except LandmarkGANError as error:
            expected = getattr(error, "expected", None)
            _end(job, "failed", " ".join(filter(None, (str(error), expected))))
        except Exception:
            logger.exception("job %s failed", job.record.id)
            _end(job, "failed", "This is a fault of the service; its log has the details.")
        else:
            _end(job, "done")
        logger.info("job %s %s frames=%d", job.record.id, job.record.state, job.record.frames)

    async def _sweep(self) -> None:
        """Delete what was kept long enough."""
        while True:
            oldest = time.time() - self.settings.job_keep_seconds
            for job in list(self._jobs.values()):
                if job.record.ended is not None and job.record.ended < oldest:
                    await self.remove(job.record.id)
            await asyncio.sleep(min(SWEEP_SECONDS, self.settings.job_keep_seconds / 2))


def load_jobs(folder: Path) -> list[Job]:
    """The jobs of a folder, the oldest first. What a crash left half made is removed; other files are left alone."""
    jobs: list[Job] = []
    for each in folder.iterdir() if folder.is_dir() else ():
        if not JOB_ID.fullmatch(each.name):
            continue
        try:
            job = Job(JobRecord.model_validate_json((each / RECORD).read_bytes()), each)
        except (OSError, ValidationError):
            logger.warning("job %s was never whole; it is removed", each.name)
            shutil.rmtree(each, ignore_errors=True)
            continue
        if job.record.state == "done" and not (each / RESULT).is_file():
            _end(job, "failed", "The result was deleted from the jobs folder.")
        elif not job.ended and not (each / SOURCE).is_file():
            _end(job, "failed", "The uploaded video was deleted from the jobs folder.")
        jobs.append(job)
    return sorted(jobs, key=lambda job: job.record.created)


def save_record(job: Job) -> None:
    """Write the record whole or not at all. Raises StorageError."""
    try:
        write_document(job.record, job.folder / RECORD)
    except OSError as error:
        raise explain_storage(error) from error


def _take_upload(upload: BinaryIO, job: Job, limits: VideoLimits) -> None:
    """Store an upload that can be opened, and its record; or nothing."""
    try:
        try:
            job.folder.mkdir(mode=0o700, parents=True)
            with (job.folder / SOURCE).open("xb") as file:
                shutil.copyfileobj(upload, file)
        except OSError as error:
            raise explain_storage(error) from error
        reader = VideoReader(job.folder / SOURCE, limits)
        job.progress.total = reader.facts.frames
        reader.close()
        save_record(job)
    except BaseException:
        shutil.rmtree(job.folder, ignore_errors=True)
        raise


def _take_order(order: FilmOrder, job: Job) -> None:
    """Store what a film is made of, and the job's record; or nothing."""
    try:
        job.folder.mkdir(mode=0o700, parents=True)
        write_document(order, job.folder / SOURCE)
        write_document(job.record, job.folder / RECORD)
    except OSError as error:
        shutil.rmtree(job.folder, ignore_errors=True)
        raise explain_storage(error) from error


def _end(job: Job, state: JobState, error: str | None = None) -> None:
    ended = {"state": state, "error": error, "ended": time.time()}
    counts = {"frames": job.progress.frames, "without_face": job.progress.without_face}
    job.record = job.record.model_copy(update=ended | counts)


def _settle(job: Job) -> None:
    """Leave on disk what the job's state needs. A record that can't be written holds in memory all the same."""
    kept = {RECORD} if job.ended else {RECORD, SOURCE}
    if job.record.state == "done":
        kept.add(RESULT)
    try:
        for each in job.folder.iterdir():
            if each.name not in kept:
                each.unlink()
        save_record(job)
    except (OSError, StorageError) as error:
        logger.error("job %s: %s", job.record.id, error)
