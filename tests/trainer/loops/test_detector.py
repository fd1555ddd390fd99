"""Omega's training: coordinates and their gradients by hand, the augmentations, and a run that learns and goes on."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.landmarks import IBUG68
from shared.pixels import to_network
from tests.fixtures.acted import film_points, film_units, paint, write_dataset
from trainer.config import DetectorTraining
from trainer.data.dataset import FrameDataset
from trainer.loops import detector as module
from trainer.loops.detector import (
    LabelledFaces,
    draw_faces,
    measure_nme,
    open_faces,
    train_detector,
    weigh_points,
)
from trainer.losses.terms import heatmap_divergence, opening_distance
from trainer.networks.hourglass import Hourglass, HourglassConfig, read_heatmaps
from trainer.sampling.augment import change_light, degrade, mirror, move_heads
from trainer.sampling.face_shapes import Retarget

CPU = torch.device("cpu")
TINY = DetectorTraining(network=HourglassConfig(channels=8, depth=1), steps=4, fine_steps=4, batch=4)


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor."""
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)


def make_faces(size: int, phase: float = 0) -> LabelledFaces:
    landmarks = film_units(12, phase=phase)
    crops = np.stack([paint(frame, size) for frame in landmarks])
    return LabelledFaces(torch.from_numpy(landmarks), crops, torch.from_numpy(landmarks[0]))


# DSNT


def test_a_single_pixel_is_read_at_its_centre() -> None:
    heatmaps = torch.zeros(1, 2, 4, 8)
    heatmaps[0, 0, 0, 0] = 1
    heatmaps[0, 1, 3, 5] = 1
    assert read_heatmaps(heatmaps)[0].tolist() == [[1 / 16, 1 / 8], [11 / 16, 7 / 8]]


def test_a_symmetric_heatmap_is_read_in_its_middle() -> None:
    bell = torch.tensor([1.0, 4, 6, 4, 1])
    heatmap = bell[:, None] * bell / bell.sum() ** 2
    torch.testing.assert_close(read_heatmaps(heatmap[None, None]), torch.tensor([[[0.5, 0.5]]]))
    torch.testing.assert_close(read_heatmaps(torch.full((1, 1, 6, 4), 1 / 24)), torch.tensor([[[0.5, 0.5]]]))


def test_the_gradient_of_a_coordinate_is_the_pixels_place() -> None:
    heatmaps = torch.full((1, 1, 2, 4), 1 / 8, requires_grad=True)
    for axis, expected in ((0, [[1 / 8, 3 / 8, 5 / 8, 7 / 8]] * 2), (1, [[1 / 4] * 4, [3 / 4] * 4])):
        (gradient,) = torch.autograd.grad(read_heatmaps(heatmaps)[0, 0, axis], heatmaps)
        assert gradient[0, 0].tolist() == expected


def test_omega_gives_distributions_and_their_centres_at_any_size() -> None:
    torch.manual_seed(0)
    omega = Hourglass(HourglassConfig(points=5, channels=8, depth=2))
    for size in (32, 64):
        points, heatmaps = omega(torch.rand(2, 3, size, size))
        assert points.shape == (2, 5, 2)
        assert heatmaps.shape == (2, 5, size // 4, size // 4)
        assert heatmaps.min() >= 0
        torch.testing.assert_close(heatmaps.sum(dim=(2, 3)), torch.ones(2, 5))
        assert torch.equal(points, read_heatmaps(heatmaps))


# The regulariser


def paint_gaussian(x: float, y: float, size: int, sigma: float) -> Tensor:
    rows = [
        [
            math.exp(-((column + 0.5 - x * size) ** 2 + (row + 0.5 - y * size) ** 2) / (2 * sigma**2))
            for column in range(size)
        ]
        for row in range(size)
    ]
    heatmap = torch.tensor(rows)
    return heatmap / heatmap.sum()


def test_the_exact_gaussian_diverges_from_itself_by_nothing() -> None:
    heatmap = paint_gaussian(0.4, 0.6, 12, sigma=1.5)[None, None]
    landmarks = torch.tensor([[[0.4, 0.6]]])
    assert heatmap_divergence(heatmap, landmarks, sigma=1.5).item() == pytest.approx(0, abs=1e-6)
    assert heatmap_divergence(heatmap, landmarks, sigma=1.0).item() > 0.01
    assert heatmap_divergence(heatmap, landmarks + 0.05, sigma=1.5).item() > 0.01


def test_heatmaps_without_common_ground_diverge_by_log_2() -> None:
    far = torch.zeros(1, 1, 32, 32)
    far[0, 0, 31, 31] = 1
    divergence = heatmap_divergence(far, torch.tensor([[[0.1, 0.1]]]), sigma=0.5)
    assert divergence.item() == pytest.approx(math.log(2), abs=1e-4)


def test_the_divergence_has_a_gradient_where_a_heatmap_is_empty() -> None:
    heatmap = torch.zeros(1, 1, 8, 8)
    heatmap[0, 0, 4, 4] = 1
    heatmap.requires_grad_(True)
    (gradient,) = torch.autograd.grad(heatmap_divergence(heatmap, torch.tensor([[[0.3, 0.3]]]), 1.0), heatmap)
    assert torch.isfinite(gradient).all()
    assert gradient[0, 0, 2, 2] < gradient[0, 0, 7, 7]  # more of it is wanted where the landmark is


# Augmentations


def paint_dots(landmarks: Tensor, size: int) -> Tensor:
    """Pictures (B, 3, S, S), black with a soft white dot at each face's one landmark (B, 1, 2)."""
    axis = (torch.arange(size) + 0.5) / size
    x, y = landmarks[:, 0, 0, None, None], landmarks[:, 0, 1, None, None]
    dots = torch.exp(-((axis[None, None, :] - x) ** 2 + (axis[None, :, None] - y) ** 2) / (2 * 0.03**2))
    return dots[:, None].expand(-1, 3, -1, -1).contiguous()


def find_dots(pictures: Tensor) -> Tensor:
    """The dots' centres of mass (B, 1, 2)."""
    grey = pictures.mean(dim=1, keepdim=True)
    return read_heatmaps(grey / grey.sum(dim=(2, 3), keepdim=True))


def test_a_moved_pictures_landmarks_stay_on_its_dots() -> None:
    torch.manual_seed(0)
    landmarks = 0.5 + 0.12 * torch.randn(16, 1, 2).clamp(-1, 1)
    pictures, moved = move_heads(paint_dots(landmarks, 96), landmarks, shift=0.02)
    assert (moved - landmarks).norm(dim=2).max() > 0.05
    torch.testing.assert_close(find_dots(pictures), moved, atol=0.004, rtol=0)


def test_a_mirrored_pictures_landmarks_stay_on_its_dots_and_change_sides() -> None:
    torch.manual_seed(1)
    landmarks = 0.3 + 0.1 * torch.rand(12, 1, 2)
    pictures, mirrored = mirror(paint_dots(landmarks, 64), landmarks, flip=(0,))
    changed = (mirrored != landmarks).any(dim=2).flatten()
    assert 0 < changed.sum() < 12
    torch.testing.assert_close(find_dots(pictures), mirrored, atol=0.002, rtol=0)
    faces = torch.from_numpy(film_units(12))
    _, turned = mirror(torch.zeros(12, 3, 4, 4), faces, IBUG68.flip)
    swapped = (turned != faces).any(dim=2).any(dim=1)
    assert 0 < swapped.sum() < 12
    assert torch.equal(turned[swapped][:, 36, 0], 1 - faces[swapped][:, 45, 0])  # the outer corners of the eyes
    assert torch.equal(turned[swapped][:, 36, 1], faces[swapped][:, 45, 1])


def test_light_and_noise_leave_pictures_in_range_and_shape() -> None:
    torch.manual_seed(2)
    pictures = torch.rand(12, 3, 64, 64)
    for change in (change_light, degrade):
        changed = change(pictures)
        assert changed.shape == pictures.shape
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert (changed - pictures).abs().mean() > 0.01


# The loop


def test_lids_and_lips_weigh_more_and_the_jaw_less() -> None:
    weights = weigh_points(IBUG68, 3.0)
    assert weights.shape == (68,)
    assert (weights[62].item(), weights[37].item(), weights[30].item(), weights[8].item()) == (3.0, 3.0, 1.0, 0.5)


def test_a_batch_shows_every_set_of_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "move_heads", lambda pictures, landmarks: (pictures, landmarks))
    monkeypatch.setattr(module, "mirror", lambda pictures, landmarks, flip: (pictures, landmarks))
    monkeypatch.setattr(module, "change_light", lambda pictures: pictures)
    monkeypatch.setattr(module, "degrade", lambda pictures: pictures)
    sets = [make_faces(32), make_faces(32, phase=3)]
    torch.manual_seed(0)
    config = TINY.model_copy(update={"batch": 24, "reshaped": 0.0})
    pictures, landmarks = draw_faces(sets, IBUG68, config, Retarget(IBUG68), fine=False)
    owners = [[bool((each.landmarks == face).all(dim=2).all(dim=1).any()) for each in sets] for face in landmarks]
    assert all(any(owner) for owner in owners)
    assert all(any(owner[number] for owner in owners) for number in (0, 1))
    for picture, face in zip(pictures, landmarks, strict=True):
        painted = torch.from_numpy(to_network(paint(face.numpy(), 32)))[0]
        torch.testing.assert_close(picture, painted)
    alone, _ = draw_faces(sets, IBUG68, config.model_copy(update={"batch": 1}), Retarget(IBUG68), fine=False)
    assert len(alone) == 1  # and the other set's share is nothing
    config = config.model_copy(update={"reshaped": 1.0})
    _, bent = draw_faces(sets, IBUG68, config, Retarget(IBUG68), fine=False)
    assert not any((each.landmarks == face).all(dim=2).all(dim=1).any() for each in sets for face in bent)


def test_nme_is_the_distance_over_that_of_the_outer_eye_corners() -> None:
    faces = make_faces(32)

    class Off(torch.nn.Module):
        def forward(self, pictures: Tensor) -> tuple[Tensor, None]:
            size = (faces.landmarks[:, 36] - faces.landmarks[:, 45]).norm(dim=1)
            moved = faces.landmarks[self.start : self.start + len(pictures)].clone()
            moved[..., 0] += 0.1 * size[self.start : self.start + len(pictures), None]
            return moved, None

    off = Off()
    off.start = 0
    assert measure_nme(off, faces, IBUG68) == pytest.approx(0.1, rel=1e-4)


def test_the_loss_falls_and_what_is_learned_is_measured(tmp_path: Path) -> None:
    dataset = FrameDataset(write_dataset(tmp_path / "data", "ada", film_points(32), size=64))
    config = TINY.model_copy(update={"steps": 60, "fine_steps": 0, "batch": 4, "learning_rate": 1e-2, "reshaped": 0.0})
    omega = train_detector([open_faces(dataset, "train")], IBUG68, config, CPU, tmp_path / "run")
    assert not omega.training
    torch.manual_seed(0)
    begun = Hourglass(config.network)
    test = open_faces(dataset, "test")
    assert measure_nme(omega, test, IBUG68) < 0.7 * measure_nme(begun, test, IBUG68)


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_resumed_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Broken off in the first steps, between them and the fine ones, and in these."""
    faces = [make_faces(32)]
    whole = train_detector(faces, IBUG68, TINY, CPU, tmp_path / "whole")
    drawn = 0

    def draw_then_stop(*given: Any) -> Any:
        nonlocal drawn
        drawn += 1
        if drawn == step + 1:
            raise KeyboardInterrupt
        return draw_faces(*given)

    class Always:
        def is_due(self) -> bool:
            return True

    monkeypatch.setattr(module, "CheckpointClock", Always)
    monkeypatch.setattr(module, "draw_faces", draw_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train_detector(faces, IBUG68, TINY, CPU, tmp_path / "broken")
    drawn = 10
    resumed = train_detector(faces, IBUG68, TINY, CPU, tmp_path / "broken")
    assert drawn == 10 + TINY.steps + TINY.fine_steps - step
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_fine_steps_ask_for_openings_on_faces_upright_and_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, spreads = [], []

    def record_opening(found: Tensor, landmarks: Tensor, scheme: Any) -> Tensor:
        asked.append(len(spreads))
        return opening_distance(found, landmarks, scheme)

    def record_move(pictures: Tensor, landmarks: Tensor, **given: float) -> tuple[Tensor, Tensor]:
        spreads.append(given.get("roll"))
        return move_heads(pictures, landmarks, **given)

    monkeypatch.setattr(module, "opening_distance", record_opening)
    monkeypatch.setattr(module, "move_heads", record_move)
    train_detector([make_faces(32)], IBUG68, TINY, CPU, tmp_path)
    assert asked == [5, 6, 7, 8]
    assert spreads[:4] == [None] * 4
    assert all(spread is not None and spread < 0.1 for spread in spreads[4:])
