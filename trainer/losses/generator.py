"""What Theta is held to in a step (eq. 2, 3 and 6 and the terms added), and what D is."""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from shared.landmarks import Scheme
from trainer.config import GeneratorTraining
from trainer.loops.device import autocast, place
from trainer.loops.distributed import DistributedContext
from trainer.losses.landmark_guidance import LandmarkGuidance
from trainer.losses.masks import draw_landmark_maps, weigh_pixels, weigh_points
from trainer.losses.terms import (
    gradient_difference,
    i2l,
    l2i,
    l2i_gan_discriminator,
    l2i_gan_generator,
    sharpness_difference,
)
from trainer.networks.hourglass import Hourglass
from trainer.sampling.batches import TrainingBatch, cut_windows

GUIDED_ROWS = 2
"""Pictures of a step that a detector looks at."""

DETAIL_WEIGHT = 10.0
"""Of lips, lids, pupils and brows, where the mesh looks: they move by little, and say much."""

RAMP_STEPS = 40
"""Steps over which D's say grows to its weight: at first it knows nothing."""


@dataclass(frozen=True)
class GuidanceDetector:
    """Omega, its weights held fixed, and which points of the target's scheme it finds, in its order."""

    omega: Hourglass
    points: list[int]


Detector: TypeAlias = GuidanceDetector | LandmarkGuidance


@dataclass(frozen=True)
class Conditioning:
    """What a step's pictures are generated from, on the device: the batch's own landmarks first."""

    landmarks: Tensor  # (B + a + k, N, 2): own, then acted, then other people's, converted
    acted: int  # a
    pictures: Tensor  # (B, 3, H, W)
    windows: Tensor  # (B, 2)


class GeneratorLosses:
    """The terms of one target's generator, of this process's share of each batch."""

    def __init__(
        self,
        config: GeneratorTraining,
        scheme: Scheme,
        detector: Detector | None,
        device: torch.device,
        context: DistributedContext,
    ) -> None:
        """`detector` is None where `i2l` is 0."""
        self.config, self.scheme, self.device, self.context = config, scheme, device, context
        self.detector = detector
        self.guided = min(GUIDED_ROWS, config.batch)
        self.acted = self.guided if isinstance(detector, LandmarkGuidance) else 0
        self.details = weigh_points(scheme, DETAIL_WEIGHT).to(device)  # (N,)
        if isinstance(detector, LandmarkGuidance):
            place(detector, device, torch.contiguous_format)
        elif detector is not None:
            place(detector.omega, device, torch.channels_last)
        self.adversarial_from = round(config.gan_start * config.steps)
        self.window = config.discriminator.window

    def condition(self, batch: TrainingBatch, converted: Tensor | None) -> Conditioning:
        """The batch on the device: its own landmarks, the acted ones, other people's converted ones (k, N, 2)."""
        landmarks = torch.cat([batch.landmarks, batch.acted, *([] if converted is None else [converted])])
        pictures = batch.pictures.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        return Conditioning(landmarks.to(self.device), len(batch.acted), pictures, batch.windows)

    def reconstruction(self, generated: Tensor, given: Conditioning, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """All terms but D's, of generated pictures (B + a + k, 3, H, W): their weighed sum, and each one apart."""
        config, pictures = self.config, given.pictures
        share, size = self.context.share(config.batch), pictures.shape[-1]
        own, landmarks = generated[: len(pictures)], given.landmarks[: len(pictures)]
        weights = weigh_pixels(landmarks, self.scheme, config.face_weight, config.feature_weight, size)
        terms = {"l2i": share * l2i(own, pictures, weights)}
        loss = config.l2i * terms["l2i"]
        if config.gradient > 0:
            terms["gradient"] = share * gradient_difference(own, pictures, weights)
            loss = loss + config.gradient * terms["gradient"]
        if config.sharpness > 0:
            even = weights.clamp(max=config.face_weight)  # teeth that can't be foretold would be made up of noise
            terms["sharpness"] = share * sharpness_difference(own, pictures, even)
            loss = loss + config.sharpness * terms["sharpness"]
        if self.detector is not None and step >= self.adversarial_from:
            terms["i2l"] = self.context.share(self.guided) * self._compare_landmarks(self.detector, generated, given)
            loss = loss + config.i2l * terms["i2l"]
        return loss, terms

    def _compare_landmarks(self, detector: Detector, generated: Tensor, given: Conditioning) -> Tensor:
        """I2L (eq. 3): of acted faces, whose pictures nobody has, by the mesh; or of the batch's own by Omega."""
        if isinstance(detector, LandmarkGuidance):
            rows = slice(len(given.pictures), len(given.pictures) + given.acted)
            wanted = given.landmarks[rows]
            found = detector(generated[rows], wanted)
            return i2l(found, wanted[:, detector.points], self.details[detector.points])
        first = self.context.take(self.guided)
        with autocast(self.device):
            found, _ = detector.omega(generated[:first])
        return i2l(found, given.landmarks[:first, detector.points])

    def discriminator(self, network: nn.Module, generated: Tensor, given: Conditioning) -> Tensor:
        """L2I-gan as D has it (eq. 6): real pictures against generated ones, and, where D sees landmarks, against real
        pictures with another picture's landmarks."""
        fake, maps = self._look(generated.detach(), given)
        real, real_maps = self._look(given.pictures, given)
        pictures, all_maps = [real, fake], [real_maps, maps]
        if self.config.discriminator.conditioned and len(real) > 1:
            pictures.append(real)
            all_maps.append(real_maps.roll(1, dims=0))
        with autocast(self.device):
            logits = network(torch.cat(pictures), torch.cat(all_maps))
        real_logits, *others = logits.float().split([len(each) for each in pictures])
        losses = [l2i_gan_discriminator(real_logits, other, self.config.gan_loss) for other in others]
        return self.context.share(self.config.batch) * torch.stack(losses).mean()

    def adversarial(
        self, network: nn.Module, generated: Tensor, given: Conditioning, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L2I-gan as Theta has it (eq. 6)."""
        fake, maps = self._look(generated, given)
        with autocast(self.device):
            logits = network(fake, maps)
        term = self.context.share(self.config.batch) * l2i_gan_generator(logits.float(), self.config.gan_loss)
        ramp = min(1.0, (step - self.adversarial_from + 1) / RAMP_STEPS)
        return ramp * self.config.l2i_gan * term, {"l2i_gan": term}

    def _look(self, pictures: Tensor, given: Conditioning) -> tuple[Tensor, Tensor]:
        """D's windows on the first pictures, and the maps of the landmarks in them. Rows behind the batch's own, which
        are other people's, are looked at as the batch's first are."""
        count, size = len(pictures), pictures.shape[-1]
        rows = torch.arange(count) % len(given.windows)
        begin = given.windows[rows]
        landmarks = given.landmarks[:count].detach()
        maps = draw_landmark_maps(landmarks, self.scheme, begin.to(self.device), self.window, size)
        return cut_windows(pictures, begin, self.window), maps
