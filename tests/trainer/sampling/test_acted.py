"""Expressions that were never filmed: the anatomy's motions on a face's landmarks, in the face's own frame."""

import numpy as np
import pytest
import torch

from shared.anatomy import describe
from shared.expression import measure_expression
from shared.landmarks import IBUG68, IBUG70, Scheme
from tests.trainer.tiny_training import film
from trainer.sampling.acted import act


def draw(faces: torch.Tensor, scheme: Scheme, seed: int = 0) -> torch.Tensor:
    return act(faces, scheme, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70])
def test_every_motion_goes_up_to_its_bounds_and_every_other_face_lacks_it(scheme: Scheme) -> None:
    face = torch.from_numpy(describe(scheme).face.astype(np.float32))
    acted = draw(face.expand(400, -1, -1).clone(), scheme)
    for motion in describe(scheme).motions:
        if motion.name not in ("brows_up", "smile", "right_eye_open"):
            continue
        read = ((acted - face).numpy() * motion.reading).sum(axis=(1, 2))
        if motion.name == "right_eye_open":
            assert read.min() > motion.low - 0.02  # shut lids meet, which is less than was asked for
        else:
            assert motion.low - 0.02 < read.min() < 0.9 * motion.low
        assert 0.8 * motion.high < read.max() < motion.high + 0.05
        assert 0.3 < (np.abs(read) < 0.02).mean() < 0.75


def test_a_turned_face_is_acted_in_its_own_frame() -> None:
    faces = torch.from_numpy(film(6))
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(draw(faces @ turn, IBUG68), draw(faces, IBUG68) @ turn, atol=1e-5, rtol=0)
    torch.testing.assert_close(draw(faces * 2 + 0.1, IBUG68), draw(faces, IBUG68) * 2 + 0.1, atol=1e-5, rtol=0)


def test_edges_that_cross_meet() -> None:
    acted = draw(torch.from_numpy(film(200)), IBUG68).numpy()
    for name in ("mouth", "right_eye", "left_eye"):
        assert measure_expression(acted, IBUG68)[name].min() > -1e-3
