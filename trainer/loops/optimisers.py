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

INTERIOR_RATE = 0.1
"""Of the textures behind lips and lids, in units of the skin's: few frames show a place there, and Adam's steps are as
large by a few noisy gradients as by many."""


def group_parameters(network: nn.Module, config: GeneratorTraining | None) -> Groups:
    """A network's parameters for `make_optimiser`; Theta's, given its configuration, with its textures apart.

    A group's `multiplier` is its learning rate in units of the network's.
    """
    if config is None:
        return [{"params": list(network.parameters()), "multiplier": 1.0, "weight_decay": 0.0}]
    others, skin, interiors = list[nn.Parameter](), list[nn.Parameter](), list[nn.Parameter]()
    for name, value in network.named_parameters():
        kind = others if not name.endswith("textures") else interiors if name.startswith("interiors") else skin
        kind.append(value)
    groups: Groups = [{"params": others, "multiplier": 1.0, "weight_decay": config.weight_decay}]
    for textures, rate in ((skin, config.texture_rate), (interiors, INTERIOR_RATE * config.texture_rate)):
        if textures:
            groups.append({"params": textures, "multiplier": rate, "weight_decay": 0.0})
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
