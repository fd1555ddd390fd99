"""A person's neutral shape, and expressions moved from one person's to another's."""

import numpy as np
import pytest

from shared.anatomy import change_measure, describe
from shared.expression import measure_expression
from shared.landmarks import IBUG68, IBUG70, SCHEMES, Points, convert_scheme, flip_points
from shared.neutral import Retarget, find_calm, find_neutral, turn, turn_upright
from shared.pose import Pose, add_depth, compose_rotation, project
from tests.fixtures.acted import act, crop_units, film_units, stretch

RETARGET = Retarget(IBUG68)
EYE = list(IBUG68.groups["right_eye"])


def measure(points: Points, name: str) -> np.ndarray:
    return measure_expression(points, IBUG68)[name]


# The neutral shape


def take(count: int, **does: float) -> list[Points]:
    """Frames of an average face that looks up a little to one side; each keyword is a measure's change."""
    head = add_depth(describe(IBUG68).face.astype(np.float32), IBUG68)
    face = head[:, :2].astype(np.float32)
    for name, amount in does.items():
        face = change_measure(face, name, np.array(amount, np.float32), IBUG68)
    pose = Pose(compose_rotation(np.array([[0.1, 0.0, 0.05]])), np.array([0.2]), np.array([[0.5, 0.4]]))
    return [project(np.concatenate([face, head[:, 2:]], axis=1), pose)[0]] * count


REST = {name: float(value) for name, value in measure_expression(take(1)[0], IBUG68).items()}
CLOSED = {"right_eye": -0.12, "left_eye": -0.12}


def expect(neutral: Points, name: str, value: float, within: float = 0.012) -> None:
    assert float(measure(neutral, name)) == pytest.approx(value, abs=within), name


def test_neutral_has_the_mouth_shut_and_the_eyes_open() -> None:
    talking = [frame for gap in (0.1, 0.15, 0.2, 0.3) for frame in take(2, mouth=gap, mouth_width=0.1)]
    neutral = find_neutral(np.stack([*talking, *take(3), *take(2, **CLOSED)]), IBUG68)
    for name in ("mouth", "right_eye", "left_eye", "mouth_width"):
        expect(neutral, name, REST[name])
    assert neutral.dtype == np.float32


def test_features_are_found_in_different_frames() -> None:
    """The mouth shuts only while the eyes do."""
    asleep, talking = take(4, **CLOSED), take(8, mouth=0.2)
    neutral = find_neutral(np.stack([*asleep, *talking]), IBUG68)
    for name in ("mouth", "right_eye"):
        expect(neutral, name, REST[name])


def test_a_mouth_that_never_shuts_is_shut_in_the_neutral_face_found_by_watching() -> None:
    talking = np.stack([frame for gap in (0.12, 0.2, 0.3) for frame in take(20, mouth=gap)])
    expect(find_neutral(talking, IBUG68), "mouth", REST["mouth"] + 0.12)  # frames that are believed
    assert measure(find_neutral(talking, IBUG68, doubt=1), "mouth") < REST["mouth"] + 0.03


def test_who_smiles_throughout_does_not_smile_in_the_neutral_face() -> None:
    smiling = np.stack(take(60, mouth_width=0.35))
    found = float(measure(find_neutral(smiling, IBUG68, doubt=1), "mouth_width"))
    assert found == pytest.approx(0.89 + 2 * 0.07, abs=0.02)  # as wide as a mouth at rest may be


def test_doubt_fades_as_frames_come() -> None:
    """Eyes narrow in one frame may be half shut; narrow in all they are the person's own."""
    narrow = {"right_eye": -0.03, "left_eye": -0.03}
    gaps = [
        float(measure(find_neutral(np.stack(take(count, **narrow)), IBUG68, doubt=1), "right_eye"))
        for count in (1, 4, 64)
    ]
    assert REST["right_eye"] > gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(REST["right_eye"] - 0.03, abs=5e-3)


def test_neutral_is_its_own_mirror_image() -> None:
    """Of frames that all look to one side, and of one alone."""
    frames = np.stack([*take(3), *take(3, mouth=0.2)])
    for some in (frames, frames[:1]):
        neutral = find_neutral(some, IBUG68)
        middle = 2 * float(neutral[list(IBUG68.eye_corners), 0].mean())
        np.testing.assert_allclose(flip_points(neutral, IBUG68, width=middle), neutral, atol=1e-6)
        assert measure(neutral, "yaw") == pytest.approx(0, abs=1e-5)
    assert measure(frames[0], "yaw") > 0.02


def test_roll_changes_nothing() -> None:
    frames = np.stack([*take(3), *take(2, mouth=0.2)])
    rolled = turn(frames, np.array([-0.6, -0.3, 0, 0.3, 0.6], np.float32))
    away = find_neutral(rolled, IBUG68) - find_neutral(frames, IBUG68)
    np.testing.assert_allclose(away - away.mean(axis=0), 0, atol=1e-4)


def test_a_head_held_down_all_the_time_is_held_down_in_the_neutral_face() -> None:
    """2D points can't tell it from a low brow; what sets a frame apart from it is what counts."""
    head = add_depth(find_neutral(np.stack(take(3)), IBUG68), IBUG68)
    nods = np.array([[0.0, angle, 0.0] for angle in (0.2, 0.2, 0.2, 0.0, 0.3)])
    frames = project(head, Pose(compose_rotation(nods), np.ones(5), np.zeros((5, 2))))
    expect(find_neutral(frames, IBUG68), "pitch", float(measure(frames[0], "pitch")))


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
    covered = {index for group in Retarget(SCHEMES[name]).groups for index in group}
    assert covered | set(SCHEMES[name].pupils or ()) == set(range(SCHEMES[name].count))


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


def test_a_pupil_moves_against_its_eyes_corners_by_the_eyes_width() -> None:
    """A larger eye's pupil goes as much further; a head that moves takes it along."""
    small, large = (convert_scheme(face, IBUG68, IBUG70) for face in (NARROW, LARGE))
    look = np.zeros((70, 2), np.float32)
    look[68:] = (0.02, -0.01)
    moved = Retarget(IBUG70).move((small + look + (0.1, 0.05))[None], small, large)
    np.testing.assert_allclose(moved[0, 68:] - large[68:] - (0.1, 0.05), 1.2 * look[68:], atol=1e-5)


def test_every_frame_may_have_a_face_of_its_own() -> None:
    frames = np.stack([act(mouth=1), act(lids=0.5)])
    neutrals, onto = np.stack([NARROW, act()]), np.stack([LARGE, NARROW])
    together = RETARGET.move(frames, neutrals, onto)
    for number in range(2):
        alone = RETARGET.move(frames[number : number + 1], neutrals[number], onto[number])
        np.testing.assert_allclose(together[number : number + 1], alone, atol=1e-6)
