"""The terms of the paper's overall loss (eq. 1), one function each, and those that the default recipe adds.

Landmarks are ``(B, N, 2)`` in crop units, pictures ``(B, 3, H, W)`` in [0, 1], logits ``(B, 1, h, w)``. Each returns a
scalar, the mean over the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.landmarks import Scheme

BLOCK = 8
"""Side in pixels of the blocks whose detail is compared."""


def landmark_distance(points: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """||points - wanted||_2 over all points of a face, point i counted `weights[i]` times (default 1)."""
    squared = (points - wanted).square().sum(dim=-1)  # (B, N)
    if weights is not None:
        squared = squared * weights
    # A distance of nothing has no gradient to give; the epsilon keeps it from giving NaN.
    return (squared.sum(dim=-1) + 1e-12).sqrt().mean()


def opening_distance(points: Tensor, wanted: Tensor, scheme: Scheme) -> Tensor:
    """Mean distance of how lids and lips stand apart, upper to lower point, from how they should."""
    errors = []
    for upper, lower in scheme.openings.values():
        apart, should = (each[:, list(upper)] - each[:, list(lower)] for each in (points, wanted))  # (B, n, 2)
        errors.append((apart - should).square().sum(dim=2).add(1e-12).sqrt().mean())
    return torch.stack(errors).mean()


def l2i(generated: Tensor, picture: Tensor, weights: Tensor | None = None) -> Tensor:
    """L_L2I = E ||I_t - Theta_t(L_t)||_1, as a mean over pixels (eq. 2), weighed by a map (B, 1, H, W) if given."""
    error = (generated - picture).abs()
    return error.mean() if weights is None else (error * weights).mean()


def gradient_difference(generated: Tensor, picture: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean absolute difference of neighbouring pixels' differences, across and down (Mathieu et al. 2016; not in the
    paper), weighed by a map (B, 1, H, W) if given: an edge that is blurred costs L1 little, and this much."""
    error = generated - picture
    across, down = error.diff(dim=3).abs(), error.diff(dim=2).abs()
    if weights is None:
        return across.mean() + down.mean()
    return (across * weights[..., 1:]).mean() + (down * weights[..., 1:, :]).mean()


def sharpness_difference(generated: Tensor, picture: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean absolute difference of how much detail there is, wherever exactly it lies: the RMS of neighbouring pixels'
    differences in blocks of 8x8 pixels (not in the paper), weighed by a map (B, 1, H, W) if given.

    A texture's statistic, as those of Gatys et al. (2015), of the finest detail alone.
    """
    difference = (_measure_detail(generated) - _measure_detail(picture)).abs()
    return difference.mean() if weights is None else (difference * F.avg_pool2d(weights, BLOCK)).mean()


def _measure_detail(pictures: Tensor) -> Tensor:
    across, down = pictures.diff(dim=3)[:, :, :-1], pictures.diff(dim=2)[..., :-1]  # (B, 3, H - 1, W - 1)
    energy = F.pad(across.square() + down.square(), (0, 1, 0, 1))
    return (F.avg_pool2d(energy, BLOCK) + 1e-6).sqrt()


def i2l(found: Tensor, landmarks: Tensor, weights: Tensor | None = None) -> Tensor:
    """L_I2L = E ||L_t - Omega(Theta_t(L_t))||_2: Omega finds on a generated picture the landmarks it is of (eq. 3)."""
    return landmark_distance(found, landmarks, weights)


def l2l(rebuilt: Tensor, landmarks: Tensor, latent: Tensor, neutral: Tensor, weights: Tensor | None = None) -> Tensor:
    """L_L2L = E [ ||L_t - Psi_t(Phi(L_t))||_2 + ||L'_t - Phi(L_t)||_2 ] (eq. 4).

    `neutral` is L'_t: see `trainer.sampling.face_shapes` for how it is freed of identity.
    """
    return landmark_distance(rebuilt, landmarks, weights) + landmark_distance(latent, neutral, weights)


def x_l2l(cycled: Tensor, landmarks: Tensor, weights: Tensor | None = None) -> Tensor:
    """L_X-L2L = E ||L_t - Psi_t(Phi(Psi_s(Phi(L_t))))||_2, there and back through another identity s (eq. 5)."""
    return landmark_distance(cycled, landmarks, weights)


def l2i_gan_discriminator(real: Tensor, fake: Tensor, kind: str) -> Tensor:
    """What D lowers in eq. 6: ``log``, -log D(I_t) - log(1 - D(fake)); or its ``hinge`` form, never saturated."""
    if kind == "log":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def l2i_gan_generator(generated: Tensor, kind: str) -> Tensor:
    """What Theta lowers in eq. 6, in the non-saturating form -log D(generated); or the ``hinge`` form."""
    return F.softplus(-generated).mean() if kind == "log" else -generated.mean()


def heatmap_divergence(heatmaps: Tensor, landmarks: Tensor, sigma: float) -> Tensor:
    """Jensen-Shannon divergence of Omega's heatmaps (B, N, h, w) from Gaussians about `landmarks` (B, N, 2).

    The regulariser of the DSNT paper (Nibali et al. 2018, eq. 7): a centre of mass says nothing of a heatmap's shape.
    `sigma` is in heatmap pixels.
    """
    height, width = heatmaps.shape[-2:]
    x = torch.arange(width, device=heatmaps.device) + 0.5 - landmarks[..., 0, None] * width  # (B, N, w)
    y = torch.arange(height, device=heatmaps.device) + 0.5 - landmarks[..., 1, None] * height  # (B, N, h)
    wanted = torch.exp(-y.square() / (2 * sigma**2))[..., None] * torch.exp(-x.square() / (2 * sigma**2))[..., None, :]
    wanted = wanted / wanted.sum(dim=(2, 3), keepdim=True).clamp_min(1e-12)
    middle = ((heatmaps + wanted) / 2).clamp_min(1e-12).log()
    divergences = [
        (each * (each.clamp_min(1e-12).log() - middle)).sum(dim=(2, 3))
        for each in (heatmaps, wanted)  # (B, N)
    ]
    return torch.stack(divergences).mean()
