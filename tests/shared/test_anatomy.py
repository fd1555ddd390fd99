"""Depth and motions: what each motion names is what it moves, and any scheme has them."""

import numpy as np
import pytest

from shared.anatomy import describe
from shared.expression import MEASURES, measure_expression
from shared.landmarks import CONVERSIONS, IBUG68, SCHEMES, WFLW98, Scheme, pick

# An upright face, symmetric about x = 0, eyes 1 apart: right half and middle of the 68 points.
HALF = {
    **{0: (-1.1, -0.2), 4: (-0.95, 0.9), 8: (0, 1.5), 17: (-0.9, -0.5), 21: (-0.2, -0.6), 27: (0, -0.4), 30: (0, 0.1)},
    **{31: (-0.3, 0.35), 33: (0, 0.4), 36: (-0.7, 0), 37: (-0.6, -0.05), 38: (-0.4, -0.05), 39: (-0.3, 0)},
    **{40: (-0.4, 0.05), 41: (-0.6, 0.05), 48: (-0.4, 0.75), 51: (0, 0.6), 57: (0, 0.95), 60: (-0.35, 0.75)},
    **{61: (-0.2, 0.72), 62: (0, 0.72), 66: (0, 0.78), 67: (-0.2, 0.78)},
}


def make_points() -> np.ndarray:
    points = np.zeros((68, 2), np.float32)
    for index, (x, y) in HALF.items():
        points[IBUG68.flip[index]] = -x, y
        points[index] = x, y
    return points


# motion -> the measures that it changes by about one unit, and their sign; no other measure moves by a sixth of it.
MOVED = {
    "mouth_open": {"mouth": 1},
    "smile": {"mouth_width": 1},
    "pout": {"mouth_width": -1},
    "brows_up": {"right_brow": 1, "left_brow": 1},
    "right_eye_open": {"right_eye": 1},
    "left_eye_open": {"left_eye": 1},
}


def test_each_motion_moves_what_it_names_and_little_else() -> None:
    motions = {motion.name: motion for motion in describe(IBUG68).motions}
    assert set(motions) == set(MOVED)
    before = measure_expression(make_points(), IBUG68)
    for name, motion in motions.items():
        after = measure_expression((make_points() + 0.1 * motion.points).astype(np.float32), IBUG68)
        for measure in MEASURES:
            change = float(after[measure] - before[measure]) / 0.1
            assert change == pytest.approx(MOVED[name].get(measure, 0), abs=0.17), (name, measure)
        assert motion.low < 0 < motion.high


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_left_mirrors_right(scheme: Scheme) -> None:
    anatomy = describe(scheme)
    flip = list(scheme.flip)
    np.testing.assert_allclose(anatomy.depth, anatomy.depth[flip], atol=1e-12)
    motions = {motion.name: motion.points for motion in anatomy.motions}
    for name, points in motions.items():
        other = name.replace("right_", "left_") if "right_" in name else name.replace("left_", "right_")
        np.testing.assert_allclose(points[flip] * (-1, 1), motions[other], atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_features_hold_every_point_once_and_the_nose_is_nearest(scheme: Scheme) -> None:
    anatomy = describe(scheme)
    assert sorted(index for feature in anatomy.features.values() for index in feature) == list(range(scheme.count))
    assert int(anatomy.depth.argmax()) == scheme.nose_tip
    jaw = anatomy.depth[list(scheme.groups["jaw"])]
    assert jaw.argmax() == len(jaw) // 2  # the chin
    for motion in anatomy.motions:
        still = pick(scheme, ("nose_bridge",))
        assert np.isfinite(motion.points).all()
        assert (motion.points[list(still)] == 0).all()


def test_another_scheme_takes_over_points_and_fills_those_between() -> None:
    small, large = describe(IBUG68), describe(WFLW98)
    taken = list(CONVERSIONS["wflw98", "ibug68"])
    np.testing.assert_array_equal(large.depth[taken], small.depth)
    # The jaw has a point halfway between each two of the 68; the lower edge of a brow has none of them.
    np.testing.assert_allclose(large.depth[1:32:2], (small.depth[:16] + small.depth[1:17]) / 2)
    brow = large.depth[list(WFLW98.groups["right_brow"])]
    assert brow.min() >= small.depth[17:22].min()
    assert brow.max() <= small.depth[17:22].max()
