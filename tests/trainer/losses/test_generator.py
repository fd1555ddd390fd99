"""What Theta is held to in a step, and D: which pictures each term sees, and where its gradient goes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.landmarks import IBUG68
from tests.trainer.tiny_training import CPU, GENERATOR, make_detector, make_frames
from trainer.config import GeneratorTraining
from trainer.loops.distributed import SINGLE_PROCESS, DistributedContext
from trainer.losses.generator import (
    DETAIL_WEIGHT,
    GUIDED_ROWS,
    RAMP_STEPS,
    Conditioning,
    GeneratorLosses,
    GuidanceDetector,
)
from trainer.losses.landmark_guidance import LandmarkGuidance
from trainer.losses.masks import COUNT, weigh_pixels
from trainer.losses.terms import l2i
from trainer.networks.discriminator import PatchDiscriminator
from trainer.sampling.batches import BatchPlan, TrainingBatch, draw_batch

MODELS = Path(__file__).parents[3] / "models"
FRAMES = make_frames()
ACTED = draw_batch(FRAMES, BatchPlan(3, 0.0, 2, 1, 0.0, 64), seed=0, step=0)
BATCH = replace(ACTED, acted=ACTED.acted[:0])


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor."""
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)


def make_losses(context: DistributedContext = SINGLE_PROCESS, **changes: Any) -> GeneratorLosses:
    config = GENERATOR.model_copy(update=changes)
    return GeneratorLosses(config, IBUG68, make_detector() if config.i2l else None, CPU, context)


def make_pictures(batch: TrainingBatch = BATCH, extra: int = 0) -> Tensor:
    """Pictures a little off the real ones, and `extra` of grey."""
    pictures = (batch.pictures + 0.1).clamp(0, 1)
    return torch.cat([pictures, torch.full((extra, 3, 256, 256), 0.5)]).requires_grad_()


def make_discriminator(config: GeneratorTraining) -> PatchDiscriminator:
    torch.manual_seed(0)
    return PatchDiscriminator(config.discriminator, COUNT)


def test_acted_and_converted_landmarks_stand_behind_the_batchs_own() -> None:
    losses = make_losses(i2l=0)
    given = losses.condition(ACTED, BATCH.sources)
    assert torch.equal(given.landmarks, torch.cat([BATCH.landmarks, ACTED.acted, BATCH.sources]))
    assert given.acted == 2
    assert torch.equal(losses.condition(BATCH, None).landmarks, BATCH.landmarks)


def test_reconstruction_is_of_the_batchs_own_rows() -> None:
    losses = make_losses(i2l=0, gradient=0, sharpness=0, l2i=3.0)
    given = losses.condition(BATCH, BATCH.sources)
    made = make_pictures(extra=1)
    loss, terms = losses.reconstruction(made, given, step=0)
    weights = weigh_pixels(BATCH.landmarks, IBUG68, GENERATOR.face_weight, GENERATOR.feature_weight, 256)
    assert terms.keys() == {"l2i"}
    assert terms["l2i"].item() == pytest.approx(l2i(made[:3], BATCH.pictures, weights).item())
    assert loss.item() == pytest.approx(3 * terms["l2i"].item())
    loss.backward()
    assert made.grad is not None
    assert made.grad[:3].any()
    assert not made.grad[3].any()


def test_omega_reads_the_first_pictures_from_its_step_on_and_is_not_trained() -> None:
    losses = make_losses(l2i=0, gradient=0, sharpness=0, i2l=1.0)
    given = losses.condition(BATCH, None)
    early, terms = losses.reconstruction(make_pictures(), given, step=1)
    assert "i2l" not in terms
    assert early.item() == 0
    made = make_pictures()
    loss, terms = losses.reconstruction(made, given, step=2)
    assert loss.item() == pytest.approx(terms["i2l"].item())
    loss.backward()
    assert made.grad is not None
    assert all(row.any() for row in made.grad[:GUIDED_ROWS])
    assert not made.grad[GUIDED_ROWS:].any()
    assert isinstance(losses.detector, GuidanceDetector)
    assert all(value.grad is None for value in losses.detector.omega.parameters())


def test_the_mesh_looks_at_acted_faces_alone_and_at_features_most() -> None:
    config = GENERATOR.model_copy(update={"l2i": 0, "gradient": 0, "sharpness": 0, "i2l": 1.0, "detector": "mesh"})
    mesh = LandmarkGuidance(MODELS / "mesh", IBUG68)
    losses = GeneratorLosses(config, IBUG68, mesh, CPU, SINGLE_PROCESS)
    assert losses.acted == GUIDED_ROWS
    given = losses.condition(ACTED, ACTED.sources)
    made = torch.cat([BATCH.pictures, BATCH.pictures]).requires_grad_()
    loss, terms = losses.reconstruction(made, given, step=2)
    squared = (mesh(made[3:5], ACTED.acted).detach() - ACTED.acted).square().sum(dim=2)
    weights = torch.ones(68)
    weights[17:27] = weights[36:] = DETAIL_WEIGHT
    assert terms["i2l"].item() == pytest.approx((squared * weights).sum(dim=1).sqrt().mean().item(), rel=1e-4)
    loss.backward()
    assert made.grad is not None
    assert [bool(row.any()) for row in made.grad] == [False] * 3 + [True] * 2 + [False]


class Recording(nn.Module):
    """A D that keeps what it is shown and answers by the pictures' mean."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[Tensor, Tensor]] = []

    def forward(self, pictures: Tensor, maps: Tensor) -> Tensor:
        self.shown.append((pictures, maps))
        return pictures.mean(dim=(1, 2, 3), keepdim=True)


def look(losses: GeneratorLosses, given: Conditioning, made: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
    recording = Recording()
    losses.discriminator(recording, made, given)
    return recording.shown


def test_d_sees_real_generated_and_real_with_anothers_landmarks() -> None:
    losses = make_losses(i2l=0)
    given = losses.condition(BATCH, BATCH.sources)
    made = make_pictures(extra=1)
    ((pictures, maps),) = look(losses, given, made)
    real, fake, wrong = pictures.split([3, 4, 3])
    real_maps, fake_maps, wrong_maps = maps.split([3, 4, 3])
    x, y = BATCH.windows[0].tolist()
    assert torch.equal(real[0], BATCH.pictures[0, :, y : y + 64, x : x + 64])
    assert torch.equal(fake[0], made[0, :, y : y + 64, x : x + 64])
    assert torch.equal(fake[3], made[3, :, y : y + 64, x : x + 64])  # a stranger's, looked at where the first is
    assert torch.equal(real, wrong)
    assert torch.equal(real_maps, fake_maps[:3])
    assert torch.equal(wrong_maps, real_maps.roll(1, dims=0))
    assert not pictures.requires_grad


def test_a_d_that_sees_pictures_alone_has_no_wrong_pairs() -> None:
    plain = GENERATOR.discriminator.model_copy(update={"conditioned": False})
    losses = make_losses(i2l=0, discriminator=plain)
    ((pictures, _),) = look(losses, losses.condition(BATCH, None), make_pictures())
    assert len(pictures) == 6


def test_d_pulls_at_theta_at_first_a_little() -> None:
    losses = make_losses(i2l=0, l2i_gan=0.5)
    given = losses.condition(BATCH, BATCH.sources)
    made = make_pictures(extra=1)
    network = make_discriminator(losses.config).eval()  # in training, spectral norm goes on with each look
    start = losses.adversarial_from
    loss, terms = losses.adversarial(network, made, given, start + RAMP_STEPS)
    assert loss.item() == pytest.approx(0.5 * terms["l2i_gan"].item())
    first, _ = losses.adversarial(network, made, given, start)
    assert first.item() == pytest.approx(loss.item() / RAMP_STEPS, rel=1e-5)
    loss.backward()
    assert made.grad is not None
    assert all(row.any() for row in made.grad)


def test_the_terms_of_two_processes_have_the_mean_of_one() -> None:
    config = {"batch": 3, "i2l": 0.0, "gradient": 1.0}
    whole = make_losses(**config)
    made = make_pictures()
    expected, _ = whole.reconstruction(made, whole.condition(BATCH, None), 0)
    parts = []
    for rank in range(2):
        rows = slice(rank, None, 2)
        batch = TrainingBatch(*(value[rows] for value in vars(BATCH).values()))
        losses = make_losses(DistributedContext(rank, 2), **config)
        parts.append(losses.reconstruction(made[rows], losses.condition(batch, None), 0)[0])
    assert torch.stack(parts).mean().item() == pytest.approx(expected.item(), rel=1e-5)
