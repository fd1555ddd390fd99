"""Edited landmarks: each edit moves what it says, and nothing else."""

import numpy as np
import pytest

from shared.expression import measure_expression
from shared.landmarks import IBUG68, Points
from tests.fixtures.painted import FACE
from trainer.evaluation.landmark_edits import express, shut_eyes, turn


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
    assert moved(shut_eyes(FACE, IBUG68)) == {37, 38, 40, 41, 43, 44, 46, 47}
    assert moved(shut_eyes(FACE, IBUG68, eyes=("right_eye",))) == {37, 38, 40, 41}


def test_a_turned_head_looks_that_way() -> None:
    assert measure(turn(FACE, IBUG68, 20), "yaw") > measure(FACE, "yaw") + 0.1
    assert measure(turn(FACE, IBUG68, -20), "yaw") < measure(FACE, "yaw") - 0.1
    np.testing.assert_allclose(turn(FACE, IBUG68, 20)[:, 1], FACE[:, 1], atol=1e-6)
    np.testing.assert_allclose(turn(FACE, IBUG68), FACE, atol=1e-6)


def test_a_head_that_nods_looks_down() -> None:
    assert measure(turn(FACE, IBUG68, pitch=15), "pitch") > measure(FACE, "pitch") + 0.05
    np.testing.assert_allclose(turn(FACE, IBUG68, pitch=15)[:, 0], FACE[:, 0], atol=1e-6)
