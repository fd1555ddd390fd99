"""Phi, Psi and D: their shapes and sizes, and what they answer before they have learned anything."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.fixtures.acted import film_units
from trainer.config import PRESETS
from trainer.networks.converter import Converter, ConverterConfig, Decoder, Encoder, normalise_l2
from trainer.networks.discriminator import DETAIL_GAIN, DiscriminatorConfig, PatchDiscriminator
from trainer.networks.generator import Generator, GeneratorConfig
from trainer.networks.initialisation import SLOPE
from trainer.networks.paper_generator import PaperGenerator, PaperGeneratorConfig

FACES = torch.from_numpy(film_units(5))


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def list_layers(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


def test_weights_begin_as_kaiming_says() -> None:
    torch.manual_seed(0)
    theta = PaperGenerator(PaperGeneratorConfig(seed_channels=32, block_channels=(32, 32, 32, 32, 32, 32)))
    layers = list_layers(theta, nn.Linear) + list_layers(theta, nn.Conv2d)[:-1]
    layers += list_layers(make_discriminator(spectral_norm=False), nn.Conv2d)[1:]
    layers += list_layers(Encoder(ConverterConfig()), nn.Linear)[:-1]
    for layer in layers:
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (1 + SLOPE**2) / fan_in), rel=0.08), layer
        assert abs(layer.weight.mean().item()) < 0.1 * layer.weight.std().item()
        assert not layer.bias.any()


# Phi and Psi


@pytest.mark.parametrize("part", [Encoder, Decoder])
def test_phi_and_psi_have_five_fc_layers(part: type[nn.Module]) -> None:
    network = part(ConverterConfig(points=98, hidden=16))
    layers = list_layers(network, nn.Linear)
    assert [layer.in_features for layer in layers] == [196, 16, 16, 16, 16]
    assert [layer.out_features for layer in layers] == [16, 16, 16, 16, 196]
    assert len(list_layers(network, nn.LeakyReLU)) == 4  # none after the last: landmarks go both ways
    for batch in (1, 4):
        assert network(torch.rand(batch, 98, 2)).shape == (batch, 98, 2)


def test_normalised_landmarks_have_no_place_and_no_size() -> None:
    normalised = normalise_l2(FACES)
    torch.testing.assert_close(normalised.mean(dim=1), torch.zeros(5, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalised.flatten(1).norm(dim=1), torch.ones(5))
    torch.testing.assert_close(normalise_l2(40 * FACES + 7), normalised, atol=1e-5, rtol=0)
    # Two points at 1 and 3: the mean is 2, the norm sqrt(2).
    points = torch.tensor([[[1.0, 0.0], [3.0, 0.0]]])
    torch.testing.assert_close(normalise_l2(points), torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]]) / math.sqrt(2))
    assert not normalise_l2(torch.ones(1, 68, 2)).any()  # no face at all, and no NaN


def spread_out(network: Encoder | Decoder) -> None:
    """Give the statistics values that differ, so that a mix-up shows."""
    for number, buffer in enumerate(network.buffers()):
        buffer.copy_(0.1 + 0.05 * number + 0.01 * torch.rand_like(buffer))


def test_phi_begins_as_the_normalisation() -> None:
    torch.manual_seed(0)
    encoder = Encoder(ConverterConfig(hidden=16))
    spread_out(encoder)
    with torch.no_grad():
        torch.testing.assert_close(encoder(FACES), normalise_l2(FACES))
        torch.testing.assert_close(encoder(3 * FACES - 1), encoder(FACES), atol=1e-5, rtol=0)


def test_psi_begins_as_the_change_of_statistics() -> None:
    torch.manual_seed(0)
    decoder = Decoder(ConverterConfig(hidden=16))
    spread_out(decoder)
    latent = normalise_l2(FACES)
    expected = (latent - decoder.latent_centre) / decoder.latent_spread * decoder.target_spread + decoder.target_centre
    with torch.no_grad():
        torch.testing.assert_close(decoder(latent), expected)


@pytest.mark.parametrize("part", [Encoder, Decoder])
def test_the_first_step_reaches_every_layer_in_the_end(part: type[nn.Module]) -> None:
    """The last layer begins at zero, which must not stop the others from learning after it moved."""
    torch.manual_seed(0)
    network = part(ConverterConfig(hidden=16))
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    before = [parameter.clone() for parameter in network.parameters()]
    for _ in range(2):
        optimiser.zero_grad()
        network(FACES).square().sum().backward()
        optimiser.step()
    assert all(not torch.equal(was, now) for was, now in zip(before, network.parameters(), strict=True))


def test_the_converter_is_psi_after_phi() -> None:
    torch.manual_seed(0)
    encoder, decoder = Encoder(ConverterConfig(hidden=16)), Decoder(ConverterConfig(hidden=16))
    spread_out(decoder)
    with torch.no_grad():
        assert torch.equal(Converter(encoder, decoder)(FACES), decoder(encoder(FACES)))


# D


def make_discriminator(**changes: Any) -> PatchDiscriminator:
    torch.manual_seed(0)
    return PatchDiscriminator(DiscriminatorConfig(**changes), maps=2)


@pytest.mark.parametrize(("detail", "patch"), [(False, 38), (True, 42)])  # a blur of 5x5 reaches two pixels further
def test_d_judges_overlapping_patches(detail: bool, patch: int) -> None:
    discriminator = make_discriminator(channels=(4, 4, 4), detail=detail)
    pictures = torch.rand(2, 3, 128, 128, requires_grad=True)
    logits = discriminator(pictures, torch.rand(2, 2, 128, 128))
    assert logits.shape == (2, 1, 16, 16)
    logits[0, 0, 8, 8].backward()
    assert pictures.grad is not None
    rows = torch.nonzero(pictures.grad[0].abs().sum(dim=(0, 2))).flatten()
    assert patch - 8 <= int(rows[-1] - rows[0]) + 1 <= patch  # of one logit; its rim may count for nothing
    assert not pictures.grad[1].any()


def test_d_sees_a_pictures_detail_and_the_landmarks_asked_for_beside_it() -> None:
    seen: list[Tensor] = []
    pictures, maps = torch.full((1, 3, 16, 16), 0.75), torch.rand(1, 2, 16, 16)
    pictures[0, 1, 8, 8] = 1.0
    for shown in (False, True):
        discriminator = make_discriminator(channels=(4,), detail=shown, conditioned=shown)
        discriminator.layers[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        discriminator(pictures, maps)
    alone, beside = seen
    torch.testing.assert_close(alone, pictures * 2 - 1)
    torch.testing.assert_close(beside[:, :3], alone)
    assert beside[0, 3].abs().max() < 1e-6  # nothing in a flat channel
    assert beside[0, 4, 8, 8].item() == pytest.approx(DETAIL_GAIN * 0.5 * (1 - 1 / 25), rel=1e-5)
    assert beside[0, 4, 8, 6].item() == pytest.approx(DETAIL_GAIN * 0.5 * (0 - 1 / 25), rel=1e-5)
    assert torch.equal(beside[:, 6:], maps)


def measure_largest_gain(discriminator: PatchDiscriminator) -> list[float]:
    layers: list[Tensor] = [layer.weight for layer in (*discriminator.layers, discriminator.logits)]
    return [torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item() for weight in layers]


def test_spectral_norm_bounds_every_layer_of_d() -> None:
    bounded, free = (make_discriminator(channels=(4, 8), spectral_norm=normed) for normed in (True, False))
    with torch.no_grad():
        for _ in range(20):
            bounded(torch.rand(1, 3, 16, 16), torch.rand(1, 2, 16, 16))
    assert measure_largest_gain(bounded.eval()) == pytest.approx([1, 1, 1], rel=0.05)
    assert max(measure_largest_gain(free)) > 1.3


@pytest.mark.parametrize("config", [GeneratorConfig, PaperGeneratorConfig, ConverterConfig, DiscriminatorConfig])
def test_widths_are_frozen_and_checked(config: type) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config().hidden = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        config(widths=3)


def test_a_bundle_stays_below_twelve_megabytes() -> None:
    default = PRESETS["default"]
    assert isinstance(default.generator.network, GeneratorConfig)
    with torch.device("meta"):
        converter = Converter(Encoder(default.converter.network), Decoder(default.converter.network))
    theta = Generator(default.generator.network)
    assert 2 * (count_parameters(theta) + count_parameters(converter)) < 11.5e6  # two bytes for each weight
    assert PRESETS["quick"].generator.network == default.generator.network
