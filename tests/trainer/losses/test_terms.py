"""The loss terms, against values and gradients worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from shared.landmarks import IBUG68
from trainer.losses.terms import (
    gradient_difference,
    i2l,
    l2i,
    l2i_gan_discriminator,
    l2i_gan_generator,
    l2l,
    landmark_distance,
    opening_distance,
    sharpness_difference,
    x_l2l,
)
from trainer.networks.hourglass import read_heatmaps

ZERO = torch.zeros(1, 2, 2)
APART = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])  # two points, 3 and 4 away from the origin


def test_landmark_distance_is_one_norm_over_all_points() -> None:
    assert landmark_distance(APART, ZERO).item() == pytest.approx(5)  # not (3 + 4) / 2
    assert landmark_distance(torch.cat([APART, 3 * APART]), ZERO).item() == pytest.approx(10)  # mean over the batch


def test_landmark_distance_counts_a_point_as_often_as_its_weight() -> None:
    assert landmark_distance(APART, ZERO, torch.tensor([16.0, 0.0])).item() == pytest.approx(12)
    assert landmark_distance(APART, ZERO, torch.tensor([0.0, 4.0])).item() == pytest.approx(8)


def test_landmark_distance_pulls_along_the_difference() -> None:
    points = APART.repeat(2, 1, 1).requires_grad_()
    landmark_distance(points, ZERO).backward()
    torch.testing.assert_close(points.grad, APART.repeat(2, 1, 1) / 5 / 2)  # unit length, shared by two faces


def test_landmark_distance_at_nothing_has_no_gradient_and_no_nan() -> None:
    points = APART.clone().requires_grad_()
    distance = landmark_distance(points, APART.clone())
    distance.backward()
    assert distance.item() < 1e-5
    assert torch.equal(points.grad, ZERO)


def test_l2i_is_the_mean_absolute_difference() -> None:
    made = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).requires_grad_()
    picture = torch.tensor([0.3, 0.5, 0.4]).view(1, 3, 1, 1)
    loss = l2i(made, picture)
    loss.backward()
    assert loss.item() == pytest.approx(0.9 / 3)
    torch.testing.assert_close(made.grad.flatten(), torch.tensor([-1 / 3, 0, 1 / 3]))


def test_l2i_weighs_the_parts_of_a_picture() -> None:
    made, picture = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    made[..., 0, 0], made[..., 1, 1] = 1.0, 1.0  # wrong in two corners
    assert l2i(made, picture).item() == pytest.approx(2 / 4)
    weights = torch.tensor([[1.0, 1.0], [1.0, 5.0]]).view(1, 1, 2, 2)
    assert l2i(made, picture, weights).item() == pytest.approx((1 + 5) / 4)


def test_the_gradient_difference_is_that_of_neighbours() -> None:
    picture = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]).view(1, 1, 2, 3)  # an edge,
    blurred = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]).view(1, 1, 2, 3).requires_grad_()
    loss = gradient_difference(blurred, picture)
    assert loss.item() == pytest.approx((0.5 + 0.5) / 2)  # two steps of a half where there should be 0 and 1; none down
    assert gradient_difference(picture + 0.3, picture).item() == pytest.approx(0, abs=1e-6)  # another light is none
    loss.backward()
    assert blurred.grad is not None
    assert (blurred.grad[..., 1] > 0).all()  # downhill: the middle goes down, the edge gets steeper
    weights = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]).view(1, 1, 2, 3)
    weighed = gradient_difference(blurred.detach(), picture, weights)
    assert weighed.item() == pytest.approx((0.5 * 2 + 0.5 * 4) / 4)  # each step weighs as the pixel that it leads to


def test_i2l_is_how_far_the_landmarks_found_are_from_those_asked_for() -> None:
    assert i2l(APART, ZERO).item() == pytest.approx(5)
    assert i2l(APART, ZERO, torch.tensor([9.0, 0.0])).item() == pytest.approx(9)


def test_i2l_pulls_at_the_picture_through_the_heatmap() -> None:
    # Omega as small as it gets: a picture of two pixels is its own heatmap's logits. Both alike, the landmark is found
    # in the middle, at 1/2; the left pixel's centre, at 1/4, was asked for. With p the left pixel's share, the place is
    # p/4 + 3(1 - p)/4, and moves by -1/2 for each of p; p = 1/2 moves by p(1 - p) = 1/4 with its own logit.
    picture = torch.zeros(1, 1, 1, 2, requires_grad=True)
    found = read_heatmaps(picture.flatten(2).softmax(dim=2).view_as(picture))
    loss = i2l(found, torch.tensor([[[0.25, 0.5]]]))
    loss.backward()
    assert loss.item() == pytest.approx(1 / 4)
    torch.testing.assert_close(picture.grad.flatten(), torch.tensor([-1 / 8, 1 / 8]))  # a step raises the left pixel


def test_openings_are_how_far_upper_and_lower_points_stand_apart() -> None:
    upper, _ = IBUG68.openings["mouth"]
    wanted = torch.zeros(1, 68, 2)
    points = wanted.clone()
    points[0, upper[0]] = torch.tensor([3.0, 4.0])  # 5 away, one pair of one opening
    expected = 5 / len(upper) / len(IBUG68.openings)
    assert opening_distance(points, wanted, IBUG68).item() == pytest.approx(expected, abs=1e-5)
    assert opening_distance(points + 7, wanted, IBUG68).item() == pytest.approx(
        expected, abs=1e-5
    )  # place is not asked


def test_l2l_adds_what_psi_rebuilds_and_what_phi_says() -> None:
    rebuilt, landmarks, latent, neutral = APART, ZERO, ZERO, 2 * APART
    assert l2l(rebuilt, landmarks, latent, neutral).item() == pytest.approx(5 + 10)
    only_first = torch.tensor([1.0, 0.0])
    assert l2l(rebuilt, landmarks, latent, neutral, only_first).item() == pytest.approx(3 + 6)


def test_x_l2l_is_the_distance_after_the_round_trip() -> None:
    assert x_l2l(APART, ZERO).item() == pytest.approx(5)
    assert x_l2l(APART, ZERO, torch.tensor([4.0, 0.0])).item() == pytest.approx(6)


def test_log_gan_is_two_log_two_where_nothing_is_known() -> None:
    undecided = torch.zeros(2, 1, 3, 3)
    assert l2i_gan_discriminator(undecided, undecided, "log").item() == pytest.approx(2 * math.log(2))
    assert l2i_gan_generator(undecided, "log").item() == pytest.approx(math.log(2))
    # D(real) = 3/4 and D(made) = 1/4, so that both terms are -log(3/4); the generator's is -log(1/4).
    logit = torch.full((1, 1, 1, 1), math.log(3))
    assert l2i_gan_discriminator(logit, -logit, "log").item() == pytest.approx(2 * math.log(4 / 3))
    assert l2i_gan_generator(-logit, "log").item() == pytest.approx(math.log(4))


def test_hinge_gan_asks_for_no_more_than_the_margin() -> None:
    real, made = torch.tensor([2.0, 0.5]).view(2, 1, 1, 1), torch.tensor([-2.0, 0.5]).view(2, 1, 1, 1)
    assert l2i_gan_discriminator(real, made, "hinge").item() == pytest.approx((0 + 0.5) / 2 + (0 + 1.5) / 2)
    assert l2i_gan_generator(made, "hinge").item() == pytest.approx(0.75)


@pytest.mark.parametrize("kind", ["hinge", "log"])
def test_gan_gradients_pull_the_right_way(kind: str) -> None:
    real, made, ours = (torch.zeros(1, 1, 2, 2, requires_grad=True) for _ in range(3))
    l2i_gan_discriminator(real, made, kind).backward()
    l2i_gan_generator(ours, kind).backward()
    assert (real.grad < 0).all()  # D raises what it says of filmed pictures,
    assert (made.grad > 0).all()  # lowers what it says of made ones,
    assert (ours.grad < 0).all()  # and Theta raises that.


def test_log_generator_does_not_saturate() -> None:
    lost = torch.full((1, 1, 1, 1), -30.0, requires_grad=True)
    l2i_gan_generator(lost, "log").backward()
    assert lost.grad.item() == pytest.approx(-1)  # log(1 - D) would leave nothing here


def test_sharpness_is_how_much_detail_there_is_wherever_it_lies() -> None:
    columns = (torch.arange(16) % 2).float().expand(1, 3, 16, 16)
    assert sharpness_difference(1 - columns, columns).item() == pytest.approx(0, abs=1e-3)  # the same, a pixel on
    flat = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    loss = sharpness_difference(flat, columns)
    # Each step to the right is 1; at the picture's edge a block's last column and row have none.
    inner, edge = 1.0, (7 / 8) ** 0.5
    corner = (49 / 64) ** 0.5
    assert loss.item() == pytest.approx((inner + 2 * edge + corner) / 4, abs=2e-3)
    blurred = (columns - 0.5) * 0.5 + 0.5
    assert sharpness_difference(blurred, columns).item() == pytest.approx(loss.item() / 2, abs=2e-3)
    weights = torch.zeros(1, 1, 16, 16)
    weights[..., :8, :8] = 2.0
    assert sharpness_difference(blurred, columns, weights).item() == pytest.approx(2 * 0.5 / 4, abs=2e-3)


def random_faces(seed: int) -> Tensor:
    return torch.randn(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_gradients_agree_with_finite_differences() -> None:
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    one, two, three, four = (random_faces(seed) for seed in range(4))
    assert torch.autograd.gradcheck(landmark_distance, (one, two, weights))
    assert torch.autograd.gradcheck(i2l, (one, two, weights))
    assert torch.autograd.gradcheck(l2l, (one, two, three, four, weights))
    assert torch.autograd.gradcheck(lambda a, b: l2i_gan_discriminator(a, b, "log"), (one, two))
    assert torch.autograd.gradcheck(lambda a: l2i_gan_generator(a, "log"), (one,))
    assert torch.autograd.gradcheck(lambda a: l2i_gan_generator(a, "hinge"), (one,))
