"""Learn Theta, the landmark-to-face generator of one target, against the discriminator D (eq. 2, 3 and 6).

At first the terms that compare with the real picture alone; from `gan_start` on a detector, which reads the landmarks
off what was generated, and D, which sharpens it. Where the recipe says so, Phi and Psi learn on beside Theta.
"""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd import backward
from tqdm import tqdm

from shared.pixels import Image8, from_network
from trainer.config import GeneratorTraining
from trainer.loops.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint
from trainer.loops.converter import ConverterLosses, ConverterLossModule, ConverterModel
from trainer.loops.device import autocast, place
from trainer.loops.distributed import SINGLE_PROCESS, DistributedContext
from trainer.loops.log import LOG_STEPS, open_log
from trainer.loops.optimisers import group_parameters, make_optimiser, schedule_rate
from trainer.losses.generator import Detector, GeneratorLosses
from trainer.losses.masks import COUNT
from trainer.networks.converter import Converter
from trainer.networks.discriminator import PatchDiscriminator
from trainer.networks.generator import Generator, GeneratorConfig
from trainer.networks.paper_generator import PaperGenerator
from trainer.sampling.batches import BatchPlan, TargetFrames, prefetch_batches
from trainer.sampling.textures import make_generator

CHECKPOINT = "generator.pt"
CONVERTER_BATCH = 4
"""Frames of each identity that Phi and Psi learn from in a step, where they learn on."""

SAMPLE_STEPS = 400
SAMPLE_COUNT = 6

Publish = Callable[[nn.Module, Converter, int, float], None]
"""Told of the averaged Theta, the converter, how many steps and seconds it took: at first, and as learning goes on."""


class Learned(NamedTuple):
    """The averaged Theta, Psi_t after Phi, and how many steps and seconds they took."""

    theta: nn.Module
    converter: Converter
    steps: int
    seconds: float


@dataclass(frozen=True)
class GeneratorData:
    """What Theta, and the converter beside it, learn from."""

    target: str
    frames: TargetFrames
    model: ConverterModel
    losses: ConverterLosses
    detector: Detector | None


def start_generator(config: GeneratorTraining, frames: TargetFrames, seed: int) -> Generator | PaperGenerator:
    """Theta before it learns: moved textures, or the paper's network."""
    torch.manual_seed(seed)
    if isinstance(config.network, GeneratorConfig):
        return make_generator(config.network, frames)
    return PaperGenerator(config.network)


def train_generator(
    data: GeneratorData,
    config: GeneratorTraining,
    seed: int,
    device: torch.device,
    folder: Path,
    publish: Publish | None = None,
    context: DistributedContext = SINGLE_PROCESS,
    seconds: float | None = None,
) -> Learned:
    """Train, going on from ``folder/generator.pt`` where there is one; curves and samples go to `folder` too.

    `data.model` is trained on in place. With `seconds` it ends after so many, whatever steps are left.
    """
    theta = start_generator(config, data.frames, seed)
    discriminator = PatchDiscriminator(config.discriminator, COUNT)
    for network in (theta, discriminator):
        place(network, device, torch.channels_last)
    losses = GeneratorLosses(config, data.frames.scheme, data.detector, device, context)
    averaged = copy.deepcopy(theta).requires_grad_(False).eval()
    converter = data.model.of(data.target)
    groups = group_parameters(theta, config)
    theta_optimiser = make_optimiser(config.optimiser, groups, betas=(0.9, 0.99))
    d_optimiser = make_optimiser(config.optimiser, group_parameters(discriminator, None), betas=(0.5, 0.99))
    converter_optimiser = make_optimiser(config.optimiser, group_parameters(data.model, None), betas=(0.9, 0.99))
    parts: Mapping[str, nn.Module | torch.optim.Optimizer] = {
        "theta": theta,
        "averaged": averaged,
        "discriminator": discriminator,
        "converter": data.model,
        "theta_optimiser": theta_optimiser,
        "d_optimiser": d_optimiser,
        "converter_optimiser": converter_optimiser,
    }

    path = folder / CHECKPOINT
    first, before = 0, 0.0
    if (saved := load_checkpoint(path, config)) is not None:
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first, before = saved["step"], saved["seconds"]
    started = time.monotonic() - before

    def save(step: int) -> None:
        if context.is_main:
            state = {name: part.state_dict() for name, part in parts.items()}
            save_checkpoint(path, config, {"step": step, "seconds": time.monotonic() - started} | state)

    clock, done = CheckpointClock(), first
    generator, critic = context.distribute(theta), context.distribute(discriminator)
    joint = config.converter_learning_rate > 0
    converter_losses = context.distribute(ConverterLossModule(data.model, data.losses)) if joint else None
    window, pinned = config.discriminator.window, device.type == "cuda"
    plan = BatchPlan(config.batch, config.rare, losses.acted, config.converted, config.noise, window, pinned)
    batches = prefetch_batches(data.frames, plan, seed, range(first, config.steps), context.rows)
    progress = tqdm(
        batches, "generator", config.steps, initial=first, unit="step", disable=not context.is_main, mininterval=1
    )
    with open_log(folder, first, context.is_main) as log:
        for step, batch in progress:
            torch.manual_seed(seed * 1_000_003 + step)  # a resumed run is the same run
            rate = schedule_rate(step, config)
            set_rate(theta_optimiser, config.learning_rate * rate)
            set_rate(d_optimiser, config.d_learning_rate * rate)
            set_rate(converter_optimiser, config.converter_learning_rate * rate)
            adversarial = step >= losses.adversarial_from and config.l2i_gan > 0
            converter_loss, terms = torch.zeros(()), dict[str, Tensor]()
            converted = None
            if converter_losses is not None:
                # With its gradient: eq. 6 runs through Theta to Psi and Phi.
                converter_loss, converter_terms, converted = converter_losses(
                    CONVERTER_BATCH, context.rows, data.target, batch.sources
                )
                terms |= converter_terms
            elif len(batch.sources):
                with torch.no_grad():
                    converted = converter(batch.sources)
            given = losses.condition(batch, converted)
            jitter = torch.zeros_like(given.landmarks)
            jitter[: len(batch.jitter)] = batch.jitter.to(device)
            with autocast(device, theta.MIXED_PRECISION):
                generated = generator(given.landmarks + jitter)
            generated = generated.float()  # (B + a + k, 3, H, W)
            if adversarial:
                terms["d"] = losses.discriminator(critic, generated, given)
                d_optimiser.zero_grad()
                backward(terms["d"])
                d_optimiser.step()
            loss, reconstruction = losses.reconstruction(generated, given, step)
            terms |= reconstruction
            if adversarial:
                discriminator.requires_grad_(False)
                gan_loss, gan_terms = losses.adversarial(discriminator, generated, given, step)
                discriminator.requires_grad_(True)
                loss, terms = loss + gan_loss, terms | gan_terms
            loss = loss + converter_loss.to(device)
            theta_optimiser.zero_grad()
            converter_optimiser.zero_grad()
            backward(loss)
            theta_optimiser.step()
            if joint:
                converter_optimiser.step()
            update_average(averaged, theta, min(config.ema, (step + 1) / (step + 10)))
            terms["loss"] = loss

            if step % LOG_STEPS == 0:
                values = context.average(terms)
                speed = config.batch * (progress.format_dict["rate"] or 0)
                shown = {name: f"{values[name]:.4f}" for name in ("l2i", "d") if name in values}
                progress.set_postfix(shown | {"samples_s": f"{speed:.1f}"}, refresh=False)
                log.add_scalars(step, values | {"learning_rate": rate, "samples_per_second": speed})
            if clock.is_due():
                log.flush()
                save(step + 1)
            if context.is_main:
                if publish is not None:
                    publish(averaged, converter, step + 1, time.monotonic() - started)
                if (step + 1) % SAMPLE_STEPS == 0 or step + 1 == config.steps:
                    samples = draw_samples(averaged, converter, data.frames, device)
                    save_samples(samples, folder / "samples" / f"step_{step + 1:06d}.jpg")
                    log.add_picture(step + 1, "samples", samples)
            done = step + 1
            if seconds is not None and time.monotonic() - started > seconds:
                break
    spent = time.monotonic() - started if first < done else before
    if first < done:
        save(done)
    return Learned(place(averaged, torch.device("cpu"), torch.contiguous_format).eval(), converter.eval(), done, spent)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group, each times its own `multiplier`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["multiplier"]


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's by ``1 - decay``."""
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


@torch.no_grad()
def draw_samples(theta: nn.Module, converter: Converter, frames: TargetFrames, device: torch.device) -> Image8:
    """Real frames, the faces generated from their landmarks, and from other people's converted landmarks."""
    chosen = np.linspace(0, len(frames.landmarks) - 1, SAMPLE_COUNT).astype(int)
    rows = [frames.crops[chosen], from_network(theta(frames.landmarks[chosen].to(device)).cpu().numpy())]
    if len(frames.foreign):
        chosen = np.linspace(0, len(frames.foreign) - 1, SAMPLE_COUNT).astype(int)
        rows.append(from_network(theta(converter(frames.foreign[chosen]).to(device)).cpu().numpy()))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def save_samples(samples: Image8, path: Path) -> None:
    """Write a JPEG, beside its place and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    Image.fromarray(samples).save(part, "JPEG", quality=90)
    part.replace(path)
