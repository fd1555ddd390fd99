"""Shapes of people: expressions moved as tensors, people who never were, a person's range."""

import numpy as np
import pytest
import torch
from torch import Tensor

from shared import neutral as neutral_shapes
from shared.expression import measure_expression
from shared.geometry import find_crop
from shared.landmarks import IBUG68, Points, flip_points
from shared.neutral import find_neutral
from tests.fixtures.acted import RULE, act, crop_units, film_units, stretch
from tests.fixtures.painted import FACE
from trainer.sampling.face_shapes import (
    Retarget,
    ShapeRange,
    compress,
    detail_points,
    exaggerate,
    part_lips,
    recrop,
    turn_roll,
)

RETARGET = Retarget(IBUG68)
EYE = list(IBUG68.groups["right_eye"])


def tensor(*faces: Points) -> Tensor:
    return torch.from_numpy(np.stack(faces).astype(np.float32))


def measure(points: Points | Tensor, name: str) -> np.ndarray:
    return measure_expression(np.asarray(points), IBUG68)[name]


def mirror(points: Tensor) -> Points:
    return flip_points(points.numpy(), IBUG68, width=1.0)


# The wrapper on tensors


def test_tensors_are_moved_as_arrays_are() -> None:
    frames, neutral, onto = film_units(6), act(), stretch(act(), "right_eye", wide=1.2, high=1.1)
    moved = RETARGET.move(torch.from_numpy(frames), torch.from_numpy(neutral), torch.from_numpy(onto))
    np.testing.assert_array_equal(moved.numpy(), neutral_shapes.Retarget(IBUG68).move(frames, neutral, onto))
    each = torch.from_numpy(onto).expand_as(moved)
    torch.testing.assert_close(RETARGET.move(torch.from_numpy(frames), torch.from_numpy(neutral), each), moved)


# People who never were


def test_people_who_never_were_are_alike_left_and_right() -> None:
    torch.manual_seed(1)
    varied = RETARGET.vary(tensor(FACE).repeat(16, 1, 1))
    np.testing.assert_allclose(mirror(varied), varied.numpy(), atol=1e-5)
    assert (varied - tensor(FACE)).abs().amax(dim=(1, 2)).min() > 0.01
    assert (varied[1:] - varied[:-1]).abs().amax(dim=(1, 2)).min() > 0.01


def test_people_who_never_were_come_again_with_the_seed() -> None:
    shapes = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        shapes.append(RETARGET.vary(tensor(FACE, FACE)))
    assert torch.equal(shapes[0], shapes[1])
    assert not torch.equal(shapes[0], shapes[2])


def test_size_and_shift_are_spreads() -> None:
    faces = tensor(FACE).expand(2000, -1, -1)
    torch.manual_seed(0)
    assert torch.allclose(RETARGET.vary(faces, size=0, shift=0), faces)
    resized = RETARGET.vary(faces, size=0.14, shift=0)[:, EYE]
    wide = (resized[..., 0].amax(dim=1) - resized[..., 0].amin(dim=1)) / np.ptp(FACE[EYE, 0])
    assert wide.log().std().item() == pytest.approx(0.14, rel=0.1)
    torch.testing.assert_close(resized.mean(dim=1), faces[:, EYE].mean(dim=1), atol=1e-5, rtol=0)
    moved = RETARGET.vary(faces, size=0, shift=0.02)[:, EYE].mean(dim=1) - faces[:, EYE].mean(dim=1)
    torch.testing.assert_close(moved.std(dim=0), torch.full((2,), 0.02), atol=0.002, rtol=0)


def test_exaggeration_leaves_the_neutral_face_and_the_pose_alone() -> None:
    frames, neutral = torch.from_numpy(film_units(30)), torch.from_numpy(find_neutral(film_units(30), IBUG68))
    torch.manual_seed(0)
    assert torch.allclose(exaggerate(frames, neutral, RETARGET, 0.0), frames, atol=1e-6)
    at_rest = exaggerate(neutral.expand(4, -1, -1), neutral, RETARGET, 0.5)
    assert torch.allclose(at_rest, neutral.expand(4, -1, -1), atol=1e-6)
    acted = exaggerate(frames, neutral, RETARGET, 0.5)
    steady = [index for name in ("jaw", "nose_bridge", "nose_base") for index in IBUG68.groups[name]]
    assert torch.equal(acted[:, steady], frames[:, steady])
    torch.testing.assert_close(acted[:, EYE].mean(dim=1), frames[:, EYE].mean(dim=1), atol=1e-6, rtol=0)


def test_exaggeration_multiplies_a_features_motion_by_one_gain() -> None:
    neutral = tensor(act())[0]
    frames = tensor(act(mouth=0.5)).repeat(2000, 1, 1)
    torch.manual_seed(0)
    acted = exaggerate(frames, neutral, RETARGET, 0.3)
    gap = measure(acted, "mouth") - measure(neutral, "mouth")
    gain = gap / (measure(frames, "mouth") - measure(neutral, "mouth"))
    assert (gain > 0).all()
    assert np.log(gain).std() == pytest.approx(0.3, rel=0.1)


def test_lips_part_and_their_corners_stay() -> None:
    faces = tensor(act()).repeat(2000, 1, 1)
    torch.manual_seed(0)
    parted = part_lips(faces, IBUG68, 0.02)
    assert torch.equal(part_lips(faces, IBUG68, 0.0), faces)
    lips = [*IBUG68.groups["outer_lips"], *IBUG68.groups["inner_lips"]]
    others = [index for index in range(68) if index not in lips]
    assert torch.equal(parted[:, others], faces[:, others])
    assert torch.equal(parted[..., 0], faces[..., 0])
    top, bottom = 62, 66  # the inner lips' middle
    gap = (parted - faces)[:, bottom, 1] - (parted - faces)[:, top, 1]
    assert gap.mean().item() == pytest.approx(0, abs=0.002)
    assert gap.std().item() == pytest.approx(0.02, rel=0.1)
    outer = (parted - faces)[:, 57, 1] - (parted - faces)[:, 51, 1]
    torch.testing.assert_close(outer, gap, atol=1e-5, rtol=0.01)  # the whole lip moves
    assert (parted - faces)[:, [48, 54]].abs().max() < 1e-4


def test_turning_the_head_keeps_its_shape() -> None:
    faces = tensor(act()).repeat(50, 1, 1)
    torch.manual_seed(0)
    turned = turn_roll(faces, 0.2)
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(faces, faces), atol=1e-3, rtol=0)
    middle = torch.full((3, 4, 2), 0.5)
    torch.testing.assert_close(turn_roll(middle, 0.2), middle)
    angles = measure(turned, "roll")
    assert angles.std() == pytest.approx(0.2, rel=0.3)
    assert torch.allclose(turn_roll(faces, 0.0), faces)


def test_recrop_is_the_crop_of_each_face() -> None:
    faces = tensor(act(yaw=0.4), act(mouth=1) * 3 - 1, (act(brows=1) * (1.5, 0.8) + (0.3, -0.4)))
    expected = [find_crop(face, RULE).to_unit(face) for face in faces.numpy()]
    recropped = recrop(faces, RULE)
    np.testing.assert_allclose(recropped.numpy(), np.stack(expected), atol=1e-5)
    torch.testing.assert_close(recrop(recropped, RULE), recropped, atol=1e-5, rtol=0)


# A person's range


def test_compress_is_the_identity_inside_and_grows_ever_slower_outside() -> None:
    values = torch.linspace(-8, 8, 3201, dtype=torch.float64)
    result = compress(values)
    inside = values.abs() <= 0.8
    torch.testing.assert_close(result[inside], values[inside])
    torch.testing.assert_close(compress(-values), -result)
    steps = result.diff()
    assert (steps > 0).all()
    assert (steps <= values.diff() + 1e-12).all()
    assert (result[values > 0.81] < values[values > 0.81]).all()


def test_compress_has_neither_step_nor_kink_at_the_knee() -> None:
    values = torch.tensor([0.8 - 1e-6, 0.8 + 1e-6], dtype=torch.float64, requires_grad=True)
    result = compress(values)
    result.sum().backward()
    assert result.diff().item() == pytest.approx(2e-6, rel=1e-3)
    torch.testing.assert_close(values.grad, torch.ones(2, dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def seen() -> Tensor:
    """What the person of the range was seen to do."""
    return torch.from_numpy(film_units(120))


def test_shapes_seen_are_almost_unchanged(seen: Tensor) -> None:
    limited = ShapeRange(seen, IBUG68).limit(seen)
    distance = (limited - seen).norm(dim=2)
    assert distance.median() < 0.003
    assert distance.max() < 0.02  # the few at the range's edge are drawn in a little
    assert np.corrcoef(measure(limited, "mouth"), measure(seen, "mouth"))[0, 1] > 0.99


def test_a_wider_mouth_comes_out_wider_but_less_so(seen: Tensor) -> None:
    wider = torch.from_numpy(crop_units(np.stack([act(mouth=1 + 0.25 * step) for step in range(9)])))
    given, limited = measure(wider, "mouth"), measure(ShapeRange(seen, IBUG68).limit(wider), "mouth")
    assert (np.diff(limited) > 0).all()
    assert limited[-1] < 0.75 * given[-1]
    assert limited[-1] > 0.8 * measure(seen, "mouth").max()


def test_what_the_person_never_does_is_dropped(seen: Tensor) -> None:
    odd = seen[:5].clone()
    odd[:, 33] += torch.tensor([0.05, 0.05])  # one point of the nose goes its own way
    result = ShapeRange(seen, IBUG68).limit(odd)
    assert (result - seen[:5])[:, 33].norm(dim=1).max() < 0.02


def test_detail_points_are_lids_and_inner_lips() -> None:
    assert detail_points(IBUG68) == (*range(36, 48), *range(60, 68))
