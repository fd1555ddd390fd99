"""A head tilted further than the target's ever was: drawn upright, turned in the picture."""

from pathlib import Path

import numpy as np
import pytest

from service.inference.bundles import open_target
from service.inference.synthesis import place_landmarks
from shared.animation import DrivingFace
from shared.bundle import load_bundle
from shared.detectors import load_detector
from shared.expression import measure_expression
from shared.landmarks import IBUG68, Points, convert_scheme, get_scheme
from shared.neutral import turn

MODELS = Path(__file__).parents[2] / "models"
TARGETS = [path.parent.name for path in sorted(MODELS.glob("*/bundle.json"))]
ANGLES = (-0.7, 0.0, 0.5)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("how", ["straight", "converted", "calibrated"])
def test_the_face_is_tilted_as_the_source_is(name: str, how: str) -> None:
    target, detector = open_target(load_bundle(MODELS / name), "cpu", 1), load_detector("mesh", MODELS, 1)
    face = np.array(target.manifest.neutral, np.float32)
    calm = np.array(target.manifest.shape, np.float32) if how == "calibrated" else None
    tilted = turn(np.stack([face] * len(ANGLES)), np.array(ANGLES, np.float32))
    placed = [place_landmarks(each, None, target.manifest).points for each in tilted]
    made = target.animator.animate([DrivingFace(each, how != "straight", calm) for each in placed])
    asked = measure_roll(tilted)
    np.testing.assert_allclose(measure_roll(np.stack([each.points for each in made])), asked, atol=0.05)
    seen = np.stack([detector.detect(each.picture)[0].landmarks for each in made])
    found = convert_scheme(seen, get_scheme(detector.scheme), get_scheme(target.manifest.scheme))  # (B, N, 2) in pixels
    np.testing.assert_allclose(measure_roll(found), asked, atol=0.06)
    pixels = np.stack([each.points for each in made]) * made[0].picture.shape[0]
    assert np.linalg.norm(found - pixels, axis=2).mean(axis=1).max() < 4


def measure_roll(points: Points) -> np.ndarray:
    return measure_expression(points, IBUG68)["roll"]
