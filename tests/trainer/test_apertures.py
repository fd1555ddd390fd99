"""Openings between lips and lids: how far inside a place lies, and what of the picture behind shows there."""

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.anatomy import describe
from shared.geometry import find_crop
from shared.landmarks import IBUG68, IBUG70, WFLW98, Scheme
from tests.fixtures.acted import RULE
from trainer.evaluation.landmark_edits import express
from trainer.networks.apertures import ATLAS, ORIGINS, SIZE, TILES, Apertures, lay_out, measure_cover

NO_MARGINS = torch.zeros(1, 6)


def make_face(scheme: Scheme = IBUG70, **amounts: float) -> Tensor:
    """An average face with motions, (1, N, 2) in crop units."""
    face = describe(scheme).face.astype(np.float32)
    return torch.from_numpy(express(find_crop(face, RULE).to_unit(face), scheme, **amounts))[None]


def look(apertures: Apertures, face: Tensor, places: Tensor, margins: Tensor = NO_MARGINS) -> Tensor:
    field: Tensor = apertures(face, places, margins)
    return field[0].T  # (P, 4)


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70, WFLW98])
def test_edges_run_through_their_landmarks_and_end_in_the_corners(scheme: Scheme) -> None:
    apertures, face = Apertures(scheme), make_face(scheme, mouth_open=0.2)
    for name, tolerance in (("mouth", 0.1), ("right_eye", 0.1), ("left_eye", 0.1)):
        uppers, lowers = (face[0, list(edge)] for edge in scheme.openings[name])
        assert look(apertures, face, uppers)[:, 2].abs().max() < tolerance  # pixels
        assert look(apertures, face, lowers)[:, 3].abs().max() < tolerance
        middle = (uppers.mean(dim=0) + lowers.mean(dim=0))[None] / 2
        assert look(apertures, face, middle)[:, 2:].min() > 0.5
    corners = face[0, list(scheme.eye_corners)]
    assert look(apertures, face, corners)[:, 2:].abs().max() < 0.1
    nose = face[0, [scheme.nose_tip]]
    assert look(apertures, face, nose)[:, 2:].min() < -4


def test_margins_widen_an_opening_by_pixels_and_another_not_at_all() -> None:
    apertures, face = Apertures(IBUG70), make_face(mouth_open=0.2)
    places = torch.stack([face[0, [62, 66]].mean(dim=0), face[0, list(IBUG70.groups["right_eye"])].mean(dim=0)])
    wider = look(apertures, face, places, torch.tensor([[1.5, 0, 0, 0.5, 0, 0]])) - look(apertures, face, places)
    assert wider[0, 2:].abs().max() <= 1.5
    assert not wider[1].any()
    near = face[0, [62]] + torch.tensor([0.0, 1 / SIZE])
    moved = look(apertures, face, near, torch.tensor([[1.5, 0, 0, 0, 0, 0]])) - look(apertures, face, near)
    assert moved[0].tolist() == pytest.approx([0, 0, 1.5, 0], abs=1e-4)


def test_cover_grows_with_the_gap_from_nothing_on() -> None:
    inside = torch.tensor([[-0.5, 0.5], [0.0, 0.0], [0.25, 0.25], [1.0, 1.0], [5.0, 8.0], [5.0, 0.0], [5.0, -1.0]])
    cover = measure_cover(inside[:, :, None])[:, 0, 0]
    assert cover.tolist() == pytest.approx([0, 0, 0.25, 1, 1, 0.5, 0])


@pytest.mark.parametrize("gaze", [0.0, 0.06])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_locate_is_the_inverse(number: int, gaze: float) -> None:
    apertures = Apertures(IBUG70)
    apertures.set_rest(make_face())
    face = make_face(mouth_open=0.3, gaze_across=gaze)
    places, inside = apertures.locate(face, number)
    height, width = TILES[number]
    assert places.shape == (1, height, width, 2)
    shown = inside[0] > 0
    assert 0.02 < shown.float().mean() < 0.7
    back = look(apertures, face, places[0][shown])
    atlas_x = (back[:, 0] + 1) / 2 * ATLAS[1] - ORIGINS[number][1]
    atlas_y = (back[:, 1] + 1) / 2 * ATLAS[0] - ORIGINS[number][0]
    rows, columns = torch.nonzero(shown).T
    torch.testing.assert_close(atlas_x, columns + 0.5, atol=0.05, rtol=0)
    torch.testing.assert_close(atlas_y, rows + 0.5, atol=0.05, rtol=0)


def test_teeth_keep_their_size_and_hang_from_the_upper_lip() -> None:
    apertures, narrow, wide = Apertures(IBUG70), make_face(mouth_open=0.1), make_face(mouth_open=0.3)
    below = torch.tensor([[0.0, 3 / SIZE]])
    (first, second) = (look(apertures, face, face[0, [62]] + below)[0, :2] for face in (narrow, wide))
    torch.testing.assert_close(first, second, atol=2 / ATLAS[0], rtol=0)


def test_an_iris_goes_with_its_pupil() -> None:
    apertures = Apertures(IBUG70)
    apertures.set_rest(make_face())
    straight, aside = make_face(), make_face(gaze_across=0.05)
    at_rest, moved = (look(apertures, face, face[0, [68]])[0, :2] for face in (straight, aside))
    torch.testing.assert_close(at_rest, moved, atol=1e-3, rtol=0)
    corner = straight[0, [36]]
    still, also = (look(apertures, face, corner)[0, :2] for face in (straight, aside))
    torch.testing.assert_close(still, also, atol=0.02, rtol=0)


def test_tiles_are_laid_out_where_places_point_to() -> None:
    tiles = [torch.full((1, 3, *size), float(number)) for number, size in enumerate(TILES, 1)]
    atlas = lay_out(*tiles)
    assert atlas.shape == (1, 3, *ATLAS)
    for number, ((top, left), (height, width)) in enumerate(zip(ORIGINS, TILES, strict=True), 1):
        assert atlas[0, :, top : top + height, left : left + width].unique().tolist() == [number]


def test_whatever_it_is_given_places_are_finite_and_in_the_atlas() -> None:
    apertures = Apertures(IBUG70)
    cells = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    for face in (make_face() * 5 - 2, make_face() / 30, torch.zeros(1, 70, 2), make_face().flip(1)):
        field = look(apertures, face, cells)
        assert torch.isfinite(field).all()
        assert field[:, :2].abs().max() <= 1
        assert field[:, 2:].abs().max() <= 8
