"""GET /schemes/{name}: what an editor learns of a scheme is what the schemes say."""

import numpy as np
import pytest
from tiny_service import serve

from service.settings import Settings
from shared.anatomy import describe
from shared.landmarks import SCHEMES

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", SCHEMES)
async def test_a_scheme_is_told_whole(settings: Settings, name: str) -> None:
    scheme = SCHEMES[name]
    async with serve(settings) as client:
        body = (await client.get(f"/schemes/{name}")).json()
    assert (body["name"], body["count"]) == (name, scheme.count)
    assert {group: tuple(points) for group, points in body["groups"].items()} == scheme.groups
    assert tuple(body["flip"]) == scheme.flip
    assert [(tuple(stroke["points"]), stroke["closed"]) for stroke in body["strokes"]] == list(scheme.strokes)
    assert tuple(body["openings"]["mouth"]["upper"]) == scheme.openings["mouth"][0]
    assert (tuple(body["eye_corners"]), body["nose_tip"]) == (scheme.eye_corners, scheme.nose_tip)
    np.testing.assert_allclose(body["depth"], describe(scheme).depth, atol=1e-4)
    for told, motion in zip(body["motions"], describe(scheme).motions, strict=True):
        assert (told["name"], told["low"], told["high"]) == (motion.name, motion.low, motion.high)
        np.testing.assert_allclose(told["points"], motion.points, atol=1e-4)
        np.testing.assert_allclose(told["reading"], motion.reading, atol=1e-4)
    assert body["pupils"] == (None if scheme.pupils is None else list(scheme.pupils))


async def test_an_unknown_scheme_is_refused(settings: Settings) -> None:
    async with serve(settings) as client:
        answer = await client.get("/schemes/iris70")
    assert answer.status_code == 404
    assert answer.json()["title"] == "There is no such landmark scheme"
    assert "ibug68" in answer.json()["expected"]
