"""The training run's configuration: frozen, validated, saved with every checkpoint and bundle.

The defaults are the recipe that the committed bundles were trained by; `docs/method.md` says where it leaves the paper
and what each change brings.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import ConfigError
from trainer.networks.converter import ConverterConfig
from trainer.networks.discriminator import DiscriminatorConfig
from trainer.networks.generator import GeneratorConfig
from trainer.networks.hourglass import HourglassConfig
from trainer.networks.paper_generator import PaperGeneratorConfig


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConverterTraining(_Frozen):
    """How Phi and every Psi are learned, over all identities at once."""

    network: ConverterConfig = ConverterConfig()
    steps: int = Field(default=2000, ge=1)
    batch: int = Field(default=64, ge=1, description="Frames of each identity in a step.")
    optimiser: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="Of the learning rate.")
    l2l: float = Field(default=1.0, ge=0)
    x_l2l: float = Field(default=1.0, ge=0)
    transfer: float = Field(default=1.0, ge=0, description="Weight of the term on people who never were.")
    feature_weight: float = Field(default=3.0, ge=1, description="Weight of lips and lids: small but telling.")
    jaw_weight: float = Field(default=0.5, gt=0)
    exaggeration: float = Field(default=0.3, ge=0, description="Spread of the log gain on each feature's own motion.")
    roll: float = Field(default=0.08, ge=0, description="Spread of the extra head roll, in radians.")
    noise: float = Field(default=0.001, ge=0, description="Spread of the landmarks' jitter, in crop units.")


class DetectorTraining(_Frozen):
    """How Omega is learned, over all faces at hand."""

    network: HourglassConfig = HourglassConfig()
    seed: int = 0
    steps: int = Field(default=2600, ge=1)
    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1.5e-3, gt=0, description="After a tenth of the steps; falls as a cosine.")
    feature_weight: float = Field(default=3.0, ge=1, description="Weight of lips and lids: small but telling.")
    divergence: float = Field(default=0.05, ge=0, description="Weight of the heatmaps' regulariser.")
    sigma: float = Field(default=1.0, gt=0, description="Of the Gaussian that a heatmap should be, in its pixels.")
    reshaped: float = Field(default=0.25, ge=0, le=1, description="Share of the faces warped to other people's shapes.")
    fine_steps: int = Field(default=1000, ge=0, description="Steps after `steps`, on faces as Theta makes them.")
    fine_learning_rate: float = Field(default=6e-4, gt=0, description="At their start; falls as a cosine.")
    opening: float = Field(default=20.0, ge=0, description="Weight of how far lips and lids stand apart, in these.")


Network = Annotated[GeneratorConfig | PaperGeneratorConfig, Field(discriminator="kind")]


class GeneratorTraining(_Frozen):
    """How Theta and D are learned, for one target."""

    network: Network = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    steps: int = Field(default=2200, ge=0)
    batch: int = Field(default=6, ge=1)
    optimiser: Literal["adam", "rmsprop"] = "adam"
    schedule: Literal["cosine", "steps"] = Field(
        default="cosine", description="The learning rate falls as a cosine, or by a tenth every 2,500 steps (paper)."
    )
    learning_rate: float = Field(default=4e-3, gt=0, description="Of Theta, at the start.")
    texture_rate: float = Field(default=2.0, gt=0, description="The textures' learning rate, in units of Theta's.")
    weight_decay: float = Field(default=0.5, ge=0, description="Of Theta but its textures, with `adam`.")
    rare: float = Field(default=0.5, ge=0, le=1, description="Share of the frames drawn for how seldom they are.")
    noise: float = Field(default=0.0006, ge=0, description="Spread of the landmarks' jitter, in crop units.")
    ema: float = Field(default=0.998, ge=0, lt=1, description="Decay of the averaged Theta, which is exported.")
    l2i: float = Field(default=1.0, ge=0)
    gradient: float = Field(default=1.0, ge=0, description="Weight of the difference of neighbours' differences.")
    sharpness: float = Field(default=2.0, ge=0, description="Weight of the difference in local detail.")
    face_weight: float = Field(default=2.0, gt=0, description="Of the face's pixels in these two; off it, a half.")
    feature_weight: float = Field(default=6.0, gt=0, description="Of the pixels about eyes and lips.")
    i2l: float = Field(default=0.1, ge=0)
    detector: Literal["mesh", "hourglass"] = Field(
        default="mesh", description="Whose landmarks I2L compares: of acted faces, or Omega's of the batch's own."
    )
    l2i_gan: float = Field(default=0.01, ge=0)
    gan_loss: Literal["hinge", "log"] = "hinge"
    gan_start: float = Field(default=0.6, ge=0, le=1, description="Share of the steps before I2L and L2I-gan begin.")
    d_learning_rate: float = Field(default=6e-4, gt=0, description="Of D, at the start.")
    converted: int = Field(default=0, ge=0, description="Pictures in a step from other people's landmarks, for D.")
    converter_learning_rate: float = Field(
        default=0.0, ge=0, description="Of Phi and Psi, which learn on beside Theta. 0: they stay as they are."
    )


class TrainingConfig(_Frozen):
    """Everything that decides what a run learns, but its data."""

    preset: Literal["default", "quick", "photos", "paper"] = "default"
    seed: int = 0
    converter: ConverterTraining = ConverterTraining()
    generator: GeneratorTraining = GeneratorTraining()


PRESETS = {
    "default": TrainingConfig(),
    "quick": TrainingConfig(
        preset="quick", converter=ConverterTraining(steps=300), generator=GeneratorTraining(steps=300, l2i_gan=0, i2l=0)
    ),
    # Of a few photos the converter alone is learned: their pictures are moved.
    "photos": TrainingConfig(
        preset="photos", converter=ConverterTraining(steps=300), generator=GeneratorTraining(steps=0, l2i_gan=0, i2l=0)
    ),
    "paper": TrainingConfig(
        preset="paper",
        converter=ConverterTraining(
            network=ConverterConfig(hidden=512),
            steps=45_000,
            batch=4,
            optimiser="rmsprop",
            learning_rate=1e-5,
            schedule="constant",
            transfer=0,
            feature_weight=1,
            jaw_weight=1,
            noise=0,
        ),
        generator=GeneratorTraining(
            network=PaperGeneratorConfig(),
            discriminator=DiscriminatorConfig(
                channels=(64, 128, 256, 512), spectral_norm=False, detail=False, conditioned=False, window=256
            ),
            steps=400_000,
            batch=1,
            optimiser="rmsprop",
            schedule="steps",
            learning_rate=6e-5,
            weight_decay=0,
            rare=0,
            noise=0,
            ema=0,
            gradient=0,
            sharpness=0,
            face_weight=1,
            feature_weight=1,
            i2l=1,
            detector="hourglass",
            l2i_gan=1,
            gan_loss="log",
            gan_start=0,
            d_learning_rate=6e-5,
            converted=1,
            converter_learning_rate=1e-5,
        ),
    ),
}
"""The paper's own recipe (section 3.1) is `paper`; `docs/method.md` says what is still not as the authors had it."""


def change_config(config: TrainingConfig, changes: Iterable[str]) -> TrainingConfig:
    """The configuration with some fields otherwise, each as ``generator.l2i_gan=0.09``; values are JSON, or bare words.

    Raises ConfigError, which names the field, where there is none of that name or it can't have that value.
    """
    kept = {"preset": config.preset}  # chosen before, no field to set
    for change in changes:
        name, parted, text = change.partition("=")
        if not parted:
            raise ConfigError(f"--set {change}: write it as FIELD=VALUE, such as generator.l2i_gan=0.09.")
        *parents, field = name.split(".")
        values = config.model_dump(exclude=set(kept))
        part = values
        for parent in parents:
            below = part.get(parent)
            part = below if isinstance(below, dict) else {}
        if field not in part:
            raise ConfigError(f"--set {change}: there is no field {name}; beside it are: {', '.join(part) or 'none'}.")
        part[field] = _read_value(text)
        try:
            config = TrainingConfig.model_validate(kept | values)
        except ValidationError as error:
            raise ConfigError(f"--set {change}: {error.errors()[0]['msg']}.") from error
    return config


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
