"""The optimisers and learning rates of the two recipes: Adam with a cosine, and the paper's RMSProp with steps."""

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

import torch
from torch import nn

from trainer.config import TL2FTraining

Kind: TypeAlias = Literal["adam", "rmsprop"]


def make_optimiser(
    kind: Kind,
    parameters: Iterable[nn.Parameter],
    rate: float,
    betas: tuple[float, float],
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Adam, its weight decay apart from the gradient (AdamW); or RMSProp (paper, section 3.1), which has neither."""
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, rate)
    return torch.optim.AdamW(parameters, rate, betas, weight_decay=weight_decay)


def schedule_rate(step: int, gan_from: int, config: TL2FTraining) -> float:
    """The learning rate of Theta and D in a step.

    ``cosine``: from `learning_rate` to a hundredth, then from `gan_learning_rate`. ``steps``: `decay` times as much
    after every `decay_every` steps.
    """
    if config.schedule == "steps":
        return config.learning_rate * config.decay ** (step // config.decay_every)
    if step < gan_from:
        start, share = config.learning_rate, step / gan_from
    else:
        start, share = config.gan_learning_rate, (step - gan_from) / (config.steps - gan_from)
    return start * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
