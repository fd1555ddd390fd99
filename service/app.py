"""The application, made from its settings and parts."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service import __version__
from service.api.access_log import AccessLog
from service.api.admission import Admission
from service.api.connection import BodyLimit
from service.api.job_routes import router as job_router
from service.api.open_inference import router as inference_router
from service.api.openapi import DocumentedAPI
from service.api.pages import install_pages, list_pages
from service.api.problems import install_handlers
from service.api.routes import router
from service.api.stream import Streams
from service.api.stream import router as stream_router
from service.api.stream_messages import PROTOCOL
from service.api.tracing import install_tracing
from service.errors import StartError
from service.lifecycle import Lifecycle, follow_bundles, load_face_service, open_bundle_folder
from service.media.jobs import Jobs
from service.metrics import Metrics, StateCollector
from service.settings import Settings
from shared.detectors import LandmarkDetector

logger = logging.getLogger(__name__)

DESCRIPTION = (
    "Anyone's landmarks or picture in, a trained target's face out, with that expression and pose. Errors are "
    "application/problem+json.\n"
)
EXPOSED = (
    *("ETag", "Location", "Retry-After", "Server-Timing", "X-Request-ID"),
    *("X-LandmarkGAN-Target", "X-LandmarkGAN-Bundle", "X-LandmarkGAN-Consent"),
)


def create_app(settings: Settings, detector: LandmarkDetector | None = None) -> FastAPI:
    """The service. Without a `detector`, the one that the settings name is loaded with the targets.

    It answers at once, and is ready when `/readyz` says so; only where a GPU is required does the start wait for the
    targets, so that a missing GPU is a failed start. Raises StartError where traces are wanted and can't be made.
    """
    lifecycle, jobs = Lifecycle(), Jobs(settings)
    app = DocumentedAPI(
        title="LandmarkGAN",
        version=__version__,
        description=DESCRIPTION + PROTOCOL,
        lifespan=lambda _: _live(lifecycle, jobs, settings, detector),
        docs_url=None,  # FastAPI's pages load scripts from a foreign host; ours is service/web/docs.html
        redoc_url=None,
    )
    app.state.lifecycle = lifecycle
    app.state.streams = streams = Streams(settings.max_streams)
    app.state.jobs = jobs
    app.state.metrics = metrics = Metrics(StateCollector(lifecycle, jobs, streams))
    app.include_router(router)
    app.include_router(stream_router)
    app.include_router(job_router)
    app.include_router(inference_router)
    install_pages(app)
    install_handlers(app)
    app.add_middleware(
        BodyLimit,
        max_json_bytes=settings.max_json_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        max_video_bytes=settings.max_video_bytes,
    )
    app.add_middleware(Admission, settings=settings, pages=list_pages())
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
            expose_headers=EXPOSED,
        )
    app.add_middleware(AccessLog, metrics=metrics)
    install_tracing(app)
    return app


@asynccontextmanager
async def _live(
    lifecycle: Lifecycle, jobs: Jobs, settings: Settings, detector: LandmarkDetector | None
) -> AsyncIterator[None]:
    loading = asyncio.create_task(_load(lifecycle, jobs, settings, detector))
    if settings.require_gpu or settings.workers != 1:
        await loading  # a worker that shares its port takes requests once it can answer them
    try:
        yield
    finally:
        lifecycle.draining = True
        await asyncio.gather(loading, return_exceptions=True)
        if lifecycle.following is not None:
            lifecycle.following.cancel()
            await asyncio.gather(lifecycle.following, return_exceptions=True)
        await jobs.close()
        if lifecycle.face_service is not None:
            await asyncio.to_thread(lifecycle.face_service.close)


async def _load(lifecycle: Lifecycle, jobs: Jobs, settings: Settings, detector: LandmarkDetector | None) -> None:
    try:
        bundles = open_bundle_folder(settings)
        face_service = await asyncio.to_thread(load_face_service, settings, detector, bundles)
        await jobs.start(face_service)
    except StartError as error:
        lifecycle.failure = " ".join(filter(None, (str(error), error.expected)))
        logger.error("loading failed: %s", lifecycle.failure)
        raise
    except Exception:
        lifecycle.failure = "Loading failed; the service's log has the reason."
        logger.exception("loading failed")
        raise
    lifecycle.face_service = face_service
    lifecycle.following = asyncio.create_task(follow_bundles(face_service, bundles))
    logger.info("ready: %d targets", len(face_service.catalogue.targets))
