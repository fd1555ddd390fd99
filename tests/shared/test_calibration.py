"""The calibrated conversion: places from the converter, motions and tilt from the source."""

from pathlib import Path

import numpy as np
import pytest

from shared.bundle import BundleManifest, read_bundle
from shared.calibration import Calibration, fit_affine
from shared.expression import measure_expression
from shared.landmarks import IBUG68, Points, pick
from shared.neutral import find_neutral, turn
from tests.fixtures.acted import act, crop_units, stretch

MODELS = Path(__file__).parents[2] / "models"
NAMES = [path.parent.name for path in sorted(MODELS.glob("*/bundle.json"))]
EYES = list(pick(IBUG68, ("right_eye", "left_eye")))

# Somebody with narrow eyes and a wide mouth, which stands a little open.
SOURCE = stretch(stretch(stretch(act(mouth=0.1), "right_eye", high=0.6), "left_eye", high=0.6), "jaw", wide=1.05)


@pytest.fixture(scope="module", params=NAMES)
def manifest(request: pytest.FixtureRequest) -> BundleManifest:
    """A committed bundle's manifest."""
    return read_bundle(MODELS / request.param)


def measure(points: Points, name: str) -> np.ndarray:
    return measure_expression(points, IBUG68)[name]


def stay(points: Points) -> Points:
    """A converter that answers with what it is given."""
    return points


def test_the_neutral_face_becomes_the_targets(manifest: BundleManifest) -> None:
    calibration = Calibration(manifest)
    neutral = find_neutral(crop_units(SOURCE[None]), IBUG68)
    converted = calibration.convert(neutral[None], neutral, stay)
    np.testing.assert_allclose(converted[0], manifest.shape, atol=1e-5)
    assert converted.dtype == np.float32


def test_motions_are_the_sources_and_pose_is_the_converters(manifest: BundleManifest) -> None:
    """A converter that answers with one face: pose is gone, what lids, lips and brows do is not."""
    calibration = Calibration(manifest)
    shape = np.array(manifest.shape, np.float32)
    neutral = find_neutral(crop_units(SOURCE[None]), IBUG68)
    acted = np.stack([neutral] * 3)
    acted[1, EYES] = stretch(stretch(neutral, "right_eye", high=0), "left_eye", high=0)[EYES]
    acted[2, list(pick(IBUG68, ("right_brow", "left_brow")))] -= (0, 0.02)
    converted = calibration.convert(acted, neutral, lambda points: np.repeat(shape[None], len(points), axis=0))
    still = list(pick(IBUG68, ("jaw", "nose_bridge", "nose_base")))
    np.testing.assert_allclose(converted[:, still], np.repeat(shape[None, still], 3, axis=0), atol=5e-3)
    for eye in ("right_eye", "left_eye"):
        np.testing.assert_allclose(measure(converted, eye) / measure(shape, eye), [1, 0, 1], atol=0.15)
    raised = measure(converted, "right_brow") - measure(shape, "right_brow")
    assert raised[:2] == pytest.approx([0, 0], abs=5e-3)
    assert raised[2] > 0.03


def test_a_turn_of_the_head_that_the_converter_refuses_is_halved(manifest: BundleManifest) -> None:
    """The nose of a head that turns leaves the middle; affine maps keep where it lies between the eyes."""
    calibration = Calibration(manifest)
    shape = np.array(manifest.shape, np.float32)
    neutral = find_neutral(crop_units(act()[None]), IBUG68)
    turned = neutral[None].copy()
    turned[:, list(pick(IBUG68, ("nose_bridge", "nose_base")))] += (0.03, 0)
    free = calibration.convert(turned, neutral, stay)
    refused = calibration.convert(turned, neutral, lambda points: shape[None])
    assert measure(free, "yaw") > 0.05
    assert measure(refused, "yaw") == pytest.approx(measure(free, "yaw") / 2, rel=0.15)


def test_an_affine_fit_undoes_affine_changes_and_nothing_else() -> None:
    faces = crop_units(np.stack([act(), act(mouth=1)]))
    changed = (faces @ np.array([[1.1, 0.1], [-0.2, 0.9]], np.float32) + (0.05, -0.03)).astype(np.float32)
    np.testing.assert_allclose(fit_affine(changed, faces), faces, atol=1e-5)
    fitted = fit_affine(faces[1:], faces[:1])
    assert measure(fitted, "mouth") > 0.8 * measure(faces[1:], "mouth")
    on_a_line = np.stack([np.linspace(0, 1, 68)] * 2, axis=-1, dtype=np.float32)[None]
    assert np.isfinite(fit_affine(on_a_line, faces[:1])).all()


def test_each_row_has_its_own_neutral_face(manifest: BundleManifest) -> None:
    calibration = Calibration(manifest)
    others = crop_units(np.stack([act(), SOURCE]))
    neutrals = np.stack([find_neutral(face[None], IBUG68) for face in others])
    together = calibration.convert(others, neutrals, stay)
    for row in range(2):
        alone = calibration.convert(others[row : row + 1], neutrals[row], stay)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


def test_a_tilted_head_stays_tilted(manifest: BundleManifest) -> None:
    neutral = find_neutral(crop_units(act()[None]), IBUG68)
    angles = np.linspace(-0.1, 0.1, 9, dtype=np.float32)
    converted = Calibration(manifest).convert(turn(np.repeat(neutral[None], 9, axis=0), angles), neutral, stay)
    np.testing.assert_allclose(measure(converted, "roll"), angles, atol=1e-4)
