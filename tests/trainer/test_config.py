"""The configuration and the device: what is accepted, what is refused."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from trainer.config import PRESETS, ConverterTraining, GeneratorTraining, TrainingConfig, change_config
from trainer.errors import ConfigError, DeviceError, TrainerError
from trainer.loops import device
from trainer.loops.device import autocast, has_bfloat16, pick_device
from trainer.networks.generator import GeneratorConfig


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_survives_being_saved(name: str) -> None:
    config = PRESETS[name]
    assert config.preset == name
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_quick_is_the_default_with_fewer_steps() -> None:
    default, quick = PRESETS["default"], PRESETS["quick"]
    assert quick.converter.steps < default.converter.steps / 3
    assert quick.generator.steps < default.generator.steps / 3
    assert quick.generator.network == default.generator.network


def test_the_recipe_stays_short() -> None:
    assert len(GeneratorTraining.model_fields) <= 25


def test_configuration_is_frozen_and_knows_its_fields() -> None:
    config = TrainingConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.generator.steps = 1
    with pytest.raises(ValidationError, match="Extra inputs"):
        GeneratorTraining(step=3)


def test_fields_of_the_recipe_are_set_by_name() -> None:
    changed = change_config(PRESETS["quick"], ["generator.l2i_gan=0.09", "generator.gan_loss=log", "seed=3"])
    assert (changed.generator.l2i_gan, changed.generator.gan_loss) == (0.09, "log")
    assert (changed.preset, changed.seed) == ("quick", 3)
    assert changed.generator.steps == PRESETS["quick"].generator.steps
    deeper = change_config(changed, ["generator.network.hidden=64", "generator.network.textures=[1, 2, 3]"])
    assert deeper.generator.network == GeneratorConfig(hidden=64, textures=(1, 2, 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("generator.l2i_gan", "write it as FIELD=VALUE"),
        ("generator.lsgan=1", "no field generator.lsgan; beside it are: network, discriminator, steps"),
        ("theta.l2i=1", "no field theta.l2i; beside it are: none"),
        ("generator.l2i.x=1", "no field generator.l2i.x; beside it are: none"),
        ("preset=paper", "no field preset; beside it are: seed, converter, generator"),
        ("generator.l2i=-1", "greater than or equal to 0"),
        ("generator.gan_loss=wgan", "Input should be 'hinge' or 'log'"),
        ("generator.network.kind=vae", "does not match any of the expected tags"),
    ],
)
def test_a_field_that_cannot_be_set_is_named(change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"--set {change}: .*{words}"):
        change_config(PRESETS["default"], [change])


@pytest.mark.parametrize(
    "wrong", [{"steps": -1}, {"batch": 0}, {"learning_rate": 0}, {"gan_start": 1.5}, {"ema": 1.0}, {"gan_loss": "wgan"}]
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, float | str]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        GeneratorTraining.model_validate(wrong)


def test_converter_settings_that_can_not_be_are_refused() -> None:
    for wrong in ({"steps": 0}, {"l2l": -1}, {"feature_weight": 0.5}, {"noise": -0.1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            ConverterTraining.model_validate(wrong)


def test_a_cuda_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device here") as caught:
        pick_device("cuda")
    assert isinstance(caught.value, TrainerError)  # the command line says it and ends with status 2
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")


def test_auto_takes_a_cuda_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize(("capability", "has_units", "expected"), [("AVX512", True, True), ("AVX2", True, False)])
def test_bfloat16_needs_the_hardware(
    monkeypatch: pytest.MonkeyPatch, capability: str, has_units: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_units)
    assert has_bfloat16(torch.device("cpu")) is expected
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert has_bfloat16(torch.device("cpu")) is False


def test_autocast_is_bfloat16_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, given = nn.Linear(4, 4), torch.ones(1, 4)
    for available, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "has_bfloat16", lambda where, answer=available: answer)
        with autocast(torch.device("cpu")):
            assert layer(given).dtype is expected
        with autocast(torch.device("cpu"), enabled=False):
            assert layer(given).dtype is torch.float32
