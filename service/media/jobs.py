"""Video jobs: kept on disk, so that they outlive the process that runs them.

A job that a stopped service left unfinished begins again when the next one is loaded.
"""

import asyncio
import logging
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from service.errors import JobStateError, NotReadyError, QueueFullError, StorageError, UnknownJobError
from service.inference.face_service import FaceService
from service.media.clip_renderer import Progress, RenderOptions, render_clip
from service.media.film import FilmOptions, FilmOrder, render_film
from service.media.job_folder import (
    RECORD,
    RESULT,
    SOURCE,
    JobFolder,
    JobRecord,
    JobState,
    delete_folder,
    keep_files,
    save_record,
)
from service.media.video_process import VideoLimits, VideoProcess
from service.settings import Settings
from shared.documents import write_document
from shared.errors import LandmarkGANError

logger = logging.getLogger(__name__)

GONE = "The result was deleted from the jobs folder."
MOST_STARTS = 3  # a clip that ends its service each time is not tried for ever
SWEEP_SECONDS = 60.0


class Job:
    """A record, its folder, and what is known of it only while it runs."""

    def __init__(self, record: JobRecord, folder: Path) -> None:
        self.record, self.folder = record, folder
        self.progress = Progress(record.frames, record.frames or None, record.without_face)
        self.began: float | None = None
        self.concluding = False  # there is nothing to cancel any more
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
        self._folder = JobFolder(settings.jobs_dir)
        self._running = asyncio.Semaphore(settings.jobs_at_once)
        self._opening = asyncio.Lock()  # a file that lies may take memory before it is found out: one at a time
        self._face_service: FaceService | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, face_service: FaceService) -> None:
        """Take up what an earlier process left. Raises StartError where another service has the folder."""
        await asyncio.to_thread(self._folder.lock)
        self._face_service = face_service
        for job in await asyncio.to_thread(_load_jobs, self._folder):
            self._jobs[job.record.id] = job
            if not job.ended:
                job.task = asyncio.create_task(self._run(job, face_service))
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop what runs; the records stay as they are, for the next process."""
        self._face_service = None
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        tasks += [self._sweeper] if self._sweeper is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._folder.close()

    async def submit(self, upload: BinaryIO, options: RenderOptions) -> Job:
        """A new job of a clip, which begins when there is room.

        Raises QueueFullError, StorageError, what opening the video raises, and the errors of `FaceService.find_target`.
        """
        if self._face_service is None:
            raise NotReadyError("The service is shutting down.")
        target = self._face_service.find_target(options.target)
        self._face_service.need_detector()
        options = options.model_copy(update={"target": target.manifest.target})  # whatever the default is tomorrow

        async def take(job: Job) -> None:
            await asyncio.to_thread(_store_upload, upload, job)
            async with self._opening:
                await asyncio.to_thread(_check_upload, job, self.limits)

        return await self._begin(options, take)

    async def submit_film(self, order: FilmOrder) -> Job:
        """A new job of keyframes. Raises LandmarksError, and what `submit` raises."""
        if self._face_service is None:
            raise NotReadyError("The service is shutting down.")
        target = self._face_service.find_target(order.target)
        order.place(target)
        order = order.model_copy(update={"target": target.manifest.target})
        options = FilmOptions.model_validate(order.model_dump(exclude={"keyframes"}))
        job = await self._begin(options, lambda job: asyncio.to_thread(_take_order, order, job))
        job.progress.total = order.count_frames()
        return job

    async def _begin(self, options: RenderOptions | FilmOptions, take: Callable[[Job], Awaitable[None]]) -> Job:
        assert self._face_service is not None
        if sum(not job.ended for job in self._jobs.values()) >= self.settings.jobs_at_once + self.settings.jobs_waiting:
            raise QueueFullError("As many video jobs are waiting as may wait; try again later.")
        record = JobRecord(id=secrets.token_hex(16), options=options, created=time.time())
        job = Job(record, self.settings.jobs_dir / record.id)
        self._jobs[record.id] = job  # counted from here on
        try:
            await take(job)
        except BaseException:
            del self._jobs[record.id]
            await asyncio.shield(asyncio.to_thread(delete_folder, job.folder))
            raise
        if self._face_service is not None:  # else it is the next process's
            job.task = asyncio.create_task(self._run(job, self._face_service))
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
        if not (job.folder / RESULT).is_file():
            raise JobStateError(GONE, "A result that is still there.")
        return job, job.folder / RESULT

    async def cancel(self, job_id: str) -> Job:
        """End a job, and give its room back; one that has ended stays as it is. Raises UnknownJobError."""
        job = self.find(job_id)
        if job.task is not None:
            if not job.ended and not job.concluding:
                job.record = job.record.model_copy(update={"state": "cancelled", "ended": time.time()})
                job.task.cancel()
            await asyncio.wait([job.task])  # whoever asks again waits too, until its files are gone
        return job

    async def remove(self, job_id: str) -> None:
        """End a job and delete all of it; two may ask for it at the same time. Raises UnknownJobError."""
        job = await self.cancel(job_id)
        self._jobs.pop(job_id, None)
        await asyncio.to_thread(delete_folder, job.folder)

    async def _run(self, job: Job, face_service: FaceService) -> None:
        try:
            async with self._running:
                ended = await self._film(job, face_service)
        except asyncio.CancelledError:
            if not job.ended:  # the service ends, in peace: a start that it made does not count
                starts = job.record.starts - (job.began is not None)
                job.record = job.record.model_copy(update={"state": "waiting", "starts": starts})
            await asyncio.shield(asyncio.to_thread(_settle, job.folder, job.record))
            raise
        job.concluding = True
        await asyncio.shield(asyncio.to_thread(_settle, job.folder, ended))
        job.record = ended  # told to nobody before it is on disk: what a client saw finished survives any kill
        logger.info("video job %s frames=%d", ended.state, ended.frames)  # its id opens it, and stays out of the log

    async def _film(self, job: Job, face_service: FaceService) -> JobRecord:
        if job.record.starts >= MOST_STARTS:
            why = f"The service stopped {MOST_STARTS} times while this job ran; it is not tried again."
            return _end(job, "failed", why)
        job.record = job.record.model_copy(update={"state": "running", "starts": job.record.starts + 1})
        job.began = time.monotonic()

        def tell(progress: Progress) -> None:
            job.progress = progress

        try:
            target = face_service.find_target(job.record.options.target)
            job.record = job.record.model_copy(update={"bundle": target.bundle, "consent": target.consent})
            await asyncio.to_thread(save_record, job.record, job.folder)
            source, result = job.folder / SOURCE, job.folder / RESULT
            if isinstance(job.record.options, FilmOptions):
                order = FilmOrder.model_validate_json(await asyncio.to_thread(source.read_bytes))
                await render_film(face_service, target, order, result, tell)
            else:
                await render_clip(face_service, target, source, result, job.record.options, self.limits, tell)
        except LandmarkGANError as error:
            expected = getattr(error, "expected", None)
            return _end(job, "failed", " ".join(filter(None, (str(error), expected))))
        except Exception:
            logger.exception("a video job failed")
            return _end(job, "failed", "This is a fault of the service; its log has the details.")
        return _end(job, "done")

    async def _sweep(self) -> None:
        """Delete what was kept long enough."""
        while True:
            oldest = time.time() - self.settings.job_keep_seconds
            for job in list(self._jobs.values()):
                if job.record.ended is not None and job.record.ended < oldest:
                    with suppress(UnknownJobError):  # somebody else has deleted it meanwhile
                        await self.remove(job.record.id)
            await asyncio.sleep(min(SWEEP_SECONDS, self.settings.job_keep_seconds / 2))


def _load_jobs(folder: JobFolder) -> list[Job]:
    jobs = [Job(record, path) for record, path in folder.load()]
    for job in jobs:
        if job.record.state == "done" and not (job.folder / RESULT).is_file():
            job.record = _end(job, "failed", GONE)
        elif not job.ended and not (job.folder / SOURCE).is_file():
            job.record = _end(job, "failed", "The uploaded video was deleted from the jobs folder.")
        _settle(job.folder, job.record)  # what a process that was killed left beside
    return jobs


def _store_upload(upload: BinaryIO, job: Job) -> None:
    try:
        job.folder.mkdir(mode=0o700, parents=True)
        with (job.folder / SOURCE).open("xb") as file:
            shutil.copyfileobj(upload, file)
    except OSError as error:
        raise StorageError.of(error) from error


def _check_upload(job: Job, limits: VideoLimits) -> None:
    """Open what was stored; a record makes it a job that outlives this process."""
    assert isinstance(job.record.options, RenderOptions)
    process = VideoProcess(job.folder / SOURCE, limits, job.record.options.stretch)
    try:
        job.progress.total = process.open().frames
    finally:
        process.close()
    save_record(job.record, job.folder)


def _take_order(order: FilmOrder, job: Job) -> None:
    """Store what a film is made of, and the job's record; or nothing."""
    try:
        job.folder.mkdir(mode=0o700, parents=True)
        write_document(order, job.folder / SOURCE)
        write_document(job.record, job.folder / RECORD)
    except OSError as error:
        raise StorageError.of(error) from error


def _end(job: Job, state: JobState, error: str | None = None) -> JobRecord:
    ended = {"state": state, "error": error, "ended": time.time()}
    counts = {"frames": job.progress.frames, "without_face": job.progress.without_face}
    return job.record.model_copy(update=ended | counts)


def _settle(folder: Path, record: JobRecord) -> None:
    """Leave on disk what a job's state needs, its record first: a kill in between leaves too much, never too little.

    A record that can't be written holds in memory all the same.
    """
    kept = {RECORD} if record.ended is not None else {RECORD, SOURCE}
    if record.state == "done":
        kept.add(RESULT)
    try:
        save_record(record, folder)
        keep_files(folder, kept)
    except (OSError, StorageError) as error:
        logger.error("a video job's folder: %s", error)
