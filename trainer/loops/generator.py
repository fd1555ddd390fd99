"""Learn Theta, the landmark-to-face generator of one target, against the discriminator D (eq. 2, 3 and 6).

First L2I alone, which places everything and blurs it; then what the detector `mesh` sees of the made picture beside the
real one; then I2L too, in which Omega reads the landmarks off the made picture; then the GAN terms, which sharpen it,
and with which Phi and Psi learn on beside Theta, held to their own terms: among what Theta is asked for are other
people's landmarks as the converter has them now.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd import backward
from tqdm import tqdm

from shared.pixels import Image8, from_network
from trainer.config import TL2FTraining
from trainer.loops.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint
from trainer.loops.converter import ConverterLossModule, ConverterModel
from trainer.loops.device import autocast, place
from trainer.loops.distributed import SINGLE_PROCESS, DistributedContext
from trainer.loops.log import LOG_STEPS, open_log
from trainer.loops.optimisers import make_optimiser, schedule_rate
from trainer.losses.generator import GeneratorLosses, GuidanceNetworks
from trainer.networks.converter import Converter
from trainer.networks.discriminator import PatchDiscriminator
from trainer.networks.tl2f import TL2F
from trainer.sampling.batches import TargetFrames, draw_batch
from trainer.sampling.face_shapes import Retarget

SAMPLE_STEPS = 500
SAMPLE_COUNT = 6


def train_tl2f(
    target: str,
    frames: TargetFrames,
    model: ConverterModel,
    teachers: GuidanceNetworks,
    config: TL2FTraining,
    seed: int,
    device: torch.device,
    folder: Path,
    processes: DistributedContext = SINGLE_PROCESS,
    weights: Mapping[str, Tensor] | None = None,
) -> tuple[TL2F, Converter]:
    """Train, going on from ``folder/tl2f.pt`` where there is one; curves and samples go to `folder` too.

    `model` is trained on in place; `weights`, by name, are what Theta begins with in place of Kaiming's. Returns
    the averaged Theta, and Psi_t after Phi.
    """
    torch.manual_seed(seed)
    theta, discriminator = TL2F(config.network), PatchDiscriminator(config.discriminator)
    if config.whiten:
        theta.fit_whitening(frames.landmarks)
    if weights is not None:
        theta.load_state_dict(theta.state_dict() | dict(weights))
    for network in (theta, discriminator):
        place(network, device, torch.channels_last)
    lesson = GeneratorLosses(frames, teachers, config, device, processes)
    averaged = copy.deepcopy(theta).requires_grad_(False)
    converter = model.of(target)
    theta_optimiser, d_optimiser, converter_optimiser = (
        make_optimiser(config.optimiser, network.parameters(), rate, config.betas, weight_decay)
        for network, rate, weight_decay in (
            (theta, config.learning_rate, config.weight_decay),
            (discriminator, config.learning_rate, 0.0),
            (model, config.converter_learning_rate, 0.0),
        )
    )
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
        if processes.is_main:
            save_checkpoint(path, config, {"step": step} | {name: part.state_dict() for name, part in parts.items()})

    clock = CheckpointClock()
    retarget = Retarget(frames.scheme)
    generator, critic = processes.distribute(theta), processes.distribute(discriminator)
    learner = processes.distribute(ConverterLossModule(model, teachers.lesson))
    progress = tqdm(
        range(first, config.steps), "tl2f", config.steps, initial=first, unit="step", disable=not processes.is_main
    )
    with open_log(folder, first, processes.is_main) as log:
        for step in progress:
            # What a step draws hangs on its number alone, so that a resumed run is the same run.
            torch.manual_seed(seed * 1_000_003 + step)
            rate = schedule_rate(step, lesson.gan_from, config)
            for optimiser, pace in ((theta_optimiser, 1.0), (d_optimiser, config.gan_pace)):
                for group in optimiser.param_groups:
                    group["lr"] = rate * pace
            adversarial = step >= lesson.gan_from
            joint = adversarial and config.converter_learning_rate > 0
            leading = adversarial and step < lesson.gan_from + config.gan_lead  # D alone learns
            batch = draw_batch(frames, config, retarget, converter, processes.rows)
            converted = None
            with torch.set_grad_enabled(not leading):
                if joint:
                    # The converter once more, for its gradient: eq. 6 runs through Theta to Psi and Phi.
                    converter_loss, converter_terms, converted = learner(
                        config.converter_batch, processes.rows, target, batch.sources
                    )
                exercise = lesson.set(batch, converted, step)
                with autocast(device):
                    made = generator((exercise.asked + batch.jitter).to(device))
            made = made.float()  # (B, 3, H, W)
            terms: dict[str, Tensor] = {}
            if adversarial:
                terms["d"] = lesson.judge(critic, made, exercise)
                d_optimiser.zero_grad()
                backward(terms["d"])
                d_optimiser.step()
            if not leading:
                loss, compared = lesson.compare(made, exercise, step)
                terms |= compared
                if adversarial:
                    discriminator.requires_grad_(False)
                    gan_loss, gan_terms = lesson.convince(discriminator, made, exercise)
                    discriminator.requires_grad_(True)
                    loss, terms = loss + gan_loss, terms | gan_terms
                if joint:
                    loss, terms = loss + converter_loss.to(device), terms | converter_terms
                theta_optimiser.zero_grad()
                converter_optimiser.zero_grad()
                backward(loss)
                theta_optimiser.step()
                if joint:
                    converter_optimiser.step()
                update_average(averaged, theta, min(config.ema, step / (step + 10)))
                terms["loss"] = loss

            if step % LOG_STEPS == 0:
                values = processes.average(terms)
                speed = config.batch * (progress.format_dict["rate"] or 0)
                shown = {name: f"{values[name]:.4f}" for name in ("l2i", "d") if name in values}
                progress.set_postfix(shown | {"samples_s": f"{speed:.1f}"}, refresh=False)
                log.add_scalars(step, values | {"learning_rate": rate, "samples_per_second": speed})
            if clock.is_due():
                log.flush()
                save(step + 1)
            if processes.is_main and ((step + 1) % SAMPLE_STEPS == 0 or step + 1 == config.steps):
                samples = draw_samples(averaged, converter, frames, device)
                save_samples(samples, folder / "samples" / f"step_{step + 1:06d}.jpg")
                log.add_picture(step + 1, "samples", samples)
    if first < config.steps:
        save(config.steps)
    return place(averaged, torch.device("cpu"), torch.contiguous_format).eval(), converter.eval()


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's by ``1 - decay``."""
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


@torch.no_grad()
def draw_samples(theta: TL2F, converter: Converter, frames: TargetFrames, device: torch.device) -> Image8:
    """Real frames, the faces made from their landmarks, and faces made from other people's converted landmarks."""
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
