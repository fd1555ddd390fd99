"""Learn Theta, the landmark-to-face generator of one target, against the discriminator D (eq. 2, 3 and 6).

First L2I alone, which places everything and blurs it; then what the detector `mesh` sees of the made picture beside the
real one; then I2L too, in which Omega reads the landmarks off the made picture; then the GAN terms, which sharpen it,
and with which Phi and Psi learn on beside Theta, held to their own terms: among what Theta is asked for are other
people's landmarks as the converter has them now.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd import backward
from tqdm import tqdm

from shared.landmarks import IBUG68, pick
from shared.neutral import find_calm
from shared.pixels import Image8, from_network
from trainer.batches import (
    TargetFrames,
    cut_windows,
    draw_batch,
    focus_pixels,
    mark_features,
    spare_lips,
    trust_pixels,
    weigh_pixels,
)
from trainer.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint
from trainer.config import TL2FTraining
from trainer.device import autocast, place
from trainer.face_teacher import FaceTeacher
from trainer.identities import Retarget, detail_points, weigh_points
from trainer.log import LOG_STEPS, open_log
from trainer.losses import (
    confine,
    feature_matching,
    i2l,
    identity_distance,
    l2i,
    l2i_gan_discriminator,
    l2i_gan_generator,
    opening_distance,
    perceptual,
    squared_error,
)
from trainer.mesh_teacher import MeshTeacher
from trainer.networks.converter import Converter
from trainer.networks.discriminator import PatchDiscriminator
from trainer.networks.hourglass import Hourglass
from trainer.networks.tl2f import TL2F
from trainer.optimisers import make_optimiser, schedule_rate
from trainer.processes import ALONE, Processes
from trainer.train_converter import ConverterLesson, ConverterModel, Learner

SAMPLE_STEPS = 500
SAMPLE_COUNT = 6


@dataclass(frozen=True)
class Teachers:
    """What the loop holds Theta and the converter to, besides the target's frames."""

    lesson: ConverterLesson
    omega: Hourglass | None  # None where i2l is 0
    mesh: MeshTeacher | None = None  # None where the configuration needs none
    faces: FaceTeacher | None = None  # None where identity is 0


def train_tl2f(
    target: str,
    frames: TargetFrames,
    model: ConverterModel,
    teachers: Teachers,
    config: TL2FTraining,
    seed: int,
    device: torch.device,
    folder: Path,
    processes: Processes = ALONE,
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
    fixed = (each for each in (teachers.omega, teachers.mesh, teachers.faces) if each is not None)
    for network in (theta, discriminator, *fixed):
        place(network, device, torch.channels_last)
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
        if processes.leads:
            save_checkpoint(path, config, {"step": step} | {name: part.state_dict() for name, part in parts.items()})

    reference = torch.empty(0)  # what the faces made are to be like
    if teachers.faces is not None:
        calm = find_calm(frames.landmarks.numpy(), frames.scheme)
        picture, points = frames.pictures(torch.tensor([calm])).to(device), frames.landmarks[[calm]].to(device)
        reference = teachers.faces(picture, points, frames.scheme)

    clock = CheckpointClock()
    retarget = Retarget(frames.scheme)
    # D pulls hardest at the nostrils, and not towards the filmed ones: L2I has to hold them.
    details = [*detail_points(frames.scheme), *pick(frames.scheme, ("nose_base",))]
    point_weights, seen_weights = (
        weigh_points(scheme, config.feature_weight, config.jaw_weight).to(device) for scheme in (frames.scheme, IBUG68)
    )
    gan_from, i2l_from, mesh_from = (
        round(start * config.steps) for start in (config.gan_start, config.i2l_start, config.perceptual_start)
    )
    # Of the whole batch: pictures, those that Omega looks at, those that D looks at.
    strangers = config.converted if len(frames.foreign) else 0
    paired = config.batch + (strangers if config.paired else 0)
    seen = min(config.i2l_pictures, paired)
    recognized = min(config.identity_pictures, config.batch + strangers)
    judged = min(config.gan_pictures, paired if config.paired or strangers == 0 else min(strangers, config.batch))
    take, share = processes.take, processes.share

    generator, critic = processes.distribute(theta), processes.distribute(discriminator)
    learner = processes.distribute(Learner(model, teachers.lesson))
    progress = tqdm(
        range(first, config.steps), "tl2f", config.steps, initial=first, unit="step", disable=not processes.leads
    )
    with open_log(folder, first, processes.leads) as log:
        for step in progress:
            # What a step draws hangs on its number alone, so that a resumed run is the same run.
            torch.manual_seed(seed * 1_000_003 + step)
            rate = schedule_rate(step, gan_from, config)
            for optimiser in (theta_optimiser, d_optimiser):
                for group in optimiser.param_groups:
                    group["lr"] = rate
            batch = draw_batch(frames, config, retarget, converter, processes.rows)
            foreign = len(batch.sources)
            adversarial = step >= gan_from
            joint = adversarial and config.converter_learning_rate > 0
            asked = batch.landmarks  # (B, N, 2)
            if joint:
                # The converter once more, for its gradient: eq. 6 runs through Theta to Psi and Phi.
                lesson_loss, lesson_terms, converted = learner(
                    config.converter_batch, processes.rows, target, batch.sources
                )
                asked = torch.cat([converted, asked[foreign:]])
            pictures = batch.pictures.to(device, memory_format=torch.channels_last)  # (P, 3, H, W)
            start = len(asked) - len(pictures)  # of those with a picture
            landmarks = batch.landmarks[start:].to(device)  # (P, N, 2)
            if teachers.mesh is not None and (config.relabel or step >= mesh_from):
                # What a bent frame shows is where the mesh sees it, not where the spline was to put it.
                with torch.no_grad():
                    real_sight = teachers.mesh(pictures, teachers.mesh.find(pictures, landmarks, frames.scheme))
                if config.relabel and frames.mesh_labelled:
                    found = torch.where(batch.bent[:, None, None].to(device), real_sight.landmarks, landmarks)
                    asked = torch.cat([asked[:start], asked[start:] + (found - landmarks).cpu()])
                    landmarks = found

            with autocast(device):
                made = generator((asked + batch.jitter).to(device))
            made = made.float()  # (B, 3, H, W)
            shown = made[start:]  # (P, 3, H, W)
            trust = trust_pixels(landmarks, batch.bent.to(device), config.surround)  # (P, 1, h, w)
            focus = focus_pixels(landmarks, config.gan_reach)
            pixels = trust * focus * weigh_pixels(landmarks, details, config.detail_weight)
            terms = {"l2i": share(paired) * l2i(shown, pictures, pixels)}
            loss = config.l2i * terms["l2i"]
            if config.around > 0:
                # Landmarks don't tell shoulders: L1 would have Theta settle for one guess, sure and wrong.
                terms["around"] = share(paired) * squared_error(shown, pictures, trust * (1 - focus))
                loss = loss + config.around * terms["around"]

            reading = torch.zeros((), device=device)  # what compares landmarks
            if teachers.mesh is not None and step >= mesh_from:
                sight = teachers.mesh(shown, real_sight.places)
                terms["perceptual"] = share(paired) * perceptual(sight.features, real_sight.features)
                terms["seen"] = share(paired) * i2l(sight.landmarks, real_sight.landmarks, seen_weights)
                terms["opening"] = share(paired) * opening_distance(sight.landmarks, real_sight.landmarks, IBUG68)
                loss = loss + config.perceptual * terms["perceptual"]
                reading = config.seen * terms["seen"] + config.opening * terms["opening"]

            if teachers.faces is not None and step >= mesh_from:
                some, places = made[: take(recognized)], asked[: take(recognized)].detach().to(device)
                descriptors = teachers.faces(some, places, frames.scheme)  # converted ones come first
                terms["identity"] = share(recognized) * identity_distance(descriptors, reference)
                # The lips of the reference picture are shut; whose they are is not to shut them elsewhere.
                loss = loss + config.identity * confine(terms["identity"], some, spare_lips(places, frames.scheme))

            # Omega reads the landmarks off what was made: bent frames first, which are hardest.
            if teachers.omega is not None and config.i2l > 0 and step >= i2l_from:
                with autocast(device):
                    found, _ = teachers.omega(shown[: take(seen)])
                wanted = landmarks[: take(seen)]
                terms["i2l"] = share(seen) * i2l(found, wanted, point_weights)
                reading = reading + config.i2l * terms["i2l"]
            if reading.requires_grad:
                # A detector tells lips by nose and chin too, where a gradient of theirs leaves marks and no expression.
                loss = loss + confine(reading, shown, mark_features(landmarks, frames.scheme, config.landmark_reach))

            if adversarial:
                # D learns to tell filmed from made: bending takes some of a picture's sharpness ...
                view = partial(cut_windows, begin=batch.windows[: take(judged)], side=config.gan_window)
                filmed = batch.filmed[: take(judged)].to(device, memory_format=torch.channels_last)
                fake = view(made[: take(judged)])  # converted ones come first
                judge = view(focus[: take(judged)])
                with autocast(device):
                    logits, _ = critic(torch.cat([view(filmed), fake.detach()]))
                real_logits, made_logits = logits.float().chunk(2)
                terms["d"] = share(judged) * l2i_gan_discriminator(real_logits, made_logits, config.gan_loss, judge)
                d_optimiser.zero_grad()
                backward(terms["d"])
                d_optimiser.step()

                # ... and Theta to be taken for filmed, with D's features of its own picture as a guide.
                discriminator.requires_grad_(False)
                with autocast(device):
                    made_logits, made_features = discriminator(fake)
                terms["l2i_gan"] = share(judged) * l2i_gan_generator(made_logits.float(), config.gan_loss, judge)
                loss = loss + config.l2i_gan * terms["l2i_gan"]
                if config.feature_matching > 0:
                    with autocast(device):
                        _, real_features = discriminator(view(pictures[: take(judged)]))
                    guide = view(trust[: take(judged)])
                    terms["feature_matching"] = share(judged) * feature_matching(made_features, real_features, guide)
                    loss = loss + config.feature_matching * terms["feature_matching"]
                discriminator.requires_grad_(True)

            if joint:
                terms |= lesson_terms
                loss = loss + lesson_loss.to(device)
            theta_optimiser.zero_grad()
            converter_optimiser.zero_grad()
            backward(loss)
            theta_optimiser.step()
            if joint:
                converter_optimiser.step()
            update_average(averaged, theta, min(config.ema, step / (step + 10)))

            if step % LOG_STEPS == 0:
                values = processes.average({"loss": loss, **terms})
                speed = config.batch * (progress.format_dict["rate"] or 0)
                progress.set_postfix(l2i=f"{values['l2i']:.4f}", samples_s=f"{speed:.1f}", refresh=False)
                log.add_scalars(step, values | {"learning_rate": rate, "samples_per_second": speed})
            if clock.is_due():
                log.flush()
                save(step + 1)
            if processes.leads and ((step + 1) % SAMPLE_STEPS == 0 or step + 1 == config.steps):
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
