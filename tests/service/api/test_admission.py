"""Who is let in: hosts, pages, keys; and headers that two readers could read differently."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from running_service import run_service
from tiny_service import MarkedDetector, draw_faces, make_face, read_picture, serve, to_bytes
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from service.settings import Settings

pytestmark = pytest.mark.anyio

ORDER = {"target": "ada", "landmarks": make_face().astype(float).tolist()}
FRIEND = "https://friend.example"
KEY = "0123456789abcdef"


def get_slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"].split(":")[-1])


@pytest.mark.parametrize(
    ("hosts", "status", "slug"),
    [
        ([], 400, "header"),
        (["localhost", "localhost"], 400, "header"),
        (["a b"], 400, "header"),
        (["localhost:port"], 400, "header"),
        (["user@localhost"], 400, "header"),
        (["localhost/path"], 400, "header"),
        (["[::1"], 400, "header"),
        (["rebound.example"], 403, "foreign-host"),
        (["rebound.example:8000"], 403, "foreign-host"),
        (["localhost.rebound.example"], 403, "foreign-host"),
        (["localhost"], 200, ""),
        (["LOCALHOST:8000"], 200, ""),
        (["127.0.0.1:8000"], 200, ""),
        (["[::1]:8000"], 200, ""),
    ],
)
async def test_hosts_of_a_service_on_the_loopback(settings: Settings, hosts: list[str], status: int, slug: str) -> None:
    async with serve(settings) as client:
        request = client.build_request("GET", "/livez")
        request.headers = httpx.Headers([("host", host) for host in hosts])
        answer = await client.send(request)
        assert answer.status_code == status
        assert not slug or get_slug(answer) == slug


async def test_hosts_of_a_service_that_others_reach(settings: Settings) -> None:
    """Its names can't be known, unless origins are given: those then are its names."""
    elsewhere = settings.model_copy(update={"host": "0.0.0.0"})
    async with serve(elsewhere) as client:
        assert (await client.get("/livez", headers={"host": "box.lan"})).status_code == 200
    async with serve(elsewhere.model_copy(update={"allowed_origins": (FRIEND,)})) as client:
        assert (await client.get("/livez", headers={"host": "friend.example"})).status_code == 200
        assert (await client.get("/livez", headers={"host": "10.0.0.7:8000"})).status_code == 200
        assert (await client.get("/livez", headers={"host": "rebound.example"})).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
    ],
)
async def test_foreign_pages_may_not_send(settings: Settings, headers: dict[str, str]) -> None:
    async with serve(settings, MarkedDetector()) as client:
        for method, path in (
            ("POST", "/synthesize"), ("POST", "/reenact"), ("POST", "/landmarks"), ("POST", "/reenact/video"),
            ("POST", "/jobs/1/cancel"), ("DELETE", "/jobs/1"),
        ):  # fmt: skip
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, get_slug(answer)) == (403, "foreign-page")
        assert (await client.get("/targets", headers=headers)).status_code == 200  # which the page can't read


async def test_own_pages_programs_and_allowed_origins_may(settings: Settings) -> None:
    own: list[dict[str, str]] = [
        {}, {"origin": "http://localhost", "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"},
    ]  # fmt: skip
    async with serve(settings) as client:
        for headers in own:
            assert (await client.post("/synthesize", json=ORDER, headers=headers)).status_code == 200
    async with serve(settings.model_copy(update={"allowed_origins": (FRIEND,)})) as client:
        friend = {"origin": FRIEND, "sec-fetch-site": "cross-site"}
        answer = await client.post("/synthesize", json=ORDER, headers=friend)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert "X-LandmarkGAN-Target" in answer.headers["access-control-expose-headers"]
        asking = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        assert (await client.options("/synthesize", headers=friend | asking)).status_code == 200
        foreign = await client.post("/synthesize", json=ORDER, headers={"origin": "https://else.example"})
        assert foreign.status_code == 403
        assert "access-control-allow-origin" not in foreign.headers


async def test_a_header_that_comes_twice_is_read_by_nobody(settings: Settings) -> None:
    """Two content types: the limit went by the last and the endpoint by the first, so that 18 MB of JSON passed."""
    body = json.dumps(ORDER | {"padding": " " * 2 * settings.max_json_bytes}).encode()
    async with serve(settings.model_copy(update={"max_upload_bytes": 10_000_000})) as client:
        kinds = [("content-type", "application/json"), ("content-type", "multipart/form-data; boundary=x")]
        for headers in (kinds, kinds[::-1]):
            answer = await client.post("/synthesize", content=body, headers=headers)
            assert (answer.status_code, get_slug(answer)) == (400, "header")


@pytest.fixture
def locked(settings: Settings) -> Settings:
    return Settings.model_validate(settings.model_dump() | {"api_keys": ("another-key-of-16", KEY)})


async def test_keys(locked: Settings) -> None:
    async with serve(locked, wait=False) as client:
        for path in ("/livez", "/", "/live", "/video", "/api", "/web/problem.js"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.get("/readyz")).status_code in (200, 503)
        for given in ("", f"Bearer {KEY}x", f"Basic {KEY}", "Bearer", KEY, "Bearer é".encode()):
            answer = await client.get("/targets", headers={"authorization": given})
            assert (answer.status_code, get_slug(answer)) == (401, "api-key")
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/metrics", "/version", "/openapi.json", "/jobs/1", "/nothing"):
            assert (await client.get(path)).status_code == 401, path
        assert (await client.post("/synthesize", json=ORDER)).status_code == 401
        for headers in ({"authorization": f"Bearer {KEY}"}, {"cookie": f"landmarkgan_key={KEY}; other=1"}):
            answer = await client.get("/targets", headers=headers)
            while answer.status_code == 503:
                await asyncio.sleep(0.005)  # an answer that waits for nothing gives the loop no turn to end loading
                answer = await client.get("/targets", headers=headers)
            assert answer.status_code == 200
            assert (await client.post("/synthesize", json=ORDER, headers=headers)).status_code == 200


@pytest.mark.parametrize("key", ["short", "with a space in it", "línea-de-dieciséis"])
def test_keys_that_fit_no_header_are_refused(settings: Settings, key: str) -> None:
    with pytest.raises(ValueError, match="api_keys"):
        Settings.model_validate(settings.model_dump() | {"api_keys": (key,)})


def refuse_stream(address: str, **more: Any) -> tuple[str, int]:
    with connect(f"ws://{address}/stream", **more) as socket:
        problem = json.loads(socket.recv(timeout=10))
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    return problem["type"].split(":")[-1], closed.value.rcvd.code


def test_streams_go_by_the_same_rules(locked: Settings) -> None:
    with run_service(locked, MarkedDetector()) as service:
        cookie = {"Cookie": f"landmarkgan_key={KEY}"}
        assert refuse_stream(service.address) == ("api-key", 4401)
        assert refuse_stream(service.address, origin="http://evil.example", additional_headers=cookie)[1] == 4403
        with connect(f"ws://{service.address}/stream", additional_headers=cookie) as socket:
            socket.send('{"target": "ada"}')
            assert json.loads(socket.recv(timeout=10))["target"] == "ada"
        with httpx.Client(base_url=f"http://{service.address}", headers={"authorization": f"Bearer {KEY}"}) as client:
            face = {"image": to_bytes(draw_faces((20, 15, 60)))}
            picture = client.post("/reenact", data={"target": "ada"}, files=face)
            assert read_picture(picture.content).shape == (32, 32, 3)
