"""What is asked of any replica about video jobs is answered by the one that has them."""

from typing import Any

from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.connection import VIDEO_PATH
from service.api.problems import Kind, answer_error, make_problem
from service.errors import NotReadyError

ASKED = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path", "headers")
FORM_BYTES = 1024 * 1024  # of a form, beside its video
NOT_HERE = Kind(501, "not-on-a-cluster", "This is not there on a cluster")


class JobRelay:
    """ASGI application around the replica's own. An upload is in memory while it is handed on."""

    def __init__(self, app: ASGIApp, jobs: DeploymentHandle[Any], max_video_bytes: int) -> None:
        self.app = app
        self.limit = max_video_bytes + FORM_BYTES
        self.answer: Any = jobs.options(method_name="answer", stream=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/metrics":
            await make_problem(
                NOT_HERE,
                "Each replica counts for itself, and this one's counts are not the service's.",
                "Ray's own metrics, on the port for metrics of every node.",
            )(scope, receive, send)
        elif scope["type"] == "http" and is_of_jobs(scope["path"]):
            await self._relay(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive, self.limit)
        asked: dict[str, Any] = {name: scope[name] for name in ASKED if name in scope}
        asked |= {name: tuple(scope[name]) for name in ("client", "server") if scope.get(name)}
        try:
            async for message in self.answer.remote(asked, body):
                await send(message)
        except RayError:
            words = "The replica that keeps the video jobs is being started anew; ask again in a moment."
            await answer_error(NotReadyError(words))(scope, receive, send)


def is_of_jobs(path: str) -> bool:
    """Whether a path is one of the job's routes."""
    return path in (VIDEO_PATH, "/animate") or path.startswith("/jobs/")


async def read_body(receive: Receive, limit: int) -> bytes:
    """The body, or as much of it as shows that it is too large."""
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    return b"".join(parts)
