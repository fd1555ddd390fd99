"""Learn Theta, the landmark-to-face generator of one target, against the discriminator D (eq. 2, 3 and 6).

First L2I alone, which places everything and blurs it; then I2L too, in which Omega reads the landmarks off the made
picture; then the GAN terms, which sharpen it. Phi and Psi learn on beside Theta, held to their own terms: among what Theta is
asked for are other people's landmarks as the converter has them now.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from shared.pixels import from_network
from trainer.batches import TargetFrames, draw_batch, weigh_pixels
from trainer.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint
from trainer.config import TL2FTraining
from trainer.device import autocast
from trainer.identities import Retarget, detail_points, weigh_points
from trainer.losses import feature_matching, i2l, l2i, l2i_gan_discriminator, l2i_gan_generator
from trainer.networks.converter import Converter
from trainer.networks.discriminator import PatchDiscriminator
from trainer.networks.hourglass import Hourglass
from trainer.networks.tl2f import TL2F
from trainer.train_converter import ConverterLesson, ConverterModel

SAMPLE_STEPS = 500
SAMPLE_COUNT = 6
CONVERTER_BATCH = 16
"""Frames of each identity in a joint step: the converter has learned nearly all before."""


@dataclass(frozen=True)
class Teachers:
    """What the loop holds Theta and the converter to, besides the target's frames."""

    lesson: ConverterLesson
    omega: Hourglass | None  # None where i2l is 0


def train_tl2f(
    target: str,
    frames: TargetFrames,
    model: ConverterModel,
    teachers: Teachers,
    config: TL2FTraining,
    seed: int,
    device: torch.device,
    folder: Path,
) -> tuple[TL2F, Converter]:
    """Train, going on from ``folder/tl2f.pt`` where there is one; samples go to ``folder/samples``.

    `model` is trained on in place. Returns the averaged Theta, and Psi_t after Phi.
    """
    torch.manual_seed(seed)
    theta, discriminator = TL2F(config.network), PatchDiscriminator(config.discriminator)
    theta.fit_whitening(frames.landmarks)
    for network in (theta, discriminator, *([teachers.omega] if teachers.omega else [])):
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(theta).requires_grad_(False)
    theta_optimiser = torch.optim.Adam(theta.parameters(), config.learning_rate, config.betas)
    d_optimiser = torch.optim.Adam(discriminator.parameters(), config.learning_rate, config.betas)
    converter = model.of(target)
    converter_optimiser = torch.optim.Adam(model.parameters(), config.converter_learning_rate, config.betas)
    parts: Mapping[str, nn.Module | torch.optim.Optimizer] = {
        "theta": theta,
        "averaged": averaged,
        "discriminator": discriminator,
        "converter": model,
        "theta_optimiser": theta_optimiser,
        "d_optimiser": d_optimiser,
        "converter_optimiser": converter_optimiser,
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
    weights = weigh_points(frames.scheme, config.feature_weight).to(device)
    looked_at, judged = slice(config.i2l_pictures), slice(config.gan_pictures)
    gan_from, i2l_from = round(config.gan_start * config.steps), round(config.i2l_start * config.steps)
    progress = tqdm(range(first, config.steps), "tl2f", config.steps, initial=first, unit="step")
    for step in progress:
        # What a step draws hangs on its number alone, so that a resumed run is the same run.
        torch.manual_seed(seed * 1_000_003 + step)
        rate = schedule_rate(step, gan_from, config)
        for optimiser in (theta_optimiser, d_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = rate
        batch = draw_batch(frames, config, retarget, converter)
        foreign = len(batch.sources)
        adversarial = step >= gan_from
        joint = adversarial and config.converter_learning_rate > 0
        # The converter once more, for its gradient: eq. 6 runs through Theta to Psi and Phi.
        asked = torch.cat([converter(batch.sources), batch.landmarks[foreign:]]) if joint else batch.landmarks
        landmarks, asked = batch.landmarks.to(device), asked.to(device)  # (B, N, 2)
        pictures = batch.pictures.to(device, memory_format=torch.channels_last)  # (B, 3, H, W)

        with autocast(device):
            made = theta(asked + torch.randn_like(landmarks) * config.noise)
        made = made.float()  # (B, 3, H, W)
        reconstruction = l2i(made, pictures, weigh_pixels(landmarks, details, config.detail_weight))
        loss = config.l2i * reconstruction

        # Omega reads the landmarks off what was made: bent frames first, which are hardest.
        if teachers.omega is not None and config.i2l > 0 and step >= i2l_from:
            with autocast(device):
                found, _ = teachers.omega(made[looked_at])
            loss = loss + config.i2l * i2l(found, landmarks[looked_at], weights)

        if adversarial:
            # D learns to tell filmed from made ...
            with autocast(device):
                logits, features = discriminator(torch.cat([pictures[judged], made[judged].detach()]))
            real_logits, made_logits = logits.float().chunk(2)
            d_loss = l2i_gan_discriminator(real_logits, made_logits, config.gan_loss)
            d_optimiser.zero_grad()
            d_loss.backward()  # type: ignore[no-untyped-call]
            d_optimiser.step()

            # ... and Theta to be taken for filmed, with D's features of the real frame as a guide.
            discriminator.requires_grad_(False)
            real_features = [each.chunk(2)[0] for each in features]
            with autocast(device):
                made_logits, made_features = discriminator(made[judged])
            loss = loss + config.l2i_gan * l2i_gan_generator(made_logits.float(), config.gan_loss)
            loss = loss + config.feature_matching * feature_matching(made_features, real_features)
            discriminator.requires_grad_(True)

        if joint:
            loss = loss + teachers.lesson.loss(model, CONVERTER_BATCH).to(device)
        theta_optimiser.zero_grad()
        converter_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        theta_optimiser.step()
        if joint:
            converter_optimiser.step()
        update_average(averaged, theta, min(config.ema, step / (step + 10)))

        if step % 20 == 0:
            rate_text = f"{config.batch * (progress.format_dict['rate'] or 0):.1f}"
            progress.set_postfix(l2i=f"{reconstruction.item():.4f}", samples_s=rate_text, refresh=False)
        if clock.is_due():
            save(step + 1)
        if (step + 1) % SAMPLE_STEPS == 0 or step + 1 == config.steps:
            write_samples(averaged, converter, frames, device, folder / "samples" / f"step_{step + 1:06d}.jpg")
    if first < config.steps:
        save(config.steps)
    theta = averaged.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return theta, converter.eval()


def schedule_rate(step: int, gan_from: int, config: TL2FTraining) -> float:
    """The learning rate of a step: a cosine from `learning_rate` to a hundredth, then one from `gan_learning_rate`."""
    if step < gan_from:
        start, share = config.learning_rate, step / gan_from
    else:
        start, share = config.gan_learning_rate, (step - gan_from) / (config.steps - gan_from)
    return start * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's by ``1 - decay``."""
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


@torch.no_grad()
def write_samples(theta: TL2F, converter: Converter, frames: TargetFrames, device: torch.device, path: Path) -> None:
    """Real frames, the faces made from their landmarks, and faces made from other people's converted landmarks."""
    chosen = np.linspace(0, len(frames.landmarks) - 1, SAMPLE_COUNT).astype(int)
    rows = [frames.crops[chosen], from_network(theta(frames.landmarks[chosen].to(device)).cpu().numpy())]
    if len(frames.foreign):
        chosen = np.linspace(0, len(frames.foreign) - 1, SAMPLE_COUNT).astype(int)
        rows.append(from_network(theta(converter(frames.foreign[chosen]).to(device)).cpu().numpy()))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(part, "JPEG", quality=90)
    part.replace(path)
