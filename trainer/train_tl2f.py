"""Learn Theta, the landmark-to-face generator of one target, against the discriminator D (eq. 2 and 6).

First L2I alone, which places everything and blurs it; then the GAN terms too, which sharpen it. Other people's
converted landmarks are among those that Theta learns from in both: see `draw_batch`.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from shared.geometry import CropRule
from shared.landmarks import Scheme
from shared.pixels import Image8, from_network, to_network
from trainer.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint
from trainer.config import TL2FTraining
from trainer.device import autocast
from trainer.identities import Retarget, detail_points, exaggerate, recrop, turn_roll
from trainer.losses import feature_matching, l2i, l2i_gan_discriminator, l2i_gan_generator
from trainer.networks.discriminator import PatchDiscriminator
from trainer.networks.tl2f import TL2F
from trainer.warp import warp_pictures

SAMPLE_STEPS = 500
SAMPLE_COUNT = 6


@dataclass(frozen=True)
class TargetFrames:
    """What Theta learns from: the target's training frames, and other people's landmarks in the target's shape."""

    landmarks: Tensor  # (n, N, 2) crop units
    crops: Image8  # (n, H, W, 3), memory-mapped
    neutral: Tensor  # (N, 2)
    foreign: Tensor  # (m, N, 2) Psi_t(Phi(L_s)); m may be 0
    scheme: Scheme
    rule: CropRule

    @cached_property
    def nearest(self) -> Tensor:
        """For each of `foreign`, which of the target's own frames is nearest to it, (m,)."""
        return torch.cdist(self.foreign.flatten(1), self.landmarks.flatten(1)).argmin(dim=1)

    def pictures(self, chosen: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """The crops at these places, (B, 3, H, W) in [0, 1]."""
        return torch.from_numpy(to_network(np.stack([self.crops[index] for index in chosen])))


def train_tl2f(frames: TargetFrames, config: TL2FTraining, seed: int, device: torch.device, folder: Path) -> TL2F:
    """Train, going on from ``folder/tl2f.pt`` where there is one; samples go to ``folder/samples``. Returns the EMA."""
    torch.manual_seed(seed)
    theta, discriminator = TL2F(config.network), PatchDiscriminator(config.discriminator)
    theta.fit_whitening(frames.landmarks)
    for network in (theta, discriminator):
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(theta).requires_grad_(False)
    theta_optimiser = torch.optim.Adam(theta.parameters(), config.learning_rate, config.betas)
    d_optimiser = torch.optim.Adam(discriminator.parameters(), config.learning_rate, config.betas)
    parts: Mapping[str, nn.Module | torch.optim.Optimizer] = {
        "theta": theta,
        "averaged": averaged,
        "discriminator": discriminator,
        "theta_optimiser": theta_optimiser,
        "d_optimiser": d_optimiser,
    }

    path = folder / "tl2f.pt"
    first = 0
    if (saved := load_checkpoint(path, config)) is not None:
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first = saved["step"]

    def save(step: int) -> None:
        save_checkpoint(path, config, {"step": step} | {name: part.state_dict() for name, part in parts.items()})

    clock = CheckpointClock()
    retarget = Retarget(frames.scheme)
    details = list(detail_points(frames.scheme))
    gan_from = round(config.gan_start * config.steps)
    progress = tqdm(range(first, config.steps), "tl2f", config.steps, initial=first, unit="step")
    for step in progress:
        # What a step draws hangs on its number alone, so that a resumed run is the same run.
        torch.manual_seed(seed * 1_000_003 + step)
        rate = schedule_rate(step, gan_from, config)
        for optimiser in (theta_optimiser, d_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = rate
        landmarks, pictures = draw_batch(frames, config, retarget)
        landmarks, pictures = landmarks.to(device), pictures.to(device, memory_format=torch.channels_last)
        adversarial = step >= gan_from

        with autocast(device):
            made = theta(landmarks + torch.randn_like(landmarks) * config.noise)
        made = made.float()  # (B, 3, H, W)
        reconstruction = l2i(made, pictures, weigh_pixels(landmarks, details, config.detail_weight))
        loss = config.l2i * reconstruction

        if adversarial:
            # D learns to tell filmed from made ...
            with autocast(device):
                real_logits, _ = discriminator(pictures)
                made_logits, _ = discriminator(made.detach())
            d_loss = l2i_gan_discriminator(real_logits.float(), made_logits.float(), config.gan_loss)
            d_optimiser.zero_grad()
            d_loss.backward()  # type: ignore[no-untyped-call]
            d_optimiser.step()

            # ... and Theta to be taken for filmed, with D's features of the real frame as a guide.
            discriminator.requires_grad_(False)
            with autocast(device):
                made_logits, made_features = discriminator(made)
                with torch.no_grad():
                    _, real_features = discriminator(pictures)
            loss = loss + config.l2i_gan * l2i_gan_generator(made_logits.float(), config.gan_loss)
            loss = loss + config.feature_matching * feature_matching(made_features, real_features)
            discriminator.requires_grad_(True)

        theta_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        theta_optimiser.step()
        update_average(averaged, theta, min(config.ema, step / (step + 10)))

        if step % 20 == 0:
            rate_text = f"{config.batch * (progress.format_dict['rate'] or 0):.1f}"
            progress.set_postfix(l2i=f"{reconstruction.item():.4f}", samples_s=rate_text, refresh=False)
        if clock.is_due():
            save(step + 1)
        if (step + 1) % SAMPLE_STEPS == 0 or step + 1 == config.steps:
            write_samples(averaged, frames, device, folder / "samples" / f"step_{step + 1:06d}.jpg")
    if first < config.steps:
        save(config.steps)
    return averaged.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload,no-any-return]


def schedule_rate(step: int, gan_from: int, config: TL2FTraining) -> float:
    """The learning rate of a step: a cosine from `learning_rate` to a hundredth, then one from `gan_learning_rate`."""
    if step < gan_from:
        start, share = config.learning_rate, step / gan_from
    else:
        start, share = config.gan_learning_rate, (step - gan_from) / (config.steps - gan_from)
    return start * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def draw_batch(frames: TargetFrames, config: TL2FTraining, retarget: Retarget) -> tuple[Tensor, Tensor]:
    """Landmarks (B, N, 2) and pictures (B, 3, H, W): frames as filmed, and frames warped to landmarks not filmed.

    A warped frame goes to its own landmarks exaggerated and rolled, or, `config.converted` of them, to another person's
    converted landmarks from the filmed frame that is nearest to these.
    """
    chosen = torch.randint(len(frames.landmarks), (config.batch,))
    filmed = frames.landmarks[chosen]
    warped = int((torch.rand(config.batch) < config.warped).sum())
    acted = exaggerate(filmed[:warped], frames.neutral, retarget, spread=0.35)
    wanted = torch.cat([recrop(turn_roll(acted, spread=0.07), frames.rule), filmed[warped:]])
    if config.converted and len(frames.foreign):
        others = torch.randint(len(frames.foreign), (config.converted,))
        chosen = torch.cat([frames.nearest[others], chosen])
        filmed = torch.cat([frames.landmarks[frames.nearest[others]], filmed])
        wanted = torch.cat([frames.foreign[others], wanted])
        warped += config.converted
    pictures = frames.pictures(chosen.tolist())
    if warped:
        pictures[:warped] = warp_pictures(pictures[:warped], filmed[:warped], wanted[:warped])
    return wanted, pictures


def weigh_pixels(landmarks: Tensor, details: Sequence[int], weight: float, size: int = 32) -> Tensor:
    """Weights (B, 1, size, size) of a picture's parts: `weight` on the eyes and lips at `landmarks`, else one.

    Eyes and lips are a fiftieth of the pixels and most of what is looked at. Each point weighs a Gaussian of 0.03 crop
    units about it.
    """
    axis = (torch.arange(size, device=landmarks.device) + 0.5) / size
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)  # (size, size, 2)
    distance = torch.cdist(grid.reshape(1, -1, 2), landmarks[:, details])  # (B, size * size, n)
    near = torch.exp(-distance.square() / (2 * 0.03**2)).amax(dim=2).view(-1, 1, size, size)
    return 1 + (weight - 1) * near


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's by ``1 - decay``."""
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


@torch.no_grad()
def write_samples(theta: TL2F, frames: TargetFrames, device: torch.device, path: Path) -> None:
    """Real frames, the faces made from their landmarks, and faces made from other people's converted landmarks."""
    chosen = np.linspace(0, len(frames.landmarks) - 1, SAMPLE_COUNT).astype(int)
    rows = [frames.crops[chosen], from_network(theta(frames.landmarks[chosen].to(device)).cpu().numpy())]
    if len(frames.foreign):
        chosen = np.linspace(0, len(frames.foreign) - 1, SAMPLE_COUNT).astype(int)
        rows.append(from_network(theta(frames.foreign[chosen].to(device)).cpu().numpy()))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(part, "JPEG", quality=90)
    part.replace(path)
