"""The networks: their shapes and sizes, and what they answer before they have learned anything."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.fixtures.acted import film_units
from trainer.config import AUTHORS_TL2F, PRESETS
from trainer.networks.converter import Converter, ConverterConfig, Decoder, Encoder, normalise_l2
from trainer.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from trainer.networks.tl2f import SLOPE, TL2F, TL2FConfig, UpscaleBlock

TINY = TL2FConfig(hidden=8, seed_channels=4, block_channels=(4, 4, 4, 4, 4))
FACES = torch.from_numpy(film_units(5))


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def list_layers(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


# Theta


@pytest.mark.parametrize("head", [None, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_theta_makes_pictures_in_range(head: int | None, batch: int) -> None:
    torch.manual_seed(0)
    theta = TL2F(TINY.model_copy(update={"head_channels": head}))
    with torch.no_grad():
        pictures = theta(1000 * FACES[:batch])  # far out: the range must hold
    assert pictures.shape == (batch, 3, 256, 256)
    assert torch.isfinite(pictures).all()
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert pictures.std() > 0.1


@pytest.mark.parametrize("config", [TL2FConfig(), AUTHORS_TL2F])
def test_theta_has_two_fc_layers_and_six_upscale_blocks(config: TL2FConfig) -> None:
    with torch.device("meta"):
        theta = TL2F(config)
    blocks = list_layers(theta, UpscaleBlock)
    assert len(list_layers(theta, nn.Linear)) == 2
    assert len(blocks) == len(list_layers(theta, nn.PixelShuffle)) == 6
    assert all(len(list_layers(block, nn.Conv2d)) == 1 for block in blocks)
    convolutions = 6 if config.head_channels is None else 7
    assert len(list_layers(theta, nn.Conv2d)) == convolutions


def test_an_upscale_block_doubles_both_sides() -> None:
    assert UpscaleBlock(3, 5)(torch.zeros(2, 3, 6, 7)).shape == (2, 5, 12, 14)


def test_sizes_of_the_presets() -> None:
    with torch.device("meta"):
        lean, authors = TL2F(TL2FConfig()), TL2F(AUTHORS_TL2F)
        converter = Converter(Encoder(ConverterConfig()), Decoder(ConverterConfig()))
    assert count_parameters(authors) == pytest.approx(44e6, rel=0.03)
    assert count_parameters(lean) == pytest.approx(2.69e6, rel=0.01)
    # Two bytes for each weight: a bundle has to stay below 12 MB.
    assert 2 * (count_parameters(lean) + count_parameters(converter)) < 11e6


def test_theta_sees_whitened_landmarks() -> None:
    torch.manual_seed(0)
    one, two = TL2F(TINY), TL2F(TINY)
    two.load_state_dict(one.state_dict())
    two.centre.add_(0.3)
    two.whitening.div_(2)
    with torch.no_grad():
        torch.testing.assert_close(one(FACES), two((FACES - 0.5) * 2 + 0.8), atol=1e-5, rtol=0)
        assert (one(FACES) - two(FACES)).abs().max() > 0.01
    assert {"centre", "whitening"} <= set(one.state_dict())  # they travel with the weights


def test_whitening_gives_every_motion_the_same_say_and_noise_none() -> None:
    generator = torch.Generator().manual_seed(0)
    amounts = torch.randn(3000, 3, generator=generator) * torch.tensor([0.1, 0.02, 1e-5])
    directions = torch.linalg.qr(torch.randn(136, 3, generator=generator)).Q.T  # a large, a small and no motion
    landmarks = 0.4 + (amounts @ directions).view(-1, 68, 2)
    theta = TL2F(TINY)
    theta.fit_whitening(landmarks, floor=0.004)
    torch.testing.assert_close(theta.centre, landmarks.mean(dim=0))
    whitened = (landmarks - theta.centre).flatten(1) @ theta.whitening  # (n, 2N)
    spread = (whitened @ directions.T).std(dim=0)
    assert spread[0].item() == pytest.approx(1, abs=0.01)
    assert spread[1].item() == pytest.approx(0.02 / math.hypot(0.02, 0.004), abs=0.01)
    assert spread[2] < 0.01


def test_weights_begin_as_kaiming_says() -> None:
    torch.manual_seed(0)
    theta = TL2F(TL2FConfig(seed_channels=32, block_channels=(32, 32, 32, 32, 32)))
    layers = list_layers(theta, nn.Linear) + list_layers(theta, nn.Conv2d)
    layers += list_layers(PatchDiscriminator(DiscriminatorConfig(spectral_norm=False)), nn.Conv2d)[1:]
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


@pytest.mark.parametrize(("detail", "patch"), [(0.0, 78), (1.0, 82)])  # a blur of 5x5 reaches two pixels further
def test_d_judges_overlapping_patches(detail: float, patch: int) -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(DiscriminatorConfig(channels=(4, 4, 4, 4), detail=detail))
    pictures = torch.rand(2, 3, 256, 256, requires_grad=True)
    logits, features = discriminator(pictures)
    assert logits.shape == (2, 1, 16, 16)
    assert [tuple(each.shape) for each in features] == [(2, 4, size, size) for size in (128, 64, 32, 16)]
    logits[0, 0, 8, 8].backward()
    rows = torch.nonzero(pictures.grad[0].abs().sum(dim=(0, 2))).flatten()
    assert patch - 8 <= int(rows[-1] - rows[0]) + 1 <= patch  # of one logit; its rim may count for nothing
    assert not pictures.grad[1].any()


def test_d_sees_a_pictures_detail_beside_it() -> None:
    seen: list[Tensor] = []
    pictures = torch.full((1, 3, 16, 16), 0.75)
    pictures[0, 1, 8, 8] = 1.0
    for detail in (0.0, 3.0):
        discriminator = PatchDiscriminator(DiscriminatorConfig(channels=(4,), detail=detail))
        discriminator.layers[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        discriminator(pictures)
    alone, beside = seen
    torch.testing.assert_close(alone, pictures * 2 - 1)
    torch.testing.assert_close(beside[:, :3], alone)
    assert beside[0, 3].abs().max() < 1e-6  # nothing in a flat channel
    assert beside[0, 4, 8, 8].item() == pytest.approx(3 * 0.5 * (1 - 1 / 25), rel=1e-5)
    assert beside[0, 4, 8, 6].item() == pytest.approx(3 * 0.5 * (0 - 1 / 25), rel=1e-5)


def measure_largest_gain(discriminator: PatchDiscriminator) -> list[float]:
    layers: list[Tensor] = [layer.weight for layer in (*discriminator.layers, discriminator.logits)]
    return [torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item() for weight in layers]


def test_spectral_norm_bounds_every_layer_of_d() -> None:
    torch.manual_seed(0)
    bounded = PatchDiscriminator(DiscriminatorConfig(channels=(4, 8)))
    free = PatchDiscriminator(DiscriminatorConfig(channels=(4, 8), spectral_norm=False))
    with torch.no_grad():
        for _ in range(20):
            bounded(torch.rand(1, 3, 16, 16))
    assert measure_largest_gain(bounded.eval()) == pytest.approx([1, 1, 1], rel=0.05)
    assert max(measure_largest_gain(free)) > 1.3


@pytest.mark.parametrize("config", [TL2FConfig, ConverterConfig, DiscriminatorConfig])
def test_widths_are_frozen_and_checked(config: type) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config().points = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        config(widths=3)


def test_presets_name_networks_of_their_size() -> None:
    assert PRESETS["paper"].tl2f.network == AUTHORS_TL2F
    assert PRESETS["default"].tl2f.network == PRESETS["quick"].tl2f.network == TL2FConfig()
