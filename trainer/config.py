"""The training run's configuration: frozen, validated, saved with every checkpoint and bundle.

The defaults are the recipe that the committed bundles were trained by; `docs/training.md` says where it leaves the
paper and what each change brought.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import ConfigError
from trainer.networks.converter import ConverterConfig
from trainer.networks.discriminator import DiscriminatorConfig
from trainer.networks.hourglass import HourglassConfig
from trainer.networks.tl2f import TL2FConfig


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConverterTraining(_Frozen):
    """How Phi and every Psi are learned, over all identities at once."""

    network: ConverterConfig = ConverterConfig()
    steps: int = Field(default=4000, ge=1)
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


class TL2FTraining(_Frozen):
    """How Theta and D are learned, for one target."""

    network: TL2FConfig = TL2FConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    steps: int = Field(default=2600, ge=1)
    batch: int = Field(default=4, ge=1)
    whiten: bool = Field(default=True, description="Give Theta landmarks whitened by the training set's covariance.")
    optimiser: Literal["adam", "rmsprop"] = "adam"
    betas: tuple[float, float] = Field(default=(0.5, 0.99), description="Of Adam.")
    weight_decay: float = Field(
        default=0.5, ge=0, description="Of Theta with `adam`, in units of the learning rate; `rmsprop` has none."
    )
    schedule: Literal["cosine", "steps"] = Field(
        default="cosine", description="The learning rate falls as a cosine, begun anew with the GAN phase, or in steps."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="At the start.")
    gan_learning_rate: float = Field(
        default=4e-4, gt=0, description="At the start of the GAN phase; of `cosine` alone."
    )
    decay: float = Field(default=0.9, gt=0, le=1, description="What a step of `steps` multiplies the rate by.")
    decay_every: int = Field(default=2500, ge=1, description="Iterations between two steps of `steps`.")
    gan_start: float = Field(default=0.45, ge=0, le=1, description="Share of the steps before the GAN terms begin.")
    l2i: float = Field(default=10.0, ge=0)
    around: float = Field(
        default=50.0, ge=0, description="Weight of the squared error beyond `gan_reach`, which takes L2I's place there."
    )
    i2l: float = Field(default=0.1, ge=0)
    i2l_start: float = Field(default=0.3, ge=0, le=1, description="Share of the steps before Omega is asked.")
    i2l_pictures: int = Field(default=2, ge=1, description="Pictures in a step that Omega looks at.")
    l2i_gan: float = Field(default=0.03, ge=0)
    gan_reach: float | None = Field(
        default=0.1, gt=0, description="Of what D judges and L2I counts: the face and so much about it. None: all."
    )
    gan_pace: float = Field(default=4.0, gt=0, description="D's learning rate, in units of Theta's.")
    gan_lead: int = Field(default=0, ge=0, description="Steps at the start of the GAN phase in which D alone learns.")
    gan_pictures: int = Field(default=6, ge=1, description="Pictures in a step that D looks at.")
    gan_window: int = Field(
        default=16, ge=1, le=32, description="Side of the window on the face that D sees of a picture, in 32nds of it."
    )
    gan_lips: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How much of D's pull on a picture, and of its features', is left at the lips.",
    )
    gan_smooth: bool = Field(default=True, description="Blur that pull, so that it draws no raster.")
    feature_matching: float = Field(default=5.0, ge=0)
    relabel: bool = Field(
        default=True, description="Ask for a bent frame where the mesh sees it, of targets that the mesh labelled."
    )
    perceptual: float = Field(default=3.0, ge=0, description="Weight of what the mesh's features tell apart.")
    seen: float = Field(default=0.3, ge=0, description="Weight of where the mesh sees points, made against real.")
    opening: float = Field(default=50.0, ge=0, description="Weight of how far it sees lips and lids stand apart.")
    landmark_reach: float | None = Field(
        default=0.012,
        gt=0,
        description="How far about eyes, brows and lips I2L and what the mesh sees of points may change a picture, in "
        "crop units. None: anywhere.",
    )
    perceptual_start: float = Field(default=0.1, ge=0, le=1, description="Share of the steps before the mesh judges.")
    identity: float = Field(
        default=1.0, ge=0, description="Weight of how far a made face is from the reference picture's, from then on."
    )
    likeness: float = Field(
        default=2.0, ge=0, description="Weight of what that network's features tell a made face from its picture by."
    )
    identity_pictures: int = Field(default=6, ge=1, description="Pictures in a step that these two look at.")
    gan_loss: Literal["hinge", "log"] = "hinge"
    converter_learning_rate: float = Field(
        default=5e-5, ge=0, description="Of Phi and Psi, which learn on in the GAN phase. 0: they stay as they are."
    )
    converter_batch: int = Field(
        default=16, ge=1, description="Frames of each identity that they learn from in a step."
    )
    converted: int = Field(default=2, ge=0, description="Pictures in a step from other people's converted landmarks.")
    reshaped: float = Field(
        default=0.5, ge=0, le=1, description="Share of these whose landmarks are reshaped first, to nobody's."
    )
    paired: bool = Field(
        default=True,
        description="Bend a frame to each converted face, for all terms. False: converted faces go to D alone (eq. 6).",
    )
    warped: float = Field(default=0.5, ge=0, le=1, description="Share of the frames warped to landmarks not seen.")
    surround: float = Field(
        default=0.05, ge=0, le=1, description="Weight of what lies off the face in a bent frame: it was not bent along."
    )
    rare: float = Field(default=0.3, ge=0, le=1, description="Share of the frames drawn for how seldom they are.")
    detail_weight: float = Field(default=3.0, ge=1, description="Weight of eyes, lips and nostrils in L2I.")
    noise: float = Field(default=0.0004, ge=0, description="Spread of the landmarks' jitter, in crop units.")
    feature_weight: float = Field(default=9.0, ge=1, description="Weight of lips and lids in I2L.")
    jaw_weight: float = Field(default=0.5, gt=0, description="Weight of the jaw in I2L.")
    ema: float = Field(default=0.997, ge=0, lt=1, description="Decay of the averaged Theta, which is what is exported.")

    @property
    def needs_mesh(self) -> bool:
        """Whether the mesh is looked through in training."""
        return self.relabel or max(self.perceptual, self.seen, self.opening) > 0


class TrainingConfig(_Frozen):
    """Everything that decides what a run learns, but its data."""

    preset: Literal["default", "quick", "refine", "paper"] = "default"
    seed: int = 0
    begun_from: str | None = Field(
        default=None, description="SHA-256 of the file of weights that Theta began with, where it was one."
    )
    converter: ConverterTraining = ConverterTraining()
    tl2f: TL2FTraining = TL2FTraining()


AUTHORS_TL2F = TL2FConfig(hidden=1024, seed_channels=1024, block_channels=(512, 256, 128, 128, 128), head_channels=64)
"""The size of the authors' own network: 43 M parameters, 12 times the default's time for a picture."""

PRESETS = {
    "default": TrainingConfig(),
    "quick": TrainingConfig(
        preset="quick",
        converter=ConverterTraining(steps=300),
        # Without the mesh, which is half of a step's time and tells little of a face as blurred as this one.
        tl2f=TL2FTraining(
            steps=180, gan_start=0.85, ema=0.97, relabel=False, perceptual=0, seen=0, opening=0, identity=0, likeness=0
        ),
    ),
    "refine": TrainingConfig(
        preset="refine", tl2f=TL2FTraining(steps=1000, gan_start=0, gan_lead=60, i2l_start=0, perceptual_start=0)
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
        tl2f=TL2FTraining(
            network=AUTHORS_TL2F,
            discriminator=DiscriminatorConfig(channels=(64, 128, 256, 512), spectral_norm=False, detail=0),
            steps=400_000,
            batch=1,
            whiten=False,
            optimiser="rmsprop",
            schedule="steps",
            learning_rate=6e-5,
            gan_start=0,
            i2l_start=0,
            l2i=1,
            around=0,
            i2l=1,
            landmark_reach=None,
            opening=0,
            l2i_gan=1,
            feature_matching=0,
            gan_loss="log",
            gan_pace=1,
            gan_reach=None,
            gan_window=32,
            gan_lips=1,
            gan_smooth=False,
            relabel=False,
            perceptual=0,
            seen=0,
            identity=0,
            likeness=0,
            converter_learning_rate=1e-5,
            converter_batch=4,
            converted=1,
            reshaped=0,
            paired=False,
            warped=0,
            rare=0,
            detail_weight=1,
            noise=0,
            feature_weight=1,
            jaw_weight=1,
            ema=0,
        ),
    ),
}
"""The paper's own recipe (section 3.1) is `paper`; `docs/method.md` says what is still not as the authors had it."""


def change_config(config: TrainingConfig, changes: Iterable[str]) -> TrainingConfig:
    """The configuration with some fields otherwise, each as ``tl2f.l2i_gan=0.09``; values are JSON, or bare words.

    Raises ConfigError, which names the field, where there is none of that name or it can't have that value.
    """
    kept = {"preset": config.preset, "begun_from": config.begun_from}  # what was chosen before, no fields to set
    for change in changes:
        name, parted, text = change.partition("=")
        if not parted:
            raise ConfigError(f"--set {change}: write it as FIELD=VALUE, such as tl2f.l2i_gan=0.09.")
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
