"""A head's tilt, shared between the networks and the picture."""

from pathlib import Path

import numpy as np
import pytest

from shared.bundle import BundleManifest, read_bundle
from shared.expression import measure_expression
from shared.geometry import find_crop
from shared.landmarks import IBUG68, Points
from shared.neutral import turn
from shared.tilt import SMALLEST_REACH, TiltRange

MODELS = Path(__file__).parents[2] / "models"
NAMES = [path.parent.name for path in sorted(MODELS.glob("*/bundle.json"))]


@pytest.fixture(scope="module", params=NAMES)
def manifest(request: pytest.FixtureRequest) -> BundleManifest:
    """A committed bundle's manifest."""
    return read_bundle(MODELS / request.param)


def tilt(manifest: BundleManifest, angles: np.ndarray) -> Points:
    """The target's neutral shape, upright, turned by angles (B,)."""
    return turn(np.repeat(np.array(manifest.shape, np.float32)[None], len(angles), axis=0), angles)


def test_within_the_range_nothing_is_left_over(manifest: BundleManifest) -> None:
    filmed = np.array([manifest.neutral, *manifest.presets.values()], np.float32)
    np.testing.assert_allclose(TiltRange(manifest).find_excess(filmed), 0, atol=1e-6)


def test_beyond_the_range_all_the_rest_is_left_over(manifest: BundleManifest) -> None:
    """Also of a head that hangs upside down."""
    range_, angles = TiltRange(manifest), np.array([-3, -1, -0.6, 0.6, 1, 3], np.float32)
    faces = tilt(manifest, angles)
    excess = range_.find_excess(faces)
    level = range_.turn(faces, -excess)
    rolls = measure_expression(level, IBUG68)["roll"]
    np.testing.assert_allclose(rolls, np.where(angles < 0, range_.low, range_.high), atol=1e-3)
    np.testing.assert_allclose(range_.turn(level, excess), faces, atol=1e-5)


def test_a_face_keeps_its_crop_as_it_turns(manifest: BundleManifest) -> None:
    range_, face = TiltRange(manifest), np.array(manifest.shape, np.float32)
    before = find_crop(face, manifest.crop)
    after = find_crop(range_.turn(face[None], np.array([0.8], np.float32))[0], manifest.crop)
    placed = [before.x, before.y, before.side]
    # The manifest's shape is a mean: not exactly where its own crop would lie.
    assert [after.x, after.y, after.side] == pytest.approx(placed, abs=0.02)


def test_a_target_without_tilted_presets_has_a_small_range() -> None:
    manifest = read_bundle(MODELS / NAMES[0])
    alone = TiltRange(manifest.model_copy(update={"presets": {}}))
    assert alone.high - alone.low == pytest.approx(2 * SMALLEST_REACH)
    roll = float(measure_expression(np.array(manifest.neutral, np.float32), IBUG68)["roll"])
    assert (alone.low + alone.high) / 2 == pytest.approx(roll)
