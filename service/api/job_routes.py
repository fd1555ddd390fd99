"""The endpoints of video jobs: a clip or keyframes in, a job's state while it runs, the video out."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from service.api.connection import VIDEO_PATH
from service.api.routes import MULTIPART, get_lifecycle, require_form, require_json
from service.inference.face_player import Layout
from service.lifecycle import Lifecycle
from service.media.clip_renderer import RenderOptions
from service.media.film import MEDIA_TYPES, FilmOptions, FilmOrder
from service.media.job_folder import JobState
from service.media.jobs import Job, Jobs


class VideoForm(RenderOptions):
    """A clip, and what to make of it."""

    video: UploadFile = Field(description="A video file: MP4, WebM, MKV, MOV, AVI.")


class JobOut(BaseModel):
    """How a job is."""

    id: str
    state: JobState = Field(description="waiting and running go on; done, failed and cancelled have ended.")
    target: str
    layout: Layout | None = Field(description="Of a clip; a film of keyframes has none.")
    frames: int = Field(description="Frames made.")
    total: int | None = Field(description="Frames that there are, as far as the file tells.")
    progress: float | None = Field(description="From 0 to 1.")
    without_face: int = Field(description="Frames in which the face was not to be seen.")
    eta_seconds: float | None = Field(description="Until it is done, at the speed so far.")
    bundle: str | None = Field(description="SHA-256 of the bundle that makes the video, once it has begun.")
    error: str | None = Field(description="Why it failed, in words.")
    created: float = Field(description="Seconds since the epoch, as `ended` and `expires`.")
    ended: float | None
    expires: float | None = Field(description="When the job and its video are deleted.")
    result: str | None = Field(description="Path of the video, once it is done.")

    @classmethod
    def of(cls, job: Job, keep_seconds: float) -> "JobOut":
        """The same job."""
        record, progress = job.record, job.progress
        rest = job.estimate_rest() if record.state == "running" else None
        share = None if progress.total is None else min(1.0, progress.frames / max(1, progress.total))
        return cls(
            id=record.id,
            state=record.state,
            target=record.options.target or "",
            layout=None if isinstance(record.options, FilmOptions) else record.options.layout,
            frames=progress.frames,
            total=progress.total,
            progress=1.0 if record.state == "done" else share,
            without_face=progress.without_face,
            eta_seconds=None if rest is None else round(rest, 1),
            bundle=record.bundle,
            error=record.error,
            created=record.created,
            ended=record.ended,
            expires=None if record.ended is None else record.ended + keep_seconds,
            result=f"/jobs/{record.id}/result" if record.state == "done" else None,
        )


async def get_jobs(request: Request, lifecycle: Annotated[Lifecycle, Depends(get_lifecycle)]) -> Jobs:
    """The jobs, once they are loaded. Raises NotReadyError."""
    lifecycle.need_face_service()
    jobs = request.app.state.jobs
    assert isinstance(jobs, Jobs)
    return jobs


JobsDep = Annotated[Jobs, Depends(get_jobs)]

router = APIRouter(tags=["video"])


@router.post(VIDEO_PATH, status_code=202, dependencies=[Depends(require_form)])
async def reenact_video(form: Annotated[VideoForm, MULTIPART], jobs: JobsDep, response: Response) -> JobOut:
    """Anyone's clip to the target's face in an MP4, as a job."""
    options = RenderOptions.model_validate(form.model_dump(exclude={"video"}))
    job = await jobs.submit(form.video.file, options)
    response.headers["Location"] = f"/jobs/{job.record.id}"
    return show(job, jobs, response)


@router.post("/animate", status_code=202, dependencies=[Depends(require_json)])
async def animate(order: Annotated[FilmOrder, Body()], jobs: JobsDep, response: Response) -> JobOut:
    """Keyframes to a film of the target's face, as a job: landmarks at moments, and all that lies between them."""
    job = await jobs.submit_film(order)
    response.headers["Location"] = f"/jobs/{job.record.id}"
    return show(job, jobs, response)


@router.get("/jobs/{job_id}")
async def show_job(job_id: str, jobs: JobsDep, response: Response) -> JobOut:
    """How a job is."""
    return show(jobs.find(job_id), jobs, response)


@router.post("/jobs/{job_id}/cancel")
async def cancel_job(job_id: str, jobs: JobsDep, response: Response) -> JobOut:
    """End a job; one that has ended already stays as it is."""
    return show(await jobs.cancel(job_id), jobs, response)


@router.delete("/jobs/{job_id}", status_code=204)
async def delete_job(job_id: str, jobs: JobsDep) -> None:
    """End a job and delete it with its video."""
    await jobs.remove(job_id)


@router.get("/jobs/{job_id}/result", response_class=FileResponse)
async def show_result(job_id: str, jobs: JobsDep) -> FileResponse:
    """A finished job's video, whole or in ranges."""
    job, path = jobs.find_result(job_id)
    target = job.record.options.target or ""
    headers = {"X-LandmarkGAN-Target": target, "Cache-Control": "private, no-store"}
    if job.record.bundle is not None and job.record.consent is not None:  # else by a version that did not keep them
        headers |= {"X-LandmarkGAN-Bundle": job.record.bundle, "X-LandmarkGAN-Consent": job.record.consent}
    options = job.record.options
    ending = options.format if isinstance(options, FilmOptions) else "mp4"
    name = f"{target}-{job_id[:8]}.{ending}"
    return FileResponse(path, headers=headers, media_type=MEDIA_TYPES[ending], filename=name)


def show(job: Job, jobs: Jobs, response: Response) -> JobOut:
    """The job's answer; while it goes on, with the seconds after which to ask again."""
    response.headers["Cache-Control"] = "no-store"
    if not job.ended:
        response.headers["Retry-After"] = "1"
    return JobOut.of(job, jobs.settings.job_keep_seconds)
