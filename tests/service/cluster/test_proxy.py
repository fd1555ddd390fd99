"""A request whose replica is lost: asked again with its whole body, or not where that would make two jobs."""

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.cluster.proxy import AskAgain

PARTS = [b"one", b"two"]


class Replicas:
    """An ASGI application that dies in so many calls, having read so much, and then answers with what it read."""

    def __init__(self, deaths: int, reads: int) -> None:
        self.deaths, self.reads = deaths, reads
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        dies = self.calls <= self.deaths
        body = [(await receive())["body"] for _ in range(self.reads if dies else len(PARTS))]
        if not dies:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"".join(body)})


async def ask(app: Any, path: str = "/synthesize") -> list[Message]:
    waiting = [{"type": "http.request", "body": part, "more_body": part != PARTS[-1]} for part in PARTS]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await AskAgain(app)({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
    return sent


@pytest.mark.anyio
@pytest.mark.parametrize("reads", [0, 1, 2])
async def test_the_next_replica_reads_the_whole_body(reads: int) -> None:
    start, body = await ask(Replicas(2, reads))
    assert (start["status"], body["body"]) == (200, b"onetwo")


@pytest.mark.anyio
async def test_a_job_is_not_made_twice() -> None:
    replicas = Replicas(1, 2)
    start, body = await ask(replicas, "/animate")
    assert (start["status"], replicas.calls) == (503, 1)
    assert (b"retry-after", b"1") in start["headers"]
    assert b"Whether it took the job is not known" in body["body"]


@pytest.mark.anyio
async def test_replicas_that_all_die_are_told() -> None:
    replicas = Replicas(99, 0)
    start, _ = await ask(replicas)
    assert (start["status"], replicas.calls) == (503, 4)


@pytest.mark.anyio
async def test_serves_own_refusal_is_a_problem_like_others() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Request dropped due to backpressure"})

    start, body = await ask(refuse)
    assert dict(start["headers"])[b"content-type"] == b"application/problem+json"
    assert b"urn:landmarkgan:problem:busy" in body["body"]
