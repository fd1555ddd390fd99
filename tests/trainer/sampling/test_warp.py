"""Pictures that are bent along with their landmarks."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from shared.bundle import read_bundle
from shared.landmarks import IBUG68
from shared.neutral import find_neutral
from shared.pixels import from_network, to_network
from tests.fixtures.acted import act, crop_units, film_units, paint
from trainer.evaluation.metrics import find_box, measure_gradient_energy
from trainer.sampling.face_shapes import Retarget, exaggerate, turn_roll
from trainer.sampling.warp import warp_pictures

MODELS = Path(__file__).parents[3] / "models"
SIZE = 64
FACE_UNITS = torch.from_numpy(crop_units(act()[None]))  # (1, 68, 2)


def draw_spot(x: float, y: float) -> Tensor:
    """A soft spot (1, 3, SIZE, SIZE) at crop units x, y."""
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    spot = torch.exp(-((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * 0.03**2))
    return spot.expand(1, 3, -1, -1).clone()


def find_spot(picture: Tensor) -> Tensor:
    """The spot's centre of mass (x, y) in crop units."""
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    mass = picture[0]  # (H, W)
    return torch.stack([(mass.sum(dim=0) * axis).sum(), (mass.sum(dim=1) * axis).sum()]) / mass.sum()


def test_no_motion_gives_the_picture_back() -> None:
    pictures = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp_pictures(pictures, FACE_UNITS, FACE_UNITS), pictures, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shift", [(0.05, 0.0), (0.0, 0.05), (-0.04, 0.03)])
def test_what_lies_on_the_face_moves_with_the_points(shift: tuple[float, float]) -> None:
    nose = FACE_UNITS[0, 30]
    spot = draw_spot(float(nose[0]), float(nose[1]))
    move = torch.tensor(shift)
    warped = warp_pictures(spot, FACE_UNITS, FACE_UNITS + move)
    torch.testing.assert_close(find_spot(spot[0]), nose, atol=1e-3, rtol=0)
    torch.testing.assert_close(find_spot(warped[0]), nose + move, atol=0.004, rtol=0)  # a quarter of a pixel


def draw_places() -> Tensor:
    """A picture (1, 3, SIZE, SIZE) whose red is the place's x and green its y, in crop units."""
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    x, y = axis.expand(SIZE, SIZE), axis[:, None].expand(SIZE, SIZE)
    return torch.stack([x, y, x])[None]


def test_a_dropping_jaw_leaves_the_brows_alone() -> None:
    wanted = FACE_UNITS.clone()
    wanted[0, 5:12] += torch.tensor([0.0, 0.06])
    chin, brow = FACE_UNITS[0, 8], FACE_UNITS[0, 19]
    moved = find_spot(warp_pictures(draw_spot(*chin.tolist()), FACE_UNITS, wanted)[0])
    stayed = find_spot(warp_pictures(draw_spot(*brow.tolist()), FACE_UNITS, wanted)[0])
    assert 0.03 < float(moved[1] - chin[1]) < 0.07
    torch.testing.assert_close(stayed, brow, atol=0.004, rtol=0)


def test_each_wanted_point_shows_what_was_at_its_landmark() -> None:
    filmed = torch.from_numpy(film_units(20))
    neutral = torch.from_numpy(find_neutral(filmed.numpy(), IBUG68))
    torch.manual_seed(0)
    wanted = turn_roll(exaggerate(filmed, neutral, Retarget(IBUG68), 0.35), 0.07)
    warped = warp_pictures(draw_places().expand(20, -1, -1, -1), filmed, wanted)
    shown = F.grid_sample(warped, wanted[:, :, None] * 2 - 1, align_corners=False)[:, :2, :, 0].transpose(
        1, 2
    )  # (B, N, 2)
    asked, missed = (wanted - filmed).norm(dim=2), (shown - filmed).norm(dim=2)
    assert asked.mean() > 0.01
    assert missed.mean() < 0.2 * asked.mean()


def test_the_pictures_edge_stays() -> None:
    picture = draw_places()
    change = (warp_pictures(picture, FACE_UNITS, FACE_UNITS + 0.05) - picture)[0, :2].norm(dim=0)  # the displacement
    edge = torch.cat([change[0], change[-1], change[:, 0], change[:, -1]])
    assert change[SIZE // 2, SIZE // 2] == pytest.approx(0.05 * 2**0.5, abs=0.005)
    assert edge.mean() < 0.01
    assert edge.max() < 0.03


def test_a_moved_face_is_as_sharp_as_before() -> None:
    """Half a pixel is where sampling between four pixels would blur most."""
    with Image.open(MODELS / "franck" / "reference.jpg") as picture:
        filmed = torch.from_numpy(to_network(np.asarray(picture)))
    landmarks = torch.tensor(np.array(read_bundle(MODELS / "franck").neutral, np.float32))[None]
    moved = warp_pictures(filmed, landmarks, landmarks + 0.5 / 256)
    assert moved.min() >= 0
    assert moved.max() <= 1
    box = find_box(landmarks[0].numpy(), 256)
    before, after = (measure_gradient_energy(from_network(each.numpy())[0][box]) for each in (filmed, moved))
    assert after > 0.95 * before


def test_a_painted_mouth_opens_wider() -> None:
    shut, opened = crop_units(act(mouth=0.25)[None])[0], crop_units(act(mouth=0.5)[None])[0]
    pictures = [torch.from_numpy(to_network(paint(points, 128))) for points in (shut, opened)]
    warped = warp_pictures(pictures[0], torch.from_numpy(shut[None]), torch.from_numpy(opened[None]))
    mouth = (..., slice(76, 104), slice(48, 80))
    before = (pictures[0] - pictures[1])[mouth].abs().mean()
    after = (warped - pictures[1])[mouth].abs().mean()
    assert after < 0.95 * before  # the painted edges are hard, and a bicubic sample swings at them


def test_each_picture_of_a_batch_follows_its_own_points() -> None:
    pictures = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    filmed = FACE_UNITS.repeat(2, 1, 1)
    wanted = filmed + torch.tensor([[[0.05, 0.0]], [[0.0, -0.03]]])
    together = warp_pictures(pictures, filmed, wanted)
    for row in (slice(0, 1), slice(1, 2)):
        alone = warp_pictures(pictures[row], filmed[row], wanted[row])
        torch.testing.assert_close(together[row], alone, atol=1e-4, rtol=0)
    assert together.shape == pictures.shape
