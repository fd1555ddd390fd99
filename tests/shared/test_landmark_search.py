"""Landmarks searched by hypothesis: what a face is stays one wherever it lies, and what is none is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.errors import LandmarksError
from shared.geometry import CropRule, find_crop
from shared.landmarks import IBUG68, MAX_COORDINATE, check_points
from tests.fixtures.painted import FACE

RULE = CropRule(centre_points=IBUG68.rigid, scale_points=IBUG68.rigid, factor=6.0, drop=0.0)
FACE64 = FACE.astype(np.float64)
QUICK = settings(max_examples=100, deadline=None, derandomize=True)


@QUICK
@given(st.floats(1e-3, 1e4), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0.2, 5), st.floats(-3.2, 3.2))
def test_a_face_is_one_wherever_it_lies(scale: float, x: float, y: float, stretch: float, roll: float) -> None:
    """Scaled, moved, stretched, turned: within float32's digits."""
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    face = (FACE64 - 0.5) * (1, stretch) @ turn * scale
    place = np.array([x, y]) if max(abs(x), abs(y)) < 1e3 * scale else np.zeros(2)
    crop = find_crop(check_points(face + place, IBUG68), RULE)
    assert np.abs(crop.to_unit((face + place).astype(np.float32)) - 0.5).max() < 2


@QUICK
@given(st.integers(0, 67), st.floats(20, MAX_COORDINATE / 2), st.floats(0, 6.3))
def test_one_point_far_off_is_refused_whichever_it_is(index: int, away: float, angle: float) -> None:
    face = FACE64.copy()
    face[index] += away * np.array([np.cos(angle), np.sin(angle)])
    with pytest.raises(LandmarksError, match=f"Landmark {index} lies"):
        check_points(face, IBUG68)


@QUICK
@given(st.floats(0, 3.2), st.floats(1e-2, 1e4), arrays(np.float64, 68, elements=st.floats(-1, 1)))
def test_points_on_a_line_are_refused(angle: float, scale: float, along: np.ndarray) -> None:
    line = along[:, None] * scale * np.array([np.cos(angle), np.sin(angle)])
    with pytest.raises(LandmarksError, match=r"one line|one spot|times as far off"):
        check_points(line, IBUG68)
    squeezed = FACE64 @ np.outer([np.cos(angle), np.sin(angle)], [np.cos(angle), np.sin(angle)]) * scale
    with pytest.raises(LandmarksError, match="one line"):
        check_points(squeezed, IBUG68)


@QUICK
@given(arrays(np.float64, (68, 2), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_any_numbers_are_refused_or_have_a_crop(points: np.ndarray) -> None:
    try:
        crop = find_crop(check_points(points, IBUG68), RULE)
    except LandmarksError:
        return
    assert np.isfinite([crop.x, crop.y, crop.side]).all()
    assert crop.side > 0
