"""The paper's recipe: its numbers, its sizes, and that it runs; the widths are reduced where it runs."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from trainer.networks.tl2f import TL2F, TL2FConfig

from tests.trainer.tiny_training import (
    assert_same,
    load,
    make_frames,
    make_lesson,
    make_model,
    make_omega,
    make_people,
    read_curves,
    train,
)
from trainer.config import PRESETS
from trainer.loops import generator as module
from trainer.loops.checkpoint import load_checkpoint
from trainer.loops.converter import train_converter
from trainer.losses import generator as tl2f_lesson
from trainer.losses.generator import GuidanceNetworks
from trainer.networks.converter import ConverterConfig, Decoder, Encoder
from trainer.networks.discriminator import DiscriminatorConfig

PAPER = PRESETS["paper"]
SMALL = PAPER.tl2f.model_copy(
    update={
        "network": TL2FConfig(hidden=8, seed_channels=4, block_channels=(4, 4, 4, 4, 4), head_channels=4),
        "discriminator": DiscriminatorConfig(channels=(4, 4), spectral_norm=False),
        "steps": 20,
    }
)
SMALL_CONVERTER = PAPER.converter.model_copy(update={"network": ConverterConfig(hidden=8), "steps": 20})


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_numbers_of_section_3_1() -> None:
    converter, tl2f = PAPER.converter, PAPER.tl2f
    assert (converter.optimiser, converter.batch, converter.learning_rate, converter.steps) == (
        "rmsprop",
        4,
        1e-5,
        45_000,
    )
    assert (tl2f.optimiser, tl2f.batch, tl2f.learning_rate, tl2f.steps) == ("rmsprop", 1, 6e-5, 400_000)
    assert (tl2f.schedule, tl2f.decay, tl2f.decay_every) == ("steps", 0.9, 2500)
    assert (converter.l2l, converter.x_l2l, tl2f.l2i, tl2f.i2l, tl2f.l2i_gan) == (1, 1, 1, 1, 1)  # eq. 1 weighs none


def test_the_sizes_of_the_authors_networks() -> None:
    with torch.device("meta"):
        theta = TL2F(PAPER.tl2f.network.model_copy(update={"points": 98}))
        wide = PAPER.converter.network.model_copy(update={"points": 98})
        phi, psi = Encoder(wide), Decoder(wide)
    widths = (1024, 512, 256, 128, 128, 128, 64)
    convolutions = sum(9 * before * 4 * after + 4 * after for before, after in pairwise(widths))
    assert count(theta) == (196 * 1024 + 1024) + (1024 * 16_384 + 16_384) + convolutions + (9 * 64 * 3 + 3)
    layers = (196 * 512 + 512) + 3 * (512 * 512 + 512) + (512 * 196 + 196)
    assert count(phi) == count(psi) == layers


def test_twenty_iterations_of_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)
    monkeypatch.setattr(module, "LOG_STEPS", 1)
    given: dict[str, list[int]] = {}

    def spy(function: str) -> None:
        original = getattr(tl2f_lesson, function)

        def record(*arguments: Any) -> Any:
            given.setdefault(function, []).append(len(arguments[0]))
            return original(*arguments)

        monkeypatch.setattr(tl2f_lesson, function, record)

    for function in ("l2i", "i2l", "l2i_gan_discriminator", "l2i_gan_generator"):
        spy(function)
    frames = make_frames()
    teachers = GuidanceNetworks(make_lesson(make_people(), SMALL_CONVERTER), make_omega())
    theta, _ = train(frames, tmp_path, SMALL, teachers)
    # One filmed frame, and one face from somebody else's landmarks, which has no picture and goes to D alone.
    assert given == dict.fromkeys(("l2i", "i2l", "l2i_gan_discriminator", "l2i_gan_generator"), [1] * 20)
    curves = read_curves(tmp_path)
    assert {"l2i", "i2l", "d", "l2i_gan", "l2l", "x_l2l", "loss"} < set(curves)
    assert "transfer" not in curves
    assert [value for _, value in curves["learning_rate"]] == pytest.approx([6e-5] * 20)
    saved, last = load(tmp_path, SMALL), {name: points[-1][1] for name, points in curves.items()}
    assert last["loss"] == pytest.approx(
        sum(last[name] for name in ("l2i", "i2l", "l2i_gan", "l2l", "x_l2l")), rel=1e-4
    )  # eq. 1
    assert "square_avg" in saved["theta_optimiser"]["state"][0]
    assert_same(saved["theta"], saved["averaged"])  # nothing is averaged
    assert torch.equal(theta.whitening, torch.eye(136))  # nor whitened
    before = make_model(teachers.lesson).state_dict()
    for part in ("phi", "psi.ada", "psi.bob"):
        changed = [name for name in before if not torch.equal(before[name], saved["converter"][name])]
        assert any(name.startswith(part) for name in changed), part


def test_in_the_papers_way_d_alone_judges_converted_landmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[torch.Tensor] = []
    asked: list[torch.Tensor] = []

    class Listening(module.PatchDiscriminator):
        def forward(self, images: torch.Tensor) -> Any:
            judged.append(images)
            return super().forward(images)

    class Speaking(TL2F):
        def forward(self, landmarks: torch.Tensor) -> torch.Tensor:
            asked.append(super().forward(landmarks))
            return asked[-1]

    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)
    monkeypatch.setattr(module, "PatchDiscriminator", Listening)
    monkeypatch.setattr(module, "TL2F", Speaking)
    frames = make_frames()
    teachers = GuidanceNetworks(make_lesson(make_people(), SMALL_CONVERTER), make_omega())
    train(frames, tmp_path, SMALL.model_copy(update={"steps": 1}), teachers)
    (from_stranger, from_own), pair = asked[0], judged[0]  # what Theta made in the step, what D saw
    assert torch.equal(pair[1], from_stranger)
    assert any(torch.equal(pair[0], filmed) for filmed in frames.pictures(torch.arange(12)))
    assert torch.equal(judged[1][0], from_stranger)
    assert not torch.equal(from_own, from_stranger)


def test_twenty_iterations_of_the_converter(tmp_path: Path) -> None:
    lesson = make_lesson(make_people(), SMALL_CONVERTER)
    model = train_converter(lesson, 3, tmp_path)
    torch.manual_seed(3)
    begun = lesson.make_model()
    assert not torch.equal(begun.phi.layers[8].weight, model.phi.layers[8].weight)
    saved = load_checkpoint(tmp_path / "converter.pt", SMALL_CONVERTER)
    assert saved is not None
    assert saved["optimiser"]["param_groups"][0]["lr"] == 1e-5  # as it began
    assert "square_avg" in saved["optimiser"]["state"][0]
