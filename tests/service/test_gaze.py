"""Targets with pupils, and clients without: 68 points are served by 70-point targets, and 70 by those of 68."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from running_service import run_service
from tiny_service import MarkedDetector, draw_faces, make_face, read_picture, serve, to_bytes, write_bundle
from websockets.sync.client import connect

from service.api.stream_messages import unpack_answer
from service.settings import Settings
from shared.landmarks import IBUG68, IBUG70, WFLW98, Points, Scheme, convert_scheme

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def gazing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two targets: eve has pupils, ada has none."""
    folder = tmp_path_factory.mktemp("gazing")
    write_bundle(folder, "eve", scheme=IBUG70)
    write_bundle(folder, "ada")
    return folder


@pytest.fixture
def settings(gazing: Path) -> Settings:
    return Settings(models_dir=gazing, threads=1)


async def ask(client: httpx.AsyncClient, target: str, points: Points) -> tuple[Points, float]:
    """The target's landmarks of points sent without a scheme, and the picture's mean red: the tiny networks' mean x."""
    order = {"target": target, "landmarks": points.astype(float).tolist(), "convert": False, "format": "png"}
    body = (await client.post("/synthesize", json=order | {"response": "json"})).json()
    picture = read_picture((await client.post("/synthesize", json=order)).content)
    return np.array(body["landmarks"]["crop_units"], np.float32), float(picture[..., 0].mean())


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70, WFLW98], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("target", ["ada", "eve"])
async def test_any_scheme_drives_any_target(settings: Settings, scheme: Scheme, target: str) -> None:
    wanted = IBUG70 if target == "eve" else IBUG68
    async with serve(settings) as client:
        points, _ = await ask(client, target, make_face(scheme))
        expected, _ = await ask(client, target, convert_scheme(make_face(scheme), scheme, wanted))
    assert len(points) == wanted.count
    np.testing.assert_allclose(points, expected, atol=2e-5)
    if target == "eve" and scheme is IBUG68:
        np.testing.assert_allclose(points[68:], points[[[36, 39], [42, 45]]].mean(axis=1), atol=2e-5)


async def test_pupils_are_part_of_the_picture(settings: Settings) -> None:
    looking = make_face(IBUG70)
    looking[68:, 0] += 0.3
    async with serve(settings) as client:
        (rest, straight), (moved, aside) = [await ask(client, "eve", each) for each in (make_face(IBUG70), looking)]
        _, blind = await ask(client, "ada", looking)
        _, same = await ask(client, "ada", make_face())
    np.testing.assert_allclose(moved[:68], rest[:68], atol=1e-6)
    assert aside > straight + 0.5
    assert blind == same


async def test_a_picture_seen_without_pupils_drives_a_target_with_them(settings: Settings) -> None:
    files = {"image": ("face.png", to_bytes(draw_faces((20, 15, 60))), "image/png")}
    async with serve(settings, MarkedDetector()) as client:
        answer = await client.post("/reenact", files=files, data={"target": "eve", "response": "json"})
        face = (await client.post("/landmarks", files=files)).json()
        order = {"target": "eve", "landmarks": face["faces"][0]["landmarks"], "source_neutral": face["neutral"]}
        calibrated = await client.post("/synthesize", json=order)
    assert answer.status_code == 200
    assert len(answer.json()["landmarks"]["crop_units"]) == 70
    assert calibrated.status_code == 200


async def test_the_documented_example_works_with_pupils(settings: Settings) -> None:
    async with serve(settings) as client:
        document = (await client.get("/openapi.json")).json()
        body = document["paths"]["/synthesize"]["post"]["requestBody"]["content"]["application/json"]
        for example in body["examples"].values():
            assert (await client.post("/synthesize", json=example["value"] | {"target": "eve"})).status_code == 200


def test_a_stream_seen_without_pupils_drives_a_target_with_them(settings: Settings) -> None:
    with run_service(settings, MarkedDetector()) as service, connect(f"ws://{service.address}/stream") as socket:
        socket.send(json.dumps({"target": "eve"}))
        socket.recv(timeout=10)
        socket.send(to_bytes(draw_faces((20, 15, 60))))
        message = socket.recv(timeout=20)
    assert isinstance(message, bytes)
    header, data = unpack_answer(message)
    assert header["state"] == "face"
    assert read_picture(data).shape == (32, 32, 3)
