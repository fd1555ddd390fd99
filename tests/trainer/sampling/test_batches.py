"""What Theta learns from in a step: frames with their own landmarks, the same in a run gone on with."""

import numpy as np
import pytest
import torch

from shared.landmarks import IBUG68
from shared.pixels import to_network
from tests.fixtures.acted import act, crop_units
from tests.trainer.tiny_training import assert_same, make_frames
from trainer.sampling.batches import (
    BatchPlan,
    TargetFrames,
    TrainingBatch,
    cut_windows,
    draw_batch,
    place_windows,
    prefetch_batches,
)

PLAN = BatchPlan(rows=8, rare=0.5, acted=2, foreign=2, noise=0.01, window=64)


@pytest.fixture(scope="module")
def frames() -> TargetFrames:
    return make_frames()


def test_a_batch_is_of_frames_and_their_own_landmarks(frames: TargetFrames) -> None:
    batch = draw_batch(frames, PLAN, seed=0, step=5)
    assert batch.pictures.shape == (8, 3, 256, 256)
    assert batch.sources.shape == (2, 68, 2)
    for points, picture in zip(batch.landmarks, batch.pictures, strict=True):
        (index,) = torch.nonzero((frames.landmarks == points).all(dim=2).all(dim=1)).flatten().tolist()
        assert torch.equal(picture, torch.from_numpy(to_network(frames.crops[index]))[0])
    assert batch.acted.shape == (2, 68, 2)
    assert not torch.equal(batch.acted, batch.landmarks[:2])
    for source in batch.sources:
        assert (frames.foreign == source).all(dim=2).all(dim=1).any()
    assert batch.jitter.std().item() == pytest.approx(0.01, rel=0.1)
    assert not draw_batch(make_frames(2, foreign=0), PLAN, 0, 5).sources.numel()


def test_what_is_drawn_hangs_on_seed_and_step_alone(frames: TargetFrames) -> None:
    torch.manual_seed(1)
    first = draw_batch(frames, PLAN, seed=0, step=5)
    torch.manual_seed(2)
    assert_same(vars(first), vars(draw_batch(frames, PLAN, seed=0, step=5)))
    for other in (draw_batch(frames, PLAN, 1, 5), draw_batch(frames, PLAN, 0, 6)):
        assert not torch.equal(first.jitter, other.jitter)


def test_processes_share_the_batch_that_one_draws(frames: TargetFrames) -> None:
    whole = draw_batch(frames, PLAN, 0, 5)
    parts = [vars(draw_batch(frames, PLAN, 0, 5, slice(rank, None, 2))) for rank in range(2)]
    for name, value in vars(whole).items():
        for rank, part in enumerate(parts):
            assert torch.equal(part[name], value[rank::2]), name


def test_what_is_prefetched_is_what_would_be_drawn(frames: TargetFrames) -> None:
    def list_batches(first: int) -> list[tuple[int, TrainingBatch]]:
        return list(prefetch_batches(frames, PLAN, 3, range(first, 5)))

    whole = list_batches(0)
    assert [step for step, _ in whole] == [0, 1, 2, 3, 4]
    for step, batch in whole:
        assert_same(vars(batch), vars(draw_batch(frames, PLAN, 3, step)))
    for (step, batch), (again, resumed) in zip(whole[3:], list_batches(3), strict=True):
        assert step == again
        assert_same(vars(batch), vars(resumed))
    assert list_batches(5) == []


def test_an_error_in_the_thread_arrives(frames: TargetFrames) -> None:
    broken = TargetFrames(frames.landmarks, frames.crops[:1], frames.foreign, frames.scheme)
    with pytest.raises(IndexError):
        list(prefetch_batches(broken, PLAN, 0, range(3)))


def test_windows_lie_somewhere_on_the_face(frames: TargetFrames) -> None:
    landmarks = frames.landmarks[:1].expand(200, -1, -1)
    generator = torch.Generator().manual_seed(0)
    windows = place_windows(landmarks, 256, 64, generator)
    low, high = landmarks[0].amin(dim=0) * 256, landmarks[0].amax(dim=0) * 256
    middle = windows + 32.0
    assert (middle > (3 * low + high) / 4 - 1).all()
    assert (middle < (low + 3 * high) / 4 + 1).all()
    assert len(windows.unique(dim=0)) > 150
    wide = place_windows(landmarks, 256, 256, generator)
    assert not wide.any()  # a window as wide as the picture is the picture


def test_a_window_is_cut_where_it_begins() -> None:
    pictures = torch.arange(2 * 8 * 8).view(2, 1, 8, 8)
    cut = cut_windows(pictures, torch.tensor([[1, 0], [4, 5]]), side=3)
    assert cut[0, 0].tolist() == [[1, 2, 3], [9, 10, 11], [17, 18, 19]]
    assert cut[1, 0, 0, 0] == 64 + 5 * 8 + 4
    assert cut.shape == (2, 1, 3, 3)


def test_what_the_target_seldom_did_is_drawn_more_often() -> None:
    landmarks = torch.from_numpy(crop_units(np.stack([act()] * 38 + [act(mouth=0.8)] * 2)))
    crops = np.zeros((40, 4, 4, 3), np.uint8)
    frames = TargetFrames(landmarks, crops, torch.empty(0, 68, 2), IBUG68)
    weights = frames.rarity
    assert torch.equal(weights[:38], weights[:1].expand(38))
    assert weights[39] > 1.3 * weights[0]  # other measures are the same in all

    def count_open(rare: float) -> int:
        batch = draw_batch(frames, BatchPlan(2000, rare, 0, 0, 0.0, 2), 0, 0)
        return int((batch.landmarks == landmarks[39]).all(dim=2).all(dim=1).sum())

    assert count_open(0.0) == pytest.approx(100, rel=0.3)
    assert count_open(1.0) == pytest.approx(2000 * 2 * float(weights[39] / weights.sum()), rel=0.2)
