"""Where a generator of moving textures begins: a canonical shape, and the frames that become its textures."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.expression import measure_expression
from shared.landmarks import Scheme, pick
from trainer.networks.generator import SIZE, WINDOWS, Generator, GeneratorConfig
from trainer.sampling.batches import TargetFrames

OPEN_MOUTH, OPEN_EYE = (0.98, 0.9995), (0.7, 0.98)
"""Quantiles of the openings between which the canonical mouth and eyes are taken: inside them there is to be room."""

BROW_SHIFT = 6
"""Pixels by which an eye's window lies higher than the eye."""

KMEANS_ROUNDS = 20

CAVITY_SHADE = 0.6
"""A mouth opened further than ever filmed is darker than the darkest that was filmed."""

DARKEST = 0.05
"""Share of the pixels between the teeth that show what no teeth cover."""


def make_generator(config: GeneratorConfig, frames: TargetFrames) -> Generator:
    """A generator of this person that has learned nothing yet: their frames, moved.

    With fewer frames than textures there are as many textures as frames.
    """
    canonical = find_canonical(frames.landmarks, frames.scheme)
    count = len(frames.landmarks)
    config = config.model_copy(
        update={
            "corners": place_windows(canonical, frames.scheme),
            "textures": tuple(min(textures, count) for textures in config.textures),
        }
    )
    generator = Generator(config).eval()
    generator.set_canonical(canonical)
    corners = ((0, 0), *config.corners)
    for (code, picture), (x, y) in zip(generator.regions, corners, strict=True):
        code.fit(frames.landmarks)
        values = code(frames.landmarks)
        chosen = choose_spread(values.numpy(), len(picture.textures))
        straight = generator.straighten(frames.pictures(torch.from_numpy(chosen)), frames.landmarks[chosen])
        height, width = picture.size
        picture.textures.data.copy_(straight[:, :, y : y + height, x : x + width])
        picture.keys.copy_(values[chosen])
    generator.cavity_colour.copy_(find_cavity_colour(generator))
    return generator.train()


def find_cavity_colour(generator: Generator) -> Tensor:
    """The colour (1, 3, 1, 1) of the darkest part between the teeth, in the mouth's textures."""
    textures = generator.regions[1][1].textures.data
    inside = textures.permute(1, 0, 2, 3)[:, :, generator.cavity[0, 0] > 0.5].flatten(1)  # (3, pixels)
    if inside.shape[1] == 0:
        return torch.zeros(1, 3, 1, 1)
    luma = inside.mean(dim=0)
    return CAVITY_SHADE * inside[:, luma <= luma.quantile(DARKEST)].mean(dim=1).view(1, 3, 1, 1)


def find_canonical(landmarks: Tensor, scheme: Scheme) -> Tensor:
    """The mean of training landmarks (n, N, 2), with mouth and eyes open, (N, 2)."""
    measured = measure_expression(landmarks.numpy(), scheme)
    jaw = scheme.groups["jaw"]
    shape = landmarks.mean(dim=0)
    parts = [
        ("mouth", OPEN_MOUTH, scheme.groups["nose_base"], (*jaw[4:-4], *pick(scheme, ("outer_lips", "inner_lips")))),
    ]
    for side, corners in (("right", scheme.eye_corners[:2]), ("left", scheme.eye_corners[2:])):
        names = [name for name in (f"{side}_eye", f"{side}_pupil") if name in scheme.groups]
        parts.append((f"{side}_eye", OPEN_EYE, corners, pick(scheme, names)))
    for name, bounds, anchor, points in parts:
        ranks = np.array(bounds) * (len(landmarks) - 1)
        order = measured[name].argsort(kind="stable")[int(ranks[0]) : int(np.ceil(ranks[1])) + 1]  # one at least
        chosen = landmarks[torch.from_numpy(order)]
        offset = chosen[:, list(points)] - chosen[:, list(anchor)].mean(dim=1, keepdim=True)
        shape[list(points)] = shape[list(anchor)].mean(dim=0) + offset.mean(dim=0)
    return shape


def place_windows(canonical: Tensor, scheme: Scheme) -> tuple[tuple[int, int], ...]:
    """The upper left corners (x, y) in pixels of the windows about mouth, right and left eye."""
    corners = []
    for names, rise, (height, width) in zip(
        ("outer_lips", "right_eye", "left_eye"), (0, BROW_SHIFT, BROW_SHIFT), WINDOWS, strict=True
    ):
        points = canonical[list(scheme.groups[names])] * SIZE
        x, y = ((points.amin(dim=0) + points.amax(dim=0)) / 2).tolist()
        corners.append(
            (
                int(np.clip(round(x - width / 2), 0, SIZE - width)),
                int(np.clip(round(y - rise - height / 2), 0, SIZE - height)),
            )
        )
    return tuple(corners)


def choose_spread(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Which rows of `values` (n, d) stand for all of them: those nearest to the centres of k-means."""
    chosen = [int(np.square(values - values.mean(axis=0)).sum(axis=1).argmin())]
    distance = np.square(values - values[chosen[0]]).sum(axis=1)
    while len(chosen) < count:  # begin with the points farthest from each other
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(values - values[chosen[-1]]).sum(axis=1))
    centres = values[chosen]
    for _ in range(KMEANS_ROUNDS):
        nearest = np.square(values[:, None] - centres).sum(axis=2).argmin(axis=1)
        centres = np.stack(
            [values[nearest == row].mean(axis=0) if (nearest == row).any() else centres[row] for row in range(count)]
        )
    return np.asarray(np.square(values[:, None] - centres).sum(axis=2).argmin(axis=0), np.int64)
