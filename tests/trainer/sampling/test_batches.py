"""What Theta learns from in a step: which frames are drawn, what they are bent to, which of their pixels weigh more."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.expression import measure_expression
from shared.landmarks import IBUG68
from shared.pixels import to_network
from tests.fixtures.acted import RULE, act, paint
from tests.trainer.tiny_training import TL2F_TRAINING, make_frames
from trainer.sampling.batches import (
    CELLS,
    Batch,
    TargetFrames,
    cut_windows,
    draw_batch,
    focus_pixels,
    mark_features,
    spare_lips,
    trust_pixels,
    weigh_pixels,
)
from trainer.sampling.face_shapes import Retarget, detail_points, recrop
from trainer.sampling.warp import warp_pictures

RETARGET = Retarget(IBUG68)
PLAIN = TL2F_TRAINING.model_copy(update={"warped": 0.0, "converted": 0, "rare": 0.0, "batch": 8})


def shift(landmarks: Tensor) -> Tensor:
    """A converter that is easy to know again."""
    return landmarks + 0.01


def draw(frames: TargetFrames, seed: int = 0, **changes: float) -> Batch:
    torch.manual_seed(seed)
    return draw_batch(frames, PLAIN.model_copy(update=changes), RETARGET, shift)


def find_place(points: Tensor, among: Tensor) -> int:
    """Which of `among` these points are."""
    (index,) = torch.nonzero((among == points).all(dim=2).all(dim=1)).flatten().tolist()
    return int(index)


def test_a_batch_is_of_frames_and_their_own_landmarks() -> None:
    small = make_frames(32)
    batch = draw(small)
    assert batch.sources.shape == (0, 68, 2)
    assert batch.pictures.shape == (8, 3, 32, 32)
    assert not batch.bent.any()
    for points, picture in zip(batch.landmarks, batch.pictures, strict=True):
        index = find_place(points, small.landmarks)
        assert torch.equal(picture, torch.from_numpy(to_network(small.crops[index]))[0])


def test_a_warped_frame_looks_like_its_new_landmarks() -> None:
    small = make_frames(96)
    plain, bent = draw(small, batch=24), draw(small, batch=24, warped=1.0)  # the same frames, by the same seed
    painted = torch.stack([torch.from_numpy(to_network(paint(points.numpy(), 96)))[0] for points in bent.landmarks])
    assert (bent.landmarks - plain.landmarks).norm(dim=2).mean() > 0.005
    assert torch.equal(bent.filmed, plain.pictures)  # what D takes for real
    before, after = (plain.pictures - painted).abs().mean(), (bent.pictures - painted).abs().mean()
    assert after < 0.8 * before


def test_other_peoples_landmarks_come_first_converted_with_a_like_frame_warped_to_them() -> None:
    small = make_frames(96)
    batch = draw(small, converted=16, batch=1, reshaped=0)
    assert len(batch.sources) == 16
    assert len(batch.landmarks) == len(batch.pictures) == 17
    assert torch.equal(batch.landmarks[:16], shift(batch.sources))
    assert not batch.landmarks.requires_grad
    assert batch.bent.tolist() == [True] * 16 + [False]
    for source, wanted, picture in zip(batch.sources, batch.landmarks, batch.pictures, strict=False):
        likest = small.alike[find_place(source, small.foreign)]
        bent = warp_pictures(small.pictures(likest), small.landmarks[likest], wanted.expand(len(likest), -1, -1))
        assert (bent - picture).abs().amax(dim=(1, 2, 3)).min() < 0.01  # the solver rounds by the batch
    find_place(batch.landmarks[16], small.landmarks)


def test_other_people_are_reshaped_into_nobody_who_does_the_same() -> None:
    small = make_frames(16)
    small = replace(small, foreign=torch.from_numpy(act(mouth=0.7)).repeat(5, 1, 1))
    sources = draw(small, converted=200, batch=1, reshaped=0.5).sources
    apart = (sources - small.foreign[0]).norm(dim=2).mean(dim=1)
    assert 80 < (apart == 0).sum() < 120
    nobody = sources[apart > 0]
    assert apart[apart > 0].min() > 0.002
    assert torch.allclose(recrop(nobody, RULE), nobody, atol=1e-5)  # cropped by what they are now
    gaps = measure_expression(nobody.numpy(), IBUG68)["mouth"]
    asked = measure_expression(small.foreign.numpy(), IBUG68)["mouth"][0]
    assert gaps.mean() == pytest.approx(asked, rel=0.1)  # of smaller mouths and larger ones
    assert 0.5 * asked < gaps.min() < gaps.max() < 2 * asked


def test_frames_with_like_mouth_and_eyes_are_alike_whatever_the_head_does() -> None:
    asked = act(mouth=0.7)
    ours = torch.from_numpy(np.stack([act(mouth=0.0), act(mouth=0.7, yaw=0.6), act(lids=1, yaw=0.3)]))
    others = torch.from_numpy(asked)[None]
    frames = replace(make_frames(16), landmarks=ours, foreign=others, converted=others)
    assert torch.cdist(others.flatten(1), ours.flatten(1)).argmin() == 0  # a head that is held alike,
    assert frames.alike[0, 0] == 1  # and a mouth that is open alike
    assert frames.alike.shape == (1, 3)  # no more than there are


def test_the_five_likest_frames_are_picked_from_many() -> None:
    frames = make_frames(16)
    own = replace(frames, foreign=frames.landmarks, converted=frames.landmarks)
    assert own.alike.shape == (12, 5)
    assert own.alike[:, 0].tolist() == list(range(12))  # each is likest to itself


def make_rarely_open() -> TargetFrames:
    """Eighteen frames of a shut mouth, and two of an open one."""
    landmarks = torch.from_numpy(act()).repeat(20, 1, 1)
    landmarks[[4, 11]] = torch.from_numpy(act(mouth=0.8))
    return replace(make_frames(16), landmarks=landmarks, crops=make_frames(16).crops[[0] * 20])


def test_what_the_target_seldom_did_weighs_more() -> None:
    weights = make_rarely_open().rarity
    # The eyes never move: all twenty frames are in one bin of each eye's histogram.
    seldom, often = 1 / math.sqrt(2) + 2 / math.sqrt(20), 1 / math.sqrt(18) + 2 / math.sqrt(20)
    expected = torch.full((20,), often)
    expected[[4, 11]] = seldom
    torch.testing.assert_close(weights, expected)


def test_rare_frames_are_drawn_more_often() -> None:
    frames = make_rarely_open()
    opened = torch.from_numpy(act(mouth=0.8))

    def share(rare: float) -> float:
        drawn = draw(frames, batch=4000, rare=rare).landmarks
        return float((drawn == opened).all(dim=2).all(dim=1).float().mean())

    expected = (frames.rarity[[4, 11]].sum() / frames.rarity.sum()).item()
    assert expected > 1.5 * 0.1
    assert share(0.0) == pytest.approx(0.1, abs=0.02)
    assert share(1.0) == pytest.approx(expected, abs=0.02)


def test_pixels_of_eyes_and_lips_weigh_more() -> None:
    landmarks = make_frames(16).landmarks[:2]
    weights = weigh_pixels(landmarks, list(detail_points(IBUG68)), weight=3.0)
    assert weights.shape == (2, 1, 32, 32)
    assert weights.min() >= 1
    assert weights.max() <= 3
    assert weights[:, 0, 0, 0].tolist() == pytest.approx([1, 1])
    for row, face in enumerate(landmarks):
        x, y = (face[62] * 32).long().tolist()
        assert weights[row, 0, y, x] > 2.5
    assert torch.equal(weigh_pixels(landmarks, [36], weight=1.0), torch.ones(2, 1, 32, 32))


def test_features_are_eyes_brows_and_lips_and_not_the_nose() -> None:
    landmarks = make_frames().landmarks[:2]
    marked = mark_features(landmarks, IBUG68, reach=0.025)
    for group in ("right_eye", "inner_lips", "right_brow"):
        assert min(sample(marked, landmarks[:, list(IBUG68.groups[group])])) > 0.8, group
    assert max(sample(marked, landmarks[:, [IBUG68.nose_tip, 8]])) < 0.1  # tip of the nose and of the chin
    assert mark_features(landmarks, IBUG68, reach=None).unique().tolist() == [1.0]


def test_the_lips_are_spared_and_the_eyes_are_not() -> None:
    landmarks = make_frames().landmarks[:2]
    weights = spare_lips(landmarks, IBUG68)
    assert max(sample(weights, landmarks[:, 48:])) < 0.1
    assert min(sample(weights, landmarks[:, 36:48])) > 0.9
    wide = landmarks.clone()
    wide[:, list(IBUG68.openings["mouth"][1]), 1] += 0.12
    between = (wide[:, [62]] + wide[:, [66]]) / 2
    assert max(sample(spare_lips(wide, IBUG68), between)) < 0.1


def sample(maps: Tensor, points: Tensor) -> list[float]:
    """Maps (B, 1, h, w) at points (B, n, 2) in crop units."""
    cells = (points * maps.shape[-1]).long()
    return [maps[row, 0, y, x].item() for row, each in enumerate(cells) for x, y in each.tolist()]


def test_a_bent_frame_is_trusted_on_the_face_alone() -> None:
    landmarks = make_frames(16).landmarks[:2]
    trust = trust_pixels(landmarks, torch.tensor([False, True]), surround=0.25)
    assert torch.equal(trust[0], torch.ones(1, 32, 32))
    assert trust[1, 0, 0, 0] == pytest.approx(0.25)
    for x, y in (landmarks[1] * 32).long().tolist():
        assert trust[1, 0, y, x] > 0.9


def test_d_judges_the_face_and_what_lies_about_it() -> None:
    landmarks = make_frames(16).landmarks[:2]
    near, far = (focus_pixels(landmarks, reach) for reach in (0.05, 0.2))
    for x, y in (landmarks[1] * 32).long().tolist():
        assert near[1, 0, y, x] > 0.9
    assert near[:, 0, 0, 0].max() < 0.05
    assert (far >= near).all()
    assert torch.equal(focus_pixels(landmarks, None), torch.ones(2, 1, 32, 32))


def test_windows_lie_somewhere_on_the_face() -> None:
    batch = draw(make_frames(16), batch=200, gan_window=12)
    assert batch.windows.shape == (200, 2)
    assert batch.windows.min() >= 0
    assert batch.windows.max() <= CELLS - 12
    middle = (batch.windows + 6) / CELLS
    assert (middle > batch.landmarks.amin(dim=1) - 0.02).all()
    assert (middle < batch.landmarks.amax(dim=1) + 0.02).all()
    assert len((batch.windows * 8 % 8).long().unique(dim=0)) > 40  # of 64 ways to lie on a raster of 8 pixels
    assert draw(make_frames(16), gan_window=CELLS).windows.max() == 0


def test_a_window_is_cut_from_pictures_and_maps_alike() -> None:
    size = 2 * CELLS
    picture = torch.arange(size * size).view(1, 1, size, size).expand(2, 3, -1, -1)
    begin = torch.tensor([[0.5, 0.4], [3, 5.2]])  # x and y in cells, of two pixels here
    cut = cut_windows(picture, begin, side=4)
    assert cut.shape == (2, 3, 8, 8)
    assert cut[0, 2, 0, 0] == 1
    assert cut[1, 0, 0, 0] == 10 * size + 6
    assert cut[1, 0, 7, 7] == 17 * size + 13
    assert cut_windows(picture[..., ::2, ::2], begin, side=4)[1, 0, 0, 0] == 10 * size + 6
