"""POST /synthesize: landmarks in, the target's face out."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from tiny_service import SHIFT, SIZE, make_face, read_picture, serve

from service.settings import Settings
from shared.geometry import CropRule, find_crop
from shared.landmarks import IBUG68, WFLW98, Points

pytestmark = pytest.mark.anyio

RULE = CropRule(centre_points=IBUG68.rigid, scale_points=IBUG68.rigid, factor=8.0, drop=0.05)


def make_order(points: Points | None = None, **options: Any) -> dict[str, Any]:
    """A request's body."""
    chosen = make_face() if points is None else points
    return {"target": "ada", "landmarks": chosen.astype(float).tolist(), "format": "png"} | options


def expect_colour(points: Points, shift: float) -> tuple[int, int]:
    """Red and green that the tiny networks give these points."""
    units = find_crop(points, RULE).to_unit(points) + shift
    red, green = np.floor(units.mean(axis=0) * 255 + 0.5)
    return int(red), int(green)


async def post(client: httpx.AsyncClient, order: dict[str, Any]) -> httpx.Response:
    return await client.post("/synthesize", json=order)


async def test_the_picture_is_the_networks_own(settings: Settings) -> None:
    async with serve(settings) as client:
        for target, shift in (("ada", SHIFT), ("bob", -SHIFT)):
            answer = await post(client, make_order(target=target))
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "image/png"
            assert answer.headers["x-landmarkgan-target"] == target
            picture = read_picture(answer.content)
            assert picture.shape == (SIZE, SIZE, 3)
            red, green = expect_colour(make_face(), shift)
            assert np.abs(picture[..., :2].astype(int) - (red, green)).max() <= 1
            assert (picture[:, 0, 2] == 0).all()
            assert (picture[:, -1, 2] == 255).all()


async def test_scale_and_place_do_not_matter(settings: Settings) -> None:
    async with serve(settings) as client:
        first = (await post(client, make_order())).content
        for scale, offset in ((256, 0), (1e-4, 0), (5000, -90_000), (40, 300_000)):
            points = make_face() * scale + offset
            picture = read_picture((await post(client, make_order(points))).content).astype(int)
            assert np.abs(picture - read_picture(first)).max() <= 2, (scale, offset)


async def test_landmarks_of_the_targets_own_shape_are_not_converted(settings: Settings) -> None:
    async with serve(settings) as client:
        picture = read_picture((await post(client, make_order(convert=False))).content)
        assert np.abs(picture[0, 0, :2].astype(int) - expect_colour(make_face(), 0)).max() <= 1


async def test_in_crop_units_scale_and_place_are_asked_for(settings: Settings) -> None:
    """The tiny network's red and green are the mean of the points it gets: these, and not their own crop's."""
    points = (make_face() * 0.5 + (0.3, 0.1)).astype(np.float32)
    red, green = np.floor(points.mean(axis=0) * 255 + 0.5).astype(int)
    async with serve(settings) as client:
        asked = make_order(points, convert=False, units="crop", response="json")
        body = (await post(client, asked)).json()
        cropped = read_picture((await post(client, make_order(points, convert=False))).content)
        far = await post(client, make_order(make_face() + 100, units="crop"))
        other = await post(client, make_order(units="pixels"))
    picture = read_picture(base64.b64decode(body["picture"]["base64"]))
    assert np.abs(picture[0, 0, :2].astype(int) - (red, green)).max() <= 1
    assert np.abs(cropped[0, 0, :2].astype(int) - (red, green)).max() > 20
    assert body["crop"] == {"x": 0.5, "y": 0.5, "side": 1.0}
    np.testing.assert_allclose(body["landmarks"]["crop_units"], points, atol=1e-5)
    assert body["landmarks"]["source"] == body["landmarks"]["crop_units"]
    assert (far.status_code, other.status_code) == (422, 422)
    assert "16 crop sides off the crop" in far.json()["detail"]
    assert "units" in other.json()["detail"]


async def test_a_view_moves_and_enlarges_the_picture_and_not_the_landmarks(settings: Settings) -> None:
    """The tiny picture's blue rises from 0 at the left to 255 at the right."""
    async with serve(settings) as client:
        whole = (await post(client, make_order(response="json"))).json()
        moved = (await post(client, make_order(response="json", view={"x": 0.25, "side": 0.5}))).json()
        beyond = (await post(client, make_order(view={"x": 1.0}))).content
        wrong = await post(client, make_order(view={"side": 0}))
    blue = read_picture(base64.b64decode(moved["picture"]["base64"]))[..., 2]
    np.testing.assert_allclose(blue[:, 4:-4].mean(axis=0), (np.arange(32) + 0.5)[4:-4] / 2 * 255 / 31, atol=6)
    assert moved["landmarks"] == whole["landmarks"]
    ground = read_picture(beyond)[:, 17:]
    assert (ground == ground[0, 0]).all(), "one colour, of both sides: half of this picture's blue"
    assert 100 < ground[0, 0, 2] < 155
    assert wrong.status_code == 422


async def test_json_carries_picture_and_landmarks(settings: Settings) -> None:
    points = (make_face() * 200 + 50).astype(np.float32)
    async with serve(settings) as client:
        answer = await post(client, make_order(points, response="json"))
        alone = await post(client, make_order(points))
    body = answer.json()
    assert base64.b64decode(body["picture"]["base64"]) == alone.content
    assert (body["target"], body["scheme"]) == ("ada", "ibug68")
    assert (body["picture"]["format"], body["picture"]["width"], body["picture"]["height"]) == ("png", SIZE, SIZE)
    crop = find_crop(points, RULE)
    units = crop.to_unit(points) + SHIFT
    np.testing.assert_allclose(body["landmarks"]["crop_units"], units, atol=1e-4)
    np.testing.assert_allclose(body["landmarks"]["source"], crop.from_unit(units), atol=0.05)
    assert body["crop"] == pytest.approx({"x": crop.x, "y": crop.y, "side": crop.side})
    assert set(body["timings_ms"]) == {"queue", "convert", "synthesize", "encode"}


async def test_other_schemes_are_converted(settings: Settings) -> None:
    """The 98 points hold the 68; which of them is `shared.landmarks`' business."""
    points = make_face(WFLW98)
    async with serve(settings) as client:
        guessed = await post(client, make_order(points))
        named = await post(client, make_order(points, scheme="wflw98"))
        wrong = await post(client, make_order(points, scheme="ibug68"))
        unknown = await post(client, make_order(points, scheme="iris70"))
    assert guessed.status_code == named.status_code == 200
    assert guessed.content == named.content
    assert wrong.status_code == unknown.status_code == 422
    assert "68" in wrong.json()["detail"]
    assert "wflw98" in unknown.json()["detail"]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
async def test_formats_and_sizes(settings: Settings, kind: str) -> None:
    async with serve(settings) as client:
        for size in (16, 100, 1024):
            answer = await post(client, make_order(format=kind, size=size))
            assert answer.headers["content-type"] == f"image/{kind}"
            assert read_picture(answer.content).shape == (size, size, 3)


async def test_jpeg_is_the_default_and_quality_counts(settings: Settings) -> None:
    order = make_order(size=512)
    del order["format"]
    async with serve(settings) as client:
        default = await post(client, order)
        poor = await post(client, order | {"quality": 1})
    assert default.headers["content-type"] == "image/jpeg"
    assert len(poor.content) < len(default.content)


async def test_timings_are_sent(settings: Settings) -> None:
    async with serve(settings) as client:
        answer = await post(client, make_order())
    stages = [each.split(";dur=") for each in answer.headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["queue", "convert", "synthesize", "encode"]
    assert all(0 <= float(duration) < 10_000 for _, duration in stages)


async def test_default_target(settings: Settings) -> None:
    order = make_order()
    del order["target"]
    async with serve(settings) as client:
        answer = await post(client, order)
        assert answer.status_code == 422
        assert "ada, bob" in answer.json()["expected"]
    async with serve(settings.model_copy(update={"default_target": "bob"})) as client:
        assert (await post(client, order)).headers["x-landmarkgan-target"] == "bob"


async def test_a_face_pushed_to_extremes_is_still_drawn(settings: Settings) -> None:
    points = make_face()
    points[list(IBUG68.groups["jaw"])] += (0, 3)
    async with serve(settings) as client:
        assert (await post(client, make_order(points))).status_code == 200


async def test_the_example_of_the_documentation_works(settings: Settings) -> None:
    async with serve(settings) as client:
        document = (await client.get("/openapi.json")).json()
        body = document["paths"]["/synthesize"]["post"]["requestBody"]["content"]["application/json"]
        example = body["examples"]["neutral"]["value"]
        assert len(example["landmarks"]) == 68
        answer = await client.post("/synthesize", json=example)
    assert answer.status_code == 200
    assert read_picture(answer.content).shape == (SIZE, SIZE, 3)
