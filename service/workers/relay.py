"""What a worker can't answer alone: video jobs are the keeper's, and counts are all workers' together.

Each worker listens on a Unix socket besides, where the others reach it.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.connection import VIDEO_PATH
from service.api.problems import answer_error
from service.errors import NotReadyError

KEEPER = 0
"""The worker that has the jobs folder."""

HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"})
ABSENT = "The process that keeps the video jobs is being started anew; ask again in a moment."


class Relay:
    """ASGI application around a worker's own; `sockets` are all workers', in their order."""

    def __init__(self, app: ASGIApp, number: int, sockets: Sequence[Path]) -> None:
        self.app, self.number = app, number
        # Nobody waits for a worker longer than a client waits for this one: what reads a body has no time limit here.
        self.peers = [
            httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), timeout=None, trust_env=False)
            for path in sockets
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope.get("client"):  # a Unix socket's peer has no address
            await self.app(scope, receive, send)
        elif scope["path"] == "/metrics":
            await (await self._gather(Request(scope, receive)))(scope, receive, send)
        elif self.number != KEEPER and is_of_jobs(scope["path"]):
            await self._hand_on(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The keeper's answer, as it comes; the body goes there as it comes, too."""
        try:
            request = self._repeat(Request(scope, receive), self.peers[KEEPER])
            answer = await self.peers[KEEPER].send(request, stream=True)
        except ClientDisconnect:
            return
        except httpx.TransportError:
            await answer_error(NotReadyError(ABSENT))(scope, receive, send)
            return
        headers = {name: value for name, value in answer.headers.items() if name not in HOP}
        try:
            await StreamingResponse(answer.aiter_raw(), answer.status_code, headers)(scope, receive, send)
        finally:
            await answer.aclose()

    async def _gather(self, request: Request) -> Response:
        """Every worker's page as one, each sample with its worker's number; the first refusal where one refuses."""
        answers = await asyncio.gather(
            *(peer.send(self._repeat(request, peer)) for peer in self.peers), return_exceptions=True
        )
        pages = {number: each for number, each in enumerate(answers) if isinstance(each, httpx.Response)}
        for answer in pages.values():
            if answer.status_code != httpx.codes.OK:
                return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])
        some = next(iter(pages.values()))
        text = join_pages({number: answer.text for number, answer in pages.items()})
        return Response(text, media_type=some.headers["content-type"])

    def _repeat(self, request: Request, peer: httpx.AsyncClient) -> httpx.Request:
        url = httpx.URL("http://worker").copy_with(raw_path=_find_target(request.scope))
        headers = [(name, value) for name, value in request.headers.items() if name not in HOP]
        has_body = not {"content-length", "transfer-encoding"}.isdisjoint(request.headers)
        body = request.stream() if has_body else None
        return peer.build_request(request.method, url, headers=headers, content=body)


class _Joined(Collector):
    """Metrics as they were read."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Sequence[Metric]:
        """All of them."""
        return self.metrics


def join_pages(pages: dict[int, str]) -> bytes:
    """Pages of Prometheus's text format as one, each sample with the label `worker`."""
    joined: dict[str, Metric] = {}
    for number, page in pages.items():
        for family in text_string_to_metric_families(page):
            kept = joined.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                labels = sample.labels | {"worker": str(number)}
                kept.samples.append(sample._replace(labels=labels))
    registry = CollectorRegistry()
    registry.register(_Joined(list(joined.values())))
    return generate_latest(registry)


def is_of_jobs(path: str) -> bool:
    """Whether a path is one of the jobs' routes."""
    return path in (VIDEO_PATH, "/animate") or path.startswith("/jobs/")


def _find_target(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return path.partition(b"?")[0] + (b"?" + query if query else b"")
