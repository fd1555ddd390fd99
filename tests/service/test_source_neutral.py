"""A source's neutral face: found by POST /landmarks, sent back to /synthesize and /reenact."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tiny_service import SHIFT, MarkedDetector, draw_faces, make_face, read_picture, serve, to_bytes

from service.inference.bundles import open_target
from service.inference.synthesis import place_landmarks, place_neutral
from service.settings import Settings
from shared.animation import DrivingFace
from shared.bundle import load_bundle
from shared.expression import measure_expression
from shared.landmarks import IBUG68, WFLW98, Points
from shared.neutral import find_neutral
from tests.fixtures.painted import FACE

pytestmark = pytest.mark.anyio

MODELS = Path(__file__).parents[2] / "models"
TARGETS = [path.parent.name for path in sorted(MODELS.glob("*/bundle.json"))]


def make_order(points: Points, **options: Any) -> dict[str, Any]:
    return {"target": "ada", "landmarks": points.astype(float).tolist(), "response": "json"} | options


def open_lips(points: Points, gap: float) -> Points:
    """The face with the lower inner lip moved down."""
    opened = points.copy()
    opened[list(IBUG68.openings["mouth"][1]), 1] += gap
    return opened


async def convert(client: httpx.AsyncClient, order: dict[str, Any]) -> Points:
    answer = await client.post("/synthesize", json=order)
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["landmarks"]["crop_units"], np.float32)


def upload(*pictures: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", ("face.png", data, "image/png")) for data in pictures]


async def test_a_source_at_rest_becomes_the_target_at_rest(settings: Settings) -> None:
    """Whoever it is: here somebody whose mouth stands open, which one frame alone can't tell from speech."""
    gaping = open_lips(FACE, 0.05)
    async with serve(settings) as client:
        blind = await convert(client, make_order(gaping))
        known = await convert(client, make_order(gaping, source_neutral=gaping.astype(float).tolist()))
        shape = np.array((await client.get("/targets/ada")).json()["shape"], np.float32)
    rest = measure_expression(shape, IBUG68)["mouth"]
    assert measure_expression(blind, IBUG68)["mouth"] > rest + 0.1
    assert measure_expression(known, IBUG68)["mouth"] == pytest.approx(rest, abs=1e-3)
    same, face = (each - each.mean(axis=0) for each in (known, shape))
    np.testing.assert_allclose(same / same.std(), face / face.std(), atol=1e-3)


async def test_a_neutral_face_is_of_any_scale_place_and_scheme(settings: Settings) -> None:
    face, neutral = open_lips(FACE, 0.04), FACE
    wide = make_face(WFLW98)
    async with serve(settings) as client:
        given = [
            await convert(client, make_order(face, source_neutral=each.astype(float).tolist()))
            for each in (neutral, neutral * 300 - 40)
        ]
        await convert(client, make_order(face, source_neutral=wide.astype(float).tolist()))
    np.testing.assert_allclose(given[1], given[0], atol=2e-4)


async def test_of_several_faces_the_neutral_one_is_found(settings: Settings) -> None:
    face = open_lips(FACE, 0.04)
    talking = [open_lips(FACE, gap) * 100 for gap in (0, 0.06, 0.04, 0.004, 0.08)]
    async with serve(settings) as client:
        alone = await convert(client, make_order(face, source_neutral=FACE.astype(float).tolist()))
        found = await convert(
            client, make_order(face, source_neutral=[each.astype(float).tolist() for each in talking])
        )
        averaged = await convert(client, make_order(face, source_neutral=talking[-1].astype(float).tolist()))
    mouths = [float(measure_expression(each, IBUG68)["mouth"]) for each in (alone, found, averaged)]
    assert mouths[0] == pytest.approx(mouths[1], abs=0.05)
    assert mouths[2] < mouths[1] - 0.05


async def test_landmarks_of_several_pictures_come_with_a_neutral_face(settings: Settings) -> None:
    pictures = [
        to_bytes(draw_faces((20, 15, 60))),
        to_bytes(draw_faces()),
        to_bytes(draw_faces((5, 10, 30), (50, 12, 60))),
    ]
    async with serve(settings, MarkedDetector()) as client:
        one = (await client.post("/landmarks", files=upload(pictures[0]))).json()
        many = (await client.post("/landmarks", files=upload(*pictures))).json()
        none = (await client.post("/landmarks", files=upload(pictures[1]))).json()
        crowd = await client.post("/landmarks", files=upload(*[pictures[1]] * 17))
        order = make_order(open_lips(FACE, 0.04))
        sent = await convert(client, order | {"source_neutral": many["neutral"]})
        expected = await convert(client, order | {"source_neutral": make_face().astype(float).tolist()})
    assert [len(each["faces"]) for each in (many, *many["more"])] == [1, 0, 2]
    assert many["faces"] == one["faces"]
    assert (one["more"], none["neutral"]) == (None, None)
    assert len(one["neutral"]) == len(many["neutral"]) == 68
    np.testing.assert_allclose(many["neutral"], one["neutral"], atol=1e-4)  # the same painted face each time
    np.testing.assert_allclose(sent, expected, atol=3e-3)
    assert crowd.status_code == 422
    assert "image" in crowd.json()["detail"]


async def test_reenact_goes_by_it_likewise(settings: Settings) -> None:
    data, neutral = to_bytes(draw_faces((20, 15, 60))), open_lips(FACE, -0.02).astype(float).tolist()
    async with serve(settings, MarkedDetector()) as client:
        form = {"target": "ada", "response": "json", "source_neutral": json.dumps(neutral)}
        driven = (await client.post("/reenact", files=upload(data), data=form)).json()
        blind = (await client.post("/reenact", files=upload(data), data=form | {"source_neutral": "null"})).json()
        face = (await client.post("/landmarks", files=upload(data))).json()["faces"][0]
        again = await convert(client, make_order(np.array(face["landmarks"]), source_neutral=neutral))
    np.testing.assert_allclose(driven["landmarks"]["crop_units"], again, atol=1e-5)
    assert blind.get("status") == 422  # no face at all is no neutral face


POINTS: list[list[float]] = FACE.astype(float).tolist()


@pytest.mark.parametrize(
    ("neutral", "said"),
    [
        ([], "source_neutral"),
        ([[]], "source_neutral"),
        ([POINTS, POINTS[:-1]], "source_neutral.1: No landmark scheme has 67"),
        (POINTS[:5], "source_neutral.0: No landmark scheme has 5 points"),
        ([[0.5, 0.5]] * 68, "one spot"),
        ([*POINTS[:-1], ["0", 1]], "source_neutral.0.67.0"),
        ([POINTS, [*POINTS[:-1], [1, 2, 3]]], "source_neutral.1.67"),
        ("neutral", "source_neutral"),
        ({"landmarks": POINTS}, "source_neutral"),
        ([[[0, 1]]] * 65, "source_neutral"),
    ],
)
async def test_neutral_faces_that_are_none(settings: Settings, neutral: Any, said: str) -> None:
    data = to_bytes(draw_faces((20, 15, 60)))
    async with serve(settings, MarkedDetector()) as client:
        answer = await client.post("/synthesize", json=make_order(FACE, source_neutral=neutral))
        form = {"target": "ada", "source_neutral": json.dumps(neutral)}
        uploaded = await client.post("/reenact", files=upload(data), data=form)
    for refused in (answer, uploaded):
        assert refused.status_code == 422, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert said in refused.json()["detail"]


async def test_a_neutral_face_that_is_not_json_is_refused_in_words(settings: Settings) -> None:
    data = to_bytes(draw_faces((20, 15, 60)))
    async with serve(settings, MarkedDetector()) as client:
        for text in ("[[1, 2", "NaN", "null", "\x00", "{"):
            form = {"target": "ada", "source_neutral": text}
            refused = await client.post("/reenact", files=upload(data), data=form)
            assert (refused.status_code, refused.json()["type"].split(":")[-1]) == (422, "landmarks"), text
            assert "source_neutral" in refused.json()["detail"]


async def test_without_conversion_there_is_nothing_to_calibrate(settings: Settings) -> None:
    async with serve(settings) as client:
        answer = await client.post("/synthesize", json=make_order(FACE, convert=False, source_neutral=POINTS))
    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (422, "options")
    assert "'convert'" in answer.json()["expected"]


async def test_the_documented_example_is_the_target_at_rest(settings: Settings) -> None:
    async with serve(settings) as client:
        document = (await client.get("/openapi.json")).json()
        body = document["paths"]["/synthesize"]["post"]["requestBody"]["content"]["application/json"]
        answer = await client.post("/synthesize", json=body["examples"]["calibrated"]["value"])
    assert answer.status_code == 200


def test_a_batch_may_mix_sources_that_are_known_and_not(models: Path) -> None:
    target = open_target(load_bundle(models / "ada"), "cpu", 1)
    points = place_landmarks(open_lips(FACE, 0.04), None, target.manifest).points
    neutral = place_neutral([FACE], target.manifest)
    drives = [
        DrivingFace(points, True),
        DrivingFace(points, True, neutral),
        DrivingFace(points, False),
        DrivingFace(points, True, points),
    ]
    together = target.animator.animate(drives)
    for drive, face in zip(drives, together, strict=True):
        np.testing.assert_allclose(target.animator.animate([drive])[0].points, face.points, atol=1e-6)
    np.testing.assert_allclose(together[0].points, points + SHIFT, atol=1e-6)
    np.testing.assert_allclose(together[2].points, points, atol=1e-6)
    assert len({face.points.tobytes() for face in together}) == 4


@pytest.mark.parametrize("name", TARGETS)
async def test_the_committed_targets_take_a_stranger_at_rest_for_one_at_rest(name: str) -> None:
    """Another target's own shape is a stranger's: what it shows at rest, this one must show at rest."""
    settings = Settings(models_dir=MODELS, threads=1)
    async with serve(settings) as client:
        ids = [each["id"] for each in (await client.get("/targets")).json()["targets"]]
        manifests = {each: (await client.get(f"/targets/{each}")).json() for each in ids}
        shape = np.array(manifests[name]["shape"], np.float32)
        for other in sorted(set(ids) - {name}):
            rest = manifests[other]["shape"]
            presets = (await client.get(f"/targets/{other}/presets")).json()
            known = {"target": name, "source_neutral": rest}
            quiet = await convert(client, make_order(np.array(rest), **known))
            assert np.abs(quiet - shape).max() < 0.02
            asleep = await convert(client, make_order(np.array(presets["eyes_closed"]), **known))
            speaking = await convert(client, make_order(np.array(presets["open_mouth"]), **known))
            still, shut, open_ = (measure_expression(each, IBUG68) for each in (shape, asleep, speaking))
            for eye in ("right_eye", "left_eye"):
                assert shut[eye] < 0.4 * still[eye]
            assert open_["mouth"] > still["mouth"] + 0.1


async def test_what_the_detector_finds_in_real_pictures_goes_into_a_real_target() -> None:
    """Each target's reference, a calm frame, drives the others: they are calm too."""
    pictures = {name: (MODELS / name / "reference.jpg").read_bytes() for name in TARGETS}
    async with serve(Settings(models_dir=MODELS, threads=1)) as client:
        for source, target in ((source, target) for source in TARGETS for target in TARGETS if source != target):
            seen = (await client.post("/landmarks", files=upload(pictures[source]))).json()
            shape = np.array((await client.get(f"/targets/{target}")).json()["shape"], np.float32)
            form = {"target": target, "response": "json", "source_neutral": json.dumps(seen["neutral"])}
            made = (await client.post("/reenact", files=upload(pictures[source]), data=form)).json()
            assert read_picture(base64.b64decode(made["picture"]["base64"])).shape == (256, 256, 3)
            rest = measure_expression(np.array(made["landmarks"]["crop_units"], np.float32), IBUG68)
            for name in ("mouth", "right_eye", "left_eye"):
                assert rest[name] == pytest.approx(measure_expression(shape, IBUG68)[name], abs=0.03), name


def test_the_neutral_face_that_a_live_source_keeps_is_in_crop_units(models: Path) -> None:
    manifest = open_target(load_bundle(models / "ada"), "cpu", 1).manifest
    faces = [open_lips(FACE, 0.01 * number) * 200 + 30 * number for number in range(6)]
    placed = np.stack([place_landmarks(face, None, manifest).points for face in faces])
    np.testing.assert_allclose(place_neutral(faces, manifest), find_neutral(placed, IBUG68), atol=5e-3)
