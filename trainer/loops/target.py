"""From prepared datasets to a bundle: the shared converter, the target's generator, the export."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from shared.bundle import RunRecord, read_bundle
from shared.detectors.manifest import HOURGLASS
from shared.detectors.mesh import MeshDetector
from shared.errors import BundleError
from shared.landmarks import Scheme, get_scheme
from trainer.config import GeneratorTraining, TrainingConfig
from trainer.data.dataset import QUICK_SUFFIX, FrameDataset, list_datasets
from trainer.data.wflw import WFLW
from trainer.errors import TargetError
from trainer.export.bundle import export_bundle
from trainer.export.omega import load_guidance
from trainer.loops.converter import ConverterLosses, ConverterModel, Identity, make_identity, train_converter
from trainer.loops.device import limit_threads, pick_device
from trainer.loops.distributed import SINGLE_PROCESS, DistributedContext
from trainer.loops.generator import CHECKPOINT, CONVERTER_BATCH, GeneratorData, start_generator, train_generator
from trainer.losses.generator import GUIDED_ROWS, Detector
from trainer.losses.landmark_guidance import LandmarkGuidance
from trainer.networks.apertures import SIZE
from trainer.networks.converter import Converter
from trainer.networks.generator import GeneratorConfig
from trainer.sampling.batches import TargetFrames

PREVIEWS = (0.0, 0.05, 0.15, 0.4)
"""Shares of the steps after which a bundle is published while its training goes on, where it replaces no better one."""


@dataclass(frozen=True)
class TrainingRun:
    """All that a target is trained from. A run that was killed goes on where its last checkpoint was."""

    dataset: FrameDataset
    losses: ConverterLosses
    config: TrainingConfig
    device: torch.device
    runs_dir: Path
    models_dir: Path
    learned_from: str  # see `fingerprint_converter`
    context: DistributedContext = SINGLE_PROCESS

    def train_converter(self) -> ConverterModel:
        """Phi, and Psi of every identity."""
        folder = self.runs_dir / f"converter-{self.learned_from}"
        return train_converter(self.losses, self.config.seed, folder, self.context)

    def frames(self) -> TargetFrames:
        """What Theta learns from."""
        foreign = gather_foreign(self.losses.identities, self.dataset.manifest.target)
        landmarks = torch.from_numpy(self.dataset.landmarks("train"))
        return TargetFrames(landmarks, self.dataset.crops("train"), foreign, self.losses.scheme)

    def export(self, theta: nn.Module, converter: Converter, steps: int, seconds: float) -> Path:
        """The bundle of what was learned in so many steps and seconds."""
        planned = self.config.generator.steps
        run = RunRecord(seed=self.config.seed, steps=steps, planned=planned, seconds=seconds)
        return export_bundle(self.dataset, converter, theta, self.config, self.models_dir, run)

    def may_preview(self) -> bool:
        """Whether a bundle may be published before its training is over: where there is none, or an unfinished one."""
        try:
            run = read_bundle(self.models_dir / self.bundle_id).run
        except BundleError:
            return True
        return run is not None and run.steps < run.planned

    @property
    def bundle_id(self) -> str:
        """The id of the bundle that this run leaves."""
        target = self.dataset.manifest.target
        return target + QUICK_SUFFIX if self.config.preset == "quick" else target


def train_target(
    target: str,
    config: TrainingConfig,
    device_name: str,
    data_dir: Path,
    runs_dir: Path,
    models_dir: Path,
    context: DistributedContext = SINGLE_PROCESS,
) -> Path | None:
    """Train one target from its prepared dataset, and export it; the bundle's folder. Raises TrainerError.

    Where it replaces no finished bundle, a first one of moved textures alone is published at once, and better ones as
    training goes on. Of several processes the first exports; for the others there is no bundle.
    """
    run = prepare_run(target, config, device_name, data_dir, runs_dir, models_dir, context)
    recipe, scheme, frames = run.config.generator, run.losses.scheme, run.frames()
    improves = recipe.steps > 0 and isinstance(recipe.network, GeneratorConfig)
    previews = context.is_main and improves and run.may_preview()
    folder = runs_dir / f"{target}-{run.config.preset}-{run.learned_from}"
    if previews and not (folder / CHECKPOINT).exists():
        first = start_generator(recipe, frames, run.config.seed)
        place = run.export(first, run.losses.make_model().of(target), 0, 0.0)
        print(f"A first bundle, of moved textures alone, is in {place}.")
    shown = ", ".join(f"{name} ({len(each.landmarks)} frames)" for name, each in run.losses.identities.items())
    print(f"Landmark converter: learning from {shown}.")
    model = run.train_converter()

    due = [round(share * recipe.steps) for share in PREVIEWS]

    def publish(theta: nn.Module, converter: Converter, steps: int, seconds: float) -> None:
        if previews and steps in due:
            run.export(theta, converter, steps, seconds)

    detector = load_detector(recipe, scheme, models_dir)
    print(f"Landmark-to-face generator of {target}, on {run.device}.")
    data = GeneratorData(target, frames, model, run.losses, detector)
    learned = train_generator(data, recipe, run.config.seed, run.device, folder, publish, context)
    return run.export(*learned) if context.is_main else None


def learn_target(
    target: str, config: TrainingConfig, data_dir: Path, folder: Path, models_dir: Path, seconds: float | None = None
) -> tuple[nn.Module, int, float]:
    """Theta alone, learned on the CPU with checkpoints in `folder`, for `seconds` at most where they are given.

    Returns it with the steps and the seconds that it learned. For studies: nothing is exported.
    """
    run = prepare_run(target, config, "cpu", data_dir, folder, models_dir)
    recipe = run.config.generator
    detector = load_detector(recipe, run.losses.scheme, models_dir)
    data = GeneratorData(target, run.frames(), run.losses.make_model(), run.losses, detector)
    learned = train_generator(data, recipe, run.config.seed, run.device, folder, seconds=seconds)
    return learned.theta, learned.steps, learned.seconds


def load_detector(recipe: GeneratorTraining, scheme: Scheme, models_dir: Path) -> Detector | None:
    """The detector of I2L, where the recipe has that term. Raises DetectorUnavailableError where it is not there."""
    if recipe.i2l == 0:
        return None
    if recipe.detector == "mesh":
        return LandmarkGuidance(models_dir / MeshDetector.name, scheme)
    return load_guidance(models_dir / HOURGLASS, scheme)


def learn_converter(target: str, config: TrainingConfig, data_dir: Path, runs_dir: Path, models_dir: Path) -> Converter:
    """Psi_t after Phi alone, learned with checkpoints under `runs_dir`. For studies: nothing is exported."""
    return prepare_run(target, config, "cpu", data_dir, runs_dir, models_dir).train_converter().of(target).eval()


def prepare_run(
    target: str,
    config: TrainingConfig,
    device_name: str,
    data_dir: Path,
    runs_dir: Path,
    models_dir: Path,
    context: DistributedContext = SINGLE_PROCESS,
) -> TrainingRun:
    """Open the target's dataset, and every other that can teach the encoder: same scheme and crop rule.

    Raises TrainerError, before any training.
    """
    device = context.place(pick_device(device_name))
    limit_threads()
    check_shares(config, context)
    dataset = FrameDataset(data_dir / target)
    if dataset.manifest.size != SIZE:
        raise TargetError(
            f"The face crops of '{target}' are {dataset.manifest.size} pixels wide, the generator's pictures "
            f"{SIZE}. Prepare it again with --size {SIZE}."
        )
    scheme = get_scheme(dataset.manifest.scheme)
    datasets = find_identities(dataset, data_dir)
    identities = {
        name: make_identity(torch.from_numpy(each.landmarks("train")), scheme) for name, each in datasets.items()
    }
    config = fit_to_scheme(config, scheme)
    losses = ConverterLosses(identities, scheme, dataset.manifest.crop, config.converter)
    learned_from = fingerprint_converter(datasets, config)
    return TrainingRun(dataset, losses, config, device, runs_dir, models_dir, learned_from, context)


def check_shares(config: TrainingConfig, context: DistributedContext) -> None:
    """Raise DistributedError where these processes can't share what a step learns from."""
    context.check_share("the converter's batch", config.converter.batch)
    context.check_share("the generator's batch", config.generator.batch)
    context.check_share("the batch of the converter beside the generator", CONVERTER_BATCH)
    context.check_share("the converted landmarks of a step", config.generator.converted)
    context.check_least("the pictures that a detector looks at", min(GUIDED_ROWS, config.generator.batch))


def find_identities(dataset: FrameDataset, data_dir: Path) -> Mapping[str, FrameDataset]:
    """The target's dataset and every other whose landmarks mean the same, by name, in order of name."""
    found = {dataset.manifest.target: dataset}
    for name in list_datasets(data_dir):
        if name in found or name == WFLW.target:  # thousands of people are no identity
            continue
        other = FrameDataset(data_dir / name)
        same = (other.manifest.scheme, other.manifest.crop) == (dataset.manifest.scheme, dataset.manifest.crop)
        if same and len(other.indices("train")):
            found[name] = other
    return dict(sorted(found.items()))


def fingerprint_converter(datasets: Mapping[str, FrameDataset], config: TrainingConfig) -> str:
    """What a converter is learned from, as a short hash: targets trained from the same share one converter."""
    parts = [[name, each.manifest.fingerprint] for name, each in datasets.items()]
    text = json.dumps([parts, config.seed, config.converter.model_dump(mode="json")])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fit_to_scheme(config: TrainingConfig, scheme: Scheme) -> TrainingConfig:
    """The configuration with networks for this scheme's points."""
    converter = config.converter.network.model_copy(update={"points": scheme.count})
    network = config.generator.network
    of_scheme = {"scheme": scheme.name} if isinstance(network, GeneratorConfig) else {"points": scheme.count}
    theta = network.model_copy(update=of_scheme)
    return config.model_copy(
        update={
            "converter": config.converter.model_copy(update={"network": converter}),
            "generator": config.generator.model_copy(update={"network": theta}),
        }
    )


def gather_foreign(identities: Mapping[str, Identity], target: str) -> torch.Tensor:
    """Everybody else's training landmarks, (m, N, 2)."""
    others = [each.landmarks for name, each in identities.items() if name != target]
    return torch.cat(others) if others else torch.empty(0, *identities[target].landmarks.shape[1:])
