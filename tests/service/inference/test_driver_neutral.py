"""A stream's driver: the neutral face is found by watching, and never jumps."""

import numpy as np

from service.inference.driver_neutral import FIRST_SPACING, MOST_MOMENTS, NeutralEstimator, NeutralTaker
from shared.anatomy import change_measure, describe
from shared.expression import measure_expression
from shared.landmarks import IBUG68, Points

FRAME = 0.04  # seconds


def show(mouth: float = 0.0, eyes: float = 0.0) -> Points:
    """A face in crop units with its mouth and eyes so much more open than the average neutral one's."""
    face = describe(IBUG68).face.astype(np.float32)
    for name, amount in (("mouth", mouth), ("right_eye", eyes), ("left_eye", eyes)):
        face = change_measure(face, name, np.array(amount, np.float32), IBUG68)
    return (face * np.float32(0.25) + np.float32([0.5, 0.4])).astype(np.float32)


def measure(points: Points, name: str) -> float:
    return float(measure_expression(points, IBUG68)[name])


def test_narrow_eyes_become_the_persons_own_without_a_jump() -> None:
    estimator, narrow = NeutralEstimator(IBUG68), show(eyes=-0.03)
    found = [estimator.watch(narrow, number * FRAME) for number in range(400)]
    gaps = np.array([measure(each, "right_eye") for each in found])
    assert gaps[0] > measure(narrow, "right_eye") + 0.01  # one frame may be a blink
    np.testing.assert_allclose(gaps[-1], measure(narrow, "right_eye"), atol=2e-3)
    assert np.abs(np.diff(gaps)).max() < 0.02 * (gaps[0] - gaps[-1])


def test_who_begins_in_talk_is_not_taken_for_neutral() -> None:
    estimator = NeutralEstimator(IBUG68)
    found = [estimator.watch(show(mouth=0.2 + 0.1 * np.sin(number / 3)), number * FRAME) for number in range(200)]
    gaps = [measure(each, "mouth") for each in found]
    assert max(gaps) < measure(show(), "mouth") + 0.03


def test_hours_are_watched_in_a_few_moments() -> None:
    estimator = NeutralEstimator(IBUG68)
    for number in range(6 * MOST_MOMENTS):
        estimator.watch(show(), number * FIRST_SPACING)
        assert len(estimator._moments) <= MOST_MOMENTS
    assert len(estimator._moments) > MOST_MOMENTS / 3


def test_a_clock_that_runs_back_is_no_jump() -> None:
    estimator = NeutralEstimator(IBUG68)
    for number in range(50):
        before = estimator.watch(show(), 100 + number * FRAME)
    after = estimator.watch(show(mouth=0.3), 0.0)
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_face_said_to_be_neutral_is_taken_in_a_moment_without_its_blink() -> None:
    taker, face = NeutralTaker(), show()
    blink = face + np.float32(0.1)
    taken = [taker.watch(blink if step == 3 else face, 5 + step / 10) for step in range(8)]
    assert all(each is None for each in taken[:7])
    np.testing.assert_array_equal(taken[7], face)
