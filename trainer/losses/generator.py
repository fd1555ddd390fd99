"""What Theta is asked for in a step, and what its answer is held to (eq. 2, 3 and 6).

`GeneratorLosses.set` makes an exercise of a batch, `compare` has the terms of the pictures made but D's, `judge` is what D
learns from, and `convince` what Theta learns from D.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from shared.landmarks import IBUG68, pick
from shared.neutral import find_calm
from trainer.config import TL2FTraining
from trainer.loops.converter import ConverterLosses
from trainer.loops.device import autocast, place
from trainer.loops.distributed import DistributedContext
from trainer.losses.identity_guidance import IdentityGuidance
from trainer.losses.landmark_guidance import LandmarkGuidance, MeshOutput
from trainer.losses.terms import (
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
from trainer.networks.hourglass import Hourglass
from trainer.sampling.batches import (
    Batch,
    TargetFrames,
    cut_windows,
    focus_pixels,
    mark_features,
    spare_lips,
    trust_pixels,
    weigh_pixels,
)
from trainer.sampling.face_shapes import detail_points, weigh_points


@dataclass(frozen=True)
class GuidanceNetworks:
    """What the loop holds Theta and the converter to, besides the target's frames."""

    lesson: ConverterLosses
    omega: Hourglass | None  # None where i2l is 0
    mesh: LandmarkGuidance | None = None  # None where the configuration needs none
    faces: IdentityGuidance | None = None  # None where identity is 0


@dataclass(frozen=True)
class TrainingBatch:
    """What Theta is asked for in a step, and on the training's device the pictures that answer the last of it."""

    batch: Batch
    asked: Tensor  # (B, N, 2), other people's converted landmarks first
    pictures: Tensor  # (P, 3, H, W)
    landmarks: Tensor  # (P, N, 2) what they show
    sight: MeshOutput | None  # what the mesh sees of them, from its phase on
    trust: Tensor  # (P, 1, h, w) how far their parts say what belongs to the landmarks
    focus: Tensor  # (P, 1, h, w) how much their parts are for D and L2I

    @property
    def unanswered(self) -> int:
        """How many of the first asked for have no picture."""
        return len(self.asked) - len(self.pictures)


class GeneratorLosses:
    """One target's frames and teachers, and the terms that Theta is held to."""

    def __init__(
        self,
        frames: TargetFrames,
        teachers: GuidanceNetworks,
        config: TL2FTraining,
        device: torch.device,
        processes: DistributedContext,
    ) -> None:
        self.scheme, self.mesh_labelled = frames.scheme, frames.mesh_labelled
        self.config, self.device = config, device
        self.take, self.share = processes.take, processes.share
        self.omega, self.mesh, self.faces = teachers.omega, teachers.mesh, teachers.faces
        for network in (self.omega, self.mesh, self.faces):
            if network is not None:
                place(network, device, torch.channels_last)
        self.gan_from, self.i2l_from, self.mesh_from = (
            round(start * config.steps) for start in (config.gan_start, config.i2l_start, config.perceptual_start)
        )
        # D pulls hardest at the nostrils, and not towards the filmed ones: L2I has to hold them.
        self.details = [*detail_points(self.scheme), *pick(self.scheme, ("nose_base",))]
        self.point_weights, self.seen_weights = (
            weigh_points(scheme, config.feature_weight, config.jaw_weight).to(device)
            for scheme in (self.scheme, IBUG68)
        )
        # Of the whole batch: pictures, those that Omega looks at, whose face is asked of, and that D looks at.
        converted = config.converted if len(frames.foreign) else 0
        self.paired = config.batch + (converted if config.paired else 0)
        self.seen = min(config.i2l_pictures, self.paired)
        self.recognized = min(config.identity_pictures, config.batch + converted)
        self.judged = min(
            config.gan_pictures,
            self.paired if config.paired or converted == 0 else min(converted, config.batch),
        )
        self.reference = torch.empty(0)  # what the faces made are to be like
        if self.faces is not None:
            calm = find_calm(frames.landmarks.numpy(), frames.scheme)
            picture, points = frames.pictures(torch.tensor([calm])).to(device), frames.landmarks[[calm]].to(device)
            self.reference = self.faces(picture, points, frames.scheme).descriptors

    def set(self, batch: Batch, converted: Tensor | None, step: int) -> TrainingBatch:
        """A batch as an exercise; `converted` are its sources as the converter has them, with its gradient."""
        config, asked = self.config, batch.landmarks
        if converted is not None:
            asked = torch.cat([converted, asked[len(converted) :]])
        pictures = batch.pictures.to(self.device, memory_format=torch.channels_last)
        start = len(asked) - len(pictures)
        landmarks = batch.landmarks[start:].to(self.device)
        bent = batch.bent.to(self.device)
        sight = None
        if self.mesh is not None and (config.relabel or step >= self.mesh_from):
            with torch.no_grad():
                sight = self.mesh(pictures, self.mesh.find(pictures, landmarks, self.scheme))
            if config.relabel and self.mesh_labelled:
                # What a bent frame shows is where the mesh sees it, not where the spline was to put it.
                found = torch.where(bent[:, None, None], sight.landmarks, landmarks)
                asked = torch.cat([asked[:start], asked[start:] + (found - landmarks).cpu()])
                landmarks = found
        trust = trust_pixels(landmarks, bent, config.surround)
        return TrainingBatch(batch, asked, pictures, landmarks, sight, trust, focus_pixels(landmarks, config.gan_reach))

    def compare(self, made: Tensor, exercise: TrainingBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """All terms but D's of the pictures made (B, 3, H, W): their weighed sum, and each one apart."""
        config, share = self.config, self.share(self.paired)
        shown = made[exercise.unanswered :]  # (P, 3, H, W)
        pictures, landmarks = exercise.pictures, exercise.landmarks
        pixels = exercise.trust * exercise.focus * weigh_pixels(landmarks, self.details, config.detail_weight)
        terms = {"l2i": share * l2i(shown, pictures, pixels)}
        loss = config.l2i * terms["l2i"]
        if config.around > 0:
            # Landmarks don't tell shoulders: L1 would have Theta settle for one guess, sure and wrong.
            terms["around"] = share * squared_error(shown, pictures, exercise.trust * (1 - exercise.focus))
            loss = loss + config.around * terms["around"]

        reading = torch.zeros((), device=self.device)  # what compares landmarks
        if self.mesh is not None and exercise.sight is not None and step >= self.mesh_from:
            sight, real_sight = self.mesh(shown, exercise.sight.places), exercise.sight
            terms["perceptual"] = share * perceptual(sight.features, real_sight.features)
            terms["seen"] = share * i2l(sight.landmarks, real_sight.landmarks, self.seen_weights)
            terms["opening"] = share * opening_distance(sight.landmarks, real_sight.landmarks, IBUG68)
            loss = loss + config.perceptual * terms["perceptual"]
            reading = config.seen * terms["seen"] + config.opening * terms["opening"]

        if self.faces is not None and step >= self.mesh_from:
            first, start = self.take(self.recognized), exercise.unanswered  # converted ones come first
            some, places = made[:first], exercise.asked[:first].detach().to(self.device)
            face = self.faces(some, places, self.scheme)
            terms["identity"] = self.share(self.recognized) * identity_distance(face.descriptors, self.reference)
            whose = config.identity * terms["identity"]
            if config.likeness > 0 and first > start:
                with torch.no_grad():
                    real = self.faces(pictures[: first - start], places[start:], self.scheme)
                likeness = perceptual([each[start:] for each in face.features], real.features)
                terms["likeness"] = self.share(self.recognized) * likeness
                whose = whose + config.likeness * terms["likeness"]
            # The lips of the reference picture are shut, and most of the target's; that is not to shut them elsewhere.
            loss = loss + confine(whose, some, spare_lips(places, self.scheme))

        # Omega reads the landmarks off what was made: bent frames first, which are hardest.
        if self.omega is not None and config.i2l > 0 and step >= self.i2l_from:
            first = self.take(self.seen)
            with autocast(self.device):
                found, _ = self.omega(shown[:first])
            terms["i2l"] = self.share(self.seen) * i2l(found, landmarks[:first], self.point_weights)
            reading = reading + config.i2l * terms["i2l"]
        if reading.requires_grad:
            # A detector tells lips by nose and chin too, where a gradient of theirs leaves marks and no expression.
            loss = loss + confine(reading, shown, mark_features(landmarks, self.scheme, config.landmark_reach))
        return loss, terms

    def judge(self, critic: nn.Module, made: Tensor, exercise: TrainingBatch) -> Tensor:
        """L2I-gan as D has it: it learns to tell filmed from made. Bending takes some of a picture's sharpness."""
        first, view = self._look(exercise)
        filmed = exercise.batch.filmed[:first].to(self.device, memory_format=torch.channels_last)
        with autocast(self.device):
            logits, _ = critic(torch.cat([view(filmed), view(made.detach()[:first])]))
        real_logits, made_logits = logits.float().chunk(2)
        weights = view(exercise.focus[:first])
        loss: Tensor = l2i_gan_discriminator(real_logits, made_logits, self.config.gan_loss, weights)
        return self.share(self.judged) * loss

    def convince(
        self, discriminator: nn.Module, made: Tensor, exercise: TrainingBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same as Theta has it, to be taken for filmed, with D's features of its own pictures as a guide."""
        config, share = self.config, self.share(self.judged)
        first, view = self._look(exercise)
        shown = made[:first]
        with autocast(self.device):
            made_logits, made_features = discriminator(view(shown))
        weights = view(exercise.focus[:first])
        terms = {"l2i_gan": share * l2i_gan_generator(made_logits.float(), config.gan_loss, weights)}
        loss = config.l2i_gan * terms["l2i_gan"]
        if config.feature_matching > 0:
            with autocast(self.device):
                _, real_features = discriminator(view(exercise.pictures[:first]))
            guide = view(exercise.trust[:first])
            terms["feature_matching"] = share * feature_matching(made_features, real_features, guide)
            loss = loss + config.feature_matching * terms["feature_matching"]
        # The target's lips were filmed shut for the most part: to be taken for filmed is to draw them shut.
        lips = 1 - spare_lips(exercise.asked[:first].detach().to(self.device), self.scheme)
        return confine(loss, shown, 1 - (1 - config.gan_lips) * lips, config.gan_smooth), terms

    def _look(self, exercise: TrainingBatch) -> tuple[int, Callable[[Tensor], Tensor]]:
        """How many pictures D looks at, converted ones first, and the window on the face that it is shown of each."""
        first = self.take(self.judged)
        return first, partial(cut_windows, begin=exercise.batch.windows[:first], side=self.config.gan_window)
