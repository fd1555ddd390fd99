"""Where a generator of moving textures begins: a canonical shape, and the frames that become its textures."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from shared.expression import measure_expression
from shared.landmarks import Scheme, pick
from trainer.networks.apertures import OPENINGS, SIZE
from trainer.networks.generator import WINDOWS, Generator, GeneratorConfig
from trainer.sampling.batches import TargetFrames

CALM = (0.05, 0.35)
"""Quantiles of the openings between which the canonical mouth and eyes are taken: nearly shut."""

SLIT = 0.008
"""Crop units (two pixels of 256) that canonical lips and lids stand apart, at most."""

MEETING = {"mouth": 0.5, "right_eye": 0.75, "left_eye": 0.75}
"""Where edges meet, from the upper, 0, to the lower, 1: a lower lid hardly moves."""

BROW_SHIFT = 6
"""Pixels by which an eye's window lies higher than the eye."""

KMEANS_ROUNDS = 20

WIDE = 0.3
"""Share of the frames, the widest open, that show what lies behind."""

WITNESSES = 48
"""Frames at most that say what others hide."""

FEW = 0.25
"""Share of these below which what they show of a mouth fades into the dark."""

EDGE_DOUBT = 0.5
"""Pixels from an opening's edge that are not taken for what lies behind it."""

CAVITY_SHADE, DARKEST = 0.6, 0.05
"""What no frame shows of a mouth is darker than the darkest of what they show: that of this share of its pixels."""


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
            "behind": tuple(min(textures, count) for textures in config.behind),
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
    look_behind(generator, frames)
    return generator.train()


def look_behind(generator: Generator, frames: TargetFrames) -> None:
    """Fill the textures of teeth and eyeballs from the frames whose lips and lids are widest apart."""
    measured = measure_expression(frames.landmarks.numpy(), frames.scheme)
    count = len(frames.landmarks)
    open_eyes = measured["right_eye"] + measured["left_eye"]
    generator.apertures.set_rest(frames.landmarks[torch.from_numpy(open_eyes >= np.median(open_eyes))])
    for number, (name, (code, picture)) in enumerate(zip(OPENINGS, generator.behind, strict=True)):
        textures = len(picture.textures)
        wide = measured[name].argsort(kind="stable")[::-1][: max(textures, round(WIDE * count))].copy()
        values = code(frames.landmarks[wide])
        chosen = choose_spread(values.numpy(), textures)
        witnesses = wide[np.linspace(0, len(wide) - 1, min(WITNESSES, len(wide))).astype(int)]
        seen, shown = _cut_openings(generator, frames, witnesses, number)
        weight = shown.sum(dim=0, keepdim=True)
        mean = (seen * shown).sum(dim=0, keepdim=True) / weight.clamp(min=1e-6)
        known = (weight / (FEW * len(witnesses))).clamp(max=1)
        if name == "mouth":
            skin = generator.regions[1][1].textures.data
            behind = mean * known + (1 - known) * _find_dark(mean, known, skin)
        else:
            behind = spread_known(mean, (known > 0).float())
        seen, shown = _cut_openings(generator, frames, wide[chosen], number)
        picture.textures.data.copy_(seen * shown + behind * (1 - shown))
        picture.keys.copy_(values[chosen, : picture.keys.shape[1]])


def _cut_openings(
    generator: Generator, frames: TargetFrames, chosen: NDArray[np.int64], number: int
) -> tuple[Tensor, Tensor]:
    """One opening's tile as frames show it, (n, 3, h, w), and which pixels of it they do show, (n, 1, h, w)."""
    places, inside = generator.apertures.locate(frames.landmarks[chosen], number)
    pictures = frames.pictures(torch.from_numpy(chosen))
    tiles = F.grid_sample(pictures, places * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False)
    return tiles, (inside - EDGE_DOUBT).clamp(0, 1)[:, None]


def _find_dark(mouth: Tensor, known: Tensor, skin: Tensor) -> Tensor:
    """A mouth's depth (1, 3, 1, 1): by the darkest that is known of it or, where it is shut, of its lips."""
    pixels = mouth.permute(1, 0, 2, 3)[:, known[:, 0] > 0.5]  # (3, pixels)
    if pixels.shape[1] == 0:
        pixels = skin.permute(1, 0, 2, 3).flatten(1)
    luma = pixels.mean(dim=0)
    return CAVITY_SHADE * pixels[:, luma <= luma.quantile(DARKEST)].mean(dim=1).view(1, 3, 1, 1)


def spread_known(picture: Tensor, known: Tensor) -> Tensor:
    """A picture (1, 3, h, w) with what is not known, where (1, 1, h, w) is 0, taken from the nearest that is."""
    filled, done = picture * known, known
    reach = 1
    while reach < max(picture.shape[2:]):
        side = 2 * reach + 1
        weight = F.avg_pool2d(known, side, stride=1, padding=reach)
        near = F.avg_pool2d(picture * known, side, stride=1, padding=reach) / weight.clamp(min=1e-6)
        new = (weight > 0).float() * (1 - done).round()
        filled, done = filled + near * new, done + new
        reach *= 2
    return filled


def find_canonical(landmarks: Tensor, scheme: Scheme) -> Tensor:
    """The mean of training landmarks (n, N, 2), with lips and lids all but shut, (N, 2)."""
    measured = measure_expression(landmarks.numpy(), scheme)
    jaw = scheme.groups["jaw"]
    shape = landmarks.mean(dim=0)
    parts = [
        ("mouth", scheme.groups["nose_base"], (*jaw[4:-4], *pick(scheme, ("outer_lips", "inner_lips")))),
    ]
    for side, corners in (("right", scheme.eye_corners[:2]), ("left", scheme.eye_corners[2:])):
        names = [name for name in (f"{side}_eye", f"{side}_pupil") if name in scheme.groups]
        parts.append((f"{side}_eye", corners, pick(scheme, names)))
    for name, anchor, points in parts:
        ranks = np.array(CALM) * (len(landmarks) - 1)
        order = measured[name].argsort(kind="stable")[int(ranks[0]) : int(np.ceil(ranks[1])) + 1]  # one at least
        chosen = landmarks[torch.from_numpy(order)]
        offset = chosen[:, list(points)] - chosen[:, list(anchor)].mean(dim=1, keepdim=True)
        shape[list(points)] = shape[list(anchor)].mean(dim=0) + offset.mean(dim=0)
        uppers, lowers = (list(edge) for edge in scheme.openings[name])
        gap = shape[lowers] - shape[uppers]
        excess = gap * (1 - (SLIT / gap.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1))
        shape[uppers] += MEETING[name] * excess
        shape[lowers] -= (1 - MEETING[name]) * excess
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
