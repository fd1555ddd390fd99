"""POST /reenact and POST /landmarks: pictures in."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tiny_service import MarkedDetector, draw_faces, make_face, read_picture, serve, to_bytes

from service.inference import face_service
from service.media.images import ORIENTATION_TAG
from service.settings import Settings
from shared.pixels import Image8

pytestmark = pytest.mark.anyio

MODELS = Path(__file__).parents[2] / "models"


async def upload(client: httpx.AsyncClient, path: str, data: bytes, **fields: Any) -> httpx.Response:
    form = {name: str(value) for name, value in fields.items()}
    return await client.post(path, files={"image": ("face.png", data, "image/png")}, data=form)


async def test_reenact_gives_what_its_landmarks_give(settings: Settings) -> None:
    data = to_bytes(draw_faces((20, 15, 60)))
    async with serve(settings, MarkedDetector()) as client:
        answer = await upload(client, "/reenact", data, target="ada", format="png")
        faces = (await upload(client, "/landmarks", data)).json()["faces"]
        order = {key: faces[0][key] for key in ("scheme", "landmarks")} | {"target": "ada", "format": "png"}
        again = await client.post("/synthesize", json=order)
    assert answer.status_code == 200
    assert answer.headers["x-landmarkgan-target"] == "ada"
    assert again.content == answer.content
    stages = [each.split(";")[0] for each in answer.headers["server-timing"].split(", ")]
    assert stages == ["decode", "queue", "detect", "convert", "synthesize", "encode"]


async def test_landmarks_do_not_wait_for_slow_pictures(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pictures take their time to decode, /synthesize goes on."""
    gate, decode = threading.Event(), face_service.decode_picture

    def decode_slowly(data: bytes, max_pixels: int) -> Image8:
        assert gate.wait(20)
        return decode(data, max_pixels)

    monkeypatch.setattr(face_service, "decode_picture", decode_slowly)
    data = to_bytes(draw_faces((20, 15, 60)))
    order = {"target": "ada", "landmarks": make_face().astype(float).tolist()}
    async with serve(settings, MarkedDetector()) as client:
        slow = [asyncio.create_task(upload(client, "/reenact", data, target="ada")) for _ in range(6)]
        async with asyncio.timeout(10):
            assert (await client.post("/synthesize", json=order)).status_code == 200
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*slow)] == [200] * 6


async def test_a_search_for_marks_waits_for_room_too(settings: Settings) -> None:
    """As many pixels as may be in memory are there already."""
    data = to_bytes(draw_faces((20, 15, 60)))
    async with serve(settings, MarkedDetector()) as client:
        async with client.app.state.lifecycle.face_service._room.hold(settings.max_pixels):
            waiting = asyncio.create_task(client.post("/provenance", files={"image": ("face.png", data)}))
            done, _ = await asyncio.wait([waiting], timeout=0.5)
            assert not done
        assert (await waiting).status_code == 200


async def test_faces_are_chosen_by_size(settings: Settings) -> None:
    data = to_bytes(draw_faces((5, 10, 30), (50, 12, 60)))
    async with serve(settings, MarkedDetector()) as client:
        answers = [
            (await upload(client, "/reenact", data, target="ada", face=index, response="json")).json()
            for index in (0, 1)
        ]
        beyond = await upload(client, "/reenact", data, target="ada", face=2)
    assert [answer["faces"] for answer in answers] == [2, 2]
    assert answers[0]["crop"]["side"] == pytest.approx(2 * answers[1]["crop"]["side"], rel=1e-4)
    assert beyond.status_code == 422
    assert "2 faces" in beyond.json()["detail"]
    assert beyond.json()["type"].endswith("face-index")


async def test_no_face(settings: Settings) -> None:
    data = to_bytes(draw_faces())
    async with serve(settings, MarkedDetector()) as client:
        answer = await upload(client, "/reenact", data, target="ada")
        listed = await upload(client, "/landmarks", data)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("no-face")
    assert (listed.status_code, listed.json()["faces"]) == (200, [])


async def test_landmarks_are_in_pixels_of_the_upright_picture(settings: Settings) -> None:
    upright = draw_faces((20, 15, 60))
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    turned = to_bytes(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif)
    async with serve(settings, MarkedDetector()) as client:
        plain = (await upload(client, "/landmarks", to_bytes(upright))).json()
        body = (await upload(client, "/landmarks", turned)).json()
    assert (body["width"], body["height"], body["detector"]) == (120, 90, "marked")
    assert body["faces"] == plain["faces"]
    face = body["faces"][0]
    expected = make_face() * 60 + np.array([20, 15])
    np.testing.assert_allclose(face["landmarks"], expected, atol=1e-3)
    np.testing.assert_allclose(face["box"], [*expected.min(axis=0), *expected.max(axis=0)], atol=1e-3)
    assert (face["scheme"], face["score"]) == ("ibug68", 0.9)


async def test_paste_back_changes_the_face_alone(settings: Settings) -> None:
    image = draw_faces((30, 15, 60))
    async with serve(settings, MarkedDetector()) as client:
        answer = await upload(client, "/reenact", to_bytes(image), target="ada", paste_back=True, format="png")
        refused = await upload(client, "/reenact", to_bytes(image), target="ada", paste_back=True, size=64)
    pasted, before = read_picture(answer.content), np.asarray(image)
    assert pasted.shape == before.shape
    changed = (pasted != before).any(axis=2)
    assert 0.01 < changed.mean() < 0.8  # the painted face is nearly as grey as the picture
    np.testing.assert_array_equal(pasted[:, :10], before[:, :10])
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("options")


async def test_size_and_format(settings: Settings) -> None:
    data = to_bytes(draw_faces((20, 15, 60)), "WEBP")
    async with serve(settings, MarkedDetector()) as client:
        lossy = to_bytes(draw_faces((20, 15, 60)))
        answer = await upload(client, "/reenact", lossy, target="bob", size=48, format="webp", quality=50)
        assert (await upload(client, "/landmarks", data)).status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    assert read_picture(answer.content).shape == (48, 48, 3)


@pytest.mark.parametrize("path", ["/reenact", "/landmarks"])
async def test_pictures_that_are_refused(settings: Settings, path: str) -> None:
    whole = to_bytes(draw_faces((20, 15, 60)))
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (250, 300, 3), np.uint8))
    fields = {"target": "ada"} if path == "/reenact" else {}
    cases = [
        (whole[: len(whole) // 2], 400, "picture-damaged"),
        (b"", 400, "picture-damaged"),
        (b"just text", 415, "picture-format"),
        (to_bytes(Image.new("RGB", (501, 500))), 413, "picture-too-large"),
        (to_bytes(noise), 413, "body-too-large"),
    ]
    async with serve(settings, MarkedDetector()) as client:
        for data, status, slug in cases:
            answer = await upload(client, path, data, **fields)
            assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (status, slug)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_forms_that_are_refused(settings: Settings) -> None:
    data = to_bytes(draw_faces((20, 15, 60)))
    async with serve(settings, MarkedDetector()) as client:
        missing = await client.post("/reenact", files={"other": ("a", b"b")}, data={"target": "ada"})
        assert missing.status_code == 422
        assert "image" in missing.json()["detail"]
        text = await client.post("/reenact", files={"target": (None, "ada"), "image": (None, "text")})
        assert text.status_code == 422
        for fields in ({"face": "-1"}, {"face": "x"}, {"size": "15"}, {"paste_back": "perhaps"}, {"colour": "1"}):
            assert (await upload(client, "/reenact", data, target="ada", **fields)).status_code == 422, fields
        assert (await upload(client, "/reenact", data, target="eve")).status_code == 404
        assert (await client.post("/reenact", json={"target": "ada"})).status_code == 415
        assert (await client.post("/landmarks", content=data, headers={"content-type": "image/png"})).status_code == 415
        broken = await client.post("/landmarks", content=b"--x", headers={"content-type": "multipart/form-data"})
        assert (broken.status_code, broken.headers["content-type"]) == (400, "application/problem+json")


async def test_no_detector_leaves_synthesis(settings: Settings) -> None:
    """The tiny models folder has no models/mesh."""
    async with serve(settings) as client:
        answer = await upload(client, "/landmarks", to_bytes(draw_faces()))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:landmarkgan:problem:no-detector")
        order = {"target": "ada", "landmarks": make_face().astype(float).tolist()}
        assert (await client.post("/synthesize", json=order)).status_code == 200


async def test_the_real_detector_reads_a_real_face(settings: Settings) -> None:
    from shared.detectors import load_detector

    references = sorted(MODELS.glob("*/reference.*"))
    assert references
    async with serve(settings, load_detector("mesh", MODELS, 1)) as client:
        for reference in references:
            body = (await upload(client, "/landmarks", reference.read_bytes())).json()
            assert len(body["faces"]) == 1, reference
            left, top, right, bottom = body["faces"][0]["box"]
            assert 0.3 * body["width"] < right - left < body["width"]
            assert 0.3 * body["height"] < bottom - top < body["height"]
            answer = await upload(client, "/reenact", reference.read_bytes(), target="ada", paste_back=True)
            assert read_picture(answer.content).shape[:2] == (body["height"], body["width"])
