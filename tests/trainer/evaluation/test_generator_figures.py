"""What an edit of the landmarks changes: on generators that are known to the pixel, and on the committed bundles."""

from pathlib import Path

import numpy as np
import pytest

from shared.bundle import read_bundle
from shared.detectors import load_detector
from shared.landmarks import IBUG70, Points
from shared.pixels import Image8
from trainer.evaluation.face_analyzer import FaceAnalyzer, LocalFaceAnalyzer
from trainer.evaluation.figures import open_animator
from trainer.evaluation.generator_figures import measure_gaze, measure_leak, measure_winks

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return LocalFaceAnalyzer(load_detector("mesh", MODELS), None)


def read_neutral(target: str) -> Points:
    return np.array(read_bundle(MODELS / target).neutral, np.float32)


@pytest.mark.parametrize("rows", [slice(None), slice(0, 40), slice(120, 256)])
def test_a_leak_is_what_changes_far_from_the_mouth(rows: slice) -> None:
    face = read_neutral("franck")
    middle = face[list(IBUG70.groups["outer_lips"])].mean(axis=0) * 256

    def draw(faces: Points) -> Image8:
        pictures = np.zeros((len(faces), 256, 256, 3), np.uint8)
        pictures[1, rows] = 10
        assert (faces[1] - faces[0])[66, 1] == pytest.approx(6 / 256)
        return pictures

    y, x = np.mgrid[:256, :256] + 0.5
    far = np.hypot(x - middle[0], y - middle[1]) > 96
    changed = np.zeros((256, 256), bool)
    changed[rows] = True
    assert measure_leak(draw, face, IBUG70) == pytest.approx(10 * changed[far].mean(), abs=0.1)


def test_faces_that_are_not_found_have_no_figure(analyzer: FaceAnalyzer) -> None:
    def draw(faces: Points) -> Image8:
        return np.zeros((len(faces), 256, 256, 3), np.uint8)

    assert measure_winks(draw, read_neutral("cap"), IBUG70, analyzer) == {}
    assert np.isnan(measure_gaze(draw, read_neutral("cap"), IBUG70, analyzer))


@pytest.mark.parametrize("target", ["franck", "cap"])
def test_each_committed_target_winks_and_looks_about(target: str, analyzer: FaceAnalyzer) -> None:
    animator = open_animator(MODELS / target, read_bundle(MODELS / target))

    def draw(faces: Points) -> Image8:
        return (animator.generator(faces).transpose(0, 2, 3, 1).clip(0, 1) * 255).astype(np.uint8)

    face = read_neutral(target)
    row = measure_winks(draw, face, IBUG70, analyzer)
    for eye in ("right_eye", "left_eye"):
        assert row[f"{eye}_falls"] > 0.5
        assert row[f"{eye}_other"] < 0.15
    assert measure_gaze(draw, face, IBUG70, analyzer) > 0.9
    assert measure_leak(draw, face, IBUG70) < 0.3
