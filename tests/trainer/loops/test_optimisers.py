"""The two recipes' optimisers and learning rates."""

import pytest
import torch

from trainer.config import PRESETS, TL2FTraining
from trainer.loops.optimisers import make_optimiser, schedule_rate


def test_the_cosine_begins_anew_with_the_gan() -> None:
    config = TL2FTraining(steps=100, learning_rate=1e-3, gan_learning_rate=4e-4)
    rates = [schedule_rate(step, 50, config) for step in (0, 25, 49, 50, 75, 99)]
    assert rates == pytest.approx([1e-3, 5.05e-4, 1.098e-5, 4e-4, 2.02e-4, 4.39e-6], rel=1e-2)


def test_the_papers_rate_falls_by_a_tenth_every_2500_iterations() -> None:
    rates = [schedule_rate(step, 0, PRESETS["paper"].tl2f) for step in (0, 2499, 2500, 4999, 5000, 25_000)]
    assert rates == pytest.approx([6e-5, 6e-5, 5.4e-5, 5.4e-5, 4.86e-5, 6e-5 * 0.9**10])


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_the_first_step_is_as_each_says(kind: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimiser = make_optimiser(kind, [weight], 0.1, (0.5, 0.99))
    (3 * weight).sum().backward()
    optimiser.step()
    # Adam's first step is the rate; RMSProp's is g / sqrt((1 - alpha) g^2), ten times the rate with alpha = 0.99.
    assert weight.item() == pytest.approx({"adam": 0.9, "rmsprop": 0.0}[kind], abs=1e-5)
    assert optimiser.param_groups[0]["lr"] == 0.1


def test_weight_decay_is_in_units_of_the_rate() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimiser = make_optimiser("adam", [weight], 0.1, (0.5, 0.99), weight_decay=0.5)
    (0 * weight).sum().backward()
    optimiser.step()
    assert weight.item() == pytest.approx(0.95)
