"""The landmark converter: the encoder Phi, shared by all identities, and each target's decoder Psi (section 2.1)."""

from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from trainer.networks.initialisation import SLOPE, init_kaiming


class ConverterConfig(BaseModel):
    """Widths of Phi and Psi: five FC layers each, ``2N -> hidden x4 -> 2N``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(default=68, ge=1)
    hidden: int = Field(default=256, ge=1)


def normalise_l2(landmarks: Tensor) -> Tensor:
    """L': landmarks with their mean at the origin and an l2 norm of one over all points (eq. 4). (B, N, 2) both."""
    centred = landmarks - landmarks.mean(dim=1, keepdim=True)
    norm = centred.flatten(1).norm(dim=1).clamp_min(1e-6)  # (B,)
    return centred / norm[:, None, None]


def _five_layers(size: int, hidden: int) -> nn.Sequential:
    widths = (size, hidden, hidden, hidden, hidden, size)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


class Encoder(nn.Module):
    """Phi: anyone's landmarks -> the identity-neutral landmarks L', the same expression on the average face.

    The five layers learn the change to the input's l2-normalised landmarks, not the landmarks: at the start Phi keeps
    every expression, and learns to lose identity, where a plain network has to learn to keep.
    """

    spread: Tensor
    centre: Tensor

    def __init__(self, config: ConverterConfig) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(config.points, 2))
        self.register_buffer("spread", torch.full((config.points, 2), 0.1))
        self.layers = _five_layers(2 * config.points, config.hidden)
        _start_small(self.layers)

    def forward(self, landmarks: Tensor) -> Tensor:  # (B, N, 2) crop units -> (B, N, 2) l2-normalised
        normalised = normalise_l2(landmarks)
        whitened = ((normalised - self.centre) / self.spread).flatten(1)
        return normalised + self.layers(whitened).view_as(landmarks) * self.spread


class Decoder(nn.Module):
    """Psi_t: identity-neutral landmarks -> landmarks of the target, in crop units.

    `latent_*` are the mean and spread of Phi's output, `target_*` those of the target's own landmarks.
    """

    latent_centre: Tensor
    latent_spread: Tensor
    target_centre: Tensor
    target_spread: Tensor

    def __init__(self, config: ConverterConfig) -> None:
        super().__init__()
        for name, value in (("latent_centre", 0.0), ("target_centre", 0.5)):
            self.register_buffer(name, torch.full((config.points, 2), value))
        for name in ("latent_spread", "target_spread"):
            self.register_buffer(name, torch.full((config.points, 2), 0.1))
        self.layers = _five_layers(2 * config.points, config.hidden)
        _start_small(self.layers)

    def forward(self, latent: Tensor) -> Tensor:  # (B, N, 2) l2-normalised -> (B, N, 2) crop units
        whitened = (latent - self.latent_centre) / self.latent_spread  # (B, N, 2)
        return self.target_centre + (whitened + self.layers(whitened.flatten(1)).view_as(latent)) * self.target_spread


class Converter(nn.Module):
    """Psi_t after Phi, as a bundle serves it."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, landmarks: Tensor) -> Tensor:  # (B, N, 2) crop units both
        converted: Tensor = self.decoder(self.encoder(landmarks))
        return converted


def _start_small(layers: nn.Sequential) -> None:
    init_kaiming(layers)
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)  # The correction starts at nothing; the other four layers keep Kaiming's.
