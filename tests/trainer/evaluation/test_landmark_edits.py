"""Edited landmarks: each edit moves what it says, and nothing else."""

import numpy as np
import pytest

from shared.expression import measure_expression
from shared.landmarks import IBUG68, Points, pick
from tests.fixtures.painted import FACE
from trainer.evaluation.landmark_edits import (
    express,
    measure_eyes,
    shift_mouth,
    shrink_contour,
    shut_eyes,
    turn,
    widen_contour,
)

MOUTH = list(pick(IBUG68, ("outer_lips", "inner_lips")))
JAW = list(IBUG68.groups["jaw"])


def measure(face: Points, name: str) -> float:
    return float(measure_expression(face, IBUG68)[name])


def moved(face: Points) -> set[int]:
    return set(np.flatnonzero(np.abs(face - FACE).max(axis=1) > 1e-6).tolist())


def test_a_mouth_is_opened_by_so_much() -> None:
    assert measure(express(FACE, IBUG68, mouth_open=0.2), "mouth") - measure(FACE, "mouth") == pytest.approx(
        0.2, abs=0.02
    )


def test_lids_meet_by_degrees() -> None:
    gaps = [measure(shut_eyes(FACE, IBUG68, share), "left_eye") for share in (0.0, 0.5, 1.0)]
    assert gaps[0] == pytest.approx(measure(FACE, "left_eye"))
    assert gaps[1] == pytest.approx(gaps[0] / 2, rel=1e-4)
    assert gaps[2] == pytest.approx(0, abs=1e-6)
    assert moved(shut_eyes(FACE, IBUG68, 1.0)) == {37, 38, 40, 41, 43, 44, 46, 47}


def test_a_turned_head_looks_that_way() -> None:
    assert measure(turn(FACE, IBUG68, 20), "yaw") > measure(FACE, "yaw") + 0.1
    assert measure(turn(FACE, IBUG68, -20), "yaw") < measure(FACE, "yaw") - 0.1
    np.testing.assert_allclose(turn(FACE, IBUG68, 20)[:, 1], FACE[:, 1])
    np.testing.assert_allclose(turn(FACE, IBUG68, 0), FACE, atol=1e-6)


def test_the_mouth_moves_as_a_whole() -> None:
    edited = shift_mouth(FACE, IBUG68, 0.5, -0.25)
    assert moved(edited) == set(MOUTH)
    expected = np.array([0.5, -0.25]) * measure_eyes(FACE, IBUG68)
    np.testing.assert_allclose(edited[MOUTH] - FACE[MOUTH], np.broadcast_to(expected, (len(MOUTH), 2)), atol=1e-6)


def test_the_contour_is_widened_or_shrunk() -> None:
    wide, small = widen_contour(FACE, IBUG68, 1.5), shrink_contour(FACE, IBUG68, 0.5)
    assert moved(wide) <= set(JAW)
    assert np.ptp(wide[JAW, 0]) == pytest.approx(1.5 * np.ptp(FACE[JAW, 0]), rel=1e-5)
    np.testing.assert_allclose(np.ptp(small[JAW], axis=0), 0.5 * np.ptp(FACE[JAW], axis=0), rtol=1e-5)
    np.testing.assert_allclose(small[JAW].mean(axis=0), FACE[JAW].mean(axis=0), atol=1e-6)
