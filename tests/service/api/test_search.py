"""The whole API searched: requests that schemathesis makes of the document, and frames of /stream from a seed."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as bound
from running_service import Running, run_service
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tiny_service import MarkedDetector, draw_faces, to_bytes
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from service.api.stream_messages import unpack_answer
from service.settings import Settings

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


@pytest.fixture(scope="module")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    jobs = tmp_path_factory.mktemp("jobs")
    settings = Settings(models_dir=models, threads=1, jobs_dir=jobs, deadline_seconds=60)
    with run_service(settings, MarkedDetector()) as service:
        yield service


def spell_tuples(node: Any) -> Any:
    """The document with pairs as arrays of numbers: schemathesis writes them in a way that it then refuses."""
    if isinstance(node, list):
        return [spell_tuples(each) for each in node]
    if not isinstance(node, dict):
        return node
    spelled = {name: spell_tuples(each) for name, each in node.items() if name != "prefixItems"}
    return spelled | ({"items": node["prefixItems"][0]} if "prefixItems" in node else {})


def test_every_endpoint_answers_as_documented(running: Running) -> None:
    """Per endpoint 10 requests, half of them against their schema; the same ones each time."""
    document = httpx.get(f"http://{running.address}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(spell_tuples(document))
    operations = [each.ok() for each in schema.get_all_operations()]
    assert {"POST /synthesize", "DELETE /jobs/{job_id}", "GET /metrics"} <= {each.label for each in operations}
    quick = bound(
        max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    for operation in operations:

        @quick
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=f"http://{running.address}", checks=CHECKS)

        ask()


def make_message(rng: random.Random) -> str | bytes:
    """A frame, whole or damaged, options of any kind, or noise."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(300))
    if kind == 1:
        values = (None, True, 0, -1, 10**20, "", "ada", "\x00", [], {}, 0.5, 64)
        names = ("target", "convert", "paste_back", "smoothing", "face", "size", "quality", "more")
        return json.dumps({name: rng.choice(values) for name in rng.sample(names, rng.randrange(4))})
    if kind == 2:
        return "".join(chr(rng.randrange(32, 1000)) for _ in range(rng.randrange(60)))
    picture = draw_faces((20, 15, 60), size=(rng.randrange(90, 200), rng.randrange(80, 200)))
    data = bytearray(to_bytes(picture, rng.choice(FORMATS)))
    if kind == 3:
        del data[rng.randrange(len(data)) :]
    elif kind == 4:
        for _ in range(rng.randrange(1, 9)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def test_no_frame_breaks_a_stream(running: Running) -> None:
    """Every frame is answered, or the stream is closed in words; the service goes on."""
    rng = random.Random(17)
    for _ in range(12):
        with connect(f"ws://{running.address}/stream") as socket:
            socket.send('{"target": "ada"}')
            assert isinstance(socket.recv(timeout=30), str)
            codes = [play(socket, rng) for _ in range(15)]
            assert set(codes) <= {None, 4404, 4422}


def play(socket: ClientConnection, rng: random.Random) -> int | None:
    """Send a message and judge the answer. Returns the code of the close, if the service has closed."""
    try:
        socket.send(make_message(rng))
        answer = socket.recv(timeout=30)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0
    if isinstance(answer, bytes):
        assert unpack_answer(answer)[0]["state"] in ("face", "no-face", "refused")
    else:
        assert json.loads(answer).get("status", 404) in (404, 422)
    return None
