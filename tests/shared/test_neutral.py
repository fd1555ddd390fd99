"""A person's neutral shape, and expressions moved from one person's to another's."""

import numpy as np
import pytest

from shared.expression import measure_expression
from shared.landmarks import IBUG68, SCHEMES, Points, flip_points
from shared.neutral import Retarget, find_calm, find_neutral, turn, turn_upright
from tests.fixtures.acted import act, crop_units, film_units, stretch

RETARGET = Retarget(IBUG68)
EYE = list(IBUG68.groups["right_eye"])


def measure(points: Points, name: str) -> np.ndarray:
    return measure_expression(points, IBUG68)[name]


# The neutral shape


def act_mix() -> Points:
    """Ten frames that all look to one side: three calm, five with the mouth open, two with shut eyes."""
    calm = [act(yaw=0.3)] * 3
    talking = [act(mouth=0.5 + 0.1 * number, yaw=0.3) for number in range(5)]
    return crop_units(np.stack([*talking, act(lids=1, yaw=0.3), act(lids=0.9, yaw=0.3), *calm]))


def test_neutral_has_the_mouth_shut_and_the_eyes_open() -> None:
    neutral = find_neutral(act_mix(), IBUG68)
    rest = crop_units(act()[None])[0]
    for name in ("mouth", "right_eye", "left_eye"):
        assert measure(neutral, name) == pytest.approx(measure(rest, name), abs=5e-3), name
    assert measure(act_mix().mean(axis=0), "mouth") > 3 * measure(neutral, "mouth")
    assert neutral.dtype == np.float32


def test_neutral_is_its_own_mirror_image() -> None:
    frames = act_mix()
    neutral = find_neutral(frames, IBUG68)
    np.testing.assert_allclose(flip_points(neutral, IBUG68, width=1.0), neutral, atol=1e-6)
    assert measure(neutral, "yaw") == pytest.approx(0, abs=1e-5)
    assert abs(measure(frames.mean(axis=0), "yaw")) > 0.1


def test_neutral_of_frames_that_are_never_calm_is_that_of_a_shut_mouth() -> None:
    shut_and_asleep = [act(mouth=0.01 * number, lids=1 - 0.01 * number) for number in range(3)]
    shut_and_staring = [act(mouth=0.05, lids=-0.5)]
    open_and_awake = [act(mouth=0.5 + 0.1 * number, lids=0.01 * number) for number in range(6)]
    frames = crop_units(np.stack([*shut_and_asleep, *shut_and_staring, *open_and_awake]))
    np.testing.assert_allclose(find_neutral(frames, IBUG68), frames[:4].mean(axis=0), atol=1e-5)


def test_neutral_of_one_frame_is_its_own_shape_upright_and_alike_left_and_right() -> None:
    frame = crop_units(act(mouth=0.5, yaw=0.4)[None])
    neutral = find_neutral(turn(frame, np.array([0.4], np.float32)), IBUG68)
    np.testing.assert_allclose(neutral, find_neutral(frame, IBUG68), atol=1e-5)
    np.testing.assert_allclose(flip_points(neutral, IBUG68, width=1.0), neutral, atol=1e-6)
    assert measure(neutral, "mouth") == pytest.approx(measure(frame[0], "mouth"), abs=1e-3)


def test_roll_does_not_shrink_the_neutral_shape() -> None:
    frames = np.repeat(crop_units(act()[None]), 5, axis=0)
    rolled = turn(frames, np.array([-0.6, -0.3, 0, 0.3, 0.6], np.float32))
    np.testing.assert_allclose(find_neutral(rolled, IBUG68), frames[0], atol=1e-5)


def test_turning_is_clockwise_and_is_undone_by_turning_upright() -> None:
    point = np.array([[[0.5, 0.25]]], np.float32)  # above the centre
    np.testing.assert_allclose(turn(point, np.array([np.pi / 2], np.float32)), [[[0.75, 0.5]]], atol=1e-6)
    frames, angles = crop_units(np.stack([act()] * 3)), np.array([0.3, 0, -0.7], np.float32)
    upright, found = turn_upright(turn(frames, angles), IBUG68)
    np.testing.assert_allclose(found, angles, atol=1e-5)
    np.testing.assert_allclose(upright, frames, atol=1e-5)


def test_calm_frame_is_the_shut_open_eyed_frontal_one() -> None:
    frames = [act(mouth=1), act(lids=1), act(yaw=0.6), act(mouth=0.02), act(brows=1), act(yaw=-0.6), act(mouth=0.7)]
    assert find_calm(crop_units(np.stack(frames)), IBUG68) == 3


# Moving expressions

NARROW = stretch(stretch(act(), "right_eye", high=0.7), "left_eye", high=0.7)
LARGE = stretch(stretch(act(), "right_eye", wide=1.2, high=1.1), "left_eye", wide=1.2, high=1.1)


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_features_cover_every_point_once(name: str) -> None:
    retarget = Retarget(SCHEMES[name])
    assert sorted(index for group in retarget.groups for index in group) == list(range(SCHEMES[name].count))


def test_moving_onto_the_same_face_changes_nothing() -> None:
    frames = film_units(20)
    neutral = find_neutral(frames, IBUG68)
    np.testing.assert_allclose(RETARGET.move(frames, neutral, neutral), frames, atol=1e-6)


def test_the_neutral_face_becomes_the_other_neutral_face() -> None:
    np.testing.assert_allclose(RETARGET.move(NARROW[None], NARROW, LARGE), LARGE[None], atol=1e-6)


def test_a_closed_eye_stays_closed_on_a_larger_eye() -> None:
    asleep = stretch(stretch(NARROW, "right_eye", high=0), "left_eye", high=0)[None]
    moved = RETARGET.move(asleep, NARROW, LARGE)
    for eye in ("right_eye", "left_eye"):
        assert measure(LARGE, eye) > 0.1
        assert measure(moved, eye) == pytest.approx(0, abs=1e-5)
        assert measure(asleep - NARROW + LARGE, eye) > 0.03  # without scaling the lids would stay apart
    assert np.ptp(moved[0, EYE, 0]) == pytest.approx(np.ptp(LARGE[EYE, 0]), abs=1e-5)


def test_lips_are_scaled_by_the_mouths_width() -> None:
    wide = stretch(act(), ("outer_lips", "inner_lips"), wide=1.4, high=1.0)
    moved = RETARGET.move(act(mouth=0.8)[None], act(), wide)

    def gap(points: Points) -> float:
        return float(points[66][1] - points[62][1])

    opened = gap(act(mouth=0.8)) - gap(act())
    assert gap(moved[0]) - gap(wide) == pytest.approx(1.4 * opened, abs=1e-5)


def test_a_bad_neutral_shape_does_not_blow_motions_up() -> None:
    huge, frame = stretch(NARROW, "right_eye", high=10), stretch(NARROW, "right_eye", high=0.5)
    moved = RETARGET.move(frame[None], NARROW, huge)
    change, given = (moved[0] - huge)[EYE, 1], (frame - NARROW)[EYE, 1]
    np.testing.assert_allclose(change, 1.7 * given, atol=1e-5)


def test_a_features_displacement_is_kept_as_it_is() -> None:
    shift = np.zeros((68, 2), np.float32)
    shift[EYE] = (0.03, -0.02)
    moved = RETARGET.move((NARROW + shift)[None], NARROW, LARGE)
    np.testing.assert_allclose(moved[0] - LARGE, shift, atol=1e-6)


def test_every_frame_may_have_a_face_of_its_own() -> None:
    frames = np.stack([act(mouth=1), act(lids=0.5)])
    neutrals, onto = np.stack([NARROW, act()]), np.stack([LARGE, NARROW])
    together = RETARGET.move(frames, neutrals, onto)
    for number in range(2):
        alone = RETARGET.move(frames[number : number + 1], neutrals[number], onto[number])
        np.testing.assert_allclose(together[number : number + 1], alone, atol=1e-6)
