"""Depth and motions: what each motion names is what it moves, and any scheme has them."""

import numpy as np
import pytest

from shared.anatomy import describe
from shared.expression import MEASURES, measure_expression
from shared.landmarks import CONVERSIONS, IBUG68, IBUG70, SCHEMES, WFLW98, Scheme, pick

# An upright face, symmetric about x = 0, eyes 1 apart: right half and middle of the 68 points.
HALF = {
    **{0: (-1.1, -0.2), 4: (-0.95, 0.9), 8: (0, 1.5), 17: (-0.9, -0.5), 21: (-0.2, -0.6), 27: (0, -0.4), 30: (0, 0.1)},
    **{31: (-0.3, 0.35), 33: (0, 0.4), 36: (-0.7, 0), 37: (-0.6, -0.05), 38: (-0.4, -0.05), 39: (-0.3, 0)},
    **{40: (-0.4, 0.05), 41: (-0.6, 0.05), 48: (-0.4, 0.75), 51: (0, 0.6), 57: (0, 0.95), 60: (-0.35, 0.75)},
    **{61: (-0.2, 0.72), 62: (0, 0.72), 66: (0, 0.78), 67: (-0.2, 0.78), 68: (-0.5, 0)},
}


def make_points() -> np.ndarray:
    points = np.zeros((70, 2), np.float32)
    for index, (x, y) in HALF.items():
        points[IBUG70.flip[index]] = -x, y
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
    "gaze_across": {},
    "gaze_down": {},
}


def test_each_motion_moves_what_it_names_and_little_else() -> None:
    motions = {motion.name: motion for motion in describe(IBUG70).motions}
    assert set(motions) == set(MOVED)
    before = measure_expression(make_points(), IBUG70)
    for name, motion in motions.items():
        after = measure_expression((make_points() + 0.1 * motion.points).astype(np.float32), IBUG70)
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
        sign = -1 if name == "gaze_across" else 1  # in the mirror a look to the right is one to the left
        np.testing.assert_allclose(points[flip] * (-1, 1), sign * motions[other], atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_each_reading_tells_its_own_motion_alone(scheme: Scheme) -> None:
    motions = describe(scheme).motions
    told = [[(each.reading * motion.points).sum() for motion in motions] for each in motions]
    np.testing.assert_allclose(told, np.eye(len(motions)), atol=1e-9)


def test_an_eye_moved_as_a_whole_or_a_pupil_of_one_is_no_other_motion() -> None:
    anatomy = describe(IBUG70)
    offset = np.zeros((70, 2))
    offset[list(anatomy.features["right_eye"])] = 0.1, -0.05
    assert [(each.reading * offset).sum() for each in anatomy.motions] == pytest.approx([0] * 8, abs=1e-9)
    offset = np.zeros((70, 2))
    offset[68] = 0.04, 0.02  # one of two looks away
    told = {each.name: (each.reading * offset).sum() for each in anatomy.motions}
    assert told.pop("gaze_across") == pytest.approx(0.02)
    assert told.pop("gaze_down") == pytest.approx(0.01)
    assert list(told.values()) == pytest.approx([0] * 6, abs=1e-9)


def test_pupils_go_with_their_lids_and_a_scheme_without_them_has_no_gaze() -> None:
    assert 68 in describe(IBUG70).features["right_eye"]
    assert [each.name for each in describe(IBUG68).motions] == [name for name in MOVED if "gaze" not in name]
    shut = {each.name: each.points for each in describe(IBUG70).motions}["right_eye_open"]
    assert shut[68, 1] == pytest.approx(shut[[37, 38, 40, 41], 1].mean(), abs=0.02)  # halfway between the lids
    assert (shut[69] == 0).all()


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
    np.testing.assert_array_equal(large.depth[96:], describe(IBUG70).depth[68:])
    np.testing.assert_array_equal(large.depth[taken], small.depth)
    # The jaw has a point halfway between each two of the 68; the lower edge of a brow has none of them.
    np.testing.assert_allclose(large.depth[1:32:2], (small.depth[:16] + small.depth[1:17]) / 2)
    brow = large.depth[list(WFLW98.groups["right_brow"])]
    assert brow.min() >= small.depth[17:22].min()
    assert brow.max() <= small.depth[17:22].max()
