"""Where moving textures begin: the shape that everything is drawn in, and the frames that become textures."""

import numpy as np
import pytest
import torch

from shared.landmarks import IBUG68, IBUG70, Scheme, pick
from tests.fixtures.acted import act, crop_units, paint
from tests.trainer.tiny_training import TEXTURES, film, make_frames
from trainer.networks.apertures import SIZE
from trainer.networks.generator import WINDOWS, GeneratorConfig
from trainer.sampling.batches import TargetFrames
from trainer.sampling.textures import SLIT, choose_spread, find_canonical, make_generator, place_windows, spread_known

DEFAULT = GeneratorConfig(scheme="ibug68", hidden=8, channels=(4, 4, 4, 4))


def film_still(mouth: float = 0.0) -> TargetFrames:
    """One painted frame."""
    landmarks = crop_units(act(mouth=mouth)[None])
    crops = np.stack([paint(landmarks[0], SIZE)])
    return TargetFrames(torch.from_numpy(landmarks), crops, torch.empty(0, 68, 2), IBUG68)


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70])
def test_the_canonical_face_has_lips_and_lids_all_but_shut(scheme: Scheme) -> None:
    landmarks = torch.from_numpy(film(40, scheme=scheme))
    canonical = find_canonical(landmarks, scheme)
    assert canonical.shape == (scheme.count, 2)
    for uppers, lowers in scheme.openings.values():
        gap = (canonical[list(lowers)] - canonical[list(uppers)]).norm(dim=1)
        assert gap.max() < SLIT + 1e-4
    nose = list(pick(scheme, ("nose_bridge", "nose_base")))
    torch.testing.assert_close(canonical[nose], landmarks.mean(dim=0)[nose])


@pytest.mark.parametrize("count", [1, 2, 12])
def test_few_frames_have_a_canonical_face_too(count: int) -> None:
    canonical = find_canonical(torch.from_numpy(film(count)), IBUG68)
    assert torch.isfinite(canonical).all()


def test_windows_hold_their_feature_and_lie_in_the_picture() -> None:
    canonical = find_canonical(torch.from_numpy(film(40)), IBUG68)
    corners = place_windows(canonical, IBUG68)
    for names, (x, y), (height, width) in zip(("outer_lips", "right_eye", "left_eye"), corners, WINDOWS, strict=True):
        points = canonical[list(IBUG68.groups[names])] * SIZE
        assert (points > torch.tensor([x, y])).all()
        assert (points < torch.tensor([x + width, y + height])).all()
        assert 0 <= x <= SIZE - width
        assert 0 <= y <= SIZE - height
    beside = place_windows(canonical + torch.tensor([0.9, -0.9]), IBUG68)
    assert all(x == SIZE - width and y == 0 for (x, y), (_, width) in zip(beside, WINDOWS, strict=True))


def test_rows_that_stand_for_all_of_them_are_spread() -> None:
    values = np.concatenate([np.full((50, 1), 0.0), np.full((3, 1), 5.0), np.full((2, 1), 9.0)]).astype(np.float32)
    chosen = choose_spread(values, 3)
    assert sorted(values[chosen, 0].tolist()) == [0, 5, 9]
    assert choose_spread(values[:1], 1).tolist() == [0]


def test_before_it_learned_a_frame_with_its_landmarks_comes_back() -> None:
    frames = film_still()
    theta = make_generator(DEFAULT, frames).eval()
    assert theta.config.textures == (1, 1, 1)  # one photo: no more textures than frames
    assert theta.config.behind == (1, 1)
    with torch.no_grad():
        made = theta(frames.landmarks)
    error = (made - frames.pictures(torch.tensor([0]))).abs().mean()
    assert error < 0.02  # of resampling twice
    assert torch.isfinite(made).all()


def test_there_are_as_many_textures_as_frames_where_frames_are_few() -> None:
    theta = make_generator(DEFAULT, make_frames(3))
    assert theta.config.textures == (3, 3, 3)
    assert [len(picture.textures) for _, picture in theta.regions] == [3, 3, 3, 3]
    assert [len(picture.textures) for _, picture in theta.behind] == [3, 3, 3]
    assert (DEFAULT.textures, DEFAULT.behind) == ((3, 4, 3), (5, 3))


def test_each_texture_answers_to_the_code_of_its_frame() -> None:
    frames = make_frames()
    theta = make_generator(TEXTURES, frames).eval()
    for code, picture in (*theta.regions, *theta.behind):
        values = code(frames.landmarks)
        for key in picture.keys:
            assert (values == key).all(dim=1).any()
        assert picture.textures.min() >= 0
        assert picture.textures.max() <= 1


def test_behind_the_lips_lies_what_frames_show_there_and_the_dark_elsewhere() -> None:
    theta = make_generator(DEFAULT, film_still(mouth=0.8))
    texture = theta.behind[0][1].textures[0].detach() * 255
    inside, corner = texture[:, 24, 48], texture[:, -1, 0]
    assert inside[0] / inside[1:].mean() == pytest.approx(4, rel=0.3)  # the hue that inner lips are painted in
    assert corner.sum() < 0.7 * inside.sum()
    shut = make_generator(DEFAULT, film_still())
    assert torch.isfinite(shut.behind[0][1].textures).all()
    assert shut.behind[0][1].textures.max() < 0.6


def test_what_is_not_known_is_as_the_nearest_that_is() -> None:
    picture = torch.zeros(1, 3, 8, 16)
    picture[..., :4], picture[..., 12:] = 0.25, 0.75
    known = torch.zeros(1, 1, 8, 16)
    known[..., :4] = known[..., 12:] = 1
    filled = spread_known(picture, known)
    assert torch.equal(filled * known, picture * known)
    assert filled[..., 4:7].flatten().tolist() == pytest.approx([0.25] * 72)
    assert filled[..., 9:12].flatten().tolist() == pytest.approx([0.75] * 72)
