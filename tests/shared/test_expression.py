"""What is read off a face's landmarks."""

import numpy as np
import pytest

from shared.expression import MEASURES, measure_expression
from shared.landmarks import IBUG68, IBUG70, SCHEMES, WFLW98, Points, convert_scheme, flip_points
from tests.fixtures.acted import act, stretch

REST = act()


def measure(points: Points) -> dict[str, float]:
    return {name: float(value) for name, value in measure_expression(points, IBUG68).items()}


def test_values_are_lengths_between_the_eyes() -> None:
    points = np.zeros((68, 2), np.float32)
    points[[36, 39, 42, 45]] = [(0, 0), (2, 0), (8, 0), (10, 0)]  # eye centres at x = 1 and 9: the unit is 8
    points[[37, 38, 41, 40]] = [(0.5, -1), (1.5, -1), (0.5, 1), (1.5, 1)]
    points[[43, 44, 47, 46]] = [(8.5, 0), (9.5, 0), (8.5, 0), (9.5, 0)]
    points[[61, 62, 63, 67, 66, 65]] = [(4, 8), (5, 8), (6, 8), (4, 12), (5, 12), (6, 12)]
    points[list(IBUG68.groups["outer_lips"])] = (5, 10)
    points[[48, 54]] = [(3, 10), (7, 10)]
    points[17:22], points[22:27] = (1, -2), (9, -4)
    points[30] = (7, 4)
    found = measure(points)
    assert found == pytest.approx(
        {
            "mouth": 4 / 8,
            "right_eye": 2 / 8,
            "left_eye": 0,
            "right_brow": 2 / 8,
            "left_brow": 4 / 8,
            "mouth_width": 4 / 8,
            "yaw": 2 / 8,
            "pitch": 4 / 8,
            "roll": 0,
        }
    )
    assert tuple(found) == MEASURES


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("mouth", act(mouth=0.5)),
        ("right_brow", act(brows=1)),
        ("left_brow", act(brows=1)),
        ("yaw", act(yaw=0.5)),
        ("mouth_width", stretch(REST, "outer_lips", wide=1.3)),
    ],
)
def test_each_measure_grows_with_what_it_is_named_after(name: str, changed: Points) -> None:
    assert measure(changed)[name] > measure(REST)[name] + 0.05


def test_shut_eyes_measure_nothing() -> None:
    asleep = measure(act(lids=1))
    assert (asleep["right_eye"], asleep["left_eye"]) == pytest.approx((0, 0), abs=1e-6)
    wink = measure(stretch(REST, "right_eye", high=0))
    assert wink["right_eye"] == pytest.approx(0, abs=1e-6)
    assert wink["left_eye"] == pytest.approx(measure(REST)["left_eye"])


def test_scale_and_place_do_not_count_and_roll_only_for_roll() -> None:
    face = act(mouth=0.6, lids=0.3, brows=0.5, yaw=0.4)
    angle = 0.3
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # clockwise, y down
    expected, turned = measure(face), measure((face @ turn * 180 + (40, -900)).astype(np.float32))
    assert turned.pop("roll") == pytest.approx(angle, abs=1e-4)
    assert expected.pop("roll") == pytest.approx(0, abs=1e-6)
    assert turned == pytest.approx(expected, abs=1e-3)


def test_a_mirrored_face_swaps_sides_and_turns_the_other_way() -> None:
    face = stretch(act(mouth=0.4, yaw=0.4), "right_eye", high=0.3)
    found, mirrored = measure(face), measure(flip_points(face, IBUG68, width=1.0))
    assert mirrored["yaw"] == pytest.approx(-found["yaw"], abs=1e-5)
    assert mirrored["right_eye"] == pytest.approx(found["left_eye"], abs=1e-5)
    assert mirrored["left_eye"] == pytest.approx(found["right_eye"], abs=1e-5)
    for name in ("mouth", "mouth_width", "pitch"):
        assert mirrored[name] == pytest.approx(found[name], abs=1e-5)


def test_leading_axes_stay() -> None:
    faces = np.stack([[REST, act(mouth=1), act(lids=1)]] * 2)  # (2, 3, 68, 2)
    found = measure_expression(faces, IBUG68)
    for name in MEASURES:
        assert found[name].shape == (2, 3)
        assert found[name].dtype == np.float32
        assert found[name][1, 1] == pytest.approx(measure(act(mouth=1))[name], abs=1e-5)


def test_98_points_tell_the_same_as_their_68() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((98, 2)).astype(np.float32)
    ours, theirs = (
        measure_expression(each, scheme)
        for each, scheme in ((points, WFLW98), (convert_scheme(points, WFLW98, IBUG68), IBUG68))
    )
    for name in ("mouth", "mouth_width", "yaw", "pitch", "roll"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-5), name


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_points_on_one_spot_give_numbers(name: str) -> None:
    scheme = SCHEMES[name]
    found = measure_expression(np.ones((scheme.count, 2), np.float32), scheme)
    assert all(np.isfinite(value).all() for value in found.values())


def test_gaze_is_where_pupils_lie_between_their_corners() -> None:
    """Of any size and tilt; a mirrored face looks the other way."""
    face = convert_scheme(REST, IBUG68, IBUG70)
    width = np.linalg.norm(face[39] - face[36])
    face[68:] += (0.25 * width, -0.1 * width)
    for angle in (0.0, 0.4):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        found = measure_expression((face @ turn * 200).astype(np.float32), IBUG70)
        assert (float(found["gaze_x"]), float(found["gaze_y"])) == pytest.approx((0.25, -0.1), abs=1e-4)
    mirrored = measure_expression(flip_points(face, IBUG70, width=1.0), IBUG70)
    assert (float(mirrored["gaze_x"]), float(mirrored["gaze_y"])) == pytest.approx((-0.25, -0.1), abs=1e-4)
    assert "gaze_x" not in measure_expression(REST, IBUG68)
