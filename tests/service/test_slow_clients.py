"""Clients that send or read too slowly, or too much: closed, and never in the way of the service's end."""

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_service import Running, run_service
from test_process import ORDER, start, wait_until
from tiny_service import MarkedDetector

from service.settings import Settings

BODY = json.dumps(ORDER).encode()
HEAD = b"POST /synthesize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
HALF_BODY = WHOLE[: -len(BODY) // 2]
UPGRADE = b"GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
HANDSHAKE = UPGRADE + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
SLOW = {
    "nothing": b"",
    "half a head": HEAD[:40],
    "half a body": HALF_BODY,
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n64\r\n{",
    "half a handshake": UPGRADE,
    "a stream of nothing": HANDSHAKE,
    "idle after an answer": WHOLE,
    "half a second head": WHOLE + HEAD,
}


@pytest.fixture
def running(settings: Settings) -> Iterator[Running]:
    quick = {"client_seconds": 0.5, "stream_idle_seconds": 0.5, "max_streams": 100, "queue_size": 100}
    with run_service(settings.model_copy(update=quick), MarkedDetector()) as service:
        yield service


def dial(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the service closes; a test that waits in vain times out."""
    pieces = []
    with connection, suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def read_problem(answer: bytes) -> dict[str, Any]:
    """The last answer's problem, whole."""
    head, _, body = answer[answer.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"content-length: %d" % len(body) in head
    problem: dict[str, Any] = json.loads(body)
    assert head.split()[1] == str(problem["status"]).encode()
    return problem


def test_slow_clients_are_closed(running: Running) -> None:
    """Seven of each kind: 56 connections, of which none is left."""
    connections = {name: [dial(running.address) for _ in range(7)] for name in SLOW}
    for name, sockets in connections.items():
        for connection in sockets:
            connection.sendall(SLOW[name])
    answers = {name: [read_all(each) for each in sockets] for name, sockets in connections.items()}
    assert {name for name, each in answers.items() if each == [b""] * 7} == {"nothing"}
    for name in ("half a head", "half a body", "half a chunk", "half a handshake", "half a second head"):
        assert [read_problem(answer)["status"] for answer in answers[name]] == [408] * 7, name
    for name in ("idle after an answer", "half a second head"):
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers[name]), name
    assert all(b"408" in answer for answer in answers["a stream of nothing"])
    assert httpx.post(f"http://{running.address}/synthesize", json=ORDER).status_code == 200


def drip(connection: socket.socket, data: bytes, ended: threading.Event) -> None:
    try:
        for byte in data:
            connection.sendall(bytes([byte]))
            if ended.wait(0.05):
                return
    except OSError:
        pass


@pytest.mark.parametrize("start", [b"", HALF_BODY])
def test_dripping_does_not_help(running: Running, start: bytes) -> None:
    """A byte now and then, of a head or a body that would take minutes."""
    ended = threading.Event()
    with dial(running.address) as connection:
        connection.sendall(start)
        thread = threading.Thread(target=drip, args=(connection, b"GET /" + b"a" * 5000, ended))
        thread.start()
        try:
            assert read_problem(read_all(connection))["type"].endswith(":slow")
        finally:
            ended.set()
            thread.join()


def test_steady_bodies_may_take_longer(running: Running) -> None:
    """A body of twice the patience whose pieces keep coming."""
    padding = [b" " * 4096 for _ in range(8)]
    length = sum(map(len, padding)) + len(BODY)
    with dial(running.address) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % length)
        wait = threading.Event()
        for piece in [*padding, BODY]:
            wait.wait(0.15)
            connection.sendall(piece)
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_does_not_read_is_cut_off(running: Running) -> None:
    """More answers than the buffers on the way hold, and none read."""
    running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with dial(running.address) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        peer = connection.getsockname()
        wait_until(lambda: [each.client for each in running.connections] == [peer])
        wait_until(lambda: not running.connections)


def test_requests_sent_ahead_are_bounded(running: Running) -> None:
    """Each one that waits behind another holds memory, however small it is."""
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with dial(running.address) as connection:
        connection.sendall(request * 20 + b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 21
    with dial(running.address) as connection:
        connection.sendall(request * 5000)
        assert read_all(connection).count(b"HTTP/1.1 200 OK") < 5000


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: 1\r\n" % number for number in range(200_000)),
        lambda: b"GET / HTTP/1.1\r\nh: " + b"a" * 2_000_000,
        lambda: b"GET /" + b"a" * 2_000_000,
        lambda: b"GET / HTTP/1.1\r\nHost: localhost\r\nh: " + b"a" * 40_000 + b"\r\n\r\n",
        lambda: HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n" + b"h: 1\r\n" * 300_000,
        lambda: HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 2_000_000,
    ],
    ids=["many headers", "a long header", "a long path", "a whole long head", "trailers", "chunk extensions"],
)
def test_heads_are_bounded(running: Running, make: Callable[[], bytes]) -> None:
    with dial(running.address) as connection:
        try:
            connection.sendall(make())
        except OSError:  # closed before all of it was sent
            return
        assert read_problem(read_all(connection))["status"] == 431


def test_what_is_no_http_is_answered_as_a_problem(running: Running) -> None:
    with dial(running.address) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert read_problem(read_all(connection))["status"] == 400


@pytest.fixture
def busy(models: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service of its own process, whose requests take a while: large pictures, one at a time."""
    process, address = start(models, max_batch="1", client_seconds="30", jobs_dir=str(models.parent / "jobs"))
    try:
        wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        yield process, address
    finally:
        process.kill()
        process.communicate()


def post_large(address: str, answers: list[httpx.Response]) -> None:
    order = ORDER | {"size": 1024, "format": "png"}
    answers.append(httpx.post(f"{address}/synthesize", json=order, timeout=60))


def count_in_work(address: str) -> int:
    """Requests admitted, by the metrics."""
    lines = httpx.get(f"{address}/metrics", timeout=60).text.splitlines()
    return int(float(next(line for line in lines if line.startswith("landmarkgan_queue_requests ")).split()[1]))


def test_the_end_answers_what_is_in_work_and_waits_for_nothing_else(busy: tuple[subprocess.Popen[str], str]) -> None:
    process, address = busy
    halves = [dial(address) for _ in range(20)]
    for connection in halves:
        connection.sendall(HALF_BODY)
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=post_large, args=(address, answers)) for _ in range(24)]
    for thread in threads:
        thread.start()
    wait_until(lambda: count_in_work(address) + len(answers) >= 24)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [200] * 24
    for connection in halves:
        assert read_problem(read_all(connection))["status"] == 503
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in log


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_answers_what_it_cuts_off(busy: tuple[subprocess.Popen[str], str], second: int) -> None:
    process, address = busy
    halves = [dial(address) for _ in range(3)]
    for connection in halves:
        connection.sendall(HALF_BODY)
    wait_until(lambda: httpx.get(f"{address}/livez").status_code == 200)  # so that the halves were read
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_open(address))
    process.send_signal(second)
    for connection in halves:
        assert read_problem(read_all(connection))["type"].endswith("not-ready")
    process.communicate(timeout=60)
    assert process.returncode == 0


def is_open(address: str) -> bool:
    """Whether connections are taken."""
    try:
        dial(address).close()
    except ConnectionRefusedError:
        return False
    return True
