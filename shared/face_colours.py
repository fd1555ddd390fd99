"""The colours of faces on a coarse grid: what is skin, and one face in another's light.

A face takes on mean and spread of the colours that it covers (Reinhard et al. 2001), and what still differs along the
seam is spread smoothly over it, as a membrane would be (Pérez et al. 2003).
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.pixels import Image8

Plane = NDArray[np.float32]

GRID = 48  # cells a side, on which colours are compared: light varies no faster
SEAM_SIGMAS = (0.25, 0.06, 0.03)  # crop sides: how far a difference along the seam reaches, from coarse to fine
# Of lightness and both colours: grey levels; more along the seam is hair, glasses or background, and no light.
MOST_DIFFERENCE = np.array([64, 24, 24], np.float32)
# Of the same: least and most. More than a little would make noise and blemishes loud.
SPREADS = np.array([[0.6, 1.1], [0.0, 1.1], [0.0, 1.1]], np.float32)
# Of the same: grey levels by which skin differs from skin nearby, in a face of the lightness LIGHT or more.
SKIN = np.array([40, 14, 14], np.float32)
LIGHT, LEAST_LIGHT = 150, 0.3  # darker faces differ by less, but by this share at least
SKIN_SIGMA = 0.15  # crop sides: what is nearby
SKIN_PASSES = 3
WHOLE_FACE = 0.3  # how much the mean of the whole face weighs beside what is nearby
SMOOTHED = 0.015  # crop sides: sigma of the last smoothing

# Lightness and two opponent colours, as in YCbCr: linear, so that the way there and back is one matrix each.
OPPONENT = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)
RGB = np.linalg.inv(OPPONENT).astype(np.float32)


def find_skin(cells: Image8, features: Plane, face: Plane) -> Plane:
    """How much of each cell of ``(GRID, GRID, 3)`` is skin, (GRID, GRID, 1), 0 to 1: no hair, background or glasses.

    `features` (GRID, GRID, 1) is where most is skin for certain, `face` (GRID, GRID, 1) where skin may be: it is what
    has about the colour of skin nearby, found again and again from the features outwards.
    """
    colours = cells.astype(np.float32) @ OPPONENT.T
    weight = searched = features
    off = np.zeros_like(features)
    for _ in range(SKIN_PASSES):
        mean = (colours * weight).sum(axis=(0, 1)) / (weight.sum() + 1e-6)
        near = blur(np.concatenate([colours * weight, weight], axis=2), SKIN_SIGMA)
        prior = WHOLE_FACE * near[..., 3:].max() + 1e-6
        expected = (near[..., :3] + prior * mean) / (near[..., 3:] + prior)
        off = np.square((colours - expected) / (SKIN * np.clip(mean[0] / LIGHT, LEAST_LIGHT, 1)))
        off = off.sum(axis=2, keepdims=True)
        weight, searched = searched * np.exp(-off / 2), face
    skin: Plane = np.clip(1.5 - off / 4, 0, 1).astype(np.float32)
    return blur(skin, SMOOTHED) / blur(np.ones_like(skin), SMOOTHED)


def match_colours(face: Image8, covered: Image8, mask: Image.Image) -> Image8:
    """A face ``(S, S, 3)`` in the colours and light of what it covers, ``(GRID, GRID, 3)``, where the mask is."""
    cut = Image.fromarray(face)
    cut.putalpha(mask)
    # Pillow weighs colours by alpha: what the mask leaves out is in no cell.
    cells = np.asarray(cut.resize((GRID, GRID), Image.Resampling.BOX), np.float32)
    alpha: Plane = cells[..., 3:] / np.float32(255)
    if float(alpha.sum()) < 1:
        return face
    there, here = covered.astype(np.float32) @ OPPONENT.T, cells[..., :3] @ OPPONENT.T
    (mean_there, spread_there), (mean_here, spread_here) = _weigh(there, alpha), _weigh(here, alpha)
    gain = np.clip(spread_there / spread_here, SPREADS[:, 0], SPREADS[:, 1])
    difference = there - (mean_there + (here - mean_here) * gain)
    field = _spread_seam(np.clip(difference, -MOST_DIFFERENCE, MOST_DIFFERENCE), 4 * alpha * (1 - alpha))
    matrix = OPPONENT.T * gain @ RGB.T  # (3, 3): RGB to RGB
    offset = (field + mean_there - mean_here * gain) @ RGB.T  # (GRID, GRID, 3)
    size = (face.shape[1], face.shape[0])
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BICUBIC)
        for plane in np.moveaxis(offset, 2, 0)
    ]
    matched = face.astype(np.float32) @ matrix + np.stack([np.asarray(plane) for plane in planes], axis=2)
    rounded: Image8 = np.clip(np.round(matched), 0, 255).astype(np.uint8)
    return rounded


def blur(plane: Plane, sigma: float) -> Plane:
    """(GRID, GRID, C) under a Gaussian, sigma in crop sides; its weights are not normalised."""
    cells = np.arange(GRID, dtype=np.float32)
    kernel = np.exp(-np.square((cells[:, None] - cells) / (sigma * GRID)) / 2)
    down = (kernel @ plane.reshape(GRID, -1)).reshape(plane.shape).swapaxes(0, 1)
    blurred: Plane = (kernel @ down.reshape(GRID, -1)).reshape(plane.shape).swapaxes(0, 1)
    return blurred


def _weigh(colours: Plane, weight: Plane) -> tuple[Plane, Plane]:
    """Mean and standard deviation (3,) of (GRID, GRID, 3) colours; one grey level at least of the latter."""
    total = weight.sum()
    mean = (colours * weight).sum(axis=(0, 1)) / total
    spread = np.sqrt((np.square(colours - mean) * weight).sum(axis=(0, 1)) / total)
    return mean, np.maximum(spread, 1)


def _spread_seam(difference: Plane, seam: Plane) -> Plane:
    """A smooth (GRID, GRID, 3) that has the differences' values where the seam (GRID, GRID, 1) is."""
    field = np.zeros_like(difference)
    for sigma in SEAM_SIGMAS:
        near = blur(np.concatenate([(difference - field) * seam, seam], axis=2), sigma)
        weight = near[..., 3:]
        # Where no seam is near, the finer field fades to nothing.
        field = field + near[..., :3] / np.maximum(weight, 0.1 * weight.max() + 1e-6)
    return field
