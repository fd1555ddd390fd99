"""The two recipes' optimisers and learning rates."""

import pytest
import torch

from tests.trainer.tiny_training import TEXTURES, UPSCALE
from trainer.config import PRESETS, GeneratorTraining
from trainer.loops.optimisers import (
    INTERIOR_RATE,
    LAST_RATE,
    WARMUP_STEPS,
    group_parameters,
    make_optimiser,
    schedule_rate,
)
from trainer.networks.generator import Generator
from trainer.networks.paper_generator import PaperGenerator


def test_the_cosine_warms_up_and_ends_low() -> None:
    config = GeneratorTraining(steps=1000)
    assert schedule_rate(0, config) == pytest.approx(1 / WARMUP_STEPS, rel=0.01)
    assert schedule_rate(500, config) == pytest.approx(LAST_RATE + (1 - LAST_RATE) / 2)
    assert schedule_rate(1000, config) == pytest.approx(LAST_RATE)
    rates = [schedule_rate(step, config) for step in range(WARMUP_STEPS, 1000)]
    assert rates == sorted(rates, reverse=True)


def test_the_papers_rate_falls_by_a_tenth_every_2500_iterations() -> None:
    rates = [schedule_rate(step, PRESETS["paper"].generator) for step in (0, 2499, 2500, 4999, 5000, 25_000)]
    assert rates == pytest.approx([1, 1, 0.9, 0.9, 0.81, 0.9**10])


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_the_first_step_is_as_each_says(kind: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    groups = [{"params": [weight], "multiplier": 1.0, "weight_decay": 0.0}]
    optimiser = make_optimiser(kind, groups, (0.5, 0.99))
    optimiser.param_groups[0]["lr"] = 0.1
    (3 * weight).sum().backward()
    optimiser.step()
    # Adam's first step is the rate; RMSProp's is g / sqrt((1 - alpha) g^2), ten times the rate with alpha = 0.99.
    assert weight.item() == pytest.approx({"adam": 0.9, "rmsprop": 0.0}[kind], abs=1e-5)


def test_textures_learn_quicker_and_do_not_decay() -> None:
    theta = Generator(TEXTURES)
    config = GeneratorTraining(texture_rate=3.0, weight_decay=0.5)
    others, skin, interiors = group_parameters(theta, config)
    assert (others["multiplier"], others["weight_decay"]) == (1.0, 0.5)
    assert (skin["multiplier"], skin["weight_decay"]) == (3.0, 0.0)
    assert (interiors["multiplier"], interiors["weight_decay"]) == (3.0 * INTERIOR_RATE, 0.0)
    for group, regions in ((skin, theta.regions), (interiors, theta.behind)):
        assert [each.shape for each in group["params"]] == [picture.textures.shape for _, picture in regions]
    total = sum(each.numel() for group in (others, skin, interiors) for each in group["params"])
    assert total == sum(each.numel() for each in theta.parameters())


def test_other_networks_have_one_group() -> None:
    (group,) = group_parameters(PaperGenerator(UPSCALE), GeneratorTraining())
    assert group["multiplier"] == 1.0
    layer = torch.nn.Linear(2, 1)
    (group,) = group_parameters(layer, None)
    assert (group["params"], group["weight_decay"]) == (list(layer.parameters()), 0.0)


def test_weight_decay_is_in_units_of_the_rate() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimiser = make_optimiser("adam", [{"params": [weight], "weight_decay": 0.5}], (0.5, 0.99))
    optimiser.param_groups[0]["lr"] = 0.1
    (0 * weight).sum().backward()
    optimiser.step()
    assert weight.item() == pytest.approx(0.95)
