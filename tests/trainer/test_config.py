"""The configuration and the device: what is accepted, what is refused."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from trainer.config import PRESETS, ConverterTraining, TL2FTraining, TrainingConfig, change_config
from trainer.errors import ConfigError, DeviceError, TrainerError
from trainer.loops import device
from trainer.loops.device import autocast, has_bfloat16, pick_device


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_survives_being_saved(name: str) -> None:
    config = PRESETS[name]
    assert config.preset == name
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_quick_is_the_default_with_fewer_steps() -> None:
    default, quick = PRESETS["default"], PRESETS["quick"]
    assert quick.converter.steps < default.converter.steps / 5
    assert quick.tl2f.steps < default.tl2f.steps / 5
    assert quick.tl2f.network == default.tl2f.network


def test_configuration_is_frozen_and_knows_its_fields() -> None:
    config = TrainingConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.tl2f.steps = 1
    with pytest.raises(ValidationError, match="Extra inputs"):
        TL2FTraining(step=3)


def test_fields_of_the_recipe_are_set_by_name() -> None:
    changed = change_config(
        PRESETS["refine"],
        ["tl2f.l2i_gan=0.09", "tl2f.gan_reach=null", "tl2f.betas=[0, 0.9]", "tl2f.gan_loss=log", "seed=3"],
    )
    tl2f = changed.tl2f
    assert (tl2f.l2i_gan, tl2f.gan_reach, tl2f.betas, tl2f.gan_loss) == (0.09, None, (0, 0.9), "log")
    assert (changed.preset, changed.seed) == ("refine", 3)
    assert change_config(changed, ["tl2f.network.hidden=64"]).tl2f.network.hidden == 64
    assert tl2f.steps == PRESETS["refine"].tl2f.steps


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("tl2f.l2i_gan", "write it as FIELD=VALUE"),
        ("tl2f.lsgan=1", "no field tl2f.lsgan; beside it are: network, discriminator, steps"),
        ("tl3f.l2i=1", "no field tl3f.l2i; beside it are: none"),
        ("tl2f.l2i.x=1", "no field tl2f.l2i.x; beside it are: none"),
        ("preset=paper", "no field preset; beside it are: seed, converter, tl2f"),
        ("tl2f.l2i=-1", "greater than or equal to 0"),
        ("tl2f.gan_loss=wgan", "Input should be 'hinge' or 'log'"),
    ],
)
def test_a_field_that_cannot_be_set_is_named(change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"--set {change}: .*{words}"):
        change_config(PRESETS["default"], [change])


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch": 0}, {"learning_rate": 0}, {"gan_start": 1.5}, {"ema": 1.0}, {"gan_loss": "wgan"}]
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, float | str]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TL2FTraining.model_validate(wrong)


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
