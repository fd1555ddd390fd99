"""POST /animate: keyframes in, a film out, in three formats; what lies between two faces."""

import asyncio
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from tiny_service import SIZE, make_face, serve, write_bundle

from service.media.film import FilmOrder
from service.media.keyframes import BLINK_EVERY, CLOSING, FIRST_BLINK, find_blink, interpolate, shut_eyes
from service.provenance.watermark import read_watermark
from service.settings import Settings
from shared.expression import measure_expression
from shared.landmarks import IBUG68, IBUG70

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> Settings:
    return Settings(models_dir=models, threads=1, jobs_dir=tmp_path / "jobs")


def make_order(**options: Any) -> dict[str, Any]:
    """A second of ada's face that moves to the right, in crop units."""
    away = make_face() + np.array([0.2, 0], np.float32)
    keyframes = [
        {"seconds": seconds, "landmarks": face.astype(float).tolist(), "convert": False, "units": "crop"}
        for seconds, face in ((0.5, make_face()), (1.5, away))
    ]
    return {"target": "ada", "keyframes": keyframes, "rate": 10} | options


async def film(client: httpx.AsyncClient, order: dict[str, Any]) -> httpx.Response:
    """The result of a job that must not fail."""
    begun = await client.post("/animate", json=order)
    assert begun.status_code == 202, begun.text
    where = begun.headers["location"]
    assert begun.json()["layout"] is None
    while (job := (await client.get(where)).json())["state"] in ("waiting", "running"):
        await asyncio.sleep(0.02)
    assert (job["state"], job["frames"], job["total"], job["error"]) == ("done", 11, 11, None)
    return await client.get(f"{where}/result")


def read_reds(answer: httpx.Response, wanted: str) -> list[float]:
    """The mean red of each frame: the mean x of the tiny networks' landmarks."""
    if wanted == "mp4":
        with av.open(BytesIO(answer.content)) as container:
            frames = [each.to_ndarray(format="rgb24") for each in container.decode(video=0)]
    else:
        frames = []
        with Image.open(BytesIO(answer.content)) as image:
            for number in range(image.n_frames):
                image.seek(number)
                image.load()
                frame = np.asarray(image.convert("RGB"))
                frames += [frame] * round(image.info["duration"] / 100)  # WebP keeps one of two that are the same
    assert all(frame.shape == (SIZE, SIZE, 3) for frame in frames)
    return [float(frame[..., 0].mean()) for frame in frames]


@pytest.mark.parametrize(("wanted", "media_type"), [("mp4", "video/mp4"), ("gif", "image/gif"), ("webp", "image/webp")])
async def test_a_film_goes_smoothly_from_face_to_face(settings: Settings, wanted: str, media_type: str) -> None:
    async with serve(settings) as client:
        answer = await film(client, make_order(format=wanted))
    assert answer.headers["content-type"] == media_type
    assert f".{wanted}" in answer.headers["content-disposition"]
    reds = read_reds(answer, wanted)
    assert len(reds) == 11
    expected = [0.2 * 255 * share * share * (3 - 2 * share) for share in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(np.array(reds) - reds[0], expected, atol=4)


async def test_a_film_moves_its_view(settings: Settings) -> None:
    """From the whole picture to its right half, whose blue is the brighter one."""
    order = make_order()
    order["keyframes"][1] = order["keyframes"][0] | {"seconds": 1.5, "view": {"x": 0.75, "side": 0.5}}
    async with serve(settings) as client:
        answer = await film(client, order)
    with av.open(BytesIO(answer.content)) as container:
        blues = [float(each.to_ndarray(format="rgb24")[..., 2].mean()) for each in container.decode(video=0)]
    assert blues[-1] - blues[0] == pytest.approx(255 / 4, abs=8)
    assert all(later >= earlier - 1 for earlier, later in pairwise(blues))


async def test_a_film_says_that_it_is_synthetic(settings: Settings) -> None:
    order = make_order(size=256)
    async with serve(settings) as client:
        webp, gif, mp4 = [(await film(client, order | {"format": wanted})).content for wanted in ("webp", "gif", "mp4")]
    assert b"trainedAlgorithmicMedia" in webp
    assert b"trainedAlgorithmicMedia" in gif
    assert b"trainedAlgorithmicMedia" in mp4
    with av.open(BytesIO(mp4)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    found = read_watermark(frame)
    assert found is not None
    assert found.kind == "generated"


async def test_each_keyframe_is_converted_once_and_for_all(settings: Settings) -> None:
    order = make_order()
    order["keyframes"][1] = order["keyframes"][0] | {"seconds": 1.5, "convert": True, "units": "any"}
    async with serve(settings) as client:
        reds = read_reds(await film(client, order), "mp4")
    assert reds[-1] - reds[0] == pytest.approx(255 / 8, abs=4)  # the tiny converter's shift
    assert reds[5] - reds[0] == pytest.approx(255 / 16, abs=4)


async def test_what_is_no_film_is_refused(settings: Settings) -> None:
    async with serve(settings) as client:
        backwards = make_order()
        backwards["keyframes"].reverse()
        alone = make_order()
        del alone["keyframes"][1]
        flat = make_order()
        flat["keyframes"][0] = flat["keyframes"][0] | {"landmarks": [[1.0, 2.0]] * 68}
        for order, status, words in (
            (backwards, 422, "later than the one before"),
            (alone, 422, "at least 2"),
            (flat, 422, "one spot"),
            (make_order(target="eve"), 404, "no target of this name"),
            (
                make_order(
                    format="gif",
                    size=1024,
                    rate=50,
                    keyframes=[each | {"seconds": each["seconds"] * 20} for each in make_order()["keyframes"]],
                ),
                422,
                "lower rate or size",
            ),
        ):
            answer = await client.post("/animate", json=order)
            assert answer.status_code == status, answer.text
            assert words in answer.text
        assert not list(settings.jobs_dir.glob("*/*"))


async def test_a_film_that_a_stopped_service_left_is_made_by_the_next(settings: Settings) -> None:
    order = make_order(keyframes=[each | {"seconds": each["seconds"] * 30} for each in make_order()["keyframes"]])
    async with serve(settings) as client:
        where = (await client.post("/animate", json=order)).headers["location"]
    async with serve(settings) as client:
        while (job := (await client.get(where)).json())["state"] in ("waiting", "running"):
            await asyncio.sleep(0.02)
        assert (job["state"], job["frames"]) == ("done", 301)


async def test_the_documented_example_works(settings: Settings) -> None:
    async with serve(settings) as client:
        document = (await client.get("/openapi.json")).json()
        body = document["paths"]["/animate"]["post"]["requestBody"]["content"]["application/json"]
        assert (await client.post("/animate", json=body["examples"]["nod"]["value"])).status_code == 202


def test_between_two_faces_all_goes_straight_and_rests_at_both() -> None:
    faces = np.stack([make_face(), make_face() + 1, make_face() - 1])
    film = list(interpolate([1, 2, 4], faces, rate=4))
    assert [seconds for seconds, _ in film] == [number / 4 for number in range(13)]
    for frame, face in ((0, 0), (4, 1), (12, 2)):
        np.testing.assert_allclose(film[frame][1], faces[face], atol=1e-6)
    np.testing.assert_allclose(film[2][1] - faces[0], 0.5, atol=1e-6)
    np.testing.assert_allclose(film[1][1] - faces[0], 0.15625, atol=1e-6)


def test_blinks_shut_both_eyes_and_nothing_else() -> None:
    assert find_blink(0) == find_blink(FIRST_BLINK + 1) == 0
    for shut in (FIRST_BLINK + CLOSING, FIRST_BLINK + BLINK_EVERY + CLOSING):
        assert find_blink(shut) == pytest.approx(1)
    open_eyes = make_face(IBUG70)
    shut = shut_eyes(open_eyes, 1, IBUG70)
    before, after = measure_expression(open_eyes, IBUG70), measure_expression(shut, IBUG70)
    for name in before.keys() - {"gaze_y"}:  # the pupils go along
        assert after[name] == pytest.approx(0 if name.endswith("eye") else before[name], abs=1e-6), name
    lids = IBUG70.openings["right_eye"]
    assert shut[68, 1] == pytest.approx(shut[list(lids[0] + lids[1]), 1].mean(), abs=1e-3)
    assert len(shut_eyes(make_face(), 0.5, IBUG68)) == 68


def test_an_order_says_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="later"):
        FilmOrder.model_validate(make_order() | {"keyframes": make_order()["keyframes"][::-1]})


async def test_a_target_with_pupils_is_filmed_too(tmp_path: Path) -> None:
    write_bundle(tmp_path / "models", "eve", scheme=IBUG70)
    settings = Settings(models_dir=tmp_path / "models", threads=1, jobs_dir=tmp_path / "jobs")
    async with serve(settings) as client:
        await film(client, make_order(target="eve", blinks=True))
