"""Which pixels weigh more, and what D is shown of landmarks."""

import math

import pytest
import torch

from shared.landmarks import IBUG68, IBUG70, Scheme
from tests.trainer.tiny_training import film
from trainer.losses.masks import COUNT, MAP_SPREAD, draw_landmark_maps, list_map_groups, weigh_pixels

FACES = torch.from_numpy(film(2))


def test_eyes_and_lips_weigh_most_and_what_is_off_the_face_least() -> None:
    weights = weigh_pixels(FACES, IBUG68, face=2.0, features=6.0, size=64)
    assert weights.shape == (2, 1, 64, 64)
    assert weights.unique().tolist() == [0.5, 2.0, 6.0]
    for row, face in enumerate(FACES):
        for group, weight in (("right_eye", 6.0), ("outer_lips", 6.0), ("nose_bridge", 2.0)):
            for x, y in (face[list(IBUG68.groups[group])] * 64).long().tolist():
                assert weights[row, 0, y, x] >= weight
        assert weights[row, 0, 0, 0] == 0.5


def test_in_the_paper_all_pixels_weigh_the_same() -> None:
    assert weigh_pixels(FACES, IBUG68, 1.0, 1.0, 16).unique().tolist() == [1.0]


def test_ds_maps_have_their_peak_at_each_point() -> None:
    begin = torch.tensor([[10, 20], [0, 0]])
    maps = draw_landmark_maps(FACES, IBUG68, begin, side=128, size=256)
    assert maps.shape == (2, COUNT, 128, 128)
    assert maps.max() <= 1
    points = FACES[0, list(IBUG68.groups["outer_lips"])] * 256 - begin[0]
    for x, y in points.tolist():
        if 0 <= x < 128 and 0 <= y < 128:
            column, row = int(x), int(y)
            away = ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2) / 256**2
            assert maps[0, 0, row, column] >= math.exp(-away / (2 * MAP_SPREAD**2)) - 1e-4


def test_maps_of_one_point_by_hand() -> None:
    face = torch.full((1, 68, 2), -1.0)
    face[0, 36] = torch.tensor([0.5, 0.25])  # of the right eye
    maps = draw_landmark_maps(face, IBUG68, torch.zeros(1, 2), side=8, size=8)
    assert not maps[0, [0, 1, 3]].any()
    away = 2 * (0.5 / 8) ** 2  # from the point to the centres of the four pixels about it
    assert maps[0, 2, 1, 3].item() == pytest.approx(math.exp(-away / (2 * MAP_SPREAD**2)), rel=1e-4)
    torch.testing.assert_close(maps[0, 2, 1:3, 3:5], maps[0, 2, 1:2, 3:4].expand(2, 2))


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70])
def test_every_point_is_in_one_map(scheme: Scheme) -> None:
    groups = list_map_groups(scheme)
    assert len(groups) == COUNT
    assert sorted(point for group in groups for point in group) == list(range(scheme.count))
