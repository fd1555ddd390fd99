"""What runs where: replicas of the application, and the one that keeps the video jobs for all of them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp, Message, Scope

from service.app import create_app
from service.cluster.bundle_mirror import BundleMirror
from service.cluster.job_relay import JobRelay
from service.lifecycle import Lifecycle
from service.logs import configure_logging
from service.settings import Settings
from shared.store import Store, is_url

LOADING_SECONDS = 0.05  # between two looks at whether loading is over
RETRY_SECONDS = 1.0
HEALTH_SECONDS = 2.0
QUIET = {"enable_access_log": False, "log_level": "WARNING"}  # the application's own log says more


class ClusterOptions(BaseModel):
    """What `args` of ``serve.yaml`` may hold. The variables LANDMARKGAN_* of a node count besides."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Any] = Field(default={}, description="Settings by name, such as default_target.")
    models: str | None = Field(
        default=None, description="A folder that every node has, or a URL such as s3://b/models."
    )
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    cpus: int = Field(default=1, ge=1, description="Of a replica: so many threads run its networks.")
    jobs_cpus: int = Field(default=0, ge=0, description="Of the replica that makes videos; 0: what the others leave.")
    target_ongoing: float = Field(default=4, gt=0, description="Requests a replica, above which there will be more.")


class Replica:
    """The application with its bundles, in one process. Serve calls `check_health`, from the start on."""

    def __init__(self, options: ClusterOptions, own_jobs: bool) -> None:
        self.options, self.own_jobs = options, own_jobs
        self.folder = tempfile.TemporaryDirectory(prefix="landmarkgan-")
        self.settings, self.mirror = self._find_settings(Path(self.folder.name))
        configure_logging(self.settings.log_level, self.settings.log_format)
        if self.mirror is not None:
            self.mirror.start()
        self.application = create_app(self.settings)

    def _find_settings(self, folder: Path) -> tuple[Settings, BundleMirror | None]:
        changes: dict[str, Any] = {"threads": self.options.cpus} | self.options.settings
        mirror = None
        if self.options.models is not None:
            changes["models_dir"] = self.options.models
            if is_url(self.options.models):
                changes["models_dir"] = folder / "models"
                mirror = BundleMirror(Store(self.options.models), folder / "models")
        if not self.own_jobs:
            changes["jobs_dir"] = folder / "jobs"  # never asked for: jobs are another replica's
        return Settings(**changes), mirror

    async def check_health(self) -> None:
        """Wait for the targets: no request comes before. Raises LoadFailedError, and Serve starts another."""
        lifecycle: Lifecycle = self.application.state.lifecycle
        while lifecycle.face_service is None and lifecycle.failure is None:
            await asyncio.sleep(LOADING_SECONDS)
        lifecycle.check_alive()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.mirror is not None:
            self.mirror.close()
        self.folder.cleanup()


class Faces(Replica):
    """One of many: everything but the video jobs."""

    def __init__(self, options: ClusterOptions, jobs: DeploymentHandle[Any]) -> None:
        super().__init__(options, own_jobs=False)
        self.jobs = jobs

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return JobRelay(self.application, self.jobs, self.settings.max_video_bytes)

    def __del__(self) -> None:
        self.close()


class Jobs(Replica):
    """The only one: its folder of jobs must outlive it, on a disk that every node has."""

    def __init__(self, options: ClusterOptions) -> None:
        super().__init__(options, own_jobs=True)
        self.living = self.application.router.lifespan_context(self.application)
        self.entered = False

    async def check_health(self) -> None:
        """As of the others; it is no ingress, whose lifespan Serve itself begins."""
        if not self.entered:
            self.entered = True
            await self.living.__aenter__()
        await super().check_health()

    async def answer(self, scope: Scope, body: bytes) -> AsyncIterator[Message]:
        """The messages of the answer to one HTTP request."""
        messages: asyncio.Queue[Message] = asyncio.Queue()
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if not pending:
                await asyncio.Event().wait()  # whoever asked hangs up by cancelling this answer
            return pending.pop()

        task = asyncio.create_task(self.application(scope, receive, messages.put))
        task.add_done_callback(lambda _: messages.put_nowait({"type": "end"}))
        try:
            while (message := await messages.get())["type"] != "end":
                yield message
            await task
        finally:
            task.cancel()

    async def __del__(self) -> None:
        if self.entered:
            await self.living.__aexit__(None, None, None)
        self.close()


def build(options: ClusterOptions) -> Application:
    """The application for Serve; ``serve.yaml`` names this function."""
    settings = Settings(**options.settings)
    seconds = settings.deadline_seconds + RETRY_SECONDS
    shared: dict[str, Any] = {"logging_config": QUIET, "graceful_shutdown_timeout_s": seconds}
    shared |= {
        "health_check_period_s": HEALTH_SECONDS,
        "max_ongoing_requests": settings.queue_size + settings.max_streams,
    }
    ingress: Any = serve.ingress()(Faces)
    faces: Any = serve.deployment(
        name="Faces",
        max_queued_requests=settings.queue_size,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=RETRY_SECONDS),
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.min_replicas,
            max_replicas=max(options.min_replicas, options.max_replicas),
            target_ongoing_requests=options.target_ongoing,
        ),
        ray_actor_options={"num_cpus": options.cpus},
        **shared,
    )(ingress)
    keeper: Any = Jobs
    jobs: Any = serve.deployment(name="Jobs", ray_actor_options={"num_cpus": options.jobs_cpus}, **shared)(keeper)
    application: Application = faces.bind(options, jobs.bind(options))
    return application
