"""Theta: the deformation, the regions, and what landmarks that move change in the picture."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.anatomy import describe
from shared.geometry import find_crop
from shared.landmarks import IBUG68, IBUG70, Scheme
from tests.fixtures.acted import RULE
from tests.trainer.tiny_training import TEXTURES, UPSCALE, film, make_frames
from trainer.evaluation.landmark_edits import express, turn
from trainer.networks.apertures import SIZE
from trainer.networks.generator import BROW_GAIN, GRID, Generator, list_parts, make_feather, spread_places
from trainer.networks.moving_least_squares import MovingLeastSquares
from trainer.networks.paper_generator import PaperGenerator, PaperGeneratorConfig, UpscaleBlock
from trainer.networks.regions import RegionCode, RegionPicture
from trainer.sampling.textures import make_generator

FACES = torch.from_numpy(film(5))


def make_deformation() -> MovingLeastSquares:
    return MovingLeastSquares(64, IBUG68.rigid, torch.full((68,), 0.3))


@pytest.fixture(scope="module")
def theta() -> Generator:
    """A generator of painted ada that has learned a little: nothing that begins at zero is zero any more."""
    generator = make_generator(TEXTURES, make_frames())
    torch.manual_seed(0)
    for name, parameter in generator.named_parameters():
        if "textures" not in name and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return generator.eval().requires_grad_(False)


def draw(theta: Generator, landmarks: Tensor) -> Tensor:
    picture: Tensor = theta(landmarks)
    return picture


# Moving least squares


def test_an_affine_map_is_reproduced_exactly() -> None:
    deformation = make_deformation()
    matrix, shift = torch.tensor([[1.1, 0.2], [-0.15, 0.9]]), torch.tensor([0.03, -0.05])
    knots = deformation.add_edge(FACES)
    trust = torch.rand(len(FACES), 68, generator=torch.Generator().manual_seed(0))
    for others, wanted in ((knots, deformation.cells), (knots @ matrix + shift, deformation.cells @ matrix + shift)):
        places = deformation(FACES, trust, others)
        torch.testing.assert_close(places, wanted.expand_as(places), atol=2e-5, rtol=0)


def test_a_point_takes_its_place_along_and_far_places_stay() -> None:
    deformation = make_deformation()
    moved = FACES[:1].clone()
    chin = IBUG68.groups["jaw"][8]
    moved[0, chin, 1] += 0.05
    places = deformation(moved, torch.ones(1, 68), deformation.add_edge(FACES[:1]))[0]
    near = (deformation.cells - moved[0, chin]).norm(dim=1).argmin()
    assert (places[near] - deformation.cells[near])[1] == pytest.approx(-0.05, abs=0.015)
    corner = (places - deformation.cells)[0]
    assert corner.norm() < 0.005
    hidden = torch.ones(1, 68)
    hidden[0, chin] = 1e-3  # a point that is not trusted moves next to nothing
    others = deformation(moved, hidden, deformation.add_edge(FACES[:1]))[0]
    assert (others[near] - deformation.cells[near]).norm() < 0.02


def turn_face(degrees: float, scheme: Scheme, **amounts: float) -> Tensor:
    """An average face with its mouth or brows moved, then its head turned: (1, N, 2) in crop units."""
    face = describe(scheme).face.astype(np.float32)
    turned = turn(express(find_crop(face, RULE).to_unit(face), scheme, **amounts), scheme, degrees)
    return torch.from_numpy(turned)[None]


def make_average(scheme: Scheme) -> Generator:
    """A generator whose canonical shape is the average face."""
    theta = Generator(TEXTURES.model_copy(update={"scheme": scheme.name}))
    theta.set_canonical(turn_face(0, scheme)[0])
    return theta


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70])
@pytest.mark.parametrize("mouth", [0.05, 0.3])
@pytest.mark.parametrize("degrees", [-35, 0, 15, 35])
def test_a_turned_head_hardly_folds_where_its_skin_shows(degrees: int, mouth: float, scheme: Scheme) -> None:
    theta, landmarks = make_average(scheme), turn_face(degrees, scheme, mouth_open=mouth)
    with torch.no_grad():
        others = theta.deformation.add_edge(theta.knots(theta.canonical[None]))
        places = theta.deformation(theta.knots(landmarks), theta.trust(landmarks), others).view(GRID, GRID, 2)
        opened = theta.apertures(landmarks, theta.deformation.cells, torch.zeros(1, 6))[0, 2:].amin(dim=0)
    across, down = places.diff(dim=1)[:-1] * GRID, places.diff(dim=0)[:, :-1] * GRID
    area = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    skin = -F.max_pool2d(-opened.view(1, GRID, GRID), 2, stride=1)[0] < 0
    folded = int((area[skin] <= 0).sum())
    assert folded <= (0 if abs(degrees) < 20 else 10)  # of 961 cells: by the nose, which hides the eye's corner
    assert area[skin].min() > -2


def test_contours_that_a_turned_head_hides_are_not_trusted() -> None:
    theta, jaw = make_average(IBUG68), list(IBUG68.groups["jaw"])
    still, right, left = (theta.trust(turn_face(degrees, IBUG68))[0] for degrees in (0, 45, -45))
    assert torch.equal(still, torch.ones_like(still))
    for trust, hidden, shown in ((right, jaw[9:], jaw[:8]), (left, jaw[:8], jaw[9:])):
        assert trust[[theta.knot_of[point] for point in hidden]].min() < 0.2
        assert trust[[theta.knot_of[point] for point in shown]].min() == 1
        assert trust[17:].min() == 1  # contours alone are doubted


# Regions


def test_codes_are_white_and_held_within_what_was_filmed() -> None:
    landmarks = torch.from_numpy(film(60))
    code = RegionCode(list_parts(IBUG68)[1], components=4)
    code.fit(landmarks)
    values = code(landmarks)
    torch.testing.assert_close(values.mean(dim=0), torch.zeros(4), atol=0.1, rtol=0)
    assert values.std(dim=0)[0].item() == pytest.approx(1, abs=0.15)
    wild = code(landmarks * 3 - 1)
    assert (wild >= code.low).all()
    assert (wild <= code.high).all()
    assert (code.low <= values.amin(dim=0) + 1e-5).all() or (values >= code.low).all()


def test_an_anchored_code_does_not_see_the_head_move() -> None:
    landmarks = torch.from_numpy(film(20))
    anchored, free = (RegionCode(list_parts(IBUG68)[2], 3, anchor) for anchor in (IBUG68.eye_corners[:2], ()))
    for code in (anchored, free):
        code.fit(landmarks)
    moved = landmarks[:3] + torch.tensor([0.01, -0.01])
    torch.testing.assert_close(anchored(moved), anchored(landmarks[:3]), atol=1e-3, rtol=0)
    assert not torch.allclose(free(moved), free(landmarks[:3]), atol=1e-3)


def test_a_code_of_one_frame_says_nothing() -> None:
    code = RegionCode(range(68), components=6)
    code.fit(FACES[:1])
    assert not code(FACES).any()
    code.fit(FACES[:3])  # fewer frames than components
    assert code(FACES).shape == (5, 6)
    assert not code(FACES)[:, 3:].any()


def make_region() -> RegionPicture:
    torch.manual_seed(0)
    return RegionPicture(code=3, own=2, textures=4, size=(32, 16), stride=2, doublings=2, hidden=8, channels=4)


def test_masks_sum_to_one_so_that_like_textures_come_out_as_they_are() -> None:
    region = make_region()
    nn.init.normal_(region.masks.weight)
    colours = torch.tensor([0.2, 0.5, 0.9]).view(3, 1, 1)
    region.textures.data += colours
    with torch.no_grad():
        made = region(torch.randn(5, 3) * 10)
    torch.testing.assert_close(made, colours.expand(5, 3, 32, 16), atol=1e-5, rtol=0)


def test_the_texture_of_a_like_code_is_likelier() -> None:
    region = make_region()
    region.keys.copy_(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [-3.0, 0.0]]))
    region.textures.data += torch.tensor([0.0, 0.3, 0.6, 0.9]).view(4, 1, 1, 1)
    with torch.no_grad():
        for key, value in zip(region.keys, (0.0, 0.3, 0.6, 0.9), strict=True):
            made = region(torch.cat([key, torch.zeros(1)])[None])
            torch.testing.assert_close(made, torch.full_like(made, value), atol=0.01, rtol=0)
        far = region(torch.full((1, 3), 1e4))
    assert torch.isfinite(far).all()  # the masks' logits are bounded


def test_a_feather_is_one_inside_and_falls_to_the_edge() -> None:
    feather = make_feather(40, 60)[0, 0]
    assert torch.equal(feather, feather.flip(0).flip(1))
    assert feather[20, 12:-12].min() == 1
    assert feather[0].max() < 0.01
    assert (feather[20, :12].diff() > 0).all()


# What moves changes, and what does not


def find_window(theta: Generator, number: int) -> tuple[slice, slice]:
    """Rows and columns of a window in the canonical picture."""
    (x, y), (height, width) = theta.config.corners[number], theta.regions[number + 1][1].size
    return slice(y, y + height), slice(x, x + width)


def look_at_canonical(theta: Generator, landmarks: Tensor) -> Tensor:
    """The canonical pictures, before they are deformed."""
    return theta.draw(theta.read_codes(landmarks))


def test_a_closed_eye_is_drawn_in_its_own_window_alone(theta: Generator) -> None:
    landmarks = FACES[:1].repeat(2, 1, 1)
    eye = list(IBUG68.groups["right_eye"])
    landmarks[1, eye, 1] = landmarks[1, eye, 1].mean()
    change = look_at_canonical(theta, landmarks).diff(dim=0)[0].abs().amax(dim=0)
    rows, columns = find_window(theta, 1)
    assert change[rows, columns].max() > 1e-3
    change[rows, columns] = 0
    assert change.max() < 1e-6


def test_opened_lips_are_drawn_in_the_mouths_window_alone_and_only_deform_what_is_near(theta: Generator) -> None:
    landmarks = FACES[:1].repeat(2, 1, 1)
    lower = [*IBUG68.openings["mouth"][1], *range(55, 60)]
    landmarks[1, lower, 1] += 6 / SIZE
    change = look_at_canonical(theta, landmarks).diff(dim=0)[0].abs().amax(dim=0)
    rows, columns = find_window(theta, 0)
    assert change[rows, columns].max() > 1e-3
    change[rows, columns] = 0
    assert change.max() < 1e-6
    mouth = landmarks[0, list(IBUG68.groups["outer_lips"])].mean(dim=0)
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    far = ((axis[None, :] - mouth[0]).square() + (axis[:, None] - mouth[1]).square()).sqrt() > 96 / SIZE
    made = draw(theta, landmarks).diff(dim=0)[0].abs().mean(dim=0)
    assert made[far].mean() * 255 < 0.3
    assert made[~far].mean() > made[far].mean()


def test_edges_that_cross_meet_halfway_and_pupils_move_no_skin() -> None:
    theta = make_average(IBUG70)
    face = turn_face(0, IBUG70)
    crossed = face.clone()
    uppers, lowers = IBUG70.openings["mouth"]
    crossed[0, list(lowers)] = crossed[0, list(uppers)] - torch.tensor([0.0, 0.02])
    crossed[0, [68, 69], 0] += 0.02
    knots = theta.knots(crossed)
    assert knots.shape == (1, 68 + 10, 2)
    first = len(theta.others) + len(theta.brows)
    last = first + len(theta.uppers)
    upper, lower = knots[0, first : first + 3], knots[0, last : last + 3]
    torch.testing.assert_close(upper, lower, atol=1e-3, rtol=0)
    torch.testing.assert_close(theta.trust(crossed), theta.trust(face))
    torch.testing.assert_close(knots[0, : len(theta.others)], theta.knots(face)[0, : len(theta.others)])


def test_brows_move_by_more_than_their_landmarks_and_a_turned_head_moves_none() -> None:
    theta = make_average(IBUG68)
    still, raised = turn_face(0, IBUG68), turn_face(0, IBUG68, brows_up=0.05)
    first = len(theta.others)
    rows = slice(first, first + len(theta.brows))
    with torch.no_grad():
        moved = theta.knots(raised)[0, rows] - theta.knots(still)[0, rows]
        torch.testing.assert_close(theta.expect_brows(still)[0], still[0, theta.brows], atol=1e-5, rtol=0)
        tilted = still * torch.tensor([0.9, 1.1]) + 0.02  # affine, as a small turn is
        torch.testing.assert_close(theta.knots(tilted)[0, rows], tilted[0, theta.brows], atol=1e-5, rtol=0)
    given = (raised - still)[0, theta.brows]
    torch.testing.assert_close(moved, (1 + BROW_GAIN) * given, atol=1e-4, rtol=0)


def test_a_mouth_shows_from_the_first_gap_on_and_no_sooner(theta: Generator) -> None:
    face, (uppers, lowers) = FACES[:1], (list(row) for row in IBUG68.openings["mouth"])
    codes = theta.read_codes(face)
    shut = face.clone()
    shut[:, lowers] = shut[:, uppers] = (face[:, uppers] + face[:, lowers]) / 2
    skin = torch.zeros(1, 3, SIZE, SIZE)
    shown = []
    for gap in (-4.0, 0.0, 0.5, 2.0, 6.0, 12.0):
        opened = shut.clone()
        opened[:, lowers, 1] += gap / SIZE
        mouth = theta.open(skin, opened, codes).abs().sum(dim=1)[0]
        mouth[: int(face[0, 33, 1] * SIZE)] = 0  # below the nose
        shown.append(float(mouth.sum()))
    assert shown[0] < 0.2 * shown[3]
    assert shown[1] < 0.2 * shown[3]
    assert all(later > sooner for sooner, later in pairwise(shown[1:]))


def test_what_a_pupil_does_is_drawn_in_the_eyes_alone() -> None:
    theta = make_generator(TEXTURES.model_copy(update={"scheme": "ibug70"}), make_frames(scheme=IBUG70)).eval()
    landmarks = torch.from_numpy(film(1, scheme=IBUG70)).repeat(2, 1, 1)
    landmarks[1, 68, 0] += 0.02
    change = draw(theta, landmarks).detach().diff(dim=0)[0].abs().amax(dim=0)
    eye = landmarks[0, list(IBUG70.groups["right_eye"])]
    (left, top), (right, bottom) = (eye.amin(dim=0) * SIZE - 12).long(), (eye.amax(dim=0) * SIZE + 12).long()
    assert change[top:bottom, left:right].max() > 0.02
    change[top:bottom, left:right] = 0
    assert change.max() < 0.02  # codes of the eyes answer to their pupils, in windows of their own


def test_a_grid_is_spread_to_the_pixels_own_places() -> None:
    axis = (torch.arange(GRID) + 0.5) / GRID
    cells = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(1, -1, 2)
    grid = spread_places(cells)
    pixels = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    torch.testing.assert_close(grid[0, 100, 8:-8, 0], pixels[8:-8], atol=1e-5, rtol=0)
    torch.testing.assert_close(grid[0, 8:-8, 100, 1], pixels[8:-8], atol=1e-5, rtol=0)


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70])
def test_theta_makes_pictures_whatever_it_is_given(scheme: Scheme) -> None:
    theta = make_generator(TEXTURES.model_copy(update={"scheme": scheme.name}), make_frames(scheme=scheme))
    landmarks = torch.from_numpy(film(3, scheme=scheme))
    with torch.no_grad():
        for given in (landmarks, 5 * landmarks - 2, landmarks / 20):
            made = theta(given)
            assert made.shape == (3, 3, SIZE, SIZE)
            assert torch.isfinite(made).all()


def test_gradients_reach_every_part_and_the_landmarks(theta: Generator) -> None:
    landmarks = FACES[:2].clone().requires_grad_()
    theta.requires_grad_(True)
    try:
        theta(landmarks).square().sum().backward()
        missing = [name for name, value in theta.named_parameters() if value.grad is None or not value.grad.any()]
    finally:
        theta.requires_grad_(False)
        theta.zero_grad()
    assert missing == []
    assert landmarks.grad is not None
    assert torch.isfinite(landmarks.grad).all()
    assert landmarks.grad.any()


# The paper's


def test_the_papers_has_two_fc_layers_and_six_upscale_blocks() -> None:
    with torch.device("meta"):
        theta = PaperGenerator(PaperGeneratorConfig())
    kinds = [type(layer) for layer in theta.modules()]
    assert kinds.count(nn.Linear) == 2
    assert kinds.count(UpscaleBlock) == kinds.count(nn.PixelShuffle) == 6
    assert kinds.count(nn.Conv2d) == 7
    assert UpscaleBlock(3, 5)(torch.zeros(2, 3, 6, 7)).shape == (2, 5, 12, 14)


def test_the_papers_pictures_are_in_range() -> None:
    torch.manual_seed(0)
    theta = PaperGenerator(UPSCALE)
    with torch.no_grad():
        pictures = theta(1000 * FACES[:3])
    assert pictures.shape == (3, 3, SIZE, SIZE)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert pictures.std() > 0.1
