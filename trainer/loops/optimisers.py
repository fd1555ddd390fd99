"""The optimisers and learning rates of the recipes: Adam with a cosine, and the paper's RMSProp with steps."""

import math
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from trainer.config import GeneratorTraining

Kind: TypeAlias = Literal["adam", "rmsprop"]
Groups: TypeAlias = list[dict[str, Any]]

DECAY, DECAY_STEPS = 0.9, 2500
"""Of the paper's schedule (section 3.1)."""

WARMUP_STEPS = 20
LAST_RATE = 0.01
"""Of the cosine: where it begins, and the share of the rate where it ends."""


def group_parameters(network: nn.Module, config: GeneratorTraining | None) -> Groups:
    """A network's parameters for `make_optimiser`; Theta's, given its configuration, with its textures apart.

    A group's `multiplier` is its learning rate in units of the network's.
    """
    if config is None:
        return [{"params": list(network.parameters()), "multiplier": 1.0, "weight_decay": 0.0}]
    named = list(network.named_parameters())
    textures = [value for name, value in named if name.endswith("textures")]
    others = [value for name, value in named if not name.endswith("textures")]
    groups: Groups = [{"params": others, "multiplier": 1.0, "weight_decay": config.weight_decay}]
    if textures:
        groups.append({"params": textures, "multiplier": config.texture_rate, "weight_decay": 0.0})
    return groups


def make_optimiser(kind: Kind, groups: Groups, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """Adam, its weight decay apart from the gradient (AdamW); or RMSProp (paper, section 3.1), which has neither."""
    if kind == "rmsprop":
        return torch.optim.RMSprop([{name: group[name] for name in ("params", "multiplier")} for group in groups])
    return torch.optim.AdamW(groups, betas=betas)


def schedule_rate(step: int, config: GeneratorTraining) -> float:
    """The learning rate of a step, in shares of that at the start."""
    if config.schedule == "steps":
        return float(DECAY ** (step // DECAY_STEPS))
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return warm * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / max(config.steps, 1))))
